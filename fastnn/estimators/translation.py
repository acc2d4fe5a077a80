"""From scikit-learn's terms to those of `Network`, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastnn.activations import Array
from fastnn.checks import values as check
from fastnn.model.initializers import uniform
from fastnn.model.parameters import Views
from fastnn.network import Network
from fastnn.precision import PRECISIONS

ACTIVATIONS = {"logistic": "sigmoid"}
LOSSES = {"log_loss": None, "squared_error": "mse", "absolute_error": "mae"}
THEIRS = {
    "standardize_inputs=True": "a StandardScaler before this estimator",
    "standardize_targets=True": "a TransformedTargetRegressor with a StandardScaler",
    "a lower learning_rate than": "a lower learning_rate_init: the rate was",
    "a lower l2 than": "a lower alpha: the penalty was",
}
NOT_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and "
    "need to be preprocessed."
)
INTERRUPTED = "Training interrupted by user."
NOT_CONVERGED = (
    "Stochastic Optimizer: Maximum iterations ({}) reached and the optimization hasn't converged "
    "yet."
)

AT_ONCE = 1 << 18  # numbers whose squares have room at the same time


def in_their_words(advice: str) -> str:
    """Return advice about the arguments of `Network` in terms of scikit-learn's."""
    for ours, theirs in THEIRS.items():
        advice = advice.replace(ours, theirs)
    return advice


def network(estimator: Any, sizes: Sequence[int], output: str, seed: int, dtype: Any) -> Network:
    """Return a new network of these sizes, with the parameters of an estimator."""
    names: Any = estimator.activation
    if np.iterable(estimator.loss) and not isinstance(estimator.loss, str):
        raise ValueError(
            f"loss must be a name or a function, got {estimator.loss!r}; it is a regressor's first "
            f"argument: pass hidden_layer_sizes={estimator.loss!r}"
        )
    if isinstance(names, str):
        names = [names] * (len(sizes) - 2)
    names = [ACTIVATIONS.get(name, name) for name in names]
    biases: list[Array] = []

    def start(rng: np.random.Generator, fan_in: int, fan_out: int) -> Array:
        """Return weights as scikit-learn has them at first, and keep the biases."""
        name = ([*names, *names[-1:]] or ["relu"])[len(biases)]
        bound = np.sqrt((2 if name == "sigmoid" else 6) / (fan_in + fan_out))
        both = uniform(rng, fan_in + 1, fan_out, bound)
        biases.append(both[-1])
        return both[:-1]

    init = start if estimator.init is None else estimator.init
    loss = LOSSES.get(estimator.loss, estimator.loss)
    name = precision(estimator)
    if name is not None:
        dtype = PRECISIONS[name]
    made = Network(
        sizes, names, output, loss, init, seed, dtype, estimator.backend, estimator.threads,
        precision=name,
    )  # fmt: skip
    for l, values in enumerate(biases):
        made.biases[l] = values
    return made


def precision(estimator: Any) -> str | None:
    """Return the precision of an estimator after checking it; None for that of the data."""
    value = estimator.precision
    return None if value is None else check.any_case("precision", value, PRECISIONS)


def slope(network: Network) -> float:
    """Return the ratio of the network's loss to that whose gradient scikit-learn follows."""
    a = network.architecture
    return 2 / a.sizes[-1] if a.loss == "mse" else 1.0


def squares(network: Network) -> float:
    """Return the sum of the squared weights."""
    total = 0.0
    with np.errstate(over="ignore"):
        for layer in network.architecture.layers:  # with the padding, which is 0
            for first in range(layer.weights, layer.biases, AT_ONCE):
                some = network.parameters[first : min(first + AT_ONCE, layer.biases)]
                total += float(np.square(some).sum())
    return total


def constant(estimator: Any, y: Array, weights: Array | None) -> float:
    """Return what scikit-learn's loss has in addition, whatever the network."""
    if estimator.loss != "poisson":
        return 0.0
    logs = np.log(y, out=np.zeros(y.shape), where=y > 0)
    return float(np.sum(np.average(y * logs - y, weights=weights, axis=0)))


class Assignable(list[Array]):
    """The arrays of the layers, which are views of a network; assigning an item copies into it."""

    def __init__(self, views: Views) -> None:
        super().__init__(views)
        self._views = views

    def __setitem__(self, index: Any, value: Any) -> None:
        if not isinstance(index, slice):
            self._views[index] = value
            return
        layers = range(len(self))[index]
        if len(value) != len(layers):
            raise ValueError(f"need arrays for {len(layers)} layers, got {len(value)}")
        for layer, array in zip(layers, value, strict=True):
            self._views[layer] = array
