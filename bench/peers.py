"""How fast the same work is in other libraries: ``python bench/peers.py``.

The work is an epoch of plain gradient descent (ReLU, softmax, cross-entropy, float32) from the same
weights over the same rows in the same order, and prediction of one row and of many. Whoever's mean
loss or probabilities differ from fastnn's by more than `TOLERANCE` is left out of that row.

Each contender runs in a process of its own that has its own data and waits for its turn; turns go
A B C A B C, so that a machine that changes its speed does so for all, and a ratio is the median of
those within the rounds. After each turn there is a pause, as idle threads of the last contender may
spin for a while. Compiling, loading data and putting back the first weights are not timed. Rows are
gathered from the data in the given order by all but scikit-learn, which can only shuffle by itself
and gets them in that order; like the others it computes the loss, and it also checks its arguments.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import peers_report
from contenders import CONTENDERS, LEARNING_RATE, Task

# Name: sizes, where the rows are from, how many there are.
NETWORKS = {
    "mnist": ([784, 128, 10], "MNIST", 60_000),
    "mnist-dense": ([784, 128, 10], "MNIST without zeros", 60_000),
    "mnist-wide": ([784, 512, 512, 10], "MNIST", 60_000),
    "small": ([64, 64, 64, 3], "normal numbers", 200_000),
    "square": ([1024, 1024, 1024, 1024], "normal numbers", 10_000),
}
BATCHES = [1, 8, 32, 128, 512]
# As it was before anything imported fastnn, which lets OpenMP's threads spin less than by default.
ENVIRONMENT = dict(os.environ)
# Relative for the loss, absolute for probabilities. Sums of a thousand float32 numbers in another
# order differ by about 1e-6; steps carry such differences on, and now and then flip a ReLU.
TOLERANCE = 1e-4
# Seconds. After 0.05 threads of scikit-learn still spin: Torch on two cores took 2.5 times so long.
PAUSE = 0.3
# Seconds of a turn: who needs only milliseconds for an epoch takes the median of several.
LEAST = 0.1
PREDICTED, SINGLE = 10_000, 1_000  # rows


def work(contender: str, threads: int, folder: Path) -> None:
    """Do what comes in as lines of JSON, and answer each with one; a process of its own."""
    # Whatever a library prints goes to standard error, not among the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    _, training, prediction = CONTENDERS[contender]
    turn: Callable[[], dict[str, Any]] | None = None
    for line in sys.stdin:
        if asked := json.loads(line):
            turn = None  # lets go of the last one's memory
            task = _task(folder / f"{asked['network']}.npz", asked, threads)
            if asked["cell"] == "training":
                turn = partial(_train, *training(task))
            else:
                convert, predict = prediction(task)
                singles = [convert(task.X[i : i + 1]) for i in range(SINGLE)]
                many = convert(task.X[:PREDICTED])
                turn = partial(_predict, predict, singles, many, asked["calls"])
            turn()  # compiles, and finds its memory
        assert turn is not None
        print(json.dumps({**turn(), "cpu": time.process_time()}), file=answers, flush=True)


def _task(file: Path, asked: dict[str, Any], threads: int) -> Task:
    with np.load(file) as data:
        layers = range(len(asked["sizes"]) - 1)
        weights, biases = ([data[f"{kind}{l}"] for l in layers] for kind in "wb")
        X, y = data["X"], data["y"]
    order = np.random.default_rng(asked["batch"]).permutation(len(X))[: asked["rows"]]
    return Task(weights, biases, X, y, order, asked["batch"], threads)


def _train(reset: Callable[[], object], epoch: Callable[[], float]) -> dict[str, Any]:
    times: list[float] = []
    while sum(times) < LEAST:
        reset()
        start = time.perf_counter()
        loss = epoch()
        times.append(time.perf_counter() - start)
    return {"seconds": median(times), "check": [float(loss)]}


def _predict(
    predict: Callable[[Any], Any], singles: list[Any], many: Any, calls: int
) -> dict[str, Any]:
    def seconds(x: Any) -> float:
        start = time.perf_counter()
        predict(x)
        return time.perf_counter() - start

    p50, p99 = np.percentile([seconds(singles[i % SINGLE]) for i in range(calls)], [50, 99])
    outputs = np.concatenate([np.asarray(predict(singles[0])), np.asarray(predict(many))[-50:]])
    result = {"p50": float(p50), "p99": float(p99), "check": outputs.ravel().tolist()}
    return {**result, "seconds": median(seconds(many) for _ in range(5))}


class Worker:
    """The process of a contender, as seen by the one that calls the turns."""

    def __init__(self, contender: str, threads: int, folder: Path, environment: dict[str, str]):
        self.contender, self.cpu = contender, 0.0
        command = [sys.executable, __file__, "--worker", contender, str(threads), str(folder)]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process: Any = subprocess.Popen(command, env=environment, text=True, **pipes)
        self.asks, self.answers = self.process.stdin, self.process.stdout

    def turn(self, **asked: Any) -> dict[str, Any]:
        """Have it do something; wait for its answer, and until it has gone quiet."""
        self.asks.write(json.dumps(asked) + "\n")
        self.asks.flush()
        line = self.answers.readline()
        if not line:
            raise RuntimeError(f"{self.contender} has failed; its message is above")
        time.sleep(PAUSE)
        answer: dict[str, Any] = json.loads(line)
        self.cpu = answer.pop("cpu")
        return answer

    def close(self) -> None:
        """Let it end."""
        self.asks.close()
        self.process.wait()


def write_network(name: str, folder: Path) -> None:
    """Write the data and the first weights of a network, the same for all contenders."""
    import fastnn

    sizes, source, count = NETWORKS[name]
    rng = np.random.default_rng(0)
    if source == "normal numbers":
        X = rng.standard_normal((count, sizes[0]), np.float32)
        y = (X @ rng.standard_normal((sizes[0], sizes[-1]), np.float32)).argmax(axis=1)
    else:
        images, y, *_ = fastnn.datasets.load_mnist(progress=False)
        X = (np.maximum(images, 1) if "without" in source else images) / np.float32(255)
    arrays = {"X": X, "y": y.astype(np.int64)}
    for l, (fan_in, fan_out) in enumerate(pairwise(sizes)):
        limit = np.sqrt(6 / (fan_in + fan_out))
        arrays[f"w{l}"] = rng.uniform(-limit, limit, (fan_in, fan_out)).astype(np.float32)
        arrays[f"b{l}"] = np.zeros(fan_out, np.float32)
    np.savez(folder / f"{name}.npz", **arrays)


def epoch_rows(name: str, batch: int, seconds: float) -> int:
    """Return rows in whole batches that take a slow contender about so long on one core."""
    sizes, _, most = NETWORKS[name]
    parameters = sum(fan_in * fan_out for fan_in, fan_out in pairwise(sizes))
    # Calls, memory passes over parameters and gradients, and arithmetic.
    step = 3e-4 + parameters * 4 * 8 / 1e10 + 6 * parameters * batch / 8e10
    return batch * min(max(4, int(seconds / step)), most // batch)


def measure(workers: list[Worker], rounds: int, asked: dict[str, Any]) -> dict[str, Any]:
    """Return what the rounds of turns gave, each contender having shown that its work agrees."""
    turns: dict[str, list[Any]] = {}
    refused, reference = {}, None
    for worker in workers:  # fastnn is the first
        check = np.array(worker.turn(**asked)["check"])
        reference = check if reference is None else reference
        error = float(np.abs(check - reference).max())
        if asked["cell"] == "training":
            error /= abs(float(reference[0]))
        if error <= TOLERANCE:
            turns[worker.contender] = []
        else:
            refused[worker.contender] = error
            print(f"{worker.contender} differs by {error:.1e}: left out of {asked}", flush=True)
    import roofline  # not above: contenders import this module, and are not to import fastnn

    start = time.perf_counter()
    others = roofline._seconds_of_others() - sum(worker.cpu for worker in workers)
    for _ in range(rounds):
        for worker in workers:
            if worker.contender in turns:
                turn = worker.turn()
                del turn["check"]
                turns[worker.contender].append(turn)
    others = roofline._seconds_of_others() - sum(worker.cpu for worker in workers) - others
    others /= time.perf_counter() - start
    return {**asked, "other_cpus": others, "turns": turns, "differs": refused}


def start_workers(contenders: list[str], cores: int, folder: Path) -> list[Worker]:
    """Start a process for each contender, with so many cores and threads."""
    import roofline

    names = ("OMP", "MKL", "OPENBLAS", "NUMBA")
    environment = {**ENVIRONMENT, **{f"{name}_NUM_THREADS": str(cores) for name in names}}
    if cores == 1:
        environment["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    can_pin = cores == 1 and hasattr(os, "sched_setaffinity")
    with roofline._pinned(max(os.sched_getaffinity(0)) if can_pin else None):
        return [Worker(name, cores, folder, environment) for name in contenders]


def run(options: argparse.Namespace, contenders: list[str]) -> dict[str, Any]:
    """Measure all cells; print each table, and write the file, whenever one is done."""
    import roofline

    versions = {"fastnn": roofline.fastnn.__version__}
    versions |= {c: importlib.metadata.version(CONTENDERS[c][0][0]) for c in contenders[1:]}
    results: dict[str, Any] = {"machine": roofline._machine(), "versions": versions}
    results |= {"tolerance": TOLERANCE, "learning_rate": LEARNING_RATE, "cells": []}

    def save(cells: list[dict[str, Any]]) -> None:
        results["cells"] += cells
        print("\n" + peers_report.section(cells), flush=True)
        if options.json:
            options.json.write_text(json.dumps(results, indent=1) + "\n")

    for place in ("machine", "versions"):
        print(", ".join(f"{name} {value}" for name, value in results[place].items()))
    with tempfile.TemporaryDirectory() as folder:
        for name in options.networks:
            write_network(name, Path(folder))
        for cores in options.cores:
            if cores > roofline.cpu_threads.available():
                print(f"\n{cores} cores: skipped, as there are fewer")
                continue
            workers = start_workers(contenders, cores, Path(folder))
            train = [worker for worker in workers if CONTENDERS[worker.contender][1]]
            predict = [worker for worker in workers if CONTENDERS[worker.contender][2]]
            predictions = []
            for name in options.networks:
                cell = {"cores": cores, "network": name, "sizes": NETWORKS[name][0]}
                cells = []
                for batch in options.batches:
                    rows = epoch_rows(name, batch, options.seconds)
                    asked = {**cell, "cell": "training", "batch": batch, "rows": rows}
                    cells.append(measure(train, options.rounds, asked))
                save(cells)
                asked = {**cell, "cell": "prediction", "batch": 1, "rows": 1}
                asked["calls"] = options.calls
                predictions.append(measure(predict, options.rounds, asked))
            save(predictions)
            for worker in workers:
                worker.close()
    return results


def main() -> None:
    """Hold the contest as the arguments say."""
    formatter = argparse.ArgumentDefaultsHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], formatter_class=formatter)
    add = parser.add_argument
    add("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    add("--batches", type=int, nargs="+", default=BATCHES, help="rows a step")
    add("--cores", type=int, nargs="+", default=[1, 2], help="one is pinned; threads are as many")
    add("--rounds", type=int, default=5, help="turns of each contender in a cell")
    add("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    add("--seconds", type=float, default=0.3, help="of a slow contender's turn, roughly")
    add("--calls", type=int, default=2_000, help="predictions of one row in a turn")
    add("--json", type=Path, metavar="FILE", help="write all figures there")
    add("--quick", action="store_true", help="two networks, two batch sizes, two short rounds")
    add("--worker", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        contender, threads, folder = options.worker
        work(contender, int(threads), Path(folder))
        return
    if options.quick:
        options.networks, options.batches = ["mnist", "small"], [1, 32]
        options.rounds, options.seconds, options.calls = 2, 0.1, 200
    contenders = ["fastnn"]
    for name in (name for name in options.contenders if name != "fastnn"):
        try:
            for distribution in CONTENDERS[name][0]:
                importlib.metadata.version(distribution)
            contenders.append(name)
        except importlib.metadata.PackageNotFoundError:
            print(f"{name}: skipped, as {distribution} is not installed")
    results = run(options, contenders)
    print("\n" + peers_report.means(results["cells"]))


if __name__ == "__main__":
    main()
