"""A single row, on one thread: a step of gradient descent, and a prediction.

Inputs that are zero are left out, and each row of weights is read once, both ways.
"""

from __future__ import annotations

import math

import numpy as np
from numba import carray, int64, types

from fastnn.activations import IDENTITY, RELU
from fastnn.backends.compiled.kernels.layers import call_activate, gather_inputs
from fastnn.backends.compiled.kernels.outputs import call_finish
from fastnn.backends.compiled.kernels.products import across_one
from fastnn.backends.compiled.kernels.table import (
    ACTIVATE,
    ACTIVATION,
    ALPHA,
    BETA,
    BIASES,
    COLUMNS,
    DELTA,
    FAN_IN,
    FAN_OUT,
    FINISHING,
    FORWARD_ONE,
    INPUT,
    KIND,
    OUTPUT,
    PHASE,
    SLOPE,
    SMOOTHING,
    STRIDE,
    WEIGHTS,
)
from fastnn.backends.compiled.machinery.jit import serial, unit
from fastnn.backends.compiled.machinery.vector_ir import (
    FROM_BIASES,
    PLAIN,
    RECTIFIED,
    flush_denormals,
    lanes,
    list_nonzero,
    outer_tile,
    pointer_to,
    restore_denormals,
    row_tile,
)
from fastnn.backends.contract import FINE, NOT_FINITE, WRONG_LENGTH

NO_KEYS = np.zeros(1, np.uint32)


def _forward_one_types(number):
    vector = number[::1]
    return (
        types.int64[::1], types.int64[:, ::1], vector, vector, types.int32[::1], types.boolean
    )  # fmt: skip


@unit(_forward_one_types)
def forward_one(functions, layers, parameters, work, lists, everything):
    """Compute the weighted inputs of the last layer for the first row of the inputs.

    Inputs that are zero are left out, unless ``everything`` is to be taken. ``lists`` gets for each
    layer how many inputs were taken and, from the next place on, which.
    """
    one = work.dtype.type(1)
    width = lanes(work.itemsize)
    begin = 0
    for l in range(len(layers)):
        fan_in, source, output = layers[l, FAN_IN], layers[l, INPUT], layers[l, OUTPUT]
        length = 0
        if everything or (l > 0 and layers[l - 1, ACTIVATION] != RELU):
            for k in range(fan_in):
                lists[begin + 1 + k] = k
            length = fan_in
        else:
            for k in range(0, fan_in, width):
                length += list_nonzero(work, source + k, 0, 1, k, lists, begin + 1 + length)
        lists[begin] = length
        code, hidden = layers[l, ACTIVATION], l < len(layers) - 1
        finish = RECTIFIED if hidden and code == RELU else PLAIN
        vectors = (layers[l, FAN_OUT] + width - 1) // width
        vector = 0
        while vector < vectors:
            across = across_one(vectors - vector)
            column = vector * width
            row_tile(
                1, across, work, source, 0, 1, parameters, layers[l, WEIGHTS] + column,
                layers[l, STRIDE], work, output + column, 0, lists, begin + 1, length,
                FROM_BIASES, layers[l, BIASES] + column, finish, 0, one, one, 0, 0, 0,
            )  # fmt: skip
            vector += across
        if hidden and finish == PLAIN and code != IDENTITY:
            slopes = layers[l, SLOPE] - output if layers[l, SLOPE] > 0 else 0
            arguments = (
                code, work, output, slopes, 0, 1, layers[l, FAN_OUT], 0, 0, NO_KEYS, 0
            )  # fmt: skip
            call_activate(functions[ACTIVATE], arguments)
        begin += fan_in + 1


call_forward_one = forward_one.call


@serial
def backward_one(layers, parameters, result, work, lists, alpha, beta):
    """From the deltas of the last layer for one row, update all layers.

    Each row of weights that `forward_one` took is read once: the delta of its input is its product
    with the layer's deltas, before ``beta * w + alpha * a * delta`` is written.
    """
    width = lanes(work.itemsize)
    end = 0
    for l in range(len(layers)):
        end += layers[l, FAN_IN] + 1
    for l in range(len(layers) - 1, -1, -1):
        fan_in, fan_out, stride = layers[l, FAN_IN], layers[l, FAN_OUT], layers[l, STRIDE]
        weights, biases, delta = layers[l, WEIGHTS], layers[l, BIASES], layers[l, DELTA]
        end -= fan_in + 1
        below = layers[l - 1, DELTA] if l > 0 else 0
        vectors = (fan_out + width - 1) // width
        vector = 0
        while vector < vectors:
            across = across_one(vectors - vector)
            column = vector * width
            outer_tile(
                across, l > 0, work, layers[l, INPUT], delta + column, parameters,
                weights + column, result, stride, lists, end + 1, int64(lists[end]), below,
                vector > 0, alpha, beta,
            )  # fmt: skip
            vector += across
        for j in range(fan_out):
            result[biases + j] += alpha * work[delta + j]
        if l == 0:
            continue
        slope, output = layers[l - 1, SLOPE], layers[l, INPUT]
        deltas = work[below : below + fan_in]
        if slope > 0:
            slopes = work[slope : slope + fan_in]
            for j in range(fan_in):
                deltas[j] *= slopes[j]
        elif layers[l - 1, ACTIVATION] == RELU:
            outputs = work[output : output + fan_in]
            zero = work.dtype.type(0)
            for j in range(fan_in):
                d = deltas[j]  # read in any case, or the loop does not vectorise: 1.25 times a step
                deltas[j] = d if outputs[j] > zero else zero


def _one_row_types(number):
    index, integers, vector = types.int64, types.int64[::1], number[::1]
    return (
        integers, types.int64[:, ::1], index, vector, vector, vector, integers, integers, vector,
        integers, index, types.int32[::1], types.float64[::1], vector,
    )  # fmt: skip


@unit(_one_row_types)
def one_row(
    functions, layers, loss, parameters, result, work, source, target, weights, order, first,
    lists, losses, numbers,
):  # fmt: skip
    """Take a whole step for a batch of one row, if its loss is finite."""
    inputs, beta = layers[0, INPUT], numbers[BETA]
    gather_inputs(functions, layers, work, source, target, order, first, 0, 1, inputs)
    arguments = (functions, layers, parameters, work, lists, beta != 1)
    call_forward_one(functions[FORWARD_ONE], arguments)
    arguments = (
        functions, layers, loss, numbers[SMOOTHING], work, target, weights, order, first, 0, 1,
        losses,
    )  # fmt: skip
    call_finish(functions[FINISHING], arguments)
    if math.isfinite(losses[0]):
        backward_one(layers, parameters, result, work, lists, numbers[ALPHA], beta)


call_one_row = one_row.call


# Where things are that a prediction of one row needs: addresses, and two lengths.
(
    SINGLE_FUNCTIONS,
    SINGLE_LAYERS,
    SINGLE_PARAMETERS,
    SINGLE_WORK,
    SINGLE_LISTS,
    SINGLE_TARGET,
    SINGLE_SCALER,
    SINGLE_DEPTH,
    SINGLE_SCALED,
) = range(9)


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
    scaler = carray(pointer_to(plan[SINGLE_SCALER], zero), plan[SINGLE_SCALED])
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
    before = flush_denormals()
    if len(scaler) > 0:
        for j in range(fan_in):
            row[j] = (row[j] - scaler[j]) * scaler[fan_in + j]
    arguments = (functions, layers, parameters, work, lists, False)
    call_forward_one(functions[FORWARD_ONE], arguments)
    no_order, no_weights = target[:0], scaler[:0]
    arguments = (functions, layers, 0, zero, work, target, no_weights, no_order, 0, 0, 1, losses)
    call_finish(functions[FINISHING], arguments)
    start = layers[last, OUTPUT]
    for j in range(fan_out):
        out[j] = work[start + j]
    restore_denormals(before)
    return FINE
