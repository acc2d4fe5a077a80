"""What ``precision="bfloat16"`` gains and costs: ``python bench/precision.py``.

For each network, size of a batch and number of threads, networks of both precisions train in turns
in one process, on normal numbers, so that no input is zero. The ratio is the median over the turns
of the two times; rows per second are those of the fastest turns. The steps are plain gradient
descent.

Then networks of both precisions learn MNIST from the same five seeds, and the accuracies on the
test rows are printed, with the mean difference.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import fastnn
from fastnn.precision import BFLOAT16

PRECISIONS = ("float32", BFLOAT16)
NETWORKS = [(1024, 1024, 1024, 1024), (784, 512, 512, 10)]
ACTIVATIONS = ["tanh", "relu"]
BATCHES = [64, 128, 512, 1024]
LEAST_ROWS = 1024  # of the data, and of an epoch
TURNS = 8
SEEDS = range(5)


def turns(sizes: tuple[int, ...], activation: str, batch: int, threads: int) -> list[list[float]]:
    """Return the seconds per row of training in both precisions, for each turn."""
    rng = np.random.default_rng(0)
    rows = max(LEAST_ROWS, 2 * batch)
    X = rng.normal(size=(rows, sizes[0])).astype(np.float32)
    y = rng.integers(0, sizes[-1], rows)
    nets = [
        fastnn.Network(sizes, activation, seed=0, threads=threads, precision=precision)
        for precision in PRECISIONS
    ]

    def seconds(net: fastnn.Network) -> float:
        start = time.perf_counter()
        net.train(X, y, epochs=2, batch_size=batch, optimizer="sgd", learning_rate=1e-3)
        return (time.perf_counter() - start) / (2 * rows)

    for net in nets:
        seconds(net)
    return [[seconds(net) for net in nets] for _ in range(TURNS)]


def print_speeds(threads: list[int], batches: list[int]) -> None:
    print("| network | activation | batch | threads | float32 | bfloat16 | ratio |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for sizes in NETWORKS:
        for activation in ACTIVATIONS:
            for batch in batches:
                for count in threads:
                    timed = turns(sizes, activation, batch, count)
                    fastest = [1 / min(times) for times in zip(*timed, strict=True)]
                    ratio = statistics.median(slow / fast for slow, fast in timed)
                    cells = [list(sizes), activation, batch, count]
                    cells += [f"{rate:,.0f}" for rate in fastest] + [f"{ratio:.2f}"]
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
    options = parser.parse_args()
    print_speeds(options.threads, options.batches)
    if options.epochs:
        print_accuracies(options.epochs)


if __name__ == "__main__":
    main()
