"""The compiled backend: Numba kernels that run many mini-batches in one call.

Here the contract's functions make plans and hand them to the kernels.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numba.core import event

from fastnn.activations import Array
from fastnn.backends import dropout
from fastnn.backends.compiled import functions, plan
from fastnn.backends.compiled.kernels import batches, one_row
from fastnn.backends.compiled.machinery import threads, vector_ir
from fastnn.backends.compiled.plan import NO_PENALTY, Plan, Task
from fastnn.backends.contract import UNSURE, Examples, Objective, UpdateRule
from fastnn.losses import evaluated, matrix
from fastnn.model.architecture import padded
from fastnn.model.model import Model
from fastnn.model.optimizer_state import OptimizerState
from fastnn.model.parameters import Parameters
from fastnn.optimizers import Optimizer

# Bytes of inputs and activations that a block of predictions takes in the second-level cache.
NEAR = 512 * 1024
# Rows whose gradients are summed in one go.
BLOCK = 512

EVERY_ROW = np.empty(0, np.int64)  # as an order
# For each dtype: no numbers that change from step to step, and no room for outputs.
NOTHING = {
    np.dtype(name): (np.empty((0, 0), name), np.empty(0, name)) for name in ("float32", "float64")
}


def prepare(
    model: Model,
    announce: Callable[[], object] = lambda: None,
    rule: UpdateRule | None = None,
    one_row: bool = False,
) -> float:
    """Compile the kernels for a network, or load them from the cache; see `contract`."""
    start = time.perf_counter()
    with event.install_listener("numba:compile", functions.Announcer(announce)):
        objective = rule.objective if rule else NO_PENALTY
        one_row = one_row and functions.takes_one_row(rule)
        needed = functions.needed(model, objective, rule, one_row)
        functions.addresses(model.architecture.dtype, needed)
    return time.perf_counter() - start


def warmup(dtype: np.dtype) -> float:
    """Compile all kernels for a dtype, or load them from the cache; return the seconds it took."""
    start = time.perf_counter()
    functions.addresses(dtype, functions.UNITS)
    functions.door(one_row.learn, dtype)
    return time.perf_counter() - start


def predict(model: Model, X: Array, out: Array) -> bool:
    """Write the outputs for all rows of X into ``out``; see `contract`."""
    layers, itemsize = model.architecture.layers, model.architecture.dtype.itemsize
    row = itemsize * (padded(layers[0].fan_in, itemsize) + sum(layer.stride for layer in layers))
    block = min(BLOCK, max(vector_ir.GROUP, NEAR // row // vector_ir.GROUP * vector_ir.GROUP))
    losses = np.empty(-(-len(X) // block))  # for each block NaN or 0
    with _Call(model, X, block) as call:
        call.run(losses=losses, out=out)
    return bool(np.isfinite(losses).all())


def single(model: Model) -> Callable[[Array, Array], int]:
    """Return the function that predicts one row of the network; see `contract`."""
    made = Plan(model, Task(1, one_row=True))
    made.record["targets"] = plan.NO_TARGETS
    dispatcher, record = one_row.single.dispatcher, made.record

    def predict_one(x: Array, out: Array, keep: Any = made) -> int:
        return dispatcher(record, x, out)

    return predict_one


def learner(
    model: Model, optimizer: Optimizer, state: OptimizerState, target: Array
) -> Callable[[Array, float], float]:
    """Return the function that learns from one row; see `contract`."""
    if not isinstance(model.architecture.loss, str):
        return lambda x, rate: UNSURE
    dtype = model.architecture.dtype
    rule = UpdateRule(optimizer=optimizer)
    made = Plan(model, Task(1, learning=True, updating=True, one_row=True, rule=rule))
    made.remember(state)
    record = made.record
    record["targets"] = plan.source(target if target.dtype == np.int64 else target[None])
    record["rows"] = record["batch_size"] = 1
    dispatcher = functions.door(one_row.learn, dtype)
    numbers = plan.numbers_of_a_step(optimizer)
    steps, last_rate = -1, 0.0

    def learn(x: Array, rate: float, keep: Any = made) -> float:
        nonlocal steps, last_rate
        if steps != state.steps:  # others have taken some
            steps = state.steps
            record["seen"] = plan.largest_norm(state)
        if rate != last_rate:
            last_rate = rate
            record["safe"] = plan.safe_norm(optimizer, rate, dtype)
        loss: float = dispatcher(record, x, *numbers(rate, steps + 1))
        if math.isfinite(loss):
            steps += 1
            state.steps = steps
        return loss

    return learn


def activations(model: Model, X: Array, outs: Sequence[Array]) -> None:
    """Write the activations of each layer into ``outs``; see `contract`."""
    for first in range(0, len(X), BLOCK):
        rows = slice(first, min(first + BLOCK, len(X)))
        with _Call(model, X[rows], BLOCK, to_look_at=True) as call:
            call.run()
            for out, layer in zip(outs, call.plan.layers, strict=True):
                out[rows] = call.rows_at(layer["outputs"], layer["stride"], out[rows])


def input_gradient(model: Model, X: Array, Y: Array, out: Array) -> None:
    """Write the gradients with respect to the inputs into ``out``; see `contract`."""
    for first in range(0, len(X), BLOCK):
        rows = slice(first, min(first + BLOCK, len(X)))
        learnt = _learnt(model, Examples(X[rows], Y[rows]))[1]
        with _Call(model, X[rows], BLOCK, to_look_at=True, learning=True, to_inputs=True) as call:
            call.run(learnt)
            layer = call.plan.layers[0]
            out[rows] = call.rows_at(layer["inputs"], layer["input_stride"], out[rows])


def loss(model: Model, examples: Examples, out: Array) -> float:
    """Return the mean loss, and write the outputs into ``out``; see `contract`."""
    count, name = len(examples.X), model.architecture.loss
    losses = np.empty(-(-count // BLOCK))
    with _Call(model, examples.X, BLOCK, learning=isinstance(name, str)) as call:
        call.run(examples if isinstance(name, str) else None, losses=losses, out=out)
    if isinstance(name, str):
        return _mean(losses, count)
    values = evaluated(name, out, _matrix(model, examples.Y))[0]
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
    with _Call(model, examples.X, BLOCK, **task) as call:
        call.plan.record["result"] = plan.address_of(gradient.vector)
        call.plan.record["alpha"] = 1 / count
        call.run(learnt, keys, losses=losses)
    value = _mean(losses, count) if own is None else _weighted(own, examples.weights)
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
    if not isinstance(model.architecture.loss, str) and len(rates) > 1:
        # A function of the user's comes between two kernels.
        for step in range(len(rates)):
            part = slice(step * batch_size, min((step + 1) * batch_size, len(order)))
            one = slice(step, step + 1)
            if not train_steps(
                model, examples, order[part], batch_size, rates[one], rule, keys[:, part], state,
                losses[one],
            ):  # fmt: skip
                return step
        return len(rates)
    own, learnt = _learnt(model, examples, order, rule.objective, keys)
    if own is not None:
        weights = None if examples.weights is None else examples.weights[order]
        losses[0] = _weighted(own, weights)
        if not np.isfinite(losses[0]):
            return 0
        losses = np.empty(1)
    sizes = np.full(len(rates), batch_size, np.int64)
    sizes[-1] = len(order) - batch_size * (len(rates) - 1)
    task: dict[str, Any] = {
        "learning": True,
        "updating": True,
        "objective": rule.objective,
        "rule": rule,
    }
    with _Call(model, examples.X, batch_size, order, **task) as call:
        if call.plan.plain:
            dtype = model.architecture.dtype
            numbers = plan.plain_step_numbers(rates, sizes, rule.objective.l2, dtype)
        else:
            numbers = plan.step_numbers(rates, sizes, rule.optimizer, state.steps)
        call.plan.remember(state)
        steps = call.run(learnt, keys, numbers, losses)
    state.steps += steps
    return steps


def _learnt(
    model: Model,
    examples: Examples,
    order: Array = EVERY_ROW,
    objective: Objective = NO_PENALTY,
    keys: Array = dropout.NO_KEYS,
) -> tuple[Array | None, Examples]:
    """Return the losses of the rows, if they are not the kernels' own, and what these learn from.

    Of named losses the kernels learn from the targets. A function of the user's gives the gradients
    with respect to the outputs instead.
    """
    loss, X = model.architecture.loss, examples.X
    if isinstance(loss, str):
        return None, examples
    rows = order.astype(np.int64) if len(order) else np.arange(len(X), dtype=np.int64)
    out = np.empty((len(rows), model.architecture.sizes[-1]), model.architecture.dtype)
    with _Call(model, X, BLOCK, order, objective=objective) as call:
        call.run(keys=keys, out=out)
    values, slopes = evaluated(loss, out, _matrix(model, examples.Y[rows]))
    given = np.empty((len(X), out.shape[1]), out.dtype)  # but for these rows it is not touched
    given[rows] = slopes
    return values, Examples(X, given, examples.weights)


def _matrix(model: Model, Y: Array) -> Array:
    return matrix(Y, model.architecture.sizes[-1], model.architecture.dtype)


def _weighted(losses: Array, weights: Array | None) -> float:
    """Return the mean of the losses times their weights."""
    return float(np.mean(losses if weights is None else losses * weights, dtype=np.float64))


class _Call:
    """A call into the kernels, which has a plan, and the model's plans to itself.

    Parameters
    ----------
    model : Model
    X, order : ndarray
        It goes through all rows of X, or those of the order.
    batch_size : int
    to_look_at : bool
        Whether the work array is read afterwards: then this thread does everything.
    **task
        See `Task`.
    """

    def __init__(
        self, model: Model, X: Array, batch_size: int, order: Array = EVERY_ROW,
        to_look_at: bool = False, **task: Any,
    ) -> None:  # fmt: skip
        self.model, self.X, self.batch_size, self.order = model, X, batch_size, order
        self.rows = len(order) or len(X)
        made = Task(min(batch_size, self.rows), **task)
        most = 1 if to_look_at else _most_threads(model, made)
        self.trial = None  # measuring costs more than a small step
        if most > 1:
            self.trial = threads.trial(model.architecture, made.capacity, made.updating)
            made = made._replace(threads=self.trial.choose(most))
        adjusting = functions.adjusts_inputs(model, made.objective)
        self.sparse = model.input_scaler is None and plan.mostly_zero(X)
        if made.rule is not None:
            single = 1 in (made.capacity, self.rows % batch_size)
            made = made._replace(one_row=single and functions.takes_one_row(made.rule))
        elif not (made.updating or to_look_at or self.sparse or adjusting or len(order)):
            made = made._replace(in_place=plan.can_read_in_place(X, model.architecture.dtype))
        # No other thread finds the plan while this one has it.
        self.key = made.learning, made.updating, made.to_inputs, made.threads
        kept = model.prepared.pop(self.key, None)
        fitting = kept is not None and kept.fits(model, made)
        self.plan: Plan = kept if fitting else Plan(model, made)

    def __enter__(self) -> _Call:
        return self

    def __exit__(self, *_: object) -> None:
        # Gradients of inputs may leave NaN in the padding of gathered rows, which stays.
        if self.plan.is_small and not self.plan.task.to_inputs:
            self.model.prepared[self.key] = self.plan

    def run(
        self,
        examples: Examples | None = None,
        keys: Array = dropout.NO_KEYS,
        step_numbers: Array | None = None,
        losses: Array | None = None,
        out: Array | None = None,
    ) -> int:
        """Go through the rows in batches; return how many were taken, see `batches.run`."""
        dtype, batches_of_all = self.model.architecture.dtype, -(-self.rows // self.batch_size)
        no_numbers, no_room = NOTHING[dtype]
        self.plan.read(self.X, examples, self.rows, self.batch_size)
        self.plan.leave_zeros_out(self.sparse)
        start = time.perf_counter()
        with threads.region(self.plan.task.threads):
            taken: int = batches.run.dispatcher(
                self.plan.record,
                self.order.astype(np.int64, copy=False),
                np.ascontiguousarray(keys).reshape(-1),
                no_numbers if step_numbers is None else step_numbers.astype(dtype, copy=False),
                np.empty(batches_of_all) if losses is None else losses,
                no_room if out is None else out.reshape(-1),
            )
        if self.trial is not None:
            seconds = time.perf_counter() - start
            self.trial.record(self.plan.task.threads, seconds / batches_of_all)
        return taken

    def rows_at(self, start: int, stride: int, like: Array) -> Array:
        """Return a view of rows in the work array, as many and as long as those of an array."""
        rows, columns = like.shape
        return self.plan.work[start : start + rows * stride].reshape(rows, stride)[:, :columns]


def _most_threads(model: Model, task: Task) -> int:
    """Return the most threads that may pay for the steps of a task."""
    rows = task.capacity
    if rows == 1:
        return 1
    if task.updating:
        return threads.choose(model.threads, model.architecture.training_flops * rows)
    work = model.architecture.forward_flops * rows
    return threads.choose(model.threads, work, threads.PREDICTING_WORTH_A_THREAD)
