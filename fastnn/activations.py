"""Activations: names, codes and formulas, in one table that both backends use.

A derivative is written in terms of the activation's *output* ``a``, so that backpropagation needs
no second copy of the weighted inputs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

IDENTITY, SIGMOID, TANH, RELU, SOFTMAX = range(5)


class Activation(NamedTuple):
    """One activation: its code in the compiled kernels, its function and its derivative."""

    code: int
    function: Callable[[Array], Array]
    derivative: Callable[[Array], Array] | None


def identity(z: Array) -> Array:
    """Return ``z``."""
    return z


def sigmoid(z: Array) -> Array:
    """Return ``1 / (1 + exp(-z))``, written so that ``exp`` never overflows."""
    e = np.exp(-np.abs(z))
    return np.where(z < 0, e, 1) / (1 + e)


def relu(z: Array) -> Array:
    """Return ``max(z, 0)``; NaN stays NaN."""
    return np.maximum(z, 0)


def softmax(z: Array) -> Array:
    """Return ``exp(z_j) / sum_k exp(z_k)`` along the last axis, shifted by the maximum."""
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


ACTIVATIONS: dict[str, Activation] = {
    "identity": Activation(IDENTITY, identity, lambda a: np.ones_like(a)),
    "sigmoid": Activation(SIGMOID, sigmoid, lambda a: a * (1 - a)),
    "tanh": Activation(TANH, np.tanh, lambda a: 1 - a * a),
    "relu": Activation(RELU, relu, lambda a: (a > 0).astype(a.dtype)),
    # Softmax mixes the outputs of a layer: its derivative is a matrix, see losses.py.
    "softmax": Activation(SOFTMAX, softmax, None),
}

HIDDEN = ("identity", "sigmoid", "tanh", "relu")
OUTPUT = ("softmax", "sigmoid", "identity")
