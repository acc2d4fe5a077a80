"""How fast the same work is in other libraries: ``python bench/peers.py``.

The work is an epoch of training (float32) from the same weights over the same rows in the same
order, prediction of one row and of many, and a step of learning from one row. `contest.py` lists
the networks, optimizers and batch sizes. Whoever's mean loss or probabilities differ from fastnn's
by more than `TOLERANCE` is left out of that row.

Each contender runs in a process of its own that has its own data and waits for its turn; turns go
A B C A B C, so that a machine that changes its speed does so for all, and a ratio is the median of
those within the rounds. After each turn there is a pause, as idle threads of the last contender may
spin for a while. Compiling, loading data and putting back the first weights are not timed. Rows are
gathered from the data in the given order by all but scikit-learn, which can only shuffle by itself
and gets them in that order; like the others it computes the loss, and it also checks its arguments.

The whole contest takes hours, so it can be held in pieces: with ``--json FILE``, what is measured
joins the cells that the file has, or replaces them, and ``--missing`` leaves those out.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Any

import contest
import numpy as np
import peers_report
from contenders import CONTENDERS
from contenders.task import RATES, Array, Task

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
# Single rows to learn from before the losses are compared.
LEARNED = 100


def work(contender: str, threads: int, folder: Path) -> None:
    """Do what comes in as lines of JSON, and answer each with one; a process of its own."""
    # Whatever a library prints goes to standard error, not among the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    turn: Callable[[], dict[str, Any]] | None = None
    for line in sys.stdin:
        if asked := json.loads(line):
            turn = None  # lets go of the last one's memory
            task = _task(folder / f"{asked['network']}.npz", asked, threads)
            does = getattr(CONTENDERS[contender], asked["cell"])(task)
            turn = partial(TURNS[asked["cell"]], task, asked, *does)
            turn()  # compiles, and finds its memory
        assert turn is not None
        print(json.dumps({**turn(), "cpu": time.process_time()}), file=answers, flush=True)


def _task(file: Path, asked: dict[str, Any], threads: int) -> Task:
    entry = contest.NETWORKS[asked["network"]]
    with np.load(file) as data:
        layers = range(len(entry.sizes) - 1)
        weights, biases = ([data[f"{kind}{l}"] for l in layers] for kind in "wb")
        X, y = data["X"], data["y"]
    order = np.random.default_rng(asked["batch"]).permutation(len(X))[: asked["rows"]]
    task = Task(weights, biases, X, y, order, asked["batch"], threads)
    task.activation, task.loss = entry.activation, entry.loss
    task.optimizer = asked["optimizer"] or task.optimizer
    return task


def _train(
    task: Task, asked: dict[str, Any], reset: Callable[[], object], epoch: Callable[[], float]
) -> dict[str, Any]:
    times: list[float] = []
    while sum(times) < LEAST:
        reset()
        start = time.perf_counter()
        loss = epoch()
        times.append(time.perf_counter() - start)
    return {"seconds": median(times), "check": [float(loss)]}


def _predict(
    task: Task,
    asked: dict[str, Any],
    convert: Callable[[Array], Any],
    predict: Callable[[Any], Any],
) -> dict[str, Any]:
    singles = [convert(task.X[i : i + 1]) for i in range(SINGLE)]
    many = convert(task.X[:PREDICTED])

    def outputs(x: Any) -> Array:
        return np.asarray(predict(x)).ravel()

    last = 50 * len(task.biases[-1])
    check = np.concatenate([outputs(singles[0]), outputs(many)[-last:]]).tolist()
    single = _percentiles(predict, [(x,) for x in singles], asked["calls"])
    times: list[float] = []
    while len(times) < 5 or sum(times) < LEAST:
        times.append(_seconds(predict, many))
    return {**single, "check": check, "seconds": median(times)}


def _learn(
    task: Task,
    asked: dict[str, Any],
    reset: Callable[[], object],
    convert: Callable[[Array, Array], tuple[Any, Any]],
    learn: Callable[[Any, Any], object],
    learned: Callable[[], list[Array]],
) -> dict[str, Any]:
    rows = [convert(task.X[i : i + 1], task.y[i : i + 1]) for i in range(SINGLE)]
    reset()
    for x, t in rows[:LEARNED]:
        learn(x, t)
    loss = contest.mean_loss(learned(), task.X, task.y)
    return {**_percentiles(learn, rows, asked["calls"]), "check": [loss]}


TURNS: dict[str, Callable[..., dict[str, Any]]] = {
    "training": _train, "prediction": _predict, "learning": _learn
}  # fmt: skip


def _seconds(call: Callable[..., object], *arguments: Any) -> float:
    start = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - start


def _percentiles(
    call: Callable[..., object], rows: list[tuple[Any, ...]], calls: int
) -> dict[str, float]:
    """Return the median and the 99th percentile of the seconds of single calls."""
    times = [_seconds(call, *rows[i % len(rows)]) for i in range(calls)]
    p50, p99 = np.percentile(times, [50, 99])
    return {"p50": float(p50), "p99": float(p99)}


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


def measure(workers: list[Worker], rounds: int, asked: dict[str, Any]) -> dict[str, Any]:
    """Return what the rounds of turns gave, each contender having shown that its work agrees."""
    turns: dict[str, list[Any]] = {}
    refused, reference = {}, None
    for worker in workers:  # fastnn is the first
        check = np.array(worker.turn(**asked)["check"])
        reference = check if reference is None else reference
        error = float(np.abs(check - reference).max())
        if asked["cell"] != "prediction":
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


@contextlib.contextmanager
def started(contenders: list[str], cores: int, folder: Path) -> Iterator[list[Worker]]:
    """Start a process for each contender, with so many cores and threads; end them at last."""
    import roofline

    names = ("OMP", "MKL", "OPENBLAS", "NUMBA")
    environment = {**ENVIRONMENT, **{f"{name}_NUM_THREADS": str(cores) for name in names}}
    if cores == 1:
        environment["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    can_pin = cores == 1 and hasattr(os, "sched_setaffinity")
    with roofline._pinned(max(os.sched_getaffinity(0)) if can_pin else None):
        workers = [Worker(name, cores, folder, environment) for name in contenders]
    try:
        yield workers
    finally:
        for worker in workers:
            worker.close()


class Results:
    """What is known: what the file had, and what is measured; the file has it after each cell."""

    def __init__(self, contenders: list[str], file: Path | None) -> None:
        import roofline

        self.file = file
        versions = {"fastnn": roofline.fastnn.__version__}
        versions |= {c: importlib.metadata.version(CONTENDERS[c].needs[0]) for c in contenders[1:]}
        self.all: dict[str, Any] = {"machine": roofline._machine(), "versions": versions}
        self.all |= {"tolerance": TOLERANCE, "rates": RATES, "cells": []}
        if file and file.exists():
            self.all = contest.merged(json.loads(file.read_text()), self.all)

    def has(self, cell: contest.Cell) -> bool:
        """Return whether a cell is known."""
        return contest.place(cell) in map(contest.place, self.all["cells"])

    def add(self, cell: contest.Cell) -> None:
        """Keep a cell."""
        self.all = contest.merged(self.all, {**self.all, "cells": [cell]})
        if self.file:
            self.file.write_text(json.dumps(self.all, indent=1) + "\n")


def run(options: argparse.Namespace, contenders: list[str], results: Results) -> list[contest.Cell]:
    """Measure what the arguments choose; print each table, and return the new cells."""
    import roofline

    for part in ("machine", "versions"):
        print(", ".join(f"{name} {value}" for name, value in results.all[part].items()))
    measured = []
    for cores in options.cores:
        if cores > roofline.cpu_threads.available():
            print(f"\n{cores} cores: skipped, as there are fewer")
            continue
        chosen = [
            cell
            for cell in contest.cells([cores])
            if is_chosen(cell, options) and not (options.missing and results.has(cell))
        ]
        with tempfile.TemporaryDirectory() as folder:
            for name in dict.fromkeys(cell["network"] for cell in chosen):
                contest.write_network(name, Path(folder))
            with started(contenders if chosen else [], cores, Path(folder)) as workers:
                for _, cells in groupby(chosen, peers_report.table_of):
                    table = []
                    for cell in cells:
                        able = [
                            w for w in workers if getattr(CONTENDERS[w.contender], cell["cell"])
                        ]
                        table.append(measure(able, options.rounds, asked_of(cell, options)))
                        results.add(table[-1])
                    print("\n" + peers_report.section(table), flush=True)
                    measured += table
    return measured


def asked_of(cell: contest.Cell, options: argparse.Namespace) -> contest.Cell:
    """Return a cell with how much of its work a turn is."""
    if cell["cell"] != "training":
        return {**cell, "rows": 1, "calls": options.calls}
    return {**cell, "rows": contest.epoch_rows(cell["network"], cell["batch"], options.seconds)}


def is_chosen(cell: contest.Cell, options: argparse.Namespace) -> bool:
    """Return whether the arguments ask for a cell."""
    if cell["cell"] not in options.kinds or cell["network"] not in options.networks:
        return False
    if cell["cell"] == "prediction":
        return True
    return cell["batch"] in options.batches and cell["optimizer"] in options.optimizers


def main() -> None:
    """Hold the contest as the arguments say."""
    formatter = argparse.ArgumentDefaultsHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], formatter_class=formatter)
    add = parser.add_argument
    networks, optimizers = list(contest.NETWORKS), contest.OPTIMIZERS
    add("--kinds", nargs="+", choices=contest.KINDS, default=contest.KINDS)
    add("--networks", nargs="+", choices=networks, default=networks)
    add("--optimizers", nargs="+", choices=optimizers, default=optimizers)
    batches = contest.BATCHES
    add("--batches", type=int, nargs="+", choices=batches, default=batches, help="rows a step")
    add("--cores", type=int, nargs="+", default=[1, 2], help="one is pinned; threads are as many")
    add("--rounds", type=int, default=5, help="turns of each contender in a cell")
    add("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    add("--seconds", type=float, default=0.3, help="of a slow contender's turn, roughly")
    add("--calls", type=int, default=2_000, help="predictions of one row in a turn")
    add("--json", type=Path, metavar="FILE", help="add all figures to those in it")
    add("--missing", action="store_true", help="leave out the cells that the file has")
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
            for distribution in CONTENDERS[name].needs:
                importlib.metadata.version(distribution)
            contenders.append(name)
        except importlib.metadata.PackageNotFoundError:
            print(f"{name}: skipped, as {distribution} is not installed")
    try:
        results = Results(contenders, options.json)
    except ValueError as error:
        parser.error(f"{options.json}: {error}")
    if measured := run(options, contenders, results):
        print("\n" + peers_report.means(measured))


if __name__ == "__main__":
    main()
