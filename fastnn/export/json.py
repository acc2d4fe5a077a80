"""Networks as JSON: the operations in their order, with all numbers as text.

The page "Export" of the documentation has a table of the fields. Numbers are the shortest that
become the same float of ``dtype`` when they are read as a double and rounded to it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np

from fastnn.activations import Array
from fastnn.export.description import Description

VERSION, WITH_ROUNDING = 1, 2


def content(network: Description, name: str) -> bytes:
    """Return the file of a network.

    Parameters
    ----------
    network : Description
    name : str
        The name of the file, without its ending.
    """
    return b"".join(_parts(network, name))


def _parts(network: Description, name: str) -> Iterator[bytes]:
    """Yield a file row by row, as joining parts of parts would take several times its length."""
    fields = {
        "format": "fastnn.json",
        "version": WITH_ROUNDING if network.rounds else VERSION,
        "name": name,
        "dtype": network.dtype.name,
        "inputs": network.inputs,
        "outputs": network.outputs,
        "pixels": network.pixels,
        "output": network.output,
        "classes": network.classes,
        "features": network.features,
    }
    yield b'%s, "operations": [' % _text(fields)[:-1]
    for i, operation in enumerate(network.operations):
        yield b",\n{" if i else b"\n{"
        yield b'"operation": %s' % _text(type(operation).__name__.lower())
        for field, value in operation._asdict().items():
            yield b", %s: " % _text(field)
            yield from [_text(value)] if isinstance(value, str) else _numbers(np.asarray(value))
        yield b"}"
    yield b"\n]}\n"


def _text(value: object) -> bytes:
    """Return what holds no floats; half of a surrogate pair becomes an escape of JSON."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace")


def _numbers(array: Array) -> Iterator[bytes]:
    """Yield a number, a list or a list of lists, whose rows have lines of their own."""
    if array.ndim == 0:
        yield _shortest(array[None])
        return
    yield b"["
    if array.ndim == 1:
        yield _shortest(array)
    else:
        for i, row in enumerate(array):
            yield b",\n" if i else b""
            yield from _numbers(row)
    yield b"]"


def _shortest(numbers: Array) -> bytes:
    """Return numbers with commas between them, each as short as it can be."""
    texts = list(map(str, numbers))
    # Two roundings, to a double and to float32, may differ from one.
    read = np.array(list(map(float, texts))).astype(numbers.dtype)
    for place in np.flatnonzero(read != numbers):
        texts[place] = repr(float(numbers[place]))
    return ", ".join(texts).encode()
