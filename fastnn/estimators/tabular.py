"""The base of both estimators for tables: from what scikit-learn passes to a `Predictor`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, TypeVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from fastnn.activations import Array
from fastnn.checks import values as check
from fastnn.checks.tables import shown, warn_of_indexes
from fastnn.committee import Committee
from fastnn.datasets.spreadsheets import Column, Columns
from fastnn.network import Network
from fastnn.tabular import predictor as predictors
from fastnn.tabular import recipe as recipes
from fastnn.tabular.predictor import Predictor
from fastnn.tabular.recipe import Recipe
from fastnn.tabular.tables import columns_of, is_frame, is_missing, unmasked
from fastnn.training.history import History, Row, format_row

Self = TypeVar("Self", bound="Tabular")


@dataclass(eq=False, repr=False)
class Tabular(BaseEstimator):
    """The base of both estimators, whose docstrings explain the parameters."""

    hidden_layer_sizes: Sequence[int] = (256, 256, 256)
    _: KW_ONLY
    activation: str | None = None
    learning_rate: float | None = None
    epochs: int = 256
    batch_size: int = 256
    validation_fraction: float = 0.2
    categorical_features: Sequence[str | int] | None = None
    random_state: int | np.random.RandomState | None = None
    verbose: bool | int = False
    backend: str = "numba"
    threads: int | None = None
    n_members: int = 1
    predictor_: Predictor = field(init=False)
    history_: History | list[History] = field(init=False)

    @property
    def network_(self) -> Network:
        """The network, which takes what ``preprocessing_`` makes of a table."""
        found = self.predictor_.network
        if isinstance(found, Committee):
            raise AttributeError("network_ is of a single member; several are in committee_")
        return found

    @property
    def committee_(self) -> Committee:
        """The networks of several members."""
        found = self.predictor_.network
        if not isinstance(found, Committee):
            raise AttributeError("committee_ is of several members; the only one is network_")
        return found

    @property
    def preprocessing_(self) -> Any:
        """What is done with each column, with ``names``, ``described`` and ``transform``."""
        return self.predictor_.preprocessing

    def _fit(self: Self, X: Any, y: Any, sample_weight: Any, recipe: Recipe) -> Self:
        before = vars(self).copy()
        try:
            return self._learn(X, y, sample_weight, recipe)
        except BaseException:  # also Ctrl-C: the names stay those of the network
            self.__dict__ = before
            raise

    def _learn(self: Self, X: Any, y: Any, sample_weight: Any, recipe: Recipe) -> Self:
        warn_of_indexes(X, y=y, sample_weight=sample_weight)
        table = self._read(X, fitting=True)
        y = self._targets(without_gaps(column_or_1d(plain(y), warn=True)))
        if len(y) != table.rows:
            raise ValueError(f"y must have as many rows as X, {table.rows}; got {len(y)}")
        if table.rows < 2:
            raise ValueError("X has n_samples = 1; need two rows, of which one is set aside")
        recipe = recipes.changed(
            recipe,
            hidden=tuple(
                check.integer(f"hidden_layer_sizes[{i}]", units, 1)
                for i, units in enumerate(_listed("hidden_layer_sizes", self.hidden_layer_sizes))
            ),
            activation=self.activation,
            learning_rate=self.learning_rate,
            epochs=check.integer("epochs", self.epochs, 1),
            batch_size=check.integer("batch_size", self.batch_size, 1),
            members=check.integer("n_members", self.n_members, 1),
            validation=check.real(
                "validation_fraction", self.validation_fraction, above=0, below=1
            ),
        )
        weights = None
        if sample_weight is not None:
            weights = _check_sample_weight(sample_weight, y, ensure_non_negative=True)
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        self.predictor_, histories = predictors.fit(
            table,
            y,
            recipe,
            seed,
            weights=weights,
            categories=self._categories(table),
            backend=self.backend,
            threads=self.threads,
            callbacks=[_printed] if self.verbose else [],
        )
        self.history_ = histories[0] if self.n_members == 1 else histories
        return self

    def _read(self, X: Any, *, fitting: bool = False) -> Columns:
        """Return X as columns after scikit-learn's checks of names, shape and kinds."""
        if isinstance(X, Columns):
            if fitting:
                self._set_names(X.names)
            return X
        if is_frame(X):
            table = columns_of(X)  # which names what is wrong with a table
            validate_data(self, X, reset=fitting, skip_check_array=True)
            if not table.rows or not len(table):
                raise ValueError(f"X has {table.rows} rows and {len(table)} columns; need one each")
        else:
            X = unmasked(X)
            X = validate_data(self, X, reset=fitting, dtype=None, ensure_all_finite=False)
            table = columns_of(X)
        if fitting:
            return table
        known = self.predictor_.preprocessing.columns
        if is_frame(X):
            _check_names(table.names, known)
        columns = (
            Column(name, each.kind, each.values, each.missing)
            for name, each in zip(known, table, strict=True)
        )
        return Columns(table.rows, tuple(columns))  # the positions decide, as in scikit-learn

    def _set_names(self, names: Sequence[str]) -> None:
        """Set what scikit-learn sets for a DataFrame."""
        self.n_features_in_ = len(names)
        if list(names) != list(map(str, range(len(names)))):
            self.feature_names_in_ = np.array(names, object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_

    def _categories(self, table: Columns) -> list[str]:
        """Return the names of the columns that are named as categories."""
        found = []
        given = self.categorical_features
        for each in () if given is None else _listed("categorical_features", given):
            position = isinstance(each, int | np.integer) and not isinstance(each, bool)
            if position and -len(table) <= int(each) < len(table):
                found.append(table.names[int(each)])
            elif isinstance(each, str) and each in table.names:
                found.append(each)
            else:
                raise ValueError(
                    f"categorical_features has {each!r}; need names or positions of columns: X has "
                    f"{shown(table.names)}"
                )
        return found

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write network and preprocessing to a ``.safetensors`` file.

        Nothing in the file is executed when it is read. `load`, ``fastnn.tabular.load`` (which
        needs no scikit-learn) and ``python -m fastnn.predict`` read it; `fastnn.load` reads the
        network in it.

        Parameters
        ----------
        path : str or path

        Raises
        ------
        NotFittedError
            Before `fit`.
        TypeError, OSError
            As for `fastnn.Network.save`.
        """
        check_is_fitted(self, "predictor_")
        self.predictor_.save(path)

    @classmethod
    def load(
        cls: type[Self],
        path: str | os.PathLike[str],
        backend: str = "numba",
        threads: int | None = None,
    ) -> Self:
        """Return the estimator that was saved; predictions are the same to the bit.

        Its parameters are the defaults: the file holds what `fit` learnt.

        Parameters
        ----------
        path : str or path
        backend, threads
            As for `fastnn.load`.

        Raises
        ------
        OSError
            If the file cannot be read.
        TypeError, ValueError
            If the file is damaged, or is not one of such an estimator.
        """
        found = predictors.load(path, backend, threads)
        made = cls(backend=backend, threads=threads)
        made._take(os.fspath(path), found)
        made.predictor_ = found
        made._set_names(found.preprocessing.columns)
        return made

    def _targets(self, y: Array) -> Array:
        """Return targets as `fastnn.tabular.predictor.fit` takes them, after checking them."""
        raise NotImplementedError

    def _take(self, path: str, found: Predictor) -> None:
        """Refuse a predictor of the other kind."""
        raise NotImplementedError

    def _predictor(self, X: Any) -> tuple[Predictor, Columns]:
        """Return what predicts, and what it takes."""
        check_is_fitted(self, "predictor_")
        return self.predictor_, self._read(X)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "predictor_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True  # not `string`: the checks pass dicts as cells then
        return tags


def _listed(name: str, given: Any) -> Any:
    """Return a parameter that has several values, after refusing one value by itself."""
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise TypeError(f"{name} must be a list, got {given!r}; need [{given!r}]")
    return given


def _check_names(names: Sequence[str], known: Sequence[str]) -> None:
    """Refuse a frame whose names are no texts, which scikit-learn does not compare."""
    positions = list(map(str, range(len(known))))
    if list(names) != list(known) and (
        positions not in (list(names), list(known)) or sorted(names) == sorted(known)
    ):
        raise ValueError(
            f"X has the columns {shown(names)}; need those of fit, in their order: {shown(known)}"
        )


def plain(y: Any) -> Any:
    """Return targets as NumPy has them: scikit-learn turns pandas' nullable types into floats."""
    return np.asarray(unmasked(y)) if hasattr(y, "__array__") else y


def without_gaps(y: Array) -> Array:
    """Return targets, after refusing missing ones by their rows."""
    if y.dtype.kind == "O":
        gaps = np.array([is_missing(value) for value in y], bool)
    else:
        gaps = np.isnan(y) if y.dtype.kind in "fmM" else np.zeros(len(y), bool)
    if gaps.any():
        rows = np.flatnonzero(gaps).tolist()
        raise ValueError(
            f"Input y contains NaN, or another missing value, in rows {shown(rows)}; need a target "
            "for each row: leave these rows out of X and y"
        )
    return y


def _printed(row: Row) -> None:
    """Print an epoch."""
    print(format_row(row), flush=True)
