"""The state of an optimizer, which it keeps from step to step."""

from __future__ import annotations

import numpy as np

from fastnn.activations import Array
from fastnn.model.architecture import Architecture
from fastnn.model.parameters import Parameters
from fastnn.optimizers import Optimizer


class Averaged:
    """An average of the parameters in a run.

    Attributes
    ----------
    parameters : Parameters
    steps : int
        Steps of the run.
    moments : int
        How many moments it is the average of; with none it is not used.
    """

    def __init__(self, start: Parameters) -> None:
        self.parameters = Parameters(start.architecture)
        self.parameters.vector[:] = start.vector
        self.steps = self.moments = 0


class OptimizerState:
    """What an optimizer remembers, such as Adam's moments, and the number of steps.

    Attributes
    ----------
    kind : int
        The ``code`` of the optimizer.
    slots : tuple of Parameters
        The numbers of state of each parameter; all start at zero.
    inputs : ndarray of shape (1 + len(slots), features) or None
        The factors of the inputs, which start at 1, and their numbers of state; None if the
        optimizer learns none.
    steps : int
        Steps taken so far.
    average : Averaged or None
        That of a run which keeps one; None when it is over.
    """

    def __init__(self, optimizer: Optimizer, architecture: Architecture) -> None:
        self.kind = optimizer.code
        self.slots = tuple(Parameters(architecture) for _ in range(optimizer.slots))
        self.inputs: Array | None = None
        if optimizer.input_factor is not None:
            self.inputs = np.zeros((1 + optimizer.slots, architecture.sizes[0]), architecture.dtype)
            self.inputs[0] = 1
        self.steps = 0
        self.average: Averaged | None = None

    def fits(self, optimizer: Optimizer) -> bool:
        """Whether an optimizer can use this state: it is of the same kind."""
        learning = optimizer.input_factor is not None
        return self.kind == optimizer.code and (self.inputs is not None) == learning

    @property
    def vectors(self) -> list[Array]:
        """All of its numbers but that of the steps."""
        found = [slot.vector for slot in self.slots]
        if self.inputs is not None:
            found.append(self.inputs.reshape(-1))
        if self.average is not None:
            found.append(self.average.parameters.vector)
        return found
