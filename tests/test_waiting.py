"""Counters of how long threads work and wait, behind ``FASTNN_COUNT_WAITING``."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from cases import WIDE, make_data, make_network

from fastnn.backends.compiled import plan
from fastnn.backends.compiled.machinery.machine import MACHINE

pytestmark = pytest.mark.skipif(MACHINE.counts, reason="compares with kernels that do not count")
EPOCHS = 3
COUNTED = f"""
import hashlib, json, sys
sys.path.insert(0, "tests")
import numpy as np
from cases import WIDE, make_data, make_network
from fastnn.backends.compiled import plan
from fastnn.backends.compiled.machinery import threads
threads.WORTH_A_THREAD = threads.PREDICTING_WORTH_A_THREAD = 1.0
threads.Trial.enabled = False
X, y = make_data(WIDE, np.random.default_rng(3))
found = {{}}
for count in (1, 3):
    net = make_network(WIDE, threads=count)
    net.train(X, y, epochs={EPOCHS}, batch_size=WIDE.batch)
    found[count] = hashlib.sha256(net.parameters.tobytes()).hexdigest()
counts = {{each.task.threads: each.counts.tolist() for each in plan.counted if each.task.updating}}
print(json.dumps([found, counts]))
"""


@pytest.fixture(scope="module")
def counted(run_python):
    """The digests of parameters, and what was counted, by the number of threads."""
    return json.loads(run_python("-c", COUNTED, FASTNN_COUNT_WAITING="1"))


@pytest.mark.parametrize("count", [1, 3])
def test_counting_changes_no_bits(counted, count):
    X, y = make_data(WIDE, np.random.default_rng(3))
    net = make_network(WIDE, threads=1)
    net.train(X, y, epochs=EPOCHS, batch_size=WIDE.batch)
    assert counted[0][str(count)] == hashlib.sha256(net.parameters.tobytes()).hexdigest()


@pytest.mark.parametrize("count", [1, 3])
def test_every_share_of_every_phase_is_counted(counted, count):
    *phases, _ = np.array(counted[1][str(count)])
    steps = EPOCHS * -(-len(make_data(WIDE, np.random.default_rng(3))[0]) // WIDE.batch)
    assert [phase[:, 3].sum() for phase in phases] == [count * steps] * len(phases)


@pytest.mark.parametrize("count", [1, 3])
def test_work_is_counted_and_no_time_is_negative(counted, count):
    counts = np.array(counted[1][str(count)])
    assert counts.min() >= 0
    assert (counts[:-1, :, 0].sum(axis=1) > 0).all()


def test_without_the_switch_nothing_is_counted():
    X, y = make_data(WIDE, np.random.default_rng(3))
    make_network(WIDE).train(X, y, epochs=1, batch_size=WIDE.batch)
    assert plan.counted == []


def test_another_value_of_the_switch_is_named(run_python):
    code = "import fastnn.backends.compiled.machinery.machine"
    printed = run_python(
        "-c", f"try:\n {code}\nexcept ValueError as e: print(e)", FASTNN_COUNT_WAITING="yes"
    )
    assert printed == "FASTNN_COUNT_WAITING must be 0 or 1, got 'yes'\n"
