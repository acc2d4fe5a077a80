"""`partial_fit` of a few rows, which skips what has not changed: same results, same refusals."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn")

from fastnn.estimators import MLPClassifier, MLPRegressor
from fastnn.estimators import base as estimators

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 5))
NUMBERS, LABELS = RNG.normal(size=60), np.arange(60) % 3
TASKS = {
    "regressor": (MLPRegressor, NUMBERS, {}),
    "several outputs": (MLPRegressor, np.stack([NUMBERS, -NUMBERS], 1), {}),
    "classifier": (MLPClassifier, LABELS, {"classes": [0, 1, 2]}),
    "two classes": (MLPClassifier, LABELS % 2, {"classes": [0, 1]}),
    "text": (MLPClassifier, np.array(["no", "yes", "maybe"])[LABELS], {}),
}
each_task = pytest.mark.parametrize("task", TASKS)


def begun(task, **options):
    """Return an estimator after a call with as many rows as will come, and y."""
    kind, y, keywords = TASKS[task]
    if kind is MLPClassifier:
        keywords = {"classes": np.unique(y)}
    estimator = kind(hidden_layer_sizes=(8,), random_state=1, **options)
    return estimator.partial_fit(X[:1], y[:1], **keywords), y


def everything(estimator):
    """Return all that training leaves in an estimator."""
    network = estimator.network_
    state = network.model.optimizer_state
    values = {name: value for name, value in vars(estimator).items() if name != "network_"}
    vectors = [network.parameters.tobytes(), *[slot.vector.tobytes() for slot in state.slots]]
    return repr(values), vectors, state.steps, network.epochs_trained


def without_short_calls(monkeypatch):
    monkeypatch.setattr(estimators, "learn", lambda *_: None)


@each_task
@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("rows", [1, 7])
def test_short_calls_leave_the_same_bits(task, solver, rows, monkeypatch):
    results, options = [], {"solver": solver, "l1": 1e-3, "clip_norm": 1.0}
    for short in (True, False):
        estimator, y = begun(task, **options)
        if not short:
            without_short_calls(monkeypatch)
        for first in range(0, 56, rows):
            part = slice(first, first + rows)
            estimator.partial_fit(X[part], y[part])
        results.append(everything(estimator))
    assert results[0] == results[1]


@each_task
def test_a_call_like_the_last_is_short(task, monkeypatch):
    estimator, y = begun(task)

    def refuse(*_, **__):
        raise AssertionError("the long way was taken")

    monkeypatch.setattr(type(estimator), "_train", refuse)
    estimator.partial_fit(X[1:2], y[1:2])
    with pytest.raises(AssertionError, match="long way"):
        estimator.partial_fit(X[1:3], y[1:3])  # other rows, other penalty


@pytest.mark.parametrize(
    "change",
    [
        {"alpha": 0.1}, {"learning_rate_init": 0.05}, {"solver": "sgd"}, {"beta_1": 0.5},
        {"l1": 0.1}, {"max_norm": 0.1}, {"dropout": 0.5}, {"learning_rate": "invscaling"},
    ],
)  # fmt: skip
def test_parameters_that_were_changed_count(change, monkeypatch):
    results = []
    for short in (True, False):
        estimator, y = begun("regressor")
        if not short:
            without_short_calls(monkeypatch)
        for _ in range(3):
            estimator.set_params(**change).partial_fit(X[1:2], y[1:2])
        results.append(everything(estimator))
    assert results[0] == results[1]


@pytest.mark.parametrize(
    ("rows", "targets", "message"),
    [
        (X[:1, :4], NUMBERS[:1], "features"),
        (np.full((1, 5), np.nan), NUMBERS[:1], "NaN"),
        (np.full((1, 5), 1e300), NUMBERS[:1], "finite|large"),
        (X[:1], np.array([np.inf]), "infinity"),
        (X[:2], NUMBERS[:1], "inconsistent"),
    ],
)
def test_bad_data_is_refused_as_ever(rows, targets, message):
    estimator, _ = begun("regressor")
    estimator.network_.train(X.astype(np.float32), NUMBERS, epochs=1, learning_rate=1e-9)
    before = everything(estimator)
    with pytest.raises(ValueError, match=message):
        estimator.partial_fit(rows, targets)
    assert everything(estimator)[1] == before[1]


def test_other_classes_are_refused_as_ever():
    estimator, _ = begun("classifier")
    with pytest.raises(ValueError, match="classes not in"):
        estimator.partial_fit(X[:1], [7])
    with pytest.raises(ValueError, match="classes not in"):
        estimator.partial_fit(X[:1], np.array([7]))
    with pytest.raises(ValueError, match="not the same as on last call"):
        estimator.partial_fit(X[:1], np.array([1]), classes=[0, 1])


def test_parameters_that_are_wrong_are_refused_as_ever():
    estimator, y = begun("regressor")
    estimator.set_params(alpha=-1.0)
    with pytest.raises(ValueError, match="alpha"):
        estimator.partial_fit(X[:1], y[:1])


def test_a_step_that_diverges_is_refused_as_ever():
    estimator, _ = begun("regressor")
    before = estimator.network_.parameters.copy()
    with pytest.raises(ValueError, match="non-finite parameter weights"):
        estimator.partial_fit(np.full((1, 5), 1e153), np.full(1, 1e153))
    assert estimator.network_.parameters.tobytes() == before.tobytes()


def test_a_column_is_warned_of_as_ever():
    estimator, y = begun("regressor")
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        estimator.partial_fit(X[:1], y[:1, None])
    assert len(seen) == 1


def test_a_generator_of_random_numbers_goes_on_with_each_call(monkeypatch):
    states = []
    for short in (True, False):
        estimator, y = begun("regressor")
        estimator.set_params(random_state=np.random.RandomState(3))
        if not short:
            without_short_calls(monkeypatch)
        for _ in range(3):
            estimator.partial_fit(X[:1], y[:1])
        states.append(estimator.random_state.randint(1 << 30))
    assert states[0] == states[1]


def test_copies_go_on_as_the_original():
    estimator, y = begun("regressor")
    other = copy.deepcopy(estimator)
    for each in (estimator, other):
        each.partial_fit(X[:1], y[:1])
    assert everything(estimator) == everything(other)
