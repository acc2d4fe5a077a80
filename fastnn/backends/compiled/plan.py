"""From networks, data and rules to the tables that the kernels read."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from fastnn.activations import ACTIVATIONS, Array
from fastnn.backends import dropout
from fastnn.backends.compiled.kernels import products as gemm
from fastnn.backends.compiled.kernels import table
from fastnn.backends.compiled.kernels import update as moving
from fastnn.backends.contract import Objective, UpdateRule
from fastnn.model.architecture import Architecture, Layer, padded
from fastnn.model.model import Model
from fastnn.model.parameters import aligned_zeros
from fastnn.optimizers import PLAIN, SGD, Adam, AdamW, RMSprop

KINDS = {np.dtype("f4"): table.FLOAT32, np.dtype("f8"): table.FLOAT64, np.dtype("u1"): table.UINT8}
# Activations that the register tile does on the way out, or that do nothing.
WITHOUT_KERNEL = ("relu", "identity")
# The units for which a thread that splits units is worth it.
UNITS_WORTH_A_THREAD = 32
# The numbers of a step that does nothing.
UNCHANGING = np.zeros(table.NUMBERS)
UNCHANGING[[table.BETA, table.BIAS_BETA, table.DECAY]] = 1
UNCHANGING[[table.NORM_LIMIT, table.VALUE_LIMIT, table.UNIT_LIMIT]] = np.inf
NO_PENALTY = Objective()


def plain(rule: UpdateRule) -> bool:
    """Tell whether a step is a sum that goes right into the parameters."""
    return rule.optimizer.code == PLAIN and not (
        rule.objective.l1 or rule.clip_norm is not None or rule.clip_value is not None
    )


def numbers(objective: Objective, rule: UpdateRule | None = None) -> Array:
    """Return the numbers of a step; see table.py."""
    numbers = UNCHANGING.copy()
    numbers[table.SMOOTHING] = objective.label_smoothing
    numbers[table.L1], numbers[table.L2] = objective.l1, objective.l2
    if rule is None:
        return numbers
    for place, limit in (
        (table.NORM_LIMIT, rule.clip_norm),
        (table.VALUE_LIMIT, rule.clip_value),
        (table.UNIT_LIMIT, rule.max_norm),
    ):
        if limit is not None:
            numbers[place] = limit
    if not plain(rule):
        numbers[table.BIAS_BETA] = 0  # the gradient of each step is made anew
    optimizer = rule.optimizer
    if isinstance(optimizer, SGD):
        numbers[table.FIRST] = optimizer.momentum
    elif isinstance(optimizer, RMSprop):
        numbers[table.FIRST], numbers[table.EPSILON] = optimizer.decay, optimizer.epsilon
    else:
        numbers[table.FIRST], numbers[table.SECOND] = optimizer.beta1, optimizer.beta2
        numbers[table.EPSILON] = optimizer.epsilon
    return numbers


def changing(rates: Array, sizes: Array, rule: UpdateRule, before: int) -> Array:
    """Return the numbers that change from step to step, so many of which were taken before."""
    optimizer = rule.optimizer
    t = before + 1 + np.arange(len(rates))
    numbers = np.ones((len(rates), table.DECAY + 1))
    numbers[:, table.ALPHA], numbers[:, table.BETA] = 1 / sizes, 0
    numbers[:, table.RATE] = rates
    numbers[:, table.LOOK_AHEAD] = rates if isinstance(optimizer, SGD) and optimizer.nesterov else 0
    if isinstance(optimizer, Adam):
        numbers[:, table.RATE] = rates / (1 - optimizer.beta1**t)
        numbers[:, table.CORRECTION] = 1 / np.sqrt(1 - optimizer.beta2**t)
    if isinstance(optimizer, AdamW):
        numbers[:, table.DECAY] = 1 - rates * optimizer.weight_decay
    return numbers


def singly(rule: UpdateRule | None) -> bool:
    """Tell whether a step of one row may take the way of its own."""
    if rule is None:
        return True
    return plain(rule) and not (rule.objective.drops or rule.frozen or rule.max_norm)


def adjusts(model: Model, objective: Objective) -> bool:
    """Tell whether inputs are standardised, or some left out."""
    return model.input_scaler is not None or (objective.drops and objective.dropout[0] > 0)


def scaler(model: Model) -> Array:
    """Return means and factors of the inputs in one vector, or none."""
    scaler = model.input_scaler
    if scaler is None:
        return np.empty(0, model.architecture.dtype)
    return np.concatenate([scaler.mean, scaler.scale])


def measures(layer: Layer) -> int:
    """Return the sums of squares that are taken of a layer's gradient: of weights, of biases."""
    return -(-layer.fan_in // moving.MEASURED_ROWS) + 1


def lists_of_one(architecture: Architecture) -> Array:
    """Return room for the inputs that one row takes in each layer, and their number."""
    return np.empty(sum(layer.fan_in + 1 for layer in architecture.layers), np.int32)


def in_place(X: Array, dtype: np.dtype) -> bool:
    """Tell whether the products can read the rows where they are."""
    between_rows, size = X.strides[0], dtype.itemsize
    adjacent = X.dtype == dtype and X.strides[1] == size
    return adjacent and between_rows >= 0 and between_rows % size == 0


def mostly_zero(X: Array) -> bool:
    """Tell from some rows whether leaving out zeros pays."""
    sample = X[:: max(1, len(X) // 16)][:16]
    return int(np.count_nonzero(sample)) < gemm.WORTH_LISTING * sample.size


def by_units(layer: Layer, rows: int, threads: int) -> bool:
    """Tell whether threads split a layer's units rather than the rows of the batch.

    Then each keeps its part of the weights in its own caches, and activations go from one to the
    other. With many rows that is more to move, and each thread gathers all of them.
    """
    return threads > 1 and layer.fan_out >= max(UNITS_WORTH_A_THREAD * threads, 4 * rows)


def phases(
    architecture: Architecture,
    rows: int,
    threads: int,
    in_place: bool,
    adjust: bool,
    check: bool,
    changing: list[int],
    to_inputs: bool,
    rule: UpdateRule | None,
) -> tuple[Array, Array, int]:
    """Return the operations of a step, where each phase ends, and the first phase of updates.

    ``changing`` are the layers that are updated; backward it goes no further than needed.
    """
    wide = [by_units(layer, rows, threads) for layer in architecture.layers]
    splits = [table.UNITS if split else table.ROWS for split in wide]
    depth = len(splits)
    inputs = table.EVERYTHING if wide[0] else table.ROWS
    operations = [(table.IN_PLACE if in_place else table.GATHERING, 0, inputs)]
    if adjust:
        operations += [(table.ADJUSTING, 0, inputs)]
    if check:
        operations += [(table.CHECK, 0, inputs)]
    operations += [(table.FORWARD, l, splits[l]) for l in range(depth)]
    operations += [(table.FINISH, depth - 1, table.ROWS)]
    lowest = -1 if to_inputs else min(changing, default=depth)
    operations += [(table.BACKWARD, l, splits[l]) for l in range(depth - 1, lowest, -1)]
    computing = len(operations)
    stepping = rule is not None and not plain(rule) and rule.clip_norm is None
    way = table.STEPPING if stepping else table.UPDATING
    operations += [(way, l, splits[l]) for l in changing]
    groups = [len(operations)]
    if rule is not None and rule.clip_norm is not None:
        operations += [(table.MEASURING, l, table.ROWS) for l in changing]
        groups.append(len(operations))
        operations += [(table.MOVING, l, table.ROWS) for l in changing]
        groups.append(len(operations))
    if rule is not None and rule.max_norm is not None:
        operations += [(table.LIMITING, l, table.UNITS) for l in changing]
        groups.append(len(operations))
    ends = []
    for i, (before, after) in enumerate(pairwise(operations[:computing]), 1):
        if not (before[2] == table.EVERYTHING or before[2] == after[2] == table.ROWS):
            ends.append(i)
    ends.append(computing)
    update = len(ends)
    if changing:
        ends += groups
    return np.array(operations, np.int64), np.array(ends, np.int64), update


def workspace(
    architecture: Architecture,
    gathered: int,
    rows: int,
    threads: int = 1,
    slopes: bool = False,
    objective: Objective = NO_PENALTY,
) -> tuple[Array, Array]:
    """Return the table of layers, and the work array that it describes.

    It holds so many rows, and in each thread's copy of the inputs so many that were gathered; with
    ``slopes`` room for the derivatives of activations.
    """
    layers = np.zeros((len(architecture.layers), table.COLUMNS), np.int64)
    below = padded(architecture.sizes[0], architecture.dtype.itemsize)
    source, size, measured = 0, gathered * below, 0
    if by_units(architecture.layers[0], rows, threads):
        layers[0, table.COPY] = size
        size *= threads
    if objective.drops:
        layers[:, table.DROP] = [dropout.threshold(rate) for rate in objective.dropout]
    for l, (layer, name) in enumerate(
        zip(architecture.layers, architecture.activations, strict=True)
    ):
        block = rows * layer.stride
        layers[l, table.FAN_IN] = layer.fan_in
        layers[l, table.FAN_OUT] = layer.fan_out
        layers[l, table.WEIGHTS] = layer.weights
        layers[l, table.BIASES] = layer.biases
        layers[l, table.STRIDE] = layer.stride
        layers[l, table.ACTIVATION] = ACTIVATIONS[name].code
        layers[l, table.INPUT] = source
        layers[l, table.INPUT_STRIDE] = below
        layers[l, table.OUTPUT] = source = size
        layers[l, table.DELTA] = size + block
        layers[l, table.MEASURED] = measured
        below, size = layer.stride, size + 2 * block
        measured += measures(layer)
        hidden = l + 1 < len(layers)
        if slopes and hidden and (name not in WITHOUT_KERNEL or layers[l + 1, table.DROP]):
            layers[l, table.SLOPE] = size
            size += block
    return layers, aligned_zeros(size, architecture.dtype)


def source(rows: Array, pixels: bool = False) -> Array:
    """Describe rows to the kernels: address, kind, bytes between rows and between columns."""
    address = rows.__array_interface__["data"][0]
    if rows.ndim == 1:
        return np.array([address, table.LABELS, rows.strides[0], 0], np.int64)
    kind = KINDS[rows.dtype]
    if pixels and kind == table.UINT8:
        kind = table.UINT8_PIXELS
    return np.array([address, kind, *rows.strides], np.int64)
