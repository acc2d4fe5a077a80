"""Networks as C headers: one file, with functions that need nothing but math.h.

Weights are constants, in decimals that give the same floats. The names of all functions begin with
a prefix, so that one program may have several networks.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from string import Template

import numpy as np

from fastnn.activations import LEAK, SELU_ALPHA, SELU_SCALE, Array
from fastnn.export import c_code
from fastnn.export.description import (
    Activate,
    Description,
    Multiply,
    Operation,
    Product,
    Restore,
    Sort,
    Standardize,
)
from fastnn.export.examples import examples
from fastnn.export.rounding import integers
from fastnn.precision import BFLOAT16

KEYWORDS = frozenset(
    """
    alignas alignof and and_eq asm atomic_cancel atomic_commit atomic_noexcept auto bitand bitor
    bool break case catch char char8_t char16_t char32_t class co_await co_return co_yield compl
    concept const const_cast consteval constexpr constinit continue decltype default delete do
    double dynamic_cast else enum explicit export extern false float for friend goto if inline int
    long mutable namespace new noexcept not not_eq nullptr operator or or_eq private protected
    public register reinterpret_cast requires restrict return short signed sizeof static
    static_assert static_cast struct switch synchronized template this thread_local throw true try
    typedef typeid typename typeof typeof_unqual union unsigned using virtual void volatile wchar_t
    while xor xor_eq
    """.split()  # noqa: SIM905 - as words it is read
)
# How far the outputs of a self-test may be from exact ones: other orders of sums, other libraries.
# Where sums are not on the same side of a tie, factors in bfloat16 differ by 2^-8 of themselves.
TOLERANCES = {"float32": "1e-4", "float64": "1e-9", BFLOAT16: "4e-3"}
LONGEST_STRING = 4095  # of which C99 is sure
LINES = 512  # that become text at a time


def content(
    network: Description, name: str, prefix: str | None = None, int8: bool = False
) -> bytes:
    """Return the header of a network.

    Parameters
    ----------
    network : Description
    name : str
        The name of the file, without its ending.
    prefix : str, optional
        What all names begin with; macros with the same in upper case. Default: ``name``.
    int8 : bool
        Round weights to 8 bits, see `fastnn.export.rounded`.

    Raises
    ------
    TypeError, ValueError
        If the prefix, or the name in its place, is no identifier that C and C++ leave to users, or
        if the name of a class or an input is longer than a string of C99.
    """
    words = {"prefix": _prefix(prefix, name)}
    words["PREFIX"] = words["prefix"].upper()
    words["real"], words["f"] = ("float", "f") if network.dtype == np.float32 else ("double", "")
    for constant, value in (
        ("LEAK", LEAK),
        ("SELU_SCALE", SELU_SCALE),
        ("SELU_ALPHA", SELU_ALPHA),
        ("HALF_ROOT", math.sqrt(0.5)),
    ):
        words[constant] = f"{network.dtype.type(value)}{words['f']}"
    return b"".join(piece.encode() for piece in Header(network, words, int8).pieces())


def _prefix(prefix: str | None, name: str) -> str:
    """Return the prefix if C and C++ can have it."""
    given = name if prefix is None else prefix
    what = "prefix" if prefix is not None else "the name of a C header"
    if not isinstance(given, str):
        raise TypeError(f"{what} must be a string, got {given!r}")
    hint = "" if prefix is not None else "; give another name, or prefix"
    if not re.fullmatch(r"[A-Za-z]([A-Za-z0-9]|_(?!_|$))*", given, re.ASCII):
        raise ValueError(
            f"{what} must be letters (A to Z), digits and single underscores between them, and "
            f"begin with a letter, as names of C do; got {given!r}{hint}"
        )
    if given in KEYWORDS:
        raise ValueError(f"{what} must not be a keyword of C or C++; got {given!r}{hint}")
    return given


class Header:
    """The parts of a header, in the order of the file."""

    def __init__(self, network: Description, words: dict[str, str], int8: bool) -> None:
        self.network, self.words, self.int8 = network, words, int8
        self.products = [o for o in network.operations if isinstance(o, Product)]
        self.activations = [o.name for o in network.operations if isinstance(o, Activate)]
        self.fan_outs = [len(product.biases) for product in self.products]
        hidden = self.fan_outs[:-1]  # which take turns with two buffers
        self.buffers = [max(part) for part in (hidden[::2], hidden[1::2]) if part]
        named = {"classes": network.labels, "features": network.features or ()}
        self.names = {word: names for word, names in named.items() if names}

    def pieces(self) -> Iterator[str]:
        """Yield the text."""
        yield self._head()
        for word, names in self.names.items():
            lines = (f"    {_string(word, str(name))},\n" for name in names)
            yield from self._array("char *const", word, len(names), lines)
        yield from self._constants()
        yield from self._functions()
        yield from self._self_test()
        yield self._fill(c_code.TAIL)

    def _fill(self, template: str, **further: str) -> str:
        return Template(template).substitute(self.words, **further)

    def _head(self) -> str:
        """Return the comment and the definitions that a header begins with."""
        network, size = self.network, self.network.dtype.itemsize
        units = sum(self.fan_outs)
        weights = sum(product.weights.size for product in self.products)
        constants = (weights + units) * size
        if self.int8:
            constants = weights + 2 * units * size
        for operation in network.operations:
            if isinstance(operation, Standardize | Restore):
                constants += 2 * operation.mean.nbytes
        rounded = ", weights rounded to 8 bits" * self.int8
        rounded += ", factors of products rounded to bfloat16" * network.rounds
        stack = sum(self.buffers) * size + 8 * (size + 8)
        inputs = "in their own units, not scaled."
        if network.pixels:
            inputs = "pixels from 0 to 255, not divided."
        outputs, use_class = "the outputs, in the units of the targets.", ""
        if network.labels:
            stack += network.outputs * size
            use_class = self._fill(c_code.USE_CLASS)
            outputs = "the probabilities of the classes."
            if network.outputs == 1:
                outputs = self._fill("the probability of ${prefix}_classes[1].")
        layers = [f"{n} {name}" for n, name in zip(self.fan_outs, self.activations, strict=True)]
        return self._fill(
            c_code.HEAD,
            layers=", ".join([f"{network.inputs} inputs", *layers]),
            count=f"{weights + units:,}",
            rounded=rounded,
            bytes=f"{constants:,}",
            inputs=inputs,
            outputs=outputs,
            use_class=use_class,
            stack=f"{stack:,}",
            include="#include <stdint.h>\n" * (self.int8 or network.rounds)
            + "#include <string.h>\n" * network.rounds,
            fan_in=str(network.inputs),
            fan_out=str(network.outputs),
        )

    def _array(self, kind: str, name: str, size: int, lines: Iterable[str]) -> Iterator[str]:
        yield f"static const {kind} {self.words['prefix']}_{name}[{size}] = {{\n"
        yield from lines
        yield "};\n\n"

    def _numbers(self, name: str, values: Array) -> Iterator[str]:
        """Yield an array of the network's dtype."""
        lines = _lines(values, self.words["f"], 8)
        yield from self._array(self.words["real"], name, values.size, lines)

    def _constants(self) -> Iterator[str]:
        """Yield the arrays that the functions read."""
        for operation in self.network.operations:
            if isinstance(operation, Standardize | Restore):
                part = "input" if isinstance(operation, Standardize) else "target"
                for field, values in operation._asdict().items():
                    yield from self._numbers(f"{part}_{field}", values)
        for l, (weights, biases) in enumerate(self.products):
            yield f"/* Layer {l}: weights ({weights.shape[0]}, {weights.shape[1]}), by rows. */\n"
            if self.int8:
                whole, scales = integers(weights)
                yield from self._array("int8_t", f"weights_{l}", whole.size, _lines(whole, "", 16))
                yield from self._numbers(f"scales_{l}", scales)
            else:
                yield from self._numbers(f"weights_{l}", weights)
            yield from self._numbers(f"biases_{l}", biases)

    def _functions(self) -> Iterator[str]:
        """Yield the functions that the network needs, and those for users."""
        first, other = "inputs[i]", "inputs[i]"
        after = []
        for operation in self.network.operations:
            match operation:
                case Multiply(factor):
                    first = f"{first} * {factor}{self.words['f']}"
                case Standardize():
                    first = self._fill(f"({first} - ${{prefix}}_input_mean[i])")
                    first = self._fill(f"{first} * ${{prefix}}_input_scale[i]")
                case Restore():
                    after.append(("restore", c_code.RESTORE))
                case Sort():
                    after.append(("sort", c_code.SORT))
        if self.network.rounds:
            yield self._fill(c_code.TO_BFLOAT16)
            first, other = (
                self._fill(f"${{prefix}}_to_bfloat16({each})") for each in (first, other)
            )
        layers = ["layer"] * len(self.products)
        if first != other:
            layers[0] = "first_layer"
            yield self._product("first_layer", first, c_code.ABOUT_PRODUCTS)
        if "layer" in layers:
            about = c_code.ABOUT_PRODUCTS if layers[0] == "layer" else c_code.ABOUT_MORE
            yield self._product("layer", other, about)
        for name in dict.fromkeys(self.activations):
            if name == "softmax":
                yield self._fill(c_code.SOFTMAX)
            elif name != "identity":
                value = self._fill(c_code.VALUES[name])
                yield self._fill(c_code.ACTIVATION, name=name, value=value)
        for _, template in after:
            yield self._fill(template)
        yield self._fill(c_code.PREDICT, steps=self._steps(layers, [name for name, _ in after]))
        if self.network.labels:
            yield self._fill(c_code.CLASS_OF_ONE if self.network.outputs == 1 else c_code.CLASS)

    def _product(self, name: str, value: str, about: str) -> str:
        words = {"stored": self.words["real"], "scales": "", "start": "biases[j]", "end": ""}
        if self.int8:
            words = {
                "stored": "int8_t",
                "scales": self._fill(c_code.SCALES),
                "start": "0",
                "end": c_code.SCALED,
            }
        return self._fill(c_code.PRODUCT, about=about, name=name, value=value, **words)

    def _steps(self, layers: list[str], after: list[str]) -> str:
        """Return the lines of the function that predicts."""
        prefix, real = self.words["prefix"], self.words["real"]
        lines = [f"{real} {'ab'[i]}[{size}];" for i, size in enumerate(self.buffers)]
        source = "x"
        for l, (layer, product) in enumerate(zip(layers, self.products, strict=True)):
            target = "out" if l + 1 == len(layers) else "ab"[l % 2]
            fan_in, fan_out = product.weights.shape
            words = ["weights", "scales", "biases"] if self.int8 else ["weights", "biases"]
            constants = ", ".join(f"{prefix}_{word}_{l}" for word in words)
            lines.append(f"{prefix}_{layer}({source}, {constants}, {fan_in}, {fan_out}, {target});")
            if self.activations[l] != "identity":
                lines.append(f"{prefix}_{self.activations[l]}({target}, {fan_out});")
            source = target
        lines += [f"{prefix}_{name}(out, {self.network.outputs});" for name in after]
        return "".join(f"    {line}\n" for line in lines)

    def _self_test(self) -> Iterator[str]:
        """Yield a program that compares a few rows."""
        network = self.network
        if self.int8:
            network = replace(network, operations=tuple(map(_rounded, network.operations)))
        tolerance = TOLERANCES[BFLOAT16 if network.rounds else network.dtype.name]
        rows, outputs = examples(network, float(tolerance))
        yield self._fill(c_code.BEFORE_TEST)
        if len(rows):
            yield from self._numbers("test_rows", rows)
            yield from self._numbers("test_outputs", outputs)
            unused = [*self.names, *(["class"] if network.labels else [])]
            uses = "".join(f"    (void){self.words['prefix']}_{name};\n" for name in unused)
            count = str(len(rows))
            yield self._fill(c_code.TEST, rows=count, tolerance=tolerance, uses=uses)
        else:
            yield '#error "the outputs of this network are too inexact for a test"\n'
        yield "#endif\n\n"


def _rounded(operation: Operation) -> Operation:
    """Return an operation with the weights that are rounded to 8 bits."""
    if not isinstance(operation, Product):
        return operation
    whole, scales = integers(operation.weights)
    return Product(whole * scales, operation.biases)


def _lines(values: Array, suffix: str, length: int) -> Iterator[str]:
    """Yield numbers as lines of an array, the shortest text that gives the same float."""
    flat, between = values.ravel(), f"{suffix}, "
    for begin in range(0, flat.size, length * LINES):
        texts = list(map(str, flat[begin : begin + length * LINES]))
        lines = (between.join(texts[i : i + length]) for i in range(0, len(texts), length))
        yield "".join(f"    {line}{suffix},\n" for line in lines)


def _string(word: str, name: str) -> str:
    """Return a name as a string of C, in ASCII; the bytes are those of UTF-8."""
    data = name.encode("utf-8", "surrogatepass")
    if len(data) > LONGEST_STRING:
        raise ValueError(
            f"{word} in a C header must have at most {LONGEST_STRING} bytes; got {len(data):,} "
            f"in {name[:20]!r}..."
        )
    return '"' + "".join(map(_character, data)) + '"'


def _character(byte: int) -> str:
    if chr(byte) in '"\\?':  # two question marks may begin a trigraph
        return "\\" + chr(byte)
    return chr(byte) if 32 <= byte < 127 else f"\\{byte:03o}"
