"""Where fastnn is behind a peer, or far behind its own neighbour: ``python bench/cliffs.py``.

Everything runs in one process on one core with one thread. The works of a cell take turns, and a
work's time is the shortest of all its timings, as other work on the machine only adds to it. It is
the time that the CPU worked for the process, in any thread, as JAX computes in one of its own; for
files it is all time but that in which the thread waited for its CPU. Before that, each peer
shows that it does the same work: its outputs, or the mean losses of two epochs over rows in order,
must be those of fastnn.

Results go into a file, which keeps those of other cells: ``--cells 'predict*'`` renews some.
"""

from __future__ import annotations

import argparse
import fnmatch
import gc
import importlib.metadata
import json
import os
import sys
import time
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cliffs_report
import numpy as np
from cliff_cells import Cell, peer_cells
from equivalents import Work
from neighbour_cells import neighbour_cells
from turns import clock_of

ENVIRONMENT = {
    **{f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS", "NUMBA")},
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
}

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "bench" / "results" / "cliffs.json"
TOLERANCE = 1e-3  # of losses and outputs, relative to the largest
LEAST = 0.002  # seconds of a timing
ROUNDS, FEWEST = 60, 5  # of turns
PAGES = 1e6  # bytes that are as good as none
PEERS = ("jax", "onnxruntime", "scikit-learn", "torch", "safetensors")


def cells() -> list[Cell]:
    """Return all cells."""
    return [*peer_cells(), *neighbour_cells()]


def difference(works: dict[str, Work]) -> float | None:
    """Return how much the peers' values differ from fastnn's, relative to its largest."""
    values = [np.asarray(work.value(), float) for work in works.values() if work.value]
    if len(values) < 2:
        return None
    scale = max(float(np.abs(values[0]).max()), 1e-30)
    return max(float(np.abs(value - values[0]).max()) for value in values[1:]) / scale


def shortest(
    works: dict[str, Work], seconds: float, clock: Callable[[], float]
) -> dict[str, float]:
    """Return the least seconds of a call of each, in turns for about so many seconds."""
    timers, calls = {}, {}
    for name, work in works.items():
        work.call()
        timers[name] = timeit.Timer(work.call, timer=clock)
        once = max(1e-7, min(timers[name].repeat(3, 1)))
        calls[name] = max(1, round(LEAST / once))
    best = dict.fromkeys(works, float("inf"))
    start = time.perf_counter()
    for done in range(ROUNDS):
        if done >= FEWEST and time.perf_counter() - start > seconds:
            break
        for name, timer in timers.items():
            best[name] = min(best[name], timer.timeit(calls[name]) / calls[name])
    return best


def peak(work: Work) -> float:
    """Return the bytes that a call needs at most beyond those of before; on Linux."""

    def status(field: str) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field))

    work.call()  # loads what is compiled
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = status("VmRSS")
    work.call()
    return max(PAGES, status("VmHWM") - before)


def measure(cell: Cell, seconds: float) -> dict[str, Any]:
    """Return a cell's figures.

    Parameters
    ----------
    cell : Cell
    seconds : float
        How long its works take turns, roughly.

    Raises
    ------
    ValueError
        If a peer does other work.
    """
    works = cell.setup()
    differs = difference(works)
    if differs is not None and not differs <= TOLERANCE:
        raise ValueError(f"{cell.name}: the works differ by {differs:.1e}")
    if cell.kind == "memory":
        figures = {name: peak(work) for name, work in works.items()}
    else:
        figures = shortest(works, seconds, clock_of(1) if cell.waits else time.process_time)
    figures = {name: figure / works[name].per for name, figure in figures.items()}
    result = {"kind": cell.kind, "unit": cell.unit, "figures": figures}
    return result if differs is None else {**result, "difference": differs}


def run(chosen: list[Cell], seconds: float, file: Path | None) -> dict[str, Any]:
    """Measure cells; print each, and write the file whenever one is done."""
    import roofline

    known = {cell.name for cell in cells()}
    old = json.loads(file.read_text())["cells"] if file and file.exists() else {}
    results: dict[str, Any] = {"machine": roofline._machine()}
    results["versions"] = {name: importlib.metadata.version(name) for name in PEERS}
    results["cells"] = {name: value for name, value in old.items() if name in known}
    for cell in chosen:
        try:
            result = measure(cell, seconds)
        except Exception as error:  # the other cells are of use without it
            print(f"{cell.name}: {type(error).__name__}: {error}", flush=True)
            continue
        results["cells"][cell.name] = result
        print("  ".join(cliffs_report.line(cell.name, result)), flush=True)
        if file:
            file.write_text(json.dumps(results, indent=1) + "\n")
        gc.collect()
    return results


def matches(name: str, pattern: str) -> bool:
    """Return whether a name is the pattern or fits it; brackets stand for themselves."""
    return fnmatch.fnmatchcase(name, pattern.replace("[", "[[]"))


def start_again() -> None:
    """Begin anew on one CPU, with libraries that have one thread."""
    if "CLIFFS_PINNED" in os.environ:
        return
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    environment = {**os.environ, **ENVIRONMENT, "CLIFFS_PINNED": "1"}
    os.execve(sys.executable, [sys.executable, *sys.argv], environment)


def main() -> None:
    """Measure what the arguments say."""
    formatter = argparse.ArgumentDefaultsHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], formatter_class=formatter)
    add = parser.add_argument
    add("--cells", nargs="+", default=["*"], metavar="PATTERN", help="names; * and ? match")
    add("--seconds", type=float, default=1.0, help="turns of a cell")
    add("--json", type=Path, default=FILE, metavar="FILE", help="results, merged into what it has")
    add("--list", action="store_true", help="print the names, and measure nothing")
    options = parser.parse_args()
    chosen = [cell for cell in cells() if any(matches(cell.name, p) for p in options.cells)]
    if options.list:
        print("\n".join(cell.name for cell in chosen))
        return
    start_again()
    results = run(chosen, options.seconds, options.json)
    print("\n" + cliffs_report.everything(results))


if __name__ == "__main__":
    main()
