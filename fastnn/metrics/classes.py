"""Scores of predicted classes, and of several labels per row."""

from __future__ import annotations

from operator import index
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from fastnn.metrics.checks import Counts, Shares, check_pair, check_same_shape, check_weights

_Average: TypeAlias = Literal["macro", "micro", "weighted"]
# For each class how often it is found, predicted and true.
_Margins: TypeAlias = tuple[Counts | Shares, Counts | Shares, Counts | Shares]


def accuracy(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> float:
    """Return the share of samples whose predicted class is the true one.

    Parameters
    ----------
    y_true, y_pred : array_like of integers, bools or text, shape (n,)
        True and predicted classes, from 0 to 2**31 - 1, or of text both; at least one.
    weights : array_like, shape (n,), optional
        Weights of the samples: finite, at least 0, not all 0.

    Returns
    -------
    float
        From 0 to 1.

    Raises
    ------
    TypeError
        If the classes are neither integers and bools in both, nor text in both.
    ValueError
        If an array is empty, not 1-D or out of range, or if the lengths differ.
    """
    true, pred, _ = check_pair(y_true, y_pred)
    return float(np.average(true == pred, weights=check_weights(weights, len(true))))


def confusion_matrix(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    classes: int | None = None,
    weights: npt.ArrayLike | None = None,
) -> Counts | Shares:
    """Count the samples of each pair of true and predicted class, or add up their weights.

    Parameters
    ----------
    y_true, y_pred : array_like of integers, bools or text, shape (n,)
        As in `accuracy`. Text is in alphabetical order in the result.
    classes : int, optional
        Number of classes, not for text. Default: the largest label plus one.
    weights : array_like, shape (n,), optional
        As in `accuracy`.

    Returns
    -------
    ndarray of int64, or with weights float64, shape (classes, classes)
        Rows are true classes, columns predicted ones.

    Raises
    ------
    TypeError, ValueError
        As for `accuracy`, or if ``classes`` is not an integer greater than every label.
    """
    true, pred, count, shares = _checked(y_true, y_pred, classes, weights)
    return _pairs(true, pred, count, shares)


def precision_recall_f1(confusion: npt.ArrayLike) -> tuple[Shares, Shares, Shares]:
    """Return precision, recall and F1 of each class; 0 where the denominator is 0.

    Parameters
    ----------
    confusion : array_like of numbers, shape (classes, classes)
        Rows are true classes, columns predicted ones, as from `confusion_matrix`.

    Returns
    -------
    precision, recall, f1 : ndarray of float64, shape (classes,)
        For each class, the share of its predictions that are right, the share of its samples that
        are found, and the harmonic mean of the two.

    Raises
    ------
    TypeError, ValueError
        If ``confusion`` is not of numbers, is not square, or holds a negative number or NaN.
    """
    matrix = np.asarray(confusion)
    if matrix.dtype.kind not in "iuf":
        raise TypeError(f"confusion has dtype {matrix.dtype}; need integers, or sums of weights")
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"confusion has shape {matrix.shape}; need (classes, classes)")
    if not np.all(matrix >= 0):
        raise ValueError(f"confusion holds {matrix.min()}; need counts of 0 or more")
    matrix = matrix.astype(np.float64 if matrix.dtype.kind == "f" else np.int64, copy=False)
    return _scores(_margins(matrix))


def precision(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    average: _Average | None = "macro",
    classes: int | None = None,
    weights: npt.ArrayLike | None = None,
) -> Any:
    """Return precision: the share of the predictions of a class that are right.

    It is 0 for a class that is never predicted.

    Parameters
    ----------
    y_true, y_pred, classes, weights
        As in `confusion_matrix`.
    average : "macro", "micro", "weighted" or None
        "macro" is the mean over the classes that occur in ``y_true`` or ``y_pred`` with a weight
        above 0, "weighted" the mean weighted by how often each class is true. "micro" counts all
        predictions together, which is the accuracy. None returns the score of each class.

    Returns
    -------
    float or ndarray of float64, shape (classes,)
        From 0 to 1.

    Raises
    ------
    TypeError, ValueError
        As for `confusion_matrix`, or if ``average`` is none of these.
    """
    return _averaged(0, y_true, y_pred, average, classes, weights)


def recall(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    average: _Average | None = "macro",
    classes: int | None = None,
    weights: npt.ArrayLike | None = None,
) -> Any:
    """Return recall: the share of the samples of a class that are found.

    It is 0 for a class that never occurs.

    Parameters
    ----------
    y_true, y_pred, average, classes, weights
        As in `precision`.

    Returns
    -------
    float or ndarray of float64, shape (classes,)
        From 0 to 1.

    Raises
    ------
    TypeError, ValueError
        As for `confusion_matrix`, or if ``average`` is none of those of `precision`.
    """
    return _averaged(1, y_true, y_pred, average, classes, weights)


def f1(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    average: _Average | None = "macro",
    classes: int | None = None,
    weights: npt.ArrayLike | None = None,
) -> Any:
    """Return the F1 score: the harmonic mean of precision and recall; 0 if both are 0.

    Parameters
    ----------
    y_true, y_pred, average, classes, weights
        As in `precision`.

    Returns
    -------
    float or ndarray of float64, shape (classes,)
        From 0 to 1.

    Raises
    ------
    TypeError, ValueError
        As for `confusion_matrix`, or if ``average`` is none of those of `precision`.
    """
    return _averaged(2, y_true, y_pred, average, classes, weights)


def macro_f1(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    classes: int | None = None,
    weights: npt.ArrayLike | None = None,
) -> float:
    """Return the macro-F1: `f1` with the average "macro".

    Parameters
    ----------
    y_true, y_pred, classes, weights
        As in `confusion_matrix`.

    Raises
    ------
    TypeError, ValueError
        As for `confusion_matrix`.
    """
    score: float = f1(y_true, y_pred, "macro", classes, weights)
    return score


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
        From 0 to 1; the F1 of a label that is neither true nor predicted is 0.

    Raises
    ------
    ValueError
        If an array is empty, not 2-D, or holds anything but 0 and 1; if the shapes differ or the
        weights are not as described.
    """
    true, pred = np.asarray(y_true), np.asarray(y_pred)
    for name, labels in (("y_true", true), ("y_pred", pred)):
        if labels.ndim != 2 or not labels.size or not np.isin(labels, (0, 1)).all():
            raise ValueError(f"{name} has shape {labels.shape}; need (n, labels) of 0 and 1")
    check_same_shape(true, pred)
    shares = check_weights(weights, len(true))
    shares = np.ones(len(true)) if shares is None else shares
    true, pred = true.astype(bool), pred.astype(bool)
    whole = shares @ true + shares @ pred
    scores = _divide(2 * (shares @ (true & pred)), whole)
    return float(np.average((true == pred).all(axis=1), weights=shares)), float(scores.mean())


def _averaged(
    place: int,
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    average: str | None,
    classes: int | None,
    weights: npt.ArrayLike | None,
) -> Any:
    """Return one of the three scores of `precision_recall_f1`, or a mean of it."""
    if average not in ("macro", "micro", "weighted", None):
        raise ValueError(f"average is {average!r}; need 'macro', 'micro', 'weighted' or None")
    true, pred, count, shares = _checked(y_true, y_pred, classes, weights)
    counts = _counts(true, pred, count, shares)
    return _average(_scores(counts)[place], average, counts)


def accuracy_and_macro_f1(
    true: Counts, pred: Counts, weights: npt.ArrayLike | None = None
) -> tuple[float, float]:
    """Return both scores of classes that are known to be int64 from 0, (n,)."""
    shares = check_weights(weights, len(true))
    counts = _counts(true, pred, int(max(true.max(), pred.max())) + 1, shares)
    if shares is None:
        right = counts[0].sum() / len(true)
    else:
        right = np.average(true == pred, weights=shares)
    return float(right), _average(_harmonic(counts), "macro", counts)


def _checked(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    classes: int | None,
    weights: npt.ArrayLike | None,
) -> tuple[Counts, Counts, int, Shares | None]:
    """Return true and predicted classes, the number of classes, and weights."""
    true, pred, text = check_pair(y_true, y_pred)
    if text and classes is not None:
        raise ValueError(
            f"classes is {classes!r}, but the labels are text, of which only those that occur are "
            "known; need None, or positions as labels"
        )
    least = int(max(true.max(), pred.max())) + 1
    count = least if classes is None else index(classes)
    if count < least:
        raise ValueError(f"classes is {count}; need {least} or more for the label {least - 1}")
    return true, pred, count, check_weights(weights, len(true))


def _pairs(true: Counts, pred: Counts, count: int, shares: Shares | None) -> Counts | Shares:
    """Return the confusion matrix."""
    pairs = np.bincount(true * count + pred, shares, minlength=count**2).reshape(count, count)
    return pairs.astype(np.int64, copy=False) if shares is None else pairs


def _margins(matrix: Any) -> _Margins:
    return np.diagonal(matrix), matrix.sum(axis=0), matrix.sum(axis=1)


def _counts(true: Counts, pred: Counts, count: int, shares: Shares | None) -> _Margins:
    """Count for each class how often it is found, predicted and true."""
    if count**2 <= len(true):  # one pass through the rows; with more classes the matrix is large
        return _margins(_pairs(true, pred, count, shares))
    right = true == pred
    hits = np.bincount(true[right], None if shares is None else shares[right], count)
    return hits, np.bincount(pred, shares, count), np.bincount(true, shares, count)


def _scores(counts: _Margins) -> tuple[Shares, Shares, Shares]:
    """Return precision, recall and F1 of each class."""
    hits, predicted, actual = counts
    return _divide(hits, predicted), _divide(hits, actual), _harmonic(counts)


def _harmonic(counts: _Margins) -> Shares:
    """Return the F1 of each class."""
    hits, predicted, actual = counts
    return _divide(2 * hits, predicted + actual)


def _average(scores: Shares, average: str | None, counts: _Margins) -> Any:
    """Return the scores of the classes, or a mean of them."""
    hits, predicted, actual = counts
    if average == "micro":
        return float(hits.sum() / actual.sum())
    if average is None:
        return scores
    weights = actual + predicted > 0 if average == "macro" else actual
    return float((scores * weights).sum() / weights.sum())


def _divide(part: Counts | Shares, whole: Counts | Shares) -> Shares:
    return np.divide(part, whole, out=np.zeros(len(whole)), where=whole > 0)
