"""What `fit` does after each epoch: record it, and stop as scikit-learn does."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn.activations import Array
from fastnn.checks import values as check
from fastnn.estimators import translation
from fastnn.network import Network
from fastnn.training.history import Row


class Progress:
    """Decides as scikit-learn does when to stop, when to lower the rate, and which epoch is best.

    It is a callback of training; its ``factor`` is a schedule.
    """

    def __init__(
        self,
        estimator: Any,
        network: Network,
        rows: tuple[int, int],
        penalty: float,
        constant: float = 0.0,
        squares: float | None = None,
    ) -> None:
        self.estimator = estimator
        self.network = network
        self.name = ""  # of a member, before each line
        self.rows, batch = rows
        self.penalty, self.constant = penalty, constant
        self.single = squares is not None  # there is one epoch, of one batch
        if squares is None:
            squares = translation.squares(network) if penalty else 0.0
        self.squares = squares
        steps = -(-self.rows // batch)
        self.middle = (steps - 1) / (2 * steps)  # the mean of the steps, as a share of the epoch
        self.best: Array | None = None
        if estimator.best_validation_score_ not in (None, -np.inf):  # of the last fit
            self.best = network.parameters.copy()
        self.patience = check.real(
            "n_iter_no_change", min(estimator.n_iter_no_change, 1e300), least=1
        )
        self.tol = check.real("tol", estimator.tol, least=0)
        self.power = check.real("power_t", estimator.power_t)
        self.kind = estimator.learning_rate if estimator.solver == "sgd" else "constant"

    def factor(self, _: float) -> float:
        """Return the factor of the initial learning rate, the same for a whole epoch."""
        return float(self.estimator._reduction)

    def _reduce(self, factor: float) -> None:
        """Set the factor of the next epoch; the last steps, in the momentum, stay as they are."""
        state = self.network.model.optimizer_state
        if state is not None and factor != self.estimator._reduction:
            for slot in state.slots:
                slot.vector[:] *= self.estimator._reduction / factor
        self.estimator._reduction = factor

    def __call__(self, row: Row) -> str | None:
        """Record an epoch; return "stop" if it is the last."""
        estimator = self.estimator
        estimator.n_iter_ += 1
        estimator.t_ += self.rows
        halved = self.network.architecture.loss == "mse"  # scikit-learn's is half of it
        squares = self.squares
        if self.penalty and not self.single:
            self.squares = translation.squares(self.network)
            squares += self.middle * (self.squares - squares)
        estimator.loss_ = row["loss"] / (1 + halved) + self.penalty / 2 * squares + self.constant
        estimator.loss_curve_.append(estimator.loss_)
        score = ""
        if estimator.validation_scores_ is None:
            value, best = -estimator.loss_, -estimator.best_loss_
            estimator.best_loss_ = -max(value, best)
        else:
            value = row.get(
                "validation_accuracy", row.get("validation_r2", -row["validation_loss"])
            )
            score = f", validation score = {value:.6f}"
            estimator.validation_scores_.append(value)
            best = estimator.best_validation_score_
            if value > best:
                self.best = self.network.parameters.copy()
                estimator.best_validation_score_ = value
        if estimator.verbose:
            print(f"{self.name}Iteration {estimator.n_iter_}, loss = {estimator.loss_:.8f}{score}")
        worse = value < best + self.tol
        estimator._no_improvement_count = estimator._no_improvement_count + 1 if worse else 0
        if self.kind == "invscaling":
            self._reduce(float((estimator.t_ + 1) ** -self.power))
        if estimator._no_improvement_count <= self.patience:
            return None
        if self.kind == "adaptive" and estimator.learning_rate_init * estimator._reduction > 1e-6:
            self._reduce(estimator._reduction / 5)
            estimator._no_improvement_count = 0
            return None
        return "stop"
