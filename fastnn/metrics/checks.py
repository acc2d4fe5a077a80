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
        Integers, or bools, which become 0 and 1.

    Raises
    ------
    TypeError
        If ``y`` is of neither.
    ValueError
        If ``y`` is empty, not 1-D, or has a label below 0 or above 2**31 - 1.
    """
    labels = np.asarray(y)
    if labels.ndim != 1 or not labels.size:
        raise ValueError(f"{name} has shape {labels.shape}; need (n,) with n of 1 or more")
    if labels.dtype.kind not in "biu":
        hint = ", as np.unique(labels, return_inverse=True) numbers them" * is_text(labels)
        raise TypeError(f"{name} has dtype {labels.dtype}; need integers or bools{hint}")
    if labels.min() < 0 or labels.max() > _MAX_LABEL:
        raise ValueError(f"{name} holds {labels.min()} to {labels.max()}; need 0 to {_MAX_LABEL}")
    return labels.astype(np.int64, copy=False)


def check_pair(y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> tuple[Counts, Counts, bool]:
    """Return true and predicted classes as int64 (n,), and whether they were text.

    Classes that are text are numbered in alphabetical order.

    Raises
    ------
    TypeError
        If they are not both of integers and bools, or both of text.
    ValueError
        As for `check_classes`, or if the lengths differ.
    """
    true, pred = np.asarray(y_true), np.asarray(y_pred)
    texts = is_text(true), is_text(pred)
    if all(texts) and true.ndim == pred.ndim == 1:
        both = np.concatenate([true.astype(str), pred.astype(str)])
        places = np.unique(both, return_inverse=True)[1].reshape(-1)
        true, pred = places[: len(true)], places[len(true) :]
    elif any(texts) and not all(texts):
        kinds = [
            "text" if text else f"{y.dtype}" for text, y in zip(texts, (true, pred), strict=True)
        ]
        raise TypeError(
            f"y_true holds {kinds[0]} and y_pred {kinds[1]}; need the same kind of classes in "
            "both: names, or positions"
        )
    true, pred = check_classes("y_true", true), check_classes("y_pred", pred)
    if len(true) != len(pred):
        raise ValueError(f"y_pred has {len(pred)} labels; need {len(true)}, as in y_true")
    return true, pred, all(texts)


def is_text(labels: Array) -> bool:
    """Whether an array holds text."""
    if labels.dtype.kind in "UT":
        return True
    return labels.dtype.kind == "O" and all(isinstance(label, str) for label in labels.flat)


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
