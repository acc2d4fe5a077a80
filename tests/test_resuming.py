"""Resuming: from any place, to the same bits; other runs are refused, and leave no traces."""

from __future__ import annotations

import dataclasses
import functools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cases import BACKENDS

import fastnn
from fastnn import EarlyStopping, Network, optimizers, schedules
from fastnn.model import storage
from fastnn.training import checkpoints, fingerprints, loop, processes, run, settings
from fastnn.training.checkpoints import Saver
from fastnn.training.run import Moment
from fastnn.training.settings import TrainingSettings

each_backend = pytest.mark.parametrize("backend", BACKENDS)
TIMES = ("seconds", "samples_per_second")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3))
Y = RNG.integers(0, 3, 60)


def network(backend="numpy", **options):
    return Network([3, 5, 3], seed=1, dtype="float64", backend=backend, **options)


def regression(backend="numpy", **options):
    return Network([3, 5, 1], output="identity", seed=1, backend=backend, **options)


def interrupted(net, *data, after=2, **options):
    """Train until Ctrl-C comes, after so many epochs."""

    def stop(row):
        if row["epoch"] >= after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        net.train(*data, callbacks=[stop], **options)


def recorded(history):
    """What a history holds, but for the times."""
    return [{k: v for k, v in row.items() if k not in TIMES} for row in history]


class Rate:
    """A schedule during which Ctrl-C comes once."""

    def __init__(self, at):
        self.at = at

    def __call__(self, t):
        if self.at is not None and t >= self.at:
            self.at = None
            raise KeyboardInterrupt
        return 1.0


def state(net):
    """Everything that training changes of a network, to compare."""
    model = net.model
    optimizer = model.optimizer_state
    return (
        net.parameters.tobytes(),
        net.epochs_trained,
        [None if s is None else [part.tobytes() for part in s] for s in (
            net.input_scaler, net.target_scaler)],
        optimizer and (id(optimizer), optimizer.steps),
        optimizer and [slot.vector.tobytes() for slot in optimizer.slots],
        net.predict_one(X[0].astype(model.architecture.dtype)).tobytes(),
    )  # fmt: skip


# Where an epoch is cut does not matter


@each_backend
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("every", [None, 1, 2, 4, 7, 10])
def test_a_run_goes_on_with_another_checkpoint_every(tmp_path, every, optimizer, backend):
    options = {"epochs": 3, "batch_size": 6, "optimizer": optimizer, "learning_rate": 0.1}
    whole = network(backend)
    history = whole.train(X, Y, schedule=Rate(None), **options)
    options["checkpoint"] = tmp_path / "c"
    with pytest.raises(KeyboardInterrupt):
        network(backend).train(X, Y, schedule=Rate(1.5), checkpoint_every=3, **options)
    progress = storage.read(tmp_path / "c")[1]["run"]["progress"]
    assert (progress["epoch"], progress["step"]) == (1, 3)
    options |= {"schedule": Rate(None), "resume": True}
    again = network(backend)
    resumed = again.train(X, Y, checkpoint_every=every, **options)
    assert again.parameters.tobytes() == whole.parameters.tobytes()
    assert recorded(resumed) == recorded(history)


@each_backend
def test_a_run_goes_on_from_where_a_long_epoch_was_cut(tmp_path, backend, monkeypatch):
    monkeypatch.setattr(loop, "SLICE", 4 * loop.STEP_OVERHEAD)  # some three steps
    options = {"epochs": 2, "batch_size": 4, "checkpoint": tmp_path / "c"}
    whole = network(backend)
    history = whole.train(X, Y, schedule=Rate(None), **options)
    with pytest.raises(KeyboardInterrupt):
        network(backend).train(X, Y, schedule=Rate(0.8), **options)
    assert storage.read(tmp_path / "c")[1]["run"]["progress"]["step"] % 5
    again = network(backend)
    resumed = again.train(X, Y, schedule=Rate(None), resume=True, checkpoint_every=5, **options)
    assert again.parameters.tobytes() == whole.parameters.tobytes()
    assert recorded(resumed) == recorded(history)


@each_backend
@pytest.mark.parametrize("every", [1, 3])
def test_the_recorded_loss_does_not_depend_on_checkpoints(tmp_path, every, backend):
    X, y = RNG.normal(size=(997, 3)), RNG.integers(0, 3, 997)
    losses = network(backend).train(X, y, epochs=4, batch_size=10)["loss"]
    options = {"checkpoint": tmp_path / "c", "checkpoint_every": every}
    cut = network(backend).train(X, y, epochs=4, batch_size=10, **options)["loss"]
    assert cut == losses


@pytest.mark.parametrize("first", [0, 1, 4, 7, 9])
@pytest.mark.parametrize("every", [None, 1, 3, 4, 20])
@pytest.mark.parametrize("length", [1, 2, 3, 100])
def test_parts_begin_where_the_run_is_and_end_at_checkpoints(first, every, length, monkeypatch):
    architecture = network().architecture
    monkeypatch.setattr(
        loop, "SLICE", length * (architecture.training_flops + loop.STEP_OVERHEAD) + 1
    )
    parts = list(loop.slices(architecture, 10, 1, every, first))
    steps = [step for part in parts for step in range(part.start, part.stop)]
    assert steps == list(range(first, 10))
    assert all(part.stop - part.start <= length for part in parts)
    ends = {part.stop for part in parts}
    assert ends >= {step for step in range(first + 1, 10) if every and step % every == 0}


def test_the_epochs_of_a_network_that_was_trained_before_are_kept(tmp_path):
    options = {"epochs": 3, "checkpoint": tmp_path / "c", "resume": True}
    net, other = network(), network()
    for each in (net, other):
        each.train(X, Y, epochs=2)
    interrupted(net, X, Y, after=4, **options)
    again = other.train(X, Y, **options)
    assert again["epoch"] == [3, 4, 5]


def test_early_stopping_goes_on_counting_the_epochs_without_a_better_value(tmp_path):
    options = {
        "epochs": 9, "checkpoint": tmp_path / "c", "resume": True,
        "early_stopping": EarlyStopping("loss", patience=3, min_change=1e9),
    }  # fmt: skip
    interrupted(network(), X, Y, after=3, **options)
    history = network().train(X, Y, **options)
    assert (len(history), history.stopped) == (4, "early stopping")


# A limit of time


@each_backend
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"optimizer": "adam", "checkpoint_every": 2},
        {
            "validation": 0.25,
            "learning_rate": 3.0,
            "schedule": "constant",
            "early_stopping": EarlyStopping(patience=2),
        },
    ],
)
def test_a_run_in_slots_of_time_ends_in_the_bits_of_one_without_a_limit(
    tmp_path, options, backend, monkeypatch
):
    options = {"epochs": 3, "batch_size": 20, **options}
    whole = network(backend)
    history = whole.train(X, Y, checkpoint=tmp_path / "whole", **options)
    monkeypatch.setattr(loop, "SLICE", 1)  # a step
    stopped = ["max_seconds"]
    while stopped[-1] == "max_seconds":
        net = network(backend)
        resumed = net.train(
            X, Y, checkpoint=tmp_path / "c", resume=True, max_seconds=1e-9, **options
        )
        stopped.append(resumed.stopped)
        assert len(stopped) < 20
    assert len(stopped) >= 2 * len(history)
    if stopped[-1] == "":
        assert len(history) == 3
    assert net.parameters.tobytes() == whole.parameters.tobytes()
    assert recorded(resumed) == recorded(history)
    assert (resumed.best_epoch, resumed.stopped) == (history.best_epoch, history.stopped)


@each_backend
def test_a_callback_that_stops_in_a_shorter_epoch_ends_the_call_not_the_run(
    tmp_path, backend, monkeypatch
):
    options = {"epochs": 3, "batch_size": 20, "callbacks": [lambda row: "stop"]}
    whole = network(backend)
    history = whole.train(X, Y, **options)
    monkeypatch.setattr(loop, "SLICE", 1)  # a step
    options |= {"checkpoint": tmp_path / "c", "resume": True}
    assert network(backend).train(X, Y, max_seconds=1e-9, **options).stopped == "max_seconds"
    again = network(backend)
    resumed = again.train(X, Y, **options)
    assert (len(resumed), resumed.stopped) == (1, "a callback")
    assert again.parameters.tobytes() == whole.parameters.tobytes()
    assert recorded(resumed) == recorded(history)


def test_a_run_that_max_seconds_ended_goes_on_without_a_limit(tmp_path):
    options = {"epochs": 5, "checkpoint": tmp_path / "c", "resume": True}
    assert network().train(X, Y, max_seconds=1e-9, **options).stopped == "max_seconds"
    history = network().train(X, Y, **options)
    assert (len(history), history.stopped) == (5, "")


# Other runs are refused


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 2}, "seed was 1 and is now 2"),
        ({"sizes": [3, 6, 3]}, r"sizes was \[3, 5, 3\] and is now \[3, 6, 3\]"),
        ({"activation": "tanh"}, r"activation was \['relu'\] and is now \['tanh'\]"),
        ({"output": "sigmoid"}, "output was 'softmax' and is now 'sigmoid'"),
        ({"loss": "mse"}, "loss was 'cross_entropy' and is now 'mse'"),
        ({"dtype": "float32"}, "dtype was 'float64' and is now 'float32'"),
        ({"standardize_inputs": True}, "standardize_inputs was False and is now True"),
    ],
)
def test_another_network_is_refused_by_what_differs(tmp_path, change, message):
    options = {"epochs": 3, "validation": 0.2, "checkpoint": tmp_path / "c"}
    interrupted(network(), X, Y, **options)
    other = Network(**{"sizes": [3, 5, 3], "seed": 1, "dtype": "float64", **change})
    with pytest.raises(ValueError, match=f"is a checkpoint of another run: {message}"):
        other.train(X, Y, resume=True, **options)


def test_another_standardisation_is_refused(tmp_path):
    options = {"epochs": 3, "checkpoint": tmp_path / "c"}
    interrupted(network(standardize_inputs=True), 50 + 10 * X, Y, **options)
    with pytest.raises(ValueError, match="standardize_inputs was True and is now False"):
        network().train(50 + 10 * X, Y, resume=True, **options)
    interrupted(regression(standardize_targets=True), X, X[:, 0], **options)
    with pytest.raises(ValueError, match="standardize_targets was True and is now False"):
        regression().train(X, X[:, 0], resume=True, **options)


def changed(array):
    """A copy in which the last number differs by the last bit."""
    array = np.array(array, np.float64)
    array.reshape(-1)[-1] = np.nextafter(array.reshape(-1)[-1], np.inf)
    return array


@pytest.mark.parametrize(
    ("data", "what"),
    [
        ({"X": X[::-1]}, "X"),
        ({"X": changed(X)}, "X"),
        ({"y": Y[::-1]}, "y"),
        ({"sample_weight": np.arange(60) + 1}, "the row weights"),
        ({"validation": (X[30:], Y[:30])}, "validation X"),
        ({"validation": (changed(X[:30]), Y[:30])}, "validation X"),
        ({"validation": (X[:30], Y[30:])}, "validation y"),
        ({"validation": (X[:30], Y[:30], np.arange(30))}, "the validation weights"),
    ],
)
def test_other_data_are_refused_by_name(tmp_path, data, what):
    given = {"X": X, "y": Y, "validation": (X[:30], Y[:30])}
    options = {"epochs": 3, "checkpoint": tmp_path / "c", "early_stopping": True}
    network().train(**given, **options)
    with pytest.raises(ValueError, match=f"of another run: other data in {what};"):
        network().train(**{**given, **data}, resume=True, **options)


def test_another_share_for_validation_is_refused(tmp_path):
    options = {"epochs": 3, "checkpoint": tmp_path / "c"}
    network().train(X, Y, validation=0.2, **options)
    with pytest.raises(ValueError, match="of another run: other data in the rows set aside;"):
        network().train(X, Y, validation=0.4, resume=True, **options)


@pytest.mark.parametrize("layout", [np.asfortranarray, lambda X: np.repeat(X, 2, axis=0)[::2]])
def test_the_same_data_in_another_layout_go_on(tmp_path, layout):
    options = {"epochs": 3, "checkpoint": tmp_path / "c"}
    interrupted(network(), X, Y, **options)
    assert len(network().train(layout(X), Y.astype(np.uint8), resume=True, **options)) == 3


def rate(factor):
    def constant(t, power=2):
        return factor**power

    return constant


class Constant:
    def __init__(self, factor):
        self.factor = factor

    def __call__(self, t):
        return self.factor

    def other(self, t):
        return 1.0


@dataclasses.dataclass(frozen=True)
class Frozen:
    factor: float

    def __call__(self, t):
        return self.factor


def nested(t):
    return (lambda u: u + 1)(t)


def nested_otherwise(t):
    return (lambda u: u + 2)(t)


nested_otherwise.__qualname__ = "nested"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (lambda t: 1.0, lambda t: 0.5),
        (lambda t: 1.0, lambda t: t),
        (lambda t: min(1.0, t), lambda t: max(1.0, t)),
        (lambda t, factor=1.0: factor, lambda t, factor=0.5: factor),
        (lambda t, *, factor=1.0: factor, lambda t, *, factor=0.5: factor),
        (rate(1.0), rate(0.5)),
        (rate((1, 2)), rate((1, 3))),
        (rate(rate(1.0)), rate(rate(0.5))),
        (functools.partial(rate(1.0), power=1), functools.partial(rate(1.0), power=2)),
        (nested, nested_otherwise),
        (Frozen(1.0), Frozen(0.5)),
        (functools.cache(rate(1.0)), functools.cache(rate(0.5))),
        (Constant(1.0), Frozen(1.0)),
        (Constant(1.0), Constant(1.0).other),
        (schedules.Linear(), schedules.Linear(0.1)),
        (np.exp, np.sin),
    ],
)
def test_functions_that_differ_are_told_apart(before, after):
    before, after = map(fingerprints.of_setting, (before, after))
    assert not fingerprints.agree(before, after)


@pytest.mark.parametrize(
    "make",
    [
        lambda: lambda t: 0.5,
        lambda: rate(0.5),
        lambda: rate(rate([1])),
        lambda: Constant([]),
        lambda: Constant([]).other,
        lambda: Frozen(0.5),
        lambda: functools.partial(rate(1.0), power=1),
        lambda: schedules.Cosine(warmup=1),
        lambda: np.exp,
        lambda: optimizers.Adam(0.1),
    ],
)
def test_a_function_that_is_made_again_is_the_same(make):
    before, after = map(fingerprints.of_setting, (make(), make()))
    assert fingerprints.agree(before, after)


def test_a_function_may_enclose_itself():
    def factorial(t):
        return factorial(t - 1) * t if t > 1 else 1

    assert fingerprints.agree(*[fingerprints.of_setting(factorial)] * 2)


def test_what_a_function_keeps_for_itself_may_change():
    counted = rate([])
    before = fingerprints.of_setting(counted)
    counted.calls = 3
    counted.__closure__[0].cell_contents.append(1)
    assert fingerprints.agree(before, fingerprints.of_setting(counted))


def test_the_code_of_another_python_is_not_compared():
    here = fingerprints.of_setting(rate(1.0))
    there = {**here, "python": "cpython-300", "code": 1}
    assert fingerprints.agree(here, there)
    assert not fingerprints.agree(here, {**there, "values": 1})
    assert not fingerprints.agree(here, {**there, "python": here["python"]})


def test_fingerprints_are_the_same_in_every_process():
    code = """
from fastnn.training import fingerprints
def rate(t, kinds=frozenset({"a", "b", "c", "d"})):
    return t if str(t) in {"one", "two", "three", "four"} else 0
print(fingerprints.of_setting(rate))
"""
    printed = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed, "PYTHONPATH": root},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in "123456"
        for root in [str(Path(__file__).resolve().parents[1])]
    }  # fmt: skip
    assert len(printed) == 1


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (rate(0.5), "schedule was another function that is called .*constant, too: its code, its"),
        (nested, "schedule was .*constant and is now .*nested;"),
        ("linear", r"schedule was .*constant and is now Linear\(end=0.0, by='step'\);"),
    ],
)
def test_another_schedule_is_refused(tmp_path, other, message):
    options = {"epochs": 3, "checkpoint": tmp_path / "c"}
    interrupted(network(), X, Y, schedule=rate(1.0), **options)
    with pytest.raises(ValueError, match=f"of another run: {message}"):
        network().train(X, Y, schedule=other, resume=True, **options)
    history = network().train(X, Y, schedule=rate(1.0), resume=True, **options)
    assert len(history) == 3


def loss_of(factor):
    def loss(a, t):
        return factor * ((a - t) ** 2).mean(axis=1), factor * 2 * (a - t) / a.shape[1]

    return loss


def test_another_function_as_a_loss_is_refused(tmp_path):
    options = {"epochs": 3, "checkpoint": tmp_path / "c"}
    interrupted(network(loss=loss_of(1.0)), X, Y, **options)
    with pytest.raises(ValueError, match="of another run: loss was another function"):
        network(loss=loss_of(0.5)).train(X, Y, resume=True, **options)
    assert len(network(loss=loss_of(1.0)).train(X, Y, resume=True, **options)) == 3


def test_every_setting_is_compared_or_named_as_one_that_may_differ():
    names = {field.name for field in dataclasses.fields(TrainingSettings)} - {"objective"}
    names |= {field.name for field in dataclasses.fields(fastnn.backends.contract.Objective)}
    checked = settings.checked(defaults(), network().architecture, 60)
    compared = checked.as_json().keys()
    assert compared | settings.MAY_DIFFER == names
    assert not compared & settings.MAY_DIFFER


def defaults():
    """The default settings of `Network.train`."""
    import inspect

    parameters = inspect.signature(Network.train).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


@pytest.mark.parametrize(
    "change",
    [
        {"l1": 0.1},
        {"clip_norm": 1.0},
        {"clip_value": 1.0},
        {"max_norm": 1.0},
        {"label_smoothing": 0.1},
        {"dropout": 0.1},
        {"early_stopping": EarlyStopping("loss", patience=3)},
        {"optimizer": optimizers.Adam(beta1=0.8), "learning_rate": 0.3},
    ],
)
def test_settings_are_refused_by_their_name(tmp_path, change):
    options = {"epochs": 3, "checkpoint": tmp_path / "c"}
    network().train(X, Y, **options)
    with pytest.raises(ValueError, match=f"of another run: {next(iter(change))} was .* and is now"):
        network().train(X, Y, resume=True, **options, **change)


def test_other_ends_and_reports_go_on(tmp_path):
    options = {"epochs": 3, "checkpoint": tmp_path / "c", "resume": True}
    interrupted(network(), X, Y, **options)
    others = {"max_seconds": 1e6, "callbacks": [print], "progress": False, "checkpoint_every": 1}
    assert len(network().train(X, Y, **options, **others)) == 3


def test_a_batch_of_all_rows_goes_on_as_one_of_more(tmp_path):
    options = {"epochs": 4, "checkpoint": tmp_path / "c", "resume": True}
    interrupted(network(), X, Y, batch_size=len(X), **options)
    assert len(network().train(X, Y, batch_size=10 * len(X), **options)) == 4


def test_more_epochs_are_refused_with_the_way_on(tmp_path):
    options = {"checkpoint": tmp_path / "c", "resume": True}
    network().train(X, Y, epochs=3, **options)
    message = r"epochs was 3 and is now 5; pass as many epochs, or load it with fastnn.load\('.*/c'"
    with pytest.raises(ValueError, match=message):
        network().train(X, Y, epochs=5, **options)


def test_a_checkpoint_of_an_earlier_version_is_loaded_but_not_resumed(tmp_path):
    options = {"epochs": 2, "checkpoint": tmp_path / "c"}
    net = network()
    net.train(X, Y, **options)
    found, metadata = storage.read(tmp_path / "c")
    run = metadata["run"]
    names = ("epochs", "batch_size", "learning_rate", "schedule", "optimizer", "frozen", "shuffle")
    run["settings"] = {name: run["settings"][name] for name in names}
    run["settings"] |= {"rule": "UpdateRule()", "labels": 1, "weights": None, "rows": None}
    del run["data"]
    run["progress"]["elapsed"] = 1.0
    storage.write(tmp_path / "c", found, metadata)
    other = fastnn.load(tmp_path / "c")
    assert other.parameters.tobytes() == net.parameters.tobytes()
    message = r"c' is a checkpoint of another version of fastnn, .*load it with fastnn.load\('.*/c'"
    with pytest.raises(ValueError, match=message):
        network().train(X, Y, resume=True, **options)


# Fingerprints of arrays


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(fingerprints, "ALWAYS", 4000)
    monkeypatch.setattr(fingerprints, "BLOCK", 800)


def noticed(array, operations=0.0):
    """Return the rows of an array in which a change is noticed."""
    before = fingerprints.of_array(array, operations)
    rows = []
    for row in range(len(array)):
        array[row, 0] += 1
        if fingerprints.of_array(array, operations) != before:
            rows.append(row)
        array[row, 0] -= 1
    return rows


def test_all_rows_of_a_small_array_are_looked_at(small_blocks):
    assert noticed(np.zeros((50, 10))) == list(range(50))


def test_of_a_large_array_blocks_are_looked_at_from_the_first_row_to_the_last(small_blocks):
    rows = noticed(np.zeros((500, 10)))  # ten times as large as what is looked at
    assert len(rows) == 50
    assert {0, 499} < set(rows)
    assert max(np.diff(rows)) < 500 / 4


def test_all_rows_are_looked_at_if_an_epoch_takes_much_longer(small_blocks):
    operations = fingerprints.OPERATIONS_PER_BYTE * 40_000
    assert noticed(np.zeros((500, 10)), operations) == list(range(500))
    assert len(noticed(np.zeros((500, 10)), operations / 2)) == 250


def test_two_rows_may_be_larger_than_what_is_looked_at(small_blocks):
    assert noticed(np.zeros((5, 9000))) == [0, 4]


@pytest.mark.parametrize("count", [49, 500, 501])
def test_the_layout_of_an_array_does_not_matter(count, small_blocks):
    array = RNG.normal(size=(count, 10))
    layouts = [array, np.asfortranarray(array), np.repeat(array, 2, axis=1)[:, ::2]]
    layouts.append(np.ascontiguousarray(array[::-1])[::-1])
    assert len({fingerprints.of_array(each, 0.0) for each in layouts}) == 1


def test_a_run_without_a_checkpoint_is_not_looked_at(monkeypatch):
    def looks(*arguments):
        raise AssertionError

    monkeypatch.setattr(fingerprints, "crc32", looks)
    assert len(network().train(X, Y, epochs=2, validation=0.2, schedule=rate(1.0))) == 2


# Scalers come from the file


@each_backend
def test_a_resumed_run_takes_the_scalers_of_the_file(tmp_path, backend):
    def trained_before():
        net = regression(backend, standardize_inputs=True, standardize_targets=True)
        net.train(50 + 10 * X, 20 + 5 * X[:, 0], epochs=1)  # learns its scales here
        return net

    options = {"epochs": 4, "checkpoint": tmp_path / "c"}
    whole = trained_before()
    whole.train(X, X[:, 0], epochs=4)
    interrupted(trained_before(), X, X[:, 0], after=3, **options)
    again = regression(backend, standardize_inputs=True, standardize_targets=True)
    again.predict_one(np.zeros(3, np.float32))
    again.train(X, X[:, 0], resume=True, **options)
    for name in ("input_scaler", "target_scaler"):
        for ours, theirs in zip(getattr(again, name), getattr(whole, name), strict=True):
            assert ours.tobytes() == theirs.tobytes()
    assert again.parameters.tobytes() == whole.parameters.tobytes()
    assert again.predict(X).tobytes() == whole.predict(X).tobytes()
    assert again.predict_one(X[0]).tobytes() == whole.predict_one(X[0]).tobytes()


# A call that is refused or interrupted before its first step changes nothing


def refused_checkpoint(net, folder, monkeypatch):
    interrupted(network(standardize_inputs=True), X, Y, epochs=4, checkpoint=folder / "c")
    return {"checkpoint": folder / "c", "resume": True}, ValueError


def checkpoint_of_other_epochs(net, folder, monkeypatch):
    new = Network.of(type(net.model)(net.architecture, net.seed))
    new.model.standardize_inputs = net.model.standardize_inputs
    new.train(50 + 10 * X, Y, epochs=4, checkpoint=folder / "c", optimizer="momentum")
    return {"checkpoint": folder / "c", "resume": True}, ValueError


def missing_folder(net, folder, monkeypatch):
    return {"checkpoint": folder / "nowhere" / "c"}, FileNotFoundError


def unreadable_file(net, folder, monkeypatch):
    (folder / "c").mkdir()
    return {"checkpoint": folder / "c", "resume": True}, OSError


def foreign_file(net, folder, monkeypatch):
    (folder / "c").write_text("no checkpoint")
    return {"checkpoint": folder / "c", "resume": True}, ValueError


def full_disk(net, folder, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints.storage, "write", full)
    return {"checkpoint": folder / "c"}, OSError


def refused_schedule(net, folder, monkeypatch):
    return {"schedule": lambda t: -1}, ValueError


def divergence(net, folder, monkeypatch):
    return {"learning_rate": 1e300}, fastnn.DivergenceError


def interrupt_while_compiling(net, folder, monkeypatch):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(loop.backends.get(net.backend), "prepare", interrupt)
    return {}, KeyboardInterrupt


def interrupt_in_the_first_steps(net, folder, monkeypatch):
    module = loop.backends.get(net.backend)
    steps = module.train_steps

    def interrupt(*arguments):
        steps(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "train_steps", interrupt)
    return {"checkpoint": folder / "c"}, KeyboardInterrupt


ENDS = (
    refused_checkpoint, checkpoint_of_other_epochs, missing_folder, unreadable_file, foreign_file,
    full_disk, refused_schedule, divergence, interrupt_while_compiling,
    interrupt_in_the_first_steps,
)  # fmt: skip


@each_backend
@pytest.mark.parametrize("before", [{}, {"optimizer": "adam"}, None], ids=str)
@pytest.mark.parametrize("end", ENDS)
def test_a_call_that_ends_before_its_first_step_changes_nothing(
    tmp_path, monkeypatch, end, before, backend
):
    net = network(backend, standardize_inputs=True)
    if before is not None:
        net.train(X, Y, epochs=2, **before)
    net.predict_one(X[0])  # prepared for these scales
    was = state(net)
    options, error = end(net, tmp_path, monkeypatch)
    options = {"epochs": 5, "optimizer": "momentum", **options}
    with np.errstate(all="ignore"), pytest.raises(error):
        net.train(50 + 10 * X, Y, **options)
    monkeypatch.undo()
    assert state(net) == was


@each_backend
def test_a_call_that_is_refused_leaves_adam_what_it_remembers(tmp_path, backend):
    interrupted(network(backend), X, Y, epochs=4, checkpoint=tmp_path / "c")
    net, other = network(backend), network(backend)
    for each in (net, other):
        each.train(X, Y, epochs=2, optimizer="adam")
    with pytest.raises(ValueError, match="epochs was 4 and is now 5"):
        net.train(X, Y, epochs=5, checkpoint=tmp_path / "c", resume=True)
    for each in (net, other):
        each.train(X, Y, epochs=1, optimizer="adam")
    assert net.model.optimizer_state.steps == 6
    assert net.parameters.tobytes() == other.parameters.tobytes()


@each_backend
def test_targets_too_wide_to_standardise_leave_no_scale_of_the_inputs(backend):
    net = Network(
        [3, 5, 1], output="identity", seed=1, backend=backend, standardize_inputs=True,
        standardize_targets=True,
    )  # fmt: skip
    was = state(net)
    wide = np.linspace(-3e38, 3e38, 60)
    with pytest.raises(ValueError, match="y cannot be standardised in float32"):
        net.train(50 + 10 * X, wide)
    assert state(net) == was


@each_backend
def test_an_interrupt_before_the_first_step_of_a_resumed_run_keeps_network_and_file(
    tmp_path, monkeypatch, backend
):
    options = {"epochs": 4, "checkpoint": tmp_path / "c", "resume": True}
    whole, net = network(backend), network(backend)
    whole.train(X, Y, epochs=4)
    interrupted(network(backend), X, Y, after=3, **options)
    was = state(net)
    interrupt_in_the_first_steps(net, tmp_path, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        net.train(X, Y, **options)
    monkeypatch.undo()
    assert state(net) == was
    net.train(X, Y, **options)
    assert net.parameters.tobytes() == whole.parameters.tobytes()


@pytest.mark.filterwarnings("ignore:the trained network is")
@pytest.mark.parametrize("options", [{"early_stopping": EarlyStopping("loss", patience=1)}, {}])
def test_an_interrupt_between_the_last_epoch_and_its_checkpoint_loses_no_epoch(
    tmp_path, monkeypatch, options
):
    stops = not options

    def stop(row):
        return "stop" if row["epoch"] == 4 and stops else None

    def interrupt(run, saver):
        raise KeyboardInterrupt

    options = {**options, "epochs": 9, "learning_rate": 30.0, "schedule": "constant"}
    options["callbacks"] = [stop]
    whole = network()
    history = whole.train(X, Y, **options)
    assert history.stopped == ("a callback" if stops else "early stopping")
    options |= {"checkpoint": tmp_path / "c", "resume": True}
    monkeypatch.setattr(loop, "_save", interrupt)
    with pytest.raises(KeyboardInterrupt):
        network().train(X, Y, **options)
    monkeypatch.undo()
    again = network()
    assert recorded(again.train(X, Y, **options)) == recorded(history)
    assert again.parameters.tobytes() == whole.parameters.tobytes()


def test_an_interrupt_at_the_begin_of_an_epoch_keeps_the_best_epoch_of_its_checkpoint(
    tmp_path, monkeypatch
):
    def interrupt(seed, epoch, *arguments):
        if epoch == 3:
            raise KeyboardInterrupt
        return order(seed, epoch, *arguments)

    options = {"epochs": 4, "early_stopping": EarlyStopping("loss")}
    whole = network()
    history = whole.train(X, Y, **options)
    options |= {"checkpoint": tmp_path / "c", "resume": True}
    order = processes.epoch_order
    monkeypatch.setattr(processes, "epoch_order", interrupt)
    with pytest.raises(KeyboardInterrupt):
        network().train(X, Y, **options)
    monkeypatch.undo()
    again = network()
    assert again.train(X, Y, **options).best_epoch == history.best_epoch == 4
    assert again.parameters.tobytes() == whole.parameters.tobytes()


def interrupt_in_a_copy(monkeypatch, number):
    """Let Ctrl-C come when the parameters are copied, and what Adam remembers is not yet."""
    keep, vectors, calls = run.Run.keep, run._vectors, []

    def interrupted_keep(self):
        calls.append(None)
        if len(calls) == number:
            monkeypatch.setattr(run, "_vectors", first_of_them)
        keep(self)

    def first_of_them(model):
        yield vectors(model)[0]
        monkeypatch.setattr(run, "_vectors", vectors)
        raise KeyboardInterrupt

    monkeypatch.setattr(run.Run, "keep", interrupted_keep)


ADAM = {
    "epochs": 4, "optimizer": "adam", "batch_size": 20, "learning_rate": 0.01,
    "schedule": "constant",
}  # fmt: skip
WATCHED = {"early_stopping": EarlyStopping("loss")}


@each_backend
@pytest.mark.parametrize("number", [1, 2, 3, 4])
@pytest.mark.parametrize("more", [{}, {"validation": 0.2}, WATCHED])
def test_an_interrupt_while_the_state_is_copied_loses_no_step_of_the_checkpoint(
    tmp_path, monkeypatch, number, more, backend
):
    options = {**ADAM, **more}
    whole, net, again = network(backend), network(backend), network(backend)
    history = whole.train(X, Y, **options)
    options |= {"checkpoint": tmp_path / "c", "resume": True}
    interrupt_in_a_copy(monkeypatch, number)
    with pytest.raises(KeyboardInterrupt):
        net.train(X, Y, **options)
    monkeypatch.undo()
    if number < 4:  # the fourth is after the last epoch, where the best parameters are restored
        assert net.epochs_trained == number
    assert recorded(again.train(X, Y, **options)) == recorded(history)
    assert again.parameters.tobytes() == whole.parameters.tobytes()


@each_backend
@pytest.mark.parametrize("more", [{}, {"validation": (X, Y)}])
def test_an_interrupt_while_the_state_is_copied_leaves_the_network_after_its_last_step(
    monkeypatch, more, backend
):
    net, other = network(backend), network(backend)
    interrupt_in_a_copy(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt):
        net.train(X, Y, **ADAM, **more)
    monkeypatch.undo()
    other.train(X, Y, **{**ADAM, "epochs": 2}, **more)
    for each in (net, other):  # with what Adam remembers
        each.train(X, Y, **ADAM)
    assert net.parameters.tobytes() == other.parameters.tobytes()


@each_backend
def test_an_interrupt_in_the_steps_after_some_copies_takes_back_these_steps(monkeypatch, backend):
    net, other = network(backend), network(backend)
    module = loop.backends.get(backend)
    steps, calls = module.train_steps, []

    def interrupt(*arguments):
        calls.append(steps(*arguments))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return calls[-1]

    monkeypatch.setattr(loop, "SLICE", 1)  # each step is a call
    monkeypatch.setattr(module, "train_steps", interrupt)
    with pytest.raises(KeyboardInterrupt):
        net.train(X, Y, **ADAM, shuffle=False)
    monkeypatch.undo()
    other.train(X, Y, **{**ADAM, "epochs": 1}, shuffle=False)
    for each in (net, other):
        each.train(X, Y, **ADAM, shuffle=False)
    assert net.parameters.tobytes() == other.parameters.tobytes()


@each_backend
def test_divergence_on_validation_data_takes_back_an_epoch_of_many_calls(monkeypatch, backend):
    net, other = network(backend), network(backend)
    evaluation, calls = loop.Evaluation.__call__, []

    def diverges(self):
        calls.append(evaluation(self))
        if len(calls) == 2:
            raise fastnn.DivergenceError("it")
        return calls[-1]

    monkeypatch.setattr(loop, "SLICE", 1)
    monkeypatch.setattr(loop.Evaluation, "__call__", diverges)
    with pytest.raises(fastnn.DivergenceError, match="after epoch 2 it; the"):
        net.train(X, Y, **ADAM, validation=(X, Y))
    monkeypatch.undo()
    other.train(X, Y, **{**ADAM, "epochs": 1})
    for each in (net, other):
        each.train(X, Y, **ADAM)
    assert net.parameters.tobytes() == other.parameters.tobytes()


# Interrupts come through


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("call", [2, 3])
def test_an_interrupt_while_a_checkpoint_is_written_comes_through(
    tmp_path, monkeypatch, error, call
):
    write, calls = Saver._write, []

    def interrupted_write(saver):
        calls.append(write(saver))
        if len(calls) == call:
            raise error

    monkeypatch.setattr(Saver, "_write", interrupted_write)
    options = {"epochs": 4, "checkpoint": tmp_path / "c", "resume": True}
    with pytest.raises(error):
        network().train(X, Y, **options)
    monkeypatch.undo()
    whole, again = network(), network()
    whole.train(X, Y, epochs=4)
    again.train(X, Y, **options)
    assert again.parameters.tobytes() == whole.parameters.tobytes()


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("place", [(Moment, "restore"), (Saver, "_write")])
@pytest.mark.parametrize("second", [KeyboardInterrupt, SystemExit, MemoryError, RuntimeWarning])
def test_an_interrupt_comes_through_whatever_happens_while_its_checkpoint_is_written(
    tmp_path, monkeypatch, error, place, second
):
    def interrupt(row):
        monkeypatch.setattr(*place, fails)
        raise error

    def fails(*arguments):
        raise second

    with pytest.raises(error):
        network().train(X, Y, epochs=4, checkpoint=tmp_path / "c", callbacks=[interrupt])


def test_an_interrupt_comes_through_if_its_checkpoint_cannot_be_written(tmp_path, monkeypatch):
    def interrupt(row):
        full_disk(None, tmp_path, monkeypatch)
        raise KeyboardInterrupt

    with pytest.warns(RuntimeWarning, match="no checkpoint was"), pytest.raises(KeyboardInterrupt):
        network().train(X, Y, epochs=4, checkpoint=tmp_path / "c", callbacks=[interrupt])
