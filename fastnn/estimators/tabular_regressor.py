"""The regressor for tables of numbers, categories, truth values, dates and missing values."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import RegressorMixin

from fastnn.activations import Array
from fastnn.checks import values as check
from fastnn.estimators.tabular import Tabular
from fastnn.tabular import recipe as recipes
from fastnn.tabular.predictor import Predictor

LOSSES = {"squared_error": recipes.NUMBERS, "quantile": recipes.QUANTILES}


@dataclass(eq=False, repr=False)
class TabularRegressor(RegressorMixin, Tabular):
    """A network that predicts a number for rows of a table as it is: text, dates, gaps included.

    Preprocessing, network and training are those of RealMLP-TD-S (Holzmueller, Grinsztajn and
    Steinwart, 2024, "Better by default"), see docs/tabular.md. Predictions stay within the range of
    y in `fit`. `fit` checks the parameters, as scikit-learn's estimators do.

    Parameters
    ----------
    hidden_layer_sizes : sequence of int
        Units of each hidden layer.
    activation : str, optional
        Activation of the hidden layers, see `fastnn.Network`. Default: "mish".
    learning_rate : float, optional
        The rate by which the schedule and the factors of the recipe are multiplied. Default:
        0.07.
    epochs, batch_size : int
        Passes through the rows, and rows per step.
    validation_fraction : float
        Share of the rows to set aside: the parameters of the last of the epochs that are best on
        them are kept; their errors make intervals, too.
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
    loss : str
        "squared_error", or "quantile" for three outputs, the quantiles 0.05, 0.5 and 0.95:
        `predict` returns the median, and intervals are wider where numbers vary more.

    Attributes
    ----------
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
    >>> from fastnn.estimators import TabularRegressor
    >>> X = np.array([["red", 1.0], ["blue", None], ["red", 3.0], ["green", 2.0]] * 20, object)
    >>> y = [1.0, 2.0, 3.0, 4.0] * 20
    >>> regressor = TabularRegressor(random_state=0, epochs=50).fit(X, y)
    >>> regressor.predict(X[:4]).round().tolist()
    [1.0, 2.0, 3.0, 4.0]
    >>> regressor.predict_interval(X[:4], coverage=0.8).shape
    (4, 2)
    """

    _: KW_ONLY
    loss: str = "squared_error"

    def fit(
        self, X: Any, y: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
    ) -> TabularRegressor:
        """Learn the preprocessing and train a network.

        Weights count in training, in the error that chooses the epoch, and in the width of
        intervals. Rows of weight 0 are left out. Rows that are the same, target included, are one
        row with the sum of their weights, which is trained on or set aside; those that stand there
        five times or more are in both parts. The order of the rows changes nothing.

        Parameters
        ----------
        X : DataFrame, fastnn.datasets.Columns or array of shape (rows, features)
            DataFrames of pandas, Polars and others that narwhals knows. Not sparse.
        y : array of shape (rows,)
            Finite numbers.
        sample_weight : array of shape (rows,), optional
            At least 0. Whole numbers count rows: a row of weight 2 is the row twice. Others, which
            do not count rows, mean the same when they are multiplied by a constant.

        Returns
        -------
        TabularRegressor
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
        check.one_of("loss", self.loss, LOSSES)
        return self._fit(X, y, sample_weight, LOSSES[self.loss])

    def predict(self, X: Any) -> Array:
        """Return the number of each row.

        Parameters
        ----------
        X : DataFrame, fastnn.datasets.Columns or array of shape (rows, features)
            With the columns of `fit`. `Columns` are found by name, in any order; DataFrames must
            have the same order, as in scikit-learn.

        Returns
        -------
        ndarray of float64, shape (rows,)

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

    def predict_interval(self, X: Any, coverage: float = 0.9) -> Array:
        """Return intervals that hold the numbers of a share ``coverage`` of new rows.

        They are split-conformal (Lei et al., 2018): the prediction plus and minus the absolute
        error that so many of the rows at most have that were set aside in `fit`. With the loss
        "quantile" the quantiles are moved apart, or closer, until they hold so many of these rows
        (Romano et al., 2019). Weights of the rows in `fit` count: the share is then one of the
        weight of new rows. As these rows also chose the epoch, the share is slightly lower than
        named; it is that of all rows together, not of each kind of row.

        Parameters
        ----------
        X : DataFrame, fastnn.datasets.Columns or array of shape (rows, features)
            With the columns of `fit`. `Columns` are found by name, in any order; DataFrames must
            have the same order, as in scikit-learn.
        coverage : float
            Between 0 and 1.

        Returns
        -------
        ndarray of float64, shape (rows, 2)
            The lower and the upper end.

        Raises
        ------
        NotFittedError
            Before `fit`.
        TypeError, ValueError
            If an argument is not as described, there are too few rows for the coverage, or a column
            is missing or of another kind.
        DivergenceError
            If an output is not finite.

        Warns
        -----
        UserWarning
            Of levels that `fit` did not see, whose inputs are all 0, of dates out of its range, and
            of missing values in columns that had none: one warning with their numbers.
        """
        predictor, table = self._predictor(X)
        return predictor.interval(table, coverage)

    def _targets(self, y: Array) -> Array:
        if y.dtype.kind in "mM":
            raise TypeError(f"y holds {y.dtype}; need numbers, such as y.astype('int64')")
        try:
            y = y.astype(np.float64)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(
                f"y must hold numbers; TabularClassifier takes names: {error}"
            ) from None
        if not np.isfinite(y).all():
            raise ValueError(
                f"y is infinite in row {int(np.isinf(y).argmax())}; need finite numbers"
            )
        return y

    def _take(self, path: str, found: Predictor) -> None:
        if found.classes is not None:
            raise ValueError(f"{path!r} predicts classes: TabularClassifier.load reads it")
