"""How many rows are gone through at a time."""

from __future__ import annotations

from fastnn.backends.compiled.kernels import products
from fastnn.backends.compiled.machinery.machine import GROUP
from fastnn.model.architecture import Architecture, padded

# Bytes of inputs and activations that stay in the second-level cache. Batches that take more than
# the second number, and make so many blocks, are gone through in blocks.
NEAR, FAR, LEAST_BLOCKS = 512 * 1024, 4 * 1024 * 1024, 4
LEAST_ROWS = 32  # of a block of predictions, for which weights are read once


def row_bytes(architecture: Architecture, learning: bool, sparse: bool = False) -> int:
    """Return about how many bytes a row takes in the work array."""
    itemsize = architecture.dtype.itemsize
    kept = 3 if learning else 1  # outputs, slopes and deltas
    strides = sum(layer.stride for layer in architecture.layers)
    gathered = 0 if sparse else padded(architecture.sizes[0], itemsize)
    return itemsize * (gathered + kept * strides)


def is_large(architecture: Architecture, batch_size: int, sparse: bool = False) -> bool:
    """Tell whether batches are gone through in blocks, of which there are several."""
    far = batch_size * row_bytes(architecture, learning=True, sparse=sparse) > FAR
    return far and batch_size >= LEAST_BLOCKS * block_of(architecture, sparse=sparse)


def block_of(architecture: Architecture, threads: int = 1, sparse: bool = False) -> int:
    """Return how many rows of a large batch are gone through at a time.

    Enough that adding to the gradient of all parameters does not take long beside it.
    """
    gradient = architecture.dtype.itemsize * architecture.vector_size
    near = max(NEAR, 2 * gradient) // row_bytes(architecture, learning=True, sparse=sparse)
    group = products.GRADIENT_ROWS  # whose multiples leave the bits of sums as they are
    return threads * max(1, near // group) * group


def near(architecture: Architecture) -> int:
    """Return how many rows a block of predictions takes."""
    rows = NEAR // row_bytes(architecture, learning=False)
    return max(LEAST_ROWS, rows // GROUP * GROUP)
