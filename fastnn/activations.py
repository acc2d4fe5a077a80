"""Activations: names, codes and formulas, for both backends.

``function(z)`` and ``derivative(z)`` take the weighted inputs of a layer. Sources: ELU, Clevert et
al. (2015); SELU, Klambauer et al. (2017); GELU, Hendrycks and Gimpel (2016), exact; SiLU, also
called swish, Elfwing et al. (2017) and Ramachandran et al. (2017); softplus, Dugas et al. (2000);
mish, Misra (2019).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# The codes of the compiled kernels.
(
    IDENTITY, SIGMOID, TANH, RELU, SOFTMAX, LEAKY_RELU, ELU, SELU, GELU, SILU, SOFTPLUS,
    EXPONENTIAL, MISH,
) = range(13)  # fmt: skip

LEAK = 0.01  # the slope of leaky ReLU below zero, as Maas et al. (2013)
# With these, activations keep mean 0 and variance 1 from layer to layer.
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805


class Activation(NamedTuple):
    """One activation: its code in the compiled kernels, its function and its derivative."""

    code: int
    function: Callable[[Array], Array]
    derivative: Callable[[Array], Array] | None


def identity(z: Array) -> Array:
    """Return ``z``."""
    return z


def sigmoid(z: Array) -> Array:
    """Return ``1 / (1 + exp(-z))`` without overflow of ``exp``."""
    e = np.exp(-np.abs(z))
    return np.where(z < 0, e, 1) / (1 + e)


def relu(z: Array) -> Array:
    """Return ``max(z, 0)``; NaN stays NaN."""
    return np.maximum(z, 0)


def leaky_relu(z: Array) -> Array:
    """Return ``z`` where it is positive, else ``LEAK * z``."""
    return np.where(z > 0, z, LEAK * z)


def elu(z: Array) -> Array:
    """Return ``z`` where it is positive, else ``exp(z) - 1``."""
    return np.where(z > 0, z, np.expm1(np.minimum(z, 0)))


def selu(z: Array) -> Array:
    """Return ``SELU_SCALE`` times ``z`` where it is positive, else ``SELU_ALPHA (exp(z) - 1)``."""
    return SELU_SCALE * np.where(z > 0, z, SELU_ALPHA * np.expm1(np.minimum(z, 0)))


def normal_cdf(z: Array) -> Array:
    """Return the distribution function of the standard normal, ``(1 + erf(z / sqrt(2))) / 2``."""
    return (0.5 * _erfc(-z / math.sqrt(2))).astype(z.dtype)


def gelu(z: Array) -> Array:
    """Return ``z`` times `normal_cdf`."""
    return z * normal_cdf(z)


def silu(z: Array) -> Array:
    """Return ``z * sigmoid(z)``."""
    return z * sigmoid(z)


def softplus(z: Array) -> Array:
    """Return ``log(1 + exp(z))`` without overflow of ``exp``."""
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))


def mish(z: Array) -> Array:
    """Return ``z * tanh(softplus(z))``."""
    return z * np.tanh(softplus(z))


def softmax(z: Array) -> Array:
    """Return ``exp(z_j) / sum_k exp(z_k)`` along the last axis, shifted by the maximum."""
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def _erfc(z: Array) -> Array:
    return np.vectorize(math.erfc, otypes=[np.float64])(z)


def _sigmoid_slope(z: Array) -> Array:
    return sigmoid(z) * sigmoid(-z)


def _elu_slope(z: Array) -> Array:
    return np.where(z > 0, 1, np.exp(np.minimum(z, 0)))


def _selu_slope(z: Array) -> Array:
    return SELU_SCALE * np.where(z > 0, 1, SELU_ALPHA * np.exp(np.minimum(z, 0)))


def _gelu_slope(z: Array) -> Array:
    density = np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    return normal_cdf(z) + z * density


def _silu_slope(z: Array) -> Array:
    return sigmoid(z) * (1 + z * sigmoid(-z))


def _mish_slope(z: Array) -> Array:
    portion = np.tanh(softplus(z))
    return portion + z * (1 - portion * portion) * sigmoid(z)


ACTIVATIONS: dict[str, Activation] = {
    "identity": Activation(IDENTITY, identity, np.ones_like),
    "sigmoid": Activation(SIGMOID, sigmoid, _sigmoid_slope),
    "tanh": Activation(TANH, np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "relu": Activation(RELU, relu, lambda z: (z > 0).astype(z.dtype)),
    "leaky_relu": Activation(LEAKY_RELU, leaky_relu, lambda z: np.where(z > 0, 1, LEAK)),
    "elu": Activation(ELU, elu, _elu_slope),
    "selu": Activation(SELU, selu, _selu_slope),
    "gelu": Activation(GELU, gelu, _gelu_slope),
    "silu": Activation(SILU, silu, _silu_slope),
    "swish": Activation(SILU, silu, _silu_slope),
    "softplus": Activation(SOFTPLUS, softplus, sigmoid),
    "mish": Activation(MISH, mish, _mish_slope),
    # These two are for outputs only. The derivative of softmax is a matrix, see losses.py.
    "softmax": Activation(SOFTMAX, softmax, None),
    "exponential": Activation(EXPONENTIAL, np.exp, np.exp),
}

OUTPUT = ("softmax", "sigmoid", "identity", "exponential")
HIDDEN = tuple(name for name in ACTIVATIONS if name not in ("softmax", "exponential"))
