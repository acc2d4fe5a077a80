"""The canaries and fences around arrays: that they notice what they are there for."""

from __future__ import annotations

import json
import re
import signal
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="constants of mmap")

BEGIN = """
import sys
sys.path.insert(0, "tests")
from faults import canaries
import numba, numpy as np
from fastnn import Network
from fastnn.backends.compiled import plan
from fastnn.backends.compiled.machinery.arrays import elements

plugin = canaries.Plugin(sys.argv[1])

@numba.njit
def read(address):
    return elements(address, 1, np.uint8(0))[0]

@numba.njit
def write(address):
    elements(address, 1, np.uint8(0))[0] = 7

def around(array):
    begin = array.ctypes.data
    return {"start": begin - 1, "end": begin + array.nbytes}

def complaint():
    try:
        plugin.pytest_runtest_teardown()
    except AssertionError as error:
        return str(error) or "a part of the work array"
"""

# All that a process of one side can be asked, as to start one takes longer than the answers.
ASK = """
import json, os

def end_of_a_read_beyond(size):
    array = np.ones(size, np.float32)
    read(array.ctypes.data)
    read(array.ctypes.data + array.nbytes - 1)
    if child := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    read(around(array)[sys.argv[1]])
    os._exit(0)

def writes_on_the_other_side():
    array = np.arange(1000)
    array += 1
    write(around(array)[{"start": "end", "end": "start"}[sys.argv[1]]])
    before = plugin.state.broken
    del array
    return [before, plugin.state.broken, complaint()]

def writes_between_parts():
    net = Network([20, 30, 4], seed=0)
    arguments = net.architecture, 8, plan.Task(8), True
    plan.workspace(*arguments)
    before = complaint()
    layers, work = plan.workspace(*arguments)
    work[layers["outputs"][1] - 1] = 0
    return [before, complaint()]

def contents():
    resized = np.arange(5)
    resized.resize(2000, refcheck=False)
    rows = np.fromiter(range(3000), float)
    return {
        "empty": bool(np.isnan(np.empty(100)).all()),
        "zeros": bool(np.zeros(5000).any()),
        "arange": int(np.arange(10000).sum()),
        "resized": int(resized.sum()),
        "fromiter": float(rows.sum()),
    }

print(json.dumps({
    "read": [end_of_a_read_beyond(size) for size in (1, 1000, 1024, 5000)],
    "write": writes_on_the_other_side(),
    "between": writes_between_parts(),
    "contents": contents(),
}))
"""


@pytest.fixture(scope="module", params=["start", "end"])
def answers(request, run_python):
    """What a process with fences on this side says."""
    return json.loads(run_python("-c", BEGIN + ASK, request.param))


def test_a_read_beyond_the_fence_ends_the_process(answers):
    assert len(answers["read"]) == 4
    assert set(answers["read"]) <= {-signal.SIGSEGV, -signal.SIGBUS}


def test_a_write_on_the_other_side_is_found_when_the_array_goes(answers):
    assert answers["write"] == [0, 1, "1 arrays were written to out of bounds"]


def test_a_write_between_parts_of_the_work_array_is_found(answers):
    assert answers["between"] == [None, "a part of the work array"]


def test_arrays_hold_what_they_should(answers):
    assert answers["contents"] == {
        "empty": True,
        "zeros": False,
        "arange": 49995000,
        "resized": 10,
        "fromiter": 4498500,
    }


def test_an_array_that_is_found_broken_after_the_last_test_fails_the_run(tmp_path, run_python):
    (tmp_path / "test_nothing.py").write_text("def test_nothing():\n    pass\n")
    code = f"""
import pytest

class Writer:
    def pytest_collection_finish(self, session):
        session.array = np.arange(1000)
        session.array += 1
        write(around(session.array)["start"])

    def pytest_sessionfinish(self, session):
        del session.array

arguments = [{str(tmp_path)!r}, "-q", "-p", "no:cacheprovider"]
print("exit", int(pytest.main(arguments, plugins=[Writer(), plugin])))
plugin.state.broken = 0
print("exit", int(pytest.main(arguments, plugins=[plugin])))
"""
    printed = run_python("-c", BEGIN + code, "end")
    assert [line for line in printed.splitlines() if "exit" in line] == ["exit 1", "exit 0"]


# With pytest-xdist the workers have the plugin, and so has the process that they report to.
CONFTEST = """
import os, sys
sys.path.insert(0, "tests")
from faults import canaries
import numba, numpy as np
from fastnn.backends.compiled.machinery.arrays import elements

@numba.njit
def byte(address):
    return elements(address, 1, np.uint8(0))

def write_before():
    array = np.arange(1000) + 1
    byte(array.ctypes.data - 1)[0] = 7

def pytest_configure(config):
    config.pluginmanager.register(canaries.Plugin("end"))

def pytest_sessionfinish(session):
    if "LATE" in os.environ and hasattr(session.config, "workerinput"):
        write_before()
"""
SOUND = """
def test_nothing():
    pass
"""
BROKEN = """
import conftest, numpy as np

def test_write():
    conftest.write_before()

def test_read():
    array = np.arange(1000)
    assert conftest.byte(array.ctypes.data + array.nbytes)[0]
"""


@pytest.fixture
def run_by_workers(tmp_path, run_python):
    """Run a file of tests by so many workers; return what pytest prints."""

    def run(count, tests, **environment):
        (tmp_path / "conftest.py").write_text(CONFTEST)
        (tmp_path / "test_of_arrays.py").write_text(tests)
        arguments = [str(tmp_path), "-q", "-n", str(count), "-p", "no:cacheprovider"]
        code = f"import pytest; print('exit', int(pytest.main({arguments})))"
        return run_python("-c", code, **environment)

    pytest.importorskip("xdist")
    return run


@pytest.mark.long
def test_what_is_broken_in_a_worker_fails_the_run(run_by_workers):
    printed = run_by_workers(2, BROKEN)
    assert "1 arrays were written to out of bounds" in printed
    assert re.search("worker 'gw[01]' crashed while running '.*::test_read'", printed)
    assert "exit 1" in printed


def test_what_is_found_broken_after_the_last_test_of_a_worker_fails_the_run(run_by_workers):
    printed = run_by_workers(1, SOUND, LATE="")
    assert "1 passed" in printed
    assert "; 1 found broken late" in printed
    assert "exit 1" in printed
