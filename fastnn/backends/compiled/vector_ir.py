"""Explicit vector instructions, emitted as LLVM IR through Numba's ``intrinsic``.

LLVM's auto-vectoriser does not find register tiles; here they are written out. Everything works on
flat arrays of one dtype, float32 or float64, and offsets in elements. There are no bounds checks.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic, register_jitable

I8, I32, I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
IR_TYPES = {types.float32: ir.FloatType(), types.float64: ir.DoubleType()}


class Machine(NamedTuple):
    """What the generated instructions depend on."""

    bits: int  # of a vector register
    registers: int
    fma: bool


def _machine() -> Machine:
    """Read the machine from the features that Numba compiles for, and ``FASTNN_VECTOR_BITS``."""
    triple, _, features = cpu_target.target_context.codegen().magic_tuple()
    has = {name[1:] for name in features.split(",") if name.startswith("+")}
    arm = triple.startswith(("aarch64", "arm64"))
    bits = 512 if "avx512f" in has else 256 if "avx" in has else 128
    asked = os.environ.get("FASTNN_VECTOR_BITS", "")
    if asked:
        if asked not in ("128", "256", "512"):
            raise ValueError(f"FASTNN_VECTOR_BITS must be 128, 256 or 512, got {asked!r}")
        bits = int(asked)
    return Machine(bits, 32 if arm or "avx512vl" in has else 16, arm or "fma" in has)


MACHINE = _machine()

# Rows of a register tile, and the most vectors across it. The widest tile comes first; the others
# are for the rows left over. 8 x 3 keeps 24 sums, 3 loaded vectors and a broadcast in 32 registers
# and reaches 0.97 of the peak from L1; 4 x 3 is its like for 16 registers.
TILES = ((8, 3), (4, 6), (2, 8), (1, 8)) if MACHINE.registers == 32 else ((4, 3), (2, 5), (1, 8))
PANEL = TILES[0][1]


@register_jitable
def lanes(itemsize: int) -> int:
    """Return how many elements of that size a vector holds."""
    return MACHINE.bits // 8 // itemsize


def _splat(builder: ir.IRBuilder, scalar: ir.Value, vector: ir.VectorType) -> ir.Value:
    """Broadcast a scalar to every lane."""
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(I32, 0))
    mask = ir.Constant(ir.VectorType(I32, vector.count), [0] * vector.count)
    return builder.shuffle_vector(first, undefined, mask)


def _load(builder: ir.IRBuilder, pointer: ir.Value, vector: ir.VectorType, index: int) -> ir.Value:
    """Load the index-th vector behind a pointer to elements, with the elements' alignment."""
    value = builder.load(_vector_pointer(builder, pointer, vector, index))
    value.align = _itemsize(vector)
    return value


def _store(builder: ir.IRBuilder, value: ir.Value, pointer: ir.Value, index: int) -> None:
    store = builder.store(value, _vector_pointer(builder, pointer, value.type, index))
    store.align = _itemsize(value.type)


def _vector_pointer(
    builder: ir.IRBuilder, pointer: ir.Value, vector: ir.VectorType, index: int
) -> ir.Value:
    element = builder.gep(pointer, [ir.Constant(I64, index * vector.count)])
    return builder.bitcast(element, vector.as_pointer())


def _itemsize(vector: ir.VectorType) -> int:
    return 4 if vector.element == ir.FloatType() else 8


def _multiply_add(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
    """Return ``a * b + c``, rounded once where the machine can."""
    if not MACHINE.fma:
        return builder.fadd(builder.fmul(a, b), c)
    kind = f"v{a.type.count}f{8 * _itemsize(a.type)}"
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(a.type, [a.type] * 3), f"llvm.fma.{kind}"
    )
    return builder.call(function, [a, b, c])


def _tile_function(module: ir.Module, element: ir.Type, rows: int, vectors: int) -> ir.Function:
    """Emit ``C = alpha * A B + beta * C`` for one tile of that many rows and vectors.

    The sums over k stay in registers. Each is one chain of multiply-adds in the order of k, so an
    element of C has the same bits whichever tile computes it.
    """
    vector = ir.VectorType(element, lanes(4 if element == ir.FloatType() else 8))
    pointer = element.as_pointer()
    arguments = [pointer, I64, I64, pointer, I64, pointer, I64, I64, element, element]
    function = ir.Function(
        module,
        ir.FunctionType(ir.VoidType(), arguments),
        module.get_unique_name(f"fastnn_tile_{rows}x{vectors}"),
    )
    function.linkage = "internal"
    function.attributes.add("noinline")
    a, a_row, a_k, b, b_row, c, c_row, count, alpha, beta = function.args

    entry = function.append_basic_block("entry")
    loop = function.append_basic_block("loop")
    finish = function.append_basic_block("finish")
    overwrite = function.append_basic_block("overwrite")
    update = function.append_basic_block("update")

    builder = ir.IRBuilder(entry)
    a_rows = [builder.gep(a, [builder.mul(a_row, ir.Constant(I64, r))]) for r in range(rows)]
    c_rows = [builder.gep(c, [builder.mul(c_row, ir.Constant(I64, r))]) for r in range(rows)]
    builder.branch(loop)

    builder.position_at_end(loop)
    k = builder.phi(I64)
    k.add_incoming(ir.Constant(I64, 0), entry)
    zero = ir.Constant(vector, [0.0] * vector.count)
    sums = [[builder.phi(vector) for _ in range(vectors)] for _ in range(rows)]
    b_pointer = builder.gep(b, [builder.mul(k, b_row)])
    b_vectors = [_load(builder, b_pointer, vector, v) for v in range(vectors)]
    a_offset = builder.mul(k, a_k)
    results = []
    for r in range(rows):
        scalar = _splat(builder, builder.load(builder.gep(a_rows[r], [a_offset])), vector)
        results.append(
            [_multiply_add(builder, scalar, b_vectors[v], sums[r][v]) for v in range(vectors)]
        )
    k_next = builder.add(k, ir.Constant(I64, 1))
    k.add_incoming(k_next, loop)
    for r in range(rows):
        for v in range(vectors):
            sums[r][v].add_incoming(zero, entry)
            sums[r][v].add_incoming(results[r][v], loop)
    builder.cbranch(builder.icmp_signed("<", k_next, count), loop, finish)

    builder.position_at_end(finish)
    alphas, betas = _splat(builder, alpha, vector), _splat(builder, beta, vector)
    builder.cbranch(builder.fcmp_ordered("==", beta, ir.Constant(element, 0.0)), overwrite, update)
    for block in (overwrite, update):  # with beta = 0, what C held may be anything, NaN too
        builder.position_at_end(block)
        for r in range(rows):
            for v in range(vectors):
                value = builder.fmul(alphas, results[r][v])
                if block is update:
                    old = _load(builder, c_rows[r], vector, v)
                    value = _multiply_add(builder, betas, old, value)
                _store(builder, value, c_rows[r], v)
        builder.ret_void()
    return function


@intrinsic
def tile(typingctx, shape, a, a0, a_row, a_k, b, b0, b_row, c, c0, c_row, count, alpha, beta):
    """Set ``C = alpha * A B + beta * C`` for one register tile.

    ``A[r, k]`` is ``a[a0 + r * a_row + k * a_k]``; row k of B starts at ``b[b0 + k * b_row]`` and
    row r of C at ``c[c0 + r * c_row]``. ``shape`` numbers the tile, see `tile_shape`; ``count`` is
    the length of the sums, at least 1.
    """
    index = types.intp
    number = a.dtype
    signature = types.void(
        index, a, index, index, index, b, index, index, c, index, index, index, number, number
    )

    def codegen(context, builder, signature, args):
        shape, a, a0, a_row, a_k, b, b0, b_row, c, c0, c_row, count, alpha, beta = args
        _, a_type, *_ = signature.args

        def at(array, offset):
            data = context.make_array(a_type)(context, builder, array).data
            return builder.gep(data, [offset])

        arguments = [at(a, a0), a_row, a_k, at(b, b0), b_row, at(c, c0), c_row, count, alpha, beta]
        end = builder.append_basic_block("end")
        switch = builder.switch(shape, end)
        for code, (rows, vectors) in enumerate(SHAPES):
            case = builder.append_basic_block(f"tile_{rows}x{vectors}")
            switch.add_case(ir.Constant(I64, code), case)
            builder.position_at_end(case)
            function = _tile_function(builder.module, IR_TYPES[a_type.dtype], rows, vectors)
            builder.call(function, arguments)
            builder.branch(end)
        builder.position_at_end(end)
        return context.get_dummy_value()

    return signature, codegen


SHAPES = tuple((rows, vectors) for rows, widest in TILES for vectors in range(1, widest + 1))
# SHAPES[FIRST_SHAPE[i] + vectors] is the tile of TILES[i] that is so many vectors across.
FIRST_SHAPE = tuple(SHAPES.index((rows, 1)) - 1 for rows, _ in TILES)


@intrinsic
def transpose(typingctx, source, s0, s_row, target, t0, t_row):
    """Copy a square block of one vector's width, transposed, between flat arrays."""
    index = types.intp
    signature = types.void(source, index, index, target, index, index)

    def codegen(context, builder, signature, args):
        source, s0, s_row, target, t0, t_row = args
        array_type = signature.args[0]
        element = IR_TYPES[array_type.dtype]
        vector = ir.VectorType(element, lanes(array_type.dtype.bitwidth // 8))
        n = vector.count

        def row(array, offset, stride, r):
            data = context.make_array(array_type)(context, builder, array).data
            step = builder.mul(stride, ir.Constant(I64, r))
            return builder.gep(data, [builder.add(offset, step)])

        block = [_load(builder, row(source, s0, s_row, r), vector, 0) for r in range(n)]
        # A perfect shuffle of the rows, log2(n) times over, is the transposition.
        masks = [
            ir.Constant(
                ir.VectorType(I32, n),
                [lane + i // 2 + (n if i % 2 else 0) for i in range(n)],
            )
            for lane in (0, n // 2)
        ]
        for _ in range(n.bit_length() - 1):
            pairs = [(block[i], block[i + n // 2]) for i in range(n // 2)]
            block = [builder.shuffle_vector(x, y, mask) for x, y in pairs for mask in masks]
        for r in range(n):
            _store(builder, block[r], row(target, t0, t_row, r), 0)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def prefetch(typingctx, address):
    """Ask for the cache line at an address to be brought near; never faults."""

    def codegen(context, builder, signature, args):
        pointer = builder.inttoptr(args[0], I8.as_pointer())
        function = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(ir.VoidType(), [I8.as_pointer(), I32, I32, I32]),
            "llvm.prefetch.p0" if _opaque_pointers() else "llvm.prefetch.p0i8",
        )
        read, keep_in_l2, data = (ir.Constant(I32, value) for value in (0, 2, 1))
        builder.call(function, [pointer, read, keep_in_l2, data])
        return context.get_dummy_value()

    return types.void(types.intp), codegen


def _opaque_pointers() -> bool:
    """Tell whether this llvmlite writes typeless pointers."""
    return "*" not in str(I8.as_pointer())


@intrinsic
def pointer_to(typingctx, address, like):
    """Return an address as a pointer to elements of the type of ``like``, for ``numba.carray``."""
    pointer_type = types.CPointer(like)

    def codegen(context, builder, signature, args):
        return builder.inttoptr(args[0], context.get_value_type(pointer_type))

    return pointer_type(types.intp, like), codegen


def _int_type(element: ir.Type) -> ir.IntType:
    return I32 if element == ir.FloatType() else I64


@intrinsic
def scale_by_power(typingctx, x, shifted):
    """Return ``x * 2**n``, where ``shifted`` is ``1.5 * 2**p + n`` and p its mantissa's bits.

    The low bits of ``shifted`` are n. The power is applied in two factors, so that results below
    the smallest normal number are rounded once and those above the largest become infinity.
    """

    def codegen(context, builder, signature, args):
        x, shifted = args
        element = IR_TYPES[signature.args[0]]
        integer = _int_type(element)
        mantissa, bias = (23, 127) if integer is I32 else (52, 1023)

        def constant(value: int) -> ir.Constant:
            return ir.Constant(integer, value)

        spare = constant(integer.width - mantissa + 1)
        low_bits = builder.shl(builder.bitcast(shifted, integer), spare)
        n = builder.ashr(low_bits, spare)
        half = builder.ashr(n, constant(1))
        for power in (half, builder.sub(n, half)):
            bits = builder.shl(builder.add(power, constant(bias)), constant(mantissa))
            x = builder.fmul(x, builder.bitcast(bits, element))
        return x

    return x(x, shifted), codegen
