"""An estimator of fastnn as one of scikit-learn, which needs fastnn no longer."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from sklearn import neural_network
from sklearn.base import is_classifier
from sklearn.preprocessing import LabelBinarizer

from fastnn.losses import Quantile

ACTIVATIONS = {"identity": "identity", "sigmoid": "logistic", "tanh": "tanh", "relu": "relu"}
# Parameters of which scikit-learn takes fewer values.
CHOICES = {
    "solver": ("adam", "sgd", "lbfgs"),
    "learning_rate": ("constant", "invscaling", "adaptive"),
    "loss": ("squared_error", "poisson"),
}
# What fitting leaves, and continuing needs.
STATE = (
    "classes_", "n_features_in_", "feature_names_in_", "n_layers_", "n_outputs_", "out_activation_",
    "loss_", "loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_", "n_iter_",
    "t_", "_no_improvement_count",
)  # fmt: skip


def handed_over(estimator: Any) -> Any:
    """Return a fitted estimator of scikit-learn; see `Fitted.to_sklearn`."""
    classifies = is_classifier(estimator)
    theirs = neural_network.MLPClassifier() if classifies else neural_network.MLPRegressor()
    name = f"scikit-learn's {type(theirs).__name__}"
    if "network_" not in vars(estimator):
        raise ValueError(
            f"n_members is {len(estimator.estimators_)}, but {name} is a single network; convert "
            "one of them: estimators_[0].to_sklearn()"
        )
    network = estimator.network_
    if isinstance(network.architecture.loss, Quantile) and estimator.n_outputs_ > 1:
        raise ValueError(f"loss has several quantiles, which are sorted; {name} does not sort")
    for name_of_parameter in theirs.get_params():
        value = getattr(estimator, name_of_parameter)
        if value in CHOICES.get(name_of_parameter, (value,)):
            theirs.set_params(**{name_of_parameter: copy.copy(value)})
    theirs.set_params(activation=_activation(estimator, name))
    for attribute in STATE:
        if hasattr(estimator, attribute):
            setattr(theirs, attribute, copy.copy(getattr(estimator, attribute)))
    theirs.coefs_ = [np.array(weights, order="C") for weights in network.weights]
    theirs.intercepts_ = [np.array(biases) for biases in network.biases]
    # With early_stopping a later fit ends with these, unless it finds better ones.
    theirs._best_coefs = [weights.copy() for weights in theirs.coefs_]
    theirs._best_intercepts = [biases.copy() for biases in theirs.intercepts_]
    if classifies:
        known = np.eye(estimator.n_outputs_, dtype=int) if estimator._several else theirs.classes_
        theirs._label_binarizer = LabelBinarizer().fit(known)
    return theirs


def _activation(estimator: Any, name: str) -> str:
    """Return the activation of all hidden layers by its name in scikit-learn."""
    hidden = estimator.network_.architecture.activations[:-1]
    for l, activation in enumerate(hidden):
        if activation not in ACTIVATIONS:
            raise ValueError(
                f"activation of hidden layer {l} is {activation!r}; {name} has "
                f"{', '.join(sorted(ACTIVATIONS.values()))}"
            )
    if len(set(hidden)) > 1:
        raise ValueError(f"activation is {list(hidden)}; {name} has one for all hidden layers")
    return ACTIVATIONS[hidden[0]] if hidden else "relu"
