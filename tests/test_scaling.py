"""Standardisation: what is learnt, and that everything else stays in the data's own units."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from cases import BACKENDS, DTYPES

from fastnn import Network, metrics
from fastnn.model import scaling
from fastnn.model.scaling import Scaler, learn
from fastnn.training.rows import stratified

each_backend = pytest.mark.parametrize("backend", BACKENDS)
each_dtype = pytest.mark.parametrize("dtype", DTYPES)
FLOAT64 = np.dtype("float64")


def columns(rows=100, seed=0):
    """Return columns of very different means and spreads."""
    X = np.random.default_rng(seed).normal(size=(rows, 5))
    return X * [1e-3, 1, 50, 1e4, 3] + [0, -7, 1e4, 1e5, 0.1]


def pixels(rows=100):
    return np.random.default_rng(0).integers(0, 256, (rows, 5), np.uint8)


def data(kind):
    """Return columns, and a class that depends on them."""
    X = pixels() if kind == "uint8" else columns().astype(kind)
    z = (X - X.mean(axis=0)) / X.std(axis=0)
    return X, (z[:, 1] > z[:, 3]).astype(int)


def by_hand(X, scaler, dtype):
    """Return standardised inputs, computed as networks do in their dtype."""
    x = X.astype(dtype)
    if X.dtype == np.uint8:
        x *= np.dtype(dtype).type(1) / np.dtype(dtype).type(255)
    return (x - scaler.mean) * scaler.scale


def rounding(dtype, sums):
    """Return the error of so many sums after each other, of numbers near 1."""
    return sums * np.finfo(dtype).eps


# What is learnt


@pytest.mark.parametrize("block", [scaling.BLOCK, 35, 1])  # numbers: one block, 15, one a row
@pytest.mark.parametrize("rows", [None, np.arange(3, 90, 4)], ids=["all", "some"])
@pytest.mark.parametrize("X", [columns(), columns().astype("f4"), pixels()], ids=lambda X: X.dtype)
def test_mean_and_deviation_are_those_of_numpy(X, rows, block, monkeypatch):
    monkeypatch.setattr(scaling, "BLOCK", block)
    mean, scale = learn("X", X, rows, FLOAT64)
    taken = (X if rows is None else X[rows]).astype(np.float64)
    taken /= 255 if X.dtype == np.uint8 else 1
    # Each of a hundred updates rounds numbers up to 200 times as large as the deviation.
    np.testing.assert_allclose(mean, taken.mean(axis=0), rtol=0, atol=1e-12 * abs(taken).max())
    np.testing.assert_allclose(1 / scale, taken.std(axis=0), rtol=1e-10)


def test_learning_does_not_change_the_data():
    X = columns()
    before = X.copy()
    learn("X", X, None, FLOAT64)
    assert X.tobytes() == before.tobytes()


@each_dtype
def test_what_is_learnt_has_the_dtype_of_the_network(dtype):
    scaler = learn("X", columns(), None, np.dtype(dtype))
    assert scaler.mean.dtype == scaler.scale.dtype == dtype


@pytest.mark.filterwarnings("ignore:X. the numbers of column 1, .* differ by less than float32")
@pytest.mark.parametrize("block", [scaling.BLOCK, 1000])
@pytest.mark.parametrize("constant", [0, 1, 0.1, -1e9 / 3, 1e-20])
@each_dtype
def test_a_constant_column_has_the_scale_1(constant, dtype, block, monkeypatch):
    monkeypatch.setattr(scaling, "BLOCK", block)
    X = np.full((5000, 2), constant)
    X[::2, 1] += 1
    mean, scale = learn("X", X, None, np.dtype(dtype))
    assert scale[0] == 1
    assert mean[0] == np.dtype(dtype).type(constant)


def test_a_small_spread_about_a_large_mean_is_no_constant():
    seconds = 1.7e9 + np.arange(10.0)  # of this century
    scale = learn("X", seconds[:, None], None, FLOAT64).scale
    assert 1 / scale[0] == pytest.approx(seconds.std(), rel=1e-12)


def test_a_spread_that_float32_cannot_hold_is_a_constant_to_it():
    seconds = 1.7e9 + np.arange(10.0)  # where numbers of float32 are 128 apart
    tiny = np.tile([1e-42, -1e-42], 5)  # whose inverse is infinite in float32
    with pytest.warns(UserWarning, match="column 0, .* differ by less than float32 can tell"):
        scale = learn("X", np.c_[seconds, tiny], None, np.dtype("float32")).scale
    assert scale.tolist() == [1, 1]


def test_restored_is_the_inverse():
    X = columns()
    scaler = learn("X", X, None, FLOAT64)
    again = scaler.restored((X - scaler.mean) * scaler.scale)
    np.testing.assert_allclose(again, X, rtol=0, atol=4 * np.finfo(float).eps * abs(X).max())


def test_a_network_learns_from_the_rows_that_it_trains_on():
    X, y = data("float64")
    net = Network([5, 2], seed=1, standardize_inputs=True, dtype="float64")
    net.train(X, y, epochs=1, validation=0.3)
    rows, _ = stratified(0.3, len(X), y, 1)
    np.testing.assert_allclose(net.input_scaler.mean, X[rows].mean(axis=0), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("inputs", [False, True])
@pytest.mark.parametrize("targets", [False, True])
def test_only_what_is_asked_for_is_learnt(inputs, targets):
    net = Network(
        [5, 1],
        output="identity",
        standardize_inputs=inputs,
        standardize_targets=targets,
    )
    assert net.input_scaler is net.target_scaler is None
    net.train(columns(), np.arange(100.0), epochs=1, learning_rate=1e-12)
    assert isinstance(net.input_scaler, Scaler) == inputs
    assert isinstance(net.target_scaler, Scaler) == targets


def test_it_is_learnt_once():
    rng = np.random.default_rng(0)
    net = Network(
        [5, 1], output="identity", standardize_inputs=True, standardize_targets=True, seed=1
    )
    net.train(columns(), rng.normal(size=100), epochs=1)
    before = net.input_scaler, net.target_scaler
    net.train(2 * columns(seed=2), rng.normal(2, 3, 100), epochs=1, learning_rate=1e-3)
    assert (net.input_scaler, net.target_scaler) == before
    assert net.input_scaler is before[0]


# Inputs


def twins(kind, dtype, backend, **options):
    """Return a network that standardises and one that does not, trained on the same, and both X."""
    X, y = data(kind)
    more = {"activation": "tanh", "seed": 3, "dtype": dtype, "backend": backend}
    net = Network([5, 9, 2], standardize_inputs=True, **more)
    net.train(X, y, epochs=2, **options)
    Z, plain = by_hand(X, net.input_scaler, dtype), Network([5, 9, 2], **more)
    plain.train(Z, y, epochs=2, **options)
    return net, plain, X, Z, y


@each_backend
@each_dtype
@pytest.mark.parametrize("kind", ["float32", "float64", "uint8"])
@pytest.mark.parametrize("batch_size", [1, 32])
def test_training_is_as_on_data_standardised_by_hand(batch_size, kind, dtype, backend):
    net, plain, *_ = twins(kind, dtype, backend, batch_size=batch_size)
    # Each of 200 steps of two layers rounds, and more of them amplify what was rounded before.
    np.testing.assert_allclose(net.parameters, plain.parameters, rtol=0, atol=rounding(dtype, 2000))


USES = {
    "predict": lambda net, X, y: net.predict(X),
    "predict_proba": lambda net, X, y: net.predict_proba(X),
    "predict_one": lambda net, X, y: net.predict_one(X[7]),
    "evaluate": lambda net, X, y: [*net.evaluate(X, y).values()],
    "loss_and_gradient": lambda net, X, y: net.loss_and_gradient(X, y)[1].vector,
    "activations": lambda net, X, y: net.activations(X)[0],
}


@each_backend
@each_dtype
@pytest.mark.parametrize("kind", ["float32", "float64", "uint8"])
@pytest.mark.parametrize("use", USES)
def test_a_network_is_used_with_data_as_they_are(use, kind, dtype, backend):
    net, plain, X, Z, y = twins(kind, dtype, backend)
    plain.parameters[:] = net.parameters
    # One pass of two layers, with sums of up to 100 numbers.
    np.testing.assert_allclose(
        USES[use](net, X, y), USES[use](plain, Z, y), rtol=0, atol=rounding(dtype, 50)
    )


@each_backend
@each_dtype
@pytest.mark.parametrize("kind", ["float64", "uint8"])
def test_the_gradient_of_inputs_is_in_their_units(kind, dtype, backend):
    net, plain, X, Z, y = twins(kind, dtype, backend)
    plain.parameters[:] = net.parameters
    ours = net.input_gradient(X, y) / net.input_scaler.scale
    np.testing.assert_allclose(ours, plain.input_gradient(Z, y), rtol=0, atol=rounding(dtype, 50))


def test_predict_one_knows_what_was_learnt_after_it_was_first_called():
    X, y = data("float32")
    net = Network([5, 9, 2], seed=3, standardize_inputs=True)
    net.predict_one(X[0])
    net.train(X, y, epochs=1)
    ours, theirs = net.predict_one(X[0]), net.predict_proba(X[:1])[0]
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=rounding("float32", 50))


# Targets


def line(rows=200):
    """Return inputs, and two outputs near 1e4 and -50 that are lines in them."""
    X = np.random.default_rng(4).normal(size=(rows, 3))
    return X, X @ [[500.0, 1], [-300, 2], [100, 0]] + [1e4, -50]


def line_network(backend="numba", dtype="float32", **options):
    return Network(
        [3, 2],
        output="identity",
        seed=1,
        backend=backend,
        dtype=dtype,
        standardize_targets=True,
        **options,
    )


@each_backend
@each_dtype
def test_targets_of_any_size_are_learnt_at_a_usual_rate(backend, dtype):
    X, y = line()
    net = line_network(backend, dtype)
    net.train(X, y, epochs=50, learning_rate=0.3)
    # A problem without noise ends at the line but for rounding, of float32 near 1e4.
    np.testing.assert_allclose(net.predict(X), y, rtol=0, atol=0.02)
    assert net.evaluate(X, y)["r2"] > 0.9999


@each_backend
def test_metrics_are_in_units_of_the_targets_and_the_loss_in_deviations(backend):
    X, y = line()
    net = line_network(backend, "float64")
    net.train(X, y, epochs=1, learning_rate=0.01)
    values, pred = net.evaluate(X, y), net.predict(X)
    for name in ("r2", "mae", "rmse"):
        assert values[name] == getattr(metrics, name)(y, pred)
    deviations = (pred - y) / y.std(axis=0)
    assert values["loss"] == pytest.approx((deviations**2).mean(), rel=1e-12)


@each_backend
def test_validation_metrics_are_in_units_of_the_targets(backend):
    X, y = line()
    net = line_network(backend)
    history = net.train(X, y, epochs=2, validation=(X[:50], y[:50]))
    for name, value in net.evaluate(X[:50], y[:50]).items():
        assert history[-1][f"validation_{name}"] == value


@each_backend
@each_dtype
def test_one_row_is_predicted_in_units_of_the_targets(backend, dtype):
    X, y = line()
    net = line_network(backend, dtype, standardize_inputs=True)
    net.train(X, y, epochs=1)
    out = np.empty(2, dtype)
    assert net.predict_one(X[5], out) is out
    np.testing.assert_allclose(out, net.predict(X[5:6])[0], rtol=rounding(dtype, 20))


@each_dtype
def test_the_gradient_of_inputs_is_that_of_the_loss_in_deviations(dtype):
    X, y = line()
    gradients = []
    for backend in BACKENDS:
        net = line_network(backend, dtype, standardize_inputs=True)
        net.train(X, y, epochs=1)
        gradients.append(net.input_gradient(X, y))
    np.testing.assert_allclose(*gradients, rtol=0, atol=rounding(dtype, 200))


@each_backend
def test_targets_of_bytes_are_numbers_and_no_pixels(backend):
    X = np.arange(4.0)[:, None]
    nets = [
        Network([1, 1], output="identity", seed=1, standardize_targets=True, backend=backend)
        for _ in range(2)
    ]
    for net, dtype in zip(nets, (np.uint8, np.float64), strict=True):
        net.train(X, np.array([10, 20, 30, 60], dtype), epochs=3, learning_rate=0.1)
    np.testing.assert_array_equal(nets[0].predict(X), nets[1].predict(X))


@each_backend
def test_a_pickled_copy_predicts_the_same_bits(backend):
    X, y = line()
    net = line_network(backend, standardize_inputs=True)
    net.train(X, y, epochs=1)
    copy = pickle.loads(pickle.dumps(net))
    assert copy.predict_proba(X).tobytes() == net.predict_proba(X).tobytes()
    assert copy.predict_one(X[0]).tobytes() == net.predict_one(X[0]).tobytes()
    assert copy.evaluate(X, y) == net.evaluate(X, y)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"output": "softmax"}, "standardize_targets needs the output 'identity'; got 'softmax'"),
        ({"output": "sigmoid"}, "needs the output 'identity'; got 'sigmoid'"),
        ({"output": "exponential"}, "needs the output 'identity'; got 'exponential'"),
        ({"output": "identity", "loss": "poisson"}, "is for counts"),
    ],
)
def test_targets_that_have_a_meaning_are_not_standardised(options, message):
    with pytest.raises(ValueError, match=message):
        Network([3, 2], standardize_targets=True, **options)
