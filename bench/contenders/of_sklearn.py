"""scikit-learn. Its squared error and the slope of that are half of the others'."""

from __future__ import annotations

from typing import Any

import numpy as np

from contenders.task import (
    BETA1,
    BETA2,
    EPSILON,
    MOMENTUM,
    Array,
    Learning,
    Prediction,
    Task,
    Training,
)


def _model(task: Task) -> Any:
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    half = 1 if task.classifies else 0.5
    adam = task.optimizer == "adam"
    model = (MLPClassifier if task.classifies else MLPRegressor)(
        hidden_layer_sizes=[len(b) for b in task.biases[:-1]],
        activation=task.activation,
        solver="adam" if adam else "sgd",
        alpha=0.0,
        batch_size=task.batch,
        learning_rate_init=task.rate if adam else task.rate / half,
        shuffle=False,
        momentum=MOMENTUM if task.optimizer == "momentum" else 0.0,
        nesterovs_momentum=False,
        beta_1=BETA1,
        beta_2=BETA2,
        epsilon=EPSILON * half,
    )
    # Allocates the parameters, which then take any values.
    classes = {"classes": np.arange(len(task.biases[-1]))} if task.classifies else {}
    model.partial_fit(task.X[: task.batch], _targets(task.y[: task.batch]), **classes)
    _reset(model, task)
    return model


def _targets(y: Array) -> Array:
    """Return the targets as it likes them: a single column is to be a vector."""
    return y.ravel() if y.shape[1:] == (1,) else y


def _reset(model: Any, task: Task) -> None:
    for parameters, values in zip(model.coefs_ + model.intercepts_, task.initial, strict=True):
        parameters[...] = values
    vars(model).pop("_optimizer", None)  # and its means; the next call makes a new one
    model.t_ = 0


def training(task: Task) -> Training:
    model = _model(task)
    X, y = task.X[task.order], _targets(task.y[task.order])
    scale = 1 if task.classifies else 2
    return lambda: _reset(model, task), lambda: scale * model.partial_fit(X, y).loss_


def learning(task: Task) -> Learning:
    model = _model(task)
    return (
        lambda: _reset(model, task),
        lambda x, t: (x, _targets(t)),
        model.partial_fit,
        lambda: model.coefs_ + model.intercepts_,
    )


def prediction(task: Task) -> Prediction:
    model = _model(task)
    return np.asarray, model.predict_proba if task.classifies else model.predict
