"""The loop over the epochs: order of rows, learning rate, validation, stopping, history."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from fastnn import backends, schedules
from fastnn.backends import dropout
from fastnn.checks.warning import ConvergenceWarning, warn
from fastnn.model.architecture import Architecture
from fastnn.model.model import Model
from fastnn.training import divergence, health
from fastnn.training.checkpoints import Saver
from fastnn.training.data import TrainingData
from fastnn.training.evaluation import SLICE, DivergenceError, evaluate
from fastnn.training.history import History
from fastnn.training.rows import epoch_order
from fastnn.training.run import Progress, Run
from fastnn.training.settings import TrainingSettings

# The fixed cost of a step, as floating-point operations that take as long.
STEP_OVERHEAD = 1e5

# The models in training, by process (a forked child has copies of its own) and identity.
_trained: dict[tuple[int, int], tuple[object, str]] = {}


@contextlib.contextmanager
def alone(model: Model) -> Iterator[None]:
    """Keep a model from being trained twice at a time: one run would undo the steps of the other.

    Raises
    ------
    RuntimeError
        If the model is already being trained. The message names the network and the thread.
    """
    key = os.getpid(), id(model)
    mine = object(), threading.current_thread().name
    holder = _trained.setdefault(key, mine)  # one operation, even among threads
    if holder is not mine:
        raise RuntimeError(
            f"{model!r} is already being trained, in thread {holder[1]!r}; train it in one thread "
            "at a time, or train copies of it"
        )
    try:
        yield
    finally:
        del _trained[key]


def fit(model: Model, data: TrainingData, settings: TrainingSettings) -> History:
    """Train a model and return its history; an interrupted run ends after a complete step."""
    if settings.training_metrics:
        data = data.with_training_metrics()
    _check_metric(model, data, settings)
    with alone(model):
        data.learn_scales(model)
        data.set_names(model)
        with _bar(settings, len(data)) as bar:
            compile_seconds = backends.get(model.backend).prepare(
                model,
                lambda: bar.set_description_str("compiling (once)"),
                settings.rule,
                one_row=1 in (settings.batch_size, len(data) % settings.batch_size),
            )
            run = Run(model, data, settings, History(compile_seconds=compile_seconds))
            if settings.checkpoint is None:
                history = _go(run, bar)
            else:
                saver = Saver(run)
                with saver.ending_well():
                    history = _go(run, bar, saver)
    history.warning = health.verdict(run)
    if history.warning:
        warn(history.warning, ConvergenceWarning)
    return history


def _check_metric(model: Model, data: TrainingData, settings: TrainingSettings) -> None:
    """Refuse early stopping on a metric that this run does not record."""
    stopping = settings.early_stopping
    names = ["loss", *data.metrics(model)]
    if stopping is None or stopping.metric in names:
        return
    part = str(stopping.metric).partition("_")[0]
    if part == "validation" and "validation" not in data.evaluated:
        raise ValueError(
            f"early_stopping on {stopping.metric!r} needs validation data: pass validation=0.2, or "
            "watch the training loss with early_stopping=EarlyStopping('loss')"
        )
    if part == "training" and "training" not in data.evaluated:
        raise ValueError(
            f"early_stopping on {stopping.metric!r} needs training_metrics=True, which records it"
        )
    raise ValueError(
        f"early_stopping's metric must be one of {', '.join(names)}; got {stopping.metric!r}"
    )


def _go(run: Run, bar: Any, saver: Saver | None = None) -> History:
    """Train the remaining epochs."""
    model, settings, history = run.model, run.settings, run.history
    bar.update(run.progress.epoch * len(run.data) + run.progress.seen)
    while run.progress.epoch < settings.epochs and not history.stopped:
        bar.set_description_str(f"epoch {model.epochs_trained + 1}")
        before = model.vector.copy() if run.data.evaluated else model.vector
        _go_through_the_rows(run, bar, saver)
        try:
            metrics = {
                f"{part}_{name}": value
                for part, data in run.data.evaluated.items()
                for name, value in evaluate(model, data).items()
            }
        except DivergenceError as error:
            model.vector[:] = before
            raise DivergenceError(
                f"after epoch {model.epochs_trained + 1} {error}; the parameters from before this "
                "epoch are restored"
            ) from error
        _record(run, metrics)
    if run.watch and run.watch.rule.restore_best:
        model.vector[:] = run.best
    if saver is not None:
        run.keep()
        saver.write()
    return history


def _record(run: Run, metrics: dict[str, float]) -> None:
    """Add an epoch to the history, and decide whether it is the last."""
    at, history, watch = run.progress, run.history, run.watch
    run.model.epochs_trained += 1
    history.append(
        {
            "epoch": run.model.epochs_trained,
            "loss": at.total / at.seen,
            **metrics,
            "learning_rate": at.rate,
            "seconds": at.seconds,
            "samples_per_second": at.seen / at.seconds,
        }
    )
    run.progress = Progress(epoch=at.epoch + 1)
    answers = [callback(history[-1]) for callback in run.settings.callbacks]
    if watch and watch.see(history[-1][watch.rule.metric]):
        run.best = run.model.vector.copy()
        history.best_epoch = run.model.epochs_trained
    if any(isinstance(answer, str) and answer == "stop" for answer in answers):
        history.stopped = "a callback"
    elif watch and watch.over:
        history.stopped = "early stopping"
    elif run.late:
        history.stopped = "max_seconds"


def _go_through_the_rows(run: Run, bar: Any, saver: Saver | None) -> None:
    """Take the remaining steps of an epoch, or as many as the time allows."""
    model, settings, count = run.model, run.settings, len(run.data)
    batch_size, rule = settings.batch_size, settings.rule
    backend = backends.get(model.backend)
    number = model.epochs_trained + 1
    steps = -(-count // batch_size)
    column = "validation_loss" if "validation_loss" in run.history.columns else "loss"
    start = time.perf_counter()
    order = epoch_order(model.seed, number, count, run.data.rows, settings.shuffle)
    # Rates, losses and keys are made for one part at a time: an epoch may have very many rows.
    for part in slices(model.architecture, steps, batch_size, settings.checkpoint_every):
        if part.start < run.progress.step:  # done before the run was resumed
            continue
        run.keep()
        at = run.progress
        if saver is not None and saver.is_due(at):
            saver.write()
            start = time.perf_counter()
        places = range(part.start * batch_size, min(part.stop * batch_size, count))
        rows = order[places.start : places.stop]
        t = at.epoch + np.arange(part.start, part.stop) / steps
        losses_before = (row[column] for row in run.history)
        factors = schedules.factors(settings.schedule, t, settings.epochs, losses_before)
        rates = settings.learning_rate * factors
        keys = dropout.NO_KEYS
        if rule.objective.drops:
            keys = dropout.row_keys(model.seed, number, len(model.weights), places)
        losses = np.empty(len(rates))
        try:
            taken = backend.train_steps(
                model, run.examples, rows, batch_size, rates, rule, keys, run.state, losses
            )
        except BaseException:  # such as Ctrl-C in the middle of a step
            run.moment.restore(run)
            raise
        if taken < len(rates) or not run.is_finite:
            raise DivergenceError(divergence.explain(run, number, part.start, rows, rates, keys))
        bar.update(len(rows))
        sizes = np.full(len(losses), batch_size)
        sizes[-1] = len(rows) - batch_size * (len(losses) - 1)
        now = time.perf_counter()
        run.progress = dataclasses.replace(
            at,
            step=part.stop,
            total=at.total + float(losses @ sizes),
            seen=at.seen + len(rows),
            rate=at.rate if part.start else float(rates[0]),
            seconds=at.seconds + now - start,
        )
        start = now
        if run.late:
            break


def slices(
    architecture: Architecture, steps: int, batch_size: int, every: int | None = None
) -> Iterator[slice]:
    """Cut an epoch into calls of a backend, each short enough, and at every checkpoint."""
    work = batch_size * architecture.training_flops + STEP_OVERHEAD
    length = max(1, int(SLICE / work))
    for begin in range(0, steps, every or steps):
        end = min(begin + (every or steps), steps)
        for first in range(begin, end, length):
            yield slice(first, min(first + length, end))


class _NoBar:
    """What stands in for a progress bar that is not shown.

    One of tqdm's takes a lock that forked processes share: a child that is killed while it has the
    lock stops its parent for good.
    """

    def __enter__(self) -> _NoBar:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, count: int) -> None:
        """Do nothing."""

    def set_description_str(self, text: str) -> None:
        """Do nothing."""


def _bar(settings: TrainingSettings, rows: int):  # type: ignore[no-untyped-def]
    shown = settings.progress
    if shown is None:
        shown = sys.stderr is not None and sys.stderr.isatty()
    if not shown:
        return _NoBar()
    from tqdm import tqdm  # only here: importing it takes a tenth of a second

    return tqdm(
        total=settings.epochs * rows,
        unit="samples",
        unit_scale=True,
        dynamic_ncols=True,
        leave=False,
    )
