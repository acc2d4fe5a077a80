"""The reference backend in NumPy, written to be read: each function is its formula.

For a network with layers ``l = 1 .. L``, inputs ``A_0 = X`` (n, fan_in), weights ``W_l`` (fan_in,
fan_out) and the weights ``v`` (n,) of the rows, with mean 1:

    forward     Z_l = A_(l-1) W_l + b_l            A_l = f_l(Z_l) * M_l
    backward    D_L = v dloss/dZ_L                 D_(l-1) = D_l W_l^T * f'_(l-1)(Z_(l-1)) * M_(l-1)
    gradient    dloss/dW_l = A_(l-1)^T D_l / n     dloss/db_l = sum of the rows of D_l / n

as in Rumelhart, Hinton and Williams, "Learning representations by back-propagating errors" (1986).
M is 1; in training with dropout it is 0 for units left out and more than 1 for the others. With
augmentation X and the targets are those that `fastnn.backends.augmenting` makes of the rows. Both
factors of each matrix product, A W, D W^T and A^T D, are `rounded` first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fastnn.activations import ACTIVATIONS, Array
from fastnn.averaging import EMA
from fastnn.backends import augmenting, dropout
from fastnn.backends.contract import (
    FINE,
    NOT_FINITE,
    UNSURE,
    WRONG_LENGTH,
    Examples,
    Objective,
    UpdateRule,
)
from fastnn.column_rows import ColumnRows
from fastnn.losses import Pair, matrix, pair, smoothed
from fastnn.model.model import Model
from fastnn.model.optimizer_state import Averaged, OptimizerState
from fastnn.model.parameters import Parameters
from fastnn.optimizers import SMALLEST_FACTOR, AdamW, Optimizer
from fastnn.precision import to_bfloat16
from fastnn.sparse_rows import Rows, SparseRows, stored

# The caller notices numbers that overflow, as with the compiled backend.
quietly = np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore")

# Rows in a block: functions of all rows work block by block, to bound the memory.
BLOCK = 512


def prepare(
    model: Model,
    announce: Callable[[], object] = lambda: None,
    rule: UpdateRule | None = None,
    batch_sizes: Sequence[int] = (),
    sparse: bool = False,
    halves: bool = False,
) -> float:
    """Return 0 seconds: there is nothing to compile."""
    return 0.0


@quietly
def predict(model: Model, X: Rows, out: Array) -> bool:
    """Write the outputs for all rows of X into ``out``; see `contract`."""
    finite = True
    for rows in _blocks(len(X)):
        block = inputs(model, X, rows)
        finite &= bool(np.isfinite(stored(block)).all())
        out[rows] = forward(model, block)[1][-1]
    return finite


def single(model: Model) -> Callable[[Array, Array], int]:
    """Return the function that predicts one row of the network; see `contract`."""

    @quietly
    def predict_one(x: Array, out: Array) -> int:
        if x.shape != model.weights[0].shape[:1] or out.shape != model.biases[-1].shape:
            return WRONG_LENGTH
        if not np.isfinite(x).all():
            return NOT_FINITE
        out[:] = forward(model, inputs(model, x[None], slice(None)))[1][-1][0]
        return FINE

    return predict_one


def learner(
    model: Model, optimizer: Optimizer, state: OptimizerState, target: Array
) -> Callable[[Array, float], float]:
    """Return a function that is never sure, so that `train_steps` takes the step."""
    return lambda x, rate: UNSURE


@quietly
def activations(model: Model, X: Rows, outs: Sequence[Array]) -> None:
    """Write the activations of each layer into ``outs``; see `contract`."""
    for rows in _blocks(len(X)):
        for out, a in zip(outs, forward(model, inputs(model, X, rows))[1][1:], strict=True):
            out[rows] = a


@quietly
def loss(model: Model, examples: Examples, out: Array) -> float:
    """Return the mean loss, and write the outputs into ``out``; see `contract`."""
    total = 0.0
    for rows in _blocks(len(examples.X)):
        z, a = forward(model, inputs(model, examples.X, rows))
        out[rows] = a[-1]
        losses = _pair(model).value(z[-1], a[-1], targets(model, examples.Y, rows))
        if examples.weights is not None:
            losses = losses * examples.weights[rows]
        total += losses.sum(dtype=np.float64)
    return float(total / len(examples.X))


@quietly
def input_gradient(model: Model, X: Array, Y: Array, out: Array) -> None:
    """Write the gradients with respect to the inputs into ``out``; see `contract`."""
    for rows in _blocks(len(X)):
        t = targets(model, Y, rows)
        deltas = backpropagate(model, inputs(model, X, rows), t, None, [])[2]
        out[rows] = rounded(model, deltas[0]) @ rounded(model, model.weights[0]).T


@quietly
def loss_and_gradient(
    model: Model, examples: Examples, objective: Objective, keys: Array, gradient: Parameters
) -> float:
    """Return the loss with its penalty and fill ``gradient``; see `contract`."""
    total, count = 0.0, len(examples.X)
    gradient.vector[:] = 0
    for rows in _blocks(count):
        total += _add_gradient(model, examples, rows, objective, keys[:, rows], gradient)
    penalty = 0.0
    for w, g in zip(model.weights, gradient.weights, strict=True):
        g[...] = g / count + objective.l2 * w + objective.l1 * np.sign(w)
        penalty += objective.l2 / 2 * np.square(w, dtype=np.float64).sum()
        penalty += objective.l1 * np.abs(w).sum(dtype=np.float64)
    for g in gradient.biases:
        g /= count
    return float(total / count + penalty)


@quietly
def train_steps(
    model: Model,
    examples: Examples,
    order: Array,
    batch_size: int,
    rates: Array,
    rule: UpdateRule,
    keys: Array,
    state: OptimizerState,
    losses: Array,
) -> int:
    """Take one step per batch; see `contract`."""
    gradient = Parameters(model.architecture)
    for step, rate in enumerate(rates.tolist()):
        batch = slice(step * batch_size, min((step + 1) * batch_size, len(order)))
        rows = order[batch]
        total = batch_gradient(
            model, examples, rows, batch_size, len(rows), rule, keys[:, batch], gradient
        )
        losses[step] = total / len(rows)
        if not np.isfinite(losses[step]):
            return step
        update(model, gradient, rate, rule, state)
    return len(rates)


@quietly
def batch_gradient(
    model: Model,
    examples: Examples,
    order: Array,
    batch_size: int,
    count: int,
    rule: UpdateRule,
    keys: Array,
    gradient: Parameters,
) -> float:
    """Write the gradient of some rows of a batch; see `contract`."""
    gradient.vector[:] = 0
    total = _add_gradient(model, examples, order, rule.objective, keys, gradient)
    gradient.vector[:] /= count
    return total


@quietly
def update(
    model: Model, gradient: Parameters, rate: float, rule: UpdateRule, state: OptimizerState
) -> None:
    """Change the parameters by the gradient of a whole batch; see `contract`."""
    objective = rule.objective
    layers = [l for l in range(len(model.weights)) if l not in rule.frozen]
    of_weights, of_biases = rule.optimizer.factors(len(model.weights))
    factors_of_inputs = state.inputs if 0 in layers else None
    slopes_of_factors = []
    if factors_of_inputs is not None:
        slopes_of_factors = [_divide(model, gradient, factors_of_inputs[0])]
    for l in layers:
        w = model.weights[l]
        gradient.weights[l][...] += objective.l2 * w + objective.l1 * np.sign(w)
    parts = [g[l] for l in layers for g in (gradient.weights, gradient.biases)]
    _clip([*parts, *slopes_of_factors], rule)
    state.steps += 1
    for l in layers:
        if isinstance(rule.optimizer, AdamW):
            model.weights[l][...] *= 1 - rate * rule.optimizer.weight_decay
        for values, slopes, slots, factor in (
            (model.weights, gradient.weights, [s.weights[l] for s in state.slots], of_weights),
            (model.biases, gradient.biases, [s.biases[l] for s in state.slots], of_biases),
        ):
            rule.optimizer.update(values[l], slopes[l], slots, rate * factor[l], state.steps)
        if rule.max_norm is not None:
            norms = np.sqrt(np.square(model.weights[l]).sum(axis=0))
            model.weights[l][...] *= np.minimum(1, rule.max_norm / np.maximum(norms, 1e-30))
    if factors_of_inputs is not None:
        factors, *slots = factors_of_inputs
        own_rate = rate * (rule.optimizer.input_factor or 0)
        rule.optimizer.update(factors, slopes_of_factors[0], slots, own_rate, state.steps)
        factors[:] = np.copysign(np.maximum(np.abs(factors), SMALLEST_FACTOR), factors)
        model.weights[0][...] *= factors[:, None]
    if rule.average is not None and state.average is not None:
        _average(model, rule.average, state.average)


def _average(model: Model, rule: EMA, average: Averaged) -> None:
    """Move an average towards the parameters, by the share of this step."""
    average.steps += 1
    share = rule.share(average.steps)
    if share:
        average.moments += 1
        average.parameters.vector[:] += share * (model.vector - average.parameters.vector)


def _divide(model: Model, gradient: Parameters, factors: Array) -> Array:
    """Divide the first weights by the inputs' factors, of which they are a product.

    The gradient becomes that of the quotients; return that of the factors.
    """
    w, g = model.weights[0], gradient.weights[0]
    w /= factors[:, None]
    slopes: Array = (w * g).sum(axis=1)
    g *= factors[:, None]
    return slopes


def _add_gradient(
    model: Model,
    examples: Examples,
    rows: slice | Array,
    objective: Objective,
    keys: Array,
    gradient: Parameters,
) -> float:
    """Add the gradients of some rows' losses to ``gradient``; return the sum of the losses."""
    own_keys = keys[len(model.weights) :]
    x = augmented_inputs(model, examples, rows, objective, own_keys)
    t, v = augmented_targets(model, examples, rows, objective, own_keys)
    if objective.label_smoothing:
        t = smoothed(t, objective.label_smoothing, model.architecture.output)
    masks = [
        dropout.multipliers(keys[l], layer.fan_in, objective.dropout[l], model.architecture.dtype)
        for l, layer in enumerate(model.architecture.layers)
        if objective.drops and not (l == 0 and isinstance(x, SparseRows))
    ]
    if objective.drops and isinstance(x, SparseRows):  # of the numbers that are stored
        masks.insert(0, dropout.multipliers_of(keys[0], x, objective.dropout[0]))
    losses, a, deltas = backpropagate(model, scaled(model, x), t, v, masks)
    for l, delta in enumerate(deltas):
        gradient.weights[l][...] += rounded(model, a[l]).T @ rounded(model, delta)
        gradient.biases[l][...] += delta.sum(axis=0)
    return float(losses.sum(dtype=np.float64))


def _clip(arrays: Sequence[Array], rule: UpdateRule) -> None:
    """Limit the norm of a gradient in several arrays, then each element (Pascanu et al., 2013)."""
    if rule.clip_norm is not None:
        norm = np.sqrt(sum(np.square(g, dtype=np.float64).sum() for g in arrays))
        if norm > rule.clip_norm:
            for g in arrays:
                g *= rule.clip_norm / norm
    if rule.clip_value is not None:
        for g in arrays:
            np.clip(g, -rule.clip_value, rule.clip_value, out=g)


def forward(model: Model, x: Any, masks: Sequence[Array] = ()) -> tuple[list[Array], list[Any]]:
    """Return the weighted inputs Z_1 .. Z_L, and the activations A_0 .. A_L."""
    z: list[Array] = []
    a: list[Any] = [x * masks[0] if masks else x]
    for l, name in enumerate(model.architecture.activations):
        z.append(rounded(model, a[-1]) @ rounded(model, model.weights[l]) + model.biases[l])
        a.append(ACTIVATIONS[name].function(z[-1]))
        if l + 1 < len(masks):
            a[-1] = a[-1] * masks[l + 1]
    return z, a


def backpropagate(
    model: Model, x: Any, t: Array, weights: Array | None, masks: Sequence[Array]
) -> tuple[Array, list[Any], list[Array]]:
    """Return the rows' losses (n,), the activations A_0 .. A_L and the deltas D_1 .. D_L."""
    z, a = forward(model, x, masks)
    losses, deltas = _pair(model).value(z[-1], a[-1], t), [_pair(model).delta(a[-1], t)]
    if weights is not None:
        losses, deltas = losses * weights, [deltas[0] * weights[:, None]]
    for l in range(len(model.weights) - 1, 0, -1):
        derivative = ACTIVATIONS[model.architecture.activations[l - 1]].derivative
        assert derivative is not None
        delta = rounded(model, deltas[0]) @ rounded(model, model.weights[l]).T
        delta *= derivative(z[l - 1])
        deltas.insert(0, delta * masks[l] if masks else delta)
    return losses, a, deltas


def rounded(model: Model, factor: Any) -> Any:
    """Return a factor of a matrix product in the network's precision."""
    if not model.architecture.rounds:
        return factor
    if isinstance(factor, SparseRows):
        return replace(factor, data=to_bfloat16(factor.data))
    return to_bfloat16(factor)


def inputs(model: Model, X: Rows, rows: slice | Array) -> Any:
    """Return some rows in the network's dtype, standardised if the network does so."""
    return scaled(model, converted(model, X, rows))


def converted(model: Model, X: Rows, rows: slice | Array) -> Any:
    """Return some rows in the network's dtype; uint8 means pixels, which are divided by 255."""
    dtype = model.architecture.dtype
    x = X[rows].astype(dtype)
    if X.dtype == np.uint8:
        x *= dtype.type(1) / dtype.type(255)
    return x


def scaled(model: Model, x: Any) -> Any:
    """Return rows standardised, if the network does so."""
    if model.input_scaler is None:
        return x
    return (x - model.input_scaler.mean) * model.input_scaler.scale


def augmented_inputs(
    model: Model, examples: Examples, rows: slice | Array, objective: Objective, keys: Array
) -> Any:
    """Return some rows as `converted` does, augmented; the keys are those of the augmentations."""
    return augmenting.inputs(
        objective.augment,
        lambda rows: converted(model, examples.X, rows),
        examples.drawn,
        rows,
        keys,
    )


def augmented_targets(
    model: Model, examples: Examples, rows: slice | Array, objective: Objective, keys: Array
) -> tuple[Array, Array | None]:
    """Return the targets of some rows, and their weights or None, augmented."""

    def read(rows: slice | Array) -> tuple[Array, Array | None]:
        weights = None if examples.weights is None else examples.weights[rows]
        return targets(model, examples.Y, rows), weights

    return augmenting.targets(objective.augment, read, examples.drawn, rows, keys)


def targets(model: Model, Y: Array, rows: slice | Array) -> Array:
    """Return the targets of some rows (n, outputs); labels become one-hot rows."""
    return matrix(Y[rows], model.architecture.sizes[-1], model.architecture.dtype)


def write_columns(columns: ColumnRows, out: Array) -> None:
    """Write columns into rows; see `contract`."""
    columns.write(out)


def _pair(model: Model) -> Pair:
    return pair(model.architecture.output, model.architecture.loss)


def _blocks(rows: int) -> Iterator[slice]:
    for first in range(0, rows, BLOCK):
        yield slice(first, min(first + BLOCK, rows))
