"""Checkpoints: all that a run needs to go on, bit for bit as if it had never stopped.

A checkpoint is a file of the network, see `fastnn.model.files`, with what the optimizer remembers;
with early stopping the best parameters so far, ``best.layers.0.weights`` and so on; the
``history``, a float64 tensor of (epochs, columns); and in the metadata ``run``: the settings, the
place in the run, early stopping's counters and the names of the columns. What order rows come in,
and which units dropout leaves out, follow from the seed and the place.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from typing import Any, NoReturn
from zlib import crc32

import numpy as np

from fastnn.checks import values as check
from fastnn.model import files, storage
from fastnn.model.model import Model
from fastnn.model.parameters import Parameters
from fastnn.model.storage import Tensors
from fastnn.training.history import Row
from fastnn.training.run import Moment, Progress, Run

TERMINATED = 143  # what a shell makes of SIGTERM
COLUMNS = ("epoch", "loss", "learning_rate", "seconds", "samples_per_second")  # of every run
STOPPED = ("", "a callback", "early stopping", "max_seconds")  # why a run ended


class Saver:
    """Writes the checkpoints of a run, and first reads the one to resume from, if there is one.

    Parameters
    ----------
    run : Run
        Is brought to where the checkpoint was written.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.path = os.fspath(run.settings.checkpoint)  # type: ignore[arg-type]
        self.settings = _described(run)
        if run.settings.resume and os.path.exists(self.path):
            self._read()
            run.began = time.perf_counter() - run.progress.elapsed
            run.moment = Moment.of(run)
        else:
            self._write()  # what cannot be written is known before training

    def is_due(self, progress: Progress) -> bool:
        """Tell whether to write one at this place, which is not where the run began."""
        every = self.run.settings.checkpoint_every
        if progress.epoch == progress.step == 0:
            return False
        return progress.step % every == 0 if every else progress.step == 0

    def write(self) -> None:
        """Write a checkpoint; if that fails, warn, and leave the last one as it is."""
        try:
            self._write()
        except OSError as error:
            message = f"no checkpoint was written, the last one is kept: {error}"
            warnings.warn(message, RuntimeWarning, stacklevel=2)

    @contextlib.contextmanager
    def ending_well(self) -> Iterator[None]:
        """Write a checkpoint when the run is interrupted, or the process told to end."""
        try:
            with _termination():
                yield
        except (KeyboardInterrupt, SystemExit):
            self.run.moment.restore(self.run)
            self.write()
            raise

    def _write(self) -> None:
        run, history, watch = self.run, self.run.history, self.run.watch
        found, metadata = files.contents(run.model, optimizer=True)
        if watch is not None and history.best_epoch is not None:
            best = Parameters(run.model.architecture)
            best.vector[:] = run.best
            found |= storage.of_parameters(best, "best.")
        if len(history):
            found["history"] = np.array([list(row.values()) for row in history], np.float64)
        metadata["run"] = {
            "settings": self.settings,
            "progress": dataclasses.asdict(run.progress),
            "counters": [watch.best, watch.waited] if watch else None,
            "best_epoch": history.best_epoch,
            "stopped": history.stopped,
            "columns": history.columns,
        }
        storage.write(self.path, found, metadata)

    def _read(self) -> None:
        """Bring the run to where the file says it was, after checking all that it says."""
        run, name, model, history = self.run, repr(self.path), self.run.model, self.run.history
        found, metadata = storage.read(self.path)
        described = metadata.get("run")
        if not isinstance(described, dict):
            raise ValueError(f"{name} is a network, not a checkpoint of a run")
        self._compare(name, described.get("settings"))
        other = files.model_of(name, found, metadata, _own_loss(model))
        other.backend = model.backend
        if other.architecture != model.architecture or other.seed != model.seed:
            raise ValueError(f"{name} is of {other!r} with the seed {other.seed}")
        state = other.state_for(run.settings.optimizer)
        try:
            progress = _progress(described["progress"], run)
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
            needed = storage.shapes(model.architecture, "best.")
            storage.check(name, found, needed, model.architecture.dtype)
            best_parameters = Parameters(model.architecture)
            storage.fill(best_parameters, found, "best.")
            run.best = best_parameters.vector
        vectors = [other.vector, *(slot.vector for slot in state.slots)]
        for vector, stored in zip(run.vectors, vectors, strict=True):
            vector[:] = stored
        run.state.steps, model.epochs_trained = state.steps, other.epochs_trained
        run.progress = progress
        history.rows = rows
        history.stopped, history.best_epoch = stopped, best_epoch
        if run.watch is not None:
            run.watch.best, run.watch.waited = counters

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


def _described(run: Run) -> dict[str, Any]:
    """Return what must be the same for the run to be resumed, as JSON can hold it."""
    data = run.data
    arrays = {"labels": data.targets.values, "weights": data.weights, "rows": data.rows}
    return {
        **run.settings.described(),
        "data": [*data.X.shape, data.X.dtype.name],
        **{
            name: None if array is None else crc32(array.tobytes())
            for name, array in arrays.items()
        },
        "metrics": data.metrics(run.model),
    }


def _progress(described: Any, run: Run) -> Progress:
    """Return the place in a run that a file describes."""
    progress = Progress(**described)
    rows, settings = len(run.data), run.settings
    check.integer("epoch", progress.epoch, 0, settings.epochs)
    check.integer("step", progress.step, 0, -(-rows // settings.batch_size) - 1)
    check.integer("seen", progress.seen, 0, rows)
    for name in ("rate", "seconds", "elapsed"):
        check.real(name, getattr(progress, name), least=0)
    check.real("total", progress.total)
    return progress


def _own_loss(model: Model) -> Any:
    loss = model.architecture.loss
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
