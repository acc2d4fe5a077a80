"""Sparse data sets in text: svmlight and libsvm files."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from fastnn.checks.values import DTYPES, one_of
from fastnn.datasets.columns import Array, Table, labels_of
from fastnn.datasets.idx import open_content
from fastnn.sparse_rows import SparseRows

SUFFIXES = (".svm", ".svmlight", ".libsvm")


def is_svmlight(path: str | os.PathLike[str]) -> bool:
    """Tell from its name whether a file is one of svmlight or libsvm, plain or gzip."""
    return Path(os.fspath(path).removesuffix(".gz")).suffix.lower() in SUFFIXES


def read_svmlight(path: str | os.PathLike[str], *, dtype: str = "float32") -> Table:
    """Read a sparse data set from a file of svmlight or libsvm.

    A line is a row: its label, and ``column:number`` for each number that is not zero, with spaces
    between them. What follows a ``#`` is left out, and so is ``qid``. Columns count from 1; if one
    of the file is 0, they count from 0.

    Parameters
    ----------
    path : str or os.PathLike
        Text in ASCII, plain or gzip.
    dtype : "float32" or "float64"
        Type of the numbers.

    Returns
    -------
    Table
        ``X`` is sparse, `fastnn.sparse_rows.SparseRows`, with as many columns as the largest in
        the file says. ``y`` has shape (rows,).

    Raises
    ------
    OSError
        If the file cannot be opened (``FileNotFoundError`` if there is none).
    ValueError
        If a line is not such a row, has a column twice or not in ascending order, or holds a number
        or a label that is not finite; or if there is no row, or no number.
    """
    one_of("dtype", dtype, DTYPES)
    name = repr(os.fspath(path))
    labels: list[str] = []
    columns: list[Array] = []
    values: list[Array] = []
    with open_content(path) as stream:
        for number, line in enumerate(stream, 1):
            words = line.partition(b"#")[0].split()
            if not words:
                continue
            try:
                label, row_columns, row = _row(words, dtype)
            except ValueError as error:
                raise ValueError(f"{name}, line {number}: {error}") from None
            labels.append(label)
            columns.append(row_columns)
            values.append(row)
    lengths = list(map(len, columns))
    if not sum(lengths):
        raise ValueError(f"{name} holds no number; need rows such as '1 3:0.5 7:2'")
    indices = np.concatenate(columns)
    from_one = int(indices.min() > 0)
    indptr = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    indices = (indices - from_one).astype(np.int32)
    X = SparseRows(np.concatenate(values), indices, indptr, int(indices.max()) + 1)
    y = labels_of(labels)
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise ValueError(f"{name} holds the label {y[~np.isfinite(y)][0]}; need finite labels")
    return Table(X, y, None, "label")


def _row(words: list[bytes], dtype: str) -> tuple[str, Array, Array]:
    """Return the label of a row, the columns of its numbers, and these."""
    label = words[0].decode("ascii", "replace")
    pairs = words[2:] if len(words) > 1 and words[1].startswith(b"qid:") else words[1:]
    if ":" in label:
        raise ValueError(f"{label!r}; need a label before the numbers")
    if "," in label:
        raise ValueError(f"{label!r}; need one label for a row")
    for pair in pairs:
        if pair.count(b":") != 1:
            raise ValueError(f"{pair.decode('ascii', 'replace')!r}; need column:number")
    try:
        numbers = np.array(b" ".join(pairs).replace(b":", b" ").split(), np.float64)
    except ValueError:
        raise ValueError("need column:number, both numbers with a decimal point") from None
    if len(numbers) != 2 * len(pairs):
        raise ValueError("need column:number, without spaces in it")
    columns = numbers[::2]
    with np.errstate(over="ignore"):
        values = numbers[1::2].astype(dtype)
    if (columns != np.floor(columns)).any() or not ((columns >= 0) & (columns < 2**31 - 1)).all():
        raise ValueError("need columns that are whole numbers from 0, or 1, to 2,147,483,646")
    if (columns[1:] <= columns[:-1]).any():
        raise ValueError("need columns in ascending order, each of them once")
    if not np.isfinite(values).all():
        bad = numbers[1::2][~np.isfinite(values)][0]
        raise ValueError(f"{bad}; need numbers that are finite in {dtype}")
    return label, columns.astype(np.int64), values
