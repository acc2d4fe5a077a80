"""Standardisation: columns brought to mean 0 and standard deviation 1."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastnn.activations import Array

# Numbers looked at in one go.
BLOCK = 1 << 20


class Scaler(NamedTuple):
    """Standardises: ``(x - mean) * scale``; a column that is constant has the scale 1."""

    mean: Array
    scale: Array

    def restored(self, x: Array) -> Array:
        """Return numbers as they were before."""
        return x / self.scale + self.mean


def learn(X: Array, rows: Array | None, dtype: np.dtype) -> Scaler:
    """Return the scaler of the columns of X, or of some of its rows; bytes are pixels.

    The blocks' means and squares are put together as in Chan et al. (1979).
    """
    count, mean, squares = 0, np.zeros(X.shape[1]), np.zeros(X.shape[1])
    total = len(X) if rows is None else len(rows)
    step = max(1, BLOCK // X.shape[1])
    for first in range(0, total, step):
        part = slice(first, min(first + step, total))
        block = X[part if rows is None else rows[part]].astype(np.float64)
        if X.dtype == np.uint8:
            block /= 255
        added = len(block)
        shift = block.mean(axis=0) - mean
        squares += block.var(axis=0) * added + shift**2 * (count * added / (count + added))
        mean += shift * (added / (count + added))
        count += added
    deviation = np.sqrt(squares / count)
    # What rounding leaves of a constant column is no spread.
    constant = deviation <= 1e-7 * np.abs(mean)
    scale = 1 / np.where(constant | (deviation == 0), 1, deviation)
    return Scaler(mean.astype(dtype), scale.astype(dtype))
