"""The last layer on a block of rows: outputs, losses, and the deltas that go backward.

What to do is decided once for all rows; what only some losses need are units of their own. Rows of
more outputs than a line has numbers are gone through in lines, and those behind the last output
count as nothing and become 0. Of fewer outputs, as many rows as a line has numbers are turned into
columns first, so that a line holds one output of each row, and no number is in vain; the same code
goes through either, which is a `strip`.
"""

from __future__ import annotations

import math

from numba import int64, types

from fastnn.activations import EXPONENTIAL, IDENTITY, SIGMOID, SOFTMAX
from fastnn.backends.compiled.kernels import elementary
from fastnn.backends.compiled.kernels.inputs import call_gather
from fastnn.backends.compiled.kernels.layout import (
    BATCH,
    FLOAT32,
    FLOAT64,
    LABELS,
    NONE,
    SHARE,
    integers,
    layers_of,
    numbers,
    plan_type,
    reals,
    row_of,
)
from fastnn.backends.compiled.machinery.jit import serial, unit
from fastnn.backends.compiled.machinery.lines import (
    LINE,
    filled,
    first_of,
    lanes_of,
    larger,
    largest_of,
    load,
    load_part,
    room,
    store,
    sum_of,
    to_columns,
    to_rows,
    where_below,
)
from fastnn.backends.compiled.machinery.vector_ir import itemsize_of
from fastnn.losses import BINARY_CROSS_ENTROPY, CROSS_ENTROPY, GIVEN, MAE, MSE, POISSON

# The memory of a strip of columns, in lines: outputs, targets or deltas, weights or losses, and
# rows where there are fewer than the strip has. No line has more numbers than this.
MOST = 16
TARGETS_AT, WEIGHTS_AT, ROWS_AT, STRIP = MOST, 2 * MOST, 2 * MOST + 1, 3 * MOST + 1


def _types(number):
    return plan_type(number), BATCH, SHARE


def _strip_types(number):
    return plan_type(number), BATCH, types.int64, types.int64, types.int64, types.boolean


@unit(_types)
def finish(plan, batch, share):
    """Replace the last weighted inputs of some rows by the outputs.

    With targets, this also writes the losses and the deltas of the last layer, times the weights of
    the rows, if there are any. Outputs are copied to the plan's, if it has room for them; with
    targets they may otherwise not be kept.
    """
    activation = layers_of(plan)[plan.depth - 1].activation
    functions, loss, learning = plan.functions, plan.loss, plan.targets.kind != NONE
    if learning and loss == BINARY_CROSS_ENTROPY:
        call_binary(functions.binary, (plan, batch, share))
    elif learning and loss == POISSON:
        call_poisson(functions.poisson, (plan, batch, share))
    elif activation == SOFTMAX:
        softmax(plan, batch, share, learning and loss == CROSS_ENTROPY)
    elif activation != IDENTITY:
        call_squash(functions.squash, (plan, batch, share))
    if learning and loss >= MSE:
        call_error(functions.error, (plan, batch, share))
    if plan.outputs != 0:
        copy(plan, batch, share)


call_finish = finish.call


@serial
def outputs_at(plan, r):
    """Return where a row of the last layer's outputs is."""
    layer = layers_of(plan)[plan.depth - 1]
    return plan.work + itemsize_of(plan.alpha) * (layer.outputs + r * layer.stride)


@serial
def deltas_at(plan, r):
    """Return where a row of the last layer's deltas is."""
    layer = layers_of(plan)[plan.depth - 1]
    return plan.work + itemsize_of(plan.alpha) * (layer.deltas + r * layer.stride)


@serial
def targets_of(plan, place, deltas):
    """Return where the targets of a row of the order are, if need be in the row of deltas."""
    source, itemsize = plan.targets, itemsize_of(plan.alpha)
    row = row_of(plan, place)
    own = FLOAT32 if itemsize == 4 else FLOAT64
    if source.kind == own and source.column_bytes == itemsize:
        return source.address + row * source.row_bytes
    outputs = layers_of(plan)[plan.depth - 1].fan_out
    target = numbers(deltas, outputs, plan.alpha)
    call_gather(plan.functions.gather, (source, row, target, outputs))
    return deltas


@serial
def up_to_a_line(address, count, like):
    """Return a line of numbers, the first of which, so many, are read."""
    return load(address, like) if count >= lanes_of(like) else load_part(address, count, like)


@serial
def weight_of(plan, place):
    """Return the weight of a row of the order."""
    if plan.row_weights == 0:
        return type(plan.alpha)(1)
    row = row_of(plan, place)
    return numbers(plan.row_weights, row + 1, plan.alpha)[row]


@serial
def label_of(plan, place):
    """Return the label of the row at a place of the order."""
    address = plan.targets.address + row_of(plan, place) * plan.targets.row_bytes
    return integers(address, 1)[0]


@serial
def smoothing_of(plan, classes):
    """Return what targets are multiplied by, and what is then added."""
    smoothing = plan.smoothing
    return type(smoothing)(1) - smoothing, smoothing / type(smoothing)(classes)


@unit(_strip_types)
def take(plan, batch, first, count, memory, learning):
    """Turn some rows, as many as a line has numbers at most, into a strip of columns.

    For learning, targets become columns, too, and the weights of the rows a line.
    """
    layer, like = layers_of(plan)[plan.depth - 1], plan.alpha
    outputs, lanes, row_bytes = layer.fan_out, lanes_of(like), itemsize_of(like) * layer.stride
    zero, one, half = type(like)(0), type(like)(1), type(like)(0.5)
    rows, targets = memory + LINE * ROWS_AT, memory + LINE * TARGETS_AT
    weights = numbers(memory + LINE * WEIGHTS_AT, lanes, like)
    kind = plan.targets.kind
    if count == lanes:
        to_columns(outputs_at(plan, first), row_bytes, memory, outputs, like)
    else:
        for i in range(count):
            store(rows + LINE * i, load(outputs_at(plan, first + i), like))
        for i in range(count, lanes):
            store(rows + LINE * i, filled(zero))
        to_columns(rows, int64(LINE), memory, outputs, like)
    if not learning:
        return
    for i in range(lanes):
        weights[i] = one
    if plan.row_weights != 0:
        for i in range(count):
            weights[i] = weight_of(plan, batch.first + first + i)
    if kind == LABELS:
        labels = numbers(rows, lanes, like)
        for i in range(count):
            labels[i] = label_of(plan, batch.first + first + i)
        for i in range(count, lanes):
            labels[i] = zero
        for j in range(lanes):
            far = abs(load(rows, like) - type(like)(j))
            store(targets + LINE * j, where_below(far, half, filled(one), filled(zero)))
    else:
        for i in range(count):
            row = targets_of(plan, batch.first + first + i, deltas_at(plan, first + i))
            store(rows + LINE * i, up_to_a_line(row, outputs, like))
        for i in range(count, lanes):
            store(rows + LINE * i, filled(zero))
        to_columns(rows, int64(LINE), targets, outputs, like)


call_take = take.call


@unit(_strip_types)
def give(plan, batch, first, count, memory, learning):
    """Turn a strip of columns into rows again: outputs, and after learning deltas and losses."""
    layer, like = layers_of(plan)[plan.depth - 1], plan.alpha
    outputs, lanes, row_bytes = layer.fan_out, lanes_of(like), itemsize_of(like) * layer.stride
    rows = memory + LINE * ROWS_AT
    if not learning or plan.outputs != 0:
        if count == lanes:
            to_rows(outputs_at(plan, first), row_bytes, memory, outputs, like)
        else:
            to_rows(rows, int64(LINE), memory, outputs, like)
            for i in range(count):
                part = first_of(load(rows + LINE * i, like), outputs, type(like)(0))
                store(outputs_at(plan, first + i), part)
    if learning:
        deltas = memory + LINE * TARGETS_AT
        if count == lanes:
            to_rows(deltas_at(plan, first), row_bytes, deltas, outputs, like)
        else:
            to_rows(rows, int64(LINE), deltas, outputs, like)
            for i in range(count):
                part = first_of(load(rows + LINE * i, like), outputs, type(like)(0))
                store(deltas_at(plan, first + i), part)
        losses = reals(plan.row_losses, batch.count)
        of_rows = numbers(memory + LINE * WEIGHTS_AT, count, like)
        for i in range(count):
            losses[first + i] = of_rows[i]


call_give = give.call


@serial
def rows_of_strip(outputs, lanes):
    """Return how many rows a strip has."""
    return lanes if outputs <= lanes else int64(1)


@serial
def strip(plan, batch, first, count, memory, learning):
    """Return where a strip's outputs, targets and deltas are, its numbers in each, and weights.

    Targets, which are there only for learning, may be where the deltas are. A strip of columns has
    a line of numbers for each output.
    """
    outputs, like = layers_of(plan)[plan.depth - 1].fan_out, plan.alpha
    lanes, weights = lanes_of(like), filled(type(like)(1))
    if outputs <= lanes:
        call_take(plan.functions.take, (plan, batch, first, count, memory, learning))
        row, deltas, width = memory, memory + LINE * TARGETS_AT, outputs * lanes
        targets = deltas
        if learning:
            weights = load(memory + LINE * WEIGHTS_AT, like)
    else:
        row, deltas, width = outputs_at(plan, first), deltas_at(plan, first), outputs
        targets = deltas
        if learning:
            place = batch.first + first
            weights = filled(weight_of(plan, place))
            if plan.targets.kind != LABELS:
                targets = targets_of(plan, place, deltas)
    return row, targets, deltas, width, weights


@serial
def finish_strip(plan, batch, first, count, memory, learning, values):
    """Write the losses of a strip, of which a line has a part of each sum, and its outputs."""
    outputs, like = layers_of(plan)[plan.depth - 1].fan_out, plan.alpha
    if outputs <= lanes_of(like):
        store(memory + LINE * WEIGHTS_AT, values)
        call_give(plan.functions.give, (plan, batch, first, count, memory, learning))
    elif learning:
        reals(plan.row_losses, batch.count)[first] = sum_of(values)


@serial
def softmax(plan, batch, share, learning):
    """Replace weighted inputs by their softmax; for learning, write cross-entropies and deltas."""
    outputs, like, memory = layers_of(plan)[plan.depth - 1].fan_out, plan.alpha, room(STRIP)
    zero, one, lowest = type(like)(0), type(like)(1), type(like)(-math.inf)
    lanes, across = lanes_of(like), outputs <= lanes_of(like)
    keep, portion = smoothing_of(plan, outputs)
    # Columns hold ones for labels. A longer row looks its label up.
    by_label = learning and plan.targets.kind == LABELS and plan.smoothing == 0 and not across
    by_target = learning and not by_label
    rows = rows_of_strip(outputs, lanes)
    for r in range(share.start, share.stop, rows):
        count = min(rows, share.stop - r)
        row, targets, deltas, width, weights = strip(plan, batch, r, count, memory, learning)
        label = int64(0)
        if by_label:
            label = label_of(plan, batch.first + r)
        peaks = first_of(load(row, like), width, lowest)
        for j in range(lanes, width, lanes):
            z = first_of(load(row + LINE * (j // lanes), like), width - j, lowest)
            peaks = larger(peaks, z)
        if not across:
            peaks = filled(largest_of(peaks))
        total, mass, dots = filled(zero), filled(zero), filled(zero)
        if by_label:
            dots = first_of(load(row + itemsize_of(like) * label, like) - peaks, 1, zero)
        for j in range(0, width, lanes):
            here = LINE * (j // lanes)
            z = load(row + here, like) - peaks
            if by_target:
                t = up_to_a_line(targets + here, width - j, like) * keep + portion
                mass, dots = (
                    mass + first_of(t, width - j, zero),
                    dots + first_of(t * z, width - j, zero),
                )
            e = first_of(elementary.exp(z), width - j, zero)
            store(row + here, e)
            total = total + e
        if not across:
            total = filled(sum_of(total))
        scale = one / total
        for j in range(0, width, lanes):
            here = LINE * (j // lanes)
            a = load(row + here, like) * scale
            store(row + here, a)
            if by_target:
                t = up_to_a_line(targets + here, width - j, like) * keep + portion
                store(deltas + here, first_of((a - t) * weights, width - j, zero))
            elif by_label:
                store(deltas + here, a * weights)
        if by_label:
            here = itemsize_of(like) * label
            a = numbers(row + here, 1, like)[0] - one
            numbers(deltas + here, 1, like)[0] = a * weight_of(plan, batch.first + r)
            mass = first_of(filled(one), 1, zero)
        values = dots
        if learning:
            values = (mass * elementary.log(total) - dots) * weights
        finish_strip(plan, batch, r, count, memory, learning, values)


@serial
def copy(plan, batch, share):
    """Copy outputs to the plan's.

    Rows lie there without gaps: lines are written over what comes behind them, before that is.
    """
    outputs, like = layers_of(plan)[plan.depth - 1].fan_out, plan.alpha
    lanes, itemsize = lanes_of(like), itemsize_of(like)
    end = plan.outputs + itemsize * (batch.first + share.stop) * outputs
    for r in range(share.start, share.stop):
        row = outputs_at(plan, r)
        out = plan.outputs + itemsize * (batch.first + r) * outputs
        for j in range(0, outputs, lanes):
            here, there = row + itemsize * j, out + itemsize * j
            if there + LINE <= end:
                store(there, load(here, like))
            else:
                count = min(lanes, outputs - j)
                values, target = numbers(here, count, like), numbers(there, count, like)
                for i in range(count):
                    target[i] = values[i]


@unit(_types)
def squash(plan, batch, share):
    """Replace weighted inputs by sigmoids or exponentials."""
    layer, like, memory = layers_of(plan)[plan.depth - 1], plan.alpha, room(STRIP)
    outputs, lanes, zero = layer.fan_out, lanes_of(like), type(like)(0)
    rows, is_sigmoid = rows_of_strip(outputs, lanes), layer.activation == SIGMOID
    for r in range(share.start, share.stop, rows):
        count = min(rows, share.stop - r)
        row, _, _, width, _ = strip(plan, batch, r, count, memory, False)
        for j in range(0, width, lanes):
            here = row + LINE * (j // lanes)
            z = load(here, like)
            a = elementary.sigmoid(z) if is_sigmoid else elementary.exp(z)
            store(here, first_of(a, width - j, zero))
        finish_strip(plan, batch, r, count, memory, False, filled(zero))


call_squash = squash.call


@unit(_types)
def binary(plan, batch, share):
    """Replace weighted inputs by sigmoids; write binary cross-entropies and deltas."""
    outputs, like, memory = layers_of(plan)[plan.depth - 1].fan_out, plan.alpha, room(STRIP)
    lanes, zero, one = lanes_of(like), type(like)(0), type(like)(1)
    keep, portion = smoothing_of(plan, 2)
    rows = rows_of_strip(outputs, lanes)
    for r in range(share.start, share.stop, rows):
        count = min(rows, share.stop - r)
        row, targets, deltas, width, weights = strip(plan, batch, r, count, memory, True)
        total = filled(zero)
        for j in range(0, width, lanes):
            here = LINE * (j // lanes)
            z = load(row + here, like)
            t = up_to_a_line(targets + here, width - j, like) * keep + portion
            e = elementary.exp(-abs(z))
            value = where_below(z, zero, zero, z) - t * z + elementary.log1p(e)
            total = total + first_of(value, width - j, zero)
            a = where_below(z, zero, e, one) / (one + e)
            store(row + here, first_of(a, width - j, zero))
            store(deltas + here, first_of((a - t) * weights, width - j, zero))
        finish_strip(plan, batch, r, count, memory, True, total * weights)


call_binary = binary.call


@unit(_types)
def poisson(plan, batch, share):
    """Replace weighted inputs by rates, or leave them as logarithms; write losses and deltas."""
    layer, like, memory = layers_of(plan)[plan.depth - 1], plan.alpha, room(STRIP)
    outputs, lanes, zero = layer.fan_out, lanes_of(like), type(like)(0)
    rows, of_rates = rows_of_strip(outputs, lanes), layer.activation == EXPONENTIAL
    for r in range(share.start, share.stop, rows):
        count = min(rows, share.stop - r)
        row, targets, deltas, width, weights = strip(plan, batch, r, count, memory, True)
        total = filled(zero)
        for j in range(0, width, lanes):
            here = LINE * (j // lanes)
            z, t = load(row + here, like), up_to_a_line(targets + here, width - j, like)
            rate = elementary.exp(z)
            total = total + first_of(rate - t * z, width - j, zero)
            if of_rates:
                store(row + here, first_of(rate, width - j, zero))
            store(deltas + here, first_of((rate - t) * weights, width - j, zero))
        finish_strip(plan, batch, r, count, memory, True, total * weights)


call_poisson = poisson.call


@unit(_types)
def error(plan, batch, share):
    """Write a mean loss of the outputs' errors, and deltas; or only these, of a given gradient.

    Where a gradient is given, that stands in place of the targets, and the losses are 0.
    """
    layer, like, loss = layers_of(plan)[plan.depth - 1], plan.alpha, plan.loss
    outputs, lanes, activation = layer.fan_out, lanes_of(like), layer.activation
    zero, one, half, memory = type(like)(0), type(like)(1), type(like)(0.5), room(STRIP)
    part, rows = one / type(like)(outputs), rows_of_strip(outputs, lanes)
    for r in range(share.start, share.stop, rows):
        count = min(rows, share.stop - r)
        row, targets, deltas, width, weights = strip(plan, batch, r, count, memory, True)
        parts, total, dots = weights * part, filled(zero), filled(zero)
        for j in range(0, width, lanes):
            here = LINE * (j // lanes)
            a, t = load(row + here, like), up_to_a_line(targets + here, width - j, like)
            e = a - t
            if loss == MSE:
                value, d = e * e, e * (parts + parts)
            elif loss == MAE:
                value = abs(e)
                d = where_below(zero, e, parts, where_below(e, zero, -parts, e))  # NaN stays
            elif loss == GIVEN:
                value, d = filled(zero), t * weights
            else:
                c = where_below(one, e, one, where_below(e, -one, -one, e))
                value, d = c * (e - c * half), c * parts
            total = total + first_of(value, width - j, zero)
            if activation == SIGMOID:
                d = d * (a * (one - a))
            elif activation != IDENTITY:
                d = d * a
            d = first_of(d, width - j, zero)
            dots = dots + d
            store(deltas + here, d)
        if activation == SOFTMAX:
            if outputs > lanes:
                dots = filled(sum_of(dots))
            for j in range(0, width, lanes):
                here = LINE * (j // lanes)
                d = load(deltas + here, like) - load(row + here, like) * dots
                store(deltas + here, first_of(d, width - j, zero))
        finish_strip(plan, batch, r, count, memory, True, total * parts)


call_error = error.call
