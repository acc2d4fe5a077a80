"""Training on Parquet and other files: as on arrays, and what is refused with its place."""

from __future__ import annotations

import numpy as np
import pytest
from cases import BACKENDS
from test_streams import Stopping, assert_no_thread, of, refused

import fastnn
from fastnn import Network
from fastnn.datasets import read_csv, stream

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
RNG = np.random.default_rng(2)
NAMES = tuple("abcdef")
X = RNG.normal(size=(300, 6)).astype("f4") * 5
KINDS = np.array(["cat", "ant", "bee"])[RNG.integers(0, 3, 300)]


def network(**options):
    return Network([6, 5, 3], **{"seed": 1, "backend": "numpy", **options})


def table(X=X, y=KINDS):
    return pyarrow.table({**{name: X[:, i] for i, name in enumerate(NAMES)}, "label": y})


def write(folder, X=X, files=3, group=40):
    """Write the rows into some files of some row groups each, and return the folder."""
    for i, rows in enumerate(np.array_split(np.arange(len(X)), files)):
        parquet.write_table(
            table(X[rows], KINDS[rows]), folder / f"{i}.parquet", row_group_size=group,
            use_dictionary=["label"],
        )  # fmt: skip
    return folder


@pytest.mark.parametrize("backend", BACKENDS)
def test_parquet_files_are_what_their_rows_are_as_arrays(tmp_path, backend):
    options = {"epochs": 3, "batch_size": 8, "shuffle": False, "optimizer": "adam"}
    whole = network(backend=backend, standardize_inputs=True)
    whole.features = list(NAMES)
    whole.train(X, KINDS, **options)
    streamed = network(backend=backend, standardize_inputs=True)
    streamed.train(stream(write(tmp_path), buffer=64), **options)
    assert of(streamed) == of(whole)
    assert streamed.features == NAMES
    assert streamed.classes == ("ant", "bee", "cat")


def test_row_groups_longer_than_what_is_read_at_a_time_are_read_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr("fastnn.datasets.arrow.BLOCK", 7 * 7)
    monkeypatch.setattr("fastnn.column_rows.TURNED", 3)
    whole, streamed = network(), network()
    whole.train(X, KINDS, shuffle=False, epochs=2)
    streamed.train(stream(write(tmp_path), buffer=64), shuffle=False, epochs=2)
    assert streamed.parameters.tobytes() == whole.parameters.tobytes()


@pytest.mark.parametrize("at", [0.4, 1.5])
def test_a_run_on_files_is_resumed_to_the_same_bits(tmp_path, at):
    (tmp_path / "data").mkdir()
    source = stream(write(tmp_path / "data"), buffer=50)
    options = {"epochs": 2, "batch_size": 8, "dropout": 0.3}
    whole, resumed = network(), network()
    whole.train(source, schedule=Stopping(None), **options)
    options["checkpoint"] = tmp_path / "c"
    with pytest.raises(KeyboardInterrupt):
        network().train(source, schedule=Stopping(at), checkpoint_every=2, **options)
    resumed.train(source, schedule=Stopping(None), resume=True, **options)
    assert of(resumed) == of(whole)


def test_a_network_with_names_takes_the_columns_in_its_order(tmp_path):
    net, other = network(), network()
    net.features = list("fabcde")
    net.train(stream(write(tmp_path)), epochs=1, shuffle=False)
    other.train(X[:, [5, 0, 1, 2, 3, 4]], KINDS, epochs=1, shuffle=False)
    assert net.parameters.tobytes() == other.parameters.tobytes()


def test_csv_files_are_what_their_rows_are_as_arrays(tmp_path):
    for i in range(3):
        rows = range(100 * i, 100 * i + 100)
        lines = [",".join([*map(str, X[r].tolist()), KINDS[r]]) for r in rows]
        (tmp_path / f"{i}.csv").write_text("\n".join([",".join([*NAMES, "label"]), *lines]))
    whole, streamed = network(), network()
    tables = [read_csv(tmp_path / f"{i}.csv") for i in range(3)]
    whole.features = list(NAMES)
    whole.train(
        np.concatenate([each.X for each in tables]), np.concatenate([each.y for each in tables]),
        shuffle=False,
    )  # fmt: skip
    streamed.train(stream(tmp_path / "*.csv", buffer=64), shuffle=False)
    assert of(streamed) == of(whole)


def test_a_number_that_is_not_finite_is_named_with_file_row_group_row_and_column(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("fastnn.datasets.arrow.BLOCK", 16 * 7)
    inputs = X.copy()
    inputs[100 + 40 + 21, 3] = np.nan
    message = (
        r"1\.parquet', row group 1: X must be finite in float32, got nan in row 5, column 'd'; "
        r"rows are counted from row 16 of '.*1\.parquet', row group 1 on$"
    )
    refused(message, stream(write(tmp_path, inputs)), net=network())


def test_other_numbers_of_columns_than_the_network_has_inputs_are_refused(tmp_path):
    source = stream(write(tmp_path), drop=["a"])
    refused(r"0\.parquet', row group 0: X must have shape \(rows, 6\)", source, net=network())


def spoil(path, group):
    """Overwrite the begin of a row group's pages."""
    content = bytearray(path.read_bytes())
    begin = parquet.ParquetFile(path).metadata.row_group(group).column(0).data_page_offset
    content[begin : begin + 8] = b"\xff" * 8
    path.write_bytes(content)


def test_a_row_group_that_is_damaged_is_refused_by_the_first_pass(tmp_path):
    source = stream(write(tmp_path))
    spoil(tmp_path / "1.parquet", 2)
    refused(r"1\.parquet', row group 2 cannot be read", source, net=network())


def truncate(path):
    path.write_bytes(path.read_bytes()[:-50])


def replace(path):
    parquet.write_table(table(X[100:190], KINDS[100:190]), path, row_group_size=40)


def other_columns(path):
    parquet.write_table(table().drop_columns(["a"]), path)


def text(path):
    parquet.write_table(table().set_column(0, "a", [KINDS]), path)


def fewer_groups(path):
    parquet.write_table(table(X[100:140], KINDS[100:140]), path)


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (lambda path: path.unlink(), FileNotFoundError, r"1\.parquet"),
        (truncate, ValueError, r"1\.parquet', row group \d cannot be read"),
        (lambda path: spoil(path, 1), ValueError, r"1\.parquet', row group 1 cannot be read"),
        (other_columns, ValueError, r"1\.parquet' has no column 'a'; all files need the same"),
        (text, ValueError, r"1\.parquet': column 'a' holds (large_)?string; need numbers"),
        (fewer_groups, ValueError, r"1\.parquet', row group 1 cannot be read"),
        (replace, ValueError, r"row group 2 ended after 10 rows, and had 20 in the first pass"),
    ],
)
def test_a_file_that_changes_while_training_ends_the_run_after_a_whole_step(
    tmp_path, damage, error, message
):
    folder = tmp_path / "data"
    folder.mkdir()
    source = stream(write(folder), buffer=16)
    options = {"epochs": 3, "batch_size": 8, "learning_rate": 0.02, "checkpoint": tmp_path / "c"}

    def change(row):
        if row["epoch"] == 1:
            damage(folder / "1.parquet")

    net = network()
    with pytest.raises(error, match=message):
        net.train(source, callbacks=[change], checkpoint_every=1, **options)
    assert_no_thread()
    assert net.epochs_trained == 1
    assert fastnn.load(tmp_path / "c").epochs_trained == 1
    write(folder)
    resumed, whole = network(), network()
    resumed.train(source, resume=True, **options)
    whole.train(source, **options | {"checkpoint": None})
    assert of(resumed) == of(whole)
