"""What the operands of matrix products are rounded to: the network's dtype, or bfloat16.

bfloat16 is float32 without its lower 16 bits: the same range, 8 significant bits instead of 24.
Sums of products, and all that is no matrix product, stay in float32, as in Micikevicius et al.,
"Mixed precision training" (2018).
"""

from __future__ import annotations

import numpy as np

from fastnn.activations import Array

BFLOAT16 = "bfloat16"
# Each precision, and the dtype that a network must have for it.
PRECISIONS = {BFLOAT16: "float32", "float32": "float32", "float64": "float64"}


def to_bfloat16(x: Array) -> Array:
    """Return float32 numbers rounded to the nearest of bfloat16, in float32; ties go to even ones.

    What is beyond the largest, 3.39e38, becomes infinite. NaN stays NaN.

    Parameters
    ----------
    x : ndarray of float32

    Returns
    -------
    ndarray of float32
        Of the same shape; the lower 16 bits of each number are 0.
    """
    bits = x.view(np.uint32)
    # Half of the last bit that is kept, less one if that is even, so that a tie is not carried.
    carried = bits + (np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1)))
    rounded: Array = (carried & np.uint32(0xFFFF0000)).view(np.float32)
    return np.where(np.isnan(x), np.float32(np.nan), rounded)
