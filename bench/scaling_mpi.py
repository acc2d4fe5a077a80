"""How training over MPI grows with the ranks: ``python bench/scaling_mpi.py --write``.

It needs the extra ``mpi`` and mpiexec. What one machine shows is measured, each way to train in a
process of its own, in turns. What networks of many machines show is modelled from the time of a
step of one rank: all sums are exchanged in two passes, in each of which a rank sends a message to
every other, and gets as much.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from fastnn.distributed import launched_rank  # noqa: E402

PAGE, BEGIN, END = ROOT / "docs/scaling.md", "<!-- scaling_mpi -->", "<!-- /scaling_mpi -->"
SIZES, BATCH, ROWS, TURNS = [784, 512, 512, 10], 1024, 16384, 2
PARAMETERS = sum((a + 1) * b for a, b in pairwise(SIZES))
NODES, LATENCY = (8, 16, 32, 64, 128, 256), 25e-6  # seconds for a message
NETWORKS = {"10 Gbit/s": 10e9 / 8, "100 Gbit/s": 100e9 / 8}
WAYS = {"1 rank": (1, 1), "2 ranks": (2, 1), "4 ranks": (4, 1), "1 process, 2 threads": (0, 2)}


def train(threads: int, over_mpi: bool) -> float:
    """Return the seconds of a step, those of the fastest epoch."""
    import fastnn

    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(ROWS, SIZES[0])).astype(np.float32), rng.integers(0, SIZES[-1], ROWS)
    net = fastnn.Network(SIZES, seed=0, threads=threads)
    communicator = None
    if over_mpi:
        from mpi4py import MPI

        communicator = MPI.COMM_WORLD
    settings: dict[str, Any] = {"batch_size": BATCH, "epochs": 4, "progress": False}
    history = net.train(X, y, **settings, learning_rate=0.01, communicator=communicator)
    return min(history["seconds"]) / (ROWS / BATCH)


def measure() -> dict[str, float]:
    """Return the seconds of a step of each way to train: the best of some turns."""
    found: dict[str, list[float]] = {name: [] for name in WAYS}
    mpiexec = Path(sys.executable).with_name("mpiexec")
    launcher = str(mpiexec) if mpiexec.exists() else shutil.which("mpiexec")
    if launcher is None:
        raise SystemExit("mpiexec is not installed: pip install mpich")
    for _ in range(TURNS):
        for name, (ranks, threads) in WAYS.items():
            command = [sys.executable, __file__, "--train", str(threads)]
            if ranks:
                command = [launcher, "-n", str(ranks), *command, "--mpi"]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found[name].append(json.loads(done.stdout))
    return {name: min(seconds) for name, seconds in found.items()}


def exchange(nodes: int, bandwidth: float) -> float:
    """Return the modelled seconds of summing the gradient up."""
    return 2 * (nodes - 1) * (LATENCY + 4 * PARAMETERS / nodes / bandwidth)


def page(seconds: dict[str, float]) -> str:
    """Return the tables."""
    one = seconds["1 rank"]
    lines = [
        f"**Measured**, float32, {SIZES}, global batches of {BATCH:,}, SGD, {TURNS} turns:",
        "", "| Way to train | milliseconds a step | times one rank |", "| --- | ---: | ---: |",
    ]  # fmt: skip
    lines += [f"| {name} | {1e3 * t:.2f} | {one / t:.2f} |" for name, t in seconds.items()]
    lines += [
        "",
        f"**Modelled** for the same network, {PARAMETERS:,} parameters: each node has the speed of "
        f"the one rank above, and a message takes {1e6 * LATENCY:.0f} microseconds and its bytes. "
        "Rows of a global batch from which on half of the speed of all nodes, and nine tenths, "
        "are left:",
        "",
        "| Nodes | " + " | ".join(f"{name}, half | {name}, 0.9" for name in NETWORKS) + " |",
        "| ---: |" + " ---: |" * 2 * len(NETWORKS),
    ]
    for nodes in NODES:
        cells = []
        for bandwidth in NETWORKS.values():
            for share in (0.5, 0.9):  # of the time of a step that is computing
                wanted = exchange(nodes, bandwidth) * share / (1 - share)
                cells.append(f"{int(np.ceil(wanted / (one / BATCH) * nodes)):,}")
        lines.append(f"| {nodes} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, and print or write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the tables to docs/scaling.md")
    parser.add_argument("--train", type=int, metavar="THREADS", help=argparse.SUPPRESS)
    parser.add_argument("--mpi", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.train:
        seconds = train(given.train, given.mpi)
        if not launched_rank():  # all have the same history
            print(seconds)
        return
    text = page(measure())
    if not given.write:
        print(text)
        return
    before, _, rest = PAGE.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


if __name__ == "__main__":
    main()
