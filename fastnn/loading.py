"""Loading networks and committees from files."""

from __future__ import annotations

import os

from fastnn import backends
from fastnn.checks import values as check
from fastnn.checks.committees import agree
from fastnn.committee import Committee
from fastnn.losses import Custom
from fastnn.model import files, storage
from fastnn.network import Network


def load(
    path: str | os.PathLike[str],
    backend: str = "numba",
    threads: int | None = None,
    loss: Custom | None = None,
) -> Network | Committee:
    """Load a network or a committee from a file of ``save``, or a network from a checkpoint.

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
    Network or Committee
        What was saved, with the same parameters, seed, classes and standardisation, and with the
        optimizer's state if the file holds it. Predictions are the same to the bit.

    Raises
    ------
    OSError
        If the file cannot be read (``FileNotFoundError`` if there is none).
    TypeError, ValueError
        If the file is damaged, was not written by fastnn, is of a later version, or does not
        describe a network; if an argument is not as described.
    """
    found, metadata = storage.read(path)
    name = repr(os.fspath(path))
    backend = check.any_case("backend", backend, backends.BACKENDS)
    threads = None if threads is None else check.integer("threads", threads, 1)
    several = files.MEMBERS in metadata
    if several:
        models = files.models_of(name, found, metadata, loss)
        try:
            agree(models)
        except ValueError as error:
            raise ValueError(f"{name} does not describe a committee: {error}") from None
    else:
        models = [files.model_of(name, found, metadata, loss)]
    for model in models:
        model.backend, model.threads = backend, threads
        model.take_average()  # of a run that has not ended
    networks = [Network.of(model) for model in models]
    return Committee(networks) if several else networks[0]
