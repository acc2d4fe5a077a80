"""Tables of any kind: their preprocessing, the estimators for them, their files, --tabular."""

from __future__ import annotations

import copy
import datetime as dt
import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
from cases import BACKENDS
from hypothesis import given
from hypothesis import strategies as st

import fastnn
from fastnn import predict as predict_line
from fastnn import tabular
from fastnn import train as train_line
from fastnn.datasets import Columns, read_columns
from fastnn.model import storage
from fastnn.tabular import calibration
from fastnn.tabular import predictor as predictors
from fastnn.tabular import recipe as recipes
from fastnn.tabular.merging import OFTEN, distinct
from fastnn.tabular.preprocessing import Preprocessing
from fastnn.tabular.tables import columns_of, rows_of

each_backend = pytest.mark.parametrize("backend", BACKENDS)


@pytest.fixture
def estimators():
    pytest.importorskip("sklearn")
    from fastnn import estimators

    return estimators


def table(**columns):
    """Return columns, each a list of Python's objects or an array."""
    made = [
        columns_of(np.array(values, getattr(values, "dtype", object)).reshape(-1, 1))[str(0)]
        for values in columns.values()
    ]
    named = [type(each)(name, each.kind, each.values, each.missing, each.note)
             for name, each in zip(columns, made, strict=True)]  # fmt: skip
    return Columns(len(named[0].values), tuple(named))


def inputs(values, **how):
    """Return the inputs that a column by itself becomes."""
    made = table(x=values)
    return Preprocessing.fit(made, **how).transform(made)


def smooth(s):
    return s / np.sqrt(1 + (s / 3) ** 2)


# Preprocessing


def test_numbers_are_scaled_by_the_quartiles_and_clipped_smoothly():
    x = np.array([0.0, 1, 2, 3, 4, 1000])
    quartiles = np.quantile(x, [0.25, 0.5, 0.75])
    expected = smooth((x - quartiles[1]) / (quartiles[2] - quartiles[0]))
    np.testing.assert_allclose(inputs(x)[:, 0], expected, rtol=1e-6)  # float32
    assert abs(inputs(x)).max() < 3


def test_numbers_whose_quartiles_are_the_same_are_scaled_by_half_of_the_range():
    x = np.array([5.0] * 9 + [7, 1])
    np.testing.assert_allclose(inputs(x)[:, 0], smooth((x - 5) / 3), rtol=1e-6)  # float32


def test_missing_numbers_are_the_median_and_an_input_of_their_own():
    found = inputs([1.0, None, 2.0, float("nan"), 30.0])
    assert found[[1, 3]].tolist() == [[0, 1], [0, 1]]
    assert found[:, 1].tolist() == [0, 1, 0, 1, 0]
    assert found[2, 0] == 0  # the median of 1, 2 and 30


def test_two_levels_are_one_input_and_more_are_one_each():
    assert inputs(["b", "a", "b", "b"]).tolist() == [[1], [-1], [1], [1]]
    assert inputs([True, False, True]).tolist() == [[1], [-1], [1]]
    three = ["b", "a", "c", "a", "b", "c"]
    assert inputs(three).tolist() == [[level == each for level in "abc"] for each in three]


def test_a_missing_category_is_a_level():
    assert inputs(["b", None, "b", ""]).tolist() == [[1], [-1], [1], [-1]]
    assert inputs([True, None, False, True, None, False]).shape == (6, 3)


def test_levels_that_fit_did_not_see_are_zeros_and_counted_in_one_warning():
    made = Preprocessing.fit(table(x=["a", "b", "c"] * 2, y=["p", "q"] * 3))
    with pytest.warns(UserWarning, match="fit") as record:
        found = made.transform(table(x=["d", "a", "e"], y=["p", "r", None]))
    assert found.tolist() == [[0, 0, 0, -1], [1, 0, 0, 0], [0, 0, 0, 0]]
    assert len(record) == 1
    for part in ("'x': 'd', 'e' in 2 rows", "'y': 'r', missing in 2 rows"):
        assert part in str(record[0].message)


def test_dates_are_seconds_and_the_parts_that_vary():
    days = np.array(["2024-01-01", "2024-01-09", "2024-01-17"], "datetime64[D]")
    made = Preprocessing.fit(table(day=days))
    assert made.names == ["day.seconds", "day.weekday"]
    times = np.array(["2024-01-01T10", "2025-03-01T11", "1960-01-17T11"], "datetime64[h]")
    made = Preprocessing.fit(table(time=times))
    assert made.names == [
        f"time.{part}" for part in ("seconds", "year", "month", "weekday", "hour")
    ]


@pytest.mark.parametrize("text", ["1970-01-01T00:00", "1969-12-31T23:59", "2024-02-29T13:00"])
def test_parts_of_dates_are_those_of_the_calendar(text):
    from fastnn.tabular.encoders import parts_of

    date = dt.datetime.fromisoformat(text)
    found = {name: float(part[0]) for name, part in parts_of(np.array([text], "M8[s]")).items()}
    seconds = date.replace(tzinfo=dt.timezone.utc).timestamp()
    assert found == {
        "seconds": seconds, "year": date.year, "month": date.month, "weekday": date.weekday(),
        "hour": date.hour,
    }  # fmt: skip


def test_dates_far_from_those_of_fit_are_counted():
    made = Preprocessing.fit(table(day=np.array(["2024-01-01", "2024-02-09"] * 2, "M8[D]")))
    with pytest.warns(UserWarning, match="'day': dates far from all in fit in 1 row"):
        made.transform(table(day=np.array(["2024-01-05", "2034-01-05"], "M8[D]")))


def test_columns_that_tell_nothing_are_left_out_and_named():
    with pytest.warns(UserWarning, match="left out") as record:
        made = Preprocessing.fit(
            table(one=[1.0] * 4, gaps=[None] * 4, same=["a"] * 4, good=[1, 2, 3, 4])
        )
    assert made.names == ["good"]
    for part in ("'one' (constant)", "'gaps' (all cells are missing)", "'same' (constant)"):
        assert part in str(record[0].message)
    with pytest.raises(ValueError, match=r"no column that tells rows apart: 'one' .constant"):
        Preprocessing.fit(table(one=[1.0] * 4))


def test_a_constant_with_gaps_keeps_the_input_that_tells_where_they_are():
    assert inputs([1.0, None, 1.0]).tolist() == [[0], [1], [0]]


def test_of_more_levels_than_half_of_the_rows_only_those_in_several_rows_are_used():
    with pytest.warns(UserWarning, match=r"'x' \(4\).*identify rows"):
        assert Preprocessing.fit(table(x=["a", "b", "c", "d", "a"])).names == ["x=a"]
    with pytest.warns(UserWarning, match=r"'id' .4 levels, each in one row"):
        Preprocessing.fit(table(id=["a", "b", "c", "d"], x=[1, 2, 3, 4]))


def test_columns_of_texts_and_numbers_are_categories_and_named():
    with pytest.warns(UserWarning, match="more than one kind, taken for categories: 'x'"):
        assert inputs([1, "b", 1, 1.0]).tolist() == [[-1], [1], [-1], [-1]]


def test_numbers_may_be_names_of_levels():
    made = table(x=[1, 2, 3.0, 1, 2, 3])
    assert Preprocessing.fit(made, ["x"]).names == ["x=1", "x=2", "x=3"]


def test_columns_are_found_by_name():
    made = Preprocessing.fit(table(a=[1, 2, 3, 4], b=["p", "q"] * 2))
    expected = made.transform(table(a=[1, 2], b=["p", "q"]))
    assert np.array_equal(made.transform(table(b=["p", "q"], a=[1, 2])), expected)
    with pytest.warns(UserWarning, match="left out, as fit did not see them: the column 'c'"):
        made.transform(table(b=["p", "q"], c=[1, 1], a=[1, 2]))
    with pytest.raises(ValueError, match=r"X lacks the column 'a' that .*; it has 'b'"):
        made.transform(table(b=["p"]))


@pytest.mark.parametrize(
    ("known", "new", "message"),
    [
        ([1.0, 2.0, 3.0], ["1", "x"], "column 'x', holds 'x' in row 1; need numbers"),
        (
            np.array(["2024-01-01", "2024-02-02"], "M8[D]"),
            [1.0],
            "holds '1.0' in row 0; need dates",
        ),
        ([1.0, 2.0, 3.0], np.array(["2024-01-01"], "M8[D]"), "need numbers"),
    ],
)
def test_a_column_of_another_kind_is_refused_by_its_first_such_cell(known, new, message):
    made = Preprocessing.fit(table(x=known))
    with pytest.raises(ValueError, match=message):
        made.transform(table(x=new))


@pytest.mark.parametrize(
    ("known", "new"),
    [
        (["1", "2", "3"] * 2, [3, 1]),
        (["yes", "no", "maybe"] * 2, [True, False]),
        ([True, False], [1, 0]),
        ([1, 0, 2], [True, False]),
    ],
)
def test_few_new_rows_may_look_like_another_kind(known, new):
    made = Preprocessing.fit(table(x=known))
    told = {True: "yes", False: "no"} if "maybe" in known else {}
    same = [told.get(value, type(known[0])(value)) for value in new]
    assert np.array_equal(made.transform(table(x=new)), made.transform(table(x=same)))


def test_all_missing_in_new_rows_is_what_a_missing_cell_is():
    made = Preprocessing.fit(table(x=[1.0, None, 3.0] * 2, y=["a", "b", None] * 2))
    assert made.transform(table(x=[None], y=[None])).tolist() == [[0, 1, 1, 0, 0]]


def test_numbers_at_the_ends_of_float64_stay_finite():
    x = np.array([-1e308, 0, 1, 2, 1e308])
    assert np.isfinite(inputs(x)).all()
    with pytest.raises(ValueError, match="column 'x', cannot be scaled in float64"):
        inputs(np.array([-1.7e308, 1.7e308] * 3))


def test_preprocessing_is_plain_json():
    made = Preprocessing.fit(everything())
    again = Preprocessing.of_plain(json.loads(json.dumps(made.plain())))
    assert again.encoders == made.encoders
    assert np.array_equal(again.transform(everything()), made.transform(everything()))


def everything(rows=60, seed=0):
    """Return a table with columns of all kinds."""
    rng = np.random.default_rng(seed)
    age = rng.normal(40, 10, rows)
    age[::7] = np.nan
    city = rng.choice(["Rome", "Oslo", "Bern"], rows).astype(object)
    city[::9] = None
    return table(
        age=age,
        city=city,
        member=rng.random(rows) > 0.5,
        day=np.datetime64("2024-01-01") + rng.integers(0, 500, rows),
    )


CELLS = {
    "numbers": st.none() | st.floats(allow_infinity=False),
    "texts": st.none() | st.text(max_size=3),
    "truths": st.none() | st.booleans(),
    "dates": st.none() | st.datetimes(),
}


@given(st.data())
@pytest.mark.filterwarnings("ignore:X ")
def test_any_table_becomes_finite_inputs_or_is_refused(data):
    kinds = data.draw(st.lists(st.sampled_from(sorted(CELLS)), min_size=1, max_size=3))
    rows = data.draw(st.integers(1, 12))
    drawn = {
        f"{kind}{i}": data.draw(st.lists(CELLS[kind], min_size=rows, max_size=rows))
        for i, kind in enumerate(kinds)
    }
    made = table(**drawn)
    refused = ""
    try:
        found = Preprocessing.fit(made)
    except ValueError as error:
        refused = str(error)
    if refused:
        assert "tells rows apart" in refused or "cannot be scaled" in refused
        return
    X = found.transform(made)
    assert X.shape == (rows, len(found.names))
    assert np.isfinite(X).all()
    assert abs(X).max(initial=0) <= 3
    again = Preprocessing.of_plain(json.loads(json.dumps(found.plain())))
    assert np.array_equal(again.transform(made), X)


# Tables


def test_arrays_of_text_hold_numbers_where_all_cells_are():
    found = columns_of(np.array([["1", "a"], ["2.5", "b"], ["", "1"]]))
    assert [each.kind for each in found] == ["number", "text"]
    assert found["0"].values[:2].tolist() == [1, 2.5]


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ([[1.0], [np.inf]], ValueError, "column '0', holds infinity in row 1"),
        (np.array([[1], [{}]], object), TypeError, "holds a dict in row 1"),
        ([1.0, 2.0], ValueError, "X has 1 dimensions; need 2"),
        (np.ones((2, 2), complex), TypeError, "holds complex128"),
    ],
)
def test_what_is_no_table_is_refused(values, error, message):
    with pytest.raises(error, match=message):
        columns_of(values)


def test_what_is_masked_is_missing(estimators):
    mask = np.arange(24).reshape(12, 2) % 7 == 0
    numbers = np.ma.masked_array(np.arange(24.0).reshape(12, 2), mask)
    found = columns_of(numbers)
    assert [each.missing.tolist() for each in found] == mask.T.tolist()
    words = columns_of(np.ma.masked_array([["a"], ["b"]], [[True], [False]]))["0"]
    assert (words.values.tolist(), words.missing.tolist()) == (["", "b"], [True, False])
    made = estimators.TabularRegressor(epochs=1, random_state=0).fit(numbers, np.arange(12.0))
    assert made.preprocessing_.names == ["0", "0 is missing", "1", "1 is missing"]


def test_frames_of_sparse_columns_are_refused():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"x": pd.arrays.SparseArray([0.0, 1.0])})
    with pytest.raises(TypeError, match=r"X is sparse; need a dense table: X.sparse.to_dense\(\)"):
        columns_of(frame)


def frames():
    """Return the same table as frames of several libraries, and as columns."""
    pytest.importorskip("narwhals")
    rng = np.random.default_rng(1)
    columns = {
        "age": [None, *rng.normal(size=39).tolist()],
        "city": [None, *rng.choice(["Rome", "Oslo", "Bern"], 39).tolist()],
        "member": (rng.random(40) > 0.5).tolist(),
        "day": [
            dt.datetime(2024, 1, 1) + dt.timedelta(days=int(d)) for d in rng.integers(0, 90, 40)
        ],
        "wait": [dt.timedelta(seconds=int(s)) for s in rng.integers(0, 90, 40)],
    }
    expected = table(**{k: v for k, v in columns.items() if k != "wait"},
                     wait=[s.total_seconds() for s in columns["wait"]])  # fmt: skip
    return columns, expected


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_frames_are_the_same_whatever_their_library(library):
    module = pytest.importorskip(library)
    columns, expected = frames()
    frame = module.table(columns) if library == "pyarrow" else module.DataFrame(columns)
    found = columns_of(frame)
    assert found.names == expected.names
    for ours, theirs in zip(expected, found, strict=True):
        assert (theirs.kind, theirs.missing.tolist()) == (ours.kind, ours.missing.tolist())
        assert np.array_equal(theirs.values[~theirs.missing], ours.values[~ours.missing])


def test_pandas_categories_that_no_row_has_are_no_levels():
    pd = pytest.importorskip("pandas")
    pytest.importorskip("narwhals")
    frame = pd.DataFrame(
        {
            "x": pd.Categorical(["a", "b", "a", None], categories=["a", "b", "c"]),
            "n": pd.Categorical([3, 1, 3, 2]),
            "i": pd.array([1, None, 3, 4], dtype="Int64"),
            "b": pd.array([True, None, False, True], dtype="boolean"),
        }
    )
    found = columns_of(frame)
    assert [each.kind for each in found] == ["text", "text", "number", "boolean"]
    with pytest.warns(UserWarning, match="more levels"):  # of 4 rows
        made = Preprocessing.fit(rows_of(found, np.arange(4)))
    assert not [name for name in made.names if name == "x=c"]


def test_times_with_a_zone_are_those_of_utc():
    pd = pytest.importorskip("pandas")
    pytest.importorskip("narwhals")
    frame = pd.DataFrame({"t": pd.to_datetime(["2024-01-01T12:00+02:00"], utc=True)})
    local = frame.assign(t=frame["t"].dt.tz_convert("Europe/Rome"))
    for each in (frame, local):
        assert str(columns_of(each)["t"].values[0]) == "2024-01-01T10:00:00"


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_with_columns_of_other_kinds_are_refused(library):
    module = pytest.importorskip(library)
    pytest.importorskip("narwhals")
    with pytest.raises(TypeError, match=r"column 'x', holds (a list in row 0|List)"):
        columns_of(module.DataFrame({"x": [[1, 2], [3]]}))
    if library == "polars":
        with pytest.raises(TypeError, match="X is a LazyFrame; need a table in memory"):
            columns_of(module.DataFrame({"x": [1]}).lazy())
    else:
        frame = module.DataFrame([[1, 2]], columns=["x", "x"])
        with pytest.raises(ValueError, match="two columns of one name"):
            columns_of(frame)


# Recipe


@each_backend
def test_a_network_starts_as_the_recipe_says(backend):
    net = recipes.network(recipes.CLASSES, 100, 3, 0, backend, None)
    assert net.architecture.sizes == (100, 256, 256, 256, 3)
    for weights in net.weights[:-1]:
        assert weights.std() == pytest.approx(len(weights) ** -0.5, rel=0.05)  # of 25,600 numbers
    assert np.std(net.biases[:-1]) == pytest.approx(1, rel=0.15)  # of 768 numbers
    assert not net.weights[-1].any()
    assert not net.biases[-1].any()


def test_a_network_of_no_use_is_said_without_advice_about_other_arguments():
    made = everything(120)
    recipe = recipes.changed(recipes.CLASSES, learning_rate=1e-9, epochs=20, hidden=(8,))
    with pytest.warns(fastnn.ConvergenceWarning) as record:
        predictors.fit(made, classes_of(made), recipe, 0)
    assert len(record) == 1
    assert str(record[0].message).endswith("predicts the same for each of 96 rows")


@pytest.mark.parametrize(
    ("rows", "size", "batches"), [(100, 100, 1), (265, 265, 1), (511, 511, 1), (1077, 270, 4)]
)
def test_batches_are_even_and_as_many_as_whole_ones(rows, size, batches):
    assert recipes._even(rows, 256) == size
    assert -(-rows // size) == batches


def test_the_parameters_of_the_last_of_the_best_epochs_are_kept():
    net = fastnn.Network([2, 2], seed=0)
    best = recipes.Best(net, recipes.CLASSES)
    for epoch, score in enumerate([0.5, 0.9, 0.7, 0.9, 0.8], 1):
        net.weights[0][...] = epoch
        best({"epoch": epoch, "validation_accuracy": score})
    best.restore()
    assert (best.epoch, float(net.weights[0][0, 0])) == (4, 4)


# Predictors


def classes_of(made):
    """Return labels that depend on several columns."""
    city = made["city"].values == "Rome"
    return np.where(city ^ made["member"].values, "in", "out")


def fitted(kind, backend="numba", epochs=24, rows=200, members=1):
    made = everything(rows)
    if kind == "classes":
        recipe, y = recipes.CLASSES, classes_of(made)
    else:
        recipe = recipes.NUMBERS if kind == "numbers" else recipes.QUANTILES
        y = np.where(classes_of(made) == "in", 5.0, 3.0)
        y += np.random.default_rng(7).normal(0, 0.1, rows)
    recipe = recipes.changed(recipe, epochs=epochs, hidden=(64, 64), members=members)
    return predictors.fit(made, y, recipe, 0, backend=backend, label="what")[0], made, y


@each_backend
@pytest.mark.parametrize("kind", ["classes", "numbers", "quantiles"])
def test_files_hold_everything(kind, backend, tmp_path):
    made, rows, _ = fitted(kind, backend, epochs=2)
    made.save(tmp_path / "t.safetensors")
    again = tabular.load(tmp_path / "t.safetensors", backend)
    assert np.array_equal(again.outputs(rows), made.outputs(rows))
    assert again.label == "what"
    if kind != "classes":
        assert np.array_equal(again.interval(rows, 0.8), made.interval(rows, 0.8))
        assert (again.low, again.high) == (made.low, made.high)
    else:
        assert again.classes.tolist() == ["in", "out"]
        assert again.temperature == made.temperature != 1
    net = fastnn.load(tmp_path / "t.safetensors", backend)
    known = made.preprocessing.transform(rows)
    assert np.array_equal(net.predict_proba(known), made.network.predict_proba(known))
    assert net.features == tuple(made.preprocessing.names)


CHANGES = {
    "not a list": lambda found: {**found, "columns": 3},
    "fewer columns": lambda found: {**found, "columns": found["columns"][1:]},
    "a column twice": lambda found: {**found, "columns": [*found["columns"], found["columns"][0]]},
    "no width": lambda found: {
        **found, "columns": [
            each | {"scales": [{"center": 0, "width": 0}]} if each.get("parts") == [""] else each
            for each in found["columns"]
        ],
    },
    "one class": lambda found: {**found, "classes": ["in"]},
    "a temperature of 0": lambda found: {**found, "temperature": 0},
    "a label that is a list": lambda found: {**found, "label": ["x"]},
    "levels that are numbers": lambda found: {
        **found, "columns": [
            {**each, **({"levels": [1, 2, 3, 4]} if "levels" in each else {})}
            for each in found["columns"]
        ],
    },
    "nothing": lambda found: {},
    "no object": lambda found: [1],
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_damaged_files_are_refused(change, tmp_path):
    made, *_ = fitted("classes", epochs=1)
    path = tmp_path / "t.safetensors"
    made.save(path)
    tensors, metadata = storage.read(path)
    metadata["tabular"] = change(metadata["tabular"])
    storage.write(path, tensors, metadata)
    with pytest.raises(ValueError, match=r"t.safetensors' does not describe a network for tables"):
        tabular.load(path)


@each_backend
@pytest.mark.parametrize("kind", ["classes", "numbers", "quantiles"])
def test_several_members_predict_the_mean_and_are_in_one_file(kind, backend, tmp_path):
    made, rows, _ = fitted(kind, backend, epochs=2, members=3)
    assert isinstance(made.network, fastnn.Committee)
    known = made.preprocessing.transform(rows)
    mean = np.mean([net.predict_proba(known) for net in made.networks], axis=0)
    if kind != "classes":
        mean = np.clip(mean, made.low, made.high)
    np.testing.assert_allclose(made.outputs(rows), mean, rtol=1e-5)
    made.save(tmp_path / "t.safetensors")
    again = tabular.load(tmp_path / "t.safetensors", backend)
    assert np.array_equal(again.outputs(rows), made.outputs(rows))
    if kind != "classes":
        assert np.array_equal(again.interval(rows, 0.8), made.interval(rows, 0.8))
    else:
        assert again.temperature == made.temperature != 1
    loaded = fastnn.load(tmp_path / "t.safetensors", backend)
    assert np.array_equal(loaded.predict_proba(known), made.network.predict_proba(known))
    assert loaded.features == tuple(made.preprocessing.names)


def test_the_first_of_several_members_is_the_single_one():
    alone, *_ = fitted("numbers", epochs=2)
    several, *_ = fitted("numbers", epochs=2, members=2)
    first, second = several.networks
    assert first.parameters.tobytes() == alone.network.parameters.tobytes()
    assert (second.parameters != first.parameters).any()


@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_weights_of_rows_and_classes_count_for_each_member(kind, tmp_path):
    made = everything(200)
    y, settings = classes_of(made), {"epochs": 4, "hidden": (16,), "batch_size": 32}
    recipe = recipes.changed(recipes.CLASSES, **settings, class_weight={"in": 3.0})
    if kind == "numbers":
        y, recipe = np.where(y == "in", 5.0, 3.0), recipes.changed(recipes.NUMBERS, **settings)
    weights = np.random.default_rng(8).uniform(0.1, 2, 200)

    def fit(members, weights):
        changed = recipes.changed(recipe, members=members, calibrate=False)
        return predictors.fit(made, y, changed, 0, weights=weights)[0]

    alone, several, even = fit(1, weights), fit(2, weights), fit(2, None)
    first, second = several.networks
    assert first.parameters.tobytes() == alone.network.parameters.tobytes()
    for one, other in zip((first, second), even.networks, strict=True):
        assert (one.parameters != other.parameters).any()
    several.save(tmp_path / "t.safetensors")
    again = tabular.load(tmp_path / "t.safetensors")
    assert np.array_equal(again.outputs(made), several.outputs(made))
    if kind == "numbers":
        assert np.array_equal(again.residual_weights, several.residual_weights)
        assert np.array_equal(again.interval(made, 0.8), several.interval(made, 0.8))


@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_for_several_members_a_row_of_weight_2_is_the_row_twice(kind):
    made = everything(100)
    y, recipe = classes_of(made), recipes.CLASSES
    if kind == "numbers":
        y, recipe = np.where(y == "in", 5.0, 3.0), recipes.NUMBERS
    recipe = recipes.changed(recipe, epochs=4, hidden=(16,), batch_size=32, members=2)
    times = np.random.default_rng(8).integers(1, 4, 100)
    rows = np.repeat(np.arange(100), times)
    one, _ = predictors.fit(made, y, recipe, 0, weights=times.astype(float))
    other, _ = predictors.fit(rows_of(made, rows), y[rows], recipe, 0)
    assert one.temperature == other.temperature
    assert np.array_equal(one.outputs(made), other.outputs(made))
    if kind == "numbers":
        assert np.array_equal(one.interval(made, 0.8), other.interval(made, 0.8))


def test_intervals_of_several_members_are_about_the_mean():
    made, _, _ = fitted("numbers", epochs=24, rows=1000, members=3)
    new = everything(2000, seed=5)
    y = np.where(classes_of(new) == "in", 5.0, 3.0) + np.random.default_rng(9).normal(0, 0.1, 2000)
    low, high = made.interval(new, 0.9).T
    slack = 4 * np.sqrt(0.9 * 0.1 / 200)  # 200 rows set the width
    assert np.mean((low <= y) & (y <= high)) == pytest.approx(0.9, abs=slack)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_temperature_of_several_is_that_of_their_mean(weighted):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2, 300, 3)) * 3
    labels = (logits[0] + logits[1] + rng.normal(size=(300, 3)) * 9).argmax(axis=1)
    weights = rng.uniform(size=300) * (labels == 0) if weighted else None
    found = calibration.temperature_of_several(logits, labels, weights)

    def loss(temperature):
        p = np.exp(logits / temperature)
        p = (p / p.sum(axis=2, keepdims=True)).mean(axis=0)
        losses = -(calibration.smoothed_targets(labels, 3) * np.log(p)).sum(axis=1)
        return np.average(losses, weights=weights)

    assert loss(found) <= min(loss(found * 1.01), loss(found / 1.01))
    one = calibration.temperature_of(logits[0], labels, weights)
    of_several = calibration.temperature_of_several(logits[:1], labels, weights)
    assert of_several == pytest.approx(one, rel=1e-3)


def test_damaged_files_of_several_members_are_refused(tmp_path):
    made, *_ = fitted("classes", epochs=1, members=2)
    path = tmp_path / "t.safetensors"
    made.save(path)
    tensors, metadata = storage.read(path)
    metadata["members"][1]["network"]["features"][0] = "other"
    storage.write(path, tensors, metadata)
    with pytest.raises(ValueError, match=r"does not describe a network for tables.*member 1 has"):
        tabular.load(path)


def test_estimators_with_members(estimators, tmp_path, capsys):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 3))
    settings = {"hidden_layer_sizes": (8,), "epochs": 3, "random_state": 0, "n_members": 2}
    classifier = estimators.TabularClassifier(**settings, verbose=True).fit(X, X[:, 0] > 0)
    regressor = estimators.TabularRegressor(**settings).fit(X, X[:, 0])
    assert len(capsys.readouterr().out.splitlines()) == 6
    for made in (classifier, regressor):
        assert len(made.committee_) == len(made.history_) == 2
        assert not hasattr(made, "network_")
        made.save(tmp_path / "e")
        again = type(made).load(tmp_path / "e")
        assert np.array_equal(again.predict(X), made.predict(X))
    assert regressor.predict_interval(X, 0.8).shape == (80, 2)
    np.testing.assert_allclose(classifier.predict_proba(X).sum(axis=1), 1)
    alone = estimators.TabularRegressor(**{**settings, "n_members": 1}).fit(X, X[:, 0])
    assert alone.network_.architecture.sizes[-1] == 1
    assert not hasattr(alone, "committee_")
    with pytest.raises(ValueError, match="n_members must be at least 1"):
        estimators.TabularRegressor(n_members=0).fit(X, X[:, 0])


def test_a_file_of_a_network_alone_is_refused(tmp_path):
    fastnn.Network([2, 2]).save(tmp_path / "n.safetensors")
    with pytest.raises(ValueError, match=r"without preprocessing; fastnn.load reads it"):
        tabular.load(tmp_path / "n.safetensors")


def test_predictors_need_no_scikit_learn(tmp_path):
    made, *_ = fitted("classes", epochs=1)
    made.save(tmp_path / "t.safetensors")
    code = (
        "import sys; sys.modules.update(sklearn=None, scipy=None, narwhals=None, pandas=None)\n"
        "import numpy as np, fastnn.tabular\n"
        "made = fastnn.tabular.load(sys.argv[1], 'numpy')\n"
        "X = np.array([[40.0, 'Rome', True, np.datetime64('2024-02-02')]], object)\n"
        "from fastnn.tabular.tables import columns_of\n"
        "from fastnn.datasets import Column, Columns\n"
        "given = columns_of(X)\n"
        "names = made.preprocessing.columns\n"
        "rows = tuple(Column(name, each.kind, each.values, each.missing)\n"
        "             for name, each in zip(names, given))\n"
        "print(names, made.predict(Columns(1, rows)).shape, made.classes.tolist())\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "t.safetensors")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "('age', 'city', 'member', 'day') (1,) ['in', 'out']"


def test_numbers_stay_within_the_range_of_fit():
    made, rows, y = fitted("numbers")
    far = table(age=[1e9], city=["Rome"], member=[False], day=np.array(["2024-01-02"], "M8[D]"))
    for each in (rows, far):
        found = made.predict(each)
        assert found.min() >= y.min()
        assert found.max() <= y.max()


@pytest.mark.parametrize("kind", ["numbers", "quantiles"])
def test_intervals_hold_the_share_that_they_are_for(kind):
    made, _, _ = fitted(kind, epochs=48, rows=1000)
    new = everything(2000, seed=5)
    y = np.where(classes_of(new) == "in", 5.0, 3.0) + np.random.default_rng(9).normal(0, 0.1, 2000)
    for coverage in (0.5, 0.9):
        low, high = made.interval(new, coverage).T
        # 200 rows set the width: four standard deviations of a share of them.
        slack = 4 * np.sqrt(coverage * (1 - coverage) / 200)
        assert np.mean((low <= y) & (y <= high)) == pytest.approx(coverage, abs=slack)


def test_intervals_of_quantiles_are_wider_where_numbers_vary_more():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, 1000)
    made = table(x=x)
    recipe = recipes.changed(recipes.QUANTILES, epochs=48, hidden=(64, 64))
    found, _ = predictors.fit(made, np.where(x > 0, 1, 0.1) * rng.normal(size=1000), recipe, 0)
    low, high = found.interval(made, 0.8).T
    assert np.median((high - low)[x > 0.2]) > 3 * np.median((high - low)[x < -0.2])
    assert (low <= high).all()
    assert np.array_equal(found.predict(made), found.outputs(made)[:, 1])


def test_an_interval_that_needs_more_rows_is_refused():
    made, rows, _ = fitted("numbers", epochs=1, rows=40)
    with pytest.raises(
        ValueError, match="for which 19 rows must be set aside in fit; there were 8"
    ):
        made.interval(rows, 0.95)
    with pytest.raises(ValueError, match="coverage must be"):
        made.interval(rows, 1.0)
    assert made.interval(rows, 8 / 9).shape == (40, 2)


def test_the_temperature_is_that_of_the_lowest_cross_entropy():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(3000, 3))
    p = np.exp(logits / 2.5)
    p /= p.sum(axis=1, keepdims=True)
    labels = (p.cumsum(axis=1) < rng.random((3000, 1))).sum(axis=1)
    assert calibration.temperature_of(logits, labels) == pytest.approx(2.5, rel=0.1)  # 3,000 rows
    sure = np.eye(3)[rng.integers(0, 3, 50)]
    assert 0.05 < calibration.temperature_of(sure, sure.argmax(axis=1)) < 1


@each_backend
def test_calibration_changes_no_class_and_lowers_the_loss(backend):
    made, rows, y = fitted("classes", backend, epochs=48)
    net = copy.deepcopy(made.network)
    for array in (net.weights[-1], net.biases[-1]):
        array *= made.temperature
    known = made.preprocessing.transform(rows)
    assert (net.predict(known) == made.network.predict(known)).all()
    assert made.temperature < 1  # label smoothing makes too little of what is certain
    assert made.network.evaluate(known, y)["loss"] < net.evaluate(known, y)["loss"]


# Weights


def test_intervals_count_rows_by_their_weights():
    made, rows, _ = fitted("numbers", epochs=1, rows=40)
    made.low, made.high = -np.inf, np.inf

    def width(coverage):
        low, high = made.interval(rows, coverage).T
        return pytest.approx(float((high - low).mean() / 2), rel=1e-6)

    made.residuals = np.array([1.0, 2.0, 3.0, 4.0])
    assert [width(0.2), width(0.5), width(0.8)] == [1, 3, 4]
    made.residual_weights = np.array([0.4, 0.4, 0.4, 2.8])  # in sums: 0.4, 0.8, 1.2, 4
    assert [width(0.2), width(0.5), width(0.8)] == [3, 4, 4]
    with pytest.raises(ValueError, match="for which 9 rows must be set aside in fit; there were 4"):
        made.interval(rows, 0.9)


def test_the_temperature_counts_rows_by_their_weights():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(6000, 3))
    p = np.exp(logits / np.where(np.arange(6000) < 3000, 2.5, 0.5)[:, None])
    p /= p.sum(axis=1, keepdims=True)
    labels = (p.cumsum(axis=1) < rng.random((6000, 1))).sum(axis=1)
    for part, temperature in ((np.arange(6000) < 3000, 2.5), (np.arange(6000) >= 3000, 0.5)):
        found = calibration.temperature_of(logits, labels, 1e-6 + 100 * part)
        assert found == pytest.approx(temperature, rel=0.1)  # 3,000 rows


@pytest.mark.parametrize("kind", ["numbers", "quantiles"])
def test_files_hold_the_weights_of_intervals(kind, tmp_path):
    rng = np.random.default_rng(0)
    recipe = recipes.NUMBERS if kind == "numbers" else recipes.QUANTILES
    recipe = recipes.changed(recipe, epochs=2, hidden=(8,))
    rows = everything(100)
    made, _ = predictors.fit(rows, rng.normal(size=100), recipe, 0, weights=rng.random(100))
    assert made.residual_weights.mean() == pytest.approx(1)
    made.save(tmp_path / "t.safetensors")
    again = tabular.load(tmp_path / "t.safetensors")
    assert np.array_equal(again.interval(rows, 0.5), made.interval(rows, 0.5))
    tensors, metadata = storage.read(tmp_path / "t.safetensors")
    tensors["tabular.residual_weights"] = -made.residual_weights
    storage.write(tmp_path / "t.safetensors", tensors, metadata)
    with pytest.raises(ValueError, match="does not describe a network for tables"):
        tabular.load(tmp_path / "t.safetensors")


@each_backend
@pytest.mark.parametrize("kind", ["Classifier", "Regressor"])
def test_rows_of_weight_zero_are_as_if_they_were_not_there(kind, backend, estimators):
    made = everything(80)
    rng = np.random.default_rng(0)
    y = classes_of(made) if kind == "Classifier" else rng.normal(size=80)
    weights = rng.integers(0, 3, 80)
    Estimator = getattr(estimators, f"Tabular{kind}")
    how = {"epochs": 2, "random_state": 0, "backend": backend}
    if kind == "Classifier":
        how["class_weight"] = "balanced"
    one = Estimator((8,), **how).fit(made, y, weights)
    kept = np.flatnonzero(weights)
    two = Estimator((8,), **how).fit(rows_of(made, kept), y[kept], weights[kept])
    known = rows_of(made, kept)
    assert np.array_equal(one.predictor_.outputs(known), two.predictor_.outputs(known))


def expanded(made, y, times):
    """Return a table in which each row stands as often as named, in another order."""
    rows = np.random.default_rng(5).permutation(np.repeat(np.arange(made.rows), times))
    return rows_of(made, rows), y[rows]


def of_kind(kind, rows):
    """Return an estimator's settings, and targets for `everything`, of which some are the same."""
    rng = np.random.default_rng(3)
    if kind == "Classifier":
        return {"class_weight": "balanced"}, rng.choice(["a", "b", "c"], rows)
    return {"loss": "quantile"}, rng.normal(size=rows).round(1)


def assert_same(one, two, made):
    """Two estimators are the same to the bit, also in what they predict."""
    assert np.array_equal(one.predictor_.outputs(made), two.predictor_.outputs(made))
    assert one.predictor_.temperature == two.predictor_.temperature
    assert np.array_equal(one.predictor_.residuals, two.predictor_.residuals)
    assert one.history_.best_epoch == two.history_.best_epoch


each_kind = pytest.mark.parametrize("kind", ["Classifier", "Regressor"])


@each_backend
@each_kind
@pytest.mark.parametrize("most", [3, 30])
def test_a_row_of_a_weight_is_the_row_so_many_times(most, kind, backend, estimators):
    made = everything(70)
    how, y = of_kind(kind, 70)
    times = np.random.default_rng(0).integers(0, most, 70)
    how |= {"hidden_layer_sizes": (8,), "epochs": 3, "random_state": 0, "backend": backend}
    one = getattr(estimators, f"Tabular{kind}")(**how).fit(made, y, times)
    two = getattr(estimators, f"Tabular{kind}")(**how).fit(*expanded(made, y, times))
    assert_same(one, two, made)
    if kind == "Regressor":
        pairs = zip(*(each.predict_interval(made, 0.5) for each in (one, two)), strict=True)
        assert all(np.array_equal(*pair) for pair in pairs)


@each_kind
@pytest.mark.parametrize("weighted", [False, True])
def test_the_order_of_the_rows_changes_nothing(weighted, kind, estimators):
    made = everything(70)
    made = rows_of(made, np.arange(70) % 40)  # some rows are the same
    how, y = of_kind(kind, 40)
    y = y[np.arange(70) % 40]
    weights = np.random.default_rng(1).random(70) if weighted else np.ones(70)
    mixed = np.random.default_rng(2).permutation(70)
    how |= {"hidden_layer_sizes": (8,), "epochs": 3, "random_state": 0}
    one = getattr(estimators, f"Tabular{kind}")(**how).fit(made, y, weights)
    two = getattr(estimators, f"Tabular{kind}")(**how)
    two.fit(rows_of(made, mixed), y[mixed], weights[mixed])
    assert_same(one, two, made)


def test_weights_that_are_all_the_same_are_as_none(estimators):
    made = everything()
    how, y = of_kind("Regressor", 60)
    how |= {"hidden_layer_sizes": (8,), "epochs": 3, "random_state": 0}
    one, two = (
        estimators.TabularRegressor(**how).fit(made, y, weights)
        for weights in (None, np.full(60, 0.3))
    )
    assert_same(one, two, made)


def test_weights_that_are_all_the_same_take_no_time_in_training():
    made, y = everything(), np.arange(60.0)
    twice = np.arange(120) % 60
    assert distinct(made, y).weights is None
    assert distinct(made, y, np.full(60, 0.3)).weights is None
    assert distinct(rows_of(made, twice), y[twice]).weights is None


def test_sums_of_weights_do_not_depend_on_the_order_of_the_rows():
    made, y = table(x=[1.0, 1, 1, 2]), np.zeros(4)
    sums = [distinct(made, y, np.array([*each, 1.0])).weights.tolist()
            for each in ((1e16, 1, 1), (1, 1e16, 1), (1, 1, 1e16))]  # fmt: skip
    assert sums == sums[:1] * 3


def test_weights_whose_sum_is_not_finite_are_refused():
    with pytest.raises(ValueError, match="too large: their sum is not finite"):
        distinct(table(x=[1.0, 1, 2]), np.zeros(3), np.full(3, 1e308))


def test_rows_are_the_same_if_all_cells_and_the_target_are():
    made = table(
        number=[1.0, 1, None, None, -0.0, 0.0, 1],
        text=["a", "a", None, " ", "b", "b", "a"],
        truth=[True, True, None, None, False, False, True],
        day=np.array([*["2024-01-01"] * 2, *["NaT"] * 4, "2024-01-01"], "M8[D]"),
        gaps=[None] * 7,
    )  # fmt: skip
    y = np.array([1.0, 1, 2, 2, 3, 3, 4])
    found = distinct(made, y, np.array([1, 2, 3, 4, 0, 5, 6]))
    assert sorted(found.rows // 2) == [0, 1, 2, 3]
    assert dict(zip(y[found.rows], found.weights, strict=True)) == {1: 3, 2: 7, 3: 5, 4: 6}
    for each in made:  # a missing number is not 0, and a missing truth value not False
        others = Columns(
            2, (type(each)("x", each.kind, each.values[:1].repeat(2), np.arange(2) > 0),)
        )
        if each.kind != "empty":
            assert len(distinct(others, np.zeros(2)).rows) == 2


@given(st.data())
def test_rows_are_merged_as_by_comparing_each_with_each(data):
    kinds = data.draw(st.lists(st.sampled_from(sorted(CELLS)), min_size=1, max_size=3))
    rows = data.draw(st.integers(1, 30))
    few = {
        "numbers": [None, 0.0, 1.5], "texts": ["a", "", "b"],
        "truths": [None, True, False],
        "dates": [None, dt.datetime(2024, 1, 1), dt.datetime(1969, 1, 1)],
    }  # fmt: skip
    drawn = {
        f"{kind}{i}": data.draw(st.lists(st.sampled_from(few[kind]), min_size=rows, max_size=rows))
        for i, kind in enumerate(kinds)
    }
    y = np.array(data.draw(st.lists(st.integers(0, 1), min_size=rows, max_size=rows)))
    expected = {}
    for row in zip(*drawn.values(), y.tolist(), strict=True):
        row = tuple(value or None if isinstance(value, str) else value for value in row)
        expected[row] = expected.get(row, 0) + 1
    found = distinct(table(**drawn), y)
    assert sorted(found.times) == sorted(expected.values())
    mixed = np.array(data.draw(st.permutations(range(rows))))
    again = distinct(rows_of(table(**drawn), mixed), y[mixed])
    for each in table(**drawn):
        one, two = each.values[found.rows], each.values[mixed[again.rows]]
        assert one.tolist() == two.tolist() or each.kind == "number"
    assert np.array_equal(y[found.rows], y[mixed[again.rows]])
    assert np.array_equal(found.times, again.times)


@given(st.lists(st.integers(1, OFTEN - 1), min_size=2, max_size=40), st.integers(0, 9))
def test_equal_rows_are_never_in_both_parts(times, seed):
    x = np.repeat(np.arange(len(times)), times).astype(float)
    found = distinct(table(x=x), np.zeros(len(x)))
    (rows, *_), (aside, *_) = found.parts(0.2, None, seed)
    assert not set(x[found.rows[rows]]) & set(x[found.rows[aside]])
    assert len(rows) + len(aside) == len(times)


def test_rows_that_stand_there_often_are_in_both_parts_by_chance():
    x = np.repeat([0.0, 1, 2, 3], [100, 1000, 10000, 1])
    found = distinct(table(x=x), np.zeros(len(x)))
    (rows, weights, times), (aside, others, few) = found.parts(0.2, None, 0)
    assert (times, few) == pytest.approx((weights.sum(), others.sum()))
    assert (rows.tolist(), aside.tolist()) == ([0, 1, 2, 3], [0, 1, 2])
    np.testing.assert_allclose(weights + np.append(others, 0), [100, 1000, 10000, 1])
    for share, times in zip(others, (100, 1000, 10000), strict=True):
        assert share == pytest.approx(0.2 * times, abs=4 * np.sqrt(0.16 * times))


def test_weights_that_are_no_whole_numbers_do_not_count_rows():
    made, y = everything(), np.arange(60.0)
    found = distinct(made, y, np.full(60, 100.5) + np.arange(60))
    (rows, *_), (aside, *_) = found.parts(0.2, None, 0)
    assert not set(rows) & set(aside)
    assert (found.times == 1).all()


def test_a_table_of_few_different_rows_is_learnt(estimators):
    X = np.array([[a, b] for a in ("no", "yes") for b in ("no", "yes")] * 20, object)
    y = X[:, 0] == X[:, 1]
    classifier = estimators.TabularClassifier((32, 32), random_state=0, epochs=96).fit(X, y)
    assert classifier.score(X, y) == 1


def test_names_in_rows_that_stand_there_often_identify_no_rows(estimators):
    X = np.array([["red"], ["green"], ["blue"]] * 20, object)
    regressor = estimators.TabularRegressor((16,), random_state=0, epochs=2)
    regressor.fit(X, [1.0, 2, 3] * 20)
    assert regressor.preprocessing_.names == ["0=blue", "0=green", "0=red"]


def test_weights_decide_between_rows_that_contradict_each_other(estimators):
    X = np.array([[0.0], [1], [0], [1]] * 20)
    y = np.array([0, 1, 1, 0] * 20)
    for heavy in (0, 1):  # the first two rows of each four, or the others
        weights = np.where(np.arange(80) % 4 // 2 == heavy, 3.0, 1.0)
        classifier = estimators.TabularClassifier((16,), epochs=40, random_state=0)
        found = classifier.fit(X, y, sample_weight=weights).predict_proba([[0.0], [1.0]])
        assert found[:, 0] == pytest.approx([0.25, 0.75] if heavy else [0.75, 0.25], abs=0.1)


def test_weights_count_in_the_choice_of_the_epoch(estimators):
    made = everything(200)
    weights = np.random.default_rng(0).random(200)
    classifier = estimators.TabularClassifier((8,), epochs=8, random_state=0, calibrate=False)
    classifier.fit(made, classes_of(made), weights)
    best = classifier.history_.rows[classifier.history_.best_epoch - 1]
    codes = (classes_of(made) == "out").astype(int)
    seed = int(np.random.RandomState(0).randint(np.iinfo(np.int32).max))
    known = distinct(made, codes, weights)
    aside = known.rows[known.parts(0.2, codes[known.rows], seed)[1][0]]
    right = classifier.predict(rows_of(made, aside)) == classes_of(made)[aside]
    assert best["validation_accuracy"] == pytest.approx(np.average(right, weights=weights[aside]))


def test_weights_of_classes_are_those_of_their_rows(estimators):
    made = everything(100)
    y = classes_of(made)
    how = {"epochs": 3, "random_state": 0}
    rows = np.where(y == "in", 4.5, 1)  # whole numbers would count rows
    by_row = estimators.TabularClassifier((8,), **how).fit(made, y, rows)
    by_class = estimators.TabularClassifier((8,), class_weight={"in": 4.5}, **how).fit(made, y)
    assert np.array_equal(by_row.predict_proba(made), by_class.predict_proba(made))
    balanced = estimators.TabularClassifier((8,), class_weight="balanced", **how).fit(made, y)
    share = np.where(y == "in", 1 / (y == "in").sum(), 1 / (y == "out").sum())
    np.testing.assert_allclose(
        balanced.predict_proba(made),
        estimators.TabularClassifier((8,), **how).fit(made, y, share).predict_proba(made),
        rtol=1e-4,  # float32, and weights that are rounded otherwise
    )


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(19), "sample_weight.shape == \\(19,\\), expected \\(20,\\)"),
        (np.full(20, -1.0), "Negative values in data"),
        (np.full(20, np.nan), "sample_weight contains NaN"),
        (np.arange(20) % 2, r"one class in the rows of a weight above 0, \[1\]"),
    ],
)
def test_weights_that_are_none_are_refused(weights, message, estimators):
    X = np.arange(20.0)[:, None]
    with pytest.raises(ValueError, match=message):
        estimators.TabularClassifier(epochs=1).fit(X, np.arange(20) % 2, weights)


def test_weights_of_unknown_classes_are_refused(estimators):
    X = np.arange(20.0)[:, None]
    classifier = estimators.TabularClassifier(epochs=1, class_weight={3: 2.0})
    with pytest.raises(ValueError, match="class_weight has no class 3"):
        classifier.fit(X, np.arange(20) % 2)


# Estimators


def _checks():
    try:
        from sklearn.utils.estimator_checks import parametrize_with_checks
    except ImportError:
        return pytest.mark.skip("needs scikit-learn")
    from fastnn.estimators import TabularClassifier, TabularRegressor

    # Fewer epochs: 30 checks train a dozen networks each.
    theirs = parametrize_with_checks([TabularClassifier(epochs=64), TabularRegressor(epochs=64)])
    return pytest.mark.parametrize(theirs.args[0], list(theirs.args[1]), **theirs.kwargs)


@_checks()
@pytest.mark.filterwarnings("ignore")  # theirs are about the data that they pass
def test_scikit_learns_checks_pass(estimator, check):
    check(estimator)


def as_objects(made):
    """Return a table as an array of objects."""
    columns = [np.where(each.missing, None, each.values.astype(object)) for each in made]
    return np.column_stack(columns)


@each_backend
def test_the_classifier_learns_from_a_table_of_all_kinds(estimators, backend):
    made = everything(300)
    y = classes_of(made)
    classifier = estimators.TabularClassifier(
        (64, 64), epochs=96, random_state=0, backend=backend
    ).fit(made, y)
    assert classifier.feature_names_in_.tolist() == ["age", "city", "member", "day"]
    assert classifier.classes_.tolist() == ["in", "out"]
    new = everything(200, seed=3)
    assert classifier.score(new, classes_of(new)) > 0.9
    np.testing.assert_allclose(classifier.predict_proba(new).sum(axis=1), 1)


def test_the_regressor_learns_from_an_array_of_objects(estimators):
    made = everything(300)
    y = np.where(classes_of(made) == "in", 5.0, 3.0)
    regressor = estimators.TabularRegressor((64, 64), epochs=96, random_state=0)
    regressor.fit(as_objects(made), y)
    new = everything(200, seed=3)
    assert regressor.score(as_objects(new), np.where(classes_of(new) == "in", 5.0, 3.0)) > 0.8


def test_searches_of_scikit_learn_take_frames(estimators):
    pd = pytest.importorskip("pandas")
    from sklearn.model_selection import GridSearchCV

    made = everything(120)
    frame = pd.DataFrame(dict(zip(made.names, as_objects(made).T, strict=True)))
    search = GridSearchCV(
        estimators.TabularClassifier((32,), random_state=0),
        {"epochs": [1, 24]},
        cv=2,
        error_score="raise",
    ).fit(frame, classes_of(made))
    assert search.best_params_ == {"epochs": 24}
    assert search.predict(frame).shape == (120,)


def test_a_seed_fixes_everything(estimators):
    made = everything()
    y = classes_of(made)
    one, two = (
        estimators.TabularClassifier(epochs=3, random_state=7).fit(made, y) for _ in range(2)
    )
    assert np.array_equal(one.predict_proba(made), two.predict_proba(made))


def test_copies_and_files_of_estimators_predict_the_same(estimators, tmp_path):
    from sklearn.base import clone

    made = everything()
    classifier = estimators.TabularClassifier(epochs=3, random_state=7).fit(made, classes_of(made))
    regressor = estimators.TabularRegressor(epochs=3, random_state=7).fit(made, np.arange(60.0))
    for each in (classifier, regressor):
        expected = each.predict(made)
        each.save(tmp_path / "e.safetensors")
        loaded = type(each).load(tmp_path / "e.safetensors")
        for other in (pickle.loads(pickle.dumps(each)), copy.deepcopy(each), loaded):
            assert np.array_equal(other.predict(made), expected)
        assert loaded.feature_names_in_.tolist() == each.feature_names_in_.tolist()
        assert clone(each).get_params() == each.get_params()
    with pytest.raises(ValueError, match=r"predicts numbers: TabularRegressor.load reads it"):
        estimators.TabularClassifier.load(tmp_path / "e.safetensors")
    classifier.save(tmp_path / "e.safetensors")
    with pytest.raises(ValueError, match=r"predicts classes: TabularClassifier.load reads it"):
        estimators.TabularRegressor.load(tmp_path / "e.safetensors")


def test_targets_with_gaps_are_refused_by_their_rows(estimators):
    X = np.arange(12.0)[:, None]
    y = np.arange(12.0)
    y[[3, 8]] = np.nan
    with pytest.raises(ValueError, match="missing value, in rows 3, 8"):
        estimators.TabularRegressor().fit(X, y)
    labels = np.array(["a", "b"] * 6, object)
    labels[5] = None
    with pytest.raises(ValueError, match="missing value, in rows 5"):
        estimators.TabularClassifier().fit(X, labels)
    y[[3, 8]] = np.inf
    with pytest.raises(ValueError, match="y is infinite in row 3"):
        estimators.TabularRegressor().fit(X, y)
    with pytest.raises(ValueError, match="y holds one class, \\['a'\\]"):
        estimators.TabularClassifier().fit(X, ["a"] * 12)


def test_sparse_input_is_refused(estimators):
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(TypeError, match="Sparse data was passed for X"):
        estimators.TabularClassifier().fit(sparse.eye_array(8), [0, 1] * 4)


def test_columns_that_are_named_as_categories_need_to_exist(estimators):
    X = np.array([[1.0, 2], [2, 2.5], [3, 1]] * 10)
    y = [0, 1] * 15
    classifier = estimators.TabularClassifier(epochs=1, categorical_features=[0]).fit(X, y)
    assert classifier.preprocessing_.names == ["0=1", "0=2", "0=3", "1"]
    for wrong in (2, "x", True):
        classifier.categorical_features = [wrong]
        with pytest.raises(ValueError, match=r"categorical_features has .*: X has '0', '1'"):
            classifier.fit(X, y)


def test_verbose_prints_the_epochs(estimators, capsys):
    estimators.TabularRegressor((8,), epochs=3, verbose=True).fit(
        np.arange(40.0).reshape(20, 2), np.arange(20.0)
    )
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_without_calibration_the_temperature_is_one(estimators):
    made = everything()
    classifier = estimators.TabularClassifier(epochs=2, calibrate=False).fit(made, classes_of(made))
    assert classifier.temperature_ == 1


# Command lines


def written(path, made, y=None, label="what"):
    """Write a table as a CSV file."""
    names = list(made.names) + [label] * (y is not None)
    lines = [",".join(names)]
    for i in range(made.rows):
        cells = ["" if each.missing[i] else str(each.values[i]) for each in made]
        lines.append(",".join([*cells, *([] if y is None else [str(y[i])])]))
    path.write_text("\n".join(lines))
    return path


@pytest.mark.filterwarnings("default")  # which the command line prints
def test_a_csv_file_is_taken_as_it_is(tmp_path, capsys):
    made = everything(200)
    data = written(tmp_path / "d.csv", made, classes_of(made))
    saved = tmp_path / "n.safetensors"
    options = ["--data", data, "--label", "what", "--tabular", "--save", saved, "--epochs", 24]
    assert train_line.main(list(map(str, options))) == 0
    printed = capsys.readouterr().out
    for part in (
        "160 training and 40 test rows, 4 columns; 'what' is predicted, 2 classes",
        "age     number ",
        "scaled; missing: the median, and an input that tells",
        "an input for each of 4 levels, missing is one",
        "False is -1, True is 1",
        "test accuracy",
        f"the network and its preprocessing are in {saved}",
    ):
        assert part in printed
    city = made["city"].values.copy()
    city[:2] = "Paris"
    columns = [c if c.name != "city" else type(c)("city", c.kind, city, city == "") for c in made]
    new = written(tmp_path / "new.csv", Columns(200, tuple(reversed(columns))))
    out = tmp_path / "out.csv"
    assert predict_line.main([str(saved), "--data", str(new), "--outputs", str(out)]) == 0
    assert "'city': 'Paris' in 2 rows" in capsys.readouterr().err
    lines = out.read_text().splitlines()
    assert lines[0] == "row,what,in,out"
    found = [line.split(",")[1] for line in lines[3:]]
    assert np.mean(np.array(found) == classes_of(made)[2:]) > 0.9
    assert predict_line.main([str(saved), "--data", str(data)]) == 0
    assert "test accuracy  0.9" in capsys.readouterr().out
    table_of_rows = read_columns(data, columns=made.names)
    assert tabular.load(saved).predict(table_of_rows).tolist()[2:] == found


@pytest.mark.parametrize("of_numbers", [False, True], ids=["classes", "numbers"])
def test_a_run_on_a_table_has_a_page_and_pictures_and_a_history(tmp_path, capsys, of_numbers):
    pytest.importorskip("matplotlib")
    made = everything(80)
    y = np.where(classes_of(made) == "in", 5.25, 3) if of_numbers else classes_of(made)
    data = written(tmp_path / "d.csv", made, y)
    files = {name: tmp_path / name for name in ("report", "plot", "history")}
    options = ["--data", data, "--label", "what", "--tabular", "--epochs", 3]
    for name, path in files.items():
        options += [f"--{name}", path]
    assert train_line.main(list(map(str, options))) == 0
    assert f"the report is {files['report']}" in capsys.readouterr().out
    page = files["report"].read_text(encoding="utf-8")
    assert "d.csv: training run" in page
    assert ("RMSE" if of_numbers else "Confusion matrix") in page
    assert (files["plot"] / "curves.png").exists()
    assert len(files["history"].read_text().splitlines()) == 1 + 3


def test_numbers_are_predicted_from_a_csv_file(tmp_path, capsys):
    made = everything(200)
    y = np.where(classes_of(made) == "in", 5.25, 3)
    data, saved = written(tmp_path / "d.csv", made, y), tmp_path / "n.safetensors"
    options = ["--data", data, "--label", "what", "--tabular", "--save", saved, "--test", data]
    assert train_line.main([*map(str, options), "--epochs", "30", "--quiet"]) == 0
    assert "test R2    0." in capsys.readouterr().out
    new = written(tmp_path / "new.csv", everything(12))
    assert predict_line.main([str(saved), "--data", str(new)]) == 0
    printed = capsys.readouterr().out
    assert "row     what" in printed
    assert "... and 2 more" in printed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--label", "nope"], "there is no column 'nope' to predict"),
        (["--label", "city"], "'city', which is to be predicted, is empty in rows 1, 10"),
        (["--label", "day"], "the column 'day' holds dates"),
        (["--label", "what", "--hidden", "8"], "--hidden does not apply with --tabular"),
        (["--label", "what", "--regression"], "--regression needs numbers; 'what' is text"),
        (["--label", "what", "--class-weight", "up=2"], "no class 'up'; there are in, out"),
        (["--label", "number", "--class-weight", "balanced"], "'number' holds numbers"),
        (["--label", "what", "--momentum", "0.5"], "--momentum does not apply with --tabular"),
    ],
)
def test_what_does_not_fit_is_refused(options, message, tmp_path, capsys):
    made = everything()
    numbers = table(number=np.arange(60) + 0.5).columns
    data = written(tmp_path / "d.csv", Columns(60, made.columns + numbers), classes_of(made))
    with pytest.raises(SystemExit) as ended:
        train_line.main(["--data", str(data), "--tabular", *options])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_classes_have_weights_on_the_command_line(tmp_path, capsys):
    rows = table(x=np.arange(200.0))
    y = np.array([3, 8, 8, 8] * 50)
    data = written(tmp_path / "d.csv", rows, y)
    options = ["--data", str(data), "--label", "what", "--tabular", "--epochs", "8", "--quiet"]
    printed = []
    for weights in ([], ["--class-weight", "3=30", "8=0.1"]):
        assert train_line.main([*options, *weights]) == 0
        printed.append(capsys.readouterr().out)
    assert "test accuracy  0.7500" in printed[0]  # all 8, all 3
    assert "test accuracy  0.2500" in printed[1]


def test_cells_that_are_no_numbers_are_refused_with_the_option_that_takes_them(tmp_path, capsys):
    data = written(tmp_path / "d.csv", everything(), classes_of(everything()))
    with pytest.raises(SystemExit):
        train_line.main(["--data", str(data), "--label", "what"])
    assert "; --tabular takes text, dates and gaps as they are" in capsys.readouterr().err


def test_a_column_that_new_rows_lack_is_named(tmp_path, capsys):
    made, rows, _ = fitted("classes", epochs=1)
    made.save(tmp_path / "n.safetensors")
    new = written(tmp_path / "new.csv", Columns(rows.rows, rows.columns[1:]))
    with pytest.raises(SystemExit):
        predict_line.main([str(tmp_path / "n.safetensors"), "--data", str(new)])
    assert "X lacks the column 'age'" in capsys.readouterr().err


def test_tables_take_members_on_the_command_line(tmp_path, capsys):
    rng = np.random.default_rng(0)
    lines = [f"{x:.3f},{'in' if x > 0 else 'out'}" for x in rng.normal(size=60)]
    data, saved = tmp_path / "d.csv", tmp_path / "t.safetensors"
    data.write_text("\n".join(["x,label", *lines]))
    words = ["--data", str(data), "--tabular", "--members", "2", "--epochs", "2"]
    assert train_line.main([*words, "--save", str(saved), "--history", f"{tmp_path}/h.csv"]) == 0
    printed = capsys.readouterr().out
    for i in range(2):
        assert f"member {i}: the parameters are those of epoch" in printed
    assert len(tabular.load(saved).networks) == 2
    history = (tmp_path / "h.csv").read_text().splitlines()
    assert history[0].startswith("member,epoch,")
    assert len(history) == 5
    assert predict_line.main([str(saved), "--data", str(data), "--backend", "numpy"]) == 0
    assert "<Committee of 2" in capsys.readouterr().out
