"""Weights of rows and classes; what layers make of data, and the gradient of inputs."""

from __future__ import annotations

import numpy as np
import pytest
from cases import BACKENDS
from test_control import SIZES, blobs, each_backend, each_dtype, network, regression

from fastnn import metrics
from fastnn.training.rows import stratified

# Weights


def losses_and_gradient(net, X, y, **options):
    """Return the loss with the gradient, and the losses and parameters of three full batches."""
    loss, gradient = net.loss_and_gradient(X, y, **options)
    losses = net.train(X, y, 3, len(X), 0.1, **options)["loss"]
    return np.r_[loss, gradient.vector, losses, net.parameters]


def numbers(net, X, y):
    """Return targets for the network, made of classes."""
    return {"softmax": y, "sigmoid": np.eye(3)[y] * [1, 1, 0], "identity": y - X[:, 0]}[
        net.architecture.output
    ]


def labelling(backend="numpy", **options):
    return network(backend, output="sigmoid", **options)


@each_backend
@pytest.mark.parametrize("make", [network, regression, labelling])
def test_integer_weights_are_repeated_rows(make, backend):
    X, y = blobs()
    net, other = (make(backend, dtype="float64") for _ in range(2))
    y = numbers(net, X, y)
    times = np.random.default_rng(0).integers(0, 4, 70)
    ours = losses_and_gradient(net, X, y, sample_weight=times)
    theirs = losses_and_gradient(other, X.repeat(times, 0), y.repeat(times, 0))
    # Sums of a hundred numbers near 1, in another order.
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)


@each_backend
def test_weights_are_relative(backend):
    X, y = blobs()
    weights = np.random.default_rng(0).uniform(0, 2, 70)
    ours, theirs = (
        losses_and_gradient(network(backend, "float64"), X, y, sample_weight=w)
        for w in (weights, 1e6 * weights)
    )
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)


@each_dtype
@pytest.mark.parametrize("make", [network, regression, labelling])
@pytest.mark.parametrize("batch_size", [1, 32])
def test_weighted_epochs_go_the_same_way_in_both_backends(batch_size, make, dtype):
    X, y = blobs()
    weights = np.random.default_rng(0).uniform(0, 2, 70)
    nets = [make(backend, dtype=dtype) for backend in BACKENDS]
    for net in nets:
        net.train(X, numbers(net, X, y), 1, batch_size, 0.05, sample_weight=weights)
    # As for frozen layers, with 70 steps.
    tolerance = 70 * 30 * np.finfo(dtype).eps
    np.testing.assert_allclose(*(n.parameters for n in nets), rtol=0, atol=tolerance)


Y = blobs()[1]


@each_backend
@pytest.mark.parametrize(
    ("y", "class_weight", "expected"),
    [
        (Y, "balanced", 70 / (3 * np.bincount(Y))),
        (np.minimum(Y, 1), "balanced", [70 / (2 * sum(Y == 0)), 70 / (2 * sum(Y > 0)), 0]),
        (Y, {0: 0.5, 2: 3}, [0.5, 1, 3]),
        (Y, [0.5, 1, 3], [0.5, 1, 3]),
        (np.eye(3)[Y], [0.5, 1, 3], [0.5, 1, 3]),
    ],
)
def test_class_weights_are_sample_weights_by_class(y, class_weight, expected, backend):
    X, _ = blobs()
    by_row = np.array(expected)[y if y.ndim == 1 else y.argmax(axis=1)]
    others = np.random.default_rng(0).uniform(0, 2, 70)
    for given, both in (({}, by_row), ({"sample_weight": others}, by_row * others)):
        net, other = (network(backend, "float64") for _ in range(2))
        ours = losses_and_gradient(net, X, y, class_weight=class_weight, **given)
        theirs = losses_and_gradient(other, X, y, sample_weight=both)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-13)
        assert net.evaluate(X, y, given.get("sample_weight"), class_weight) == pytest.approx(
            other.evaluate(X, y, both), rel=1e-12
        )


def test_class_weights_of_one_sigmoid_are_of_0_and_1():
    X, y = blobs()
    y = (y == 0).astype(int)
    nets = [network(sizes=(6, 1), dtype="float64") for _ in range(2)]
    ours = losses_and_gradient(nets[0], X, y, class_weight={1: 3})
    theirs = losses_and_gradient(nets[1], X, y, sample_weight=np.where(y, 3, 1))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-13)


@each_backend
@each_dtype
@pytest.mark.parametrize("make", [network, regression, labelling])
def test_weighted_evaluation_is_that_of_the_metrics(make, dtype, backend):
    X, y = blobs()
    net = make(backend, dtype=dtype)
    y, w = numbers(net, X, y), np.random.default_rng(0).uniform(0, 2, 70)
    pred, values = net.predict(X, *[0.5] * (make is labelling)), net.evaluate(X, y, w)
    rows = [net.evaluate(X[i : i + 1], y[i : i + 1])["loss"] for i in range(70)]
    expected = {"loss": np.average(rows, weights=w)}
    if make is network:
        expected["accuracy"] = metrics.accuracy(y, pred, w)
        expected["macro_f1"] = metrics.macro_f1(y, pred, weights=w)
    elif make is labelling:
        scores = metrics.multilabel_scores(y, pred, w)
        expected |= {"accuracy": scores[0], "macro_f1": scores[1]}
    else:
        for name in ("r2", "mae", "rmse"):
            expected[name] = getattr(metrics, name)(y[:, None], pred, w)
    # Weights are rounded to the dtype.
    assert values == pytest.approx(expected, rel=20 * float(np.finfo(dtype).eps))


def test_validation_data_have_weights_of_their_own_times_those_of_classes():
    X, y = blobs()
    w = np.random.default_rng(0).uniform(0, 2, 30)
    net, by_class = network(), [1, 2, 5]
    history = net.train(X, y, 1, validation=(X[:30], y[:30], w), class_weight=by_class)
    for name, value in net.evaluate(X[:30], y[:30], w, by_class).items():
        assert history[-1][f"validation_{name}"] == value


def test_balanced_weights_are_those_of_the_rows_trained_on():
    X, y = blobs()
    net, other = network(), network()
    rows, _ = stratified(0.25, 70, y, net.seed)
    counts = np.bincount(y[rows])
    assert len(set(np.bincount(y) / counts)) > 1
    net.train(X, y, 2, validation=0.25, class_weight="balanced")
    other.train(X, y, 2, validation=0.25, class_weight=len(rows) / (3 * counts))
    assert np.array_equal(net.parameters, other.parameters)


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (regression, {"class_weight": "balanced"}, "the output 'identity' is for regression"),
        (network, {"class_weight": "even"}, "class_weight must be one of balanced; got 'even'"),
        (network, {"class_weight": [1, 1]}, r"for each of 3 classes; .* shape \(2,\)"),
        (network, {"class_weight": [1, 1, -1]}, r"class_weight\[2\] must be"),
        (network, {"class_weight": {0: np.nan}}, r"class_weight\[0\] must be"),
        (network, {"class_weight": {3: 1}}, "a label of class_weight must be from 0 to 2; got 3"),
        (network, {"class_weight": {"a": 1}}, "a label of class_weight must be an integer"),
        (network, {"class_weight": [0, 0, 0]}, "weights of the rows to train or .* are all 0"),
        (network, {"sample_weight": np.zeros(70)}, "sample_weight must not all be 0"),
        (network, {"sample_weight": -np.eye(70)[3]}, "at least 0; got -1.0 in row 3"),
        (network, {"sample_weight": [np.nan] * 70}, "at least 0; got nan in row 0"),
        (
            network,
            {"sample_weight": np.ones(69)},
            r"must have shape \(70,\), one per row; got \(69",
        ),
        (network, {"sample_weight": np.ones((70, 1))}, r"must have shape \(70,\), one per row"),
        (network, {"sample_weight": ["1"] * 70}, "sample_weight holds '1' in row 0"),
    ],
)
def test_bad_weights_are_refused(make, options, message):
    net = make()
    before = net.parameters.tobytes()
    for call in (net.train, net.evaluate, net.loss_and_gradient):
        with pytest.raises((TypeError, ValueError), match=message):
            call(*blobs(), **options)
    assert net.parameters.tobytes() == before


@pytest.mark.parametrize(
    ("make", "value"), [(network, 1 / 3), (labelling, 1 / 3), (labelling, 1), (labelling, 0)]
)
def test_class_weights_need_one_class_a_row(make, value):
    with pytest.raises(ValueError, match="class_weight needs a y that names one class in each row"):
        make().train(blobs()[0], np.full((70, 3), value), class_weight=[1, 2, 3])


# What the layers make of data, and the gradient of inputs


def inputs(kind, rows):
    X = np.random.default_rng(2).normal(size=(rows, 6))
    return np.abs(X * 60).astype(np.uint8) if kind == "uint8" else X.astype(kind)


@each_dtype
@pytest.mark.parametrize("kind", ["float32", "float64", "uint8"])
@pytest.mark.parametrize("rows", [1, 5, 1100])  # more than two blocks
def test_activations_and_input_gradients_are_the_same_in_both_backends(rows, kind, dtype):
    X, y = inputs(kind, rows), np.arange(rows) % 3
    ours, theirs = (network(backend, dtype) for backend in BACKENDS)
    tolerance = {"rtol": 0, "atol": 30 * np.finfo(dtype).eps}  # three layers of numbers near 1
    for a, b in zip(ours.activations(X), theirs.activations(X), strict=True):
        np.testing.assert_allclose(a, b, **tolerance)
    np.testing.assert_allclose(ours.input_gradient(X, y), theirs.input_gradient(X, y), **tolerance)


@each_backend
@pytest.mark.parametrize("kind", ["float64", "uint8"])
def test_activations_are_the_formula_of_each_layer(kind, backend):
    X = inputs(kind, 7)
    net = network(backend, "float64")
    a = X / 255 if kind == "uint8" else X
    layers = net.activations(X)
    assert [layer.shape for layer in layers] == [(7, size) for size in SIZES[1:]]
    for l, layer in enumerate(layers):
        z = a @ net.weights[l] + net.biases[l]
        a = np.tanh(z) if l < 2 else np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(layer, a, rtol=0, atol=1e-14)
    np.testing.assert_allclose(layers[-1], net.predict_proba(X), rtol=0, atol=1e-15)


@each_backend
@pytest.mark.parametrize(
    "options",
    [{}, {"output": "sigmoid"}, {"output": "identity"}, {"output": "exponential"}],
    ids=lambda options: options.get("output", "softmax"),
)
def test_the_gradient_of_inputs_agrees_with_finite_differences(options, backend):
    X, step = inputs("float64", 520)[-6:], 1e-5
    net = network(backend, "float64", **options)
    y = np.eye(3)[np.arange(6) % 3]
    gradient = net.input_gradient(X, y)
    for r, j in np.ndindex(X.shape):
        ends = []
        for change in (step, -step):
            x = X[r : r + 1].copy()
            x[0, j] += change
            ends.append(net.evaluate(x, y[r : r + 1])["loss"])
        # The third derivative times step^2 / 6, and eps / step: about 1e-10 of numbers near 1.
        assert gradient[r, j] == pytest.approx((ends[0] - ends[1]) / (2 * step), abs=1e-8)
    assert np.abs(gradient).max() > 0.1


@each_backend
def test_the_gradient_of_pixels_is_that_of_numbers_from_0_to_1(backend):
    X, y = inputs("uint8", 600), np.arange(600) % 3
    net = network(backend, "float64")
    np.testing.assert_allclose(
        net.input_gradient(X, y), net.input_gradient(X / 255, y), rtol=0, atol=1e-14
    )
