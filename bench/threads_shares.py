"""What a thread's share of a training step takes alone, and what two CPUs cost each other.

`threads_model.py` calls this, and says what becomes of the figures.
"""

from __future__ import annotations

import contextlib
import functools
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
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

MOST = 16
COUNTS = [1, 2, 4, 8, 16]
# Cells of the design before, for which there are figures of 16 CPUs.
OLD_CELLS: list[tuple[list[int], int]] = [
    ([1024] * 4, 512), ([1024] * 4, 2048), ([2048, 2048, 2048, 10], 512),
    ([2048, 2048, 2048, 10], 128),
]  # fmt: skip
LEAST_SECONDS, LEAST_STEPS, TIMINGS, TURNS = 0.03, 20, 5, 2000
NEAR_TURN = 150e-9  # seconds: CPUs that share a third-level cache take half of it
# A matrix that is read and written by panels: rows of so many numbers, in the second-level cache
# and in the third.
COLUMNS, PANEL, NEAR_ROWS, L3_ROWS = 144, 48, 448, 14336


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
        if run:  # before the call looks for zeros
            self.X[:] = rng.random(self.X.shape, np.float32) - np.float32(0.5)
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
        assert not (run and self.call.sparse)
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


def most_worth(sizes: list[int], batch: int) -> int:
    """Return the most threads that are tried for a cell."""
    flops = fastnn.Network(sizes, seed=0).architecture.training_flops * batch
    return cpu_threads.choose(MOST, flops)


def counts_of(sizes: list[int], batch: int) -> list[int]:
    """Return the numbers of threads to look at: powers of two, and those that are tried."""
    return sorted({*COUNTS, *cpu_threads.halves(most_worth(sizes, batch))})


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


def ping_pong(shape: tuple[int, int], across: int) -> tuple[np.ndarray, float]:
    """Return the ticks of writing and reading a matrix in turns, and the seconds of a turn."""
    buffer, spent = np.zeros(shape, np.float32), np.zeros((2, TURNS), np.int64)
    flags = plan.aligned_zeros(8, np.dtype(np.int64))
    _ping_pong(flags, buffer, across, 10, spent)
    flags[0] = 0
    start = time.perf_counter()
    _ping_pong(flags, buffer, across, TURNS, spent)
    return spent, (time.perf_counter() - start) / (2 * TURNS)


def turn() -> float:
    """Return the seconds until one CPU sees a line that another has written."""
    return ping_pong((1, 16), 16)[1]


def place() -> str:
    """Tell where the system has put this process's CPUs now: near each other, or far."""
    return "near" if turn() < NEAR_TURN else "far"


def costs() -> dict[str, float]:
    """Return what going between caches costs, and meeting, in seconds (a byte)."""
    found: dict[str, float] = {}
    for name, rows in (("near", NEAR_ROWS), ("l3", L3_ROWS)):
        buffer, spent = np.zeros((rows, COLUMNS), np.float32), np.zeros((2, 60), np.int64)
        _alone(buffer, PANEL, 60, spent)
        found[f"{name}_write"], found[f"{name}_read"] = (
            np.median(spent, axis=1) * tick() / buffer.nbytes
        )
    spent, _ = ping_pong((NEAR_ROWS, COLUMNS), PANEL)
    size = NEAR_ROWS * COLUMNS * 4
    found["other_write"], found["other_read"] = np.median(spent, axis=1) * tick() / size
    found["turn"] = turn()
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

    Where the system puts the two makes a difference: figures are kept by that. Where it moves them
    meanwhile they are left out, so that another run may be needed.
    """
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    for name in ("shares", "before", "steps", "costs"):
        found.setdefault(name, {})
    todo = [("shares", cell, n) for cell in table.CELLS for n in counts_of(*cell)]
    todo += [("before", cell, n) for cell in OLD_CELLS for n in COUNTS]
    for kind, cell, n in todo:
        if key_of(cell, n) not in found[kind]:
            with as_before() if kind == "before" else contextlib.nullcontext():
                found[kind][key_of(cell, n)] = shares_of(*cell, n)
            file.write_text(json.dumps(found) + "\n")
    for cell in table.CELLS:
        if key_of(cell, 1) not in found["steps"]:
            found["steps"][key_of(cell, 1)] = whole_step(cell, 1)
    for _ in range(3):
        before, now = place(), costs()
        if before == place():
            found["costs"][before] = now
    for cell in table.CELLS:
        before, seconds = place(), whole_step(cell, 2)
        if before == place():
            of_both = found["steps"].setdefault(key_of(cell, 2), {})
            of_both[before] = min(seconds, of_both.get(before, seconds))
    file.write_text(json.dumps(found) + "\n")


def key_of(cell: tuple[list[int], int], threads: int) -> str:
    """Return the name of a cell on so many threads."""
    return f"{cell[0]}, {cell[1]}, {threads}"
