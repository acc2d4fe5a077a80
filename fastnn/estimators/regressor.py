"""The regressor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy.typing as npt
from sklearn.base import RegressorMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import _check_sample_weight, column_or_1d

from fastnn.activations import Array
from fastnn.estimators import members
from fastnn.estimators.base import MLP, is_stochastic
from fastnn.estimators.partial import is_finite, is_ordinary
from fastnn.losses import Loss, Quantile


@dataclass(eq=False, repr=False)
class MLPRegressor(RegressorMixin, MLP):
    """A multi-layer perceptron for regression.

    `fit` checks the parameters, as scikit-learn's estimators do.

    Parameters
    ----------
    loss : str, object or callable
        "squared_error", "poisson", "absolute_error", "huber", "quantile" (the median),
        ``fastnn.losses.Quantile(levels=...)`` or a function, see `fastnn.losses`. With several
        levels `predict` returns a column for each, y is one column, and `score` does not work.
    hidden_layer_sizes : int or sequence of int
        Units of each hidden layer.
    activation : str or sequence of str
        Activation of all hidden layers, or of each: "relu", "logistic", "tanh", "identity", or
        another one of `fastnn.Network`.
    solver : str or optimizer
        "adam", "sgd" (with ``momentum`` and ``nesterovs_momentum``), or another optimizer of
        `fastnn.Network.train`, a name or an object; or "lbfgs", which takes all rows in every step,
        see `fastnn.minimize`.
    alpha : float
        The L2 penalty is ``alpha / 2`` times the sum of the squared weights, divided by the rows of
        a batch or the sum of their weights.
    batch_size : int or "auto"
        "auto" is 200, or all rows if there are fewer.
    learning_rate : str, schedule or callable
        "constant"; for the solver "sgd" also "invscaling" and "adaptive"; or for any solver a
        schedule of `fastnn.Network.train`, such as "linear" or "cosine".
    learning_rate_init, power_t : float
        The initial learning rate, for every solver, and the exponent of "invscaling".
    max_iter, max_fun : int
        Largest number of epochs, or with "lbfgs" of iterations; ``max_fun`` limits those by the
        number of computations of the loss.
    shuffle : bool
        Shuffle the rows in every epoch.
    random_state : int, RandomState or None
        Seed of the initial weights, the order of the rows and dropout.
    tol, n_iter_no_change : float
        Training stops when the loss, or with ``early_stopping`` the validation score, has not
        improved by ``tol`` for more than ``n_iter_no_change`` epochs; with "lbfgs" when no element
        of the gradient is above ``tol``.
    verbose : bool
        Print a line per epoch.
    warm_start : bool
        ``fit`` continues from the last ``fit``.
    momentum, nesterovs_momentum, beta_1, beta_2, epsilon
        Settings of "sgd" and "adam".
    early_stopping, validation_fraction
        Set a share of the rows aside, and keep the parameters of the epoch with the best score;
        not with "lbfgs".
    init : str, callable or None
        As for `fastnn.Network`; None is as in scikit-learn, where biases start at random, too.
    l1, dropout, max_norm, clip_norm, clip_value, augment, backend, threads
        Additional parameters, as for `fastnn.Network` and `fastnn.Network.train`.
    precision : str, optional
        As for `fastnn.Network`: "bfloat16", "float32" or "float64", whose dtype the network then
        has. Default: the dtype of X. The solver "lbfgs" computes in float64 nevertheless.
    n_members : int
        Networks that are trained side by side and predict together, see `fastnn.Committee`. Each is
        an estimator of its own, with a seed from ``random_state``.

    Attributes
    ----------
    network_ : fastnn.Network
        The network itself, with ``predict_one``, ``summary``, ``activations`` and so on. Only with
        one member, as all that is of a single network, such as ``coefs_`` and ``loss_curve_``.
    committee_ : fastnn.Committee
        The networks of several members: ``committee_.predict(X, return_std=True)`` tells how far
        they differ.
    estimators_ : list
        Several members, each with ``network_``, ``coefs_``, ``loss_curve_`` and so on.
    coefs_, intercepts_ : list of ndarray
        Views of the network's weights and biases; items may be assigned.
    loss_curve_ : list of float
        The mean loss of each epoch with the penalty; not with "lbfgs".
    validation_scores_ : list of float or None
    loss_, best_loss_, best_validation_score_, n_iter_, t_, n_layers_, n_outputs_, out_activation_
        As in scikit-learn; ``n_iter_`` of several members is the largest.
    n_features_in_, feature_names_in_
        As in scikit-learn.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.estimators import MLPRegressor
    >>> X = np.linspace(-1, 1, 200)[:, None]
    >>> regressor = MLPRegressor(learning_rate_init=0.01, random_state=0).fit(X, X[:, 0] ** 2)
    >>> bool(regressor.score(X, X[:, 0] ** 2) > 0.9)
    True
    """

    loss: Loss = "squared_error"
    hidden_layer_sizes: int | Sequence[int] = (100,)
    activation: str | Sequence[str] = "relu"
    _: KW_ONLY

    def fit(
        self, X: npt.ArrayLike, y: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
    ) -> MLPRegressor:
        """Train a new network, or with ``warm_start`` continue training.

        Parameters
        ----------
        X : array, DataFrame or sparse matrix of shape (rows, features)
        y : array of shape (rows,) or (rows, outputs)
            Numbers; counts of 0 or more for the loss "poisson".
        sample_weight : array of shape (rows,), optional

        Returns
        -------
        MLPRegressor
            Itself.

        Raises
        ------
        TypeError, ValueError
            If the data or a parameter of the estimator are not as described, or training diverges.

        Warns
        -----
        ConvergenceWarning
            If it ended at a limit, or with a network of no use.
        UserWarning
            On Ctrl-C, which ends training; but "lbfgs" raises a `KeyboardInterrupt`.
        """
        return self._fit(X, y, sample_weight, partial=False)

    @available_if(is_stochastic)
    def partial_fit(
        self, X: npt.ArrayLike, y: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
    ) -> MLPRegressor:
        """Train one epoch on these rows; not with "lbfgs", for which there is no such method.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.

        Returns
        -------
        MLPRegressor
            Itself.

        Raises
        ------
        TypeError, ValueError
            As for `fit`.
        """
        return self._fit(X, y, sample_weight, partial=True)

    def _fit(self, X: Any, y: Any, sample_weight: Any, *, partial: bool) -> MLPRegressor:
        if partial and self._n_members() > 1:
            members.partial_fit(self, X, y, sample_weight)
            return self
        if partial and sample_weight is None and is_ordinary(self, X, y):
            Y = y[:, None] if y.ndim == self.n_outputs_ == 1 else y
            fitting = Y.shape[1:] == (self.n_outputs_,) and (y.ndim == 1 or self.n_outputs_ > 1)
            fitting = fitting and self.loss != "poisson" and is_finite(Y, self.network_)
            if fitting and self._learnt(X, Y):
                return self
        X, y = self._read(X, y, reset=not self._goes_on(partial=partial), y_numeric=True)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        weights = None if sample_weight is None else _check_sample_weight(sample_weight, X)
        output = "exponential" if self.loss == "poisson" else "identity"
        outputs = 1 if y.ndim == 1 else y.shape[1]
        if isinstance(self.loss, Quantile):
            outputs = len(self.loss.levels)
        self._train(X, y, weights, outputs, output, partial=partial)
        return self

    def predict(self, X: npt.ArrayLike) -> Array:
        """Return the predictions.

        Parameters
        ----------
        X : array, DataFrame or sparse matrix of shape (rows, features)

        Returns
        -------
        ndarray of shape (rows,) or (rows, outputs)
            Outputs, or several quantiles, which are sorted, in the dtype of the X of `fit`.

        Raises
        ------
        NotFittedError
            Before `fit`.
        TypeError, ValueError
            If X is not as described.
        DivergenceError
            If an output is not finite, because inputs or weights are too large.
        """
        self._check_fitted()
        outputs = self._predicts.predict(self._read(X))
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
