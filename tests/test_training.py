"""Training as a whole: losses, histories, continuing, divergence, Ctrl-C, real problems."""

from __future__ import annotations

import re
import signal
import time
import weakref
from pathlib import Path

import numpy as np
import pytest
from cases import BACKENDS, DTYPES, Case, make_data, make_network, take_steps

import fastnn
from fastnn import DivergenceError, Network, backends, optimizers
from fastnn.model.model import in_float64
from fastnn.training import data as training_data
from fastnn.training import evaluation

MNIST = Path(__file__).resolve().parents[1] / "data" / "mnist"
each_backend = pytest.mark.parametrize("backend", BACKENDS)
each_dtype = pytest.mark.parametrize("dtype", DTYPES)


def blobs(rows=300, seed=1):
    """Return points around three centres in six dimensions, and which centre it was."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, rows)
    X = rng.normal(size=(3, 6))[y] + rng.normal(scale=0.8, size=(rows, 6))
    return X.astype(np.float32), y


def blob_network(backend="numba", **options):
    return Network([6, 11, 3], activation="tanh", seed=5, backend=backend, **options)


@each_dtype
@pytest.mark.parametrize("l2", [0, 0.01])
def test_ten_steps_go_the_same_way_in_both_backends(dtype, l2):
    case = Case((6, 11, 3), dtype=dtype, batch=10)
    X, y = make_data(case, np.random.default_rng(1), rows=95)  # the tenth batch is shorter
    trajectories = []
    for backend in BACKENDS:
        net, losses = make_network(case, backend), np.empty(10)
        take_steps(net, X, y, np.arange(95), 10, np.full(10, 0.3), l2, losses)
        trajectories.append(losses)
    # Ten steps of two layers, each rounding sums of about ten numbers near 1: 10 * 2 * sqrt(10).
    np.testing.assert_allclose(*trajectories, rtol=0, atol=60 * np.finfo(dtype).eps)


@each_dtype
def test_losses_of_epochs_are_the_same_to_four_digits_in_both_backends(dtype):
    X, y = blobs()
    ours, theirs = (
        blob_network(backend, dtype=dtype).train(X, y, epochs=3)["loss"] for backend in BACKENDS
    )
    assert ours == pytest.approx(theirs, rel=1e-4)
    assert ours[2] < ours[0]


@each_backend
def test_the_same_seed_gives_the_same_bits(backend):
    X, y = blobs()
    first, second = (blob_network(backend) for _ in range(2))
    first.train(X, y, epochs=2), second.train(X, y, epochs=2)
    assert first.parameters.tobytes() == second.parameters.tobytes()


def test_networks_without_a_seed_differ():
    first, second = (Network([6, 11, 3]) for _ in range(2))
    assert first.seed != second.seed
    assert first.parameters.tobytes() != second.parameters.tobytes()


def test_the_seed_of_a_network_without_one_repeats_it():
    first = Network([6, 11, 3])
    second = Network([6, 11, 3], seed=first.seed)
    assert first.parameters.tobytes() == second.parameters.tobytes()


@each_backend
def test_training_twice_at_a_constant_rate_is_one_longer_run(backend):
    X, y = blobs()
    once, twice = (blob_network(backend) for _ in range(2))
    losses = once.train(X, y, epochs=4, schedule="constant")["loss"]
    parts = [twice.train(X, y, epochs=2, schedule="constant")["loss"] for _ in range(2)]
    assert once.parameters.tobytes() == twice.parameters.tobytes()
    assert losses == parts[0] + parts[1]


def test_training_again_counts_epochs_on():
    X, y = blobs()
    net = blob_network()
    assert net.epochs_trained == 0
    assert net.train(X, y, epochs=2)["epoch"] == [1, 2]
    assert net.epochs_trained == 2
    assert net.train(X, y, epochs=1)["epoch"] == [3]


@each_backend
@pytest.mark.parametrize("batch_size", [32, 50])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_training_again_learns_from_the_new_data(backend, batch_size, optimizer):
    settings = {"epochs": 3, "batch_size": batch_size, "optimizer": optimizer}
    (first, labels), (second, others) = blobs(50), blobs(50, seed=2)
    again, anew = (blob_network(backend) for _ in range(2))
    for net in (again, anew):
        net.train(first, labels, **settings)
        if net is anew:
            net.model.prepared.clear()
        net.train(second, others, **settings)
    assert again.parameters.tobytes() == anew.parameters.tobytes()


@each_backend
def test_metrics_of_each_epoch_are_those_of_evaluate(backend):
    (X, y), held_out = blobs(60), blobs(40, seed=2)
    net, expected = blob_network(backend), []

    def note(row):
        parts = {"training": net.evaluate(X, y), "validation": net.evaluate(*held_out)}
        expected.append(
            {f"{part}_{name}": parts[part][name] for part in parts for name in parts[part]}
        )

    history = net.train(
        X, y, epochs=3, validation=held_out, training_metrics=True, callbacks=[note]
    )
    assert [{name: row[name] for name in expected[0]} for row in history] == expected


@each_backend
def test_no_data_are_kept_after_training(backend):
    net = blob_network(backend)
    X, y = blobs(50)
    known = weakref.ref(X)
    net.train(X, y, epochs=2)
    del X
    assert known() is None


class Orders:
    """A backend that notes in which order the rows are taken."""

    def __init__(self, module):
        self.module = module
        self.orders = []

    def __getattr__(self, name):
        return getattr(self.module, name)

    def train_steps(self, model, examples, order, *rest):
        self.orders.append(order.tolist())
        return self.module.train_steps(model, examples, order, *rest)


@pytest.fixture
def orders(monkeypatch):
    noting = Orders(backends.get("numpy"))
    monkeypatch.setattr(backends, "get", lambda name: noting)
    return noting.orders


@pytest.mark.parametrize("batch_size", [50, 1000])
def test_the_only_batch_of_an_epoch_takes_the_rows_as_they_come(orders, batch_size):
    X, y = blobs(50)
    blob_network().train(X, y, epochs=2, batch_size=batch_size)
    assert orders == [list(range(50))] * 2


def test_the_only_batch_of_an_epoch_takes_the_rows_that_are_not_set_aside(orders):
    X, y = blobs(50)
    blob_network().train(X, y, epochs=1, batch_size=50, validation=0.2)
    assert len(orders[0]) == 40
    assert orders[0] == sorted(set(orders[0]))


def test_every_epoch_takes_each_row_once_in_an_order_of_its_own(orders):
    X, y = blobs(50)
    blob_network().train(X, y, epochs=3)
    assert [sorted(order) for order in orders] == [list(range(50))] * 3
    assert len({tuple(order) for order in [*orders, range(50)]}) == 4


def test_the_order_depends_on_the_seed(orders):
    X, y = blobs(50)
    for seed in (1, 2):
        Network([6, 3], seed=seed).train(X, y, epochs=1)
    assert orders[0] != orders[1]


def test_without_shuffling_rows_are_taken_as_they_come(orders):
    X, y = blobs(50)
    blob_network().train(X, y, epochs=2, shuffle=False)
    assert orders == [list(range(50))] * 2


@each_backend
def test_the_default_batch_has_32_rows_or_all_of_fewer(backend):
    for rows, batch_size in ((70, 32), (20, 20)):
        X, y = blobs(rows)
        first, second = (blob_network(backend) for _ in range(2))
        first.train(X, y, epochs=1), second.train(X, y, epochs=1, batch_size=batch_size)
        assert first.parameters.tobytes() == second.parameters.tobytes()


@each_backend
def test_the_loss_of_an_epoch_is_the_mean_over_rows_before_each_step(backend):
    X, y = blobs(25)
    net, other = (blob_network(backend) for _ in range(2))
    loss = net.train(X, y, epochs=1, batch_size=10, shuffle=False, l2=0.1)["loss"][0]
    total = 0.0
    for first in (0, 10, 20):
        batch = slice(first, first + 10)
        total += other.evaluate(X[batch], y[batch])["loss"] * len(X[batch])
        rate = 0.3 * (1 - first / 30)
        other.train(
            X[batch], y[batch], 1, 10 if first < 20 else 5, rate, 0.1, None, False, "constant"
        )
    # Each loss is rounded to float32, of numbers near 1.
    assert loss == pytest.approx(total / 25, rel=4 * float(np.finfo(np.float32).eps))


def test_a_constant_schedule_keeps_the_learning_rate():
    X, y = blobs(40)
    history = blob_network().train(X, y, epochs=4, learning_rate=0.2, schedule="constant")
    assert history["learning_rate"] == [0.2] * 4


def test_a_linear_schedule_lets_the_learning_rate_fall_to_zero():
    X, y = blobs(40)
    history = blob_network().train(X, y, epochs=4, learning_rate=0.2, schedule="linear")
    assert history["learning_rate"] == pytest.approx([0.2, 0.15, 0.1, 0.05])


def test_the_schedule_is_linear_by_default():
    X, y = blobs(40)
    first, second = (blob_network() for _ in range(2))
    first.train(X, y, epochs=2), second.train(X, y, epochs=2, schedule="linear")
    assert first.parameters.tobytes() == second.parameters.tobytes()


@each_backend
def test_history_has_a_row_an_epoch(backend):
    X, y = blobs(40)
    history = blob_network(backend).train(X, y, epochs=3)
    assert isinstance(history, fastnn.History)
    assert history.columns == ["epoch", "loss", "learning_rate", "seconds", "samples_per_second"]
    assert history["epoch"] == [1, 2, 3]
    rates = [40 / seconds for seconds in history["seconds"]]
    assert history["samples_per_second"] == pytest.approx(rates)


@each_backend
def test_validation_columns_are_what_evaluate_gives(backend):
    X, y = blobs()
    net = blob_network(backend)
    history = net.train(X[:200], y[:200], epochs=2, validation=(X[200:], y[200:]))
    values = net.evaluate(X[200:], y[200:])
    assert set(values) == {"loss", "accuracy", "macro_f1"}
    for name, value in values.items():
        assert history[-1][f"validation_{name}"] == value


def test_validation_does_not_change_training():
    X, y = blobs()
    first, second = (blob_network() for _ in range(2))
    first.train(X, y, epochs=2), second.train(X, y, epochs=2, validation=[X[:50], y[:50]])
    assert first.parameters.tobytes() == second.parameters.tobytes()


def test_validation_on_soft_targets_gives_the_loss_alone():
    X, y = blobs(40)
    soft = np.full((40, 3), 1 / 3)
    history = blob_network().train(X, y, epochs=1, validation=(X, soft))
    assert history.columns[:3] == ["epoch", "loss", "validation_loss"]
    assert "validation_accuracy" not in history.columns


def test_callbacks_get_the_row_of_each_epoch():
    X, y = blobs(40)
    net = blob_network()
    rows, trained = [], []
    history = net.train(
        X, y, epochs=3, callbacks=[rows.append, lambda row: trained.append(net.epochs_trained)]
    )
    assert rows == history.rows
    assert trained == [1, 2, 3]


def test_an_error_in_a_callback_comes_through_after_its_epoch():
    X, y = blobs(40)
    net = blob_network()

    def complain(row):
        raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        net.train(X, y, epochs=3, callbacks=[complain])
    assert net.epochs_trained == 1


def test_progress_goes_to_standard_error(capsys):
    X, y = blobs(40)
    blob_network().train(X, y, epochs=1, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "epoch 1" in err


@pytest.mark.parametrize("progress", [None, False])
def test_training_is_silent_where_nobody_looks(progress, capfd):
    X, y = blobs(40)
    blob_network().train(X, y, epochs=1, progress=progress)
    assert capfd.readouterr() == ("", "")


@each_backend
@each_dtype
def test_xor_is_learned(backend, dtype):
    net = Network([2, 8, 2], activation="tanh", seed=3, backend=backend, dtype=dtype)
    X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    net.train(X, y, epochs=500)
    assert net.predict(X).tolist() == y


@each_backend
@each_dtype
def test_a_line_is_learned_by_regression(backend, dtype):
    net = Network([2, 1], output="identity", loss="mse", backend=backend, dtype=dtype)
    X = np.random.default_rng(0).uniform(-1, 1, (200, 2))
    y = X @ [2.0, -3.0] + 0.5
    net.train(X, y, epochs=50, learning_rate=0.1)
    # The problem has no noise, so that the steps end at the line but for rounding.
    np.testing.assert_allclose(net.weights[0], [[2], [-3]], rtol=0, atol=1e-4)
    np.testing.assert_allclose(net.biases[0], [0.5], rtol=0, atol=1e-4)
    assert net.predict(X).shape == (200, 1)
    assert net.evaluate(X, y)["r2"] > 0.999999


@each_backend
@pytest.mark.parametrize("kind", ["bool", "int64", "uint8", "float32"])
def test_one_sigmoid_output_tells_two_classes_apart(backend, kind):
    X, y = blobs()
    y = (y == 0).astype(kind)
    net = Network([6, 8, 1], output="sigmoid", seed=1, backend=backend)
    net.train(X, y, epochs=20, learning_rate=0.1)
    assert set(net.predict(X)) == {0, 1}
    values = net.evaluate(X, y)
    assert values["accuracy"] == np.mean(net.predict(X) == y) > 0.9


@each_backend
def test_l2_makes_weights_smaller(backend):
    X, y = blobs()
    norms = []
    for l2 in (0, 0.1):
        net = blob_network(backend)
        net.train(X, y, epochs=5, l2=l2)
        norms.append(sum(np.square(weights).sum() for weights in net.weights))
    assert norms[1] < norms[0] / 2


# Divergence


def regression(backend, dtype="float32"):
    return Network(
        [6, 11, 3], activation="relu", output="identity", loss="mse",
        seed=5, backend=backend, dtype=dtype,
    )  # fmt: skip


@each_backend
@each_dtype
@pytest.mark.parametrize("learning_rate", [100, 1e12, 1e37])
@pytest.mark.parametrize("batch_size", [10, 300])
def test_divergence_is_an_error_and_leaves_finite_parameters(
    backend, dtype, learning_rate, batch_size
):
    X, y = blobs()
    net = regression(backend, dtype)
    with pytest.raises(DivergenceError, match=r"epoch \d+, step \d+, .*learning.rate"):
        net.train(X, np.eye(3)[y], 100, batch_size, learning_rate, schedule="constant")
    assert np.isfinite(net.parameters).all()


@each_backend
def test_divergence_in_the_first_epoch_restores_the_initial_parameters(backend):
    X, y = blobs()
    net = regression(backend)
    before = net.parameters.tobytes()
    with pytest.raises(DivergenceError, match="epoch 1, step "):
        net.train(X, np.eye(3)[y], batch_size=10, learning_rate=1e6)
    assert net.parameters.tobytes() == before
    assert net.epochs_trained == 0


@each_backend
def test_divergence_names_the_epoch_and_the_step(backend):
    X, y = blobs(30)
    net, y = regression(backend), np.eye(3)[y]
    net.train(X, y, epochs=2, batch_size=10, learning_rate=0.01)
    X[25] = 3e38  # the square in the third batch overflows
    with pytest.raises(DivergenceError, match=r"epoch 3, step 3, at a learning rate of 0\.01"):
        net.train(X, y, 1, 10, learning_rate=0.03, shuffle=False)


def exact_norm(net, X, y, **options):
    """Return the norm of the gradient, computed in float64."""
    double = Network.of(in_float64(net.model))
    gradient = double.loss_and_gradient(X, y, **options)[1]
    return f"a gradient norm of {np.linalg.norm(gradient.vector):.3g};"


@each_backend
def test_divergence_names_the_layer_whose_activations_overflow_and_the_gradient(backend):
    X, y = blobs(30)
    net, y = regression(backend), np.eye(3)[y]
    net.weights[0][:] *= 1e20
    net.weights[1][:] *= 1e20
    message = re.escape(exact_norm(net, X[:10], y[:10]))
    with pytest.raises(
        DivergenceError, match=f"activation of layer 1 is .*epoch 1, step 1, .*{message}"
    ):
        net.train(X, y, 1, 10, shuffle=False)


@each_backend
def test_divergence_names_the_loss_if_that_overflows_first(backend):
    X, y = blobs(30)
    net, y = regression(backend), np.eye(3)[y]
    y[12] = 1e25
    with pytest.raises(DivergenceError, match=r"^the loss is no longer finite in epoch 1, step 2"):
        net.train(X, y, 1, 10, 1e-30, shuffle=False)


@each_backend
def test_divergence_names_a_gradient_that_overflows_on_its_way_back(backend):
    net = Network(
        [1, 1, 1], "identity", output="identity", loss="mae", backend=backend, seed=0,
        init=lambda *_: np.full((1, 1), 1e-20),
    )  # fmt: skip
    net.weights[1][:] = 1e20
    with pytest.raises(DivergenceError, match=r"gradient of layer 0 is .*gradient norm of 1e\+40"):
        net.train([[1e20]], [[0.0]], 1, 1, 0.1, shuffle=False)


@each_backend
def test_divergence_names_the_step_and_layer_that_spoilt_a_parameter(backend):
    X, y = blobs(90)
    net = regression(backend)
    message = r"parameter of layer 0 is .*epoch 1, step 4, at a learning rate of 1e\+41"
    with pytest.raises(DivergenceError, match=message):
        net.train(
            X, np.eye(3)[y], 1, 10, 1.0, shuffle=False,
            schedule=lambda t: 1e41 if round(9 * t) == 3 else 1e-3,  # infinite in float32
        )  # fmt: skip


@each_backend
@pytest.mark.parametrize("options", [{}, {"dropout": 0.3}, {"optimizer": "momentum"}])
def test_divergence_in_a_later_step_is_found_by_taking_the_steps_again(backend, options):
    X, y = blobs(100)
    net, other = regression(backend), regression(backend)
    y = np.eye(3)[y]
    y[57] = 1e25
    before = net.parameters.tobytes()
    with pytest.raises(DivergenceError) as error:
        net.train(X, y, 1, 10, 1e-3, schedule="constant", shuffle=False, **options)
    assert net.parameters.tobytes() == before
    other.train(X[:50], y[:50], 1, 10, 1e-3, schedule="constant", shuffle=False, **options)
    assert "step 6," in str(error.value)
    if "dropout" not in options:  # whose units are those of the rows' places
        assert exact_norm(other, X[50:60], y[50:60]) in str(error.value)


@each_backend
@pytest.mark.parametrize("optimizer", ["rmsprop", "adam"])
def test_the_state_of_an_optimizer_must_stay_finite(backend, optimizer):
    X, y = blobs(30)
    net = Network([6, 3], output="identity", loss="mae", backend=backend, seed=0)
    message = "the optimizer's state of layer 0 is no longer finite in epoch 1, step 1"
    with pytest.raises(DivergenceError, match=message):
        net.train(X * 1e30, np.eye(3)[y], 1, 10, 1e-3, optimizer=optimizer)


@each_backend
def test_divergence_suggests_what_was_not_done(backend):
    X, y = blobs(30)
    scaling = {"standardize_inputs": True, "standardize_targets": True}
    net = Network([6, 3], output="identity", backend=backend, **scaling)
    with pytest.raises(DivergenceError, match=r"Try a lower learning_rate than 1e\+38$"):
        net.train(X, np.eye(3)[y], 9, 10, 1e38, clip_norm=1e9)
    net = Network([6, 3], output="identity", backend=backend)
    tried = r"Try a lower .*, standardize_inputs=True, standardize_targets=True, clip_norm=1$"
    with pytest.raises(DivergenceError, match=tried):
        net.train(X, np.eye(3)[y], 9, 10, 1e38)


@each_backend
def test_the_last_step_of_a_run_may_not_ruin_the_parameters(backend):
    X, y = blobs()
    net = regression(backend)
    with pytest.raises(DivergenceError):
        net.train(X, np.eye(3)[y], epochs=1, batch_size=300, learning_rate=1e39)
    assert np.isfinite(net.parameters).all()


@each_backend
def test_parameters_survive_when_every_step_is_a_call_of_its_own(backend, monkeypatch):
    monkeypatch.setattr(fastnn.training.loop, "SLICE", 1.0)
    X, y = blobs()
    net = regression(backend)
    with pytest.raises(DivergenceError):
        net.train(X, np.eye(3)[y], epochs=1, batch_size=10, learning_rate=1e37)
    assert np.isfinite(net.parameters).all()


@each_backend
def test_a_rate_too_small_for_the_dtype_changes_nothing(backend):
    X, y = blobs()
    net = blob_network(backend)
    before = net.parameters.copy()
    net.train(X, y, epochs=1, learning_rate=1e-60)
    np.testing.assert_array_equal(net.parameters, before)


@each_backend
def test_cutting_an_epoch_into_calls_changes_no_bit(backend, monkeypatch):
    X, y = blobs()
    nets = []
    for work in (1.0, 1e6, 1e12):
        monkeypatch.setattr(fastnn.training.loop, "SLICE", work)
        nets.append(blob_network(backend))
        nets[-1].train(X, y, epochs=2, batch_size=7, l2=0.01)
        nets[-1].predict(X)
    assert len({net.parameters.tobytes() for net in nets}) == 1


@each_backend
def test_cutting_predictions_into_calls_changes_no_prediction(backend, monkeypatch):
    X, y = blobs()
    net, weights = blob_network(backend), np.linspace(0.5, 2, len(X))
    whole, values = net.predict_proba(X), net.evaluate(X, y, weights)
    monkeypatch.setattr(evaluation, "SLICE", 10_000)
    parts = list(evaluation._slices(net.architecture, slice(0, len(X))))
    assert len({part.stop - part.start for part in parts}) == 2  # the last one is shorter
    # The reference's sums may round differently in products of another size.
    np.testing.assert_allclose(net.predict_proba(X), whole, rtol=1e-6)
    assert net.evaluate(X, y, weights) == pytest.approx(values, rel=1e-6)


@each_backend
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_gradient_that_is_not_finite_is_clipped_by_value(backend, optimizer):
    X, Y = np.full((4, 3), [1e30, -1e30, 0], np.float32), np.full((4, 2), 1e15, np.float32)
    net = Network([3, 2], output="identity", loss="mse", init=zeros, backend=backend)
    options = {"epochs": 1, "batch_size": 4, "learning_rate": 0.25, "optimizer": optimizer}
    with pytest.raises(DivergenceError, match="a gradient of layer 0"):
        net.train(X, Y, **options)
    assert not net.parameters.any()
    net.train(X, Y, **options, clip_value=1.0)
    want = [[0.25, 0.25], [-0.25, -0.25], [0, 0]]
    np.testing.assert_allclose(net.weights[0], want, rtol=1e-5)


def zeros(rng, fan_in, fan_out):
    return np.zeros((fan_in, fan_out))


# Ctrl-C


@each_backend
def test_ctrl_c_in_a_callback_leaves_the_network_after_that_epoch(backend):
    X, y = blobs()
    net, other = (blob_network(backend) for _ in range(2))

    def interrupt(row):
        if row["epoch"] == 2:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        net.train(X, y, epochs=5, schedule="constant", callbacks=[interrupt])
    other.train(X, y, epochs=2, schedule="constant")
    assert net.epochs_trained == 2
    assert net.parameters.tobytes() == other.parameters.tobytes()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a timer that sends a signal")
@each_backend
@pytest.mark.parametrize("rows", [300, 100_000])
def test_ctrl_c_ends_a_long_run_with_finite_parameters(backend, rows):
    X, y = blobs(rows)
    net = blob_network(backend)
    net.train(X[:50], y[:50], epochs=1)  # compiled before the clock runs
    previous = signal.signal(signal.SIGALRM, signal.default_int_handler)
    start = time.monotonic()
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(KeyboardInterrupt):
            net.train(X, y, epochs=1_000_000, learning_rate=1e-3, progress=False)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert time.monotonic() - start < 10  # a guard against a hang, not a measurement
    assert np.isfinite(net.parameters).all()
    assert np.isfinite(net.train(X[:50], y[:50], epochs=1)["loss"]).all()


@pytest.mark.parametrize(("backend", "amid"), [("numba", False), ("numpy", False), ("numpy", True)])
def test_ctrl_c_amid_a_step_leaves_a_network_that_goes_on_as_if_it_had_not_been(
    backend, amid, monkeypatch
):
    X, y = blobs()
    options = {"epochs": 1, "optimizer": "adam", "learning_rate": 0.01, "batch_size": 10}
    net, other = (blob_network(backend) for _ in range(2))
    net.train(X, y, **options)
    module, update, calls = backends.get(backend), optimizers.Adam.update, []
    steps = module.train_steps

    def interrupted_update(*arguments):
        calls.append(update(*arguments))
        if len(calls) == 9:
            raise KeyboardInterrupt

    def interrupted_steps(*arguments):
        steps(*arguments)
        raise KeyboardInterrupt

    if amid:
        monkeypatch.setattr(optimizers.Adam, "update", interrupted_update)
    else:
        monkeypatch.setattr(module, "train_steps", interrupted_steps)
    with pytest.raises(KeyboardInterrupt):
        net.train(X, y, **options)
    monkeypatch.undo()
    for network, runs in ((net, 1), (other, 2)):
        for _ in range(runs):
            network.train(X, y, **options)
    assert net.parameters.tobytes() == other.parameters.tobytes()


# MNIST


@pytest.fixture(scope="module")
def mnist():
    if not MNIST.is_dir():
        pytest.skip("no MNIST files in data/mnist")
    return fastnn.datasets.load_mnist(MNIST)


def test_two_epochs_of_mnist_pass_95_percent(mnist):
    X, y, test_X, test_y = mnist
    net = Network([784, 128, 10], seed=0, threads=1)  # several wait where a machine is busy
    net.train(X, y, epochs=2)
    assert net.evaluate(test_X, test_y)["accuracy"] > 0.95


def test_the_defaults_learn_digits_from_two_thousand(mnist):
    X, y, test_X, test_y = mnist
    net = Network([784, 128, 10])
    net.train(X[:2000], y[:2000])
    assert net.evaluate(test_X, test_y)["accuracy"] > 0.85


def test_both_backends_learn_digits_alike(mnist):
    X, y, _, _ = mnist
    nets = [Network([784, 32, 10], seed=1, backend=backend) for backend in BACKENDS]
    ours, theirs = (net.train(X[:3000], y[:3000], epochs=3)["loss"] for net in nets)
    assert ours == pytest.approx(theirs, rel=1e-4)


def test_a_run_without_a_bar_takes_no_lock_of_tqdm(run_python):
    # A forked child that is killed while it has the lock would stop its parent.
    code = """
import sys, numpy as np, fastnn
fastnn.Network([2, 3, 2], backend="numpy").train(np.eye(2), [0, 1], epochs=1)
print("tqdm" in sys.modules)
"""
    assert run_python("-c", code) == "False\n"


# Arrays by columns


def test_an_array_by_columns_is_copied_by_rows_for_training():
    X = np.asfortranarray(np.arange(60.0).reshape(20, 3))
    copied = training_data.by_rows(X)
    assert copied.flags.c_contiguous
    np.testing.assert_array_equal(copied, X)


@pytest.mark.parametrize("kind", ["by rows", "every other column", "one column", "on disk"])
def test_other_arrays_are_trained_on_where_they_are(kind, tmp_path):
    X = np.arange(60.0).reshape(20, 3)
    if kind == "every other column":
        X = X[:, ::2]
    elif kind == "one column":
        X = X[:, :1]
    elif kind == "on disk":
        X.tofile(tmp_path / "X")
        X = np.asarray(np.memmap(tmp_path / "X", X.dtype, "r", shape=(20, 3), order="F"))
    assert training_data.by_rows(X) is X


def test_a_large_array_by_columns_is_not_copied(monkeypatch):
    X = np.asfortranarray(np.arange(60.0).reshape(20, 3))
    monkeypatch.setattr(training_data, "MOST_COPIED", X.nbytes - 1)
    assert training_data.by_rows(X) is X
