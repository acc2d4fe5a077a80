"""Random numbers that are functions of a key and a counter, so that no order matters.

The hash is the finaliser of MurmurHash3 (Appleby). `uniforms` are multiples of 2^-24, which float32
holds exactly, and `normals` are made of pairs of them (Box and Muller, 1958).
"""

from __future__ import annotations

import numpy as np

from fastnn.activations import Array

# Powers of two divided by the golden ratio, made odd: their multiples fill the range evenly.
GOLDEN_32, GOLDEN_64 = 0x9E3779B9, 0x9E3779B97F4A7C15


def hashed(x: Array) -> Array:
    """Return the hashes of uint32 numbers."""
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    x = (x ^ (x >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return x ^ (x >> np.uint32(16))


def uniforms(keys: Array, first: int, count: int) -> Array:
    """Return numbers from 0 to below 1 of some rows, float64 (rows, count)."""
    counters = np.arange(first, first + count, dtype=np.uint32) * np.uint32(GOLDEN_32)
    return (hashed(keys[:, None] + counters) >> np.uint32(8)) * 2.0**-24


def normals(keys: Array, first: int, count: int) -> Array:
    """Return numbers of the standard normal distribution of some rows, float64 (rows, count)."""
    pairs = -(-count // 2)
    radius = np.sqrt(-2 * np.log(1 - uniforms(keys, first, pairs)))
    angle = 2 * np.pi * uniforms(keys, first + pairs, pairs)
    return np.hstack([radius * np.cos(angle), radius * np.sin(angle)])[:, :count]
