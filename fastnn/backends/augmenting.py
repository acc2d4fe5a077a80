"""Augmentation of a batch: its inputs and its targets, changed one way after another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastnn.activations import Array
from fastnn.augment import Augmentation, Mixup
from fastnn.counters import hashed


def inputs(
    augment: Sequence[Augmentation],
    read: Callable[[Any], Any],
    drawn: Callable[[Array], Array],
    rows: slice | Array,
    keys: Array,
) -> Any:
    """Return the inputs of some rows, changed.

    Parameters
    ----------
    augment : sequence of augmentation
    read : callable
        From rows to their inputs, (rows, features).
    drawn : callable
        From uint32 numbers to rows of the data, all equally likely.
    rows : slice or ndarray of shape (rows,)
    keys : ndarray of shape (augmentations, rows)
    """
    x = read(rows)
    for i, (each, own) in enumerate(zip(augment, keys, strict=True)):
        if isinstance(each, Mixup):
            shares, others = each.draws(own)
            other = inputs(augment[:i], read, drawn, drawn(others), hashed(keys[:i]))
            x = each.apply(x, other, shares)
        else:
            x = each.apply(x, own)
    return x


def targets(
    augment: Sequence[Augmentation],
    read: Callable[[Any], tuple[Array, Array | None]],
    drawn: Callable[[Array], Array],
    rows: slice | Array,
    keys: Array,
) -> tuple[Array, Array | None]:
    """Return the targets of some rows, and their weights if there are any, mixed.

    Parameters
    ----------
    augment : sequence of augmentation
    read : callable
        From rows to their targets, (rows, outputs), and their weights, (rows,) or None.
    drawn, rows, keys
        As for `inputs`.
    """
    t, v = read(rows)
    for each, own in zip(augment, keys, strict=True):
        if isinstance(each, Mixup):
            shares, others = each.draws(own)
            other_t, other_v = read(drawn(others))
            if v is not None and other_v is not None:
                shares = shares.astype(v.dtype)
                first = shares * v
                v = first + (1 - shares) * other_v
                shares = np.divide(first, v, out=shares, where=v > 0)
            t = each.apply(t, other_t, shares)
    return t, v
