"""Which activation a few operations on single numbers are: known by what they give.

Libraries write the same activation in many ways, in one operation or in a dozen. The operations are
done with numbers of all sizes, and the results compared with the formulas of fastnn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from fastnn.activations import ACTIVATIONS, Array, gelu, mish, relu, sigmoid

# Around 0, where activations bend, and far away, where some are cut off.
_FAR = np.logspace(-6, 6, 61)
GRID = np.sort(np.concatenate([-_FAR, np.linspace(-12, 12, 193), _FAR]))
# Constants in float32 are off by 6e-8, and so is what is the difference of two numbers.
RELATIVE, ABSOLUTE = 1e-6, 1e-9


class Elementwise(NamedTuple):
    """An operation of ONNX on single numbers, with its attributes and their defaults."""

    function: Callable[..., Array]
    attributes: Mapping[str, Any] = MappingProxyType({})


def _erf(x: Array) -> Array:
    return np.vectorize(math.erf, otypes=[np.float64])(x)


def _elu(x: Array, alpha: float, gamma: float = 1.0) -> Array:
    return gamma * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def _gelu(x: Array, approximate: str) -> Array:
    if approximate != "none":
        raise ValueError(f"Gelu with approximate={approximate!r} is unknown; need 'none'")
    return gelu(x)


def _sum(*parts: Array) -> Array:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


OPERATIONS = {
    "Abs": Elementwise(np.abs),
    "Add": Elementwise(np.add),
    "Div": Elementwise(np.divide),
    "Elu": Elementwise(_elu, {"alpha": 1.0}),
    "Erf": Elementwise(_erf),
    "Exp": Elementwise(np.exp),
    "Gelu": Elementwise(_gelu, {"approximate": "none"}),
    "Greater": Elementwise(np.greater),
    "LeakyRelu": Elementwise(lambda x, alpha: np.where(x > 0, x, alpha * x), {"alpha": 0.01}),
    "Log": Elementwise(np.log),
    "Max": Elementwise(np.maximum),
    "Min": Elementwise(np.minimum),
    "Mish": Elementwise(mish),
    "Mul": Elementwise(np.multiply),
    "Neg": Elementwise(np.negative),
    "Relu": Elementwise(relu),
    "Selu": Elementwise(_elu, {"alpha": 1.6732631921768188, "gamma": 1.0507010221481323}),
    "Sigmoid": Elementwise(sigmoid),
    "Softplus": Elementwise(lambda x: np.logaddexp(0, x)),
    "Sub": Elementwise(np.subtract),
    "Sum": Elementwise(_sum),
    "Tanh": Elementwise(np.tanh),
    "Where": Elementwise(np.where),
}
INPUTS = {
    **dict.fromkeys(OPERATIONS, (1, 1)),
    **dict.fromkeys(("Add", "Div", "Greater", "Max", "Min", "Mul", "Sub"), (2, 2)),
    "Sum": (1, 100),
    "Where": (3, 3),
}


def applied(kind: str, values: list[Any], attributes: dict[str, Any]) -> Array:
    """Return what an operation gives for the numbers of the grid, or made of them."""
    with np.errstate(all="ignore"):
        return np.asarray(OPERATIONS[kind].function(*values, **attributes), np.float64)


def activation_of(samples: Array) -> str | None:
    """Return the name of the activation that gives this for the grid, or None."""
    return next((name for name, known in KNOWN.items() if _same(samples, known)), None)


def are_opposite(first: Array, second: Array) -> bool:
    """Return whether the first is 1 minus the second."""
    return _same(first, 1 - second)


def _same(x: Array, y: Array) -> bool:
    return np.allclose(x, y, RELATIVE, ABSOLUTE, equal_nan=True)


with np.errstate(all="ignore"):
    KNOWN = {
        name: activation.function(GRID)
        for name, activation in ACTIVATIONS.items()
        if name not in ("softmax", "swish")
    }
