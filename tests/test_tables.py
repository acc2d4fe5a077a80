"""Tables from CSV, NPZ, IDX and folders, what is refused and where, and Kaggle's submission."""

from __future__ import annotations

import csv
import gzip
import os
import sys
import types
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from test_idx import encode
from test_mnist import NAMES, contents, fill

from fastnn.datasets import (
    Split,
    Table,
    delimited,
    load,
    load_mnist,
    read_csv,
    read_npz,
    readers,
    write_submission,
)

READERS = ("by_pandas", "whole_by_pandas", "by_numpy", "by_cell")
IRIS = "5.1,3.5,setosa\n4.9,3.0,setosa\n6.3,3.3,virginica\n"


def select(monkeypatch, reader):
    """Make this the reader that is tried first, whatever the file."""
    if "pandas" in reader:
        pytest.importorskip("pandas", minversion="3.1")
    if reader == "whole_by_pandas":
        reader = "by_pandas"
        monkeypatch.setattr(delimited, "_SPLIT", range(1 << 40))
    monkeypatch.setattr(delimited, "fast_reader", lambda form, size: getattr(readers, reader))


@pytest.fixture(params=READERS)
def reader(request, monkeypatch):
    select(monkeypatch, request.param)
    return request.param


@pytest.fixture
def write(tmp_path):
    def write(content, name="table.csv"):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@pytest.fixture(scope="module")
def scratch_file(tmp_path_factory):
    return tmp_path_factory.mktemp("tables") / "table.csv"


def kaggle(rows, rng, labelled=True):
    """Text in the form of "Digit Recognizer", its pixels and its labels."""
    pixels = rng.integers(0, 256, (rows, 784), np.uint8)
    labels = rng.integers(0, 10, rows)
    names = [*["label"] * labelled, *(f"pixel{i}" for i in range(784))]
    columns = np.column_stack([labels, pixels]) if labelled else pixels
    lines = [",".join(names), *(",".join(map(str, row)) for row in columns.tolist())]
    return "\n".join(lines) + "\n", pixels, labels


def assert_equal(table, X, y=None, features=..., label=None):
    assert isinstance(table, Table)
    np.testing.assert_array_equal(table.X, X, strict=True)
    assert table.X.flags.c_contiguous
    if y is None:
        assert table.y is None
    else:
        np.testing.assert_array_equal(table.y, y)
    if features is not ...:
        assert (table.features, table.label) == (features, label)


# What a CSV file holds.


def test_the_label_column_is_called_label(reader, write):
    table = read_csv(write("a,label,b\n1,7,2.5\n3,8,4\n"))
    assert_equal(table, np.float32([[1, 2.5], [3, 4]]), [7, 8], ("a", "b"), "label")


def test_without_a_column_called_label_there_are_no_labels(reader, write):
    assert_equal(read_csv(write("a,b\n1,2\n")), np.float32([[1, 2]]), None, ("a", "b"), None)


@pytest.mark.parametrize("label", ["kind", 1, -2, np.int64(1)])
def test_the_label_column_is_chosen_by_name_or_position(reader, write, label):
    table = read_csv(write("a,kind,b\n1,7,2\n"), label)
    assert_equal(table, np.float32([[1, 2]]), [7], ("a", "b"), "kind")


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["3", "1", "2.0", "1e2"], np.array([3, 1, 2, 100])),
        (["9007199254740993", "-1"], np.array([9007199254740993, -1])),
        (["True", "False"], np.array([1, 0])),
        (["3", "1.5"], np.array([3.0, 1.5])),
        (["1", "1e300"], np.array([1.0, 1e300])),
        (["99999999999999999999", "1"], np.array([1e20, 1.0])),
        (["b", "a", "b"], np.array(["b", "a", "b"])),
        (["1", "2", "x"], np.array(["1", "2", "x"])),
        (["x", "1", "2"], np.array(["x", "1", "2"])),
        (['"a, b"', '"say ""ah"""'], np.array(["a, b", 'say "ah"'])),
        (["zoë", " None "], np.array(["zoë", "None"])),
    ],
)
def test_labels_are_integers_floats_or_text(reader, write, texts, expected):
    table = read_csv(write("x,y\n" + "".join(f"0,{text}\n" for text in texts)), "y")
    np.testing.assert_array_equal(table.y, expected, strict=True)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_features_are_of_the_dtype(reader, write, dtype):
    table = read_csv(write("a,b\n0.1,-2e-3\n+.5,5.\n"), dtype=dtype)
    assert_equal(table, np.array([[0.1, -2e-3], [0.5, 5]], dtype))


@pytest.mark.parametrize("text", ["0.1234567890123456789", "1e23", "9007199254740993", "5e-324"])
def test_floats_are_rounded_to_the_nearest(reader, write, text):
    table = read_csv(write(f"a,b\n{text},1\n"), dtype="float64")
    assert table.X[0, 0] == float(text)


def test_true_and_false_are_one_and_zero(reader, write):
    table = read_csv(write("a,b\nTrue,false\nFALSE,tRuE\n"))
    assert_equal(table, np.float32([[1, 0], [0, 1]]))


def test_minus_zero_is_zero_in_every_bit(reader, write):
    table = read_csv(write("a,b\n-0,-0.0\n"))
    assert not np.signbit(table.X).any()


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_delimiter_is_seen_in_the_first_line(reader, write, delimiter):
    text = '"a, b",c,label\n1,2,3\n'.replace(",", delimiter).replace(f"a{delimiter}", "a,")
    table = read_csv(write(text))
    assert_equal(table, np.float32([[1, 2]]), [3], ("a, b", "c"), "label")


@pytest.mark.parametrize(
    "text",
    [
        "a,b\r\n1,2\r\n3,4\r\n",
        "a,b\r1,2\r3,4\r",
        "a,b\n1,2\n3,4",
        "\ufeffa,b\n1,2\n3,4\n",
        "\n  \na,b\n1,2\n\n3,4\n \n\n",
        " a , b \n 1 , 2 \n3,\t4\n",
        '"a","b"\n"1", "2"\n"3",4\n',
    ],
    ids=["CRLF", "CR", "no last line end", "BOM", "blank lines", "spaces", "quotes"],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_forms_of_text_that_mean_the_same(reader, write, text, pack):
    table = read_csv(write(pack(text.encode()), "any.name"))
    assert_equal(table, np.float32([[1, 2], [3, 4]]), None, ("a", "b"), None)


def test_a_column_without_a_name_has_its_position_for_one(write):
    assert read_csv(write(",a,\n0,1,2\n")).features == ("0", "a", "2")


@pytest.mark.parametrize("first", ["", "Unnamed: 0"])
def test_row_numbers_without_a_name_are_warned_of(write, first):
    text = f"{first},a\n5,1\n6,3\n7,2\n"
    name = first or "0"
    with pytest.warns(UserWarning, match=rf"counts the rows, .*; drop=\['{name}'\] leaves it out"):
        read_csv(write(text))
    assert read_csv(write(text), drop=[0]).features == ("a",)
    read_csv(write(text.replace("6", "8")))
    read_csv(write(text.replace(f"{first},", "b,", 1)))


def test_a_path_may_be_text(write):
    assert_equal(read_csv(str(write("a,b\n1,2\n"))), np.float32([[1, 2]]))


@pytest.mark.parametrize("rows", [1, 2, 1024, 1025, 3000])
def test_any_number_of_rows_is_read_in_blocks(reader, write, monkeypatch, rows):
    monkeypatch.setattr(readers, "_CELLS", 1)
    X = np.random.default_rng(0).integers(0, 99, (rows, 3))
    text = "label,a,b\n" + "\n".join(",".join(map(str, row)) for row in X.tolist())
    assert_equal(read_csv(write(text)), X[:, 1:].astype(np.float32), X[:, 0])


# Columns that are chosen or left out.

NAMED = "id,b,label,a,note\nx1,2.5,7,1,hello\nx2,4,8,3,\n"


def test_columns_are_read_by_name_in_the_order_asked_for(reader, write):
    table = read_csv(write(NAMED), columns=["a", "b"])
    assert_equal(table, np.float32([[1, 2.5], [3, 4]]), [7, 8], ("a", "b"), "label")
    assert table.left_out == ("id", "note")


def test_all_columns_in_another_order_leave_none_out(reader, write):
    table = read_csv(write("b,a,c\n1,2,3\n4,5,6\n"), columns=("c", "a", "b"))
    assert_equal(table, np.float32([[3, 2, 1], [6, 5, 4]]), None, ("c", "a", "b"))
    assert table.left_out == ()


@pytest.mark.parametrize("drop", [["id", "note"], [0, -1], ["note", 0]])
def test_columns_are_left_out_by_name_or_position(reader, write, drop):
    table = read_csv(write(NAMED), drop=drop)
    assert_equal(table, np.float32([[2.5, 1], [4, 3]]), [7, 8], ("b", "a"), "label")
    assert table.left_out == ("id", "note")


@pytest.mark.parametrize("text", ['"Smith, J"', '"a ""b"""', ' "x, y"', '"a\nb"', "", "NaN", '"'])
def test_a_column_that_is_not_read_may_hold_anything(reader, write, text):
    path = write(f"name,a,label\n{text},1,2\nz,3,4\n")
    expected = read_with("by_cell", path, drop=["name"])
    result = read_with(reader, path, drop=["name"])
    if isinstance(expected, str):
        assert text == '"'
        assert result == expected
    else:
        assert_equal(result, np.float32([[1], [3]]), [2, 4], ("a",), "label")


@pytest.mark.parametrize("row", ["5,6", "5,6,7,8"])
def test_a_row_of_another_length_is_refused_where_columns_are_not_read(reader, write, row):
    path = write(f"a,b,note\n1,2,x\n{row}\n")
    with pytest.raises(ValueError, match=f"line 3: {row.count(',') + 1} cells; need 3"):
        read_csv(path, columns=["a", "b"])


def test_a_column_called_label_may_be_a_feature(reader, write):
    table = read_csv(write("a,label\n1,2\n"), columns=["label", "a"])
    assert_equal(table, np.float32([[2, 1]]), None, ("label", "a"), None)


def test_names_that_are_numbers_are_a_header_where_they_are_asked_for(write):
    table = read_csv(write("2019,2020\n1,2\n"), columns=["2020", "2019"])
    assert_equal(table, np.float32([[2, 1]]), None, ("2020", "2019"))


def test_without_a_header_columns_are_read_by_position(reader, write):
    table = read_csv(write("1,2,7\n3,4,8\n"), -1, columns=["a", "b"])
    assert_equal(table, np.float32([[1, 2], [3, 4]]), [7, 8], None, "2")
    table = read_csv(write("1,2,7\n3,4,8\n"), -1, columns=["b"], drop=[0])
    assert_equal(table, np.float32([[2], [4]]), [7, 8], None, "2")


def test_without_a_header_columns_that_are_called_pixels_are_pixels(write):
    table = read_csv(write("1,255\n"), columns=["pixel0", "pixel1"])
    assert_equal(table, np.uint8([[1, 255]]), None, None)


def test_two_columns_of_a_name_are_allowed_if_they_are_not_read(write):
    table = read_csv(write("x,a,x\n1,2,3\n"), columns=["a"])
    assert_equal(table, np.float32([[2]]), None, ("a",))
    assert read_csv(write("x,a,x\n1,2,3\n"), drop=["x"]).left_out == ("x", "x")
    with pytest.raises(ValueError, match="line 1: two columns are called 'x'; need different"):
        read_csv(write("x,a,x\n1,2,3\n"), columns=["x"])


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        ("a,b\n1,2\n", {"columns": ["a", "c"]}, "no column 'c'; its columns are 'a', 'b'"),
        ("a,b\n1,2\n", {"columns": ["c", "d"]}, "no columns 'c', 'd'; its columns are"),
        ("a,b\n1,2\n", {"drop": ["c"]}, "has no column 'c'; its columns are 'a', 'b'"),
        ("a,b\n1,2\n", {"drop": [2]}, "drop must be a name or from -2 to 1, got 2"),
        ("a,b\n1,2\n", {"drop": ["a", "b"]}, "has no other column left; need features"),
        ("a,b\n1,2\n", {"drop": ["a"], "label": "a"}, "of the labels cannot be left out"),
        (
            "a,b\n1,2\n",
            {"columns": ["a"], "label": "a"},
            "'a' cannot be both the label and an input",
        ),
        ("1,2\n", {"drop": ["a"], "header": False}, "drop must be a position, got 'a'"),
        ("1,2\n", {"columns": ["a"]}, "by position, and it has 2 features; need 1: 'a'"),
        ("a,b\n1,2\n", {"columns": ["a"], "drop": ["a"]}, "'a' is an input; it cannot be left out"),
        ("a,b\n1,2\n", {"columns": []}, "columns must hold at least one name"),
    ],
)
def test_columns_that_are_not_there_are_refused(write, text, arguments, message):
    with pytest.raises(ValueError, match=message):
        read_csv(write(text), **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"columns": "ab"}, "columns must be a list of names, got 'ab'"),
        ({"columns": ["a", 1]}, "columns must hold names, got 1"),
        ({"drop": "ab"}, "drop must be a list of names or positions, got 'ab'"),
        ({"drop": [1.5]}, "drop must be a name or a position, got 1.5"),
    ],
)
def test_columns_of_another_type_are_refused(write, arguments, message):
    with pytest.raises(TypeError, match=message):
        read_csv(write("a,b\n1,2\n"), **arguments)


def test_text_in_a_chosen_column_comes_without_a_hint(reader, write):
    with pytest.raises(ValueError, match=r"column 'b': 'x'; need a number$"):
        read_csv(write("a,b\n1,x\n"), columns=["a", "b"])


# Headers.


@pytest.mark.parametrize(
    ("text", "arguments", "features"),
    [
        ("1,2,3\n4,5,6\n", {}, None),
        ("a,b\n1,2\n", {}, ("a", "b")),
        ("a,b\n1,2\n", {"label": 1}, ("a",)),
        (IRIS, {"label": 2}, None),
        (IRIS, {"label": -1}, None),
        ("setosa,5.1,3.5\n", {"label": 0}, None),
        ("0,1,label\n7,8,9\n", {}, ("0", "1")),
        ("0,1,kind\n7,8,9\n", {"label": "kind"}, ("0", "1")),
        ("0,1,kind\n7,8,9\n", {"label": 2}, ("0", "1")),
        ("0,1\n7,8\n", {"header": True}, ("0", "1")),
        ("0,1,2\n7,8,9\n", {}, ("0", "1", "2")),
        ("0, 1 ,2\n7,8,9\n", {"label": 2}, ("0", "1")),
        ("2,0,1\n7,8,9\n", {"columns": ["1", "2"]}, ("1", "2")),
        ("2,0,1\n7,8,9\n", {"drop": ["0"]}, ("2", "1")),
        (",0,1,2\n3,7,8,9\n", {"drop": [0]}, ("0", "1", "2")),
        (",0,1,2\n3,7,8,9\n", {}, ("Unnamed: 0", "0", "1", "2")),
        ("0,1,2\n7,8,9\n", {"header": False}, None),
        ("0,1\n7,8\n", {}, None),
        ("0,1,1\n7,8,9\n", {}, None),
        ("1,2,3\n7,8,9\n", {}, None),
        ("0,1.0,2\n7,8,9\n", {}, None),
    ],
)
def test_a_header_is_recognised(write, text, arguments, features):
    assert read_csv(write(text), **arguments).features == features


def test_a_header_that_there_is_not_leaves_all_rows(write):
    table = read_csv(write(IRIS), label=2)
    X, y = np.float32([[5.1, 3.5], [4.9, 3], [6.3, 3.3]]), ["setosa", "setosa", "virginica"]
    assert_equal(table, X, y, None, "2")


def test_told_that_there_is_a_header_numbers_are_names(write):
    assert_equal(read_csv(write("1,2\n3,4\n"), header=True), np.float32([[3, 4]]), None, ("1", "2"))


def test_told_that_there_is_no_header_names_are_refused(write):
    with pytest.raises(ValueError, match="line 1, column 0: 'a'; need a number"):
        read_csv(write("a,b\n1,2\n"), header=False)


# Pixels.


@pytest.mark.parametrize("labelled", [True, False], ids=["train.csv", "test.csv"])
def test_files_of_kaggle_are_read_as_bytes(reader, write, labelled):
    text, pixels, labels = kaggle(30, np.random.default_rng(0), labelled)
    names = tuple(f"pixel{i}" for i in range(784))
    table = read_csv(write(text))
    assert_equal(table, pixels, labels if labelled else None, names, "label" if labelled else None)


def test_pixels_may_be_floats_for_once(reader, write):
    table = read_csv(write("pixel0,pixel1\n0,255\n"), pixels=False)
    assert_equal(table, np.float32([[0, 255]]))


def test_columns_of_other_names_may_be_pixels(reader, write):
    assert_equal(read_csv(write("1x1,1x2\n0,255.0\n"), pixels=True), np.uint8([[0, 255]]))


def test_one_column_of_another_name_makes_all_floats(write):
    assert read_csv(write("pixel0,pixels\n0,255\n")).X.dtype == np.float32


@pytest.mark.parametrize("text", ["256", "-1", "1.5", "1e9", "300"])
def test_what_is_no_pixel_is_refused(reader, write, text):
    need = f"table.csv', line 3, column 'pixel1': '{text}'; need a whole number from 0 to 255"
    with pytest.raises(ValueError, match=need):
        read_csv(write(f"pixel0,pixel1\n1,2\n3,{text}\n"))


# What is refused, and where.


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            "1,,3",
            r"line 4, column 'age': empty; need a number: fill the cell, or drop=\['age'\] leaves "
            "the column out$",
        ),
        ("1, ,3", "line 4, column 'age': empty; need a number"),
        ('1,"",3', "line 4, column 'age': empty; need a number"),
        ("1,NA,3", "line 4, column 'age': 'NA'; need a number: fill the cell, or drop="),
        ("1,nan,3", "line 4, column 'age': 'nan'; need a finite number in float32"),
        ("1,-inf,3", "line 4, column 'age': '-inf'; need a finite number in float32"),
        ("1,1e39,3", "line 4, column 'age': '1e39'; need a finite number in float32"),
        ("1,old,3", r"line 4, column 'age': 'old'; need a number, or drop=\['age'\] to leave the"),
        ("1,0x10,3", "line 4, column 'age': '0x10'; need a number"),
        (
            '1,"1,23,4",3',
            r"line 4, column 'age': '1,23,4'; need a number, with a decimal point and no thousands "
            r"separators, or drop=\['age'\] to leave",
        ),
        ('1,"Rome, 5",3', "column 'age': 'Rome, 5'; need a number, or drop="),
        ("1,01.02.2024,3", "column 'age': '01.02.2024'; need a number, or drop="),
        (f"1,{'x' * 50},3", f"column 'age': '{'x' * 40}...'; need a number"),
        ("1,2", "line 4: 2 cells; need 3"),
        ("1,2,3,4", "line 4: 4 cells; need 3"),
        ("1", "line 4: 1 cells; need 3"),
        (",2,3", "line 4, column 'label': empty; need a label"),
        ("NA,2,3", "line 4, column 'label': 'NA'; need a label"),
        ("N/A,2,3", "line 4, column 'label': 'N/A'; need a label"),
        ("null,2,3", "line 4, column 'label': 'null'; need a label"),
        ("nan,2,3", "line 4, column 'label': 'nan'; need a label"),
        ("inf,2,3", "line 4, column 'label': 'inf'; need a label"),
        ('"a\nb",2,3', "line 4, column 'label': a line break within quotes; need a label"),
        ('"a,2,3\n4,5,6\n', "line 4: 1 cells; need 3"),
        ('1,2,"3\n4,5,6\n', r"line 4, column 'b': '3\\n4,5,6'; need a number"),
        (f'1,2,"{"3" * 140_000}"', "line 4: field larger than field limit"),
    ],
)
@pytest.mark.parametrize("kind", ["7", "x"], ids=["numbers", "text"])
def test_a_fault_in_a_row_is_told_with_its_place(reader, write, row, message, kind):
    path = write(f"label,age,b\n\n{kind},2,3\n{row}\n")
    with pytest.raises(ValueError, match=message) as caught:
        read_csv(path)
    assert str(caught.value).startswith(repr(str(path)))
    assert "\n" not in str(caught.value)


def test_a_row_after_a_line_that_is_only_a_carriage_return_keeps_its_first_cell(reader, write):
    with pytest.raises(ValueError, match="line 4: 3 cells; need 2"):
        read_csv(write("a,b\n1,2\n\r,5,6\n7,8\n"))


def test_lines_are_counted_across_those_within_quotes(reader, write):
    with pytest.raises(ValueError, match="line 4, column 'b': 'x'"):
        read_csv(write('a,b\n"1\n",2\n3,x\n'))


def test_without_a_header_a_column_is_its_position(reader, write):
    with pytest.raises(ValueError, match=r"line 2, column 1: 'x'; need a number, or drop=\[1\] to"):
        read_csv(write("1,2,3\n4,x,6\n"), label=0)


@pytest.mark.parametrize(
    ("text", "hint"),
    [(IRIS, r"line 1, column 2: 'setosa'; .*, or label=2 if"), ("a,b\n1,c\n", "or label='b' if")],
)
def test_text_where_no_labels_were_asked_for_comes_with_a_hint(reader, write, text, hint):
    with pytest.raises(ValueError, match=hint):
        read_csv(write(text))


def test_float64_holds_what_float32_does_not(reader, write):
    assert read_csv(write("a,b\n1e39,1\n"), dtype="float64").X[0, 0] == 1e39
    with pytest.raises(ValueError, match=r"'1e309'; need a finite number$"):
        read_csv(write("a,b\n1e309,1\n"), dtype="float64")


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        ("", {}, "holds no rows"),
        ("\n \n", {}, "holds no rows"),
        ('""\n', {}, "holds no rows"),
        ("a,b\n", {}, "holds no rows after its header; need one"),
        ("a,b,a\n1,2,3\n", {}, "line 1: two columns are called 'a'; need different names"),
        ('a,"b\nc"\n1,2\n', {}, "line 1: a name has a line break in it; need names on one line"),
        ("a,b\n1,2\n", {"label": "c"}, "has no column 'c'; its columns are 'a', 'b'$"),
        (
            "a,b,c,d,e,f,g,h,i,j\n",
            {"label": "k"},
            "has no column 'k'; its columns are 'a', .*, 'h' and 2 more",
        ),
        ("a,b\n1,2\n", {"label": 2}, "has 2 columns; label must be a name or from -2 to 1, got 2"),
        ("a,b\n1,2\n", {"label": -3}, "must be a name or from -2 to 1, got -3"),
        ("a,b\n1,2\n", {"label": "a", "header": False}, "label must be a position, got 'a'"),
        ("label\n1\n", {}, "one column, that of the labels; need features"),
        ("a,b\n1,2\n", {"dtype": "float16"}, "dtype must be one of float32, float64"),
        (b"a,b\n1,\0\n", {}, "line 2: a zero byte; need text in UTF-8"),
        (b"a,b\n1,2\n\x9d,2\n", {}, "line 3: 0x9d, invalid start byte; need text in UTF-8"),
        (gzip.compress(b"a,b\n1,2\n", mtime=0)[:-9], {}, "corrupt or truncated gzip"),
    ],
)
def test_a_file_that_makes_no_table_is_refused(reader, write, content, arguments, message):
    with pytest.raises(ValueError, match=message):
        read_csv(write(content), **arguments)


@pytest.mark.parametrize("label", [1.0, True, ["a"]])
def test_a_label_that_is_neither_name_nor_position_is_refused(write, label):
    with pytest.raises(TypeError, match="label must be a name or a position"):
        read_csv(write("a,b\n1,2\n"), label)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.csv"):
        read_csv(tmp_path / "absent.csv")


# Which reader, and that all read the same.


@pytest.mark.parametrize("reader", READERS[:2])
@pytest.mark.parametrize("text", ["a,label\n0.5,1\n", "a,label\n1,x\n", '"a";"label"\n1;"2"\n'])
def test_ordinary_files_are_not_read_by_cell(write, monkeypatch, reader, text):
    select(monkeypatch, reader)
    monkeypatch.setattr(delimited, "by_cell", None)
    assert len(read_csv(write(text)).X) == 1


def form_of(dtype):
    return readers.Form("", ",", ("a",), (0,), (), 0, False, None, np.dtype(dtype))


@pytest.mark.parametrize(
    ("version", "dtype", "size", "expected"),
    [
        ("3.1.1", "float32", 1 << 10, readers.by_pandas),
        ("4.0.0rc1", "float64", 1 << 10, readers.by_pandas),
        ("3.1.1", "float32", 1000, readers.by_numpy),
        ("3.0.2", "float32", 1 << 10, readers.by_numpy),
        ("2.3.0", "float32", 1 << 30, readers.by_numpy),
        ("3.1.1", "uint8", 1 << 30, readers.by_numpy),
    ],
)
def test_a_pandas_that_is_exact_and_faster_is_chosen(monkeypatch, version, dtype, size, expected):
    monkeypatch.setitem(sys.modules, "pandas", types.SimpleNamespace(__version__=version))
    assert readers.fast_reader(form_of(dtype), size) is expected


@pytest.mark.parametrize("size", [10, 1 << 30])
def test_without_pandas_numpy_reads(monkeypatch, size):
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert readers.fast_reader(form_of("float32"), size) is readers.by_numpy


def test_for_a_small_file_pandas_is_not_imported(monkeypatch):
    monkeypatch.delitem(sys.modules, "pandas", raising=False)
    monkeypatch.setattr(readers.importlib, "import_module", None)
    assert readers.fast_reader(form_of("float32"), 10) is readers.by_numpy


def test_importing_fastnn_does_not_import_pandas(run_python):
    code = "import sys, fastnn; print('pandas' in sys.modules)"
    assert run_python("-c", code).strip() == "False"


def read_with(reader, *arguments, **options):
    """What a reader makes of a file: its table, or its error as text."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        select(monkeypatch, reader)
        try:
            return read_csv(*arguments, **options)
        except ValueError as error:
            return str(error)


@settings(deadline=None)
@pytest.mark.parametrize("reader", READERS)
@given(
    st.sampled_from(["float32", "float64"]).flatmap(
        lambda dtype: hnp.arrays(
            dtype,
            hnp.array_shapes(min_dims=2, max_dims=2, max_side=6),
            elements=st.floats(width=int(dtype[-2:]), allow_nan=False, allow_infinity=False),
        )
    ),
    st.sampled_from([st.integers(-(2**63), 2**63 - 1), st.text("abz é,;\"'", min_size=1)]),
    st.sampled_from([",", ";", "\t"]),
    st.sampled_from(["\n", "\r\n"]),
    st.data(),
)
def test_any_table_reads_back(reader, scratch_file, X, kind, delimiter, line_end, data):
    kind = kind.filter(lambda label: str(label).strip() not in ("", '"'))
    labels = data.draw(st.lists(kind, min_size=len(X), max_size=len(X)))
    names = tuple(f"column {i}" for i in range(X.shape[1]))
    with open(scratch_file, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator=line_end)
        writer.writerow([*names, "target"])
        for row, label in zip(X.tolist(), labels, strict=True):
            writer.writerow([*map(repr, row), label])
    table = read_with(reader, scratch_file, "target", dtype=X.dtype.name)
    expected = [label.strip() if isinstance(label, str) else label for label in labels]
    assert_equal(table, X, np.array(expected), names, "target")


ODD = ("NA", "nan", "inf", "True", "x", "", " ", ' "9"', '"a b"', '"', "\t", "#", "1_0", "é", "+4")
ODD += ("1e400", "9007199254740993", "99999999999999999999", "1\x1f", "\xa05", "1e", '"\n"', "-0")
cells = st.sampled_from(("1", "2.5", "0", "255", "0.1")) | st.sampled_from(ODD)
lines = st.lists(cells, min_size=1, max_size=3).map(",".join)


@pytest.mark.filterwarnings("ignore::UserWarning")  # of what a file may mean
@settings(deadline=None, max_examples=300)
@given(
    st.lists(lines, min_size=1, max_size=5),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from(["", "a,b\n", "a,b,label\n"]),
    st.sampled_from([None, 0, -1]),
    st.sampled_from([None, True]),
    st.sampled_from([{}, {}, {"columns": ("b",)}, {"columns": ("b", "a")}, {"drop": (1,)}]),
)
@pytest.mark.parametrize("reader", READERS[:3])
def test_any_text_gives_the_table_or_the_error_of_reading_it_by_cell(
    reader, scratch_file, rows, line_end, header, label, pixels, choice
):
    scratch_file.write_bytes((header + line_end.join(rows)).encode())
    expected = read_with("by_cell", scratch_file, label, pixels=pixels, **choice)
    result = read_with(reader, scratch_file, label, pixels=pixels, **choice)
    if isinstance(expected, str) or isinstance(result, str):
        assert result == expected
    else:
        assert_equal(result, *expected[:4])
        assert result.left_out == expected.left_out
        assert result.X.tobytes() == expected.X.tobytes()


# NPZ.

IMAGES = np.arange(24, dtype=np.uint8).reshape(3, 2, 4)


@pytest.fixture
def save(tmp_path):
    def save(**arrays):
        np.savez(tmp_path / "data.npz", **arrays)
        return tmp_path / "data.npz"

    return save


def test_npz_in_the_form_of_keras_is_flattened(save):
    y = np.array([3, 1, 2], np.uint8)
    train, test = read_npz(save(x_train=IMAGES, y_train=y, x_test=IMAGES[:1], y_test=y[:1]))
    assert_equal(train, IMAGES.reshape(3, 8), y, None, "y_train")
    assert_equal(test, IMAGES[:1].reshape(1, 8), y[:1], None, "y_test")
    assert train.y.dtype == np.int64


@pytest.mark.parametrize("names", [("X", "y"), ("x", "y"), ("X", "Y")])
def test_npz_of_one_table_has_no_test_set(save, names):
    split = read_npz(save(**dict(zip(names, (np.eye(3), np.arange(3)), strict=True))))
    assert split.test is None
    assert_equal(split.train, np.eye(3, dtype=np.float32), [0, 1, 2], None, names[1])


def test_npz_may_be_without_labels(save):
    assert_equal(read_npz(save(X=IMAGES)).train, IMAGES.reshape(3, 8))
    split = read_npz(save(x_train=IMAGES, y_train=np.zeros(3), x_test=IMAGES))
    assert (split.test.y, split.test.label) == (None, None)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", [bool, np.int16, np.float16, np.float64])
def test_npz_features_become_the_dtype(save, dtype, kind):
    X = np.eye(3).astype(kind)
    assert_equal(read_npz(save(X=X), dtype=dtype).train, X.astype(dtype))


@pytest.mark.parametrize(
    ("y", "expected"),
    [
        (np.array([1.0, 2, 3]), np.array([1, 2, 3])),
        (np.array([1.5, 2, 3], np.float32), np.array([1.5, 2, 3])),
        (np.array([True, False, True]), np.array([1, 0, 1])),
        (np.array([[1], [2], [3]]), np.array([1, 2, 3])),
        (np.array(["a", "b", "a"]), np.array(["a", "b", "a"])),
    ],
)
def test_npz_labels_are_of_three_types(save, y, expected):
    np.testing.assert_array_equal(read_npz(save(X=IMAGES, y=y)).train.y, expected, strict=True)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": np.eye(2), "b": np.eye(2)}, "holds a, b; need X and, for labels, y, or x_train"),
        ({}, "holds no array; need X"),
        ({"x_train": IMAGES, "y": np.zeros(3)}, "holds x_train, y; need X and"),
        ({"X": IMAGES, "x": IMAGES}, "holds X and x; need one"),
        ({"X": np.array([[None]])}, "X holds objects, which only pickle can read; need"),
        ({"X": IMAGES, "y": np.zeros(2)}, r"y has shape \(2,\); need \(3,\), one label per row"),
        ({"X": IMAGES, "y": np.zeros((3, 2))}, r"y has shape \(3, 2\); need \(3,\)"),
        ({"X": IMAGES, "y": np.array([0, np.nan, 1])}, "y holds nan; need finite labels"),
        ({"X": IMAGES, "y": np.array([0, 1, 2j])}, "y holds complex128; need numbers or text"),
        ({"X": IMAGES, "y": np.full(3, 2**63, np.uint64)}, "need labels that fit int64"),
        ({"X": np.zeros(3)}, r"X has shape \(3,\); need features of shape \(rows, features\)"),
        ({"X": np.zeros((0, 3))}, "X holds no rows; need one"),
        ({"X": np.zeros((3, 0))}, r"X has shape \(3, 0\); need features"),
        ({"X": np.array([["a"]])}, "X holds <U1; need numbers"),
        ({"X": np.array([[0, 0], [0, 1e39]])}, r"X holds 1e\+39 in row 1, feature 1; .* float32"),
        (
            {"x_train": np.eye(2), "y_train": np.zeros(2), "x_test": np.eye(3)},
            "a row of x_train has 2 features, one of x_test 3; need the same number",
        ),
    ],
)
def test_npz_that_makes_no_table_is_refused(save, arrays, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_npz(save(**arrays))
    assert "data.npz" in str(caught.value)


def test_npz_arrays_of_other_names_are_not_read(save):
    assert_equal(read_npz(save(X=IMAGES, names=np.array([None]))).train, IMAGES.reshape(3, 8))


def test_a_file_that_is_no_npz_is_refused(write):
    with pytest.raises(ValueError, match=r"data\.npz' is not an intact \.npz file"):
        read_npz(write("no zip", "data.npz"))


def test_a_damaged_npz_is_refused(save):
    path = save(X=IMAGES)
    content = bytearray(path.read_bytes())
    content[content.index(IMAGES.tobytes())] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"X cannot be read .*CRC"):
        read_npz(path)


def test_a_zip_of_other_files_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "data.npz", "w") as archive:
        archive.writestr("X", "text")
    with pytest.raises(ValueError, match="X is not an array"):
        read_npz(tmp_path / "data.npz")


# Whatever it is.


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.txt", "a.data", "A.CSV", "a.csv.gz"])
def test_text_is_loaded_by_its_name(write, name):
    content = b"a,label\n1,2\n"
    split = load(write(gzip.compress(content) if name.endswith(".gz") else content, name))
    assert isinstance(split, Split)
    assert split.test is None
    assert_equal(split.train, np.float32([[1]]), [2], ("a",), "label")


def test_text_is_loaded_with_the_options_of_read_csv(write):
    train, _ = load(write("1,2\n"), -1, header=False, dtype="float64", pixels=True)
    assert_equal(train, np.uint8([[1]]), [2], None, "1")


def test_a_folder_is_loaded_as_mnist(tmp_path):
    folder = fill(tmp_path / "digits", contents())
    train, test = load(folder)
    data = load_mnist(folder)
    assert_equal(train, data.train_images, data.train_labels, None, "label")
    assert_equal(test, data.test_images, data.test_labels, None, "label")
    assert train.y.dtype == test.y.dtype == np.int64


def test_an_npz_is_loaded_whatever_its_name(save):
    path = save(x_train=np.eye(2), y_train=[0, 1], x_test=np.eye(2)).rename("data.csv")
    try:
        train, test = load(path, dtype="float64")
    finally:
        path.unlink()
    assert_equal(train, np.eye(2), [0, 1])
    assert_equal(test, np.eye(2))


@pytest.mark.parametrize(("end", "other_end"), [("", ""), (".gz", ".gz"), (".gz", ""), ("", ".gz")])
def test_idx_images_find_the_labels_beside_them(write, end, other_end):
    def packed(array, end):
        return gzip.compress(encode(array)) if end else encode(array)

    images, labels = NAMES[:2]
    write(packed(np.uint8([5, 6, 7]), other_end), labels + other_end)
    split = load(write(packed(IMAGES, end), images + end))
    assert_equal(split.train, IMAGES.reshape(3, 8), [5, 6, 7], None, "label")


def test_idx_labels_may_be_anywhere(write):
    labels = write(encode(np.int32([5, 6, 7])), "digits")
    assert load(write(encode(IMAGES), "pictures"), str(labels)).train.y.tolist() == [5, 6, 7]


@pytest.mark.parametrize("name", ["pictures", "images-idx3"])
def test_idx_without_labels_beside_it_has_none(write, name):
    assert_equal(load(write(encode(IMAGES), name)).train, IMAGES.reshape(3, 8))


@pytest.mark.parametrize("kind", ["i1", "i2", "i4", "f4", "f8"])
def test_idx_of_other_types_becomes_the_dtype(write, kind):
    X = np.arange(6).reshape(3, 2).astype(kind)
    train = load(write(encode(X)), dtype="float64").train
    assert_equal(train, X.astype(np.float64), None, None)


def test_idx_of_labels_is_refused_as_features(write):
    with pytest.raises(ValueError, match=r"labels' has shape \(3,\); need features"):
        load(write(encode(np.uint8([1, 2, 3])), "labels"))


def test_idx_labels_of_another_length_are_refused(write):
    labels = write(encode(np.uint8([1, 2])), "labels")
    with pytest.raises(ValueError, match=r"labels' has shape \(2,\); need \(3,\)"):
        load(write(encode(IMAGES), "images"))
    with pytest.raises(ValueError, match=r"labels' has shape \(2,\); need \(3,\)"):
        load(write(encode(IMAGES), "pictures"), str(labels))


@pytest.mark.parametrize("option", ["label", "header", "pixels"])
def test_options_that_have_no_meaning_are_refused(tmp_path, save, write, option):
    options = {option: "a" if option == "label" else True}
    pictures, empty = tmp_path / "pictures", tmp_path / "empty"
    pictures.mkdir()
    empty.mkdir()
    (pictures / "0.png").write_bytes(b"")
    for path, what in (pictures, "a folder"), (save(X=IMAGES), "an .npz file"):
        with pytest.raises(ValueError, match=f"is {what}; {option} must be None, got"):
            load(path, **options)
    with pytest.raises(FileNotFoundError, match="holds neither pictures"):
        load(empty, **options)
    if option != "label":
        with pytest.raises(ValueError, match=f"is an IDX file; {option} must be None, got True"):
            load(write(encode(IMAGES)), **options)


def test_the_label_of_an_idx_file_is_no_position(write):
    with pytest.raises(ValueError, match="is an IDX file; label must be the path of one, got 0"):
        load(write(encode(IMAGES)), 0)


@pytest.mark.parametrize("name", ["a.parquet", "noname", "a.gz"])
def test_what_is_not_known_is_refused_with_a_list_of_what_is(write, name):
    need = r"starts with b'ORC\.', .*; need a folder .*\.csv, \.tsv, \.txt, \.data.*; \.npz; IDX"
    with pytest.raises(ValueError, match=need):
        load(write(b"ORC....", name))


@pytest.mark.parametrize("start", [b"PAR1", b"ARROW1"])
@pytest.mark.parametrize("name", ["a.parquet", "noname", "a.gz"])
def test_parquet_and_arrow_are_refused_with_what_reads_them(write, start, name):
    need = r"is Parquet or Arrow, which is read as a stream: by fastnn\.datasets\.stream, or by the"
    with pytest.raises(ValueError, match=need):
        load(write(start + b"...", name))


def test_a_missing_path_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent"):
        load(tmp_path / "absent")


def test_other_files_need_as_many_features_as_columns_are_named(save, write):
    npz, idx = save(X=np.eye(3)), write(encode(np.eye(3)), "idx")
    assert_equal(load(npz, columns=["a", "b", "c"]).train, np.eye(3, dtype=np.float32), None, None)
    for path in (npz, idx):
        with pytest.raises(ValueError, match="by position, and it has 3 features; need 2"):
            load(path, columns=["a", "b"])
        with pytest.raises(ValueError, match="drop must be None"):
            load(path, drop=[0])


@pytest.mark.parametrize("function", [load, read_csv])
@pytest.mark.parametrize("member", ["[Content_Types].xml", "content.xml"])
def test_a_spreadsheet_is_called_one(tmp_path, member, function):
    with zipfile.ZipFile(tmp_path / "table.xlsx", "w") as archive:
        archive.writestr(member, "text")
    with pytest.raises(ValueError, match="is a file of Excel or another office program; save"):
        function(tmp_path / "table.xlsx")


@pytest.mark.parametrize("function", [load, read_csv])
def test_an_old_spreadsheet_is_called_one(write, function):
    with pytest.raises(ValueError, match="is a file of Excel"):
        function(write(b"\xd0\xcf\x11\xe0\xa1\xb1", "table.xls"))


@pytest.mark.parametrize(
    ("function", "keyword", "hint"),
    [
        (read_csv, "target", "; did you mean 'label'?"),
        (read_csv, "Columns", "; did you mean 'columns'?"),
        (read_csv, "sep", ""),
        (load, "labels", "; did you mean 'label'?"),
    ],
)
def test_a_keyword_that_does_not_exist_is_refused_with_the_one_that_was_meant(
    write, function, keyword, hint
):
    name = function.__name__
    with pytest.raises(TypeError) as caught:
        function(write("a,b\n1,2\n"), **{keyword: "a"})
    assert str(caught.value) == f"{name}() has no argument {keyword!r}{hint}"


# Submissions.


@pytest.mark.parametrize("labels", [[3, 0], np.array([3, 0], np.uint8)])
def test_a_submission_numbers_the_images_from_one(tmp_path, labels):
    write_submission(tmp_path / "submission.csv", labels)
    assert (tmp_path / "submission.csv").read_bytes() == b"ImageId,Label\n1,3\n2,0\n"


def test_a_submission_may_be_of_text(tmp_path):
    write_submission(str(tmp_path / "submission.csv"), ["cat", "a, b"])
    assert (tmp_path / "submission.csv").read_text() == 'ImageId,Label\n1,cat\n2,"a, b"\n'


def test_a_submission_may_be_of_integers_beyond_64_bits(tmp_path):
    write_submission(tmp_path / "submission.csv", np.array([2**63 + 1, -1], object))
    text = "ImageId,Label\n1,9223372036854775809\n2,-1\n"
    assert (tmp_path / "submission.csv").read_text() == text


def test_a_submission_may_be_of_numbers(tmp_path):
    write_submission(tmp_path / "submission.csv", [1.5, -2.0])
    assert (tmp_path / "submission.csv").read_text() == "ImageId,Label\n1,1.5\n2,-2.0\n"


def test_a_submission_replaces_an_older_one_and_leaves_no_other_file(tmp_path):
    write_submission(tmp_path / "submission.csv", [1, 2, 3])
    write_submission(tmp_path / "submission.csv", [4])
    assert os.listdir(tmp_path) == ["submission.csv"]
    assert (tmp_path / "submission.csv").read_text() == "ImageId,Label\n1,4\n"


def test_a_submission_that_cannot_replace_its_target_leaves_nothing_behind(tmp_path):
    (tmp_path / "submission.csv").mkdir()
    with pytest.raises(OSError, match=r"submission\.csv"):
        write_submission(tmp_path / "submission.csv", [1])
    assert os.listdir(tmp_path) == ["submission.csv"]


def test_a_submission_in_a_missing_folder_is_refused_by_name(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder .*absent.* 'submission\.csv' in"):
        write_submission(tmp_path / "absent" / "submission.csv", [1])


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        ([], ValueError, r"labels has shape \(0,\); need \(rows,\) with at least one"),
        ([[1]], ValueError, r"labels has shape \(1, 1\)"),
        ([None], TypeError, "labels has dtype object; need numbers or text"),
    ],
)
def test_labels_that_make_no_submission_are_refused(tmp_path, labels, error, message):
    with pytest.raises(error, match=message):
        write_submission(tmp_path / "submission.csv", labels)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("labelled", [True, False])
def test_a_file_read_on_several_threads_is_what_it_is_on_one(write, monkeypatch, labelled):
    pytest.importorskip("pandas", minversion="3.1")
    rng = np.random.default_rng(0)
    lines = [",".join(f"{x:.6g}" for x in row) for row in rng.normal(size=(1000, 60))]
    header = ",".join(f"c{i}" for i in range(60)) + ",label" * labelled
    rows = [f"{lines[i % 1000]}{f',{i % 7}' * labelled}" for i in range(24_000)]
    path = write("\n".join([header, *rows]) + "\n")
    assert path.stat().st_size in delimited._SPLIT
    tables = []
    for reader in ("whole_by_pandas", "by_numpy"):
        with monkeypatch.context() as patch:
            select(patch, reader)
            if reader == "whole_by_pandas":  # it must not fall back on another
                patch.setattr(readers, "by_pandas", None)
                patch.setattr(delimited, "by_pandas", None)
                patch.setattr(delimited, "fast_reader", lambda form, size: None)
            tables.append(read_csv(path))
    assert_equal(tables[0], tables[1].X, tables[1].y, tables[1].features, tables[1].label)
    assert len(tables[0].X) == 24_000
