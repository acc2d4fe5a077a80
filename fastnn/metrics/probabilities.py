"""Scores of the probabilities of classes."""

from __future__ import annotations

from operator import index
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fastnn.metrics.checks import Counts, Shares, check_classes, check_weights

_SLACK = 1e-3  # of probabilities, which may be rounded


class Calibration(NamedTuple):
    """Confidence and accuracy in bins of confidence.

    Attributes
    ----------
    confidence, accuracy : ndarray of float64, shape (bins,)
        Means over the samples of each bin; NaN for an empty bin.
    counts : ndarray of int64, or with weights float64, shape (bins,)
        Samples in each bin, or the sum of their weights.
    error : float
        Expected calibration error (Guo et al., 2017): the mean over the samples of the difference
        between accuracy and confidence of their bin.
    """

    confidence: Shares
    accuracy: Shares
    counts: Counts | Shares
    error: float


def winners(probabilities: npt.ArrayLike) -> tuple[Counts, Shares]:
    """Return the most probable class of each sample, the first of equal ones, and its probability.

    Parameters
    ----------
    probabilities : array_like, shape (n, classes)
        From 0 to 1. For two classes the probabilities of class 1 are enough, (n,) or (n, 1).

    Returns
    -------
    classes : ndarray of int64, shape (n,)
    confidence : ndarray of float64, shape (n,)
        The probabilities of these classes.

    Raises
    ------
    TypeError, ValueError
        If ``probabilities`` is not of numbers, or has another shape or range than described.
    """
    matrix = _check_probabilities(probabilities)
    return matrix.argmax(axis=1), matrix.max(axis=1).astype(np.float64)


def top_k_accuracy(
    y_true: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    k: int = 2,
    weights: npt.ArrayLike | None = None,
) -> float:
    """Return the share of samples whose true class is among the k most probable.

    Among equal probabilities the last class counts as more probable, and with a single column class
    0, as in scikit-learn.

    Parameters
    ----------
    y_true, weights : array_like, shape (n,)
        As in `metrics.accuracy`.
    probabilities : array_like, shape (n, classes)
        As in `winners`; rows need not sum to 1.
    k : int
        From 1 to the number of classes.

    Returns
    -------
    float
        From 0 to 1.

    Raises
    ------
    TypeError, ValueError
        As for `metrics.accuracy` and `winners`, or if a label or ``k`` is out of range, or the
        lengths differ.
    """
    true, matrix = _check_pair(y_true, probabilities)
    if not 1 <= (count := index(k)) <= matrix.shape[1]:
        raise ValueError(f"k is {count}; need 1 to {matrix.shape[1]}, the number of classes")
    own, classes = _of(matrix, true)[:, None], np.arange(matrix.shape[1])
    single = np.size(probabilities) == len(true)
    first = classes < true[:, None] if single else classes > true[:, None]
    larger = ((matrix > own) | ((matrix == own) & first)).sum(axis=1)
    return float(np.average(larger < count, weights=check_weights(weights, len(true))))


def log_loss(
    y_true: npt.ArrayLike, probabilities: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> float:
    """Return the mean of -log of the probability of the true class, the cross-entropy.

    Probabilities are clipped to between eps and 1 - eps of their dtype, as in scikit-learn.

    Parameters
    ----------
    y_true, weights : array_like, shape (n,)
        As in `metrics.accuracy`.
    probabilities : array_like, shape (n, classes)
        As in `winners`; each row sums to 1, within a thousandth.

    Returns
    -------
    float
        In nats, at least 0.

    Raises
    ------
    TypeError, ValueError
        As for `metrics.accuracy` and `winners`, or if a label is out of range, a row does not sum
        to 1, or the lengths differ.
    """
    true, matrix = _check_pair(y_true, probabilities)
    sums = matrix.sum(axis=1, dtype=np.float64)
    row = np.abs(sums - 1).argmax()
    if abs(sums[row] - 1) > _SLACK:
        raise ValueError(f"probabilities of row {row} sum to {sums[row]:g}; need 1")
    eps = np.finfo(matrix.dtype).eps
    own = np.clip(_of(matrix, true), eps, 1 - eps).astype(np.float64)
    return float(np.average(-np.log(own), weights=check_weights(weights, len(true))))


def calibration_bins(
    y_true: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    bins: int = 10,
    weights: npt.ArrayLike | None = None,
) -> Calibration:
    """Compare the accuracy with the confidence, the probability of the predicted class.

    Bins have equal widths and contain their upper ends (Guo et al., 2017).

    Parameters
    ----------
    y_true, weights : array_like, shape (n,)
        As in `metrics.accuracy`.
    probabilities : array_like, shape (n, classes)
        As in `winners`.
    bins : int
        Number of bins, at least 1.

    Returns
    -------
    Calibration

    Raises
    ------
    TypeError, ValueError
        As for `metrics.accuracy` and `winners`, or if a label is out of range, the lengths differ,
        or ``bins`` is not a positive integer.
    """
    true, matrix = _check_pair(y_true, probabilities)
    if (parts := index(bins)) < 1:
        raise ValueError(f"bins is {parts}; need 1 or more")
    shares = check_weights(weights, len(true))
    pred, confidence = winners(matrix)
    places = np.searchsorted(np.arange(1, parts) / parts, confidence)
    each = np.ones(len(true)) if shares is None else shares
    counts, confident, right = (
        np.bincount(places, each * of, parts) for of in (1, confidence, pred == true)
    )
    error = float(np.abs(confident - right).sum() / counts.sum())
    filled = np.where(counts > 0, counts, np.nan)
    if shares is None:
        counts = counts.astype(np.int64)
    return Calibration(confident / filled, right / filled, counts, error)


def _of(matrix: Shares, classes: Counts) -> Shares:
    return matrix[np.arange(len(classes)), classes]


def _check_pair(y_true: npt.ArrayLike, probabilities: npt.ArrayLike) -> tuple[Counts, Shares]:
    true, matrix = check_classes("y_true", y_true), _check_probabilities(probabilities)
    if len(true) != len(matrix):
        raise ValueError(f"probabilities has {len(matrix)} rows; need {len(true)}, as y_true")
    if true.max() >= matrix.shape[1]:
        raise ValueError(
            f"y_true holds {true.max()}; need 0 to {matrix.shape[1] - 1}, as probabilities are of "
            f"{matrix.shape[1]} classes"
        )
    return true, matrix


def _check_probabilities(probabilities: npt.ArrayLike) -> Shares:
    """Return probabilities as a matrix with two or more columns; float32 stays float32."""
    values = np.asarray(probabilities)
    if values.dtype.kind not in "biuf":
        raise TypeError(f"probabilities has dtype {values.dtype}; need numbers")
    if values.ndim not in (1, 2) or not values.size:
        raise ValueError(
            f"probabilities has shape {values.shape}; need (n, classes), or (n,) of two classes"
        )
    if not ((values >= -_SLACK) & (values <= 1 + _SLACK)).all():
        raise ValueError(f"probabilities holds {values.min():g} to {values.max():g}; need 0 to 1")
    matrix = values.reshape(len(values), -1)
    if matrix.dtype != np.float32:
        matrix = matrix.astype(np.float64, copy=False)
    return np.hstack([1 - matrix, matrix]) if matrix.shape[1] == 1 else matrix
