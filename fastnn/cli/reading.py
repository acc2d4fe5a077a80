"""The data of a command line: training and test rows, and the names of the classes."""

from __future__ import annotations

import dataclasses
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from fastnn import datasets
from fastnn.activations import Array
from fastnn.cli.groups import Keywords
from fastnn.cli.printing import column_option
from fastnn.datasets.svmlight import is_svmlight
from fastnn.sparse_rows import SparseRows
from fastnn.streams.stream import Stream
from fastnn.training.rows import stratified

# What `fastnn.datasets.read_csv` proposes for a column of text.
PROPOSAL = re.compile(
    ", or (label=.+? if this is the label|drop=.+? to leave the column out"
    "|header=True if .+? of the columns)"
)
OF_TEXT = ("header", "decimal", "encoding")  # how a file of text is written
OF_PICTURES = ("size", "grey", "digits")
TEST_SHARE = 0.2
MANY_CLASSES, FEW_ROWS = 20, 10  # beyond, and below for each, whole numbers may be no classes

SHOWN = 8  # names in a message

Names: TypeAlias = tuple[str, ...] | None


class Dataset(NamedTuple):
    """Training and test data; labels that are classes are given as positions in ``classes``."""

    name: str
    X: Array
    y: Array
    test_X: Array
    test_y: Array
    classes: tuple[int | str, ...]  # () if labels are numbers
    features: Names
    notes: tuple[str, ...] = ()  # about how numbers are written, and columns of the test data
    shape: tuple[int, ...] | None = None  # of a row that is an image, if it is known
    stream: Stream | None = None  # of the training rows; X and y then have none

    def targets(self, y: Array, output: str) -> Array:
        """Return y as a network with this output takes it: outputs of classes have names."""
        return self.labels(y) if output in ("softmax", "sigmoid") else y

    def labels(self, y: Array) -> Array:
        """Return the classes at these positions; numbers stay as they are."""
        return np.array(self.classes)[y] if self.classes else y

    def __str__(self) -> str:
        kind = f"{len(self.classes)} classes" if self.classes else "numbers"
        training = f"{len(self.X):,} training"
        test = f" and {len(self.test_X):,} test" * bool(len(self.test_X))
        if self.stream is not None:
            count = len(self.stream.parts)
            kind += f", in {count:,} part{'s' * (count > 1)}"
            rows = self.stream.rows
            training = "training" if rows is None else f"{rows:,} training"
        return f"{self.name}: {training}{test} rows of {self.X.shape[1]} features, {kind}"


def class_weights(given: Keywords, classes: Sequence[Any]) -> Keywords:
    """Return the weights of classes as `fastnn.Network.train` takes them, if there are any."""
    words = given.get("class_weight")
    if words is None or words == ["balanced"]:
        return {} if words is None else {"class_weight": "balanced"}
    names = list(map(str, classes))
    weights = {}
    for word in words:
        label, _, weight = word.rpartition("=")
        try:
            number = float(weight)
        except ValueError:
            raise ValueError(
                "--class-weight must be balanced, or pairs such as 3=2.0 8=1.5; "
                f"got {' '.join(words)}"
            ) from None
        if label not in names:
            raise ValueError(f"there is no class {label!r}; there are {', '.join(names)}")
        weights[classes[names.index(label)]] = number
    return {"class_weight": weights}


def read(given: Keywords) -> Dataset:
    """Read training and test data; without test data, set a share of the rows aside for them."""
    name, (train, other) = tables(given, given["dtype"])
    source = name
    if "test" in given:
        source = str(given["test"])
        if "data" in given:
            warn_of_the_same([given["test"]], [given["data"]])
        same = (
            given if train.features is None or train.y is None else {**given, "label": train.label}
        )
        other = load(given["test"], same, given["dtype"], train.features).train
        other = widened(given["test"], other, train.X.shape[1])
        if "data" in given:
            train = widened(given["data"], train, other.X.shape[1])
        same_number(given["test"], other, train.X.shape[1])
    if train.y is None and isinstance(train.X, SparseRows):
        raise ValueError(f"{name} has no labels; name a file of numpy.save with --label PATH.npy")
    if train.y is None and "data" in given and given["data"].is_dir():
        raise ValueError(f"{name} has no labels; need a folder of pictures for each class in it")
    if train.y is None:
        if train.features is None:
            raise ValueError(f"{name} has no labels; name their column with --label, such as -1")
        raise ValueError(
            f"{name} has no column 'label'; name the column of the labels with --label: it has "
            f"{shown(train.features)}"
        )
    y = train.y
    numbers = "regression" in given or y.dtype.kind == "f"
    if numbers and y.dtype.kind not in "iuf":
        raise ValueError(f"--regression needs labels that are numbers; got {y.tolist()[0]!r}")
    if not numbers:
        check_classes(name, np.unique(y), len(y))
    if other is None:
        share = given.get("test_share", TEST_SHARE)
        rows, aside = stratified(share, len(y), None if numbers else y, given["seed"])
        X, test_X, y, test_y = train.X[rows], train.X[aside], y[rows], y[aside]
    elif "test_share" in given:
        raise ValueError(f"--test-share has no use here: the test rows are those of {source}")
    elif other.y is None:
        raise ValueError(f"{source} has no labels to evaluate on; --predict takes such data")
    else:
        X, test_X, test_y = train.X, other.X, other.y
    notes = written(name, train) + (() if other is None else left_out(source, other))
    classes = None if numbers else np.unique(y)
    test_y, names = of_test(name, source, test_y, classes), ()
    if classes is not None:
        y, names = np.searchsorted(classes, y), tuple(classes.tolist())
    return Dataset(name, X, y, test_X, test_y, names, train.features, notes, train.shape)


def warn_of_the_same(test: Sequence[Path], data: Sequence[Path]) -> None:
    """Warn of test rows that are trained on."""
    one, other = ({(at.st_dev, at.st_ino) for at in map(Path.stat, each)} for each in (test, data))
    if one & other:
        warnings.warn(
            "--test and --data are the same file: the scores are of rows that were trained on",
            stacklevel=2,
        )


def of_test(name: str, source: str, test_y: Array, classes: Array | None) -> Array:
    """Return labels of test rows as positions in the classes, or numbers if there are none."""
    if classes is not None:
        return np.searchsorted(classes, of_known(classes, test_y))
    if test_y.dtype.kind not in "iuf":
        raise ValueError(
            f"{source} has the label {test_y.tolist()[0]!r}; need numbers, as in {name}"
        )
    return test_y


def check_classes(name: str, classes: Array, rows: int) -> None:
    """Refuse labels of one class; warn of whole numbers that may be no classes."""
    if len(classes) < 2:
        raise ValueError(
            f"{name} has labels of a single class, {classes.tolist()[0]!r}; need two or more"
        )
    if classes.dtype.kind in "iu" and len(classes) > max(MANY_CLASSES, rows // FEW_ROWS):
        warnings.warn(
            f"the labels of {name} are {len(classes)} different whole numbers, and each is taken "
            "for a class; --regression predicts them as numbers",
            stacklevel=2,
        )


def of_known(classes: Array, test_y: Array) -> Array:
    """Return labels of test rows in the type of the classes, after refusing unknown ones."""
    kinds = {classes.dtype.kind, test_y.dtype.kind}
    if classes.dtype.kind == "U":
        test_y = test_y.astype(str)  # numbers, if the test rows have no text
    elif "b" in kinds and kinds <= set("biu"):  # in files of text, truth values are 0 and 1
        test_y, classes = test_y.astype(np.int64), classes.astype(np.int64)
    elif test_y.dtype.kind != classes.dtype.kind:
        test_y, classes = test_y.astype(str), classes.astype(str)  # of which one is unknown
    unknown = np.setdiff1d(test_y, classes).tolist()
    if unknown:
        hint = "" if classes.dtype.kind == "U" else ", or --regression to predict numbers"
        raise ValueError(
            f"the test rows have classes that no training row has: {shown(unknown)}; need training "
            f"rows of every class{hint}"
        )
    return test_y


def tables(given: Keywords, dtype: str, columns: Names = None) -> tuple[str, datasets.Split]:
    """Return the name and the tables of the data that are named; by default that is MNIST."""
    if "data" in given:
        return given["data"].name, load(given["data"], given, dtype, columns)
    for name in ("label", *OF_TEXT, "drop"):
        if name in given:
            raise ValueError(f"{column_option(name, given[name])} needs --data PATH")
    if pictures_of(given) and "test" not in given:
        raise ValueError(f"{picture_options(given)} needs --data FOLDER, pictures")
    loaded = datasets.load_mnist()
    train = datasets.Table(*loaded[:2], None, "digit")
    return "MNIST", datasets.Split(train, train._replace(X=loaded[2], y=loaded[3]))


def joined(split: datasets.Split) -> tuple[Array, Array | None]:
    """Return features and labels of training and test rows together."""
    train, test = split
    if test is None or test.y is None or train.y is None:
        parts = [train.X] if test is None else [train.X, test.X]
        return np.concatenate(parts), None
    return np.concatenate([train.X, test.X]), np.concatenate([train.y, test.y])


def load(path: Path, given: Keywords, dtype: str, columns: Names = None) -> datasets.Split:
    """Read a data set: the columns of these names, or all but those to leave out."""
    label, drop = given.get("label"), given.get("drop", ())
    how = pictures_of(given)
    if how and not path.is_dir():
        raise ValueError(
            f"{path} is a file; {picture_options(given)} is for pictures, which --data takes as a "
            "folder with one for each class in it"
        )
    with several_columns(drop):
        return datasets.load(
            path,
            None if label is None else column(label),
            dtype=dtype,
            columns=columns,
            drop=tuple(map(column, drop)),
            images=how or None,
            **_of_text(given),
        )


@contextmanager
def several_columns(drop: Sequence[str]) -> Iterator[None]:
    """Say in errors about columns with commas between them how several are typed."""
    try:
        yield
    except ValueError as error:
        for text in drop:
            if "," in text and repr(text) in str(error):
                raise ValueError(
                    f"{error}; need spaces between columns: --drop {' '.join(text.split(','))}"
                ) from None
        raise


def columns(given: Keywords) -> datasets.Columns:
    """Read a file of text with columns of any kind."""
    drop = tuple(map(column, given.get("drop", ())))
    return datasets.read_columns(given["data"], drop=drop, **_of_text(given))


def _of_text(given: Keywords) -> Keywords:
    return {name: given[name] for name in OF_TEXT if name in given}


def pictures_of(given: Keywords) -> Keywords:
    """Return arguments of `fastnn.datasets.read_images`."""
    return {name: given[name] for name in OF_PICTURES if name in given}


def picture_options(given: Keywords) -> str:
    """Return the options for pictures that are given, as a user types them."""
    return " and ".join(column_option(name, given[name]) for name in pictures_of(given))


def unlabelled(path: Path, given: Keywords, data: Dataset) -> datasets.Table:
    """Read data to predict after training; a column of labels among them is not read."""
    options = {name: value for name, value in given.items() if name != "label"}
    try:
        table = load(path, options, given["dtype"], data.features).train
    except ValueError as error:  # no option is for the columns of this file alone
        message, count = PROPOSAL.subn("", str(error))
        hint = "; a file to label has no column of labels" * bool(count)
        raise ValueError(f"{message}{hint}") from None
    table = widened(path, table, data.X.shape[1])
    same_number(path, table, data.X.shape[1])
    return table


def widened(path: Path, table: datasets.Table, count: int) -> datasets.Table:
    """Return a table of svmlight with at least so many features: its file says only the largest."""
    if not is_svmlight(path) or table.X.shape[1] >= count:
        return table
    return table._replace(X=dataclasses.replace(table.X, columns=count))


def column(text: str) -> str | int:
    """Return a column as it is typed; an integer is a position."""
    return int(text) if text.lstrip("-").isdigit() else text


def same_number(path: Path | str, table: datasets.Table, count: int) -> None:
    """Refuse data with another number of features than the training data."""
    if table.X.shape[1] != count:
        raise ValueError(
            f"{path} has {table.X.shape[1]} features; need {count}, as the training data"
            f"{of_another_form(path, table)}"
        )


def of_another_form(path: Path | str, table: datasets.Table) -> str:
    """Return how pictures come to have another number of features; nothing for other data."""
    pictures = table.shape is not None and Path(path).is_dir()
    return "; --size, --grey, --colour or --digits brings pictures to another form" * pictures


def shown(names: Sequence[object]) -> str:
    """Return the first names of a list."""
    more = f" and {len(names) - SHOWN} more" * (len(names) > SHOWN)
    return ", ".join(map(str, names[:SHOWN])) + more


def written(source: Path | str, table: datasets.Table) -> tuple[str, ...]:
    """Return what to say of numbers that are not written as in Python."""
    return tuple(f"{source}: numbers with {note}" for note in table.notes)


def left_out(source: Path | str, table: datasets.Table) -> tuple[str, ...]:
    """Return what to say of columns that are not read, if there are any."""
    names = table.left_out
    if not names:
        return ()
    return (f"{source}: columns that are left out: {shown(names)}",)
