"""What ``precision="bfloat16"`` gains and costs: ``python bench/precision.py``.

For each network, size of a batch and number of threads, networks of both precisions train in turns
in one process, on normal numbers, so that no input is zero. The ratio is the median over the turns
of the two times; rows per second are those of the fastest turns. The steps are plain gradient
descent.

With ``--amx`` there is another column and another ratio, of bfloat16 by AMX; it needs a CPU that
has it. The column before is then that of the other instructions, in the same process.

Then networks of both precisions learn MNIST from the same five seeds, and the accuracies on the
test rows are printed, with the mean difference; bfloat16 is by AMX if that is asked for.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

# Read when the backend is imported.
os.environ["FASTNN_AMX"] = os.environ.get("FASTNN_AMX", "") or str(int("--amx" in sys.argv))

from numba.np.numpy_support import from_dtype

import fastnn
from fastnn.backends.compiled import functions
from fastnn.backends.compiled.kernels import rounded
from fastnn.backends.compiled.machinery import amx
from fastnn.backends.compiled.machinery.jit import Unit
from fastnn.precision import BFLOAT16

AMX = "--amx" in sys.argv
PRECISIONS = ("float32", BFLOAT16)
FLOAT32 = np.dtype(np.float32)
NETWORKS = [(1024, 1024, 1024, 1024), (784, 512, 512, 10)]
ACTIVATIONS = ["tanh", "relu"]
BATCHES = [64, 128, 512, 1024]
LEAST_ROWS = 1024  # of the data, and of an epoch
TURNS = 8
SEEDS = range(5)


def turns(sizes: tuple[int, ...], activation: str, batch: int, threads: int) -> list[list[float]]:
    """Return the seconds per row of training in each way, for each turn."""
    rng = np.random.default_rng(0)
    rows = max(LEAST_ROWS, 2 * batch)
    X = rng.normal(size=(rows, sizes[0])).astype(np.float32)
    y = rng.integers(0, sizes[-1], rows)
    nets = [
        fastnn.Network(sizes, activation, seed=0, threads=threads, precision=precision)
        for precision in (*PRECISIONS, *[BFLOAT16] * AMX)
    ]
    products = [rounded.rounded_product] * 2 + [functions.of_name("rounded_product")] * AMX

    def seconds(net: fastnn.Network, product: Unit) -> float:
        use(product)
        start = time.perf_counter()
        net.train(X, y, epochs=2, batch_size=batch, optimizer="sgd", learning_rate=1e-3)
        return (time.perf_counter() - start) / (2 * rows)

    both = list(zip(nets, products, strict=True))
    for net, product in both:
        seconds(net, product)
    return [[seconds(net, product) for net, product in both] for _ in range(TURNS)]


def use(product: Unit) -> None:
    """Let the plans that are made from now on have this product in bfloat16."""
    address = product.address(from_dtype(FLOAT32))
    functions.addresses(FLOAT32, ["rounded_product"])["rounded_product"] = address


def print_speeds(threads: list[int], batches: list[int]) -> None:
    ways = ["float32", "bfloat16", *["AMX"] * AMX, "ratio", *["ratio of AMX"] * AMX]
    head = ["network", "activation", "batch", "threads", *ways]
    print("|", " | ".join(head), "|")
    print("|", " | ".join(["---"] * len(head)), "|")
    for sizes in NETWORKS:
        for activation in ACTIVATIONS:
            for batch in batches:
                for count in threads:
                    timed = turns(sizes, activation, batch, count)
                    fastest = [1 / min(times) for times in zip(*timed, strict=True)]
                    cells = [list(sizes), activation, batch, count]
                    cells += [f"{rate:,.0f}" for rate in fastest]
                    for way in range(1, len(fastest)):
                        ratio = statistics.median(times[0] / times[way] for times in timed)
                        cells.append(f"{ratio:.2f}")
                    print("|", " | ".join(map(str, cells)), "|", flush=True)


def print_accuracies(epochs: int) -> None:
    mnist = fastnn.datasets.load_mnist(progress=False)
    print("\n| seed | float32 | bfloat16 |\n| --- | --- | --- |")
    differences = []
    for seed in SEEDS:
        accuracies = []
        for precision in PRECISIONS:
            net = fastnn.Network([784, 128, 10], seed=seed, precision=precision)
            net.train(mnist.train_images, mnist.train_labels, epochs=epochs, progress=False)
            accuracies.append(net.evaluate(mnist.test_images, mnist.test_labels)["accuracy"])
        differences.append(100 * (accuracies[1] - accuracies[0]))
        print(
            "|", seed, "|", " | ".join(f"{100 * each:.2f}%" for each in accuracies), "|", flush=True
        )
    print(f"\nmean difference: {statistics.mean(differences):+.3f} points")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2], help="none: no speeds")
    parser.add_argument("--batches", type=int, nargs="*", default=BATCHES)
    parser.add_argument("--epochs", type=int, default=10, help="of MNIST, or 0 to leave it out")
    parser.add_argument("--amx", action="store_true", help="with AMX, too; see docs/precision.md")
    options = parser.parse_args()
    if AMX and not amx.available():
        parser.error(f"AMX cannot be used: {amx.state()}")
    print_speeds(options.threads, options.batches)
    if options.epochs:
        print_accuracies(options.epochs)


if __name__ == "__main__":
    main()
