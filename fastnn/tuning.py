"""Tuning: k-fold cross-validation of every combination of some settings, and the best one refitted.

Folds, grids and workers are scikit-learn's and joblib's; what is trained is `Network`.
"""

from __future__ import annotations

import csv
import dataclasses
import inspect
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastnn.activations import Array
from fastnn.checks import data as check_data
from fastnn.checks import values as check
from fastnn.model.architecture import outputs_for
from fastnn.network import Network
from fastnn.training.evaluation import DivergenceError
from fastnn.training.history import History
from fastnn.writing import replacing

Settings = dict[str, Any]
OF_NETWORK = set(inspect.signature(Network).parameters) - {"sizes", "seed"}
# Of a single network, or of its data.
NOT_TUNED = {"self", "X", "y", "sample_weight", "checkpoint", "checkpoint_every", "resume"}
OF_TRAIN = set(inspect.signature(Network.train).parameters) - NOT_TUNED
TUNED = {"hidden", *OF_NETWORK, *OF_TRAIN}
HIDDEN = (128,)
# What is recorded of a fold; the first that there is ranks.
MEASURES = ("macro_f1", "r2", "accuracy", "mae", "rmse", "loss", "seconds")


@dataclasses.dataclass(frozen=True)
class Tuning:
    """What `tune` found.

    Attributes
    ----------
    results : list of dict
        One a combination, the best first: ``rank``, the settings of the grid, then for each of
        ``macro_f1``, ``accuracy`` and ``loss`` (for numbers ``r2``, ``mae``, ``rmse``, ``loss``)
        and the ``seconds`` of training the mean over the folds and, as ``accuracy_std``, the
        standard deviation (population), then the measure that ranks of each fold, as
        ``macro_f1_fold1``. Where a fold diverged, they are NaN.
    best : dict
        The settings of the best combination.
    network : Network
        Trained with them on all rows but the test part.
    history : History
        Of that.
    test : dict
        What ``network.evaluate`` says of the test part, which nothing else has seen.
    classes : ndarray or None
        The class that each output stands for; None for numbers and several labels a row.
    """

    results: list[Settings]
    best: Settings
    network: Network
    history: History
    test: dict[str, float]
    classes: Array | None

    def __str__(self) -> str:
        names = [name for name in self.results[0] if "_fold" not in name]
        rows = [names, *([_short(row[name]) for name in names] for row in self.results)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            "  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True))
            for row in rows
        )

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write a header and one line a combination; the file appears complete or not at all.

        Raises
        ------
        FileNotFoundError
            If the folder of ``path`` does not exist.
        OSError
            If the file cannot be written.
        """
        with replacing(path) as file:
            writer = csv.DictWriter(file, list(self.results[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows({name: _text(row[name]) for name in row} for row in self.results)


def tune(
    X: npt.ArrayLike,
    y: npt.ArrayLike,
    grid: Mapping[str, Sequence[Any]] | Iterable[Mapping[str, Sequence[Any]]],
    *,
    folds: int = 5,
    test: float | tuple[npt.ArrayLike, npt.ArrayLike] = 0.2,
    jobs: int | None = None,
    seed: int = 0,
    sample_weight: npt.ArrayLike | None = None,
    progress: bool | None = None,
    **settings: Any,
) -> Tuning:
    """Find the settings that do best in k-fold cross-validation.

    Every combination is trained and evaluated on every fold, the same folds for all. The best one,
    by macro-F1 or for numbers R2, is trained once more on all rows but the test part.

    Parameters
    ----------
    X : array of shape (rows, features)
        As for `Network.train`.
    y : array of shape (rows,) or (rows, outputs)
        Integers or strings are classes; floats are numbers, for which the output is "identity" if
        none is named; two dimensions are targets as for `Network.train`.
    grid : mapping, or iterable of mappings
        From names to the values to try, in all combinations; of several mappings, those of each.
        Names are ``hidden``, the units of each hidden layer such as ``(128, 64)``; the arguments of
        `Network` but for ``sizes`` and ``seed``; those of `Network.train`. ``hidden`` is (128,) if
        it is not named.
    folds : int
        2 or more; of each class, each has the same share.
    test : float or (X, y)
        The part to set aside first, as a share of the rows or as other data.
    jobs : int, optional
        Networks to train at the same time, in processes of their own: None is one, -1 is as many as
        there are CPUs. Each gets its share of the CPUs as threads, unless ``threads`` is given. In
        ``joblib.parallel_config`` other workers can be chosen, such as those of Dask.
    seed : int
        Fixes the parts and every network; the results do not depend on ``jobs``.
    sample_weight : array of shape (rows,), optional
        As for `Network.train`; also in evaluation.
    progress : bool, optional
        Show a progress bar, by default where standard error is a terminal.
    **settings
        What is the same for all combinations, by the names of the grid.

    Returns
    -------
    Tuning

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described, a setting is unknown, or a class has too few rows.
    DivergenceError
        If training diverged with every combination, or that of the best one at last.
    ImportError
        If scikit-learn is not installed.

    Examples
    --------
    >>> import fastnn
    >>> X, y, *test = fastnn.datasets.load_mnist()
    >>> found = fastnn.tune(
    ...     X[:2000], y[:2000], {"hidden": [(16,), (64,)], "l2": [0, 0.001]},
    ...     folds=3, test=test, epochs=3, progress=False,
    ... )
    >>> found.best["hidden"]
    (64,)
    """  # fmt: skip
    joblib, selection = needed()
    combinations = list(selection.ParameterGrid(_lists(grid)))
    _check_names({*settings, *(name for each in combinations for name in each)})
    folds = check.integer("folds", folds, 2)
    seed = check.integer("seed", seed, 0)
    data = _Data.of(X, y, sample_weight)
    known = np.arange(len(data.X))
    if isinstance(test, tuple | list):
        test_data = _Data.of(*check_data.held_out("test", test))
    else:
        share = check.real("test", test, above=0, below=1)
        parts = selection.train_test_split(
            known, test_size=share, random_state=seed, stratify=data.labels
        )
        known, aside = map(np.sort, parts)
        test_data = data.at(aside)
    classes = _classes(data.at(known), test_data)
    kind = selection.KFold if classes is None else selection.StratifiedKFold
    splits = kind(folds, shuffle=True, random_state=seed).split(known, data.y[known])
    parts = [(known[train], known[held_out]) for train, held_out in splits]
    workers = joblib.effective_n_jobs(jobs)
    share_of_cpus = {"threads": max(1, joblib.cpu_count() // workers)} if workers > 1 else {}
    # X and y go as they came, so that they are sent once; the rest is in a tuple, as Dask would
    # keep an array of its own on a single worker, and lose it with that.
    calls = [
        joblib.delayed(_fold)(
            share_of_cpus | settings | combination,
            seed,
            data.X,
            data.y,
            (data.weights, classes, *part),
        )
        for combination in combinations
        for part in parts
    ]
    scores = list(_shown(joblib.Parallel(jobs, return_as="generator")(calls), len(calls), progress))
    measures = [name for name in MEASURES if any(name in score for score in scores)]
    summaries = [_summary(scores[i : i + folds], measures) for i in range(0, len(scores), folds)]
    values = [summary[measures[0]] if measures else math.nan for summary in summaries]
    if all(math.isnan(value) for value in values):
        raise DivergenceError("training diverged with every combination; try lower learning rates")
    order = np.argsort(-np.nan_to_num(values, nan=-math.inf), kind="stable").tolist()
    best = combinations[order[0]]
    network, history = _trained(settings | best, seed, classes, data.at(known))
    return Tuning(
        results=[
            {"rank": rank, **combinations[i], **summaries[i]} for rank, i in enumerate(order, 1)
        ],
        best=best,
        network=network,
        history=history,
        test=network.evaluate(*test_data.encoded(classes)),
        classes=classes,
    )


class _Data(NamedTuple):
    """Rows, what to learn of them, and their weights if they have any."""

    X: Array
    y: Array
    weights: Array | None

    @classmethod
    def of(cls, X: Any, y: Any, weights: Any) -> _Data:
        X, y = np.asarray(X), np.asarray(y)
        if X.ndim != 2 or len(X) != len(y):
            raise ValueError(
                "X must have shape (rows, features), and y as many rows; "
                f"got {X.shape} and {y.shape}"
            )
        if weights is not None:
            weights = check_data.sample_weights("sample_weight", weights, len(X))
        return cls(X, y, weights)

    @property
    def labels(self) -> Array | None:
        """The classes, if y names one in each row."""
        return self.y if self.y.ndim == 1 and self.y.dtype.kind != "f" else None

    def at(self, rows: Array) -> _Data:
        weights = None if self.weights is None else self.weights[rows]
        return _Data(self.X[rows], self.y[rows], weights)

    def encoded(self, classes: Array | None) -> _Data:
        """Return the same with places among the classes for y."""
        return self if classes is None else self._replace(y=np.searchsorted(classes, self.y))


def _classes(data: _Data, test: _Data) -> Array | None:
    if data.labels is None:
        return None
    classes = np.unique(data.labels)
    if len(classes) < 2:
        raise ValueError(f"y must hold at least two classes, got only {classes[0]!r}")
    if len(unknown := np.setdiff1d(test.y, classes)):
        raise ValueError(f"the test part has classes that are in no other row: {unknown}")
    return classes


def _trained(
    settings: Settings, seed: int, classes: Array | None, data: _Data
) -> tuple[Network, History]:
    """Return a network of these settings, trained on these data."""
    if classes is not None:
        outputs = outputs_for(len(classes), settings.get("output"))
    else:
        outputs = 1 if data.y.ndim == 1 else data.y.shape[1]
    if data.y.ndim == 1 and classes is None:
        settings = {"output": "identity", **settings}
    hidden = settings.get("hidden", HIDDEN)
    hidden = hidden if isinstance(hidden, Iterable) else (hidden,)
    of_network, of_train = (
        {name: value for name, value in settings.items() if name in names}
        for names in (OF_NETWORK, OF_TRAIN)
    )
    data = data.encoded(classes)
    network = Network([data.X.shape[1], *hidden, outputs], seed=seed, **of_network)
    of_train = {"progress": False, "sample_weight": data.weights, **of_train}
    return network, network.train(data.X, data.y, **of_train)


def _fold(
    settings: Settings, seed: int, X: Array, y: Array, rest: tuple[Any, ...]
) -> dict[str, float]:
    """Return how well a network does on the rows of a fold, trained on the others."""
    weights, classes, train, held_out = rest
    data = _Data(X, y, weights)
    try:
        network, history = _trained(settings, seed, classes, data.at(train))
    except DivergenceError:
        return {}
    scores = network.evaluate(*data.at(held_out).encoded(classes))
    return scores | {"seconds": sum(history["seconds"])}


def _summary(scores: list[dict[str, float]], measures: list[str]) -> dict[str, float]:
    """Return what the scores of the folds come to; NaN if one of them diverged."""
    table = {name: [score.get(name, math.nan) for score in scores] for name in MEASURES}
    summary = {}
    for name in measures:
        summary[name] = float(np.mean(table[name]))
        summary[f"{name}_std"] = float(np.std(table[name]))
    for i, value in enumerate(table[measures[0]] if measures else (), 1):
        summary[f"{measures[0]}_fold{i}"] = value
    return summary


def _lists(grid: Any) -> Any:
    """Return a grid as scikit-learn takes it."""
    several = grid if isinstance(grid, list | tuple) else [grid]
    if not several or not all(isinstance(each, Mapping) for each in several):
        raise TypeError(f"grid must be a mapping from names to lists of values, got {grid!r}")
    for each in several:
        for name, values in each.items():
            if isinstance(values, str) or not isinstance(values, Sequence | np.ndarray):
                raise TypeError(f"grid[{name!r}] must be a list of values to try, got {values!r}")
            if not len(values):
                raise ValueError(f"grid[{name!r}] must hold a value to try")
    return several


def _check_names(names: set[str]) -> None:
    unknown = sorted(names - TUNED)
    if unknown:
        raise ValueError(
            f"{', '.join(unknown)} can't be tuned or set here; need {', '.join(sorted(TUNED))}"
        )


def _shown(scores: Iterable[Any], count: int, progress: bool | None) -> Iterable[Any]:
    from tqdm import tqdm

    disable = None if progress is None else not progress  # None: shown on a terminal
    return tqdm(scores, total=count, unit="fits", leave=False, disable=disable)


def _text(value: Any) -> str:
    """Return a value as the command line takes it, with commas between layers."""
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else _text(value)


def needed() -> tuple[Any, Any]:
    """Return joblib and scikit-learn's model selection, or say what to install."""
    try:
        import joblib
        from sklearn import model_selection
    except ImportError:
        raise ImportError(
            "fastnn.tune needs scikit-learn: pip install 'fastnn-cpu[sklearn]'"
        ) from None
    return joblib, model_selection
