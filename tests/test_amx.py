"""Products by AMX, whose instructions are emulated, and the code for CPUs that have them.

No test here has run on such a CPU.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cases import DTYPES
from conftest import ROOT

from fastnn.backends.compiled.machinery import amx, amx_emulation, machine
from fastnn.model.parameters import aligned_zeros
from fastnn.precision import to_bfloat16

DTYPE = "float32"

# The instructions, emulated

TILES = 8


class State:
    """Emulated tiles, with shapes: for each tile, rows and bytes in a row."""

    def __init__(self, *shapes):
        self.memory = aligned_zeros(amx_emulation.STATE_BYTES // 4, np.dtype(DTYPE))
        self.address = self.memory.ctypes.data
        self.tiles = self.memory[: TILES * 256].reshape(TILES, 16, 16)
        given = np.zeros(64, np.uint8)
        given[0] = 1
        for tile, (rows, row_bytes) in enumerate(shapes):
            given[16 + 2 * tile], given[48 + tile] = row_bytes, rows
        amx_emulation.configure(self.address, given.ctypes.data)


def flushed(x):
    """Return a number in float32, or zero if it is below the smallest normal one with 24 bits."""
    x = np.float64(x)
    if abs(x) < 1:  # rounded where numbers of 24 bits are normal
        x = np.float64(np.float32(x * 2.0**100)) / 2.0**100
    return np.float32(x if not abs(x) < np.finfo(np.float32).tiny else np.copysign(0, x))


def fused(a, b, c):
    """Return a * b + c in float32; in float64 the product is exact, and sums hardly rounded."""
    return flushed(np.float64(flushed(a)) * np.float64(flushed(b)) + np.float64(c))


def by_the_manual(c, a, b):
    """Return what TDPBF16PS does to tiles, in loops as in the manual."""
    a, b = (words.view(np.uint16).astype(np.uint32) << 16 for words in (a, b))
    a, b = a.view(np.float32), b.view(np.float32)
    c = c.copy()
    for m in range(len(c)):
        temporary = np.zeros(2 * c.shape[1], np.float32)
        for k in range(a.shape[1] // 2):
            for n in range(c.shape[1]):
                for half in (0, 1):
                    place = 2 * n + half
                    temporary[place] = fused(a[m, 2 * k + half], b[k, place], temporary[place])
        for n in range(c.shape[1]):
            both = flushed(temporary[2 * n] + temporary[2 * n + 1])
            c[m, n] = flushed(flushed(c[m, n]) + both)
    return c


def words(numbers):
    """Return pairs of numbers of bfloat16 as words."""
    halves = np.array(numbers, np.float32).view(np.uint32) >> 16
    return halves.astype(np.uint16).view(np.float32)


def multiplied(c, a, b):
    """Return what the emulated instruction makes of tiles."""
    state = State(*((len(tile), tile.strides[0]) for tile in (c, a, b)))
    for tile, values in enumerate((c, a, b)):
        amx_emulation.load(state.address, tile, values.ctypes.data, values.strides[0])
    amx_emulation.multiply(state.address, 0, 1, 2)
    got = np.empty_like(c)
    amx_emulation.store(state.address, 0, got.ctypes.data, got.strides[0])
    return got


def words_of(rng, rows, count, special=()):
    """Return words of numbers of many sizes, some of them special."""
    numbers = rng.normal(size=(rows, 2 * count)) * 2.0 ** rng.integers(-8, 9, (rows, 2 * count))
    for value in special:
        numbers[rng.integers(rows), rng.integers(2 * count)] = value
    return words(to_bfloat16(numbers.astype(np.float32)))


SUBNORMAL, SMALL = 2.0**-130, 2.0**-70  # the product of two small ones is subnormal
SPECIAL = {
    "plain": (),
    "subnormal": (SUBNORMAL, -SUBNORMAL, *[SMALL] * 40),
    "infinite": (np.inf, -np.inf),
    "nan": (np.nan,),
}


@pytest.mark.parametrize("special", SPECIAL)
@pytest.mark.parametrize(("rows", "depth", "columns"), [(16, 16, 16), (3, 5, 7), (1, 1, 1)])
def test_the_emulated_product_of_tiles_is_that_of_the_manual(rows, depth, columns, special):
    rng = np.random.default_rng(0)
    state = State((rows, 4 * columns), (rows, 4 * depth), (depth, 4 * columns))
    a = words_of(rng, rows, depth, SPECIAL[special])
    b = words_of(rng, depth, columns, SPECIAL[special])
    c = rng.normal(size=(rows, columns)).astype(np.float32)
    c[0, 0] = SUBNORMAL
    for tile, values in enumerate((c, a, b)):
        amx_emulation.load(state.address, tile, values.ctypes.data, values.strides[0])
    amx_emulation.multiply(state.address, 0, 1, 2)
    got = np.full((rows + 1, columns), 7, np.float32)
    amx_emulation.store(state.address, 0, got.ctypes.data, got.strides[0])
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(got[:-1], by_the_manual(c, a, b))
    assert (got[-1] == 7).all()


HALF = 2.0**-63  # its square is the smallest normal number


@pytest.mark.parametrize(
    ("start", "a", "b", "want"),
    [
        (1.0, (2, 3), (5, 7), 32.0),
        (HALF**2, (1.5 * HALF, 1.25 * HALF), (HALF, -HALF), HALF**2),  # what halves leave
        (-1.5 * HALF**2, (HALF, 1), (HALF, 0), 0.0),  # the sum
        (1.5 * HALF**2 / 2, (HALF, 1), (HALF, 0), HALF**2),  # what the sum starts from
        (0.0, (HALF, 1), (HALF / 2, 0), 0.0),  # a product
    ],
    ids=["usual", "halves", "sum", "start", "product"],
)
def test_results_below_the_normal_numbers_are_zero_at_every_step(start, a, b, want):
    assert multiplied(np.full((1, 1), start, np.float32), words([a]), words([b])) == want


@pytest.mark.parametrize(("term", "want"), [(0.5, HALF**2), (0.75, 0), (1, 0), (1.25, 0)])
def test_results_are_below_the_normal_numbers_before_those_below_round_them_up(term, want):
    # Of the smallest normal number, a part of 2**-24 is taken away: half a step of those below.
    c = np.zeros((1, 1), np.float32)
    a, b = words([[HALF, 0, -term * HALF, 0]]), words([[HALF, 0], [HALF * 2.0**-24, 0]])
    assert multiplied(c, a, b) == by_the_manual(c, a, b) == want


def test_emulated_tiles_are_loaded_and_stored_by_their_shapes():
    state = State((16, 64), (5, 12))
    source = np.arange(1, 16 * 20 + 1, dtype=np.float32).reshape(16, 20)
    for tile in (0, 1):
        state.tiles[tile] = np.nan
        amx_emulation.load(state.address, tile, source.ctypes.data, source.strides[0])
    np.testing.assert_array_equal(state.tiles[0], source[:, :16])
    np.testing.assert_array_equal(state.tiles[1, :5, :3], source[:5, :3])
    assert np.count_nonzero(state.tiles[1]) == 15
    target = np.zeros((16, 20), np.float32)
    amx_emulation.store(state.address, 1, target.ctypes.data, target.strides[0])
    np.testing.assert_array_equal(target[:5, :3], source[:5, :3])
    assert np.count_nonzero(target) == 15
    amx_emulation.zero(state.address, 0)
    assert not state.tiles[0].any()
    amx_emulation.release(state.address)
    assert not state.memory[: TILES * 256].any()


BEGIN = """
import sys
sys.path.insert(0, "tests")
from test_amx import State, amx_emulation

state = State((16, 64), (16, 64), (16, 64))
amx_emulation.multiply(state.address, 0, 1, 2)
print("so far", flush=True)
"""
REFUSED = {
    "tiles without shapes": "s = state.address; amx_emulation.release(s); amx_emulation.zero(s, 0)",
    "a tile without rows": "amx_emulation.zero(state.address, 3)",
    "a shape of rows without length": "State((16, 0))",
    "a shape of more rows than there are": "State((17, 64))",
    "a length that is not one of words": "amx_emulation.zero(State((16, 63)).address, 0)",
    "depths that differ": "amx_emulation.multiply(State((2, 8), (2, 8), (3, 8)).address, 0, 1, 2)",
}


@pytest.mark.parametrize("code", REFUSED.values(), ids=REFUSED)
def test_what_a_cpu_refuses_ends_the_process_in_the_emulation(code):
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + code],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.stdout, done.returncode == 0) == ("so far\n", False), done.stderr
    assert "Traceback" not in done.stderr


# Whether it is used


@pytest.mark.parametrize(
    ("asked", "there", "permitted", "available", "said"),
    [
        ("", False, False, False, ""),
        ("0", False, False, False, ""),
        ("1", False, False, False, "there is no AMX for FASTNN_AMX=1"),
        ("", True, True, False, "AMX is there and not used, see FASTNN_AMX"),
        ("0", True, True, False, "AMX is there and not used, see FASTNN_AMX"),
        ("1", True, False, False, "AMX is there and not used: Linux does not let this process"),
        ("1", True, True, True, "AMX is used, as FASTNN_AMX=1 asks"),
    ],
)
def test_amx_is_used_where_it_is_there_asked_for_and_permitted(
    monkeypatch, asked, there, permitted, available, said
):
    monkeypatch.setattr(amx, "EMULATED", False)
    monkeypatch.setattr(amx, "ASKED", asked)
    monkeypatch.setattr(amx, "MACHINE", machine.MACHINE._replace(amx=there))
    asking = []
    monkeypatch.setattr(amx, "permitted", lambda: asking.append(1) or permitted)
    assert (amx.available(), amx.state()) == (available, said)
    assert bool(asking) == (there and asked == "1")


def test_linux_is_asked_once_in_a_process(monkeypatch):
    calls = []

    class Library:
        def __init__(self, name):
            assert name is None

        def syscall(self, *arguments):
            calls.append(arguments)
            return 0

    monkeypatch.setattr(amx.ctypes, "CDLL", Library)
    amx.permitted.cache_clear()
    assert [amx.permitted(), amx.permitted()] == [True, True]
    assert calls == [(158, 0x1023, 18)]  # arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA)
    amx.permitted.cache_clear()


@pytest.mark.skipif(
    not (machine.MACHINE.x86 and sys.platform == "linux"), reason="needs Linux on x86"
)
def test_linux_refuses_where_there_is_no_amx():
    if "amx_tile" in Path("/proc/cpuinfo").read_text():
        pytest.skip("this CPU has AMX")
    amx.permitted.cache_clear()
    assert not amx.permitted()


def test_a_value_of_the_variable_that_means_nothing_is_named(monkeypatch):
    monkeypatch.setenv("FASTNN_AMX", "yes")
    with pytest.raises(ValueError, match="FASTNN_AMX must be 0, 1 or emulated, got 'yes'"):
        amx._asked()


TRAIN = """
import sys
sys.path.insert(0, "tests")
import numpy as np
from cases import Case, make_data, make_network

case = Case((20, 33, 5), batch=11, precision="bfloat16")
net = make_network(case)
net.train(*make_data(case, np.random.default_rng(0)), epochs=1, progress=False)
print(net.parameters.tobytes().hex())
print("fastnn.backends.compiled.kernels.amx" in sys.modules)
"""


@pytest.mark.skipif(machine.MACHINE.amx, reason="this CPU has AMX")
def test_asked_for_where_there_is_none_changes_nothing(run_python):
    one, other = (run_python("-c", TRAIN, FASTNN_AMX=asked) for asked in ("", "1"))
    assert one == other
    assert one.endswith("False\n")


# Kernels and networks with emulated tiles

PYTEST = ("-m", "pytest", "-q", "-x", "-p", "no:cacheprovider")
long = pytest.mark.long


@pytest.mark.skipif(DTYPE not in DTYPES or amx.EMULATED, reason="another process runs it")
@pytest.mark.parametrize(
    ("bits", "tests"),
    [
        ("", ["tests/test_amx_kernels.py"]),
        pytest.param("128", ["tests/test_amx_kernels.py"], marks=long),
        ("", ["-k", "bfloat16", "tests/test_threads.py"]),
        pytest.param("", ["tests/test_precision.py"], marks=long),
        pytest.param("", ["-k", "bfloat16", "tests/test_parity.py"], marks=long),
    ],
    ids=["kernels", "kernels at 128 bits", "threads", "precision", "parity"],
)
def test_with_emulated_tiles(run_python, bits, tests):
    environment = {"FASTNN_AMX": "emulated", "FASTNN_VECTOR_BITS": bits}
    assert " passed" in run_python(*PYTEST, *tests, **environment)


# The code for CPUs that have AMX

FEATURES = (
    "64bit adx aes amx-bf16 amx-tile avx avx2 avx512bf16 avx512bw avx512cd avx512dq avx512f "
    "avx512vl avx512vnni bmi bmi2 f16c fma lzcnt popcnt sse4.2"
)
ASSEMBLY = """
import numba
from fastnn.backends.compiled.kernels import amx as kernels
from fastnn.backends.compiled.machinery import amx, jit, machine

assert machine.MACHINE.amx and not amx.EMULATED
unit = kernels.product
dispatcher = numba.njit(**jit.OPTIONS)(unit.dispatcher.py_func)  # what is in the cache has no text
dispatcher.compile(unit.argument_types(numba.types.float32))
(text,) = dispatcher.inspect_asm().values()
print(text)
"""


@pytest.fixture(scope="module")
def instructions(run_python):
    """The instructions for tiles in the kernel that Numba compiles for a Sapphire Rapids."""
    if machine.MACHINE.architecture != "x86_64" or not sys.platform.startswith("linux"):
        pytest.skip("needs Linux on x86")
    printed = run_python(
        "-c", ASSEMBLY, FASTNN_AMX="1", FASTNN_VECTOR_BITS="", NUMBA_CPU_NAME="sapphirerapids",
        NUMBA_CPU_FEATURES=",".join(f"+{name}" for name in FEATURES.split()),
    )  # fmt: skip
    lines = (line.partition("#")[0].strip() for line in printed.splitlines())
    return [line for line in lines if re.search(r"tmm|tilecfg|tilerelease", line)]


def tiles_of(instructions, name):
    """Return the numbers of the tiles of the instructions of a name, without repetition."""
    named = [line for line in instructions if line.split()[0] == name]
    return {tuple(map(int, re.findall(r"%tmm(\d)", line))) for line in named}


def test_the_code_for_sapphire_rapids_has_the_tiles_of_the_kernel(instructions):
    names = {line.split()[0] for line in instructions}
    assert names == {
        "ldtilecfg", "tilezero", "tileloadd", "tdpbf16ps", "tilestored", "tilerelease"
    }  # fmt: skip
    assert instructions[0].startswith("ldtilecfg")
    assert instructions[-1] == "tilerelease"
    assert tiles_of(instructions, "tilezero") == {(tile,) for tile in range(4)}
    assert tiles_of(instructions, "tileloadd") == {(tile,) for tile in range(8)}
    assert tiles_of(instructions, "tilestored") == {(tile,) for tile in range(4)}
    # Factors stand in reverse: words of B, words of A, sums.
    assert tiles_of(instructions, "tdpbf16ps") == {(6, 4, 0), (7, 4, 1), (6, 5, 2), (7, 5, 3)}
