"""`fastnn.minimize`: L-BFGS on the loss of all rows."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from cases import BACKENDS

pytest.importorskip("scipy")

import scipy.optimize

import fastnn
from fastnn import Network, minimize
from fastnn.model.parameters import Parameters
from fastnn.training import full_batch

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 4))
LABELS = (X @ RNG.normal(size=(4, 3))).argmax(axis=1)
NUMBERS = X[:, :1] - X[:, 1:2] ** 2
each_backend = pytest.mark.parametrize("backend", BACKENDS)
each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


def network(backend="numpy", sizes=(4, 6, 3), activation="tanh", **options):
    return Network(sizes, activation, seed=1, backend=backend, **options)


@each_backend
@each_dtype
def test_the_gradient_vanishes_at_the_end(backend, dtype):
    net = network(backend, dtype=dtype)
    result = minimize(net, X, LABELS, l2=0.01, tol=1e-6, max_iter=1000)
    loss, gradient = net.loss_and_gradient(X, LABELS, 0.01)
    assert result.converged
    assert result.status == 0
    assert result.losses[-1] == result.loss == pytest.approx(loss, rel=1e-6)  # float32
    # The last iteration may be one that improves the loss by less than 2e-9 of it.
    assert np.abs(gradient.vector).max() < 1e-4


@each_backend
def test_a_linear_network_reaches_the_least_squares(backend):
    net = network(backend, (4, 1), output="identity", dtype="float64")
    minimize(net, X, NUMBERS, tol=1e-9)
    expected = np.linalg.lstsq(np.c_[X, np.ones(90)], NUMBERS, rcond=None)[0]
    # The loss is flat: improved by 2e-9 of itself, parameters are off by the root of that.
    np.testing.assert_allclose(net.weights[0], expected[:-1], atol=1e-4)
    np.testing.assert_allclose(net.biases[0], expected[-1], atol=1e-4)


def test_both_backends_take_the_same_way():
    results = [minimize(network(backend), X, LABELS, 0.01, max_iter=20) for backend in BACKENDS]
    np.testing.assert_allclose(results[0].losses, results[1].losses, rtol=1e-9)  # rounding
    assert results[0].evaluations == results[1].evaluations


@each_backend
def test_weights_count_as_in_training(backend):
    weights, classes = RNG.uniform(0.5, 2, 90), {0: 3.0, 1: 0.5}
    net = network(backend)
    options = {"sample_weight": weights, "class_weight": classes, "label_smoothing": 0.1}
    result = minimize(net, X, LABELS, 0.02, **options)
    assert result.loss == pytest.approx(
        net.loss_and_gradient(X, LABELS, 0.02, **options)[0], rel=1e-6
    )


@each_backend
@each_dtype
def test_the_padding_stays_zero(backend, dtype):
    net = network(backend, dtype=dtype)
    minimize(net, X, LABELS)
    used = Parameters(net.architecture)
    for array in (*used.weights, *used.biases):
        array[...] = 1
    assert not net.parameters[used.vector == 0].any()


@each_backend
def test_standardisation_and_names_are_learnt(backend):
    options = {"standardize_inputs": True, "standardize_targets": True, "output": "identity"}
    net = network(backend, (4, 6, 1), **options)
    minimize(net, X * 1e3 + 7e3, NUMBERS * 1e4)
    assert net.evaluate(X * 1e3 + 7e3, NUMBERS * 1e4)["r2"] > 0.95
    net = network(backend)
    names = np.array(["a", "b", "c"])[LABELS]
    minimize(net, X, names)
    assert net.classes == ("a", "b", "c")
    assert (net.predict(X) == names).mean() > 0.95


@each_backend
def test_gradients_of_standardised_float32_networks_are_checked_in_float64(backend):
    net = network(backend, standardize_inputs=True)
    net.train(X, LABELS, epochs=1)
    assert fastnn.check_gradients(net, X, LABELS).passed


@each_backend
def test_rows_in_several_calls_give_the_same(backend, monkeypatch):
    weights = RNG.uniform(0.5, 2, 90)
    whole = minimize(network(backend), X, LABELS, 0.1, sample_weight=weights, max_iter=10)
    monkeypatch.setattr(full_batch, "SLICE", 20_000)
    parts = minimize(network(backend), X, LABELS, 0.1, sample_weight=weights, max_iter=10)
    np.testing.assert_allclose(parts.losses, whole.losses, rtol=1e-9)  # rounding


def test_limits_end_the_search():
    result = minimize(network(), X, LABELS, max_iter=3, tol=0)
    assert (result.iterations, result.converged, result.status) == (3, False, 1)
    result = minimize(network(), X, LABELS, max_fun=5, tol=0)
    assert result.evaluations >= 5
    assert result.iterations <= 5
    assert not result.converged


def barrier(outputs, targets):
    """Return a loss that is infinite where an output is not positive, and least at 1."""
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.where(outputs > 0, outputs - np.log(outputs), np.inf)
    return 100 * value[:, 0], 100 * (1 - 1 / outputs)


@each_backend
def test_steps_out_of_the_finite_numbers_are_taken_back(backend):
    net = network(backend, (4, 1), output="identity", loss=barrier, dtype="float64")
    net.biases[0] = [9.0]
    net.weights[0][...] = 0.01
    result = minimize(net, X, NUMBERS, tol=1e-3)
    assert result.converged
    np.testing.assert_allclose(net.predict(X), 1, atol=1e-3)


@each_backend
@pytest.mark.parametrize(
    ("scale", "message"), [(1e200, "no longer finite for row 0"), (1e10, "the loss is inf")]
)
def test_a_start_that_is_not_finite_is_refused_and_changes_nothing(backend, scale, message):
    net = network(backend, (4, 1), output="identity", dtype="float64")
    net.weights[0][...] = scale
    before = net.parameters.copy()
    with pytest.raises(fastnn.DivergenceError, match=message):
        minimize(net, X * 1e150, NUMBERS)
    assert np.array_equal(net.parameters, before)


def test_parameters_beyond_float32_are_refused_and_change_nothing():
    net = network("numpy", (4, 1), output="identity", loss=endless)
    before = net.parameters.copy()
    with pytest.raises(fastnn.DivergenceError, match="too large for float32"):
        minimize(net, X, NUMBERS, tol=0, max_iter=10)
    assert np.array_equal(net.parameters, before)


def test_ctrl_c_at_parameters_beyond_float32_changes_nothing(monkeypatch):
    accept = full_batch.Search.accept

    def interrupting(self):
        accept(self)
        if np.abs(self.best.x).max() > np.finfo(np.float32).max:
            raise KeyboardInterrupt

    monkeypatch.setattr(full_batch.Search, "accept", interrupting)
    net = network("numpy", (4, 1), output="identity", loss=endless)
    before = net.parameters.copy()
    with pytest.raises(KeyboardInterrupt):
        minimize(net, X, NUMBERS, tol=0, max_iter=10)
    assert np.array_equal(net.parameters, before)


def endless(outputs, targets):
    """Return a loss without a minimum."""
    return -(outputs[:, 0] ** 2), -2 * outputs


def test_ctrl_c_leaves_the_result_of_the_last_iteration(monkeypatch):
    expected = network()
    losses = minimize(expected, X, LABELS, max_iter=4).losses
    accept, seen = full_batch.Search.accept, []

    def interrupting(self):
        accept(self)
        seen.append(self.best)
        if len(seen) == 4:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(full_batch.Search, "accept", interrupting)
    net = network()
    with pytest.raises(KeyboardInterrupt):
        minimize(net, X, LABELS)
    assert np.array_equal(net.parameters, expected.parameters)
    assert net.loss_and_gradient(X, LABELS)[0] == pytest.approx(losses[-1], rel=1e-6)


def test_ctrl_c_before_an_iteration_changes_nothing(monkeypatch):
    def interrupting(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(scipy.optimize, "minimize", interrupting)
    net = network(standardize_inputs=True)
    before = net.parameters.copy()
    with pytest.raises(KeyboardInterrupt):
        minimize(net, X, np.array(["a", "b", "c"])[LABELS])
    assert np.array_equal(net.parameters, before)
    assert net.classes is net.input_scaler is None


def test_a_network_in_training_is_refused():
    net, messages = network(), []

    def other():
        try:
            minimize(net, X, LABELS)
        except RuntimeError as error:
            messages.append(str(error))

    def callback(_):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()

    net.train(X, LABELS, epochs=1, callbacks=[callback])
    assert "already being trained" in messages[0]


def test_training_goes_on_without_the_old_state():
    net = network()
    net.train(X, LABELS, epochs=2, optimizer="adam")
    minimize(net, X, LABELS, 0.01)
    assert net.model.optimizer_state is None
    before = net.evaluate(X, LABELS)["loss"]
    net.train(X, LABELS, epochs=1, optimizer="adam", learning_rate=1e-4)
    assert net.evaluate(X, LABELS)["loss"] == pytest.approx(before, rel=0.05)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_iter": 0}, "max_iter must be at least 1"),
        ({"max_fun": 0}, "max_fun must be at least 1"),
        ({"tol": -1}, "tol must be"),
        ({"l2": -1}, "l2 must be"),
        ({"l1": 0.1}, "no argument 'l1'"),
        ({"sample_weights": 1}, "did you mean 'sample_weight'"),
        ({"dropout": 0.1}, "no argument 'dropout'"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        minimize(network(), X, LABELS, **options)


def test_other_things_than_networks_are_refused():
    with pytest.raises(TypeError, match=r"net must be a fastnn\.Network"):
        minimize(X, X, LABELS)


def test_without_scipy_the_error_says_what_to_install():
    code = (
        "import sys; sys.modules['scipy'] = sys.modules['scipy.optimize'] = None; import fastnn; "
        "fastnn.minimize(fastnn.Network([1, 1], backend='numpy'), [[1.0]], [1])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install 'fastnn-cpu[sklearn]'" in done.stderr


def test_scipy_is_imported_only_when_it_is_needed():
    code = "import sys, fastnn; print('scipy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "False\n"
