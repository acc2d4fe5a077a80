"""Networks as JSON: the operations in their order, with all numbers as text.

``operations`` is a list of objects. ``operation`` is one of "multiply" (by ``factor``),
"standardize" (``(x - mean) * scale``), "product" (``x weights + biases``; ``weights`` is a list of
lists, one for each input), "activate" (by the function of that ``name``), "restore" (``x / scale +
mean``) and "sort" (quantiles of these ``levels``). Numbers are the shortest that give the same
float of ``dtype``.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

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
    document = {
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
        "operations": [_object(operation) for operation in network.operations],
    }
    return (json.dumps(document, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _object(operation: Operation) -> dict[str, Any]:
    fields = {name: _plain(value) for name, value in operation._asdict().items()}
    return {"operation": type(operation).__name__.lower(), **fields}


def _plain(value: Any) -> Any:
    """Return a text as it is, and numbers as the shortest that are the same in their dtype."""
    if isinstance(value, str):
        return value
    numbers = np.asarray(value)
    shortest = np.array([float(str(number)) for number in numbers.ravel()])
    return shortest.reshape(numbers.shape).tolist()
