"""`Predictor`: a network for tables with its preprocessing, in one file, without scikit-learn."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastnn.activations import Array
from fastnn.checks import data as data_check
from fastnn.checks import values as check
from fastnn.checks.targets import class_weights
from fastnn.committee import Committee, members_of
from fastnn.datasets.spreadsheets import Columns
from fastnn.model import files, storage
from fastnn.network import Network
from fastnn.tabular import recipe as recipes
from fastnn.tabular.calibration import calibrate
from fastnn.tabular.merging import distinct
from fastnn.tabular.preprocessing import Preprocessing
from fastnn.tabular.recipe import Recipe
from fastnn.tabular.tables import rows_of
from fastnn.training.history import History

KEY = "tabular"  # in the metadata of a file
RESIDUALS = f"{KEY}.residuals"
WEIGHTS = f"{KEY}.residual_weights"
_DIGITS = 9  # of sums of weights, which rounding must not move past a whole number
_STEPS = 4  # of float32 in a standard deviation of the targets


@dataclass(eq=False)
class Predictor:
    """A network that takes tables as they are.

    Attributes
    ----------
    preprocessing : Preprocessing
    network : Network or Committee
        It takes what ``preprocessing`` returns. The temperature is part of its last layer, or of
        that of each member.
    classes : ndarray or None
        The classes, sorted; None if it predicts numbers.
    label : str
        What is predicted, or "".
    low, high : float
        The range of the numbers to predict.
    residuals : ndarray of float64
        Sorted errors of the rows that chose the epoch; empty for classes. They are absolute, or
        with quantiles how far the numbers are beyond them.
    residual_weights : ndarray of float64 or None
        Weights of these rows, of mean 1; None if each has the same.
    temperature : float
        That by which the outputs before softmax were divided.
    """

    preprocessing: Preprocessing
    network: Network | Committee
    classes: Array | None = None
    label: str = ""
    low: float = -math.inf
    high: float = math.inf
    residuals: Array = field(default_factory=lambda: np.empty(0))
    residual_weights: Array | None = None
    temperature: float = 1.0

    @property
    def networks(self) -> list[Network]:
        """The network, or the members of the committee."""
        return members_of(self.network)

    def outputs(self, X: Any) -> Array:
        """Return probabilities, (rows, classes), or numbers, (rows, 1 or 3), as float64.

        Three numbers are quantiles, with the median in the middle.

        Parameters
        ----------
        X : Columns, DataFrame or array
            See `fastnn.tabular.tables.columns_of`.

        Raises
        ------
        TypeError, ValueError
            If X is not as described, or lacks a column.
        DivergenceError
            If an output is not finite.
        """
        found = self.network.predict_proba(self.preprocessing.transform(X))
        found = found.astype(np.float64)
        if self.classes is None:
            return np.clip(found, self.low, self.high)
        return found / found.sum(axis=1, keepdims=True)

    def predict(self, X: Any) -> Array:
        """Return the class or the number of each row, (rows,).

        Parameters
        ----------
        X
            As for `outputs`.

        Raises
        ------
        TypeError, ValueError, DivergenceError
            As for `outputs`.
        """
        found = self.outputs(X)
        if self.classes is None:
            return found[:, found.shape[1] // 2]
        return self.classes[found.argmax(axis=1)]

    def interval(self, X: Any, coverage: float = 0.9) -> Array:
        """Return the ends of intervals, (rows, 2), that hold a share ``coverage`` of new numbers.

        Split-conformal (Lei et al., 2018): each prediction plus and minus the absolute error that
        so many of the rows have that chose the epoch. Rows count by their weights (Tibshirani et
        al., 2019), and a new row has the mean weight.

        Parameters
        ----------
        X
            As for `outputs`.
        coverage : float
            Between 0 and 1.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described, or there are too few rows for such a coverage.
        """
        check.real("coverage", coverage, above=0, below=1)
        count = len(self.residuals)
        weights = np.ones(count) if self.residual_weights is None else self.residual_weights
        held = np.round(np.cumsum(weights), _DIGITS)
        place = int(np.searchsorted(held, round((count + 1) * coverage, _DIGITS)))
        if place == count:
            needed = math.ceil(round(coverage / (1 - coverage), _DIGITS))
            raise ValueError(
                f"coverage is {coverage:g}, for which {needed} rows must be set aside in fit; "
                f"there were {count}: need a lower coverage or more rows"
            )
        ends = self.outputs(X)[:, [0, -1]]
        # Quantiles that are moved beyond each other leave the way between them.
        return np.sort(ends + self.residuals[place] * np.array([-1.0, 1.0]), axis=1)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to a ``.safetensors`` file, which `load` reads.

        `fastnn.load` reads the network in it.

        Parameters
        ----------
        path : str or path

        Raises
        ------
        TypeError, OSError
            As for `Network.save`.
        """
        models = [net.model for net in self.networks]
        if isinstance(self.network, Committee):
            tensors, metadata = files.contents_of_several(models, optimizer=False)
        else:
            tensors, metadata = files.contents(models[0], optimizer=False)
        numbers = self.classes is None
        metadata[KEY] = {
            "columns": self.preprocessing.plain(),
            "classes": None if self.classes is None else self.classes.tolist(),
            "label": self.label,
            "range": [self.low, self.high] if numbers else None,
            "temperature": self.temperature,
        }
        if len(self.residuals):
            tensors[RESIDUALS] = np.asarray(self.residuals, np.float64)
        if self.residual_weights is not None:
            tensors[WEIGHTS] = np.asarray(self.residual_weights, np.float64)
        storage.write(path, tensors, metadata)


def load(
    path: str | os.PathLike[str], backend: str = "numba", threads: int | None = None
) -> Predictor:
    """Load a predictor from a file of `Predictor.save`.

    The whole file is checked first. Nothing in it is executed.

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
        If the file is damaged, or holds no predictor for tables; if an argument is not as
        described.
    """
    made = found_in(path, *storage.read(path))
    if made is None:
        raise ValueError(
            f"{os.fspath(path)!r} holds a network without preprocessing; fastnn.load reads it"
        )
    for net in made.networks:
        net.backend, net.threads = backend, threads
    return made


def found_in(
    path: str | os.PathLike[str], tensors: storage.Tensors, metadata: dict[str, Any]
) -> Predictor | None:
    """Return the predictor in a file, or None if it holds a network alone."""
    if KEY not in metadata:
        return None
    name = repr(os.fspath(path))
    several = files.MEMBERS in metadata
    models = (
        files.models_of(name, tensors, metadata, None)
        if several
        else [files.model_of(name, tensors, metadata, None)]
    )
    networks = [Network.of(model) for model in models]
    try:
        net = Committee(networks) if several else networks[0]
        residuals, weights = tensors.get(RESIDUALS, np.empty(0)), tensors.get(WEIGHTS)
        return _of_plain(net, dict(metadata[KEY]), residuals, weights)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{name} does not describe a network for tables: {error!r}") from None


def _of_plain(
    net: Network | Committee, found: dict[str, Any], residuals: Array, weights: Array | None
) -> Predictor:
    preprocessing = Preprocessing.of_plain(found["columns"])
    sizes = members_of(net)[0].architecture.sizes
    inputs, outputs = sizes[0], sizes[-1]
    if len(preprocessing.names) != inputs:
        raise ValueError(f"{len(preprocessing.names)} inputs for a network that takes {inputs}")
    label, temperature = found["label"], check.real("temperature", found["temperature"], above=0)
    if not isinstance(label, str):
        raise TypeError(f"label must be a text, got {label!r}")
    if found["classes"] is None:
        if outputs not in (1, 3) or residuals.ndim != 1 or not np.isfinite(residuals).all():
            raise ValueError("need one output or three, and finite residuals")
        low, high = (check.real("range", each) for each in found["range"])
        if weights is not None:
            weights = data_check.sample_weights(WEIGHTS, weights, len(residuals))
        made = Predictor(preprocessing, net, None, label, low, high)
        made.residuals, made.residual_weights = _by_size(residuals, weights)
        return made
    classes = np.array(found["classes"])
    if classes.dtype.kind not in "biufU" or classes.shape != (outputs,):
        raise ValueError(f"need names of {outputs} classes")
    return Predictor(preprocessing, net, classes, label, temperature=temperature)


def fit(
    table: Columns,
    y: Array,
    recipe: Recipe,
    seed: int,
    *,
    weights: Array | None = None,
    categories: Collection[str] = (),
    backend: str = "numba",
    threads: int | None = None,
    label: str = "",
    callbacks: Sequence[Any] = (),
) -> tuple[Predictor, list[History]]:
    """Learn the preprocessing, and train a network, or several side by side.

    The order of the rows changes nothing, and equal rows are one, see `fastnn.tabular.merging`.

    Parameters
    ----------
    table : Columns
    y : ndarray of shape (rows,)
        Classes, if the recipe is for classes, else numbers.
    recipe : Recipe
    seed : int
        Of the rows set aside, the initial weights and the order of the rows.
    weights : array of shape (rows,), optional
        Finite, at least 0, and not all 0. They count in training, in the choice of the epoch, in
        the temperature, in intervals and in balanced classes. Rows of weight 0 are left out.
    categories : collection of str
        Columns whose numbers are names of levels.
    backend, threads
        As for `Network`.
    label : str
        What is predicted.
    callbacks : sequence of callable
        As for `Network.train`, or with several members for `Committee.train`.

    Returns
    -------
    predictor : Predictor
    histories : list of History
        One for each network.

    Raises
    ------
    TypeError, ValueError
        If there is nothing to learn from.
    DivergenceError
        As for `Network.train`.
    """
    classes = None
    if recipe.classes:
        classes = np.unique(y if weights is None else y[weights > 0])
        y = np.searchsorted(classes, y)  # also of rows of weight 0, which are left out
        if len(classes) < 2:
            where = "" if weights is None else " in the rows of a weight above 0"
            raise ValueError(
                f"y holds one class{where}, {classes.tolist()}; need two classes or more"
            )
    known = distinct(table, y, weights)
    y = y[known.rows]
    if classes is None:
        _check_spread(y)
    training, aside = known.parts(recipe.validation, None if classes is None else y, seed)
    # A level that only rows set aside have would have weights that were never trained.
    preprocessing = Preprocessing.fit(rows_of(table, known.repeated(training.rows)), categories)
    inputs = preprocessing.transform(rows_of(table, known.rows), quiet=True)
    outputs = len(getattr(recipe.loss, "levels", "1")) if classes is None else len(classes)
    seeds = np.random.default_rng([seed, 6]).integers(2**31, size=recipe.members - 1).tolist()
    nets = [
        recipes.network(recipe, inputs.shape[1], outputs, each, backend, threads)
        for each in (seed, *seeds)
    ]
    by_class = None
    if recipe.class_weight is not None:
        names = None if classes is None else classes.tolist()
        by_class = class_weights(recipe.class_weight, y, nets[0].architecture, names)
        if isinstance(recipe.class_weight, str) and known.weights is not None:  # "balanced"
            by_class = known.weights.sum() / (len(by_class) * np.bincount(y, known.weights))
    rows, held_out = (part.arrays(inputs, y, by_class) for part in (training, aside))
    if len(nets) == 1:
        histories = [recipes.train(recipe, nets[0], rows, held_out, callbacks)]
    else:
        histories = recipes.train_several(recipe, nets, rows, held_out, callbacks)
    for each in nets:
        each.model.optimizer_state = None
        if len(set(preprocessing.names)) == len(preprocessing.names):
            each.features = preprocessing.names
    net = nets[0] if len(nets) == 1 else Committee(nets)
    made = Predictor(preprocessing, net, classes, label)
    if classes is None:
        made.low, made.high = float(y.min()), float(y.max())
        found = np.clip(net.predict_proba(held_out[0]).astype(float), made.low, made.high)
        residuals = np.maximum(found[:, 0] - held_out[1], held_out[1] - found[:, -1])
        shares = held_out[2] / held_out[2].mean() if len(held_out) > 2 else None
        made.residuals, made.residual_weights = _by_size(residuals, shares)
        return made, histories
    if all(isinstance(name, str | int) for name in classes.tolist()):
        for each in nets:
            each.classes = classes.tolist()
    if recipe.calibrate:
        made.temperature = calibrate(nets, *held_out, times=aside.times)
    return made, histories


def _check_spread(y: Array) -> None:
    """Refuse numbers that float32, in which the network computes, does not have or tell apart."""
    limits = np.finfo(np.float32)
    largest = float(abs(y).max())
    spread = float((y / largest).std()) * largest if largest else 0.0
    least = max(float(limits.tiny), _STEPS * largest * float(limits.eps))
    if largest > float(limits.max) or 0 < spread < least:
        raise ValueError(
            f"y holds numbers from {y.min():.9g} to {y.max():.9g}, which float32 does not have or "
            "cannot tell apart; need (y - y.mean()) / y.std(), and predictions turned back"
        )


def _by_size(residuals: Array, weights: Array | None) -> tuple[Array, Array | None]:
    """Return residuals in order, with their weights."""
    order = np.argsort(residuals, kind="stable")
    return residuals[order], None if weights is None else weights[order]
