"""What vector instructions are written with, as LLVM IR, by the modules that emit them.

Everything works on numbers of one dtype, float32 or float64, at addresses; offsets are in elements.
There are no bounds checks.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import register_jitable

from fastnn.backends.compiled.machinery.machine import MACHINE

I8, I32, I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
IR_TYPES = {types.float32: ir.FloatType(), types.float64: ir.DoubleType()}


@register_jitable
def lanes(itemsize: int) -> int:
    """Return how many elements of that size a vector holds."""
    return MACHINE.bits // 8 // itemsize


def splat(builder: ir.IRBuilder, scalar: ir.Value, vector: ir.VectorType) -> ir.Value:
    """Broadcast a scalar to every lane."""
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(I32, 0))
    mask = ir.Constant(ir.VectorType(I32, vector.count), [0] * vector.count)
    return builder.shuffle_vector(first, undefined, mask)


def splat_lane(
    builder: ir.IRBuilder, values: ir.Value, lane: int, vector: ir.VectorType
) -> ir.Value:
    """Broadcast one lane of a vector to every lane of another."""
    mask = ir.Constant(ir.VectorType(I32, vector.count), [lane] * vector.count)
    return builder.shuffle_vector(values, ir.Constant(values.type, ir.Undefined), mask)


def load(builder: ir.IRBuilder, pointer: ir.Value, vector: ir.VectorType, index: int) -> ir.Value:
    """Load the index-th vector behind a pointer to elements, with the elements' alignment."""
    value = builder.load(_vector_pointer(builder, pointer, vector, index))
    value.align = itemsize(vector)
    return value


def store(builder: ir.IRBuilder, value: ir.Value, pointer: ir.Value, index: int) -> None:
    """Store a vector as the index-th behind a pointer to elements."""
    stored = builder.store(value, _vector_pointer(builder, pointer, value.type, index))
    stored.align = itemsize(value.type)


def _vector_pointer(
    builder: ir.IRBuilder, pointer: ir.Value, vector: ir.VectorType, index: int
) -> ir.Value:
    element = builder.gep(pointer, [ir.Constant(I64, index * vector.count)])
    return builder.bitcast(element, vector.as_pointer())


def itemsize(vector: ir.VectorType) -> int:
    """Return the bytes of an element of a vector."""
    return bits_of(vector.element) // 8


def bits_of(element: ir.Type) -> int:
    """Return the bits of a number, or of a word of 32."""
    return 32 if element in (ir.FloatType(), I32) else 64


def int_type(element: ir.Type) -> ir.IntType:
    """Return the type of integers of as many bits as a number."""
    return I32 if element == ir.FloatType() else I64


def multiply_add(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
    """Return ``a * b + c``, rounded once where the machine can."""
    if not MACHINE.fma:
        return builder.fadd(builder.fmul(a, b), c)
    kind = f"v{a.type.count}f{8 * itemsize(a.type)}"
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(a.type, [a.type] * 3), f"llvm.fma.{kind}"
    )
    return builder.call(function, [a, b, c])


def across_lanes(
    builder: ir.IRBuilder,
    value: ir.Value,
    combine: Callable[[ir.IRBuilder, ir.Value, ir.Value], ir.Value],
) -> ir.Value:
    """Combine all lanes of a vector, halves first."""
    n = value.type.count
    half = n // 2
    while half:
        lanes_of_half = [half + i if i < half else i for i in range(n)]
        mask = ir.Constant(ir.VectorType(I32, n), lanes_of_half)
        value = combine(builder, value, builder.shuffle_vector(value, value, mask))
        half //= 2
    return builder.extract_element(value, ir.Constant(I32, 0))


def add(builder: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    """Return the sum of two numbers, or of those of two vectors."""
    return builder.fadd(x, y)


def larger_of(builder: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    """Return the larger of two numbers, or of those of two vectors; x where one is NaN."""
    return builder.select(builder.fcmp_ordered(">", y, x), y, x)


def ask_for_line(builder: ir.IRBuilder, pointer: ir.Value, to_write: bool = False) -> None:
    """Ask for the cache line behind a pointer: to the second level, or to write to the first."""
    function = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(ir.VoidType(), [I8.as_pointer(), I32, I32, I32]),
        "llvm.prefetch.p0" if opaque_pointers() else "llvm.prefetch.p0i8",
    )
    write, locality, data = (ir.Constant(I32, value) for value in (int(to_write), 2 + to_write, 1))
    builder.call(function, [builder.bitcast(pointer, I8.as_pointer()), write, locality, data])


def opaque_pointers() -> bool:
    """Tell whether this llvmlite writes typeless pointers."""
    return "*" not in str(I8.as_pointer())
