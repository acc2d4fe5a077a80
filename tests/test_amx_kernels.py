"""The kernel of products by AMX with emulated tiles, in a process with ``FASTNN_AMX=emulated``.

`test_amx` starts it. The order of sums is written down here in NumPy, too.
"""

from __future__ import annotations

import numpy as np
import pytest
from cases import DTYPES
from test_bfloat16_kernels import matrix, same_bits, transposed
from test_bfloat16_kernels import rounded_product as other_product
from test_vectors import ALPHAS_AND_BETAS, Matrix, uniform

from fastnn.backends.compiled import functions
from fastnn.backends.compiled.kernels import layout, rounded
from fastnn.backends.compiled.machinery import amx, machine, tiles
from fastnn.model.parameters import aligned_zeros
from fastnn.precision import to_bfloat16

DTYPE = "float32"
EPS = np.finfo(np.float32).eps
if amx.EMULATED:
    from fastnn.backends.compiled.kernels import amx as kernels
pytestmark = pytest.mark.skipif(
    not amx.EMULATED or DTYPE not in DTYPES, reason="needs FASTNN_AMX=emulated; test_amx runs it"
)

# Around words, tiles, pairs of tiles, and the longest sum in one go.
each_count = pytest.mark.parametrize("count", [1, 2, 3, 31, 32, 33, 64, 511, 512, 513, 700])
BY_COLUMNS = [(False, False), (False, True), (True, False)]


def amx_product(a, b, c, start=tiles.FROM_ZERO, finish=tiles.PLAIN, **options):
    """Call the product; the options are those of `test_bfloat16_kernels.rounded_product`."""
    names = ("alpha", "beta", "biases", "mask")
    alpha, beta, biases, mask = (
        options.get(name, default) for name, default in zip(names, (1, 1, 0, 0), strict=True)
    )
    a_by_columns, b_by_columns = options.get("by_columns", (False, False))
    kernels.product.prepare(functions.from_dtype(np.dtype(DTYPE)))
    rows, count = a.values.shape[::-1] if a_by_columns else a.values.shape
    columns = b.values.shape[0 if b_by_columns else 1]
    pack = aligned_zeros(kernels.pack_words(rows, count), np.dtype(DTYPE))
    pack[:] = np.nan  # what it holds must not matter
    kernels.product.dispatcher(
        transposed(a) if a_by_columns else a.as_kernels_take_it(),
        transposed(b) if b_by_columns else b.as_kernels_take_it(),
        c.as_kernels_take_it(),
        layout.Shape(rows, columns, count),
        layout.Sums(start, b.at(biases), finish, mask, np.float32(alpha), np.float32(beta)),
        pack.ctypes.data,
    )


def in_tiles(a, b, start=0):
    """Return the product of rounded factors, summed in the order of AMX, in NumPy."""
    a, b = to_bfloat16(a), to_bfloat16(b)
    total = np.broadcast_to(np.float32(start), (len(a), b.shape[1])).copy()
    for first in range(0, a.shape[1], 32):
        halves = np.zeros((2, *total.shape), np.float32)
        for k in range(first, min(first + 32, a.shape[1])):
            halves[k % 2] += a[:, k : k + 1] * b[k]  # the product is exact
        total += halves[0] + halves[1]
    return total


@each_count
@pytest.mark.parametrize("by_columns", BY_COLUMNS)
def test_sums_have_the_bits_of_the_order_of_tiles_at_every_edge(count, by_columns):
    rng = np.random.default_rng(0)
    for rows in (1, 2, 15, 16, 17, 31, 32, 33, 48, 49, 70):
        a = uniform(rng, DTYPE, rows, count)
        for columns in (1, 3, 4, 5, 15, 16, 17, 31, 32, 33, 47, 49, 65):
            b = uniform(rng, DTYPE, count, columns)
            c = Matrix(np.full((rows, columns), np.nan), DTYPE)
            amx_product(
                matrix(a, by_columns[0]), matrix(b, by_columns[1]), c, by_columns=by_columns
            )
            same_bits(c.values, in_tiles(a, b))
            assert not c.rows[:, columns:].any()
            assert not c.border().any()


def test_sums_are_those_of_rounded_factors():
    rng = np.random.default_rng(0)
    for by_columns in BY_COLUMNS:
        a, b = uniform(rng, DTYPE, 45, 301), uniform(rng, DTYPE, 301, 37)
        c, other = (Matrix(np.zeros((45, 37)), DTYPE) for _ in range(2))
        for multiply, result in ((amx_product, c), (other_product, other)):
            multiply(
                matrix(a, by_columns[0]), matrix(b, by_columns[1]), result, by_columns=by_columns
            )
        want = to_bfloat16(a).astype(np.float64) @ to_bfloat16(b)
        np.testing.assert_allclose(c.values, want, rtol=0, atol=EPS * 305)
        np.testing.assert_allclose(c.values, other.values, rtol=0, atol=EPS * 305)
        assert (c.values != other.values).any()  # their orders differ


def test_an_element_has_the_same_bits_whichever_rows_and_columns_are_multiplied_with_it():
    rng = np.random.default_rng(0)
    a, b = uniform(rng, DTYPE, 70, 300), uniform(rng, DTYPE, 300, 75)
    whole = Matrix(np.zeros((70, 75)), DTYPE)
    amx_product(matrix(a), matrix(b), whole)
    for rows in (1, 8, 16, 33, 65):
        for columns in (1, 17, 40, 70):
            part = Matrix(np.zeros((rows, columns)), DTYPE)
            amx_product(matrix(a[-rows:]), matrix(b[:, -columns:]), part)
            assert part.values.tobytes() == whole.values[-rows:, -columns:].tobytes()


def test_long_sums_and_many_rows_go_through_several_blocks():
    rng = np.random.default_rng(0)
    for rows, count, by_columns in ((330, 1100, True), (340, 1001, False), (9, 4500, False)):
        assert rows * count > 2 * rounded.A_WORDS or count > 2 * rounded.LONGEST
        a, b = uniform(rng, DTYPE, rows, count), uniform(rng, DTYPE, count, 50)
        c = Matrix(np.full((rows, 50), np.nan), DTYPE)
        amx_product(matrix(a, by_columns), matrix(b), c, by_columns=(by_columns, False))
        same_bits(c.values, in_tiles(a, b))


@pytest.mark.parametrize(("alpha", "beta"), ALPHAS_AND_BETAS)
def test_product_scales_and_adds_after_every_128_terms(alpha, beta):
    rng = np.random.default_rng(0)
    scale = {"alpha": alpha, "beta": beta, "finish": tiles.SCALED}
    for count in (1, 2, 127, 128, 129, 300, 2100):
        for rows in (1, 3, 16, 37):
            a, b = uniform(rng, DTYPE, rows, count), uniform(rng, DTYPE, count, 37)
            want = uniform(rng, DTYPE, rows, 37)
            c = Matrix(want if beta else np.full_like(want, np.nan), DTYPE)
            amx_product(matrix(a, True), matrix(b), c, by_columns=(True, False), **scale)
            for k in range(0, count, 128):
                part = in_tiles(a[:, k : k + 128], b[k : k + 128])
                want = alpha * part + (1 if k else beta) * want
            # One rounding less for each block where there are multiply-adds.
            blocks = -(-count // 128)
            limit = 2 * EPS * blocks * max(1, np.abs(want).max())
            np.testing.assert_allclose(c.values, want, rtol=0, atol=limit)


@each_count
@pytest.mark.parametrize("finish", [tiles.PLAIN, tiles.RECTIFIED, tiles.MASKED])
def test_product_starts_from_biases_and_is_rectified_or_masked(count, finish):
    rng = np.random.default_rng(0)
    for rows in (1, 3, 16, 37):
        a, values = uniform(rng, DTYPE, rows, count), uniform(rng, DTYPE, count + 1, 37)
        mask = uniform(rng, DTYPE, rows, 37)
        b_and_biases = Matrix(values, DTYPE)
        b = Matrix(values[:-1], DTYPE)
        b.flat, b.start = b_and_biases.flat, b_and_biases.start
        both = Matrix(np.vstack([np.zeros((rows, 37)), mask]), DTYPE)
        c = Matrix(np.zeros((rows, 37)), DTYPE)
        c.flat, c.start = both.flat, both.start
        options = {"biases": b.start + count * b.stride, "mask": rows * both.stride}
        amx_product(matrix(a), b, c, tiles.FROM_BIASES, finish, **options)
        want = in_tiles(a, values[:-1], values[-1])
        if finish == tiles.RECTIFIED:
            want = np.maximum(want, 0)
        elif finish == tiles.MASKED:
            want = np.where(mask > 0, want, 0)
        same_bits(both.values[:rows], want)
        same_bits(both.values[rows:], mask)
        assert not both.rows[:, 37:].any()


def test_product_goes_on_from_what_is_there():
    rng = np.random.default_rng(0)
    for rows, count in ((1, 1), (37, 600)):
        a, b = uniform(rng, DTYPE, rows, count), uniform(rng, DTYPE, count, 37)
        start = uniform(rng, DTYPE, rows, 37)
        c = Matrix(start, DTYPE)
        amx_product(matrix(a), matrix(b), c, tiles.FROM_C)
        same_bits(c.values, in_tiles(a, b, start))


def test_numbers_beside_the_rows_of_a_are_not_used():
    rng = np.random.default_rng(0)
    for rows, count in ((1, 1), (5, 17), (16, 33), (35, 50)):
        for by_columns in (False, True):
            a, b = uniform(rng, DTYPE, rows, count), uniform(rng, DTYPE, count, 37)
            c = Matrix(np.zeros((rows, 37)), DTYPE)
            within = matrix(a, by_columns)
            inside = within.values.copy()
            within.flat[:] = np.nan
            within.values[...] = inside
            amx_product(within, matrix(b), c, by_columns=(by_columns, False))
            same_bits(c.values, in_tiles(a, b))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_stays_so_and_spoils_no_other_row_or_column(bad):
    a, b = np.ones((20, 35), DTYPE), np.ones((35, 20), DTYPE)
    a[1, 4] = b[3, 18] = bad
    c = Matrix(np.zeros((20, 20)), DTYPE)
    amx_product(matrix(a), matrix(b), c, finish=tiles.RECTIFIED)
    spoilt = np.full((20, 20), 35, DTYPE)
    spoilt[1] = spoilt[:, 18] = bad
    np.testing.assert_array_equal(c.values, spoilt if not bad < 0 else np.maximum(spoilt, 0))


# Which product is used


def test_networks_use_the_product_of_tiles():
    number = functions.from_dtype(np.dtype(DTYPE))
    found = functions.addresses(np.dtype(DTYPE), ["rounded_product"])["rounded_product"]
    assert found == kernels.product.address(number) != rounded.rounded_product.address(number)


def test_a_product_that_differs_turns_amx_off_with_a_warning(monkeypatch):
    monkeypatch.setattr(amx, "trouble", None)
    assert kernels.chosen.__wrapped__() is kernels.product
    real = kernels.product.dispatcher

    class Wrong:
        overloads = real.overloads

        def __call__(self, a, b, c, shape, sums, pack):
            real(a, b, c, shape._replace(depth=shape.depth - 1), sums, pack)

    monkeypatch.setattr(kernels.product, "dispatcher", Wrong())
    with pytest.warns(RuntimeWarning, match="AMX is turned off: it gave another product"):
        assert kernels.chosen.__wrapped__() is rounded.rounded_product
    monkeypatch.setattr(amx, "EMULATED", False)
    monkeypatch.setattr(amx, "MACHINE", machine.MACHINE._replace(amx=True))
    monkeypatch.setattr(amx, "ASKED", "1")
    assert amx.state().startswith("AMX is there and not used: it gave another product")


def test_the_cache_keeps_the_emulation_apart():
    assert kernels.product.dispatcher._cache._cache_file.name.endswith("emulated")
