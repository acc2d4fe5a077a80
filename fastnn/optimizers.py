"""Optimizers: small frozen dataclasses that say how a gradient becomes a step.

The method ``update`` is the formula. The reference backend calls it; the compiled backend has a
kernel for it. It works on any part ``w`` of the parameters, with the gradient ``g`` and the state
``slots`` of that part. State starts at zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np

from fastnn.activations import Array
from fastnn.checks import values as check

# The codes of the compiled kernels; the first is gradient descent without momentum.
PLAIN, MOMENTUM, RMSPROP, ADAM = range(4)


_BELOW_ONE = {"momentum", "decay", "beta1", "beta2"}


def _check(optimizer: Any) -> None:
    """Refuse numbers beyond their limits, by the name of the field."""
    for field in fields(optimizer):
        name, value = f"{type(optimizer).__name__}'s {field.name}", getattr(optimizer, field.name)
        if field.name == "nesterov":
            continue
        if field.name in ("learning_rate", "epsilon"):
            check.real(name, value, above=0)
        else:
            below = 1.0 if field.name in _BELOW_ONE else None
            check.real(name, value, least=0, below=below)


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent, with or without momentum (Sutskever et al., 2013).

    Without momentum ``w -= rate * g``. With it ``v = momentum * v + g`` and ``w -= rate * v``, or
    for Nesterov's momentum ``w -= rate * (g + momentum * v)``.

    Parameters
    ----------
    learning_rate : float
        The rate of a run for which `Network.train` gets none; greater than 0.
    momentum : float
        At least 0 and less than 1.
    nesterov : bool
        Use Nesterov's momentum; needs a ``momentum`` greater than 0.

    Raises
    ------
    TypeError, ValueError
        If a field is not a number, or not within its limits.
    """

    learning_rate: float = 0.3
    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        _check(self)
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum greater than 0, such as 0.9; got 0")

    @property
    def code(self) -> int:
        """The number of its kernel."""
        return MOMENTUM if self.momentum else PLAIN

    @property
    def slots(self) -> int:
        """How many numbers of state each parameter has."""
        return 1 if self.momentum else 0

    def update(self, w: Array, g: Array, slots: Sequence[Array], rate: float, step: int) -> None:
        """Take one step: change parameters and state in place.

        Parameters
        ----------
        w, g : ndarray
            Some of the parameters, and their gradient.
        slots : sequence of ndarray
            The optimizer's state for them.
        rate : float
            The learning rate of this step.
        step : int
            The number of this step, from 1.
        """
        if self.momentum:
            (v,) = slots
            v[...] = self.momentum * v + g
            g = g + self.momentum * v if self.nesterov else v
        w -= rate * g


@dataclass(frozen=True)
class RMSprop:
    """RMSprop: a learning rate for each parameter (Tieleman and Hinton, 2012).

    ``s = decay * s + (1 - decay) * g^2`` and ``w -= rate * g / (sqrt(s) + epsilon)``.

    Parameters
    ----------
    learning_rate : float
        As for `SGD`.
    decay : float
        Share of the mean of squares that each step keeps; at least 0 and less than 1.
    epsilon : float
        Added to the square root; greater than 0.

    Raises
    ------
    TypeError, ValueError
        If a field is not a number, or not within its limits.
    """

    learning_rate: float = 0.001
    decay: float = 0.9
    epsilon: float = 1e-8

    code: ClassVar[int] = RMSPROP
    slots: ClassVar[int] = 1

    def __post_init__(self) -> None:
        _check(self)

    def update(self, w: Array, g: Array, slots: Sequence[Array], rate: float, step: int) -> None:
        """Take one step: change parameters and state in place.

        Parameters
        ----------
        w, g : ndarray
            Some of the parameters, and their gradient.
        slots : sequence of ndarray
            The optimizer's state for them.
        rate : float
            The learning rate of this step.
        step : int
            The number of this step, from 1.
        """
        (s,) = slots
        s[...] = self.decay * s + (1 - self.decay) * g * g
        w -= rate * g / (np.sqrt(s) + self.epsilon)


@dataclass(frozen=True)
class Adam:
    """Adam: adaptive moments (Kingma and Ba, 2015).

    ``m = beta1 * m + (1 - beta1) * g``, ``s = beta2 * s + (1 - beta2) * g^2`` and at step t
    ``w -= rate * m / (1 - beta1^t) / (sqrt(s / (1 - beta2^t)) + epsilon)``.

    Parameters
    ----------
    learning_rate : float
        As for `SGD`.
    beta1, beta2 : float
        Shares of the means of the gradient and of its square that each step keeps; at least 0 and
        less than 1.
    epsilon : float
        Added to the square root of the bias-corrected mean of squares; greater than 0.

    Raises
    ------
    TypeError, ValueError
        If a field is not a number, or not within its limits.
    """

    learning_rate: float = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    code: ClassVar[int] = ADAM
    slots: ClassVar[int] = 2

    def __post_init__(self) -> None:
        _check(self)

    def update(self, w: Array, g: Array, slots: Sequence[Array], rate: float, step: int) -> None:
        """Take one step: change parameters and state in place.

        Parameters
        ----------
        w, g : ndarray
            Some of the parameters, and their gradient.
        slots : sequence of ndarray
            The optimizer's state for them.
        rate : float
            The learning rate of this step.
        step : int
            The number of this step, from 1.
        """
        m, s = slots
        m[...] = self.beta1 * m + (1 - self.beta1) * g
        s[...] = self.beta2 * s + (1 - self.beta2) * g * g
        size = np.sqrt(s) / (1 - self.beta2**step) ** 0.5 + self.epsilon
        w -= rate / (1 - self.beta1**step) * m / size


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019).

    Each step begins with ``w -= rate * weight_decay * w`` for the weights; biases do not decay.

    Parameters
    ----------
    learning_rate, beta1, beta2, epsilon : float
        As for `Adam`.
    weight_decay : float
        At least 0.

    Raises
    ------
    TypeError, ValueError
        If a field is not a number, or not within its limits.
    """

    weight_decay: float = 0.01


Optimizer = SGD | RMSprop | Adam

OPTIMIZERS: dict[str, Optimizer] = {
    "sgd": SGD(),
    "momentum": SGD(0.03, momentum=0.9),
    "nesterov": SGD(0.03, momentum=0.9, nesterov=True),
    "rmsprop": RMSprop(),
    "adam": Adam(),
    "adamw": AdamW(),
}


def named(optimizer: str | Optimizer) -> Optimizer:
    """Return the optimizer of that name, or the object itself.

    Parameters
    ----------
    optimizer : str or optimizer

    Raises
    ------
    TypeError, ValueError
        If it is neither an optimizer nor the name of one.
    """
    if isinstance(optimizer, Optimizer):
        return optimizer
    if not isinstance(optimizer, str):
        raise TypeError(
            f"optimizer must be a name or one from fastnn.optimizers, got {optimizer!r}"
        )
    return OPTIMIZERS[check.any_case("optimizer", optimizer, OPTIMIZERS)]
