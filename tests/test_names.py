"""Columns and classes by name, and data of every kind that can mean one thing only."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np
import pytest
from cases import BACKENDS

import fastnn
from fastnn import Network
from fastnn.datasets import Table

RNG = np.random.default_rng(0)
X = RNG.normal(size=(80, 3))
Y = np.where(X[:, 0] > 0, "up", "down")


class Frame:
    """What fastnn needs of a DataFrame."""

    def __init__(self, columns: Mapping[object, np.ndarray]):
        self.held = dict(columns)

    @property
    def columns(self):
        return list(self.held)

    def __getitem__(self, key):
        if isinstance(key, list):
            return Frame({name: self.held[name] for name in key})
        return self.held[key]

    def to_numpy(self):
        return np.stack(list(self.held.values()), axis=1)


def pandas_frame(columns):
    return pytest.importorskip("pandas").DataFrame(columns)


def table(columns):
    return Table(np.stack(list(columns.values()), axis=1), None, tuple(columns), None)


ABC = {"a": X[:, 0], "b": X[:, 1], "c": X[:, 2]}
KINDS = {"frame": Frame, "pandas": pandas_frame, "table": table}


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def kind(request):
    return request.param


@pytest.fixture(params=BACKENDS)
def net(request, kind):
    net = Network([3, 4, 1], seed=1, backend=request.param)
    net.train(kind(ABC), Y, epochs=3)
    return net


def in_order(order):
    return {name: ABC[name] for name in order}


def test_training_learns_the_names_of_the_columns(net):
    assert net.features == ("a", "b", "c")


def test_columns_in_another_order_are_put_right(net, kind):
    shuffled = kind(in_order("cab"))
    assert np.array_equal(net.predict_proba(shuffled), net.predict_proba(X))
    assert net.evaluate(shuffled, Y) == net.evaluate(X, Y)
    assert np.array_equal(net.activations(shuffled)[0], net.activations(X)[0])


def test_further_columns_are_left_out_and_named(net, kind):
    with pytest.warns(UserWarning, match="'id', 'z'") as caught:
        outputs = net.predict_proba(kind({"id": X[:, 1], **in_order("cab"), "z": X[:, 1]}))
    assert np.array_equal(outputs, net.predict_proba(X))
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_a_missing_column_is_named(net, kind):
    with pytest.raises(ValueError, match=r"X has no column 'b', .* it has 'c', 'a'"):
        net.predict(kind(in_order("ca")))


def test_further_training_and_validation_data_are_matched_too(net, kind):
    again = Network([3, 4, 1], seed=1, backend=net.backend)
    again.train(X, Y, epochs=3)
    for each, data, held_out in (
        (net, kind(in_order("bca")), kind(in_order("cab"))),
        (again, X, X),
    ):
        each.train(data, Y, epochs=2, validation=(held_out, Y))
    assert np.array_equal(net.parameters, again.parameters)


def test_arrays_go_by_position(net):
    assert np.array_equal(net.predict_proba(X), net.predict_proba(X.tolist()))


def test_a_first_validation_frame_is_matched_with_the_training_frame(kind):
    net = Network([3, 4, 1], seed=1)
    net.train(kind(ABC), Y, epochs=2, validation=(kind(in_order("cab")), Y))
    other = Network([3, 4, 1], seed=1)
    history = other.train(X, Y, epochs=2, validation=(X, Y))
    assert net.train(kind(ABC), Y, epochs=1)["loss"] == other.train(X, Y, epochs=1)["loss"]
    assert net.evaluate(X, Y)["loss"] != history["loss"][0]


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_row_may_be_a_mapping_a_series_or_a_frame(backend):
    net = Network([3, 4, 1], seed=1, backend=backend)
    net.train(Frame(ABC), Y, epochs=3)
    expected = net.predict_proba(X[:1])[0]
    row = {"c": X[0, 2], "a": X[0, 0], "b": X[0, 1]}
    assert np.allclose(net.predict_one(row), expected, rtol=1e-6)
    assert np.allclose(net.predict_one(Frame({k: np.array([v]) for k, v in row.items()})), expected)
    with pytest.raises(ValueError, match="x has no column 'a'"):
        net.predict_one({"c": 1.0, "b": 2.0})
    pandas = pytest.importorskip("pandas")
    assert np.allclose(net.predict_one(pandas.Series(row)), expected, rtol=1e-6)


def test_names_are_kept_in_the_file(net, tmp_path):
    net.save(tmp_path / "net.safetensors")
    loaded = fastnn.load(tmp_path / "net.safetensors", net.backend)
    assert loaded.features == ("a", "b", "c")
    assert loaded.classes == ("down", "up")
    assert np.array_equal(loaded.predict(X), net.predict(X))


def test_numbers_as_names_of_columns_are_no_names():
    net = Network([3, 4, 1], seed=1)
    net.train(Frame(dict(enumerate(X.T))), Y, epochs=1)
    assert net.features is None
    assert len(net.predict(pandas_frame(X[:, ::-1]))) == len(X)


def test_numbers_that_do_more_than_count_are_names():
    net = Network([3, 4, 1], seed=1)
    net.train(Frame({10: X[:, 0], 20: X[:, 1], 30: X[:, 2]}), Y, epochs=1)
    assert net.features == ("10", "20", "30")
    shuffled = pandas_frame({30: X[:, 2], 10: X[:, 0], 20: X[:, 1]})
    assert np.array_equal(net.predict_proba(shuffled), net.predict_proba(X))


@pytest.mark.parametrize("order", ["abc", [2, 1, 0]])
def test_names_that_meet_a_network_without_are_warned_of(order):
    net = Network([3, 4, 1], seed=1)
    net.train(X, Y, epochs=1)
    with pytest.warns(UserWarning, match="X has names of columns, but .* by position"):
        net.predict(Frame(dict(zip(order, X.T, strict=True))))


def rows_in(index, values):
    pandas = pytest.importorskip("pandas")
    kind = pandas.DataFrame if values.ndim == 2 else pandas.Series
    return kind(values, index=index)


COUNTED = np.arange(80)
MIXED = RNG.permutation(80)


@pytest.mark.parametrize("method", ["train", "evaluate", "validation"])
@pytest.mark.parametrize(
    ("one", "other", "warned"),
    [
        (COUNTED, COUNTED, False),
        (MIXED, MIXED, False),
        (COUNTED, MIXED, True),
        (MIXED, COUNTED, True),
        (MIXED + 100, COUNTED, False),
        (COUNTED + 100, COUNTED + 300, True),
    ],
)
def test_rows_whose_indexes_differ_are_warned_of(one, other, warned, method):
    net = Network([3, 4, 1], seed=1)
    net.classes = ["down", "up"]
    frame, labels = rows_in(one, X), rows_in(other, Y)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if method == "validation":
            net.train(X, Y, epochs=1, validation=(frame, labels))
        else:
            getattr(net, method)(frame, labels)
    assert [str(each.message).endswith("y.loc[X.index]") for each in caught] == [True] * warned


@pytest.mark.parametrize("method", ["train", "evaluate", "validation", "tune"])
def test_weights_whose_indexes_differ_are_warned_of(method):
    frame, weights = rows_in(COUNTED, X), rows_in(MIXED, np.ones(80))
    net = Network([3, 4, 1], seed=1)
    net.classes = ["down", "up"]
    if method == "tune":
        pytest.importorskip("sklearn")
    calls = {
        "validation": lambda: net.train(X, Y, epochs=1, validation=(frame, Y, weights)),
        "tune": lambda: fastnn.tune(
            frame, Y, {"l2": [0]}, folds=2, epochs=1, sample_weight=weights
        ),
        "train": lambda: net.train(frame, Y, sample_weight=weights),
        "evaluate": lambda: net.evaluate(frame, Y, sample_weight=weights),
    }
    with pytest.warns(UserWarning, match="sample_weight have different indexes"):
        calls[method]()


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_an_estimator_warns_of_rows_whose_indexes_differ():
    pytest.importorskip("sklearn")
    classifier = fastnn.estimators.MLPClassifier(max_iter=1)
    with pytest.warns(UserWarning, match=r"pass y.to_numpy\(\), and if not"):
        classifier.fit(rows_in(COUNTED, X), rows_in(MIXED, Y))


@pytest.mark.parametrize("method", ["predict", "evaluate"])
def test_numbers_far_from_those_trained_on_are_warned_of(method):
    net = Network([3, 4, 1], seed=1, standardize_inputs=True)
    wide = X * [1, 1, 1e-5] + [0, 50, 0]
    net.train(pandas_frame(dict(zip("abc", wide.T, strict=True))), Y, epochs=1)
    rest = () if method == "predict" else (Y,)
    with pytest.warns(UserWarning, match="column 'c' of X is far from .* mean of .* order of col"):
        getattr(net, method)(wide[:, ::-1], *rest)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        getattr(net, method)(wide * 3, *rest)
        net.predict(wide[:1] + 1e9)


def test_uint8_for_a_network_of_other_numbers_is_warned_of():
    ages = RNG.integers(18, 80, (60, 2))
    net = Network([2, 4, 1], seed=1, standardize_inputs=True)
    net.train(ages, Y[:60], epochs=1)
    with pytest.warns(UserWarning, match="X is uint8, .* trained on other numbers"):
        net.predict(ages.astype(np.uint8))


@pytest.mark.parametrize("backend", BACKENDS)
def test_other_numbers_for_a_network_of_pixels_are_warned_of(backend, tmp_path):
    pixels = RNG.integers(0, 256, (60, 4)).astype(np.uint8)
    y = RNG.integers(0, 2, 60)
    net = Network([4, 6, 2], seed=1, backend=backend)
    net.predict(pixels.astype(int))  # it may yet be trained on such numbers
    net.train(pixels, y, epochs=1)
    net.save(tmp_path / "net")
    loaded = fastnn.load(tmp_path / "net", backend)
    net.predict(pixels), loaded.predict(pixels / 255.0)
    for each in (net, loaded):
        for numbers in (pixels.astype(int), pixels.astype(np.float32)):
            with pytest.warns(
                UserWarning, match=r"not uint8 .*trained on uint8, .*X.astype\('uint8'\)"
            ):
                each.predict(numbers)
            with pytest.warns(UserWarning, match="trained on uint8"):
                each.evaluate(numbers, y)


def test_numbers_whose_differences_are_lost_are_warned_of():
    dates = np.stack([X[:, 0], 1.7e9 + 50 * (Y == "up")], axis=1)
    net = Network([2, 4, 1], seed=1, standardize_inputs=True)
    with pytest.warns(
        UserWarning, match="X: the numbers of column 'when', 1.7e.09 .* than float32"
    ):
        net.train(pandas_frame({"a": dates[:, 0], "when": dates[:, 1]}), Y, epochs=1)
    net = Network([2, 4, 1], seed=1, standardize_inputs=True, dtype="float64")
    net.train(dates, Y, epochs=30)
    assert net.evaluate(dates, Y)["accuracy"] == 1
    net = Network([3, 4, 1], seed=1, standardize_inputs=True, standardize_targets=True)
    with pytest.warns(UserWarning, match="y: the numbers of column 0"):
        net.train(X, dates[:, 1], epochs=1)


def test_text_that_looks_like_numbers_is_not_taken_for_positions():
    net = Network([3, 4, 3], seed=1)
    net.classes = ["1", "2", "3"]
    with pytest.raises(ValueError, match="the classes are text that may mean them; pass y as text"):
        net.evaluate(X, np.arange(80) % 3)
    net.classes = ["0", "1", "2"]
    net.evaluate(X, np.arange(80) % 3)


def test_labels_that_are_not_0_1_2_say_what_may_be_meant():
    net = Network([3, 4, 3])
    with pytest.raises(ValueError, match=r"net.classes = \[1, 2, 3\]"):
        net.train(X, 1 + np.arange(80) % 3)
    with pytest.raises(ValueError, match="For 4 classes the network needs 4 outputs"):
        net.train(X, np.arange(80) % 4)
    with pytest.raises(ValueError, match=r"assigned to net.classes first"):
        net.train(X, 5 * (np.arange(80) % 4))


def test_three_numbers_for_one_output_may_be_classes():
    with pytest.raises(ValueError, match="For 3 classes the network needs 3 outputs"):
        Network([3, 4, 1]).train(X, np.arange(80) % 3)


def test_one_row_of_a_frame_or_a_mapping_is_a_row():
    net = Network([3, 4, 1], seed=1)
    net.train(pandas_frame(ABC), Y, epochs=1)
    row = pandas_frame(in_order("cab")).iloc[0]
    assert np.array_equal(net.predict(row), net.predict(X[:1]))
    assert np.array_equal(net.predict(dict(row)), net.predict(X[:1]))


def test_a_missing_number_to_predict_is_named_by_its_column():
    net = Network([3, 4, 1], seed=1)
    net.train(pandas_frame(ABC), Y, epochs=1)
    frame = pandas_frame(ABC)
    frame.loc[7, "b"] = None
    with pytest.raises(ValueError, match="row 7, column 'b'"):
        net.predict(frame)


def test_two_columns_of_one_name_are_refused():
    frame = pytest.importorskip("pandas").DataFrame(X, columns=["a", "b", "a"])
    with pytest.raises(ValueError, match="X has two columns called 'a'"):
        Network([3, 1]).train(frame, Y)


def test_columns_of_mixed_types_are_numbers():
    frame = pandas_frame({"a": X[:, 0] > 0, "b": np.arange(80), "c": X[:, 2].astype(np.float32)})
    net = Network([3, 4, 1], seed=1)
    net.train(frame, Y, epochs=1)
    assert np.array_equal(net.predict(frame), net.predict(frame.astype(float)))


@pytest.mark.parametrize(
    ("column", "parts"),
    [
        (["red"] * 80, ["X, column 'b' holds 'red' in row 0"]),
        ([1.0] * 79 + ["?"], ["X, column 'b' holds '?' in row 79"]),
        (np.full(80, "2026-01-01", "datetime64[ns]"), ["X, column 'b' holds datetime64"]),
    ],
)
def test_a_column_that_is_no_number_is_named_with_its_first_such_value(column, parts):
    frame = pandas_frame({"a": X[:, 0], "b": column, "c": X[:, 2]})
    with pytest.raises(TypeError) as error:
        Network([3, 1]).train(frame, Y)
    assert all(part in str(error.value) for part in parts)


def test_a_missing_number_in_a_frame_is_named():
    frame = pandas_frame(ABC)
    frame.loc[7, "b"] = None
    with pytest.raises(ValueError, match="row 7, column 'b'"):
        Network([3, 1]).train(frame, Y)


@pytest.mark.parametrize(
    ("names", "error", "match"),
    [
        (["a", "b"], ValueError, "3 different names"),
        (["a", "b", "a"], ValueError, "3 different names"),
        ("abc", TypeError, "sequence of strings"),
        (["a", "b", 3], TypeError, "must be strings, got 3"),
    ],
)
def test_features_that_do_not_fit_are_refused(names, error, match):
    with pytest.raises(error, match=match):
        Network([3, 1]).features = names


def test_names_may_be_assigned_and_taken_away():
    net = Network([3, 1], seed=0)
    net.features = np.array(["a", "b", "c"])
    assert net.features == ("a", "b", "c")
    assert np.array_equal(net.predict_proba(Frame(in_order("cba"))), net.predict_proba(X))
    net.features = None
    assert net.features is None


# Classes

LABELS = {
    "strings": (Y, ("down", "up")),
    "a list": (Y.tolist(), ("down", "up")),
    "objects": (Y.astype(object), ("down", "up")),
    "bools": (X[:, 0] > 0, (False, True)),
    "bools as objects": ((X[:, 0] > 0).astype(object), (False, True)),
    "a column": (Y[:, None], ("down", "up")),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize(("y", "classes"), LABELS.values(), ids=LABELS)
def test_labels_of_any_kind_are_learnt_and_predicted(y, classes, outputs, backend):
    net, by_number = (Network([3, 4, outputs], seed=2, backend=backend) for _ in range(2))
    net.train(X, y, epochs=20)
    by_number.train(X, (X[:, 0] > 0).astype(int), epochs=20)
    assert net.classes == classes
    assert np.array_equal(net.parameters, by_number.parameters)
    assert net.predict(X).tolist() == [classes[place] for place in by_number.predict(X)]
    assert net.evaluate(X, y) == by_number.evaluate(X, (X[:, 0] > 0).astype(int))
    assert net.loss_and_gradient(X, y)[0] == by_number.loss_and_gradient(X, X[:, 0] > 0)[0]


@pytest.mark.parametrize("kind", ["category", "string", "object"])
def test_labels_in_a_series_are_learnt(kind):
    series = pytest.importorskip("pandas").Series(Y).astype(kind)
    net = Network([3, 4, 1], seed=2)
    net.train(X, series, epochs=1)
    assert net.classes == ("down", "up")
    with pytest.raises(TypeError, match=r"row 3. Rows without a label"):
        net.train(X, series.where(np.arange(80) != 3), epochs=1)


def test_a_single_output_with_a_threshold_predicts_names():
    net = Network([3, 4, 1], seed=2)
    net.train(X, Y, epochs=1)
    assert set(net.predict(X, threshold=0.0)) == {"up"}
    assert set(net.predict(X, threshold=1.0)) == {"down"}


def test_integer_names_are_names_and_not_positions():
    net = Network([3, 4, 3], seed=2)
    net.classes = (10, 20, 30)
    y = np.array([10, 20, 30])[RNG.integers(0, 3, 80)]
    net.train(X, y, epochs=1)
    assert set(net.predict(X)) <= {10, 20, 30}
    with pytest.raises(ValueError, match="y holds 0 in row 5, which is no class"):
        net.evaluate(X, np.where(np.arange(80) == 5, 0, y))


def test_integer_names_on_both_sides_of_64_bits_are_predicted_exactly():
    net = Network([2, 3, 2], seed=0, backend="numpy")
    net.classes = [2**63 + 1, -1]
    assert set(net.predict([[1, 0], [0, 1], [-1, 0], [0, -1]])) <= {2**63 + 1, -1}


@pytest.mark.parametrize("pair", [(-1, 1), (1, 2)])
def test_two_numbers_that_are_classes_are_assigned_first(pair):
    y = np.where(Y == "up", pair[1], pair[0])
    net, by_name = Network([3, 4, 1], seed=2), Network([3, 4, 1], seed=2)
    with pytest.raises(ValueError, match=rf"net.classes = \[{pair[0]}, {pair[1]}\]"):
        net.train(X, y, epochs=2)
    net.classes = pair
    net.train(X, y, epochs=2)
    by_name.train(X, Y, epochs=2)
    assert np.array_equal(net.parameters, by_name.parameters)
    assert set(net.predict(X)) <= set(pair)


def test_labels_beyond_the_classes_are_refused_with_their_row():
    net = Network([3, 4, 1], seed=2)
    net.train(X, Y, epochs=1)
    with pytest.raises(ValueError, match=r"y holds 'sideways' in row 2, which is no class;.*down"):
        net.evaluate(X[:3], ["up", "up", "sideways"])


def test_names_of_numbers_predict_in_their_order():
    net = Network([3, 1], seed=2)
    net.classes = ["no", "yes"]
    assert set(net.predict(X).tolist()) <= {"no", "yes"}
    assert net.evaluate(X, (X[:, 0] > 0).astype(int)) == net.evaluate(
        X, np.where(X[:, 0] > 0, "yes", "no")
    )


def test_classes_of_several_types_stay_what_they_are():
    net = Network([3, 3], seed=2)
    net.classes = ["none", 1, 2]
    assert set(net.predict(X).tolist()) <= {"none", 1, 2}


def test_weights_of_classes_go_by_name():
    nets = [Network([3, 4, 1], seed=2) for _ in range(2)]
    nets[0].train(X, Y, epochs=2, class_weight={"up": 3.0})
    nets[1].train(X, (X[:, 0] > 0).astype(int), epochs=2, class_weight={1: 3.0})
    assert np.array_equal(nets[0].parameters, nets[1].parameters)
    with pytest.raises(ValueError, match=r"class_weight has no class 'left'; .*'down', 'up'"):
        nets[0].train(X, Y, epochs=1, class_weight={"left": 3.0})


def test_refused_data_leave_no_names_behind():
    net = Network([3, 4, 1], seed=2)
    with pytest.raises(ValueError, match="epochs"):
        net.train(Frame(ABC), Y, epochs=0)
    assert (net.features, net.classes) == (None, None)


def test_a_run_that_diverges_in_its_first_step_leaves_no_names_behind():
    net = Network([3, 4, 1], seed=2)
    with np.errstate(all="ignore"), pytest.raises(fastnn.DivergenceError):
        net.train(Frame(ABC), Y, learning_rate=1e300)
    assert (net.features, net.classes) == (None, None)


# What can mean one thing only


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_pictures_are_taken_flat(backend, dtype):
    pictures = RNG.integers(0, 256, (20, 4, 5)).astype(dtype)
    y = RNG.integers(0, 3, 20)
    net = Network([20, 6, 3], seed=1, backend=backend)
    net.train(pictures, y, epochs=1)
    flat = pictures.reshape(20, 20)
    assert np.array_equal(net.predict_proba(pictures), net.predict_proba(flat))
    one = net.predict_one(flat[0])
    assert np.array_equal(net.predict_one(pictures[0]), one)
    assert np.array_equal(net.predict_one(flat[:1]), one)


def test_uint8_of_zeros_and_ones_is_warned_of():
    X = RNG.integers(0, 2, (60, 3)).astype(np.uint8)
    with pytest.warns(UserWarning, match="X is uint8, which is taken for pixels .* only 0 and 1"):
        Network([3, 1], seed=0).train(X, X[:, 0], epochs=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Network([3, 1], seed=0).train(X * 255, X[:, 0], epochs=1)
        Network([3, 1], seed=0).train(X.astype(bool), X[:, 0], epochs=1)
        Network([3, 1], seed=0).train(X * 0, X[:, 0], epochs=1)


def test_a_vector_is_a_column_where_there_is_one_input():
    net = Network([1, 4, 1], output="identity", seed=1)
    assert np.array_equal(net.predict(X[:, 0]), net.predict(X[:, :1]))


@pytest.mark.parametrize(
    "y",
    [
        np.arange(80) % 3 * 1.0,
        (np.arange(80) % 3)[:, None],
        (np.arange(80) % 3)[:, None] * np.float32(1),
        (np.arange(80) % 3).astype(object),
    ],
)
def test_whole_floats_and_columns_are_labels(y):
    net, other = (Network([3, 4, 3], seed=1) for _ in range(2))
    net.train(X, y, epochs=1)
    other.train(X, np.arange(80) % 3, epochs=1)
    assert np.array_equal(net.parameters, other.parameters)
    assert net.classes is None


def test_whole_floats_are_no_labels_of_numbers():
    with pytest.raises(TypeError, match="targets of shape"):
        Network([3, 4, 3], output="identity").train(X, np.arange(80) % 3 * 1.0)


@pytest.mark.parametrize(
    ("options", "output"),
    [
        ({"loss": "mae"}, "identity"),
        ({"loss": "huber"}, "identity"),
        ({"loss": "poisson"}, "exponential"),
        ({"loss": "mse"}, "sigmoid"),
        ({"standardize_targets": True}, "identity"),
        ({"sizes": [3, 4, 2], "loss": "binary_cross_entropy"}, "sigmoid"),
        ({"sizes": [3, 4, 2], "loss": "mse"}, "softmax"),
        ({"sizes": [3, 4, 2], "loss": "huber"}, "identity"),
    ],
)
def test_the_output_is_the_one_that_the_loss_is_for(options, output):
    assert Network(**{"sizes": [3, 4, 1], **options}).architecture.output == output


@pytest.mark.parametrize("loss", ["mse", "binary_cross_entropy", "mae", "huber"])
@pytest.mark.parametrize("method", ["train", "evaluate", "loss_and_gradient", "input_gradient"])
@pytest.mark.parametrize("output", ["sigmoid", "softmax"])
def test_targets_that_an_output_cannot_reach_are_refused(loss, method, output):
    if (output, loss) == ("softmax", "binary_cross_entropy"):
        loss = "cross_entropy"
    outputs = 2 if output == "softmax" else 1
    net = Network([3, 4, outputs], output=output, loss=loss)
    y = np.linspace(130, 272, 80 * outputs).reshape(80, outputs)
    with pytest.raises(ValueError, match=r"from 130 to 272. Numbers to predict need output='ide"):
        getattr(net, method)(X, y)


@pytest.mark.parametrize("loss", ["mse", "poisson", "mae", "huber"])
def test_targets_below_0_are_refused_for_rates(loss):
    with pytest.raises(ValueError, match=r"0 or more.* got .*-3.*output='identity'"):
        Network([3, 1], output="exponential", loss=loss).train(X, np.arange(80) - 3)


def test_a_loss_of_ones_own_decides_what_targets_it_takes():
    def hinge(a, t):
        return np.maximum(0, 1 - a * t).mean(axis=1), np.where(a * t < 1, -t, 0.0)

    Network([3, 1], loss=hinge).train(X, np.where(Y == "up", 1, -1), epochs=1)


@pytest.mark.parametrize(
    ("options", "same"),
    [
        ({"activation": "ReLU"}, {"activation": "relu"}),
        ({"activation": ["LeakyReLU"]}, {"activation": ["leaky_relu"]}),
        ({"output": "Softmax"}, {"output": "softmax"}),
        ({"loss": "CrossEntropy"}, {"loss": "cross_entropy"}),
        ({"init": "Xavier"}, {"init": "xavier"}),
        ({"dtype": "Float64"}, {"dtype": "float64"}),
        ({"backend": "NumPy"}, {"backend": "numpy"}),
    ],
)
def test_names_of_choices_are_taken_in_any_case(options, same):
    nets = [Network([3, 4, 2], seed=1, **each) for each in (options, same)]
    assert repr(nets[0]) == repr(nets[1])
    assert np.array_equal(nets[0].parameters, nets[1].parameters)


@pytest.mark.parametrize("name", ["Adam", "ADAM", "Adam_W", "RMSProp", "SGD"])
def test_names_of_optimizers_are_taken_in_any_case(name):
    plain = name.lower().replace("_", "")
    nets = [Network([3, 4, 1], seed=1) for _ in range(2)]
    for net, optimizer in zip(nets, (name, plain), strict=True):
        net.train(X, Y, epochs=1, optimizer=optimizer, schedule="Constant")
    assert np.array_equal(nets[0].parameters, nets[1].parameters)


MISTAKES = {
    "lr": (lambda net: net.train(X, Y, lr=0.1), "'lr'; did you mean 'learning_rate'"),
    "LR": (lambda net: net.train(X, Y, LR=0.1), "'LR'; did you mean 'learning_rate'"),
    "n_epochs": (lambda net: net.train(X, Y, n_epochs=5), "did you mean 'epochs'"),
    "epoch": (lambda net: net.train(X, Y, epoch=5), "did you mean 'epochs'"),
    "batchsize": (lambda net: net.train(X, Y, batchsize=5), "did you mean 'batch_size'"),
    "validation_split": (lambda net: net.train(X, Y, validation_split=0.1), "'validation'"),
    "layers": (lambda net: Network(layers=[3, 1]), "Network.. has no argument 'layers'; .*'sizes'"),
    "random_state": (lambda net: Network([3, 1], random_state=0), "did you mean 'seed'"),
    "nonsense": (lambda net: Network([3, 1], xyz=0), "no argument 'xyz'$"),
    "fit": (lambda net: net.fit(X, Y), "has no attribute 'fit'; did you mean 'train'"),
    "predict_probas": (lambda net: net.predict_probas, "did you mean 'predict_proba'"),
    "an activation": (lambda net: Network([3, 4, 1], activation="sigmod"), "mean 'sigmoid'"),
    "an output": (lambda net: Network([3, 1], output="linear"), "did you mean 'identity'"),
    "a loss": (lambda net: Network([3, 1], loss="log_loss"), "did you mean 'cross_entropy'"),
    "net.load": (lambda net: net.load("x"), "did you mean 'fastnn.load'"),
    "an optimizer": (lambda net: net.train(X, Y, optimizer="addam"), "did you mean 'adam'"),
    "fastnn.Adam": (lambda net: fastnn.Adam, "it is in fastnn.optimizers"),
    "fastnn.MLPClassifier": (lambda net: fastnn.MLPClassifier, "it is in fastnn.estimators"),
}


@pytest.mark.parametrize(("mistake", "match"), MISTAKES.values(), ids=MISTAKES)
def test_a_near_miss_says_what_is_meant(mistake, match):
    with pytest.raises((TypeError, ValueError, AttributeError), match=match):
        mistake(Network([3, 4, 1]))


def test_a_batch_of_more_rows_than_there_are_takes_all():
    nets = [Network([3, 4, 1], seed=1) for _ in range(2)]
    for net, size in zip(nets, (80, 1000), strict=True):
        net.train(X, Y, epochs=2, batch_size=size)
    assert np.array_equal(nets[0].parameters, nets[1].parameters)


@pytest.mark.parametrize("count", [0, -1, 1.5, "two", True])
def test_assigned_threads_are_checked(count):
    net = Network([3, 1])
    with pytest.raises((TypeError, ValueError), match="threads must be"):
        net.threads = count
    assert net.threads is None


def test_an_assigned_backend_is_checked():
    net = Network([3, 1])
    with pytest.raises(ValueError, match="backend must be one of numba, numpy; got 'torch'"):
        net.backend = "torch"
    net.backend = "NumPy"
    assert net.backend == "numpy"


def test_nothing_warns_where_all_columns_are_known():
    net = Network([3, 1], seed=0)
    net.features = ["a", "b", "c"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net.predict(Frame(ABC))
