"""Loading networks and committees from files, of fastnn and of other libraries."""

from __future__ import annotations

import os

from fastnn import backends
from fastnn.checks import values as check
from fastnn.checks.committees import agree
from fastnn.committee import Committee
from fastnn.conversion import onnx
from fastnn.losses import Custom
from fastnn.model import files, storage
from fastnn.model.model import Model
from fastnn.network import Network
from fastnn.writing import check_file


def load(
    path: str | os.PathLike[str],
    backend: str = "numba",
    threads: int | None = None,
    loss: Custom | None = None,
) -> Network | Committee:
    """Load a network or a committee from a file of ``save``, or a network from a checkpoint.

    A file whose name ends with ``.onnx`` may be of `Network.export` or of another library, if it is
    that of a multi-layer perceptron; this needs onnx. The whole file is checked first. Nothing in
    it is executed.

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
        optimizer's state if the file holds it. Predictions are the same to the bit; those of an
        ONNX file are what other programs predict with it, up to rounding.

    Raises
    ------
    OSError
        If the file cannot be read (``FileNotFoundError`` if there is none).
    TypeError, ValueError
        If the file is damaged, was not written by fastnn, is of a later version, or does not
        describe a network; if an argument is not as described.
    ImportError
        If the file is in ONNX, and onnx is not installed.
    """
    path = check_file(path)
    if path.lower().endswith(".onnx"):
        models = [onnx.load(path, loss).model]
        several = False
    else:
        models, several = _saved(path, loss)
    backend = check.any_case("backend", backend, backends.BACKENDS)
    threads = None if threads is None else check.integer("threads", threads, 1)
    for model in models:
        model.backend, model.threads = backend, threads
        model.take_average()  # of a run that has not ended
    networks = [Network.of(model) for model in models]
    return Committee(networks) if several else networks[0]


def _saved(path: str, loss: Custom | None) -> tuple[list[Model], bool]:
    """Return the models of a file of fastnn, and whether they are those of a committee."""
    found, metadata = storage.read(path)
    name = repr(path)
    several = files.MEMBERS in metadata
    if several:
        models = files.models_of(name, found, metadata, loss)
        try:
            agree(models)
        except ValueError as error:
            raise ValueError(f"{name} does not describe a committee: {error}") from None
    else:
        models = [files.model_of(name, found, metadata, loss)]
    return models, several
