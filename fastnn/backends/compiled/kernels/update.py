"""From a gradient to a step: penalties, clipping, the optimizers, limits on weights.

Everything here goes through the flat vectors element by element, padding included: it is zero in
all of them, and stays so.
"""

from __future__ import annotations

import math

import numpy as np
from numba import types

from fastnn.backends.compiled.kernels.table import (
    CORRECTION,
    DECAY,
    EPSILON,
    FIRST,
    L1,
    L2,
    LOOK_AHEAD,
    NORM_LIMIT,
    RATE,
    SECOND,
    UNIT_LIMIT,
    VALUE_LIMIT,
)
from fastnn.backends.compiled.machinery.jit import serial, unit
from fastnn.backends.compiled.machinery.vector_ir import REDUCED, sum_of_groups
from fastnn.optimizers import ADAM, MOMENTUM, RMSPROP

# Rows whose squares are summed in one go, whatever the threads.
MEASURED_ROWS = 32


def _move_types(number):
    index, vector = types.int64, number[::1]
    return (
        index, vector, index, index, vector, index, index, vector, vector, index, index, number,
        vector, types.boolean, types.boolean,
    )  # fmt: skip


@unit(_move_types)
def move(
    code, w, w0, stride, gradient, g0, g_stride, first, second, rows, columns, scale, numbers,
    decaying, penalised,
):  # fmt: skip
    """Move rows of parameters that begin at ``w[w0]`` against ``scale`` times their gradients.

    For the formulas see `fastnn.optimizers`. Weights are ``decaying``, biases are not; and unless
    they are ``penalised`` already, their gradients, which this changes, first get penalties.
    """
    if columns == stride == g_stride:
        rows, columns = 1, rows * columns
    rate, most = numbers[RATE], numbers[VALUE_LIMIT]
    one = w.dtype.type(1)
    decay = numbers[DECAY] if decaying else one
    for r in range(rows):
        here, there = w0 + r * stride, g0 + r * g_stride
        values, g = w[here : here + columns], gradient[there : there + columns]
        if decaying and not penalised:
            penalise(values, g, numbers[L1], numbers[L2])
        if scale != 1:
            for j in range(columns):
                g[j] *= scale
        if most < np.inf:
            for j in range(columns):
                g[j] = most if g[j] > most else (-most if g[j] < -most else g[j])
        if code == MOMENTUM:
            velocity, memory = first[here : here + columns], numbers[FIRST]
            ahead = numbers[LOOK_AHEAD]
            along = rate if ahead == 0 else rate * memory
            for j in range(columns):
                velocity[j] = memory * velocity[j] + g[j]
                values[j] -= along * velocity[j] + ahead * g[j]
        elif code == RMSPROP:
            squares, memory = first[here : here + columns], numbers[FIRST]
            epsilon = numbers[EPSILON]
            for j in range(columns):
                squares[j] = memory * squares[j] + (one - memory) * g[j] * g[j]
                values[j] -= rate * g[j] / (math.sqrt(squares[j]) + epsilon)
        elif code == ADAM:
            means, squares = first[here : here + columns], second[here : here + columns]
            beta1, beta2 = numbers[FIRST], numbers[SECOND]
            correction, epsilon = numbers[CORRECTION], numbers[EPSILON]
            for j in range(columns):
                means[j] = beta1 * means[j] + (one - beta1) * g[j]
                squares[j] = beta2 * squares[j] + (one - beta2) * g[j] * g[j]
                size = math.sqrt(squares[j]) * correction + epsilon
                values[j] = decay * values[j] - rate * means[j] / size
        else:
            for j in range(columns):
                values[j] -= rate * g[j]


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


def _measure_types(number):
    index, vector = types.int64, number[::1]
    return (
        vector, index, vector, index, index, index, vector, types.float64[::1], index, vector,
        types.boolean,
    )  # fmt: skip


@unit(_measure_types)
def measure(w, w0, gradient, g0, stride, rows, sums, squares, place, numbers, decaying):
    """Write the sums of squares of rows of a gradient, one for every `MEASURED_ROWS`.

    The penalties are added first, if these are weights, which are ``decaying``.
    """
    for block in range((rows + MEASURED_ROWS - 1) // MEASURED_ROWS):
        size = (stride + REDUCED - 1) // REDUCED * REDUCED
        for j in range(size):
            sums[j] = 0
        for r in range(block * MEASURED_ROWS, min(rows, (block + 1) * MEASURED_ROWS)):
            here, there = w0 + r * stride, g0 + r * stride
            g = gradient[there : there + stride]
            if decaying:
                penalise(w[here : here + stride], g, numbers[L1], numbers[L2])
            for j in range(stride):
                sums[j] += g[j] * g[j]
        squares[place + block] = sum_of_groups(sums, 0, size // REDUCED)


call_measure = measure.call


@serial
def norm_scale(squares, numbers):
    """Return the factor that brings the norm of the gradient down to its limit, or 1."""
    total = 0.0
    for i in range(len(squares)):
        total += squares[i]
    norm, limit = math.sqrt(total), numbers[NORM_LIMIT]
    return numbers.dtype.type(limit / norm if norm > limit else 1.0)


def _limit_types(number):
    index, vector = types.int64, number[::1]
    return vector, index, index, index, index, vector, vector


@unit(_limit_types)
def limit(w, w0, stride, rows, columns, sums, numbers):
    """Bring the norms of columns of weights, each a unit's, down to their limit."""
    size = len(sums)
    most = numbers[UNIT_LIMIT]
    one = w.dtype.type(1)
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
