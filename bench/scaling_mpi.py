"""How training over MPI grows with the ranks: ``python bench/scaling_mpi.py --write``.

It needs the extra ``mpi`` and mpiexec. Each way to train is measured in a process of its own, in
turns: the ranks of one machine, and those of namespaces that a network of some rate joins, which
need Linux, root and MPICH. What networks of many machines show is modelled from the times of one
rank: all sums are exchanged in two passes, in each of which a rank sends a message to every other.
The model is compared with what the namespaces show.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "bench")]

from networks import ENVIRONMENT, Network, Refused  # noqa: E402

from fastnn.distributed import launched_rank  # noqa: E402

PAGE, BEGIN, END = ROOT / "docs/scaling.md", "<!-- scaling_mpi -->", "<!-- /scaling_mpi -->"
SIZES, BATCH, STEPS, TURNS = [784, 512, 512, 10], 1024, 16, 2
PARAMETERS = sum((a + 1) * b for a, b in pairwise(SIZES))
WAYS = {"1 rank": (1, 1), "2 ranks": (2, 1), "4 ranks": (4, 1), "1 process, 2 threads": (0, 2)}
NODES, LATENCY = (8, 16, 32, 64, 128, 256), 25e-6  # seconds for a message
NETWORKS = {"10 Gbit/s": 10e9 / 8, "100 Gbit/s": 100e9 / 8}
WIRES = {"10 Gbit/s": ("10gbit", "50us"), "1 Gbit/s": ("1gbit", "100us")}
OF_A_NODE, EVERY = 256, (1, 8, 64)  # rows of a step, and steps between two exchanges
LONG = 120  # seconds that no measurement takes


class Times(NamedTuple):
    """What a node takes: so many seconds for a step of no rows, for each row, and for the sum."""

    step: float
    row: float
    sum: float

    def computing(self, rows: float) -> float:
        """Return the seconds of a step without any exchange."""
        return self.step + self.row * rows


def seconds_of(function: Callable[[], object], repeats: int) -> float:
    """Return the median of the seconds that a call takes."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds))


def train(threads: int, batch: int, communicator: Any) -> float:
    """Return the seconds of a step, those of the fastest epoch."""
    import fastnn

    rows = batch * STEPS
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(rows, SIZES[0])).astype(np.float32), rng.integers(0, SIZES[-1], rows)
    net = fastnn.Network(SIZES, seed=0, threads=threads)
    settings: dict[str, Any] = {"batch_size": batch, "epochs": 4, "progress": False}
    history = net.train(X, y, **settings, learning_rate=0.01, communicator=communicator)
    return min(history["seconds"]) / STEPS


def exchanges(communicator: Any) -> dict[str, float]:
    """Return the seconds of a message between two ranks and of each byte, and of an exchange."""
    from fastnn.training.shares import Sum

    def there_and_back(message: Any) -> Callable[[], object]:
        def go() -> None:
            if communicator.rank == 0:
                communicator.Send(message, 1)
                communicator.Recv(message, 1)
            elif communicator.rank == 1:
                communicator.Recv(message, 0)
                communicator.Send(message, 0)

        return go

    small, large = np.zeros(1), np.zeros(1 << 19)  # as long as a part of what is exchanged
    latency = seconds_of(there_and_back(small), 200) / 2
    whole = seconds_of(there_and_back(large), 20) / 2
    total = Sum(communicator, PARAMETERS, np.dtype(np.float32))
    communicator.Barrier()
    exchanged = seconds_of(total.make, 20)
    return {"latency": latency, "byte": (whole - latency) / large.nbytes, "exchange": exchanged}


def child(threads: int, batch: int, over_mpi: bool, network: bool) -> dict[str, float]:
    """Return what a process that is started for it measures."""
    communicator, found = None, {}
    if over_mpi:
        from mpi4py import MPI

        communicator = MPI.COMM_WORLD
    if network:
        found = exchanges(communicator)
    return {"step": train(threads, batch, communicator), **found}


def asked(command: list[str], environment: dict[str, str]) -> dict[str, float]:
    """Return what a child prints."""
    given = {**os.environ, **environment}
    try:
        done = subprocess.run(command, env=given, capture_output=True, text=True, timeout=LONG)
    except subprocess.TimeoutExpired:
        raise Refused(f"no answer in {LONG} seconds") from None
    if done.returncode:
        raise Refused(f"exit code {done.returncode}: {done.stderr.strip().splitlines()[-1:]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def options(threads: int, batch: int, *more: str) -> list[str]:
    """Return the command of a child."""
    return [sys.executable, __file__, "--train", str(threads), "--batch", str(batch), *more]


def measure(mpiexec: str) -> tuple[dict[str, float], Times]:
    """Return the seconds of a step of each way to train, the best of some turns; and of a node."""
    found: dict[str, list[float]] = {name: [] for name in WAYS}
    few = []
    for _ in range(TURNS):
        for name, (ranks, threads) in WAYS.items():
            command = options(threads, BATCH, *["--mpi"] * bool(ranks))
            command = [mpiexec, "-n", str(ranks), *command] if ranks else command
            found[name].append(asked(command, {})["step"])
        few.append(asked(options(1, BATCH // 4), {})["step"])
    seconds = {name: min(each) for name, each in found.items()}
    row = (seconds["1 rank"] - min(few)) / (BATCH - BATCH // 4)
    parts, out = np.ones((2, PARAMETERS // 2), np.float32), np.empty(PARAMETERS // 2, np.float32)
    summed = seconds_of(lambda: np.add.reduce(parts, axis=0, out=out), 50)
    return seconds, Times(max(seconds["1 rank"] - row * BATCH, 0.0), row, summed)


def over_networks(mpiexec: str) -> dict[str, Any]:
    """Return what namespaces show, by network and ranks; or why there is nothing to show."""
    said = subprocess.run([mpiexec, "--version"], capture_output=True, text=True).stdout
    if "HYDRA" not in said:
        return {"skipped": "they need MPICH's mpiexec"}
    found: dict[str, Any] = {}
    for name, (rate, delay) in WIRES.items():
        for ranks in (2, 4):
            try:
                with Network(ranks, rate, delay) as network:
                    command = network.command(mpiexec, *options(1, BATCH, "--mpi", "--network"))
                    found[f"{name}, {ranks} ranks"] = asked(command, ENVIRONMENT)
                    found["without delay"] = network.without_delay
            except Refused as error:
                return {"skipped": str(error)}
    return found


def exchange(nodes: int, seconds_of_a_byte: float, latency: float, summing: float) -> float:
    """Return the modelled seconds of summing a gradient up."""
    message = latency + 4 * PARAMETERS / nodes * seconds_of_a_byte
    return 2 * (nodes - 1) * message + summing


def rows_for(share: float, nodes: int, exchanged: float, node: Times) -> int:
    """Return the rows of a batch from which on so much of the speed of all nodes is left.

    A share of 1 / nodes is the speed of one.
    """
    # share = (computing(rows) / nodes) / (computing(rows / nodes) + exchanged), solved for rows.
    wanted = share * (node.step + exchanged) - node.step / nodes
    return max(nodes, int(np.ceil(wanted / (1 - share) * nodes / node.row)))


def left(every: int, nodes: int, exchanged: float, node: Times) -> float:
    """Return the share of the speed of all nodes that is left with `OF_A_NODE` rows in each."""
    alone = node.computing(OF_A_NODE)
    return alone / (alone + exchanged / every)


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """Return a table of Markdown, with numbers in all columns but the first."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def checked_table(found: dict[str, Any], node: Times) -> list[str]:
    """Return what namespaces show, beside what the model says of the same network."""
    if "skipped" in found:
        return [f"**Networks of namespaces were skipped**: {found['skipped']}"]
    said, cpus = found.pop("without delay"), len(os.sched_getaffinity(0))
    delays = ", ".join(f"{name} {delay}" for name, (_, delay) in WIRES.items())
    how = f"Each message is delayed: {delays}."
    if said:
        how = f"No delay is added, as this kernel has no netem (`{said.rpartition(': ')[2]}`)."
    lines = [
        f"**Measured over TCP** between network namespaces on {cpus} CPUs, at the rate that is "
        f"named. {how} **The model**, from the latency and the bandwidth that a ping-pong of two "
        f"ranks shows here; ranks beyond {cpus} share the CPUs:",
        "",
    ]
    rows = []
    for name, each in found.items():
        ranks = int(name.split()[-2])
        modelled = exchange(ranks, each["byte"], each["latency"], node.sum)
        step = node.computing(BATCH / ranks) * max(1, ranks / cpus) + modelled
        cells = [name, f"{1e6 * each['latency']:.0f}", f"{8e-9 / each['byte']:.2f}"]
        for measured, model in ((each["exchange"], modelled), (each["step"], step)):
            error = 100 * (model / measured - 1)
            cells += [f"{1e3 * measured:.2f}", f"{1e3 * model:.2f}", f"{error:+.0f}%"]
        rows.append(cells)
    head = ["Network", "latency, microseconds", "Gbit/s"]
    for what in ("exchange", "step"):
        head += [f"{what}, milliseconds", "modelled", "error"]
    return lines + table(head, rows)


def page(seconds: dict[str, float], node: Times, found: dict[str, Any]) -> str:
    """Return the tables."""
    one = seconds["1 rank"]
    step = "too little for a step to be measured"
    if node.step >= 5e-7:  # a difference of two measurements, which may be none
        step = f"{1e6 * node.step:.0f} microseconds for a step"
    lines = [f"**Measured** on one machine, float32, {SIZES}, batches of {BATCH:,}, SGD:", ""]
    rows = [[name, f"{1e3 * t:.2f}", f"{one / t:.2f}"] for name, t in seconds.items()]
    lines += table(["Way to train", "milliseconds a step", "times one rank"], rows)
    lines += ["", *checked_table(found, node), ""]
    lines += [
        f"**Modelled** for the same network, {PARAMETERS:,} parameters: a node takes "
        f"{step}, {1e6 * node.row:.1f} microseconds for "
        f"each row, as the one rank above, {1e3 * node.sum:.2f} milliseconds for the sum, and a "
        f"message {1e6 * LATENCY:.0f} microseconds and its bytes. Rows of a batch, of all nodes, "
        "from which on they are faster than one, and from which on half of their speed is left:",
        "",
    ]
    head, many, shares = ["Nodes"], [], []
    for name in NETWORKS:
        head += [f"{name}, faster than one", "half"]
    for nodes in NODES:
        cells, others = [str(nodes)], [str(nodes)]
        for bandwidth in NETWORKS.values():
            t = exchange(nodes, 1 / bandwidth, LATENCY, node.sum)
            cells += [f"{rows_for(share, nodes, t, node):,}" for share in (1 / nodes, 0.5)]
            others += [f"{left(every, nodes, t, node):.2f}" for every in EVERY]
        many.append(cells)
        shares.append(others)
    lines += table(head, many)
    lines += [
        "",
        f"**Modelled**: the share of the speed of all nodes that is left with {OF_A_NODE} rows a "
        "node in each step, if they exchange after every step, or every so many:",
        "",
    ]
    head = ["Nodes", *(f"{name}, {every}" for name in NETWORKS for every in EVERY)]
    return "\n".join([*lines, *table(head, shares)])


def main() -> None:
    """Measure, and print or write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the tables to docs/scaling.md")
    parser.add_argument("--train", type=int, metavar="THREADS", help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=int, default=BATCH, help=argparse.SUPPRESS)
    parser.add_argument("--mpi", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--network", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.train:
        found = child(given.train, given.batch, given.mpi, given.network)
        if not launched_rank():  # all have the same history
            print(json.dumps(found))
        return
    beside = Path(sys.executable).with_name("mpiexec")
    mpiexec = str(beside) if beside.exists() else shutil.which("mpiexec")
    if mpiexec is None:
        raise SystemExit("mpiexec is not installed: pip install mpich")
    text = page(*measure(mpiexec), over_networks(mpiexec))
    if not given.write:
        print(text)
        return
    before, _, rest = PAGE.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


if __name__ == "__main__":
    main()
