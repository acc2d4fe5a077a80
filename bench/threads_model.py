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
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import threads as table
import threads_shares
import traffic
from threads_shares import COUNTS, MOST, OLD_CELLS, Step, as_before, counts_of, key_of, most_worth

from fastnn.backends.compiled.machinery import threads as cpu_threads

L2 = 1024 * 1024  # bytes of the second-level cache here
FIGURES = Path(__file__).with_name("results") / "threads_model.json"
STEPS = 3  # of the caches, until nothing is new
GFLOPS_BEFORE = {
    "[1024, 1024, 1024, 1024], 512": [137, 231, 430, 459, 618],
    "[1024, 1024, 1024, 1024], 2,048": [None, 218, 493, 412, 835],
    "[2048, 2048, 2048, 10], 512": [132, 247, 407, 359, 504],
    "[2048, 2048, 2048, 10], 128": [None, 179, 189, 264, 256],
}


class Machine(NamedTuple):
    """What differs from machine to machine: seconds, of a byte where that is said."""

    l3: float  # a byte from the third-level cache, beyond one from the second
    read: float  # a byte that another CPU has written
    write: float  # a byte that another CPU has read or written
    line: float  # until one CPU sees what another has written
    meet: tuple[float, float]  # a phase without work, of one thread and of two
    add_row: float
    l2: int = L2  # bytes that a CPU keeps for itself
    cores: int = MOST  # threads that have a core each; of more, two share one
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


FAR = 5  # times as much between CPUs, about what was measured where two of them are apart
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


def check(found: dict[str, Any], cells: dict[str, Cell], kinds: dict[str, Machine]) -> None:
    """Print the model beside what was measured on one CPU and on two."""
    rows = []
    for cell in table.CELLS:
        one, two = key_of(cell, 1), key_of(cell, 2)
        row = [name_of(cell)]
        of_two = found["steps"].get(two, {})
        for key, place, seconds in (
            (one, "near", found["steps"][one]),
            *[(two, place, of_two.get(place)) for place in ("near", "far")],
        ):
            if seconds is None:
                row += ["-", "-"]
                continue
            modelled = cells[key].seconds(kinds[place])
            row += [f"{1e6 * seconds:,.1f}", f"{modelled / seconds - 1:+.0%}"]
        rows.append(row)
    head = ["network, batch", "1 thread", "model", "2, near", "model", "2, far", "model"]
    show("Measured: microseconds of a step. Modelled: the error", head, rows)


def predict(cells: dict[str, Cell], kinds: dict[str, Machine]) -> None:
    """Print how much faster the model says that more threads are."""
    columns = [(kind, n) for kind in ("near", "far") for n in COUNTS[1:]]
    kinds = {**kinds, "far, two a core": kinds["far"]._replace(cores=4)}
    columns += [("far, two a core", n) for n in (8, 16)]
    rows, slower = [], []
    for cell in table.CELLS:
        counts = counts_of(*cell)
        most = most_worth(*cell)
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


def explain(found: dict[str, Any]) -> None:
    """Print the model of the design before, beside what was measured on 16 CPUs."""
    near, loop = machine_of(found["costs"]["near"]), found["costs"]["near"]["parallel_loop"]
    with as_before():
        cells = {
            (name_of(cell), n): Cell(cell, n, found["before"][key_of(cell, n)], 2 * L2)
            for cell in OLD_CELLS
            for n in COUNTS
        }
    first = name_of(OLD_CELLS[0])
    rate = GFLOPS_BEFORE[first][0] / cells[first, 1].gflops(cells[first, 1].seconds(near))
    before = near.farther(FAR)._replace(loop=loop)
    rows = []
    for cell in OLD_CELLS:
        rows.append([name_of(cell), "measured"])
        rows[-1] += [f"{value:.0f}" if value else "-" for value in GFLOPS_BEFORE[name_of(cell)]]
        for label, machine in (
            ("work alone", near._replace(read=0, write=0, l3=0, meet=(0, 0), line=0, add_row=0)),
            ("far", before),
            ("far, two a core of 8", before._replace(cores=8)),
            ("far, two a core of 4 and 8", before._replace(cores=4)),
        ):
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
        threads_shares.measure(options.file)
    found = json.loads(options.file.read_text())
    cells = {
        key_of(cell, n): Cell(cell, n, found["shares"][key_of(cell, n)], L2)
        for cell in table.CELLS
        for n in counts_of(*cell)
    }
    near = machine_of(found["costs"]["near"])
    kinds = {"near": near, "far": near.farther(FAR)}
    check(found, cells, kinds)
    predict(cells, kinds)
    explain(found)


if __name__ == "__main__":
    main()
