"""The solver "lbfgs"."""

from __future__ import annotations

import warnings
from typing import Any

from sklearn.exceptions import ConvergenceWarning

from fastnn.activations import Array
from fastnn.checks import values as check
from fastnn.estimators.translation import NOT_FINITE, constant, in_their_words, slope, squares
from fastnn.network import Network
from fastnn.training import data as training_data
from fastnn.training import settings
from fastnn.training.evaluation import DivergenceError
from fastnn.training.full_batch import Limits, minimise

ABSENT = ("loss_curve_", "validation_scores_", "best_loss_", "best_validation_score_")
STOCHASTIC = {
    "l1": 0.0, "dropout": 0.0, "max_norm": None, "clip_norm": None, "clip_value": None,
    "augment": None,
}  # fmt: skip


def fit(
    estimator: Any, network: Network, X: Array, y: Array, weights: Array | None, penalty: float,
    label_smoothing: float = 0.0,
) -> None:  # fmt: skip
    """Minimise the loss of all rows, and set the attributes that scikit-learn sets."""
    for name, off in STOCHASTIC.items():
        if getattr(estimator, name) != off:
            raise ValueError(
                f"{name} needs a stochastic solver, such as 'adam'; got {getattr(estimator, name)} "
                f"with solver='lbfgs', which needs {off}"
            )
    limits = Limits(
        check.integer("max_iter", estimator.max_iter, 1),
        check.integer("max_fun", estimator.max_fun, 1),
        check.real("tol", estimator.tol, least=0),
    )
    ratio = slope(network)
    keywords = {
        "l2": ratio * penalty, "l1": 0.0, "label_smoothing": label_smoothing, "dropout": 0.0,
    }  # fmt: skip
    objective = settings.objective(keywords, network.architecture)
    data = training_data.checked(network.model, X, y, None, weights, None)
    more = constant(estimator, y, weights)

    def report(losses: list[float]) -> None:
        if estimator.verbose:
            print(f"Iteration {len(losses)}, loss = {losses[-1]:.8f}")

    try:
        result = minimise(
            network.model, data, objective, limits, unit=ratio, shift=more, after=report
        )
    except DivergenceError as error:
        raise ValueError(f"{NOT_FINITE} {in_their_words(str(error))}") from error
    for name in ABSENT:
        vars(estimator).pop(name, None)
    network.model.prepared.pop("partial", None)
    estimator.n_iter_ = result.iterations
    shrinkage = penalty / 2 * squares(network)
    # Of several outputs scikit-learn has the mean in its loss, and the sum in its gradient.
    outputs = network.architecture.sizes[-1] if network.architecture.loss == "mse" else 1
    estimator.loss_ = (result.loss - shrinkage) / outputs + shrinkage
    estimator._keep(network)
    if not result.converged:
        more_of = ""
        if result.iterations == limits.max_iter:
            more_of = f" Increase the number of iterations (max_iter={limits.max_iter})."
        warnings.warn(
            f"lbfgs failed to converge after {result.iterations} iteration(s) "
            f"(status={result.status}): {result.message}.{more_of} You might also want to scale "
            "the data.",
            ConvergenceWarning,
            stacklevel=5,
        )
