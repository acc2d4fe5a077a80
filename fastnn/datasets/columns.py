"""Tables of features and labels, and the numbers and labels in their cells."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]

EXACT = 2.0**53
"""Below this, a float64 holds every whole number exactly."""

MOST_COLUMNS = 1 << 18
"""A limit, because each column has a name, which takes more memory than a compressed number."""

MISSING = frozenset(
    ("", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NULL", "null", "-", "--", "?")
)
"""Cells that stand for a missing value."""

_TRUTH = {"true": 1.0, "false": 0.0}


class Table(NamedTuple):
    """Features and labels of some rows.

    Attributes
    ----------
    X : ndarray or SparseRows, shape (rows, features)
        float32 or float64, or uint8 for pixels, which `fastnn.Network` divides by 255. Sparse files
        give `fastnn.sparse_rows.SparseRows`, which it takes, too.
    y : ndarray, shape (rows,), or None
        int64 if all labels are whole numbers, float64 if all are numbers, else str.
    features : tuple of str, or None
        Names of the columns of ``X``, None if the file has no names; where only some columns have
        one, the others have their position in the file.
    label : str or None
        Name of the column or array of the labels.
    left_out : tuple of str
        Names or positions of the columns of the file that were not read.
    notes : tuple of str
        How numbers are written that are not as in Python, such as "decimal comma: 'price'".
    shape : tuple of int, or None
        Of a row as it is in the files, for pictures and arrays: (height, width) or (height, width,
        channels). None for rows of numbers.
    """

    X: Any  # an array, or SparseRows
    y: Array | None
    features: tuple[str, ...] | None
    label: str | None
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    shape: tuple[int, ...] | None = None


class Split(NamedTuple):
    """The tables of a data set.

    Attributes
    ----------
    train : Table
    test : Table or None
        None if the data set has only one table.
    """

    train: Table
    test: Table | None = None


def number(text: str) -> float:
    """Return the number in a cell: what `float` reads, or True or False in upper or lower case."""
    text = text.strip().lower()
    return _TRUTH[text] if text in _TRUTH else float(text)


def truth(text: str) -> float:
    """Return 1 for True and 0 for False, in upper or lower case; raise ValueError otherwise."""
    text = text.strip().lower()
    if text not in _TRUTH:
        raise ValueError(f"{text!r} is neither true nor false")
    return _TRUTH[text]


def is_number(text: str) -> bool:
    """Whether a cell holds a number."""
    try:
        number(text)
    except ValueError:
        return False
    return True


def fill(out: Array, values: Array) -> Array:
    """Write features into an array of another dtype; return a mask of those that fit into it."""
    with np.errstate(over="ignore", invalid="ignore"):
        np.copyto(out, values, casting="unsafe")
        if out.dtype == np.uint8:
            return (values >= 0) & (values <= 255) & (values == np.floor(values))
        out += 0  # -0.0 becomes 0.0: readers that read -0 as an integer have no -0.0
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
    """Return floats as int64 if all are whole and below `EXACT`, else unchanged."""
    if np.all(np.abs(values) < EXACT) and np.all(values == np.rint(values)):
        return values.astype(np.int64)
    return values
