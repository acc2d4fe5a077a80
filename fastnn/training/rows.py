"""Rows of the data: the order of an epoch, and those set aside for validation."""

from __future__ import annotations

import math

import numpy as np

from fastnn.activations import Array

FEW = 2**20  # rows whose order may take 8 bytes each


def epoch_order(
    seed: int, epoch: int, count: int, rows: Array | None, shuffle: bool, part: int = 0
) -> Array:
    """Return the order in which an epoch takes the rows; it depends on the arguments only.

    Parameters
    ----------
    seed, epoch : int
    count : int
        The number of rows.
    rows : ndarray or None
        Their positions in the data; None for all rows.
    shuffle : bool
    part : int
        Which part of the epoch these rows are, if it is not whole.
    """
    compact = FEW < count < 2**32  # half the memory, but half as long again to shuffle
    order = np.arange(count, dtype=np.uint32 if compact else np.int64)
    if shuffle:
        np.random.default_rng([seed, 1, epoch, part] if part else [seed, 1, epoch]).shuffle(order)
    return order if rows is None else rows[order]


def stratified(share: float, rows: int, labels: Array | None, seed: int) -> tuple[Array, Array]:
    """Return the rows to train on and the rows to set aside, the same share of each class."""
    aside = max(1, math.ceil(round(share * rows, 6)))  # 7 of 100 rows are a share of 0.07
    if aside == rows:
        raise ValueError(
            f"the share to set aside must leave a row to train on; got {share:g} of {rows} rows"
        )
    rng = np.random.default_rng([seed, 3])
    mixed = rng.permutation(rows)
    if labels is not None:  # by class: evenly spaced places then take the same share of each
        mixed = mixed[np.argsort(labels[mixed], kind="stable")]
    places = ((np.arange(aside) + rng.random()) * (rows / aside)).astype(np.int64)
    chosen = np.zeros(rows, bool)
    chosen[mixed[places]] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)
