"""Checkpoints: all that a run needs to go on, bit for bit as if it had never stopped.

A checkpoint is a file of the network, see `fastnn.files`, with what the optimizer remembers; with
early stopping the best parameters so far, ``best.layers.0.weights`` and so on; the ``history``, a
float64 tensor of (epochs, columns); and in the metadata ``run``: the settings, the place in the
run, early stopping's counters and the names of the columns. What order rows come in, and which
units dropout leaves out, follow from the seed and the place.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from fastnn import tensors
from fastnn import validation as check
from fastnn.activations import Array
from fastnn.history import Row
from fastnn.parameters import Parameters
from fastnn.tensors import Tensors

if TYPE_CHECKING:
    from fastnn.loop import _Training

TERMINATED = 143  # what a shell makes of SIGTERM
COLUMNS = ("epoch", "loss", "learning_rate", "seconds", "samples_per_second")  # of every run
STOPPED = ("", "a callback", "early stopping", "max_seconds")  # why a run ended


@dataclass(frozen=True)
class Progress:
    """Where a run is: between two steps, or two epochs."""

    epoch: int = 0  # epochs done
    step: int = 0  # steps done in the next one
    total: float = 0.0  # of its losses so far
    seen: int = 0  # rows that these are of
    rate: float = 0.0  # of its first step
    seconds: float = 0.0  # of training that it took so far
    elapsed: float = 0.0  # of the whole run


@dataclass(frozen=True)
class Moment:
    """A run between two of its steps: copies of all that changes."""

    vectors: tuple[Array, ...]  # of the parameters, then of what the optimizer remembers
    steps: int
    epochs_trained: int
    progress: Progress
    rows: int  # of the history
    counters: tuple[float, int]  # of early stopping
    best: Array
    best_epoch: int | None

    @classmethod
    def of(cls, training: _Training) -> Moment:
        """Return the moment that a run is at."""
        watch = training.watch
        return cls(
            tuple(vector.copy() for vector in _vectors(training)),
            training.state.steps,
            training.net.epochs_trained,
            training.progress,
            len(training.history),
            (watch.best, watch.waited) if watch else (0.0, 0),
            training.best,
            training.history.best_epoch,
        )

    def restore(self, training: _Training) -> None:
        """Bring a run back to this moment."""
        for vector, old in zip(_vectors(training), self.vectors, strict=True):
            vector[:] = old
        training.state.steps = self.steps
        training.net.epochs_trained = self.epochs_trained
        training.progress = self.progress
        del training.history.rows[self.rows :]
        if training.watch:
            training.watch.best, training.watch.waited = self.counters
        training.best = self.best
        training.history.best_epoch = self.best_epoch


def _vectors(training: _Training) -> list[Array]:
    return [training.net.parameters, *(slot.vector for slot in training.state.slots)]


class Saver:
    """Writes the checkpoints of a run, and reads the one to go on from.

    Parameters
    ----------
    path : path
    every : int or None
        Steps between two checkpoints; None is an epoch.
    resume : bool
        Go on from the file, if there is one.
    settings : dict
        What must be the same then, as JSON can hold it.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        every: int | None,
        resume: bool,
        settings: dict[str, Any],
    ) -> None:
        self.path = os.fspath(path)
        self.every = every
        self.resume = resume
        self.settings = settings

    def begin(self, training: _Training) -> None:
        """Resume, or write a first checkpoint: what cannot be written is known before training."""
        if self.resume and os.path.exists(self.path):
            self._read(training)
        else:
            self._write(training)

    def is_due(self, progress: Progress) -> bool:
        """Tell whether to write one at this place, which is not where the run began."""
        if progress.epoch == progress.step == 0:
            return False
        return progress.step % self.every == 0 if self.every else progress.step == 0

    def write(self, training: _Training) -> None:
        """Write a checkpoint; if that fails, warn, and leave the last one as it is."""
        try:
            self._write(training)
        except OSError as error:
            message = f"no checkpoint was written, the last one is kept: {error}"
            warnings.warn(message, RuntimeWarning, stacklevel=2)

    @contextlib.contextmanager
    def ending_well(self, training: _Training) -> Iterator[None]:
        """Write a checkpoint when the run is interrupted, or the process told to end."""
        try:
            with _termination():
                yield
        except (KeyboardInterrupt, SystemExit):
            training.moment.restore(training)
            self.write(training)
            raise

    def _write(self, training: _Training) -> None:
        from fastnn import files  # which builds networks

        found, metadata = files.parts_of(training.net, optimizer=True)
        watch, history = training.watch, training.history
        if watch is not None and history.best_epoch is not None:
            best = Parameters(training.net.architecture)
            best.vector[:] = training.best
            found |= tensors.of_parameters(best.weights, best.biases, "best.")
        if len(history):
            found["history"] = np.array([list(row.values()) for row in history], np.float64)
        metadata["run"] = {
            "settings": self.settings,
            "progress": dataclasses.asdict(training.progress),
            "counters": [watch.best, watch.waited] if watch else None,
            "best_epoch": history.best_epoch,
            "stopped": history.stopped,
            "columns": history.columns,
        }
        tensors.write(self.path, found, metadata)

    def _read(self, training: _Training) -> None:
        """Bring a run to where the file says it was, after checking all that it says."""
        from fastnn import files

        name, net, history = repr(self.path), training.net, training.history
        found, metadata = tensors.read(self.path)
        described = metadata.get("run")
        if not isinstance(described, dict):
            raise ValueError(f"{name} is a network, not a checkpoint of a run")
        self._compare(name, described.get("settings"))
        other = files.build(name, found, metadata, net.backend, net.threads, _loss_of(net))
        if other.architecture != net.architecture or other.seed != net.seed:
            raise ValueError(f"{name} is of {other!r} with the seed {other.seed}")
        state = other.optimizer_state(training.run.rule.optimizer)
        try:
            progress = _progress(described["progress"], training)
            if other.epochs_trained < progress.epoch:
                raise ValueError(f"{progress.epoch} epochs done, of {other.epochs_trained} in all")
            rows = self._rows(found, described["columns"], progress.epoch, other.epochs_trained)
            best, waited = described["counters"] or (0.0, 0)
            if not isinstance(best, float):
                raise TypeError(f"the best value must be a number, got {best!r}")
            counters = best, check.integer("waited", waited, 0)
            best_epoch, stopped = described["best_epoch"], described["stopped"]
            check.one_of("stopped", stopped, STOPPED)
            if best_epoch is not None:
                check.integer("best_epoch", best_epoch, 1, other.epochs_trained)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"{name} does not describe a run: {error}") from None
        if best_epoch is not None:
            needed = tensors.shapes(net.architecture, "best.")
            tensors.check(name, found, needed, net.architecture.dtype)
            best_parameters = Parameters(net.architecture)
            tensors.fill(best_parameters.weights, best_parameters.biases, found, "best.")
            training.best = best_parameters.vector
        vectors = [other.parameters, *(slot.vector for slot in state.slots)]
        for vector, stored in zip(_vectors(training), vectors, strict=True):
            vector[:] = stored
        training.state.steps, net.epochs_trained = state.steps, other.epochs_trained
        training.progress = progress
        history.rows = rows
        history.stopped, history.best_epoch = stopped, best_epoch
        if training.watch is not None:
            training.watch.best, training.watch.waited = counters

    def _rows(self, found: Tensors, columns: list[str], count: int, last: int) -> list[Row]:
        """Return the rows of the history, so many up to the last epoch."""
        if count == 0:
            return []
        names = sorted([*COLUMNS, *self.settings["metrics"]])
        if sorted(columns) != names:
            raise ValueError(f"other columns in the history; need {', '.join(names)}")
        table = found["history"]
        if table.shape != (count, len(names)) or table.dtype != np.float64:
            raise ValueError(
                f"the history is {table.dtype} of shape {table.shape}; need float64 of "
                f"{(count, len(names))}"
            )
        rows = (dict(zip(columns, row, strict=True)) for row in table.tolist())
        return [{**row, "epoch": last - count + i} for i, row in enumerate(rows, 1)]

    def _compare(self, name: str, settings: Any) -> None:
        if not isinstance(settings, dict):
            raise ValueError(f"{name} does not describe a run: it has no settings")
        for key, value in self.settings.items():
            if settings.get(key) != value:
                raise ValueError(
                    f"{name} is of a run with {key} {settings.get(key)!r}; got {value!r}: to go on "
                    "needs the same settings and data"
                )


def _progress(described: Any, training: _Training) -> Progress:
    """Return the place in a run that a file describes."""
    progress = Progress(**described)
    rows, run = len(training.data), training.run
    check.integer("epoch", progress.epoch, 0, run.epochs)
    check.integer("step", progress.step, 0, -(-rows // run.batch_size) - 1)
    check.integer("seen", progress.seen, 0, rows)
    for name in ("rate", "seconds", "elapsed"):
        check.real(name, getattr(progress, name), least=0)
    check.real("total", progress.total)
    return progress


def _loss_of(net: Any) -> Any:
    loss = net.architecture.loss
    return None if isinstance(loss, str) else loss


@contextlib.contextmanager
def _termination() -> Iterator[None]:
    """Let SIGTERM raise SystemExit, unless the program has a way of its own."""

    def end(number: int, frame: object) -> NoReturn:
        raise SystemExit(TERMINATED)

    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
