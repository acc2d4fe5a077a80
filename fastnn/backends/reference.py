"""The reference backend: NumPy, written to be read. Each function is its formula.

For a network with layers ``l = 1 .. L``, inputs ``A_0 = X`` (n, fan_in) and weights ``W_l``
(fan_in, fan_out):

    forward     Z_l = A_(l-1) W_l + b_l            A_l = f_l(Z_l)
    backward    D_L = dloss/dZ_L                   D_(l-1) = D_l W_l^T * f'_(l-1)(A_(l-1))
    gradient    dloss/dW_l = A_(l-1)^T D_l / n     dloss/db_l = sum of the rows of D_l / n

as in Rumelhart, Hinton and Williams, "Learning representations by back-propagating errors" (1986).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from fastnn.activations import ACTIVATIONS, Array
from fastnn.backends import FINE, NOT_FINITE, WRONG_LENGTH
from fastnn.losses import PAIRS, Pair

if TYPE_CHECKING:
    from fastnn.network import Network
    from fastnn.parameters import Parameters

# Numbers that overflow are the caller's to notice, as with the compiled backend.
quietly = np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore")

# Rows taken through the network at once where all rows are asked for, to bound the memory.
BLOCK = 512


def prepare(
    dtype: np.dtype, announce: Callable[[], object] = lambda: None, one_row: bool = False
) -> float:
    """Do nothing: there is nothing to compile."""
    return 0.0


@quietly
def predict(net: Network, X: Array, out: Array) -> bool:
    """Write the outputs for all rows of X into ``out``; see `fastnn.backends`."""
    finite = True
    for rows in _blocks(len(X)):
        block = inputs(net, X, rows)
        finite &= bool(np.isfinite(block).all())
        out[rows] = forward(net, block)[1][-1]
    return finite


def single(net: Network) -> Callable[[Array, Array], int]:
    """Return the function that predicts one row of the network; see `fastnn.backends`."""

    @quietly
    def predict_one(x: Array, out: Array) -> int:
        for array in (x, out):
            if not isinstance(array, np.ndarray) or array.dtype != net.architecture.dtype:
                raise TypeError
            if array.ndim != 1 or not array.flags.carray:
                raise TypeError
        if x.shape != net.weights[0].shape[:1] or out.shape != net.biases[-1].shape:
            return WRONG_LENGTH
        if not np.isfinite(x).all():
            return NOT_FINITE
        out[:] = forward(net, x[None])[1][-1][0]
        return FINE

    return predict_one


@quietly
def loss(net: Network, X: Array, Y: Array, out: Array) -> float:
    """Return the mean loss, and write the outputs into ``out``; see `fastnn.backends`."""
    total = 0.0
    for rows in _blocks(len(X)):
        z, a = forward(net, inputs(net, X, rows))
        out[rows] = a[-1]
        total += _pair(net).value(z, a[-1], targets(net, Y, rows)).sum(dtype=np.float64)
    return total / len(X)


@quietly
def loss_and_gradient(net: Network, X: Array, Y: Array, l2: float, gradient: Parameters) -> float:
    """Return the loss with its penalty and fill ``gradient``; see `fastnn.backends`."""
    total = 0.0
    gradient.vector[:] = 0
    for rows in _blocks(len(X)):
        losses, a, deltas = backpropagate(net, inputs(net, X, rows), targets(net, Y, rows))
        total += losses.sum(dtype=np.float64)
        for l, delta in enumerate(deltas):
            gradient.weights[l][...] += a[l].T @ delta / len(X)
            gradient.biases[l][...] += delta.sum(axis=0) / len(X)
    penalty = 0.0
    for weights, g in zip(net.weights, gradient.weights, strict=True):
        g += l2 * weights
        penalty += l2 / 2 * np.square(weights, dtype=np.float64).sum()
    return total / len(X) + penalty


@quietly
def train_steps(
    net: Network,
    X: Array,
    Y: Array,
    order: Array,
    batch_size: int,
    rates: Array,
    l2: float,
    losses: Array,
) -> int:
    """Take a step of gradient descent a batch; see `fastnn.backends`."""
    for step, rate in enumerate(rates.tolist()):
        rows = order[step * batch_size : (step + 1) * batch_size]
        row_losses, a, deltas = backpropagate(net, inputs(net, X, rows), targets(net, Y, rows))
        losses[step] = row_losses.mean(dtype=np.float64)
        if not np.isfinite(losses[step]):
            return step
        for l, delta in enumerate(deltas):
            net.weights[l][...] *= 1 - rate * l2
            net.weights[l][...] -= rate / len(rows) * (a[l].T @ delta)
            net.biases[l][...] -= rate / len(rows) * delta.sum(axis=0)
    return len(rates)


def forward(net: Network, x: Array) -> tuple[Array, list[Array]]:
    """Return the weighted inputs of the last layer, and the activations from the inputs on."""
    activations = [x]
    for name, weights, biases in zip(
        net.architecture.activations, net.weights, net.biases, strict=True
    ):
        z = activations[-1] @ weights + biases
        activations.append(ACTIVATIONS[name].function(z))
    return z, activations


def backpropagate(net: Network, x: Array, t: Array) -> tuple[Array, list[Array], list[Array]]:
    """Return the rows' losses (n,), the activations A_0 .. A_L and the deltas D_1 .. D_L."""
    z, a = forward(net, x)
    deltas = [_pair(net).delta(a[-1], t)]
    for l in range(len(net.weights) - 1, 0, -1):
        derivative = ACTIVATIONS[net.architecture.activations[l - 1]].derivative
        assert derivative is not None
        deltas.insert(0, deltas[0] @ net.weights[l].T * derivative(a[l]))
    return _pair(net).value(z, a[-1], t), a, deltas


def inputs(net: Network, X: Array, rows: slice | Array) -> Array:
    """Return some rows in the network's dtype; bytes are pixels, scaled from 0..255 to 0..1."""
    dtype = net.architecture.dtype
    x = X[rows].astype(dtype)
    return x * (dtype.type(1) / dtype.type(255)) if X.dtype == np.uint8 else x


def targets(net: Network, Y: Array, rows: slice | Array) -> Array:
    """Return the targets of some rows (n, outputs); a label becomes a 1 in its place."""
    dtype = net.architecture.dtype
    if Y.ndim == 2:
        return Y[rows].astype(dtype)
    return (Y[rows][:, None] == np.arange(net.architecture.sizes[-1])).astype(dtype)


def _pair(net: Network) -> Pair:
    return PAIRS[net.architecture.activations[-1], net.architecture.loss]


def _blocks(rows: int) -> Iterator[slice]:
    for first in range(0, rows, BLOCK):
        yield slice(first, min(first + BLOCK, rows))
