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

BLOCK = 1 << 20  # weights that are summed up at a time
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
    name: str, sample_weight: Any, targets: Targets, by_class: Array | None, some: bool = True
) -> Array | None:
    """Return the weight of each row, its own times that of its class, or None.

    ``some`` of its own must not be 0.
    """
    weights = None
    if sample_weight is not None:
        weights = check.sample_weights(name, sample_weight, len(targets.values), some)
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
    chosen, total = weights if rows is None else weights[rows], 0.0
    for first in range(0, len(chosen), BLOCK):
        total = added(total, chosen[first : first + BLOCK])
    return (weights / mean_of(total, len(chosen))).astype(dtype)


@np.errstate(over="ignore")
def added(total: float, block: Array) -> float:
    """Return the sum of the weights before, and of a block of `BLOCK`, or fewer at the end."""
    return total + float(block.sum())


def mean_of(total: float, count: int) -> float:
    """Return the mean of so many weights, by which each is divided, after a look at it."""
    mean = total / count
    if not np.isfinite(mean):
        raise ValueError(
            "the weights of the rows are too large: their sum is not finite; divide them by a "
            "constant, which changes nothing else"
        )
    if mean == 0:
        raise ValueError(
            "the weights of the rows to train or to evaluate on are all 0; need one above 0"
        )
    return mean
