"""The compiled backend: Numba kernels that run many mini-batches in one call.

Here arguments become tables and addresses; the kernels are in `kernels`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numba.core import event

from fastnn.activations import Array
from fastnn.backends import dropout
from fastnn.backends.compiled import functions as units
from fastnn.backends.compiled import plan as planning
from fastnn.backends.compiled.kernels import batches as steps
from fastnn.backends.compiled.kernels import one_row, table
from fastnn.backends.compiled.kernels import products as gemm
from fastnn.backends.compiled.machinery import threads, vector_ir
from fastnn.backends.compiled.plan import NO_PENALTY
from fastnn.backends.contract import Examples, Objective, UpdateRule
from fastnn.losses import GIVEN, LOSSES, evaluated, matrix
from fastnn.model.architecture import padded
from fastnn.model.model import Model
from fastnn.model.optimizer_state import OptimizerState
from fastnn.model.parameters import Parameters, aligned_zeros
from fastnn.optimizers import PLAIN

# Rows of weights that have room in the buffer in which a gradient is made part by part.
STEPPED_ROWS = 64
# Bytes of inputs and activations that a block of predictions takes in the second-level cache.
NEAR = 512 * 1024
# Rows whose gradients are summed in one go.
BLOCK = 512

NOTHING = np.empty(0)
NO_CHANGE = np.empty((0, 0))
NO_TARGET = np.full(4, table.NONE, np.int64)


def prepare(
    model: Model,
    announce: Callable[[], object] = lambda: None,
    rule: UpdateRule | None = None,
    one_row: bool = False,
) -> float:
    """Compile the kernels for a network, or load them from the cache; see `contract`."""
    start = time.perf_counter()
    with event.install_listener("numba:compile", units.Announcer(announce)):
        objective = rule.objective if rule else NO_PENALTY
        needed = units.needed(model, objective, rule, one_row and planning.singly(rule))
        units.functions(model.architecture.dtype, needed)
    return time.perf_counter() - start


def warmup(dtype: np.dtype) -> float:
    """Compile all kernels for a dtype, or load them from the cache; return the seconds it took."""
    start = time.perf_counter()
    units.functions(dtype, units.UNITS)
    return time.perf_counter() - start


def predict(model: Model, X: Array, out: Array) -> bool:
    """Write the outputs for all rows of X into ``out``; see `contract`."""
    layers, itemsize = model.architecture.layers, model.architecture.dtype.itemsize
    row = itemsize * (padded(layers[0].fan_in, itemsize) + sum(layer.stride for layer in layers))
    block = min(BLOCK, max(vector_ir.GROUP, NEAR // row // vector_ir.GROUP * vector_ir.GROUP))
    losses = np.empty(-(-len(X) // block))  # for each block NaN or 0
    _run(model, X, None, batch_size=block, out=out, losses=losses)
    return bool(np.isfinite(losses).all())


def single(model: Model) -> Callable[[Array, Array], int]:
    """Return the function that predicts one row of the network; see `contract`."""
    needed = units.needed(model, NO_PENALTY, None, one_row=True)
    functions = units.functions(model.architecture.dtype, needed)
    layers, work = planning.workspace(model.architecture, 1, 1)
    lists, scaler = planning.lists_of_one(model.architecture), planning.scaler(model)
    arrays = (functions, layers, model.vector, work, lists, NO_TARGET, scaler)
    addresses = [array.ctypes.data for array in arrays]
    plan = np.array([*addresses, len(layers), len(scaler)])
    dispatcher = one_row.single.dispatcher

    def predict_one(x: Array, out: Array, keep: Any = arrays) -> int:
        return dispatcher(plan, x, out)

    return predict_one


def activations(model: Model, X: Array, outs: Sequence[Array]) -> None:
    """Write the activations of each layer into ``outs``; see `contract`."""
    for first in range(0, len(X), BLOCK):
        rows = slice(first, min(first + BLOCK, len(X)))
        work, layers = _run(model, X[rows], None, alone=True).work
        for out, layer in zip(outs, layers, strict=True):
            out[rows] = _block(work, layer[table.OUTPUT], layer[table.STRIDE], out[rows])


def input_gradient(model: Model, X: Array, Y: Array, out: Array) -> None:
    """Write the gradients with respect to the inputs into ``out``; see `contract`."""
    for first in range(0, len(X), BLOCK):
        rows = slice(first, min(first + BLOCK, len(X)))
        y = _learnt(model, X[rows], Y[rows])[1]
        work, layers = _run(model, X[rows], y, alone=True, to_inputs=True).work
        out[rows] = _block(work, layers[0, table.INPUT], layers[0, table.INPUT_STRIDE], out[rows])


def _block(work: Array, start: int, stride: int, like: Array) -> Array:
    """Return a view of rows in the work array, as many and as long as those of an array."""
    rows, columns = like.shape
    return work[start : start + rows * stride].reshape(rows, stride)[:, :columns]


def loss(model: Model, examples: Examples, out: Array) -> float:
    """Return the mean loss, and write the outputs into ``out``; see `contract`."""
    X, Y, weights = examples.X, examples.Y, examples.weights
    if not isinstance(model.architecture.loss, str):
        _run(model, X, None, out=out)
        return _weighted(evaluated(model.architecture.loss, out, _matrix(model, Y))[0], weights)
    losses = np.empty(-(-len(X) // BLOCK))
    _run(model, X, Y, weights, out=out, losses=losses)
    return _mean(losses, len(X))


def loss_and_gradient(
    model: Model, examples: Examples, objective: Objective, keys: Array, gradient: Parameters
) -> float:
    """Return the loss with its penalty and fill ``gradient``; see `contract`."""
    X, Y, weights = examples.X, examples.Y, examples.weights
    gradient.vector[:] = 0
    losses = np.empty(-(-len(X) // BLOCK))
    own, Y = _learnt(model, X, Y, objective=objective, keys=keys)
    numbers = planning.numbers(objective)
    numbers[table.ALPHA] = 1 / len(X)
    _run(
        model, X, Y, weights, losses=losses, numbers=numbers, objective=objective, keys=keys,
        result=gradient.vector,
    )  # fmt: skip
    value = _mean(losses, len(X)) if own is None else _weighted(own, weights)
    for w, g in zip(model.weights, gradient.weights, strict=True):
        if objective.l2:
            g += objective.l2 * w
            value += objective.l2 / 2 * float(np.sum(np.square(w, dtype=np.float64)))
        if objective.l1:
            g += objective.l1 * np.sign(w)
            value += objective.l1 * float(np.abs(w).sum(dtype=np.float64))
    return value


def _mean(losses: Array, rows: int) -> float:
    """Return the mean loss of all rows from the mean losses of their blocks."""
    sizes = np.diff(np.r_[0:rows:BLOCK, rows])
    return float(np.average(losses, weights=sizes))


# Rates beyond the range of the dtype, and what comes of them, are the caller's to notice.
@np.errstate(over="ignore")
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
    """Take a step a batch; see `contract`."""
    X, Y, weights = examples.X, examples.Y, examples.weights
    if len(rates) > 1 and not isinstance(model.architecture.loss, str):
        return _steps_one_by_one(
            model, examples, order, batch_size, rates, rule, keys, state, losses
        )
    own, Y = _learnt(model, X, Y, order=order, objective=rule.objective, keys=keys)
    if own is not None:
        losses[0] = _weighted(own, None if weights is None else weights[order])
        if not np.isfinite(losses[0]):
            return 0
    sizes = np.full(len(rates), batch_size)
    sizes[-1] = len(order) - batch_size * (len(rates) - 1)
    numbers = planning.numbers(rule.objective, rule)
    if planning.plain(rule):
        changing = np.empty((len(rates), table.BETA + 1), model.architecture.dtype)
        changing[:, table.ALPHA] = -rates / sizes
        changing[:, table.BETA] = 1 - rates * rule.objective.l2
    else:
        changing = planning.changing(rates, sizes, rule, state.steps)
    result = model.vector if rule.clip_norm is None else Parameters(model.architecture).vector
    taken = _run(
        model,
        X,
        Y,
        weights,
        order=order,
        batch_size=batch_size,
        losses=losses if own is None else None,
        numbers=numbers,
        changing=changing,
        objective=rule.objective,
        rule=rule,
        state=state,
        keys=keys,
        result=result,
    ).taken
    state.steps += taken
    return taken


def _steps_one_by_one(
    model: Model, examples: Examples, order: Array, batch_size: int, rates: Array,
    rule: UpdateRule, keys: Array, state: OptimizerState, losses: Array,
) -> int:  # fmt: skip
    """Take the steps of a loss that is a function of the user's: it comes between two kernels."""
    for step in range(len(rates)):
        part = slice(step * batch_size, min((step + 1) * batch_size, len(order)))
        one = slice(step, step + 1)
        if not train_steps(
            model, examples, order[part], batch_size, rates[one], rule, keys[:, part], state,
            losses[one],
        ):  # fmt: skip
            return step
    return len(rates)


def _learnt(
    model: Model,
    X: Array,
    Y: Array,
    order: Array = NOTHING,
    objective: Objective = NO_PENALTY,
    keys: Array = dropout.NO_KEYS,
) -> tuple[Array | None, Array]:
    """Return what the kernels learn from, and the losses of the rows if that is a gradient.

    Named losses are the kernels' own: they learn from the targets. A function of the user's gives
    the gradients with respect to the outputs instead.
    """
    loss = model.architecture.loss
    if isinstance(loss, str):
        return None, Y
    rows = order.astype(np.int64) if len(order) else np.arange(len(X))
    out = np.empty((len(rows), model.architecture.sizes[-1]), model.architecture.dtype)
    _run(model, X, None, order=order, objective=objective, keys=keys, out=out)
    values, slopes = evaluated(loss, out, _matrix(model, Y[rows]))
    given = np.empty((len(X), out.shape[1]), out.dtype)  # but for these rows it is not touched
    given[rows] = slopes
    return values, given


def _matrix(model: Model, Y: Array) -> Array:
    return matrix(Y, model.architecture.sizes[-1], model.architecture.dtype)


def _weighted(losses: Array, weights: Array | None) -> float:
    """Return the mean of the losses times their weights."""
    return float(np.mean(losses if weights is None else losses * weights, dtype=np.float64))


class _Done(NamedTuple):
    """How many batches were taken, and the work array with the table of layers."""

    taken: int
    work: tuple[Array, Array]


def _run(
    model: Model,
    X: Array,
    Y: Array | None,
    weights: Array | None = None,
    *,
    order: Array = NOTHING,
    batch_size: int = BLOCK,
    losses: Array | None = None,
    numbers: Array | None = None,
    changing: Array = NO_CHANGE,
    objective: Objective = NO_PENALTY,
    rule: UpdateRule | None = None,
    state: OptimizerState | None = None,
    keys: Array = dropout.NO_KEYS,
    result: Array = NOTHING,
    out: Array = NOTHING,
    to_inputs: bool = False,
    alone: bool = False,
) -> _Done:
    """Go through all rows, or those of the order, in batches; see `batches.run`.

    ``alone``: in memory of its own and on one thread, so that it can be looked at afterwards.
    """
    architecture = model.architecture
    dtype = architecture.dtype
    rows = len(order) or len(X)
    capacity = min(batch_size, rows)
    updating = len(result) > 0
    trial = threads.trial(architecture, capacity, updating)
    count = 1 if alone else trial.choose(_most_threads(model, capacity, updating))
    listed = (
        gemm.lists_size(capacity) if model.input_scaler is None and planning.mostly_zero(X) else 0
    )
    backward, adjust = updating or to_inputs, planning.adjusts(model, objective)
    in_place = not (backward or listed or alone or adjust or len(order)) and planning.in_place(
        X, dtype
    )
    depth = len(architecture.layers)
    updated = [l for l in range(depth) if updating and not (rule and l in rule.frozen)]
    operations, phases, update = planning.phases(
        architecture, capacity, count, in_place, adjust, Y is None, updated, to_inputs, rule
    )
    layers, work = planning.workspace(
        architecture,
        0 if in_place else capacity,
        capacity,
        count,
        backward or objective.drops,
        objective,
    )
    singly = updating and rule is not None and planning.singly(rule) and not adjust
    one_row = singly and 1 in (capacity, rows % batch_size)
    slots = [slot.vector for slot in state.slots] if state else []
    first, second = [*slots, *[NOTHING.astype(dtype)] * 2][:2]
    pack = gemm.pack_size(dtype.itemsize) if backward else 0
    if updating and rule is not None and not planning.plain(rule):
        pack = max(pack, STEPPED_ROWS * max(layer.stride for layer in architecture.layers))
    steps_to_take = -(-rows // batch_size)
    start = time.perf_counter()
    with threads.region(count):
        taken: int = steps.run.dispatcher(
            units.functions(dtype, units.needed(model, objective, rule, one_row)),
            layers,
            operations,
            phases,
            update,
            LOSSES[architecture.loss] if isinstance(architecture.loss, str) else GIVEN,
            model.vector,
            result.astype(dtype, copy=False),
            rule.optimizer.code if rule else PLAIN,
            first,
            second,
            work,
            aligned_zeros(count * pack, dtype).reshape(count, pack),
            planning.source(X, pixels=True),
            planning.scaler(model),
            NO_TARGET if Y is None else planning.source(Y),
            NOTHING.astype(dtype) if weights is None else weights,
            order.astype(np.int64, copy=False),
            rows,
            batch_size,
            np.ascontiguousarray(keys).reshape(-1),
            np.empty((count, listed), np.int32),
            planning.lists_of_one(architecture),
            (planning.numbers(objective) if numbers is None else numbers).astype(dtype),
            changing.astype(dtype, copy=False),
            np.zeros(capacity),
            np.zeros(int(layers[-1, table.MEASURED]) + planning.measures(architecture.layers[-1])),
            np.empty(steps_to_take) if losses is None else losses,
            out.reshape(-1).astype(dtype, copy=False),
            np.ones(1, dtype),
            singly,
            count,
        )
    trial.record(count, (time.perf_counter() - start) / steps_to_take)
    return _Done(taken, (work, layers))


def _most_threads(model: Model, rows: int, training: bool) -> int:
    """Return the most threads that may pay for steps of so many rows."""
    if rows == 1:
        return 1
    if training:
        return threads.choose(model.threads, model.architecture.training_flops * rows)
    work = model.architecture.forward_flops * rows
    return threads.choose(model.threads, work, threads.PREDICTING_WORTH_A_THREAD)
