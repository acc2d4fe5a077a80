"""Initializers: the distributions of the initial weights, by name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastnn.activations import Array

Initializer = Callable[[np.random.Generator, int, int], Array]


def he(rng: np.random.Generator, fan_in: int, fan_out: int) -> Array:
    """Return normal numbers of variance ``2 / fan_in``, for ReLU (He et al., 2015)."""
    return rng.normal(0.0, np.sqrt(2 / fan_in), (fan_in, fan_out))


def glorot(rng: np.random.Generator, fan_in: int, fan_out: int) -> Array:
    """Return uniform numbers in ``+-sqrt(6 / (fan_in + fan_out))`` (Glorot and Bengio, 2010)."""
    return uniform(rng, fan_in, fan_out, np.sqrt(6 / (fan_in + fan_out)))


def normal(rng: np.random.Generator, fan_in: int, fan_out: int) -> Array:
    """Return standard normal numbers: mean 0, variance 1."""
    return rng.normal(0.0, 1.0, (fan_in, fan_out))


def uniform(rng: np.random.Generator, fan_in: int, fan_out: int, epsilon: float = 0.05) -> Array:
    """Return uniform numbers in ``+-epsilon``."""
    return rng.uniform(-epsilon, epsilon, (fan_in, fan_out))


INITIALIZERS: dict[str, Initializer] = {
    "he": he,
    "glorot": glorot,
    "xavier": glorot,
    "normal": normal,
    "uniform": uniform,
}
