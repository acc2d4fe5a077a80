"""Products with a transposed matrix, such as the weights on the way of the deltas backward.

The register tile takes vectors from rows of its second matrix, and so one of the two has to be
turned: either B, panel by panel, or A, and then C. With few rows that is less.
"""

from __future__ import annotations

from numba import int64, types

from fastnn.backends.compiled.kernels.layout import MATRIX, Matrix, Shape, Sums, numbers
from fastnn.backends.compiled.kernels.products import (
    A_BLOCK,
    LINE,
    LONGEST,
    call_product,
)
from fastnn.backends.compiled.machinery.instructions import itemsize_of
from fastnn.backends.compiled.machinery.jit import serial, unit
from fastnn.backends.compiled.machinery.lines import filled, load, store, where_below
from fastnn.backends.compiled.machinery.machine import GROUP, PANEL
from fastnn.backends.compiled.machinery.tiles import FROM_C, FROM_ZERO, MASKED, PLAIN
from fastnn.backends.compiled.machinery.vector_ir import lanes
from fastnn.backends.compiled.machinery.vectors import transpose

# Rows of B whose sums are made, and turned, at a time.
STRIPE = 64


def room_size(itemsize: int, rows: int, depth: int) -> int:
    """Return the elements of room that `product_transposed` needs for so many rows of A."""
    width, line = lanes(itemsize), LINE // itemsize
    near = min(-(-rows // width), max(1, A_BLOCK // (itemsize * depth) // width)) * width
    stride = (-(-near // line) | 1) * line
    panel = min(LONGEST, -(-depth // width) * width) * PANEL * width
    return max(panel, (-(-depth // width) * width + STRIPE) * stride)


@serial
def product_transposed(plan, a, b, c, shape, finish, mask, room):
    """Set ``C = A B^T``: A (rows, depth), B (columns, depth), C (rows, columns), stored by rows.

    Either panels of B are turned, or blocks of A: then the sums are those of ``C^T = B A^T``, and
    are turned, too. At the address ``room`` is that of `room_size`. For ``finish`` and ``mask`` see
    `tile`.
    """
    itemsize = itemsize_of(plan.alpha)
    width, line = lanes(itemsize), LINE // itemsize
    rows, columns, depth = shape.rows, shape.columns, shape.depth
    one = type(plan.alpha)(1)
    by_rows = rows * (columns + depth) < columns * depth
    by_rows = by_rows and rows >= width and width <= depth <= LONGEST
    turned, total, near, stride = b, columns, PANEL * width, PANEL * width
    other, others, stripe = a, rows, rows
    if by_rows:
        near = A_BLOCK // (itemsize * depth) // width * width
        parts = (rows + near - 1) // near
        near = ((rows + parts - 1) // parts + width - 1) // width * width
        turned, total, stride = a, rows, ((near + line - 1) // line | 1) * line
        other, others, stripe = b, columns, int64(STRIPE)
    packed = Matrix(room, stride, int64(1))
    behind = (min(depth, LONGEST) + width - 1) // width * width * stride
    sums = Matrix(room + itemsize * behind, stride, int64(1))
    for first in range(0, total, near):
        # Of A at least a vector of rows: some may be computed twice.
        begin = min(first, total - width) if by_rows else first
        some = min(near, total - begin)
        for k in range(0, depth, LONGEST):
            length = min(LONGEST, depth - k)
            here = turned.address + itemsize * (begin * turned.row + k)
            block = Matrix(here, turned.row, turned.column)
            call_turn(plan.functions.turn, (block, some, length, packed, int64(0), one))
            last = k + length == depth
            for j in range(0, others, stripe):
                count = min(stripe, others - j)
                place = begin * c.row + j if by_rows else j * c.row + begin
                part = Matrix(c.address + itemsize * place, c.row, c.column)
                arguments = (
                    Matrix(other.address + itemsize * (j * other.row + k), other.row, other.column),
                    packed,
                    sums if by_rows else part,
                    Shape(count, some, length),
                    Sums(
                        int64(FROM_ZERO if k == 0 else FROM_C),
                        int64(0),
                        int64(PLAIN if by_rows or not last else finish),
                        mask,
                        one,
                        one,
                    ),
                    # The next rows, which may be far, are asked for on the way.
                    (int64(STRIPE) if by_rows else int64(GROUP)) * other.row,
                )
                call_product(plan.functions.product, arguments)
                if by_rows:
                    masked = mask if finish == MASKED else int64(0)
                    call_turn(plan.functions.turn, (sums, count, some, part, masked, one))


def _turn_types(number):
    return MATRIX, types.int64, types.int64, MATRIX, types.int64, number


@unit(_turn_types)
def turn(source, rows, columns, target, mask, like):
    """Set ``target[k, j] = source[j, k]``, with zeros for j from rows to the next whole vector.

    For k, too, whole vectors are taken if there are fewer numbers. If ``mask`` is not 0, what is
    not above 0 so many elements after the target makes it 0 as well.
    """
    itemsize = itemsize_of(like)
    width, stride = lanes(itemsize), target.row
    for r in range(0, rows if rows >= width else 0, width):
        i = min(r, rows - width)
        for k in range(0, columns, width):
            j = max(0, min(k, columns - width))
            transpose(
                source.address + itemsize * (i * source.row + j), source.row,
                target.address + itemsize * (j * stride + i), stride, like,
            )  # fmt: skip
    if rows % width > 0:
        turned = numbers(target.address, columns * stride, like)
        given = numbers(source.address, rows * source.row, like)
        for k in range(columns):
            for i in range(rows if rows >= width else 0, (rows + width - 1) // width * width):
                turned[k * stride + i] = given[i * source.row + k] if i < rows else 0
    if mask != 0:
        zeros = filled(type(like)(0))
        for k in range(columns):
            for at in range(0, itemsize * rows, LINE):
                place = target.address + itemsize * k * stride + at
                other = load(place + itemsize * mask, like)
                store(place, where_below(zeros, other, load(place, like), zeros))


call_turn = turn.call
