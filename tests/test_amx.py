"""Products by AMX, whose instructions are emulated, and the code for CPUs that have them.

No test here has run on such a CPU. Those of kernels need ``FASTNN_AMX=emulated``, which
`test_products_with_emulated_tiles` sets.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cases import DTYPES, WIDE, make_data, make_network
from test_bfloat16_kernels import matrix, nearest, same_bits, transposed
from test_bfloat16_kernels import rounded_product as other_product
from test_vectors import ALPHAS_AND_BETAS, Matrix, uniform

from fastnn.backends.compiled import functions
from fastnn.backends.compiled.kernels import layout
from fastnn.backends.compiled.machinery import amx, tiles
from fastnn.model.parameters import aligned_zeros
from fastnn.precision import to_bfloat16

DTYPE = "float32"
emulated = pytest.mark.skipif(
    not amx.EMULATED or "float32" not in DTYPES, reason="FASTNN_AMX=emulated runs it"
)
if amx.EMULATED:
    from fastnn.backends.compiled.kernels import amx as kernels

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


@emulated
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
