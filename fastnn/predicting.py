"""Predictions: the part of `Network` that takes rows without targets."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
from numpy import empty

from fastnn.activations import Array
from fastnn.backends.contract import FINE
from fastnn.checks import data as check_data
from fastnn.checks import networks as check_network
from fastnn.checks.data import ARRAYS
from fastnn.inspectable import Inspectable
from fastnn.training import evaluation


class Predicting(Inspectable):
    """The part of `fastnn.Network` that predicts."""

    def predict_proba(self, X: npt.ArrayLike) -> Array:
        """Return the outputs of the last layer.

        Parameters
        ----------
        X : array of shape (rows, features)
            As for `train`.

        Returns
        -------
        ndarray of shape (rows, outputs)
            In the network's dtype: probabilities of the classes (softmax), independent
            probabilities (sigmoid), numbers (identity) or rates (exponential). Quantiles are
            sorted.

        Raises
        ------
        TypeError, ValueError
            If X is not as described.
        DivergenceError
            If an output is not finite, because inputs or weights are too large.
        """
        return evaluation.outputs(self.model, "X", X)

    def predict_one(self, x: npt.ArrayLike, out: Array | None = None) -> Array:
        """Return the outputs for a single row, in microseconds and without threads.

        Parameters
        ----------
        x : array of shape (features,)
            As a row for `train`. A contiguous array of the network's dtype is fastest.
        out : ndarray of shape (outputs,), optional
            Array to write the outputs to: contiguous, in the network's dtype.

        Returns
        -------
        ndarray of shape (outputs,)
            ``out``, or a new array. The numbers are those of `predict_proba`, but an output that is
            not finite is returned, not refused.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described.
        """
        model = self.model
        single, dtype, outputs = model.prepared.get("single") or evaluation.single(model)
        row: Any = x
        # The compiled function looks at the lengths only.
        if not (type(row) in ARRAYS and row.ndim == 1 and row.dtype == dtype and row.flags.carray):
            x = check_data.single_row("x", x, model.architecture, model.features)
            row = check_data.converted(x, dtype)
        if out is None:
            out = empty(outputs, dtype)
        else:
            check_data.writable_row("out", out, outputs, dtype)
        if single(row, out) != FINE:
            x = check_data.single_row("x", x, model.architecture, model.features)
            check_data.readable("x", x.reshape(1, -1), model.architecture)
        if model.target_scaler is not None:
            evaluation.restore_targets(model, out)
        return out

    def predict(self, X: npt.ArrayLike, threshold: float | None = None) -> Array:
        """Return predictions: classes, labels or numbers.

        Parameters
        ----------
        X : array of shape (rows, features)
            As for `train`.
        threshold : float, optional
            With sigmoids, return all labels whose probability is above it.

        Returns
        -------
        ndarray
            With softmax or sigmoid the class of each row, (rows,): its name, or its position as
            int64 if the network has no `classes`. It is that of the largest output, or for a single
            output depends on whether it is above 0.5. With a threshold and several outputs 0 or 1
            for each label, int64 (rows, outputs). With identity or exponential the outputs (rows,
            outputs).

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described, or there is a threshold but no sigmoid.
        DivergenceError
            As for `predict_proba`.
        """
        if threshold is not None:
            check_network.threshold(threshold, self.architecture)
        return evaluation.decided(self.model, self.predict_proba(X), threshold)
