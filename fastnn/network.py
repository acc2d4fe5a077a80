"""Network: the door for users. Arguments are checked here, once; the rest works on the model.

Most of its lines are the public docstrings.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt

from fastnn import backends, schedules
from fastnn.activations import Array
from fastnn.backends.contract import FINE
from fastnn.checks import data as check_data
from fastnn.checks import networks as check_network
from fastnn.checks import values as check
from fastnn.inspectable import Inspectable
from fastnn.losses import Custom
from fastnn.model import files, storage
from fastnn.model.initializers import INITIALIZERS, Initializer
from fastnn.model.model import Model
from fastnn.optimizers import Optimizer
from fastnn.training import data as training_data
from fastnn.training import evaluation, loop, settings
from fastnn.training.early_stopping import EarlyStopping
from fastnn.training.history import History
from fastnn.training.row_weights import ClassWeight
from fastnn.training.settings import Callback


class Network(Inspectable):
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
        All of them in one vector; rows are padded to cache lines, see `fastnn.model.parameters`.
    seed : int
    epochs_trained : int
    classes : tuple or None
        What the outputs stand for, strings or integers, if it was assigned: predictions are places
        among them. `save` keeps it.
    input_scaler, target_scaler : fastnn.model.scaling.Scaler or None
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
        init: str | Initializer = "glorot",
        seed: int | None = None,
        dtype: npt.DTypeLike = "float32",
        backend: str = "numba",
        threads: int | None = None,
        *,
        standardize_inputs: bool = False,
        standardize_targets: bool = False,
    ) -> None:
        architecture = check_network.architecture(sizes, activation, output, loss, dtype)
        check_network.standardized_targets(bool(standardize_targets), architecture)
        if seed is None:
            seed = int(np.random.SeedSequence().generate_state(1, np.uint64)[0])
        self.model = Model(
            architecture,
            check.integer("seed", seed, 0),
            check.one_of("backend", backend, backends.BACKENDS),
            None if threads is None else check.integer("threads", threads, 1),
            bool(standardize_inputs),
            bool(standardize_targets),
        )
        if not callable(init):
            init = INITIALIZERS[check.one_of("init", init, INITIALIZERS)]
        rng = np.random.default_rng([self.seed, 0])
        for l, weights in enumerate(self.weights):
            self.weights[l] = init(rng, *weights.shape)

    @classmethod
    def of(cls, model: Model) -> Network:
        """Return the network of a model."""
        net = cls.__new__(cls)
        net.model = model
        return net

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
        callbacks: Iterable[Callback] = (),
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
        model = self.model
        data = training_data.checked(model, X, y, validation, sample_weight, class_weight)
        keywords = {
            "epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "l2": l2,
            "shuffle": shuffle, "schedule": schedule, "progress": progress, "callbacks": callbacks,
            "optimizer": optimizer, "l1": l1, "dropout": dropout, "max_norm": max_norm,
            "clip_norm": clip_norm, "clip_value": clip_value, "label_smoothing": label_smoothing,
            "early_stopping": early_stopping, "max_seconds": max_seconds, "frozen": frozen,
            "training_metrics": training_metrics, "checkpoint": checkpoint,
            "checkpoint_every": checkpoint_every, "resume": resume,
        }  # fmt: skip
        return loop.fit(model, data, settings.checked(keywords, model.architecture, len(data)))

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
        return evaluation.outputs(self.model, "X", X)

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
        model = self.model
        if out is None:
            out = np.empty(model.architecture.sizes[-1], model.architecture.dtype)
        single = model.prepared.get("single")
        if single is None:
            single = model.prepared["single"] = backends.get(model.backend).single(model)
        try:
            status = single(x, out)
        except TypeError:  # not the fastest types
            row = check_data.single_row("x", x, model.architecture)
            check_data.writable_row("out", out, model.architecture)
            status = single(row, out)
        if status != FINE:
            check_data.features("x", np.reshape(x, (1, -1)), model.architecture)
            check_data.writable_row("out", out, model.architecture)
        if model.target_scaler is not None:
            evaluation.restore_targets(model, out)
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
        output = self.architecture.output
        if threshold is not None:
            check.real("threshold", threshold, least=0, most=1)
            if output != "sigmoid":
                raise ValueError(f"threshold needs the output 'sigmoid', not {output!r}")
        outputs = self.predict_proba(X)
        if output not in ("softmax", "sigmoid"):
            return outputs
        if threshold is None:
            return evaluation.classes_of(outputs)
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
        model = self.model
        known = training_data.evaluation_data(model, X, y, sample_weight, class_weight)
        return evaluation.evaluate(model, known)

    def save(self, path: str | os.PathLike[str], *, optimizer: bool = False) -> None:
        """Write the network to a ``.safetensors`` file, to be read by `fastnn.load`.

        The file appears complete or not at all. Other libraries can read it, too: the tensors are
        called ``layers.0.weights``, ``layers.0.biases`` and so on, see `fastnn.model.files`.

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
        storage.write(path, *files.parts_of(self.model, optimizer))
