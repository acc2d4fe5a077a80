"""Rows of the data: the order of an epoch, and those set aside for validation."""

from __future__ import annotations

import math

import numpy as np

from fastnn.activations import Array


def epoch_order(seed: int, epoch: int, count: int, rows: Array | None, shuffle: bool) -> Array:
    """Return the order of so many rows in an epoch, which depends on nothing but its arguments.

    ``rows`` names them, if they are not all.
    """
    order = np.arange(count, dtype=np.uint32 if count < 2**32 else np.int64)  # half the memory
    if shuffle:
        np.random.default_rng([seed, 1, epoch]).shuffle(order)
    return order if rows is None else rows[order]


def stratified(share: float, rows: int, labels: Array | None, seed: int) -> tuple[Array, Array]:
    """Return the rows to train on, and a share of rows to set aside, of each class the same."""
    aside = math.ceil(round(share * rows, 6))  # 7 of 100 rows are a share of 0.07
    if aside == rows:
        raise ValueError(
            f"a share to set aside must leave a row to train on; got {share:g} of {rows} rows"
        )
    rng = np.random.default_rng([seed, 3])
    mixed = rng.permutation(rows)
    if labels is not None:  # class by class, so that evenly spaced places take of each its share
        mixed = mixed[np.argsort(labels[mixed], kind="stable")]
    places = ((np.arange(aside) + rng.random()) * (rows / aside)).astype(np.int64)
    chosen = np.zeros(rows, bool)
    chosen[mixed[places]] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)
