"""Checkpoints: a run that was interrupted ends in the bits of the one that was not."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from cases import BACKENDS

import fastnn
from fastnn import EarlyStopping, Network, optimizers, schedules
from fastnn.model import storage as tensors
from fastnn.training import checkpoints, loop
from fastnn.training.checkpoints import Saver

each_backend = pytest.mark.parametrize("backend", BACKENDS)


@pytest.fixture
def tmp_path(tmp_path):
    """A folder in memory where that can be: thousands of checkpoints wait long for a disk."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


def blobs(rows=70, seed=1):
    rng = np.random.default_rng(seed)
    y = rng.choice(3, rows, p=[0.6, 0.3, 0.1])
    return rng.normal(size=(3, 6))[y] + rng.normal(scale=0.8, size=(rows, 6)), y


def network(backend="numpy", **options):
    return Network((6, 11, 5, 3), "tanh", seed=5, backend=backend, **options)


class Stop(Exception):
    """What ends a run from outside."""


def copies(monkeypatch, folder):
    """Keep a copy of every checkpoint that is written; return the list of them."""
    written = []
    write = Saver._write

    def keep(saver):
        write(saver)
        written.append(folder / f"{len(written)}.safetensors")
        shutil.copy(saver.path, written[-1])

    monkeypatch.setattr(Saver, "_write", keep)
    return written


WAYS = {
    "sgd": {},
    "adam": {"optimizer": "adam", "learning_rate": 0.01},
    "momentum, dropout": {"optimizer": "momentum", "learning_rate": 0.01, "dropout": 0.3},
    "rmsprop, weights": {
        "optimizer": optimizers.RMSprop(decay=0.8),
        "learning_rate": 0.01,
        "class_weight": "balanced",
        "l1": 1e-4,
    },
    "early stopping": {
        "validation": 0.2,
        "learning_rate": 2.0,
        "early_stopping": EarlyStopping("validation_accuracy", patience=2),
        "schedule": "constant",
    },
    "plateau": {
        "validation": 0.2,
        "schedule": schedules.ReduceOnPlateau(patience=1, min_change=1.0),
        "training_metrics": True,
    },
    "frozen, one row": {"frozen": [0], "batch_size": 1},
}


@each_backend
@pytest.mark.parametrize("every", [None, 1, 3, 5])
@pytest.mark.parametrize("options", WAYS.values(), ids=WAYS)
def test_going_on_from_any_checkpoint_gives_the_same_bits(
    tmp_path, monkeypatch, options, every, backend
):
    options = {"epochs": 4, "batch_size": 16, "checkpoint_every": every, **options}
    written = copies(monkeypatch, tmp_path)
    whole = network(backend, standardize_inputs=True)
    history = whole.train(*blobs(), checkpoint=tmp_path / "whole", **options)
    monkeypatch.undo()
    assert len(written) > 4
    for path in written[:: max(1, len(written) // 12)]:
        other = network(backend, standardize_inputs=True)
        again = other.train(*blobs(), checkpoint=path, resume=True, **options)
        assert other.parameters.tobytes() == whole.parameters.tobytes()
        assert other.epochs_trained == whole.epochs_trained
        assert (again.stopped, again.best_epoch) == (history.stopped, history.best_epoch)
        times = ("seconds", "samples_per_second")
        for name in set(history.columns) - set(times):
            assert again[name] == history[name]


def test_a_run_that_goes_on_may_have_another_number_of_threads(tmp_path, monkeypatch):
    X, y, *_ = fastnn.datasets.load_mnist()
    options = {"epochs": 1, "batch_size": 128, "checkpoint_every": 20, "checkpoint": tmp_path / "c"}
    written = copies(monkeypatch, tmp_path)
    whole = Network([784, 64, 10], seed=0, threads=2)
    whole.train(X[:8000], y[:8000], **options)
    monkeypatch.undo()
    other = Network([784, 64, 10], seed=0, threads=1)
    other.train(X[:8000], y[:8000], **{**options, "checkpoint": written[1]}, resume=True)
    assert other.parameters.tobytes() == whole.parameters.tobytes()


def test_a_checkpoint_changes_no_bit_of_the_parameters(tmp_path):
    one, two = network(), network()
    one.train(*blobs(), epochs=3)
    two.train(*blobs(), epochs=3, checkpoint=tmp_path / "c", checkpoint_every=1)
    assert one.parameters.tobytes() == two.parameters.tobytes()


def test_without_a_file_a_run_begins(tmp_path):
    net, other = network(), network()
    net.train(*blobs(), epochs=2, checkpoint=tmp_path / "c", resume=True)
    other.train(*blobs(), epochs=2)
    assert net.parameters.tobytes() == other.parameters.tobytes()


def test_a_whole_run_is_not_run_again(tmp_path):
    options = {"epochs": 3, "checkpoint": tmp_path / "c", "resume": True}
    first = network().train(*blobs(), **options)
    calls = []
    again = network().train(*blobs(), callbacks=[calls.append], **options)
    assert again.rows == first.rows
    assert calls == []


def test_a_checkpoint_is_a_network(tmp_path):
    net = network()
    net.train(*blobs(), epochs=3, checkpoint=tmp_path / "c")
    other = fastnn.load(tmp_path / "c", backend="numpy")
    assert other.parameters.tobytes() == net.parameters.tobytes()
    assert other.epochs_trained == 3


# Ends from outside


@each_backend
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("call", [1, 2, 5, 9])
def test_an_interrupted_run_goes_on(tmp_path, monkeypatch, backend, error, call):
    options = {"epochs": 4, "batch_size": 8, "optimizer": "adam", "learning_rate": 0.01}
    options |= {"checkpoint": tmp_path / "c", "checkpoint_every": 4, "resume": True}
    whole = network(backend)
    expected = whole.train(*blobs(), **{**options, "checkpoint": tmp_path / "whole"})
    module = loop.backends.get(backend)
    steps, calls = module.train_steps, []

    def interrupted(*arguments):
        taken = steps(*arguments)  # they are done, but the loop does not know it
        calls.append(taken)
        if len(calls) == call:
            raise error
        return taken

    monkeypatch.setattr(module, "train_steps", interrupted)
    net = network(backend)
    with pytest.raises(error):
        net.train(*blobs(), **options)
    monkeypatch.undo()
    stored = fastnn.load(tmp_path / "c", backend=backend)
    assert stored.parameters.tobytes() == net.parameters.tobytes()
    other = network(backend)
    history = other.train(*blobs(), **options)
    assert other.parameters.tobytes() == whole.parameters.tobytes()
    assert history["loss"] == expected["loss"]


SCRIPT = """
import sys, fastnn
X, y, *_ = fastnn.datasets.load_mnist()
net = fastnn.Network([784, 32, 10], seed=0)
print("ready", flush=True)
net.train(
    X, y, epochs=400, checkpoint=sys.argv[1], checkpoint_every=200, resume=True, progress=False,
    callbacks=[lambda row: print(row["epoch"], flush=True)],
)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, -signal.SIGINT)]
)
def test_signals_end_a_process_with_a_checkpoint(tmp_path, number, code):
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "c")], stdout=subprocess.PIPE, text=True,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout.readline() == "ready\n"
    while process.stdout.readline() != "2\n":
        pass
    asked = time.monotonic()
    process.send_signal(number)
    assert process.wait(timeout=60) == code
    assert time.monotonic() - asked < 30
    process.stdout.close()
    assert fastnn.load(tmp_path / "c").epochs_trained >= 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the runs are forks")
@pytest.mark.parametrize("backend", BACKENDS)
def test_killed_runs_go_on(run_python, tmp_path, backend):
    options = "--rounds", "12", "--backend", backend
    printed = run_python("tests/faults/kill.py", *options, TMPDIR=str(tmp_path))
    assert printed.endswith(" 0 failures\n")


# What cannot be


@pytest.mark.parametrize(
    ("path", "error"), [("", FileNotFoundError), (".", IsADirectoryError), (5, TypeError)]
)
def test_a_checkpoint_that_can_be_no_file_is_refused_by_name(path, error):
    with pytest.raises(error, match=r"^checkpoint "):
        network().train(*blobs(), checkpoint=path)


def test_what_cannot_be_written_is_known_before_training(tmp_path):
    net = network()
    before = net.parameters.tobytes()
    with pytest.raises(FileNotFoundError, match="no folder"):
        net.train(*blobs(), checkpoint=tmp_path / "nowhere" / "c")
    assert net.parameters.tobytes() == before
    assert net.epochs_trained == 0


def test_a_disk_that_fills_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    sync, calls = os.fsync, []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) > 4:  # a file and its folder each
            raise OSError(28, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.warns(
        RuntimeWarning, match="no checkpoint was written, the last one is kept: .*No"
    ):
        history = network().train(*blobs(), epochs=4, checkpoint=tmp_path / "c")
    assert len(history) == 4
    assert fastnn.load(tmp_path / "c").epochs_trained == 1
    assert os.listdir(tmp_path) == ["c"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 4}, "of another run: epochs was 3 and is now 4"),
        ({"batch_size": 7}, "of another run: batch_size was 16 and is now 7"),
        ({"learning_rate": 0.2}, "of another run: learning_rate was"),
        ({"schedule": "cosine"}, "of another run: schedule was"),
        ({"optimizer": "adam", "learning_rate": 0.3}, "of another run: optimizer was"),
        ({"l2": 0.1}, "of another run: l2 was 0.0 and is now 0.1"),
        ({"shuffle": False}, "of another run: shuffle was"),
        ({"frozen": [1]}, "of another run: frozen was"),
        ({"sample_weight": np.arange(70)}, "of another run: other data in the row weights"),
        ({"validation": 0.5}, "of another run: other data in the rows set aside"),
        ({"training_metrics": True}, "of another run: training_metrics was False and is now"),
    ],
)
def test_other_settings_are_refused(tmp_path, change, message):
    options = {"epochs": 3, "batch_size": 16, "checkpoint": tmp_path / "c"}
    network().train(*blobs(), **options)
    with pytest.raises(ValueError, match=message):
        network().train(*blobs(), **{**options, **change}, resume=True)


def test_other_data_or_networks_are_refused(tmp_path):
    options = {"epochs": 2, "batch_size": 16, "checkpoint": tmp_path / "c", "resume": True}
    X, y = blobs()
    network().train(X, y, **options)
    with pytest.raises(ValueError, match="of another run: other data in y"):
        network().train(X, y[::-1], **options)
    with pytest.raises(ValueError, match="of another run: the shape and dtype of X was"):
        network().train(X.astype("float32"), y, **options)
    for other in (
        Network((6, 11, 3), seed=5, backend="numpy"),
        Network((6, 11, 5, 3), "tanh", seed=6, backend="numpy"),
        Network((6, 11, 5, 3), "tanh", seed=5, backend="numpy", dtype="float64"),
        Network((6, 11, 5, 3), "tanh", seed=5, backend="numpy", precision="bfloat16"),
    ):
        with pytest.raises(ValueError, match=r"another run: (sizes|seed|dtype|precision) was .*"):
            other.train(X, y, **options)


def test_a_network_is_no_checkpoint(tmp_path):
    network().save(tmp_path / "net")
    with pytest.raises(ValueError, match="is a network, not a checkpoint of a run"):
        network().train(*blobs(), checkpoint=tmp_path / "net", resume=True)


@pytest.mark.parametrize(
    "run",
    [
        [],
        {},
        {"progress": 3},
        {"progress": {"epok": 1}},
        {"columns": None},
        {"columns": [1]},
        {"columns": [["loss"]] * 5},
        {"columns": ["loss"] * 5},
        {"progress": {"epoch": "1"}},
        {"progress": {"epoch": -1}},
        {"progress": {"step": 10**9}},
        {"progress": {"seen": -1}},
        {"progress": {"seen": 71}},
        {"counters": 5},
        {"counters": ["a", "b"]},
        {"best_epoch": "x"},
        {"best_epoch": 1},
        {"best_epoch": 99},
        {"settings": None},
        {"stopped": 1},
    ],
)
def test_a_damaged_place_in_the_run_is_refused(tmp_path, run):
    options = {"epochs": 2, "checkpoint": tmp_path / "c"}
    network().train(*blobs(), **options)
    found, metadata = fastnn.model.storage.read(tmp_path / "c")
    damaged = {**metadata["run"], **run} if run else run
    fastnn.model.storage.write(tmp_path / "c", found, {**metadata, "run": damaged})
    net = network()
    before = net.parameters.tobytes()
    with pytest.raises(ValueError, match="/c"):
        net.train(*blobs(), **options, resume=True)
    assert net.parameters.tobytes() == before


def test_the_limit_of_a_header_is_none_of_the_epochs(tmp_path, monkeypatch):
    monkeypatch.setattr(tensors, "LONGEST_HEADER", 4000)
    options = {"epochs": 200, "batch_size": 70, "checkpoint": tmp_path / "c"}
    history = network().train(*blobs(), **options)
    assert str(network().train(*blobs(), **options, resume=True)) == str(history)


@pytest.mark.parametrize("option", [{"resume": True}, {"checkpoint_every": 3}])
def test_options_of_checkpoints_need_one(option):
    with pytest.raises(ValueError, match=f"{next(iter(option))} needs a checkpoint, the path of"):
        network().train(*blobs(), **option)


def test_checkpoint_every_is_checked(tmp_path):
    with pytest.raises(ValueError, match="checkpoint_every must be at least 1"):
        network().train(*blobs(), checkpoint=tmp_path / "c", checkpoint_every=0)


def test_the_metadata_are_plain_json(tmp_path):
    network().train(*blobs(), epochs=2, checkpoint=tmp_path / "c")
    _, metadata = fastnn.model.storage.read(tmp_path / "c")
    assert json.loads(json.dumps(metadata)) == metadata
    assert checkpoints.TERMINATED == 143


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda run: run["columns"].append("colour"), "other columns in the history"),
        (lambda run: run["progress"].update(epoch=1), "the history is float64 of shape "),
        (lambda run: run["progress"].update(total=10**400), "total must be finite"),
        (lambda run: run.update(counters=[10**400, 0]), "the best value must be a number"),
    ],
)
def test_a_run_that_is_damaged_is_refused_by_name(tmp_path, change, message):
    options = {"epochs": 2, "checkpoint": tmp_path / "c", "resume": True}
    network().train(*blobs(), **options)
    found, metadata = tensors.read(tmp_path / "c")
    change(metadata["run"])
    tensors.write(tmp_path / "c", found, metadata)
    with pytest.raises(ValueError, match=f"c' does not describe a run: .*{message}"):
        network().train(*blobs(), **options)
