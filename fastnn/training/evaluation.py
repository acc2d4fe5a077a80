"""Evaluation: outputs of a model for many rows, and its loss and metrics on known targets."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from fastnn import backends, metrics
from fastnn.activations import Array
from fastnn.backends.contract import Examples
from fastnn.backends.sharing import end_with_the_others
from fastnn.checks import data as check
from fastnn.checks.sparse import refuse_to_standardise
from fastnn.checks.targets import Targets
from fastnn.losses import Quantile, matrix, pair
from fastnn.metrics.classes import accuracy_and_macro_f1
from fastnn.metrics.regression import r2_mae_rmse
from fastnn.model.architecture import Architecture
from fastnn.model.model import Model
from fastnn.model.work import sparse_work
from fastnn.sparse_rows import Rows, SparseRows
from fastnn.training.processes import ALONE, OneProcess

# Floating-point operations of one call of a backend: about a fiftieth of a second, and less than a
# quarter on any machine, so that Ctrl-C and the progress bar respond promptly.
SLICE = 4e9
PART = 4096  # rows whose loss is computed at a time
# What outputs come from, up to a number for each row.
INVERSE: dict[str, Callable[[Array], Array]] = {
    "softmax": np.log,
    "sigmoid": lambda a: np.log(a) - np.log1p(-a),
    "identity": lambda a: a,
    "exponential": np.log,
}
MEDIAN = 0.5  # the level whose errors metrics are about


class DivergenceError(ArithmeticError):
    """The loss, a parameter, an output or the optimizer's state is no longer finite.

    In training the message names the epoch, the step, the layer (counted from 0), the learning rate
    and the norm of the gradient, and says what to try. The network holds the parameters from before
    the failing steps.
    """


class EvaluationData(NamedTuple):
    """Data to evaluate on: all rows, or those that ``rows`` names, with weights of mean 1."""

    X: Rows
    targets: Targets
    weights: Array | None = None
    rows: Array | None = None


def outputs(model: Model, name: str, X: Any) -> Array:
    """Return the outputs of the last layer for all rows of an argument, in units of the targets."""
    refuse_to_standardise(name, X, model.input_scaler is not None)
    features = check.features(name, X, model.architecture, model.features, finite=False)
    warn_of_other_units(model, name, features)
    return outputs_of_rows(model, name, features)


def outputs_of_rows(model: Model, name: str, features: Rows) -> Array:
    """Return the outputs for rows that are ready for a backend, but for NaN and infinity."""
    out = _empty(model.architecture, len(features))
    predict, parts = backends.get(model.backend).predict, [(features, out)]
    if len(features) > _length(model.architecture, features):
        slices = _slices(model.architecture, slice(0, len(features)), features)
        parts = [(features[rows], out[rows]) for rows in slices]
    for part, outs in parts:
        if not predict(model, part, outs):
            check.features(name, features, model.architecture, model.features)  # says where
    restore_targets(model, out)
    check_outputs(model.architecture, out)
    return out


def single(model: Model) -> tuple[Any, np.dtype, int]:
    """Return the backend's function for one row, the dtype, and how many outputs there are.

    The model keeps them for the next row.
    """
    a = model.architecture
    function = backends.get(model.backend).single(model)
    found = _sorting(function) if isinstance(a.loss, Quantile) else function, a.dtype, a.sizes[-1]
    model.prepared["single"] = found
    return found


def _sorting(function: Callable[[Array, Array], int]) -> Callable[[Array, Array], int]:
    """Return a function for one row that sorts the outputs."""

    def predict_one(x: Array, out: Array) -> int:
        code = function(x, out)
        out.sort()
        return code

    return predict_one


def warn_of_other_units(model: Model, name: str, features: Rows) -> None:
    """Warn of numbers that are far from all that a model was trained on."""
    if model.pixels or model.input_scaler is not None:
        check.warn_of_other_units(name, features, model.pixels, model.input_scaler, model.features)


def evaluate(model: Model, data: EvaluationData) -> dict[str, float]:
    """Return the loss and the metrics that fit the targets; see `fastnn.Network.evaluate`."""
    return Evaluation(model, data)()


class Evaluation:
    """The evaluation of a model on some data, which a run repeats after each epoch.

    What stays the same is made once. A call raises a `DivergenceError` if the loss or an output is
    not finite.

    Parameters
    ----------
    model : Model
        Its scalers must not change.
    data : EvaluationData
    team : OneProcess
        The processes that evaluate a share of the rows each.
    """

    def __init__(self, model: Model, data: EvaluationData, team: OneProcess = ALONE) -> None:
        self.model, self.data, self.team = model, data, team
        self.targets, self.weights = data.targets.at(data.rows), data.weights
        if self.weights is not None and data.rows is not None:
            self.weights = self.weights[data.rows]
        self.own, self.first = team.share(len(self.targets.values))
        self.targets = self.targets.of_all(team.united)
        self.weights = None if self.weights is None else team.united(self.weights)
        self.scaled = scale_targets(model, self.targets)
        self.names = metric_names(model.architecture, self.targets)
        self.labels = _true_classes(model.architecture, self.targets)
        rows = len(self.targets.values)
        self.slices = list(_slices(model.architecture, self.own, data.X))
        # Rows that are chosen from others are copied, a part at a time.
        self.examples = None if data.rows is not None else [*map(self._part, self.slices)]
        self.out = _empty(model.architecture, rows)

    def _part(self, rows: slice) -> Examples:
        data, weights = self.data, self.weights
        places = slice(rows.start - self.first, rows.stop - self.first)
        X = data.X[places if data.rows is None else data.rows[places]]
        return Examples(X, self.scaled[rows], None if weights is None else weights[rows])

    def __call__(self) -> dict[str, float]:
        """Return the loss and the metrics."""
        model, out = self.model, self.out
        backend = backends.get(model.backend)
        total = 0.0
        for rows, examples in zip(
            self.slices, self.examples or map(self._part, self.slices), strict=True
        ):
            end_with_the_others()
            total += backend.loss(model, examples, out[rows]) * len(examples.X)
        total = self.team.add_up(out, self.own, total)
        values = {"loss": total / len(out)}
        restore_targets(model, out)
        check_outputs(model.architecture, out)
        check_loss(values["loss"])
        return values | self.scores(out)

    def scores(self, out: Array) -> dict[str, float]:
        """Return the metrics of outputs in units of the targets."""
        return dict(zip(self.names, self._scores(out), strict=True))

    def _scores(self, out: Array) -> tuple[float, ...]:
        model, values, weights = self.model, self.targets.values, self.weights
        if self.labels is not None:
            return accuracy_and_macro_f1(self.labels, classes_of(out), weights)
        if "accuracy" in self.names:
            return metrics.multilabel_scores(values, out > 0.5, weights)
        if not self.names:
            return ()
        loss = model.architecture.loss
        if isinstance(loss, Quantile):
            middle = loss.levels.index(MEDIAN)
            out = out[:, middle : middle + 1]
        return r2_mae_rmse(values, out, weights)


def metric_names(architecture: Architecture, targets: Targets) -> tuple[str, ...]:
    """Return the names of the metrics that fit these targets, without the loss."""
    if isinstance(architecture.loss, Quantile) and MEDIAN not in architecture.loss.levels:
        return ()
    if architecture.output not in ("softmax", "sigmoid") and targets.labels is None:
        return ("r2", "mae", "rmse")
    several = architecture.output == "sigmoid" and np.isin(targets.values, (0, 1)).all()
    return ("accuracy", "macro_f1") if targets.labels is not None or several else ()


def _true_classes(architecture: Architecture, targets: Targets) -> Array | None:
    """Return the class of each row; none for columns of several sigmoids, whatever they hold."""
    columns = targets.values.ndim == 2 and targets.values.shape[1] > 1
    return None if columns and architecture.output == "sigmoid" else targets.labels


def classes_of(outputs: Array) -> Array:
    """Return the class of each row: the largest output, or whether a single one is above 0.5."""
    if outputs.shape[1] == 1:
        return (outputs[:, 0] > 0.5).astype(np.int64)
    return outputs.argmax(axis=1)


def decided(model: Model, outputs: Array, threshold: float | None) -> Array:
    """Return what outputs predict: see `fastnn.Network.predict`."""
    if model.architecture.output not in ("softmax", "sigmoid"):
        return outputs
    if threshold is None:
        return named(model, classes_of(outputs))
    labels = (outputs > threshold).astype(np.int64)
    return labels if labels.shape[1] > 1 else named(model, labels[:, 0])


def named(model: Model, positions: Array) -> Array:
    """Return the names of classes at these positions; the positions if there are no names."""
    names = model.classes
    if names is None:
        return positions
    one_kind = len(set(map(type, names))) == 1
    labels = np.array(names, None if one_kind else object)
    if labels.dtype.kind == "f":  # NumPy's type for integers on both sides of 2**63, inexact
        labels = np.array(names, object)
    return labels[positions]


def scale_targets(model: Model, targets: Targets) -> Array:
    """Return the targets of the backends: standardised, if the model does so."""
    if model.target_scaler is None:
        return targets.values
    mean, scale = model.target_scaler
    matrix = targets.as_matrix(model.architecture)
    return ((matrix - mean) * scale).astype(model.architecture.dtype)


def restore_targets(model: Model, out: Array) -> None:
    """Convert outputs back to the units of the targets, and sort quantiles, in place."""
    if model.target_scaler is not None:
        out[...] = model.target_scaler.restored(out)
    if isinstance(model.architecture.loss, Quantile):
        out.sort(axis=-1)


def loss_of_outputs(model: Model, data: EvaluationData, out: Array) -> float:
    """Return the mean loss of outputs in units of the targets that may be no network's own.

    Probabilities and rates count as what they are rounded to, but for 0 and 1.
    """
    a = model.architecture
    info = np.finfo(a.dtype)
    formula, total = pair(a.output, a.loss), 0.0
    targets = scale_targets(model, data.targets)
    dtype = a.dtype if callable(a.loss) else np.dtype(np.float64)
    for first in range(0, len(out), PART):
        rows = slice(first, first + PART)
        outputs = out[rows].astype(dtype)
        if model.target_scaler is not None:
            outputs = (outputs - model.target_scaler.mean) * model.target_scaler.scale
        if a.output in ("softmax", "sigmoid"):
            outputs = np.clip(outputs, info.tiny, 1 - info.epsneg)
        if a.output == "exponential":
            outputs = np.maximum(outputs, info.tiny)
        z = INVERSE[a.output](outputs)
        losses = formula.value(z, outputs, matrix(targets[rows], a.sizes[-1], dtype))
        weights = 1.0 if data.weights is None else data.weights[rows]
        total += float((losses * weights).sum(dtype=np.float64))
    value = total / len(out)
    check_loss(value)
    return value


def check_loss(loss: float) -> None:
    """Refuse a loss that is not finite."""
    if not math.isfinite(loss):
        raise DivergenceError(
            f"the loss is {loss}, though the outputs are finite: targets or outputs are too large "
            "for the loss; scale them to about -1 .. 1"
        )


def check_outputs(architecture: Architecture, out: Array) -> None:
    """Refuse outputs that are not finite."""
    if np.count_nonzero(np.isfinite(out)) < out.size:  # sooner than `all` for few rows
        row = np.isfinite(out).all(axis=1).argmin()
        raise DivergenceError(
            f"the outputs are no longer finite for row {row}: its numbers, or the weights, are too "
            f"large for {architecture.dtype}. Try inputs scaled to about -1 .. 1, as with "
            "standardize_inputs=True, and in training a lower learning_rate"
        )


def _empty(architecture: Architecture, rows: int) -> Array:
    return np.empty((rows, architecture.sizes[-1]), architecture.dtype)


def _length(architecture: Architecture, X: Rows | None = None) -> int:
    """Return how many rows a call of a backend takes, short enough for a prompt Ctrl-C."""
    work: float = architecture.forward_flops
    if isinstance(X, SparseRows):
        work = sparse_work(architecture, X, 1, training=False)
    return max(1, math.ceil(SLICE / (work + 1000)))


def _slices(architecture: Architecture, rows: slice, X: Rows | None = None) -> Iterator[slice]:
    """Cut rows into calls of a backend."""
    length = _length(architecture, X)
    for first in range(rows.start, rows.stop, length):
        yield slice(first, min(first + length, rows.stop))
