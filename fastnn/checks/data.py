"""Checks of data: inputs, targets and weights, as the backends read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from fastnn.activations import Array
from fastnn.checks.values import BLOCK, integer, one_of, real
from fastnn.losses import matrix
from fastnn.model.architecture import Architecture


def held_out(name: str, value: Any) -> tuple[Any, Any, Any]:
    """Return inputs, targets and weights of the value, with None for missing weights."""
    if not isinstance(value, tuple | list) or len(value) not in (2, 3):
        size = f" of {len(value)}" if isinstance(value, tuple | list) else ""
        raise TypeError(
            f"{name} must be a share of the rows, (X, y) or (X, y, sample_weight); "
            f"got a {type(value).__name__}{size}"
        )
    return value[0], value[1], value[2] if len(value) == 3 else None


def features(name: str, X: Any, architecture: Architecture, finite: bool = True) -> Array:
    """Return X as a matrix that backends read: (n, features) of float32, float64 or uint8.

    Arrays of these types are not copied. Other numbers are converted to the network's dtype.
    Infinity and NaN are refused if ``finite``.
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
    """Return one row as a new vector in the network's dtype; pixels are divided by 255."""
    x = _numbers(name, x)
    if x.shape != architecture.sizes[:1]:
        raise ValueError(f"{name} must have shape {architecture.sizes[:1]}; got {x.shape}")
    row = _readable(name, x[None], architecture)[0].astype(architecture.dtype)
    return row * (architecture.dtype.type(1) / 255) if x.dtype == np.uint8 else row


def writable_row(name: str, out: Any, architecture: Architecture) -> None:
    """Refuse an array into which a backend cannot write the outputs of one row."""
    shape, dtype = architecture.sizes[-1:], architecture.dtype
    if not isinstance(out, np.ndarray) or out.dtype != dtype or out.shape != shape:
        got = f"{out.dtype} {out.shape}" if isinstance(out, np.ndarray) else type(out).__name__
        raise ValueError(f"{name} must be an array of {dtype.name} {shape}; got {got}")
    if not (out.flags.writeable and out.flags.c_contiguous):
        raise ValueError(f"{name} must be writable and contiguous")


class Targets(NamedTuple):
    """Targets as the backends read them, and as class labels if each row has one class."""

    values: Array  # int64 labels (n,) or targets (n, outputs)
    labels: Array | None  # int64 (n,)

    def at(self, rows: Array | None) -> Targets:
        """Return the targets of some rows, or all."""
        if rows is None:
            return self
        return Targets(self.values[rows], None if self.labels is None else self.labels[rows])

    def as_matrix(self, architecture: Architecture) -> Array:
        """Return targets (n, outputs); labels become one-hot rows."""
        return matrix(self.values, architecture.sizes[-1], np.dtype(np.float64))


def targets(name: str, y: Any, rows: int, architecture: Architecture) -> Targets:
    """Return y as the backends read it.

    It may be integer labels (n,) for networks with several outputs, numbers (n,) or (n, 1) for a
    single output, or targets (n, outputs) for any network.
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
    """Refuse targets that are no probabilities, as cross-entropies need them."""
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 1:
        raise ValueError(
            f"{name} must hold probabilities from 0 to 1 for a cross-entropy loss; got values from "
            f"{low:g} to {high:g}. Numbers to predict need output='identity'"
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
    """Return the class of each row, if the targets are one-hot or 0 and 1."""
    if values.shape[1] == 1:
        column = values[:, 0]
        return column.astype(np.int64) if np.isin(column, (0, 1)).all() else None
    one_hot = np.isin(values, (0, 1)).all() and (values.sum(axis=1) == 1).all()
    return values.argmax(axis=1) if one_hot else None


def sample_weights(name: str, weights: Any, rows: int) -> Array:
    """Return weights (rows,) as float64."""
    values = _numbers(name, weights).astype(np.float64)
    if values.shape != (rows,):
        raise ValueError(f"{name} must have shape ({rows},), one per row; got {values.shape}")
    if not np.isfinite(values).all() or values.min() < 0:
        bad = int(np.flatnonzero(~(np.isfinite(values) & (values >= 0)))[0])
        raise ValueError(f"{name} must be finite and at least 0; got {values[bad]} in row {bad}")
    if not values.any():
        raise ValueError(f"{name} must not all be 0; need one above 0")
    return values


def class_weights(weights: Any, labels: Array | None, architecture: Architecture) -> Array:
    """Return a weight for each class, from a mapping, a sequence or "balanced".

    Balanced weights are inversely proportional to the class frequencies (King and Zeng, 2001).
    """
    output, outputs = architecture.activations[-1], architecture.sizes[-1]
    classes = max(2, outputs)
    if output not in ("softmax", "sigmoid"):
        raise ValueError(
            f"class_weight needs classes, but the output {output!r} is for regression; use "
            "sample_weight"
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


def _numbers(name: str, array: Any) -> Array:
    try:
        if np.ma.is_masked(array):
            raise ValueError("some elements are masked")
        array = np.asarray(array)
    except ValueError as error:
        raise ValueError(f"{name} must be a rectangular array of numbers: {error}") from None
    if array.dtype.kind not in "biuf":
        hint = (
            "; np.unique(..., return_inverse=True) numbers them" if array.dtype.kind == "U" else ""
        )
        raise TypeError(f"{name} must be an array of numbers, got dtype {array.dtype}{hint}")
    if array.ndim == 0:
        raise ValueError(f"{name} must be an array, got the single number {array}")
    if array.size == 0:
        raise ValueError(f"{name} must not be empty, got shape {array.shape}")
    return array


def _readable(name: str, array: Array, architecture: Architecture, finite: bool = True) -> Array:
    """Return a matrix in a type that the kernels read; refuse NaN and infinity if ``finite``."""
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
            total = block.sum()  # one fast pass: not finite if an element is not
        if not np.isfinite(total) or block.max() > largest or block.min() < -largest:
            bad = np.argwhere(~(np.abs(block) <= largest))
            if len(bad):
                row, column = bad[0]
                raise ValueError(
                    f"{name} must be finite in {architecture.dtype.name}, got "
                    f"{block[row, column]} in row {first + row}, column {column}"
                )
    return array
