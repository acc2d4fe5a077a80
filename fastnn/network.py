"""Network: the thin API. Everything is validated here, once; the work is done by the backends.

Most of its lines are the public docstrings.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastnn import backends, loop, metrics
from fastnn import validation as check  # `validation` is an argument of train
from fastnn.activations import Array
from fastnn.history import History
from fastnn.parameters import INITIALISERS, Initialiser, Parameters, Views
from fastnn.schedules import SCHEDULES


class Network:
    """A multi-layer perceptron.

    Parameters
    ----------
    sizes : sequence of int
        Units of each layer, the inputs first: ``[784, 128, 10]`` has one hidden layer of 128.
    activation : str or sequence of str
        Of the hidden layers, one name for all or one each: "relu", "sigmoid", "tanh", "identity".
    output : str
        Of the last layer: "softmax" (classes), "sigmoid" (independent probabilities) or "identity".
    loss : str
        "cross_entropy" (with softmax or sigmoid) or "mse"; the formulas are in `fastnn.losses`.
    init : str or callable
        How weights start: "glorot" or "xavier" (Glorot and Bengio, 2010), "he" (He et al., 2015),
        "normal" (standard normal), "uniform" (in +-0.05), or a function ``init(rng, fan_in,
        fan_out)`` that returns an array (fan_in, fan_out). Biases start at 0.
    seed : int, optional
        Fixes the initial weights and the order of rows in every epoch: on one machine it fixes
        every bit of a run, at any number of threads. Without one, each network is different.
    dtype : str or numpy.dtype
        Of the parameters and of all computations: "float32" or "float64".
    backend : str
        "numba" (compiled, fast) or "numpy" (the reference, written to be read).
    threads : int, optional
        The most threads to use, by default all CPUs that the process may use. Steps too small to be
        faster on several take fewer by themselves. The results are the same bits at any number.

    Attributes
    ----------
    weights : sequence of ndarray of shape (fan_in, fan_out)
        One a layer; views, to be read, changed in place, or assigned: ``net.weights[0] = array``.
    biases : sequence of ndarray of shape (fan_out,)
    parameters : ndarray
        All of them in one vector; rows are padded to cache lines, see `fastnn.parameters`.
    seed : int
    epochs_trained : int

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described; the message says what it must be.

    Examples
    --------
    >>> import fastnn
    >>> net = fastnn.Network([2, 8, 2], activation="tanh", seed=3)
    >>> X, y = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [0, 1, 1, 0]
    >>> history = net.train(X, y, epochs=500)
    >>> net.predict(X).tolist()
    [0, 1, 1, 0]
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: str | Sequence[str] = "relu",
        output: str = "softmax",
        loss: str = "cross_entropy",
        init: str | Initialiser = "glorot",
        seed: int | None = None,
        dtype: npt.DTypeLike = "float32",
        backend: str = "numba",
        threads: int | None = None,
    ) -> None:
        self.architecture = check.architecture(sizes, activation, output, loss, dtype)
        self.backend = check.one_of("backend", backend, backends.BACKENDS)
        self.threads = None if threads is None else check.integer("threads", threads, 1)
        if seed is None:
            self.seed = int(np.random.SeedSequence().generate_state(1, np.uint64)[0])
        else:
            self.seed = check.integer("seed", seed, 0)
        self.epochs_trained = 0
        self._single: Callable[[Any, Any], int] | None = None
        self._parameters = Parameters(self.architecture)
        if not callable(init):
            init = INITIALISERS[check.one_of("init", init, INITIALISERS)]
        rng = np.random.default_rng([self.seed, 0])
        for l, weights in enumerate(self.weights):
            self.weights[l] = init(rng, *weights.shape)

    @property
    def parameters(self) -> Array:
        """All parameters in one vector, padding included; padding must stay zero."""
        return self._parameters.vector

    @property
    def weights(self) -> Views:
        """The weights of each layer, views of shape (fan_in, fan_out)."""
        return self._parameters.weights

    @property
    def biases(self) -> Views:
        """The biases of each layer, views of shape (fan_out,)."""
        return self._parameters.biases

    def train(
        self,
        X: npt.ArrayLike,
        y: npt.ArrayLike,
        epochs: int = 10,
        batch_size: int | None = None,
        learning_rate: float = 0.3,
        l2: float = 0.0,
        validation: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
        shuffle: bool = True,
        schedule: str = "linear",
        progress: bool | None = None,
        callbacks: Iterable[loop.Callback] = (),
    ) -> History:
        """Train by mini-batch stochastic gradient descent; called again, it goes on.

        Parameters
        ----------
        X : array of shape (rows, features)
            float32, float64 or uint8 (pixels: scaled from 0..255 to 0..1) in any memory layout is
            read in place, row by row, and may be a memory map; other numbers are converted first.
        y : array of shape (rows,) or (rows, outputs)
            Integer class labels, or targets: probabilities for cross-entropy, any numbers for mse.
        epochs : int
            Times to go through all rows.
        batch_size : int, optional
            Rows a step, by default 32, or all rows if they are fewer. The last batch of an epoch
            has the rows that are left.
        learning_rate : float
            At the first step.
        l2 : float
            The loss gets ``l2 / 2`` times the sum of the squared weights; biases are left alone.
        validation : (X, y), optional
            Evaluated after each epoch.
        shuffle : bool
            Take the rows in a new order in every epoch.
        schedule : str
            How the learning rate goes on: "linear" falls to zero over this call, "constant" stays.
        progress : bool, optional
            Show a progress bar, by default where standard error is a terminal.
        callbacks : iterable of callable
            Each is called after every epoch with that epoch's row of the history, a dict.

        Returns
        -------
        History
            A row for each epoch: ``loss``, the mean over the epoch's rows, each before the step
            that used it, without the penalty; validation metrics; ``learning_rate`` at the epoch's
            start;
            ``seconds`` and ``samples_per_second`` of training.

        Raises
        ------
        ValueError, TypeError
            If an argument is not as described; nothing has been changed then.
        DivergenceError
            If the loss is no longer finite; the last good parameters are in place.
        KeyboardInterrupt
            On Ctrl-C. The compiled backend returns within a quarter of a second, and the network is
            as of the last whole step.
        """
        features, targets = self._data("X", X, "y", y)
        rows = len(features)
        if batch_size is None:
            batch_size = min(32, rows)
        held_out = None
        if validation is not None:
            held_out_X, held_out_y = check.pair("validation", validation)
            held_out = self._data("validation X", held_out_X, "validation y", held_out_y)

        def evaluate() -> dict[str, float]:
            if held_out is None:
                return {}
            values = self._evaluate(*held_out)
            return {f"validation_{name}": value for name, value in values.items()}

        run = loop.Run(
            epochs=check.integer("epochs", epochs, 1),
            batch_size=check.integer("batch_size", batch_size, 1, rows, ", the number of rows"),
            learning_rate=check.real("learning_rate", learning_rate, above=0),
            schedule=check.one_of("schedule", schedule, SCHEDULES),
            l2=check.real("l2", l2, least=0),
            shuffle=bool(shuffle),
            evaluate=evaluate,
            progress=progress,
            callbacks=check.functions("callbacks", callbacks),
        )
        return loop.fit(self, features, targets.values, run)

    def predict_proba(self, X: npt.ArrayLike) -> Array:
        """Return the outputs of the last layer.

        Parameters
        ----------
        X : array of shape (rows, features)
            As for `train`.

        Returns
        -------
        ndarray of shape (rows, outputs)
            In the network's dtype: with softmax the probabilities of the classes; with sigmoid
            independent ones; with identity plain numbers.
        """
        features = check.features("X", X, self.architecture, finite=False)
        out = self._outputs(len(features))
        backend = backends.get(self.backend)
        for rows in self._slices(len(features)):
            if not backend.predict(self, features[rows], out[rows]):
                check.features("X", X, self.architecture)  # says where
        return out

    def predict_one(self, x: npt.ArrayLike, out: Array | None = None) -> Array:
        """Return the outputs for a single row, in microseconds; no thread is ever started.

        Parameters
        ----------
        x : array of shape (features,)
            Fastest is a contiguous array of the network's dtype; as for `train`, uint8 is scaled.
        out : ndarray of shape (outputs,), optional
            Where to write them: contiguous, in the network's dtype.

        Returns
        -------
        ndarray of shape (outputs,)
            ``out`` if it is given; the numbers are those of `predict_proba`.
        """
        if out is None:
            out = np.empty(self.architecture.sizes[-1], self.architecture.dtype)
        if self._single is None:
            self._single = backends.get(self.backend).single(self)
        try:
            status = self._single(x, out)
        except TypeError:  # not the fastest types
            x = check.single_row("x", x, self.architecture)
            check.writable_row("out", out, self.architecture)
            status = self._single(x, out)
        if status != backends.FINE:
            check.features("x", np.reshape(x, (1, -1)), self.architecture)
            check.writable_row("out", out, self.architecture)
        return out

    def predict(self, X: npt.ArrayLike) -> Array:
        """Return predictions.

        Parameters
        ----------
        X : array of shape (rows, features)
            As for `train`.

        Returns
        -------
        ndarray
            With softmax or sigmoid the class of each row, int64 (rows,): the largest output, or for
            a single output whether it is above one half. With identity the outputs (rows, outputs).
        """
        outputs = self.predict_proba(X)
        return outputs if self.architecture.activations[-1] == "identity" else _classes(outputs)

    def evaluate(self, X: npt.ArrayLike, y: npt.ArrayLike) -> dict[str, float]:
        """Return how well the network does on data.

        Parameters
        ----------
        X, y : array
            As for `train`.

        Returns
        -------
        dict
            ``loss``, the mean over the rows, without a penalty; and where y names one class a row
            ``accuracy`` and ``macro_f1``, the mean over the classes of their F1 measures.
        """
        return self._evaluate(*self._data("X", X, "y", y))

    def loss_and_gradient(
        self, X: npt.ArrayLike, y: npt.ArrayLike, l2: float = 0.0
    ) -> tuple[float, Parameters]:
        """Return the mean loss of all rows, and its gradient.

        Parameters
        ----------
        X, y : array
            As for `train`.
        l2 : float
            Adds ``l2 / 2`` times the sum of the squared weights to the loss.

        Returns
        -------
        loss : float
        gradient : Parameters
            With ``weights``, ``biases`` and the flat ``vector``, as those of the network.
        """
        features, targets = self._data("X", X, "y", y)
        gradient = Parameters(self.architecture)
        value: float = backends.get(self.backend).loss_and_gradient(
            self, features, targets.values, check.real("l2", l2, least=0), gradient
        )
        return value, gradient

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_single": None}  # it knows addresses in this process

    def __repr__(self) -> str:
        a = self.architecture
        return (
            f"Network({list(a.sizes)}, activation={list(a.activations[:-1])}, "
            f"output={a.activations[-1]!r}, loss={a.loss!r}, dtype={a.dtype.name!r}, "
            f"backend={self.backend!r}, parameters: {a.parameter_count:,})"
        )

    def _data(self, x_name: str, X: Any, y_name: str, y: Any) -> tuple[Array, check.Targets]:
        features = check.features(x_name, X, self.architecture)
        return features, check.targets(y_name, y, len(features), self.architecture)

    def _evaluate(self, X: Array, targets: check.Targets) -> dict[str, float]:
        backend = backends.get(self.backend)
        out = self._outputs(len(X))
        total = 0.0
        for rows in self._slices(len(X)):
            part = backend.loss(self, X[rows], targets.values[rows], out[rows])
            total += part * len(out[rows])
        values = {"loss": total / len(X)}
        if targets.labels is not None:
            classes = _classes(out)
            values["accuracy"] = metrics.accuracy(targets.labels, classes)
            values["macro_f1"] = metrics.macro_f1(targets.labels, classes)
        return values

    def _outputs(self, rows: int) -> Array:
        return np.empty((rows, self.architecture.sizes[-1]), self.architecture.dtype)

    def _slices(self, rows: int) -> Iterator[slice]:
        """Cut rows into calls of a backend that are short enough to be interrupted."""
        length = max(1, math.ceil(loop.SLICE / (self.architecture.forward_flops + 1000)))
        for first in range(0, rows, length):
            yield slice(first, min(first + length, rows))


def _classes(outputs: Array) -> Array:
    """Return the class that each row of outputs speaks for."""
    if outputs.shape[1] == 1:
        return (outputs[:, 0] > 0.5).astype(np.int64)
    return outputs.argmax(axis=1)
