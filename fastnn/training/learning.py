"""Learning from a row, or a few, as they come: one step, without what a run needs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastnn import backends
from fastnn.activations import Array
from fastnn.backends.contract import Examples, UpdateRule
from fastnn.backends.dropout import NO_KEYS
from fastnn.checks import data as check_data
from fastnn.checks import networks as check_network
from fastnn.checks import values as check
from fastnn.checks.sparse import refuse_to_standardise
from fastnn.checks.targets import REACH
from fastnn.checks.targets import targets as check_targets
from fastnn.model.model import Model
from fastnn.optimizers import Optimizer
from fastnn.training.evaluation import DivergenceError, scale_targets
from fastnn.training.loop import alone
from fastnn.training.run import Trained

NUMBERS = frozenset({int, float, np.int64, np.int32, np.float64, np.float32})


class Learner:
    """What is kept of a network from row to row, for one optimizer.

    Attributes
    ----------
    given : str or optimizer
        As it was passed.
    optimizer : Optimizer
    state : OptimizerState
    rate : float
        The last learning rate, which is checked.
    """

    def __init__(self, model: Model, given: str | Optimizer) -> None:
        self.given, self.classes = given, model.classes
        self.optimizer = check_network.optimizer(given, model.architecture)
        _check_scalers(model)
        self.state = model.state_for(self.optimizer)
        self.rate = math.nan
        architecture = model.architecture
        output, outputs = architecture.output, architecture.target_columns
        self.places: dict[Any, int] = {}
        if output in ("softmax", "sigmoid"):
            names = range(max(2, outputs)) if model.classes is None else model.classes
            self.places = {name: place for place, name in enumerate(names)}
        # Targets within these limits need no other check.
        self.least = self.most = math.nan
        poisson = architecture.loss == "poisson"
        if outputs == 1 and model.classes is None:
            largest = float(np.finfo(architecture.dtype).max)
            _, least, most = REACH.get(output, ("", 0.0 if poisson else -largest, largest))
            self.least, self.most = max(least, -largest), min(most, largest)
        self.takes_vectors = output == "identity" and not poisson
        self.scaler = model.target_scaler
        self.by_label = outputs > 1 and bool(self.places)
        self.target = np.zeros(1 if self.by_label else outputs, architecture.dtype)
        if self.by_label:
            self.target = np.zeros(1, np.int64)
        backend = backends.get(model.backend)
        self.learn = backend.learner(model, self.optimizer, self.state, self.target)

    def knows(self, y: Any) -> bool:
        """Put a target where the backend reads it, if it is sure to be right."""
        kind, target = type(y), self.target
        if kind is np.ndarray:
            if not self.takes_vectors or y.shape != target.shape or y.dtype.kind != "f":
                return False
            if self.scaler is not None:
                y = (y.astype(np.float64) - self.scaler.mean) * self.scaler.scale
            with np.errstate(over="ignore"):  # then the loss is not finite
                target[:] = y
            return True
        if kind in NUMBERS and self.least <= y <= self.most:
            if self.scaler is not None:
                y = (float(y) - float(self.scaler.mean[0])) * float(self.scaler.scale[0])
            target[0] = y
            return True
        if kind in NUMBERS or kind is str:
            place = self.places.get(y)
            if place is not None:
                target[0] = place
                return True
        return False


def one(model: Model, x: Any, y: Any, rate: float, optimizer: str | Optimizer) -> float:
    """Take a step on one row; see `fastnn.Network.learn_one`."""
    with alone(model):
        before = model.optimizer_state
        try:
            learner = model.prepared.get("learner")
            if learner is None or not (
                learner.state is before
                and learner.classes is model.classes
                and (learner.given is optimizer or learner.given == optimizer)
            ):
                learner = model.prepared["learner"] = Learner(model, optimizer)
            if rate != learner.rate:
                learner.rate = check.real("learning_rate", rate, above=0)
            if learner.knows(y):
                try:
                    loss: float = learner.learn(x, learner.rate)
                except TypeError:  # not the fastest type
                    loss = learner.learn(_row(model, x), learner.rate)
                if math.isfinite(loss):
                    return loss
            return _carefully(model, x, y, learner)
        except BaseException:
            model.optimizer_state = before
            raise


def _carefully(model: Model, x: Any, y: Any, learner: Learner) -> float:
    """Take a step on one row that is not sure to be right, or refuse it."""
    row = _row(model, x)
    check_data.readable("x", row[None], model.architecture)
    many = np.ndim(y) > 0 and (model.architecture.target_columns > 1 or np.size(y) != 1)
    y = np.asarray(y)[None] if many else np.reshape(np.asarray(y), (1,))
    targets = check_targets("y", y, 1, model.architecture, model.classes)
    examples = Examples(row[None], scale_targets(model, targets))
    return step(
        model, examples, np.arange(1), learner.rate, UpdateRule(optimizer=learner.optimizer)
    )


def _row(model: Model, x: Any) -> Array:
    row = check_data.single_row("x", x, model.architecture, model.features)
    return check_data.converted(row, model.architecture.dtype)


def few(model: Model, X: Any, y: Any, rate: float, optimizer: str | Optimizer) -> float:
    """Take a step on a few rows; see `fastnn.Network.learn_few`."""
    rule = UpdateRule(optimizer=check_network.optimizer(optimizer, model.architecture))
    rate = check.real("learning_rate", rate, above=0)
    refuse_to_standardise("X", X, model.input_scaler is not None)
    features = check_data.features("X", X, model.architecture, model.features)
    targets = check_targets("y", y, len(features), model.architecture, model.classes)
    _check_scalers(model)
    with alone(model):
        examples = Examples(features, scale_targets(model, targets))
        return step(model, examples, np.arange(len(features)), rate, rule)


def step(model: Model, examples: Examples, order: Array, rate: float, rule: UpdateRule) -> float:
    """Take a step on a batch, and take it back if it does not leave everything finite.

    Return the loss before it, without penalties. There is no dropout.
    """
    before = Trained.of(model)
    try:
        state, losses = model.state_for(rule.optimizer), np.empty(1)
        taken = backends.get(model.backend).train_steps(
            model, examples, order, len(order), np.array([rate]), rule, NO_KEYS, state, losses
        )
        if taken and all(np.isfinite(vector).all() for vector in (model.vector, *state.vectors)):
            return float(losses[0])
        what = "a parameter or the optimizer's state" if taken else "the loss"
        raise DivergenceError(
            f"{what} is no longer finite, at a learning rate of {rate:g}; the network is as it was "
            "before the step. Try a lower learning_rate, or inputs and targets scaled to about "
            "-1 .. 1"
        )
    except BaseException:
        before.restore(model)
        raise


def _check_scalers(model: Model) -> None:
    """Refuse a network that has not learnt yet how to standardise."""
    for name, wanted, scaler in (
        ("inputs", model.standardize_inputs, model.input_scaler),
        ("targets", model.standardize_targets, model.target_scaler),
    ):
        if wanted and scaler is None:
            raise ValueError(
                f"the network standardises its {name}, but has not learnt their means yet; call "
                "train first, with rows from which to learn these"
            )
