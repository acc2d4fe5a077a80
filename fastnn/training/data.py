"""The data of a run: what it trains on, and what it is evaluated on after each epoch."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn.activations import Array
from fastnn.backends.contract import Examples
from fastnn.checks import data as check
from fastnn.checks.sparse import refuse_to_standardise
from fastnn.checks.tables import Names, names_of, warn_of_indexes
from fastnn.checks.targets import Classes, Targets, check_names, names_in
from fastnn.checks.targets import targets as check_targets
from fastnn.checks.values import real
from fastnn.distributed import ALONE, Agreement
from fastnn.model.model import Model
from fastnn.model.scaling import Combine, as_they_are, learn
from fastnn.sparse_rows import Rows, SparseRows
from fastnn.training import row_weights
from fastnn.training.evaluation import (
    EvaluationData,
    metric_names,
    scale_targets,
    warn_of_other_units,
)
from fastnn.training.fingerprints import of_array
from fastnn.training.rows import stratified
from fastnn.training.supply import Supply

LINE = 64  # bytes of memory that are read at a time
MOST_COPIED = 1 << 30  # bytes


@dataclass(frozen=True)
class TrainingData:
    """The data of a run.

    Attributes
    ----------
    X : ndarray or SparseRows
    targets : Targets
    weights : ndarray or None
        Of all rows; those trained on have the mean 1.
    rows : ndarray or None
        Positions of the rows to train on; None for all.
    evaluated : dict of EvaluationData
        What to evaluate after each epoch: "validation" and "training", or one, or none.
    features, classes : tuple or None
        The names of the inputs and of the classes: the model's, or those of the data.
    """

    X: Rows
    targets: Targets
    weights: Array | None
    rows: Array | None
    evaluated: dict[str, EvaluationData]
    features: Names | None = None
    classes: Classes | None = None

    apart = False  # whether ranks that were called with the same have rows of their own

    def __len__(self) -> int:
        return len(self.X) if self.rows is None else len(self.rows)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of X."""
        return self.X.shape

    def supply(self, model: Model) -> Supply:
        """Return where a run of a model gets its rows from."""
        return Supply()

    def examples(self, model: Model) -> Examples:
        """Return the rows as a backend reads them, for a model that has its scalers."""
        return Examples(self.X, scale_targets(model, self.targets), self.weights, self.rows)

    def with_training_metrics(self) -> TrainingData:
        """Return the same data, with the training rows among the data to evaluate."""
        own = EvaluationData(self.X, self.targets, self.weights, self.rows)
        return dataclasses.replace(self, evaluated={"training": own, **self.evaluated})

    def metrics(self, model: Model) -> list[str]:
        """Return the names of the columns that evaluation adds to the history."""
        return [
            f"{part}_{name}"
            for part, data in self.evaluated.items()
            for name in ("loss", *metric_names(model.architecture, data.targets))
        ]

    def set_names(self, model: Model) -> None:
        """Tell a model the names of the data, and whether these are pixels."""
        model.features, model.classes = self.features, self.classes
        model.pixels |= self.X.dtype == np.uint8

    def learn_scales(self, model: Model, combined: Combine = as_they_are) -> None:
        """Compute the scalers of a model that standardises and has none yet.

        ``combined`` returns the moments of the rows of all processes.
        """
        dtype = model.architecture.dtype
        inputs, targets = model.input_scaler, model.target_scaler
        if model.standardize_inputs and inputs is None:
            assert not isinstance(self.X, SparseRows)
            inputs = learn("X", self.X, self.rows, dtype, self.features, combined)
        if model.standardize_targets and targets is None:
            values = self.targets.as_matrix(model.architecture)
            targets = learn("y", values, self.rows, dtype, combined=combined)
        model.use_scalers(inputs, targets)

    def fingerprints(self, operations: float) -> dict[str, int | None]:
        """Return a checksum of each array, by what it is called; see `fingerprints.of_array`.

        Parameters
        ----------
        operations : float
            Floating-point operations of an epoch.
        """
        arrays = {
            "X": self.X,
            "y": self.targets.values,
            "the row weights": self.weights,
            "the rows set aside": self.rows,
        }
        own = {name: of_array(array, operations) for name, array in arrays.items()}
        return own | self.fingerprints_aside(operations)

    def compared(self, operations: float) -> dict[str, Any]:
        """Return what is the same on all ranks that were called with the same data."""
        return {"number of rows": len(self), **self.fingerprints(operations)}

    def fingerprints_aside(self, operations: float) -> dict[str, int | None]:
        """Return those of the arrays of the validation data."""
        held_out = self.evaluated.get("validation")
        arrays = {
            "validation X": held_out and held_out.X,
            "validation y": held_out and held_out.targets.values,
            "the validation weights": held_out and held_out.weights,
        }
        return {name: of_array(array, operations) for name, array in arrays.items()}


def checked(
    model: Model,
    X: Any,
    y: Any,
    validation: Any,
    sample_weight: Any,
    class_weight: Any,
    rows: Array | None = None,
    agreement: Agreement = ALONE,
) -> TrainingData:
    """Return the data of a run from arguments of `fastnn.Network.train`.

    ``rows`` are the positions of those to train on, of which a share may be set aside. Ranks unite
    the names of the classes that they have seen.
    """
    architecture = model.architecture
    names = names_of("X", X) if model.features is None else model.features
    standardises = model.standardize_inputs or model.input_scaler is not None
    refuse_to_standardise("X", X, standardises)
    features = check.features("X", X, architecture, names)
    check.warn_of_no_pixels("X", features)
    warn_of_indexes(X, y=y, sample_weight=sample_weight)
    classes = model.classes
    found = agreement.united(names_in("y", y, architecture) if classes is None else None)
    if found is not None:
        check_names("y", found, architecture)
        classes = found
    targets = check_targets("y", y, len(features), architecture, classes)
    aside = None
    if isinstance(validation, float | int | np.number):
        share = real("validation", validation, above=0, below=1)
        known = np.arange(len(features)) if rows is None else rows
        parts = stratified(share, len(known), targets.at(rows).labels, model.seed)
        rows, aside = (known[part] for part in parts)
    by_class = row_weights.of_classes(class_weight, targets.at(rows), architecture, classes)
    weights = row_weights.of_rows("sample_weight", sample_weight, targets, by_class)
    evaluated = {}
    if aside is not None:
        part = None if weights is None else weights[aside]
        normalised = row_weights.with_mean_one(part, architecture.dtype)
        evaluated["validation"] = EvaluationData(features[aside], targets.at(aside), normalised)
    elif validation is not None:
        evaluated["validation"] = held_out(model, validation, names, classes, by_class)
    normalised = row_weights.with_mean_one(weights, architecture.dtype, rows)
    return TrainingData(by_rows(features), targets, normalised, rows, evaluated, names, classes)


def held_out(
    model: Model,
    validation: Any,
    names: Names | None,
    classes: Classes | None,
    by_class: Array | None,
) -> EvaluationData:
    """Return data to evaluate on after each epoch, that are rows of their own."""
    architecture = model.architecture
    X, y, given = check.held_out("validation", validation)
    warn_of_indexes(X, "validation ", y=y, sample_weight=given)
    standardises = model.standardize_inputs or model.input_scaler is not None
    refuse_to_standardise("validation X", X, standardises)
    features = check.features("validation X", X, architecture, names)
    targets = check_targets("validation y", y, len(features), architecture, classes)
    weights = row_weights.of_rows("validation sample_weight", given, targets, by_class)
    normalised = row_weights.with_mean_one(weights, architecture.dtype)
    return EvaluationData(features, targets, normalised)


def by_rows(X: Rows) -> Rows:
    """Return X, or a copy in which the numbers of a row adjoin, if that is quicker to go through.

    Of an array stored by columns, each number of a row is in another line of the memory. Large ones
    and those on disk stay as they are.
    """
    if isinstance(X, SparseRows):
        return X
    scattered = X.shape[1] > 1 and abs(X.strides[1]) >= LINE
    if not scattered or X.nbytes > MOST_COPIED or _is_on_disk(X):
        return X
    return np.ascontiguousarray(X)


def _is_on_disk(array: Any) -> bool:
    while array is not None:
        if isinstance(array, np.memmap):
            return True
        array = getattr(array, "base", None)
    return False


def evaluation_data(
    model: Model, X: Any, y: Any, sample_weight: Any, class_weight: Any
) -> EvaluationData:
    """Return data to evaluate on from arguments of `fastnn.Network.evaluate`."""
    refuse_to_standardise("X", X, model.input_scaler is not None)
    features = check.features("X", X, model.architecture, model.features)
    warn_of_indexes(X, y=y, sample_weight=sample_weight)
    warn_of_other_units(model, "X", features)
    targets = check_targets("y", y, len(features), model.architecture, model.classes)
    by_class = row_weights.of_classes(class_weight, targets, model.architecture, model.classes)
    weights = row_weights.of_rows("sample_weight", sample_weight, targets, by_class)
    normalised = row_weights.with_mean_one(weights, model.architecture.dtype)
    return EvaluationData(features, targets, normalised)
