"""exp, tanh and sigmoid as branch-free polynomials, which LLVM vectorises.

``exp(x) = 2^n exp(r)`` with ``n = round(x / ln 2)`` and ``|r| <= ln(2) / 2``; ``r`` is computed
with ln 2 in two parts (Cody and Waite, 1980), and ``exp(r)`` is its Taylor polynomial, whose
remainder is below a tenth of a rounding error. NaN passes through; results below the smallest
normal number are right.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import types
from numba.extending import overload

from fastnn.backends.compiled.jit import serial
from fastnn.backends.compiled.vector_ir import scale_by_power


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


def _expm1_parts(x):
    """Return ``(exp(r) - 1, shifted n)``."""
    raise NotImplementedError


@overload(_expm1_parts, jit_options={"fastmath": {"contract", "nsz"}})
def _expm1_parts_of(x):
    log2e, shifter, high, low, lowest, highest = CONSTANTS[x]
    taylor = tuple(x.cast_python_value(1 / math.factorial(i)) for i in range(DEGREE[x], 0, -1))
    one = x.cast_python_value(1)

    def implementation(x):
        x = lowest if x < lowest else x
        x = highest if x > highest else x
        shifted = x * log2e + shifter
        n = shifted - shifter
        r = (x - n * high) - n * low
        p = taylor[0]
        for i in range(1, len(taylor)):
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
    e = exp(-abs(x))
    one = type(e)(1)
    return (e if x < 0 else one) / (one + e)


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
