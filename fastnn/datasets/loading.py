"""Load data sets from files and folders of any known form."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastnn.checks.keywords import suggesting
from fastnn.datasets.arrays import idx_table, read_npz
from fastnn.datasets.columns import Split, Table
from fastnn.datasets.delimited import read_csv
from fastnn.datasets.idx import open_content
from fastnn.datasets.images import pictures_in, read_images
from fastnn.datasets.layout import checked_names
from fastnn.datasets.mnist import load_mnist, locate
from fastnn.datasets.office import ZIP, refuse_office
from fastnn.datasets.streams import kinds_in
from fastnn.datasets.svmlight import SUFFIXES, is_svmlight, read_svmlight

_TEXT = (".csv", ".tsv", ".txt", ".data")
_READABLE = (
    "a folder with four files as MNIST has, or of pictures; text in a file that ends in "
    f"{', '.join(_TEXT)}, or as svmlight in {', '.join(SUFFIXES)}, also with .gz; .npz; IDX"
)


@suggesting
def load(
    path: str | os.PathLike[str],
    label: str | int | None = None,
    *,
    header: bool | None = None,
    dtype: str = "float32",
    pixels: bool | None = None,
    columns: Sequence[str] | None = None,
    drop: Sequence[str | int] = (),
    decimal: str | None = None,
    encoding: str | None = None,
    images: Mapping[str, Any] | None = None,
) -> Split:
    """Load a data set from a file or a folder.

    Parameters
    ----------
    path : str or os.PathLike
        A folder as for `load_mnist`, or one of pictures as for `read_images`; an .npz file as for
        `read_npz`; an IDX file of features of shape (rows, ...), plain or gzip; or text as for
        `read_csv`, in a file whose name ends in .csv, .tsv, .txt or .data, with or without .gz; or
        text as for `read_svmlight`, in one that ends in .svm, .svmlight or .libsvm. Files of .npz
        and IDX may have any name.
    label : str or int, optional
        For text, the column of the labels, as for `read_csv`. For an IDX file, the path of the IDX
        file of labels. Its default is the file beside it with "labels" for "images" and "idx1" for
        another rank in its name, if there is one. For a sparse matrix in an .npz file, as for
        `read_npz`.
    header, pixels : bool, optional
        For text, as for `read_csv`.
    dtype : "float32" or "float64"
        Type of the features; uint8 features stay uint8.
    columns : sequence of str, optional
        Names of the features, as for `read_csv`. Other files have no names: they must have as many
        features.
    drop : sequence of str or int
        For text, columns to leave out, as for `read_csv`.
    decimal, encoding : str, optional
        For text, as for `read_csv`.
    images : mapping, optional
        For a folder of pictures, other arguments of `read_images`, such as ``{"digits": True}``.

    Returns
    -------
    Split
        ``train``, and ``test`` for a folder or an .npz file with a test set.

    Raises
    ------
    ImportError
        As for `read_images`.
    OSError
        If the path cannot be opened (``FileNotFoundError`` if there is none).
    TypeError
        As for `read_csv` and `read_images`.
    ValueError
        If the path is none of these, or as for the function that reads it; if ``label``,
        ``header``, ``pixels``, ``drop``, ``decimal``, ``encoding`` or ``images`` does not apply to
        it.
    """
    name = repr(os.fspath(path))
    how: dict[str, Any] = {
        "header": header,
        "pixels": pixels,
        "decimal": decimal,
        "encoding": encoding,
    }
    for_text = {**how, "drop": drop or None}
    if os.path.isdir(path):
        mnist = locate(Path(path))
        if not mnist and not pictures_in(path):
            file = next(iter(kinds_in(os.fspath(path))), None)
            other = "" if file is None else f", or a file, such as {file!r}"
            raise FileNotFoundError(
                f"{name} holds neither pictures, PNG or JPEG, nor the four files of MNIST; "
                f"need one of these{other}"
            )
        _refuse(name, "a folder", label=label, **for_text)
        if not mnist:
            return _of_length(name, _pictures(path, images or {}), columns)
        # It has the form of MNIST already, and is left as it is.
        of_mnist = None if images in ({"digits": True}, {"digits": False}) else images
        _refuse(name, "a folder of MNIST", images=of_mnist)
        return _of_length(name, _mnist(path), columns)
    if images is not None:
        raise ValueError(f"{name} is a file; images must be None, got {images!r}")
    with open_content(path) as stream:
        start = stream.read(4)
    refuse_office(path, name, start)
    if start in (b"PAR1", b"ARRO"):
        raise ValueError(
            f"{name} is Parquet or Arrow, which is read as a stream: by fastnn.datasets.stream, or "
            "by the command fastnn-train with --data, if its name ends in .parquet, .arrow or "
            ".feather; to predict it, read a DataFrame with pandas"
        )
    if start.startswith(ZIP):
        _refuse(name, "an .npz file", **for_text)
        if isinstance(label, int):
            raise ValueError(f"{name} is an .npz file; label must be None, got {label!r}")
        return _of_length(name, read_npz(path, label, dtype=dtype), columns)
    if len(start) == 4 and start.startswith(b"\0\0"):
        _refuse(name, "an IDX file", **for_text)
        if isinstance(label, int):
            raise ValueError(f"{name} is an IDX file; label must be the path of one, got {label}")
        return _of_length(name, Split(idx_table(path, label, dtype=dtype)), columns)
    if is_svmlight(path):
        _refuse(name, "a file of svmlight", label=label, **for_text)
        return _of_length(name, Split(read_svmlight(path, dtype=dtype)), columns)
    if Path(os.fspath(path).removesuffix(".gz")).suffix.lower() in _TEXT:
        return Split(read_csv(path, label, dtype=dtype, columns=columns, drop=drop, **how))
    raise ValueError(f"{name} starts with {start!r}, which is not known; need {_READABLE}")


def _of_length(name: str, split: Split, columns: Sequence[str] | None) -> Split:
    """Return tables without names of columns if they have as many features as there are names."""
    names, count = checked_names(columns), split.train.X.shape[1]
    if names is not None and count != len(names):
        raise ValueError(
            f"{name} has no names of columns, so they are taken by position, and it has {count} "
            f"features; need {len(names)}"
        )
    return split


def _refuse(name: str, what: str, **arguments: object) -> None:
    """Refuse arguments that do not apply to a kind of file."""
    for argument, value in arguments.items():
        if value is not None:
            raise ValueError(f"{name} is {what}; {argument} must be None, got {value!r}")


def _pictures(folder: str | os.PathLike[str], how: Mapping[str, Any]) -> Split:
    pictures = read_images(folder, **how)
    return Split(Table(pictures.X, pictures.y, None, "class", shape=pictures.shape))


def _mnist(folder: str | os.PathLike[str]) -> Split:
    train_images, train_labels, test_images, test_labels = load_mnist(folder)
    return Split(
        Table(train_images, train_labels.astype(np.int64), None, "label"),
        Table(test_images, test_labels.astype(np.int64), None, "label"),
    )
