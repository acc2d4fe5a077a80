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
    numbers,
    operations_at,
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
    rows_of_update,
    update,
)
from fastnn.backends.compiled.kernels.waiting import (
    BETWEEN,
    WAITED,
    begin_counting,
    beginning,
    count,
    count_share,
)
from fastnn.backends.compiled.machinery import atomic
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
def share_of(operation, layer, count, thread, threads, itemsize):
    """Return a thread's part of an operation on so many rows of a batch."""
    what = operation.what
    rows = layer.fan_in if what >= SCALING_SPARSE else count
    units = layer.fan_in if what == BACKWARD else layer.fan_out
    updating = what in (UPDATING, STEPPING)
    if updating:
        rows = rows_of_update(layer.fan_in)
    start, stop, left, right = int64(0), rows, int64(0), units
    split = threads if operation.split == UNITS else operation.split
    if split >= ROWS:
        rows_group = MEASURED_ROWS if what in (MEASURING, DIVIDING) else GROUP
        units_group = LINE // itemsize
        within, group, threads = thread // split, thread % split, threads // split
        if updating:  # biases, which take as long as many weights, go to another for each layer
            within = (within + operation.layer) % threads
        start = _bound(rows, rows_group, within, threads)
        stop = _bound(rows, rows_group, within + 1, threads)
        left = _bound(units, units_group, group, split)
        right = _bound(units, units_group, group + 1, split)
    return Share(start, stop, left, right)


def _phase_types(number):
    return plan_type(number), types.int64, types.int64, BATCH


@unit(_phase_types)
def phase(plan, begin, end, batch):
    """Do a thread's share of the operations begin .. end for a batch."""
    operations = operations_at(plan.operations, end)
    for o in range(begin, end):
        what, l = operations[o].what, operations[o].layer
        layer = layers_of(plan)[l]
        share = share_of(
            operations[o], layer, batch.count, batch.thread, plan.threads, itemsize_of(plan.alpha)
        )
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


call_phase = phase.call


@serial
def _average(plan):
    """Take the parameters into their average, if there is one, by the last number of the step."""
    if plan.average != 0:
        count = plan.numbers_of_a_step * (plan.step + 1)
        share = numbers(plan.step_numbers, count, plan.alpha)[count - 1]
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


@serial
def _begin_step(plan):
    """Set out on the next step; return whether there is one that has phases."""
    while plan.step < plan.steps:
        first = plan.step * plan.batch_size
        plan.stop = min(first + plan.batch_size, plan.rows)
        if plan.step_numbers != 0:
            count = plan.numbers_of_a_step
            numbers_now = numbers(
                plan.step_numbers + itemsize_of(plan.alpha) * count * plan.step, count, plan.alpha
            )
            plan.alpha, plan.beta = numbers_now[0], numbers_now[1]
            if count > PLAIN_NUMBERS + 1:
                plan.rate, plan.look_ahead = numbers_now[2], numbers_now[3]
                plan.correction, plan.decay = numbers_now[4], numbers_now[5]
        if plan.mixes:
            _mix_from(plan, first)
        if plan.phases == 0:  # half a step of a network whose layers are all frozen
            _average(plan)
            plan.step += 1
            continue
        if not (plan.takes_one_row and plan.stop - first == 1):
            plan.block, plan.count, plan.total = first, min(plan.block_size, plan.stop - first), 0.0
            plan.phase = plan.begin = 0
            plan.end = integers(plan.phase_ends, 1)[0]
            return True
        call_one_row(plan.functions.one_row, (plan, first))
        loss = reals(plan.row_losses, 1)[0]
        reals(plan.losses, plan.steps)[plan.step] = loss
        if not math.isfinite(loss):
            return False
        _average(plan)
        plan.step += 1
    return False


@serial
def _end_block(plan):
    """Add the losses of a block; return whether, if it is the last, the loss is finite."""
    plan.total = _add(plan.total, plan, plan.count)
    plan.block += plan.count
    if plan.block < plan.stop:  # the next block adds its gradient to that of those before
        plan.count = min(plan.block_size, plan.stop - plan.block)
        if plan.mixes:
            _mix_from(plan, plan.block)
        plan.phase = plan.begin = 0
        plan.beta = plan.bias_beta = type(plan.beta)(1)
        return True
    loss = plan.total / (plan.stop - plan.step * plan.batch_size)
    reals(plan.losses, plan.steps)[plan.step] = loss
    return math.isfinite(loss)


def _go_on_types(number):
    return plan_type(number), number


@unit(_go_on_types)
def go_on(plan, bias_beta):
    """Go on to the next phase if one is done, else to the first; say in ``going`` if there is."""
    if plan.going:
        plan.phase += 1
        plan.begin = plan.end
        may_change = plan.phase != plan.first_change or _end_block(plan)
        more = plan.phase < plan.phases
        if more and may_change:
            plan.end = integers(plan.phase_ends, plan.phases)[plan.phase]
            return
        plan.bias_beta = bias_beta
        if more:
            plan.going = False
            return
        _average(plan)
        plan.step += 1
    plan.going = _begin_step(plan)


call_go_on = go_on.call


# Where threads agree, each number in a cache line of its own: the phase that is being done, the
# shares of all phases that are done; then for each share the last phase in which it was taken, and
# whether the thread has come whose share it is.
PHASE, DONE, SHARES = 0, LINE, 2 * LINE
HAS_COME = 8
# Looks at the number of the phase before a thread takes the share of one that has not, and before
# it lets others have its CPU: some hundredths of a millisecond.
PATIENCE, MOST_LOOKS = 500, 5000


def meeting_size(threads: int) -> int:
    """Return how many numbers there are where so many threads agree."""
    return (SHARES + threads * LINE) // 8


def _meet_types(number):
    return (plan_type(number),)


@unit(_meet_types)
def meet(plan):
    """Make ready for threads that go through all phases together."""
    begin_counting(plan)
    atomic.store(plan.meeting + PHASE, int64(0) if plan.going else int64(-1))
    atomic.store(plan.meeting + DONE, 0)
    for share in range(plan.threads):
        place = plan.meeting + SHARES + share * LINE
        atomic.store(place, -1)
        atomic.store(place + HAS_COME, 0)


call_meet = meet.call


def _work_types(number):
    return plan_type(number), types.int64, number


@unit(_work_types)
def work(plan, thread, bias_beta):
    """Go through the phases of all steps, alone or with the other threads.

    Each takes its own share of a phase, and that of a thread which has not come: the system may run
    fewer of them than there are shares, or be busy. Who finishes the last share goes on to the next
    phase, and does what is between.
    """
    if plan.threads == 1:
        since = begin_counting(plan)
        while plan.going:
            batch, here = Batch(plan.block, plan.count, int64(0)), plan.phase
            call_phase(plan.functions.phase, (plan, plan.begin, plan.end, batch))
            since = count_share(plan, here, 0, 0, since)
            call_go_on(plan.functions.go_on, (plan, bias_beta))
            since = count(plan, here, 0, BETWEEN, since)
        return
    before, here, since = flush_denormals(), plan.phases, beginning(plan)
    shares = plan.meeting + SHARES
    atomic.store(shares + thread * LINE + HAS_COME, 1)
    phase, share, looks = atomic.load(plan.meeting + PHASE), thread, 0
    while phase >= 0:
        place = shares + share * LINE
        mine = share == thread or looks > PATIENCE or atomic.load(place + HAS_COME) == 0
        if mine and atomic.load(place) < phase and atomic.replace(place, phase - 1, phase):
            since = count(plan, here, thread, WAITED, since)
            batch, here = Batch(plan.block, plan.count, share), plan.phase
            call_phase(plan.functions.phase, (plan, plan.begin, plan.end, batch))
            since = count_share(plan, here, thread, share, since)
            if atomic.add(plan.meeting + DONE, 1) == plan.threads * (phase + 1):
                call_go_on(plan.functions.go_on, (plan, bias_beta))
                atomic.store(plan.meeting + PHASE, phase + 1 if plan.going else int64(-1))
                since = count(plan, here, thread, BETWEEN, since)
        now = atomic.load(plan.meeting + PHASE)
        if now != phase:
            phase, share, looks = now, thread, 0
        else:
            looks += 1
            share = (share + 1) % plan.threads
            atomic.pause()
            if looks > MOST_LOOKS:
                atomic.let_others_run()
    count(plan, here, thread, WAITED, since)
    restore_denormals(before)


call_work = work.call


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
    plan.losses, plan.step, plan.steps = losses.ctypes.data, 0, len(losses)
    plan.step_numbers = step_numbers.ctypes.data if len(step_numbers) > 0 else 0
    plan.numbers_of_a_step = step_numbers.shape[1]
    before, bias_beta = flush_denormals(), plan.bias_beta
    if plan.sparse.decayed != 0:
        plan.sparse.step_numbers = plan.step_numbers
    plan.going = False
    call_go_on(plan.functions.go_on, (plan, bias_beta))
    if plan.threads == 1:
        call_work(plan.functions.work, (plan, int64(0), bias_beta))
    else:
        call_meet(plan.functions.meet, (plan,))
        for t in prange(plan.threads):
            here = plans[0]
            call_work(here.functions.work, (here, int64(t), bias_beta))
    if plan.sparse.decayed != 0:  # rows of weights that no batch has touched wait for their decay
        batch = Batch(plan.step * plan.batch_size, int64(0), int64(0))
        whole = Share(int64(0), layers_of(plan)[0].fan_in, int64(0), int64(0))
        call_of_sparse(plan.functions.of_sparse, (plan, int64(DECAYING_SPARSE), batch, whole))
    restore_denormals(before)
    return plan.step
