"""The losses with numbers: quantiles, and the focal loss."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from cases import BACKENDS, DTYPES, Case, fitting, make_data, make_network

import fastnn
from fastnn.losses import Focal, Quantile, pair
from fastnn.model import files

each_backend = pytest.mark.parametrize("backend", BACKENDS)
each_dtype = pytest.mark.parametrize("dtype", DTYPES)
THREE = Quantile((0.1, 0.5, 0.9))
RNG = np.random.default_rng(0)
X = RNG.uniform(-1, 1, (600, 2))
NUMBERS = X[:, 0] + (1 + X[:, 1]) * RNG.normal(size=600)


def of_quantiles(loss=THREE, backend="numba", **options):
    return fastnn.Network([2, 8, len(loss.levels)], loss=loss, backend=backend, seed=0, **options)


@each_backend
@each_dtype
def test_the_pinball_loss_and_its_slope_by_hand(dtype, backend):
    net = fastnn.Network([1, 3], loss=Quantile((0.25, 0.5, 0.75)), dtype=dtype, backend=backend)
    net.weights[0], net.biases[0] = np.zeros((1, 3)), np.array([1, 2, 4])
    loss, gradient = net.loss_and_gradient([[3.0]], [2.0])
    # Below by 1 at the level 1/4, right, above by 2 at the level 3/4: (1/4 + 0 + 2/4) / 3.
    assert loss == pytest.approx(0.25, rel=float(4 * np.finfo(dtype).eps))
    np.testing.assert_allclose(gradient.biases[0], [-0.25 / 3, 0, 0.25 / 3], rtol=1e-6)
    np.testing.assert_allclose(gradient.weights[0], [[-0.25, 0, 0.25]], rtol=1e-6)


@each_backend
def test_the_median_is_half_the_absolute_error(backend):
    median, absolute = (
        fastnn.Network([2, 8, 1], loss=loss, seed=0, backend=backend)
        for loss in ("quantile", "mae")
    )
    assert median.architecture.loss == Quantile()
    losses = [net.loss_and_gradient(X, NUMBERS) for net in (median, absolute)]
    assert 2 * losses[0][0] == pytest.approx(losses[1][0], rel=1e-6)
    np.testing.assert_allclose(2 * losses[0][1].vector, losses[1][1].vector, rtol=1e-5, atol=1e-7)


@each_backend
@pytest.mark.parametrize("options", [{}, {"standardize_targets": True}])
def test_a_share_of_the_targets_is_below_each_quantile(options, backend):
    net = of_quantiles(backend=backend, **options)
    net.train(X, NUMBERS, epochs=60, optimizer="adam", learning_rate=0.01)
    below = (NUMBERS[:, None] < net.predict(X)).mean(axis=0)
    np.testing.assert_allclose(below, THREE.levels, atol=0.05)  # 600 rows: some 2 % of them


@each_backend
def test_predicted_quantiles_never_cross_and_sorting_them_does_not_raise_the_loss(backend):
    net = of_quantiles(backend=backend)
    raw = net.activations(X)[-1]
    assert (np.diff(raw) < 0).any()
    found = net.predict(X)
    np.testing.assert_array_equal(found, np.sort(raw))
    np.testing.assert_allclose(net.predict_one(X[3]), found[3], atol=1e-6)
    loss = pair("identity", THREE).value(found, found, NUMBERS[:, None]).mean()
    assert loss < net.evaluate(X, NUMBERS)["loss"]


@each_backend
def test_a_column_of_targets_is_as_a_vector_and_more_are_refused(backend):
    losses = [of_quantiles(backend=backend).train(X, y) for y in (NUMBERS, NUMBERS[:, None])]
    assert losses[0]["loss"] == losses[1]["loss"]
    with pytest.raises(ValueError, match=r"must have shape \(600,\) or \(600, 1\), whose quantile"):
        of_quantiles(backend=backend).train(X, np.stack([NUMBERS] * 3, axis=1))


@each_backend
def test_metrics_are_of_the_median_if_there_is_one(backend):
    net = of_quantiles(backend=backend)
    scores = net.evaluate(X, NUMBERS)
    errors = NUMBERS - net.predict(X)[:, 1]
    assert scores["mae"] == pytest.approx(np.abs(errors).mean(), rel=1e-6)
    without = of_quantiles(Quantile((0.1, 0.9)), backend)
    assert set(without.evaluate(X, NUMBERS)) == {"loss"}
    history = without.train(X, NUMBERS, epochs=1, validation=0.2)
    assert "validation_loss" in history[0]
    assert "validation_r2" not in history[0]


@each_backend
@pytest.mark.parametrize("options", [{}, {"standardize_targets": True}])
def test_learning_from_one_row_is_a_step_of_one_row(options, backend):
    nets = [of_quantiles(backend=backend, **options) for _ in range(3)]
    for net in nets:
        net.train(X, NUMBERS, epochs=1, learning_rate=0.01)
    before = nets[0].parameters.copy()
    for net, y in zip(nets, (0.5, np.array([0.5]), None), strict=True):
        if y is None:
            net.learn_few(X[:1], [0.5], learning_rate=0.1)
        else:
            net.learn_one(X[0], y, learning_rate=0.1)
        assert (net.parameters != before).any()
    for net in nets[1:]:
        np.testing.assert_allclose(net.parameters, nets[0].parameters, atol=1e-6)


@pytest.mark.parametrize(
    ("loss", "sizes"),
    [(THREE, [2, 8, 3]), ("focal", [2, 8, 3]), (Focal(1.5), [2, 8, 1])],
    ids=str,
)
def test_a_loss_with_numbers_is_saved_with_the_network(loss, sizes, tmp_path):
    net = fastnn.Network(sizes, loss=loss, seed=0)
    y = NUMBERS if loss is THREE else (NUMBERS > 0).astype(int)
    net.train(X, y, epochs=1)
    net.save(tmp_path / "net.safetensors")
    loaded = fastnn.load(tmp_path / "net.safetensors")
    assert loaded.architecture.loss == net.architecture.loss
    np.testing.assert_array_equal(loaded.predict_proba(X), net.predict_proba(X))
    assert loaded.evaluate(X, y) == net.evaluate(X, y)
    assert repr(loaded.architecture.loss) in repr(loaded)


def test_a_run_is_not_resumed_with_another_number_in_its_loss(tmp_path):
    path, y = tmp_path / "run.safetensors", (NUMBERS > 0).astype(int)
    options = {"epochs": 2, "checkpoint": path, "resume": True}
    whole = fastnn.Network([2, 4, 2], loss=Focal(1.0), seed=0)
    whole.train(X, y, **options)
    again = fastnn.Network([2, 4, 2], loss=Focal(1.0), seed=0)
    again.train(X, y, **options)
    np.testing.assert_array_equal(again.parameters, whole.parameters)
    with pytest.raises(ValueError, match="loss was"):
        fastnn.Network([2, 4, 2], loss=Focal(3.0), seed=0).train(X, y, **options)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Quantile(()), "numbers that rise"),
        (lambda: Quantile((0.5, 0.5)), "numbers that rise"),
        (lambda: Quantile((0.5, 1.0)), r"levels\[1\] must be finite and greater than 0"),
        (lambda: Focal(-1.0), "gamma must be finite and at least 0"),
        (lambda: of_quantiles(output="softmax"), "needs the output 'identity'"),
        (lambda: fastnn.Network([2, 3], loss="quantile"), "1 levels, and needs an output for each"),
        (lambda: fastnn.Network([2, 3], output="identity", loss="focal"), "'softmax' or 'sigmoid'"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_class_of_a_loss_is_refused():
    with pytest.raises(TypeError, match=r"such as Quantile\(\), not the class"):
        fastnn.Network([2, 1], loss=Quantile)


@pytest.mark.parametrize(
    "loss",
    [
        {"name": "quantile", "levels": [0.5, 0.1, 0.9]},
        {"name": "quantile", "levels": [0.1, 0.9]},
        {"name": "quantile", "gamma": 2.0},
        {"name": "focal", "gamma": "2"},
        {"name": "mse"},
        {"levels": [0.1, 0.5, 0.9]},
    ],
    ids=str,
)
def test_a_file_with_numbers_that_do_not_fit_is_refused(loss):
    tensors, metadata = files.contents(of_quantiles().model, optimizer=False)
    metadata["network"]["loss"] = loss
    with pytest.raises(ValueError, match="does not describe a network"):
        files.model_of("a file", tensors, metadata, None)


def test_levels_that_are_one_number_are_refused():
    with pytest.raises(TypeError, match="must be a sequence of numbers"):
        Quantile(0.5)


FOCAL = [("softmax", 3), ("softmax", 40), ("sigmoid", 1), ("sigmoid", 3), ("sigmoid", 40)]


@each_backend
@each_dtype
@pytest.mark.parametrize(("output", "outputs"), FOCAL)
def test_with_gamma_0_the_focal_loss_is_the_cross_entropy(output, outputs, dtype, backend):
    case = fitting(Case((6, 8, outputs), output=output, dtype=dtype))
    rows, y = make_data(case, np.random.default_rng(3), 40)
    options = {"label_smoothing": 0.1, "sample_weight": np.linspace(0, 1, 40)}
    found = [
        make_network(replace(case, loss=loss), backend).loss_and_gradient(rows, y, **options)
        for loss in (Focal(0.0), None)
    ]
    # The same sums in another order.
    eps = 100 * float(np.finfo(dtype).eps)
    assert found[0][0] == pytest.approx(found[1][0], rel=eps)
    np.testing.assert_allclose(found[0][1].vector, found[1][1].vector, rtol=0, atol=eps)


@each_backend
@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize(("output", "outputs"), FOCAL)
def test_gradients_of_the_focal_loss(output, outputs, gamma, backend):
    case = fitting(Case((6, 8, outputs), output=output, loss=Focal(gamma), dtype="float64"))
    rows, y = make_data(case, np.random.default_rng(3), 40)
    net = make_network(case, backend)
    options = {"label_smoothing": 0.1, "sample_weight": np.linspace(0, 1, 40)}
    if output == "softmax":
        options["class_weight"] = {0: 3.0}
    assert fastnn.check_gradients(net, rows, y, **options).error < 1e-8


@each_backend
@pytest.mark.parametrize("output", ["softmax", "sigmoid"])
def test_the_focal_loss_is_that_of_the_paper(output, backend):
    net = fastnn.Network([1, 2], output=output, loss=Focal(3.0), dtype="float64", backend=backend)
    net.weights[0], net.biases[0] = np.array([[1.0, -1.0]]), np.array([0.5, 0])
    p = net.predict_proba([[0.3]])[0]
    want = -((1 - p[0]) ** 3) * math.log(p[0])
    if output == "sigmoid":
        want -= p[1] ** 3 * math.log(1 - p[1])
    assert net.evaluate([[0.3]], [[1, 0]])["loss"] == pytest.approx(want, rel=1e-12)


@each_backend
@each_dtype
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("output", ["softmax", "sigmoid"])
def test_the_focal_loss_is_finite_where_outputs_round_to_zero_and_one(
    output, gamma, dtype, backend
):
    net = fastnn.Network([1, 2], output=output, loss=Focal(gamma), dtype=dtype, backend=backend)
    net.weights[0], net.biases[0] = np.array([[1000, -1000]]), np.zeros(2)
    for y, loss in ([[0, 1]], 2000), ([[1, 0]], 0):
        found, gradient = net.loss_and_gradient([[1]], y)
        assert found == loss
        assert np.isfinite(gradient.vector).all()


@each_dtype
@pytest.mark.parametrize(
    ("output", "outputs", "loss"),
    [("identity", 3, THREE), ("identity", 40, Quantile(np.arange(1, 41) / 41))]
    + [(*each, Focal()) for each in FOCAL],
    ids=str,
)
def test_threads_change_no_bit(output, outputs, loss, dtype, monkeypatch):
    monkeypatch.setattr("fastnn.backends.compiled.machinery.threads.WORTH_A_THREAD", 1.0)
    monkeypatch.setattr("fastnn.backends.compiled.machinery.threads.Trial.enabled", False)
    case = fitting(Case((6, 9, outputs), output=output, loss=loss, dtype=dtype, batch=67))
    rows, y = make_data(case, np.random.default_rng(3), 300)
    bits = []
    for threads in (1, 2):
        net = make_network(case, threads=threads)
        net.train(rows, y, epochs=2, batch_size=case.batch, sample_weight=np.linspace(0, 1, 300))
        bits.append(net.parameters.tobytes())
    assert bits[0] == bits[1]
