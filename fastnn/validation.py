"""Checks of arguments. Each error names the argument, what it got and what it needs."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from fastnn.activations import HIDDEN, OUTPUT, Array
from fastnn.losses import LOSSES, NATURAL, PAIRS, matrix
from fastnn.parameters import Architecture

DTYPES = ("float32", "float64")

# Elements looked at in one go, so that a memory map never has to be in memory whole.
BLOCK = 1 << 20


def one_of(name: str, value: Any, choices: Collection[str]) -> str:
    """Return the value if it is one of the choices."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(sorted(choices))}; got {value!r}")
    return value


def integer(name: str, value: Any, low: int, high: int | None = None, why: str = "") -> int:
    """Return the value as an int if it is an integer from low to high."""
    try:
        if isinstance(value, bool | np.bool_):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
    if number < low or (high is not None and number > high):
        limit = f"at least {low}" if high is None else f"from {low} to {high}{why}"
        raise ValueError(f"{name} must be {limit}; got {number}")
    return number


def real(
    name: str,
    value: Any,
    *,
    above: float | None = None,
    least: float | None = None,
    most: float | None = None,
    below: float | None = None,
) -> float:
    """Return the value as a float if it is finite and within the bounds."""
    if isinstance(value, str | bool | np.bool_):
        raise TypeError(f"{name} must be a number, got {value!r}")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number, got {value!r}") from None
    except OverflowError:
        number = math.inf if value > 0 else -math.inf
    bounds = {
        "greater than": (above, above is None or number > above),
        "at least": (least, least is None or number >= least),
        "at most": (most, most is None or number <= most),
        "less than": (below, below is None or number < below),
    }
    if not (math.isfinite(number) and all(holds for _, holds in bounds.values())):
        needs = [f"{word} {bound:g}" for word, (bound, _) in bounds.items() if bound is not None]
        raise ValueError(f"{name} must be finite and {' and '.join(needs)}; got {value!r}")
    return number


def limit(name: str, value: Any) -> float | None:
    """Return the value as a float greater than 0, or None."""
    return None if value is None else real(name, value, above=0)


def label_smoothing(value: Any, architecture: Architecture) -> float:
    """Return the value as a share, if the loss is of labels."""
    share = real("label_smoothing", value, least=0, below=1)
    if share and architecture.loss not in ("cross_entropy", "binary_cross_entropy"):
        raise ValueError(
            "label_smoothing needs the loss 'cross_entropy' or 'binary_cross_entropy'; got "
            f"{architecture.loss!r}"
        )
    return share


def held_out(name: str, value: Any) -> tuple[Any, Any, Any]:
    """Return the value if it is inputs and targets, perhaps with weights, else None for those."""
    if not isinstance(value, tuple | list) or len(value) not in (2, 3):
        size = f" of {len(value)}" if isinstance(value, tuple | list) else ""
        raise TypeError(
            f"{name} must be a share of the rows, (X, y) or (X, y, sample_weight); "
            f"got a {type(value).__name__}{size}"
        )
    return value[0], value[1], value[2] if len(value) == 3 else None


def functions(name: str, values: Any) -> tuple[Callable[..., Any], ...]:
    """Return the values as a tuple if each can be called."""
    if not isinstance(values, Iterable):
        raise TypeError(f"{name} must be a list of functions, got {values!r}")
    result = tuple(values)
    for function in result:
        if not callable(function):
            raise TypeError(f"{name} must be functions, got {function!r}")
    return result


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


MEANING = {
    "cross_entropy": "of probabilities of classes that exclude each other",
    "binary_cross_entropy": "of independent probabilities",
    "poisson": "of rates of counts, which have no upper limit",
}


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


def features(name: str, X: Any, architecture: Architecture, finite: bool = True) -> Array:
    """Return X as a matrix that a backend reads: (n, features) of float32, float64 or uint8.

    Arrays of these types are passed on as they are, without a copy. Other numbers are converted to
    the network's dtype. Infinity and NaN are refused if X is to be finite.
    """
    X = _numbers(name, X)
    columns = architecture.sizes[0]
    if X.ndim != 2 or X.shape[1] != columns:
        hint = "; for one row use X[None, :]" if X.shape == (columns,) else ""
        raise ValueError(
            f"{name} must have shape (rows, {columns}), as the network has {columns} inputs; "
            f"got {X.shape}{hint}"
        )
    return _readable(name, X, architecture, finite)


def single_row(name: str, x: Any, architecture: Architecture) -> Array:
    """Return one row as a new vector in the network's dtype, with pixels scaled."""
    x = _numbers(name, x)
    if x.shape != architecture.sizes[:1]:
        raise ValueError(f"{name} must have shape {architecture.sizes[:1]}; got {x.shape}")
    row = _readable(name, x[None], architecture)[0].astype(architecture.dtype)
    return row * (architecture.dtype.type(1) / 255) if x.dtype == np.uint8 else row


def writable_row(name: str, out: Any, architecture: Architecture) -> None:
    """Refuse what outputs of one row cannot be written into."""
    shape, dtype = architecture.sizes[-1:], architecture.dtype
    if not isinstance(out, np.ndarray) or out.dtype != dtype or out.shape != shape:
        got = f"{out.dtype} {out.shape}" if isinstance(out, np.ndarray) else type(out).__name__
        raise ValueError(f"{name} must be an array of {dtype.name} {shape}; got {got}")
    if not (out.flags.writeable and out.flags.c_contiguous):
        raise ValueError(f"{name} must be writable and contiguous")


class Targets(NamedTuple):
    """What to learn: for the backends, and as class labels where there are classes."""

    values: Array  # int64 labels (n,) or targets (n, outputs)
    labels: Array | None  # int64 (n,)

    def at(self, rows: Array | None) -> Targets:
        """Return the targets of some rows, or all."""
        if rows is None:
            return self
        return Targets(self.values[rows], None if self.labels is None else self.labels[rows])

    def as_matrix(self, architecture: Architecture) -> Array:
        """Return targets (n, outputs); a label becomes a 1 in its place."""
        return matrix(self.values, architecture.sizes[-1], np.dtype(np.float64))


def targets(name: str, y: Any, rows: int, architecture: Architecture) -> Targets:
    """Return y as a backend reads it.

    Integer labels (n,) for networks with several outputs; numbers (n,) or (n, 1) for those with
    one; targets (n, outputs) for any.
    """
    y = _numbers(name, y)
    outputs, output = architecture.sizes[-1], architecture.activations[-1]
    if len(y) != rows:
        inputs = name[:-1] + "X"
        raise ValueError(f"{name} must have as many rows as {inputs}, {rows}; got {len(y)}")
    if y.ndim == 1 and outputs > 1:
        if architecture.loss == "poisson":
            raise ValueError(
                f"{name} must have shape ({rows}, {outputs}), a count for each of the {outputs} "
                f"outputs; got {y.shape}"
            )
        return _labels(name, y, outputs)
    if y.ndim == 1:
        y = y[:, None]
    if y.ndim != 2 or y.shape[1] != outputs:
        hint = " For integer labels use a one-dimensional array, such as y.ravel()." * (
            y.ndim == 2 and y.shape[1] == 1
        )
        raise ValueError(
            f"{name} must have shape ({rows},) or ({rows}, {outputs}), as the network has "
            f"{outputs} outputs; got {y.shape}.{hint}"
        )
    values = _readable(name, y, architecture)
    if architecture.loss in ("cross_entropy", "binary_cross_entropy"):
        _probabilities(name, values, output)
    if architecture.loss == "poisson" and values.min() < 0:
        raise ValueError(
            f"{name} must hold counts of 0 or more for the Poisson loss; got {values.min():g}"
        )
    return Targets(values, _labels_in(values) if output in ("softmax", "sigmoid") else None)


def _labels(name: str, y: Array, outputs: int) -> Targets:
    if not (np.issubdtype(y.dtype, np.integer) or y.dtype == bool):
        raise TypeError(
            f"{name} must hold integer class labels from 0 to {outputs - 1}, or be targets of "
            f"shape ({len(y)}, {outputs}); got one-dimensional {y.dtype}"
        )
    low, high = int(y.min()), int(y.max())
    if low < 0 or high >= outputs:
        raise ValueError(
            f"{name} must hold labels from 0 to {outputs - 1}, as the network has {outputs} "
            f"outputs; got labels from {low} to {high}"
        )
    labels = y.astype(np.int64, copy=False)
    return Targets(labels, labels)


def _probabilities(name: str, values: Array, output: str) -> None:
    """Refuse targets that the cross-entropy of this output has no meaning for."""
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 1:
        raise ValueError(
            f"{name} must hold probabilities from 0 to 1 for a cross-entropy loss; "
            f"got values from {low:g} to {high:g}"
        )
    if output == "softmax":
        sums = values.sum(axis=1, dtype=np.float64)
        wrong = np.flatnonzero(np.abs(sums - 1) > 1e-3)
        if len(wrong):
            raise ValueError(
                f"{name} must have rows that sum to 1 for softmax with cross-entropy; "
                f"row {wrong[0]} sums to {sums[wrong[0]]:g}"
            )


def _labels_in(values: Array) -> Array | None:
    """Return the classes that targets stand for, if each row names just one."""
    if values.shape[1] == 1:
        column = values[:, 0]
        return column.astype(np.int64) if np.isin(column, (0, 1)).all() else None
    one_hot = np.isin(values, (0, 1)).all() and (values.sum(axis=1) == 1).all()
    return values.argmax(axis=1) if one_hot else None


def sample_weights(name: str, weights: Any, rows: int) -> Array:
    """Return weights (rows,) as float64."""
    values = _numbers(name, weights).astype(np.float64)
    if values.shape != (rows,):
        raise ValueError(f"{name} must have shape ({rows},), one a row; got {values.shape}")
    if not np.isfinite(values).all() or values.min() < 0:
        bad = int(np.flatnonzero(~(np.isfinite(values) & (values >= 0)))[0])
        raise ValueError(f"{name} must be finite and at least 0; got {values[bad]} in row {bad}")
    if not values.any():
        raise ValueError(f"{name} must not all be 0")
    return values


def class_weights(weights: Any, labels: Array | None, architecture: Architecture) -> Array:
    """Return a weight for each class, from a mapping, a sequence or "balanced".

    Balanced weights are inverse to how often the classes occur (King and Zeng, 2001).
    """
    output, outputs = architecture.activations[-1], architecture.sizes[-1]
    classes = max(2, outputs)
    if output not in ("softmax", "sigmoid"):
        raise ValueError(
            f"class_weight needs classes, and the output {output!r} is for regression; "
            "sample_weight gives each row a weight"
        )
    if labels is None:
        raise ValueError("class_weight needs a y that names one class in each row")
    if isinstance(weights, str):
        one_of("class_weight", weights, ("balanced",))
        counts = np.bincount(labels, minlength=classes)
        return len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    if isinstance(weights, Mapping):
        values = np.ones(classes)
        for label, weight in weights.items():
            place = integer("a label of class_weight", label, 0, classes - 1)
            values[place] = real(f"class_weight[{label}]", weight, least=0)
        return values
    values = _numbers("class_weight", weights).astype(np.float64)
    if values.shape != (classes,):
        raise ValueError(
            f"class_weight must be a mapping, 'balanced', or a weight for each of {classes} "
            f"classes; got an array of shape {values.shape}"
        )
    for label, weight in enumerate(values.tolist()):
        real(f"class_weight[{label}]", weight, least=0)
    return values


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


def _numbers(name: str, array: Any) -> Array:
    try:
        if np.ma.is_masked(array):
            raise ValueError("some elements are masked")
        array = np.asarray(array)
    except ValueError as error:
        raise ValueError(f"{name} must be a rectangular array of numbers: {error}") from None
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must be an array of numbers, got dtype {array.dtype}")
    if array.ndim == 0:
        raise ValueError(f"{name} must be an array, got the single number {array}")
    if array.size == 0:
        raise ValueError(f"{name} must not be empty, got shape {array.shape}")
    return array


def _readable(name: str, array: Array, architecture: Architecture, finite: bool = True) -> Array:
    """Return a matrix in a type that the kernels read, and if so asked refuse NaN and infinity."""
    if array.dtype not in (np.float32, np.float64, np.uint8):
        wide = array.dtype.kind == "f" and array.dtype.itemsize >= 8
        array = array.astype(np.float64 if wide else architecture.dtype)
    if array.dtype.kind != "f" or not finite:
        return array
    largest = np.finfo(architecture.dtype).max
    step = max(1, BLOCK // array.shape[1])
    for first in range(0, len(array), step):
        block = array[first : first + step]
        with np.errstate(all="ignore"):
            total = block.sum()  # not finite if any element is not: one fast pass
        if not np.isfinite(total) or block.max() > largest or block.min() < -largest:
            bad = np.argwhere(~(np.abs(block) <= largest))
            if len(bad):
                row, column = bad[0]
                raise ValueError(
                    f"{name} must be finite in {architecture.dtype.name}, got "
                    f"{block[row, column]} in row {first + row}, column {column}"
                )
    return array
