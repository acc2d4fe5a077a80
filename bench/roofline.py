"""How near training steps come to the machine's arithmetic limit: ``python bench/roofline.py``.

The limit is measured, by a loop of float32 multiply-adds that stays in registers. It and the steps
are timed in turns, because a shared machine changes its speed: the share of the peak is the median
over rounds of the steps' rate divided by the peak just before and after.

Operations are those of whole matrix products (`Architecture.training_flops`). A backend may leave
out what it multiplies by zero, and most pixels of MNIST are zero, so its share of the peak can be
more than the arithmetic units do. The last column is from the same images without zeros. Networks
that MNIST does not fit get normal numbers.

Each section runs in a process of its own: one pinned to a CPU, one with all CPUs. That with one CPU
also measures the steps' products beside libxsmm's, if that is installed (see `products.py`).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numba
import numpy as np
import products
from peak import peak

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import fastnn
from fastnn import backends
from fastnn.activations import Array
from fastnn.backends.compiled.machinery import threads as cpu_threads
from fastnn.backends.compiled.machinery.machine import MACHINE
from fastnn.backends.contract import Examples, UpdateRule
from fastnn.backends.dropout import NO_KEYS

ROUNDS = 12
PIXELS, CLASSES = 784, 10
NETWORKS = [[PIXELS, 128, CLASSES], [1024, 1024, 1024, 1024]]


def measure(sizes: list[int], batches: list[int], threads: int, seconds: float) -> dict[str, Any]:
    """Return a row of figures for each batch size, each figure from so many seconds, in a section.

    Also the CPUs' worth of time that other processes took meanwhile, 0 where that cannot be told.
    """
    images, y = _data(sizes)
    net = fastnn.Network(sizes, seed=0, backend="numba", threads=threads)
    backend = backends.get(net.backend)
    backend.prepare(net.model)
    if threads > 1:
        numba.set_num_threads(threads)
    peak(threads)  # compiles
    rows = []
    start, others = time.perf_counter(), _seconds_of_others()
    for batch in batches:
        row = _measure_batch(net, images, y, batch, threads, seconds)
        if images.dtype == np.uint8:
            without_zeros = np.maximum(images, 1)
            row["without_zeros"] = _measure_batch(net, without_zeros, y, batch, threads, seconds)
        rows.append(row)
    others = (_seconds_of_others() - others) / (time.perf_counter() - start)
    return {"threads": threads, "other_cpus": others, "rows": rows}


def _data(sizes: list[int]) -> tuple[Array, Array]:
    """Return MNIST for networks that it fits, and otherwise normal numbers, with labels."""
    if (sizes[0], sizes[-1]) == (PIXELS, CLASSES):
        images, labels, *_ = fastnn.datasets.load_mnist(progress=False)
        return images, labels.astype(np.int64)
    rng = np.random.default_rng(0)
    rows = 10_000
    return rng.standard_normal((rows, sizes[0]), np.float32), rng.integers(0, sizes[-1], rows)


def _seconds_of_others() -> float:
    """Return the CPU time that has gone to other processes and other virtual machines."""
    try:
        ticks = [int(s) for s in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    except OSError:
        return 0.0
    busy = sum(ticks) - ticks[3] - ticks[4]  # neither idle nor waiting for a disk
    return busy / os.sysconf("SC_CLK_TCK") - time.process_time()


def _measure_batch(
    net: fastnn.Network, X: Array, labels: Array, batch: int, threads: int, seconds: float
) -> dict[str, Any]:
    backend = backends.get(net.backend)
    initial = net.parameters.copy()
    rng = np.random.default_rng(0)
    flops = net.architecture.training_flops * batch
    rule, examples = UpdateRule(), Examples(X, labels)
    state = net.model.state_for(rule.optimizer)

    def seconds_per_step(steps: int) -> float:
        net.parameters[:] = initial
        order = rng.permutation(len(X))[: steps * batch]
        rates, losses = np.full(steps, 0.01), np.empty(steps)
        start = time.perf_counter()
        taken = backend.train_steps(
            net.model, examples, order, batch, rates, rule, NO_KEYS, state, losses
        )
        elapsed = time.perf_counter() - start
        if taken < steps:
            raise ArithmeticError(f"training diverged at step {taken} of {steps}")
        return elapsed / steps

    most = len(X) // batch
    guess = seconds_per_step(max(1, min(most, 2048 // batch)))
    steps = max(1, min(most, int(seconds / ROUNDS / guess)))
    times, peaks, shares = [], [peak(threads)], []
    for _ in range(ROUNDS):
        times.append(seconds_per_step(steps))
        peaks.append(peak(threads))
        shares.append(flops / times[-1] / 1e9 / ((peaks[-2] + peaks[-1]) / 2))
    return {
        "batch": batch,
        "threads": cpu_threads.choose(threads, flops),
        "seconds_per_step": median(times),
        "samples_per_second": batch / median(times),
        "gflops": flops / median(times) / 1e9,
        "peak_gflops": median(peaks),
        "share_of_peak": median(shares),
        "shares_of_peak": shares,
    }


def table(section: dict[str, Any]) -> list[list[str]]:
    """Return the cells of a section's table, the headings first."""
    cells = [["batch", "threads", "us/step", "samples/s", "GFLOP/s", "of peak", "no zeros"]]
    for row in section["rows"]:
        cells.append(
            [
                f"{row['batch']}",
                f"{row['threads']}",
                f"{1e6 * row['seconds_per_step']:,.1f}",
                f"{row['samples_per_second']:,.0f}",
                f"{row['gflops']:.1f}",
                f"{row['share_of_peak']:.2f}",
            ]
        )
        if "without_zeros" in row:
            cells[-1].append(f"{row['without_zeros']['share_of_peak']:.2f}")
    return [line[: len(cells[-1])] for line in cells]


def title(section: dict[str, Any]) -> str:
    """Return what a section is, with the peak that was measured in it."""
    peaks = [row["peak_gflops"] for row in section["rows"]]
    return f"{section['name']}, peak {median(peaks):.0f} GFLOP/s"


def warning(sections: list[dict[str, Any]]) -> str:
    """Return that the measurement was disturbed, if it was."""
    others = max(section["other_cpus"] for section in sections)
    if others > 0.1:
        return f"Not to be trusted: other processes kept up to {others:.1f} CPUs busy meanwhile."
    for section in sections:  # a virtual machine may lose a core without being told
        peaks = [row["peak_gflops"] for row in section["rows"]]
        if min(peaks) < 0.8 * max(peaks):
            return f"Not to be trusted: the peak went from {max(peaks):.0f} to {min(peaks):.0f}."
    return ""


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure each section in a process of its own; return the machine and the sections."""
    most = min(options.threads or cpu_threads.available(), numba.config.NUMBA_NUM_THREADS)
    can_pin = hasattr(os, "sched_setaffinity")
    cpu = max(os.sched_getaffinity(0)) if can_pin else None
    name = f"one core, pinned to CPU {cpu}" if can_pin else "one thread, not pinned"
    sections = [{"name": name, **_child(options, 1, cpu)}]
    if most > 1:
        sections.append({"name": f"{most} threads", **_child(options, most, None)})
    return {"machine": _machine(), "sizes": options.sizes, "sections": sections}


def _child(options: argparse.Namespace, threads: int, cpu: int | None) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder, _pinned(cpu):
        path = Path(folder) / "section.json"
        command = [sys.executable, __file__, "--child", "--json", str(path)]
        command += ["--threads", str(threads), "--seconds", str(options.seconds)]
        command += ["--batches", *map(str, options.batches), "--sizes", *map(str, options.sizes)]
        subprocess.run(command, env={**os.environ, "NUMBA_NUM_THREADS": str(threads)}, check=True)
        section: dict[str, Any] = json.loads(path.read_text())
        return section


@contextlib.contextmanager
def _pinned(cpu: int | None) -> Iterator[None]:
    """Keep this thread, and the processes that it starts, on one CPU."""
    if cpu is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _machine() -> dict[str, Any]:
    cpu = platform.processor() or platform.machine()
    with contextlib.suppress(OSError, IndexError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((s.split(":")[1].strip() for s in lines if s.startswith("model name")), cpu)
    return {
        "cpu": cpu,
        "cpus": cpu_threads.available(),
        "vector_bits": MACHINE.bits,
        "fma": MACHINE.fma,
        "system": platform.system(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": numba.__version__,
    }


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    formatter = argparse.ArgumentDefaultsHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], formatter_class=formatter)
    parser.add_argument("--threads", type=int, help="at most; default: all CPUs")
    batches = [1, 8, 32, 128, 512]
    parser.add_argument("--batches", type=int, nargs="+", default=batches, help="rows a step")
    parser.add_argument("--sizes", type=int, nargs="+", help=f"units; default: {NETWORKS}")
    parser.add_argument("--seconds", type=float, default=1.0, help="of steps for each figure")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser


def main() -> None:
    """Measure as the arguments say, and print a table a section."""
    options = parser().parse_args()
    if options.child:
        section = measure(options.sizes, options.batches, options.threads, options.seconds)
        if options.threads == 1:
            section["products"] = products.measure(options.sizes, options.batches)
        options.json.write_text(json.dumps(section))
        return
    results = []
    for sizes in [options.sizes] if options.sizes else NETWORKS:
        options.sizes = sizes
        results.append(run(options))
        if len(results) == 1:
            machine = results[0]["machine"]
            print(", ".join(f"{name} {value}" for name, value in machine.items()))
        for section in results[-1]["sections"]:
            print(f"\n{sizes}, {title(section)}")
            for cells in table(section):
                print("".join(f"{cell:>12}" for cell in cells))
            products.show(section.get("products", []))
        if text := warning(results[-1]["sections"]):
            print(f"\n{text}")
        if options.json:
            options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
