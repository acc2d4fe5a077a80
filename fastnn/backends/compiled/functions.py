"""Which compiled functions there are, which of them a call needs, and where they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numba.core import event
from numba.np.numpy_support import from_dtype

from fastnn.activations import Array
from fastnn.backends import forks
from fastnn.backends.compiled.kernels import (
    augment,
    batches,
    factors,
    inputs,
    layers,
    narrow,
    one_row,
    outputs,
    parametric,
    products,
    rounded,
    sparse,
    strips,
    transposed,
    update,
)
from fastnn.backends.compiled.kernels.layout import FUNCTIONS
from fastnn.backends.compiled.machinery import amx
from fastnn.backends.compiled.machinery.jit import Unit
from fastnn.backends.compiled.machinery.lines import LINE
from fastnn.backends.compiled.machinery.narrow import UNITS as NARROW
from fastnn.backends.contract import Objective, UpdateRule
from fastnn.losses import name_of
from fastnn.model.architecture import Architecture
from fastnn.model.model import Model
from fastnn.optimizers import PLAIN

# By the names of the fields in which kernels find their addresses.
UNITS: dict[str, Unit] = {
    "product": products.product,
    "sparse_product": products.product_of_sparse,
    "turn": transposed.turn,
    "gather": inputs.gather,
    "finish": outputs.finish,
    "take": strips.take,
    "give": strips.give,
    "phase": batches.phase,
    "go_on": batches.go_on,
    "meet": batches.meet,
    "work": batches.work,
    # Compiled when first needed, as not all need them.
    "rounded_product": rounded.rounded_product,
    "softmax_of_rows": outputs.softmax_of_rows,
    "error": outputs.error,
    "squash": outputs.squash,
    "binary": outputs.binary,
    "poisson": outputs.poisson,
    "pinball": parametric.pinball,
    "focal": parametric.focal,
    "activate": layers.activate,
    "adjust": inputs.adjust,
    "augment": augment.augment,
    "change": augment.change,
    "mix": augment.mix,
    "narrow_product": narrow.narrow_product,
    "narrow_gradient": narrow.narrow_gradient,
    "forward_one": one_row.forward_one,
    "rounded_forward_one": one_row.rounded_forward_one,
    "backward_one": one_row.backward_one,
    "one_row": one_row.one_row,
    "move": update.move,
    "move_layer": update.move_layer,
    "measure": update.measure,
    "limit": update.limit,
    "of_sparse": sparse.of_sparse,
    "of_factors": factors.of_factors,
    "average": update.average,
}
ALWAYS = (
    "product",
    "turn",
    "sparse_product",
    "gather",
    "finish",
    "take",
    "give",
    "phase",
    "go_on",
    "meet",
    "work",
)
FORWARD_ONE = ("forward_one", "rounded_forward_one")
OF_ONE_ROW = ("backward_one", "one_row")  # to learn from it; all need one of the above
OF_BFLOAT16 = ("rounded_product", "rounded_forward_one")  # which has sums in float32
# What outputs need, and what losses do that others need not.
OF_OUTPUTS = {"sigmoid": ("squash",), "exponential": ("squash",)}
OF_LOSSES: dict[str, tuple[str, ...]] = {
    "cross_entropy": (), "binary_cross_entropy": ("binary",), "poisson": ("poisson",),
    "quantile": ("pinball",), "focal": ("focal",),
}  # fmt: skip
# Activations that the register tile does on the way out, or that do nothing.
WITHOUT_KERNEL = ("relu", "identity")
# The addresses for each dtype; 0 where a function is not yet compiled.
_addresses = {np.dtype(name): np.zeros(1, FUNCTIONS) for name in ("f4", "f8")}
_compiled: dict[np.dtype, set[str]] = {dtype: set() for dtype in _addresses}


def is_plain(rule: UpdateRule) -> bool:
    """Tell whether a step is a sum that goes right into the parameters."""
    return (
        rule.optimizer.code == PLAIN
        and rule.optimizer.is_even
        and not (rule.objective.l1 or rule.clip_norm is not None or rule.clip_value is not None)
    )


def gathers_gradient(rule: UpdateRule | None, in_blocks: bool) -> bool:
    """Tell whether a step's whole gradient is made before anything is changed."""
    if rule is None:
        return False
    return in_blocks or rule.clip_norm is not None or rule.scales_inputs


def takes_one_row(architecture: Architecture, rule: UpdateRule | None) -> bool:
    """Tell whether a step of one row may take the way of its own."""
    if architecture.rounds or rule is None:
        return False
    # The norm of an outer product is that of its factors, but not with penalties in it.
    penalised = rule.objective.l1 or rule.objective.l2
    return not (rule.scales_inputs or (rule.clip_norm is not None and penalised))


def adjusts_inputs(model: Model, objective: Objective) -> bool:
    """Tell whether inputs are standardised, or some left out."""
    return model.input_scaler is not None or (objective.drops and objective.dropout[0] > 0)


def needed(
    model: Model,
    objective: Objective,
    rule: UpdateRule | None,
    one_row: bool,
    in_blocks: bool,
    sparse: bool,
) -> set[str]:
    """Return the names of the functions that a call needs."""
    names = {"finish"}
    hidden = model.architecture.activations[:-1]
    if any(name not in WITHOUT_KERNEL for name in hidden) or objective.drops:
        names.add("activate")
    row = model.architecture.layers[-1].fan_out * model.architecture.dtype.itemsize
    if model.architecture.activations[-1] == "softmax" and (one_row or row > LINE):
        names.add("softmax_of_rows")
    names.update(OF_OUTPUTS.get(model.architecture.activations[-1], ()))
    if one_row:
        names.add("rounded_forward_one" if model.architecture.rounds else "forward_one")
    if one_row and rule is None:  # `one_row.single`, which calls no others
        return names
    names.update(ALWAYS)
    if model.architecture.rounds:
        names.add("rounded_product")
    elif any(layer.fan_out <= NARROW for layer in model.architecture.layers):
        names.update(("narrow_product", "narrow_gradient"))
    if sparse:
        names.add("of_sparse")
    if adjusts_inputs(model, objective):
        names.add("adjust")
    if objective.augment:
        names.update(("augment", "change", "mix"))
    loss = "" if callable(model.architecture.loss) else name_of(model.architecture.loss)
    names.update(OF_LOSSES.get(loss, ("error",)))
    if rule is not None:
        if one_row:
            names.update(OF_ONE_ROW)
        if not is_plain(rule) or in_blocks:
            names.add("move")
        if gathers_gradient(rule, in_blocks):
            names.update(("measure", "move_layer"))
        if rule.scales_inputs:
            names.add("of_factors")
        if rule.max_norm is not None:
            names.add("limit")
        if rule.average is not None:
            names.add("average")
    return names


def missing(dtype: np.dtype, names: Iterable[str]) -> set[str]:
    """Return which of these functions are not yet compiled for a dtype."""
    return set(names) - _compiled[dtype]


def of_name(name: str) -> Unit:
    """Return the function of a name, which may be another where there is AMX."""
    if name == "rounded_product" and amx.available():
        from fastnn.backends.compiled.kernels import amx as kernels  # else it is not loaded

        return kernels.chosen()
    return UNITS[name]


def pack_words(rows: int, depth: int) -> int:
    """Return the words of room that the product of rounded factors needs; see `rounded`."""
    if amx.available():
        from fastnn.backends.compiled.kernels import amx as kernels

        return kernels.pack_words(rows, depth)
    return rounded.pack_words(rows, depth)


def addresses(dtype: np.dtype, names: Iterable[str] = ALWAYS) -> Array:
    """Return the functions' addresses for a dtype, with those of these names."""
    found, compiled = _addresses[dtype], _compiled[dtype]
    absent = missing(dtype, names)
    if absent:
        number = from_dtype(dtype)
        if "work" in absent:  # which that calls
            batches.run.prepare(number)
        if absent.intersection(FORWARD_ONE):
            door(one_row.single, dtype)
        for name in absent:
            found[name] = of_name(name).address(number)
            compiled.add(name)
    return found


def single(dtype: np.dtype) -> Callable[..., int]:
    """Return the compiled `one_row.single` for a dtype, which does not look at its arguments."""
    unit = one_row.single
    compiled = unit.dispatcher.overloads[unit.argument_types(from_dtype(dtype))]
    found: Callable[..., int] = compiled.entry_point
    return found


def door(function: Unit, dtype: np.dtype) -> Callable[..., Any]:
    """Return what calls a compiled function from Python; other types are a TypeError."""
    number = from_dtype(dtype)
    if function.argument_types(number) not in function.dispatcher.overloads:
        with forks.held_off():  # other threads do not compile what the dispatcher must not
            function.dispatcher.disable_compile(False)
            function.prepare(number)
            function.dispatcher.disable_compile()
    dispatcher: Callable[..., Any] = function.dispatcher
    return dispatcher


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
