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
from fastnn.cli.parsing import Options
from fastnn.cli.printing import predicted, print_report
from fastnn.loading import load
from fastnn.network import Network
from fastnn.writing import replacing


def main(arguments: Sequence[str] | None = None) -> int:
    """Predict with a network that was saved, or judge it.

    Parameters
    ----------
    arguments : sequence of str, optional
        By default those of the command line.

    Returns
    -------
    int
        The exit code, 0. Bad input exits with 2 and a line on standard error.
    """
    return parsing.run(_parser(), _predict, arguments)


def _parser() -> parsing.Parser:
    parser = parsing.Parser(
        prog="fastnn-predict",
        usage="%(prog)s NETWORK [option ...]",
        description="Predict with a network that was saved. Where labels are known, report how "
        "well it does.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    add = parser.add_argument
    add("network", type=Path, metavar="NETWORK", help="a file of fastnn-train --save")
    text = "a CSV, .npz or IDX file, or a folder of the MNIST files; by default MNIST's test images"
    add("--data", type=Path, metavar="PATH", help=text)
    parsing.add_columns(add)
    text = "where to write the labels, as Kaggle takes them: ImageId,Label"
    add("--submission", type=Path, metavar="CSV", help=text)
    text = "where to write all outputs, such as the probabilities of the classes"
    add("--outputs", type=Path, metavar="CSV", help=text)
    parsing.add_backend(add)
    return parser


def _predict(given: Options) -> int:
    parsing.check_folders(given, "submission", "outputs")
    net = load(given["network"], given["backend"], given.get("threads"))
    classes = _classes(net)
    name, table = _read(given, net)
    print(f"{net!r}\n{name}: {len(table.X):,} rows of {table.X.shape[1]} features")
    several = not classes and net.architecture.sizes[-1] > 1
    known = None if several else table.y
    if several and ("submission" in given or "outputs" not in given):
        raise ValueError("the network predicts several numbers a row: name a file with --outputs")
    if known is None and not {"submission", "outputs"} & given.keys():
        raise ValueError(
            f"{name} holds no labels to judge by; name a file for predictions with --submission or "
            "--outputs, or the column of the labels with --label"
        )
    if known is not None:
        y = _places(name, known, classes) if classes else known
        print_report(net, table.X, y, classes)
    if "submission" in given:
        found = predicted(net, table.X, classes)
        labels = np.array(classes)[found] if classes else found
        datasets.write_submission(given["submission"], labels)
        print(f"\n{len(labels):,} labels are in {given['submission']}")
    if "outputs" in given:
        _write(given["outputs"], net.predict_proba(table.X), classes)
        print(f"\nthe outputs for {len(table.X):,} rows are in {given['outputs']}")
    return 0


def _classes(net: Network) -> tuple[str, ...]:
    """Return the names of the classes, none if outputs are numbers."""
    if net.architecture.activations[-1] not in ("softmax", "sigmoid"):
        return ()
    names = range(max(2, net.architecture.sizes[-1])) if net.classes is None else net.classes
    return tuple(map(str, names))


def _read(given: Options, net: Network) -> tuple[str, datasets.Table]:
    """Return the name of the data and the rows to predict: the test rows, if there are any."""
    if "data" not in given:
        *_, X, y = datasets.load_mnist()
        name, table = "MNIST", datasets.Table(X, y, tuple(map(str, range(784))), "digit")
    else:
        path, dtype = given["data"], net.architecture.dtype.name
        split = reading.load(path, given.get("label"), given.get("header"), dtype)
        name, table = path.name, split.test or split.train
    if table.X.shape[1] != net.architecture.sizes[0]:
        raise ValueError(
            f"{name} has {table.X.shape[1]} features; the network takes {net.architecture.sizes[0]}"
        )
    return name, table


def _places(name: str, labels: Array, classes: tuple[str, ...]) -> Array:
    """Return the places of labels among the classes."""
    known = {label: place for place, label in enumerate(classes)}
    texts = list(map(str, labels.tolist()))
    if unknown := set(texts) - known.keys():
        raise ValueError(
            f"{name} has the label {min(unknown)!r}; the network knows {', '.join(classes)}"
        )
    return np.array([known[text] for text in texts])


def _write(path: Path, outputs: Array, classes: tuple[str, ...]) -> None:
    """Write a line a row: its number from 1, then a column for each class or number."""
    if outputs.shape[1] == 1 and classes:
        outputs = np.column_stack([1 - outputs, outputs])
    names = classes or tuple(map(str, range(outputs.shape[1])))
    with replacing(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["row", *names])
        writer.writerows([i, *map(str, row)] for i, row in enumerate(outputs, 1))
