"""Steps of a single row: rows of weights that an optimizer moves by an outer product."""

from __future__ import annotations

from typing import NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastnn.backends.compiled.machinery.vector_ir import (
    I32,
    I64,
    IR_TYPES,
    across_lanes,
    add,
    bits_of,
    itemsize,
    load,
    multiply_add,
    splat,
    store,
)

# Bytes of a cache line, of which rows of weights are whole ones. What goes through them line by
# line gives the same bits on any machine.
LINE_BYTES = 64

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
    step = Step(*(splat(builder, number, line) for number in scalars))
    zero = ir.Constant(line, [0.0] * line.count)
    minus_rate = builder.fneg(step.rate)
    total, gradient = builder.alloca(line), builder.alloca(line)  # which become registers

    def row_of(place: ir.Value) -> tuple[ir.Value, ir.Value, ir.Value]:
        """Return the input's number, where its row begins, and the factor of its gradient."""
        # The last ones first: they are those that the way forward left in the nearest cache.
        last_first = builder.sub(builder.sub(count, ir.Constant(I64, 1)), place)
        k = builder.sext(builder.load(builder.gep(indices, [last_first])), I64)
        factor = builder.fmul(scalars.factor, builder.load(builder.gep(a, [k])))
        return k, builder.mul(k, stride), splat(builder, factor, line)

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
                    deltas = [load(builder, d_here, line, i) for i in range(width)]
                    first = builder.icmp_signed("==", column, ir.Constant(I64, 0))
                    with cgutils.for_range(builder, count) as loop:
                        k, row, factor = row_of(loop.index)
                        moved = builder.fmul(minus_rate, factor)
                        w_row = builder.gep(w_here, [row])
                        with builder.if_then(back):
                            sums = ir.Constant(line, [0.0] * line.count)
                            for i, delta in enumerate(deltas):
                                old = load(builder, w_row, line, i)
                                sums = multiply_add(builder, old, delta, sums)
                            place = builder.gep(below, [k])
                            nothing = ir.Constant(element, 0.0)
                            before = builder.select(first, nothing, builder.load(place))
                            across = across_lanes(builder, sums, add)
                            builder.store(builder.fadd(before, across), place)
                        for i, delta in enumerate(deltas):
                            kept = builder.fmul(step.kept, load(builder, w_row, line, i))
                            store(builder, multiply_add(builder, moved, delta, kept), w_row, i)
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
            old = load(builder, w, line, 0)
            delta = load(builder, builder.gep(d, [column]), line, 0)
            with builder.if_then(back):
                builder.store(multiply_add(builder, old, delta, builder.load(total)), total)
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
            new = multiply_add(builder, step.kept, old, builder.fneg(change))
            store(builder, new, w, 0)

        # Most rows of few columns are one line: a loop around it would take half of the time.
        with builder.if_else(short) as (one, more):
            with one:
                change_line(ir.Constant(I64, 0))
            with more, cgutils.for_range(builder, lines) as inner:
                change_line(builder.mul(inner.index, ir.Constant(I64, line.count)))
        with builder.if_then(back):
            across = across_lanes(builder, builder.load(total), add)
            builder.store(across, builder.gep(below, [k]))
    builder.ret_void()
    return function


def _shaped(builder: ir.IRBuilder, g: ir.Value, w: ir.Value, step: Step) -> ir.Value:
    """Return a gradient with the penalties of the weights added, and limited."""
    zero = ir.Constant(g.type, [0.0] * g.type.count)
    g = multiply_add(builder, step.l2, w, g)
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
        slot = multiply_add(builder, memory, load(builder, place, vector, 0), value)
        store(builder, slot, place, 0)
        return slot

    def root(x: ir.Value) -> ir.Value:
        name = f"llvm.sqrt.v{vector.count}f{8 * itemsize(vector)}"
        kind = ir.FunctionType(vector, [vector])
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [x])

    if way == MOMENTUM_STEP:
        velocity = mean(first, step.first_memory, g)
        return multiply_add(builder, step.rate, velocity, builder.fmul(step.look_ahead, g))
    last = step.first_memory if way == RMSPROP_STEP else step.second_memory
    square = builder.fmul(builder.fmul(builder.fsub(one, last), g), g)
    if way == RMSPROP_STEP:
        size = builder.fadd(root(mean(first, last, square)), step.epsilon)
        return builder.fdiv(builder.fmul(step.rate, g), size)
    fresh = builder.fmul(builder.fsub(one, step.first_memory), g)
    means = mean(first, step.first_memory, fresh)
    squares = root(mean(second, last, square))
    size = multiply_add(builder, squares, step.correction, step.epsilon)
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
        in_line = LINE_BYTES // (bits_of(element) // 8)
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
