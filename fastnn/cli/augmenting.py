"""The option ``--augment``: words such as rotate=12 that stand for ways to change rows."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastnn.augment import AUGMENTATIONS, Augmentation, Images
from fastnn.checks.values import meant
from fastnn.cli.groups import Group, Keywords
from fastnn.cli.reading import Dataset

OF_IMAGES = [field.name for field in dataclasses.fields(Images) if field.type == "float"]
OTHERS = [name for name, kind in AUGMENTATIONS.items() if kind is not Images]
WORDS = [*OF_IMAGES, "flip", "size", *OTHERS]


def add_augment(group: Group) -> None:
    """Add the option to a group."""
    text = (
        "change rows at random in training. Images: rotate (degrees), scale, shear (shares), "
        "shift, elastic (pixels), fill (a number), flip (without one) and size, such as 32x32x3 "
        "(default: that of the pictures, or a square of pixels); noise (standard deviation) and "
        "mixup (alpha)"
    )
    group.add("--augment", nargs="+", metavar="NAME=NUMBER", help=text)


def augment(words: Sequence[str] | None, data: Dataset) -> Keywords:
    """Return the argument of `fastnn.Network.train` that words stand for.

    Parameters
    ----------
    words : sequence of str or None
    data : Dataset
    """
    if words is None:
        return {}
    of_images: dict[str, Any] = {}
    others: list[Augmentation] = []
    for word in words:
        name, mark, value = word.partition("=")
        if name not in WORDS or bool(mark) == (name == "flip"):
            hint = "" if name in WORDS else meant(name, WORDS)
            raise ValueError(
                "--augment takes flip, size=HEIGHTxWIDTH, and NAME=NUMBER for "
                f"{', '.join([*OF_IMAGES, *OTHERS])}; got {word}{hint}"
            )
        try:
            if name == "size":
                of_images["shape"] = _shape(value)
            elif name in OTHERS:
                others.append(AUGMENTATIONS[name](float(value)))  # type: ignore[arg-type]
            else:
                of_images[name] = True if name == "flip" else float(value)
        except ValueError as error:
            raise ValueError(f"--augment {word}: {error}") from None
    if of_images:
        if "shape" not in of_images:
            of_images["shape"] = data.shape or _square(data)
        try:
            return {"augment": [Images(**of_images), *others]}
        except ValueError as error:
            raise ValueError(f"--augment {' '.join(words)}: {error}") from None
    return {"augment": others}


def _shape(text: str) -> tuple[int, ...]:
    try:
        return tuple(map(int, text.lower().split("x")))
    except ValueError:
        raise ValueError("need HEIGHTxWIDTH or HEIGHTxWIDTHxCHANNELS, such as 28x28") from None


def _square(data: Dataset) -> tuple[int, int]:
    """Return the shape of square images; refuse data that cannot be that."""
    features = data.X.shape[1]
    side = math.isqrt(features)
    if data.X.dtype != np.uint8 or side * side != features:
        raise ValueError(
            f"--augment needs size=HEIGHTxWIDTH, as {features} features of type {data.X.dtype} are "
            "no square of pixels (uint8)"
        )
    return side, side
