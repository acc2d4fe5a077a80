"""The layout of a file of delimited text: header, delimiter, and which columns are what."""

from __future__ import annotations

import operator
import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple, SupportsIndex, TypeAlias

import numpy as np

from fastnn.checks.values import one_of
from fastnn.datasets.columns import MOST_COLUMNS, is_number
from fastnn.datasets.dates import is_date_or_time
from fastnn.datasets.dialect import Dialect, is_data
from fastnn.datasets.notation import NAMES, facts_of, is_written
from fastnn.datasets.readers import Form

_SHOWN = 8  # column names in an error
_COUNTED = 3  # columns from which numbers 0, 1, 2, ... are names

Column: TypeAlias = str | SupportsIndex


class Request(NamedTuple):
    """What to read from a file: arguments of `read_csv`."""

    label: Column | None
    header: bool | None
    dtype: str
    pixels: bool | None
    columns: tuple[str, ...] | None
    drop: tuple[Column, ...]
    decimal: str | None = None
    encoding: str | None = None


def checked_column(name: str, column: object) -> Column:
    """Return a column if it is a name or a position."""
    if isinstance(column, bool | np.bool_) or not isinstance(column, str | SupportsIndex):
        raise TypeError(f"{name} must be a name or a position, got {column!r}")
    return column


def checked_names(columns: object) -> tuple[str, ...] | None:
    """Return the names of columns to read, or None."""
    if columns is None:
        return None
    if isinstance(columns, str) or not isinstance(columns, Sequence):
        raise TypeError(f"columns must be a list of names, got {columns!r}")
    if not columns:
        raise ValueError("columns must hold at least one name")
    for name in columns:
        if not isinstance(name, str):
            raise TypeError(f"columns must hold names, got {name!r}")
    return tuple(columns)


def checked_drop(drop: object) -> tuple[Column, ...]:
    """Return the columns to leave out."""
    if isinstance(drop, str) or not isinstance(drop, Sequence):
        raise TypeError(f"drop must be a list of names or positions, got {drop!r}")
    return tuple(checked_column("drop", column) for column in drop)


def checked_decimal(decimal: object) -> str | None:
    """Return the decimal mark, or None."""
    return None if decimal is None else one_of("decimal", decimal, NAMES)


def form_of(name: str, dialect: Dialect, size: int, request: Request) -> tuple[Form, str]:
    """Return the layout of the lines, and the cell of the first label or "".

    ``size`` is that of the text.
    """
    if not dialect.records:
        raise ValueError(f"{name} holds no rows; need one")
    (at, first), *others = dialect.records
    below = [cells for _, cells in others] or [first]
    if len(first) > MOST_COLUMNS:
        raise ValueError(f"{name}, line {at}: {len(first)} cells; need at most {MOST_COLUMNS}")
    header = request.header
    if header is None:
        header = _is_header(first, below, request)
    if header:
        cells = [cell.strip() for cell in first]
        taken_names = set(cells)
        names = tuple(
            cell or (f"Unnamed: {i}" if str(i) in taken_names else str(i))
            for i, cell in enumerate(cells)
        )
        if any("\n" in each or "\r" in each for each in names):
            raise ValueError(
                f"{name}, line {at}: a name has a line break in it; need names on one line"
            )
    else:
        names = tuple(map(str, range(len(first))))
    place, taken = _places(f"{name}, line {at}", name, names, header, request)
    if not taken:
        what = "one column, that of the labels" if len(names) == 1 else "no other column left"
        raise ValueError(f"{name} has {what}; need features, too")
    pixels = request.pixels
    if pixels is None:
        known = [names[i] for i in taken] if header else request.columns or ()
        pixels = bool(known) and all(re.fullmatch("pixel[0-9]+", each) for each in known)
    names += tuple(str(len(names) + i) for i in range(dialect.padding))
    used = {*taken, place}
    unread = tuple(i for i in range(len(names)) if i not in used)
    form = Form(
        name=name,
        delimiter=dialect.delimiter,
        columns=names,
        taken=taken,
        unread=unread,
        header=at if header else at - 1,
        named=header,
        label=place,
        dtype=np.dtype(np.uint8 if pixels else request.dtype),
        chosen=request.columns is not None,
        padding=dialect.padding,
        # A number and a delimiter are two bytes.
        rows=size // (2 * len(names) - len(unread)) + 1,
    )
    row = below[0] if header else first
    return form, "" if place is None else "".join(row[place : place + 1])


def _is_header(first: list[str], below: list[list[str]], request: Request) -> bool:
    """Whether the first row is a header, by the rule of `read_csv`."""
    label, cells = request.label, [cell.strip() for cell in first]
    if isinstance(label, str) or any(isinstance(column, str) for column in request.drop):
        return True
    if request.columns is not None and set(request.columns) <= set(cells):
        return True
    if (label is None and "label" in cells) or _counts(cells):
        return True
    others = dict(enumerate(first))
    if label is not None and -len(first) <= (place := operator.index(label)) < len(first):
        place %= len(first)
        above = others.pop(place)
        if not _is_value(above) and any(map(_is_value, below[0][place : place + 1])):
            return True
    return not any(
        _continues(cell, [row[i].strip() for row in below if i < len(row)])
        for i, cell in others.items()
    )


def _is_value(cell: str) -> bool:
    return is_number(cell) or is_written(cell)


def _continues(cell: str, below: list[str]) -> bool:
    """Whether a cell of the first line is one of a row: a number, or like those below it.

    Names such as "25%" and "2024-12-31" stand above cells of another kind.
    """
    cell = cell.strip()
    if is_number(cell):
        return True
    if is_written(cell):
        unit = facts_of(cell).unit
        return any(is_written(each) and facts_of(each).unit == unit for each in below)
    return is_date_or_time(cell) and any(map(is_date_or_time, below))


def _counts(cells: list[str]) -> bool:
    """Whether cells, after an empty one or none, count from 0 in any order, as pandas does."""
    numbers = cells[cells[0] == "" :]
    return len(numbers) >= _COUNTED and set(numbers) == set(map(str, range(len(numbers))))


def _places(
    where: str, name: str, names: tuple[str, ...], header: bool, request: Request
) -> tuple[int | None, tuple[int, ...]]:
    """Return the positions of the label and of the features."""
    label, columns = request.label, request.columns
    counts = Counter(names)

    def found(column: Column, argument: str) -> list[int]:
        if not isinstance(column, str):
            return [_position(name, len(names), column, argument)]
        if not header:
            raise ValueError(
                f"{name} is read without a header; {argument} must be a position, got {column!r}"
            )
        if column not in counts:
            need = ", which is needed as an input" * (argument == "columns")
            raise ValueError(
                f"{name} has no column {column!r}{need}; its columns are {_shown(names)}"
                f"{_question(names)}"
            )
        return [i for i, each in enumerate(names) if each == column]

    if label is None and header and "label" in counts and "label" not in (columns or ()):
        label = "label"
    labels = [] if label is None else found(label, "label")
    if columns is not None and header:
        taken = _by_name(name, names, columns)
        for column in {*columns} & {*request.drop}:
            raise ValueError(f"{name}: the column {column!r} is an input; it cannot be left out")
    else:
        left_out = {i for column in request.drop for i in found(column, "drop")}
        if left_out & set(labels):
            raise ValueError(f"{name}: the column of the labels cannot be left out")
        taken = tuple(i for i in range(len(names)) if i not in left_out and i not in labels)
        if columns is not None and len(taken) != len(columns):
            raise ValueError(
                f"{name} has no names of columns, so they are taken by position, and it has "
                f"{len(taken)} features; need {len(columns)}: {_shown(columns)}"
            )
    if set(taken) & set(labels):
        raise ValueError(
            f"{name}: the column {names[labels[0]]!r} cannot be both the label and an input"
        )
    if header:
        for i in (*labels, *taken):
            if counts[names[i]] > 1:
                raise ValueError(
                    f"{where}: two columns are called {names[i]!r}; need different names"
                )
    return (labels[0] if labels else None), taken


def _question(names: tuple[str, ...]) -> str:
    """Return what to ask where names look like the cells of a row."""
    if 2 * sum(map(is_data, names)) < len(names):
        return ""
    return "; is the first line a row? header=False reads it so, and columns go by position"


def _by_name(name: str, names: tuple[str, ...], columns: tuple[str, ...]) -> tuple[int, ...]:
    """Return the positions of columns."""
    places = {each: i for i, each in enumerate(names)}
    missing = [column for column in columns if column not in places]
    if missing:
        what = f"column{'s' * (len(missing) > 1)} {_shown(missing)}"
        raise ValueError(f"{name} has no {what}; its columns are {_shown(names)}")
    return tuple(places[column] for column in columns)


def _position(name: str, count: int, column: SupportsIndex, argument: str) -> int:
    place = operator.index(column)
    if not -count <= place < count:
        raise ValueError(
            f"{name} has {count} columns; {argument} must be a name or from {-count} to "
            f"{count - 1}, got {place}"
        )
    return place % count


def shown(names: Sequence[str]) -> str:
    """Return the first of some names, for messages."""
    more = f" and {len(names) - _SHOWN} more" * (len(names) > _SHOWN)
    return ", ".join(names[:_SHOWN]) + more


def _shown(names: Sequence[str]) -> str:
    return shown(tuple(map(repr, names)))
