"""Tables with text, gaps and dates on the command lines, see `fastnn.tabular`."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn import metrics
from fastnn.activations import Array
from fastnn.cli import reading
from fastnn.cli.drawing import Tested, draw
from fastnn.cli.groups import Keywords
from fastnn.cli.printing import print_classes, print_numbers
from fastnn.committee import joined
from fastnn.datasets.spreadsheets import Column, Columns
from fastnn.tabular import predictor as predictors
from fastnn.tabular import recipe as recipes
from fastnn.tabular.predictor import Predictor
from fastnn.tabular.tables import TEXT, rows_of, text_of
from fastnn.training.history import Row, format_header, format_row
from fastnn.training.rows import stratified
from fastnn.writing import replacing

# Options of training that mean something here; the recipe decides all else.
TRAINING = frozenset((
    "tabular", "data", "label", "drop", "header", "decimal", "encoding", "regression", "test",
    "test_share", "validation", "epochs", "batch_size", "learning_rate", "label_smoothing",
    "class_weight", "seed", "backend", "threads", "quiet", "save", "history", "plot", "report",
    "members",
))  # fmt: skip
EVERY = 16  # epochs between two lines
SHOWN = 10  # predictions that are printed, and rows that are named


@dataclass(frozen=True)
class Data:
    """A table and what to predict."""

    table: Columns
    y: Array
    numbers: bool
    label: str


def train(given: Keywords) -> int:
    """Train on a CSV file as it is, evaluate on test rows, and save what predicts."""

    def say(text: str) -> None:
        if "quiet" not in given:
            print(text, flush=True)

    start = time.perf_counter()
    if others := sorted(given.keys() - TRAINING):
        raise ValueError(
            f"--{others[0].lstrip('-').replace('_', '-')} does not apply with --tabular, whose "
            "recipe sets it"
        )
    if "data" not in given:
        raise ValueError("--tabular needs --data FILE, a CSV file")
    seed = given.get("seed", 0)
    data = _read(given, given["data"], None)
    if "test" in given:
        if "test_share" in given:
            raise ValueError("--test-share has no use here: the test rows are those of --test")
        other = _read(given, given["test"], data)
        if lacking := [each for each in data.table.names if each not in other.table.names]:
            what = reading.shown(lacking)
            raise ValueError(f"{given['test']} lacks columns to train with: {what}")
        parts = (data.table, data.y), (other.table, other.y)
    else:
        share = given.get("test_share", reading.TEST_SHARE)
        labels = None if data.numbers else np.unique(data.y, return_inverse=True)[1]
        both = stratified(share, data.table.rows, labels, seed)
        one, two = ((rows_of(data.table, rows), data.y[rows]) for rows in both)
        parts = one, two
    (table, y), (test_table, test_y) = parts
    if data.numbers and "class_weight" in given:
        raise ValueError(f"--class-weight needs classes; {data.label!r} holds numbers")
    if not data.numbers:
        test_y = reading.of_known(np.unique(y), test_y)
    what = "numbers" if data.numbers else f"{len(np.unique(y))} classes"
    say(
        f"{given['data'].name}: {table.rows:,} training and {test_table.rows:,} test rows, "
        f"{len(table)} columns; {data.label!r} is predicted, {what}"
    )
    recipe = recipes.changed(
        recipes.NUMBERS if data.numbers else recipes.CLASSES,
        validation=given.get("validation"),
        epochs=given.get("epochs"),
        batch_size=given.get("batch_size"),
        learning_rate=given.get("learning_rate"),
        label_smoothing=given.get("label_smoothing"),
        members=given.get("members"),
        **reading.class_weights(given, np.unique(y).tolist()),
    )

    def record(row: Row) -> None:
        if row["epoch"] == 1 and not headed:
            headed.append(True)
            say(format_header(list(row)))
        if row["epoch"] % EVERY == 1 or row["epoch"] == recipe.epochs:
            say(format_row(row))

    headed: list[bool] = []
    made, histories = predictors.fit(
        table, y, recipe, seed,
        backend=given.get("backend", "numba"), threads=given.get("threads"), label=data.label,
        callbacks=[record],
    )  # fmt: skip
    say(f"\n{made.preprocessing.described(table)}\n\n{made.network!r}")
    for i, each in enumerate(histories):
        name = f"member {i}: " if len(histories) > 1 else ""
        say(f"{name}the parameters are those of epoch {each.best_epoch}, the last of the best")
    history = histories[0] if len(histories) == 1 else joined(histories)
    report(made, test_table, test_y)
    X = made.preprocessing.transform(test_table, quiet=True)
    names, codes = None, test_y
    if made.classes is not None:
        names, codes = list(map(str, made.classes)), np.searchsorted(made.classes, test_y)
    draw(given, made.networks[0], history, Tested(given["data"].name, X, codes, names), say)
    if "history" in given:
        history.to_csv(given["history"])
    if "save" in given:
        made.save(given["save"])
        say(f"\nthe network and its preprocessing are in {given['save']}")
    else:
        say("\nthe network was not saved; --save FILE keeps it")
    print(f"\n{time.perf_counter() - start:.1f} s in all")
    return 0


def predict(given: Keywords, made: Predictor) -> int:
    """Predict the rows of a CSV file; evaluate if it holds what is predicted."""
    if "data" not in given:
        raise ValueError("the network is for tables; name one with --data FILE")
    for net in made.networks:
        net.backend, net.threads = given["backend"], given.get("threads")
    table = reading.columns({name: value for name, value in given.items() if name != "label"})
    label = _label(given, given["data"], table) if "label" in given else made.label
    known = None
    if label in table.names and table[label].kind == "empty":
        table = without(table, label)
    if label in table.names:
        kind = "f" if made.classes is None else made.classes.dtype.kind
        known = targets_of(table[label], kind, f"predict without them: --drop {label}")
        table = without(table, label)
    print(f"{made.network!r}\n{given['data'].name}: {table.rows:,} rows, {len(table)} columns")
    outputs = made.outputs(table)
    if known is not None:
        report(made, table, known)
    heading = ["row", made.label or "prediction", *map(str, _classes(made))]
    if "submission" in given:
        raise ValueError("--submission is for pictures; --outputs CSV writes predictions to a file")
    if "outputs" in given:
        with replacing(given["outputs"]) as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerows([heading, *_lines(made, outputs, str)])
        print(f"\nthe outputs for {table.rows:,} rows are in {given['outputs']}")
    elif known is None:
        written = ("{:.6g}" if made.classes is None else "{:.4f}").format
        lines = [heading, *_lines(made, outputs[:SHOWN], written)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        print()
        for line in lines:
            print("  ".join(map(str.rjust, line, widths)))
        if table.rows > SHOWN:
            print(f"... and {table.rows - SHOWN:,} more; --outputs CSV writes all to a file")
    return 0


def report(made: Predictor, table: Columns, y: Array) -> None:
    """Print the evaluation of a predictor."""
    found = made.predict(table)
    if made.classes is None:
        scores = {
            "r2": metrics.r2(y, found), "mae": metrics.mae(y, found), "rmse": metrics.rmse(y, found)
        }  # fmt: skip
        print_numbers(scores)
        return
    if unknown := sorted(set(y.tolist()) - set(made.classes.tolist())):
        raise ValueError(
            f"the rows have the label {unknown[0]!r}; the network knows "
            f"{reading.shown(made.classes.tolist())}"
        )
    true, predicted = (np.searchsorted(made.classes, each) for each in (y, found))
    print_classes(true, predicted, made.classes.tolist())


def _read(given: Keywords, path: Any, first: Data | None) -> Data:
    """Read a table; the label and what it holds are those of the first table, if there is one."""
    options = {name: value for name, value in given.items() if name != "label"}
    table = reading.columns({**options, "data": path})
    if first is None:
        label = _label(given, path, table)
        column = table[label]
        numbers = _are_numbers(column, given)
        kind = "f" if numbers else None
    else:
        label, numbers = first.label, first.numbers
        if label not in table.names:
            raise ValueError(f"{path} has no column {label!r} to evaluate on")
        column, kind = table[label], first.y.dtype.kind
    y = targets_of(column, kind)
    if not numbers and first is None:
        reading.check_classes(path.name, np.unique(y), len(y))
    return Data(without(table, label), y, numbers, label)


def _label(given: Keywords, path: Any, table: Columns) -> str:
    """Return the name of the column to predict; its position is that in the file."""
    label = reading.column(given.get("label", "label"))
    names = table.names
    if label in names:
        return str(label)
    if isinstance(label, int):
        whole = names
        if "drop" in given:
            whole = reading.columns({**given, "data": path, "drop": ()}).names
        if -len(whole) <= label < len(whole) and whole[label] in names:
            return whole[label]
    raise ValueError(
        f"there is no column {label!r} to predict; --label names it: there are "
        f"{reading.shown(names)}"
    )


def _are_numbers(column: Column, given: Keywords) -> bool:
    """Whether to predict numbers, which fractions are; refuse dates and gaps."""
    if column.kind == "date":
        raise ValueError(f"the column {column.name!r} holds dates; need classes or numbers")
    if column.kind != "number":
        if "regression" in given:
            raise ValueError(
                f"--regression needs numbers; {column.name!r} is {column.kind}: {column.summary}"
            )
        return False
    present = column.values[~column.missing]
    return "regression" in given or bool((present != np.rint(present)).any())


def targets_of(column: Column, kind: str | None, way_on: str = "leave these rows out") -> Array:
    """Return the cells of a column to predict: numbers ("f"), or labels of a kind, or any."""
    if column.missing.any():
        rows = reading.shown((np.flatnonzero(column.missing) + 1).tolist())
        raise ValueError(
            f"the column {column.name!r}, which is to be predicted, is empty in rows {rows} of the "
            f"table; fill the cells, or {way_on}"
        )
    values = column.values
    if kind == "f":
        if column.kind not in ("number", "boolean"):
            raise ValueError(f"the column {column.name!r} is {column.kind}; need numbers")
        return values.astype(np.float64)
    if column.kind in (*TEXT, "date") or kind == "U":
        return np.array([text_of(value) for value in values])
    return values.astype(np.int64) if column.kind == "number" else values


def without(table: Columns, name: str) -> Columns:
    """Return a table without a column."""
    return Columns(table.rows, tuple(each for each in table if each.name != name))


def _classes(made: Predictor) -> list[Any]:
    return [] if made.classes is None else made.classes.tolist()


def _lines(
    made: Predictor, outputs: Array, written: Callable[[object], str]
) -> Iterator[list[str]]:
    """Yield a line per row: its number from 1, what is predicted, and probabilities."""
    for i, row in enumerate(outputs, 1):
        if made.classes is None:
            yield [str(i), written(row[len(row) // 2])]
        else:
            yield [str(i), str(made.classes[row.argmax()]), *map(written, row)]
