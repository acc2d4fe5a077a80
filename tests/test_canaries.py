"""The canaries and fences around arrays: that they notice what they are there for."""

from __future__ import annotations

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
from fastnn.backends.compiled.machinery.vector_ir import pointer_to

plugin = canaries.Plugin(sys.argv[1])

@numba.njit
def read(address):
    return numba.carray(pointer_to(address, np.uint8(0)), 1)[0]

@numba.njit
def write(address):
    numba.carray(pointer_to(address, np.uint8(0)), 1)[0] = 7

def around(array):
    begin = array.ctypes.data
    return {"start": begin - 1, "end": begin + array.nbytes}
"""


@pytest.mark.parametrize("side", ["start", "end"])
def test_a_read_beyond_the_fence_ends_the_process(run_python, side):
    code = """
import os, signal
for size in (1, 1000, 1024, 5000):
    array = np.ones(size, np.float32)
    read(array.ctypes.data)
    read(array.ctypes.data + array.nbytes - 1)
    if child := os.fork():
        signals = signal.SIGSEGV, signal.SIGBUS
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) in [-s for s in signals]
    else:
        read(around(array)[sys.argv[1]])
        os._exit(0)
"""
    assert run_python("-c", BEGIN + code, side) == ""


@pytest.mark.parametrize(("side", "other"), [("start", "end"), ("end", "start")])
def test_a_write_on_the_other_side_is_found_when_the_array_goes(run_python, side, other):
    code = f"""
array = np.arange(1000)
array += 1
write(around(array)[{other!r}])
before = plugin.state.broken
del array
print(before, plugin.state.broken)
try:
    plugin.pytest_runtest_teardown()
except AssertionError as error:
    print(error)
"""
    assert run_python("-c", BEGIN + code, side) == "0 1\n1 arrays were written to out of bounds\n"


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


def test_a_write_between_parts_of_the_work_array_is_found(run_python):
    code = """
net = Network([20, 30, 4], seed=0)
layers, work = plan.workspace(net.architecture, 8, plan.Task(8), slopes=True)
plugin.pytest_runtest_teardown()
layers, work = plan.workspace(net.architecture, 8, plan.Task(8), slopes=True)
work[layers["outputs"][1] - 1] = 0
try:
    plugin.pytest_runtest_teardown()
except AssertionError:
    print("found")
"""
    assert run_python("-c", BEGIN + code, "end") == "found\n"


def test_arrays_hold_what_they_should(run_python):
    code = """
assert np.isnan(np.empty(100)).all()
assert not np.zeros(5000).any()
assert np.arange(10000).sum() == 49995000
array = np.arange(5)
array.resize(2000, refcheck=False)
assert array.sum() == 10
rows = np.fromiter(range(3000), float)
assert rows.sum() == 4498500
"""
    for side in ("start", "end"):
        assert run_python("-c", BEGIN + code, side) == ""
