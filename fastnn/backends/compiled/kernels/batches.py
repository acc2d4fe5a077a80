"""The kernel that is called from Python: many batches in one call."""

from __future__ import annotations

import math

from numba import carray, int64, prange, types

from fastnn.backends.compiled.kernels.further import call_further
from fastnn.backends.compiled.kernels.layers import (
    LINE,
    backward,
    check_inputs,
    forward,
    gather_inputs,
)
from fastnn.backends.compiled.kernels.one_row import call_one_row
from fastnn.backends.compiled.kernels.outputs import call_finish
from fastnn.backends.compiled.kernels.products import (
    GRADIENT_ROWS,
    GROUP,
    call_product,
    product_of_sparse_transposed,
)
from fastnn.backends.compiled.kernels.table import (
    ADDRESS,
    ALPHA,
    BACKWARD,
    BETA,
    BIAS_BETA,
    BIASES,
    CHECK,
    COPY,
    DELTA,
    FAN_IN,
    FAN_OUT,
    FINISH,
    FINISHING,
    FORWARD,
    FURTHER,
    GATHERING,
    IN_PLACE,
    INPUT,
    INPUT_STRIDE,
    LAYER,
    LIMITING,
    MEASURING,
    MOVE,
    ONE_ROW,
    OPERATION,
    OUTPUT,
    PHASE,
    PRODUCT,
    ROW_BYTES,
    ROWS,
    SMOOTHING,
    SPLIT,
    STEPPING,
    STRIDE,
    UNITS,
    UPDATING,
    WEIGHTS,
)
from fastnn.backends.compiled.kernels.update import MEASURED_ROWS, call_move
from fastnn.backends.compiled.machinery.jit import serial, unit
from fastnn.backends.compiled.machinery.vector_ir import (
    FROM_ZERO,
    SCALED,
    flush_denormals,
    pointer_to,
    restore_denormals,
)


@serial
def _share(total, group, thread, threads):
    """Return the first of the things, in groups, that a thread takes; the next one's is the end."""
    groups = (total + group - 1) // group
    return min(total, groups * thread // threads * group)


def _phase_types(number):
    index, integers, vector = types.int64, types.int64[::1], number[::1]
    reals = types.float64[::1]
    return (
        integers, types.int64[:, ::1], types.int64[:, ::1], index, index, index, vector, vector,
        index, vector, vector, vector, integers, vector, integers, vector, integers, index, index,
        index, index, types.uint32[::1], index, vector, types.int32[::1], reals, reals, vector,
        vector, vector,
    )  # fmt: skip


@unit(_phase_types)
def phase(
    functions, layers, operations, begin, end, loss, parameters, result, optimizer, slot, second,
    work, source, scaler, target, weights, order, first, count, thread, threads, keys, rows_keyed,
    pack, lists, losses, squares, out, ones, numbers,
):  # fmt: skip
    """Do a thread's share of some operations for the batch of ``count`` rows at order[first].

    The rows' keys for dropout are ``keys[l * rows_keyed + first + r]`` for the inputs of layer l.
    """
    # `run` has done it for its own thread; each time takes as long as dozens of additions.
    before = flush_denormals() if threads > 1 else 0
    itemsize = work.itemsize
    for o in range(begin, end):
        what, l, split = operations[o, OPERATION], operations[o, LAYER], operations[o, SPLIT]
        fan_in, fan_out, stride = layers[l, FAN_IN], layers[l, FAN_OUT], layers[l, STRIDE]
        a, a_stride = work, layers[l, INPUT_STRIDE]
        inputs = layers[l, INPUT] + thread * layers[l, COPY]
        ahead = 0
        if l == 0 and operations[0, OPERATION] == IN_PLACE:
            a_stride = source[ROW_BYTES] // itemsize
            address = source[ADDRESS] + first * source[ROW_BYTES]
            a, inputs = carray(pointer_to(address, parameters.dtype.type(0)), count * a_stride), 0
            ahead = count * a_stride
        rows = fan_in if UPDATING <= what <= LIMITING else count
        units = fan_in if what == BACKWARD else fan_out
        group = MEASURED_ROWS if what == MEASURING else GROUP
        start, stop, left, right = 0, rows, 0, units
        if split == ROWS:
            start = _share(rows, group, thread, threads)
            stop = _share(rows, group, thread + 1, threads)
        elif split == UNITS:
            left = _share(units, LINE // itemsize, thread, threads)
            right = _share(units, LINE // itemsize, thread + 1, threads)
        if start == stop or left == right:  # fewer of them than threads
            continue
        if what == GATHERING:
            gather_inputs(
                functions, layers, work, source, target, order, first, start, stop, inputs
            )
        elif what == CHECK:
            check_inputs(a, inputs, a_stride, fan_in, start, stop, losses)
        elif what == FORWARD:
            forward(
                functions, layers, l, parameters, a, inputs, a_stride, work, start, stop, left,
                right, lists, ahead, keys, (l + 1) * rows_keyed + first,
            )  # fmt: skip
        elif what == FINISH:
            arguments = (
                functions, layers, loss, numbers[SMOOTHING], work, target, weights, order, first,
                start, stop, losses,
            )  # fmt: skip
            call_finish(functions[FINISHING], arguments)
            if len(out) > 0:
                for r in range(start, stop):
                    there, here = (first + r) * fan_out, layers[l, OUTPUT] + r * stride
                    for j in range(fan_out):
                        out[there + j] = work[here + j]
        elif what == BACKWARD:
            backward(functions, layers, l, parameters, work, inputs, start, stop, left, right, pack)
        elif what in (UPDATING, STEPPING):
            _update(
                functions, layers, l, work, inputs, parameters, result, optimizer, slot, second,
                start, stop, left, right, count, lists, pack, ones, numbers, what == STEPPING,
            )  # fmt: skip
        elif what != IN_PLACE:
            arguments = (
                functions, layers, what, l, parameters, result, optimizer, slot, second, work,
                scaler, inputs, first, start, stop, left, right, keys, pack, squares, numbers,
            )  # fmt: skip
            call_further(functions[FURTHER], arguments)
    if threads > 1:
        restore_denormals(before)


call_phase = phase.call


@serial
def _update(
    functions, layers, l, work, inputs, parameters, result, optimizer, slot, second, start, stop,
    left, right, rows, lists, pack, ones, numbers, stepping,
):  # fmt: skip
    """Update rows start .. stop and columns left .. right of a layer's weights, and its biases.

    When ``stepping``, the gradient of as many rows as have room in ``pack`` is made there, and the
    parameters are moved by it; else it goes to the result.
    """
    one = parameters.dtype.type(1)
    alpha, beta = numbers[ALPHA], numbers[BETA]
    stride, a_stride = layers[l, STRIDE], layers[l, INPUT_STRIDE]
    delta, columns = layers[l, DELTA] + left, right - left
    c, c_stride = result, stride
    part = stop - start
    if stepping:
        line = LINE // work.itemsize
        c, c_stride = pack, (columns + line - 1) // line * line
        part = len(pack) // c_stride // GROUP * GROUP
    for begin in range(start, stop, part):
        end = min(begin + part, stop)
        a, w = inputs + begin, layers[l, WEIGHTS] + begin * stride + left
        c0 = 0 if stepping else w
        if l == 0 and len(lists) > 0:
            for first in range(0, rows, GRADIENT_ROWS):
                product_of_sparse_transposed(
                    functions, work, a + first * a_stride, a_stride,
                    work, delta + first * stride, stride, c, c0, c_stride,
                    end - begin, columns, min(GRADIENT_ROWS, rows - first),
                    alpha, beta if first == 0 else one, lists,
                )  # fmt: skip
        else:
            arguments = (
                work, a, 1, a_stride, work, delta, stride, c, c0, c_stride,
                end - begin, columns, rows, FROM_ZERO, 0, SCALED, 0, alpha, beta, 0,
            )  # fmt: skip
            call_product(functions[PRODUCT], arguments)
        if stepping:
            arguments = (
                optimizer, parameters, w, stride, c, 0, c_stride, slot, second, end - begin,
                columns, one, numbers, True, False,
            )  # fmt: skip
            call_move(functions[MOVE], arguments)
    if stop == layers[l, FAN_IN]:  # the biases are the weights of an input that is always 1
        w = layers[l, BIASES] + left
        arguments = (
            ones, 0, 0, 0, work, delta, stride, c, 0 if stepping else w, c_stride,
            1, columns, rows, FROM_ZERO, 0, SCALED, 0, alpha, numbers[BIAS_BETA], 0,
        )  # fmt: skip
        call_product(functions[PRODUCT], arguments)
        if stepping:
            arguments = (
                optimizer, parameters, w, stride, c, 0, c_stride, slot, second, 1, columns,
                one, numbers, False, False,
            )  # fmt: skip
            call_move(functions[MOVE], arguments)


def _run_types(number):
    index, integers, vector = types.int64, types.int64[::1], number[::1]
    table, reals = types.int64[:, ::1], types.float64[::1]
    return (
        integers, table, table, integers, index, index, vector, vector, index, vector, vector,
        vector, number[:, ::1], integers, vector, integers, vector, integers, index, index,
        types.uint32[::1], types.int32[:, ::1], types.int32[::1], vector, number[:, ::1], reals,
        reals, reals, vector, vector, types.boolean, index,
    )  # fmt: skip


@unit(_run_types, parallel=True)
def run(
    functions, layers, operations, phases, update, loss, parameters, result, optimizer, slot,
    second, work, packs, source, scaler, target, weights, order, rows, batch_size, keys, lists,
    taken, numbers, changing, row_losses, squares, losses, out, ones, singly, threads,
):  # fmt: skip
    """Take the rows in batches; return how many batches before a loss was not finite.

    The rows are those of ``order``, or the first ones of the source where it is empty. For each
    batch this does the operations, phase by phase: phase p ends before operation phases[p], and
    begins when all threads have done the one before. Phase ``update`` is the first that changes
    anything, and is reached only if the loss is finite. ``numbers`` are those of table.py, of which
    the first are a row of ``changing`` in each step, if it has any. With room in ``lists``, inputs
    that are zero are left out of the sums. If ``singly``, steps of one row have a way of their own,
    on one thread.
    """
    before = flush_denormals()
    for step in range(len(losses)):
        first = step * batch_size
        count = min(batch_size, rows - first)
        if len(changing) > 0:
            for i in range(changing.shape[1]):
                numbers[i] = changing[step, i]
        if singly and count == 1:
            arguments = (
                functions, layers, loss, parameters, result, work, source, target, weights, order,
                first, taken, row_losses, numbers,
            )  # fmt: skip
            call_one_row(functions[ONE_ROW], arguments)
            losses[step] = row_losses[0]
            if not math.isfinite(row_losses[0]):
                restore_denormals(before)
                return step
            continue
        begin = 0
        for p in range(len(phases)):
            if p == update:
                losses[step] = _mean(row_losses, count)
                if not math.isfinite(losses[step]):
                    restore_denormals(before)
                    return step
            end = phases[p]
            if threads == 1:
                arguments = (
                    functions, layers, operations, begin, end, loss, parameters, result, optimizer,
                    slot, second, work, source, scaler, target, weights, order, first, count, 0, 1,
                    keys, rows, packs[0], lists[0], row_losses, squares, out, ones, numbers,
                )  # fmt: skip
                call_phase(functions[PHASE], arguments)
            else:
                for t in prange(threads):
                    thread = int64(t)
                    arguments = (
                        functions, layers, operations, begin, end, loss, parameters, result,
                        optimizer, slot, second, work, source, scaler, target, weights, order,
                        first, count, thread, threads, keys, rows, packs[thread],
                        lists[thread], row_losses, squares, out, ones, numbers,
                    )  # fmt: skip
                    call_phase(functions[PHASE], arguments)
            begin = end
        if update >= len(phases):
            losses[step] = _mean(row_losses, count)
    restore_denormals(before)
    return len(losses)


@serial
def _mean(losses, count):
    total = 0.0
    for r in range(count):
        total += losses[r]
    return total / count
