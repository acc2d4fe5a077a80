"""A single row, on one thread: a step of gradient descent, and a prediction.

Inputs that are zero are left out, and each row of weights is read once, both ways.
"""

from __future__ import annotations

import math

import numpy as np
from numba import int64, types

from fastnn.activations import IDENTITY, RELU
from fastnn.backends.compiled.kernels.augment import call_augment
from fastnn.backends.compiled.kernels.inputs import call_adjust, gather_inputs
from fastnn.backends.compiled.kernels.layers import call_activate
from fastnn.backends.compiled.kernels.layout import (
    BATCH,
    Batch,
    Matrix,
    Share,
    Sums,
    factor_of,
    indices,
    layers_of,
    numbers,
    plan_type,
    reals,
    work_of,
)
from fastnn.backends.compiled.kernels.outputs import call_finish
from fastnn.backends.compiled.kernels.update import call_limit
from fastnn.backends.compiled.machinery.bfloat16 import dense_rounded_row_tile, rounded_row_tile
from fastnn.backends.compiled.machinery.instructions import (
    flush_denormals,
    itemsize_of,
    restore_denormals,
)
from fastnn.backends.compiled.machinery.jit import serial, unit
from fastnn.backends.compiled.machinery.lines import filled, first_of, lanes_of, load, sum_of
from fastnn.backends.compiled.machinery.moves import (
    MOMENTUM_STEP,
    PLAIN_STEP,
    STILL,
    Step,
    move_rows,
)
from fastnn.backends.compiled.machinery.tiles import (
    FROM_BIASES,
    PLAIN,
    RECTIFIED,
    dense_row_tile,
    row_tile,
)
from fastnn.backends.compiled.machinery.vector_ir import lanes
from fastnn.backends.compiled.machinery.vectors import list_nonzero
from fastnn.backends.contract import FINE, NOT_FINITE, WRONG_LENGTH


def _forward_one_types(number):
    return plan_type(number), BATCH


@unit(_forward_one_types)
def forward_one(plan, batch):
    """Compute the weighted inputs of the last layer for a batch of one row, which is gathered."""
    _forward_one(plan, batch, row_tile, dense_row_tile)


call_forward_one = forward_one.call


@unit(_forward_one_types)
def rounded_forward_one(plan, batch):
    """Do what `forward_one` does with the factors of products rounded."""
    _forward_one(plan, batch, rounded_row_tile, dense_rounded_row_tile)


@serial
def _forward_one(plan, batch, tile_of_listed, tile_of_all):
    """Compute the weighted inputs of the last layer by two tiles.

    Inputs that are zero are left out where there may be many. The plan's lists of one row get for
    each layer how many inputs were taken and, from the next place on, which; or -1 for all.
    """
    layers, lists = layers_of(plan), indices(plan.lists_of_one, 1)
    one = type(plan.alpha)(1)
    itemsize = itemsize_of(plan.alpha)
    width = lanes(itemsize)
    begin = 0
    for l in range(plan.depth):
        layer = layers[l]
        fan_in, hidden = layer.fan_in, l < plan.depth - 1
        inputs, outputs = plan.work + itemsize * layer.inputs, plan.work + itemsize * layer.outputs
        terms = (plan.every, fan_in)
        lists[begin] = -1
        if l == 0 or layers[l - 1].activation == RELU:  # others have a slope where they are 0
            length = 0
            whole = fan_in // width * width
            for k in range(0, whole, width):
                listed = plan.lists_of_one + 4 * (begin + 1 + length)
                length += list_nonzero(inputs + itemsize * k, 0, 1, k, width, listed, one)
            if whole < fan_in:
                rest, listed = fan_in - whole, plan.lists_of_one + 4 * (begin + 1 + length)
                length += list_nonzero(inputs + itemsize * whole, 0, 1, whole, rest, listed, one)
            lists[begin] = length
            terms = (plan.lists_of_one + 4 * (begin + 1), int64(length))
        finish = int64(PLAIN)
        if hidden and layer.activation == RELU and layer.slopes == 0:
            finish = int64(RECTIFIED)
        vectors = (layer.fan_out + width - 1) // width
        vector = 0
        while vector < vectors:
            left = vectors - vector
            across = 8 if left >= 8 else min(left, 4)  # of `ROW_TILES`
            offset = itemsize * vector * width
            biases = plan.parameters + itemsize * layer.biases + offset
            weights = plan.parameters + itemsize * layer.weights + offset
            arguments = (
                Matrix(inputs, int64(0), int64(1)),
                Matrix(weights, layer.stride, int64(1)),
                Matrix(outputs + offset, int64(0), int64(1)),
                terms,
                Sums(int64(FROM_BIASES), biases, finish, int64(0), one, one),
                (0, 0, 0),
            )
            if across == 8 and terms[1] == fan_in:
                tile_of_all(1, across, *arguments)
            else:
                tile_of_listed(1, across, *arguments)
            vector += across
        if hidden and finish == PLAIN and (layer.activation != IDENTITY or layer.slopes > 0):
            whole = Share(int64(0), int64(1), int64(0), layer.fan_out)
            call_activate(plan.functions.activate, (plan, l, batch, whole))
        begin += fan_in + 1


def _backward_one_types(number):
    return (plan_type(number),)


@unit(_backward_one_types)
def backward_one(plan):
    """From the deltas of the last layer for one row, update all layers.

    Each row of weights is read once: the delta of its input is its product with the layer's deltas,
    before it is written. Rows whose input is zero are left out if they stay as they are. With a
    limit of the gradient's norm all deltas come first, and also where steps must be safe: then
    nothing is changed by a gradient that is not below ``safe``, or after one was ``seen``.
    """
    layers, lists = layers_of(plan), indices(plan.lists_of_one, 1)
    one, zero = type(plan.alpha)(1), type(plan.alpha)(0)
    itemsize = itemsize_of(plan.alpha)
    summing = plan.bias_beta == 1  # the gradient goes right into the parameters
    leaving_out = plan.optimizer == PLAIN_STEP and plan.l1 == 0 and plan.l2 == 0
    shaping = not summing and (plan.l1 > 0 or plan.l2 > 0 or plan.value_limit < np.inf)
    rate = plan.rate
    if summing:
        rate = -plan.alpha
    elif plan.optimizer == MOMENTUM_STEP and plan.look_ahead > 0:
        rate = plan.rate * plan.first_memory
    scale, passes = one, 2 if plan.norm_limit < np.inf or plan.safe > 0 else 1
    for turn in range(passes):
        moving, passing = turn == passes - 1, turn == 0
        if moving and passes == 2:
            norm, most = _norm_of_one(plan), plan.norm_limit
            if plan.safe > 0:
                if not norm <= plan.seen:
                    plan.seen = norm
                if not plan.seen < plan.safe:
                    return
            scale = type(plan.alpha)(most / norm if norm > most else 1.0)
        end = 0
        for l in range(plan.depth):
            end += layers[l].fan_in + 1
        for l in range(plan.depth - 1, plan.lowest - 1, -1):
            layer = layers[l]
            end -= layer.fan_in + 1
            back = passing and l > plan.lowest
            below = layers[l - 1].deltas if l > 0 else 0
            way = plan.optimizer if moving and layer.moves else int64(STILL)
            for biases in range(2):
                if way == STILL and (biases or not back):
                    continue
                terms, a, offset = (plan.every, layer.fan_in), layer.inputs, layer.weights
                if biases:
                    terms, offset = (plan.every, int64(1)), layer.biases
                elif lists[end] >= 0 and (leaving_out or way == STILL):
                    terms = (plan.lists_of_one + 4 * (end + 1), int64(lists[end]))
                offset *= itemsize
                kept = plan.beta if summing else plan.decay
                factor = one if summing else factor_of(plan, l, biases > 0)
                places = (
                    plan.parameters + offset,
                    plan.first_slot + offset,
                    plan.second_slot + offset,
                    plan.one if biases else plan.work + itemsize * a,
                    plan.work + itemsize * layer.deltas,
                    plan.work + itemsize * below,
                )
                step = Step(
                    scale,
                    one if biases else kept,
                    factor * rate,
                    factor * plan.look_ahead,
                    plan.first_memory,
                    plan.second_memory,
                    plan.correction,
                    plan.epsilon,
                    zero if biases else plan.l1,
                    zero if biases else plan.l2,
                    plan.value_limit,
                )
                passing_back = back and not biases
                move_rows(
                    way, places, terms, layer.stride, layer.fan_out, passing_back, shaping, step
                )
            if back:
                _mask(plan, l)


call_backward_one = backward_one.call


@serial
def _mask(plan, l):
    """Multiply the deltas of a layer's inputs by the slopes of the activations below it."""
    layers, work = layers_of(plan), work_of(plan)
    fan_in = layers[l].fan_in
    slope, below, output = layers[l - 1].slopes, layers[l - 1].deltas, layers[l].inputs
    deltas = work[below : below + fan_in]
    if slope > 0:
        slopes = work[slope : slope + fan_in]
        for j in range(fan_in):
            deltas[j] *= slopes[j]
    elif layers[l - 1].activation == RELU:
        outputs = work[output : output + fan_in]
        zero = work.dtype.type(0)
        for j in range(fan_in):
            d = deltas[j]  # read in any case, or the loop does not vectorise: 1.25 times a step
            deltas[j] = d if outputs[j] > zero else zero


@serial
def _norm_of_one(plan):
    """Return the norm of the row's gradient, without layers that do not move."""
    layers = layers_of(plan)
    itemsize, total = itemsize_of(plan.alpha), 0.0
    for l in range(plan.depth - 1, plan.lowest - 1, -1):
        layer = layers[l]
        if layer.moves:
            a, d = plan.work + itemsize * layer.inputs, plan.work + itemsize * layer.deltas
            of_inputs = _squares(a, layer.fan_in, plan.alpha) + 1.0
            total += of_inputs * _squares(d, layer.fan_out, plan.alpha)
    return math.sqrt(total)


@serial
def _squares(address, count, like):
    """Return the sum of squares of so many numbers; some activations leave others behind them."""
    itemsize, lanes, zero = itemsize_of(like), lanes_of(like), type(like)(0)
    total = filled(zero)
    for j in range(0, count, lanes):
        line = first_of(load(address + itemsize * j, like), count - j, zero)
        total = line * line + total
    return sum_of(total)


def _one_row_types(number):
    return plan_type(number), types.int64


@unit(_one_row_types)
def one_row(plan, first):
    """Take a whole step for a batch of one row, if its loss is finite."""
    nothing = int64(0)
    batch, share = Batch(first, int64(1), nothing), Share(nothing, int64(1), nothing, nothing)
    layers = layers_of(plan)
    gather_inputs(plan, batch, share)
    if plan.augmentation_count > 0:
        call_augment(plan.functions.augment, (plan, batch, share))
    if plan.scaler != 0 or layers[0].drop_below > 0:
        call_adjust(plan.functions.adjust, (plan, batch, share))
    call_forward_one(plan.functions.forward_one, (plan, batch))
    call_finish(plan.functions.finish, (plan, batch, share))
    if not math.isfinite(reals(plan.row_losses, 1)[0]):
        return
    call_backward_one(plan.functions.backward_one, (plan,))
    if plan.unit_limit < np.inf:
        for l in range(plan.lowest, plan.depth):
            if layers[l].moves:
                whole = Share(nothing, layers[l].fan_in, nothing, layers[l].fan_out)
                call_limit(plan.functions.limit, (plan, l, batch, whole))


call_one_row = one_row.call


def _single_types(number):
    return types.Array(plan_type(number), 1, "C"), number[::1], number[::1]


@unit(_single_types, nogil=False)
def single(plans, x, out):
    """Predict one row by the only plan; return `FINE`, or why not.

    The work array belongs to the network, which is safe only as long as the interpreter's lock is
    held: this does not release it.
    """
    plan = plans[0]
    layers, work = layers_of(plan), work_of(plan)
    last = layers[plan.depth - 1]
    if len(x) != layers[0].fan_in or len(out) != last.fan_out:
        return WRONG_LENGTH
    if not _is_read(plan, x):
        return NOT_FINITE
    before = flush_denormals()
    _outputs_of_one(plan)
    for j in range(last.fan_out):
        out[j] = work[last.outputs + j]
    restore_denormals(before)
    return FINE


def _learn_types(number):
    return types.Array(plan_type(number), 1, "C"), number[::1], *[types.float64] * 4


@unit(_learn_types, nogil=False)
def learn(plans, x, rate, look_ahead, correction, decay):
    """Take a step on one row by the only plan, which knows the target; return the loss before it.

    See `layout.STEP_NUMBERS` for the others. Nothing is changed if the row is not finite, or not as
    long as the inputs, which is NaN; if the loss is not finite, which is infinity; or if the step
    is not sure to leave everything finite, which is minus infinity.
    """
    plan = plans[0]
    if len(x) != layers_of(plan)[0].fan_in or not _is_read(plan, x):
        return np.nan
    before = flush_denormals()
    plan.alpha, plan.beta = -rate, 1
    plan.rate, plan.look_ahead = rate, look_ahead
    plan.correction, plan.decay = correction, decay
    _outputs_of_one(plan)
    loss = reals(plan.row_losses, 1)[0]
    if not math.isfinite(loss):
        loss = np.inf
    else:
        call_backward_one(plan.functions.backward_one, (plan,))
        if not plan.seen < plan.safe:
            loss = -np.inf
    restore_denormals(before)
    return loss


@serial
def _is_read(plan, x):
    """Copy a row to where the inputs of the first layer are; tell whether it is finite."""
    layer, work = layers_of(plan)[0], work_of(plan)
    fan_in = layer.fan_in
    row = work[layer.inputs : layer.inputs + fan_in]
    bad = 0
    for j in range(fan_in):
        row[j] = x[j]
        bad += not math.isfinite(x[j])
    return bad == 0


@serial
def _outputs_of_one(plan):
    """From the row that was read compute the outputs, and with a target its loss and deltas."""
    layer, work = layers_of(plan)[0], work_of(plan)
    fan_in = layer.fan_in
    if plan.scaler != 0:
        row = work[layer.inputs : layer.inputs + fan_in]
        scaler = numbers(plan.scaler, 2 * fan_in, plan.alpha)
        for j in range(fan_in):
            row[j] = (row[j] - scaler[j]) * scaler[fan_in + j]
    nothing, one = int64(0), int64(1)
    batch = Batch(nothing, one, nothing)
    call_forward_one(plan.functions.forward_one, (plan, batch))
    arguments = (plan, batch, Share(nothing, one, nothing, nothing))
    call_finish(plan.functions.finish, arguments)
