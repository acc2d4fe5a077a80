"""`Network`, the main class: it checks the arguments and hands them to model and training."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastnn import backends, distributed, schedules
from fastnn.augment import Augmentation
from fastnn.averaging import Average
from fastnn.checks import networks as check_network
from fastnn.checks import values as check
from fastnn.checks.keywords import suggesting
from fastnn.learning import Learning
from fastnn.losses import Loss
from fastnn.model.initializers import INITIALIZERS, Initializer
from fastnn.model.model import Model
from fastnn.optimizers import Optimizer
from fastnn.training import loop, settings, streamed
from fastnn.training.early_stopping import EarlyStopping
from fastnn.training.history import History
from fastnn.training.row_weights import ClassWeight
from fastnn.training.settings import Callback


class Network(Learning):
    """A multi-layer perceptron.

    Parameters
    ----------
    sizes : sequence of int
        Units of each layer, inputs first: ``[784, 128, 10]`` has one hidden layer of 128 units.
    activation : str or sequence of str
        Activation of the hidden layers, one name for all or one for each: "relu", "leaky_relu",
        "elu", "selu", "gelu", "silu" or "swish", "softplus", "mish", "sigmoid", "tanh" or
        "identity". See `fastnn.activations` for the formulas.
    output : str, optional
        Activation of the last layer: "softmax" (classes that exclude each other), "sigmoid"
        (independent probabilities: two classes, or several labels), "identity" (regression) or
        "exponential" (rates of counts). Default: the one that the loss is for, which is identity
        for mae, huber, quantile and standardised targets, exponential for poisson, sigmoid for
        binary_cross_entropy; with other losses sigmoid for a single output, else softmax.
    loss : str, object or callable, optional
        "cross_entropy" (for softmax), "binary_cross_entropy" (for sigmoid), "focal" (for both),
        "poisson" (for exponential or identity), "quantile" (for identity), or for any output "mse",
        "mae" or "huber"; or an object, such as ``fastnn.losses.Quantile(levels=(0.05, 0.5, 0.95))``
        or ``fastnn.losses.Focal(gamma=1)``. Default: cross_entropy for softmax,
        binary_cross_entropy for sigmoid, poisson for exponential, mse for identity. See
        `fastnn.losses` for the formulas, and for passing a function of your own, which costs a call
        of Python and a second forward pass in every step.
    init : str or callable
        Distribution of the initial weights: "glorot" or "xavier" (Glorot and Bengio, 2010), "he"
        (He et al., 2015), "normal" (standard normal), "uniform" (from -0.05 to 0.05), or a function
        ``init(rng, fan_in, fan_out)`` that returns an array (fan_in, fan_out). Biases start at 0.
    seed : int, optional
        Seed of the initial weights, the order of the rows and dropout. Runs with the same seed are
        bit-for-bit identical on one machine. Default: a different seed for each network.
    dtype : str or numpy.dtype
        Type of the parameters and of all computations: "float32" or "float64".
    backend : str
        "numba" (compiled, fast) or "numpy" (the reference, written to be read).
    threads : int, optional
        Largest number of threads. Small steps use fewer where that is faster; the results are the
        same to the bit. Default: all CPUs that the process may use.
    standardize_inputs : bool
        Scale each column to mean 0 and standard deviation 1. The first call of `train` learns both
        from its training rows; the network then scales by itself: data keep their units.
    standardize_targets : bool
        The same for targets, with the output "identity". The loss is in standard deviations;
        predictions and other metrics are in the units of the data.
    precision : str, optional
        What both factors of each matrix product are rounded to, in training and in prediction:
        "bfloat16", for the dtype float32, keeps 8 of its 24 significant bits. Sums and all else
        stay in float32 (Micikevicius et al., 2018). Outputs change in the third digit, accuracies
        hardly. It pays on a CPU with AVX-512 BF16, where layers are wide and batches have 64 rows
        or more; on others it is slower. Default: the dtype.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or value than described, or two do not fit together.

    Examples
    --------
    >>> import fastnn
    >>> net = fastnn.Network([2, 8, 2], activation="tanh", seed=3)
    >>> X, y = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [0, 1, 1, 0]
    >>> history = net.train(X, y, epochs=500)
    >>> net.predict(X).tolist()
    [0, 1, 1, 0]
    """

    @suggesting
    def __init__(  # noqa: PLR0913 - each is a setting that users name
        self,
        sizes: Sequence[int],
        activation: str | Sequence[str] = "relu",
        output: str | None = None,
        loss: Loss | None = None,
        init: str | Initializer = "glorot",
        seed: int | None = None,
        dtype: npt.DTypeLike = "float32",
        backend: str = "numba",
        threads: int | None = None,
        *,
        standardize_inputs: bool = False,
        standardize_targets: bool = False,
        precision: str | None = None,
    ) -> None:
        scaled = bool(standardize_targets)
        architecture = check_network.architecture(
            sizes, activation, output, loss, dtype, scaled, precision
        )
        check_network.standardized_targets(scaled, architecture)
        if seed is None:
            seed = int(np.random.SeedSequence().generate_state(1, np.uint64)[0])
        self.model = Model(
            architecture,
            check.integer("seed", seed, 0),
            check.any_case("backend", backend, backends.BACKENDS),
            None if threads is None else check.integer("threads", threads, 1),
            bool(standardize_inputs),
            scaled,
        )
        if not callable(init):
            init = INITIALIZERS[check.any_case("init", init, INITIALIZERS)]
        rng = np.random.default_rng([self.seed, 0])
        for l, weights in enumerate(self.weights):
            self.weights[l] = init(rng, *weights.shape)

    @classmethod
    def of(cls, model: Model) -> Network:
        """Return a network that holds a model.

        Parameters
        ----------
        model : Model
        """
        net = cls.__new__(cls)
        net.model = model
        return net

    @suggesting
    def train(  # noqa: PLR0913 - each is a setting that users name
        self,
        X: Any,
        y: npt.ArrayLike | None = None,
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
        augment: Augmentation | Sequence[Augmentation] | None = None,
        early_stopping: bool | EarlyStopping = False,
        average: float | Average | None = None,
        max_seconds: float | None = None,
        frozen: Iterable[int] = (),
        training_metrics: bool = False,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: int | None = None,
        resume: bool = False,
        communicator: Any = None,
    ) -> History:
        """Train by mini-batch gradient descent.

        A second call continues from the first. It keeps the optimizer's state if the optimizer is
        of the same kind. A call that fails before its first step changes nothing.

        Parameters
        ----------
        X : array of shape (rows, features), sparse matrix or DataFrame
            float32, float64 and uint8 arrays of any memory layout, memory maps included, are read
            in place, but those by columns are copied by rows up to a GiB, as this is quicker; other
            numbers are converted first. uint8 means pixels: they are divided by 255, as no other
            type is. Images (rows, height, width) become flat. Sparse matrices and arrays of SciPy
            are read as they are, others than CSR after a conversion to it. A DataFrame, or a
            `fastnn.datasets.Table`, gives the network the names of its columns, see `features`. Or
            data that need not fit into memory: a stream, see `fastnn.datasets.stream`, or a
            function or list of blocks, as that takes it.
        y : array of shape (rows,) or (rows, outputs), optional
            Class labels: integers from 0, or strings or bools, which become the network's
            `classes`. Or targets that the output can reach: from 0 to 1 for softmax and sigmoid (0
            or 1 for each of several labels), counts for poisson, any numbers for identity. One
            column for all quantiles. A stream has its own.
        epochs : int
            Passes through all rows.
        batch_size : int, optional
            Rows per step, or all rows if there are fewer; the last batch of an epoch may have
            fewer. Default: 32.
        learning_rate : float, optional
            Learning rate before the schedule. Default: the optimizer's own, which is 0.3 for sgd,
            0.03 for momentum and nesterov, 0.001 for the others.
        l2 : float
            Penalty on the weights, not on the biases: ``l2 / 2`` times the sum of their squares.
        validation : (X, y), (X, y, sample_weight) or float, optional
            Data to evaluate after each epoch, or the share of the rows, between 0 and 1, to set
            aside for that: chosen by the seed, with the same share of each class.
        shuffle : bool
            Shuffle the rows in every epoch of more than one batch.
        schedule : str, schedule or callable
            How the learning rate changes in this call: "linear" (falls to 0), "constant",
            "exponential", "step", "inverse_scaling", "cosine", "cosine_log", "one_cycle",
            "plateau", an object from `fastnn.schedules`, or a function from the epochs done, such
            as 2.5, to a factor.
        progress : bool, optional
            Show a progress bar. Default: only if standard error is a terminal.
        callbacks : iterable of callable
            Functions to call after each epoch with its row of the history, a dict. Training stops
            if one returns "stop".
        optimizer : str or optimizer
            "sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw", or an object from
            `fastnn.optimizers`, such as ``fastnn.optimizers.Adam(beta1=0.8)``.
        l1 : float
            Penalty on the weights: ``l1`` times the sum of their absolute values.
        dropout : float or sequence of float
            Share of the hidden units to leave out of each row at random while training; or one
            share for the inputs and one for each hidden layer.
        max_norm : float, optional
            Upper limit of the norm of each unit's weights (Srivastava et al., 2014).
        clip_norm : float, optional
            Upper limit of the norm of the whole gradient.
        clip_value : float, optional
            Upper limit of each element of the gradient, after ``clip_norm``.
        label_smoothing : float
            Share by which targets of the cross-entropies, and of the focal loss, move towards the
            uniform distribution.
        class_weight : "balanced", mapping or sequence, optional
            Weight of each class, in training and validation; a mapping may leave out classes of
            weight 1. "balanced" weights are inversely proportional to the class frequencies.
        sample_weight : array of shape (rows,), optional
            Weight of each row in the loss. The weights are multiplied with the class weights and
            divided by their mean.
        augment : augmentation or sequence of augmentation, optional
            How rows are changed at random each time they are taken, see `fastnn.augment`: one way
            after the other, before they are standardised and before dropout of inputs. Evaluation
            and predictions take rows as they are; sparse rows are refused.
        early_stopping : bool or EarlyStopping
            Stop when a metric no longer improves; True is `fastnn.EarlyStopping` with its defaults.
        average : float, EMA or SWA, optional
            Evaluate, and leave in the network, an average of the parameters, see
            `fastnn.averaging`; a number is the decay of a moving average, such as 0.999.
        max_seconds : float, optional
            Stop this call after so long, if need be within an epoch; compiling does not count. A
            call that resumes the run goes on from there, and has as long again.
        frozen : iterable of int
            Layers whose parameters stay fixed, counted from 0.
        training_metrics : bool
            Also record the metrics of the training rows after each epoch.
        checkpoint : str or path, optional
            File from which the run can be resumed, bit for bit; `fastnn.load` reads it too. It is
            written at the start, after each epoch, at the end, on Ctrl-C and on SIGTERM.
        checkpoint_every : int, optional
            Steps between two checkpoints. Default: one epoch.
        resume : bool
            Continue from the checkpoint, if the file exists, with the same settings and data.
        communicator : mpi4py.MPI.Intracomm or fastnn.distributed.Ranks, optional
            Ranks that share the rows of each batch, or the parts of a stream, and call this
            together, see `distributed`. Only the first calls the callbacks and writes the
            checkpoint.

        Returns
        -------
        History
            One row per epoch: ``loss``, the mean over the training rows as their batches come, each
            augmented, before the step of its batch, and without penalties; the metrics of
            `evaluate` for validation and training data; ``learning_rate`` at the start of the
            epoch; ``seconds`` and ``samples_per_second``.

        Raises
        ------
        TypeError, ValueError
            If an argument, or what a function among them returns, is not as described.
        OSError
            If the checkpoint cannot be read, or the first one cannot be written; or a file of a
            stream cannot be read.
        DivergenceError
            If the loss, a parameter, the optimizer's state, or a loss or an output on validation
            data is no longer finite. The message says where and what to try. The network is as it
            was before the failing steps, or before the epoch.
        RuntimeError
            If the network is already being trained, by another thread or the run that calls a
            callback. Predicting from several threads is fine.
        KeyboardInterrupt, SystemExit
            On Ctrl-C, and with a checkpoint on SIGTERM (code 143). The network holds the state
            after a complete step, with the compiled backend at most a quarter of a second old.
        """
        given = {name: value for name, value in locals().items() if name in settings.NAMES}
        model, of_data = self.model, (validation, sample_weight, class_weight)
        with distributed.agreeing(communicator) as agreement:
            data, chosen = streamed.checked(model, X, y, given, of_data, agreement)
            data = loop.recorded(model, data, chosen)
        return loop.fit(model, data, chosen)
