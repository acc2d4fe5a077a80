"""Rules of a run: what is minimised, and how a step is taken; numbers that were validated."""

from __future__ import annotations

from dataclasses import dataclass, field

from fastnn.optimizers import SGD, Optimizer
from fastnn.parameters import Architecture, Parameters


@dataclass(frozen=True)
class Objective:
    """What is minimised: the mean loss, with ``l2 / 2 sum w^2 + l1 sum |w|`` of the weights."""

    l2: float = 0.0
    l1: float = 0.0
    label_smoothing: float = 0.0
    dropout: tuple[float, ...] = ()  # rates, of the inputs of each layer, or none

    @property
    def drops(self) -> bool:
        """Tell whether any unit is ever left out."""
        return any(self.dropout)


@dataclass(frozen=True)
class Rule:
    """How a step is taken: the gradient clipped, the parameters moved, the weights limited."""

    objective: Objective = field(default_factory=Objective)
    optimizer: Optimizer = field(default_factory=SGD)
    clip_norm: float | None = None
    clip_value: float | None = None
    max_norm: float | None = None
    frozen: frozenset[int] = frozenset()  # layers that do not change, the first being 0


class State:
    """What an optimizer remembers: ``slots``, each in the layout of the parameters, and steps."""

    def __init__(self, optimizer: Optimizer, architecture: Architecture) -> None:
        self.kind = optimizer.code
        self.slots = tuple(Parameters(architecture) for _ in range(optimizer.slots))
        self.steps = 0

    def fits(self, optimizer: Optimizer) -> bool:
        """Tell whether an optimizer, perhaps with other numbers, may go on from here."""
        return self.kind == optimizer.code
