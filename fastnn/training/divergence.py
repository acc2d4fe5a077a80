"""Why training diverged: take the steps again up to the first bad one, and examine that one.

A run that does not diverge pays nothing for this.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fastnn.activations import Array
from fastnn.backends import reference
from fastnn.backends.contract import Examples
from fastnn.model.model import in_float64
from fastnn.model.parameters import Parameters
from fastnn.training.health import remedies
from fastnn.training.run import Run


def explain(
    run: Run, epoch: int, start: int, rows: Array, sizes: Array, rates: Array, keys: Array
) -> str:
    """Return the message of a `DivergenceError`: what is not finite, where, and what to try.

    The run is restored to the moment before the steps.

    Parameters
    ----------
    run : Run
    epoch, start : int
        The number of the epoch, and of the first step within it, counted from 0.
    rows, sizes, rates, keys : ndarray
        As for `processes.OneProcess.train_steps`.
    """
    batch_size = run.batches.own

    def fails(count: int) -> bool:
        run.go_back()
        return not _take(run, rows, sizes, rates[:count], keys)

    try:
        # What is not finite stays so: a binary search finds how many steps go well.
        step = bisect.bisect_left(range(1, len(rates)), True, key=fails)
        run.go_back()
        _take(run, rows, sizes, rates[:step], keys)
        batch, one = slice(step * batch_size, (step + 1) * batch_size), slice(step, step + 1)
        what, norm = _look(run, rows[batch], sizes[one], rates[one], keys[:, batch])
    finally:
        run.go_back()
    message = (
        f"{what} is no longer finite in epoch {epoch}, step {start + step + 1}, at a learning rate "
        f"of {rates[step]:g} and a gradient norm of {norm:.3g}; the parameters from before are "
        f"restored. Try {', '.join(remedies(run))}"
    )
    return run.team.of_first(lambda: message)


def _take(run: Run, rows: Array, sizes: Array, rates: Array, keys: Array) -> bool:
    """Take as many steps as there are rates; return whether everything stays finite."""
    if len(rates) == 0:
        return True
    part = slice(len(rates) * run.batches.own)
    taken = _steps(run, rows[part], sizes[: len(rates)], rates, keys[:, part])
    return taken == len(rates) and run.is_finite


def _steps(run: Run, rows: Array, sizes: Array, rates: Array, keys: Array) -> int:
    """Take steps; return how many were taken."""
    return run.team.train_steps(run, rows, sizes, rates, keys, np.empty(len(rates)))


def _look(run: Run, rows: Array, sizes: Array, rate: Array, keys: Array) -> tuple[str, float]:
    """Take a step that fails; return what is not finite, and the norm of the gradient.

    The norm is computed in float64, before clipping, and without frozen layers; of several
    processes each looks at its own rows of the batch.
    """
    model, rule, examples = run.model, run.settings.rule, run.examples
    objective, depth = rule.objective, len(model.weights)
    own_keys = keys[depth:]
    X, architecture = examples.X[rows], model.architecture
    if objective.augment:
        X = reference.augmented_inputs(model, examples, rows, objective, own_keys)
    Y, weights = reference.augmented_targets(model, examples, rows, objective, own_keys)
    batch, objective = Examples(X, Y, weights), replace(objective, augment=())
    outs = [np.empty((len(X), size), architecture.dtype) for size in architecture.sizes[1:]]
    reference.activations(model, X, outs)
    gradients = []
    for each in (model, in_float64(model)):
        gradient = Parameters(each.architecture)
        if len(rows):
            reference.loss_and_gradient(each, batch, objective, keys[:depth], gradient)
        gradients.append(gradient)
    own, exact = gradients
    with np.errstate(over="ignore", invalid="ignore"):
        layers = [l for l in range(len(outs)) if l not in rule.frozen]
        arrays = [views[l] for views in (exact.weights, exact.biases) for l in layers]
        norm = np.sqrt(sum(np.square(array).sum() for array in arrays))
    # A loss that is not finite stops the step before it changes anything.
    taken = _steps(run, rows, sizes, rate, keys)
    state = {l for slot in run.state.slots for l in _not_finite(slot.weights, slot.biases)}
    if run.state.inputs is not None and not np.isfinite(run.state.inputs).all():
        state.add(0)
    candidates: dict[str, Sequence[int | None]] = {
        "an activation": _not_finite(outs),
        "the loss": [None] if taken == 0 else [],
        "a gradient": _not_finite(own.weights, own.biases)[::-1],  # computed from the last layer on
        "a parameter": _not_finite(model.weights, model.biases),
        "the optimizer's state": sorted(state) or [len(outs) - 1],
    }
    name, first = next((name, found[0]) for name, found in candidates.items() if found)
    return name if first is None else f"{name} of layer {first}", float(norm)


def _not_finite(*arrays: Sequence[Array]) -> list[int]:
    """Return the layers for which an array is not finite."""
    return [
        l
        for l, several in enumerate(zip(*arrays, strict=True))
        if not all(np.isfinite(array).all() for array in several)
    ]
