"""The operations of a step that plain gradient descent does without, in a unit of their own.

Plain gradient descent then need not compile them.
"""

from __future__ import annotations

from numba import types

from fastnn.backends.compiled.kernels.layers import adjust_inputs
from fastnn.backends.compiled.kernels.table import (
    ADJUSTING,
    BIASES,
    FAN_IN,
    LIMIT,
    MEASURE,
    MEASURED,
    MEASURING,
    MOVE,
    MOVING,
    STRIDE,
    WEIGHTS,
)
from fastnn.backends.compiled.kernels.update import (
    MEASURED_ROWS,
    call_limit,
    call_measure,
    call_move,
    norm_scale,
)
from fastnn.backends.compiled.machinery.jit import unit


def _further_types(number):
    index, vector = types.int64, number[::1]
    return (
        types.int64[::1], types.int64[:, ::1], index, index, vector, vector, index, vector, vector,
        vector, vector, index, index, index, index, index, index, types.uint32[::1], vector,
        types.float64[::1], vector,
    )  # fmt: skip


@unit(_further_types)
def further(
    functions, layers, what, l, parameters, result, optimizer, slot, second, work, scaler, inputs,
    first, start, stop, left, right, keys, pack, squares, numbers,
):  # fmt: skip
    """Do one operation on a thread's share of a layer, as `steps.phase` does."""
    fan_in, stride = layers[l, FAN_IN], layers[l, STRIDE]
    w, biases, whole = layers[l, WEIGHTS] + start * stride, layers[l, BIASES], stop == fan_in
    if what == ADJUSTING:
        adjust_inputs(layers, work, scaler, first, start, stop, keys, inputs)
    elif what == MEASURING:
        place = layers[l, MEASURED] + start // MEASURED_ROWS
        arguments = (
            parameters, w, result, w, stride, stop - start, pack, squares, place, numbers, True
        )  # fmt: skip
        call_measure(functions[MEASURE], arguments)
        if whole:
            place = layers[l, MEASURED] + (fan_in + MEASURED_ROWS - 1) // MEASURED_ROWS
            arguments = (
                parameters, biases, result, biases, stride, 1, pack, squares, place, numbers, False
            )  # fmt: skip
            call_measure(functions[MEASURE], arguments)
    elif what == MOVING:
        scale = norm_scale(squares, numbers)
        arguments = (
            optimizer, parameters, w, stride, result, w, stride, slot, second, stop - start, stride,
            scale, numbers, True, True,
        )  # fmt: skip
        call_move(functions[MOVE], arguments)
        if whole:
            arguments = (
                optimizer, parameters, biases, stride, result, biases, stride, slot, second, 1,
                stride, scale, numbers, False, True,
            )  # fmt: skip
            call_move(functions[MOVE], arguments)
    else:
        arguments = (parameters, w + left, stride, fan_in, right - left, pack, numbers)
        call_limit(functions[LIMIT], arguments)


call_further = further.call
