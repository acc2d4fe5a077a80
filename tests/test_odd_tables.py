"""The estimators for tables, with odd data and arguments."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest

pytest.importorskip("sklearn")

from fastnn.estimators import TabularClassifier, TabularRegressor
from fastnn.tabular.tables import columns_of

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


def test_objects_that_are_durations_are_seconds():
    values = [dt.timedelta(minutes=1), np.timedelta64(90, "s"), None, np.timedelta64("NaT")]
    found = columns_of(np.array([values], object).T)["0"]
    assert (found.kind, found.values[:2].tolist()) == ("number", [60, 90])
    assert found.missing.tolist() == [False, False, True, True]


def test_pandas_durations_among_objects_are_seconds():
    pd = pytest.importorskip("pandas")
    found = columns_of(np.array([[pd.Timedelta("1min")], [pd.NaT]], object))["0"]
    assert (found.kind, found.values[0], found.missing.tolist()) == ("number", 60, [False, True])


@pytest.mark.parametrize("others", [[1.0], ["x"], [True]], ids=["numbers", "texts", "truths"])
@pytest.mark.parametrize(
    ("value", "what"),
    [(np.inf, "infinity"), (10**400, "an integer beyond float64")],
    ids=["infinity", "integer"],
)
def test_objects_that_float64_does_not_have_are_refused_by_their_row(value, what, others):
    with pytest.raises(ValueError, match=f"X, column '0', holds {what} in row 1; need finite"):
        columns_of(np.array([[*others, value]], object).T)


def test_a_frame_without_columns_is_not_called_sparse():
    pd = pytest.importorskip("pandas")
    pytest.importorskip("narwhals")
    with pytest.raises(ValueError, match="X has 0 rows and 0 columns; need one each"):
        classifier().fit(pd.DataFrame(), [])
