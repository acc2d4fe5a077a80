"""What plans of sparse inputs have of their own: operations of the first layer, and room."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

import numpy as np

from fastnn.activations import Array
from fastnn.backends.compiled.functions import is_plain
from fastnn.backends.compiled.kernels import layout
from fastnn.backends.contract import UpdateRule
from fastnn.sparse_rows import SparseRows

Operation = tuple[int, int, int]


def decays_later(rule: UpdateRule | None, in_blocks: bool, updated: list[int]) -> bool:
    """Tell whether rows of weights get the factors of a penalty only when they are needed."""
    adding = rule is not None and update(rule, in_blocks, False)[0] == layout.ADDING_SPARSE
    return adding and rule is not None and rule.objective.l2 > 0 and 0 in updated


def forward(
    rule: UpdateRule | None, in_blocks: bool, learning: bool, updated: list[int], split: int
) -> list[Operation]:
    """Return the operations of a first layer going forward."""
    operations = [(layout.GATHERING_SPARSE, 0, layout.ROWS)]
    if not learning:
        operations += [(layout.CHECKING_SPARSE, 0, layout.ROWS)]
    if 0 in updated:
        operations += [(layout.LISTING_SPARSE, 0, layout.OTHERWISE)]
    if decays_later(rule, in_blocks, updated):
        operations += [(layout.DECAYING_SPARSE, 0, layout.OTHERWISE)]
    return [*operations, (layout.FORWARD_SPARSE, 0, split)]


def update(rule: UpdateRule | None, in_blocks: bool, stepping: bool) -> Operation:
    """Return the operation that updates a first layer.

    Rows of weights that a batch does not touch are left as they are if nothing else changes them:
    by a step of plain gradient descent, whose penalty waits unless norms are limited.
    """
    if stepping:
        return layout.STEPPING_SPARSE, 0, layout.ROWS
    limited = rule is not None and rule.max_norm is not None and rule.objective.l2 > 0
    if rule is None or (is_plain(rule) and not in_blocks and not limited):
        return layout.ADDING_SPARSE, 0, layout.OTHERWISE
    return layout.UPDATING_SPARSE, 0, layout.ROWS


class Room:
    """Room for the numbers of a batch of sparse rows, which grows as they need.

    Parameters
    ----------
    columns, rows : int
        Of the inputs, and of a batch; 0 for other inputs.
    dtype : numpy.dtype
    """

    def __init__(self, columns: int, rows: int, dtype: np.dtype) -> None:
        self.heads = np.full(columns, -1, np.int32)
        self.begins = np.zeros(rows + 1, np.int64)
        self.values = np.empty(0, dtype)
        self.lists = np.empty((3, 0), np.int32)  # columns, rows and nexts
        self.touched = np.empty(0, np.int32)
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
            self.lists = np.empty((3, most), np.int32)
            self.touched = np.empty(min(most, len(self.heads)), np.int32)
            self.heads[:] = -1
            record["touched_count"] = 0
        for name, array in (
            ("data", X.data),
            ("indices", X.indices),
            ("indptr", X.indptr),
            ("begins", self.begins),
            ("values", self.values),
            ("columns", self.lists[0]),
            ("rows", self.lists[1]),
            ("nexts", self.lists[2]),
            ("touched", self.touched),
            ("heads", self.heads),
        ):
            record[name] = address_of(array)
        record["kind"] = kinds[X.dtype]


def address_of(array: Array) -> int:
    """Return where the numbers of an array are."""
    address: int = array.__array_interface__["data"][0]
    return address
