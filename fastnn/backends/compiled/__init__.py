"""The compiled backend: Numba kernels that run many mini-batches in one call.

Here arguments become tables and addresses; the kernels are in steps.py and what it imports.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numba.core import event
from numba.np.numpy_support import from_dtype

from fastnn import dropout
from fastnn.activations import ACTIVATIONS, Array
from fastnn.backends.compiled import (
    further,
    gemm,
    layers,
    moving,
    one_row,
    outputs,
    steps,
    table,
    threads,
    vector_ir,
)
from fastnn.losses import GIVEN, LOSSES, evaluated, matrix
from fastnn.optimizers import PLAIN, SGD, Adam, AdamW, RMSprop
from fastnn.parameters import Architecture, Layer, Parameters, aligned_zeros, padded
from fastnn.rules import Objective

if TYPE_CHECKING:
    from fastnn.network import Network
    from fastnn.rules import Rule, State

KINDS = {np.dtype("f4"): table.FLOAT32, np.dtype("f8"): table.FLOAT64, np.dtype("u1"): table.UINT8}
UNITS = {
    table.PRODUCT: gemm.product,
    table.SPARSE_PRODUCT: gemm.product_of_sparse,
    table.GATHER: layers.gather,
    table.FINISHING: outputs.finish,
    table.PHASE: steps.phase,
    # Compiled when first needed, as not all need them.
    table.ERROR: outputs.error,
    table.ACTIVATE: layers.activate,
    table.FORWARD_ONE: one_row.forward_one,
    table.ONE_ROW: one_row.one_row,
    table.MOVE: moving.move,
    table.MEASURE: moving.measure,
    table.LIMIT: moving.limit,
    table.FURTHER: further.further,
}
ALWAYS = (table.PRODUCT, table.SPARSE_PRODUCT, table.GATHER, table.FINISHING, table.PHASE)
OF_ONE_ROW = (table.FORWARD_ONE, table.ONE_ROW)
WITHOUT_KERNEL = ("relu", "identity")
_preparing = threading.Lock()
# The table of the units' addresses for each dtype; 0 where one is not yet compiled.
_tables = {np.dtype(name): np.zeros(table.PHASE + 1, np.int64) for name in ("f4", "f8")}
# Rows of weights that have room in the buffer in which a gradient is made part by part.
STEPPED_ROWS = 64
# The units for which a thread that splits units is worth it.
UNITS_WORTH_A_THREAD = 32
# Bytes of inputs and activations that a block of predictions takes in the second-level cache.
NEAR = 512 * 1024
# Rows whose gradients are summed in one go.
BLOCK = 512


NOTHING = np.empty(0)
# The numbers of a step that does nothing.
UNCHANGING = np.zeros(table.NUMBERS)
UNCHANGING[[table.BETA, table.BIAS_BETA, table.DECAY]] = 1
UNCHANGING[[table.NORM_LIMIT, table.VALUE_LIMIT, table.UNIT_LIMIT]] = np.inf
NO_CHANGE = np.empty((0, 0))
NO_PENALTY = Objective()
NO_TARGET = np.full(4, table.NONE, np.int64)


def prepare(
    net: Network,
    announce: Callable[[], object] = lambda: None,
    rule: Rule | None = None,
    one_row: bool = False,
) -> float:
    """Compile the kernels for a network, or load them from the cache; see `fastnn.backends`."""
    start = time.perf_counter()
    with event.install_listener("numba:compile", _Announcer(announce)):
        objective = rule.objective if rule else NO_PENALTY
        needed = _needed(net, objective, rule, one_row and _singly(rule))
        _functions(net.architecture.dtype, needed)
    return time.perf_counter() - start


def warmup(dtype: np.dtype) -> float:
    """Compile all kernels for a dtype, or load them from the cache; return the seconds it took."""
    start = time.perf_counter()
    _functions(dtype, UNITS)
    return time.perf_counter() - start


def _needed(net: Network, objective: Objective, rule: Rule | None, one_row: bool) -> set[int]:
    """Return the places of the units that a call needs."""
    places = {*ALWAYS}
    if _adjusts(net, objective):
        places.add(table.FURTHER)
    hidden = net.architecture.activations[:-1]
    if any(name not in WITHOUT_KERNEL for name in hidden) or objective.drops:
        places.add(table.ACTIVATE)
    if net.architecture.loss not in ("cross_entropy", "binary_cross_entropy", "poisson"):
        places.add(table.ERROR)
    if one_row:
        places.update(OF_ONE_ROW)
    if rule is not None:
        if not _plain(rule):
            places.add(table.MOVE)
        if rule.clip_norm is not None:
            places.update((table.MEASURE, table.FURTHER))
        if rule.max_norm is not None:
            places.update((table.LIMIT, table.FURTHER))
    return places


def _functions(dtype: np.dtype, places: Iterable[int] = ALWAYS) -> Array:
    """Return the table of the units' addresses, with those at these places, for a dtype."""
    addresses = _tables[dtype]
    if not all(addresses[place] for place in places):
        with _preparing:  # the first of several threads compiles, the others wait
            number = from_dtype(dtype)
            steps.run.prepare(number)
            if table.ONE_ROW in places:
                one_row.single.dispatcher.disable_compile(False)
                one_row.single.prepare(number)
                one_row.single.dispatcher.disable_compile()  # other types are a TypeError
            for place in places:
                if not addresses[place]:
                    addresses[place] = UNITS[place].address(number)
    return addresses


class _Announcer(event.Listener):  # type: ignore[misc]
    """Call a function when the first compilation starts; loading from the cache is none."""

    def __init__(self, announce: Callable[[], object]) -> None:
        self.announce: Callable[[], object] | None = announce

    def on_start(self, event: event.Event) -> None:
        if self.announce is not None:
            announce, self.announce = self.announce, None
            announce()

    def on_end(self, event: event.Event) -> None:
        pass


def predict(net: Network, X: Array, out: Array) -> bool:
    """Write the outputs for all rows of X into ``out``; see `fastnn.backends`."""
    layers, itemsize = net.architecture.layers, net.architecture.dtype.itemsize
    row = itemsize * (padded(layers[0].fan_in, itemsize) + sum(layer.stride for layer in layers))
    block = min(BLOCK, max(vector_ir.GROUP, NEAR // row // vector_ir.GROUP * vector_ir.GROUP))
    losses = np.empty(-(-len(X) // block))  # for each block NaN or 0
    _run(net, X, None, batch_size=block, out=out, losses=losses)
    return bool(np.isfinite(losses).all())


def single(net: Network) -> Callable[[Array, Array], int]:
    """Return the function that predicts one row of the network; see `fastnn.backends`."""
    needed = _needed(net, NO_PENALTY, None, one_row=True)
    functions = _functions(net.architecture.dtype, needed)
    layers, work = _workspace(net.architecture, 1, 1)
    lists, scaler = _lists_of_one(net.architecture), _scaler(net)
    arrays = (functions, layers, net.parameters, work, lists, NO_TARGET, scaler)
    addresses = [array.ctypes.data for array in arrays]
    plan = np.array([*addresses, len(layers), len(scaler)])
    dispatcher = one_row.single.dispatcher

    def predict_one(x: Array, out: Array, keep: Any = arrays) -> int:
        return dispatcher(plan, x, out)

    return predict_one


def activations(net: Network, X: Array, outs: Sequence[Array]) -> None:
    """Write the activations of each layer into ``outs``; see `fastnn.backends`."""
    for first in range(0, len(X), BLOCK):
        rows = slice(first, min(first + BLOCK, len(X)))
        work, layers = _run(net, X[rows], None, alone=True).work
        for out, layer in zip(outs, layers, strict=True):
            out[rows] = _block(work, layer[table.OUTPUT], layer[table.STRIDE], out[rows])


def input_gradient(net: Network, X: Array, Y: Array, out: Array) -> None:
    """Write the gradients with respect to the inputs into ``out``; see `fastnn.backends`."""
    for first in range(0, len(X), BLOCK):
        rows = slice(first, min(first + BLOCK, len(X)))
        y = _learnt(net, X[rows], Y[rows])[1]
        work, layers = _run(net, X[rows], y, alone=True, to_inputs=True).work
        out[rows] = _block(work, layers[0, table.INPUT], layers[0, table.INPUT_STRIDE], out[rows])


def _block(work: Array, start: int, stride: int, like: Array) -> Array:
    """Return a view of rows in the work array, as many and as long as those of an array."""
    rows, columns = like.shape
    return work[start : start + rows * stride].reshape(rows, stride)[:, :columns]


def loss(net: Network, X: Array, Y: Array, weights: Array | None, out: Array) -> float:
    """Return the mean loss, and write the outputs into ``out``; see `fastnn.backends`."""
    if not isinstance(net.architecture.loss, str):
        _run(net, X, None, out=out)
        return _weighted(evaluated(net.architecture.loss, out, _matrix(net, Y))[0], weights)
    losses = np.empty(-(-len(X) // BLOCK))
    _run(net, X, Y, weights, out=out, losses=losses)
    return _mean(losses, len(X))


def loss_and_gradient(
    net: Network,
    X: Array,
    Y: Array,
    weights: Array | None,
    objective: Objective,
    keys: Array,
    gradient: Parameters,
) -> float:
    """Return the loss with its penalty and fill ``gradient``; see `fastnn.backends`."""
    gradient.vector[:] = 0
    losses = np.empty(-(-len(X) // BLOCK))
    own, Y = _learnt(net, X, Y, objective=objective, keys=keys)
    numbers = _numbers(objective)
    numbers[table.ALPHA] = 1 / len(X)
    _run(
        net, X, Y, weights, losses=losses, numbers=numbers, objective=objective, keys=keys,
        result=gradient.vector,
    )  # fmt: skip
    value = _mean(losses, len(X)) if own is None else _weighted(own, weights)
    for w, g in zip(net.weights, gradient.weights, strict=True):
        if objective.l2:
            g += objective.l2 * w
            value += objective.l2 / 2 * float(np.sum(np.square(w, dtype=np.float64)))
        if objective.l1:
            g += objective.l1 * np.sign(w)
            value += objective.l1 * float(np.abs(w).sum(dtype=np.float64))
    return value


def _mean(losses: Array, rows: int) -> float:
    """Return the mean loss of all rows from the mean losses of their blocks."""
    sizes = np.diff(np.r_[0:rows:BLOCK, rows])
    return float(np.average(losses, weights=sizes))


def train_steps(
    net: Network,
    X: Array,
    Y: Array,
    weights: Array | None,
    order: Array,
    batch_size: int,
    rates: Array,
    rule: Rule,
    keys: Array,
    state: State,
    losses: Array,
) -> int:
    """Take a step a batch; see `fastnn.backends`."""
    if len(rates) > 1 and not isinstance(net.architecture.loss, str):
        return _steps_one_by_one(
            net, X, Y, weights, order, batch_size, rates, rule, keys, state, losses
        )
    own, Y = _learnt(net, X, Y, order=order, objective=rule.objective, keys=keys)
    if own is not None:
        losses[0] = _weighted(own, None if weights is None else weights[order])
        if not np.isfinite(losses[0]):
            return 0
    sizes = np.full(len(rates), batch_size)
    sizes[-1] = len(order) - batch_size * (len(rates) - 1)
    numbers = _numbers(rule.objective, rule)
    if _plain(rule):
        changing = np.empty((len(rates), table.BETA + 1), net.architecture.dtype)
        changing[:, table.ALPHA] = -rates / sizes
        changing[:, table.BETA] = 1 - rates * rule.objective.l2
    else:
        changing = _changing(rates, sizes, rule, state.steps)
    result = net.parameters if rule.clip_norm is None else Parameters(net.architecture).vector
    taken = _run(
        net,
        X,
        Y,
        weights,
        order=order,
        batch_size=batch_size,
        losses=losses if own is None else None,
        numbers=numbers,
        changing=changing,
        objective=rule.objective,
        rule=rule,
        state=state,
        keys=keys,
        result=result,
    ).taken
    state.steps += taken
    return taken


def _steps_one_by_one(
    net: Network, X: Array, Y: Array, weights: Array | None, order: Array, batch_size: int,
    rates: Array, rule: Rule, keys: Array, state: State, losses: Array,
) -> int:  # fmt: skip
    """Take the steps of a loss that is a function of the user's: it comes between two kernels."""
    for step in range(len(rates)):
        part = slice(step * batch_size, min((step + 1) * batch_size, len(order)))
        one = slice(step, step + 1)
        if not train_steps(
            net, X, Y, weights, order[part], batch_size, rates[one], rule, keys[:, part], state,
            losses[one],
        ):  # fmt: skip
            return step
    return len(rates)


def _learnt(
    net: Network,
    X: Array,
    Y: Array,
    order: Array = NOTHING,
    objective: Objective = NO_PENALTY,
    keys: Array = dropout.NO_KEYS,
) -> tuple[Array | None, Array]:
    """Return what the kernels learn from, and the losses of the rows if that is a gradient.

    Named losses are the kernels' own: they learn from the targets. A function of the user's gives
    the gradients with respect to the outputs instead.
    """
    loss = net.architecture.loss
    if isinstance(loss, str):
        return None, Y
    rows = order.astype(np.int64) if len(order) else np.arange(len(X))
    out = np.empty((len(rows), net.architecture.sizes[-1]), net.architecture.dtype)
    _run(net, X, None, order=order, objective=objective, keys=keys, out=out)
    values, slopes = evaluated(loss, out, _matrix(net, Y[rows]))
    given = np.empty((len(X), out.shape[1]), out.dtype)  # but for these rows it is not touched
    given[rows] = slopes
    return values, given


def _matrix(net: Network, Y: Array) -> Array:
    return matrix(Y, net.architecture.sizes[-1], net.architecture.dtype)


def _weighted(losses: Array, weights: Array | None) -> float:
    """Return the mean of the losses times their weights."""
    return float(np.mean(losses if weights is None else losses * weights, dtype=np.float64))


def _plain(rule: Rule) -> bool:
    """Tell whether a step is a sum that goes right into the parameters."""
    return rule.optimizer.code == PLAIN and not (
        rule.objective.l1 or rule.clip_norm is not None or rule.clip_value is not None
    )


def _numbers(objective: Objective, rule: Rule | None = None) -> Array:
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
    if not _plain(rule):
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


def _changing(rates: Array, sizes: Array, rule: Rule, before: int) -> Array:
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


class _Done(NamedTuple):
    """How many batches were taken, and the work array with the table of layers."""

    taken: int
    work: tuple[Array, Array]


def _run(
    net: Network,
    X: Array,
    Y: Array | None,
    weights: Array | None = None,
    *,
    order: Array = NOTHING,
    batch_size: int = BLOCK,
    losses: Array | None = None,
    numbers: Array | None = None,
    changing: Array = NO_CHANGE,
    objective: Objective = NO_PENALTY,
    rule: Rule | None = None,
    state: State | None = None,
    keys: Array = dropout.NO_KEYS,
    result: Array = NOTHING,
    out: Array = NOTHING,
    to_inputs: bool = False,
    alone: bool = False,
) -> _Done:
    """Go through all rows, or those of the order, in batches; see `steps.run`.

    ``alone``: in memory of its own and on one thread, so that it can be looked at afterwards.
    """
    architecture = net.architecture
    dtype = architecture.dtype
    rows = len(order) or len(X)
    capacity = min(batch_size, rows)
    updating = len(result) > 0
    trial = threads.trial(architecture, capacity, updating)
    count = 1 if alone else trial.choose(_most_threads(net, capacity, updating))
    listed = gemm.lists_size(capacity) if net.input_scaler is None and _mostly_zero(X) else 0
    backward, adjust = updating or to_inputs, _adjusts(net, objective)
    in_place = not (backward or listed or alone or adjust or len(order)) and _in_place(X, dtype)
    depth = len(architecture.layers)
    updated = [l for l in range(depth) if updating and not (rule and l in rule.frozen)]
    operations, phases, update = _plan(
        architecture, capacity, count, in_place, adjust, Y is None, updated, to_inputs, rule
    )
    layers, work = _workspace(
        architecture,
        0 if in_place else capacity,
        capacity,
        count,
        backward or objective.drops,
        objective,
    )
    singly = updating and rule is not None and _singly(rule) and not adjust
    one_row = singly and 1 in (capacity, rows % batch_size)
    slots = [slot.vector for slot in state.slots] if state else []
    first, second = [*slots, *[NOTHING.astype(dtype)] * 2][:2]
    pack = gemm.pack_size(dtype.itemsize) if backward else 0
    if updating and rule is not None and not _plain(rule):
        pack = max(pack, STEPPED_ROWS * max(layer.stride for layer in architecture.layers))
    steps_to_take = -(-rows // batch_size)
    start = time.perf_counter()
    with threads.region(count):
        taken: int = steps.run.dispatcher(
            _functions(dtype, _needed(net, objective, rule, one_row)),
            layers,
            operations,
            phases,
            update,
            LOSSES[architecture.loss] if isinstance(architecture.loss, str) else GIVEN,
            net.parameters,
            result.astype(dtype, copy=False),
            rule.optimizer.code if rule else PLAIN,
            first,
            second,
            work,
            aligned_zeros(count * pack, dtype).reshape(count, pack),
            _source(X, pixels=True),
            _scaler(net),
            NO_TARGET if Y is None else _source(Y),
            NOTHING.astype(dtype) if weights is None else weights,
            order.astype(np.int64, copy=False),
            rows,
            batch_size,
            np.ascontiguousarray(keys).reshape(-1),
            np.empty((count, listed), np.int32),
            _lists_of_one(architecture),
            (_numbers(objective) if numbers is None else numbers).astype(dtype),
            changing.astype(dtype, copy=False),
            np.zeros(capacity),
            np.zeros(int(layers[-1, table.MEASURED]) + _measures(architecture.layers[-1])),
            np.empty(steps_to_take) if losses is None else losses,
            out.reshape(-1).astype(dtype, copy=False),
            np.ones(1, dtype),
            singly,
            count,
        )
    trial.record(count, (time.perf_counter() - start) / steps_to_take)
    return _Done(taken, (work, layers))


def _singly(rule: Rule | None) -> bool:
    """Tell whether a step of one row may take the way of its own."""
    if rule is None:
        return True
    return _plain(rule) and not (rule.objective.drops or rule.frozen or rule.max_norm)


def _adjusts(net: Network, objective: Objective) -> bool:
    """Tell whether inputs are standardised, or some left out."""
    return net.input_scaler is not None or (objective.drops and objective.dropout[0] > 0)


def _scaler(net: Network) -> Array:
    """Return means and factors of the inputs in one vector, or none."""
    scaler = net.input_scaler
    if scaler is None:
        return np.empty(0, net.architecture.dtype)
    return np.concatenate([scaler.mean, scaler.scale])


def _measures(layer: Layer) -> int:
    """Return the sums of squares that are taken of a layer's gradient: of weights, of biases."""
    return -(-layer.fan_in // moving.MEASURED_ROWS) + 1


def _most_threads(net: Network, rows: int, training: bool) -> int:
    """Return the most threads that may pay for steps of so many rows."""
    if rows == 1:
        return 1
    if training:
        return threads.choose(net.threads, net.architecture.training_flops * rows)
    work = net.architecture.forward_flops * rows
    return threads.choose(net.threads, work, threads.PREDICTING_WORTH_A_THREAD)


def _lists_of_one(architecture: Architecture) -> Array:
    """Return room for the inputs that one row takes in each layer, and their number."""
    return np.empty(sum(layer.fan_in + 1 for layer in architecture.layers), np.int32)


def _in_place(X: Array, dtype: np.dtype) -> bool:
    """Tell whether the products can read the rows where they are."""
    between_rows, size = X.strides[0], dtype.itemsize
    adjacent = X.dtype == dtype and X.strides[1] == size
    return adjacent and between_rows >= 0 and between_rows % size == 0


def _mostly_zero(X: Array) -> bool:
    """Tell from some rows whether leaving out zeros pays."""
    sample = X[:: max(1, len(X) // 16)][:16]
    return int(np.count_nonzero(sample)) < gemm.WORTH_LISTING * sample.size


def _by_units(layer: Layer, rows: int, threads: int) -> bool:
    """Tell whether threads split a layer's units rather than the rows of the batch.

    Then each keeps its part of the weights in its own caches, and activations go from one to the
    other. With many rows that is more to move, and each thread gathers all of them.
    """
    return threads > 1 and layer.fan_out >= max(UNITS_WORTH_A_THREAD * threads, 4 * rows)


def _plan(
    architecture: Architecture,
    rows: int,
    threads: int,
    in_place: bool,
    adjust: bool,
    check: bool,
    changing: list[int],
    to_inputs: bool,
    rule: Rule | None,
) -> tuple[Array, Array, int]:
    """Return the operations of a step, where each phase ends, and the first phase of updates.

    ``changing`` are the layers that are updated; backward it goes no further than needed.
    """
    by_units = [_by_units(layer, rows, threads) for layer in architecture.layers]
    splits = [table.UNITS if wide else table.ROWS for wide in by_units]
    depth = len(splits)
    inputs = table.EVERYTHING if by_units[0] else table.ROWS
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
    stepping = rule is not None and not _plain(rule) and rule.clip_norm is None
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


def _workspace(
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
    if _by_units(architecture.layers[0], rows, threads):
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
        measured += _measures(layer)
        hidden = l + 1 < len(layers)
        if slopes and hidden and (name not in WITHOUT_KERNEL or layers[l + 1, table.DROP]):
            layers[l, table.SLOPE] = size
            size += block
    return layers, aligned_zeros(size, architecture.dtype)


def _source(rows: Array, pixels: bool = False) -> Array:
    """Describe rows to the kernels: address, kind, bytes between rows and between columns."""
    address = rows.__array_interface__["data"][0]
    if rows.ndim == 1:
        return np.array([address, table.LABELS, rows.strides[0], 0], np.int64)
    kind = KINDS[rows.dtype]
    if pixels and kind == table.UINT8:
        kind = table.UINT8_PIXELS
    return np.array([address, kind, *rows.strides], np.int64)
