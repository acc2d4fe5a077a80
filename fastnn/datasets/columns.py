"""A table of features and labels, and what may stand in one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]

EXACT = 2.0**53
"""Below it, each whole number has a float64 of its own."""

MOST_COLUMNS = 1 << 18
"""Each has a name, which takes more memory than a number in a compressed file."""

_TRUTH = {"true": 1.0, "false": 0.0}


class Table(NamedTuple):
    """Features of some rows, and their labels.

    Attributes
    ----------
    X : ndarray, shape (rows, features)
        float32 or float64, or for pixels uint8, which `fastnn.Network` scales from 0..255 to 0..1.
    y : ndarray, shape (rows,), or None
        int64 if all labels are whole numbers, float64 if all are numbers, else str.
    features : tuple of str
        Names of the columns of ``X``; of those without a name, their positions in the file.
    label : str or None
        Name of what ``y`` was read from.
    """

    X: Array
    y: Array | None
    features: tuple[str, ...]
    label: str | None


class Split(NamedTuple):
    """The tables of a data set; ``test`` is None if there is only one."""

    train: Table
    test: Table | None = None


def number(text: str) -> float:
    """Return the number that a cell holds: what `float` reads, or True or False in any case."""
    text = text.strip().lower()
    return _TRUTH[text] if text in _TRUTH else float(text)


def is_number(text: str) -> bool:
    """Tell whether a cell holds a number."""
    try:
        number(text)
    except ValueError:
        return False
    return True


def fill(out: Array, values: Array) -> Array:
    """Write features into an array of their dtype; return a mask of those that fit there."""
    with np.errstate(over="ignore", invalid="ignore"):
        np.copyto(out, values, casting="unsafe")
        if out.dtype == np.uint8:
            return (values >= 0) & (values <= 255) & (values == np.floor(values))
        out += 0  # What reads -0 as an integer has no -0.0.
    return np.isfinite(out)


def labels_of(texts: Iterable[str]) -> Array:
    """Return labels as int64 if all are whole numbers, float64 if all are numbers, else str."""
    texts = list(texts)
    try:
        return np.array([int(text) for text in texts], np.int64)
    except (ValueError, OverflowError):
        pass
    try:
        values = np.array([number(text) for text in texts])
    except ValueError:
        return np.array(texts, dtype=str)
    return whole(values)


def whole(values: Array) -> Array:
    """Return floats as int64 if all are whole, and none so large that it may have been rounded."""
    if np.all(np.abs(values) < EXACT) and np.all(values == np.rint(values)):
        return values.astype(np.int64)
    return values
