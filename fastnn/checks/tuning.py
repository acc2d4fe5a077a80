"""Checks of a search: its grid, its folds, its test rows and its workers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from fastnn.activations import Array
from fastnn.checks.values import integer
from fastnn.searching import is_distribution


def grid(given: Any, random: int | None) -> Any:
    """Return a grid as a list of mappings, after checking it."""
    several = given if isinstance(given, list | tuple) else [given]
    if not several or not all(isinstance(each, Mapping) for each in several):
        got = f"a {type(given).__name__}" if several else "an empty list"
        raise TypeError(f"grid must be a mapping from names to lists of values, got {got}")
    return [
        {name: _values(name, values, random) for name, values in each.items()} for each in several
    ]


def _values(name: Any, values: Any, random: int | None) -> Any:
    """Return the values to try of a setting as a list, or a distribution as it is."""
    if not isinstance(name, str):
        raise TypeError(f"grid must have names of settings as keys, got {name!r}")
    if is_distribution(values):
        if random is None:
            raise ValueError(
                f"grid[{name!r}] is a distribution, from which random=50 draws as many "
                "combinations; without random it must be a list of values to try"
            )
        return values
    if (
        isinstance(values, str)
        or not isinstance(values, Sequence | np.ndarray)
        or (isinstance(values, np.ndarray) and not values.ndim)
    ):
        raise TypeError(
            f"grid[{name!r}] must be a list of values to try, or with random a distribution with a "
            f"method rvs; got {values!r}"
        )
    if not len(values):
        raise ValueError(f"grid[{name!r}] must hold at least one value to try")
    if name == "hidden" and not all(isinstance(units, Iterable) for units in values):
        layers = [units for units in values if not isinstance(units, Iterable)]
        raise TypeError(
            f"grid['hidden'] must hold a tuple for each network, got {values!r}: "
            f"{[(units,) for units in layers]} tries networks of one hidden layer, "
            f"[{tuple(layers)}] one network with all these layers"
        )
    # Numbers of NumPy, as in `numpy.logspace`, would be shown as such.
    return [value.item() if isinstance(value, np.generic) else value for value in values]


def factor(halving: Any) -> int | None:
    """Return the factor of successive halving, or None if there is to be none."""
    if isinstance(halving, bool | np.bool_):
        return 3 if halving else None
    return integer("halving", halving, 2)


def jobs(given: Any, cpus: int) -> int:
    """Return how many networks to train at a time; None and -1 are one per CPU."""
    count = -1 if given is None else integer("jobs", given, -cpus)
    if count == 0:
        raise ValueError("jobs must be at least 1, or -1 for one per CPU; got 0")
    return count if count > 0 else cpus + 1 + count


def share(value: float, rows: int, labels: Array | None) -> None:
    """Refuse a share of test rows that cannot have the same share of each class."""
    aside = math.ceil(value * rows)
    if labels is None:
        if aside == rows:
            raise ValueError(f"test={value:g} sets all {rows} rows aside; need rows to train on")
        return
    classes, counts = np.unique(labels, return_counts=True)
    if counts.min() < 2:
        raise ValueError(
            f"y has the class {classes[counts.argmin()].item()!r} in a single row; need two rows "
            "of each class, to train and to test on. Numbers to predict are floats: y.astype(float)"
        )
    if min(aside, rows - aside) < len(classes):
        raise ValueError(
            f"test={value:g} sets {aside} of {rows} rows aside; need at least "
            f"{len(classes)}, the number of classes, on both sides"
        )


def folds(count: int, labels: Array | None, rows: int) -> None:
    """Refuse more folds than there are rows, or rows of any class."""
    most, what = rows, "rows"
    if labels is not None:
        most, what = int(np.unique(labels, return_counts=True)[1].max()), "rows of any class"
        if most < 2:
            raise ValueError(
                "y has no class with two rows; need as many rows of a class as folds. Numbers to "
                "predict are floats: y.astype(float)"
            )
    if count > most:
        raise ValueError(
            f"folds must be at most {most}, as there are no more {what} to train on; got {count}"
        )
