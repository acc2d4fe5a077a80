"""The kernels that are called from Python: many batches in one call, and one row."""

from __future__ import annotations

import math

import numpy as np
from numba import carray, int64, prange, types

from fastnn.backends import FINE, NOT_FINITE, WRONG_LENGTH
from fastnn.backends.compiled.gemm import (
    FINISHING,
    FORWARD_ONE,
    GRADIENT_ROWS,
    GROUP,
    ONE_ROW,
    PHASE,
    PRODUCT,
    call_product,
    product_of_sparse_transposed,
)
from fastnn.backends.compiled.jit import serial, unit
from fastnn.backends.compiled.layers import (
    ADDRESS,
    BIASES,
    COLUMNS,
    COPY,
    DELTA,
    FAN_IN,
    FAN_OUT,
    INPUT,
    INPUT_STRIDE,
    KIND,
    LINE,
    OUTPUT,
    ROW_BYTES,
    STRIDE,
    WEIGHTS,
    backward,
    backward_one,
    call_finish,
    call_forward_one,
    check_inputs,
    forward,
    gather_inputs,
)
from fastnn.backends.compiled.vector_ir import FROM_ZERO, SCALED, pointer_to

# What a step does, in this order: an operation, the layer, how it is split over the threads. The
# first says whether inputs are gathered, or read where they are.
OPERATION, LAYER, SPLIT = range(3)
GATHERING, IN_PLACE, CHECK, FORWARD, FINISH, BACKWARD, UPDATING = range(7)
# Each thread takes a share of the rows (when updating those of the weights, else of the batch), or
# of the units (going backward those below, else the layer's), or everything for itself.
ROWS, UNITS, EVERYTHING = range(3)


@serial
def _share(total, group, thread, threads):
    """Return the first of the things, in groups, that a thread takes; the next one's is the end."""
    groups = (total + group - 1) // group
    return min(total, groups * thread // threads * group)


def _phase_types(number):
    index, integers, vector = types.int64, types.int64[::1], number[::1]
    return (
        integers, types.int64[:, ::1], types.int64[:, ::1], index, index, index, vector, vector,
        vector, integers, integers, integers, index, index, index, index, vector,
        types.int32[::1], types.float64[::1], vector, vector, number, number,
    )  # fmt: skip


@unit(_phase_types)
def phase(
    functions, layers, operations, begin, end, loss, parameters, result, work, source, target,
    order, first, count, thread, threads, pack, lists, losses, out, ones, alpha, beta,
):  # fmt: skip
    """Do a thread's share of some operations for the batch of ``count`` rows at order[first].

    When updating: result = beta * result + alpha * A^T (fan_in, rows) delta (rows, fan_out).
    """
    itemsize = work.itemsize
    for o in range(begin, end):
        what, l, split = operations[o, OPERATION], operations[o, LAYER], operations[o, SPLIT]
        fan_in, fan_out, stride = layers[l, FAN_IN], layers[l, FAN_OUT], layers[l, STRIDE]
        a, a_stride = work, layers[l, INPUT_STRIDE]
        inputs = layers[l, INPUT] + thread * layers[l, COPY]
        ahead = 0
        if l == 0 and operations[0, OPERATION] == IN_PLACE:
            a_stride = source[ROW_BYTES] // itemsize
            address = source[ADDRESS] + first * source[ROW_BYTES]
            a, inputs = carray(pointer_to(address, parameters.dtype.type(0)), count * a_stride), 0
            ahead = count * a_stride
        rows = fan_in if what == UPDATING else count
        units = fan_in if what == BACKWARD else fan_out
        start, stop, left, right = 0, rows, 0, units
        if split == ROWS:
            start = _share(rows, GROUP, thread, threads)
            stop = _share(rows, GROUP, thread + 1, threads)
        elif split == UNITS:
            left = _share(units, LINE // itemsize, thread, threads)
            right = _share(units, LINE // itemsize, thread + 1, threads)
        if start == stop or left == right:  # fewer of them than threads
            continue
        if what == GATHERING:
            gather_inputs(
                functions, layers, work, source, target, order, first, start, stop, inputs
            )
        elif what == CHECK:
            check_inputs(a, inputs, a_stride, fan_in, start, stop, losses)
        elif what == FORWARD:
            forward(
                functions, layers, l, parameters, a, inputs, a_stride, work, start, stop, left,
                right, lists, ahead,
            )  # fmt: skip
        elif what == FINISH:
            arguments = (
                functions, layers, loss, work, target, order, first, start, stop, losses
            )  # fmt: skip
            call_finish(functions[FINISHING], arguments)
            if len(out) > 0:
                for r in range(start, stop):
                    there, here = (first + r) * fan_out, layers[l, OUTPUT] + r * stride
                    for j in range(fan_out):
                        out[there + j] = work[here + j]
        elif what == BACKWARD:
            backward(functions, layers, l, parameters, work, start, stop, left, right, pack)
        elif what == UPDATING:
            _update(
                functions, layers, l, work, inputs, result, start, stop, left, right, count,
                lists, ones, alpha, beta,
            )  # fmt: skip


call_phase = phase.call


@serial
def _update(
    functions, layers, l, work, inputs, result, start, stop, left, right, rows, lists, ones, alpha,
    beta,
):  # fmt: skip
    """Update rows start .. stop and columns left .. right of a layer's weights, and its biases."""
    one = type(alpha)(1)
    stride, a_stride = layers[l, STRIDE], layers[l, INPUT_STRIDE]
    a, delta = inputs + start, layers[l, DELTA] + left
    w = layers[l, WEIGHTS] + start * stride + left
    if l == 0 and len(lists) > 0:
        for first in range(0, rows, GRADIENT_ROWS):
            product_of_sparse_transposed(
                functions, work, a + first * a_stride, a_stride,
                work, delta + first * stride, stride, result, w, stride,
                stop - start, right - left, min(GRADIENT_ROWS, rows - first),
                alpha, beta if first == 0 else one, lists,
            )  # fmt: skip
    else:
        arguments = (
            work, a, 1, a_stride, work, delta, stride, result, w, stride,
            stop - start, right - left, rows, FROM_ZERO, 0, SCALED, 0, alpha, beta, 0,
        )  # fmt: skip
        call_product(functions[PRODUCT], arguments)
    if stop == layers[l, FAN_IN]:  # the biases are the weights of an input that is always 1
        arguments = (
            ones, 0, 0, 0, work, delta, stride, result, layers[l, BIASES] + left, stride,
            1, right - left, rows, FROM_ZERO, 0, SCALED, 0, alpha, one, 0,
        )  # fmt: skip
        call_product(functions[PRODUCT], arguments)


def _one_row_types(number):
    index, integers, vector = types.int64, types.int64[::1], number[::1]
    return (
        integers, types.int64[:, ::1], index, vector, vector, vector, integers, integers, integers,
        index, types.int32[::1], types.float64[::1], number, number,
    )  # fmt: skip


@unit(_one_row_types)
def one_row(
    functions, layers, loss, parameters, result, work, source, target, order, first, lists, losses,
    alpha, beta,
):  # fmt: skip
    """Take a whole step for a batch of one row, if its loss is finite."""
    inputs = layers[0, INPUT]
    gather_inputs(functions, layers, work, source, target, order, first, 0, 1, inputs)
    arguments = (functions, layers, parameters, work, lists, beta != 1)
    call_forward_one(functions[FORWARD_ONE], arguments)
    arguments = (functions, layers, loss, work, target, order, first, 0, 1, losses)
    call_finish(functions[FINISHING], arguments)
    if math.isfinite(losses[0]):
        backward_one(functions, layers, parameters, result, work, lists, alpha, beta)


call_one_row = one_row.call


# Where things are that a prediction of one row needs: addresses, and the number of layers.
(
    SINGLE_FUNCTIONS,
    SINGLE_LAYERS,
    SINGLE_PARAMETERS,
    SINGLE_WORK,
    SINGLE_LISTS,
    SINGLE_TARGET,
    SINGLE_DEPTH,
) = range(7)


def _single_types(number):
    return types.int64[::1], number[::1], number[::1]


@unit(_single_types, nogil=False)
def single(plan, x, out):
    """Predict one row; return `FINE`, or why not.

    The work array belongs to the network, which is safe only as long as the interpreter's lock is
    held: this does not release it.
    """
    depth = plan[SINGLE_DEPTH]
    layers = carray(pointer_to(plan[SINGLE_LAYERS], np.int64(0)), (depth, COLUMNS))
    last = depth - 1
    fan_in, fan_out, stride = layers[0, FAN_IN], layers[last, FAN_OUT], layers[last, STRIDE]
    if len(x) != fan_in or len(out) != fan_out:
        return WRONG_LENGTH
    zero = out.dtype.type(0)
    functions = carray(pointer_to(plan[SINGLE_FUNCTIONS], np.int64(0)), PHASE + 1)
    parameters = carray(pointer_to(plan[SINGLE_PARAMETERS], zero), layers[last, BIASES] + stride)
    work = carray(pointer_to(plan[SINGLE_WORK], zero), layers[last, DELTA])
    lists = carray(pointer_to(plan[SINGLE_LISTS], np.int32(0)), 1)
    target = carray(pointer_to(plan[SINGLE_TARGET], np.int64(0)), KIND + 1)
    losses = carray(pointer_to(plan[SINGLE_TARGET], 0.0), 0)
    start = layers[0, INPUT]
    row = work[start : start + fan_in]
    bad = 0
    for j in range(fan_in):
        row[j] = x[j]
        bad += not math.isfinite(x[j])
    if bad:
        return NOT_FINITE
    arguments = (functions, layers, parameters, work, lists, False)
    call_forward_one(functions[FORWARD_ONE], arguments)
    no_order = target[:0]
    arguments = (functions, layers, 0, work, target, no_order, 0, 0, 1, losses)
    call_finish(functions[FINISHING], arguments)
    start = layers[last, OUTPUT]
    for j in range(fan_out):
        out[j] = work[start + j]
    return FINE


def _run_types(number):
    index, integers, vector = types.int64, types.int64[::1], number[::1]
    table, reals = types.int64[:, ::1], types.float64[::1]
    return (
        integers, table, table, integers, index, vector, vector, vector, number[:, ::1],
        integers, integers, integers, index, index, types.int32[:, ::1], types.int32[::1],
        vector, vector, reals, reals, vector, vector, index,
    )  # fmt: skip


@unit(_run_types, parallel=True)
def run(
    functions, layers, operations, phases, loss, parameters, result, work, packs, source, target,
    order, rows, batch_size, lists, taken, alphas, betas, row_losses, losses, out, ones, threads,
):  # fmt: skip
    """Take the rows in batches; return how many batches before a loss was not finite.

    The rows are those of ``order``, or the first ones of the source where it is empty. For each
    batch this does the operations, phase by phase: phase p ends before operation phases[p], and
    begins when all threads have done the one before. The last phase is the update, where there are
    ``alphas``: ``result = beta * result + alpha * g`` for the weights and ``result + alpha * g``
    for the biases, where g is the gradient of the sum of the batch's losses: with ``result`` the
    parameters themselves, that is gradient descent. With room in ``lists``, inputs that are zero
    are left out of the sums. A step of one row has a way of its own, on one thread.
    """
    alpha = beta = parameters.dtype.type(1)
    for step in range(len(losses)):
        first = step * batch_size
        count = min(batch_size, rows - first)
        training = len(alphas) > 0
        if training:
            alpha, beta = alphas[step], betas[step]
        if training and count == 1:
            arguments = (
                functions, layers, loss, parameters, result, work, source, target, order, first,
                taken, row_losses, alpha, beta,
            )  # fmt: skip
            call_one_row(functions[ONE_ROW], arguments)
            losses[step] = row_losses[0]
            if not math.isfinite(row_losses[0]):
                return step
            continue
        begin = 0
        for p in range(len(phases)):
            if training and p == len(phases) - 1:
                total = 0.0
                for r in range(count):
                    total += row_losses[r]
                losses[step] = total / count
                if not math.isfinite(total):
                    return step
            end = phases[p]
            if threads == 1:
                arguments = (
                    functions, layers, operations, begin, end, loss, parameters, result, work,
                    source, target, order, first, count, 0, 1, packs[0], lists[0], row_losses, out,
                    ones, alpha, beta,
                )  # fmt: skip
                call_phase(functions[PHASE], arguments)
            else:
                for t in prange(threads):
                    thread = int64(t)
                    arguments = (
                        functions, layers, operations, begin, end, loss, parameters, result, work,
                        source, target, order, first, count, thread, threads, packs[thread],
                        lists[thread], row_losses, out, ones, alpha, beta,
                    )  # fmt: skip
                    call_phase(functions[PHASE], arguments)
            begin = end
        if not training:
            total = 0.0
            for r in range(count):
                total += row_losses[r]
            losses[step] = total / count
    return len(losses)
