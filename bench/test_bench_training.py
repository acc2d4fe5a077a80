"""Training: steps of gradient descent, without loading data, shuffling or validation."""

from __future__ import annotations

import numpy as np
import pytest

from fastnn import backends
from fastnn.backends.contract import Examples, UpdateRule
from fastnn.backends.dropout import NO_KEYS
from fastnn.model.optimizer_state import OptimizerState
from fastnn.optimizers import SGD

ROUNDS = 10


@pytest.mark.benchmark(group="per sample: training, batch 1")
def test_train_single_rows(benchmark, net, mnist, labels, record):
    _train(benchmark, net, mnist.train_images, labels, 1, 2_000, 0.01)
    record(2_000, net.architecture.training_flops)


@pytest.mark.parametrize("batch_size", [8, 32, 128, 512])
def test_train_batches(benchmark, net, mnist, labels, record, batch_size):
    benchmark.group = f"SGD throughput, batch {batch_size:3d}"
    _train(benchmark, net, mnist.train_images, labels, batch_size, 16_384, 0.1)
    record(16_384, net.architecture.training_flops * batch_size)


def _train(benchmark, net, X, labels, batch_size, rows, rate):
    """Time one call of many steps a round, each from the same parameters and on other rows."""
    start = net.parameters.copy()
    orders = _orders(len(X), rows)
    rates = np.full(rows // batch_size, rate)
    losses = np.empty(len(rates))
    rule, state = UpdateRule(), OptimizerState(SGD(), net.architecture)
    examples = Examples(X, labels)
    train_steps = backends.get(net.backend).train_steps

    def setup():
        net.parameters[:] = start
        order = next(orders)
        return (net.model, examples, order, batch_size, rates, rule, NO_KEYS, state, losses), {}

    taken = benchmark.pedantic(train_steps, setup=setup, rounds=ROUNDS, warmup_rounds=1)
    assert taken == len(rates)
    tenth = -(-len(losses) // 10)
    assert losses[-tenth:].mean() < losses[:tenth].mean()


def _orders(count, rows):
    """Yield shuffled rows without end, so that a round does not find its rows in a cache."""
    rng = np.random.default_rng(0)
    while True:
        order = rng.permutation(count)
        for first in range(0, count - rows + 1, rows):
            yield order[first : first + rows]
