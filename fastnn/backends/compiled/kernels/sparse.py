"""A first layer whose inputs are sparse rows: it goes over the numbers that are stored.

The rows of a batch are gathered as they are, one after the other. Forward and in the gradient, each
number takes a row of weights, line by line. A sum over the rows of a batch goes from the first to
the last: threads split units. Lines are 64 bytes on any machine, so the bits are the same.
"""

from __future__ import annotations

import numpy as np
from numba import int64, types

from fastnn.activations import IDENTITY, RELU
from fastnn.backends.compiled.kernels.inputs import all_finite, copy_converted, hashed
from fastnn.backends.compiled.kernels.layers import call_activate
from fastnn.backends.compiled.kernels.layout import (
    ADDING_SPARSE,
    BATCH,
    CHECKING_SPARSE,
    FLOAT32,
    FLOAT64,
    FORWARD_SPARSE,
    GATHERING_SPARSE,
    SCALING_SPARSE,
    SHARE,
    STEPPING_SPARSE,
    Matrix,
    factor_of,
    indices,
    integers,
    keys_at,
    layers_of,
    numbers,
    plan_type,
    reals,
    row_of,
)
from fastnn.backends.compiled.kernels.rounded import load_factor
from fastnn.backends.compiled.kernels.update import call_move, update_biases
from fastnn.backends.compiled.machinery.bfloat16 import rounded
from fastnn.backends.compiled.machinery.instructions import itemsize_of
from fastnn.backends.compiled.machinery.jit import serial, unit
from fastnn.backends.compiled.machinery.lines import (
    LINE,
    filled,
    lanes_of,
    load,
    plus_product,
    store,
    where_below,
)
from fastnn.counters import GOLDEN_32

TOGETHER = 4  # lines of a row that are summed at once
SORTED_ROWS = 32  # rows of weights whose gradient is made at once


def _types(number):
    return plan_type(number), types.int64, BATCH, SHARE


@unit(_types)
def of_sparse(plan, what, batch, share):
    """Do a thread's share of an operation on the first layer; see `layout` for which there are."""
    if what == GATHERING_SPARSE:
        _gather(plan, batch, share)
    elif what == FORWARD_SPARSE:
        _forward(plan, batch, share)
    elif what == CHECKING_SPARSE:
        _check(plan, share)
    elif what == ADDING_SPARSE:
        _add(plan, batch, share)
    elif what == SCALING_SPARSE:
        _scale(plan, share)
    elif what == STEPPING_SPARSE:
        _step(plan, batch, share)
    else:
        _decay(plan, batch, share)


call_of_sparse = of_sparse.call


@serial
def _gather(plan, batch, share):
    """Copy the numbers of rows of a batch, converted, some left out, and their columns."""
    sparse, below = plan.sparse, layers_of(plan)[0].drop_below
    itemsize, one = itemsize_of(plan.alpha), type(plan.alpha)(1)
    pixel, zero = one / type(plan.alpha)(255), type(plan.alpha)(0)
    begins, keys = integers(sparse.begins, batch.count + 1), keys_at(plan.keys, plan.rows)
    indptr = integers(sparse.indptr, 1)
    kept, least = type(plan.alpha)(2.0**32 / (2.0**32 - below)), np.uint32(below)
    place = int64(0)
    for r in range(share.stop):
        row = row_of(plan, batch.first + r)
        begin, end = indptr[row], indptr[row + 1]
        count = end - begin
        if r < share.start:
            place += count
            continue
        begins[r] = place
        columns = indices(sparse.columns + 4 * place, count)
        stored = indices(sparse.indices + 4 * begin, count)
        for t in range(count):
            columns[t] = stored[t]
        values = numbers(sparse.values + itemsize * place, count, plan.alpha)
        if sparse.kind == FLOAT32:
            copy_converted(sparse.data + 4 * begin, 4, 4, np.float32(0), values, count, one)
        elif sparse.kind == FLOAT64:
            copy_converted(sparse.data + 8 * begin, 8, 8, np.float64(0), values, count, one)
        else:
            copy_converted(sparse.data + begin, 1, 1, np.uint8(0), values, count, pixel)
        if below > 0:
            key = keys[batch.first + r]
            for t in range(count):
                x = hashed(np.uint32(key + np.uint32(columns[t]) * np.uint32(GOLDEN_32)))
                values[t] = values[t] * kept if x >= least else zero
        if plan.rounds:
            for t in range(count):
                values[t] = rounded(values[t])
        place += count
    begins[share.stop] = place


@serial
def _check(plan, share):
    """Set the losses of rows to NaN where an input is not finite, else to 0."""
    begins = integers(plan.sparse.begins, share.stop + 1)
    losses, itemsize = reals(plan.row_losses, share.stop), itemsize_of(plan.alpha)
    for r in range(share.start, share.stop):
        address = plan.sparse.values + itemsize * begins[r]
        finite = all_finite(address, begins[r + 1] - begins[r], plan.alpha)
        losses[r] = 0.0 if finite else np.nan


@serial
def _forward(plan, batch, share):
    """Compute units of the layer for some rows, as `layers.forward` does."""
    layer, sparse = layers_of(plan)[0], plan.sparse
    itemsize, like, rounds = itemsize_of(plan.alpha), plan.alpha, plan.rounds
    zero = filled(type(like)(0))
    begins = integers(sparse.begins, batch.count + 1)
    hidden = plan.depth > 1
    rectified = hidden and layer.activation == RELU and layer.slopes == 0
    lines = (share.right - share.left + lanes_of(like) - 1) // lanes_of(like)
    row_bytes = itemsize * layer.stride
    weights = plan.parameters + itemsize * (layer.weights + share.left)
    biases = plan.parameters + itemsize * (layer.biases + share.left)
    for r in range(share.start, share.stop):
        out = plan.work + itemsize * (layer.outputs + share.left) + row_bytes * r
        count = begins[r + 1] - begins[r]
        columns = indices(sparse.columns + 4 * begins[r], count)
        values = numbers(sparse.values + itemsize * begins[r], count, like)
        line = int64(0)
        while line < lines:
            offset = line * LINE
            w = weights + offset
            if lines - line >= TOGETHER:
                a = load(biases + offset, like)
                b = load(biases + offset + LINE, like)
                c = load(biases + offset + 2 * LINE, like)
                d = load(biases + offset + 3 * LINE, like)
                for t in range(count):
                    v, row = values[t], w + row_bytes * columns[t]
                    a = plus_product(a, v, load_factor(row, like, rounds))
                    b = plus_product(b, v, load_factor(row + LINE, like, rounds))
                    c = plus_product(c, v, load_factor(row + 2 * LINE, like, rounds))
                    d = plus_product(d, v, load_factor(row + 3 * LINE, like, rounds))
                if rectified:
                    a = where_below(a, zero, zero, a)
                    b = where_below(b, zero, zero, b)
                    c = where_below(c, zero, zero, c)
                    d = where_below(d, zero, zero, d)
                store(out + offset, a)
                store(out + offset + LINE, b)
                store(out + offset + 2 * LINE, c)
                store(out + offset + 3 * LINE, d)
                line += TOGETHER
            else:
                a = load(biases + offset, like)
                for t in range(count):
                    row = w + row_bytes * columns[t]
                    a = plus_product(a, values[t], load_factor(row, like, rounds))
                if rectified:
                    a = where_below(a, zero, zero, a)
                store(out + offset, a)
                line += 1
    if hidden and not rectified and (layer.activation != IDENTITY or layer.slopes > 0):
        call_activate(plan.functions.activate, (plan, int64(0), batch, share))


@serial
def _add(plan, batch, share):
    """Add the gradient of some units to the result, row by row of the batch."""
    layer, sparse, like = layers_of(plan)[0], plan.sparse, plan.alpha
    itemsize, alpha, rounds = itemsize_of(like), plan.alpha, plan.rounds
    begins = integers(sparse.begins, batch.count + 1)
    lines = (share.right - share.left + lanes_of(like) - 1) // lanes_of(like)
    row_bytes = itemsize * layer.stride
    gradient = plan.result + itemsize * (layer.weights + share.left)
    deltas = plan.work + itemsize * (layer.deltas + share.left)
    for r in range(batch.count):
        count = begins[r + 1] - begins[r]
        columns = indices(sparse.columns + 4 * begins[r], count)
        values = numbers(sparse.values + itemsize * begins[r], count, like)
        line = int64(0)
        while line < lines:
            here, there = gradient + line * LINE, deltas + row_bytes * r + line * LINE
            a = alpha * load_factor(there, like, rounds)
            if lines - line >= TOGETHER:
                b = alpha * load_factor(there + LINE, like, rounds)
                c = alpha * load_factor(there + 2 * LINE, like, rounds)
                d = alpha * load_factor(there + 3 * LINE, like, rounds)
                for t in range(count):
                    v, row = values[t], here + row_bytes * columns[t]
                    store(row, plus_product(load(row, like), v, a))
                    store(row + LINE, plus_product(load(row + LINE, like), v, b))
                    store(row + 2 * LINE, plus_product(load(row + 2 * LINE, like), v, c))
                    store(row + 3 * LINE, plus_product(load(row + 3 * LINE, like), v, d))
                line += TOGETHER
            else:
                for t in range(count):
                    row = here + row_bytes * columns[t]
                    store(row, plus_product(load(row, like), values[t], a))
                line += 1
    update_biases(plan, int64(0), batch, share.left, share.right - share.left, False)


@serial
def _scale(plan, share):
    """Multiply rows of the result by the factor of the step; what is there may be anything."""
    layer, beta = layers_of(plan)[0], plan.beta
    begin = layer.weights + layer.stride * share.start
    result = numbers(plan.result, plan.parameter_count, plan.alpha)
    rows = result[begin : layer.weights + layer.stride * share.stop]
    if beta == 0:
        for i in range(len(rows)):
            rows[i] = 0
    elif beta != 1:
        for i in range(len(rows)):
            rows[i] *= beta


@serial
def _step(plan, batch, share):
    """Move rows of weights by their gradient, which is made for a part of them at a time.

    The numbers of the batch are sorted by parts before: the gradient of all weights, most of it
    zero, is never in memory, and that of a part stays in the nearest cache.
    """
    layer, sparse, like = layers_of(plan)[0], plan.sparse, plan.alpha
    itemsize, one, alpha = itemsize_of(like), type(like)(1), plan.alpha
    zero, rounds = filled(type(like)(0)), plan.rounds
    lines = (layer.fan_out + lanes_of(like) - 1) // lanes_of(like)
    packed, row_bytes = lines * LINE, itemsize * layer.stride
    deltas = plan.work + itemsize * layer.deltas
    pack = plan.packs + itemsize * batch.thread * plan.pack_size
    place = _sort(plan, batch, share)
    ends = integers(_ends(plan, batch, share), (share.stop - share.start) // SORTED_ROWS + 1)
    for begin in range(share.start, share.stop, SORTED_ROWS):
        end = min(begin + SORTED_ROWS, share.stop)
        for i in range((end - begin) * lines):
            store(pack + i * LINE, zero)
        stop = ends[(begin - share.start) // SORTED_ROWS]
        count, line = stop - place, int64(0)
        columns = indices(sparse.sorted_columns + 4 * place, count)
        rows = indices(sparse.sorted_rows + 4 * place, count)
        values = numbers(sparse.sorted_values + itemsize * place, count, like)
        while line < lines:
            target, source = pack + line * LINE, deltas + line * LINE
            if lines - line >= TOGETHER:
                for t in range(count):
                    v, here = values[t], target + packed * (columns[t] - begin)
                    there = source + row_bytes * rows[t]
                    a = alpha * load_factor(there, like, rounds)
                    b = alpha * load_factor(there + LINE, like, rounds)
                    c = alpha * load_factor(there + 2 * LINE, like, rounds)
                    d = alpha * load_factor(there + 3 * LINE, like, rounds)
                    store(here, plus_product(load(here, like), v, a))
                    store(here + LINE, plus_product(load(here + LINE, like), v, b))
                    store(here + 2 * LINE, plus_product(load(here + 2 * LINE, like), v, c))
                    store(here + 3 * LINE, plus_product(load(here + 3 * LINE, like), v, d))
                line += TOGETHER
            else:
                left = lines - line
                for t in range(count):
                    v, here = values[t], target + packed * (columns[t] - begin)
                    there = source + row_bytes * rows[t]
                    for i in range(left):
                        a = alpha * load_factor(there + i * LINE, like, rounds)
                        store(here + i * LINE, plus_product(load(here + i * LINE, like), v, a))
                line = lines
        place = stop
        offset = layer.weights + layer.stride * begin
        slopes = Matrix(pack, lines * lanes_of(like), int64(1))
        arguments = (
            plan, offset, slopes, layer.stride, end - begin, layer.fan_out, one,
            factor_of(plan, int64(0), False), True, False,
        )  # fmt: skip
        call_move(plan.functions.move, arguments)
    if share.stop == layer.fan_in:
        update_biases(plan, int64(0), batch, int64(0), layer.fan_out, True)


@serial
def _sort(plan, batch, share):
    """Sort the numbers of a thread's columns by parts of them; in each, rows stay in order.

    Return the place of the first of them; where those of each part end is written down.
    """
    sparse, itemsize, start = plan.sparse, itemsize_of(plan.alpha), share.start
    begins = integers(sparse.begins, batch.count + 1)
    parts = (share.stop - start + SORTED_ROWS - 1) // SORTED_ROWS
    # Unsigned numbers: columns before the first are beyond the last, and parts are cheap to find.
    own, size = np.uint64(share.stop - start), np.uint64(SORTED_ROWS)
    count = begins[batch.count]
    columns, ends = indices(sparse.columns, count), integers(_ends(plan, batch, share), parts)
    sorted_columns = indices(sparse.sorted_columns, count)
    sorted_rows = indices(sparse.sorted_rows, count)
    sorted_values = numbers(sparse.sorted_values, count, plan.alpha)
    for i in range(parts):
        ends[i] = 0
    first = int64(0)
    for t in range(count):
        column = np.uint64(int64(columns[t]) - start)
        if column < own:
            ends[column // size] += 1
        first += columns[t] < start
    place = first
    for i in range(parts):
        ends[i], place = place, place + ends[i]
    for r in range(batch.count):
        count = begins[r + 1] - begins[r]
        columns = indices(sparse.columns + 4 * begins[r], count)
        values = numbers(sparse.values + itemsize * begins[r], count, plan.alpha)
        for t in range(count):
            column = np.uint64(int64(columns[t]) - start)
            if column < own:
                place = ends[column // size]
                sorted_columns[place], sorted_rows[place] = columns[t], r
                sorted_values[place] = values[t]
                ends[column // size] = place + 1
    return first


@serial
def _ends(plan, batch, share):
    """Return where a thread writes down where its parts end: beside those of other threads."""
    return plan.sparse.ends + 8 * (share.start // SORTED_ROWS + batch.thread)


@serial
def _decay(plan, batch, share):
    """Bring rows of weights up to date: multiply them by the factors of steps they have not had.

    They are those that the batch touches, of columns that are the thread's own; or without a batch
    all of the share, and a new call begins. It goes factor by factor, so that neither when this is
    nor where calls end makes a difference.
    """
    sparse, size = plan.sparse, plan.batch_size
    steps = (batch.first + size - 1) // size  # when updating, the batch is already behind
    columns, decayed = indices(sparse.columns, 1), indices(sparse.decayed, 1)
    if batch.count == 0:
        for row in range(share.start, share.stop):
            _decay_row(plan, row, int64(decayed[row]), steps)
            decayed[row] = 0
    for t in range(integers(sparse.begins, 1)[batch.count] if batch.count > 0 else 0):
        row = int64(columns[t])
        if decayed[row] < steps and row % plan.threads == batch.thread:
            _decay_row(plan, row, int64(decayed[row]), steps)
            decayed[row] = steps


@serial
def _decay_row(plan, row, since, steps):
    layer, like = layers_of(plan)[0], plan.alpha
    itemsize = itemsize_of(like)
    lines = (layer.fan_out + lanes_of(like) - 1) // lanes_of(like)
    factors = numbers(plan.sparse.step_numbers, 2 * steps, like)
    here = plan.parameters + itemsize * (layer.weights + layer.stride * row)
    line = int64(0)
    while line < lines and since < steps:
        address = here + line * LINE
        a = load(address, like)
        if lines - line >= TOGETHER:
            b, c = load(address + LINE, like), load(address + 2 * LINE, like)
            d = load(address + 3 * LINE, like)
            for step in range(since, steps):
                factor = factors[2 * step + 1]  # beside alpha
                a, b, c, d = factor * a, factor * b, factor * c, factor * d
            store(address + LINE, b)
            store(address + 2 * LINE, c)
            store(address + 3 * LINE, d)
            line += TOGETHER
        else:
            for step in range(since, steps):
                a = factors[2 * step + 1] * a
            line += 1
        store(address, a)
