"""The errors of ``examples/record.py`` on MNIST's test images: ``python bench/digits.py``.

Each run is a process of its own, timed from its start to its end; a short one goes before, so that
all kernels are compiled. The file is written after each run, and keeps the other runs in it. It has
how many CPUs other processes kept busy meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median, median_low
from typing import Any

import roofline

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "bench" / "results" / "digits.json"
TEST_ROWS = 10_000


def run(minutes: int, seed: int, *more: str) -> dict[str, Any]:
    """Run the example; return what it found, with the seconds of its whole process."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "found.json"
        what = ["--minutes", f"{minutes}", "--seed", f"{seed}", "--json", str(file), *more]
        start, before = time.perf_counter(), seconds_of_others()
        subprocess.run([sys.executable, str(ROOT / "examples" / "record.py"), *what], check=True)
        seconds = time.perf_counter() - start
        others = (seconds_of_others() - before) / seconds
        return {**json.loads(file.read_text()), "seconds": seconds, "other_cpus": others}


def seconds_of_others() -> float:
    """Return the CPU time that has gone to others than this process and those that it started."""
    times = os.times()
    return roofline._seconds_of_others() - times.children_user - times.children_system


def percent(errors: int) -> str:
    """Return the accuracy of so many errors."""
    return f"{1 - errors / TEST_ROWS:.2%}"


def of_minutes(results: dict[str, Any], minutes: int) -> list[dict[str, Any]]:
    """Return the runs of so many minutes."""
    return [each for each in results["runs"] if each["minutes"] == minutes]


def middle(results: dict[str, Any], minutes: int) -> dict[str, Any]:
    """Return the run of so many minutes whose errors are the median."""
    runs = of_minutes(results, minutes)
    errors = median_low(len(each["misread"]) for each in runs)
    return next(each for each in runs if len(each["misread"]) == errors)


def medians(results: dict[str, Any]) -> list[list[str]]:
    """Return a table with a line for each number of minutes, its headings first."""
    table = [["minutes", "runs", "median accuracy", "median errors", "longest run"]]
    for minutes in sorted({each["minutes"] for each in results["runs"]}):
        runs = of_minutes(results, minutes)
        errors = median(len(each["misread"]) for each in runs)
        longest = max(each["seconds"] for each in runs)
        row = [f"{minutes}", f"{len(runs)}", percent(errors), f"{errors:g}", f"{longest:.1f} s"]
        table.append(row)
    return table


def everything(results: dict[str, Any]) -> list[list[str]]:
    """Return a table of all runs, its headings first."""
    table = [["minutes", "seed", "accuracy", "errors", "not shifted", "seconds", "CPUs of others"]]
    for each in sorted(results["runs"], key=lambda each: (each["minutes"], each["seed"])):
        errors = len(each["misread"])
        row = [f"{each['minutes']}", f"{each['seed']}", percent(errors), f"{errors}"]
        times = [f"{each['seconds']:.1f}", f"{each['other_cpus']:.2f}"]
        table.append([*row, f"{each['unshifted']}", *times])
    return table


def main() -> None:
    """Measure what the arguments say."""
    formatter = argparse.ArgumentDefaultsHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], formatter_class=formatter)
    add = parser.add_argument
    add("--minutes", type=int, nargs="+", default=[1, 5, 20], help="of training")
    add("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    add("--json", type=Path, default=FILE, metavar="FILE", help="results, merged into what it has")
    options = parser.parse_args()
    kept = json.loads(options.json.read_text())["runs"] if options.json.exists() else []
    for minutes in options.minutes:
        for seed in options.seeds:
            run(minutes, seed, "--rows", "256")
            found = run(minutes, seed)
            kept = [each for each in kept if (each["minutes"], each["seed"]) != (minutes, seed)]
            kept.append(found)
            text = json.dumps({"machine": roofline._machine(), "runs": kept})
            options.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
