"""Networks in files: one ``.safetensors`` file each, which other libraries can read, too.

Tensors are ``layers.0.weights`` (fan_in, fan_out), ``layers.0.biases`` (fan_out,), and so on,
without padding, in the network's dtype; ``input_scaler.mean`` and ``input_scaler.scale``, and those
of ``target_scaler``, where there is standardisation. Metadata are texts: ``format``, "fastnn";
``version``, of this layout; ``network``, the settings as JSON. What an optimizer remembers is in
``optimizer`` and ``optimizer.0.layers.0.weights`` and so on; checkpoints have more.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from fastnn import tensors
from fastnn import validation as check
from fastnn.activations import Array
from fastnn.losses import Custom
from fastnn.network import Network
from fastnn.optimizers import ADAM, MOMENTUM, RMSPROP, SGD, Adam, Optimizer, RMSprop
from fastnn.parameters import Architecture
from fastnn.rules import State
from fastnn.scaling import Scaler
from fastnn.tensors import Tensors

# An optimizer of each kind that remembers something.
KINDS: dict[str, Optimizer] = {
    "momentum": SGD(momentum=0.9),
    "rmsprop": RMSprop(),
    "adam": Adam(),
}
NAMES = {MOMENTUM: "momentum", RMSPROP: "rmsprop", ADAM: "adam"}
MOST_STEPS = 2**53  # what a float counts to
SCALERS = ("input_scaler", "target_scaler")


def parts_of(net: Network, optimizer: bool) -> tuple[Tensors, dict[str, Any]]:
    """Return the tensors and the metadata of a network."""
    architecture = net.architecture
    found = tensors.of_parameters(net.weights, net.biases)
    for name in SCALERS:
        scaler = getattr(net, name)
        if scaler is not None:
            found |= {f"{name}.mean": scaler.mean, f"{name}.scale": scaler.scale}
    metadata: dict[str, Any] = {
        "network": {
            "sizes": list(architecture.sizes),
            "activation": list(architecture.activations[:-1]),
            "output": architecture.activations[-1],
            "loss": architecture.loss if isinstance(architecture.loss, str) else None,
            "dtype": architecture.dtype.name,
            "seed": net.seed,
            "epochs_trained": net.epochs_trained,
            "standardize_inputs": net._standardize[0],
            "standardize_targets": net._standardize[1],
            "classes": None if net.classes is None else list(net.classes),
        }
    }
    state = net._state
    if optimizer and state is not None and state.slots:
        metadata["optimizer"] = {"kind": NAMES[state.kind], "steps": state.steps}
        for i, slot in enumerate(state.slots):
            found |= tensors.of_parameters(slot.weights, slot.biases, f"optimizer.{i}.")
    return found, metadata


def load(
    path: str | os.PathLike[str],
    backend: str = "numba",
    threads: int | None = None,
    loss: Custom | None = None,
) -> Network:
    """Load a network that `Network.save` has written, or that a checkpoint holds.

    Everything is checked before anything is built; nothing in a file is executed.

    Parameters
    ----------
    path : str or path
    backend, threads
        As for `Network`: they belong to a machine and are not in the file.
    loss : callable, optional
        The network's loss, if it is a function of your own: functions are not in files.

    Returns
    -------
    Network
        With the same parameters, seed, classes and standardisation: its predictions are the same
        bits.

    Raises
    ------
    OSError
        If the file cannot be read (``FileNotFoundError`` if there is none).
    ValueError, TypeError
        If it is damaged, was not written by fastnn, is of a later version, or its settings, names,
        shapes or numbers are not those of a network; if an argument is not as described.
    """
    name = repr(os.fspath(path))
    found, metadata = tensors.read(path)
    return build(name, found, metadata, backend, threads, loss)


def build(
    name: str,
    found: Tensors,
    metadata: dict[str, Any],
    backend: str,
    threads: int | None,
    loss: Custom | None,
) -> Network:
    """Return the network of tensors and metadata, or say what is wrong with them."""
    settings = metadata.get("network")
    if not isinstance(settings, dict):
        raise ValueError(f"{name} holds no settings of a network")
    settings = dict(settings)
    try:
        architecture, settings = _checked(settings, loss)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{name} does not describe a network: {error}") from None
    dtype = architecture.dtype
    tensors.check(name, found, tensors.shapes(architecture), dtype)
    columns = {"input_scaler": architecture.sizes[0], "target_scaler": architecture.sizes[-1]}
    for scaler, count in columns.items():
        if f"{scaler}.mean" in found or f"{scaler}.scale" in found:
            needed = {f"{scaler}.mean": (count,), f"{scaler}.scale": (count,)}
            tensors.check(name, found, needed, dtype)
            if not (found[f"{scaler}.scale"] > 0).all():
                raise ValueError(f"{name}: {scaler}.scale holds numbers that are not above 0")
    epochs, classes = settings.pop("epochs_trained"), settings.pop("classes")
    net = Network(**settings, init=_zeros, backend=backend, threads=threads)
    tensors.fill(net.weights, net.biases, found)
    net.epochs_trained, net.classes = epochs, classes
    for scaler in columns:
        if f"{scaler}.mean" in found:
            values = (found[f"{scaler}.{part}"].copy() for part in ("mean", "scale"))
            setattr(net, scaler, Scaler(*values))
    if "optimizer" in metadata:
        net._state = _state(name, found, metadata["optimizer"], architecture)
    return net


def _checked(settings: dict[str, Any], loss: Custom | None) -> tuple[Architecture, dict[str, Any]]:
    """Return the architecture that settings describe, and the settings, or raise."""
    given = settings.pop("loss")
    if given is None and loss is None:
        raise ValueError("its loss is a function, which files do not hold; pass it as loss")
    chosen = given if loss is None else loss
    names = ("sizes", "activation", "output", "dtype")
    sizes, activation, output, dtype = (settings[name] for name in names)
    check.one_of("dtype", dtype, check.DTYPES)  # NumPy knows other names for them, and warns
    architecture = check.architecture(sizes, activation, output, chosen, dtype)
    check.integer("seed", settings["seed"], 0)
    check.integer("epochs_trained", settings["epochs_trained"], 0, MOST_STEPS)
    for name in ("standardize_inputs", "standardize_targets"):
        if not isinstance(settings[name], bool):
            raise TypeError(f"{name} must be true or false, got {settings[name]!r}")
    check.standardized_targets(settings["standardize_targets"], architecture)
    classes = check.classes("classes", settings["classes"], architecture)
    known = {*names, "seed", "epochs_trained", "standardize_inputs", "standardize_targets"}
    if unknown := settings.keys() - known - {"classes"}:
        raise ValueError(f"unknown settings {', '.join(sorted(unknown))}")
    return architecture, {**settings, "loss": chosen, "classes": classes}


def _state(name: str, found: Tensors, described: Any, architecture: Architecture) -> State:
    """Return what an optimizer remembers."""
    try:
        optimizer = KINDS[check.one_of("kind", described["kind"], KINDS)]
        steps = check.integer("steps", described["steps"], 0, MOST_STEPS)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{name} does not describe an optimizer: {error}") from None
    for i in range(optimizer.slots):
        needed = tensors.shapes(architecture, f"optimizer.{i}.")
        tensors.check(name, found, needed, architecture.dtype)
    state = State(optimizer, architecture)
    state.steps = steps
    for i, slot in enumerate(state.slots):
        tensors.fill(slot.weights, slot.biases, found, f"optimizer.{i}.")
    return state


def _zeros(rng: np.random.Generator, fan_in: int, fan_out: int) -> Array:
    return np.zeros((fan_in, fan_out))
