"""Checks of sparse inputs, which stay sparse."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn.activations import Array
from fastnn.checks.tables import Names
from fastnn.model.architecture import Architecture
from fastnn.sparse_rows import SparseRows, is_sparse, read

READABLE = frozenset(map(np.dtype, (np.float32, np.float64, np.uint8)))  # by the kernels
SCALE_FIRST = (
    "divide columns by a factor instead, as MaxAbsScaler or StandardScaler(with_mean=False) of "
    "scikit-learn do"
)


def rows_of(name: str, X: Any) -> SparseRows:
    """Return a sparse argument as rows of numbers, or refuse it."""
    kind = np.dtype(X.dtype).kind
    if kind not in "biuf":
        raise TypeError(f"{name} must be an array of numbers; got {X.dtype}")
    if X.ndim != 2:
        raise ValueError(f"{name} is sparse and must have shape (rows, columns); got {X.shape}")
    if 0 in X.shape:
        raise ValueError(f"{name} must not be empty, got shape {X.shape}")
    try:
        return read(X)
    except ValueError as error:
        raise ValueError(f"{name} is no intact sparse matrix: {error}") from None


def sparse_features(
    name: str, X: Any, architecture: Architecture, names: Names | None, finite: bool
) -> SparseRows:
    """Return a sparse argument as rows that backends read; see `data.features`."""
    if X.ndim != 2 or X.shape[1] != architecture.sizes[0]:
        raise ValueError(
            f"{name} must have shape (rows, {architecture.sizes[0]}), as the network has "
            f"{architecture.sizes[0]} inputs; got {X.shape}"
        )
    rows = rows_of(name, X)
    if rows.dtype not in READABLE:
        wide = rows.dtype.kind == "f" and rows.dtype.itemsize >= 8
        rows = rows.astype(np.float64 if wide else architecture.dtype)
    if not finite or rows.dtype.kind != "f":
        return rows
    stored = rows.stored
    largest = np.finfo(architecture.dtype).max
    with np.errstate(all="ignore"):
        # Both are fast, and neither holds if a number is NaN.
        fine = not len(stored) or (stored.max() <= largest and stored.min() >= -largest)
    if not fine:
        place = rows.places.start + int((~(np.abs(stored) <= largest)).argmax())
        row = int(np.searchsorted(rows.indptr, place, "right")) - 1
        column = int(rows.indices[place])
        raise ValueError(
            f"{name} must be finite in {architecture.dtype.name}, got {rows.data[place]} in row "
            f"{row}, column {column if names is None else repr(names[column])}"
        )
    return rows


def sparse_row(name: str, x: Any) -> Array:
    """Return a single sparse row as an array of all its numbers."""
    if np.dtype(x.dtype).kind not in "biuf":
        raise TypeError(f"{name} must be an array of numbers; got {x.dtype}")
    if x.ndim == 2 and x.shape[0] != 1:
        raise ValueError(f"{name} must be one row; got shape {x.shape}")
    rows: Array = np.asarray(x.toarray())
    return rows


def refuse_sparse(name: str, X: Any, what: str) -> None:
    """Refuse sparse inputs where they would become dense."""
    if is_sparse(X):
        raise ValueError(f"{name} is sparse, and {what}")


def refuse_to_standardise(name: str, X: Any, standardises: bool) -> None:
    """Refuse sparse inputs for a network that subtracts means, so that zeros are none."""
    if standardises:
        refuse_sparse(
            name, X, f"standardize_inputs=True would subtract means, which leaves no zeros; "
            f"{SCALE_FIRST}",
        )  # fmt: skip
