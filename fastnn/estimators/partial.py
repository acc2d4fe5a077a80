"""`partial_fit` of a few rows: one step, without what has not changed since the last call.

Whatever is not ordinary goes the way of all calls, which checks, warns and refuses. The results are
the same, to the bit.
"""

from __future__ import annotations

import functools
from dataclasses import fields
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from fastnn.activations import Array
from fastnn.backends.contract import Examples, Objective, UpdateRule
from fastnn.estimators.translation import squares
from fastnn.optimizers import named
from fastnn.training.evaluation import DivergenceError
from fastnn.training.learning import step
from fastnn.training.loop import alone

MOST_ROWS = 200  # of a batch, if nothing else is asked for
ORDINARY = {
    "learning_rate": "constant", "early_stopping": False, "dropout": 0.0, "verbose": False,
    "class_weight": None, "augment": None,
}  # fmt: skip
FIXED = (int, float, str, tuple, type(None))  # what changes by assignment alone


@functools.cache
def names(kind: Any) -> tuple[str, ...]:
    """Return the parameters that decide about a step."""
    return tuple(f.name for f in fields(kind) if f.init and f.name != "random_state")


def _key(estimator: Any, rows: int) -> list[Any]:
    return [rows, *[getattr(estimator, name) for name in names(estimator.__class__)]]


def remember(estimator: Any, rows: int, rate: float, penalty: float, slope: float) -> None:
    """Keep what a call has found right about the parameters, if such a call may be short."""
    prepared: dict[Any, Any] = estimator.network_.model.prepared
    prepared.pop("partial", None)
    key, batch = _key(estimator, rows), estimator.batch_size
    if not all(isinstance(value, FIXED) for value in key):
        return
    if any(getattr(estimator, name, usual) != usual for name, usual in ORDINARY.items()):
        return
    if rows > MOST_ROWS if isinstance(batch, str) else rows != batch:
        return
    smoothing = float(getattr(estimator, "label_smoothing", 0.0))
    rule = UpdateRule(
        Objective(slope * penalty, slope * float(estimator.l1), smoothing),
        named(estimator._optimizer()),
        estimator.clip_norm,
        estimator.clip_value,
        estimator.max_norm,
    )
    prepared["partial"] = key, rule, rate, penalty


def is_ordinary(estimator: Any, X: Any, y: Any) -> bool:
    """Tell whether scikit-learn's checks, which take longer than a step, would find nothing."""
    if type(X) is not np.ndarray or type(y) is not np.ndarray or X.ndim != 2:
        return False
    network = getattr(estimator, "network_", None)
    if network is None or not 0 < len(X) == len(y) or X.shape[1] != estimator.n_features_in_:
        return False
    return not hasattr(estimator, "feature_names_in_") and is_finite(X, network)


def is_finite(array: Array, network: Any) -> bool:
    """Tell whether these are floats that are far within the range of the network's dtype."""
    if array.dtype not in (np.float64, np.float32):
        return False
    most = np.finfo(network.architecture.dtype).max / 2
    return bool(-most < array.min() and array.max() < most)


def learn(estimator: Any, X: Array, Y: Array) -> tuple[float, float, float] | None:
    """Take a step if the parameters are those of the last call.

    Return the loss and the penalty, and the sum of the squared weights from before.
    """
    model = estimator.network_.model
    kept = model.prepared.get("partial")
    if kept is None or estimator.validation_scores_ is not None:
        return None
    key, rule, rate, penalty = kept
    if _key(estimator, len(X)) != key:
        return None
    rows = len(X)
    before = squares(estimator.network_) if penalty else 0.0
    try:
        with alone(model):
            loss = step(model, Examples(X, Y), np.arange(rows), rate, rule)
    except DivergenceError:
        return None
    if not isinstance(estimator.random_state, int):  # others go on with every call
        check_random_state(estimator.random_state).randint(np.iinfo(np.int32).max)
    model.epochs_trained += 1
    return loss * rows / rows, penalty, before  # rounded as in the history of a run
