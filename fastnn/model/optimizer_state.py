"""The state of an optimizer, which it keeps from step to step."""

from __future__ import annotations

from fastnn.model.architecture import Architecture
from fastnn.model.parameters import Parameters
from fastnn.optimizers import Optimizer


class OptimizerState:
    """Vectors in the layout of the parameters, such as Adam's moments, and the number of steps.

    Attributes
    ----------
    kind : int
        The ``code`` of the optimizer.
    slots : tuple of Parameters
        The numbers of state of each parameter; all start at zero.
    steps : int
        Steps taken so far.
    """

    def __init__(self, optimizer: Optimizer, architecture: Architecture) -> None:
        self.kind = optimizer.code
        self.slots = tuple(Parameters(architecture) for _ in range(optimizer.slots))
        self.steps = 0

    def fits(self, optimizer: Optimizer) -> bool:
        """Whether an optimizer can use this state: it is of the same kind."""
        return self.kind == optimizer.code
