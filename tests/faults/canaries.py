"""Fences and canaries around every array, so that nothing reads or writes out of bounds unseen.

``CANARIES=end python -m pytest``: NumPy takes memory for arrays from an allocator that puts the end
of each, or with ``start`` its start, against a page that must not be touched: a kernel that does
ends the process with a traceback. On the other side are bytes that must stay as they are, and so
there are between the parts of the kernels' work array; who reads them as floats reads NaNs. New
memory is full of them, too, unless zeros were asked for.
"""

from __future__ import annotations

import contextvars
import ctypes
import functools
import gc
import importlib
import mmap
import sys
import threading

import numba
import numpy as np
import pytest
from numba import cfunc

from fastnn.backends.compiled import plan
from fastnn.backends.compiled.kernels import layout
from fastnn.backends.compiled.machinery.arrays import elements
from fastnn.model.parameters import CACHE_LINE, aligned_zeros

PAGE = mmap.PAGESIZE
CANARY = 0xFF  # four or eight of these are a NaN
MOST_PAGES = 16  # of arrays whose regions are used again: to map one takes longer than most tests
GAP = 16 * CACHE_LINE  # bytes between parts of the work array
MOST_KEPT = 1 << 28  # bytes of work arrays
NO_ACCESS, READ_AND_WRITE = 0, mmap.PROT_READ | mmap.PROT_WRITE
PRIVATE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS

# The allocator. It is compiled, as NumPy frees arrays while exceptions are on their way, which
# would get lost in Python. An array lies in pages of its own: before them are one with its size and
# one of no access, behind them another of no access. In place of the size of an array that is gone
# stands the next such region of as many pages.


class State(ctypes.Structure):
    """What the allocator's functions share."""

    _fields_ = [(name, ctypes.c_int64) for name in ("at_end", "allocated", "broken")]
    _fields_ += [("unused", ctypes.c_int64 * (MOST_PAGES + 1))]


AT_END, ALLOCATED, BROKEN, UNUSED = range(4)
STATE = UNUSED + MOST_PAGES + 1


def of_libc(name, arguments, result=ctypes.c_ssize_t):
    """Return a function of addresses and sizes."""
    function = getattr(ctypes.CDLL(None), name)
    function.argtypes, function.restype = [ctypes.c_ssize_t] * arguments, result
    return function


map_pages, protect, unmap = of_libc("mmap", 6), of_libc("mprotect", 3), of_libc("munmap", 2)
fill, copy = of_libc("memset", 3), of_libc("memcpy", 3)
compare = of_libc("memcmp", 3, ctypes.c_int)


@numba.njit
def integers(address, count):
    return elements(address, count, np.int64(0))


@numba.njit
def whole_pages(size):
    return (size + PAGE - 1) // PAGE * PAGE


@numba.njit
def region_of(address):
    return address // PAGE * PAGE - 2 * PAGE


@numba.njit
def intact(address, count):
    # All bytes are the same if each is what the next is.
    first = elements(address, 1, np.uint8(0))
    return count == 0 or (first[0] == CANARY and compare(address, address + 1, count - 1) == 0)


@numba.njit
def take(context, size):
    size = max(size, 1)
    length = whole_pages(size)
    pages = length // PAGE
    state = integers(context, STATE)
    region = state[UNUSED + pages] if pages <= MOST_PAGES else 0
    if region != 0:
        state[UNUSED + pages] = integers(region, 1)[0]
    else:
        region = map_pages(0, length + 3 * PAGE, NO_ACCESS, PRIVATE, -1, 0)
        if region == -1:
            return 0
        protect(region, PAGE, READ_AND_WRITE)
        protect(region + 2 * PAGE, length, READ_AND_WRITE)
    begin = region + 2 * PAGE
    integers(region, 1)[0] = size
    fill(begin, CANARY, length)
    state[ALLOCATED] += 1
    return begin + length - size if state[AT_END] else begin


@numba.njit
def give_back(context, address):
    region = region_of(address)
    size = integers(region, 1)[0]
    length = whole_pages(size)
    begin = region + 2 * PAGE
    behind = address + size
    state = integers(context, STATE)
    if not (intact(begin, address - begin) and intact(behind, begin + length - behind)):
        state[BROKEN] += 1
    pages = length // PAGE
    if pages > MOST_PAGES:
        unmap(region, length + 3 * PAGE)
        return
    integers(region, 1)[0] = state[UNUSED + pages]
    state[UNUSED + pages] = region


@cfunc("int64(int64, int64)")
def malloc(context, size):
    return take(context, size)


@cfunc("int64(int64, int64, int64)")
def calloc(context, count, size):
    address = take(context, count * size)
    if address != 0:
        fill(address, 0, count * size)
    return address


@cfunc("int64(int64, int64, int64)")
def realloc(context, address, size):
    new = take(context, size)
    if new != 0 and address != 0:
        copy(new, address, min(size, integers(region_of(address), 1)[0]))
        give_back(context, address)
    return new


@cfunc("void(int64, int64, int64)")
def free(context, address, size):
    if address != 0:
        give_back(context, address)


# NumPy's side of it, see NEP 49.


class Allocator(ctypes.Structure):
    """``PyDataMemAllocator``."""

    _fields_ = [(n, ctypes.c_void_p) for n in ("context", "malloc", "calloc", "realloc", "free")]


class Handler(ctypes.Structure):
    """``PyDataMem_Handler``."""

    _fields_ = [
        ("name", ctypes.c_char * 127),
        ("version", ctypes.c_uint8),
        ("allocator", Allocator),
    ]


SET_HANDLER = 304  # the place of PyDataMem_SetHandler in NumPy's C interface


def allocate_by(handler):
    """Let NumPy use a handler in this thread, and those that it starts."""
    core = "numpy._core" if np.lib.NumpyVersion(np.__version__) >= "2.0.0" else "numpy.core"
    python = ctypes.pythonapi
    pointer_in = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
        ("PyCapsule_GetPointer", python)
    )
    capsule = ctypes.PYFUNCTYPE(
        ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p
    )(("PyCapsule_New", python))
    functions = pointer_in(importlib.import_module(f"{core}._multiarray_umath")._ARRAY_API, None)
    address = ctypes.cast(functions, ctypes.POINTER(ctypes.c_void_p))[SET_HANDLER]
    set_handler = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(address)
    set_handler(capsule(ctypes.addressof(handler), b"mem_handler", None))

    start = threading.Thread.start

    def start_likewise(thread):
        thread.run = functools.partial(contextvars.copy_context().run, thread.run)
        start(thread)

    threading.Thread.start = start_likewise


# The kernels' arrays that lie within others.


def exactly_aligned_zeros(size, dtype):
    """Do as `parameters.aligned_zeros`, without room to spare: the fence follows."""
    lines = -(-size * dtype.itemsize // CACHE_LINE)
    buffer = np.zeros(lines * CACHE_LINE // dtype.itemsize, dtype)
    assert size == 0 or buffer.ctypes.data % CACHE_LINE == 0
    return buffer[:size]


class Workspaces:
    """Makes work arrays with gaps between their parts, and looks at these later."""

    def __init__(self):
        self.make = plan.workspace
        self.kept = []
        self.size = 0

    def __call__(self, *arguments, **options):
        layers, work = self.make(*arguments, **options)
        starts = np.unique([layers[name] for name in layout.PLACES])
        starts = starts[starts > 0]
        gap = GAP // work.itemsize
        for name in layout.PLACES:
            layers[name] += gap * np.searchsorted(starts, layers[name], side="right")
        spaced = exactly_aligned_zeros(len(work) + gap * len(starts), work.dtype)
        gaps = starts + gap * np.arange(len(starts))
        for begin in gaps:
            spaced[begin : begin + gap].view(np.uint8)[:] = CANARY
        self.kept.append((spaced, gaps, gap))
        self.size += spaced.nbytes
        if self.size > MOST_KEPT:
            self.check()
        return layers, spaced

    def check(self):
        kept, self.kept, self.size = self.kept, [], 0
        for work, gaps, gap in kept:
            for begin in gaps:
                assert (work[begin : begin + gap].view(np.uint8) == CANARY).all()


class Plugin:
    """Puts all of it in place for pytest, and looks at the canaries after each test."""

    def __init__(self, side):
        self.state = State(at_end={"start": False, "end": True}[side])
        functions = (function.address for function in (malloc, calloc, realloc, free))
        self.handler = Handler(b"canaries", 1, Allocator(ctypes.addressof(self.state), *functions))
        allocate_by(self.handler)
        self.workspaces = plan.workspace = Workspaces()
        for module in list(sys.modules.values()):
            if getattr(module, "aligned_zeros", None) is aligned_zeros:
                module.aligned_zeros = exactly_aligned_zeros

    def pytest_runtest_teardown(self):
        self.workspaces.check()
        broken, self.state.broken = self.state.broken, 0
        assert broken == 0, f"{broken} arrays were written to out of bounds"

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session):
        gc.collect()
        if hasattr(session.config, "workeroutput"):  # of pytest-xdist
            session.config.workeroutput["canaries"] = self.state.allocated, self.state.broken
        if self.state.broken:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node):
        # A worker that crashed has failed the run already.
        allocated, broken = getattr(node, "workeroutput", {}).get("canaries", (0, 0))
        self.state.allocated += allocated
        self.state.broken += broken

    def pytest_terminal_summary(self, terminalreporter):
        line = f"canaries: {self.state.allocated:,} arrays; {self.state.broken} found broken late"
        terminalreporter.write_line(line)
