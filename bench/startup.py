"""How long a process takes to get going, cold and warm: ``python bench/startup.py``.

Every figure is from fresh processes, with an empty folder for compiled kernels (cold) or a full one
(warm). Data are made in memory, so no file but the package and its cache is read.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# Seconds since the interpreter could run its first line, after each thing that a user waits for.
SCRIPT = """
import json, sys, time
start = time.perf_counter()
seconds = {}
def done(name):
    seconds[name] = time.perf_counter() - start
import numpy as np
done("import numpy")
import fastnn
done("import fastnn")
net = fastnn.Network([784, 128, 10], seed=0, dtype=sys.argv[1])
X, y = np.zeros((32, 784), sys.argv[1]), np.zeros(32, int)
if sys.argv[2] == "predict":
    net.predict_one(X[0])
    done("first prediction")
else:
    net.train(X, y, epochs=1, progress=False)
    done("first training step")
print(json.dumps(seconds))
"""


def measure(dtype: str, what: str, cache: str) -> dict[str, float]:
    """Return the seconds of one fresh process."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
    command = [sys.executable, "-c", SCRIPT, dtype, what]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(done.stdout)


def run(dtype: str, rounds: int) -> dict[str, dict[str, float]]:
    """Return the seconds of each stage, cold and as the median of warm processes."""
    stages: dict[str, dict[str, float]] = {}
    for what in ("train", "predict"):
        with tempfile.TemporaryDirectory() as cache:
            cold = measure(dtype, what, cache)
            warm = [measure(dtype, what, cache) for _ in range(rounds)]
        for name in cold:
            if what == "train" or name == "first prediction":
                median = statistics.median(times[name] for times in warm)
                stages[name] = {"cold": cold[name], "warm": median}
    return stages


def table(stages: dict[str, dict[str, float]]) -> list[list[str]]:
    """Return the cells of a table, the headings first."""
    rows = [[name, f"{s['cold']:.2f}", f"{s['warm']:.2f}"] for name, s in stages.items()]
    return [["seconds until", "cold", "warm"], *rows]


def main() -> None:
    """Print a table of medians."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="warm processes (default: 5)")
    parser.add_argument("--dtype", default="float32", choices=["float32", "float64"])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    options = parser.parse_args()
    stages = run(options.dtype, options.rounds)
    print(f"{options.dtype}, from the first line of the program\n")
    for cells in table(stages):
        print(f"{cells[0]:24}{cells[1]:>8}{cells[2]:>8}")
    if options.json:
        options.json.write_text(json.dumps(stages, indent=1) + "\n")


if __name__ == "__main__":
    main()
