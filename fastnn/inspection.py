"""Checks of a network: whether its gradient is right, and whether both backends agree."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fastnn import backends
from fastnn.activations import Array
from fastnn.checks import values as check
from fastnn.model.model import in_float64
from fastnn.network import Network


@dataclass(frozen=True)
class GradientCheck:
    """The result of `check_gradients`.

    Attributes
    ----------
    error : float
        The largest difference, divided by the largest element of the gradient.
    tolerance : float
        The error that rounding and finite differences may cause.
    layer : int
        The layer with the largest difference, counted from 0.
    array : str
        "weights" or "biases" of that layer.
    index : tuple of int
        The position in that array.
    checked : int
        The number of parameters that were compared.
    """

    error: float
    tolerance: float
    layer: int
    array: str
    index: tuple[int, ...]
    checked: int

    @property
    def passed(self) -> bool:
        """Whether the error is within the tolerance."""
        return self.error <= self.tolerance


def check_gradients(
    net: Network, X: npt.ArrayLike, y: npt.ArrayLike, *, samples: int = 200, **objective: Any
) -> GradientCheck:
    """Compare the gradient of the loss with central differences.

    The differences are ``(loss(w + h) - loss(w - h)) / 2h`` with h = 1e-5 for some parameters w, in
    float64. The gradient is in the network's own dtype. An activation with a kink, such as ReLU at
    0, may cause a difference without being wrong, if a unit is within h of the kink. Factors in
    bfloat16 cause differences of up to some hundredths, and more are tolerated then.

    Parameters
    ----------
    net : Network
        It does not change.
    X, y : array
        As for `Network.train`; a few dozen rows are enough.
    samples : int
        The largest number of parameters to compare, spread evenly over all.
    **objective
        As for `Network.loss_and_gradient`: l2, l1, label_smoothing, dropout, sample_weight,
        class_weight.

    Returns
    -------
    GradientCheck
        ``passed`` says whether the error is within the tolerance.

    Raises
    ------
    TypeError, ValueError
        If ``samples`` is not a positive integer, or as for `Network.loss_and_gradient`.

    Examples
    --------
    >>> import fastnn
    >>> net = fastnn.Network([2, 8, 2], activation="tanh", seed=3)
    >>> X, y = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [0, 1, 1, 0]
    >>> fastnn.check_gradients(net, X, y).passed
    True
    """
    check.integer("samples", samples, 1)
    gradient = net.loss_and_gradient(X, y, **objective)[1]
    double = Network.of(in_float64(net.model))
    places = [
        (layer, name, index)
        for name in ("weights", "biases")
        for layer, array in enumerate(getattr(gradient, name))
        for index in np.ndindex(array.shape)
    ]
    step = 1e-5
    worst, where = -1.0, places[0]
    chosen = places[:: max(1, -(-len(places) // samples))]
    for layer, name, index in chosen:
        array = getattr(double, name)[layer]
        value = array[index]
        losses = []
        for nudged in (value + step, value - step):
            array[index] = nudged
            losses.append(double.loss_and_gradient(X, y, **objective)[0])
        array[index] = value
        slope = (losses[0] - losses[1]) / (2 * step)
        difference = abs(slope - float(getattr(gradient, name)[layer][index]))
        if not difference <= worst:  # NaN is the worst
            worst, where = difference, (layer, name, index)
    scale = float(np.abs(gradient.vector).max()) or 1.0
    # Differences are off by h^2 times a third derivative and eps / h, the gradient by rounding.
    rounding = float(np.finfo(net.architecture.dtype).eps)
    tolerance = 1e-7 + 30 * rounding * np.sqrt(max(net.architecture.sizes))
    if net.architecture.rounds:  # which moves sums of ReLUs past 0
        tolerance = 2.0**-3
    layer, name, index = where
    return GradientCheck(worst / scale, float(tolerance), layer, name, index, len(chosen))


def compare_backends(
    net: Network, X: npt.ArrayLike, y: npt.ArrayLike, **training: Any
) -> dict[str, float]:
    """Compare the two backends: predictions, loss, gradient, and parameters after training.

    Parameters
    ----------
    net : Network
        It does not change.
    X, y : array
        As for `Network.train`.
    **training
        As for `Network.train`. Default: one epoch.

    Returns
    -------
    dict
        The largest differences of ``outputs``, ``loss``, ``gradient`` and ``parameters`` (after
        training), each divided by the largest number of its kind. Rounding causes about 1e-6 in
        float32 and 1e-15 in float64, and more after many steps; factors in bfloat16 up to 1e-3.

    Raises
    ------
    TypeError, ValueError, DivergenceError
        As for `Network.train`.

    Examples
    --------
    >>> import fastnn
    >>> net = fastnn.Network([2, 8, 2], activation="tanh", seed=3)
    >>> X, y = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [0, 1, 1, 0]
    >>> max(fastnn.compare_backends(net, X, y).values()) < 1e-5
    True
    """
    results: list[dict[str, Array]] = []
    for backend in backends.BACKENDS:
        other = copy.deepcopy(net)
        other.backend = backend
        loss, gradient = other.loss_and_gradient(X, y)
        outputs = other.predict_proba(X)
        other.train(X, y, **{"epochs": 1, "progress": False, **training})
        results.append(
            {
                "outputs": outputs,
                "loss": np.array([loss]),
                "gradient": gradient.vector,
                "parameters": other.parameters,
            }
        )
    compiled, reference = results
    return {name: _difference(compiled[name], reference[name]) for name in reference}


def _difference(x: Array, y: Array) -> float:
    """Return the largest difference, divided by the largest number."""
    return float(np.abs(x - y).max()) / (float(np.abs(y).max()) or 1.0)
