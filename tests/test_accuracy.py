"""How far the elementary functions are from the truth, in units in the last place.

The truth is mpmath's, to 160 bits; without mpmath it is NumPy's widest type, if that is wide
enough. The limits are those of the table in docs/reliability.md.
"""

from __future__ import annotations

import math
import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from cases import DTYPES

from fastnn import Network
from fastnn.backends.compiled.kernels import elementary
from fastnn.backends.compiled.machinery.jit import serial

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reliability.md"
ROW = r"\| `{}` [^|]*\| ([\d.]+) \| ([\d.]+) \|"
EXACT = find_spec("mpmath") is not None
COUNT = 2000  # numbers of each kind
BITS = 160

functions = pytest.mark.parametrize(
    "name", ["exp", "expm1", "tanh", "sigmoid", "log1p", "softplus", "mish"]
)
each_dtype = pytest.mark.parametrize("dtype", DTYPES)


def limit(name, dtype):
    """Return what the page promises."""
    found = re.search(ROW.format(re.escape(name)), PAGE.read_text())
    return float(found[1 + DTYPES.index(dtype)])


def inputs(name, dtype):
    """Return numbers from the function's whole range: evenly, near 0, and of every magnitude."""
    info = np.finfo(dtype)
    low, high = math.log(float(info.smallest_subnormal)) - 3, math.log(float(info.max)) + 3
    rng = np.random.default_rng(0)
    small = 2.0 ** rng.uniform(info.minexp - info.nmant, 0, COUNT)
    x = np.concatenate([rng.uniform(low, high, COUNT), rng.uniform(-3, 3, COUNT), small, -small])
    if name == "log1p":
        x = np.concatenate([rng.uniform(0, 1, COUNT), small, [0, 1]])
    if name == "expm1":
        x = -abs(x)
    if name == "mish":
        x = x[x > math.log(float(info.tiny))]
    return x.astype(dtype)


@serial
def _apply(x, exp, expm1, tanh, sigmoid, log1p, softplus, mish):
    for i in range(len(x)):
        exp[i] = elementary.exp(x[i])
        expm1[i] = elementary.expm1(x[i])
        tanh[i] = elementary.tanh(x[i])
        sigmoid[i] = elementary.sigmoid(x[i])
        log1p[i] = elementary.log1p(x[i])
        softplus[i] = elementary.softplus(x[i])
        mish[i] = elementary.mish(x[i])[0]


def computed(name, x):
    """Return what the kernels make of an array."""
    names = ("exp", "expm1", "tanh", "sigmoid", "log1p", "softplus", "mish")
    results = {each: np.empty_like(x) for each in names}
    _apply(x, *results.values())
    return results[name]


def in_two_parts(numbers):
    """Return mpmath's numbers as doubles, and what these leave over."""
    high = np.array([float(number) for number in numbers])
    finite = np.isfinite(high)
    low = [float(n - float(h)) if f else 0 for n, h, f in zip(numbers, high, finite, strict=True)]
    return high, np.array(low)


def truth(name, x):
    """Return the right values as a sum of two arrays."""
    if EXACT:
        import mpmath as m

        formulas = {
            "exp": m.exp,
            "expm1": m.expm1,
            "tanh": m.tanh,
            "sigmoid": lambda x: 1 / (1 + m.exp(-x)),
            "log1p": m.log1p,
            "softplus": lambda x: m.log1p(m.exp(x)),
            "mish": lambda x: x * m.tanh(m.log1p(m.exp(x))),
        }
        with m.workprec(BITS):
            return in_two_parts([formulas[name](m.mpf(float(value))) for value in x])
    formulas = {
        "exp": np.exp,
        "expm1": np.expm1,
        "tanh": np.tanh,
        "sigmoid": lambda x: np.where(x < 0, np.exp(-abs(x)), 1) / (1 + np.exp(-abs(x))),
        "log1p": np.log1p,
        "softplus": lambda x: np.maximum(x, 0) + np.log1p(np.exp(-abs(x))),
        "mish": lambda x: x * np.tanh(np.maximum(x, 0) + np.log1p(np.exp(-abs(x)))),
    }
    with np.errstate(all="ignore"):
        return formulas[name](wide(x)), np.zeros(1)


def wide(x):
    """Return an array in a type with more digits, if there is one."""
    if np.finfo(np.longdouble).nmant <= np.finfo(x.dtype).nmant:
        pytest.skip("neither mpmath nor a wider type")
    return x.astype(np.longdouble)


def error_in_ulps(got, high, low):
    """Return the largest distance; where the truth rounds to infinity, so must the result."""
    with np.errstate(over="ignore"):
        rounded = high.astype(got.dtype)
    finite = np.isfinite(rounded)
    np.testing.assert_array_equal(got[~finite], rounded[~finite])
    unit = np.spacing(np.abs(rounded)).astype(high.dtype)
    with np.errstate(invalid="ignore"):
        return float((np.abs((got.astype(high.dtype) - high) - low) / unit)[finite].max())


@each_dtype
@functions
def test_an_elementary_function_is_as_accurate_as_the_page_says(name, dtype):
    x = inputs(name, dtype)
    error = error_in_ulps(computed(name, x), *truth(name, x))
    assert error <= limit(name, dtype)


def exact_softmax(z):
    if not EXACT:
        z = wide(z)
        e = np.exp(z - z.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True), np.zeros(1)
    import mpmath as m

    parts = []
    with m.workprec(BITS):
        for row in z:
            e = [m.exp(m.mpf(float(value))) for value in row]
            total = m.fsum(e)
            parts.append(in_two_parts([value / total for value in e]))
    return tuple(np.array(each) for each in zip(*parts, strict=True))


@each_dtype
@pytest.mark.parametrize(("name", "spread"), [("softmax, near", 1), ("softmax, far", None)])
@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_softmax_is_as_accurate_as_the_page_says(name, spread, classes, dtype):
    if spread is None:
        spread = -math.log(float(np.finfo(dtype).tiny)) - 1
    rng = np.random.default_rng(0)
    z = rng.uniform(-spread / 2, spread / 2, (4000 // classes, classes)).astype(dtype)
    net = Network([classes, classes], output="softmax", dtype=dtype)
    net.weights[0][:] = np.eye(classes)
    got = net.predict_proba(z)
    high, low = exact_softmax(z)
    normal = high >= np.finfo(dtype).tiny  # smaller ones are taken as zero
    assert (got[~normal] <= np.finfo(dtype).tiny).all()
    error = error_in_ulps(got[normal], high[normal], low[normal] if EXACT else low)
    assert error <= limit(name, dtype)
