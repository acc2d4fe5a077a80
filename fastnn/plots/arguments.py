"""Checks of the arguments of plots."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from fastnn import metrics
from fastnn.activations import Array
from fastnn.checks import values as check
from fastnn.checks.sparse import refuse_sparse

LONGEST_NAME = 24  # characters
LEAST_PIXELS = 64  # rows of fewer features are not drawn as images by default

Shape: TypeAlias = Sequence[int] | None
Names: TypeAlias = Sequence[str] | None


def matrix(name: str, X: npt.ArrayLike) -> Array:
    """Return numbers (rows, features), after checking them."""
    refuse_sparse(name, X, "its rows are not drawn; need some of them, X[rows].toarray()")
    values = np.asarray(X)
    if values.ndim != 2 or not values.size or values.dtype.kind not in "biuf":
        raise ValueError(
            f"{name} is {values.dtype} {values.shape}; need numbers of shape (rows, features)"
        )
    return values


def labels(name: str, y: npt.ArrayLike, rows: int) -> Array:
    """Return the class of each row, after checking them."""
    classes = metrics.check_classes(name, y)
    if len(classes) != rows:
        raise ValueError(f"{name} has {len(classes)} labels; need {rows}, one for each row of X")
    return classes


def names(given: Names, least: int) -> list[str]:
    """Return a name on one line for each class."""
    if given is None:
        return [str(i) for i in range(least)]
    if isinstance(given, str) or not all(isinstance(name, str) for name in given):
        raise TypeError(f"names is {given!r}; need a list of strings")
    if len(given) < least:
        raise ValueError(f"names has {len(given)}; need {least}, one for each class")
    return [_short(" ".join(name.split())) for name in given]


def image_shape(features: int, shape: Shape, least: int = 1) -> tuple[int, ...] | None:
    """Return the shape of images with that many features, or None if they are no images."""
    if shape is None:
        side = math.isqrt(features)
        return (side, side) if side * side == features >= least else None
    size = tuple(check.integer(f"shape[{i}]", length, 1) for i, length in enumerate(shape))
    if size and (
        math.prod(size) != features or len(size) not in (2, 3) or size[2:] not in ((), (3,))
    ):
        raise ValueError(
            f"shape is {size}; need (height, width) or (height, width, 3), of {features} in all"
        )
    return size or None


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"
