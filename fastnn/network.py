"""Network: the thin API. Everything is validated here, once; the work is done by the backends.

Most of its lines are the public docstrings.
"""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastnn import backends, inspection, loop, metrics, schedules
from fastnn import validation as check  # `validation` is an argument of train
from fastnn.activations import Array
from fastnn.checkpoints import Saver
from fastnn.dropout import NO_KEYS, row_keys
from fastnn.history import History
from fastnn.losses import Custom
from fastnn.optimizers import SGD, Optimizer, named
from fastnn.parameters import INITIALISERS, Initialiser, Parameters, Views
from fastnn.rules import Objective, Rule, State
from fastnn.scaling import Scaler, learn
from fastnn.splitting import stratified
from fastnn.stopping import EarlyStopping

ClassWeight = str | Mapping[int, float] | npt.ArrayLike


class _Known(NamedTuple):
    """Data to evaluate on: all rows, or those that ``rows`` names, with weights of mean 1."""

    X: Array
    targets: check.Targets
    weights: Array | None = None
    rows: Array | None = None


class Network:
    """A multi-layer perceptron.

    Parameters
    ----------
    sizes : sequence of int
        Units of each layer, the inputs first: ``[784, 128, 10]`` has one hidden layer of 128.
    activation : str or sequence of str
        Of the hidden layers, one name for all or one each: "relu", "leaky_relu", "elu", "selu",
        "gelu", "silu" or "swish", "softplus", "sigmoid", "tanh", "identity"; the formulas are in
        `fastnn.activations`.
    output : str, optional
        Of the last layer: "softmax" (classes that exclude each other), "sigmoid" (independent
        probabilities: two classes, or several labels), "identity" (numbers) or "exponential"
        (rates). By default softmax, and sigmoid for a single output.
    loss : str or callable, optional
        "cross_entropy" (with softmax), "binary_cross_entropy" (with sigmoid), "poisson" (with
        exponential or identity), or with any output "mse", "mae" or "huber"; the formulas are in
        `fastnn.losses`. By default the one that goes with the output: in this order, and "mse" with
        identity. Or a function of your own, see `fastnn.losses`, which costs a call from Python and
        a second pass forward in every step.
    init : str or callable
        How weights start: "glorot" or "xavier" (Glorot and Bengio, 2010), "he" (He et al., 2015),
        "normal" (standard normal), "uniform" (in +-0.05), or a function ``init(rng, fan_in,
        fan_out)`` that returns an array (fan_in, fan_out). Biases start at 0.
    seed : int, optional
        Fixes the initial weights, and the order of rows and dropout in every epoch: on one machine
        it fixes every bit of a run, at any number of threads. Without one, each network is
        different.
    dtype : str or numpy.dtype
        Of the parameters and of all computations: "float32" or "float64".
    backend : str
        "numba" (compiled, fast) or "numpy" (the reference, written to be read).
    threads : int, optional
        The most threads to use, by default all CPUs that the process may use. Steps too small to be
        faster on several take fewer by themselves. The results are the same bits at any number.
    standardize_inputs, standardize_targets : bool
        Bring the columns to mean 0 and standard deviation 1, as learnt from the rows of the first
        call of `train`; the network keeps both and applies them wherever it is used, so data and
        predictions stay in their own units. Targets need the output "identity"; their loss is in
        units of the standard deviation, all other metrics are in those of the data.

    Attributes
    ----------
    weights : sequence of ndarray of shape (fan_in, fan_out)
        One a layer; views, to be read, changed in place, or assigned: ``net.weights[0] = array``.
    biases : sequence of ndarray of shape (fan_out,)
    parameters : ndarray
        All of them in one vector; rows are padded to cache lines, see `fastnn.parameters`.
    seed : int
    epochs_trained : int
    classes : tuple or None
        What the outputs stand for, strings or integers, if it was assigned: predictions are places
        among them. `save` keeps it.
    input_scaler, target_scaler : fastnn.scaling.Scaler or None
        What standardisation has learnt: ``mean`` and ``scale`` of each column.

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
        output: str | None = None,
        loss: str | Custom | None = None,
        init: str | Initialiser = "glorot",
        seed: int | None = None,
        dtype: npt.DTypeLike = "float32",
        backend: str = "numba",
        threads: int | None = None,
        *,
        standardize_inputs: bool = False,
        standardize_targets: bool = False,
    ) -> None:
        self.architecture = check.architecture(sizes, activation, output, loss, dtype)
        self.backend = check.one_of("backend", backend, backends.BACKENDS)
        self.threads = None if threads is None else check.integer("threads", threads, 1)
        if seed is None:
            self.seed = int(np.random.SeedSequence().generate_state(1, np.uint64)[0])
        else:
            self.seed = check.integer("seed", seed, 0)
        check.standardized_targets(bool(standardize_targets), self.architecture)
        self.epochs_trained = 0
        self._classes: tuple[str | int, ...] | None = None
        self.input_scaler: Scaler | None = None
        self.target_scaler: Scaler | None = None
        self._standardize = bool(standardize_inputs), bool(standardize_targets)
        self._state: State | None = None
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

    @property
    def classes(self) -> tuple[str | int, ...] | None:
        """What the outputs stand for, if it is known."""
        return self._classes

    @classes.setter
    def classes(self, names: Iterable[str | int] | None) -> None:
        self._classes = check.classes("classes", names, self.architecture)

    def train(
        self,
        X: npt.ArrayLike,
        y: npt.ArrayLike,
        epochs: int = 10,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        l2: float = 0.0,
        validation: float | tuple[npt.ArrayLike, ...] | None = None,
        shuffle: bool = True,
        schedule: str | schedules.Schedule | Callable[[float], float] = "linear",
        progress: bool | None = None,
        callbacks: Iterable[loop.Callback] = (),
        *,
        optimizer: str | Optimizer = "sgd",
        l1: float = 0.0,
        dropout: float | Sequence[float] = 0.0,
        max_norm: float | None = None,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        label_smoothing: float = 0.0,
        class_weight: ClassWeight | None = None,
        sample_weight: npt.ArrayLike | None = None,
        early_stopping: bool | EarlyStopping = False,
        max_seconds: float | None = None,
        frozen: Iterable[int] = (),
        training_metrics: bool = False,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: int | None = None,
        resume: bool = False,
    ) -> History:
        """Train by mini-batch gradient descent; called again, it goes on.

        The optimizer goes on too, as long as it is of the same kind.

        Parameters
        ----------
        X : array of shape (rows, features)
            float32, float64 or uint8 (pixels: scaled from 0..255 to 0..1) in any memory layout is
            read in place, row by row, and may be a memory map; other numbers are converted first.
        y : array of shape (rows,) or (rows, outputs)
            Integer class labels, or targets: probabilities for the cross-entropies (with several
            sigmoids, 0 or 1 for each label), counts for poisson, else any numbers.
        epochs : int
            Times to go through all rows.
        batch_size : int, optional
            Rows a step, by default 32, or all rows if they are fewer. The last batch of an epoch
            has the rows that are left.
        learning_rate : float, optional
            Times the schedule's factor; by default the optimizer's own.
        l2, l1 : float
            The loss gets ``l2 / 2`` times the sum of the squared weights, and ``l1`` times the sum
            of their absolute values; biases are left alone.
        validation : (X, y), (X, y, sample_weight) or float, optional
            Evaluated after each epoch. A number from 0 to 1 is the share of the rows to set aside,
            drawn by the seed, of each class the same share.
        shuffle : bool
            Take the rows in a new order in every epoch.
        schedule : str, schedule or callable
            How the learning rate goes on: "linear" falls to zero over this call, "constant" stays;
            "exponential", "step", "inverse_scaling", "cosine", "one_cycle", "plateau", one of these
            from `fastnn.schedules` with other numbers, or a function from the epochs done (with
            fractions) to a factor.
        progress : bool, optional
            Show a progress bar, by default where standard error is a terminal.
        callbacks : iterable of callable
            Each is called after every epoch with that epoch's row of the history, a dict; training
            ends if it returns "stop".
        optimizer : str or optimizer
            "sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw", or one from
            `fastnn.optimizers` with other numbers: ``fastnn.optimizers.Adam(beta1=0.8)``.
        dropout : float or sequence of float
            The share of the hidden units that is left out of each row at random, in training only;
            or one share for the inputs and for each hidden layer.
        max_norm : float, optional
            The most that the norm of a unit's weights may be (Srivastava et al., 2014).
        clip_norm, clip_value : float, optional
            The most that the norm of the whole gradient, and then each number of it, may be.
        label_smoothing : float
            Targets of the cross-entropies move by this share towards the uniform distribution.
        class_weight : "balanced", mapping or sequence, optional
            From classes to weights, 1 where none is given; "balanced" is inverse to how often they
            occur. In validation, too, rows get the weights of their classes.
        sample_weight : array of shape (rows,), optional
            Times these, and then divided by their mean, row weights multiply the loss.
        early_stopping : bool or EarlyStopping
            Stop when a metric no longer gets better: see `fastnn.EarlyStopping`, which True takes
            with its defaults.
        max_seconds : float, optional
            Stop after that time, in the middle of an epoch if need be; compiling does not count.
        frozen : iterable of int
            Layers whose parameters stay as they are; the first is 0.
        training_metrics : bool
            Also record, after each epoch, the metrics of the rows that are trained on.
        checkpoint : str or path, optional
            Where to keep a file from which the run can go on, bit for bit: written at the start,
            after every epoch, at the end, and on Ctrl-C and SIGTERM (which then raises SystemExit
            with the code 143). `fastnn.load` reads it, too.
        checkpoint_every : int, optional
            Steps between two checkpoints, rather than an epoch.
        resume : bool
            Go on from the checkpoint, if the file is there; settings and data must be the same.

        Returns
        -------
        History
            A row for each epoch: ``loss``, the mean over the epoch's rows, each before the step
            that used it, without the penalty; training and validation metrics, as `evaluate` gives
            them, if asked for; ``learning_rate`` at the epoch's start; ``seconds`` and
            ``samples_per_second`` of training.

        Raises
        ------
        ValueError, TypeError
            If an argument is not as described; nothing has been changed then.
        DivergenceError
            If the loss, a parameter, what the optimizer remembers, or the loss or an output on
            validation data is no longer finite: it says where and what to try; the last good
            parameters are in place.
        KeyboardInterrupt
            On Ctrl-C. The compiled backend returns within a quarter of a second, and the network is
            as after some whole step at most so long before.
        RuntimeError
            If another thread is training this network, or a callback trains it; nothing has been
            changed then. Predicting with it from several threads is fine.
        """
        features, targets = self._data("X", X, "y", y)
        rows = aside = None
        if isinstance(validation, float | int | np.number):
            share = check.real("validation", validation, above=0, below=1)
            rows, aside = stratified(share, len(features), targets.labels, self.seed)
        count = len(features) if rows is None else len(rows)
        by_class = self._by_class(class_weight, targets.at(rows))
        weights = _weights("sample_weight", sample_weight, targets, by_class)
        held_out: _Known | None = None
        if aside is not None:
            part = None if weights is None else weights[aside]
            held_out = _Known(features[aside], targets.at(aside), self._normalised(part))
        elif validation is not None:
            held_out_X, held_out_y, given = check.held_out("validation", validation)
            others = self._data("validation X", held_out_X, "validation y", held_out_y)
            part = _weights("validation sample_weight", given, others[1], by_class)
            held_out = _Known(*others, self._normalised(part))
        normalised = self._normalised(weights, rows)
        recorded: dict[str, _Known] = {}
        if training_metrics:
            recorded["training"] = _Known(features, targets, normalised, rows)
        if held_out is not None:
            recorded["validation"] = held_out
        method = named(optimizer)
        if learning_rate is None:
            learning_rate = method.learning_rate
        epochs = check.integer("epochs", epochs, 1)
        stopping = EarlyStopping() if early_stopping is True else early_stopping or None
        run = loop.Run(
            epochs=epochs,
            batch_size=min(32, count)
            if batch_size is None
            else check.integer("batch_size", batch_size, 1, count, ", the number of rows"),
            learning_rate=check.real("learning_rate", learning_rate, above=0),
            schedule=schedules.named(schedule, epochs),
            rule=Rule(
                self._objective(l2, l1, label_smoothing, dropout),
                method,
                clip_norm=check.limit("clip_norm", clip_norm),
                clip_value=check.limit("clip_value", clip_value),
                max_norm=check.limit("max_norm", max_norm),
                frozen=check.layer_numbers("frozen", frozen, self.architecture),
            ),
            shuffle=bool(shuffle),
            evaluate=lambda: {
                f"{part}_{name}": value
                for part, known in recorded.items()
                for name, value in self._evaluate(known).items()
            },
            evaluates=bool(recorded),
            early_stopping=stopping,
            saver=None,
            max_seconds=check.limit("max_seconds", max_seconds),
            progress=progress,
            callbacks=check.functions("callbacks", callbacks),
        )
        if stopping is not None:
            self._check_metric(stopping, recorded)
        if checkpoint is not None:
            described = self._described(run, features, targets, normalised, rows)
            described["metrics"] = self._names(recorded)
            every = checkpoint_every
            every = None if every is None else check.integer("checkpoint_every", every, 1)
            run = replace(run, saver=Saver(checkpoint, every, bool(resume), described))
        elif checkpoint_every is not None or resume:
            raise ValueError("checkpoint_every and resume need a checkpoint, the path of a file")
        with loop.alone(self):
            self._learn_scales(features, targets, rows)
            return loop.fit(self, loop.Data(features, self._scaled(targets), normalised, rows), run)

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
            independent ones; with identity plain numbers; with exponential rates.

        Raises
        ------
        ValueError, TypeError
            If an argument is not as described.
        DivergenceError
            If outputs are not finite, as inputs or weights are too large.
        """
        features = check.features("X", X, self.architecture, finite=False)
        out = self._outputs(len(features))
        backend = backends.get(self.backend)
        for rows in self._slices(len(features)):
            if not backend.predict(self, features[rows], out[rows]):
                check.features("X", X, self.architecture)  # says where
        self._unscaled(out)
        self._check_outputs(out)
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
            ``out`` if it is given; the numbers are those of `predict_proba`, but for those that are
            not finite, which are left as they are.
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
        if self.target_scaler is not None:
            self._unscaled(out)
        return out

    def predict(self, X: npt.ArrayLike, threshold: float | None = None) -> Array:
        """Return predictions.

        Parameters
        ----------
        X : array of shape (rows, features)
            As for `train`.
        threshold : float, optional
            For sigmoids: which labels a row has, those whose probability is above it.

        Returns
        -------
        ndarray
            With softmax or sigmoid the class of each row, int64 (rows,): the largest output, or for
            a single output whether it is above one half. With a threshold the labels of each row, 0
            or 1, int64 (rows, outputs), or (rows,) for a single output. With identity or
            exponential the outputs (rows, outputs).
        """
        if threshold is not None:
            check.real("threshold", threshold, least=0, most=1)
            if self._output != "sigmoid":
                raise ValueError(f"threshold needs the output 'sigmoid', not {self._output!r}")
        outputs = self.predict_proba(X)
        if self._output not in ("softmax", "sigmoid"):
            return outputs
        if threshold is None:
            return _classes(outputs)
        labels = (outputs > threshold).astype(np.int64)
        return labels[:, 0] if labels.shape[1] == 1 else labels

    def evaluate(
        self,
        X: npt.ArrayLike,
        y: npt.ArrayLike,
        sample_weight: npt.ArrayLike | None = None,
        class_weight: ClassWeight | None = None,
    ) -> dict[str, float]:
        """Return how well the network does on data.

        Parameters
        ----------
        X, y : array
            As for `train`.
        sample_weight, class_weight : optional
            As for `train`; all metrics are weighted.

        Returns
        -------
        dict
            ``loss``, the mean over the rows, without a penalty. Where y names one class a row
            ``accuracy`` and ``macro_f1``, the mean over the classes of their F1 measures; for
            several labels a row the share of rows with all of them right, and the mean F1 of the
            labels. For numbers ``r2``, ``mae`` and ``rmse``, see `fastnn.metrics`.

        Raises
        ------
        ValueError, TypeError
            If an argument is not as described.
        DivergenceError
            If the loss or outputs are not finite, as weights, inputs or targets are too large.
        """
        features, targets = self._data("X", X, "y", y)
        by_class = self._by_class(class_weight, targets)
        weights = _weights("sample_weight", sample_weight, targets, by_class)
        return self._evaluate(_Known(features, targets, self._normalised(weights)))

    def loss_and_gradient(
        self,
        X: npt.ArrayLike,
        y: npt.ArrayLike,
        l2: float = 0.0,
        *,
        l1: float = 0.0,
        label_smoothing: float = 0.0,
        dropout: float | Sequence[float] = 0.0,
        sample_weight: npt.ArrayLike | None = None,
        class_weight: ClassWeight | None = None,
    ) -> tuple[float, Parameters]:
        """Return the mean loss of all rows, and its gradient.

        Parameters
        ----------
        X, y : array
            As for `train`.
        l2, l1, label_smoothing, dropout, sample_weight, class_weight : optional
            As for `train`. The units that are left out are the same in every call: those of the
            first epoch, without shuffling.

        Returns
        -------
        loss : float
            With the penalties.
        gradient : Parameters
            With ``weights``, ``biases`` and the flat ``vector``, as those of the network.
        """
        features, targets = self._data("X", X, "y", y)
        by_class = self._by_class(class_weight, targets)
        weights = self._normalised(_weights("sample_weight", sample_weight, targets, by_class))
        objective = self._objective(l2, l1, label_smoothing, dropout)
        keys = NO_KEYS
        if objective.drops:
            keys = row_keys(self.seed, 1, len(self.weights), range(len(features)))
        gradient = Parameters(self.architecture)
        value: float = backends.get(self.backend).loss_and_gradient(
            self, features, self._scaled(targets), weights, objective, keys, gradient
        )
        return value, gradient

    def activations(self, X: npt.ArrayLike) -> list[Array]:
        """Return what each layer makes of the rows.

        Parameters
        ----------
        X : array of shape (rows, features)
            As for `train`.

        Returns
        -------
        list of ndarray of shape (rows, fan_out)
            One a layer; the last is the outputs, before a standardisation of targets is undone.
        """
        features = check.features("X", X, self.architecture)
        outs = [
            np.empty((len(features), size), self.architecture.dtype)
            for size in self.architecture.sizes[1:]
        ]
        backends.get(self.backend).activations(self, features, outs)
        return outs

    def input_gradient(self, X: npt.ArrayLike, y: npt.ArrayLike) -> Array:
        """Return the gradient of each row's loss with respect to its inputs.

        Parameters
        ----------
        X, y : array
            As for `train`.

        Returns
        -------
        ndarray of shape (rows, features)
            In units of the inputs; of uint8, which are pixels, after their scaling to 0..1.
        """
        features, targets = self._data("X", X, "y", y)
        out = np.empty(features.shape, self.architecture.dtype)
        backends.get(self.backend).input_gradient(self, features, self._scaled(targets), out)
        return out if self.input_scaler is None else out * self.input_scaler.scale

    def summary(self) -> None:
        """Print a table of the layers: shapes, parameters, memory, operations for a row."""
        print(inspection.summary(self))

    def save(self, path: str | os.PathLike[str], *, optimizer: bool = False) -> None:
        """Write the network to a ``.safetensors`` file, to be read by `fastnn.load`.

        The file appears complete or not at all. Other libraries can read it, too: the tensors are
        called ``layers.0.weights``, ``layers.0.biases`` and so on, see `fastnn.files`.

        Parameters
        ----------
        path : str or path
        optimizer : bool
            Also write what the optimizer remembers, so that training goes on as if it had not been
            interrupted.

        Raises
        ------
        FileNotFoundError
            If the folder of ``path`` does not exist.
        OSError
            If the file cannot be written; one of that name is left as it was.
        """
        from fastnn import files, tensors  # files builds networks

        tensors.write(path, *files.parts_of(self, optimizer))

    def optimizer_state(self, optimizer: Optimizer) -> State:
        """Return what an optimizer of that kind remembers of this network, anew if it is another.

        Parameters
        ----------
        optimizer : optimizer
            From `fastnn.optimizers`.
        """
        if self._state is None or not self._state.fits(optimizer):
            self._state = State(optimizer, self.architecture)
        return self._state

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_single": None}  # it knows addresses in this process

    def __repr__(self) -> str:
        a = self.architecture
        name = a.loss if isinstance(a.loss, str) else getattr(a.loss, "__name__", repr(a.loss))
        return (
            f"Network({list(a.sizes)}, activation={list(a.activations[:-1])}, "
            f"output={a.activations[-1]!r}, loss={name!r}, dtype={a.dtype.name!r}, "
            f"backend={self.backend!r}, parameters: {a.parameter_count:,})"
        )

    @property
    def _output(self) -> str:
        return self.architecture.activations[-1]

    def _data(self, x_name: str, X: Any, y_name: str, y: Any) -> tuple[Array, check.Targets]:
        features = check.features(x_name, X, self.architecture)
        return features, check.targets(y_name, y, len(features), self.architecture)

    def _objective(self, l2: Any, l1: Any, label_smoothing: Any, dropout: Any) -> Objective:
        return Objective(
            l2=check.real("l2", l2, least=0),
            l1=check.real("l1", l1, least=0),
            label_smoothing=check.label_smoothing(label_smoothing, self.architecture),
            dropout=check.rates_of_dropout(dropout, self.architecture),
        )

    def _by_class(self, class_weight: ClassWeight | None, targets: check.Targets) -> Array | None:
        """Return the weight of each class, if there are any."""
        if class_weight is None:
            return None
        return check.class_weights(class_weight, targets.labels, self.architecture)

    def _normalised(self, weights: Array | None, rows: Array | None = None) -> Array | None:
        """Return weights with mean 1, over all rows or some of them."""
        if weights is None:
            return None
        with np.errstate(over="ignore"):
            mean = (weights if rows is None else weights[rows]).mean()
        if not np.isfinite(mean):
            raise ValueError("the weights of the rows are too large to be added up")
        if mean == 0:
            raise ValueError("the weights of the rows to train on, or to validate on, are all 0")
        return (weights / mean).astype(self.architecture.dtype)

    def _evaluate(self, known: _Known) -> dict[str, float]:
        backend = backends.get(self.backend)
        targets, weights = known.targets.at(known.rows), known.weights
        if weights is not None and known.rows is not None:
            weights = weights[known.rows]
        out = self._outputs(len(targets.values))
        scaled = self._scaled(targets)
        total = 0.0
        for rows in self._slices(len(out)):
            X = known.X[rows if known.rows is None else known.rows[rows]]
            part = None if weights is None else weights[rows]
            total += backend.loss(self, X, scaled[rows], part, out[rows]) * len(X)
        values = {"loss": total / len(out)}
        self._unscaled(out)
        self._check_outputs(out)
        if not math.isfinite(values["loss"]):
            raise loop.DivergenceError(
                f"the loss is {values['loss']}, though the outputs are finite: targets "
                "or outputs are too large for the loss; scale them to about -1 .. 1"
            )
        names = self._metrics(targets)
        if targets.labels is not None:
            classes = _classes(out)
            values["accuracy"] = metrics.accuracy(targets.labels, classes, weights)
            values["macro_f1"] = metrics.macro_f1(targets.labels, classes, weights=weights)
        elif "accuracy" in names:
            scores = metrics.multilabel_scores(targets.values, out > 0.5, weights)
            values |= zip(names, scores, strict=True)
        else:
            values |= {name: getattr(metrics, name)(targets.values, out, weights) for name in names}
        return values

    def _check_outputs(self, out: Array) -> None:
        """Refuse outputs that are not finite, though the inputs are."""
        if not np.isfinite(out).all():
            row = np.isfinite(out).all(axis=1).argmin()
            raise loop.DivergenceError(
                f"the outputs are no longer finite for row {row}: its numbers, or the "
                f"weights, are too large for {self.architecture.dtype}. Try inputs scaled to about "
                "-1 .. 1, and in training a lower learning_rate"
            )

    def _metrics(self, targets: check.Targets) -> tuple[str, ...]:
        """Return the names of the metrics that fit some targets."""
        if self._output not in ("softmax", "sigmoid") and targets.labels is None:
            return ("r2", "mae", "rmse")
        several = self._output == "sigmoid" and np.isin(targets.values, (0, 1)).all()
        return ("accuracy", "macro_f1") if targets.labels is not None or several else ()

    def _check_metric(self, stopping: EarlyStopping, recorded: Mapping[str, _Known]) -> None:
        """Refuse early stopping on what this run does not record."""
        if not isinstance(stopping, EarlyStopping):
            raise TypeError(f"early_stopping must be a bool or an EarlyStopping, got {stopping!r}")
        names = ["loss", *self._names(recorded)]
        if stopping.metric not in names:
            hint = "" if "validation" in recorded else "; others need validation data"
            raise ValueError(
                f"early_stopping's metric must be one of {', '.join(names)}{hint}; "
                f"got {stopping.metric!r}"
            )

    def _names(self, recorded: Mapping[str, _Known]) -> list[str]:
        """Return the columns of the history that a run's metrics take."""
        return [
            f"{part}_{name}"
            for part, known in recorded.items()
            for name in ("loss", *self._metrics(known.targets))
        ]

    def _learn_scales(self, X: Array, targets: check.Targets, rows: Array | None) -> None:
        """Learn standardisation, once."""
        inputs, outputs = self._standardize
        dtype = self.architecture.dtype
        if inputs and self.input_scaler is None:
            self.input_scaler = learn("X", X, rows, dtype)
            self._single = None
        if outputs and self.target_scaler is None:
            self.target_scaler = learn("y", targets.as_matrix(self.architecture), rows, dtype)

    def _described(
        self,
        run: loop.Run,
        X: Array,
        targets: check.Targets,
        weights: Array | None,
        rows: Array | None,
    ) -> dict[str, Any]:
        """Return what must be the same for a run to go on, as JSON can hold it."""
        arrays = {"labels": targets.values, "weights": weights, "rows": rows}
        digests = {
            name: None if array is None else zlib.crc32(array.tobytes())
            for name, array in arrays.items()
        }
        schedule = run.schedule
        return {
            "epochs": run.epochs,
            "batch_size": run.batch_size,
            "learning_rate": run.learning_rate,
            "schedule": getattr(schedule, "__qualname__", None) or repr(schedule),
            "optimizer": repr(run.rule.optimizer),
            "rule": repr(replace(run.rule, optimizer=SGD(), frozen=frozenset())),
            "frozen": sorted(run.rule.frozen),
            "shuffle": run.shuffle,
            "early_stopping": repr(run.early_stopping),
            "data": [*X.shape, X.dtype.name],
            **digests,
        }

    def _scaled(self, targets: check.Targets) -> Array:
        """Return targets as the backends learn them."""
        if self.target_scaler is None:
            return targets.values
        mean, scale = self.target_scaler
        matrix = targets.as_matrix(self.architecture)
        return ((matrix - mean) * scale).astype(self.architecture.dtype)

    def _unscaled(self, out: Array) -> Array:
        """Bring outputs back to the units of the targets, in place."""
        if self.target_scaler is not None:
            out[...] = self.target_scaler.restored(out)
        return out

    def _outputs(self, rows: int) -> Array:
        return np.empty((rows, self.architecture.sizes[-1]), self.architecture.dtype)

    def _slices(self, rows: int) -> Iterator[slice]:
        """Cut rows into calls of a backend that are short enough to be interrupted."""
        length = max(1, math.ceil(loop.SLICE / (self.architecture.forward_flops + 1000)))
        for first in range(0, rows, length):
            yield slice(first, min(first + length, rows))


def _weights(
    name: str, sample_weight: Any, targets: check.Targets, by_class: Array | None
) -> Array | None:
    """Return the weights of rows, those of their own times those of their classes."""
    rows = len(targets.values)
    weights = None if sample_weight is None else check.sample_weights(name, sample_weight, rows)
    if by_class is None:
        return weights
    if targets.labels is None:
        raise ValueError("class_weight needs targets that name one class in each row")
    of_classes: Array = by_class[targets.labels]
    return of_classes if weights is None else of_classes * weights


def _classes(outputs: Array) -> Array:
    """Return the class that each row of outputs speaks for."""
    if outputs.shape[1] == 1:
        return (outputs[:, 0] > 0.5).astype(np.int64)
    return outputs.argmax(axis=1)
