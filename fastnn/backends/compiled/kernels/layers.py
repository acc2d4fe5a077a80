"""The layers of a network on a block of rows: gather, forward, deltas backward.

Activations, deltas and targets lie in one work array; the layers of the plan say where. Loops run
along single rows: a row gives the same bits wherever a block begins.
"""

from __future__ import annotations

import math

import numpy as np
from numba import carray, from_dtype, int64, types

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
from fastnn.backends.compiled.kernels.layout import (
    BATCH,
    FLOAT32,
    FLOAT64,
    SHARE,
    SOURCE,
    UINT8,
    UINT8_PIXELS,
    Matrix,
    Shape,
    Sums,
    integers,
    keys_at,
    layers_of,
    numbers,
    plan_type,
    reals,
    work_of,
)
from fastnn.backends.compiled.kernels.products import (
    call_product,
    call_product_of_sparse,
    product_transposed,
)
from fastnn.backends.compiled.machinery.jit import serial, unit
from fastnn.backends.compiled.machinery.vector_ir import (
    FROM_BIASES,
    MASKED,
    PLAIN,
    RECTIFIED,
    REDUCED,
    finite_groups,
    itemsize_of,
    pointer_to,
    prefetch,
)
from fastnn.backends.dropout import GOLDEN_32

# Shuffled rows are bound by memory latency: ask for a row this many rows before it is needed.
PREFETCH_ROWS = 8
LINE = 64


def _gather_types(number):
    return from_dtype(SOURCE), types.int64, number[::1], types.int64


@unit(_gather_types)
def gather(source, row, target, columns):
    """Copy one row of a source to a slice, converted; pixels are scaled from 0..255 to 0..1."""
    address = source.address + row * source.row_bytes
    step, kind = source.column_bytes, source.kind
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
        target[integers(address, 1)[0]] = 1


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
    address = source.address + row * source.row_bytes
    prefetch(address)
    if source.column_bytes > 8:  # every element has a line of its own
        return
    for offset in range(LINE, columns * source.column_bytes, LINE):
        prefetch(address + offset)


@serial
def inputs_of(plan, l, batch):
    """Return the inputs of a layer for the rows of a batch, as a matrix."""
    itemsize = itemsize_of(plan.alpha)
    layer = layers_of(plan)[l]
    address = plan.work + itemsize * (layer.inputs + batch.thread * layer.copy)
    stride = layer.input_stride
    if l == 0 and plan.in_place:
        address = plan.inputs.address + batch.first * plan.inputs.row_bytes
        stride = plan.inputs.row_bytes // itemsize
    return Matrix(address, stride, int64(1))


@serial
def gather_inputs(plan, batch, share):
    """Gather rows of a batch to the inputs of the first layer.

    Asks for the rows and targets that come later.
    """
    layers = layers_of(plan)
    fan_in, width, outputs = (
        layers[0].fan_in,
        layers[0].input_stride,
        layers[plan.depth - 1].fan_out,
    )
    inputs = layers[0].inputs + batch.thread * layers[0].copy
    work = work_of(plan)
    source, targets, shuffled = plan.inputs, plan.targets, plan.shuffled
    order = integers(plan.order, plan.rows)
    for r in range(share.start, share.stop):
        index = batch.first + r
        if shuffled:
            if index + PREFETCH_ROWS < len(order):
                prefetch_row(source, order[index + PREFETCH_ROWS], fan_in)
                prefetch_row(targets, order[index + PREFETCH_ROWS], outputs)
            index = order[index]
        begin = inputs + r * width
        arguments = (source, index, work[begin : begin + fan_in], fan_in)
        call_gather(plan.functions.gather, arguments)


def _adjust_types(number):
    return plan_type(number), BATCH, SHARE


@unit(_adjust_types)
def adjust(plan, batch, share):
    """Standardise gathered rows, if there is a scaler, means and then factors; leave some out.

    An operation of its own, so that gathering, which every step does, stays short.
    """
    layer = layers_of(plan)[0]
    fan_in, inputs = layer.fan_in, layer.inputs + batch.thread * layer.copy
    work, keys = work_of(plan), keys_at(plan.keys, plan.rows)
    scaler = numbers(plan.scaler, 2 * fan_in, plan.alpha)
    for r in range(share.start, share.stop):
        begin = inputs + r * layer.input_stride
        row = work[begin : begin + fan_in]
        if plan.scaler != 0:
            for j in range(fan_in):
                row[j] = (row[j] - scaler[j]) * scaler[fan_in + j]
        if layer.drop_below > 0:
            leave_out(row, keys[batch.first + r], 0, layer.drop_below)


call_adjust = adjust.call


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
def check_inputs(plan, batch, share):
    """Set the losses of rows to NaN where an input is not finite, else to 0."""
    columns = layers_of(plan)[0].fan_in
    inputs = inputs_of(plan, 0, batch)
    losses = reals(plan.row_losses, share.stop)
    groups = columns // REDUCED
    for r in range(share.start, share.stop):
        address = inputs.address + itemsize_of(plan.alpha) * r * inputs.row
        row = numbers(address, columns, plan.alpha)
        finite = finite_groups(row, 0, groups)
        for j in range(groups * REDUCED, columns):
            finite = finite and math.isfinite(row[j])
        losses[r] = 0.0 if finite else np.nan


def _activate_types(number):
    return plan_type(number), types.int64, BATCH, SHARE


@unit(_activate_types)
def activate(plan, l, batch, share):
    """Replace the weighted inputs of a layer's units by activations.

    If the layer keeps slopes, derivatives go there. Then units are left out of both, if the next
    layer leaves out some of its inputs.
    """
    layers, work = layers_of(plan), work_of(plan)
    layer, below = layers[l], layers[l + 1].drop_below
    keys = keys_at(plan.keys + 4 * (l + 1) * plan.rows, plan.rows)
    code, columns = layer.activation, share.right - share.left
    slopes = layer.slopes - layer.outputs if layer.slopes > 0 else 0
    zero, one = work.dtype.type(0), work.dtype.type(1)
    leak = work.dtype.type(LEAK)
    scale, steep = work.dtype.type(SELU_SCALE), work.dtype.type(SELU_SCALE * SELU_ALPHA)
    for r in range(share.start, share.stop):
        begin = layer.outputs + r * layer.stride + share.left
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
                z, portion = row[j], elementary.normal_cdf(row[j])
                slope[j] = portion + z * elementary.normal_density(z)
                row[j] = z * portion
        elif code == SILU:
            for j in range(columns):
                z, portion = row[j], elementary.sigmoid(row[j])
                slope[j] = portion * (one + z * (one - portion))
                row[j] = z * portion
        elif code == SOFTPLUS:
            for j in range(columns):
                z = row[j]
                slope[j] = elementary.sigmoid(z)
                row[j] = elementary.softplus(z)
        if below > 0:
            leave_out(row, keys[batch.first + r], share.left, below)
            leave_out(slope, keys[batch.first + r], share.left, below)


call_activate = activate.call


@serial
def forward(plan, l, batch, share):
    """Compute units of a layer for some rows.

    Z (rows, fan_out) = A (rows, fan_in) W (fan_in, fan_out) + b; in hidden layers the activation
    follows.
    """
    itemsize = itemsize_of(plan.alpha)
    one = type(plan.alpha)(1)
    layer, a = layers_of(plan)[l], inputs_of(plan, l, batch)
    hidden = l < plan.depth - 1
    finish = int64(PLAIN)
    if hidden and layer.activation == RELU and layer.slopes == 0:
        finish = int64(RECTIFIED)
    rows = Matrix(a.address + itemsize * share.start * a.row, a.row, a.column)
    weights = plan.parameters + itemsize * (layer.weights + share.left)
    outputs = plan.work + itemsize * (layer.outputs + share.start * layer.stride + share.left)
    sparse = l == 0 and plan.lists_size > 0
    ahead = batch.count * a.row if l == 0 and plan.in_place else 0  # the next batch
    listed = plan.lists + 4 * batch.thread * plan.lists_size
    arguments = (
        rows,
        Matrix(weights, layer.stride, int64(1)),
        Matrix(outputs, layer.stride, int64(1)),
        Shape(share.stop - share.start, share.right - share.left, layer.fan_in),
        Sums(
            int64(FROM_BIASES),
            plan.parameters + itemsize * (layer.biases + share.left),
            finish,
            int64(0),
            one,
            one,
        ),
        listed if sparse else ahead,
    )
    if sparse:
        call_product_of_sparse(plan.functions.sparse_product, arguments)
    else:
        call_product(plan.functions.product, arguments)
    if hidden and finish == PLAIN and (layer.activation != IDENTITY or layer.slopes > 0):
        call_activate(plan.functions.activate, (plan, l, batch, share))


@serial
def backward(plan, l, batch, share):
    """From the deltas of a layer compute those of units left .. right below, for some rows.

    delta (rows, fan_in) = delta (rows, fan_out) W^T (fan_out, fan_in) * f'(z). The gradients of the
    network's inputs take the place of these.
    """
    itemsize = itemsize_of(plan.alpha)
    layers, work = layers_of(plan), work_of(plan)
    layer, start, left = layers[l], share.start, share.left
    stride, below = layer.stride, layer.input_stride
    deltas, mask, slopes = layer.inputs + batch.thread * layer.copy, int64(0), int64(0)
    finish = int64(PLAIN)
    if l > 0:
        deltas = layers[l - 1].deltas
        mask, slopes = layers[l - 1].outputs - deltas, layers[l - 1].slopes
        if layers[l - 1].activation == RELU and slopes == 0:
            finish = int64(MASKED)
    product_transposed(
        plan,
        Matrix(plan.work + itemsize * (layer.deltas + start * stride), stride, int64(1)),
        Matrix(plan.parameters + itemsize * (layer.weights + left * stride), stride, int64(1)),
        Matrix(plan.work + itemsize * (deltas + start * below + left), below, int64(1)),
        Shape(share.stop - start, share.right - left, layer.fan_out),
        finish,
        mask,
        plan.packs + itemsize * batch.thread * plan.pack_size,
    )
    if slopes > 0:
        for r in range(start, share.stop):
            here, there = r * below + left, r * below + share.right
            row, slope = work[deltas + here : deltas + there], work[slopes + here : slopes + there]
            for j in range(share.right - left):
                row[j] *= slope[j]
