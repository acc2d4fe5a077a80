"""Three readers of delimited text with the same result: pandas, NumPy, and cell by cell.

`by_cell` defines how a file is read. The others are faster. They may fail, or return numbers that
do not fit into a table, for files that `by_cell` reads; all other numbers are the same. Each reader
gets an open stream after the header and yields blocks of numbers, (rows, columns). With ``labels``,
the column of the labels holds their numbers in `Labels`. Columns that are not read hold zeros.
"""

from __future__ import annotations

import csv
import importlib
import math
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TextIO, TypeAlias

import numpy as np

from fastnn.datasets.columns import MISSING, Array, fill, is_number, number, truth
from fastnn.datasets.notation import COMMA, NAMES, Notation, facts_of, is_written

_LARGE = 1 << 25  # bytes for which NumPy takes as long as importing pandas
_TALL = 1 << 10  # bytes of a column for which NumPy takes as long as pandas takes to start a column
_CELLS = 1 << 18  # in a block, so that it stays in the cache
_ROWS = 1024  # in a block at least, as pandas takes some microseconds per column and block

_SHOWN = 40  # characters of a cell, in an error
NOTATION = "with a decimal point and no thousands separators"
_WITH_COMMAS = re.compile(r"[+-]?\d+(?:[.,]\d+)*,\d+(?:[.,]\d+)*")
_MISSING = frozenset(("", "NA", "N/A", "#N/A", "<NA>", "NULL", "null"))


class Form(NamedTuple):
    """The layout of the lines of a file."""

    name: str  # of the file, for errors
    delimiter: str
    columns: tuple[str, ...]  # names of all columns
    taken: tuple[int, ...]  # positions of the features, in their order
    unread: tuple[int, ...]  # positions of the columns that are neither features nor the label
    header: int  # lines before the first row
    named: bool  # whether a header names the columns
    label: int | None  # position of the label
    dtype: np.dtype[Any]  # of the features
    chosen: bool = False  # whether the features were chosen by name
    padding: int = 0  # columns at the end that must be empty
    notations: Mapping[int, Notation] | None = None  # of the features; of labels that are numbers
    rows: int = sys.maxsize  # upper limit

    @property
    def features(self) -> tuple[str, ...] | None:
        """Names of the features, if there are any."""
        return tuple(self.columns[i] for i in self.taken) if self.named else None

    @property
    def width(self) -> int:
        """Number of columns without the empty ones at the end."""
        return len(self.columns) - self.padding

    def where(self, line: int, column: int) -> str:
        """Return the place of a cell, for errors."""
        return f"{self.name}, line {line}, column {self.place(column)}"

    def place(self, column: int) -> str:
        """Return the name or the position of a column, for errors."""
        return repr(self.columns[column]) if self.named else str(column)


class CellError(ValueError):
    """A cell that is no number, or no label."""


class OtherNotation(ValueError):
    """A number that is written in another way than Python does."""


class Labels(dict[str, int]):
    """Labels as text, numbered in order of appearance."""

    def __missing__(self, text: str) -> int:
        if "\n" in text or "\r" in text:
            raise ValueError("a line break within quotes; need a label on one line")
        if text in _MISSING or (is_number(text) and not math.isfinite(number(text))):
            raise ValueError(f"{text!r}; need a label" if text else "empty; need a label")
        self[text] = len(self)
        return self[text]

    def place(self, text: str) -> int:
        """Return the number of a label."""
        return self[text.strip()]


Reader: TypeAlias = Callable[[TextIO, Form, Labels | None], Iterator[Array]]


def fast_reader(form: Form, size: int) -> Reader:
    """Return the fastest reader for so many bytes.

    Before version 3.1, pandas either rounds some floats wrongly or is slower than NumPy. NumPy
    takes three quarters of the time of pandas for pixels, and for columns of few rows: pandas takes
    about 20 microseconds to start each. Where columns are not read, only NumPy sees short rows.
    """
    worthwhile = not form.unread and (size >= _LARGE or "pandas" in sys.modules)
    if form.dtype != np.uint8 and worthwhile and size >= _TALL * len(form.columns):
        try:
            pandas = importlib.import_module("pandas")
        except ImportError:
            return by_numpy
        if tuple(map(int, pandas.__version__.split(".")[:2])) >= (3, 1):
            return by_pandas
    return by_numpy


def by_pandas(stream: TextIO, form: Form, labels: Labels | None) -> Iterator[Array]:
    """Read with `pandas.read_csv`, without a dtype, which would take longer."""
    _refuse_unread(form)
    start = stream.tell()
    if stream.read(1) == "\ufeff":
        raise ValueError("pandas skips a byte order mark anywhere")
    stream.seek(start)
    with importlib.import_module("pandas").read_csv(
        stream,
        sep=form.delimiter,
        header=None,
        converters=_converters(form, labels),
        low_memory=False,
        chunksize=_rows(form),
    ) as frames:
        for frame in frames:
            block = frame.to_numpy()
            yield block if block.dtype.kind in "iuf" else block.astype(np.float64)
    if "\r" in (stream.newlines or ()) and stream.newlines != "\r\n":
        raise ValueError("pandas loses a delimiter after a blank line that ends in CR")
    _refuse_quotes(labels)


def whole_by_pandas(path: str | os.PathLike[str]) -> Reader:
    """Return a reader with which pandas reads a file of numbers by its path, on many threads."""

    def read(stream: TextIO, form: Form, labels: Labels | None) -> Iterator[Array]:
        _refuse_unread(form)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about columns of more than one type
            frame = importlib.import_module("pandas").read_csv(
                os.fspath(path),
                sep=form.delimiter,
                header=None,
                skiprows=form.header,
                compression=None,
            )
        block = frame.to_numpy()
        yield block if block.dtype.kind in "iuf" else block.astype(np.float64)

    return read


def by_numpy(stream: TextIO, form: Form, labels: Labels | None) -> Iterator[Array]:
    """Read with `numpy.loadtxt`."""
    lines = iter(stream)
    rows = _rows(form)
    length = rows
    while length == rows:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about blank lines
            block: Array = np.loadtxt(  # type: ignore[call-overload] # Keys are int, not int | str.
                lines,
                np.float64,
                comments=None,
                delimiter=form.delimiter,
                converters=_converters(form, labels),
                ndmin=2,
                encoding=None,
                max_rows=rows,
                quotechar='"',
            )
        length = len(block)
        if length:
            yield block
    _refuse_quotes(labels)


def by_cell(stream: TextIO, form: Form, labels: Labels | None) -> Iterator[Array]:
    """Read with the `csv` module; errors name the line and the column."""
    rows: list[Array] = []
    for line, cells in rows_of(stream, form):
        rows.append(_numbers(cells, line, form, labels))
        if len(rows) == _rows(form):
            yield np.stack(rows)
            rows.clear()
    if rows:
        yield np.stack(rows)


def rows_of(stream: TextIO, form: Form) -> Iterator[tuple[int, list[str]]]:
    """Yield the line and the cells of each row; refuse those of another length.

    A line of another length that begins with # is a comment.
    """
    for line, cells in records(stream, form.delimiter, form.name, before=form.header):
        more = len(cells) - form.width
        if not 0 <= more <= form.padding:
            if cells[0].lstrip().startswith("#"):
                continue
            single = form.width == 1 and len(cells) == 2 and has_decimal_comma(cells)
            hint = "; decimal=',' reads a single column of decimal commas" * single
            raise ValueError(
                f"{form.name}, line {line}: {len(cells)} cells; need {form.width}{hint}"
            )
        for text in cells[form.width :]:
            if text.strip():
                raise ValueError(
                    f"{form.name}, line {line}: {text.strip()!r} in a column without a name, which "
                    "is empty in the lines above; need a name in the header, or an empty cell"
                )
        yield line, cells + [""] * (form.padding - more)


def records(
    lines: Iterable[str], delimiter: str, name: str, before: int = 0
) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of the first line and the cells of each record that is not blank.

    ``before`` is the number of lines before those given.
    """
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    line = before + 1
    try:
        for cells in reader:
            if any(map(str.strip, cells)):
                yield line, cells
            line = before + 1 + reader.line_num
    except csv.Error as error:
        raise ValueError(f"{name}, line {line}: {error}") from None


def _numbers(cells: list[str], line: int, form: Form, labels: Labels | None) -> Array:
    if labels is not None and form.label is not None:
        try:
            cells[form.label] = str(labels.place(cells[form.label]))
        except ValueError as error:
            raise CellError(f"{form.where(line, form.label)}: {error}") from None
    for column in form.unread:
        cells[column] = "0"
    if form.notations is None:
        try:
            values = np.array(list(map(float, cells)))
        except ValueError:
            values = np.array([_number(cells, i, line, form) for i in range(len(cells))])
    else:
        values = np.zeros(len(cells))
        for i in form.taken:
            values[i] = _number(cells, i, line, form)
        if form.label is not None:
            values[form.label] = float(cells[form.label])
    unfit = ~fill(np.empty(len(values), form.dtype), values)
    if form.label is not None:
        unfit[form.label] = False
    if unfit.any():
        column = int(unfit.argmax())
        need = "a whole number from 0 to 255" if form.dtype == np.uint8 else "a finite number"
        need += " in float32" * (form.dtype == np.float32)
        raise CellError(f"{form.where(line, column)}: {cells[column].strip()!r}; need {need}")
    return values


def _number(cells: list[str], column: int, line: int, form: Form) -> float:
    text = cells[column].strip()
    notation = None if form.notations is None else form.notations[column]
    try:
        return number(text) if notation is None else notation.number(text)
    except ValueError:
        pass
    if notation is None and is_written(text):
        raise OtherNotation(f"{form.where(line, column)}: {text!r}")
    try:
        return truth(text)
    except ValueError:
        raise CellError(_refusal(text, column, line, form, notation)) from None


def _refusal(text: str, column: int, line: int, form: Form, notation: Notation | None) -> str:
    """Return what is wrong with a cell that is no number, and what to do."""
    shown = repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "...") if text else "empty"
    place = form.columns[column] if form.named else column
    if text in MISSING:
        hint = ": fill the cell" + f", or drop=[{place!r}] leaves the column out" * (
            not form.chosen
        )
    else:
        hint = ""
        if notation is not None and is_written(text):
            hint = f" with a {NAMES[notation.decimal]} and {notation.unit or 'no unit'}"
        elif has_commas(text):
            hint = f", {NOTATION}"
        if not form.chosen:
            if form.label is None:
                hint += f", or label={place!r} if this is the label"
            hint += f", or drop=[{place!r}] to leave the column out"
        if not form.named and line == form.header + 1:
            hint += f", or header=True if line {line} holds the names of the columns"
    return f"{form.where(line, column)}: {shown}; need a number{hint}"


def has_decimal_comma(cells: Iterable[str]) -> bool:
    """Whether cells that commas part are one number, with a decimal comma."""
    return COMMA in facts_of(COMMA.join(cells).strip()).decimals


def has_commas(text: str) -> bool:
    """Whether a text is a number with decimal or thousands commas."""
    return _WITH_COMMAS.fullmatch(text) is not None


def _refuse_quotes(labels: Labels | None) -> None:
    """Leave quotes after spaces to `by_cell`: the other readers take them for text."""
    if labels is not None and any('"' in text for text in labels):
        raise ValueError("labels with quotes")


def _refuse_unread(form: Form) -> None:
    """Leave files with columns that are not read to readers that notice missing cells there."""
    if form.unread:
        raise ValueError("pandas does not notice short rows where columns are not read")


def _converters(form: Form, labels: Labels | None) -> dict[int, Callable[[str], int]] | None:
    found: dict[int, Callable[[str], int]] = dict.fromkeys(form.unread, _zero)
    found |= dict.fromkeys(range(form.width, len(form.columns)), _nothing)
    if labels is not None and form.label is not None:
        found[form.label] = labels.place
    return found or None


def _zero(text: str) -> int:
    """Return 0 for a cell that is not read; leave quotes and line breaks to `by_cell`."""
    if any(sign in text for sign in '"\r\n'):
        raise ValueError("quotes or a line break in a column that is not read")
    return 0


def _nothing(text: str) -> int:
    """Return 0 for an empty cell; leave others to `by_cell`."""
    if text.strip():
        raise ValueError("a cell in an empty column")
    return 0


def _rows(form: Form) -> int:
    return min(form.rows, max(_ROWS, _CELLS // len(form.columns)))  # NumPy allocates all of them
