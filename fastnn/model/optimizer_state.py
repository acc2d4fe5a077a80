"""What an optimizer remembers from step to step."""

from __future__ import annotations

from fastnn.model.architecture import Architecture
from fastnn.model.parameters import Parameters
from fastnn.optimizers import Optimizer


class OptimizerState:
    """Vectors in the layout of the parameters, such as Adam's two moments, and a count of steps.

    Attributes
    ----------
    kind : int
        The code of the optimizer that it belongs to.
    slots : tuple of Parameters
        What is remembered of each parameter; all start at zero.
    steps : int
        Steps taken so far.
    """

    def __init__(self, optimizer: Optimizer, architecture: Architecture) -> None:
        self.kind = optimizer.code
        self.slots = tuple(Parameters(architecture) for _ in range(optimizer.slots))
        self.steps = 0

    def fits(self, optimizer: Optimizer) -> bool:
        """Tell whether an optimizer, perhaps with other numbers, can continue from here."""
        return self.kind == optimizer.code
