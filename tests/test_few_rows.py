"""Predictions of a few rows, which have a way of their own with the compiled backend."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import numpy as np
import pytest
from cases import DTYPES

import fastnn
from fastnn.backends.compiled import blocks, few_rows

ROWS = 300
SIZES = [40, 20, 7]
LAYOUTS = {
    "C": np.ascontiguousarray,
    "Fortran": np.asfortranarray,
    "reversed": lambda X: X[::-1, ::-1].copy()[::-1, ::-1],
    "every second": lambda X: np.repeat(X, 2, axis=1)[:, ::2],
}
KINDS = {
    "float32": lambda X: X.astype(np.float32),
    "float64": lambda X: X.astype(np.float64),
    "float16": lambda X: X.astype(np.float16),
    "uint8": lambda X: np.abs(X * 50).astype(np.uint8),
    "int": lambda X: np.round(X).astype(int),
    "big-endian": lambda X: X.astype(">f8"),
}


def network(dtype="float32", **settings):
    return fastnn.Network(SIZES, "tanh", seed=4, dtype=dtype, **settings)


def inputs(rows=ROWS, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, SIZES[0]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_few_rows_have_the_outputs_that_they_have_among_many(dtype, kind, layout):
    net = network(dtype)
    X = LAYOUTS[layout](KINDS[kind](inputs()))
    whole = net.predict_proba(X)
    for rows in (1, 2, 3, 10, 17, 100, 128, 129):
        np.testing.assert_array_equal(net.predict_proba(X[:rows]), whole[:rows])


@pytest.mark.parametrize("threads", [1, 2])
def test_few_rows_that_are_mostly_zero_have_the_same_outputs(threads):
    net = fastnn.Network([300, 200, 5], seed=1, threads=threads)
    X = np.random.default_rng(0).normal(size=(ROWS, 300)).astype(np.float32)
    X[:, 30:] = 0
    np.testing.assert_array_equal(net.predict_proba(X[:60]), net.predict_proba(X)[:60])


def test_few_rows_of_a_network_that_standardises():
    net = network(standardize_inputs=True)
    X = inputs() * 30 + 100
    before = net.predict_proba(X[:10])
    net.train(X, np.arange(ROWS) % 7, epochs=1)
    after = net.predict_proba(X[:10])
    assert not np.array_equal(before, after)
    np.testing.assert_array_equal(after, net.predict_proba(X)[:10])


def test_few_rows_follow_changes_of_the_parameters():
    net, X = network(), inputs(5)
    before = net.predict_proba(X)
    net.biases[1][0] += 5
    assert (net.predict_proba(X)[:, 0] > before[:, 0]).all()


@pytest.mark.parametrize(
    ("dtype", "bad"),
    [("float32", np.nan), ("float32", 1e300), ("float64", np.nan), ("float64", np.inf)],
)
def test_few_rows_that_are_not_finite_are_refused(dtype, bad):
    net = network(dtype)
    X = inputs(10)
    net.predict_proba(X)
    X[3, 5] = bad
    with pytest.raises(ValueError, match=r"X must be finite in .*row 3, column 5"):
        net.predict_proba(X)
    np.testing.assert_array_equal(net.predict_proba(X[:3]), network(dtype).predict_proba(X[:3]))


def test_what_is_made_for_few_rows_is_kept_for_any_number_and_type_of_them(monkeypatch):
    made, plan = [], few_rows.Plan
    monkeypatch.setattr(few_rows, "Plan", lambda *task: made.append(task) or plan(*task))
    net, X = network(), inputs()
    for rows in (1, 100, 2, 50):
        for kind in KINDS.values():
            net.predict_proba(kind(X[:rows]))
    assert len(made) == 1


def test_threads_of_python_predict_few_rows_at_the_same_time():
    net, X = network(), inputs(2000).astype(np.float32)
    whole, wrong = net.predict_proba(X), []

    def predict(first):
        for start in range(first, 2000, 20):
            rows = slice(start, start + 10)
            if not np.array_equal(net.predict_proba(X[rows]), whole[rows]):
                wrong.append(start)

    threads = [threading.Thread(target=predict, args=(first,)) for first in (0, 5, 10, 15)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_few_rows_are_right_after_ctrl_c_in_a_prediction_of_many(monkeypatch):
    net, X = network(threads=1), inputs(2000).astype(np.float32)
    right, run = net.predict_proba(X[:5]), few_rows.batches.run
    net.predict_proba(X)

    def interrupted(*arguments):
        run.dispatcher(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(few_rows.batches, "run", SimpleNamespace(dispatcher=interrupted))
        with pytest.raises(KeyboardInterrupt):
            net.predict_proba(X[5:])
    np.testing.assert_array_equal(net.predict_proba(X[:5]), right)


ROWS_OF_TARGETS = np.random.default_rng(1)
TARGETS = {
    "labels": (None, np.arange(10) % 7),
    "one-hot": (None, np.eye(7, dtype=np.float32)[np.arange(10) % 7]),
    "bytes": (None, np.eye(7, dtype=np.uint8)[np.arange(10) % 7]),
    "float64": ("mse", ROWS_OF_TARGETS.random((10, 7))),
    "float32": ("huber", ROWS_OF_TARGETS.random((10, 7)).astype(np.float32)),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("weights", [None, np.arange(10)])
def test_few_rows_are_evaluated_as_many_are(dtype, kind, weights, monkeypatch):
    loss, y = TARGETS[kind]
    net = network(dtype, loss=loss)
    few = [net.evaluate(inputs(10), y, weights), net.evaluate(inputs(4), y[:4])]
    monkeypatch.setattr(few_rows, "MOST_ROWS", 0)
    net = network(dtype, loss=loss)
    many = [net.evaluate(inputs(10), y, weights), net.evaluate(inputs(4), y[:4])]
    for one, other in zip(few, many, strict=True):
        # The mean of the blocks' means is that of a single block but for a rounding.
        assert one == pytest.approx(other, rel=4 * np.finfo(np.float64).eps)


def test_few_rows_with_weights_and_then_without():
    net, X, y = network(), inputs(10), np.arange(10) % 7
    before = net.evaluate(X, y)
    net.evaluate(X, y, np.arange(10))
    net.evaluate(X, np.eye(7)[y] * 0.5 + 0.5 / 7)
    assert net.evaluate(X, y) == before


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_rows_for_which_there_is_no_room_are_read_where_they_are(dtype, layout):
    net = network(dtype, threads=1)
    few = few_rows.FewRows(net.model, learning=False)
    X = LAYOUTS[layout](inputs(3 * few.block + 5).astype(dtype))
    expected = np.array([net.predict_one(x) for x in X])
    for rows in (few.most + 1, few.block, few.block + 1, len(X)):
        np.testing.assert_array_equal(net.predict_proba(X[:rows]), expected[:rows])
        np.testing.assert_array_equal(net.predict_proba(X[:10]), expected[:10])


@pytest.mark.parametrize("place", [0, 700, -1])
def test_a_number_that_is_not_finite_is_found_in_any_block(place):
    net = network(threads=1)
    X = inputs(20 * blocks.near(net.model.architecture)).astype(np.float32)
    X[place, 3] = np.inf
    with pytest.raises(ValueError, match=f"got inf in row {place % len(X)}, column 3"):
        net.predict(X)
