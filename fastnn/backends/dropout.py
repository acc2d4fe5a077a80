"""Dropout: which units are left out, decided by counters, so that threads do not matter.

In training each unit of a layer is left out of a row with a probability, and those kept are divided
by what is left of it, so that predictions need no change (Srivastava et al., 2014; this form is
called inverted). A unit of a row is left out where a hash of the row's key and the unit's number,
taken as a fraction of 2^32, is below that probability. The key is a hash of the seed, the epoch,
the layer and the row's place in the epoch's order.

The hashes are the finalisers of SplitMix64 (Steele et al., 2014) and of MurmurHash3 (Appleby).
"""

from __future__ import annotations

import numpy as np

from fastnn.activations import Array

# Odd fractions of a power of two by the golden ratio: multiples of them fill the range evenly.
GOLDEN_32, GOLDEN_64 = 0x9E3779B9, 0x9E3779B97F4A7C15

# The keys of rows where nothing is left out.
NO_KEYS = np.empty((0, 0), np.uint32)


def row_keys(seed: int, epoch: int, layers: int, rows: range) -> Array:
    """Return uint32 (layers, rows): for the inputs of each layer the keys of rows of an epoch."""
    starts = np.random.SeedSequence([seed, 2, epoch]).generate_state(layers, np.uint64)
    places = np.arange(rows.start, rows.stop, dtype=np.uint64) * np.uint64(GOLDEN_64)
    x = starts[:, None] + places
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (x >> np.uint64(32)).astype(np.uint32)


def threshold(rate: float) -> int:
    """Return the hash from which on units are kept."""
    return min(round(rate * 2**32), 2**32 - 1)


def scale(rate: float) -> float:
    """Return the factor on the units that are kept."""
    return 2.0**32 / (2**32 - threshold(rate))


def multipliers(keys: Array, units: int, rate: float, dtype: np.dtype) -> Array:
    """Return (rows, units): 0 for units left out, else `scale`."""
    x = keys[:, None] + np.arange(units, dtype=np.uint32) * np.uint32(GOLDEN_32)
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    x = (x ^ (x >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    x ^= x >> np.uint32(16)
    return np.where(x >= threshold(rate), scale(rate), 0).astype(dtype)
