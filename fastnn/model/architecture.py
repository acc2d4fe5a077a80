"""The architecture: layers, activations, loss and dtype, and where each layer lies in memory.

The rows of each weight matrix are padded with zeros to whole cache lines. Rows of more than three
lines get an odd number of them: if rows lie a power of two apart, a panel of columns falls into a
few sets of the cache and evicts itself (with the odd number, products of 1024 columns ran 1.06 to
1.12 times as fast, of 128 columns 1.02 times). Where very many rows are short, it is left out: they
come from memory, of which it would take up to a quarter more.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from fastnn.losses import Loss, Quantile
from fastnn.precision import BFLOAT16

# Bytes, also on Apple silicon, whose lines have 128: pickles hold rows with their padding, and must
# fit every machine; two threads meet in one line of a row at most.
CACHE_LINE = 64
MANY_ROWS = 4096


def padded(columns: int, itemsize: int, rows: int = 0) -> int:
    """Return the stride, in elements, of the rows of a matrix with so many columns and rows."""
    lines = -(-columns * itemsize // CACHE_LINE)
    if lines % 2 == 0 and lines > (8 if rows >= MANY_ROWS else 3):
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
    """A network without its parameters.

    Parameters
    ----------
    sizes : tuple of int
        Units of each layer, inputs first.
    activations : tuple of str
        One name for each layer after the inputs; the last is the output.
    loss : str, Quantile, Focal or callable
    dtype : numpy.dtype
        float32 or float64.
    precision : str
        What the operands of matrix products are rounded to, see `fastnn.precision`. Default: the
        name of the dtype.
    """

    sizes: tuple[int, ...]
    activations: tuple[str, ...]
    loss: Loss
    dtype: np.dtype
    precision: str = ""
    layers: tuple[Layer, ...] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        layers, offset = [], 0
        for fan_in, fan_out in zip(self.sizes[:-1], self.sizes[1:], strict=True):
            stride = padded(fan_out, self.dtype.itemsize, fan_in)
            layers.append(Layer(fan_in, fan_out, offset, offset + fan_in * stride, stride))
            offset += (fan_in + 1) * stride
        object.__setattr__(self, "layers", tuple(layers))
        of_dtype = "float32" if self.dtype.itemsize == 4 else "float64"  # sooner than its name
        object.__setattr__(self, "precision", self.precision or of_dtype)

    @cached_property
    def rounds(self) -> bool:
        """Whether the factors of matrix products are rounded to bfloat16."""
        return self.precision == BFLOAT16

    @property
    def vector_size(self) -> int:
        """The number of elements of the flat vector, with padding."""
        return self.layers[-1].biases + self.layers[-1].stride

    @property
    def target_columns(self) -> int:
        """The columns of the targets: one for all quantiles, else one for each output."""
        return 1 if isinstance(self.loss, Quantile) else self.sizes[-1]

    @property
    def parameter_count(self) -> int:
        """The number of weights and biases, without padding."""
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
    """Return the number of outputs of a network for so many classes."""
    return 1 if classes == 2 and output in (None, "sigmoid") else classes
