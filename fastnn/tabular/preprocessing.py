"""`Preprocessing`: from a table of any kind to the inputs of a network."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from fastnn.activations import Array
from fastnn.checks.tables import shown
from fastnn.checks.warning import warn
from fastnn.datasets.spreadsheets import Column, Columns
from fastnn.tabular import encoders
from fastnn.tabular.encoders import Dropped, Encoder, Levels
from fastnn.tabular.tables import columns_of


class Preprocessing:
    """What is done with each column of a table, learnt from its rows.

    Parameters
    ----------
    encoders : sequence of Encoder
        One for each column.

    Attributes
    ----------
    columns : tuple of str
        Names of the columns.
    names : list of str
        Names of the inputs.
    """

    def __init__(self, encoders: Sequence[Encoder]) -> None:
        self.encoders = tuple(encoders)
        self.columns = tuple(each.name for each in self.encoders)
        self.names = [name for each in self.encoders for name in each.names]

    @classmethod
    def fit(cls, table: Columns, categories: Collection[str] = ()) -> Preprocessing:
        """Learn from the rows of a table what is done with its columns.

        Parameters
        ----------
        table : Columns
        categories : collection of str
            Names of columns whose numbers are names of levels.

        Raises
        ------
        ValueError
            If no column tells rows apart.

        Warns
        -----
        UserWarning
            Of columns that are left out, and of those with more levels than half of the rows.
        """
        found = [encoders.encoder_of(each, category=each.name in categories) for each in table]
        left_out = [f"{each.name!r} ({each.why})" for each in found if isinstance(each, Dropped)]
        if len(left_out) == len(found):
            raise ValueError(f"X has no column that tells rows apart: {_listed(left_out)}")
        if left_out:
            warn(f"X has columns that are left out: {_listed(left_out)}")
        many = [
            f"{each.name!r} ({len(each.levels) + each.rare:,})"
            for each in found
            if isinstance(each, Levels) and each.rare
        ]
        if many:
            warn(
                f"X has columns with more levels than half of its {table.rows:,} rows, of which "
                f"only those in several rows are used: {_listed(many)}; leave out names and "
                "numbers that identify rows"
            )
        mixed = [
            f"{each.name!r} ({each.note or 'texts and others'})"
            for each in table
            if each.kind == "mixed"
        ]
        if mixed:
            warn(f"X has columns of more than one kind, taken for categories: {_listed(mixed)}")
        return cls(found)

    def transform(self, table: Any, *, quiet: bool = False) -> Array:
        """Return the inputs of the rows of a table.

        Parameters
        ----------
        table : Columns, DataFrame or array
            See `fastnn.tabular.tables.columns_of`. Its columns are found by their names.
        quiet : bool
            Do not warn.

        Returns
        -------
        ndarray of float32, shape (rows, inputs)

        Raises
        ------
        ImportError, TypeError, ValueError
            As for `columns_of`; if a column is missing, or does not hold what it held in fit.

        Warns
        -----
        UserWarning
            Of columns that fit did not see, which are left out, and of cells that are unlike all in
            fit: levels that are not known, whose inputs are all 0, dates out of the range, missing
            values in columns that had none. There is one warning for all.
        """
        table = columns_of(table)
        given: dict[str, Column] = {each.name: each for each in table}
        needed = [each for each in self.encoders if not isinstance(each, Dropped)]
        if missing := [each.name for each in needed if each.name not in given]:
            raise ValueError(
                f"X lacks {_columns(missing)} that the network was trained with; it has "
                f"{shown(table.names)}"
            )
        notes = []
        if others := [name for name in table.names if name not in self.columns]:
            notes.append(f"left out, as fit did not see them: {_columns(others)}")
        out = np.empty((table.rows, len(self.names)), np.float32)
        place = 0
        for encoder in needed:
            inputs, note = encoder.apply(given[encoder.name])
            out[:, place : place + inputs.shape[1]] = inputs
            place += inputs.shape[1]
            if note:
                notes.append(note)
        if notes and not quiet:
            warn(f"X is not like the table of fit: {_listed(notes)}")
        return out

    def described(self, table: Columns) -> str:
        """Return a line for each column of a table: its cells, and what is done with them."""
        lines = [("column", "kind", "missing", "values", "inputs")]
        for column in table:
            encoder = self.encoders[self.columns.index(column.name)]
            gaps = int(column.missing.sum())
            count = f"{gaps:,}" if gaps else ""
            lines.append((column.name, column.kind, count, column.summary, encoder.done))
        widths = [max(map(len, each)) for each in zip(*lines, strict=True)]
        return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)

    def plain(self) -> list[dict[str, Any]]:
        """Return it as what JSON can hold."""
        return [encoders.plain(each) for each in self.encoders]

    @classmethod
    def of_plain(cls, found: Any) -> Preprocessing:
        """Return the preprocessing that `plain` described, after checking all of it.

        Raises
        ------
        KeyError, TypeError, ValueError
            If it describes none.
        """
        made = cls([encoders.of_plain(each) for each in found])
        if len(set(made.columns)) < len(made.columns):
            raise ValueError("two columns have the same name")
        return made


def _columns(names: Sequence[str]) -> str:
    return f"{'columns' if len(names) > 1 else 'the column'} {shown(names)}"


def _listed(items: Sequence[str], most: int = 8) -> str:
    return "; ".join(items[:most]) + f"; and {len(items) - most} more" * (len(items) > most)
