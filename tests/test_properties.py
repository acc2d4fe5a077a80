"""Properties that hold for every network and every batch, on random ones."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from cases import BACKENDS, DTYPES, Case, fitting, make_data, make_network
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnn.activations import HIDDEN
from fastnn.losses import PAIRS

small = settings(deadline=None, max_examples=40, derandomize=True)
units = st.one_of(st.integers(1, 70), st.sampled_from([128, 256, 257]))


@st.composite
def cases(draw, outputs=("softmax", "sigmoid", "identity")):
    """A network of one to four layers, and a batch for it."""
    sizes = draw(st.lists(units, min_size=2, max_size=5))
    output, loss = draw(st.sampled_from([pair for pair in PAIRS if pair[0] in outputs]))
    if output == "softmax":
        sizes[-1] += 1
    hidden = tuple(draw(st.sampled_from(HIDDEN)) for _ in sizes[2:])
    batch = draw(st.integers(1, 70))
    dtype = draw(st.sampled_from(DTYPES))
    zeros = draw(st.sampled_from([0.0, 0.9]))
    return fitting(Case(tuple(sizes), hidden, output, loss, dtype, batch, zeros=zeros))


def data_of(case, seed):
    return make_data(case, np.random.default_rng(seed), case.batch)


def tolerance(case):
    """Rounding errors of a sum of n numbers grow like sqrt(n), and add up over the layers."""
    return float(np.finfo(case.dtype).eps) * math.sqrt(case.longest_sum) * len(case.sizes)


seeds = st.integers(0, 1000)


@small
@given(cases(), seeds)
def test_predictions_of_both_backends_agree(case, seed):
    X, _ = data_of(case, seed)
    ours, theirs = (make_network(case, name, seed).predict_proba(X) for name in BACKENDS)
    scale = max(1, np.abs(theirs).max())
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance(case) * scale)


@small
@given(cases(), seeds)
def test_gradients_of_both_backends_agree(case, seed):
    X, y = data_of(case, seed)
    (loss, ours), (other_loss, theirs) = (
        make_network(case, name, seed).loss_and_gradient(X, y, l2=0.01) for name in BACKENDS
    )
    scale = np.abs(theirs.vector).max()
    assert loss == pytest.approx(other_loss, rel=tolerance(case), abs=tolerance(case))
    np.testing.assert_allclose(ours.vector, theirs.vector, rtol=0, atol=tolerance(case) * scale)


@small
@given(cases(), seeds, st.sampled_from(BACKENDS))
def test_permuting_rows_permutes_predictions(case, seed, backend):
    net = make_network(case, backend)
    X, _ = data_of(case, seed)
    order = np.random.default_rng(seed).permutation(len(X))
    ours, theirs = net.predict_proba(X[order]), net.predict_proba(X)[order]
    scale = max(1, np.abs(theirs).max())
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance(case) * scale)


@small
@given(cases(), seeds)
def test_permuting_rows_permutes_predictions_bit_for_bit(case, seed):
    net = make_network(case)
    X, _ = data_of(case, seed)
    order = np.random.default_rng(seed).permutation(len(X))
    assert net.predict_proba(X[order]).tobytes() == net.predict_proba(X)[order].tobytes()


@small
@given(cases(), seeds)
def test_a_row_alone_has_the_prediction_it_has_among_others_bit_for_bit(case, seed):
    net = make_network(case)
    X, _ = data_of(case, seed)
    alone = np.concatenate([net.predict_proba(row[None, :]) for row in X])
    assert alone.tobytes() == net.predict_proba(X).tobytes()


@small
@given(cases(), seeds, st.sampled_from(BACKENDS))
def test_probabilities_are_within_zero_and_one(case, seed, backend):
    case = fitting(replace(case, output="sigmoid", loss="mse"))
    X, _ = data_of(case, seed)
    outputs = make_network(case, backend).predict_proba(100 * X)
    assert ((outputs >= 0) & (outputs <= 1)).all()


@small
@given(cases(outputs=("softmax",)), seeds, st.sampled_from(BACKENDS))
def test_softmax_rows_sum_to_one(case, seed, backend):
    X, _ = data_of(case, seed)
    sums = make_network(case, backend).predict_proba(100 * X).sum(axis=1, dtype=np.float64)
    # Each of the outputs and their sum is rounded.
    eps = np.finfo(case.dtype).eps
    np.testing.assert_allclose(sums, 1, rtol=0, atol=eps * (2 + math.sqrt(case.sizes[-1])))


@small
@given(cases(), seeds, st.sampled_from(BACKENDS), st.integers(1, 70))
def test_the_gradient_of_two_batches_is_their_weighted_mean(case, seed, backend, more):
    net = make_network(case, backend)
    X, y = make_data(case, np.random.default_rng(seed), case.batch + more)
    whole, first, second = (
        net.loss_and_gradient(X[rows], y[rows])
        for rows in (slice(None), slice(case.batch), slice(case.batch, None))
    )
    shares = np.array([case.batch, more]) / len(X)
    loss = shares @ [first[0], second[0]]
    vectors = first[1].vector, second[1].vector
    scale = max(np.abs(vector).max() for vector in vectors)
    limit = tolerance(replace(case, batch=len(X)))
    assert whole[0] == pytest.approx(loss, rel=limit, abs=limit)
    mean = shares[0] * vectors[0] + shares[1] * vectors[1]
    np.testing.assert_allclose(whole[1].vector, mean, rtol=0, atol=limit * scale)


def assert_same_gradient(ours, theirs, limit):
    """Compare losses and gradients, up to rounding."""
    scale = np.abs(theirs[1].vector).max()
    assert ours[0] == pytest.approx(theirs[0], rel=limit, abs=limit)
    np.testing.assert_allclose(ours[1].vector, theirs[1].vector, rtol=0, atol=limit * scale)


@small
@given(cases(), seeds, st.sampled_from(BACKENDS))
def test_rows_that_come_twice_are_rows_of_twice_the_weight(case, seed, backend):
    net = make_network(case, backend)
    X, y = data_of(case, seed)
    twice = np.random.default_rng(seed).random(len(X)) < 0.5
    doubled = net.loss_and_gradient(np.concatenate([X, X[twice]]), np.concatenate([y, y[twice]]))
    weighted = net.loss_and_gradient(X, y, sample_weight=1 + twice)
    assert_same_gradient(doubled, weighted, tolerance(replace(case, batch=2 * case.batch)))


@small
@given(cases(), seeds, st.sampled_from(BACKENDS))
def test_a_full_batch_step_on_data_that_come_twice_is_the_same(case, seed, backend):
    nets = [make_network(case, backend) for _ in range(2)]
    X, y = data_of(case, seed)
    for net, times in zip(nets, (1, 2), strict=True):
        data = np.tile(X, (times, 1)), np.concatenate([y] * times)
        net.train(*data, epochs=1, batch_size=len(data[0]), learning_rate=0.01)
    largest = np.abs(nets[0].parameters).max()
    limit = tolerance(replace(case, batch=2 * case.batch)) * max(1, largest)
    np.testing.assert_allclose(nets[1].parameters, nets[0].parameters, rtol=0, atol=limit)


@small
@given(cases(), seeds, st.sampled_from(BACKENDS), st.floats(1e-6, 1e6))
def test_weights_of_rows_count_relative_to_their_mean(case, seed, backend, factor):
    net = make_network(case, backend)
    X, y = data_of(case, seed)
    weights = np.random.default_rng(seed).uniform(0.1, 2, len(X))
    scaled = net.loss_and_gradient(X, y, sample_weight=factor * weights)
    assert_same_gradient(
        scaled, net.loss_and_gradient(X, y, sample_weight=weights), tolerance(case)
    )


@small
@given(cases(outputs=("identity",)), seeds, st.sampled_from(BACKENDS), st.floats(1e-3, 1e3))
def test_a_multiple_of_the_loss_has_that_multiple_of_the_gradient(case, seed, backend, factor):
    def times(factor):
        def squares(a, t):
            return factor * ((a - t) ** 2).sum(axis=1), factor * 2 * (a - t)

        return squares

    case = fitting(replace(case, output="identity", loss=None))
    X, y = data_of(case, seed)
    once, more = (
        make_network(replace(case, loss=times(each)), backend).loss_and_gradient(X, y)
        for each in (1, factor)
    )
    limit = tolerance(case)
    assert more[0] == pytest.approx(factor * once[0], rel=limit)
    scale = factor * np.abs(once[1].vector).max()
    np.testing.assert_allclose(more[1].vector, factor * once[1].vector, rtol=0, atol=limit * scale)


@small
@given(cases(), seeds, st.sampled_from(BACKENDS), st.floats(0, 10))
def test_a_penalty_adds_its_multiple_of_the_weights_to_the_gradient(case, seed, backend, l2):
    net = make_network(case, backend)
    X, y = data_of(case, seed)
    plain, penalised = net.loss_and_gradient(X, y)[1], net.loss_and_gradient(X, y, l2=l2)[1]
    for l, weights in enumerate(net.weights):
        want = plain.weights[l] + l2 * weights
        scale = np.abs(plain.vector).max() + l2 * np.abs(weights).max()
        limit = tolerance(case) * scale
        np.testing.assert_allclose(penalised.weights[l], want, rtol=0, atol=limit)
        np.testing.assert_array_equal(penalised.biases[l], plain.biases[l])


@small
@given(cases(outputs=("softmax",)), seeds, st.sampled_from(BACKENDS), st.floats(-20, 20))
def test_the_loss_ignores_a_constant_added_to_all_biases_of_softmax(case, seed, backend, constant):
    net = make_network(case, backend)
    X, y = data_of(case, seed)
    before = net.evaluate(X, y)["loss"]
    net.biases[-1][:] += constant
    # Weighted inputs are rounded at the size of the constant.
    limit = tolerance(case) * (1 + abs(constant))
    assert net.evaluate(X, y)["loss"] == pytest.approx(before, rel=limit, abs=limit)


@small
@given(cases(), seeds, st.sampled_from(BACKENDS))
def test_a_small_step_against_the_gradient_lowers_the_loss(case, seed, backend):
    case = replace(case, dtype="float64")
    case = fitting(case)
    net = make_network(case, backend)
    X, y = data_of(case, seed)
    loss, gradient = net.loss_and_gradient(X, y)
    slope = float(gradient.vector @ gradient.vector)
    step = 1e-7 / math.sqrt(slope) if slope else 0.0
    net.parameters[:] -= step * gradient.vector
    # The step is so small that the loss is a line, but for its rounding.
    fall = loss - net.loss_and_gradient(X, y)[0]
    assert fall == pytest.approx(step * slope, rel=1e-3, abs=1e-12 * (1 + loss))
