"""Text files that appear complete or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[TextIO]:
    """Open a text file to write. It replaces a file of that name when the block ends normally.

    Parameters
    ----------
    path : str or os.PathLike
        If it is a link, the file that the link names is replaced.

    Yields
    ------
    file object
        UTF-8; line ends are written unchanged.

    Raises
    ------
    FileNotFoundError
        If the folder of ``path`` does not exist.
    OSError
        If the file cannot be written.
    """
    folder, name = os.path.split(os.path.realpath(path))
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"no folder {folder!r} to write {name!r} in; need one that exists")
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=folder) as scratch:
        partial = os.path.join(scratch, name)
        with open(partial, "w", encoding="utf-8", newline="") as file:
            yield file
        os.replace(partial, os.path.join(folder, name))
