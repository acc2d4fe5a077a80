"""The register tile of ARM64, compiled for it on any machine."""

from __future__ import annotations

import llvmlite.binding as llvm
import pytest

TILE = """
import re, sys
sys.path.insert(0, "bench")
import arm_tiles
from fastnn.backends.compiled.machinery.machine import GROUP, PANEL

element = arm_tiles.ELEMENTS[sys.argv[1]]
text = arm_tiles.assembly("neoverse-n1", element, GROUP, PANEL, True)
for stored, loop in arm_tiles.inner_loops(text).items():
    sums = [code for code in loop if code.startswith("fmla")]
    by_lane = all(re.search(r"\\[[0-3]\\]$", code) for code in sums)
    print(stored, len(sums) / GROUP / PANEL, by_lane, any("[sp" in code for code in loop), sep=";")
"""


@pytest.mark.skipif(not hasattr(llvm, "create_pass_builder"), reason="an older llvmlite")
@pytest.mark.parametrize(("dtype", "lanes"), [("float32", 4), ("float64", 2)])
def test_the_tile_of_neon_multiplies_by_lane_with_its_sums_in_registers(run_python, dtype, lanes):
    printed = run_python("-c", TILE, dtype, FASTNN_VECTOR_BITS="")
    assert printed.splitlines() == [
        f"by rows;{lanes}.0;True;False",
        "by columns;1.0;True;False",
    ]
