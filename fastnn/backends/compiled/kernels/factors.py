"""Learning of a factor for each input: what a step does before and after its other changes.

The network has ``W = diag(s) V``, where s are the factors and V the weights that the optimizer
moves. With the gradient G of W, that of V is ``diag(s) G``, and that of s are the sums of the rows
of ``V * G``.
"""

from __future__ import annotations

from numba import types

from fastnn.backends.compiled.kernels.layout import (
    BATCH,
    DIVIDING,
    SHARE,
    factor_of_inputs,
    layers_of,
    numbers,
    parameters_at,
    plan_type,
    reals,
)
from fastnn.backends.compiled.kernels.update import MEASURED_ROWS, follow, norm_scale
from fastnn.backends.compiled.machinery.instructions import itemsize_of
from fastnn.backends.compiled.machinery.jit import serial, unit
from fastnn.backends.compiled.machinery.vectors import REDUCED, sum_of_groups
from fastnn.optimizers import SMALLEST_FACTOR


def _types(number):
    return plan_type(number), types.int64, BATCH, SHARE


@unit(_types)
def of_factors(plan, what, batch, share):
    """Do a thread's share of the rows of the first layer's weights: divide or multiply them."""
    if what == DIVIDING:
        _divide(plan, batch, share)
    else:
        _multiply(plan, share)


call_of_factors = of_factors.call


@serial
def _divide(plan, batch, share):
    """Divide weights by their factors; the result gets the gradients of both.

    The sums of squares of the factors' gradient go where a limit of the norm looks for them.
    """
    layer = layers_of(plan)[0]
    stride = layer.stride
    w, gradient = parameters_at(plan, plan.parameters), parameters_at(plan, plan.result)
    factors = numbers(plan.inputs_slots, layer.fan_in, plan.alpha)
    slopes = numbers(plan.inputs_slopes, layer.fan_in, plan.alpha)
    pack = plan.packs + itemsize_of(plan.alpha) * batch.thread * plan.pack_size
    products = numbers(pack, plan.pack_size, plan.alpha)
    size = (stride + REDUCED - 1) // REDUCED * REDUCED
    for j in range(stride, size):
        products[j] = 0
    for k in range(share.start, share.stop):
        here, factor = layer.weights + k * stride, factors[k]
        values, g = w[here : here + stride], gradient[here : here + stride]
        for j in range(stride):
            values[j] /= factor
            products[j] = values[j] * g[j]
            g[j] *= factor
        slopes[k] = sum_of_groups(products, 0, size // REDUCED)
    squares = reals(plan.squares, plan.square_count)
    place = plan.square_count - (layer.fan_in + MEASURED_ROWS - 1) // MEASURED_ROWS
    for first in range(share.start, share.stop, MEASURED_ROWS):
        total = 0.0
        for k in range(first, min(first + MEASURED_ROWS, share.stop)):
            total += slopes[k] * slopes[k]
        squares[place + first // MEASURED_ROWS] = total


@serial
def _multiply(plan, share):
    """Move factors against their gradient, and multiply weights by them."""
    layer = layers_of(plan)[0]
    stride, features = layer.stride, layer.fan_in
    w, smallest = parameters_at(plan, plan.parameters), type(plan.alpha)(SMALLEST_FACTOR)
    every = numbers(plan.inputs_slots, 3 * features, plan.alpha)
    start, stop = share.start, share.stop
    factors, slopes = every[start:stop], numbers(plan.inputs_slopes, features, plan.alpha)
    follow(
        plan,
        factors,
        slopes[start:stop],
        every[features + start : features + stop],
        every[2 * features + start : 2 * features + stop],
        norm_scale(plan),
        factor_of_inputs(plan),
        type(plan.alpha)(1),
    )
    for k in range(stop - start):
        if abs(factors[k]) < smallest:
            factors[k] = -smallest if factors[k] < 0 else smallest
        here = layer.weights + (start + k) * stride
        for j in range(here, here + stride):
            w[j] *= factors[k]
