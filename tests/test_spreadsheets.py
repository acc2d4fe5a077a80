"""Files as spreadsheets and exports write them: what is understood, said and refused."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import re
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fastnn.cli import predict, train
from fastnn.datasets import delimited, dialect, load, read_columns, read_csv
from fastnn.datasets.columns import MISSING
from fastnn.datasets.dates import dates_of, orders_of, seconds_of
from fastnn.datasets.encoding import is_windows_1252, utf_16_without_mark
from fastnn.datasets.kinds import Cells, kind_of, markers_of
from fastnn.datasets.notation import Evidence, facts_of, has_decimals, plain, settle


@pytest.fixture
def write(tmp_path):
    def write(content, name="table.csv"):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@pytest.fixture(scope="module")
def scratch_file(tmp_path_factory):
    return tmp_path_factory.mktemp("spreadsheets") / "table.csv"


def rows(path, *arguments, **options):
    """What `read_csv` reads, in float64 and as lists."""
    return read_csv(path, *arguments, dtype="float64", **options).X.tolist()


# Notations of numbers, cell by cell and column by column.


@pytest.mark.parametrize(
    ("text", "decimals"),
    [
        ("12", ".,"),
        ("1.5", "."),
        ("1,5", ","),
        (",5", ","),
        ("-0,126", ","),
        ("0.126", "."),
        ("1234.567", "."),
        ("1,234", ".,"),
        ("1.234", ".,"),
        ("1,234,567", "."),
        ("1.234,5", ","),
        ("1,234.5", "."),
        ("1 234,5", ","),
        ("1\u00a0234.5", "."),
        ("1\u202f234,5", ","),
        ("1'234.5", "."),
        ("1 234", ".,"),
        ("1,5e-3", ","),
        ("12,34,567", ""),
        ("1,23.4", ""),
        ("1 23", ""),
        ("2024-01-02", ""),
        ("01.02.2024", ""),
        ("1_000", ""),
        ("inf", ""),
        ("", ""),
    ],
)
def test_a_cell_says_with_which_decimal_marks_it_is_a_number(text, decimals):
    assert facts_of(text).decimals == set(decimals)


@pytest.mark.parametrize(
    ("text", "decimal", "number"),
    [
        ("1.234,5", ",", 1234.5),
        ("1,234", ".", 1234),
        ("1,234", ",", 1.234),
        ("-1 234 567,25", ",", -1234567.25),
        ("1'234.5", ".", 1234.5),
        (",5e2", ",", 50),
    ],
)
def test_a_number_is_written_as_python_does(text, decimal, number):
    assert float(plain(text, decimal)) == number


@pytest.mark.parametrize(
    ("text", "unit", "decimals"),
    [
        ("12,5 %", "%", ","),
        ("5%", "%", ".,"),
        ("$1,234.50", "$", "."),
        ("-$5", "$", ".,"),
        ("1.234,50 €", "€", ","),
        ("€ 3", "€", ".,"),
        ("$5 €", "", ""),
        ("%", "%", ""),
    ],
)
def test_a_sign_of_percent_or_currency_is_a_unit(text, unit, decimals):
    assert facts_of(text).decimals == set(decimals)
    assert not decimals or facts_of(text).unit == unit


def test_a_long_text_is_no_number_and_takes_no_time():
    assert not facts_of("1" + " " * 100_000 + "%").decimals
    assert not dates_of("1" * 100_000)


def evidence(*texts):
    found = Evidence()
    for line, text in enumerate(texts, 1):
        assert found.add(text, line)
    return found


@pytest.mark.parametrize(
    ("columns", "delimiter", "decimal", "assumed"),
    [
        ([["1,234", "1,5"]], "\t", ",", ()),
        ([["1,234", "2,345,678"]], ";", ".", ()),
        ([["1.234", "1.5"]], ";", ".", ()),
        ([["1,234", "5678"]], ",", ",", ()),
        ([["1,234", "567"]], "\t", ".", (0,)),
        ([["1,234"], ["0,5"]], "\t", ",", ()),
        ([["1.234"], ["0,5"]], ";", ",", ()),
        ([["1,234"], ["1.5"]], "\t", ".", ()),
        ([["1,234"]], ",", ".", ()),
        ([["1,234"]], ";", ",", ()),
        ([["1.234"]], ",", ".", ()),
        ([["1.234"]], ";", ".", (0,)),
        ([["1.234"]], "\t", ".", (0,)),
        ([["1.234"], ["0,5"], ["0.5"]], ";", ".", (0,)),
        ([["12"]], ";", ".", ()),
    ],
)
def test_a_column_then_the_others_then_the_delimiter_decide(columns, delimiter, decimal, assumed):
    found = settle({i: evidence(*texts) for i, texts in enumerate(columns)}, delimiter)
    assert (found.notations[0].decimal, found.assumed) == (decimal, assumed)


def test_a_decimal_mark_that_is_given_decides_all():
    found = settle({0: evidence("1.234"), 1: evidence("1,5")}, ";", ",")
    assert [each.decimal for each in found.notations.values()] == [",", ","]
    assert found.assumed == ()


# Numbers of a file.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a;b\n0,126;1,5\n2;-3,25e1\n", [[0.126, 1.5], [2, -32.5]]),
        ("0,126;1,5\n2,5;3\n", [[0.126, 1.5], [2.5, 3]]),
        ("a;b\n1.234,5;1\n12;1.000\n", [[1234.5, 1], [12, 1000]]),
        ('a,b\n"1,234.5",1\n12,"1,000"\n', [[1234.5, 1], [12, 1000]]),
        ('a,b\n"2,5",1\n3,"0,5"\n', [[2.5, 1], [3, 0.5]]),
        ("a\tb\n1 234,5\t1\u00a0000\n0,5\t7\n", [[1234.5, 1000], [0.5, 7]]),
        ("a;b\n1'234.5;1\u2019000\n2;7\n", [[1234.5, 1000], [2, 7]]),
        ("a;b\n12,5 %;$1,000.25\n3 %;$2\n", [[12.5, 1000.25], [3, 2]]),
        ("a;b\n1,5;TRUE\n2,5;false\n", [[1.5, 1], [2.5, 0]]),
    ],
)
def test_numbers_of_spreadsheets_are_read(write, text, expected):
    assert rows(write(text)) == expected


def test_a_column_is_decided_by_its_last_row_not_by_its_first(write):
    text = "a;b\n" + "1.234;5\n" * 2000
    with pytest.warns(UserWarning, match="nothing in the file decides"):
        assert rows(write(text))[0] == [1.234, 5]
    assert rows(write(text + "1,5;5\n"))[0] == [1234, 5]
    assert rows(write(text + "1.5;5\n"))[0] == [1.234, 5]


def test_a_unit_in_some_cells_of_which_nothing_else_decides_is_refused_with_its_line(write):
    path = write("a;b\n1.234 %;1\n5.678;2\n")
    with pytest.raises(ValueError, match=r"line 2, column 'a': '1\.234 %'; need a number.*no unit"):
        read_csv(path)


def test_where_nothing_decides_the_assumption_and_the_way_to_set_it_are_said(write):
    path = write("a;b\n1.234;5\n2.500;6\n")
    said = (
        r"column 'a': '1\.234' is read as 1\.234, as nothing in the file decides whether the point "
        r"separates decimals or thousands; decimal='\.' says so, and decimal=',' reads 1234"
    )
    with pytest.warns(UserWarning, match=said) as caught:
        assert rows(path) == [[1.234, 5], [2.5, 6]]
    assert len(caught) == 1
    assert rows(path, decimal=".") == [[1.234, 5], [2.5, 6]]
    assert rows(path, decimal=",") == [[1234, 5], [2500, 6]]


@pytest.mark.parametrize(
    "text", ["a,b\n1.234,5\n", "a;b\n1.234;0.5\n", "a;b\n1.2345;1\n", "a;b\n1234.567;1\n"]
)
def test_where_the_file_decides_nothing_is_said(write, text):
    assert rows(write(text))[0][0] in (1.234, 1.2345, 1234.567)


@pytest.mark.parametrize(
    ("delimiter", "text", "expected"),
    [
        (",", "1.234", True),
        (";", "1.234", False),
        ("\t", "12.345\t-7.000", False),
        (";", "1.234;0.234", True),
        (";", "1.234;.234", True),
        (";", "1.234;1.5", True),
        (";", "1.234;1.2345", True),
        (";", "1.234;1234.567", True),
        (";", "1234;5", True),
    ],
)
def test_what_leaves_no_doubt_about_decimal_points(delimiter, text, expected):
    assert has_decimals(delimiter, text.encode()) is expected


def test_what_is_said_of_a_large_file_is_said_once(write, monkeypatch):
    pytest.importorskip("pandas", minversion="3.1")
    monkeypatch.setattr(delimited, "_SPLIT", range(1 << 40))  # as of files that threads read
    monkeypatch.setattr(delimited, "fast_reader", lambda form, size: delimited.by_pandas)
    with pytest.warns(UserWarning, match="nothing in the file decides") as caught:
        read_csv(write("a;b;c\n1.234;5;6\n2.345;6;7\n"))
    assert len(caught) == 1
    with pytest.warns(UserWarning, match="the table begins in line 2") as caught:
        read_csv(write("Sales\na;b;c\n1.5;5;6\n2.5;6;7\n"))
    assert len(caught) == 1


def test_a_table_knows_how_its_numbers_were_written(write):
    table = read_csv(write("a;b;c;d;label\n1,5;1.000,5;5 %;3;x\n2,5;1;6 %;4;y\n"))
    assert table.notes == (
        "decimal comma: 'a'",
        "decimal comma, separated thousands: 'b'",
        "unit %: 'c'",
    )
    assert read_csv(write("a;b\n1.5;2\n")).notes == ()


def test_a_column_of_two_notations_is_refused_with_both_lines(write):
    said = (
        r"column 'a': '1,234\.5' in line 3 has a decimal point and '1\.234,5' in line 2 a comma; "
        "need one notation in a column"
    )
    with pytest.raises(ValueError, match=said):
        read_csv(write("a;b\n1.234,5;1\n1,234.5;2\n"))


@pytest.mark.parametrize(
    ("row", "decimal", "said"),
    [
        ("1.5;2", ",", "line 3, column 'a': '1.5'; need a number with a decimal comma and no unit"),
        ("5 %;2", None, "line 3, column 'a': '5 %'; need a number with a decimal comma and no un"),
        ("x;2", None, r"line 3, column 'a': 'x'; need a number, or label='a' if"),
        (";2", None, r"line 3, column 'a': empty; need a number: fill the cell, or drop=\['a'\]"),
        ("-;2", None, r"line 3, column 'a': '-'; need a number: fill the cell, or drop=\['a'\]"),
    ],
)
def test_a_fault_among_decimal_commas_is_told_with_its_place(write, row, decimal, said):
    with pytest.raises(ValueError, match=said):
        read_csv(write(f"a;b\n0,5;2\n{row}\n"), decimal=decimal)


def test_a_decimal_mark_of_another_kind_is_refused(write):
    with pytest.raises(ValueError, match=r"decimal must be one of ,, \.; got ' '"):
        read_csv(write("a;b\n1;2\n"), decimal=" ")


def test_decimal_commas_are_read_by_the_fast_readers(write, monkeypatch):
    monkeypatch.setattr(delimited, "by_cell", lambda *_: fail_as_other_notation())

    def fail_as_other_notation():
        raise delimited.OtherNotation

    path = write("a;b;price\n0,5;2;1,25\n1,5;3;2\n")
    table = read_csv(path, "price")
    assert table.X.tolist() == [[0.5, 2], [1.5, 3]]
    assert table.y.tolist() == [1.25, 2]


def as_written(value, decimal, separator):
    """A number as a spreadsheet shows it."""
    text = f"{value:,.4f}" if separator else f"{value:.4f}"
    return text.translate({ord("."): decimal, ord(","): separator})


@settings(deadline=None, max_examples=200)
@given(
    hnp.arrays(
        "int64",
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=5),
        elements=st.integers(-(10**9), 10**9),
    ),
    st.sampled_from([",", ";", "\t"]),
    st.sampled_from([".", ",'", ".,", ",.", ". ", ",\u00a0", ".\u202f"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"]),
    st.booleans(),
)
def test_any_table_of_a_spreadsheet_reads_back(
    scratch_file, whole, delimiter, notation, encoding, named
):
    X = whole / 1e4
    decimal, separator = notation[0], notation[1:]
    cells = [[as_written(x, decimal, separator) for x in row] for row in X.tolist()]
    names = [f"column {i}" for i in range(X.shape[1])]
    with open(scratch_file, "w", newline="", encoding=encoding) as file:
        csv.writer(file, delimiter=delimiter).writerows([names] * named + cells)
    if X.shape[1] > 1:  # a single column has no delimiter
        table = read_csv(scratch_file, dtype="float64", header=named)
        np.testing.assert_array_equal(table.X, X)
        columns = read_columns(scratch_file, header=named)
        np.testing.assert_array_equal([column.values for column in columns], X.T)


@pytest.mark.parametrize(
    ("text", "decimal", "X"),
    [
        ("price\n1,5 %\n-2 %\n1.234,5 %\n", ",", [[1.5], [-2], [1234.5]]),
        ("1,5\n2\n2,25\n", ",", [[1.5], [2], [2.25]]),
        ("1,5\n2,25\n", None, [[1, 5], [2, 25]]),
        ("a,b\n1,5\n2,25\n", ",", [[1, 5], [2, 25]]),
        ("price\n1\n2\n", ",", [[1], [2]]),
    ],
)
def test_a_single_column_has_decimal_commas_if_they_are_asked_for(write, text, decimal, X):
    assert read_csv(write(text), decimal=decimal).X.tolist() == X
    columns = read_columns(write(text), decimal=decimal)
    assert np.transpose([column.values for column in columns]).tolist() == X


def test_decimal_commas_are_not_proposed_for_thousands_with_a_decimal_point(write):
    with pytest.raises(ValueError, match=r"line 2: 2 cells; need 1$"):
        read_csv(write("price\n1,234.50\n2,345.00\n"))


# Labels.


def test_labels_with_decimal_commas_are_numbers(write):
    table = read_csv(write('a;price\n1;"58315,66"\n2;7\n3;1.372,5\n'), "price")
    assert table.y.tolist() == [58315.66, 7, 1372.5]


@pytest.mark.parametrize("other", ["Rome", "01.02.2024", "5%"])
def test_text_among_such_labels_makes_them_names(write, other):
    table = read_csv(write(f'a;price\n1;"58315,66"\n2;{other}\n'), "price")
    assert table.y.tolist() == ["58315,66", other]


def test_labels_with_commas_between_commas_are_numbers_with_a_warning(write):
    path = write('a,kind\n1,"1,2"\n2,"2,3"\n')
    with pytest.warns(UserWarning, match=r"labels such as '1,2' are read as numbers with a decim"):
        assert read_csv(path, "kind").y.tolist() == [1.2, 2.3]
    assert read_csv(path, "kind", decimal=".").y.tolist() == ["1,2", "2,3"]


def test_labels_stay_names_beside_decimal_commas(write):
    table = read_csv(write("a;kind\n1,5;Rome, Italy\n2,5;Oslo\n"), "kind")
    assert table.X.tolist() == [[1.5], [2.5]]
    assert table.y.tolist() == ["Rome, Italy", "Oslo"]


# Encodings.


@pytest.mark.parametrize("function", [read_csv, lambda path: load(path).train])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-8"])
@pytest.mark.parametrize("mark", ["\ufeff", ""], ids=["mark", "no mark"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_encodings_of_unicode_are_recognised(write, function, encoding, mark, pack):
    table = function(write(pack(f"{mark}größe,b\n1,2\n".encode(encoding))))
    assert table.features == ("größe", "b")
    assert table.X.tolist() == [[1, 2]]


def test_windows_1252_is_recognised_and_said(write):
    path = write("größe;b\n1,5;2\n".encode("cp1252"))
    said = r"not in UTF-8 and is read as Windows-1252: line 1 has 'größe;b'; .*encoding='cp1252'"
    with pytest.warns(UserWarning, match=said):
        assert read_csv(path).features == ("größe", "b")
    assert read_csv(path, encoding="cp1252").features == ("größe", "b")
    assert read_csv(path, encoding="latin2").features == ("größe", "b")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("größe".encode("cp1252"), True),
        ("größe".encode(), False),
        (b"abc", False),
        (b"a\x9db\xff", False),
        (b"\x01\xff", False),
    ],
)
def test_what_is_windows_1252(content, expected):
    assert is_windows_1252(content) is expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("a,b\n1,2\n".encode("utf-16-le"), "utf-16-le"),
        ("größe,łódź\n1,2\n".encode("utf-16-be"), "utf-16-be"),
        (b"a,b\n1,\0\n", None),
        (b"a,b\n", None),
        (b"", None),
    ],
)
def test_what_is_utf_16_without_a_mark(content, expected):
    assert utf_16_without_mark(content) == expected


@pytest.mark.parametrize(
    ("content", "encoding", "said"),
    [
        (b"a,b\n1,2\n", "klingon", "encoding must be one that Python knows, such as 'utf-8'"),
        (b"a,b\n1,2\n", 3, "encoding must be one that Python knows"),
        (b"a,b\n1,2\n", "hex", "cannot be read as hex"),
        (b"a,b\n1,\xe9\n", "utf-8", "line 2: 0xe9, invalid continuation byte; need text in UTF-8"),
        (b"\xff\xfea,b\n1,2,\n", None, "line 2: .*; need text in utf-16-le"),
    ],
)
def test_text_that_is_not_in_its_encoding_is_refused(write, content, encoding, said):
    with pytest.raises(ValueError, match=said):
        read_csv(write(content), encoding=encoding)


# Where the table begins and ends.


@pytest.mark.parametrize(
    ("text", "delimiter"),
    [
        ("a,b\n1,2\n", ","),
        ("0,126;1,5\n2,5;3\n", ";"),
        ("1,5\t2,5\n3,5\t4\n", "\t"),
        ("name;a\nx;1,5\ny;2,5\n", ";"),
        ("Sales, all regions\nname;a;b\nx;1,5;2\ny;2,5;3\n", ";"),
        ("1,a;b\n2,c;d\n", ","),
        ("sep=;\na;b\n1;2\n", ";"),
    ],
)
def test_the_delimiter_is_the_sign_that_parts_all_lines_alike(write, text, delimiter):
    opened = lambda: delimited.open_text(text.encode())  # noqa: E731
    assert dialect.dialect_of("", opened).delimiter == delimiter


@pytest.mark.parametrize(
    "text",
    [
        "# made by a program\n# in 2024\na,b\n1,2\n3,4\n",
        "a,b\n# a comment, with, commas\n1,2\n3,4\n",
        "a,b\n1,2\n3,4\n# the end\n",
        "a,b\n1,2\n,\n3,4\n,\n",
        "a,b,\n1,2,\n3,4,\n",
        "a,b\n1,2,\n3,4,\n",
        "a,b,,\n1,2\n3,4\n",
        "sep=,\na,b\n1,2\n3,4\n",
    ],
    ids=["first", "second", "last", "empty rows", "end", "end of rows", "end of header", "sep"],
)
def test_what_is_no_part_of_the_table_is_left_out(write, text):
    table = read_csv(write(text))
    assert table.X.tolist() == [[1, 2], [3, 4]]
    assert (table.features, table.left_out) == (("a", "b"), ())


def test_a_title_above_a_table_of_two_columns_is_left_out(write):
    with pytest.warns(UserWarning, match="the table begins in line 2"):
        assert read_csv(write("Sales\na;b\n1;2\n3;4\n")).features == ("a", "b")


@pytest.mark.parametrize(
    "titles", ["Report of sales\n\n", "Report of sales;;\n;;\n", "Report of sales\nMay;\n"]
)
def test_lines_before_the_header_are_left_out_with_a_warning(write, titles):
    said = r"the table begins in line \d, and what stands before it is left out: 'Report of sales'"
    with pytest.warns(UserWarning, match=said):
        table = read_csv(write(f"{titles}a;b;c\n1,5;2;3\n4;5;6\n"))
    assert table.X.tolist() == [[1.5, 2, 3], [4, 5, 6]]
    assert table.features == ("a", "b", "c")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,2,3\n4,5,6\n", "line 2: 3 cells; need 2"),
        ("5,,\n6,1,2\n7,8,9\n", "line 1, column 1: empty; need a number"),
        ("x\n1,2\n", "line 2: 2 cells; need 1"),
        ("x\n1,5\n2,5\n", "line 2: 2 cells; need 1; decimal=',' reads a single column"),
        ("a,b\n1,2\n#,3\n", "line 3, column 'a': '#'; need a number"),
    ],
)
def test_what_may_be_part_of_the_table_is_not_left_out(write, text, said):
    with pytest.raises(ValueError, match=said):
        read_csv(write(text))


def test_a_cell_below_an_empty_column_at_the_end_is_refused(write):
    text = "a,b,\n" + "1,2,\n" * 50 + "3,4,5\n"
    with pytest.raises(ValueError, match="line 52: '5' in a column without a name, which is empty"):
        read_csv(write(text))


def test_the_lines_of_errors_count_from_the_start_of_the_file(write):
    with pytest.raises(ValueError, match="line 5, column 'b': 'x'; need a number"):
        read_csv(write("# one\n# two\na,b\n1,2\n3,x\n"))


# Headers.


@pytest.mark.parametrize(
    ("text", "features"),
    [
        ("0,5;1,5\n2,5;3\n", None),
        ("x;y\n0,5;1,5\n", ("x", "y")),
        ("mean,25%,75%\n1,2,3\n", ("mean", "25%", "75%")),
        ("2024-01-31,2024-02-29\n1,2\n", ("2024-01-31", "2024-02-29")),
        ("5%,6%\n7%,8%\n", None),
    ],
)
def test_a_first_line_of_values_is_no_header(write, text, features):
    assert read_csv(write(text)).features == features


def test_a_first_line_of_dates_above_dates_is_no_header(write):
    assert read_csv(write("31.12.2020,5\n30.11.2020,6\n"), drop=[0]).X.tolist() == [[5], [6]]


def test_a_name_that_is_not_there_comes_with_a_question_if_the_first_line_looks_like_a_row(write):
    said = "its columns are '5.1', '3.5', 'rose'; is the first line a row.*header=False reads it so"
    with pytest.raises(ValueError, match=said):
        read_csv(write("5.1,3.5,rose\n4.9,3.0,lily\n"), "kind")


def test_text_in_a_first_line_that_is_taken_for_a_row_comes_with_a_question(write):
    with pytest.raises(ValueError, match="or header=True if line 1 holds the names of the columns"):
        read_csv(write("2020,b\n1,2\n"))


def test_nothing_is_said_of_plain_files(write):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for text in ("a,b\n1,2\n", "a;b\n1;2\n", "a\tb\n1.5\t2.125\n"):
            assert read_csv(write(text)).features == ("a", "b")


# Dates, cell by cell and column by column.


@pytest.mark.parametrize(
    ("text", "dates"),
    [
        ("2024-12-31", {"2024-12-31"}),
        ("2024/12/31", {"2024-12-31"}),
        ("2024-12-31T23:59:01Z", {"2024-12-31"}),
        ("31.12.2024", {"2024-12-31"}),
        ("12/31/2024 08:00", {"2024-12-31"}),
        ("1/2/2024", {"2024-02-01", "2024-01-02"}),
        ("31.02.2024", set()),
        ("31.12.24", set()),
        ("12/31/2024 8:00 PM", {"2024-12-31"}),
        ("12/31/2024 13:00 PM", set()),
        ("3 Mar 2024", {"2024-03-03"}),
        ("03-MAR-2024 08:30", {"2024-03-03"}),
        ("3. März 2024", {"2024-03-03"}),
        ("Mar 3, 2024", {"2024-03-03"}),
        ("March 13 2024", {"2024-03-13"}),
        ("30 Feb 2024", set()),
        ("3 Mar 24", set()),
        ("3 Jui 2024", set()),  # June or July in French
        ("3 Moon 2024", set()),
        ("3 Ma 2024", set()),
        ("Mar 2024", set()),
        ("1.2-2024", set()),
        ("2024", set()),
        ("x", set()),
    ],
)
def test_a_cell_says_which_dates_it_can_be(text, dates):
    assert {f"{date:%Y-%m-%d}" for date in dates_of(text).values()} == dates


@pytest.mark.parametrize(
    ("names", "months"),
    [
        ("January February March April May June", range(1, 7)),
        ("July August September October November December", range(7, 13)),
        ("Jänner Feb. März April Mai Juni Juli August September Oktober Nov. Dez.", range(1, 13)),
        ("janv. févr. mars avr. mai juin juil. août sept. oct. nov. déc.", range(1, 13)),
        ("ene feb mar abr may jun jul ago sep oct nov dic", range(1, 13)),
        ("gennaio febbraio marzo aprile maggio giugno luglio agosto", range(1, 9)),
        ("settembre ottobre novembre dicembre", range(9, 13)),
        ("jan fev março abr maio jun jul ago set out nov dez", range(1, 13)),
        ("maart mei augustus", [3, 5, 8]),
        ("Maerz MÄRZ fevrier aout", [3, 3, 2, 8]),
    ],
)
def test_months_have_names_in_seven_languages(names, months):
    for name, month in zip(names.split(), months, strict=True):
        for text in (f"3 {name} 2024", f"{name} 3, 2024"):
            assert set(dates_of(text).values()) == {dt.datetime(2024, month, 3)}, text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("08:30", 30_600),
        ("8:30", 30_600),
        ("23:59:59.5", 86_399.5),
        ("12:00 AM", 0),
        ("12:30 pm", 45_000),
        ("8:30 p.m.", 73_800),
        ("24:00", None),
        ("08:60", None),
        ("13:00 PM", None),
        ("0:30 AM", None),
        ("8:3", None),
        ("8", None),
        ("08:30 Z", None),
        ("1" * 100_000, None),
    ],
)
def test_a_cell_says_which_time_of_day_it_is(text, seconds):
    assert seconds_of(text) == seconds


def test_times_of_day_are_read_as_seconds(write):
    table = read_columns(write("at,city\n08:30,Rome\n,Oslo\n8:30 PM,Rome\n"))
    np.testing.assert_array_equal(table["at"].values, [30_600, np.nan, 73_800])
    assert table["at"].summary == "30600 to 73800, seconds of times of day"


def test_a_date_with_a_word_above_a_table_is_its_title(write):
    with pytest.warns(UserWarning, match="March 3, 2024"):
        table = read_columns(write("March 3, 2024\nday;size;city\n08:30;2;Rome\n09:30;3;Oslo\n"))
    assert table.names == ("day", "size", "city")


def test_a_first_line_of_times_above_times_is_no_header(write):
    assert read_columns(write("08:30,Rome\n09:30,Oslo\n")).rows == 2


@pytest.mark.parametrize(
    ("texts", "orders"),
    [
        (["1/2/2024", "31/1/2024"], ["day first"]),
        (["3 Mar 2024", "1/31/2024"], ["month first"]),
        (["1/2/2024", "1/31/2024"], ["month first"]),
        (["1/2/2024", "3/4/2024"], ["day first", "month first"]),
        (["1.2.2024", "3.4.2024"], ["day first"]),
        (["2024-01-02"], ["day first", "month first"]),
        (["31/1/2024", "1/31/2024"], []),
        (["1/2/2024", "x"], []),
    ],
)
def test_all_dates_of_a_column_decide_the_order_of_day_and_month(texts, orders):
    assert sorted(orders_of(texts)) == orders


# Kinds of columns.


def kind(*texts):
    return kind_of(Cells(texts, range(2, 2 + len(texts))))


@pytest.mark.parametrize(
    ("texts", "name"),
    [
        (["1", "2.5", "1e3"], "number"),
        (["1", "NA", "n/a", "NaN", "null", "-", "--", "?", "#N/A", ""], "number"),
        (["1,5", "2"], "number"),
        (["5 %", "7 %"], "number"),
        (["1", "0"], "number"),
        (["TRUE", "false", ""], "boolean"),
        (["yes", "No"], "boolean"),
        (["yes", "true"], "text"),
        (["yes", "maybe"], "text"),
        (["08:30", "9:15 PM"], "number"),
        (["08:30", "25:10"], "text"),
        (["08:30", "09:30", "2024-01-02"], "mixed"),
        (["3 Mar 2024", "2024-01-02"], "date"),
        (["3 Mar 2024", "soon", "never"], "text"),
        (["2024-01-02", "2024-01-03"], "date"),
        (["31.12.2024", "?"], "date"),
        (["a", "b", "1"], "text"),
        (["00123", "00124"], "text"),
        (["0", "0.5"], "number"),
        (["1", "2", "x"], "mixed"),
        (["2024-01-02", "2024-01-03", "soon"], "mixed"),
        (["", "NA"], "empty"),
        (["1", "1e999", "2"], "mixed"),
        (["1", "2\n3", "4.5"], "mixed"),
    ],
)
def test_all_cells_of_a_column_decide_its_kind(texts, name):
    assert kind(*texts).name == name


def test_the_texts_among_numbers_are_named_with_their_lines():
    texts = list(map(str, range(10_000)))
    texts[5], texts[77], texts[78] = "old", "new", "old"
    found = kind(*texts)
    assert found.name == "mixed"
    assert found.note == "9,997 numbers and 3 texts: 'old' in line 7, 'new' in line 79"


@pytest.mark.parametrize(
    ("texts", "note"),
    [
        (["1", "2", *"abcdefg", *"34567890"], "10 numbers and 7 texts: 'a' in line 4, .* and 2 m"),
        (["1,5", "1.5"], "'1.5' in line 3 has a decimal point and '1,5' in line 2 a comma"),
        (["5%", "0.05"], "numbers with different units: %, none"),
        (["31/1/2024", "1/31/2024"], "dates, some with the day first and some with the month firs"),
        (["2024-01-02", "2024-01-03", "x"], "2 dates and 1 text: 'x' in line 4"),
        (["08:30", "9:30", "x"], "2 times of day and 1 text: 'x' in line 4"),
        (["", ""], "all cells are missing"),
    ],
)
def test_what_is_odd_about_a_column_is_said(texts, note):
    assert re.match(note, kind(*texts).note)


def test_a_minus_is_a_value_beside_a_plus():
    assert "-" in markers_of(["a", "-"], MISSING)
    assert "-" not in markers_of(["+", "-"], MISSING)
    assert kind("+", "-").name == "text"
    assert kind("-", "-").name == "empty"


# Tables with columns of any kind.

SALES = """\
day;price;city;open;share;code
31.12.2024;1.234,5;Rome;yes;5 %;00123
01.01.2025;NA;;no;7 %;00124
02.01.2025;3,5;Rome;;9,5 %;00125
"""


def test_columns_have_values_of_their_kinds_and_marks_of_what_is_missing(write):
    table = read_columns(write(SALES))
    assert (table.rows, len(table)) == (3, 6)
    assert table.names == ("day", "price", "city", "open", "share", "code")
    kinds = ["date", "number", "text", "boolean", "number", "text"]
    assert [column.kind for column in table] == kinds
    dates = np.array(["2024-12-31", "2025-01-01", "2025-01-02"], "datetime64[s]")
    np.testing.assert_array_equal(table["day"].values, dates, strict=True)
    np.testing.assert_array_equal(table["price"].values, [1234.5, np.nan, 3.5])
    assert table["price"].missing.tolist() == [False, True, False]
    assert table["city"].values.tolist() == ["Rome", "", "Rome"]
    assert table["open"].values.tolist() == [True, False, False]
    assert table["open"].missing.tolist() == [False, False, True]
    assert table["share"].values.tolist() == [5, 7, 9.5]
    assert table["code"].values[0] == "00123"


def test_each_column_is_described_in_a_line(write):
    assert str(read_columns(write(SALES))) == (
        "3 rows, 6 columns\n"
        "\n"
        "column  kind     missing  values\n"
        "day     date              2024-12-31 to 2025-01-02, day first\n"
        "price   number   1        3.5 to 1234.5, decimal comma, separated thousands\n"
        "city    text     1        always 'Rome'\n"
        "open    boolean  1        true in 1 of 2\n"
        "share   number            5 to 9.5, decimal comma, unit %\n"
        "code    text              3 values, such as '00123', codes that begin with 0"
    )


@pytest.mark.parametrize(
    ("text", "summary"),
    [
        ("7\n7\n", "always 7"),
        ("true\ntrue\n", "always 'True'"),
        ("2024-01-02\n2024-01-02 08:30\n", "2024-01-02 to 2024-01-02T08:30:00"),
        ("x\n" * 2 + "y" * 50 + "\n", "2 values, such as 'x'"),
        ("NA\n-\n", "all cells are missing"),
    ],
)
def test_columns_that_are_constant_or_missing_are_said_to_be(write, text, summary):
    lines = "".join(f"{line};1\n" for line in text.splitlines())
    assert read_columns(write(f"a;b\n{lines}"))["a"].summary == summary


def test_dates_that_nothing_decides_have_the_day_first_with_a_warning(write):
    path = write("day,a\n1/2/2024,1\n3/4/2024,2\n")
    said = "column 'day': '1/2/2024' is read as 2024-02-01, as nothing .* day_first=False reads"
    with pytest.warns(UserWarning, match=said):
        assert str(read_columns(path)["day"].values[0]) == "2024-02-01T00:00:00"
    assert str(read_columns(path, day_first=True)["day"].values[0]) == "2024-02-01T00:00:00"
    assert str(read_columns(path, day_first=False)["day"].values[0]) == "2024-01-02T00:00:00"


def test_the_other_columns_of_dates_decide(write):
    table = read_columns(write("from,to\n1/2/2024,1/31/2024\n3/4/2024,3/5/2024\n"))
    assert str(table["from"].values[0]) == "2024-01-02T00:00:00"
    assert table["from"].note == "month first"


def test_numbers_that_nothing_decides_come_with_a_warning(write):
    path = write("a\tb\n1,234\t1\n")
    with pytest.warns(UserWarning, match=r"column 'a': '1,234' is read as 1234, as nothing"):
        assert read_columns(path)["a"].values.tolist() == [1234]
    assert read_columns(path, decimal=",")["a"].values.tolist() == [1.234]


def test_numbers_in_another_notation_than_the_one_given_are_texts(write):
    column = read_columns(write("a;b\n1,5;1\n2,5;1\n1.5;1\n"), decimal=",")["a"]
    assert (column.kind, column.note) == ("mixed", "2 numbers and 1 text: '1.5' in line 4")


def test_a_header_above_text_alone_is_said_to_be_assumed(write):
    path = write("red,blue\ngreen,red\n")
    with pytest.warns(UserWarning, match="all cells are text, .*header=False reads it as a row"):
        assert read_columns(path).names == ("red", "blue")
    assert read_columns(path, header=True).rows == 1
    assert read_columns(path, header=False).rows == 2


def test_further_markers_of_missing_cells_can_be_given(write):
    path = write("a,b\n1,x\nnone,y\n2,z\n")
    assert read_columns(path)["a"].kind == "mixed"
    column = read_columns(path, missing=["none"])["a"]
    assert (column.kind, column.missing.tolist()) == ("number", [False, True, False])


def test_columns_are_chosen_and_left_out_as_in_read_csv(write):
    path = write("a,label,c\n1,2,x\n")
    assert read_columns(path).names == ("a", "label", "c")
    assert read_columns(path, columns=["c", "a"]).names == ("c", "a")
    assert read_columns(path, drop=[0]).names == ("label", "c")
    assert read_columns(path, header=False).names == ("0", "1", "2")


def test_a_column_that_is_not_there_is_refused_by_those_that_are(write):
    with pytest.raises(KeyError, match="there is no column 'd'; there are a, b"):
        read_columns(write("a,b\n1,2\n"))["d"]


@pytest.mark.parametrize(
    ("text", "options", "error", "said"),
    [
        ("a,b\n1,2\n3\n", {}, ValueError, "line 3: 1 cells; need 2"),
        ("a,b\n", {}, ValueError, "holds no rows after its header; need one"),
        ("", {}, ValueError, "holds no rows"),
        (f"{'1,' * 16384}1\n", {}, ValueError, "has 16,385 columns; need at most 16,384, as in a"),
        ("a,a\n1,2\n", {}, ValueError, "line 1: two columns are called 'a'; need different"),
        ("a,b\n1,2\n", {"missing": "x"}, TypeError, "missing must be a list of texts, got 'x'"),
        ("a,b\n1,2\n", {"decimals": ","}, TypeError, "did you mean 'decimal'"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused(write, text, options, error, said):
    with pytest.raises(error, match=said):
        read_columns(write(text), **options)


# The command line.


def describe(capsys, *words):
    train.main([*words, "--describe"])
    return capsys.readouterr()


def test_a_file_with_text_is_described_column_by_column(write, capsys):
    printed = describe(capsys, "--data", str(write(SALES)), "--label", "price").out
    assert printed.startswith("3 rows, 6 columns\n\ncolumn  kind     missing  values\nday     date")
    last = (
        "line 2, column 'day': '31.12.2024'; need a number, or --drop day to leave the column out"
    )
    assert printed.splitlines()[-1].startswith("not ready for training: ")
    assert last in printed.splitlines()[-1]


def test_a_column_of_two_notations_is_described(write, capsys):
    printed = describe(capsys, "--data", str(write("a;label\n1,5;0\n1.5;1\n"))).out
    assert "a       mixed            '1.5' in line 3 has a decimal point and '1,5' in" in printed


def test_training_and_prediction_read_spreadsheets(write, tmp_path, capsys):
    numbers = np.random.default_rng(0).normal(size=(60, 2)).round(3)
    lines = [f"{x};{y};{'ab'[x > y]}" for x, y in numbers.tolist()]
    text = "x;y;label\n" + "\n".join(lines) + "\n"
    printed = []
    for name, content in (("plain.csv", text), ("german.csv", text.replace(".", ","))):
        path, saved = write(content, name), tmp_path / f"{name}.net"
        train.main(f"--data {path} --backend numpy --epochs 2 --quiet --save {saved}".split())
        capsys.readouterr()
        predict.main(f"{saved} --data {path} --backend numpy".split())
        printed.append(capsys.readouterr().out.replace(name, "FILE"))
    said = "FILE: numbers with decimal comma: 'x', 'y'\n"
    assert said in printed[1]
    assert printed[1].replace(said, "") == printed[0]


def test_numbers_that_are_not_written_as_in_python_are_said(write, capsys):
    path = write("a;b;label\n1,5;2;0\n2,5;3;1\n")
    printed = describe(capsys, "--data", str(path)).out
    assert printed.startswith("table.csv: numbers with decimal comma: 'a'\n2 rows, 2 features\n")


def test_what_was_assumed_is_said_with_the_options_that_set_it(write, capsys):
    path = str(write("größe;label\n1.234;0\n2.500;1\n".encode("cp1252")))
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        said = describe(capsys, "--data", path).err
    assert "--encoding cp1252 says so" in said
    assert "--decimal . says so, and --decimal , reads 1234" in said
    printed = describe(capsys, "--data", path, "--decimal", ",", "--encoding", "cp1252")
    assert printed.err == ""
    assert re.search(r"größe +2 +1867 ", printed.out)


def test_a_first_line_that_looks_like_a_row_is_asked_about(write, capsys):
    with pytest.raises(SystemExit):
        describe(capsys, "--data", str(write("5.1,3.5,rose\n4.9,3.0,lily\n")), "--label", "kind")
    assert "is the first line a row? --no-header reads it so" in capsys.readouterr().err


@pytest.mark.parametrize("options", [["--decimal", ","], ["--encoding", "utf-8"]])
def test_what_is_not_text_has_no_use_for_the_options_of_text(tmp_path, capsys, options):
    np.savez(tmp_path / "data.npz", X=np.eye(3), y=np.arange(3))
    with pytest.raises(SystemExit):
        describe(capsys, "--data", str(tmp_path / "data.npz"), *options)
    assert f"is an .npz file; {options[0]} does not apply to it" in capsys.readouterr().err
