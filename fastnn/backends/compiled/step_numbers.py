"""The numbers that change from step to step: learning rates, and corrections by the optimizer."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from fastnn.activations import Array
from fastnn.backends.compiled.kernels import layout
from fastnn.backends.compiled.plan import Plan
from fastnn.model.optimizer_state import OptimizerState
from fastnn.optimizers import ADAM, RMSPROP, SGD, Adam, AdamW, Optimizer, RMSprop


def step_numbers(
    made: Plan, rates: Array, batch_size: int, rows: int, state: OptimizerState
) -> Array:
    """Return the first of `layout.STEP_NUMBERS`, or all, for each step: (steps, numbers).

    The steps go through so many rows. With an average, its share of each step comes last.
    """
    rule, dtype = made.task.rule, made.work.dtype
    assert rule is not None
    last = rows - batch_size * (len(rates) - 1)
    if made.plain:
        numbers = _plain(rates, batch_size, last, rule.objective.l2, dtype)
    else:
        numbers = _all(rates, batch_size, last, rule.optimizer, state.steps)
    if rule.average is not None and state.average is not None:
        steps = range(state.average.steps + 1, state.average.steps + 1 + len(rates))
        numbers = np.column_stack([numbers, [rule.average.share(step) for step in steps]])
    return numbers.astype(dtype, copy=False)


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


def numbers_of_a_step(
    optimizer: Optimizer,
) -> Callable[[float, int], tuple[float, float, float, float]]:
    """Return a function from a rate and the number of a step to its last `STEP_NUMBERS`."""
    if isinstance(optimizer, SGD):
        ahead = 1.0 if optimizer.nesterov else 0.0
        return lambda rate, t: (rate, ahead * rate, 1.0, 1.0)
    if isinstance(optimizer, RMSprop):
        return lambda rate, t: (rate, 0.0, 1.0, 1.0)
    beta1, beta2 = optimizer.beta1, optimizer.beta2
    decay = optimizer.weight_decay if isinstance(optimizer, AdamW) else 0.0
    return lambda rate, t: (
        rate / (1 - beta1**t), 0.0, 1 / math.sqrt(1 - beta2**t), 1 - rate * decay
    )  # fmt: skip


def largest_factor(optimizer: Optimizer) -> float:
    """Return the largest factor that a part of the network has on the learning rate."""
    return float(np.max(np.hstack([optimizer.weight_factors, optimizer.bias_factors])))


def safe_norm(optimizer: Optimizer, rate: float, dtype: np.dtype) -> float:
    """Return a norm of gradients; if none so far reached it, a step leaves everything finite.

    Squares stay far below the largest number, and a step far below the distance of that to its
    neighbour. Divisions by small means of squares, or by 1 less a memory, are allowed for.
    """
    largest, epsilon = float(np.finfo(dtype).max), float(np.finfo(dtype).eps)
    if isinstance(optimizer, AdamW) and rate * optimizer.weight_decay > 1:
        return float(np.finfo(dtype).tiny)  # weights may grow
    factor = max(rate * largest_factor(optimizer), 1.0)
    if isinstance(optimizer, SGD):
        factor /= 1 - optimizer.momentum
    elif isinstance(optimizer, RMSprop):
        factor /= optimizer.epsilon
    else:
        factor /= (1 - optimizer.beta1) * optimizer.epsilon
    step = largest * epsilon / 1e3 / factor if factor < largest else 0.0
    return max(min(step, largest**0.5 / 1e3), float(np.finfo(dtype).tiny))


def largest_norm(state: OptimizerState) -> float:
    """Return a norm of gradients that explains what an optimizer remembers."""
    largest = [max(float(slot.vector.max()), -float(slot.vector.min())) for slot in state.slots]
    if state.kind == RMSPROP or state.kind == ADAM:
        largest[-1] **= 0.5
    return max(largest, default=0.0)
