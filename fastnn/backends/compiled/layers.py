"""The layers of a network on a block of rows: gather, forward, outputs and losses, deltas backward.

Activations, deltas and targets lie in one flat array ``work``; the table ``layers`` says where.
Loops run along single rows: a row gives the same bits wherever a block begins.
"""

from __future__ import annotations

import math

import numpy as np
from numba import carray, types

from fastnn.activations import IDENTITY, RELU, SIGMOID, SOFTMAX, TANH
from fastnn.backends.compiled import elementary
from fastnn.backends.compiled.gemm import (
    PRODUCT,
    SPARSE_PRODUCT,
    call_product,
    call_product_of_sparse,
    product_transposed,
)
from fastnn.backends.compiled.jit import serial, unit
from fastnn.backends.compiled.vector_ir import pointer_to, prefetch
from fastnn.losses import CROSS_ENTROPY

# Columns of the table of layers, one row a layer. Offsets and strides count elements. WEIGHTS and
# BIASES are offsets in the flat parameters; INPUT, OUTPUT and DELTA in the work array.
(
    FAN_IN,
    FAN_OUT,
    WEIGHTS,
    BIASES,
    STRIDE,  # of the weights' rows, and of OUTPUT and DELTA
    ACTIVATION,
    INPUT,
    INPUT_STRIDE,
    OUTPUT,
    DELTA,
) = range(10)
COLUMNS = 10

# A source of rows: where they are, what they hold, and the bytes between rows and between columns.
ADDRESS, KIND, ROW_BYTES, COLUMN_BYTES = range(4)
FLOAT32, FLOAT64, UINT8, UINT8_PIXELS, LABELS, NONE = range(6)

# Shuffled rows are bound by memory latency: ask for a row this many rows before it is needed.
PREFETCH_ROWS = 8
LINE = 64


def _gather_types(number):
    return types.int64[::1], types.int64, number[::1], types.int64


@unit(_gather_types)
def gather(source, row, target, columns):
    """Copy one row of a source to a slice, converted; pixels are scaled from 0..255 to 0..1."""
    address = source[ADDRESS] + row * source[ROW_BYTES]
    step = source[COLUMN_BYTES]
    kind = source[KIND]
    one = target.dtype.type(1)
    if kind == FLOAT32:
        _copy(address, step, 4, np.float32(0), target, columns, one)
    elif kind == FLOAT64:
        _copy(address, step, 8, np.float64(0), target, columns, one)
    elif kind == UINT8:
        _copy(address, step, 1, np.uint8(0), target, columns, one)
    elif kind == UINT8_PIXELS:
        _copy(address, step, 1, np.uint8(0), target, columns, one / target.dtype.type(255))
    else:
        for j in range(columns):
            target[j] = 0
        target[carray(pointer_to(address, np.int64(0)), 1)[0]] = 1


call_gather = gather.call


@serial
def _copy(address, step, adjacent, like, target, columns, scale):
    if step == adjacent:
        values = carray(pointer_to(address, like), columns)
        for j in range(columns):
            target[j] = target.dtype.type(values[j]) * scale
    else:
        for j in range(columns):
            value = carray(pointer_to(address + j * step, like), 1)[0]
            target[j] = target.dtype.type(value) * scale


@serial
def prefetch_row(source, row, columns):
    """Ask for a row of a source to be brought near, if its columns are adjacent."""
    address = source[ADDRESS] + row * source[ROW_BYTES]
    if source[COLUMN_BYTES] > 8:  # every element has a line of its own
        return
    for offset in range(0, columns * source[COLUMN_BYTES], LINE):
        prefetch(address + offset)


@serial
def activate(code, row):
    """Replace weighted inputs by activations."""
    if code == RELU:
        for j in range(len(row)):
            row[j] = 0 if row[j] < 0 else row[j]
    elif code == SIGMOID:
        for j in range(len(row)):
            row[j] = elementary.sigmoid(row[j])
    elif code == TANH:
        for j in range(len(row)):
            row[j] = elementary.tanh(row[j])


@serial
def apply_derivative(code, row, delta):
    """Multiply deltas by the derivative of the activation, given its output."""
    one = row.dtype.type(1)
    if code == RELU:
        for j in range(len(row)):
            delta[j] = delta[j] if row[j] > 0 else 0
    elif code == SIGMOID:
        for j in range(len(row)):
            delta[j] *= row[j] * (one - row[j])
    elif code == TANH:
        for j in range(len(row)):
            delta[j] *= one - row[j] * row[j]


@serial
def softmax(row):
    """Replace weighted inputs by their softmax; return ``log(sum_k exp(z_k))``."""
    peak = row[0]
    for j in range(1, len(row)):
        peak = row[j] if row[j] > peak else peak
    for j in range(len(row)):
        row[j] = elementary.exp(row[j] - peak)
    total = row[0]
    for j in range(1, len(row)):
        total += row[j]
    scale = row.dtype.type(1) / total
    for j in range(len(row)):
        row[j] *= scale
    return peak + math.log(total)


@serial
def output_and_loss(activation, loss, row, target):
    """Replace weighted inputs by outputs and return the row's loss against the targets."""
    value = row.dtype.type(0)
    if loss == CROSS_ENTROPY:
        if activation == SOFTMAX:
            weighted, mass = value, value
            for j in range(len(row)):
                weighted += target[j] * row[j]
                mass += target[j]
            return softmax(row) * mass - weighted
        for j in range(len(row)):
            z = row[j]
            value += max(z, 0) - target[j] * z + math.log1p(elementary.exp(-abs(z)))
        activate(activation, row)
        return value
    if activation == SOFTMAX:
        softmax(row)
    else:
        activate(activation, row)
    for j in range(len(row)):
        value += (row[j] - target[j]) ** 2
    return value / len(row)


@serial
def target_to_delta(activation, loss, row, target):
    """Replace targets by the gradient of the row's loss with respect to its weighted inputs."""
    if loss == CROSS_ENTROPY:
        for j in range(len(row)):
            target[j] = row[j] - target[j]
        return
    slope = row.dtype.type(2) / row.dtype.type(len(row))
    for j in range(len(row)):
        target[j] = slope * (row[j] - target[j])
    if activation == SOFTMAX:
        mean = row.dtype.type(0)
        for j in range(len(row)):
            mean += target[j] * row[j]
        for j in range(len(row)):
            target[j] = row[j] * (target[j] - mean)
    else:
        apply_derivative(activation, row, target)


@serial
def forward(functions, layers, parameters, work, first, rows, lists):
    """Compute the weighted inputs of the last layer for rows first .. first + rows of the inputs.

    For each layer: Z (rows, fan_out) = A (rows, fan_in) W (fan_in, fan_out) + b.
    """
    one = work.dtype.type(1)
    for l in range(len(layers)):
        fan_in, fan_out, stride = layers[l, FAN_IN], layers[l, FAN_OUT], layers[l, STRIDE]
        output = layers[l, OUTPUT] + first * stride
        biases = parameters[layers[l, BIASES] : layers[l, BIASES] + stride]
        for r in range(rows):
            row = work[output + r * stride : output + (r + 1) * stride]
            for j in range(stride):
                row[j] = biases[j]
        source = layers[l, INPUT] + first * layers[l, INPUT_STRIDE]
        if l == 0 and len(lists) > 0:
            arguments = (
                work, source, layers[l, INPUT_STRIDE], parameters, layers[l, WEIGHTS], stride,
                work, output, stride, rows, fan_out, fan_in, lists,
            )  # fmt: skip
            call_product_of_sparse(functions[SPARSE_PRODUCT], arguments)
        else:
            arguments = (
                work, source, layers[l, INPUT_STRIDE], 1, parameters, layers[l, WEIGHTS], stride,
                work, output, stride, rows, fan_out, fan_in, 1, one, one,
            )  # fmt: skip
            call_product(functions[PRODUCT], arguments)
        if l < len(layers) - 1 and layers[l, ACTIVATION] != IDENTITY:
            for r in range(rows):
                start = output + r * stride
                activate(layers[l, ACTIVATION], work[start : start + fan_out])


@serial
def backward(functions, layers, parameters, work, first, rows, pack):
    """From the deltas of the last layer compute those of all layers before it.

    For each layer: delta (rows, fan_in) = delta (rows, fan_out) W^T (fan_out, fan_in) * f'(a).
    """
    for l in range(len(layers) - 1, 0, -1):
        stride, below = layers[l, STRIDE], layers[l - 1, STRIDE]
        delta = layers[l - 1, DELTA] + first * below
        product_transposed(
            functions, work, layers[l, DELTA] + first * stride, stride,
            parameters, layers[l, WEIGHTS], stride, work, delta, below,
            rows, layers[l, FAN_IN], layers[l, FAN_OUT], pack,
        )  # fmt: skip
        output = layers[l - 1, OUTPUT] + first * below
        columns = layers[l, FAN_IN]
        for r in range(rows):
            start = r * below
            apply_derivative(
                layers[l - 1, ACTIVATION],
                work[output + start : output + start + columns],
                work[delta + start : delta + start + columns],
            )
