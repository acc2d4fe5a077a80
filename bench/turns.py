"""The processes of `compare.py`, which time cells for one commit, and their handle in the parent.

As a script, ``turns.py ROOT THREADS`` answers lines of JSON, and ``turns.py ROOT THREADS CELL``
does one cell and prints its seconds. The package fastnn is the one in ROOT.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import timeit
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cells import Cell, cells

# A turn takes the shortest of some timings of so many seconds. Where others use the machine, many
# short timings are more likely to have one without them than a few long ones.
TIMINGS, LEAST = 5, 0.008


class Ended(Exception):
    """A process ended that should not have."""


def work(root: str, threads: int, whole: str | None) -> None:
    """Answer what standard input asks for, or do one cell."""
    clock = clock_of(threads)
    began = clock()
    # Whatever else prints goes to standard error, not among the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    if threads == 1 and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    sys.path.insert(0, root)
    table = {cell.name: cell for cell in cells(threads)}
    if whole is not None:
        table[whole].setup()()
        seconds = clock() - began
        check_package(root)
        print(seconds, file=answers, flush=True)
        return
    check_package(root)
    current, timer = None, None
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            if asked["cell"] != current:
                timer = None  # lets go of the last cell's memory
                timer, current = prepared(table[asked["cell"]], clock), asked["cell"]
            calls = asked["calls"] or calls_for(timer)
            answer = {"seconds": min(timer.repeat(TIMINGS, calls)) / calls, "calls": calls}
        except Exception as error:  # the parent decides what becomes of the cell
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


def check_package(root: str) -> None:
    """Make sure that the package is the commit's."""
    import fastnn

    found = Path(fastnn.__file__).resolve()
    if not found.is_relative_to(Path(root).resolve()):
        raise ImportError(f"fastnn must come from {root}; it is {found}")


def clock_of(threads: int) -> Callable[[], float]:
    """Return a clock in seconds, which for one thread stops while that waits for its CPU.

    Linux counts the nanoseconds that a thread was ready to run while others had the CPU. The file
    is about the first thread of a process, so with several threads the clock does not stop.
    """
    if threads > 1:
        return time.perf_counter
    try:
        file = os.open("/proc/self/schedstat", os.O_RDONLY)
    except OSError:
        return time.perf_counter

    def waited() -> int:
        return int(os.pread(file, 100, 0).split()[1])

    def clock() -> float:
        while True:
            before, now = waited(), time.perf_counter()
            if waited() == before:  # or the wait that came between would be in one of them only
                return now - before / 1e9

    return clock


def prepared(cell: Cell, clock: Callable[[], float]) -> timeit.Timer:
    """Return a timer of work that was done once, so that nothing is left to compile."""
    work = cell.setup()
    work()
    return timeit.Timer(work, timer=clock)


def calls_for(timer: timeit.Timer) -> int:
    """Return how many calls take about `LEAST` seconds."""
    calls = 1
    while (seconds := min(timer.repeat(TIMINGS, calls))) < LEAST / 10:
        calls *= 10
    return max(1, round(calls * LEAST / seconds))


@dataclass(frozen=True)
class Side:
    """A commit: its files, and a folder for what its processes write, beside this script."""

    label: str  # "OLD" or "NEW"
    description: str
    root: Path
    folder: Path

    def command(self, threads: int, *whole: str) -> list[str]:
        """Return what starts a process."""
        script = self.folder.with_name(Path(__file__).name)
        return [sys.executable, str(script), str(self.root), str(threads), *whole]

    def settings(self, threads: int, cold: bool = False) -> dict[str, Any]:
        """Return how a process runs; a cold one has an empty cache of compiled kernels."""
        names = ("OMP", "MKL", "OPENBLAS", "NUMBA")
        environment = {**os.environ, **{f"{name}_NUM_THREADS": str(threads) for name in names}}
        kernels = tempfile.mkdtemp(dir=self.folder) if cold else str(self.folder / "kernels")
        return {
            "env": {**environment, "NUMBA_CACHE_DIR": kernels},
            "cwd": self.folder,
            "stdout": subprocess.PIPE,
            "text": True,
            "start_new_session": True,  # Ctrl-C is for the parent, which then ends its processes
        }


class Worker:
    """Takes turns for a commit, in a process that starts with the first of them."""

    def __init__(self, side: Side, threads: int) -> None:
        self.side, self.threads = side, threads
        self.process: Any = None

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()

    def turn(self, cell: Cell, calls: int | None) -> dict[str, Any]:
        """Return the seconds of a call, and the calls of a timing; or an error.

        Parameters
        ----------
        cell : Cell
        calls : int, optional
            Of a timing; by default as many as take `LEAST` seconds.
        """
        if cell.process != "shared":
            settings = self.side.settings(self.threads, cold=cell.process == "cold")
            done = subprocess.run(self.side.command(self.threads, cell.name), **settings)
            if done.returncode:
                return {"error": f"exit code {done.returncode}"}
            return {"seconds": float(done.stdout), "calls": 1}
        if self.process is None:
            settings = {**self.side.settings(self.threads), "stdin": subprocess.PIPE}
            self.process = subprocess.Popen(self.side.command(self.threads), **settings)
        try:
            self.process.stdin.write(json.dumps({"cell": cell.name, "calls": calls}) + "\n")
            self.process.stdin.flush()
            answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        except (BrokenPipeError, json.JSONDecodeError):
            code = self.process.wait()
            message = f"the process of {self.side.label} ended at {cell.name!r}, exit code {code}"
            raise Ended(message) from None
        return answer


if __name__ == "__main__":
    work(sys.argv[1], int(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else None)
