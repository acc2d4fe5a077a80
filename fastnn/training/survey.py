"""The first pass over a stream: what it tells of all rows, in memory for a few of them."""

from __future__ import annotations

from collections import Counter
from typing import Any
from zlib import crc32

import numpy as np

from fastnn.activations import Array
from fastnn.checks import data as check
from fastnn.checks.sparse import refuse_to_standardise
from fastnn.checks.tables import Names, names_of, warn_of_indexes
from fastnn.checks.targets import Classes, Targets, check_names, named_labels, names_in
from fastnn.checks.targets import targets as check_targets
from fastnn.column_rows import ColumnRows
from fastnn.distributed import Agreement
from fastnn.model.model import Model
from fastnn.sparse_rows import Rows, SparseRows, joined
from fastnn.streams.stream import Block
from fastnn.training import row_weights
from fastnn.training.sums import Mean, Spread

KEPT = 1024  # rows, up to twice as many, or fewer if they hold many numbers
MOST_NUMBERS = 1 << 21
CHOOSING = ("softmax", "sigmoid")
Kinds = tuple[str, dict[str, str]]  # the name of a block, and of what kind each of its arrays is


class Reader:
    """Reads blocks, and refuses those that are of another kind than the first.

    Parameters
    ----------
    model : Model
    agreement : Agreement
        Of the ranks that read streams, or parts of one, together.

    Attributes
    ----------
    names : tuple of str or None
        Of the inputs: the model's, or those of the first block, of several ranks the first one's.
    classes : tuple or None
        The model's; or those of the labels so far, as they have come; or None, if labels are no
        names.
    first : tuple or None
        The name of the first block, and the kinds of its arrays.
    """

    def __init__(self, model: Model, agreement: Agreement) -> None:
        self.architecture, self.agreement = model.architecture, agreement
        self.standardises = model.standardize_inputs or model.input_scaler is not None
        self.names: Names | None = model.features
        self.classes: Classes | None = model.classes
        self.finding = model.classes is None
        self.first: Kinds | None = None

    def read(self, block: Block) -> tuple[Rows, Targets]:
        """Return inputs and targets, after a look at both."""
        with block.named():
            if self.first is None:
                self._agree_on_names(names_of("X", block.X))
            name = f"{block.name}: X"
            refuse_to_standardise(name, block.X, self.standardises)
            X = check.features(name, block.X, self.architecture, self.names)
            warn_of_indexes(block.X, f"{block.name}: ", y=block.y, sample_weight=block.weights)
            named = self.architecture.output in CHOOSING and named_labels(block.y) is not None
            if named and self.finding:
                self._find(block)
            y = f"{block.name}: y"
            targets = check_targets(y, block.y, len(X), self.architecture, self.classes)
            self._compare(block, X, targets, named)
        return X, targets

    def _agree_on_names(self, own: Names | None) -> None:
        """Take the names of the inputs, in the order that they have on the first rank."""
        first = self.agreement.gathered(own)[0]
        if self.names is None:
            self.names = first or own

    def _find(self, block: Block) -> None:
        """Take the names of classes that are new."""
        labels = names_in(f"{block.name}: y", block.y, self.architecture)
        known, most = self.classes or (), max(2, self.architecture.sizes[-1])
        self.classes = known + tuple(label for label in labels or () if label not in known)
        if len(self.classes) > most:
            raise ValueError(
                f"{block.name}: y holds {self.classes[most]!r}, which makes at least "
                f"{len(self.classes)} classes, but the network is for {most}; use as many outputs "
                "as there are classes"
            )

    def found(self, agreement: Agreement) -> Array | None:
        """Sort the classes that all ranks have found; return where each of this one is now.

        None if there are no such.
        """
        before = self.classes if self.finding else None
        found, self.finding = agreement.united(before), False
        if before is None or found is None:
            return None
        check_names("y", found, self.architecture)
        self.classes = found
        return np.array([found.index(each) for each in before])

    def refuse_others(self, agreement: Agreement) -> None:
        """Refuse blocks of another kind on other ranks than on the first."""
        assert self.first is not None
        named = f"{self.first[0]} on rank {agreement.rank}", self.first[1]
        first, *others = agreement.gathered(named)
        for other in others:
            refuse_other_kinds(other, first)

    def _compare(self, block: Block, X: Rows, targets: Targets, named: bool) -> None:
        """Refuse a block of another kind than the first."""
        values = targets.values
        of_y = "class labels" if values.ndim == 1 else f"targets in {values.shape[1]} columns"
        kinds = {
            "X": "sparse" if isinstance(X, SparseRows) else "an array",
            "the type of X": "uint8" if X.dtype == np.uint8 else "other numbers than uint8",
            "y": "names of classes" if named else of_y,
            "sample_weight": "missing" if block.weights is None else "given",
        }
        self.first = self.first or (block.name, kinds)
        refuse_other_kinds((block.name, kinds), self.first)


def refuse_other_kinds(block: Kinds, first: Kinds) -> None:
    """Refuse a block of another kind than the first."""
    (name, kinds), (before, expected) = block, first
    for what, kind in kinds.items():
        if kind != expected[what]:
            raise ValueError(
                f"{name}: {what} is {kind}, and {expected[what]} in {before}; need the same in all "
                "blocks"
            )


class LongestRun:
    """The most rows of a part that come one after the other and have the same label.

    Attributes
    ----------
    rows : int
        How many there are.
    part : int
        The first part with so many.
    """

    def __init__(self) -> None:
        self.rows = self.part = 0
        self._last: tuple[int, int] | None = None  # the part and the label of the last row
        self._length = 0  # of the run that it ends

    def add(self, part: int, labels: Array) -> None:
        """Take the labels of more rows, of which there is one."""
        begins = np.flatnonzero(labels[1:] != labels[:-1]) + 1
        lengths = np.diff(begins, prepend=0, append=len(labels))
        if (part, int(labels[0])) == self._last:
            lengths[0] += self._length
        self._last, self._length = (part, int(labels[-1])), int(lengths[-1])
        longest = int(lengths.max())
        if longest > self.rows:
            self.rows, self.part = longest, part


class Survey:
    """What a first pass tells of a stream.

    Parameters
    ----------
    model : Model
    agreement : Agreement
        As of the `Reader`.

    Attributes
    ----------
    counts : list of int
        The rows of each part so far.
    labels : Counter
        The rows of each label so far.
    longest : LongestRun
        Of the labels so far.
    labelled : bool
        Whether each row so far has a label.
    inputs, targets : Spread or None
        If the model learns how to scale them.
    mean : Mean or None
        Of the weights, if there are any.
    checksums : dict of int
    """

    def __init__(self, model: Model, agreement: Agreement) -> None:
        self.architecture, self.reader = model.architecture, Reader(model, agreement)
        self.counts: list[int] = []
        self.labels: Counter[int] = Counter()
        self.longest = LongestRun()
        self.labelled = True
        scaling = model.standardize_inputs and model.input_scaler is None
        self.inputs = Spread() if scaling else None
        scaling = model.standardize_targets and model.target_scaler is None
        self.targets = Spread() if scaling else None
        self.mean: Mean | None = None
        self.checksums = {"X": 0, "y": 0, "the row weights": 0}
        self.sample = Sample()

    def add(self, part: int, block: Block) -> int:
        """Take a block of a part; return how many rows it has."""
        X: Any  # Rows, or ColumnRows
        X, targets = self.reader.read(block)
        with block.named():
            name = f"{block.name}: sample_weight"
            weights = row_weights.of_rows(name, block.weights, targets, None, some=False)
        self.counts += [0] * (part + 1 - len(self.counts))
        self.counts[part] += len(targets.values)
        for rows in X.pieces() if isinstance(X, ColumnRows) else (X,):
            self._add_inputs(rows)
        if self.targets is not None:
            self.targets.add(targets.as_matrix(self.architecture))
        if weights is not None:
            self._note("the row weights", weights)
            self.mean = self.mean or Mean()
            self.mean.add(weights)
        self.labelled &= targets.labels is not None
        if targets.labels is not None:
            self.labels.update(dict(enumerate(np.bincount(targets.labels).tolist())))
            self.longest.add(part, targets.labels)
        if targets.values.ndim > 1:
            self._note("y", targets.values.astype(self.architecture.dtype, copy=False))
        self.sample.add(as_computed(X, self.architecture.dtype), targets, weights)
        return len(X)

    def _add_inputs(self, X: Rows) -> None:
        if self.inputs is not None:
            assert not isinstance(X, SparseRows)
            self.inputs.add(X)
        X = as_computed(X, self.architecture.dtype)
        parts = [X] if isinstance(X, np.ndarray) else [X.lengths, X.indices[X.places], X.stored]
        for array in parts:
            self._note("X", array)

    def _note(self, name: str, array: Array) -> None:
        self.checksums[name] = crc32(np.ascontiguousarray(array), self.checksums[name])  # type: ignore[arg-type]

    def rows_of_classes(self, order: Array | None) -> Array:
        """Return how many rows each class has; ``order`` is what `Reader.found` returned."""
        counts = np.zeros(max(2, self.architecture.sizes[-1]), np.int64)
        for label, count in self.labels.items():
            counts[label if order is None else order[label]] = count
        return counts


def as_computed(X: Rows, dtype: np.dtype) -> Rows:
    """Return inputs in the type in which the network computes; pixels stay bytes."""
    return X if X.dtype in (np.uint8, dtype) else X.astype(dtype)


class Sample:
    """Some rows of many, each as likely as the others, and the same in each pass.

    Attributes
    ----------
    X, targets, weights
        Of these rows.
    """

    def __init__(self) -> None:
        self._rng, self._limit, self._most = np.random.default_rng(0), 1.0, 0
        self._drawn: list[Array] = []
        self._X: list[Any] = []
        self._targets: list[Targets] = []
        self._weights: list[Array] = []

    def add(self, X: Rows, targets: Targets, weights: Array | None) -> None:
        """Take some of more rows."""
        drawn = self._rng.random(len(targets.values))
        rows = np.flatnonzero(drawn < self._limit)
        self._drawn.append(drawn[rows])
        self._X.append(X[rows])
        self._targets.append(targets.at(rows))
        if weights is not None:
            self._weights.append(weights[rows])
        most = self._most = self._most or 2 * max(32, min(KEPT, MOST_NUMBERS // X.shape[1]))
        while sum(map(len, self._drawn)) > most:
            self._limit /= 2
            kept = [np.flatnonzero(drawn < self._limit) for drawn in self._drawn]
            self._drawn = [drawn[rows] for drawn, rows in zip(self._drawn, kept, strict=True)]
            self._X = [X[rows] for X, rows in zip(self._X, kept, strict=True)]
            self._targets = [each.at(rows) for each, rows in zip(self._targets, kept, strict=True)]
            if weights is not None:
                self._weights = [w[rows] for w, rows in zip(self._weights, kept, strict=True)]

    @property
    def X(self) -> Rows:
        """The inputs."""
        if isinstance(self._X[0], SparseRows):
            return joined(self._X)
        return np.concatenate(self._X)

    def targets(self, order: Array | None) -> Targets:
        """Return the targets; ``order`` is what `Reader.found` returned."""
        values = np.concatenate([each.values for each in self._targets])
        labels = [each.labels for each in self._targets if each.labels is not None]
        if order is not None:
            values = order[values.astype(np.int64)].astype(values.dtype)
        if len(labels) < len(self._targets):
            return Targets(values, None)
        found: Array = np.concatenate(labels)
        return Targets(values, found if order is None else order[found])

    @property
    def weights(self) -> Array | None:
        """The weights, if there are any."""
        return np.concatenate(self._weights) if self._weights else None
