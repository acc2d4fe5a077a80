"""Checks of the arguments of scores."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Counts: TypeAlias = npt.NDArray[np.int64]
Shares: TypeAlias = npt.NDArray[np.float64]

_MAX_LABEL = 2**31 - 1  # A pair of labels as one int64 cannot overflow.


def check_classes(name: str, y: npt.ArrayLike) -> Counts:
    """Return class labels as int64 (n,).

    Parameters
    ----------
    name : str
        What errors call ``y``.
    y : array_like

    Raises
    ------
    TypeError
        If ``y`` is not of integers.
    ValueError
        If ``y`` is empty, not 1-D, or has a label below 0 or above 2**31 - 1.
    """
    labels = np.asarray(y)
    if labels.ndim != 1 or not labels.size:
        raise ValueError(f"{name} has shape {labels.shape}; need (n,) with n of 1 or more")
    if labels.dtype.kind not in "iu":
        raise TypeError(f"{name} has dtype {labels.dtype}; need integers")
    if labels.min() < 0 or labels.max() > _MAX_LABEL:
        raise ValueError(f"{name} holds {labels.min()} to {labels.max()}; need 0 to {_MAX_LABEL}")
    return labels.astype(np.int64, copy=False)


def check_same_shape(true: Array, pred: Array) -> None:
    """Refuse predictions whose shape is not that of the true values."""
    if true.shape != pred.shape:
        raise ValueError(f"y_pred has shape {pred.shape}; need {true.shape}, as y_true")


def check_weights(weights: npt.ArrayLike | None, rows: int) -> Shares | None:
    """Return weights of samples as float64 (rows,), after checking them."""
    if weights is None:
        return None
    shares = np.asarray(weights)
    if shares.shape != (rows,) or shares.dtype.kind not in "biuf":
        raise ValueError(f"weights has shape {shares.shape}; need ({rows},) of numbers")
    shares = shares.astype(np.float64)
    if not np.isfinite(shares).all() or shares.min() < 0 or not shares.any():
        raise ValueError("weights must be finite, 0 or more, and not all 0")
    return shares
