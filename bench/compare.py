"""Whether fastnn became slower from one commit to another: ``python bench/compare.py OLD [NEW]``.

OLD and NEW are git revisions; ``.``, which NEW is by default, is the working tree as it is. Each
commit gets a worktree and a cache of compiled kernels of its own in a temporary folder. What is
timed is in `cells.py`, for both in the one beside this file.

A round starts a new process for each commit. The two take turns at each cell, OLD NEW NEW OLD NEW
OLD OLD NEW or the other way round, and one waits while the other works, so that a machine that
changes its speed does so for both. Both make the same calls on the same data; a turn has several
timings. A commit's time in a round is the shortest of all, as other work on the machine only adds
to it. Where the system tells how long a thread waited for its CPU, that is taken off in cells of
one thread. The ratio of a cell is the median of NEW / OLD over its rounds. Its interval is from
order statistics: it holds the true median in at least 95% of all cases. That takes six rounds; with
fewer it goes from the least ratio to the largest.

The verdict on a cell is from its interval and a tolerance: 2%, or 5% where whole processes are
timed, which vary more.

- slower: the lower end is above 1 + tolerance.
- unclear: the lower end is not, but the upper end is; more rounds may tell.
- not slower: the upper end is at most 1 + tolerance.
- faster: the upper end is below 1 / (1 + tolerance).

Other work on a shared machine gives false alarms, and hides what is really slower. So a cell whose
ratio is above 1 + tolerance is measured again in twice as many rounds, and the verdict is from
these alone.

The exit code is 1 if a cell is slower, or works in OLD and fails in NEW. A cell that fails in OLD
is left out, as it may need what is newer. The exit code is 2 if nothing can be compared, and
otherwise 0. All cells take about seven minutes, and more if some are measured again.
"""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import importlib.metadata
import json
import math
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from cells import Cell, cells
from turns import Ended, Side, Worker

ROOT = Path(__file__).resolve().parents[1]
WORKING_TREE = "."
SCRIPTS = "turns.py", "cells.py"
COVERAGE = 0.95
VERDICTS = "slower", "fails", "unclear", "not slower", "faster", "left out"
ORDER = (0, 1, 1, 0, 1, 0, 0, 1)  # a speed that changes steadily favours neither
Pairs = list[tuple[float, float]]  # for each round the seconds of a call in OLD and in NEW


class UsageError(Exception):
    """What was asked for cannot be compared."""


@dataclass(frozen=True)
class Verdict:
    """What the rounds of a cell say; the rule is at the top of this file."""

    old: float
    new: float
    ratio: float
    low: float
    high: float
    verdict: str


def judge(pairs: Pairs, tolerance: float) -> Verdict:
    """Return the verdict on a cell."""
    ratios = [new / old for old, new in pairs]
    low, high = interval(ratios)
    limit = 1 + tolerance
    if high > limit:
        word = "slower" if low > limit else "unclear"
    else:
        word = "faster" if high < 1 / limit else "not slower"
    old, new = (median(times) for times in zip(*pairs, strict=True))
    return Verdict(old, new, median(ratios), low, high, word)


def interval(values: list[float]) -> tuple[float, float]:
    """Return the two values, equally far from the ends, that hold the median often enough.

    How many of n values are below their true median is binomial: the interval from the k-th
    smallest to the k-th largest misses it with the probability ``2 * P(fewer than k of n)``.
    """
    ordered, n = sorted(values), len(values)
    misses, k = 2 * 0.5**n, 1
    while (more := misses + 2 * math.comb(n, k) * 0.5**n) <= 1 - COVERAGE:
        misses, k = more, k + 1
    return ordered[k - 1], ordered[n - k]


class Contest:
    """Two commits in turns.

    Attributes
    ----------
    calls : dict
        How many calls a timing of a cell has, the same for both.
    failures : dict
        For each cell that failed the commit in which it did, "OLD" or "NEW", and the error.
    """

    def __init__(self, sides: tuple[Side, Side]) -> None:
        self.sides = sides
        self.calls: dict[str, int] = {}
        self.failures: dict[str, tuple[str, str]] = {}

    def prepare(self, table: list[Cell]) -> None:
        """Compile what the cells need, and find out how many calls to time."""
        for workers, cell in self._visits(table):
            if cell.process != "cold":
                self._shortest(workers, cell, (0, 1))

    def measure(self, table: list[Cell], rounds: int) -> dict[str, Pairs]:
        """Return what the rounds gave, for each cell that works in both commits."""
        times: dict[str, Pairs] = {cell.name: [] for cell in table}
        for r in range(rounds):
            show(f"round {r + 1} of {rounds} with {len(table)} cells")
            # Once in each full group of so many rounds, and at least once.
            due = [c for c in table if r % c.every == 0 and r < max(1, rounds // c.every * c.every)]
            for workers, cell in self._visits(due):
                order = ORDER if cell.process == "shared" else ORDER[:2]
                # OLD comes first in the first round: what fails in both is left out.
                order = tuple(1 - side for side in order) if r % 2 else order
                shortest = self._shortest(workers, cell, order)
                if shortest is not None:
                    times[cell.name].append(shortest)
        return {name: pairs for name, pairs in times.items() if name not in self.failures}

    def _visits(self, table: list[Cell]) -> Iterator[tuple[tuple[Worker, Worker], Cell]]:
        """Yield each cell with workers for it, new ones for each number of threads."""
        for threads in dict.fromkeys(cell.threads for cell in table):
            with Worker(self.sides[0], threads) as old, Worker(self.sides[1], threads) as new:
                for cell in table:
                    if cell.threads == threads and cell.name not in self.failures:
                        yield (old, new), cell

    def _shortest(
        self, workers: tuple[Worker, Worker], cell: Cell, order: tuple[int, ...]
    ) -> tuple[float, float] | None:
        """Return the shortest time of each commit, or None if the cell fails."""
        seconds = [math.inf, math.inf]
        for side in order:
            answer = workers[side].turn(cell, self.calls.get(cell.name))
            if "error" in answer:
                self.failures[cell.name] = self.sides[side].label, answer["error"]
                return None
            self.calls[cell.name] = answer["calls"]
            seconds[side] = min(seconds[side], answer["seconds"])
        return seconds[0], seconds[1]


def compare(sides: tuple[Side, Side], table: list[Cell], rounds: int) -> dict[str, Any]:
    """Return what was found: descriptions, and for each cell the verdict with all times."""
    contest = Contest(sides)
    show("compiling what the cells need")
    contest.prepare(table)
    first = contest.measure(table, rounds)
    suspects = [
        cell
        for cell in table
        if cell.name in first and judge(first[cell.name], cell.tolerance).ratio > 1 + cell.tolerance
    ]
    again = contest.measure(suspects, 2 * rounds) if suspects else {}
    show("")
    found: list[dict[str, Any]] = []
    for cell in table:
        about = {"cell": cell.name, "threads": cell.threads, "tolerance": cell.tolerance}
        if cell.name in contest.failures:
            side, error = contest.failures[cell.name]
            verdict = "fails" if side == "NEW" else "left out"
            found.append({**about, "verdict": verdict, "side": side, "error": error})
            continue
        rounds_of = [times[cell.name] for times in (first, again) if cell.name in times]
        figures = asdict(judge(rounds_of[-1], cell.tolerance))
        found.append({**about, **figures, "times": rounds_of})
    descriptions = {side.label: side.description for side in sides}
    return {**descriptions, "machine": machine(), "cells": found}


def show(text: str) -> None:
    """Say on a terminal how far things are, in place of what was said before."""
    if sys.stderr.isatty():
        print(f"\r{text:60}\r", end="", file=sys.stderr, flush=True)


def machine() -> str:
    """Return what the figures are from."""
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("numpy", "numba")]
    python = f"Python {platform.python_version()}"
    return ", ".join([platform.system(), f"{cpus()} CPUs", python, *versions])


def cpus() -> int:
    """Return how many CPUs this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def report(results: dict[str, Any]) -> str:
    """Return the table, and what there is to say below it."""
    lines = [f"OLD is {results['OLD']}", f"NEW is {results['NEW']}", results["machine"], ""]
    measured = [cell for cell in results["cells"] if "ratio" in cell]
    if measured:
        width = max(len(cell["cell"]) for cell in measured)
        heading = f"{'OLD':>9}{'NEW':>11}{'ratio':>8}{'interval':>18}{'rounds':>8}  verdict"
        lines.append(f"{'seconds of a call':{width}}{heading}")
    for cell in measured:
        spread = f"{cell['low']:.3f} to {cell['high']:.3f}"
        lines.append(
            f"{cell['cell']:{width}}{duration(cell['old']):>9}{duration(cell['new']):>11}"
            f"{cell['ratio']:8.3f}{spread:>18}{len(cell['times'][-1]):8}  {cell['verdict']}"
        )
    for cell in results["cells"]:
        if "error" in cell:
            lines.append(f"{cell['cell']}: {cell['verdict']}, in {cell['side']}: {cell['error']}")
    counts = {v: sum(cell["verdict"] == v for cell in results["cells"]) for v in VERDICTS}
    summary = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    return "\n".join([*lines, "", summary])


def duration(seconds: float) -> str:
    """Return seconds with three digits, in a unit that fits."""
    units = (("s", 1.0), ("ms", 1e-3), ("us", 1e-6))
    unit, size = next((u for u in units if seconds >= u[1]), units[-1])
    value = seconds / size
    return f"{value:.{max(0, 3 - len(str(int(value))))}f} {unit}"


@contextlib.contextmanager
def checked_out(label: str, revision: str, folder: Path) -> Iterator[Side]:
    """Provide the files of a commit, and take them away in the end."""
    place = folder / label
    place.mkdir()
    if revision == WORKING_TREE:
        changed = " with changes" if git("status", "--porcelain") else ""
        yield Side(label, f"the working tree{changed}, at {described('HEAD')}", ROOT, place)
        return
    commit = commit_of(label, revision)
    tree = place / "tree"
    try:
        git("worktree", "add", "--detach", str(tree), commit)
        yield Side(label, described(commit), tree, place)
    finally:
        # Forced twice: if adding was interrupted, it is still locked.
        with contextlib.suppress(UsageError):
            git("worktree", "remove", "--force", "--force", str(tree))


def commit_of(label: str, revision: str) -> str:
    """Return the hash of a revision."""
    try:
        return git("rev-parse", "--verify", f"{revision}^{{commit}}")
    except UsageError as error:
        raise UsageError(f"{label} must be a revision or '.', got {revision!r} ({error})") from None


def described(revision: str) -> str:
    """Return the short hash and the subject of a commit."""
    return git("log", "-1", "--format=%h %s", revision)


def git(*arguments: str) -> str:
    """Return what git prints."""
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    except FileNotFoundError:
        raise UsageError("git is not installed") from None
    if done.returncode:
        raise UsageError(f"git {arguments[0]}: {' '.join(done.stderr.split())}")
    return done.stdout.strip()


def selected(table: list[Cell], patterns: list[str]) -> list[Cell]:
    """Return the cells whose names have one of the patterns in them, or fit it."""
    for pattern in patterns:
        if not any(fits(cell.name, pattern) for cell in table):
            names = ", ".join(cell.name for cell in table)
            raise UsageError(f"no cell is like {pattern!r}; there are: {names}")
    return [cell for cell in table if not patterns or any(fits(cell.name, p) for p in patterns)]


def fits(name: str, pattern: str) -> bool:
    """Tell whether a name has a text in it or, if that has wildcards, is like it."""
    return pattern in name or fnmatch.fnmatchcase(name, pattern)


def main() -> int:
    """Compare as the arguments say; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("old", metavar="OLD", help="a git revision, or . for the working tree as it is")
    add("new", metavar="NEW", nargs="?", default=WORKING_TREE, help="the same (default: .)")
    text = "only cells with this in their names, or like this with wildcards; may be repeated"
    add("--cells", action="append", default=[], metavar="PATTERN", help=text)
    add("--rounds", type=int, default=9, help="visits to each cell (default: 9)")
    text = "of the cells with several; 1 leaves them out (default: 2, if there are as many CPUs)"
    add("--threads", type=int, default=min(2, cpus()), help=text)
    add("--json", type=Path, metavar="FILE", help="write all figures there")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # clears up, too
    try:
        for name, most in (("rounds", math.inf), ("threads", cpus())):
            if not 1 <= (value := getattr(options, name)) <= most:
                limit = "at least 1" if most == math.inf else f"from 1 to {most}, the CPUs"
                raise UsageError(f"--{name} must be {limit}; got {value}")
        table = selected(cells(options.threads), options.cells)
        with contextlib.ExitStack() as stack:
            # Git, ended while it writes a worktree, may go on writing for a moment.
            scratch = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
            folder = Path(stack.enter_context(scratch))
            for name in SCRIPTS:  # copies, as the checkout may change while they are in use
                shutil.copy(Path(__file__).with_name(name), folder)
            old = stack.enter_context(checked_out("OLD", options.old, folder))
            new = stack.enter_context(checked_out("NEW", options.new, folder))
            results = compare((old, new), table, options.rounds)
    except (UsageError, Ended) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    print(report(results))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    verdicts = {cell["verdict"] for cell in results["cells"]}
    if verdicts == {"left out"}:
        return 2
    return 1 if verdicts & {"slower", "fails"} else 0


if __name__ == "__main__":
    sys.exit(main())
