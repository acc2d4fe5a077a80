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
    """Load a network from a file of `Network.save`, or from a checkpoint.

    The whole file is checked first. Nothing in it is executed.

    Parameters
    ----------
    path : str or path
    backend : str
        As for `Network`; the file does not hold it.
    threads : int, optional
        As for `Network`; the file does not hold it.
    loss : callable, optional
        The network's loss, if it is a function of your own; the file does not hold functions.

    Returns
    -------
    Network
        With the same parameters, seed, classes and standardisation, and with the optimizer's state
        if the file holds it. Predictions are the same to the bit.

    Raises
    ------
    OSError
        If the file cannot be read (``FileNotFoundError`` if there is none).
    TypeError, ValueError
        If the file is damaged, was not written by fastnn, is of a later version, or does not
        describe a network; if an argument is not as described.
    """
    found, metadata = storage.read(path)
    model = files.model_of(repr(os.fspath(path)), found, metadata, loss)
    model.backend = check.any_case("backend", backend, backends.BACKENDS)
    model.threads = None if threads is None else check.integer("threads", threads, 1)
    model.take_average()  # of a run that has not ended
    return Network.of(model)
