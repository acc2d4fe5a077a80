"""What scripts that were written for scikit-learn's perceptrons rely on, and the solver "lbfgs"."""

from __future__ import annotations

import inspect
import os
import signal

import numpy as np
import pytest
from cases import BACKENDS

pytest.importorskip("sklearn")

from sklearn import neural_network
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning

from fastnn.estimators import MLPClassifier, MLPRegressor
from fastnn.estimators.progress import Progress

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
each_backend = pytest.mark.parametrize("backend", BACKENDS)
PAIRS = {
    "classifier": (MLPClassifier, neural_network.MLPClassifier),
    "regressor": (MLPRegressor, neural_network.MLPRegressor),
}
each_pair = pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
each_estimator = pytest.mark.parametrize("Estimator", [MLPClassifier, MLPRegressor])
X, Y = load_iris(return_X_y=True)
SMALL = {"hidden_layer_sizes": 6, "random_state": 0}


@each_pair
def test_parameters_have_the_order_and_defaults_of_scikit_learn(pair):
    ours, theirs = (inspect.signature(kind).parameters for kind in pair)
    positional = [name for name, p in ours.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert positional == list(theirs)[: len(positional)]
    assert {name: ours[name].default for name in theirs} == {
        name: p.default for name, p in theirs.items()
    }
    assert [p.kind for p in theirs.values()] == [ours[name].kind for name in theirs]


def test_sizes_in_the_place_of_the_loss_are_told_apart():
    with pytest.raises(ValueError, match=r"loss .* got \(8,\).* hidden_layer_sizes=\(8,\)"):
        MLPRegressor((8,)).fit(X, Y)


# Parameters of the layers


@each_estimator
def test_assigned_arrays_are_those_of_the_network(Estimator):
    estimator = Estimator(max_iter=2, **SMALL).fit(X, Y)
    weights, biases = np.full((4, 6), 0.5), np.arange(6.0)
    estimator.coefs_[0] = weights
    estimator.intercepts_[0] = biases
    assert np.array_equal(estimator.network_.weights[0], weights)
    assert np.array_equal(estimator.network_.biases[0], biases)
    estimator.coefs_[-1] *= 0
    estimator.intercepts_[1:] = [np.full(estimator.n_outputs_, 3.0)]
    assert not estimator.network_.weights[1].any()
    assert (estimator.network_.biases[1] == 3).all()
    with pytest.raises(ValueError, match=r"weights\[0\] has shape \(4, 6\)"):
        estimator.coefs_[0] = np.ones((5, 6))


@each_backend
@each_pair
def test_a_network_of_scikit_learn_can_be_taken_over(pair, backend):
    Ours, Theirs = pair
    theirs = Theirs(max_iter=30, **SMALL).fit(X, Y)
    ours = Ours(max_iter=1, **SMALL, backend=backend).fit(X, Y)
    ours.coefs_, ours.intercepts_ = theirs.coefs_, theirs.intercepts_
    np.testing.assert_allclose(
        getattr(ours, "predict_proba", ours.predict)(X),
        getattr(theirs, "predict_proba", theirs.predict)(X),
    )
    with pytest.raises(ValueError, match="need arrays for 2 layers, got 1"):
        ours.coefs_ = theirs.coefs_[:1]


@each_estimator
@pytest.mark.parametrize(("activation", "factor"), [("relu", 6), ("tanh", 6), ("logistic", 2)])
def test_weights_and_biases_start_within_the_bounds_of_scikit_learn(Estimator, activation, factor):
    options = {"solver": "sgd", "learning_rate_init": 1e-300, "random_state": 0, "max_iter": 1}
    estimator = Estimator(hidden_layer_sizes=(50, 60), activation=activation, **options).fit(X, Y)
    for weights, biases in zip(estimator.coefs_, estimator.intercepts_, strict=True):
        bound = np.sqrt(factor / sum(weights.shape))
        for array in (weights, biases):
            assert 0 < np.abs(array).max() <= bound
        assert np.abs(weights).max() > 0.9 * bound  # of 60 numbers and more
    other = Estimator(activation=activation, init="glorot", **options).fit(X, Y)
    assert np.abs(other.intercepts_[0]).max() < 1e-200  # a step from 0


# Going on


def both(pair, backend="numpy", **options):
    """Return estimators with the same parameters, ours and scikit-learn's."""
    Ours, Theirs = pair
    options = {"solver": "sgd", "max_iter": 3, "tol": 0, **SMALL, **options}
    classes = {"classes": [0, 1, 2]} if Ours is MLPClassifier else {}
    theirs = Theirs(**options).partial_fit(X, Y, **classes)
    ours = Ours(**options, backend=backend).partial_fit(X, Y, **classes)
    ours.coefs_, ours.intercepts_ = theirs.coefs_, theirs.intercepts_
    return ours, theirs


@each_backend
@each_pair
@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_a_fit_that_goes_on_starts_its_optimizer_anew(pair, solver, backend):
    options = {"warm_start": True, "solver": solver, "epsilon": 1e-15, "learning_rate_init": 0.01}
    ours, theirs = both(pair, backend=backend, **options)
    for each in (ours, theirs):
        each.loss_curve_ = []
        each.fit(X, Y)
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-8)  # rounding


@each_backend
@each_pair
@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_steps_of_batches_are_those_of_scikit_learn(pair, solver, backend):
    options = {"solver": solver, "shuffle": False, "batch_size": 50, "epsilon": 1e-15}
    options |= {"warm_start": True, "activation": "tanh", "alpha": 10.0, "max_iter": 4}
    ours, theirs = both(pair, backend=backend, **options)
    for each in (ours, theirs):
        each.loss_curve_ = []
        each.fit(X, Y)
    for mine, other in zip(ours.coefs_, theirs.coefs_, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-7)  # rounding, carried on
    # Between the ends of an epoch the penalty is taken to change evenly.
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=5e-4)


@each_backend
@each_pair
@pytest.mark.parametrize("schedule", ["invscaling", "adaptive"])
def test_the_rate_of_partial_fit_falls_as_in_scikit_learn(pair, schedule, backend):
    options = {"learning_rate": schedule, "momentum": 0, "learning_rate_init": 0.1}
    options |= {"n_iter_no_change": 2, "tol": 0.05}
    ours, theirs = both(pair, backend=backend, **options)
    for each in (ours, theirs):
        each.loss_curve_ = []
        for _ in range(20):
            each.partial_fit(X, Y)
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-8)  # rounding


@each_backend
@each_estimator
def test_ctrl_c_ends_fit_with_a_warning(Estimator, backend, monkeypatch):
    expected = Estimator(max_iter=3, backend=backend, **SMALL).fit(X, Y)
    record = Progress.__call__

    def interrupting(self, row):
        answer = record(self, row)
        if self.estimator.n_iter_ == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return answer

    monkeypatch.setattr(Progress, "__call__", interrupting)
    estimator = Estimator(max_iter=30, backend=backend, **SMALL)
    with pytest.warns(UserWarning, match="interrupted by user"):
        estimator.fit(X, Y)
    assert estimator.n_iter_ == 3
    assert np.array_equal(estimator.predict(X), expected.predict(X))


def test_ctrl_c_leaves_the_best_epoch_of_early_stopping(monkeypatch):
    record = Progress.__call__

    def interrupting(self, row):
        answer = record(self, row)
        if self.estimator.n_iter_ == 8:
            raise KeyboardInterrupt
        return answer

    monkeypatch.setattr(Progress, "__call__", interrupting)
    options = {"early_stopping": True, "learning_rate_init": 0.3, "random_state": 3}
    with pytest.warns(UserWarning, match="interrupted by user"):
        stopped = MLPClassifier(max_iter=30, **options).fit(X, Y)
    monkeypatch.undo()
    whole = MLPClassifier(max_iter=8, **options).fit(X, Y)
    assert np.array_equal(stopped.network_.parameters, whole.network_.parameters)


def test_a_class_of_one_row_is_too_few_for_early_stopping():
    names = np.array(["often", "once"])[(np.arange(150) == 7) * 1]
    with pytest.raises(ValueError, match=r"only 1 member.*\['True'\], which is once"):
        MLPClassifier(early_stopping=True).fit(X, names)


# L-BFGS


@each_backend
@each_estimator
def test_lbfgs_has_the_attributes_of_scikit_learn(Estimator, backend):
    estimator = Estimator(solver="lbfgs", max_iter=500, backend=backend, **SMALL).fit(X, Y)
    assert 1 < estimator.n_iter_ <= 500
    assert estimator.t_ == 0
    assert estimator.score(X, Y) > 0.9
    for name in ("loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_"):
        assert not hasattr(estimator, name)


@each_backend
@each_pair
def test_lbfgs_with_weights_takes_the_way_of_scikit_learn(pair, backend):
    weights = np.random.default_rng(0).uniform(0.2, 2, 150)
    options = {"solver": "lbfgs", "warm_start": True, "alpha": 0.3, "activation": "tanh"}
    Ours, Theirs = pair
    theirs = Theirs(max_iter=1, **options, **SMALL).fit(X, Y)
    ours = Ours(max_iter=1, **options, **SMALL, backend=backend).fit(X, Y)
    ours.coefs_, ours.intercepts_ = theirs.coefs_, theirs.intercepts_
    for each in (ours, theirs):
        each.set_params(max_iter=12).fit(X, Y, weights)
    assert ours.loss_ == pytest.approx(theirs.loss_, rel=1e-8)  # rounding, carried on
    np.testing.assert_allclose(ours.coefs_[0], theirs.coefs_[0], rtol=1e-5)


def test_lbfgs_says_that_it_ended_at_a_limit():
    with pytest.warns(
        ConvergenceWarning, match=r"lbfgs failed to converge after 2 .*status=1.*max_iter=2"
    ):
        MLPClassifier(solver="lbfgs", max_iter=2, **SMALL).fit(X, Y)


def test_lbfgs_goes_on_with_warm_start():
    options = {"solver": "lbfgs", "warm_start": True, **SMALL}
    classifier = MLPClassifier(max_iter=5, **options).fit(X, Y)
    before = classifier.loss_
    assert classifier.fit(X, Y).loss_ < before


def test_lbfgs_takes_no_rows_aside():
    losses = {
        MLPClassifier(solver="lbfgs", early_stopping=stopping, **SMALL).fit(X, Y).loss_
        for stopping in (False, True)
    }
    assert len(losses) == 1


@each_estimator
def test_there_is_no_partial_fit_with_lbfgs(Estimator):
    assert hasattr(Estimator(), "partial_fit")
    assert not hasattr(Estimator(solver="lbfgs"), "partial_fit")


def test_solvers_may_take_turns():
    classifier = MLPClassifier(warm_start=True, max_iter=5, **SMALL).fit(X, Y)
    classifier.set_params(solver="lbfgs").fit(X, Y)
    assert not hasattr(classifier, "loss_curve_")
    classifier.set_params(solver="adam").fit(X, Y)
    assert len(classifier.loss_curve_) == 5
    classifier.partial_fit(X, Y)
    classifier.set_params(solver="lbfgs").fit(X, Y)
    classifier.set_params(solver="adam").partial_fit(X, Y)
    assert len(classifier.loss_curve_) == 1
    classifier = MLPClassifier(solver="lbfgs", **SMALL).fit(X, Y)
    classifier.set_params(solver="sgd", learning_rate="invscaling").partial_fit(X, Y)
    assert len(classifier.loss_curve_) == 1


@pytest.mark.parametrize("solver", ["lbfgs", "adam"])
@each_estimator
def test_there_may_be_no_hidden_layer(Estimator, solver):
    estimator = Estimator(hidden_layer_sizes=(), solver=solver, max_iter=3)
    assert estimator.fit(X, Y).n_layers_ == 2


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_lbfgs_keeps_the_dtype_of_the_data(dtype):
    classifier = MLPClassifier(solver="lbfgs", **SMALL).fit(X.astype(dtype), Y)
    assert classifier.coefs_[0].dtype == dtype
    assert classifier.score(X.astype(dtype), Y) > 0.97


@each_backend
def test_lbfgs_that_cannot_start_says_why(backend):
    with pytest.raises(ValueError, match=r"non-finite parameter weights.* no longer finite|loss"):
        MLPRegressor(solver="lbfgs", activation="identity", backend=backend).fit(X * 1e300, Y)


def test_lbfgs_prints_a_line_an_iteration(capsys):
    MLPClassifier(solver="lbfgs", max_iter=3, verbose=True, **SMALL).fit(X, Y)
    assert capsys.readouterr().out.count("Iteration") == 3


def test_weights_of_classes_are_those_of_rows_with_lbfgs():
    options = {"solver": "lbfgs", "max_iter": 20, "alpha": 0.1, **SMALL}
    one = MLPClassifier(class_weight={0: 3.0}, **options).fit(X, Y)
    two = MLPClassifier(**options).fit(X, Y, np.where(Y == 0, 3.0, 1.0))
    assert one.loss_ == two.loss_
