"""Predictions of a few rows: Python that takes longer than the kernels is done once for many calls.

The plan and room for the rows are kept with the model. A call copies its rows there, of any type
and layout, says how many they are, and runs the kernel on one thread.
"""

from __future__ import annotations

import numpy as np

from fastnn.activations import Array
from fastnn.backends import dropout
from fastnn.backends.compiled import functions, plan
from fastnn.backends.compiled.kernels import batches
from fastnn.backends.compiled.machinery import vector_ir
from fastnn.backends.compiled.plan import NO_PENALTY, Plan, Task
from fastnn.model.architecture import Architecture, padded
from fastnn.model.model import Model

MOST_ROWS = 128
MOST_NUMBERS = 1 << 15  # in the rows: copying more of them takes longer than all else here
# Products with the first layer's weights from which it may pay to leave zeros out, which this does
# not: then the rows are looked at first.
WORTH_LOOKING = 1 << 19
# Bytes of inputs and activations that a block of predictions takes in the second-level cache.
NEAR = 512 * 1024
# Floating-point operations from which more threads may gain what it takes to ask the system for the
# number of CPUs, some 40 microseconds.
WORTH_ASKING = 7_000_000
KEY = "few rows"  # of what the model keeps

EVERY_ROW = np.empty(0, np.int64)


class FewRows:
    """A plan that is kept, and room for the rows that it predicts.

    Attributes
    ----------
    most : int
        Rows of a call that there is room for.
    alone : int
        Rows that are not worth a second thread.
    """

    def __init__(self, model: Model) -> None:
        a = model.architecture
        self.most = min(MOST_ROWS, near(a), MOST_NUMBERS // a.sizes[0])
        self.alone = WORTH_ASKING // a.forward_flops
        if self.most < 1:
            return
        in_place = not functions.adjusts_inputs(model, NO_PENALTY)
        self.plan = Plan(model, Task(self.most, in_place=in_place))
        self.inputs = np.zeros((self.most, a.sizes[0]), a.dtype)
        self.plan.read(self.inputs, None, self.most, self.most)
        self.rows = self.plan.record["rows"]
        self.finite = np.zeros(1)  # or NaN
        self.nothing = EVERY_ROW, dropout.NO_KEYS.reshape(-1), np.empty((0, 0), a.dtype)
        self.most_unseen = WORTH_LOOKING // (a.sizes[0] * a.sizes[1])
        self.pixel = a.dtype.type(1) / a.dtype.type(255)

    def predict(self, X: Array, out: Array) -> bool:
        """Write the outputs into ``out``; return whether all inputs are finite in the dtype."""
        rows, dtype = len(X), self.inputs.dtype
        inputs = self.inputs[:rows]
        if X.dtype == dtype:
            inputs[...] = X
        elif X.dtype == np.uint8:
            np.multiply(X, self.pixel, out=inputs, dtype=dtype)
        elif X.dtype.itemsize > dtype.itemsize:
            _narrow(X, inputs)
        else:
            inputs[...] = X
        self.rows[0] = rows
        batches.run.dispatcher(self.plan.record, *self.nothing, self.finite, out.reshape(-1))
        return self.finite.item() == 0


@np.errstate(over="ignore")
def _narrow(X: Array, out: Array) -> None:
    out[...] = X


def near(architecture: Architecture) -> int:
    """Return how many rows a block of predictions takes."""
    layers, itemsize = architecture.layers, architecture.dtype.itemsize
    row = itemsize * (padded(layers[0].fan_in, itemsize) + sum(layer.stride for layer in layers))
    return max(vector_ir.GROUP, NEAR // row // vector_ir.GROUP * vector_ir.GROUP)


def predict(model: Model, X: Array, out: Array) -> bool | None:
    """Predict as `contract` says, or return None if these rows are not for this way."""
    # No other thread finds it while this one has it.
    kept = model.prepared.pop(KEY, None)
    if kept is None or (kept.most and kept.plan.scaler is not model.input_scaler):
        kept = FewRows(model)
    try:
        rows = len(X)
        if rows > kept.most or (rows > kept.alone and model.threads != 1):
            return None
        if rows > kept.most_unseen and plan.mostly_zero(X):
            return None
        finite: bool = kept.predict(X, out)
        return finite
    finally:
        model.prepared[KEY] = kept
