"""Inputs whose columns have names: DataFrames, tables of `fastnn.datasets`, and single rows.

A DataFrame is known by what it offers, so that no library of DataFrames is needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastnn.activations import Array
from fastnn.checks.warning import warn
from fastnn.sparse_rows import is_sparse

Names = tuple[str, ...]
SHOWN = 8  # names in an error


def is_frame(X: Any) -> bool:
    """Whether X is a DataFrame, of pandas, Polars or another library, or a table of Arrow."""
    return (hasattr(X, "columns") and hasattr(X, "to_numpy")) or _is_arrow(X)


def _is_arrow(X: Any) -> bool:
    """Whether X is a Table or a RecordBatch of pyarrow."""
    return hasattr(X, "column_names") and hasattr(X, "num_rows")


def is_row(X: Any) -> bool:
    """Whether X is a mapping from names to numbers, or a row of a DataFrame of pandas."""
    return isinstance(X, Mapping) or (hasattr(X, "index") and hasattr(X, "to_numpy"))


def _is_table(X: Any) -> bool:
    """Whether X is a `fastnn.datasets.Table`."""
    return isinstance(X, tuple) and hasattr(X, "features") and hasattr(X, "X")


def names_of(name: str, X: Any) -> Names | None:
    """Return the names of the columns of an argument, or None if it has none.

    Raises
    ------
    ValueError
        If two columns have the same name.
    """
    if type(X) is np.ndarray or is_sparse(X):  # at once: predicting a row takes microseconds
        return None
    if _is_table(X):
        found: Sequence[Any] = X.features or ()
    elif is_frame(X):
        found = _labels(X)
    elif is_row(X):
        found = list(X if isinstance(X, Mapping) else X.index)
    else:
        return None
    if list(found) == list(range(len(found))):
        return None  # the numbers that pandas gives to columns without names
    names = tuple(map(str, found))
    if len(set(names)) < len(names):
        twice = next(each for each in names if names.count(each) > 1)
        raise ValueError(f"{name} has two columns called {twice!r}; need different names")
    return names


def matched(name: str, X: Any, known: Names | None) -> Any:
    """Return an argument as an array; columns with names are put in the order of the known names.

    Further columns are left out, with a warning. What has no names stays as it is.

    Raises
    ------
    TypeError
        If a column does not hold numbers.
    ValueError
        If a known name is missing, or two columns have the same name.
    """
    if type(X) is np.ndarray or is_sparse(X):
        return X
    names = names_of(name, X)
    if known is None and names is not None:
        warn(
            f"{name} has names of columns, but the network has none: its columns are taken by "
            "position"
        )
    chosen = names if known is None or names is None else known
    if names is not None and chosen is not None:
        if missing := [each for each in chosen if each not in names]:
            raise ValueError(
                f"{name} has no column {missing[0]!r}, which the network was trained with; it has "
                f"{shown(names)}"
            )
        if others := [each for each in names if each not in chosen]:
            warn(
                f"{name} has columns that the network was not trained with; they are left out: "
                f"{shown(others)}"
            )
    if _is_table(X):
        if names is None or chosen == names or chosen is None:
            return X.X
        return X.X[:, [names.index(each) for each in chosen]]
    if is_frame(X):
        return _array(name, X, chosen)
    if is_row(X):
        values = list(X.values()) if isinstance(X, Mapping) else list(X.to_numpy())
        if names is None or chosen is None:
            return np.array(values)
        return np.array([values[names.index(each)] for each in chosen])
    return X


def warn_of_indexes(X: Any, of: str = "", **others: Any) -> None:
    """Warn of inputs of pandas whose rows do not belong to those of others, by their indexes.

    An index that only counts the rows says nothing, unless the other holds the same numbers.
    """
    if type(X) is np.ndarray:
        return
    for name, other in others.items():
        indexes = [getattr(each, "index", None) for each in (X, other)]
        if any(not hasattr(index, "equals") for index in indexes) or indexes[0].equals(indexes[1]):  # type: ignore[union-attr]
            continue
        one, two = map(np.asarray, indexes)
        counts = any(np.array_equal(index, np.arange(len(index))) for index in (one, two))
        if not counts or (one.dtype == two.dtype and np.array_equal(np.sort(one), np.sort(two))):
            warn(
                f"{of}X and {of}{name} have different indexes, and rows are taken by position; if "
                f"that is right, pass {name}.to_numpy(), and if not, {name}.loc[X.index]"
            )


def shown(names: Sequence[Any]) -> str:
    """Return names as an error lists them."""
    more = f" and {len(names) - SHOWN} more" * (len(names) > SHOWN)
    return ", ".join(map(repr, names[:SHOWN])) + more


def _labels(X: Any) -> list[Any]:
    """Return the names of the columns of a DataFrame."""
    return list(X.column_names if _is_arrow(X) else X.columns)


def _array(name: str, X: Any, chosen: Names | None) -> Array:
    """Return the columns of a DataFrame as an array of numbers."""
    labels = _labels(X)
    if _is_arrow(X):
        columns = labels if chosen is None else chosen
        return np.column_stack(
            [_column(f"{name}, column {each!r}", X.column(each)) for each in columns]
        )
    if chosen is not None and tuple(map(str, labels)) != chosen:
        places = {str(label): label for label in labels}
        labels = [places[each] for each in chosen]
        X = X[labels]
    values: Array = X.to_numpy()
    if values.dtype.kind in "biuf":
        return values
    return np.column_stack(
        [_column(f"{name}, column {str(label)!r}", X[label]) for label in labels]
    )


def _column(name: str, column: Any) -> Array:
    """Return a column of a DataFrame as numbers."""
    values = np.asarray(column)
    return values if values.dtype.kind in "biuf" else numbers_in(name, values)


def numbers_in(name: str, values: Array) -> Array:
    """Return an array of objects as float64 if all of them are numbers.

    Raises
    ------
    TypeError
        If one is not; the message names the first.
    ValueError
        If an integer is too large for float64.
    """
    try:
        if values.dtype.kind == "O" and not any(isinstance(each, str) for each in values.flat):
            return values.astype(np.float64)
    except (TypeError, ValueError):
        pass
    except OverflowError:
        place = next(place for place in np.ndindex(values.shape) if _is_too_large(values[place]))
        raise ValueError(
            f"{name} must be finite in float64, got an integer of more than 300 digits in "
            f"{_where(place)}"
        ) from None
    if values.dtype.kind not in "OSUT":
        way = f" of NumPy: {name}.astype('float32')" * np.can_cast(values.dtype, np.float32)
        raise TypeError(f"{name} holds {values.dtype}; need numbers{way}")
    for place, value in zip(np.ndindex(values.shape), values.flat, strict=True):
        if not _is_number(value):
            raise TypeError(
                f"{name} holds {_short(value)} in {_where(place)}; need numbers: turn text into "
                "numbers, or leave it out"
            )
    raise TypeError(f"{name} holds {values.dtype}; need numbers")


def _where(place: tuple[int, ...]) -> str:
    where = f"row {place[0]}" if place else "it"
    return where + (f", column {place[1]}" if len(place) > 1 else "")


def _is_number(value: Any) -> bool:
    if isinstance(value, str | bytes):
        return False
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    except OverflowError:
        pass
    return True


def _is_too_large(value: Any) -> bool:
    try:
        float(value)
    except OverflowError:
        return True
    except TypeError:  # None counts as NaN
        pass
    return False


def _short(value: Any) -> str:
    text = repr(str(value) if isinstance(value, str) else value)
    text = text if len(text) <= 40 else f"{text[:40]}..."
    return text if isinstance(value, str) else f"{text}, a {type(value).__name__},"
