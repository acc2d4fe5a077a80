"""Descriptions of data sets: how often each class occurs, and statistics of the features."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple, SupportsIndex

import numpy as np
import numpy.typing as npt

from fastnn.checks.data import numbers
from fastnn.checks.tables import matched, names_of
from fastnn.checks.targets import named_labels
from fastnn.checks.values import BLOCK
from fastnn.datasets.columns import Array, whole
from fastnn.writing import replacing

_HEADER = ("count", "mean", "std", "min", "max")
_IN_FULL = 30  # lines of a table that is shown in full
_ENDS = 5  # lines at each end of a longer table
_RUNS = 12  # runs of constant features to name
_BAR = 40  # characters


class ClassCount(NamedTuple):
    """How often a class occurs.

    Attributes
    ----------
    label : int or str
    rows : int
        Rows with this label.
    share : float
        Their share of all rows.
    """

    label: int | str
    rows: int
    share: float


@dataclass(frozen=True, eq=False)
class Statistics:
    """Statistics of columns; each array has shape (columns,).

    Attributes
    ----------
    names : tuple of str
        Names of the columns.
    count : ndarray of int64
        Numbers of values.
    mean, std, min, max : ndarray of float64
        ``std`` has count - 1 in the denominator, as in `pandas.DataFrame.describe`; it is 0 if all
        values are the same, or if there is only one.
    """

    names: tuple[str, ...]
    count: Array
    mean: Array
    std: Array
    min: Array
    max: Array

    def __iter__(self) -> Iterator[tuple[str, int, float, float, float, float]]:
        """Yield name, count, mean, std, min and max of each column."""
        columns = (self.count, self.mean, self.std, self.min, self.max)
        return zip(self.names, *(column.tolist() for column in columns), strict=True)


@dataclass(frozen=True, eq=False)
class Description:
    """The result of `describe`; as text, tables.

    Attributes
    ----------
    rows : int
        Rows of ``X``.
    features : Statistics
        Statistics of the columns of ``X``.
    classes : tuple of ClassCount, or None
        Counts of the labels, in their order; None if ``y`` is not of labels.
    target : Statistics or None
        Statistics of ``y`` as one column; None if ``y`` is not of floats.
    """

    rows: int
    features: Statistics
    classes: tuple[ClassCount, ...] | None
    target: Statistics | None

    @property
    def constant(self) -> tuple[str, ...]:
        """Names of the features with a single value."""
        same = self.features.min == self.features.max
        return tuple(
            name for name, is_same in zip(self.features.names, same, strict=True) if is_same
        )

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write a CSV file: a header and a line per feature, floats in full precision.

        The file appears complete or not at all. It replaces an older file of that name.

        Parameters
        ----------
        path : str or path

        Raises
        ------
        FileNotFoundError
            If the folder of ``path`` does not exist.
        OSError
            If the file cannot be written.
        """
        with replacing(path) as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerows([("feature", *_HEADER), *self.features])

    def __str__(self) -> str:
        count = len(self.features.names)
        parts = [f"{self.rows:,} rows, {count:,} features"]
        if self.classes is not None:
            parts.append(_class_table(self.classes))
        if self.target is not None:
            parts.append(_statistics_table("target", self.target))
        parts.append(_statistics_table("feature", self.features))
        low, high, mean = self.features.min, self.features.max, self.features.mean
        parts.append(
            f"all features: min {low.min():.6g}, mean {mean.mean():.6g}, max {high.max():.6g}"
        )
        if self.constant:
            parts[-1] += (
                f"\nconstant: {len(self.constant):,} ({_runs(low == high, self.features.names)})"
            )
        return "\n\n".join(parts)


def describe(
    X: npt.ArrayLike, y: npt.ArrayLike | None = None, features: Sequence[str] | None = None
) -> Description:
    """Describe a data set.

    Parameters
    ----------
    X : array_like of numbers, shape (rows, features), DataFrame or Table
        Finite. It is read in blocks, so that a memory map is never in memory as a whole.
    y : array_like, shape (rows,) or (rows, 1), optional
        Integers, bools and strings are labels, which are counted; floats are numbers to predict.
    features : sequence of str, optional
        Names of the columns of ``X``. Default: those of a DataFrame or `Table`, else positions.

    Returns
    -------
    Description
        Computed in float64.

    Raises
    ------
    TypeError
        If ``X`` is not of numbers, ``y`` neither of numbers nor of text alone, or ``features`` not
        a list.
    ValueError
        If ``X`` is not 2-D, is empty or not finite, or has two columns of one name; if ``y`` or
        ``features`` has another length, or ``y`` is not finite.

    Examples
    --------
    >>> import fastnn
    >>> description = fastnn.datasets.describe([[0, 1], [0, 2], [0, 6]], [1, 0, 1])
    >>> description.features.mean.tolist(), description.constant
    ([0.0, 3.0], ('0',))
    >>> [(label, rows) for label, rows, share in description.classes]
    [(0, 1), (1, 2)]
    """
    own = names_of("X", X)
    X = numbers("X", matched("X", X, own))
    if X.ndim != 2:
        raise ValueError(f"X has shape {X.shape}; need (rows, features)")
    if features is not None and (isinstance(features, str) or not isinstance(features, Iterable)):
        raise TypeError(f"features must be a list of names, got {features!r}")
    names = own or tuple(map(str, range(X.shape[1])))
    names = names if features is None else tuple(features)
    if len(names) != X.shape[1]:
        raise ValueError(f"features has {len(names)} names; need {X.shape[1]}, one a column of X")
    classes, target = None, None
    if y is not None:
        y = _targets(y)
        if y.shape == (len(X), 1):
            y = y[:, 0]
        if y.shape != (len(X),):
            raise ValueError(f"y has shape {y.shape}; need ({len(X)},), as X has {len(X)} rows")
        if y.dtype.kind == "f":
            target = _statistics("y", y[:, None], ("y",))
        else:
            classes = _count(y)
    return Description(len(X), _statistics("X", X, names), classes, target)


def _targets(y: Any) -> Array:
    """Return y as numbers or as text."""
    named = named_labels(y)
    if named is None:
        values = numbers("y", y)
        held = np.asarray(y)
        if held.dtype.kind == "O" and all(isinstance(each, SupportsIndex) for each in held.flat):
            return whole(values)  # labels, which a Series may hold as objects
        return values
    if named.dtype.kind == "b":
        return named
    if named.dtype.kind == "O":
        for row, label in enumerate(named.flat):
            if not isinstance(label, str):
                raise TypeError(
                    f"y holds {label!r} in row {row}, and text in others; need one kind"
                )
    return named.astype(str)


def _count(y: Array) -> tuple[ClassCount, ...]:
    labels, counts = np.unique(y, return_counts=True)
    return tuple(
        ClassCount(label, rows, rows / len(y))
        for label, rows in zip(labels.tolist(), counts.tolist(), strict=True)
    )


def _statistics(name: str, X: Array, names: tuple[str, ...]) -> Statistics:
    """Merge means and sums of squares of blocks (Chan, Golub and LeVeque, 1983)."""
    count = 0
    mean, squares = np.zeros(len(names)), np.zeros(len(names))
    low, high = np.full(len(names), np.inf), np.full(len(names), -np.inf)
    step = max(1, BLOCK // len(names))
    for first in range(0, len(X), step):
        block = X[first : first + step].astype(np.float64)
        _check_finite(name, block, first, names)
        low, high = np.minimum(low, block.min(axis=0)), np.maximum(high, block.max(axis=0))
        rows = len(block)
        own = block.mean(axis=0)
        block -= own
        change = own - mean
        share = rows / (count + rows)
        mean += change * share
        squares += np.einsum("ij,ij->j", block, block) + change**2 * count * share
        count += rows
    same = low == high
    mean[same] = low[same]  # free of rounding
    squares[same] = 0
    std = np.sqrt(squares / max(1, count - 1))
    return Statistics(names, np.full(len(names), count), mean, std, low, high)


def _check_finite(name: str, block: Array, first: int, names: tuple[str, ...]) -> None:
    bad = np.argwhere(~np.isfinite(block))
    if len(bad):
        row, column = bad[0]
        raise ValueError(
            f"{name} holds {block[row, column]} in row {first + row}, column {names[column]!r}; "
            "need finite numbers"
        )


def _class_table(classes: tuple[ClassCount, ...]) -> str:
    most = max(entry.rows for entry in classes)
    lines = [
        (str(label), f"{rows:,}", f"{share:.2%}", "#" * round(_BAR * rows / most))
        for label, rows, share in classes
    ]
    least = min(entry.rows for entry in classes)
    note = f"{len(classes):,} classes of {least:,} to {most:,} rows"
    return f"{_table(('class', 'rows', 'share', ''), lines)}\n{note}"


def _statistics_table(heading: str, statistics: Statistics) -> str:
    lines = [(name, f"{n:,}", *(f"{x:.6g}" for x in figures)) for name, n, *figures in statistics]
    return _table((heading, *_HEADER), lines)


def _table(header: tuple[str, ...], lines: Sequence[tuple[str, ...]]) -> str:
    """Return a table: the first column and the bars aligned left, other columns right."""
    if len(lines) > _IN_FULL:
        lines = [*lines[:_ENDS], ("...",) * len(header), *lines[-_ENDS:]]
    lines = [header, *lines]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 or not header[i] else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _runs(chosen: Array, names: tuple[str, ...]) -> str:
    """Return the names of the chosen columns, with neighbours as first-last."""
    runs = []
    for is_chosen, group in groupby(range(len(names)), chosen.__getitem__):
        places = list(group)
        if is_chosen:
            ends = [names[places[0]], names[places[-1]]]
            runs.append("-".join(ends) if len(places) > 2 else ", ".join(ends[: len(places)]))
    shown = ", ".join(runs[:_RUNS])
    return shown + ", ..." * (len(runs) > _RUNS)
