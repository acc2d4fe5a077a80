"""Looking at a network: is its gradient right, do both backends agree, what is it made of."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fastnn import backends
from fastnn import validation as check
from fastnn.activations import Array

if TYPE_CHECKING:
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
    double = in_float64(net)
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


def summary(net: Network) -> str:
    """Return a table of the layers: shapes, parameters, memory, operations for a row.

    Parameters
    ----------
    net : Network

    Returns
    -------
    str
        Operations are multiplications and additions of the products, forward; training takes about
        three times as many.
    """
    a = net.architecture
    rows = [("layer", "units", "activation", "parameters", "kB", "FLOPs a row")]
    rows.append(("inputs", f"{a.sizes[0]:,}", "", "", "", ""))
    for l, (layer, name) in enumerate(zip(a.layers, a.activations, strict=True)):
        count = (layer.fan_in + 1) * layer.fan_out
        label = f"{l}" if l + 1 < len(a.layers) else f"{l}, outputs"
        flops = 2 * layer.fan_in * layer.fan_out
        rows.append(_cells(label, f"{layer.fan_out:,}", name, count, a.dtype.itemsize, flops))
    rows.append(_cells("all", "", "", a.parameter_count, a.dtype.itemsize, a.forward_flops))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if i in (0, 2) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    rule = "-" * max(map(len, lines))
    lines[1:1] = [rule]
    lines[-1:-1] = [rule]
    return "\n".join(
        [*lines, f"loss {a.loss}, {a.dtype.name}, {a.training_flops:,} FLOPs a row of training"]
    )


def in_float64(net: Network) -> Network:
    """Return a copy of a network that computes in float64."""
    from fastnn.network import Network

    a = net.architecture
    double = Network(
        list(a.sizes),
        activation=a.activations[:-1],
        output=a.activations[-1],
        loss=a.loss,
        seed=net.seed,
        dtype="float64",
        backend=net.backend,
        threads=net.threads,
    )
    double.input_scaler, double.target_scaler = net.input_scaler, net.target_scaler
    for mine, its in ((double.weights, net.weights), (double.biases, net.biases)):
        for l, array in enumerate(its):
            mine[l] = array
    return double


def _cells(
    label: str, units: str, activation: str, parameters: int, itemsize: int, flops: int
) -> tuple[str, str, str, str, str, str]:
    size = parameters * itemsize / 1e3
    return label, units, activation, f"{parameters:,}", f"{size:,.1f}", f"{flops:,}"


def _difference(x: Array, y: Array) -> float:
    """Return the largest difference over the largest number."""
    return float(np.abs(x - y).max()) / (float(np.abs(y).max()) or 1.0)
