"""Rows of a table that are the same, as one row with a weight; and the rows that are set aside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from fastnn.activations import Array
from fastnn.datasets.spreadsheets import Column, Columns
from fastnn.tabular.tables import TEXT
from fastnn.training.rows import stratified

OFTEN = 5  # times that a row stands there to be a coincidence of few values, and no copy
_EXACT = 2**53  # float64 has no fractions from here on


class Part(NamedTuple):
    """Some of the different rows.

    Attributes
    ----------
    rows : ndarray of int64
        Their positions among the different rows.
    weights : ndarray of float64, or None
        Their weights; None if all are the same.
    times : float
        How often they stand there, together.
    """

    rows: Array
    weights: Array | None
    times: float

    def arrays(self, inputs: Array, y: Array, by_class: Array | None) -> tuple[Array, ...]:
        """Return inputs, targets, and weights if there are any, of the rows of the part.

        Parameters
        ----------
        inputs, y : ndarray of shape (distinct, inputs), and (distinct,)
        by_class : ndarray of shape (classes,), or None
            Weights of the classes, which are multiplied with those of the rows.
        """
        weights = self.weights
        if by_class is not None:
            of_rows = by_class[y[self.rows]]
            weights = of_rows if weights is None else weights * of_rows
        arrays = inputs[self.rows], y[self.rows]
        return arrays if weights is None else (*arrays, weights)


@dataclass(frozen=True, eq=False)
class Distinct:
    """The different rows of a table, in an order that depends on nothing but what is in them.

    Attributes
    ----------
    rows : ndarray of int64, shape (distinct,)
        A position of each in the table.
    weights : ndarray of float64, shape (distinct,), or None
        Sums of the weights of equal rows; None if all are the same.
    times : ndarray of float64, shape (distinct,)
        How often each stands there: its weight where all weights are whole numbers, else the number
        of equal rows.
    """

    rows: Array
    weights: Array | None
    times: Array

    def parts(self, share: float, labels: Array | None, seed: int) -> tuple[Part, Part]:
        """Return the rows to train on and those to set aside, with their weights.

        A row is in one of the parts, so that no copy of a row that was trained on chooses the
        epoch. But in tables of few values rows are equal by chance, and a network that never saw
        some of them would learn what is wrong. So rows that stand there often are in both parts,
        with weights that are drawn as if each time had been set aside by chance.

        Parameters
        ----------
        share : float
            Of the rows, to set aside.
        labels : ndarray of int, shape (distinct,), or None
            Classes, of which each has the same share.
        seed : int
        """
        aside = np.zeros(len(self.rows))  # the share of each row
        often = self.times >= OFTEN
        if often.any():
            times = self.times[often].astype(np.int64)
            drawn = np.random.default_rng([seed, 5]).binomial(times, share)
            aside[often] = np.clip(drawn, 1, times - 1) / times
        others = np.flatnonzero(~often)
        if len(others) > 1 or not often.any():
            labels = None if labels is None else labels[others]
            aside[others[stratified(share, len(others), labels, seed)[1]]] = 1
        weights = self.weights
        if weights is None and often.any():
            weights = np.ones(len(aside))
        parts = []
        for of_rows in (1 - aside, aside):
            rows = np.flatnonzero(of_rows)
            shares = None if weights is None else (weights * of_rows)[rows]
            parts.append(Part(rows, shares, float(self.times @ of_rows)))
        return parts[0], parts[1]

    def repeated(self, rows: Array) -> Array:
        """Return the positions in the table of some rows, each up to `OFTEN` times."""
        return self.rows[np.repeat(rows, np.clip(self.times[rows], 1, OFTEN).astype(np.int64))]


def distinct(table: Columns, y: Array, weights: Array | None = None) -> Distinct:
    """Return the different rows of a table: those that differ in a cell, or in the target.

    Missing cells of a column are equal. Rows of weight 0 are left out.

    Parameters
    ----------
    table : Columns
    y : ndarray of shape (rows,)
        Numbers, which may stand for classes.
    weights : ndarray of shape (rows,), optional
        Finite, at least 0, and not all 0.

    Raises
    ------
    ValueError
        If the sum of the weights is not finite.
    """
    order = np.arange(table.rows) if weights is None else np.flatnonzero(weights)
    first = np.zeros(len(order), bool)  # whether a place of the order begins a group
    first[0] = True
    _refine(order, first, lambda rows: [y[rows]])
    for column in sorted(table, key=lambda each: each.kind in TEXT):  # text takes longer
        if column.kind != "empty":
            _refine(order, first, partial(_keys, column))
    starts = np.flatnonzero(first)
    counts = np.diff(starts, append=len(order)).astype(np.float64)
    if weights is None:
        return Distinct(order[starts], _uneven(counts), counts)
    groups = np.cumsum(first)
    ordered = weights[order].astype(np.float64)
    ordered = ordered[np.lexsort((ordered, groups))]  # or sums would depend on the order of rows
    with np.errstate(over="ignore"):
        sums = np.add.reduceat(ordered, starts)
        if not np.isfinite(sums.sum()):
            raise ValueError(
                "the weights of the rows are too large: their sum is not finite; divide them by a "
                "constant"
            )
    whole = sums.max() < _EXACT and (sums == np.rint(sums)).all()
    return Distinct(order[starts], _uneven(sums), sums if whole else counts)


def _refine(order: Array, first: Array, keys: Callable[[Array], list[Array]]) -> None:
    """Sort the rows of each group by what ``keys`` returns for rows, and split the group by it."""
    tied = np.flatnonzero(~(first & np.append(first[1:], True)))
    rows, inside = order[tied], ~first[tied[1:]]
    found = keys(rows)
    if not any((inside & (key[1:] != key[:-1])).any() for key in found):
        return
    inner = np.lexsort((*found, np.cumsum(first)[tied]))
    order[tied] = rows[inner]
    for key in found:
        key = key[inner]
        first[tied[1:]] |= key[1:] != key[:-1]


def _keys(column: Column, rows: Array) -> list[Array]:
    """Return what some rows of a column are sorted and compared by."""
    missing, values = column.missing[rows], column.values[rows]
    if column.kind in TEXT:
        values[missing] = ""
        texts = values.tolist()
        places = {text: place for place, text in enumerate(sorted(set(texts)))}
        return [np.array([places[text] for text in texts])]
    if column.kind == "date":
        values = values.astype(np.int64)
    return [np.where(missing, 0, values), missing] if missing.any() else [values]


def _uneven(weights: Array) -> Array | None:
    """Return weights, or None if all are the same."""
    return None if (weights == weights[0]).all() else weights
