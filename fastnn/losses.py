"""Losses: names, codes and formulas of each pair of output and loss, for both backends.

For one row, with ``z`` the weighted inputs of the last layer, ``a`` its outputs, ``t`` the targets
and ``m`` the number of outputs:

- ``cross_entropy``, with softmax: ``-sum_j t_j log a_j``, in nats, where ``sum_j t_j = 1``;
- ``binary_cross_entropy``, with sigmoid: ``-sum_j (t_j log a_j + (1 - t_j) log(1 - a_j))``;
- ``poisson``, for counts: ``sum_j (r_j - t_j log r_j)`` with the rates ``r_j = exp(z_j)``. The
  output "exponential" returns the rates, "identity" their logarithms;
- ``mse``: ``1/m sum_j e_j^2`` with the errors ``e = a - t``;
- ``mae``: ``1/m sum_j |e_j|``, with the slope 0 at 0;
- ``huber``: ``1/m sum_j h(e_j)``, ``h(e) = e^2 / 2`` where ``|e| <= 1``, else ``|e| - 1/2`` (Huber,
  1964).

A loss may also be a function. ``loss(a, t)`` gets outputs and targets (rows, m), with labels as
one-hot rows. It returns the loss of each row (rows,), and its gradient with respect to the outputs
(rows, m).

The loss of a batch is the mean over its rows, each times its weight, if there are any. ``delta`` is
the gradient of a row's loss with respect to ``z``. The first three losses are computed from ``z``,
so that they stay finite where ``a`` rounds to 0 or 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fastnn.activations import Array

CROSS_ENTROPY, BINARY_CROSS_ENTROPY, POISSON, MSE, MAE, HUBER = range(6)
GIVEN = 6  # the code of a function: the kernels get its gradient as targets
LOSSES = {
    "cross_entropy": CROSS_ENTROPY,
    "binary_cross_entropy": BINARY_CROSS_ENTROPY,
    "poisson": POISSON,
    "mse": MSE,
    "mae": MAE,
    "huber": HUBER,
}
# The default loss of each output: that of the distribution whose mean the output is.
NATURAL = {
    "softmax": "cross_entropy",
    "sigmoid": "binary_cross_entropy",
    "identity": "mse",
    "exponential": "poisson",
}

# The default output of a loss that is for one kind of target: of numbers, counts, or labels. The
# others leave it to the number of outputs.
DEFAULT_OUTPUT = {
    "mae": "identity",
    "huber": "identity",
    "poisson": "exponential",
    "binary_cross_entropy": "sigmoid",
}

Custom = Callable[[Array, Array], tuple[Array, Array]]


class Pair(NamedTuple):
    """An output activation with a loss: ``value(z, a, t)`` (rows,), ``delta(a, t)`` (rows, m)."""

    value: Callable[[Array, Array, Array], Array]
    delta: Callable[[Array, Array], Array]


def cross_entropy(z: Array, a: Array, t: Array) -> Array:
    """Return ``sum_j t_j (log sum_k exp(z_k) - z_j)`` of each row."""
    peak = z.max(axis=1, keepdims=True)
    log_sum = peak + np.log(np.exp(z - peak).sum(axis=1, keepdims=True))
    return (t * (log_sum - z)).sum(axis=1)


def binary_cross_entropy(z: Array, a: Array, t: Array) -> Array:
    """Return ``sum_j max(z_j, 0) - t_j z_j + log(1 + exp(-|z_j|))`` of each row."""
    return (np.maximum(z, 0) - t * z + np.log1p(np.exp(-np.abs(z)))).sum(axis=1)


def poisson(z: Array, a: Array, t: Array) -> Array:
    """Return ``sum_j exp(z_j) - t_j z_j`` of each row."""
    return (np.exp(z) - t * z).sum(axis=1)


def squared_error(z: Array, a: Array, t: Array) -> Array:
    """Return ``1/m sum_j (a_j - t_j)^2`` of each row."""
    return ((a - t) ** 2).mean(axis=1)


def absolute_error(z: Array, a: Array, t: Array) -> Array:
    """Return ``1/m sum_j |a_j - t_j|`` of each row."""
    return np.abs(a - t).mean(axis=1)


def huber(z: Array, a: Array, t: Array) -> Array:
    """Return ``1/m sum_j h(a_j - t_j)`` of each row."""
    e = np.abs(a - t)
    return np.where(e <= 1, e * e / 2, e - 0.5).mean(axis=1)


# The losses of errors, with their gradient with respect to the outputs.
ERRORS: dict[str, tuple[Callable[[Array, Array, Array], Array], Callable[[Array], Array]]] = {
    "mse": (squared_error, lambda e: 2 * e),
    "mae": (absolute_error, np.sign),
    "huber": (huber, lambda e: np.clip(e, -1, 1)),
}
# Functions from the gradient with respect to the outputs to the gradient with respect to ``z``.
BACK: dict[str, Callable[[Array, Array], Array]] = {
    "softmax": lambda a, slope: a * (slope - (slope * a).sum(axis=1, keepdims=True)),
    "sigmoid": lambda a, slope: slope * a * (1 - a),
    "identity": lambda a, slope: slope,
    "exponential": lambda a, slope: slope * a,
}


def _pair(output: str, loss: str) -> Pair:
    value, slope = ERRORS[loss]
    return Pair(value, lambda a, t: BACK[output](a, slope(a - t) / a.shape[1]))


PAIRS: dict[tuple[str, str], Pair] = {
    ("softmax", "cross_entropy"): Pair(cross_entropy, lambda a, t: a - t),
    ("sigmoid", "binary_cross_entropy"): Pair(binary_cross_entropy, lambda a, t: a - t),
    ("exponential", "poisson"): Pair(poisson, lambda a, t: a - t),
    ("identity", "poisson"): Pair(poisson, lambda a, t: np.exp(a) - t),
    **{(output, loss): _pair(output, loss) for output in BACK for loss in ERRORS},
}


def pair(output: str, loss: str | Custom) -> Pair:
    """Return the formulas of an output with a loss, which is a name or the user's function."""
    if isinstance(loss, str):
        return PAIRS[output, loss]
    return Pair(
        lambda z, a, t: evaluated(loss, a, t)[0],
        lambda a, t: BACK[output](a, evaluated(loss, a, t)[1]),
    )


def evaluated(loss: Custom, a: Array, t: Array) -> tuple[Array, Array]:
    """Return the losses and the gradient of a user's function.

    Raises
    ------
    ValueError
        If their shapes are wrong.
    """
    values, gradient = (np.asarray(array, a.dtype) for array in loss(a, t))
    if values.shape != a.shape[:1] or gradient.shape != a.shape:
        raise ValueError(
            f"loss must return the losses of {a.shape[:1]} rows and a gradient of shape {a.shape}; "
            f"got shapes {values.shape} and {gradient.shape}"
        )
    return values, gradient


def matrix(targets: Array, outputs: int, dtype: np.dtype) -> Array:
    """Return targets (n, outputs); labels become one-hot rows."""
    if targets.ndim == 2:
        return targets.astype(dtype)
    return (targets[:, None] == np.arange(outputs)).astype(dtype)


def smoothed(t: Array, label_smoothing: float, output: str) -> Array:
    """Return targets moved towards the uniform distribution (Szegedy et al., 2016)."""
    classes = t.shape[1] if output == "softmax" else 2
    return (1 - label_smoothing) * t + label_smoothing / classes
