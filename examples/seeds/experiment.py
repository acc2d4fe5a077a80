"""What an experiment is, and how one is run."""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

import fastnn

# Both write-ups minimise half the sum of the squared errors of ten outputs, fastnn's "mse" is their
# mean: a fifth of that. So each rate and penalty of theirs has an equal here.
RATE, PENALTY = 5, 1 / 5
SIGMOIDS = {"activation": "sigmoid", "output": "sigmoid", "loss": "mse"}
OF_TRAIN = set(inspect.signature(fastnn.Network.train).parameters)
KAGGLE_ROWS = 42_000

Settings = dict[str, Any]


class Figures(NamedTuple):
    """What is known of a run: shares from 0 to 1, and seconds."""

    accuracy: float | None = None
    f1: float | None = None
    seconds: float | None = None


class Split(NamedTuple):
    """Rows to train on and to test on, as uint8, which fastnn scales to 0..1."""

    X: np.ndarray
    y: np.ndarray
    test_X: np.ndarray
    test_y: np.ndarray


@dataclass(frozen=True)
class Limits:
    """How far to go; less than everything is for trying things out."""

    rows: int | None = None
    epochs: int | None = None
    jobs: int | None = -1
    steps: int = 1000  # to time where no time is given


@dataclass(frozen=True)
class Experiment:
    """An experiment of a write-up, or one that its author wished for.

    Parameters
    ----------
    name : str
    theirs : Figures
        Those of the write-up, as far as it gives them.
    settings : mapping
        By the names of `fastnn.tune`: ``hidden``, arguments of `Network` and of `Network.train`.
    data : str
        "mnist" or "kaggle".
    scaled : bool
        Bring pixels to 0..1; otherwise they are 0..255.
    score_training : bool
        Test on the rows that were trained on.
    grid : mapping
        What to choose by cross-validation beforehand.
    tuning : mapping
        Other settings for that, by the names of `fastnn.tune`, and its number of ``rows``.
    remark : str
    reason : str
        Why ours may be less accurate than the write-up's.
    slow_reason : str
        Why ours may be slower than it should be; by default the same.
    stand_in : bool
        Measure how long a step for each row takes in NumPy, as no time is given.
    first_output : sequence of float
        The write-up's outputs for the first test image.
    """

    name: str
    theirs: Figures
    settings: Mapping[str, Any]
    data: str = "mnist"
    scaled: bool = True
    score_training: bool = False
    grid: Mapping[str, Any] = field(default_factory=dict)
    tuning: Mapping[str, Any] = field(default_factory=dict)
    remark: str = ""
    reason: str = "not known why"
    slow_reason: str = ""
    stand_in: bool = False
    first_output: Sequence[float] = ()


class Result(NamedTuple):
    """What came of an experiment here."""

    ours: Figures
    stand_in: float | None  # seconds
    best: Settings  # what cross-validation chose
    first_output: list[float]


def mnist() -> Split:
    """Return MNIST's own split."""
    return Split(*fastnn.datasets.load_mnist())


def kaggle() -> Split:
    """Return as many of MNIST's rows as Kaggle's training set has, a tenth of them to test on."""
    images, labels, test_images, test_labels = fastnn.datasets.load_mnist()
    X, y = np.concatenate([images, test_images]), np.concatenate([labels, test_labels])
    rows = np.random.default_rng(0).permutation(len(X))[:KAGGLE_ROWS]
    test, known = np.split(rows, [KAGGLE_ROWS // 10])
    return Split(X[known], y[known], X[test], y[test])


DATA = {"mnist": mnist, "kaggle": kaggle}


def train(X: np.ndarray, y: np.ndarray, **settings: Any) -> fastnn.Network:
    """Return a network trained with settings by the names of `fastnn.tune`."""
    hidden = settings.pop("hidden")
    of_train = {name: settings.pop(name) for name in OF_TRAIN & set(settings)}
    net = fastnn.Network([X.shape[1], *hidden, 10], seed=0, **settings)
    net.train(X, y, progress=False, **of_train)
    return net


def run(experiment: Experiment, limits: Limits | None = None) -> Result:
    """Read the data, train, and test; all of it is timed."""
    limits = limits or Limits()
    start = time.perf_counter()
    split = _read(experiment, limits.rows)
    settings, best = dict(experiment.settings), {}
    if experiment.grid:
        best = _tuned(experiment, split, limits)
        settings |= best
    net = train(split.X, split.y, **_limited(settings, len(split.X), limits))
    tested = split[:2] if experiment.score_training else split[2:]
    scores = net.evaluate(*tested)
    seconds = time.perf_counter() - start
    return Result(
        Figures(scores["accuracy"], scores["macro_f1"], seconds),
        _stand_in(settings, split, limits.steps) if experiment.stand_in else None,
        best,
        net.predict_one(split.test_X[0]).tolist(),
    )


def _read(experiment: Experiment, rows: int | None) -> Split:
    split = Split(*(array[:rows] for array in DATA[experiment.data]()))
    if experiment.scaled:
        return split
    X, test_X = split.X.astype(np.float32), split.test_X.astype(np.float32)
    return split._replace(X=X, test_X=test_X)


def _limited(settings: Settings, rows: int, limits: Limits) -> Settings:
    epochs = min(settings["epochs"], limits.epochs or math.inf)
    return settings | {"epochs": epochs, "batch_size": min(settings["batch_size"], rows)}


def _tuned(experiment: Experiment, split: Split, limits: Limits) -> Settings:
    tuning = dict(experiment.tuning)
    rows = tuning.pop("rows", None)
    X, y = split.X[:rows], split.y[:rows]
    settings = _limited({**experiment.settings, **tuning}, len(X), limits)
    found = fastnn.tune(
        X, y, experiment.grid, test=split[2:], jobs=limits.jobs, progress=False, **settings
    )
    return found.best


def _stand_in(settings: Settings, split: Split, steps: int) -> float:
    """Return the seconds that all epochs would take with a step for each row, in NumPy."""
    one_by_one = {**settings, "epochs": 1, "batch_size": 1, "backend": "numpy"}
    X, y = split.X[:steps], split.y[:steps]
    start = time.perf_counter()
    train(X, y, **one_by_one)
    return (time.perf_counter() - start) * settings["epochs"] * len(split.X) / len(X)
