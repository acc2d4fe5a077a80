"""The instructions of `amx` on any machine, for tests: their tiles are in memory of the thread.

They do what Intel's manual says, "Intel 64 and IA-32 Architectures Software Developer's Manual",
volume 2, on LDTILECFG, TILELOADD, TILESTORED, TILEZERO, TILERELEASE and TDPBF16PS. What it says a
CPU refuses ends the process, as there.
"""

from __future__ import annotations

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastnn.backends.compiled.machinery.amx import TILE, TILE_BYTES
from fastnn.backends.compiled.machinery.arrays import elements
from fastnn.backends.compiled.machinery.jit import OPTIONS
from fastnn.backends.compiled.machinery.vector_ir import I32

TILES = 8
# Behind the tiles are the shapes that they have, and a row of sums for each half of the words.
SHAPES = TILES * TILE_BYTES
PARTS = SHAPES + 64
STATE_BYTES = PARTS + 2 * 4 * TILE
# In the shapes: a byte each for the kind of shapes and the row to begin with, then, at these bytes,
# how long rows are, 16 bits each, and how many there are, 8 bits each.
LENGTHS, COUNTS = 16, 48
SMALLEST = np.finfo(np.float32).tiny
# From here on numbers become the smallest normal one where they are rounded to 24 bits.
ROUNDED_UP = np.float64(SMALLEST) * (1 - 2.0**-25)

_emulated = numba.njit(**OPTIONS)


@intrinsic
def _refuse(typingctx):
    """End the process."""

    def codegen(context, builder, signature, args):
        kind = ir.FunctionType(ir.VoidType(), [])
        builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.trap"), [])
        return context.get_dummy_value()

    return types.void(), codegen


def _half(shift: bool):
    @intrinsic
    def half(typingctx, word):
        """Return the number in a half of a word, in float32."""

        def codegen(context, builder, signature, args):
            bits = args[0]
            if shift:
                bits = builder.shl(bits, ir.Constant(I32, 16))
            bits = builder.and_(bits, ir.Constant(I32, 0xFFFF0000))
            return builder.bitcast(bits, ir.FloatType())

        return types.float32(types.int32), codegen

    return half


_lower, _upper = _half(True), _half(False)


@intrinsic
def _multiply_add(typingctx, a, b, c):
    """Return ``a * b + c``, rounded once."""

    def codegen(context, builder, signature, args):
        number = ir.FloatType()
        kind = ir.FunctionType(number, [number] * 3)
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.fma.f32")
        return builder.call(function, args)

    return types.float32(*[types.float32] * 3), codegen


@_emulated
def _flushed(x):
    """Return a number, or a zero with its sign if it is below the smallest normal one."""
    return x if not abs(x) < SMALLEST else x * np.float32(0)


@_emulated
def _multiplied_and_added(a, b, c):
    """Return ``a * b + c``, rounded once, or a zero with its sign if that is below `SMALLEST`.

    Whether it is below is decided as if exponents had no end. Subnormal numbers have fewer bits, so
    that some that are below are rounded to `SMALLEST`; sums of two numbers are exact there.
    """
    result = _multiply_add(a, b, c)
    in_float64 = np.float64(a) * np.float64(b) + np.float64(c)  # near `SMALLEST` it is exact
    return result if not abs(in_float64) < ROUNDED_UP else result * np.float32(0)


@_emulated
def _words(address, count):
    return elements(address, count, np.int32(0))


@_emulated
def _numbers(address, count):
    return elements(address, count, np.float32(0))


@_emulated
def _bytes(address):
    return elements(address, 64, np.uint8(0))


@_emulated
def _given(shapes, tile):
    """Return the rows of a tile and how many bytes each has."""
    place = LENGTHS + 2 * tile
    length = np.int64(shapes[place]) + 256 * np.int64(shapes[place + 1])
    return np.int64(shapes[COUNTS + tile]), length


@_emulated
def _shape(state, tile):
    """Return the rows of a tile and how many words each has."""
    shapes = _bytes(state + SHAPES)
    rows, length = _given(shapes, tile)
    # There is no other kind than 1, and none before `configure`.
    if shapes[0] != 1 or rows == 0 or length % 4 != 0:
        _refuse()
    return rows, length // 4


@_emulated
def configure(state, address):
    """Do what `amx.configure` does."""
    given, shapes = _bytes(address), _bytes(state + SHAPES)
    for i in range(64):
        shapes[i] = given[i]
        named = i < 2 or LENGTHS <= i < LENGTHS + 2 * TILES or COUNTS <= i < COUNTS + TILES
        if given[i] != 0 and not named:
            _refuse()
    if given[0] != 1 or given[1] != 0:
        _refuse()
    for tile in range(TILES):
        rows, length = _given(shapes, tile)
        if rows > TILE or length > 4 * TILE or (rows == 0) != (length == 0):
            _refuse()
        _words(state + tile * TILE_BYTES, TILE * TILE)[:] = 0


@_emulated
def release(state):
    """Do what `amx.release` does."""
    _bytes(state + SHAPES)[:] = 0
    _words(state, TILES * TILE * TILE)[:] = 0


@_emulated
def zero(state, tile):
    """Do what `amx.zero` does."""
    _shape(state, tile)
    _words(state + tile * TILE_BYTES, TILE * TILE)[:] = 0


@_emulated
def load(state, tile, address, stride):
    """Do what `amx.load` does; nothing is read beyond the tile's shape."""
    rows, words = _shape(state, tile)
    target = _words(state + tile * TILE_BYTES, TILE * TILE)
    target[:] = 0
    for r in range(rows):
        source = _words(address + r * stride, words)
        for i in range(words):
            target[r * TILE + i] = source[i]


@_emulated
def store(state, tile, address, stride):
    """Do what `amx.store` does; nothing is written beyond the tile's shape."""
    rows, words = _shape(state, tile)
    source = _words(state + tile * TILE_BYTES, TILE * TILE)
    for r in range(rows):
        target = _words(address + r * stride, words)
        for i in range(words):
            target[i] = source[r * TILE + i]


@_emulated
def multiply(state, sums, a, b):
    """Do what `amx.multiply` does.

    For each sum the products of lower halves, and those of upper halves, are summed from zero; then
    both are added, and that to what the tile held. Operands and results below the smallest normal
    number are zero.
    """
    rows, columns = _shape(state, sums)
    a_rows, depth = _shape(state, a)
    b_rows, b_columns = _shape(state, b)
    if sums in (a, b) or a == b:
        _refuse()
    if a_rows != rows or b_rows != depth or b_columns != columns:
        _refuse()
    totals = _numbers(state + sums * TILE_BYTES, TILE * TILE)
    left = _words(state + a * TILE_BYTES, TILE * TILE)
    right = _words(state + b * TILE_BYTES, TILE * TILE)
    lower, upper = _numbers(state + PARTS, TILE), _numbers(state + PARTS + 4 * TILE, TILE)
    for r in range(rows):
        lower[:] = 0
        upper[:] = 0
        for k in range(depth):
            word = left[r * TILE + k]
            first, second = _flushed(_lower(word)), _flushed(_upper(word))
            for j in range(columns):
                other = right[k * TILE + j]
                x, y = _flushed(_lower(other)), _flushed(_upper(other))
                lower[j] = _multiplied_and_added(first, x, lower[j])
                upper[j] = _multiplied_and_added(second, y, upper[j])
        for j in range(columns):
            both = _flushed(lower[j] + upper[j])
            totals[r * TILE + j] = _flushed(_flushed(totals[r * TILE + j]) + both)
