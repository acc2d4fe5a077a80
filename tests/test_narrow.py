"""Layers of a few units, whose products and gradients have a way of their own."""

from __future__ import annotations

import numpy as np
import pytest
from cases import BACKENDS, DTYPES

import fastnn

pytestmark = pytest.mark.every_width
UNITS = (1, 2, 3, 4, 5)
each_dtype = pytest.mark.parametrize("dtype", DTYPES)
each_width = pytest.mark.parametrize("units", UNITS)


def data(rows, columns, dtype):
    rng = np.random.default_rng(rows)
    return rng.normal(size=(rows, columns)).astype(dtype)


def network(sizes, dtype, **options):
    return fastnn.Network(
        sizes, activation="tanh", output="identity", seed=3, dtype=dtype, threads=1, **options
    )


@each_dtype
@each_width
@pytest.mark.parametrize("sizes", [[3], [4], [20], [6, 2], [5, 17], [20, 63], [30, 3, 19]], ids=str)
@pytest.mark.parametrize("rows", [15, 33, 700])
def test_many_rows_have_the_bits_of_single_ones(sizes, units, rows, dtype):
    net = network([*sizes, units], dtype)
    X = data(rows, sizes[0], dtype)
    expected = np.array([net.predict_one(x) for x in X])
    np.testing.assert_array_equal(net.predict(X).reshape(rows, -1), expected.reshape(rows, -1))


@each_dtype
@each_width
def test_rows_read_where_they_are_may_end_with_their_last_number(units, dtype):
    net = network([7, units], dtype)
    everything = np.full((2000, 11), np.nan, dtype)
    everything[:, 2:9] = X = data(2000, 7, dtype)
    np.testing.assert_array_equal(net.predict(everything[:, 2:9]), net.predict(X))


@each_dtype
@each_width
@pytest.mark.parametrize("sizes", [[5], [20, 33], [130, 3, 140]], ids=str)
@pytest.mark.parametrize("rows", [1, 7, 128, 300])
def test_gradients_are_those_of_the_formulas(sizes, units, rows, dtype):
    X, Y = data(rows, sizes[0], dtype), data(rows, units, dtype)
    found, expected = (
        network([*sizes, units], dtype, backend=backend).loss_and_gradient(X, Y)[1].vector
        for backend in BACKENDS
    )
    rtol, atol = (1e-4, 1e-5) if dtype == "float32" else (1e-11, 1e-13)
    np.testing.assert_allclose(found, expected, rtol, atol)
