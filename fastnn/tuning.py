"""Tuning: k-fold cross-validation of combinations of settings, and a final network of the best."""

from __future__ import annotations

import csv
import dataclasses
import inspect
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastnn import searching
from fastnn.activations import Array
from fastnn.checks import data as check_data
from fastnn.checks import tuning as check_tuning
from fastnn.checks import values as check
from fastnn.checks.keywords import ELSEWHERE
from fastnn.checks.tables import matched, names_of, warn_of_indexes
from fastnn.checks.warning import heard_by
from fastnn.committee import DEFAULTS
from fastnn.crossvalidation import OF_NETWORK, OF_TRAIN, CrossValidation, Data, Scores, trained
from fastnn.folds import set_aside, split
from fastnn.network import Network
from fastnn.searching import Settings
from fastnn.streams.stream import Stream
from fastnn.training.evaluation import DivergenceError
from fastnn.training.history import History
from fastnn.training.loop import bar_of
from fastnn.writing import replacing

TUNED = {"hidden", *OF_NETWORK, *OF_TRAIN}
# The measures of a fold; the first one that the data have decides the rank.
MEASURES = ("macro_f1", "r2", "accuracy", "mae", "rmse", "loss", "seconds")
# What others, and networks, call the arguments here.
CALLED = {"cv": "folds", "n_jobs": "jobs", "sizes": "hidden"}
LARGEST_SEED = 2**32 - 1  # of NumPy's generator that shuffles as scikit-learn does


@dataclasses.dataclass(frozen=True)
class Tuning:
    """The result of `tune`; as text it is a table of the combinations.

    Attributes
    ----------
    results : list of dict
        One per combination, the best first: ``rank``; the settings of the grid, "" if only others
        have one; with halving ``epochs_trained``, the most epochs that it was tried with; for each
        of ``macro_f1``, ``accuracy``, ``loss`` (for numbers ``r2``, ``mae``, ``rmse``, ``loss``)
        and ``seconds`` of training the mean over the folds and the standard deviation (population),
        as ``accuracy_std``; last the measure that decides the rank in each fold, as
        ``macro_f1_fold1``. If training diverged in a fold, the measures are NaN. With halving,
        those tried with more epochs come first.
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


def tune(  # noqa: PLR0913 - each is a setting that users name
    X: npt.ArrayLike,
    y: npt.ArrayLike | None = None,
    grid: Mapping[str, Sequence[Any]] | Iterable[Mapping[str, Sequence[Any]]] | None = None,
    *,
    folds: int = 5,
    test: float | tuple[npt.ArrayLike, npt.ArrayLike] = 0.2,
    random: int | None = None,
    halving: bool | int = False,
    jobs: int | None = None,
    seed: int = 0,
    sample_weight: npt.ArrayLike | None = None,
    progress: bool | None = None,
    **settings: Any,
) -> Tuning:
    """Find the best settings by k-fold cross-validation.

    All combinations are trained and evaluated on the same folds, side by side in threads that read
    the same rows. The best one, by macro-F1 or for numbers R2, is trained again on all rows but the
    test data.

    Parameters
    ----------
    X : array of shape (rows, features), or DataFrame
        As for `Network.train`.
    y : array of shape (rows,) or (rows, outputs)
        Integers, strings or bools, also in a column, are classes, which the network then predicts;
        floats are numbers, with the default output "identity"; several columns are targets as for
        `Network.train`.
    grid : mapping, or list of mappings
        From names to lists of values, of which all combinations are tried; of several mappings, the
        combinations of each. Names are the arguments of `Network` (without ``sizes`` and ``seed``)
        and of `Network.train`, and ``hidden``, the units of each hidden layer. The values of
        ``hidden`` are tuples, one for each network: ``[(64,), (128, 64)]`` tries one hidden layer
        of 64 units, and two of 128 and 64. Default of ``hidden``: (128,). With ``random`` values
        may also be a distribution with a method ``rvs``, such as ``scipy.stats.loguniform(1e-3,
        1)``.
    folds : int
        At least 2, and at most the rows of the largest class (for numbers, all rows). Each fold has
        the same share of each class; a class with fewer rows than folds is missing in some.
    test : float or (X, y)
        Test data, or the share of the rows to set aside for them.
    random : int, optional
        Try so many combinations, drawn at random from the grid: each value of a list is as likely
        as the others, and of lists alone no combination comes twice. Default: all.
    halving : bool or int
        Try all combinations on few epochs first; the best third goes on to three times as many, and
        so on up to ``epochs`` (successive halving, Jamieson and Talwalkar, 2016). An integer from 2
        is another factor than 3. Each time training starts anew, so that schedules are whole.
    jobs : int, optional
        Networks to train at the same time. Each gets its share of the CPUs, unless ``threads`` is
        given. Default, and -1: as many as CPUs. Within ``joblib.parallel_config(backend=...)`` with
        a backend that is no thread's, such as "loky" for processes or "dask", they are trained by
        its workers, and ``jobs`` means what it does there.
    seed : int
        Seed of the folds, the test rows, the random combinations and all networks. The results do
        not depend on ``jobs``.
    sample_weight : array of shape (rows,), optional
        As for `Network.train`, and in evaluation.
    progress : bool, optional
        Show a progress bar. Default: only if standard error is a terminal.
    **settings
        Settings that all combinations share, with the names of the grid. Callbacks are called for
        one network at a time; other functions by several threads.

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
    KeyboardInterrupt
        On Ctrl-C, which ends all networks within a quarter of a second.

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
    if isinstance(X, Stream):
        X.__array__()  # whose error says what takes streams
    count = None if random is None else check.integer("random", random, 1)
    factor = check_tuning.factor(halving)
    folds = check.integer("folds", folds, 2)
    seed = check.integer("seed", seed, 0, LARGEST_SEED)
    combinations = searching.combinations(check_tuning.grid(grid, count), count, seed)
    tuned = dict.fromkeys(name for each in combinations for name in each)
    _check_names({*settings, *tuned})
    settings = {
        name: tuple(value) if isinstance(value, Iterator) else value
        for name, value in settings.items()
    }
    names = names_of("X", X)
    warn_of_indexes(X, y=y, sample_weight=sample_weight)
    data = Data.of("X", matched("X", X, names), y, sample_weight)
    known = np.arange(len(data.X))
    if isinstance(test, int | float | np.number):
        share = check.real("test", test, above=0, below=1)
        check_tuning.share(share, len(data.X), data.labels)
        known, aside = set_aside(share, len(data.X), data.labels, seed)
        test_data = data.at(aside)
    else:
        test_X, test_y, weights = check_data.held_out("test", test)
        test_data = Data.of("test X", matched("test X", test_X, names), test_y, weights)
    labels = None if data.labels is None else data.labels[known]
    classes = _classes(labels, test_data)
    check_tuning.folds(folds, labels, len(known))
    parts = split(folds, known, labels, seed)
    validate = CrossValidation(data, test_data, classes, parts, seed, jobs)
    given = [settings | each for each in combinations]
    order, found = _searched(validate, given, factor, progress)
    best = combinations[order[0]]
    with heard_by(validate.was_said):
        network, history = trained(settings | best, seed, classes, data, known)
    network.features = names
    asked = test_data.targets(classes, network)
    return Tuning(
        results=[
            {"rank": rank, **{name: combinations[i].get(name, "") for name in tuned}, **found[i]}
            for rank, i in enumerate(order, 1)
        ],
        best=best,
        network=network,
        history=history,
        test=network.evaluate(X=asked.X, y=asked.y, sample_weight=asked.weights),
        classes=classes,
    )


def _searched(
    validate: CrossValidation, given: list[Settings], factor: int | None, progress: bool | None
) -> tuple[list[int], list[Settings]]:
    """Return the positions of settings, the best first, and what the table says of each.

    With a factor it is successive halving. Each rung trains anew, so that schedules are whole.
    """
    count, epochs = len(given), [1] * len(given)
    if factor is not None:
        default = DEFAULTS["epochs"]
        epochs = [check.integer("epochs", each.get("epochs", default), 1) for each in given]
    rungs = searching.rungs(count, max(epochs), factor)

    def at(i: int, rung: searching.Rung) -> Settings:
        return given[i] if factor is None else {**given[i], "epochs": rung.epochs(epochs[i])}

    order = list(range(count))
    values = [0.0] * count  # by which they are ranked
    scores: dict[int, list[Scores]] = {}  # on the highest rung of each
    reached: dict[int, searching.Rung] = {}
    with bar_of(progress, sum(rung.size for rung in rungs) * len(validate.folds), "fits") as bar:
        for rung in reversed(rungs):
            try:
                validate.check([at(i, rung) for i in order], bar)
            except ValueError as error:
                if rung.divisor > 1:
                    raise ValueError(f"on the fewer epochs of halving: {error}") from error
                raise
        for rung in rungs:
            trying = [i for i in order[: rung.size] if not math.isnan(values[i])]
            scores.update(zip(trying, validate([at(i, rung) for i in trying], bar), strict=True))
            reached.update(dict.fromkeys(trying, rung))
            every = [score for each in scores.values() for score in each]
            measures = [name for name in MEASURES if any(name in score for score in every)]
            table = [_summary(scores[i], measures) for i in range(count)]
            values = [row[measures[0]] if measures else math.nan for row in table]
            if all(math.isnan(value) for value in values):
                why = next((score["diverged"] for score in every if "diverged" in score), "")
                first = f". The first network: {why}" if why else ""
                raise DivergenceError(
                    f"training diverged with every combination; try lower learning rates{first}"
                )
            order.sort(
                key=lambda i: (
                    math.isnan(values[i]),
                    reached[i].divisor,
                    -np.nan_to_num(values[i]),
                    i,
                )
            )
    if factor is not None:
        table = [
            {"epochs_trained": reached[i].epochs(epochs[i]), **row} for i, row in enumerate(table)
        ]
    return order, table


def _classes(labels: Array | None, test: Data) -> Array | None:
    if labels is None:
        return None
    classes = np.unique(labels)
    if len(classes) < 2:
        raise ValueError(f"y must hold at least two classes, got only {classes.tolist()[0]!r}")
    if len(unknown := np.setdiff1d(test.y, classes)):
        raise ValueError(
            f"test has the classes {unknown.tolist()}, which no other row has; need rows of every "
            "class to train on"
        )
    return classes


def _summary(scores: list[Scores], measures: list[str]) -> Settings:
    """Return means and deviations of the scores of the folds; NaN if one of them diverged."""
    columns = {name: [score.get(name, math.nan) for score in scores] for name in MEASURES}
    summary: Settings = {}
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
            f"{_hint(unknown[0])}"
        )


def _hint(name: str) -> str:
    """Return what may have been meant by a name that is no setting."""
    own = {*inspect.signature(tune).parameters} - {"X", "y", "grid", "settings"}
    if name in own:
        return f"; {name} is an argument of tune itself"
    other = {**ELSEWHERE, **CALLED}.get(name.lower(), name)
    other = CALLED.get(other, other)
    return f"; did you mean {other!r}?" if other in TUNED | own else check.meant(name, TUNED | own)


def _text(value: Any) -> str:
    """Return a value as a user types it for the command line, with commas between layers."""
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else _text(value)
