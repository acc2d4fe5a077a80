"""What a network computes, as a list of operations on one row: what every format writes down.

The order is that of the computation: pixels become numbers from 0 to 1, inputs are standardised,
each layer is a product, before which its inputs may be rounded, and an activation, targets get
their units back, quantiles are sorted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fastnn.activations import ACTIVATIONS, Array
from fastnn.checks.data import PIXEL
from fastnn.losses import Quantile
from fastnn.model.model import Model
from fastnn.precision import to_bfloat16


class Multiply(NamedTuple):
    """``x * factor``, for pixels: numbers from 0 to 255."""

    factor: np.floating


class Standardize(NamedTuple):
    """``(x - mean) * scale``, both (inputs,)."""

    mean: Array
    scale: Array


class Round(NamedTuple):
    """``x`` rounded to bfloat16, as `fastnn.precision.to_bfloat16` does."""


class Product(NamedTuple):
    """``x weights + biases``, (fan_in, fan_out) and (fan_out,)."""

    weights: Array
    biases: Array


class Activate(NamedTuple):
    """The function of `fastnn.activations` of that name; "swish" is "silu" here."""

    name: str


class Restore(NamedTuple):
    """``x / scale + mean``, both (outputs,)."""

    mean: Array
    scale: Array


class Sort(NamedTuple):
    """The outputs in ascending order: quantiles of these levels."""

    levels: tuple[float, ...]


Operation = Multiply | Standardize | Round | Product | Activate | Restore | Sort


@dataclass(frozen=True)
class Description:
    """A network as operations, with the names that it knows.

    Attributes
    ----------
    operations : tuple of Operation
        Arrays are C-contiguous copies in ``dtype``, without padding.
    dtype : numpy.dtype
        float32 or float64, of all computations.
    inputs, outputs : int
    pixels : bool
        Whether inputs are numbers from 0 to 255; the first operation divides them.
    output : str
        The last activation. With "softmax" the class is that of the largest output, with "sigmoid",
        too, but a single output is the probability of class 1, which is predicted if it is above
        0.5. With "identity" and "exponential" outputs are numbers.
    classes : tuple of str or int, or None
        Their names, if the network has any.
    features : tuple of str, or None
        The names of the inputs, if the network has any.
    """

    operations: tuple[Operation, ...]
    dtype: np.dtype
    inputs: int
    outputs: int
    pixels: bool
    output: str
    classes: tuple[str | int, ...] | None
    features: tuple[str, ...] | None

    @property
    def labels(self) -> tuple[str | int, ...]:
        """The classes by name, or by number if they have no names; none for numbers."""
        if self.output not in ("softmax", "sigmoid"):
            return ()
        return self.classes or tuple(range(max(2, self.outputs)))

    @property
    def rounds(self) -> bool:
        """Whether the factors of products are rounded to bfloat16; weights are already."""
        return any(isinstance(each, Round) for each in self.operations)

    @property
    def parameters(self) -> int:
        """The number of weights and biases."""
        products = (each for each in self.operations if isinstance(each, Product))
        return sum(each.weights.size + each.biases.size for each in products)


def described(model: Model, rounding: bool = True) -> Description:
    """Return the description of a model.

    Parameters
    ----------
    model : Model
    rounding : bool
        Whether factors of products are rounded as the model says; else they stay as they are.

    Raises
    ------
    ValueError
        If a number is not finite.
    """
    a = model.architecture
    operations: list[Operation] = []
    if model.pixels:
        operations.append(Multiply(PIXEL[a.dtype]))
    if model.input_scaler is not None:
        operations.append(Standardize(*_finite("input_scaler has numbers", model.input_scaler)))
    for l, activation in enumerate(a.activations):
        weights = model.weights[l]
        if a.rounds and rounding:
            operations.append(Round())
            weights = to_bfloat16(weights)
        product = Product(*_finite(f"layer {l} has weights", (weights, model.biases[l])))
        operations += [product, Activate(_plain(activation))]
    if model.target_scaler is not None:
        operations.append(Restore(*_finite("target_scaler has numbers", model.target_scaler)))
    if isinstance(a.loss, Quantile):
        operations.append(Sort(a.loss.levels))
    names = model.classes, model.features
    ends = a.sizes[0], a.sizes[-1]
    return Description(tuple(operations), a.dtype, *ends, model.pixels, a.output, *names)


def _finite(what: str, arrays: Iterable[Array]) -> Iterator[Array]:
    """Yield C-contiguous copies of arrays, or refuse them."""
    for array in arrays:
        if not np.isfinite(array).all():
            raise ValueError(f"{what} that are not finite; need a trained network")
        yield np.array(array, order="C")


def _plain(activation: str) -> str:
    """Return the first name of an activation that has several."""
    code = ACTIVATIONS[activation].code
    return next(name for name, other in ACTIVATIONS.items() if other.code == code)
