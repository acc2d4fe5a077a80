"""Factors of inputs that optimizers learn: the first layer's weights are a product with them."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest
from cases import BACKENDS, DTYPES, Case, make_data, make_network
from test_rate_factors import RULES, interrupt
from test_rate_factors import trained as trained_on

import fastnn
from fastnn.optimizers import OPTIMIZERS, SGD, SMALLEST_FACTOR, Adam, AdamW

each_backend = pytest.mark.parametrize("backend", BACKENDS)
each_dtype = pytest.mark.parametrize("dtype", DTYPES)
each_optimizer = pytest.mark.parametrize("name", OPTIMIZERS)
CASE = Case((37, 19, 18, 3), "tanh", batch=11)
trained = functools.partial(trained_on, case=CASE)


def learning(name):
    return replace(OPTIMIZERS[name], input_factor=3.0)


def factors_of(net):
    return net.model.optimizer_state.inputs[0]


@each_backend
@each_optimizer
def test_it_moves_as_a_layer_of_one_factor_an_input_would(name, backend):
    case, optimizer = replace(CASE, dtype="float64"), learning(name)
    X, y = make_data(case, np.random.default_rng(3), 33)
    net, inner = make_network(case, backend), make_network(case)
    # A network of the multiplied inputs, the gradient of which goes back to the factors.
    factors = np.ones(37)
    values = [factors, *inner.weights, *inner.biases]
    slots = [[np.zeros_like(value) for _ in range(optimizer.slots)] for value in values]
    for step in range(1, 7):
        slopes = (inner.input_gradient(X * factors, y) * X).mean(axis=0)
        _, gradient = inner.loss_and_gradient(X * factors, y)
        if isinstance(optimizer, AdamW):
            for w in inner.weights:
                w *= 1 - 0.01 * optimizer.weight_decay
        rates = [0.03] + [0.01] * 6
        for value, g, own, rate in zip(
            values, [slopes, *gradient.weights, *gradient.biases], slots, rates, strict=True
        ):
            optimizer.update(value, g, own, rate, step)
    settings = {"epochs": 6, "batch_size": 33, "learning_rate": 0.01, "schedule": "constant"}
    net.train(X, y, optimizer=optimizer, **settings)
    assert factors.std() > 1e-3
    np.testing.assert_allclose(factors_of(net), factors, rtol=0, atol=1e-10)
    first = factors[:, None] * inner.weights[0]
    np.testing.assert_allclose(net.weights[0], first, rtol=0, atol=1e-10)
    np.testing.assert_allclose(net.weights[1], inner.weights[1], rtol=0, atol=1e-10)


@each_dtype
@pytest.mark.parametrize("batch", [1, 11, 67])
@pytest.mark.parametrize("rule", RULES)
@each_optimizer
def test_both_backends_take_the_same_steps(name, rule, batch, dtype):
    case = replace(CASE, dtype=dtype, batch=batch)
    nets = [
        trained(learning(name), backend, case=case, learning_rate=0.01, **RULES[rule])
        for backend in BACKENDS
    ]
    # As in test_toolbox.py: adaptive optimizers divide by the size of the gradient.
    bound = np.finfo(dtype).eps * 1e4
    np.testing.assert_allclose(*(net.parameters for net in nets), rtol=0, atol=bound)
    np.testing.assert_allclose(*map(factors_of, nets), rtol=0, atol=bound)
    other = trained(OPTIMIZERS[name], "numba", case=case, learning_rate=0.01, **RULES[rule])
    assert np.abs(nets[0].parameters - other.parameters).max() > bound / 100


@each_backend
@pytest.mark.parametrize("sizes", [(1, 1), (5, 3, 2), (33, 4, 1, 2), (70, 17, 2)])
def test_networks_of_any_shape_learn_them(sizes, backend):
    case = Case(sizes, "relu", output="identity", targets="numbers", dtype="float64")
    net = trained(learning("adam"), backend, case=case, learning_rate=0.01)
    other = trained(learning("adam"), "numpy", case=case, learning_rate=0.01)
    np.testing.assert_allclose(net.parameters, other.parameters, rtol=0, atol=1e-9)
    assert factors_of(net).shape == (sizes[0],)


@each_dtype
@each_optimizer
def test_large_batches_that_go_in_blocks_take_the_same_steps(name, dtype, monkeypatch):
    monkeypatch.setattr("fastnn.backends.compiled.blocks.FAR", 1)
    monkeypatch.setattr("fastnn.backends.compiled.blocks.NEAR", 1)
    case = replace(CASE, dtype=dtype, batch=1200)
    nets = [
        trained(learning(name), backend, case=case, steps=2, learning_rate=0.01)
        for backend in BACKENDS
    ]
    bound = np.finfo(dtype).eps * 1e4
    np.testing.assert_allclose(*(net.parameters for net in nets), rtol=0, atol=bound)


@pytest.mark.parametrize("rule", ["alone", "clip_norm", "max_norm"])
@each_optimizer
@each_dtype
def test_threads_change_no_bit(name, dtype, rule, monkeypatch):
    monkeypatch.setattr("fastnn.backends.compiled.machinery.threads.WORTH_A_THREAD", 1.0)
    monkeypatch.setattr("fastnn.backends.compiled.machinery.threads.Trial.enabled", False)
    case = replace(CASE, dtype=dtype, batch=67)
    bits = [
        trained(learning(name), case=case, threads=n, **RULES[rule]).parameters.tobytes()
        for n in (1, 2, 3)
    ]
    assert bits[0] == bits[1] == bits[2]


@each_backend
@each_optimizer
def test_sparse_rows_learn_them_like_dense_ones(name, backend):
    sparse = pytest.importorskip("scipy.sparse")
    case = replace(CASE, dtype="float64", zeros=0.6)
    X, y = make_data(case, np.random.default_rng(3), 40)
    nets = [make_network(case, backend) for _ in range(2)]
    for net, rows in zip(nets, (X, sparse.csr_array(X)), strict=True):
        net.train(rows, y, epochs=3, batch_size=16, learning_rate=0.01, optimizer=learning(name))
    np.testing.assert_allclose(*(net.parameters for net in nets), rtol=0, atol=1e-9)
    np.testing.assert_allclose(*map(factors_of, nets), rtol=0, atol=1e-9)


@each_backend
def test_inputs_of_a_frozen_layer_keep_their_factors(backend):
    net, start = trained(learning("adam"), backend, frozen=[0]), make_network(CASE)
    np.testing.assert_array_equal(net.weights[0], start.weights[0])
    np.testing.assert_array_equal(factors_of(net), 1)


@each_backend
def test_learning_row_by_row_knows_them(backend):
    X, y = make_data(CASE, np.random.default_rng(3), 10)
    nets = [make_network(CASE, backend) for _ in range(2)]
    for x, label in zip(X, y, strict=True):
        nets[0].learn_one(x, label, learning_rate=0.01, optimizer=learning("adam"))
        nets[1].learn_few(x[None], [label], learning_rate=0.01, optimizer=learning("adam"))
    np.testing.assert_array_equal(nets[0].parameters, nets[1].parameters)
    assert factors_of(nets[0]).std() > 1e-3


@each_backend
def test_weights_that_are_set_between_runs_stay_the_product(backend):
    net = trained(learning("adam"), backend)
    factors = factors_of(net).copy()
    net.weights[0][...] = 1.0
    X, y = make_data(CASE, np.random.default_rng(3), 20)
    settings = {"epochs": 1, "batch_size": 20, "learning_rate": 1e-6}
    net.train(X, y, optimizer=learning("adam"), **settings)
    np.testing.assert_allclose(factors_of(net), factors, atol=1e-4)
    np.testing.assert_allclose(net.weights[0], 1.0, atol=1e-3)


@each_backend
def test_no_factor_becomes_zero(backend):
    X, y = np.ones((8, 1)), np.zeros(8)
    net = fastnn.Network([1, 1], output="identity", dtype="float64", seed=0, backend=backend)
    net.weights[0][...] = 1.0
    optimizer = SGD(input_factor=1.0)
    net.train(X, y, epochs=1, batch_size=8, learning_rate=0.5, optimizer=optimizer)
    # The gradient is that of (s w)^2 at 1, twice the output: half of it takes both to 0.
    assert factors_of(net)[0] == SMALLEST_FACTOR
    net.train(X, y, epochs=5, batch_size=8, learning_rate=0.5, optimizer=optimizer)
    assert np.isfinite(net.parameters).all()


def test_a_run_is_resumed_to_the_bit_and_not_with_another_factor(tmp_path):
    X, y = make_data(CASE, np.random.default_rng(3), 60)
    for name in ("sgd", "adam"):
        path = tmp_path / f"{name}.safetensors"
        options = {"epochs": 4, "checkpoint": path, "resume": True}
        whole = make_network(CASE)
        whole.train(X, y, epochs=4, optimizer=learning(name))
        with pytest.raises(KeyboardInterrupt):
            make_network(CASE).train(
                X, y, optimizer=learning(name), callbacks=[interrupt], **options
            )
        with pytest.raises(ValueError, match="optimizer was"):
            make_network(CASE).train(X, y, optimizer=OPTIMIZERS[name], **options)
        part = make_network(CASE)
        part.train(X, y, optimizer=learning(name), **options)
        np.testing.assert_array_equal(part.parameters, whole.parameters)
        np.testing.assert_array_equal(factors_of(part), factors_of(whole))


@each_optimizer
def test_a_file_keeps_them_with_the_state_and_training_goes_on(name, tmp_path):
    net = trained(learning(name))
    net.save(tmp_path / "net.safetensors")
    other = fastnn.load(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(factors_of(other), factors_of(net))
    X, y = make_data(CASE, np.random.default_rng(4), 40)
    for each in (net, other):
        each.train(X, y, epochs=1, optimizer=learning(name))
    np.testing.assert_array_equal(other.parameters, net.parameters)


@pytest.mark.parametrize("wrong", [0.0, np.nan])
def test_a_file_with_a_factor_that_cannot_be_is_refused(wrong, tmp_path):
    net = trained(learning("adam"))
    factors_of(net)[3] = wrong
    net.save(tmp_path / "net.safetensors")
    with pytest.raises(ValueError, match=r"optimizer\.inputs holds"):
        fastnn.load(tmp_path / "net.safetensors")


@each_backend
def test_another_optimizer_starts_anew_from_the_product(backend):
    net = trained(learning("adam"), backend)
    before = net.weights[0].copy()
    X, y = make_data(CASE, np.random.default_rng(4), 20)
    net.train(X, y, epochs=1, batch_size=20, learning_rate=1e-9, optimizer="adam")
    np.testing.assert_allclose(net.weights[0], before, atol=1e-6)
    assert net.model.optimizer_state.inputs is None


@pytest.mark.parametrize("value", [0, -1.0, np.nan])
def test_a_factor_that_is_not_above_0_is_refused(value):
    with pytest.raises(ValueError, match="Adam's input_factor must be finite and greater than 0"):
        Adam(input_factor=value)


@each_backend
def test_a_run_that_diverges_takes_them_back(backend):
    X, y = make_data(
        replace(CASE, output="identity", targets="numbers"), np.random.default_rng(3), 40
    )
    net = fastnn.Network([37, 3], output="identity", seed=0, backend=backend)
    net.train(X, y, epochs=1, optimizer=SGD(input_factor=1.0), learning_rate=0.01)
    before = net.parameters.copy(), factors_of(net).copy()
    with pytest.raises(fastnn.DivergenceError):
        net.train(X, y, epochs=50, optimizer=SGD(input_factor=1.0), learning_rate=1e6)
    np.testing.assert_array_equal(net.parameters, before[0])
    np.testing.assert_array_equal(factors_of(net), before[1])
