"""A row through a C header beside `Network.predict_one`, on one core: ``python bench/c_header.py``.

The rows are MNIST's test images as numbers from 0 to 1, of which most are zero. A loop in C and one
in Python take turns; a time is the least of the rounds. Needs a C compiler.
"""

from __future__ import annotations

import argparse
import ctypes
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import fastnn

LOOP = """\
#include "net.h"
void loop(const float *rows, int count, float *out)
{
    for (; count > 0; count--, rows += NET_INPUTS) {
        net_predict(rows, out);
    }
}
"""
ROUNDS = 30


def compiled(folder: Path, net: fastnn.Network, compiler: str, flags: list[str], int8: bool):
    """Return the loop over the header of a network."""
    net.export(folder / "net.h", int8=int8)
    (folder / "loop.c").write_text(LOOP)
    library = folder / f"loop{int8:d}.so"
    shared = ["-std=c99", "-shared", "-fPIC", "-o", library, "loop.c", "-lm"]
    subprocess.run([compiler, *flags, *shared], cwd=folder, check=True)
    return ctypes.CDLL(str(library)).loop


def main() -> None:
    """Print microseconds a row, and how often they are those of `predict_one`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--compiler", default="cc")
    parser.add_argument("--flags", default="-O3 -march=native")
    parser.add_argument("--sizes", type=int, nargs="+", default=[784, 128, 10])
    given = parser.parse_args()
    pixels = fastnn.datasets.load_mnist(progress=False).test_images[:1_000]
    rows = np.ascontiguousarray((pixels / 255)[:, : given.sizes[0]], np.float32)
    net = fastnn.Network(given.sizes, seed=0, threads=1)
    out = np.empty(given.sizes[-1], np.float32)

    def in_python() -> None:
        for row in rows:
            net.predict_one(row, out)

    ways = {"predict_one": in_python}
    with tempfile.TemporaryDirectory() as name:
        for int8 in (False, True):
            loop = compiled(Path(name), net, given.compiler, given.flags.split(), int8)
            places = [array.ctypes.data_as(ctypes.c_void_p) for array in (rows, out)]
            ways["C, 8 bits" if int8 else "C"] = lambda loop=loop, places=places: loop(
                places[0], len(rows), places[1]
            )
        best = dict.fromkeys(ways, np.inf)
        for _ in range(ROUNDS):
            for way, run in ways.items():
                start = time.perf_counter()
                run()
                best[way] = min(best[way], (time.perf_counter() - start) / len(rows))
    for way, seconds in best.items():
        print(f"{way:12} {seconds * 1e6:7.2f} us a row  {seconds / best['predict_one']:.2f}")


if __name__ == "__main__":
    main()
