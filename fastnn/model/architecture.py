"""The architecture: layers, activations, loss and dtype, and where each layer lies in memory.

The rows of each weight matrix are padded to whole cache lines, with zeros. A row of more than three
lines has an odd number of them, because a column panel of a matrix whose rows lie a power of two
apart falls into a few sets of the cache and evicts itself (products of 1024 columns ran 1.06 to
1.12 times as fast with it, of 128 columns 1.02 times).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from fastnn.losses import Custom

CACHE_LINE = 64  # bytes


def padded(columns: int, itemsize: int) -> int:
    """Return the elements from one row to the next in a matrix of that many columns."""
    lines = -(-columns * itemsize // CACHE_LINE)
    if lines > 3 and lines % 2 == 0:
        lines += 1
    return lines * CACHE_LINE // itemsize


@dataclass(frozen=True)
class Layer:
    """Where one layer lies in the flat vector; offsets and stride count elements."""

    fan_in: int
    fan_out: int
    weights: int
    biases: int
    stride: int


@dataclass(frozen=True)
class Architecture:
    """What a network is, without its parameters: everything that a backend needs to know.

    Parameters
    ----------
    sizes : tuple of int
        Units of each layer, inputs first.
    activations : tuple of str
        One name for each layer after the inputs; the last is the output's.
    loss : str or callable
    dtype : numpy.dtype
        float32 or float64.
    """

    sizes: tuple[int, ...]
    activations: tuple[str, ...]
    loss: str | Custom
    dtype: np.dtype
    layers: tuple[Layer, ...] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        layers, offset = [], 0
        for fan_in, fan_out in zip(self.sizes[:-1], self.sizes[1:], strict=True):
            stride = padded(fan_out, self.dtype.itemsize)
            layers.append(Layer(fan_in, fan_out, offset, offset + fan_in * stride, stride))
            offset += (fan_in + 1) * stride
        object.__setattr__(self, "layers", tuple(layers))

    @property
    def vector_size(self) -> int:
        """Elements of the flat vector, padding included."""
        return self.layers[-1].biases + self.layers[-1].stride

    @property
    def parameter_count(self) -> int:
        """Weights and biases, without padding."""
        return sum((layer.fan_in + 1) * layer.fan_out for layer in self.layers)

    @cached_property
    def forward_flops(self) -> int:
        """Floating-point operations of one row's forward products."""
        return sum(2 * layer.fan_in * layer.fan_out for layer in self.layers)

    @cached_property
    def training_flops(self) -> int:
        """Floating-point operations of one row's products in a training step.

        Forward, weight gradient, and the gradient of every layer's input but the first's.
        """
        first = self.layers[0]
        return 3 * self.forward_flops - 2 * first.fan_in * first.fan_out

    @property
    def output(self) -> str:
        """The activation of the last layer."""
        return self.activations[-1]


def outputs_for(classes: int, output: str | None) -> int:
    """Return how many outputs a network has for so many classes."""
    return 1 if classes == 2 and output in (None, "sigmoid") else classes
