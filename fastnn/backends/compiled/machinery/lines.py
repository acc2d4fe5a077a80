"""A cache line of numbers as one value in kernels, with operators, whatever the vectors' width.

Numbers and lines are written alike: ``a * x + b`` may hold both, and a number goes with each number
of a line. What is summed over a line is summed in the same order on any machine. Addresses are in
bytes; there are no bounds checks.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import models
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, lower_cast, register_model

from fastnn.backends.compiled.machinery.vector_ir import (
    I8,
    I32,
    I64,
    IR_TYPES,
    across_lanes,
    add,
    bits_of,
    int_type,
    itemsize,
    larger_of,
    multiply_add,
    opaque_pointers,
    splat,
)

LINE = 64  # bytes
FLAGS = ("contract", "nsz")  # as in jit.OPTIONS


class Line(types.Type):  # type: ignore[misc]
    """Numba's type of a line of float32 or float64 numbers."""

    def __init__(self, number: Any) -> None:
        self.number = number
        super().__init__(f"Line({number})")


def number_of(kind: Any) -> Any:
    """Return the type of the numbers of a line, or of a number."""
    return kind.number if isinstance(kind, Line) else kind


def vector_of(number: Any) -> ir.VectorType:
    """Return LLVM's type of a line."""
    element = IR_TYPES[number]
    return ir.VectorType(element, 8 * LINE // bits_of(element))


@register_model(Line)
class _LineModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Line) -> None:
        super().__init__(manager, kind, vector_of(kind.number))


@lower_cast(types.Float, Line)
def _splat_number(context, builder, given, wanted, value):
    number = context.cast(builder, value, given, wanted.number)
    return splat(builder, number, vector_of(wanted.number))


def _define(function: Any, count: int, emit: Callable[..., ir.Value]) -> None:
    """Define an operator, or what takes so many operands, for lines."""

    class Template(AbstractTemplate):  # type: ignore[misc]
        def generic(self, args, kws):
            line = next((kind for kind in args if isinstance(kind, Line)), None)
            return signature(line, *[line] * count) if line and len(args) == count else None

    infer_global(function)(Template)
    lower_builtin(function, *[Line] * count)(
        lambda context, builder, signature, args: emit(builder, *args)
    )


def _absolute(builder: ir.IRBuilder, x: ir.Value) -> ir.Value:
    function = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(x.type, [x.type]),
        f"llvm.fabs.v{x.type.count}f{8 * itemsize(x.type)}",
    )
    return builder.call(function, [x])


_define(operator.add, 2, lambda builder, x, y: builder.fadd(x, y, flags=FLAGS))
_define(operator.sub, 2, lambda builder, x, y: builder.fsub(x, y, flags=FLAGS))
_define(operator.mul, 2, lambda builder, x, y: builder.fmul(x, y, flags=FLAGS))
_define(operator.truediv, 2, lambda builder, x, y: builder.fdiv(x, y, flags=FLAGS))
_define(operator.neg, 1, lambda builder, x: builder.fneg(x))
_define(abs, 1, _absolute)


@intrinsic
def lanes_of(typingctx, like):
    """Return how many numbers of that type a line holds, a constant."""

    def codegen(context, builder, signature, args):
        return ir.Constant(I64, vector_of(signature.args[0]).count)

    return types.intp(like), codegen


@intrinsic
def filled(typingctx, x):
    """Return a line of a number."""
    line = Line(x)
    return line(x), lambda context, builder, signature, args: splat(
        builder, args[0], vector_of(signature.args[0])
    )


@intrinsic
def plus_product(typingctx, line, x, y):
    """Return ``line + x * y`` of a number x and a line y, rounded once where the machine can.

    LLVM does that to ``x * y + line``, too, unless it moves the product into the branches before:
    then lines that are summed side by side are not all rounded alike.
    """

    def codegen(context, builder, signature, args):
        line, x, y = args
        return multiply_add(builder, splat(builder, x, line.type), y, line)

    return line(line, line.number, line), codegen


@intrinsic
def where_below(typingctx, x, y, this, that):
    """Return ``this if x < y else that``, of numbers or for each number of lines."""
    kinds = x, y, this, that
    kind = next((kind for kind in kinds if isinstance(kind, Line)), x)

    def codegen(context, builder, signature, args):
        x, y, this, that = args
        return builder.select(builder.fcmp_ordered("<", x, y), this, that)

    return kind(kind, kind, kind, kind), codegen


def _pointer(builder: ir.IRBuilder, address: ir.Value, vector: ir.VectorType) -> ir.Value:
    return builder.inttoptr(address, vector.as_pointer())


@intrinsic
def load(typingctx, address, like):
    """Return the line of numbers at an address."""
    line = Line(like)

    def codegen(context, builder, signature, args):
        vector = vector_of(signature.args[1])
        value = builder.load(_pointer(builder, args[0], vector))
        value.align = itemsize(vector)
        return value

    return line(types.intp, like), codegen


@intrinsic
def store(typingctx, address, line):
    """Write a line of numbers to an address."""

    def codegen(context, builder, signature, args):
        address, value = args
        where = builder.store(value, _pointer(builder, address, value.type))
        where.align = itemsize(value.type)
        return context.get_dummy_value()

    return types.void(types.intp, line), codegen


@intrinsic
def number_at(typingctx, address, like):
    """Return the number at an address, of the type of another."""

    def codegen(context, builder, signature, args):
        return builder.load(builder.inttoptr(args[0], args[1].type.as_pointer()))

    return like(types.intp, like), codegen


@intrinsic
def put_number(typingctx, address, number):
    """Write a number to an address."""

    def codegen(context, builder, signature, args):
        address, number = args
        builder.store(number, builder.inttoptr(address, number.type.as_pointer()))
        return context.get_dummy_value()

    return types.void(types.intp, number), codegen


@intrinsic
def move_quarter(typingctx, source, target, like):
    """Copy as many numbers as a quarter of a line has from an address to another."""

    def codegen(context, builder, signature, args):
        source, target, _ = args
        whole = vector_of(signature.args[2])
        vector = ir.VectorType(whole.element, whole.count // 4)
        value = builder.load(_pointer(builder, source, vector))
        value.align = itemsize(vector)
        builder.store(value, _pointer(builder, target, vector)).align = value.align
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, like), codegen


def _first(builder: ir.IRBuilder, count: ir.Value, vector: ir.VectorType) -> ir.Value:
    """Return the mask of the first lanes, so many."""
    integers = ir.VectorType(I32, vector.count)
    places = ir.Constant(integers, list(range(vector.count)))
    return builder.icmp_signed("<", places, splat(builder, builder.trunc(count, I32), integers))


def load_first(
    builder: ir.IRBuilder, address: ir.Value, count: ir.Value, vector: ir.VectorType
) -> ir.Value:
    """Load the first numbers of a vector at an address, so many, and zeros; no more is read."""
    kind = f"v{vector.count}f{8 * itemsize(vector)}"
    mask = _first(builder, count, vector)
    function = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(vector, [vector.as_pointer(), I32, mask.type, vector]),
        f"llvm.masked.load.{kind}.p0" + ("" if opaque_pointers() else kind),
    )
    zero = ir.Constant(vector, [0.0] * vector.count)
    align = ir.Constant(I32, itemsize(vector))
    return builder.call(function, [_pointer(builder, address, vector), align, mask, zero])


@intrinsic
def load_part(typingctx, address, count, like):
    """Return the first numbers at an address, so many, and zeros; no more is read."""
    line = Line(like)

    def codegen(context, builder, signature, args):
        return load_first(builder, *args[:2], vector_of(signature.args[2]))

    return line(types.intp, types.intp, like), codegen


@intrinsic
def first_of(typingctx, line, count, other):
    """Return the first numbers of a line, so many, and another number after them."""

    def codegen(context, builder, signature, args):
        line, count, other = args
        rest = splat(builder, other, line.type)
        return builder.select(_first(builder, count, line.type), line, rest)

    return line(line, types.intp, line.number), codegen


def _reduction(combine: Callable[[ir.IRBuilder, ir.Value, ir.Value], ir.Value]) -> Any:
    @intrinsic
    def reduction(typingctx, line):
        def codegen(context, builder, signature, args):
            return across_lanes(builder, args[0], combine)

        return line.number(line), codegen

    return reduction


sum_of, largest_of = _reduction(add), _reduction(larger_of)


@intrinsic
def larger(typingctx, x, y):
    """Return the larger numbers of two lines; those of x where it is NaN."""
    return x(x, x), lambda context, builder, signature, args: larger_of(builder, *args)


@intrinsic
def split(typingctx, x):
    """Return m from the root of 1/2 to that of 2, and n as a number, where ``x = m * 2**n``.

    x is a number, or a line of them, that is normal and above 0.
    """

    def codegen(context, builder, signature, args):
        x = args[0]
        lanes = getattr(x.type, "count", 0)
        number = number_of(signature.args[0])
        integer = int_type(IR_TYPES[number])
        mantissa, root = (23, 0x3F3504F3) if integer is I32 else (52, 0x3FE6A09E667F3BCD)

        def constant(value: int) -> ir.Constant:
            kind = ir.VectorType(integer, lanes) if lanes else integer
            return ir.Constant(kind, [value] * lanes if lanes else value)

        bits = builder.bitcast(x, constant(0).type)
        n = builder.ashr(builder.sub(bits, constant(root)), constant(mantissa))
        m = builder.bitcast(builder.sub(bits, builder.shl(n, constant(mantissa))), x.type)
        parts = [m, builder.sitofp(n, x.type)]
        return context.make_tuple(builder, signature.return_type, parts)

    return types.UniTuple(x, 2)(x), codegen


@intrinsic
def room(typingctx, lines):
    """Return the address of memory for so many lines, until the function returns."""
    if not isinstance(lines, types.IntegerLiteral):
        return None  # and Numba tries again with the number
    count = lines.literal_value

    def codegen(context, builder, signature, args):
        memory = cgutils.alloca_once(builder, ir.ArrayType(I8, LINE * count))
        memory.align = LINE
        return builder.ptrtoint(memory, I64)

    return types.intp(lines), codegen
