"""The two backends, by name; what both offer is written down in `fastnn.backends.contract`."""

from __future__ import annotations

import importlib
from types import ModuleType

import numpy as np
import numpy.typing as npt

BACKENDS = {"numba": "fastnn.backends.compiled.backend", "numpy": "fastnn.backends.reference"}


def warmup(*dtypes: npt.DTypeLike) -> float:
    """Compile all kernels, or load them from the cache, ahead of their first use.

    Parameters
    ----------
    *dtypes : str or numpy.dtype
        "float32", which is the default, or "float64", or both.

    Returns
    -------
    float
        Seconds that it took.
    """
    warm = get("numba").warmup
    return float(sum(warm(np.dtype(dtype)) for dtype in dtypes or ("float32",)))


def get(name: str) -> ModuleType:
    """Return the backend of that name, imported only now: importing Numba takes a while."""
    return importlib.import_module(BACKENDS[name])
