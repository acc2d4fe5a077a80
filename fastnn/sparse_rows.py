"""Rows that store only the numbers that are not zero: compressed sparse rows (CSR)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class SparseRows:
    """A matrix whose rows store some of their numbers; all others are 0.

    It answers as an array does to what is asked of inputs: ``len(X)``, ``X[rows]``, ``X.shape``,
    ``X @ W`` and ``X.T @ D``.

    Attributes
    ----------
    data : ndarray
        The numbers that are stored.
    indices : ndarray of int32
        The column of each; in a row they ascend.
    indptr : ndarray of int64, shape (rows + 1,)
        Row r has the places ``indptr[r] : indptr[r + 1]`` in both.
    columns : int
    """

    data: Array
    indices: Array
    indptr: Array
    columns: int

    ndim = 2

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.indptr) - 1, self.columns

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the numbers."""
        return self.data.dtype

    @property
    def places(self) -> slice:
        """Where the numbers of these rows are: a part of rows shares the numbers of all."""
        return slice(int(self.indptr[0]), int(self.indptr[-1]))

    @property
    def stored(self) -> Array:
        """The numbers that these rows store."""
        return self.data[self.places]

    @property
    def nbytes(self) -> int:
        """The bytes that these rows take."""
        places = self.places
        count = places.stop - places.start
        return count * (self.data.itemsize + self.indices.itemsize) + self.indptr.nbytes

    @property
    def lengths(self) -> Array:
        """How many numbers each row stores."""
        return np.diff(self.indptr)

    @property
    def T(self) -> Transposed:
        """The transpose, for products."""
        return Transposed(self)

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def __getitem__(self, rows: Any) -> SparseRows:
        """Return some rows: a slice without steps shares the numbers, others copy them."""
        if isinstance(rows, slice):
            first, last, step = rows.indices(len(self))
            if step == 1:
                kept = self.indptr[first : max(first, last) + 1]
                return SparseRows(self.data, self.indices, kept, self.columns)
            rows = np.arange(first, last, step)
        rows = np.asarray(rows)
        lengths = self.indptr[rows + 1] - self.indptr[rows]
        indptr = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        places = np.repeat(self.indptr[rows] - indptr[:-1], lengths) + np.arange(indptr[-1])
        return SparseRows(self.data[places], self.indices[places], indptr, self.columns)

    def __mul__(self, factor: Any) -> SparseRows:
        """Return them times a number, or times one for each number that these rows store."""
        indptr = self.indptr - self.indptr[0]
        return SparseRows(self.stored * factor, self.indices[self.places], indptr, self.columns)

    def __matmul__(self, weights: Array) -> Array:
        """Return the product with a matrix (columns, units)."""
        out = np.zeros((len(self), weights.shape[1]), np.result_type(self.data, weights))
        for r, (begin, end) in enumerate(zip(self.indptr, self.indptr[1:], strict=False)):
            out[r] = self.data[begin:end] @ weights[self.indices[begin:end]]
        return out

    def astype(self, dtype: npt.DTypeLike) -> SparseRows:
        """Return them with the numbers in another type."""
        indptr = self.indptr - self.indptr[0]
        stored = self.stored.astype(dtype)
        return SparseRows(stored, self.indices[self.places], indptr, self.columns)

    def min(self, axis: int | None = None) -> Any:
        """Return the smallest number, or for the axis 0 that of each column."""
        return self._extreme(np.minimum, axis)

    def max(self, axis: int | None = None) -> Any:
        """Return the largest number, or for the axis 0 that of each column."""
        return self._extreme(np.maximum, axis)

    def _extreme(self, function: Any, axis: int | None) -> Any:
        stored, columns = self.stored, self.indices[self.places]
        if axis is None:
            least = [] if len(stored) == len(self) * self.columns else [self.dtype.type(0)]
            return function.reduce(np.append(stored, least).astype(self.dtype))
        counts = np.bincount(columns, minlength=self.columns)
        start = -np.inf if function is np.maximum else np.inf
        found = np.where(counts == len(self), start, 0)
        function.at(found, columns, stored)
        return found.astype(self.dtype)


@dataclass(frozen=True, eq=False)
class Transposed:
    """The transpose of sparse rows."""

    rows: SparseRows

    def __matmul__(self, deltas: Array) -> Array:
        """Return the product with a matrix (rows, units), shape (columns, units)."""
        X = self.rows
        out = np.zeros((X.columns, deltas.shape[1]), np.result_type(X.data, deltas))
        for delta, begin, end in zip(deltas, X.indptr, X.indptr[1:], strict=False):
            # No column comes twice in a row.
            out[X.indices[begin:end]] += X.data[begin:end, None] * delta
        return out


Rows = Array | SparseRows


def stored(X: Rows) -> Array:
    """Return the numbers that an array or sparse rows store."""
    return X.stored if isinstance(X, SparseRows) else X


def joined(parts: Sequence[SparseRows]) -> SparseRows:
    """Return the rows of all parts, one after the other."""
    lengths = np.concatenate([part.lengths for part in parts])
    return SparseRows(
        np.concatenate([part.stored for part in parts]),
        np.concatenate([part.indices[part.places] for part in parts]),
        np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]),
        parts[0].columns,
    )


def is_sparse(X: Any) -> bool:
    """Tell whether X is a sparse matrix or array of SciPy, or what can become one."""
    return isinstance(X, SparseRows) or (hasattr(X, "tocsr") and hasattr(X, "toarray"))


def read(X: Any) -> SparseRows:
    """Return a sparse matrix of any format of SciPy as rows, which share its numbers if they can.

    Numbers that stand twice for a place are added up. X is not changed.

    Raises
    ------
    ValueError
        If a column or a place is beyond the matrix.
    """
    if isinstance(X, SparseRows):
        return X
    csr = X.tocsr()
    parts = np.asarray(csr.indices), np.asarray(csr.indptr)
    fault = _fault(len(csr.data), *parts, *csr.shape)
    if fault:
        raise ValueError(fault)
    if not _ascend(*parts):
        csr = csr.copy()
        csr.has_sorted_indices = csr.has_canonical_format = False
        csr.sum_duplicates()
    data = np.ascontiguousarray(csr.data[: csr.indptr[-1]])
    indices = np.ascontiguousarray(csr.indices[: csr.indptr[-1]], np.int32)
    return SparseRows(data, indices, np.ascontiguousarray(csr.indptr, np.int64), csr.shape[1])


def of_arrays(data: Array, indices: Array, indptr: Array, shape: tuple[int, int]) -> SparseRows:
    """Return sparse rows of the three arrays of a file.

    Raises
    ------
    ValueError
        If they do not fit together, or a row does not have its columns once each, ascending.
    """
    indptr = indptr.astype(np.int64)  # differences of unsigned numbers are never below 0
    fault = "their lengths differ" if len(data) != len(indices) else ""
    fault = fault or _fault(len(data), indices, indptr, *shape)
    if not fault and not _ascend(indices, indptr):
        fault = "the columns of a row do not ascend; X.sum_duplicates() puts them right"
    if fault:
        raise ValueError(fault)
    return SparseRows(
        np.ascontiguousarray(data), np.ascontiguousarray(indices, np.int32), indptr, int(shape[1])
    )  # fmt: skip


def _fault(count: int, indices: Array, indptr: Array, rows: int, columns: int) -> str:
    """Return what is wrong with the arrays of a sparse matrix, or nothing."""
    if len(indptr) != rows + 1 or indptr[0] != 0 or (np.diff(indptr) < 0).any():
        return f"indptr must ascend from 0, and have one number more than the {rows} rows"
    if indptr[-1] > min(count, len(indices)):
        return f"indptr ends with {indptr[-1]}, beyond the {min(count, len(indices))} numbers"
    used = indices[: indptr[-1]]
    if len(used) and (used.min() < 0 or used.max() >= columns):
        return f"indices must be from 0 to {columns - 1}; got {used.min()} to {used.max()}"
    if columns > np.iinfo(np.int32).max:
        return f"it has {columns} columns; need at most {np.iinfo(np.int32).max}"
    return ""


def _ascend(indices: Array, indptr: Array) -> bool:
    """Tell whether the columns of each row ascend, none of them twice."""
    used = indices[: indptr[-1]]
    if len(used) < 2:
        return True
    ascending = used[1:] > used[:-1]
    starts = indptr[1:-1]
    starts = starts[(starts > 0) & (starts < len(used))]
    ascending[starts - 1] = True  # from one row to the next they need not
    return bool(ascending.all())
