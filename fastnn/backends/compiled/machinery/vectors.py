"""Numbers in memory, a vector at a time: reductions, what is not zero, transposition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastnn.backends.compiled.machinery.machine import GROUP
from fastnn.backends.compiled.machinery.vector_ir import (
    I32,
    I64,
    IR_TYPES,
    across_lanes,
    add,
    bits_of,
    int_type,
    lanes,
    larger_of,
    load,
    splat,
    store,
)

# Lanes of a reduction on any machine, so that its bits are the same.
REDUCED = 16


def _reduction(combine: Callable[[ir.IRBuilder, ir.Value, ir.Value], ir.Value]) -> Any:
    """Make the intrinsic that reduces ``a[a0 : a0 + REDUCED * groups]``; groups > 0."""

    @intrinsic
    def reduction(typingctx, a, a0, groups):
        def codegen(context, builder, signature, args):
            a, a0, groups = args
            a_type = signature.args[0]
            vector = ir.VectorType(IR_TYPES[a_type.dtype], REDUCED)
            data = builder.gep(context.make_array(a_type)(context, builder, a).data, [a0])
            total = cgutils.alloca_once_value(builder, load(builder, data, vector, 0))
            one = ir.Constant(I64, 1)
            with cgutils.for_range_slice(builder, one, groups, one) as (group, _):
                pointer = builder.gep(data, [builder.mul(group, ir.Constant(I64, REDUCED))])
                value = load(builder, pointer, vector, 0)
                builder.store(combine(builder, builder.load(total), value), total)
            return across_lanes(builder, builder.load(total), combine)

        return a.dtype(a, types.intp, types.intp), codegen

    return reduction


sum_of_groups, largest_of_groups = _reduction(add), _reduction(larger_of)


@intrinsic
def finite_groups(typingctx, a, a0, groups):
    """Tell whether all of ``a[a0 : a0 + REDUCED * groups]`` are neither infinite nor NaN."""

    def codegen(context, builder, signature, args):
        a, a0, groups = args
        a_type = signature.args[0]
        element = IR_TYPES[a_type.dtype]
        integers = ir.VectorType(int_type(element), REDUCED)
        infinity = (1 << 31) - (1 << 23) if element == ir.FloatType() else (1 << 63) - (1 << 52)
        exponent = ir.Constant(integers, [infinity] * REDUCED)
        data = builder.gep(context.make_array(a_type)(context, builder, a).data, [a0])
        largest = cgutils.alloca_once_value(builder, ir.Constant(integers, [0] * REDUCED))
        with cgutils.for_range(builder, groups) as loop:
            pointer = builder.gep(data, [builder.mul(loop.index, ir.Constant(I64, REDUCED))])
            value = load(builder, pointer, ir.VectorType(element, REDUCED), 0)
            bits = builder.and_(builder.bitcast(value, integers), exponent)
            before = builder.load(largest)
            above = builder.icmp_unsigned(">", bits, before)
            builder.store(builder.select(above, bits, before), largest)
        bad = builder.icmp_unsigned("==", builder.load(largest), exponent)
        flags = builder.bitcast(bad, ir.IntType(REDUCED))
        return builder.icmp_unsigned("==", flags, ir.Constant(flags.type, 0))

    return types.boolean(a, types.intp, types.intp), codegen


@intrinsic
def list_nonzero(typingctx, a, a_row, rows, first, count, indices, like):
    """Append to some indices the columns of one vector's width where any row is not zero.

    ``a`` is the address of the first row, ``indices`` that to write to; there are ``rows`` rows, 1
    or 2, which are ``a_row`` elements apart and hold numbers as ``like``; ``first`` is the index of
    their first column, of so many. Behind those is padding: zeros, but NaN next to an infinite
    activation. Returns how many columns there are.
    """
    index = types.intp
    signature = index(index, index, index, index, index, index, like)

    def codegen(context, builder, signature, args):
        a, a_row, rows, first, count, indices, _ = args
        element = IR_TYPES[signature.args[-1]]
        vector = ir.VectorType(element, lanes(bits_of(element) // 8))
        integers = ir.VectorType(I32, vector.count)
        data = builder.inttoptr(a, element.as_pointer())
        zero = ir.Constant(vector, [0.0] * vector.count)
        # With one row, the second is the first again.
        other = builder.mul(a_row, builder.sub(rows, ir.Constant(I64, 1)))
        masks = [
            builder.fcmp_unordered(
                "!=", load(builder, builder.gep(data, [offset]), vector, 0), zero
            )
            for offset in (ir.Constant(I64, 0), other)
        ]
        places = ir.Constant(integers, list(range(vector.count)))
        end = splat(builder, builder.trunc(count, I32), integers)
        mask = builder.and_(builder.or_(*masks), builder.icmp_signed("<", places, end))
        columns = builder.add(splat(builder, builder.trunc(first, I32), integers), places)
        compress = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(ir.VoidType(), [integers, I32.as_pointer(), mask.type]),
            f"llvm.masked.compressstore.v{vector.count}i32",
        )
        builder.call(compress, [columns, builder.inttoptr(indices, I32.as_pointer()), mask])
        bits = builder.bitcast(mask, ir.IntType(vector.count))
        return builder.zext(builder.ctpop(builder.zext(bits, I32)), I64)

    return signature, codegen


@intrinsic
def any_nonzero(typingctx, a, like):
    """Tell whether any of the n numbers at an address is not zero, n being `GROUP`."""

    def codegen(context, builder, signature, args):
        element = IR_TYPES[signature.args[1]]
        vector = ir.VectorType(element, GROUP)
        values = load(builder, builder.inttoptr(args[0], element.as_pointer()), vector, 0)
        zero = ir.Constant(vector, [0.0] * vector.count)
        mask = builder.fcmp_unordered("!=", values, zero)
        bits = builder.bitcast(mask, ir.IntType(vector.count))
        return builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0))

    return types.boolean(types.intp, like), codegen


def transposed(builder: ir.IRBuilder, block: list[ir.Value]) -> list[ir.Value]:
    """Return the columns of a block of as many vectors as each has numbers."""
    n = len(block)
    # A perfect shuffle of the rows, log2(n) times over, is the transposition.
    masks = [
        ir.Constant(ir.VectorType(I32, n), [lane + i // 2 + (n if i % 2 else 0) for i in range(n)])
        for lane in (0, n // 2)
    ]
    for _ in range(n.bit_length() - 1):
        pairs = [(block[i], block[i + n // 2]) for i in range(n // 2)]
        block = [builder.shuffle_vector(x, y, mask) for x, y in pairs for mask in masks]
    return block


@intrinsic
def transpose(typingctx, source, source_row, target, target_row, like):
    """Copy a square block of one vector's width, transposed, between addresses."""
    index = types.intp
    signature = types.void(index, index, index, index, like)

    def codegen(context, builder, signature, args):
        source, source_row, target, target_row, _ = args
        row = _rows(builder, source, source_row, signature.args[-1])
        _write_transposed(builder, row, target, target_row, signature.args[-1])
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def transpose_listed(typingctx, sources, first, target, target_row, like):
    """Do as `transpose`, for rows whose addresses are listed at an address, from a place on."""
    index = types.intp
    signature = types.void(index, index, index, index, like)

    def codegen(context, builder, signature, args):
        sources, first, target, target_row, _ = args
        pointer = IR_TYPES[signature.args[-1]].as_pointer()
        listed = builder.inttoptr(sources, I64.as_pointer())

        def row(r):
            address = builder.load(builder.gep(listed, [ir.Constant(I64, r)]))
            return builder.gep(builder.inttoptr(address, pointer), [first])

        _write_transposed(builder, row, target, target_row, signature.args[-1])
        return context.get_dummy_value()

    return signature, codegen


def _rows(
    builder: ir.IRBuilder, address: ir.Value, stride: ir.Value, like: Any
) -> Callable[[int], ir.Value]:
    """Return a function from the number of a row to where it begins."""
    data = builder.inttoptr(address, IR_TYPES[like].as_pointer())
    return lambda r: builder.gep(data, [builder.mul(stride, ir.Constant(I64, r))])


def _write_transposed(
    builder: ir.IRBuilder,
    row: Callable[[int], ir.Value],
    target: ir.Value,
    target_row: ir.Value,
    like: Any,
) -> None:
    element = IR_TYPES[like]
    vector = ir.VectorType(element, lanes(bits_of(element) // 8))
    block = [load(builder, row(r), vector, 0) for r in range(vector.count)]
    place = _rows(builder, target, target_row, like)
    for r, values in enumerate(transposed(builder, block)):
        store(builder, values, place(r), 0)
