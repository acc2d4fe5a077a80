"""What the command lines that read a saved network share: its classes, rows and labels."""

from __future__ import annotations

import numpy as np

from fastnn import datasets
from fastnn.activations import Array
from fastnn.cli import reading
from fastnn.cli.running import Given
from fastnn.committee import Committee, members_of
from fastnn.network import Network


def classes_of(net: Network | Committee) -> tuple[int | str, ...]:
    """Return the names of the classes; () if outputs are numbers."""
    architecture = members_of(net)[0].architecture
    if architecture.output not in ("softmax", "sigmoid"):
        return ()
    return net.classes or tuple(range(max(2, architecture.sizes[-1])))


def read(given: Given, net: Network | Committee) -> tuple[str, datasets.Table]:
    """Return the name of the data and the rows to predict: the test rows, if there are any."""
    architecture = members_of(net)[0].architecture
    name, split = reading.tables(given, architecture.dtype.name, net.features)
    rows, inputs = split.test or split.train, architecture.sizes[0]
    if "data" in given:
        rows = reading.widened(given["data"], rows, inputs)
    if rows.X.shape[1] != inputs:
        hint = "; name other data with --data"
        if "data" in given:
            hint = reading.of_another_form(given["data"], rows)
        raise ValueError(f"{name} has {rows.X.shape[1]} features; the network takes {inputs}{hint}")
    return name, rows


def targets(name: str, labels: Array, classes: tuple[int | str, ...]) -> Array:
    """Return labels as positions in the classes, or as numbers if there are none."""
    return _places(name, labels, classes) if classes else _numbers(name, labels)


def _places(name: str, labels: Array, classes: tuple[int | str, ...]) -> Array:
    """Return the positions of labels in the classes."""
    # In files, bools are read as 0 and 1.
    known = {
        str(int(label) if isinstance(label, bool) else label): place
        for place, label in enumerate(classes)
    }
    texts = list(map(str, labels.tolist()))
    if unknown := set(texts) - known.keys():
        raise ValueError(
            f"{name} has the label {min(unknown)!r}; the network knows {reading.shown(classes)}"
        )
    return np.array([known[text] for text in texts])


def _numbers(name: str, labels: Array) -> Array:
    """Return labels that are numbers."""
    if labels.dtype.kind not in "iuf":
        raise ValueError(
            f"{name} has the label {labels.tolist()[0]!r}; the network predicts numbers: --label "
            "names the column of the numbers"
        )
    return labels
