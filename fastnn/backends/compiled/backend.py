"""The compiled backend: Numba kernels that run many mini-batches in one call.

Here the contract's functions make plans and hand them to the kernels.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numba.core import event

from fastnn.activations import Array
from fastnn.backends import dropout, reference
from fastnn.backends.compiled import blocks, few_rows, functions, plan
from fastnn.backends.compiled.calls import EVERY_ROW, NOTHING, Call, as_before, run_plan
from fastnn.backends.compiled.kernels import one_row, turning
from fastnn.backends.compiled.machinery import threads
from fastnn.backends.compiled.operations import GRADIENT, NO_PENALTY, UPDATE, WHOLE, Task
from fastnn.backends.compiled.plan import Plan
from fastnn.backends.compiled.step_numbers import (
    largest_norm,
    numbers_of_a_step,
    safe_norm,
    step_numbers,
)
from fastnn.backends.contract import UNSURE, Examples, Objective, UpdateRule
from fastnn.column_rows import ColumnRows
from fastnn.losses import evaluated, matrix
from fastnn.model.model import Model
from fastnn.model.optimizer_state import OptimizerState
from fastnn.model.parameters import Parameters
from fastnn.optimizers import Optimizer
from fastnn.sparse_rows import Rows, SparseRows

# Rows whose gradients are summed in one go.
BLOCK = 512

# Blocks of predictions that threads share as one.
SHARED = 4
# The keys of a single thread's plans for steps and for outputs, see `Call`.
STEPS, OUTPUTS = (True, True, False, 1, WHOLE), (False, False, False, 1, WHOLE)
GRADIENTS, UPDATES = (True, True, False, 1, GRADIENT), (True, True, False, 1, UPDATE)
WORK_OF_A_PARAMETER = 50  # of an update, as floating-point operations that take as long


def prepare(
    model: Model,
    announce: Callable[[], object] = lambda: None,
    rule: UpdateRule | None = None,
    batch_sizes: Sequence[int] = (),
    sparse: bool = False,
    halves: bool = False,
) -> float:
    """Compile the kernels for a network, or load them from the cache; see `contract`."""
    start = time.perf_counter()
    dtype, objective = model.architecture.dtype, rule.objective if rule else NO_PENALTY
    may = functions.takes_one_row(model.architecture, rule)
    one_row = not (sparse or halves) and 1 in batch_sizes and may
    in_blocks = halves or any(
        blocks.is_large(model.architecture, size, sparse) for size in batch_sizes
    )
    needed = functions.needed(model, objective, rule, one_row, in_blocks, sparse)
    missing = functions.missing(dtype, needed)
    if missing:
        with event.install_listener("numba:compile", functions.Announcer(announce)):
            functions.addresses(dtype, missing)
    return time.perf_counter() - start


def warmup(dtype: np.dtype) -> float:
    """Compile all kernels for a dtype, or load them from the cache; return the seconds it took."""
    start = time.perf_counter()
    names = set(functions.UNITS)
    if dtype != np.float32:
        names.difference_update(functions.OF_BFLOAT16)
    functions.addresses(dtype, names)
    functions.door(one_row.learn, dtype)
    return time.perf_counter() - start


def predict(model: Model, X: Rows, out: Array) -> bool:
    """Write the outputs for all rows of X into ``out``; see `contract`."""
    if isinstance(X, SparseRows):
        block = BLOCK
    else:
        finite = few_rows.predict(model, X, out)
        if finite is not None:
            return finite
        block = blocks.near(model.architecture)
    if model.threads != 1:  # each has caches of its own, and waits for the others after a block
        block *= SHARED
    losses = np.empty(-(-len(X) // block))  # for each block NaN or 0
    with Call(model, X, block) as call:
        call.run(losses=losses, out=out)
    return bool(np.isfinite(losses).all())


def single(model: Model) -> Callable[[Array, Array], int]:
    """Return the function that predicts one row of the network; see `contract`."""
    made = Plan(model, Task(1, one_row=True))
    made.record["targets"] = plan.NO_TARGETS
    # Without the dispatcher, whose look at the types takes a sixth of a microsecond.
    predict_one = functools.partial(functions.single(model.architecture.dtype), made.record)
    vars(predict_one)["plan"] = made  # lives as long, with the memory that the record names
    return predict_one


def learner(
    model: Model, optimizer: Optimizer, state: OptimizerState, target: Array
) -> Callable[[Array, float], float]:
    """Return the function that learns from one row; see `contract`."""
    architecture = model.architecture
    if callable(architecture.loss) or architecture.rounds or optimizer.input_factor is not None:
        return lambda x, rate: UNSURE
    dtype = architecture.dtype
    rule = UpdateRule(optimizer=optimizer)
    made = Plan(model, Task(1, learning=True, updating=True, one_row=True, rule=rule))
    made.remember(state)
    record = made.record
    record["targets"] = made.targets(target if target.dtype == np.int64 else target[None])
    record["rows"] = record["batch_size"] = 1
    dispatcher = functions.door(one_row.learn, dtype)
    numbers = numbers_of_a_step(optimizer)
    steps, last_rate = -1, 0.0

    def learn(x: Array, rate: float, keep: Any = made) -> float:
        nonlocal steps, last_rate
        if steps != state.steps:  # others have taken some
            steps = state.steps
            record["seen"] = largest_norm(state)
        if rate != last_rate:
            last_rate = rate
            record["safe"] = safe_norm(optimizer, rate, dtype)
        loss: float = dispatcher(record, x, *numbers(rate, steps + 1))
        if math.isfinite(loss):
            steps += 1
            state.steps = steps
        return loss

    return learn


def activations(model: Model, X: Rows, outs: Sequence[Array]) -> None:
    """Write the activations of each layer into ``outs``; see `contract`."""
    for first in range(0, len(X), BLOCK):
        rows = slice(first, min(first + BLOCK, len(X)))
        with Call(model, X[rows], BLOCK, to_look_at=True) as call:
            call.run()
            for out, layer in zip(outs, call.plan.layers, strict=True):
                out[rows] = call.rows_at(layer["outputs"], layer["stride"], out[rows])


def input_gradient(model: Model, X: Array, Y: Array, out: Array) -> None:
    """Write the gradients with respect to the inputs into ``out``; see `contract`."""
    for first in range(0, len(X), BLOCK):
        rows = slice(first, min(first + BLOCK, len(X)))
        learnt = _learnt(model, Examples(X[rows], Y[rows]))[1]
        with Call(model, X[rows], BLOCK, to_look_at=True, learning=True, to_inputs=True) as call:
            call.run(learnt)
            layer = call.plan.layers[0]
            out[rows] = call.rows_at(layer["inputs"], layer["input_stride"], out[rows])


def loss(model: Model, examples: Examples, out: Array) -> float:
    """Return the mean loss, and write the outputs into ``out``; see `contract`."""
    count, own = len(examples.X), model.architecture.loss
    few = count <= few_rows.MOST_ROWS and not isinstance(examples.X, SparseRows)
    if few and not callable(own):
        value = few_rows.loss(model, examples, out)
        if value is not None:
            return value
    losses = np.empty(-(-count // BLOCK))
    with Call(model, examples.X, BLOCK, learning=not callable(own)) as call:
        call.run(None if callable(own) else examples, losses=losses, out=out)
    if not callable(own):
        return _mean(losses, count)
    values = evaluated(own, out, matrix(examples.Y, out.shape[1], out.dtype))[0]
    return _weighted(values, examples.weights)


def loss_and_gradient(
    model: Model, examples: Examples, objective: Objective, keys: Array, gradient: Parameters
) -> float:
    """Return the loss with its penalty and fill ``gradient``; see `contract`."""
    count = len(examples.X)
    gradient.vector[:] = 0
    losses = np.empty(-(-count // BLOCK))
    own, learnt = _learnt(model, examples, objective=objective, keys=keys)
    task: dict[str, Any] = {"learning": True, "updating": True, "objective": objective}
    with Call(model, examples.X, BLOCK, **task) as call:
        call.plan.record["result"] = plan.address_of(gradient.vector)
        call.plan.record["alpha"] = 1 / count
        call.run(learnt, keys, losses=losses)
    value = _mean(losses, count) if own is None else float(np.mean(own, dtype=np.float64))
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
    if len(losses) == 1:
        return float(losses[0])
    sizes = np.minimum(BLOCK, rows - np.arange(0, rows, BLOCK, dtype=np.int64))
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
    if not callable(model.architecture.loss):
        return _steps(model, examples, order, batch_size, rates, rule, keys, state, losses)
    # A function of the user's comes between two kernels.
    given = np.empty((len(examples.X), model.architecture.sizes[-1]), model.architecture.dtype)
    learnt = Examples(examples.X, given, rows=examples.rows)
    for step in range(len(rates)):
        part = slice(step * batch_size, min((step + 1) * batch_size, len(order)))
        one, rows = slice(step, step + 1), order[part]
        own, given[rows] = _evaluated(model, examples, rows, rule.objective, keys[:, part])
        losses[step] = np.mean(own, dtype=np.float64)
        if not np.isfinite(losses[step]) or not _steps(
            model, learnt, rows, batch_size, rates[one], rule, keys[:, part], state, np.empty(1)
        ):
            return step
    return len(rates)


def _steps(
    model: Model,
    learnt: Examples,
    order: Array,
    batch_size: int,
    rates: Array,
    rule: UpdateRule,
    keys: Array,
    state: OptimizerState,
    losses: Array,
) -> int:
    """Take steps as `train_steps` does, for a loss of the kernels' or given gradients."""
    made = as_before(model, STEPS, learnt, rule, len(order), batch_size)
    if made is not None:
        made.remember(state)
        numbers = step_numbers(made, rates, batch_size, len(order), state)
        steps = run_plan(made, order, keys, numbers, losses)
        model.prepared[STEPS] = made
        return _counted(state, rule, steps)
    task: dict[str, Any] = {"learning": True, "updating": True, "rule": rule}
    with Call(model, learnt.X, batch_size, order, objective=rule.objective, **task) as call:
        call.plan.remember(state)
        numbers = step_numbers(call.plan, rates, batch_size, len(order), state)
        steps = call.run(learnt, keys, numbers, losses)
        call.stay_about(learnt, rule)
    return _counted(state, rule, steps)


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
    learnt, own = examples, None
    if callable(model.architecture.loss):
        shape = len(examples.X), model.architecture.sizes[-1]
        given = np.empty(shape, model.architecture.dtype)
        own, given[order] = _evaluated(model, examples, order, rule.objective, keys)
        learnt = Examples(examples.X, given, rows=examples.rows)
    numbers = np.array([[1 / count, 0]], model.architecture.dtype)  # alpha, beta
    losses = np.empty(1)
    made = as_before(model, GRADIENTS, learnt, rule, len(order), batch_size)
    if made is not None:
        made.record["result"] = plan.address_of(gradient.vector)
        run_plan(made, order, keys, numbers, losses)
        model.prepared[GRADIENTS] = made
    else:
        task: dict[str, Any] = {"learning": True, "updating": True, "rule": rule, "half": GRADIENT}
        with Call(model, learnt.X, batch_size, order, objective=rule.objective, **task) as call:
            call.plan.record["result"] = plan.address_of(gradient.vector)
            call.run(learnt, keys, numbers, losses)
            call.stay_about(learnt, rule)
    return float(losses[0]) * len(order) if own is None else float(np.sum(own, dtype=np.float64))


@np.errstate(over="ignore")
def update(
    model: Model, gradient: Parameters, rate: float, rule: UpdateRule, state: OptimizerState
) -> None:
    """Change the parameters by the gradient of a whole batch; see `contract`."""
    count = threads.choose(model.threads, WORK_OF_A_PARAMETER * len(model.vector))
    task = Task(
        1, count, learning=True, updating=True, in_blocks=True, objective=rule.objective,
        rule=rule, half=UPDATE,
    )  # fmt: skip
    made: Plan | None = model.prepared.pop(UPDATES, None)
    if made is None or not made.fits(model, task):
        made = Plan(model, task)
        made.record["rows"] = made.record["batch_size"] = 1
    made.remember(state)
    made.record["result"] = plan.address_of(gradient.vector)
    numbers = step_numbers(made, np.array([rate]), 1, 1, state)
    with threads.region(count):
        run_plan(made, EVERY_ROW, dropout.NO_KEYS, numbers, np.empty(1))
    model.prepared[UPDATES] = made
    _counted(state, rule, 1)


def _counted(state: OptimizerState, rule: UpdateRule, steps: int) -> int:
    """Return a number of steps, which the state counts."""
    state.steps += steps
    average = state.average
    if average is not None and rule.average is not None:
        before = average.steps
        average.steps += steps
        average.moments += average.steps // rule.average.every - before // rule.average.every
    return steps


def _learnt(
    model: Model,
    examples: Examples,
    objective: Objective = NO_PENALTY,
    keys: Array = dropout.NO_KEYS,
) -> tuple[Array | None, Examples]:
    """Return the losses of the rows, if they are not the kernels' own, and what these learn from.

    Of named losses the kernels learn from the targets. A function of the user's gives the gradients
    with respect to the outputs instead.
    """
    if not callable(model.architecture.loss):
        return None, examples
    every = np.arange(len(examples.X), dtype=np.int64)
    values, slopes = _evaluated(model, examples, every, objective, keys)
    return values, Examples(examples.X, slopes, rows=examples.rows)


def _evaluated(
    model: Model, examples: Examples, rows: Array, objective: Objective, keys: Array
) -> tuple[Array, Array]:
    """Return the losses of some rows and their gradients, by a function of the user's, weighted."""
    loss, dtype = model.architecture.loss, model.architecture.dtype
    assert callable(loss)
    out = np.empty((len(rows), model.architecture.sizes[-1]), dtype)
    made = as_before(model, OUTPUTS, examples, objective, len(rows), BLOCK)
    if made is not None:
        run_plan(made, rows, keys, NOTHING[dtype][0], np.empty(-(-len(rows) // BLOCK)), out)
        model.prepared[OUTPUTS] = made
    else:
        with Call(model, examples.X, BLOCK, rows, objective=objective) as call:
            if call.plan.augmenting is not None:
                call.plan.augmenting.read(examples, call.plan.record)
            call.run(keys=keys, out=out)
            call.stay_about(examples, objective)
    own_keys = keys[len(model.weights) :]
    t, weights = reference.augmented_targets(model, examples, rows, objective, own_keys)
    values, slopes = evaluated(loss, out, t)
    return (values, slopes) if weights is None else (values * weights, slopes * weights[:, None])


def _weighted(losses: Array, weights: Array | None) -> float:
    """Return the mean of the losses times their weights."""
    return float(np.mean(losses if weights is None else losses * weights, dtype=np.float64))


def write_columns(columns: ColumnRows, out: Array) -> None:
    """Write columns into rows; see `contract`."""
    listed = columns.columns
    if out.dtype == np.uint8 or any(
        not c.flags.c_contiguous or c.dtype != out.dtype for c in listed
    ):
        columns.write(out)
    else:
        addresses = np.array([column.ctypes.data for column in listed])
        functions.door(turning.turn, out.dtype)(addresses, out)
