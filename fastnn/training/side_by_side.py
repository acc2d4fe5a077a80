"""Training several models at the same time, in Python threads.

The kernels hold no lock of Python, so that the threads share the CPUs. Runs have nothing in common
but the rows that they read: each is the run that it would be alone, bit for bit.
"""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from fastnn.backends.sharing import Ended, Sharers
from fastnn.checks.warning import ConvergenceWarning, heard_by, warn
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
        with naming(i), heard_by(lambda *_: True):  # said of the first
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
    with contextlib.ExitStack() as stack:
        for i, (model, data, settings) in enumerate(jobs):
            with naming(i):
                data = recorded(model, data, settings)
                stack.enter_context(alone(model))
            runs.append(Run(model, data, settings))
        steps = sum(run.settings.epochs * len(run.data) for run in runs)
        bar = stack.enter_context(bar_of(progress, steps))
        # Here, where Ctrl-C ends it.
        seconds = sum(prepare(run, bar) for run in runs)
        if any(run.settings.checkpoint is not None for run in runs):
            stack.enter_context(termination())
        bar.set_description_str(f"{len(runs)} networks")
        shared = _SharedBar(bar)
        tasks = [partial(_carry_out, i, run, shared) for i, run in enumerate(runs)]
        Together(tasks, len(tasks)).carry_out(lambda *_: None)
    for i, run in enumerate(runs):
        run.history.compile_seconds += seconds
        if run.history.warning:
            warn(f"member {i}: {run.history.warning}", ConvergenceWarning)
    return [run.history for run in runs]


class Together:
    """Tasks that threads carry out side by side, and that end together.

    An error in one, or Ctrl-C, ends all: those of training after a complete step.

    Parameters
    ----------
    tasks : sequence of callable
    threads : int
        How many; each takes one task after the other, and its share of the CPUs.
    """

    def __init__(self, tasks: Sequence[Callable[[], Any]], threads: int) -> None:
        self.tasks = tasks
        self.sharers = Sharers(threads)
        self.left = iter(range(len(tasks)))
        self.results: deque[tuple[int, Any]] = deque()
        self.at_work = 0  # how many threads; `Thread.join` errs after an interrupt
        self.news = threading.Event()
        self.lock = threading.Lock()
        self.error: BaseException | None = None  # the first one

    def carry_out(self, take: Callable[[int, Any], object]) -> None:
        """Give each result to a function, as it comes, with its position; raise the first error."""
        taken = 0
        try:
            for _ in range(self.sharers.count):
                # In a copy, such as of what `numpy.errstate` says.
                run = contextvars.copy_context().run
                threading.Thread(target=run, args=(self._work,)).start()
            while taken < len(self.tasks) and not self.sharers.over:
                self._wait()
                while self.results:
                    take(*self.results.popleft())
                    taken += 1
        finally:
            with self.lock:
                self.sharers.over = True
            while self.at_work:
                with contextlib.suppress(KeyboardInterrupt, SystemExit):  # all are ending
                    self._wait()
        if self.error is not None:
            raise self.error

    def _work(self) -> None:
        """Carry out tasks until there are none, in a thread."""
        with self.lock:
            if self.sharers.over:
                return
            self.at_work += 1
        try:
            with self.sharers.one():
                while (i := self._next()) is not None:
                    self.results.append((i, self.tasks[i]()))
                    self.news.set()
        except Ended:
            pass
        except BaseException as error:
            with self.lock:
                self.error = self.error or error
                self.sharers.over = True
        finally:
            with self.lock:
                self.at_work -= 1
            self.news.set()

    def _next(self) -> int | None:
        """Return the position of a task that nobody has begun, if there is one."""
        with self.lock:
            return None if self.sharers.over else next(self.left, None)

    def _wait(self) -> None:
        self.news.wait(PAUSE)
        self.news.clear()


def _carry_out(member: int, run: Run, bar: Any) -> None:
    threading.current_thread().name = f"member {member}"
    with naming(member):
        carry_out(run, bar)


class _SharedBar:
    """A progress bar for several threads."""

    def __init__(self, bar: Any) -> None:
        self.bar, self.lock = bar, threading.Lock()

    def update(self, count: int) -> None:
        """Add rows."""
        with self.lock:
            self.bar.update(count)

    def set_description_str(self, text: str) -> None:
        """Do nothing: the threads are in different epochs."""
