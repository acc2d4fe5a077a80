"""What kernels are given: the plan of a call, a batch, a share of the work, and matrices.

A plan is a record of named fields, which Numba reads at fixed offsets; plan.py makes it. Places are
addresses, in bytes, or offsets and strides, in elements; an address of 0 is nothing.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numba
import numpy as np
from numba import types

from fastnn.backends.compiled.machinery.arrays import elements, elements_in, elements_of
from fastnn.backends.compiled.machinery.jit import serial


def _record(*fields: tuple[str, Any]) -> np.dtype:
    return np.dtype(list(fields), align=True)


def _integers(*names: str) -> list[tuple[str, Any]]:
    return [(name, np.int64) for name in names]


# One layer. Offsets of weights and biases are in the flat parameters, the others in the work array.
LAYER = _record(
    *_integers(
        "fan_in",
        "fan_out",
        "weights",
        "biases",
        "stride",  # of the weights' rows, and of outputs, deltas and slopes
        "activation",
        "inputs",
        "input_stride",
        "copy",  # from one thread's copy of the inputs to the next's, 0 where all share one
        "outputs",
        "deltas",
        "slopes",  # derivatives of the activation, times the mask of dropout; 0 if none are kept
        "drop_below",  # hashes below this leave an input out; 0 without dropout
        "squares",  # place of the layer's first sum of squares
        "moves",  # whether a step changes it
    )
)
PLACES = ("inputs", "outputs", "deltas", "slopes")  # the offsets in the work array

# Rows of an array: where they are, what they hold, and the bytes between rows and columns.
SOURCE = _record(*_integers("address", "kind", "row_bytes", "column_bytes"))
FLOAT32, FLOAT64, UINT8, UINT8_PIXELS, LABELS, NONE = range(6)

# Rows of which some numbers are stored, and room for those of a batch: where they are.
SPARSE = _record(
    *_integers(
        "data",
        "kind",
        "indices",
        "indptr",
        # Of a batch, row by row: where each row begins, and the columns and values of its numbers.
        "begins",
        "columns",
        "values",
        # The same numbers sorted by parts of the columns, their rows, and where each part ends.
        "sorted_columns",
        "sorted_rows",
        "sorted_values",
        "ends",
        # Steps of this call whose decay each row of weights has, and the numbers of all steps; 0
        # where no decay waits.
        "decayed",
        "step_numbers",
    )
)

# An augmentation: its code, and where its whole numbers, float64 numbers and tables are.
AUGMENTATION = _record(*_integers("kind", "sizes", "numbers", "tables"))

# What a step does, in this order: an operation, the layer, how it is split over the threads.
OPERATION = _record(*_integers("what", "layer", "split"))
(
    GATHERING,
    CHECKING,  # that inputs are finite
    FORWARD,
    FINISHING,  # outputs, losses and their deltas
    BACKWARD,
    AUGMENTING,  # after gathering: changes inputs at random
    ADJUSTING,  # after that: standardises inputs, and leaves some out
    # Of a first layer with sparse inputs, see `sparse`; then those of all layers.
    GATHERING_SPARSE,
    CHECKING_SPARSE,
    DECAYING_SPARSE,  # by the factors of the steps so far
    FORWARD_SPARSE,
    ADDING_SPARSE,  # the gradient to the rows of weights that the batch touches
    SCALING_SPARSE,  # the result
    STEPPING_SPARSE,  # sorts the numbers of the batch, and goes over all rows of weights
    UPDATING,  # adds the gradient to the result, which may be the parameters themselves
    STEPPING,  # computes the gradient part by part, and moves the parameters by each
    DIVIDING,  # the first layer's weights by the factors of inputs
    MEASURING,  # sums the squares of the gradient in the result
    MOVING,  # moves the parameters by the gradient in the result
    LIMITING,  # of the norms of units
    MULTIPLYING,  # the first layer's weights by the factors, which move before
) = range(21)
# Each thread takes a share of the rows (when updating those of the weights, else of the batch), or
# of the units (going backward those below, else the layer's), or everything for itself, or of the
# columns. A larger number is that of the groups of threads which split the units; the threads of a
# group split the rows.
UNITS, COLUMNS, EVERYTHING, ROWS = -2, -1, 0, 1

# The addresses of the compiled functions that kernels call; 0 where one is not needed.
FUNCTIONS = _record(
    *_integers(
        "product",
        "turn",
        "rounded_product",
        "sparse_product",
        "gather",
        "finish",
        "take",
        "give",
        "phase",
        "go_on",
        "meet",
        "work",
        "softmax_of_rows",
        "error",
        "squash",
        "binary",
        "poisson",
        "pinball",
        "focal",
        "activate",
        "adjust",
        "augment",
        "change",
        "mix",
        "narrow_product",
        "narrow_gradient",
        "forward_one",
        "rounded_forward_one",
        "backward_one",
        "one_row",
        "move",
        "move_layer",
        "measure",
        "limit",
        "of_sparse",
        "of_factors",
        "average",
    )
)

# Numbers that change from step to step. With the sum g of the gradients of the rows' losses,
# ``result = beta * result + alpha * g``; then an optimizer's.
STEP_NUMBERS = (
    "alpha",
    "beta",  # for weights
    "rate",
    "look_ahead",  # Nesterov's factor on the gradient
    "correction",  # of the second slot's root
    "decay",  # factor on weights
)
PLAIN_NUMBERS = 2  # of them, that plain gradient descent needs
NUMBERS = (
    *STEP_NUMBERS,
    "bias_beta",
    "smoothing",  # of labels
    "l1",
    "l2",
    "norm_limit",  # of the whole gradient
    "value_limit",  # of each number of it
    "unit_limit",  # of the norm of a unit's weights
    "first_memory",  # of the first slot: momentum, or Adam's beta1
    "second_memory",
    "epsilon",
    "gamma",  # of the focal loss
    "safe",  # norms of a row's gradient below this keep all finite; 0 where that is not asked
    "seen",  # the largest of these norms so far
)


@functools.cache  # Numba takes two microseconds to see that another dtype is the same
def plan_dtype(number: np.dtype) -> np.dtype:
    """Return the fields of a plan for a network's dtype."""
    return _record(
        ("functions", FUNCTIONS),
        *_integers("layers", "depth", "parameter_count", "parameters", "result"),
        *_integers("optimizer", "first_slot", "second_slot", "loss"),
        *_integers("operations", "phase_ends", "phases", "first_change", "threads"),
        *_integers("work", "work_size", "packs", "pack_size", "scaler"),
        *_integers("turned", "turned_size"),  # room of each thread for transposed matrices
        *_integers("lists", "lists_size", "squares", "square_count", "row_losses", "one"),
        *_integers("average"),  # of the parameters; 0 if none is kept
        # Whether the factors of products are rounded to bfloat16, and the room of each thread to
        # pack them into.
        *_integers("rounds", "rounded_packs", "rounded_pack_size"),
        # Levels of quantiles; factors of the learning rate, for all weights, then all biases, then
        # the factors of inputs. Of these last the values, with their slots, and the gradient.
        *_integers("levels", "factors", "inputs_slots", "inputs_slopes"),
        # Of a row on its own: lists of inputs, 0 .. as many as a layer has, the lowest that moves.
        *_integers("lists_of_one", "every", "lowest"),
        # What to learn from, and how it is gone through.
        ("inputs", SOURCE),
        ("targets", SOURCE),
        *_integers("row_weights", "rows", "batch_size"),
        ("sparse", SPARSE),
        *_integers("in_place", "takes_one_row", "block_size"),
        *_integers("order", "shuffled", "targets_shuffled", "keys", "outputs"),
        *_integers("losses", "step_numbers", "numbers_of_a_step"),  # of the steps of a call
        # How far a call is: the step of so many, where its rows end, the first row of a block and
        # how many there are, the sum of their losses, the phase, its operations, and whether there
        # is one.
        *_integers("step", "steps", "stop", "block", "count", "phase", "begin", "end", "going"),
        ("total", np.float64),
        # Where threads agree, see `batches`, and where they count, see `waiting`.
        *_integers("meeting", "counts"),
        # Augmentation: room of each thread, rows to mix with, and what targets are mixed from.
        *_integers("augmentations", "augmentation_count", "rooms", "room_size"),
        *_integers("drawn_from", "drawn_count", "own_weights"),
        ("own_targets", SOURCE),
        # Where those of a block are mixed: as if those of places before the block were there, too.
        *_integers("mixes", "mixed_targets", "mixed_weights"),
        *[(name, number) for name in NUMBERS],
    )


def given_to(record: Any) -> Any:
    """Return a view of the integers of a plan from its inputs to its size of batches.

    To write them at once takes a quarter of the time of doing so by the names of the fields.
    """
    fields = record.dtype.fields
    first, last = (fields[name][1] // 8 for name in ("inputs", "batch_size"))
    return record.view(np.int64)[first : last + 1]


def plan_type(number: Any) -> Any:
    """Return Numba's type of a plan, for that of a network's numbers."""
    return numba.from_dtype(plan_dtype(np.dtype(str(number))))


class Batch(NamedTuple):
    """The rows ``order[first : first + count]``, and which thread works on them."""

    first: int
    count: int
    thread: int


class Share(NamedTuple):
    """A thread's part of an operation: rows start .. stop and columns left .. right."""

    start: int
    stop: int
    left: int
    right: int


class Matrix(NamedTuple):
    """Numbers in memory: element (r, k) is ``row * r + column * k`` elements after an address."""

    address: int
    row: int
    column: int


class Shape(NamedTuple):
    """The sizes of a product: C has rows and columns, and each of its elements sums ``depth``."""

    rows: int
    columns: int
    depth: int


class Sums(NamedTuple):
    """What the sums of a product start from, and what becomes of them; see `tiles.tile`."""

    start: int
    biases: int
    finish: int
    mask: int
    alpha: float
    beta: float


BATCH = types.NamedUniTuple(types.int64, 3, Batch)
SHARE = types.NamedUniTuple(types.int64, 4, Share)
MATRIX = types.NamedUniTuple(types.int64, 3, Matrix)
SHAPE = types.NamedUniTuple(types.int64, 3, Shape)


def sums_type(number: Any) -> Any:
    """Return Numba's type of `Sums`, for that of a network's numbers."""
    return types.NamedTuple((*[types.int64] * 4, number, number), Sums)


# Arrays: those that a plan tells of, then those of ``(address, count)``. Keys are for dropout and
# augmentation, `reals` are losses, and `numbers` take a third argument: a number of their type.
layers_of = elements_in("layers", "depth", numba.from_dtype(LAYER))
augmentations_of = elements_in(
    "augmentations", "augmentation_count", numba.from_dtype(AUGMENTATION)
)
work_of = elements_in("work", "work_size", "alpha")
operations_at = elements_of(numba.from_dtype(OPERATION))
numbers = elements
integers, indices = elements_of(types.int64), elements_of(types.int32)
keys_at, reals = elements_of(types.uint32), elements_of(types.float64)


@serial
def parameters_at(plan, address):
    """Return a vector in the layout of the parameters."""
    return elements(address, plan.parameter_count, plan.alpha)


@serial
def factor_of(plan, l, of_biases):
    """Return the factor of the learning rate for the weights of a layer, or its biases."""
    place = l + plan.depth if of_biases else l
    return numbers(plan.factors, 2 * plan.depth, plan.alpha)[place]


@serial
def factor_of_inputs(plan):
    """Return the factor of the learning rate for the factors of inputs."""
    return numbers(plan.factors, 2 * plan.depth + 1, plan.alpha)[2 * plan.depth]


@serial
def row_of(plan, place):
    """Return the row of the data that stands at a place of the order."""
    return integers(plan.order, place + 1)[place] if plan.shuffled else place


@serial
def target_row_of(plan, place):
    """Return the row of the targets and the weights of a place of the order."""
    return integers(plan.order, place + 1)[place] if plan.targets_shuffled else place
