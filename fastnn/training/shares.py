"""What each rank takes of the batches, and sums over the ranks of what they make of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastnn.activations import Array
from fastnn.distributed import mpi
from fastnn.model.parameters import aligned_zeros
from fastnn.training.processes import Batches
from fastnn.training.rows import epoch_order


class SplitBatches(Batches):
    """The batches of an epoch, and which of their rows a rank takes.

    Parameters
    ----------
    counts : ndarray of int64, shape (ranks,)
        The rows of an epoch that each rank takes.
    parts : ndarray of int64, shape (ranks,)
        The most rows of a batch that each takes.
    rank : int
    whole : Batches or None
        Those that are split; None if each rank has rows of its own.
    """

    def __init__(self, counts: Array, parts: Array, rank: int, whole: Batches | None) -> None:
        self.counts, self.parts, self.rank, self.whole = counts, parts, rank, whole
        self.rows, self.own = int(counts.sum()), int(parts[rank])
        self.steps = int((-(-counts // parts)).max())

    @property
    def lengths(self) -> Sequence[int]:
        """How many rows of a batch each rank takes, and of the last one: one compiles for all."""
        return [*self.parts.tolist(), *(self.counts % self.parts).tolist()]

    def order(self, seed: int, epoch: int, rows: Array | None, shuffle: bool) -> Array:
        """Return the rows that this rank takes in an epoch."""
        if self.whole is None:
            count, shuffle = int(self.counts[self.rank]), shuffle and self.steps > 1
            # Each in another order: files of several ranks may be sorted in the same way.
            return epoch_order(seed, epoch, count, rows, shuffle, self.rank)
        whole = self.whole.order(seed, epoch, rows, shuffle)
        return whole[self.places(range(self.counts[self.rank]))]

    def taken(self, part: slice) -> range:
        """Return where in this order the rows of some steps are."""
        count = int(self.counts[self.rank])
        return range(min(part.start * self.own, count), min(part.stop * self.own, count))

    def places(self, taken: range) -> Array:
        """Return the places of these rows in the whole epoch."""
        if len(taken) == 0:
            return np.empty(0, np.int64)
        steps = slice(taken.start // self.own, -(-taken.stop // self.own))
        rows = self._rows(steps)
        first = steps.start * self.parts.sum() if self.whole is not None else self._before(steps)
        starts = first + np.concatenate([[0], np.cumsum(rows.sum(axis=1))[:-1]])
        starts += rows[:, : self.rank].sum(axis=1)
        places = (starts[:, None] + np.arange(self.own)).reshape(-1)
        return places[: len(taken)]  # all but the last of the steps are whole

    def _before(self, steps: slice) -> int:
        """Return how many rows the steps before some have."""
        return int(np.minimum(self.counts, steps.start * self.parts).sum())

    def sizes(self, part: slice) -> tuple[Array, int]:
        """Return how many rows the batches of some steps have, int64, and all of these."""
        sizes = self._rows(part).sum(axis=1)
        return sizes, int(sizes.sum())

    def _rows(self, part: slice) -> Array:
        """Return how many rows each rank takes in some steps, (steps, ranks)."""
        left = self.counts - np.arange(part.start, part.stop)[:, None] * self.parts
        return np.clip(left, 0, self.parts)


def split(rows: int, ranks: int) -> Array:
    """Return how many of some rows each rank takes: the first ones take one more of the rest."""
    return rows // ranks + (np.arange(ranks) < rows % ranks)


class Sum:
    """Sums of vectors over the ranks, the same bits in all: made by parts, in the ranks' order.

    Parameters
    ----------
    communicator : mpi4py.MPI.Intracomm
    size : int
        Of the vectors.
    dtype : numpy.dtype

    Attributes
    ----------
    vector : ndarray of shape (size,)
        What a rank adds, and then the sum.
    """

    def __init__(self, communicator: Any, size: int, dtype: np.dtype) -> None:
        self.communicator, ranks = communicator, communicator.size
        part = -(-size // ranks)
        whole = aligned_zeros(part * ranks, dtype)
        self.vector = whole[:size]
        self._parts = np.empty((ranks, part), dtype)
        self._own = whole[part * communicator.rank :][:part]
        number = mpi().FLOAT if dtype == np.float32 else mpi().DOUBLE
        self._whole, self._received = [whole, number], [self._parts, number]
        self._in_place = mpi().IN_PLACE

    @np.errstate(over="ignore", invalid="ignore")
    def make(self) -> None:
        """Sum up."""
        self.communicator.Alltoall(self._whole, self._received)
        np.add.reduce(self._parts, axis=0, out=self._own)
        self.communicator.Allgather(self._in_place, self._whole)
