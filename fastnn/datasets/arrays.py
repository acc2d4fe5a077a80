"""Data sets in files of arrays: .npz of NumPy, and IDX."""

from __future__ import annotations

import os
import re
import sys
import tokenize
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np

from fastnn.checks.values import BLOCK, DTYPES, one_of
from fastnn.datasets.columns import MOST_COLUMNS, Array, Split, Table, fill, whole
from fastnn.datasets.idx import check_shape, read_idx, read_up_to
from fastnn.sparse_rows import of_arrays

_NAMES = ("x", "y", "x_train", "y_train", "x_test", "y_test")
_SPARSE = ("data", "indices", "indptr", "shape", "format")  # as SciPy writes them
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_SUFFIX = ".npy"
# What zipfile raises for damaged, encrypted or unknown archives; what NumPy raises for bad headers,
# which are literals of Python.
_BROKEN = (ValueError, RuntimeError, EOFError, zlib.error, zipfile.BadZipFile)
_UNREADABLE = (
    ValueError, TypeError, SyntaxError, LookupError, AttributeError, OverflowError, RecursionError,
    MemoryError, tokenize.TokenError,
)  # fmt: skip


def read_npz(
    path: str | os.PathLike[str],
    labels: str | os.PathLike[str] | None = None,
    *,
    dtype: str = "float32",
) -> Split:
    """Read a data set from a file that `numpy.savez` or `scipy.sparse.save_npz` wrote.

    Parameters
    ----------
    path : str or os.PathLike
        The file holds ``X`` and, for labels, ``y``. Or it holds ``x_train`` and ``y_train`` and,
        for a test set, ``x_test`` and ``y_test`` (optional), as the ``mnist.npz`` of Keras. Names
        may be upper or lower case. Other arrays are not read. Or it holds a sparse matrix in CSR,
        which stays sparse.
    labels : str or os.PathLike, optional
        For a sparse matrix, the file of its labels, which `numpy.save` wrote. Default: the file
        beside it whose name has ``_labels.npy`` for ``.npz``, if there is one.
    dtype : "float32" or "float64"
        Type of the features; uint8 features, such as images, stay uint8.

    Returns
    -------
    Split
        ``X`` of each table has shape (rows, features), with images flattened; ``y`` has shape
        (rows,). The features have no names; the name of the label is that of its array.

    Raises
    ------
    OSError
        If the file cannot be opened (``FileNotFoundError`` if there is none).
    ValueError
        If the file is not an intact .npz file, or an array is missing; if an array holds objects
        (which only pickle can read), has another type or shape than needed, or is not finite; if a
        row has more than 262,144 features; if ``dtype`` is none of these.

    Notes
    -----
    Memory use depends on the bytes in the file, not on the sizes that its headers state.
    """
    one_of("dtype", dtype, DTYPES)
    name = repr(os.fspath(path))
    with open(path, "rb") as file:
        arrays, held = _members(file, name)
    if "format" in arrays and "shape" in arrays:
        return Split(_sparse_table(Path(path), arrays, name, labels, dtype))
    if labels is not None:
        raise ValueError(f"{name} is an .npz file; label must be None, got {labels!r}")
    if "x" in arrays:
        return Split(_pair(arrays, "x", "y", name, dtype))
    for needed in ("x_train", "y_train"):
        if needed not in arrays:
            raise ValueError(
                f"{name} holds {', '.join(held) or 'no array'}; need X and, for labels, y, or "
                "x_train, y_train and, for a test set, x_test and y_test"
            )
    train = _pair(arrays, "x_train", "y_train", name, dtype)
    if "x_test" not in arrays:
        return Split(train)
    test = _pair(arrays, "x_test", "y_test", name, dtype)
    if train.X.shape[1] != test.X.shape[1]:
        raise ValueError(
            f"{name}: a row of x_train has {train.X.shape[1]} features, one of x_test "
            f"{test.X.shape[1]}; need the same number"
        )
    return Split(train, test)


def idx_table(
    path: str | os.PathLike[str],
    labels: str | os.PathLike[str] | None = None,
    *,
    dtype: str = "float32",
) -> Table:
    """Read features from an IDX file, and labels from another one.

    Parameters
    ----------
    path : str or os.PathLike
        Features of shape (rows, ...).
    labels : str or os.PathLike, optional
        Labels of shape (rows,). Default: the file in the same folder with "labels" for "images" and
        "idx1" for another rank in its name; without such a file there are no labels.
    dtype : "float32" or "float64"
        Type of the features; uint8 features stay uint8.

    Returns
    -------
    Table
        As from `read_npz`.

    Raises
    ------
    OSError
        If a file cannot be opened (``FileNotFoundError`` if there is none).
    ValueError
        If a file is not valid IDX, has another shape than needed, or is not finite.
    """
    one_of("dtype", dtype, DTYPES)
    array = read_idx(path)
    X, shape = features_of(repr(os.fspath(path)), array, dtype), shape_of(array)
    if labels is None:
        labels = labels_beside(Path(path))
    if labels is None:
        return Table(X, None, None, None, shape=shape)
    y = labels_of_rows(repr(os.fspath(labels)), read_idx(labels), len(X))
    return Table(X, y, None, "label", shape=shape)


def shape_of(array: Array) -> tuple[int, ...] | None:
    """Return the shape of a row of an array, if it has more than one dimension."""
    return array.shape[1:] if array.ndim > 2 else None


def features_of(name: str, array: Array, dtype: str) -> Array:
    """Return an array as features: (rows, features) in uint8 or the dtype."""
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name} holds {array.dtype}; need numbers")
    if array.ndim > 1 and len(array) == 0:
        raise ValueError(f"{name} holds no rows; need one")
    if array.ndim < 2 or array.size == 0:
        raise ValueError(
            f"{name} has shape {array.shape}; need features of shape (rows, features) or images"
        )
    values = array.reshape(len(array), -1)
    if values.shape[1] > MOST_COLUMNS:
        raise ValueError(f"{name} has {values.shape[1]} features; need at most {MOST_COLUMNS}")
    if values.dtype == np.uint8:
        return values
    X = np.empty(values.shape, dtype)
    step = max(1, BLOCK // X.shape[1])
    for first in range(0, len(X), step):
        rows = slice(first, first + step)
        bad = np.argwhere(~fill(X[rows], values[rows]))
        if len(bad):
            row, column = first + bad[0, 0], bad[0, 1]
            raise ValueError(
                f"{name} holds {values[row, column]} in row {row}, feature {column}; need numbers "
                f"that are finite in {dtype}"
            )
    return X


def labels_of_rows(name: str, array: Array, rows: int) -> Array:
    """Return an array as labels: (rows,) in int64, float64 or str."""
    if array.shape not in ((rows,), (rows, 1)):
        raise ValueError(f"{name} has shape {array.shape}; need ({rows},), one label per row")
    y = array.reshape(rows)
    if y.dtype.kind == "U":
        codes = np.frombuffer(y.tobytes(), np.dtype(np.uint32).newbyteorder(y.dtype.byteorder))
        if codes.max(initial=0) > sys.maxunicode:
            raise ValueError(f"{name} holds characters beyond Unicode; need text")
        return y
    if y.dtype.kind not in "biuf":
        raise ValueError(f"{name} holds {y.dtype}; need numbers or text")
    if y.dtype.kind == "f":
        values = np.empty(rows)
        fits = fill(values, y)
        if not fits.all():
            raise ValueError(f"{name} holds {y[~fits][0]}; need finite labels")
        return whole(values)
    if y.max() > np.iinfo(np.int64).max:
        raise ValueError(f"{name} holds {y.max()}; need labels that fit int64")
    return y.astype(np.int64)


def _members(file: BinaryIO, name: str) -> tuple[dict[str, tuple[str, Array]], list[str]]:
    """Return the arrays to read, by their names in lower case, and the names of all arrays."""
    arrays: dict[str, tuple[str, Array]] = {}
    try:
        with zipfile.ZipFile(file) as archive:
            keys = [member.filename.removesuffix(_SUFFIX) for member in archive.infolist()]
            for key, member in zip(keys, archive.infolist(), strict=True):
                if key.lower() in arrays:
                    raise _Refused(f"{name} holds {arrays[key.lower()][0]} and {key}; need one")
                if key.lower() in (*_NAMES, *_SPARSE):
                    arrays[key.lower()] = key, _array(archive, member, f"{name}: {key}")
            return arrays, keys
    except _Refused:
        raise
    except _BROKEN as error:
        raise ValueError(
            f"{name} is not an intact .npz file ({error}); need one that numpy.savez wrote"
        ) from None


class _Refused(ValueError):
    """An error with a complete message."""


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, what: str) -> Array:
    """Return the array of a member, after comparing its header with the archive's directory."""
    if member.compress_type not in _METHODS:
        raise _Refused(f"{what} is compressed with method {member.compress_type}; need 0 or 8")
    try:
        with archive.open(member) as stream:
            if not member.filename.endswith(_SUFFIX):
                raise _Refused(f"{what} is not an array; need one")
            shape, fortran, dtype = _header(stream, what)
            size = check_shape(what, dtype, shape) if shape else dtype.itemsize
            held = member.file_size - stream.tell()
            if size != held:
                raise _Refused(f"{what} of shape {shape} needs {size} bytes, but there are {held}")
            content = read_up_to(stream, size)
    except _Refused:
        raise
    except _BROKEN as error:
        raise _Refused(f"{what} cannot be read ({error}); need an array") from None
    if len(content) < size:
        raise _Refused(f"{what} ends after {len(content)} bytes; need {size}")
    return np.ndarray(shape, dtype, buffer=content, order="F" if fortran else "C")


def _header(stream: IO[bytes], what: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, order and dtype of an array."""
    known = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    try:
        version = np.lib.format.read_magic(stream)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Python 2 and of old names
            shape, fortran, dtype = known[version](stream)
    except _UNREADABLE as error:
        raise _Refused(f"{what} is not an array ({error}); need one") from None
    if dtype.hasobject:
        raise _Refused(f"{what} holds objects, which only pickle can read; need numbers or text")
    if any(length < 0 for length in shape):
        raise _Refused(f"{what} has shape {shape}; need lengths of at least 0")
    return shape, fortran, dtype


def _pair(arrays: dict[str, tuple[str, Array]], x: str, y: str, name: str, dtype: str) -> Table:
    key, array = arrays[x]
    X, shape = features_of(f"{name}: {key}", array, dtype), shape_of(array)
    if y not in arrays:
        return Table(X, None, None, None, shape=shape)
    key, array = arrays[y]
    return Table(X, labels_of_rows(f"{name}: {key}", array, len(X)), None, key, shape=shape)


def _sparse_table(
    path: Path,
    arrays: dict[str, tuple[str, Array]],
    name: str,
    labels: str | os.PathLike[str] | None,
    dtype: str,
) -> Table:
    """Return a sparse matrix, and its labels, which are in a file of their own."""
    kind = arrays["format"][1].tobytes().replace(b"\0", b"").decode("ascii", "replace")
    if kind != "csr" or not all(each in arrays for each in _SPARSE):
        raise ValueError(
            f"{name} holds a sparse matrix in the format {kind!r}; need 'csr', which "
            "scipy.sparse.save_npz writes of X.tocsr()"
        )
    data, indices, indptr, shape = (arrays[each][1] for each in _SPARSE[:4])
    whole = all(array.dtype.kind in "iu" for array in (indices, indptr, shape))
    flat = data.ndim == indices.ndim == indptr.ndim == 1 and shape.shape == (2,)
    if not whole or not flat or data.dtype.kind not in "biuf" or shape.min() < 1:
        raise ValueError(f"{name} is not a sparse matrix of numbers, as SciPy writes it")
    values = data if data.dtype == np.uint8 else np.empty(len(data), dtype)
    fits = True if values is data else fill(values, data).all()
    try:
        X = of_arrays(values, indices, indptr, (int(shape[0]), int(shape[1])))
    except ValueError as error:
        raise ValueError(f"{name} is not an intact sparse matrix: {error}") from None
    if not fits:
        raise ValueError(f"{name} holds numbers that are not finite in {dtype}; need such")
    if labels is None and path.with_name(f"{path.stem}_labels.npy").is_file():
        labels = path.with_name(f"{path.stem}_labels.npy")
    if labels is None:
        return Table(X, None, None, None)
    source = repr(os.fspath(labels))
    try:
        y = np.load(labels, allow_pickle=False)
    except (*_UNREADABLE, *_BROKEN) as error:
        raise ValueError(f"{source} is not an array of numpy.save ({error}); need one") from None
    if not isinstance(y, np.ndarray):
        raise ValueError(f"{source} holds several arrays; need one, which numpy.save wrote")
    return Table(X, labels_of_rows(source, y, len(X)), None, "label")


def labels_beside(path: Path) -> Path | None:
    """Return the file of labels beside a file of images, if there is one."""
    stem = path.name.removesuffix(".gz")
    name = re.sub("idx[0-9]+", "idx1", stem.replace("images", "labels"))
    candidates = (path.with_name(name + end) for end in ("", ".gz") if "images" in stem)
    return next((candidate for candidate in candidates if candidate.is_file()), None)
