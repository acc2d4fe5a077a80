"""Rows per second of training on a stream of Parquet, and in memory; and the memory it takes.

``python bench/streams.py`` writes 10 million rows of 50 columns into a folder for temporary files,
once as pyarrow does (3 GB) and once without dictionaries (2 GB), trains an epoch for each network
and number of threads, and deletes the rows. Each figure comes from a process of its own. With
``--write`` the table goes into docs/scaling.md.
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

import numpy as np
from help_texts import write_block

import fastnn

COLUMNS, PART, GROUP = 50, 1_000_000, 250_000
NETWORKS = ([COLUMNS, 64, 2], [COLUMNS, 256, 256, 2])
THREADS = (1, 2)
WAYS = {"default": True, "plain": False}  # whether numbers are written as places in a dictionary
HEAD = [
    "Network", "Threads", "In memory, rows/s", "Streamed, rows/s", "Ratio",
    "Without dictionaries, rows/s", "Ratio", "Peak memory",
]  # fmt: skip
PAGE = Path(__file__).resolve().parents[1] / "docs" / "scaling.md"


def write(folder: Path, rows: int) -> None:
    """Write the rows, a file for each million, in both ways."""
    import pyarrow
    from pyarrow import parquet

    rng = np.random.default_rng(0)
    for part in range(-(-rows // PART)):
        X = rng.standard_normal((COLUMNS, min(PART, rows - part * PART)), np.float32)
        columns = {f"x{i}": column for i, column in enumerate(X)}
        columns["label"] = (X[0] * X[1] + X[2] > 0).astype(np.int8)
        table = pyarrow.table(columns)
        for way, dictionaries in WAYS.items():
            path = folder / way / f"{part:03}.parquet"
            path.parent.mkdir(exist_ok=True)
            parquet.write_table(table, path, row_group_size=GROUP, use_dictionary=dictionaries)


def peak() -> float:
    """Return the most memory that this process had, in MB."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1e3


def measure(folder: str, sizes: list[int], threads: int, in_memory: int) -> dict[str, float]:
    """Train an epoch on the stream, or on so many of its rows in memory."""
    net = fastnn.Network(sizes, seed=1, threads=threads)
    options = {"epochs": 1, "batch_size": 256, "progress": False}
    data = fastnn.datasets.stream(folder)
    if in_memory:
        parts = [next(iter(part.read())) for part in data.parts[:1]]  # what fits into a cache
        X = np.concatenate([X.X for X, _ in parts])
        y = np.concatenate([y for _, y in parts]).astype(np.int64)
        times = -(-in_memory // len(X))
        arguments = np.tile(X, (times, 1))[:in_memory], np.tile(y, times)[:in_memory]
    else:
        arguments = (data,)
    few = np.zeros((256, COLUMNS), np.float32), np.zeros(256, np.int64)
    net.train(*few, epochs=1, progress=False)  # compiles
    start = time.perf_counter()
    row = net.train(*arguments, **options)[-1]
    return {
        "rows_per_second": row["samples_per_second"],
        "first_pass": time.perf_counter() - start - row["seconds"],
        "peak": peak(),
    }


def measured(*arguments: object) -> dict[str, float]:
    """Return what a process of its own measures."""
    code = f"import sys, json; sys.path.insert(0, {str(Path(__file__).parent)!r}); import streams; "
    code += f"print(json.dumps(streams.measure(*{arguments!r})))"
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env=environment, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return json.loads(done.stdout)


def main() -> None:
    """Print the table, and write it if asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--in-memory", type=int, default=2_000_000)
    parser.add_argument("--networks", type=int, nargs="+", default=range(len(NETWORKS)))
    parser.add_argument("--threads", type=int, nargs="+", default=THREADS)
    parser.add_argument("--folder", help="where the rows are, or where they are to be written")
    parser.add_argument("--write", action="store_true", help="write the table to docs/scaling.md")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(given.folder or temporary)
        if not any(folder.iterdir()):
            write(folder, given.rows)
        lines = [_line(HEAD), _line(["---", *["---:"] * (len(HEAD) - 1)])]
        passes = []
        print(*lines, sep="\n", flush=True)
        for sizes in (NETWORKS[i] for i in given.networks):
            for threads in given.threads:
                whole = measured(str(folder / "default"), sizes, threads, given.in_memory)
                cells, most = [f"`{sizes}`", f"{threads}", f"{whole['rows_per_second']:,.0f}"], 0.0
                for way in WAYS:
                    found = measured(str(folder / way), sizes, threads, 0)
                    rate = found["rows_per_second"]
                    cells += [f"{rate:,.0f}", f"{rate / whole['rows_per_second']:.2f}"]
                    most = max(most, found["peak"])
                    passes.append(found["first_pass"])
                lines.append(_line([*cells, f"{most:,.0f} MB"]))
                print(lines[-1], flush=True)
        lines += [
            "",
            f"The first pass over the rows takes {min(passes):.1f} to {max(passes):.1f} s.",
        ]
        print(*lines[-2:], sep="\n")
    if given.write:
        write_block(PAGE, "streams", "\n".join(lines))


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
