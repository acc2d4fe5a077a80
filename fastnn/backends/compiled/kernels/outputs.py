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
    move_quarter,
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
    layer = layers_of(plan)[plan.depth - 1]
    activation, wide = layer.activation, layer.fan_out > lanes_of(plan.alpha)
    functions, loss, learning = plan.functions, plan.loss, plan.targets.kind != NONE
    if learning and loss == BINARY_CROSS_ENTROPY:
        call_binary(functions.binary, (plan, batch, share))
    elif learning and loss == POISSON:
        call_poisson(functions.poisson, (plan, batch, share))
    elif activation == SOFTMAX and wide:
        call_softmax_of_rows(functions.softmax_of_rows, (plan, batch, share))
    elif activation == SOFTMAX:
        softmax_of_columns(plan, batch, share, learning and loss == CROSS_ENTROPY)
    elif activation != IDENTITY:
        call_squash(functions.squash, (plan, batch, share))
    if learning and loss >= MSE:
        call_error(functions.error, (plan, batch, share))
    as_it_is = activation == IDENTITY and not learning
    if plan.outputs != 0 and (wide or as_it_is):
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
def take(plan, batch, first, stop, memory, learning):
    """Turn rows, as many as a line has numbers or up to the last, into a strip of columns.

    For learning, targets become columns, too, and the weights of the rows a line.
    """
    layer, like = layers_of(plan)[plan.depth - 1], plan.alpha
    outputs, lanes, row_bytes = layer.fan_out, lanes_of(like), itemsize_of(like) * layer.stride
    zero, one, half = type(like)(0), type(like)(1), type(like)(0.5)
    rows, targets = memory + LINE * ROWS_AT, memory + LINE * TARGETS_AT
    weights = numbers(memory + LINE * WEIGHTS_AT, lanes, like)
    kind, count = plan.targets.kind, min(lanes, stop - first)
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
def give(plan, batch, first, stop, memory, learning):
    """Turn a strip of columns into rows again: outputs, and after learning deltas and losses.

    Outputs that are asked for go right there, and others are not kept after learning.
    """
    outputs, like = layers_of(plan)[plan.depth - 1].fan_out, plan.alpha
    lanes, itemsize = lanes_of(like), itemsize_of(like)
    count = min(lanes, stop - first)
    if plan.outputs != 0 and (learning or plan.targets.kind == NONE):
        out, row_bytes = (
            plan.outputs + itemsize * (batch.first + first) * outputs,
            itemsize * outputs,
        )
        # More than a row may be written, over the next ones, but not behind the last.
        if first + 2 * lanes <= stop:
            to_rows(out, row_bytes, memory, outputs, like)
        else:
            rows = memory + LINE * ROWS_AT
            to_rows(rows, int64(LINE), memory, outputs, like)
            for i in range(count):
                values = numbers(rows + LINE * i, outputs, like)
                target = numbers(out + row_bytes * i, outputs, like)
                for j in range(outputs):
                    target[j] = values[j]
    elif not learning:
        give_rows(plan, outputs_at(plan, first), count, memory, memory)
    if learning:
        give_rows(plan, deltas_at(plan, first), count, memory + LINE * TARGETS_AT, memory)
        losses = reals(plan.row_losses, batch.count)
        of_rows = numbers(memory + LINE * WEIGHTS_AT, count, like)
        for i in range(count):
            losses[first + i] = of_rows[i]


@serial
def give_rows(plan, address, count, columns, memory):
    """Turn columns into rows of the work array."""
    layer, like = layers_of(plan)[plan.depth - 1], plan.alpha
    row_bytes, rows = itemsize_of(like) * layer.stride, memory + LINE * ROWS_AT
    if count == lanes_of(like):
        to_rows(address, row_bytes, columns, layer.fan_out, like)
    else:
        to_rows(rows, int64(LINE), columns, layer.fan_out, like)
        for i in range(count):
            part = first_of(load(rows + LINE * i, like), layer.fan_out, type(like)(0))
            store(address + row_bytes * i, part)


call_give = give.call


@serial
def rows_of_strip(outputs, lanes):
    """Return how many rows a strip has."""
    return lanes if outputs <= lanes else int64(1)


@serial
def strip(plan, batch, first, stop, memory, learning):
    """Return where a strip's outputs, targets and deltas are, its numbers in each, and weights.

    Targets, which are there only for learning, may be where the deltas are. A strip of columns has
    a line of numbers for each output.
    """
    outputs, like = layers_of(plan)[plan.depth - 1].fan_out, plan.alpha
    lanes, weights = lanes_of(like), filled(type(like)(1))
    if outputs <= lanes:
        call_take(plan.functions.take, (plan, batch, first, stop, memory, learning))
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
def finish_strip(plan, batch, first, stop, memory, learning, values):
    """Write the losses of a strip, of which a line has a part of each sum, and its outputs."""
    outputs, like = layers_of(plan)[plan.depth - 1].fan_out, plan.alpha
    if outputs <= lanes_of(like):
        store(memory + LINE * WEIGHTS_AT, values)
        call_give(plan.functions.give, (plan, batch, first, stop, memory, learning))
    elif learning:
        reals(plan.row_losses, batch.count)[first] = sum_of(values)


@serial
def softmax_of_columns(plan, batch, share, learning):
    """Replace weighted inputs by their softmax; for learning, write cross-entropies and deltas."""
    outputs, like, memory = layers_of(plan)[plan.depth - 1].fan_out, plan.alpha, room(STRIP)
    zero, one, targets = type(like)(0), type(like)(1), memory + LINE * TARGETS_AT
    keep, portion = smoothing_of(plan, outputs)
    for r in range(share.start, share.stop, lanes_of(like)):
        arguments = (plan, batch, r, share.stop, memory, learning)
        call_take(plan.functions.take, arguments)
        weights = load(memory + LINE * WEIGHTS_AT, like)
        peaks = load(memory, like)
        for j in range(1, outputs):
            peaks = larger(peaks, load(memory + LINE * j, like))
        total, mass, dots = filled(zero), filled(zero), filled(zero)
        for j in range(outputs):
            z = load(memory + LINE * j, like) - peaks
            if learning:
                t = load(targets + LINE * j, like) * keep + portion
                mass, dots = mass + t, dots + t * z
            e = elementary.exp(z)
            store(memory + LINE * j, e)
            total = total + e
        scale = one / total
        for j in range(outputs):
            a = load(memory + LINE * j, like) * scale
            store(memory + LINE * j, a)
            if learning:
                t = load(targets + LINE * j, like) * keep + portion
                store(targets + LINE * j, (a - t) * weights)
        if learning:
            values = (mass * elementary.log(total) - dots) * weights
            store(memory + LINE * WEIGHTS_AT, values)
        call_give(plan.functions.give, arguments)


@unit(_types)
def softmax_of_rows(plan, batch, share):
    """Do what `softmax_of_columns` does for rows of more numbers than a line has.

    Each of the steps is for some rows, as one row has to wait for the sums of the step before.
    """
    outputs, like, memory = layers_of(plan)[plan.depth - 1].fan_out, plan.alpha, room(STRIP)
    lanes, itemsize = lanes_of(like), itemsize_of(like)
    zero, one, lowest = type(like)(0), type(like)(1), type(like)(-math.inf)
    kind, losses = plan.targets.kind, reals(plan.row_losses, batch.count)
    learning = kind != NONE and plan.loss == CROSS_ENTROPY
    by_label = learning and kind == LABELS and plan.smoothing == 0
    by_target = learning and not by_label
    keep, portion = smoothing_of(plan, outputs)
    peaks, totals = numbers(memory, lanes, like), numbers(memory + LINE, lanes, like)
    masses, dots = numbers(memory + 2 * LINE, lanes, like), numbers(memory + 3 * LINE, lanes, like)
    store(memory + LINE, filled(one))
    store(memory + 2 * LINE, filled(one))
    for first in range(share.start, share.stop, lanes):
        count = min(lanes, share.stop - first)
        for i in range(count):
            row = outputs_at(plan, first + i)
            highest = load(row, like)
            for j in range(lanes, outputs, lanes):
                z = first_of(load(row + itemsize * j, like), outputs - j, lowest)
                highest = larger(highest, z)
            peaks[i] = largest_of(highest)
        for i in range(count):
            row, place = outputs_at(plan, first + i), batch.first + first + i
            targets, peak = int64(0), filled(peaks[i])
            total, mass, dot = filled(zero), filled(zero), filled(zero)
            if by_label:
                dots[i] = numbers(row, outputs, like)[label_of(plan, place)] - peaks[i]
            elif by_target:
                targets = targets_of(plan, place, deltas_at(plan, first + i))
            for j in range(0, outputs, lanes):
                here = itemsize * j
                z = load(row + here, like) - peak
                if by_target:
                    t = up_to_a_line(targets + here, outputs - j, like) * keep + portion
                    t = first_of(t, outputs - j, zero)
                    store(deltas_at(plan, first + i) + here, t)
                    mass, dot = mass + t, dot + first_of(t * z, outputs - j, zero)
                e = first_of(elementary.exp(z), outputs - j, zero)
                store(row + here, e)
                total = total + e
            totals[i] = sum_of(total)
            if by_target:
                masses[i], dots[i] = sum_of(mass), sum_of(dot)
        logs = elementary.log(load(memory + LINE, like)) * load(memory + 2 * LINE, like)
        store(memory, one / load(memory + LINE, like))
        scales, weights = numbers(memory, lanes, like), numbers(memory + 4 * LINE, lanes, like)
        if learning:
            for i in range(count):
                weights[i] = weight_of(plan, batch.first + first + i)
            of_rows = (logs - load(memory + 3 * LINE, like)) * load(memory + 4 * LINE, like)
            store(memory + 5 * LINE, of_rows)
            for i in range(count):
                losses[first + i] = numbers(memory + 5 * LINE, lanes, like)[i]
        for i in range(count):
            row, deltas = outputs_at(plan, first + i), deltas_at(plan, first + i)
            scale = filled(scales[i])
            for j in range(0, outputs, lanes):
                here = itemsize * j
                a = load(row + here, like) * scale
                store(row + here, a)
                if by_target:
                    a = a - load(deltas + here, like)
                if learning:
                    store(deltas + here, a * filled(weights[i]))
            if by_label:
                label = label_of(plan, batch.first + first + i)
                a = numbers(row, outputs, like)[label]
                numbers(deltas, outputs, like)[label] = (a - one) * weights[i]


call_softmax_of_rows = softmax_of_rows.call


@serial
def copy(plan, batch, share):
    """Copy outputs to the plan's.

    Rows lie there without gaps: more than a row may be written, over the next ones, before they are
    copied, but not behind the last.
    """
    layer, like = layers_of(plan)[plan.depth - 1], plan.alpha
    outputs, lanes, itemsize = layer.fan_out, lanes_of(like), itemsize_of(like)
    end = plan.outputs + itemsize * (batch.first + share.stop) * outputs
    start = share.start
    if outputs == 1:  # a column is a line of them
        for r in range(start, share.stop - lanes + 1, lanes):
            out = plan.outputs + itemsize * (batch.first + r)
            to_columns(outputs_at(plan, r), itemsize * layer.stride, out, outputs, like)
            start = r + lanes
    elif 4 * outputs <= lanes:
        while start * outputs + lanes <= share.stop * outputs:
            out = plan.outputs + itemsize * (batch.first + start) * outputs
            move_quarter(outputs_at(plan, start), out, like)
            start += 1
    for r in range(start, share.stop):
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
        row, _, _, width, _ = strip(plan, batch, r, share.stop, memory, False)
        for j in range(0, width, lanes):
            here = row + LINE * (j // lanes)
            z = load(here, like)
            a = elementary.sigmoid(z) if is_sigmoid else elementary.exp(z)
            store(here, first_of(a, width - j, zero))
        finish_strip(plan, batch, r, share.stop, memory, False, filled(zero))


call_squash = squash.call


@unit(_types)
def binary(plan, batch, share):
    """Replace weighted inputs by sigmoids; write binary cross-entropies and deltas."""
    outputs, like, memory = layers_of(plan)[plan.depth - 1].fan_out, plan.alpha, room(STRIP)
    lanes, zero, one = lanes_of(like), type(like)(0), type(like)(1)
    keep, portion = smoothing_of(plan, 2)
    rows = rows_of_strip(outputs, lanes)
    for r in range(share.start, share.stop, rows):
        row, targets, deltas, width, weights = strip(plan, batch, r, share.stop, memory, True)
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
        finish_strip(plan, batch, r, share.stop, memory, True, total * weights)


call_binary = binary.call


@unit(_types)
def poisson(plan, batch, share):
    """Replace weighted inputs by rates, or leave them as logarithms; write losses and deltas."""
    layer, like, memory = layers_of(plan)[plan.depth - 1], plan.alpha, room(STRIP)
    outputs, lanes, zero = layer.fan_out, lanes_of(like), type(like)(0)
    rows, of_rates = rows_of_strip(outputs, lanes), layer.activation == EXPONENTIAL
    for r in range(share.start, share.stop, rows):
        row, targets, deltas, width, weights = strip(plan, batch, r, share.stop, memory, True)
        total = filled(zero)
        for j in range(0, width, lanes):
            here = LINE * (j // lanes)
            z, t = load(row + here, like), up_to_a_line(targets + here, width - j, like)
            rate = elementary.exp(z)
            total = total + first_of(rate - t * z, width - j, zero)
            if of_rates:
                store(row + here, first_of(rate, width - j, zero))
            store(deltas + here, first_of((rate - t) * weights, width - j, zero))
        finish_strip(plan, batch, r, share.stop, memory, True, total * weights)


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
        row, targets, deltas, width, weights = strip(plan, batch, r, share.stop, memory, True)
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
        finish_strip(plan, batch, r, share.stop, memory, True, total * parts)


call_error = error.call
