"""The history of a training run: one row per epoch, as a table, as columns and as CSV."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator, Mapping
from numbers import Integral, Real
from typing import SupportsFloat, overload

from fastnn.writing import replacing

Row = dict[str, float]

# Heading, width and format of the columns in a table; any other column has its name as heading.
_LAYOUT = {
    "epoch": ("epoch", 5, ".0f"),
    "loss": ("loss", 8, ".4f"),
    "learning_rate": ("rate", 8, ".3g"),
    "seconds": ("seconds", 8, ".2f"),
    "samples_per_second": ("samples/s", 11, ",.0f"),
    "training_loss": ("train loss", 10, ".4f"),
    "training_accuracy": ("train acc", 9, ".4f"),
    "training_macro_f1": ("train F1", 8, ".4f"),
    "training_r2": ("train R2", 8, ".4f"),
    "training_mae": ("train MAE", 9, ".4g"),
    "training_rmse": ("train RMSE", 10, ".4g"),
    "validation_loss": ("val loss", 8, ".4f"),
    "validation_accuracy": ("val acc", 8, ".4f"),
    "validation_macro_f1": ("val F1", 8, ".4f"),
    "validation_r2": ("val R2", 8, ".4f"),
    "validation_mae": ("val MAE", 9, ".4g"),
    "validation_rmse": ("val RMSE", 9, ".4g"),
}


class History:
    """The history of a training run, one row per epoch.

    ``history["loss"]`` is a column, ``history[0]`` a row; as text it is a table.

    Parameters
    ----------
    rows : iterable of mapping, optional
        The first rows, as for `append`.
    compile_seconds : float
        Seconds of compiling before the first epoch.

    Attributes
    ----------
    rows : list of dict
        One per epoch, from column name to int or float. Training records ``epoch``, ``loss``,
        ``learning_rate``, ``seconds`` and ``samples_per_second``. With validation data it also
        records ``validation_loss`` and, depending on the targets, ``validation_accuracy`` and
        ``validation_macro_f1``, or ``validation_r2``, ``validation_mae`` and ``validation_rmse``;
        with training metrics the same columns beginning with ``training_``.
    compile_seconds : float
    stopped : str
        Why training ended before its last epoch: "early stopping", "max_seconds", "a callback", or
        "" if it did not.
    best_epoch : int or None
        With early stopping, the epoch with the best value of the metric.
    warning : str
        Why the network is of no use, as a `fastnn.ConvergenceWarning` says, or "" if it is.

    Raises
    ------
    TypeError, ValueError, OverflowError
        As for `append`.
    """

    def __init__(
        self,
        rows: Iterable[Mapping[str, SupportsFloat]] | None = None,
        compile_seconds: float = 0.0,
    ) -> None:
        self.rows: list[Row] = []
        self.compile_seconds = compile_seconds
        self.stopped = ""
        self.best_epoch: int | None = None
        self.warning = ""
        for row in rows or ():
            self.append(row)

    @property
    def columns(self) -> list[str]:
        """The names of the columns, in the order of the first row; none before the first epoch."""
        return list(self.rows[0]) if self.rows else []

    def append(self, row: Mapping[str, SupportsFloat]) -> None:
        """Add a copy of the row of an epoch.

        Parameters
        ----------
        row : mapping
            From column name to number.

        Raises
        ------
        TypeError
            If a value is not a number.
        OverflowError
            If a value is an integer too large for a float.
        ValueError
            If the columns are not those of the rows before.
        """
        if self.rows and row.keys() != self.rows[0].keys():
            raise ValueError(f"row has columns {list(row)}; need {self.columns}, as in rows before")
        self.rows.append({name: _plain_number(name, row[name]) for name in self.columns or row})

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    @overload
    def __getitem__(self, key: int) -> Row: ...
    @overload
    def __getitem__(self, key: str) -> list[float]: ...
    def __getitem__(self, key: int | str) -> Row | list[float]:
        if not isinstance(key, str):
            return self.rows[key]
        if key not in self.columns:
            raise KeyError(f"no column {key!r}; the columns are {self.columns}")
        return [row[key] for row in self.rows]

    def __repr__(self) -> str:
        return f"<History of {len(self)} epochs, {len(self.columns)} columns>"

    def __str__(self) -> str:
        if not self.rows:
            return "no epochs recorded"
        return "\n".join([format_header(self.columns), *map(format_row, self.rows)])

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write a CSV file: a header and a line per epoch, floats in full precision.

        The file appears complete or not at all. It replaces an older file of that name.

        Parameters
        ----------
        path : str or path

        Raises
        ------
        FileNotFoundError
            If the folder of ``path`` does not exist.
        OSError
            If the file cannot be written.
        """
        with replacing(path) as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerows([self.columns, *(row.values() for row in self.rows)])


def format_header(columns: Iterable[str]) -> str:
    """Return the heading of a table with these columns, aligned with `format_row`."""
    return "  ".join(f"{heading:>{width}}" for heading, width, _ in map(_layout, columns))


def format_row(row: Mapping[str, float]) -> str:
    """Return a line of a table; a number too long for its column loses digits."""
    cells = []
    for name, value in row.items():
        _, width, spec = _layout(name)
        text = format(value, spec)
        cells.append(f"{text if len(text) <= width else format(value, '.2e'):>{width}}")
    return "  ".join(cells)


def _layout(name: str) -> tuple[str, int, str]:
    return _LAYOUT.get(name, (name, max(len(name), 10), ".5g"))


def _plain_number(name: str, value: SupportsFloat) -> float:
    if type(value) is float or (type(value) is int and float(value) == value):
        return value  # at once: whether it is a `Real` takes a microsecond to tell
    if not isinstance(value, Real):
        raise TypeError(f"column {name!r} got {value!r}; need a real number")
    number = float(value)
    return int(value) if isinstance(value, Integral) else number
