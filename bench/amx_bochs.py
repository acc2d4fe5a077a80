"""The code for AMX in an emulator of x86: ``python bench/amx_bochs.py PATH-OF-BOCHS``.

Bochs was written independently of `amx_emulation`. The kernel of products and a function of single
instructions are compiled for Sapphire Rapids, and called in an emulated one, without a system, on
cases in its memory. The same cases are computed here with ``FASTNN_AMX=emulated``. Then all of the
memory must be the same, to the bit but for what a NaN holds.

It takes a C compiler with binutils, on x86-64, and Bochs, <https://github.com/bochs-emu/Bochs>,
configured with ``--enable-x86-64 --enable-avx --enable-evex --enable-amx --with-nogui``. Two of its
lines, as of August 2026, contradict Intel's manual and CPUs and have to be corrected first:

- ``op1.vmm32u(n)`` in VCVTNE2PS2BF16, ``cpu/avx/avx512_bf16.cc``, reads beyond a register. It is
  ``op1.vmm32u(n - DWORD_ELEMENTS(len))``.
- ``if (!expZ && sigDiff)`` in ``cpu/softfloat3e/s_subMagsF32.cc`` takes differences for
  subnormal that are up to twice the smallest normal number. It is
  ``if (!expZ && !(sigDiff << shiftDist >> 23))``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba import int64, types

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from test_amx import FEATURES

from fastnn.backends.compiled.kernels import amx as kernels
from fastnn.backends.compiled.kernels import layout
from fastnn.backends.compiled.kernels.rounded import A_WORDS, LONGEST
from fastnn.backends.compiled.machinery import amx, tiles
from fastnn.backends.compiled.machinery.arrays import elements_of
from fastnn.backends.compiled.machinery.jit import OPTIONS
from fastnn.model.architecture import padded
from fastnn.model.parameters import aligned_zeros

BENCH = Path(__file__).resolve().parent
MEMORY = 0x1000000  # where it is in Bochs
BLOCK = 256 * 512  # bytes that are read from the disk in a go


def _record(names: str) -> np.dtype:
    """Return a type of a case; names that begin with "at_" are offsets in the memory."""
    return np.dtype([(name, np.int64) for name in names.split()])


HEADER = _record("at_tiles tiles at_products products at_room")
TILES = _record("at_shapes at_c c_bytes at_a a_bytes at_b b_bytes at_out out_bytes from_zero")
PRODUCT = _record(
    "at_a a_row a_column at_b b_row b_column at_c c_row rows columns depth start at_biases finish "
    "mask alpha beta"
)
_headers, _tiles, _products = (
    elements_of(numba.from_dtype(kind)) for kind in (HEADER, TILES, PRODUCT)
)
instructions, _call = kernels.tiles, kernels.product.call


@numba.njit(**OPTIONS)
def perform(memory, product):
    """Compute all cases in the memory at an address; the other is that of the product."""
    header = _headers(memory, 1)[0]
    room = memory + header.at_room
    for case in _tiles(memory + header.at_tiles, header.tiles):
        instructions.configure(room, memory + case.at_shapes)
        if case.from_zero:
            instructions.zero(room, 2)
        else:
            instructions.load(room, 2, memory + case.at_c, case.c_bytes)
        instructions.load(room, 5, memory + case.at_a, case.a_bytes)
        instructions.load(room, 7, memory + case.at_b, case.b_bytes)
        instructions.multiply(room, 2, 5, 7)
        instructions.store(room, 2, memory + case.at_out, case.out_bytes)
        instructions.release(room)
    for case in _products(memory + header.at_products, header.products):
        arguments = (
            layout.Matrix(memory + case.at_a, case.a_row, case.a_column),
            layout.Matrix(memory + case.at_b, case.b_row, case.b_column),
            layout.Matrix(memory + case.at_c, case.c_row, int64(1)),
            layout.Shape(case.rows, case.columns, case.depth),
            layout.Sums(
                case.start, memory + case.at_biases, case.finish, case.mask,
                np.float32(case.alpha), np.float32(case.beta),
            ),
            room,
        )  # fmt: skip
        _call(product, arguments)


# The cases

SPECIAL = np.array(
    [0, 1, 2.0**-133, 2.0**-127, 2.0**-126, 2.0**-75, 2.0**-63, 3.3895314e38, np.inf, np.nan],
    np.float32,
)


def numbers(rng: np.random.Generator, kind: str, *shape: int) -> np.ndarray:
    """Return random numbers of a kind in float32."""
    signs = rng.choice(np.array([-1, 1], np.float32), shape)
    if kind == "any bits":
        return rng.integers(0, 2**32, shape, np.uint32).view(np.float32)
    if kind == "special":
        return rng.choice(SPECIAL, shape) * signs
    if kind == "finite":
        return rng.choice(SPECIAL[:-3], shape) * signs
    if kind == "powers":  # their products are around the smallest normal number
        return signs * np.float32(2) ** rng.integers(-80, -50, shape).astype(np.float32)
    centre = {"usual": 0, "small": -63, "large": 62}[kind]
    values = rng.normal(size=shape) * 2.0 ** (centre + rng.integers(-6, 7, shape))
    return values.astype(np.float32)


KINDS = ["usual", "any bits", "special", "finite", "powers", "small", "large"]


class Memory:
    """What goes into the memory of Bochs, piece after piece."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = [bytes(64)]  # the header
        self.size = 64

    def put(self, piece: np.ndarray) -> int:
        """Add an array, and return its offset; the next begins on a cache line."""
        at, data = self.size, piece.tobytes()
        self.pieces.append(data + bytes(-len(data) % 64))
        self.size += len(self.pieces[-1])
        return at


def tile_case(rng: np.random.Generator, kind: str, memory: Memory) -> tuple[int, ...]:
    """Return a case of single instructions on tiles of random shapes."""
    rows, depth, columns = np.where(rng.random(3) < 0.3, 16, rng.integers(1, 17, 3)).tolist()
    shapes = np.zeros(64, np.uint8)
    shapes[0] = 1
    for tile, (high, wide) in {2: (rows, columns), 5: (rows, depth), 7: (depth, columns)}.items():
        shapes[16 + 2 * tile], shapes[48 + tile] = 4 * wide, high
    fields = [memory.put(shapes)]
    for high, wide in ((rows, columns), (rows, depth), (depth, columns)):
        wide += int(rng.integers(0, 20))
        # Halves of words are numbers for A and B, and words for C.
        values = numbers(rng, kind, high, wide).view(np.uint32)
        if len(fields) > 1:
            values = values >> 16 | numbers(rng, kind, high, wide).view(np.uint32) & 0xFFFF0000
        fields += [memory.put(values), 4 * wide]
    fields += [memory.put(np.full((rows, 20), 7, np.float32)), 80, rng.integers(2)]
    return tuple(fields)


def product_case(
    rng: np.random.Generator, kind: str, memory: Memory, rows: int, depth: int, columns: int
) -> tuple[Any, ...]:
    """Return a case of a product of matrices that are stored in one of the ways there are."""

    def matrix(high: int, wide: int, by_columns: bool, beside: float = 0) -> tuple[int, int, int]:
        """Put a matrix with a border into the memory; return where it is, and its strides."""
        if by_columns:
            high, wide = wide, high
        stride = padded(wide, 4)
        flat = np.full((high + 2, stride), beside, np.float32)
        flat[1:-1, :wide] = numbers(rng, kind, high, wide)
        return memory.put(flat) + 4 * stride, *((1, stride) if by_columns else (stride, 1))

    a_by_columns, b_by_columns = ((False, False), (False, True), (True, False))[rng.integers(3)]
    finish = rng.choice([tiles.PLAIN, tiles.RECTIFIED, tiles.MASKED, tiles.SCALED])
    scaled = finish == tiles.SCALED
    start = rng.choice([tiles.FROM_ZERO, tiles.FROM_BIASES, tiles.FROM_C])
    a = matrix(rows, depth, a_by_columns, np.nan)
    b = matrix(depth, columns, b_by_columns)
    at_c, stride, _ = matrix(2 * rows, columns, False)  # the second half is the mask
    at_biases, _, _ = matrix(1, columns, False)
    return (
        *a, *b, at_c, stride, rows, columns, depth, tiles.FROM_ZERO if scaled else start, at_biases,
        finish, rows * stride, rng.choice([1, -3]), rng.choice([0, 1, 3]),
    )  # fmt: skip


def shapes(rng: np.random.Generator, count: int) -> Iterator[tuple[int, int, int]]:
    """Return rows, depths and columns of products: around tiles, and of several blocks."""
    yield from ((9, LONGEST + 453, 50), (340, 2 * A_WORDS // 340 + 40, 50))
    for _ in range(count - 2):
        yield (
            int(rng.choice([1, 2, 15, 16, 17, 31, 32, 33, 48, 49, 70])),
            int(rng.choice([1, 2, 3, 31, 32, 33, 64, 127, 128, 129, 511, 512, 513, 700])),
            int(rng.choice([1, 3, 5, 15, 16, 17, 31, 32, 33, 47, 49, 65])),
        )


def cases(seed: int, tile_cases: int, product_cases: int) -> tuple[bytes, int]:
    """Return the memory with all cases, and how much of it comes before what is only room."""
    rng, memory = np.random.default_rng(seed), Memory()
    some = [tile_case(rng, KINDS[i % len(KINDS)], memory) for i in range(tile_cases)]
    at_tiles = memory.put(np.array(some, TILES))
    sizes = list(shapes(rng, product_cases))
    some = [
        product_case(rng, KINDS[i // 2 % len(KINDS) if i % 2 else 0], memory, *size)
        for i, size in enumerate(sizes)
    ]
    at_products = memory.put(np.array(some, PRODUCT))
    words = max(kernels.pack_words(rows, depth) for rows, depth, _ in sizes)
    end = memory.put(np.full(words, np.nan, np.float32))
    header = np.array([(at_tiles, tile_cases, at_products, len(sizes), end)], HEADER)
    memory.pieces[0] = header.tobytes().ljust(64, b"\0")
    return b"".join(memory.pieces), end


# Code and memory, for Bochs and here

LINKING = """
PHDRS { all PT_LOAD FLAGS(5); }
SECTIONS {
    .rom 0xF0000 : {
        *(.rom) *(.text .ltext .rodata* .lrodata* COMMON)
        . = 0xFFF0;
        *(.reset)
        . = 0x10000;
    } :all
    /DISCARD/ : { *(.eh_frame .note*) }
}
"""
SETTINGS = """
config_interface: textconfig
display_library: nogui
cpu: model=sapphire_rapids, reset_on_triple_fault=0
memory: guest=512, host=512
romimage: file=rom
vgaromimage: file=rom
ata0-master: type=disk, path=disk, mode=flat
log: log
panic: action=fatal
"""


def write_code() -> None:
    """Write the machine code that Numba generates in this process, and its names."""
    assert amx.MACHINE.amx
    assert not amx.EMULATED
    product = numba.njit(**OPTIONS)(kernels.product.dispatcher.py_func)  # not from the cache
    names = ""
    for name, dispatcher, kinds in (
        ("perform", perform, (int64, int64)),
        ("product", product, kernels.product.argument_types(types.float32)),
    ):
        dispatcher.compile(kinds)
        (compiled,) = dispatcher.overloads.values()
        library = compiled.library
        Path(f"{name}.o").write_bytes(library._codegen._tm.emit_object(library._final_module))
        names += f"--defsym={name}={compiled.fndesc.llvm_func_name}\n"
    Path("names").write_text(names)


def write_memory(seed: int, tile_cases: int, product_cases: int) -> None:
    """Write the memory with all cases before and after they are computed in this process."""
    assert amx.EMULATED
    content, end = cases(seed, tile_cases, product_cases)
    Path("disk").write_bytes(content + bytes(-len(content) % BLOCK))
    memory = aligned_zeros(len(content) // 4, np.dtype("float32"))
    memory[:] = np.frombuffer(content, np.float32)
    perform(memory.ctypes.data, kernels.product.address(types.float32))
    memory[: end // 4].tofile("emulated")


def results(folder: Path, options: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """Return the words of memory after all cases are computed in Bochs, and after they are here."""

    def call(*command: Any, **variables: str) -> None:
        subprocess.run(
            list(map(str, command)), cwd=folder, env={**os.environ, **variables}, check=True
        )

    def call_python(function: str, **variables: str) -> None:
        path = os.pathsep.join([str(BENCH), *sys.path])
        code = f"import amx_bochs; amx_bochs.{function}"
        call(sys.executable, "-c", code, PYTHONPATH=path, FASTNN_VECTOR_BITS="", **variables)

    call_python(
        "write_code()", FASTNN_AMX="1", NUMBA_CPU_NAME="sapphirerapids",
        NUMBA_CPU_FEATURES=",".join(f"+{name}" for name in FEATURES.split()),
    )  # fmt: skip
    call_python(
        f"write_memory({options.seed}, {options.tiles}, {options.products})", FASTNN_AMX="emulated"
    )
    (folder / "linking").write_text(LINKING)
    (folder / "settings").write_text(SETTINGS)
    sectors = (folder / "disk").stat().st_size // 512
    call("cc", "-c", BENCH / "amx_bochs.s", "-o", "boot.o")
    call(
        "ld", "-static", "-T", "linking", "--unresolved-symbols=ignore-all", "@names",
        f"--defsym=memory={MEMORY}", f"--defsym=sectors={sectors}", "-o", "all",
        "boot.o", "perform.o", "product.o",
    )  # fmt: skip
    call("objcopy", "-O", "binary", "-j", ".rom", "all", "rom")
    bochs = [options.bochs.resolve(), "-q", "-f", "settings"]
    # That it is told to end is an error for Bochs.
    subprocess.run(bochs, cwd=folder, timeout=options.seconds, capture_output=True, check=False)
    if "shutdown requested" not in (folder / "log").read_text():
        raise RuntimeError((folder / "log").read_text())
    here = np.fromfile(folder / "emulated", np.uint32)
    return np.fromfile(folder / "disk", np.uint32)[: len(here)], here


def main() -> None:
    """Compute all cases in Bochs and here, and compare them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("bochs", type=Path, help="path of the program")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tiles", type=int, default=2000, help="cases of single instructions")
    parser.add_argument("--products", type=int, default=200, help="cases of the kernel")
    parser.add_argument("--seconds", type=int, default=600, help="Bochs may take")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        there, here = results(Path(folder), options)
    nan = np.isnan(there.view(np.float32)) & np.isnan(here.view(np.float32))
    differ = np.flatnonzero((there != here) & ~nan)
    print(
        f"{options.tiles} cases of single instructions and {options.products} products: of "
        f"{len(here):,} words of memory {len(differ):,} differ, and of {nan.sum():,} NaN "
        f"{(there != here)[nan].sum():,} in what they hold"
    )
    for i in differ[:10]:
        print(f"at {4 * i:#x}: {there[i]:#010x} in Bochs, {here[i]:#010x} here")
    sys.exit(len(differ) > 0)


if __name__ == "__main__":
    main()
