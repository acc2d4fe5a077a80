"""The precision of estimators and of searches."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn")

import fastnn
from fastnn.estimators import MLPClassifier, MLPRegressor


@pytest.mark.parametrize("Estimator", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_estimators_have_networks_of_a_precision(Estimator, dtype, solver):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 4)).astype(dtype), rng.integers(0, 3, 60)
    options = {"max_iter": 300, "hidden_layer_sizes": 5, "backend": "numpy", "solver": solver}
    estimator = Estimator(precision="bfloat16", tol=0.1, random_state=0, **options).fit(X, y)
    architecture = estimator.network_.architecture
    assert (architecture.precision, architecture.dtype.name) == ("bfloat16", "float32")
    assert np.isfinite(estimator.predict(X)).all()
    if solver == "adam":
        estimator.partial_fit(X, y).partial_fit(X, y)
        assert estimator.network_.precision == "bfloat16"


def test_scikit_learn_predicts_without_rounding():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 4))
    ours = MLPClassifier(5, precision="bfloat16", max_iter=200, tol=1, backend="numpy")
    ours.fit(X, rng.integers(0, 3, 60))
    got, want = ours.predict_proba(X), ours.to_sklearn().predict_proba(X)
    np.testing.assert_allclose(got, want, rtol=0, atol=2.0**-6)
    assert np.abs(got - want).max() > 1e-5


def test_estimators_refuse_a_precision_that_there_is_not():
    with pytest.raises(ValueError, match=r"precision must be one of .*; got 'float8'"):
        MLPClassifier(precision="float8").fit(np.eye(3), [0, 1, 2])


@pytest.mark.parametrize("warm_start", [False, True])
def test_training_does_not_continue_in_another_precision(warm_start):
    estimator = MLPClassifier(
        3, precision="bfloat16", max_iter=200, tol=1, backend="numpy", warm_start=warm_start
    ).fit(np.eye(4), [0, 1, 0, 1])
    train = estimator.fit if warm_start else estimator.partial_fit
    train(np.eye(4), [0, 1, 0, 1])
    estimator.set_params(precision="float32")
    with pytest.raises(ValueError, match=r"precision is 'float32', .* of the precision 'bfloat16'"):
        train(np.eye(4), [0, 1, 0, 1])
    estimator.set_params(precision=None)  # asks for none
    assert train(np.eye(4), [0, 1, 0, 1]).network_.precision == "bfloat16"


def test_estimators_without_a_precision_have_that_of_the_data():
    for dtype in ("float32", "float64"):
        X = np.eye(4, dtype=dtype)
        fitted = MLPClassifier(max_iter=200, tol=1, backend="numpy").fit(X, [0, 1, 0, 1])
        assert fitted.network_.precision == dtype


def test_tuning_tries_precisions():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, 4)).astype(np.float32)
    found = fastnn.tune(
        X, (X[:, 0] > 0).astype(int), {"precision": ["float32", "bfloat16"]}, folds=2, epochs=1,
        hidden=(5,), backend="numpy", progress=False,
    )  # fmt: skip
    assert {row["precision"] for row in found.results} == {"float32", "bfloat16"}
    assert found.network.precision == found.best["precision"]
