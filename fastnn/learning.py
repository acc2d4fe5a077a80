"""Learning from single rows, or a few, as they come: the part of `Network` that takes one step."""

from __future__ import annotations

import numpy.typing as npt

from fastnn.checks.keywords import suggesting
from fastnn.optimizers import Optimizer
from fastnn.predicting import Predicting
from fastnn.training import learning


class Learning(Predicting):
    """The part of `fastnn.Network` that takes one step at a time."""

    @suggesting
    def learn_one(
        self,
        x: npt.ArrayLike,
        y: object,
        learning_rate: float = 0.003,
        optimizer: str | Optimizer = "adam",
    ) -> float:
        """Take one step on a single row, in microseconds.

        For rows that come one by one. It has no history, and does not count in `epochs_trained`.
        The optimizer's state is that of `train`: both go on with it if it is of the same kind.

        Parameters
        ----------
        x : array of shape (features,)
            As for `predict_one`. A contiguous array of the network's dtype is fastest.
        y : int, str, float or array of shape (outputs,)
            The label of the row, a position or one of the network's `classes`; or its target, a
            number for a single output.
        learning_rate : float
            The rate of this step.
        optimizer : str or optimizer
            As for `train`.

        Returns
        -------
        float
            The loss of the row before the step.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described, or the network standardises and has not been
            trained.
        DivergenceError
            If the loss, or after the step a parameter or the optimizer's state is not finite. The
            network is as it was.
        RuntimeError
            If the network is being trained, by another thread or the run that calls a callback.

        Examples
        --------
        >>> import fastnn
        >>> net = fastnn.Network([2, 8, 1], output="identity", seed=0)
        >>> losses = [net.learn_one([i % 2, 1.0], i % 2, learning_rate=0.01) for i in range(300)]
        >>> losses[-1] < 0.01
        True
        """
        return learning.one(self.model, x, y, learning_rate, optimizer)

    @suggesting
    def learn_few(
        self,
        X: npt.ArrayLike,
        y: npt.ArrayLike,
        learning_rate: float = 0.003,
        optimizer: str | Optimizer = "adam",
    ) -> float:
        """Take one step on a few rows, which are one batch.

        Parameters
        ----------
        X, y : array
            As for `train`.
        learning_rate, optimizer
            As for `learn_one`.

        Returns
        -------
        float
            The mean loss of the rows before the step.

        Raises
        ------
        TypeError, ValueError, DivergenceError, RuntimeError
            As for `learn_one`.
        """
        return learning.few(self.model, X, y, learning_rate, optimizer)
