"""Rows that are stored column by column, as files of columns are read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
TURNED = 2048  # rows that are written at a time, so that they stay in the cache


@dataclass(frozen=True, eq=False)
class ColumnRows:
    """Columns of numbers that stand for an array of inputs, which `write` makes of them.

    It answers as an array does to ``len(X)``, ``X[rows]``, ``X.shape`` and ``np.asarray(X)``.

    Attributes
    ----------
    columns : sequence of ndarray
        At least one, all of the same length; of any type of numbers.
    dtype : numpy.dtype
        The type of the array, in which all numbers are meant.
    """

    columns: Sequence[Array]
    dtype: np.dtype[Any]

    ndim = 2

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.columns[0]), len(self.columns)

    def __len__(self) -> int:
        return len(self.columns[0])

    def __getitem__(self, rows: Any) -> Any:
        """Return some rows; of those that are no slice, and of some columns, an array."""
        if isinstance(rows, slice):
            return ColumnRows([column[rows] for column in self.columns], self.dtype)
        if isinstance(rows, tuple):
            return np.asarray(self)[rows]
        return np.asarray(ColumnRows([column[rows] for column in self.columns], self.dtype))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        out = np.empty(self.shape, self.dtype)
        self.write(out)
        return out if dtype is None else out.astype(dtype, copy=False)

    def astype(self, dtype: npt.DTypeLike) -> ColumnRows:
        """Return them as an array of this type would be."""
        own = [column.astype(self.dtype, copy=False) for column in self.columns]
        return ColumnRows(own, np.dtype(dtype))

    def write(self, out: Array) -> None:
        """Write them into an array of their shape and type."""
        with np.errstate(over="ignore"):  # what is too large is found with other infinite numbers
            for first in range(0, len(out), TURNED):
                part = slice(first, first + TURNED)
                rows = out[part]
                for j, column in enumerate(self.columns):
                    rows[:, j] = column[part]

    def pieces(self) -> Iterator[Array]:
        """Yield some rows after the other as arrays, each of which is there until the next."""
        room = np.empty((min(TURNED, len(self)), len(self.columns)), self.dtype)
        for first in range(0, len(self), TURNED):
            rows = self[first : first + TURNED]
            rows.write(room[: len(rows)])
            yield room[: len(rows)]

    def first_beyond(self, largest: float) -> tuple[int, int] | None:
        """Return the row and column of the first number that is NaN or so large, if any is."""
        found = []
        kind = self.dtype.type
        with np.errstate(all="ignore"):
            for j, column in enumerate(self.columns):
                # Both are fast, and neither holds if an element is NaN.
                if not (kind(column.max()) <= largest and kind(column.min()) >= -largest):
                    fine = np.abs(column.astype(self.dtype)) <= largest
                    found.append((int(fine.argmin()), j))
        return min(found, default=None)
