"""Prediction: a single row, by `Network.predict_one` and in general, and the whole test set."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from fastnn import backends


@pytest.mark.benchmark(group="per sample: prediction, one row")
def test_predict_single_row(benchmark, net, mnist, record):
    rows = itertools.cycle(mnist.test_images[:1_000, None, :])
    out = benchmark(lambda: net.predict_proba(next(rows)))
    assert out.shape == (1, 10)
    record(1, net.architecture.forward_flops)


@pytest.mark.benchmark(group="per sample: prediction, one row")
@pytest.mark.parametrize("data", ["digits", "dense"])
def test_predict_one(benchmark, net, mnist, record, data):
    rows = (mnist.test_images[:1_000] / 255).astype(np.float32)
    if data == "dense":
        rows = np.random.default_rng(0).random(rows.shape, np.float32)
    rows, out = itertools.cycle(rows), np.empty(10, np.float32)
    benchmark(lambda: net.predict_one(next(rows), out))
    np.testing.assert_allclose(out.sum(), 1, atol=10 * np.finfo(np.float32).eps)
    record(1, net.architecture.forward_flops)


@pytest.mark.benchmark(group="batched prediction, 10,000 rows")
def test_predict_test_set(benchmark, net, mnist, record):
    out = benchmark.pedantic(net.predict_proba, (mnist.test_images,), rounds=20, warmup_rounds=1)
    assert out.shape == (10_000, 10)
    # Sums of ten numbers below 1 in float32.
    np.testing.assert_allclose(out.sum(axis=1), 1, atol=10 * np.finfo(np.float32).eps)
    record(len(out), net.architecture.forward_flops * backends.get(net.backend).BLOCK)
