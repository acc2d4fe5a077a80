"""JAX: a whole epoch in one compiled call; to learn from a row, a compiled step."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
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


def _outputs(task: Task, parameters: Any, x: Any) -> Any:
    """Return the last layer's outputs, before a softmax."""
    import jax
    import jax.numpy as jnp

    activate = jax.nn.relu if task.activation == "relu" else jnp.tanh
    for w, b in parameters[:-1]:
        x = activate(x @ w + b)
    w, b = parameters[-1]
    return x @ w + b


def _parameters(task: Task) -> list[tuple[Any, Any]]:
    import jax.numpy as jnp

    return [(jnp.array(w), jnp.array(b)) for w, b in zip(task.weights, task.biases, strict=True)]


def _state(task: Task, parameters: Any) -> Any:
    """Return what a step changes: parameters, the optimizer's means of them, for Adam the steps."""
    import jax
    import jax.numpy as jnp

    slots = {"sgd": 0, "momentum": 1, "adam": 2}[task.optimizer]
    means = [jax.tree.map(jnp.zeros_like, parameters) for _ in range(slots)]
    return parameters, means, jnp.zeros(()) if task.optimizer == "adam" else ()


def _step(task: Task, outputs: Callable[[Any, Any], Any]) -> Callable[[Any, Any, Any], Any]:
    """Return a step: from a state, rows and targets to a state and the loss."""
    import jax
    import jax.numpy as jnp

    each = jax.tree.map

    def loss_of(parameters: Any, x: Any, t: Any) -> Any:
        z = outputs(parameters, x)
        if not task.classifies:
            return jnp.square(z - t).mean()
        chosen = jnp.take_along_axis(z, t[:, None], axis=1)[:, 0]
        return (jax.nn.logsumexp(z, axis=1) - chosen).mean()

    def step(state: Any, x: Any, t: Any) -> Any:
        p, means, done = state
        loss, g = jax.value_and_grad(loss_of)(p, x, t)
        if task.optimizer == "sgd":
            p = each(lambda p, g: p - task.rate * g, p, g)
        elif task.optimizer == "momentum":
            means = [each(lambda v, g: MOMENTUM * v + g, means[0], g)]
            p = each(lambda p, v: p - task.rate * v, p, means[0])
        else:
            done += 1
            m = each(lambda m, g: BETA1 * m + (1 - BETA1) * g, means[0], g)
            s = each(lambda s, g: BETA2 * s + (1 - BETA2) * g * g, means[1], g)
            rate, correction = task.rate / (1 - BETA1**done), jnp.sqrt(1 - BETA2**done)
            p = each(lambda p, m, s: p - rate * m / (jnp.sqrt(s) / correction + EPSILON), p, m, s)
            means = [m, s]
        return (p, means, done), loss

    return step


def training(task: Task) -> Training:
    import jax
    import jax.numpy as jnp

    X = jnp.array(task.X)
    y = jnp.array(task.y.astype(np.int32) if task.classifies else task.y)
    order = jnp.array(task.order.astype(np.int32).reshape(-1, task.batch))
    step = _step(task, partial(_outputs, task))
    state: Any = None

    @partial(jax.jit, donate_argnums=0)
    def scan(state: Any, X: Any, y: Any, order: Any) -> Any:
        # Unrolled by 4, many parameters and few rows are up to 1.4 times as fast, by 16 no faster.
        unroll = 4 if task.batch <= 128 else 1
        return jax.lax.scan(lambda s, rows: step(s, X[rows], y[rows]), state, order, unroll=unroll)

    def reset() -> None:
        nonlocal state
        state = jax.block_until_ready(_state(task, _parameters(task)))

    def epoch() -> float:
        nonlocal state
        state, losses = jax.block_until_ready(scan(state, X, y, order))
        return float(losses.mean())

    return reset, epoch


def learning(task: Task) -> Learning:
    import jax
    import jax.numpy as jnp
    from jax.flatten_util import ravel_pytree

    # All parameters in one array: each further argument would take a microsecond or more a call.
    first, unravel = ravel_pytree(_parameters(task))
    step = _step(task, lambda vector, x: _outputs(task, unravel(vector), x))
    jitted = jax.jit(step, donate_argnums=0)
    state: Any = None

    def reset() -> None:
        nonlocal state
        state = jax.block_until_ready(_state(task, jnp.copy(first)))

    def learn(x: Any, t: Any) -> None:
        nonlocal state
        state, _ = jitted(state, x, t)
        state[0].block_until_ready()

    def learned() -> list[Array]:
        pairs = unravel(state[0])
        return [np.asarray(p) for kind in zip(*pairs, strict=True) for p in kind]

    return reset, lambda x, t: (jnp.array(x), jnp.array(t)), learn, learned


def prediction(task: Task) -> Prediction:
    import jax
    import jax.numpy as jnp

    parameters = _parameters(task)
    finish = jax.nn.softmax if task.classifies else lambda z: z
    # Parameters that are constants: as arguments, they would take some microseconds a call.
    forward = jax.jit(lambda x: finish(_outputs(task, parameters, x)))
    return jnp.array, lambda x: forward(x).block_until_ready()
