"""Checks of a network: is its gradient right, and do both backends agree."""

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
    """How far a gradient is from finite differences.

    Attributes
    ----------
    error : float
        The largest difference, over the largest number of the gradient.
    tolerance : float
        What rounding and the differences themselves may come to.
    layer : int
        Where the largest difference is; the first layer is 0.
    array : str
        "weights" or "biases".
    index : tuple of int
    checked : int
        Parameters that were looked at.
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

    ``(loss(w + h) - loss(w - h)) / 2h`` of some parameters w, with h = 1e-5, computed in float64,
    against the gradient of the network in its own dtype. Where an activation has a kink, as ReLU
    at 0, and a unit is within h of it, the two differ, and nothing is wrong.

    Parameters
    ----------
    net : Network
        Is not changed.
    X, y : array
        As for `Network.train`; a few dozen rows are enough.
    samples : int
        The most parameters to look at, spread evenly over all.
    **objective
        As for `Network.loss_and_gradient`: l2, l1, label_smoothing, dropout, sample_weight,
        class_weight.

    Returns
    -------
    GradientCheck

    Raises
    ------
    ValueError, TypeError
        As `Network.loss_and_gradient`.

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
    # Differences: h^2 times a third derivative, and eps / h; the gradient: sums of its own dtype.
    rounding = float(np.finfo(net.architecture.dtype).eps)
    tolerance = 1e-7 + 30 * rounding * np.sqrt(max(net.architecture.sizes))
    layer, name, index = where
    return GradientCheck(worst / scale, float(tolerance), layer, name, index, len(chosen))


def compare_backends(
    net: Network, X: npt.ArrayLike, y: npt.ArrayLike, **training: Any
) -> dict[str, float]:
    """Compare what both backends compute: predictions, loss, gradient, and training.

    Parameters
    ----------
    net : Network
        Is not changed.
    X, y : array
        As for `Network.train`.
    **training
        As for `Network.train`, by default one epoch.

    Returns
    -------
    dict
        The largest differences of ``outputs``, ``loss``, ``gradient`` and, after training,
        ``parameters``, each over the largest number it is a difference of. A few roundings are
        right: about 1e-6 in float32 and 1e-15 in float64, more after many steps.

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
    """Return the largest difference over the largest number."""
    return float(np.abs(x - y).max()) / (float(np.abs(y).max()) or 1.0)
