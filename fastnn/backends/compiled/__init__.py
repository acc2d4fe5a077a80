"""The compiled backend: Numba kernels that run many mini-batches in one call.

Here arguments become tables and addresses; the kernels are in steps.py and what it imports.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numba.core import event
from numba.np.numpy_support import from_dtype

from fastnn.activations import ACTIVATIONS, Array
from fastnn.backends.compiled import gemm, steps, threads, vector_ir
from fastnn.backends.compiled import layers as table
from fastnn.losses import LOSSES
from fastnn.parameters import Architecture, Layer, aligned_zeros, padded

if TYPE_CHECKING:
    from fastnn.network import Network
    from fastnn.parameters import Parameters

KINDS = {np.dtype("f4"): table.FLOAT32, np.dtype("f8"): table.FLOAT64, np.dtype("u1"): table.UINT8}
UNITS = {
    gemm.PRODUCT: gemm.product,
    gemm.SPARSE_PRODUCT: gemm.product_of_sparse,
    gemm.GATHER: table.gather,
    gemm.ACTIVATE: table.activate,
    gemm.DERIVE: table.apply_derivative,
    gemm.FINISHING: table.finish,
    gemm.PHASE: steps.phase,
}
# Compiled when first needed, as few need them: steps of a single row, and its prediction.
ONE_ROW_UNITS = {gemm.FORWARD_ONE: table.forward_one, gemm.ONE_ROW: steps.one_row}
_preparing = threading.Lock()
# The units for which a thread that splits units is worth it.
UNITS_WORTH_A_THREAD = 32
# Bytes of inputs and activations that a block of predictions takes in the second-level cache.
NEAR = 512 * 1024
# Rows whose gradients are summed in one go.
BLOCK = 512


def prepare(
    dtype: np.dtype, announce: Callable[[], object] = lambda: None, one_row: bool = False
) -> float:
    """Compile the kernels for a dtype, or load them from the cache; see `fastnn.backends`."""
    start = time.perf_counter()
    with event.install_listener("numba:compile", _Announcer(announce)):
        _functions(dtype, one_row)
    return time.perf_counter() - start


def _functions(dtype: np.dtype, one_row: bool = False) -> Array:
    """Return the table of the units' addresses, compiled for a dtype."""
    with _preparing:  # the first of several threads compiles, the others wait
        addresses = _compiled(dtype)
        if one_row and not addresses[gemm.ONE_ROW]:
            number = from_dtype(dtype)
            steps.single.dispatcher.disable_compile(False)
            steps.single.prepare(number)
            steps.single.dispatcher.disable_compile()  # other types are a TypeError
            for place, function in ONE_ROW_UNITS.items():
                addresses[place] = function.address(number)
        return addresses


@cache
def _compiled(dtype: np.dtype) -> Array:
    number = from_dtype(dtype)
    addresses = np.zeros(len(UNITS) + len(ONE_ROW_UNITS), np.int64)
    for place, function in UNITS.items():
        addresses[place] = function.address(number)
    steps.run.prepare(number)
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
    functions = _functions(net.architecture.dtype, one_row=True)
    layers, work = _workspace(net.architecture, 1, 1)
    lists = _lists_of_one(net.architecture)
    arrays = (functions, layers, net.parameters, work, lists, NO_TARGET)
    plan = np.array([array.ctypes.data for array in arrays] + [len(layers)])
    dispatcher = steps.single.dispatcher

    def predict_one(x: Array, out: Array, keep: Any = arrays) -> int:
        return dispatcher(plan, x, out)

    return predict_one


def loss(net: Network, X: Array, Y: Array, out: Array) -> float:
    """Return the mean loss, and write the outputs into ``out``; see `fastnn.backends`."""
    losses = np.empty(-(-len(X) // BLOCK))
    _run(net, X, Y, out=out, losses=losses)
    return _mean(losses, len(X))


def loss_and_gradient(net: Network, X: Array, Y: Array, l2: float, gradient: Parameters) -> float:
    """Return the loss with its penalty and fill ``gradient``; see `fastnn.backends`."""
    gradient.vector[:] = 0
    losses = np.empty(-(-len(X) // BLOCK))
    alphas, betas = np.full(len(losses), 1 / len(X)), np.ones(len(losses))
    _run(net, X, Y, losses=losses, result=gradient.vector, alphas=alphas, betas=betas)
    value = _mean(losses, len(X))
    if l2:
        for weights, g in zip(net.weights, gradient.weights, strict=True):
            g += l2 * weights
            value += l2 / 2 * float(np.sum(np.square(weights, dtype=np.float64)))
    return value


def _mean(losses: Array, rows: int) -> float:
    """Return the mean loss of all rows from the mean losses of their blocks."""
    sizes = np.diff(np.r_[0:rows:BLOCK, rows])
    return float(np.average(losses, weights=sizes))


def train_steps(
    net: Network,
    X: Array,
    Y: Array,
    order: Array,
    batch_size: int,
    rates: Array,
    l2: float,
    losses: Array,
) -> int:
    """Take a step of gradient descent a batch; see `fastnn.backends`."""
    sizes = np.full(len(rates), batch_size)
    sizes[-1] = len(order) - batch_size * (len(rates) - 1)
    return _run(
        net,
        X,
        Y,
        order=order,
        batch_size=batch_size,
        losses=losses,
        result=net.parameters,
        alphas=-rates / sizes,
        betas=1 - rates * l2,
    )


NOTHING = np.empty(0)
NO_TARGET = np.full(4, table.NONE, np.int64)


def _run(
    net: Network,
    X: Array,
    Y: Array | None,
    *,
    order: Array = NOTHING,
    batch_size: int = BLOCK,
    losses: Array | None = None,
    result: Array = NOTHING,
    alphas: Array = NOTHING,
    betas: Array = NOTHING,
    out: Array = NOTHING,
) -> int:
    architecture = net.architecture
    dtype = architecture.dtype
    rows = len(order) or len(X)
    capacity = min(batch_size, rows)
    training = len(alphas) > 0
    trial = threads.trial(architecture, capacity, training)
    count = trial.choose(_most_threads(net, capacity, training))
    listed = gemm.lists_size(capacity) if _mostly_zero(X) else 0
    in_place = not (training or listed) and _readable_in_place(X, dtype)
    operations, phases = _plan(architecture, capacity, count, in_place, Y is None, training)
    layers, buffer = _workspace(architecture, 0 if in_place else capacity, capacity, count)
    size = gemm.pack_size(dtype.itemsize) if training else 0
    steps_to_take = -(-rows // batch_size)
    start = time.perf_counter()
    with threads.region(count):
        taken: int = steps.run.dispatcher(
            _functions(dtype, one_row=training and 1 in (capacity, rows % batch_size)),
            layers,
            operations,
            phases,
            LOSSES[architecture.loss],
            net.parameters,
            result.astype(dtype, copy=False),
            buffer,
            aligned_zeros(count * size, dtype).reshape(count, size),
            _source(X, pixels=True),
            NO_TARGET if Y is None else _source(Y),
            order.astype(np.int64, copy=False),
            rows,
            batch_size,
            np.empty((count, listed), np.int32),
            _lists_of_one(architecture),
            alphas.astype(dtype),
            betas.astype(dtype),
            np.zeros(capacity),
            np.empty(-(-rows // batch_size)) if losses is None else losses,
            out.reshape(-1).astype(dtype, copy=False),
            np.ones(1, dtype),
            count,
        )
    trial.record(count, (time.perf_counter() - start) / steps_to_take)
    return taken


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


def _readable_in_place(X: Array, dtype: np.dtype) -> bool:
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
    architecture: Architecture, rows: int, threads: int, in_place: bool, check: bool, training: bool
) -> tuple[Array, Array]:
    """Return the operations of a step, and where each phase ends; see `steps.run`."""
    by_units = [_by_units(layer, rows, threads) for layer in architecture.layers]
    splits = [steps.UNITS if wide else steps.ROWS for wide in by_units]
    layers = range(len(splits))
    inputs = steps.EVERYTHING if by_units[0] else steps.ROWS
    operations = [(steps.IN_PLACE if in_place else steps.GATHERING, 0, inputs)]
    if check:
        operations += [(steps.CHECK, 0, inputs)]
    operations += [(steps.FORWARD, l, splits[l]) for l in layers]
    operations += [(steps.FINISH, layers[-1], steps.ROWS)]
    if training:
        operations += [(steps.BACKWARD, l, splits[l]) for l in layers[:0:-1]]
        operations += [(steps.UPDATING, l, splits[l]) for l in layers]
    ends = []
    for i, (before, after) in enumerate(pairwise(operations), 1):
        updates = [operation[0] == steps.UPDATING for operation in (before, after)]
        together = before[2] == steps.EVERYTHING or before[2] == after[2] == steps.ROWS
        if not (all(updates) or (together and not any(updates))):
            ends.append(i)
    return np.array(operations, np.int64), np.array([*ends, len(operations)], np.int64)


def _workspace(
    architecture: Architecture, gathered: int, rows: int, threads: int = 1
) -> tuple[Array, Array]:
    """Return the table of layers, and the work array that it describes.

    It holds so many rows, and in each thread's copy of the inputs so many that were gathered.
    """
    layers = np.zeros((len(architecture.layers), table.COLUMNS), np.int64)
    below = padded(architecture.sizes[0], architecture.dtype.itemsize)
    source, size = 0, gathered * below
    if _by_units(architecture.layers[0], rows, threads):
        layers[0, table.COPY] = size
        size *= threads
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
        below, size = layer.stride, size + 2 * block
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
