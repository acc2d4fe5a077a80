"""A run on its way: all that changes while it goes on, and copies of that."""

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
    """Where a run is: between two steps, or two epochs."""

    epoch: int = 0  # epochs done
    step: int = 0  # steps done in the next one
    total: float = 0.0  # of its losses so far
    seen: int = 0  # rows that these are of
    rate: float = 0.0  # of its first step
    seconds: float = 0.0  # of training that it took so far
    elapsed: float = 0.0  # of the whole run


class Run:
    """A run: the model, what it learns from and how, and how far it is.

    Attributes
    ----------
    history : History
    state : OptimizerState
    watch : Watch or None
        Of early stopping.
    best : ndarray
        The parameters of the best epoch so far, or those of the model.
    progress : Progress
    moment : Moment
        What to return to if the next steps fail.
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
        """The parameters, then what the optimizer remembers."""
        return [self.model.vector, *(slot.vector for slot in self.state.slots)]

    @property
    def is_finite(self) -> bool:
        """Tell whether the parameters, and what the optimizer remembers, are finite."""
        return all(np.isfinite(vector).all() for vector in self.vectors)

    @property
    def late(self) -> bool:
        """Tell whether time is up."""
        limit = self.settings.max_seconds
        return limit is not None and time.perf_counter() - self.began >= limit

    def keep(self) -> None:
        """Remember this moment."""
        elapsed = time.perf_counter() - self.began
        self.progress = dataclasses.replace(self.progress, elapsed=elapsed)
        self.moment = Moment.of(self)


@dataclass(frozen=True)
class Moment:
    """A run between two of its steps: copies of all that changes."""

    vectors: tuple[Array, ...]  # of the parameters, then of what the optimizer remembers
    steps: int
    epochs_trained: int
    progress: Progress
    rows: int  # of the history
    counters: tuple[float, int]  # of early stopping
    best: Array
    best_epoch: int | None

    @classmethod
    def of(cls, run: Run) -> Moment:
        """Return the moment that a run is at."""
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
        """Bring a run back to this moment."""
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
