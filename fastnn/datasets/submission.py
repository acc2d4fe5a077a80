"""Submissions to Kaggle."""

from __future__ import annotations

import csv
import os

import numpy as np
import numpy.typing as npt

from fastnn.writing import replacing


def write_submission(path: str | os.PathLike[str], labels: npt.ArrayLike) -> None:
    """Write predictions in the form of Kaggle's "Digit Recognizer": ``ImageId,Label``.

    The file appears complete or not at all. It replaces an older file of that name. Images are
    numbered from 1.

    Parameters
    ----------
    path : str or os.PathLike
    labels : array_like of numbers or str, shape (rows,)
        The predicted labels, in the order of the images.

    Raises
    ------
    FileNotFoundError
        If the folder of ``path`` does not exist.
    OSError
        If the file cannot be written.
    TypeError
        If the labels are neither numbers nor text.
    ValueError
        If ``labels`` is empty or not 1-D.
    """
    labels = np.asarray(labels)
    if labels.ndim != 1 or len(labels) == 0:
        raise ValueError(f"labels has shape {labels.shape}; need (rows,) with at least one")
    of_names = labels.dtype.kind == "O" and all(isinstance(each, int | str) for each in labels)
    if labels.dtype.kind not in "iufU" and not of_names:
        raise TypeError(f"labels has dtype {labels.dtype}; need numbers or text")
    with replacing(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([("ImageId", "Label"), *enumerate(labels.tolist(), start=1)])
