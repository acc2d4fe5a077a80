"""The layers of a network on a block of rows: gather, forward, outputs and losses, deltas backward.

Activations, deltas and targets lie in one flat array ``work``; the table ``layers`` says where.
Loops run along single rows: a row gives the same bits wherever a block begins.
"""

from __future__ import annotations

import math

import numpy as np
from numba import carray, int64, types

from fastnn.activations import RELU, SIGMOID, SOFTMAX, TANH
from fastnn.backends.compiled import elementary
from fastnn.backends.compiled.gemm import (
    GATHER,
    PRODUCT,
    SPARSE_PRODUCT,
    across_one,
    call_product,
    call_product_of_sparse,
    product_transposed,
)
from fastnn.backends.compiled.jit import serial, unit
from fastnn.backends.compiled.vector_ir import (
    FROM_BIASES,
    MASKED,
    PLAIN,
    RECTIFIED,
    REDUCED,
    lanes,
    largest_of_groups,
    list_nonzero,
    outer_tile,
    pair_tile,
    pointer_to,
    prefetch,
    sum_of_groups,
)
from fastnn.losses import CROSS_ENTROPY

# Columns of the table of layers, one row a layer. Offsets and strides count elements. WEIGHTS and
# BIASES are offsets in the flat parameters; INPUT, OUTPUT and DELTA in the work array.
(
    FAN_IN,
    FAN_OUT,
    WEIGHTS,
    BIASES,
    STRIDE,  # of the weights' rows, and of OUTPUT and DELTA
    ACTIVATION,
    INPUT,
    INPUT_STRIDE,
    OUTPUT,
    DELTA,
) = range(10)
COLUMNS = 10

# A source of rows: where they are, what they hold, and the bytes between rows and between columns.
ADDRESS, KIND, ROW_BYTES, COLUMN_BYTES = range(4)
FLOAT32, FLOAT64, UINT8, UINT8_PIXELS, LABELS, NONE = range(6)

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
def gather_inputs(functions, layers, work, source, target, order, first, start, stop):
    """Gather rows start .. stop of the batch that begins at order[first], or that row.

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
        begin = layers[0, INPUT] + r * width
        call_gather(functions[GATHER], (source, index, work[begin : begin + fan_in], fan_in))


@serial
def activate(code, row):
    """Replace weighted inputs by activations."""
    if code == RELU:
        for j in range(len(row)):
            row[j] = 0 if row[j] < 0 else row[j]
    elif code == SIGMOID:
        for j in range(len(row)):
            row[j] = elementary.sigmoid(row[j])
    elif code == TANH:
        for j in range(len(row)):
            row[j] = elementary.tanh(row[j])


@serial
def apply_derivative(code, row, delta):
    """Multiply deltas by the derivative of the activation, given its output."""
    one = row.dtype.type(1)
    if code == RELU:
        for j in range(len(row)):
            delta[j] = delta[j] if row[j] > 0 else 0
    elif code == SIGMOID:
        for j in range(len(row)):
            delta[j] *= row[j] * (one - row[j])
    elif code == TANH:
        for j in range(len(row)):
            delta[j] *= one - row[j] * row[j]


@serial
def finish(functions, layers, loss, work, target, order, first, start, stop, losses):
    """Replace the last weighted inputs of rows start .. stop by the outputs.

    With targets, this also writes the losses and the deltas of the last layer.
    """
    last = len(layers) - 1
    activation, outputs = layers[last, ACTIVATION], layers[last, FAN_OUT]
    stride, output, delta = layers[last, STRIDE], layers[last, OUTPUT], layers[last, DELTA]
    kind = target[KIND]
    entropy = kind != NONE and loss == CROSS_ENTROPY and activation == SOFTMAX
    if kind != NONE and not (entropy and kind == LABELS):
        for r in range(start, stop):
            begin, index = delta + r * stride, row_of(order, first + r)
            call_gather(functions[GATHER], (target, index, work[begin : begin + outputs], outputs))
    if activation == SOFTMAX:
        peaks_to_zero(work, output, stride, outputs, start, stop)
        if entropy:
            for r in range(start, stop):
                row, begin = output + r * stride, delta + r * stride
                if kind == LABELS:
                    losses[r] = -work[row + label_of(target, row_of(order, first + r))]
                else:
                    losses[r] = -dot(work[row : row + outputs], work[begin : begin + outputs])
        exponentials(work[output + start * stride : output + stop * stride])
    for r in range(start, stop):
        row = work[output + r * stride : output + r * stride + outputs]
        deltas = work[delta + r * stride : delta + (r + 1) * stride]
        if activation == SOFTMAX:
            total = normalise(row)
            for i in range(output + r * stride + outputs, output + (r + 1) * stride):
                work[i] = 0  # an exponential until now
            if entropy and kind == LABELS:
                losses[r] += math.log(total)
                for j in range(outputs):
                    deltas[j] = row[j]
                deltas[label_of(target, row_of(order, first + r))] -= 1
            elif entropy:
                mass = row.dtype.type(0)
                for j in range(outputs):
                    mass += deltas[j]
                    deltas[j] = row[j] - deltas[j]
                losses[r] += mass * math.log(total)
        if kind != NONE and not entropy:
            losses[r] = loss_and_delta(activation, loss, row, deltas)
        elif activation != SOFTMAX:
            activate(activation, row)


@serial
def row_of(order, place):
    """Return the row that stands at a place of the order, which may be empty: the row itself."""
    return order[place] if len(order) > 0 else place


@serial
def label_of(target, row):
    """Return the label of a row of targets that are labels."""
    return carray(pointer_to(target[ADDRESS] + row * target[ROW_BYTES], np.int64(0)), 1)[0]


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
def loss_and_delta(activation, loss, row, target):
    """Return the row's loss; leave outputs in ``row`` and the loss's gradient in ``target``.

    The row holds the weighted inputs, or for softmax the outputs; the gradient is that with respect
    to the weighted inputs.
    """
    value, outputs = row.dtype.type(0), len(row)
    if loss == CROSS_ENTROPY:
        for j in range(outputs):
            z = row[j]
            value += max(z, 0) - target[j] * z + math.log1p(elementary.exp(-abs(z)))
        activate(activation, row)
        for j in range(outputs):
            target[j] = row[j] - target[j]
        return value
    if activation != SOFTMAX:
        activate(activation, row)
    slope = row.dtype.type(2) / row.dtype.type(outputs)
    for j in range(outputs):
        value += (row[j] - target[j]) ** 2
        target[j] = slope * (row[j] - target[j])
    if activation == SOFTMAX:
        mean = dot(target[:outputs], row)
        for j in range(outputs):
            target[j] = row[j] * (target[j] - mean)
    else:
        apply_derivative(activation, row, target[:outputs])
    return value / outputs


@serial
def forward(functions, layers, parameters, work, first, rows, lists):
    """Compute the weighted inputs of the last layer for rows first .. first + rows of the inputs.

    For each layer: Z (rows, fan_out) = A (rows, fan_in) W (fan_in, fan_out) + b.
    """
    one = work.dtype.type(1)
    for l in range(len(layers)):
        fan_in, fan_out, stride = layers[l, FAN_IN], layers[l, FAN_OUT], layers[l, STRIDE]
        output = layers[l, OUTPUT] + first * stride
        source = layers[l, INPUT] + first * layers[l, INPUT_STRIDE]
        hidden = l < len(layers) - 1
        finish = RECTIFIED if hidden and layers[l, ACTIVATION] == RELU else PLAIN
        if l == 0 and len(lists) > 0:
            arguments = (
                work, source, layers[l, INPUT_STRIDE], parameters, layers[l, WEIGHTS], stride,
                work, output, stride, rows, fan_out, fan_in, layers[l, BIASES], finish, lists,
            )  # fmt: skip
            call_product_of_sparse(functions[SPARSE_PRODUCT], arguments)
        else:
            arguments = (
                work, source, layers[l, INPUT_STRIDE], 1, parameters, layers[l, WEIGHTS], stride,
                work, output, stride, rows, fan_out, fan_in, FROM_BIASES, layers[l, BIASES],
                finish, 0, one, one,
            )  # fmt: skip
            call_product(functions[PRODUCT], arguments)
        if hidden and finish == PLAIN:
            for r in range(rows):
                start = output + r * stride
                activate(layers[l, ACTIVATION], work[start : start + fan_out])


@serial
def backward(functions, layers, parameters, work, first, rows, pack):
    """From the deltas of the last layer compute those of all layers before it.

    For each layer: delta (rows, fan_in) = delta (rows, fan_out) W^T (fan_out, fan_in) * f'(a).
    """
    for l in range(len(layers) - 1, 0, -1):
        stride, below = layers[l, STRIDE], layers[l - 1, STRIDE]
        output = layers[l - 1, OUTPUT] + first * below
        delta = layers[l - 1, DELTA] + first * below
        rectified = layers[l - 1, ACTIVATION] == RELU
        product_transposed(
            functions, work, layers[l, DELTA] + first * stride, stride,
            parameters, layers[l, WEIGHTS], stride, work, delta, below,
            rows, layers[l, FAN_IN], layers[l, FAN_OUT], MASKED if rectified else PLAIN,
            output - delta, pack,
        )  # fmt: skip
        if not rectified:
            for r in range(rows):
                begin, columns = r * below, layers[l, FAN_IN]
                apply_derivative(
                    layers[l - 1, ACTIVATION],
                    work[output + begin : output + begin + columns],
                    work[delta + begin : delta + begin + columns],
                )


@serial
def forward_one(layers, parameters, work, lists, everything):
    """Compute the weighted inputs of the last layer for the first row of the inputs.

    Inputs that are zero are left out, unless ``everything`` is to be taken. ``lists`` gets for each
    layer how many inputs were taken and, from the next place on, which.
    """
    one = work.dtype.type(1)
    width = lanes(work.itemsize)
    begin = 0
    for l in range(len(layers)):
        fan_in, source, output = layers[l, FAN_IN], layers[l, INPUT], layers[l, OUTPUT]
        length = 0
        if everything or (l > 0 and layers[l - 1, ACTIVATION] != RELU):
            for k in range(fan_in):
                lists[begin + 1 + k] = k
            length = fan_in
        else:
            for k in range(0, fan_in, width):
                length += list_nonzero(work, source + k, 0, 1, k, lists, begin + 1 + length)
        lists[begin] = length
        hidden = l < len(layers) - 1
        finish = RECTIFIED if hidden and layers[l, ACTIVATION] == RELU else PLAIN
        vectors = (layers[l, FAN_OUT] + width - 1) // width
        vector = 0
        while vector < vectors:
            across = across_one(vectors - vector)
            column = vector * width
            pair_tile(
                1, across, work, source, 0, 1, parameters, layers[l, WEIGHTS] + column,
                layers[l, STRIDE], work, output + column, 0, lists, begin + 1, length,
                FROM_BIASES, layers[l, BIASES] + column, finish, 0, one, one, 0, 0,
            )  # fmt: skip
            vector += across
        if hidden and finish == PLAIN:
            activate(layers[l, ACTIVATION], work[output : output + layers[l, FAN_OUT]])
        begin += fan_in + 1


@serial
def backward_one(layers, parameters, result, work, lists, alpha, beta):
    """From the deltas of the last layer for one row, update all layers.

    Each row of weights that `forward_one` took is read once: the delta of its input is its product
    with the layer's deltas, before ``beta * w + alpha * a * delta`` is written.
    """
    width = lanes(work.itemsize)
    end = 0
    for l in range(len(layers)):
        end += layers[l, FAN_IN] + 1
    for l in range(len(layers) - 1, -1, -1):
        fan_in, fan_out, stride = layers[l, FAN_IN], layers[l, FAN_OUT], layers[l, STRIDE]
        weights, biases, delta = layers[l, WEIGHTS], layers[l, BIASES], layers[l, DELTA]
        end -= fan_in + 1
        below = layers[l - 1, DELTA] if l > 0 else 0
        vectors = (fan_out + width - 1) // width
        vector = 0
        while vector < vectors:
            across = across_one(vectors - vector)
            column = vector * width
            outer_tile(
                across, l > 0, work, layers[l, INPUT], delta + column, parameters,
                weights + column, result, stride, lists, end + 1, int64(lists[end]), below,
                vector > 0, alpha, beta,
            )  # fmt: skip
            vector += across
        for j in range(fan_out):
            result[biases + j] += alpha * work[delta + j]
        if l > 0:
            output = layers[l - 1, OUTPUT]
            apply_derivative(
                layers[l - 1, ACTIVATION],
                work[output : output + fan_in],
                work[below : below + fan_in],
            )
