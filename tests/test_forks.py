"""Forks while another thread imports, compiles or loads what the child needs, too."""

from __future__ import annotations

import os

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

# A child that hangs ends with the status 1; one that would look for no garbage with 3.
START = """
import faulthandler, gc, os, random, sys, threading, time
import numpy as np
import fastnn

def trained():
    X = np.random.default_rng(0).standard_normal((40, 4), np.float32)
    net = fastnn.Network([4, 5, 2], seed=1)
    net.train(X, (X[:, 0] > 0).astype(int), epochs=1)
    return net.parameters.tobytes()

def fork(work=trained):
    child = os.fork()
    if child == 0:
        faulthandler.dump_traceback_later(60, exit=True)
        try:
            collects = gc.isenabled()
            work()
            os._exit(0 if collects else 3)
        except BaseException:
            os._exit(4)
    return child

def status_of(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def in_a_thread(work):
    thread = threading.Thread(target=work)
    thread.start()
    return thread
"""

WHILE_IMPORTING = """
thread = in_a_thread(trained)
while "numba" not in sys.modules:
    time.sleep(0.001)
print(status_of(fork()))
thread.join()
"""


def test_a_child_forked_while_a_thread_imports_numba_trains(run_python):
    assert run_python("-c", START + WHILE_IMPORTING) == "0\n"


WHILE_LOADING = """
from fastnn.backends.compiled.machinery import cache
load, within, main = cache._Entries.load, threading.Event(), threading.main_thread()

def load_slowly(entries, key):
    if threading.current_thread() is not main:
        within.set()
        time.sleep(0.05)
    return load(entries, key)

cache._Entries.load = load_slowly
thread = in_a_thread(trained)
within.wait()
child = fork()
goes_on = thread.is_alive()
print(status_of(child), goes_on)
thread.join()
"""


def test_a_child_forked_while_a_thread_gets_its_kernels_trains_and_waits_for_one_of_them(
    run_python,
):
    assert run_python("-c", START + WHILE_LOADING) == "0 True\n"


WHILE_ANOTHER_COMPILES = """
import llvmlite.binding
from numba.core.compiler_lock import global_compiler_lock
from fastnn import backends
backends.get("numba")
lock = {"Numba": global_compiler_lock, "LLVM": llvmlite.binding.ffi.lib._lock}[sys.argv[1]]
within = threading.Event()

def compile():
    with lock:
        within.set()
        time.sleep(0.1)

thread = in_a_thread(compile)
within.wait()
print(status_of(fork()))
thread.join()
"""


@pytest.mark.parametrize("lock", ["Numba", "LLVM"])
def test_a_child_forked_while_a_thread_compiles_functions_of_the_users_trains(run_python, lock):
    assert run_python("-c", START + WHILE_ANOTHER_COMPILES, lock) == "0\n"


AMID = """
from fastnn.backends.compiled.machinery import cache
load, children = cache._Entries.load, []

def load_and_fork(entries, key):
    if not children:
        children.append(None)
        children[0] = fork()
    return load(entries, key)

cache._Entries.load = load_and_fork
trained()
print(status_of(children[0]), gc.isenabled())
"""


def test_a_child_forked_by_what_compiling_calls_trains_and_looks_for_garbage(run_python):
    assert run_python("-c", START + AMID) == "0 True\n"


INTERRUPTED = """
import signal
from fastnn.backends import forks
raised = []
sys.unraisablehook = lambda unraisable: raised.append(unraisable.exc_type.__name__)
within, done = threading.Event(), threading.Event()

def import_something():
    with forks.held_off():
        within.set()
        done.wait()

thread = in_a_thread(import_something)
within.wait()
signal.signal(signal.SIGALRM, signal.default_int_handler)
signal.setitimer(signal.ITIMER_REAL, 0.05)
child = fork(lambda: None)
done.set()
thread.join()
print(status_of(child), raised)
in_a_thread(trained).join()
print(status_of(fork()))
"""


def test_ctrl_c_lets_a_waiting_fork_go_on_and_keeps_no_lock(run_python):
    assert run_python("-c", START + INTERRUPTED).split("\n") == ["0 ['KeyboardInterrupt']", "0", ""]


def test_where_there_are_no_hooks_for_forks_networks_train(run_python):
    code = "import os; del os.fork, os.register_at_fork" + START + "trained(); print('trained')"
    assert run_python("-c", code) == "trained\n"


# The children compile a function that the parent does not, and that they do not load.
COLD = """
from fastnn import backends

def compile():
    backends.get("numba")
    from fastnn.backends.compiled import functions
    from fastnn.backends.compiled.kernels import turning
    from fastnn.backends.compiled.machinery import cache
    cache._Entries.load = lambda entries, key: None
    functions.door(turning.turn, np.dtype("f8"))

thread, moments, found = in_a_thread(trained), random.Random(0), []
for _ in range(8):
    time.sleep(moments.uniform(0, 1))
    found.append(status_of(fork(compile)))
print(*found, status_of(fork()))
thread.join()
"""


@pytest.mark.long
def test_children_forked_at_any_moment_of_a_cold_start_compile(run_python, tmp_path):
    printed = run_python("-c", START + COLD, NUMBA_CACHE_DIR=str(tmp_path))
    assert printed.split() == ["0"] * 9
