"""The estimators in scikit-learn: its checks, and what they add to it."""

from __future__ import annotations

import _thread
import copy
import pickle
import subprocess
import sys
import time

import numpy as np
import pytest
from cases import BACKENDS

pytest.importorskip("sklearn")

from sklearn import neural_network
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    RandomizedSearchCV,
    StratifiedKFold,
    cross_validate,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import compute_sample_weight
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastnn import Network, optimizers
from fastnn.augment import Noise
from fastnn.estimators import MLPClassifier, MLPRegressor
from fastnn.losses import Quantile
from fastnn.training.rows import stratified

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
each_backend = pytest.mark.parametrize("backend", BACKENDS)
each_estimator = pytest.mark.parametrize("Estimator", [MLPClassifier, MLPRegressor])
X_IRIS, Y_IRIS = load_iris(return_X_y=True)


THEIRS = parametrize_with_checks([MLPClassifier(), MLPRegressor(), MLPClassifier(backend="numpy")])


@pytest.mark.parametrize(THEIRS.args[0], list(THEIRS.args[1]), **THEIRS.kwargs)
@pytest.mark.filterwarnings("ignore")  # theirs are about the data that they pass
def test_scikit_learns_checks_pass(estimator, check):
    check(estimator)


# What they are: thin fronts of Network


@each_backend
def test_the_classifier_is_the_network_it_stands_for(backend):
    classifier = MLPClassifier(
        (7,),
        ["tanh"],
        solver=optimizers.RMSprop(decay=0.8),
        alpha=0.32,
        batch_size=32,
        learning_rate="cosine",
        learning_rate_init=0.01,
        max_iter=5,
        random_state=3,
        init="glorot",
        dropout=0.1,
        label_smoothing=0.05,
        l1=1e-4,
        max_norm=2,
        clip_norm=1,
        backend=backend,
        threads=1,
        tol=0,
    ).fit(X_IRIS, Y_IRIS)
    seed = np.random.RandomState(3).randint(np.iinfo(np.int32).max)
    net = Network([4, 7, 3], "tanh", seed=seed, dtype="float64", backend=backend)
    penalties = []
    history = net.train(
        X_IRIS, Y_IRIS, 5, 32, 0.01, 0.01,
        callbacks=[lambda _: penalties.append(0.01 / 2 * sum((w**2).sum() for w in net.weights))],
        schedule="cosine", dropout=0.1, label_smoothing=0.05,
        l1=1e-4, max_norm=2, clip_norm=1, optimizer=optimizers.RMSprop(decay=0.8),
    )  # fmt: skip
    assert np.array_equal(classifier.predict_proba(X_IRIS), net.predict_proba(X_IRIS))
    # Before the first of the five steps, and four fifths of the way to the next epoch, at the last.
    penalty = penalties[-2] + (penalties[-1] - penalties[-2]) * (0 + 4 / 5) / 2
    assert classifier.loss_curve_[-1] == pytest.approx(history["loss"][-1] + penalty)
    assert classifier.network_.threads == 1


@each_backend
@pytest.mark.parametrize("outputs", [1, 3])
def test_an_l1_penalty_is_one_on_half_of_the_squared_error(backend, outputs):
    y = np.stack([Y_IRIS, 2.0 - Y_IRIS, X_IRIS[:, 0]], axis=1)[:, :outputs]
    regressor = MLPRegressor(
        hidden_layer_sizes=7,
        init="glorot",
        alpha=0,
        l1=0.1,
        batch_size=50,
        max_iter=3,
        random_state=3,
        backend=backend,
    ).fit(X_IRIS, y[:, 0] if outputs == 1 else y)
    seed = np.random.RandomState(3).randint(np.iinfo(np.int32).max)
    net = Network([4, 7, outputs], "relu", "identity", seed=seed, dtype="float64", backend=backend)
    # The network's loss is the mean over the outputs, and not halved: 2 / outputs times theirs.
    options = {"schedule": "constant", "optimizer": "adam", "l1": 0.1 * 2 / outputs}
    net.train(X_IRIS, y, 3, 50, 0.001, **options)
    np.testing.assert_allclose(regressor.coefs_[0], net.weights[0], rtol=1e-9)  # rounding of l1


@each_backend
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize(
    "options",
    [
        {"solver": "adam", "epsilon": 1e-15},  # theirs adds it before the correction of the mean
        {"solver": "sgd"},
        {"solver": "sgd", "nesterovs_momentum": False},
        {"solver": "sgd", "momentum": 0, "learning_rate": "invscaling"},
        {"solver": "sgd", "momentum": 0.9, "learning_rate": "invscaling"},
        {"solver": "sgd", "nesterovs_momentum": False, "learning_rate": "invscaling"},
        {"solver": "sgd", "momentum": 0, "learning_rate": "adaptive", "n_iter_no_change": 2},
        {"solver": "sgd", "momentum": 0.9, "learning_rate": "adaptive", "n_iter_no_change": 2},
        {"solver": "lbfgs"},
    ],
)
@pytest.mark.parametrize("kind", ["squared_error", "log_loss", "poisson"])
def test_steps_of_the_whole_batch_are_those_of_scikit_learn(backend, outputs, options, kind):
    if options["solver"] == "lbfgs" and kind == "squared_error" and outputs > 1:
        pytest.skip("in scikit-learn the gradient is not that of the loss")
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 5)), rng.normal(size=(40, outputs))
    Ours, Theirs = MLPRegressor, neural_network.MLPRegressor
    if kind == "log_loss":
        Ours, Theirs = MLPClassifier, neural_network.MLPClassifier
        y = y[:, 0] > 0 if outputs == 1 else y.argmax(axis=1)
    else:
        options = {"loss": kind, **options}
        y = y[:, 0] if outputs == 1 else y
    if kind == "poisson":
        y = np.floor(np.exp(y))
    weights = rng.uniform(0.5, 2, 40)
    options = {
        "hidden_layer_sizes": (6, 4), "activation": "tanh", "alpha": 0.5, "tol": 0.005,
        "random_state": 0,
        "max_iter": 12, "learning_rate_init": 0.05, **options,
    }  # fmt: skip
    theirs = Theirs(**options, warm_start=True).fit(X, y, weights)
    start = iter([coefs.copy() for coefs in theirs.coefs_])
    ours = Ours(**options, init=lambda *_: next(start), backend=backend).fit(X, y, weights)
    for intercepts in theirs.intercepts_:
        intercepts[...] = 0
    theirs.t_, theirs.best_loss_, theirs._no_improvement_count = 0, np.inf, 0
    theirs.loss_curve_ = []
    theirs.fit(X, y, weights)
    assert ours.n_iter_ == theirs.n_iter_
    if options["solver"] != "lbfgs":
        np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-9)  # rounding
    assert ours.loss_ == pytest.approx(theirs.loss_, rel=1e-9)
    ours, theirs = ([*each.coefs_, *each.intercepts_] for each in (ours, theirs))
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-7, atol=1e-9)  # rounding, carried on


@each_backend
@each_estimator
def test_partial_fit_goes_on_where_it_stopped(Estimator, backend):
    options = {"random_state": 0, "hidden_layer_sizes": 5, "backend": backend, "tol": 0}
    whole = Estimator(max_iter=4, **options).fit(X_IRIS, Y_IRIS)
    parts = Estimator(**options)
    for _ in range(4):
        parts.partial_fit(X_IRIS, Y_IRIS, **CLASSES[Estimator])
    assert parts.loss_curve_ == whole.loss_curve_
    assert np.array_equal(parts.predict(X_IRIS), whole.predict(X_IRIS))


CLASSES = {MLPClassifier: {"classes": [0, 1, 2]}, MLPRegressor: {}}


def test_sgd_lowers_its_rate_as_scikit_learn_says():
    options = {"solver": "sgd", "batch_size": 50, "random_state": 0, "tol": 1e9}
    classifier = MLPClassifier(learning_rate="adaptive", n_iter_no_change=1, **options)
    classifier.fit(X_IRIS, Y_IRIS)
    # The first epoch is always better, then every third one (two waited for) divides by five,
    # until the rate is at most a millionth: five times from a thousandth.
    assert classifier.n_iter_ == 1 + 2 * 6
    rates = []
    classifier = MLPClassifier(learning_rate="invscaling", power_t=0.25, max_iter=3, **options)
    classifier.verbose = True
    net_train = Network.train

    def spy(net, *arguments, callbacks, **keywords):
        callbacks = [*callbacks, lambda row: rates.append(row["learning_rate"])]
        return net_train(net, *arguments, callbacks=callbacks, **keywords)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Network, "train", spy)
        classifier.fit(X_IRIS, Y_IRIS)
    assert rates == pytest.approx([0.001, 0.001 / 151**0.25, 0.001 / 301**0.25])


# Data


def test_labels_may_be_strings():
    names = np.array(["setosa", "versicolor", "virginica"])
    classifier = MLPClassifier(learning_rate_init=0.02, random_state=0).fit(X_IRIS, names[Y_IRIS])
    assert list(classifier.classes_) == list(names)
    assert classifier.score(X_IRIS, names[Y_IRIS]) > 0.95
    assert set(classifier.predict(X_IRIS)) == set(names)


def test_two_classes_have_two_probabilities():
    X, y = X_IRIS[:100], np.array(["b", "a"])[Y_IRIS[:100]]
    classifier = MLPClassifier(learning_rate_init=0.02, random_state=0).fit(X, y)
    probabilities = classifier.predict_proba(X)
    assert probabilities.shape == (100, 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert (classifier.classes_[probabilities.argmax(axis=1)] == y).all()
    np.testing.assert_allclose(np.exp(classifier.predict_log_proba(X)), probabilities)
    assert classifier.n_outputs_ == 1


def test_rows_may_have_several_labels():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 4))
    Y = (X[:, :3] > 0).astype(int)
    classifier = MLPClassifier(learning_rate_init=0.02, random_state=0).fit(X, Y)
    assert classifier.predict(X).shape == Y.shape
    assert classifier.score(X, Y) > 0.9
    assert not np.allclose(classifier.predict_proba(X).sum(axis=1), 1)
    MLPClassifier(early_stopping=True, random_state=0).fit(X, Y)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_plain_arrays_are_predicted_without_scikit_learns_checks(dtype, monkeypatch):
    X, y = load_iris(return_X_y=True)
    X = X.astype(dtype)
    fitted = MLPClassifier((5,), max_iter=5, random_state=0).fit(X, y)
    expected = fitted.predict_proba(X.tolist() if dtype == "float64" else np.ma.array(X))

    def refused(*_, **__):
        raise AssertionError("the checks were made")

    monkeypatch.setattr("fastnn.estimators.base.validate_data", refused)
    assert fitted.predict_proba(X).tolist() == expected.tolist()
    with pytest.raises(AssertionError):
        fitted.predict(X.tolist())


def test_plain_arrays_that_scikit_learn_refuses_are_refused_in_its_words():
    X, y = load_iris(return_X_y=True)
    fitted = MLPClassifier((5,), max_iter=5, random_state=0).fit(X, y)
    for wrong, message in (
        (np.full_like(X, np.nan), "Input X contains NaN"),
        (np.full_like(X, -np.inf), "contains infinity"),
        (X[:, :3], "X has 3 features, but MLPClassifier is expecting 4 features"),
        (X[:0], "minimum of 1 is required"),
        (X[0], "Expected 2D array, got 1D array"),
    ):
        with pytest.raises(ValueError, match=message):
            fitted.predict(wrong)


def test_a_single_class_is_always_predicted():
    classifier = MLPClassifier(max_iter=3).fit(X_IRIS, ["only"] * 150)
    assert set(classifier.predict(X_IRIS)) == {"only"}
    assert classifier.predict_proba(X_IRIS).tolist() == [[1.0]] * 150


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@each_estimator
def test_the_network_has_the_dtype_of_the_data(Estimator, dtype):
    estimator = Estimator(max_iter=2).fit(X_IRIS.astype(dtype), Y_IRIS)
    assert estimator.network_.architecture.dtype == dtype
    assert all(coefs.dtype == dtype for coefs in estimator.coefs_)


@each_estimator
def test_bytes_are_numbers_and_not_pixels(Estimator):
    both = np.round(X_IRIS * 10), np.round(X_IRIS * 10).astype(np.uint8)
    fits = [Estimator(max_iter=3, random_state=0).fit(X, Y_IRIS) for X in both]
    assert fits[0].loss_curve_ == fits[1].loss_curve_


def test_a_data_frame_keeps_the_names_of_its_columns():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X_IRIS, columns=list("abcd"))
    classifier = MLPClassifier(max_iter=3).fit(frame, pandas.Series(Y_IRIS))
    assert list(classifier.feature_names_in_) == list("abcd")
    with pytest.raises(ValueError, match="feature names"):
        classifier.predict(frame[list("dcba")])


@each_estimator
def test_sparse_data_give_what_dense_data_give(Estimator):
    sparse = pytest.importorskip("scipy.sparse")
    X = np.where(X_IRIS > 2, X_IRIS, 0)
    dense = Estimator(max_iter=3, random_state=0).fit(X, Y_IRIS)
    for kind in (sparse.csr_array, sparse.csc_matrix):
        other = Estimator(max_iter=3, random_state=0).fit(kind(X), Y_IRIS)
        assert np.allclose(other.predict(kind(X)), dense.predict(X), rtol=0, atol=1e-12)


@pytest.mark.parametrize("weights", ["balanced", {"a": 3.0, "b": 0.5}])
def test_weights_of_classes_are_weights_of_their_rows(weights):
    y = np.array(list("abc"))[np.minimum(np.arange(150) // 20, 2)]
    of_rows = compute_sample_weight(weights, y)
    options = {"max_iter": 4, "random_state": 0, "alpha": 0}  # divided by the sum of weights
    one = MLPClassifier(class_weight=weights, **options).fit(X_IRIS, y)
    two = MLPClassifier(**options).fit(X_IRIS, y, of_rows)
    three = MLPClassifier(class_weight=weights, **options).fit(X_IRIS, y, np.full(150, 2.0))
    for other in (two, three):
        np.testing.assert_allclose(one.loss_curve_, other.loss_curve_, rtol=1e-9)  # rounding


def test_weights_of_classes_are_multiplied_with_those_of_rows():
    own, options = np.linspace(0.5, 2, 150), {"max_iter": 4, "random_state": 0}
    of_classes = {0: 3.0, 1: 0.5, 2: 1.0}
    one = MLPClassifier(class_weight=of_classes, **options).fit(X_IRIS, Y_IRIS, own)
    product = own * np.array([3.0, 0.5, 1.0])[Y_IRIS]
    two = MLPClassifier(**options).fit(X_IRIS, Y_IRIS, product)
    assert one.loss_curve_ == two.loss_curve_


# Life of an estimator


@each_estimator
def test_pickled_clones_and_copies_go_on(Estimator):
    estimator = Estimator(
        solver=optimizers.AdamW(weight_decay=0.1), max_iter=3, random_state=0, warm_start=True
    ).fit(X_IRIS, Y_IRIS)
    others = [pickle.loads(pickle.dumps(estimator)), copy.deepcopy(estimator)]
    for other in (estimator, *others):
        other.fit(X_IRIS, Y_IRIS)
    assert others[0].loss_curve_ == others[1].loss_curve_ == estimator.loss_curve_
    assert len(estimator.loss_curve_) == 6
    assert clone(estimator).get_params() == estimator.get_params()
    assert not hasattr(clone(estimator), "network_")


@each_backend
def test_early_stopping_keeps_the_best_epoch(backend):
    classifier = MLPClassifier(
        early_stopping=True, learning_rate_init=0.05, random_state=1, backend=backend, tol=0,
        n_iter_no_change=5, max_iter=60,
    ).fit(X_IRIS, Y_IRIS)  # fmt: skip
    scores = classifier.validation_scores_
    assert len(scores) == classifier.n_iter_ == len(classifier.loss_curve_)
    assert classifier.best_validation_score_ == max(scores)
    _, aside = stratified(0.1, 150, Y_IRIS, classifier.network_.seed)
    assert classifier.score(X_IRIS[aside], Y_IRIS[aside]) == max(scores)


@each_backend
def test_a_worse_fit_that_goes_on_keeps_the_best_epoch_of_the_last_one(backend):
    classifier = MLPClassifier(
        early_stopping=True, learning_rate_init=0.05, random_state=1, backend=backend,
        warm_start=True, max_iter=30,
    ).fit(X_IRIS, Y_IRIS)  # fmt: skip
    best, coefs = classifier.best_validation_score_, np.array(classifier.coefs_[0])
    classifier.set_params(learning_rate_init=1.0, max_iter=2).fit(X_IRIS, Y_IRIS)
    assert max(classifier.validation_scores_[-2:]) <= best
    assert np.array_equal(classifier.coefs_[0], coefs)


def test_an_equal_score_is_no_worse_without_a_tolerance():
    options = {"early_stopping": True, "tol": 0, "n_iter_no_change": 2, "max_iter": 9}
    options |= {"learning_rate_init": 1e-12, "random_state": 0}
    for Estimator in (MLPClassifier, neural_network.MLPClassifier):
        assert Estimator(**options).fit(X_IRIS, Y_IRIS).n_iter_ == 9


@pytest.mark.parametrize("labels", [np.arange(30) % 4, np.maximum(np.arange(30) - 27, 0)])
def test_early_stopping_takes_few_rows_of_many_classes(labels):
    X = np.random.default_rng(0).normal(size=(30, 2))
    for weights in (None, np.arange(30) + 1.0):
        classifier = MLPClassifier(early_stopping=True, random_state=0, max_iter=3)
        classifier.fit(X, labels, weights)
        assert len(classifier.validation_scores_) == 3


def test_early_stopping_needs_two_rows_to_set_aside():
    X = np.random.default_rng(0).normal(size=(10, 2))
    with pytest.raises(ValueError, match=r"The validation set is too small.* got 10 rows and 0.1"):
        MLPClassifier(early_stopping=True).fit(X, np.arange(10) % 2)


def test_verbose_prints_a_line_an_epoch(capsys):
    MLPRegressor(max_iter=3, verbose=True, early_stopping=True).fit(X_IRIS, Y_IRIS)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert all("loss = " in line and "validation score = " in line for line in lines)


def test_a_run_that_has_not_converged_warns():
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(2\)"):
        MLPClassifier(max_iter=2).fit(X_IRIS, Y_IRIS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"solver": "lbfgs", "l1": 0.1}, "l1 needs a stochastic solver"),
        ({"solver": "lbfgs", "dropout": 0.1}, "dropout needs a stochastic solver"),
        ({"solver": "lbfgs", "max_norm": 1}, "max_norm needs a stochastic solver"),
        ({"solver": "lbfgs", "max_fun": 0}, "max_fun must be at least 1"),
        ({"solver": "sdg"}, "solver must be one of"),
        ({"activation": "rleu"}, "activation"),
        ({"activation": ["relu", "tanh"]}, "activation must be one name, or one for each of the 1"),
        ({"hidden_layer_sizes": (5, 0)}, r"hidden_layer_sizes\[1\] must be at least 1"),
        ({"alpha": -1}, "alpha must be"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"batch_size": "all"}, "batch_size must be one of auto"),
        ({"learning_rate": "falling"}, "learning_rate must be one of"),
        ({"learning_rate_init": 0}, "learning_rate_init must be"),
        ({"max_iter": 0}, "max_iter must be at least 1"),
        ({"tol": -1}, "tol must be"),
        ({"n_iter_no_change": 0}, "n_iter_no_change must be"),
        ({"validation_fraction": 1.5, "early_stopping": True}, "validation_fraction must be"),
        ({"dropout": 2}, "dropout must be"),
        ({"loss": "hinge"}, "loss must be one of"),
        ({"l1": -1}, "l1 must be"),
        ({"backend": "torch"}, "backend must be one of"),
        ({"momentum": 2, "solver": "sgd"}, "momentum must be"),
        ({"beta_1": 2}, "beta1 must be"),
    ],
)
@each_estimator
def test_a_bad_parameter_is_named(Estimator, options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        Estimator(**options).fit(X_IRIS, Y_IRIS)


def test_a_column_of_numbers_is_a_vector_and_warned_of():
    with pytest.warns(DataConversionWarning, match="A column-vector y was passed"):
        column = MLPRegressor(max_iter=2, random_state=0).fit(X_IRIS, X_IRIS[:, :1])
    vector = MLPRegressor(max_iter=2, random_state=0).fit(X_IRIS, X_IRIS[:, 0])
    assert np.array_equal(column.predict(X_IRIS), vector.predict(X_IRIS))


def test_data_of_other_classes_are_refused():
    classifier = MLPClassifier(max_iter=2).partial_fit(X_IRIS, Y_IRIS, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="classes not in"):
        classifier.partial_fit(X_IRIS, Y_IRIS + 1)
    with pytest.raises(ValueError, match="not the same as on last call"):
        classifier.partial_fit(X_IRIS, Y_IRIS, classes=[0, 1])
    with pytest.raises(ValueError, match="classes must be passed"):
        MLPClassifier().partial_fit(X_IRIS, Y_IRIS)
    with pytest.raises(ValueError, match="Unknown label type"):
        MLPClassifier().fit(X_IRIS, X_IRIS[:, 0])


def test_another_hidden_layer_needs_another_start():
    classifier = MLPClassifier(5, max_iter=2, warm_start=True).fit(X_IRIS, Y_IRIS)
    with pytest.raises(ValueError, match="training continues with a network of sizes"):
        classifier.set_params(hidden_layer_sizes=6).fit(X_IRIS, Y_IRIS)


@each_estimator
def test_divergence_is_an_error_that_says_what_to_try(Estimator):
    with pytest.raises(ValueError, match=r"non-finite parameter weights.* Try a lower"):
        Estimator(activation="identity", solver="sgd", learning_rate_init=1e30).fit(X_IRIS, Y_IRIS)


# In scikit-learn's company


def test_searches_and_cross_validation_work():
    pipeline = make_pipeline(StandardScaler(), MLPClassifier(8, random_state=0, max_iter=30))
    grid = {"mlpclassifier__alpha": [1e-4, 1.0], "mlpclassifier__learning_rate_init": [0.02, 1e-6]}
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    search = GridSearchCV(pipeline, grid, cv=folds, n_jobs=2).fit(X_IRIS, Y_IRIS)
    assert search.best_params_["mlpclassifier__learning_rate_init"] == 0.02
    assert search.best_score_ > 0.9
    some = RandomizedSearchCV(pipeline, grid, n_iter=2, cv=3, random_state=0)
    assert len(some.fit(X_IRIS, Y_IRIS).cv_results_["params"]) == 2
    scores = cross_validate(pipeline, X_IRIS, Y_IRIS, cv=folds, scoring=("accuracy", "f1_macro"))
    assert scores["test_f1_macro"].shape == (3,)
    halving = HalvingGridSearchCV(pipeline, grid, cv=3, random_state=0, min_resources=60)
    assert halving.fit(X_IRIS, Y_IRIS).best_params_["mlpclassifier__learning_rate_init"] == 0.02


def test_regression_is_as_good_as_scikit_learns():
    X, y = load_diabetes(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    options = {"hidden_layer_sizes": 20, "learning_rate_init": 0.01, "max_iter": 150}
    scores = [
        np.mean(
            [
                cross_validate(kind(random_state=seed, **options), X, y, cv=5)["test_score"]
                for seed in range(5)
            ]
        )
        for kind in (MLPRegressor, neural_network.MLPRegressor)
    ]
    assert scores[0] > scores[1] - 0.04  # two standard deviations of the difference


def test_without_scikit_learn_the_error_says_what_to_install():
    code = "import sys; sys.modules['sklearn'] = None; import fastnn.estimators"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install 'fastnn-cpu[sklearn]'" in done.stderr


@pytest.mark.parametrize("levels", [(0.5,), (0.1, 0.5, 0.9)])
def test_a_regressor_predicts_quantiles(levels):
    X = np.random.default_rng(0).uniform(-1, 1, (200, 2))
    y = X[:, 0] + X[:, 1]
    loss = Quantile(levels)
    options = {"random_state": 0, "learning_rate_init": 0.01, "early_stopping": True}
    regressor = clone(MLPRegressor(loss=loss, **options)).fit(X, y)
    found = regressor.predict(X)
    assert found.shape == ((200,) if len(levels) == 1 else (200, 3))
    assert regressor.network_.architecture.loss == loss
    assert (np.diff(found.reshape(200, -1), axis=1) >= 0).all()


def test_a_classifier_takes_the_focal_loss():
    X = np.random.default_rng(0).uniform(-1, 1, (200, 2))
    y = X.sum(axis=1) > 0
    classifier = MLPClassifier(loss="focal", random_state=0, learning_rate_init=0.01).fit(X, y)
    assert classifier.score(X, y) > 0.9


# Several members


DIABETES = load_diabetes(return_X_y=True)


def several(Estimator, **options):
    """Return a fitted estimator with three members, and the data."""
    X, y = (X_IRIS, Y_IRIS) if Estimator is MLPClassifier else DIABETES
    options = {"max_iter": 5, "random_state": 3, "hidden_layer_sizes": (6,), **options}
    return Estimator(n_members=3, **options).fit(X, y), X, y


@each_estimator
def test_predictions_of_several_members_are_the_mean_of_theirs(Estimator):
    estimator, X, _ = several(Estimator)
    method = "predict_proba" if Estimator is MLPClassifier else "predict"
    each = [getattr(member, method)(X) for member in estimator.estimators_]
    np.testing.assert_allclose(getattr(estimator, method)(X), np.mean(each, axis=0), rtol=1e-6)
    if Estimator is MLPClassifier:
        best = estimator.classes_[estimator.predict_proba(X).argmax(axis=1)]
        assert (estimator.predict(X) == best).all()
    assert [member.network_ for member in estimator.estimators_] == list(estimator.committee_)


@each_estimator
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"early_stopping": True, "n_iter_no_change": 2, "max_iter": 30},
        {"solver": "sgd", "learning_rate": "adaptive", "tol": 1.0, "max_iter": 40},
        {"solver": "lbfgs"},
        {"backend": "numpy", "dropout": 0.2},
        {"augment": Noise(0.1)},
    ],
)
def test_each_member_is_what_it_would_be_alone(Estimator, options):
    estimator, X, y = several(Estimator, **options)
    for member in estimator.estimators_:
        alone = clone(member).fit(X, y)
        assert alone.n_members == 1
        assert alone.network_.parameters.tobytes() == member.network_.parameters.tobytes()
        assert alone.n_iter_ == member.n_iter_
        if "solver" not in options:
            assert alone.loss_curve_ == member.loss_curve_
    assert estimator.n_iter_ == max(member.n_iter_ for member in estimator.estimators_)


@each_estimator
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_a_warm_start_goes_on_with_each_member(Estimator, solver):
    estimator, X, y = several(Estimator, warm_start=True, solver=solver)
    members = [copy.deepcopy(member) for member in estimator.estimators_]
    estimator.set_params(max_iter=7).fit(X, y)
    for member, alone in zip(estimator.estimators_, members, strict=True):
        alone.set_params(max_iter=7).fit(X, y)
        assert alone.network_.parameters.tobytes() == member.network_.parameters.tobytes()
    for count in (1, 4):
        with pytest.raises(ValueError, match=f"n_members is {count}, but training continues with"):
            estimator.set_params(n_members=count).fit(X, y)


@each_estimator
def test_partial_fit_trains_each_member(Estimator):
    X, y = (X_IRIS, Y_IRIS) if Estimator is MLPClassifier else DIABETES
    more = {"classes": [0, 1, 2]} if Estimator is MLPClassifier else {}
    estimator = Estimator((6,), random_state=0, n_members=2)
    if Estimator is MLPRegressor:
        estimator = Estimator(hidden_layer_sizes=(6,), random_state=0, n_members=2)
    members = None
    for first in range(0, 100, 20):
        rows = slice(first, first + 20)
        estimator.partial_fit(X[rows], y[rows], **more)
        members = members or [clone(member) for member in estimator.estimators_]
        for member, alone in zip(estimator.estimators_, members, strict=True):
            alone.partial_fit(X[rows], y[rows], **more)
            assert alone.network_.parameters.tobytes() == member.network_.parameters.tobytes()
    assert estimator.predict(X).shape == y.shape
    with pytest.raises(ValueError, match="n_members is 1, but training continues with 2"):
        estimator.set_params(n_members=1).partial_fit(X, y, **more)


@each_estimator
def test_what_is_of_a_single_network_says_where_it_is(Estimator):
    estimator, X, y = several(Estimator)
    assert not hasattr(estimator, "network_")
    for name in ("coefs_", "loss_curve_", "network_"):
        with pytest.raises(AttributeError, match=rf"each has its own: estimators_\[0\].{name}"):
            getattr(estimator, name)
    with pytest.raises(AttributeError, match=r"has no attribute 'coefs'$"):
        estimator.coefs  # noqa: B018
    assert estimator.n_layers_ == 3
    estimator.set_params(n_members=1).fit(X, y)
    assert not hasattr(estimator, "committee_")
    assert len(estimator.coefs_) == 2
    estimator.set_params(n_members=2).fit(X, y)
    assert not hasattr(estimator, "loss_curve_")


def test_several_labels_and_two_classes_have_members_too():
    labels = np.stack([Y_IRIS > 0, Y_IRIS > 1], axis=1).astype(int)
    classifier = MLPClassifier((5,), max_iter=3, n_members=2).fit(X_IRIS, labels)
    assert classifier.predict(X_IRIS).shape == labels.shape
    assert classifier.predict_proba(X_IRIS).shape == labels.shape
    names = np.where(Y_IRIS > 0, "b", "a")
    classifier = MLPClassifier((5,), max_iter=3, n_members=2).fit(X_IRIS, names)
    np.testing.assert_allclose(classifier.predict_proba(X_IRIS).sum(axis=1), 1)
    assert set(classifier.predict(X_IRIS)) <= {"a", "b"}


def test_members_that_have_not_converged_are_named_in_one_warning():
    with pytest.warns(
        ConvergenceWarning, match=r"^members 0, 1, 2: Stochastic.*\(5\) reached"
    ) as f:
        several(MLPClassifier)
    assert len(f) == 1


def test_lines_of_members_say_which(capsys):
    several(MLPClassifier, verbose=True)
    lines = capsys.readouterr().out.splitlines()
    assert sorted({line.split(":")[0] for line in lines}) == ["member 0", "member 1", "member 2"]
    assert len(lines) == 15


def test_divergence_of_a_member_is_an_error_that_names_it():
    with pytest.raises(ValueError, match=r"non-finite parameter weights.* member [012]: "):
        several(MLPRegressor, solver="sgd", learning_rate_init=1e30)


def test_ctrl_c_keeps_all_members_as_far_as_they_are():
    def interrupt(epochs):
        if epochs >= 2:
            _thread.interrupt_main()
            time.sleep(0.3)
        return 1.0

    with pytest.warns(UserWarning, match="Training interrupted by user"):
        estimator, X, _ = several(MLPClassifier, learning_rate=interrupt, max_iter=10**4)
    assert estimator.n_iter_ < 10**4
    assert estimator.predict(X).shape == (150,)


@each_estimator
def test_estimators_with_members_can_be_copied(Estimator):
    estimator, X, _ = several(Estimator)
    for other in (copy.deepcopy(estimator), pickle.loads(pickle.dumps(estimator))):
        assert (other.predict(X) == estimator.predict(X)).all()
    assert not hasattr(clone(estimator), "committee_")


@pytest.mark.parametrize(("count", "error"), [(0, ValueError), (2.5, TypeError), ("5", TypeError)])
def test_the_number_of_members_is_checked(count, error):
    with pytest.raises(error, match=r"^n_members must be "):
        MLPClassifier(n_members=count).fit(X_IRIS, Y_IRIS)


WITH_MEMBERS = parametrize_with_checks([MLPClassifier(n_members=2), MLPRegressor(n_members=2)])


@pytest.mark.long
@pytest.mark.parametrize(WITH_MEMBERS.args[0], list(WITH_MEMBERS.args[1]), **WITH_MEMBERS.kwargs)
@pytest.mark.filterwarnings("ignore")  # theirs are about the data that they pass
def test_scikit_learns_checks_pass_with_members(estimator, check):
    check(estimator)
