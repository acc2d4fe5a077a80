"""The parameters of a network: one flat vector, with a view of each layer's weights and biases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np

from fastnn.activations import Array
from fastnn.model.architecture import CACHE_LINE, Architecture


def aligned_zeros(size: int, dtype: np.dtype) -> Array:
    """Return a vector of zeros that starts on a cache line."""
    spare = CACHE_LINE // dtype.itemsize
    buffer = np.zeros(size + spare, dtype)
    start = -buffer.ctypes.data % CACHE_LINE // dtype.itemsize
    return buffer[start : start + size]


class Views(Sequence[Array]):
    """Views into the flat vector without padding, one per layer; assigning an item copies."""

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
    """A flat vector in the layout of an architecture, and views of it.

    Attributes
    ----------
    vector : ndarray of shape (architecture.vector_size,)
        All parameters, with padding.
    weights : sequence of ndarray of shape (fan_in, fan_out)
    biases : sequence of ndarray of shape (fan_out,)
    """

    def __init__(self, architecture: Architecture, vector: Array | None = None) -> None:
        self.architecture = architecture
        if vector is None:
            vector = aligned_zeros(architecture.vector_size, architecture.dtype)
        self.vector = vector
        weights, biases = [], []
        for layer in architecture.layers:
            rows = self.vector[layer.weights : layer.biases].reshape(layer.fan_in, layer.stride)
            weights.append(rows[:, : layer.fan_out])
            biases.append(self.vector[layer.biases : layer.biases + layer.fan_out])
        self.weights = Views(weights, "weights")
        self.biases = Views(biases, "biases")

    def __reduce__(self) -> tuple[Any, ...]:  # copied views would not be views of the vector
        return _restored, (self.architecture, np.array(self.vector))


def _restored(architecture: Architecture, vector: Array) -> Parameters:
    """Return parameters in a new aligned vector, for pickle and copy."""
    parameters = Parameters(architecture)
    parameters.vector[:] = vector
    return parameters
