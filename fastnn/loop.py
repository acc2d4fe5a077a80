"""The loop over epochs: shuffling, the learning rate, validation, stopping, what is recorded."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn import backends, divergence, dropout, schedules
from fastnn.activations import Array
from fastnn.checkpoints import Moment, Progress, Saver
from fastnn.history import History, Row
from fastnn.rules import Rule
from fastnn.stopping import EarlyStopping, Watch

if TYPE_CHECKING:
    from fastnn.network import Network

# Work of one call of a backend, in floating-point operations: about a fiftieth of a second, and
# less than a quarter on any machine, so that Ctrl-C and progress are prompt. A step costs some of
# it even when a network is tiny.
SLICE = 4e9
STEP_OVERHEAD = 1e5

Callback = Callable[[Row], object]


# The networks in training, by process, as a forked child's copies are its own, and identity.
_trained: dict[tuple[int, int], tuple[object, str]] = {}


class DivergenceError(ArithmeticError):
    """The loss, a parameter or what the optimizer remembers stopped being finite.

    The message names epoch, step and layer (the first is 0), what it was, the learning rate and the
    norm of the gradient, and what to try. The parameters are those from before the failing steps.
    """


@dataclass(frozen=True)
class Run:
    """The settings of one call of `fastnn.Network.train`, validated."""

    epochs: int
    batch_size: int
    learning_rate: float
    schedule: schedules.Schedule | Callable[[float], float]
    rule: Rule
    shuffle: bool
    evaluate: Callable[[], dict[str, float]]  # the metrics after an epoch, if any
    evaluates: bool  # whether there are any
    early_stopping: EarlyStopping | None
    saver: Saver | None
    max_seconds: float | None
    progress: bool | None
    callbacks: Sequence[Callback]


@dataclass(frozen=True)
class Data:
    """What to learn from: all rows, or those that ``rows`` names, with weights of mean 1."""

    X: Array
    Y: Array
    weights: Array | None
    rows: Array | None

    def __len__(self) -> int:
        return len(self.X) if self.rows is None else len(self.rows)


@contextlib.contextmanager
def alone(net: Network) -> Iterator[None]:
    """Refuse to train a network that is being trained: steps of one would undo the other's.

    Raises
    ------
    RuntimeError
        If it is, naming the network and the thread.
    """
    key = os.getpid(), id(net)
    mine = object(), threading.current_thread().name
    holder = _trained.setdefault(key, mine)  # one operation, even among threads
    if holder is not mine:
        raise RuntimeError(
            f"train: {net!r} is already being trained, in thread {holder[1]!r}; "
            "train it in one thread at a time, or copies of it"
        )
    try:
        yield
    finally:
        del _trained[key]


def fit(net: Network, data: Data, run: Run) -> History:
    """Train a network; return what was recorded. Interrupted, it leaves the last whole step."""
    with _bar(run, len(data)) as bar:
        compile_seconds = backends.get(net.backend).prepare(
            net,
            lambda: bar.set_description_str("compiling (once)"),
            run.rule,
            one_row=1 in (run.batch_size, len(data) % run.batch_size),
        )
        training = _Training(net, data, run, History(compile_seconds=compile_seconds), bar)
        if run.saver is None:
            return training.go()
        with run.saver.ending_well(training):
            return training.go()


class _Training:
    """A run on its way: all that changes while it goes on."""

    def __init__(self, net: Network, data: Data, run: Run, history: History, bar: Any) -> None:
        self.net = net
        self.data = data
        self.run = run
        self.history = history
        self.bar = bar
        self.state = net.optimizer_state(run.rule.optimizer)
        self.watch = Watch(run.early_stopping) if run.early_stopping else None
        self.best = net.parameters
        self.progress = Progress()
        if run.saver is not None:
            run.saver.begin(self)
        bar.update(self.progress.epoch * len(data) + self.progress.seen)
        self.began = time.perf_counter() - self.progress.elapsed
        self.moment = Moment.of(self)

    def go(self) -> History:
        """Go through the epochs that are left."""
        while self.progress.epoch < self.run.epochs and not self.history.stopped:
            self.bar.set_description_str(f"epoch {self.net.epochs_trained + 1}")
            before = self.net.parameters.copy() if self.run.evaluates else self.net.parameters
            self.go_through_the_rows()
            try:
                metrics = self.run.evaluate()
            except DivergenceError as error:
                self.net.parameters[:] = before
                raise DivergenceError(
                    f"after epoch {self.net.epochs_trained + 1} {error}; the parameters from "
                    "before were restored"
                ) from error
            self.record(metrics)
        if self.watch and self.watch.rule.restore_best:
            self.net.parameters[:] = self.best
        if self.run.saver is not None:
            self.keep()
            self.run.saver.write(self)
        return self.history

    def keep(self) -> None:
        """Remember this moment."""
        elapsed = time.perf_counter() - self.began
        self.progress = dataclasses.replace(self.progress, elapsed=elapsed)
        self.moment = Moment.of(self)

    @property
    def late(self) -> bool:
        """Tell whether time is up."""
        limit = self.run.max_seconds
        return limit is not None and time.perf_counter() - self.began >= limit

    def record(self, metrics: dict[str, float]) -> None:
        """Write down an epoch, and decide whether it was the last."""
        at, history = self.progress, self.history
        self.net.epochs_trained += 1
        history.append(
            {
                "epoch": self.net.epochs_trained,
                "loss": at.total / at.seen,
                **metrics,
                "learning_rate": at.rate,
                "seconds": at.seconds,
                "samples_per_second": at.seen / at.seconds,
            }
        )
        self.progress = Progress(epoch=at.epoch + 1)
        answers = [callback(history[-1]) for callback in self.run.callbacks]
        if self.watch and self.watch.see(history[-1][self.watch.rule.metric]):
            self.best = self.net.parameters.copy()
            history.best_epoch = self.net.epochs_trained
        if any(isinstance(answer, str) and answer == "stop" for answer in answers):
            history.stopped = "a callback"
        elif self.watch and self.watch.over:
            history.stopped = "early stopping"
        elif self.late:
            history.stopped = "max_seconds"

    def go_through_the_rows(self) -> None:
        """Take the steps that are left of an epoch, or as many as there is time for."""
        net, data, run = self.net, self.data, self.run
        backend = backends.get(net.backend)
        number = net.epochs_trained + 1
        steps = -(-len(data) // run.batch_size)
        column = "validation_loss" if "validation_loss" in self.history.columns else "loss"
        start = time.perf_counter()
        order = _order(net.seed, number, data, run.shuffle)
        # Whatever a step needs is made for one part at a time, as rows may be very many.
        for part in _slices(net, steps, run.batch_size, run.saver.every if run.saver else None):
            if part.start < self.progress.step:  # before the run was resumed
                continue
            self.keep()
            at = self.progress
            if run.saver is not None and run.saver.is_due(at):
                run.saver.write(self)
                start = time.perf_counter()
            places = range(part.start * run.batch_size, min(part.stop * run.batch_size, len(data)))
            rows = order[places.start : places.stop]
            t = at.epoch + np.arange(part.start, part.stop) / steps
            losses_before = (row[column] for row in self.history)
            factors = schedules.factors(run.schedule, t, run.epochs, losses_before)
            rates = run.learning_rate * factors
            keys = dropout.NO_KEYS
            if run.rule.objective.drops:
                keys = dropout.row_keys(net.seed, number, len(net.weights), places)
            losses = np.empty(len(rates))
            try:
                taken = backend.train_steps(
                    net, data.X, data.Y, data.weights, rows, run.batch_size, rates, run.rule, keys,
                    self.state, losses,
                )  # fmt: skip
            except BaseException:  # such as Ctrl-C, which may come amid a step
                self.moment.restore(self)
                raise
            if taken < len(rates) or not divergence.is_finite(self):
                raise DivergenceError(
                    divergence.explain(self, number, part.start, rows, rates, keys)
                )
            self.bar.update(len(rows))
            sizes = np.full(len(losses), run.batch_size)
            sizes[-1] = len(rows) - run.batch_size * (len(losses) - 1)
            now = time.perf_counter()
            self.progress = dataclasses.replace(
                at,
                step=part.stop,
                total=at.total + float(losses @ sizes),
                seen=at.seen + len(rows),
                rate=at.rate if part.start else float(rates[0]),
                seconds=at.seconds + now - start,
            )
            start = now
            if self.late:
                break


def _order(seed: int, epoch: int, data: Data, shuffle: bool) -> Array:
    """Return the order of the rows in an epoch, which depends on nothing but its arguments."""
    count = len(data)
    order = np.arange(count, dtype=np.uint32 if count < 2**32 else np.int64)  # half the memory
    if shuffle:
        np.random.default_rng([seed, 1, epoch]).shuffle(order)
    return order if data.rows is None else data.rows[order]


def _slices(net: Network, steps: int, batch_size: int, every: int | None = None) -> Iterator[slice]:
    """Cut an epoch into calls of a backend, also after every so many steps."""
    work = batch_size * net.architecture.training_flops + STEP_OVERHEAD
    length = max(1, int(SLICE / work))
    for begin in range(0, steps, every or steps):
        end = min(begin + (every or steps), steps)
        for first in range(begin, end, length):
            yield slice(first, min(first + length, end))


def _bar(run: Run, rows: int):  # type: ignore[no-untyped-def]
    from tqdm import tqdm  # a tenth of a second, for those who train

    return tqdm(
        total=run.epochs * rows,
        unit="samples",
        unit_scale=True,
        dynamic_ncols=True,
        leave=False,
        disable=None if run.progress is None else not run.progress,  # None: shown on a terminal
    )
