"""Pictures of the weights of a network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.checks import values as check
from fastnn.plots import arguments
from fastnn.plots.arguments import LEAST_PIXELS, Shape
from fastnn.plots.drawing import LARGE, blank, grid

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fastnn.network import Network


def weights(net: Network, layer: int = 0, shape: Shape = None, count: int = 25) -> Figure:
    """Draw the weights of a layer: as images of its units if its inputs are images, or as a matrix.

    Parameters
    ----------
    net : Network
    layer : int
        Counted from 0.
    shape : sequence of int, optional
        Shape of its inputs, as for `plots.mistakes`; colours are drawn side by side. Default: that
        of `plots.mistakes` for layer 0, a matrix for later layers.
    count : int
        The largest number of units to draw as images.

    Raises
    ------
    ImportError, TypeError, ValueError
        As for `plots.images`.
    """
    place = check.integer("layer", layer, 0, len(net.weights) - 1, ", the last layer")
    values = np.asarray(net.weights[place])
    shown = min(check.integer("count", count, 1), values.shape[1])
    if place and shape is None:
        shape = ()
    size = arguments.image_shape(len(values), shape, LEAST_PIXELS)
    limit = float(np.quantile(np.abs(values), 0.999)) or 1.0
    limits: dict[str, Any] = {"cmap": "RdBu", "vmin": -limit, "vmax": limit}
    if size is not None:
        pictures = values.T[:shown].reshape(shown, *size)
        if len(size) == 3:
            pictures = pictures.transpose(0, 1, 3, 2).reshape(shown, size[0], -1)
        title = f"layer {place}: weights of {shown} of {values.shape[1]} units"
        captions = [f"unit {i}" for i in range(shown)]
        figure = grid(pictures, captions, title, right=1, **limits)
        axes = figure.axes
        image = axes[0].images[0]
    else:
        figure, axes = blank(6.5, 4.5)
        image = axes[0].imshow(values, aspect="auto", interpolation="nearest", **limits)
        axes[0].set(xlabel="unit", ylabel="input")
        axes[0].set_title(f"layer {place}: weights", fontsize=LARGE)
    figure.colorbar(image, ax=axes, extend="both", label="weight")
    return figure
