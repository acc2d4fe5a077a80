"""Predictions of a single row, and copies of networks, which must not share addresses."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from cases import DTYPES

import fastnn
from fastnn.backends.compiled import backend as compiled

BACKENDS = ("numba", "numpy")


def network(backend, dtype="float32", output="softmax", sizes=(300, 20, 7)):
    return fastnn.Network(sizes, "tanh", output, seed=4, dtype=dtype, backend=backend, threads=1)


def row(dtype="float32", filled=1.0, seed=0):
    rng = np.random.default_rng(seed)
    return np.where(rng.random(300) < filled, rng.normal(size=300), 0).astype(dtype)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("output", ["softmax", "sigmoid", "identity", "exponential"])
@pytest.mark.parametrize("filled", [0.0, 0.1, 1.0])
def test_one_row_has_the_outputs_of_predict_proba(backend, dtype, output, filled):
    net = network(backend, dtype, output)
    x = row(dtype, filled)
    np.testing.assert_array_equal(net.predict_one(x), net.predict_proba(x[None])[0])


@pytest.mark.parametrize("backend", BACKENDS)
def test_outputs_are_written_into_out(backend):
    out = np.full(7, np.nan, np.float32)
    net = network(backend)
    assert net.predict_one(row(), out) is out
    np.testing.assert_array_equal(out, net.predict_one(row()))


def fixed(x):
    x = x.copy()
    x.flags.writeable = False
    return x


# The same numbers in other arrays.
OTHERS = {
    "float64": lambda x: x.astype(np.float64),
    "longdouble": lambda x: x.astype(np.longdouble),
    "float16": lambda x: x.astype(np.float16),
    "int": lambda x: x.astype(int),
    "big-endian": lambda x: x.astype(">f4"),
    "list": lambda x: x.tolist(),
    "strided": lambda x: np.repeat(x, 2)[::2],
    "reversed": lambda x: x[::-1].copy()[::-1],
    "column": lambda x: np.stack([x, x], axis=1)[:, 1],
    "read-only": fixed,
    "one of a matrix": lambda x: x[None],
    "picture": lambda x: x.reshape(15, 20),
    "objects": lambda x: x.astype(object),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", OTHERS)
def test_any_row_of_numbers_is_read(backend, dtype, kind):
    x = np.round(row(dtype))
    net = network(backend, dtype)
    np.testing.assert_array_equal(net.predict_one(OTHERS[kind](x)), net.predict_one(x))


@pytest.mark.parametrize("kind", OTHERS)
def test_the_compiled_function_is_not_asked_for_types_that_it_refuses(kind, monkeypatch):
    given, single = [], compiled.single
    monkeypatch.setattr(
        compiled, "single", lambda model: lambda x, out: given.append(x) or single(model)(x, out)
    )
    network("numba").predict_one(OTHERS[kind](np.round(row())))
    assert [(x.dtype, x.shape, x.flags.carray) for x in given] == [(np.float32, (300,), True)]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_row_of_a_memory_map_is_read(backend, tmp_path):
    x = row()
    mapped = np.memmap(tmp_path / "rows", np.float32, "w+", shape=(2, 300))
    mapped[1] = x
    net = network(backend)
    np.testing.assert_array_equal(net.predict_one(mapped[1]), net.predict_one(x))


@pytest.mark.parametrize("backend", BACKENDS)
def test_bools_are_zeros_and_ones(backend):
    x = row() > 0
    net = network(backend)
    np.testing.assert_array_equal(net.predict_one(x), net.predict_one(x.astype(np.float32)))


@pytest.mark.parametrize("backend", BACKENDS)
def test_bytes_are_scaled_as_pixels(backend):
    pixels = np.arange(300).astype(np.uint8)
    net = network(backend)
    np.testing.assert_array_equal(net.predict_one(pixels), net.predict_proba(pixels[None])[0])


@pytest.mark.parametrize("backend", BACKENDS)
def test_it_follows_changes_of_the_parameters(backend):
    net = network(backend)
    before = net.predict_one(row())
    net.biases[1][0] += 5
    assert net.predict_one(row())[0] > before[0]
    np.testing.assert_array_equal(net.predict_one(row()), net.predict_proba(row()[None])[0])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("x", "out", "kind", "parts"),
    [
        (row()[:5], None, ValueError, ["x", "300", "5"]),
        (row()[None, :5], None, ValueError, ["x", "(300,)", "(1, 5)"]),
        (row() * np.nan, None, ValueError, ["x", "finite", "nan"]),
        (np.full(300, np.inf, np.float32), None, ValueError, ["x", "finite", "inf"]),
        (row().astype(str), None, TypeError, ["x", "numbers"]),
        (np.full(300, 1e300), None, ValueError, ["x", "finite", "1e+300"]),
        ([None, 10**400] * 150, None, ValueError, ["x", "finite", "300 digits", "row 1"]),
        (["a", 10**400] * 150, None, TypeError, ["x", "'a'", "row 0"]),
        ([10**400, None, "a"] * 100, None, TypeError, ["x", "None", "row 1"]),
        (np.full((300, 0), 1.0), None, ValueError, ["x", "empty"]),
        (np.ma.masked_less(row(), 0), None, ValueError, ["x", "masked"]),
        (row(), np.empty(3, np.float32), ValueError, ["out", "(7,)", "(3,)"]),
        (row(), np.empty(7), ValueError, ["out", "float32", "float64"]),
        (row(), [0.0] * 7, ValueError, ["out", "list"]),
        (row(), np.empty(14, np.float32)[::2], ValueError, ["out", "contiguous"]),
    ],
)
def test_bad_arguments_are_refused(backend, x, out, kind, parts):
    with pytest.raises(kind) as caught:
        network(backend).predict_one(x, out)
    assert all(part in str(caught.value) for part in parts), caught.value


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_a_copy_is_a_network_of_its_own(backend, copied):
    net = network(backend)
    before = net.predict_one(row())
    other = copied(net)
    other.weights[0] = np.zeros_like(other.weights[0])
    assert not other.parameters[: other.weights[0].size].any()
    np.testing.assert_array_equal(net.predict_one(row()), before)
    np.testing.assert_array_equal(other.predict_one(row()), other.predict_proba(row()[None])[0])


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_shallow_copy_is_the_same_network(backend):
    net = network(backend)
    other = copy.copy(net)
    rows = np.stack([row(), -row()])
    labels = [0, 1]
    other.train(rows, labels, epochs=2, optimizer="adam")
    assert net.epochs_trained == other.epochs_trained == 2
    assert net.parameters is other.parameters
    assert net.model.optimizer_state is other.model.optimizer_state


def test_warmup_leaves_nothing_to_compile(run_python):
    script = """
import fastnn, numpy as np
from numba.core import event
from fastnn.backends.compiled.machinery import cache
assert fastnn.warmup("float32", "float64") > 0
cache._Entries.load = lambda entries, key: None  # what is missing is compiled, cached or not
with event.install_recorder("numba:compile") as compilations:
    for dtype in ("float32", "float64"):
        net = fastnn.Network([3, 4, 2], dtype=dtype)
        net.train(np.eye(3), [0, 1, 1], epochs=1)
        net.predict_one(np.ones(3, dtype))
        net.evaluate(np.eye(3), [0, 1, 1])
print(len(compilations.buffer))
"""
    assert run_python("-c", script).split() == ["0"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_infinite_activation_is_read_by_the_units_there_are(dtype):
    # It makes the next layers' padding NaN, which is not zero.
    sizes = (9, 33, 17, 5)
    net = fastnn.Network(sizes, "relu", dtype=dtype, seed=1)
    predict = compiled.single(net.model)
    plan, out = vars(predict)["plan"], np.empty(5, dtype)
    (lists,) = (a for a in plan._kept if compiled.plan.address_of(a) == plan.record["lists_of_one"])
    predict(np.array([-1, 1, 1, -1, 1, 1, -1, 1, 1], dtype) * np.finfo(dtype).max, out)
    places = np.cumsum([0, *(size + 1 for size in sizes[:-2])])
    assert np.isnan(out).all()
    assert (lists[places] <= sizes[:-1]).all()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_rate_beyond_the_dtype_is_refused_in_steps_of_one_row(backend, dtype):
    X, y = np.random.default_rng(0).normal(size=(20, 9)), np.arange(20) % 3
    rate = {"float32": 1e39, "float64": 1e308}[dtype]
    for seed in range(5):
        net = fastnn.Network([9, 33, 17, 3], "relu", dtype=dtype, seed=seed, backend=backend)
        with pytest.raises(fastnn.DivergenceError):
            net.train(X, y, 1, 1, rate, optimizer="adam")
