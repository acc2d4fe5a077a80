"""Checks of arguments. Each error names the argument, what it got and what it needs."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Collection, Iterable
from typing import Any, NamedTuple

import numpy as np

from fastnn.activations import HIDDEN, OUTPUT, Array
from fastnn.losses import LOSSES, PAIRS
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


def real(name: str, value: Any, *, above: float | None = None, least: float | None = None) -> float:
    """Return the value as a float if it is finite and above or at least a bound."""
    if isinstance(value, str | bool | np.bool_):
        raise TypeError(f"{name} must be a number, got {value!r}")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number, got {value!r}") from None
    if above is not None and not (math.isfinite(number) and number > above):
        raise ValueError(f"{name} must be finite and greater than {above:g}; got {value!r}")
    if least is not None and not (math.isfinite(number) and number >= least):
        raise ValueError(f"{name} must be finite and at least {least:g}; got {value!r}")
    return number


def pair(name: str, value: Any) -> tuple[Any, Any]:
    """Return the value if it is a pair of inputs and targets."""
    if not isinstance(value, tuple | list) or len(value) != 2:
        size = f" of {len(value)}" if isinstance(value, tuple | list) else ""
        raise TypeError(f"{name} must be a pair (X, y), got a {type(value).__name__}{size}")
    return value[0], value[1]


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
    one_of("output", output, OUTPUT)
    one_of("loss", loss, LOSSES)
    if (output, loss) not in PAIRS:
        losses = ", ".join(sorted(name for out, name in PAIRS if out == output))
        raise ValueError(f"loss must be one of {losses} with output {output!r}; got {loss!r}")
    if output == "softmax" and units[-1] == 1:
        raise ValueError(
            "output 'softmax' of a single unit is always 1; for one output use 'sigmoid' or "
            "'identity', for two classes also two outputs"
        )
    try:
        name = "None" if dtype is None else np.dtype(dtype).name
    except TypeError:
        name = str(dtype)
    return Architecture(units, (*names, output), loss, np.dtype(one_of("dtype", name, DTYPES)))


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
    if architecture.loss == "cross_entropy":
        _probabilities(name, values, output)
    return Targets(values, _labels_in(values) if output != "identity" else None)


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
            f"{name} must hold probabilities from 0 to 1 for the cross-entropy loss; "
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
