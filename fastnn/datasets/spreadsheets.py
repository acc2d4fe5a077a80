"""Tables with columns of any kind: numbers, dates, truth values and text, with missing cells."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from fastnn.checks.keywords import suggesting
from fastnn.checks.warning import warn
from fastnn.datasets.columns import MISSING, Array
from fastnn.datasets.dates import ORDERS, dates_of, depends, orders_of, seconds_of
from fastnn.datasets.delimited import form_for, open_text, text_of
from fastnn.datasets.encoding import checked_encoding
from fastnn.datasets.kinds import Cells, Kind, kind_of, truths_of
from fastnn.datasets.layout import Request, checked_decimal, checked_drop, checked_names
from fastnn.datasets.notation import NAMES, Notation, assumption, settle
from fastnn.datasets.readers import Form, rows_of

MOST = 1 << 14
"""Columns of a table; each takes some 3 kB beside its cells."""

_ROWS = 1024  # to take apart at once
_SHOWN = 40  # characters of an example
_FIRST = {True: "day first", False: "month first"}


@dataclass(frozen=True, eq=False)
class Column:
    """A column of a table.

    Attributes
    ----------
    name : str
        Its name, or its position where the file has no header.
    kind : {"number", "date", "boolean", "text", "mixed", "empty"}
        "mixed" if most cells are numbers, dates or times of day, but not all.
    values : ndarray, shape (rows,)
        float64 for numbers, NaN where they are missing; datetime64[s] for dates, NaT where they are
        missing; bool for truth values, False where they are missing; for all other kinds objects,
        which are str, "" where they are missing. Times of day are numbers: the seconds from
        midnight.
    missing : ndarray of bool, shape (rows,)
        Which cells are missing.
    note : str
        How the cells are written, or what is odd about them; "" if there is nothing to say.
    """

    name: str
    kind: str
    values: Array
    missing: Array
    note: str = ""

    @property
    def summary(self) -> str:
        """Range of numbers and dates, values of the others, and the note."""
        values = self.values[~self.missing]
        if self.kind in ("mixed", "empty"):
            return self.note
        if self.kind in ("number", "date"):
            low, high = _written(values.min()), _written(values.max())
            what = f"always {low}" if low == high else f"{low} to {high}"
        else:
            texts = [str(value) for value in values.tolist()]
            count, example = len(set(texts)), texts[0]
            example = repr(example if len(example) <= _SHOWN else example[:_SHOWN] + "...")
            what = f"always {example}" if count == 1 else f"{count:,} values, such as {example}"
            if self.kind == "boolean" and count > 1:
                what = f"true in {values.sum():,} of {len(values):,}"
        return ", ".join(filter(None, (what, self.note)))


@dataclass(frozen=True, eq=False)
class Columns:
    """The result of `read_columns`: a table with columns of any kind; as text, a line for each.

    Attributes
    ----------
    rows : int
        Number of rows.
    columns : tuple of Column
    """

    rows: int
    columns: tuple[Column, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(column.name for column in self.columns)

    def __iter__(self) -> Iterator[Column]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)

    def __getitem__(self, name: str) -> Column:
        """Return the column of a name."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"there is no column {name!r}; there are {', '.join(self.names)}")

    def __str__(self) -> str:
        lines = [("column", "kind", "missing", "values")]
        for each in self.columns:
            missing = int(each.missing.sum())
            lines.append((each.name, each.kind, f"{missing:,}" if missing else "", each.summary))
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        table = ("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)
        return "\n".join([f"{self.rows:,} rows, {len(self):,} columns", "", *table])


@suggesting
def read_columns(
    path: str | os.PathLike[str],
    *,
    header: bool | None = None,
    columns: Sequence[str] | None = None,
    drop: Sequence[str | int] = (),
    decimal: str | None = None,
    day_first: bool | None = None,
    encoding: str | None = None,
    missing: Collection[str] = (),
) -> Columns:
    r"""Read a table with columns of any kind from a CSV file, plain or gzip.

    Parameters
    ----------
    path : str or os.PathLike
        Text as for `read_csv`.
    header, decimal, encoding
        As for `read_csv`.
    columns : sequence of str, optional
        Names of the columns to read, in this order. Default: all.
    drop : sequence of str or int
        Columns to leave out, by name or position.
    day_first : bool, optional
        Whether the day stands before the month in dates such as 1/2/2024. Default: what fits all
        cells of a column; then what the other columns of dates have; then the day first, with a
        warning. Points mean that the day is first.
    missing : collection of str
        Cells that are missing, beside the ones below.

    Returns
    -------
    Columns

    Raises
    ------
    OSError
        If the file cannot be opened (``FileNotFoundError`` if there is none).
    TypeError
        If ``columns``, ``drop`` or ``missing`` are not lists; if a keyword is none of these.
    ValueError
        As for `read_csv`, but for what is about single cells; if there are more than 16,384
        columns.

    Notes
    -----
    These cells are missing: empty ones, NA, N/A, n/a, #N/A, <NA>, NaN, nan, NULL, null, -, -- and
    ?; but a "-" is a value in a column with a "+".

    The kind of a column is decided by all of its cells. Truth values are true and false, or yes and
    no, in upper or lower case. Dates are written as 2024-12-31, 31.12.2024, 12/31/2024, 31 Dec 2024
    or Dec 31, 2024, with names of months in English, German, French, Spanish, Italian, Portuguese
    or Dutch, and may have a time. Years of two digits are not read, as nothing tells the century.
    Times of day, such as 08:30 or 8:30 PM, are numbers: the seconds from midnight. Numbers may have
    a decimal comma, separated thousands, and one sign of percent or currency for the whole column,
    which does not change their value. Whole numbers that begin with 0, such as 00123, are codes,
    and so text. Where most cells are numbers, or dates, and some are not, the column is mixed: it
    is kept as text, and ``note`` names the others with their lines.

    Examples
    --------
    >>> import fastnn, pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "sales.csv")
    ...     _ = path.write_text("day;price;city\n31.12.2024;1,5;Rome\n01.01.2025;NA;Oslo\n")
    ...     table = fastnn.datasets.read_columns(path)
    >>> table["price"].values, table["day"].kind
    (array([1.5, nan]), 'date')
    >>> print(table)
    2 rows, 3 columns
    <BLANKLINE>
    column  kind    missing  values
    day     date             2024-12-31 to 2025-01-01, day first
    price   number  1        always 1.5, decimal comma
    city    text             2 values, such as 'Rome'
    """
    if isinstance(missing, str) or not isinstance(missing, Collection):
        raise TypeError(f"missing must be a list of texts, got {missing!r}")
    request = Request(
        None,
        header,
        "float64",
        False,
        checked_names(columns),
        checked_drop(drop),
        checked_decimal(decimal),
        checked_encoding(encoding),
    )
    name = repr(os.fspath(path))
    content = text_of(path, name, request.encoding)
    form = form_for(name, content, request)[0]
    places = form.taken
    if columns is None and form.label is not None:  # called "label", and a column like all others
        places = tuple(sorted((*places, form.label)))
    if len(places) > MOST:
        raise ValueError(
            f"{name} has {len(places):,} columns; need at most {MOST:,}, as in a spreadsheet: name "
            "those to read with columns=[...], or read numbers with read_csv"
        )
    texts, lines = _texts(content, form, places)
    orders = ORDERS if day_first is None else frozenset((_FIRST[bool(day_first)],))
    markers = MISSING.union(missing)
    cells = [Cells(each, lines, markers) for each in texts]
    marks = frozenset(NAMES if request.decimal is None else request.decimal)
    kinds = [kind_of(each, marks, orders) for each in cells]
    if header is None and form.named and all(each.name in ("text", "empty") for each in kinds):
        warn(
            f"{name}: all cells are text, and so nothing tells whether the first line holds the "
            "names of the columns; it is taken for that: header=True says so, and header=False "
            "reads it as a row"
        )
    notations = _notations(form, places, kinds, request.decimal)
    dates = {
        place: each
        for place, each, kind in zip(places, cells, kinds, strict=True)
        if kind.name == "date"
    }
    order = _orders(form, dates, orders)
    made = tuple(
        _column(
            form.columns[place],
            texts[i],
            cells[i],
            kinds[i],
            notations.get(place),
            order.get(place),
        )
        for i, place in enumerate(places)
    )
    return Columns(len(lines), made)


def _texts(content: bytes, form: Form, places: Sequence[int]) -> tuple[list[list[str]], list[int]]:
    """Return the cells of each column without spaces around them, and the line of each row."""
    lines: list[int] = []
    texts: list[list[str]] = [[] for _ in places]
    rows = rows_of(open_text(content, form.header), form)
    while block := list(islice(rows, _ROWS)):
        lines += [line for line, _ in block]
        columns = list(zip(*(cells for _, cells in block), strict=True))
        for cells, place in zip(texts, places, strict=True):
            cells += map(str.strip, columns[place])
    if not lines:
        raise ValueError(f"{form.name} holds no rows{' after its header' * form.named}; need one")
    return texts, lines


def _notations(
    form: Form, places: Sequence[int], kinds: Sequence[Kind], decimal: str | None
) -> dict[int, Notation]:
    """Return how the columns of numbers are written; warn where nothing decides."""
    columns = {
        place: kind.evidence
        for place, kind in zip(places, kinds, strict=True)
        if kind.evidence is not None
    }
    notations, assumed = settle(columns, form.delimiter, decimal)
    for place in assumed:
        warn(assumption(form.name, form.place(place), columns[place], notations[place]))
    return notations


def _orders(form: Form, columns: Mapping[int, Cells], orders: frozenset[str]) -> dict[int, str]:
    """Return the order of day and month in each column of dates; warn where nothing decides."""
    possible = {place: orders_of(cells.counts, orders) for place, cells in columns.items()}
    decided = {min(each) for each in possible.values() if len(each) == 1}
    found = {}
    for place, each in possible.items():
        common = decided if len(each) > 1 and len(decided) == 1 else each
        found[place] = min(common)  # of both, "day first"
        doubtful = depends(columns[place].counts) if len(common) > 1 else ""
        if doubtful:
            date = dates_of(doubtful)[found[place]]
            warn(
                f"{form.name}, column {form.place(place)}: {doubtful!r} is read as {date:%Y-%m-%d},"
                " as nothing in the file decides whether the day or the month is first; "
                "day_first=True of read_columns says so, and day_first=False reads the month first"
            )
    return found


def _column(
    name: str,
    texts: Sequence[str],
    cells: Cells,
    kind: Kind,
    notation: Notation | None,
    order: str | None,
) -> Column:
    """Return a column with its values."""
    missing = np.array([text not in cells.counts for text in texts])
    note = kind.note
    values: Array
    if notation is not None:
        numbers = dict(zip(cells.counts, notation.numbers(cells.counts), strict=True))
        values = np.array([numbers.get(text, np.nan) for text in texts])
        note = str(notation)
    elif kind.name == "number":
        seconds = {text: seconds_of(text) for text in cells.counts}
        values = np.array([seconds.get(text, np.nan) for text in texts], np.float64)
    elif order is not None:
        dates = {text: np.datetime64(dates_of(text)[order], "s") for text in cells.counts}
        values = np.array([dates.get(text, np.datetime64("NaT", "s")) for text in texts])
        note = order if depends(cells.counts) else ""
    elif kind.name == "boolean":
        truths = truths_of(cells.counts) or {}
        values = np.array([truths.get(text.lower(), False) for text in texts])
    else:
        values = np.empty(len(texts), object)
        values[:] = [text if text in cells.counts else "" for text in texts]
    return Column(name, kind.name, values, missing, note)


def _written(value: np.floating | np.datetime64) -> str:
    """Return a number or a date as it is shown."""
    if isinstance(value, np.datetime64):
        return str(value).removesuffix("T00:00:00")
    return f"{value:.6g}"
