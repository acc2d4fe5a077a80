"""How time and memory grow with the work: ``python bench/scaling.py``.

Rows, width, depth and batch size vary one at a time. Every point is a process of its own, which
trains for a while and reports the time of a row and the most memory that it held of its own: not
the pages of files, which the system can drop. The largest number of rows is read from a memory map,
by a process that may not hold as much memory as the map has (where the system can limit that).

With ``--threads`` the number of CPUs varies instead, beside PyTorch and JAX: see `threads.py`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import threads

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

FEATURES, HIDDEN, CLASSES = 64, 128, 10
ROWS = [10**n for n in range(3, 8)]
MAPPED_ROWS = 10**6  # and more are read from a memory map
WIDTHS = [2**n for n in range(4, 13)]
DEPTHS = [1, 2, 4, 8, 16]
BATCHES = [2**n for n in range(13)]
# Bytes that a process with a memory map of 10 million rows, 2.6 GB, may hold; Numba takes 0.2 GB.
LIMIT = 1_000_000_000


def points() -> dict[str, list[dict[str, Any]]]:
    """Return what to measure: for each thing that varies, the settings of each point."""
    common = {"rows": 60_000, "sizes": [FEATURES, HIDDEN, CLASSES], "batch": 128}
    return {
        "rows": [{**common, "rows": rows} for rows in ROWS],
        "width": [{**common, "rows": 4_096, "sizes": [w, w, w, CLASSES]} for w in WIDTHS],
        "depth": [
            {**common, "rows": 16_384, "sizes": [FEATURES, *[HIDDEN] * depth, CLASSES]}
            for depth in DEPTHS
        ],
        "batch": [{**common, "rows": 16_384, "batch": batch} for batch in BATCHES],
    }


def write_rows(path: Path, rows: int) -> None:
    """Write float32 rows to a .npy file, piece by piece."""
    rng = np.random.default_rng(0)
    out = np.lib.format.open_memmap(path, "w+", np.float32, (rows, FEATURES))
    for first in range(0, rows, 100_000):
        out[first : first + 100_000] = rng.standard_normal(out[first : first + 100_000].shape)
    out.flush()


def work(point: dict[str, Any]) -> dict[str, float]:
    """Train as a point says; return seconds a row, and megabytes held before and at most."""
    import fastnn

    sizes, rows = point["sizes"], point["rows"]
    rng = np.random.default_rng(0)
    if "file" in point:
        X = np.load(point["file"], mmap_mode="r")[:rows]
    else:
        X = rng.standard_normal((rows, sizes[0]), np.float32)
    y = rng.integers(0, CLASSES, rows, np.int64)
    net = fastnn.Network(sizes, seed=0, threads=1)
    settings = {"batch_size": point["batch"], "learning_rate": 1e-3, "progress": False}
    net.train(X[:256], y[:256], epochs=1, **{**settings, "batch_size": min(256, point["batch"])})
    memory = Memory()
    epochs = 0
    seconds: list[float] = []
    while sum(seconds) < 0.5 or epochs < 3:  # the first brings files and buffers near
        seconds += net.train(X, y, epochs=1, **settings)["seconds"]
        epochs += 1
        if sum(seconds) > 10:
            break
    return {"seconds": min(seconds) / rows, **memory.stop()}


class Memory(threading.Thread):
    """Watches the memory of this process that is not of files, in megabytes."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.before = self.most = self.now()
        self.ended = threading.Event()
        self.start()

    @staticmethod
    def now() -> float:
        """Return what is held now, or NaN where the system does not tell."""
        try:
            lines = Path("/proc/self/status").read_text().splitlines()
        except OSError:
            return float("nan")
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon"))

    def run(self) -> None:
        """Look every hundredth of a second."""
        while not self.ended.wait(0.01):
            self.most = max(self.most, self.now())

    def stop(self) -> dict[str, float]:
        """Stop looking; return what was held before, and what more at most."""
        self.ended.set()
        self.join()
        return {"megabytes": self.before, "more_megabytes": self.most - self.before}


def flops(sizes: list[int]) -> int:
    """Return the floating-point operations that training takes for a row."""
    products = [2 * a * b for a, b in pairwise(sizes)]
    return 3 * sum(products) - products[0]


def measure(point: dict[str, Any]) -> dict[str, Any]:
    """Return a point with its figures, from a fresh process."""
    command = [sys.executable, __file__, "--work", json.dumps(point)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures = json.loads(done.stdout.splitlines()[-1])
    gflops = flops(point["sizes"]) / figures["seconds"] / 1e9
    return {**point, **figures, "gflops": gflops}


def run() -> dict[str, Any]:
    """Measure all points, and print each."""
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.npy"
        write_rows(file, max(ROWS))
        for name, settings in points().items():
            print(f"\n{name:>10}{'us/row':>12}{'GFLOP/s':>12}{'MB':>12}{'more MB':>12}")
            results[name] = []
            for point in settings:
                if point["rows"] >= MAPPED_ROWS:
                    point["file"] = str(file)
                result = measure(point)
                result.pop("file", None)
                results[name].append(result)
                print(f"{value_of(name, point):10,}{1e6 * result['seconds']:12.3f}", end="")
                keys = ("gflops", "megabytes", "more_megabytes")
                print("".join(f"{result[key]:12.1f}" for key in keys), flush=True)
    return results


def value_of(name: str, point: dict[str, Any]) -> int:
    """Return what varies from point to point."""
    if name == "width":
        return point["sizes"][1]
    return len(point["sizes"]) - 2 if name == "depth" else point[name]


def main() -> None:
    """Measure, print and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--threads", action="store_true", help="the number of CPUs, beside PyTorch and JAX"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        point = json.loads(options.work)
        if "file" in point and sys.platform == "linux":
            import resource

            resource.setrlimit(resource.RLIMIT_DATA, (LIMIT, LIMIT))
        print(json.dumps(work(point)))
        return
    results = threads.run() if options.threads else run()
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
