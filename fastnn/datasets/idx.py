"""The IDX format of the MNIST files: a short big-endian header, then an array."""

from __future__ import annotations

import gzip
import math
import os
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedIOBase
from typing import IO, Any

import numpy as np
import numpy.typing as npt

CHUNK = 1 << 20
"""Bytes to read at a time, so that memory grows with the data, not with a header."""

_GZIP_MAGIC = b"\x1f\x8b"
_MAX_NDIM = 32
_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


@contextmanager
def open_content(path: str | os.PathLike[str]) -> Iterator[BufferedIOBase]:
    """Open a file for reading, decompressed if its first bytes say that it is gzip.

    Parameters
    ----------
    path : str or os.PathLike
        The file; its name does not matter.

    Yields
    ------
    file object
        The content as a binary stream.

    Raises
    ------
    OSError
        If the file cannot be opened (``FileNotFoundError`` if there is none).
    ValueError
        If the gzip data are corrupt or truncated.
    """
    with open(path, "rb") as raw:
        is_gzip = raw.peek(len(_GZIP_MAGIC)).startswith(_GZIP_MAGIC)
        try:
            yield gzip.GzipFile(fileobj=raw) if is_gzip else raw
        except (zlib.error, EOFError, gzip.BadGzipFile) as error:
            raise ValueError(
                f"{os.fspath(path)!r} is corrupt or truncated gzip ({error}); need an intact file"
            ) from error


def read_idx(path: str | os.PathLike[str]) -> npt.NDArray[Any]:
    """Read an IDX file, gzip-compressed or plain.

    Parameters
    ----------
    path : str or os.PathLike
        The file. Its first bytes, not its name, decide whether it is gzip.

    Returns
    -------
    ndarray
        Of dtype uint8, int8, int16, int32, float32 or float64 in native byte order, C-contiguous
        and writeable.

    Raises
    ------
    OSError
        If the file cannot be opened (``FileNotFoundError`` if there is none).
    ValueError
        If the content is not exactly one IDX array: wrong magic number, unknown type, no dimensions
        or more than 32, too few or too many bytes, or corrupt gzip.

    Notes
    -----
    The format is that of the MNIST database: two zero bytes, a type code, the number of dimensions,
    each dimension as a big-endian uint32, and the elements in C order. Memory use depends on the
    bytes in the file, not on the size that its header states.
    """
    name = repr(os.fspath(path))
    with open_content(path) as stream:
        dtype, shape = _read_header(stream, name)
        size = check_shape(name, dtype, shape)
        content = read_up_to(stream, size)
        if len(content) < size:
            raise ValueError(
                f"{name} ends after {len(content)} bytes of data; need {size}, as its header "
                f"states the shape {shape}"
            )
        # Reading one more byte also makes gzip check its checksum.
        if stream.read(1):
            raise ValueError(
                f"{name} has bytes after its data; need exactly {size}, as its header states the "
                f"shape {shape}"
            )
    array: npt.NDArray[Any] = np.ndarray(shape, dtype, buffer=content)
    return array if dtype.isnative else array.byteswap(inplace=True).view(dtype.newbyteorder("="))


def read_up_to(stream: IO[bytes] | BufferedIOBase, size: int) -> bytearray:
    """Return so many bytes, or as many as there are, without allocating more in advance."""
    content = bytearray()
    while len(content) < size and (chunk := stream.read(min(CHUNK, size - len(content)))):
        content += chunk
    return content


def check_shape(name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> int:
    """Return the bytes of an array of this shape; refuse shapes that no array can have."""
    if not 1 <= len(shape) <= _MAX_NDIM:
        raise ValueError(f"{name} has {len(shape)} dimensions; need 1 to {_MAX_NDIM}")
    # NumPy counts a zero dimension as one here, so that an empty array may still be too large.
    if max(dtype.itemsize, 1) * math.prod(max(length, 1) for length in shape) > sys.maxsize:
        raise ValueError(f"{name} states the shape {shape}; need at most {sys.maxsize} bytes")
    return dtype.itemsize * math.prod(shape)


def _read_header(stream: BufferedIOBase, name: str) -> tuple[np.dtype[Any], tuple[int, ...]]:
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0":
        raise ValueError(f"{name} starts with {magic!r}; need two zero bytes, a type, a rank (IDX)")
    code, ndim = magic[2:]
    if code not in _DTYPES:
        known = ", ".join(f"0x{known:02X}" for known in _DTYPES)
        raise ValueError(f"{name} has IDX type 0x{code:02X}; need one of {known}")
    if not 1 <= ndim <= _MAX_NDIM:
        raise ValueError(f"{name} has {ndim} dimensions; need 1 to {_MAX_NDIM}")
    dimensions = stream.read(4 * ndim)
    if len(dimensions) < 4 * ndim:
        raise ValueError(f"{name} ends inside its header; need {ndim} dimensions of 4 bytes each")
    shape = tuple(int.from_bytes(dimensions[i : i + 4], "big") for i in range(0, 4 * ndim, 4))
    dtype = np.dtype(_DTYPES[code])
    return dtype, shape
