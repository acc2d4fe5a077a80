"""The numbers that change from step to step: learning rates, and corrections by the optimizer."""

from __future__ import annotations

import numpy as np

from fastnn.activations import Array
from fastnn.backends.compiled.functions import is_plain
from fastnn.backends.compiled.kernels import layout
from fastnn.backends.contract import UpdateRule
from fastnn.optimizers import SGD, Adam, AdamW, Optimizer


def step_numbers(
    rates: Array, batch_size: int, rows: int, rule: UpdateRule, before: int, dtype: np.dtype
) -> Array:
    """Return the first of `layout.STEP_NUMBERS`, or all, for each step: (steps, numbers).

    The steps go through so many rows; ``before`` is the number of those taken before.
    """
    last = rows - batch_size * (len(rates) - 1)
    if is_plain(rule):
        return _plain(rates, batch_size, last, rule.objective.l2, dtype)
    return _all(rates, batch_size, last, rule.optimizer, before).astype(dtype, copy=False)


def _plain(rates: Array, size: int, last: int, l2: float, dtype: np.dtype) -> Array:
    """Return alpha and beta of plain gradient descent, with so many rows in the last batch."""
    numbers = np.empty((len(rates), 2), dtype)
    numbers[:, 0] = rates / -size
    numbers[-1, 0] = rates[-1] / -last
    numbers[:, 1] = 1 - rates * l2 if l2 else 1
    return numbers


def _all(rates: Array, size: int, last: int, optimizer: Optimizer, before: int) -> Array:
    numbers = np.empty((len(rates), len(layout.STEP_NUMBERS)))
    numbers[:] = 1 / size, 0, 0, 0, 1, 1  # alpha, beta, rate, look_ahead, correction, decay
    numbers[-1, 0] = 1 / last
    numbers[:, 2] = rates
    if isinstance(optimizer, SGD) and optimizer.nesterov:
        numbers[:, 3] = rates
    if isinstance(optimizer, Adam):
        t = np.arange(before + 1, before + 1 + len(rates), dtype=np.int64)
        numbers[:, 2] /= 1 - optimizer.beta1**t
        numbers[:, 4] /= np.sqrt(1 - optimizer.beta2**t)
    if isinstance(optimizer, AdamW):
        numbers[:, 5] -= rates * optimizer.weight_decay
    return numbers
