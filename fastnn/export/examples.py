"""Rows with the outputs that a network has for them, for files that test themselves."""

from __future__ import annotations

import numpy as np

from fastnn.activations import ACTIVATIONS, Array
from fastnn.export.description import (
    Activate,
    Description,
    Multiply,
    Product,
    Restore,
    Round,
    Sort,
    Standardize,
)
from fastnn.precision import to_bfloat16

ROWS = 3
# Of the deviation of each candidate: outputs far from the data may overflow.
SPREADS = (1, 1, 1, 1, 0.1, 0.1, 0.1, 0)


def examples(network: Description, tolerance: float) -> tuple[Array, Array]:
    """Return rows like those that a network is for, and its outputs, computed in float64.

    Parameters
    ----------
    network : Description
    tolerance : float
        How far outputs may be from the exact ones, relative above 1. Rows for which the dtype of
        the network alone makes a tenth of that are left out.

    Returns
    -------
    rows : (count, inputs) array
        In the network's dtype: pixels, numbers as its scaler has seen, or standard normal ones.
        The count is `ROWS`, or less if few are good.
    outputs : (count, outputs) array
        In the same dtype.
    """
    rng, spreads = np.random.default_rng(0), np.reshape(SPREADS, (-1, 1))
    shape = len(SPREADS), network.inputs
    if network.pixels:
        rows = np.rint(rng.integers(0, 256, shape) * spreads)
    else:
        rows = rng.standard_normal(shape) * spreads
        for operation in network.operations:
            if isinstance(operation, Standardize):
                deviations = np.divide(
                    1, operation.scale, out=np.zeros(network.inputs), where=operation.scale != 0
                )
                rows = operation.mean + rows * deviations
    rows = rows.astype(network.dtype)
    with np.errstate(all="ignore"):
        outputs, rough = (_outputs(network, rows.astype(t)) for t in ("f8", network.dtype))
        error = np.abs(rough - outputs) / np.maximum(1, np.abs(outputs))
        outputs = outputs.astype(network.dtype)
    good = np.isfinite(outputs).all(axis=1) & (error <= tolerance / 10).all(axis=1)
    chosen = np.flatnonzero(good)[:ROWS]
    return rows[chosen], outputs[chosen]


def _outputs(network: Description, x: Array) -> Array:
    """Return the outputs for rows, computed in their dtype."""
    for operation in network.operations:
        match operation:
            case Multiply(factor):
                x = x * x.dtype.type(factor)
            case Standardize(mean, scale):
                x = (x - mean) * scale
            case Round():
                x = to_bfloat16(x.astype(np.float32)).astype(x.dtype)
            case Product(weights, biases):
                x = x @ weights + biases
            case Activate(name):
                x = ACTIVATIONS[name].function(x)
            case Restore(mean, scale):
                x = x / scale + mean
            case Sort():
                x = np.sort(x, axis=1)
    return x
