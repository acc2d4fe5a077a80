"""The model: a network as plain data, which everything else reads and writes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastnn.activations import Array
from fastnn.losses import name_of
from fastnn.model.architecture import Architecture
from fastnn.model.optimizer_state import OptimizerState
from fastnn.model.parameters import Parameters, Views
from fastnn.model.scaling import Scaler
from fastnn.optimizers import Optimizer


@dataclass(eq=False)
class Model:
    """A network as data: `fastnn.Network` holds one; backends, training and files use it.

    Attributes
    ----------
    architecture : Architecture
    seed : int
        Seed of the initial weights, the order of the rows and dropout.
    backend : str
        "numba" or "numpy"; files hold neither this nor ``threads``.
    threads : int or None
        Largest number of threads; None stands for all CPUs.
    standardize_inputs, standardize_targets : bool
        Whether training computes the scalers.
    parameters : Parameters
        Zeros at first.
    input_scaler, target_scaler : Scaler or None
        None before the first training, or without standardisation.
    classes : tuple or None
        The names of the classes.
    features : tuple or None
        The names of the inputs.
    pixels : bool
        Whether it was trained on uint8, which is divided by 255.
    epochs_trained : int
    optimizer_state : OptimizerState or None
    prepared : dict
        What is kept from call to call, by a backend or for it; copies and files leave it out.
    """

    architecture: Architecture
    seed: int
    backend: str = "numba"
    threads: int | None = None
    standardize_inputs: bool = False
    standardize_targets: bool = False
    parameters: Parameters = field(init=False)
    input_scaler: Scaler | None = None
    target_scaler: Scaler | None = None
    classes: tuple[str | int, ...] | None = None
    features: tuple[str, ...] | None = None
    pixels: bool = False
    epochs_trained: int = 0
    optimizer_state: OptimizerState | None = None
    prepared: dict[Any, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.parameters = Parameters(self.architecture)

    @property
    def vector(self) -> Array:
        """All parameters in one vector, with padding, which must stay zero."""
        return self.parameters.vector

    @property
    def weights(self) -> Views:
        """The weights of each layer, views of shape (fan_in, fan_out)."""
        return self.parameters.weights

    @property
    def biases(self) -> Views:
        """The biases of each layer, views of shape (fan_out,)."""
        return self.parameters.biases

    def use_scalers(self, inputs: Scaler | None, targets: Scaler | None) -> None:
        """Set both scalers; what a backend has prepared is for those from before."""
        if inputs is not self.input_scaler or targets is not self.target_scaler:
            self.input_scaler, self.target_scaler = inputs, targets
            self.prepared.clear()

    def state_for(self, optimizer: Optimizer) -> OptimizerState:
        """Return the optimizer's state; it starts anew if the last one was of another kind."""
        if self.optimizer_state is None or not self.optimizer_state.fits(optimizer):
            self.optimizer_state = OptimizerState(optimizer, self.architecture)
        return self.optimizer_state

    def take_average(self) -> None:
        """Set the parameters to their average, if a run that is over has kept one."""
        state = self.optimizer_state
        if state is not None and state.average is not None:
            if state.average.moments:
                self.vector[:] = state.average.parameters.vector
            state.average = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "prepared": {}}  # which holds addresses of this process

    def __repr__(self) -> str:
        a = self.architecture
        name = name_of(a.loss) if callable(a.loss) else a.loss
        rounded = f"precision={a.precision!r}, " if a.rounds else ""
        return (
            f"Network({list(a.sizes)}, activation={list(a.activations[:-1])}, "
            f"output={a.output!r}, loss={name!r}, dtype={a.dtype.name!r}, {rounded}"
            f"backend={self.backend!r}, parameters: {a.parameter_count:,})"
        )


def in_float64(model: Model) -> Model:
    """Return a copy of a model that computes in float64."""
    a = model.architecture
    wide = Architecture(a.sizes, a.activations, a.loss, np.dtype("float64"))
    double = Model(wide, model.seed, model.backend, model.threads)
    double.input_scaler, double.target_scaler = (
        scaler and Scaler(*(array.astype(np.float64) for array in scaler))
        for scaler in (model.input_scaler, model.target_scaler)
    )
    double.classes, double.features, double.pixels = model.classes, model.features, model.pixels
    for ours, theirs in ((double.weights, model.weights), (double.biases, model.biases)):
        for l, array in enumerate(theirs):
            ours[l] = array
    return double


def summary(model: Model) -> str:
    """Return the table that `fastnn.Network.summary` prints."""
    a = model.architecture
    rows = [("layer", "units", "activation", "parameters", "kB", "FLOPs a row")]
    rows.append(("inputs", f"{a.sizes[0]:,}", "", "", "", ""))
    for l, (layer, name) in enumerate(zip(a.layers, a.activations, strict=True)):
        count = (layer.fan_in + 1) * layer.fan_out
        label = f"{l}" if l + 1 < len(a.layers) else f"{l}, outputs"
        flops = 2 * layer.fan_in * layer.fan_out
        rows.append(_cells(label, f"{layer.fan_out:,}", name, count, a.dtype.itemsize, flops))
    rows.append(_cells("all", "", "", a.parameter_count, a.dtype.itemsize, a.forward_flops))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if i in (0, 2) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    rule = "-" * max(map(len, lines))
    lines[1:1] = [rule]
    lines[-1:-1] = [rule]
    products = f" with products in {a.precision}" if a.rounds else ""
    return "\n".join(
        [
            *lines,
            f"loss {a.loss}, {a.dtype.name}{products}, {a.training_flops:,} FLOPs a row of "
            "training",
        ]
    )


def _cells(
    label: str, units: str, activation: str, parameters: int, itemsize: int, flops: int
) -> tuple[str, str, str, str, str, str]:
    size = parameters * itemsize / 1e3
    return label, units, activation, f"{parameters:,}", f"{size:,.1f}", f"{flops:,}"
