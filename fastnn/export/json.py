"""Networks as JSON: the operations in their order, with all numbers as text.

The page "Export" of the documentation has a table of the fields. Numbers are the shortest that
become the same float of ``dtype`` when they are read as a double and rounded to it.
"""

from __future__ import annotations

import json

import numpy as np

from fastnn.activations import Array
from fastnn.export.description import Description, Operation

VERSION = 1


def content(network: Description, name: str) -> bytes:
    """Return the file of a network.

    Parameters
    ----------
    network : Description
    name : str
        The name of the file, without its ending.
    """
    fields = {
        "format": "fastnn.json",
        "version": VERSION,
        "name": name,
        "dtype": network.dtype.name,
        "inputs": network.inputs,
        "outputs": network.outputs,
        "pixels": network.pixels,
        "output": network.output,
        "classes": network.classes,
        "features": network.features,
    }
    operations = b",\n".join(map(_object, network.operations))
    return b'%s, "operations": [\n%s\n]}\n' % (_text(fields)[:-1], operations)


def _object(operation: Operation) -> bytes:
    """Return an operation as an object in a line of its own, but for the rows of weights."""
    fields = [b'"operation": %s' % _text(type(operation).__name__.lower())]
    for name, value in operation._asdict().items():
        written = _text(value) if isinstance(value, str) else _numbers(np.asarray(value))
        fields.append(b"%s: %s" % (_text(name), written))
    return b"{%s}" % b", ".join(fields)


def _text(value: object) -> bytes:
    """Return what holds no floats; half of a surrogate pair becomes an escape of JSON."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace")


def _numbers(array: Array) -> bytes:
    """Return a number, a list or a list of lists; row by row, as numbers take room as objects."""
    if array.ndim == 0:
        return _shortest(array[None])
    if array.ndim == 1:
        return b"[%s]" % _shortest(array)
    return b"[%s]" % b",\n".join(map(_numbers, array))


def _shortest(numbers: Array) -> bytes:
    """Return numbers with commas between them, each as short as it can be."""
    texts = list(map(str, numbers))
    # Two roundings, to a double and to float32, may differ from one.
    read = np.array(list(map(float, texts))).astype(numbers.dtype)
    for place in np.flatnonzero(read != numbers):
        texts[place] = repr(float(numbers[place]))
    return ", ".join(texts).encode()
