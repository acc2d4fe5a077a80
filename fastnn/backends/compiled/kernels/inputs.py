"""The inputs of a batch: gathered row by row, standardised, left out, checked.

Rows of any layout and type are read where they are, and converted on the way.
"""

from __future__ import annotations

import math

import numpy as np
from numba import from_dtype, int64, types

from fastnn.backends.compiled.kernels.layout import (
    BATCH,
    FLOAT32,
    FLOAT64,
    SHARE,
    SOURCE,
    UINT8,
    UINT8_PIXELS,
    Matrix,
    integers,
    keys_at,
    layers_of,
    numbers,
    plan_type,
    reals,
    work_of,
)
from fastnn.backends.compiled.machinery.arrays import elements
from fastnn.backends.compiled.machinery.instructions import itemsize_of, prefetch
from fastnn.backends.compiled.machinery.jit import serial, unit
from fastnn.backends.compiled.machinery.vectors import REDUCED, finite_groups
from fastnn.counters import GOLDEN_32

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
        copy_converted(address, step, 4, np.float32(0), target, columns, one)
    elif kind == FLOAT64:
        copy_converted(address, step, 8, np.float64(0), target, columns, one)
    elif kind == UINT8:
        copy_converted(address, step, 1, np.uint8(0), target, columns, one)
    elif kind == UINT8_PIXELS:
        copy_converted(address, step, 1, np.uint8(0), target, columns, one / target.dtype.type(255))
    else:
        for j in range(columns):
            target[j] = 0
        target[integers(address, 1)[0]] = 1


call_gather = gather.call


@serial
def copy_converted(address, step, adjacent, like, target, columns, scale):
    """Copy numbers of another's type, so many bytes apart, times a scale."""
    if step == adjacent:
        values = elements(address, columns, like)
        for j in range(columns):
            target[j] = target.dtype.type(values[j]) * scale
    else:
        for j in range(columns):
            value = elements(address + j * step, 1, like)[0]
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
    itemsize = itemsize_of(plan.alpha)
    as_they_are = source.column_bytes == itemsize and source.kind == (
        FLOAT32 if itemsize == 4 else FLOAT64
    )
    for r in range(share.start, share.stop):
        index = batch.first + r
        if shuffled:
            if index + PREFETCH_ROWS < len(order):
                prefetch_row(source, order[index + PREFETCH_ROWS], fan_in)
                prefetch_row(targets, order[index + PREFETCH_ROWS], outputs)
            index = order[index]
        begin = inputs + r * width
        row = work[begin : begin + fan_in]
        if as_they_are:  # a call would take longer than copying a few numbers
            values = numbers(source.address + index * source.row_bytes, fan_in, plan.alpha)
            for j in range(fan_in):
                row[j] = values[j]
        else:
            call_gather(plan.functions.gather, (source, index, row, fan_in))


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
        x = hashed(np.uint32(start + np.uint32(j) * np.uint32(GOLDEN_32)))
        row[j] = row[j] * scale if x >= least else zero


@serial
def hashed(x):
    """Return the hash of a uint32 that decides what is left out."""
    x = np.uint32(x ^ (x >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    x = np.uint32(x)
    x = np.uint32(np.uint32(x ^ (x >> np.uint32(13))) * np.uint32(0xC2B2AE35))
    return np.uint32(x ^ (x >> np.uint32(16)))


@serial
def check_inputs(plan, batch, share):
    """Set the losses of rows to NaN where an input is not finite, else to 0.

    Gathered rows, behind whose inputs are zeros, and rows without gaps are looked at all at once.
    """
    columns = layers_of(plan)[0].fan_in
    inputs, itemsize = inputs_of(plan, 0, batch), itemsize_of(plan.alpha)
    losses = reals(plan.row_losses, share.stop)
    adjoining = not plan.in_place or inputs.row == columns
    if adjoining:
        count = (share.stop - share.start) * inputs.row
        address = inputs.address + itemsize * share.start * inputs.row
        adjoining = all_finite(address, count, plan.alpha)
    for r in range(share.start, share.stop):
        address = inputs.address + itemsize * r * inputs.row
        finite = adjoining or all_finite(address, columns, plan.alpha)
        losses[r] = 0.0 if finite else np.nan


@serial
def all_finite(address, count, like):
    """Tell whether the numbers at an address, so many, are neither infinite nor NaN."""
    row, groups = numbers(address, count, like), count // REDUCED
    finite = finite_groups(row, 0, groups)
    for j in range(groups * REDUCED, count):
        finite = finite and math.isfinite(row[j])
    return finite
