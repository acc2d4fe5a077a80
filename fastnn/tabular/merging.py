"""Rows of a table that are the same, as one row with a weight; and the rows that are set aside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fastnn.activations import Array
from fastnn.datasets.spreadsheets import Column, Columns
from fastnn.tabular.tables import TEXT
from fastnn.training.rows import stratified

OFTEN = 5  # times that a row stands there to be a coincidence of few values, and no copy


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

    @property
    def often(self) -> Array:
        """Which rows stand there `OFTEN` times or more."""
        return self.times >= OFTEN

    def parts(self, share: float, labels: Array | None, seed: int) -> tuple[Array, Array]:
        """Return the rows to train on and those to set aside.

        A row is in one of the parts, so that no copy of a row that was trained on chooses the
        epoch. In tables of few values rows are equal by chance: those that stand there often are in
        both parts, as a network that never saw half of them would learn what is wrong.

        Parameters
        ----------
        share : float
            Of the rows, to set aside.
        labels : ndarray of int, shape (distinct,), or None
            Classes, of which each has the same share.
        seed : int
        """
        often = np.flatnonzero(self.often)
        others = np.flatnonzero(~self.often)
        if len(often) and len(others) < 2:
            return np.arange(len(self.rows)), often
        labels = None if labels is None else labels[others]
        both = stratified(share, len(others), labels, seed)
        rows, aside = (np.sort(np.concatenate((others[part], often))) for part in both)
        return rows, aside

    def shared(self, rows: Array, share: float) -> Array | None:
        """Return the weights of the rows of a part, which has a share of those in both."""
        often = self.often
        if self.weights is None and (often.all() or not often.any()):
            return None
        weights = np.ones(len(often)) if self.weights is None else self.weights
        return np.where(often, share * weights, weights)[rows]

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
    """
    order = np.arange(table.rows) if weights is None else np.flatnonzero(weights)
    first = np.zeros(len(order), bool)  # whether a place of the order begins a group
    first[0] = True
    _refine(order, first, lambda rows: [y[rows]])
    for column in sorted(table, key=lambda each: each.kind in TEXT):  # text takes longer
        if column.kind != "empty":
            _refine(order, first, lambda rows, column=column: _keys(column, rows))
    starts = np.flatnonzero(first)
    counts = np.diff(starts, append=len(order)).astype(np.float64)
    if weights is None:
        return Distinct(order[starts], _uneven(counts), counts)
    groups = np.cumsum(first)
    ordered = weights[order].astype(np.float64)
    ordered = ordered[np.lexsort((ordered, groups))]  # or sums would depend on the order of rows
    with np.errstate(over="ignore"):  # which training refuses
        sums = np.add.reduceat(ordered, starts)
    whole = (sums == np.rint(sums)).all()
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
