"""The rows of a stream: buffers that are read while the network learns from the one before."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from fastnn.activations import Array
from fastnn.backends.contract import Examples
from fastnn.checks.warning import heard_by
from fastnn.column_rows import ColumnRows
from fastnn.sparse_rows import SparseRows, joined
from fastnn.streams.ahead import Ahead
from fastnn.streams.stream import Block, Stream, blocks_of
from fastnn.training.processes import OneProcess
from fastnn.training.rows import epoch_order
from fastnn.training.supply import Supply

Run: TypeAlias = Any


class Source(NamedTuple):
    """A stream of which all is known that a first pass tells.

    Attributes
    ----------
    stream : Stream
    counts : tuple of int
        The rows of each part.
    read : callable
        Return the rows of a block, checked.
    write : callable
        Write a `ColumnRows` into an array, as a backend does.
    """

    stream: Stream
    counts: tuple[int, ...]
    read: Callable[[Block], Examples]
    write: Callable[[ColumnRows, Array], None]


class Buffer(NamedTuple):
    """Rows that are in memory together, and the order in which an epoch takes them."""

    examples: Examples
    order: Array


class Plan(NamedTuple):
    """What the buffers of a run depend on.

    Attributes
    ----------
    seed : int
    shuffle : bool
    batch_size : int
        The rows of a step.
    steps : int
        Of a buffer; the last one of an epoch may have fewer.
    epochs : range
        The numbers of those to come.
    first : int
        The first buffer of the first of these.
    rank, ranks : int
        Which of how many processes reads them: each shuffles in another way.
    """

    seed: int
    shuffle: bool
    batch_size: int
    steps: int
    epochs: range
    first: int
    rank: int = 0
    ranks: int = 1


class Buffered(Supply):
    """The rows of a stream.

    Parameters
    ----------
    source : Source
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.ahead: Ahead[Buffer] | None = None

    def epoch(self, run: Run, number: int) -> Iterator[tuple[slice, int, Array]]:
        """Yield the steps of each buffer, where it begins in the epoch, and its rows.

        These are steps and rows of this process. All have as many buffers of as many steps; those
        whose rows are over have none in the last of them.
        """
        size, step, team = run.batches.own, run.progress.step, run.team
        most = -(-run.settings.batch_size // team.size)  # that any process takes in a step
        each = steps_of_a_buffer(run.steps, most, self.source.stream.buffer, team.together)
        if self.ahead is None:
            epochs = range(number, number + run.settings.epochs - run.progress.epoch)
            shuffle = run.settings.shuffle and run.steps > 1
            of_rank = team.rank, team.size
            plan = Plan(run.model.seed, shuffle, size, each, epochs, step // each, *of_rank)
            self.ahead = Ahead(partial(buffers, self.source, plan))
        while step < run.steps:
            begin, order = step // each * each * size, np.empty(0, np.int64)
            try:
                with team.agreeing():  # what one process cannot read ends all of them here
                    if begin < sum(self.source.counts):
                        run.examples, order = self._next(self.ahead, team)
            except Exception:
                self.failed = True
                raise
            first, step = step, min((step // each + 1) * each, run.steps)
            yield slice(first, step), begin, order

    def _next(self, ahead: Ahead[Buffer], team: OneProcess) -> Buffer:
        with heard_by(lambda *_: True):  # the first pass has said it
            buffer = ahead.take(team.end_as_told)  # even while a source hangs
        assert buffer is not None
        return buffer

    def close(self, run: Run) -> None:
        """End the thread, and let the run have the rows that the first pass has kept."""
        if self.ahead is not None:
            self.ahead.close()
            run.examples = run.data.examples(run.model)


def steps_of_a_buffer(steps: int, batch_size: int, buffer: int, together: int = 1) -> int:
    """Return how many steps of an epoch a buffer is for, so that all have about as many.

    So many steps stay ``together``.
    """
    groups, most = -(-steps // together), max(1, buffer // (batch_size * together))
    return -(-groups // -(-groups // most)) * together


def buffers(source: Source, plan: Plan, over: threading.Event) -> Iterator[Buffer]:
    """Yield the buffers of some epochs."""
    rows, size = sum(source.counts), plan.steps * plan.batch_size
    whole = rows <= size  # whose rows are shuffled together anyway
    # One is learnt from while the other is filled.
    rooms = itertools.cycle([_Room(source.write), _Room(source.write)])
    for epoch in plan.epochs:
        if over.is_set():
            return
        first = plan.first if epoch == plan.epochs.start else 0
        parts = source.stream.order(plan.seed, epoch, plan.shuffle and not whole, plan.rank)
        pieces = rows_from(source, parts, first * size, over)
        sizes = [min(size, rows - begin) for begin in range(first * size, rows, size)]
        for i, examples in enumerate(gathered(pieces, sizes, rooms), first):
            count, part = len(examples.Y), i * plan.ranks + plan.rank
            yield Buffer(examples, epoch_order(plan.seed, epoch, count, None, plan.shuffle, part))


def rows_from(
    source: Source, parts: Sequence[int], place: int, over: threading.Event
) -> Iterator[Examples]:
    """Yield the rows of parts from a place in their order on.

    Raises
    ------
    ValueError
        If a part does not have as many rows as in the first pass.
    """
    left = deque(parts)
    while left and source.counts[left[0]] <= place:  # need not be read
        place -= source.counts[left.popleft()]
    left = deque(i for i in left if source.counts[i])
    seen = 0
    # Blocks are read in one thread while those before are checked and written in another.
    blocks = partial(_blocks, source.stream, tuple(left))
    with Ahead(blocks, early=source.stream.lasting) as ahead:
        while left:
            found = ahead.take(over.is_set)
            if over.is_set():
                return
            while left and (found is None or found[0] != left[0]):
                _compare(source, left.popleft(), seen)
                seen = 0
            if found is None:
                return
            rows = source.read(found[1])
            seen += len(rows.Y)
            if seen > source.counts[left[0]]:
                _compare(source, left[0], seen)
            if place < len(rows.Y):
                yield cut(rows, slice(place, None))
            place = max(0, place - len(rows.Y))


def _blocks(
    stream: Stream, parts: Sequence[int], over: threading.Event
) -> Iterator[tuple[int, Block]]:
    for i in parts:
        for block in blocks_of(stream.parts[i]):
            if over.is_set():
                return
            yield i, block


def _compare(source: Source, part: int, seen: int) -> None:
    """Refuse another number of rows than in the first pass."""
    count, name = source.counts[part], source.stream.parts[part].name
    if seen != count:
        what = f"ended after {seen:,} rows" if seen < count else "gave more rows"
        raise ValueError(
            f"{name} {what}, and had {count:,} in the first pass; need the same rows in every epoch"
        )


def gathered(
    pieces: Iterator[Examples], sizes: Sequence[int], rooms: Iterator[_Room]
) -> Iterator[Examples]:
    """Yield rows that come in pieces of any length in pieces of these sizes, each in a room."""
    left: Examples | None = None
    for number, size in enumerate(sizes, 1):
        room, done = next(rooms), 0
        while done < size:
            piece = next(pieces, None) if left is None else left
            if piece is None:  # told to end
                return
            take, left = min(len(piece.Y), size - done), None
            if take < len(piece.Y):
                piece, left = cut(piece, slice(take)), cut(piece, slice(take, None))
            if done == 0:
                room.begin(piece, size)
            room.put(piece)
            done += take
        if number == len(sizes):
            next(pieces, None)  # says so if there are more
        yield room.examples


def cut(rows: Examples, part: slice) -> Examples:
    """Return some of the rows."""
    weights = None if rows.weights is None else rows.weights[part]
    return Examples(rows.X[part], rows.Y[part], weights)


class _Room:
    """Room for rows, which is used again: memory that is new takes longer than all the rest."""

    def __init__(self, write: Callable[[ColumnRows, Array], None]) -> None:
        self.write = write
        self.kept: list[Array] = []

    def begin(self, like: Examples, size: int) -> None:
        """Make room for so many rows, such as the first ones."""
        self.done, self.sparse = 0, list[SparseRows]()
        dense = [like.Y] if isinstance(like.X, SparseRows) else [like.Y, like.X]
        parts = [*dense, *([] if like.weights is None else [like.weights])]
        if not self.kept or len(self.kept[0]) < size:
            self.kept = [np.empty((size, *part.shape[1:]), part.dtype) for part in parts]
        rooms = [array[:size] for array in self.kept]
        self.Y, self.X = rooms[0], rooms[1] if len(dense) > 1 else None
        self.weights = None if like.weights is None else rooms[-1]

    def put(self, rows: Examples) -> None:
        """Add rows."""
        part = slice(self.done, self.done + len(rows.Y))
        if self.X is None:
            self.sparse.append(rows.X)
        elif isinstance(rows.X, ColumnRows):
            self.write(rows.X, self.X[part])
        else:
            self.X[part] = rows.X
        self.Y[part] = rows.Y
        if self.weights is not None:
            self.weights[part] = rows.weights
        self.done = part.stop

    @property
    def examples(self) -> Examples:
        """All of them."""
        return Examples(joined(self.sparse) if self.X is None else self.X, self.Y, self.weights)
