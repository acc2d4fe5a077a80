"""Weights of 8 bits: for each unit integers from -127 to 127, and a number that they are times."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Protocol, TypeVar

import numpy as np

from fastnn.activations import Array
from fastnn.model.model import Model

LARGEST = 127


class Owner(Protocol):
    """A network: what has a model."""

    model: Model


Net = TypeVar("Net", bound=Owner)


def integers(weights: Array) -> tuple[Array, Array]:
    """Return what the weights of a layer are rounded to.

    Parameters
    ----------
    weights : (fan_in, fan_out) array

    Returns
    -------
    integers : (fan_in, fan_out) int8 array
        From -127 to 127, the nearest; the largest weight of each unit becomes one of these two.
    scales : (fan_out,) array
        In the dtype of the weights: ``integers * scales`` are the rounded weights.
    """
    scales = (np.abs(weights).max(axis=0) / LARGEST).astype(weights.dtype)
    # 127 times the quotient of the largest float may overflow.
    most = np.nextafter(np.finfo(weights.dtype).max / LARGEST, weights.dtype.type(0))
    scales = np.minimum(scales, most)
    quotients = np.divide(weights, scales, out=np.zeros_like(weights), where=scales > 0)
    np.clip(np.rint(quotients, out=quotients), -LARGEST, LARGEST, out=quotients)
    return quotients.astype(np.int8), scales


def rounded(net: Net) -> Net:
    """Return a copy of a network with weights as those of a C header with ``int8=True``.

    The weights of each unit become whole numbers from -127 to 127 times a number, the largest
    weight by 127. Biases and scalers stay as they are, and so does the network. The precision of
    the copy is its dtype, as the header's is. Evaluate the copy to see what rounding costs.

    Parameters
    ----------
    net : Network

    Returns
    -------
    Network

    Raises
    ------
    TypeError
        If ``net`` is no network.

    Examples
    --------
    >>> import fastnn
    >>> net = fastnn.Network([2, 1], output="identity", seed=0)
    >>> net.weights[0] = [[1.27], [0.444]]
    >>> fastnn.export.rounded(net).weights[0].tolist()
    [[1.2699999809265137], [0.4399999976158142]]
    """
    if not isinstance(getattr(net, "model", None), Model):
        raise TypeError(f"net must be a fastnn.Network, got {net!r}")
    result = copy.deepcopy(net)
    architecture = result.model.architecture
    result.model.architecture = replace(architecture, precision=architecture.dtype.name)
    for weights in result.model.weights:
        whole, scales = integers(weights)
        np.multiply(whole, scales, out=weights)
    return result
