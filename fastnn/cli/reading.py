"""The data of a command line: training and test rows, and the names of the classes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fastnn import datasets
from fastnn.activations import Array
from fastnn.checks import values as check
from fastnn.training.rows import stratified

# How `fastnn.datasets.read_csv` proposes to name the label, in Python.
PROPOSAL = re.compile(r"or label=('?)(.+?)\1 if this is the label")


class Dataset(NamedTuple):
    """Training and test data; labels that are classes are given as positions in ``classes``."""

    name: str
    X: Array
    y: Array
    test_X: Array
    test_y: Array
    classes: tuple[str, ...]  # () if labels are numbers
    features: tuple[str, ...]

    def place_of(self, label: str) -> int:
        """Return the position of a class."""
        if label not in self.classes:
            raise ValueError(f"there is no class {label!r}; there are {', '.join(self.classes)}")
        return self.classes.index(label)

    def labels(self, y: Array) -> Array:
        """Return the classes at these positions; numbers stay as they are."""
        return np.array(self.classes)[y] if self.classes else y

    def __str__(self) -> str:
        kind = f"{len(self.classes)} classes" if self.classes else "numbers"
        return (
            f"{self.name}: {len(self.X):,} training and {len(self.test_X):,} test rows of "
            f"{self.X.shape[1]} features, {kind}"
        )


def read(
    path: Path | None,
    label: str | None,
    header: bool | None,
    dtype: str,
    test: Path | None,
    test_share: float,
    regression: bool,
    seed: int,
) -> Dataset:
    """Read training and test data; without test data, set a share of the rows aside for them."""
    name, (train, other) = tables(path, label, header, dtype)
    if test is not None:
        other = load(test, label, header, dtype).train
        same_features(test, other, train)
    if train.y is None:
        raise ValueError(
            f"{path} has no column 'label'; name the column of the labels with --label: it has "
            f"{', '.join(train.features[:8])}{' ...' * (len(train.features) > 8)}"
        )
    y = train.y
    numbers = regression or y.dtype.kind == "f"
    if numbers and y.dtype.kind not in "iuf":
        raise ValueError(f"--regression needs labels that are numbers; got {y.tolist()[0]!r}")
    if not numbers and len(classes := np.unique(y)) < 2:
        raise ValueError(
            f"{name} has labels of a single class, {classes.tolist()[0]!r}; need two or more"
        )
    if other is None:
        check.real("--test-share", test_share, above=0, below=1)
        rows, aside = stratified(test_share, len(y), None if numbers else y, seed)
        X, test_X, y, test_y = train.X[rows], train.X[aside], y[rows], y[aside]
    elif other.y is None:
        raise ValueError(f"{test} has no labels to evaluate on; --predict takes such data")
    else:
        X, test_X, test_y = train.X, other.X, other.y
    if numbers:
        return Dataset(name, X, y, test_X, test_y, (), train.features)
    classes = np.unique(y)
    if len(unknown := np.setdiff1d(test_y, classes)):
        raise ValueError(
            f"the test rows have the classes {unknown.tolist()}, which no training row has; need "
            "training rows of every class"
        )
    y, test_y = np.searchsorted(classes, y), np.searchsorted(classes, test_y)
    return Dataset(name, X, y, test_X, test_y, tuple(map(str, classes)), train.features)


def tables(
    path: Path | None, label: str | None, header: bool | None, dtype: str
) -> tuple[str, datasets.Split]:
    """Return the name and the tables of a data set; without a path that is MNIST."""
    if path is not None:
        return path.name, load(path, label, header, dtype)
    loaded = datasets.load_mnist()
    train = datasets.Table(*loaded[:2], tuple(map(str, range(784))), "digit")
    return "MNIST", datasets.Split(train, train._replace(X=loaded[2], y=loaded[3]))


def joined(split: datasets.Split) -> tuple[Array, Array | None]:
    """Return features and labels of training and test rows together."""
    train, test = split
    if test is None or test.y is None or train.y is None:
        parts = [train.X] if test is None else [train.X, test.X]
        return np.concatenate(parts), None
    return np.concatenate([train.X, test.X]), np.concatenate([train.y, test.y])


def load(
    path: Path,
    label: str | None,
    header: bool | None,
    dtype: str,
    advice: str = "or --label {} if this is the label",
) -> datasets.Split:
    """Read a data set; a label that is an integer is a position.

    ``advice`` is what an error says of a column of text, {}, that may be the label.
    """
    column = int(label) if label is not None and label.lstrip("-").isdigit() else label
    try:
        return datasets.load(path, column, header=header, dtype=dtype)
    except ValueError as error:
        text = PROPOSAL.sub(lambda found: advice.format(found[2]), str(error))
        raise ValueError(text) from None


def same_features(path: Path, table: datasets.Table, known: datasets.Table | Dataset) -> None:
    """Refuse data with other features than the training data."""
    if table.X.shape[1] != known.X.shape[1]:
        raise ValueError(
            f"{path} has {table.X.shape[1]} features; need {known.X.shape[1]}, as the training data"
        )
    for name, need in zip(table.features, known.features, strict=True):
        if name != need and not (name.isdigit() or need.isdigit()):
            raise ValueError(
                f"{path} has the feature {name!r}; need {need!r} there, as in the training data"
            )
