"""Losses: names, codes and formulas, in one table of output and loss pairs that both backends use.

For one row, with ``z`` the weighted inputs of the last layer, ``a`` its outputs, ``t`` the targets
and ``m`` the number of outputs:

- ``cross_entropy`` with ``softmax``: ``-sum_j t_j log a_j``, in nats, where ``sum_j t_j = 1``;
- ``cross_entropy`` with ``sigmoid``: ``-sum_j (t_j log a_j + (1 - t_j) log(1 - a_j))``;
- ``mse``: ``1/m sum_j (a_j - t_j)^2``.

The loss of a batch is the mean over its rows. ``delta`` is the gradient of a row's loss with
respect to ``z``. Cross-entropy is computed from ``z``, so that it stays finite where ``a`` rounds
to 0 or 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fastnn.activations import Array

CROSS_ENTROPY, MSE = range(2)
LOSSES = {"cross_entropy": CROSS_ENTROPY, "mse": MSE}


class Pair(NamedTuple):
    """An output activation with a loss: ``value(z, a, t)`` (rows,), ``delta(a, t)`` (rows, m)."""

    value: Callable[[Array, Array, Array], Array]
    delta: Callable[[Array, Array], Array]


def softmax_cross_entropy(z: Array, a: Array, t: Array) -> Array:
    """Return ``sum_j t_j (log sum_k exp(z_k) - z_j)`` of each row."""
    peak = z.max(axis=1, keepdims=True)
    log_sum = peak + np.log(np.exp(z - peak).sum(axis=1, keepdims=True))
    return (t * (log_sum - z)).sum(axis=1)


def sigmoid_cross_entropy(z: Array, a: Array, t: Array) -> Array:
    """Return ``sum_j max(z_j, 0) - t_j z_j + log(1 + exp(-|z_j|))`` of each row."""
    return (np.maximum(z, 0) - t * z + np.log1p(np.exp(-np.abs(z)))).sum(axis=1)


def squared_error(z: Array, a: Array, t: Array) -> Array:
    """Return ``1/m sum_j (a_j - t_j)^2`` of each row."""
    return ((a - t) ** 2).mean(axis=1)


def _slope(a: Array, t: Array) -> Array:
    """Return the gradient of the squared error with respect to ``a``."""
    return 2 / a.shape[1] * (a - t)


def _softmax_mse_delta(a: Array, t: Array) -> Array:
    slope = _slope(a, t)
    return a * (slope - (slope * a).sum(axis=1, keepdims=True))


PAIRS: dict[tuple[str, str], Pair] = {
    ("softmax", "cross_entropy"): Pair(softmax_cross_entropy, lambda a, t: a - t),
    ("sigmoid", "cross_entropy"): Pair(sigmoid_cross_entropy, lambda a, t: a - t),
    ("softmax", "mse"): Pair(squared_error, _softmax_mse_delta),
    ("sigmoid", "mse"): Pair(squared_error, lambda a, t: _slope(a, t) * a * (1 - a)),
    ("identity", "mse"): Pair(squared_error, _slope),
}
