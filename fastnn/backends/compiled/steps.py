"""The parallel kernels: predictions over many rows, and many steps of training in one call."""

from __future__ import annotations

import math

import numpy as np
from numba import carray, int64, prange, types

from fastnn.activations import SOFTMAX
from fastnn.backends import FINE, NOT_FINITE, WRONG_LENGTH
from fastnn.backends.compiled.gemm import (
    DELTAS,
    GRADIENT_ROWS,
    GROUP,
    ONE_ROW,
    PRODUCT,
    UPDATE,
    call_product,
    product_of_sparse_transposed,
)
from fastnn.backends.compiled.jit import serial, unit
from fastnn.backends.compiled.layers import (
    ACTIVATION,
    BIASES,
    COLUMNS,
    DELTA,
    FAN_IN,
    FAN_OUT,
    INPUT,
    INPUT_STRIDE,
    OUTPUT,
    STRIDE,
    WEIGHTS,
    activate,
    backward,
    backward_one,
    exponentials,
    finish,
    forward,
    forward_one,
    gather_inputs,
    normalise,
    peaks_to_zero,
)
from fastnn.backends.compiled.vector_ir import FROM_ZERO, SCALED, pointer_to


@serial
def _share(total, thread, threads):
    """Return the first of the things, in groups, that a thread takes; the next one's is the end."""
    groups = (total + GROUP - 1) // GROUP
    return min(total, groups * thread // threads * GROUP)


def _deltas_types(number):
    index, integers, vector = types.int64, types.int64[::1], number[::1]
    return (
        integers, types.int64[:, ::1], index, vector, vector, integers, integers, integers,
        index, index, index, vector, types.int32[::1], types.float64[::1], vector,
    )  # fmt: skip


@unit(_deltas_types)
def deltas(
    functions, layers, loss, parameters, work, source, target, order, first, start, stop, pack,
    lists, losses, out,
):  # fmt: skip
    """First half of a step, for rows start .. stop of the batch that begins at order[first].

    Gather and go forward through all layers; with a place for them, write the outputs; with
    targets, compute the losses; with a place to pack into, the deltas of all layers.
    """
    if start == stop:  # fewer rows than threads
        return
    last = len(layers) - 1
    stride, outputs = layers[last, STRIDE], layers[last, FAN_OUT]
    gather_inputs(functions, layers, work, source, target, order, first, start, stop)
    forward(functions, layers, parameters, work, start, stop - start, lists)
    finish(functions, layers, loss, work, target, order, first, start, stop, losses)
    if len(out) > 0:
        for r in range(start, stop):
            begin, row = (first + r) * outputs, layers[last, OUTPUT] + r * stride
            for j in range(outputs):
                out[begin + j] = work[row + j]
    if len(pack) > 0:
        backward(functions, layers, parameters, work, start, stop - start, pack)


call_deltas = deltas.call


def _update_types(number):
    index, vector = types.int64, number[::1]
    return (
        types.int64[::1], types.int64[:, ::1], vector, vector, vector, index, index, index,
        types.int32[::1], number, number,
    )  # fmt: skip


@unit(_update_types)
def update(functions, layers, work, ones, result, rows, thread, threads, lists, alpha, beta):
    """Second half of a step, for a thread's share of the rows of each weight matrix.

    result (fan_in, fan_out) = beta * result + alpha * A^T (fan_in, rows) delta (rows, fan_out).
    """
    one = type(alpha)(1)
    for l in range(len(layers)):
        start = _share(layers[l, FAN_IN], thread, threads)
        stop = _share(layers[l, FAN_IN], thread + 1, threads)
        fan_out, stride, a_stride = layers[l, FAN_OUT], layers[l, STRIDE], layers[l, INPUT_STRIDE]
        a, delta = layers[l, INPUT] + start, layers[l, DELTA]
        w = layers[l, WEIGHTS] + start * stride
        if l == 0 and len(lists) > 0:
            for first in range(0, rows, GRADIENT_ROWS):
                product_of_sparse_transposed(
                    functions, work, a + first * a_stride, a_stride,
                    work, delta + first * stride, stride, result, w, stride,
                    stop - start, fan_out, min(GRADIENT_ROWS, rows - first),
                    alpha, beta if first == 0 else one, lists,
                )  # fmt: skip
        else:
            arguments = (
                work, a, 1, a_stride, work, delta, stride, result, w, stride,
                stop - start, fan_out, rows, FROM_ZERO, 0, SCALED, 0, alpha, beta,
            )  # fmt: skip
            call_product(functions[PRODUCT], arguments)
        if thread == threads - 1:  # the biases are the weights of an input that is always 1
            arguments = (
                ones, 0, 0, 0, work, delta, stride, result, layers[l, BIASES], stride,
                1, fan_out, rows, FROM_ZERO, 0, SCALED, 0, alpha, one,
            )  # fmt: skip
            call_product(functions[PRODUCT], arguments)


call_update = update.call


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
    gather_inputs(functions, layers, work, source, target, order, first, 0, 1)
    forward_one(layers, parameters, work, lists, beta != 1)
    finish(functions, layers, loss, work, target, order, first, 0, 1, losses)
    if math.isfinite(losses[0]):
        backward_one(layers, parameters, result, work, lists, alpha, beta)


call_one_row = one_row.call


# Where things are that a prediction of one row needs: addresses, and the number of layers.
SINGLE_LAYERS, SINGLE_PARAMETERS, SINGLE_WORK, SINGLE_LISTS, SINGLE_DEPTH = range(5)


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
    fan_in, outputs, stride = layers[0, FAN_IN], layers[last, FAN_OUT], layers[last, STRIDE]
    if len(x) != fan_in or len(out) != outputs:
        return WRONG_LENGTH
    zero = out.dtype.type(0)
    parameters = carray(pointer_to(plan[SINGLE_PARAMETERS], zero), layers[last, BIASES] + stride)
    work = carray(pointer_to(plan[SINGLE_WORK], zero), layers[last, DELTA])
    lists = carray(pointer_to(plan[SINGLE_LISTS], np.int32(0)), 1)
    start = layers[0, INPUT]
    bad = 0
    for j in range(fan_in):
        work[start + j] = x[j]
        bad += not math.isfinite(x[j])
    if bad:
        return NOT_FINITE
    forward_one(layers, parameters, work, lists, False)
    begin = layers[last, OUTPUT]
    if layers[last, ACTIVATION] == SOFTMAX:
        peaks_to_zero(work, begin, stride, outputs, 0, 1)
        exponentials(work[begin : begin + outputs])
        normalise(work[begin : begin + outputs])
    else:
        activate(layers[last, ACTIVATION], work[begin : begin + outputs])
    for j in range(outputs):
        out[j] = work[begin + j]
    return FINE


def _run_types(number):
    index, integers, vector = types.int64, types.int64[::1], number[::1]
    reals = types.float64[::1]
    return (
        integers, types.int64[:, ::1], index, vector, vector, vector, number[:, ::1], vector,
        integers, integers, integers, index, index, types.int32[:, ::1], types.int32[::1],
        vector, vector, reals, reals, vector, index,
    )  # fmt: skip


@unit(_run_types, parallel=True)
def run(
    functions, layers, loss, parameters, result, work, packs, ones, source, target, order, rows,
    batch_size, lists, taken, alphas, betas, row_losses, losses, out, threads,
):  # fmt: skip
    """Take the rows in batches; return how many batches before a loss was not finite.

    The rows are those of ``order``, or the first ones of the source where it is empty. For each
    batch this computes its mean loss and sets ``result = beta * result + alpha * g`` for the
    weights and ``result + alpha * g`` for the biases, where g is the gradient of the sum of its
    losses: with ``result`` the parameters themselves, that is gradient descent. Where
    ``alphas``, ``packs`` or ``target`` is empty, there is no update, no deltas or no loss; with
    room in ``lists``, inputs that are zero are left out of the sums.
    """
    for step in range(len(losses)):
        first = step * batch_size
        count = min(batch_size, rows - first)
        if count == 1 and len(alphas) > 0:
            arguments = (
                functions, layers, loss, parameters, result, work, source, target, order, first,
                taken, row_losses, alphas[step], betas[step],
            )  # fmt: skip
            call_one_row(functions[ONE_ROW], arguments)
            losses[step] = row_losses[0]
            if not math.isfinite(row_losses[0]):
                return step
            continue
        if threads == 1:
            arguments = (
                functions, layers, loss, parameters, work, source, target, order, first, 0, count,
                packs[0], lists[0], row_losses, out,
            )  # fmt: skip
            call_deltas(functions[DELTAS], arguments)
        else:
            for t in prange(threads):
                thread = int64(t)
                start, stop = _share(count, thread, threads), _share(count, thread + 1, threads)
                arguments = (
                    functions, layers, loss, parameters, work, source, target, order, first, start,
                    stop, packs[thread], lists[thread], row_losses, out,
                )  # fmt: skip
                call_deltas(functions[DELTAS], arguments)
        total = 0.0
        for r in range(count):
            total += row_losses[r]
        losses[step] = total / count
        if len(alphas) == 0:
            continue
        if not math.isfinite(total):
            return step
        alpha, beta = alphas[step], betas[step]
        if threads == 1:
            arguments = (functions, layers, work, ones, result, count, 0, 1, lists[0], alpha, beta)
            call_update(functions[UPDATE], arguments)
        else:
            for t in prange(threads):
                thread = int64(t)
                arguments = (
                    functions, layers, work, ones, result, count, thread, threads, lists[thread],
                    alpha, beta,
                )  # fmt: skip
                call_update(functions[UPDATE], arguments)
    return len(losses)
