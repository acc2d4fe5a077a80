"""Tuning: k-fold cross-validation of combinations of settings, and a final network of the best.

Folds, grids and workers are those of scikit-learn and joblib.
"""

from __future__ import annotations

import csv
import dataclasses
import inspect
import math
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastnn.activations import Array
from fastnn.checks import data as check_data
from fastnn.checks import tuning as check_tuning
from fastnn.checks import values as check
from fastnn.checks.sparse import rows_of
from fastnn.checks.tables import matched, names_of, warn_of_indexes
from fastnn.checks.warning import ConvergenceWarning
from fastnn.model.architecture import outputs_for
from fastnn.network import Network
from fastnn.sparse_rows import is_sparse
from fastnn.training import settings as training_settings
from fastnn.training.evaluation import DivergenceError
from fastnn.training.history import History
from fastnn.writing import replacing

Settings = dict[str, Any]
OF_NETWORK = set(inspect.signature(Network).parameters) - {"sizes", "seed"}
# Checkpoints are for a single network.
OF_TRAIN = {*training_settings.NAMES, "validation", "class_weight"} - {
    "checkpoint", "checkpoint_every", "resume", "communicator",
}  # fmt: skip
TUNED = {"hidden", *OF_NETWORK, *OF_TRAIN}
HIDDEN = (128,)
# The measures of a fold; the first one that the data have decides the rank.
MEASURES = ("macro_f1", "r2", "accuracy", "mae", "rmse", "loss", "seconds")


@dataclasses.dataclass(frozen=True)
class Tuning:
    """The result of `tune`; as text it is a table of the combinations.

    Attributes
    ----------
    results : list of dict
        One per combination, the best first: ``rank``; the settings of the grid; for each of
        ``macro_f1``, ``accuracy``, ``loss`` (for numbers ``r2``, ``mae``, ``rmse``, ``loss``) and
        ``seconds`` of training the mean over the folds and the standard deviation (population), as
        ``accuracy_std``; last the measure that decides the rank in each fold, as
        ``macro_f1_fold1``. If training diverged in a fold, the measures are NaN.
    best : dict
        The settings of the best combination.
    network : Network
        Trained with these settings on all rows but the test data.
    history : History
        The history of its training.
    test : dict
        Its evaluation on the test data, which nothing else used.
    classes : ndarray or None
        The class of each output; None for numbers, and for several labels per row.
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
        """Write a CSV file: a header and a line per combination.

        The file appears complete or not at all. It replaces an older file of that name.

        Parameters
        ----------
        path : str or path

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
    """Find the best settings by k-fold cross-validation.

    All combinations are trained and evaluated on the same folds. The best one, by macro-F1 or for
    numbers R2, is trained again on all rows but the test data.

    Parameters
    ----------
    X : array of shape (rows, features), or DataFrame
        As for `Network.train`.
    y : array of shape (rows,) or (rows, outputs)
        Integers, strings or bools are classes, which the network then predicts; floats are numbers,
        with the default output "identity"; two dimensions are targets as for `Network.train`.
    grid : mapping, or list of mappings
        From names to lists of values, of which all combinations are tried; of several mappings, the
        combinations of each. Names are the arguments of `Network` (without ``sizes`` and ``seed``)
        and of `Network.train`, and ``hidden``, the units of each hidden layer. The values of
        ``hidden`` are tuples, one for each network: ``[(64,), (128, 64)]`` tries one hidden layer
        of 64 units, and two of 128 and 64. Default of ``hidden``: (128,).
    folds : int
        At least 2, and at most the rows of the largest class (for numbers, all rows). Each fold has
        the same share of each class; a class with fewer rows than folds is missing in some.
    test : float or (X, y)
        Test data, or the share of the rows to set aside for them.
    jobs : int, optional
        Networks to train at the same time, in separate processes: None is one, -1 is one per CPU.
        Each gets its share of the CPUs as threads, unless ``threads`` is given. With
        ``joblib.parallel_config`` other workers can be used, such as those of Dask.
    seed : int
        Seed of the folds, the test rows and all networks. The results do not depend on ``jobs``.
    sample_weight : array of shape (rows,), optional
        As for `Network.train`, and in evaluation.
    progress : bool, optional
        Show a progress bar. Default: only if standard error is a terminal.
    **settings
        Settings that all combinations share, with the names of the grid.

    Returns
    -------
    Tuning

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described, a setting is unknown, or a class has too few rows.
    DivergenceError
        If training diverged with every combination, or in the final training of the best one. A
        combination also counts as diverged if an output on a fold is not finite.
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
    combinations = list(selection.ParameterGrid(check_tuning.grid(grid)))
    _check_names({*settings, *(name for each in combinations for name in each)})
    folds = check.integer("folds", folds, 2)
    seed = check.integer("seed", seed, 0)
    names = names_of("X", X)
    warn_of_indexes(X, y=y, sample_weight=sample_weight)
    data = _Data.of("X", matched("X", X, names), y, sample_weight)
    known = np.arange(len(data.X))
    if isinstance(test, tuple | list):
        test_X, test_y, weights = check_data.held_out("test", test)
        test_data = _Data.of("test X", matched("test X", test_X, names), test_y, weights)
    else:
        share = check.real("test", test, above=0, below=1)
        check_tuning.share(share, len(data.X), data.labels)
        parts = selection.train_test_split(
            known, test_size=share, random_state=seed, stratify=data.labels
        )
        known, aside = map(np.sort, parts)
        test_data = data.at(aside)
    classes = _classes(data.at(known), test_data)
    kind = selection.KFold if classes is None else selection.StratifiedKFold
    check_tuning.folds(folds, data.at(known).labels, len(known))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about classes that some folds lack
        splits = kind(folds, shuffle=True, random_state=seed).split(known, data.y[known])
        parts = [(known[train], known[held_out]) for train, held_out in splits]
    workers = joblib.effective_n_jobs(jobs)
    share_of_cpus = {"threads": max(1, joblib.cpu_count() // workers)} if workers > 1 else {}
    # X and y are arguments themselves, so that they are sent once. The rest is in a tuple: Dask
    # would keep a separate array on a single worker, and lose it if that worker dies.
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
    network.features = names
    return Tuning(
        results=[
            {"rank": rank, **combinations[i], **summaries[i]} for rank, i in enumerate(order, 1)
        ],
        best=best,
        network=network,
        history=history,
        test=network.evaluate(*test_data.targets(classes, network)),
        classes=classes,
    )


class _Data(NamedTuple):
    """Rows, targets, and weights of the rows or None."""

    X: Any  # an array, or SparseRows
    y: Array
    weights: Array | None

    @classmethod
    def of(cls, name: str, X: Any, y: Any, weights: Any) -> _Data:
        X, y = rows_of(name, X) if is_sparse(X) else np.asarray(X), np.asarray(y)
        if X.ndim != 2 or y.shape[:1] != X.shape[:1]:
            raise ValueError(
                f"{name} must have shape (rows, features), and {name[:-1]}y as many rows; "
                f"got {X.shape} and {y.shape}"
            )
        if weights is not None:
            weights = check_data.sample_weights("sample_weight", weights, len(X))
        return cls(X, y, weights)

    @property
    def labels(self) -> Array | None:
        """The class of each row, or None."""
        return self.y if self.y.ndim == 1 and self.y.dtype.kind != "f" else None

    def at(self, rows: Array) -> _Data:
        weights = None if self.weights is None else self.weights[rows]
        return _Data(self.X[rows], self.y[rows], weights)

    def targets(self, classes: Array | None, network: Network) -> _Data:
        """Return the same data with y as a network takes it: only some outputs have names."""
        if classes is None or network.architecture.output in ("softmax", "sigmoid"):
            return self
        return self._replace(y=np.searchsorted(classes, self.y))


def _classes(data: _Data, test: _Data) -> Array | None:
    if data.labels is None:
        return None
    classes = np.unique(data.labels)
    if len(classes) < 2:
        raise ValueError(f"y must hold at least two classes, got only {classes.tolist()[0]!r}")
    if len(unknown := np.setdiff1d(test.y, classes)):
        raise ValueError(
            f"test has the classes {unknown.tolist()}, which no other row has; need rows of every "
            "class to train on"
        )
    return classes


def _trained(
    settings: Settings, seed: int, classes: Array | None, data: _Data
) -> tuple[Network, History]:
    """Return a network with these settings, trained on these data, and its history."""
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
    network = Network([data.X.shape[1], *hidden, outputs], seed=seed, **of_network)
    network.classes = None if classes is None else classes.tolist()
    data = data.targets(classes, network)
    of_train = {"progress": False, "sample_weight": data.weights, **of_train}
    return network, network.train(data.X, data.y, **of_train)


def _fold(
    settings: Settings, seed: int, X: Any, y: Array, rest: tuple[Any, ...]
) -> dict[str, float]:
    """Train on the other folds and return the evaluation on one; nothing if training diverged."""
    weights, classes, train, held_out = rest
    data = _Data(X, y, weights)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the scores tell
            network, history = _trained(settings, seed, classes, data.at(train))
        scores = network.evaluate(*data.at(held_out).targets(classes, network))
    except DivergenceError:
        return {}
    return scores | {"seconds": sum(history["seconds"])}


def _summary(scores: list[dict[str, float]], measures: list[str]) -> dict[str, float]:
    """Return means and deviations of the scores of the folds; NaN if one of them diverged."""
    columns = {name: [score.get(name, math.nan) for score in scores] for name in MEASURES}
    summary = {}
    for name in measures:
        summary[name] = float(np.mean(columns[name]))
        summary[f"{name}_std"] = float(np.std(columns[name]))
    for i, value in enumerate(columns[measures[0]] if measures else (), 1):
        summary[f"{measures[0]}_fold{i}"] = value
    return summary


def _check_names(names: set[str]) -> None:
    unknown = sorted(names - TUNED)
    if unknown:
        raise ValueError(
            f"{', '.join(unknown)} cannot be tuned or set here; need {', '.join(sorted(TUNED))}"
        )


def _shown(scores: Iterable[Any], count: int, progress: bool | None) -> Iterable[Any]:
    from tqdm import tqdm

    disable = None if progress is None else not progress  # None: shown on a terminal
    return tqdm(scores, total=count, unit="fits", leave=False, disable=disable)


def _text(value: Any) -> str:
    """Return a value as a user types it for the command line, with commas between layers."""
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else _text(value)


def needed() -> tuple[Any, Any]:
    """Return joblib and scikit-learn's model selection; without them say what to install."""
    try:
        import joblib
        from sklearn import model_selection
    except ImportError:
        raise ImportError(
            "fastnn.tune needs scikit-learn: pip install 'fastnn-cpu[sklearn]'"
        ) from None
    return joblib, model_selection
