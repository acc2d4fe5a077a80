"""The estimators in threads of joblib and of the user: the same networks as one after the other."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from cases import BACKENDS

pytest.importorskip("sklearn")

import joblib
from scipy import sparse as scipy_sparse
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastnn import optimizers
from fastnn.augment import Noise
from fastnn.estimators import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
X, Y = load_iris(return_X_y=True)
NUMBERS = X[:, 0] - X[:, 3]
FOLDS = StratifiedKFold(4, shuffle=True, random_state=0)
COUNT = 6  # at a time, more than there are CPUs in most places
SHORT = {"random_state": 3, "max_iter": 8, "learning_rate_init": 0.02}
KINDS = {
    "plain": MLPClassifier((12,), **SHORT),
    "numpy": MLPClassifier((12,), backend="numpy", **SHORT),
    "one thread each": MLPClassifier((12,), threads=1, **SHORT),
    "early stopping": MLPClassifier((12,), early_stopping=True, validation_fraction=0.2, **SHORT),
    "warm start": MLPClassifier((12,), warm_start=True, **SHORT),
    "lbfgs": MLPClassifier((12,), solver="lbfgs", **SHORT),
    "members": MLPClassifier((12,), n_members=2, **SHORT),
    "adaptive": MLPClassifier((12,), solver="sgd", learning_rate="adaptive", **SHORT),
    "objects": MLPClassifier(
        (12, 6), solver=optimizers.Adam(beta1=0.8), augment=Noise(0.1), dropout=0.2, **SHORT
    ),
    "numbers": MLPRegressor(hidden_layer_sizes=(12,), early_stopping=True, **SHORT),
}
each_kind = pytest.mark.parametrize("kind", KINDS)


def targets_of(kind):
    return NUMBERS if kind == "numbers" else Y


def what_was_learnt(estimator):
    """Return all that fitting leaves, to compare bit by bit."""
    learnt = []
    for each in getattr(estimator, "estimators_", [estimator]):
        learnt.append([array.tobytes() for array in (*each.coefs_, *each.intercepts_)])
        learnt.append(repr([getattr(each, name, None) for name in ("loss_curve_", "n_iter_")]))
        learnt.append(repr(getattr(each, "validation_scores_", None)))
    return learnt


def at_once(estimators, use):
    """Call ``use`` for each estimator in a thread of its own, all at the same moment."""
    barrier = threading.Barrier(len(estimators))

    def wait_and_use(estimator):
        barrier.wait()
        return use(estimator)

    with ThreadPoolExecutor(len(estimators)) as pool:
        return list(pool.map(wait_and_use, estimators))


@each_kind
def test_cross_validation_in_threads_has_the_scores_of_one_job_and_of_fits_by_hand(kind):
    y, estimator = targets_of(kind), make_pipeline(StandardScaler(), KINDS[kind])
    parts = list(FOLDS.split(X, Y))
    by_hand = [
        clone(estimator).fit(X[train], y[train]).score(X[held_out], y[held_out])
        for train, held_out in parts
    ]
    one = cross_val_score(estimator, X, y, cv=parts)
    with joblib.parallel_config("threading", n_jobs=COUNT):
        several = cross_val_score(estimator, X, y, cv=parts)
    assert one.tolist() == by_hand
    assert several.tolist() == by_hand


@pytest.mark.parametrize("threads", [None, 1])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_grid_search_in_threads_is_that_of_one_job(backend, threads):
    estimator = MLPClassifier(backend=backend, threads=threads, **SHORT)
    grid = {"hidden_layer_sizes": [(4,), (16,), (8, 4)], "early_stopping": [False, True]}
    one = GridSearchCV(estimator, grid, cv=FOLDS).fit(X, Y)
    with joblib.parallel_config("threading", n_jobs=COUNT):
        several = GridSearchCV(estimator, grid, cv=FOLDS).fit(X, Y)
    for i in range(FOLDS.get_n_splits()):
        name = f"split{i}_test_score"
        assert several.cv_results_[name].tolist() == one.cv_results_[name].tolist()
    assert several.best_params_ == one.best_params_
    assert what_was_learnt(several.best_estimator_) == what_was_learnt(one.best_estimator_)


@each_kind
def test_estimators_that_fit_the_same_arrays_at_once_share_nothing(kind):
    y = targets_of(kind)
    before = X.tobytes(), y.tobytes()
    estimators = [clone(KINDS[kind]).set_params(random_state=i) for i in range(COUNT)]
    alone = [what_was_learnt(clone(each).fit(X, y)) for each in estimators]
    assert [what_was_learnt(each) for each in at_once(estimators, lambda e: e.fit(X, y))] == alone
    assert (X.tobytes(), y.tobytes()) == before


@pytest.mark.parametrize("stopping", [False, True], ids=["", "early stopping"])
def test_estimators_that_go_on_at_once_go_on_from_their_own_state(stopping):
    estimators = [
        MLPClassifier((8,), warm_start=True, early_stopping=stopping, **SHORT).set_params(
            random_state=i
        )
        for i in range(COUNT)
    ]

    def fit_again_and_again(estimator):
        return [what_was_learnt(estimator.fit(X, Y)) for _ in range(4)]

    alone = [fit_again_and_again(clone(each)) for each in estimators]
    assert at_once(estimators, fit_again_and_again) == alone


def test_estimators_that_learn_in_parts_at_once_share_nothing():
    estimators = [MLPClassifier((8,), random_state=i) for i in range(COUNT)]

    def learn_in_parts(estimator):
        for first in range(0, 150, 10):
            rows = slice(first, first + 10)
            estimator.partial_fit(X[rows], Y[rows], classes=[0, 1, 2])
        return what_was_learnt(estimator)

    alone = [learn_in_parts(clone(each)) for each in estimators]
    assert at_once(estimators, learn_in_parts) == alone


def test_estimators_that_fit_the_same_sparse_rows_at_once_share_nothing():
    rows = scipy_sparse.csr_matrix(np.where(X > 2, X, 0))
    estimators = [MLPClassifier((8,), **SHORT).set_params(random_state=i) for i in range(COUNT)]
    alone = [what_was_learnt(clone(each).fit(rows, Y)) for each in estimators]
    together = at_once(estimators, lambda each: what_was_learnt(each.fit(rows, Y)))
    assert together == alone


def test_one_estimator_predicts_in_several_threads_at_once():
    estimator = MLPClassifier((8,), **SHORT).fit(X, Y)
    parts = [X[:1], X[:7], X, np.repeat(X, 20, axis=0)] * 2
    alone = [estimator.predict_proba(part).tobytes() for part in parts]
    found = at_once(parts, lambda part: [estimator.predict_proba(part).tobytes() for _ in range(9)])
    assert found == [[each] * 9 for each in alone]
