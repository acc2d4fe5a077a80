"""The recipe: how a network for tables is built and trained.

It is RealMLP-TD-S (Holzmueller, Grinsztajn and Steinwart, 2024, "Better by default: strong
pre-tuned MLPs and boosted trees on tabular data").
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fastnn.activations import Array
from fastnn.checks.warning import ConvergenceWarning, heard_by, is_of_no_use, warn
from fastnn.committee import job, with_member
from fastnn.losses import Loss, Quantile
from fastnn.network import Network
from fastnn.optimizers import Adam
from fastnn.training.history import History, Row
from fastnn.training.row_weights import ClassWeight
from fastnn.training.side_by_side import fit_all

Rows = tuple[Array, ...]  # inputs, targets, and weights if there are any


@dataclass(frozen=True)
class Recipe:
    """Settings of a network for tables and of its training.

    Attributes
    ----------
    loss : Loss
        "cross_entropy" stands for classes, all others for numbers.
    activation : str
        Of the hidden layers.
    learning_rate : float
    metric : str
        The column of the history that chooses the epoch.
    higher : bool
        Whether a higher value of it is better.
    hidden : tuple of int
        Units of the hidden layers.
    epochs, batch_size : int
    validation : float
        Share of the rows that choose the epoch.
    label_smoothing : float
    calibrate : bool
        Find the temperature of the probabilities (Guo et al., 2017).
    class_weight : mapping, "balanced" or None
        As for `Network.train`.
    beta2 : float
        Of Adam.
    bias_factor : float
        Of the rate for biases.
    members : int
        Networks. They share the rows set aside and differ in their seeds.
    """

    loss: Loss
    activation: str
    learning_rate: float
    metric: str
    higher: bool
    label_smoothing: float = 0.0
    calibrate: bool = True
    class_weight: ClassWeight | None = None
    hidden: tuple[int, ...] = (256, 256, 256)
    epochs: int = 256
    batch_size: int = 256
    validation: float = 0.2
    beta2: float = 0.95
    bias_factor: float = 0.1
    members: int = 1

    @property
    def classes(self) -> bool:
        """Whether the targets are classes."""
        return self.loss == "cross_entropy"


CLASSES = Recipe("cross_entropy", "selu", 0.04, "validation_accuracy", True, 0.1)
NUMBERS = Recipe("mse", "mish", 0.07, "validation_loss", False)
# The ends of intervals, and the median.
QUANTILES = replace(NUMBERS, loss=Quantile((0.05, 0.5, 0.95)))


def changed(recipe: Recipe, **settings: Any) -> Recipe:
    """Return a recipe with other settings, where they are not None."""
    return replace(recipe, **{name: value for name, value in settings.items() if value is not None})


def network(
    recipe: Recipe, inputs: int, outputs: int, seed: int, backend: str, threads: int | None
) -> Network:
    """Return a network whose weights, and biases of hidden layers, are random numbers.

    Weights have the variance ``1 / fan_in`` (LeCun et al., 1998), biases 1; the last layer is 0.
    """
    net = Network(
        [inputs, *recipe.hidden, outputs],
        recipe.activation,
        "softmax" if recipe.classes else "identity",
        recipe.loss,
        init=_lecun,
        seed=seed,
        backend=backend,
        threads=threads,
        standardize_targets=not recipe.classes,
    )
    rng = np.random.default_rng([seed, 4])
    for biases in net.biases[:-1]:
        biases[...] = rng.normal(size=biases.shape)
    net.weights[-1][...] = 0
    return net


def train(
    recipe: Recipe,
    net: Network,
    rows: Rows,
    held_out: Rows,
    callbacks: Sequence[Any] = (),
) -> History:
    """Train a network, and keep the parameters of the last of the best epochs.

    Parameters
    ----------
    recipe : Recipe
    net : Network
    rows, held_out : tuple of ndarray
        Inputs, targets, and weights if there are any, of rows to train on and of those that choose
        the epoch.
    callbacks : sequence of callable
        As for `Network.train`.

    Raises
    ------
    DivergenceError
        As for `Network.train`.

    Warns
    -----
    ConvergenceWarning
        If training ended with a network of no use.
    """
    best = Best(net, recipe)
    with heard_by(is_of_no_use):  # with advice about other arguments
        history = net.train(**_arguments(recipe, net, rows, held_out, [best, *callbacks]))
    return best.finished(history)


def train_several(
    recipe: Recipe,
    nets: Sequence[Network],
    rows: Rows,
    held_out: Rows,
    callbacks: Sequence[Any] = (),
) -> list[History]:
    """Train networks side by side, each as `train` does; callbacks are told the ``member``."""
    bests = [Best(net, recipe) for net in nets]
    lock = threading.Lock()
    jobs = []
    for i, (net, best) in enumerate(zip(nets, bests, strict=True)):
        told = [best, *(with_member(i, each, lock) for each in callbacks)]
        jobs.append(job(net, **_arguments(recipe, net, rows, held_out, told)))
    with heard_by(is_of_no_use):
        histories = fit_all(jobs, False)
    return [best.finished(history) for best, history in zip(bests, histories, strict=True)]


def _arguments(
    recipe: Recipe,
    net: Network,
    rows: Rows,
    held_out: Rows,
    callbacks: Sequence[Any],
) -> dict[str, Any]:
    """Return the arguments of `Network.train`."""
    X, y, *weights = rows
    return {
        "X": X,
        "y": y,
        "epochs": recipe.epochs,
        "batch_size": _even(len(X), recipe.batch_size),
        "learning_rate": recipe.learning_rate,
        "validation": held_out,
        "schedule": "cosine_log",
        "progress": False,
        "callbacks": callbacks,
        "optimizer": Adam(
            beta2=recipe.beta2,
            # Adam moves as in the NTK parametrisation.
            weight_factors=tuple(len(weights) ** -0.5 for weights in net.weights),
            bias_factors=recipe.bias_factor,
        ),
        "label_smoothing": recipe.label_smoothing,
        "sample_weight": weights[0] if weights else None,
    }


class Best:
    """A callback that keeps the parameters of the last of the best epochs."""

    def __init__(self, net: Network, recipe: Recipe) -> None:
        self.net, self.metric = net, recipe.metric
        self.sign = 1 if recipe.higher else -1
        self.value, self.epoch = -math.inf, 0
        self.parameters = net.parameters.copy()

    def __call__(self, row: Row) -> None:
        """See an epoch."""
        value = self.sign * row[self.metric]
        if value >= self.value:
            self.value, self.epoch = value, int(row["epoch"])
            self.parameters[:] = self.net.parameters

    def restore(self) -> None:
        """Give the network the parameters of the best epoch."""
        self.net.parameters[:] = self.parameters

    def finished(self, history: History) -> History:
        """Restore the best epoch, and return the history with it."""
        self.restore()
        history.best_epoch = self.epoch
        if history.warning:
            warn(history.warning.split(". Try ")[0], ConvergenceWarning)
        return history


def _even(rows: int, batch_size: int) -> int:
    """Return the size of batches that are as many as whole ones of ``batch_size``.

    The recipe leaves out the rows after the last whole batch, whose step would be a rough one.
    """
    return -(-rows // max(1, rows // batch_size))


def _lecun(rng: np.random.Generator, fan_in: int, fan_out: int) -> Array:
    return rng.normal(0.0, 1 / math.sqrt(fan_in), (fan_in, fan_out))
