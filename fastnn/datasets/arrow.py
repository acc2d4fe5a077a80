"""Parquet and Arrow files as parts of a stream, read by pyarrow."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from fastnn.activations import Array
from fastnn.checks.tables import Names
from fastnn.checks.values import meant
from fastnn.column_rows import ColumnRows
from fastnn.datasets.columns import Table
from fastnn.streams.stream import Part

LABEL = "label"  # the column of the targets, if no other is named
BLOCK = 1 << 24  # numbers that are read at a time; fewer at a time take longer
INDEX = re.compile(r"__index_level_\d+__")  # what pandas calls the numbers of rows in a file


class Columns(NamedTuple):
    """Which columns of a file are what, as `fastnn.datasets.stream` gets it."""

    label: str | int | None
    names: Sequence[str] | None
    drop: Sequence[str | int]
    dtype: str


class _Chosen(NamedTuple):
    """The columns that are read."""

    features: Names
    label: str
    dtype: np.dtype


Read = Callable[[str, int, _Chosen], Iterator[tuple[Table, Any]]]


def of_parquet(paths: list[str], columns: Columns) -> list[Part]:
    """Return a part for each row group of the files."""
    pyarrow, parquet = _needed()
    parts: list[Part] = []
    chosen = None
    for path in paths:
        with _errors(pyarrow, repr(path)), parquet.ParquetFile(path) as file:
            schema, metadata = file.schema_arrow, file.metadata
            counts = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
        chosen = _chosen(path, schema, columns, chosen)
        for i, rows in enumerate(counts):
            if rows:
                parts.append(_part(f"{path!r}, row group {i}", rows, _row_group, path, i, chosen))
    return _filled(parts, paths)


def of_arrow(paths: list[str], columns: Columns) -> list[Part]:
    """Return a part for each record batch of the files."""
    pyarrow, _ = _needed()
    parts: list[Part] = []
    chosen = None
    for path in paths:
        with _errors(pyarrow, repr(path)), pyarrow.memory_map(path) as source:
            file = pyarrow.ipc.open_file(source)
            schema = file.schema
            count = file.num_record_batches
        chosen = _chosen(path, schema, columns, chosen)
        for i in range(count):  # how many rows they have is known when they are unpacked
            name = f"{path!r}, record batch {i}"
            parts.append(_part(name, None, _record_batch, path, i, chosen))
    return _filled(parts, paths)


def _part(name: str, rows: int | None, read: Read, path: str, number: int, chosen: _Chosen) -> Part:
    labels = partial(read, path, number, chosen._replace(features=()))
    return Part(name, rows, partial(read, path, number, chosen), labels=labels)


def _row_group(path: str, number: int, chosen: _Chosen) -> Iterator[tuple[Table, Any]]:
    pyarrow, parquet = _needed()
    name = f"{path!r}, row group {number}"
    with _errors(pyarrow, name), parquet.ParquetFile(path) as file:
        _check(path, file.schema_arrow, chosen)  # the file may be another one by now
        wanted, first = [*chosen.features, chosen.label], 0
        for batch in file.iter_batches(_length(wanted), [number], wanted, use_threads=True):
            yield _rows(name, first, batch, chosen)
            first += batch.num_rows


def _record_batch(path: str, number: int, chosen: _Chosen) -> Iterator[tuple[Table, Any]]:
    pyarrow, _ = _needed()
    name = f"{path!r}, record batch {number}"
    with _errors(pyarrow, name), pyarrow.memory_map(path) as source:
        file = pyarrow.ipc.open_file(source)
        _check(path, file.schema, chosen)  # the file may be another one by now
        batch, length = file.get_batch(number), _length(chosen.features)
        for first in range(0, batch.num_rows, length):
            yield _rows(name, first, batch.slice(first, length), chosen)


def _rows(name: str, first: int, batch: Any, chosen: _Chosen) -> tuple[Table, Any]:
    """Return the features and the targets."""
    columns = [_values(name, first, batch, feature) for feature in chosen.features]
    X: Any = np.empty((batch.num_rows, 0), chosen.dtype)
    if columns:
        X = ColumnRows(columns, chosen.dtype)
    y = _values(name, first, batch, chosen.label)
    return Table(X, None, chosen.features, chosen.label), y


def _length(columns: Sequence[str]) -> int:
    """Return how many rows are read at a time."""
    return max(1, BLOCK // max(1, len(columns)))


def _values(name: str, first: int, batch: Any, column: str) -> Array:
    """Return a column of a batch whose first row is that row of what the name says."""
    values = batch.column(column)
    if values.null_count:
        row = first + int(values.is_null().to_numpy(zero_copy_only=False).argmax())
        raise ValueError(f"{name}: column {column!r} has no value in row {row}; leave it out")
    if hasattr(values, "dictionary_decode"):
        values = values.dictionary_decode()
    if str(values.type).startswith("decimal"):
        values = values.cast("float64")
    array: Array = values.to_numpy(zero_copy_only=False)
    return array


def _chosen(path: str, schema: Any, columns: Columns, first: _Chosen | None) -> _Chosen:
    """Return which columns to read; those of the first file, if this is another one."""
    names = list(schema.names)
    if len(set(names)) < len(names):
        twice = next(each for each in names if names.count(each) > 1)
        raise ValueError(f"{path!r} has two columns called {twice!r}; need different names")
    if first is None:
        first = _of_first(path, names, schema, columns)
    _check(path, schema, first)
    return first


def _check(path: str, schema: Any, chosen: _Chosen) -> None:
    """Refuse a file without the columns that are read, or with others of these names."""
    names = list(schema.names)
    for name in (*chosen.features, chosen.label):
        if name not in names:
            raise ValueError(
                f"{path!r} has no column {name!r}{meant(name, names)}; all files need the same"
            )
    for name in chosen.features:
        kind = schema.field(name).type
        if not _is_number(kind):
            raise ValueError(
                f"{path!r}: column {name!r} holds {kind}; need numbers, or leave it out: "
                f"drop=[{name!r}]"
            )
        if chosen.dtype == np.uint8 and str(kind) != "uint8":
            raise ValueError(
                f"{path!r}: column {name!r} holds {kind}, and the first file pixels, uint8; need "
                "the same in all files"
            )


def _of_first(path: str, names: list[str], schema: Any, columns: Columns) -> _Chosen:
    own = [name for name in names if not INDEX.fullmatch(name)]
    label = _name(path, own, "label", LABEL if columns.label is None else columns.label)
    drop = [_name(path, own, "drop", each) for each in columns.drop]
    for name in (label, *drop, *(columns.names or ())):
        if name not in names:
            default = "; say which it is: label=..." * (name == label and columns.label is None)
            raise ValueError(f"{path!r} has no column {name!r}{meant(name, names)}{default}")
    for name in drop:
        if name == label or name in (columns.names or ()):
            what = "the column of the labels" if name == label else "an input"
            raise ValueError(f"{path!r}: drop holds {name!r}, which is {what}; need another column")
    features = columns.names or [name for name in own if name not in (label, *drop)]
    if not features:
        raise ValueError(f"{path!r} has no column but {label!r}; need features")
    pixels = all(str(schema.field(name).type) == "uint8" for name in features)
    return _Chosen(tuple(features), label, np.dtype("uint8" if pixels else columns.dtype))


def _name(path: str, names: list[str], argument: str, column: str | int) -> str:
    """Return the name of a column that may be a position."""
    if isinstance(column, str):
        return column
    if not -len(names) <= column < len(names):
        raise ValueError(
            f"{argument} must be one of the {len(names)} columns of {path!r}; got {column}"
        )
    return names[column]


def _is_number(kind: Any) -> bool:
    text = str(kind)
    return text.startswith(("int", "uint", "bool", "float", "double", "halffloat", "decimal"))


def _filled(parts: list[Part], paths: list[str]) -> list[Part]:
    if not parts:
        raise ValueError(f"there are no rows in {', '.join(map(repr, paths))}")
    return parts


@contextlib.contextmanager
def _errors(pyarrow: Any, name: str) -> Iterator[None]:
    """Name the file, or its part, in what pyarrow raises."""
    try:
        yield
    except (pyarrow.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno:  # of the system, which names the file
            raise
        raise ValueError(f"{name} cannot be read: {error}") from None


def _needed() -> tuple[Any, Any]:
    """Return pyarrow and its module for Parquet."""
    # Memory that is new takes longer than reading into it; otherwise it is given back in 10 ms.
    os.environ.setdefault("MIMALLOC_PURGE_DELAY", "1000")
    try:
        import pyarrow
        import pyarrow.ipc
        import pyarrow.parquet
    except ImportError:
        raise ImportError(
            "Parquet and Arrow files need pyarrow: pip install 'fastnn-cpu[arrow]'"
        ) from None
    return pyarrow, pyarrow.parquet
