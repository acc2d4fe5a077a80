"""The classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import ClassifierMixin
from sklearn.utils import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import _check_sample_weight, column_or_1d

from fastnn.activations import Array
from fastnn.estimators import members
from fastnn.estimators.base import MLP, is_stochastic
from fastnn.estimators.partial import is_ordinary
from fastnn.losses import Loss


@dataclass(eq=False, repr=False)
class MLPClassifier(ClassifierMixin, MLP):
    """A multi-layer perceptron for classification.

    Rows have one label, a number or a string, or 0 or 1 for each of several labels. `fit` checks
    the parameters, as scikit-learn's estimators do.

    Parameters
    ----------
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
    loss : str, object or callable
        "log_loss", or another loss of `fastnn.Network`, such as "focal".
    class_weight : "balanced" or mapping, optional
        Weights of the classes, 1 for classes that a mapping leaves out. They are multiplied with
        the weights of the rows.
    init : str, callable or None
        As for `fastnn.Network`; None is as in scikit-learn, where biases start at random, too.
    l1, dropout, max_norm, clip_norm, clip_value, augment, backend, threads, label_smoothing
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
    classes_ : ndarray
        The classes, sorted; for several labels their numbers.
    loss_curve_ : list of float
        The mean loss of each epoch with the penalty; not with "lbfgs".
    validation_scores_ : list of float or None
    loss_, best_loss_, best_validation_score_, n_iter_, t_, n_layers_, n_outputs_, out_activation_
        As in scikit-learn; ``n_iter_`` of several members is the largest.
    n_features_in_, feature_names_in_
        As in scikit-learn.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastnn.estimators import MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> classifier = MLPClassifier(learning_rate_init=0.01, random_state=0).fit(X, y)
    >>> bool(classifier.score(X, y) > 0.95)
    True
    """

    hidden_layer_sizes: int | Sequence[int] = (100,)
    activation: str | Sequence[str] = "relu"
    _: KW_ONLY
    loss: Loss = "log_loss"
    label_smoothing: float = 0.0
    class_weight: str | Mapping[Any, float] | None = None
    classes_: Array = field(init=False)

    def fit(
        self, X: npt.ArrayLike, y: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
    ) -> MLPClassifier:
        """Train a new network, or with ``warm_start`` continue training.

        Parameters
        ----------
        X : array, DataFrame or sparse matrix of shape (rows, features)
        y : array of shape (rows,) or (rows, labels)
            Classes, numbers or strings; or 0 or 1 for each of several labels.
        sample_weight : array of shape (rows,), optional

        Returns
        -------
        MLPClassifier
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
        return self._fit(X, y, sample_weight, None, partial=False)

    @available_if(is_stochastic)
    def partial_fit(
        self,
        X: npt.ArrayLike,
        y: npt.ArrayLike,
        sample_weight: npt.ArrayLike | None = None,
        classes: npt.ArrayLike | None = None,
    ) -> MLPClassifier:
        """Train one epoch on these rows; not with "lbfgs", for which there is no such method.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.
        classes : array, optional
            All classes, those of later calls included; required in the first call.

        Returns
        -------
        MLPClassifier
            Itself.

        Raises
        ------
        TypeError, ValueError
            As for `fit`, or if y holds other classes than ``classes``.
        """
        return self._fit(X, y, sample_weight, classes, partial=True)

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, classes: Any, *, partial: bool
    ) -> MLPClassifier:
        if partial and self._n_members() > 1:
            members.partial_fit(self, X, y, sample_weight, classes)
            return self
        if partial and sample_weight is None and is_ordinary(self, X, y):
            Y = self._ordinary_targets(y, classes)
            if Y is not None and self._learnt(X, Y):
                return self
        goes_on = self._goes_on(partial=partial)
        X, y = self._read(X, y, reset=not goes_on)
        check_classification_targets(y)
        y = y if isinstance(y, np.ndarray) else y.toarray()
        several = type_of_target(y).startswith("multilabel")
        if not several:
            y = column_or_1d(y, warn=True)
        known = np.arange(y.shape[1]) if several else np.unique(y)
        if partial and not goes_on and classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        if partial and classes is not None:
            known = np.unique(classes)
            if goes_on and not np.array_equal(known, self.classes_):
                raise ValueError(
                    f"`classes={classes!r}` is not the same as on last call to partial_fit, was: "
                    f"{self.classes_!r}"
                )
        if goes_on and not partial and not np.array_equal(known, self.classes_):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous "
                f"call to fit. Previously got {self.classes_}, `y` has {known}"
            )
        if not goes_on:
            self.classes_ = known
        weights = None if sample_weight is None else _check_sample_weight(sample_weight, X)
        if self.class_weight is not None:
            by_class = compute_sample_weight(self.class_weight, y)
            weights = by_class if weights is None else weights * by_class
        if not several:
            y = self._codes(y)
        outputs = len(self.classes_) if several or len(self.classes_) > 2 else 1
        output = "softmax" if outputs > 1 and not several else "sigmoid"
        self._train(
            X,
            y,
            weights,
            outputs,
            output,
            partial=partial,
            labels=None if several else y,
            label_smoothing=self.label_smoothing,
        )
        return self

    def _ordinary_targets(self, y: Array, classes: Any) -> Array | None:
        """Return y as a backend reads it if these are plainly the known classes, else None."""
        known = self.classes_
        if y.ndim != 1 or y.dtype.kind not in "iU" or y.dtype.kind != known.dtype.kind:
            return None
        if self._several or len(known) < 2:
            return None
        if classes is not None and not np.array_equal(np.unique(classes), known):
            return None
        codes = np.minimum(np.searchsorted(known, y), len(known) - 1)
        if not (known[codes] == y).all():
            return None
        if len(known) > 2:
            return codes
        return codes.astype(self.network_.architecture.dtype)[:, None]

    def _codes(self, y: Array) -> Array:
        """Return the position of each class in ``classes_``."""
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. "
                f"'y' has {unknown}."
            )
        return np.searchsorted(self.classes_, y)

    def predict(self, X: npt.ArrayLike) -> Array:
        """Return the class of each row.

        Parameters
        ----------
        X : array, DataFrame or sparse matrix of shape (rows, features)

        Returns
        -------
        ndarray of shape (rows,) or (rows, labels)
            Classes as in y; for several labels 0 or 1 for each.

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
        X = self._read(X)
        if self._several:
            return self._predicts.predict(X, threshold=0.5)
        # With a single class the outputs do not matter.
        return self.classes_[np.minimum(self._predicts.predict(X), len(self.classes_) - 1)]

    def predict_proba(self, X: npt.ArrayLike) -> Array:
        """Return the probability of each class.

        Parameters
        ----------
        X : array, DataFrame or sparse matrix of shape (rows, features)

        Returns
        -------
        ndarray of shape (rows, classes)
            In the order of ``classes_``.

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
        outputs = self._predicts.predict_proba(self._read(X))
        if outputs.shape[1] > 1 or self._several:
            return outputs
        if len(self.classes_) == 1:
            return np.ones_like(outputs)
        return np.hstack([1 - outputs, outputs])

    def predict_log_proba(self, X: npt.ArrayLike) -> Array:
        """Return the logarithm of the probability of each class.

        Parameters
        ----------
        X : array, DataFrame or sparse matrix of shape (rows, features)

        Returns
        -------
        ndarray of shape (rows, classes)
            In the order of ``classes_``.

        Raises
        ------
        NotFittedError, TypeError, ValueError, DivergenceError
            As for `predict_proba`.
        """
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    @property
    def _several(self) -> bool:
        """Whether rows have several labels."""
        return self.out_activation_ == "logistic" and self.n_outputs_ == len(self.classes_) > 1

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
