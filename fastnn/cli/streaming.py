"""Data of a command line that are read as a stream: files that are read again in every epoch."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from fastnn import datasets
from fastnn.activations import Array
from fastnn.checks.data import numbers
from fastnn.checks.targets import named_labels
from fastnn.cli import reading
from fastnn.cli.groups import Keywords
from fastnn.cli.printing import column_option
from fastnn.datasets.columns import whole
from fastnn.datasets.images import pictures_in
from fastnn.datasets.mnist import locate
from fastnn.datasets.streams import MARKS, files_of, kind_below, kinds_in
from fastnn.distributed import Agreement
from fastnn.sparse_rows import is_sparse, joined
from fastnn.streams.stream import Block, Part, Stream, blocks_of
from fastnn.training.calls import parts_of, refuse_differences
from fastnn.training.loop import bar_of

ALWAYS = (".parquet", ".arrow", ".feather")  # endings that nothing but a stream is read from
KINDS = {"O": "text", "U": "text", "T": "text", "b": "truth values"}  # by dtype; others are numbers
MOST_CLASSES = 1000  # more different labels are rather numbers, or names of rows
# Options that need arrays, and those of a single file.
OF_ARRAYS = (
    "tabular", "members", "describe", "validation", "test_share", "training_metrics", "plot",
    "report",
)  # fmt: skip
OF_A_FILE = (*reading.OF_TEXT, *reading.OF_PICTURES)


class Files(list[Path]):
    """The files of a stream.

    Parameters
    ----------
    name : str
        What the user calls them.
    paths : iterable of Path
    """

    def __init__(self, name: str, paths: Iterable[Path]) -> None:
        super().__init__(paths)
        self.name = name


def found(given: Keywords) -> Keywords:
    """Return what a command line got, with `Files` where it names a stream, and else one path."""
    inputs = {name: given[name] for name in ("data", "test", "predict") if name in given}
    return given | {name: _found(name, value) for name, value in inputs.items()}


def _found(name: str, given: Path | list[Path]) -> Path | Files:
    paths = given if isinstance(given, list) else [given]
    if len(paths) > 1:  # a pattern that the shell has replaced
        called = f"{paths[0].name} and {len(paths) - 1} more"
    elif not _is_stream(paths[0]):
        return paths[0]
    else:
        exists = paths[0].exists()
        called = paths[0].absolute().name if exists else str(paths[0])
    try:
        return Files(called, (Path(file) for each in paths for file in files_of(str(each))))
    except FileNotFoundError as error:
        hint = "; several paths are the parts of one stream" * (len(paths) > 1)
        raise FileNotFoundError(f"--{name}: {error}{hint}") from None


def _is_stream(path: Path) -> bool:
    if path.is_dir():
        kinds = list(kinds_in(str(path)).values())
        below = not kinds and kind_below(str(path)) is not None  # refused with a hint
        known = len(kinds) > 1 or bool(set(kinds) & set(ALWAYS)) or below
        return known and not locate(path) and not pictures_in(path)
    if path.exists():
        return path.name.lower().endswith(ALWAYS)
    return any(mark in str(path) for mark in MARKS)


def check(given: Keywords) -> None:
    """Refuse what does not go with a stream, if there is one."""
    data = given.get("data")
    if isinstance(given.get("predict"), Files):
        raise ValueError(
            "--predict takes one file of rows to label, which is not Parquet or Arrow; save the "
            "network with --save, and predict in Python block by block"
        )
    if not isinstance(data, Files):
        if isinstance(given.get("test"), Files):
            raise ValueError(
                f"--test {given['test'].name} is a stream, and --data is none; need one file as "
                "--test, which is not Parquet or Arrow, or a --data that is a stream, too"
            )
        return
    for name in (*OF_ARRAYS, *OF_A_FILE):
        if name in given:
            why = "needs all rows in memory" if name in OF_ARRAYS else "is for a single file"
            aside = name in ("validation", "test_share")
            raise ValueError(
                f"{column_option(name, given[name]).replace('_', '-')} {why}, and {data.name} is a "
                f"stream{'; --test PATH names rows to evaluate on' * aside}"
            )
    stops = given.get("early_stopping", "loss")
    for option, value, plain in (
        ("early-stopping", stops, "loss"),
        ("schedule", given["schedule"], given["schedule"].replace("plateau", "linear")),
    ):
        if value != plain:
            raise ValueError(
                f"--{option} {value} needs rows for validation, which are not set aside of a "
                f"stream; need --{option} {plain}, or fastnn.Network.train in Python"
            )


def read(given: Keywords, agreement: Agreement) -> reading.Dataset:
    """Return the data of a stream, whose labels are gone through to find the classes.

    Each rank goes through the labels of its share of the parts.
    """
    files, label, dtype = given["data"], given.get("label"), given["dtype"]
    label = None if label is None else reading.column(label)
    drop = tuple(map(reading.column, given.get("drop", ())))
    with reading.several_columns(given.get("drop", ())):
        stream = datasets.stream(list(map(str, files)), label, drop=drop, dtype=dtype)
        first = next((block for part in stream.parts for block in blocks_of(part)), None)
    if first is None:
        raise ValueError(f"{files.name} has no rows")
    table, classes = _table(first), None
    if "regression" not in given:
        shown = None if agreement.rank == 0 and "quiet" not in given else False
        classes, stream = _classes(files.name, stream, shown, agreement)
    elif (y := _labels(first)).dtype.kind not in "if":
        raise ValueError(f"--regression needs labels that are numbers; got {y.tolist()[0]!r}")
    no_rows = table.X[np.arange(0)]
    X, y, notes = no_rows, np.zeros(0, int), reading.written(files.name, table)
    if "test" in given:
        other = _test(given, table, label)
        source = given["test"].name
        if other.y is None:
            raise ValueError(f"{source} has no labels to evaluate on; --predict takes such data")
        X, y = other.X, reading.of_test(files.name, source, other.y, classes)
        notes += reading.left_out(source, other)
    names = () if classes is None else tuple(classes.tolist())
    rest = table.features, notes, table.shape, stream
    return reading.Dataset(files.name, no_rows, np.zeros(0, int), X, y, names, *rest)


def _classes(
    name: str, stream: Stream, progress: bool | None, agreement: Agreement
) -> tuple[Array | None, Stream]:
    """Return the sorted classes, or None for numbers; and the stream, with its rows counted."""
    refuse_differences(agreement.gathered(parts_of(stream)))
    shares, labels = stream.shares(agreement.size), _Labels(name)
    own = [stream.parts[i] for i in shares[agreement.rank]]
    with bar_of(progress, Stream(tuple(own)).rows) as bar:
        bar.set_description_str("labels")
        counts = labels.read(own, bar, agreement)
        agreement.wait_for_others()
    found = agreement.gathered((labels, counts))
    labels = _Labels(name)
    for others, _ in found:
        labels.unite(others)
    if labels.numbers:
        return None, stream
    parts = list(stream.parts)
    for share, (_, counts) in zip(shares, found, strict=True):
        for i, count in zip(share, counts, strict=True):
            parts[i] = parts[i]._replace(rows=count)
    stream, classes = Stream(tuple(parts), stream.buffer), np.array(sorted(labels.classes))
    reading.check_classes(name, classes, sum(part.rows or 0 for part in parts))
    return classes, stream


class _Labels:
    """The different labels of a stream so far.

    Attributes
    ----------
    classes : set
    kind : str or None
        What they are; None before the first.
    first : str
        Where the first ones are.
    numbers : bool
        Whether some are numbers that are not whole: then they are no classes.
    """

    def __init__(self, name: str) -> None:
        self.name, self.classes, self.numbers = name, set[Any](), False
        self.kind: str | None = None
        self.first = ""

    def read(self, parts: Iterable[Part], bar: Any, agreement: Agreement) -> list[int]:
        """Take those of parts, up to numbers; return how many rows each has."""
        counts = []
        for part in parts:
            counts.append(0)
            for block in blocks_of(part._replace(read=part.labels or part.read)):
                y = _labels(block)
                self.numbers = y.dtype.kind == "f"
                kind = KINDS.get(y.dtype.kind, "numbers")
                found = y if kind == "text" else np.unique(y[:0] if self.numbers else y)
                self._take(block.name, set(found.tolist()), kind)
                if self.numbers:
                    return counts
                counts[-1] += len(y)
                bar.update(len(y))
                agreement.look_up()
        return counts

    def unite(self, others: _Labels) -> None:
        """Take those of others."""
        self.numbers |= others.numbers
        if others.kind is not None:
            self._take(others.first, others.classes, others.kind)

    def _take(self, name: str, found: set[Any], kind: str) -> None:
        if self.kind is None:
            self.kind, self.first = kind, name
        if kind != self.kind:
            raise ValueError(
                f"{name}: labels are {kind}, and {self.kind} in {self.first}; need one of the two"
            )
        self.classes |= found
        if len(self.classes) > MOST_CLASSES:
            text = kind == "text"
            hint = "another column: --label COLUMN" if text else "--regression for numbers"
            raise ValueError(
                f"{self.name} has more than {MOST_CLASSES:,} different labels, and each would be a "
                f"class; need {hint}"
            )


def _table(block: Block) -> datasets.Table:
    """Return the rows of a block; sparse ones come without names."""
    return datasets.Table(block.X, None, None, None) if is_sparse(block.X) else block.X


def _labels(block: Block) -> Array:
    """Return text, truth values, whole numbers as int64, or other numbers."""
    named = named_labels(block.y)
    if named is not None:
        return named
    y = numbers(f"{block.name}: y", block.y)
    if y.dtype.kind == "u":  # but those of 64 bits that need all of these
        return y if np.any(y > np.iinfo(np.int64).max) else y.astype(np.int64)
    return whole(y) if y.dtype.kind == "f" else y


def _test(given: Keywords, table: datasets.Table, label: str | int | None) -> datasets.Table:
    """Return all test rows in arrays, with the columns of the training rows."""
    path, features, dtype = given["test"], table.features, given["dtype"]
    paths = path if isinstance(path, Files) else [path]
    reading.warn_of_the_same(paths, given["data"])
    label = label if features is None else table.label  # which has a name, if the features do
    if isinstance(path, Files):
        stream = datasets.stream(list(map(str, path)), label, columns=features, dtype=dtype)
        blocks = [block for part in stream.parts for block in blocks_of(part)]
        if not blocks:
            raise ValueError(f"{path.name} has no rows")
        inputs = [_table(block).X for block in blocks]
        X = joined(inputs) if is_sparse(inputs[0]) else np.concatenate(inputs)
        y = np.concatenate([_labels(block) for block in blocks])
        y = y.astype(str) if y.dtype.kind in "OT" else y
        other = datasets.Table(X, y, features, table.label)
    else:
        same = given if label is None else given | {"label": str(label)}
        other = reading.load(path, same, dtype, features).train
    reading.same_number(path.name, other, table.X.shape[1])
    return other
