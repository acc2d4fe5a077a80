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
    ACTIVATE,
    DERIVE,
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
    finite_groups,
    lanes,
    largest_of_groups,
    list_nonzero,
    outer_tile,
    pointer_to,
    prefetch,
    row_tile,
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
    COPY,  # from one thread's copy of INPUT to the next's, 0 where all share one
    OUTPUT,
    DELTA,
) = range(11)
COLUMNS = 11

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
def gather_inputs(functions, layers, work, source, target, order, first, start, stop, inputs):
    """Gather rows start .. stop of the batch that begins at order[first], or that row, to inputs.

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
        begin = inputs + r * width
        call_gather(functions[GATHER], (source, index, work[begin : begin + fan_in], fan_in))


@serial
def check_inputs(inputs, begin, stride, columns, start, stop, losses):
    """Set the losses of rows to NaN where an input is not finite, else to 0."""
    groups = columns // REDUCED
    for r in range(start, stop):
        row = begin + r * stride
        finite = finite_groups(inputs, row, groups)
        for j in range(groups * REDUCED, columns):
            finite = finite and math.isfinite(inputs[row + j])
        losses[r] = 0.0 if finite else np.nan


def _activate_types(number):
    index = types.int64
    return index, number[::1], index, index, index, index


@unit(_activate_types)
def activate(code, work, first, stride, rows, columns):
    """Replace weighted inputs by activations, in rows that begin at ``first``."""
    for r in range(rows):
        row = work[first + r * stride : first + r * stride + columns]
        if code == RELU:
            for j in range(columns):
                row[j] = 0 if row[j] < 0 else row[j]
        elif code == SIGMOID:
            for j in range(columns):
                row[j] = elementary.sigmoid(row[j])
        elif code == TANH:
            for j in range(columns):
                row[j] = elementary.tanh(row[j])


call_activate = activate.call


def _derive_types(number):
    index = types.int64
    return index, number[::1], index, index, index, index, index


@unit(_derive_types)
def apply_derivative(code, work, output, delta, stride, rows, columns):
    """Multiply deltas by the derivative of the activation, given its output."""
    one = work.dtype.type(1)
    for r in range(rows):
        here, there = output + r * stride, delta + r * stride
        row, deltas = work[here : here + columns], work[there : there + columns]
        if code == RELU:
            for j in range(columns):
                deltas[j] = deltas[j] if row[j] > 0 else 0
        elif code == SIGMOID:
            for j in range(columns):
                deltas[j] *= row[j] * (one - row[j])
        elif code == TANH:
            for j in range(columns):
                deltas[j] *= one - row[j] * row[j]


call_apply_derivative = apply_derivative.call


def _finish_types(number):
    index, integers = types.int64, types.int64[::1]
    return (
        integers, types.int64[:, ::1], index, number[::1], integers, integers, index, index, index,
        types.float64[::1],
    )  # fmt: skip


@unit(_finish_types)
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
        here, there = output + r * stride, delta + r * stride
        row, deltas = work[here : here + outputs], work[there : there + outputs]
        if activation == SOFTMAX:
            total = normalise(row)
            for i in range(here + outputs, here + stride):
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
        elif kind != NONE and loss == CROSS_ENTROPY:
            losses[r] = binary_entropy(row, deltas)
        if activation != SOFTMAX:
            call_activate(functions[ACTIVATE], (activation, work, here, stride, 1, outputs))
        if kind == NONE or entropy:
            continue
        if loss == CROSS_ENTROPY:
            for j in range(outputs):
                deltas[j] = row[j] - deltas[j]
            continue
        losses[r] = squared_error(row, deltas)
        if activation == SOFTMAX:
            mean = dot(deltas, row)
            for j in range(outputs):
                deltas[j] = row[j] * (deltas[j] - mean)
        else:
            arguments = (activation, work, here, there, stride, 1, outputs)
            call_apply_derivative(functions[DERIVE], arguments)


call_finish = finish.call


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
def binary_entropy(row, target):
    """Return the sum of the cross-entropies of the sigmoids of weighted inputs."""
    value = row.dtype.type(0)
    for j in range(len(row)):
        z = row[j]
        value += max(z, 0) - target[j] * z + math.log1p(elementary.exp(-abs(z)))
    return value


@serial
def squared_error(row, target):
    """Return the mean squared error; leave its gradient in ``target``."""
    value, slope = row.dtype.type(0), row.dtype.type(2) / row.dtype.type(len(row))
    for j in range(len(row)):
        value += (row[j] - target[j]) ** 2
        target[j] = slope * (row[j] - target[j])
    return value / len(row)


@serial
def forward(
    functions, layers, l, parameters, a, inputs, a_stride, work, start, stop, left, right, lists,
    ahead,
):  # fmt: skip
    """Compute units left .. right of a layer for rows start .. stop.

    Z (rows, fan_out) = A (rows, fan_in) W (fan_in, fan_out) + b, where A begins at ``a[inputs]``;
    in hidden layers the activation follows. For ``ahead`` see `product`.
    """
    one = work.dtype.type(1)
    stride = layers[l, STRIDE]
    output = layers[l, OUTPUT] + start * stride + left
    source, weights = inputs + start * a_stride, layers[l, WEIGHTS] + left
    biases = layers[l, BIASES] + left
    hidden = l < len(layers) - 1
    finish = RECTIFIED if hidden and layers[l, ACTIVATION] == RELU else PLAIN
    if l == 0 and len(lists) > 0:
        arguments = (
            a, source, a_stride, parameters, weights, stride, work, output, stride,
            stop - start, right - left, layers[l, FAN_IN], biases, finish, lists,
        )  # fmt: skip
        call_product_of_sparse(functions[SPARSE_PRODUCT], arguments)
    else:
        arguments = (
            a, source, a_stride, 1, parameters, weights, stride, work, output, stride,
            stop - start, right - left, layers[l, FAN_IN], FROM_BIASES, biases, finish, 0, one, one,
            ahead,
        )  # fmt: skip
        call_product(functions[PRODUCT], arguments)
    if hidden and finish == PLAIN:
        arguments = (layers[l, ACTIVATION], work, output, stride, stop - start, right - left)
        call_activate(functions[ACTIVATE], arguments)


@serial
def backward(functions, layers, l, parameters, work, start, stop, left, right, pack):
    """From the deltas of a layer compute those of units left .. right below, rows start .. stop.

    delta (rows, fan_in) = delta (rows, fan_out) W^T (fan_out, fan_in) * f'(a).
    """
    stride, below = layers[l, STRIDE], layers[l - 1, STRIDE]
    output = layers[l - 1, OUTPUT] + start * below + left
    delta = layers[l - 1, DELTA] + start * below + left
    rectified = layers[l - 1, ACTIVATION] == RELU
    product_transposed(
        functions, work, layers[l, DELTA] + start * stride, stride,
        parameters, layers[l, WEIGHTS] + left * stride, stride, work, delta, below,
        stop - start, right - left, layers[l, FAN_OUT], MASKED if rectified else PLAIN,
        output - delta, pack,
    )  # fmt: skip
    if not rectified:
        arguments = (
            layers[l - 1, ACTIVATION], work, output, delta, below, stop - start, right - left
        )  # fmt: skip
        call_apply_derivative(functions[DERIVE], arguments)


def _forward_one_types(number):
    vector = number[::1]
    return (
        types.int64[::1], types.int64[:, ::1], vector, vector, types.int32[::1], types.boolean
    )  # fmt: skip


@unit(_forward_one_types)
def forward_one(functions, layers, parameters, work, lists, everything):
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
            row_tile(
                1, across, work, source, 0, 1, parameters, layers[l, WEIGHTS] + column,
                layers[l, STRIDE], work, output + column, 0, lists, begin + 1, length,
                FROM_BIASES, layers[l, BIASES] + column, finish, 0, one, one, 0, 0, 0,
            )  # fmt: skip
            vector += across
        if hidden and finish == PLAIN:
            arguments = (layers[l, ACTIVATION], work, output, 0, 1, layers[l, FAN_OUT])
            call_activate(functions[ACTIVATE], arguments)
        begin += fan_in + 1


call_forward_one = forward_one.call


@serial
def backward_one(functions, layers, parameters, result, work, lists, alpha, beta):
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
            arguments = (
                layers[l - 1, ACTIVATION], work, layers[l - 1, OUTPUT], below, 0, 1, fan_in
            )  # fmt: skip
            call_apply_derivative(functions[DERIVE], arguments)
