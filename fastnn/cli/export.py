"""The command line: ``python -m fastnn.export``, also installed as ``fastnn-export``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from fastnn import export, metrics
from fastnn.activations import Array
from fastnn.cli import paths, reading, running, saved
from fastnn.cli.groups import Group, Parser, add_columns, add_no_digits
from fastnn.cli.printing import column_option, predicted, warnings_as_lines
from fastnn.cli.running import Given
from fastnn.committee import Committee
from fastnn.loading import load
from fastnn.model import storage
from fastnn.network import Network
from fastnn.tabular import predictor

PROGRAM = "fastnn-export"
OF_FORMATS = ("prefix", "int8")
OF_DATA = ("label", "drop", *reading.OF_TEXT, *reading.OF_PICTURES)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write a saved network for programs that do not have fastnn.

    Parameters
    ----------
    arguments : sequence of str, optional
        Default: those of the command line.

    Returns
    -------
    int
        The exit code, 0. Bad input exits with 2 and a line on standard error.

    Raises
    ------
    SystemExit
        On bad input.
    """
    return running.run(_parser(), _export, arguments)


def _parser() -> Parser:
    parser = Parser(
        prog=PROGRAM,
        usage="%(prog)s NETWORK OUT [option ...]",
        description="Write a saved network for programs that do not have fastnn.",
        argument_default=argparse.SUPPRESS,
    )
    text = "file of fastnn-train --save, or an .onnx file"
    parser.add_argument("network", type=Path, metavar="NETWORK", help=text)
    endings = ", ".join(f"{name} ({each.ending})" for name, each in export.FORMATS.items())
    text = f"file to write; its ending says in which format: {endings}"
    parser.add_argument("out", type=Path, metavar="OUT", help=text)
    group = Group(parser, "file")
    text = "format of the file (default: that of its ending)"
    group.setting("--format", text, choices=export.FORMATS)
    text = "what names in a C header begin with (default: the name of the file)"
    group.one("--prefix", text, metavar="NAME")
    group.flag("--int8", "round the weights in a C header to 8 bits")
    text = "Rows with labels, on which the network is evaluated; with --int8 as it is rounded, too."
    group = Group(parser, "data", text)
    text = "CSV, .npz, svmlight or IDX file, or a folder of MNIST or of pictures"
    group.one("--data", text, Path, metavar="PATH")
    add_columns(group)
    add_no_digits(group)
    return parser


@warnings_as_lines(PROGRAM)
def _export(given: Given) -> int:
    inputs = ("network", "data") if "data" in given else ("network",)
    paths.check(given, inputs, ("out",))
    options = {name: given[name] for name in OF_FORMATS if name in given}
    chosen = export.format_of(given["out"], given.get("format"), "OUT", **options)
    for name in OF_DATA:
        if name in given and "data" not in given:
            raise ValueError(f"{column_option(name, given[name])} needs --data PATH")
    net = _loaded(given["network"])
    print(repr(net))
    if "data" in given:
        _evaluate(given, net)
    net.export(given["out"], chosen, **options)
    print(f"\n{given['out']}, {given['out'].stat().st_size:,} bytes")
    return 0


def _loaded(path: Path) -> Network:
    """Return the network of a file, or refuse what is no single network."""
    name = repr(str(path))
    if path.suffix.lower() != ".onnx" and predictor.KEY in storage.read(path)[1]:
        raise ValueError(
            f"{name} is for tables, whose columns are made numbers outside of the network; need a "
            "network of numbers, as fastnn-train without --tabular saves it"
        )
    net = load(path, backend="numpy")
    if isinstance(net, Committee):
        raise ValueError(
            f"{name} holds a committee, and OUT is of one network; need a member, as "
            "fastnn.load(path)[0].save(file) writes it"
        )
    return net


def _evaluate(given: Given, net: Network) -> None:
    """Print how good the network is on rows with labels, and what rounding changes."""
    name, rows = saved.read(given, net)
    if rows.y is None:
        raise ValueError(f"{name} has no labels to evaluate on; --label names their column")
    classes = saved.classes_of(net)
    if not classes and net.architecture.target_columns > 1:
        raise ValueError(
            "the network predicts several numbers per row; --data is for networks with one label"
        )
    known = saved.targets(name, rows.y, classes)
    print(f"{name}: {len(rows.X):,} rows of {rows.X.shape[1]} features")
    for note in reading.written(name, rows) + reading.left_out(name, rows):
        print(note)
    metric, score = _score(net, rows.X, known, classes)
    digits = ".4f" if classes else ".4g"
    print(f"\n{metric}  {score:{digits}}")
    if "int8" in given:
        _, other = _score(export.rounded(net), rows.X, known, classes)
        print(f"{metric}  {other:{digits}} with weights of 8 bits, {other - score:+{digits}}")


def _score(net: Network, X: Array, y: Array, classes: tuple[int | str, ...]) -> tuple[str, float]:
    """Return the name and the value of the metric that is printed."""
    if classes:
        return "accuracy", metrics.accuracy(y, predicted(net, X, classes))
    scores = net.evaluate(X, y)
    name = "rmse" if "rmse" in scores else "loss"  # of quantiles without the median
    return name, scores[name]
