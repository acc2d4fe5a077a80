"""What is said of a data set: the balance of its classes, statistics, tables, and a CSV file."""

from __future__ import annotations

import csv
import os
import statistics
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fastnn.datasets import Table, describe, description


def by_hand(column):
    """Mean and sample deviation of numbers, in exact fractions as long as it matters."""
    values = [float(x) for x in column]
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return statistics.fmean(values), deviation


@settings(deadline=None)
@given(
    st.sampled_from([np.uint8, np.int32, np.float32, np.float64, np.bool_]).flatmap(
        lambda dtype: hnp.arrays(
            dtype,
            hnp.array_shapes(min_dims=2, max_dims=2, max_side=9),
            elements=st.floats(-1e6, 1e6, width=32) if np.dtype(dtype).kind == "f" else None,
        )
    ),
    st.integers(1, 30),
)
def test_statistics_are_those_computed_by_hand_in_blocks_of_any_size(X, block):
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(description, "BLOCK", block)
        result = describe(X).features
    columns = X.T.astype(np.float64)
    expected = np.array([by_hand(column) for column in columns])
    # Sums of nine numbers, each rounded; a deviation is the root of such a sum of squares.
    tolerance = 30 * np.finfo(np.float64).eps * max(1, np.abs(columns).max())
    np.testing.assert_allclose(result.mean, expected[:, 0], rtol=0, atol=tolerance)
    np.testing.assert_allclose(result.std, expected[:, 1], rtol=0, atol=tolerance)
    np.testing.assert_array_equal(result.min, columns.min(axis=1))
    np.testing.assert_array_equal(result.max, columns.max(axis=1))
    np.testing.assert_array_equal(result.count, np.full(len(columns), len(X)))


def test_statistics_are_those_of_pandas():
    pandas = pytest.importorskip("pandas")
    X = np.random.default_rng(0).normal(5, 2, (1000, 4))
    theirs = pandas.DataFrame(X).describe()
    ours = describe(X).features
    # Sums of 1000 numbers of order ten.
    tolerance = {"rtol": 1000 * np.finfo(np.float64).eps}
    for name in ("count", "mean", "std", "min", "max"):
        np.testing.assert_allclose(getattr(ours, name), theirs.loc[name], **tolerance)


def test_a_mean_far_from_zero_takes_no_digits_from_the_deviation():
    x = np.array([[1e9], [1e9 + 1], [1e9 + 2]])
    assert describe(x).features.std[0] == 1


def test_a_constant_feature_is_free_of_rounding():
    result = describe(np.full((1001, 1), 0.1))
    assert result.features.mean[0] == 0.1
    assert result.features.std[0] == 0
    assert result.constant == ("0",)


def test_one_row_has_no_deviation():
    assert describe([[1, 2]]).features.std.tolist() == [0, 0]


def test_x_is_not_copied_whole():
    X = np.zeros((1 << 16, 256), np.uint8)
    X[0] = 1
    tracemalloc.start()
    try:
        describe(X)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # Of blocks in float64, two: one read, and what is computed of it.
    assert peak < 2.5 * 8 * description.BLOCK


def test_a_memory_map_is_described(tmp_path):
    X = np.memmap(tmp_path / "X", np.float32, "w+", shape=(10, 3))
    X[:] = np.arange(30).reshape(10, 3)
    assert describe(X).features.max.tolist() == [27, 28, 29]


def test_names_are_those_given_or_positions():
    assert describe([[1, 2]], features=["a", "b"]).features.names == ("a", "b")
    assert describe([[1, 2]]).features.names == ("0", "1")


@pytest.mark.parametrize(
    ("y", "expected"),
    [
        ([2, 0, 2, 2], [(0, 1, 0.25), (2, 3, 0.75)]),
        (["b", "a", "b", "b"], [("a", 1, 0.25), ("b", 3, 0.75)]),
        ([True, False, True, True], [(False, 1, 0.25), (True, 3, 0.75)]),
    ],
)
def test_labels_are_counted_in_their_order(y, expected):
    result = describe(np.eye(4), y)
    assert list(result.classes) == expected
    assert result.target is None


def test_labels_may_be_objects_or_a_column():
    for y in (np.array(["b", "a", "b"], object), [["b"], ["a"], ["b"]]):
        assert [entry[:2] for entry in describe(np.eye(3), y).classes] == [("a", 1), ("b", 2)]
    for whole in ([2, 0, 2], [np.int64(2), 0, 2]):
        counts = describe(np.eye(3), np.array(whole, object)).classes
        assert [entry[:2] for entry in counts] == [(0, 1), (2, 2)]
    assert describe(np.eye(2), np.array([2**70, 1], object)).target.max == [2.0**70]


def test_a_table_and_a_dataframe_are_described_with_their_names():
    pandas = pytest.importorskip("pandas")
    X = np.array([[1, 2.5], [3, 4]])
    frame = pandas.DataFrame({"height": X[:, 0], "width": X[:, 1]})
    for data in (frame, Table(X, None, ("height", "width"), None)):
        result = describe(data, pandas.Series(["b", "a"]))
        assert result.features.names == ("height", "width")
        assert result.features.mean.tolist() == [2, 3.25]
        assert [entry.label for entry in result.classes] == ["a", "b"]
        assert describe(data, features=["x", "y"]).features.names == ("x", "y")
    assert describe(pandas.DataFrame(X)).features.names == ("0", "1")
    with pytest.raises(TypeError, match="column 'height' holds 'x' in row 1; need numbers"):
        describe(frame.astype(object).replace(3.0, "x"))


def test_floats_to_predict_have_statistics():
    result = describe(np.eye(4), np.array([0.5, 1.5, 2.5, 3.5]))
    assert result.classes is None
    assert list(result.target) == [("y", 4, 2.0, np.sqrt(5 / 3), 0.5, 3.5)]


def test_without_y_there_are_neither():
    result = describe(np.eye(4))
    assert (result.classes, result.target) == (None, None)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused_with_its_place(monkeypatch, value):
    monkeypatch.setattr(description, "BLOCK", 4)
    X = np.zeros((9, 2))
    X[7, 1] = value
    with pytest.raises(ValueError, match=f"X holds {value} in row 7, column 'b'; need finite"):
        describe(X, features=["a", "b"])
    with pytest.raises(ValueError, match=f"y holds {value} in row 7, column 'y'; need finite"):
        describe(np.zeros((9, 2)), X[:, 1])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([["a"]],), TypeError, "X holds 'a' in row 0, column 0; need numbers"),
        (([1, 2],), ValueError, r"X has shape \(2,\); need \(rows, features\)"),
        (([[1, 2], [3]],), ValueError, "X must be a rectangular array of numbers"),
        ((None,), TypeError, "X must be an array of numbers; got None"),
        ((np.eye(2), [[1, 2], [3]]), ValueError, "y must be a rectangular array of numbers"),
        ((np.eye(2), ["a", None]), TypeError, "y holds None in row 1, and text in others; need"),
        ((np.eye(2), [2j, 1]), TypeError, "y holds complex128; need numbers"),
        ((np.eye(2), None, 5), TypeError, "features must be a list of names, got 5"),
        ((np.eye(2), None, "ab"), TypeError, "features must be a list of names, got 'ab'"),
        ((np.empty((0, 2)),), ValueError, r"X must not be empty, got shape \(0, 2\)"),
        ((np.eye(2), [1]), ValueError, r"y has shape \(1,\); need \(2,\), as X has 2 rows"),
        ((np.eye(2), np.eye(2)), ValueError, r"y has shape \(2, 2\); need \(2,\)"),
        ((np.eye(2), [None, None]), ValueError, "y holds nan in row 0"),
        ((np.eye(2), None, ["a"]), ValueError, "features has 1 names; need 2, one a column of X"),
    ],
)
def test_what_makes_no_data_set_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        describe(*arguments)


def test_text_is_tables_of_classes_and_features():
    X = np.array([[0, 1.5, 1000], [0, 2.5, 3000], [0, 3.5, 2000], [0, 2.5, 2000]])
    text = str(describe(X, ["no", "yes", "no", "no"], ["zero", "width", "weight"]))
    assert text.splitlines() == [
        "4 rows, 3 features",
        "",
        "class  rows   share",
        "no        3  75.00%  ########################################",
        "yes       1  25.00%  #############",
        "2 classes of 1 to 3 rows",
        "",
        "feature  count  mean       std   min   max",
        "zero         4     0         0     0     0",
        "width        4   2.5  0.816497   1.5   3.5",
        "weight       4  2000   816.497  1000  3000",
        "",
        "all features: min 0, mean 667.5, max 3000",
        "constant: 1 (zero)",
    ]


def test_text_has_the_statistics_of_floats_to_predict():
    lines = str(describe([[0], [1]], [1.5, 2.5])).splitlines()
    assert lines[2:4] == [
        "target  count  mean       std  min  max",
        "y           2     2  0.707107  1.5  2.5",
    ]


def test_text_without_constant_features_does_not_speak_of_them():
    assert "constant" not in str(describe([[0], [1]]))


def table_lines(text, heading):
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(heading)) + 1
    return lines[start : lines.index("", start)]


@pytest.mark.parametrize(("features", "lines"), [(30, 30), (31, 11), (784, 11)])
def test_text_has_all_of_up_to_30_features_else_those_at_the_ends(features, lines):
    X = np.random.default_rng(0).random((3, features))
    table = table_lines(str(describe(X)), "feature")
    assert len(table) == lines
    assert table[0].startswith("0 ")
    assert table[-1].startswith(f"{features - 1} ")


def test_text_has_the_classes_at_the_ends_of_more_than_30():
    table = table_lines(str(describe(np.eye(40), np.arange(40))), "class")
    assert [line.split()[0] for line in table[:-1]] == [*"01234", "...", *map(str, range(35, 40))]
    assert table[-1] == "40 classes of 1 to 1 rows"


def test_every_line_of_a_table_is_as_wide_as_its_heading():
    X = np.random.default_rng(0).normal(size=(9, 50)) * np.logspace(-12, 12, 50)
    lines = [
        line for line in str(describe(X)).splitlines() if line.startswith(("feat", "...", "4"))
    ]
    assert len({len(line) for line in lines}) == 1


@pytest.mark.parametrize(
    ("constant", "runs"),
    [
        ([0], "1 (a0)"),
        ([0, 1], "2 (a0, a1)"),
        ([0, 1, 2, 5], "4 (a0-a2, a5)"),
        ([3, 4, 5, 6, 7, 38, 39], "7 (a3-a7, a38, a39)"),
        (
            range(0, 40, 3),
            "14 (a0, a3, a6, a9, a12, a15, a18, a21, a24, a27, a30, a33, ...)",
        ),
    ],
)
def test_text_shortens_runs_of_constant_features(constant, runs):
    X = np.tile(np.arange(2)[:, None], (1, 40))
    X[:, constant] = 0
    result = describe(X, features=[f"a{i}" for i in range(40)])
    assert result.constant == tuple(f"a{i}" for i in constant)
    assert str(result).splitlines()[-1] == f"constant: {runs}"


def test_csv_has_all_features_in_full_precision(tmp_path):
    X = np.random.default_rng(0).random((7, 40))
    result = describe(X)
    result.to_csv(tmp_path / "features.csv")
    with open(tmp_path / "features.csv", newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header == ["feature", "count", "mean", "std", "min", "max"]
    assert [(name, *map(float, numbers)) for name, *numbers in rows] == list(result.features)


def test_csv_replaces_an_older_file_and_leaves_no_other(tmp_path):
    (tmp_path / "features.csv").write_text("older")
    describe([[1, 2]]).to_csv(str(tmp_path / "features.csv"))
    assert os.listdir(tmp_path) == ["features.csv"]
    assert (tmp_path / "features.csv").read_text() == (
        "feature,count,mean,std,min,max\n0,1,1.0,0.0,1.0,1.0\n1,1,2.0,0.0,2.0,2.0\n"
    )


def test_csv_in_a_missing_folder_is_refused_by_name(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent"):
        describe([[1, 2]]).to_csv(tmp_path / "absent" / "features.csv")
