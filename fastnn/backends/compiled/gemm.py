"""Matrix products: the blocking loops around the register tile.

Arguments are flat arrays, offsets and shapes; nothing is checked.

Every element of C is the sum over blocks of k, in order, of sums in the order of k. Neither the
tile nor the thread that computes it changes its bits.
"""

from __future__ import annotations

from numba import types

from fastnn.backends.compiled.jit import serial, unit
from fastnn.backends.compiled.vector_ir import (
    FIRST_SHAPE,
    PANEL,
    TILES,
    lanes,
    tile,
    transpose,
)

# The longest sum in one go: 256 rows of a panel of B are 48 KiB, which is a first-level cache.
K_BLOCK = 256
TILE_COUNT = len(TILES)
# Places in the table of units' addresses that is handed to every kernel that calls one.
PRODUCT, DELTAS, UPDATE = range(3)


def _product_types(number):
    vector, index = number[::1], types.int64
    a, b, c = (vector, index, index, index), (vector, index, index), (vector, index, index)
    return (*a, *b, *c, index, index, index, number, number)


@unit(_product_types)
def product(a, a0, a_row, a_k, b, b0, b_row, c, c0, c_row, rows, columns, count, alpha, beta):
    """Set ``C = alpha * A B + beta * C``.

    ``A[r, k]`` (rows, count) is ``a[a0 + r * a_row + k * a_k]``, so A may be transposed; B (count,
    columns) and C (rows, columns) are stored by rows. Whole vectors are read and written: columns
    are rounded up to the vector width, which padding makes room for.
    """
    width = lanes(a.itemsize)
    vectors = (columns + width - 1) // width
    blocks = (count + K_BLOCK - 1) // K_BLOCK
    one = type(alpha)(1)
    row = 0
    for level in range(TILE_COUNT):  # the widest tiles, then smaller ones for the rows left over
        tile_rows, widest = TILES[level]
        stop = row + (rows - row) // tile_rows * tile_rows
        if row == stop:
            continue
        k = 0
        for block in range(blocks):
            k_stop = count * (block + 1) // blocks
            scale = beta if block == 0 else one
            vector = 0
            panels = (vectors + widest - 1) // widest
            for panel in range(panels):  # this panel of B now stays in the first-level cache
                across = (vectors - vector + panels - panel - 1) // (panels - panel)
                shape = FIRST_SHAPE[level] + across
                column = vector * width
                for r in range(row, stop, tile_rows):
                    tile(
                        shape, a, a0 + r * a_row + k * a_k, a_row, a_k,
                        b, b0 + k * b_row + column, b_row, c, c0 + r * c_row + column, c_row,
                        k_stop - k, alpha, scale,
                    )  # fmt: skip
                vector += across
            k = k_stop
        row = stop


call_product = product.call


@serial
def pack_size(itemsize):
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
                rows, panel_columns, k_stop - k, one, one if block else one - one,
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
