"""A plugin for pytest, ``-p neon``: the kernels are generated as for ARM64, with NEON's tiles.

They run on any machine that has multiply-adds, as LLVM compiles them for the machine that is there.
"""

from numba.core.registry import cpu_target

type(cpu_target.target_context.codegen()).magic_tuple = lambda codegen: (
    "aarch64-unknown-linux-gnu",
    "generic",
    "+neon",
)

from fastnn.backends.compiled.machinery import machine  # noqa: E402

assert machine.TILES[machine.GROUP] == (1, 2), machine.TILES
