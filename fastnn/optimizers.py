"""Optimizers: small frozen dataclasses that say how a gradient becomes a step.

The method ``update`` is the formula. The reference backend calls it; the compiled backend has a
kernel for it. It works on any part ``w`` of the parameters, with the gradient ``g`` and the state
``slots`` of that part. State starts at zero.

Each part of the network may have a learning rate of its own: that of the step times a factor for
the weights of a layer, and one for its biases. With the weights' factors ``1 / sqrt(fan_in)`` Adam
moves as in the NTK parametrisation (Jacot et al., 2018).

With an ``input_factor`` a step also learns a factor for each input, a scaling layer: the first
layer's weights are ``diag(factors) w``, where the optimizer moves both. A network has their product
only, so that to predict costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import ClassVar

import numpy as np

from fastnn.activations import Array
from fastnn.checks import values as check

# The codes of the compiled kernels; the first is gradient descent without momentum.
PLAIN, MOMENTUM, RMSPROP, ADAM = range(4)
# Factors of inputs are kept as far away from 0, as weights are divided by them.
SMALLEST_FACTOR = 1e-9

_BELOW_ONE = {"momentum", "decay", "beta1", "beta2"}
Factors = float | Sequence[float]


class _ByPart:
    """What optimizers share: the check of their fields, and the factors of the learning rate."""

    weight_factors: Factors
    bias_factors: Factors
    input_factor: float | None

    def __post_init__(self) -> None:
        for each in fields(self):  # type: ignore[arg-type]
            name, value = f"{type(self).__name__}'s {each.name}", getattr(self, each.name)
            if each.name == "nesterov":
                continue
            if each.name.endswith("_factors") and isinstance(value, Iterable):
                checked = [check.real(f"{name}[{i}]", v, above=0) for i, v in enumerate(value)]
                object.__setattr__(self, each.name, tuple(checked))
            elif each.name == "input_factor":
                check.limit(name, value)
            elif each.name.endswith("_factors") or each.name in ("learning_rate", "epsilon"):
                check.real(name, value, above=0)
            else:
                below = 1.0 if each.name in _BELOW_ONE else None
                check.real(name, value, least=0, below=below)

    @property
    def is_even(self) -> bool:
        """Whether all parts of a network have the same learning rate, and inputs no factors."""
        return self.weight_factors == self.bias_factors == 1 and self.input_factor is None

    def factors(self, depth: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return the factors of the learning rate for the weights and for the biases of each layer.

        Parameters
        ----------
        depth : int
            The number of layers.

        Raises
        ------
        ValueError
            If there are factors for another number of layers.
        """
        weights, biases = (
            self._for_layers(name, getattr(self, name), depth)
            for name in ("weight_factors", "bias_factors")
        )
        return weights, biases

    def _for_layers(self, name: str, value: Factors, depth: int) -> tuple[float, ...]:
        if not isinstance(value, tuple):
            return (float(value),) * depth  # type: ignore[arg-type]
        if len(value) != depth:
            raise ValueError(
                f"{type(self).__name__}'s {name} must be a number, or one for each of the {depth} "
                f"layers; got {len(value)}"
            )
        return value


@dataclass(frozen=True)
class SGD(_ByPart):
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
    weight_factors, bias_factors : float or sequence of float
        Factors of the learning rate for weights and for biases, one for all layers or one for each
        layer; greater than 0.
    input_factor : float, optional
        Learn a factor for each input, too, at this times the learning rate; greater than 0. The
        factors start at 1, and stay in the optimizer's state from run to run. Penalties, decay and
        ``max_norm`` are about the weights without them; both get clipped gradients.

    Raises
    ------
    TypeError, ValueError
        If a field is not a number, or not within its limits.
    """

    learning_rate: float = 0.3
    momentum: float = 0.0
    nesterov: bool = False
    weight_factors: Factors = field(default=1.0, kw_only=True)
    bias_factors: Factors = field(default=1.0, kw_only=True)
    input_factor: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
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
class RMSprop(_ByPart):
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
    weight_factors, bias_factors, input_factor
        As for `SGD`.

    Raises
    ------
    TypeError, ValueError
        If a field is not a number, or not within its limits.
    """

    learning_rate: float = 0.001
    decay: float = 0.9
    epsilon: float = 1e-8
    weight_factors: Factors = field(default=1.0, kw_only=True)
    bias_factors: Factors = field(default=1.0, kw_only=True)
    input_factor: float | None = field(default=None, kw_only=True)

    code: ClassVar[int] = RMSPROP
    slots: ClassVar[int] = 1

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
class Adam(_ByPart):
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
    weight_factors, bias_factors, input_factor
        As for `SGD`.

    Raises
    ------
    TypeError, ValueError
        If a field is not a number, or not within its limits.
    """

    learning_rate: float = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_factors: Factors = field(default=1.0, kw_only=True)
    bias_factors: Factors = field(default=1.0, kw_only=True)
    input_factor: float | None = field(default=None, kw_only=True)

    code: ClassVar[int] = ADAM
    slots: ClassVar[int] = 2

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

    Each step begins with ``w -= rate * weight_decay * w`` for the weights; biases do not decay. The
    rate of the decay is that of the step, without ``weight_factors``.

    Parameters
    ----------
    learning_rate, beta1, beta2, epsilon : float
        As for `Adam`.
    weight_decay : float
        At least 0.
    weight_factors, bias_factors, input_factor
        As for `SGD`.

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
