"""Standardisation: columns brought to mean 0 and standard deviation 1."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fastnn.activations import Array
from fastnn.checks.warning import warn

# Numbers in a block.
BLOCK = 1 << 20
# Steps between neighbouring numbers of the dtype that a deviation should have.
DIGITS = 64


# Rows, and the means of their columns and the sums of squared differences to these.
Moments = tuple[int, Array, Array]
Combine = Callable[[Moments], Moments]


def as_they_are(moments: Moments) -> Moments:
    """Return moments that are those of all rows."""
    return moments


class Scaler(NamedTuple):
    """Standardisation, ``(x - mean) * scale``; a constant column has the scale 1."""

    mean: Array
    scale: Array

    def restored(self, x: Array) -> Array:
        """Return standardised numbers in their own units."""
        return x / self.scale + self.mean


class Gathering:
    """Moments of rows that come in blocks, of `rows_at_a_time` each but for the last.

    Means and squares of blocks are combined as in Chan et al. (1979). Differences to the first row
    are used, so that a constant column has a spread of exactly 0.

    Parameters
    ----------
    origin : ndarray of float64, shape (columns,)
        The first row.
    """

    def __init__(self, origin: Array) -> None:
        self.origin, self.count = origin, 0
        self.mean, self.squares = np.zeros(len(origin)), np.zeros(len(origin))

    @np.errstate(over="ignore", invalid="ignore")
    def add(self, block: Array) -> None:
        """Take a block, float64, which is changed."""
        block -= self.origin
        count, added = self.count, len(block)
        shift = block.mean(axis=0) - self.mean
        self.squares += block.var(axis=0) * added + shift**2 * (count * added / (count + added))
        self.mean += shift * (added / (count + added))
        self.count += added

    @property
    @np.errstate(over="ignore", invalid="ignore")
    def moments(self) -> Moments:
        """Those of the rows so far."""
        return self.count, self.mean + self.origin, self.squares


def rows_at_a_time(columns: int) -> int:
    """Return how many rows are a block."""
    return max(1, BLOCK // columns)


def learn(
    name: str,
    X: Array,
    rows: Array | None,
    dtype: np.dtype,
    names: tuple[str, ...] | None = None,
    combined: Combine = as_they_are,
) -> Scaler:
    """Return the scaler of the columns of X, or of some of its rows; uint8 means pixels.

    What ``combined`` makes of their moments is that of other processes' rows, too. See `scaler_of`.
    """
    total = len(X) if rows is None else len(rows)
    gathered = Gathering(X[0 if rows is None else rows[0]].astype(np.float64))
    step = rows_at_a_time(X.shape[1])
    for first in range(0, total, step):
        part = slice(first, min(first + step, total))
        gathered.add(X[part if rows is None else rows[part]].astype(np.float64))
    return scaler_of(name, combined(gathered.moments), X.dtype == np.uint8, dtype, names)


@np.errstate(over="ignore", invalid="ignore")  # which the last check sees
def scaler_of(
    name: str,
    moments: Moments,
    pixels: bool,
    dtype: np.dtype,
    names: tuple[str, ...] | None = None,
) -> Scaler:
    """Return the scaler of columns with these moments; those of pixels are from 0 to 255.

    Raises
    ------
    ValueError
        If a standard deviation is too large for the dtype.

    Warns
    -----
    UserWarning
        If the dtype cannot tell the numbers of a column apart.
    """
    count, mean, squares = moments
    deviation = np.sqrt(squares / count)
    if pixels:
        mean, deviation = mean / 255, deviation / 255
    # A deviation counts as 0 if the dtype rounds it away, or cannot divide by it.
    tiny = np.finfo(dtype).tiny
    least = np.maximum(np.finfo(dtype).eps * np.abs(mean), tiny)
    # The inverse of a larger one would be below the smallest normal number: zero to the kernels.
    wide = ~(deviation <= 1 / np.float64(tiny))
    lost = (deviation > 0) & (deviation < DIGITS * np.finfo(dtype).eps * np.abs(mean))
    column = int((wide if wide.any() else lost).argmax())
    place = column if names is None else repr(names[column])
    if wide.any():
        raise ValueError(
            f"{name} cannot be standardised in {dtype}: the numbers of column {place} are "
            "too far apart; divide them by a power of ten first"
        )
    if lost.any():
        size = f"{mean[column]:.6g} +- {deviation[column]:.3g}"
        warn(
            f"{name}: the numbers of column {place}, {size}, differ by less than {dtype} can tell; "
            "dtype='float64' can, or subtract a constant"
        )
    scale = 1 / np.where(deviation <= least, 1, deviation)
    return Scaler(mean.astype(dtype), scale.astype(dtype))
