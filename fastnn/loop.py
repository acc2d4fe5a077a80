"""The loop over epochs: shuffling, the learning rate, validation, stopping, what is recorded."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastnn import backends, dropout, schedules
from fastnn.activations import Array
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


class DivergenceError(ArithmeticError):
    """The loss or a parameter stopped being finite.

    The parameters are those from before the failing steps.
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


class _Losses(NamedTuple):
    """The mean loss of so many rows."""

    mean: float
    rows: int


def fit(net: Network, data: Data, run: Run) -> History:
    """Train a network; return what was recorded. Interrupted, it leaves the last whole step."""
    backend = backends.get(net.backend)
    with _bar(run, len(data)) as bar:
        history = History(
            compile_seconds=backend.prepare(
                net,
                lambda: bar.set_description_str("compiling (once)"),
                run.rule,
                one_row=1 in (run.batch_size, len(data) % run.batch_size),
            )
        )
        late = None if run.max_seconds is None else time.perf_counter() + run.max_seconds
        watch = Watch(run.early_stopping) if run.early_stopping else None
        best = net.parameters
        for epoch in range(run.epochs):
            bar.set_description_str(f"epoch {net.epochs_trained + 1}")
            before = net.parameters.copy() if run.evaluates else net.parameters
            losses, rate, seconds = _epoch(net, data, run, epoch, late, history, bar.update)
            try:
                metrics = run.evaluate()
            except DivergenceError:
                net.parameters[:] = before
                raise
            net.epochs_trained += 1
            history.append(
                {
                    "epoch": net.epochs_trained,
                    "loss": losses.mean,
                    **metrics,
                    "learning_rate": rate,
                    "seconds": seconds,
                    "samples_per_second": losses.rows / seconds,
                }
            )
            answers = [callback(history[-1]) for callback in run.callbacks]
            if watch and watch.see(history[-1][watch.rule.metric]):
                best = net.parameters.copy()
                history.best_epoch = net.epochs_trained
            if any(isinstance(answer, str) and answer == "stop" for answer in answers):
                history.stopped = "a callback"
            elif watch and watch.over:
                history.stopped = "early stopping"
            elif late is not None and time.perf_counter() >= late:
                history.stopped = "max_seconds"
            if history.stopped:
                break
        if watch and watch.rule.restore_best:
            net.parameters[:] = best
    return history


def _epoch(
    net: Network,
    data: Data,
    run: Run,
    epoch: int,
    late: float | None,
    history: History,
    advance: Callable[[int], object],
) -> tuple[_Losses, float, float]:
    """Go through the rows once, or until it is ``late``.

    Returns the losses, the learning rate of the first step, and the seconds that it took.
    """
    backend = backends.get(net.backend)
    number = net.epochs_trained + 1
    steps = -(-len(data) // run.batch_size)
    state = net.optimizer_state(run.rule.optimizer)
    start = time.perf_counter()
    order = _order(net.seed, number, data, run.shuffle)
    column = "validation_loss" if "validation_loss" in history.columns else "loss"
    losses_before = history[column] if len(history) else []
    total, seen, first_rate = 0.0, 0, 0.0
    # Whatever a step needs is made for one part at a time, as rows may be very many.
    for part in _slices(net, steps, run.batch_size):
        places = range(part.start * run.batch_size, min(part.stop * run.batch_size, len(data)))
        rows = order[places.start : places.stop]
        t = epoch + np.arange(part.start, part.stop) / steps
        factors = schedules.factors(run.schedule, t, run.epochs, losses_before)
        rates = run.learning_rate * factors
        keys = dropout.NO_KEYS
        if run.rule.objective.drops:
            keys = dropout.row_keys(net.seed, number, len(net.weights), places)
        losses = np.empty(len(rates))
        before = [net.parameters.copy(), *(slot.vector.copy() for slot in state.slots)]
        taken = backend.train_steps(
            net, data.X, data.Y, data.weights, rows, run.batch_size, rates, run.rule, keys, state,
            losses,
        )  # fmt: skip
        stopped = taken < len(rates)
        if stopped or not np.isfinite(net.parameters).all():
            vectors = [net.parameters, *(slot.vector for slot in state.slots)]
            for vector, old in zip(vectors, before, strict=True):
                vector[:] = old
            state.steps -= taken
            last = taken - (not stopped)
            raise _divergence(number, part.start + last, rates[last])
        advance(len(rows))
        sizes = np.full(len(losses), run.batch_size)
        sizes[-1] = len(rows) - run.batch_size * (len(losses) - 1)
        total += float(losses @ sizes)
        seen += len(rows)
        first_rate = first_rate if part.start else float(rates[0])
        if late is not None and time.perf_counter() >= late:
            break
    return _Losses(total / seen, seen), first_rate, time.perf_counter() - start


def _order(seed: int, epoch: int, data: Data, shuffle: bool) -> Array:
    """Return the order of the rows in an epoch, which depends on nothing but its arguments."""
    count = len(data)
    order = np.arange(count, dtype=np.uint32 if count < 2**32 else np.int64)  # half the memory
    if shuffle:
        np.random.default_rng([seed, 1, epoch]).shuffle(order)
    return order if data.rows is None else data.rows[order]


def _slices(net: Network, steps: int, batch_size: int) -> Iterator[slice]:
    """Cut an epoch into calls of a backend."""
    work = batch_size * net.architecture.training_flops + STEP_OVERHEAD
    length = max(1, int(SLICE / work))
    for first in range(0, steps, length):
        yield slice(first, min(first + length, steps))


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


def _divergence(epoch: int, step: int, rate: float) -> DivergenceError:
    return DivergenceError(
        f"the loss or a parameter is no longer finite in epoch {epoch}, step {step + 1}, at a "
        f"learning rate of {rate:g}; the parameters from before were restored. "
        "Try a lower learning_rate, clip_norm=1, or inputs scaled to about -1 .. 1"
    )
