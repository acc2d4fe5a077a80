"""Losses that carry numbers, on a block of rows: of quantiles, and the focal one."""

from __future__ import annotations

import math

import numpy as np
from numba.extending import overload

from fastnn.activations import SOFTMAX
from fastnn.backends.compiled.kernels import elementary
from fastnn.backends.compiled.kernels.layout import BATCH, SHARE, layers_of, plan_type
from fastnn.backends.compiled.kernels.strips import (
    STRIP,
    finish_strip,
    rows_of_strip,
    smoothing_of,
    strip,
    up_to_a_line,
)
from fastnn.backends.compiled.machinery.instructions import itemsize_of
from fastnn.backends.compiled.machinery.jit import serial, unit
from fastnn.backends.compiled.machinery.lines import (
    LINE,
    filled,
    first_of,
    lanes_of,
    larger,
    largest_of,
    load,
    number_at,
    room,
    store,
    sum_of,
    where_below,
)


def _types(number):
    return plan_type(number), BATCH, SHARE


@unit(_types)
def pinball(plan, batch, share):
    """Write the mean pinball loss of the outputs, each with its level, and deltas."""
    like, memory = plan.alpha, room(STRIP)
    outputs, lanes, itemsize = (
        layers_of(plan)[plan.depth - 1].fan_out,
        lanes_of(like),
        itemsize_of(like),
    )
    zero, one = type(like)(0), type(like)(1)
    part, rows = one / type(like)(outputs), rows_of_strip(plan, batch)
    for r in range(share.start, share.stop, rows):
        row, targets, deltas, width, weights = strip(plan, batch, r, share.stop, memory, True)
        parts, total = weights * part, filled(zero)
        for j in range(0, width, lanes):
            here = LINE * (j // lanes)
            if rows == 1:
                below = load(plan.levels + here, like)
            else:
                below = filled(number_at(plan.levels + itemsize * (j // lanes), like))
            above = one - below
            e = load(row + here, like) - up_to_a_line(targets + here, width - j, like)
            value = where_below(zero, e, above * e, -(below * e))
            d = where_below(zero, e, above * parts, where_below(e, zero, -(below * parts), e))
            total = total + first_of(value, width - j, zero)
            store(deltas + here, first_of(d, width - j, zero))
        finish_strip(plan, batch, r, share.stop, memory, True, total * parts)


call_pinball = pinball.call


def _least(like):
    """Return the smallest normal number of a type."""
    raise NotImplementedError


@overload(_least)
def _least_of(like):
    least = np.finfo(str(like)).tiny
    return lambda like: least


@serial
def _power(x, exponent, least):
    """Return ``x**exponent`` for x of 0 or more."""
    return elementary.exp(elementary.log(larger(x, filled(least))) * exponent)


@unit(_types)
def focal(plan, batch, share):
    """Replace weighted inputs by softmax or sigmoids; write focal losses and deltas."""
    if layers_of(plan)[plan.depth - 1].activation == SOFTMAX:
        _focal_of_softmax(plan, batch, share)
    else:
        _focal_of_sigmoids(plan, batch, share)


call_focal = focal.call


@serial
def _focal_of_softmax(plan, batch, share):
    """Do it for classes that exclude each other.

    Where a probability is near 1, what it lacks of 1 is the sum of the others, for all digits.
    """
    like, memory = plan.alpha, room(STRIP)
    lanes, rows = lanes_of(like), rows_of_strip(plan, batch)
    zero, one, half, lowest = (type(like)(0), type(like)(1), type(like)(0.5), type(like)(-math.inf))
    keep, portion = smoothing_of(plan, layers_of(plan)[plan.depth - 1].fan_out)
    gamma, least = plan.gamma, _least(like)
    for r in range(share.start, share.stop, rows):
        row, targets, deltas, width, weights = strip(plan, batch, r, share.stop, memory, True)
        peaks = filled(lowest)
        for j in range(0, width, lanes):
            z = load(row + LINE * (j // lanes), like)
            peaks = larger(peaks, first_of(z, width - j, lowest))
        if rows == 1:
            peaks = filled(largest_of(peaks))
        total, others = filled(zero), filled(zero)
        for j in range(0, width, lanes):
            here = LINE * (j // lanes)
            z = load(row + here, like) - peaks
            e = first_of(elementary.exp(z), width - j, zero)
            store(row + here, z)
            total = total + e
            others = others + where_below(e, one, e, zero)
        if rows == 1 and width <= lanes:  # in the order of columns, for the same bits
            total_of_row = zero
            store(memory, total)
            for j in range(width):
                total_of_row += number_at(memory + itemsize_of(like) * j, like)
            total, others = filled(total_of_row), filled(sum_of(others))
        elif rows == 1:
            total, others = filled(sum_of(total)), filled(sum_of(others))
        scale, log_total = one / total, elementary.log(total)
        near, log_near = others * scale, elementary.log1p(where_below(others, one, others, one))
        values, dots = filled(zero), filled(zero)
        for j in range(0, width, lanes):
            here = LINE * (j // lanes)
            z = load(row + here, like)
            t = up_to_a_line(targets + here, width - j, like) * keep + portion
            p = elementary.exp(z) * scale
            rest = larger(where_below(half, p, near, one - p), filled(least))
            log_p = where_below(half, p, log_near, log_total - z)  # with the other sign
            power = first_of(t * _power(rest, gamma, least), width - j, zero)
            g = first_of(power * (one + gamma * (p * log_p / rest)), width - j, zero)
            values = values + first_of(power * log_p, width - j, zero)
            dots = dots + g
            store(row + here, first_of(p, width - j, zero))
            store(deltas + here, g)
        if rows == 1:
            dots = filled(sum_of(dots))
        for j in range(0, width, lanes):
            here = LINE * (j // lanes)
            d = (load(row + here, like) * dots - load(deltas + here, like)) * weights
            store(deltas + here, first_of(d, width - j, zero))
        finish_strip(plan, batch, r, share.stop, memory, True, values * weights)


@serial
def _focal_of_sigmoids(plan, batch, share):
    """Do it for independent probabilities."""
    like, memory = plan.alpha, room(STRIP)
    lanes, rows = lanes_of(like), rows_of_strip(plan, batch)
    zero, one = type(like)(0), type(like)(1)
    keep, portion = smoothing_of(plan, 2)
    gamma, least = plan.gamma, _least(like)
    for r in range(share.start, share.stop, rows):
        row, targets, deltas, width, weights = strip(plan, batch, r, share.stop, memory, True)
        total = filled(zero)
        for j in range(0, width, lanes):
            here = LINE * (j // lanes)
            z = load(row + here, like)
            t = up_to_a_line(targets + here, width - j, like) * keep + portion
            e = elementary.exp(-abs(z))
            log, whole = elementary.log1p(e), one + e
            p, q = where_below(z, zero, e, one) / whole, where_below(z, zero, one, e) / whole
            # With the other sign.
            log_p, log_q = log - where_below(z, zero, z, zero), log + where_below(z, zero, zero, z)
            ones, zeros = t * _power(q, gamma, least), (one - t) * _power(p, gamma, least)
            value = ones * log_p + zeros * log_q
            d = zeros * (p + gamma * (q * log_q)) - ones * (q + gamma * (p * log_p))
            total = total + first_of(value, width - j, zero)
            store(row + here, first_of(p, width - j, zero))
            store(deltas + here, first_of(d * weights, width - j, zero))
        finish_strip(plan, batch, r, share.stop, memory, True, total * weights)
