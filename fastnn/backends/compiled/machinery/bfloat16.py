"""Numbers in bfloat16 as vector instructions: rounding, packing in pairs, and their products.

A bfloat16 number is the upper half of a float32 number. A *word* of 32 bits holds two of them that
are neighbours along a sum, the first in its upper half. x86 has an instruction that adds the
products of both to a sum in float32. Elsewhere two multiply-adds of float32 numbers do the same,
bit for bit, as it adds the product of the upper halves first, and rounds after each of the two:
a sum is one chain in order, as those of float32 numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastnn.backends.compiled.machinery.lines import load_first, number_of
from fastnn.backends.compiled.machinery.machine import GROUP, MACHINE, ROW_TILES, TILES
from fastnn.backends.compiled.machinery.tiles import Factors, tile_intrinsic
from fastnn.backends.compiled.machinery.vector_ir import (
    I32,
    I64,
    lanes,
    load,
    multiply_add,
    splat,
    store,
)
from fastnn.backends.compiled.machinery.vectors import transposed

UPPER = 0xFFFF0000


class _BFloat(ir.Type):  # type: ignore[misc]
    """LLVM's type of a bfloat16 number, which llvmlite does not know."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BFloat)

    def __hash__(self) -> int:
        return hash(_BFloat)


_WIDTH = lanes(4)
_FLOATS = ir.VectorType(ir.FloatType(), _WIDTH)
_WORDS = ir.VectorType(I32, _WIDTH)
_PAIRS = ir.VectorType(_BFloat(), 2 * _WIDTH)
_HALVES = ir.VectorType(ir.IntType(16), 2 * _WIDTH)


def _native(builder: ir.IRBuilder, name: str, result: ir.Type, *operands: ir.Value) -> ir.Value:
    """Call an instruction of AVX-512 BF16."""
    function = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(result, [operand.type for operand in operands]),
        f"llvm.x86.avx512bf16.{name}.512",
    )
    return builder.call(function, operands)


def _all(value: int) -> ir.Constant:
    return _constant(_WORDS, value)


def _shuffled(builder: ir.IRBuilder, x: ir.Value, y: ir.Value, places: list[int]) -> ir.Value:
    mask = ir.Constant(ir.VectorType(I32, len(places)), places)
    return builder.shuffle_vector(x, y, mask)


def _upper_halves(builder: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """Return words whose upper halves are numbers rounded, ties to even; the lower are anything."""
    words = _words_like(x)

    def constant(value: int) -> ir.Constant:
        return _constant(words, value)

    bits = builder.bitcast(x, words)
    last = builder.and_(builder.lshr(bits, constant(16)), constant(1))
    carried = builder.add(builder.add(bits, constant(0x7FFF)), last)
    # Kernels on x86 take numbers below the normal ones as zero, so that this does, too, and none of
    # them is rounded up to a normal one.
    is_zero = builder.fcmp_unordered("ueq", x, builder.bitcast(constant(0), x.type))
    carried = builder.select(is_zero, builder.and_(bits, constant(1 << 31)), carried)
    quiet = builder.or_(bits, constant(0x400000))  # a NaN must not become infinite
    return builder.select(builder.fcmp_unordered("uno", x, x), quiet, carried)


def _words_like(x: ir.Value) -> ir.Type:
    """Return the type of words for as many numbers."""
    return ir.VectorType(I32, x.type.count) if isinstance(x.type, ir.VectorType) else I32


def _constant(words: ir.Type, value: int) -> ir.Constant:
    return ir.Constant(words, [value] * words.count if isinstance(words, ir.VectorType) else value)


def _rounded(builder: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """Return float32 numbers rounded to bfloat16, in float32."""
    if MACHINE.bf16 and x.type == _FLOATS:
        halves = _native(builder, "cvtneps2bf16", ir.VectorType(_BFloat(), _WIDTH), x)
        halves = builder.bitcast(halves, ir.VectorType(ir.IntType(16), _WIDTH))
        return builder.bitcast(builder.shl(builder.zext(halves, _WORDS), _all(16)), x.type)
    upper = _constant(_words_like(x), UPPER)
    return builder.bitcast(builder.and_(_upper_halves(builder, x), upper), x.type)


def _pairs(builder: ir.IRBuilder, first: ir.Value, second: ir.Value) -> ir.Value:
    """Return words of the numbers of two vectors, rounded."""
    if MACHINE.bf16:
        halves = _native(builder, "cvtne2ps2bf16", _PAIRS, first, second)
        places = [place for i in range(_WIDTH) for place in (i, i + _WIDTH)]
        return _of_halves(builder, halves, places)
    upper = builder.and_(_upper_halves(builder, first), _all(UPPER))
    return builder.or_(upper, builder.lshr(_upper_halves(builder, second), _all(16)))


def _of_halves(builder: ir.IRBuilder, halves: ir.Value, places: list[int]) -> ir.Value:
    halves = builder.bitcast(halves, _HALVES)
    return builder.bitcast(_shuffled(builder, halves, halves, places), _WORDS)


def _neighbours(builder: ir.IRBuilder, left: ir.Value, right: ir.Value) -> ir.Value:
    """Return words of the neighbours in two adjacent vectors, rounded."""
    if MACHINE.bf16:
        halves = _native(builder, "cvtne2ps2bf16", _PAIRS, right, left)
        return _of_halves(builder, halves, [place ^ 1 for place in range(2 * _WIDTH)])
    first, second = (
        _shuffled(builder, left, right, list(range(start, 2 * _WIDTH, 2))) for start in (0, 1)
    )
    return _pairs(builder, first, second)


def _ready(builder: ir.IRBuilder, words: ir.Value) -> Any:
    """Return a vector of words as the multiply-add takes it."""
    if MACHINE.bf16:
        return builder.bitcast(words, _PAIRS)
    first, second = builder.and_(words, _all(UPPER)), builder.shl(words, _all(16))
    return builder.bitcast(first, _FLOATS), builder.bitcast(second, _FLOATS)


def _add_products(builder: ir.IRBuilder, a: Any, b: Any, total: ir.Value) -> ir.Value:
    """Add the products of the numbers in words to sums."""
    if MACHINE.bf16:
        return _native(builder, "dpbf16ps", _FLOATS, total, a, b)
    for x, y in zip(a, b, strict=True):
        total = multiply_add(builder, x, y, total)
    return total


# The register tile of words: as `vector_ir.tile`, but k counts pairs. Tiles of any rows take the
# panel of B that is packed for those of the most.
PAIRS_TILES = dict.fromkeys(TILES, TILES[GROUP])
pairs_tile = tile_intrinsic(PAIRS_TILES, False, Factors(I32, _ready, _add_products))

# Tiles of float32 numbers that are rounded when they are read.
ROUNDED = Factors(ready=_rounded)
rounded_row_tile = tile_intrinsic({1: ROW_TILES}, listed=True, factors=ROUNDED)
dense_rounded_row_tile = tile_intrinsic({1: (max(ROW_TILES),)}, listed=False, factors=ROUNDED)


@intrinsic
def rounded(typingctx, x):
    """Return a float32 number, or a line of them, rounded to bfloat16; others as they are."""

    def codegen(context, builder, signature, args):
        return _rounded(builder, args[0]) if number_of(x) == types.float32 else args[0]

    return x(x), codegen


def _floats_at(builder: ir.IRBuilder, address: ir.Value, place: int = 0) -> ir.Value:
    pointer = builder.inttoptr(address, ir.FloatType().as_pointer())
    return load(builder, pointer, _FLOATS, place)


def _words_to(builder: ir.IRBuilder, words: ir.Value, address: ir.Value) -> None:
    store(builder, words, builder.inttoptr(address, I32.as_pointer()), 0)


Load = Callable[[ir.IRBuilder, ir.Value, int], ir.Value]


def _whole(builder: ir.IRBuilder, count: ir.Value) -> Load:
    """Return what loads a vector of numbers, the place-th at an address."""
    return _floats_at


def _part(builder: ir.IRBuilder, count: ir.Value) -> Load:
    """Return what loads so many numbers, and zeros behind them; no more is read."""

    def some(builder: ir.IRBuilder, address: ir.Value, place: int = 0) -> ir.Value:
        beyond = builder.add(address, ir.Constant(I64, 4 * _WIDTH * place))
        left = builder.sub(count, ir.Constant(I64, _WIDTH * place))
        return load_first(builder, beyond, left, _FLOATS)

    return some


def _packing_rows(loading: Callable[[ir.IRBuilder, ir.Value], Load]) -> Any:
    @intrinsic
    def pack(typingctx, first, second, count, target):
        """Write words of vectors of float32 numbers at two addresses; of zeros if one is 0."""

        def codegen(context, builder, signature, args):
            first, second, count, target = args
            of, zeros = loading(builder, count), ir.Constant(_FLOATS, [0.0] * _WIDTH)
            absent = builder.icmp_signed("==", second, ir.Constant(I64, 0))
            numbers = of(builder, builder.select(absent, first, second), 0)
            numbers = builder.select(absent, zeros, numbers)
            _words_to(builder, _pairs(builder, of(builder, first, 0), numbers), target)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 4), codegen

    return pack


def _packing_columns(loading: Callable[[ir.IRBuilder, ir.Value], Load]) -> Any:
    @intrinsic
    def pack(typingctx, source, count, target):
        """Write a vector of words of the float32 numbers at an address, two vectors of them."""

        def codegen(context, builder, signature, args):
            source, count, target = args
            of = loading(builder, count)
            left, right = (of(builder, source, place) for place in (0, 1))
            _words_to(builder, _neighbours(builder, left, right), target)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 3), codegen

    return pack


# The second of each is for fewer numbers, so many, and zeros behind them; no more is read.
pack_rows, pack_part_of_rows = _packing_rows(_whole), _packing_rows(_part)
pack_columns, pack_part_of_columns = _packing_columns(_whole), _packing_columns(_part)


@intrinsic
def pack_transposed(typingctx, source, source_row, rows, target, target_row):
    """Write the words of some rows, of two vectors of float32 numbers each, transposed.

    There is at least one row and at most as many as a vector has numbers; zeros take the place of
    the others. The rows of the source are ``source_row`` numbers apart, those of the target words.
    """
    index = types.intp
    signature = types.void(index, index, index, index, index)

    def codegen(context, builder, signature, args):
        source, source_row, rows, target, target_row = args
        four, last = ir.Constant(I64, 4), builder.sub(rows, ir.Constant(I64, 1))
        block = []
        for r in range(_WIDTH):
            place = ir.Constant(I64, r)
            place = builder.select(builder.icmp_signed("<", place, last), place, last)
            address = builder.add(source, builder.mul(builder.mul(place, source_row), four))
            left, right = (_floats_at(builder, address, i) for i in (0, 1))
            block.append(_neighbours(builder, left, right))
        places = ir.Constant(_WORDS, list(range(_WIDTH)))
        within = builder.icmp_signed("<", places, splat(builder, builder.trunc(rows, I32), _WORDS))
        for k, words in enumerate(transposed(builder, block)):
            offset = builder.mul(builder.mul(ir.Constant(I64, k), target_row), four)
            words = builder.select(within, words, _all(0))
            _words_to(builder, words, builder.add(target, offset))
        return context.get_dummy_value()

    return signature, codegen
