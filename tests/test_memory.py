"""Memory: how many vectors of the size of the parameters there are at a time."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

import fastnn
from fastnn.training import loop

SIZES = [20_000, 96, 2]
EPOCHS = 3


def data(rows=8):
    rng = np.random.default_rng(0)
    return rng.normal(size=(rows, SIZES[0])).astype(np.float32), np.arange(rows) % 2


def vectors_at_most(net, do):
    """Return the most memory that a call takes, in vectors of all parameters."""
    do()  # compiles what it needs
    net.model.optimizer_state = None
    net.model.prepared.clear()
    tracemalloc.start()
    try:
        do()
        return tracemalloc.get_traced_memory()[1] / net.parameters.nbytes
    finally:
        tracemalloc.stop()


def test_a_run_keeps_one_copy_of_the_parameters_and_of_what_adam_remembers(monkeypatch):
    X, y = data()
    net = fastnn.Network(SIZES, seed=0, threads=1)
    monkeypatch.setattr(loop, "SLICE", 1)  # each step is a call

    def train():
        net.train(X, y, epochs=EPOCHS, batch_size=2, optimizer="adam")

    assert vectors_at_most(net, train) < 5.2  # what Adam remembers: two, and the copies of all


def test_a_run_with_validation_keeps_a_second_copy_for_the_begin_of_the_epoch(monkeypatch):
    X, y = data()
    net = fastnn.Network(SIZES, seed=0, threads=1)
    monkeypatch.setattr(loop, "SLICE", 1)

    def train():
        net.train(X, y, epochs=EPOCHS, batch_size=2, optimizer="adam", validation=(X[:2], y[:2]))

    assert vectors_at_most(net, train) < 8.2


def test_the_sum_of_squared_weights_needs_no_room_of_their_size():
    translation = pytest.importorskip("fastnn.estimators.translation", exc_type=ImportError)
    net = fastnn.Network([20_000, 96, 2], seed=0)
    assert vectors_at_most(net, lambda: translation.squares(net)) < 0.6
    expected = sum(float(np.square(w.astype(np.float64)).sum()) for w in net.weights)
    assert translation.squares(net) == pytest.approx(expected, rel=1e-6)


def test_adam_on_sparse_rows_needs_no_gradient_of_the_size_of_the_weights():
    sparse = pytest.importorskip("scipy.sparse")
    X = sparse.random_array((64, SIZES[0]), density=1e-3, format="csr", rng=0, dtype="float32")
    net = fastnn.Network(SIZES, seed=0, threads=1)

    def train():
        net.train(X, np.arange(64) % 2, epochs=EPOCHS, batch_size=16, optimizer="adam")

    assert vectors_at_most(net, train) < 5.2
