"""A network from layers that another library has trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fastnn.activations import Array
from fastnn.losses import Loss
from fastnn.model.scaling import Scaler
from fastnn.network import Network


class Layer(NamedTuple):
    """A layer: weights (fan_in, fan_out), biases (fan_out,) and the name of its activation."""

    weights: Array
    biases: Array
    activation: str


def built(
    layers: Sequence[Layer],
    dtype: npt.DTypeLike,
    *,
    classes: Sequence[str | int] | None = None,
    features: Sequence[str] | None = None,
    input_scaler: Scaler | None = None,
    target_scaler: Scaler | None = None,
    pixels: bool = False,
    loss: Loss | None = None,
    precision: str | None = None,
) -> Network:
    """Return a network of these layers.

    Parameters
    ----------
    layers : sequence of Layer
        At least one, of shapes that fit.
    dtype : str or numpy.dtype
    classes, features : sequence, optional
        As the attributes of `Network`.
    input_scaler, target_scaler : Scaler, optional
        Mean and scale of each column.
    pixels : bool
        Whether inputs are numbers from 0 to 255.
    loss : str, object or callable, optional
        As for `Network`. Default: the one that the output is for.
    precision : str, optional
        As for `Network`.

    Raises
    ------
    ValueError
        If fastnn has no such network.
    """
    sizes = [len(layers[0].weights), *(len(layer.biases) for layer in layers)]
    names = [layer.activation for layer in layers]
    net = Network(
        sizes,
        names[:-1] or "relu",
        names[-1],
        loss,
        seed=0,
        dtype=dtype,
        standardize_inputs=input_scaler is not None,
        standardize_targets=target_scaler is not None,
        precision=precision,
    )
    with np.errstate(over="ignore"):  # which the checks see
        for l, layer in enumerate(layers):
            net.weights[l], net.biases[l] = layer.weights, layer.biases
        scalers = [
            scaler and Scaler(*(np.asarray(numbers, net.architecture.dtype) for numbers in scaler))
            for scaler in (input_scaler, target_scaler)
        ]
    for l, (weights, biases) in enumerate(zip(net.weights, net.biases, strict=True)):
        if not (np.isfinite(weights).all() and np.isfinite(biases).all()):
            raise ValueError(f"layer {l} has weights that are not finite in {dtype}")
    for scaler in filter(None, scalers):
        if not (np.isfinite(scaler.mean).all() and _is_normal(scaler.scale)):
            raise ValueError(f"a scale or a mean is too large or too small for {dtype}")
    net.model.use_scalers(*scalers)
    net.model.pixels = pixels
    net.classes, net.features = classes, features
    return net


def _is_normal(scale: Array) -> bool:
    """Whether all are finite and have all their digits, so that kernels can divide by them."""
    return bool(np.isfinite(scale).all() and (np.abs(scale) >= np.finfo(scale.dtype).tiny).all())
