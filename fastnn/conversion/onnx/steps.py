"""What the tensors of a graph are, in terms of the layer that they come from.

A graph is followed from its input. Each `Stage` begins where numbers of several columns meet: at
the inputs, a product, a softmax or a sort. Within a stage each number goes its own way, so a
`Value` is a function of one number, kept as what it gives for the numbers of a grid, and as
multiplication and addition as long as it is no more than that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fastnn.activations import Array
from fastnn.conversion.onnx import elementwise
from fastnn.conversion.onnx.elementwise import GRID

INPUTS, PRODUCT, SOFTMAX, SORTED = "inputs", "product", "Softmax", "TopK"
ENDS = (SOFTMAX, SORTED)
ROUNDING = 1e-6


class Refused(ValueError):
    """A graph is not that of a multi-layer perceptron of fastnn."""


class Centred(NamedTuple):
    """Of the inputs ``(x - shift) * scale``, with a number or one for each column."""

    shift: Any = 0.0
    scale: Any = 1.0

    def plus(self, c: Any) -> Centred:
        """Return this plus a constant."""
        return Centred(self.shift - c / np.asarray(self.scale), self.scale)

    def times(self, c: Any) -> Centred:
        """Return this times a constant."""
        return Centred(self.shift, self.scale * c)

    def over(self, c: Any) -> Centred:
        """Return this divided by a constant."""
        return Centred(self.shift, self.scale / np.asarray(c))


class Restored(NamedTuple):
    """Of a product ``x / scale + shift``, with a number or one for each column."""

    shift: Any = 0.0
    scale: Any = 1.0

    def plus(self, c: Any) -> Restored:
        """Return this plus a constant."""
        return Restored(self.shift + c, self.scale)

    def times(self, c: Any) -> Restored:
        """Return this times a constant."""
        return Restored(self.shift * c, self.scale / np.asarray(c))

    def over(self, c: Any) -> Restored:
        """Return this divided by a constant."""
        return Restored(self.shift / np.asarray(c), self.scale * c)


Linear = Centred | Restored
UNCHANGED = Restored()


def is_nothing(linear: Linear) -> bool:
    """Return whether multiplication and addition change nothing."""
    return bool(np.all(np.asarray(linear.shift) == 0) and np.all(np.asarray(linear.scale) == 1))


class Product(NamedTuple):
    """``alpha x weights + beta biases``, as they are stored."""

    weights: Array
    transposed: bool = False
    biases: Any = None
    alpha: float = 1.0
    beta: float = 1.0

    @property
    def shape(self) -> tuple[int, int]:
        """Inputs and outputs."""
        rows, columns = self.weights.shape
        return (columns, rows) if self.transposed else (rows, columns)


@dataclass(eq=False)
class Stage:
    """Where numbers of several columns meet.

    Attributes
    ----------
    kind : str
        One of the constants of this module.
    width : int or None
        Columns, if known.
    before : Value or None
        What goes into it.
    product : Product or None
        If it is one.
    linear : Restored
        What happens between the product and the numbers of the grid.
    is_flat : bool
        Whether there are rows and columns and nothing else.
    unit : float
        What stands for 1 in the network: 255 for pixels that have not been divided yet.
    """

    kind: str
    width: int | None
    before: Any = None
    product: Any = None
    linear: Restored = UNCHANGED
    is_flat: bool = True
    unit: float = 1.0


@dataclass(eq=False)
class Value:
    """A tensor that depends on the input.

    Attributes
    ----------
    stage : Stage
    samples : ndarray or None
        Of a product, what it is for each number of the grid.
    linear : Centred, Restored or None
        What it is of the inputs, or of the product, if it is no more than that.
    kind : str
        The operation that it is the result of, within an activation.
    """

    stage: Stage
    samples: Array | None
    linear: Any
    kind: str = ""


def inputs(width: int | None, is_flat: bool = True, unit: float = 1.0) -> Value:
    """Return the inputs."""
    return Value(Stage(INPUTS, width, is_flat=is_flat, unit=unit), None, Centred())


def flat(value: Value) -> Value:
    """Return inputs with all columns side by side."""
    stage = value.stage
    if stage.is_flat:
        return value
    return Value(Stage(INPUTS, stage.width, unit=stage.unit), None, value.linear)


def multiplied(value: Value, product: Product) -> Value:
    """Return a product, which the activation of the value goes into."""
    stage = value.stage
    fan_in, fan_out = product.shape
    if stage.kind in ENDS:
        raise Refused(f"a layer follows {stage.kind}, which is for outputs alone")
    if not stage.is_flat:
        raise Refused("a product of inputs of more than two dimensions; need Flatten before it")
    if stage.width not in (None, fan_in):
        raise Refused(f"a product of {stage.width} columns with weights for {fan_in}")
    if not fan_in or not fan_out:
        raise Refused(f"weights of shape {product.weights.shape}; need at least one number")
    return Value(Stage(PRODUCT, fan_out, value, product), GRID, Restored())


def at_the_end(value: Value, kind: str) -> Value:
    """Return the softmax or the sorted numbers of a value."""
    stage = value.stage
    if stage.kind != PRODUCT or (kind == SOFTMAX and value.linear is None):
        raise Refused(f"{kind} does not follow a product")
    return Value(Stage(kind, stage.width, value), None, None)


def combined(kind: str, operands: list[Any], attributes: dict[str, Any]) -> Value:
    """Return the result of an operation on single numbers, of values and constants."""
    values = [each for each in operands if isinstance(each, Value)]
    stage = values[0].stage
    if any(each.stage is not stage for each in values):
        raise Refused(f"{kind} joins different layers; fastnn has no connections that skip one")
    if stage.kind in ENDS:
        raise Refused(f"{kind} follows {stage.kind}, which is for outputs alone")
    operands = [
        each if isinstance(each, Value) else _constant(kind, each, stage) for each in operands
    ]
    constants = [each for each in operands if not isinstance(each, Value)]
    if len(values) == 1 and len(constants) == 1:
        done = _pixels(kind, operands, stage) or _with_biases(kind, values[0], constants[0])
        if done is not None:
            return done
    linear = _linear(kind, operands) if len(values) == 1 else None
    if stage.kind == INPUTS:
        if linear is None:
            raise Refused(f"{kind} of the inputs, which may only be standardised")
        return Value(stage, None, linear)
    if any(np.ndim(constant) for constant in constants):
        if not isinstance(linear, Restored):
            raise Refused(f"{kind} with a constant of {stage.width} numbers within an activation")
        return Value(Stage(PRODUCT, stage.width, stage.before, stage.product, linear), GRID, linear)
    samples = [each.samples if isinstance(each, Value) else each for each in operands]
    return Value(stage, elementwise.applied(kind, samples, attributes), linear, kind)


@np.errstate(invalid="ignore")  # of NaN, which is refused at the end
def _constant(kind: str, given: Any, stage: Stage) -> Any:
    """Return a number, or an array with one for each column of a stage."""
    if isinstance(given, list) or given.dtype.kind not in "fiu" or given.ndim > 2:
        raise Refused(f"{kind} with a constant that is not a number, or one for each column")
    if given.size == 1:
        return float(given.reshape(())[()])
    if not stage.is_flat:
        raise Refused(f"{kind} with a constant of shape {given.shape} before Flatten")
    if stage.width is None and given.size:
        stage.width = given.shape[-1]
    if given.shape not in ((stage.width,), (1, stage.width)):
        raise Refused(f"{kind} of {stage.width} columns with a constant of shape {given.shape}")
    return given.reshape(-1).astype(np.float64)


def _pixels(kind: str, operands: list[Any], stage: Stage) -> Value | None:
    """Return pixels after the division by 255, if this is it."""
    value, constant = operands if isinstance(operands[0], Value) else operands[::-1]
    if stage.unit == 1 or not is_nothing(value.linear) or np.ndim(constant):
        return None
    factor = constant if kind == "Mul" else 1 / constant if kind == "Div" and constant else 0
    if (kind == "Div" and value is not operands[0]) or abs(factor * stage.unit - 1) > ROUNDING:
        return None
    return inputs(stage.width, stage.is_flat)


def _with_biases(kind: str, value: Value, biases: Any) -> Value | None:
    """Return a product with biases, if it has none yet and nothing else has happened to it."""
    stage = value.stage
    product = stage.product
    if kind != "Add" or product is None or product.biases is not None:
        return None
    if value.samples is not GRID or not is_nothing(stage.linear):
        return None
    whole = product._replace(biases=np.asarray(biases))
    return Value(Stage(PRODUCT, stage.width, stage.before, whole), GRID, Restored())


@np.errstate(all="ignore")  # what is not finite is refused at the end
def _linear(kind: str, operands: list[Any]) -> Linear | None:
    """Return what an operation makes of multiplication and addition, if it is one of both."""
    match kind, operands:
        case "Neg", [Value(linear=Centred() | Restored() as linear)]:
            return linear.times(-1.0)
        case "Add" | "Mul", [float() | np.ndarray() as c, Value() as value]:
            return _linear(kind, [value, c])
        case "Sub", [float() | np.ndarray() as c, Value(linear=Centred() | Restored() as linear)]:
            return linear.times(-1.0).plus(c)
        case "Add", [Value(linear=Centred() | Restored() as linear), c]:
            return linear.plus(c)
        case "Sub", [Value(linear=Centred() | Restored() as linear), c]:
            return linear.plus(-c)
        case "Mul", [Value(linear=Centred() | Restored() as linear), c]:
            return linear.times(c)
        case "Div", [Value(linear=Centred() | Restored() as linear), c]:
            return linear.over(c)
    return None
