"""What a backend has to offer, and the values that it gets.

A backend is a module of plain functions. Both backends export those named in `CONTRACT`, with the
same signatures. ``model`` is a `fastnn.model.model.Model`. The network has checked all arrays: X
(n, features) is float32, float64 or uint8 in any memory layout, or `fastnn.sparse_rows.SparseRows`
of these, and uint8 means pixels, to be divided by 255; Y is int64 labels (n,) or targets (n,
outputs) in float32, float64 or uint8; weights (n,) of the rows, or None, have mean 1 and the
model's dtype. Sparse rows are neither standardised nor augmented, and have no ``input_gradient``.
``keys`` are those of `fastnn.backends.dropout.row_keys`, (layers + augmentations, rows), or (0, 0)
without dropout and augmentation. Functions change only ``out``, ``outs``, ``losses``, ``gradient``
and, in `train_steps` and `update`, the model's parameters and the ``state``, and
``model.prepared``, in which the keys of a backend are tuples.

``prepare(model, announce, rule, batch_sizes, sparse, halves) -> float``
    Compile or load what the model and steps by the rule for batches of these sizes need, of sparse
    rows or of others, whole or in two ``halves``, and if one of them is 1 what `single` needs;
    return the seconds. Without it
    the first call of a function takes longer. ``announce()`` is called before compiling.
``predict(model, X, out) -> bool``
    Write the outputs of the last layer into ``out`` (n, outputs), C-contiguous, of the model's
    dtype. Return whether all inputs are finite in that dtype; only here X need not be.
``single(model) -> callable``
    Return a function ``predict_one(x, out) -> int`` that writes the outputs for one row, and
    returns `FINE`, `NOT_FINITE` or `WRONG_LENGTH`. Both arguments must be vectors of the model's
    dtype, contiguous and writable, which it need not check. It is valid as long as the model exists
    and has the same scalers.
``learner(model, optimizer, state, target) -> callable``
    Return a function ``learn(x, rate) -> float`` that takes a step on one row as `train_steps`
    does, with the target that is in the array ``target``: int64 (1,), a label, or (outputs,) of the
    model's dtype. It returns the loss before the step. If x is not finite or has another length it
    returns NaN, for a loss that is not finite infinity, and `UNSURE` if it cannot tell whether all
    would stay finite; then nothing is changed. It raises a TypeError as `single` does, and is valid
    as long as the model has the same scalers and the same state.
``activations(model, X, outs)``
    Write the activations of each layer into ``outs``, each (n, fan_out).
``loss(model, examples, out) -> float``
    Write the outputs; return the mean of the rows' losses times their weights, without penalty.
``input_gradient(model, X, Y, out)``
    Write the gradient of each row's loss with respect to its (standardised) inputs into ``out``
    (n, features).
``loss_and_gradient(model, examples, objective, keys, gradient) -> float``
    Return what is minimised, see `Objective`, and write its gradient into ``gradient``, a
    `fastnn.model.parameters.Parameters`.
``train_steps(model, examples, order, batch_size, rates, rule, keys, state, losses) -> int``
    Step s takes the rows ``order[s * batch_size : (s + 1) * batch_size]`` (the last batch may be
    shorter), writes their mean loss, without penalty, to ``losses[s]``, and changes the parameters
    by the rule and the learning rate ``rates[s]``. Stop before a step whose loss is not finite.
    Return the number of steps taken; ``state`` counts them too. With an average in the rule, each
    step also goes into that of the ``state``. There is one step at least, and no row comes twice.
``batch_gradient(model, examples, order, batch_size, count, rule, keys, gradient) -> float``
    The first half of a step, for some of the rows of its batch: write the sum of the gradients of
    the rows ``order``, at least one and at most ``batch_size``, divided by ``count``, into
    ``gradient``, and return the sum of their losses, both without penalty. Of layers that are
    frozen the gradient may be anything.
``update(model, gradient, rate, rule, state)``
    The second half: take the step of `train_steps` by the gradient of a whole batch, which this
    changes.
``write_columns(columns, out)``
    Write a `fastnn.column_rows.ColumnRows` into ``out`` (n, features), C-contiguous, of its dtype.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastnn.activations import Array
from fastnn.augment import Augmentation
from fastnn.averaging import EMA
from fastnn.optimizers import SGD, Optimizer

CONTRACT = (
    "prepare",
    "predict",
    "single",
    "learner",
    "activations",
    "loss",
    "input_gradient",
    "loss_and_gradient",
    "train_steps",
    "batch_gradient",
    "update",
    "write_columns",
)

FINE, NOT_FINITE, WRONG_LENGTH = range(3)
UNSURE = -math.inf


@dataclass(frozen=True, eq=False)
class Examples:
    """Rows to learn from: inputs (n, features), targets, and weights (n,) of mean 1 or None."""

    X: Any  # an array, or SparseRows
    Y: Array
    weights: Array | None = None
    rows: Array | None = None  # those that `Mixup` mixes with; None for all

    def drawn(self, numbers: Array) -> Array:
        """Return the rows that uint32 numbers stand for: places from 0 to 1, as shares of 2^32."""
        count = len(self.X if self.rows is None else self.rows)
        places = (numbers.astype(np.uint64) * np.uint64(count) >> np.uint64(32)).astype(np.int64)
        return places if self.rows is None else self.rows[places]


@dataclass(frozen=True)
class Objective:
    """What training minimises: the mean loss plus ``l2 / 2 sum w^2 + l1 sum |w|``."""

    l2: float = 0.0
    l1: float = 0.0
    label_smoothing: float = 0.0
    dropout: tuple[float, ...] = ()  # rates for the inputs of each layer; () without dropout
    augment: tuple[Augmentation, ...] = ()  # how inputs are changed, in this order

    @property
    def drops(self) -> bool:
        """Whether there is dropout."""
        return any(self.dropout)


@dataclass(frozen=True)
class UpdateRule:
    """What a step does: clip the gradient, update the parameters, limit the weights."""

    objective: Objective = field(default_factory=Objective)
    optimizer: Optimizer = field(default_factory=SGD)
    clip_norm: float | None = None
    clip_value: float | None = None
    max_norm: float | None = None
    frozen: frozenset[int] = frozenset()  # layers that do not change, counted from 0
    average: EMA | None = None  # of the parameters, after each step

    @property
    def scales_inputs(self) -> bool:
        """Whether it learns a factor for each input."""
        return self.optimizer.input_factor is not None and 0 not in self.frozen
