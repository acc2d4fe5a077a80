"""Rows turned into columns, and back: with few columns, a line then holds one of each row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastnn.backends.compiled.machinery.lines import LINE, vector_of
from fastnn.backends.compiled.machinery.vector_ir import I32, I64, itemsize


def _shuffled(builder: ir.IRBuilder, x: ir.Value, y: ir.Value, lanes: list[int]) -> ir.Value:
    mask = ir.Constant(ir.VectorType(I32, len(lanes)), lanes)
    return builder.shuffle_vector(x, y, mask)


def _squares(number: Any) -> list[int]:
    """Return how many columns are moved at once: all of a line's, a quarter, or one."""
    lanes = vector_of(number).count
    return [1, lanes // 4, lanes]


def _turn(emit: Callable[[ir.IRBuilder, ir.Value, ir.Value, ir.Value, int, Any], None]) -> Any:
    """Make the intrinsic that moves columns, of a number known when it runs."""

    def function_of(module: ir.Module, number: Any) -> ir.Function:
        """Return the function that all calls in a module share: it is long."""
        name = f"fastnn{emit.__name__}_{number}"
        if name in module.globals:
            return module.globals[name]
        function = ir.Function(module, ir.FunctionType(ir.VoidType(), [I64] * 4), name)
        function.linkage = "internal"
        function.attributes.add("noinline")
        rows, row_bytes, columns, count = function.args
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        for square in _squares(number):
            fits = builder.icmp_signed("<=", count, ir.Constant(I64, square))
            with builder.if_then(fits):
                emit(builder, rows, row_bytes, columns, square, number)
                builder.ret_void()
        builder.ret_void()
        return function

    @intrinsic
    def turn(typingctx, rows, row_bytes, columns, count, like):
        def codegen(context, builder, signature, args):
            builder.call(function_of(builder.module, signature.args[-1]), args[:-1])
            return context.get_dummy_value()

        return types.void(*[types.intp] * 4, like), codegen

    return turn


def _places(
    builder: ir.IRBuilder, address: ir.Value, step: ir.Value, count: int, kind: ir.Type
) -> list[ir.Value]:
    """Return pointers that are so many bytes apart."""
    addresses = [builder.add(address, builder.mul(step, ir.Constant(I64, i))) for i in range(count)]
    return [builder.inttoptr(each, kind.as_pointer()) for each in addresses]


def _to_columns(builder, rows, row_bytes, columns, square, number):
    vector = vector_of(number)
    lanes, size = vector.count, itemsize(vector)
    piece = ir.VectorType(vector.element, square)
    pieces = []
    for pointer in _places(builder, rows, row_bytes, lanes, piece):
        pieces.append(builder.load(pointer))
        pieces[-1].align = size
    while len(pieces) > square:
        both = list(range(2 * pieces[0].type.count))
        pieces = [_shuffled(builder, *pieces[i : i + 2], both) for i in range(0, len(pieces), 2)]
    for _ in range(square.bit_length() - 1):
        pairs = [pieces[i : i + 2] for i in range(0, square, 2)]
        evens = [_shuffled(builder, *pair, list(range(0, 2 * lanes, 2))) for pair in pairs]
        odds = [_shuffled(builder, *pair, list(range(1, 2 * lanes, 2))) for pair in pairs]
        pieces = evens + odds
    places = _places(builder, columns, ir.Constant(I64, LINE), square, vector)
    for value, pointer in zip(pieces, places, strict=True):
        builder.store(value, pointer).align = size


def _to_rows(builder, rows, row_bytes, columns, square, number):
    vector = vector_of(number)
    lanes, size = vector.count, itemsize(vector)
    values = []
    for pointer in _places(builder, columns, ir.Constant(I64, LINE), square, vector):
        values.append(builder.load(pointer))
        values[-1].align = LINE
    half = square // 2
    low = [lane // 2 + lanes * (lane % 2) for lane in range(lanes)]
    high = [lane + lanes // 2 for lane in low]
    for _ in range(square.bit_length() - 1):
        pairs = [(values[i], values[i + half]) for i in range(half)]
        values = [_shuffled(builder, *pair, mask) for pair in pairs for mask in (low, high)]
    piece = ir.VectorType(vector.element, square)
    for i, pointer in enumerate(_places(builder, rows, row_bytes, lanes, piece)):
        value, first = values[i * square // lanes], i * square % lanes
        part = _shuffled(builder, value, value, list(range(first, first + square)))
        builder.store(part, pointer).align = size


to_columns, to_rows = _turn(_to_columns), _turn(_to_rows)
to_columns.__doc__ = """Write the first columns of as many rows as a line has numbers, as lines.

``rows`` are so many bytes apart; ``columns`` is where the lines go, of which there is room for as
many. At least ``count`` are written, the least of 1, a quarter of these and all of them.
"""
to_rows.__doc__ = "Write lines to the first columns of rows; the opposite of `to_columns`."
