"""Files as spreadsheets and exports write them: what is understood, said and refused."""

from __future__ import annotations

import gzip
import warnings

import pytest

from fastnn.datasets import delimited, dialect, load, read_csv
from fastnn.datasets.encoding import is_windows_1252, utf_16_without_mark
from fastnn.datasets.notation import Evidence, facts_of, plain, settle


@pytest.fixture
def write(tmp_path):
    def write(content, name="table.csv"):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


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
