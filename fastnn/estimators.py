"""Estimators for scikit-learn: `MLPClassifier` and `MLPRegressor`, thin fronts of `Network`.

Their parameters have scikit-learn's names, meanings and defaults, so that changing an import is
enough; those that scikit-learn does not have follow after them. docs/estimators.md lists what is
different. Most of the lines are the docstrings.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from fastnn import schedules
from fastnn import validation as check
from fastnn.activations import Array
from fastnn.history import Row
from fastnn.loop import DivergenceError
from fastnn.losses import Custom
from fastnn.network import Network
from fastnn.optimizers import OPTIMIZERS, SGD, Adam, Optimizer, named
from fastnn.parameters import Initialiser
from fastnn.schedules import Schedule

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import train_test_split
    from sklearn.utils import check_random_state, compute_sample_weight
    from sklearn.utils.multiclass import check_classification_targets, type_of_target
    from sklearn.utils.validation import (
        _check_sample_weight,
        check_is_fitted,
        column_or_1d,
        validate_data,
    )
except ImportError as error:
    raise ImportError(
        "fastnn.estimators needs scikit-learn 1.7 or later: pip install 'fastnn-cpu[sklearn]'"
    ) from error

ACTIVATIONS = {"logistic": "sigmoid"}
LOSSES = {"log_loss": None, "squared_error": "mse", "absolute_error": "mae"}
SCHEDULES = ("constant", "invscaling", "adaptive")


@dataclass(eq=False, repr=False)
class _MLP(BaseEstimator):
    """What both estimators share: from their parameters to a network, and its training."""

    hidden_layer_sizes: int | Sequence[int] = (100,)
    activation: str | Sequence[str] = "relu"
    _: KW_ONLY
    solver: str | Optimizer = "adam"
    alpha: float = 0.0001
    batch_size: int | str = "auto"
    learning_rate: str | Schedule | Callable[[float], float] = "constant"
    learning_rate_init: float = 0.001
    power_t: float = 0.5
    max_iter: int = 200
    shuffle: bool = True
    random_state: int | np.random.RandomState | None = None
    tol: float = 1e-4
    verbose: bool | int = False
    warm_start: bool = False
    momentum: float = 0.9
    nesterovs_momentum: bool = True
    early_stopping: bool = False
    validation_fraction: float = 0.1
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    n_iter_no_change: float = 10
    init: str | Initialiser = "glorot"
    l1: float = 0.0
    dropout: float | Sequence[float] = 0.0
    max_norm: float | None = None
    clip_norm: float | None = None
    clip_value: float | None = None
    backend: str = "numba"
    threads: int | None = None
    network_: Network = field(init=False)

    @property
    def coefs_(self) -> list[Array]:
        """The weights of each layer, (fan_in, fan_out); views of those of ``network_``."""
        return list(self.network_.weights)

    @property
    def intercepts_(self) -> list[Array]:
        """The biases of each layer, (fan_out,); views of those of ``network_``."""
        return list(self.network_.biases)

    @property
    def n_layers_(self) -> int:
        """The number of layers, inputs and outputs included."""
        return len(self.network_.architecture.sizes)

    @property
    def n_outputs_(self) -> int:
        """The number of outputs."""
        return self.network_.architecture.sizes[-1]

    @property
    def out_activation_(self) -> str:
        """The activation of the last layer, as scikit-learn calls it."""
        name = self.network_.architecture.activations[-1]
        return {"sigmoid": "logistic", "exponential": "exp"}.get(name, name)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _read(self, X: Any, *others: Any, **options: Any) -> Any:
        """Return X, and y if it is passed, as scikit-learn checks them; sparse becomes dense."""
        options = {"accept_sparse": ("csr", "csc"), "dtype": (np.float64, np.float32), **options}
        if others:
            X, y = validate_data(self, X, *others, multi_output=True, **options)
        else:
            X = validate_data(self, X, reset=False, **options)
        X = X if isinstance(X, np.ndarray) else X.toarray()
        return (X, y) if others else X

    def _goes_on(self, *, partial: bool) -> bool:
        return hasattr(self, "network_") and (partial or bool(self.warm_start))

    def _sizes(self, X: Array, outputs: int) -> list[int]:
        hidden = self.hidden_layer_sizes
        hidden = list(hidden) if np.iterable(hidden) else [hidden]
        units = [check.integer(f"hidden_layer_sizes[{i}]", n, 1) for i, n in enumerate(hidden)]
        return [X.shape[1], *units, outputs]

    def _network(self, X: Array, outputs: int, output: str, seed: int) -> Network:
        """Return a new network for data with so many outputs."""
        loss, names = self.loss, self.activation
        if isinstance(names, str):
            names = [names] * (len(self._sizes(X, outputs)) - 2)
        return Network(
            self._sizes(X, outputs),
            [ACTIVATIONS.get(name, name) for name in names],
            output,
            LOSSES.get(loss, loss),
            self.init,
            seed,
            X.dtype,
            self.backend,
            self.threads,
        )

    def _train(
        self,
        X: Array,
        y: Array,
        weights: Array | None,
        outputs: int,
        output: str,
        *,
        partial: bool,
        stratify: Array | None = None,
        **options: Any,
    ) -> None:
        """Build a network unless it goes on, and train it, for one epoch if ``partial``."""
        max_iter = check.integer("max_iter", self.max_iter, 1)
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        fresh = not self._goes_on(partial=partial)
        network = self._network(X, outputs, output, seed) if fresh else self.network_
        if list(network.architecture.sizes) != self._sizes(X, outputs):
            raise ValueError(
                f"hidden_layer_sizes is {self.hidden_layer_sizes}, but training goes on with a "
                f"network of sizes {list(network.architecture.sizes)}"
            )
        held_out = None
        if self.early_stopping:
            if partial:
                raise ValueError("partial_fit does not support early_stopping=True")
            X, y, weights, held_out = self._split(X, y, weights, seed, stratify)
        watched = bool(self.early_stopping)
        if fresh or watched == (self.validation_scores_ is None):
            self.t_ = self._no_improvement_count = 0
            self.loss_curve_: list[float] = []
            self.validation_scores_: Any = [] if watched else None
            self.best_loss_: Any = None if watched else np.inf
            self.best_validation_score_: Any = -np.inf if watched else None
        self.n_iter_ = 0
        batch = self._batch(len(X))
        slope = _slope(network)
        rate = check.real("learning_rate_init", self.learning_rate_init, above=0)
        if isinstance(named(self._optimizer()), SGD):  # a step is in proportion to the gradient
            rate /= slope
        # scikit-learn divides the penalty by the rows of a batch, or by the sum of their weights.
        mean_weight = 1.0 if weights is None else float(weights.mean())
        if mean_weight == 0:
            raise ValueError("sample_weight must not all be 0")
        penalty = check.real("alpha", self.alpha, least=0) / (batch * mean_weight)
        progress = _Progress(self, network, len(X), penalty)
        try:
            network.train(
                X,
                y,
                1 if partial else max_iter,
                batch,
                rate,
                slope * penalty,
                held_out,
                bool(self.shuffle),
                self._schedule(progress),
                progress=False,
                callbacks=[progress],
                optimizer=self._optimizer(),
                l1=slope * check.real("l1", self.l1, least=0),
                dropout=self.dropout,
                max_norm=self.max_norm,
                clip_norm=self.clip_norm,
                clip_value=self.clip_value,
                sample_weight=weights,
                **options,
            )
        except DivergenceError as error:
            if progress.best is None:
                raise ValueError(
                    "Solver produced non-finite parameter weights. The input data may contain "
                    f"large values and need to be preprocessed. {error}"
                ) from error
            self.n_iter_ += 1
            self.loss_curve_.append(np.nan)
            self.validation_scores_.append(np.nan)
            warnings.warn(f"the best epoch is kept: {error}", ConvergenceWarning, stacklevel=4)
        else:
            if not partial and self.n_iter_ == max_iter:
                warnings.warn(
                    f"Stochastic Optimizer: Maximum iterations ({max_iter}) reached and the "
                    "optimization hasn't converged yet.",
                    ConvergenceWarning,
                    stacklevel=4,
                )
        if progress.best is not None:
            network.parameters[:] = progress.best
        self.network_ = network

    def _split(
        self, X: Array, y: Array, weights: Array | None, seed: int, stratify: Array | None
    ) -> tuple[Array, Array, Array | None, tuple[Array, ...]]:
        """Set rows aside for early stopping."""
        share = check.real("validation_fraction", self.validation_fraction, above=0, below=1)
        arrays = [X, y] if weights is None else [X, y, weights]
        parts = train_test_split(*arrays, test_size=share, random_state=seed, stratify=stratify)
        kept, held_out = parts[::2], tuple(parts[1::2])
        if len(held_out[0]) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of "
                f"your dataset; got {len(X)} rows and {share:g}"
            )
        return kept[0], kept[1], None if weights is None else kept[2], held_out

    def _batch(self, rows: int) -> int:
        if isinstance(self.batch_size, str):
            check.one_of("batch_size", self.batch_size, ("auto",))
            return min(200, rows)
        batch = check.integer("batch_size", self.batch_size, 1)
        if batch > rows:
            warnings.warn(
                f"batch_size is {batch}, more than the {rows} rows; it is clipped", stacklevel=5
            )
        return min(batch, rows)

    def _optimizer(self) -> str | Optimizer:
        if self.solver == "sgd":
            nesterov = bool(self.nesterovs_momentum) and self.momentum > 0
            return SGD(momentum=self.momentum, nesterov=nesterov)
        if self.solver == "adam":
            return Adam(beta1=self.beta_1, beta2=self.beta_2, epsilon=self.epsilon)
        if self.solver == "lbfgs":
            raise ValueError("solver must be a stochastic one, such as 'adam'; got 'lbfgs'")
        if isinstance(self.solver, str):
            check.one_of("solver", self.solver, OPTIMIZERS)
        return self.solver

    def _schedule(self, progress: _Progress) -> str | Schedule | Callable[[float], float]:
        if not isinstance(self.learning_rate, str):
            return self.learning_rate
        check.one_of("learning_rate", self.learning_rate, {*SCHEDULES, *schedules.SCHEDULES})
        return progress.factor if self.learning_rate in SCHEDULES else self.learning_rate


def _slope(network: Network) -> float:
    """Return the gradient of the network's loss, relative to that of scikit-learn's."""
    a = network.architecture
    return 2 / a.sizes[-1] if a.loss == "mse" else 1.0


class _Progress:
    """Follows training as scikit-learn does: when to stop, when to lower the rate, what is best.

    It is a callback and, by ``factor``, a schedule.
    """

    def __init__(self, estimator: _MLP, network: Network, rows: int, penalty: float) -> None:
        self.estimator = estimator
        self.network = network
        self.rows = rows
        self.penalty = penalty
        self.best: Array | None = None
        if estimator.best_validation_score_ not in (None, -np.inf):  # of the fit before
            self.best = network.parameters.copy()
        self.reduction = 1.0
        self.patience = check.real(
            "n_iter_no_change", min(estimator.n_iter_no_change, 1e300), least=1
        )
        self.tol = check.real("tol", estimator.tol, least=0)
        self.power = check.real("power_t", estimator.power_t)
        self.kind = estimator.learning_rate if estimator.solver == "sgd" else "constant"

    def factor(self, _: float) -> float:
        """Return what the initial learning rate is multiplied by, the same for a whole epoch."""
        if self.kind == "invscaling":
            return float((self.estimator.t_ + 1) ** -self.power)
        return self.reduction

    def __call__(self, row: Row) -> str | None:
        """Take note of an epoch; return "stop" if it is to be the last."""
        estimator = self.estimator
        estimator.n_iter_ += 1
        estimator.t_ += self.rows
        halved = self.network.architecture.loss == "mse"  # scikit-learn's is half of it
        with np.errstate(over="ignore"):
            squares = sum(float((weights**2).sum()) for weights in self.network.weights)
        estimator.loss_ = row["loss"] / (1 + halved) + self.penalty / 2 * squares
        estimator.loss_curve_.append(estimator.loss_)
        text = f"Iteration {estimator.n_iter_}, loss = {estimator.loss_:.8f}"
        if estimator.validation_scores_ is None:
            value, best = -estimator.loss_, -estimator.best_loss_
            estimator.best_loss_ = -max(value, best)
        else:
            value = row.get("validation_accuracy", row.get("validation_r2", -row["loss"]))
            text += f", validation score = {value:.6f}"
            estimator.validation_scores_.append(value)
            best = estimator.best_validation_score_
            if value > best:
                self.best = self.network.parameters.copy()
                estimator.best_validation_score_ = value
        if estimator.verbose:
            print(text)
        worse = value < best + self.tol
        estimator._no_improvement_count = estimator._no_improvement_count + 1 if worse else 0
        if estimator._no_improvement_count <= self.patience:
            return None
        if self.kind == "adaptive" and estimator.learning_rate_init * self.reduction > 1e-6:
            self.reduction /= 5
            estimator._no_improvement_count = 0
            return None
        return "stop"


@dataclass(eq=False, repr=False)
class MLPClassifier(ClassifierMixin, _MLP):
    """A multi-layer perceptron that classifies.

    One label a row, of numbers or strings, or a 0 or 1 for each of several labels.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int
        Units of the hidden layers.
    activation : str or sequence of str
        Of all hidden layers or of each: "relu", "logistic", "tanh", "identity", or another of
        `fastnn.Network`.
    solver : str or optimizer
        "adam", or "sgd" with ``momentum`` and ``nesterovs_momentum``, or another optimizer of
        `fastnn.Network.train`, by name or with numbers of its own. "lbfgs" is not offered.
    alpha : float
        The L2 penalty is ``alpha / 2`` times the sum of the squared weights, divided by the rows of
        a batch or the sum of their weights.
    batch_size : int or "auto"
        "auto" is 200, or all rows if they are fewer.
    learning_rate : str, schedule or callable
        "constant"; with the solver "sgd" also "invscaling" and "adaptive"; or a schedule of
        `fastnn.Network.train`, such as "linear" or "cosine", with any solver.
    learning_rate_init, power_t : float
        Whatever the solver, the rate starts at ``learning_rate_init``.
    max_iter : int
        The most epochs.
    shuffle : bool
    random_state : int, RandomState or None
    tol, n_iter_no_change : float
        Training ends when the loss, or with ``early_stopping`` the validation score, has not become
        better by ``tol`` for more than ``n_iter_no_change`` epochs.
    verbose : bool
        Print a line an epoch.
    warm_start : bool
        Let ``fit`` go on where the last one ended.
    momentum, nesterovs_momentum, beta_1, beta_2, epsilon
        Of "sgd" and of "adam".
    early_stopping, validation_fraction
        Set rows aside, of each class the same share, and keep the epoch with the best score.
    loss : str or callable
        "log_loss", or another of `fastnn.Network`.
    class_weight : "balanced" or mapping, optional
        From classes to weights, 1 where none is given; times the weights of the rows.
    init, l1, dropout, max_norm, clip_norm, clip_value, backend, threads, label_smoothing
        Not in scikit-learn: as for `fastnn.Network` and `fastnn.Network.train`.

    Attributes
    ----------
    network_ : fastnn.Network
        Everything else that a network can do: ``predict_one``, ``summary``, ``activations`` ...
    coefs_, intercepts_ : list of ndarray
        Views of the network's weights and biases.
    classes_ : ndarray
    loss_curve_ : list of float
        The mean loss of each epoch, with the penalty at its end.
    validation_scores_ : list of float or None
    loss_, best_loss_, best_validation_score_, n_iter_, t_, n_layers_, n_outputs_, out_activation_
        As in scikit-learn.
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

    _: KW_ONLY
    loss: str | Custom = "log_loss"
    label_smoothing: float = 0.0
    class_weight: str | Mapping[Any, float] | None = None
    classes_: Array = field(init=False)

    def fit(
        self, X: npt.ArrayLike, y: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
    ) -> MLPClassifier:
        """Train from the start, or with ``warm_start`` go on.

        Parameters
        ----------
        X : array, DataFrame or sparse matrix of shape (rows, features)
        y : array of shape (rows,) or (rows, labels)
            Classes: numbers or strings. Or a 0 or 1 for each of several labels a row.
        sample_weight : array of shape (rows,), optional

        Returns
        -------
        MLPClassifier
            Itself.

        Raises
        ------
        ValueError, TypeError
            If data or a parameter are not as described, or if training diverges.
        """
        return self._fit(X, y, sample_weight, None, partial=False)

    def partial_fit(
        self,
        X: npt.ArrayLike,
        y: npt.ArrayLike,
        sample_weight: npt.ArrayLike | None = None,
        classes: npt.ArrayLike | None = None,
    ) -> MLPClassifier:
        """Go on for one epoch over these rows.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.
        classes : array, optional
            All classes that there will be; needed in the first call.

        Returns
        -------
        MLPClassifier
            Itself.

        Raises
        ------
        ValueError, TypeError
            As for `fit`; if y holds a class that ``classes`` did not.
        """
        return self._fit(X, y, sample_weight, classes, partial=True)

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, classes: Any, *, partial: bool
    ) -> MLPClassifier:
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
        stratify = None if several else y
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
            stratify=stratify,
            label_smoothing=self.label_smoothing,
        )
        return self

    def _codes(self, y: Array) -> Array:
        """Return the place of each class in ``classes_``."""
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
            Classes as in y; of several labels a row, a 0 or 1 for each.
        """
        check_is_fitted(self, "network_")
        X = self._read(X)
        if self._several:
            return self.network_.predict(X, threshold=0.5)
        # Of a single class, what the network says does not matter.
        return self.classes_[np.minimum(self.network_.predict(X), len(self.classes_) - 1)]

    def predict_proba(self, X: npt.ArrayLike) -> Array:
        """Return the probability of each class.

        Parameters
        ----------
        X : array, DataFrame or sparse matrix of shape (rows, features)

        Returns
        -------
        ndarray of shape (rows, classes)
            Classes are in the order of ``classes_``.
        """
        check_is_fitted(self, "network_")
        outputs = self.network_.predict_proba(self._read(X))
        if outputs.shape[1] > 1 or self._several:
            return outputs
        if len(self.classes_) == 1:
            return np.ones_like(outputs)
        return np.hstack([1 - outputs, outputs])

    def predict_log_proba(self, X: npt.ArrayLike) -> Array:
        """Return the logarithm of the probability of each class; see `predict_proba`."""
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


@dataclass(eq=False, repr=False)
class MLPRegressor(RegressorMixin, _MLP):
    """A multi-layer perceptron that predicts numbers.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int
        Units of the hidden layers.
    activation : str or sequence of str
        Of all hidden layers or of each: "relu", "logistic", "tanh", "identity", or another of
        `fastnn.Network`.
    solver : str or optimizer
        "adam", or "sgd" with ``momentum`` and ``nesterovs_momentum``, or another optimizer of
        `fastnn.Network.train`, by name or with numbers of its own. "lbfgs" is not offered.
    alpha : float
        The L2 penalty is ``alpha / 2`` times the sum of the squared weights, divided by the rows of
        a batch or the sum of their weights.
    batch_size : int or "auto"
        "auto" is 200, or all rows if they are fewer.
    learning_rate : str, schedule or callable
        "constant"; with the solver "sgd" also "invscaling" and "adaptive"; or a schedule of
        `fastnn.Network.train`, such as "linear" or "cosine", with any solver.
    learning_rate_init, power_t : float
        Whatever the solver, the rate starts at ``learning_rate_init``.
    max_iter : int
        The most epochs.
    shuffle : bool
    random_state : int, RandomState or None
    tol, n_iter_no_change : float
        Training ends when the loss, or with ``early_stopping`` the validation score, has not become
        better by ``tol`` for more than ``n_iter_no_change`` epochs.
    verbose : bool
        Print a line an epoch.
    warm_start : bool
        Let ``fit`` go on where the last one ended.
    momentum, nesterovs_momentum, beta_1, beta_2, epsilon
        Of "sgd" and of "adam".
    early_stopping, validation_fraction
        Set rows aside, of each class the same share, and keep the epoch with the best score.
    loss : str or callable
        "squared_error", "poisson", "absolute_error", "huber", or a function, see `fastnn.losses`.
    init, l1, dropout, max_norm, clip_norm, clip_value, backend, threads
        Not in scikit-learn: as for `fastnn.Network` and `fastnn.Network.train`.

    Attributes
    ----------
    network_ : fastnn.Network
        Everything else that a network can do: ``predict_one``, ``summary``, ``activations`` ...
    coefs_, intercepts_ : list of ndarray
        Views of the network's weights and biases.
    loss_curve_ : list of float
        The mean loss of each epoch, with the penalty at its end.
    validation_scores_ : list of float or None
    loss_, best_loss_, best_validation_score_, n_iter_, t_, n_layers_, n_outputs_, out_activation_
        As in scikit-learn.
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

    _: KW_ONLY
    loss: str | Custom = "squared_error"

    def fit(
        self, X: npt.ArrayLike, y: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
    ) -> MLPRegressor:
        """Train from the start, or with ``warm_start`` go on.

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
        ValueError, TypeError
            If data or a parameter are not as described, or if training diverges.
        """
        return self._fit(X, y, sample_weight, partial=False)

    def partial_fit(
        self, X: npt.ArrayLike, y: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
    ) -> MLPRegressor:
        """Go on for one epoch over these rows; for parameters and errors see `fit`."""
        return self._fit(X, y, sample_weight, partial=True)

    def _fit(self, X: Any, y: Any, sample_weight: Any, *, partial: bool) -> MLPRegressor:
        X, y = self._read(X, y, reset=not self._goes_on(partial=partial), y_numeric=True)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        weights = None if sample_weight is None else _check_sample_weight(sample_weight, X)
        output = "exponential" if self.loss == "poisson" else "identity"
        outputs = 1 if y.ndim == 1 else y.shape[1]
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
            In the dtype of the X that was learnt from.
        """
        check_is_fitted(self, "network_")
        outputs = self.network_.predict(self._read(X))
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
