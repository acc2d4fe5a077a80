"""The command line: ``python -m fastnn.tune``, also installed as ``fastnn-tune``.

In Python `fastnn.tune` is the function, of `fastnn.tuning`; this module is only run.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fastnn import tuning
from fastnn.cli import parsing, paths, reading, running
from fastnn.cli.groups import Group, Parser
from fastnn.cli.printing import print_report, warnings_as_lines
from fastnn.cli.running import Given
from fastnn.searching import combinations

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
    group = Group(parser, "search")
    group.one("--folds", "number of folds", int, metavar="COUNT", default=5)
    text = "networks to train at the same time; -1 is one per CPU (default: 1)"
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
    grid = []
    for combination in combinations([several]):
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
        jobs=given.get("jobs"),
        progress=False if "quiet" in given else None,
        **same,
    )
    if "quiet" not in given:
        heading = "\n".join([parsing.heading(data, same), *data.notes])
        print(f"{heading}\n{given['folds']} folds, {len(grid)} combinations\n\n{found}\n")
    if "csv" in given:
        found.to_csv(given["csv"])
    best = ", ".join(f"{name} {value}" for name, value in found.best.items())
    print(f"best: {best or 'the only one'}; trained once more, on all training rows:")
    print(found.network)
    print_report(found.network, data.test_X, data.test_y, data.classes)
    return 0
