"""Matrix products whose factors are rounded to bfloat16: the blocking loops around their tile.

Factors are float32 numbers in memory. Parts of both are rounded and packed just before they are
multiplied. Each is used by many rows, so that this takes little time, and there is no copy of the
weights that would have to be kept up to date.

An element of C has the same bits whichever tile and thread computes it, as in `products`.
"""

from __future__ import annotations

from typing import NamedTuple

from numba import int64

from fastnn.backends.compiled.kernels.layout import Matrix, Shape, Sums
from fastnn.backends.compiled.kernels.products import (
    GRADIENT_ROWS,
    K_BLOCK,
    TILE_ROWS,
    across_of,
    product_types,
)
from fastnn.backends.compiled.machinery.bfloat16 import (
    pack_columns,
    pack_part_of_columns,
    pack_part_of_rows,
    pack_rows,
    pack_transposed,
    pairs_tile,
    rounded,
)
from fastnn.backends.compiled.machinery.jit import serial, unit
from fastnn.backends.compiled.machinery.lines import load
from fastnn.backends.compiled.machinery.machine import GROUP, PANEL
from fastnn.backends.compiled.machinery.tiles import FROM_C, PLAIN, SCALED
from fastnn.backends.compiled.machinery.vector_ir import lanes
from fastnn.model.architecture import padded

WORD = 4  # bytes of a pair of numbers
LINE = 64 // WORD
# Words of A that stay in the second-level cache while all panels of B pass by.
A_WORDS = 160 * 1024
# The longest sum of which a block of A has room for many rows.
LONGEST = 2048
PANEL_WORDS = K_BLOCK // 2 * PANEL * lanes(WORD)


class Ahead(NamedTuple):
    """What the tiles ask for: for each pair of the sum, an address ``step`` numbers further.

    The first tile begins at the address, each of the next ``line`` numbers behind the one before.
    After so many ``lines`` they begin again, ``turn`` numbers further, in so many ``turns``.
    """

    address: int
    step: int
    line: int
    lines: int
    turn: int
    turns: int


@serial
def odd_lines(count):
    """Return so many words rounded up to an odd number of cache lines."""
    return ((count + LINE - 1) // LINE | 1) * LINE


def pack_words(rows: int, depth: int) -> int:
    """Return the words of room that `rounded_product` needs for a matrix A, stored either way."""
    pairs = (min(depth, LONGEST) + 1) // 2
    by_rows, by_columns = rows * (pairs + 2 * LINE), pairs * (rows + 2 * LINE)
    return PANEL_WORDS + min(A_WORDS, padded(max(by_rows, by_columns), WORD))


@unit(product_types)
def rounded_product(a, b, c, shape, sums, pack):
    """Multiply matrices as `product` does, with both factors rounded.

    B (depth, columns) may be transposed, too. At the address ``pack`` is room for `pack_words`.
    """
    width = lanes(WORD)
    rows, columns, count = shape.rows, shape.columns, shape.depth
    vectors = (columns + width - 1) // width
    scaled, by_rows = sums.finish == SCALED, a.column == 1
    longest = (GRADIENT_ROWS if scaled else K_BLOCK) // 2
    one = type(sums.beta)(1)
    pack_a = pack + WORD * PANEL_WORDS
    begin = 0
    while begin == 0 or begin < count:
        depth = min(LONGEST, count - begin)
        pairs = (depth + 1) // 2
        blocks = max(1, (pairs + longest - 1) // longest)
        if by_rows:
            near = A_WORDS // odd_lines(pairs) // GROUP * GROUP
        else:
            near = ((A_WORDS // max(1, pairs) // LINE - 1) | 1) * LINE
        parts = (rows + near - 1) // near
        near = ((rows + parts - 1) // parts + GROUP - 1) // GROUP * GROUP
        for row in range(0, rows, near):  # this block of A stays in the second-level cache
            some = min(near, rows - row)
            here = a.address + WORD * (row * a.row + begin * a.column)
            if by_rows:
                packed = Matrix(pack_a, odd_lines(pairs), int64(1))
                pack_by_rows(Matrix(here, a.row, int64(1)), some, depth, packed)
            else:
                packed = Matrix(pack_a, int64(1), odd_lines(some))
                pack_pairs_of_rows(
                    Matrix(here, a.column, int64(1)), depth, some, packed.address, packed.column
                )
            vector = 0
            while vector < vectors:
                across = across_of(GROUP, vectors - vector)
                column, panel_width = vector * width, across * width
                within = min(panel_width, columns - column)
                vector += across
                k = 0
                for block in range(blocks):  # this panel of B stays in the first-level cache
                    k_stop = pairs * (block + 1) // blocks
                    if scaled:  # whichever rows of a batch come in one go
                        k_stop = min(k + longest, pairs)
                    first, length = begin + 2 * k, min(2 * k_stop, depth) - 2 * k
                    there = b.address + WORD * (first * b.row + column * b.column)
                    if b.column == 1:
                        pack_pairs_of_rows(
                            Matrix(there, b.row, int64(1)), length, within, pack, panel_width
                        )
                    else:
                        pack_by_columns(
                            Matrix(there, b.column, int64(1)), length, within, pack, panel_width
                        )
                    start, end = first == 0, first + length == count
                    block_sums = Sums(
                        sums.start if start or scaled else int64(FROM_C),
                        sums.biases + WORD * column,
                        sums.finish if end or scaled else int64(PLAIN),
                        sums.mask,
                        sums.alpha,
                        sums.beta if start else one,
                    )
                    # What comes next: of B's panel, or at the end of the sum of the next one.
                    then, coming = begin + 2 * k_stop, column
                    if k_stop == pairs:
                        then, coming = begin, vector * width
                    if b.column == 1:  # two rows of B in turn
                        asked = b.address + WORD * (then * b.row + coming)
                        turns = int64(2 if coming < columns else 0)
                        ahead = Ahead(asked, 2 * b.row, int64(width), across, b.row, turns)
                    else:  # one of the rows that are transposed
                        line = vector * width + block * ((some + GROUP - 1) // GROUP)
                        asked = b.address + WORD * (begin + line * b.column)
                        step = 2 * pairs // max(1, k_stop - k)
                        lines = max(0, min(panel_width, columns - line))
                        ahead = Ahead(asked, step, b.column, lines, int64(0), int64(1))
                    place = c.address + WORD * (row * c.row + column)
                    _multiply(
                        Matrix(
                            packed.address + WORD * k * packed.column, packed.row, packed.column
                        ),
                        pack,
                        Matrix(place, c.row, int64(1)),
                        Shape(some, across, k_stop - k),
                        block_sums,
                        ahead,
                    )
                    k = k_stop
        begin += LONGEST


@serial
def _multiply(a, panel, c, shape, sums, ahead):
    """Multiply packed rows of A by a packed panel of so many vectors, one tile after the other."""
    r = tiles = 0
    for tile_rows in TILE_ROWS:  # the most rows, then fewer for those left over
        while r + tile_rows <= shape.rows:
            here = a.address + WORD * r * a.row
            asked, step = int64(0), int64(0)
            if tiles < ahead.turns * ahead.lines:
                line, turn = tiles % ahead.lines, tiles // ahead.lines
                asked = ahead.address + WORD * (line * ahead.line + turn * ahead.turn)
                asked, step = (asked - here) // WORD, ahead.step
            pairs_tile(
                tile_rows,
                shape.columns,
                Matrix(here, a.row, a.column),
                Matrix(panel, shape.columns * lanes(WORD), int64(1)),
                Matrix(c.address + WORD * r * c.row, c.row, c.column),
                (int64(0), shape.depth),
                sums,
                (0, asked, step),
            )
            r += tile_rows
            tiles += 1


call_rounded_product = rounded_product.call


@serial
def rounded_pack_of(plan, batch):
    """Return the address of a thread's room for `rounded_product`."""
    return plan.rounded_packs + WORD * batch.thread * plan.rounded_pack_size


@serial
def pack_by_rows(source, rows, columns, target):
    """Pack pairs of neighbours in rows; the number behind the last is zero."""
    both = 2 * lanes(WORD)
    for r in range(rows):
        address, packed = (
            source.address + WORD * r * source.row,
            target.address + WORD * r * target.row,
        )
        for k in range(0, columns, both):
            if k + both <= columns:
                pack_columns(address + WORD * k, both, packed + WORD * k // 2)
            else:
                pack_part_of_columns(address + WORD * k, columns - k, packed + WORD * k // 2)


@serial
def pack_pairs_of_rows(source, rows, columns, target, target_row):
    """Pack pairs of numbers one above the other; the row behind the last is zero."""
    width = lanes(WORD)
    for r in range(0, rows, 2):
        first, packed = source.address + WORD * r * source.row, target + WORD * r // 2 * target_row
        second = first + WORD * source.row if r + 1 < rows else 0
        for j in range(0, columns, width):
            beyond = second + WORD * j if second != 0 else 0
            if j + width <= columns:
                pack_rows(first + WORD * j, beyond, width, packed + WORD * j)
            else:
                pack_part_of_rows(first + WORD * j, beyond, columns - j, packed + WORD * j)


@serial
def pack_by_columns(source, columns, rows, target, target_row):
    """Pack pairs of neighbours in rows, and transpose; whole vectors are read."""
    width = lanes(WORD)
    for r in range(0, rows, width):
        for k in range(0, columns, 2 * width):
            pack_transposed(
                source.address + WORD * (r * source.row + k), source.row, min(width, rows - r),
                target + WORD * (k // 2 * target_row + r), target_row,
            )  # fmt: skip


@serial
def load_factor(address, like, rounds):
    """Return the line of numbers at an address, rounded if a plan says so."""
    line = load(address, like)
    return rounded(line) if rounds else line
