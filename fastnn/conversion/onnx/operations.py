"""Operations of ONNX: what each makes of values that depend on the input, and of constants."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fastnn.activations import Array
from fastnn.conversion.onnx import elementwise, steps, tensors
from fastnn.conversion.onnx.steps import SOFTMAX, SORTED, Product, Refused, Value

PLAIN, ML = "", "ai.onnx.ml"
_DOMAINS = {"ai.onnx": PLAIN}


def result(node: Any, operands: list[Any], rows: int) -> Any:
    """Return what a node makes: a value, or a constant.

    Parameters
    ----------
    node : onnx.NodeProto
    operands : list
        Values, arrays, lists of strings, or None for what is left out.
    rows : int
        Of the input, or 0 if any number will do.

    Raises
    ------
    ValueError
        If fastnn has no such operation.
    """
    kind, domain = node.op_type[:100], _DOMAINS.get(node.domain, node.domain[:100])
    if (domain, kind) not in HANDLED:
        known = ", ".join(sorted(name for _, name in HANDLED))
        of = domain and f" of {domain}"
        raise Refused(f"{kind}{of} is not part of any network of fastnn; what may be is {known}")
    handler, fewest, most = HANDLED[domain, kind]
    if not fewest <= len(operands) <= most or any(each is None for each in operands[:fewest]):
        raise Refused(f"{kind} has {len(operands)} inputs; need {fewest} to {most}")
    return handler(node, operands, rows)


def attributes(node: Any, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of a node, which must be known and of the types of their defaults."""
    values = dict(defaults)
    for each in node.attribute:
        match defaults.get(each.name), each.type:
            case float(), each.FLOAT:
                values[each.name] = float(each.f)
            case int(), each.INT:
                values[each.name] = int(each.i)
            case str(), each.STRING:
                values[each.name] = each.s.decode()
            case tuple(), each.FLOATS:
                values[each.name] = np.fromiter(each.floats, np.float32, len(each.floats))
            case list(), each.INTS:
                values[each.name] = list(each.ints)
            case _:
                raise Refused(f"{node.op_type} has the attribute {each.name[:100]!r}")
    return values


def _elementwise(node: Any, operands: list[Any], rows: int) -> Value:
    if not any(isinstance(each, Value) for each in operands) or any(
        each is None for each in operands
    ):
        raise Refused(f"{node.op_type} of constants alone")
    known = elementwise.OPERATIONS[node.op_type]
    return steps.combined(node.op_type, operands, attributes(node, known.attributes))


def _gemm(node: Any, operands: list[Any], rows: int) -> Value:
    given = attributes(node, {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0})
    if given["transA"]:
        raise Refused("Gemm with transA: rows would be columns")
    weights = _weights("Gemm", operands[1])
    biases = operands[2] if len(operands) > 2 else None
    product = Product(weights, bool(given["transB"]), None, given["alpha"], given["beta"])
    if biases is not None:
        width = product.shape[1]
        fits = _is_numbers(biases) and biases.ndim <= 2 and biases.size in (1, width)
        if not fits or (biases.size > 1 and biases.shape[-1] != width):
            raise Refused(f"Gemm of {width} columns with other biases")
        product = product._replace(biases=biases.reshape(-1))
    return steps.multiplied(_value("Gemm", operands[0]), product)


def _matmul(node: Any, operands: list[Any], rows: int) -> Value:
    attributes(node, {})
    weights = _weights("MatMul", operands[1])
    return steps.multiplied(_value("MatMul", operands[0]), Product(weights))


def _softmax(node: Any, operands: list[Any], rows: int) -> Value:
    if attributes(node, {"axis": -1})["axis"] not in (-1, 1):
        raise Refused("Softmax is along another axis than the last")
    return steps.at_the_end(_value("Softmax", operands[0]), SOFTMAX)


def _top_k(node: Any, operands: list[Any], rows: int) -> Value:
    given = attributes(node, {"axis": -1, "largest": 1, "sorted": 1})
    value, count = _value("TopK", operands[0]), operands[1]
    whole = _is_integers(count) and count.size == 1 and int(count.reshape(())) == value.stage.width
    if not whole or given["largest"] or not given["sorted"] or given["axis"] not in (-1, 1):
        raise Refused("TopK does not sort all columns in ascending order")
    return steps.at_the_end(value, SORTED)


def _concat(node: Any, operands: list[Any], rows: int) -> Value:
    """Return the probability of class 1 of both classes."""
    axis = attributes(node, {"axis": 0})["axis"]
    match operands:
        case [Value() as other, Value() as value] if (
            other.stage is value.stage
            and value.stage.width == 1
            and other.samples is not None
            and value.samples is not None
            and axis in (-1, 1)
            and elementwise.activation_of(value.samples) == "sigmoid"
            and elementwise.are_opposite(other.samples, value.samples)
        ):
            return value
    raise Refused("Concat joins something else than the probabilities of two classes")


def _scaler(node: Any, operands: list[Any], rows: int) -> Value:
    given = attributes(node, {"offset": (), "scale": ()})
    value: Value = _value("Scaler", operands[0])
    for kind, name in (("Sub", "offset"), ("Mul", "scale")):
        value = steps.combined(kind, [value, np.asarray(given[name], np.float32)], {})
    return value


def _identity(node: Any, operands: list[Any], rows: int) -> Any:
    attributes(node, {})
    return operands[0]


def _cast(node: Any, operands: list[Any], rows: int) -> Any:
    kind = attributes(node, {"to": 0, "saturate": 1})["to"]
    if isinstance(operands[0], Value):
        if kind not in tensors.FLOATS:
            raise Refused("Cast to other numbers than floats within the network")
    elif not _is_numbers(operands[0]) or kind not in (tensors.FLOAT, tensors.DOUBLE):
        raise Refused("Cast of constants to other numbers than float32 and float64")
    elif operands[0].dtype == np.float64 and kind == tensors.FLOAT:
        raise Refused("Cast of float64 to float32")
    return operands[0]


def _dropout(node: Any, operands: list[Any], rows: int) -> Value:
    attributes(node, {"ratio": 0.5, "seed": 0, "is_test": 0})
    training = operands[2] if len(operands) > 2 else None
    if training is not None and (not isinstance(training, np.ndarray) or training.any()):
        raise Refused("Dropout is in training mode")
    return _value("Dropout", operands[0])


def _flatten(node: Any, operands: list[Any], rows: int) -> Value:
    value = _value("Flatten", operands[0])
    axis = attributes(node, {"axis": 1})["axis"]
    if axis != 1:
        raise Refused(f"Flatten from axis {axis}; need 1")
    return steps.flat(value)


def _reshape(node: Any, operands: list[Any], rows: int) -> Value:
    value, shape = _value("Reshape", operands[0]), operands[1]
    given = attributes(node, {"allowzero": 0})
    sizes = tuple(shape.tolist()) if _is_integers(shape) and shape.ndim == 1 else ()
    first, columns = sizes if len(sizes) == 2 else (None, None)
    keeps = (first == 0 and not given["allowzero"]) or first == (rows or None)
    whole = columns == value.stage.width
    if not (keeps and (whole or columns == -1)) and not (first == -1 and whole):
        raise Refused(f"Reshape of {value.stage.width} columns to {sizes[:9]}")
    return steps.flat(value)


def _transpose(node: Any, operands: list[Any], rows: int) -> Array:
    order = attributes(node, {"perm": []})["perm"]
    return _weights("Transpose", operands[0]).T if order in ([], [1, 0]) else operands[0]


def _constant(node: Any, operands: list[Any], rows: int) -> Any:
    (given, *others) = node.attribute or [None]
    if given is None or others:
        raise Refused(f"Constant has {len(node.attribute)} attributes; need one")
    match given.name, given.type:
        case "value", given.TENSOR:
            return tensors.array_of(given.t)
        case "value_float", given.FLOAT:
            return np.array(given.f, np.float32)
        case "value_floats", given.FLOATS:
            return np.fromiter(given.floats, np.float32, len(given.floats))
        case "value_int", given.INT:
            return np.array(given.i, np.int64)
        case "value_ints", given.INTS:
            return np.fromiter(given.ints, np.int64, len(given.ints))
    raise Refused(f"Constant has the attribute {given.name[:100]!r}")


def _value(kind: str, operand: Any) -> Value:
    if not isinstance(operand, Value):
        raise Refused(f"{kind} of a constant; need what depends on the input")
    return operand


def _weights(kind: str, operand: Any) -> Array:
    if isinstance(operand, Value):
        raise Refused(f"{kind} multiplies what depends on the input with itself")
    if not _is_numbers(operand) or operand.ndim != 2:
        raise Refused(f"{kind} with weights that are no matrix of floats")
    return operand


def _is_numbers(operand: Any) -> bool:
    return isinstance(operand, np.ndarray) and operand.dtype.kind == "f"


def _is_integers(operand: Any) -> bool:
    return isinstance(operand, np.ndarray) and operand.dtype.kind == "i"


Handler = Callable[[Any, list[Any], int], Any]
# With the fewest and the most inputs.
HANDLED: dict[tuple[str, str], tuple[Handler, int, int]] = {
    (PLAIN, "Cast"): (_cast, 1, 1),
    (PLAIN, "Concat"): (_concat, 2, 2),
    (PLAIN, "Constant"): (_constant, 0, 0),
    (PLAIN, "Dropout"): (_dropout, 1, 3),
    (PLAIN, "Flatten"): (_flatten, 1, 1),
    (PLAIN, "Gemm"): (_gemm, 2, 3),
    (PLAIN, "Identity"): (_identity, 1, 1),
    (PLAIN, "MatMul"): (_matmul, 2, 2),
    (PLAIN, "Reshape"): (_reshape, 2, 2),
    (PLAIN, "Softmax"): (_softmax, 1, 1),
    (PLAIN, "TopK"): (_top_k, 2, 2),
    (PLAIN, "Transpose"): (_transpose, 1, 1),
    (ML, "Scaler"): (_scaler, 1, 1),
    **{(PLAIN, kind): (_elementwise, *elementwise.INPUTS[kind]) for kind in elementwise.OPERATIONS},
}
