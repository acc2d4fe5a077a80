"""The command line: ``python -m fastnn.tune``, also installed as ``fastnn-tune``.

In Python `fastnn.tune` is the function, of `fastnn.tuning`; this module is only run.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fastnn import tuning
from fastnn.cli import parsing
from fastnn.cli.parsing import Options
from fastnn.cli.printing import print_report
from fastnn.network import Network

# Options that are the same for all networks.
FIXED = ("data", "label", "test", "test_share", "seed", "class_weight", "frozen", "threads")


def main(arguments: Sequence[str] | None = None) -> int:
    """Tune as the arguments say.

    Parameters
    ----------
    arguments : sequence of str, optional
        By default those of the command line.

    Returns
    -------
    int
        The exit code. Bad input exits with 2 and a line on standard error.
    """
    return parsing.run(_parser(), _tune, arguments)


def _parser() -> parsing.Parser:
    parser = parsing.parser(
        "fastnn-tune",
        "Train and evaluate every combination of settings on every fold of the training rows, and "
        "the best one on the test rows. Options take several values, separated by spaces; what "
        "has a value for each layer, such as 256,64, is written with commas.",
    )
    for action in parser._actions:
        if action.nargs in (0, "?") or action.dest in FIXED:
            continue
        of_layers = action.nargs in ("*", "+")
        action.type = _reader(action.type or str, action.choices, of_layers)  # type: ignore[arg-type]
        action.nargs, action.choices = "+", None
        if not isinstance(action.default, list) and action.default is not argparse.SUPPRESS:
            action.default = [action.default]
        elif isinstance(action.default, list):
            action.default = [tuple(action.default)]
    add = parser.add_argument_group("search").add_argument
    add("--folds", type=int, default=5, help="of cross-validation")
    add("--jobs", type=int, metavar="COUNT", help="networks to train at a time; -1: one a CPU")
    add("--csv", type=Path, metavar="CSV", help="write all results there")
    return parser


def _reader(kind: Callable[[str], Any], choices: Any, of_layers: bool) -> Callable[[str], Any]:
    """Return what reads one of the values of an option, perhaps with a part for each layer."""

    def read(text: str) -> Any:
        values = tuple(kind(part) for part in text.split(",") if part) if of_layers else kind(text)
        for value in values if of_layers else (values,):
            if choices is not None and value not in choices:
                raise argparse.ArgumentTypeError(f"{value!r} is none of {', '.join(choices)}")
        return values

    read.__name__ = getattr(kind, "__name__", "value")  # what argparse calls it in errors
    return read


def _tune(given: Options) -> int:
    parsing.check_folders(given, "csv")
    several = {
        name: values
        for name, values in given.items()
        if isinstance(values, list) and name not in FIXED
    }
    data = parsing.dataset({**given, "dtype": several["dtype"][0]})
    _, selection = tuning.needed()
    grid = []
    for combination in selection.ParameterGrid(several):
        chosen = given | combination
        settings = parsing.arguments_of(Network, chosen) | parsing.training(chosen, data)
        grid.append({"hidden": chosen["hidden"], **settings})
    same = {
        name: value for name, value in grid[0].items() if all(each[name] == value for each in grid)
    }
    found = tuning.tune(
        data.X,
        data.y if data.classes else data.y.astype(float),
        [{name: [each[name]] for name in each if name not in same} for each in grid],
        folds=given["folds"],
        test=(data.test_X, data.test_y),
        jobs=given.get("jobs"),
        progress=False if "quiet" in given else None,
        **same,
    )
    if "quiet" not in given:
        print(f"{data}\n{given['folds']} folds, {len(grid)} combinations\n\n{found}\n")
    if "csv" in given:
        found.to_csv(given["csv"])
    best = ", ".join(f"{name} {value}" for name, value in found.best.items())
    print(f"best: {best or 'the only one'}; trained once more, on all training rows:")
    print(found.network)
    print_report(found.network, data.test_X, data.test_y, data.classes)
    return 0
