"""A run that the ranks of an MPI communicator carry out together; docs/scaling.md is for users.

All ranks hold the same parameters and take the same decisions, from numbers that are the same to
the bit in each: sums over ranks are made in the order of the ranks, by one rank for each part of
the numbers, whatever algorithms the MPI library has. Ctrl-C and SIGTERM on a rank are told to all
with the next step.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import TracebackType
from typing import Any, TypeVar
from zlib import crc32

import numpy as np

from fastnn import backends
from fastnn.activations import Array
from fastnn.backends.sharing import Sharers
from fastnn.distributed import Agreement, Ranks, mpi, named, portable
from fastnn.model.model import Model
from fastnn.model.parameters import Parameters
from fastnn.training.calls import NO_WEIGHTS, call_of, checksums, refuse_differences
from fastnn.training.data import TrainingData
from fastnn.training.evaluation import DivergenceError
from fastnn.training.processes import ALONE, Batches, OneProcess
from fastnn.training.run import Run
from fastnn.training.settings import TrainingSettings
from fastnn.training.shares import SplitBatches, Sum, split

T = TypeVar("T")
TERMINATED = 143  # as in `checkpoints`
# What a rank tells the others after each step.
FINE, INTERRUPTED, ENDED, FAILED, DIVERGED = range(5)


def team_of(ranks: Ranks | None) -> contextlib.AbstractContextManager[OneProcess]:
    """Return the processes that carry out a run: those of a communicator, or this one alone."""
    if ranks is None or ranks.communicator.size == 1:
        return contextlib.nullcontext(ALONE)
    return Team(ranks)


class Team(OneProcess):
    """The ranks of a communicator; see `processes.OneProcess` for what each attribute is.

    As a context it ends all ranks, with `MPI_Abort`, by an error that the others do not know of.

    Parameters
    ----------
    ranks : Ranks
    """

    def __init__(self, ranks: Ranks) -> None:
        self.ranks, self.together = ranks, ranks.average_every
        self.halves = ranks.average_every == 1
        self.rank, self.size = ranks.communicator.rank, ranks.communicator.size
        self.first = self.rank == 0
        self.apart = ranks.local  # whether each has rows of its own to train on
        self.signal = FINE  # or what has come
        self.error: BaseException | None = None  # of a step, of which the others do not know yet
        self.known = False  # whether all ranks know of what ends this one
        self._sum: Sum | None = None
        self._leaving = contextlib.ExitStack()

    def __enter__(self) -> Team:
        with contextlib.ExitStack() as stack:
            self.communicator = self.ranks.communicator.Dup()
            stack.callback(self._free)
            node = self.communicator.Split_type(mpi().COMM_TYPE_SHARED)
            self._node, self._first_of_node = node, node.rank == 0
            stack.enter_context(Sharers(_sharing_cpus(node)).one())
            stack.enter_context(self._signals())
            self._leaving = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None and not (self.known or isinstance(error, DivergenceError)):
            # The others wait for this rank, somewhere.
            lines = "".join(traceback.format_exception(kind, error, trace))
            os.write(2, f"rank {self.rank} ends all ranks:\n{lines}".encode())
            self.communicator.Abort(1)
        with self._leaving:
            if error is None:
                self._end(np.array(self.communicator.allgather(self.signal)))

    def _free(self) -> None:
        self._node.Free()
        self.communicator.Free()

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Take note of Ctrl-C and SIGTERM, unless the program handles them."""

        def take_note(number: int, frame: object) -> None:
            if number == signal.SIGINT and self.signal == INTERRUPTED:  # asked for again
                raise KeyboardInterrupt
            self.signal = INTERRUPTED if number == signal.SIGINT else ENDED

        defaults = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
        before: dict[int, Any] = {}
        try:
            if threading.current_thread() is threading.main_thread():
                for number, default in defaults.items():
                    if signal.getsignal(number) is default:
                        before[number] = default
                        signal.signal(number, take_note)
            yield
        finally:
            for each, default in before.items():
                signal.signal(each, default)

    @contextlib.contextmanager
    def agreeing(self) -> Iterator[Agreement]:
        """Return a context in which each rank may fail by itself; then all of them do."""
        agreement = Agreement(self.communicator)
        try:
            with agreement:
                yield agreement
        finally:
            self.known |= agreement.failed

    @contextlib.contextmanager
    def in_turn(self) -> Iterator[None]:
        """Let the other ranks of a machine load what its first one compiles."""
        with self.agreeing():
            if not self._first_of_node:
                self._node.bcast(None)
            try:
                yield
            finally:
                if self._first_of_node:
                    self._node.bcast(None)

    def of_first(self, function: Callable[[], T]) -> T:
        """Return what a function returns in the first rank; raise its error in all."""
        value = error = None
        if self.first:
            try:
                value = function()
            except BaseException as raised:
                error = raised
        found, other = self.communicator.bcast((value, portable(error)))
        if other is None:
            return found
        self.known = True
        raise error or named(0, other)

    def joined(
        self, model: Model, data: TrainingData, settings: TrainingSettings
    ) -> TrainingSettings:
        """Return the settings of the run, after comparing what all ranks were called with."""
        self.apart = self.ranks.local or data.apart
        with self.agreeing() as agreement:
            counts = np.array(agreement.gathered(len(data)))
            rows = int(counts.sum() if self.apart else counts[0])
            refuse_differences(agreement.gathered(call_of(model, data, settings, self.ranks)))
            if self.ranks.local and data.weights is not None:
                raise ValueError(NO_WEIGHTS)
            if rows < self.size or counts.min() < 1:
                raise ValueError(
                    f"training on {self.size} ranks needs as many rows, at least; got {rows}"
                )
            settings = replace(settings, batch_size=min(settings.batch_size, rows))
            size, every = settings.batch_size, settings.checkpoint_every
            if size < self.size:
                raise ValueError(
                    f"batch_size must be at least {self.size}, a row for each rank; got {size}"
                )
            if every is not None and every % self.together:
                raise ValueError(
                    f"checkpoint_every must be a multiple of average_every, {self.together}; got "
                    f"{every}"
                )
        if self.halves:
            self._sum = Sum(self.communicator, len(model.vector), model.architecture.dtype)
            self._gradient = Parameters(model.architecture, self._sum.vector)
            self._status = np.zeros(2)
            self._statuses = np.zeros((self.size, 2))
        return settings

    def batches(self, rows: int, size: int) -> SplitBatches:
        """Return the batches of so many rows each, for these rows of this rank or of all."""
        parts = split(size, self.size)
        if self.apart:
            counts = np.array(self.communicator.allgather(rows))
            return SplitBatches(counts, parts, self.rank, None)
        counts = rows // size * parts + split(rows % size, self.size)
        return SplitBatches(counts, parts, self.rank, Batches(rows, size))

    def combined(self, moments: tuple[int, Array, Array]) -> tuple[int, Array, Array]:
        """Return count, means and sums of squared differences of the rows of all ranks."""
        if not self.apart:
            return moments
        count, mean, squares = 0, np.zeros(1), np.zeros(1)
        for added, its_mean, its_squares in self.communicator.allgather(moments):
            shift = its_mean - mean
            squares = squares + its_squares + shift**2 * (count * added / (count + added))
            mean = mean + shift * (added / (count + added))
            count += added
        return count, mean, squares

    def united(self, array: Array) -> Array:
        """Return the rows of all ranks, if each has rows of its own."""
        return np.concatenate(self.communicator.allgather(array)) if self.ranks.local else array

    def rows_of_each(self, rows: int) -> Any:
        """Return how many rows these are, or a list of how many each rank has of its own."""
        return self.communicator.allgather(rows) if self.apart else rows

    def fingerprints(self, own: dict[str, int | None]) -> dict[str, int | None]:
        """Return checksums of the data of all ranks, if each has rows of its own."""
        if not self.apart:
            return own
        found = self.communicator.allgather(own)
        return {name: crc32(repr([each[name] for each in found]).encode()) for name in own}

    def share(self, rows: int) -> tuple[slice, int]:
        """Return which of all rows this rank evaluates, and where its own ones begin."""
        counts = split(rows, self.size)
        if self.ranks.local:
            counts = np.array(self.communicator.allgather(rows))
        first = int(counts[: self.rank].sum())
        return slice(first, first + int(counts[self.rank])), first if self.ranks.local else 0

    def add_up(self, out: Array, own: slice, total: float) -> float:
        """Fill in the outputs of the other ranks, and return the sum of the totals."""
        total_of_all = 0.0
        for part, outputs, added in self.communicator.allgather((own, out[own], total)):
            out[part] = outputs
            total_of_all += added
        return total_of_all

    def compare(self, run: Run) -> None:
        """Raise an error unless all ranks hold the same parameters and optimizer's state."""
        found = self.communicator.allgather(checksums([run.model.vector, *run.state.vectors]))
        for rank, other in enumerate(found):
            if other != found[0]:
                self.known = True
                raise RuntimeError(
                    f"rank {rank} no longer holds the same parameters as rank 0: they were changed "
                    "by something else than training, or the machines compute differently"
                )

    def receive(self, run: Run) -> None:
        """Set the state of a run to that of the first rank, which has read it."""
        model, history, watch = run.model, run.history, run.watch
        vector, model.optimizer_state, model.epochs_trained, scalers, run.progress, run.best = (
            self.communicator.bcast(
                (
                    model.vector, model.optimizer_state, model.epochs_trained,
                    (model.input_scaler, model.target_scaler), run.progress, run.best,
                )
            )
        )  # fmt: skip
        model.vector[:] = vector
        model.use_scalers(*scalers)
        history.rows, history.stopped, history.best_epoch, counters = self.communicator.bcast(
            (
                history.rows,
                history.stopped,
                history.best_epoch,
                watch and (watch.best, watch.waited),
            )
        )
        if watch is not None:
            watch.best, watch.waited = counters

    def train_steps(
        self, run: Run, rows: Array, sizes: Array, rates: Array, keys: Array, losses: Array
    ) -> int:
        """Take steps together; see `processes.OneProcess`."""
        if not self.halves:
            return self._averaging(run, rows, sizes, rates, keys, losses)
        model, own, rule, gradient = run.model, run.batches.own, run.settings.rule, self._gradient
        backend = backends.get(model.backend)
        for step, (count, rate) in enumerate(zip(sizes.tolist(), rates.tolist(), strict=True)):
            part, total = slice(step * own, (step + 1) * own), 0.0
            mine = rows[part]
            if len(mine):
                try:
                    total = backend.batch_gradient(
                        model, run.examples, mine, own, count, rule, keys[:, part], gradient
                    )
                except Exception as error:
                    self.error = error
            else:
                gradient.vector[:] = 0
            losses[step] = self._exchange(total) / count
            if not np.isfinite(losses[step]):
                return step
            backend.update(model, gradient, rate, rule, run.state)
        return len(rates)

    def _averaging(
        self, run: Run, rows: Array, sizes: Array, rates: Array, keys: Array, losses: Array
    ) -> int:
        """Take steps on the rows of this rank, and average all that they change now and then."""
        model, own, state, average = run.model, run.batches.own, run.state, run.state.average
        vectors = [model.vector, *state.vectors]
        if self._sum is None:
            length = sum(map(len, vectors))
            self._sum = Sum(self.communicator, length, model.architecture.dtype)
        ends = np.cumsum([len(vector) for vector in vectors])[:-1]
        for first in range(0, len(rates), self.together):
            last = min(first + self.together, len(rates))
            part = slice(first * own, last * own)
            mine, totals, flag = rows[part], np.zeros(last - first), self.signal
            count = -(-len(mine) // own)  # fewer steps if the rows run out
            try:
                taken = backends.get(model.backend).train_steps(
                    model, run.examples, mine, own, rates[first : first + count],
                    run.settings.rule, keys[:, part], state, totals[:count],
                ) if count else 0  # fmt: skip
            except Exception as error:
                self.error, flag = error, FAILED
            else:
                flag = DIVERGED if taken < count else flag
            totals[:count] *= np.minimum(own, len(mine) - own * np.arange(count))
            counts = [state.steps, average.steps, average.moments] if average else [state.steps]
            found = np.array(self.communicator.allgather([flag, *counts, *totals.tolist()]))
            self._end(found[:, 0])
            losses[first:last] = np.add.accumulate(found[:, 1 + len(counts) :])[-1]
            losses[first:last] /= sizes[first:last]
            state.steps, *others = found[:, 1 : 1 + len(counts)].max(axis=0).astype(int).tolist()
            if average:
                average.steps, average.moments = others
            np.concatenate(vectors, out=self._sum.vector)
            self._sum.make()
            self._sum.vector /= self.size
            for vector, mean in zip(vectors, np.split(self._sum.vector, ends), strict=True):
                vector[:] = mean
            if (found[:, 0] == DIVERGED).any():
                return first
        return len(rates)

    def _exchange(self, total: float) -> float:
        """Sum up the gradient, and return the sum of the losses; end if a rank has to."""
        self._status[:] = total, FAILED if self.error is not None else self.signal
        request = self.communicator.Iallgather(self._status, self._statuses)
        assert self._sum is not None
        self._sum.make()
        request.Wait()
        totals, flags = self._statuses.T
        if flags.any():
            self._end(flags)
        return float(np.add.accumulate(totals)[-1])

    def end_as_told(self) -> None:
        """Raise what a signal to this rank stands for, of which `agreeing` tells the others."""
        self._end(np.array(self.signal))

    def _end(self, flags: Array) -> None:
        """End all ranks if one of them has to, by an error or by a signal."""
        if (flags == FAILED).any():
            error, self.error = self.error, None
            with self.agreeing():
                if error is not None:
                    raise error
        if (flags == INTERRUPTED).any():
            self.known = True
            raise KeyboardInterrupt
        if (flags == ENDED).any():
            self.known = True
            raise SystemExit(TERMINATED)


def _sharing_cpus(node: Any) -> int:
    """Return how many ranks of a machine may run on CPUs of this one."""
    cpus = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else {0}
    return sum(not cpus.isdisjoint(others) for others in node.allgather(cpus))
