"""Tables in CSV and other files of delimited text."""

from __future__ import annotations

import gzip
import io
import os
from collections.abc import Iterator, Sequence
from io import BufferedIOBase
from itertools import islice
from typing import TextIO

import numpy as np

from fastnn.checks.keywords import suggesting
from fastnn.checks.values import DTYPES, one_of
from fastnn.checks.warning import warn
from fastnn.datasets.columns import EXACT, Table, fill, is_number, labels_of, whole
from fastnn.datasets.dialect import before_the_table, dialect_of
from fastnn.datasets.encoding import BOM, checked_encoding, in_utf_8
from fastnn.datasets.idx import CHUNK, open_content, read_up_to
from fastnn.datasets.layout import (
    Request,
    checked_column,
    checked_decimal,
    checked_drop,
    checked_names,
    form_of,
)
from fastnn.datasets.notation import COMMA, facts_of, has_decimals, plain
from fastnn.datasets.office import refuse_office
from fastnn.datasets.readers import (
    Form,
    Labels,
    OtherNotation,
    Reader,
    by_cell,
    by_pandas,
    fast_reader,
    rows_of,
    whole_by_pandas,
)
from fastnn.datasets.settling import decimal_points, notations_of, notes_of

_UNPACKED = 1 << 23  # bytes to which any gzip file may unpack
_RATIO = 100  # times its size to which a larger one may unpack; tables of numbers have 3 to 30
_SPLIT = range(10 << 20, 1 << 30)  # sizes that pandas reads faster as a whole, on several threads


@suggesting
def read_csv(
    path: str | os.PathLike[str],
    label: str | int | None = None,
    *,
    header: bool | None = None,
    dtype: str = "float32",
    pixels: bool | None = None,
    columns: Sequence[str] | None = None,
    drop: Sequence[str | int] = (),
    decimal: str | None = None,
    encoding: str | None = None,
) -> Table:
    r"""Read a table of numbers from a CSV file, plain or gzip.

    Parameters
    ----------
    path : str or os.PathLike
        Text. Cells are separated by commas, semicolons or tabs: by the sign that parts all lines
        alike. They may be quoted and surrounded by spaces. These are ignored: blank lines, also of
        empty cells; lines that begin with # and have another number of cells than the table; empty
        columns without a name at the end; a first line such as ``sep=;``; and, with a warning,
        titles before the table.
    label : str or int, optional
        Column of the labels: its name, or its position from 0, or from -1 for the last. Default:
        the column named "label"; without one there are no labels.
    header : bool, optional
        Whether the first line holds the names of the columns. Default: yes if ``label`` is a name;
        if there is no ``label`` and a cell is "label"; if no cell, apart from the label, is a
        number, or a date above dates; if its label is no number and the next label is one; if it
        holds all ``columns``; if ``drop`` holds a name; or if its cells are 0, 1, 2, ... in any
        order, three at least, which pandas writes for columns without names (an empty cell may come
        before them).
    dtype : "float32" or "float64"
        Type of the features, unless they are pixels.
    pixels : bool, optional
        Whether the features are pixels, whole numbers from 0 to 255, which become uint8. Default:
        yes if each name is "pixel" and a number, as on Kaggle.
    columns : sequence of str, optional
        Names of the features, in the order that ``X`` shall have. Only these columns are converted,
        so others may hold anything. A file without a header is read by position: it must have as
        many features. If "label" is among the names, it is a feature.
    drop : sequence of str or int
        Columns to leave out, by name or position; they may hold anything. Where ``columns`` are
        read by name, all others are left out anyway.
    decimal : "." or ",", optional
        What separates the decimals of numbers. Default: what fits all cells of a column; then what
        the other columns have; then, for a cell such as "1,234", the point between commas and the
        comma between semicolons; then the point, with a warning. With "," lines such as 1,5 are a
        single column.
    encoding : str, optional
        Name of an encoding that Python knows. Default: UTF-8; UTF-16, by its byte order mark or its
        zero bytes; else Windows-1252, with a warning.

    Returns
    -------
    Table
        ``X`` of shape (rows, features) and ``y`` of shape (rows,) or None, both C-contiguous.
        ``left_out`` names the other columns.

    Raises
    ------
    OSError
        If the file cannot be opened (``FileNotFoundError`` if there is none).
    TypeError
        If ``label`` or an element of ``drop`` is neither a name nor a position, or ``columns`` is
        not a sequence of names; if a keyword is none of these.
    ValueError
        If there is no row or no such column; if two columns that are read have the same name; if
        rows differ in length; if a feature is not a number, or not finite in ``dtype``; if a label
        is missing, which is empty, NA, N/A, null or not finite; if a column has numbers with a
        decimal point and with a comma; if it is a file of Excel; if the text is not in its
        encoding, or the gzip data are corrupt; if there are more than 262,144 columns; if gzip
        unpacks to more than 8 MiB and to more than 100 times the size of the file. The message
        names the file and, where it is about a cell, the line (from 1, the header included) and the
        column.

    Notes
    -----
    Numbers are what `float` reads, or have a decimal comma, separated thousands ("1.234,5", "1
    234.5", "1'234"), or one sign of percent or currency for the whole column, which does not change
    their value. True and False, in upper or lower case, are 1 and 0. Numbers are rounded to the
    nearest float64, then to the dtype. There is a warning if the first column has no name and
    counts the rows. `read_columns` reads text, dates and missing cells, too. If pandas 3.1 or later
    is installed, it reads large files faster; otherwise NumPy does. The result is the same to the
    bit.

    Examples
    --------
    >>> import fastnn, pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "iris.csv")
    ...     _ = path.write_text("width,length,kind\n3.5,1.4,setosa\n3.2,4.7,versicolor\n")
    ...     table = fastnn.datasets.read_csv(path, label="kind")
    >>> table.X.shape, table.y.tolist(), table.features, table.label
    ((2, 2), ['setosa', 'versicolor'], ('width', 'length'), 'kind')
    """
    request = Request(
        None if label is None else checked_column("label", label),
        header,
        one_of("dtype", dtype, DTYPES),
        pixels,
        checked_names(columns),
        checked_drop(drop),
        checked_decimal(decimal),
        checked_encoding(encoding),
    )
    name = repr(os.fspath(path))
    table = _by_threads(path, name, request) or _read(path, name, request)
    _warn_of_row_numbers(name, table)
    return table


def _read(path: str | os.PathLike[str], name: str, request: Request) -> Table:
    """Read a file with the fastest reader that can, or say what is wrong."""
    content = text_of(path, name, request.encoding)
    form, first_label = form_for(name, content, request)
    if request.decimal == COMMA:
        return _by_notation(content, form, request)
    reader = fast_reader(form, len(content))
    # Labels as numbers first: this takes less time and memory than to convert text at the end.
    for numeric in (True, False) if form.label is None or is_number(first_label) else (False,):
        try:
            table = _table(reader, content, form, numeric)
        except (ValueError, OverflowError, MemoryError):
            continue  # `by_cell` says what is wrong, such as a row of very many cells
        if request.decimal is None and not has_decimals(form.delimiter, content):
            notations_of(rows_of(open_text(content, form.header), form), form)  # warns
        return table
    try:
        return _table(by_cell, content, form, numeric=False)
    except OtherNotation:
        return _by_notation(content, form, request)


def text_of(path: str | os.PathLike[str], name: str, encoding: str | None) -> bytes:
    """Return the text of a file in UTF-8."""
    with open_content(path) as stream:
        content = _unpacked(stream, name, os.path.getsize(path))
    refuse_office(path, name, content)
    return in_utf_8(name, content, encoding)


def _by_notation(content: bytes, form: Form, request: Request) -> Table:
    """Read a table in which numbers are written as spreadsheets write them."""
    rows = rows_of(open_text(content, form.header), form)
    form = form._replace(notations=notations_of(rows, form, request.decimal))
    if with_points := decimal_points(content, form):
        try:
            reader = fast_reader(form, len(content))
            return _table(reader, with_points, form, numeric=True)
        except (ValueError, OverflowError, MemoryError):
            pass
    return _table(by_cell, content, form, numeric=False)


def _warn_of_row_numbers(name: str, table: Table) -> None:
    """Warn of a first column without a name that counts the rows, as DataFrames write it."""
    if table.features and table.features[0] in ("0", "Unnamed: 0") and len(table.X) > 1:
        column = table.X[:, 0].astype(np.float64)
        if np.array_equal(column - column[0], np.arange(len(column))):
            warn(
                f"{name}: the first column has no name and counts the rows, and is read as a "
                f"feature; drop=[{table.features[0]!r}] leaves it out"
            )


def _refuse_commas(form: Form, labels: Labels) -> None:
    """Leave labels that are numbers in another notation to `_by_notation`."""
    others = [text for text in labels if not is_number(text)]
    if form.notations is None and others and all(map(_has_marks, others)):
        raise OtherNotation(f"{form.name}: labels with commas")


def _has_marks(text: str) -> bool:
    facts = facts_of(text)
    return bool(facts.decimals) and not facts.unit


def _by_threads(path: str | os.PathLike[str], name: str, request: Request) -> Table | None:
    """Read a large file of plain numbers by its path; return None for other files and on errors.

    The text is scanned but not kept: 100 MB took a tenth of a second.
    """
    size = os.path.getsize(path)
    if size not in _SPLIT or request.encoding is not None or request.decimal == COMMA:
        return None
    head = _head_of_plain(path)
    if head.count(b"\n") < 2 or not all(line.strip() for line in islice(open_text(head), 2)):
        return None
    try:
        form, first_label = form_for(name, head, request, head_only=True)
        if fast_reader(form, size) is not by_pandas:
            return None
        if request.decimal is None and not has_decimals(form.delimiter, head):
            return None
        if form.label is None or is_number(first_label):
            return _table(whole_by_pandas(path), b"", form, True)
    except (ValueError, OverflowError, MemoryError):
        pass  # the other readers read it, or say what is wrong
    return None


def _head_of_plain(path: str | os.PathLike[str]) -> bytes:
    """Return the first lines of a file, or b"" if a line feed in it may not end a row."""
    with open(path, "rb") as file:
        chunk = file.read(CHUNK)
        head = chunk[: chunk.rfind(b"\n") + 1]
        while chunk:
            if not chunk.isascii() or any(byte in chunk for byte in (b"\0", b"\r", b'"')):
                return b""
            chunk = file.read(CHUNK)
    return head


def _unpacked(stream: BufferedIOBase, name: str, size: int) -> bytes:
    """Return the content of a file of so many bytes; refuse a gzip bomb."""
    if not isinstance(stream, gzip.GzipFile):
        return stream.read()
    most = max(_UNPACKED, _RATIO * size)
    content = read_up_to(stream, most)
    if stream.read(1):
        raise ValueError(
            f"{name} has {size} bytes and unpacks to more than {most}; need at most {_RATIO} times "
            "its size: unpack it yourself if you trust it"
        )
    return bytes(content)


def _table(reader: Reader, content: bytes, form: Form, numeric: bool) -> Table:
    """Read a table, with labels as numbers or as text; raise ValueError if that fails."""
    labels = None if numeric or form.label is None else Labels()
    left_out = tuple(form.columns[i] for i in form.unread if i < form.width)
    runs = list(_runs(form.taken))
    parts, targets = [], []
    for block in reader(open_text(content, form.header), form, labels):
        if block.shape[1] != len(form.columns):
            raise ValueError("rows of another length")
        part = np.empty((len(block), len(form.taken)), form.dtype)
        if not all(fill(part[:, to], block[:, place]).all() for to, place in runs):
            raise ValueError("features that do not fit")
        parts.append(part)
        if form.label is not None:
            targets.append(block[:, form.label].astype(np.float64))
    if not parts:
        raise ValueError(f"{form.name} holds no rows{' after its header' * form.named}; need one")
    X = parts[0] if len(parts) == 1 else np.concatenate(parts)
    if form.label is None:
        return Table(X, None, form.features, None, left_out, notes_of(form))
    y = np.concatenate(targets)
    if labels is not None:
        _refuse_commas(form, labels)
        mark = (form.notations or {}).get(form.label)
        found = labels_of(
            labels if mark is None else (plain(each, mark.decimal) for each in labels)
        )
        y = found[y.astype(np.intp)]
    elif np.all(np.abs(y) < EXACT):
        y = whole(y)
    else:
        raise ValueError("labels that are rounded or not finite")
    return Table(X, y, form.features, form.columns[form.label], left_out, notes_of(form))


def open_text(content: bytes, skip: int = 0) -> TextIO:
    """Open the text after its byte order mark and some lines."""
    raw = io.BytesIO(content)
    raw.seek(len(BOM) if content.startswith(BOM) else 0)
    stream = io.TextIOWrapper(raw, encoding="utf-8", newline="")
    for _ in range(skip):
        stream.readline()
    return stream


def form_for(
    name: str, content: bytes, request: Request, head_only: bool = False
) -> tuple[Form, str]:
    """Return the layout of the lines, and the cell of the first label or "".

    Warn of lines before the table, or refuse them where the text is only the head of a file.
    """
    dialect = dialect_of(name, lambda: open_text(content), request.decimal)
    if dialect.before:
        if head_only:
            raise ValueError("lines before the table")
        warn(before_the_table(name, dialect))
    return form_of(name, dialect, len(content), request)


def _runs(taken: Sequence[int]) -> Iterator[tuple[slice, slice]]:
    """Yield where neighbouring features are in a table and in a file."""
    first = 0
    for i in range(1, len(taken) + 1):
        if i == len(taken) or taken[i] != taken[i - 1] + 1:
            yield slice(first, i), slice(taken[first], taken[i - 1] + 1)
            first = i
