"""What streams are made of: functions, iterables, and the files of a data set."""

from __future__ import annotations

import glob
import itertools
import operator
import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from fastnn.checks import values as check
from fastnn.checks.keywords import suggesting
from fastnn.datasets import arrow
from fastnn.datasets.arrays import read_npz
from fastnn.datasets.arrow import Columns
from fastnn.datasets.columns import Table
from fastnn.datasets.delimited import read_csv
from fastnn.datasets.layout import Column, checked_column, checked_drop, checked_names
from fastnn.sparse_rows import is_sparse
from fastnn.streams.stream import BUFFER, Part, Stream, of_blocks

AnyPath = str | os.PathLike[str]
MARKS = "*?["  # of patterns
MOST_SEARCHED = 10_000  # files in folders of a folder, for a hint


@suggesting
def stream(
    source: AnyPath | Sequence[AnyPath] | Callable[[], Iterable[Any]] | Iterable[Any],
    label: str | int | None = None,
    *,
    columns: Sequence[str] | None = None,
    drop: Sequence[str | int] = (),
    dtype: str = "float32",
    buffer: int = BUFFER,
) -> Stream:
    """Return data that `fastnn.Network.train` reads block by block, again in every epoch.

    They need not fit into memory. In each epoch the parts come in another order, and rows are
    shuffled within a buffer, which is filled while the network learns from the one before. Parts
    are files, row groups of Parquet, batches of Arrow, or the items of a sequence; blocks of a
    function come in its order.

    Parameters
    ----------
    source : path, sequence of paths, callable, or iterable
        Files that end in .parquet, .arrow, .feather, .npz, .csv, .tsv or .txt (the last three also
        with .gz); a pattern, such as ``"parts/*.parquet"``, where ``**`` stands for folders at any
        depth; or a folder of files of one kind, of which hidden ones are left out. Or a function
        without arguments that returns an iterator over blocks; or something else that can be gone
        through in every epoch, such as a list of blocks. A block is (X, y) or (X, y,
        sample_weight), each as for `fastnn.Network.train`.
    label : str or int, optional
        The column of the targets in files, as for `read_csv`. Default: that named "label".
    columns : sequence of str, optional
        The names of the features in files. Default: all columns but the label, ``drop``, and the
        numbers of rows that pandas writes into Parquet as "__index_level_0__".
    drop : sequence of str or int
        Columns of files to leave out, by name or position.
    dtype : "float32" or "float64"
        Type of the features of files, unless they are pixels, uint8.
    buffer : int
        Rows that are shuffled together, at most; two or three such buffers are in memory.

    Returns
    -------
    Stream

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ImportError
        If pyarrow is missing, which .parquet, .arrow and .feather need.
    OSError
        If a file cannot be opened.
    TypeError
        If ``source`` is none of these, such as an iterator, which is gone after one epoch.
    ValueError
        If an argument is not as described; if a file is named twice; if the files are of several
        kinds, are damaged, or have other columns than the first one.
    """
    buffer = check.integer("buffer", buffer, 1)
    dtype = check.one_of("dtype", dtype, check.DTYPES)
    paths = _paths(source)
    if paths is None:
        blocks = of_blocks(source, buffer)
        for name, value in (("label", label), ("columns", columns), ("drop", drop or None)):
            if value is not None:
                raise ValueError(
                    f"{name} is for files, and source, a {type(source).__name__}, is no path or "
                    f"list of paths, so it holds blocks; got {name}={value!r}"
                )
        return blocks
    label = None if label is None else _column(checked_column("label", label))
    leaving = [_column(column) for column in checked_drop(drop)]
    return _of_files(paths, Columns(label, checked_names(columns), leaving, dtype), buffer)


def _column(column: Column) -> str | int:
    return column if isinstance(column, str) else operator.index(column)


def _paths(source: Any) -> list[str] | None:
    """Return the files that are meant, or None if these are no paths."""
    if isinstance(source, str | os.PathLike):
        return files_of(os.fspath(source))
    several = isinstance(source, list | tuple) and bool(source)
    if several and all(isinstance(each, str | os.PathLike) for each in source):
        return [path for each in source for path in files_of(os.fspath(each))]
    return None


def files_of(path: str) -> list[str]:
    """Return the files that a path, a pattern or a folder stands for; not hidden ones of a folder.

    The part of a pattern that is the path of a folder stands for that, whatever is in its name. A
    pattern of folders alone stands for their files.
    """
    if os.path.isdir(path):
        return _in_folder(path)
    if os.path.exists(path):
        return [path]
    found: list[str] = []
    if any(mark in path for mark in MARKS):
        literal = next((each for each in Path(path).parents if each.is_dir()), Path())
        pattern = Path(glob.escape(str(literal))) / Path(path).relative_to(literal)
        found = sorted(set(glob.glob(str(pattern), recursive=True)))
    if not found:
        raise FileNotFoundError(f"there is no file {path!r}")
    files = [each for each in found if not os.path.isdir(each)]
    return files or [file for folder in found for file in _in_folder(folder)]


def _in_folder(path: str) -> list[str]:
    found = [each for each in kinds_in(path) if not os.path.isdir(each)]
    if not found:
        kind = kind_below(path)
        pattern = os.path.join(path, "**", f"*{kind}")
        raise FileNotFoundError(
            f"{path!r} holds no file that ends in {', '.join(KINDS)}"
            + f"; files in folders below it are {pattern!r}" * (kind is not None)
        )
    return found


def kinds_in(path: str) -> dict[str, str]:
    """Return the files in a folder that streams are read from, by name, with their endings."""
    names = [name for name in sorted(os.listdir(path)) if name[:1] != "."]  # as patterns have it
    return {os.path.join(path, name): kind for name in names if (kind := kind_of(name))}


def kind_below(path: str) -> str | None:
    """Return the ending of one of the first files in the folders of a folder, if it is one."""
    found = itertools.islice(Path(path).glob("*/**/*"), MOST_SEARCHED)
    return next((kind for each in found if (kind := kind_of(each.name))), None)


def _of_files(paths: list[str], columns: Columns, buffer: int) -> Stream:
    kinds: dict[Any, str] = {}
    known: dict[str, str] = {}
    for path in paths:
        file = os.path.realpath(path)
        if file in known:
            other = f", also as {known[file]!r}" * (known[file] != path)
            raise ValueError(
                f"{path!r} is named twice{other}; need each file once, or its rows count twice"
            )
        known[file] = path
        kind = kind_of(path)
        if kind is None:
            raise ValueError(f"{path!r} must end in one of {', '.join(KINDS)}")
        kinds.setdefault(KINDS[kind], path)
    if len(kinds) > 1:
        one, other, *_ = kinds.values()
        raise ValueError(f"the files must be of one kind; got {one!r} and {other!r}")
    return Stream(tuple(next(iter(kinds))(paths, columns)), buffer)


def kind_of(path: str) -> str | None:
    """Return the ending of a file, if it is one that streams are read from."""
    plain = path.lower().removesuffix(".gz")
    return next((ending for ending in KINDS if plain.endswith(ending)), None)


def _text(paths: list[str], columns: Columns) -> list[Part]:
    read = partial(
        read_csv, label=columns.label, columns=columns.names, drop=columns.drop, dtype=columns.dtype
    )
    return [Part(repr(path), None, partial(_table, read, path)) for path in paths]


def _arrays(paths: list[str], columns: Columns) -> list[Part]:
    for name, value in (
        ("label", columns.label),
        ("columns", columns.names),
        ("drop", columns.drop or None),
    ):
        if value is not None:
            raise ValueError(f"{name} is not for .npz files, whose columns have no names")
    read = partial(_train, columns.dtype)
    return [Part(repr(path), None, partial(_table, read, path)) for path in paths]


def _train(dtype: str, path: str) -> Table:
    return read_npz(path, dtype=dtype).train


def _table(read: Callable[[str], Table], path: str) -> list[tuple[Any, Any]]:
    table = read(path)
    if table.y is None:
        raise ValueError(f"{path!r} has no labels; say which column they are in: label=...")
    return [(table.X if is_sparse(table.X) else table, table.y)]


# How files of an ending are read, which are all of one kind.
KINDS: dict[str, Callable[[list[str], Columns], list[Part]]] = {
    ".parquet": arrow.of_parquet,
    ".arrow": arrow.of_arrow,
    ".feather": arrow.of_arrow,
    ".npz": _arrays,
    ".csv": _text,
    ".tsv": _text,
    ".txt": _text,
}
