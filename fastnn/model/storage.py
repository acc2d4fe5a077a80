"""Tensors and metadata in a ``.safetensors`` file, which reading does not trust.

The format is that of the safetensors library: a header of JSON, then the numbers. Reading executes
nothing.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from fastnn.activations import Array
from fastnn.model.architecture import Architecture
from fastnn.model.parameters import Parameters
from fastnn.writing import check_file, replacing_bytes

VERSION = 1
Tensors = dict[str, Array]

# Bytes of JSON, mostly names of classes; reading takes a small multiple of it in memory.
LONGEST_HEADER = 1 << 24
_MOST_DIMENSIONS = 2
_DTYPES = {"F32": np.float32, "F64": np.float64}


def write(path: str | os.PathLike[str], tensors: Tensors, metadata: Mapping[str, Any]) -> None:
    """Write a file that appears complete or not at all, even if the power fails.

    Parameters
    ----------
    path : str or path
        See `fastnn.writing` for links and permissions.
    tensors : dict of ndarray
    metadata : mapping
        From names to what JSON can hold.

    Raises
    ------
    TypeError, OSError
        If nothing can be written to ``path``: it is no path, it is empty (``FileNotFoundError``), a
        folder (``IsADirectoryError``), or in a folder that does not exist (``FileNotFoundError``).
        Nothing has been written then.
    OSError
        If the file cannot be written, or could not be read again because the metadata take more
        than 16 MiB; an older file of that name stays as it is.
    """
    from safetensors.numpy import save

    texts = {name: json.dumps(value) for name, value in metadata.items()}
    content = save(
        {name: np.ascontiguousarray(array) for name, array in tensors.items()},
        {"format": "fastnn", "version": str(VERSION), **texts},
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
    from safetensors import SafetensorError, deserialize

    path = check_file(path)
    name = repr(path)
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, LONGEST_HEADER):
            raise ValueError(f"{name} is not a .safetensors file of fastnn, or is damaged")
        header = file.read(length)
        metadata = _metadata(name, header)
        file.seek(0)
        content = file.read()
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
    return tensors, metadata


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
        if not np.isfinite(array).all():
            raise ValueError(f"{name}: {tensor} holds NaN or infinity; need finite numbers")
