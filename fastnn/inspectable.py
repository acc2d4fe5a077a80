"""What can be seen of a network: attributes, evaluation, gradients and activations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from fastnn import backends
from fastnn.activations import Array
from fastnn.backends.contract import Examples
from fastnn.backends.dropout import NO_KEYS, row_keys
from fastnn.checks import data as check
from fastnn.checks import values as check_value
from fastnn.checks.networks import classes as check_classes
from fastnn.checks.networks import feature_names
from fastnn.checks.sparse import refuse_sparse, refuse_to_standardise
from fastnn.checks.targets import targets as check_targets
from fastnn.keeping import Keeping
from fastnn.model.architecture import Architecture
from fastnn.model.model import summary
from fastnn.model.parameters import Parameters, Views
from fastnn.model.scaling import Scaler
from fastnn.training import settings
from fastnn.training.data import evaluation_data
from fastnn.training.evaluation import check_loss, evaluate, outputs, scale_targets
from fastnn.training.row_weights import ClassWeight

# What other libraries call the methods of this one.
ELSEWHERE = {
    "coefs_": "weights",
    "fit": "train",
    "forward": "predict_proba",
    "intercepts_": "biases",
    "load": "fastnn.load",
    "score": "evaluate",
}


class Inspectable(Keeping):
    """The part of `fastnn.Network` that changes no parameter.

    ``copy.deepcopy`` makes a network of its own. ``copy.copy`` makes another name for the same
    one: both share the model, so that what changes one changes the other.

    Attributes
    ----------
    model : Model
        The network as plain data, see `fastnn.model.model`.
    """

    @property
    def architecture(self) -> Architecture:
        """The sizes, activations, loss, dtype and precision."""
        return self.model.architecture

    @property
    def precision(self) -> str:
        """What the factors of matrix products are rounded to: the dtype, or "bfloat16"."""
        return self.model.architecture.precision

    @property
    def parameters(self) -> Array:
        """All parameters in one vector.

        Each row of weights is padded to whole cache lines; the padding must stay zero. See
        `fastnn.model.parameters`.
        """
        return self.model.vector

    @property
    def weights(self) -> Views:
        """The weights of each layer, views of shape (fan_in, fan_out).

        They can be read, changed in place, or assigned: ``net.weights[0] = array``.
        """
        return self.model.weights

    @property
    def biases(self) -> Views:
        """The biases of each layer, views of shape (fan_out,), to be used like `weights`."""
        return self.model.biases

    @property
    def seed(self) -> int:
        """The seed of the initial weights, the order of the rows, and dropout."""
        return self.model.seed

    @property
    def epochs_trained(self) -> int:
        """The epochs of all calls of `train` so far."""
        return self.model.epochs_trained

    @property
    def backend(self) -> str:
        """The name of the backend, "numba" or "numpy"; it may be assigned.

        Raises
        ------
        ValueError
            If what is assigned is neither.
        """
        return self.model.backend

    @backend.setter
    def backend(self, name: str) -> None:
        self.model.backend = check_value.any_case("backend", name, backends.BACKENDS)
        self.model.prepared.clear()

    @property
    def threads(self) -> int | None:
        """The largest number of threads; None stands for all CPUs. It may be assigned.

        Raises
        ------
        TypeError, ValueError
            If what is assigned is neither None nor an integer of at least 1.
        """
        return self.model.threads

    @threads.setter
    def threads(self, count: int | None) -> None:
        self.model.threads = None if count is None else check_value.integer("threads", count, 1)

    @property
    def input_scaler(self) -> Scaler | None:
        """The ``mean`` and ``scale`` of each input column, if inputs are standardised."""
        return self.model.input_scaler

    @property
    def target_scaler(self) -> Scaler | None:
        """The ``mean`` and ``scale`` of each target column, if targets are standardised."""
        return self.model.target_scaler

    @property
    def classes(self) -> tuple[str | int, ...] | None:
        """Names of the classes: strings, integers or bools, or None; they may be assigned.

        Training with labels that are strings or bools sets them. `predict` returns them, and y may
        be given as these names; positions are taken too, unless the names are integers. `save`
        keeps them.

        Raises
        ------
        TypeError, ValueError
            If what is assigned is not as many different names as there are classes.
        """
        return self.model.classes

    @classes.setter
    def classes(self, names: Iterable[str | int] | None) -> None:
        self.model.classes = check_classes("classes", names, self.architecture)

    @property
    def features(self) -> tuple[str, ...] | None:
        """Names of the inputs, or None; they may be assigned.

        Training with a DataFrame or a `fastnn.datasets.Table` sets them. Inputs with names are then
        matched by name: another order is put right, and further columns are left out with a
        warning. Arrays are taken by position. `save` keeps the names.

        Raises
        ------
        TypeError, ValueError
            If what is assigned is not as many different strings as there are inputs.
        """
        return self.model.features

    @features.setter
    def features(self, names: Iterable[str] | None) -> None:
        self.model.features = feature_names("features", names, self.architecture)

    def evaluate(
        self,
        X: npt.ArrayLike,
        y: npt.ArrayLike,
        sample_weight: npt.ArrayLike | None = None,
        class_weight: ClassWeight | None = None,
    ) -> dict[str, float]:
        """Return the loss and the metrics on data with known targets.

        Parameters
        ----------
        X, y : array
            As for `train`.
        sample_weight : array of shape (rows,), optional
            As for `train`; it weights all metrics.
        class_weight : "balanced", mapping or sequence, optional
            As for `train`; it weights all metrics.

        Returns
        -------
        dict
            ``loss``, the mean over the rows without penalties. For one class per row ``accuracy``
            and ``macro_f1``, the mean of the F1 scores of the classes; for several labels per row
            the share of rows with all labels right, and the mean F1 score of the labels. For
            numbers ``r2``, ``mae`` and ``rmse``; these are of the median, if quantiles have one.
            See `fastnn.metrics`. For several sigmoids the shape of y says which: (rows,) are
            classes; (rows, outputs) are labels, even if each row has just one.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described.
        DivergenceError
            If the loss or an output is not finite, as weights, inputs or targets are too large.
        """
        data = evaluation_data(self.model, X, y, sample_weight, class_weight)
        return evaluate(self.model, data)

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
        l2 : float
            As for `train`.
        l1 : float
            As for `train`.
        label_smoothing : float
            As for `train`.
        dropout : float or sequence of float
            As for `train`. The same units are left out in every call: those of the first epoch
            without shuffling.
        sample_weight : array of shape (rows,), optional
            As for `train`.
        class_weight : "balanced", mapping or sequence, optional
            As for `train`.

        Returns
        -------
        loss : float
            The mean loss plus the penalties.
        gradient : Parameters
            Has ``weights``, ``biases`` and the flat ``vector``, like the parameters of the network.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described.
        DivergenceError
            If the loss is not finite, as for `evaluate`.
        """
        data = evaluation_data(self.model, X, y, sample_weight, class_weight)
        keywords = {"l2": l2, "l1": l1, "label_smoothing": label_smoothing, "dropout": dropout}
        objective = settings.objective(keywords, self.architecture)
        keys = NO_KEYS
        if objective.drops:
            keys = row_keys(self.seed, 1, len(self.weights), range(len(data.X)))
        gradient = Parameters(self.architecture)
        examples = Examples(data.X, scale_targets(self.model, data.targets), data.weights)
        value: float = backends.get(self.backend).loss_and_gradient(
            self.model, examples, objective, keys, gradient
        )
        if not np.isfinite(value):  # then a backend may have left rows out of the gradient
            outputs(self.model, "X", data.X)  # refuses outputs that are not finite, by their row
            check_loss(value)
        return value, gradient

    def activations(self, X: npt.ArrayLike) -> list[Array]:
        """Return the activations of each layer.

        Parameters
        ----------
        X : array of shape (rows, features)
            As for `train`.

        Returns
        -------
        list of ndarray of shape (rows, fan_out)
            One array for each layer. The last holds the outputs; with standardised targets these
            are in standard deviations.

        Raises
        ------
        TypeError, ValueError
            If X is not as described.
        """
        refuse_to_standardise("X", X, self.input_scaler is not None)
        features = check.features("X", X, self.architecture, self.features)
        outs = [
            np.empty((len(features), size), self.architecture.dtype)
            for size in self.architecture.sizes[1:]
        ]
        backends.get(self.backend).activations(self.model, features, outs)
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
            In the units of the inputs; for uint8, in those of the pixels divided by 255.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described.
        """
        need = "its gradient would be dense; need some of its rows, X[rows].toarray()"
        refuse_sparse("X", X, need)
        features = check.features("X", X, self.architecture, self.features)
        targets = check_targets("y", y, len(features), self.architecture, self.classes)
        out = np.empty(features.shape, self.architecture.dtype)
        scaled = scale_targets(self.model, targets)
        backends.get(self.backend).input_gradient(self.model, features, scaled, out)
        return out if self.input_scaler is None else out * self.input_scaler.scale

    def summary(self) -> None:
        """Print a table of the layers: units, parameters, memory and operations per row.

        Operations are the multiplications and additions of the matrix products of a forward pass;
        a training step takes about three times as many.
        """
        print(summary(self.model))

    def __repr__(self) -> str:
        return repr(self.model)

    def __getattr__(self, name: str) -> NoReturn:
        other = ELSEWHERE.get(name, "")
        hint = f"; did you mean {other!r}?" if other else check_value.meant(name, dir(type(self)))
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{hint}")
