"""How much faster training is with more CPUs, beside PyTorch and JAX: ``python bench/threads.py``.

For each number of CPUs (1, 2, 4 and so on, as many as this process may use) each contender is a
process of its own on just these, and uses as many threads. It trains in float32 on dense random
inputs, and its time is the best of some epochs after a first one. The tables show rows a second of
fastnn as a multiple of those of the better peer that is installed, the rows a second that fastnn
trains on with all of them, and how much faster that is than on one CPU.

With ``--fixed`` fastnn is measured with each number of threads on all the CPUs, beside the number
that it finds by itself: that must cost little against the best fixed one.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from contenders import CONTENDERS
from contenders.task import Task

CELLS: list[tuple[list[int], int]] = [
    ([784, 128, 10], 32),
    ([784, 128, 10], 128),
    ([784, 128, 10], 1024),
    ([784, 512, 512, 10], 128),
    ([784, 512, 512, 10], 1024),
    ([1024, 1024, 1024, 1024], 512),
    ([20, 64, 64, 3], 256),
]
PEERS = ["torch", "jax"]
ROWS, EPOCHS = 16_384, 5


def task_of(sizes: list[int], batch: int, threads: int | None) -> Task:
    """Return a cell as a task: He's weights, inputs from -0.5 to 0.5, labels at random."""
    rng = np.random.default_rng(0)
    weights = [
        (rng.standard_normal((a, b)) * (2 / a) ** 0.5).astype(np.float32)
        for a, b in pairwise(sizes)
    ]
    biases = [np.zeros(b, np.float32) for b in sizes[1:]]
    X = rng.random((ROWS, sizes[0]), np.float32) - np.float32(0.5)
    y, order = rng.integers(0, sizes[-1], ROWS), rng.permutation(ROWS)
    return Task(weights, biases, X, y, order, batch, threads)  # type: ignore[arg-type]


def work(contender: str, threads: int | None) -> None:
    """Print the rows a second of each cell."""
    training = CONTENDERS[contender].training
    assert training is not None
    for sizes, batch in CELLS:
        reset, epoch = training(task_of(sizes, batch, threads))
        reset()
        epoch()
        seconds = []
        for _ in range(EPOCHS):
            start = time.perf_counter()
            epoch()
            seconds.append(time.perf_counter() - start)
        print(ROWS / min(seconds), flush=True)


def measure(contender: str, cpus: list[int], threads: int | None) -> list[float]:
    """Return the rows a second of each cell, from a process on these CPUs; none if it cannot."""
    count = str(len(cpus))
    environment = {**os.environ, "OMP_NUM_THREADS": count, "JAX_PLATFORMS": "cpu"}
    code = f"import os; os.sched_setaffinity(0, {cpus}); import threads; threads.work({contender!r}"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}, {threads})"],
        stdout=subprocess.PIPE, text=True, env=environment, cwd=Path(__file__).parent,
    )  # fmt: skip
    return [float(line) for line in done.stdout.split()] if done.returncode == 0 else []


def counts_up_to(most: int) -> list[int]:
    """Return 1, 2, 4 and so on, and the last one."""
    counts = [1]
    while 2 * counts[-1] <= most:
        counts.append(2 * counts[-1])
    return counts if counts[-1] == most else [*counts, most]


def show(title: str, counts: list[Any], rows: list[list[str]]) -> None:
    """Print a table in Markdown: a line for each cell."""
    print(f"\n{title}\n\n| network, batch | {' | '.join(map(str, counts))} |")
    print("| --- |" + " --- |" * len(counts))
    for (sizes, batch), row in zip(CELLS, rows, strict=True):
        print(f"| {sizes}, {batch:,} | {' | '.join(row)} |", flush=True)


def run(fixed: bool = False) -> dict[str, dict[str, list[float]]]:
    """Measure, print the tables, and return the rows a second of each cell."""
    cpus = sorted(os.sched_getaffinity(0))
    counts = counts_up_to(len(cpus))
    if fixed:
        found = {"fastnn": {str(n): measure("fastnn", cpus, n) for n in (*counts, None)}}
        found["fastnn"]["found"] = found["fastnn"].pop("None")
        show_fixed(found["fastnn"])
        return found
    found = {
        name: {str(n): measure(name, cpus[:n], n) for n in counts} for name in ("fastnn", *PEERS)
    }
    show_peers(found)
    return found


def show_fixed(speeds: dict[str, list[float]]) -> None:
    """Print the rows a second with fixed numbers of threads, beside the number that is found."""
    rows = []
    for values in zip(*speeds.values(), strict=True):
        last = f"{values[-1] / max(values[:-1]):.2f}"
        rows.append([*[f"{value:,.0f}" for value in values], last])
    show("Rows a second", [*speeds, "of the best"], rows)


def show_peers(found: dict[str, dict[str, list[float]]]) -> None:
    """Print fastnn over the better peer and over itself, from rows a second by CPUs."""
    counts = list(found["fastnn"])
    own = [found["fastnn"][n] for n in counts]
    peers = [name for name in PEERS if all(found[name].values())]
    if peers:
        better = [np.max([found[name][n] for name in peers], axis=0) for n in counts]
        ratios = [f"{a / b:.2f}" for a, b in zip(np.ravel(own), np.ravel(better), strict=True)]
        rows = np.reshape(ratios, (len(counts), -1)).T.tolist()
        show(f"fastnn over the better of {' and '.join(peers)}, by CPUs", counts, rows)
    gain = [[f"{a / b:.2f}" for a, b in zip(each, own[0], strict=True)] for each in own]
    speed = [f"{value:,.0f}" for value in own[-1]]
    rows = [[*each, last] for *each, last in zip(*gain, speed, strict=True)]
    show("fastnn over itself on one CPU", [*counts, "rows a second with all"], rows)


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--fixed", action="store_true", help="compare fixed numbers of threads")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    options = parser.parse_args()
    found = run(options.fixed)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
