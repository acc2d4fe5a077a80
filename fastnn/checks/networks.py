"""Checks of the arguments of a network, and of settings that depend on the network."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from fastnn import augment
from fastnn.activations import HIDDEN, OUTPUT
from fastnn.checks.values import DTYPES, any_case, integer, real
from fastnn.losses import (
    DEFAULT_OUTPUT,
    LOSSES,
    NATURAL,
    PAIRS,
    WITH_NUMBERS,
    Quantile,
    WithNumbers,
    name_of,
)
from fastnn.model.architecture import Architecture
from fastnn.optimizers import Optimizer, named
from fastnn.precision import BFLOAT16, PRECISIONS

PURPOSE = {
    "cross_entropy": "for probabilities of classes that exclude each other",
    "binary_cross_entropy": "for independent probabilities",
    "poisson": "for rates of counts, which have no upper limit",
    "quantile": "for quantiles of numbers",
    "focal": "for probabilities",
}

SMOOTHABLE = ("cross_entropy", "binary_cross_entropy", "focal")


def architecture(
    sizes: Any,
    activation: Any,
    output: Any,
    loss: Any,
    dtype: Any,
    standardize_targets: bool = False,
    precision: Any = None,
) -> Architecture:
    """Return the architecture that arguments of `fastnn.Network` describe, or refuse them."""
    if isinstance(sizes, str) or not isinstance(sizes, Iterable):
        raise TypeError(f"sizes must be a list of integers, such as [784, 128, 10]; got {sizes!r}")
    units = tuple(integer(f"sizes[{i}]", n, 1) for i, n in enumerate(sizes))
    if len(units) < 2:
        raise ValueError(f"sizes must hold at least the inputs and the outputs, got {sizes!r}")
    hidden = len(units) - 2
    if not isinstance(activation, Iterable):
        raise TypeError(f"activation must be a name or a sequence of names, got {activation!r}")
    if isinstance(activation, str):
        names = (any_case("activation", activation, HIDDEN),) * hidden
    else:
        names = tuple(activation)
    if len(names) != hidden:
        raise ValueError(
            f"activation must be one name, or one for each of the {hidden} hidden layers; "
            f"got {len(names)}"
        )
    names = tuple(any_case(f"activation[{i}]", each, HIDDEN) for i, each in enumerate(names))
    if isinstance(loss, type):
        raise TypeError(f"loss must be an object, such as {loss.__name__}(), not the class itself")
    if not (loss is None or callable(loss) or isinstance(loss, WithNumbers)):
        loss = any_case("loss", loss, LOSSES)
        loss = WITH_NUMBERS.get(loss, loss)
    if output is None:
        output = "softmax" if units[-1] > 1 else "sigmoid"
        if standardize_targets:
            output = "identity"
        elif not (loss is None or callable(loss)):
            output = DEFAULT_OUTPUT.get(name_of(loss), output)
    output = any_case("output", output, OUTPUT)
    if output == "softmax" and units[-1] == 1:
        raise ValueError(
            "output 'softmax' of a single unit is always 1; need 'sigmoid' or 'identity' for one "
            "output, or two outputs for two classes"
        )
    if loss is None:
        loss = NATURAL[output]
    if not callable(loss) and (output, name_of(loss)) not in PAIRS:
        outputs = " or ".join(repr(out) for out, name in PAIRS if name == name_of(loss))
        losses = ", ".join(sorted(name for out, name in PAIRS if out == output))
        raise ValueError(
            f"loss {loss!r} is {PURPOSE[name_of(loss)]}: it needs the output {outputs}, got "
            f"{output!r}; for that output the loss must be one of {losses}"
        )
    if isinstance(loss, Quantile) and len(loss.levels) != units[-1]:
        raise ValueError(
            f"loss {loss!r} has {len(loss.levels)} levels, and needs an output for each; sizes end "
            f"with {units[-1]}"
        )
    name = dtype
    if not isinstance(name, str) or name not in DTYPES:  # else NumPy need not be asked
        try:
            name = "None" if dtype is None else np.dtype(dtype).name
        except TypeError:
            name = str(dtype)
    if name == BFLOAT16:
        raise ValueError(
            "dtype must be 'float32' or 'float64', got 'bfloat16'; precision='bfloat16' rounds the "
            "factors of products to it, and keeps all else in float32"
        )
    name = any_case("dtype", name, DTYPES)
    return Architecture(units, (*names, output), loss, np.dtype(name), _precision(precision, name))


def _precision(value: Any, dtype: str) -> str:
    """Return the precision, if it is for the dtype; None stands for that of the dtype."""
    if value is None:
        return dtype
    precision = any_case("precision", value, PRECISIONS)
    if PRECISIONS[precision] != dtype:
        raise ValueError(
            f"precision {precision!r} needs dtype={PRECISIONS[precision]!r}; got dtype={dtype!r}"
        )
    return precision


def standardized_targets(value: bool, architecture: Architecture) -> None:
    """Refuse standardised targets for an output or a loss that does not allow them."""
    if value and architecture.activations[-1] != "identity":
        raise ValueError(
            f"standardize_targets needs the output 'identity'; got {architecture.activations[-1]!r}"
        )
    if value and architecture.loss == "poisson":
        raise ValueError(
            "standardize_targets needs a loss of numbers, such as 'mse'; 'poisson' is for counts, "
            "which must stay as they are"
        )


def threshold(value: Any, architecture: Architecture) -> None:
    """Refuse a threshold that is no probability, or that the output has no use for."""
    real("threshold", value, least=0, most=1)
    if architecture.output != "sigmoid":
        raise ValueError(f"threshold needs the output 'sigmoid', not {architecture.output!r}")


def label_smoothing(value: Any, architecture: Architecture) -> float:
    """Return the value as a share, if the loss is a cross-entropy."""
    share = real("label_smoothing", value, least=0, below=1)
    if share and name_of(architecture.loss) not in SMOOTHABLE:
        raise ValueError(
            "label_smoothing needs the loss 'cross_entropy', 'binary_cross_entropy' or 'focal'; "
            f"got {architecture.loss!r}"
        )
    return share


def optimizer(value: Any, architecture: Architecture) -> Optimizer:
    """Return the optimizer of that name, or the object itself, if it fits the layers."""
    found = named(value)
    if not found.is_even:
        found.factors(len(architecture.layers))
    return found


def rates_of_dropout(dropout: Any, architecture: Architecture) -> tuple[float, ...]:
    """Return the rate for the inputs of each layer, or nothing if all are 0."""
    depth = len(architecture.layers)
    if isinstance(dropout, str) or not isinstance(dropout, Iterable):
        rate = real("dropout", dropout, least=0, below=1)
        if rate and depth == 1:
            raise ValueError(
                f"dropout={rate:g} is for hidden layers, and there are none; use "
                f"dropout=[{rate:g}] for the inputs"
            )
        rates = (0.0, *[rate] * (depth - 1))
    else:
        rates = tuple(
            real(f"dropout[{i}]", rate, least=0, below=1) for i, rate in enumerate(dropout)
        )
    if len(rates) != depth:
        raise ValueError(
            f"dropout must be one rate for all hidden layers, or {depth} rates, for the inputs and "
            f"each of the {depth - 1} hidden layers; got {len(rates)}"
        )
    return rates if any(rates) else ()


def augmentations(value: Any, architecture: Architecture) -> tuple[augment.Augmentation, ...]:
    """Return what changes the inputs in training, if each fits them."""
    found = augment.named(value)
    for each in found:
        each.check_features(architecture.sizes[0])
    return found


def layer_numbers(name: str, values: Any, architecture: Architecture) -> frozenset[int]:
    """Return layer numbers, if they leave at least one layer out."""
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
    """Return the names of the classes: different strings, integers or bools, one for each."""
    if names is None:
        return None
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise TypeError(f"{name} must be a sequence of strings or integers, got {names!r}")
    found = tuple(_class(name, each) for each in names)
    count = max(2, architecture.sizes[-1])
    if len(found) != count or len(set(found)) != count:
        raise ValueError(f"{name} must be {count} different names; got {len(found)}: {found!r}")
    return found


def _class(name: str, value: Any) -> str | int:
    if isinstance(value, str):
        return str(value)
    return bool(value) if isinstance(value, bool | np.bool_) else integer(name, value, -(2**63))


def feature_names(name: str, names: Any, architecture: Architecture) -> tuple[str, ...] | None:
    """Return the names of the inputs: different strings, one for each."""
    if names is None:
        return None
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise TypeError(f"{name} must be a sequence of strings, got {names!r}")
    found = tuple(names)
    for each in found:
        if not isinstance(each, str):
            raise TypeError(f"{name} must be strings, got {each!r}")
    count = architecture.sizes[0]
    if len(found) != count or len(set(found)) != count:
        raise ValueError(
            f"{name} must be {count} different names, one for each input; got {len(found)}"
        )
    return tuple(map(str, found))
