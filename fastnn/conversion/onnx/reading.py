"""Multi-layer perceptrons in ONNX files, of fastnn and of other libraries.

Operations on single numbers are known by what they give (`elementwise`), so an
activation may be written in any way. Only what the output depends on is read.
"""

from __future__ import annotations

import json
import math
import os
from typing import Any, NamedTuple

import numpy as np

from fastnn.activations import OUTPUT
from fastnn.conversion.building import Layer, built
from fastnn.conversion.onnx import elementwise, operations, steps, tensors
from fastnn.conversion.onnx.parts import is_small
from fastnn.conversion.onnx.steps import (
    SOFTMAX,
    SORTED,
    Centred,
    Linear,
    Product,
    Refused,
    Restored,
    Value,
    is_nothing,
)
from fastnn.export.onnx import NUMBERS, PROBABILITIES, PRODUCER, imported
from fastnn.losses import Custom, Loss, Quantile
from fastnn.model.scaling import Scaler
from fastnn.network import Network
from fastnn.writing import check_file

MOST_NODES = 10_000
MOST_BYTES = 1 << 31  # what protobuf reads
FIRST_OPSET = 7  # before it, operations had other attributes
DOMAINS = ("", "ai.onnx")


def load(path: str | os.PathLike[str], loss: Custom | None = None) -> Network:
    """Return the network of an ONNX file; see `fastnn.load`.

    Parameters
    ----------
    path : str or path
    loss : callable, optional
        A loss of one's own.

    Raises
    ------
    OSError
        If the file cannot be read.
    TypeError
        If ``path`` is no path.
    ValueError
        If the file is damaged, or not that of a network that fastnn has.
    ImportError
        If onnx is not installed.
    """
    path = check_file(path)
    imported()
    from google.protobuf.message import DecodeError
    from onnx import ModelProto

    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > MOST_BYTES:
            raise ValueError(f"{path!r} has {size:,} bytes; an ONNX file has up to {MOST_BYTES:,}")
        content = file.read()
    try:
        if not is_small(content, ModelProto.DESCRIPTOR):
            raise Refused("it consists of more parts than any network does")
        model = ModelProto.FromString(content)
        return _network(model, len(content), loss)
    except DecodeError:
        raise ValueError(f"{path!r} is not an ONNX file, or is damaged") from None
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"{path!r} cannot be loaded: {error}") from None


def _network(model: Any, size: int, loss: Custom | None) -> Network:
    graph = model.graph
    if not graph.node:
        raise Refused("it holds no operations, or is not an ONNX file")
    if len(graph.node) > MOST_NODES:
        raise Refused(f"it has {len(graph.node):,} operations; need at most {MOST_NODES:,}")
    for used in model.opset_import:
        if used.domain in DOMAINS and used.version < FIRST_OPSET:
            raise Refused(f"its operator set is {used.version}; need at least {FIRST_OPSET}")
    constants = Constants(graph)
    name = _output(graph)
    last, is_pixels = _followed(graph, constants, name)
    layers, scalers = _layers(last, size)
    known = _metadata(model)
    output = layers[-1].activation
    if output not in OUTPUT:
        raise Refused(f"its output is {output}; fastnn's are {', '.join(OUTPUT)}")
    classes = known.get("classes")
    if classes is None and output in ("softmax", "sigmoid"):
        classes = _classes(graph, constants, max(2, len(layers[-1].biases)))
    chosen: Loss | None = loss
    if last.stage.kind == SORTED and loss is None:
        count = len(layers[-1].biases)
        even = [(i + 1) / (count + 1) for i in range(count)]
        chosen = Quantile(tuple(known.get("levels") or even))
    return built(
        layers,
        layers[0].weights.dtype,
        classes=classes,
        features=known.get("features"),
        input_scaler=scalers[0],
        target_scaler=scalers[1],
        pixels=is_pixels,
        loss=chosen,
        precision=known.get("precision"),
    )


class Constants:
    """The constants of a graph, each read at its first use.

    Parameters
    ----------
    graph : onnx.GraphProto
    """

    def __init__(self, graph: Any) -> None:
        self._tensors = {tensor.name: tensor for tensor in graph.initializer}
        self._read: dict[str, Any] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._tensors or name in self._read

    def __getitem__(self, name: str) -> Any:
        if name not in self._read:
            self._read[name] = tensors.array_of(self._tensors[name])
        return self._read[name]

    def get(self, name: str) -> Any:
        """Return a constant, or None if there is none of that name."""
        return self[name] if name in self else None  # noqa: SIM401 - this is what it says

    def add(self, name: str, value: Any) -> None:
        """Add what a node makes."""
        self._read[name] = value


def _output(graph: Any) -> str:
    """Return the name of the tensor with the outputs: numbers or probabilities, not labels."""
    makers = {node.output[0]: node for node in graph.node if node.output}
    found = {}
    for each in graph.output:
        maker = makers.get(each.name)
        if maker is not None and maker.op_type == "ZipMap" and maker.input:
            found[maker.input[0]] = each.name
        elif each.type.tensor_type.elem_type in tensors.FLOATS:
            found[each.name] = each.name
    for tensor, name in found.items():
        if len(found) == 1 or name in (PROBABILITIES, NUMBERS):
            return tensor
    names = ", ".join(repr(name) for name in list(found.values())[:5])
    raise Refused(f"it has {len(found)} outputs of numbers{names and ': '}{names}; need one")


def _input(graph: Any, constants: Constants) -> tuple[str, Value, int]:
    """Return the name of the input, what it is, and the fixed number of rows or 0."""
    given = [each for each in graph.input if each.name not in constants]
    if len(given) != 1:
        raise Refused(f"it has {len(given)} inputs; need one, with a row for each example")
    (only,) = given
    described = only.type.tensor_type
    known = (*tensors.FLOATS, tensors.UINT8, tensors.INT32, tensors.INT64)
    if described.elem_type not in known:
        raise Refused(f"its input is of ONNX's type {described.elem_type}; need numbers")
    unit = 255.0 if described.elem_type == tensors.UINT8 else 1.0
    if not described.HasField("shape"):
        return only.name, steps.inputs(None, unit=unit), 0
    sizes = [max(0, each.dim_value) for each in described.shape.dim]
    if len(sizes) < 2 or len(sizes) > 8:
        raise Refused(f"its input has {len(sizes)} dimensions; need rows and columns")
    width = math.prod(sizes[1:]) or None
    return only.name, steps.inputs(width, len(sizes) == 2, unit), sizes[0]


def _followed(graph: Any, constants: Constants, output: str) -> tuple[Value, bool]:
    """Return what the output is, after following the graph to it, and whether of pixels."""
    name, first, rows = _input(graph, constants)
    values: dict[str, Any] = {name: first}
    for node in _needed(graph, output):
        operands = []
        for each in node.input:
            if each and each not in values and each not in constants:
                missing = f"{node.op_type[:100]} needs {each[:100]!r}"
                raise Refused(f"{missing}, which nothing before it makes")
            operands.append(values.get(each) or (constants[each] if each else None))
        if not node.output or node.output[0] in values or node.output[0] in constants:
            raise Refused(f"{node.op_type[:100]} makes a tensor that is there already, or none")
        made = operations.result(node, operands, rows)
        if isinstance(made, Value):
            values[node.output[0]] = made
        else:
            constants.add(node.output[0], made)
    if output not in values:
        raise Refused("its output does not depend on its input")
    return values[output], first.stage.unit != 1


def _needed(graph: Any, output: str) -> list[Any]:
    """Return the nodes that an output depends on, in their order."""
    wanted, found = {output}, []
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            found.append(node)
    return found[::-1]


def _layers(last: Value, size: int) -> tuple[list[Layer], list[Scaler | None]]:
    """Return the layers that lead to a value, and the scalers of inputs and targets.

    Raises
    ------
    Refused
        If there is none, an activation is unknown, numbers are not finite, or all take more room
        than the file, as those of layers that share their weights would.
    """
    value, found = last, list[Part]()
    if last.stage.kind in steps.ENDS and last.stage.before is not None:
        value = last.stage.before
    if last.stage.kind == SOFTMAX:
        found.append(Part(value.stage.product, "softmax", value.linear))
        value = value.stage.before
    while value.stage.before is not None:
        found.append(_part(value))
        value = value.stage.before
    if not found:
        raise Refused("it has no layers")
    if sum(math.prod(part.product.shape) for part in found) > size:
        raise Refused("its layers share their weights, which those of fastnn cannot")
    wide = any(part.product.weights.dtype.itemsize == 8 for part in found)
    dtype = np.dtype("float64" if wide else "float32")
    targets = None
    product, activation, linear = found[0]
    if activation == "identity" and not is_nothing(linear) and np.all(linear.scale > 0):
        targets = _scaler("outputs", linear, product.shape[1], dtype)
        found[0] = Part(product, activation, Restored())
    layers = [_layer(part, dtype) for part in reversed(found)]
    for l, layer in enumerate(layers):
        if not (np.isfinite(layer.weights).all() and np.isfinite(layer.biases).all()):
            raise Refused(f"layer {l} has weights or biases that are not finite")
    unit = value.stage.unit
    centred = Centred(value.linear.shift / unit, value.linear.scale * unit)
    inputs = None
    if not is_nothing(centred):
        inputs = _scaler("inputs", centred, len(layers[0].weights), dtype)
    return layers, [inputs, targets]


class Part(NamedTuple):
    """A layer as it is found: its activation is of ``x / scale + shift`` of its product."""

    product: Product
    activation: str
    linear: Restored


def _part(value: Value) -> Part:
    """Return the layer whose activation a value is."""
    stage = value.stage
    if isinstance(value.linear, Restored):
        return Part(stage.product, "identity", value.linear)
    name = None if value.samples is None else elementwise.activation_of(value.samples)
    if name is None:
        known = ", ".join(elementwise.KNOWN)
        raise Refused(
            f"what ends with {value.kind} is none of the activations of fastnn, which are {known}; "
            "their numbers, such as the slope of leaky_relu, are fixed"
        )
    return Part(stage.product, name, stage.linear)


def _layer(part: Part, dtype: np.dtype) -> Layer:
    """Return a layer, with what happens between its product and its activation in its numbers."""
    product, activation, linear = part
    weights = product.weights.T if product.transposed else product.weights
    biases = np.zeros(product.shape[1]) if product.biases is None else product.biases
    with np.errstate(all="ignore"):
        if product.alpha != 1:
            weights = weights * product.alpha
        biases = np.broadcast_to(biases * product.beta, product.shape[1])
        if not is_nothing(linear):
            weights, biases = weights / linear.scale, biases / linear.scale + linear.shift
        return Layer(weights.astype(dtype), biases.astype(dtype), activation)


def _scaler(name: str, linear: Linear, width: int, dtype: np.dtype) -> Scaler:
    with np.errstate(all="ignore"):
        scaler = Scaler(
            *(np.broadcast_to(each, width).astype(dtype) for each in (linear.shift, linear.scale))
        )
    if not all(np.isfinite(each).all() for each in scaler) or not (scaler.scale > 0).all():
        raise Refused(f"its {name} are standardised by numbers that are not finite and above 0")
    return scaler


def _metadata(model: Any) -> dict[str, Any]:
    """Return what fastnn has written about classes, features, levels and precision."""
    if model.producer_name != PRODUCER:
        return {}
    found = {}
    for each in model.metadata_props:
        if each.key in ("classes", "features", "levels"):
            found[each.key] = json.loads(each.value)
            if not isinstance(found[each.key], list):
                raise Refused(f"its {each.key} are {each.value[:100]}; need a list")
        if each.key == "precision":
            found[each.key] = each.value
    return found


def _classes(graph: Any, constants: Constants, count: int) -> list[Any] | None:
    """Return the names of the classes that the labels are chosen from, unless these are numbers.

    Other libraries put them into nodes after the probabilities.
    """
    for node in graph.node:
        names: Any = None
        if node.op_type == "ZipMap":
            for each in node.attribute:
                if each.name == "classlabels_strings":
                    names = [name.decode() for name in each.strings]
                elif each.name == "classlabels_int64s":
                    names = list(each.ints)
        elif node.op_type in ("Gather", "ArrayFeatureExtractor") and node.input:
            names = constants.get(node.input[0])
            if isinstance(names, np.ndarray) and names.dtype.kind in "ib" and names.ndim == 1:
                names = names.tolist()
        if isinstance(names, list) and len(names) == count:
            return None if names == list(range(count)) else names
    return None
