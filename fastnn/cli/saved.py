"""What the command lines that read a saved network share: its classes, rows and labels."""

from __future__ import annotations

import numpy as np

from fastnn import datasets
from fastnn.activations import Array
from fastnn.cli import reading
from fastnn.cli.running import Given
from fastnn.committee import Committee, members_of
from fastnn.datasets.digits import SIDE
from fastnn.datasets.mnist import locate
from fastnn.network import Network

DIGITS = [str(digit) for digit in range(10)]


def classes_of(net: Network | Committee) -> tuple[int | str, ...]:
    """Return the names of the classes; () if outputs are numbers."""
    architecture = members_of(net)[0].architecture
    if architecture.output not in ("softmax", "sigmoid"):
        return ()
    return net.classes or tuple(range(max(2, architecture.sizes[-1])))


def read(given: Given, net: Network | Committee) -> tuple[str, datasets.Table]:
    """Return the name of the data and the rows to predict: the test rows, if there are any."""
    architecture = members_of(net)[0].architecture
    if "data" in given and given["data"].is_dir() and not locate(given["data"]):
        given = in_form(given, net)  # a folder of pictures
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


def in_form(given: Given, net: Network | Committee) -> Given:
    """Return what is given, with pictures in MNIST's form for a network of MNIST; say so.

    Nothing changes if the form of pictures is given.
    """
    if reading.pictures_of(given) or not _of_digits(net):
        return given
    print(
        "pictures are brought to MNIST's form, as the network takes 28 x 28 pixels and knows the "
        "digits 0 to 9 (--no-digits leaves them as they are)"
    )
    return {**given, "digits": True}


def _of_digits(net: Network | Committee) -> bool:
    """Whether a network is one for MNIST, as far as can be told."""
    mnist = list(map(str, classes_of(net))) == DIGITS
    found = [member.model for member in members_of(net)]
    pixels = any(model.pixels for model in found)  # which a member that was not trained cannot tell
    return mnist and found[0].architecture.sizes[0] == SIDE * SIDE and pixels


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
