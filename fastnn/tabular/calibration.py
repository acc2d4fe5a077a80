"""The temperature of probabilities that are the mean of several networks'."""

from __future__ import annotations

import math

import numpy as np

from fastnn.activations import Array

COLDEST, HOTTEST = 0.01, 100.0  # temperatures
_GRIDS, _POINTS = 6, 21


def temperature_of_several(logits: Array, labels: Array) -> float:
    """Return the temperature of all members that gives their mean the lowest cross-entropy.

    Parameters
    ----------
    logits : ndarray of shape (members, rows, classes)
    labels : ndarray of int, shape (rows,)
    """
    targets = smoothed_targets(labels, logits.shape[2])

    def cross_entropy(log_inverse: float) -> float:
        z = math.exp(log_inverse) * (logits - logits.max(axis=2, keepdims=True))
        p = np.exp(z)
        mean = (p / p.sum(axis=2, keepdims=True)).mean(axis=0)
        return -float((targets * np.log(np.maximum(mean, np.finfo(float).tiny))).sum())

    # The mean of several is not convex: the best of a grid, then a finer one around it.
    low, high = math.log(1 / HOTTEST), math.log(1 / COLDEST)
    for _ in range(_GRIDS):
        grid = np.linspace(low, high, _POINTS)
        best = int(np.argmin([cross_entropy(each) for each in grid]))
        low, high = grid[max(0, best - 1)], grid[min(_POINTS - 1, best + 1)]
    return math.exp(-(low + high) / 2)


def smoothed_targets(labels: Array, classes: int) -> Array:
    """Return the targets of Platt (1999)."""
    count = len(labels)
    targets = np.full((count, classes), 1.0)
    targets[np.arange(count), labels] += count
    return targets / (count + classes)
