"""The history of a run: its rows and columns, its table and its CSV file."""

from __future__ import annotations

import csv
import os

import numpy as np
import pytest

from fastnn.training.history import History, format_header, format_row

FIRST = {"epoch": 1, "loss": 0.1 + 0.2, "samples_per_second": 1234567.8}
SECOND = {"epoch": 2, "loss": 1 / 3, "samples_per_second": 98765.4}
FULL = {
    "epoch": 1,
    "loss": 2.30259,
    "learning_rate": 0.1,
    "seconds": 1.239,
    "samples_per_second": 48621.3,
    "validation_loss": 0.25,
    "validation_accuracy": 0.98123,
    "validation_macro_f1": 0.9,
}


@pytest.fixture
def history():
    return History([FIRST, SECOND], compile_seconds=1.5)


def test_rows_are_kept_in_order(history):
    assert history.rows == list(history) == [FIRST, SECOND]
    assert len(history) == 2


def test_an_integer_indexes_rows(history):
    assert history[0] == FIRST
    assert history[-1] == SECOND


def test_a_name_indexes_columns(history):
    assert history["epoch"] == [1, 2]
    assert history["loss"] == [FIRST["loss"], SECOND["loss"]]


def test_an_unknown_name_is_an_error_that_lists_the_columns(history):
    with pytest.raises(KeyError, match=r"'lost'.*'epoch', 'loss', 'samples_per_second'"):
        history["lost"]


def test_columns_are_in_the_order_of_the_first_row(history):
    history.append(dict(reversed(SECOND.items())))
    assert history.columns == list(FIRST)
    assert [list(row) for row in history] == [list(FIRST)] * 3


def test_compile_seconds_are_kept(history):
    assert history.compile_seconds == 1.5


def test_append_copies_the_row():
    row = dict(FIRST)
    history = History()
    history.append(row)
    row["loss"] = 0.0
    assert history[0] == FIRST


def test_numpy_scalars_become_python_numbers():
    history = History([{"epoch": np.int32(1), "loss": np.float32(0.1)}])
    assert type(history[0]["epoch"]) is int
    assert type(history[0]["loss"]) is float
    assert history[0]["loss"] == np.float32(0.1)


@pytest.mark.parametrize("row", [{"epoch": 3}, {**SECOND, "seconds": 1.0}, {}])
def test_a_row_with_other_columns_is_refused(history, row):
    with pytest.raises(ValueError, match=r"need .*'epoch', 'loss', 'samples_per_second'"):
        history.append(row)
    assert len(history) == 2


@pytest.mark.parametrize("value", ["0.1", None, [1.0]])
def test_a_value_that_is_no_number_is_refused(value):
    with pytest.raises(TypeError, match="column 'loss' got"):
        History([{"epoch": 1, "loss": value}])


def test_csv_reads_back_exactly(history, tmp_path):
    history.to_csv(tmp_path / "run.csv")
    with open(tmp_path / "run.csv", newline="", encoding="utf-8") as file:
        rows = [{name: float(text) for name, text in row.items()} for row in csv.DictReader(file)]
    assert rows == [FIRST, SECOND]


def test_csv_replaces_an_older_file_and_leaves_no_other(history, tmp_path):
    (tmp_path / "run.csv").write_text("older")
    history.to_csv(str(tmp_path / "run.csv"))
    assert os.listdir(tmp_path) == ["run.csv"]
    assert (tmp_path / "run.csv").read_text().startswith("epoch,loss,samples_per_second\n1,0.3000")


def test_a_csv_that_cannot_replace_its_target_leaves_nothing_behind(history, tmp_path):
    (tmp_path / "run.csv").mkdir()
    with pytest.raises(OSError, match=r"run\.csv"):
        history.to_csv(tmp_path / "run.csv")
    assert os.listdir(tmp_path) == ["run.csv"]


def test_csv_in_a_missing_folder_is_an_error_that_names_it(history, tmp_path):
    with pytest.raises(FileNotFoundError, match="absent"):
        history.to_csv(tmp_path / "absent" / "run.csv")


def test_csv_in_the_working_folder_needs_no_path(history, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    history.to_csv("run.csv")
    assert os.listdir(tmp_path) == ["run.csv"]


def test_table_has_a_header_and_a_line_an_epoch():
    assert str(History([FULL, FULL])).splitlines() == [
        "epoch      loss      rate   seconds    samples/s  val loss   val acc    val F1",
        "    1    2.3026       0.1      1.24       48,621    0.2500    0.9812    0.9000",
        "    1    2.3026       0.1      1.24       48,621    0.2500    0.9812    0.9000",
    ]


def test_table_is_made_of_the_lines_that_a_command_line_prints(history):
    lines = [format_header(history.columns), *(format_row(row) for row in history)]
    assert str(history) == "\n".join(lines)


@pytest.mark.parametrize(
    "row",
    [
        FULL,
        {**FULL, "loss": 1.5e12, "learning_rate": 1.25e-7, "samples_per_second": 3.3e12},
        {**FULL, "loss": float("nan"), "validation_loss": float("inf")},
        {**FULL, "gradient_norm": 0.123456, "a_column_with_a_long_name": 123456789},
    ],
    ids=["usual", "extreme", "not finite", "other columns"],
)
def test_every_line_is_as_wide_as_its_header(row):
    assert len(format_row(row)) == len(format_header(row))


def test_an_empty_history_says_so():
    assert str(History()) == "no epochs recorded"
    assert History().columns == []


def test_an_empty_history_writes_an_empty_csv(tmp_path):
    History().to_csv(tmp_path / "run.csv")
    assert (tmp_path / "run.csv").read_text().strip() == ""


def test_repr_is_one_short_line(history):
    assert repr(history) == "<History of 2 epochs, 3 columns>"
