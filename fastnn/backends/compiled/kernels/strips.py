"""Strips: what of the last layer's rows is finished at once, and where targets and weights are.

Rows of more outputs than a line has numbers, and single rows, are a strip each, gone through in
lines; numbers behind the last output count as nothing and become 0. Of fewer outputs, as many rows
as a line has numbers are turned into columns first, so that a line holds one output of each row,
and no number is in vain. The same code goes through either.
"""

from __future__ import annotations

from numba import int64, types

from fastnn.backends.compiled.kernels.inputs import call_gather
from fastnn.backends.compiled.kernels.layout import (
    BATCH,
    FLOAT32,
    FLOAT64,
    LABELS,
    NONE,
    layers_of,
    numbers,
    plan_type,
    reals,
    target_row_of,
)
from fastnn.backends.compiled.machinery.columns import to_columns, to_rows
from fastnn.backends.compiled.machinery.instructions import itemsize_of
from fastnn.backends.compiled.machinery.jit import serial, unit
from fastnn.backends.compiled.machinery.lines import (
    LINE,
    filled,
    lanes_of,
    load,
    load_part,
    move_quarter,
    number_at,
    put_number,
    store,
    sum_of,
    where_below,
)

# The memory of a strip of columns, in lines: outputs, targets or deltas, weights or losses, and
# rows where there are fewer than the strip has. No line has more numbers than this.
MOST = 16
TARGETS_AT, WEIGHTS_AT, ROWS_AT, STRIP = MOST, 2 * MOST, 2 * MOST + 1, 3 * MOST + 1


def _strip_types(number):
    return plan_type(number), BATCH, types.int64, types.int64, types.int64, types.boolean


@serial
def last_of(plan):
    """Return of the last layer where outputs and deltas are, the bytes of a row, and its units."""
    layer, itemsize = layers_of(plan)[plan.depth - 1], itemsize_of(plan.alpha)
    outputs, deltas = plan.work + itemsize * layer.outputs, plan.work + itemsize * layer.deltas
    return outputs, deltas, itemsize * layer.stride, layer.fan_out


@serial
def targets_of(plan, place, deltas, outputs):
    """Return where the targets of a row of the order are, if need be in the row of deltas."""
    source, itemsize = plan.targets, itemsize_of(plan.alpha)
    row = target_row_of(plan, place)
    own = FLOAT32 if itemsize == 4 else FLOAT64
    if source.kind == own and source.column_bytes == itemsize:
        return source.address + row * source.row_bytes
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
    address = plan.row_weights + itemsize_of(plan.alpha) * target_row_of(plan, place)
    return number_at(address, plan.alpha)


@serial
def label_of(plan, place):
    """Return the label of the row at a place of the order."""
    address = plan.targets.address + target_row_of(plan, place) * plan.targets.row_bytes
    return number_at(address, int64(0))


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
    here, deltas, row_bytes, outputs = last_of(plan)
    like, itemsize, lanes = plan.alpha, itemsize_of(plan.alpha), lanes_of(plan.alpha)
    zero, one, half = type(like)(0), type(like)(1), type(like)(0.5)
    rows, targets = memory + LINE * ROWS_AT, memory + LINE * TARGETS_AT
    weights = memory + LINE * WEIGHTS_AT
    here, deltas = here + row_bytes * first, deltas + row_bytes * first
    kind, count = plan.targets.kind, min(lanes, stop - first)
    if count == lanes:
        to_columns(here, row_bytes, memory, outputs, like)
    else:
        for i in range(lanes):
            store(rows + LINE * i, load(here + row_bytes * min(i, count - 1), like))
        to_columns(rows, int64(LINE), memory, outputs, like)
    if not learning:
        return
    place, last = batch.first + first, count - 1
    store(weights, filled(one))
    if plan.row_weights != 0:
        for i in range(count):
            put_number(weights + itemsize * i, weight_of(plan, place + i))
    if kind == LABELS:
        for i in range(lanes):
            put_number(rows + itemsize * i, type(like)(label_of(plan, place + min(i, last))))
        labels = load(rows, like)
        for j in range(lanes):
            far = abs(labels - type(like)(j))
            store(targets + LINE * j, where_below(far, half, filled(one), filled(zero)))
    else:
        for i in range(lanes):
            r = min(i, last)
            row = targets_of(plan, place + r, deltas + row_bytes * r, outputs)
            store(rows + LINE * i, up_to_a_line(row, outputs, like))
        to_columns(rows, int64(LINE), targets, outputs, like)


call_take = take.call


@unit(_strip_types)
def give(plan, batch, first, stop, memory, learning):
    """Turn a strip of columns into rows again: outputs, and after learning deltas and losses.

    Outputs that are asked for go right there, and others are not kept after learning.
    """
    here, deltas, row_bytes, outputs = last_of(plan)
    like, itemsize, lanes = plan.alpha, itemsize_of(plan.alpha), lanes_of(plan.alpha)
    count, rows = min(lanes, stop - first), memory + LINE * ROWS_AT
    # Either outputs, and then after learning the deltas.
    for part in range(2 if learning else 1):
        columns, target, step = memory, here + row_bytes * first, row_bytes
        padded = True
        if part == 1:
            columns, target = memory + LINE * TARGETS_AT, deltas + row_bytes * first
        elif plan.outputs != 0 and (learning or plan.targets.kind == NONE):
            step, padded = itemsize * outputs, False
            target = plan.outputs + step * (batch.first + first)
        elif learning:
            continue
        # More than a row may be written, over the next ones, but not behind the last.
        if count == lanes and (padded or first + 2 * lanes <= stop):
            to_rows(target, step, columns, outputs, like)
            continue
        to_rows(rows, int64(LINE), columns, outputs, like)
        for i in range(count):
            for j in range(outputs):
                number = number_at(rows + LINE * i + itemsize * j, like)
                put_number(target + step * i + itemsize * j, number)
    if learning:
        losses = reals(plan.row_losses, batch.count)
        for i in range(count):
            losses[first + i] = number_at(memory + LINE * WEIGHTS_AT + itemsize * i, like)


call_give = give.call


@serial
def goes_by_rows(plan, batch):
    """Tell whether strips are rows: of many outputs, or the only one, as columns would be short."""
    outputs = layers_of(plan)[plan.depth - 1].fan_out
    return batch.count == 1 or outputs > lanes_of(plan.alpha)


@serial
def rows_of_strip(plan, batch):
    """Return how many rows a strip has."""
    return int64(1) if goes_by_rows(plan, batch) else lanes_of(plan.alpha)


@serial
def strip(plan, batch, first, stop, memory, learning):
    """Return where a strip's outputs, targets and deltas are, its numbers in each, and weights.

    Targets, which are there only for learning, may be where the deltas are. A strip of columns has
    a line of numbers for each output.
    """
    here, deltas, row_bytes, outputs = last_of(plan)
    like, lanes = plan.alpha, lanes_of(plan.alpha)
    weights = filled(type(like)(1))
    if not goes_by_rows(plan, batch):
        call_take(plan.functions.take, (plan, batch, first, stop, memory, learning))
        row, deltas, width = memory, memory + LINE * TARGETS_AT, outputs * lanes
        targets = deltas
        if learning:
            weights = load(memory + LINE * WEIGHTS_AT, like)
    else:
        row, deltas, width = here + row_bytes * first, deltas + row_bytes * first, outputs
        targets = deltas
        if learning:
            place = batch.first + first
            weights = filled(weight_of(plan, place))
            targets = targets_of(plan, place, deltas, outputs)
    return row, targets, deltas, width, weights


@serial
def finish_strip(plan, batch, first, stop, memory, learning, values):
    """Write the losses of a strip, of which a line has a part of each sum, and its outputs."""
    if not goes_by_rows(plan, batch):
        store(memory + LINE * WEIGHTS_AT, values)
        call_give(plan.functions.give, (plan, batch, first, stop, memory, learning))
    elif learning:
        reals(plan.row_losses, batch.count)[first] = sum_of(values)


@serial
def copy(plan, batch, share):
    """Copy outputs to the plan's.

    Rows lie there without gaps: more than a row may be written, over the next ones, before they are
    copied, but not behind the last.
    """
    here, _, row_bytes, outputs = last_of(plan)
    like, lanes, itemsize = plan.alpha, lanes_of(plan.alpha), itemsize_of(plan.alpha)
    end = plan.outputs + itemsize * (batch.first + share.stop) * outputs
    start = share.start
    if outputs == 1:
        count, stride = share.stop - start, row_bytes // itemsize
        column = numbers(here + row_bytes * start, count * stride, like)
        target = numbers(plan.outputs + itemsize * (batch.first + start), count, like)
        for r in range(count):
            target[r] = column[r * stride]
        start = share.stop
    elif 4 * outputs <= lanes:
        while start * outputs + lanes <= share.stop * outputs:
            out = plan.outputs + itemsize * (batch.first + start) * outputs
            move_quarter(here + row_bytes * start, out, like)
            start += 1
    for r in range(start, share.stop):
        out = plan.outputs + itemsize * (batch.first + r) * outputs
        for j in range(0, outputs, lanes):
            source, target = here + row_bytes * r + itemsize * j, out + itemsize * j
            if target + LINE <= end:
                store(target, load(source, like))
            else:
                for i in range(min(lanes, outputs - j)):
                    put_number(target + itemsize * i, number_at(source + itemsize * i, like))
