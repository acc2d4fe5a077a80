"""Products with a transposed matrix, such as the weights on the way of the deltas backward.

The register tile takes vectors from rows of its second matrix, and so one of the two has to be
turned: either B, panel by panel, or A, and then C. With few rows that is less.
"""

from __future__ import annotations

from numba import int64

from fastnn.backends.compiled.kernels.layout import Matrix, Shape, Sums, numbers
from fastnn.backends.compiled.kernels.products import (
    A_BLOCK,
    LINE,
    LONGEST,
    call_product,
)
from fastnn.backends.compiled.machinery.instructions import itemsize_of
from fastnn.backends.compiled.machinery.jit import serial
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

    At the address ``room`` is that of `room_size`. For ``finish`` and ``mask`` see `tile`.
    """
    width = lanes(itemsize_of(plan.alpha))
    turning = shape.rows * (shape.columns + shape.depth)
    if turning < shape.columns * shape.depth and min(shape.rows, shape.depth) >= width:
        _turn_rows(plan, a, b, c, shape, finish, mask, room)
    else:
        _turn_panels(plan, a, b, c, shape, finish, mask, room)


@serial
def _turn_rows(plan, a, b, c, shape, finish, mask, room):
    """Multiply ``C^T = B A^T``: A is turned, a block of rows at a time, and so are the sums.

    B's rows are read where they are, and the next ones are asked for on the way.
    """
    itemsize = itemsize_of(plan.alpha)
    width, line = lanes(itemsize), LINE // itemsize
    rows, columns, depth = shape.rows, shape.columns, shape.depth
    one = type(plan.alpha)(1)
    zeros = filled(type(plan.alpha)(0))
    near = max(1, A_BLOCK // (itemsize * depth) // width) * width
    parts = (rows + near - 1) // near
    near = ((rows + parts - 1) // parts + width - 1) // width * width
    stride = ((near + line - 1) // line | 1) * line
    sums_at = room + itemsize * ((depth + width - 1) // width * width) * stride
    for first in range(0, rows, near):
        row = min(first, rows - width)  # of at least a vector; some may be computed twice
        some = min(near, rows - row)
        _turn(
            Matrix(a.address + itemsize * row * a.row, a.row, a.column),
            some,
            depth,
            room,
            stride,
            one,
        )
        for j in range(0, columns, STRIPE):
            count = min(STRIPE, columns - j)
            arguments = (
                Matrix(b.address + itemsize * j * b.row, b.row, b.column),
                Matrix(room, stride, int64(1)),
                Matrix(sums_at, stride, int64(1)),
                Shape(count, some, depth),
                Sums(int64(FROM_ZERO), int64(0), int64(PLAIN), int64(0), one, one),
                STRIPE * b.row,
            )
            there = c.address + itemsize * (row * c.row + j)
            end = itemsize * count
            call_product(plan.functions.product, arguments)
            # What C's rows are padded by becomes 0.
            whole = (count + width - 1) // width * width
            for r in range(count, whole):
                for at in range(0, itemsize * stride, LINE):
                    store(sums_at + itemsize * r * stride + at, zeros)
            _turn(Matrix(sums_at, stride, int64(1)), whole, some, there, c.row, one)
            if finish == MASKED:
                for r in range(some):
                    for at in range(0, end, LINE):
                        place = there + itemsize * r * c.row + at
                        other = load(place + itemsize * mask, one)
                        store(place, where_below(zeros, other, load(place, one), zeros))


@serial
def _turn(source, rows, columns, target, target_row, like):
    """Copy a matrix of at least a vector of rows and columns, transposed."""
    itemsize = itemsize_of(like)
    width = lanes(itemsize)
    for r in range(0, rows, width):
        i = min(r, rows - width)
        for k in range(0, columns, width):
            j = min(k, columns - width)
            transpose(
                source.address + itemsize * (i * source.row + j), source.row,
                target + itemsize * (j * target_row + i), target_row, like,
            )  # fmt: skip


@serial
def _turn_panels(plan, a, b, c, shape, finish, mask, room):
    """Multiply with panels of B, which are turned one after the other.

    A's rows may be far, and the next ones are asked for on the way.
    """
    itemsize = itemsize_of(plan.alpha)
    panel_width = PANEL * lanes(itemsize)
    one = type(plan.alpha)(1)
    for column in range(0, shape.columns, panel_width):
        columns = min(panel_width, shape.columns - column)
        for k in range(0, shape.depth, LONGEST):
            depth = min(LONGEST, shape.depth - k)
            part = Matrix(b.address + itemsize * (column * b.row + k), b.row, b.column)
            _pack_transposed(part, columns, depth, room, one)
            arguments = (
                Matrix(a.address + itemsize * k, a.row, a.column),
                Matrix(room, int64(panel_width), int64(1)),
                Matrix(c.address + itemsize * column, c.row, c.column),
                Shape(shape.rows, columns, depth),
                Sums(
                    int64(FROM_ZERO if k == 0 else FROM_C),
                    int64(0),
                    int64(finish if k + depth == shape.depth else PLAIN),
                    mask,
                    one,
                    one,
                ),
                GROUP * a.row,
            )
            call_product(plan.functions.product, arguments)


@serial
def _pack_transposed(b, columns, depth, pack, like):
    """Set ``pack[k, j] = B[j, k]``, with zeros for j from columns to the next whole vector.

    For k, too, whole vectors are taken, for which B's rows are padded.
    """
    itemsize = itemsize_of(like)
    width = lanes(itemsize)
    panel_width = PANEL * width
    for j in range(0, columns, width):
        if j + width <= columns:
            for k in range(0, depth, width):
                transpose(
                    b.address + itemsize * (j * b.row + k), b.row,
                    pack + itemsize * (k * panel_width + j), panel_width, like,
                )  # fmt: skip
        else:
            packed = numbers(pack, depth * panel_width, like)
            rows = numbers(b.address, columns * b.row, like)
            for k in range(depth):
                for i in range(j, j + width):
                    packed[k * panel_width + i] = rows[i * b.row + k] if i < columns else 0
