"""Which compiled functions there are, which of them a call needs, and where they are."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

import numpy as np
from numba.core import event
from numba.np.numpy_support import from_dtype

from fastnn.activations import Array
from fastnn.backends.compiled import plan as planning
from fastnn.backends.compiled.kernels import batches as steps
from fastnn.backends.compiled.kernels import further, layers, one_row, outputs, table
from fastnn.backends.compiled.kernels import products as gemm
from fastnn.backends.compiled.kernels import update as moving
from fastnn.backends.contract import Objective, UpdateRule
from fastnn.model.model import Model

UNITS = {
    table.PRODUCT: gemm.product,
    table.SPARSE_PRODUCT: gemm.product_of_sparse,
    table.GATHER: layers.gather,
    table.FINISHING: outputs.finish,
    table.PHASE: steps.phase,
    # Compiled when first needed, as not all need them.
    table.ERROR: outputs.error,
    table.ACTIVATE: layers.activate,
    table.FORWARD_ONE: one_row.forward_one,
    table.ONE_ROW: one_row.one_row,
    table.MOVE: moving.move,
    table.MEASURE: moving.measure,
    table.LIMIT: moving.limit,
    table.FURTHER: further.further,
}
ALWAYS = (table.PRODUCT, table.SPARSE_PRODUCT, table.GATHER, table.FINISHING, table.PHASE)
OF_ONE_ROW = (table.FORWARD_ONE, table.ONE_ROW)
_preparing = threading.Lock()
# The table of the units' addresses for each dtype; 0 where one is not yet compiled.
_tables = {np.dtype(name): np.zeros(table.PHASE + 1, np.int64) for name in ("f4", "f8")}


def needed(model: Model, objective: Objective, rule: UpdateRule | None, one_row: bool) -> set[int]:
    """Return the places of the units that a call needs."""
    places = {*ALWAYS}
    if planning.adjusts(model, objective):
        places.add(table.FURTHER)
    hidden = model.architecture.activations[:-1]
    if any(name not in planning.WITHOUT_KERNEL for name in hidden) or objective.drops:
        places.add(table.ACTIVATE)
    if model.architecture.loss not in ("cross_entropy", "binary_cross_entropy", "poisson"):
        places.add(table.ERROR)
    if one_row:
        places.update(OF_ONE_ROW)
    if rule is not None:
        if not planning.plain(rule):
            places.add(table.MOVE)
        if rule.clip_norm is not None:
            places.update((table.MEASURE, table.FURTHER))
        if rule.max_norm is not None:
            places.update((table.LIMIT, table.FURTHER))
    return places


def functions(dtype: np.dtype, places: Iterable[int] = ALWAYS) -> Array:
    """Return the table of the units' addresses, with those at these places, for a dtype."""
    addresses = _tables[dtype]
    if not all(addresses[place] for place in places):
        with _preparing:  # the first of several threads compiles, the others wait
            number = from_dtype(dtype)
            steps.run.prepare(number)
            if table.ONE_ROW in places:
                one_row.single.dispatcher.disable_compile(False)
                one_row.single.prepare(number)
                one_row.single.dispatcher.disable_compile()  # other types are a TypeError
            for place in places:
                if not addresses[place]:
                    addresses[place] = UNITS[place].address(number)
    return addresses


class Announcer(event.Listener):  # type: ignore[misc]
    """Calls a function when the first compilation starts; loading from the cache is none."""

    def __init__(self, announce: Callable[[], object]) -> None:
        self.announce: Callable[[], object] | None = announce

    def on_start(self, event: event.Event) -> None:
        """Call the function, once."""
        if self.announce is not None:
            announce, self.announce = self.announce, None
            announce()

    def on_end(self, event: event.Event) -> None:
        """Do nothing."""
