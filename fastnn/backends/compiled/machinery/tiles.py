"""The register tile of products, written out: LLVM's auto-vectoriser does not find it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastnn.backends.compiled.machinery.machine import GROUP, MACHINE, ROW_TILES, TILES
from fastnn.backends.compiled.machinery.vector_ir import (
    I32,
    I64,
    IR_TYPES,
    ask_for_line,
    bits_of,
    itemsize,
    lanes,
    load,
    multiply_add,
    splat,
    splat_lane,
    store,
)

# Where a tile's sums start: at zero, from what C holds, or from a row of biases.
FROM_ZERO, FROM_C, FROM_BIASES = range(3)
# What becomes of them: C = sums; C = max(sums, 0); C = sums where another matrix is above 0, else
# 0; C = alpha * sums + beta * C.
PLAIN, RECTIFIED, MASKED, SCALED = range(4)
# From so many k on, a tile does not ask for lines of C that it only writes: while many lines come
# from far, those of B wait. That is 1.02 to 1.04 times as fast where B is far.
DEEP = 256
# Of a vector whose lanes NEON multiplies by.
LANES_BYTES = 16


class Factors(NamedTuple):
    """What the matrices of a product hold, and how they are multiplied."""

    stored: ir.Type | None = None  # in memory; None for numbers as the sums are
    # From a vector of them, what the multiply-add takes.
    ready: Callable[[ir.IRBuilder, ir.Value], Any] = lambda builder, vector: vector
    multiply_add: Callable[[ir.IRBuilder, Any, Any, ir.Value], ir.Value] = multiply_add


NUMBERS = Factors()


def tile_function(
    module: ir.Module, element: ir.Type, rows: int, vectors: int, listed: bool, by_lane: bool,
    factors: Factors = NUMBERS,
) -> ir.Function:  # fmt: skip
    """Emit the product for one tile of that many rows and vectors; see `tile`.

    The sums over k stay in registers. Each is one chain of multiply-adds in the order of k, so an
    element of C has the same bits whichever tile computes it. If ``by_lane``, numbers of A that lie
    side by side are loaded as vectors, and multiplied by lane.
    """
    vector = ir.VectorType(element, lanes(bits_of(element) // 8))
    stored = ir.VectorType(factors.stored or element, vector.count)
    pointer, source = element.as_pointer(), stored.element.as_pointer()
    matrices, indices_type = [source, I64, I64, source, I64, pointer, I64], I32.as_pointer()
    function = ir.Function(
        module,
        ir.FunctionType(
            ir.VoidType(),
            [*matrices, indices_type, I64, pointer, I64, I64, I64, element, element, source, I64],
        ),
        module.get_unique_name(f"fastnn_tile_{rows}x{vectors}"),
    )
    function.linkage = "internal"
    function.attributes.add("noinline")
    if rows == 1 and not listed:
        # Not unrolled, each load goes on by one row of B, which is what processors fetch ahead:
        # 0.65 of the time for 784 inputs whose weights are in the second-level cache.
        function.attributes.add("optsize")
    (
        a, a_row, a_k, b, b_row, c, c_row, indices, count, start, start_row, finish, mask,
        alpha, beta, ahead, ahead_k,
    ) = function.args  # fmt: skip
    builder = ir.IRBuilder(function.append_basic_block("entry"))

    def row_pointers(matrix: ir.Value, stride: ir.Value) -> list[ir.Value]:
        return [
            builder.gep(matrix, [builder.mul(stride, ir.Constant(I64, r))]) for r in range(rows)
        ]

    a_rows, c_rows = row_pointers(a, a_row), row_pointers(c, c_row)

    def ask_for(pointers: list[ir.Value], to_write: bool) -> None:
        for pointer in pointers:
            for v in range(vectors):
                line = builder.gep(pointer, [ir.Constant(I64, v * vector.count)])
                ask_for_line(builder, line, to_write)

    def finishes(way: int) -> ir.Value:
        return builder.icmp_signed("==", finish, ir.Constant(I64, way))

    if rows > 2:
        deep = builder.icmp_signed(">=", count, ir.Constant(I64, DEEP))
        with builder.if_then(builder.or_(finishes(SCALED), builder.not_(deep))):
            ask_for(c_rows, to_write=True)
        with builder.if_then(builder.and_(finishes(MASKED), deep)):
            ask_for([builder.gep(row, [mask]) for row in c_rows], to_write=False)
    tile = [(r, v) for r in range(rows) for v in range(vectors)]
    zero = ir.Constant(vector, [0.0] * vector.count)
    sums = {place: builder.alloca(vector) for place in tile}  # which become registers
    with builder.if_else(cgutils.is_null(builder, start)) as (then, otherwise):
        with then:
            for place in tile:
                builder.store(zero, sums[place])
        with otherwise:
            start_rows = row_pointers(start, start_row)
            for r, v in tile:
                builder.store(load(builder, start_rows[r], vector, v), sums[r, v])

    def add_products(place: ir.Value, column: Callable[[ir.Value], Callable[[int], ir.Value]]):
        """Add the products of a k; its ``column`` of A gives the number of a row in all lanes."""
        k = place
        if listed:
            k = builder.sext(builder.load(builder.gep(indices, [k])), I64)
        else:
            ask_for_line(builder, builder.gep(ahead, [builder.mul(k, ahead_k)]))
        b_pointer = builder.gep(b, [builder.mul(k, b_row)])
        b_vectors = [
            factors.ready(builder, load(builder, b_pointer, stored, v)) for v in range(vectors)
        ]
        number = column(k)
        for r in range(rows):
            factor = factors.ready(builder, number(r))
            for v in range(vectors):
                total = builder.load(sums[r, v])
                total = factors.multiply_add(builder, factor, b_vectors[v], total)
                builder.store(total, sums[r, v])

    def one_by_one(k: ir.Value) -> Callable[[int], ir.Value]:
        offset = builder.mul(k, a_k)
        return lambda r: splat(builder, builder.load(builder.gep(a_rows[r], [offset])), stored)

    piece = ir.VectorType(stored.element, LANES_BYTES // itemsize(stored))

    def whole_column(k: ir.Value) -> Callable[[int], ir.Value]:
        pointer = builder.gep(a, [builder.mul(k, a_k)])
        pieces = [load(builder, pointer, piece, i) for i in range(rows // piece.count)]
        return lambda r: splat_lane(builder, pieces[r // piece.count], r % piece.count, stored)

    def add_pieces_of_rows(pieces: ir.Value) -> None:
        with cgutils.for_range(builder, pieces) as loop:
            first = builder.mul(loop.index, ir.Constant(I64, piece.count))
            of_rows = [load(builder, builder.gep(row, [first]), piece, 0) for row in a_rows]
            for i in range(piece.count):

                def column(k: ir.Value, i: int = i) -> Callable[[int], ir.Value]:
                    return lambda r: splat_lane(builder, of_rows[r], i, stored)

                add_products(builder.add(first, ir.Constant(I64, i)), column)

    start_k = None
    if by_lane:
        done = cgutils.alloca_once_value(builder, ir.Constant(I64, 0))
        one = ir.Constant(I64, 1)
        with builder.if_else(builder.icmp_signed("==", a_row, one)) as (by_columns, otherwise):
            with by_columns:
                with cgutils.for_range(builder, count) as loop:
                    add_products(loop.index, whole_column)
                builder.store(count, done)
            with otherwise:
                if not listed:
                    with builder.if_then(builder.icmp_signed("==", a_k, one)):
                        pieces = builder.sdiv(count, ir.Constant(I64, piece.count))
                        add_pieces_of_rows(pieces)
                        builder.store(builder.mul(pieces, ir.Constant(I64, piece.count)), done)
        start_k = builder.load(done)
    with cgutils.for_range(builder, count, start_k) as loop:
        add_products(loop.index, one_by_one)

    totals = {place: builder.load(sums[place]) for place in tile}
    alphas, betas = splat(builder, alpha, vector), splat(builder, beta, vector)
    overwriting = builder.fcmp_ordered("==", beta, ir.Constant(element, 0.0))
    ways = {way: builder.append_basic_block() for way in (PLAIN, RECTIFIED, MASKED, SCALED)}
    switch = builder.switch(finish, ways[PLAIN])
    for way, block in ways.items():
        if way != PLAIN:
            switch.add_case(ir.Constant(I64, way), block)
    builder.position_at_end(ways[PLAIN])
    for r, v in tile:
        store(builder, totals[r, v], c_rows[r], v)
    builder.ret_void()
    builder.position_at_end(ways[RECTIFIED])
    for r, v in tile:
        below = builder.fcmp_ordered("<", totals[r, v], zero)  # NaN stays
        store(builder, builder.select(below, zero, totals[r, v]), c_rows[r], v)
    builder.ret_void()
    builder.position_at_end(ways[MASKED])
    for r, v in tile:
        other = load(builder, builder.gep(c_rows[r], [mask]), vector, v)
        above = builder.fcmp_ordered(">", other, zero)
        store(builder, builder.select(above, totals[r, v], zero), c_rows[r], v)
    builder.ret_void()
    builder.position_at_end(ways[SCALED])
    with builder.if_else(overwriting) as (then, otherwise):
        with then:  # what C held may be anything, NaN too
            for r, v in tile:
                store(builder, builder.fmul(alphas, totals[r, v]), c_rows[r], v)
        with otherwise:
            for r, v in tile:
                old = builder.fmul(betas, load(builder, c_rows[r], vector, v))
                value = multiply_add(builder, alphas, totals[r, v], old)
                store(builder, value, c_rows[r], v)
    builder.ret_void()
    return function


def tile_intrinsic(
    tiles: dict[int, tuple[int, ...]], listed: bool, factors: Factors = NUMBERS
) -> Any:
    """Make the intrinsic that multiplies tiles of some shapes."""

    @intrinsic
    def tile(typingctx, rows, across, a, b, c, terms, sums, ahead):
        """Multiply one register tile: sums over k of ``A[r, k] * B[k]``, written to C.

        The tile has ``rows`` rows and ``across`` vectors; a, b and c are each a `Matrix`: an
        address, and strides in elements. ``terms`` is an address and a count: k runs from 0 to the
        count, or if listed over so many indices at the address.

        ``sums`` is a `Sums`. They start `FROM_ZERO`, `FROM_C`, so that a long sum has the same bits
        however it is cut, or `FROM_BIASES` at the address ``biases``. ``finish`` says how C is
        written: `PLAIN`, `RECTIFIED`, `MASKED` by the matrix ``mask`` elements after C, or `SCALED`
        by alpha and beta. ``ahead`` is three offsets. If not listed, each k asks for a line: that
        of row k of B, the first offset later; or if that is 0 of ``A[0, 0]``, the second offset and
        k times the third later.
        """
        number = sums.types[-1]
        signature = types.void(types.intp, types.intp, a, b, c, terms, sums, ahead)

        def codegen(context, builder, signature, args):
            rows, across, *tuples = args
            (
                (a, a_row, a_k), (b, b_row, _), (c, c_row, _), (indices, count),
                (start, biases, finish, mask, alpha, beta), (b_ahead, a_ahead, a_ahead_k),
            ) = (
                cgutils.unpack_tuple(builder, value, kind.count)
                for value, kind in zip(tuples, signature.args[2:], strict=True)
            )  # fmt: skip
            element = IR_TYPES[number]
            source = factors.stored or element
            a, b, c, biases = (
                builder.inttoptr(address, kind.as_pointer())
                for address, kind in ((a, source), (b, source), (c, element), (biases, element))
            )

            def equal(x, constant):
                return builder.icmp_signed("==", x, ir.Constant(I64, constant))

            from_biases = equal(start, FROM_BIASES)
            start_pointer = builder.select(from_biases, biases, c)
            null = ir.Constant(start_pointer.type, None)
            start_pointer = builder.select(equal(start, FROM_ZERO), null, start_pointer)
            of_a = equal(b_ahead, 0)
            asked = builder.select(of_a, builder.gep(a, [a_ahead]), builder.gep(b, [b_ahead]))
            arguments = [
                a, a_row, a_k, b, b_row, c, c_row, builder.inttoptr(indices, I32.as_pointer()),
                count, start_pointer, builder.select(from_biases, ir.Constant(I64, 0), c_row),
                finish, mask, alpha, beta, asked, builder.select(of_a, a_ahead_k, b_row),
            ]  # fmt: skip
            end = builder.append_basic_block("end")
            shape = builder.add(builder.mul(rows, ir.Constant(I64, 16)), across)
            switch = builder.switch(shape, end)
            for tile_rows, widths in tiles.items():
                for vectors in widths:
                    case = builder.append_basic_block(f"tile_{tile_rows}x{vectors}")
                    switch.add_case(ir.Constant(I64, 16 * tile_rows + vectors), case)
                    builder.position_at_end(case)
                    by_lane = MACHINE.by_lane and tile_rows == GROUP
                    function = tile_function(
                        builder.module, element, tile_rows, vectors, listed, by_lane, factors
                    )
                    builder.call(function, arguments)
                    builder.branch(end)
            builder.position_at_end(end)
            return context.get_dummy_value()

        return signature, codegen

    return tile


tile = tile_intrinsic(TILES, listed=False)
# The fewer rows, the more zeros they have in common; neighbouring columns have more.
pair_tile = tile_intrinsic({rows: TILES[rows] for rows in (2, 1)}, listed=True)
row_tile = tile_intrinsic({1: ROW_TILES}, listed=True)
# Where no input is left out; a list would be one more thing to read.
dense_row_tile = tile_intrinsic({1: (max(ROW_TILES),)}, listed=False)
group_tile = tile_intrinsic({GROUP: TILES[GROUP]}, listed=True)
