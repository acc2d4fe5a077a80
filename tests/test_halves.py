"""Steps in two halves, the gradient of a batch and the update, are the steps of `train_steps`."""

from __future__ import annotations

import numpy as np
import pytest
from cases import BACKENDS

from fastnn import Network, augment, backends
from fastnn.averaging import EMA
from fastnn.backends import dropout
from fastnn.backends.contract import Examples, Objective, UpdateRule
from fastnn.model.optimizer_state import Averaged
from fastnn.model.parameters import Parameters
from fastnn.optimizers import SGD, Adam, AdamW, RMSprop
from fastnn.sparse_rows import SparseRows

ROWS, BATCH, DEPTH = 47, 12, 3
each_backend = pytest.mark.parametrize("backend", BACKENDS)
RULES = {
    "sgd": UpdateRule(Objective(l2=0.01)),
    "momentum": UpdateRule(optimizer=SGD(momentum=0.9)),
    "nesterov": UpdateRule(optimizer=SGD(momentum=0.9, nesterov=True)),
    "rmsprop": UpdateRule(Objective(l1=0.001), RMSprop()),
    "adam": UpdateRule(Objective(label_smoothing=0.1), Adam()),
    "adamw": UpdateRule(optimizer=AdamW(weight_decay=0.1), max_norm=1.0),
    "clipped": UpdateRule(Objective(l2=0.01), clip_norm=0.1, clip_value=0.01),
    "frozen": UpdateRule(frozen=frozenset({0, 1})),
    "all frozen": UpdateRule(frozen=frozenset({0, 1, 2})),
    "factors": UpdateRule(optimizer=Adam(input_factor=2.0), clip_norm=0.1),
    "average": UpdateRule(average=EMA(0.9)),
    "dropout": UpdateRule(Objective(dropout=(0.2, 0.5, 0.5))),
    "augmented": UpdateRule(Objective(augment=(augment.Mixup(0.3), augment.Noise(0.1)))),
}  # fmt: skip


def squared(outputs, targets):
    return np.square(outputs - targets).sum(axis=1), 2 * (outputs - targets)


def start(backend, rule, loss=None, threads=1):
    """Return a model with all that steps need, and the data."""
    net = Network([9, 20, 11, 4], backend=backend, dtype="float64", seed=1, loss=loss,
                  output="softmax" if loss is None else "identity", threads=threads)  # fmt: skip
    rng = np.random.default_rng(0)
    X = rng.normal(size=(ROWS, 9))
    Y = rng.integers(0, 4, ROWS) if loss is None else rng.normal(size=(ROWS, 4))
    state = net.model.state_for(rule.optimizer)
    state.average = Averaged(net.model.parameters) if rule.average else None
    return net.model, Examples(X, Y, rng.uniform(0.5, 1.5, ROWS)), state


def compare(backend, rule, changed=lambda examples: examples, **options):
    """Take steps in one go and in halves, and compare all that they change."""
    order = np.random.default_rng(2).permutation(ROWS)
    rates = np.linspace(0.02, 0.01, -(-ROWS // BATCH))
    keys = dropout.NO_KEYS
    if rule.objective.drops or rule.objective.augment:
        keys = dropout.row_keys(5, 1, DEPTH + len(rule.objective.augment), range(ROWS))
    results = []
    for halves in (False, True):
        model, examples, state = start(backend, rule, **options)
        examples = changed(examples)
        module, losses = backends.get(backend), np.empty(len(rates))
        if halves:
            take_halves(module, model, examples, order, rates, rule, keys, state, losses)
        else:
            taken = module.train_steps(
                model, examples, order, BATCH, rates, rule, keys, state, losses
            )
            assert taken == len(rates)
        average = state.average
        counts = state.steps, average and (average.steps, average.moments)
        results.append((losses, [model.vector, *state.vectors], counts))
    (whole, vectors, counts), (in_halves, others, other_counts) = results
    np.testing.assert_allclose(in_halves, whole, rtol=1e-10)
    for other, vector in zip(others, vectors, strict=True):
        np.testing.assert_allclose(other, vector, rtol=1e-7, atol=1e-9)
    assert counts == other_counts


def take_halves(module, model, examples, order, rates, rule, keys, state, losses):
    """Take steps, each by the gradients of the first seven rows of its batch and of the others."""
    parts = [Parameters(model.architecture) for _ in range(2)]
    for step, rate in enumerate(rates.tolist()):
        batch = slice(step * BATCH, min((step + 1) * BATCH, ROWS))
        count, middle = batch.stop - batch.start, min(batch.start + 7, batch.stop - 1)
        losses[step] = 0
        for first, last, part in ((batch.start, middle, 0), (middle, batch.stop, 1)):
            losses[step] += module.batch_gradient(
                model, examples, order[first:last], 7, count, rule, keys[:, first:last],
                parts[part],
            ) / count  # fmt: skip
        parts[0].vector[:] += parts[1].vector
        module.update(model, parts[0], rate, rule, state)


@each_backend
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_steps_in_halves_are_the_steps(backend, rule):
    compare(backend, rule)


@each_backend
@pytest.mark.parametrize("name", ["sgd", "adam", "clipped"])
def test_steps_in_halves_on_sparse_rows(backend, name):
    def sparse(examples):
        X = np.where(examples.X > 0.5, examples.X, 0)
        counts = np.count_nonzero(X, axis=1)
        indptr = np.concatenate([[0], np.cumsum(counts)])
        rows = SparseRows(X[X != 0], np.nonzero(X)[1].astype(np.int32), indptr, 9)
        return Examples(rows, examples.Y, examples.weights)

    compare(backend, RULES[name], sparse)


@each_backend
def test_steps_in_halves_by_a_loss_of_ones_own(backend):
    compare(backend, RULES["momentum"], loss=squared)


def test_steps_in_halves_are_the_same_on_several_threads():
    compare("numba", RULES["adam"], threads=2)
