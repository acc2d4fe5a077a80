"""Tensors and metadata in a ``.safetensors`` file, which reading does not trust.

The format is that of the safetensors library: a header of JSON, then the numbers. Reading executes
nothing.
"""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from fastnn.activations import Array
from fastnn.model.architecture import Architecture
from fastnn.model.parameters import Parameters
from fastnn.writing import check_file, replacing_bytes

VERSION = 2  # up to which files are read
FIRST, WITH_PRECISION = 1, 2  # what is written, and from which on networks have a precision
Tensors = dict[str, Array]

# Bytes of JSON, mostly names of classes; reading takes a small multiple of it in memory.
LONGEST_HEADER = 1 << 24
PART = 1 << 15  # numbers checked at a time
_MOST_DIMENSIONS = 2
_DTYPES = {"F32": np.float32, "F64": np.float64}


def check_ending(path: str | os.PathLike[str], name: str = "path") -> None:
    """Refuse a name that `fastnn.load` takes for that of another format.

    Parameters
    ----------
    path : str or path
    name : str
        What errors call it.

    Raises
    ------
    TypeError, OSError
        If it cannot be the path of a file.
    ValueError
        If it ends in ``.onnx``.
    """
    text = check_file(path, name)
    if text.lower().endswith(".onnx"):
        raise ValueError(
            f"{name} {text!r} ends in .onnx, a format that an export writes; need another ending, "
            "such as .safetensors"
        )


def write(path: str | os.PathLike[str], tensors: Tensors, metadata: Mapping[str, Any]) -> None:
    """Write a file that appears complete or not at all, even if the power fails.

    Parameters
    ----------
    path : str or path
        See `fastnn.writing` for links and permissions.
    tensors : dict of ndarray
    metadata : mapping
        From names to what JSON can hold; ``version``, if it is not the first.

    Raises
    ------
    TypeError, OSError
        If nothing can be written to ``path``: it is no path, it is empty (``FileNotFoundError``), a
        folder (``IsADirectoryError``), or in a folder that does not exist (``FileNotFoundError``).
        Nothing has been written then.
    ValueError
        If it ends in ``.onnx``.
    OSError
        If the file cannot be written, or could not be read again because the metadata take more
        than 16 MiB; an older file of that name stays as it is.
    """
    from safetensors.numpy import save

    check_ending(path)
    texts = {name: json.dumps(value) for name, value in metadata.items()}
    content = save(
        {name: np.ascontiguousarray(array) for name, array in tensors.items()},
        {"format": "fastnn", "version": str(FIRST), **texts},
    )
    if int.from_bytes(content[:8], "little") > LONGEST_HEADER:
        limit = f"settings and names of classes take more than {LONGEST_HEADER:,} bytes"
        raise OSError(errno.EFBIG, limit, os.fspath(path))
    with replacing_bytes(path) as file:
        file.write(content)


def read(path: str | os.PathLike[str]) -> tuple[Tensors, dict[str, Any]]:
    """Read a file that `write` wrote, without trusting it.

    Returns
    -------
    tensors : dict of ndarray
        float32 or float64; `check` checks names, shapes and numbers.
    metadata : dict

    Raises
    ------
    OSError
        If the file cannot be read (``FileNotFoundError`` if there is none).
    TypeError
        If ``path`` is no path.
    ValueError
        If it is not a ``.safetensors`` file of fastnn, is damaged, holds other types, or is of a
        later version.
    """
    path = check_file(path)
    name = repr(path)
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, LONGEST_HEADER):
            raise ValueError(f"{name} is not a .safetensors file of fastnn, or is damaged")
        header = file.read(length)
        metadata = _metadata(name, header)
        places = _places(header, size - 8 - length)
        if places:
            content = np.empty(size - 8 - length, np.uint8)
            if file.readinto(content.data) == len(content):
                return {tensor: place.of(content) for tensor, place in places.items()}, metadata
        file.seek(0)
        return _deserialized(name, file.read()), metadata


class _Place(NamedTuple):
    """Where the numbers of a tensor are."""

    dtype: type
    shape: tuple[int, ...]
    begin: int
    end: int

    def of(self, content: Array) -> Array:
        """Return the tensor, a view."""
        return content[self.begin : self.end].view(self.dtype).reshape(self.shape)


def _places(header: bytes, size: int) -> dict[str, _Place]:
    """Return where each tensor is in so many bytes of numbers, or nothing unless all is well.

    What this takes, the safetensors library takes, too; where it does not, that library has the
    last word. It would copy all numbers once more.
    """
    try:
        found = json.loads(
            header.decode(),
            object_pairs_hook=_once,
            parse_int=_natural,
            parse_float=_natural,
            parse_constant=_natural,
        )
        "".join(text for pair in found.pop("__metadata__").items() for text in pair).encode()
        places, end = {}, 0
        for tensor, parts in sorted(found.items(), key=lambda item: item[1]["data_offsets"]):
            tensor.encode()
            dtype, shape = _DTYPES[parts.pop("dtype")], tuple(parts.pop("shape"))
            begin, after = parts.pop("data_offsets")
            if not all(type(number) is int for number in (*shape, begin, after)):
                return {}
            bytes_needed = math.prod(shape) * np.dtype(dtype).itemsize
            if parts or begin != end or after - begin != bytes_needed or not bytes_needed:
                return {}
            if len(shape) > _MOST_DIMENSIONS or not header.startswith(b"{"):
                return {}
            places[tensor], end = _Place(dtype, shape, begin, after), after
    except (AttributeError, KeyError, TypeError, ValueError):
        return {}
    return places if end == size else {}


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON, in which no name may stand twice."""
    names = dict(pairs)
    if len(names) < len(pairs):
        raise ValueError
    return names


def _natural(text: str) -> int:
    """Return a number of JSON, which may be nothing but digits."""
    if not text.isdecimal():
        raise ValueError
    return int(text)


def _deserialized(name: str, content: bytes) -> Tensors:
    """Return the tensors of a file as the safetensors library reads them, or refuse it."""
    from safetensors import SafetensorError, deserialize

    try:
        found = deserialize(content)  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        raise ValueError(
            f"{name} is not a .safetensors file of fastnn, or is damaged: {error}"
        ) from None
    tensors = {}
    for tensor, parts in found:
        if parts["dtype"] not in _DTYPES:
            raise ValueError(f"{name}: {tensor} is {parts['dtype']}; need F32 or F64")
        if len(parts["shape"]) > _MOST_DIMENSIONS:
            raise ValueError(f"{name}: {tensor} has {len(parts['shape'])} dimensions; need 1 or 2")
        array = np.frombuffer(parts["data"], _DTYPES[parts["dtype"]])
        if array.size == 0:
            raise ValueError(f"{name}: {tensor} has shape {parts['shape']}; need numbers in it")
        tensors[tensor] = array.reshape(parts["shape"])
    return tensors


def _metadata(name: str, header: bytes) -> dict[str, Any]:
    """Return the metadata in a header that `write` wrote."""
    try:
        texts = json.loads(header).get("__metadata__", {})
        if texts.get("format") != "fastnn":
            raise ValueError("it was not written by fastnn: need the metadata format='fastnn'")
        version = texts["version"]
        if not (version.isdecimal() and len(version) < 10):
            raise ValueError(f"its version is {version!r}; need a number")
        if int(version) > VERSION:
            raise ValueError(
                f"it is of version {version}, and this fastnn reads up to {VERSION}; install a "
                "later one"
            )
        known = {key: texts[key] for key in texts.keys() - {"format", "version"}}
        return {key: json.loads(text) for key, text in known.items()}
    except (AttributeError, KeyError, TypeError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(f"{name} has metadata that cannot be read: {error!r}") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{name} has metadata that are not JSON: {error}") from None
    except ValueError as error:  # of the lines above, and of integers with very many digits
        raise ValueError(f"{name} cannot be loaded: {error}") from None


def of_parameters(parameters: Parameters, prefix: str = "") -> Tensors:
    """Return the tensors of each layer, without padding."""
    tensors = {}
    for l, (matrix, vector) in enumerate(zip(parameters.weights, parameters.biases, strict=True)):
        tensors[f"{prefix}layers.{l}.weights"] = matrix
        tensors[f"{prefix}layers.{l}.biases"] = vector
    return tensors


def shapes(architecture: Architecture, prefix: str = "") -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor that `of_parameters` returns."""
    found: dict[str, tuple[int, ...]] = {}
    for l, layer in enumerate(architecture.layers):
        found[f"{prefix}layers.{l}.weights"] = (layer.fan_in, layer.fan_out)
        found[f"{prefix}layers.{l}.biases"] = (layer.fan_out,)
    return found


def fill(parameters: Parameters, tensors: Tensors, prefix: str = "") -> None:
    """Copy tensors with the right shapes into the parameters of each layer."""
    for l, (matrix, vector) in enumerate(zip(parameters.weights, parameters.biases, strict=True)):
        matrix[...] = tensors[f"{prefix}layers.{l}.weights"]
        vector[...] = tensors[f"{prefix}layers.{l}.biases"]


def check(
    name: str, tensors: Tensors, needed: Mapping[str, tuple[int, ...]], dtype: np.dtype
) -> None:
    """Refuse tensors that are missing, of another shape or dtype, or not finite."""
    for tensor, shape in needed.items():
        if tensor not in tensors:
            raise ValueError(f"{name} lacks {tensor}; need float numbers of shape {shape}")
        array = tensors[tensor]
        if array.shape != shape or array.dtype != dtype:
            raise ValueError(
                f"{name}: {tensor} is {array.dtype} of shape {array.shape}; need {dtype} of {shape}"
            )
        if not all(np.isfinite(part).all() for part in _parts(array)):
            raise ValueError(f"{name}: {tensor} holds NaN or infinity; need finite numbers")


def _parts(array: Array) -> Iterator[Array]:
    """Cut an array into parts that stay in the near caches."""
    flat = array.reshape(-1)
    for first in range(0, len(flat), PART):
        yield flat[first : first + PART]
