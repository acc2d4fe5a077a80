"""A first layer whose inputs are sparse rows: it goes over the numbers that are stored.

The rows of a batch are gathered as they are, one after the other. To update weights they are listed
by columns, so that each row of weights is read and written once; a sum over the rows of a batch
goes from the first to the last. Lines are 64 bytes on any machine, so the bits are the same.
"""

from __future__ import annotations

import numpy as np
from numba import int64, types

from fastnn.activations import IDENTITY, RELU
from fastnn.backends.compiled.kernels.inputs import (
    all_finite,
    copy_converted,
    hashed,
)
from fastnn.backends.compiled.kernels.layers import call_activate
from fastnn.backends.compiled.kernels.layout import (
    ADDING_SPARSE,
    BATCH,
    CHECKING_SPARSE,
    DECAYING_SPARSE,
    FLOAT32,
    FLOAT64,
    FORWARD_SPARSE,
    GATHERING_SPARSE,
    LISTING_SPARSE,
    SHARE,
    STEPPING_SPARSE,
    Matrix,
    indices,
    integers,
    keys_at,
    layers_of,
    numbers,
    plan_type,
    reals,
    row_of,
)
from fastnn.backends.compiled.kernels.update import call_move, update_biases
from fastnn.backends.compiled.machinery.jit import serial, unit
from fastnn.backends.compiled.machinery.lines import (
    LINE,
    filled,
    lanes_of,
    load,
    store,
    where_below,
)
from fastnn.backends.compiled.machinery.vector_ir import itemsize_of
from fastnn.backends.dropout import GOLDEN_32

TOGETHER = 4  # lines of a row that are summed at once


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
    elif what == LISTING_SPARSE:
        if batch.thread == 0:
            _list(plan, batch)
    elif what == DECAYING_SPARSE:
        _decay(plan, batch, share)
    elif what == ADDING_SPARSE:
        _add(plan, batch)
    else:
        _update(plan, batch, share, what == STEPPING_SPARSE)


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
    itemsize, like = itemsize_of(plan.alpha), plan.alpha
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
                    a = v * load(row, like) + a
                    b = v * load(row + LINE, like) + b
                    c = v * load(row + 2 * LINE, like) + c
                    d = v * load(row + 3 * LINE, like) + d
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
                    a = values[t] * load(w + row_bytes * columns[t], like) + a
                if rectified:
                    a = where_below(a, zero, zero, a)
                store(out + offset, a)
                line += 1
    if hidden and not rectified and (layer.activation != IDENTITY or layer.slopes > 0):
        call_activate(plan.functions.activate, (plan, int64(0), batch, share))


@serial
def _list(plan, batch):
    """List the numbers of a batch by columns; in each column rows ascend."""
    sparse = plan.sparse
    touched, heads = indices(sparse.touched, 1), indices(sparse.heads, 1)
    rows, nexts = indices(sparse.rows, 1), indices(sparse.nexts, 1)
    columns, begins = indices(sparse.columns, 1), integers(sparse.begins, batch.count + 1)
    for i in range(sparse.touched_count):
        heads[touched[i]] = -1
    count = int64(0)
    for r in range(batch.count - 1, -1, -1):
        for t in range(begins[r], begins[r + 1]):
            column = columns[t]
            head = heads[column]
            if head < 0:
                touched[count] = column
                count += 1
            heads[column], nexts[t], rows[t] = t, head, r
    sparse.touched_count = count


@serial
def _add(plan, batch):
    """Add the gradient to the rows of the result that the batch touches, and that of the biases."""
    layer, sparse = layers_of(plan)[0], plan.sparse
    touched = indices(sparse.touched, sparse.touched_count)
    start, stop = _part(plan, batch)
    for i in range(start, stop):
        offset = layer.weights + layer.stride * touched[i]
        address = plan.result + itemsize_of(plan.alpha) * offset
        _sum(plan, indices(sparse.heads, 1)[touched[i]], address, plan.beta)
        if sparse.decayed != 0:
            indices(sparse.decayed, 1)[touched[i]] += 1
    if batch.thread == 0:
        update_biases(plan, int64(0), batch, int64(0), layer.fan_out, False)


@serial
def _update(plan, batch, share, stepping):
    """Add the gradient to all rows of the result, or make it part by part and move weights."""
    layer = layers_of(plan)[0]
    itemsize, one = itemsize_of(plan.alpha), type(plan.alpha)(1)
    zero = filled(type(plan.alpha)(0))
    stride = layer.stride
    lines = (layer.fan_out + lanes_of(plan.alpha) - 1) // lanes_of(plan.alpha)
    heads = indices(plan.sparse.heads, 1)
    pack = plan.packs + itemsize * batch.thread * plan.pack_size
    width = lines * lanes_of(plan.alpha) if stepping else stride
    part = plan.pack_size // width if stepping else share.stop - share.start
    for begin in range(share.start, share.stop, part):
        end = min(begin + part, share.stop)
        offset = layer.weights + begin * stride
        gradient = pack if stepping else plan.result + itemsize * offset
        for j in range(begin, end):
            row = gradient + itemsize * (j - begin) * width
            if stepping and heads[j] < 0:
                for line in range(lines):
                    store(row + line * LINE, zero)
            else:
                _sum(plan, heads[j], row, type(plan.alpha)(0) if stepping else plan.beta)
        if stepping:
            slopes = Matrix(gradient, width, int64(1))
            arguments = (plan, offset, slopes, stride, end - begin, layer.fan_out, one, True, False)
            call_move(plan.functions.move, arguments)
    if share.stop == layer.fan_in:
        update_biases(plan, int64(0), batch, int64(0), layer.fan_out, stepping)


@serial
def _sum(plan, head, out, beta):
    """Write ``beta * out + alpha * g`` for the gradient g of a column's row of weights."""
    layer, sparse = layers_of(plan)[0], plan.sparse
    like, alpha = plan.alpha, plan.alpha
    itemsize = itemsize_of(like)
    zero = filled(type(like)(0))
    lines = (layer.fan_out + lanes_of(like) - 1) // lanes_of(like)
    rows, nexts = indices(sparse.rows, 1), indices(sparse.nexts, 1)
    values, row_bytes = numbers(sparse.values, 1, like), itemsize * layer.stride
    deltas = plan.work + itemsize * layer.deltas
    line = int64(0)
    while line < lines:
        here, there, t = out + line * LINE, deltas + line * LINE, int64(head)
        if lines - line >= TOGETHER:
            a, b, c, d = zero, zero, zero, zero
            while t >= 0:
                v, row = values[t], there + row_bytes * rows[t]
                a = v * load(row, like) + a
                b = v * load(row + LINE, like) + b
                c = v * load(row + 2 * LINE, like) + c
                d = v * load(row + 3 * LINE, like) + d
                t = int64(nexts[t])
            _put(here, a, alpha, beta)
            _put(here + LINE, b, alpha, beta)
            _put(here + 2 * LINE, c, alpha, beta)
            _put(here + 3 * LINE, d, alpha, beta)
            line += TOGETHER
        else:
            a = zero
            while t >= 0:
                a = values[t] * load(there + row_bytes * rows[t], like) + a
                t = int64(nexts[t])
            _put(here, a, alpha, beta)
            line += 1


@serial
def _put(out, g, alpha, beta):
    """Write a line of ``beta * out + alpha * g``; what is there does not matter if beta is 0."""
    if beta == 0:
        store(out, alpha * g)
    elif beta == 1:
        store(out, alpha * g + load(out, alpha))
    else:
        store(out, alpha * g + beta * load(out, alpha))


@serial
def _decay(plan, batch, share):
    """Multiply rows of weights by the factors of the steps before, of which they have had some.

    They are those that the batch touches; or without a batch all of the share, and a new call
    begins. Factor by factor, so that it does not matter when, nor where calls end.
    """
    sparse = plan.sparse
    steps = batch.first // plan.batch_size
    touched, decayed = indices(sparse.touched, 1), indices(sparse.decayed, 1)
    start, stop = share.start, share.stop
    if batch.count > 0:
        start, stop = _part(plan, batch)
    for i in range(start, stop):
        row = int64(touched[i]) if batch.count > 0 else i
        _decay_row(plan, row, int64(decayed[row]), steps)
        decayed[row] = steps if batch.count > 0 else 0


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
        if lines - line >= TOGETHER:
            a, b = load(address, like), load(address + LINE, like)
            c, d = load(address + 2 * LINE, like), load(address + 3 * LINE, like)
            for step in range(since, steps):
                factor = factors[2 * step + 1]  # beside alpha
                a, b, c, d = factor * a, factor * b, factor * c, factor * d
            store(address, a)
            store(address + LINE, b)
            store(address + 2 * LINE, c)
            store(address + 3 * LINE, d)
            line += TOGETHER
        else:
            a = load(address, like)
            for step in range(since, steps):
                a = factors[2 * step + 1] * a
            store(address, a)
            line += 1


@serial
def _part(plan, batch):
    """Return which of the touched columns a thread takes."""
    count, thread = plan.sparse.touched_count, batch.thread
    return count * thread // plan.threads, count * (thread + 1) // plan.threads
