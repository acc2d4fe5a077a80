"""Learning-rate schedules: the factor on the learning rate at each step of a run."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastnn.activations import Array


def constant(step: Array, steps: int) -> Array:
    """Return 1 at every step."""
    return np.ones(len(step))


def linear(step: Array, steps: int) -> Array:
    """Return a factor that falls linearly from 1 at the first step to 0 after the last one."""
    return 1 - step / steps


SCHEDULES: dict[str, Callable[[Array, int], Array]] = {"linear": linear, "constant": constant}
