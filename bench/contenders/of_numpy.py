"""NumPy: all parameters in one vector, so that an optimizer needs few calls."""

from __future__ import annotations

from collections.abc import Callable
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


def _views(task: Task, vector: Array) -> tuple[list[Array], list[Array]]:
    """Return the weights and biases in a vector."""
    arrays, first = [], 0
    for p in task.initial:
        arrays.append(vector[first : first + p.size].reshape(p.shape))
        first += p.size
    return arrays[: len(task.weights)], arrays[len(task.weights) :]


def _optimizer(task: Task, p: Array, g: Array) -> tuple[float, Callable[[], object], Any]:
    """Return what scales the gradient ``g``, what forgets the past, and what moves ``p``."""
    if task.optimizer == "sgd":
        return task.rate, lambda: None, lambda: np.subtract(p, g, out=p)
    m, s, size = np.zeros_like(p), np.zeros_like(p), np.empty_like(p)
    taken = 0

    def reset() -> None:
        nonlocal taken
        taken, m[...], s[...] = 0, 0, 0

    def momentum() -> None:
        np.multiply(m, MOMENTUM, out=m)
        np.add(m, g, out=m)
        np.subtract(p, m, out=p)

    def adam() -> None:
        nonlocal taken
        taken += 1
        np.multiply(m, BETA1, out=m)
        np.multiply(g, 1 - BETA1, out=size)
        np.add(m, size, out=m)
        np.multiply(s, BETA2, out=s)
        np.multiply(g, g, out=g)
        np.multiply(g, 1 - BETA2, out=g)
        np.add(s, g, out=s)
        # The corrections of both means in one factor and in epsilon.
        correction = (1 - BETA2**taken) ** 0.5
        np.sqrt(s, out=size)
        np.add(size, EPSILON * correction, out=size)
        np.divide(m, size, out=size)
        np.multiply(size, task.rate * correction / (1 - BETA1**taken), out=size)
        np.subtract(p, size, out=p)

    return (task.rate, reset, momentum) if task.optimizer == "momentum" else (1.0, reset, adam)


def _steps(task: Task) -> tuple[Callable[[], None], Any, list[Array]]:
    """Return what resets, a step (x, targets, whether to return the loss), and the parameters."""
    vector = np.concatenate([p.ravel() for p in task.initial])
    gradient = np.empty_like(vector)
    (weights, biases), (dw, db) = _views(task, vector), _views(task, gradient)
    first, batch = vector.copy(), task.batch
    units = [len(b) for b in biases]
    a = [np.empty((batch, n), np.float32) for n in units]
    deltas = [np.empty((batch, n), np.float32) for n in units[:-1]]
    slopes = [
        np.empty((batch, n), bool if task.activation == "relu" else np.float32) for n in units
    ]
    rows = np.arange(batch)
    scale, forget, move = _optimizer(task, vector, gradient)
    factor = np.float32(scale / batch if task.classifies else 2 * scale / batch / units[-1])
    # The product of a column and a row, which broadcasting does without packing either.
    outer = np.multiply if batch == 1 else np.matmul

    def reset() -> None:
        vector[...] = first
        forget()

    def step(x: Array, t: Array, wanted: bool) -> float:
        below, loss, last = x, 0.0, len(weights) - 1
        for l, (w, b) in enumerate(zip(weights, biases, strict=True)):
            z = np.matmul(below, w, out=a[l])
            z += b
            if l < last:
                np.maximum(z, 0, out=z) if task.activation == "relu" else np.tanh(z, out=z)
            below = z
        delta = a[-1]
        if task.classifies:
            delta -= delta.max(axis=1, keepdims=True)
            if wanted:
                loss = -float(delta[rows, t].sum())
            np.exp(delta, out=delta)
            sums = delta.sum(axis=1, keepdims=True)
            if wanted:
                loss += float(np.log(sums).sum())
            delta /= sums
            delta[rows, t] -= 1
        else:
            delta -= t
            if wanted:
                loss = float(np.vdot(delta, delta)) / units[-1]
        delta *= factor
        for l in range(last, -1, -1):
            outer((a[l - 1] if l else x).T, delta, out=dw[l])
            delta.sum(axis=0, out=db[l])
            if l:
                np.matmul(delta, weights[l].T, out=deltas[l - 1])
                delta, slope = deltas[l - 1], slopes[l - 1]
                if task.activation == "relu":
                    np.greater(a[l - 1], 0, out=slope)
                else:
                    np.multiply(a[l - 1], a[l - 1], out=slope)
                    np.subtract(1, slope, out=slope)
                delta *= slope
        move()
        return loss

    return reset, step, weights + biases


def training(task: Task) -> Training:
    reset, step, _ = _steps(task)
    x = np.empty((task.batch, task.X.shape[1]), np.float32)

    def epoch() -> float:
        total = 0.0
        for first in range(0, len(task.order), task.batch):
            chosen = task.order[first : first + task.batch]
            np.take(task.X, chosen, axis=0, out=x, mode="clip")
            total += step(x, task.y[chosen], True)
        return total / len(task.order)

    return reset, epoch


def learning(task: Task) -> Learning:
    reset, step, parameters = _steps(task)
    return reset, lambda x, t: (x, t), lambda x, t: step(x, t, False), lambda: parameters


def prediction(task: Task) -> Prediction:
    def predict(x: Array) -> Array:
        for l, (w, b) in enumerate(zip(task.weights, task.biases, strict=True), 1):
            x = x @ w
            x += b
            if l < len(task.weights):
                np.maximum(x, 0, out=x) if task.activation == "relu" else np.tanh(x, out=x)
        if task.classifies:
            x -= x.max(axis=1, keepdims=True)
            np.exp(x, out=x)
            x /= x.sum(axis=1, keepdims=True)
        return x

    return np.asarray, predict
