"""What the shares of a training step read and write, from the product's own splits.

A share is what a thread does of a phase. Arrays are named by what they hold and their layer; a
region is a part of one, of rows and columns.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fastnn.backends.compiled.kernels import batches, layout
from fastnn.backends.compiled.kernels.update import rows_of_update

NAMES = {
    layout.GATHERING: "gather", layout.FORWARD: "forward", layout.FINISHING: "finish",
    layout.BACKWARD: "backward", layout.UPDATING: "update", layout.MOVING: "move",
}  # fmt: skip
ITEMSIZE = 4


class Region(NamedTuple):
    """Rows start .. stop and columns left .. right of an array, and what is done with them."""

    array: str
    layer: int
    start: int
    stop: int
    left: int
    right: int
    reads: bool = True
    writes: bool = False

    @property
    def size(self) -> int:
        """Its bytes."""
        return (self.stop - self.start) * (self.right - self.left) * ITEMSIZE


def phases(counted: Any) -> list[list[Any]]:
    """Return the operations of each phase of a step, see `Counted` in `plan.py`."""
    ends = counted.ends.tolist()
    return [list(counted.operations[a:b]) for a, b in zip([0, *ends[:-1]], ends, strict=True)]


def describe(phase: list[Any]) -> str:
    """Name the operations of a phase, with the groups by which threads split the units."""
    names = []
    for operation in phase:
        what, layer, split = (int(operation[name]) for name in ("what", "layer", "split"))
        name = NAMES.get(what, f"operation {what}")
        names.append(f"{name} {layer}" + (f" by {split}" if split > 1 else ""))
    return ", ".join(names)


def regions(counted: Any, phase: list[Any], count: int, thread: int) -> list[Region]:
    """Return what a thread reads and writes in a phase for so many rows, in order."""
    layers, threads = counted.layers.view(np.recarray), counted.task.threads
    found: list[Region] = []
    for operation in phase:
        what, l = int(operation["what"]), int(operation["layer"])
        share = share_of(operation, layers, count, thread, threads)
        start, stop, left, right = share
        if start == stop or left == right:
            continue
        layer = layers[l]
        fan_in, fan_out = int(layer["fan_in"]), int(layer["fan_out"])
        inputs = thread if layers[0]["copy"] else 0
        below = ("inputs", inputs) if l == 0 else ("outputs", l - 1)
        if what == layout.GATHERING:
            found.append(Region("data", 0, start, stop, 0, fan_in))
            found.append(Region("inputs", inputs, start, stop, 0, fan_in, False, True))
        elif what == layout.FORWARD:
            found.append(Region(*below, start, stop, 0, fan_in))
            found.append(Region("weights", l, 0, fan_in, left, right))
            found.append(Region("outputs", l, start, stop, left, right, False, True))
        elif what == layout.FINISHING:
            found.append(Region("outputs", l, start, stop, 0, fan_out, True, True))
            found.append(Region("deltas", l, start, stop, 0, fan_out, False, True))
        elif what == layout.BACKWARD:
            found.append(Region("deltas", l, start, stop, 0, fan_out))
            found.append(Region("weights", l, left, right, 0, fan_out))
            found.append(Region("outputs", l - 1, start, stop, left, right))
            found.append(Region("deltas", l - 1, start, stop, left, right, False, True))
        elif what == layout.UPDATING:
            found.append(Region("deltas", l, 0, count, left, right))
            result = "gradient" if counted.task.in_blocks else "weights"
            if start < fan_in:
                end = min(stop, fan_in)
                found.append(Region(*below, 0, count, start, end))
                found.append(Region(result, l, start, end, left, right, True, True))
            if stop == rows_of_update.py_func(fan_in):
                found.append(Region("biases", l, 0, 1, left, right, True, True))
        elif what == layout.MOVING:
            found.append(Region("gradient", l, start, stop, 0, fan_out))
            found.append(Region("weights", l, start, stop, 0, fan_out, True, True))
        else:
            raise ValueError(f"operation {what} has no regions: use plain gradient descent")
    return found


def share_of(operation: Any, layers: Any, count: int, thread: int, threads: int) -> Any:
    """Return a thread's part of an operation, as the kernels find it."""
    layer = layers[int(operation["layer"])]
    names = ("what", "layer", "split")
    found = SimpleNamespace(**{name: int(operation[name]) for name in names})
    return batches.share_of.py_func(found, layer, count, thread, threads, ITEMSIZE)
