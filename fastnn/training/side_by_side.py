"""Training several models at the same time, a Python thread for each.

The kernels hold no lock of Python, so that the threads share the CPUs. Runs have nothing in common
but the rows that they read: each is the run that it would be alone, bit for bit.
"""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from fastnn.backends.sharing import Sharers
from fastnn.checks.warning import ConvergenceWarning, warn
from fastnn.model.model import Model
from fastnn.training.checkpoints import termination
from fastnn.training.data import TrainingData, checked
from fastnn.training.history import History
from fastnn.training.loop import alone, bar_of, carry_out, prepare, recorded
from fastnn.training.run import Run
from fastnn.training.settings import TrainingSettings

PAUSE = 0.1  # seconds between two looks for an interrupt, which on Windows ends no wait


class Job(NamedTuple):
    """A run to come."""

    model: Model
    data: TrainingData
    settings: TrainingSettings


class _Ended(KeyboardInterrupt):
    """Ends a run as Ctrl-C does, because another one has ended with an error or by Ctrl-C."""


@contextlib.contextmanager
def naming(member: int, kind: type[Exception] = Exception) -> Iterator[None]:
    """Let errors of a kind name a member of a committee."""
    try:
        yield
    except kind as error:
        if len(error.args) == 1 and isinstance(error.args[0], str):
            error.args = (f"member {member}: {error.args[0]}",)
        raise


def data_for_all(
    models: Sequence[Model], X: Any, y: Any, validation: Any, sample_weight: Any, class_weight: Any
) -> list[TrainingData]:
    """Return the data of each run, see `data.checked`; they share the rows that are read."""
    first = checked(models[0], X, y, validation, sample_weight, class_weight)
    found = [first]
    if isinstance(validation, tuple | list):
        validation = first.evaluated["validation"].X, *validation[1:]
    for i, model in enumerate(models[1:], 1):
        with naming(i), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # said of the first
            data = checked(model, first.X, y, validation, sample_weight, class_weight)
            names = first.features if model.features is None else model.features
            for what, own, others in (
                ("features", names, first.features), ("classes", data.classes, first.classes)
            ):  # fmt: skip
                if own != others:
                    raise ValueError(
                        f"its {what} are {own}, and for member 0 {others}; need the same: assign "
                        f"them to all, as in committee.{what} = [...]"
                    )
            found.append(dataclasses.replace(data, features=names))
    return found


def fit_all(jobs: Sequence[Job], progress: bool | None) -> list[History]:
    """Train models side by side, and return their histories.

    An interrupt, or an error in one run, ends all of them after a complete step.
    """
    runs: list[Run] = []
    together = _Together(len(jobs))
    with contextlib.ExitStack() as stack:
        for i, (model, data, settings) in enumerate(jobs):
            with naming(i):
                data = recorded(model, data, settings)
                stack.enter_context(alone(model))
            runs.append(Run(model, data, settings, together.between))
        steps = sum(run.settings.epochs * len(run.data) for run in runs)
        bar = stack.enter_context(bar_of(progress, steps))
        # Here, where Ctrl-C ends it.
        seconds = sum(prepare(run, bar) for run in runs)
        if any(run.settings.checkpoint is not None for run in runs):
            stack.enter_context(termination())
        bar.set_description_str(f"{len(runs)} networks")
        together.carry_out(runs, bar)
    for i, run in enumerate(runs):
        run.history.compile_seconds += seconds
        if run.history.warning:
            warn(f"member {i}: {run.history.warning}", ConvergenceWarning)
    return [run.history for run in runs]


class _Together:
    """Runs that begin and end together.

    Parameters
    ----------
    count : int
        How many runs.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.over = False  # whether the runs that are going on are to end
        self.going_on, self.ended = 0, 0  # how many runs; `Thread.join` errs after an interrupt
        self.one_ended = threading.Event()
        self.sharers = Sharers(count)
        self.lock = threading.Lock()
        self.error: BaseException | None = None  # the first one

    def between(self) -> None:
        """End the run that calls this, if the others have ended."""
        if self.over:
            raise _Ended

    def carry_out(self, runs: Sequence[Run], bar: Any) -> None:
        """Train, and wait for all; raise the first error."""
        shared = _SharedBar(bar, self.lock)
        try:
            for i, run in enumerate(runs):
                threading.Thread(
                    # Such as what `numpy.errstate` says, which is of a context.
                    target=contextvars.copy_context().run,
                    args=(self._carry_out, i, run, shared),
                    name=f"member {i}",
                ).start()
            self._wait(lambda: self.over or self.ended == self.count)
        finally:
            with self.lock:
                self.over = True
            while self.going_on:
                with contextlib.suppress(KeyboardInterrupt, SystemExit):  # all are ending
                    self._wait(lambda: self.going_on == 0)
        if self.error is not None:
            raise self.error

    def _carry_out(self, i: int, run: Run, bar: Any) -> None:
        with self.lock:
            if self.over:
                return
            self.going_on += 1
        try:
            with self.sharers.one(), naming(i):
                carry_out(run, bar)
        except _Ended:
            pass
        except BaseException as error:
            with self.lock:
                self.error = self.error or error
                self.over = True
        finally:
            with self.lock:
                self.going_on -= 1
                self.ended += 1
            self.one_ended.set()

    def _wait(self, enough: Callable[[], bool]) -> None:
        while not enough():
            self.one_ended.wait(PAUSE)
            self.one_ended.clear()


class _SharedBar:
    """A progress bar for several threads."""

    def __init__(self, bar: Any, lock: threading.Lock) -> None:
        self.bar, self.lock = bar, lock

    def update(self, count: int) -> None:
        """Add rows."""
        with self.lock:
            self.bar.update(count)

    def set_description_str(self, text: str) -> None:
        """Do nothing: the threads are in different epochs."""
