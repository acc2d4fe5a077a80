"""Networks of scikit-learn, with the scalers around them.

Nothing is imported from scikit-learn: what an object is, its class says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn.conversion.building import Layer, built
from fastnn.conversion.kinds import kind, shown
from fastnn.model.scaling import Scaler
from fastnn.network import Network

ACTIVATIONS = {"logistic": "sigmoid", "exp": "exponential"}  # those of another name
PERCEPTRONS = ("MLPClassifier", "MLPRegressor")
SCALERS = ("StandardScaler", "MinMaxScaler", "MaxAbsScaler", "RobustScaler")
NEED = (
    f"a fitted {' or '.join(PERCEPTRONS)} of scikit-learn, alone, at the end of a Pipeline after "
    f"{', '.join(SCALERS)}, or in a TransformedTargetRegressor with one of these"
)


def from_sklearn(model: Any) -> Network:
    """Return a network that predicts what a network of scikit-learn predicts.

    The parameters are copied. Predictions agree up to rounding, and `Network.predict_one` takes
    microseconds.

    Parameters
    ----------
    model : MLPClassifier, MLPRegressor, Pipeline or TransformedTargetRegressor
        Of scikit-learn, and fitted. Steps of a pipeline before the network may be StandardScaler,
        MinMaxScaler, MaxAbsScaler and RobustScaler, which become `Network.input_scaler`, or if they
        only multiply, part of the first layer; one of these may transform the targets, too.

    Returns
    -------
    Network
        In the dtype of ``coefs_``, with the names of the classes and, if there are any, of the
        features. Its `Network.predict_proba` has a single column, the probability of the second
        class, for two classes. Several labels are predicted with ``threshold=0.5``. Classes that
        are whole floats become integers.

    Raises
    ------
    TypeError
        If the model, or a part of it, is something else.
    ValueError
        If a part is not fitted, or fastnn has nothing that computes the same.

    Examples
    --------
    >>> import fastnn
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neural_network import MLPClassifier
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> X, y = load_iris(return_X_y=True)
    >>> theirs = make_pipeline(StandardScaler(), MLPClassifier(max_iter=1000, random_state=0))
    >>> net = fastnn.from_sklearn(theirs.fit(X, y))
    >>> bool((net.predict(X) == theirs.predict(X)).all())
    True
    """
    found = _Found()
    found.take("model", model)
    if found.perceptron is None:
        raise TypeError(f"model has no network at its end; need {NEED}")
    perceptron = found.perceptron
    last = perceptron.out_activation_
    if found.targets is not None and last != "identity":
        raise ValueError(
            f"the targets are transformed, but the outputs are {ACTIVATIONS.get(last, last)!r}, "
            "which are for targets as they are; need loss='squared_error' or no transformer"
        )
    depth = len(perceptron.coefs_)
    activations = [ACTIVATIONS.get(each, each) for each in (perceptron.activation, last)]
    layers = [
        Layer(weights, biases, activations[l + 1 == depth])
        for l, (weights, biases) in enumerate(
            zip(perceptron.coefs_, perceptron.intercepts_, strict=True)
        )
    ]
    names, scaler = found.features, found.scaler
    if scaler is not None and not scaler.mean.any():  # such as for sparse rows, which stay sparse
        weights = (layers[0].weights * scaler.scale[:, None]).astype(layers[0].weights.dtype)
        layers[0], scaler = layers[0]._replace(weights=weights), None
    return built(
        layers,
        np.result_type(np.float32, *perceptron.coefs_),
        classes=_classes(perceptron) if hasattr(perceptron, "classes_") else None,
        features=None if names is None or len(set(names)) < len(names) else list(names),
        input_scaler=scaler,
        target_scaler=found.targets,
    )


@dataclass
class _Found:
    """What a model is made of, in the order of prediction."""

    scaler: Scaler | None = None
    perceptron: Any = None
    targets: Scaler | None = None
    features: Any = None

    def take(self, place: str, model: Any) -> None:
        """Read a model, or a part of one, which comes after those read before."""
        if self.features is None:
            self.features = getattr(model, "feature_names_in_", None)
        what = kind(model, "sklearn")
        if what == "Pipeline":
            for name, step in model.steps:
                if step is not None and not (isinstance(step, str) and step == "passthrough"):
                    self.take(f"{place}[{name!r}]", step)
        elif what == "TransformedTargetRegressor":
            _check_fitted(place, model, "regressor_")
            self.take(f"{place}.regressor_", model.regressor_)
            own = _scaler(f"{place}.transformer_", model.transformer_)
            self.targets = _joined(own, self.targets)
        elif what in SCALERS:
            self.scaler = _joined(self.scaler, _scaler(place, model))
        elif kind(model, "sklearn", "predict") in PERCEPTRONS:
            _check_fitted(place, model, "coefs_")
            self.perceptron = model
        else:
            raise TypeError(f"{place} is {shown(model)}; need {NEED}{_way_on(place, model)}")


def _way_on(place: str, model: Any) -> str:
    """Return what else may be done with a model that is not known, or nothing."""
    if kind(model, "fastnn.estimators"):
        name = next((name for name in ("network_", "committee_") if name in vars(model)), None)
        return f". It holds its {name[:-1]}: {place}.{name}" if name else ""
    if hasattr(model, "best_estimator_"):
        return f". Try {place}.best_estimator_"
    return ""


def _check_fitted(place: str, part: Any, attribute: str) -> None:
    if not hasattr(part, attribute):
        raise ValueError(f"{place} is not fitted; call fit first")


def _classes(perceptron: Any) -> list[Any] | None:
    """Return the names of the classes of an MLPClassifier; several labels have none."""
    names = [
        int(name) if isinstance(name, float) and name.is_integer() else name
        for name in perceptron.classes_.tolist()
    ]
    for name in names:
        if not isinstance(name, str | int | np.integer):
            raise TypeError(
                f"classes_ holds {name!r}; names of classes are text, whole numbers or bools here"
            )
    if len(names) == 1:
        raise ValueError(
            f"model was fitted on a single class, {names[0]!r}, which it always predicts; need two"
        )
    several = perceptron.out_activation_ == "logistic" and perceptron.n_outputs_ > 1
    return None if several else names


def _scaler(place: str, part: Any) -> Scaler | None:
    """Return what a scaler does as ``(x - mean) * scale``, or None if it does nothing."""
    what = kind(part, "sklearn", "transform", "inverse_transform")
    if what == "FunctionTransformer" and part.func is None and part.inverse_func is None:
        return None  # that of a TransformedTargetRegressor without a transformer
    if what not in SCALERS:
        raise TypeError(f"{place} is {shown(part)}; need one of {', '.join(SCALERS)}")
    _check_fitted(place, part, "n_features_in_")
    if getattr(part, "clip", False):
        raise ValueError(f"{place} has clip=True, which is not a scaling; need clip=False")
    mean, deviation = np.zeros(part.n_features_in_), np.ones(part.n_features_in_)
    if what == "MinMaxScaler":
        return Scaler(-part.min_ / part.scale_, part.scale_)
    if what == "MaxAbsScaler":
        deviation = part.scale_
    elif what == "StandardScaler":
        mean = part.mean_ if part.with_mean else mean
        deviation = part.scale_ if part.with_std else deviation
    else:
        mean = part.center_ if part.with_centering else mean
        deviation = part.scale_ if part.with_scaling else deviation
    return Scaler(mean, 1 / deviation)


def _joined(first: Scaler | None, second: Scaler | None) -> Scaler | None:
    """Return what two scalers do one after the other."""
    if first is None or second is None:
        return first or second
    return Scaler(first.mean + second.mean / first.scale, first.scale * second.scale)
