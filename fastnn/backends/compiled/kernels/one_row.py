"""A single row, on one thread: a step of gradient descent, and a prediction.

Inputs that are zero are left out, and each row of weights is read once, both ways.
"""

from __future__ import annotations

import math

from numba import int64, types

from fastnn.activations import IDENTITY, RELU
from fastnn.backends.compiled.kernels.inputs import gather_inputs
from fastnn.backends.compiled.kernels.layers import call_activate
from fastnn.backends.compiled.kernels.layout import (
    Batch,
    Matrix,
    Share,
    Sums,
    indices,
    layers_of,
    numbers,
    parameters_at,
    plan_type,
    reals,
    work_of,
)
from fastnn.backends.compiled.kernels.outputs import call_finish
from fastnn.backends.compiled.kernels.products import across_one
from fastnn.backends.compiled.machinery.jit import serial, unit
from fastnn.backends.compiled.machinery.vector_ir import (
    FROM_BIASES,
    PLAIN,
    RECTIFIED,
    flush_denormals,
    itemsize_of,
    lanes,
    list_nonzero,
    outer_tile,
    restore_denormals,
    row_tile,
)
from fastnn.backends.contract import FINE, NOT_FINITE, WRONG_LENGTH


def _forward_one_types(number):
    return plan_type(number), types.boolean


@unit(_forward_one_types)
def forward_one(plan, everything):
    """Compute the weighted inputs of the last layer for the first row of the inputs.

    Inputs that are zero are left out, unless ``everything`` is to be taken. The plan's lists of one
    row get for each layer how many inputs were taken and, from the next place on, which.
    """
    layers, lists = layers_of(plan), indices(plan.lists_of_one, 1)
    one = type(plan.alpha)(1)
    itemsize = itemsize_of(plan.alpha)
    width = lanes(itemsize)
    begin = 0
    for l in range(plan.depth):
        layer = layers[l]
        fan_in, hidden = layer.fan_in, l < plan.depth - 1
        inputs, outputs = plan.work + itemsize * layer.inputs, plan.work + itemsize * layer.outputs
        length = 0
        if everything or (l > 0 and layers[l - 1].activation != RELU):
            for k in range(fan_in):
                lists[begin + 1 + k] = k
            length = fan_in
        else:
            for k in range(0, fan_in, width):
                listed = plan.lists_of_one + 4 * (begin + 1 + length)
                length += list_nonzero(inputs + itemsize * k, 0, 1, k, listed, one)
        lists[begin] = length
        finish = int64(RECTIFIED if hidden and layer.activation == RELU else PLAIN)
        vectors = (layer.fan_out + width - 1) // width
        vector = 0
        while vector < vectors:
            across = across_one(vectors - vector)
            offset = itemsize * vector * width
            biases = plan.parameters + itemsize * layer.biases + offset
            weights = plan.parameters + itemsize * layer.weights + offset
            row_tile(
                1,
                across,
                Matrix(inputs, int64(0), int64(1)),
                Matrix(weights, layer.stride, int64(1)),
                Matrix(outputs + offset, int64(0), int64(1)),
                (plan.lists_of_one + 4 * (begin + 1), int64(length)),
                Sums(int64(FROM_BIASES), biases, finish, int64(0), one, one),
                (0, 0, 0),
            )
            vector += across
        if hidden and finish == PLAIN and layer.activation != IDENTITY:
            nothing, whole = int64(0), Share(int64(0), int64(1), int64(0), layer.fan_out)
            call_activate(
                plan.functions.activate, (plan, l, Batch(nothing, int64(1), nothing), whole)
            )
        begin += fan_in + 1


call_forward_one = forward_one.call


@serial
def backward_one(plan):
    """From the deltas of the last layer for one row, update all layers.

    Each row of weights that `forward_one` took is read once: the delta of its input is its product
    with the layer's deltas, before ``beta * w + alpha * a * delta`` is written.
    """
    layers, work = layers_of(plan), work_of(plan)
    result, lists = parameters_at(plan, plan.result), indices(plan.lists_of_one, 1)
    alpha, beta = plan.alpha, plan.beta
    itemsize = itemsize_of(alpha)
    width = lanes(itemsize)
    end = 0
    for l in range(plan.depth):
        end += layers[l].fan_in + 1
    for l in range(plan.depth - 1, -1, -1):
        layer = layers[l]
        fan_in, fan_out = layer.fan_in, layer.fan_out
        end -= fan_in + 1
        below = layers[l - 1].deltas if l > 0 else 0
        vectors = (fan_out + width - 1) // width
        vector = 0
        while vector < vectors:
            across = across_one(vectors - vector)
            column = vector * width
            places = (
                plan.work + itemsize * layer.inputs,
                plan.work + itemsize * (layer.deltas + column),
                plan.parameters + itemsize * (layer.weights + column),
                plan.result + itemsize * (layer.weights + column),
                plan.work + itemsize * below,
            )
            terms = plan.lists_of_one + 4 * (end + 1), int64(lists[end])
            outer_tile(across, l > 0, places, layer.stride, terms, vector > 0, alpha, beta)
            vector += across
        for j in range(fan_out):
            result[layer.biases + j] += alpha * work[layer.deltas + j]
        if l == 0:
            continue
        slope, output = layers[l - 1].slopes, layer.inputs
        deltas = work[below : below + fan_in]
        if slope > 0:
            slopes = work[slope : slope + fan_in]
            for j in range(fan_in):
                deltas[j] *= slopes[j]
        elif layers[l - 1].activation == RELU:
            outputs = work[output : output + fan_in]
            zero = work.dtype.type(0)
            for j in range(fan_in):
                d = deltas[j]  # read in any case, or the loop does not vectorise: 1.25 times a step
                deltas[j] = d if outputs[j] > zero else zero


def _one_row_types(number):
    return plan_type(number), types.int64


@unit(_one_row_types)
def one_row(plan, first):
    """Take a whole step for a batch of one row, if its loss is finite."""
    nothing = int64(0)
    batch, share = Batch(first, int64(1), nothing), Share(nothing, int64(1), nothing, nothing)
    gather_inputs(plan, batch, share)
    call_forward_one(plan.functions.forward_one, (plan, plan.beta != 1))
    call_finish(plan.functions.finish, (plan, batch, share))
    if math.isfinite(reals(plan.row_losses, 1)[0]):
        backward_one(plan)


call_one_row = one_row.call


def _single_types(number):
    return types.Array(plan_type(number), 1, "C"), number[::1], number[::1]


@unit(_single_types, nogil=False)
def single(plans, x, out):
    """Predict one row by the only plan; return `FINE`, or why not.

    The work array belongs to the network, which is safe only as long as the interpreter's lock is
    held: this does not release it.
    """
    plan = plans[0]
    layers, work = layers_of(plan), work_of(plan)
    fan_in, last = layers[0].fan_in, layers[plan.depth - 1]
    fan_out = last.fan_out
    if len(x) != fan_in or len(out) != fan_out:
        return WRONG_LENGTH
    start = layers[0].inputs
    row = work[start : start + fan_in]
    bad = 0
    for j in range(fan_in):
        row[j] = x[j]
        bad += not math.isfinite(x[j])
    if bad:
        return NOT_FINITE
    before = flush_denormals()
    if plan.scaler != 0:
        scaler = numbers(plan.scaler, 2 * fan_in, plan.alpha)
        for j in range(fan_in):
            row[j] = (row[j] - scaler[j]) * scaler[fan_in + j]
    call_forward_one(plan.functions.forward_one, (plan, False))
    nothing, one = int64(0), int64(1)
    arguments = (plan, Batch(nothing, one, nothing), Share(nothing, one, nothing, nothing))
    call_finish(plan.functions.finish, arguments)
    for j in range(fan_out):
        out[j] = work[last.outputs + j]
    restore_denormals(before)
    return FINE
