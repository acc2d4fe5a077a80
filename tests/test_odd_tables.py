"""The estimators for tables, with odd data and arguments."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest

import fastnn

pytest.importorskip("sklearn")

from fastnn import predict as predict_line
from fastnn import train as train_line
from fastnn.estimators import TabularClassifier, TabularRegressor
from fastnn.tabular.tables import columns_of

rng = np.random.default_rng(0)
X = rng.normal(size=(40, 2))
LABELS = np.where(X[:, 0] > 0, "in", "out")


def classifier(**settings):
    return TabularClassifier((8,), epochs=2, random_state=0).set_params(**settings)


def regressor(**settings):
    return TabularRegressor((8,), epochs=2, random_state=0).set_params(**settings)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_fit_that_fails_leaves_the_estimator_as_it_was(error, monkeypatch):
    made = classifier().fit(X, LABELS)
    expected = made.predict_proba(X)

    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr("fastnn.estimators.tabular.predictors.fit", fail)
    with pytest.raises(error):
        made.fit(X[:, :1], LABELS)
    assert np.array_equal(made.predict_proba(X), expected)


def test_objects_that_are_durations_are_seconds():
    values = [dt.timedelta(minutes=1), np.timedelta64(90, "s"), None, np.timedelta64("NaT")]
    found = columns_of(np.array([values], object).T)["0"]
    assert (found.kind, found.values[:2].tolist()) == ("number", [60, 90])
    assert found.missing.tolist() == [False, False, True, True]


def test_pandas_durations_among_objects_are_seconds():
    pd = pytest.importorskip("pandas")
    found = columns_of(np.array([[pd.Timedelta("1min")], [pd.NaT]], object))["0"]
    assert (found.kind, found.values[0], found.missing.tolist()) == ("number", 60, [False, True])


@pytest.mark.parametrize("others", [[1.0], ["x"], [True]], ids=["numbers", "texts", "truths"])
@pytest.mark.parametrize(
    ("value", "what"),
    [(np.inf, "infinity"), (10**400, "an integer beyond float64")],
    ids=["infinity", "integer"],
)
def test_objects_that_float64_does_not_have_are_refused_by_their_row(value, what, others):
    with pytest.raises(ValueError, match=f"X, column '0', holds {what} in row 1; need finite"):
        columns_of(np.array([[*others, value]], object).T)


def test_a_frame_without_columns_is_not_called_sparse():
    pd = pytest.importorskip("pandas")
    pytest.importorskip("narwhals")
    with pytest.raises(ValueError, match="X has 0 rows and 0 columns; need one each"):
        classifier().fit(pd.DataFrame(), [])


@pytest.mark.parametrize(
    ("values", "dtype", "kind"),
    [([1, 2], "Int64", "i"), ([True, False], "boolean", "b"), ([1, 2], "UInt8", "u")],
)
def test_classes_of_pandas_nullable_types_keep_their_kind(values, dtype, kind):
    pd = pytest.importorskip("pandas")
    y = pd.Series(values * 20, dtype=dtype)
    made = classifier().fit(X, y)
    assert made.classes_.dtype.kind == made.predict(X).dtype.kind == kind


@pytest.mark.parametrize(
    ("values", "kinds", "way"),
    [
        ([1, 2], "int", "int"),
        ([np.True_, False], "bool", "bool"),
        ([1, "a"], "int, str", "str"),
        ([True, 2], "bool, int", "str"),
    ],
)
def test_classes_that_are_objects_are_refused_with_the_kind_that_they_need(values, kinds, way):
    with pytest.raises(ValueError, match=rf"objects that holds {kinds}; .*: y.astype\({way}\)"):
        classifier().fit(X, np.array(values * 20, object))


def test_targets_that_are_masked_or_no_time_are_gaps():
    y = np.ma.masked_array(np.arange(40), np.arange(40) == 3)
    with pytest.raises(ValueError, match="missing value, in rows 3;"):
        regressor().fit(X, y)
    days = np.array(["2024-01-01", "2024-01-02"] * 20, "M8[D]")
    days[5] = "NaT"
    with pytest.raises(ValueError, match="missing value, in rows 5;"):
        classifier().fit(X, days)


@pytest.mark.parametrize("dtype", ["M8[s]", "m8[s]"])
def test_dates_and_durations_are_no_numbers_to_predict(dtype):
    with pytest.raises(TypeError, match=r"y holds .*64\[s\]; need numbers"):
        regressor().fit(X, np.arange(40).astype(dtype))


@pytest.mark.parametrize("value", ["a", 10**400, dt.date(2024, 1, 1)])
def test_what_is_no_number_to_predict_is_refused(value):
    with pytest.raises(ValueError, match=r"y must hold numbers; TabularClassifier takes names: "):
        regressor().fit(X, np.array([value, *range(39)], object))


@pytest.mark.parametrize(
    ("name", "value"),
    [("hidden_layer_sizes", 8), ("categorical_features", "x"), ("categorical_features", 0)],
)
def test_one_value_where_a_list_is_needed_is_refused(name, value):
    with pytest.raises(TypeError, match=rf"{name} must be a list, got .*; need \["):
        classifier(**{name: value}).fit(X, LABELS)


@pytest.mark.parametrize("library", ["pandas", "numpy"])
def test_categorical_features_may_be_an_index_or_an_array(library):
    module = pytest.importorskip(library)
    make = module.Index if library == "pandas" else module.array
    whole = np.c_[X.round(), X[:, 0]]
    made = classifier(categorical_features=make([0, 1])).fit(whole, LABELS)
    assert made.preprocessing_.names[0].startswith("0=")


def test_a_classifier_without_hidden_layers_is_calibrated():
    made = classifier(hidden_layer_sizes=()).fit(X, LABELS)
    assert made.temperature_ != 1
    np.testing.assert_allclose(made.predict_proba(X).sum(axis=1), 1)


def test_the_least_share_sets_a_row_aside():
    made = regressor(validation_fraction=1e-9).fit(X, X[:, 0])
    assert len(made.predictor_.residuals) == 1


def test_preprocessing_and_network_take_what_fit_took():
    pd = pytest.importorskip("pandas")
    pytest.importorskip("narwhals")
    for rows in (X, pd.DataFrame(X, columns=["a", "b"])):
        made = regressor().fit(rows, X[:, 0])
        inputs = made.preprocessing_.transform(rows)
        assert np.array_equal(made.network_.predict(inputs)[:, 0], made.predict(rows))


@pytest.mark.parametrize(
    ("known", "new"),
    [([0, 1], [1, 0]), ([7, 3], [3, 7]), ([7, 3], [7, 4]), ([("a", 1), ("b", 2)], [7, 3])],
)
def test_names_that_are_no_text_are_those_of_fit(known, new):
    pd = pytest.importorskip("pandas")
    pytest.importorskip("narwhals")
    frame = pd.DataFrame(X)
    frame.columns = pd.Index(known)
    made = regressor().fit(frame, X[:, 0])
    expected = made.predict(frame)
    frame.columns = pd.Index(new)
    with pytest.raises(ValueError, match=r"X has the columns .*; need those of fit, in their"):
        made.predict(frame)
    frame.columns = range(2)
    assert np.array_equal(made.predict(frame), expected)  # without names: by position


@pytest.mark.parametrize("change", [lambda y: y + 1e9, lambda y: y * 1e-40, lambda y: y * 1e300])
def test_targets_that_float32_cannot_tell_apart_are_refused(change):
    with pytest.raises(ValueError, match=r"y holds numbers from .* cannot tell apart; need"):
        regressor().fit(X, change(X[:, 0]))


@pytest.mark.filterwarnings("ignore:y. the numbers of column 0")
@pytest.mark.parametrize("change", [lambda y: y + 1e6, lambda y: y * 1e-37, lambda y: y * 1e37])
def test_targets_that_float32_tells_apart_are_taken(change):
    y = change(X[:, 0])
    assert regressor(epochs=30).fit(X, y).score(X, y) > 0.7


@pytest.mark.parametrize("kind", [np.int64, np.uint64, object])
def test_integers_that_float64_cannot_tell_apart_are_warned_of(kind):
    values = np.arange(2**60, 2**60 + 4).astype(kind)[:, None]
    with pytest.warns(UserWarning, match=r"column '0', holds integers beyond 2\^53, .* need text"):
        columns_of(values)
    assert columns_of(values - 2**60)["0"].values.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("dtype", ["int64", "Int64"])
def test_integers_of_frames_that_float64_cannot_tell_apart_are_warned_of(dtype):
    pd = pytest.importorskip("pandas")
    pytest.importorskip("narwhals")
    frame = pd.DataFrame({"id": pd.Series([2**60, 2**60 + 1], dtype=dtype)})
    with pytest.warns(UserWarning, match=r"column 'id', holds integers beyond 2\^53"):
        columns_of(frame)


def test_wide_integers_of_polars_are_numbers():
    pl = pytest.importorskip("polars")
    pytest.importorskip("narwhals")
    frame = pl.DataFrame({"x": pl.Series([1, None, 3], dtype=pl.Int128)})
    found = columns_of(frame)["x"]
    assert (found.kind, found.missing.tolist()) == ("number", [False, True, False])


# Command lines


@pytest.fixture
def file(tmp_path):
    """Return a function that writes columns to a CSV file, and returns its path."""

    def write(name, columns, header=True):
        cells = zip(*columns.values(), strict=True)
        rows = [",".join(columns)] * header + list(map(",".join, cells))
        (tmp_path / name).write_text("\n".join(rows))
        return str(tmp_path / name)

    return write


def columns():
    return {
        "a": [f"{x:.3f}" for x in X[:, 0]],
        "b": [f"{x:.3f}" for x in X[:, 1]],
        "kind": LABELS.tolist(),
        "d": ["1.5", "2"] * 20,
    }


def trained(data, *options):
    train_line.main(["--data", data, "--tabular", "--epochs", "1", *options])


def refused(line, *arguments, capsys):
    with pytest.raises(SystemExit):
        line(*arguments)
    return capsys.readouterr().err


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("label", ["2", "-2"])
def test_the_position_of_the_label_is_that_in_the_file(file, label, header, capsys):
    trained(file("d.csv", columns(), header), "--label", label, "--drop", "-1")
    assert f"2 columns; '{'kind' if header else 2}' is predicted, 2 cl" in capsys.readouterr().out


def test_prediction_finds_the_label_that_is_named_or_refuses_it(file, tmp_path, capsys):
    data, saved = file("d.csv", columns()), str(tmp_path / "n.safetensors")
    other = file("o.csv", {"what": columns()["kind"], **columns()})
    trained(data, "--label", "kind", "--save", saved)
    capsys.readouterr()
    predict_line.main([saved, "--data", other, "--label", "0", "--drop", "kind"])
    assert "test accuracy" in capsys.readouterr().out
    line = [saved, "--data", data, "--label", "nope"]
    assert "no column 'nope' to predict" in refused(predict_line.main, line, capsys=capsys)


def test_prediction_says_how_to_do_without_labels_that_have_gaps(file, tmp_path, capsys):
    data, saved = file("d.csv", columns()), str(tmp_path / "n.safetensors")
    trained(data, "--label", "kind", "--save", saved)
    gaps = file("g.csv", {**columns(), "kind": ["", *LABELS[1:].tolist()]})
    line = [saved, "--data", gaps]
    said = refused(predict_line.main, line, capsys=capsys)
    assert "is empty in rows 1 of the table; fill the cells, or predict without them: --dr" in said
    predict_line.main([*line, "--drop", "kind"])
    assert "row  kind" in capsys.readouterr().out


def test_columns_that_the_test_rows_lack_are_named_before_training(file, capsys):
    few = {name: cells for name, cells in columns().items() if name != "b"}
    options = ["--label", "kind", "--test", file("t.csv", few)]
    said = refused(trained, file("d.csv", columns()), *options, capsys=capsys)
    assert "t.csv lacks columns to train with: b" in said


@pytest.mark.parametrize("kind", ["table", "record_batch"])
def test_columns_of_arrow_tables_are_matched_by_name(kind):
    pa = pytest.importorskip("pyarrow")
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 2)).astype(np.float32)
    make = getattr(pa, kind)
    net = fastnn.Network([2, 8, 2], seed=0)
    net.train(make({"a": X[:, 0], "b": X[:, 1]}), pa.array(X[:, 0] > 0), progress=False)
    assert net.features == ("a", "b")
    turned = make({"b": X[:, 1], "more": X[:, 0], "a": X[:, 0]})
    with pytest.warns(UserWarning, match="not trained with; they are left out: 'more'"):
        np.testing.assert_array_equal(net.predict_proba(turned), net.predict_proba(X))
    with pytest.raises(ValueError, match="has no column 'b'"):
        net.predict(make({"a": X[:, 0], "c": X[:, 0]}))
    words = make({"a": ["one"] * 50, "b": X[:, 1]})
    with pytest.raises(TypeError, match="column 'a' holds 'one' in row 0; need numbers"):
        net.predict(words)
