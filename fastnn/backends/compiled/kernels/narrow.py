"""Layers of few units: their products, and the gradients of their weights.

The bits are those of the other ways, as each sum is in the same order.
"""

from __future__ import annotations

from numba import int64

from fastnn.backends.compiled.kernels.layout import (
    MATRIX,
    SHAPE,
    Matrix,
    Shape,
    Sums,
    numbers,
    plan_type,
    sums_type,
)
from fastnn.backends.compiled.kernels.products import GRADIENT_ROWS, call_product
from fastnn.backends.compiled.machinery.instructions import itemsize_of
from fastnn.backends.compiled.machinery.jit import unit
from fastnn.backends.compiled.machinery.lines import LINE, room
from fastnn.backends.compiled.machinery.narrow import UNITS, narrow_rows, narrow_tile
from fastnn.backends.compiled.machinery.tiles import FROM_ZERO, PLAIN

# Lines of memory for a part of the gradient of a unit, and of all units.
PART, PARTS = 8, 8 * UNITS


def _narrow_types(number):
    return plan_type(number), MATRIX, MATRIX, MATRIX, SHAPE, sums_type(number)


@unit(_narrow_types)
def narrow_product(plan, a, b, c, shape, sums):
    """Do what `product` does for the weighted inputs of at most `UNITS` units, from biases on.

    Rows of A are read up to a multiple of four numbers.
    """
    itemsize = itemsize_of(plan.alpha)
    together, row = narrow_rows(itemsize), 0
    while row + together <= shape.rows:
        narrow_tile(
            Matrix(a.address + itemsize * row * a.row, a.row, a.column),
            b,
            Matrix(c.address + itemsize * row * c.row, c.row, c.column),
            sums.biases,
            shape.depth,
            plan.alpha,
        )
        row += together
    if row < shape.rows:
        arguments = (
            Matrix(a.address + itemsize * row * a.row, a.row, a.column),
            b,
            Matrix(c.address + itemsize * row * c.row, c.row, c.column),
            Shape(shape.rows - row, shape.columns, shape.depth),
            sums,
            0,
        )
        call_product(plan.functions.product, arguments)


call_narrow_product = narrow_product.call


@unit(_narrow_types)
def narrow_gradient(plan, a, b, c, shape, sums):
    """Do what `product` does for A that is transposed, at most `UNITS` columns and `SCALED` sums.

    The product is made the other way round: its rows are units, and vectors hold the inputs.
    """
    itemsize = itemsize_of(plan.alpha)
    memory, one = room(PARTS), type(plan.alpha)(1)
    width = LINE * PART // itemsize
    part = numbers(memory, UNITS * width, plan.alpha)
    gradient = numbers(c.address, shape.rows * c.row, plan.alpha)
    plain = Sums(int64(FROM_ZERO), int64(0), int64(PLAIN), int64(0), one, one)
    for begin in range(0, shape.rows, width):
        inputs = min(width, shape.rows - begin)
        for first in range(0, shape.depth, GRADIENT_ROWS):
            arguments = (
                Matrix(b.address + itemsize * first * b.row, int64(1), b.row),
                Matrix(a.address + itemsize * (first * a.column + begin), a.column, int64(1)),
                Matrix(memory, width, int64(1)),
                Shape(shape.columns, inputs, min(GRADIENT_ROWS, shape.depth - first)),
                plain,
                0,
            )
            call_product(plan.functions.product, arguments)
            beta = sums.beta if first == 0 else one
            for k in range(inputs):
                place = (begin + k) * c.row
                for j in range(shape.columns):
                    kept = beta * gradient[place + j] if beta != 0 else type(plan.alpha)(0)
                    gradient[place + j] = sums.alpha * part[j * width + k] + kept


call_narrow_gradient = narrow_gradient.call
