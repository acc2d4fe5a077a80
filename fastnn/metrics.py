"""Scores: of classes, from the true and the predicted class of each sample, and of numbers."""

from __future__ import annotations

from operator import index
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

_Counts: TypeAlias = npt.NDArray[np.int64]
_Shares: TypeAlias = npt.NDArray[np.float64]
_MAX_LABEL = 2**31 - 1  # A pair of labels as one int64 cannot overflow.


def accuracy(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> float:
    """Share of samples whose predicted class is the true one.

    Parameters
    ----------
    y_true, y_pred : array_like of integers, shape (n,)
        True and predicted classes: n is 1 or more, labels are 0 to 2**31 - 1.
    weights : array_like, shape (n,), optional
        Of the samples: finite, 0 or more, not all 0.

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
    return float(np.average(true == pred, weights=_check_weights(weights, len(true))))


def confusion_matrix(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    classes: int | None = None,
    weights: npt.ArrayLike | None = None,
) -> _Counts | _Shares:
    """Count the samples of each pair of true and predicted class, or add up their weights.

    Parameters
    ----------
    y_true, y_pred : array_like of integers, shape (n,)
        As in `accuracy`.
    classes : int, optional
        Number of classes; by default, the largest label plus one.
    weights : array_like, shape (n,), optional
        As in `accuracy`.

    Returns
    -------
    ndarray of int64 or with weights float64, shape (classes, classes)
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
    shares = _check_weights(weights, len(true))
    pairs = np.bincount(true * count + pred, shares, minlength=count**2).reshape(count, count)
    return pairs.astype(np.int64, copy=False) if shares is None else pairs


def precision_recall_f1(confusion: npt.ArrayLike) -> tuple[_Shares, _Shares, _Shares]:
    """Precision, recall and F1 of each class; 0 where the denominator is 0.

    Parameters
    ----------
    confusion : array_like of numbers, shape (classes, classes)
        Rows are true classes, columns predicted ones, as `confusion_matrix` gives.

    Returns
    -------
    precision, recall, f1 : ndarray of float64, shape (classes,)
        Of each class: the share of its predictions that are right, the share of its samples that
        are found, and the harmonic mean of the two.

    Raises
    ------
    TypeError, ValueError
        If ``confusion`` is not of numbers; if it is not square or holds a negative or NaN.
    """
    matrix = np.asarray(confusion)
    if matrix.dtype.kind not in "iuf":
        raise TypeError(f"confusion has dtype {matrix.dtype}; need integers, or sums of weights")
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"confusion has shape {matrix.shape}; need (classes, classes)")
    if not np.all(matrix >= 0):
        raise ValueError(f"confusion holds {matrix.min()}; need counts of 0 or more")
    matrix = matrix.astype(np.float64 if matrix.dtype.kind == "f" else np.int64, copy=False)
    hits, predicted, actual = np.diagonal(matrix), matrix.sum(axis=0), matrix.sum(axis=1)
    f1 = _divide(2 * hits, predicted + actual)
    return _divide(hits, predicted), _divide(hits, actual), f1


def macro_f1(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    classes: int | None = None,
    weights: npt.ArrayLike | None = None,
) -> float:
    """Unweighted mean of F1 over the classes that occur in ``y_true`` or ``y_pred``.

    Parameters and errors are those of `confusion_matrix`; the result is from 0 to 1.
    """
    confusion = confusion_matrix(y_true, y_pred, classes, weights)
    occurs = (confusion.sum(axis=0) + confusion.sum(axis=1)) > 0
    return float(precision_recall_f1(confusion)[2][occurs].mean())


def multilabel_scores(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> tuple[float, float]:
    """Return the share of samples with all labels right, and the mean F1 of the labels.

    Parameters
    ----------
    y_true, y_pred : array_like of 0 and 1, shape (n, labels)
    weights : array_like, shape (n,), optional
        As in `accuracy`.

    Returns
    -------
    accuracy, macro_f1 : float
        From 0 to 1; the F1 of a label that neither holds is 0.

    Raises
    ------
    ValueError
        If an array holds anything else, or the shapes differ.
    """
    true, pred = np.asarray(y_true), np.asarray(y_pred)
    for name, labels in (("y_true", true), ("y_pred", pred)):
        if labels.ndim != 2 or not labels.size or not np.isin(labels, (0, 1)).all():
            raise ValueError(f"{name} has shape {labels.shape}; need (n, labels) of 0 and 1")
    if true.shape != pred.shape:
        raise ValueError(f"y_pred has shape {pred.shape}; need {true.shape}, as y_true")
    shares = _check_weights(weights, len(true))
    shares = np.ones(len(true)) if shares is None else shares
    true, pred = true.astype(bool), pred.astype(bool)
    whole = shares @ true + shares @ pred
    f1 = np.divide(2 * (shares @ (true & pred)), whole, out=np.zeros(len(whole)), where=whole > 0)
    return float(np.average((true == pred).all(axis=1), weights=shares)), float(f1.mean())


def r2(y_true: npt.ArrayLike, y_pred: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> float:
    """Coefficient of determination, 1 minus the squared errors over those of the mean.

    Parameters
    ----------
    y_true, y_pred : array_like of numbers, shape (n,) or (n, outputs)
    weights : array_like, shape (n,), optional
        As in `accuracy`.

    Returns
    -------
    float
        At most 1: the mean over the outputs. For an output that is constant it is 1 if all errors
        are 0, else 0.

    Raises
    ------
    TypeError, ValueError
        If the arrays are not of finite numbers, are empty, or differ in shape.
    """
    true, pred, shares = _check_numbers(y_true, y_pred, weights)
    errors = np.average((true - pred) ** 2, axis=0, weights=shares)
    # From a row that counts, so that rounding leaves no spread of a constant.
    true = true - true[0 if shares is None else shares.argmax()]
    spread = np.average((true - np.average(true, axis=0, weights=shares)) ** 2, 0, shares)
    scores = 1 - np.divide(errors, spread, out=(errors > 0) * 1.0, where=spread > 0)
    return float(scores.mean())


def mae(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> float:
    """Mean absolute error, over samples and outputs; parameters and errors are those of `r2`."""
    true, pred, shares = _check_numbers(y_true, y_pred, weights)
    return float(np.average(np.abs(true - pred), axis=0, weights=shares).mean())


def rmse(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> float:
    """Root of the mean squared error of each output, their mean; parameters are those of `r2`."""
    true, pred, shares = _check_numbers(y_true, y_pred, weights)
    return float(np.sqrt(np.average((true - pred) ** 2, axis=0, weights=shares)).mean())


def _check_numbers(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, weights: npt.ArrayLike | None
) -> tuple[_Shares, _Shares, _Shares | None]:
    true, pred = np.asarray(y_true), np.asarray(y_pred)
    for name, values in (("y_true", true), ("y_pred", pred)):
        if values.dtype.kind not in "biuf":
            raise TypeError(f"{name} has dtype {values.dtype}; need numbers")
        if values.ndim not in (1, 2) or not values.size:
            raise ValueError(f"{name} has shape {values.shape}; need (n,) or (n, outputs)")
        if not np.isfinite(values).all():
            raise ValueError(f"{name} must be finite")
    if true.shape != pred.shape:
        raise ValueError(f"y_pred has shape {pred.shape}; need {true.shape}, as y_true")
    shares = _check_weights(weights, len(true))
    rows = (len(true), -1)
    return true.reshape(rows).astype(np.float64), pred.reshape(rows).astype(np.float64), shares


def _check_weights(weights: npt.ArrayLike | None, rows: int) -> _Shares | None:
    if weights is None:
        return None
    shares = np.asarray(weights)
    if shares.shape != (rows,) or shares.dtype.kind not in "biuf":
        raise ValueError(f"weights has shape {shares.shape}; need ({rows},) of numbers")
    shares = shares.astype(np.float64)
    if not np.isfinite(shares).all() or shares.min() < 0 or not shares.any():
        raise ValueError("weights must be finite, 0 or more, and not all 0")
    return shares


def _divide(part: _Counts | _Shares, whole: _Counts | _Shares) -> _Shares:
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
