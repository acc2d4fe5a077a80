"""The tensors of ONNX files as arrays, without trust in what they say of themselves."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastnn.activations import Array

FLOAT, UINT8, INT32, INT64, STRING, BOOL, FLOAT16, DOUBLE, BFLOAT16 = 1, 2, 6, 7, 8, 9, 10, 11, 16
FLOATS = (FLOAT, FLOAT16, DOUBLE, BFLOAT16)
NAMES = {
    FLOAT: "float32", UINT8: "uint8", INT32: "int32", INT64: "int64", STRING: "string",
    BOOL: "bool", FLOAT16: "float16", DOUBLE: "float64", BFLOAT16: "bfloat16",
}  # fmt: skip
# How the numbers of each type are stored, and in which field if not as bytes.
_STORED = {
    FLOAT: ("<f4", "float_data"),
    DOUBLE: ("<f8", "double_data"),
    INT64: ("<i8", "int64_data"),
    INT32: ("<i4", "int32_data"),
    BOOL: ("|b1", "int32_data"),
    FLOAT16: ("<f2", "int32_data"),
    BFLOAT16: ("<u2", "int32_data"),
}
_EXTERNAL = 1
_MOST_DIMENSIONS = 8


def array_of(tensor: Any) -> Array | list[Any]:
    """Return the numbers of a tensor, or the strings of one of a single dimension as a list.

    float16 and bfloat16 become float32. Nothing larger than what the file holds is made.

    Raises
    ------
    ValueError
        If the tensor is of another type, in another file, or its sizes do not fit what it holds.
    """
    name = tensor.name[:100]
    if tensor.data_location == _EXTERNAL or tensor.external_data:
        raise ValueError(
            f"tensor {name!r} is in another file, which is not opened; need one file, "
            "as onnx.save(onnx.load(path), path) writes"
        )
    kind, shape = tensor.data_type, tuple(tensor.dims)
    if len(shape) > _MOST_DIMENSIONS or any(size < 0 for size in shape):
        raise ValueError(f"tensor {name!r} has the shape {shape[:9]}; need up to 8 sizes from 0")
    count = math.prod(shape)
    if kind == STRING:
        return _strings(name, tensor.string_data, shape)
    if kind not in _STORED:
        known = ", ".join(NAMES[each] for each in (*_STORED, STRING))
        raise ValueError(f"tensor {name!r} is of ONNX's type {kind}; need one of {known}")
    dtype, field = _STORED[kind]
    raw = tensor.raw_data if tensor.HasField("raw_data") else None
    given = len(getattr(tensor, field)) if raw is None else len(raw) / np.dtype(dtype).itemsize
    if given != count:
        raise ValueError(f"tensor {name!r} holds {given:g} numbers; its shape is {shape}")
    if raw is not None:
        array = np.frombuffer(raw, dtype)
    elif field == "int32_data" and kind != INT32:
        codes = np.fromiter(tensor.int32_data, np.int64, count)
        if not ((codes >= 0) & (codes < 1 << 16)).all():
            raise ValueError(f"tensor {name!r} holds numbers beyond 16 bits")
        array = codes > 0 if kind == BOOL else codes.astype(np.uint16).view(dtype)
    else:
        array = np.fromiter(getattr(tensor, field), dtype, count)
    if kind == BFLOAT16:
        array = (array.astype(np.uint32) << 16).view(np.float32)
    elif kind == FLOAT16:
        with np.errstate(invalid="ignore"):  # of NaN
            array = array.astype(np.float32)
    return array.reshape(shape)


def _strings(name: str, values: Any, shape: tuple[int, ...]) -> list[Any]:
    if shape != (len(values),):
        raise ValueError(f"tensor {name!r} holds {len(values)} strings; its shape is {shape}")
    return [value.decode() for value in values]
