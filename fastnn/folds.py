"""Rows for tests and folds for cross-validation, with the same share of each class.

They are those of scikit-learn's `train_test_split`, `KFold` and `StratifiedKFold` with the same
seed, which none of this needs.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from fastnn.activations import Array


class Fold(NamedTuple):
    """Positions of the rows to train on, and of those held out."""

    train: Array
    held_out: Array


def set_aside(share: float, rows: int, labels: Array | None, seed: int) -> Fold:
    """Return the rows to know, and a share of the rows to test on, both ascending.

    Parameters
    ----------
    share : float
    rows : int
    labels : ndarray or None
        The class of each row.
    seed : int
    """
    rng = np.random.RandomState(seed)
    count = math.ceil(share * rows)
    chosen = np.zeros(rows, bool)
    if labels is None:
        chosen[rng.permutation(rows)[:count]] = True
    else:
        _, codes, sizes = np.unique(labels, return_inverse=True, return_counts=True)
        known = _shares(sizes, rows - count, rng)
        _shares(sizes - known, count, rng)  # it takes all that are left, and a random number
        by_class = np.split(np.argsort(codes, kind="stable"), np.cumsum(sizes)[:-1])
        for members, first in zip(by_class, known, strict=True):
            chosen[members[rng.permutation(len(members))[first:]]] = True
    return Fold(np.flatnonzero(~chosen), np.flatnonzero(chosen))


def _shares(sizes: Array, count: int, rng: np.random.RandomState) -> Array:
    """Return how many of so many rows each class gets: its share, rounded, ties at random."""
    exact = sizes / sizes.sum() * count
    whole = np.floor(exact)
    rest = exact - whole
    for value in np.unique(rest)[::-1]:
        missing = int(count - whole.sum())
        if missing <= 0:
            break
        equal = np.flatnonzero(rest == value)
        whole[rng.choice(equal, min(len(equal), missing), replace=False)] += 1
    return whole.astype(np.int64)


def split(count: int, known: Array, labels: Array | None, seed: int) -> list[Fold]:
    """Return folds of known rows.

    Parameters
    ----------
    count : int
        How many folds.
    known : ndarray
        Positions of the rows, ascending.
    labels : ndarray or None
        The class of each of these rows. One with fewer rows than folds is missing in some.
    seed : int
    """
    rng = np.random.RandomState(seed)
    of = np.empty(len(known), np.int64)  # the fold of each row
    if labels is None:
        mixed = np.arange(len(known))
        rng.shuffle(mixed)
        for i, part in enumerate(np.array_split(mixed, count)):
            of[part] = i
    else:
        _, first, codes = np.unique(labels, return_index=True, return_inverse=True)
        places = np.argsort(np.argsort(first))[codes]  # classes in the order in which they come
        # As rows of one class after the other are dealt to the folds in turn.
        dealt = np.arange(len(known)) % count
        in_order = np.sort(places)
        for place in range(len(first)):
            own = np.sort(dealt[in_order == place])
            rng.shuffle(own)
            of[places == place] = own
    return [Fold(known[of != i], known[of == i]) for i in range(count)]
