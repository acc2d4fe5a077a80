"""A stream: parts of a data set, each of which is read by itself, in blocks of rows."""

from __future__ import annotations

import contextlib
import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple, NoReturn

import numpy as np

BUFFER = 1 << 18  # rows


class Part(NamedTuple):
    """A part of a stream.

    Attributes
    ----------
    name : str
        For errors, such as "'2024.parquet', row group 3".
    rows : int or None
        How many there are, if that is known without reading them.
    read : callable
        Return an iterable of blocks, each (X, y) or (X, y, sample_weight); anew in each call.
    numbered : bool
        Whether errors name blocks by their number, not by the rows of the part before them.
    labels : callable or None
        As ``read``, but without the columns of X; None if that would take as long.
    lasting : bool
        Whether a block is still the same when the next one has been made.
    """

    name: str
    rows: int | None
    read: Callable[[], Iterable[Any]]
    numbered: bool = False
    labels: Callable[[], Iterable[Any]] | None = None
    lasting: bool = True


class Block(NamedTuple):
    """Some rows of a part, as they were given.

    Attributes
    ----------
    name : str
        For errors.
    first : int
        How many rows of what the name names come before them.
    X, y, weights : array, or what becomes one
        Weights may be None.
    """

    name: str
    first: int
    X: Any
    y: Any
    weights: Any = None

    @contextlib.contextmanager
    def named(self) -> Iterator[None]:
        """Say in errors from where on rows are counted, if that is not the first."""
        try:
            yield
        except (TypeError, ValueError) as error:
            if self.first and " row " in str(error):
                counted = f"{error}; rows are counted from row {self.first:,} of {self.name} on"
                raise type(error)(counted) from None
            raise


@dataclass(frozen=True, repr=False)
class Stream:
    """Rows to train on that are read in every epoch, see `fastnn.datasets.stream`.

    Attributes
    ----------
    parts : tuple of Part
    buffer : int
        Rows that are shuffled together.
    """

    parts: tuple[Part, ...]
    buffer: int = BUFFER

    @property
    def rows(self) -> int | None:
        """How many rows there are, if that is known without reading them."""
        counts = [part.rows for part in self.parts]
        return None if None in counts else sum(filter(None, counts))

    def __repr__(self) -> str:
        count, rows = len(self.parts), "" if self.rows is None else f"{self.rows:,} rows, "
        return f"Stream({rows}{count:,} part{'s' * (count > 1)}, buffer={self.buffer})"

    @property
    def lasting(self) -> bool:
        """Whether each block is still the same when the next one is made."""
        return all(part.lasting for part in self.parts)

    def order(self, seed: int, epoch: int, shuffle: bool, rank: int = 0) -> list[int]:
        """Return the positions of the parts in the order of an epoch, for a rank of several."""
        if not shuffle:
            return list(range(len(self.parts)))
        key = [seed, 8, epoch, rank] if rank else [seed, 8, epoch]
        return np.random.default_rng(key).permutation(len(self.parts)).tolist()

    def shares(self, ranks: int) -> list[list[int]]:
        """Return the positions of the parts that each of several processes reads.

        A part goes to the process that has the fewest rows so far, the longest parts first; where
        their rows are not known, each gets as many parts as the others.

        Raises
        ------
        ValueError
            If there are fewer parts than processes.
        """
        if len(self.parts) < ranks:
            alone = "on each rank, with fastnn.distributed.Ranks(communicator, local=True)"
            if self.parts[0].numbered:
                raise ValueError(
                    "the stream is a function or an iterable, whose blocks are one part, which one "
                    f"of the {ranks} ranks would read alone; need one that gives other rows {alone}"
                )
            parts = f"{len(self.parts)} part{'s' * (len(self.parts) > 1)}"
            raise ValueError(
                f"the stream has {parts}, fewer than the {ranks} ranks, each of which reads parts "
                "of its own; need fewer ranks, more files, row groups or record batches, or "
                f"another stream {alone}"
            )
        known = self.rows is not None
        sizes = [part.rows or 0 if known else 1 for part in self.parts]
        found: list[list[int]] = [[] for _ in range(ranks)]
        held = [(0, 0, rank) for rank in range(ranks)]  # rows and parts
        for i in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
            rows, count, rank = held[0]
            found[rank].append(i)
            heapq.heapreplace(held, (rows + sizes[i], count + 1, rank))
        return [sorted(each) for each in found]

    def share(self, rank: int, ranks: int) -> Stream:
        """Return the stream of the parts that a process reads, see `shares`."""
        return replace(self, parts=tuple(self.parts[i] for i in self.shares(ranks)[rank]))

    def __array__(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError(
            "a stream is read by fastnn.Network.train alone, and by no other function; need arrays"
        )


def blocks_of(part: Part) -> Iterator[Block]:
    """Return the blocks of a part, but those without rows.

    Raises
    ------
    TypeError
        If one is no pair, or there is nothing to go through.
    """
    rows, found = 0, part.read()
    if not isinstance(found, Iterable):
        raise TypeError(f"{part.name} must return an iterator over blocks; got {found!r}")
    for number, given in enumerate(found):
        name = f"{part.name}, block {number}" if part.numbered else part.name
        if not isinstance(given, tuple | list) or len(given) not in (2, 3):
            size = f" of {len(given)}" if isinstance(given, tuple | list) else ""
            got = f"a {type(given).__name__}{size}"
            raise TypeError(f"{name} must be (X, y) or (X, y, sample_weight); got {got}")
        block = Block(name, 0 if part.numbered else rows, *given)
        count = _length(block.X)
        if count:
            yield block
        rows += count


def of_blocks(source: Any, buffer: int = BUFFER) -> Stream:
    """Return the stream of a function that returns blocks, or of what can be gone through again.

    Raises
    ------
    TypeError
        If it is neither.
    ValueError
        If it is empty.
    """
    if hasattr(source, "shape") or isinstance(source, Mapping):
        raise TypeError(
            f"source is a {type(source).__name__}, which holds no blocks (X, y); need a function "
            "that returns an iterator over them, or fastnn.Network.train(X, y)"
        )
    if callable(source):
        return Stream((Part("source", None, source, numbered=True, lasting=False),), buffer)
    if hasattr(source, "__getitem__") and hasattr(source, "__len__"):
        if len(source) == 0:
            raise ValueError("source is empty; need blocks")
        lasting = isinstance(source, list | tuple)
        parts = [
            Part(f"source[{i}]", None, partial(_item, source, i), lasting=lasting)
            for i in range(len(source))
        ]
        return Stream(tuple(parts), buffer)
    if not isinstance(source, Iterable):
        raise TypeError(
            "source must be a path, a function that returns an iterator over blocks, or blocks; "
            f"got {source!r}"
        )
    if iter(source) is source:
        raise TypeError(
            f"source is a {type(source).__name__}, which is gone after one epoch; pass a function "
            "that returns one, such as a generator function without the call, or a list of paths"
        )
    part = Part("source", None, partial(iter, source), numbered=True, lasting=False)
    return Stream((part,), buffer)


def _item(source: Any, i: int) -> list[Any]:
    return [source[i]]


def _length(X: Any) -> int:
    """Return how many rows an argument has; 1 if that is not known, so that a check looks at it."""
    shape = getattr(X, "shape", None)
    if shape is not None and len(shape):
        return int(shape[0])
    if hasattr(X, "features"):  # a table
        return len(X.X)
    return len(X) if hasattr(X, "__len__") else 1
