"""scikit-learn's own tests of its multi-layer perceptrons, run on ours.

Those that fail are listed with the reason; each must fail, and docs/estimators.md tells users of
it.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

theirs = pytest.importorskip("sklearn.neural_network.tests.test_mlp")

from sklearn.exceptions import ConvergenceWarning  # noqa: E402

from fastnn.estimators import MLPClassifier, MLPRegressor  # noqa: E402

DIFFERENT = {
    "test_fit": "sets private attributes",
    "test_gradient": "calls private methods",
    "test_learning_rate_warmstart": "reads a private attribute",
    "test_adaptive_learning_rate": "reads a private attribute",
}


def _adapt(name):
    """Return one of their tests, which uses our estimators also where those are parameters."""
    test = getattr(theirs, name)
    for mark in getattr(test, "pytestmark", ()):
        if mark.name != "parametrize":
            continue
        if "Estimator" in mark.args[0]:
            mark.args[1][:] = [MLPClassifier, MLPRegressor]
    if name in DIFFERENT:
        test = pytest.mark.xfail(strict=True, reason=DIFFERENT[name])(test)
    return test


for _name in dir(theirs):
    if _name.startswith("test_"):
        globals()[_name] = _adapt(_name)


@pytest.fixture(autouse=True)
def _use_ours(monkeypatch):
    monkeypatch.setattr(theirs, "MLPClassifier", MLPClassifier)
    monkeypatch.setattr(theirs, "MLPRegressor", MLPRegressor)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


@pytest.fixture
def global_random_seed():
    return 0


def test_every_difference_is_documented():
    text = (Path(__file__).resolve().parents[1] / "docs" / "estimators.md").read_text()
    assert [name for name in DIFFERENT if f"`{name}`" not in text] == []
