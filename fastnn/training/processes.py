"""What a run asks of the processes that carry it out. Here there is one; `team` has several."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeAlias, TypeVar

import numpy as np

from fastnn import backends
from fastnn.activations import Array
from fastnn.model.model import Model
from fastnn.training.rows import epoch_order

T = TypeVar("T")
# A run, and its settings: the modules that define them need this one.
Run: TypeAlias = Any
Settings: TypeAlias = Any


class Batches:
    """The batches of an epoch, and which of their rows this process takes: all.

    Parameters
    ----------
    rows : int
        Those of an epoch, whichever process takes them.
    size : int
        Those of a batch.

    Attributes
    ----------
    own : int
        The most rows of a batch that this process takes.
    steps : int
    """

    def __init__(self, rows: int, size: int) -> None:
        self.rows, self.own = rows, size
        self.steps = -(-rows // size)

    @property
    def lengths(self) -> Sequence[int]:
        """How many rows of a batch a process takes, and of the last one."""
        return self.own, self.rows % self.own

    def order(self, seed: int, epoch: int, rows: Array | None, shuffle: bool) -> Array:
        """Return the rows that this process takes in an epoch; see `rows.epoch_order`."""
        # The order of the rows within a batch changes nothing but rounding.
        return epoch_order(seed, epoch, self.rows, rows, shuffle and self.steps > 1)

    def taken(self, part: slice) -> range:
        """Return where in this order the rows of some steps are."""
        return range(part.start * self.own, min(part.stop * self.own, self.rows))

    def places(self, taken: range) -> range | Array:
        """Return the places of these rows in the whole epoch."""
        return taken

    def sizes(self, part: slice) -> tuple[Array, int]:
        """Return how many rows the batches of some steps have, int64, and all of these."""
        count = min(part.stop * self.own, self.rows) - part.start * self.own
        sizes = np.empty(part.stop - part.start, np.int64)
        sizes.fill(self.own)  # sooner than `numpy.full`
        sizes[-1] = count - self.own * (len(sizes) - 1)
        return sizes, count


class OneProcess:
    """A run that one process carries out.

    Attributes
    ----------
    first : bool
        Whether this is the process that writes files, shows progress and calls callbacks.
    halves : bool
        Whether steps are taken in two halves, see `fastnn.backends.contract`.
    together : int
        Steps between which a run may not be cut.
    size : int
        The number of processes.
    rank : int
        Which of them this is.
    """

    first, halves, together, size, rank = True, False, 1, 1, 0

    def joined(self, model: Model, data: Any, settings: Settings) -> Settings:
        """Return the settings of the run, after comparing what all processes were called with."""
        return settings

    def batches(self, rows: int, size: int) -> Batches:
        """Return the batches of so many rows each, for these rows."""
        return Batches(rows, size)

    def agreeing(self) -> AbstractContextManager[Any]:
        """Return a context in which each process may fail by itself; then all of them do."""
        return contextlib.nullcontext()

    @contextlib.contextmanager
    def in_turn(self) -> Iterator[None]:
        """Let the others wait, as they need only load what one compiles."""
        yield

    def of_first(self, function: Callable[[], T]) -> T:
        """Return what a function returns in the first process."""
        return function()

    def combined(self, moments: tuple[int, Array, Array]) -> tuple[int, Array, Array]:
        """Return count, means and sums of squared differences of the rows of all processes."""
        return moments

    def united(self, array: Array) -> Array:
        """Return the rows of all processes, if each has rows of its own."""
        return array

    def rows_of_each(self, rows: int) -> Any:
        """Return how many rows these are, or a list of how many each process has of its own."""
        return rows

    def fingerprints(self, own: dict[str, int | None]) -> dict[str, int | None]:
        """Return checksums of the data of all processes, from those of this one."""
        return own

    def share(self, rows: int) -> tuple[slice, int]:
        """Return which of the rows this process evaluates, and where its own ones begin."""
        return slice(0, rows), 0

    def add_up(self, out: Array, own: slice, total: float) -> float:
        """Fill in the outputs of the other processes, and return the sum of the totals."""
        return total

    def compare(self, run: Run) -> None:
        """Raise an error unless all processes hold the same parameters."""

    def receive(self, run: Run) -> None:
        """Set the state of a run to that of the first process, which has read it."""

    def end_as_told(self) -> None:
        """Raise what a signal stands for, if one has come and has not raised it itself."""

    def train_steps(
        self, run: Run, rows: Array, sizes: Array, rates: Array, keys: Array, losses: Array
    ) -> int:
        """Take steps; see `fastnn.backends.contract`. ``sizes`` are the rows of the batches."""
        taken: int = backends.get(run.model.backend).train_steps(
            run.model, run.examples, rows, run.batches.own, rates, run.settings.rule, keys,
            run.state, losses,
        )  # fmt: skip
        return taken


ALONE = OneProcess()
