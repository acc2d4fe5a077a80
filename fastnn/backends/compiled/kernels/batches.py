"""The kernel that is called from Python: many batches in one call."""

from __future__ import annotations

import math

from numba import int64, prange, types

from fastnn.backends.compiled.kernels.augment import call_augment
from fastnn.backends.compiled.kernels.factors import call_of_factors
from fastnn.backends.compiled.kernels.inputs import (
    LINE,
    call_adjust,
    check_inputs,
    gather_inputs,
)
from fastnn.backends.compiled.kernels.layers import backward, forward
from fastnn.backends.compiled.kernels.layout import (
    ADJUSTING,
    AUGMENTING,
    BACKWARD,
    BATCH,
    CHECKING,
    DECAYING_SPARSE,
    DIVIDING,
    FINISHING,
    FORWARD,
    GATHERING,
    LIMITING,
    MEASURING,
    MOVING,
    MULTIPLYING,
    PLAIN_NUMBERS,
    ROWS,
    SCALING_SPARSE,
    STEPPING,
    UNITS,
    UPDATING,
    Batch,
    Share,
    integers,
    layers_of,
    operations_of,
    plan_type,
    reals,
)
from fastnn.backends.compiled.kernels.one_row import call_one_row
from fastnn.backends.compiled.kernels.outputs import call_finish
from fastnn.backends.compiled.kernels.sparse import call_of_sparse
from fastnn.backends.compiled.kernels.update import (
    MEASURED_ROWS,
    call_average,
    call_limit,
    call_measure,
    call_move_layer,
    update,
)
from fastnn.backends.compiled.machinery.instructions import (
    flush_denormals,
    itemsize_of,
    restore_denormals,
)
from fastnn.backends.compiled.machinery.jit import serial, unit
from fastnn.backends.compiled.machinery.machine import GROUP


@serial
def _bound(total, group, thread, threads):
    """Return the first of the things, in groups, that a thread takes; the next one's is the end."""
    groups = (total + group - 1) // group
    return min(total, groups * thread // threads * group)


@serial
def _share(plan, operation, batch):
    """Return a thread's part of an operation."""
    layer, what = layers_of(plan)[operation.layer], operation.what
    rows = layer.fan_in if what >= SCALING_SPARSE else batch.count
    units = layer.fan_in if what == BACKWARD else layer.fan_out
    start, stop, left, right = int64(0), rows, int64(0), units
    thread, threads = batch.thread, plan.threads
    if operation.split == ROWS:
        group = MEASURED_ROWS if what in (MEASURING, DIVIDING) else GROUP
        start = _bound(rows, group, thread, threads)
        stop = _bound(rows, group, thread + 1, threads)
    elif operation.split == UNITS:
        group = LINE // itemsize_of(plan.alpha)
        left = _bound(units, group, thread, threads)
        right = _bound(units, group, thread + 1, threads)
    return Share(start, stop, left, right)


def _phase_types(number):
    return plan_type(number), types.int64, types.int64, BATCH


@unit(_phase_types)
def phase(plan, begin, end, batch):
    """Do a thread's share of the operations begin .. end for a batch."""
    # `run` has done it for its own thread; each time takes as long as dozens of additions.
    before = flush_denormals() if plan.threads > 1 else 0
    operations = operations_of(plan, end)
    for o in range(begin, end):
        what, l = operations[o].what, operations[o].layer
        share = _share(plan, operations[o], batch)
        if share.start == share.stop or share.left == share.right:  # fewer of them than threads
            continue
        if what == GATHERING:
            gather_inputs(plan, batch, share)
        elif what == CHECKING:
            check_inputs(plan, batch, share)
        elif what == FORWARD:
            forward(plan, l, batch, share)
        elif what == FINISHING:
            call_finish(plan.functions.finish, (plan, batch, share))
        elif what == BACKWARD:
            backward(plan, l, batch, share)
        elif what in (UPDATING, STEPPING):
            update(plan, l, batch, share, what == STEPPING)
        elif what == ADJUSTING:
            call_adjust(plan.functions.adjust, (plan, batch, share))
        elif what == AUGMENTING:
            call_augment(plan.functions.augment, (plan, batch, share))
        elif what == MEASURING:
            call_measure(plan.functions.measure, (plan, l, batch, share))
        elif what == MOVING:
            call_move_layer(plan.functions.move_layer, (plan, l, batch, share))
        elif what == LIMITING:
            call_limit(plan.functions.limit, (plan, l, batch, share))
        elif what in (DIVIDING, MULTIPLYING):
            call_of_factors(plan.functions.of_factors, (plan, what, batch, share))
        else:
            call_of_sparse(plan.functions.of_sparse, (plan, what, batch, share))
    if plan.threads > 1:
        restore_denormals(before)


call_phase = phase.call


def _run_types(number):
    return (
        types.Array(plan_type(number), 1, "C"), types.int64[::1], types.uint32[::1],
        number[:, ::1], types.float64[::1], number[::1],
    )  # fmt: skip


@unit(_run_types, parallel=True)
def run(plans, order, keys, step_numbers, losses, out):
    """Take the rows in batches by the only plan; return how many before a loss was not finite.

    The rows are those of ``order``, or the first ones of the inputs where it is empty; ``keys`` are
    those of dropout. For each batch this does the operations of the plan, phase by phase: a phase
    begins when all threads have done the one before. A large batch is gone through in blocks, each
    of which adds to the gradient; the first phase that changes parameters is reached after all of
    them, and only if the loss is finite. Each row of ``step_numbers``, if there are any, holds the
    first of the plan's numbers for a step. Steps of one row have a way of their own, on one thread,
    if the plan says so. Outputs go to ``out``, if it is not empty.
    """
    plan = plans[0]
    plan.order, plan.shuffled = order.ctypes.data, len(order) > 0
    plan.targets_shuffled = len(order) > 0 and plan.mixes == 0
    plan.keys, plan.outputs = keys.ctypes.data, out.ctypes.data if len(out) > 0 else 0
    row_losses, phase_ends = reals(plan.row_losses, 1), integers(plan.phase_ends, plan.phases)
    before, bias_beta = flush_denormals(), plan.bias_beta
    if plan.sparse.decayed != 0:
        plan.sparse.step_numbers = step_numbers.ctypes.data
    taken = len(losses)
    for step in range(len(losses)):
        first = step * plan.batch_size
        stop = min(first + plan.batch_size, plan.rows)
        if len(step_numbers) > 0:
            plan.alpha, plan.beta = step_numbers[step, 0], step_numbers[step, 1]
            if step_numbers.shape[1] > PLAIN_NUMBERS + 1:
                plan.rate, plan.look_ahead = step_numbers[step, 2], step_numbers[step, 3]
                plan.correction, plan.decay = step_numbers[step, 4], step_numbers[step, 5]
        if plan.mixes:
            _mix_from(plan, first)
        if plan.takes_one_row and stop - first == 1:
            call_one_row(plan.functions.one_row, (plan, first))
            losses[step] = row_losses[0]
            if not math.isfinite(row_losses[0]):
                taken = step
                break
            _average(plan, step_numbers, step)
            continue
        block, count = first, min(plan.block_size, stop - first)
        p, begin, total = int64(0), int64(0), 0.0
        while p < plan.phases:
            end = phase_ends[p]
            if plan.threads == 1:
                batch = Batch(block, count, int64(0))
                call_phase(plan.functions.phase, (plan, begin, end, batch))
            else:
                for t in prange(plan.threads):
                    here = plans[0]
                    batch = Batch(block, count, int64(t))
                    call_phase(here.functions.phase, (here, begin, end, batch))
            begin = end
            p += 1
            if p != plan.first_change:
                continue
            total = _add(total, plan, count)
            block += count
            if block < stop:  # the next block adds its gradient to that of those before
                count = min(plan.block_size, stop - block)
                if plan.mixes:
                    _mix_from(plan, block)
                p = begin = int64(0)
                plan.beta = plan.bias_beta = type(plan.beta)(1)
                continue
            losses[step] = total / (stop - first)
            if p < plan.phases and not math.isfinite(losses[step]):
                taken = step
                break
        plan.bias_beta = bias_beta
        if taken == step:
            break
        _average(plan, step_numbers, step)
    if plan.sparse.decayed != 0:  # rows of weights that no batch has touched wait for their decay
        batch = Batch(taken * plan.batch_size, int64(0), int64(0))
        whole = Share(int64(0), layers_of(plan)[0].fan_in, int64(0), int64(0))
        call_of_sparse(plan.functions.of_sparse, (plan, int64(DECAYING_SPARSE), batch, whole))
    restore_denormals(before)
    return taken


@serial
def _average(plan, step_numbers, step):
    """Take the parameters into their average, if there is one, by the last number of the step."""
    if plan.average != 0:
        share = step_numbers[step, step_numbers.shape[1] - 1]
        if share > 0:
            call_average(plan.functions.average, (plan, share))


@serial
def _mix_from(plan, block):
    """Let the targets and weights of a block be where they are mixed."""
    plan.targets.address = plan.mixed_targets - block * plan.targets.row_bytes
    if plan.row_weights != 0:
        plan.row_weights = plan.mixed_weights - block * itemsize_of(plan.alpha)


@serial
def _add(total, plan, count):
    """Add the losses of so many rows, in order."""
    losses = reals(plan.row_losses, count)
    for r in range(count):
        total += losses[r]
    return total
