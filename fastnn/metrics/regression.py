"""Scores of predicted numbers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fastnn.metrics.checks import Counts, Shares, check_same_shape, check_weights

# Exponents of two below which squares neither overflow nor underflow.
SAFE = 200


def r2(y_true: npt.ArrayLike, y_pred: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> float:
    """Return the coefficient of determination R2.

    It is 1 minus the ratio of the squared errors to those of the mean.

    Parameters
    ----------
    y_true, y_pred : array_like of numbers, shape (n,) or (n, outputs)
    weights : array_like, shape (n,), optional
        As in `metrics.accuracy`.

    Returns
    -------
    float
        At most 1: the mean over the outputs. A constant output has 1 if all errors are 0, else 0.

    Raises
    ------
    TypeError, ValueError
        If the arrays are not of finite numbers, are empty, or differ in shape; if the weights are
        not as described.
    """
    true, pred, shares = _check_numbers(y_true, y_pred, weights)
    return _r2(true, _mean_square(true - pred, shares), shares)


def mae(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> float:
    """Return the mean absolute error over samples and outputs.

    Parameters
    ----------
    y_true, y_pred, weights
        As in `r2`.

    Returns
    -------
    float
        At least 0.

    Raises
    ------
    TypeError, ValueError
        As for `r2`.
    """
    true, pred, shares = _check_numbers(y_true, y_pred, weights)
    return float(np.average(np.abs(true - pred), axis=0, weights=shares).mean())


def rmse(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> float:
    """Return the square root of the mean squared error, averaged over the outputs.

    Parameters
    ----------
    y_true, y_pred, weights
        As in `r2`.

    Returns
    -------
    float
        At least 0.

    Raises
    ------
    TypeError, ValueError
        As for `r2`.
    """
    true, pred, shares = _check_numbers(y_true, y_pred, weights)
    return _rmse(_mean_square(true - pred, shares))


def r2_mae_rmse(
    true: npt.ArrayLike, pred: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> tuple[float, float, float]:
    """Return the three scores, for which the numbers are checked and subtracted once."""
    true, pred, shares = _check_numbers(true, pred, weights)
    errors = true - pred
    squares = _mean_square(errors, shares)
    np.abs(errors, out=errors)
    mean = float(np.average(errors, axis=0, weights=shares).mean())
    return _r2(true, squares, shares), mean, _rmse(squares)


def _r2(true: Shares, squares: tuple[Shares, Counts], shares: Shares | None) -> float:
    """Return R2, given the mean square of the errors as `_mean_square` returns it."""
    errors, of_errors = squares
    # Relative to a row whose weight is not 0, so that a constant has a spread of exactly 0.
    true = true - true[0 if shares is None else shares.argmax()]
    spread, of_spread = _mean_square(true - np.average(true, axis=0, weights=shares), shares)
    ratio = np.divide(errors, spread, out=(errors > 0) * 1.0, where=spread > 0)
    with np.errstate(over="ignore"):  # the ratio may be too large for a float
        ratio = np.ldexp(ratio, np.where(spread > 0, 2 * (of_errors - of_spread), 0))
    return float((1 - ratio).mean())


def _rmse(squares: tuple[Shares, Counts]) -> float:
    square, exponent = squares
    return float(np.ldexp(np.sqrt(square), exponent).mean())


def _mean_square(x: Shares, shares: Shares | None) -> tuple[Shares, Counts]:
    """Return m and e of each column, whose mean square is ``m 4^e``, without over- or underflow."""
    exponent = np.frexp(np.maximum(x.max(axis=0), -x.min(axis=0)))[1]
    if np.abs(exponent).max() < SAFE:
        return np.average(x**2, axis=0, weights=shares), np.zeros_like(exponent)
    return np.average(np.ldexp(x, -exponent) ** 2, axis=0, weights=shares), exponent


def _check_numbers(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, weights: npt.ArrayLike | None
) -> tuple[Shares, Shares, Shares | None]:
    true, pred = np.asarray(y_true), np.asarray(y_pred)
    for name, values in (("y_true", true), ("y_pred", pred)):
        if values.dtype.kind not in "biuf":
            raise TypeError(f"{name} has dtype {values.dtype}; need numbers")
        if values.ndim not in (1, 2) or not values.size:
            raise ValueError(f"{name} has shape {values.shape}; need (n,) or (n, outputs)")
        if not np.isfinite(values).all():
            raise ValueError(f"{name} must be finite")
    check_same_shape(true, pred)
    shares = check_weights(weights, len(true))
    rows = (len(true), -1)
    return true.reshape(rows).astype(np.float64), pred.reshape(rows).astype(np.float64), shares
