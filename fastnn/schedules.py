"""Learning-rate schedules: the factor on the learning rate at each step of a run.

Each is a small frozen dataclass, to be passed as an object or, with its defaults, by name. A plain
function works too: it gets the epochs done so far in this run, with the part of the current one
(0, 0.5, 1, 1.5 with two steps an epoch), and returns the factor.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import ClassVar, Literal

import numpy as np

from fastnn.activations import Array
from fastnn.checks import values as check


class _Schedule:
    """What schedules share: the check of their fields."""

    above_zero: ClassVar[tuple[str, ...]] = ()
    up_to_one: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        for field in fields(self):  # type: ignore[arg-type]
            name = f"{type(self).__name__}'s {field.name}"
            value = getattr(self, field.name)
            if field.name == "by":
                check.one_of(name, value, ("step", "epoch"))
            elif field.name in ("every", "patience"):
                check.integer(name, value, 1)
            elif field.name in self.up_to_one:
                check.real(name, value, above=0, most=1)
            elif field.name in self.above_zero:
                check.real(name, value, above=0)
            else:
                check.real(name, value, least=0)

    def check_run(self, epochs: int) -> None:
        """Refuse a run of so many epochs that the schedule does not fit into."""


@dataclass(frozen=True)
class Constant(_Schedule):
    """The factor is 1 at every step."""

    def __call__(self, t: Array, epochs: int) -> Array:
        """Return the factor after ``t`` of ``epochs`` epochs; t may be fractions."""
        return np.ones(len(t))


@dataclass(frozen=True)
class Linear(_Schedule):
    """A linear fall from 1 at the first step to ``end`` after the last one.

    Parameters
    ----------
    end : float
    by : str
        "step", or "epoch" to change it at the start of epochs only.
    """

    end: float = 0.0
    by: Literal["step", "epoch"] = "step"

    def __call__(self, t: Array, epochs: int) -> Array:
        """Return the factor after ``t`` of ``epochs`` epochs; t may be fractions."""
        return 1 - (1 - self.end) * _by(self.by, t) / epochs


@dataclass(frozen=True)
class Exponential(_Schedule):
    """``decay`` to the power of the epochs done.

    Parameters
    ----------
    decay : float
        The factor from one epoch to the next, greater than 0 and at most 1.
    by : str
        "epoch", or "step" to fall within epochs too.
    """

    decay: float = 0.9
    by: Literal["step", "epoch"] = "epoch"

    up_to_one: ClassVar[tuple[str, ...]] = ("decay",)

    def __call__(self, t: Array, epochs: int) -> Array:
        """Return the factor after ``t`` of ``epochs`` epochs; t may be fractions."""
        return self.decay ** _by(self.by, t)


@dataclass(frozen=True)
class Step(_Schedule):
    """Times ``factor`` after every so many epochs.

    Parameters
    ----------
    every : int
        Epochs.
    factor : float
        Greater than 0 and at most 1.
    """

    every: int = 3
    factor: float = 0.5

    up_to_one: ClassVar[tuple[str, ...]] = ("factor",)

    def __call__(self, t: Array, epochs: int) -> Array:
        """Return the factor after ``t`` of ``epochs`` epochs; t may be fractions."""
        return self.factor ** np.floor(t / self.every)


@dataclass(frozen=True)
class InverseScaling(_Schedule):
    """``1 / (1 + t)^power`` after t epochs.

    Parameters
    ----------
    power : float
    by : str
        "step", or "epoch" to change it at the start of epochs only.
    """

    power: float = 0.5
    by: Literal["step", "epoch"] = "step"

    above_zero: ClassVar[tuple[str, ...]] = ("power",)

    def __call__(self, t: Array, epochs: int) -> Array:
        """Return the factor after ``t`` of ``epochs`` epochs; t may be fractions."""
        return (1 + _by(self.by, t)) ** -self.power


@dataclass(frozen=True)
class Cosine(_Schedule):
    """Half a cosine from 1 to ``end``, after a linear warm-up (Loshchilov and Hutter, 2017).

    Parameters
    ----------
    warmup : float
        Epochs, or a part of one, in which the factor rises linearly from 0 to 1.
    end : float
    by : str
        "step", or "epoch" to change it at the start of epochs only.
    """

    warmup: float = 0.0
    end: float = 0.0
    by: Literal["step", "epoch"] = "step"

    def check_run(self, epochs: int) -> None:
        """Refuse a warm-up that is longer than the run."""
        if self.warmup >= epochs:
            raise ValueError(
                f"Cosine's warmup must be shorter than the run of {epochs} epochs; "
                f"got {self.warmup:g} epochs"
            )

    def __call__(self, t: Array, epochs: int) -> Array:
        """Return the factor after ``t`` of ``epochs`` epochs; t may be fractions."""
        t = _by(self.by, t)
        done = np.clip((t - self.warmup) / (epochs - self.warmup), 0, 1)
        fall = self.end + (1 - self.end) * (1 + np.cos(math.pi * done)) / 2
        return np.where(t < self.warmup, t / (self.warmup or 1), fall)


@dataclass(frozen=True)
class OneCycle(_Schedule):
    """Up from ``start`` to 1 and down to ``end``, each along half a cosine (Smith and Topin, 2018).

    Parameters
    ----------
    peak : float
        The part of the run after which the factor is 1, greater than 0 and at most 1.
    start, end : float
    """

    peak: float = 0.3
    start: float = 0.04
    end: float = 4e-6

    up_to_one: ClassVar[tuple[str, ...]] = ("peak",)

    def __call__(self, t: Array, epochs: int) -> Array:
        """Return the factor after ``t`` of ``epochs`` epochs; t may be fractions."""
        done = t / epochs
        up = np.clip(done / self.peak, 0, 1)
        down = np.clip((done - self.peak) / ((1 - self.peak) or 1), 0, 1)
        rise = self.start + (1 - self.start) * (1 - np.cos(math.pi * up)) / 2
        fall = self.end + (1 - self.end) * (1 + np.cos(math.pi * down)) / 2
        return np.where(done < self.peak, rise, fall)


@dataclass(frozen=True)
class ReduceOnPlateau(_Schedule):
    """Times ``factor`` whenever the loss has not fallen for some epochs.

    The loss is that of the validation data, or without any that of training.

    Parameters
    ----------
    factor : float
        Greater than 0 and at most 1.
    patience : int
        Epochs to wait for a loss that is lower than the lowest so far by more than ``min_change``;
        then the factor is applied, and the waiting begins again.
    min_change : float
    """

    factor: float = 0.3
    patience: int = 2
    min_change: float = 1e-4

    up_to_one: ClassVar[tuple[str, ...]] = ("factor",)

    def __call__(self, t: Array, epochs: int) -> Array:
        """Return the factor as far as it depends on ``t``: not at all."""
        return np.ones(len(t))

    def reductions(self, losses: Iterable[float]) -> int:
        """Return how often the losses of the epochs so far have been on a plateau."""
        count, waited, lowest = 0, 0, math.inf
        for loss in losses:
            waited += 1
            if loss < lowest - self.min_change:
                lowest, waited = loss, 0
            elif waited >= self.patience:
                count, waited = count + 1, 0
        return count


Schedule = (
    Constant | Linear | Exponential | Step | InverseScaling | Cosine | OneCycle | ReduceOnPlateau
)

SCHEDULES: dict[str, Schedule] = {
    "constant": Constant(),
    "linear": Linear(),
    "exponential": Exponential(),
    "step": Step(),
    "inverse_scaling": InverseScaling(),
    "cosine": Cosine(),
    "one_cycle": OneCycle(),
    "plateau": ReduceOnPlateau(),
}


def named(schedule: object, epochs: int) -> Schedule | Callable[[float], float]:
    """Return the schedule of a name, or the one that is given, if a run of that length fits."""
    if isinstance(schedule, str):
        schedule = SCHEDULES[check.one_of("schedule", schedule, SCHEDULES)]
    if isinstance(schedule, _Schedule):
        schedule.check_run(epochs)
    elif not callable(schedule):
        raise TypeError(
            f"schedule must be a name, a function or one from fastnn.schedules, got {schedule!r}"
        )
    return schedule  # type: ignore[return-value]


def factors(
    schedule: Schedule | Callable[[float], float], t: Array, epochs: int, losses: Iterable[float]
) -> Array:
    """Return the factors at the times ``t``, in epochs, given the losses of the epochs so far.

    Raises
    ------
    ValueError, TypeError
        If a function of the user's returns anything but a number of 0 or more.
    """
    if isinstance(schedule, ReduceOnPlateau):
        return np.full(len(t), schedule.factor ** schedule.reductions(losses))
    if isinstance(schedule, _Schedule):
        return schedule(t, epochs)
    name = "schedule's result"
    return np.array([check.real(name, schedule(time), least=0) for time in t.tolist()])


def _by(unit: str, t: Array) -> Array:
    return np.floor(t) if unit == "epoch" else t
