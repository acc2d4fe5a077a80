"""How long threads work and wait in each phase of a step: ``python bench/waiting.py``.

Kernels are compiled with counters (``FASTNN_COUNT_WAITING=1``). The network trains with plain
gradient descent in float32 on dense random inputs, always on the same number of threads. Figures
are of a step: microseconds of work, of waiting for the others, and of what the last thread does
before the next phase; shares of other threads that it took; and the thousands of bytes that its own
share reads and writes, as computed from shapes and splits.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ["FASTNN_COUNT_WAITING"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numba
import numpy as np
import traffic

import fastnn
from fastnn.backends.compiled import plan
from fastnn.backends.compiled.kernels.waiting import BETWEEN, OTHERS, SHARES, WAITED, WORKED
from fastnn.backends.compiled.machinery import threads as cpu_threads
from fastnn.backends.compiled.machinery.instructions import ticks

ROWS, SECONDS = 16_384, 1


def measure(sizes: list[int], batch: int, threads: int) -> tuple[Any, float, int]:
    """Return what was counted, the seconds of a tick, and how many steps there were."""
    cpu_threads.WORTH_A_THREAD, cpu_threads.Trial.enabled = 1.0, False
    rng = np.random.default_rng(0)
    X = rng.random((ROWS, sizes[0]), np.float32) - np.float32(0.5)
    y = rng.integers(0, sizes[-1], ROWS)
    net = fastnn.Network(sizes, seed=0, threads=threads)
    settings: dict[str, Any] = {"batch_size": batch, "learning_rate": 0.01, "progress": False}
    seconds = net.train(X, y, 2, **settings)["seconds"]
    epochs = max(2, round(SECONDS / seconds[-1]))
    for counted in plan.counted:
        counted.counts[:] = 0
    now = numba.njit(lambda: ticks())
    now()
    start, first = time.perf_counter(), now()
    net.train(X, y, epochs, **settings)
    second = (time.perf_counter() - start) / (now() - first)
    # A run may have a plan of its own for each call: what they counted belongs together.
    training = [each for each in plan.counted if each.task.rule and each.counts.any()]
    whole = training[0]._replace(counts=sum(each.counts for each in training))
    return whole, second, epochs * -(-ROWS // batch)


def show(counted: Any, second: float, steps: int) -> None:
    """Print the table."""
    phases = [*traffic.phases(counted), None]
    threads, rows = counted.task.threads, counted.task.capacity
    figures = counted.counts[:, :, [WORKED, WAITED, BETWEEN]] * second * 1e6 / steps
    print("| phase | thread | worked | waited | between | of others | read | written |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for p, phase in enumerate(phases):
        for thread in range(threads):
            moved = traffic.regions(counted, phase, rows, thread) if phase else []
            shares = max(1, counted.counts[p, thread, SHARES])
            cells = [
                traffic.describe(phase) if phase else "start of calls",
                str(thread),
                *[f"{value:.2f}" for value in figures[p, thread]],
                f"{counted.counts[p, thread, OTHERS] / shares:.2f}",
                *[
                    f"{sum(r.size for r in moved if getattr(r, kind)) / 1e3:.1f}"
                    for kind in ("reads", "writes")
                ],
            ]
            print("| " + " | ".join(cells) + " |")
    worked, waited, between = figures.sum(axis=(0, 1)) / threads
    print(
        f"\nA step: {worked + waited + between:.1f} microseconds, of which a thread worked "
        f"{worked:.1f}, waited {waited:.1f}, and did {between:.1f} between phases."
    )


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("sizes", nargs="*", type=int, default=[784, 128, 10], metavar="SIZE")
    parser.add_argument("--batch", type=int, default=128, metavar="ROWS")
    parser.add_argument("--threads", type=int, default=cpu_threads.available(), metavar="N")
    options = parser.parse_args()
    show(*measure(options.sizes, options.batch, options.threads))


if __name__ == "__main__":
    main()
