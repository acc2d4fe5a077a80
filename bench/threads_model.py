"""What training by threads should take on more CPUs than are at hand.

    python bench/threads_model.py              # tables from what was measured
    python bench/threads_model.py --measure    # measures first, on a quiet machine with two CPUs

A step is a sum over its phases: the longest of all threads, what it costs that threads meet, and
what the last of them does alone. What a thread takes is measured: the kernels do its share of the
product's own plan for so many threads, alone on one CPU, from its own caches. What it costs to
fetch what others have written is added: `traffic` says which bytes these are, and a ping-pong of
two threads what they cost. Nothing is measured on more than two CPUs: how meeting costs grow, and
whether two CPUs share a core, are assumptions, which the tables name.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numba
import numpy as np
import threads as table
import traffic
from contenders import CONTENDERS

import fastnn
from fastnn.backends.compiled import calls, operations, plan
from fastnn.backends.compiled.kernels import batches
from fastnn.backends.compiled.kernels.layout import Batch
from fastnn.backends.compiled.machinery import atomic
from fastnn.backends.compiled.machinery import threads as cpu_threads
from fastnn.backends.compiled.machinery.instructions import ticks
from fastnn.backends.contract import Examples, UpdateRule
from fastnn.optimizers import SGD

MOST, L2 = 16, 1024 * 1024
FIGURES = Path(__file__).with_name("results") / "threads_model.json"
COUNTS = [1, 2, 4, 8, 16]
# Shares of the design before, for which there are figures of 16 CPUs.
OLD_CELLS: list[tuple[list[int], int]] = [
    ([1024] * 4, 512), ([1024] * 4, 2048), ([2048, 2048, 2048, 10], 512),
    ([2048, 2048, 2048, 10], 128),
]  # fmt: skip
STEPS = 3  # of the caches, until nothing is new
GFLOPS_BEFORE = {
    "[1024, 1024, 1024, 1024], 512": [137, 231, 430, 459, 618],
    "[1024, 1024, 1024, 1024], 2,048": [None, 218, 493, 412, 835],
    "[2048, 2048, 2048, 10], 512": [132, 247, 407, 359, 504],
    "[2048, 2048, 2048, 10], 128": [None, 179, 189, 264, 256],
}
LEAST_SECONDS, LEAST_STEPS, TIMINGS = 0.03, 20, 5
# A matrix that is read and written by panels: rows of so many numbers, in the second-level cache
# and in the third.
COLUMNS, PANEL, NEAR_ROWS, L3_ROWS = 144, 48, 448, 14336


# What is measured


@numba.njit
def _steps_alone(plans, ends, blocks, moving, count, thread, steps, spent):
    """Do a thread's shares of so many steps; write the ticks of each phase of the steps."""
    here = plans[0]
    for s in range(steps):
        for block in range(blocks):
            first = (s * blocks + block) % (here.rows // count) * count
            begin = 0
            for p in range(len(ends)):
                if p < len(ends) - moving or block == blocks - 1:
                    start = ticks()
                    batches.call_phase(
                        here.functions.phase,
                        (here, begin, ends[p], Batch(first, count, thread)),
                    )
                    spent[s, p] += ticks() - start
                begin = ends[p]


@contextlib.contextmanager
def as_before() -> Iterator[None]:
    """Split as the design before did: by units, if there are far more of them than rows."""

    def units(layer: Any, rows: int, threads: int) -> int:
        worth = max(operations.UNITS_WORTH_A_THREAD * threads, 4 * rows)
        return threads if threads > 1 and layer.fan_out >= worth else 1

    with (
        mock.patch.object(operations, "groups_of_units", units),
        mock.patch.object(plan, "groups_of_units", units),
        mock.patch.object(operations, "groups_of_the_update", lambda layer, forward, n: forward),
    ):
        yield


class Step:
    """A cell's plan for so many threads, ready to do any share of it."""

    def __init__(self, sizes: list[int], batch: int, threads: int, run: bool = True) -> None:
        rng = np.random.default_rng(0)
        rows = table.ROWS
        self.X = np.empty((rows, sizes[0]), np.float32)
        self.order = rng.permutation(rows)
        self.batch, self.threads = batch, threads
        net = fastnn.Network(sizes, seed=0, threads=threads)
        rule = UpdateRule(optimizer=SGD(0.01))
        with (
            mock.patch.object(cpu_threads, "WORTH_A_THREAD", 1.0),
            mock.patch.object(cpu_threads.Trial, "enabled", False),
        ):
            self.call = calls.Call(
                net.model, self.X, batch, self.order, learning=True, updating=True, rule=rule
            )
        self.plan, self.net = self.call.plan, net
        assert self.plan.task.threads == threads
        operations_, ends, _ = operations.steps_of(
            net.architecture, self.plan.task, False, list(range(len(net.architecture.layers)))
        )
        self.counted = plan.Counted(
            net.architecture, self.plan.task, operations_, ends, self.plan.layers, np.empty(0)
        )
        self.state = net.model.state_for(rule.optimizer)
        self.plan.remember(self.state)
        self.numbers = np.float32([[0, 1] if self.plan.plain else [0, 0, 0, 0, 1, 1]])
        self.rows = min(self.plan.task.capacity, batch)
        self.blocks = -(-batch // self.rows)
        if run:
            self.run(rng)

    def run(self, rng: np.random.Generator) -> None:
        """Take a step, so that there is something in every place."""
        rows, sizes = len(self.X), self.net.architecture.sizes
        self.X[:] = rng.random(self.X.shape, np.float32) - np.float32(0.5)
        self.examples = Examples(self.X, rng.integers(0, sizes[-1], rows))
        self.call.order, self.call.rows = self.order[: self.batch], self.batch
        self.call.run(self.examples, numbers=self.numbers, losses=np.empty(1))
        record = self.plan.record
        # The shares of one phase are done again and again: nothing may change.
        record["order"], record["rows"] = self.order.ctypes.data, rows
        record["shuffled"] = record["targets_shuffled"] = True

    def shape_of(self, region: traffic.Region) -> tuple[int, int]:
        """Return the shape of the array of a region."""
        layer = self.counted.layers[region.layer if region.array != "inputs" else 0]
        if region.array == "inputs":
            return self.rows, int(layer["fan_in"])
        if region.array in ("weights", "gradient"):
            return int(layer["fan_in"]), int(layer["fan_out"])
        return 1 if region.array == "biases" else self.rows, int(layer["fan_out"])

    def kind(self, thread: int) -> tuple[Any, ...]:
        """Return what decides how long a thread takes: the sizes of what it reads and writes."""
        found = []
        for phase in traffic.phases(self.counted):
            for r in traffic.regions(self.counted, phase, self.rows, thread):
                found.append((r.array, r.layer, r.stop - r.start, r.right - r.left))
        return tuple(found)

    def alone(self, thread: int) -> list[float]:
        """Return the seconds of a thread's share of each phase of a step, alone on this CPU."""
        ends = self.counted.ends
        moving, steps, seconds = int(self.counted.task.in_blocks), LEAST_STEPS // 2, 0.0
        while seconds < LEAST_SECONDS:
            steps *= 2
            spent = np.zeros((steps, len(ends)), np.int64)
            start = time.perf_counter()
            _steps_alone(
                self.plan.record, ends, self.blocks, moving, self.rows, thread, steps, spent
            )
            seconds = time.perf_counter() - start
        return (np.median(spent, axis=0) * tick()).tolist()


def shares_of(sizes: list[int], batch: int, threads: int) -> list[list[float]]:
    """Return the seconds of each thread's share of each phase of a step."""
    step = Step(sizes, batch, threads)
    kinds = {step.kind(thread): thread for thread in range(threads)}
    seconds = {kind: step.alone(thread) for kind, thread in kinds.items()}
    return np.transpose([seconds[step.kind(t)] for t in range(threads)]).tolist()


def counts_of(sizes: list[int], batch: int) -> list[int]:
    """Return the numbers of threads to look at: powers of two, and those that are tried."""
    flops = fastnn.Network(sizes, seed=0).architecture.training_flops * batch
    most = max(1, min(MOST, int(flops / cpu_threads.WORTH_A_THREAD)))
    return sorted({*COUNTS, *cpu_threads.halves(most)})


@numba.njit(parallel=True)
def _ping_pong(flags, buffer, across, rounds, spent):
    """Let a thread write a buffer and another read it, in turns; count the ticks of each."""
    place = flags.ctypes.data
    for t in numba.prange(2):
        _turns(place, buffer, across, rounds, spent, t)


@numba.njit(fastmath=True)
def _read(buffer, across):
    """Add up a number of each cache line of a matrix, by panels, as products read it."""
    total = np.float32(0)
    rows, columns = buffer.shape
    for left in range(0, columns, across):
        for r in range(rows):
            row = buffer[r]
            for j in range(left, left + across, 16):
                total += row[j]
    return total


@numba.njit
def _write(buffer, across, value):
    """Add to a number of each cache line of a matrix, by panels, as updates do."""
    rows, columns = buffer.shape
    for left in range(0, columns, across):
        for r in range(rows):
            row = buffer[r]
            for j in range(left, left + across, 16):
                row[j] += value


@numba.njit
def _turns(place, buffer, across, rounds, spent, t):
    total = 0.0
    for r in range(rounds):
        while atomic.load(place) < 2 * r + t:
            atomic.pause()
        start = ticks()
        if t == 0:
            _write(buffer, across, r)
        else:
            total += _read(buffer, across)
        spent[t, r] = ticks() - start
        atomic.store(place, 2 * r + t + 1)
    spent[t, 0] += int(total == 1)


@numba.njit
def _alone(buffer, across, rounds, spent):
    total = 0.0
    for r in range(rounds):
        start = ticks()
        _write(buffer, across, r)
        spent[0, r] = ticks() - start
        start = ticks()
        total += _read(buffer, across)
        spent[1, r] = ticks() - start
    spent[1, 0] += int(total == 1)


@numba.njit(parallel=True)
def _parallel_loop(out):
    for t in numba.prange(2):
        out[8 * t] += 1


@numba.njit
def _now():
    return ticks()


@functools.cache
def tick() -> float:
    """Return the seconds of a tick."""
    _now()
    start, first = time.perf_counter(), _now()
    time.sleep(0.05)
    return (time.perf_counter() - start) / (_now() - first)


def costs() -> dict[str, float]:
    """Return what going between caches costs, and meeting, in seconds (a byte)."""
    found: dict[str, float] = {}
    for name, rows in (("near", NEAR_ROWS), ("l3", L3_ROWS)):
        buffer, spent = np.zeros((rows, COLUMNS), np.float32), np.zeros((2, 60), np.int64)
        _alone(buffer, PANEL, 60, spent)
        found[f"{name}_write"], found[f"{name}_read"] = (
            np.median(spent, axis=1) * tick() / buffer.nbytes
        )
    for shape, name in (((NEAR_ROWS, COLUMNS), "other"), ((1, 16), "line")):
        buffer, spent = np.zeros(shape, np.float32), np.zeros((2, 2000), np.int64)
        flags = plan.aligned_zeros(8, np.dtype(np.int64))
        across = min(PANEL, shape[1])
        _ping_pong(flags, buffer, across, 10, spent)
        flags[0] = 0
        start = time.perf_counter()
        _ping_pong(flags, buffer, across, 2000, spent)
        turn = (time.perf_counter() - start) / 4000
        if name == "line":
            found["turn"] = turn
        else:
            found["other_write"], found["other_read"] = (
                np.median(spent, axis=1) * tick() / buffer.nbytes
            )
    out = np.zeros(64, np.int64)
    _parallel_loop(out)
    seconds = []
    for _ in range(2000):
        start = time.perf_counter()
        _parallel_loop(out)
        seconds.append(time.perf_counter() - start)
    found["parallel_loop"] = float(np.median(seconds))
    for threads in (1, 2):
        found[f"meet_{threads}"] = empty_phase([20, 64, 64, 3], 256, threads, add=False)
    with_losses = empty_phase([20, 64, 64, 3], 256, 1, add=True)
    found["add_row"] = max(0.0, with_losses - found["meet_1"]) / 256
    return {name: float(value) for name, value in found.items()}


def empty_phase(sizes: list[int], batch: int, threads: int, add: bool) -> float:
    """Return the seconds of a phase in which there is nothing to do, or just losses to add."""
    step = Step(sizes, batch, threads)
    record, phases = step.plan.record, 2 if add else 2000
    ends = np.zeros(phases, np.int64)
    record["phase_ends"], record["phases"] = ends.ctypes.data, phases
    record["first_change"] = 1 if add else phases + 1
    steps = 1000 if add else 10
    order, numbers = np.resize(step.order[: step.batch], step.batch * steps), step.numbers
    step.call.order, step.call.rows = order, len(order)
    best = np.inf
    for _ in range(TIMINGS):
        start = time.perf_counter()
        step.call.run(step.examples, numbers=np.tile(numbers, (steps, 1)), losses=np.empty(steps))
        best = min(best, time.perf_counter() - start)
    return best / steps if add else best / steps / phases


def whole_step(cell: tuple[list[int], int], threads: int) -> float:
    """Return the seconds of a step of a cell, with all that belongs to it."""
    sizes, batch = cell
    cpu_threads.Trial.enabled = False
    training = CONTENDERS["fastnn"].training
    assert training is not None
    reset, epoch = training(table.task_of(sizes, batch, threads))
    seconds: list[float] = []
    reset()
    epoch()
    while len(seconds) < table.EPOCHS or sum(seconds) < 0.2:
        start = time.perf_counter()
        epoch()
        seconds.append(time.perf_counter() - start)
    return min(seconds) / (table.ROWS // batch)


def measure(file: Path) -> None:
    """Add to a file what it lacks of the shares, and what two CPUs cost and take now.

    Where the system puts the two makes a difference, so that each run is kept on its own.
    """
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    for name in ("shares", "before", "steps"):
        found.setdefault(name, {})
    todo = [("shares", cell, n) for cell in table.CELLS for n in counts_of(*cell)]
    todo += [("before", cell, n) for cell in OLD_CELLS for n in COUNTS]
    for kind, cell, n in todo:
        if key_of(cell, n) not in found[kind]:
            with as_before() if kind == "before" else contextlib.nullcontext():
                found[kind][key_of(cell, n)] = shares_of(*cell, n)
            file.write_text(json.dumps(found) + "\n")
    for cell in table.CELLS:
        found["steps"].setdefault(key_of(cell, 1), whole_step(cell, 1))
    run: dict[str, Any] = {"costs": costs()}
    run["steps"] = {key_of(cell, 2): whole_step(cell, 2) for cell in table.CELLS}
    run["turn_after"] = costs()["turn"]
    found.setdefault("runs", []).append(run)
    file.write_text(json.dumps(found) + "\n")


def key_of(cell: tuple[list[int], int], threads: int) -> str:
    """Return the name of a cell on so many threads."""
    return f"{cell[0]}, {cell[1]}, {threads}"


# What is modelled


class Machine(NamedTuple):
    """What differs from machine to machine: seconds, of a byte where that is said."""

    l3: float  # a byte from the third-level cache, beyond one from the second
    read: float  # a byte that another CPU has written
    write: float  # a byte that another CPU has read or written
    line: float  # until one CPU sees what another has written
    meet: tuple[float, float]  # a phase without work, of one thread and of two
    add_row: float
    l2: int = L2  # bytes that a CPU keeps for itself
    cores: int = MOST  # of threads beyond that, two share a core
    loop: float = 0.0  # the start of a parallel loop, where each phase is one

    def farther(self, times: float) -> Machine:
        """Return the machine in which all that goes between CPUs takes so many times as long."""
        return self._replace(
            read=self.read * times, write=self.write * times, line=self.line * times,
            meet=(self.meet[0], self.meet[0] + times * (self.meet[1] - self.meet[0])),
            l3=self.l3 * times**0.5,
        )  # fmt: skip

    def meeting(self, threads: int) -> float:
        """Return what it costs that threads meet: each beyond the second adds a line that moves."""
        if threads == 1:
            return self.meet[0]
        return self.loop + self.meet[1] + (threads - 2) * self.line


def machine_of(found: dict[str, float]) -> Machine:
    """Return the machine at hand, from what was measured."""
    return Machine(
        l3=max(0.0, found["l3_read"] - found["near_read"]),
        read=max(0.0, found["other_read"] - found["near_read"]),
        write=max(0.0, found["other_write"] - found["near_write"]),
        line=found["turn"], meet=(found["meet_1"], found["meet_2"]), add_row=found["add_row"],
    )  # fmt: skip


GROUP_ROWS, LINE_NUMBERS = 8, 16
BLOCK_BYTES = GROUP_ROWS * LINE_NUMBERS * traffic.ITEMSIZE


class Caches:
    """Which thread has what in its own caches, and who wrote it: in blocks of 8 x 16 numbers."""

    def __init__(self, threads: int, l2: int) -> None:
        self.threads, self.most = threads, l2 // BLOCK_BYTES
        self.last: dict[tuple[str, int], np.ndarray] = {}  # touched when, 0 if not there
        self.writer: dict[tuple[str, int], np.ndarray] = {}
        self.now, self.held = 0, [0] * threads

    def touch(self, region: traffic.Region, t: int, shape: tuple[int, int]) -> np.ndarray:
        """Let a thread read or write a region; return the bytes from L3, read, and written."""
        key = region.array, region.layer
        if key not in self.last:
            blocks = -(-shape[0] // GROUP_ROWS), -(-shape[1] // LINE_NUMBERS)
            self.last[key] = np.zeros((self.threads, *blocks), np.int32)
            self.writer[key] = np.full(blocks, -1, np.int8)
        rows = slice(region.start // GROUP_ROWS, -(-region.stop // GROUP_ROWS))
        columns = slice(region.left // LINE_NUMBERS, -(-region.right // LINE_NUMBERS))
        last, writer = self.last[key][:, rows, columns], self.writer[key][rows, columns]
        has = last > 0
        mine = has[t].copy()
        has[t] = False
        elsewhere = has.any(axis=0)
        self.now += 1
        if region.writes:
            for other in np.flatnonzero(has.any(axis=(1, 2))):
                self.held[other] -= int(has[other].sum())
                last[other] = 0
            writer[...] = t
            moved = [(~mine & ~elsewhere).sum(), 0, elsewhere.sum()]
        else:
            dirty = np.take_along_axis(has, np.maximum(writer, 0)[None], 0)[0] & (writer >= 0)
            moved = [(~mine & ~dirty).sum(), (~mine & dirty).sum(), 0]
            writer[~mine & dirty] = -1  # its line is in the third-level cache now, too
        last[t] = self.now
        self.held[t] += int((~mine).sum())
        if self.held[t] > self.most:
            self.evict(t)
        return np.array(moved) * BLOCK_BYTES

    def evict(self, t: int) -> None:
        """Let go of what was touched the longest ago."""
        stamps = np.concatenate([each[t].ravel() for each in self.last.values()])
        stamps = np.sort(stamps[stamps > 0])
        oldest, excess = stamps[len(stamps) - self.most], len(stamps) - self.most
        for each in self.last.values():
            gone = (each[t] > 0) & (each[t] < oldest)
            each[t][gone] = 0
            excess -= int(gone.sum())
        for each in self.last.values():  # of those of the same age, the first ones
            same = np.flatnonzero(each[t] == oldest)[: max(0, excess)]
            each[t].ravel()[same] = 0
            excess -= len(same)
        self.held[t] = self.most


def moved(step: Step, l2: int, alone: int | None = None) -> np.ndarray:
    """Return the bytes that move in a step: (phases, threads, 3), see `Caches.touch`.

    With ``alone``, only this thread does anything.
    """
    caches, phases = Caches(step.threads, l2), traffic.phases(step.counted)
    moving = int(step.counted.task.in_blocks)
    who = range(step.threads) if alone is None else [alone]
    todo = [
        [
            [(r, step.shape_of(r)) for r in traffic.regions(step.counted, phase, step.rows, t)]
            for t in who
        ]
        for phase in phases
    ]
    for _ in range(STEPS):
        found = np.zeros((len(phases), step.threads, 3))
        for block in range(step.blocks):
            for p in range(len(phases)):
                if p >= len(phases) - moving and block < step.blocks - 1:
                    continue
                for t, regions in zip(who, todo[p], strict=True):
                    for region, shape in regions:
                        if region.array != "data":
                            found[p, t] += caches.touch(region, t, shape)
    return found


class Cell:
    """A cell on so many threads: what each takes alone, and what moves between them."""

    def __init__(self, cell: tuple[list[int], int], threads: int, alone: Any, l2: int) -> None:
        self.step = Step(*cell, threads, run=False)
        self.alone = np.array(alone)
        self.moved = moved(self.step, l2)
        repeated = np.zeros_like(self.moved)
        kinds: dict[tuple[Any, ...], np.ndarray] = {}
        for t in range(threads):
            kind = self.step.kind(t)
            if kind not in kinds:
                kinds[kind] = moved(self.step, l2, alone=t)[:, t]
            repeated[:, t] = kinds[kind]
        self.moved[..., 0] = np.maximum(0, self.moved[..., 0] - repeated[..., 0])

    def seconds(self, machine: Machine, rate: float = 1.0) -> float:
        """Return the seconds of a step, on cores of so many times the speed of the one here."""
        step, threads = self.step, self.step.threads
        shared = 2 if threads > machine.cores else 1
        extra = self.moved @ np.array([machine.l3, machine.read, machine.write])
        longest = (self.alone * shared / rate + extra).max(axis=1).sum()
        moving = int(step.counted.task.in_blocks)
        times = step.blocks * (len(self.alone) - moving) + moving
        losses = step.batch * (machine.add_row / rate + 8 * machine.read * (threads > 1))
        return float(longest + times * machine.meeting(threads) + losses)

    def gflops(self, seconds: float) -> float:
        """Return the rate of a step that takes so long."""
        return self.step.batch * self.step.net.architecture.training_flops / seconds / 1e9


FAR = 4  # times as much between CPUs, as where the system puts two of them apart
SLOWER = 1.03


def show(title: str, head: list[str], rows: list[list[str]]) -> None:
    """Print a table in Markdown."""
    print(f"\n{title}\n\n| {' | '.join(head)} |")
    print("| --- |" + " ---: |" * (len(head) - 1))
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)


def name_of(cell: tuple[list[int], int]) -> str:
    """Return how tables call a cell."""
    return f"{cell[0]}, {cell[1]:,}"


def check(found: dict[str, Any], cells: dict[str, Cell]) -> None:
    """Print the model beside what was measured on one CPU and on two."""
    runs = found["runs"]
    rows = []
    for cell in table.CELLS:
        one, two = key_of(cell, 1), key_of(cell, 2)
        row = [name_of(cell)]
        for key, costs_, seconds in [
            (one, runs[0]["costs"], found["steps"][one]),
            *[(two, run["costs"], run["steps"][two]) for run in runs],
        ]:
            modelled = cells[key].seconds(machine_of(costs_))
            row += [f"{1e6 * seconds:,.1f}", f"{modelled / seconds - 1:+.0%}"]
        rows.append(row)
    turns = [f"{1e9 * run['costs']['turn']:.0f} to {1e9 * run['turn_after']:.0f}" for run in runs]
    head = ["network, batch", "1 thread", "model"]
    for turn in turns:
        head += [f"2 threads, a line in {turn} ns", "model"]
    show("Measured: microseconds of a step. Modelled: the error", head, rows)


def predict(found: dict[str, Any], cells: dict[str, Cell]) -> None:
    """Print how much faster the model says that more threads are."""
    near = machine_of(min((run["costs"] for run in found["runs"]), key=lambda each: each["turn"]))
    kinds = {
        "near": near, "far": near.farther(FAR), "near, 8 cores": near._replace(cores=8),
        "far, 8 cores": near.farther(FAR)._replace(cores=8),
    }  # fmt: skip
    columns = [(kind, n) for kind in ("near", "far") for n in COUNTS[1:]]
    columns += [("near, 8 cores", 16), ("far, 8 cores", 16)]
    rows, slower = [], []
    for cell in table.CELLS:
        counts = counts_of(*cell)
        most = max(set(counts) & set(cpu_threads.halves(max(counts_worth(cell), 1))))
        seconds = {
            k: {n: cells[key_of(cell, n)].seconds(m) for n in counts} for k, m in kinds.items()
        }
        rows.append([name_of(cell)])
        for kind, n in columns:
            of = seconds[kind]
            tried = cpu_threads.halves(min(n, most))
            best = min(tried, key=lambda count: of.get(count, np.inf))
            gain = f"{of[1] / of[best]:.2f}"
            rows[-1].append(gain if best == n else f"{gain} ({best})")
        for kind in kinds:
            of = seconds[kind]
            for n in counts[1:]:
                fewer = min(of[m] for m in counts if m < n)
                if of[n] > SLOWER * fewer:
                    slower.append(f"{name_of(cell)}: {n} threads, {kind}, {of[n] / fewer:.2f}")
    head = ["network, batch", *[f"{n}, {kind}" for kind, n in columns]]
    title = "Modelled: times one thread, with the number that a trial chooses if it is another"
    show(title, head, rows)
    print("\nModelled: slower than fewer threads by more than 3%:", *slower or ["none"], sep="\n- ")


def counts_worth(cell: tuple[list[int], int]) -> int:
    """Return the most threads that are tried for a cell."""
    flops = fastnn.Network(cell[0], seed=0).architecture.training_flops * cell[1]
    return min(MOST, int(flops / cpu_threads.WORTH_A_THREAD))


def explain(found: dict[str, Any]) -> None:
    """Print what the model says of the design before, beside what was measured on 16 CPUs."""
    near = machine_of(min((run["costs"] for run in found["runs"]), key=lambda each: each["turn"]))
    loop = min(run["costs"]["parallel_loop"] for run in found["runs"])
    near = near._replace(l2=2 * near.l2, loop=loop)
    with as_before():
        cells = {
            (name_of(cell), n): Cell(cell, n, found["before"][key_of(cell, n)], near.l2)
            for cell in OLD_CELLS
            for n in COUNTS
        }
    first = name_of(OLD_CELLS[0]), 1
    rate = GFLOPS_BEFORE[first[0]][0] / cells[first].gflops(cells[first].seconds(near))
    rows = []
    for cell in OLD_CELLS:
        rows.append([name_of(cell), "measured"])
        rows[-1] += [f"{value:.0f}" if value else "-" for value in GFLOPS_BEFORE[name_of(cell)]]
        for label, machine in (
            ("near", near), ("far", near.farther(FAR)), ("four times as far", near.farther(16)),
            ("near, 8 cores", near._replace(cores=8)),
            ("far, 8 cores", near.farther(FAR)._replace(cores=8)),
        ):  # fmt: skip
            own = [cells[name_of(cell), n] for n in COUNTS]
            rows.append([name_of(cell), label])
            rows[-1] += [f"{each.gflops(each.seconds(machine, rate)):.0f}" for each in own]
    show(
        f"The design before, GFLOP/s by threads, on cores {rate:.2f} times as fast as this one",
        ["network, batch", "", *map(str, COUNTS)], rows,
    )  # fmt: skip


def main() -> None:
    """Measure if that is asked for, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--measure", action="store_true", help="add what is measured to the file")
    parser.add_argument("--file", type=Path, default=FIGURES, metavar="FILE")
    options = parser.parse_args()
    if options.measure:
        measure(options.file)
    found = json.loads(options.file.read_text())
    cells = {
        key_of(cell, n): Cell(cell, n, found["shares"][key_of(cell, n)], L2)
        for cell in table.CELLS
        for n in counts_of(*cell)
    }
    check(found, cells)
    predict(found, cells)
    explain(found)


if __name__ == "__main__":
    main()
