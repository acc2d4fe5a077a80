"""Predictions and losses on one thread: what takes longer than the kernels is done once for all.

The plan and room for a few rows are kept with the model. A call copies its rows there, of any type
and layout, says how many they are, and runs the kernel. More rows are read where they are, if the
products can do that.
"""

from __future__ import annotations

import numpy as np

from fastnn.activations import Array
from fastnn.backends import dropout
from fastnn.backends.compiled import blocks, functions, plan
from fastnn.backends.compiled.calls import EVERY_ROW
from fastnn.backends.compiled.kernels import batches
from fastnn.backends.compiled.operations import NO_PENALTY, Task
from fastnn.backends.compiled.plan import Plan
from fastnn.backends.contract import Examples
from fastnn.model.model import Model

MOST_ROWS = 512  # the block of the other way, so that losses are the same means
MOST_NUMBERS = 1 << 15  # in the rows: copying more of them takes longer than all else here
# Products with the first layer's weights from which it may pay to leave zeros out, which this does
# not: then the rows are looked at first.
WORTH_LOOKING = 1 << 19
# Floating-point operations from which more threads may gain what it takes to ask the system for the
# number of CPUs, some 40 microseconds.
WORTH_ASKING = 7_000_000
PREDICTING, LEARNING = "few rows", "few rows with targets"  # what a model keeps them as


class FewRows:
    """A plan that is kept, and room for the rows that it is for.

    Parameters
    ----------
    model : Model
    learning : bool
        Whether there are targets, and losses to compute.

    Attributes
    ----------
    most : int
        Rows of a call that there is room for.
    block : int
        Rows that are gone through at a time.
    alone : int
        Rows that are not worth a second thread.
    """

    def __init__(self, model: Model, learning: bool) -> None:
        a = model.architecture
        self.most = min(MOST_ROWS, blocks.near(a), MOST_NUMBERS // max(a.sizes[0], a.sizes[-1]))
        self.block = self.most if learning else blocks.near(a)
        self.alone = WORTH_ASKING // a.forward_flops
        if self.most < 1:
            return
        in_place = not functions.adjusts_inputs(model, NO_PENALTY)
        self.takes_more = in_place and not learning
        self.plan = Plan(model, Task(self.block, in_place=in_place, learning=learning))
        self.inputs = np.zeros((self.most, a.sizes[0]), a.dtype)
        self.plan.read(self.inputs, None, self.most, self.block)
        self.rows = self.plan.record["rows"]
        self.losses = np.zeros(1)  # or, for predictions, 0 or NaN
        self.nothing = EVERY_ROW, dropout.NO_KEYS.reshape(-1), np.empty((0, 0), a.dtype)
        self.most_unseen = WORTH_LOOKING // (a.sizes[0] * a.sizes[1])
        self.pixel = a.dtype.type(1) / a.dtype.type(255)
        if learning:
            self.labels = np.zeros(self.most, np.int64)
            self.targets = np.zeros((self.most, a.sizes[-1]), a.dtype)
            self.weights = np.zeros(self.most, a.dtype)
            self.weights_address = plan.address_of(self.weights)
            self.learnt: Array | None = None  # of labels and targets what the plan reads

    def takes(self, model: Model, X: Array) -> bool:
        """Tell whether these rows are for this way."""
        rows = len(X)
        if rows > self.alone and model.threads != 1:
            return False
        if rows > self.most and not (
            self.most > 0 and self.takes_more and plan.can_read_in_place(X, self.inputs.dtype)
        ):
            return False
        return rows <= self.most_unseen or not plan.mostly_zero(X)

    def run(self, X: Array, out: Array) -> float:
        """Write the outputs into ``out``; return the mean loss, or 0 or NaN."""
        rows, dtype = len(X), self.inputs.dtype
        self.rows[0] = rows
        if rows > self.most:
            return self._read(X, out)
        inputs = self.inputs[:rows]
        if X.dtype == dtype:
            inputs[...] = X
        elif X.dtype == np.uint8:
            np.multiply(X, self.pixel, out=inputs, dtype=dtype)
        else:
            _convert(X, inputs)
        batches.run.dispatcher(self.plan.record, *self.nothing, self.losses, out.reshape(-1))
        return self.losses.item()

    def _read(self, X: Array, out: Array) -> float:
        """Do it for rows that stay where they are."""
        losses, record = np.zeros(-(-len(X) // self.block)), self.plan.record
        record["inputs"] = plan.source(X)
        batches.run.dispatcher(record, *self.nothing, losses, out.reshape(-1))
        record["inputs"] = plan.source(self.inputs)
        return float(losses.sum())

    def learn_from(self, examples: Examples) -> None:
        """Copy targets and weights to where the plan reads them."""
        rows, record = len(examples.X), self.plan.record
        kept = self.labels if examples.Y.ndim == 1 else self.targets
        _convert(examples.Y, kept[:rows])
        if kept is not self.learnt:
            record["targets"], self.learnt = plan.source(kept), kept
        weighted = examples.weights is not None
        if weighted:
            self.weights[:rows] = examples.weights
        record["row_weights"] = self.weights_address * weighted


@np.errstate(over="ignore")
def _convert(numbers: Array, out: Array) -> None:
    out[...] = numbers


def predict(model: Model, X: Array, out: Array) -> bool | None:
    """Predict as `contract` says, or return None if these rows are not for this way."""
    few = _taken(model, PREDICTING)
    finite = few.run(X, out) == 0 if few.takes(model, X) else None
    model.prepared[PREDICTING] = few  # not after Ctrl-C, which may leave the plan half changed
    return finite


def loss(model: Model, examples: Examples, out: Array) -> float | None:
    """Return the loss as `contract` says, or None if these rows are not for this way."""
    few = _taken(model, LEARNING)
    value = None
    if few.takes(model, examples.X):
        few.learn_from(examples)
        value = few.run(examples.X, out)
    model.prepared[LEARNING] = few
    return value


def _taken(model: Model, key: str) -> FewRows:
    """Return what is kept, or new, so that no other thread finds it before it is put back."""
    kept: FewRows | None = model.prepared.pop(key, None)
    if kept is None or (kept.most and kept.plan.scaler is not model.input_scaler):
        return FewRows(model, learning=key == LEARNING)
    return kept
