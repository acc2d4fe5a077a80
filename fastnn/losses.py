"""Losses: names, codes and formulas of each pair of output and loss, for both backends.

For one row, with ``z`` the weighted inputs of the last layer, ``a`` its outputs, ``t`` the targets
and ``m`` the number of outputs:

- ``cross_entropy``, with softmax: ``-sum_j t_j log a_j``, in nats, where ``sum_j t_j = 1``;
- ``binary_cross_entropy``, with sigmoid: ``-sum_j (t_j log a_j + (1 - t_j) log(1 - a_j))``;
- ``poisson``, for counts: ``sum_j (r_j - t_j log r_j)`` with the rates ``r_j = exp(z_j)``. The
  output "exponential" returns the rates, "identity" their logarithms;
- ``mse``: ``1/m sum_j e_j^2`` with the errors ``e = a - t``;
- ``mae``: ``1/m sum_j |e_j|``, with the slope 0 at 0;
- ``huber``: ``1/m sum_j h(e_j)``, ``h(e) = e^2 / 2`` where ``|e| <= 1``, else ``|e| - 1/2`` (Huber,
  1964);
- ``quantile``, with identity, for one column of targets: the pinball loss of a level for each
  output, see `Quantile`;
- ``focal``, with softmax or sigmoid: a cross-entropy for rows that are hard to tell, see `Focal`.

The last two carry numbers: pass an object, or the name for its defaults.

A loss may also be a function. ``loss(a, t)`` gets outputs and targets (rows, m), with labels as
one-hot rows. It returns the loss of each row (rows,), and its gradient with respect to the outputs
(rows, m).

The loss of a batch is the mean over its rows, each times its weight, if there are any. ``delta`` is
the gradient of a row's loss with respect to ``z``. The first three losses are computed from ``z``,
so that they stay finite where ``a`` rounds to 0 or 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, NamedTuple

import numpy as np

from fastnn.activations import Array
from fastnn.checks import values as check

CROSS_ENTROPY, BINARY_CROSS_ENTROPY, POISSON, MSE, MAE, HUBER = range(6)
GIVEN = 6  # the code of a function: the kernels get its gradient as targets
QUANTILE, FOCAL = 7, 8
LOSSES = {
    "cross_entropy": CROSS_ENTROPY,
    "binary_cross_entropy": BINARY_CROSS_ENTROPY,
    "poisson": POISSON,
    "mse": MSE,
    "mae": MAE,
    "huber": HUBER,
    "quantile": QUANTILE,
    "focal": FOCAL,
}
# The default loss of each output: that of the distribution whose mean the output is.
NATURAL = {
    "softmax": "cross_entropy",
    "sigmoid": "binary_cross_entropy",
    "identity": "mse",
    "exponential": "poisson",
}

# The default output of a loss that is for one kind of target: of numbers, counts, or labels. The
# others leave it to the number of outputs.
DEFAULT_OUTPUT = {
    "mae": "identity",
    "huber": "identity",
    "quantile": "identity",
    "poisson": "exponential",
    "binary_cross_entropy": "sigmoid",
}

Custom = Callable[[Array, Array], tuple[Array, Array]]


class Pair(NamedTuple):
    """An output activation with a loss: ``value(z, a, t)`` (rows,), ``delta(a, t)`` (rows, m)."""

    value: Callable[[Array, Array, Array], Array]
    delta: Callable[[Array, Array], Array]


def cross_entropy(z: Array, a: Array, t: Array) -> Array:
    """Return ``sum_j t_j (log sum_k exp(z_k) - z_j)`` of each row."""
    peak = z.max(axis=1, keepdims=True)
    log_sum = peak + np.log(np.exp(z - peak).sum(axis=1, keepdims=True))
    return (t * (log_sum - z)).sum(axis=1)


def binary_cross_entropy(z: Array, a: Array, t: Array) -> Array:
    """Return ``sum_j max(z_j, 0) - t_j z_j + log(1 + exp(-|z_j|))`` of each row."""
    return (np.maximum(z, 0) - t * z + np.log1p(np.exp(-np.abs(z)))).sum(axis=1)


def poisson(z: Array, a: Array, t: Array) -> Array:
    """Return ``sum_j exp(z_j) - t_j z_j`` of each row."""
    return (np.exp(z) - t * z).sum(axis=1)


def squared_error(z: Array, a: Array, t: Array) -> Array:
    """Return ``1/m sum_j (a_j - t_j)^2`` of each row."""
    return ((a - t) ** 2).mean(axis=1)


def absolute_error(z: Array, a: Array, t: Array) -> Array:
    """Return ``1/m sum_j |a_j - t_j|`` of each row."""
    return np.abs(a - t).mean(axis=1)


def huber(z: Array, a: Array, t: Array) -> Array:
    """Return ``1/m sum_j h(a_j - t_j)`` of each row."""
    e = np.abs(a - t)
    return np.where(e <= 1, e * e / 2, e - 0.5).mean(axis=1)


# The losses of errors, with their gradient with respect to the outputs.
ERRORS: dict[str, tuple[Callable[[Array, Array, Array], Array], Callable[[Array], Array]]] = {
    "mse": (squared_error, lambda e: 2 * e),
    "mae": (absolute_error, np.sign),
    "huber": (huber, lambda e: np.clip(e, -1, 1)),
}
# Functions from the gradient with respect to the outputs to the gradient with respect to ``z``.
BACK: dict[str, Callable[[Array, Array], Array]] = {
    "softmax": lambda a, slope: a * (slope - (slope * a).sum(axis=1, keepdims=True)),
    "sigmoid": lambda a, slope: slope * a * (1 - a),
    "identity": lambda a, slope: slope,
    "exponential": lambda a, slope: slope * a,
}


@dataclass(frozen=True)
class Quantile:
    """The pinball loss, whose least value is at quantiles (Koenker and Bassett, 1978).

    For one row it is ``1/m sum_j max(q_j (t - a_j), (q_j - 1) (t - a_j))``, with the slope 0 where
    ``a_j = t``. Each output has a level ``q_j`` of its own, and all have the same target ``t``: the
    network needs as many outputs as there are levels, and targets of one column.

    The network sorts what it predicts in each row, so that quantiles never cross. That never raises
    the loss. In training, and in the loss that `Network.evaluate` returns, they are as they come.

    Parameters
    ----------
    levels : sequence of float
        Between 0 and 1, rising: 0.05 stands for the number that 5 % of the targets are below.

    Raises
    ------
    TypeError, ValueError
        If the levels are not such numbers.
    """

    levels: tuple[float, ...] = (0.5,)

    name: ClassVar[str] = "quantile"

    def __post_init__(self) -> None:
        given: object = self.levels
        if isinstance(given, str) or not isinstance(given, Iterable):
            raise TypeError(
                "Quantile's levels must be a sequence of numbers, such as (0.05, 0.5, 0.95); got "
                f"{given!r}"
            )
        levels = tuple(
            check.real(f"Quantile's levels[{i}]", level, above=0, below=1)
            for i, level in enumerate(given)
        )
        if not levels or any(high <= low for low, high in pairwise(levels)):
            raise ValueError(
                f"Quantile's levels must be numbers that rise, such as (0.05, 0.5, 0.95); got "
                f"{levels}"
            )
        object.__setattr__(self, "levels", levels)

    def pair(self, output: str) -> Pair:
        """Return the formulas of the loss."""
        return Pair(self._value, self._delta)

    def _value(self, z: Array, a: Array, t: Array) -> Array:
        e, q = a - t, np.array(self.levels, a.dtype)
        return np.where(e > 0, (1 - q) * e, -q * e).mean(axis=1)

    def _delta(self, a: Array, t: Array) -> Array:
        e, q = a - t, np.array(self.levels, a.dtype)
        return np.where(e > 0, 1 - q, np.where(e < 0, -q, e)) / a.shape[1]


@dataclass(frozen=True)
class Focal:
    """The cross-entropy of a class times ``(1 - p)^gamma`` (Lin et al., 2017).

    ``p`` is the probability that the network gives to the class: what it knows well counts little.
    With softmax the loss of a row is ``-sum_j t_j (1 - a_j)^gamma log a_j``, with sigmoid ``-sum_j
    t_j (1 - a_j)^gamma log a_j + (1 - t_j) a_j^gamma log(1 - a_j)``. Weights of classes, which that
    paper calls alpha, are `Network.train`'s ``class_weight``.

    Parameters
    ----------
    gamma : float
        At least 0, where it is the cross-entropy.

    Raises
    ------
    TypeError, ValueError
        If gamma is not such a number.
    """

    gamma: float = 2.0

    name: ClassVar[str] = "focal"

    def __post_init__(self) -> None:
        check.real("Focal's gamma", self.gamma, least=0)

    def pair(self, output: str) -> Pair:
        """Return the formulas of the loss with an output, softmax or sigmoid."""
        if output == "softmax":
            return Pair(self._value_of_softmax, self._delta_of_softmax)
        return Pair(self._value_of_sigmoid, self._delta_of_sigmoid)

    def _value_of_softmax(self, z: Array, a: Array, t: Array) -> Array:
        peak = z.max(axis=1, keepdims=True)
        log_sum = peak + np.log(np.exp(z - peak).sum(axis=1, keepdims=True))
        return (t * (1 - a) ** self.gamma * (log_sum - z)).sum(axis=1)

    def _delta_of_softmax(self, a: Array, t: Array) -> Array:
        """Return ``a_i sum_j g_j - g_i``, where ``g_j`` is ``t_j a_j`` times a slope."""
        rest = np.maximum(1 - a, np.finfo(a.dtype).tiny)
        g = t * rest**self.gamma * (1 + self.gamma * _entropy(a) / rest)
        return a * g.sum(axis=1, keepdims=True) - g

    def _value_of_sigmoid(self, z: Array, a: Array, t: Array) -> Array:
        rest = np.log1p(np.exp(-np.abs(z)))
        ones = t * (1 - a) ** self.gamma * (np.maximum(-z, 0) + rest)
        return (ones + (1 - t) * a**self.gamma * (np.maximum(z, 0) + rest)).sum(axis=1)

    def _delta_of_sigmoid(self, a: Array, t: Array) -> Array:
        b = 1 - a
        zeros = (1 - t) * a**self.gamma * (a + self.gamma * _entropy(b))
        return zeros - t * b**self.gamma * (b + self.gamma * _entropy(a))


def _entropy(p: Array) -> Array:
    """Return ``-p log p``, which is 0 at 0."""
    return -p * np.log(np.maximum(p, np.finfo(p.dtype).tiny))


WithNumbers = Quantile | Focal
Loss = str | WithNumbers | Custom
WITH_NUMBERS: dict[str, WithNumbers] = {"quantile": Quantile(), "focal": Focal()}


def name_of(loss: Loss) -> str:
    """Return the name of a loss, or of the user's function."""
    if isinstance(loss, str):
        return loss
    return loss.name if isinstance(loss, WithNumbers) else getattr(loss, "__name__", repr(loss))


def _pair(output: str, loss: str) -> Pair:
    value, slope = ERRORS[loss]
    return Pair(value, lambda a, t: BACK[output](a, slope(a - t) / a.shape[1]))


PAIRS: dict[tuple[str, str], Pair] = {
    ("softmax", "cross_entropy"): Pair(cross_entropy, lambda a, t: a - t),
    ("sigmoid", "binary_cross_entropy"): Pair(binary_cross_entropy, lambda a, t: a - t),
    ("exponential", "poisson"): Pair(poisson, lambda a, t: a - t),
    ("identity", "poisson"): Pair(poisson, lambda a, t: np.exp(a) - t),
    **{(output, loss): _pair(output, loss) for output in BACK for loss in ERRORS},
    ("identity", "quantile"): WITH_NUMBERS["quantile"].pair("identity"),
    ("softmax", "focal"): WITH_NUMBERS["focal"].pair("softmax"),
    ("sigmoid", "focal"): WITH_NUMBERS["focal"].pair("sigmoid"),
}


def pair(output: str, loss: Loss) -> Pair:
    """Return the formulas of an output with a loss: a name, an object or the user's function."""
    if isinstance(loss, str):
        return PAIRS[output, loss]
    if isinstance(loss, WithNumbers):
        return loss.pair(output)
    return Pair(
        lambda z, a, t: evaluated(loss, a, t)[0],
        lambda a, t: BACK[output](a, evaluated(loss, a, t)[1]),
    )


def evaluated(loss: Custom, a: Array, t: Array) -> tuple[Array, Array]:
    """Return the losses and the gradient of a user's function.

    Raises
    ------
    ValueError
        If their shapes are wrong.
    """
    values, gradient = (np.asarray(array, a.dtype) for array in loss(a, t))
    if values.shape != a.shape[:1] or gradient.shape != a.shape:
        raise ValueError(
            f"loss must return the losses of {a.shape[:1]} rows and a gradient of shape {a.shape}; "
            f"got shapes {values.shape} and {gradient.shape}"
        )
    return values, gradient


def matrix(targets: Array, outputs: int, dtype: np.dtype) -> Array:
    """Return targets (n, outputs); labels become one-hot rows."""
    if targets.ndim == 2:
        return targets.astype(dtype)
    return (targets[:, None] == np.arange(outputs)).astype(dtype)


def smoothed(t: Array, label_smoothing: float, output: str) -> Array:
    """Return targets moved towards the uniform distribution (Szegedy et al., 2016)."""
    classes = t.shape[1] if output == "softmax" else 2
    return (1 - label_smoothing) * t + label_smoothing / classes
