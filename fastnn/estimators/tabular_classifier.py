"""The classifier for tables of numbers, categories, truth values, dates and missing values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets

from fastnn.activations import Array
from fastnn.checks import values as check
from fastnn.estimators.tabular import Tabular
from fastnn.tabular import recipe as recipes
from fastnn.tabular.predictor import Predictor


@dataclass(eq=False, repr=False)
class TabularClassifier(ClassifierMixin, Tabular):
    """A network that classifies rows of a table as it is: text, dates and gaps included.

    Preprocessing, network and training are those of RealMLP-TD-S (Holzmueller, Grinsztajn and
    Steinwart, 2024, "Better by default"), see docs/tabular.md. `fit` checks the parameters, as
    scikit-learn's estimators do.

    Parameters
    ----------
    hidden_layer_sizes : sequence of int
        Units of each hidden layer.
    activation : str, optional
        Activation of the hidden layers, see `fastnn.Network`. Default: "selu".
    learning_rate : float, optional
        The rate by which the schedule and the factors of the recipe are multiplied. Default:
        0.04.
    epochs, batch_size : int
        Passes through the rows, and rows per step.
    validation_fraction : float
        Share of the rows to set aside: the parameters of the last of the epochs that are best on
        them are kept; they find the temperature, too.
    categorical_features : sequence of str or int, optional
        Columns whose numbers are names of levels, by name or position.
    random_state : int, RandomState or None
        Seed of the rows set aside, the initial weights and the order of the rows.
    verbose : bool
        Print a line per epoch.
    backend, threads
        As for `fastnn.Network`.
    n_members : int
        Networks that are trained side by side and predict together, see `fastnn.Committee`. They
        share the preprocessing and the rows set aside.
    label_smoothing : float
        As for `fastnn.Network.train`.
    class_weight : "balanced" or mapping, optional
        Weights of the classes, 1 for classes that a mapping leaves out. They are multiplied with
        the weights of the rows.
    calibrate : bool
        Divide the inputs of softmax by the temperature that gives the rows set aside the lowest
        cross-entropy (Guo et al., 2017). Predicted classes stay the same.

    Attributes
    ----------
    classes_ : ndarray
        The classes, sorted.
    temperature_ : float
        It is part of the network's last layer. Of several members it is the one that gives their
        mean the lowest cross-entropy.
    predictor_ : fastnn.tabular.Predictor
        All that `save` writes; it predicts without scikit-learn.
    preprocessing_ : fastnn.tabular.preprocessing.Preprocessing
        What is done with each column.
    network_ : fastnn.Network
        It takes what ``preprocessing_.transform`` returns. Only with one member.
    committee_ : fastnn.Committee
        Several members take its place.
    history_ : fastnn.History, or list of them
        A row per epoch; not after `load`. Of several members one each.
    n_features_in_, feature_names_in_
        As in scikit-learn.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.estimators import TabularClassifier
    >>> X = np.array([["red", 1.0], ["blue", None], ["red", 3.0], ["green", 2.0]] * 10, object)
    >>> y = ["no", "yes", "no", "yes"] * 10
    >>> classifier = TabularClassifier(random_state=0, epochs=30).fit(X, y)
    >>> classifier.predict(X[:4]).tolist()
    ['no', 'yes', 'no', 'yes']
    """

    _: KW_ONLY
    label_smoothing: float = 0.1
    class_weight: str | Mapping[Any, float] | None = None
    calibrate: bool = True
    classes_: Array = field(init=False)

    @property
    def temperature_(self) -> float:
        """The temperature of the probabilities, 1 without calibration."""
        return self.predictor_.temperature

    def fit(
        self, X: Any, y: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
    ) -> TabularClassifier:
        """Learn the preprocessing and train a network.

        Weights count in training, in the accuracy that chooses the epoch, in the temperature, and
        in balanced classes. Rows of weight 0 are left out. Rows that are the same, target included,
        are one row with the sum of their weights, which is trained on or set aside; those that
        stand there five times or more are in both parts. The order of the rows changes nothing.

        Parameters
        ----------
        X : DataFrame, fastnn.datasets.Columns or array of shape (rows, features)
            DataFrames of pandas, Polars and others that narwhals knows. Not sparse.
        y : array of shape (rows,)
            Classes: numbers, text or truth values.
        sample_weight : array of shape (rows,), optional
            At least 0. Whole numbers count rows: a row of weight 2 is the row twice. Others, which
            do not count rows, mean the same when they are multiplied by a constant.

        Returns
        -------
        TabularClassifier
            Itself.

        Raises
        ------
        ImportError
            For a DataFrame, if there is no narwhals.
        TypeError, ValueError
            If the data or a parameter of the estimator are not as described; targets that are
            missing are named by their rows.
        DivergenceError
            If training diverges.

        Warns
        -----
        UserWarning
            Of columns that are left out, that are of more than one kind, or that have more levels
            than half of the rows.
        """
        smoothing = check.real("label_smoothing", self.label_smoothing, least=0, below=1)
        recipe = recipes.changed(
            recipes.CLASSES,
            label_smoothing=smoothing,
            calibrate=bool(self.calibrate),
            class_weight=self.class_weight,
        )
        self._fit(X, y, sample_weight, recipe)
        self._take("", self.predictor_)
        return self

    def predict(self, X: Any) -> Array:
        """Return the class of each row.

        Parameters
        ----------
        X : DataFrame, fastnn.datasets.Columns or array of shape (rows, features)
            With the columns of `fit`. `Columns` are found by name, in any order; DataFrames must
            have the same order, as in scikit-learn.

        Returns
        -------
        ndarray of shape (rows,)
            Classes as in y.

        Raises
        ------
        NotFittedError
            Before `fit`.
        TypeError, ValueError
            If X is not as described, or a column is missing or of another kind.
        DivergenceError
            If an output is not finite.

        Warns
        -----
        UserWarning
            Of levels that `fit` did not see, whose inputs are all 0, of dates out of its range, and
            of missing values in columns that had none: one warning with their numbers.
        """
        predictor, table = self._predictor(X)
        return predictor.predict(table)

    def predict_proba(self, X: Any) -> Array:
        """Return the probability of each class.

        Parameters
        ----------
        X : DataFrame, fastnn.datasets.Columns or array of shape (rows, features)
            With the columns of `fit`. `Columns` are found by name, in any order; DataFrames must
            have the same order, as in scikit-learn.

        Returns
        -------
        ndarray of float64, shape (rows, classes)
            In the order of ``classes_``.

        Raises
        ------
        NotFittedError
            Before `fit`.
        TypeError, ValueError
            If X is not as described, or a column is missing or of another kind.
        DivergenceError
            If an output is not finite.

        Warns
        -----
        UserWarning
            Of levels that `fit` did not see, whose inputs are all 0, of dates out of its range, and
            of missing values in columns that had none: one warning with their numbers.
        """
        predictor, table = self._predictor(X)
        return predictor.outputs(table)

    def predict_log_proba(self, X: Any) -> Array:
        """Return the logarithm of the probability of each class.

        Parameters
        ----------
        X
            As for `predict_proba`.

        Returns
        -------
        ndarray of float64, shape (rows, classes)
            In the order of ``classes_``.

        Raises
        ------
        NotFittedError, TypeError, ValueError, DivergenceError
            As for `predict_proba`.
        """
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def _targets(self, y: Array) -> Array:
        _refuse_objects(y)
        check_classification_targets(y)
        return y

    def _take(self, path: str, found: Predictor) -> None:
        if found.classes is None:
            raise ValueError(f"{path!r} predicts numbers: TabularRegressor.load reads it")
        self.classes_ = found.classes


def _refuse_objects(y: Array) -> None:
    """Refuse objects that are not all text, of which scikit-learn computes no scores."""
    if y.dtype.kind != "O":
        return
    kinds = {_kind(value) for value in y}
    if kinds - {"str"}:
        way = min(kinds) if kinds in ({"bool"}, {"int"}, {"float"}) else "str"
        raise ValueError(
            f"Unknown label type: y is an array of objects that holds {', '.join(sorted(kinds))}; "
            f"need labels of one kind: y.astype({way})"
        )


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return "str"
    return type(value.item() if isinstance(value, np.generic) else value).__name__
