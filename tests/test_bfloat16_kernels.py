"""Products of factors in bfloat16: the bits are those of float32 products of rounded factors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cases import DTYPES, WIDE, Case, make_data, make_network
from test_vectors import ALPHAS_AND_BETAS, MOST_ROWS, Matrix, product, uniform

from fastnn import Network
from fastnn.backends.compiled import functions
from fastnn.backends.compiled.kernels import layout, rounded
from fastnn.backends.compiled.machinery import amx, bfloat16, lines, machine, tiles, vector_ir
from fastnn.backends.compiled.machinery.jit import serial
from fastnn.model.parameters import aligned_zeros
from fastnn.precision import to_bfloat16

pytestmark = [
    pytest.mark.every_width,
    pytest.mark.skipif("float32" not in DTYPES, reason="sums are in float32"),
]
DTYPE = "float32"
LANES = vector_ir.lanes(4)
VECTORS = (*range(1, machine.PANEL + 2), 2 * machine.PANEL + 1)
# Around pairs, vectors of words, and the longest sum in one go.
each_count = pytest.mark.parametrize("count", [1, 2, 3, 33, 256, 257, 513])


def transposed(matrix):
    """Return a matrix stored by columns as kernels take it."""
    return layout.Matrix(matrix.at(matrix.start), 1, matrix.stride)


def rounded_product(a, b, c, start=tiles.FROM_ZERO, finish=tiles.PLAIN, **options):
    """Call the product of rounded factors; A and B are stored by columns if ``by_columns`` says so.

    The other options are those of `test_vectors.product`.
    """
    names = ("alpha", "beta", "biases", "mask")
    alpha, beta, biases, mask = (
        options.get(name, default) for name, default in zip(names, (1, 1, 0, 0), strict=True)
    )
    a_by_columns, b_by_columns = options.get("by_columns", (False, False))
    number = np.float32
    rounded.rounded_product.prepare(functions.from_dtype(np.dtype(DTYPE)))
    rows, count = a.values.shape[::-1] if a_by_columns else a.values.shape
    columns = b.values.shape[0 if b_by_columns else 1]
    pack = aligned_zeros(rounded.pack_words(rows, count), np.dtype(DTYPE))
    pack[:] = np.nan  # what it holds must not matter
    rounded.rounded_product.dispatcher(
        transposed(a) if a_by_columns else a.as_kernels_take_it(),
        transposed(b) if b_by_columns else b.as_kernels_take_it(),
        c.as_kernels_take_it(),
        layout.Shape(rows, columns, count),
        layout.Sums(start, b.at(biases), finish, mask, number(alpha), number(beta)),
        pack.ctypes.data,
    )


def nearest(values):
    return Matrix(to_bfloat16(values), DTYPE)


def matrix(values, by_columns=False):
    return Matrix(values.T if by_columns else values, DTYPE)


def same_bits(got, want):
    """Compare numbers; which zero it is may depend on the zeros behind an odd number of terms."""
    np.testing.assert_array_equal(got, want)


@each_count
@pytest.mark.parametrize("by_columns", [(False, False), (False, True), (True, False)])
def test_product_of_every_tile_and_its_edges(count, by_columns):
    rng = np.random.default_rng(0)
    for rows in (*range(1, MOST_ROWS + 1), 33):
        a = uniform(rng, DTYPE, rows, count)
        for columns in {max(1, LANES * n - d) for n in VECTORS for d in (0, 1)}:
            b = uniform(rng, DTYPE, count, columns)
            c = Matrix(np.full((rows, columns), np.nan), DTYPE)
            want = Matrix(np.zeros((rows, columns)), DTYPE)
            product(nearest(a), nearest(b), want)
            rounded_product(
                matrix(a, by_columns[0]), matrix(b, by_columns[1]), c, by_columns=by_columns
            )
            same_bits(c.values, want.values)
            assert not c.rows[:, columns:].any()
            assert not c.border().any()


def test_the_product_is_that_of_rounded_factors():
    rng = np.random.default_rng(0)
    a, b = uniform(rng, DTYPE, 13, 301), uniform(rng, DTYPE, 301, 37)
    c = Matrix(np.zeros((13, 37)), DTYPE)
    rounded_product(matrix(a), matrix(b), c)
    want = to_bfloat16(a).astype(np.float64) @ to_bfloat16(b)
    error = np.finfo(np.float32).eps * 305
    np.testing.assert_allclose(c.values, want, rtol=0, atol=error)
    assert np.abs(c.values - a.astype(np.float64) @ b).max() > 10 * error


def test_long_sums_and_many_rows_go_through_several_blocks():
    rng = np.random.default_rng(0)
    for rows, count, by_columns in ((330, 1100, True), (340, 1001, False), (9, 4500, False)):
        assert rows * count > 2 * rounded.A_WORDS or count > 2 * rounded.LONGEST
        a, b = uniform(rng, DTYPE, rows, count), uniform(rng, DTYPE, count, 50)
        c, want = (Matrix(np.full((rows, 50), np.nan), DTYPE) for _ in range(2))
        product(nearest(a), nearest(b), want)
        rounded_product(matrix(a, by_columns), matrix(b), c, by_columns=(by_columns, False))
        same_bits(c.values, want.values)


@pytest.mark.parametrize(("alpha", "beta"), ALPHAS_AND_BETAS)
def test_product_scales_and_adds(alpha, beta):
    rng = np.random.default_rng(0)
    scale = {"alpha": alpha, "beta": beta, "finish": tiles.SCALED}
    for count in (1, 2, 127, 128, 129, 300, 2100):
        for rows in (1, 3, 8, 13):
            a, b = uniform(rng, DTYPE, rows, count), uniform(rng, DTYPE, count, 37)
            c_values = uniform(rng, DTYPE, rows, 37)
            c, want = Matrix(c_values, DTYPE), Matrix(c_values, DTYPE)
            rounded_product(matrix(a, True), matrix(b), c, by_columns=(True, False), **scale)
            product(Matrix(to_bfloat16(a).T, DTYPE), nearest(b), want, transposed=True, **scale)
            same_bits(c.values, want.values)


@each_count
@pytest.mark.parametrize("finish", [tiles.PLAIN, tiles.RECTIFIED, tiles.MASKED])
def test_product_starts_from_biases_that_are_not_rounded_and_is_rectified_or_masked(count, finish):
    rng = np.random.default_rng(0)
    for rows in (1, 3, 8, 13):
        a, values = uniform(rng, DTYPE, rows, count), uniform(rng, DTYPE, count + 1, 37)
        mask = uniform(rng, DTYPE, rows, 37)
        results = []
        for multiply, factors in ((product, to_bfloat16), (rounded_product, lambda x: x)):
            b_and_biases = Matrix(np.vstack([factors(values[:-1]), values[-1]]), DTYPE)
            b = Matrix(b_and_biases.values[:-1], DTYPE)
            b.flat, b.start = b_and_biases.flat, b_and_biases.start
            both = Matrix(np.vstack([np.zeros((rows, 37)), mask]), DTYPE)
            c = Matrix(np.zeros((rows, 37)), DTYPE)
            c.flat, c.start = both.flat, both.start
            options = {"biases": b.start + count * b.stride, "mask": rows * both.stride}
            multiply(matrix(factors(a)), b, c, tiles.FROM_BIASES, finish, **options)
            results.append(both.values.copy())
        same_bits(*results)


def test_numbers_beside_the_rows_of_a_are_not_used():
    rng = np.random.default_rng(0)
    for rows, count in ((1, 1), (5, 17), (8, 33), (3, 50)):
        for by_columns in (False, True):
            a, b = uniform(rng, DTYPE, rows, count), uniform(rng, DTYPE, count, 37)
            c, want = (Matrix(np.zeros((rows, 37)), DTYPE) for _ in range(2))
            rounded_product(matrix(a, by_columns), matrix(b), want, by_columns=(by_columns, False))
            within = matrix(a, by_columns)
            inside = within.values.copy()
            within.flat[:] = np.nan
            within.values[...] = inside
            rounded_product(within, matrix(b), c, by_columns=(by_columns, False))
            same_bits(c.values, want.values)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_stays_so(bad):
    a, b = np.ones((3, 5), DTYPE), np.ones((5, 20), DTYPE)
    a[1, 4] = bad
    c = Matrix(np.zeros((3, 20)), DTYPE)
    rounded_product(matrix(a), matrix(b), c)
    np.testing.assert_array_equal(c.values[1], np.full(20, bad, DTYPE))
    assert (c.values[[0, 2]] == 5).all()


@serial
def _round(x):
    for i in range(len(x)):
        x[i] = bfloat16.rounded(x[i])


def test_numbers_are_rounded_as_numpy_rounds_them():
    upper = np.arange(1 << 16, dtype=np.uint32) << 16
    for lower in (0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF):
        x = (upper | np.uint32(lower)).view(DTYPE)
        got = x.copy()
        _round(got)
        with np.errstate(over="ignore"):
            np.testing.assert_array_equal(got, to_bfloat16(x))


@serial
def _round_lines(address, count, like):
    for i in range(0, count, lines.lanes_of(like)):
        here = address + 4 * i
        lines.store(here, bfloat16.rounded(lines.load(here, like)))


def test_lines_of_numbers_are_rounded_as_numpy_rounds_them():
    upper = np.arange(1 << 16, dtype=np.uint32) << 16
    for lower in (0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF):
        x = (upper | np.uint32(lower)).view(DTYPE)
        with np.errstate(over="ignore"):
            want = to_bfloat16(x)
        normal = ~(np.abs(x) < np.finfo(np.float32).tiny)
        _round_lines(x.ctypes.data, len(x), np.float32(0))
        np.testing.assert_array_equal(x[normal], want[normal])


def test_packed_numbers_are_rounded_as_numpy_rounds_them():
    upper = np.arange(0x80, 0x7F80, dtype=np.uint32) << 16  # the normal ones
    one, c = np.ones((1, 1), DTYPE), Matrix(np.zeros((1, len(upper))), DTYPE)
    for lower in (0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF):
        x = (upper | np.uint32(lower)).view(DTYPE)
        with np.errstate(over="ignore"):
            want = to_bfloat16(x)
        for signed, expected in ((x, want), (-x, -want)):
            rounded_product(matrix(one), matrix(signed[None]), c)
            np.testing.assert_array_equal(c.values[0], expected)


# Networks

# Rows on their own, and sparse ones, are summed in the order of float32.
in_one_order = pytest.mark.skipif(amx.available(), reason="AMX has another order of sums")


@in_one_order
@pytest.mark.parametrize("batch", [1, 2, 7, 8, 9, 17, 67])
def test_a_rows_prediction_has_the_same_bits_alone_and_among_others(batch):
    X, _ = make_data(WIDE, np.random.default_rng(0))
    net = make_network(replace(WIDE, precision="bfloat16"))
    np.testing.assert_array_equal(net.predict_proba(X[:batch])[0], net.predict_one(X[0]))
    np.testing.assert_array_equal(net.predict_proba(X)[:batch], net.predict_proba(X[:batch]))


@pytest.mark.skipif(not machine.MACHINE.x86, reason="of x86 alone")
@pytest.mark.parametrize("number", [1e-40, 1.17549e-38, -1.17549e-38])  # would be rounded up
@pytest.mark.parametrize("of_weights", [False, True])
def test_numbers_below_the_normal_ones_are_zero_in_every_product(number, of_weights):
    weight, x = (number, 3e38) if of_weights else (3e38, number)
    net = Network(
        [4, 17], output="identity", precision="bfloat16", init=lambda *_: np.full((4, 17), weight)
    )
    X = np.full((20, 4), x, DTYPE)
    assert not net.predict(X).any()
    assert not net.predict(X[:3]).any()
    assert not net.predict_one(X[0]).any()
    assert not net.predict(pytest.importorskip("scipy.sparse").csr_array(X)).any()


@in_one_order
def test_sparse_rows_give_the_bits_of_dense_ones():
    sparse = pytest.importorskip("scipy.sparse")
    case = replace(Case((70, 33, 5), batch=11), precision="bfloat16", zeros=0.5)
    X, y = make_data(case, np.random.default_rng(0))
    net = make_network(case)
    rows = sparse.csr_array(X)
    np.testing.assert_array_equal(net.predict_proba(rows), net.predict_proba(X))
    gradients = [net.loss_and_gradient(each, y)[1] for each in (X, rows)]
    for got, want in zip(gradients[1].weights, gradients[0].weights, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-7)
