"""The last layer on a block of rows: outputs, losses, and the deltas that go backward."""

from __future__ import annotations

import math

from numba import types

from fastnn.activations import EXPONENTIAL, SIGMOID, SOFTMAX
from fastnn.backends.compiled.kernels import elementary
from fastnn.backends.compiled.kernels.inputs import call_gather
from fastnn.backends.compiled.kernels.layout import (
    BATCH,
    LABELS,
    NONE,
    SHARE,
    integers,
    layers_of,
    numbers,
    plan_type,
    reals,
    row_of,
    work_of,
)
from fastnn.backends.compiled.machinery.jit import serial, unit
from fastnn.backends.compiled.machinery.vector_ir import (
    REDUCED,
    largest_of_groups,
    sum_of_groups,
)
from fastnn.losses import BINARY_CROSS_ENTROPY, CROSS_ENTROPY, GIVEN, MAE, MSE, POISSON


def _error_types(number):
    index, vector = types.int64, number[::1]
    return index, index, vector, vector, types.float64[::1]


@unit(_error_types)
def error(activation, loss, row, deltas, value):
    """Write a mean loss of a row's errors, and turn targets into deltas.

    Where a gradient is given, that stands in place of the targets. A unit of its own, as few need
    to compile it.
    """
    one, total = row.dtype.type(1), row.dtype.type(0)
    share = one / row.dtype.type(len(row))
    if loss != GIVEN:
        for j in range(len(row)):
            e = row[j] - deltas[j]
            if loss == MSE:
                total += e * e
                deltas[j] = (share + share) * e
            elif loss == MAE:
                total += abs(e)
                deltas[j] = share if e > 0 else (-share if e < 0 else e)  # NaN stays
            else:
                c = one if e > one else e
                c = -one if c < -one else c
                total += c * (e - c / 2)
                deltas[j] = share * c
    value[0] = total / len(row)
    if activation == SOFTMAX:
        mean = dot(deltas, row)
        for j in range(len(row)):
            deltas[j] = row[j] * (deltas[j] - mean)
    elif activation == SIGMOID:
        for j in range(len(row)):
            deltas[j] *= row[j] * (one - row[j])
    elif activation == EXPONENTIAL:
        for j in range(len(row)):
            deltas[j] *= row[j]


call_error = error.call


def _finish_types(number):
    return plan_type(number), BATCH, SHARE


@unit(_finish_types)
def finish(plan, batch, share):
    """Replace the last weighted inputs of some rows by the outputs.

    With targets, this also writes the losses and the deltas of the last layer, times the weights of
    the rows, if there are any. Outputs are copied to the plan's, if it has room for them.
    """
    layer = layers_of(plan)[plan.depth - 1]
    activation, outputs, stride = layer.activation, layer.fan_out, layer.stride
    output, delta = layer.outputs, layer.deltas
    work, losses = work_of(plan), reals(plan.row_losses, batch.count)
    start, stop, first, loss = share.start, share.stop, batch.first, plan.loss
    kind, smoothing = plan.targets.kind, plan.smoothing
    entropy = kind != NONE and loss == CROSS_ENTROPY  # which comes with softmax
    by_label = entropy and kind == LABELS and smoothing == 0
    if kind != NONE and not by_label:
        for r in range(start, stop):
            begin, index = delta + r * stride, row_of(plan, first + r)
            targets = work[begin : begin + outputs]
            call_gather(plan.functions.gather, (plan.targets, index, targets, outputs))
            if smoothing > 0:
                portion = smoothing / (outputs if activation == SOFTMAX else 2)
                for j in range(outputs):
                    targets[j] = (1 - smoothing) * targets[j] + portion
    if activation == SOFTMAX:
        peaks_to_zero(work, output, stride, outputs, start, stop)
        if entropy:
            for r in range(start, stop):
                row, begin = output + r * stride, delta + r * stride
                if by_label:
                    losses[r] = -work[row + label_of(plan, first + r)]
                else:
                    losses[r] = -dot(work[row : row + outputs], work[begin : begin + outputs])
        exponentials(work[output + start * stride : output + stop * stride])
    for r in range(start, stop):
        here, there = output + r * stride, delta + r * stride
        row, deltas = work[here : here + outputs], work[there : there + outputs]
        if activation == SOFTMAX:
            total = normalise(row)
            for i in range(here + outputs, here + stride):
                work[i] = 0  # an exponential until now
            if by_label:
                losses[r] += math.log(total)
                for j in range(outputs):
                    deltas[j] = row[j]
                deltas[label_of(plan, first + r)] -= 1
            elif entropy:
                mass = row.dtype.type(0)
                for j in range(outputs):
                    mass += deltas[j]
                    deltas[j] = row[j] - deltas[j]
                losses[r] += mass * math.log(total)
        elif kind != NONE and loss == BINARY_CROSS_ENTROPY:
            losses[r] = binary_entropy(row, deltas)
        elif kind != NONE and loss == POISSON:
            losses[r] = poisson(row, deltas)
        if activation == SIGMOID:
            for j in range(outputs):
                row[j] = elementary.sigmoid(row[j])
        elif activation == EXPONENTIAL:
            exponentials(row)
        if kind == NONE:
            continue
        if loss == BINARY_CROSS_ENTROPY:
            for j in range(outputs):
                deltas[j] = row[j] - deltas[j]
        elif loss != CROSS_ENTROPY and loss != POISSON:
            arguments = (activation, loss, row, deltas, losses[r : r + 1])
            call_error(plan.functions.error, arguments)
        if plan.row_weights != 0:
            place = row_of(plan, first + r)
            weight = numbers(plan.row_weights, place + 1, plan.alpha)[place]
            losses[r] *= weight
            for j in range(outputs):
                deltas[j] *= weight
    if plan.outputs != 0:
        out = numbers(plan.outputs, plan.rows * outputs, plan.alpha)
        for r in range(start, stop):
            there, here = (first + r) * outputs, output + r * stride
            for j in range(outputs):
                out[there + j] = work[here + j]


call_finish = finish.call


@serial
def label_of(plan, place):
    """Return the label of the row at a place of the order."""
    address = plan.targets.address + row_of(plan, place) * plan.targets.row_bytes
    return integers(address, 1)[0]


@serial
def peaks_to_zero(work, output, stride, outputs, start, stop):
    """Subtract from each row its largest number, so that no exponential is too large."""
    for r in range(start, stop):
        begin = output + r * stride
        row = work[begin : begin + outputs]
        groups, peak = outputs // REDUCED, row[0]
        if groups > 0:
            peak = largest_of_groups(work, begin, groups)
        for j in range(groups * REDUCED, outputs):
            peak = row[j] if row[j] > peak else peak
        for j in range(outputs):
            row[j] -= peak


@serial
def exponentials(values):
    """Replace numbers by their exponentials; one long loop, which goes through vectors."""
    for i in range(len(values)):
        values[i] = elementary.exp(values[i])


@serial
def normalise(row):
    """Divide a row by its sum; return the sum."""
    groups, total = len(row) // REDUCED, row.dtype.type(0)
    if groups > 0:
        total = sum_of_groups(row, 0, groups)
    for j in range(groups * REDUCED, len(row)):
        total += row[j]
    scale = row.dtype.type(1) / total
    for j in range(len(row)):
        row[j] *= scale
    return total


@serial
def dot(x, y):
    """Return the sum of the products."""
    total = x.dtype.type(0)
    for j in range(len(x)):
        total += x[j] * y[j]
    return total


@serial
def binary_entropy(row, target):
    """Return the sum of the cross-entropies of the sigmoids of weighted inputs."""
    value, zero = row.dtype.type(0), row.dtype.type(0)
    for j in range(len(row)):
        z = row[j]
        value += max(z, zero) - target[j] * z + elementary.log1p(elementary.exp(-abs(z)))
    return value


@serial
def poisson(row, target):
    """Return the loss of the logarithms of rates; leave its gradient in ``target``."""
    value = row.dtype.type(0)
    for j in range(len(row)):
        rate = elementary.exp(row[j])
        value += rate - target[j] * row[j]
        target[j] = rate - target[j]
    return value
