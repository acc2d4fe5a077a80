"""A training run: the state that changes from step to step, and copies of it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from fastnn.activations import Array
from fastnn.backends.contract import Examples
from fastnn.checks.tables import Names
from fastnn.checks.targets import Classes
from fastnn.model.model import Model
from fastnn.model.optimizer_state import Averaged, OptimizerState
from fastnn.model.scaling import Scaler
from fastnn.schedules import Plateaus, ReduceOnPlateau
from fastnn.training.data import TrainingData
from fastnn.training.early_stopping import Watch
from fastnn.training.history import History
from fastnn.training.processes import ALONE, OneProcess
from fastnn.training.settings import TrainingSettings

AS_IT_IS = contextlib.nullcontext()
AT_ONCE = 1 << 18  # numbers that are looked at in one go, which takes a byte for each


class Progress(NamedTuple):
    """How far a run is. All but the first field are about the current epoch."""

    epoch: int = 0  # epochs done
    step: int = 0  # steps done
    total: float = 0.0  # sum of the losses of the rows so far
    seen: int = 0  # number of these rows
    rate: float = 0.0  # learning rate of the first step
    seconds: float = 0.0  # training time


class Run:
    """A run: the model, its data and settings, and how far it is.

    As a context it leaves the model as it was, if an exception ends the run and no step of it
    stands.

    Attributes
    ----------
    history : History
    watch : Watch or None
        The state of early stopping.
    steps : int
        The steps of an epoch.
    best : ndarray
        The parameters of the best epoch so far; without early stopping those of the model.
    progress : Progress
    losses : ndarray
        Of the batches of the last call of the backend.
    before : Trained or None
        A copy of the model from before this call, until a step of it stands.
    moment : Moment or None
        A copy of the state, to return to if the next steps fail. None while it is being made: then
        the state is still what it is made of.
    start : Moment or None
        The moment before the rows of the epoch, if there is data to evaluate after them.
    examples : Examples
        Those that are in memory: all, or a buffer of a stream.
    supply : Supply
        Where they come from.
    state : OptimizerState
    team : OneProcess
        The processes that carry it out.
    batches : Batches
        The batches of an epoch.
    """

    examples: Examples
    state: OptimizerState

    def __init__(
        self,
        model: Model,
        data: TrainingData,
        settings: TrainingSettings,
        team: OneProcess = ALONE,
    ) -> None:
        self.before: Trained | None = Trained.of(model)
        self.moment: Moment | None = None
        self.start: Moment | None = None
        self.model = model
        self.data = data
        self.settings = settings
        self.team = team
        self.history = History()
        self.watch = Watch(settings.early_stopping) if settings.early_stopping else None
        self.best = model.vector
        self.progress = Progress()
        self.losses = np.empty(0)
        self.batches = team.batches(len(data), settings.batch_size)
        self.steps = self.batches.steps
        self.supply = data.supply(model)
        schedule = settings.schedule
        self.plateaus = Plateaus(schedule) if isinstance(schedule, ReduceOnPlateau) else None
        self.began = time.perf_counter()

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.supply.close(self)
        if kind is not None:
            self.end_early()

    def end_early(self) -> None:
        """Set the model to what it was before this call, unless a step of it stands."""
        self.supply.close(self)
        if self.before is not None:
            self.before.restore(self.model)
        self.model.take_average()

    def set_up(self, *, resumes: bool = False) -> None:
        """Give the model what it needs to be trained: scalers, and the optimizer's state.

        If it ``resumes``, its parameters are others than before the run.
        """
        before, model = self.before, self.model
        assert before is not None
        self.data.set_names(model)
        self.data.learn_scales(model, self.team.combined)
        self.examples = self.data.examples(model)
        self.state = model.state_for(self.settings.optimizer)
        if not resumes:
            self.state.average = Averaged(model.parameters) if self.settings.average else None
        same = () if resumes else before.vectors  # which need no second copy
        if self.state is not before.state:
            same = same[:1]  # the parameters
        others = [vector.copy() for vector in _vectors(model)[len(same) :]]
        self.moment = Moment.of(self, (*same, *others))

    @property
    def is_finite(self) -> bool:
        """Whether the parameters and the optimizer's state are finite."""
        for vector in _vectors(self.model):
            for first in range(0, len(vector), AT_ONCE):
                finite = np.isfinite(vector[first : first + AT_ONCE])
                if np.count_nonzero(finite) < len(finite):  # sooner than `finite.all`
                    return False
        return True

    @property
    def reductions(self) -> int:
        """How many times a schedule that waits for plateaus has reduced the rate."""
        if self.plateaus is None:
            return 0
        held_out = "validation" in self.data.evaluated
        column = "validation_loss" if held_out else "loss"
        return self.plateaus.reductions(
            [row[column] for row in self.history.rows[self.plateaus.seen :]]
        )

    @property
    def late(self) -> bool:
        """Whether ``max_seconds`` have passed."""
        limit = self.settings.max_seconds
        if limit is None:
            return False
        return self.team.of_first(lambda: time.perf_counter() - self.began >= limit)

    def averaged(self) -> contextlib.AbstractContextManager[None]:
        """Give the model its average for a while, as if it had no other parameters."""
        average = self.state.average
        return AS_IT_IS if average is None or not average.moments else self._with(average)

    @contextlib.contextmanager
    def _with(self, average: Averaged) -> Iterator[None]:
        model = self.model
        raw = model.vector.copy()
        try:
            self.state.average = None
            model.vector[:] = average.parameters.vector
            yield
        finally:
            model.vector[:] = raw
            self.state.average = average

    def keep(self) -> None:
        """Copy the current state to ``moment``: over the last one, unless that is still needed."""
        last, self.moment = self.moment, None
        if last is None or last is self.start or self.before is not None:
            self.moment = Moment.of(self, _copies(self.model))
            return
        copies = []
        # At the end of a run there is no average any more.
        for old, vector in zip(last.trained.vectors, _vectors(self.model), strict=False):
            old[:] = vector
            copies.append(old)
        self.moment = Moment.of(self, tuple(copies))

    def go_back(self) -> None:
        """Return to ``moment``."""
        if self.moment is not None:
            self.moment.restore(self)


class Trained(NamedTuple):
    """A copy of everything of a model that training changes."""

    vectors: tuple[Array, ...]  # the parameters, then the optimizer's state
    state: OptimizerState | None
    steps: int
    average: tuple[Averaged, int, int] | None
    epochs_trained: int
    scalers: tuple[Scaler | None, Scaler | None]  # which do not change themselves
    features: Names | None
    classes: Classes | None
    pixels: bool

    @classmethod
    def of(cls, model: Model, vectors: tuple[Array, ...] | None = None) -> Trained:
        """Return a copy of what training changes; ``vectors`` are copies that are made already."""
        state = model.optimizer_state
        average = state.average if state else None
        return cls(
            _copies(model) if vectors is None else vectors,
            state,
            state.steps if state else 0,
            (average, average.steps, average.moments) if average else None,
            model.epochs_trained,
            (model.input_scaler, model.target_scaler),
            model.features,
            model.classes,
            model.pixels,
        )

    def restore(self, model: Model) -> None:
        """Set a model to this copy."""
        model.optimizer_state = self.state
        if self.state:
            self.state.steps = self.steps
            self.state.average = None
            if self.average:
                average, steps, moments = self.average
                average.steps, average.moments = steps, moments
                self.state.average = average
        for vector, old in zip(_vectors(model), self.vectors, strict=True):
            vector[:] = old
        model.epochs_trained = self.epochs_trained
        model.use_scalers(*self.scalers)
        model.features, model.classes, model.pixels = self.features, self.classes, self.pixels


class Moment(NamedTuple):
    """A copy of everything that a step or an epoch changes."""

    trained: Trained
    before: Trained | None
    progress: Progress
    rows: int  # of the history
    counters: tuple[float, int]  # of early stopping
    best: Array
    best_epoch: int | None
    stopped: str

    @classmethod
    def of(cls, run: Run, vectors: tuple[Array, ...]) -> Moment:
        """Return a copy of the state of a run, of whose vectors there are copies already."""
        watch = run.watch
        return cls(
            Trained.of(run.model, vectors),
            run.before,
            run.progress,
            len(run.history),
            (watch.best, watch.waited) if watch else (0.0, 0),
            run.best,
            run.history.best_epoch,
            run.history.stopped,
        )

    def restore(self, run: Run) -> None:
        """Set the state of a run to this copy."""
        run.before = self.before  # first, so that an interrupt in what follows undoes all
        self.trained.restore(run.model)
        run.progress = self.progress
        del run.history.rows[self.rows :]
        if run.watch:
            run.watch.best, run.watch.waited = self.counters
        run.best = self.best
        run.history.best_epoch, run.history.stopped = self.best_epoch, self.stopped


def _vectors(model: Model) -> list[Array]:
    """Return the parameters, then the optimizer's state."""
    state = model.optimizer_state
    return [model.vector, *(state.vectors if state else ())]


def _copies(model: Model) -> tuple[Array, ...]:
    """Return copies of the parameters, then of the optimizer's state."""
    return tuple([vector.copy() for vector in _vectors(model)])
