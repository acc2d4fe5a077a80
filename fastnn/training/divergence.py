"""Where training diverged: the steps are taken again, up to the first bad one, which is looked at.

This costs nothing as long as all goes well.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence

import numpy as np

from fastnn import backends
from fastnn.activations import Array
from fastnn.backends import reference
from fastnn.backends.contract import Examples
from fastnn.model.model import in_float64
from fastnn.model.parameters import Parameters
from fastnn.training.run import Run


def explain(run: Run, epoch: int, start: int, rows: Array, rates: Array, keys: Array) -> str:
    """Return what happened in the first of some steps that went wrong, and what to try.

    The run is brought back to the moment before these steps.

    Parameters
    ----------
    run : Run
    epoch, start : int
        The epoch's number, and that of the first of the steps within it, counted from 0.
    rows, rates, keys : ndarray
        As for ``train_steps``, see `fastnn.backends.contract`.
    """
    moment, batch_size = run.moment, run.settings.batch_size

    def fails(count: int) -> bool:
        moment.restore(run)
        return not _take(run, rows, rates[:count], keys)

    try:
        # What is not finite stays so: the number of steps that go well can be halved in on.
        step = bisect.bisect_left(range(1, len(rates)), True, key=fails)
        moment.restore(run)
        _take(run, rows, rates[:step], keys)
        batch = slice(step * batch_size, (step + 1) * batch_size)
        what, norm = _look(run, rows[batch], rates[step : step + 1], keys[:, batch])
    finally:
        moment.restore(run)
    tries = ["a lower learning_rate"]
    if run.settings.clip_norm is None:
        tries.append("clip_norm=1")
    if run.model.input_scaler is None:
        tries.append("inputs scaled to about -1 .. 1")
    return (
        f"{what} is no longer finite in epoch {epoch}, step {start + step + 1}, at a learning rate "
        f"of {rates[step]:g} and a gradient norm of {norm:.3g}; the parameters from before were "
        f"restored. Try {' or '.join(tries)}"
    )


def _take(run: Run, rows: Array, rates: Array, keys: Array) -> bool:
    """Take as many steps as there are rates; tell whether all is finite then."""
    if len(rates) == 0:
        return True
    part = slice(len(rates) * run.settings.batch_size)
    return _steps(run, rows[part], rates, keys[:, part]) == len(rates) and run.is_finite


def _steps(run: Run, rows: Array, rates: Array, keys: Array) -> int:
    """Take steps; return how many were taken."""
    settings = run.settings
    taken: int = backends.get(run.model.backend).train_steps(
        run.model, run.examples, rows, settings.batch_size, rates, settings.rule, keys, run.state,
        np.empty(len(rates)),
    )  # fmt: skip
    return taken


def _look(run: Run, rows: Array, rate: Array, keys: Array) -> tuple[str, float]:
    """Take a step that fails; return what is not finite then, and the norm of the gradient.

    The norm is that of the layers that are not frozen, before clipping, in float64.
    """
    model, rule, examples = run.model, run.settings.rule, run.examples
    weights = None if examples.weights is None else examples.weights[rows]
    batch = Examples(examples.X[rows], examples.Y[rows], weights)
    X, architecture = batch.X, model.architecture
    outs = [np.empty((len(X), size), architecture.dtype) for size in architecture.sizes[1:]]
    reference.activations(model, X, outs)
    gradients = []
    for each in (model, in_float64(model)):
        gradient = Parameters(each.architecture)
        reference.loss_and_gradient(each, batch, rule.objective, keys, gradient)
        gradients.append(gradient)
    own, exact = gradients
    with np.errstate(over="ignore", invalid="ignore"):
        moving = [l for l in range(len(outs)) if l not in rule.frozen]
        arrays = [views[l] for views in (exact.weights, exact.biases) for l in moving]
        norm = np.sqrt(sum(np.square(array).sum() for array in arrays))
    # The loss stops a step before anything has changed; all else is in what it leaves.
    taken = _steps(run, rows, rate, keys)
    last = len(outs) - 1
    slots = run.state.slots
    for name, layers in (
        ("an activation", _spoilt(outs)),
        ("the loss", [last] if taken == 0 else []),
        ("a gradient", _spoilt(own.weights, own.biases)[::-1]),  # which go backward
        ("a parameter", _spoilt(model.weights, model.biases)),
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
