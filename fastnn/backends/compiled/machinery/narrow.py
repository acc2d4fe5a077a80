"""The product with the weights of a few units: several rows share a vector.

A register tile would fill a vector with the units of one row, most of them padding. Here each
quarter of a line of float32 holds the units of a row of its own.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, register_jitable

from fastnn.backends.compiled.machinery.columns import _places, _shuffled
from fastnn.backends.compiled.machinery.lines import LINE, vector_of
from fastnn.backends.compiled.machinery.machine import MACHINE
from fastnn.backends.compiled.machinery.vector_ir import I64, IR_TYPES, itemsize, multiply_add

UNITS = 4  # the most that a layer has to be narrow
# Lines of sums that fit into the registers, beside weights and activations.
LINES = min(8, MACHINE.registers // 2 // (8 * LINE // MACHINE.bits))


@register_jitable
def narrow_rows(itemsize: int) -> int:
    """Return how many rows `narrow_tile` takes."""
    return LINES * (LINE // itemsize // UNITS)


@intrinsic
def narrow_tile(typingctx, a, b, c, biases, count, like):
    """Write sums over k of ``A[r, k] * B[k]``, and biases, to the first `UNITS` columns of C.

    It takes `narrow_rows`. Of A, so many k are read as make up multiples of four; the sums are in
    the order of k, as those of any tile.
    """
    signature = types.void(a, b, c, types.intp, types.intp, like)

    def codegen(context, builder, signature, args):
        matrices, (biases, count, _) = args[:3], args[3:]
        element = IR_TYPES[signature.args[-1]]
        size = ir.Constant(I64, itemsize(vector_of(signature.args[-1])))
        values = []
        for matrix in matrices:
            address, row, _ = cgutils.unpack_tuple(builder, matrix, 3)
            values += [address, builder.mul(row, size)]
        function = _function_of(builder.module, element, signature.args[-1])
        builder.call(function, [*values, biases, count])
        return context.get_dummy_value()

    return signature, codegen


def _function_of(module: ir.Module, element: ir.Type, number: types.Type) -> ir.Function:
    line = vector_of(number)
    size, rows_of_line = itemsize(line), line.count // UNITS
    piece = ir.VectorType(element, UNITS)
    name = module.get_unique_name(f"fastnn_narrow_tile_{number}")
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [I64] * 8), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    a, a_bytes, b, b_bytes, c, c_bytes, biases, count = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))

    def piece_at(pointer: ir.Value) -> ir.Value:
        value = builder.load(pointer)
        value.align = size
        return value

    def of_all_rows(value: ir.Value) -> ir.Value:
        return _shuffled(builder, value, value, list(range(UNITS)) * rows_of_line)

    def offset(address: ir.Value, step: ir.Value | int, times: ir.Value | int) -> ir.Value:
        step, times = (ir.Constant(I64, x) if isinstance(x, int) else x for x in (step, times))
        return builder.add(address, builder.mul(step, times))

    def add_products(first: ir.Value, terms: int) -> None:
        """Add the products of so many k, from the first on."""
        weights = [
            of_all_rows(piece_at(pointer))
            for pointer in _places(builder, offset(b, b_bytes, first), b_bytes, terms, piece)
        ]
        places = _places(builder, offset(a, size, first), a_bytes, LINES * rows_of_line, piece)
        for l, total in enumerate(sums):
            rows = [piece_at(p) for p in places[l * rows_of_line : (l + 1) * rows_of_line]]
            while len(rows) > 1:
                both = list(range(2 * rows[0].type.count))
                rows = [_shuffled(builder, *rows[i : i + 2], both) for i in range(0, len(rows), 2)]
            value = builder.load(total)
            for k, weight in enumerate(weights):
                of_rows = [UNITS * (lane // UNITS) + k for lane in range(line.count)]
                activations = _shuffled(builder, rows[0], rows[0], of_rows)
                value = multiply_add(builder, activations, weight, value)
            builder.store(value, total)

    start = of_all_rows(piece_at(builder.inttoptr(biases, piece.as_pointer())))
    sums = [builder.alloca(line) for _ in range(LINES)]  # which become registers
    for total in sums:
        builder.store(start, total)
    fours, rest = (
        operation(count, ir.Constant(I64, UNITS)) for operation in (builder.udiv, builder.urem)
    )
    with cgutils.for_range(builder, fours) as loop:
        add_products(builder.mul(loop.index, ir.Constant(I64, UNITS)), UNITS)
    for terms in range(1, UNITS):
        with builder.if_then(builder.icmp_signed("==", rest, ir.Constant(I64, terms))):
            add_products(builder.sub(count, rest), terms)
    places = _places(builder, c, c_bytes, LINES * rows_of_line, piece)
    for l, total in enumerate(sums):
        value = builder.load(total)
        for i in range(rows_of_line):
            lanes = list(range(i * UNITS, (i + 1) * UNITS))
            part = _shuffled(builder, value, value, lanes)
            builder.store(part, places[l * rows_of_line + i]).align = size
    builder.ret_void()
    return function
