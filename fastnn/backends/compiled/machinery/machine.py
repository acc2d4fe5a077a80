"""The machine that kernels are generated for, and its register tiles."""

from __future__ import annotations

import os
import sys
from typing import NamedTuple

from llvmlite.binding import llvm_version_info
from numba.core.registry import cpu_target


class Machine(NamedTuple):
    """What the generated instructions depend on."""

    bits: int  # of a vector register
    registers: int
    fma: bool
    architecture: str  # "x86_64", "aarch64" for all of ARM64, or what else LLVM calls it
    bf16: bool = False  # AVX-512 BF16: products of pairs in bfloat16, in vectors of 512 bits
    amx: bool = False  # tiles in bfloat16, which a process of Linux may ask for

    @property
    def x86(self) -> bool:
        """Whether there are x86's instructions, as on no machine of 32 bits."""
        return self.architecture == "x86_64"

    @property
    def by_lane(self) -> bool:
        """Whether a multiply-add takes one lane of a vector for all lanes of another."""
        return self.architecture == "aarch64"


def _machine() -> Machine:
    """Read the machine from the features that Numba compiles for, and ``FASTNN_VECTOR_BITS``."""
    triple, _, features = cpu_target.target_context.codegen().magic_tuple()
    has = {name[1:] for name in features.split(",") if name.startswith("+")}
    architecture = triple.partition("-")[0].replace("arm64", "aarch64")
    arm = architecture.startswith("aarch64")
    bits = 512 if "avx512f" in has else 256 if "avx" in has else 128
    asked = os.environ.get("FASTNN_VECTOR_BITS", "")
    if asked:
        if asked not in ("128", "256", "512"):
            raise ValueError(f"FASTNN_VECTOR_BITS must be 128, 256 or 512, got {asked!r}")
        bits = int(asked)
    registers = 32 if arm or "avx512vl" in has else 16
    # Before LLVM 16 the instructions had other types.
    bf16 = {"avx512bf16", "avx512vl"} <= has and bits == 512 and llvm_version_info >= (16, 0, 0)
    linux = sys.platform == "linux" and architecture == "x86_64"
    amx = {"amx-tile", "amx-bf16"} <= has and linux
    return Machine(bits, registers, arm or "fma" in has, architecture, bf16, amx)


MACHINE = _machine()


def tiles_of(machine: Machine) -> dict[int, tuple[int, ...]]:
    """Return the register tiles: how many vectors across there are for so many rows.

    The most rows come first; the others are for the rows left over. On x86, 8 x 3 keeps 24 sums, 3
    loaded vectors and a broadcast in 32 registers and reaches 0.97 of the peak from the first-level
    cache; 4 x 3 is its like for 16. NEON has no multiply-add that reads a number from memory and
    broadcasts it, but one that takes a lane of a vector. 8 x 2 keeps 16 sums, a vector of each of 8
    rows of A, and what it loads of B.
    """
    if machine.registers == 16:
        return {4: (1, 2, 3), 2: (1, 4), 1: (1, 4, 8)}
    if machine.x86:
        return {8: (1, 2, 3), 4: (1, 3, 6), 2: (1, 4, 8), 1: (1, 4, 8)}
    return {8: (1, 2), 4: (1, 2, 4), 2: (1, 4, 8), 1: (1, 4, 8)}


TILES = tiles_of(MACHINE)
# Vectors across of a row on its own. What one tile does in a pass takes others several.
ROW_TILES = (1, 2, 3, 4, 8)
GROUP = max(TILES)
PANEL = max(TILES[GROUP])
