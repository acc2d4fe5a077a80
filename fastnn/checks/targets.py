"""Checks of targets: class labels of any kind, probabilities, and numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from fastnn.activations import Array
from fastnn.checks.data import numbers, readable
from fastnn.checks.tables import shown
from fastnn.checks.values import integer, one_of, real
from fastnn.losses import Quantile, matrix, name_of
from fastnn.model.architecture import Architecture

Classes = tuple[str | int, ...]
# What outputs can reach, in words and as limits.
REACH = {
    "sigmoid": ("from 0 to 1", 0.0, 1.0),
    "softmax": ("from 0 to 1", 0.0, 1.0),
    "exponential": ("of 0 or more", 0.0, np.inf),
}
MANY = 20  # whole numbers that may be meant as classes
NUMBERS = "Numbers to predict need output='identity'"


class Targets(NamedTuple):
    """Targets as the backends read them, and as class labels if each row has one class."""

    values: Array  # int64 labels (n,) or targets (n, outputs)
    labels: Array | None  # int64 (n,)

    def at(self, rows: Array | None) -> Targets:
        """Return the targets of some rows, or all."""
        if rows is None:
            return self
        return Targets(self.values[rows], None if self.labels is None else self.labels[rows])

    def of_all(self, united: Callable[[Array], Array]) -> Targets:
        """Return those of the rows of all processes, as ``united`` returns them."""
        return Targets(united(self.values), None if self.labels is None else united(self.labels))

    def as_matrix(self, architecture: Architecture) -> Array:
        """Return targets (n, outputs); labels become one-hot rows."""
        return matrix(self.values, architecture.sizes[-1], np.dtype(np.float64))


def targets(
    name: str, y: Any, rows: int, architecture: Architecture, classes: Classes | None
) -> Targets:
    """Return y as the backends read it.

    It may be the names or positions of classes, (n,) or (n, 1); numbers (n,) or (n, 1) for a single
    output; or targets (n, outputs) for any network.
    """
    named = named_labels(y)
    outputs, output = architecture.target_columns, architecture.output
    y = numbers(name, y) if named is None else named
    if len(y) != rows:
        inputs = name[:-1] + "X"
        raise ValueError(f"{name} must have as many rows as {inputs}, {rows}; got {len(y)}")
    chooses = output in ("softmax", "sigmoid")
    if y.ndim == 2 and y.shape[1] == 1 and (outputs > 1 or named is not None):
        y = y[:, 0]
    if chooses and y.ndim == 1 and classes is not None and _is_by_name(y, classes):
        y = _places(name, y, classes)
    elif named is not None and named.dtype.kind != "b":
        need = f"numbers for the output {output!r}" if y.ndim == 1 else "numbers in each column"
        if chooses and y.ndim == 1:
            need = (
                "numbers, as the network has no classes; train it with such labels or assign them"
            )
        raise TypeError(f"{name} must hold {need}; got {str(y.flat[0])!r} in row 0")
    elif chooses and y.ndim == 1 and classes is not None and _may_be_names(y, classes):
        raise ValueError(
            f"{name} holds numbers, but the classes are text that may mean them; pass y as text; "
            f"{_listed(classes)}"
        )
    if y.ndim == 1 and outputs > 1:
        if architecture.loss == "poisson":
            raise ValueError(
                f"{name} must have shape ({rows}, {outputs}), a count for each of the {outputs} "
                f"outputs; got {y.shape}"
            )
        return _labels(name, y, outputs, chooses)
    if y.ndim == 1:
        y = y[:, None]
    if y.ndim != 2 or y.shape[1] != outputs:
        reason = f"as the network has {outputs} outputs"
        if isinstance(architecture.loss, Quantile):
            reason = "whose quantiles the network predicts"
        raise ValueError(
            f"{name} must have shape ({rows},) or ({rows}, {outputs}), {reason}; got {y.shape}"
        )
    values = readable(name, y, architecture)
    _check_reach(name, values, architecture)
    return Targets(values, _labels_in(values) if chooses else None)


def names_in(name: str, y: Any, architecture: Architecture) -> Classes | None:
    """Return the classes that strings or truth values name, sorted, or None for numbers."""
    y = named_labels(y)
    if y is None or architecture.output not in ("softmax", "sigmoid"):
        return None
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim > 1:
        return None
    if y.dtype.kind == "b":
        return False, True
    return tuple(np.unique(texts(name, y)).tolist())


def check_names(name: str, found: Classes, architecture: Architecture) -> None:
    """Refuse names of more or fewer classes than a network is for."""
    outputs = architecture.sizes[-1]
    if len(found) == max(2, outputs):
        return
    several = "classes" if len(found) > 1 else "class"
    if len(found) < max(2, outputs):
        need = "assign the names of all classes to the network's classes first" + (
            f", or use {len(found)} outputs" * (1 < len(found) < outputs)
        )
    else:
        need = f"use {len(found)} outputs"
    raise ValueError(
        f"{name} holds {len(found)} {several}, {shown(found)}, but the network is for "
        f"{max(2, outputs)}; {need}"
    )


def named_labels(y: Any) -> Array | None:
    """Return y as an array if it holds text or truth values, else None."""
    if not isinstance(y, np.ndarray):
        try:
            y = np.asarray(y)
        except ValueError:
            return None  # not rectangular: a check of numbers says so
    if y.dtype.kind in "UTb" and y.size and y.ndim:
        return y
    if y.dtype.kind != "O" or not y.size or not y.ndim:
        return None
    if any(isinstance(each, str) for each in y.flat):
        return y
    if all(isinstance(each, bool | np.bool_) for each in y.flat):
        return y.astype(bool)
    return None


def _is_by_name(y: Array, classes: Classes) -> bool:
    """Whether labels are names of classes, not their positions."""
    if y.dtype.kind in "OUTb":
        return True
    return _are_numbers(classes) and _is_whole(y)


def _may_be_names(y: Array, classes: Classes) -> bool:
    """Whether whole numbers may be meant as the names of classes, which are text."""
    if not _is_whole(y) or all(str(each) == str(i) for i, each in enumerate(classes)):
        return False
    return any(str(each).lstrip("-").isdigit() for each in classes)


def _are_numbers(classes: Classes) -> bool:
    """Whether the names of classes are numbers, which positions cannot be told from."""
    return not any(isinstance(each, str) for each in classes)


def _listed(classes: Classes) -> str:
    return f"the classes of the network are {shown(classes)}"


def _places(name: str, y: Array, classes: Classes) -> Array:
    """Return the position of each label in the classes."""
    if y.dtype.kind in "OUT":
        y = texts(name, y)
    known = {label: place for place, label in enumerate(classes)}
    found, inverse = np.unique(y, return_inverse=True)
    places = np.array([known.get(label, -1) for label in found.tolist()])[inverse.reshape(-1)]
    unknown = places < 0
    if unknown.any():
        row = int(unknown.argmax())
        raise ValueError(
            f"{name} holds {y[row].item()!r} in row {row}, which is no class; {_listed(classes)}"
        )
    return places


def texts(name: str, y: Array) -> Array:
    """Return labels of text as an array of strings, or refuse others among them."""
    if y.dtype.kind == "O":
        for row, label in enumerate(y):
            if not isinstance(label, str):
                raise TypeError(
                    f"{name} must hold labels of one kind; got {y[0]!r} in row 0 and {label!r} in "
                    f"row {row}. Rows without a label must be left out"
                    if isinstance(y[0], str)
                    else f"{name} must hold labels of one kind; got {label!r} in row {row}, and "
                    "text in others. Rows without a label must be left out"
                )
    return y.astype(str)


def _is_whole(y: Array) -> bool:
    """Whether all numbers are whole."""
    return y.dtype.kind in "biu" or (y.dtype.kind == "f" and bool((y == np.rint(y)).all()))


def _labels(name: str, y: Array, outputs: int, chooses: bool) -> Targets:
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        row = int(np.isfinite(y).argmin())
        raise ValueError(f"{name} must be finite, got {y[row]} in row {row}")
    if not (y.dtype.kind in "biu" or (chooses and _is_whole(y))):
        need = f"targets of shape ({len(y)}, {outputs}), a column for each output"
        if chooses:
            need = f"integer class labels from 0 to {outputs - 1}, or {need}"
        raise TypeError(f"{name} must be {need}; got one-dimensional {y.dtype}")
    low, high = int(y.min()), int(y.max())
    if low < 0 or high >= outputs:
        raise ValueError(
            f"{name} must hold labels from 0 to {outputs - 1}, as the network has {outputs} "
            f"outputs; got labels from {low} to {high}. {_way_out(y, outputs)}"
        )
    labels = y.astype(np.int64, copy=False)
    return Targets(labels, labels)


def _way_out(y: Array, outputs: int) -> str:
    """Return what may be meant by labels that are not 0, 1, 2, ... up to the last output."""
    found = np.unique(y).tolist()
    if len(found) == outputs:
        return f"If these are the names of the classes: net.classes = {list(map(int, found))}"
    if found == list(range(len(found))):
        return f"For {len(found)} classes the network needs {len(found)} outputs"
    return "Numbers that are names of classes are assigned to net.classes first"


def _check_reach(name: str, values: Array, architecture: Architecture) -> None:
    """Refuse targets that the outputs cannot reach; a loss of the user's own decides by itself."""
    output, loss = architecture.output, architecture.loss
    if output not in REACH and loss != "poisson":
        return
    low, high = float(values.min()), float(values.max())
    if loss == "poisson" and low < 0:
        raise ValueError(
            f"{name} must hold counts of 0 or more for the loss 'poisson'; got {low:g}. {NUMBERS} "
            "and another loss, such as 'mse'"
        )
    if output not in REACH or callable(loss):
        return
    words, least, most = REACH[output]
    if low < least or high > most:
        hint = NUMBERS
        if output == "sigmoid" and values.shape[1] == 1 and len(np.unique(values)) == 2:
            hint += f". If these are two classes: net.classes = [{low:g}, {high:g}]"
        elif len(found := np.unique(values)) <= MANY and _is_whole(found) and values.shape[1] == 1:
            hint += f". For {len(found)} classes the network needs {len(found)} outputs"
        raise ValueError(
            f"{name} must hold targets {words}, which the output {output!r} can reach; got values "
            f"from {low:g} to {high:g}. {hint}"
        )
    if output == "softmax" and name_of(loss) in ("cross_entropy", "focal"):
        sums = values.sum(axis=1, dtype=np.float64)
        wrong = np.flatnonzero(np.abs(sums - 1) > 1e-3)
        if len(wrong):
            raise ValueError(
                f"{name} must have rows that sum to 1 for softmax with "
                f"{name_of(loss).replace('_', '-')}; row {wrong[0]} sums to {sums[wrong[0]]:g}"
            )


def _labels_in(values: Array) -> Array | None:
    """Return the class of each row, if the targets are one-hot or 0 and 1."""
    if values.shape[1] == 1:
        column = values[:, 0]
        return column.astype(np.int64) if np.isin(column, (0, 1)).all() else None
    one_hot = np.isin(values, (0, 1)).all() and (values.sum(axis=1) == 1).all()
    return values.argmax(axis=1) if one_hot else None


def class_weights(
    weights: Any,
    labels: Array | None,
    architecture: Architecture,
    names: Classes | None,
) -> Array:
    """Return a weight for each class, from a mapping, a sequence or "balanced".

    The keys of a mapping are names of classes if there are any, else positions.

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
            if names is None or not (isinstance(label, str) or _are_numbers(names)):
                place = integer("a label of class_weight", label, 0, classes - 1)
            elif label in names:
                place = names.index(label)
            else:
                raise ValueError(f"class_weight has no class {label!r}; {_listed(names)}")
            values[place] = real(f"class_weight[{label}]", weight, least=0)
        return values
    values = numbers("class_weight", weights).astype(np.float64)
    if values.shape != (classes,):
        raise ValueError(
            f"class_weight must be a mapping, 'balanced', or a weight for each of {classes} "
            f"classes; got an array of shape {values.shape}"
        )
    for label, weight in enumerate(values.tolist()):
        real(f"class_weight[{label}]", weight, least=0)
    return values
