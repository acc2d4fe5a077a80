"""Scores of a classifier, from the true and the predicted class of each sample."""

from __future__ import annotations

from operator import index
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

_Counts: TypeAlias = npt.NDArray[np.int64]
_Shares: TypeAlias = npt.NDArray[np.float64]
_MAX_LABEL = 2**31 - 1  # A pair of labels as one int64 cannot overflow.


def accuracy(y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> float:
    """Share of samples whose predicted class is the true one.

    Parameters
    ----------
    y_true, y_pred : array_like of integers, shape (n,)
        True and predicted classes: n is 1 or more, labels are 0 to 2**31 - 1.

    Returns
    -------
    float
        From 0 to 1.

    Raises
    ------
    TypeError
        If a label array is not of integers.
    ValueError
        If a label array is empty, not 1-D or out of range, or if the lengths differ.
    """
    true, pred = _check_labels(y_true, y_pred)
    return float(np.mean(true == pred))


def confusion_matrix(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, classes: int | None = None
) -> _Counts:
    """Count the samples of each pair of true and predicted class.

    Parameters
    ----------
    y_true, y_pred : array_like of integers, shape (n,)
        As in `accuracy`.
    classes : int, optional
        Number of classes; by default, the largest label plus one.

    Returns
    -------
    ndarray of int64, shape (classes, classes)
        Rows are true classes, columns predicted ones.

    Raises
    ------
    TypeError, ValueError
        As in `accuracy`; if ``classes`` is not an integer greater than every label.
    """
    true, pred = _check_labels(y_true, y_pred)
    least = int(max(true.max(), pred.max())) + 1
    count = least if classes is None else index(classes)
    if count < least:
        raise ValueError(f"classes is {count}; need {least} or more for the label {least - 1}")
    pairs = np.bincount(true * count + pred, minlength=count**2)
    return pairs.reshape(count, count).astype(np.int64, copy=False)


def precision_recall_f1(confusion: npt.ArrayLike) -> tuple[_Shares, _Shares, _Shares]:
    """Precision, recall and F1 of each class; 0 where the denominator is 0.

    Parameters
    ----------
    confusion : array_like of integers, shape (classes, classes)
        Rows are true classes, columns predicted ones, as `confusion_matrix` gives.

    Returns
    -------
    precision, recall, f1 : ndarray of float64, shape (classes,)
        Of each class: the share of its predictions that are right, the share of its samples that
        are found, and the harmonic mean of the two.

    Raises
    ------
    TypeError, ValueError
        If ``confusion`` is not of integers; if it is not square or holds a negative.
    """
    matrix = np.asarray(confusion)
    if matrix.dtype.kind not in "iu":
        raise TypeError(f"confusion has dtype {matrix.dtype}; need integers")
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"confusion has shape {matrix.shape}; need (classes, classes)")
    if np.any(matrix < 0):
        raise ValueError(f"confusion holds {matrix.min()}; need counts of 0 or more")
    matrix = matrix.astype(np.int64, copy=False)
    hits, predicted, actual = np.diagonal(matrix), matrix.sum(axis=0), matrix.sum(axis=1)
    f1 = _divide(2 * hits, predicted + actual)
    return _divide(hits, predicted), _divide(hits, actual), f1


def macro_f1(y_true: npt.ArrayLike, y_pred: npt.ArrayLike, classes: int | None = None) -> float:
    """Unweighted mean of F1 over the classes that occur in ``y_true`` or ``y_pred``.

    Parameters and errors are those of `confusion_matrix`; the result is from 0 to 1.
    """
    confusion = confusion_matrix(y_true, y_pred, classes)
    occurs = (confusion.sum(axis=0) + confusion.sum(axis=1)) > 0
    return float(precision_recall_f1(confusion)[2][occurs].mean())


def _divide(part: _Counts, whole: _Counts) -> _Shares:
    return np.divide(part, whole, out=np.zeros(len(whole)), where=whole > 0)


def _check_labels(y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> tuple[_Counts, _Counts]:
    true, pred = np.asarray(y_true), np.asarray(y_pred)
    for name, labels in (("y_true", true), ("y_pred", pred)):
        if labels.ndim != 1 or not labels.size:
            raise ValueError(f"{name} has shape {labels.shape}; need (n,) with n of 1 or more")
        if labels.dtype.kind not in "iu":
            raise TypeError(f"{name} has dtype {labels.dtype}; need integers")
        if labels.min() < 0 or labels.max() > _MAX_LABEL:
            raise ValueError(
                f"{name} holds {labels.min()} to {labels.max()}; need 0 to {_MAX_LABEL}"
            )
    if len(true) != len(pred):
        raise ValueError(f"y_pred has {len(pred)} labels; need {len(true)}, as in y_true")
    return true.astype(np.int64, copy=False), pred.astype(np.int64, copy=False)
