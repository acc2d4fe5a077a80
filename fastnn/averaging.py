"""Averages of a network's parameters in training: small frozen dataclasses, like the optimizers.

The steps go on from the parameters themselves. What is evaluated, and the network that a run
leaves, have the average.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastnn.checks import values as check

# A moving average over n steps takes one of n / MOMENTS of them: those between would change little,
# and each costs a pass over all parameters.
MOMENTS = 64


@dataclass(frozen=True)
class EMA:
    """An exponential moving average over the steps (Polyak and Juditsky, 1992).

    ``a = decay * a + (1 - decay) * w`` after each step, divided by ``1 - decay^t`` as Adam's means
    are, so that it does not lean towards the first parameters. It is over about ``n = 1 / (1 -
    decay)`` steps. Of more than 64 it takes each of ``n / 64`` steps, with that power of the decay;
    a run of fewer steps than ``n / 64`` keeps the parameters as they are.

    Parameters
    ----------
    decay : float
        Share of the average that a step keeps; greater than 0 and less than 1.

    Raises
    ------
    TypeError, ValueError
        If it is not a number within its limits.
    """

    decay: float = 0.999

    def __post_init__(self) -> None:
        check.real("EMA's decay", self.decay, above=0, below=1)

    @property
    def every(self) -> int:
        """How many steps it is from one that is taken to the next."""
        return max(1, int(1 / (1 - self.decay) / MOMENTS))

    def share(self, step: int) -> float:
        """Return the share ``s`` of a step of the run, from 1, in ``a += s * (w - a)``."""
        every = self.every
        if step % every:
            return 0.0
        kept = self.decay**every
        return (1 - kept) / (1 - kept ** (step // every))


@dataclass(frozen=True)
class SWA:
    """The plain average of the parameters after each of the last epochs (Izmailov et al., 2018).

    Until they begin, the parameters are used as they are; so are those of a run that ends before,
    by early stopping or ``max_seconds``. A constant learning rate, or one that stays high, makes
    these parameters different enough for an average to pay.

    Parameters
    ----------
    epochs : int
        How many of the last epochs; at least 1.

    Raises
    ------
    TypeError, ValueError
        If it is not such a number.
    """

    epochs: int = 5

    def __post_init__(self) -> None:
        check.integer("SWA's epochs", self.epochs, 1)


Average = EMA | SWA


def chosen(average: Any, epochs: int) -> Average | None:
    """Return the average that a run of so many epochs keeps, from an argument of `Network.train`.

    Raises
    ------
    TypeError, ValueError
        If it is neither a number within the limits of a decay nor an average, or of more epochs.
    """
    if average is None:
        return None
    if isinstance(average, SWA) and average.epochs > epochs:
        raise ValueError(
            f"average is over the last {average.epochs} epochs, and the run has {epochs}; need at "
            "most as many"
        )
    if isinstance(average, Average):
        return average
    if isinstance(average, str | bool | type):
        raise TypeError(
            "average must be a number such as 0.999, fastnn.averaging.EMA(0.999) or "
            f"fastnn.averaging.SWA(5); got {average!r}"
        )
    return EMA(check.real("average", average, above=0, below=1))
