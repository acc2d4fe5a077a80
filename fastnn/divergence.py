"""Where training diverged: the steps are taken again, up to the first bad one, which is looked at.

This costs nothing as long as all goes well.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fastnn import backends
from fastnn.activations import Array
from fastnn.backends import reference
from fastnn.inspection import in_float64
from fastnn.parameters import Parameters

if TYPE_CHECKING:
    from fastnn.loop import _Training


def is_finite(training: _Training) -> bool:
    """Tell whether the parameters, and what the optimizer remembers, are finite."""
    vectors = [training.net.parameters, *(slot.vector for slot in training.state.slots)]
    return all(np.isfinite(vector).all() for vector in vectors)


def explain(
    training: _Training, epoch: int, start: int, rows: Array, rates: Array, keys: Array
) -> str:
    """Return what happened in the first of some steps that went wrong, and what to try.

    The run is brought back to the moment before these steps.

    Parameters
    ----------
    training : _Training
    epoch, start : int
        The epoch's number, and that of the first of the steps within it, counted from 0.
    rows, rates, keys : ndarray
        As for ``train_steps``, see `fastnn.backends`.
    """
    run, net, moment = training.run, training.net, training.moment

    def fails(count: int) -> bool:
        moment.restore(training)
        return not _take(training, rows, rates[:count], keys)

    try:
        # What is not finite stays so: the number of steps that go well can be halved in on.
        step = bisect.bisect_left(range(1, len(rates)), True, key=fails)
        moment.restore(training)
        _take(training, rows, rates[:step], keys)
        first = step * run.batch_size
        batch = slice(first, first + run.batch_size)
        what, norm = _look(training, rows[batch], rates[step : step + 1], keys[:, batch])
    finally:
        moment.restore(training)
    tries = ["a lower learning_rate"]
    if run.rule.clip_norm is None:
        tries.append("clip_norm=1")
    if net.input_scaler is None:
        tries.append("inputs scaled to about -1 .. 1")
    return (
        f"{what} is no longer finite in epoch {epoch}, step {start + step + 1}, at a learning rate "
        f"of {rates[step]:g} and a gradient norm of {norm:.3g}; the parameters from before were "
        f"restored. Try {' or '.join(tries)}"
    )


def _take(training: _Training, rows: Array, rates: Array, keys: Array) -> bool:
    """Take as many steps as there are rates; tell whether all is finite then."""
    if len(rates) == 0:
        return True
    net, data, run = training.net, training.data, training.run
    part = slice(len(rates) * run.batch_size)
    taken = backends.get(net.backend).train_steps(
        net, data.X, data.Y, data.weights, rows[part], run.batch_size, rates, run.rule,
        keys[:, part], training.state, np.empty(len(rates)),
    )  # fmt: skip
    return taken == len(rates) and is_finite(training)


def _look(training: _Training, rows: Array, rate: Array, keys: Array) -> tuple[str, float]:
    """Take a step that fails; return what is not finite then, and the norm of the gradient.

    The norm is that of the layers that are not frozen, before clipping, in float64.
    """
    net, data, rule = training.net, training.data, training.run.rule
    X, Y = data.X[rows], data.Y[rows]
    weights = None if data.weights is None else data.weights[rows]
    outs = [np.empty((len(X), size), net.architecture.dtype) for size in net.architecture.sizes[1:]]
    reference.activations(net, X, outs)
    gradients = []
    for each in (net, in_float64(net)):
        gradient = Parameters(each.architecture)
        reference.loss_and_gradient(each, X, Y, weights, rule.objective, keys, gradient)
        gradients.append(gradient)
    own, exact = gradients
    with np.errstate(over="ignore", invalid="ignore"):
        moving = [l for l in range(len(outs)) if l not in rule.frozen]
        arrays = [views[l] for views in (exact.weights, exact.biases) for l in moving]
        norm = np.sqrt(sum(np.square(array).sum() for array in arrays))
    # The loss stops a step before anything has changed; all else is in what it leaves.
    taken = backends.get(net.backend).train_steps(
        net, data.X, data.Y, data.weights, rows, training.run.batch_size, rate, rule, keys,
        training.state, np.empty(1),
    )  # fmt: skip
    last = len(outs) - 1
    slots = training.state.slots
    for name, layers in (
        ("an activation", _spoilt(outs)),
        ("the loss", [last] if taken == 0 else []),
        ("a gradient", _spoilt(own.weights, own.biases)[::-1]),  # which go backward
        ("a parameter", _spoilt(net.weights, net.biases)),
    ):
        if layers:
            return f"{name} of layer {layers[0]}", float(norm)
    remembered = [l for slot in slots for l in _spoilt(slot.weights, slot.biases)]
    return f"what the optimizer remembers of layer {min(remembered, default=last)}", float(norm)


def _spoilt(*arrays: Sequence[Array]) -> list[int]:
    """Return the layers for which an array is not finite."""
    return [
        l
        for l, several in enumerate(zip(*arrays, strict=True))
        if not all(np.isfinite(array).all() for array in several)
    ]
