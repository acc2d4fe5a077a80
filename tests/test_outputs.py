"""The last layer: its rows in strips, what is written where, and the check of inputs."""

from __future__ import annotations

import numpy as np
import pytest
from cases import DTYPES, Case, make_data, make_network

from fastnn import Network, backends
from fastnn.backends.compiled.machinery import columns, lines
from fastnn.backends.compiled.machinery.jit import serial
from fastnn.model.parameters import aligned_zeros

each_dtype = pytest.mark.parametrize("dtype", DTYPES)
each_output = pytest.mark.parametrize("output", ["softmax", "sigmoid", "identity", "exponential"])
# Around a strip of columns: one, a quarter of a line, a line of numbers in either dtype, and more.
OUTPUTS = (1, 2, 3, 4, 5, 8, 9, 16, 17, 33)
ROWS = (1, 7, 8, 15, 16, 17, 31, 33, 513, 530)
MARK = 77.0


@pytest.mark.every_width
@each_dtype
@each_output
@pytest.mark.parametrize("threads", [1, 2])
def test_outputs_are_written_for_each_row_and_nowhere_else(dtype, output, threads):
    rng = np.random.default_rng(0)
    for outputs in OUTPUTS[output == "softmax" :]:
        net = Network([3, outputs], output=output, dtype=dtype, seed=0, threads=threads)
        for rows in ROWS:
            X = rng.normal(size=(rows, 3)).astype(dtype)
            room = np.full(rows * outputs + 128, MARK, dtype)
            out = room[64:-64].reshape(rows, outputs)
            assert backends.get("numba").predict(net.model, X, out)
            want = np.empty_like(out)
            backends.get("numpy").predict(net.model, X, want)
            np.testing.assert_allclose(out, want, rtol=64 * np.finfo(dtype).eps, atol=1e-6)
            assert (room[:64] == MARK).all()
            assert (room[-64:] == MARK).all()


@pytest.mark.every_width
@each_dtype
@each_output
def test_a_row_has_the_same_outputs_whatever_rows_are_beside_it(dtype, output):
    rng = np.random.default_rng(0)
    for outputs in OUTPUTS[output == "softmax" :]:
        net = Network([3, outputs], output=output, dtype=dtype, seed=0)
        X = rng.normal(size=(40, 3)).astype(dtype)
        whole, parts = np.empty((40, outputs), dtype), np.empty((40, outputs), dtype)
        backends.get("numba").predict(net.model, X, whole)
        for first in range(0, 40, 8):
            backends.get("numba").predict(net.model, X[first:], parts[first:])
            assert parts[first:].tobytes() == whole[first:].tobytes()


@pytest.mark.every_width
@each_dtype
@pytest.mark.parametrize("targets", ["labels", "probabilities"])
@pytest.mark.parametrize("outputs", [3, 40])
def test_losses_with_weights_and_smoothing_are_those_of_the_other_backend(dtype, targets, outputs):
    case = Case((5, outputs), dtype=dtype, targets=targets)
    rng = np.random.default_rng(0)
    X, y = make_data(case, rng, 37)
    settings = {"sample_weight": rng.uniform(0.5, 2, 37), "label_smoothing": 0.1}
    losses = []
    for backend in ("numba", "numpy"):
        net = make_network(case, backend)
        history = net.train(X, y, epochs=2, batch_size=20, progress=False, **settings)
        losses.append([row["loss"] for row in history.rows])
    np.testing.assert_allclose(*losses, rtol=100 * np.finfo(dtype).eps)


@serial
def _there_and_back(rows, turned, back, count, like):
    row_bytes = rows.strides[0]
    columns.to_columns(rows.ctypes.data, row_bytes, turned.ctypes.data, count, like)
    columns.to_rows(back.ctypes.data, row_bytes, turned.ctypes.data, count, like)


@pytest.mark.every_width
@each_dtype
def test_rows_become_columns_and_rows_again(dtype):
    n = lines.LINE // np.dtype(dtype).itemsize
    rows = np.arange(n * (n + 3), dtype=dtype).reshape(n, n + 3)
    for count in range(1, n + 1):
        turned, back = aligned_zeros(n * n, np.dtype(dtype)).reshape(n, n), np.zeros_like(rows)
        _there_and_back(rows, turned, back, count, rows[0, 0])
        np.testing.assert_array_equal(turned[:count], rows.T[:count])
        np.testing.assert_array_equal(back[:, :count], rows[:, :count])


@each_dtype
@pytest.mark.parametrize("features", [1, 3, 16, 17, 40])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_input_that_is_not_finite_is_found_in_any_row(dtype, features, bad):
    net = Network([features, 2], dtype=dtype, seed=0)
    out = np.empty((37, 2), dtype)
    for row in (0, 15, 16, 36):
        for column in {0, features - 1}:
            for X in (np.ones((37, features), dtype), np.ones((37, features + 5), dtype)):
                X[row, column] = bad
                assert not backends.get("numba").predict(net.model, X[:, :features], out)


@each_dtype
@pytest.mark.parametrize("features", [1, 3, 16, 17, 40])
def test_columns_that_are_not_inputs_need_not_be_finite(dtype, features):
    net = Network([features, 2], dtype=dtype, seed=0)
    X = np.full((37, features + 5), np.nan, dtype)
    X[:, :features] = 1
    assert backends.get("numba").predict(net.model, X[:, :features], np.empty((37, 2), dtype))
