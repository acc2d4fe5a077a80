"""A training run: the state that changes from step to step, and copies of it."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass

import numpy as np

from fastnn.activations import Array
from fastnn.backends.contract import Examples
from fastnn.model.model import Model
from fastnn.training.data import TrainingData
from fastnn.training.early_stopping import Watch
from fastnn.training.evaluation import scale_targets
from fastnn.training.history import History
from fastnn.training.settings import TrainingSettings


@dataclass(frozen=True)
class Progress:
    """How far a run is. All but the first and the last field are about the current epoch."""

    epoch: int = 0  # epochs done
    step: int = 0  # steps done
    total: float = 0.0  # sum of the losses of the rows so far
    seen: int = 0  # number of these rows
    rate: float = 0.0  # learning rate of the first step
    seconds: float = 0.0  # training time
    elapsed: float = 0.0  # time of the whole run, in seconds


class Run:
    """A run: the model, its data and settings, and how far it is.

    Attributes
    ----------
    history : History
    state : OptimizerState
    watch : Watch or None
        The state of early stopping.
    best : ndarray
        The parameters of the best epoch so far; without early stopping those of the model.
    progress : Progress
    moment : Moment
        A copy of the state, to return to if the next steps fail.
    """

    def __init__(
        self, model: Model, data: TrainingData, settings: TrainingSettings, history: History
    ) -> None:
        self.model = model
        self.data = data
        self.settings = settings
        self.history = history
        self.examples = Examples(data.X, scale_targets(model, data.targets), data.weights)
        self.state = model.state_for(settings.optimizer)
        self.watch = Watch(settings.early_stopping) if settings.early_stopping else None
        self.best = model.vector
        self.progress = Progress()
        self.began = time.perf_counter()
        self.moment = Moment.of(self)

    @property
    def vectors(self) -> list[Array]:
        """The parameters, then the optimizer's state."""
        return [self.model.vector, *(slot.vector for slot in self.state.slots)]

    @property
    def is_finite(self) -> bool:
        """Whether the parameters and the optimizer's state are finite."""
        return all(np.isfinite(vector).all() for vector in self.vectors)

    @property
    def late(self) -> bool:
        """Whether ``max_seconds`` have passed."""
        limit = self.settings.max_seconds
        return limit is not None and time.perf_counter() - self.began >= limit

    def keep(self) -> None:
        """Copy the current state to ``moment``."""
        elapsed = time.perf_counter() - self.began
        self.progress = dataclasses.replace(self.progress, elapsed=elapsed)
        self.moment = Moment.of(self)


@dataclass(frozen=True)
class Moment:
    """A copy of everything that a step or an epoch changes."""

    vectors: tuple[Array, ...]  # the parameters, then the optimizer's state
    steps: int
    epochs_trained: int
    progress: Progress
    rows: int  # of the history
    counters: tuple[float, int]  # of early stopping
    best: Array
    best_epoch: int | None

    @classmethod
    def of(cls, run: Run) -> Moment:
        """Return a copy of the state of a run."""
        watch = run.watch
        return cls(
            tuple(vector.copy() for vector in run.vectors),
            run.state.steps,
            run.model.epochs_trained,
            run.progress,
            len(run.history),
            (watch.best, watch.waited) if watch else (0.0, 0),
            run.best,
            run.history.best_epoch,
        )

    def restore(self, run: Run) -> None:
        """Set the state of a run to this copy."""
        for vector, old in zip(run.vectors, self.vectors, strict=True):
            vector[:] = old
        run.state.steps = self.steps
        run.model.epochs_trained = self.epochs_trained
        run.progress = self.progress
        del run.history.rows[self.rows :]
        if run.watch:
            run.watch.best, run.watch.waited = self.counters
        run.best = self.best
        run.history.best_epoch = self.best_epoch
