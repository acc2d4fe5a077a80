"""Bad input: an error of the right type that names the argument, what it got and what it needs."""

from __future__ import annotations

import re

import numpy as np
import pytest
from cases import BACKENDS, DTYPES

import fastnn
from fastnn import Network, optimizers, schedules

ROWS = 6


def network(**options):
    return Network([3, 5, 4], seed=1, backend="numpy", **options)


def good(**changes):
    """Return good arguments of train, with changes."""
    X = np.random.default_rng(0).uniform(-1, 1, (ROWS, 3))
    return {"X": X, "y": np.arange(ROWS) % 4, "epochs": 1, **changes}


def spoilt(value, row=2, column=1, dtype=np.float64):
    X = np.zeros((ROWS, 3), dtype)
    X[row, column] = value
    return X


def assert_names(error, parts):
    message = str(error.value)
    missing = [part for part in parts if part not in message]
    assert not missing, f"{message!r} does not say {missing}"


# The network

BAD_NETWORKS = {
    "sizes of one layer": ({"sizes": [3]}, ValueError, ["sizes", "[3]", "inputs and the outputs"]),
    "no sizes": ({"sizes": []}, ValueError, ["sizes", "[]"]),
    "a size of zero": ({"sizes": [3, 0, 4]}, ValueError, ["sizes[1]", "at least 1", "0"]),
    "a negative size": ({"sizes": [-3, 4]}, ValueError, ["sizes[0]", "at least 1", "-3"]),
    "a size that is a float": ({"sizes": [3, 5.0, 4]}, TypeError, ["sizes[1]", "integer", "5.0"]),
    "a size that is a bool": ({"sizes": [3, True]}, TypeError, ["sizes[1]", "integer", "True"]),
    "sizes in a string": ({"sizes": "784"}, TypeError, ["sizes", "list of integers", "'784'"]),
    "sizes that are a number": (
        {"sizes": 784},
        TypeError,
        ["sizes", "such as [784, 128, 10]", "got 784"],
    ),
    "an unknown activation": (
        {"activation": "softsign"},
        ValueError,
        ["activation", "'softsign'", "identity", "relu", "sigmoid", "tanh"],
    ),
    "an unknown activation in a list": (
        {"activation": ["softsign"]},
        ValueError,
        ["activation[0]", "'softsign'", "identity", "relu", "sigmoid", "tanh"],
    ),
    "softmax in a hidden layer": (
        {"activation": "softmax"},
        ValueError,
        ["activation", "'softmax'", "relu"],
    ),
    "too many activations": (
        {"activation": ["relu", "tanh"]},
        ValueError,
        ["activation", "1 hidden", "got 2"],
    ),
    "an activation that is a number": ({"activation": 3}, TypeError, ["activation", "3"]),
    "an activation that is None": ({"activation": None}, TypeError, ["activation", "None"]),
    "an unknown output": (
        {"output": "relu"},
        ValueError,
        ["output", "'relu'", "identity", "sigmoid", "softmax"],
    ),
    "an unknown loss": ({"loss": "log"}, ValueError, ["loss", "'log'", "cross_entropy", "mse"]),
    "identity with cross-entropy": (
        {"output": "identity", "loss": "cross_entropy"},
        ValueError,
        ["loss", "'identity'", "'cross_entropy'", "mse"],
    ),
    "softmax of one unit": (
        {"sizes": [3, 1], "output": "softmax"},
        ValueError,
        ["softmax", "single", "sigmoid"],
    ),
    "softmax with Poisson": (
        {"output": "softmax", "loss": "poisson"},
        ValueError,
        ["'poisson'", "rates of counts", "'exponential' or 'identity'", "'softmax'"],
    ),
    "standardised classes": (
        {"standardize_targets": True, "output": "softmax"},
        ValueError,
        ["standardize_targets", "'identity'", "'softmax'"],
    ),
    "an unknown init": (
        {"init": "zeros"},
        ValueError,
        ["init", "'zeros'", "glorot", "he", "normal", "uniform", "xavier"],
    ),
    "an init that is a number": ({"init": 3}, ValueError, ["init", "3", "glorot"]),
    "an init of another shape": (
        {"init": lambda rng, fan_in, fan_out: np.zeros((fan_out, fan_in))},
        ValueError,
        ["weights[0]", "(3, 5)", "(5, 3)"],
    ),
    "an unknown dtype": ({"dtype": "half"}, ValueError, ["dtype", "float32", "float64", "float16"]),
    "a dtype of integers": ({"dtype": int}, ValueError, ["dtype", "float32", "float64", "int64"]),
    "a dtype that is none": ({"dtype": "wide"}, ValueError, ["dtype", "'wide'", "float32"]),
    "no dtype": ({"dtype": None}, ValueError, ["dtype", "None", "float32"]),
    "an unknown backend": (
        {"backend": "torch"},
        ValueError,
        ["backend", "'torch'", "numba, numpy"],
    ),
    "no threads": ({"threads": 0}, ValueError, ["threads", "at least 1", "0"]),
    "threads that are a float": ({"threads": 2.0}, TypeError, ["threads", "integer", "2.0"]),
    "threads that are a bool": ({"threads": True}, TypeError, ["threads", "integer", "True"]),
    "a negative seed": ({"seed": -1}, ValueError, ["seed", "at least 0", "-1"]),
    "a seed that is a float": ({"seed": 1.5}, TypeError, ["seed", "integer", "1.5"]),
}


@pytest.mark.parametrize(("changes", "kind", "parts"), BAD_NETWORKS.values(), ids=BAD_NETWORKS)
def test_bad_network(changes, kind, parts):
    with pytest.raises(kind) as error:
        Network(**{"sizes": [3, 5, 4], **changes})
    assert_names(error, parts)


def test_weights_of_a_wrong_shape_are_refused_and_change_nothing():
    net = network()
    before = net.parameters.tobytes()
    with pytest.raises(ValueError, match=re.escape("weights[1] has shape (5, 4)")) as error:
        net.weights[1] = np.zeros((4, 5))
    assert_names(error, ["(4, 5)"])
    with pytest.raises(ValueError, match=re.escape("biases[0] has shape (5,)")):
        net.biases[0] = 0.0
    assert net.parameters.tobytes() == before


def test_weights_are_copied_when_assigned():
    net, array = network(), np.ones((5, 4))
    net.weights[1] = array
    array[:] = 2
    assert (net.weights[1] == 1).all()


@pytest.mark.parametrize("dtype", ["float32", "float64", np.float32, np.dtype("f8"), ">f4"])
def test_a_dtype_may_be_given_in_each_of_its_ways(dtype):
    net = network(dtype=dtype)
    assert net.parameters.dtype in (np.dtype("f4"), np.dtype("f8"))
    assert net.parameters.dtype.isnative


def test_sizes_may_be_numbers_of_numpy():
    assert Network(np.array([3, 5, 4])).architecture.sizes == (3, 5, 4)


# The data


def sparse():
    """Return what stands for a sparse matrix of SciPy, which need not be installed."""

    class csr_array:
        shape = (6, 3)

        def toarray(self):
            raise AssertionError

    return csr_array()


BAD_INPUTS = {
    "too many features": (np.zeros((6, 4)), ValueError, ["(rows, 3)", "3 inputs", "(6, 4)"]),
    "one dimension": (np.zeros(6), ValueError, ["(rows, 3)", "(6,)"]),
    "one row as a vector": (np.zeros(3), ValueError, ["(rows, 3)", "(3,)", "X[None, :]"]),
    "three dimensions": (np.zeros((6, 3, 2)), ValueError, ["(rows, 3)", "(6, 3, 2)"]),
    "a single number": (3.0, ValueError, ["array", "3.0"]),
    "no rows": (np.zeros((0, 3)), ValueError, ["empty", "(0, 3)"]),
    "no columns": (np.zeros((6, 0)), ValueError, ["empty", "(6, 0)"]),
    "an empty list": ([], ValueError, ["empty", "(0,)"]),
    "NaN": (spoilt(np.nan), ValueError, ["finite", "nan", "row 2", "column 1"]),
    "infinity": (spoilt(np.inf, 5, 0), ValueError, ["finite", "inf", "row 5", "column 0"]),
    "minus infinity": (spoilt(-np.inf), ValueError, ["finite", "-inf", "row 2", "column 1"]),
    "NaN in float32": (spoilt(np.nan, dtype=np.float32), ValueError, ["finite", "nan", "row 2"]),
    "NaN in float16": (spoilt(np.nan, dtype=np.float16), ValueError, ["finite", "nan", "row 2"]),
    "infinity and NaN": (
        spoilt(np.inf) + spoilt(np.nan, 4),
        ValueError,
        ["finite", "inf", "row 2", "column 1"],
    ),
    "objects": (spoilt("a", dtype=object), TypeError, ["numbers", "'a'", "row 2, column 1"]),
    "an object": (spoilt([], dtype=object), TypeError, ["numbers", "[], a list", "row 2"]),
    "strings": ([["a", "b", "c"]] * 6, TypeError, ["numbers", "'a'", "row 0, column 0"]),
    "complex numbers": (np.zeros((6, 3), complex), TypeError, ["numbers", "complex128"]),
    "dates": (np.zeros((6, 3), "datetime64[D]"), TypeError, ["numbers", "datetime64"]),
    "ragged lists": ([[1, 2, 3], [1, 2]], ValueError, ["rectangular", "numbers"]),
    "None": (None, TypeError, ["numbers", "None"]),
    "a set": ({1}, TypeError, ["numbers", "{1}"]),
    "a sparse matrix": (sparse(), TypeError, ["sparse", "csr_array", "toarray()"]),
    "numbers too large for float32": (spoilt(1e300), ValueError, ["1e+300", "float32", "row 2"]),
    "numbers too far below zero": (spoilt(-1e300), ValueError, ["-1e+300", "float32", "row 2"]),
}


@pytest.mark.parametrize("method", ["train", "evaluate", "loss_and_gradient", "predict"])
@pytest.mark.parametrize(("X", "kind", "parts"), BAD_INPUTS.values(), ids=BAD_INPUTS)
def test_bad_inputs(method, X, kind, parts):
    net = network()
    before = net.parameters.tobytes()
    with pytest.raises(kind) as error:
        getattr(net, method)(*[X, good()["y"]][: 1 if method == "predict" else 2])
    assert_names(error, ["X ", *parts])
    assert net.parameters.tobytes() == before


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_row_of_a_nan_is_right_beyond_the_first_block(monkeypatch, dtype):
    monkeypatch.setattr(fastnn.checks.data, "BLOCK", 10)
    X = np.zeros((ROWS, 3), dtype)
    X[4, 2] = np.nan
    with pytest.raises(ValueError, match="got nan in row 4, column 2"):
        network().predict(X)


def test_large_numbers_whose_sum_overflows_are_no_infinity():
    net = network(dtype="float64")
    net.weights[0] = np.zeros((3, 5))
    assert len(net.predict(np.full((ROWS, 3), 1e308))) == ROWS


BAD_TARGETS = {
    "too few": (np.zeros(5, int), ValueError, ["as many rows as X", "6", "5"]),
    "too many": (np.zeros((7, 4)), ValueError, ["as many rows as X", "6", "7"]),
    "none": ([], ValueError, ["empty"]),
    "a negative label": (np.array([0, 1, 2, 3, -1, 0]), ValueError, ["0 to 3", "-1", "4 outputs"]),
    "a label too large": (
        np.array([0, 1, 2, 3, 4, 0]),
        ValueError,
        ["0 to 3", "to 4", "4 outputs"],
    ),
    "labels from one": (np.array([1, 2, 3, 4, 1, 2]), ValueError, ["0 to 3", "from 1 to 4"]),
    "float labels": (np.full(6, 0.5), TypeError, ["integer", "0 to 3", "(6, 4)", "float64"]),
    "too many columns": (np.zeros((6, 5)), ValueError, ["(6,)", "(6, 4)", "(6, 5)"]),
    "three dimensions": (np.zeros((6, 4, 1)), ValueError, ["(6, 4)", "(6, 4, 1)"]),
    "a single number": (1, ValueError, ["array", "1"]),
    "NaN": (np.full((6, 4), np.nan), ValueError, ["finite", "nan", "row 0", "column 0"]),
    "objects": ([0, 1, [], 1, 2, 3], ValueError, ["rectangular"]),
    "a missing number": ([0, 1, None, 1, 2, 3], ValueError, ["nan in row 2"]),
    "None": (None, TypeError, ["numbers", "None"]),
    "rows that do not sum to one": (
        np.eye(4)[[0, 1, 2, 3, 0, 1]] * [[1], [1], [0.9], [1], [1], [1]],
        ValueError,
        ["sum to 1", "row 2", "0.9"],
    ),
    "probabilities below zero": (
        np.tile([1.5, -0.5, 0, 0], (6, 1)),
        ValueError,
        ["0 to 1", "-0.5", "1.5"],
    ),
    "two labels a row": (np.ones((6, 4), np.uint8), ValueError, ["sum to 1", "row 0", "4"]),
}


@pytest.mark.parametrize("method", ["train", "evaluate", "loss_and_gradient"])
@pytest.mark.parametrize(("y", "kind", "parts"), BAD_TARGETS.values(), ids=BAD_TARGETS)
def test_bad_targets(method, y, kind, parts):
    net = network()
    before = net.parameters.tobytes()
    with pytest.raises(kind) as error:
        getattr(net, method)(good()["X"], y)
    assert_names(error, ["y ", *parts])
    assert net.parameters.tobytes() == before


BAD_NAMES = {
    "too many": (
        list("abcdef"),
        ValueError,
        "y holds 6 classes, 'a', .*, but the network is for 4",
    ),
    "too few": (list("abcbab"), ValueError, "y holds 3 classes, .*, or use 3 outputs"),
    "one": (["a"] * 6, ValueError, "y holds 1 class, 'a', "),
    "None": (["a", "b", None, "c", "d", "a"], TypeError, "'a' in row 0 and None in row 2"),
    "None first": ([None, "b", "a", "c", "d", "a"], TypeError, "None in row 0, and text"),
    "numbers": (["a", "b", 3, "c", "d", "a"], None, ""),
}


@pytest.mark.parametrize(("y", "kind", "match"), BAD_NAMES.values(), ids=BAD_NAMES)
def test_bad_names_of_classes(y, kind, match):
    if kind is None:  # NumPy makes texts of numbers in a list, but not in an array of objects
        y, kind, match = np.array(y, object), TypeError, "'a' in row 0 and 3 in row 2"
    with pytest.raises(kind, match=match):
        network().train(good()["X"], y)


@pytest.mark.parametrize("output", ["softmax", "identity"])
def test_names_need_a_network_with_classes(output):
    with pytest.raises(TypeError, match=r"y must hold numbers.*; got 'a' in row 0"):
        network(output=output).evaluate(good()["X"], list("abcdab"))


@pytest.mark.parametrize("value", [-0.1, 1.1, 2])
def test_targets_of_sigmoid_with_cross_entropy_are_within_zero_and_one(value):
    y = np.zeros((ROWS, 4))
    y[3, 2] = value
    with pytest.raises(ValueError, match="y must hold targets from 0 to 1") as error:
        network(output="sigmoid").train(**good(y=y))
    assert_names(error, [f"{value:g}"])


@pytest.mark.parametrize("y", [[0, 1, 2, 1, 0, 1], [-1, 1, 1, -1, 1, 1]])
def test_labels_for_one_output_are_zero_and_one(y):
    net = Network([3, 1], output="sigmoid", backend="numpy")
    with pytest.raises(ValueError, match="y must hold targets from 0 to 1"):
        net.train(**good(y=y))


def test_mse_takes_any_numbers():
    y = np.full((ROWS, 4), -7.5)
    network(output="identity", loss="mse").train(**good(y=y, learning_rate=0.01))


# The settings of a run

VALID_X, VALID_Y = good()["X"], good()["y"]
BAD_SETTINGS = {
    "no epochs": ({"epochs": 0}, ValueError, ["epochs", "at least 1", "0"]),
    "negative epochs": ({"epochs": -1}, ValueError, ["epochs", "at least 1", "-1"]),
    "epochs that are a float": ({"epochs": 1.0}, TypeError, ["epochs", "integer", "1.0"]),
    "epochs that are a bool": ({"epochs": True}, TypeError, ["epochs", "integer", "True"]),
    "epochs in a string": ({"epochs": "1"}, TypeError, ["epochs", "integer", "'1'"]),
    "a batch of none": ({"batch_size": 0}, ValueError, ["batch_size", "at least 1", "0"]),
    "a negative batch": ({"batch_size": -2}, ValueError, ["batch_size", "at least 1", "-2"]),
    "a batch that is a float": ({"batch_size": 2.0}, TypeError, ["batch_size", "integer", "2.0"]),
    "a batch that is a bool": ({"batch_size": True}, TypeError, ["batch_size", "integer", "True"]),
    "a rate of zero": ({"learning_rate": 0}, ValueError, ["learning_rate", "greater than 0", "0"]),
    "a negative rate": ({"learning_rate": -0.1}, ValueError, ["learning_rate", "-0.1"]),
    "a rate of NaN": ({"learning_rate": np.nan}, ValueError, ["learning_rate", "finite", "nan"]),
    "an infinite rate": ({"learning_rate": np.inf}, ValueError, ["learning_rate", "finite", "inf"]),
    "a rate beyond floats": ({"learning_rate": 10**400}, ValueError, ["learning_rate", "finite"]),
    "a rate in a string": ({"learning_rate": "0.1"}, TypeError, ["learning_rate", "'0.1'"]),
    "a rate that is a bool": ({"learning_rate": True}, TypeError, ["learning_rate", "True"]),
    "a complex rate": ({"learning_rate": 1j}, TypeError, ["learning_rate", "number", "1j"]),
    "a negative penalty": ({"l2": -1e-4}, ValueError, ["l2", "at least 0", "-0.0001"]),
    "a penalty of NaN": ({"l2": np.nan}, ValueError, ["l2", "finite", "nan"]),
    "an infinite penalty": ({"l2": np.inf}, ValueError, ["l2", "finite", "inf"]),
    "a penalty in a string": ({"l2": "0"}, TypeError, ["l2", "number", "'0'"]),
    "an unknown schedule": (
        {"schedule": "sine"},
        ValueError,
        ["schedule", "'sine'", "constant", "cosine", "linear", "one_cycle"],
    ),
    "no schedule": ({"schedule": None}, TypeError, ["schedule", "None", "name", "function"]),
    "an unknown optimizer": (
        {"optimizer": "lbfgs"},
        ValueError,
        ["optimizer", "'lbfgs'", "adam", "adamw", "momentum", "nesterov", "rmsprop", "sgd"],
    ),
    "an optimizer that is a class": (
        {"optimizer": optimizers.Adam},
        TypeError,
        ["optimizer", "name", "fastnn.optimizers", "Adam"],
    ),
    "a negative l1": ({"l1": -1}, ValueError, ["l1", "at least 0", "-1"]),
    "a dropout of 1": ({"dropout": 1.0}, ValueError, ["dropout", "less than 1", "1.0"]),
    "too few dropouts": ({"dropout": [0.1]}, ValueError, ["dropout", "2", "got 1"]),
    "a maximal norm of 0": ({"max_norm": 0}, ValueError, ["max_norm", "greater than 0", "0"]),
    "a negative clip": ({"clip_norm": -1}, ValueError, ["clip_norm", "greater than 0", "-1"]),
    "an infinite clip": ({"clip_value": np.inf}, ValueError, ["clip_value", "finite", "inf"]),
    "smoothing of 1": (
        {"label_smoothing": 1},
        ValueError,
        ["label_smoothing", "less than 1", "1"],
    ),
    "no seconds": ({"max_seconds": 0}, ValueError, ["max_seconds", "greater than 0"]),
    "an unknown layer": ({"frozen": [2]}, ValueError, ["frozen[0]", "from 0 to 1", "2"]),
    "nothing to train": ({"frozen": [0, 1]}, ValueError, ["frozen", "leave a layer", "2"]),
    "an unknown class weight": (
        {"class_weight": "equal"},
        ValueError,
        ["class_weight", "'equal'", "balanced"],
    ),
    "a weight of an unknown class": (
        {"class_weight": {7: 1.0}},
        ValueError,
        ["class_weight", "7"],
    ),
    "a negative class weight": (
        {"class_weight": {1: -1.0}},
        ValueError,
        ["class_weight[1]", "at least 0", "-1"],
    ),
    "weights of too few rows": (
        {"sample_weight": [1.0]},
        ValueError,
        ["sample_weight", "one per row", "(1,)"],
    ),
    "stopping by a string": (
        {"early_stopping": "loss"},
        TypeError,
        ["early_stopping", "EarlyStopping", "'loss'"],
    ),
    "stopping by validation without any": (
        {"early_stopping": True, "validation": None},
        ValueError,
        ["early_stopping", "loss", "validation", "'validation_loss'"],
    ),
    "everything set aside": ({"validation": 1.0}, ValueError, ["validation", "less than 1"]),
    "a warm-up as long as the run": (
        {"epochs": 3, "schedule": schedules.Cosine(warmup=3)},
        ValueError,
        ["Cosine", "warmup", "3 epochs"],
    ),
    "validation that is an array": (
        {"validation": VALID_X},
        TypeError,
        ["validation", "(X, y)", "ndarray"],
    ),
    "validation of four": (
        {"validation": (VALID_X, VALID_Y, None, 1)},
        TypeError,
        ["validation", "(X, y, sample_weight)", "4"],
    ),
    "validation with a wrong width": (
        {"validation": (VALID_X[:, :2], VALID_Y)},
        ValueError,
        ["validation X", "(rows, 3)", "(6, 2)"],
    ),
    "validation with a wrong label": (
        {"validation": (VALID_X, VALID_Y + 1)},
        ValueError,
        ["validation y", "0 to 3", "to 4"],
    ),
    "validation of two lengths": (
        {"validation": (VALID_X, VALID_Y[:5])},
        ValueError,
        ["validation y", "validation X", "6", "5"],
    ),
    "a callback without a list": ({"callbacks": print}, TypeError, ["callbacks", "print"]),
    "a callback that is a number": ({"callbacks": [3]}, TypeError, ["callbacks", "3"]),
}


@pytest.mark.parametrize(("changes", "kind", "parts"), BAD_SETTINGS.values(), ids=BAD_SETTINGS)
def test_bad_settings_of_a_run_are_refused_and_change_nothing(changes, kind, parts):
    net = network()
    before = net.parameters.tobytes()
    with pytest.raises(kind) as error:
        net.train(**good(**changes))
    assert_names(error, parts)
    assert net.parameters.tobytes() == before
    assert net.epochs_trained == 0


@pytest.mark.parametrize(("l2", "kind"), [(-1, ValueError), (np.nan, ValueError), ("0", TypeError)])
def test_bad_penalty_of_a_gradient(l2, kind):
    with pytest.raises(kind, match="l2 must be"):
        network().loss_and_gradient(good()["X"], good()["y"], l2=l2)


def test_numbers_of_numpy_are_good_settings():
    network().train(
        **good(epochs=np.int64(1), batch_size=np.int32(3), learning_rate=np.float32(0.1), l2=0)
    )


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("subclass", ["matrix", "masked"])
def test_arrays_of_other_classes_are_read_as_plain_ones(backend, dtype, subclass):
    X = good()["X"]
    net = Network([3, 5, 4], "sigmoid", seed=1, dtype=dtype, backend=backend)
    other = X.view(np.matrix) if subclass == "matrix" else np.ma.masked_array(X)
    np.testing.assert_array_equal(net.predict_proba(other), net.predict_proba(X))
    loss, gradient = net.loss_and_gradient(other, good()["y"])
    want_loss, want = net.loss_and_gradient(X, good()["y"])
    assert loss == want_loss
    np.testing.assert_array_equal(gradient.vector, want.vector)
    assert type(net.predict(other)) is np.ndarray


@pytest.mark.parametrize("backend", ["numba", "numpy"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("columns", [3, 16, 37])
def test_predictions_find_what_is_not_finite_wherever_it_is(columns, zeros, dtype, backend):
    net = fastnn.Network([columns, 4, 2], seed=0, backend=backend)
    X = np.zeros((600, columns), dtype) if zeros else np.ones((600, columns), dtype)
    for row, column in ((0, 0), (0, columns - 1), (511, 1), (599, columns - 1)):
        for value in (np.nan, np.inf, -np.inf):
            X[row, column] = value
            with pytest.raises(ValueError, match=f"X must be finite.*row {row}, column {column}"):
                net.predict_proba(X)
        X[row, column] = 0
    assert np.isfinite(net.predict_proba(X)).all()


REGRESSION = {"output": "identity", "loss": "mse"}
BAD_REGRESSION = {
    "class weights": ({"class_weight": "balanced"}, ["class_weight", "'identity'", "regression"]),
    "label smoothing": ({"label_smoothing": 0.1}, ["label_smoothing", "cross_entropy", "'mse'"]),
    "labels that no one-hot can be made of": ({"y": np.arange(ROWS)}, ["y", "0 to 3", "0 to 5"]),
}


@pytest.mark.parametrize(("changes", "parts"), BAD_REGRESSION.values(), ids=BAD_REGRESSION)
def test_what_makes_no_sense_for_regression_is_refused(changes, parts):
    net = network(**REGRESSION)
    before = net.parameters.tobytes()
    with pytest.raises(ValueError, match=parts[0]) as error:
        net.train(**{**good(), "y": np.zeros((ROWS, 4)), **changes})
    assert all(part in str(error.value) for part in parts)
    assert net.parameters.tobytes() == before


def test_dropout_of_hidden_layers_needs_some():
    with pytest.raises(ValueError, match=r"there are none; use dropout=\[0.2\] for the inputs"):
        Network([3, 4], backend="numpy").train(**good(dropout=0.2))


@pytest.mark.parametrize("output", ["exponential", "identity"])
def test_counts_are_not_negative(output):
    net = network(output=output, loss="poisson")
    with pytest.raises(ValueError, match=r"y must hold counts of 0 or more .* got -1"):
        net.train(**{**good(), "y": np.full((ROWS, 4), -1.0)})


BAD_OPTIMIZERS = {
    "a rate of 0": (lambda: optimizers.SGD(0), "SGD's learning_rate .* greater than 0"),
    "a momentum of 1": (lambda: optimizers.SGD(momentum=1), "SGD's momentum .* less than 1"),
    "nesterov alone": (lambda: optimizers.SGD(nesterov=True), "nesterov needs a momentum"),
    "a decay of 1": (lambda: optimizers.RMSprop(decay=1), "RMSprop's decay .* less than 1"),
    "a negative beta": (lambda: optimizers.Adam(beta1=-0.1), "Adam's beta1 .* at least 0"),
    "an epsilon of 0": (lambda: optimizers.Adam(epsilon=0), "Adam's epsilon .* greater than 0"),
    "a negative decay": (
        lambda: optimizers.AdamW(weight_decay=-1),
        "AdamW's weight_decay .* at least 0",
    ),
}


@pytest.mark.parametrize(("make", "message"), BAD_OPTIMIZERS.values(), ids=BAD_OPTIMIZERS)
def test_bad_numbers_of_an_optimizer_are_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()
