"""All pictures of a run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from fastnn import metrics
from fastnn.activations import Array
from fastnn.checks.targets import targets as check_targets
from fastnn.plots import arguments
from fastnn.plots.arguments import LEAST_PIXELS, Names, Shape
from fastnn.plots.data import classes, images
from fastnn.plots.evaluation import calibration, confusion, mistakes, predictions
from fastnn.plots.layers import weights
from fastnn.plots.training import curves, learning_rate, throughput
from fastnn.training.history import History

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fastnn.network import Network

DPI = 130


class Results(NamedTuple):
    """True values and predictions of some rows.

    Attributes
    ----------
    kind : str
        "classes" if each row has one class, "numbers", or "probabilities" for soft targets or
        several labels per row.
    true, predicted : ndarray
        Classes, int64 (n,), otherwise (n, outputs).
    probabilities : ndarray or None
        Probabilities of the classes, (n, classes) or (n, 1), if the outputs are such.
    """

    kind: str
    true: Array
    predicted: Array
    probabilities: Array | None


def results(net: Network, X: npt.ArrayLike, y: npt.ArrayLike) -> Results:
    """Return true values and predictions of a network.

    Parameters
    ----------
    net : Network
    X, y : array
        As for `Network.train`.

    Returns
    -------
    Results

    Raises
    ------
    TypeError, ValueError, DivergenceError
        As for `Network.evaluate`.
    """
    outputs = net.predict_proba(X)
    values, labels = check_targets("y", y, len(outputs), net.architecture, net.classes)
    probable = net.architecture.activations[-1] in ("softmax", "sigmoid")
    if labels is None:
        values = np.broadcast_to(values, outputs.shape)  # the same numbers for all quantiles
        return Results("probabilities" if probable else "numbers", values, outputs, None)
    if probable:
        return Results("classes", labels, metrics.winners(outputs)[0], outputs)
    return Results("classes", labels, outputs.argmax(axis=1), None)


def of_run(
    net: Network,
    history: History,
    X: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    names: Names = None,
    shape: Shape = None,
) -> Iterator[tuple[str, Figure]]:
    """Draw all pictures that apply to a run, one after the other.

    Parameters
    ----------
    net : Network
    history : History
        The result of `Network.train`; without an epoch there are no pictures of it.
    X, y : array
        Rows to evaluate the network on, as for `Network.evaluate`.
    names : sequence of str, optional
        Names of the classes, or of the outputs for numbers.
    shape : sequence of int, optional
        As for `plots.mistakes`.

    Yields
    ------
    str, Figure
        The name of a function of `plots`, and its picture.

    Raises
    ------
    ImportError, TypeError, ValueError, DivergenceError
        As for `plots.images` and `Network.evaluate`.
    """
    kind, true, predicted, chances = results(net, X, y)
    if len(history):
        yield "curves", curves(history)
        yield "learning_rate", learning_rate(history)
        yield "throughput", throughput(history)
    if kind == "classes":
        names = arguments.names(names, max(2, net.architecture.sizes[-1]))
        yield "confusion", confusion(true, predicted, names)
        yield "classes", classes(true, names)
    elif kind == "numbers":
        yield "predictions", predictions(true, predicted, names)
    if chances is not None:
        yield "mistakes", mistakes(X, true, chances, names, shape=shape)
        yield "calibration", calibration(true, chances)
    if arguments.image_shape(net.architecture.sizes[0], shape, LEAST_PIXELS) is not None:
        both = (true, predicted) if kind == "classes" else (None, None)
        yield "images", images(X, *both, names=names, shape=shape)
    yield "weights", weights(net, shape=shape)


def run(
    folder: str | os.PathLike[str],
    net: Network,
    history: History,
    X: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    names: Names = None,
    shape: Shape = None,
) -> list[Path]:
    """Write all pictures of `of_run` to a folder, as NAME.png. They replace older files.

    Parameters
    ----------
    folder : str or path
        It is created if it does not exist.
    net, history, X, y, names, shape
        As in `of_run`.

    Returns
    -------
    list of Path

    Raises
    ------
    OSError
        If the folder or a file cannot be written.
    ImportError, TypeError, ValueError, DivergenceError
        As for `of_run`.
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, figure in of_run(net, history, X, y, names=names, shape=shape):
        paths.append(place / f"{name}.png")
        figure.savefig(paths[-1], dpi=DPI)
    return paths
