"""A page of HTML with a network in it, which reads what is drawn there."""

from __future__ import annotations

import base64
import json
import os
import re
from html import escape
from importlib import resources
from typing import Any

import numpy as np

from fastnn.activations import Array
from fastnn.checks.warning import warn
from fastnn.datasets.digits import SIDE
from fastnn.model.model import Model
from fastnn.network import Network
from fastnn.precision import to_bfloat16
from fastnn.writing import replacing

PIXELS = SIDE * SIDE
SCRIPTS = ("digits.js", "network.js", "page.js")
DIGITS = tuple(map(str, range(10)))


def write(path: str | os.PathLike[str], net: Network, *, title: str | None = None) -> None:
    """Write a page on which a network reads what is drawn, with mouse, pen, finger or keys.

    The page is a single file that needs no other one and no network connection. It brings the
    drawing to the form of MNIST's digits, as ``read_images(..., digits=True)`` does, and shows it,
    the probabilities, the activity of the hidden units, and which pixels speak for a class. Weights
    are in 16 bits: the outputs are those of `Network.predict_proba` up to about 1e-4, or 1e-2 with
    the precision "bfloat16", as the page rounds weights alone. The file appears complete or not at
    all, and replaces an older one of that name.

    Parameters
    ----------
    path : str or path
        The folder must exist.
    net : Network
        With 784 inputs, pixels from 0 to 255 of 28 x 28, and a softmax or sigmoid output. Its
        ``classes`` name the bars.
    title : str, optional
        Heading of the page. Default: "Draw a digit", or "Draw" for other classes than 0 to 9.

    Raises
    ------
    OSError
        If the file cannot be written.
    TypeError
        If ``net`` is no network, such as a committee, or ``title`` is no text.
    ValueError
        If the network has other inputs or outputs, or weights that are not finite.

    Warns
    -----
    UserWarning
        If the network was not trained on uint8, the type of pixels: the page gives it numbers from
        0 to 1.
    """
    if not isinstance(net, Network):
        raise TypeError(
            "net must be a single fastnn.Network, such as a member of a committee, committee[0]; "
            f"got {net!r}"
        )
    model = net.model
    a = model.architecture
    if a.sizes[0] != PIXELS:
        raise ValueError(
            f"the network has {a.sizes[0]} inputs; need {PIXELS}, the pixels of 28 x 28, as for "
            "MNIST"
        )
    if a.output not in ("softmax", "sigmoid"):
        raise ValueError(f"the network's output is {a.output!r}; need 'softmax' or 'sigmoid'")
    if title is not None and not isinstance(title, str):
        raise TypeError(f"title must be a text, got {title!r}")
    if not model.pixels:
        warn(
            "the network was not trained on uint8, the type of pixels; the page gives it numbers "
            "from 0 to 1"
        )
    with replacing(path) as file:
        file.write(_page(model, title))


def _page(model: Model, title: str | None) -> str:
    classes = tuple(map(str, model.classes or range(max(2, model.architecture.sizes[-1]))))
    if title is None:
        title = "Draw a digit" if classes == DIGITS else "Draw"
    units = ", ".join(map(str, model.architecture.sizes[:-1]))
    softmax = model.architecture.output == "softmax"
    network = {"classes": classes, "output": model.architecture.output, "layers": _layers(model)}
    parts = {
        "title": escape(title),
        "style": _text("page.css"),
        "about": f"A network of {units} and {model.architecture.sizes[-1]} units reads it.",
        "scores": " before softmax, less the mean of all classes" * softmax,
        # A name of a class must not end the script.
        "network": json.dumps(network, separators=(",", ":")).replace("<", r"\u003c"),
        "script": "\n".join(map(_text, SCRIPTS)),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], _text("page.html"))


def _text(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8").strip()


def _layers(model: Model) -> list[dict[str, Any]]:
    """Return the layers for network.js: whole numbers as weights, times a number for each unit.

    Standardised inputs are pixels times whole numbers. The rest of their scale is in the weights,
    and their mean in the biases.
    """
    layers = []
    scaler = model.input_scaler
    for l, activation in enumerate(model.architecture.activations):
        weights = model.weights[l]
        if model.architecture.rounds:
            weights = to_bfloat16(weights)
        weights = weights.astype(np.float64)
        biases = np.array(model.biases[l], np.float64)
        layer: dict[str, Any] = {"inputs": len(weights), "units": len(biases)}
        if not (np.isfinite(weights).all() and np.isfinite(biases).all()):
            raise ValueError(f"layer {l} has weights that are not finite; need a trained network")
        factors: Array = np.ones(len(weights))
        if l == 0 and scaler is not None:
            factors = np.clip(np.rint(scaler.scale.astype(np.float64)), 1, np.iinfo("<u2").max)
            weights *= (scaler.scale / factors)[:, None]
            layer["factors"] = _in_base64(factors.astype("<u2"))
        scales = np.abs(weights).max(axis=0) / np.iinfo("<i2").max
        scales[scales == 0] = 1
        rounded = np.rint(weights / scales)
        if l == 0 and scaler is not None:  # of the rounded weights, so that their errors cancel
            biases -= (scaler.mean * factors) @ (rounded * scales)
        layer |= {
            "activation": activation,
            "weights": _in_base64(rounded.astype("<i2")),
            "scales": _in_base64(scales.astype("<f4")),
            "biases": _in_base64(biases.astype("<f4")),
        }
        layers.append(layer)
    return layers


def _in_base64(values: Array) -> str:
    return base64.b64encode(values.tobytes()).decode("ascii")
