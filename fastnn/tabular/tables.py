"""Tables of any kind as columns with kinds: DataFrames, arrays, and those of `read_columns`."""

from __future__ import annotations

import datetime
import math
import numbers
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from fastnn.activations import Array
from fastnn.checks.warning import warn
from fastnn.datasets.spreadsheets import Column, Columns

TEXT = ("text", "mixed")
_SECONDS = "datetime64[s]"
_EXACT = 1 << 53  # float64 has all integers up to here
_NO_TIME = np.timedelta64("NaT")
_EXTRA = "pip install 'fastnn-cpu[tabular]'"


def columns_of(X: Any) -> Columns:
    """Return a table as columns with kinds.

    Parameters
    ----------
    X : Columns, DataFrame, or array of shape (rows, features)
        DataFrames and tables of any library that narwhals knows. In arrays the columns are called
        by their positions. Arrays of text hold numbers in the columns where all cells are numbers.

    Returns
    -------
    Columns

    Raises
    ------
    ImportError
        For a DataFrame, if there is no narwhals.
    TypeError
        If X is sparse, or a cell is none of number, text, truth value and date.
    ValueError
        If X is infinite somewhere, has not two dimensions, or two columns have the same name.
    """
    if isinstance(X, Columns):
        return X
    if hasattr(X, "toarray") or (hasattr(X, "sparse") and X.shape[-1]):
        dense = "X.toarray()" if hasattr(X, "toarray") else "X.sparse.to_dense()"
        raise TypeError(f"X is sparse; need a dense table: {dense} makes one")
    if is_frame(X):
        return _of_frame(X)
    X = np.asarray(unmasked(X))
    if X.ndim != 2:
        raise ValueError(f"X has {X.ndim} dimensions; need 2: rows and columns")
    return Columns(len(X), tuple(_of_array(str(i), X[:, i]) for i in range(X.shape[1])))


def is_frame(X: Any) -> bool:
    """Whether X is a DataFrame, or a table of pyarrow."""
    kind = type(X)  # a lazy frame warns where its columns are asked for
    return hasattr(kind, "columns") or hasattr(kind, "column_names")


def unmasked(X: Any) -> Any:
    """Return an array in which what was masked is missing, or anything else as it is."""
    if not isinstance(X, np.ma.MaskedArray):
        return X
    mask, values = np.ma.getmaskarray(X), np.asarray(X.data)
    if values.dtype.kind in "iuf":
        return np.where(mask, np.nan, values.astype(np.float64))
    found = values.astype(object)
    found[mask] = None
    return found


def rows_of(table: Columns, rows: Array) -> Columns:
    """Return some rows of a table."""
    columns = (
        Column(each.name, each.kind, each.values[rows], each.missing[rows], each.note)
        for each in table
    )
    return Columns(len(rows), tuple(columns))


def _of_frame(frame: Any) -> Columns:
    try:
        import narwhals.stable.v2 as nw
        from narwhals.exceptions import DuplicateError
    except ImportError as error:
        raise ImportError(f"X is a DataFrame, which needs narwhals: {_EXTRA}") from error
    try:
        table = nw.from_native(frame, eager_only=True)
        names = [str(name) for name in table.columns]
    except TypeError as error:
        raise TypeError(f"X is a {type(frame).__name__}; need a table in memory: {error}") from None
    except DuplicateError as error:
        raise ValueError(f"X has two columns of one name; need different names: {error}") from None
    columns = (_of_series(name, table[:, i], nw) for i, name in enumerate(names))
    return Columns(len(table), tuple(columns))


def _of_series(name: str, series: Any, nw: Any) -> Column:
    """Return a column of a DataFrame."""
    dtype = series.dtype
    if dtype == nw.Boolean:
        missing = series.is_null().to_numpy()
        return Column(name, "boolean", series.fill_null(False).to_numpy().astype(bool), missing)
    if dtype.is_numeric():
        has_numpy = dtype not in (nw.Int128, nw.UInt128, nw.Decimal)
        values = series.to_numpy() if has_numpy else None  # a cast takes longer
        if values is None or values.dtype.kind not in "iuf":
            values = series.cast(nw.Float64).fill_null(float("nan")).to_numpy()
        return _numbers(name, values)
    if dtype == nw.Datetime:
        if dtype.time_zone is not None:
            series = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        return _dates(name, series.to_numpy())
    if dtype == nw.Date:
        return _dates(name, series.cast(nw.Datetime("us")).to_numpy())
    if dtype == nw.Duration:
        return _of_array(name, series.to_numpy())
    values = series.to_list()
    if dtype in (nw.Categorical, nw.Enum):
        return _texts(name, values, "text")
    if dtype in (nw.String, nw.Object, nw.Unknown):
        return _of_objects(name, values)
    raise TypeError(f"X, column {name!r}, holds {dtype}; need numbers, text, truth values or dates")


def _of_array(name: str, values: Array) -> Column:
    """Return a column of an array."""
    kind = values.dtype.kind
    if kind == "b":
        return Column(name, "boolean", values, np.zeros(len(values), bool))
    if kind in "iuf":
        return _numbers(name, values)
    if kind == "M":
        return _dates(name, values)
    if kind == "m":
        seconds = values / np.timedelta64(1, "s")
        return _numbers(name, seconds)
    if kind in "US":
        return _of_words(name, values.astype(str))
    if kind == "O":
        return _of_objects(name, values.tolist())
    raise TypeError(
        f"X, column {name}, holds {values.dtype}; need numbers, text, truth values or dates"
    )


def _numbers(name: str, values: Array) -> Column:
    if values.dtype.kind in "iu" and (
        values.max(initial=0) > _EXACT or values.min(initial=0) < -_EXACT
    ):
        _warn_of_large(name)
    values = values.astype(np.float64)
    if np.isinf(values).any():
        row = int(np.isinf(values).argmax())
        _check_range(name, row, values[row])
    missing = np.isnan(values)
    return Column(name, "empty" if missing.all() else "number", values, missing)


def _warn_of_large(name: str) -> None:
    warn(
        f"X, column {name!r}, holds integers beyond 2^53, which float64 cannot all tell apart; if "
        "they are names, need text: astype(str)"
    )


def _dates(name: str, values: Array) -> Column:
    missing = np.isnat(values)
    return Column(name, "empty" if missing.all() else "date", values.astype(_SECONDS), missing)


def _of_words(name: str, words: Array) -> Column:
    """Return a column of an array of text, in which NumPy has turned numbers into text."""
    try:
        return _numbers(name, np.array([float(word) if word else np.nan for word in words]))
    except ValueError:
        return _texts(name, words.tolist(), "text")


def _of_objects(name: str, values: Sequence[Any]) -> Column:
    """Return a column of Python's objects."""
    missing = np.array([is_missing(value) for value in values], bool)
    kinds = {_kind(name, i, value) for i, value in enumerate(values) if not missing[i]}
    if not kinds:
        return _texts(name, values, "empty")
    if kinds == {"boolean"}:
        truths = np.array([not gap and bool(v) for v, gap in zip(values, missing, strict=True)])
        return Column(name, "boolean", truths, missing)
    if kinds <= {"number", "boolean"}:
        if any(isinstance(v, int | np.integer) and abs(int(v)) > _EXACT for v in values):
            _warn_of_large(name)
        pairs = zip(values, missing, strict=True)
        return _numbers(name, np.array([np.nan if gap else float(v) for v, gap in pairs]))
    if kinds == {"date"}:
        return _dates(name, np.array([_date(value) for value in values], _SECONDS))
    if kinds == {"duration"}:
        pairs = zip(values, missing, strict=True)
        return _of_array(name, np.array([_NO_TIME if gap else v for v, gap in pairs], "m8[us]"))
    return _texts(name, values, "text" if kinds == {"text"} else "mixed")


def _kind(name: str, row: int, value: Any) -> str:
    if isinstance(value, str):
        return "text"
    if isinstance(value, bool | np.bool_):
        return "boolean"
    if isinstance(value, datetime.timedelta | np.timedelta64):  # which is an integer for Python
        return "duration"
    if isinstance(value, numbers.Real | Decimal):
        _check_range(name, row, value)
        return "number"
    if isinstance(value, datetime.date | np.datetime64):
        return "date"
    raise TypeError(
        f"X, column {name!r}, holds a {type(value).__name__} in row {row}; argument must be a "
        "string or a number, a truth value, a date or a duration"
    )


def _check_range(name: str, row: int, value: Any) -> None:
    """Refuse a number that float64 does not have."""
    try:
        if math.isfinite(value):
            return
        what = "infinity"
    except OverflowError:
        what = "an integer beyond float64"
    raise ValueError(
        f"X, column {name!r}, holds {what} in row {row}; need finite numbers, or NaN where a value "
        "is missing"
    )


def _date(value: Any) -> np.datetime64:
    if is_missing(value):
        return np.datetime64("NaT", "s")
    if isinstance(value, datetime.datetime) and value.tzinfo is not None:
        value = value.astimezone(datetime.timezone.utc).replace(tzinfo=None)
    return np.datetime64(value, "s")


def is_missing(value: Any) -> bool:
    """Whether an object is None, NaN, NaT, pandas' NA, or text without a letter in it."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(value, str):
        return not value.strip()
    return isinstance(value, float | np.generic | Decimal) and bool(value != value)


def _texts(name: str, values: Sequence[Any], kind: str) -> Column:
    texts = np.empty(len(values), object)
    texts[:] = ["" if is_missing(value) else text_of(value) for value in values]
    missing = np.array([not text for text in texts], bool)
    return Column(name, "empty" if missing.all() else kind, texts, missing)


def text_of(value: Any) -> str:
    """Return an object as the name of a level; a whole number is the same as an int or a float."""
    if isinstance(value, float | np.floating) and value == np.rint(value):
        return str(int(value))
    return str(value)
