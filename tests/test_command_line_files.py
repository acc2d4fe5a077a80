"""The files of the command line: nothing is overwritten, and columns go by their names."""

from __future__ import annotations

import csv
import os
import re
import shutil
import warnings

import numpy as np
import pytest
from test_command_line_data import SHORT, refusal, run, tune
from test_mnist import NAMES, contents, fill

import fastnn
from fastnn import predict, train
from fastnn.cli import paths


@pytest.fixture
def data(tmp_path):
    """Write a CSV of two columns and two kinds, which the first column tells apart."""
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 2, 100)
    lines = [f"{5 * k + rng.normal():.3f},{rng.normal():.3f},{'ab'[k]}" for k in kinds]
    path = tmp_path / "data.csv"
    path.write_text("\n".join(["height,width,kind", *lines]) + "\n")
    return path


@pytest.fixture
def net(data, tmp_path, capsys):
    """The file of a network that knows these data."""
    path = tmp_path / "net.safetensors"
    run(f"{SHORT} --data {data} --label kind --save {path} --quiet", capsys)
    return path


def rewritten(path, change, name):
    """Write the rows of a CSV file, each changed, to another file."""
    rows = [change(line.split(",")) for line in path.read_text().splitlines()]
    other = path.with_name(name)
    other.write_text("\n".join(",".join(row) for row in rows) + "\n")
    return other


def report_in(printed):
    return printed[printed.index("test accuracy") :]


# Columns by name.


def test_a_network_is_saved_with_the_names_of_its_columns_and_classes(net):
    loaded = fastnn.load(net)
    assert loaded.features == ("height", "width")
    assert loaded.classes == ("a", "b")


def test_whole_numbers_stay_classes_that_are_numbers(data, tmp_path, capsys):
    numbered = rewritten(data, lambda row: [*row[:2], row[2].replace("a", "3")], "n.csv")
    numbered.write_text(numbered.read_text().replace(",b\n", ",7\n"))
    run(f"{SHORT} --data {numbered} --label kind --save {tmp_path}/n", capsys)
    loaded = fastnn.load(tmp_path / "n")
    assert loaded.classes == (3, 7)
    printed = run(f"{tmp_path}/n --data {numbered} --label kind", capsys, predict.main)
    table = fastnn.datasets.read_csv(numbered, "kind")
    assert set(loaded.predict(table.X)) <= {3, 7}
    accuracy = loaded.evaluate(table.X, table.y)["accuracy"]
    assert f"test accuracy  {accuracy:.4f}\n" in printed


def test_another_order_and_further_columns_are_put_right_in_prediction(data, net, capsys):
    plain = run(f"{net} --data {data} --label kind", capsys, predict.main)
    other = rewritten(data, lambda row: ["text", row[2], row[1], row[0]], "other.csv")
    other.write_text(other.read_text().replace("text", "id", 1))
    printed = run(f"{net} --data {other} --label kind", capsys, predict.main)
    assert report_in(printed) == report_in(plain)
    assert "\nother.csv: columns that are left out: id\n" in printed


@pytest.mark.parametrize("option", ["--test", "--predict"])
def test_another_order_and_further_columns_are_put_right_in_training(
    data, tmp_path, capsys, option
):
    other = rewritten(data, lambda row: ["text", row[2], row[1], row[0]], "other.csv")
    other.write_text(other.read_text().replace("text", "id", 1))
    results = []
    for path in (shutil.copy(data, tmp_path / "copy.csv"), other):
        words = f"{SHORT} --data {data} --label -1 {option} {path}"
        if option == "--predict":
            words += f" --submission {tmp_path}/s.csv"
        printed = run(words, capsys)
        results.append(
            report_in(printed).rsplit("\n\n", 1)[0]
            if option == "--test"
            else (tmp_path / "s.csv").read_text()
        )
    assert results[0] == results[1]
    left_out = "id" if option == "--test" else "id, kind"
    assert f"{other}: columns that are left out: {left_out}\n" in printed


def test_a_missing_column_is_named_in_prediction(data, net, capsys):
    other = rewritten(data, lambda row: [row[0], row[2]], "other.csv")
    said = refusal(f"{net} --data {other}", capsys, predict.main)
    assert "other.csv' has no column 'width'; its columns are 'height', 'kind'" in said


def test_without_names_columns_go_by_position(data, net, tmp_path, capsys):
    bare = tmp_path / "bare.csv"
    bare.write_text(data.read_text().split("\n", 1)[1])
    plain = run(f"{net} --data {data} --label kind", capsys, predict.main)
    printed = run(f"{net} --data {bare} --label -1", capsys, predict.main)
    assert report_in(printed) == report_in(plain)
    run(f"{SHORT} --data {bare} --label -1 --save {tmp_path}/bare.net", capsys)
    assert fastnn.load(tmp_path / "bare.net").features is None
    run(f"{tmp_path}/bare.net --data {data} --label kind", capsys, predict.main)


@pytest.mark.parametrize("columns", ["id note", "0 -1"])
def test_columns_are_left_out(data, tmp_path, capsys, columns):
    other = rewritten(data, lambda row: ["x7", *row, "some text"], "other.csv")
    other.write_text(other.read_text().replace("x7", "id", 1).replace("some text", "note", 1))
    plain = run(f"{SHORT} --data {data} --label kind", capsys)
    words = f"{SHORT} --data {other} --label kind --drop {columns} --save {tmp_path}/net"
    assert (
        report_in(run(words, capsys)).split("the network is in")[0].strip()
        == report_in(plain).split("the network was not saved")[0].strip()
    )
    assert fastnn.load(tmp_path / "net").features == ("height", "width")


# Standardised by default.


@pytest.mark.parametrize(
    ("options", "scaled"),
    [
        ("", (True, False)),
        ("--no-standardize", (False, False)),
        ("--no-standardize --standardize-inputs", (True, False)),
        ("--drop kind --label width", (True, True)),
        ("--drop kind --label width --no-standardize", (False, False)),
        ("--drop kind --label width --no-standardize --standardize-targets", (False, True)),
        ("--drop kind --label price --loss poisson", (True, False)),
        ("--drop kind --label price --output exponential", (True, False)),
    ],
)
def test_data_of_ones_own_are_standardised(data, tmp_path, capsys, options, scaled):
    if "price" in options:
        data = rewritten(data, lambda row: [*row, "1.5"], "data.csv")
        data.write_text(data.read_text().replace("1.5", "price", 1).replace("1.5", "2", 9))
    label = "" if "--label" in options else "--label kind"
    options = f"{label} {options} --learning-rate 0.001"
    printed = run(f"{SHORT} --data {data} {options} --save {tmp_path}/net", capsys)
    loaded = fastnn.load(tmp_path / "net")
    assert (loaded.input_scaler is not None, loaded.target_scaler is not None) == scaled
    what = " and ".join(["inputs"] * scaled[0] + ["targets"] * scaled[1])
    said = f"\nstandardised to mean 0 and standard deviation 1: {what} (--no-standardize leaves"
    assert (said in printed) == any(scaled)
    assert ("standardised" in printed) == any(scaled)


def test_arrays_of_floats_are_standardised_and_pixels_are_not(tmp_path, capsys):
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 255, (50, 3)), np.arange(50) % 2
    for kind, scaled in (("uint8", False), ("float32", True)):
        np.savez(tmp_path / "data.npz", X=X.astype(kind), y=y)
        run(f"{SHORT} --data {tmp_path}/data.npz --save {tmp_path}/net", capsys)
        assert (fastnn.load(tmp_path / "net").input_scaler is not None) == scaled


def test_numbers_far_from_1_are_learnt_without_an_option(tmp_path, capsys):
    rng = np.random.default_rng(0)
    X = rng.uniform(0, 1000, (200, 2))
    rows = np.column_stack([X, 1e5 + 300 * X[:, 0] - 200 * X[:, 1]])
    path = tmp_path / "prices.csv"
    np.savetxt(path, rows, "%.3f", ",", header="a,b,price", comments="")
    printed = run(f"--data {path} --label price --epochs 30 --quiet", capsys)
    assert float(printed.split("test R2")[1].split()[0]) > 0.9


@pytest.mark.parametrize("options", ["", "--no-standardize"])
def test_tuning_standardises_alike(data, capsys, options):
    pytest.importorskip("sklearn")
    words = f"--backend numpy --epochs 2 --hidden 4 --folds 2 --data {data} --label kind"
    printed = run(f"{words} {options}", capsys, tune)
    assert ("standard deviation 1: inputs (--no" in printed) == (not options)


# Nothing is overwritten.


def same(path):
    return path


def link(path):
    other = path.with_name("link")
    other.symlink_to(path)
    return other


def hard_link(path):
    other = path.with_name("hard")
    os.link(path, other)
    return other


def dotted(path):
    (path.parent / "sub").mkdir(exist_ok=True)
    return f"{path.parent}/./sub/../{path.name}"


@pytest.mark.parametrize("spelled", [same, link, hard_link, dotted])
@pytest.mark.parametrize("option", ["--save", "--history", "--checkpoint", "--report"])
def test_data_are_not_overwritten(data, capsys, spelled, option):
    before = data.read_bytes()
    said = refusal(f"{SHORT} --data {data} --label kind {option} {spelled(data)}", capsys)
    assert f"{option} would overwrite" in said
    assert f"which --data reads; need another name for {option}" in said
    assert data.read_bytes() == before


@pytest.mark.parametrize(
    ("main", "words", "message"),
    [
        ("train", "--data {data} --label kind --test {other} --save {other}", "which --test reads"),
        (
            "train",
            "--data {data} --label kind --predict {other} --submission {other}",
            "which --predict reads",
        ),
        ("train", "--data {data} --label kind --save x --checkpoint ./x", "--checkpoint and --sa"),
        ("train", "--data {data} --label kind --history x --report x", "are the same file, 'x'"),
        ("train", "--data {data} --label kind --plot . --report ./curves.png", "are the same"),
        ("predict", "{net} --data {data} --outputs {net}", "which NETWORK reads"),
        ("predict", "{net} --data {data} --submission {data}", "which --data reads"),
        ("predict", "{net} --data {data} --submission x --outputs ./x", "are the same file"),
        ("tune", "--data {data} --label kind --csv {data}", "which --data reads"),
        ("tune", "--data {data} --label kind --test {other} --csv {other}", "which --test reads"),
    ],
)
def test_no_file_is_written_over_another(
    data, net, tmp_path, capsys, monkeypatch, main, words, message
):
    monkeypatch.chdir(tmp_path)
    other = rewritten(data, lambda row: row, "other.csv")
    files = {path: path.read_bytes() for path in tmp_path.iterdir()}
    mains = {"train": train.main, "predict": predict.main, "tune": tune}
    said = refusal(words.format(data=data, other=other, net=net), capsys, mains[main])
    assert message in said
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == files


def test_a_picture_does_not_overwrite_the_data(data, tmp_path, capsys):
    pictures = tmp_path / "plots"
    pictures.mkdir()
    data.rename(pictures / "curves.png")
    (tmp_path / "table.csv").symlink_to(pictures / "curves.png")
    words = f"{SHORT} --data {tmp_path}/table.csv --label kind --plot {pictures}"
    assert "--plot would overwrite" in refusal(words, capsys)


def test_files_of_mnist_and_labels_of_idx_are_not_overwritten(tmp_path, capsys):
    folder = fill(tmp_path / "digits", contents())
    images, labels = NAMES[:2]
    for source in (folder, folder / f"{images}.gz"):
        said = refusal(f"{SHORT} --data {source} --save {folder / labels}.gz", capsys)
        assert "--save would overwrite" in said
    said = refusal(f"{SHORT} --data {folder} --save {folder / labels}", capsys)
    assert "--save would overwrite" in said  # it would be read the next time
    (folder / f"{labels}.gz").rename(tmp_path / "elsewhere")
    words = f"{SHORT} --data {folder / images}.gz --label {tmp_path}/elsewhere"
    assert "which --label reads" in refusal(f"{words} --save {tmp_path}/elsewhere", capsys)


def test_mnist_is_not_overwritten_where_nothing_is_named(tmp_path, capsys, monkeypatch):
    folder = fill(tmp_path / "digits", contents())
    monkeypatch.setenv("FASTNN_DATA", str(folder))
    assert "which the files of MNIST" in refusal(f"{SHORT} --save {folder / NAMES[0]}", capsys)


def test_upper_and_lower_case_are_one_file_where_the_file_system_says_so(tmp_path, monkeypatch):
    one, other = tmp_path / "a.csv", tmp_path / "A.csv"
    assert not paths._same(one, other) or other.exists()
    monkeypatch.setattr(paths, "_ignores_case", lambda folder: True)
    assert paths._same(one, other)
    assert not paths._same(one, tmp_path / "b.csv")


# Predictions.


def test_without_a_file_to_write_to_the_first_predictions_are_printed(data, net, capsys):
    other = rewritten(data, lambda row: row[:2], "other.csv")
    printed = run(f"{net} --data {other}", capsys, predict.main)
    table = printed[printed.index("\nrow  prediction") :].splitlines()[1:]
    assert table[0].split() == ["row", "prediction", "a", "b"]
    loaded = fastnn.load(net)
    X = fastnn.datasets.read_csv(other).X
    wanted = loaded.predict(X)[:10].tolist()
    assert [line.split()[1] for line in table[1:11]] == wanted
    assert [float(line.split()[3]) for line in table[1:11]] == pytest.approx(
        loaded.predict_proba(X)[:10, 0], abs=1e-3
    )
    assert table[11] == "... and 90 more; --outputs CSV writes all to a file"


@pytest.mark.parametrize(
    ("sizes", "heading"), [([2, 1], "prediction"), ([2, 2], "prediction_1,prediction_2")]
)
def test_numbers_without_a_name_are_called_predictions(tmp_path, capsys, sizes, heading):
    fastnn.Network(sizes, output="identity", seed=0).save(tmp_path / "net")
    (tmp_path / "new.csv").write_text("1,2\n3,4\n")
    words = f"{tmp_path}/net --data {tmp_path}/new.csv"
    run(f"{words} --outputs {tmp_path}/o.csv", capsys, predict.main)
    assert (tmp_path / "o.csv").read_text().splitlines()[0] == f"row,{heading}"
    assert heading.split(",")[0] in run(words, capsys, predict.main)


def test_classes_that_are_bools_are_known_in_files(data, tmp_path, capsys):
    table = fastnn.datasets.read_csv(data, "kind")
    network = fastnn.Network([2, 1], seed=0)
    network.train(table, table.y == "a")
    network.save(tmp_path / "net")
    truths = rewritten(data, lambda row: [*row[:2], str(row[2] == "a")], "truths.csv")
    truths.write_text(truths.read_text().replace("False", "kind", 1))
    printed = run(f"{tmp_path}/net --data {truths} --label kind", capsys, predict.main)
    accuracy = network.evaluate(table, table.y == "a")["accuracy"]
    assert f"test accuracy  {accuracy:.4f}" in printed
    assert "False  True\n" in printed


def test_labels_that_are_no_numbers_are_refused_where_numbers_are_predicted(data, tmp_path, capsys):
    run(f"{SHORT} --data {data} --drop kind --label width --save {tmp_path}/net", capsys)
    said = refusal(f"{tmp_path}/net --data {data} --label kind", capsys, predict.main)
    assert "has the label 'b'; the network predicts numbers" in said or "'a'; the" in said


# What may be meant otherwise.


@pytest.mark.parametrize(("step", "warns"), [(1, True), (10, False)])
def test_many_whole_numbers_may_be_no_classes(tmp_path, capsys, step, warns):
    path = tmp_path / "counts.csv"
    path.write_text("a,label\n" + "".join(f"{i},{i // step}\n" for i in range(300)))
    test = shutil.copy(path, tmp_path / "test.csv")
    words = f"{SHORT} --data {path} --test {test} --quiet --epochs 1"
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        train.main(words.split())
    said = capsys.readouterr().err
    assert (
        "counts.csv are 300 different whole numbers, and each is taken for a class" in said
    ) == (warns)
    assert said.count("fastnn-train: warning: ") == warns


def test_classes_of_test_rows_alone_are_named_with_what_may_help(tmp_path, capsys):
    path = tmp_path / "counts.csv"
    path.write_text("a,label\n" + "".join(f"{i},{i}\n" for i in range(20)))
    said = refusal(f"{SHORT} --data {path}", capsys)
    hint = "need training rows of every class, or --regression to predict numbers"
    assert re.search(rf"that no training row has: \d+, \d+, \d+, \d+; {hint}", said)


def test_numbers_of_test_rows_are_classes_that_are_text(tmp_path, capsys):
    (tmp_path / "train.csv").write_text("a,label\n" + "1,x\n2,7\n3,8\n" * 9)
    (tmp_path / "test.csv").write_text("a,label\n2,7\n3,8\n")
    words = f"{SHORT} --data {tmp_path}/train.csv --test {tmp_path}/test.csv"
    matrix = run(words, capsys).split("the predicted ones\n")[1].splitlines()
    assert matrix[0].split() == ["7", "8", "x"]
    assert [sum(map(int, row.replace(".", "0").split()[1:])) for row in matrix[1:4]] == [1, 1, 0]
    said = refusal(f"{SHORT} --data {tmp_path}/test.csv --test {tmp_path}/train.csv", capsys)
    assert "classes that no training row has: x; need" in said


def test_excel_files_are_called_so(tmp_path, capsys):
    import zipfile

    with zipfile.ZipFile(tmp_path / "table.xlsx", "w") as archive:
        archive.writestr("[Content_Types].xml", "")
    said = refusal(f"{SHORT} --data {tmp_path}/table.xlsx", capsys)
    assert "table.xlsx' is a file of Excel or another office program; save the table as CSV" in said


def test_outputs_are_csv_that_reads_back(data, net, tmp_path, capsys):
    run(f"{net} --data {data} --outputs {tmp_path}/o.csv", capsys, predict.main)
    with open(tmp_path / "o.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        assert row["prediction"] == max("ab", key=lambda name: float(row[name]))
