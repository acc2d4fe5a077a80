"""Sparse rows beside the same numbers in a dense array, and beside scikit-learn's estimator."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import fastnn

ROUNDS, EPOCHS = 5, 5
STEPS = {"sgd, 32": ("sgd", 32), "sgd, 200": ("sgd", 200), "adam, 200": ("adam", 200)}


def one_percent():
    """Return 5,000 rows of 5,000 columns of which 1% is stored, and two classes."""
    sparse = pytest.importorskip("scipy.sparse")
    rng = np.random.default_rng(0)
    X = sparse.random_array((5000, 5000), density=0.01, format="csr", rng=rng, dtype="float32")
    return X, rng.integers(0, 2, 5000)


def texts(dtype):
    """Return 5,000 rows of 80 words or fewer, of 30,000 that are as frequent as in texts."""
    sparse = pytest.importorskip("scipy.sparse")
    rng = np.random.default_rng(0)
    frequency = 1 / np.arange(1, 30_001) ** 0.8
    y = rng.integers(0, 2, 5000)
    words = rng.choice(30_000, (5000, 80), p=frequency / frequency.sum())
    words = np.where((rng.random(words.shape) < 0.1) & (y[:, None] == 1), words ^ 1, words)
    X = sparse.csr_array(
        (rng.random(words.size), words.ravel(), np.arange(0, words.size + 1, 80)),
        shape=(5000, 30_000),
    )
    X.sum_duplicates()
    return X.astype(dtype), y


@pytest.mark.parametrize("form", ["sparse", "dense"])
@pytest.mark.parametrize("steps", STEPS)
def test_an_epoch_on_one_percent(benchmark, form, steps):
    X, y = one_percent()
    X = X if form == "sparse" else X.toarray()
    optimizer, batch = STEPS[steps]
    net = fastnn.Network([5000, 64, 2], seed=0, threads=1)

    def train():
        net.train(X, y, epochs=1, batch_size=batch, optimizer=optimizer, learning_rate=1e-3)

    benchmark.group = f"an epoch of 5,000 rows with 1% of 5,000 columns, {steps}"
    train()  # compiles what it needs
    benchmark.pedantic(train, rounds=ROUNDS)
    benchmark.extra_info["threads"] = 1


@pytest.mark.parametrize("whose", ["fastnn", "sklearn"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_fit_texts(benchmark, whose, dtype):
    pytest.importorskip("sklearn", minversion="1.7")
    from sklearn.neural_network import MLPClassifier as Theirs
    from threadpoolctl import threadpool_limits

    from fastnn.estimators import MLPClassifier

    X, y = texts(dtype)
    options = {"hidden_layer_sizes": (64,), "max_iter": EPOCHS, "random_state": 0}
    estimator = MLPClassifier(**options, threads=1) if whose == "fastnn" else Theirs(**options)
    benchmark.group = f"fit sparse texts, {EPOCHS} epochs, {dtype}"
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")
        estimator.fit(X, y)  # compiles what it needs
        benchmark.pedantic(estimator.fit, args=(X, y), rounds=3)
    benchmark.extra_info["threads"] = 1
    benchmark.extra_info["accuracy"] = estimator.score(X, y)
