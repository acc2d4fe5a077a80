"""The command line: ``python -m fastnn.tune``, also installed as ``fastnn-tune``.

In Python `fastnn.tune` is the function, of `fastnn.tuning`; this module is only run.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastnn import tuning
from fastnn.cli import parsing, paths, reading, running
from fastnn.cli.groups import OPTION_OF, Group, Parser, count
from fastnn.cli.printing import print_report, warnings_as_lines
from fastnn.cli.running import Given
from fastnn.searching import Range, combinations

# Options whose values are a list, but not one of values to try.
LISTS = ("augment", "class_weight", "frozen", "drop", "size")
PROGRAM = "fastnn-tune"


def main(arguments: Sequence[str] | None = None) -> int:
    """Tune as the command line says.

    Parameters
    ----------
    arguments : sequence of str, optional
        Default: those of the command line.

    Returns
    -------
    int
        The exit code. Bad input exits with 2 and a line on standard error.
    """
    return running.run(_parser(), _tune, arguments)


def _parser() -> Parser:
    parser = parsing.parser(
        PROGRAM,
        "Train and evaluate every combination of settings on every fold of the training rows, then "
        "train the best one and evaluate it on the test rows. Settings take several values to try, "
        "with spaces between them; values for several layers have commas between them, as in "
        "256,64.",
        several=True,
    )
    text = (
        "With --random the numbers to try may also be a range: log:0.001:0.1, in which each order "
        "of magnitude is as likely as another, or uniform:0:0.5."
    )
    group = Group(parser, "search", text)
    text = "try so many combinations, drawn at random (default: all)"
    group.one("--random", text, count, metavar="COUNT")
    text = (
        "try all on few epochs first; the best third goes on to three times as many, and so on up "
        "to --epochs; or with another factor than 3"
    )
    group.add("--halving", nargs="?", const=True, type=int, metavar="FACTOR", help=text)
    group.one("--folds", "number of folds", int, metavar="COUNT", default=5)
    text = "networks to train at the same time (default: as many as CPUs)"
    group.one("--jobs", text, int, metavar="COUNT")
    group.one("--csv", "file to write all results to", Path, metavar="CSV")
    return parser


@warnings_as_lines(PROGRAM)
def _tune(given: Given) -> int:
    paths.check(given, ("data", "test"), ("csv",))
    several = {
        name: values
        for name, values in given.items()
        if isinstance(values, list) and name not in LISTS
    }
    data = reading.read({**given, "dtype": several["dtype"][0]})
    random, grid = given.get("random"), []
    tried = {name: _one_range(name, values, random) for name, values in several.items()}
    for combination in combinations([tried], random, given["seed"]):
        chosen = given | combination
        arguments = parsing.network_arguments(chosen, data)
        arguments |= parsing.training_arguments(chosen, data)
        grid.append({"hidden": chosen["hidden"], **arguments})
    same = {
        name: value for name, value in grid[0].items() if all(each[name] == value for each in grid)
    }
    found = tuning.tune(
        data.X,
        data.labels(data.y) if data.classes else data.y.astype(float),
        [{name: [each[name]] for name in each if name not in same} for each in grid],
        folds=given["folds"],
        test=(data.test_X, data.labels(data.test_y)),
        halving=given.get("halving", False),
        jobs=given.get("jobs"),
        progress=False if "quiet" in given else None,
        **same,
    )
    if "quiet" not in given:
        heading = "\n".join([parsing.heading(data, same), *data.notes])
        drawn = "" if random is None else " drawn at random"
        print(f"{heading}\n{given['folds']} folds, {len(grid)} combinations{drawn}\n\n{found}\n")
    if "csv" in given:
        found.to_csv(given["csv"])
    best = ", ".join(f"{name} {value}" for name, value in found.best.items())
    print(f"best: {best or 'the only one'}; trained once more, on all training rows:")
    print(found.network)
    print_report(found.network, data.test_X, data.test_y, data.classes)
    return 0


def _one_range(name: str, values: list[Any], random: int | None) -> Any:
    """Return the values to try, or the range that is given instead."""
    if not any(isinstance(value, Range) for value in values):
        return values
    option = "--" + OPTION_OF.get(name, name).lstrip("-").replace("_", "-")
    if random is None:
        raise ValueError(f"{option} has a range, which needs --random COUNT, such as --random 50")
    if len(values) > 1:
        raise ValueError(f"{option} takes one range or several values, not both")
    return values[0]
