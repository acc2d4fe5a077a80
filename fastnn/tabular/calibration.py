"""The temperature of probabilities, of one network or the mean of several."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from fastnn.activations import Array
from fastnn.network import Network

COLDEST, HOTTEST = 0.01, 100.0  # temperatures
_HALVINGS = 60
_GRIDS, _POINTS = 6, 21


def calibrate(
    nets: Sequence[Network],
    X: Array,
    labels: Array,
    weights: Array | None = None,
    *,
    times: float | None = None,
) -> float:
    """Divide the inputs of softmax by the temperature of these rows, and return it."""
    logits = np.stack([_logits(net, X) for net in nets])
    if len(nets) == 1:
        temperature = temperature_of(logits[0], labels, weights, times=times)
    else:
        temperature = temperature_of_several(logits, labels, weights, times=times)
    for net in nets:
        for array in (net.weights[-1], net.biases[-1]):
            array /= temperature
    return temperature


def temperature_of(
    logits: Array, labels: Array, weights: Array | None = None, *, times: float | None = None
) -> float:
    """Return the temperature with the lowest cross-entropy on some rows.

    The targets are those of Platt (1999): as if there were a further row of each class with these
    inputs, so that the temperature stays above 0 where all rows are predicted right.

    Parameters
    ----------
    logits : ndarray of shape (rows, classes)
        The inputs of softmax.
    labels : ndarray of int, shape (rows,)
    weights : ndarray of shape (rows,), optional
        Weights of the rows in the cross-entropy.
    times : float, optional
        How many rows they stand for, if some were equal.
    """
    targets = smoothed_targets(labels, logits.shape[1], times)
    weighted = logits if weights is None else logits * (weights / weights.max())[:, None]
    low, high = 1 / HOTTEST, 1 / COLDEST
    for _ in range(_HALVINGS):  # the cross-entropy is convex in 1 / T, and this is its slope
        inverse = math.sqrt(low * high)
        p = np.exp(inverse * (logits - logits.max(axis=1, keepdims=True)))
        p /= p.sum(axis=1, keepdims=True)
        if ((p - targets) * weighted).sum() > 0:
            high = inverse
        else:
            low = inverse
    return 1 / math.sqrt(low * high)


def temperature_of_several(
    logits: Array, labels: Array, weights: Array | None = None, *, times: float | None = None
) -> float:
    """Return the temperature of all members that gives their mean the lowest cross-entropy.

    Parameters
    ----------
    logits : ndarray of shape (members, rows, classes)
    labels : ndarray of int, shape (rows,)
    weights, times
        As for `temperature_of`.
    """
    targets = smoothed_targets(labels, logits.shape[2], times)
    if weights is not None:
        targets *= (weights / weights.max())[:, None]

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


def smoothed_targets(labels: Array, classes: int, times: float | None = None) -> Array:
    """Return the targets of Platt (1999)."""
    count = times or len(labels)
    targets = np.full((len(labels), classes), 1.0)
    targets[np.arange(len(labels)), labels] += count
    return targets / (count + classes)


def _logits(net: Network, X: Array) -> Array:
    """Return the inputs of softmax in the last layer."""
    below = [X, *net.activations(X)][-2].astype(np.float64)
    return below @ net.weights[-1].astype(np.float64) + net.biases[-1]
