"""Checks of data: inputs and weights, as the backends read them."""

from __future__ import annotations

import math
from typing import Any, NoReturn, cast

import numpy as np

from fastnn.activations import Array
from fastnn.checks.sparse import sparse_features, sparse_row
from fastnn.checks.tables import Names, is_frame, is_row, matched, numbers_in
from fastnn.checks.values import BLOCK
from fastnn.checks.warning import warn
from fastnn.column_rows import ColumnRows
from fastnn.model.architecture import Architecture
from fastnn.sparse_rows import Rows, SparseRows, is_sparse

ARRAYS = frozenset({np.ndarray, np.memmap})  # that neither mask elements nor name them
READABLE = frozenset(map(np.dtype, (np.float32, np.float64, np.uint8)))  # by the kernels
LOOKED_AT = 64  # rows, to tell what numbers are
BRIGHT = 2.0  # beyond this no pixel is that was divided by 255
FAR = 1000.0  # standard deviations
PIXEL = {np.dtype(kind): kind(1) / kind(255) for kind in (np.float32, np.float64)}
FEWEST = 10  # rows, so that a single one is predicted at once and may be far away


def held_out(name: str, value: Any) -> tuple[Any, Any, Any]:
    """Return inputs, targets and weights of the value, with None for missing weights."""
    if not isinstance(value, tuple | list) or len(value) not in (2, 3):
        size = f" of {len(value)}" if isinstance(value, tuple | list) else ""
        raise TypeError(
            f"{name} must be a share of the rows, (X, y) or (X, y, sample_weight); "
            f"got a {type(value).__name__}{size}"
        )
    return value[0], value[1], value[2] if len(value) == 3 else None


def features(
    name: str, X: Any, architecture: Architecture, names: Names | None, finite: bool = True
) -> Rows:
    """Return X as a matrix that backends read: (n, features) of float32, float64 or uint8.

    Arrays of these types are not copied. Other numbers are converted to the network's dtype.
    Columns with names are matched with ``names``, those of the network. Rows of more dimensions,
    such as images, become flat. A sparse matrix stays sparse. Infinity and NaN are refused if
    ``finite``.
    """
    columns = architecture.sizes[0]
    known = type(X) is np.ndarray and X.dtype in READABLE
    if known and X.ndim == 2 and X.shape[1] == columns and len(X):  # soon, for few rows
        return readable(name, X, architecture, finite, names) if finite else X
    if is_sparse(X):
        return sparse_features(name, X, architecture, names, finite)
    one_row = type(X) is not np.ndarray and is_row(X) and not is_frame(X) and columns > 1
    X = matched(name, X, names)
    X = X if isinstance(X, ColumnRows) else numbers(name, X)
    if one_row and X.shape == (columns,):
        X = X[None]
    if X.ndim > 2 and math.prod(X.shape[1:]) == columns:
        X = X.reshape(len(X), columns)
    if X.ndim == columns == 1:
        X = X[:, None]
    if X.ndim != 2 or X.shape[1] != columns:
        hint = "; for one row use X[None, :]" if X.shape == (columns,) else ""
        raise ValueError(
            f"{name} must have shape (rows, {columns}), as the network has {columns} inputs; "
            f"got {X.shape}{hint}"
        )
    return readable(name, X, architecture, finite, names)


def warn_of_no_pixels(name: str, X: Rows) -> None:
    """Warn of uint8 that can be no pixels, as the rows that are looked at hold 0 and 1 only."""
    few = X[:: max(1, len(X) // LOOKED_AT)]
    if X.dtype == np.uint8 and few.max() == 1:
        warn(
            f"{name} is uint8, which is taken for pixels and divided by 255, but holds only 0 and "
            f"1; {name}.astype('float32') leaves these as they are"
        )


def warn_of_other_units(
    name: str,
    X: Rows,
    pixels: bool,
    scaler: tuple[Array, Array] | None,
    names: Names | None,
) -> None:
    """Warn of numbers that are far from all that a network was trained on, as some rows show.

    ``pixels`` says whether these were uint8, and the scaler is that of the network.
    """
    few = X[:: max(1, len(X) // LOOKED_AT)]
    if pixels and X.dtype != np.uint8 and few.max() > BRIGHT:
        warn(
            f"{name} is not uint8 and has numbers far above 1, but the network was trained on "
            f"uint8, which is divided by 255, as no other type is; need {name}.astype('uint8')"
        )
    if scaler is None or pixels or isinstance(few, SparseRows):
        return
    mean, scale = scaler
    if X.dtype == np.uint8:
        if np.abs(mean).max() > BRIGHT:
            warn(
                f"{name} is uint8, which is divided by 255, but the network was trained on other "
                f"numbers; need {name}.astype('float32')"
            )
        return
    if len(X) < FEWEST:
        return
    with np.errstate(all="ignore"):
        deviations = np.abs((few - mean) * scale)
        if deviations.max() <= FAR:  # a median takes longer than predicting few rows
            return
        far = np.median(deviations, axis=0) > FAR
    if far.any():
        column = int(far.argmax())
        place = column if names is None else repr(names[column])
        warn(
            f"column {place} of {name} is far from what the network was trained on: "
            f"{few[0, column]:g}, for a mean of {mean[column]:g} and a standard deviation of "
            f"{1 / scale[column]:.3g}; are units and the order of columns the same?"
        )


def single_row(name: str, x: Any, architecture: Architecture, names: Names | None) -> Array:
    """Return one row of any shape and type as an array of as many numbers; see `features`."""
    plain = type(x) in ARRAYS and x.dtype.kind in "biuf" and x.ndim
    if not plain or x.size == 0:
        x = sparse_row(name, x) if is_sparse(x) else numbers(name, matched(name, x, names))
    if x.size != architecture.sizes[0]:
        raise ValueError(f"{name} must have shape {architecture.sizes[:1]}; got {x.shape}")
    return x


def converted(x: Array, dtype: np.dtype) -> Array:
    """Return one row of numbers as a new vector; what is too large for its dtype is infinite."""
    if x.ndim != 1:
        x = x.reshape(-1)
    if x.dtype == np.uint8:
        return np.multiply(x, PIXEL[dtype], dtype=dtype)
    if x.dtype.kind == "f" and x.dtype.itemsize > dtype.itemsize:
        return _narrowed(x, dtype)
    return x.astype(dtype)


@np.errstate(over="ignore")
def _narrowed(x: Array, dtype: np.dtype) -> Array:
    return (x.astype(np.float64) if x.dtype.itemsize > 8 else x).astype(dtype)


def writable_row(name: str, out: Any, outputs: int, dtype: np.dtype) -> None:
    """Refuse an array into which a backend cannot write the outputs of one row."""
    if type(out) not in ARRAYS or out.dtype != dtype or out.shape != (outputs,):
        got = f"{out.dtype} {out.shape}" if type(out) in ARRAYS else type(out).__name__
        raise ValueError(f"{name} must be an array of {dtype.name} {(outputs,)}; got {got}")
    if not out.flags.carray:
        raise ValueError(f"{name} must be writable and contiguous")


def sample_weights(name: str, weights: Any, rows: int, some: bool = True) -> Array:
    """Return weights (rows,) as float64, of which ``some`` must not be 0."""
    values = numbers(name, weights).astype(np.float64)
    if values.shape != (rows,):
        raise ValueError(f"{name} must have shape ({rows},), one per row; got {values.shape}")
    if not np.isfinite(values).all() or values.min() < 0:
        bad = int(np.flatnonzero(~(np.isfinite(values) & (values >= 0)))[0])
        raise ValueError(f"{name} must be finite and at least 0; got {values[bad]} in row {bad}")
    if some and not values.any():
        raise ValueError(f"{name} must not all be 0; need one above 0")
    return values


def numbers(name: str, array: Any) -> Array:
    """Return an argument as an array of numbers, or refuse it."""
    if type(array) is not np.ndarray and hasattr(array, "toarray"):
        raise TypeError(
            f"{name} is sparse, of the type {type(array).__name__}; need a dense array, such as "
            f"{name}.toarray()"
        )
    try:
        if np.ma.is_masked(array):
            raise ValueError("some elements are masked")
        array = np.asarray(array)
    except ValueError as error:
        raise ValueError(f"{name} must be a rectangular array of numbers: {error}") from None
    if array.ndim == 0:
        what = f"the single number {array}" if array.dtype.kind in "biuf" else f"{array.item()!r}"
        raise (ValueError if array.dtype.kind in "biuf" else TypeError)(
            f"{name} must be an array of numbers; got {what}"
        )
    if array.size == 0:
        raise ValueError(f"{name} must not be empty, got shape {array.shape}")
    return array if array.dtype.kind in "biuf" else numbers_in(name, array)


def readable(
    name: str,
    array: Any,  # an array, or ColumnRows
    architecture: Architecture,
    finite: bool = True,
    names: Names | None = None,
) -> Array:
    """Return a matrix in a type that the kernels read; refuse NaN and infinity if ``finite``."""
    if array.dtype not in READABLE:
        wide = array.dtype.kind == "f" and array.dtype.itemsize >= 8
        array = array.astype(np.float64 if wide else architecture.dtype)
    if array.dtype.kind != "f" or not finite:
        return array
    largest = np.finfo(architecture.dtype).max
    if isinstance(array, ColumnRows):
        if beyond := array.first_beyond(largest):
            value = array[beyond[0] : beyond[0] + 1, beyond[1]][0]
            _refuse(name, architecture, names, value, *beyond)
        return cast("Array", array)  # which it stands for
    step = max(1, BLOCK // array.shape[1])
    for first in range(0, len(array), step):
        block = array[first : first + step]
        with np.errstate(all="ignore"):
            # Both are fast, and neither holds if an element is NaN.
            fine = block.max() <= largest and block.min() >= -largest
        if not fine:
            row, column = np.argwhere(~(np.abs(block) <= largest))[0].tolist()
            _refuse(name, architecture, names, block[row, column], first + row, column)
    return array


def _refuse(
    name: str, architecture: Architecture, names: Names | None, value: Any, row: int, column: int
) -> NoReturn:
    place = column if names is None else repr(names[column])
    raise ValueError(
        f"{name} must be finite in {architecture.dtype.name}, got {value} in row {row}, column "
        f"{place}"
    )
