"""Threads: the same bits at any number, how many are chosen, forks, and concurrent calls."""

from __future__ import annotations

import copy
import hashlib
import multiprocessing
import os
import sys
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numba
import numpy as np
import pytest
from cases import DTYPES, WIDE, Case, make_data, make_network

import fastnn
from fastnn import backends
from fastnn.backends.compiled import operations
from fastnn.backends.compiled.kernels import batches as steps
from fastnn.backends.compiled.kernels import layout, update
from fastnn.backends.compiled.machinery import threads, thresholds
from fastnn.backends.contract import Examples, UpdateRule
from fastnn.backends.dropout import NO_KEYS
from fastnn.cli.info import LAYERS
from fastnn.model.architecture import Layer
from fastnn.optimizers import SGD, Adam
from fastnn.sparse_rows import SparseRows

COUNTS = (1, 2, 3, 8, 16)


@pytest.fixture
def worth_threads(monkeypatch):
    """Let every step use all the threads that a network asks for."""
    monkeypatch.setattr(threads, "WORTH_A_THREAD", 1.0)
    monkeypatch.setattr(threads, "PREDICTING_WORTH_A_THREAD", 1.0)
    monkeypatch.setattr(threads.Trial, "enabled", False)
    monkeypatch.setattr(threads, "available", lambda: 8)


def bits(case, count, optimizer="sgd"):
    """Return what training, predictions and a gradient give on so many threads."""
    X, y = make_data(case, np.random.default_rng(3))
    net = make_network(case, threads=count)
    loss, gradient = net.loss_and_gradient(X, y, l2=0.01)
    options = {"batch_size": case.batch, "optimizer": optimizer, "l2": 0.01}
    history = net.train(X, y, epochs=2, **options)
    values = np.array([loss, *history["loss"], net.evaluate(X, y)["loss"]])
    arrays = (gradient.vector, net.parameters, net.predict_proba(X), values)
    return [array.tobytes() for array in arrays]


@pytest.mark.usefixtures("worth_threads")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("zeros", [0.0, 0.8])
@pytest.mark.parametrize("batch", [1, 2, 7, 8, 9, 17, 67, 130])
def test_any_number_of_threads_gives_the_same_bits(batch, zeros, dtype):
    case = replace(WIDE, batch=batch, zeros=zeros, dtype=dtype)
    results = [bits(case, count) for count in COUNTS]
    assert results == [results[0]] * len(COUNTS)


@pytest.mark.usefixtures("worth_threads")
@pytest.mark.parametrize("batch", [1, 8, 17, 130])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_any_number_of_threads_gives_the_same_bits_in_bfloat16(batch, optimizer):
    case = replace(WIDE, batch=batch, precision="bfloat16")
    results = [bits(case, count, optimizer) for count in COUNTS]
    assert results == [results[0]] * len(COUNTS)


@pytest.mark.parametrize("optimizer", [SGD(), Adam()], ids=["sgd", "adam"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_equal_units_stay_equal_on_sparse_rows(dtype, optimizer):
    # Some lines of units are summed together, others one by one; threads make it the one or other.
    net = make_network(Case((20, 90, 3), dtype=dtype))
    for array in (*net.weights[:1], *net.biases[:1]):
        array[...] = array[..., :1]
    net.weights[1][...] = net.weights[1][:1]
    rng = np.random.default_rng(0)
    columns = np.array([np.sort(rng.choice(20, 11, replace=False)) for _ in range(30)], np.int32)
    X = SparseRows(
        rng.normal(size=330).astype(dtype),
        columns.reshape(-1),
        np.arange(31, dtype=np.int64) * 11,
        20,
    )
    rule, losses = UpdateRule(optimizer=optimizer), np.empty(6)
    backends.get("numba").train_steps(
        net.model, Examples(X, rng.integers(0, 3, 30)), np.arange(30, dtype=np.int64), 5,
        np.full(6, 0.01), rule, NO_KEYS, net.model.state_for(optimizer), losses,
    )  # fmt: skip
    assert np.isfinite(losses).all()
    np.testing.assert_array_equal(net.weights[0], np.repeat(net.weights[0][:, :1], 90, axis=1))


@pytest.mark.usefixtures("worth_threads")
@pytest.mark.parametrize("sizes", [(1, 2), (5, 3, 2), (8, 200, 3), (300, 2), (9, 1, 1, 2)])
def test_layers_narrower_than_the_threads_are_many_give_the_same_bits(sizes):
    results = [bits(Case(sizes, batch=31), count) for count in COUNTS]
    assert results == [results[0]] * len(COUNTS)


@pytest.mark.usefixtures("worth_threads")
@pytest.mark.parametrize("batch", [8, 100, 300])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("standardize", [False, True])
def test_threads_that_split_rows_and_units_give_the_same_bits(batch, optimizer, standardize):
    sizes = [200, 512, 260, 10]
    rng = np.random.default_rng(2)
    X, y = rng.standard_normal((330, sizes[0]), np.float32), rng.integers(0, 10, 330)
    results = set()
    for count in (1, 2, 4, 6, 12, 16):
        net = fastnn.Network(sizes, seed=1, threads=count, standardize_inputs=standardize)
        net.train(X, y, epochs=2, batch_size=batch, optimizer=optimizer, dropout=0.1)
        results.add(net.parameters.tobytes() + net.predict_proba(X).tobytes())
    assert len(results) == 1


WIDE_LAYER = Layer(fan_in=1024, fan_out=1024, weights=0, biases=0, stride=1024)


@pytest.mark.parametrize(
    ("count", "rows", "groups"),
    [(1, 512, 1), (2, 128, 2), (2, 512, 1), (2, 32, 2), (16, 8, 16), (16, 512, 4), (16, 8192, 1)],
)
def test_many_threads_split_rows_and_units(count, rows, groups):
    assert operations.groups_of_units(WIDE_LAYER, rows, count) == groups


@pytest.mark.parametrize(("count", "groups"), [(2, 1), (8, 2), (16, 4), (7, 1)])
def test_many_threads_split_the_update_by_rows_and_units(count, groups):
    assert operations.groups_of_the_update(WIDE_LAYER, 1, count) == groups


@pytest.mark.parametrize("count", [2, 4, 16])
def test_threads_with_units_of_their_own_update_these(count):
    assert operations.groups_of_the_update(WIDE_LAYER, count, count) == count


def shares_of_the_update(l, fan_in, count):
    """Return the rows that each thread takes of the update of a layer whose units are not split."""
    operation = SimpleNamespace(what=layout.STEPPING, layer=l, split=layout.ROWS)
    layer = replace(WIDE_LAYER, fan_in=fan_in)
    shares = [steps.share_of.py_func(operation, layer, 32, t, count, 4) for t in range(count)]
    return [range(share.start, share.stop) for share in shares]


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("fan_in", [1, 8, 20, 64, 784])
def test_threads_update_each_row_of_weights_once_and_the_biases(fan_in, count):
    rows = [row for share in shares_of_the_update(1, fan_in, count) for row in share]
    biases = update.rows_of_update.py_func(fan_in) - 1
    assert sorted(rows) == list(range(biases + 1))
    assert biases >= fan_in


def test_biases_of_neighbouring_layers_are_updated_by_different_threads():
    longest = [shares_of_the_update(l, 64, 16) for l in range(3)]
    assert len({[share.stop for share in shares].index(72) for shares in longest}) == 3


def test_threads_never_split_layers_of_few_units():
    narrow = replace(WIDE_LAYER, fan_out=10)
    assert {operations.groups_of_units(narrow, 8, count) for count in range(1, 65)} == {1}


def test_steps_large_enough_for_two_threads_give_the_same_bits():
    case = Case((784, 256, 10), batch=128)
    work = case.batch * make_network(case).architecture.training_flops
    assert threads.choose(2, work) == 2
    assert bits(case, 1) == bits(case, 2)


def test_threads_of_the_caller_are_left_as_they_were():
    before = numba.get_num_threads()
    with threads.region(2):
        pass
    assert numba.get_num_threads() == before


def test_threads_of_the_caller_are_left_as_they_were_by_an_early_interrupt(monkeypatch):
    before, set_number = numba.get_num_threads(), numba.set_num_threads
    monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", 1)

    def interrupted(number):
        set_number(number)
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(numba, "set_num_threads", interrupted)
    with pytest.raises(KeyboardInterrupt), threads.region(2):
        raise AssertionError("it was entered")
    assert numba.get_num_threads() == before


# How many are chosen


def test_joblibs_limit_is_kept(run_python):
    imports = "from fastnn.backends.compiled.machinery import threads"
    code = f"{imports}; print(threads.choose(None, 1e15))"
    assert run_python("-c", code, NUMBA_NUM_THREADS="1") == "1\n"


def test_a_tiny_step_takes_one_thread():
    assert threads.choose(8, threads.WORTH_A_THREAD / 2) == 1


def test_a_large_step_takes_as_many_as_asked():
    assert threads.choose(3, 1e15) == 3


def test_a_large_step_takes_all_there_are_by_default(monkeypatch):
    monkeypatch.setattr(threads, "available", lambda: 5)
    monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", 6)
    assert threads.choose(None, 1e15) == 5


def test_a_step_takes_no_more_threads_than_it_has_work_for():
    assert threads.choose(8, 2.5 * threads.WORTH_A_THREAD) == 2


@pytest.mark.parametrize(
    ("worth", "asked", "count"), [(3, 8, 4), (7, 8, 8), (13, 16, 16), (13, 6, 6)]
)
def test_what_a_step_has_work_for_is_rounded_up_to_a_power_of_two(worth, asked, count):
    assert threads.choose(asked, worth * threads.WORTH_A_THREAD) == count


def test_an_architecture_that_was_not_measured_takes_the_thresholds_of_x86():
    assert thresholds.of("arm64") == thresholds.of("x86_64") == thresholds.X86


def times_of_calls(trial, seconds, calls):
    """Let a trial choose among numbers of threads that take so long; return its choices."""
    choices = []
    for _ in range(calls):
        choices.append(trial.choose(max(seconds)))
        trial.record(choices[-1], seconds[choices[-1]])
    return choices


@pytest.mark.parametrize("faster", [1, 2])
def test_what_is_faster_is_taken_and_the_other_tried_ever_more_rarely(faster):
    seconds = {1: 2.0, 2: 2.0, faster: 1.0}
    choices = times_of_calls(threads.Trial(), seconds, 1000)
    assert choices[:3] == [2, 2, 1]
    others = [i for i, count in enumerate(choices) if count != faster]
    assert 3 < len(others) < 12
    assert np.diff(others)[-1] > 5 * np.diff(others)[1]


def test_short_calls_are_tried_three_times_in_a_row():
    choices = times_of_calls(threads.Trial(), {1: 2e-4, 2: 1e-4}, 40)
    assert "".join(map(str, choices)).count("211122") >= 1


def test_threads_that_become_slow_are_left_and_taken_again_when_they_are_fast():
    trial = threads.Trial()
    assert times_of_calls(trial, {1: 2.0, 2: 1.0}, 20).count(2) > 15
    disturbed = times_of_calls(trial, {1: 2.0, 2: 9.0}, 100)
    assert disturbed.count(2) < 10
    assert times_of_calls(trial, {1: 2.0, 2: 1.0}, 300)[-20:].count(2) > 15


def test_threads_that_have_to_wake_up_first_are_not_taken_for_slow():
    trial = threads.Trial()
    times_of_calls(trial, {1: 1e-4, 2: 2e-4}, 100)
    awake, choices = 0, []
    for _ in range(300):
        choices.append(trial.choose(2))
        awake = min(awake + 1, 2) if choices[-1] == 2 else 0
        trial.record(choices[-1], {0: 1e-4, 1: 5e-4, 2: 5e-5}[awake])
    assert choices[-20:].count(2) > 15


@pytest.mark.parametrize("slow", [1, 3])
def test_a_few_slow_calls_change_nothing(slow):
    trial = threads.Trial()
    times_of_calls(trial, {1: 1.2, 2: 1.0}, 50)
    for _ in range(slow):
        trial.record(2, 9.0)
    assert trial.choose(2) == 2


@pytest.mark.parametrize("disturbed", [1, 2, 4, 8])
def test_a_slow_first_call_does_not_rule_out_a_number_of_threads(disturbed):
    trial, seconds = threads.Trial(), {8: 9.0, 4: 5.0, 2: 1.4, 1: 1.0}
    for _ in range(8):  # up to the first calls of all
        count = trial.choose(8)
        trial.record(count, seconds[count] * (9 if count == disturbed else 1))
    assert times_of_calls(trial, seconds, 300)[-20:].count(1) > 15


# Seconds of a call by threads, as measured on machines with many CPUs.
CURVES = {
    "more is faster": {16: 1.0, 8: 1.8, 4: 3.5, 2: 7.0, 1: 14.0},
    "eight in the middle are slow": {16: 1.0, 8: 1.35, 4: 1.44, 2: 2.7, 1: 4.5},
    "four are best": {16: 1.5, 8: 1.1, 4: 1.0, 2: 1.6, 1: 3.0},
    "one is best": {16: 9.0, 8: 5.0, 4: 3.0, 2: 1.4, 1: 1.0},
    "sixty-four": {64: 1.0, 32: 1.2, 16: 2.0, 8: 4.0, 4: 8.0, 2: 16.0, 1: 32.0},
    "of sixty-four two are best": {64: 6.0, 32: 3.0, 16: 1.5, 8: 1.2, 4: 1.02, 2: 1.0, 1: 1.9},
    "seven": {7: 1.0, 4: 1.7, 2: 3.4, 1: 6.8},
}


@pytest.mark.parametrize("seconds", CURVES.values(), ids=CURVES)
def test_trials_cost_at_most_three_percent_in_the_long_run(seconds):
    trial = threads.Trial()
    times_of_calls(trial, seconds, 500)
    total = sum(seconds[count] for count in times_of_calls(trial, seconds, 2000))
    assert total <= 1.03 * 2000 * min(seconds.values())


@pytest.mark.parametrize("seconds", CURVES.values(), ids=CURVES)
def test_most_of_the_first_calls_take_the_fastest_number_of_threads(seconds):
    choices = times_of_calls(threads.Trial(), seconds, 13)
    assert choices.count(min(seconds, key=seconds.get)) >= 6


def test_numbers_of_threads_that_take_far_longer_are_not_tried():
    choices = times_of_calls(threads.Trial(), CURVES["sixty-four"], 1000)
    assert set(choices) == {64, 32, 16}


def test_more_threads_are_taken_again_as_soon_as_other_work_ends():
    trial = threads.Trial()
    busy = {16: 50.0, 8: 20.0, 4: 8.0, 2: 4.0, 1: 3.0}
    times_of_calls(trial, busy, 200)
    choices = times_of_calls(trial, CURVES["more is faster"], 2500)
    assert choices[-100:].count(16) > 90


def test_a_loss_of_ones_own_that_has_no_hash_can_be_trained_on_several_threads(worth_threads):
    @dataclass
    class Squares:
        factor: float

        def __call__(self, outputs, targets):
            errors = outputs - targets
            return self.factor * (errors**2).mean(axis=1), self.factor * errors

    X = np.random.default_rng(3).standard_normal((60, 20), np.float32)
    found = set()
    for count in (1, 2):
        net = fastnn.Network(
            [20, 30, 5], loss=Squares(0.5), output="identity", seed=1, threads=count
        )
        net.train(X, X[:, :5], epochs=1)
        found.add(net.predict(X).tobytes())
    assert len(found) == 1


def test_the_trial_of_a_network_does_not_keep_its_loss():
    def loss(outputs, targets):
        raise NotImplementedError

    found = [
        threads.trial(fastnn.Network([2, 3], loss=each).architecture, 5, True)
        for each in ("mse", loss)
    ]
    assert found[0] is found[1]


def test_a_call_that_diverges_is_not_taken_for_a_fast_one(worth_threads, monkeypatch):
    steps = []
    monkeypatch.setattr(
        threads.Trial, "record", lambda trial, count, seconds, taken: steps.append(taken)
    )
    X, y = make_data(WIDE, np.random.default_rng(3), rows=40)
    X[20:] = 1e30
    net = make_network(replace(WIDE, output="identity", loss="mse"), threads=2)
    with pytest.raises(fastnn.DivergenceError):
        net.train(X, np.eye(WIDE.sizes[-1])[y], batch_size=10, learning_rate=1e20, shuffle=False)
    assert 4 not in steps  # beside those of blocks that explain it


def test_a_call_for_one_thread_takes_one():
    assert threads.Trial().choose(1) == 1


def test_a_forked_child_takes_one_thread(monkeypatch):
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert threads.choose(8, 1e15) == 1


@pytest.fixture
def four_cpus(monkeypatch, tmp_path):
    """A machine with four CPUs; the folder of its control group, without limits."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr(threads, "CGROUP", tmp_path)
    monkeypatch.setattr(threads, "GROUPS", tmp_path / "groups")
    return tmp_path


def test_available_are_the_cpus_of_the_affinity(four_cpus):
    assert threads.available() == 4


def test_without_an_affinity_available_are_all_cpus(four_cpus, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert threads.available() == 6


@pytest.mark.parametrize(
    ("content", "count"),
    [
        ("max 100000", 4),
        ("200000 100000\n", 2),
        ("250000 100000", 3),
        ("20000 100000", 1),
        ("6400000 100000", 4),
        ("nonsense", 4),
        ("", 4),
    ],
)
def test_a_quota_of_the_control_group_limits_the_threads(four_cpus, content, count):
    (four_cpus / "cpu.max").write_text(content)
    assert threads.available() == count


@pytest.mark.parametrize(("quota", "count"), [("-1", 4), ("100000", 1), ("150001", 2)])
def test_a_quota_of_an_old_control_group_limits_the_threads(four_cpus, quota, count):
    (four_cpus / "cpu").mkdir()
    (four_cpus / "cpu" / "cpu.cfs_quota_us").write_text(quota)
    (four_cpus / "cpu" / "cpu.cfs_period_us").write_text("100000")
    assert threads.available() == count


@pytest.mark.parametrize(
    ("limits", "count"),
    [
        ({"user/job": "100000 100000"}, 1),
        ({"user": "200000 100000", "user/job": "max 100000"}, 2),
        ({"user": "300000 100000", "user/job": "200000 100000"}, 2),
        ({"user/job/inner": "100000 100000", "other": "100000 100000"}, 4),
    ],
)
def test_quotas_of_the_groups_around_a_process_limit_the_threads(four_cpus, limits, count):
    (four_cpus / "groups").write_text("1:name=systemd:/other\n0::/user/job\n")
    for group, content in limits.items():
        (four_cpus / group).mkdir(parents=True, exist_ok=True)
        (four_cpus / group / "cpu.max").write_text(content)
    assert threads.available() == count


@pytest.mark.parametrize("controllers", ["cpu", "cpu,cpuacct"])
def test_the_quota_of_a_process_in_an_old_control_group_limits_the_threads(four_cpus, controllers):
    (four_cpus / "groups").write_text(f"4:memory:/other\n2:{controllers}:/user/job\n0::/\n")
    group = four_cpus / "cpu" / "user" / "job"
    group.mkdir(parents=True)
    (group / "cpu.cfs_quota_us").write_text("200000")
    (group / "cpu.cfs_period_us").write_text("100000")
    assert threads.available() == 2


@pytest.mark.parametrize("groups", ["", "nonsense", "0::/../elsewhere", "0::/gone"])
def test_groups_that_are_not_there_limit_nothing(four_cpus, groups):
    (four_cpus / "groups").write_text(groups)
    (four_cpus / "cpu.max").write_text("300000 100000")
    assert threads.available() == 3


# Other processes

TRAIN = """
import hashlib, sys
sys.path.insert(0, "tests")
import numba
import numpy as np
from cases import WIDE, make_data, make_network
from fastnn.backends.compiled.machinery import threads
threads.WORTH_A_THREAD = threads.PREDICTING_WORTH_A_THREAD = 1.0
threads.Trial.enabled = False

def trained(seed=7):
    X, y = make_data(WIDE, np.random.default_rng(3))
    net = make_network(WIDE, seed=seed, threads=3)
    net.train(X, y, epochs=2, batch_size=WIDE.batch)
    return hashlib.sha256(net.parameters.tobytes() + net.predict_proba(X).tobytes()).hexdigest()
"""


@pytest.fixture(scope="module")
def digest():
    """What the script above gives, computed here on one thread."""
    X, y = make_data(WIDE, np.random.default_rng(3))
    net = make_network(WIDE, threads=1)
    net.train(X, y, epochs=2, batch_size=WIDE.batch)
    return hashlib.sha256(net.parameters.tobytes() + net.predict_proba(X).tobytes()).hexdigest()


@pytest.mark.parametrize("count", ["1", "3"])
def test_other_processes_with_other_threads_give_the_same_bits(run_python, digest, count):
    printed = run_python("-c", TRAIN + "print(trained())", NUMBA_NUM_THREADS=count)
    assert printed.split() == [digest]


# Numba starts no other threads later.
TWO = {"NUMBA_NUM_THREADS": "2"}
# The package tbb puts its library where nothing looks for it.
LIBRARIES = [str(Path(sys.prefix, "lib")), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
WITH_TBB = {"LD_LIBRARY_PATH": os.pathsep.join(LIBRARIES)}


@pytest.fixture(scope="module")
def layers(run_python):
    """The threading layers that Numba finds."""
    code = "from fastnn.cli.info import layers; print(*layers()[0])"
    return run_python("-c", code, **WITH_TBB).split()


@pytest.fixture(params=LAYERS)
def run_on_layer(request, run_python, layers):
    """Run code after the script above on each of Numba's threading layers that is there."""
    layer = request.param
    if layer not in layers:
        pytest.skip(f"Numba finds no threading layer {layer} here")
    if layer == "tbb" and threads.available() == 1:
        pytest.skip("two threads of TBB on one CPU: Numba hangs at the end of the process")
    check = f"assert numba.threading_layer() == {layer!r}\n"
    return lambda code: run_python(
        "-c", TRAIN + code + check, NUMBA_THREADING_LAYER=layer, **TWO, **WITH_TBB
    ).split()


FORK = """
import os
before = trained()
child = os.fork()
if child == 0:
    try:
        os._exit(0 if trained() == before else 3)
    except BaseException:
        os._exit(4)
assert os.waitpid(child, 0)[1] == 0, "the child failed"
assert trained() == before
print(before)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_trains_and_predicts_as_its_parent(run_on_layer, digest):
    assert run_on_layer(FORK) == [digest]


WORKERS = """
import multiprocessing

def further(net):
    net.train(*make_data(WIDE, np.random.default_rng(3)), epochs=1)
    return net

def run(method, function, values):
    if method == "loky":
        from joblib import Parallel, delayed
        return Parallel(2, backend="loky")(delayed(function)(value) for value in values)
    with multiprocessing.get_context(method).Pool(2) as pool:
        return pool.map(function, values)

if __name__ == "__main__":
    before = trained()
    assert run(sys.argv[1], trained, [7, 7, 8]) == [before, before, trained(8)]
    nets = [make_network(WIDE, seed=seed, threads=3) for seed in (1, 2, 3)]
    for ours, theirs in zip(nets, run(sys.argv[1], further, nets)):
        assert further(ours).parameters.tobytes() == theirs.parameters.tobytes()
    assert trained() == before
    print(before)
"""


@pytest.mark.parametrize("method", [*multiprocessing.get_all_start_methods(), "loky"])
def test_processes_of_a_pool_train_and_networks_go_there_and_back(
    run_python, digest, tmp_path, method
):
    if method == "loky":
        pytest.importorskip("joblib", reason="the extra sklearn brings it")
    (tmp_path / "workers.py").write_text(TRAIN + WORKERS)
    printed = run_python(tmp_path / "workers.py", method, **TWO)
    assert printed.split() == [digest]


@pytest.fixture
def no_switches():
    """Let another thread run only while this one gives the interpreter away."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(100)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("no_switches")
def test_other_python_threads_go_on_while_a_kernel_runs(monkeypatch):
    rng = np.random.default_rng(3)
    X, y = rng.normal(size=(20_000, 300)), rng.integers(0, 10, 20_000)
    net = fastnn.Network([300, 100, 10], seed=0, threads=1)
    net.train(X[:64], y[:64])  # compiled
    counted, done, during = [0], threading.Event(), []
    calls = steps.run.dispatcher

    def count():
        while not done.is_set():
            counted[0] += 1
            time.sleep(0)

    def call(*arguments):
        before = counted[0]
        result = calls(*arguments)
        during.append(counted[0] - before)
        return result

    monkeypatch.setattr(steps.run, "dispatcher", call)
    other = threading.Thread(target=count)
    other.start()
    net.train(X, y)
    net.predict(X)
    done.set()
    other.join()
    assert len(during) > 1
    assert max(during) > 0  # on a busy machine there may be a call without


CONCURRENT = """
import threading
results = {}

def work(seed):
    results[seed] = [trained(seed) for _ in range(10)]

together = [threading.Thread(target=work, args=(seed,)) for seed in (7, 8, 9, 10)]
for thread in together:
    thread.start()
for thread in together:
    thread.join()
for seed in (7, 8, 9, 10):
    assert set(results[seed]) == {trained(seed)}, seed
print(trained())
"""


def test_several_python_threads_train_a_network_each(run_on_layer, digest):
    assert run_on_layer(CONCURRENT) == [digest]


PREDICT = """
import threading
X, y = make_data(WIDE, np.random.default_rng(3))
net = make_network(WIDE, seed=7, threads=3)

def outputs():
    one = np.array([net.predict_one(x) for x in X])
    parts = net.predict_proba(X), one, net.loss_and_gradient(X, y)[1].vector
    return [part.tobytes() for part in parts] + [net.evaluate(X, y)]

def work():
    right.extend(outputs() == expected for _ in range(20))

expected, right = outputs(), []
together = [threading.Thread(target=work) for _ in range(4)]
for thread in together:
    thread.start()
for thread in together:
    thread.join()
print(len(right), all(right))
"""


def test_several_python_threads_predict_with_one_network(run_on_layer):
    assert run_on_layer(PREDICT) == ["80", "True"]


AT_ONCE = """
import threading
X, y = make_data(WIDE, np.random.default_rng(3))
shared, right = make_network(WIDE, seed=7, threads=3), []

def train():
    right.extend(trained() == expected for _ in range(10))

def predict():
    right.extend(shared.predict_proba(X).tobytes() == outputs for _ in range(40))

def all_at_once():
    together = [threading.Thread(target=work) for work in (train, predict, train, predict)]
    for thread in together:
        thread.start()
    for thread in together:
        thread.join()
    return len(right) == 100 and all(right)

expected, outputs = trained(), shared.predict_proba(X).tobytes()
print(all_at_once())
"""
FORK_AFTERWARDS = """
import os
right.clear()
child = os.fork()
if child == 0:
    try:
        os._exit(0 if all_at_once() else 3)
    except BaseException:
        os._exit(4)
print(os.waitpid(child, 0)[1], all_at_once())
"""


def test_threads_that_train_and_that_predict_may_run_at_once(run_on_layer):
    assert run_on_layer(AT_ONCE) == ["True"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_after_threads_ran_at_once_a_forked_child_runs_threads_too(run_on_layer):
    printed = run_on_layer(AT_ONCE + FORK_AFTERWARDS)  # with TBB, Numba's own warning, too
    assert (printed[0], *printed[-2:]) == ("True", "0", "True")


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_a_second_thread_that_trains_a_network_is_refused(backend):
    X, y = make_data(WIDE, np.random.default_rng(3))
    net, undisturbed = (make_network(WIDE, backend=backend) for _ in range(2))
    begun, go_on = threading.Event(), threading.Event()

    def wait(row):
        begun.set()
        assert go_on.wait(60)

    first = threading.Thread(
        target=net.train, args=(X, y), kwargs={"epochs": 2, "callbacks": [wait]}, name="the first"
    )
    first.start()
    assert begun.wait(60)
    before = net.parameters.copy()
    with pytest.raises(RuntimeError, match=r"^Network\(.* in thread 'the first'"):
        net.train(X, y, epochs=1)
    np.testing.assert_array_equal(net.parameters, before)
    go_on.set()
    first.join()
    undisturbed.train(X, y, epochs=2)
    np.testing.assert_array_equal(net.parameters, undisturbed.parameters)


def test_a_callback_that_trains_its_network_is_refused():
    X, y = make_data(WIDE, np.random.default_rng(3))
    net = make_network(WIDE)
    with pytest.raises(RuntimeError, match="already being trained"):
        net.train(X, y, epochs=1, callbacks=[lambda row: net.train(X, y, epochs=1)])
    net.train(X, y, epochs=1)


def test_a_copy_of_a_network_in_training_can_be_trained():
    X, y = make_data(WIDE, np.random.default_rng(3))
    net, copies = make_network(WIDE), []

    def train_a_copy(row):
        copies.append(copy.deepcopy(net))
        copies[-1].train(X, y, epochs=1)

    net.train(X, y, epochs=1, callbacks=[train_a_copy])
    assert copies[0].epochs_trained == 2
