"""The command line: ``python -m fastnn.predict``, also installed as ``fastnn-predict``."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from fastnn import datasets
from fastnn.activations import Array
from fastnn.cli import parsing, paths, pictures, reading, running, saved, tabular
from fastnn.cli.groups import Group, Parser, add_columns, add_no_digits
from fastnn.cli.printing import predicted, print_report, warnings_as_lines
from fastnn.cli.running import Given
from fastnn.committee import Committee, members_of
from fastnn.loading import load
from fastnn.model import storage
from fastnn.network import Network
from fastnn.tabular.predictor import found_in
from fastnn.writing import replacing

PROGRAM = "fastnn-predict"
SHOWN = 10  # predictions that are printed


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
    return running.run(_parser(), _predict, arguments)


def _parser() -> Parser:
    parser = Parser(
        prog=PROGRAM,
        usage="%(prog)s NETWORK [option ...]",
        description="Predict with a saved network. If the data have labels, evaluate the network. "
        "If not, and no file is named to write to, print the first predictions.",
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("network", type=Path, metavar="NETWORK", help="file of fastnn-train --save")
    group = Group(parser, "data")
    text = (
        "CSV, .npz, svmlight or IDX file, a folder with the four files of MNIST, or one with a "
        "folder of pictures for each class (default: the test images of MNIST)"
    )
    group.one("--data", text, Path, metavar="PATH")
    text = "pictures to predict, PNG or JPEG files or folders of them, instead of --data"
    group.add("--images", nargs="+", type=Path, metavar="PATH", help=text)
    add_columns(group)
    add_no_digits(group)
    group = Group(parser, "results")
    text = "file to write the predicted labels to, in Kaggle's form: ImageId,Label"
    group.one("--submission", text, Path, metavar="CSV")
    text = "file to write predictions to, and the probabilities of the classes"
    group.one("--outputs", text, Path, metavar="CSV")
    parsing.add_backend(Group(parser, "running"))
    return parser


@warnings_as_lines(PROGRAM)
def _predict(given: Given) -> int:
    if "images" in given:
        for option, hint in (("data", "one of them"), ("submission", "--outputs for pictures")):
            if option in given:
                raise ValueError(f"--images and --{option} are both given; need {hint}")
        given["images"] = pictures.existing(given["images"])
    read = "images" if "images" in given else "data"
    paths.check(given, ("network", read), ("submission", "outputs"))
    made = found_in(given["network"], *storage.read(given["network"]))
    if made is not None:
        if "images" in given:
            raise ValueError("the network is one for tables; --images needs one for pixels")
        return tabular.predict(given, made)
    net = load(given["network"], given["backend"], given.get("threads"))
    classes = saved.classes_of(net)
    if "images" in given:
        pictures.predict(given, net, classes)
        return 0
    print(repr(net))
    name, rows = saved.read(given, net)
    architecture = members_of(net)[0].architecture
    several = not classes and architecture.target_columns > 1
    if not classes and architecture.sizes[-1] > 1 and "submission" in given:
        raise ValueError(
            "the network predicts several numbers per row; --outputs CSV writes them to a file"
        )
    known = None if several else rows.y
    if known is not None:
        known = saved.targets(name, known, classes)
    print(f"{name}: {len(rows.X):,} rows of {rows.X.shape[1]} features")
    for note in reading.written(name, rows) + reading.left_out(name, rows):
        print(note)
    if known is not None:
        print_report(net, rows.X, known, classes)
    if "submission" in given:
        found = predicted(net, rows.X, classes)
        # As text, as NumPy makes inexact numbers of integers beyond 64 bits.
        labels = np.array(list(map(str, classes)))[found] if classes else found
        datasets.write_submission(given["submission"], labels)
        print(f"\n{len(labels):,} labels are in {given['submission']}")
    heading = _heading(net, classes, rows.label)
    if "outputs" in given:
        with replacing(given["outputs"]) as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerows([heading, *_lines(net, rows.X, classes, str)])
        print(f"\nthe outputs for {len(rows.X):,} rows are in {given['outputs']}")
    elif known is None and "submission" not in given:
        written = ("{:.4f}" if classes else "{:.6g}").format
        lines = [heading, *_lines(net, rows.X[:SHOWN], classes, written)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        print()
        for line in lines:
            print("  ".join(map(str.rjust, line, widths)))
        if len(rows.X) > SHOWN:
            print(f"... and {len(rows.X) - SHOWN:,} more; --outputs CSV writes all to a file")
    return 0


def _heading(
    net: Network | Committee, classes: tuple[int | str, ...], label: str | None
) -> list[str]:
    """Return the heading of the predictions: the row, what is predicted, and probabilities."""
    architecture = members_of(net)[0].architecture
    outputs = architecture.sizes[-1]
    if classes or outputs == 1:
        named = label if label is not None and not label.isdigit() else None
        return ["row", "prediction" if classes or named is None else named, *map(str, classes)]
    names = getattr(architecture.loss, "levels", range(1, outputs + 1))
    return ["row", *(f"prediction_{name}" for name in names)]


def _lines(
    net: Network | Committee,
    X: Array,
    classes: tuple[int | str, ...],
    written: Callable[[object], str],
) -> Iterator[list[str]]:
    """Yield a line per row: its number from 1, the predicted class, and the outputs."""
    outputs = net.predict_proba(X)
    if not classes:
        for i, row in enumerate(outputs, 1):
            yield [str(i), *map(written, row)]
        return
    if outputs.shape[1] == 1:
        outputs = np.column_stack([1 - outputs, outputs])
    for i, (place, row) in enumerate(zip(predicted(net, X, classes), outputs, strict=True), 1):
        yield [str(i), str(classes[place]), *map(written, row)]
