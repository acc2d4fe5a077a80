"""Learning-rate schedules: the factor of the learning rate at each step of a run.

Schedules are small frozen dataclasses. Pass an object, or a name for its defaults. A function works
too: it gets the epochs done in this run, with fractions (0, 0.5, 1, 1.5 for two steps per epoch),
and returns the factor.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from fastnn.activations import Array
from fastnn.checks import values as check
from fastnn.checks.schedules import Checked


@dataclass(frozen=True)
class Constant(Checked):
    """The factor is 1 at every step: the learning rate does not change."""

    def __call__(self, t: Array, epochs: int) -> Array:
        """Return the factors at the times ``t``, in epochs done, of a run of ``epochs``."""
        return np.ones(len(t))


@dataclass(frozen=True)
class Linear(Checked):
    """The factor falls linearly from 1 at the first step to ``end`` after the last one.

    Parameters
    ----------
    end : float
        The factor after the last step; at least 0.
    by : str
        "step", or "epoch" to change the rate only at the start of each epoch.

    Raises
    ------
    TypeError, ValueError
        If a field is not a number, or not within its limits.
    """

    end: float = 0.0
    by: Literal["step", "epoch"] = "step"

    def __call__(self, t: Array, epochs: int) -> Array:
        """Return the factors at the times ``t``, in epochs done, of a run of ``epochs``."""
        return 1 - (1 - self.end) * _by(self.by, t) / epochs


@dataclass(frozen=True)
class Exponential(Checked):
    """The factor is ``decay^t`` after t epochs.

    Parameters
    ----------
    decay : float
        Factor from one epoch to the next; greater than 0 and at most 1.
    by : str
        "epoch", or "step" to lower the rate within epochs too.

    Raises
    ------
    TypeError, ValueError
        If a field is not a number, or not within its limits.
    """

    decay: float = 0.9
    by: Literal["step", "epoch"] = "epoch"

    up_to_one: ClassVar[tuple[str, ...]] = ("decay",)

    def __call__(self, t: Array, epochs: int) -> Array:
        """Return the factors at the times ``t``, in epochs done, of a run of ``epochs``."""
        return self.decay ** _by(self.by, t)


@dataclass(frozen=True)
class Step(Checked):
    """The rate is multiplied by ``factor`` after every ``every`` epochs.

    Parameters
    ----------
    every : int
        Epochs between two changes; at least 1.
    factor : float
        Greater than 0 and at most 1.

    Raises
    ------
    TypeError, ValueError
        If a field is not a number, or not within its limits.
    """

    every: int = 3
    factor: float = 0.5

    up_to_one: ClassVar[tuple[str, ...]] = ("factor",)

    def __call__(self, t: Array, epochs: int) -> Array:
        """Return the factors at the times ``t``, in epochs done, of a run of ``epochs``."""
        return self.factor ** np.floor(t / self.every)


@dataclass(frozen=True)
class InverseScaling(Checked):
    """The factor is ``1 / (1 + t)^power`` after t epochs.

    Parameters
    ----------
    power : float
        Greater than 0.
    by : str
        "step", or "epoch" to change the rate only at the start of each epoch.

    Raises
    ------
    TypeError, ValueError
        If a field is not a number, or not within its limits.
    """

    power: float = 0.5
    by: Literal["step", "epoch"] = "step"

    above_zero: ClassVar[tuple[str, ...]] = ("power",)

    def __call__(self, t: Array, epochs: int) -> Array:
        """Return the factors at the times ``t``, in epochs done, of a run of ``epochs``."""
        return (1 + _by(self.by, t)) ** -self.power


@dataclass(frozen=True)
class Cosine(Checked):
    """Half a cosine falls from 1 to ``end``, after a warm-up (Loshchilov and Hutter, 2017).

    Parameters
    ----------
    warmup : float
        Epochs, with fractions, in which the factor first rises linearly from 0 to 1; at least 0 and
        less than the epochs of the run.
    end : float
        The factor after the last step; at least 0.
    by : str
        "step", or "epoch" to change the rate only at the start of each epoch.

    Raises
    ------
    TypeError, ValueError
        If a field is not a number, or not within its limits.
    """

    warmup: float = 0.0
    end: float = 0.0
    by: Literal["step", "epoch"] = "step"

    def check_run(self, epochs: int) -> None:
        """Check that the warm-up is shorter than a run of so many epochs.

        Parameters
        ----------
        epochs : int

        Raises
        ------
        ValueError
            If it is not.
        """
        if self.warmup >= epochs:
            raise ValueError(
                f"Cosine's warmup must be shorter than the run of {epochs} epochs; "
                f"got {self.warmup:g} epochs"
            )

    def __call__(self, t: Array, epochs: int) -> Array:
        """Return the factors at the times ``t``, in epochs done, of a run of ``epochs``."""
        t = _by(self.by, t)
        done = np.clip((t - self.warmup) / (epochs - self.warmup), 0, 1)
        fall = self.end + (1 - self.end) * (1 + np.cos(math.pi * done)) / 2
        return np.where(t < self.warmup, t / (self.warmup or 1), fall)


@dataclass(frozen=True)
class CosineLog(Checked):
    """Waves that get longer: ``(1 - cos(2 pi log2(1 + (2^cycles - 1) t))) / 2``.

    t is the share of the run that is done. The factor is 0 at the first step and after the last
    one, and rises to 1 and falls to 0 in each cycle, which takes twice as long as the one before
    (Holzmüller, Grinsztajn and Steinwart, "Better by default", 2024).

    Parameters
    ----------
    cycles : int
        At least 1.

    Raises
    ------
    TypeError, ValueError
        If it is not such a number.
    """

    cycles: int = 4

    def __call__(self, t: Array, epochs: int) -> Array:
        """Return the factors at the times ``t``, in epochs done, of a run of ``epochs``."""
        waves = np.log2(1 + (2.0**self.cycles - 1) * t / epochs)
        return (1 - np.cos(2 * math.pi * waves)) / 2


@dataclass(frozen=True)
class OneCycle(Checked):
    """Half a cosine rises from ``start`` to 1, another falls to ``end`` (Smith and Topin, 2018).

    Parameters
    ----------
    peak : float
        Share of the run after which the factor is 1; greater than 0 and at most 1.
    start, end : float
        Factors at the first step and after the last one; at least 0.

    Raises
    ------
    TypeError, ValueError
        If a field is not a number, or not within its limits.
    """

    peak: float = 0.3
    start: float = 0.04
    end: float = 4e-6

    up_to_one: ClassVar[tuple[str, ...]] = ("peak",)

    def __call__(self, t: Array, epochs: int) -> Array:
        """Return the factors at the times ``t``, in epochs done, of a run of ``epochs``."""
        done = t / epochs
        up = np.clip(done / self.peak, 0, 1)
        down = np.clip((done - self.peak) / ((1 - self.peak) or 1), 0, 1)
        rise = self.start + (1 - self.start) * (1 - np.cos(math.pi * up)) / 2
        fall = self.end + (1 - self.end) * (1 + np.cos(math.pi * down)) / 2
        return np.where(done < self.peak, rise, fall)


@dataclass(frozen=True)
class ReduceOnPlateau(Checked):
    """The rate is multiplied by ``factor`` when the loss has not fallen for ``patience`` epochs.

    This is the loss of the validation data, or without validation data the training loss.

    Parameters
    ----------
    factor : float
        Greater than 0 and at most 1.
    patience : int
        Epochs to wait for a new lowest loss; at least 1. After each change the count starts again.
    min_change : float
        A loss counts as lower if it is lower by more than this; at least 0.

    Raises
    ------
    TypeError, ValueError
        If a field is not a number, or not within its limits.
    """

    factor: float = 0.3
    patience: int = 2
    min_change: float = 1e-4

    up_to_one: ClassVar[tuple[str, ...]] = ("factor",)

    def __call__(self, t: Array, epochs: int) -> Array:
        """Return ones: the factor depends on the losses only, see `reductions`."""
        return np.ones(len(t))

    def reductions(self, losses: Iterable[float]) -> int:
        """Return how many times the rate has been reduced.

        Parameters
        ----------
        losses : iterable of float
            The losses of the epochs so far.
        """
        return Plateaus(self).reductions(losses)


class Plateaus:
    """Counts the reductions of a `ReduceOnPlateau` while a run goes on, each loss seen once.

    Parameters
    ----------
    schedule : ReduceOnPlateau

    Attributes
    ----------
    seen : int
        The losses so far.
    """

    def __init__(self, schedule: ReduceOnPlateau) -> None:
        self.schedule = schedule
        self.seen = 0
        self._count, self._waited, self._lowest = 0, 0, math.inf

    def reductions(self, losses: Iterable[float]) -> int:
        """Return how many times the rate has been reduced.

        Parameters
        ----------
        losses : iterable of float
            The losses since the last call.
        """
        for loss in losses:
            self.seen += 1
            self._waited += 1
            if loss < self._lowest - self.schedule.min_change:
                self._lowest, self._waited = loss, 0
            elif self._waited >= self.schedule.patience:
                self._count, self._waited = self._count + 1, 0
        return self._count


Schedule = (
    Constant | Linear | Exponential | Step | InverseScaling | Cosine | CosineLog | OneCycle
    | ReduceOnPlateau
)  # fmt: skip

SCHEDULES: dict[str, Schedule] = {
    "constant": Constant(),
    "linear": Linear(),
    "exponential": Exponential(),
    "step": Step(),
    "inverse_scaling": InverseScaling(),
    "cosine": Cosine(),
    "cosine_log": CosineLog(),
    "one_cycle": OneCycle(),
    "plateau": ReduceOnPlateau(),
}


def named(schedule: object, epochs: int) -> Schedule | Callable[[float], float]:
    """Return the schedule of that name, or the object or function itself.

    Parameters
    ----------
    schedule : str, schedule or callable
    epochs : int
        Epochs of the run.

    Raises
    ------
    TypeError, ValueError
        If it is neither a schedule, nor the name of one, nor a function; or if it does not fit into
        a run of so many epochs.
    """
    if isinstance(schedule, str):
        schedule = SCHEDULES[check.any_case("schedule", schedule, SCHEDULES)]
    if isinstance(schedule, Checked):
        schedule.check_run(epochs)
    elif not callable(schedule):
        raise TypeError(
            f"schedule must be a name, a function or one from fastnn.schedules, got {schedule!r}"
        )
    return schedule  # type: ignore[return-value]


def factors(
    schedule: Schedule | Callable[[float], float], t: Array, epochs: int, reductions: int = 0
) -> Array:
    """Return the factors of some steps.

    Parameters
    ----------
    schedule : schedule or callable
    t : ndarray
        The epochs done before each step, with fractions.
    epochs : int
        Epochs of the run.
    reductions : int
        How many times a `ReduceOnPlateau` has reduced the rate.

    Raises
    ------
    TypeError, ValueError
        If a function returns anything but a number of 0 or more.
    """
    if isinstance(schedule, ReduceOnPlateau):
        return np.full(len(t), schedule.factor**reductions)
    if isinstance(schedule, Checked):
        return schedule(t, epochs)
    name = "schedule's result"
    return np.array([check.real(name, schedule(time), least=0) for time in t.tolist()])


def _by(unit: str, t: Array) -> Array:
    return np.floor(t) if unit == "epoch" else t
