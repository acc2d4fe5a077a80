"""A training run: the state that changes from step to step, and copies of it."""

from __future__ import annotations

import time
from typing import NamedTuple

import numpy as np

from fastnn.activations import Array
from fastnn.backends.contract import Examples
from fastnn.checks.tables import Names
from fastnn.checks.targets import Classes
from fastnn.model.model import Model
from fastnn.model.optimizer_state import OptimizerState
from fastnn.model.scaling import Scaler
from fastnn.schedules import Plateaus, ReduceOnPlateau
from fastnn.training.data import TrainingData
from fastnn.training.early_stopping import Watch
from fastnn.training.evaluation import scale_targets
from fastnn.training.history import History
from fastnn.training.settings import TrainingSettings


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
    moment : Moment
        A copy of the state, to return to if the next steps fail.
    examples : Examples
    state : OptimizerState
    """

    examples: Examples
    state: OptimizerState
    moment: Moment

    def __init__(self, model: Model, data: TrainingData, settings: TrainingSettings) -> None:
        self.before: Trained | None = Trained.of(model)
        self.model = model
        self.data = data
        self.settings = settings
        self.history = History()
        self.watch = Watch(settings.early_stopping) if settings.early_stopping else None
        self.best = model.vector
        self.progress = Progress()
        self.losses = np.empty(0)
        self.steps = -(-len(data) // settings.batch_size)
        schedule = settings.schedule
        self.plateaus = Plateaus(schedule) if isinstance(schedule, ReduceOnPlateau) else None
        self.began = time.perf_counter()

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.undo()

    def undo(self) -> None:
        """Set the model to what it was before this call, unless a step of it stands."""
        if self.before is not None:
            self.before.restore(self.model)

    def set_up(self) -> None:
        """Give the model what it needs to be trained: scalers, and the optimizer's state."""
        self.data.set_names(self.model)
        self.data.learn_scales(self.model)
        targets = scale_targets(self.model, self.data.targets)
        self.examples = Examples(self.data.X, targets, self.data.weights, self.data.rows)
        self.state = self.model.state_for(self.settings.optimizer)
        self.keep()

    @property
    def is_finite(self) -> bool:
        """Whether the parameters and the optimizer's state are finite."""
        return all(np.isfinite(vector).all() for vector in _vectors(self.model))

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
        return limit is not None and time.perf_counter() - self.began >= limit

    def keep(self) -> None:
        """Copy the current state to ``moment``."""
        self.moment = Moment.of(self)


class Trained(NamedTuple):
    """A copy of everything of a model that training changes."""

    vectors: tuple[Array, ...]  # the parameters, then the optimizer's state
    state: OptimizerState | None
    steps: int
    epochs_trained: int
    scalers: tuple[Scaler | None, Scaler | None]  # which do not change themselves
    features: Names | None
    classes: Classes | None
    pixels: bool

    @classmethod
    def of(cls, model: Model) -> Trained:
        """Return a copy of what training changes."""
        state = model.optimizer_state
        return cls(
            tuple([vector.copy() for vector in _vectors(model)]),
            state,
            state.steps if state else 0,
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
    def of(cls, run: Run) -> Moment:
        """Return a copy of the state of a run."""
        watch = run.watch
        return cls(
            Trained.of(run.model),
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
    slots = model.optimizer_state.slots if model.optimizer_state else ()
    return [model.vector, *[slot.vector for slot in slots]]
