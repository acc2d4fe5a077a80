"""Buffers: the rows of an epoch of a stream, many at a time, read ahead in a thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from fastnn.activations import Array
from fastnn.streams.stream import Block, Stream, blocks_of


class Rows(NamedTuple):
    """Rows as backends read them: inputs, targets, and weights or None."""

    X: Array
    y: Array
    weights: Array | None

    def at(self, part: slice) -> Rows:
        """Return some of them."""
        weights = None if self.weights is None else self.weights[part]
        return Rows(self.X[part], self.y[part], weights)


class Buffers:
    """The buffers of an epoch, one after the other.

    As a context it ends the thread. All buffers have as many rows, but the last, and all depend on
    the arguments alone.

    Parameters
    ----------
    stream : Stream
    rows : int
        How many rows the stream has.
    size : int
        The rows of a buffer.
    convert : callable
        Return the rows of a block, checked.
    order : (int, int, bool)
        The seed, the epoch, and whether to shuffle the parts.
    first : int
        The number of the first buffer.
    """

    def __init__(
        self,
        stream: Stream,
        rows: int,
        size: int,
        convert: Callable[[Block], Rows],
        order: tuple[int, int, bool],
        first: int = 0,
    ) -> None:
        self.stream, self.rows, self.size, self.convert = stream, rows, size, convert
        self.number = first  # of the next buffer
        self.pieces = self._from(first * size, order)
        self.left: Rows | None = None  # of the last piece
        self.thread = ThreadPoolExecutor(1, "fastnn-reading")
        self.coming: Future[Rows] | None = None
        self._begin()

    def __enter__(self) -> Buffers:
        return self

    def __exit__(self, *_: object) -> None:
        self.thread.shutdown(cancel_futures=True)

    def take(self) -> Rows:
        """Return the next buffer, and begin to read the one after it.

        Raises
        ------
        Exception
            What reading has raised.
        ValueError
            If the stream has other rows than in the first pass.
        """
        assert self.coming is not None
        found = self.coming.result()
        self.number += 1
        self._begin()
        return found

    def _begin(self) -> None:
        count = min(self.size, self.rows - self.number * self.size)
        last = (self.number + 1) * self.size >= self.rows
        self.coming = self.thread.submit(self._read, count, last) if count > 0 else None

    def _read(self, count: int, last: bool) -> Rows:
        """Return the next ``count`` rows."""
        found: Rows | None = None
        done = 0
        while done < count:
            piece = self.left if self.left is not None else next(self.pieces, None)
            self.left = None
            if piece is None:
                raise ValueError(
                    f"the stream ended early: it gave {self.rows - count + done:,} rows, and "
                    f"{self.rows:,} in the first pass; need the same rows in every epoch"
                )
            take = min(len(piece.X), count - done)
            if found is None:
                found = _room(piece, count)
            for whole, part in zip(found, piece.at(slice(take)), strict=True):
                if whole is not None:
                    whole[done : done + take] = part
            if take < len(piece.X):
                self.left = piece.at(slice(take, None))
            done += take
        if last and (self.left is not None or next(self.pieces, None) is not None):
            raise ValueError(
                f"the stream gave more rows than the {self.rows:,} of the first pass; need the "
                "same rows in every epoch"
            )
        assert found is not None
        return found

    def _from(self, place: int, order: tuple[int, int, bool]) -> Iterator[Rows]:
        """Return the rows from a place in the order of the epoch on, as they are read."""
        for part in self.stream.in_order(*order):
            if part.rows is not None and part.rows <= place:  # need not be read
                place -= part.rows
                continue
            for block in blocks_of(part):
                rows = self.convert(block)
                if place < len(rows.X):
                    yield rows.at(slice(place, None))
                place = max(0, place - len(rows.X))


def _room(like: Rows, count: int) -> Rows:
    """Return arrays for so many rows."""
    X, y, weights = (
        None if array is None else np.empty((count, *array.shape[1:]), array.dtype)
        for array in like
    )
    assert X is not None
    assert y is not None
    return Rows(X, y, weights)
