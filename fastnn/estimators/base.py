"""The base of both estimators: from their parameters to a network, and its training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import validate_data

from fastnn import schedules
from fastnn.activations import Array
from fastnn.augment import Augmentation
from fastnn.checks import values as check
from fastnn.checks.sparse import rows_of
from fastnn.checks.tables import warn_of_indexes
from fastnn.checks.warning import heard_by, is_of_no_use, warn
from fastnn.committee import Committee
from fastnn.estimators import full_batch, members, translation
from fastnn.estimators.fitted import Fitted
from fastnn.estimators.partial import learn, remember
from fastnn.estimators.progress import Progress
from fastnn.estimators.translation import (
    INTERRUPTED,
    NOT_CONVERGED,
    NOT_FINITE,
    in_their_words,
)
from fastnn.model.initializers import Initializer
from fastnn.network import Network
from fastnn.optimizers import OPTIMIZERS, SGD, Adam, Optimizer, named
from fastnn.schedules import Schedule
from fastnn.training.evaluation import DivergenceError
from fastnn.training.history import History
from fastnn.training.rows import stratified

SCHEDULES = ("constant", "invscaling", "adaptive")


class Begun(NamedTuple):
    """A network, the arguments of `Network.train`, and what they were made of."""

    network: Network
    arguments: dict[str, Any]
    progress: Progress
    max_iter: int
    rate: float
    penalty: float
    slope: float


def is_stochastic(estimator: Any) -> bool:
    """Tell whether a solver takes some rows at a time; else there is no `partial_fit`."""
    if estimator.solver == "lbfgs":
        raise AttributeError(
            "partial_fit is only available for stochastic optimizers. lbfgs is not stochastic."
        )
    return True


@dataclass(eq=False, repr=False)
class MLP(Fitted):
    """The base of both estimators, whose docstrings explain the parameters."""

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
    max_fun: int = 15000
    init: str | Initializer | None = None
    l1: float = 0.0
    dropout: float | Sequence[float] = 0.0
    max_norm: float | None = None
    clip_norm: float | None = None
    clip_value: float | None = None
    augment: Augmentation | Sequence[Augmentation] | None = None
    backend: str = "numba"
    threads: int | None = None
    precision: str | None = None
    n_members: int = 1
    network_: Network = field(init=False)
    committee_: Committee = field(init=False)
    estimators_: list[Any] = field(init=False)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _read(self, X: Any, *others: Any, **how: Any) -> Any:
        """Return X, and y if it is passed, after scikit-learn's checks; sparse stays sparse."""
        if not others and self._is_ready(X):
            return X
        how = {"accept_sparse": "csr", "dtype": (np.float64, np.float32), **how}
        if others:
            warn_of_indexes(X, y=others[0])
            X, y = validate_data(self, X, *others, multi_output=True, **how)
        else:
            X = validate_data(self, X, reset=False, **how)
        X = X if isinstance(X, np.ndarray) else rows_of("X", X)
        return (X, y) if others else X

    def _is_ready(self, X: Any) -> bool:
        """Whether scikit-learn's checks, which take longer than a prediction, would find nothing.

        They stay for whatever else: for what they refuse, convert or warn of.
        """
        if type(X) is not np.ndarray or X.dtype not in (np.float64, np.float32) or X.ndim != 2:
            return False
        if len(X) == 0 or X.shape[1] != self.n_features_in_ or hasattr(self, "feature_names_in_"):
            return False
        with np.errstate(over="ignore", invalid="ignore"):
            return bool(np.isfinite(X.sum()))

    def _n_members(self) -> int:
        return check.integer("n_members", self.n_members, 1)

    def _goes_on(self, *, partial: bool) -> bool:
        return self._is_fitted() and (partial or bool(self.warm_start))

    def _sizes(self, X: Array, outputs: int) -> list[int]:
        hidden = self.hidden_layer_sizes
        hidden = list(hidden) if np.iterable(hidden) else [hidden]
        units = [check.integer(f"hidden_layer_sizes[{i}]", n, 1) for i, n in enumerate(hidden)]
        return [X.shape[1], *units, outputs]

    def _train(
        self,
        X: Array,
        y: Array,
        weights: Array | None,
        outputs: int,
        output: str,
        *,
        partial: bool,
        labels: Array | None = None,
        **settings: Any,
    ) -> None:
        """Train a new network or continue with the old one, for one epoch if ``partial``."""
        how = {"partial": partial, "labels": labels, **settings}
        if self._n_members() > 1:
            members.train(self, (X, y, weights, outputs, output), how)
            return
        begun = self._begin(X, y, weights, outputs, output, **how)
        if begun is None:
            return
        try:
            history = _train_quietly(begun.network, begun.arguments)
        except DivergenceError as error:
            if begun.progress.best is None:
                raise ValueError(f"{NOT_FINITE} {in_their_words(str(error))}") from error
            self.n_iter_ += 1
            self.loss_curve_.append(np.nan)
            self.validation_scores_.append(np.nan)
            message = (
                "training diverged; the parameters of the best epoch are kept: "
                f"{in_their_words(str(error))}"
            )
            warn(message, ConvergenceWarning)
        except KeyboardInterrupt:
            warn(INTERRUPTED)
        else:
            if history.warning:
                warn(in_their_words(history.warning), ConvergenceWarning)
            if not partial and self.n_iter_ == begun.max_iter:
                warn(NOT_CONVERGED.format(begun.max_iter), ConvergenceWarning)
        self._end(begun)
        if partial and weights is None:
            remember(self, len(X), begun.rate, begun.penalty, begun.slope)

    def _end(self, begun: Begun) -> None:
        """Keep a network that was trained."""
        if begun.progress.best is not None:
            begun.network.parameters[:] = begun.progress.best
        self._keep(begun.network)

    def _begin(
        self,
        X: Array,
        y: Array,
        weights: Array | None,
        outputs: int,
        output: str,
        *,
        partial: bool,
        labels: Array | None = None,
        **settings: Any,
    ) -> Begun | None:
        """Return what is to be trained and how; "lbfgs" has trained it already."""
        max_iter = check.integer("max_iter", self.max_iter, 1)
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        fresh = not self._goes_on(partial=partial)
        if not fresh and "network_" not in vars(self):
            raise ValueError(
                f"n_members is 1, but training continues with {len(self.estimators_)}; need as "
                "many, or a new estimator"
            )
        sizes = self._sizes(X, outputs)
        network = (
            translation.network(self, sizes, output, seed, X.dtype) if fresh else self.network_
        )
        if list(network.architecture.sizes) != sizes:
            raise ValueError(
                f"hidden_layer_sizes is {self.hidden_layer_sizes}, but training continues with a "
                f"network of sizes {list(network.architecture.sizes)}"
            )
        if translation.precision(self) not in (None, network.precision):
            raise ValueError(
                f"precision is {self.precision!r}, but training continues with a network of the "
                f"precision {network.precision!r}; need the same, or a new estimator"
            )
        if fresh:
            self.t_ = 0
            self._reduction = 1.0
        if self.solver == "lbfgs":
            penalty = self._penalty(len(X), weights)
            full_batch.fit(self, network, X, y, weights, penalty, **settings)
            return None
        held_out = None
        if self.early_stopping:
            if partial:
                raise ValueError("partial_fit does not support early_stopping=True")
            X, y, weights, held_out = self._split(X, y, weights, seed, labels)
        watched = bool(self.early_stopping)
        kept = hasattr(self, "loss_curve_") and watched == (self.validation_scores_ is not None)
        if fresh or not kept:
            self.t_ = self._no_improvement_count = 0
            self.loss_curve_: list[float] = []
            self.validation_scores_: Any = [] if watched else None
            self.best_loss_: Any = None if watched else np.inf
            self.best_validation_score_: Any = -np.inf if watched else None
        self.n_iter_ = 0
        batch = self._batch(len(X))
        slope = translation.slope(network)
        rate = check.real("learning_rate_init", self.learning_rate_init, above=0)
        if isinstance(
            named(self._optimizer()), SGD
        ):  # whose steps are proportional to the gradient
            rate /= slope
        penalty = self._penalty(batch, weights)
        if not partial:
            self._reduction = 1.0
            network.model.optimizer_state = None
        constant = translation.constant(self, y, weights)
        progress = Progress(self, network, (len(X), batch), penalty, constant)
        arguments = {
            "X": X,
            "y": y,
            "epochs": 1 if partial else max_iter,
            "batch_size": batch,
            "learning_rate": rate,
            "l2": slope * penalty,
            "validation": held_out,
            "shuffle": bool(self.shuffle),
            "schedule": self._schedule(progress),
            "progress": False,
            "callbacks": [progress],
            "optimizer": self._optimizer(),
            "l1": slope * check.real("l1", self.l1, least=0),
            "dropout": self.dropout,
            "max_norm": self.max_norm,
            "clip_norm": self.clip_norm,
            "clip_value": self.clip_value,
            "augment": self.augment,
            "sample_weight": weights,
            **settings,
        }
        return Begun(network, arguments, progress, max_iter, rate, penalty, slope)

    def _learnt(self, X: Array, Y: Array) -> bool:
        """Take the step of `partial_fit` the short way, if there is one."""
        result = learn(self, X, Y)
        if result is None:
            return False
        loss, penalty, squares = result
        self.n_iter_ = 0
        progress = Progress(self, self.network_, (len(X), len(X)), penalty, squares=squares)
        progress({"loss": loss})
        return True

    def _split(
        self, X: Array, y: Array, weights: Array | None, seed: int, labels: Array | None
    ) -> tuple[Array, Array, Array | None, tuple[Array, ...]]:
        """Set rows aside for early stopping, the same share of each class."""
        if labels is not None and len(self.classes_) == 2 and np.bincount(labels).min() == 1:
            # scikit-learn names the class by what its binarizer makes of it.
            rare = int(np.bincount(labels).argmin())
            raise ValueError(
                "The least populated classes in y have only 1 member, which is too few to set "
                "some aside for early stopping. Classes with too few members are: "
                f"['{rare == 1}'], which is {self.classes_[rare]}"
            )
        share = check.real("validation_fraction", self.validation_fraction, above=0, below=1)
        kept, aside = stratified(share, len(X), labels, seed)
        if len(aside) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of "
                f"your dataset; got {len(X)} rows and {share:g}"
            )
        held_out = (X[aside], y[aside]) if weights is None else (X[aside], y[aside], weights[aside])
        return X[kept], y[kept], None if weights is None else weights[kept], held_out

    def _penalty(self, rows: int, weights: Array | None) -> float:
        """Return alpha divided by the rows of a batch, or by the sum of their weights."""
        mean = 1.0 if weights is None else float(weights.mean())
        if mean == 0:
            raise ValueError("sample_weight must not all be 0; need one above 0")
        return check.real("alpha", self.alpha, least=0) / (rows * mean)

    def _batch(self, rows: int) -> int:
        if isinstance(self.batch_size, str):
            check.one_of("batch_size", self.batch_size, ("auto",))
            return min(200, rows)
        batch = check.integer("batch_size", self.batch_size, 1)
        if batch > rows:
            warn(f"batch_size is {batch}, more than the {rows} rows; using {rows}")
        return min(batch, rows)

    def _optimizer(self) -> str | Optimizer:
        if self.solver == "sgd":
            nesterov = bool(self.nesterovs_momentum) and self.momentum > 0
            return SGD(momentum=self.momentum, nesterov=nesterov)
        if self.solver == "adam":
            return Adam(beta1=self.beta_1, beta2=self.beta_2, epsilon=self.epsilon)
        if isinstance(self.solver, str):
            check.one_of("solver", self.solver, {"lbfgs", *OPTIMIZERS})
        return self.solver

    def _schedule(self, progress: Progress) -> str | Schedule | Callable[[float], float]:
        if not isinstance(self.learning_rate, str):
            return self.learning_rate
        check.one_of("learning_rate", self.learning_rate, {*SCHEDULES, *schedules.SCHEDULES})
        return progress.factor if self.learning_rate in SCHEDULES else self.learning_rate


def _train_quietly(network: Network, arguments: dict[str, Any]) -> History:
    """Train a network; that it is of no use is only in the history."""
    with heard_by(is_of_no_use):
        return network.train(**arguments)
