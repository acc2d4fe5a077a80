"""Weights of rows: sample weights times class weights, divided by their mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from fastnn.activations import Array
from fastnn.checks import data as check
from fastnn.checks.targets import Classes, Targets, class_weights
from fastnn.model.architecture import Architecture

ClassWeight = str | Mapping[Any, float] | npt.ArrayLike


def of_classes(
    class_weight: ClassWeight | None,
    targets: Targets,
    architecture: Architecture,
    names: Classes | None,
) -> Array | None:
    """Return the weight of each class, or None."""
    if class_weight is None:
        return None
    return class_weights(class_weight, targets.labels, architecture, names)


def of_rows(
    name: str, sample_weight: Any, targets: Targets, by_class: Array | None
) -> Array | None:
    """Return the weight of each row, its own times that of its class, or None."""
    rows = len(targets.values)
    weights = None if sample_weight is None else check.sample_weights(name, sample_weight, rows)
    if by_class is None:
        return weights
    if targets.labels is None:
        raise ValueError(
            "class_weight needs targets that name one class in each row, in validation data, too"
        )
    of_labels: Array = by_class[targets.labels]
    return of_labels if weights is None else of_labels * weights


def with_mean_one(
    weights: Array | None, dtype: np.dtype, rows: Array | None = None
) -> Array | None:
    """Return weights divided by their mean, over all rows or over those given."""
    if weights is None:
        return None
    with np.errstate(over="ignore"):
        mean = (weights if rows is None else weights[rows]).mean()
    if not np.isfinite(mean):
        raise ValueError(
            "the weights of the rows are too large: their sum is not finite; divide them by a "
            "constant, which changes nothing else"
        )
    if mean == 0:
        raise ValueError(
            "the weights of the rows to train or to evaluate on are all 0; need one above 0"
        )
    return (weights / mean).astype(dtype)
