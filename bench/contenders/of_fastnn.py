"""What this library does: fastnn."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from contenders.task import Array, Learning, Prediction, Task, Training


def _network(task: Task) -> Any:
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    import fastnn

    net = fastnn.Network(
        [len(task.weights[0]), *map(len, task.biases)],
        activation=task.activation,
        output="softmax" if task.classifies else "identity",
        loss=task.loss,
        seed=0,
        backend="numba",
        threads=task.threads,
    )
    _reset(net, task)
    return net


def _reset(net: Any, task: Task) -> None:
    for l, (w, b) in enumerate(zip(task.weights, task.biases, strict=True)):
        net.weights[l], net.biases[l] = w, b
    net.model.optimizer_state = None


def _optimizer(task: Task) -> Any:
    from contenders.task import BETA1, BETA2, EPSILON, MOMENTUM
    from fastnn.optimizers import SGD, Adam

    if task.optimizer == "adam":
        return Adam(task.rate, BETA1, BETA2, EPSILON)
    return SGD(task.rate, MOMENTUM if task.optimizer == "momentum" else 0.0)


def training(task: Task) -> Training:
    net = _network(task)
    from fastnn import backends
    from fastnn.backends.contract import Examples, UpdateRule
    from fastnn.backends.dropout import NO_KEYS
    from fastnn.training import loop

    backend = backends.get(net.backend)
    rule, examples = UpdateRule(optimizer=_optimizer(task)), Examples(task.X, task.y)
    backend.prepare(net.model, rule=rule)
    losses = np.empty(len(task.order) // task.batch)
    rates = np.full(len(losses), task.rate)
    state: Any = None

    def reset() -> None:
        nonlocal state
        _reset(net, task)
        state = net.model.state_for(rule.optimizer)

    def epoch() -> float:
        for part in loop.slices(
            net.architecture, len(losses), task.batch
        ):  # the calls that `train` makes
            order = task.order[part.start * task.batch : part.stop * task.batch]
            backend.train_steps(
                net.model, examples, order, task.batch, rates[part], rule, NO_KEYS, state,
                losses[part],
            )  # fmt: skip
        return float(losses.mean())

    return reset, epoch


def learning(task: Task) -> Learning:
    net, optimizer = _network(task), _optimizer(task)
    learn = partial(net.learn_one, learning_rate=task.rate, optimizer=optimizer)

    def convert(x: Array, t: Array) -> tuple[Array, float]:
        return x[0], float(t[0, 0])

    return lambda: _reset(net, task), convert, learn, lambda: [*net.weights, *net.biases]


def prediction(task: Task) -> Prediction:
    net = _network(task)
    many = net.predict_proba if task.classifies else net.predict

    def predict(rows: Array) -> Array:
        return net.predict_one(rows[0])[None] if len(rows) == 1 else many(rows)

    return np.asarray, predict
