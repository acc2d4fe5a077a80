"""The two backends, by name; `fastnn.backends.contract` says what both offer."""

from __future__ import annotations

import functools
import importlib
from types import ModuleType

import numpy as np
import numpy.typing as npt

from fastnn.checks import values as check

BACKENDS = {"numba": "fastnn.backends.compiled.backend", "numpy": "fastnn.backends.reference"}


def warmup(*dtypes: npt.DTypeLike) -> float:
    """Compile all kernels in advance, or load them from the cache.

    Parameters
    ----------
    *dtypes : str or numpy.dtype
        "float32", "float64" or both. Default: float32.

    Returns
    -------
    float
        Seconds of compiling and loading.

    Raises
    ------
    TypeError, ValueError
        If an argument is not one of these.
    """
    names = [check.any_case("dtype", np.dtype(dtype).name, check.DTYPES) for dtype in dtypes]
    warm = get("numba").warmup
    return float(sum(warm(np.dtype(name)) for name in names or ["float32"]))


@functools.cache
def get(name: str) -> ModuleType:
    """Return the backend of that name. It is imported here, as importing Numba takes a while."""
    from fastnn.backends import forks  # which takes a while, too

    with forks.held_off():
        return importlib.import_module(BACKENDS[name])
