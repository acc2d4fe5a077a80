"""The loop over the epochs: order of rows, learning rate, validation, stopping, history."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from fastnn import backends, schedules
from fastnn.averaging import SWA
from fastnn.backends import dropout
from fastnn.backends.sharing import end_with_the_others
from fastnn.checks.warning import ConvergenceWarning, warn
from fastnn.model.architecture import Architecture
from fastnn.model.model import Model
from fastnn.model.work import sparse_work
from fastnn.optimizers import PLAIN
from fastnn.sparse_rows import SparseRows
from fastnn.training import divergence, health
from fastnn.training.checkpoints import Saver
from fastnn.training.data import TrainingData
from fastnn.training.evaluation import SLICE, DivergenceError, Evaluation
from fastnn.training.history import History
from fastnn.training.run import Progress, Run
from fastnn.training.settings import TrainingSettings
from fastnn.training.team import team_of

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
    try:  # an interrupt may come when it has just been entered
        holder = _trained.setdefault(key, mine)  # one operation, even among threads
        if holder is not mine:
            raise RuntimeError(
                f"{model!r} is already being trained, in thread {holder[1]!r}; train it in one "
                "thread at a time, or train copies of it"
            )
        yield
    finally:
        try:  # without a call, after which an interrupt could come
            if _trained[key] is mine:
                del _trained[key]
        except KeyError:  # the other thread has just ended
            pass


def fit(model: Model, data: TrainingData, settings: TrainingSettings) -> History:
    """Train on `recorded` data, and return the history; Ctrl-C ends a run after a whole step."""
    with team_of(settings.communicator) as team, alone(model):
        settings = team.joined(model, data, settings)
        run = Run(model, data, settings, team=team)
        shown = settings.progress if team.first else False
        with bar_of(shown, settings.epochs * run.batches.rows) as bar:
            carry_out(run, bar)
    if run.history.warning and team.first:
        warn(run.history.warning, ConvergenceWarning)
    return run.history


def recorded(model: Model, data: TrainingData, settings: TrainingSettings) -> TrainingData:
    """Return the data with all that a run records, after the checks of both."""
    if settings.training_metrics:
        data = data.with_training_metrics()
    _check_metric(model, data, settings)
    if settings.objective.augment and isinstance(data.X, SparseRows):
        raise ValueError(
            "augment needs dense rows, as it changes inputs that are not stored, too; X is sparse, "
            "and X.toarray() is dense"
        )
    return data


def carry_out(run: Run, bar: Any) -> None:
    """Train; an interrupted run ends after a complete step."""
    try:
        with run:
            _set_up_and_go(run, bar)
    except (KeyboardInterrupt, SystemExit):
        run.end_early()  # again, as this may have come in the middle of it
        raise
    run.history.warning = run.team.of_first(lambda: health.verdict(run))


def prepare(run: Run, bar: Any) -> float:
    """Compile or load what a run needs, and return the seconds that it took."""
    with run.team.in_turn():
        seconds: float = backends.get(run.model.backend).prepare(
            run.model,
            lambda: bar.set_description_str("compiling (once)"),
            run.settings.rule,
            run.batches.lengths,
            isinstance(run.data.X, SparseRows),
            run.team.halves,
        )
    return seconds


def _set_up_and_go(run: Run, bar: Any) -> History:
    """Set a run up, and train."""
    saver = None if run.settings.checkpoint is None else Saver(run)
    run.set_up(resumes=saver is not None and saver.resumes)
    if saver is not None:
        saver.begin()
    run.history.compile_seconds = prepare(run, bar)
    run.began = time.perf_counter()
    if saver is None:
        return _go(run, bar)
    with saver.ending_well():
        return _go(run, bar, saver)


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
    evaluations = {
        part: Evaluation(model, data, run.team) for part, data in run.data.evaluated.items()
    }
    bar.update(run.progress.epoch * run.batches.rows + run.progress.seen)
    while run.progress.epoch < settings.epochs and not history.stopped:
        number = model.epochs_trained + 1
        bar.set_description_str(f"epoch {number}")
        _go_through_the_rows(run, bar, saver)
        whole = run.progress.step == run.steps
        if whole:
            _average_epochs(run)
        else:  # a call that resumes takes the other rows of this epoch
            _save(run, saver)
        try:
            with run.averaged():
                metrics = {
                    f"{part}_{name}": value
                    for part, evaluation in evaluations.items()
                    for name, value in evaluation().items()
                }
        except DivergenceError as error:
            assert run.start is not None
            run.start.restore(run)
            raise DivergenceError(
                f"after epoch {number} {error}; the parameters from before are restored"
            ) from error
        with run.averaged():
            history.stopped = _record(run, metrics)
        if whole and history.stopped == "max_seconds":  # it goes on from here, not from the best
            _save(run, saver)
    model.take_average()
    if run.watch and run.watch.rule.restore_best:
        model.vector[:] = run.best
    if history.stopped != "max_seconds":
        _save(run, saver)
    return history


def _average_epochs(run: Run) -> None:
    """Take the parameters after an epoch into the average, if it is one of epochs."""
    rule, average, settings = run.settings.average, run.state.average, run.settings
    if isinstance(rule, SWA) and run.progress.epoch >= settings.epochs - rule.epochs:
        assert average is not None
        mean = average.parameters.vector
        mean += (run.model.vector - mean) / run.model.vector.dtype.type(average.moments + 1)
        average.moments += 1


def _save(run: Run, saver: Saver | None) -> None:
    """Write a checkpoint, if there are any."""
    if saver is not None:
        run.keep()
        saver.write()


def _record(run: Run, metrics: dict[str, float]) -> str:
    """Add an epoch to the history; return why it is the last, or nothing."""
    at, history, watch = run.progress, run.history, run.watch
    run.team.compare(run)
    seconds = run.team.of_first(lambda: at.seconds)
    run.model.epochs_trained += 1
    history.append(
        {
            "epoch": run.model.epochs_trained,
            "loss": at.total / at.seen,
            **metrics,
            "learning_rate": at.rate,
            "seconds": seconds,
            "samples_per_second": at.seen / seconds,
        }
    )
    run.progress = Progress(epoch=at.epoch + 1)
    stops = run.team.of_first(lambda: _stops(run))
    if watch and watch.see(history[-1][watch.rule.metric]):
        run.best = run.model.vector.copy()
        history.best_epoch = run.model.epochs_trained
    if at.step == run.steps:  # in a shorter epoch the time is over: this ends the call, not the run
        if stops:
            return "a callback"
        if watch and watch.over:
            return "early stopping"
    return "max_seconds" if run.late else ""


def _stops(run: Run) -> bool:
    """Call the callbacks; return whether one of them ends the run."""
    answers = [callback(dict(run.history[-1])) for callback in run.settings.callbacks]
    return any(isinstance(answer, str) and answer == "stop" for answer in answers)


def _go_through_the_rows(run: Run, bar: Any, saver: Saver | None) -> None:
    """Take the remaining steps of an epoch, or as many as the time allows."""
    model, settings, batches, team = run.model, run.settings, run.batches, run.team
    rule = settings.rule
    number = model.epochs_trained + 1
    run.start = None
    start = time.perf_counter()
    order = batches.order(model.seed, number, run.data.rows, settings.shuffle)
    # Rates, losses and keys are made for one part at a time: an epoch may have very many rows.
    first, every = run.progress.step, settings.checkpoint_every
    work, X = None, run.data.X
    if isinstance(X, SparseRows):
        passing = rule.optimizer.code != PLAIN
        work = team.of_first(
            lambda: sparse_work(model.architecture, X, batches.own, training=True, passing=passing)
        )
    size = max(1, settings.batch_size // team.size)  # the same in all processes
    for part in slices(model.architecture, run.steps, size, every, first, work, team.together):
        if run.moment is None or run.progress is not run.moment.progress:
            run.keep()  # set_up has done it for the first part of a call
        end_with_the_others()
        if run.data.evaluated:
            run.start = run.start or run.moment
        at = run.progress
        if saver is not None and saver.is_due(at):
            saver.write()
            start = time.perf_counter()
        taken = batches.taken(part)
        rows = order[taken.start : taken.stop]
        sizes, count = batches.sizes(part)
        t = at.epoch + np.arange(part.start, part.stop) / run.steps
        factors = schedules.factors(settings.schedule, t, settings.epochs, run.reductions)
        rates = settings.learning_rate * factors
        keys = dropout.NO_KEYS
        augment = rule.objective.augment
        if rule.objective.drops or augment:
            layers = len(model.weights)
            places = batches.places(taken)
            keys = dropout.row_keys(model.seed, number, layers + len(augment), places)
        losses = np.empty(len(rates))
        try:
            steps = team.train_steps(run, rows, sizes, rates, keys, losses)
        except BaseException:  # such as Ctrl-C in the middle of a step
            run.go_back()
            raise
        if steps < len(rates) or not run.is_finite:
            raise DivergenceError(
                divergence.explain(run, number, part.start, rows, sizes, rates, keys)
            )
        bar.update(count)
        sums = losses * sizes
        sums[0] += at.total
        now = time.perf_counter()
        run.progress = Progress(
            at.epoch,
            part.stop,
            float(np.add.accumulate(sums)[-1]),  # in order: it does not matter where epochs are cut
            at.seen + count,
            at.rate if part.start else float(rates[0]),
            at.seconds + now - start,
        )
        run.before, run.losses = None, losses
        start = now
        if run.late:
            break


def slices(
    architecture: Architecture,
    steps: int,
    batch_size: int,
    every: int | None = None,
    first: int = 0,
    work: float | None = None,
    together: int = 1,
) -> Iterator[slice]:
    """Cut an epoch into calls of a backend, each short enough, and at every checkpoint.

    ``work`` is that of a step, where it is not that of the whole products. So many steps stay
    ``together``.
    """
    if work is None:
        work = batch_size * architecture.training_flops
    length = max(1, int(SLICE / (work + STEP_OVERHEAD)) // together) * together
    while first < steps:
        checkpoint = steps if every is None else (first // every + 1) * every
        last = min(first + length, checkpoint, steps)
        yield slice(first, last)
        first = last


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


def bar_of(shown: bool | None, count: int, unit: str = "samples"):  # type: ignore[no-untyped-def]
    """Return a progress bar up to a count, if it is to be shown; None is on a terminal only."""
    if shown is None:
        shown = sys.stderr is not None and sys.stderr.isatty()
    if not shown:
        return _NoBar()
    from tqdm import tqdm  # only here: importing it takes a tenth of a second

    return tqdm(
        total=count,
        unit=unit,
        unit_scale=unit == "samples",  # of which there are many
        dynamic_ncols=True,
        leave=False,
    )
