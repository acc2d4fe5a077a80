"""Dropout: which units of which rows are left out, with the same result for any number of threads.

In training, each unit is left out of a row with the probability ``rate``, and units that are kept
are divided by ``1 - rate``, so that prediction needs no change: "inverted" dropout (Srivastava et
al., 2014). A unit is left out of a row if a hash of the row's key and the unit's number, as a
fraction of 2^32, is below ``rate``. The key is a hash of the seed, the epoch, the layer and the
row's position in the epoch.

Keys are hashed by the finaliser of SplitMix64 (Steele et al., 2014). Augmentation has keys of the
same kind, and `fastnn.counters` the hash of a key and a number.
"""

from __future__ import annotations

import numpy as np

from fastnn.activations import Array
from fastnn.counters import GOLDEN_32, GOLDEN_64, hashed
from fastnn.sparse_rows import SparseRows

# The keys without dropout and augmentation.
NO_KEYS = np.empty((0, 0), np.uint32)


def row_keys(seed: int, epoch: int, layers: int, rows: range | Array) -> Array:
    """Return the keys of the rows at some places of an epoch for each layer, uint32 (layers, rows).

    Those of a layer do not depend on how many there are.
    """
    starts = np.random.SeedSequence([seed, 2, epoch]).generate_state(layers, np.uint64)
    if isinstance(rows, range):
        rows = np.arange(rows.start, rows.stop, dtype=np.uint64)
    x = starts[:, None] + rows.astype(np.uint64, copy=False) * np.uint64(GOLDEN_64)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (x >> np.uint64(32)).astype(np.uint32)


def threshold(rate: float) -> int:
    """Return the smallest hash for which a unit is kept."""
    return min(round(rate * 2**32), 2**32 - 1)


def scale(rate: float) -> float:
    """Return the factor of the units that are kept."""
    return 2.0**32 / (2**32 - threshold(rate))


def multipliers(keys: Array, units: int, rate: float, dtype: np.dtype) -> Array:
    """Return the factors of units, (rows, units): 0 for those left out, `scale` for the others."""
    return _factors(keys[:, None], np.arange(units, dtype=np.uint32), rate, dtype)


def multipliers_of(keys: Array, X: SparseRows, rate: float) -> Array:
    """Return the factors of the numbers that rows store, as `multipliers` has them."""
    columns = X.indices[X.places].astype(np.uint32)
    return _factors(np.repeat(keys, X.lengths), columns, rate, X.dtype)


def _factors(keys: Array, units: Array, rate: float, dtype: np.dtype) -> Array:
    x = hashed(keys + units * np.uint32(GOLDEN_32))
    return np.where(x >= threshold(rate), scale(rate), 0).astype(dtype)
