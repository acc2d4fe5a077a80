"""The layers of a network on a block of rows: forward, and deltas backward.

Activations, deltas and targets lie in one work array; the layers of the plan say where. Loops run
along single rows: a row gives the same bits wherever a block begins.
"""

from __future__ import annotations

from numba import int64, types

from fastnn.activations import (
    ELU,
    GELU,
    IDENTITY,
    LEAK,
    LEAKY_RELU,
    MISH,
    RELU,
    SELU,
    SELU_ALPHA,
    SELU_SCALE,
    SIGMOID,
    SILU,
    SOFTPLUS,
    TANH,
)
from fastnn.backends.compiled.kernels import elementary
from fastnn.backends.compiled.kernels.inputs import inputs_of, leave_out
from fastnn.backends.compiled.kernels.layout import (
    BATCH,
    SHARE,
    Matrix,
    Shape,
    Sums,
    keys_at,
    layers_of,
    plan_type,
    work_of,
)
from fastnn.backends.compiled.kernels.narrow import call_narrow_product
from fastnn.backends.compiled.kernels.products import (
    call_product,
    call_product_of_sparse,
)
from fastnn.backends.compiled.kernels.rounded import call_rounded_product, rounded_pack_of
from fastnn.backends.compiled.kernels.transposed import product_transposed
from fastnn.backends.compiled.machinery.instructions import itemsize_of
from fastnn.backends.compiled.machinery.jit import serial, unit
from fastnn.backends.compiled.machinery.narrow import UNITS
from fastnn.backends.compiled.machinery.tiles import (
    FROM_BIASES,
    FROM_ZERO,
    MASKED,
    PLAIN,
    RECTIFIED,
)


def _activate_types(number):
    return plan_type(number), types.int64, BATCH, SHARE


@unit(_activate_types)
def activate(plan, l, batch, share):
    """Replace the weighted inputs of a layer's units by activations.

    If the layer keeps slopes, derivatives go there. Then units are left out of both, if the next
    layer leaves out some of its inputs.
    """
    layers, work = layers_of(plan), work_of(plan)
    layer, below = layers[l], layers[l + 1].drop_below
    keys = keys_at(plan.keys + 4 * (l + 1) * plan.rows, plan.rows)
    code = layer.activation
    rows, columns = share.stop - share.start, share.right - share.left
    if columns == layer.fan_out and below == 0:  # all rows are one, with what they are padded by
        rows, columns = 1, rows * layer.stride
    slopes = layer.slopes - layer.outputs if layer.slopes > 0 else 0
    zero, one = work.dtype.type(0), work.dtype.type(1)
    leak = work.dtype.type(LEAK)
    scale, steep = work.dtype.type(SELU_SCALE), work.dtype.type(SELU_SCALE * SELU_ALPHA)
    for r in range(share.start, share.start + rows):
        begin = layer.outputs + r * layer.stride + share.left
        row = work[begin : begin + columns]
        if slopes == 0:
            if code == SIGMOID:
                for j in range(columns):
                    row[j] = elementary.sigmoid(row[j])
            elif code == TANH:
                for j in range(columns):
                    row[j] = elementary.tanh(row[j])
            elif code == LEAKY_RELU:
                for j in range(columns):
                    row[j] = row[j] if row[j] > zero else leak * row[j]
            elif code == ELU:
                for j in range(columns):
                    row[j] = row[j] if row[j] > zero else elementary.expm1(row[j])
            elif code == SELU:
                for j in range(columns):
                    z = row[j]
                    row[j] = scale * z if z > zero else steep * elementary.expm1(z)
            elif code == GELU:
                for j in range(columns):
                    row[j] *= elementary.normal_cdf(row[j])
            elif code == SILU:
                for j in range(columns):
                    row[j] *= elementary.sigmoid(row[j])
            elif code == SOFTPLUS:
                for j in range(columns):
                    row[j] = elementary.softplus(row[j])
            elif code == MISH:
                for j in range(columns):
                    row[j] = elementary.mish(row[j])[0]
            continue
        slope = work[begin + slopes : begin + slopes + columns]
        if code == IDENTITY:
            for j in range(columns):
                slope[j] = one
        elif code == SIGMOID:
            for j in range(columns):
                row[j], slope[j] = elementary.sigmoid_and_slope(row[j])
        elif code == TANH:
            for j in range(columns):
                row[j] = elementary.tanh(row[j])
                slope[j] = one - row[j] * row[j]
        elif code == RELU:
            for j in range(columns):
                slope[j] = one if row[j] > zero else zero
                row[j] = zero if row[j] < zero else row[j]
        elif code == LEAKY_RELU:
            for j in range(columns):
                slope[j] = one if row[j] > zero else leak
                row[j] *= slope[j]
        elif code == ELU:
            for j in range(columns):
                low = elementary.expm1(row[j])
                slope[j] = one if row[j] > zero else low + one
                row[j] = row[j] if row[j] > zero else low
        elif code == SELU:
            for j in range(columns):
                z, low = row[j], steep * elementary.expm1(row[j])
                slope[j] = scale if z > zero else low + steep
                row[j] = scale * z if z > zero else low
        elif code == GELU:
            for j in range(columns):
                z, portion = row[j], elementary.normal_cdf(row[j])
                slope[j] = portion + z * elementary.normal_density(z)
                row[j] = z * portion
        elif code == SILU:
            for j in range(columns):
                z, portion = row[j], elementary.sigmoid(row[j])
                slope[j] = portion * (one + z * (one - portion))
                row[j] = z * portion
        elif code == SOFTPLUS:
            for j in range(columns):
                z = row[j]
                slope[j] = elementary.sigmoid(z)
                row[j] = elementary.softplus(z)
        elif code == MISH:
            for j in range(columns):
                row[j], slope[j] = elementary.mish(row[j])
        if below > 0:
            leave_out(row, keys[batch.first + r], share.left, below)
            leave_out(slope, keys[batch.first + r], share.left, below)


call_activate = activate.call


@serial
def forward(plan, l, batch, share):
    """Compute units of a layer for some rows.

    Z (rows, fan_out) = A (rows, fan_in) W (fan_in, fan_out) + b; in hidden layers the activation
    follows.
    """
    itemsize = itemsize_of(plan.alpha)
    one = type(plan.alpha)(1)
    layer, a = layers_of(plan)[l], inputs_of(plan, l, batch)
    hidden = l < plan.depth - 1
    finish = int64(PLAIN)
    if hidden and layer.activation == RELU and layer.slopes == 0:
        finish = int64(RECTIFIED)
    rows = Matrix(a.address + itemsize * share.start * a.row, a.row, a.column)
    weights = plan.parameters + itemsize * (layer.weights + share.left)
    outputs = plan.work + itemsize * (layer.outputs + share.start * layer.stride + share.left)
    sparse = l == 0 and plan.lists_size > 0
    ahead = batch.count * a.row if l == 0 and plan.in_place else 0  # the next batch
    listed = plan.lists + 4 * batch.thread * plan.lists_size
    arguments = (
        rows,
        Matrix(weights, layer.stride, int64(1)),
        Matrix(outputs, layer.stride, int64(1)),
        Shape(share.stop - share.start, share.right - share.left, layer.fan_in),
        Sums(
            int64(FROM_BIASES),
            plan.parameters + itemsize * (layer.biases + share.left),
            finish,
            int64(0),
            one,
            one,
        ),
        listed if sparse else ahead,
    )
    # Rows of inputs that are read in place may end with their last number.
    padded = not (l == 0 and plan.in_place) or layer.fan_in % UNITS == 0
    if sparse:
        call_product_of_sparse(plan.functions.sparse_product, arguments)
    elif plan.rounds:
        pack = rounded_pack_of(plan, batch)
        call_rounded_product(plan.functions.rounded_product, (*arguments[:5], pack))
    elif layer.fan_out <= UNITS and finish == PLAIN and padded:
        call_narrow_product(plan.functions.narrow_product, (plan, *arguments[:5]))
    else:
        call_product(plan.functions.product, arguments)
    if hidden and finish == PLAIN and (layer.activation != IDENTITY or layer.slopes > 0):
        call_activate(plan.functions.activate, (plan, l, batch, share))


@serial
def backward(plan, l, batch, share):
    """From the deltas of a layer compute those of units left .. right below, for some rows.

    delta (rows, fan_in) = delta (rows, fan_out) W^T (fan_out, fan_in) * f'(z). The gradients of the
    network's inputs take the place of these.
    """
    itemsize = itemsize_of(plan.alpha)
    layers, work = layers_of(plan), work_of(plan)
    layer, start, left = layers[l], share.start, share.left
    stride, below = layer.stride, layer.input_stride
    deltas, mask, slopes = layer.inputs + batch.thread * layer.copy, int64(0), int64(0)
    finish = int64(PLAIN)
    if l > 0:
        deltas = layers[l - 1].deltas
        mask, slopes = layers[l - 1].outputs - deltas, layers[l - 1].slopes
        if layers[l - 1].activation == RELU and slopes == 0:
            finish = int64(MASKED)
    a = Matrix(plan.work + itemsize * (layer.deltas + start * stride), stride, int64(1))
    weights = plan.parameters + itemsize * (layer.weights + left * stride)
    c = Matrix(plan.work + itemsize * (deltas + start * below + left), below, int64(1))
    shape = Shape(share.stop - start, share.right - left, layer.fan_out)
    if plan.rounds:
        one = type(plan.alpha)(1)
        b = Matrix(weights, int64(1), stride)
        sums = Sums(int64(FROM_ZERO), int64(0), finish, mask, one, one)
        arguments = (a, b, c, shape, sums, rounded_pack_of(plan, batch))
        call_rounded_product(plan.functions.rounded_product, arguments)
    else:
        b = Matrix(weights, stride, int64(1))
        room = plan.turned + itemsize * batch.thread * plan.turned_size
        product_transposed(plan, a, b, c, shape, finish, mask, room)
    if slopes > 0:
        rows, columns = share.stop - start, share.right - left
        if columns == layer.fan_in:  # all rows are one, with what they are padded by
            rows, columns = 1, rows * below
        for r in range(start, start + rows):
            here = r * below + left
            row = work[deltas + here : deltas + here + columns]
            slope = work[slopes + here : slopes + here + columns]
            for j in range(columns):
                row[j] *= slope[j]
