"""What a backend has to offer, and the values that it is given.

A backend is a module of plain functions; both export those named in `CONTRACT`, with the same
signatures. ``model`` is a `fastnn.model.model.Model`. Its arrays were checked by the network: X (n,
features) is float32, float64 or uint8 in any memory layout, and uint8 means pixels, to be scaled
from 0..255 to 0..1; Y is either int64 labels (n,) or targets (n, outputs) in float32, float64 or
uint8; weights (n,) of the rows, or None, have mean 1 and the model's dtype. ``keys`` are those of
`fastnn.backends.dropout.row_keys`, (layers, rows), or (0, 0) without dropout. No argument but
``out``, ``outs``, ``losses``, ``gradient`` and, in `train_steps`, the model's parameters and the
``state`` is changed; ``model.prepared`` belongs to the backend.

``prepare(model, announce, rule, one_row) -> float``
    Make ready for that model and that rule, and for steps of a single row and `single` if
    ``one_row`` (all works in any case, but the first call may take its time); return the seconds
    that it took. ``announce()`` is called if anything has to be compiled.
``predict(model, X, out) -> bool``
    Write the outputs of the last layer into ``out`` (n, outputs), C-contiguous, of the model's
    dtype. Return whether all inputs were finite in that dtype; here X may hold others.
``single(model) -> callable``
    Return a function ``predict_one(x, out) -> int`` that writes the outputs for one row, and
    returns `FINE`, `NOT_FINITE` or `WRONG_LENGTH`. It raises a TypeError unless both are vectors of
    the model's dtype, contiguous and writable. It stays valid as long as the model lives and its
    scaler stays.
``activations(model, X, outs)``
    Write the activations of each layer into ``outs``, each (n, fan_out).
``loss(model, examples, out) -> float``
    Predict, and return the mean of the rows' losses times their weights, without any penalty.
``input_gradient(model, X, Y, out)``
    Write the gradient of each row's loss with respect to its inputs, as the network gets them, into
    ``out`` (n, features).
``loss_and_gradient(model, examples, objective, keys, gradient) -> float``
    Return what is minimised, see `Objective`, and write its gradient into ``gradient``, a
    `fastnn.model.parameters.Parameters`.
``train_steps(model, examples, order, batch_size, rates, rule, keys, state, losses) -> int``
    For step s, take the rows ``order[s * batch_size : (s + 1) * batch_size]`` (the last batch may
    be shorter), put their mean loss into ``losses[s]``, without the penalty, and move the
    parameters as the rule says, at the learning rate ``rates[s]``. Stop before a step whose loss is
    not finite; return the number of steps taken, which the ``state`` counts too.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fastnn.activations import Array
from fastnn.optimizers import SGD, Optimizer

CONTRACT = (
    "prepare",
    "predict",
    "single",
    "activations",
    "loss",
    "input_gradient",
    "loss_and_gradient",
    "train_steps",
)

FINE, NOT_FINITE, WRONG_LENGTH = range(3)


@dataclass(frozen=True, eq=False)
class Examples:
    """Rows to learn from: inputs (n, features), targets, and weights (n,) of mean 1 or None."""

    X: Array
    Y: Array
    weights: Array | None = None


@dataclass(frozen=True)
class Objective:
    """What is minimised: the mean loss, with ``l2 / 2 sum w^2 + l1 sum |w|`` of the weights."""

    l2: float = 0.0
    l1: float = 0.0
    label_smoothing: float = 0.0
    dropout: tuple[float, ...] = ()  # rates, of the inputs of each layer, or none

    @property
    def drops(self) -> bool:
        """Tell whether any unit is ever left out."""
        return any(self.dropout)


@dataclass(frozen=True)
class UpdateRule:
    """How a step is taken: the gradient clipped, the parameters moved, the weights limited."""

    objective: Objective = field(default_factory=Objective)
    optimizer: Optimizer = field(default_factory=SGD)
    clip_norm: float | None = None
    clip_value: float | None = None
    max_norm: float | None = None
    frozen: frozenset[int] = frozenset()  # layers that do not change, the first being 0
