"""What plans of sparse inputs have of their own: operations of the first layer, and room."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

import numpy as np

from fastnn.activations import Array
from fastnn.backends.compiled.functions import gathers_gradient, is_plain
from fastnn.backends.compiled.kernels import layout
from fastnn.backends.compiled.kernels.sparse import SORTED_ROWS
from fastnn.backends.contract import UpdateRule
from fastnn.model.architecture import Architecture
from fastnn.sparse_rows import SparseRows

Operation = tuple[int, int, int]


def steps(rule: UpdateRule | None, in_blocks: bool) -> bool:
    """Tell whether an optimizer moves all weights, by a gradient that is made part by part."""
    return rule is not None and not is_plain(rule) and not gathers_gradient(rule, in_blocks)


def decays_later(rule: UpdateRule | None, in_blocks: bool) -> bool:
    """Tell whether rows of weights get the factors of a penalty only when they are needed.

    This is so in plain gradient descent, unless a limit of norms or an average needs all rows.
    """
    if rule is None or not is_plain(rule) or in_blocks:
        return False
    return rule.objective.l2 > 0 and rule.max_norm is None and rule.average is None


def forward(
    rule: UpdateRule | None, in_blocks: bool, learning: bool, updated: list[int], split: int
) -> list[Operation]:
    """Return the operations of a first layer going forward."""
    operations = [(layout.GATHERING_SPARSE, 0, layout.ROWS)]
    if not learning:
        operations += [(layout.CHECKING_SPARSE, 0, layout.ROWS)]
    if 0 in updated and decays_later(rule, in_blocks):
        operations += [(layout.DECAYING_SPARSE, 0, layout.COLUMNS)]
    return [*operations, (layout.FORWARD_SPARSE, 0, split)]


def update(rule: UpdateRule | None, in_blocks: bool) -> list[Operation]:
    """Return the operations that update a first layer, each to begin after the one before."""
    adding = (layout.ADDING_SPARSE, 0, layout.UNITS)
    if steps(rule, in_blocks):
        return [(layout.STEPPING_SPARSE, 0, layout.ROWS)]
    if decays_later(rule, in_blocks):
        return [(layout.DECAYING_SPARSE, 0, layout.COLUMNS), adding]
    as_it_is = rule is None or (is_plain(rule) and not in_blocks and not rule.objective.l2)
    return [adding] if as_it_is else [(layout.SCALING_SPARSE, 0, layout.ROWS), adding]


class Room:
    """Room for the numbers of a batch of sparse rows, which grows as they need.

    Parameters
    ----------
    rows : int
        Of a batch.
    dtype : numpy.dtype
    parts : int
        Of the columns, by which the numbers are sorted; 0 if they are not.
    """

    def __init__(self, rows: int, dtype: np.dtype, parts: int) -> None:
        self.begins = np.zeros(rows + 1, np.int64)
        self.values, self.columns = np.empty(0, dtype), np.empty(0, np.int32)
        self.sorted_values, self.sorted_columns = self.values, self.columns
        self.sorted_rows = self.columns
        self.ends = np.zeros(parts, np.int64)
        self._of: weakref.ref[SparseRows] | None = None

    def read(self, X: SparseRows, record: Array, kinds: Mapping[Any, int]) -> None:
        """Say where the rows are, and where there is room for those of any batch."""
        if self._of is not None and self._of() is X:
            return
        self._of = weakref.ref(X)
        lengths, rows = X.lengths, len(self.begins) - 1
        if rows < len(lengths):
            lengths = np.partition(lengths, -rows)[-rows:]
        most = int(lengths.sum())
        if most > len(self.values):
            self.values = np.empty(most, self.values.dtype)
            self.columns = np.empty(most, np.int32)
            if len(self.ends):
                self.sorted_values = np.empty_like(self.values)
                self.sorted_columns = np.empty_like(self.columns)
                self.sorted_rows = np.empty_like(self.columns)
        for name, array in (
            ("data", X.data),
            ("indices", X.indices),
            ("indptr", X.indptr),
            ("begins", self.begins),
            ("values", self.values),
            ("columns", self.columns),
            ("sorted_columns", self.sorted_columns),
            ("sorted_rows", self.sorted_rows),
            ("sorted_values", self.sorted_values),
            ("ends", self.ends),
        ):
            record[name] = address_of(array)
        record["kind"] = kinds[X.dtype]


def parts_of(
    architecture: Architecture, rule: UpdateRule | None, in_blocks: bool, threads: int
) -> int:
    """Return how many parts of the columns threads sort the numbers of a batch by, if they do."""
    return architecture.sizes[0] // SORTED_ROWS + threads if steps(rule, in_blocks) else 0


def steps_had(
    architecture: Architecture, rule: UpdateRule | None, in_blocks: bool
) -> dict[str, Array]:
    """Return, by field of the plan, which steps' decay each row of weights has, if that waits."""
    if decays_later(rule, in_blocks):
        return {"decayed": np.zeros(architecture.layers[0].fan_in, np.int32)}
    return {}


def address_of(array: Array) -> int:
    """Return where the numbers of an array are."""
    address: int = array.__array_interface__["data"][0]
    return address
