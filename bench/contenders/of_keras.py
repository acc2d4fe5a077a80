"""Keras on TensorFlow: compiled by XLA, an epoch in one call."""

from __future__ import annotations

import os
from typing import Any

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
    os.environ.update(KERAS_BACKEND="tensorflow", TF_CPP_MIN_LOG_LEVEL="3")
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(task.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    last = len(task.biases) - 1
    kinds = [None if l == last else task.activation for l in range(last + 1)]
    layers = [keras.layers.Dense(len(b), k) for b, k in zip(task.biases, kinds, strict=True)]
    model = keras.Sequential([keras.Input((len(task.weights[0]),)), *layers])
    _put(model, task)
    return model


def _put(model: Any, task: Task) -> None:
    """Give the model the first weights."""
    for layer, w, b in zip(model.layers, task.weights, task.biases, strict=True):
        layer.kernel.assign(w)
        layer.bias.assign(b)


def _loss(task: Task) -> Any:
    import keras

    if task.classifies:
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return keras.losses.MeanSquaredError()


def _optimizer(task: Task) -> Any:
    import keras

    if task.optimizer == "adam":
        return keras.optimizers.Adam(task.rate, BETA1, BETA2, EPSILON)
    return keras.optimizers.SGD(task.rate, MOMENTUM if task.optimizer == "momentum" else 0.0)


def _resetter(model: Any, optimizer: Any, task: Task) -> Any:
    """Return what puts back the first weights, and the optimizer as it is now."""
    optimizer.build(model.trainable_variables)
    before = [v.numpy() for v in optimizer.variables]

    def reset() -> None:
        _put(model, task)
        for variable, value in zip(optimizer.variables, before, strict=True):
            variable.assign(value)

    return reset


def training(task: Task) -> Training:
    model = _model(task)
    import tensorflow as tf

    loss_of, optimizer = _loss(task), _optimizer(task)
    reset = _resetter(model, optimizer, task)
    X, y = tf.constant(task.X), tf.constant(task.y)
    order = tf.constant(task.order.astype("int32").reshape(-1, task.batch))
    variables = model.trainable_variables

    # Model.fit, also with steps_per_execution, takes longer.
    @tf.function(jit_compile=True)
    def scan() -> Any:
        total = tf.zeros(())
        for s in tf.range(len(order)):
            x, t = tf.gather(X, order[s]), tf.gather(y, order[s])
            with tf.GradientTape() as tape:
                loss = loss_of(t, model(x, training=True))
            optimizer.apply(tape.gradient(loss, variables), variables)
            total += loss
        return total / len(order)

    return reset, lambda: float(scan())


def learning(task: Task) -> Learning:
    model = _model(task)
    import tensorflow as tf

    model.compile(_optimizer(task), _loss(task), jit_compile=True)

    def learned() -> list[Array]:
        return [layer.kernel.numpy() for layer in model.layers] + [
            layer.bias.numpy() for layer in model.layers
        ]

    def convert(x: Array, t: Array) -> tuple[Any, Any]:
        return tf.constant(x), tf.constant(t)

    return _resetter(model, model.optimizer, task), convert, model.train_on_batch, learned


def prediction(task: Task) -> Prediction:
    model = _model(task)
    import tensorflow as tf

    @tf.function(jit_compile=True)
    def predict(x: Any) -> Any:
        z = model(x, training=False)
        return tf.nn.softmax(z) if task.classifies else z

    return tf.constant, predict
