"""The layers of a network on a block of rows: gather, forward, deltas backward.

Activations, deltas and targets lie in one flat array ``work``; the table ``layers`` says where.
Loops run along single rows: a row gives the same bits wherever a block begins.
"""

from __future__ import annotations

import math

import numpy as np
from numba import carray, types

from fastnn.activations import (
    ELU,
    GELU,
    IDENTITY,
    LEAK,
    LEAKY_RELU,
    RELU,
    SELU,
    SELU_ALPHA,
    SELU_SCALE,
    SIGMOID,
    SILU,
    SOFTPLUS,
    TANH,
)
from fastnn.backends.compiled.kernels import elementary
from fastnn.backends.compiled.kernels.products import (
    call_product,
    call_product_of_sparse,
    product_transposed,
)
from fastnn.backends.compiled.kernels.table import (
    ACTIVATE,
    ACTIVATION,
    ADDRESS,
    BIASES,
    COLUMN_BYTES,
    DELTA,
    DROP,
    FAN_IN,
    FAN_OUT,
    FLOAT32,
    FLOAT64,
    GATHER,
    INPUT_STRIDE,
    KIND,
    OUTPUT,
    PRODUCT,
    ROW_BYTES,
    SLOPE,
    SPARSE_PRODUCT,
    STRIDE,
    UINT8,
    UINT8_PIXELS,
    WEIGHTS,
)
from fastnn.backends.compiled.machinery.jit import serial, unit
from fastnn.backends.compiled.machinery.vector_ir import (
    FROM_BIASES,
    MASKED,
    PLAIN,
    RECTIFIED,
    REDUCED,
    finite_groups,
    pointer_to,
    prefetch,
)
from fastnn.backends.dropout import GOLDEN_32

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
    prefetch(address)
    if source[COLUMN_BYTES] > 8:  # every element has a line of its own
        return
    for offset in range(LINE, columns * source[COLUMN_BYTES], LINE):
        prefetch(address + offset)


@serial
def gather_inputs(functions, layers, work, source, target, order, first, start, stop, inputs):
    """Gather rows start .. stop of the batch that begins at order[first], or that row, to inputs.

    Asks for the rows and targets that come later.
    """
    fan_in, width = layers[0, FAN_IN], layers[0, INPUT_STRIDE]
    shuffled = len(order) > 0
    for r in range(start, stop):
        index = first + r
        if shuffled:
            if index + PREFETCH_ROWS < len(order):
                prefetch_row(source, order[index + PREFETCH_ROWS], fan_in)
                prefetch_row(target, order[index + PREFETCH_ROWS], layers[-1, FAN_OUT])
            index = order[index]
        begin = inputs + r * width
        call_gather(functions[GATHER], (source, index, work[begin : begin + fan_in], fan_in))


@serial
def adjust_inputs(layers, work, scaler, first, start, stop, keys, inputs):
    """Standardise gathered rows, if there is a scaler, means and then factors; leave some out.

    An operation of its own, so that gathering, which every step does, stays short.
    """
    fan_in, width = layers[0, FAN_IN], layers[0, INPUT_STRIDE]
    for r in range(start, stop):
        begin = inputs + r * width
        row = work[begin : begin + fan_in]
        if len(scaler) > 0:
            for j in range(fan_in):
                row[j] = (row[j] - scaler[j]) * scaler[fan_in + j]
        if layers[0, DROP] > 0:
            leave_out(row, keys[first + r], 0, layers[0, DROP])


@serial
def leave_out(row, key, unit, below):
    """Set the units of a row whose hash is below a threshold to 0, and divide the others.

    The first is number ``unit``; see `fastnn.backends.dropout`.
    """
    scale = row.dtype.type(2.0**32 / (2.0**32 - below))
    zero = row.dtype.type(0)
    least = np.uint32(below)
    start = np.uint32(key + np.uint32(unit) * np.uint32(GOLDEN_32))
    for j in range(len(row)):
        x = np.uint32(start + np.uint32(j) * np.uint32(GOLDEN_32))
        x = np.uint32(x ^ (x >> np.uint32(16))) * np.uint32(0x85EBCA6B)
        x = np.uint32(x)
        x = np.uint32(np.uint32(x ^ (x >> np.uint32(13))) * np.uint32(0xC2B2AE35))
        x = np.uint32(x ^ (x >> np.uint32(16)))
        row[j] = row[j] * scale if x >= least else zero


@serial
def check_inputs(inputs, begin, stride, columns, start, stop, losses):
    """Set the losses of rows to NaN where an input is not finite, else to 0."""
    groups = columns // REDUCED
    for r in range(start, stop):
        row = begin + r * stride
        finite = finite_groups(inputs, row, groups)
        for j in range(groups * REDUCED, columns):
            finite = finite and math.isfinite(inputs[row + j])
        losses[r] = 0.0 if finite else np.nan


def _activate_types(number):
    index = types.int64
    return (
        index, number[::1], index, index, index, index, index, index, index, types.uint32[::1],
        index,
    )  # fmt: skip


@unit(_activate_types)
def activate(code, work, first, slopes, stride, rows, columns, number, below, keys, key):
    """Replace weighted inputs by activations, in rows that begin at ``first``.

    If ``slopes`` is not 0, derivatives go that many elements after them. Then if ``below`` is not 0
    units are left out of both; they are numbered from ``number``, and the rows' keys begin at
    ``keys[key]``.
    """
    zero, one = work.dtype.type(0), work.dtype.type(1)
    leak = work.dtype.type(LEAK)
    scale, steep = work.dtype.type(SELU_SCALE), work.dtype.type(SELU_SCALE * SELU_ALPHA)
    for r in range(rows):
        begin = first + r * stride
        row = work[begin : begin + columns]
        if slopes == 0:
            if code == SIGMOID:
                for j in range(columns):
                    row[j] = elementary.sigmoid(row[j])
            elif code == TANH:
                for j in range(columns):
                    row[j] = elementary.tanh(row[j])
            elif code == LEAKY_RELU:
                for j in range(columns):
                    row[j] = row[j] if row[j] > zero else leak * row[j]
            elif code == ELU:
                for j in range(columns):
                    row[j] = row[j] if row[j] > zero else elementary.expm1(row[j])
            elif code == SELU:
                for j in range(columns):
                    z = row[j]
                    row[j] = scale * z if z > zero else steep * elementary.expm1(z)
            elif code == GELU:
                for j in range(columns):
                    row[j] *= elementary.normal_cdf(row[j])
            elif code == SILU:
                for j in range(columns):
                    row[j] *= elementary.sigmoid(row[j])
            elif code == SOFTPLUS:
                for j in range(columns):
                    row[j] = elementary.softplus(row[j])
            continue
        slope = work[begin + slopes : begin + slopes + columns]
        if code == IDENTITY:
            for j in range(columns):
                slope[j] = one
        elif code == SIGMOID:
            for j in range(columns):
                row[j], slope[j] = elementary.sigmoid_and_slope(row[j])
        elif code == TANH:
            for j in range(columns):
                row[j] = elementary.tanh(row[j])
                slope[j] = one - row[j] * row[j]
        elif code == RELU:
            for j in range(columns):
                slope[j] = one if row[j] > zero else zero
                row[j] = zero if row[j] < zero else row[j]
        elif code == LEAKY_RELU:
            for j in range(columns):
                slope[j] = one if row[j] > zero else leak
                row[j] *= slope[j]
        elif code == ELU:
            for j in range(columns):
                low = elementary.expm1(row[j])
                slope[j] = one if row[j] > zero else low + one
                row[j] = row[j] if row[j] > zero else low
        elif code == SELU:
            for j in range(columns):
                z, low = row[j], steep * elementary.expm1(row[j])
                slope[j] = scale if z > zero else low + steep
                row[j] = scale * z if z > zero else low
        elif code == GELU:
            for j in range(columns):
                z, share = row[j], elementary.normal_cdf(row[j])
                slope[j] = share + z * elementary.normal_density(z)
                row[j] = z * share
        elif code == SILU:
            for j in range(columns):
                z, share = row[j], elementary.sigmoid(row[j])
                slope[j] = share * (one + z * (one - share))
                row[j] = z * share
        elif code == SOFTPLUS:
            for j in range(columns):
                z = row[j]
                slope[j] = elementary.sigmoid(z)
                row[j] = elementary.softplus(z)
        if below > 0:
            leave_out(row, keys[key + r], number, below)
            leave_out(slope, keys[key + r], number, below)


call_activate = activate.call


@serial
def forward(
    functions, layers, l, parameters, a, inputs, a_stride, work, start, stop, left, right, lists,
    ahead, keys, key,
):  # fmt: skip
    """Compute units left .. right of a layer for rows start .. stop.

    Z (rows, fan_out) = A (rows, fan_in) W (fan_in, fan_out) + b, where A begins at ``a[inputs]``;
    in hidden layers the activation follows. For ``ahead`` see `product`; the rows' keys for dropout
    begin at ``keys[key]``.
    """
    one = work.dtype.type(1)
    stride = layers[l, STRIDE]
    output = layers[l, OUTPUT] + start * stride + left
    source, weights = inputs + start * a_stride, layers[l, WEIGHTS] + left
    biases = layers[l, BIASES] + left
    code, hidden = layers[l, ACTIVATION], l < len(layers) - 1
    slopes = layers[l, SLOPE] - layers[l, OUTPUT] if layers[l, SLOPE] > 0 else 0
    finish = RECTIFIED if hidden and code == RELU and slopes == 0 else PLAIN
    if l == 0 and len(lists) > 0:
        arguments = (
            a, source, a_stride, parameters, weights, stride, work, output, stride,
            stop - start, right - left, layers[l, FAN_IN], biases, finish, lists,
        )  # fmt: skip
        call_product_of_sparse(functions[SPARSE_PRODUCT], arguments)
    else:
        arguments = (
            a, source, a_stride, 1, parameters, weights, stride, work, output, stride,
            stop - start, right - left, layers[l, FAN_IN], FROM_BIASES, biases, finish, 0, one, one,
            ahead,
        )  # fmt: skip
        call_product(functions[PRODUCT], arguments)
    if hidden and finish == PLAIN and (code != IDENTITY or slopes > 0):
        arguments = (
            code, work, output, slopes, stride, stop - start, right - left,
            left, layers[l + 1, DROP], keys, key + start,
        )  # fmt: skip
        call_activate(functions[ACTIVATE], arguments)


@serial
def backward(functions, layers, l, parameters, work, inputs, start, stop, left, right, pack):
    """From the deltas of a layer compute those of units left .. right below, rows start .. stop.

    delta (rows, fan_in) = delta (rows, fan_out) W^T (fan_out, fan_in) * f'(z). The gradients of the
    network's inputs take the place of these.
    """
    stride = layers[l, STRIDE]
    below, delta, mask, slopes = layers[l, INPUT_STRIDE], inputs, 0, 0
    finish = PLAIN
    if l > 0:
        delta = layers[l - 1, DELTA]
        mask, slopes = layers[l - 1, OUTPUT] - delta, layers[l - 1, SLOPE]
        if layers[l - 1, ACTIVATION] == RELU and slopes == 0:
            finish = MASKED
    product_transposed(
        functions, work, layers[l, DELTA] + start * stride, stride,
        parameters, layers[l, WEIGHTS] + left * stride, stride,
        work, delta + start * below + left, below,
        stop - start, right - left, layers[l, FAN_OUT], finish, mask, pack,
    )  # fmt: skip
    if slopes > 0:
        for r in range(start, stop):
            here, there = r * below + left, r * below + right
            deltas, row = work[delta + here : delta + there], work[slopes + here : slopes + there]
            for j in range(right - left):
                deltas[j] *= row[j]
