"""Calls into the kernels: how a call gets its plan, and runs it."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from fastnn.activations import Array
from fastnn.backends import dropout
from fastnn.backends.compiled import blocks, functions, plan
from fastnn.backends.compiled.kernels import batches
from fastnn.backends.compiled.machinery import threads
from fastnn.backends.compiled.operations import Task
from fastnn.backends.compiled.plan import Plan
from fastnn.backends.contract import Examples, Objective, UpdateRule
from fastnn.model.model import Model
from fastnn.model.work import sparse_work
from fastnn.sparse_rows import Rows, SparseRows

# Work of a whole call from which there are threads for its steps, as a multiple of what is worth a
# thread in a step: they may have to wake up.
WORTH_A_CALL = 50

EVERY_ROW = np.empty(0, np.int64)  # as an order
# For each dtype: no numbers that change from step to step, and no room for outputs.
NOTHING = {
    np.dtype(name): (np.empty((0, 0), name), np.empty(0, name)) for name in ("float32", "float64")
}


def as_before(
    model: Model,
    key: tuple[object, ...],
    examples: Examples,
    how: UpdateRule | Objective | None,
    rows: int,
    batch_size: int,
) -> Plan | None:
    """Return the plan of the last call, out of the model, if it is right for this one as it is.

    In small epochs call follows call, and only the order is new, or not even that.
    """
    made: Plan | None = model.prepared.pop(key, None)
    if made is None or made.is_about(examples, how, rows, batch_size):
        return made
    model.prepared[key] = made
    return None


def run_plan(
    made: Plan, order: Array, keys: Array, numbers: Array, losses: Array, out: Array | None = None
) -> int:
    """Run a plan; return how many batches were taken, see `batches.run`."""
    taken: int = batches.run.dispatcher(
        made.record,
        order.astype(np.int64, copy=False),
        np.ascontiguousarray(keys).reshape(-1),
        numbers,
        losses,
        NOTHING[made.work.dtype][1] if out is None else out.reshape(-1),
    )
    return taken


class Call:
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
        self, model: Model, X: Rows, batch_size: int, order: Array = EVERY_ROW,
        to_look_at: bool = False, **task: Any,
    ) -> None:  # fmt: skip
        self.model, self.X, self.batch_size, self.order = model, X, batch_size, order
        self.rows = len(order) or len(X)
        sparse = isinstance(X, SparseRows)
        capacity = batch_size if "half" in task else min(batch_size, self.rows)
        made = Task(capacity, sparse=sparse, **task)
        most = 1 if to_look_at else _most_threads(model, made, X, self.rows)
        self.trial = None  # measuring costs more than a small step
        if most > 1:
            self.trial = threads.trial(model.architecture, made.capacity, made.updating)
            made = made._replace(threads=self.trial.choose(most))
        adjusting = functions.adjusts_inputs(model, made.objective)
        self.sparse = (
            not (sparse or model.architecture.rounds)
            and model.input_scaler is None
            and all(each.keeps_zeros for each in made.objective.augment)
            and plan.mostly_zero(X)
        )
        if made.rule is not None:
            if blocks.is_large(model.architecture, batch_size, sparse):
                block = blocks.block_of(model.architecture, made.threads, sparse)
                made = made._replace(capacity=min(made.capacity, block), in_blocks=True)
            elif made.half:
                made = made._replace(in_blocks=True)
            elif not sparse and 1 in (made.capacity, self.rows % batch_size):
                made = made._replace(one_row=functions.takes_one_row(model.architecture, made.rule))
        elif not (made.updating or to_look_at or self.sparse or sparse or adjusting or len(order)):
            made = made._replace(in_place=plan.can_read_in_place(X, model.architecture.dtype))
        # No other thread finds the plan while this one has it.
        self.key = made.learning, made.updating, made.to_inputs, made.threads, made.half
        kept = model.prepared.pop(self.key, None)
        fitting = kept is not None and kept.fits(model, made)
        self.plan: Plan = kept if fitting else Plan(model, made)

    def __enter__(self) -> Call:
        return self

    def __exit__(self, error: object, *_: object) -> None:
        # Gradients of inputs may leave NaN in the padding of gathered rows, which stays. Ctrl-C may
        # leave the plan half changed.
        keeping = self.plan.is_small or self.plan.task.half  # the next half step comes at once
        if error is None and keeping and not self.plan.task.to_inputs:
            self.model.prepared[self.key] = self.plan

    def run(
        self,
        examples: Examples | None = None,
        keys: Array = dropout.NO_KEYS,
        numbers: Array | None = None,
        losses: Array | None = None,
        out: Array | None = None,
    ) -> int:
        """Go through the rows in batches; return how many were taken, see `batches.run`."""
        batches_of_all = -(-self.rows // self.batch_size)
        if numbers is None:
            numbers = NOTHING[self.model.architecture.dtype][0]
        if losses is None:
            losses = np.empty(batches_of_all)
        self.plan.read(self.X, examples, self.rows, self.batch_size)
        self.plan.leave_zeros_out(self.sparse)
        start = time.perf_counter()
        with threads.region(self.plan.task.threads):
            taken = run_plan(self.plan, self.order, keys, numbers, losses, out)
        if self.trial is not None and taken == batches_of_all:  # divergence ends a call early
            seconds = time.perf_counter() - start
            self.trial.record(self.plan.task.threads, seconds, taken)
        return taken

    def stay_about(self, examples: Examples, how: UpdateRule | Objective | None = None) -> None:
        """Let the next call for this take the plan as it is, if it takes one thread again."""
        if self.trial is None:
            self.plan.stay_about(examples, how, self.rows, self.batch_size)

    def rows_at(self, start: int, stride: int, like: Array) -> Array:
        """Return a view of rows in the work array, as many and as long as those of an array."""
        rows, columns = like.shape
        return self.plan.work[start : start + rows * stride].reshape(rows, stride)[:, :columns]


def _most_threads(model: Model, task: Task, X: Rows, rows_of_all: int) -> int:
    """Return the most threads that may pay for the steps of a task, on so many rows in all."""
    rows = task.capacity
    if isinstance(X, SparseRows):
        passing = task.rule is not None and not functions.is_plain(task.rule)
        return threads.choose(
            model.threads, sparse_work(model.architecture, X, rows, task.updating, passing)
        )
    if rows == 1:
        return 1
    if task.updating:
        work = model.architecture.training_flops
        if work * rows_of_all < WORTH_A_CALL * threads.WORTH_A_THREAD:
            return 1
        return threads.choose(model.threads, work * rows)
    work = model.architecture.forward_flops * rows
    return threads.choose(model.threads, work, threads.PREDICTING_WORTH_A_THREAD)
