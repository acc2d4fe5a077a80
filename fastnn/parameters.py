"""Parameters: one flat, aligned vector, its layout, its views per layer, and the initialisers.

The vector holds, layer after layer, the weights (fan_in rows) and then the biases (one row). Every
row starts on a cache line and is padded with zeros to whole cache lines; a row of more than three
lines has an odd number of them, because a column panel of a matrix whose rows lie a power of two
apart falls into a few sets of the cache and evicts itself (products of 1024 columns ran 1.06 to
1.12 times as fast with it, of 128 columns 1.02 times).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

import numpy as np

from fastnn.activations import Array
from fastnn.losses import Custom

CACHE_LINE = 64  # bytes


def padded(columns: int, itemsize: int) -> int:
    """Return the elements from one row to the next in a matrix of that many columns."""
    lines = -(-columns * itemsize // CACHE_LINE)
    if lines > 3 and lines % 2 == 0:
        lines += 1
    return lines * CACHE_LINE // itemsize


def aligned_zeros(size: int, dtype: np.dtype) -> Array:
    """Return a vector of zeros that starts on a cache line."""
    spare = CACHE_LINE // dtype.itemsize
    buffer = np.zeros(size + spare, dtype)
    start = -buffer.ctypes.data % CACHE_LINE // dtype.itemsize
    return buffer[start : start + size]


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

    @property
    def forward_flops(self) -> int:
        """Floating-point operations of one row's forward products."""
        return sum(2 * layer.fan_in * layer.fan_out for layer in self.layers)

    @property
    def training_flops(self) -> int:
        """Floating-point operations of one row's products in a training step.

        Forward, weight gradient, and the gradient of every layer's input but the first's.
        """
        first = self.layers[0]
        return 3 * self.forward_flops - 2 * first.fan_in * first.fan_out


class Views(Sequence[Array]):
    """Unpadded views into the flat vector, one a layer; assigning to an item copies into it."""

    def __init__(self, arrays: Sequence[Array], name: str) -> None:
        self._arrays = tuple(arrays)
        self._name = name

    @overload
    def __getitem__(self, index: int) -> Array: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Array]: ...
    def __getitem__(self, index: int | slice) -> Array | Sequence[Array]:
        return self._arrays[index]

    def __setitem__(self, index: int, value: Array) -> None:
        array, value = self._arrays[index], np.asarray(value)
        if value.shape != array.shape:
            raise ValueError(
                f"{self._name}[{index}] has shape {array.shape}, got an array of {value.shape}"
            )
        array[...] = value

    def __len__(self) -> int:
        return len(self._arrays)

    def __iter__(self) -> Iterator[Array]:
        return iter(self._arrays)

    def __repr__(self) -> str:
        return f"<{self._name}: {', '.join(str(array.shape) for array in self._arrays)}>"


class Parameters:
    """A flat vector in the layout of an architecture, with its views.

    Attributes
    ----------
    vector : ndarray of shape (architecture.vector_size,)
        All parameters, padding included.
    weights : sequence of ndarray of shape (fan_in, fan_out)
    biases : sequence of ndarray of shape (fan_out,)
    """

    def __init__(self, architecture: Architecture) -> None:
        self.architecture = architecture
        self.vector = aligned_zeros(architecture.vector_size, architecture.dtype)
        weights, biases = [], []
        for layer in architecture.layers:
            rows = self.vector[layer.weights : layer.biases].reshape(layer.fan_in, layer.stride)
            weights.append(rows[:, : layer.fan_out])
            biases.append(self.vector[layer.biases : layer.biases + layer.fan_out])
        self.weights = Views(weights, "weights")
        self.biases = Views(biases, "biases")

    def __reduce__(self) -> tuple[Any, ...]:  # a copied view would no longer show the vector
        return _restored, (self.architecture, np.array(self.vector))


def _restored(architecture: Architecture, vector: Array) -> Parameters:
    """Return parameters in an aligned vector of their own, as pickle and copy need."""
    parameters = Parameters(architecture)
    parameters.vector[:] = vector
    return parameters


Initialiser = Callable[[np.random.Generator, int, int], Array]


def he(rng: np.random.Generator, fan_in: int, fan_out: int) -> Array:
    """Return normal numbers with variance ``2 / fan_in`` (He et al., 2015), made for ReLU."""
    return rng.normal(0.0, np.sqrt(2 / fan_in), (fan_in, fan_out))


def glorot(rng: np.random.Generator, fan_in: int, fan_out: int) -> Array:
    """Return numbers uniform in ``+-sqrt(6 / (fan_in + fan_out))`` (Glorot and Bengio, 2010)."""
    return uniform(rng, fan_in, fan_out, np.sqrt(6 / (fan_in + fan_out)))


def normal(rng: np.random.Generator, fan_in: int, fan_out: int) -> Array:
    """Return standard normal numbers: mean 0, variance 1."""
    return rng.normal(0.0, 1.0, (fan_in, fan_out))


def uniform(rng: np.random.Generator, fan_in: int, fan_out: int, epsilon: float = 0.05) -> Array:
    """Return numbers uniform in ``+-epsilon``."""
    return rng.uniform(-epsilon, epsilon, (fan_in, fan_out))


INITIALISERS: dict[str, Initialiser] = {
    "he": he,
    "glorot": glorot,
    "xavier": glorot,
    "normal": normal,
    "uniform": uniform,
}
