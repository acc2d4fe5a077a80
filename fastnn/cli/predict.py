"""The command line: ``python -m fastnn.predict``, also installed as ``fastnn-predict``."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fastnn import datasets
from fastnn.activations import Array
from fastnn.cli import parsing, reading
from fastnn.cli.groups import Group, Parser
from fastnn.cli.parsing import Given
from fastnn.cli.printing import predicted, print_report
from fastnn.loading import load
from fastnn.network import Network
from fastnn.writing import replacing


def main(arguments: Sequence[str] | None = None) -> int:
    """Predict with a saved network, or evaluate it.

    Parameters
    ----------
    arguments : sequence of str, optional
        Default: those of the command line.

    Returns
    -------
    int
        The exit code, 0. Bad input exits with 2 and a line on standard error.
    """
    return parsing.run(_parser(), _predict, arguments)


def _parser() -> Parser:
    parser = Parser(
        prog="fastnn-predict",
        usage="%(prog)s NETWORK [option ...]",
        description="Predict with a saved network. If the data have labels, evaluate the network.",
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("network", type=Path, metavar="NETWORK", help="file of fastnn-train --save")
    group = Group(parser, "data")
    text = (
        "CSV, .npz or IDX file, or a folder with the four files of MNIST (default: the test images "
        "of MNIST)"
    )
    group.one("--data", text, Path, metavar="PATH")
    parsing.add_columns(group)
    group = Group(parser, "results")
    text = "file to write the predicted labels to, in Kaggle's form: ImageId,Label"
    group.one("--submission", text, Path, metavar="CSV")
    text = "file to write all outputs to, such as the probabilities of the classes"
    group.one("--outputs", text, Path, metavar="CSV")
    parsing.add_backend(Group(parser, "running"))
    return parser


def _predict(given: Given) -> int:
    parsing.check_folders(given, "submission", "outputs")
    net = load(given["network"], given["backend"], given.get("threads"))
    classes = _classes(net)
    name, rows = _read(given, net)
    print(f"{net!r}\n{name}: {len(rows.X):,} rows of {rows.X.shape[1]} features")
    several = not classes and net.architecture.sizes[-1] > 1
    known = None if several else rows.y
    if several and ("submission" in given or "outputs" not in given):
        raise ValueError(
            "the network predicts several numbers per row; need --outputs CSV, the file to write "
            "them to"
        )
    if known is None and not {"submission", "outputs"} & given.keys():
        raise ValueError(
            f"{name} holds no labels to evaluate on; need --submission CSV or --outputs CSV, the "
            "file to write predictions to, or --label COLUMN"
        )
    if known is not None:
        y = _places(name, known, classes) if classes else known
        print_report(net, rows.X, y, classes)
    if "submission" in given:
        found = predicted(net, rows.X, classes)
        labels = np.array(classes)[found] if classes else found
        datasets.write_submission(given["submission"], labels)
        print(f"\n{len(labels):,} labels are in {given['submission']}")
    if "outputs" in given:
        _write(given["outputs"], net.predict_proba(rows.X), classes)
        print(f"\nthe outputs for {len(rows.X):,} rows are in {given['outputs']}")
    return 0


def _classes(net: Network) -> tuple[str, ...]:
    """Return the names of the classes; () if outputs are numbers."""
    if net.architecture.activations[-1] not in ("softmax", "sigmoid"):
        return ()
    names = range(max(2, net.architecture.sizes[-1])) if net.classes is None else net.classes
    return tuple(map(str, names))


def _read(given: Given, net: Network) -> tuple[str, datasets.Table]:
    """Return the name of the data and the rows to predict: the test rows, if there are any."""
    name, split = reading.tables(
        given.get("data"), given.get("label"), given.get("header"), net.architecture.dtype.name
    )
    rows, inputs = split.test or split.train, net.architecture.sizes[0]
    if rows.X.shape[1] != inputs:
        hint = "" if "data" in given else "; name other data with --data"
        raise ValueError(f"{name} has {rows.X.shape[1]} features; the network takes {inputs}{hint}")
    return name, rows


def _places(name: str, labels: Array, classes: tuple[str, ...]) -> Array:
    """Return the positions of labels in the classes."""
    known = {label: place for place, label in enumerate(classes)}
    texts = list(map(str, labels.tolist()))
    if unknown := set(texts) - known.keys():
        raise ValueError(
            f"{name} has the label {min(unknown)!r}; the network knows {', '.join(classes)}"
        )
    return np.array([known[text] for text in texts])


def _write(path: Path, outputs: Array, classes: tuple[str, ...]) -> None:
    """Write a line per row: its number from 1, then a column for each class or number."""
    if outputs.shape[1] == 1 and classes:
        outputs = np.column_stack([1 - outputs, outputs])
    names = classes or tuple(map(str, range(outputs.shape[1])))
    with replacing(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["row", *names])
        writer.writerows([i, *map(str, row)] for i, row in enumerate(outputs, 1))
