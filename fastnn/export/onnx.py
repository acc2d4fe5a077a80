"""Networks in ONNX, for ONNX Runtime and whatever else reads the format.

Operator set 13 is in every runtime since 2020. GELU came with set 20 and Mish with 18, so both are
composed. ONNX Runtime has no kernels in float64 for LeakyRelu, Elu, Selu, Softplus and Erf; these
are composed there of operators that it has. `fastnn.load` reads all of it back.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn.activations import LEAK, SELU_ALPHA, SELU_SCALE
from fastnn.export.description import (
    Activate,
    Description,
    Multiply,
    Operation,
    Product,
    Restore,
    Round,
    Sort,
    Standardize,
)
from fastnn.precision import BFLOAT16

OPSET, IR = 13, 7  # both of onnx 1.8
PRODUCER = "fastnn"
INPUT, NUMBERS, PROBABILITIES, LABELS = "inputs", "outputs", "probabilities", "labels"
ROWS = "rows"
MOST_BYTES = (1 << 31) - (1 << 20)  # of parameters, so that all is below protobuf's 2 GiB

# The normal distribution function in float64: steps, and how many, of the sum in `_normal_cdf`.
STEP, TERMS = 0.5, 13


def content(network: Description, name: str) -> bytes:
    """Return the file of a network.

    Parameters
    ----------
    network : Description
    name : str
        The name of the file, without its ending, which becomes that of the graph.

    Raises
    ------
    ValueError
        If the names of the classes are of several kinds, or beyond 64 bits, or all parameters take
        more than the 2 GiB that a file can hold.
    ImportError
        If onnx is not installed.
    """
    onnx = imported()
    size = sum(getattr(value, "nbytes", 0) for step in network.operations for value in step)
    if size > MOST_BYTES:
        raise ValueError(f"parameters take {size:,} bytes; an ONNX file holds {MOST_BYTES:,}")
    graph = Graph(onnx, network.dtype)
    last = graph.cast(INPUT) if network.pixels else INPUT
    for operation in network.operations:
        last = _add(graph, operation, last, network)
    types = onnx.TensorProto
    number = getattr(types, {"float32": "FLOAT", "float64": "DOUBLE"}[network.dtype.name])
    inputs = (INPUT, types.UINT8 if network.pixels else number, [ROWS, network.inputs])
    outputs = [(PROBABILITIES if network.labels else NUMBERS, number, [ROWS, network.outputs])]
    graph.node("Identity", [last], outputs[0][0])
    if network.labels:
        names = _names(network.labels)
        kind = {bool: types.BOOL, int: types.INT64, str: types.STRING}[type(names[0])]
        _add_labels(graph, last, network.outputs, onnx.helper.make_tensor(
            "classes", kind, [len(names)], names
        ))  # fmt: skip
        outputs.append((LABELS, kind, [ROWS]))
    model = onnx.helper.make_model(
        onnx.helper.make_graph(
            graph.nodes,
            name or "network",
            [onnx.helper.make_tensor_value_info(*inputs)],
            [onnx.helper.make_tensor_value_info(*each) for each in outputs],
            graph.constants,
        ),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR,
        producer_name=PRODUCER,
        producer_version=_version(),
    )
    known = {"classes": network.classes, "features": network.features, "levels": _levels(network)}
    about = {key: json.dumps(value) for key, value in known.items() if value is not None}
    if network.rounds:
        about["precision"] = BFLOAT16
    onnx.helper.set_model_props(model, about)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def imported() -> Any:
    """Import and return onnx.

    Raises
    ------
    ImportError
        If it is not installed.
    """
    try:
        import onnx
        import onnx.checker
    except ModuleNotFoundError as error:
        raise ImportError("ONNX files need onnx: pip install 'fastnn-cpu[onnx]'") from error
    return onnx


class Graph:
    """Nodes and constants, as they are added.

    Parameters
    ----------
    onnx : module
    dtype : numpy.dtype
        Of all computations.
    """

    def __init__(self, onnx: Any, dtype: np.dtype) -> None:
        self.onnx = onnx
        self.dtype = dtype
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def node(self, kind: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        """Add a node, and return the name of its output."""
        output = output or f"{kind}_{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(kind, inputs, [output], **attributes))
        return output

    def constant(self, value: Any, name: str = "", dtype: Any = None) -> str:
        """Add numbers, and return their name."""
        name = name or f"constant_{len(self.constants)}"
        array = np.asarray(value, self.dtype if dtype is None else dtype)
        self.constants.append(self.onnx.numpy_helper.from_array(array, name))
        return name

    def cast(self, x: str) -> str:
        """Add a conversion to the dtype of all computations."""
        kind = self.onnx.helper.np_dtype_to_tensor_dtype(self.dtype)
        return self.node("Cast", [x], to=kind)

    def of_two(self, kind: str, x: str, y: str | float) -> str:
        """Add a node of two inputs, the second of which may be a number."""
        return self.node(kind, [x, y if isinstance(y, str) else self.constant(y)])

    def of_one(self, kind: str, x: str) -> str:
        """Add a node of one input."""
        return self.node(kind, [x])


def _add(g: Graph, operation: Operation, x: str, network: Description) -> str:
    """Add an operation, and return the name of its result."""
    match operation:
        case Multiply(factor):
            return g.node("Mul", [x, g.constant(factor)])
        case Standardize(mean, scale):
            centred = g.node("Sub", [x, g.constant(mean, "input_mean")])
            return g.node("Mul", [centred, g.constant(scale, "input_scale")])
        case Round():
            return g.cast(g.node("Cast", [x], to=g.onnx.TensorProto.BFLOAT16))
        case Product(weights, biases):
            l = sum(node.op_type == "Gemm" for node in g.nodes)
            parameters = [g.constant(weights, f"weights_{l}"), g.constant(biases, f"biases_{l}")]
            return g.node("Gemm", [x, *parameters])
        case Activate(name):
            return _activations(g)[name](x)
        case Restore(mean, scale):
            restored = g.node("Div", [x, g.constant(scale, "target_scale")])
            return g.node("Add", [restored, g.constant(mean, "target_mean")])
        case Sort():
            count = g.constant([network.outputs], "count", np.int64)
            values, places = "sorted", "places"
            g.nodes.append(g.onnx.helper.make_node("TopK", [x, count], [values, places], largest=0))
            return values


def _activations(g: Graph) -> dict[str, Callable[[str], str]]:
    """Return what adds each activation."""
    single = g.dtype == np.float32

    def plain(kind: str) -> Callable[[str], str]:
        return lambda x: g.of_one(kind, x)

    return {
        "identity": lambda x: x,
        "sigmoid": plain("Sigmoid"),
        "tanh": plain("Tanh"),
        "relu": plain("Relu"),
        "softmax": lambda x: g.node("Softmax", [x], axis=-1),
        "exponential": plain("Exp"),
        "silu": lambda x: g.of_two("Mul", x, g.of_one("Sigmoid", x)),
        "leaky_relu": lambda x: (
            g.node("LeakyRelu", [x], alpha=LEAK)
            if single
            else g.of_two("Max", x, g.of_two("Mul", x, LEAK))
        ),
        "elu": plain("Elu") if single else lambda x: _elu(g, x, 1),
        "selu": lambda x: (
            g.node("Selu", [x], alpha=SELU_ALPHA, gamma=SELU_SCALE)
            if single
            else g.of_two("Mul", _elu(g, x, SELU_ALPHA), SELU_SCALE)
        ),
        "softplus": lambda x: _softplus(g, x),
        "mish": lambda x: g.of_two("Mul", x, g.of_one("Tanh", _softplus(g, x))),
        "gelu": lambda x: g.of_two("Mul", x, _normal_cdf(g, x)),
    }


def _elu(g: Graph, x: str, alpha: float) -> str:
    """Add ``max(x, 0) + alpha (exp(min(x, 0)) - 1)``, in float64."""
    below = g.of_one("Exp", g.of_one("Neg", g.of_one("Relu", g.of_one("Neg", x))))
    below = g.of_two("Mul", g.of_two("Sub", below, 1), alpha)
    return g.of_two("Add", g.of_one("Relu", x), below)


def _softplus(g: Graph, x: str) -> str:
    """Add ``log(1 + exp(x))``, in float64 without overflow of ``exp``."""
    if g.dtype == np.float32:
        return g.of_one("Softplus", x)
    small = g.of_one("Exp", g.of_one("Neg", g.of_one("Abs", x)))
    return g.of_two("Add", g.of_one("Relu", x), g.of_one("Log", g.of_two("Add", small, 1)))


def _normal_cdf(g: Graph, z: str) -> str:
    """Add the distribution function of the standard normal.

    In float64, with ``x = z / sqrt(2)`` and ``t_n = (n + 1/2) h``, it is ``sigmoid(2 pi x / h) -
    (h / pi) x exp(-x^2) sum_n exp(-t_n^2) / (t_n^2 + x^2)``: the midpoint rule for the integral of
    erfc, and the residue of its pole (Hunter and Regan, 1972). With h = 1/2 it is exact to 1e-16.
    """
    if g.dtype == np.float32:
        portion = g.of_one("Erf", g.of_two("Mul", z, math.sqrt(0.5)))
        return g.of_two("Mul", g.of_two("Add", portion, 1), 0.5)
    square = g.of_two("Mul", g.of_two("Mul", z, z), 0.5)
    terms = []
    for n in range(TERMS):
        t = (n + 0.5) * STEP
        numerator = g.constant(STEP / math.pi * math.sqrt(0.5) * math.exp(-t * t))
        terms.append(g.node("Div", [numerator, g.of_two("Add", square, t * t)]))
    decay = g.of_one("Exp", g.of_one("Neg", square))
    rest = g.of_two("Mul", g.of_two("Mul", z, decay), g.node("Sum", terms))
    step = g.of_one("Sigmoid", g.of_two("Mul", z, math.sqrt(2) * math.pi / STEP))
    return g.of_two("Sub", step, rest)


def _add_labels(g: Graph, probabilities: str, outputs: int, names: Any) -> None:
    """Add the names of the classes that `predict` returns."""
    g.constants.append(names)
    if outputs == 1:
        above = g.of_two("Greater", probabilities, 0.5)
        position = g.node("Cast", [above], to=g.onnx.TensorProto.INT64)
        position = g.node("Squeeze", [position, g.constant([1], "column", np.int64)])
    else:
        position = g.node("ArgMax", [probabilities], axis=1, keepdims=0)
    g.node("Gather", [names.name, position], LABELS)


def _names(labels: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """Return the names of the classes, if a tensor can hold them."""
    if len(set(map(type, labels))) > 1:
        raise ValueError(
            f"classes are of several types, and those of an ONNX file of one; got {labels!r}: "
            "assign strings to net.classes"
        )
    for name in labels:
        if isinstance(name, str):
            try:
                name.encode()
            except UnicodeEncodeError:
                raise ValueError(f"classes must be UTF-8 for an ONNX file; got {name!r}") from None
        elif name >= 1 << 63:
            raise ValueError(f"classes must fit into 64 bits for an ONNX file; got {name}")
    return labels


def _levels(network: Description) -> tuple[float, ...] | None:
    last = network.operations[-1]
    return last.levels if isinstance(last, Sort) else None


def _version() -> str:
    import fastnn

    return fastnn.__version__
