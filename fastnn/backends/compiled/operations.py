"""What a step does: its operations in order, and where threads wait for each other."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from fastnn.activations import Array
from fastnn.backends.compiled import sparse_plan
from fastnn.backends.compiled.functions import gathers_gradient, is_plain
from fastnn.backends.compiled.kernels import layout
from fastnn.backends.compiled.kernels.inputs import LINE
from fastnn.backends.compiled.machinery.machine import GROUP
from fastnn.backends.compiled.machinery.thresholds import HERE
from fastnn.backends.contract import Objective, UpdateRule
from fastnn.model.architecture import Architecture, Layer

UNITS_WORTH_A_THREAD = HERE.units_worth_a_thread
# What it costs to read an activation, and the multiply-adds that take as long as reading a weight.
ACTIVATIONS_COST, WORK_OF_A_WEIGHT = 4, 20
FAR_LESS = 0.8  # of what an update reads: worth to split it otherwise than the way forward
NO_PENALTY = Objective()
WHOLE, GRADIENT, UPDATE = range(3)  # what a task does of a step


class Task(NamedTuple):
    """What decides what is computed where."""

    capacity: int  # the most rows of a block
    threads: int = 1
    in_place: bool = False  # whether inputs are read where they are, not gathered
    sparse: bool = False  # whether inputs are sparse rows
    learning: bool = False  # whether there are targets
    updating: bool = False  # whether the gradient goes to a result
    to_inputs: bool = False  # whether deltas go back to the inputs
    one_row: bool = False  # whether a batch of one row takes the way of its own
    in_blocks: bool = False  # whether batches are gone through in blocks of rows
    objective: Objective = NO_PENALTY
    rule: UpdateRule | None = None
    half: int = WHOLE  # one of `WHOLE`, `GRADIENT`, `UPDATE`


def groups_of_units(layer: Layer, rows: int, threads: int) -> int:
    """Return by how many groups of threads a layer's units are split: as many as it has parts.

    The threads of a group split the rows of the batch. If each is a group of its own, it keeps its
    part of the weights in its own caches, and activations go from one to the other. With many rows
    that is more to move, and each thread gathers all of them. Where threads are many, something
    between needs the least of both: of a block of outputs, activations are as many as the block is
    high, and weights as it is wide.
    """

    def cost(groups: int) -> float:
        height = part(rows, threads // groups, GROUP)
        width = part(layer.fan_out, groups, LINE // 4)
        return height * width / WORK_OF_A_WEIGHT + ACTIVATIONS_COST * height + width

    fitting = [n for n in divisors(threads) if layer.fan_out >= UNITS_WORTH_A_THREAD * n]
    return min(reversed(fitting), key=cost, default=1)


def groups_of_the_update(layer: Layer, forward: int, threads: int) -> int:
    """Return the same for the update, whose rows are those of the weights.

    It is as the way forward, so that weights stay where they are, unless far less is to be read.
    For two threads it never paid, nor where each thread has units of its own.
    """
    if forward == threads:
        return forward

    def cost(groups: int) -> float:
        return layer.fan_in * groups / threads + layer.fan_out / groups

    fitting = [n for n in divisors(threads) if layer.fan_out >= UNITS_WORTH_A_THREAD * n]
    best = min(fitting, key=cost, default=1)
    return best if threads > 2 and cost(best) < FAR_LESS * cost(forward) else forward


def gathers_everything(groups: int, threads: int) -> bool:
    """Tell whether each thread gathers all rows, as each has some of the first layer's units."""
    return groups == threads > 1


def divisors(threads: int) -> list[int]:
    """Return into how many groups of the same size threads can be split."""
    return [n for n in range(1, threads + 1) if threads % n == 0]


def part(total: int, parts: int, group: int) -> int:
    """Return the size of the largest part of so many things in groups."""
    return math.ceil(math.ceil(total / group) / parts) * group


def steps_of(
    architecture: Architecture, task: Task, adjusting: bool, updated: list[int]
) -> tuple[Array, Array, int]:
    """Return the operations of a step, where each phase ends, and the first that changes anything.

    ``updated`` are the layers that are changed; backward it goes no further than needed.
    """
    operations, ends, first_change = _whole_step(architecture, task, adjusting, updated)
    if task.half == GRADIENT:
        ends = ends[:first_change]
        operations = operations[: ends[-1]]
    elif task.half == UPDATE:
        before, first_change = ends[first_change - 1], 0  # which `run` never reaches
        ends = [end - before for end in ends if end > before]
        operations = operations[before:]
    return np.array(operations, layout.OPERATION), np.array(ends, np.int64), first_change


def _whole_step(
    architecture: Architecture, task: Task, adjusting: bool, updated: list[int]
) -> tuple[list[tuple[int, int, int]], list[int], int]:
    rule = task.rule
    layers, threads = architecture.layers, task.threads
    splits = [groups_of_units(layer, task.capacity, threads) for layer in layers]
    if task.sparse and splits[0] != threads:
        splits[0] = layout.ROWS
    depth = len(splits)
    inputs = layout.EVERYTHING if gathers_everything(splits[0], threads) else layout.ROWS
    if task.sparse:
        operations = sparse_plan.forward(rule, task.in_blocks, task.learning, updated, splits[0])
    else:
        operations = [] if task.in_place else [(layout.GATHERING, 0, inputs)]
        if task.objective.augment:
            operations += [(layout.AUGMENTING, 0, inputs)]
        if adjusting:
            operations += [(layout.ADJUSTING, 0, inputs)]
        if not task.learning:
            operations += [(layout.CHECKING, 0, inputs)]
        operations += [(layout.FORWARD, 0, splits[0])]
    operations += [(layout.FORWARD, l, splits[l]) for l in range(1, depth)]
    operations += [(layout.FINISHING, depth - 1, layout.ROWS)]
    lowest = -1 if task.to_inputs else min(updated, default=depth)
    operations += [(layout.BACKWARD, l, splits[l]) for l in range(depth - 1, lowest, -1)]
    computing = len(operations)
    ends = []
    for i, (before, after) in enumerate(pairwise(operations), 1):
        if not (before[2] == layout.EVERYTHING or before[2] == after[2] == layout.ROWS):
            ends.append(i)
    ends.append(computing)
    first_change = len(ends)
    if not updated:
        return operations, ends, first_change
    gathering = gathers_gradient(rule, task.in_blocks)
    stepping = rule is not None and not is_plain(rule) and not gathering
    updating = layout.STEPPING if stepping else layout.UPDATING
    if task.sparse and 0 in updated:
        for operation in sparse_plan.update(rule, task.in_blocks):
            operations.append(operation)
            ends.append(len(operations))
        ends.pop()  # the last one goes with those of the other layers
    operations += [
        (updating, l, groups_of_the_update(layers[l], splits[l], threads))
        for l in updated
        if l > 0 or not task.sparse
    ]
    ends.append(len(operations))
    if gathering:
        first_change = len(ends)
    scaling = rule is not None and rule.scales_inputs
    if scaling:
        operations.append((layout.DIVIDING, 0, layout.ROWS))
        ends.append(len(operations))
    if rule is not None and rule.clip_norm is not None:
        operations += [(layout.MEASURING, l, layout.ROWS) for l in updated]
        ends.append(len(operations))
    if gathering:
        operations += [(layout.MOVING, l, layout.ROWS) for l in updated]
        ends.append(len(operations))
    if rule is not None and rule.max_norm is not None:
        operations += [(layout.LIMITING, l, layout.UNITS) for l in updated]
        ends.append(len(operations))
    if scaling:
        operations.append((layout.MULTIPLYING, 0, layout.ROWS))
        ends.append(len(operations))
    return operations, ends, first_change
