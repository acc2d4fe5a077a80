"""Matrix products: the blocking loops around the register tile.

Arguments are flat arrays, offsets and shapes; nothing is checked.

Every element of C is one sum in the order of k. Neither the tile nor the thread that computes it,
nor how the sum is cut into blocks, nor leaving out zeros changes its bits.
"""

from __future__ import annotations

import numpy as np
from numba import int64, types

from fastnn.backends.compiled.kernels.table import PRODUCT
from fastnn.backends.compiled.machinery.jit import serial, unit
from fastnn.backends.compiled.machinery.vector_ir import (
    FROM_BIASES,
    FROM_C,
    FROM_ZERO,
    GROUP,
    PANEL,
    PLAIN,
    SCALED,
    TILES,
    any_nonzero,
    group_tile,
    lanes,
    list_nonzero,
    pair_tile,
    tile,
    transpose,
)

# The longest sum in one go: 256 rows of a panel of B are 48 KiB, which is a first-level cache.
K_BLOCK = 256
# The same for sums over listed k, whose panels are wider.
LISTED_K_BLOCK = 64

# Rows of a batch that a tile of the weight gradient sums in one go.
GRADIENT_ROWS = 128
# Bytes of A that stay in the second-level cache while all panels of B pass by.
A_BLOCK = 512 * 1024
LINE = 64

# Share of inputs that are not zero below which it pays to list those that are not.
WORTH_LISTING = 0.35

TILE_ROWS = tuple(TILES)
# WIDTHS[rows, n] is the widest tile of at most n vectors; WIDTHS[rows, 0] the widest of all.
WIDTHS = np.zeros((GROUP + 1, 9), np.int64)
for _rows, _widths in TILES.items():
    WIDTHS[_rows] = [max(w for w in _widths if w <= n) for n in [max(_widths), *range(1, 9)]]
# Rows whose zeros a sparse product lists together.
PAIR = 2
NO_INDICES = np.zeros(1, np.int32)


@serial
def _across(rows, left):
    """Return how many of the vectors that are left the next tile of so many rows takes."""
    widest = WIDTHS[rows, 0]
    panels = (left + widest - 1) // widest
    return WIDTHS[rows, (left + panels - 1) // panels]


@serial
def across_one(left):
    """Return how many of the vectors that are left a tile of a single row takes."""
    return _across(1, left)


def _product_types(number):
    vector, index = number[::1], types.int64
    a, b, c = (vector, index, index, index), (vector, index, index), (vector, index, index)
    return (*a, *b, *c, index, index, index, index, index, index, index, number, number, index)


@unit(_product_types)
def product(
    a, a0, a_row, a_k, b, b0, b_row, c, c0, c_row, rows, columns, count, start, biases, finish,
    mask, alpha, beta, ahead,
):  # fmt: skip
    """Multiply matrices: sums over k of ``A[r, k] * B[k, j]``, written to C.

    ``A[r, k]`` (rows, count) is ``a[a0 + r * a_row + k * a_k]``, so A may be transposed; B (count,
    columns) and C (rows, columns) are stored by rows. Whole vectors are read and written: columns
    are rounded up to the vector width, which padding makes room for. For what sums start from and
    what becomes of them see `tile`; `SCALED` sums start from zero, and are added to C after every
    `GRADIENT_ROWS` of k. If A is not transposed, rows that begin ``ahead`` elements later are asked
    for on the way: the next rows to come, or with 0 rows that are near already.
    """
    itemsize = a.itemsize
    width = lanes(itemsize)
    vectors = (columns + width - 1) // width
    scaled = finish == SCALED
    longest = GRADIENT_ROWS if scaled else K_BLOCK
    blocks = max(1, (count + longest - 1) // longest)
    transposed = a_row == 1
    one = type(beta)(1)
    row = 0
    for tile_rows in TILE_ROWS:  # the most rows, then fewer for those left over
        last = row + (rows - row) // tile_rows * tile_rows
        near = max(1, A_BLOCK // (count * itemsize + 1) // tile_rows) * tile_rows
        while row < last:
            stop = min(row + near, last)
            vector = 0
            while vector < vectors:
                across = _across(tile_rows, vectors - vector)
                column = vector * width
                vector += across
                k = 0
                for block in range(blocks):  # this panel of B stays in the first-level cache
                    k_stop = count * (block + 1) // blocks
                    here = b0 + k * b_row + column
                    then = b0 + k_stop * b_row + column
                    if k_stop == count:
                        then = b0 + vector * width if vector < vectors else here
                    first, end = block == 0, block == blocks - 1
                    begin = start if first or scaled else FROM_C
                    way = finish if end or scaled else PLAIN
                    for r in range(row, stop, tile_rows):
                        line = (r - row) // tile_rows  # of the next panel, to be asked for
                        tile(
                            tile_rows, across, a, a0 + r * a_row + k * a_k, a_row, a_k,
                            b, here, b_row, c, c0 + r * c_row + column, c_row,
                            NO_INDICES, 0, k_stop - k, begin, biases + column, way, mask,
                            alpha, beta if first else one,
                            then - here + line * width if line < across else 0,
                            LINE // itemsize if transposed else ahead + k * (tile_rows - 1),
                            a_k if transposed else tile_rows,
                        )  # fmt: skip
                    k = k_stop
            row = stop


call_product = product.call


def pack_size(itemsize: int) -> int:
    """Return the elements of the buffer that `product_transposed` packs into."""
    return K_BLOCK * PANEL * lanes(itemsize)


@serial
def product_transposed(
    functions, a, a0, a_row, b, b0, b_row, c, c0, c_row, rows, columns, count, finish, mask, pack
):
    """Set ``C = A B^T``: A (rows, count), B (columns, count), C (rows, columns), stored by rows.

    Panels of B are packed transposed, so that the same register tile serves. For ``finish`` and
    ``mask`` see `tile`.
    """
    width = lanes(a.itemsize)
    panel_width = PANEL * width
    one = a.dtype.type(1)
    for column in range(0, columns, panel_width):
        panel_columns = min(panel_width, columns - column)
        for k in range(0, count, K_BLOCK):
            k_stop = min(k + K_BLOCK, count)
            _pack_transposed(b, b0 + column * b_row + k, b_row, panel_columns, k_stop - k, pack)
            arguments = (
                a, a0 + k, a_row, 1, pack, 0, panel_width, c, c0 + column, c_row,
                rows, panel_columns, k_stop - k, FROM_ZERO if k == 0 else FROM_C, 0,
                finish if k_stop == count else PLAIN, mask, one, one, 0,
            )  # fmt: skip
            call_product(functions[PRODUCT], arguments)


@serial
def _pack_transposed(b, b0, b_row, columns, count, pack):
    """Set ``pack[k, j] = B[j, k]``, with zeros for j from columns to the next whole vector.

    For k, too, whole vectors are taken, for which B's rows are padded.
    """
    width = lanes(b.itemsize)
    panel_width = PANEL * width
    for j in range(0, columns, width):
        if j + width <= columns:
            for k in range(0, count, width):
                transpose(b, b0 + j * b_row + k, b_row, pack, k * panel_width + j, panel_width)
        else:
            for k in range(count):
                for i in range(j, j + width):
                    pack[k * panel_width + i] = b[b0 + i * b_row + k] if i < columns else 0


def lists_size(rows: int) -> int:
    """Return the indices that the products of that many sparse rows list at most."""
    return max(-(-rows // PAIR) * (LISTED_K_BLOCK + 1), GRADIENT_ROWS + 1)


def _product_of_sparse_types(number):
    vector, index = number[::1], types.int64
    matrix = (vector, index, index)
    return (*matrix, *matrix, *matrix, index, index, index, index, index, types.int32[::1])


@unit(_product_of_sparse_types)
def product_of_sparse(
    a, a0, a_row, b, b0, b_row, c, c0, c_row, rows, columns, count, biases, finish, lists
):
    """Multiply as `product` does from the biases, leaving out k where a pair of rows of A is zero.

    The bits are the same. A (rows, count) is stored by rows and padded with zeros to whole vectors.
    ``lists`` holds `LISTED_K_BLOCK` indices and a length for each pair of rows.
    """
    width = lanes(a.itemsize)
    vectors = (columns + width - 1) // width
    pairs = (rows + PAIR - 1) // PAIR
    one = a.dtype.type(1)
    for k in range(0, count, LISTED_K_BLOCK):
        k_stop = min(k + LISTED_K_BLOCK, count)
        start = FROM_BIASES if k == 0 else FROM_C
        way = finish if k_stop == count else PLAIN
        for pair in range(pairs):
            r = pair * PAIR
            begin = pair * (LISTED_K_BLOCK + 1)
            length = 0
            for first in range(k, k_stop, width):
                length += list_nonzero(
                    a, a0 + r * a_row + first, a_row, min(PAIR, rows - r), first,
                    lists, begin + 1 + length,
                )  # fmt: skip
            lists[begin] = length
        vector = 0
        while vector < vectors:
            across = _across(min(PAIR, rows), vectors - vector)
            column = vector * width
            for pair in range(pairs):
                r = pair * PAIR
                begin = pair * (LISTED_K_BLOCK + 1)
                pair_tile(
                    min(PAIR, rows - r), across, a, a0 + r * a_row, a_row, 1, b, b0 + column, b_row,
                    c, c0 + r * c_row + column, c_row, lists, begin + 1, int64(lists[begin]),
                    start, biases + column, way, 0, one, one, 0, 0, 0,
                )  # fmt: skip
            vector += across


call_product_of_sparse = product_of_sparse.call


@serial
def product_of_sparse_transposed(
    functions, a, a0, a_k, b, b0, b_row, c, c0, c_row, rows, columns, count, alpha, beta, lists
):
    """Set ``C = beta * C + alpha * A B`` for A (rows, count) stored by columns; the same bits.

    Leaves out k where a group of neighbouring rows of A is zero, such as pixels side by side.
    """
    width = lanes(a.itemsize)
    vectors = (columns + width - 1) // width
    for r in range(0, rows - GROUP + 1, GROUP):
        length = 0
        for k in range(count):
            lists[length] = k
            length += any_nonzero(a, a0 + r + k * a_k)
        if length == 0 and beta == 1:
            continue
        vector = 0
        while vector < vectors:
            across = _across(GROUP, vectors - vector)
            column = vector * width
            group_tile(
                GROUP, across, a, a0 + r, 1, a_k, b, b0 + column, b_row,
                c, c0 + r * c_row + column, c_row, lists, 0, length, FROM_ZERO, 0, SCALED, 0,
                alpha, beta, 0, 0, 0,
            )  # fmt: skip
            vector += across
    r = rows // GROUP * GROUP
    if r < rows:
        arguments = (
            a, a0 + r, 1, a_k, b, b0, b_row, c, c0 + r * c_row, c_row,
            rows - r, columns, count, FROM_ZERO, 0, SCALED, 0, alpha, beta, 0,
        )  # fmt: skip
        call_product(functions[PRODUCT], arguments)
