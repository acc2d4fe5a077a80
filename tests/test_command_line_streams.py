"""The command line with data that stream: Parquet and other files, in any number of parts."""

from __future__ import annotations

import shutil
import sys
import warnings

import numpy as np
import pytest

import fastnn
from fastnn import train
from fastnn.cli import predict, streaming, tune
from fastnn.distributed import ALONE

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
RNG = np.random.default_rng(3)
X = RNG.normal(size=(240, 3)).astype("f4")
KINDS = np.where(X[:, 0] * X[:, 1] > 0, "like", "unlike")
SIZES = RNG.integers(0, 4, 240)
NAMES = ("a", "b", "c")
SHORT = "--backend numpy --epochs 3 --hidden 8 --seed 4"


def table(rows=slice(None), **others):
    columns = {name: X[rows, i] for i, name in enumerate(NAMES)}
    others = {"kind": KINDS[rows], **others}
    return pyarrow.table({**columns, **others})


@pytest.fixture
def parts(tmp_path):
    """A folder of three Parquet files of 80 rows, each of two row groups."""
    folder = tmp_path / "parts"
    folder.mkdir()
    for i in range(3):
        parquet.write_table(
            table(slice(80 * i, 80 * i + 80)), folder / f"{i}.parquet", row_group_size=40
        )
    return folder


@pytest.fixture
def texts(tmp_path):
    """A folder of the same rows as CSV files, with the sizes and some numbers."""
    folder = tmp_path / "texts"
    folder.mkdir()
    for i in range(3):
        rows = [
            f"{','.join(map(repr, X[j].tolist()))},{KINDS[j]},{SIZES[j]},{X[j].sum():.4f}"
            for j in range(80 * i, 80 * i + 80)
        ]
        (folder / f"{i}.csv").write_text("\n".join(["a,b,c,kind,size,sum", *rows]) + "\n")
    return folder


def run(words, capsys):
    assert train.main(f"{SHORT} {words}".split()) == 0
    return capsys.readouterr().out


def refusal(words, capsys, main=train.main):
    with pytest.raises(SystemExit) as stop:
        main(str(words).split())
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


def trained(X, y, sizes=(3, 8, 1), classes=("like", "unlike"), **options):
    """What Python makes of the same data."""
    net = fastnn.Network([*sizes], seed=4, backend="numpy", standardize_inputs=True)
    net.classes, net.features = classes, NAMES
    net.train(X, y, epochs=3, **options)
    return net


def test_the_run_on_a_pattern_is_what_it_is_on_arrays_in_python(parts, tmp_path, capsys):
    run(f"--data {parts}/*.parquet --label kind --save {tmp_path}/net.safetensors", capsys)
    net = fastnn.load(tmp_path / "net.safetensors", backend="numpy")
    stream = fastnn.datasets.stream(parts, "kind")
    assert net.parameters.tobytes() == trained(stream, None).parameters.tobytes()
    assert (net.classes, net.features) == (("like", "unlike"), NAMES)


def test_the_heading_says_how_many_rows_features_classes_and_parts(parts, capsys):
    said = run(f"--data {parts}/*.parquet --label kind", capsys)
    assert f"{parts}/*.parquet: 240 training rows of 3 features, 2 classes, in 6 parts\n" in said


@pytest.mark.parametrize("kind", ["parquet", "feather", "arrow"])
def test_a_file_of_columns_is_a_stream(tmp_path, capsys, kind):
    path = tmp_path / f"rows.{kind}"
    if kind == "parquet":
        parquet.write_table(table(), path)
    else:
        with pyarrow.ipc.new_file(path, table().schema) as file:
            file.write_table(table())
    assert f"rows.{kind}: 240 training rows of 3 features, 2 classes, in 1 part\n" in run(
        f"--data {path} --label kind", capsys
    )


def test_a_folder_is_a_stream(parts, capsys):
    said = run(f"--data {parts} --label kind", capsys)
    assert said.startswith("parts: 240 training rows of 3 features, 2 classes, in 6 parts\n")


def test_several_paths_are_a_stream_as_a_shell_makes_them_of_a_pattern(parts, tmp_path, capsys):
    paths = sorted(parts.iterdir())
    said = run(
        f"--data {' '.join(map(str, paths))} --label kind --save {tmp_path}/net.safetensors", capsys
    )
    assert said.startswith("0.parquet and 2 more: 240 training rows")
    net = fastnn.load(tmp_path / "net.safetensors", backend="numpy")
    of_folder = trained(fastnn.datasets.stream(parts, "kind"), None)
    assert net.parameters.tobytes() == of_folder.parameters.tobytes()


def test_csv_files_are_a_stream_whose_rows_are_counted(texts, capsys):
    said = run(f"--data {texts} --label kind --drop size sum", capsys)
    assert said.startswith("texts: 240 training rows of 3 features, 2 classes, in 3 parts\n")


def test_npz_files_are_a_stream(tmp_path, capsys):
    for i in range(2):
        np.savez(tmp_path / f"{i}.npz", X=X[120 * i :][:120], y=SIZES[120 * i :][:120])
    said = run(f"--data {tmp_path}/*.npz", capsys)
    assert "*.npz: 240 training rows of 3 features, 4 classes, in 2 parts\n" in said


def test_sparse_files_are_a_stream(tmp_path, capsys):
    sparse = pytest.importorskip("scipy.sparse")
    for i in range(2):
        sparse.save_npz(tmp_path / f"{i}.npz", sparse.csr_matrix(np.maximum(X, 0)))
        np.save(tmp_path / f"{i}_labels.npy", SIZES)
    np.savez(tmp_path / "test", X=X, y=SIZES)
    said = run(f"--data {tmp_path}/?.npz --test {tmp_path}/t*.npz", capsys)
    assert "?.npz: 480 training and 240 test rows of 3 features, 4 classes, in 2 parts\n" in said


def test_rows_without_names_are_matched_by_position(tmp_path, capsys):
    for name in ("0.csv", "1.csv", "test"):
        np.savetxt(tmp_path / name, np.column_stack([SIZES, X]), "%.5g", ",")
    (tmp_path / "test").rename(tmp_path / "test.data")
    said = run(f"--data {tmp_path} --label 0 --test {tmp_path}/test.data", capsys)
    assert "480 training and 240 test rows of 3 features, 4 classes, in 2 parts\n" in said


def test_a_column_to_leave_out_is_refused_for_npz_files(tmp_path, capsys):
    for i in range(2):
        np.savez(tmp_path / f"{i}.npz", X=X, y=SIZES)
    assert "drop is not for .npz files" in refusal(f"--data {tmp_path} --drop 1", capsys)


def test_a_name_with_brackets_is_a_file_if_there_is_one(tmp_path, capsys):
    (tmp_path / "[1].csv").write_text("a,label\n" + "1,0\n2,1\n" * 10)
    assert "[1].csv: 16 training and 4 test rows of 1 features" in run(
        f"--data {tmp_path}/[1].csv", capsys
    )


def test_one_csv_file_in_a_folder_is_no_stream(tmp_path, capsys):
    (tmp_path / "1.csv").write_text("a,label\n1,0\n2,1\n")
    assert "holds neither pictures" in refusal(f"--data {tmp_path}", capsys)


# Labels


def test_the_label_may_be_a_position(parts, capsys):
    assert "240 training rows of 3 features, 2 classes" in run(f"--data {parts} --label -1", capsys)


def test_whole_numbers_are_classes_whatever_their_type(tmp_path, capsys):
    for kind in ("u1", "i8", "f4"):
        parquet.write_table(table(label=SIZES.astype(kind)), tmp_path / "rows.parquet")
        said = run(f"--data {tmp_path}/rows.parquet --drop kind --class-weight 2=3", capsys)
        assert "240 training rows of 3 features, 4 classes" in said


def test_truth_values_are_classes(tmp_path, capsys):
    parquet.write_table(table(label=SIZES > 1), tmp_path / "rows.parquet")
    parquet.write_table(table(label=SIZES > 1), tmp_path / "test.parquet")
    said = run(f"--data {tmp_path}/rows.parquet --drop kind --test {tmp_path}/test.parquet", capsys)
    assert "240 training and 240 test rows of 3 features, 2 classes" in said
    assert " False  True\n" in said


@pytest.mark.parametrize("more", ["--label sum --drop kind size", "--label size --drop kind sum"])
def test_numbers_are_predicted_as_numbers(texts, tmp_path, capsys, more):
    test = shutil.copy(texts / "0.csv", tmp_path / "test.csv")
    more += " --regression" * ("label size" in more)
    said = run(f"--data {texts} --test {test} {more}", capsys)
    assert "texts: training and 80 test rows of 3 features, numbers, in 3 parts\n" in said
    assert "\ntest R2 " in said


def test_text_is_refused_as_numbers(parts, capsys):
    said = refusal(f"--data {parts} --label kind --regression", capsys)
    assert "--regression needs labels that are numbers; got '" in said


def test_labels_of_a_single_class_are_refused(tmp_path, capsys):
    parquet.write_table(table(label=np.zeros(240, int)), tmp_path / "rows.parquet")
    said = refusal(f"--data {tmp_path}/rows.parquet --drop kind", capsys)
    assert "rows.parquet has labels of a single class, 0; need two or more" in said


def test_truth_values_are_0_and_1_in_files_of_text(texts, tmp_path, capsys):
    parquet.write_table(table(label=SIZES > 1), tmp_path / "truths.parquet")
    parquet.write_table(table(label=SIZES % 2), tmp_path / "numbers.parquet")
    for written in (lambda truth: truth, str, int):
        rows = [
            f"{a},{b},{c},{written(size > 1)}" for (a, b, c), size in zip(X, SIZES, strict=True)
        ]
        (tmp_path / "text.csv").write_text("\n".join(["a,b,c,label", *rows]) + "\n")
        for one, other in (("truths.parquet", "text.csv"), ("numbers.parquet", "truths.parquet")):
            said = run(f"--data {tmp_path}/{one} --drop kind --test {tmp_path}/{other}", capsys)
            assert "240 training and 240 test rows of 3 features, 2 classes" in said


def test_other_numbers_than_0_and_1_are_no_truth_values(tmp_path, capsys):
    parquet.write_table(table(label=SIZES > 1), tmp_path / "truths.parquet")
    parquet.write_table(table(label=SIZES), tmp_path / "sizes.parquet")
    words = f"--data {tmp_path}/truths.parquet --drop kind --test {tmp_path}/sizes.parquet"
    assert "classes that no training row has: 2, 3;" in refusal(words, capsys)


def test_labels_beyond_int64_are_classes_as_they_are(tmp_path, capsys):
    labels = SIZES.astype("u8") + np.uint64(2**64 - 9)
    parquet.write_table(table(label=labels), tmp_path / "rows.parquet")
    run(f"--data {tmp_path}/rows.parquet --drop kind --save {tmp_path}/net.safetensors", capsys)
    net = fastnn.load(tmp_path / "net.safetensors", backend="numpy")
    assert net.classes == tuple(2**64 - 9 + i for i in range(4))


@pytest.mark.parametrize(
    ("labels", "hint"),
    [(np.arange(240), "--regression for numbers"), (np.arange(240).astype(str), "--label COLUMN")],
)
def test_too_many_classes_are_refused(tmp_path, capsys, monkeypatch, labels, hint):
    monkeypatch.setattr(streaming, "MOST_CLASSES", 100)
    parquet.write_table(table(label=labels), tmp_path / "rows.parquet")
    said = refusal(f"--data {tmp_path}/rows.parquet --drop kind", capsys)
    assert "has more than 100 different labels, and each would be a class" in said
    assert hint in said


def test_labels_of_two_kinds_are_refused(tmp_path, capsys):
    for one, other in ((SIZES, KINDS), (KINDS, SIZES / 3), (SIZES > 1, SIZES)):
        for i, labels in enumerate((one, other)):
            parquet.write_table(table(label=labels), tmp_path / f"{i}.parquet")
        said = refusal(f"--data {tmp_path} --drop kind", capsys)
        assert "1.parquet', row group 0: labels are " in said
        assert "0.parquet', row group 0; need one of the two" in said


def test_of_parquet_the_labels_alone_are_read_to_find_the_classes(parts, monkeypatch):
    read = []
    real = fastnn.datasets.arrow._rows

    def watched(name, first, batch, chosen):
        read.append(len(chosen.features))
        return real(name, first, batch, chosen)

    monkeypatch.setattr("fastnn.datasets.arrow._rows", watched)
    found = fastnn.datasets.stream(parts, "kind")
    classes, _ = streaming._classes("parts", found, False, ALONE)
    assert classes.tolist() == ["like", "unlike"]
    assert read == [0] * 6


# Test rows, and what else goes with a stream


@pytest.mark.parametrize("kind", ["parquet", "csv", "pattern"])
def test_test_rows_are_matched_by_the_names_of_columns(parts, tmp_path, capsys, kind):
    path = tmp_path / f"test.{'csv' if kind == 'csv' else 'parquet'}"
    names = ["kind", "c", "unused", "b", "a"]
    rows = table(slice(0, 60), unused=np.ones(60)).select(names)
    if kind == "csv":
        lines = [",".join(map(str, row.values())) for row in rows.to_pylist()]
        path.write_text("\n".join([",".join(names), *lines]) + "\n")
    else:
        parquet.write_table(rows, path)
    test = f"{tmp_path}/test*" if kind == "pattern" else path
    said = run(f"--data {parts} --label kind --test {test}", capsys)
    assert "parts: 240 training and 60 test rows of 3 features, 2 classes, in 6 parts\n" in said
    net = trained(fastnn.datasets.stream(parts, "kind"), None)
    accuracy = net.evaluate(X[:60], KINDS[:60])["accuracy"]
    assert f"\ntest accuracy  {accuracy:.4f}\n" in said


def test_without_test_rows_the_run_says_that_nothing_was_evaluated(parts, capsys):
    said = run(f"--data {parts} --label kind", capsys)
    assert "validation: none, as there are no test rows\n" in said
    assert "val loss" not in said
    assert "\nnot evaluated, as there are no test rows; --test PATH names some\n" in said


def test_test_rows_of_a_class_that_no_training_row_has_are_refused(parts, tmp_path, capsys):
    parquet.write_table(table().set_column(3, "kind", [["odd"] * 240]), tmp_path / "test.parquet")
    said = refusal(f"--data {parts} --label kind --test {tmp_path}/test.parquet", capsys)
    assert "the test rows have classes that no training row has: odd" in said


def test_test_rows_that_are_trained_on_are_warned_of(parts, capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        words = f"{SHORT} --data {parts} --label kind --test {parts}/1.parquet"
        assert train.main(words.split()) == 0
    assert "--test and --data are the same file" in capsys.readouterr().err


def test_rows_are_labelled_after_training(parts, tmp_path, capsys):
    (tmp_path / "new.csv").write_text("b,a,c\n1,1,0\n2,-2,0\n")
    run(
        f"--data {parts} --label kind --predict {tmp_path}/new.csv --submission {tmp_path}/out.csv",
        capsys,
    )
    lines = (tmp_path / "out.csv").read_text().split()
    assert lines[0] == "ImageId,Label"
    assert len(lines) == 3
    assert all(line.endswith("like") for line in lines[1:])


def test_a_run_is_resumed(parts, tmp_path, capsys):
    words = f"--data {parts} --label kind --class-weight balanced --history {tmp_path}/h.csv"
    run(f"{words} --save {tmp_path}/whole.safetensors", capsys)
    run(f"{words} --checkpoint {tmp_path}/run.safetensors --max-seconds 1e-9", capsys)
    resumed = f"--checkpoint {tmp_path}/run.safetensors --resume"
    run(f"{words} {resumed} --save {tmp_path}/net.safetensors", capsys)
    net, whole = (fastnn.load(tmp_path / f"{name}.safetensors") for name in ("net", "whole"))
    assert net.parameters.tobytes() == whole.parameters.tobytes()
    assert len((tmp_path / "h.csv").read_text().splitlines()) == 4


def test_ctrl_c_while_labels_are_read_ends_the_command(parts, capsys, monkeypatch):
    def stop(block):
        raise KeyboardInterrupt

    monkeypatch.setattr(streaming, "_labels", stop)
    assert train.main(f"{SHORT} --data {parts} --label kind".split()) == 130
    assert capsys.readouterr().err == "fastnn-train: stopped: Ctrl-C\n"


def test_without_pyarrow_the_command_says_what_to_install(parts, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "need pyarrow: pip install 'fastnn-cpu[arrow]'\n" in refusal(f"--data {parts}", capsys)


def test_a_part_is_not_written_over(parts, capsys):
    said = refusal(f"--data {parts} --label kind --history {parts}/1.parquet", capsys)
    assert "--history would overwrite" in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            "--validation 0.2",
            "--validation needs all rows in memory, and parts is a stream; --test",
        ),
        (
            "--test-share 0.2",
            "--test-share needs all rows in memory, and parts is a stream; --test",
        ),
        ("--members 2", "--members needs all rows in memory, and parts is a stream"),
        ("--tabular", "--tabular needs all rows in memory, and parts is a stream"),
        ("--describe", "--describe needs all rows in memory, and parts is a stream"),
        ("--plot pictures", "--plot needs all rows in memory, and parts is a stream"),
        ("--training-metrics", "--training-metrics needs all rows in memory, and parts is a"),
        ("--no-header", "--no-header is for a single file, and parts is a stream"),
        ("--digits", "--digits is for a single file, and parts is a stream"),
        ("--early-stopping", "--early-stopping validation_loss needs rows for validation"),
        ("--schedule plateau", "--schedule plateau needs rows for validation"),
        ("--label none", "has no column 'none'"),
        ("--drop none", "has no column 'none'"),
        ("--drop a,b", "has no column 'a,b'; need spaces between columns: --drop a b\n"),
        ("--label a", "column 'kind' holds string; need numbers, or leave it out: --drop kind\n"),
    ],
)
def test_what_does_not_go_with_a_stream_is_refused(parts, capsys, options, message):
    label = "" if "--label" in options else "--label kind"
    assert message in refusal(f"--data {parts} {label} {options}", capsys)


def test_a_missing_label_is_told_with_its_option(parts, capsys):
    said = refusal(f"--data {parts}", capsys)
    assert "has no column 'label'; say which it is: --label COLUMN\n" in said


def test_text_in_a_feature_is_refused_without_a_hint_to_tabular(texts, capsys):
    said = refusal(f"--data {texts} --label size", capsys)
    assert "need a number, or --drop kind to leave the column out\n" in said


def test_a_stream_to_label_is_refused(parts, capsys):
    said = refusal(f"--data {parts} --label kind --predict {parts} --submission s.csv", capsys)
    assert "--predict takes one file of rows to label, which is not Parquet or Arrow" in said


def test_a_stream_to_test_on_needs_one_to_train_on(parts, texts, capsys):
    said = refusal(f"--data {texts}/0.csv --label kind --test {parts}", capsys)
    assert "--test parts is a stream, and --data is none; need one file" in said


@pytest.mark.parametrize("option", ["--data", "--test"])
def test_a_pattern_of_no_file_is_refused(parts, capsys, option):
    data = f"--data {parts} --label kind" if option == "--test" else ""
    said = refusal(f"{data} {option} {parts}/*.csv", capsys)
    assert f"error: {option}: there is no file '{parts}/*.csv'\n" in said


def test_a_folder_of_folders_is_refused_with_a_pattern(parts, capsys):
    said = refusal(f"--data {parts.parent} --label kind", capsys)
    assert f"; files in folders below it are '{parts.parent}/**/*.parquet'\n" in said
    assert "240 training rows" in run(f"--data {parts.parent}/**/*.parquet --label kind", capsys)


def test_a_hidden_file_is_no_part(texts, capsys):
    (texts / "._0.csv").write_bytes(b"\0\5\x16\7")
    assert "in 3 parts\n" in run(f"--data {texts} --label kind", capsys)
    for name in ("1.csv", "2.csv"):
        (texts / name).unlink()
    assert "holds neither pictures" in refusal(f"--data {texts} --label kind", capsys)


def test_several_paths_that_are_no_parts_are_refused(parts, tmp_path, capsys):
    (tmp_path / "rows.svm").write_text("1 1:2\n")
    said = refusal(f"--data {tmp_path} {parts}/0.parquet", capsys)
    assert "holds no file that ends in .parquet" in said
    assert "; several paths are the parts of one stream\n" in said
    said = refusal(f"--data {tmp_path}/rows.svm {parts}/0.parquet --label kind", capsys)
    assert "rows.svm' must end in one of .parquet" in said


def test_what_reads_no_streams_names_what_does(parts, capsys):
    said = refusal(f"--data {parts}/0.parquet", capsys, tune.main)
    assert "is Parquet or Arrow, which is read as a stream: by fastnn.datasets.stream" in said
    said = refusal(f"--data {parts}/*.parquet", capsys, tune.main)
    assert "*.parquet'; a pattern is for a stream, which only fastnn-train reads\n" in said
    said = refusal(f"--data {parts}", capsys, tune.main)
    assert f"need one of these, or a file, such as '{parts}/0.parquet'\n" in said


def test_parquet_without_its_ending_is_told_what_it_needs(parts, capsys):
    shutil.copy(parts / "0.parquet", parts.parent / "rows.pq")
    said = refusal(f"--data {parts.parent}/rows.pq --label kind", capsys)
    assert "with --data, if its name ends in .parquet, .arrow or .feather; to predict it" in said


def test_parquet_to_predict_is_told_what_reads_it(parts, tmp_path, capsys):
    run(f"--data {parts} --label kind --save {tmp_path}/net.safetensors", capsys)
    said = refusal(f"{tmp_path}/net.safetensors --data {parts}/0.parquet", capsys, predict.main)
    assert "to predict it, read a DataFrame with pandas\n" in said
