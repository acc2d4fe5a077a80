"""The estimators for tables, with odd data and arguments."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn")

from fastnn.estimators import TabularClassifier, TabularRegressor

rng = np.random.default_rng(0)
X = rng.normal(size=(40, 2))
LABELS = np.where(X[:, 0] > 0, "in", "out")


def classifier(**settings):
    return TabularClassifier((8,), epochs=2, random_state=0).set_params(**settings)


def regressor(**settings):
    return TabularRegressor((8,), epochs=2, random_state=0).set_params(**settings)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_fit_that_fails_leaves_the_estimator_as_it_was(error, monkeypatch):
    made = classifier().fit(X, LABELS)
    expected = made.predict_proba(X)

    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr("fastnn.estimators.tabular.predictors.fit", fail)
    with pytest.raises(error):
        made.fit(X[:, :1], LABELS)
    assert np.array_equal(made.predict_proba(X), expected)
