"""Learning rates of their own for the weights and the biases of each layer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cases import BACKENDS, DTYPES, Case, make_data, make_network

import fastnn
from fastnn.optimizers import OPTIMIZERS, SGD, Adam, AdamW

each_backend = pytest.mark.parametrize("backend", BACKENDS)
each_dtype = pytest.mark.parametrize("dtype", DTYPES)
each_optimizer = pytest.mark.parametrize("name", OPTIMIZERS)
CASE = Case((21, 19, 18, 3), "tanh", batch=11)
FACTORS = {"weight_factors": (0.5, 2.0, 1.0), "bias_factors": (0.1, 0.2, 3.0)}
RULES = {
    "alone": {},
    "l2": {"l2": 0.05},
    "l1": {"l1": 0.01},
    "clip_norm": {"clip_norm": 0.05},
    "clip_value": {"clip_value": 0.01},
    "max_norm": {"max_norm": 0.8},
    "dropout": {"dropout": 0.2},
    "frozen": {"frozen": [1]},
}


def trained(optimizer, backend="numba", case=CASE, steps=10, **options):
    X, y = make_data(case, np.random.default_rng(3), case.batch * steps // 2)
    net = make_network(case, backend, threads=options.pop("threads", None))
    net.train(X, y, epochs=2, batch_size=case.batch, optimizer=optimizer, **options)
    return net


@each_backend
@each_optimizer
def test_a_step_of_each_part_is_its_factor_times_the_step_without(name, backend):
    case = replace(CASE, dtype="float64")
    X, y = make_data(case, np.random.default_rng(3), 40)
    start, moved = make_network(case, backend), []
    for factors in ({}, FACTORS):
        net = make_network(case, backend)
        optimizer = replace(OPTIMIZERS[name], **factors)
        if name == "adamw":
            optimizer = replace(optimizer, weight_decay=0.0)
        net.train(X, y, epochs=1, batch_size=40, optimizer=optimizer, l2=0.1)
        moved.append(net)
    for part, factors in (("weights", "weight_factors"), ("biases", "bias_factors")):
        for l, factor in enumerate(FACTORS[factors]):
            before, plain, own = (getattr(net, part)[l] for net in (start, *moved))
            # Sums of numbers around 1: a rounding of each.
            np.testing.assert_allclose(own - before, factor * (plain - before), rtol=0, atol=1e-14)


@each_dtype
@pytest.mark.parametrize("batch", [1, 11, 67])
@pytest.mark.parametrize("rule", RULES)
@each_optimizer
def test_both_backends_take_the_same_steps(name, rule, batch, dtype):
    case, optimizer = replace(CASE, dtype=dtype, batch=batch), replace(OPTIMIZERS[name], **FACTORS)
    nets = [
        trained(optimizer, backend, case, learning_rate=0.01, **RULES[rule]) for backend in BACKENDS
    ]
    # As in test_toolbox.py: adaptive optimizers divide by the size of the gradient.
    bound = np.finfo(dtype).eps * 1e4
    np.testing.assert_allclose(*(net.parameters for net in nets), rtol=0, atol=bound)
    other = trained(OPTIMIZERS[name], "numba", case, learning_rate=0.01, **RULES[rule])
    assert np.abs(nets[0].parameters - other.parameters).max() > bound / 100


@each_dtype
@each_optimizer
def test_large_batches_that_go_in_blocks_take_the_same_steps(name, dtype, monkeypatch):
    monkeypatch.setattr("fastnn.backends.compiled.plan.FAR", 1)
    monkeypatch.setattr("fastnn.backends.compiled.plan.NEAR", 1)
    case, optimizer = replace(CASE, dtype=dtype, batch=1200), replace(OPTIMIZERS[name], **FACTORS)
    nets = [trained(optimizer, backend, case, 2, learning_rate=0.01) for backend in BACKENDS]
    bound = np.finfo(dtype).eps * 1e4
    np.testing.assert_allclose(*(net.parameters for net in nets), rtol=0, atol=bound)


@each_optimizer
@each_dtype
def test_threads_change_no_bit(name, dtype, monkeypatch):
    monkeypatch.setattr("fastnn.backends.compiled.machinery.threads.WORTH_A_THREAD", 1.0)
    monkeypatch.setattr("fastnn.backends.compiled.machinery.threads.Trial.enabled", False)
    case, optimizer = replace(CASE, dtype=dtype, batch=67), replace(OPTIMIZERS[name], **FACTORS)
    bits = [trained(optimizer, case=case, threads=n).parameters.tobytes() for n in (1, 2, 3)]
    assert bits[0] == bits[1] == bits[2]


@each_backend
@each_optimizer
def test_factors_of_one_change_no_bit(name, backend):
    ones = replace(OPTIMIZERS[name], weight_factors=[1, 1, 1], bias_factors=1)
    bits = [trained(each, backend).parameters.tobytes() for each in (OPTIMIZERS[name], ones)]
    if name == "sgd" and backend == "numba":  # which then does not add right into the parameters
        np.testing.assert_allclose(*(np.frombuffer(each, "f4") for each in bits), atol=1e-6)
    else:
        assert bits[0] == bits[1]


@each_backend
def test_weight_decay_keeps_the_rate_of_the_step(backend):
    X, y = np.zeros((4, 2), np.float32), [0, 1, 0, 1]  # no gradient of the weights
    net = fastnn.Network([2, 2], seed=0, backend=backend)
    before = net.weights[0].copy()
    optimizer = AdamW(weight_decay=0.5, weight_factors=0.01)
    net.train(X, y, epochs=1, batch_size=4, learning_rate=0.1, optimizer=optimizer)
    np.testing.assert_allclose(net.weights[0], 0.95 * before, rtol=1e-6)


@each_backend
@each_optimizer
def test_learning_from_a_row_knows_them(name, backend):
    optimizer = replace(OPTIMIZERS[name], **FACTORS)
    X, y = make_data(CASE, np.random.default_rng(3), 10)
    nets = [make_network(CASE, backend) for _ in range(2)]
    for x, label in zip(X, y, strict=True):
        nets[0].learn_one(x, label, learning_rate=0.01, optimizer=optimizer)
        nets[1].learn_few(x[None], [label], learning_rate=0.01, optimizer=optimizer)
    np.testing.assert_allclose(nets[0].parameters, nets[1].parameters, rtol=0, atol=1e-5)


def interrupt(row):
    raise KeyboardInterrupt


def test_a_run_is_resumed_to_the_bit_and_not_with_other_factors(tmp_path):
    X, y = make_data(CASE, np.random.default_rng(3), 60)
    options = {"epochs": 4, "checkpoint": tmp_path / "run.safetensors", "resume": True}
    optimizer = Adam(**FACTORS)
    whole = make_network(CASE)
    whole.train(X, y, epochs=4, optimizer=optimizer)
    with pytest.raises(KeyboardInterrupt):
        make_network(CASE).train(X, y, optimizer=optimizer, callbacks=[interrupt], **options)
    with pytest.raises(ValueError, match="optimizer was"):
        make_network(CASE).train(X, y, optimizer=Adam(), **options)
    part = make_network(CASE)
    part.train(X, y, optimizer=optimizer, **options)
    np.testing.assert_array_equal(part.parameters, whole.parameters)


@pytest.mark.parametrize("learn", ["train", "learn_one", "learn_few"])
def test_factors_for_other_layers_are_refused_and_nothing_changes(learn):
    net, optimizer = make_network(CASE), SGD(weight_factors=(0.5, 1.0))
    X, y = make_data(CASE, np.random.default_rng(3), 5)
    before = net.parameters.copy()
    if learn == "learn_one":
        X, y = X[0], y[0]
    options = {} if learn == "train" else {"learning_rate": 0.1}
    with pytest.raises(ValueError, match="one for each of the 3 layers; got 2"):
        getattr(net, learn)(X, y, optimizer=optimizer, **options)
    np.testing.assert_array_equal(net.parameters, before)


@pytest.mark.parametrize("value", [0, -1.0, np.nan, (1.0, 0.0)])
def test_factors_that_are_not_above_0_are_refused(value):
    with pytest.raises(ValueError, match="must be finite and greater than 0"):
        Adam(bias_factors=value)


def test_factors_that_are_no_numbers_are_refused():
    with pytest.raises(TypeError, match="must be a number"):
        Adam(bias_factors="half")
