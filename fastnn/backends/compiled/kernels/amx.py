"""Products whose factors are rounded to bfloat16, by AMX: what `rounded` does, in larger tiles.

Four tiles are sums, of 32 rows and 32 columns of C. Two hold 16 rows of A each, with 16 words, and
two 16 rows of words of B: 32 terms of each sum in one go. Tiles are always whole, as what is packed
has room for that. The sums go through a buffer, from and to which C's own rows and columns are
copied.

An element of C is a chain of the sums of 32 terms, in the order of k, whichever tile and thread
computes it. Within 32 terms, AMX sums the first and the second numbers of all pairs apart.
"""

from __future__ import annotations

import functools
import warnings

import numpy as np
from numba import int64, types

from fastnn.backends.compiled.kernels import rounded
from fastnn.backends.compiled.kernels.layout import Matrix, Shape, Sums, indices, integers
from fastnn.backends.compiled.kernels.products import GRADIENT_ROWS, product_types
from fastnn.backends.compiled.kernels.rounded import (
    A_WORDS,
    LONGEST,
    WORD,
    odd_lines,
    pack_by_columns,
    pack_by_rows,
    pack_pairs_of_rows,
)
from fastnn.backends.compiled.machinery import amx, amx_emulation
from fastnn.backends.compiled.machinery.amx import TILE
from fastnn.backends.compiled.machinery.jit import Unit, serial, unit
from fastnn.backends.compiled.machinery.lines import load, store, where_below
from fastnn.backends.compiled.machinery.tiles import (
    FROM_BIASES,
    FROM_C,
    FROM_ZERO,
    MASKED,
    PLAIN,
    RECTIFIED,
    SCALED,
)
from fastnn.backends.compiled.machinery.vector_ir import lanes
from fastnn.backends.compiled.machinery.vectors import transpose
from fastnn.model.architecture import padded
from fastnn.model.parameters import aligned_zeros

tiles = amx_emulation if amx.EMULATED else amx

SIDE = 2 * TILE  # rows and columns of C that are summed at once
STEP = 2 * TILE  # terms of a sum in a tile
# The longest sum in one go: 512 rows of a panel of B, in words, are 32 KiB.
BLOCK = 512
# In the room of a thread, in words: the sums, a tile to transpose, a panel of B, and what emulated
# tiles need. A comes last.
TO_TURN = SIDE * SIDE
PANEL = TO_TURN + TILE * TILE
EMULATED_TILES = PANEL + BLOCK // 2 * SIDE
PACKED = EMULATED_TILES + amx_emulation.STATE_BYTES // WORD * amx.EMULATED


def pack_words(rows: int, depth: int) -> int:
    """Return the words of room for a matrix A, stored either way, whichever product is `chosen`."""
    steps = -(-min(depth, LONGEST) // STEP)
    words = PACKED + min(A_WORDS, -(-rows // TILE) * TILE * (steps | 1) * TILE)
    return max(words, rounded.pack_words(rows, depth))


@unit(product_types, variant="emulated" if amx.EMULATED else "")
def product(a, b, c, shape, sums, pack):
    """Multiply matrices as `rounded_product` does, by AMX.

    At the address ``pack`` is room for `pack_words`.
    """
    rows, columns, count = shape.rows, shape.columns, shape.depth
    scaled = sums.finish == SCALED
    longest = (GRADIENT_ROWS if scaled else BLOCK) // STEP
    one = type(sums.beta)(1)
    panel, pack_a = pack + WORD * PANEL, pack + WORD * PACKED
    emulated = pack + WORD * EMULATED_TILES
    _configure(emulated, pack)
    begin = 0
    while begin == 0 or begin < count:
        depth = min(LONGEST, count - begin)
        steps = max(1, (depth + STEP - 1) // STEP)
        stride = odd_lines(steps * TILE)
        near = A_WORDS // stride // SIDE * SIDE
        parts = (rows + near - 1) // near
        near = ((rows + parts - 1) // parts + SIDE - 1) // SIDE * SIDE
        for row in range(0, rows, near):  # this block of A stays in the second-level cache
            some = min(near, rows - row)
            here = a.address + WORD * (row * a.row + begin * a.column)
            packed = Matrix(pack_a, stride, int64(1))
            if a.column == 1:
                _pack_rows(Matrix(here, a.row, int64(1)), some, depth, packed)
            else:
                source = Matrix(here, a.column, int64(1))
                _pack_columns(source, some, depth, packed, pack + WORD * TO_TURN, one)
            for column in range(0, columns, SIDE):
                within = min(SIDE, columns - column)
                k = 0
                while k < steps:  # this panel of B stays in the first-level cache
                    k_stop = min(k + longest, steps)
                    first = begin + STEP * k
                    length = min(STEP * k_stop, depth) - STEP * k
                    there = b.address + WORD * (first * b.row + column * b.column)
                    _pack_panel(Matrix(there, b.row, b.column), length, within, panel)
                    start, end = first == 0, first + length == count
                    block_sums = Sums(
                        sums.start if start or scaled else int64(FROM_C),
                        sums.biases + WORD * column,
                        sums.finish if end or scaled else int64(PLAIN),
                        sums.mask,
                        sums.alpha,
                        sums.beta if start else one,
                    )
                    for r in range(0, some, SIDE):
                        place = c.address + WORD * ((row + r) * c.row + column)
                        _multiply(
                            emulated,
                            Matrix(pack_a + WORD * (r * stride + k * TILE), stride, int64(1)),
                            panel,
                            Matrix(place, c.row, int64(1)),
                            Shape(min(SIDE, some - r), within, k_stop - k),
                            block_sums,
                            pack,
                        )
                    k = k_stop
        begin += LONGEST
    tiles.release(emulated)


@serial
def _configure(emulated, address):
    """Let all tiles be whole; the address is of room to say so."""
    shapes = integers(address, 8)
    shapes[:] = 0
    shapes[0] = 1  # the kind of shapes
    shapes[2] = shapes[3] = 0x0040004000400040  # 64 bytes in a row of each tile
    shapes[6] = 0x1010101010101010  # and 16 rows
    tiles.configure(emulated, address)


@serial
def _multiply(emulated, a, panel, c, shape, sums, totals):
    """Multiply up to 32 packed rows of A by a packed panel of up to 32 columns.

    The depth of the shape counts tiles. At the address ``totals`` is room for all sums.
    """
    lower, right = shape.rows > TILE, shape.columns > TILE
    a_bytes, bytes_across = WORD * a.row, WORD * SIDE
    if sums.start == FROM_ZERO:
        tiles.zero(emulated, 0)
        tiles.zero(emulated, 1)
        tiles.zero(emulated, 2)
        tiles.zero(emulated, 3)
    else:
        _begin(c, shape, sums, totals)
        tiles.load(emulated, 0, totals, bytes_across)
        tiles.load(emulated, 1, totals + WORD * TILE, bytes_across)
        tiles.load(emulated, 2, totals + TILE * bytes_across, bytes_across)
        tiles.load(emulated, 3, totals + TILE * bytes_across + WORD * TILE, bytes_across)
    for k in range(shape.depth):
        here, there = a.address + WORD * k * TILE, panel + k * TILE * bytes_across
        tiles.load(emulated, 4, here, a_bytes)
        tiles.load(emulated, 6, there, bytes_across)
        tiles.multiply(emulated, 0, 4, 6)
        if right:
            tiles.load(emulated, 7, there + WORD * TILE, bytes_across)
            tiles.multiply(emulated, 1, 4, 7)
        if lower:
            tiles.load(emulated, 5, here + TILE * a_bytes, a_bytes)
            tiles.multiply(emulated, 2, 5, 6)
            if right:
                tiles.multiply(emulated, 3, 5, 7)
    tiles.store(emulated, 0, totals, bytes_across)
    tiles.store(emulated, 1, totals + WORD * TILE, bytes_across)
    tiles.store(emulated, 2, totals + TILE * bytes_across, bytes_across)
    tiles.store(emulated, 3, totals + TILE * bytes_across + WORD * TILE, bytes_across)
    _finish(c, shape, sums, totals)


@serial
def _begin(c, shape, sums, totals):
    """Write what sums start from to where tiles are loaded from; whole lines are read."""
    source = Matrix(c.address, c.row, int64(1))
    if sums.start == FROM_BIASES:
        source = Matrix(sums.biases, int64(0), int64(1))
    for r in range(shape.rows):
        for j in range(0, shape.columns, TILE):
            line = load(source.address + WORD * (r * source.row + j), sums.beta)
            store(totals + WORD * (r * SIDE + j), line)


@serial
def _finish(c, shape, sums, totals):
    """Write sums to C, as `tiles.tile` does; whole lines are written."""
    zero = sums.beta - sums.beta
    for r in range(shape.rows):
        for j in range(0, shape.columns, TILE):
            place = c.address + WORD * (r * c.row + j)
            line = load(totals + WORD * (r * SIDE + j), sums.beta)
            if sums.finish == RECTIFIED:
                line = where_below(line, zero, zero, line)  # NaN stays
            elif sums.finish == MASKED:
                other = load(place + WORD * sums.mask, sums.beta)
                line = where_below(zero, other, line, zero)
            elif sums.finish == SCALED:
                line = sums.alpha * line
                if sums.beta != 0:  # else what C held may be anything, NaN too
                    line = line + sums.beta * load(place, sums.beta)
            store(place, line)


@serial
def _clear(address, count):
    """Write so many words of zero."""
    words = indices(address, max(int64(0), count))
    for i in range(len(words)):
        words[i] = 0


@serial
def _pack_rows(source, rows, depth, target):
    """Pack A stored by rows: words of neighbours, and zeros up to a whole tile."""
    both = 2 * lanes(WORD)
    pack_by_rows(source, rows, depth, target)
    written = (depth + both - 1) // both * both // 2
    steps = max(1, (depth + STEP - 1) // STEP)
    for r in range(rows):
        _clear(target.address + WORD * (r * target.row + written), steps * TILE - written)


@serial
def _pack_columns(source, rows, depth, target, room, like):
    """Pack A stored by columns as if it were stored by rows: a tile after the other is turned."""
    width = lanes(WORD)
    for step in range(max(1, (depth + STEP - 1) // STEP)):
        k = step * STEP
        terms = min(STEP, depth - k)
        for r in range(0, rows, TILE):
            some = min(TILE, rows - r)
            if some < TILE or terms < STEP:
                _clear(room, TILE * TILE)
            here = Matrix(source.address + WORD * (k * source.row + r), source.row, int64(1))
            pack_pairs_of_rows(here, terms, some, room, TILE)
            for i in range(0, TILE, width):
                for j in range(0, TILE, width):
                    turned = target.address + WORD * ((r + j) * target.row + step * TILE + i)
                    transpose(room + WORD * (i * TILE + j), TILE, turned, target.row, like)


@serial
def _pack_panel(source, depth, columns, target):
    """Pack a panel of B, and zeros up to whole tiles."""
    width = lanes(WORD)
    if source.column == 1:
        pack_pairs_of_rows(
            Matrix(source.address, source.row, int64(1)), depth, columns, target, SIDE
        )
    else:
        pack_by_columns(
            Matrix(source.address, source.column, int64(1)), depth, columns, target, SIDE
        )
    pairs, written = (depth + 1) // 2, (columns + width - 1) // width * width
    whole = (columns + TILE - 1) // TILE * TILE
    for k in range(max(1, (pairs + TILE - 1) // TILE) * TILE):
        beside = written if k < pairs else int64(0)
        _clear(target + WORD * (k * SIDE + beside), whole - beside)


@functools.cache
def chosen() -> Unit:
    """Return `product`, or with a warning that of `rounded` if a small product differs."""
    rng = np.random.default_rng(0)
    # Sums of small integers are exact in any order. No size fills its tiles.
    rows, depth, columns = 37, 70, 45
    a, b = (
        rng.integers(-8, 9, shape).astype(np.float32) for shape in ((rows, depth), (depth, columns))
    )
    across = padded(columns, WORD)
    of_b = aligned_zeros((depth + 1) * across, np.dtype(np.float32))
    of_b[: depth * across].reshape(depth, across)[:, :columns] = b
    results = []
    for each in (rounded.rounded_product, product):
        each.prepare(types.float32)
        room = aligned_zeros(pack_words(rows, depth), np.dtype(np.float32))
        c = aligned_zeros(rows * across, np.dtype(np.float32))
        one = np.float32(1)
        each.dispatcher(
            Matrix(a.ctypes.data, depth, 1),
            Matrix(of_b.ctypes.data, across, 1),
            Matrix(c.ctypes.data, across, 1),
            Shape(rows, columns, depth),
            Sums(FROM_ZERO, 0, PLAIN, 0, one, one),
            room.ctypes.data,
        )
        results.append(c)
    if np.array_equal(*results):
        return product
    amx.turn_off("it gave another product of a small matrix than other instructions")
    warnings.warn(
        f"AMX is turned off: {amx.trouble}; please report it, with what `python -m fastnn.info` "
        "prints",
        RuntimeWarning,
        stacklevel=2,
    )
    return rounded.rounded_product
