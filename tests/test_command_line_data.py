"""The command line with data of one's own: CSV files in, submissions, pictures and reports out."""

from __future__ import annotations

import csv
import re
import runpy
import shutil
import subprocess
import sys
import warnings

import numpy as np
import pytest

import fastnn
from fastnn import predict, train

SHORT = "--backend numpy --epochs 3 --hidden 8"


@pytest.fixture(scope="module")
def kaggle(tmp_path_factory):
    """A folder with MNIST's first rows in the form of Kaggle's "Digit Recognizer"."""
    folder = tmp_path_factory.mktemp("kaggle")
    X, y, test_X, _ = fastnn.datasets.load_mnist()
    pixels = ",".join(f"pixel{i}" for i in range(784))
    rows = np.column_stack([y[:3000], X[:3000]])
    np.savetxt(folder / "train.csv", rows, "%d", ",", header=f"label,{pixels}", comments="")
    np.savetxt(folder / "test.csv", test_X[:400], "%d", ",", header=pixels, comments="")
    return folder


@pytest.fixture
def flowers(tmp_path):
    """Write a CSV of three kinds, whose names are strings, and a column of numbers."""
    rng = np.random.default_rng(0)
    kinds = np.array(["rose", "tulip", "lily"])[rng.integers(0, 3, 150)]
    shift = {"rose": 0, "tulip": 3, "lily": 6}
    lines = ["height,kind,width,price"]
    for kind in kinds:
        height, width = rng.normal(shift[kind], 1), rng.normal(-shift[kind], 1)
        lines.append(f"{height:.3f},{kind},{width:.3f},{2 * height + 1:.3f}")
    path = tmp_path / "flowers.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def run(words, capsys, main=train.main):
    assert main(str(words).split()) == 0
    return capsys.readouterr().out


def copied(path):
    """Copy a file, as rows of the file that was trained on are warned of."""
    return shutil.copy(path, path.with_name(f"copy of {path.name}".replace(" ", "_")))


def refusal(words, capsys, main=train.main):
    with pytest.raises(SystemExit) as stop:
        main(str(words).split())
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


def test_a_round_trip_of_kaggles_form(kaggle, tmp_path, run_python):
    submission = tmp_path / "submission.csv"
    printed = run_python(
        "-m", "fastnn.train", "--epochs", "5", "--data", str(kaggle / "train.csv"),
        "--predict", str(kaggle / "test.csv"), "--submission", str(submission),
    )  # fmt: skip
    assert "train.csv: 2,400 training and 600 test rows of 784 features, 10 classes" in printed
    assert f"400 labels are in {submission}" in printed
    with open(submission, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["ImageId"] for row in rows] == [str(i) for i in range(1, 401)]
    truth = fastnn.datasets.load_mnist().test_labels[:400]
    assert np.mean([int(row["Label"]) for row in rows] == truth) > 0.85


def test_the_run_is_what_it_is_in_python(kaggle, capsys):
    printed = run(f"{SHORT} --data {kaggle}/train.csv --test-share 0.25 --seed 4", capsys)
    table = fastnn.datasets.load(kaggle / "train.csv").train
    rows, aside = fastnn.training.rows.stratified(0.25, 3000, table.y, 4)
    net = fastnn.Network([784, 8, 10], seed=4, backend="numpy")
    net.train(table.X[rows], table.y[rows], epochs=3)
    scores = net.evaluate(table.X[aside], table.y[aside])
    assert f"\ntest accuracy  {scores['accuracy']:.4f}\n" in printed


def test_labels_may_be_strings(flowers, capsys):
    printed = run(f"{SHORT} --data {flowers} --label kind --class-weight lily=2 rose=1", capsys)
    assert "120 training and 30 test rows of 3 features, 3 classes" in printed
    matrix = printed[printed.index("confusion matrix") :].splitlines()
    assert matrix[1].split() == ["lily", "rose", "tulip"]
    assert [line.split()[0] for line in matrix[2:5]] == ["lily", "rose", "tulip"]
    assert "there is no class 'oak'" in refusal(
        f"{SHORT} --data {flowers} --label kind --class-weight oak=2", capsys
    )


def test_two_classes_have_one_output(tmp_path, capsys):
    path = tmp_path / "two.csv"
    rng = np.random.default_rng(1)
    path.write_text("".join(f"{x},{'yes' if x > 0 else 'no'}\n" for x in rng.normal(size=80)))
    printed = run(f"{SHORT} --data {path} --label -1 --learning-rate 0.5", capsys)
    assert "Network([1, 8, 1]" in printed
    assert "output='sigmoid'" in printed
    printed = run(f"{SHORT} --data {path} --label -1 --output softmax", capsys)
    assert "Network([1, 8, 2]" in printed


def test_numbers_are_learnt_as_numbers(flowers, tmp_path, capsys):
    without = tmp_path / "numbers.csv"
    rows = [line.split(",") for line in flowers.read_text().splitlines()]
    without.write_text("\n".join(",".join([row[0], row[2], row[3]]) for row in rows) + "\n")
    options = f"{SHORT} --data {without} --label price --standardize-targets --standardize-inputs"
    options += " --epochs 30 --learning-rate 0.1"
    printed = run(options, capsys)
    assert "120 training and 30 test rows of 2 features, numbers" in printed
    assert float(printed.split("test R2")[1].split()[0]) > 0.9
    assert "test RMSE" in printed
    predictions = tmp_path / "predictions.csv"
    without.with_name("new.csv").write_text("height,width\n1,2\n3,4\n")
    run(f"{options} --predict {tmp_path}/new.csv --submission {predictions}", capsys)
    assert len(predictions.read_text().splitlines()) == 3


@pytest.fixture
def heights(tmp_path):
    """Write a CSV of numbers."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(200, 2))
    rows[:, 1] += 3 * rows[:, 0]
    np.savetxt(tmp_path / "heights.csv", rows, "%.3f", ",", header="age,label", comments="")
    return tmp_path / "heights.csv"


def test_quantiles_are_learnt_and_their_median_is_evaluated(heights, tmp_path, capsys):
    options = f"{SHORT} --epochs 40 --data {heights} --loss quantile --levels 0.1 0.5 0.9"
    printed = run(f"{options} --save {tmp_path}/net", capsys)
    assert "Quantile(levels=(0.1, 0.5, 0.9))" in printed
    assert float(printed.split("test R2")[1].split()[0]) > 0.5
    net = fastnn.load(tmp_path / "net")
    table = fastnn.datasets.read_csv(heights, "label")
    below = (table.y[:, None] < net.predict(table.X)).mean(axis=0)
    assert below == pytest.approx([0.1, 0.5, 0.9], abs=0.15)
    words = f"{tmp_path}/net --data {heights} --label label --outputs {tmp_path}/o.csv"
    assert "test R2" in run(words, capsys, predict.main)
    header, *rows = (tmp_path / "o.csv").read_text().splitlines()
    assert header == "row,prediction_0.1,prediction_0.5,prediction_0.9"
    assert len(rows) == 200


def test_quantiles_without_the_median_are_evaluated_by_their_loss(heights, tmp_path, capsys):
    printed = run(f"{SHORT} --data {heights} --loss quantile --levels 0.1 0.9", capsys)
    assert "\ntest loss  0." in printed
    assert "test R2" not in printed


def test_one_quantile_labels_rows_and_several_do_not(heights, tmp_path, capsys):
    (tmp_path / "new.csv").write_text("age\n1\n2\n")
    options = f"{SHORT} --data {heights} --loss quantile"
    options += f" --predict {tmp_path}/new.csv --submission {tmp_path}/s.csv"
    run(f"{options} --levels 0.9", capsys)
    assert len((tmp_path / "s.csv").read_text().splitlines()) == 3
    message = refusal(f"{options} --levels 0.1 0.9", capsys)
    assert "--predict writes one number per row; need one of --levels, or --save and" in message


def test_whole_numbers_are_numbers_if_asked(tmp_path, capsys):
    path = tmp_path / "counts.csv"
    path.write_text("a,label\n" + "".join(f"{i / 50},{i // 5}\n" for i in range(50)))
    assert "10 classes" in run(f"{SHORT} --data {path}", capsys)
    printed = run(f"{SHORT} --data {path} --regression", capsys)
    assert "numbers" in printed
    assert "output='identity'" in printed


def test_a_header_of_numbers_is_seen_and_can_be_told(tmp_path, capsys):
    path = tmp_path / "numbers.csv"
    path.write_text("0,1,2\n" + "1.5,2.5,1\n3.5,4.5,0\n" * 20)
    assert "32 training and 8 test rows of 2 features, 2 classes" in run(
        f"{SHORT} --data {path} --label 2", capsys
    )
    path.write_text(path.read_text().replace("0,1,2", "7,8,9", 1))
    words = f"{SHORT} --data {path} --label 2 --header --save {tmp_path}/net"
    assert "32 training and 8 test rows of 2 features, 2 classes" in run(words, capsys)
    assert fastnn.load(tmp_path / "net").features == ("7", "8")


@pytest.mark.parametrize(("factor", "said"), [(1, False), (100, True)])
def test_a_score_below_that_of_the_mean_is_said_to_be_so(flowers, capsys, factor, said):
    header, *rows = flowers.read_text().splitlines()
    other = flowers.with_name("other.csv")
    with open(other, "w") as file:
        print(header, file=file)
        for row in rows:
            start, _, price = row.rpartition(",")
            print(f"{start},{factor * float(price)}", file=file)
    words = f"{SHORT} --data {flowers} --test {other} --label price --drop kind"
    line = "an R2 below 0 is worse than predicting the mean of the test labels for every row\n"
    printed = run(words, capsys)
    assert (line in printed) == ("test R2    -" in printed) == said


def test_test_data_may_be_a_file_of_their_own(kaggle, tmp_path, capsys):
    lines = (kaggle / "train.csv").read_text().splitlines(keepends=True)
    (tmp_path / "one.csv").write_text("".join(lines[:2001]))
    (tmp_path / "two.csv").write_text("".join([lines[0], *lines[2001:]]))
    printed = run(f"{SHORT} --data {tmp_path}/one.csv --test {tmp_path}/two.csv", capsys)
    assert "one.csv: 2,000 training and 1,000 test rows" in printed


def test_the_label_of_test_data_goes_by_its_name_in_the_training_data(flowers, tmp_path, capsys):
    rows = [line.split(",") for line in flowers.read_text().splitlines()]
    (tmp_path / "other.csv").write_text(
        "".join(",".join([row[1], row[0], row[3], row[2]]) + "\n" for row in rows)
    )
    expected = run(f"{SHORT} --data {flowers} --test {copied(flowers)} --label 1", capsys)
    printed = run(f"{SHORT} --data {flowers} --test {tmp_path}/other.csv --label 1", capsys)
    scores = [
        [line for line in text.splitlines() if line.startswith("test ")]
        for text in (expected, printed)
    ]
    assert scores[0] == scores[1] != []


@pytest.mark.parametrize("linked", [False, True])
def test_test_rows_that_were_trained_on_are_warned_of(flowers, capsys, linked):
    other = flowers
    if linked:
        other = flowers.with_name("link.csv")
        other.symlink_to(flowers)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        train.main(f"{SHORT} --quiet --data {flowers} --test {other} --label kind".split())
    assert capsys.readouterr().err == (
        "fastnn-train: warning: --test and --data are the same file: the scores are of rows that "
        "were trained on\n"
    )


def test_data_are_described(flowers, capsys):
    printed = run(f"--data {flowers} --label kind --describe", capsys)
    for word in ("rose", "tulip", "lily", "height", "width", "price", "mean", "std"):
        assert word in printed
    assert printed.startswith("150 rows, 3 features\n")  # all of the file
    assert "accuracy" not in printed
    printed = run("--describe", capsys)
    assert printed.startswith("MNIST: 60,000 training and 10,000 test rows, here together\n70,000")
    assert "constant" in printed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            "--data {flowers}",
            "need a number, or --label kind if this is the label, or --drop kind to leave the col",
        ),
        ("--data {flowers} --label price", "'kind': 'lily'; need a number, or --drop kind to"),
        ("--data {flowers} --label kind --drop kind", "of the labels cannot be left out"),
        ("--data {flowers} --label kind --drop colour", "has no column 'colour'; its columns"),
        (
            "--data {flowers} --label kind --drop height,width",
            "'price'; need spaces between columns: --drop height width",
        ),
        ("--data {flowers} --label -1 --no-header --drop 0,1", "need spaces between columns: --dr"),
        ("--data {gap} --label kind", "'height': empty; need a number: fill the cell, or --drop h"),
        ("--data {single}", "single.csv has labels of a single class, 'a'; need two or more"),
        ("--data {flowers} --label colour", "colour"),
        (
            "--data {other}",
            "has no column 'label'; name the column of the labels with --label: it has",
        ),
        (
            "--data {flowers} --label kind --regression",
            "--regression needs labels that are numbers; got 'lily'",
        ),
        ("--data {flowers} --label kind --test-share 0.999", "must leave a row"),
        (
            "--data {flowers} --label kind --test-share 1.5",
            "argument --test-share: need a share below 1, got 1.5; 1.5% are 0.015",
        ),
        (
            "--data {flowers} --label kind --predict {other} --submission x.csv",
            "other.csv' has no columns 'width', 'price'; its columns are 'height'",
        ),
        (
            "--data {flowers} --label kind --predict {named} --submission x.csv",
            "named.csv' has no column 'width'; its columns are 'height', 'depth', 'price'",
        ),
        (
            "--data {flowers} --label kind --predict {bare} --submission x.csv",
            "bare.csv' has no names of columns, so they are taken by position, and it has 2 feat",
        ),
        (
            "--data {bare} --label -1 --predict {text} --submission x.csv",
            "column 1: 'rose'; need a number; a file to label has no column of labels",
        ),
        ("--data {flowers} --label kind --test {named}", "has no column 'kind'"),
    ],
)
def test_data_that_do_not_fit_are_refused(flowers, tmp_path, capsys, options, message):
    (tmp_path / "other.csv").write_text("height\n1\n2\n")
    (tmp_path / "named.csv").write_text("height,depth,price\n1,2,3\n")
    (tmp_path / "bare.csv").write_text("1,2\n3,4\n" * 9)
    (tmp_path / "text.csv").write_text("1,rose\n3,rose\n")
    (tmp_path / "gap.csv").write_text("height,width,kind\n1,2,a\n,2,b\n")
    (tmp_path / "single.csv").write_text("height,label\n1,a\n2,a\n3,a\n")
    words = options.format(
        flowers=flowers,
        other=tmp_path / "other.csv",
        named=tmp_path / "named.csv",
        gap=tmp_path / "gap.csv",
        single=tmp_path / "single.csv",
        bare=tmp_path / "bare.csv",
        text=tmp_path / "text.csv",
    )
    assert message in refusal(f"{SHORT} {words}", capsys)


def test_pictures_and_a_report_are_written(flowers, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    options = f"--data {flowers} --label kind --plot {tmp_path}/plots --report {tmp_path}/run.html"
    printed = run(f"{SHORT} {options}", capsys)
    names = {path.name for path in (tmp_path / "plots").iterdir()}
    assert {"curves.png", "confusion.png", "classes.png", "learning_rate.png"} <= names
    assert f"{len(names)} pictures are in" in printed
    page = (tmp_path / "run.html").read_text()
    assert "flowers.csv: training run" in page
    assert "tulip" in page
    assert "train acc" in printed  # curves of training need its metrics


def test_pictures_without_matplotlib_are_refused_before_training(flowers, tmp_path):
    code = (
        "import sys; sys.modules['matplotlib'] = None; from fastnn import train; "
        f"train.main({f'{SHORT} --data {flowers} --label kind --plot {tmp_path}'.split()!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert "pip install 'fastnn-cpu[plots]'" in done.stderr
    assert "epoch" not in done.stdout


# python -m fastnn.tune


def tune(words):
    return runpy.run_module("fastnn.tune")["main"](words)


def test_tuning_is_what_it_is_in_python(kaggle, tmp_path, capsys):
    grid = "--hidden 6 8,4 --l2 0 0.01 --dropout 0 0.1,0.2 --folds 3"
    path = tmp_path / "results.csv"
    words = f"--data {kaggle}/train.csv --backend numpy --epochs 2 --csv {path}"
    with pytest.raises(SystemExit):  # two rates are of the inputs and of one hidden layer
        tune(f"{words} {grid}".split())
    assert "dropout must be" in capsys.readouterr().err
    grid = "--hidden 6 8,4 --l2 0 0.01 --optimizer sgd adam --learning-rate 0.01 --folds 3"
    printed = run(f"{words} {grid}", capsys, tune)
    assert "3 folds, 8 combinations" in printed
    table = fastnn.datasets.load(kaggle / "train.csv").train
    rows, aside = fastnn.training.rows.stratified(0.2, 3000, table.y, 0)
    found = fastnn.tune(
        table.X[rows],
        table.y[rows],
        {"hidden": [(6,), (8, 4)], "l2": [0, 0.01], "optimizer": ["sgd", "adam"]},
        folds=3,
        test=(table.X[aside], table.y[aside]),
        epochs=2,
        learning_rate=0.01,
        backend="numpy",
    )
    assert f"\ntest accuracy  {found.test['accuracy']:.4f}\n" in printed
    with open(path, newline="") as file:
        written = list(csv.DictReader(file))
    for row, result in zip(written, found.results, strict=True):
        assert float(row["macro_f1"]) == pytest.approx(result["macro_f1"])
        assert row["hidden"] == ",".join(map(str, result["hidden"]))


def test_help_of_tuning_shows_values_as_a_user_types_them(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit):
        tune(["--help"])
    printed = capsys.readouterr().out
    for text in ("--by NAME [NAME ...]", "when the rate changes: step, epoch (linear, expon"):
        assert text in printed
    assert "initial weights: he, glorot, xavier, normal, uniform (default: glorot)" in printed
    assert "64 256,64 tries both" in printed
    for oddity in ("--BY", "default: [", "('", "['"):
        assert oddity not in printed


def test_a_single_combination_is_cross_validated(flowers, capsys):
    options = "--backend numpy --epochs 3 --hidden 8 --folds 4 --label kind"
    printed = run(f"{options} --data {flowers}", capsys, tune)
    assert "4 folds, 1 combinations" in printed
    assert "best: the only one" in printed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--activation relu rleu", "'rleu' is none of"),
        ("--hidden 5 x", "--hidden"),
        ("--learning-rate 0.1,0.3", "need spaces between values: --learning-rate 0.1 0.3"),
        ("--optimizer sgd,adam", "need spaces between values: --optimizer sgd adam"),
        ("--l2 0 -1", "l2 must be"),
        ("--folds 1", "folds must be at least 2"),
        ("--csv nowhere/results.csv", "--csv 'nowhere/results.csv': no folder"),
        ("--early-stopping", "needs --validation"),
        ("--optimizer sgd adam --beta1 0.9", "--beta1 does not apply to the optimizer 'sgd'"),
        ("--l2 uniform:0:1", "--l2 has a range, which needs --random COUNT"),
        ("--momentum log:0.1:0.9 --optimizer momentum", "--momentum has a range, which needs"),
        ("--l2 0 uniform:0:1 --random 3", "--l2 takes one range or several values, not both"),
        ("--learning-rate log:0:1 --random 3", "--learning-rate: got 'log:0:1'; need LOW above 0"),
        ("--l2 uniform:1:0 --random 3", "got 'uniform:1:0'; need LOW and a higher HIGH"),
        ("--l2 uniform:0 --random 3", "a range is log:LOW:HIGH or uniform:LOW:HIGH"),
        ("--l2 normal:0:1 --random 3", "a range is log:LOW:HIGH or uniform:LOW:HIGH"),
        ("--batch-size log:1:2.5 --random 3", "--batch-size: '2.5' is not a whole number"),
        ("--average log:2:5 --random 3", "--average: got 'log:2:5'; need values"),
        ("--random 0", "--random: need at least 1"),
        ("--halving 1", "--halving must be at least 2; got 1"),
        ("--halving x", "--halving: invalid int value: 'x'"),
        ("--jobs 0", "--jobs must be at least 1"),
        ("--levels 0.1,0.9", "--levels needs --loss quantile"),
    ],
)
def test_what_cannot_be_tuned_is_refused_in_one_line(flowers, capsys, options, message):
    words = f"--backend numpy --epochs 1 --data {flowers} --label kind {options}"
    assert message in refusal(words, capsys, tune)


def test_a_random_search_by_halving(flowers, tmp_path, capsys):
    path = tmp_path / "results.csv"
    options = (
        "--random 7 --halving --epochs 9 --folds 2 --learning-rate log:0.01:1 --batch-size "
        f"log:8:20 --hidden 4 8,3 --l2 0 0.1 --momentum uniform:0.5:0.9 --optimizer momentum "
        f"--backend numpy --data {flowers} --label kind --csv {path}"
    )
    printed = run(options, capsys, tune)
    assert "2 folds, 7 combinations drawn at random" in printed
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epochs_trained"] for row in rows] == [*"9331111"]
    assert all(0.01 <= float(row["learning_rate"]) <= 1 for row in rows)
    assert {int(row["batch_size"]) for row in rows} <= {*range(8, 21)}
    assert {row["hidden"] for row in rows} <= {"4", "8,3"}
    assert len({row["learning_rate"] for row in rows}) == 7
    assert run(options, capsys, tune).split("rank")[0] == printed.split("rank")[0]


def test_quantiles_are_tuned(heights, capsys):
    options = "--loss quantile --levels 0.1,0.9 0.05,0.95 --epochs 2 --folds 2 --backend numpy"
    printed = run(f"{options} --hidden 4 --data {heights}", capsys, tune)
    assert "best: loss Quantile(levels=(0." in printed


def test_the_tuning_module_runs_and_the_function_stays(run_python, flowers):
    options = (
        f"-m fastnn.tune --hidden 4 --epochs 1 --folds 2 --data {flowers} --label kind --jobs 2"
    )
    assert "test macro-F1" in run_python(*options.split())
    assert callable(fastnn.tune)


# Networks that were saved


@pytest.fixture
def of_flowers(flowers, tmp_path, capsys):
    """A network that knows the flowers, its file, and the report on the test rows."""
    path = tmp_path / "net.safetensors"
    words = f"{SHORT} --data {flowers} --test {copied(flowers)} --label kind --save {path}"
    printed = run(words, capsys)
    report = printed[printed.index("\ntest accuracy") :]
    return fastnn.load(path), path, report.split("\n\nthe network is in")[0]


def test_a_saved_network_is_evaluated_as_after_its_training(of_flowers, flowers, capsys):
    _, path, report = of_flowers
    printed = run(f"{path} --data {flowers} --label kind --backend numpy", capsys, predict.main)
    assert printed.endswith(f"{report}\n")
    assert "flowers.csv: 150 rows of 3 features" in printed


def test_a_saved_network_predicts(of_flowers, flowers, tmp_path, capsys):
    net, path, _ = of_flowers
    table = fastnn.datasets.read_csv(flowers, label="kind")
    header = ",".join(table.features)
    np.savetxt(tmp_path / "new.csv", table.X, "%.9g", ",", header=header, comments="")
    words = f"{path} --data {tmp_path}/new.csv --backend numpy"
    words += f" --submission {tmp_path}/s.csv --outputs {tmp_path}/o.csv"
    printed = run(words, capsys, predict.main)
    assert "150 labels are in" in printed
    assert "accuracy" not in printed
    want = net.predict_proba(table.X)
    with open(tmp_path / "o.csv", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["row", "prediction", "lily", "rose", "tulip"]
    assert [row[0] for row in rows] == [str(i) for i in range(1, 151)]
    written = np.array([row[2:] for row in rows]).astype(np.float32)
    np.testing.assert_allclose(written, want, rtol=1e-6)
    with open(tmp_path / "s.csv", newline="") as file:
        labels = [row["Label"] for row in csv.DictReader(file)]
    assert labels == np.array(["lily", "rose", "tulip"])[want.argmax(axis=1)].tolist()
    assert [row[1] for row in rows] == labels


@pytest.mark.parametrize(
    ("label", "columns", "says"),
    [("price", ["price"], "test R2"), ("kind", ["prediction", "rose", "tulip"], "test accuracy")],
)
def test_numbers_and_two_classes_are_predicted_and_evaluated(
    flowers, tmp_path, capsys, label, columns, says
):
    text = flowers.read_text()
    if label == "kind":
        text = "\n".join(line for line in text.splitlines() if "lily" not in line)
    else:
        text = text.replace("rose", "1").replace("tulip", "2").replace("lily", "3")
    flowers.write_text(text)
    words = f"{SHORT} --learning-rate 0.01 --data {flowers} --label {label}"
    run(f"{words} --save {tmp_path}/net", capsys)
    words = f"{tmp_path}/net --data {flowers} --label {label} --outputs {tmp_path}/o.csv"
    assert says in run(f"{words} --backend numpy", capsys, predict.main)
    net, table = fastnn.load(tmp_path / "net"), fastnn.datasets.read_csv(flowers, label)
    with open(tmp_path / "o.csv", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["row", *columns]
    written = np.array([row[-1] for row in rows], np.float64)
    np.testing.assert_allclose(written, net.predict_proba(table.X)[:, 0], rtol=1e-5)


def test_mnists_test_images_are_evaluated_where_nothing_is_named(tmp_path, capsys):
    net = fastnn.Network([784, 4, 10], seed=0)  # one without names of classes
    net.save(tmp_path / "net")
    printed = run(f"{tmp_path}/net", capsys, predict.main)
    *_, X, y = fastnn.datasets.load_mnist()
    assert f"\ntest accuracy  {net.evaluate(X, y)['accuracy']:.4f}\n" in printed


def test_names_of_integers_beyond_64_bits_are_written_exactly(tmp_path, capsys):
    net = fastnn.Network([1, 2], seed=0, backend="numpy")
    net.classes = [2**63 + 1, -1]
    net.save(tmp_path / "net")
    (tmp_path / "a.csv").write_text("a\n-9\n9\n")
    words = f"{tmp_path}/net --data {tmp_path}/a.csv --submission {tmp_path}/s.csv"
    run(words, capsys, predict.main)
    lines = (tmp_path / "s.csv").read_text().splitlines()
    assert {line.split(",")[1] for line in lines[1:]} == {str(2**63 + 1), "-1"}


def test_what_cannot_be_predicted_is_refused_in_one_line(of_flowers, flowers, tmp_path, capsys):
    _, path, _ = of_flowers

    def refused(words):
        return refusal(words, capsys, predict.main)

    (tmp_path / "new.csv").write_text("height,width,price\n1,2,3\n")
    (tmp_path / "other.csv").write_text("height,width,price,kind\n1,2,3,daisy\n")
    fastnn.Network([3, 2], output="identity", seed=0).save(tmp_path / "numbers")
    assert "NETWORK: there is no file" in refused(f"{tmp_path}/nothing")
    assert "MNIST has 784 features; the network takes 3; name other data with --data" in refused(
        path
    )
    words = f"{path} --data {tmp_path}/other.csv --label kind"
    assert "the label 'daisy'; the network knows lily, rose, tulip" in refused(words)
    words = f"{tmp_path}/numbers --data {tmp_path}/new.csv --submission {tmp_path}/s.csv"
    assert "predicts several numbers per row; --outputs CSV writes them" in refused(words)
    words = f"{path} --data {tmp_path}/new.csv --outputs {tmp_path}/nowhere/o.csv"
    assert re.search("--outputs '.*nowhere/o.csv': no folder", refused(words))
