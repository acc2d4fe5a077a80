"""Matrix products of training steps, on one core: ``python bench/products.py``.

First their share of the arithmetic peak, while steps are taken: each operation of a step is timed
where it is, with whatever is in the caches there. Steps and the loop that measures the peak take
turns, and a share is the median over the rounds.

Then the products beside libxsmm's, if there are a C compiler and libxsmm (``apt-get install
libxsmm-dev``). It compiles a kernel for each shape of a product. Its matrices lie in blocks
already, the best of some sizes, and need no biases or activations; fastnn's lie by rows, as in
training. `roofline.py` measures these of its networks' steps, too.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
import timeit
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import pairwise, product
from pathlib import Path
from statistics import median
from typing import Any

import numba
import numpy as np
from peak import peak

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import fastnn
from fastnn.backends.compiled import functions
from fastnn.backends.compiled.calls import Call
from fastnn.backends.compiled.kernels import batches as kernels
from fastnn.backends.compiled.kernels import layout, products
from fastnn.backends.compiled.machinery import tiles
from fastnn.backends.compiled.machinery.instructions import flush_denormals, restore_denormals
from fastnn.backends.compiled.operations import steps_of
from fastnn.backends.contract import Examples, UpdateRule
from fastnn.model.architecture import padded
from fastnn.model.parameters import aligned_zeros

SOURCE = Path(__file__).with_name("libxsmm.c")
LIBRARIES = ["-lxsmm", "-lxsmmnoblas", "-lpthread", "-lrt", "-ldl", "-lm"]
FLOAT32 = np.dtype("float32")
# Rows and columns, and the depth, of the blocks to choose from; the blocks divide the matrices.
BLOCKS, DEPTHS = [32, 64, 1024], [64, 256, 1024]
ROUNDS, TIMINGS = 7, 5
LEAST = 0.001  # seconds of a timing: short beside a time slice
STEPS = 4  # in a row, on rows of their own
ROUND = 0.03  # seconds of steps between two measurements of the peak
OPERATIONS = {
    layout.FORWARD: "forward", layout.BACKWARD: "backward", layout.UPDATING: "gradient"
}  # fmt: skip

Shape = tuple[int, int, int, bool]  # rows, columns, depth; whether A is stored by columns


def shapes(sizes: list[int], batch: int) -> list[Shape]:
    """Return the products of a training step: outputs, gradients of weights, deltas below."""
    layers = list(pairwise(sizes))
    forward = [(batch, fan_out, fan_in, False) for fan_in, fan_out in layers]
    gradients = [(fan_in, fan_out, batch, True) for fan_in, fan_out in layers]
    backward = [(batch, fan_in, fan_out, False) for fan_in, fan_out in layers[1:]]
    return list(dict.fromkeys([*forward, *gradients, *backward]))


@numba.njit(nogil=True)
def _operate(plans, first, count, o):
    """Do an operation of a step for some rows."""
    plan, before = plans[0], flush_denormals()
    batch = layout.Batch(first, count, 0)
    kernels.call_phase(plan.functions.phase, (plan, o, o + 1, batch))
    restore_denormals(before)


class Step:
    """A step of training, of which each operation is timed.

    Attributes
    ----------
    operations : list of (int, int)
        What each does, as a code of `layout`, and its layer.
    """

    def __init__(self, sizes: list[int], batch: int) -> None:
        rng = np.random.default_rng(0)
        X = rng.standard_normal((STEPS * batch, sizes[0]), np.float32)
        examples = Examples(X, rng.integers(0, sizes[-1], len(X)))
        model = fastnn.Network(sizes, seed=0, backend="numba", threads=1).model
        task: dict[str, Any] = {"learning": True, "updating": True, "rule": UpdateRule()}
        self.call = Call(model, X, batch, np.arange(len(X)), **task)
        numbers = np.full((STEPS, 2), (1e-7, 1), np.float32)  # alpha and beta
        self.batch, self.kept = batch, (examples, numbers)  # whose addresses the plan has
        self.call.run(examples, numbers=numbers)
        made, every = self.call.plan.task, list(range(len(sizes) - 1))
        operations, ends, first_change = steps_of(model.architecture, made, False, every)
        self.operations = operations[["what", "layer"]].tolist()
        self.before_change = int(ends[first_change - 1])
        self.block = made.capacity

    def take(self) -> list[list[float]]:
        """Take some steps; return the seconds of each operation in each."""
        record, steps = self.call.plan.record, []
        for first in range(0, STEPS * self.batch, self.batch):
            times = [0.0] * len(self.operations)
            stop = first + self.batch
            of_blocks = [
                (o, block, min(self.block, stop - block))
                for block in range(first, stop, self.block)
                for o in range(self.before_change)
            ]
            at_the_end = [(o, first, self.batch) for o in range(self.before_change, len(times))]
            for o, begin, count in of_blocks + at_the_end:
                start = time.perf_counter()
                _operate(record, begin, count, o)
                times[o] += time.perf_counter() - start
            steps.append(times)
        return steps


def measure_steps(sizes: list[int], batches: list[int]) -> list[dict[str, Any]]:
    """Return what each product of a training step reaches of the arithmetic peak."""
    rows, layers = [], list(pairwise(sizes))
    for batch in batches:
        step, times, shares, peaks = Step(sizes, batch), [], [], [peak(1), peak(1)]
        shape = np.array([2 * batch * fan_in * fan_out for fan_in, fan_out in layers])
        operations = np.array([shape[layer] for _, layer in step.operations])
        for _ in range(ROUNDS):
            start, seconds = time.perf_counter(), []
            while time.perf_counter() - start < ROUND:
                seconds += step.take()
            times.append(np.median(seconds, axis=0))
            peaks.append(peak(1))
            shares.append(operations / times[-1] / 5e8 / (peaks[-2] + peaks[-1]))
        for (what, layer), seconds, share in zip(
            step.operations, np.median(times, axis=0), np.median(shares, axis=0), strict=True
        ):
            name = OPERATIONS.get(what)
            rows.append(
                {
                    "batch": batch, "what": name or "other", "layer": layer,
                    "shape": (*layers[layer], step.block) if name else None,
                    "seconds": float(seconds), "share": float(share) if name else None,
                    "peak_gflops": median(peaks[1:]),
                }
            )  # fmt: skip
    return rows


@numba.njit(nogil=True)
def _repeat(multiply, calls, a, b, c, shape, sums):
    for _ in range(calls):
        multiply(a, b, c, shape, sums, 0)


class Ours:
    """A product as a step of training computes it."""

    def __init__(self, shape: Shape) -> None:
        rows, columns, depth, transposed = shape
        products.product.prepare(functions.from_dtype(FLOAT32))
        stored = (depth, rows) if transposed else (rows, depth)
        rng, addresses = np.random.default_rng(0), []
        self.arrays = []
        for height, width in (stored, (depth, columns), (rows, columns)):
            stride = padded(width, FLOAT32.itemsize)
            array = aligned_zeros(height * stride, FLOAT32)
            array.reshape(height, stride)[:, :width] = rng.uniform(-1, 1, (height, width))
            self.arrays.append((array, stride))
            addresses.append(layout.Matrix(array.ctypes.data, stride, 1))
        if transposed:
            addresses[0] = layout.Matrix(addresses[0].address, 1, addresses[0].row)
        one = np.float32(1)
        sums = layout.Sums(tiles.FROM_ZERO, 0, tiles.PLAIN, 0, one, one)
        self.run = partial(
            _repeat, products.product.dispatcher, a=addresses[0], b=addresses[1], c=addresses[2],
            shape=layout.Shape(rows, columns, depth), sums=sums,
        )  # fmt: skip
        self.seconds(1)  # compiles

    def seconds(self, calls: int) -> float:
        """Return the seconds of a product, the shortest of some timings of so many calls."""
        return min(timeit.repeat(lambda: self.run(calls), number=1, repeat=TIMINGS)) / calls


class Libxsmm:
    """The process of the C program."""

    def __init__(self, program: Path) -> None:
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process: Any = subprocess.Popen([str(program)], text=True, bufsize=1, **pipes)

    def seconds(self, shape: Shape, blocks: tuple[int, int, int], calls: int) -> float:
        """Return the seconds of a product, or 0 if there is no kernel for such blocks."""
        rows, columns, depth, _ = shape
        # What it stores by columns is here by rows.
        print(columns, rows, depth, *blocks, calls, file=self.process.stdin)
        return float(self.process.stdout.readline())

    def best_blocks(self, shape: Shape) -> tuple[int, int, int] | None:
        """Return the sizes of the blocks that are fastest, or None if none has a kernel."""
        rows, columns, depth, _ = shape
        limits = product(BLOCKS, BLOCKS, DEPTHS)
        sizes = {(_part(columns, m), _part(rows, n), _part(depth, k)) for m, n, k in limits}
        calls = _calls(1e-11 * 2 * rows * columns * depth)
        times = {blocks: self.seconds(shape, blocks, calls) for blocks in sorted(sizes)}
        return min(
            (b for b, seconds in times.items() if seconds), key=times.__getitem__, default=None
        )


def _part(size: int, limit: int) -> int:
    """Return the largest divisor that is within the limit."""
    return next(part for part in range(min(size, limit), 0, -1) if size % part == 0)


def _calls(seconds: float) -> int:
    """Return how many calls of so many seconds make a timing."""
    return max(1, round(LEAST / seconds))


@contextmanager
def started() -> Iterator[Libxsmm | None]:
    """Build and start the C program; None, and the reason is printed, if that fails."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "libxsmm"
        command = ["cc", "-O2", str(SOURCE), "-o", str(program), *LIBRARIES]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except FileNotFoundError:
            print("libxsmm: skipped, as there is no C compiler (cc)")
            yield None
            return
        except subprocess.CalledProcessError as error:
            print(f"libxsmm: skipped, as it does not build: {error.stderr.strip().splitlines()[0]}")
            yield None
            return
        libxsmm = Libxsmm(program)
        try:
            yield libxsmm
        finally:
            libxsmm.process.communicate()


def measure(sizes: list[int], batches: list[int]) -> list[dict[str, Any]]:
    """Return what is found of each product of training steps; nothing without libxsmm.

    Batches of one row are left out, as training has other kernels for them.
    """
    rows: list[dict[str, Any]] = []
    with started() as libxsmm:
        if libxsmm is None:
            return rows
        for batch in (batch for batch in batches if batch > 1):
            for shape in shapes(sizes, batch):
                row = {"batch": batch, "shape": shape[:3], "transposed": shape[3]}
                rows.append({**row, **_measure_shape(shape, libxsmm)})
    return rows


def _measure_shape(shape: Shape, libxsmm: Libxsmm) -> dict[str, Any]:
    blocks, ours = libxsmm.best_blocks(shape), Ours(shape)
    calls = _calls(ours.seconds(1))
    own, others = [], []
    for _ in range(ROUNDS):
        own.append(ours.seconds(calls))
        if blocks:
            others.append(libxsmm.seconds(shape, blocks, calls))
    return {
        "blocks": blocks,
        "seconds": median(own),
        "libxsmm_seconds": median(others) if others else None,
        "share": median(b / a for a, b in zip(own, others, strict=True)) if others else None,
    }


def table(rows: list[dict[str, Any]]) -> list[list[str]]:
    """Return the cells of a table, the headings first."""
    cells = [["batch", "product", "GFLOP/s", "libxsmm's", "of libxsmm"]]
    for row in rows:
        m, n, k = row["shape"]
        rates = [
            f"{2 * m * n * k / seconds / 1e9:.1f}" if seconds else "no kernel"
            for seconds in (row["seconds"], row["libxsmm_seconds"])
        ]
        share = f"{row['share']:.2f}" if row["share"] else "-"
        name = f"[{m}, {k}]{'ᵀ' if row['transposed'] else ''} [{k}, {n}]"
        cells.append([f"{row['batch']}", name, *rates, share])
    return cells


def table_of_steps(rows: list[dict[str, Any]]) -> list[list[str]]:
    """Return the cells of the table of `measure_steps`, the headings first."""
    cells = [["batch", "product", "us", "of peak"]]
    for row in rows:
        if row["share"] is None:
            continue
        fan_in, fan_out, block = row["shape"]
        name = f"{row['what']} {row['layer'] + 1} [{fan_in}, {fan_out}]"
        if block < row["batch"]:
            name += f" by {block}"
        cells.append(
            [f"{row['batch']}", name, f"{1e6 * row['seconds']:,.1f}", f"{row['share']:.3f}"]
        )
    return cells


def show(rows: list[dict[str, Any]]) -> None:
    """Print a table of what `measure` found, if anything."""
    if rows:
        _print(table(rows))


def _print(cells: list[list[str]]) -> None:
    for row in cells:
        print("".join(f"{cell:>30}" if c == 1 else f"{cell:>12}" for c, cell in enumerate(row)))


def main() -> None:
    """Measure as the arguments say, and print a table."""
    formatter = argparse.ArgumentDefaultsHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], formatter_class=formatter)
    sizes, batches = [784, 128, 10], [8, 32, 128, 512]
    parser.add_argument("--sizes", type=int, nargs="+", default=sizes, help="units of each layer")
    parser.add_argument("--batches", type=int, nargs="+", default=batches, help="rows a step")
    options = parser.parse_args()
    _print(table_of_steps(measure_steps(options.sizes, options.batches)))
    print()
    show(measure(options.sizes, options.batches))


if __name__ == "__main__":
    main()
