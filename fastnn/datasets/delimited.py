"""Tables in CSV files, and in others of delimited text."""

from __future__ import annotations

import gzip
import io
import operator
import os
import re
from io import BufferedIOBase
from itertools import islice
from typing import SupportsIndex, TextIO

import numpy as np

from fastnn.checks.values import DTYPES, one_of
from fastnn.datasets.columns import EXACT, MOST_COLUMNS, Table, fill, is_number, labels_of, whole
from fastnn.datasets.idx import CHUNK, open_content, read_up_to
from fastnn.datasets.readers import (
    Form,
    Labels,
    Reader,
    by_cell,
    by_pandas,
    fast_reader,
    records,
    whole_by_pandas,
)

_BOM = b"\xef\xbb\xbf"
_UNPACKED = 1 << 23  # bytes that any gzip file may unpack to
_RATIO = 100  # times its size that a larger one may; tables of numbers come to 3 to 30
_SHOWN = 8  # column names in an error
_SPLIT = range(10 << 20, 1 << 30)  # bytes that pandas reads faster on several threads, at once


def read_csv(
    path: str | os.PathLike[str],
    label: str | int | None = None,
    *,
    header: bool | None = None,
    dtype: str = "float32",
    pixels: bool | None = None,
) -> Table:
    r"""Read a table of numbers from a CSV file, plain or gzip.

    Parameters
    ----------
    path : str or os.PathLike
        UTF-8 text. Cells are separated by commas, or by semicolons or tabs if the first line has
        more of these, and may be quoted and have spaces around; blank lines are left out.
    label : str or int, optional
        The column of the labels, by name or by position, from 0 or, if negative, from the end. By
        default the one with the name "label"; if there is none, there are no labels.
    header : bool, optional
        Whether the first line holds the names of the columns. By default, it does if ``label`` is a
        name; if, without ``label``, one of its cells is "label"; if none of its cells but that of
        the label is a number; or if its label is not a number, and that of the next line is one.
    dtype : "float32" or "float64", default "float32"
        Of the features, unless these are pixels.
    pixels : bool, optional
        Whether the features are pixels, whole numbers from 0 to 255, and become uint8. By default,
        if the names of all are "pixel" and a number, as on Kaggle.

    Returns
    -------
    Table
        ``X`` of shape (rows, features) and ``y`` of shape (rows,) or None, both C-contiguous.

    Raises
    ------
    OSError
        If the file cannot be opened (``FileNotFoundError`` if there is none).
    TypeError
        If ``label`` is neither a name nor a position.
    ValueError
        If there is no such label column, or no row; if two columns have one name; if rows differ in
        length; if a feature is not a number that is finite in ``dtype``, or a label is missing:
        empty, NA, N/A, null or not finite; if the text is not UTF-8, or corrupt gzip; if there are
        more than 262,144 columns; if gzip unpacks to more than 8 MiB and 100 times the file's
        bytes. The message tells file, line (from 1, the header included) and column.

    Notes
    -----
    A number is what `float` reads; True and False, in any case, are 1 and 0. It is rounded to the
    nearest float64 and from there to the dtype. pandas, from version 3.1, reads the file where it
    is installed and takes less time, else NumPy; the result is the same to the bit.

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
    one_of("dtype", dtype, DTYPES)
    if isinstance(label, bool | np.bool_) or not isinstance(label, str | SupportsIndex | None):
        raise TypeError(f"label must be a name or a position, got {label!r}")
    name = repr(os.fspath(path))
    table = _by_threads(path, name, label, header, dtype, pixels)
    if table is not None:
        return table
    with open_content(path) as stream:
        content = _text(stream, name, os.path.getsize(path))
    _check_text(name, content)
    form, first_label = _form(name, content, label, header, dtype, pixels)
    reader = fast_reader(form, len(content))
    # As numbers first: this takes less time and memory than text that is converted in the end.
    for numeric in (True, False) if form.label is None or is_number(first_label) else (False,):
        try:
            return _table(reader, content, form, numeric)
        except (ValueError, OverflowError, MemoryError):
            continue  # `by_cell` finds out what is wrong, such as a row of very many cells.
    return _table(by_cell, content, form, numeric=False)


def _by_threads(
    path: str | os.PathLike[str],
    name: str,
    label: str | SupportsIndex | None,
    header: bool | None,
    dtype: str,
    pixels: bool | None,
) -> Table | None:
    """Read a large file of plain numbers by its path; None if it is another, or anything is wrong.

    The text is only looked through, not kept: 100 MB took a tenth of a second to be read.
    """
    size = os.path.getsize(path)
    if size not in _SPLIT:
        return None
    head = _head_of_plain(path)
    if head.count(b"\n") < 2 or not all(line.strip() for line in islice(_open(head), 2)):
        return None
    try:
        form, first_label = _form(name, head, label, header, dtype, pixels)
        if fast_reader(form, size) is not by_pandas:
            return None
        if form.label is None or is_number(first_label):
            return _table(whole_by_pandas(path), b"", form, True)
    except (ValueError, OverflowError, MemoryError):
        pass  # The other readers say what is wrong, or read it.
    return None


def _head_of_plain(path: str | os.PathLike[str]) -> bytes:
    """Return the lines that a file begins with, if each line feed in it ends a row, else b""."""
    with open(path, "rb") as file:
        chunk = file.read(CHUNK)
        head = chunk[: chunk.rfind(b"\n") + 1]
        while chunk:
            if not chunk.isascii() or any(byte in chunk for byte in (b"\0", b"\r", b'"')):
                return b""
            chunk = file.read(CHUNK)
    return head


def _text(stream: BufferedIOBase, name: str, size: int) -> bytes:
    """Return all that a file of so many bytes delivers, unless it is a gzip bomb."""
    if not isinstance(stream, gzip.GzipFile):
        return stream.read()
    most = max(_UNPACKED, _RATIO * size)
    content = read_up_to(stream, most)
    if stream.read(1):
        raise ValueError(
            f"{name} has {size} bytes and unpacks to more than {most}; need at most {_RATIO} times "
            "as many: unpack it yourself if you trust it"
        )
    return bytes(content)


def _check_text(name: str, content: bytes) -> None:
    """Refuse what a reader may take for something else."""
    at, what = content.find(0), "a zero byte"
    if at < 0 and not content.isascii():
        try:
            content.decode()
        except UnicodeDecodeError as error:
            at, what = error.start, f"{content[error.start]:#x}, {error.reason}"
    if at >= 0:
        line = content.count(b"\n", 0, at) + 1
        raise ValueError(f"{name}, line {line}: {what}; need text in UTF-8")


def _table(reader: Reader, content: bytes, form: Form, numeric: bool) -> Table:
    """Read it all, with labels as numbers or as texts; a ValueError says that this cannot be."""
    labels = None if numeric or form.label is None else Labels()
    last = len(form.columns) if form.label is None else form.label  # of the columns on the left
    parts, targets = [], []
    for block in reader(_open(content, form.header), form, labels):
        if block.shape[1] != len(form.columns):
            raise ValueError("rows of another length")
        part = np.empty((len(block), len(form.features)), form.dtype)
        left = fill(part[:, :last], block[:, :last])
        right = fill(part[:, last:], block[:, last + 1 :])
        if not (left.all() and right.all()):
            raise ValueError("features that do not fit")
        parts.append(part)
        if form.label is not None:
            targets.append(block[:, form.label].astype(np.float64))
    if not parts:
        raise ValueError(f"{form.name} holds no rows" + " but its header" * form.named)
    X = parts[0] if len(parts) == 1 else np.concatenate(parts)
    if form.label is None:
        return Table(X, None, form.features, None)
    y = np.concatenate(targets)
    if labels is not None:
        y = labels_of(labels)[y.astype(np.intp)]
    elif np.all(np.abs(y) < EXACT):
        y = whole(y)
    else:
        raise ValueError("labels that are rounded or not finite")
    return Table(X, y, form.features, form.columns[form.label])


def _open(content: bytes, skip: int = 0) -> TextIO:
    """Open the text, past its byte order mark and some lines."""
    raw = io.BytesIO(content)
    raw.seek(len(_BOM) if content.startswith(_BOM) else 0)
    stream = io.TextIOWrapper(raw, encoding="utf-8", newline="")
    for _ in range(skip):
        stream.readline()
    return stream


def _form(
    name: str,
    content: bytes,
    label: str | SupportsIndex | None,
    header: bool | None,
    dtype: str,
    pixels: bool | None,
) -> tuple[Form, str]:
    """Return how the lines are laid out, and the cell of the first label, if there is one."""
    line = next((line for line in _open(content) if line.strip()), "")
    unquoted = re.sub('"[^"]*"', "", line)
    delimiter = max(",;\t", key=unquoted.count)
    rows = list(islice(records(_open(content), delimiter, name), 2))
    if not rows:
        raise ValueError(f"{name} holds no rows")
    (at, first), (_, second) = rows[0], rows[-1]
    if len(first) > MOST_COLUMNS:
        raise ValueError(f"{name}, line {at}: {len(first)} cells; need at most {MOST_COLUMNS}")
    if header is None:
        header = _is_header(first, second, label)
    if header:
        columns = _columns(first, f"{name}, line {at}")
    elif isinstance(label, str):
        raise ValueError(
            f"{name} is read without a header; label must be a position, got {label!r}"
        )
    else:
        columns = tuple(map(str, range(len(first))))
    place = _place(name, columns, label, header)
    features = tuple(column for i, column in enumerate(columns) if i != place)
    if not features:
        raise ValueError(f"{name} has one column, that of the labels; need features")
    if pixels is None:
        pixels = all(re.fullmatch("pixel[0-9]+", feature) for feature in features)
    form = Form(
        name=name,
        delimiter=delimiter,
        columns=columns,
        features=features,
        header=at if header else at - 1,
        named=header,
        label=place,
        dtype=np.dtype(np.uint8 if pixels else dtype),
        rows=len(content) // (2 * len(columns)) + 1,  # a number and a delimiter are two bytes
    )
    row = second if header else first
    return form, "" if place is None else "".join(row[place : place + 1])


def _is_header(first: list[str], second: list[str], label: str | SupportsIndex | None) -> bool:
    """Tell whether the first row is a header, by the rule of `read_csv`."""
    if isinstance(label, str) or (label is None and "label" in map(str.strip, first)):
        return True
    others = list(first)
    if label is not None and -len(first) <= (place := operator.index(label)) < len(first):
        above, below = others.pop(place), second[place : place + 1 or None]
        if not is_number(above) and any(map(is_number, below)):
            return True
    return not any(map(is_number, others))


def _columns(first: list[str], where: str) -> tuple[str, ...]:
    """Return the names of the columns; one without a name has its position."""
    columns = tuple(cell.strip() or str(i) for i, cell in enumerate(first))
    if any("\n" in column or "\r" in column for column in columns):
        raise ValueError(f"{where}: a line break within quotes; need the name of a column")
    known: set[str] = set()
    for column in columns:
        if column in known:
            raise ValueError(f"{where}: two columns are called {column!r}; need different names")
        known.add(column)
    return columns


def _place(
    name: str, columns: tuple[str, ...], label: str | SupportsIndex | None, header: bool
) -> int | None:
    """Return the position of the label."""
    count = len(columns)
    if label is None:
        return columns.index("label") if header and "label" in columns else None
    if isinstance(label, str):
        if label not in columns:
            shown = ", ".join(map(repr, columns[:_SHOWN]))
            more = f" and {count - _SHOWN} more" * (count > _SHOWN)
            raise ValueError(f"{name} has no column {label!r}; its columns are {shown}{more}")
        return columns.index(label)
    place = operator.index(label)
    if not -count <= place < count:
        raise ValueError(
            f"{name} has {count} columns; label must be a name or from {-count} to {count - 1},"
            f" got {place}"
        )
    return place % count
