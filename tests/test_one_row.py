"""Steps of a single row, which have kernels of their own: every rule, at every width."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from cases import BACKENDS, DTYPES, Case, make_data, make_network

from fastnn import Network
from fastnn.backends.compiled import functions
from fastnn.backends.contract import Objective, UpdateRule
from fastnn.optimizers import OPTIMIZERS

RULES = {
    "alone": {},
    "l1": {"l1": 0.01},
    "l2": {"l2": 0.01},
    "clip_value": {"clip_value": 0.01},
    "clip_norm": {"clip_norm": 0.1},
    "clip_norm with l2": {"clip_norm": 0.1, "l2": 0.01},
    "clip_norm of all but a layer": {"clip_norm": 0.1, "frozen": [1]},
    "max_norm": {"max_norm": 0.9},
    "first layer frozen": {"frozen": [0]},
    "middle layer frozen": {"frozen": [1]},
    "last layer frozen": {"frozen": [2]},
    "dropout": {"dropout": 0.4},
    "dropout of inputs": {"dropout": [0.3, 0.0, 0.5]},
    "everything": {
        "l1": 0.01, "l2": 0.01, "clip_value": 0.1, "max_norm": 0.9, "frozen": [1], "dropout": 0.3,
    },
}  # fmt: skip
# Some rows of weights are one cache line, some several.
CASE = Case((30, 33, 70, 5), "relu", batch=1, zeros=0.5)


def trained(backend, options, activation="relu", batch=1, dtype="float32", **kinds):
    """Return the parameters after an epoch."""
    case = Case(CASE.sizes, activation, dtype=dtype, batch=batch, zeros=CASE.zeros)
    net = make_network(case, backend, **kinds)
    X, y = make_data(case, np.random.default_rng(3), rows=25)
    net.train(X, y, epochs=1, batch_size=batch, learning_rate=0.003, **options)
    return net.parameters


@pytest.mark.every_width
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_both_backends_take_the_same_steps(optimizer, rule, dtype):
    results = [
        trained(backend, {"optimizer": optimizer, **RULES[rule]}, dtype=dtype)
        for backend in BACKENDS
    ]
    # As in test_toolbox: adaptive optimizers carry rounding of small gradients on.
    np.testing.assert_allclose(*results, rtol=0, atol=np.finfo(dtype).eps * 1e4)


@pytest.mark.parametrize("activation", ["tanh", "identity", "leaky_relu", "sigmoid", "softplus"])
@pytest.mark.parametrize("rule", ["alone", "clip_norm", "dropout"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_other_activations_take_the_same_steps(optimizer, rule, activation):
    results = [
        trained(backend, {"optimizer": optimizer, **RULES[rule]}, activation, dtype="float64")
        for backend in BACKENDS
    ]
    np.testing.assert_allclose(*results, rtol=0, atol=np.finfo(np.float64).eps * 1e4)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_standardised_inputs_take_the_same_steps(optimizer):
    results = [
        trained(backend, {"optimizer": optimizer}, standardize_inputs=True) for backend in BACKENDS
    ]
    np.testing.assert_allclose(*results, rtol=0, atol=np.finfo(np.float32).eps * 1e4)


@pytest.mark.parametrize("rule", ["alone", "clip_norm", "everything"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_last_batch_of_one_row_goes_on_from_the_others(optimizer, rule):
    results = [
        trained(backend, {"optimizer": optimizer, **RULES[rule]}, batch=8) for backend in BACKENDS
    ]
    np.testing.assert_allclose(*results, rtol=0, atol=np.finfo(np.float32).eps * 1e4)


def test_all_rules_but_one_have_the_kernels_of_a_single_row():
    penalised = Objective(l1=0.1, l2=0.1, dropout=(0.5, 0.5))
    a = Network([3, 2]).architecture
    for optimizer in OPTIMIZERS.values():
        rule = UpdateRule(penalised, optimizer, None, 0.1, 0.1, frozenset([0]))
        assert functions.takes_one_row(a, rule)
        assert functions.takes_one_row(a, UpdateRule(Objective(), optimizer, clip_norm=1.0))
        assert not functions.takes_one_row(a, UpdateRule(penalised, optimizer, clip_norm=1.0))


def test_rows_of_zeros_decay_with_the_others():
    net = Network([4, 8, 2], seed=1)
    options = {"batch_size": 1, "epochs": 1, "optimizer": "momentum", "learning_rate": 0.1}
    net.train(np.ones((1, 4), np.float32), [0], **options)
    before = net.weights[0].copy()
    net.train(np.zeros((1, 4), np.float32), [0], **options)
    assert (net.weights[0] != before).any()


def digests():
    """Return a digest of what each optimizer makes of a network."""
    return [
        hashlib.sha256(trained("numba", {"optimizer": name, **RULES[rule]}, activation)).hexdigest()
        for name in OPTIMIZERS
        for rule, activation in (("alone", "relu"), ("clip_norm", "tanh"), ("l1", "relu"))
    ]


@pytest.mark.parametrize("bits", [128, 256, 512])
def test_any_vector_width_gives_the_same_bits(run_python, bits):
    code = "import sys; sys.path.insert(0, 'tests'); import test_one_row as t; print(t.digests())"
    assert run_python("-c", code, FASTNN_VECTOR_BITS=str(bits)).strip() == str(digests())
