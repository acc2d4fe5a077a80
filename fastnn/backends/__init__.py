"""The two backends, and the contract that both keep.

A backend is a module of plain functions. ``net`` is a `fastnn.Network`, of which a backend reads
``architecture``, ``parameters``, ``weights``, ``biases``, ``threads`` and ``input_scaler``.
Arguments were validated by the network: X (n, features) is float32, float64 or uint8 in any memory
layout, and uint8 means pixels, to be scaled from 0..255 to 0..1; Y is either int64 labels (n,) or
targets (n, outputs) in float32, float64 or uint8; ``weights`` (n,) of the rows, or None, have mean
1 and the net's dtype. ``keys`` are those of `fastnn.dropout.row_keys`, (layers, rows), or (0, 0)
without dropout. No argument but ``out``, ``outs``, ``losses``, ``gradient`` and, in `train_steps`,
the network's parameters and ``state`` is changed.

``prepare(net, announce, rule, one_row) -> float``
    Make ready for that network and that rule, and for steps of a single row and `single` if
    ``one_row`` (all works in any case, but the first call may take its time); return the seconds
    that it took. ``announce()`` is called if anything has to be compiled.
``predict(net, X, out) -> bool``
    Write the outputs of the last layer into ``out`` (n, outputs), C-contiguous, of the net's dtype.
    Return whether all inputs were finite in that dtype; here X may hold others.
``single(net) -> callable``
    Return a function ``predict_one(x, out) -> int`` that writes the outputs for one row, and
    returns `FINE`, `NOT_FINITE` or `WRONG_LENGTH`. It raises a TypeError unless both are vectors of
    the net's dtype, contiguous and writable. It stays valid as long as the network lives and its
    scaler stays.
``activations(net, X, outs)``
    Write the activations of each layer into ``outs``, each (n, fan_out).
``loss(net, X, Y, weights, out) -> float``
    Predict, and return the mean of the rows' losses times their weights, without any penalty.
``input_gradient(net, X, Y, out)``
    Write the gradient of each row's loss with respect to its inputs, as the network gets them, into
    ``out`` (n, features).
``loss_and_gradient(net, X, Y, weights, objective, keys, gradient) -> float``
    Return what is minimised, see `fastnn.rules.Objective`, and write its gradient into
    ``gradient``, a `fastnn.parameters.Parameters`.
``train_steps(net, X, Y, weights, order, batch_size, rates, rule, keys, state, losses) -> int``
    For step s, take the rows ``order[s * batch_size : (s + 1) * batch_size]`` (the last batch may
    be shorter), put their mean loss into ``losses[s]``, without the penalty, and move the
    parameters as the rule says, at the learning rate ``rates[s]``. Stop before a step whose loss is
    not finite; return the number of steps taken, which the ``state`` counts too.
"""

from __future__ import annotations

import importlib
from types import ModuleType

import numpy as np
import numpy.typing as npt

BACKENDS = {"numba": "fastnn.backends.compiled", "numpy": "fastnn.backends.reference"}
CONTRACT = (
    "prepare",
    "predict",
    "single",
    "activations",
    "loss",
    "input_gradient",
    "loss_and_gradient",
    "train_steps",
)


FINE, NOT_FINITE, WRONG_LENGTH = range(3)


def warmup(*dtypes: npt.DTypeLike) -> float:
    """Compile all kernels, or load them from the cache, ahead of their first use.

    Parameters
    ----------
    *dtypes : str or numpy.dtype
        "float32", which is the default, or "float64", or both.

    Returns
    -------
    float
        Seconds that it took.
    """
    warm = get("numba").warmup
    return float(sum(warm(np.dtype(dtype)) for dtype in dtypes or ("float32",)))


def get(name: str) -> ModuleType:
    """Return the backend of that name, imported only now: importing Numba takes a while."""
    return importlib.import_module(BACKENDS[name])
