"""Cycles of register tiles on ARM64, by LLVM's models of CPUs: ``python bench/arm_tiles.py``.

The tiles are those of the kernels, compiled for each CPU as Numba does it there, on any machine.
Their loops over k are given to ``llvm-mca`` (``apt-get install llvm``), which knows how long each
instruction takes and which units it needs, and takes all loads to be in the first-level cache.
Printed are the cycles of 24 multiply-adds of vectors, the work of a k in a tile of 8 x 3 or 4 x 6.
A ``+`` says that the loop moves sums to the stack and back, as they do not fit into the registers.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path

import llvmlite.binding as llvm
from llvmlite import ir
from numba.core.registry import cpu_target

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

TRIPLE = "aarch64-unknown-linux-gnu"
# Before the import below, which takes the machine from here.
type(cpu_target.target_context.codegen()).magic_tuple = lambda codegen: (TRIPLE, "", "+neon")

from fastnn.backends.compiled.machinery.tiles import tile_function  # noqa: E402

llvm.initialize_all_targets()
llvm.initialize_all_asmprinters()

CPUS = "neoverse-n1", "neoverse-v1", "neoverse-v2", "cortex-a53", "cortex-a55", "cortex-a72",\
    "apple-m1"  # fmt: skip
# Rows, vectors across, and whether A's numbers that lie side by side are multiplied by lane.
TILES = (8, 3, False), (4, 6, False), (4, 4, True), (8, 2, True)
ELEMENTS = {"float32": ir.FloatType(), "float64": ir.DoubleType()}
MULTIPLY_ADDS = 24
ITERATIONS = 200
BRANCH = re.compile(r"b\.|cbn?z|tbn?z|b\s|ret")


def assembly(cpu: str, element: ir.Type, rows: int, vectors: int, by_lane: bool) -> str:
    """Return the instructions of a tile."""
    module = ir.Module()
    module.triple = TRIPLE
    function = tile_function(module, element, rows, vectors, listed=False, by_lane=by_lane)
    function.linkage = "external"  # or it would be left out
    machine = llvm.Target.from_triple(TRIPLE).create_target_machine(
        cpu=cpu, features="+neon", opt=3, codemodel="jitdefault", jit=True
    )
    compiled = llvm.parse_assembly(str(module))
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization = True
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(compiled, builder)
    return str(machine.emit_assembly(compiled))


def loops(text: str) -> list[list[str]]:
    """Return the instructions of each block that jumps back to its beginning."""
    found, label, block = [], "", []
    for line in text.splitlines():
        code = line.partition("//")[0].strip()
        if code.endswith(":"):
            label, block = code[:-1], []
        elif code and not code.startswith("."):
            block.append(code)
            if BRANCH.match(code):
                if re.search(rf"{re.escape(label)}$", code):
                    found.append(block)
                block = []
    return found


def inner_loops(text: str) -> dict[str, list[str]]:
    """Return a tile's loops over k, by how A is stored."""
    multiplying = [loop for loop in loops(text) if any(code.startswith("fmla") for code in loop)]
    several = [loop for loop in multiplying if any(re.search(r"\[[1-9]\]$", code) for code in loop)]
    if not several:
        return {"any": max(multiplying, key=len)}
    return {"by rows": max(several, key=len), "by columns": min(several, key=len)}


def cycles(loop: list[str], cpu: str, program: str) -> float | None:
    """Return the cycles of `MULTIPLY_ADDS` in a loop, or None if the program lacks the CPU."""
    done = subprocess.run(
        [program, "-mtriple", TRIPLE, f"-mcpu={cpu}", f"-iterations={ITERATIONS}"],
        input="\n".join(loop) + "\n",
        capture_output=True,
        text=True,
        check=True,
    )
    if "not a recognized processor" in done.stderr:
        return None
    total = int(re.search(r"Total Cycles:\s+(\d+)", done.stdout)[1])
    return total / ITERATIONS * MULTIPLY_ADDS / sum(code.startswith("fmla") for code in loop)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--llvm-mca", default="llvm-mca", metavar="PROGRAM", help="its name")
    program = parser.parse_args().llvm_mca
    if not shutil.which(program):
        parser.error(f"{program} is not there; apt-get install llvm brings it")
    print(f"{'tile':7} {'A':11} {'dtype':8}", *(f"{cpu:>12}" for cpu in CPUS))
    for dtype, element in ELEMENTS.items():
        for rows, vectors, by_lane in TILES:
            table: dict[str, list[str]] = {}
            for cpu in CPUS:
                text = assembly(cpu, element, rows, vectors, by_lane)
                for stored, loop in inner_loops(text).items():
                    count = cycles(loop, cpu, program)
                    mark = "+" if any("[sp" in code for code in loop) else " "
                    cell = "-" if count is None else f"{count:.1f}"
                    table.setdefault(stored, []).append(f"{cell:>11}{mark}")
            for stored, cells in table.items():
                print(f"{rows} x {vectors}   {stored:11} {dtype:8}", *cells, flush=True)


if __name__ == "__main__":
    main()
