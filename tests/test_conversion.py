"""Networks of scikit-learn and PyTorch that become networks of fastnn, and the way back."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest
from cases import BACKENDS

import fastnn

pytest.importorskip("sklearn")

from sklearn import neural_network
from sklearn.base import BaseEstimator, clone
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)

from fastnn import estimators
from fastnn.losses import Quantile

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_iris(return_X_y=True)
LABELS = np.stack([Y > 0, X[:, 0] > 6, X[:, 1] > 3], axis=1).astype(int)
NUMBERS = np.stack([X[:, 0], 1e3 * X[:, 1]], axis=1)
QUICK = {"max_iter": 8, "random_state": 0}
ACTIVATIONS = ["identity", "logistic", "tanh", "relu"]
SCALERS = [
    StandardScaler(),
    StandardScaler(with_mean=False),
    StandardScaler(with_std=False),
    StandardScaler(with_mean=False, with_std=False),
    MinMaxScaler((-1, 3)),
    MaxAbsScaler(),
    RobustScaler(),
    RobustScaler(with_centering=False),
    RobustScaler(with_scaling=False),
]


def classifier(**options):
    return neural_network.MLPClassifier((7, 5), **{**QUICK, **options})


def regressor(**options):
    return neural_network.MLPRegressor(hidden_layer_sizes=(7,), **{**QUICK, **options})


def equal(ours, theirs, dtype="float64"):
    """Compare sums of a few numbers of order one, which may be added in another order."""
    assert ours.dtype == dtype
    tolerance = 100 * np.finfo(dtype).eps
    np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


# From scikit-learn


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_classes_are_predicted_as_in_scikit_learn(activation, dtype, backend):
    names = np.array(["setosa", "versicolor", "virginica"])
    x = X.astype(dtype)
    theirs = classifier(activation=activation).fit(x, names[Y])
    net = fastnn.from_sklearn(theirs)
    net.backend = backend
    equal(net.predict_proba(x), theirs.predict_proba(x), dtype)
    assert net.predict(x).tolist() == theirs.predict(x).tolist()
    assert net.classes == tuple(names)
    equal(net.predict_one(x[0]), theirs.predict_proba(x[:1])[0], dtype)


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ([3, 7], (3, 7)),
        (["no", "yes"], ("no", "yes")),
        (np.array(["no", "yes"], object), ("no", "yes")),
        ([False, True], (False, True)),
        ([-1.0, 1.0], (-1, 1)),
    ],
)
def test_of_two_classes_the_network_has_the_probability_of_the_second(labels, classes):
    y = np.asarray(labels)[(Y > 0).astype(int)]
    theirs = classifier().fit(X, y)
    net = fastnn.from_sklearn(theirs)
    equal(net.predict_proba(X)[:, 0], theirs.predict_proba(X)[:, 1])
    assert net.classes == classes
    assert [type(name) for name in net.classes] == [type(name) for name in classes]
    assert net.predict(X).tolist() == theirs.predict(X).tolist()


def test_several_labels_are_predicted_with_a_threshold():
    theirs = classifier().fit(X, LABELS)
    net = fastnn.from_sklearn(theirs)
    equal(net.predict_proba(X), theirs.predict_proba(X))
    assert (net.predict(X, threshold=0.5) == theirs.predict(X)).all()
    assert net.architecture.output == "sigmoid"
    assert net.classes is None


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
@pytest.mark.parametrize("columns", [1, 2])
def test_numbers_are_predicted_as_in_scikit_learn(activation, loss, columns):
    y = X[:, 0] if columns == 1 else X[:, :2]
    theirs = regressor(activation=activation, loss=loss).fit(X[:, 2:], y)
    net = fastnn.from_sklearn(theirs)
    equal(net.predict(X[:, 2:]), theirs.predict(X[:, 2:]).reshape(150, columns))
    assert net.architecture.loss == {"squared_error": "mse", "poisson": "poisson"}[loss]


def test_a_network_without_hidden_layers_is_read():
    theirs = neural_network.MLPClassifier((), **QUICK).fit(X, Y)
    equal(fastnn.from_sklearn(theirs).predict_proba(X), theirs.predict_proba(X))


@pytest.mark.parametrize("scaler", SCALERS, ids=str)
def test_scalers_of_a_pipeline_become_that_of_the_network(scaler):
    x = np.column_stack([X * [1, 10, 100, 0.1], np.full(150, 7.0)])  # the last is constant
    theirs = make_pipeline(scaler, classifier()).fit(x, Y)
    net = fastnn.from_sklearn(theirs)
    equal(net.predict_proba(x), theirs.predict_proba(x))
    shifts = not isinstance(scaler, MaxAbsScaler) and "=False" not in str(scaler)
    assert not shifts or net.input_scaler is not None


@pytest.mark.parametrize("scaler", [StandardScaler(with_mean=False), MaxAbsScaler()], ids=str)
def test_scalers_that_only_multiply_leave_rows_sparse(scaler):
    sparse = pytest.importorskip("scipy.sparse")
    rows = sparse.csr_array(np.where(X > 2, X + 1e6, 0))
    theirs = make_pipeline(scaler, classifier()).fit(rows, Y)
    net = fastnn.from_sklearn(theirs)
    equal(net.predict_proba(rows), theirs.predict_proba(rows))
    equal(net.predict_proba(rows.toarray()), theirs.predict_proba(rows))


def test_scalers_follow_each_other_and_steps_that_pass_through_are_left_out():
    inner = make_pipeline("passthrough", StandardScaler(), None)
    theirs = make_pipeline(MinMaxScaler((2, 5)), inner, RobustScaler(), classifier()).fit(X, Y)
    equal(fastnn.from_sklearn(theirs).predict_proba(X), theirs.predict_proba(X))


@pytest.mark.parametrize("scaler", [None, *SCALERS], ids=str)
@pytest.mark.parametrize("columns", [1, 2])
def test_transformed_targets_get_their_units_back(scaler, columns):
    y = NUMBERS[:, 1] if columns == 1 else NUMBERS
    theirs = TransformedTargetRegressor(
        make_pipeline(StandardScaler(), regressor()), transformer=scaler
    )
    theirs.fit(X, y)
    net = fastnn.from_sklearn(make_pipeline(MaxAbsScaler(), theirs).fit(X, y))
    expected = make_pipeline(MaxAbsScaler(), theirs).fit(X, y).predict(X)
    # Their differences are of numbers a thousand times as large, at most.
    np.testing.assert_allclose(net.predict(X), expected.reshape(150, columns), rtol=1e-11)
    np.testing.assert_allclose(net.predict_one(X[3]), expected[3], rtol=1e-11)


def test_targets_may_be_transformed_twice():
    inner = TransformedTargetRegressor(regressor(), transformer=MinMaxScaler((1, 3)))
    theirs = TransformedTargetRegressor(inner, transformer=StandardScaler()).fit(X, NUMBERS)
    expected = theirs.predict(X)
    np.testing.assert_allclose(fastnn.from_sklearn(theirs).predict(X), expected, rtol=1e-13)


@pytest.mark.parametrize("scaled", [False, True])
def test_names_of_columns_become_features(scaled):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=["length", "width", "c", "d"])
    theirs = make_pipeline(*[StandardScaler()] * scaled, classifier()).fit(frame, Y)
    net = fastnn.from_sklearn(theirs)
    assert net.features == ("length", "width", "c", "d")
    equal(net.predict_proba(frame[["d", "c", "width", "length"]]), theirs.predict_proba(frame))
    theirs[0].feature_names_in_ = np.array(list("aacd"), object)
    assert fastnn.from_sklearn(theirs).features is None  # as they tell no columns apart


def test_the_network_is_a_copy_that_can_be_trained_and_saved(tmp_path):
    theirs = make_pipeline(StandardScaler(), classifier()).fit(X, Y)
    before = theirs.predict_proba(X)
    net = fastnn.from_sklearn(theirs)
    scaler = net.input_scaler
    net.save(tmp_path / "net.safetensors")
    loss = net.evaluate(X, Y)["loss"]
    net.train(X, Y, epochs=5)
    assert net.evaluate(X, Y)["loss"] < loss
    assert net.input_scaler is scaler
    assert (theirs.predict_proba(X) == before).all()
    equal(fastnn.load(tmp_path / "net.safetensors").predict_proba(X), before)


def test_neither_library_is_imported():
    code = (
        "import sys, fastnn; fastnn.from_torch; assert not {'sklearn', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


class Doubling(StandardScaler):
    def transform(self, X, copy=None):
        return 2 * super().transform(X, copy)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            LogisticRegression(),
            r"^model is of the class LogisticRegression \(sklearn\); need a",
        ),
        (
            make_pipeline(StandardScaler(), PCA(2), classifier()),
            r"^model\['pca'\] is of the class PCA \(sklearn\); need .*StandardScaler, MinMaxScaler",
        ),
        (
            make_pipeline(ColumnTransformer([("a", StandardScaler(), [0])]), classifier()),
            r"^model\['columntransformer'\] is of the class ColumnTransformer \(sklearn\)",
        ),
        (
            make_pipeline(FunctionTransformer(np.sqrt), classifier()),
            r"^model\['functiontransformer'\] is of the class FunctionTransformer \(sklearn\)",
        ),
        (
            TransformedTargetRegressor(
                regressor(), transformer=QuantileTransformer(n_quantiles=10)
            ),
            r"^model.transformer_ is of the class QuantileTransformer ",
        ),
        (
            TransformedTargetRegressor(regressor(), func=np.log1p, inverse_func=np.expm1),
            r"^model.transformer_ is of the class FunctionTransformer \(sklearn\); need one of",
        ),
        (
            GridSearchCV(classifier(), {"alpha": [0.1]}, cv=2),
            r"^model is of the class GridSearchCV \(sklearn\); .* Try model.best_estimator_$",
        ),
        (
            estimators.MLPClassifier(**QUICK),
            r"^model is .* MLPClassifier \(fastnn\); .* It holds its network: model.network_$",
        ),
        (
            estimators.MLPClassifier(n_members=2, **QUICK),
            r"^model is .* It holds its committee: model.committee_$",
        ),
        (
            make_pipeline(Doubling(), classifier()),
            r"^model\['doubling'\] is of the class Doubling \(test_conversion\); need",
        ),
        (make_pipeline(StandardScaler(), "passthrough"), "^model has no network at its end; need"),
        (
            X,
            r"^model is of the class ndarray .numpy.; need a fitted MLPClassifier",
        ),
        (None, "^model is of the class NoneType"),
        (neural_network.MLPClassifier, "^model is the class MLPClassifier itself; need"),
    ],
)
def test_other_models_are_refused_by_name(model, message):
    if isinstance(model, BaseEstimator):
        model.fit(X, Y)
    with pytest.raises(TypeError, match=message):
        fastnn.from_sklearn(model)


@pytest.mark.parametrize(
    ("model", "place"),
    [
        (classifier(), "model"),
        (make_pipeline(StandardScaler(), classifier()), r"model\['standardscaler'\]"),
        (make_pipeline(StandardScaler().fit(X), classifier()), r"model\['mlpclassifier'\]"),
        (TransformedTargetRegressor(regressor()), "model"),
    ],
)
def test_what_is_not_fitted_is_refused_by_its_place(model, place):
    with pytest.raises(ValueError, match=f"^{place} is not fitted; call fit first$"):
        fastnn.from_sklearn(model)


def test_what_fastnn_cannot_compute_is_refused():
    counts = TransformedTargetRegressor(regressor(loss="poisson"), transformer=MaxAbsScaler())
    with pytest.raises(ValueError, match=r"^the targets are transformed, but the outputs are 'exp"):
        fastnn.from_sklearn(counts.fit(X, Y))
    clipped = make_pipeline(MinMaxScaler(clip=True), classifier()).fit(X, Y)
    with pytest.raises(ValueError, match=r"^model\['minmaxscaler'\] has clip=True"):
        fastnn.from_sklearn(clipped)
    with pytest.raises(ValueError, match=r"^model was fitted on a single class, 'a', which"):
        fastnn.from_sklearn(classifier().fit(X, ["a"] * 150))
    broken = classifier().fit(X, Y)
    broken.coefs_[1][0, 0] = np.nan
    with pytest.raises(ValueError, match=r"^layer 1 has weights that are not finite in float64"):
        fastnn.from_sklearn(broken)
    wide = make_pipeline(StandardScaler(), classifier()).fit(X, Y)
    wide[1].coefs_ = [weights.astype(np.float32) for weights in wide[1].coefs_]
    wide[0].scale_[1] = 1e39
    with pytest.raises(ValueError, match=r"^a scale or a mean is too large or too small for f"):
        fastnn.from_sklearn(wide)
    halves = classifier().fit(X, Y)
    halves.classes_ = np.array([0.5, 1.0, 2.0])
    with pytest.raises(TypeError, match=r"^classes_ holds 0.5; names of classes are"):
        fastnn.from_sklearn(halves)


@pytest.mark.parametrize(
    "more", [{"solver": "lbfgs"}, {"warm_start": True}, {"early_stopping": True}]
)
def test_networks_are_read_however_they_were_trained(more):
    theirs = classifier(**more).fit(X, Y).fit(X, Y)
    equal(fastnn.from_sklearn(theirs).predict_proba(X), theirs.predict_proba(X))
    if more == {"warm_start": True}:
        theirs.partial_fit(X[::25], Y[::25])
        equal(fastnn.from_sklearn(theirs).predict_proba(X), theirs.predict_proba(X))


# To scikit-learn


CASES = {
    "three classes": (estimators.MLPClassifier, {}, np.array(["a", "b", "c"])[Y]),
    "two classes": (estimators.MLPClassifier, {}, np.array([5, 9])[(Y > 0).astype(int)]),
    "truth": (estimators.MLPClassifier, {}, Y > 0),
    "one class": (estimators.MLPClassifier, {}, np.zeros(150, int)),
    "labels": (estimators.MLPClassifier, {}, LABELS),
    "two labels": (estimators.MLPClassifier, {}, LABELS[:, :2]),
    "numbers": (estimators.MLPRegressor, {}, NUMBERS[:, 0]),
    "two numbers": (estimators.MLPRegressor, {}, NUMBERS),
    "counts": (estimators.MLPRegressor, {"loss": "poisson"}, Y),
}


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("case", CASES)
def test_an_estimator_predicts_the_same_in_scikit_learn(case, solver):
    Estimator, options, y = CASES[case]
    x = (X - X.mean(axis=0)).astype("float32" if solver == "adam" else "float64")
    options = {**QUICK, **options, "hidden_layer_sizes": (6, 4), "solver": solver}
    ours = Estimator(**options).fit(x, y / 1e3 if case == "two numbers" else y)
    theirs = ours.to_sklearn()
    assert type(theirs) is getattr(neural_network, Estimator.__name__)
    assert theirs.score(x, y) == pytest.approx(ours.score(x, y))
    again = pickle.loads(pickle.dumps(theirs))
    assert (again.predict(x) == theirs.predict(x)).all()
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(theirs, name) == getattr(ours, name)
    assert theirs.loss_ == ours.loss_
    if Estimator is estimators.MLPRegressor:
        equal(theirs.predict(x), ours.predict(x), x.dtype)
    else:
        assert (theirs.predict(x) == ours.predict(x)).all()
        assert theirs.classes_.dtype == ours.classes_.dtype
        if case != "one class":  # of which scikit-learn has two columns
            equal(theirs.predict_proba(x), ours.predict_proba(x), x.dtype)
    if case != "one class":
        net = fastnn.from_sklearn(theirs)
        assert (net.parameters == ours.network_.parameters).all()


PARAMETERS = {
    "hidden_layer_sizes": [5], "activation": "tanh", "solver": "sgd", "alpha": 0.3,
    "batch_size": 32, "learning_rate": "adaptive", "learning_rate_init": 0.02, "power_t": 0.4,
    "max_iter": 3, "shuffle": False, "random_state": 4, "tol": 0.01, "momentum": 0.8,
    "nesterovs_momentum": False, "validation_fraction": 0.2, "beta_1": 0.8, "beta_2": 0.99,
    "epsilon": 1e-7, "n_iter_no_change": 4, "max_fun": 100, "early_stopping": True,
    "warm_start": True,
}  # fmt: skip


def test_parameters_are_those_of_the_estimator():
    theirs = estimators.MLPRegressor("poisson", **PARAMETERS).fit(X, Y).to_sklearn()
    found = theirs.get_params()
    assert {name: found[name] for name in PARAMETERS} == PARAMETERS
    assert found["loss"] == "poisson"
    assert clone(theirs).get_params() == found
    assert "activation='tanh'" in repr(theirs)


def test_what_only_training_needs_is_left_out():
    ours = estimators.MLPClassifier(
        (6,), ["relu"], solver="adamw", learning_rate="cosine", loss="focal", dropout=0.1, **QUICK
    ).fit(X, Y)
    theirs = ours.to_sklearn()
    equal(theirs.predict_proba(X), ours.predict_proba(X))
    assert theirs.get_params() == neural_network.MLPClassifier((6,), **QUICK).get_params()
    ours = estimators.MLPRegressor("huber", **QUICK).fit(X, Y)
    assert ours.to_sklearn().loss == "squared_error"
    equal(ours.to_sklearn().predict(X), ours.predict(X))


def test_training_goes_on_from_the_same_weights():
    options = {"hidden_layer_sizes": (6,), "solver": "sgd", "momentum": 0, "alpha": 0.1, **QUICK}
    ours = estimators.MLPClassifier(**options, batch_size=150).fit(X, Y)
    theirs = ours.to_sklearn()
    before = ours.coefs_[0].copy()
    for each in (ours, theirs):
        each.partial_fit(X, Y)
    np.testing.assert_allclose(theirs.coefs_[0], ours.coefs_[0], rtol=1e-9)
    np.testing.assert_allclose(theirs.loss_curve_, ours.loss_curve_, rtol=1e-9)
    assert (theirs.coefs_[0] != before).any()
    assert (theirs.t_, theirs.n_iter_) == (ours.t_, ours.n_iter_)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_a_warm_start_goes_on_in_scikit_learn(early_stopping):
    ours = estimators.MLPClassifier((6,), warm_start=True, early_stopping=early_stopping, **QUICK)
    theirs = ours.fit(X, Y).to_sklearn()
    epochs = len(theirs.loss_curve_)
    theirs.fit(X, Y)
    assert len(theirs.loss_curve_) > epochs
    assert len(ours.loss_curve_) == epochs


def test_the_arrays_are_copies():
    ours = estimators.MLPClassifier(**QUICK).fit(X, Y)
    theirs, before = ours.to_sklearn(), ours.predict_proba(X)
    theirs.coefs_[0][:] = 0
    theirs.intercepts_[0][:] = 0
    theirs.classes_[:] = 7
    assert (ours.predict_proba(X) == before).all()
    assert ours.classes_.tolist() == [0, 1, 2]


def test_names_of_columns_are_handed_over():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcd"))
    theirs = estimators.MLPClassifier(**QUICK).fit(frame, Y).to_sklearn()
    assert theirs.feature_names_in_.tolist() == list("abcd")
    theirs.predict(frame)
    with pytest.raises(ValueError, match="feature names"):
        theirs.predict(frame[list("dcba")])


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (
            estimators.MLPClassifier((5,), "gelu"),
            "^activation of hidden layer 0 is 'gelu'; scikit-learn's MLPClassifier has id",
        ),
        (
            estimators.MLPRegressor(hidden_layer_sizes=(5, 5), activation=["relu", "tanh"]),
            r"^activation is \['relu', 'tanh'\]; scikit-learn's MLPRegressor has one for all",
        ),
        (
            estimators.MLPClassifier(n_members=2),
            r"^n_members is 2, but .* single network; convert .* estimators_\[0\].to_sklearn\(\)$",
        ),
        (
            estimators.MLPRegressor(Quantile((0.1, 0.9))),
            "^loss has several quantiles, which are sorted; scikit-learn's MLPRegressor does not",
        ),
    ],
)
def test_what_scikit_learn_has_not_is_refused(estimator, message):
    estimator.set_params(max_iter=2).fit(X, Y)
    with pytest.raises(ValueError, match=message):
        estimator.to_sklearn()


def test_a_member_can_be_converted():
    ours = estimators.MLPClassifier(n_members=2, max_iter=2).fit(X, Y).estimators_[1]
    equal(ours.to_sklearn().predict_proba(X), ours.predict_proba(X))


def test_an_estimator_is_fitted_first():
    with pytest.raises(NotFittedError):
        estimators.MLPClassifier().to_sklearn()
