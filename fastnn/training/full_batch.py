"""Minimisation of the loss of all rows by L-BFGS, which scipy does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fastnn import backends
from fastnn.activations import Array
from fastnn.backends.contract import Examples, Objective
from fastnn.backends.dropout import NO_KEYS
from fastnn.model.model import Model, in_float64
from fastnn.model.parameters import Parameters
from fastnn.training.data import TrainingData
from fastnn.training.evaluation import SLICE, DivergenceError, check_loss, outputs, scale_targets
from fastnn.training.loop import alone
from fastnn.training.run import Trained

# How much worse than its tangent a step that leads out of the finite numbers counts as.
STEEP = 10.0


class Limits(NamedTuple):
    """When to stop: see `fastnn.minimize`."""

    max_iter: int = 200
    max_fun: int = 15000
    tol: float = 1e-4


class Point(NamedTuple):
    """Parameters, and what the loss and its gradient are there."""

    x: Array
    value: float
    slope: Array


@dataclass(frozen=True)
class Minimum:
    """The result of `fastnn.minimize`.

    Attributes
    ----------
    loss : float
        The mean loss of all rows plus the penalty, at the end.
    losses : list of float
        The same after each iteration.
    evaluations : int
        How many times loss and gradient were computed.
    converged : bool
        Whether the search ended because it had arrived, not at a limit or in a failed line search.
    message : str
        Why it ended, in the words of scipy.
    status : int
        0 if it has converged, 1 at a limit, 2 otherwise.
    """

    loss: float
    losses: list[float]
    evaluations: int
    converged: bool
    message: str
    status: int

    @property
    def iterations(self) -> int:
        """The number of iterations, of one evaluation or more each."""
        return len(self.losses)


class Search:
    """The loss of all rows as a function of a vector, in float64 whatever the model's dtype.

    In float32 rounding would end line searches early. The vector leaves padding out.

    Parameters
    ----------
    model : Model
        It does not change before `finish`.
    data : TrainingData
    objective : Objective
    unit, shift : float
        What is minimised is the loss divided by the unit, plus the shift.
    """

    def __init__(
        self,
        model: Model,
        data: TrainingData,
        objective: Objective,
        unit: float = 1.0,
        shift: float = 0.0,
    ) -> None:
        self.model, self.data = model, data
        # The penalty is added here, once for all calls of the backend.
        self.objective = Objective(label_smoothing=objective.label_smoothing)
        self.unit, self.shift = unit, shift
        self.double = in_float64(model)
        architecture = self.double.architecture
        weights = None if data.weights is None else data.weights.astype(np.float64)
        self.examples = Examples(data.X, scale_targets(self.double, data.targets), weights)
        self.gradient, self.part = Parameters(architecture), Parameters(architecture)
        used, penalties = Parameters(architecture), Parameters(architecture)
        for array in (*used.weights, *used.biases):
            array[...] = 1
        for array in penalties.weights:
            array[...] = objective.l2
        self.places = np.flatnonzero(used.vector)
        self.penalties = penalties.vector[self.places]
        self.length = max(1, int(SLICE / (architecture.training_flops + 1000)))
        self.losses: list[float] = []
        self.last: Point | None = None
        self.best: Point | None = None

    @property
    def start(self) -> Array:
        """The parameters as they are now."""
        vector: Array = self.double.vector[self.places]
        return vector

    def __call__(self, x: Array) -> tuple[float, Array]:
        """Return the value and the gradient."""
        self.double.vector[self.places] = x
        decay = self.penalties * x
        value = (self._sum() + float(decay @ x) / 2) / self.unit + self.shift
        slope = (self.gradient.vector[self.places] + decay) / self.unit
        if not (np.isfinite(value) and np.isfinite(slope).all()):
            value, slope = self._wall(x, value)
        self.last = Point(x.copy(), value, slope)
        self.best = self.best or self.last
        return value, slope

    def _sum(self) -> float:
        """Fill the gradient, in calls of the backend that are short enough for a prompt Ctrl-C."""
        compute = backends.get(self.double.backend).loss_and_gradient
        model, examples, rows = self.double, self.examples, len(self.data)
        if rows <= self.length:
            return float(compute(model, examples, self.objective, NO_KEYS, self.gradient))
        total, self.gradient.vector[:] = 0.0, 0
        for first in range(0, rows, self.length):
            some = slice(first, first + self.length)
            weights = None if examples.weights is None else examples.weights[some]
            part = Examples(examples.X[some], examples.Y[some], weights)
            share = len(part.X) / rows
            total += share * compute(model, part, self.objective, NO_KEYS, self.part)
            self.gradient.vector[:] += share * self.part.vector
        return total

    def _wall(self, x: Array, value: float) -> tuple[float, Array]:
        """Return numbers that send a line search back to where everything is finite."""
        if self.best is None:
            outputs(self.model, "X", self.data.X)  # refuses outputs that are not finite, by row
            check_loss(value)
            raise DivergenceError("the gradient is not finite; scale inputs and targets to -1 .. 1")
        where, lowest, slope = self.best
        return lowest + STEEP * abs(float(slope @ (x - where))), -slope

    def accept(self) -> None:
        """Take the last point as the result of an iteration."""
        assert self.last is not None
        self.best = self.last
        self.losses.append(self.best.value)

    def finish(self) -> None:
        """Set the model to the best point."""
        assert self.best is not None
        self.double.vector[self.places] = self.best.x
        for ours, theirs in (
            (self.model.weights, self.double.weights),
            (self.model.biases, self.double.biases),
        ):
            for array, result in zip(ours, theirs, strict=True):
                with np.errstate(over="ignore"):
                    array[...] = result
        if not np.isfinite(self.model.vector).all():
            raise DivergenceError(
                f"a parameter is too large for {self.model.architecture.dtype}; the network is as "
                "it was. Try an l2 above 0, or inputs and targets scaled to about -1 .. 1"
            )
        self.model.optimizer_state = None  # which is about other parameters


def minimise(
    model: Model,
    data: TrainingData,
    objective: Objective,
    limits: Limits,
    *,
    unit: float = 1.0,
    shift: float = 0.0,
    after: Callable[[list[float]], object] = lambda losses: None,
) -> Minimum:
    """Minimise the loss of all rows; see `fastnn.minimize`, and `Search` for unit and shift.

    ``after`` is called after each iteration with the losses so far.
    """
    try:
        from scipy.optimize import minimize  # only here: importing it takes a fifth of a second
    except ImportError as error:
        raise ImportError("L-BFGS needs scipy: pip install 'fastnn-cpu[sklearn]'") from error

    with alone(model):
        before, search = Trained.of(model), None
        try:
            data.set_names(model)
            data.learn_scales(model)
            search = Search(model, data, objective, unit, shift)

            def accept(x: Array) -> None:
                search.accept()
                after(search.losses)

            found: Any = minimize(
                search, search.start, method="L-BFGS-B", jac=True, callback=accept,
                options={"maxiter": limits.max_iter, "maxfun": limits.max_fun, "gtol": limits.tol},
            )  # fmt: skip
            search.finish()
        except BaseException as error:
            if isinstance(error, Exception) or search is None or not search.losses:
                before.restore(model)
            else:  # Ctrl-C
                try:
                    search.finish()
                except DivergenceError:
                    before.restore(model)
            raise
    assert search.best is not None
    loss = search.best.value
    return Minimum(
        loss, search.losses, int(found.nfev), found.status == 0, found.message, int(found.status)
    )
