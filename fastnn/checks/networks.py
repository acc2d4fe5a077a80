"""Checks of what a network is, and of settings that depend on it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from fastnn.activations import HIDDEN, OUTPUT
from fastnn.checks.values import DTYPES, integer, one_of, real
from fastnn.losses import LOSSES, NATURAL, PAIRS
from fastnn.model.architecture import Architecture

MEANING = {
    "cross_entropy": "of probabilities of classes that exclude each other",
    "binary_cross_entropy": "of independent probabilities",
    "poisson": "of rates of counts, which have no upper limit",
}


def architecture(sizes: Any, activation: Any, output: Any, loss: Any, dtype: Any) -> Architecture:
    """Return what a network is to be, from the arguments of `fastnn.Network`."""
    if isinstance(sizes, str) or not isinstance(sizes, Iterable):
        raise TypeError(f"sizes must be a sequence of integers, got {sizes!r}")
    units = tuple(integer(f"sizes[{i}]", n, 1) for i, n in enumerate(sizes))
    if len(units) < 2:
        raise ValueError(f"sizes must name at least the inputs and the outputs, got {sizes!r}")
    hidden = len(units) - 2
    if not isinstance(activation, Iterable):
        raise TypeError(f"activation must be a name or a sequence of names, got {activation!r}")
    names = (activation,) * hidden if isinstance(activation, str) else tuple(activation)
    if isinstance(activation, str):
        one_of("activation", activation, HIDDEN)
    if len(names) != hidden:
        raise ValueError(
            f"activation must be one name, or one for each of the {hidden} hidden layers; "
            f"got {len(names)}"
        )
    for i, name in enumerate(names):
        one_of(f"activation[{i}]", name, HIDDEN)
    if output is None:
        output = "softmax" if units[-1] > 1 else "sigmoid"
    one_of("output", output, OUTPUT)
    if output == "softmax" and units[-1] == 1:
        raise ValueError(
            "output 'softmax' of a single unit is always 1; for one output use 'sigmoid' or "
            "'identity', for two classes also two outputs"
        )
    if loss is None:
        loss = NATURAL[output]
    if not callable(loss):
        one_of("loss", loss, LOSSES)
    if not callable(loss) and (output, loss) not in PAIRS:
        outputs = " or ".join(repr(out) for out, name in PAIRS if name == loss)
        losses = ", ".join(sorted(name for out, name in PAIRS if out == output))
        raise ValueError(
            f"loss {loss!r} is {MEANING[loss]}: it needs the output {outputs}, got {output!r}, "
            f"for which the loss must be one of {losses}"
        )
    try:
        name = "None" if dtype is None else np.dtype(dtype).name
    except TypeError:
        name = str(dtype)
    return Architecture(units, (*names, output), loss, np.dtype(one_of("dtype", name, DTYPES)))


def standardized_targets(value: bool, architecture: Architecture) -> None:
    """Refuse standardisation of targets that it makes no sense for."""
    if value and architecture.activations[-1] != "identity":
        raise ValueError(
            f"standardize_targets needs the output 'identity'; got {architecture.activations[-1]!r}"
        )
    if value and architecture.loss == "poisson":
        raise ValueError("standardize_targets makes no sense for counts, as 'poisson' needs")


def label_smoothing(value: Any, architecture: Architecture) -> float:
    """Return the value as a share, if the loss is of labels."""
    share = real("label_smoothing", value, least=0, below=1)
    if share and architecture.loss not in ("cross_entropy", "binary_cross_entropy"):
        raise ValueError(
            "label_smoothing needs the loss 'cross_entropy' or 'binary_cross_entropy'; got "
            f"{architecture.loss!r}"
        )
    return share


def rates_of_dropout(dropout: Any, architecture: Architecture) -> tuple[float, ...]:
    """Return the rate for the inputs of each layer, or nothing if all are 0."""
    depth = len(architecture.layers)
    if isinstance(dropout, str) or not isinstance(dropout, Iterable):
        rate = real("dropout", dropout, least=0, below=1)
        if rate and depth == 1:
            raise ValueError(
                f"dropout is of hidden layers, and there are none; dropout=[{rate:g}] is of inputs"
            )
        rates = (0.0, *[rate] * (depth - 1))
    else:
        rates = tuple(
            real(f"dropout[{i}]", rate, least=0, below=1) for i, rate in enumerate(dropout)
        )
    if len(rates) != depth:
        raise ValueError(
            f"dropout must be one rate for all hidden layers, or {depth}, for the inputs and each "
            f"of the {depth - 1} hidden layers; got {len(rates)}"
        )
    return rates if any(rates) else ()


def layer_numbers(name: str, values: Any, architecture: Architecture) -> frozenset[int]:
    """Return the numbers of some layers, of which at least one must be left."""
    if not isinstance(values, Iterable) or isinstance(values, str):
        raise TypeError(f"{name} must be a list of layer numbers, got {values!r}")
    depth = len(architecture.layers)
    numbers = frozenset(
        integer(f"{name}[{i}]", value, 0, depth - 1, ", the last layer")
        for i, value in enumerate(values)
    )
    if len(numbers) == depth:
        raise ValueError(f"{name} must leave a layer to train; got all {depth}")
    return numbers


def classes(name: str, names: Any, architecture: Architecture) -> tuple[str | int, ...] | None:
    """Return what the outputs stand for: strings or integers, as many as there are classes."""
    if names is None:
        return None
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise TypeError(f"{name} must be a sequence of strings or integers, got {names!r}")
    found = tuple(
        each if isinstance(each, str) else integer(name, each, -(2**63)) for each in names
    )
    count = max(2, architecture.sizes[-1])
    if len(found) != count or len(set(found)) != count:
        raise ValueError(f"{name} must be {count} different names; got {len(found)}: {found!r}")
    return found
