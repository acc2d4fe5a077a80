"""Loading networks from files."""

from __future__ import annotations

import os

from fastnn import backends
from fastnn.checks import values as check
from fastnn.losses import Custom
from fastnn.model import files, storage
from fastnn.network import Network


def load(
    path: str | os.PathLike[str],
    backend: str = "numba",
    threads: int | None = None,
    loss: Custom | None = None,
) -> Network:
    """Load a network that `Network.save` has written, or that a checkpoint holds.

    Everything is checked before anything is built; nothing in a file is executed.

    Parameters
    ----------
    path : str or path
    backend, threads
        As for `Network`: they belong to a machine and are not in the file.
    loss : callable, optional
        The network's loss, if it is a function of your own: functions are not in files.

    Returns
    -------
    Network
        With the same parameters, seed, classes and standardisation: its predictions are the same
        bits.

    Raises
    ------
    OSError
        If the file cannot be read (``FileNotFoundError`` if there is none).
    ValueError, TypeError
        If it is damaged, was not written by fastnn, is of a later version, or its settings, names,
        shapes or numbers are not those of a network; if an argument is not as described.
    """
    found, metadata = storage.read(path)
    model = files.model_of(repr(os.fspath(path)), found, metadata, loss)
    model.backend = check.one_of("backend", backend, backends.BACKENDS)
    model.threads = None if threads is None else check.integer("threads", threads, 1)
    return Network.of(model)
