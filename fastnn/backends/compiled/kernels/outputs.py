"""The last layer on a block of rows: outputs, losses, and the deltas that go backward.

What to do is decided once for all rows; what only some outputs or losses need are units of their
own, compiled when they are first needed.
"""

from __future__ import annotations

import math

from numba import int64

from fastnn.activations import EXPONENTIAL, IDENTITY, SIGMOID, SOFTMAX
from fastnn.backends.compiled.kernels import elementary
from fastnn.backends.compiled.kernels.layout import (
    BATCH,
    LABELS,
    NONE,
    SHARE,
    layers_of,
    numbers,
    plan_type,
    reals,
)
from fastnn.backends.compiled.kernels.parametric import call_focal, call_pinball
from fastnn.backends.compiled.kernels.strips import (
    STRIP,
    TARGETS_AT,
    WEIGHTS_AT,
    call_give,
    call_take,
    copy,
    finish_strip,
    goes_by_rows,
    label_of,
    last_of,
    rows_of_strip,
    smoothing_of,
    strip,
    targets_of,
    up_to_a_line,
    weight_of,
)
from fastnn.backends.compiled.machinery.instructions import itemsize_of
from fastnn.backends.compiled.machinery.jit import serial, unit
from fastnn.backends.compiled.machinery.lines import (
    LINE,
    filled,
    first_of,
    lanes_of,
    larger,
    largest_of,
    load,
    number_at,
    put_number,
    room,
    store,
    sum_of,
    where_below,
)
from fastnn.losses import (
    BINARY_CROSS_ENTROPY,
    CROSS_ENTROPY,
    FOCAL,
    GIVEN,
    MAE,
    MSE,
    POISSON,
    QUANTILE,
)


def _types(number):
    return plan_type(number), BATCH, SHARE


@unit(_types)
def finish(plan, batch, share):
    """Replace the last weighted inputs of some rows by the outputs.

    With targets, this also writes the losses and the deltas of the last layer, times the weights of
    the rows, if there are any. Outputs are copied to the plan's, if it has room for them; with
    targets they may otherwise not be kept.
    """
    layer = layers_of(plan)[plan.depth - 1]
    activation, by_rows = layer.activation, goes_by_rows(plan, batch)
    functions, loss, learning = plan.functions, plan.loss, plan.targets.kind != NONE
    if learning and loss == BINARY_CROSS_ENTROPY:
        call_binary(functions.binary, (plan, batch, share))
    elif learning and loss == POISSON:
        call_poisson(functions.poisson, (plan, batch, share))
    elif learning and loss == FOCAL:
        call_focal(functions.focal, (plan, batch, share))
    elif activation == SOFTMAX and by_rows and functions.softmax_of_rows != 0:
        call_softmax_of_rows(functions.softmax_of_rows, (plan, batch, share))
    elif activation == SOFTMAX:
        softmax_of_columns(plan, batch, share, learning and loss == CROSS_ENTROPY)
        by_rows = False
    elif activation != IDENTITY:
        call_squash(functions.squash, (plan, batch, share))
    if learning and MSE <= loss < FOCAL:
        if loss == QUANTILE:
            call_pinball(functions.pinball, (plan, batch, share))
        else:
            call_error(functions.error, (plan, batch, share))
        by_rows = goes_by_rows(plan, batch)
    as_it_is = activation == IDENTITY and not learning
    if plan.outputs != 0 and (by_rows or as_it_is):
        copy(plan, batch, share)


call_finish = finish.call


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


@serial
def softmax_of_one(plan, batch, by_label):
    """Do it for the only row, of one line, so that no sum goes through memory."""
    row, deltas, _, outputs = last_of(plan)
    like, itemsize = plan.alpha, itemsize_of(plan.alpha)
    zero, one, lowest = type(like)(0), type(like)(1), type(like)(-math.inf)
    z = first_of(load(row, like), outputs, lowest)
    peak, label, dot = largest_of(z), int64(0), zero
    if by_label:
        label = itemsize * label_of(plan, batch.first)
        dot = number_at(row + label, like) - peak
    e = first_of(elementary.exp(z - filled(peak)), outputs, zero)
    store(row, e)
    total = zero
    for j in range(outputs):  # in the order of columns, for the same bits
        total += number_at(row + itemsize * j, like)
    a = e * filled(one / total)
    store(row, a)
    if by_label:
        weight = weight_of(plan, batch.first)
        store(deltas, a * filled(weight))
        put_number(deltas + label, (number_at(row + label, like) - one) * weight)
        reals(plan.row_losses, batch.count)[0] = (elementary.log(total) - dot) * weight


@unit(_types)
def softmax_of_rows(plan, batch, share):
    """Do what `softmax_of_columns` does for rows of more numbers than a line has, or a single one.

    Each of the steps is for some rows, as one row has to wait for the sums of the step before.
    """
    of_outputs, of_deltas, row_bytes, outputs = last_of(plan)
    like, memory = plan.alpha, room(STRIP)
    lanes, itemsize = lanes_of(like), itemsize_of(like)
    zero, one, lowest = type(like)(0), type(like)(1), type(like)(-math.inf)
    kind, losses = plan.targets.kind, reals(plan.row_losses, batch.count)
    learning = kind != NONE and plan.loss == CROSS_ENTROPY
    by_label = learning and kind == LABELS and plan.smoothing == 0
    by_target = learning and not by_label
    if batch.count == 1 and outputs <= lanes and not by_target:
        softmax_of_one(plan, batch, by_label)
        return
    keep, portion = smoothing_of(plan, outputs)
    peaks, totals = numbers(memory, lanes, like), numbers(memory + LINE, lanes, like)
    masses, dots = numbers(memory + 2 * LINE, lanes, like), numbers(memory + 3 * LINE, lanes, like)
    store(memory + LINE, filled(one))
    store(memory + 2 * LINE, filled(one))
    for first in range(share.start, share.stop, lanes):
        count = min(lanes, share.stop - first)
        for i in range(count):
            row = of_outputs + row_bytes * (first + i)
            highest = load(row, like)
            for j in range(lanes, outputs, lanes):
                z = first_of(load(row + itemsize * j, like), outputs - j, lowest)
                highest = larger(highest, z)
            peaks[i] = largest_of(highest)
        for i in range(count):
            place, row = batch.first + first + i, of_outputs + row_bytes * (first + i)
            deltas = of_deltas + row_bytes * (first + i)
            targets, peak = int64(0), filled(peaks[i])
            total, mass, dot = filled(zero), filled(zero), filled(zero)
            if by_label:
                dots[i] = number_at(row + itemsize * label_of(plan, place), like) - peaks[i]
            elif by_target:
                targets = targets_of(plan, place, deltas, outputs)
            for j in range(0, outputs, lanes):
                here = itemsize * j
                z = load(row + here, like) - peak
                if by_target:
                    t = up_to_a_line(targets + here, outputs - j, like) * keep + portion
                    t = first_of(t, outputs - j, zero)
                    store(deltas + here, t)
                    mass, dot = mass + t, dot + first_of(t * z, outputs - j, zero)
                e = first_of(elementary.exp(z), outputs - j, zero)
                store(row + here, e)
                total = total + e
            totals[i] = sum_of(total)
            if outputs <= lanes:  # in the order of columns, for the same bits
                totals[i] = zero
                for j in range(outputs):
                    totals[i] += number_at(row + itemsize * j, like)
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
            row = of_outputs + row_bytes * (first + i)
            deltas = of_deltas + row_bytes * (first + i)
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
                here = itemsize * label_of(plan, batch.first + first + i)
                put_number(deltas + here, (number_at(row + here, like) - one) * weights[i])


call_softmax_of_rows = softmax_of_rows.call


@unit(_types)
def squash(plan, batch, share):
    """Replace weighted inputs by sigmoids or exponentials."""
    layer, like, memory = layers_of(plan)[plan.depth - 1], plan.alpha, room(STRIP)
    lanes, zero = lanes_of(like), type(like)(0)
    rows, is_sigmoid = rows_of_strip(plan, batch), layer.activation == SIGMOID
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
    like, memory = plan.alpha, room(STRIP)
    lanes, zero, one = lanes_of(like), type(like)(0), type(like)(1)
    keep, portion = smoothing_of(plan, 2)
    rows = rows_of_strip(plan, batch)
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
    lanes, zero = lanes_of(like), type(like)(0)
    rows, of_rates = rows_of_strip(plan, batch), layer.activation == EXPONENTIAL
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
    part, rows = one / type(like)(outputs), rows_of_strip(plan, batch)
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
            if rows == 1:
                dots = filled(sum_of(dots))
            for j in range(0, width, lanes):
                here = LINE * (j // lanes)
                d = load(deltas + here, like) - load(row + here, like) * dots
                store(deltas + here, first_of(d, width - j, zero))
        finish_strip(plan, batch, r, share.stop, memory, True, total * parts)


call_error = error.call
