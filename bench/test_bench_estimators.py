"""The estimators beside scikit-learn's own: the same settings and epochs, one thread each."""

from __future__ import annotations

import warnings

import pytest

ROUNDS, EPOCHS = 3, 20
SETTINGS = {
    "default": {},
    "sgd": {"solver": "sgd", "learning_rate_init": 0.05},
    "early_stopping": {"early_stopping": True},
    "wide": {"hidden_layer_sizes": (256, 256)},
}


@pytest.mark.parametrize("whose", ["fastnn", "sklearn"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("settings", SETTINGS)
def test_fit_the_digits(benchmark, whose, settings, dtype):
    pytest.importorskip("sklearn", minversion="1.7")
    from sklearn.datasets import load_digits
    from sklearn.neural_network import MLPClassifier as Theirs
    from threadpoolctl import threadpool_limits

    from fastnn.estimators import MLPClassifier

    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(dtype)
    options = {"max_iter": EPOCHS, "n_iter_no_change": EPOCHS, "random_state": 0}
    options |= SETTINGS[settings]
    estimator = MLPClassifier(**options, threads=1) if whose == "fastnn" else Theirs(**options)
    benchmark.group = f"fit the digits, {EPOCHS} epochs, {settings}, {dtype}"
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")
        estimator.fit(X, y)  # compiles what it needs
        benchmark.pedantic(estimator.fit, args=(X, y), rounds=ROUNDS)
    assert estimator.n_iter_ == EPOCHS
    assert estimator.score(X, y) > 0.8
    benchmark.extra_info["threads"] = 1
