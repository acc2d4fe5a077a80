"""The parallel kernels: predictions over many rows, and many steps of training in one call."""

from __future__ import annotations

import math

import numpy as np
from numba import carray, int64, prange, types

from fastnn.activations import SOFTMAX
from fastnn.backends import FINE, NOT_FINITE, WRONG_LENGTH
from fastnn.backends.compiled.gemm import (
    DELTAS,
    GATHER,
    GRADIENT_ROWS,
    GROUP,
    LISTED_K_BLOCK,
    PRODUCT,
    UPDATE,
    WORTH_LISTING,
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
    KIND,
    NONE,
    OUTPUT,
    PREFETCH_ROWS,
    STRIDE,
    WEIGHTS,
    activate,
    backward,
    call_gather,
    forward,
    output_and_loss,
    prefetch_row,
    softmax,
    target_to_delta,
)
from fastnn.backends.compiled.vector_ir import pointer_to


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
    stride, fan_out = layers[last, STRIDE], layers[last, FAN_OUT]
    fan_in, width = layers[0, FAN_IN], layers[0, INPUT_STRIDE]
    activation = layers[last, ACTIVATION]
    shuffled = len(order) > 0
    for r in range(start, stop):
        index = first + r
        if shuffled:
            if index + PREFETCH_ROWS < len(order):
                prefetch_row(source, order[index + PREFETCH_ROWS], fan_in)
            index = order[index]
        begin = layers[0, INPUT] + r * width
        call_gather(functions[GATHER], (source, index, work[begin : begin + fan_in], fan_in))
    forward(functions, layers, parameters, work, start, stop - start, lists)
    for r in range(start, stop):
        begin = layers[last, OUTPUT] + r * stride
        row = work[begin : begin + fan_out]
        if target[KIND] == NONE:
            if activation == SOFTMAX:
                softmax(row)
            else:
                activate(activation, row)
        else:
            begin = layers[last, DELTA] + r * stride
            delta = work[begin : begin + stride]
            index = order[first + r] if shuffled else first + r
            call_gather(functions[GATHER], (target, index, delta, fan_out))
            losses[r] = output_and_loss(activation, loss, row, delta)
            if len(pack) > 0:
                target_to_delta(activation, loss, row, delta)
                for j in range(fan_out, stride):
                    delta[j] = 0
        if len(out) > 0:
            begin = (first + r) * fan_out
            for j in range(fan_out):
                out[begin + j] = row[j]
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
        stride, a_stride = layers[l, STRIDE], layers[l, INPUT_STRIDE]
        for first in range(0, rows, GRADIENT_ROWS):
            count = min(GRADIENT_ROWS, rows - first)
            delta = layers[l, DELTA] + first * stride
            a = layers[l, INPUT] + first * a_stride + start
            w = layers[l, WEIGHTS] + start * stride
            scale = beta if first == 0 else one
            if l == 0 and len(lists) > 0:
                product_of_sparse_transposed(
                    functions, work, a, a_stride, work, delta, stride, result, w, stride,
                    stop - start, layers[l, FAN_OUT], count, alpha, scale, lists,
                )  # fmt: skip
            else:
                arguments = (
                    work, a, 1, a_stride, work, delta, stride, result, w, stride,
                    stop - start, layers[l, FAN_OUT], count, 0, alpha, scale,
                )  # fmt: skip
                call_product(functions[PRODUCT], arguments)
            if thread == threads - 1:  # the biases are the weights of an input that is always 1
                arguments = (
                    ones, 0, 0, 0, work, delta, stride, result, layers[l, BIASES], stride,
                    1, layers[l, FAN_OUT], count, 0, alpha, one,
                )  # fmt: skip
                call_product(functions[PRODUCT], arguments)


call_update = update.call


# Where things are that a prediction of one row needs: addresses, and the number of layers.
SINGLE_FUNCTIONS, SINGLE_LAYERS, SINGLE_PARAMETERS, SINGLE_WORK, SINGLE_LISTS, SINGLE_DEPTH = range(
    6
)


def _single_types(number):
    return types.int64[::1], number[::1], number[::1]


@unit(_single_types, nogil=False)
def single(plan, x, out):
    """Predict one row; return `FINE`, or why not.

    The work array belongs to the network, which is safe only as long as the interpreter's lock is
    held: this does not release it.
    """
    depth = plan[SINGLE_DEPTH]
    functions = carray(pointer_to(plan[SINGLE_FUNCTIONS], np.int64(0)), UPDATE + 1)
    layers = carray(pointer_to(plan[SINGLE_LAYERS], np.int64(0)), (depth, COLUMNS))
    last = depth - 1
    fan_in, fan_out = layers[0, FAN_IN], layers[last, FAN_OUT]
    if len(x) != fan_in or len(out) != fan_out:
        return WRONG_LENGTH
    zero = out.dtype.type(0)
    size = layers[last, BIASES] + layers[last, STRIDE]
    parameters = carray(pointer_to(plan[SINGLE_PARAMETERS], zero), size)
    work = carray(pointer_to(plan[SINGLE_WORK], zero), layers[last, DELTA])
    bad, filled = 0, 0
    start = layers[0, INPUT]
    for j in range(fan_in):
        work[start + j] = x[j]
        bad += not math.isfinite(x[j])
        filled += x[j] != 0
    if bad:
        return NOT_FINITE
    length = LISTED_K_BLOCK + 1 if filled < WORTH_LISTING * fan_in else 0
    lists = carray(pointer_to(plan[SINGLE_LISTS], np.int32(0)), length)
    forward(functions, layers, parameters, work, 0, 1, lists)
    row = work[layers[last, OUTPUT] : layers[last, OUTPUT] + fan_out]
    if layers[last, ACTIVATION] == SOFTMAX:
        softmax(row)
    else:
        activate(layers[last, ACTIVATION], row)
    for j in range(fan_out):
        out[j] = row[j]
    return FINE


def _run_types(number):
    index, integers, vector = types.int64, types.int64[::1], number[::1]
    reals = types.float64[::1]
    return (
        integers, types.int64[:, ::1], index, vector, vector, vector, number[:, ::1], vector,
        integers, integers, integers, index, index, types.int32[:, ::1], vector, vector,
        reals, reals, vector, index,
    )  # fmt: skip


@unit(_run_types, parallel=True)
def run(
    functions, layers, loss, parameters, result, work, packs, ones, source, target, order, rows,
    batch_size, lists, alphas, betas, row_losses, losses, out, threads,
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
