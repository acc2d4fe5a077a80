"""What a command line learns: training and test data, and what their labels stand for."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from fastnn import datasets
from fastnn.activations import Array
from fastnn.training.rows import stratified


class Dataset(NamedTuple):
    """Training and test data; labels that name classes are their places in ``classes``."""

    name: str
    X: Array
    y: Array
    test_X: Array
    test_y: Array
    classes: tuple[str, ...]  # none if labels are numbers
    features: tuple[str, ...]

    def place_of(self, label: str) -> int:
        """Return the place of a class."""
        if label not in self.classes:
            raise ValueError(f"there is no class {label!r}; there are {', '.join(self.classes)}")
        return self.classes.index(label)

    def labels(self, y: Array) -> Array:
        """Return what places, or numbers, stand for."""
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
    """Read data, or MNIST, and set test rows aside if there are none of their own."""
    if path is None:
        loaded = datasets.load_mnist()
        table = datasets.Table(*loaded[:2], tuple(map(str, range(784))), "digit")
        other: datasets.Table | None = table._replace(X=loaded[2], y=loaded[3])
    else:
        table, other = load(path, label, header, dtype)
    if test is not None:
        other = load(test, label, header, dtype).train
        same_features(test, other, table)
    if table.y is None:
        raise ValueError(
            f"{path} has no column 'label'; name the one to learn with --label: it has "
            f"{', '.join(table.features[:8])}{' ...' * (len(table.features) > 8)}"
        )
    y = table.y
    numbers = regression or y.dtype.kind == "f"
    if numbers and y.dtype.kind not in "iuf":
        raise ValueError(f"--regression needs labels that are numbers; got {y[0]!r}")
    if other is None:
        rows, aside = stratified(test_share, len(y), None if numbers else y, seed)
        X, test_X, y, test_y = table.X[rows], table.X[aside], y[rows], y[aside]
    elif other.y is None:
        raise ValueError(f"{test} has no labels to judge by; --predict takes data without labels")
    else:
        X, test_X, test_y = table.X, other.X, other.y
    classes: tuple[str, ...] = ()
    if not numbers:
        found = np.unique(y)
        unknown = np.setdiff1d(test_y, found)
        if len(unknown):
            raise ValueError(f"the test rows have classes that are in no other row: {unknown}")
        y, test_y = np.searchsorted(found, y), np.searchsorted(found, test_y)
        classes = tuple(map(str, found))
    name = "MNIST" if path is None else path.name
    return Dataset(name, X, y, test_X, test_y, classes, table.features)


def load(path: Path, label: str | None, header: bool | None, dtype: str) -> datasets.Split:
    """Read a data set; a label that is a number is a position."""
    column = int(label) if label is not None and label.lstrip("-").isdigit() else label
    return datasets.load(path, column, header=header, dtype=dtype)


def same_features(path: Path, table: datasets.Table, known: datasets.Table | Dataset) -> None:
    """Refuse a table with other features than the one that is learnt from."""
    if table.X.shape[1] != known.X.shape[1]:
        raise ValueError(
            f"{path} has {table.X.shape[1]} features; need {known.X.shape[1]}, as in the data"
        )
    for name, need in zip(table.features, known.features, strict=True):
        if name != need and not (name.isdigit() or need.isdigit()):
            raise ValueError(f"{path} has the feature {name!r} where the data have {need!r}")
