"""exp, log, erf and what is made of them, as branch-free polynomials, which LLVM vectorises.

All take numbers; exp, log, log1p and the sigmoid also take lines (see `machinery.lines`).

``exp(x) = 2^n exp(r)`` with ``n = round(x / ln 2)`` and ``|r| <= ln(2) / 2``; ``r`` is computed
with ln 2 in two parts (Cody and Waite, 1980), and ``exp(r)`` is its Taylor polynomial, whose
remainder is below a tenth of a rounding error. NaN passes through; results below the smallest
normal number are right. ``log1p(x) = 2 artanh(x / (2 + x))`` is that function's Taylor series, for
x from 0 to 1. ``log(m 2^n) = n ln 2 + log(m)``, and with ``f = m - 1`` and ``s = f / (2 + f)``
``log(m) = f - (f^2 / 2 - s (f^2 / 2 + R(s^2)))``, where R is the rest of artanh's series: only f,
which is exact, is not multiplied by a small number.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import types
from numba.extending import overload

from fastnn.backends.compiled.machinery.instructions import scale_by_power
from fastnn.backends.compiled.machinery.jit import serial
from fastnn.backends.compiled.machinery.lines import number_of, split, where_below


class Constants(NamedTuple):
    """The numbers that the dtype decides."""

    log2e: float
    shifter: float  # adding it rounds to an integer, which then stands in the low bits
    ln2_high: float  # few enough bits that n * ln2_high is exact
    ln2_low: float
    lowest: float  # exp is 0 below
    highest: float  # exp is infinity above


def _constants(dtype: type[np.floating], high_bits: int) -> Constants:
    info = np.finfo(dtype)
    scale = 2.0**high_bits
    high = math.floor(math.log(2) * scale) / scale
    # ln 2 to 40 digits, as the sum of a double and what the double leaves over.
    rest = 2.3190468138462996e-17 + (math.log(2) - high)
    return Constants(
        *(
            dtype(value)
            for value in (
                1 / math.log(2),
                1.5 * 2.0**info.nmant,
                high,
                rest,
                math.log(float(info.smallest_subnormal)) - 1,
                math.log(float(info.max)) + 1,
            )
        )
    )


CONSTANTS = {types.float32: _constants(np.float32, 15), types.float64: _constants(np.float64, 32)}
DEGREE = {types.float32: 7, types.float64: 13}
ERF_P = (
    1.1283791462501205, 0.19037594681979925, 0.05274535294077059, 0.003764481111872609,
    0.00028488797628608013, 2.0507366799062735e-06,
)  # fmt: skip
ERF_Q = (
    1.0, 0.5020490330020989, 0.11409710035732804, 0.014966928651296493, 0.0011623166019941137,
    3.8098687508844986e-05,
)  # fmt: skip
ERF_END = 3.9192059
ARTANH_TERMS = {types.float32: 8, types.float64: 17}  # the rest is below 1/9 to that power
SINE_TERMS = {types.float32: 7, types.float64: 11}  # the rest is below a rounding error
LOG_TERMS = {types.float32: 5, types.float64: 11}  # of R, whose rest is below 0.03 to that power


def sine_of_turn(x):
    """Return ``sin(2 pi x)`` for x from -1/4 to 1/4: its Taylor polynomial."""
    raise NotImplementedError


@overload(sine_of_turn, jit_options={"fastmath": {"contract", "nsz"}})
def _sine_of_turn_of(x):
    places = range(SINE_TERMS[x] - 1, -1, -1)
    taylor = tuple(
        x.cast_python_value((-1) ** i * math.tau ** (2 * i + 1) / math.factorial(2 * i + 1))
        for i in places
    )

    def implementation(x):
        square = x * x
        p = taylor[0] * square + taylor[1]
        for i in range(2, len(taylor)):
            p = p * square + taylor[i]
        return p * x

    return implementation


def _expm1_parts(x):
    """Return ``(exp(r) - 1, shifted n)``."""
    raise NotImplementedError


@overload(_expm1_parts, jit_options={"fastmath": {"contract", "nsz"}})
def _expm1_parts_of(x):
    number = number_of(x)
    log2e, shifter, high, low, lowest, highest = CONSTANTS[number]
    factorials = [math.factorial(i) for i in range(DEGREE[number], 0, -1)]
    taylor = tuple(number.cast_python_value(1 / factorial) for factorial in factorials)
    one = number.cast_python_value(1)

    def implementation(x):
        x = where_below(x, lowest, lowest, x)
        x = where_below(highest, x, highest, x)
        shifted = x * log2e + shifter
        n = shifted - shifter
        r = (x - n * high) - n * low
        p = taylor[0] * r + taylor[1]
        for i in range(2, len(taylor)):
            p = p * r + taylor[i]
        return p * r, shifted, one

    return implementation


@serial
def exp(x):
    """Return ``e**x``."""
    p, shifted, one = _expm1_parts(x)
    return scale_by_power(one + p, shifted)


@serial
def sigmoid(x):
    """Return ``1 / (1 + e**-x)``."""
    p, shifted, one = _expm1_parts(-abs(x))
    e = scale_by_power(one + p, shifted)
    return where_below(x, one - one, e, one) / (one + e)


@serial
def tanh(x):
    """Return ``-m / (2 + m)`` with the sign of x, where ``m = e**(-2|x|) - 1``.

    m is computed without cancellation.
    """
    p, shifted, one = _expm1_parts(-abs(x + x))
    power = scale_by_power(one, shifted)
    m = power * p + (power - one)
    y = -m / (one + one + m)
    return -y if x < 0 else y


@serial
def sigmoid_and_slope(x):
    """Return the sigmoid and its derivative ``e**-|x| / (1 + e**-|x|)**2``."""
    e = exp(-abs(x))
    one = type(e)(1)
    share = one / (one + e)
    return (e if x < 0 else one) * share, e * share * share


@serial
def expm1(x):
    """Return ``e**x - 1`` without cancellation."""
    p, shifted, one = _expm1_parts(x)
    power = scale_by_power(one, shifted)
    return power * p + (power - one)


def log1p(x):
    """Return ``log(1 + x)`` for x from 0 to 1."""
    raise NotImplementedError


@overload(log1p, jit_options={"fastmath": {"contract", "nsz"}})
def _log1p_of(x):
    number = number_of(x)
    places = range(ARTANH_TERMS[number] - 1, -1, -1)
    taylor = tuple(number.cast_python_value(2 / (2 * i + 1)) for i in places)
    two = number.cast_python_value(2)

    def implementation(x):
        s = x / (two + x)
        square = s * s
        p = taylor[0] * square + taylor[1]
        for i in range(2, len(taylor)):
            p = p * square + taylor[i]
        return p * s

    return implementation


def log(x):
    """Return the natural logarithm of x, a normal number above 0; NaN and infinity give NaN."""
    raise NotImplementedError


@overload(log, jit_options={"fastmath": {"contract", "nsz"}})
def _log_of(x):
    number = number_of(x)
    _, _, high, low, _, _ = CONSTANTS[number]
    places = range(LOG_TERMS[number], 0, -1)
    taylor = tuple(number.cast_python_value(2 / (2 * i + 1)) for i in places)
    one, two, half = (number.cast_python_value(value) for value in (1, 2, 0.5))

    def implementation(x):
        m, n = split(x)
        f = m - one
        s = f / (two + f)
        square, half_square = s * s, half * f * f
        p = taylor[0] * square + taylor[1]
        for i in range(2, len(taylor)):
            p = p * square + taylor[i]
        small = s * (half_square + p * square) + n * low
        return n * high - ((half_square - small) - f) + (x - x)

    return implementation


@serial
def softplus(x):
    """Return ``log(1 + e**x)``."""
    zero = type(x)(0)
    return max(x, zero) + log1p(exp(-abs(x)))


@serial
def mish(x):
    """Return ``x tanh(softplus(x))`` and its derivative.

    The tangent is ``n / d``. With ``e = exp(-|x|)``, below zero ``n = e (e + 2)`` and
    ``d = n + 2``, else ``n = 1 + 2 e`` and ``d = n + 2 e**2``: sums of positive numbers.
    """
    e = exp(-abs(x))
    one = type(e)(1)
    two, square = one + one, e * e
    n = square + two * e if x < 0 else one + two * e
    rest, slope = two if x < 0 else two * square, e if x < 0 else square
    share = one / (n + rest)
    portion = n * share
    return x * portion, portion + x * (two * two * slope * (one + e) * share * share)


def normal_cdf(x):
    """Return the distribution function of the standard normal."""
    raise NotImplementedError


@overload(normal_cdf, jit_options={"fastmath": {"contract", "nsz"}})
def _normal_cdf_of(x):
    if x == types.float64:
        root = math.sqrt(0.5)
        return lambda x: 0.5 * math.erfc(-x * root)
    # erf(x) = x P(x^2) / Q(x^2), fitted for the least relative error, 2e-8, up to where a float32
    # rounds to 1.
    p = tuple(np.float32(value) for value in reversed(ERF_P))
    q = tuple(np.float32(value) for value in reversed(ERF_Q))
    root, end, half = np.float32(math.sqrt(0.5)), np.float32(ERF_END), np.float32(0.5)

    def implementation(x):
        u = x * root
        u = end if u > end else u
        u = -end if u < -end else u
        square = u * u
        above, below = p[0], q[0]
        for i in range(1, len(p)):
            above = above * square + p[i]
        for i in range(1, len(q)):
            below = below * square + q[i]
        return half + half * (u * above / below)

    return implementation


@serial
def normal_density(x):
    """Return the density of the standard normal."""
    kind = type(x)
    return exp(-x * x * kind(0.5)) * kind(1 / math.sqrt(2 * math.pi))
