"""The vector code: products at every edge, elementary functions to the last bits, every width."""

from __future__ import annotations

import math
import os

import numpy as np
import pytest
from cases import DTYPES
from conftest import ROOT
from numba.core.registry import cpu_target

from fastnn.backends.compiled import functions
from fastnn.backends.compiled.kernels import elementary, layout, products, transposed
from fastnn.backends.compiled.machinery import lines, machine, tiles, vector_ir, vectors
from fastnn.backends.compiled.machinery.jit import serial
from fastnn.model.architecture import CACHE_LINE, padded
from fastnn.model.parameters import aligned_zeros

each_dtype = pytest.mark.parametrize("dtype", DTYPES)
each_count = pytest.mark.parametrize("count", [1, 2, 7, 256, 257, 1023, 1024, 1025])
WHOLE_VECTORS = range(1, 10)
MOST_ROWS = 2 * machine.GROUP + 1
ALPHAS_AND_BETAS = [(1, 0), (1, 1), (-0.5, 0), (0.25, 2), (0, 1), (0, 0), (-1, -0.5)]


def tolerance(dtype, count):
    """Return the error that a sum of products of numbers within 1 may have.

    Each of the partial sums, which grow like the root of the length, is rounded.
    """
    return np.finfo(dtype).eps * (4 + count)


@each_dtype
def test_parameters_begin_on_a_cache_line(dtype):
    vectors = [aligned_zeros(size, np.dtype(dtype)) for size in range(1, 40)]
    assert {vector.ctypes.data % CACHE_LINE for vector in vectors} == {0}


class Matrix:
    """A matrix in a flat array, its rows padded as those of parameters, with a border around it."""

    def __init__(self, values, dtype):
        rows, columns = values.shape
        self.stride = padded(columns, np.dtype(dtype).itemsize)
        self.start = self.stride
        self.flat = aligned_zeros((rows + 2) * self.stride, np.dtype(dtype))
        self.rows = self.flat.reshape(rows + 2, self.stride)[1:-1]
        self.values = self.rows[:, :columns]
        self.values[...] = values

    def at(self, offset):
        return self.flat.ctypes.data + offset * self.flat.itemsize

    def as_kernels_take_it(self, transposed=False):
        strides = (1, self.stride) if transposed else (self.stride, 1)
        return layout.Matrix(self.at(self.start), *strides)

    def border(self):
        return np.concatenate([self.flat[: self.stride], self.flat[-self.stride :]])


def uniform(rng, dtype, *shape):
    return rng.uniform(-1, 1, shape).astype(dtype)


def product(a, b, c, start=tiles.FROM_ZERO, finish=tiles.PLAIN, **options):
    """Call the product of matrices; see `products.product` for the options.

    A is stored by columns if ``transposed``; biases is their offset in b.flat.
    """
    transposed, alpha, beta, biases, mask = (
        options.get(name, default)
        for name, default in {
            "transposed": False,
            "alpha": 1,
            "beta": 1,
            "biases": 0,
            "mask": 0,
        }.items()
    )
    numbers = a.flat.dtype.type
    products.product.prepare(functions.from_dtype(a.flat.dtype))
    rows, count = a.values.shape[::-1] if transposed else a.values.shape
    products.product.dispatcher(
        a.as_kernels_take_it(transposed),
        b.as_kernels_take_it(),
        c.as_kernels_take_it(),
        layout.Shape(rows, b.values.shape[1], count),
        layout.Sums(start, b.at(biases), finish, mask, numbers(alpha), numbers(beta)),
        0,
    )


@pytest.mark.every_width
@each_dtype
@each_count
def test_product_of_every_tile_and_its_edges(dtype, count):
    rng = np.random.default_rng(0)
    lanes = vector_ir.lanes(np.dtype(dtype).itemsize)
    limit = tolerance(dtype, count)
    for rows in range(1, MOST_ROWS + 1):
        a = Matrix(uniform(rng, dtype, rows, count), dtype)
        for columns in {max(1, lanes * n - d) for n in WHOLE_VECTORS for d in (0, 1)}:
            b = Matrix(uniform(rng, dtype, count, columns), dtype)
            c = Matrix(np.full((rows, columns), np.nan), dtype)
            product(a, b, c)
            want = a.values.astype(np.float64) @ b.values.astype(np.float64)
            np.testing.assert_allclose(c.values, want, rtol=0, atol=limit)
            assert not c.rows[:, columns:].any()
            assert not c.border().any()


@pytest.mark.every_width
@each_dtype
@pytest.mark.parametrize(("alpha", "beta"), ALPHAS_AND_BETAS)
@pytest.mark.parametrize("transposed", [False, True])
def test_product_scales_and_adds(dtype, alpha, beta, transposed):
    rng = np.random.default_rng(0)
    for count in (1, 2, 128, 129, 300):
        for rows in (1, 2, 3, 5, 8, 13):
            a_values = uniform(rng, dtype, rows, count)
            b_values, c_values = uniform(rng, dtype, count, 37), uniform(rng, dtype, rows, 37)
            a = Matrix(a_values.T if transposed else a_values, dtype)
            b, c = Matrix(b_values, dtype), Matrix(c_values, dtype)
            scale = {"alpha": alpha, "beta": beta, "transposed": transposed}
            product(a, b, c, finish=tiles.SCALED, **scale)
            want = alpha * (a_values.astype(np.float64) @ b_values) + beta * c_values
            np.testing.assert_allclose(c.values, want, rtol=0, atol=tolerance(dtype, count))


@pytest.mark.every_width
@each_dtype
@each_count
def test_product_goes_on_from_what_is_there(dtype, count):
    rng = np.random.default_rng(0)
    for rows in (1, 3, 8, 13):
        a = Matrix(uniform(rng, dtype, rows, count), dtype)
        b = Matrix(uniform(rng, dtype, count, 37), dtype)
        c_values = uniform(rng, dtype, rows, 37)
        c = Matrix(c_values, dtype)
        product(a, b, c, tiles.FROM_C)
        want = c_values + a.values.astype(np.float64) @ b.values.astype(np.float64)
        np.testing.assert_allclose(c.values, want, rtol=0, atol=tolerance(dtype, count))


@pytest.mark.every_width
@each_dtype
@each_count
@pytest.mark.parametrize("finish", [tiles.PLAIN, tiles.RECTIFIED, tiles.MASKED])
def test_product_starts_from_biases_and_is_rectified_or_masked(dtype, count, finish):
    rng = np.random.default_rng(0)
    for rows in (1, 2, 3, 8, 13):
        a = Matrix(uniform(rng, dtype, rows, count), dtype)
        b_and_biases = Matrix(uniform(rng, dtype, count + 1, 37), dtype)
        b = Matrix(b_and_biases.values[:-1], dtype)
        b.flat, b.start = b_and_biases.flat, b_and_biases.start
        both = Matrix(uniform(rng, dtype, 2 * rows, 37), dtype)  # C, and what masks it
        mask_values = both.values[rows:].copy()
        c = Matrix(np.zeros((rows, 37)), dtype)
        c.flat, c.start = both.flat, both.start
        biases, mask = b.start + count * b.stride, rows * both.stride
        product(a, b, c, tiles.FROM_BIASES, finish, biases=biases, mask=mask)
        want = a.values.astype(np.float64) @ b.values + b_and_biases.values[-1]
        if finish == tiles.RECTIFIED:
            want = np.maximum(want, 0)
        elif finish == tiles.MASKED:
            want = np.where(mask_values > 0, want, 0)
        limit = tolerance(dtype, count)
        np.testing.assert_allclose(both.values[:rows], want, rtol=0, atol=limit)
        np.testing.assert_array_equal(both.values[rows:], mask_values)


@pytest.mark.every_width
@each_dtype
def test_rectifying_lets_nan_through(dtype):
    a, b = Matrix(np.full((3, 2), np.nan), dtype), Matrix(np.ones((2, 5)), dtype)
    c = Matrix(np.zeros((3, 5)), dtype)
    product(a, b, c, finish=tiles.RECTIFIED)
    assert np.isnan(c.values).all()


@pytest.mark.every_width
@each_dtype
def test_beta_zero_overwrites_what_is_not_finite(dtype):
    rng = np.random.default_rng(0)
    a, b = (Matrix(uniform(rng, dtype, *shape), dtype) for shape in ((5, 9), (9, 37)))
    for rubbish in (np.nan, np.inf, -np.inf):
        c = Matrix(np.full((5, 37), rubbish), dtype)
        product(a, b, c, finish=tiles.SCALED, alpha=2, beta=0)
        assert np.isfinite(c.values).all()


@pytest.mark.every_width
@each_dtype
def test_an_element_has_the_same_bits_whichever_tile_computes_it(dtype):
    rng = np.random.default_rng(0)
    a_values, b_values = uniform(rng, dtype, MOST_ROWS, 300), uniform(rng, dtype, 300, 150)
    whole = Matrix(np.zeros((MOST_ROWS, 150)), dtype)
    product(Matrix(a_values, dtype), Matrix(b_values, dtype), whole)
    for rows in range(1, MOST_ROWS):
        for columns in (1, 17, 33, 50, 100):
            part = Matrix(np.zeros((rows, columns)), dtype)
            b = Matrix(b_values[:, -columns:], dtype)
            product(Matrix(a_values[-rows:], dtype), b, part)
            assert part.values.tobytes() == whole.values[-rows:, -columns:].tobytes()


def product_transposed(a, b, c, mask=None):
    """Call the product with a transposed matrix, and check what it writes around C."""
    kind = a.flat.dtype
    (rows, count), columns = a.values.shape, len(b.values)
    plan = np.zeros(1, layout.plan_dtype(kind))
    plan["functions"] = functions.addresses(kind)[0]
    room = aligned_zeros(transposed.room_size(kind.itemsize, rows, count) + 16, kind)
    room[:] = np.nan  # what it holds must not matter
    there = c.as_kernels_take_it()
    between = 0 if mask is None else (mask.as_kernels_take_it()[0] - there[0]) // kind.itemsize
    transposed.product_transposed(
        plan[0],
        a.as_kernels_take_it(),
        b.as_kernels_take_it(),
        there,
        layout.Shape(rows, columns, count),
        tiles.PLAIN if mask is None else tiles.MASKED,
        between,
        room.ctypes.data,
    )
    assert np.isnan(room[-16:]).all()
    assert not c.rows[:, columns:].any()
    assert not c.border().any()


@pytest.mark.every_width
@each_dtype
@each_count
def test_product_with_a_transposed_matrix(dtype, count):
    rng = np.random.default_rng(0)
    lanes = vector_ir.lanes(np.dtype(dtype).itemsize)
    for columns in (1, lanes - 1, lanes, lanes + 1, 3 * lanes - 1, 3 * lanes, 3 * lanes + 1, 50):
        for rows in (1, 2, 5, 8, 11):
            a = Matrix(uniform(rng, dtype, rows, count), dtype)
            b = Matrix(uniform(rng, dtype, columns, count), dtype)
            c = Matrix(np.full((rows, columns), np.nan), dtype)
            product_transposed(a, b, c)
            want = a.values.astype(np.float64) @ b.values.astype(np.float64).T
            np.testing.assert_allclose(c.values, want, rtol=0, atol=tolerance(dtype, count))


# Few rows beside the matrix, which are turned in one block or in several; the last shapes have sums
# too long for that, and more rows than pay.
@pytest.mark.every_width
@each_dtype
@pytest.mark.parametrize(
    ("rows", "columns", "count"),
    [(16, 64, 64), (17, 65, 100), (31, 200, 60), (300, 500, 1000), (20, 50, 1030), (200, 210, 130)],
)
def test_turned_rows_give_the_bits_of_a_product_of_the_turned_matrix(dtype, rows, columns, count):
    rng = np.random.default_rng(0)
    a_values, b_values = uniform(rng, dtype, rows, count), uniform(rng, dtype, columns, count)
    a, b, b_turned = Matrix(a_values, dtype), Matrix(b_values, dtype), Matrix(b_values.T, dtype)
    c, want, mask = (Matrix(np.zeros((rows, columns)), dtype) for _ in range(3))
    c.values[:] = np.nan
    product(a, b_turned, want)
    product_transposed(a, b, c)
    assert c.values.tobytes() == want.values.tobytes()
    mask.values[:] = uniform(rng, dtype, rows, columns)
    product_transposed(a, b, c, mask)
    np.testing.assert_array_equal(c.values, np.where(mask.values > 0, want.values, 0))


# Elementary functions


@serial
def _apply(x, exp, tanh, sigmoid):
    for i in range(len(x)):
        exp[i] = elementary.exp(x[i])
        tanh[i] = elementary.tanh(x[i])
        sigmoid[i] = elementary.sigmoid(x[i])


def apply(x):
    """Return exp, tanh and sigmoid of an array, as the kernels compute them."""
    results = {name: np.empty_like(x) for name in ("exp", "tanh", "sigmoid")}
    _apply(x, *results.values())
    return results


def truth(x):
    """Return the same in a wider type."""
    wide = x.astype(np.float64 if x.dtype == np.float32 else np.longdouble)
    with np.errstate(all="ignore"):
        e = np.exp(-np.abs(wide))
        sigmoid = np.where(wide < 0, e, 1) / (1 + e)
        return {"exp": np.exp(wide), "tanh": np.tanh(wide), "sigmoid": sigmoid}


def inputs(dtype):
    """Return numbers from everywhere: evenly over the range of exp, and of every magnitude."""
    info = np.finfo(dtype)
    low, high = math.log(float(info.smallest_subnormal)) - 3, math.log(float(info.max)) + 3
    rng = np.random.default_rng(0)
    magnitudes = 2.0 ** rng.uniform(info.minexp - info.nmant, 10, 100_000)
    even, near = rng.uniform(low, high, 200_000), rng.uniform(-3, 3, 100_000)
    return np.concatenate([even, near, magnitudes, -magnitudes]).astype(dtype)


def error_in_ulps(got, want):
    """Return the largest distance in units of the last place of the right number."""
    info = np.finfo(got.dtype)
    with np.errstate(over="ignore"):
        rounded = want.astype(got.dtype)
    finite = np.isfinite(rounded)
    np.testing.assert_array_equal(got[~finite], rounded[~finite])
    unit = np.maximum(np.spacing(np.abs(rounded[finite])), info.smallest_subnormal)
    return float((np.abs(got[finite].astype(want.dtype) - want[finite]) / unit).max())


# The largest measured: exp 0.85, tanh 2.47, sigmoid 2.24 in float32; 0.84, 2.67, 2.17 in float64.
@pytest.mark.every_width
@each_dtype
@pytest.mark.parametrize(("name", "ulps"), [("exp", 2), ("tanh", 3), ("sigmoid", 3)])
def test_elementary_functions_are_right_to_the_last_bits(dtype, name, ulps):
    if np.finfo(np.longdouble).nmant <= np.finfo(dtype).nmant:
        pytest.skip("no wider type to compare with")
    x = inputs(dtype)
    assert error_in_ulps(apply(x)[name], truth(x)[name]) <= ulps


@pytest.mark.every_width
@each_dtype
@pytest.mark.parametrize(
    ("x", "exp", "tanh", "sigmoid"),
    [
        (0.0, 1, 0.0, 0.5),
        (-0.0, 1, -0.0, 0.5),
        (np.inf, np.inf, 1, 1),
        (-np.inf, 0, -1, 0),
        (1e30, np.inf, 1, 1),
        (-1e30, 0, -1, 0),
    ],
)
def test_elementary_functions_at_the_ends(dtype, x, exp, tanh, sigmoid):
    # Enough numbers that some go through vectors and some do not.
    for name, value in apply(np.full(37, x, dtype)).items():
        want = {"exp": exp, "tanh": tanh, "sigmoid": sigmoid}[name]
        np.testing.assert_array_equal(value, np.full(37, want, dtype))
        if want != 0:
            np.testing.assert_array_equal(np.signbit(value), np.signbit(want))


@each_dtype
def test_elementary_functions_pass_nan_through(dtype):
    for value in apply(np.full(37, np.nan, dtype)).values():
        assert np.isnan(value).all()


@serial
def _log(x, of_numbers, of_lines):
    for i in range(len(x)):
        of_numbers[i] = elementary.log(x[i])
    for i in range(0, len(x), 16):
        start, end = i * x.itemsize, min(i + 16, len(x)) * x.itemsize
        for offset in range(start, end, lines.LINE):
            value = elementary.log(lines.load(x.ctypes.data + offset, x[0]))
            lines.store(of_lines.ctypes.data + offset, value)


# The largest measured: 0.76 in both.
@pytest.mark.every_width
@each_dtype
def test_log_is_right_to_the_last_bits_and_the_same_of_numbers_and_lines(dtype):
    if np.finfo(np.longdouble).nmant <= np.finfo(dtype).nmant:
        pytest.skip("no wider type to compare with")
    rng, info = np.random.default_rng(0), np.finfo(dtype)
    magnitudes = 2.0 ** rng.uniform(info.minexp + 1, info.maxexp - 1, 64_000)
    sums, near = rng.uniform(1, 20, 160_000), rng.uniform(0.99, 1.01, 64_000)
    x = np.concatenate([magnitudes, sums, near, np.ones(16)]).astype(dtype)
    of_numbers, of_lines = np.empty_like(x), np.empty_like(x)
    _log(x, of_numbers, of_lines)
    want = np.log(x.astype(np.float64 if dtype == "float32" else np.longdouble))
    assert error_in_ulps(of_numbers, want) <= 1
    assert of_numbers.tobytes() == of_lines.tobytes()


@each_dtype
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_log_of_what_is_not_finite_is_nan(dtype, value):
    x, results = np.full(32, value, dtype), np.zeros((2, 32), dtype)
    _log(x, *results)
    assert np.isnan(results).all()


@each_dtype
def test_exp_of_numbers_near_the_smallest_is_not_flushed_to_zero(dtype):
    info = np.finfo(dtype)
    x = np.linspace(math.log(info.tiny) - 10, math.log(info.tiny), 37).astype(dtype)
    assert (apply(x)["exp"] > 0).all()


@each_dtype
def test_tanh_is_odd_bit_for_bit(dtype):
    x = inputs(dtype)
    assert apply(-x)["tanh"].tobytes() == (-apply(x)["tanh"]).tobytes()


@each_dtype
def test_elementary_functions_stay_within_their_range(dtype):
    results = apply(inputs(dtype))
    assert (np.abs(results["tanh"]) <= 1).all()
    assert ((results["sigmoid"] >= 0) & (results["sigmoid"] <= 1)).all()


@each_dtype
def test_transposition_of_a_block(dtype):
    kind = np.dtype(dtype)
    lanes = vector_ir.lanes(kind.itemsize)
    transpose = vectors.transpose

    @serial
    def run(source, target, like):
        transpose(source, lanes + 5, target, lanes + 2, like)

    source = np.arange(lanes * (lanes + 5) + 3, dtype=kind)
    target = np.zeros(lanes * (lanes + 2) + 1, kind)
    like = kind.type(0)
    run(source.ctypes.data + 3 * kind.itemsize, target.ctypes.data + kind.itemsize, like)
    rows = source[3:].reshape(lanes, lanes + 5)[:, :lanes]
    np.testing.assert_array_equal(target[1:].reshape(lanes, lanes + 2)[:, :lanes], rows.T)
    assert not target[1:].reshape(lanes, lanes + 2)[:, lanes:].any()


@serial
def _sines(x, out):
    for i in range(len(x)):
        out[i] = elementary.sine_of_turn(x[i])


@pytest.mark.every_width
@each_dtype
def test_the_sine_of_a_turn_is_right_to_the_last_bits(dtype):
    x = np.concatenate([np.linspace(-0.25, 0.25, 100_001), 2.0 ** np.arange(-30.0, -2)])
    x = x.astype(dtype)
    out = np.empty_like(x)
    _sines(x, out)
    # The polynomial's last sum and product, and the coefficient 2 pi, are rounded.
    want = np.sin(2 * np.pi * x.astype(np.float64))
    np.testing.assert_allclose(out, want, rtol=3 * np.finfo(dtype).eps)


# Other widths

TESTED = (
    "parity", "gradients", "vectors", "toolbox", "outputs", "one_row", "narrow", "bfloat16_kernels"
)  # fmt: skip
MODULES = [f"tests/test_{name}.py" for name in TESTED]
OTHER_WIDTHS = [bits for bits in (128, 256, 512) if bits != machine.MACHINE.bits]
# Each dtype has kernels of its own to compile: one for each width, and the others in the long run.
WIDTHS_AND_DTYPES = [
    pytest.param(bits, dtype, marks=[pytest.mark.long] * (i % 2 != j))
    for i, bits in enumerate(OTHER_WIDTHS)
    for j, dtype in enumerate(("float32", "float64"))
]


@pytest.mark.parametrize(("bits", "dtype"), WIDTHS_AND_DTYPES)
def test_every_other_vector_width(run_python, bits, dtype):
    arguments = ("-q", "-x", "-p", "no:cacheprovider", "-m", "every_width and not long", *MODULES)
    printed = run_python(
        "-m", "pytest", *arguments, FASTNN_VECTOR_BITS=str(bits), TESTED_DTYPES=dtype
    )
    assert " passed" in printed


# The tiles of NEON

each_dtype_in_a_process = pytest.mark.parametrize(
    "dtype", ["float32", pytest.param("float64", marks=pytest.mark.long)]
)
BOTH = os.pathsep.join([str(ROOT), str(ROOT / "tests")])


@each_dtype_in_a_process
@pytest.mark.parametrize(
    "tests",
    [
        ("-m", "every_width and not long", *MODULES),
        ("-k", "gives_the_same_bits", "tests/test_threads.py"),
    ],
    ids=["kernels", "threads"],
)
def test_the_tiles_of_neon(run_python, tests, dtype):
    options = ("-q", "-x", "-p", "no:cacheprovider", "-p", "neon")
    printed = run_python("-m", "pytest", *options, *tests, PYTHONPATH=BOTH, TESTED_DTYPES=dtype)
    assert " passed" in printed


def test_each_instruction_set_has_its_tile():
    of_x86 = machine.Machine(512, 32, True, "x86_64")
    shapes = {
        each: next(iter(machine.tiles_of(each).items()))
        for each in (
            of_x86,
            of_x86._replace(bits=128),
            of_x86._replace(bits=256, registers=16),
            of_x86._replace(bits=128, registers=16, fma=False),
            machine.Machine(128, 32, True, "aarch64"),
        )
    }
    assert [(rows, max(across)) for rows, across in shapes.values()] == [
        *[(8, 3), (8, 3)],
        *[(4, 3), (4, 3)],
        (8, 2),
    ]


@pytest.mark.parametrize(
    ("triple", "features", "wanted"),
    [
        ("x86_64-pc-linux-gnu", "+avx,-fma", (256, 16, False, "x86_64")),
        ("x86_64-pc-windows-msvc", "+avx512f,+avx512vl,+fma", (512, 32, True, "x86_64")),
        ("x86_64-apple-darwin", "", (128, 16, False, "x86_64")),
        ("aarch64-unknown-linux-gnu", "+neon", (128, 32, True, "aarch64")),
        ("arm64-apple-darwin24.1.0", "", (128, 32, True, "aarch64")),
        ("aarch64-pc-windows-msvc", "+neon,+sve", (128, 32, True, "aarch64")),
        ("powerpc64le-unknown-linux-gnu", "", (128, 16, False, "powerpc64le")),
    ],
)
def test_the_machine_is_what_llvm_compiles_for(monkeypatch, triple, features, wanted):
    codegen = type(cpu_target.target_context.codegen())
    monkeypatch.setattr(codegen, "magic_tuple", lambda codegen: (triple, "generic", features))
    monkeypatch.delenv("FASTNN_VECTOR_BITS", raising=False)
    assert machine._machine()[:4] == wanted


# What is asked for

INVALID = """
import fastnn
try:
    fastnn.Network([2, 2]).predict([[0, 0]])
except ValueError as error:
    print(error)
"""


@pytest.mark.parametrize("bits", ["64", "100", "wide", "-128", "128.0"])
def test_an_invalid_vector_width_is_an_error_that_names_it(run_python, bits):
    printed = run_python("-c", INVALID, FASTNN_VECTOR_BITS=bits)
    assert "FASTNN_VECTOR_BITS must be 128, 256 or 512" in printed
    assert repr(bits) in printed
