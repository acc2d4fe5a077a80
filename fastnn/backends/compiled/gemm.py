"""Matrix products: the blocking loops around the register tile.

Arguments are flat arrays, offsets and shapes; nothing is checked.

Every element of C is one sum in the order of k. Neither the tile nor the thread that computes it,
nor how the sum is cut into blocks, nor leaving out zeros changes its bits.
"""

from __future__ import annotations

import numpy as np
from numba import int64, types

from fastnn.backends.compiled.jit import serial, unit
from fastnn.backends.compiled.vector_ir import (
    GROUP,
    PANEL,
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

# Share of inputs that are not zero below which it pays to list those that are not.
WORTH_LISTING = 0.35

# Places in the table of units' addresses that is handed to every kernel that calls one.
PRODUCT, SPARSE_PRODUCT, GATHER, DELTAS, UPDATE = range(5)

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


def _product_types(number):
    vector, index = number[::1], types.int64
    a, b, c = (vector, index, index, index), (vector, index, index), (vector, index, index)
    return (*a, *b, *c, index, index, index, index, number, number)


@unit(_product_types)
def product(
    a, a0, a_row, a_k, b, b0, b_row, c, c0, c_row, rows, columns, count, go_on, alpha, beta
):
    """Set ``C = alpha * A B + beta * C``, or ``C = C + A B`` to go on.

    ``A[r, k]`` (rows, count) is ``a[a0 + r * a_row + k * a_k]``, so A may be transposed; B (count,
    columns) and C (rows, columns) are stored by rows. Whole vectors are read and written: columns
    are rounded up to the vector width, which padding makes room for. Long sums need ``go_on``, or
    alpha = 1 and beta = 0.
    """
    width = lanes(a.itemsize)
    vectors = (columns + width - 1) // width
    blocks = (count + K_BLOCK - 1) // K_BLOCK
    row = 0
    for tile_rows in TILE_ROWS:  # the most rows, then fewer for those left over
        stop = row + (rows - row) // tile_rows * tile_rows
        if row == stop:
            continue
        k = 0
        for block in range(blocks):
            k_stop = count * (block + 1) // blocks
            vector = 0
            while vector < vectors:  # this panel of B now stays in the first-level cache
                across = _across(tile_rows, vectors - vector)
                column = vector * width
                for r in range(row, stop, tile_rows):
                    tile(
                        tile_rows, across, a, a0 + r * a_row + k * a_k, a_row, a_k,
                        b, b0 + k * b_row + column, b_row, c, c0 + r * c_row + column, c_row,
                        NO_INDICES, 0, k_stop - k, go_on + block, alpha, beta,
                    )  # fmt: skip
                vector += across
            k = k_stop
        row = stop


call_product = product.call


def pack_size(itemsize: int) -> int:
    """Return the elements of the buffer that `product_transposed` packs into."""
    return K_BLOCK * PANEL * lanes(itemsize)


@serial
def product_transposed(
    functions, a, a0, a_row, b, b0, b_row, c, c0, c_row, rows, columns, count, pack
):
    """Set ``C = A B^T``: A (rows, count), B (columns, count), C (rows, columns), stored by rows.

    Panels of B are packed transposed, so that the same register tile serves.
    """
    width = lanes(a.itemsize)
    panel_width = PANEL * width
    blocks = (count + K_BLOCK - 1) // K_BLOCK
    one = a.dtype.type(1)
    for column in range(0, columns, panel_width):
        panel_columns = min(panel_width, columns - column)
        k = 0
        for block in range(blocks):
            k_stop = count * (block + 1) // blocks
            _pack_transposed(b, b0 + column * b_row + k, b_row, panel_columns, k_stop - k, pack)
            arguments = (
                a, a0 + k, a_row, 1, pack, 0, panel_width, c, c0 + column, c_row,
                rows, panel_columns, k_stop - k, block, one, one - one,
            )  # fmt: skip
            call_product(functions[PRODUCT], arguments)
            k = k_stop


@serial
def _pack_transposed(b, b0, b_row, columns, count, pack):
    """Set ``pack[k, j] = B[j, k]``, with zeros for j from columns to the next whole vector."""
    width = lanes(b.itemsize)
    panel_width = PANEL * width
    for j in range(0, columns, width):
        if j + width <= columns:
            whole = count // width * width
            for k in range(0, whole, width):
                transpose(b, b0 + j * b_row + k, b_row, pack, k * panel_width + j, panel_width)
            for k in range(whole, count):
                for i in range(j, j + width):
                    pack[k * panel_width + i] = b[b0 + i * b_row + k]
        else:
            for k in range(count):
                for i in range(j, j + width):
                    pack[k * panel_width + i] = b[b0 + i * b_row + k] if i < columns else 0


def lists_size(rows: int, threads: int) -> int:
    """Return the indices that a thread's share of the products of sparse rows lists at most."""
    share = -(-rows // threads) + GROUP
    return max(-(-share // PAIR) * (LISTED_K_BLOCK + 1), GRADIENT_ROWS + 1)


def _product_of_sparse_types(number):
    vector, index = number[::1], types.int64
    matrix = (vector, index, index)
    return (*matrix, *matrix, *matrix, index, index, index, types.int32[::1])


@unit(_product_of_sparse_types)
def product_of_sparse(a, a0, a_row, b, b0, b_row, c, c0, c_row, rows, columns, count, lists):
    """Set ``C = C + A B``, leaving out k where a pair of rows of A is zero; the same bits.

    A (rows, count) is stored by rows and padded with zeros to whole vectors. ``lists`` holds
    `LISTED_K_BLOCK` indices and a length for each pair of rows.
    """
    width = lanes(a.itemsize)
    vectors = (columns + width - 1) // width
    pairs = (rows + PAIR - 1) // PAIR
    one = a.dtype.type(1)
    for k in range(0, count, LISTED_K_BLOCK):
        k_stop = min(k + LISTED_K_BLOCK, count)
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
                    c, c0 + r * c_row + column, c_row,
                    lists, begin + 1, int64(lists[begin]), 1, one, one,
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
                c, c0 + r * c_row + column, c_row, lists, 0, length, 0, alpha, beta,
            )  # fmt: skip
            vector += across
    r = rows // GROUP * GROUP
    if r < rows:
        arguments = (
            a, a0 + r, 1, a_k, b, b0, b_row, c, c0 + r * c_row, c_row,
            rows - r, columns, count, 0, alpha, beta,
        )  # fmt: skip
        call_product(functions[PRODUCT], arguments)
