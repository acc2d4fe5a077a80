"""Checkpoints: files from which a run resumes, bit for bit as if it had never stopped.

A checkpoint is a file of the network with the optimizer's state, see `fastnn.model.files`. It also
has the tensors ``best.layers.0.weights`` and so on, the best parameters so far, if there is early
stopping; the tensor ``history``, float64 (epochs, columns); and in the metadata ``run``: settings,
checksums of the data, progress, the counters of early stopping and the names of the columns. The
order of the rows and the units that dropout leaves out follow from the seed and the progress.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import warnings
from collections.abc import Iterator
from typing import Any, NoReturn

import numpy as np

from fastnn.checks import values as check
from fastnn.model import files, storage
from fastnn.model.model import Model
from fastnn.model.parameters import Parameters
from fastnn.model.storage import Tensors
from fastnn.training.fingerprints import agree, of_setting
from fastnn.training.history import Row
from fastnn.training.run import Progress, Run

TERMINATED = 143  # exit code of a process that SIGTERM ended, as shells report it
COLUMNS = ("epoch", "loss", "learning_rate", "seconds", "samples_per_second")  # of every history
STOPPED = ("", "a callback", "early stopping")  # what may have ended a run
# What a network is compared in, as it is in the metadata; its loss is compared as a setting.
NETWORK = (
    "sizes", "activation", "output", "dtype", "precision", "seed", "standardize_inputs",
    "standardize_targets",
)  # fmt: skip


SHAPE = "the shape and dtype of X"


class Saver:
    """Writes the checkpoints of a run. Before that it reads the one to resume from, if any.

    Parameters
    ----------
    run : Run
        Its state becomes that of the checkpoint, if it resumes.

    Raises
    ------
    OSError
        If the checkpoint cannot be read, or the first one cannot be written.
    ValueError
        If the checkpoint is damaged, or of another network, other settings or other data.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.path = os.fspath(run.settings.checkpoint)  # type: ignore[arg-type]
        self.metrics = run.data.metrics(run.model)
        architecture = run.model.architecture
        rows, *columns = run.data.shape
        rows = run.team.rows_of_each(rows)
        self.settings = {
            **run.settings.as_json(),
            "loss": of_setting(architecture.loss),
            SHAPE: [rows, *columns, run.data.X.dtype.name],
        }
        own = run.data.fingerprints(len(run.data) * architecture.training_flops)
        self.data = run.team.fingerprints(own)
        self.resumes = run.team.of_first(self._read_if_there)
        if self.resumes:
            run.team.receive(run)

    def begin(self) -> None:
        """Write the first checkpoint of a run; if it cannot be written, nothing is trained."""
        if not self.resumes:
            self.run.team.of_first(self._write)

    def is_due(self, progress: Progress) -> bool:
        """Whether to write a checkpoint here; none is needed at the start of a run."""
        every = self.run.settings.checkpoint_every
        if progress.epoch == progress.step == 0:
            return False
        return progress.step % every == 0 if every else progress.step == 0

    def write(self) -> None:
        """Write a checkpoint; if that fails, warn and keep the last one."""
        if not self.run.team.first:
            return
        try:
            self._write()
        except OSError as error:
            message = f"no checkpoint was written, the last one is kept: {error}"
            warnings.warn(message, RuntimeWarning, stacklevel=2)

    @contextlib.contextmanager
    def ending_well(self) -> Iterator[None]:
        """Write a checkpoint on Ctrl-C, on SIGTERM, and if rows can no longer be read."""
        try:
            with termination():
                yield
        except (KeyboardInterrupt, SystemExit) as end:
            try:
                self.run.go_back()
                self.write()
            finally:
                raise end  # whatever comes meanwhile
        except Exception:
            if self.run.supply.failed:
                self.run.keep()
                self.write()
            raise

    def _write(self) -> None:
        run, history, watch = self.run, self.run.history, self.run.watch
        tensors, metadata = files.contents(run.model, optimizer=True)
        if watch is not None and history.best_epoch is not None:
            best = Parameters(run.model.architecture)
            best.vector[:] = run.best
            tensors |= storage.of_parameters(best, "best.")
        if len(history):
            tensors["history"] = np.array([list(row.values()) for row in history], np.float64)
        metadata["run"] = {
            "settings": self.settings,
            "data": self.data,
            "progress": run.progress._asdict(),
            "counters": [watch.best, watch.waited] if watch else None,
            "best_epoch": history.best_epoch,
            # A limit of time is one of a call: the next goes on.
            "stopped": "" if history.stopped == "max_seconds" else history.stopped,
            "columns": history.columns,
        }
        storage.write(self.path, tensors, metadata)

    def _read_if_there(self) -> bool:
        resumes = self.run.settings.resume and os.path.exists(self.path)
        if resumes:
            self._read()
        return resumes

    def _read(self) -> None:
        """Set the state of the run to that of the file, after checking all of it."""
        run, name, model, history = self.run, repr(self.path), self.run.model, self.run.history
        tensors, metadata = storage.read(self.path)
        stored = metadata.get("run")
        if not isinstance(stored, dict):
            raise ValueError(
                f"{name} is a network, not a checkpoint of a run; need a file that "
                "train(checkpoint=...) wrote"
            )
        self._compare(name, metadata.get("network"), stored)
        other = files.model_of(name, tensors, metadata, _own_loss(model))
        state = other.state_for(run.settings.optimizer)
        try:
            progress = _progress(stored["progress"], run)
            if other.epochs_trained < progress.epoch:
                raise ValueError(
                    f"it has {progress.epoch} epochs of this run, but {other.epochs_trained} of all"
                )
            rows = self._rows(tensors, stored["columns"], progress.epoch, other.epochs_trained)
            best, waited = stored["counters"] or (0.0, 0)
            if not isinstance(best, float):
                raise TypeError(f"the best value must be a number, got {best!r}")
            counters = best, check.integer("waited", waited, 0)
            best_epoch, stopped = stored["best_epoch"], stored["stopped"]
            check.one_of("stopped", stopped, STOPPED)
            if best_epoch is not None:
                check.integer("best_epoch", best_epoch, 1, other.epochs_trained)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"{name} does not describe a run: {error}") from None
        if best_epoch is not None:
            needed = storage.shapes(model.architecture, "best.")
            storage.check(name, tensors, needed, model.architecture.dtype)
            best_parameters = Parameters(model.architecture)
            storage.fill(best_parameters, tensors, "best.")
            run.best = best_parameters.vector
        model.vector[:] = other.vector
        model.optimizer_state, model.epochs_trained = state, other.epochs_trained
        model.use_scalers(other.input_scaler, other.target_scaler)
        run.progress = progress
        history.rows = rows
        history.stopped, history.best_epoch = stopped, best_epoch
        if run.watch is not None:
            run.watch.best, run.watch.waited = counters

    def _rows(self, tensors: Tensors, columns: list[str], count: int, last: int) -> list[Row]:
        """Return the ``count`` rows of the history, up to the epoch ``last``."""
        if count == 0:
            return []
        names = sorted([*COLUMNS, *self.metrics])
        if sorted(columns) != names:
            raise ValueError(f"other columns in the history: {columns!r}; need {', '.join(names)}")
        values = tensors["history"]
        if values.shape != (count, len(names)) or values.dtype != np.float64:
            raise ValueError(
                f"the history is {values.dtype} of shape {values.shape}; need float64 of "
                f"{(count, len(names))}"
            )
        rows = (dict(zip(columns, row, strict=True)) for row in values.tolist())
        return [{**row, "epoch": last - count + i} for i, row in enumerate(rows, 1)]

    def _compare(self, name: str, network: Any, stored: dict[str, Any]) -> None:
        """Refuse a file of another network, of other settings or of other data."""
        settings, data = stored.get("settings"), stored.get("data")
        if not (isinstance(network, dict) and isinstance(settings, dict)):
            raise ValueError(f"{name} does not describe a run: it has no settings")
        if not isinstance(data, dict) or settings.keys() != self.settings.keys():
            raise ValueError(
                f"{name} is a checkpoint of another version of fastnn, which cannot be resumed; "
                f"load it with fastnn.load({name}), and train that network further"
            )
        own = files.contents(self.run.model, optimizer=False)[1]["network"]
        # Files name a precision only if it is not the dtype.
        own, network = ({"precision": each.get("dtype"), **each} for each in (own, network))
        now = {**{key: own[key] for key in NETWORK}, **self.settings}
        was = {**network, **settings}
        ranks, before = (_ranks(each.get(SHAPE)) for each in (now, was))
        if ranks != before:
            raise ValueError(
                f"{name} is a checkpoint of a run with the rows of {before} rank"
                f"{'s' * (before > 1)}, and this one has those of {ranks}, each its own; resuming "
                "needs as many ranks"
            )
        differences = [
            *(_difference(key, was.get(key), now[key]) for key in now),
            *(f"other data in {key}" for key in self.data if data.get(key) != self.data[key]),
        ]
        found = next(filter(None, differences), None)
        if found is None:
            return
        way_out = "resuming needs the same network, settings and data"
        if found.startswith("epochs "):
            way_out = (
                f"pass as many epochs, or load it with fastnn.load({name}), and train that network "
                "further"
            )
        raise ValueError(f"{name} is a checkpoint of another run: {found}; {way_out}")


def _ranks(shape: Any) -> int:
    """Return how many ranks had rows of their own, as the shape of X in a file has it."""
    rows = shape[0] if isinstance(shape, list) and shape else 0
    return len(rows) if isinstance(rows, list) else 1


def _difference(key: str, was: Any, now: Any) -> str | None:
    """Return in words how a setting differs, if it does."""
    if agree(was, now):
        return None
    before, after = (
        each.get("name") if isinstance(each, dict) else repr(each) for each in (was, now)
    )
    if before == after:
        return (
            f"{key} was another function that is called {after}, too: its code, its defaults or "
            "what it encloses differ"
        )
    return f"{key} was {before} and is now {after}"


def _progress(stored: Any, run: Run) -> Progress:
    """Return the progress that a file holds, after checking it."""
    progress = Progress(**stored)
    check.integer("epoch", progress.epoch, 0, run.settings.epochs)
    check.integer("step", progress.step, 0, run.steps - 1)
    check.integer("seen", progress.seen, 0, run.batches.rows)
    for name in ("rate", "seconds"):
        check.real(name, getattr(progress, name), least=0)
    check.real("total", progress.total)
    return progress


def _own_loss(model: Model) -> Any:
    loss = model.architecture.loss
    return loss if callable(loss) else None


@contextlib.contextmanager
def termination() -> Iterator[None]:
    """Let SIGTERM raise SystemExit, unless the program handles it itself."""

    def end(number: int, frame: object) -> NoReturn:
        raise SystemExit(TERMINATED)

    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    try:
        signal.signal(signal.SIGTERM, end)  # an interrupt may come when it has just been set
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
