"""Plans: what is computed where, as one record that the kernels read.

A plan is made once for a kind of call, and kept with the model for the next call of that kind: only
what to learn from is written into it anew.
"""

from __future__ import annotations

import math
import weakref
from typing import Any, NamedTuple

import numpy as np

from fastnn.activations import ACTIVATIONS, Array
from fastnn.backends import dropout
from fastnn.backends.compiled import augmenting, functions, sparse_plan
from fastnn.backends.compiled.functions import WITHOUT_KERNEL, gathers_gradient, is_plain
from fastnn.backends.compiled.kernels import (
    batches,
    layout,
    products,
    transposed,
    update,
    waiting,
)
from fastnn.backends.compiled.operations import (
    Task,
    gathers_everything,
    groups_of_units,
    steps_of,
)
from fastnn.backends.compiled.sparse_plan import address_of as address_of
from fastnn.backends.contract import Examples, Objective, UpdateRule
from fastnn.losses import GIVEN, LOSSES, Focal, Quantile, name_of
from fastnn.model.architecture import Architecture, Layer, padded
from fastnn.model.model import Model
from fastnn.model.optimizer_state import OptimizerState
from fastnn.model.parameters import Parameters, aligned_zeros
from fastnn.optimizers import PLAIN, SGD, Optimizer, RMSprop
from fastnn.sparse_rows import Rows, SparseRows

KINDS = {
    np.dtype("f4"): layout.FLOAT32, np.dtype("f8"): layout.FLOAT64, np.dtype("u1"): layout.UINT8
}  # fmt: skip
# Rows of weights that have room in the buffer in which a gradient is made part by part.
STEPPED_ROWS = 64
# Bytes of memory up to which a plan is kept for the next call.
MOST_KEPT = 1 << 24
NOTHING, NO_TARGETS = (0, 0, 0, 0), (0, layout.NONE, 0, 0)


class Counted(NamedTuple):
    """What threads have counted in the phases of a plan, see `fastnn...kernels.waiting`."""

    architecture: Architecture
    task: Task
    operations: Array
    ends: Array
    layers: Array
    counts: Array  # (phases + 1, threads, numbers), int64


# Of all plans of this process, if threads count.
counted: list[Counted] = []


class Plan:
    """The record of a kind of call, and the memory that it names.

    Attributes
    ----------
    record : ndarray of shape (1,)
        See `fastnn.backends.compiled.kernels.layout`.
    layers : ndarray of shape (depth,)
    work : ndarray
    is_small : bool
        Whether there is room to keep it.
    plain : bool
        Whether its steps are those of plain gradient descent.
    """

    def __init__(self, model: Model, task: Task) -> None:
        architecture, rule = model.architecture, task.rule
        dtype = architecture.dtype
        self.task, self.scaler = task, model.input_scaler
        backward = task.updating or task.to_inputs
        adjusting = functions.adjusts_inputs(model, task.objective)
        self.plain = rule is not None and is_plain(rule) and not task.in_blocks
        updated = [
            l
            for l in range(len(architecture.layers))
            if task.updating and not (rule and l in rule.frozen)
        ]
        operations, ends, first_change = steps_of(architecture, task, adjusting, updated)
        self.layers, self.work = workspace(
            architecture,
            0 if task.in_place or task.sparse else task.capacity,
            task,
            slopes=backward or task.objective.drops,
        )
        self.layers["moves"][updated] = 1
        scaling = rule is not None and rule.scales_inputs and 0 in updated
        factors = _factors(rule.optimizer if rule else SGD(), len(self.layers))
        how = task.one_row, task.in_blocks, task.sparse
        names = functions.needed(model, task.objective, rule, *how)
        pack = products.pack_size(dtype.itemsize) if backward else 0
        if task.updating and rule is not None and not self.plain:
            pack = max(pack, STEPPED_ROWS * max(layer.stride for layer in architecture.layers))
        packs = aligned_zeros(task.threads * pack, dtype)
        turned = _turned_size(architecture, task) if backward else 0
        words = _rounded_pack_size(architecture, task.capacity)
        blocks = [sums_of_squares(layer) for layer in architecture.layers]
        if scaling:
            blocks.append(blocks[0] - 1)
        squares = np.zeros(sum(blocks))
        gathering = gathers_gradient(rule, task.in_blocks)
        gradient = Parameters(architecture) if gathering else None
        self.result = model.vector if gradient is None else gradient.vector
        self._lists = np.empty(0, np.int32)
        parts = 0
        if task.sparse and 0 in updated:
            parts = sparse_plan.parts_of(architecture, rule, task.in_blocks, task.threads)
        self._room = sparse_plan.Room(task.capacity * task.sparse, dtype, parts)
        self._state: OptimizerState | None = None
        self._about: tuple[weakref.ref[Examples], Any, int, int] | None = None
        self.record = record = np.zeros(1, layout.plan_dtype(dtype))
        self._given = layout.given_to(record)
        record["functions"] = found = functions.addresses(dtype, names).copy()
        if architecture.rounds:
            record["functions"]["forward_one"] = found["rounded_forward_one"]
        self._kept: list[Array] = []
        for name, array in (
            ("layers", self.layers),
            ("parameters", model.vector),
            ("result", self.result),
            ("operations", operations),
            ("phase_ends", ends),
            ("work", self.work),
            ("packs", packs),
            ("turned", aligned_zeros(task.threads * turned, dtype)),
            ("rounded_packs", aligned_zeros(task.threads * words, dtype)),
            ("lists_of_one", np.empty(sum(architecture.sizes[:-1]) + len(self.layers), np.int32)),
            ("every", np.arange(max(architecture.sizes[:-1]), dtype=np.int32)),
            ("squares", squares),
            ("row_losses", np.zeros(task.capacity)),
            ("one", np.ones(1, dtype)),
            ("meeting", aligned_zeros(batches.meeting_size(task.threads), np.dtype(np.int64))),
            ("factors", factors.astype(dtype)),
            ("inputs_slopes", np.zeros(architecture.sizes[0] * scaling, dtype)),
        ):
            record[name] = address_of(array)
            self._kept.append(array)
        if waiting.COUNTING:
            shape = len(ends) + 1, task.threads, waiting.NUMBERS
            counts = aligned_zeros(math.prod(shape), np.dtype(np.int64))
            counted.append(
                Counted(architecture, task, operations, ends, self.layers, counts.reshape(shape))
            )
            record["counts"] = address_of(counts)
        if model.input_scaler is not None:
            self._kept.append(np.concatenate([model.input_scaler.mean, model.input_scaler.scale]))
            record["scaler"] = address_of(self._kept[-1])
        if task.sparse and 0 in updated:
            for name, array in sparse_plan.steps_had(architecture, rule, task.in_blocks).items():
                record["sparse"][name] = address_of(array)
                self._kept.append(array)
        loss, self._repeats = architecture.loss, isinstance(architecture.loss, Quantile)
        if isinstance(loss, Quantile):
            self._kept.append(aligned_zeros(padded(len(loss.levels), dtype.itemsize), dtype))
            self._kept[-1][: len(loss.levels)] = loss.levels
            record["levels"] = address_of(self._kept[-1])
        own = [array for array in self._kept if array is not model.vector]
        self.is_small = sum(array.nbytes for array in own) <= MOST_KEPT
        for name, value in (
            ("depth", len(architecture.layers)),
            ("parameter_count", architecture.vector_size),
            ("optimizer", rule.optimizer.code if rule else PLAIN),
            ("loss", GIVEN if callable(loss) else LOSSES[name_of(loss)]),
            ("gamma", loss.gamma if isinstance(loss, Focal) else 0),
            ("phases", len(ends)),
            ("first_change", first_change),
            ("threads", task.threads),
            ("work_size", len(self.work)),
            ("pack_size", pack),
            ("turned_size", turned),
            ("rounds", architecture.rounds),
            ("rounded_pack_size", words),
            ("square_count", len(squares)),
            ("lowest", min(updated, default=len(self.layers))),
            ("in_place", task.in_place),
            ("takes_one_row", task.one_row),
            ("block_size", task.capacity),
            *numbers_of(task.objective, rule, self.plain).items(),
        ):
            record[name] = value
        self.augmenting: augmenting.Room | None = None
        if task.objective.augment:
            mixing = task.learning and not callable(loss)
            self.augmenting = augmenting.Room(architecture, task.objective.augment, record, mixing)

    def fits(self, model: Model, task: Task) -> bool:
        """Tell whether it is the plan for a task."""
        return self.task == task and self.scaler is model.input_scaler

    def read(self, X: Rows, examples: Examples | None, rows: int, batch_size: int) -> None:
        """Say what to learn from, or just to predict, and how many rows are gone through."""
        self._about = None
        inputs, targets, weights = NOTHING, NO_TARGETS, 0
        if isinstance(X, SparseRows):
            self._room.read(X, self.record["sparse"], KINDS)
        else:
            inputs = source(X, pixels=True)
        if examples is not None:
            targets = self.targets(examples.Y)
            weights = 0 if examples.weights is None else address_of(examples.weights)
        self._given[:] = *inputs, *targets, weights, rows, batch_size
        if examples is not None and self.augmenting is not None:
            self.augmenting.read(examples, self.record)

    def targets(self, Y: Array) -> tuple[int, int, int, int]:
        """Describe targets to the kernels; one column may be that of all outputs."""
        address, kind, between_rows, between_columns = source(Y)
        return address, kind, between_rows, 0 if self._repeats else between_columns

    def is_about(
        self, examples: Examples, how: UpdateRule | Objective | None, rows: int, batch_size: int
    ) -> bool:
        """Tell whether it is right for such steps as it is; see `stay_about`."""
        if self._about is None:
            return False
        learnt, *others = self._about
        return learnt() is examples and others[0] is how and others[1:] == [rows, batch_size]

    def stay_about(
        self, examples: Examples, how: UpdateRule | Objective | None, rows: int, batch_size: int
    ) -> None:
        """Remember for what steps it is right, but do not keep the data in memory."""
        self._about = weakref.ref(examples), how, rows, batch_size

    def remember(self, state: OptimizerState) -> None:
        """Say what the optimizer remembers."""
        if self._state is not state:
            self._state = state
            for name, slot in zip(("first_slot", "second_slot"), state.slots, strict=False):
                self.record[name] = address_of(slot.vector)
            if state.inputs is not None:
                self.record["inputs_slots"] = address_of(state.inputs)
        if self.task.rule is not None and self.task.rule.average is not None:
            assert state.average is not None
            self.record["average"] = address_of(state.average.parameters.vector)

    def leave_zeros_out(self, leaving: bool) -> None:
        """Say whether products are to leave out inputs that are zero."""
        size = products.lists_size(self.task.capacity) if leaving else 0
        if len(self._lists) < self.task.threads * size:
            self._lists = np.empty(self.task.threads * size, np.int32)
            self.record["lists"] = address_of(self._lists)
        self.record["lists_size"] = size


def numbers_of(
    objective: Objective, rule: UpdateRule | None = None, plain: bool = False
) -> dict[str, float]:
    """Return the numbers of a step, by name; without a rule those of one that changes nothing."""
    numbers = {"beta": 1.0, "bias_beta": 1.0, "decay": 1.0}
    numbers |= dict.fromkeys(("norm_limit", "value_limit", "unit_limit"), np.inf)
    numbers |= {"smoothing": objective.label_smoothing, "l1": objective.l1, "l2": objective.l2}
    if rule is None:
        return numbers
    for name, limit in (
        ("norm_limit", rule.clip_norm),
        ("value_limit", rule.clip_value),
        ("unit_limit", rule.max_norm),
    ):
        if limit is not None:
            numbers[name] = limit
    if not plain:
        numbers["bias_beta"] = 0  # the gradient of each step is made anew
    optimizer = rule.optimizer
    if isinstance(optimizer, SGD):
        return numbers | {"first_memory": optimizer.momentum}
    if isinstance(optimizer, RMSprop):
        return numbers | {"first_memory": optimizer.decay, "epsilon": optimizer.epsilon}
    return numbers | {
        "first_memory": optimizer.beta1,
        "second_memory": optimizer.beta2,
        "epsilon": optimizer.epsilon,
    }


def sums_of_squares(layer: Layer) -> int:
    """Return the sums of squares that are taken of a layer's gradient: of weights, of biases."""
    return -(-layer.fan_in // update.MEASURED_ROWS) + 1


def can_read_in_place(X: Any, dtype: np.dtype) -> bool:
    """Tell whether the products can read the rows where they are."""
    between_rows, size = X.strides[0], dtype.itemsize
    adjacent = X.dtype == dtype and X.strides[1] == size
    return adjacent and between_rows >= 0 and between_rows % size == 0


def mostly_zero(X: Any) -> bool:
    """Tell from some rows whether leaving out zeros pays."""
    sample = X[:: max(1, len(X) // 16)][:16]
    return int(np.count_nonzero(sample)) < products.WORTH_LISTING * sample.size


def _factors(optimizer: Optimizer, depth: int) -> Array:
    """Return the factors of the learning rate: of weights, of biases, of the inputs' factors."""
    return np.hstack([*optimizer.factors(depth), optimizer.input_factor or 0])


def workspace(
    architecture: Architecture, gathered: int, task: Task, slopes: bool = False
) -> tuple[Array, Array]:
    """Return the layers as kernels read them, and the work array that they describe.

    It holds a batch, and in each thread's copy of the inputs so many rows that were gathered; with
    ``slopes`` room for the derivatives of activations.
    """
    rows, objective = task.capacity, task.objective
    layers = np.zeros(len(architecture.layers), layout.LAYER)
    below = padded(architecture.sizes[0], architecture.dtype.itemsize)
    source, size, squares = 0, gathered * below, 0
    groups = groups_of_units(architecture.layers[0], rows, task.threads)
    if gathers_everything(groups, task.threads):
        layers["copy"][0] = size
        size *= task.threads
    if objective.drops:
        layers["drop_below"] = [dropout.threshold(rate) for rate in objective.dropout]
    for l, (layer, name) in enumerate(
        zip(architecture.layers, architecture.activations, strict=True)
    ):
        block = rows * layer.stride
        for field in ("fan_in", "fan_out", "weights", "biases", "stride"):
            layers[field][l] = getattr(layer, field)
        layers["activation"][l] = ACTIVATIONS[name].code
        layers["inputs"][l], layers["input_stride"][l] = source, below
        layers["outputs"][l] = source = size
        layers["deltas"][l], layers["squares"][l] = size + block, squares
        below, size = layer.stride, size + 2 * block
        squares += sums_of_squares(layer)
        hidden = l + 1 < len(layers)
        if slopes and hidden and (name not in WITHOUT_KERNEL or layers["drop_below"][l + 1]):
            layers["slopes"][l] = size
            size += block
    return layers, aligned_zeros(size, architecture.dtype)


def _turned_size(architecture: Architecture, task: Task) -> int:
    """Return the room that a thread needs for the products with transposed weights."""
    layers = architecture.layers[0 if task.to_inputs else 1 :]
    if architecture.rounds:
        return 0
    size = architecture.dtype.itemsize
    rooms = (transposed.room_size(size, task.capacity, layer.fan_out) for layer in layers)
    return max(rooms, default=0)


def _rounded_pack_size(architecture: Architecture, rows: int) -> int:
    """Return the room that products of rounded factors need for so many rows."""
    if not architecture.rounds:
        return 0
    sizes = architecture.sizes
    return max(functions.pack_words(*shape) for n in sizes for shape in ((rows, n), (n, rows)))


def source(rows: Array, pixels: bool = False) -> tuple[int, int, int, int]:
    """Describe rows to the kernels: address, kind, bytes between rows and between columns."""
    address = address_of(rows)
    if rows.ndim == 1:
        return address, layout.LABELS, rows.strides[0], 0
    kind = KINDS[rows.dtype]
    if pixels and kind == layout.UINT8:
        kind = layout.UINT8_PIXELS
    between_rows, between_columns = rows.strides
    return address, kind, between_rows, between_columns
