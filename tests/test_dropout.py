"""Dropout: the masks' statistics, both backends, threads, predictions, the gradient."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from cases import BACKENDS, DTYPES

from fastnn import Network
from fastnn.backends.compiled.machinery import threads
from fastnn.backends.dropout import multipliers, row_keys

each_backend = pytest.mark.parametrize("backend", BACKENDS)
each_dtype = pytest.mark.parametrize("dtype", DTYPES)
each_rate = pytest.mark.parametrize("rate", [0.01, 0.2, 0.5, 0.9])
FLOAT64 = np.dtype("float64")
ROWS, UNITS = 700, 300


def mask(rate=0.5, seed=1, epoch=1, layer=0, rows=ROWS, units=UNITS):
    """Return the multipliers of some rows of an epoch."""
    return multipliers(row_keys(seed, epoch, 3, range(rows))[layer], units, rate, FLOAT64)


def sigmas(kept, rate):
    """Return how far shares of independent numbers kept are from what they should be."""
    count = kept.shape[0]
    return np.abs(kept.mean(axis=0) - (1 - rate)) / np.sqrt(rate * (1 - rate) / count)


def correlation(a, b):
    """Return the correlation of two masks, in standard deviations of independent ones."""
    return abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) * np.sqrt(a.size)


def data(rows, features=7, classes=3, zeros=0.0):
    rng = np.random.default_rng(2)
    X = rng.normal(size=(rows, features))
    X[rng.random(X.shape) < zeros] = 0
    return X, rng.integers(0, classes, rows)


def network(backend="numba", sizes=(7, 33, 21, 3), activation="tanh", dtype="float32", **options):
    return Network(sizes, activation, seed=5, backend=backend, dtype=dtype, **options)


# Masks


@each_rate
def test_the_share_of_units_left_out_is_the_rate(rate):
    kept = mask(rate) > 0
    assert sigmas(kept.reshape(-1, 1), rate) < 5
    assert sigmas(kept, rate).max() < 5  # of each unit
    assert sigmas(kept.T, rate).max() < 5  # of each row


@each_rate
def test_units_that_are_kept_make_up_for_those_that_are_not(rate):
    # The rate is rounded to a multiple of 2^-32.
    np.testing.assert_allclose(np.unique(mask(rate)), [0, 1 / (1 - rate)], rtol=2**-32 / (1 - rate))


@pytest.mark.parametrize("rate", [0.2, 0.5])
@pytest.mark.parametrize("lag", [1, 2, 3, 64, 128])
def test_neither_rows_nor_units_next_to_each_other_are_correlated(lag, rate):
    whole = mask(rate)
    assert correlation(whole[lag:], whole[:-lag]) < 5
    assert correlation(whole[:, lag:], whole[:, :-lag]) < 5
    assert correlation(whole[lag:, lag:], whole[:-lag, :-lag]) < 5
    assert correlation(whole[lag:, :-lag], whole[:-lag, lag:]) < 5


def test_no_two_rows_and_no_two_units_are_correlated():
    for vectors in (mask(rows=100, units=3000), mask(rows=3000, units=100).T):
        above = np.triu(np.corrcoef(vectors), 1)
        assert np.abs(above).max() * np.sqrt(vectors.shape[1]) < 5


def test_neither_epochs_nor_layers_nor_seeds_are_correlated():
    masks = [mask(), mask(epoch=2), mask(epoch=3), mask(layer=1), mask(layer=2), mask(seed=2)]
    for a, b in combinations(masks, 2):
        assert correlation(a, b) < 5


def test_the_same_counters_give_the_same_mask_and_rows_do_not_depend_on_others():
    np.testing.assert_array_equal(mask(), mask())
    np.testing.assert_array_equal(
        row_keys(1, 1, 3, range(20, 50)), row_keys(1, 1, 3, range(1000))[:, 20:50]
    )
    np.testing.assert_array_equal(mask(rows=50, units=20), mask()[:50, :20])


@each_dtype
def test_a_mask_has_the_dtype_of_the_network(dtype):
    keys = row_keys(1, 1, 1, range(3))[0]
    assert multipliers(keys, 4, 0.5, np.dtype(dtype)).dtype == dtype


# Both backends


def trained(backend, X, y, batch_size, dropout, make=network, epochs=1, **options):
    net = make(backend, **options)
    history = net.train(X, y, epochs, batch_size, 0.3, dropout=dropout)
    return net.parameters, history["loss"]


def assert_backends_agree(X, y, batch_size, dropout, steps=1, **options):
    """Assert that parameters agree, and that they are not those without dropout."""
    ours, theirs = (trained(backend, X, y, batch_size, dropout, **options) for backend in BACKENDS)
    # Each step of two to four layers rounds sums of about ten numbers near 1; a unit that only one
    # of the backends leaves out changes parameters by hundredths.
    tolerance = 60 * steps * np.finfo(ours[0].dtype).eps
    np.testing.assert_allclose(ours[0], theirs[0], rtol=0, atol=tolerance)
    np.testing.assert_allclose(ours[1], theirs[1], rtol=0, atol=tolerance)
    without, _ = trained("numpy", X, y, batch_size, 0.0, **options)
    assert np.abs(ours[0] - without).max() > 1e-3


@each_dtype
@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu", "identity"])
@pytest.mark.parametrize("dropout", [0.5, (0.4, 0.3, 0.6), (0.3, 0, 0)], ids=str)
@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_a_step_leaves_out_the_same_units_in_both_backends(batch_size, dropout, activation, dtype):
    X, y = data(batch_size)
    assert_backends_agree(X, y, batch_size, dropout, activation=activation, dtype=dtype)


@each_dtype
@pytest.mark.parametrize("sizes", [(1, 1, 2), (33, 17, 2), (9, 65, 31, 1), (5, 129, 2)])
def test_layers_of_odd_widths_leave_out_the_same_units_in_both_backends(sizes, dtype):
    X, y = data(5, sizes[0], 2)
    rates = [0.5] * (len(sizes) - 1)
    assert_backends_agree(X, y, 5, rates, sizes=sizes, dtype=dtype, init="he")


@each_dtype
@pytest.mark.parametrize("zeros", [0.0, 0.9])
@pytest.mark.parametrize(("rows", "batch_size"), [(10, 3), (65, 32), (4, 1)])
def test_epochs_with_a_short_last_batch_go_the_same_way(rows, batch_size, zeros, dtype):
    X, y = data(rows, zeros=zeros)
    assert_backends_agree(X, y, batch_size, (0.2, 0.5, 0.5), 20, epochs=2, dtype=dtype)


@each_dtype
def test_pixels_are_left_out_in_both_backends(dtype):
    X, y = data(40, zeros=0.9)
    X = np.abs(X * 50).astype(np.uint8)
    assert_backends_agree(X, y, 20, (0.5, 0.2, 0), 10, dtype=dtype)


@each_dtype
def test_standardised_inputs_are_left_out_in_both_backends(dtype):
    X, y = data(40)
    options = {"dtype": dtype, "standardize_inputs": True}
    assert_backends_agree(X * 3 + 5, y, 20, (0.5, 0.2, 0), 10, **options)


@each_dtype
def test_gradients_of_many_rows_agree_in_both_backends(dtype):
    X, y = data(1100)  # three blocks of rows
    results = [
        network(backend, dtype=dtype).loss_and_gradient(X, y, dropout=(0.2, 0.5, 0.5))
        for backend in BACKENDS
    ]
    # Means of a thousand numbers near 1.
    tolerance = 60 * np.finfo(dtype).eps
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=0, atol=tolerance)
    np.testing.assert_allclose(*(g.vector for _, g in results), rtol=0, atol=tolerance)


@each_backend
def test_a_rate_of_0_is_no_dropout(backend):
    X, y = data(40)
    none, zero = (trained(backend, X, y, 7, rates)[0] for rates in (0.0, [0, 0.0, 0]))
    assert none.tobytes() == zero.tobytes()


@each_backend
def test_every_epoch_leaves_out_others(backend):
    X, y = data(40)
    net = network(backend)
    # At this rate the parameters hardly change, so that losses differ by what is left out.
    losses = net.train(X, y, 5, 40, 1e-9, shuffle=False, dropout=0.5)["loss"]
    assert np.ptp(losses) > 1e-3
    assert len(set(losses)) == 5


# Threads


@pytest.fixture
def worth_threads(monkeypatch):
    """Let every step use all the threads that a network asks for."""
    monkeypatch.setattr(threads, "WORTH_A_THREAD", 1.0)
    monkeypatch.setattr(threads.Trial, "enabled", False)
    monkeypatch.setattr(threads, "available", lambda: 8)


def bits(count, sizes, batch_size):
    X, y = data(3 * batch_size // 2, sizes[0])
    net = network(sizes=sizes, threads=count)
    _, gradient = net.loss_and_gradient(X, y, dropout=[0.3] * (len(sizes) - 1))
    net.train(X, y, 2, batch_size, dropout=[0.2] * (len(sizes) - 1))
    return net.parameters.tobytes(), gradient.vector.tobytes()


@pytest.mark.usefixtures("worth_threads")
@pytest.mark.parametrize("batch_size", [2, 9, 67, 130])
def test_masks_do_not_depend_on_threads(batch_size):
    sizes = (75, 130, 37, 3)
    results = [bits(count, sizes, batch_size) for count in (1, 2, 3, 8)]
    assert results == [results[0]] * 4


def test_steps_large_enough_for_two_threads_give_the_same_bits():
    sizes = (784, 256, 3)
    assert threads.choose(2, 128 * network(sizes=sizes).architecture.training_flops) == 2
    assert bits(1, sizes, 128) == bits(2, sizes, 128)


# Predictions


@each_backend
def test_predictions_leave_nothing_out(backend):
    X, y = data(40)
    net, fresh = network(backend), network(backend)
    history = net.train(X, y, epochs=2, dropout=(0.2, 0.5, 0.5), validation=(X, y))
    fresh.parameters[:] = net.parameters
    assert net.predict_proba(X).tobytes() == fresh.predict_proba(X).tobytes()
    assert net.predict_one(X[0]).tobytes() == fresh.predict_one(X[0]).tobytes()
    assert net.evaluate(X, y) == fresh.evaluate(X, y)
    assert history[-1]["validation_loss"] == fresh.evaluate(X, y)["loss"]


@each_backend
def test_the_mean_over_masks_of_a_linear_network_is_its_prediction(backend):
    X, _ = data(1)
    net = network(backend, (7, 13, 1), "identity", "float64", output="identity", loss="mae")
    # A row repeated, each with a mask of its own; with the loss |a - t| and t far below, the mean
    # loss is the mean output less t. At the rate 0.5 each term's deviation is the term itself.
    rows, target = 20000, -1000.0
    repeated = np.repeat(X, rows, axis=0)
    loss, _ = net.loss_and_gradient(repeated, np.full(rows, target), dropout=0.5)
    terms = net.activations(X)[0][0] * net.weights[1][:, 0]
    bound = 5 * np.sqrt((terms**2).sum() / rows)
    assert loss + target == pytest.approx(net.predict_one(X[0])[0], abs=bound)


# The gradient


@each_backend
def test_the_gradient_with_a_mask_agrees_with_finite_differences(backend):
    X, y = data(6)
    net = network(backend, (7, 9, 5, 3), dtype="float64")
    dropout, step = (0.2, 0.5, 0.4), 1e-5
    _, gradient = net.loss_and_gradient(X, y, dropout=dropout)
    for array, slopes in (
        *zip(net.weights, gradient.weights, strict=True),
        *zip(net.biases, gradient.biases, strict=True),
    ):
        for place in np.ndindex(array.shape):
            before, ends = array[place], []
            for moved in (before + step, before - step):
                array[place] = moved
                ends.append(net.loss_and_gradient(X, y, dropout=dropout)[0])
            array[place] = before
            # The third derivative times step^2 / 6, and eps / step: about 1e-10 of numbers near 1.
            assert slopes[place] == pytest.approx((ends[0] - ends[1]) / (2 * step), abs=1e-8)
    assert np.abs(gradient.vector).max() > 0.1


@each_backend
def test_the_gradient_is_that_of_the_first_step_without_shuffling(backend):
    X, y = data(40)
    net = network(backend, dtype="float64")
    before = net.parameters.copy()
    _, gradient = net.loss_and_gradient(X, y, dropout=0.5)
    _, again = net.loss_and_gradient(X, y, dropout=0.5)
    assert gradient.vector.tobytes() == again.vector.tobytes()
    net.train(X, y, 1, 40, 0.25, shuffle=False, dropout=0.5)
    np.testing.assert_allclose(net.parameters, before - 0.25 * gradient.vector, rtol=0, atol=1e-14)


# What is refused


@pytest.mark.parametrize(
    ("dropout", "message"),
    [
        (1, "dropout must be finite and at least 0 and less than 1; got 1"),
        (1.5, "dropout must be finite"),
        (-0.1, "dropout must be finite and at least 0"),
        (np.nan, "dropout must be finite"),
        (True, "dropout must be a number"),
        ("half", "dropout must be a number"),
        (None, "dropout must be a number"),
        ((0.1, 1.0, 0.1), r"dropout\[1\] must be finite"),
        ((0.1, 0.1, "x"), r"dropout\[2\] must be a number"),
        ((0.1, 0.2), "dropout must be one rate for all hidden layers, or 3 rates, .*; got 2"),
        ((0.1,) * 4, "or 3 rates, .*; got 4"),
    ],
)
def test_bad_rates_are_refused(dropout, message):
    X, y = data(10)
    net = network()
    before = net.parameters.copy()
    for call in (net.train, net.loss_and_gradient):
        with pytest.raises((TypeError, ValueError), match=message):
            call(X, y, dropout=dropout)
    assert net.parameters.tobytes() == before.tobytes()
