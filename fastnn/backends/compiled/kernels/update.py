"""From a gradient to a step: penalties, clipping, the optimizers, limits on weights.

Everything here goes through the flat vectors element by element, padding included: it is zero in
all of them, and stays so.
"""

from __future__ import annotations

import math

import numpy as np
from numba import int64, types

from fastnn.backends.compiled.kernels.inputs import LINE, inputs_of
from fastnn.backends.compiled.kernels.layout import (
    BATCH,
    MATRIX,
    SHARE,
    Matrix,
    Shape,
    Sums,
    factor_of,
    layers_of,
    numbers,
    parameters_at,
    plan_type,
    reals,
)
from fastnn.backends.compiled.kernels.narrow import call_narrow_gradient
from fastnn.backends.compiled.kernels.products import (
    GRADIENT_ROWS,
    call_product,
    product_of_sparse_transposed,
)
from fastnn.backends.compiled.kernels.rounded import call_rounded_product, rounded_pack_of
from fastnn.backends.compiled.machinery.instructions import itemsize_of
from fastnn.backends.compiled.machinery.jit import serial, unit
from fastnn.backends.compiled.machinery.machine import GROUP
from fastnn.backends.compiled.machinery.narrow import UNITS
from fastnn.backends.compiled.machinery.tiles import FROM_ZERO, SCALED
from fastnn.backends.compiled.machinery.vectors import REDUCED, sum_of_groups
from fastnn.optimizers import ADAM, MOMENTUM, RMSPROP

# Rows whose squares are summed in one go, whatever the threads.
MEASURED_ROWS = 32


@serial
def rows_of_update(fan_in):
    """Return the rows that threads share: those of weights in whole groups, one for the biases."""
    return (fan_in + GROUP - 1) // GROUP * GROUP + GROUP


@serial
def update(plan, l, batch, share, stepping):
    """Update a share of a layer's weights, and its biases if they are a part of that.

    When ``stepping``, the gradient of as many rows as have room in the thread's pack is made there,
    and the parameters are moved by it; else it goes to the result.
    """
    itemsize = itemsize_of(plan.alpha)
    one = type(plan.alpha)(1)
    layer, inputs = layers_of(plan)[l], inputs_of(plan, l, batch)
    stride, left, columns = layer.stride, share.left, share.right - share.left
    deltas = Matrix(plan.work + itemsize * (layer.deltas + left), stride, int64(1))
    pack = plan.packs + itemsize * batch.thread * plan.pack_size
    last = min(share.stop, layer.fan_in)
    gradient_stride, part = stride, max(1, last - share.start)
    if stepping:
        line = LINE // itemsize
        gradient_stride = (columns + line - 1) // line * line
        part = plan.pack_size // gradient_stride // GROUP * GROUP
    for begin in range(share.start, last, part):
        end = min(begin + part, last)
        offset = layer.weights + begin * stride + left
        gradient = Matrix(
            pack if stepping else plan.result + itemsize * offset, gradient_stride, int64(1)
        )
        a = Matrix(inputs.address + itemsize * begin, int64(1), inputs.row)
        if l == 0 and plan.lists_size > 0:
            for first in range(0, batch.count, GRADIENT_ROWS):
                product_of_sparse_transposed(
                    plan,
                    Matrix(a.address + itemsize * first * a.column, a.row, a.column),
                    Matrix(deltas.address + itemsize * first * stride, stride, int64(1)),
                    gradient,
                    Shape(end - begin, columns, min(GRADIENT_ROWS, batch.count - first)),
                    scaled(plan.alpha, plan.beta if first == 0 else one),
                    plan.lists + 4 * batch.thread * plan.lists_size,
                )
        else:
            shape = Shape(end - begin, columns, batch.count)
            sums = scaled(plan.alpha, plan.beta)
            if plan.rounds:
                arguments = (a, deltas, gradient, shape, sums, rounded_pack_of(plan, batch))
                call_rounded_product(plan.functions.rounded_product, arguments)
            elif layer.fan_out <= UNITS:
                arguments = (plan, a, deltas, gradient, shape, sums)
                call_narrow_gradient(plan.functions.narrow_gradient, arguments)
            else:
                call_product(plan.functions.product, (a, deltas, gradient, shape, sums, 0))
        if stepping:
            factor = factor_of(plan, l, False)
            arguments = (
                plan, offset, gradient, stride, end - begin, columns, one, factor, True, False
            )  # fmt: skip
            call_move(plan.functions.move, arguments)
    if share.stop == rows_of_update(layer.fan_in):
        update_biases(plan, l, batch, left, columns, stepping)


@serial
def update_biases(plan, l, batch, left, columns, stepping):
    """Update biases of a layer: the weights of an input that is always 1."""
    itemsize = itemsize_of(plan.alpha)
    layer = layers_of(plan)[l]
    stride, offset = layer.stride, layer.biases + left
    deltas = Matrix(plan.work + itemsize * (layer.deltas + left), stride, int64(1))
    pack = plan.packs + itemsize * batch.thread * plan.pack_size
    gradient = Matrix(pack if stepping else plan.result + itemsize * offset, stride, int64(1))
    ones = Matrix(plan.one, int64(0), int64(0))
    shape = Shape(int64(1), columns, batch.count)
    arguments = (ones, deltas, gradient, shape, scaled(plan.alpha, plan.bias_beta), 0)
    call_product(plan.functions.product, arguments)
    if stepping:
        one, factor = type(plan.alpha)(1), factor_of(plan, l, True)
        arguments = (plan, offset, gradient, stride, 1, columns, one, factor, False, False)
        call_move(plan.functions.move, arguments)


@serial
def scaled(alpha, beta):
    """Return sums of which alpha times goes to beta times what is there."""
    return Sums(int64(FROM_ZERO), int64(0), int64(SCALED), int64(0), alpha, beta)


@serial
def follow(plan, values, g, first, second, scale, factor, decay):
    """Move values by an optimizer's formula, with ``scale`` times the gradient g, which changes.

    First and second are what the optimizer remembers of them. Their learning rate is that of the
    step times a ``factor``; ``decay`` is their share that Adam keeps.
    """
    one, columns = values.dtype.type(1), len(values)
    rate, most, code = factor * plan.rate, plan.value_limit, plan.optimizer
    if scale != 1:
        for j in range(columns):
            g[j] *= scale
    if most < np.inf:
        for j in range(columns):
            g[j] = most if g[j] > most else (-most if g[j] < -most else g[j])
    if code == MOMENTUM:
        memory = plan.first_memory
        ahead = factor * plan.look_ahead
        along = rate if ahead == 0 else rate * memory
        for j in range(columns):
            first[j] = memory * first[j] + g[j]
            values[j] -= along * first[j] + ahead * g[j]
    elif code == RMSPROP:
        memory, epsilon = plan.first_memory, plan.epsilon
        for j in range(columns):
            first[j] = memory * first[j] + (one - memory) * g[j] * g[j]
            values[j] -= rate * g[j] / (math.sqrt(first[j]) + epsilon)
    elif code == ADAM:
        beta1, beta2 = plan.first_memory, plan.second_memory
        correction, epsilon = plan.correction, plan.epsilon
        for j in range(columns):
            first[j] = beta1 * first[j] + (one - beta1) * g[j]
            second[j] = beta2 * second[j] + (one - beta2) * g[j] * g[j]
            size = math.sqrt(second[j]) * correction + epsilon
            values[j] = decay * values[j] - rate * first[j] / size
    else:
        for j in range(columns):
            values[j] -= rate * g[j]


def _move_types(number):
    index = types.int64
    return (
        plan_type(number), index, MATRIX, index, index, index, number, number, types.boolean,
        types.boolean,
    )  # fmt: skip


@unit(_move_types)
def move(plan, offset, slopes, stride, rows, columns, scale, factor, decaying, penalised):
    """Move rows of parameters that begin at an offset against ``scale`` times their gradients.

    Their learning rate is that of the step times a ``factor``. Weights are ``decaying``, biases are
    not; and unless they are ``penalised`` already, their gradients, which this changes, first get
    penalties.
    """
    if columns == stride == slopes.row:
        rows, columns = 1, rows * columns
    w = parameters_at(plan, plan.parameters)
    first, second = parameters_at(plan, plan.first_slot), parameters_at(plan, plan.second_slot)
    gradient = numbers(slopes.address, rows * slopes.row + columns, plan.alpha)
    one = w.dtype.type(1)
    decay = plan.decay if decaying else one
    for r in range(rows):
        here, there = offset + r * stride, r * slopes.row
        values, g = w[here : here + columns], gradient[there : there + columns]
        if decaying and not penalised:
            penalise(values, g, plan.l1, plan.l2)
        means, squares = first[here : here + columns], second[here : here + columns]
        follow(plan, values, g, means, squares, scale, factor, decay)


call_move = move.call


@serial
def penalise(values, g, l1, l2):
    """Add the gradients of the penalties on weights."""
    if l2 > 0:
        for j in range(len(g)):
            g[j] += l2 * values[j]
    if l1 > 0:
        for j in range(len(g)):
            g[j] += l1 if values[j] > 0 else (-l1 if values[j] < 0 else values[j])


def _layer_types(number):
    return plan_type(number), types.int64, BATCH, SHARE


@unit(_layer_types)
def measure(plan, l, batch, share):
    """Write the sums of squares of a layer's gradient, one for every `MEASURED_ROWS` rows.

    The penalties of the weights are added first. The biases are a part of their own, of one row.
    """
    layer, stride = layers_of(plan)[l], layers_of(plan)[l].stride
    w, gradient = parameters_at(plan, plan.parameters), parameters_at(plan, plan.result)
    pack = plan.packs + itemsize_of(plan.alpha) * batch.thread * plan.pack_size
    sums = numbers(pack, plan.pack_size, plan.alpha)
    squares = reals(plan.squares, plan.square_count)
    size = (stride + REDUCED - 1) // REDUCED * REDUCED
    for part in range(2 if share.stop == layer.fan_in else 1):
        decaying = part == 0
        offset, rows = layer.biases, int64(1)
        place = layer.squares + (layer.fan_in + MEASURED_ROWS - 1) // MEASURED_ROWS
        if decaying:
            offset, rows = layer.weights + share.start * stride, share.stop - share.start
            place = layer.squares + share.start // MEASURED_ROWS
        for block in range((rows + MEASURED_ROWS - 1) // MEASURED_ROWS):
            for j in range(size):
                sums[j] = 0
            for r in range(block * MEASURED_ROWS, min(rows, (block + 1) * MEASURED_ROWS)):
                here = offset + r * stride
                g = gradient[here : here + stride]
                if decaying:
                    penalise(w[here : here + stride], g, plan.l1, plan.l2)
                for j in range(stride):
                    sums[j] += g[j] * g[j]
            squares[place + block] = sum_of_groups(sums, 0, size // REDUCED)


call_measure = measure.call


@unit(_layer_types)
def move_layer(plan, l, batch, share):
    """Move a share of a layer's parameters by the gradient in the result, limited by its norm."""
    layer = layers_of(plan)[l]
    scale = norm_scale(plan)
    measured = plan.norm_limit < np.inf
    stride, rows = layer.stride, share.stop - share.start
    itemsize = itemsize_of(plan.alpha)
    offset = layer.weights + share.start * stride
    gradient = Matrix(plan.result + itemsize * offset, stride, int64(1))
    factor = factor_of(plan, l, False)
    arguments = (plan, offset, gradient, stride, rows, stride, scale, factor, True, measured)
    call_move(plan.functions.move, arguments)
    if share.stop == layer.fan_in:
        gradient = Matrix(plan.result + itemsize * layer.biases, stride, int64(1))
        factor = factor_of(plan, l, True)
        arguments = (
            plan, layer.biases, gradient, stride, 1, stride, scale, factor, False, measured
        )  # fmt: skip
        call_move(plan.functions.move, arguments)


call_move_layer = move_layer.call


@serial
def norm_scale(plan):
    """Return the factor that brings the norm of the gradient down to its limit, or 1."""
    total = 0.0
    squares = reals(plan.squares, plan.square_count)
    for i in range(len(squares)):
        total += squares[i]
    norm, limit = math.sqrt(total), plan.norm_limit
    return type(plan.alpha)(limit / norm if norm > limit else 1.0)


@unit(_layer_types)
def limit(plan, l, batch, share):
    """Bring the norms of columns of weights, each a unit's, down to their limit."""
    layer, w = layers_of(plan)[l], parameters_at(plan, plan.parameters)
    itemsize, size = itemsize_of(plan.alpha), plan.pack_size
    sums = numbers(plan.packs + itemsize * batch.thread * size, size, plan.alpha)
    most = plan.unit_limit
    one = w.dtype.type(1)
    w0, stride, rows = layer.weights + share.left, layer.stride, layer.fan_in
    columns = share.right - share.left
    for left in range(0, columns, size):
        right = min(left + size, columns)
        for j in range(right - left):
            sums[j] = 0
        for r in range(rows):
            values = w[w0 + r * stride + left : w0 + r * stride + right]
            for j in range(right - left):
                sums[j] += values[j] * values[j]
        exceeding = 0
        for j in range(right - left):
            exceeding += sums[j] > most * most
            norm = math.sqrt(sums[j])
            sums[j] = most / norm if norm > most else one
        if exceeding > 0:
            for r in range(rows):
                values = w[w0 + r * stride + left : w0 + r * stride + right]
                for j in range(right - left):
                    values[j] *= sums[j]


call_limit = limit.call


def _average_types(number):
    return plan_type(number), number


@unit(_average_types)
def average(plan, share):
    """Move the average of the parameters towards them."""
    w, mean = parameters_at(plan, plan.parameters), parameters_at(plan, plan.average)
    for j in range(len(w)):
        mean[j] += share * (w[j] - mean[j])


call_average = average.call
