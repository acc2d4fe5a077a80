"""The evaluation of a network as the command lines print it."""

from __future__ import annotations

import re
import shlex
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

from fastnn import metrics
from fastnn.activations import Array
from fastnn.cli.groups import OPTION_OF
from fastnn.committee import Committee
from fastnn.crossvalidation import OF_NETWORK
from fastnn.network import Network
from fastnn.training import settings

MOST_CLASSES = 30  # of a confusion matrix that is printed
WIDEST_NAME = 12
# How `fastnn.datasets` proposes or refuses arguments that name columns.
PROPOSED = re.compile(r"\b(label|drop)=\[?('?)(.+?)\2\]?(?= if this is| to leave| leaves|$)")
# How they propose what a file of text is.
TOLD = re.compile(r"\b(decimal|encoding|header)='?([^' ]+)'?")
OF_PICTURES = {
    "size=(height, width)": "--size HEIGHT WIDTH",
    "grey=True": "--grey",
    "grey=False": "--colour",
    "digits=True": "--digits",
    "size and grey have": "--size, --grey and --colour have",
}
OF_FILES = ("format", "int8", "prefix")  # arguments of `fastnn.Network.export`
NO_USE = re.compile(r"(label|header|drop|decimal|encoding) must be None, got (.*)")


def column_option(name: str, value: object) -> str:
    """Return the option that gives an argument of `fastnn.datasets` a value, as it is printed."""
    of_false = {"header": "no-header", "grey": "colour", "digits": "no-digits"}
    return f"--{of_false.get(name, name) if str(value) == 'False' else name}"


def as_options(message: str) -> str:
    """Return a message of the library with options for the arguments that it names."""
    names = {
        *settings.NAMES, *OF_NETWORK, *OF_FILES, "folds", "halving", "jobs", "seed", "validation",
    }  # fmt: skip
    compound = "|".join(name for name in names if "_" in name)

    def option(found: re.Match[str]) -> str:
        value = "" if found[2] in (None, "True") else f" {found[2]}"
        return f"--{found[1].replace('_', '-')}{value}"

    around = r"\w/\\'\"-"  # of names of files, and of other names
    pattern = rf"(?<![{around}.=])({compound})(?:=([\w.+-]*\w))?(?![{around}]|\.\w)"
    message = re.sub(pattern, option, message)
    first = message.split(" ", 1)[0]
    if first in names:
        message = f"--{OPTION_OF.get(first, first)}{message.removeprefix(first)}"
    message = NO_USE.sub(
        lambda found: f"{column_option(*found.groups())} does not apply to it", message
    )
    message = TOLD.sub(_told, message).replace("label=...", "--label COLUMN")
    for argument, typed in OF_PICTURES.items():
        message = message.replace(argument, typed)
    return PROPOSED.sub(lambda found: f"--{found[1]} {shlex.quote(found[3])}", message)


def _told(found: re.Match[str]) -> str:
    """Return the option for an argument that says how a file is written."""
    name, value = found.groups()
    return column_option(name, value) + f" {shlex.quote(value)}" * (name != "header")


@contextmanager
def warnings_as_lines(program: str) -> Iterator[None]:
    """Print each warning once, as a line on standard error without the place in the code."""
    known = set()

    def show(message: Warning | str, *_: object, **__: object) -> None:
        line = f"{program}: warning: {as_options(' '.join(str(message).split()))}"
        if line not in known:
            known.add(line)
            print(line, file=sys.stderr, flush=True)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def predicted(net: Network | Committee, X: Array, classes: Sequence[object]) -> Array:
    """Return positions of classes, for any output, or numbers."""
    outputs = net.predict_proba(X)
    if outputs.shape[1] > 1:
        return outputs.argmax(axis=1)
    return (outputs[:, 0] > 0.5).astype(np.int64) if classes else outputs[:, 0]


def print_report(net: Network | Committee, X: Array, y: Array, classes: Sequence[object]) -> None:
    """Print the evaluation of a network; y holds positions of classes, or numbers without any."""
    if classes:
        print_classes(y, predicted(net, X, classes), classes)
    else:
        print_numbers(net.evaluate(X, y))


def print_numbers(scores: Mapping[str, float]) -> None:
    """Print how well numbers are predicted."""
    if "r2" not in scores:  # of quantiles without the median
        print(f"\ntest loss  {scores['loss']:.4g}")
        return
    print(f"\ntest R2    {scores['r2']:.4f}")
    print(f"test MAE   {scores['mae']:.4g}")
    print(f"test RMSE  {scores['rmse']:.4g}")
    if scores["r2"] < 0:
        print("an R2 below 0 is worse than predicting the mean of the test labels for every row")


def print_classes(y: Array, places: Array, classes: Sequence[object]) -> None:
    """Print how well classes are predicted; both arrays hold their positions."""
    print(f"\ntest accuracy  {metrics.accuracy(y, places):.4f}")
    print(f"test macro-F1  {metrics.macro_f1(y, places):.4f}")
    if len(classes) <= MOST_CLASSES:
        print("\nconfusion matrix: rows are the true classes, columns the predicted ones")
        _print_confusion(y, places, list(map(str, classes)))


def _print_confusion(true: Array, predicted: Array, classes: Sequence[str]) -> None:
    names = [
        name if len(name) <= WIDEST_NAME else f"{name[: WIDEST_NAME - 1]}…" for name in classes
    ]
    width = max(6, 1 + max(map(len, names)))
    print(" " * (width - 1) + "".join(f"{name:>{width}}" for name in names))
    for name, row in zip(names, metrics.confusion_matrix(true, predicted, len(names)), strict=True):
        cells = (f"{count:{width}d}" if count else f"{'.':>{width}}" for count in row)
        print(f"{name:>{width - 1}}" + "".join(cells))
