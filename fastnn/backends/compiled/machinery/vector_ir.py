"""Explicit vector instructions, emitted as LLVM IR through Numba's ``intrinsic``.

LLVM's auto-vectoriser does not find register tiles; here they are written out. Everything works on
numbers of one dtype, float32 or float64, at addresses; offsets are in elements. There are no bounds
checks. All that is written in LLVM's terms is here, and nothing else: that is why this module is
longer than the others, which need not be read with LLVM in mind.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from llvmlite import ir
from llvmlite.binding import llvm_version_info
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
    architecture: str  # "x86_64", "aarch64" for all of ARM64, or what else LLVM calls it
    bf16: bool = False  # AVX-512 BF16: products of pairs in bfloat16, in vectors of 512 bits
    amx: bool = False  # tiles in bfloat16, which a process of Linux may ask for

    @property
    def x86(self) -> bool:
        """Whether there are x86's instructions, as on no machine of 32 bits."""
        return self.architecture == "x86_64"


def _machine() -> Machine:
    """Read the machine from the features that Numba compiles for, and ``FASTNN_VECTOR_BITS``."""
    triple, _, features = cpu_target.target_context.codegen().magic_tuple()
    has = {name[1:] for name in features.split(",") if name.startswith("+")}
    architecture = triple.partition("-")[0].replace("arm64", "aarch64")
    arm = architecture.startswith("aarch64")
    bits = 512 if "avx512f" in has else 256 if "avx" in has else 128
    asked = os.environ.get("FASTNN_VECTOR_BITS", "")
    if asked:
        if asked not in ("128", "256", "512"):
            raise ValueError(f"FASTNN_VECTOR_BITS must be 128, 256 or 512, got {asked!r}")
        bits = int(asked)
    registers = 32 if arm or "avx512vl" in has else 16
    # Before LLVM 16 the instructions had other types.
    bf16 = {"avx512bf16", "avx512vl"} <= has and bits == 512 and llvm_version_info >= (16, 0, 0)
    amx = "amx-bf16" in has and sys.platform == "linux"
    return Machine(bits, registers, arm or "fma" in has, architecture, bf16, amx)


MACHINE = _machine()


def tiles_of(machine: Machine) -> dict[int, tuple[int, ...]]:
    """Return the register tiles: how many vectors across there are for so many rows.

    The most rows come first; the others are for the rows left over. On x86, 8 x 3 keeps 24 sums, 3
    loaded vectors and a broadcast in 32 registers and reaches 0.97 of the peak from the first-level
    cache; 4 x 3 is its like for 16. NEON has no multiply-add that reads a number from memory and
    broadcasts it, each takes a load and a register of its own. 4 x 6 has half as many of them for
    as many sums, and loads its 6 vectors in pairs.
    """
    if machine.registers == 16:
        return {4: (1, 2, 3), 2: (1, 4), 1: (1, 4, 8)}
    if machine.x86:
        return {8: (1, 2, 3), 4: (1, 3, 6), 2: (1, 4, 8), 1: (1, 4, 8)}
    return {4: (1, 2, 3, 4, 6), 2: (1, 4, 8), 1: (1, 4, 8)}


TILES = tiles_of(MACHINE)
# Vectors across of a row on its own. What one tile does in a pass takes others several.
ROW_TILES = (1, 2, 3, 4, 8)
GROUP = max(TILES)
PANEL = max(TILES[GROUP])
# Bytes of a cache line, of which rows of weights are whole ones. What goes through them line by
# line gives the same bits on any machine.
LINE_BYTES = 64


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
    return _bits(vector.element) // 8


def _multiply_add(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
    """Return ``a * b + c``, rounded once where the machine can."""
    if not MACHINE.fma:
        return builder.fadd(builder.fmul(a, b), c)
    kind = f"v{a.type.count}f{8 * _itemsize(a.type)}"
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(a.type, [a.type] * 3), f"llvm.fma.{kind}"
    )
    return builder.call(function, [a, b, c])


def _prefetch(builder: ir.IRBuilder, pointer: ir.Value, to_write: bool = False) -> None:
    """Ask for the cache line behind a pointer: to the second level, or to write to the first."""
    function = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(ir.VoidType(), [I8.as_pointer(), I32, I32, I32]),
        "llvm.prefetch.p0" if _opaque_pointers() else "llvm.prefetch.p0i8",
    )
    write, locality, data = (ir.Constant(I32, value) for value in (int(to_write), 2 + to_write, 1))
    builder.call(function, [builder.bitcast(pointer, I8.as_pointer()), write, locality, data])


# Where a tile's sums start: at zero, from what C holds, or from a row of biases.
FROM_ZERO, FROM_C, FROM_BIASES = range(3)
# What becomes of them: C = sums; C = max(sums, 0); C = sums where another matrix is above 0, else
# 0; C = alpha * sums + beta * C.
PLAIN, RECTIFIED, MASKED, SCALED = range(4)


class Factors(NamedTuple):
    """What the matrices of a product hold, and how they are multiplied."""

    stored: ir.Type | None = None  # in memory; None for numbers as the sums are
    # From a vector of them, what the multiply-add takes.
    ready: Callable[[ir.IRBuilder, ir.Value], Any] = lambda builder, vector: vector
    multiply_add: Callable[[ir.IRBuilder, Any, Any, ir.Value], ir.Value] = _multiply_add


NUMBERS = Factors()


def _tile_function(
    module: ir.Module, element: ir.Type, rows: int, vectors: int, listed: bool, factors: Factors
) -> ir.Function:
    """Emit the product for one tile of that many rows and vectors; see `tile`.

    The sums over k stay in registers. Each is one chain of multiply-adds in the order of k, so an
    element of C has the same bits whichever tile computes it.
    """
    vector = ir.VectorType(element, lanes(_bits(element) // 8))
    factor = ir.VectorType(factors.stored or element, vector.count)
    pointer, source = element.as_pointer(), factor.element.as_pointer()
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
    if rows > 2:
        for c_pointer in c_rows:
            for v in range(vectors):
                line = builder.gep(c_pointer, [ir.Constant(I64, v * vector.count)])
                _prefetch(builder, line, to_write=True)
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
                builder.store(_load(builder, start_rows[r], vector, v), sums[r, v])

    with cgutils.for_range(builder, count) as loop:
        k = loop.index
        if listed:
            k = builder.sext(builder.load(builder.gep(indices, [k])), I64)
        else:
            _prefetch(builder, builder.gep(ahead, [builder.mul(k, ahead_k)]))
        b_pointer = builder.gep(b, [builder.mul(k, b_row)])
        b_vectors = [
            factors.ready(builder, _load(builder, b_pointer, factor, v)) for v in range(vectors)
        ]
        a_offset = builder.mul(k, a_k)
        for r in range(rows):
            number = builder.load(builder.gep(a_rows[r], [a_offset]))
            scalar = factors.ready(builder, _splat(builder, number, factor))
            for v in range(vectors):
                total = builder.load(sums[r, v])
                total = factors.multiply_add(builder, scalar, b_vectors[v], total)
                builder.store(total, sums[r, v])

    totals = {place: builder.load(sums[place]) for place in tile}
    alphas, betas = _splat(builder, alpha, vector), _splat(builder, beta, vector)
    overwriting = builder.fcmp_ordered("==", beta, ir.Constant(element, 0.0))
    ways = {way: builder.append_basic_block() for way in (PLAIN, RECTIFIED, MASKED, SCALED)}
    switch = builder.switch(finish, ways[PLAIN])
    for way, block in ways.items():
        if way != PLAIN:
            switch.add_case(ir.Constant(I64, way), block)
    builder.position_at_end(ways[PLAIN])
    for r, v in tile:
        _store(builder, totals[r, v], c_rows[r], v)
    builder.ret_void()
    builder.position_at_end(ways[RECTIFIED])
    for r, v in tile:
        below = builder.fcmp_ordered("<", totals[r, v], zero)  # NaN stays
        _store(builder, builder.select(below, zero, totals[r, v]), c_rows[r], v)
    builder.ret_void()
    builder.position_at_end(ways[MASKED])
    for r, v in tile:
        other = _load(builder, builder.gep(c_rows[r], [mask]), vector, v)
        above = builder.fcmp_ordered(">", other, zero)
        _store(builder, builder.select(above, totals[r, v], zero), c_rows[r], v)
    builder.ret_void()
    builder.position_at_end(ways[SCALED])
    with builder.if_else(overwriting) as (then, otherwise):
        with then:  # what C held may be anything, NaN too
            for r, v in tile:
                _store(builder, builder.fmul(alphas, totals[r, v]), c_rows[r], v)
        with otherwise:
            for r, v in tile:
                old = builder.fmul(betas, _load(builder, c_rows[r], vector, v))
                value = _multiply_add(builder, alphas, totals[r, v], old)
                _store(builder, value, c_rows[r], v)
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
                    function = _tile_function(
                        builder.module, element, tile_rows, vectors, listed, factors
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


# What `move_rows` does with rows of weights: nothing, or a step of the optimizer of that code.
STILL, PLAIN_STEP, MOMENTUM_STEP, RMSPROP_STEP, ADAM_STEP = range(-1, 4)


class Step(NamedTuple):
    """The numbers of a step of a single row; see `move_rows`."""

    factor: float  # on the gradient
    kept: float  # what remains of the weights before the step
    rate: float
    look_ahead: float
    first_memory: float
    second_memory: float
    correction: float
    epsilon: float
    l1: float
    l2: float
    limit: float  # of each number of the gradient


def _rows_function(module: ir.Module, element: ir.Type, way: int) -> ir.Function:
    """Emit one way of changing some rows of weights by a single row; see `move_rows`."""
    line = ir.VectorType(element, LINE_BYTES // (4 if element == ir.FloatType() else 8))
    pointer, bit = element.as_pointer(), ir.IntType(1)
    step_types = [element] * len(Step._fields)
    function = ir.Function(
        module,
        ir.FunctionType(
            ir.VoidType(),
            [*[pointer] * 6, I32.as_pointer(), I64, I64, I64, bit, bit, *step_types],
        ),
        module.get_unique_name(f"fastnn_rows_{way + 1}"),
    )
    function.linkage = "internal"
    function.attributes.add("noinline")
    *vectors, a, d, below, indices, count, stride, lines, back, shaping = function.args[:12]
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    scalars = Step(*function.args[12:])
    step = Step(*(_splat(builder, number, line) for number in scalars))
    zero = ir.Constant(line, [0.0] * line.count)
    minus_rate = builder.fneg(step.rate)
    total, gradient = builder.alloca(line), builder.alloca(line)  # which become registers

    def row_of(place: ir.Value) -> tuple[ir.Value, ir.Value, ir.Value]:
        """Return the input's number, where its row begins, and the factor of its gradient."""
        # The last ones first: they are those that the way forward left in the nearest cache.
        last_first = builder.sub(builder.sub(count, ir.Constant(I64, 1)), place)
        k = builder.sext(builder.load(builder.gep(indices, [last_first])), I64)
        factor = builder.fmul(scalars.factor, builder.load(builder.gep(a, [k])))
        return k, builder.mul(k, stride), _splat(builder, factor, line)

    short = builder.icmp_signed("==", lines, ir.Constant(I64, 1))
    if way == PLAIN_STEP:  # keeps the deltas in registers: 1.1 times as fast for images
        done = builder.alloca(I64)
        builder.store(ir.Constant(I64, 0), done)
        with builder.if_then(builder.not_(shaping)):
            for width in (8, 4, 1):
                left = builder.sub(lines, builder.load(done))
                tiles = builder.sdiv(left, ir.Constant(I64, width))
                with cgutils.for_range(builder, tiles):
                    column = builder.mul(builder.load(done), ir.Constant(I64, line.count))
                    d_here, w_here = (builder.gep(each, [column]) for each in (d, vectors[0]))
                    deltas = [_load(builder, d_here, line, i) for i in range(width)]
                    first = builder.icmp_signed("==", column, ir.Constant(I64, 0))
                    with cgutils.for_range(builder, count) as loop:
                        k, row, factor = row_of(loop.index)
                        moved = builder.fmul(minus_rate, factor)
                        w_row = builder.gep(w_here, [row])
                        with builder.if_then(back):
                            sums = ir.Constant(line, [0.0] * line.count)
                            for i, delta in enumerate(deltas):
                                old = _load(builder, w_row, line, i)
                                sums = _multiply_add(builder, old, delta, sums)
                            place = builder.gep(below, [k])
                            nothing = ir.Constant(element, 0.0)
                            before = builder.select(first, nothing, builder.load(place))
                            across = _across_lanes(builder, sums, _add)
                            builder.store(builder.fadd(before, across), place)
                        for i, delta in enumerate(deltas):
                            kept = builder.fmul(step.kept, _load(builder, w_row, line, i))
                            _store(builder, _multiply_add(builder, moved, delta, kept), w_row, i)
                    taken = builder.add(builder.load(done), ir.Constant(I64, width))
                    builder.store(taken, done)
            builder.ret_void()
            builder.position_at_end(builder.append_basic_block("never"))

    with cgutils.for_range(builder, count) as loop:
        k, row, factor = row_of(loop.index)
        builder.store(zero, total)

        def change_line(column: ir.Value) -> None:
            here = builder.add(row, column)
            w, first, second = (builder.gep(vector, [here]) for vector in vectors)
            old = _load(builder, w, line, 0)
            delta = _load(builder, builder.gep(d, [column]), line, 0)
            with builder.if_then(back):
                builder.store(_multiply_add(builder, old, delta, builder.load(total)), total)
            if way == STILL:
                return
            g = builder.fmul(factor, delta)
            builder.store(g, gradient)
            with builder.if_then(shaping):
                builder.store(_shaped(builder, g, old, step), gradient)
            if way == PLAIN_STEP:
                change = builder.fmul(step.rate, builder.load(gradient))
            else:
                change = _change(builder, way, builder.load(gradient), first, second, step)
            new = _multiply_add(builder, step.kept, old, builder.fneg(change))
            _store(builder, new, w, 0)

        # Most rows of few columns are one line: a loop around it would take half of the time.
        with builder.if_else(short) as (one, more):
            with one:
                change_line(ir.Constant(I64, 0))
            with more, cgutils.for_range(builder, lines) as inner:
                change_line(builder.mul(inner.index, ir.Constant(I64, line.count)))
        with builder.if_then(back):
            across = _across_lanes(builder, builder.load(total), _add)
            builder.store(across, builder.gep(below, [k]))
    builder.ret_void()
    return function


def _shaped(builder: ir.IRBuilder, g: ir.Value, w: ir.Value, step: Step) -> ir.Value:
    """Return a gradient with the penalties of the weights added, and limited."""
    zero = ir.Constant(g.type, [0.0] * g.type.count)
    g = _multiply_add(builder, step.l2, w, g)
    sign = builder.select(builder.fcmp_ordered("<", w, zero), builder.fneg(step.l1), w)
    sign = builder.select(builder.fcmp_ordered(">", w, zero), step.l1, sign)
    penalised = builder.fcmp_ordered(">", step.l1, zero)
    g = builder.select(penalised, builder.fadd(g, sign), g)
    least = builder.fneg(step.limit)
    limited = builder.select(builder.fcmp_ordered("<", g, least), least, g)  # NaN stays
    return builder.select(builder.fcmp_ordered(">", g, step.limit), step.limit, limited)


def _change(
    builder: ir.IRBuilder, way: int, g: ir.Value, first: ir.Value, second: ir.Value, step: Step
) -> ir.Value:
    """Return what an optimizer takes off weights, and change its slots; see `optimizers`."""
    vector = g.type
    one = ir.Constant(vector, [1.0] * vector.count)

    def mean(place: ir.Value, memory: ir.Value, value: ir.Value) -> ir.Value:
        """Update a slot that is a running mean, or with a value that is not scaled a sum."""
        slot = _multiply_add(builder, memory, _load(builder, place, vector, 0), value)
        _store(builder, slot, place, 0)
        return slot

    def root(x: ir.Value) -> ir.Value:
        name = f"llvm.sqrt.v{vector.count}f{8 * _itemsize(vector)}"
        kind = ir.FunctionType(vector, [vector])
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [x])

    if way == MOMENTUM_STEP:
        velocity = mean(first, step.first_memory, g)
        return _multiply_add(builder, step.rate, velocity, builder.fmul(step.look_ahead, g))
    last = step.first_memory if way == RMSPROP_STEP else step.second_memory
    square = builder.fmul(builder.fmul(builder.fsub(one, last), g), g)
    if way == RMSPROP_STEP:
        size = builder.fadd(root(mean(first, last, square)), step.epsilon)
        return builder.fdiv(builder.fmul(step.rate, g), size)
    fresh = builder.fmul(builder.fsub(one, step.first_memory), g)
    means = mean(first, step.first_memory, fresh)
    squares = root(mean(second, last, square))
    size = _multiply_add(builder, squares, step.correction, step.epsilon)
    return builder.fdiv(builder.fmul(step.rate, means), size)


@intrinsic
def move_rows(typingctx, way, places, terms, stride, columns, passing_back, shaping, step):
    """Change rows of weights by a single row, whose gradient is an outer product.

    ``places`` are the addresses of the weights W, the optimizer's first and second slot, the inputs
    a, the deltas d and the deltas of the inputs; rows of W and the slots are ``stride`` elements
    apart and have ``columns``, which are rounded up to whole cache lines. For each k of the indices
    that ``terms``, an address and a count, lists, the gradient ``factor * a[k] * d`` moves W[k] in
    the ``way`` of an optimizer, or not at all; ``step`` is a `Step`. If ``shaping``, penalties are
    added to the gradient first, and its numbers are limited. If ``passing_back``, the delta of
    input k becomes the sum of ``W[k] * d``, with W as it was: a sum of as many lanes on any
    machine.
    """
    signature = types.void(
        types.intp, places, terms, types.intp, types.intp, types.boolean, types.boolean, step
    )

    def codegen(context, builder, signature, args):
        way, places, terms, stride, columns, passing_back, shaping, step = args
        element = IR_TYPES[signature.args[-1].types[0]]
        addresses = [
            builder.inttoptr(address, element.as_pointer())
            for address in cgutils.unpack_tuple(builder, places, 6)
        ]
        indices, count = cgutils.unpack_tuple(builder, terms, 2)
        in_line = LINE_BYTES // (_bits(element) // 8)
        lines = builder.sdiv(
            builder.add(columns, ir.Constant(I64, in_line - 1)), ir.Constant(I64, in_line)
        )

        def bit(boolean):
            return boolean if boolean.type.width == 1 else builder.trunc(boolean, ir.IntType(1))

        arguments = [
            *addresses, builder.inttoptr(indices, I32.as_pointer()), count, stride, lines,
            bit(passing_back), bit(shaping),
            *cgutils.unpack_tuple(builder, step, len(Step._fields)),
        ]  # fmt: skip
        end = builder.append_basic_block("end")
        switch = builder.switch(way, end)
        for each in (STILL, PLAIN_STEP, MOMENTUM_STEP, RMSPROP_STEP, ADAM_STEP):
            case = builder.append_basic_block(f"rows_{each + 1}")
            switch.add_case(ir.Constant(I64, each), case)
            builder.position_at_end(case)
            builder.call(_rows_function(builder.module, element, each), arguments)
            builder.branch(end)
        builder.position_at_end(end)
        return context.get_dummy_value()

    return signature, codegen


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
            total = cgutils.alloca_once_value(builder, _load(builder, data, vector, 0))
            one = ir.Constant(I64, 1)
            with cgutils.for_range_slice(builder, one, groups, one) as (group, _):
                pointer = builder.gep(data, [builder.mul(group, ir.Constant(I64, REDUCED))])
                value = _load(builder, pointer, vector, 0)
                builder.store(combine(builder, builder.load(total), value), total)
            return _across_lanes(builder, builder.load(total), combine)

        return a.dtype(a, types.intp, types.intp), codegen

    return reduction


def _across_lanes(
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


def _add(builder: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    return builder.fadd(x, y)


def _larger(builder: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    return builder.select(builder.fcmp_ordered(">", y, x), y, x)


sum_of_groups, largest_of_groups = _reduction(_add), _reduction(_larger)


@intrinsic
def finite_groups(typingctx, a, a0, groups):
    """Tell whether all of ``a[a0 : a0 + REDUCED * groups]`` are neither infinite nor NaN."""

    def codegen(context, builder, signature, args):
        a, a0, groups = args
        a_type = signature.args[0]
        element = IR_TYPES[a_type.dtype]
        integers = ir.VectorType(_int_type(element), REDUCED)
        infinity = (1 << 31) - (1 << 23) if element == ir.FloatType() else (1 << 63) - (1 << 52)
        exponent = ir.Constant(integers, [infinity] * REDUCED)
        data = builder.gep(context.make_array(a_type)(context, builder, a).data, [a0])
        largest = cgutils.alloca_once_value(builder, ir.Constant(integers, [0] * REDUCED))
        with cgutils.for_range(builder, groups) as loop:
            pointer = builder.gep(data, [builder.mul(loop.index, ir.Constant(I64, REDUCED))])
            value = _load(builder, pointer, ir.VectorType(element, REDUCED), 0)
            bits = builder.and_(builder.bitcast(value, integers), exponent)
            before = builder.load(largest)
            above = builder.icmp_unsigned(">", bits, before)
            builder.store(builder.select(above, bits, before), largest)
        bad = builder.icmp_unsigned("==", builder.load(largest), exponent)
        flags = builder.bitcast(bad, ir.IntType(REDUCED))
        return builder.icmp_unsigned("==", flags, ir.Constant(flags.type, 0))

    return types.boolean(a, types.intp, types.intp), codegen


@intrinsic
def list_nonzero(typingctx, a, a_row, rows, first, indices, like):
    """Append to some indices the columns of one vector's width where any row is not zero.

    ``a`` is the address of the first row, ``indices`` that to write to; there are ``rows`` rows, 1
    or 2, which are ``a_row`` elements apart and hold numbers as ``like``; ``first`` is the index of
    their first column. Returns how many there are.
    """
    index = types.intp
    signature = index(index, index, index, index, index, like)

    def codegen(context, builder, signature, args):
        a, a_row, rows, first, indices, _ = args
        element = IR_TYPES[signature.args[-1]]
        vector = ir.VectorType(element, lanes(_bits(element) // 8))
        integers = ir.VectorType(I32, vector.count)
        data = builder.inttoptr(a, element.as_pointer())
        zero = ir.Constant(vector, [0.0] * vector.count)
        # With one row, the second is the first again.
        other = builder.mul(a_row, builder.sub(rows, ir.Constant(I64, 1)))
        masks = [
            builder.fcmp_unordered(
                "!=", _load(builder, builder.gep(data, [offset]), vector, 0), zero
            )
            for offset in (ir.Constant(I64, 0), other)
        ]
        mask = builder.or_(*masks)
        start = _splat(builder, builder.trunc(first, I32), integers)
        columns = builder.add(start, ir.Constant(integers, list(range(vector.count))))
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
        values = _load(builder, builder.inttoptr(args[0], element.as_pointer()), vector, 0)
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
        element = IR_TYPES[signature.args[-1]]
        vector = ir.VectorType(element, lanes(_bits(element) // 8))
        n = vector.count

        def row(address, stride, r):
            data = builder.inttoptr(address, element.as_pointer())
            return builder.gep(data, [builder.mul(stride, ir.Constant(I64, r))])

        block = [_load(builder, row(source, source_row, r), vector, 0) for r in range(n)]
        block = transposed(builder, block)
        for r in range(n):
            _store(builder, block[r], row(target, target_row, r), 0)
        return context.get_dummy_value()

    return signature, codegen


# Bits of x86's control register for vectors: results, and operands, below the smallest normal
# number count as zero.
FLUSH = 0x8000 | 0x0040


def _control(builder: ir.IRBuilder, name: str, slot: ir.Value) -> None:
    """Store the control register of this thread's vector unit in a slot, or load it from there."""
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(ir.VoidType(), [I8.as_pointer()]), f"llvm.x86.sse.{name}"
    )
    builder.call(function, [builder.bitcast(slot, I8.as_pointer())])


@intrinsic
def flush_denormals(typingctx):
    """Let numbers below the smallest normal one count as zero; return what to restore.

    An instruction that meets one takes more than a hundred cycles on some machines: with saturated
    sigmoids a step was seven times slower. Only x86 is told; others hardly mind.
    """

    def codegen(context, builder, signature, args):
        if not MACHINE.x86:
            return ir.Constant(I32, 0)
        slot = cgutils.alloca_once(builder, I32)
        _control(builder, "stmxcsr", slot)
        before = builder.load(slot)
        builder.store(builder.or_(before, ir.Constant(I32, FLUSH)), slot)
        _control(builder, "ldmxcsr", slot)
        return before

    return types.int32(), codegen


@intrinsic
def restore_denormals(typingctx, before):
    """Undo `flush_denormals`, given what it returned."""

    def codegen(context, builder, signature, args):
        if MACHINE.x86:
            slot = cgutils.alloca_once(builder, I32)
            builder.store(args[0], slot)
            _control(builder, "ldmxcsr", slot)
        return context.get_dummy_value()

    return types.void(types.int32), codegen


@intrinsic
def prefetch(typingctx, address):
    """Ask for the cache line at an address to be brought near; never faults."""

    def codegen(context, builder, signature, args):
        _prefetch(builder, builder.inttoptr(args[0], I8.as_pointer()))
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


@intrinsic
def itemsize_of(typingctx, like):
    """Return the bytes of a number of that type, a constant."""

    def codegen(context, builder, signature, args):
        return ir.Constant(I64, _bits(IR_TYPES[signature.args[0]]) // 8)

    return types.intp(like), codegen


def _bits(element: ir.Type) -> int:
    return 32 if element in (ir.FloatType(), I32) else 64


def _int_type(element: ir.Type) -> ir.IntType:
    return I32 if element == ir.FloatType() else I64


@intrinsic
def scale_by_power(typingctx, x, shifted):
    """Return ``x * 2**n``, where ``shifted`` is ``1.5 * 2**p + n`` and p its mantissa's bits.

    The low bits of ``shifted`` are n. The power is applied in two factors, so that results below
    the smallest normal number are rounded once and those above the largest become infinity. Both
    may be lines.
    """

    def codegen(context, builder, signature, args):
        x, shifted = args
        number = x.type if isinstance(x.type, ir.VectorType) else None
        element = number.element if number else x.type
        integer = _int_type(element)
        mantissa, bias = (23, 127) if integer is I32 else (52, 1023)
        integers = ir.VectorType(integer, number.count) if number else integer

        def constant(value: int) -> ir.Constant:
            return ir.Constant(integers, [value] * number.count if number else value)

        spare = constant(integer.width - mantissa + 1)
        low_bits = builder.shl(builder.bitcast(shifted, integers), spare)
        n = builder.ashr(low_bits, spare)
        half = builder.ashr(n, constant(1))
        for power in (half, builder.sub(n, half)):
            bits = builder.shl(builder.add(power, constant(bias)), constant(mantissa))
            x = builder.fmul(x, builder.bitcast(bits, x.type))
        return x

    return x(x, shifted), codegen
