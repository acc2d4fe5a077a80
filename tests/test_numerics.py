"""Inputs at the ends of what numbers can be: each is dealt with right, or refused and said why."""

from __future__ import annotations

import contextlib
import re

import numpy as np
import pytest
from cases import BACKENDS, DTYPES

from fastnn import DivergenceError, Network
from fastnn.activations import HIDDEN

each_backend = pytest.mark.parametrize("backend", BACKENDS)
each_dtype = pytest.mark.parametrize("dtype", DTYPES)
each_activation = pytest.mark.parametrize("activation", HIDDEN)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(20, 4))
LABELS = np.arange(20) % 3
NUMBERS = X @ RNG.normal(size=(4, 3))
BOUNDED = ("sigmoid", "tanh")


def network(backend, dtype, sizes=(4, 8, 3), **options):
    return Network(list(sizes), backend=backend, dtype=dtype, seed=1, **options)


def all_is_finite(net, X, y):
    """Tell whether training, metrics, gradient and predictions are finite; train three epochs."""
    history = net.train(X, y, epochs=3)
    metrics = net.evaluate(X, y)
    loss, gradient = net.loss_and_gradient(X, y)
    outputs = net.predict_proba(X)
    parts = history["loss"], [*metrics.values(), loss], gradient.vector, outputs, net.parameters
    one = net.predict_one(np.asarray(X, net.architecture.dtype)[0])
    return all(np.isfinite(part).all() for part in (*parts, one))


def tiny(dtype):
    """Return a number far below the smallest normal one."""
    return float(np.finfo(dtype).tiny) / 100


def huge(dtype):
    """Return a number whose square overflows."""
    return 1e30 if dtype == "float32" else 1e200


# Inputs that are very large or very small


@each_backend
@each_dtype
@each_activation
def test_huge_inputs_are_learned_from_or_divergence(backend, dtype, activation):
    net = network(backend, dtype, activation=activation)
    before = net.parameters.tobytes()
    large = (X * huge(dtype)).astype(dtype)
    if activation in BOUNDED:
        assert all_is_finite(net, large, LABELS)
        return
    with pytest.raises(DivergenceError, match=r"layer \d is no longer finite in epoch 2, step 1"):
        net.train(large, LABELS, epochs=3)
    assert np.isfinite(net.parameters).all()
    assert net.parameters.tobytes() != before  # the first epoch was good


@each_backend
@each_dtype
def test_predictions_of_huge_inputs_are_those_of_their_signs(backend, dtype):
    """Behind a saturated tanh nothing else is left of them."""
    net = network(backend, dtype, (1, 3), activation=())
    net.weights[0][:] = [[-1, 0, 1]]
    large = np.array([[huge(dtype)], [-huge(dtype)]], dtype)
    np.testing.assert_array_equal(net.predict_proba(large), [[0, 0, 1], [1, 0, 0]])
    np.testing.assert_array_equal(net.predict_one(large[0]), [0, 0, 1])


@each_backend
@each_dtype
@each_activation
def test_denormal_inputs_have_the_outputs_of_zeros(backend, dtype, activation):
    net = network(backend, dtype, activation=activation)
    small = (X * tiny(dtype)).astype(dtype)
    want = net.predict_proba(np.zeros_like(small))
    np.testing.assert_allclose(net.predict_proba(small), want, rtol=np.finfo(dtype).eps)
    assert all_is_finite(net, small, LABELS)


@each_backend
@each_dtype
@pytest.mark.parametrize("power", [-60, 60])
def test_standardised_inputs_may_have_any_size(backend, dtype, power):
    """But for the power of two, which rounds nothing, all bits are the same."""
    plain, scaled = (network(backend, dtype, standardize_inputs=True) for _ in range(2))
    plain.train(X.astype(dtype), LABELS, epochs=3)
    scaled.train(np.ldexp(X.astype(dtype), power), LABELS, epochs=3)
    assert plain.parameters.tobytes() == scaled.parameters.tobytes()


@each_backend
@each_dtype
def test_denormal_inputs_are_not_standardised_to_what_overflows(backend, dtype):
    net = network(backend, dtype, standardize_inputs=True)
    assert all_is_finite(net, (X * tiny(dtype)).astype(dtype), LABELS)


@each_backend
@each_dtype
@pytest.mark.parametrize("which", ["inputs", "targets"])
def test_a_spread_too_wide_to_divide_by_is_refused(backend, dtype, which):
    net = network(backend, dtype, output="identity", **{f"standardize_{which}": True})
    data = {"inputs": X.astype(dtype), "targets": NUMBERS.astype(dtype)}
    wide = data[which].copy()
    wide[:, 2] = np.sign(wide[:, 2]) * np.finfo(dtype).max * 0.9
    wide[0, 2] = -wide[1, 2]
    name = {"inputs": "X", "targets": "y"}[which]
    with pytest.raises(ValueError, match=f"{name} cannot be standardised in {dtype}.*column 2"):
        net.train(**{"X": data["inputs"], "y": data["targets"], name: wide}, epochs=1)


@each_backend
def test_numbers_beyond_the_dtype_are_refused(backend):
    with pytest.raises(ValueError, match=r"X must be finite in float32, got .* row 0, column 0"):
        network(backend, "float32").train(np.full((2, 4), 1e39), [0, 1])


@each_backend
@each_dtype
def test_predictions_that_overflow_are_refused_with_their_row(backend, dtype):
    net = network(backend, dtype, (4, 3), output="identity")
    net.weights[0][:] = huge(dtype)
    rows = np.zeros((9, 4), dtype)
    rows[5] = huge(dtype)
    for method in (net.predict, net.predict_proba):
        with pytest.raises(DivergenceError, match=f"no longer finite for row 5: .*{dtype}"):
            method(rows)


@each_backend
@pytest.mark.parametrize("rows", [slice(None), slice(699, 704)])
def test_no_gradient_is_returned_without_the_rows_after_one_that_overflows(backend, rows):
    net = Network([1, 1], output="exponential", seed=1, backend=backend)
    net.weights[0] = [[1.0]]
    numbers = np.ones((1200, 1))
    numbers[700] = 100
    numbers, counts = numbers[rows], np.zeros(len(numbers[rows]))
    row = numbers.argmax()
    for method in (net.loss_and_gradient, net.evaluate):
        with pytest.raises(DivergenceError, match=f"no longer finite for row {row}: .*float32"):
            method(numbers, counts)


@each_backend
@each_dtype
def test_no_gradient_is_returned_of_a_loss_that_overflows(backend, dtype):
    net = network(backend, dtype, output="identity")
    targets = np.zeros((20, 3))
    targets[7] = huge(dtype)
    with pytest.raises(DivergenceError, match="the loss is inf, though the outputs are finite"):
        net.loss_and_gradient(X, targets)


@each_backend
@each_dtype
def test_a_loss_that_overflows_is_refused(backend, dtype):
    net = network(backend, dtype, output="identity")
    targets = np.full((20, 3), huge(dtype))
    with pytest.raises(DivergenceError, match="the loss is inf, though the outputs are finite"):
        net.evaluate(X, targets)
    before = net.parameters.tobytes()
    with pytest.raises(DivergenceError, match=re.escape("after epoch 1 the loss is inf")):
        net.train(X, NUMBERS, epochs=2, validation=(X, targets))
    assert net.parameters.tobytes() == before


@each_backend
@each_dtype
@pytest.mark.parametrize("loss", ["mae", "huber"])
def test_huge_targets_suit_losses_that_do_not_square(backend, dtype, loss):
    net = network(backend, dtype, output="identity", loss=loss)
    targets = NUMBERS * huge(dtype)
    history = net.train(X, targets, epochs=3)
    assert np.isfinite([*history["loss"], *net.evaluate(X, targets).values()]).all()


@each_backend
@each_dtype
def test_standardised_targets_may_be_large(backend, dtype):
    scale = 1e30
    net = network(backend, dtype, output="identity", standardize_targets=True)
    net.train(X, NUMBERS * scale, epochs=100)
    assert net.evaluate(X, NUMBERS * scale)["r2"] > 0.9


@each_backend
@each_dtype
@pytest.mark.parametrize("size", [1e-310, 1e-30, 1e300])
def test_weights_of_rows_may_have_any_size(backend, dtype, size):
    plain, scaled = (network(backend, dtype) for _ in range(2))
    plain.train(X, LABELS, epochs=2, sample_weight=np.ones(20))
    scaled.train(X, LABELS, epochs=2, sample_weight=np.full(20, size))
    np.testing.assert_allclose(scaled.parameters, plain.parameters, rtol=1e-5)


@each_backend
def test_weights_of_rows_whose_sum_overflows_are_refused(backend):
    with pytest.raises(ValueError, match="weights of the rows are too large"):
        network(backend, "float32").train(X, LABELS, sample_weight=np.full(20, 1e308))


# Saturation


@each_backend
@each_dtype
@each_activation
def test_saturated_units_have_finite_gradients(backend, dtype, activation):
    net = network(backend, dtype, activation=activation)
    net.biases[0][:] = [1e4, -1e4, 100, -100, 20, -20, 1, -1]
    loss, gradient = net.loss_and_gradient(X, LABELS)
    other = network("numpy", "float64", activation=activation)
    for mine, its in ((other.weights, net.weights), (other.biases, net.biases)):
        for l, array in enumerate(its):
            mine[l] = array
    want_loss, want = other.loss_and_gradient(X, LABELS)
    # Weighted inputs of 1e4 are rounded to that many eps.
    limit = 10 * float(np.finfo(dtype).eps)
    assert loss == pytest.approx(want_loss, rel=limit)
    for l in range(2):
        scale = np.abs(want.weights[l]).max()
        np.testing.assert_allclose(
            gradient.weights[l], want.weights[l], rtol=0, atol=limit * scale * 10
        )


@each_backend
@each_dtype
@pytest.mark.parametrize("output", ["softmax", "sigmoid"])
def test_the_cross_entropy_of_sure_and_wrong_outputs_is_the_weighted_input(backend, dtype, output):
    net = network(backend, dtype, (1, 2), output=output)
    net.weights[0][:] = [[1e6, 0]]
    loss, gradient = net.loss_and_gradient([[1.0]], [[0.0, 1.0]])
    # A sigmoid of 0 leaves log 2 to its label.
    want = 1e6 + (np.log(2) if output == "sigmoid" else 0)
    assert loss == pytest.approx(want, rel=float(np.finfo(dtype).eps))
    wrong = [1, -1] if output == "softmax" else [1, -0.5]
    np.testing.assert_array_equal(gradient.biases[0], np.array(wrong, dtype))


# Data without variety


@each_backend
@each_dtype
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_data_of_one_class_are_learned(backend, dtype, outputs, class_weight):
    net = network(backend, dtype, (4, 8, outputs))
    net.train(X, np.ones(20, int), epochs=100, class_weight=class_weight)
    assert (net.predict(X) == 1).all()
    assert net.evaluate(X, np.ones(20, int))["accuracy"] == 1


@each_backend
@each_dtype
@pytest.mark.parametrize("value", [0.0, 0.1, -7.0, 1e30])
def test_a_constant_feature_is_as_good_as_none_when_standardised(backend, dtype, value):
    data = X.astype(dtype)
    data[:, 1] = 0
    other = data.copy()
    other[:, 1] = value
    first, second = (network(backend, dtype, standardize_inputs=True) for _ in range(2))
    first.train(data, LABELS, epochs=3)
    second.train(other, LABELS, epochs=3)
    assert second.input_scaler.scale[1] == 1
    assert first.parameters.tobytes() == second.parameters.tobytes()


@each_backend
@each_dtype
@pytest.mark.parametrize("standardize", [False, True])
def test_features_that_are_all_constant_leave_the_shares_of_the_classes(
    backend, dtype, standardize
):
    net = network(backend, dtype, standardize_inputs=standardize)
    net.train(np.full((20, 4), 0.1), LABELS, epochs=300, schedule="constant", batch_size=20)
    shares = np.bincount(LABELS) / 20
    np.testing.assert_allclose(net.predict_proba([[0.1] * 4])[0], shares, atol=1e-3)


@each_backend
@each_dtype
def test_constant_targets_are_predicted(backend, dtype):
    standardize = {"standardize_inputs": True, "standardize_targets": True}
    net = network(backend, dtype, (4, 3), output="identity", **standardize)
    net.train(X, np.full((20, 3), 3.3), epochs=200)
    np.testing.assert_allclose(net.predict(X), 3.3, rtol=1e-3)


@each_backend
@each_dtype
@pytest.mark.parametrize("standardize", [False, True])
def test_a_single_row_is_enough(backend, dtype, standardize):
    net = network(backend, dtype, standardize_inputs=standardize)
    assert all_is_finite(net, X[:1], LABELS[:1])
    assert net.predict(X[:1]) == LABELS[:1]
    numbers = network(
        backend, dtype, output="identity",
        standardize_inputs=standardize, standardize_targets=standardize,
    )  # fmt: skip
    assert all_is_finite(numbers, X[:1], NUMBERS[:1])


# Sizes


@each_backend
@each_dtype
def test_ten_thousand_classes(backend, dtype):
    net = network(backend, dtype, (20, 10_000))
    rows, labels = np.eye(20), np.arange(20) * 526
    assert net.evaluate(rows, labels)["loss"] == pytest.approx(np.log(10_000), rel=0.01)
    sums = net.predict_proba(rows).sum(axis=1, dtype=np.float64)
    # The root of 10,000 roundings.
    np.testing.assert_allclose(sums, 1, rtol=0, atol=100 * np.finfo(dtype).eps)
    net.train(rows, labels, epochs=20, batch_size=1, learning_rate=1)
    assert net.predict(rows).tolist() == labels.tolist()


@each_backend
@each_dtype
@pytest.mark.parametrize("sizes", [(1, 1), (1, 1, 1), (1, 1, 1, 2), (1, 1, 1, 1, 1)])
def test_layers_of_one_unit(backend, dtype, sizes):
    net = network(backend, dtype, sizes, activation="tanh")
    x = X[:, :1]
    y = (x[:, 0] > 0).astype(int)
    assert all_is_finite(net, x, y)
    net.train(x, y, epochs=300, batch_size=1, learning_rate=0.1)
    assert net.evaluate(x, y)["accuracy"] > 0.9


@each_backend
@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("dtype", [*DTYPES, "uint8"])
@pytest.mark.parametrize("method", ["predict", "predict_proba", "activations"])
def test_no_rows_to_predict_are_refused(backend, method, dtype, standardize):
    net = network(backend, "float32", standardize_inputs=standardize)
    with pytest.raises(ValueError, match=r"X must not be empty, got shape \(0, 4\)"):
        getattr(net, method)(np.empty((0, 4), dtype))


@each_backend
@pytest.mark.parametrize("method", ["train", "evaluate", "loss_and_gradient", "input_gradient"])
def test_no_rows_to_learn_from_are_refused(backend, method):
    with pytest.raises(ValueError, match=r"X must not be empty, got shape \(0, 4\)"):
        getattr(network(backend, "float32"), method)(X[:0], LABELS[:0])


# Memory that is used again


@each_backend
@each_dtype
@pytest.mark.parametrize("zeros", [0.0, 0.9])
def test_what_was_not_finite_leaves_no_trace(backend, dtype, zeros):
    rng = np.random.default_rng(4)
    rows = rng.normal(size=(30, 21)) * (rng.random((30, 21)) >= zeros)
    labels = rng.integers(0, 5, 30)

    def everything(net):
        yield lambda: net.predict_proba(rows)
        yield lambda: net.loss_and_gradient(rows, labels)[1].vector
        yield lambda: net.input_gradient(rows, labels)
        yield lambda: np.concatenate(net.activations(rows), axis=1)
        yield lambda: net.train(rows, labels, epochs=1, batch_size=7, clip_norm=1)["loss"]
        yield lambda: net.train(rows, labels, epochs=1, optimizer="adam")["loss"]
        yield lambda: net.parameters

    nets = [network(backend, dtype, (21, 37, 5), activation="gelu") for _ in range(2)]
    before = nets[0].parameters.copy()
    for weights in nets[0].weights:
        weights[...] = np.inf
    for call in everything(nets[0]):
        with contextlib.suppress(DivergenceError):
            call()
    nets[0].parameters[:] = before
    for net in nets:
        net.model.optimizer_state, net.model.epochs_trained = None, 0
    for spoilt, fresh in zip(*map(everything, nets), strict=True):
        np.testing.assert_array_equal(spoilt(), fresh())
