"""Matrix products: the blocking loops around the register tile.

Matrices are addresses and strides; nothing is checked. Rows are padded, so that whole vectors are
read and written.

Every element of C is one sum in the order of k. Neither the tile nor the thread that computes it,
nor how the sum is cut into blocks, nor leaving out zeros changes its bits.
"""

from __future__ import annotations

import numpy as np
from numba import int64, types

from fastnn.backends.compiled.kernels.layout import (
    MATRIX,
    SHAPE,
    Matrix,
    Shape,
    Sums,
    indices,
    sums_type,
)
from fastnn.backends.compiled.machinery.instructions import itemsize_of
from fastnn.backends.compiled.machinery.jit import serial, unit
from fastnn.backends.compiled.machinery.machine import GROUP, PANEL, TILES
from fastnn.backends.compiled.machinery.thresholds import HERE
from fastnn.backends.compiled.machinery.tiles import (
    FROM_C,
    PLAIN,
    SCALED,
    group_tile,
    pair_tile,
    tile,
)
from fastnn.backends.compiled.machinery.vector_ir import lanes
from fastnn.backends.compiled.machinery.vectors import any_nonzero, list_nonzero

# The longest sum in one go: 1,024 rows of a panel of B are 192 KiB, which stays in the second-level
# cache. Its lines come from there while the tile computes, and C is written once.
LONGEST = 1024
# The same where a panel stays in the first-level cache, of which 256 rows are 48 KiB.
K_BLOCK = 256
# The same for sums over listed k, whose panels are wider.
LISTED_K_BLOCK = 64

# Rows of a batch that a tile of the weight gradient sums in one go.
GRADIENT_ROWS = 128
# Bytes of A that stay in the second-level cache while all panels of B pass by.
A_BLOCK = 512 * 1024
LINE = 64

WORTH_LISTING = HERE.worth_listing

TILE_ROWS = tuple(TILES)
# WIDTHS[rows, n] is the widest tile of at most n vectors; WIDTHS[rows, 0] the widest of all.
WIDTHS = np.zeros((GROUP + 1, 9), np.int64)
for _rows, _widths in TILES.items():
    WIDTHS[_rows] = [max(w for w in _widths if w <= n) for n in [max(_widths), *range(1, 9)]]
# Rows whose zeros a sparse product lists together.
PAIR = 2


@serial
def across_of(rows, left):
    """Return how many of the vectors that are left the next tile of so many rows takes."""
    widest = WIDTHS[rows, 0]
    panels = (left + widest - 1) // widest
    return WIDTHS[rows, (left + panels - 1) // panels]


def product_types(number):
    """Return the types of a product's arguments."""
    return MATRIX, MATRIX, MATRIX, SHAPE, sums_type(number), types.int64


@unit(product_types)
def product(a, b, c, shape, sums, ahead):
    """Multiply matrices: sums over k of ``A[r, k] * B[k, j]``, written to C.

    A (rows, depth) may be transposed; B (depth, columns) and C (rows, columns) are stored by rows.
    For what sums start from and what becomes of them see `tile`; `SCALED` sums start from zero, and
    are added to C after every `GRADIENT_ROWS` of k. If A is not transposed, rows that begin
    ``ahead`` elements later are asked for on the way: the next rows to come, or with 0 rows that
    are near already.
    """
    itemsize = itemsize_of(sums.beta)
    width = lanes(itemsize)
    rows, columns, count = shape.rows, shape.columns, shape.depth
    vectors = (columns + width - 1) // width
    scaled = sums.finish == SCALED
    longest = GRADIENT_ROWS if scaled else LONGEST
    blocks = max(1, (count + longest - 1) // longest)
    transposed = a.row == 1
    one = type(sums.beta)(1)
    row = 0
    for tile_rows in TILE_ROWS:  # the most rows, then fewer for those left over
        last = row + (rows - row) // tile_rows * tile_rows
        near = max(1, A_BLOCK // (count * itemsize + 1) // tile_rows) * tile_rows
        while row < last:
            stop = min(row + near, last)
            vector = 0
            while vector < vectors:
                across = across_of(tile_rows, vectors - vector)
                column = vector * width
                vector += across
                k = 0
                for block in range(blocks):  # this panel of B stays in the second-level cache
                    k_stop = count * (block + 1) // blocks
                    if scaled:  # whichever rows of a batch come in one go
                        k_stop = min(k + GRADIENT_ROWS, count)
                    here = k * b.row + column
                    then = k_stop * b.row + column
                    if k_stop == count:
                        then = vector * width if vector < vectors else here
                    first, end = block == 0, block == blocks - 1
                    panel = Matrix(b.address + itemsize * here, b.row, b.column)
                    block_sums = Sums(
                        sums.start if first or scaled else int64(FROM_C),
                        sums.biases + itemsize * column,
                        sums.finish if end or scaled else int64(PLAIN),
                        sums.mask,
                        sums.alpha,
                        sums.beta if first else one,
                    )
                    for r in range(row, stop, tile_rows):
                        line = (r - row) // tile_rows  # of the next panel, to be asked for
                        tile(
                            tile_rows,
                            across,
                            Matrix(
                                a.address + itemsize * (r * a.row + k * a.column), a.row, a.column
                            ),
                            panel,
                            Matrix(c.address + itemsize * (r * c.row + column), c.row, c.column),
                            (int64(0), k_stop - k),
                            block_sums,
                            (
                                then - here + line * width if line < across else 0,
                                LINE // itemsize if transposed else ahead + k * (tile_rows - 1),
                                a.column if transposed else tile_rows,
                            ),
                        )
                    k = k_stop
            row = stop


call_product = product.call


def pack_size(itemsize: int) -> int:
    """Return the elements of a thread's buffer: those of a panel of `K_BLOCK` rows."""
    return K_BLOCK * PANEL * lanes(itemsize)


def lists_size(rows: int) -> int:
    """Return the indices that the products of that many sparse rows list at most."""
    return max(-(-rows // PAIR) * (LISTED_K_BLOCK + 1), GRADIENT_ROWS + 1)


@unit(product_types)
def product_of_sparse(a, b, c, shape, sums, listed):
    """Multiply as `product` does, leaving out k where a pair of rows of A is zero.

    The bits are the same. A (rows, depth) is stored by rows and padded with zeros to whole vectors.
    At the address ``listed`` is room for `LISTED_K_BLOCK` indices and a length for each pair of
    rows.
    """
    itemsize = itemsize_of(sums.beta)
    width = lanes(itemsize)
    rows, depth = shape.rows, shape.depth
    vectors = (shape.columns + width - 1) // width
    pairs = (rows + PAIR - 1) // PAIR
    room = LISTED_K_BLOCK + 1
    lists = indices(listed, pairs * room)
    one = type(sums.beta)(1)
    for k in range(0, depth, LISTED_K_BLOCK):
        k_stop = min(k + LISTED_K_BLOCK, depth)
        for pair in range(pairs):
            r = pair * PAIR
            begin = pair * room
            length = 0
            for first in range(k, k_stop, width):
                length += list_nonzero(
                    a.address + itemsize * (r * a.row + first), a.row, min(PAIR, rows - r), first,
                    width, listed + 4 * (begin + 1 + length), one,
                )  # fmt: skip
            lists[begin] = length
        vector = 0
        while vector < vectors:
            across = across_of(min(PAIR, rows), vectors - vector)
            column = vector * width
            block_sums = Sums(
                sums.start if k == 0 else int64(FROM_C),
                sums.biases + itemsize * column,
                sums.finish if k_stop == depth else int64(PLAIN),
                sums.mask,
                one,
                one,
            )
            for pair in range(pairs):
                r = pair * PAIR
                begin = pair * room
                pair_tile(
                    min(PAIR, rows - r),
                    across,
                    Matrix(a.address + itemsize * r * a.row, a.row, a.column),
                    Matrix(b.address + itemsize * column, b.row, b.column),
                    Matrix(c.address + itemsize * (r * c.row + column), c.row, c.column),
                    (listed + 4 * (begin + 1), int64(lists[begin])),
                    block_sums,
                    (0, 0, 0),
                )
            vector += across


call_product_of_sparse = product_of_sparse.call


@serial
def product_of_sparse_transposed(plan, a, b, c, shape, sums, listed):
    """Multiply as `product` does, for A (rows, depth) stored by columns; the same bits.

    Leaves out k where a group of neighbouring rows of A is zero, such as pixels side by side.
    """
    itemsize = itemsize_of(sums.beta)
    width = lanes(itemsize)
    rows, columns, depth = shape.rows, shape.columns, shape.depth
    vectors = (columns + width - 1) // width
    lists = indices(listed, depth + 1)
    for r in range(0, rows - GROUP + 1, GROUP):
        length = 0
        for k in range(depth):
            lists[length] = k
            length += any_nonzero(a.address + itemsize * (r + k * a.column), sums.beta)
        if length == 0 and sums.beta == 1:
            continue
        vector = 0
        while vector < vectors:
            across = across_of(GROUP, vectors - vector)
            column = vector * width
            group_tile(
                GROUP,
                across,
                Matrix(a.address + itemsize * r, a.row, a.column),
                Matrix(b.address + itemsize * column, b.row, b.column),
                Matrix(c.address + itemsize * (r * c.row + column), c.row, c.column),
                (listed, int64(length)),
                sums,
                (0, 0, 0),
            )
            vector += across
    r = rows // GROUP * GROUP
    if r < rows:
        arguments = (
            Matrix(a.address + itemsize * r, a.row, a.column),
            b,
            Matrix(c.address + itemsize * r * c.row, c.row, c.column),
            Shape(rows - r, columns, depth),
            sums,
            0,
        )
        call_product(plan.functions.product, arguments)
