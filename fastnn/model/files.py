"""The file of a network: one ``.safetensors`` file, which other libraries can read, too.

The tensors are ``layers.0.weights`` (fan_in, fan_out), ``layers.0.biases`` (fan_out,) and so on,
without padding, in the network's dtype. With standardisation there are ``input_scaler.mean`` and
``input_scaler.scale``, or those of ``target_scaler``. The metadata are texts: ``format`` is
"fastnn", ``version`` that of this layout, ``network`` the settings as JSON. An optimizer's state
is in the metadata ``optimizer`` and in the tensors ``optimizer.0.layers.0.weights`` and so on, that
of the factors of inputs in ``optimizer.inputs``. In a run that keeps an average of the parameters,
this is in ``average.layers.0.weights`` and so on, and what it is of in the metadata ``average``.
`fastnn.training.checkpoints` adds more.

The version is 1, which every fastnn reads, or 2 if a network has another precision than its dtype.

In the file of a committee the metadata ``members`` are a list with those of each network. The names
of its tensors begin with its position, as in ``members.0.layers.0.weights``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from fastnn.checks import networks as check_network
from fastnn.checks import values as check
from fastnn.losses import WITH_NUMBERS, Custom, Loss, Quantile, WithNumbers
from fastnn.model import storage
from fastnn.model.architecture import Architecture
from fastnn.model.model import Model
from fastnn.model.optimizer_state import Averaged, OptimizerState
from fastnn.model.scaling import Scaler
from fastnn.model.storage import Tensors
from fastnn.optimizers import ADAM, MOMENTUM, PLAIN, RMSPROP, SGD, Adam, Optimizer, RMSprop
from fastnn.precision import PRECISIONS

# An optimizer of each kind.
KINDS: dict[str, Optimizer] = {
    "sgd": SGD(),
    "momentum": SGD(momentum=0.9),
    "rmsprop": RMSprop(),
    "adam": Adam(),
}
NAMES = {PLAIN: "sgd", MOMENTUM: "momentum", RMSPROP: "rmsprop", ADAM: "adam"}
MOST_STEPS = 2**53  # up to here a float64 holds every integer
SCALERS = ("input_scaler", "target_scaler")
# Settings that files need not hold.
OPTIONAL = ("features", "pixels", "precision")
MEMBERS = "members"  # in the metadata of a committee
OF_MODEL = ("seed", "epochs_trained", "standardize_inputs", "standardize_targets")


def contents(model: Model, optimizer: bool) -> tuple[Tensors, dict[str, Any]]:
    """Return the tensors and the metadata of a model, if asked with the optimizer's state."""
    architecture = model.architecture
    tensors = storage.of_parameters(model.parameters)
    for name in SCALERS:
        scaler = getattr(model, name)
        if scaler is not None:
            tensors |= {f"{name}.mean": scaler.mean, f"{name}.scale": scaler.scale}
    metadata: dict[str, Any] = {
        "network": {
            "sizes": list(architecture.sizes),
            "activation": list(architecture.activations[:-1]),
            "output": architecture.output,
            "loss": _described(architecture.loss),
            "dtype": architecture.dtype.name,
            "seed": model.seed,
            "epochs_trained": model.epochs_trained,
            "standardize_inputs": model.standardize_inputs,
            "standardize_targets": model.standardize_targets,
            "classes": None if model.classes is None else list(model.classes),
            "features": None if model.features is None else list(model.features),
            "pixels": model.pixels,
        }
    }
    if architecture.rounds:
        metadata["network"]["precision"] = architecture.precision
        metadata["version"] = storage.WITH_PRECISION
    state = model.optimizer_state
    if optimizer and state is not None and state.vectors:
        metadata["optimizer"] = {"kind": NAMES[state.kind], "steps": state.steps}
        if state.inputs is not None:
            tensors["optimizer.inputs"] = state.inputs
        if (average := state.average) is not None:
            metadata["average"] = {"steps": average.steps, "moments": average.moments}
            tensors |= storage.of_parameters(average.parameters, "average.")
        for i, slot in enumerate(state.slots):
            tensors |= storage.of_parameters(slot, f"optimizer.{i}.")
    return tensors, metadata


def model_of(name: str, tensors: Tensors, metadata: dict[str, Any], loss: Custom | None) -> Model:
    """Return the model that tensors and metadata describe, after checking all of them.

    Raises
    ------
    ValueError
        If they are not those of a network. The message begins with ``name``, that of the file.
    """
    settings = metadata.get("network")
    if not isinstance(settings, dict):
        raise ValueError(f"{name} holds no settings of a network; need a file of Network.save")
    try:
        architecture, settings = _checked(settings, loss)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{name} does not describe a network: {error}") from None
    dtype = architecture.dtype
    storage.check(name, tensors, storage.shapes(architecture), dtype)
    columns = {"input_scaler": architecture.sizes[0], "target_scaler": architecture.target_columns}
    for scaler, count in columns.items():
        if f"{scaler}.mean" in tensors or f"{scaler}.scale" in tensors:
            needed = {f"{scaler}.mean": (count,), f"{scaler}.scale": (count,)}
            storage.check(name, tensors, needed, dtype)
            if not (tensors[f"{scaler}.scale"] > 0).all():
                raise ValueError(f"{name}: {scaler}.scale holds numbers that are not above 0")
    model = Model(architecture, **settings)
    storage.fill(model.parameters, tensors)
    for scaler in columns:
        if f"{scaler}.mean" in tensors:
            values = (tensors[f"{scaler}.{part}"].copy() for part in ("mean", "scale"))
            setattr(model, scaler, Scaler(*values))
    if "optimizer" in metadata:
        model.optimizer_state = _state(name, tensors, metadata["optimizer"], architecture)
        if "average" in metadata:
            model.optimizer_state.average = _average(name, tensors, metadata["average"], model)
    return model


def contents_of_several(models: Sequence[Model], optimizer: bool) -> tuple[Tensors, dict[str, Any]]:
    """Return the tensors and the metadata of a committee; see `contents`."""
    tensors: Tensors = {}
    members: list[dict[str, Any]] = []
    of_all: dict[str, Any] = {MEMBERS: members}
    for i, model in enumerate(models):
        own, metadata = contents(model, optimizer)
        tensors |= {f"{MEMBERS}.{i}.{tensor}": array for tensor, array in own.items()}
        if "version" in metadata:
            of_all["version"] = metadata.pop("version")
        members.append(metadata)
    return tensors, of_all


def models_of(
    name: str, tensors: Tensors, metadata: dict[str, Any], loss: Custom | None
) -> list[Model]:
    """Return the models of a committee; see `model_of`."""
    members = metadata[MEMBERS]
    if not isinstance(members, list) or not members:
        raise ValueError(f"{name} holds no list of members; need a file of Committee.save")
    models = []
    for i, each in enumerate(members):
        if not isinstance(each, dict):
            raise ValueError(f"{name} holds no settings of member {i}; need those of a network")
        start = f"{MEMBERS}.{i}."
        own = {
            tensor.removeprefix(start): array
            for tensor, array in tensors.items()
            if tensor.startswith(start)
        }
        models.append(model_of(f"member {i} of {name}", own, each, loss))
    return models


def _described(loss: Loss) -> Any:
    """Return a loss in JSON's types: its name, or its name and numbers; None for a function."""
    if isinstance(loss, WithNumbers):
        numbers = {"levels": list(loss.levels)} if isinstance(loss, Quantile) else vars(loss)
        return {"name": loss.name, **numbers}
    return loss if isinstance(loss, str) else None


def _loss(described: Any) -> Any:
    """Return a loss that is described so, or what is no description as it is."""
    if not isinstance(described, dict):
        return described
    numbers = dict(described)
    return type(WITH_NUMBERS[check.one_of("loss", numbers.pop("name"), WITH_NUMBERS)])(**numbers)


def _checked(settings: dict[str, Any], loss: Custom | None) -> tuple[Architecture, dict[str, Any]]:
    """Return the architecture and the other settings of a model, after checking them."""
    given = _loss(settings["loss"])
    if given is None and loss is None:
        raise ValueError("its loss is a function, which files do not hold; pass it as loss=...")
    of_architecture = ("sizes", "activation", "output", "dtype")
    sizes, activation, output, dtype = (settings[name] for name in of_architecture)
    check.one_of("dtype", dtype, check.DTYPES)  # NumPy accepts other names, with a warning
    precision = settings.get("precision", dtype)
    if precision not in PRECISIONS:
        raise ValueError(
            f"its precision is {precision!r}, and this fastnn, which reads files up to version "
            f"{storage.VERSION}, has {', '.join(sorted(PRECISIONS))}; install a later one"
        )
    architecture = check_network.architecture(
        sizes,
        activation,
        output,
        given if loss is None else loss,
        dtype,
        precision=precision,
    )
    check.integer("seed", settings["seed"], 0)
    check.integer("epochs_trained", settings["epochs_trained"], 0, MOST_STEPS)
    for name in ("standardize_inputs", "standardize_targets", "pixels"):
        if not isinstance(settings.get(name, False), bool):
            raise TypeError(f"{name} must be true or false, got {settings[name]!r}")
    check_network.standardized_targets(settings["standardize_targets"], architecture)
    classes = check_network.classes("classes", settings["classes"], architecture)
    # Files of earlier versions do not hold these two.
    pixels = settings.get("pixels", False)
    features = check_network.feature_names("features", settings.get("features"), architecture)
    others = {name: settings[name] for name in OF_MODEL}
    if unknown := settings.keys() - {*of_architecture, *OF_MODEL, *OPTIONAL, "loss", "classes"}:
        raise ValueError(f"unknown settings {', '.join(sorted(unknown))}")
    return architecture, {**others, "classes": classes, "features": features, "pixels": pixels}


def _state(
    name: str, tensors: Tensors, settings: Any, architecture: Architecture
) -> OptimizerState:
    """Return the state of an optimizer."""
    try:
        optimizer = KINDS[check.one_of("kind", settings["kind"], KINDS)]
        steps = check.integer("steps", settings["steps"], 0, MOST_STEPS)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{name} does not describe an optimizer: {error}") from None
    for i in range(optimizer.slots):
        needed = storage.shapes(architecture, f"optimizer.{i}.")
        storage.check(name, tensors, needed, architecture.dtype)
    inputs = tensors.get("optimizer.inputs")
    if inputs is not None:
        optimizer = replace(optimizer, input_factor=1.0)
        shape = 1 + optimizer.slots, architecture.sizes[0]
        storage.check(name, tensors, {"optimizer.inputs": shape}, architecture.dtype)
        if not inputs[0].all():
            raise ValueError(f"{name}: optimizer.inputs holds a factor of 0; need others")
    state = OptimizerState(optimizer, architecture)
    state.steps = steps
    if state.inputs is not None:
        state.inputs[...] = inputs
    for i, slot in enumerate(state.slots):
        storage.fill(slot, tensors, f"optimizer.{i}.")
    return state


def _average(name: str, tensors: Tensors, settings: Any, model: Model) -> Averaged:
    """Return the average of a run."""
    average = Averaged(model.parameters)
    try:
        average.steps = check.integer("steps", settings["steps"], 0, MOST_STEPS)
        average.moments = check.integer("moments", settings["moments"], 0, MOST_STEPS)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{name} does not describe an average: {error}") from None
    needed = storage.shapes(model.architecture, "average.")
    storage.check(name, tensors, needed, model.architecture.dtype)
    storage.fill(average.parameters, tensors, "average.")
    return average
