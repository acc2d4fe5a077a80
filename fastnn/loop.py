"""The loop over epochs: shuffling, the learning rate, validation, progress, what is recorded."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fastnn import backends
from fastnn.activations import Array
from fastnn.history import History, Row
from fastnn.schedules import SCHEDULES

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
    schedule: str
    l2: float
    shuffle: bool
    evaluate: Callable[[], dict[str, float]]  # the validation metrics, if any
    progress: bool | None
    callbacks: Sequence[Callback]


def fit(net: Network, X: Array, Y: Array, run: Run) -> History:
    """Train a network; return what was recorded. Interrupted, it leaves the last whole step."""
    backend = backends.get(net.backend)
    with _bar(run, len(X)) as bar:
        seconds = backend.prepare(
            net.architecture.dtype,
            lambda: bar.set_description_str("compiling (once)"),
            one_row=1 in (run.batch_size, len(X) % run.batch_size),
        )
        history = History(compile_seconds=seconds)
        steps = -(-len(X) // run.batch_size)
        for epoch in range(run.epochs):
            number = net.epochs_trained + 1
            bar.set_description_str(f"epoch {number}")
            start = time.perf_counter()
            order = _order(net.seed, number, len(X), run.shuffle)
            total, first_rate = 0.0, 0.0
            # Whatever a step needs is made for one part at a time, as rows may be very many.
            for part in _slices(net, steps, run.batch_size):
                rows = order[part.start * run.batch_size : part.stop * run.batch_size]
                step = np.arange(epoch * steps + part.start, epoch * steps + part.stop)
                rates = run.learning_rate * SCHEDULES[run.schedule](step, run.epochs * steps)
                losses = np.empty(len(rates))
                before = net.parameters.copy()
                taken = backend.train_steps(net, X, Y, rows, run.batch_size, rates, run.l2, losses)
                stopped = taken < len(rates)
                if stopped or not np.isfinite(net.parameters).all():
                    net.parameters[:] = before
                    last = taken - (not stopped)
                    raise _divergence(number, part.start + last, rates[last])
                bar.update(len(rows))
                sizes = np.full(len(losses), run.batch_size)
                sizes[-1] = len(rows) - run.batch_size * (len(losses) - 1)
                total += float(losses @ sizes)
                first_rate = first_rate or float(rates[0])
            seconds = time.perf_counter() - start
            net.epochs_trained = number
            history.append(
                {
                    "epoch": number,
                    "loss": total / len(X),
                    **run.evaluate(),
                    "learning_rate": first_rate,
                    "seconds": seconds,
                    "samples_per_second": len(X) / seconds,
                }
            )
            for callback in run.callbacks:
                callback(history[-1])
    return history


def _order(seed: int, epoch: int, rows: int, shuffle: bool) -> Array:
    """Return the order of the rows in an epoch, which depends on nothing but its arguments."""
    order = np.arange(rows, dtype=np.uint32 if rows < 2**32 else np.int64)  # half the memory
    if shuffle:
        np.random.default_rng([seed, 1, epoch]).shuffle(order)
    return order


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
        "Try a lower learning_rate, or inputs scaled to about -1 .. 1"
    )
