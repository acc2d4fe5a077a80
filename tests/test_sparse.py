"""Sparse inputs: the same as dense ones up to rounding, on both backends, and never made dense."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import tracemalloc
import warnings

import numpy as np
import pytest
from cases import BACKENDS, DTYPES

import fastnn
from fastnn import backends, predict, sparse_rows, train
from fastnn.backends.compiled import blocks, few_rows, sparse_plan
from fastnn.backends.compiled.machinery import threads
from fastnn.backends.contract import Examples, Objective, UpdateRule
from fastnn.backends.dropout import NO_KEYS, multipliers, multipliers_of, row_keys
from fastnn.cli import tune
from fastnn.model.optimizer_state import OptimizerState
from fastnn.model.parameters import Parameters
from fastnn.optimizers import SGD, Adam, named
from fastnn.training import loop

sparse = pytest.importorskip("scipy.sparse")

each_backend = pytest.mark.parametrize("backend", BACKENDS)
COUNTS = (1, 2, 3, 8)


def matrix(rows, columns, density=0.2, dtype="float64", seed=0):
    rng = np.random.default_rng(seed)
    X = sparse.random_array((rows, columns), density=density, rng=rng, dtype="float64")
    X.data = rng.uniform(-1, 1, len(X.data))
    return X.tocsr().astype(dtype)


def with_empty_rows():
    X = matrix(30, 12).toarray()
    X[[0, 3, 29]] = 0
    return sparse.csr_array(X)


def with_empty_columns():
    X = matrix(30, 12).toarray()
    X[:, [0, 5, 11]] = 0
    return sparse.csr_array(X)


def with_duplicates():
    rng = np.random.default_rng(1)
    places = rng.integers(0, 7, 90), rng.integers(0, 30, 90)
    order = np.argsort(places[1], kind="stable")
    indptr = np.concatenate([[0], np.cumsum(np.bincount(places[1], minlength=30))])
    return sparse.csr_array((rng.normal(size=90), places[0][order], indptr), shape=(30, 7))


def with_zeros_stored():
    X = matrix(30, 12)
    X.data[::3] = 0
    return X


def in_int64():
    X = matrix(30, 12)
    return sparse.csr_array((X.data, X.indices.astype(np.int64), X.indptr.astype(np.int64)))


# Inputs of 30 rows, or few, and the units of the hidden layers.
SHAPES = {
    "usual": (matrix(30, 40), [64]),
    "no hidden layer": (matrix(30, 40), []),
    "two hidden layers": (matrix(30, 40), [17, 9]),
    "one unit wide": (matrix(30, 40), [1]),
    "a line and a unit": (matrix(30, 40), [17]),
    "four lines and more": (matrix(30, 200, 0.05), [130]),
    "empty rows": (with_empty_rows(), [6]),
    "empty columns": (with_empty_columns(), [6]),
    "nothing stored": (sparse.csr_array((30, 5)), [6]),
    "nothing empty": (matrix(30, 20, 1.0), [6]),
    "duplicates, unsorted": (with_duplicates(), [6]),
    "zeros stored": (with_zeros_stored(), [6]),
    "int64 indices": (in_int64(), [6]),
    "one column": (matrix(30, 1, 0.5), [6]),
    "one row": (matrix(1, 40), [6]),
    "one row and column": (sparse.csr_array([[0.5]]), [6]),
    "a column of most rows": (sparse.csr_array(np.eye(30, 9) + np.eye(9)[[4] * 30]), [6]),
}
each_shape = pytest.mark.parametrize(("X", "hidden"), SHAPES.values(), ids=SHAPES)

# What a step does: settings of the objective, the optimizer, and of the rule.
RULES = {
    "sgd": ({}, "sgd", {}),
    "sgd, l2": ({"l2": 0.1}, "sgd", {}),
    "sgd, l2 and max_norm": ({"l2": 0.1}, "sgd", {"max_norm": 0.5}),
    "sgd, max_norm": ({}, "sgd", {"max_norm": 0.5}),
    "sgd, l1": ({"l1": 0.01}, "sgd", {}),
    "sgd, l2 and clip_norm": ({"l2": 0.1}, "sgd", {"clip_norm": 0.05}),
    "sgd, clip_value": ({}, "sgd", {"clip_value": 0.01}),
    "sgd, dropout": ({"dropout": 0.3}, "sgd", {}),
    "sgd, label smoothing": ({"label_smoothing": 0.1}, "sgd", {}),
    "sgd, frozen": ({"l2": 0.1}, "sgd", {"frozen": frozenset({0})}),
    "momentum, l2": ({"l2": 0.1}, "momentum", {}),
    "nesterov": ({}, "nesterov", {}),
    "rmsprop": ({}, "rmsprop", {}),
    "adam": ({}, "adam", {}),
    "adam, everything": ({"l1": 0.01, "l2": 0.1, "dropout": 0.3}, "adam", {"max_norm": 0.5}),
    "adamw, clipped": ({}, "adamw", {"clip_norm": 0.05, "clip_value": 0.01}),
    "sgd, rates of layers": ({"l2": 0.1}, SGD(weight_factors=0.5, bias_factors=2.0), {}),
    "adam, rates of layers": ({}, Adam(weight_factors=0.5, bias_factors=0.1), {}),
}
each_rule = pytest.mark.parametrize("rule", RULES.values(), ids=RULES)


def network(X, hidden=(6,), backend="numba", dtype="float64", **options):
    sizes = [X.shape[1], *hidden, 3]
    net = fastnn.Network(sizes, "tanh", seed=3, backend=backend, dtype=dtype, **options)
    for biases in net.biases:
        biases[:] = np.random.default_rng(4).uniform(-0.5, 0.5, biases.shape)
    return net


def labels(X):
    return np.random.default_rng(2).integers(0, 3, X.shape[0])


def stepped(net, X, rule, batch, weights=None):
    """Return losses and parameters after two epochs of steps by a rule of `RULES`."""
    objective, optimizer, limits = rule
    depth, rows = len(net.weights), X.shape[0]
    rate = objective.get("dropout", 0.0)
    objective = Objective(**{**objective, "dropout": (rate,) * depth if rate else ()})
    optimizer = named(optimizer)
    if depth == 1:
        limits = {name: value for name, value in limits.items() if name != "frozen"}
    rule = UpdateRule(objective, optimizer, **limits)
    state = OptimizerState(optimizer, net.architecture)
    keys = row_keys(1, 1, depth, range(rows)) if rate else NO_KEYS
    order = np.random.default_rng(1).permutation(rows)
    steps = -(-rows // batch)
    losses = np.empty((2, steps))
    examples = Examples(X, labels(X), weights)
    for epoch in range(2):
        taken = backends.get(net.backend).train_steps(
            net.model, examples, order, batch, np.linspace(0.1, 0.05, steps), rule, keys, state,
            losses[epoch],
        )  # fmt: skip
        assert taken == steps
    return losses, net.parameters


def assert_close(got, want, dtype="float64"):
    scale = max(1.0, float(np.abs(want).max()))
    np.testing.assert_allclose(got, want, rtol=0, atol=scale * 1e5 * np.finfo(dtype).eps)


@pytest.mark.parametrize("batch", [1, pytest.param(7, marks=pytest.mark.every_width), 64])
@each_rule
@each_shape
def test_steps_are_those_on_dense_rows(X, hidden, rule, batch):
    rows, dense = sparse_rows.read(X), X.toarray()
    want = stepped(network(X, hidden, "numpy"), dense, rule, batch)
    for backend in BACKENDS:
        got = stepped(network(X, hidden, backend, threads=1), rows, rule, batch)
        for one, other in zip(got, want, strict=True):
            assert_close(one, other)


@pytest.mark.every_width
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("inputs", ["float32", "float64", "uint8"])
@each_shape
def test_outputs_losses_and_gradients_are_those_of_dense_rows(X, hidden, inputs, dtype):
    if inputs == "uint8":
        X = abs(X * 200)
    X = X.astype(inputs)
    rows, y = sparse_rows.read(X), labels(X)
    weights = np.linspace(0.5, 1.5, X.shape[0]).astype(dtype)
    results = {}
    for name, inputs_, backend in (
        ("want", X.toarray(), "numpy"), ("numpy", rows, "numpy"), ("numba", rows, "numba"),
    ):  # fmt: skip
        net, functions = network(X, hidden, backend, dtype), backends.get(backend)
        out, again = (np.empty((X.shape[0], 3), dtype) for _ in range(2))
        outs = [np.empty((X.shape[0], size), dtype) for size in net.architecture.sizes[1:]]
        gradient, examples = Parameters(net.architecture), Examples(inputs_, y, weights)
        assert functions.predict(net.model, inputs_, out)
        functions.activations(net.model, inputs_, outs)
        values = [functions.loss(net.model, examples, again)]
        objective = Objective(l2=0.1, l1=0.1)
        values.append(
            functions.loss_and_gradient(net.model, examples, objective, NO_KEYS, gradient)
        )
        results[name] = [out, again, *outs, gradient.vector, np.array(values)]
    for name in BACKENDS:
        for got, want in zip(results[name], results["want"], strict=True):
            np.testing.assert_allclose(got, want, rtol=0, atol=200 * np.finfo(dtype).eps)


@pytest.mark.parametrize("rows", [few_rows.MOST_ROWS, few_rows.MOST_ROWS + 1, 1300])
@each_backend
def test_many_rows_are_predicted_in_blocks(rows, backend):
    X = matrix(rows, 40, 0.1)
    net = network(X, backend=backend)
    assert_close(net.predict_proba(X), net.predict_proba(X.toarray()))


@pytest.mark.parametrize("rule", [RULES["sgd, l2"], RULES["adam"]], ids=["sgd, l2", "adam"])
def test_large_batches_are_gone_through_in_blocks(rule, monkeypatch):
    X = matrix(1000, 40, 0.1)
    monkeypatch.setattr(blocks, "FAR", 1)
    monkeypatch.setattr(blocks, "NEAR", 1)
    assert blocks.is_large(network(X).architecture, 1000, sparse=True)
    got = stepped(network(X), sparse_rows.read(X), rule, 1000)
    want = stepped(network(X, backend="numpy"), X.toarray(), rule, 1000)
    for one, other in zip(got, want, strict=True):
        assert_close(one, other)


@pytest.mark.parametrize("hidden", [[64], [130], [1], [17, 9]])
@each_rule
def test_any_number_of_threads_gives_the_same_bits(hidden, rule, monkeypatch):
    monkeypatch.setattr(threads, "WORTH_A_THREAD", 1.0)
    monkeypatch.setattr(threads, "PREDICTING_WORTH_A_THREAD", 1.0)
    monkeypatch.setattr(threads.Trial, "enabled", False)
    monkeypatch.setattr(threads, "available", lambda: 8)
    X, results = matrix(67, 200, 0.1, "float32"), set()
    for count in COUNTS:
        net = network(X, hidden, dtype="float32", threads=count)
        parts = stepped(net, sparse_rows.read(X), rule, 9)
        results.add(b"".join(part.tobytes() for part in (*parts, net.predict_proba(X))))
    assert len(results) == 1


def test_plain_steps_leave_other_rows_of_weights_alone():
    X = sparse.csr_array(np.eye(30, 50))
    net = network(X)
    before = net.weights[0].copy()
    stepped(net, sparse_rows.read(X), RULES["sgd"], 7)
    assert np.array_equal(net.weights[0][30:], before[30:])
    assert (net.weights[0][:30] != before[:30]).any(axis=1).all()


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "bsr", "lil", "dok", "dia"])
@pytest.mark.parametrize("kind", ["matrix", "array"])
def test_all_formats_train_alike(form, kind):
    X = matrix(30, 12)
    made = getattr(sparse, f"{form}_{kind}")(X)
    nets = [network(X), network(X)]
    for net, inputs in zip(nets, (X, made), strict=True):
        net.train(inputs, labels(X), epochs=2)
    assert np.array_equal(nets[0].parameters, nets[1].parameters)


@pytest.mark.parametrize("dtype", ["int32", "int64", "int8", "bool", "uint8", "longdouble"])
@each_backend
def test_numbers_of_other_types_are_taken_as_in_arrays(dtype, backend):
    X = (abs(matrix(30, 12)) * 100).astype(dtype)
    net = network(X, backend=backend)
    assert_close(net.predict_proba(X), net.predict_proba(X.toarray()))


@pytest.mark.filterwarnings("ignore:X is uint8, which is taken for pixels")
def test_uint8_is_divided_by_255_and_remembered_as_pixels():
    X = sparse.csr_array(np.array([[0, 255, 51]] * 4, np.uint8))
    net = network(X)
    net.train(X, [0, 1, 2, 0], epochs=1)
    assert net.model.pixels
    with pytest.warns(UserWarning, match="not uint8 and has numbers far above 1"):
        other = net.predict_proba(X.astype("float64"))
    assert_close(net.predict_proba(X), net.predict_proba(X.astype("float64") / 255))
    assert not np.allclose(other, net.predict_proba(X))


def test_uint8_of_zeros_and_ones_is_warned_of():
    X = sparse.csr_array(np.eye(4, 3, dtype=np.uint8))
    with pytest.warns(UserWarning, match="is uint8, which is taken for pixels"):
        network(X).train(X, [0, 1, 2, 0], epochs=1)


def test_inputs_are_not_changed():
    X = with_duplicates()
    before = copy.deepcopy((X.data, X.indices, X.indptr))
    net = network(X)
    net.train(X, labels(X), epochs=1, dropout=(0.5, 0.5), validation=0.2)
    net.evaluate(X, labels(X))
    for one, other in zip(before, (X.data, X.indices, X.indptr), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
def test_intact_rows_share_their_numbers(dtype):
    X = abs(matrix(30, 12) * 100).astype(dtype)
    rows = sparse_rows.read(X)
    assert np.shares_memory(rows.data, X.data)
    assert np.shares_memory(rows.indices, X.indices)


@each_backend
def test_nothing_of_the_size_of_dense_rows_is_made(backend):
    rows, columns = 1000, 200_000
    X = matrix(rows, columns, 2e-5, "float32")
    net = network(X, [4], backend, dtype="float32")
    dense = rows * columns * 4
    tracemalloc.start()
    try:
        settings = {"epochs": 1, "batch_size": 500, "optimizer": "sgd"}
        net.train(X, labels(X), validation=0.2, dropout=(0.1, 0.1), **settings)
        net.predict_proba(X)
        net.evaluate(X, labels(X))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < dense / 8


@each_backend
def test_dropout_leaves_out_the_same_inputs_as_of_dense_rows(backend):
    X = matrix(30, 12, 0.5)
    keys = row_keys(1, 1, 1, range(30))[0]
    rows = sparse_rows.read(X)
    dense = multipliers(keys, 12, 0.5, np.dtype("f8"))
    assert np.array_equal(multipliers_of(keys, rows, 0.5), dense[X.toarray() != 0])
    one, two = network(X, backend=backend), network(X, backend=backend)
    one.train(X, labels(X), epochs=3, dropout=(0.4, 0.4), optimizer="adam")
    two.train(X.toarray(), labels(X), epochs=3, dropout=(0.4, 0.4), optimizer="adam")
    assert_close(one.parameters, two.parameters)


SETTINGS = {
    "weights": {"sample_weight": np.linspace(0.1, 2, 30), "class_weight": "balanced"},
    "validation": {"validation": 0.3, "training_metrics": True, "early_stopping": True},
    "a schedule": {"schedule": "one_cycle", "optimizer": "momentum", "l2": 0.01},
    "a callback": {"callbacks": [lambda row: "stop" if row["epoch"] == 2 else None]},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@each_backend
def test_runs_are_those_on_dense_rows(settings, backend):
    X = matrix(30, 12)
    histories, nets = [], []
    for inputs in (X, X.toarray()):
        nets.append(network(X, backend=backend))
        histories.append(nets[-1].train(inputs, labels(X), epochs=4, **settings))
    assert_close(nets[0].parameters, nets[1].parameters)
    assert len(histories[0]) == len(histories[1])
    for name in histories[0][0].keys() - {"seconds", "samples_per_second"}:
        assert_close(np.array(histories[0][name]), np.array(histories[1][name]))


@each_backend
def test_validation_data_may_be_sparse_or_not(backend):
    X, other = matrix(30, 12), matrix(11, 12, seed=1)
    losses = [
        network(X, backend=backend).train(X, labels(X), epochs=2, validation=(held, labels(other)))
        for held in (other, other.toarray())
    ]
    assert_close(*(np.array(history["validation_loss"]) for history in losses))


@each_backend
def test_a_loss_of_the_users_own_is_that_of_dense_rows(backend):
    def squares(outputs, targets):
        return np.square(outputs - targets).sum(axis=1), 2 * (outputs - targets)

    X = matrix(30, 12)
    nets = []
    for inputs in (X, X.toarray()):
        net = fastnn.Network([12, 6, 3], "tanh", "identity", squares, seed=0, dtype="float64",
                             backend=backend)  # fmt: skip
        net.train(inputs, np.eye(3)[labels(X)], epochs=2, learning_rate=0.01)
        nets.append(net)
    assert_close(nets[0].parameters, nets[1].parameters)


@each_backend
def test_steps_on_few_rows_and_single_ones_are_those_on_dense_rows(backend):
    X, y = matrix(30, 12), labels(matrix(30, 12))
    nets = []
    for inputs in (X, X.toarray()):
        net = network(X, backend=backend)
        losses = [net.learn_few(inputs[:7], y[:7]), net.learn_one(inputs[[3]], y[3])]
        outputs = net.predict_one(inputs[[5]])
        nets.append((net.parameters, np.array(losses), outputs, net.predict_proba(inputs[5:6])[0]))
    for one, two in zip(*nets, strict=True):
        assert_close(one, two)


def test_a_gradient_of_sparse_rows_is_right():
    X = matrix(20, 12)
    assert fastnn.check_gradients(network(X), X, labels(X), l2=0.1).passed
    assert max(fastnn.compare_backends(network(X), X, labels(X)).values()) < 1e-12


# The penalty of plain gradient descent waits, but not in a way that can be told from outside.


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("every", [1, 3, None])
def test_it_does_not_matter_where_calls_of_a_backend_end(optimizer, every, monkeypatch, tmp_path):
    X = matrix(60, 30, dtype="float32")
    settings = {"epochs": 3, "batch_size": 4, "l2": 0.05, "optimizer": optimizer}
    one, two = (network(X, dtype="float32") for _ in range(2))
    one.train(X, labels(X), **settings)
    monkeypatch.setattr(loop, "SLICE", 1.0)
    path = tmp_path / "run.safetensors"
    two.train(X, labels(X), **settings, checkpoint=path, checkpoint_every=every)
    assert np.array_equal(one.parameters, two.parameters)


def test_a_run_that_is_resumed_is_the_one_that_was_not_interrupted(tmp_path):
    X = matrix(60, 30, dtype="float32")
    path = tmp_path / "run.safetensors"
    settings = {"epochs": 6, "batch_size": 4, "l2": 0.05, "checkpoint": path}

    def interrupt(row):
        if row["epoch"] == 3:
            raise KeyboardInterrupt

    whole = network(X, dtype="float32")
    whole.train(X, labels(X), epochs=6, batch_size=4, l2=0.05)
    with pytest.raises(KeyboardInterrupt):
        network(X, dtype="float32").train(X, labels(X), callbacks=[interrupt], **settings)
    other = X.copy()
    other.data[0] += 1
    with pytest.raises(ValueError, match="X"):
        network(X, dtype="float32").train(other, labels(X), resume=True, **settings)
    resumed = network(X, dtype="float32")
    resumed.train(X, labels(X), resume=True, **settings)
    assert np.array_equal(resumed.parameters, whole.parameters)


# What is refused


def spoilt(value, row=2, column=1):
    X = matrix(6, 3, 0.7).toarray()
    X[row, column] = value
    return sparse.csr_array(X)


def broken(name, value):
    X = matrix(6, 3, 1.0)
    getattr(X, name)[4] = value
    return X


BAD = {
    "too many columns": (matrix(6, 4), ValueError, r"\(rows, 3\).*3 inputs.*\(6, 4\)"),
    "no rows": (sparse.csr_array((0, 3)), ValueError, r"empty.*\(0, 3\)"),
    "NaN": (spoilt(np.nan), ValueError, "finite.*nan in row 2, column 1"),
    "infinity": (spoilt(np.inf, 5, 0), ValueError, "finite.*inf in row 5, column 0"),
    "too large for float32": (spoilt(1e300), ValueError, "float32.*1e\\+300 in row 2"),
    "complex numbers": (matrix(6, 3).astype(complex), TypeError, "numbers.*complex128"),
    "a column beyond": (broken("indices", 3), ValueError, "no intact.*from 0 to 2.*3"),
    "a column before": (broken("indices", -1), ValueError, "no intact.*from 0 to 2.*-1"),
    "rows that go back": (broken("indptr", 1), ValueError, "no intact.*indptr"),
}


@pytest.mark.parametrize("method", ["train", "evaluate", "predict", "learn_few", "activations"])
@pytest.mark.parametrize(("X", "kind", "message"), BAD.values(), ids=BAD)
@each_backend
def test_bad_inputs_are_refused(X, kind, message, method, backend):
    net = fastnn.Network([3, 4, 3], seed=0, backend=backend)
    arguments = [X] if method in ("predict", "activations") else [X, [0, 1, 2, 0, 1, 2]]
    with pytest.raises(kind, match=f"^X .*{message}"):
        getattr(net, method)(*arguments)


def test_standardised_inputs_are_refused_with_the_way_on():
    X = matrix(30, 12)
    net = network(X, standardize_inputs=True)
    with pytest.raises(ValueError, match=r"X is sparse.*subtract means.*with_mean=False"):
        net.train(X, labels(X))
    net.train(X.toarray(), labels(X), epochs=1)
    for method in ("predict", "activations"):
        with pytest.raises(ValueError, match="X is sparse"):
            getattr(net, method)(X)
    for method in ("evaluate", "loss_and_gradient", "learn_few"):
        with pytest.raises(ValueError, match="X is sparse"):
            getattr(net, method)(X, labels(X))
    with pytest.raises(ValueError, match="validation X is sparse"):
        net.train(X.toarray(), labels(X), validation=(X, labels(X)))


def test_gradients_of_inputs_are_refused():
    X = matrix(6, 3)
    with pytest.raises(ValueError, match=r"X is sparse.*X\[rows\].toarray\(\)"):
        fastnn.Network([3, 4, 3]).input_gradient(X, [0, 1, 2, 0, 1, 2])


def test_several_rows_are_no_single_one():
    net = fastnn.Network([3, 4, 3])
    with pytest.raises(ValueError, match=r"x must be one row; got shape \(6, 3\)"):
        net.predict_one(matrix(6, 3))
    with pytest.raises(ValueError, match=r"x must have shape \(3,\)"):
        net.predict_one(matrix(1, 4))


@each_backend
def test_divergence_is_explained_and_undone(backend):
    X = matrix(30, 12) * 1e20
    net = fastnn.Network([12, 6, 1], "relu", "identity", seed=0, backend=backend)
    before = net.parameters.copy()
    with pytest.raises(fastnn.DivergenceError, match=r"MaxAbsScaler.*column \d+ of X reaches"):
        net.train(X, np.arange(30.0), epochs=1, batch_size=10, learning_rate=10)
    assert np.array_equal(net.parameters, before)


def test_a_network_of_no_use_is_warned_of():
    X = abs(matrix(200, 12)) * 1000
    net = fastnn.Network([12, 6, 2], seed=0)
    net.biases[0][:] = -1e9
    with pytest.warns(fastnn.ConvergenceWarning, match="columns divided by their largest"):
        net.train(X, np.arange(200) % 2, epochs=30, learning_rate=0.01)


# What else takes them


def test_rows_are_pickled():
    rows = pickle.loads(pickle.dumps(sparse_rows.read(matrix(6, 3))[2:4]))
    assert np.array_equal(rows @ np.eye(3), matrix(6, 3).toarray()[2:4])


@pytest.mark.parametrize("rows", [slice(None), slice(2, 5), slice(1, 9, 3), slice(4, 4), [3, 1, 3]])
def test_rows_are_chosen_as_of_arrays(rows):
    X = with_duplicates()
    chosen = sparse_rows.read(X)[rows]
    assert np.allclose(chosen @ np.eye(7), X.toarray()[rows])
    assert np.allclose(chosen.T @ np.eye(len(chosen)), X.toarray()[rows].T)
    if len(chosen):
        for name in ("min", "max"):
            for axis in (None, 0):
                want = getattr(X.toarray()[rows], name)(axis=axis)
                assert np.allclose(getattr(chosen, name)(axis=axis), want)


def test_importing_fastnn_does_not_import_scipy():
    code = "import sys, fastnn; assert not any(name.startswith('scipy') for name in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_tuning_takes_them():
    pytest.importorskip("sklearn")
    X = matrix(60, 12)
    settings = {"epochs": 2, "hidden": (4,), "dtype": "float64", "progress": False}
    results = [
        fastnn.tune(inputs, labels(X), {"l2": [0, 0.1]}, folds=2, **settings)
        for inputs in (X, X.toarray())
    ]
    assert_close(results[0].network.parameters, results[1].network.parameters)
    assert results[0].test == pytest.approx(results[1].test)


def estimators():
    module = pytest.importorskip("fastnn.estimators")
    return module.MLPClassifier, module.MLPRegressor


FITS = {
    "as it is": {},
    "early stopping": {"early_stopping": True},
    "sgd": {"solver": "sgd", "learning_rate": "adaptive"},
    "balanced": {"class_weight": "balanced"},
    "lbfgs": {"solver": "lbfgs"},
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("options", FITS.values(), ids=FITS)
@pytest.mark.parametrize("place", [0, 1], ids=["classifier", "regressor"])
def test_estimators_fit_what_they_fit_on_dense_rows(place, options):
    Estimator = estimators()[place]
    if place:
        options = {name: value for name, value in options.items() if name != "class_weight"}
    X = matrix(90, 12, 0.4)
    y = labels(X)
    fits = []
    for inputs in (X, X.toarray(), sparse.csc_matrix(X)):
        fit = Estimator(hidden_layer_sizes=(7,), max_iter=4, random_state=0, **options)
        fit.fit(inputs, y, sample_weight=np.linspace(0.5, 1, 90))
        if hasattr(fit, "partial_fit") and "early_stopping" not in options:
            fit.partial_fit(inputs[:20], y[:20])
        fits.append((fit.network_.parameters, fit.predict(inputs), np.array(fit.loss_)))
    for one, want, csc in zip(*fits, strict=True):
        assert_close(one, want)
        assert np.array_equal(one, csc)


def test_estimators_say_where_a_number_is_not_finite():
    X = matrix(30, 12)
    X.data[3] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        estimators()[0]().fit(X, labels(X))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_cross_validation_takes_them():
    model_selection = pytest.importorskip("sklearn.model_selection")
    X = matrix(90, 12, 0.4)
    classifier = estimators()[0](hidden_layer_sizes=(7,), max_iter=3, random_state=0)
    got = model_selection.cross_val_score(classifier, X, labels(X), cv=3)
    assert np.allclose(
        got, model_selection.cross_val_score(classifier, X.toarray(), labels(X), cv=3)
    )


# Files, and the command lines


@pytest.fixture
def files(tmp_path):
    """Write the same 90 rows as .npz with labels beside it, as svmlight, and as CSV."""
    X = matrix(90, 12, 0.4).toarray().astype("float32")
    X[0, 11] = 0.5
    X, y = sparse.csr_matrix(X), labels(X)
    sparse.save_npz(tmp_path / "rows.npz", X)
    np.save(tmp_path / "rows_labels.npy", y)
    dense = np.column_stack([X.toarray(), y])
    names = ",".join([f"c{i}" for i in range(12)] + ["label"])
    np.savetxt(tmp_path / "rows.csv", dense, "%.9g", ",", header=names, comments="")
    lines = []
    for row, label in zip(X.toarray(), y, strict=True):
        pairs = [f"{j + 1}:{value:.9g}" for j, value in enumerate(row) if value]
        lines.append(" ".join([str(label), *pairs]) + "  # a row")
    (tmp_path / "rows.svm").write_text("\n".join(lines) + "\n")
    return tmp_path


def run(words, capsys, main=train.main):
    assert main(str(words).split()) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("backend", BACKENDS)
def test_command_lines_take_sparse_files(files, capsys, backend):
    scores = {}
    for name in ("rows.csv", "rows.npz", "rows.svm"):
        options = f"--backend {backend} --epochs 3 --hidden 8 --quiet --seed 1 --no-standardize"
        out = run(f"--data {files / name} {options} --save {files / 'net'}", capsys)
        scores[name] = [line for line in out.splitlines() if "test" in line]
        again = run(f"{files / 'net'} --data {files / name}", capsys, predict.main)
        assert "90 rows of 12 features" in again
    assert scores["rows.npz"] == scores["rows.csv"] == scores["rows.svm"]


def test_a_test_file_of_svmlight_may_have_fewer_columns(files, capsys):
    (files / "few.libsvm").write_text("0 1:1\n1 2:1\n2 1:2\n")
    options = "--epochs 1 --hidden 4 --backend numpy --quiet"
    for one, other in (("rows.svm", "few.libsvm"), ("few.libsvm", "rows.svm")):
        assert run(f"--data {files / one} --test {files / other} {options}", capsys)


def test_tuning_takes_sparse_files(files, capsys):
    pytest.importorskip("sklearn")
    out = run(
        f"--data {files / 'rows.svm'} --l2 0 0.1 --folds 2 --epochs 2 --hidden 4 --quiet",
        capsys, tune.main,
    )  # fmt: skip
    assert "best: l2" in out


def test_pictures_of_a_run_leave_its_rows_out(files, capsys):
    pytest.importorskip("matplotlib")
    options = "--epochs 2 --hidden 4 --backend numpy --quiet"
    words = f"--data {files / 'rows.svm'} --plot {files / 'plots'} --report {files / 'page.html'}"
    run(f"{words} {options}", capsys)
    assert (files / "page.html").exists()


LINES = {
    "no colon": ("1 3", "line 1: '3'; need column:number"),
    "no label": ("1:2 3:4", "line 1: '1:2'; need a label"),
    "two labels": ("1,2 3:4", "line 1: '1,2'; need one label"),
    "no number": ("1 2:x", "line 1: need column:number, both numbers"),
    "half a column": ("1 2.5:1", "line 1: need columns that are whole"),
    "no order": ("1 2:1\n1 5:1 2:1", "line 2: need columns in ascending order"),
    "twice": ("1 2:1 2:1", "line 1: need columns in ascending order"),
    "infinity": ("1 2:inf", "line 1: inf; need numbers that are finite in float32"),
    "no label of use": ("nan 2:1", "holds the label nan; need finite labels"),
    "nothing": ("# only a comment\n", "holds no number"),
}


@pytest.mark.parametrize(("text", "message"), LINES.values(), ids=LINES)
def test_lines_that_are_no_rows_are_refused(text, message, tmp_path):
    path = tmp_path / "rows.svm"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        fastnn.datasets.load(path)


def test_columns_count_from_0_if_one_of_them_is_0(tmp_path):
    path = tmp_path / "rows.svmlight"
    path.write_text("-1 qid:3 1:0.5\n+1 0:2 2:1e-3\n0\n")
    X, y, *_ = fastnn.datasets.read_svmlight(path)
    assert y.tolist() == [-1, 1, 0]
    assert np.allclose(X @ np.eye(3), [[0, 0.5, 0], [2, 0, 1e-3], [0, 0, 0]])


def test_files_are_as_scikit_learn_reads_them(files):
    datasets = pytest.importorskip("sklearn.datasets")
    X, y = datasets.load_svmlight_file(str(files / "rows.svm"))
    own = fastnn.datasets.read_svmlight(files / "rows.svm", dtype="float64")
    assert np.array_equal(own.X @ np.eye(12), X.toarray())
    assert np.array_equal(own.y, y)


def test_sparse_npz_in_other_formats_or_broken_are_refused(tmp_path):
    path = tmp_path / "rows.npz"
    sparse.save_npz(path, matrix(6, 3).tocsc())
    with pytest.raises(ValueError, match=r"format 'csc'; need 'csr'.*tocsr"):
        fastnn.datasets.load(path)
    sparse.save_npz(path, broken("indices", 3))
    with pytest.raises(ValueError, match="not an intact sparse matrix: indices"):
        fastnn.datasets.load(path)
    sparse.save_npz(path, spoilt(np.nan))
    with pytest.raises(ValueError, match="not finite in float32"):
        fastnn.datasets.load(path)
    np.savez(path, X=np.eye(3))
    with pytest.raises(ValueError, match=r"\.npz file; label must be None"):
        fastnn.datasets.load(path, "labels.npy")


def test_describing_sparse_files_is_refused(files, capsys):
    with pytest.raises(SystemExit), warnings.catch_warnings():
        train.main(f"--data {files / 'rows.svm'} --describe".split())
    assert "is sparse; --describe takes data that are not" in capsys.readouterr().err


def test_plain_sgd_needs_no_room_of_the_size_of_the_weights():
    X = matrix(64, 100_000, 1e-4, "float32")
    net = network(X, [32], dtype="float32")
    rows = Examples(sparse_rows.read(X), labels(X))
    rule, state = UpdateRule(), OptimizerState(SGD(), net.architecture)
    tracemalloc.start()
    try:
        functions, order = backends.get("numba"), np.arange(64)
        functions.train_steps(
            net.model, rows, order, 8, np.full(8, 0.1), rule, NO_KEYS, state, np.empty(8)
        )
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < net.parameters.nbytes / 4


def test_sparse_predictions_are_right_after_ctrl_c_while_a_plan_is_changed(monkeypatch):
    one, other = sparse_rows.read(matrix(300, 12)), sparse_rows.read(matrix(300, 12, seed=1))
    net = network(one, threads=1)
    right = net.predict_proba(other)
    net.predict_proba(one)
    monkeypatch.setattr(sparse_plan, "address_of", ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        net.predict_proba(other)
    monkeypatch.undo()
    assert np.array_equal(net.predict_proba(other), right)


def ctrl_c(*arguments):
    raise KeyboardInterrupt
