"""A `Problem` in JAX: training in a compiled scan over batches in a fixed order, and prediction."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from equivalents import Array, Problem, Work, rows_of

# fastnn's defaults of the optimizers that are compared here.
MOMENTUM, BETA1, BETA2, EPSILON, DECAY = 0.9, 0.9, 0.999, 1e-8, 0.9


def _jax_functions(problem: Problem) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return the function of the hidden layers, and that of the outputs."""
    import jax

    hidden = {
        "relu": jax.nn.relu, "leaky_relu": jax.nn.leaky_relu, "elu": jax.nn.elu,
        "selu": jax.nn.selu, "gelu": partial(jax.nn.gelu, approximate=False), "silu": jax.nn.silu,
        "softplus": jax.nn.softplus, "mish": jax.nn.mish, "sigmoid": jax.nn.sigmoid,
        "tanh": jax.numpy.tanh, "identity": lambda z: z,
    }  # fmt: skip
    outputs = {
        "softmax": jax.nn.softmax, "sigmoid": jax.nn.sigmoid, "identity": lambda z: z,
        "exponential": jax.numpy.exp,
    }  # fmt: skip
    return hidden[problem.activation], outputs[problem.new().architecture.output]


def _jax_loss(problem: Problem) -> Callable[[Any, Any], Any]:
    """Return the mean loss of a batch from the last weighted inputs and the targets."""
    import jax
    import jax.numpy as jnp

    architecture = problem.new().architecture
    _, output = _jax_functions(problem)

    def cross_entropy(z: Any, t: Any) -> Any:
        chosen = jnp.take_along_axis(z, t[:, None], axis=1)[:, 0]
        return (jax.nn.logsumexp(z, axis=1) - chosen).mean()

    def huber(z: Any, t: Any) -> Any:
        e = jnp.abs(output(z) - t)
        return jnp.where(e <= 1, e * e / 2, e - 0.5).mean()

    return {
        "cross_entropy": cross_entropy,
        "binary_cross_entropy": lambda z, t: (jax.nn.softplus(z) - t * z).sum(axis=1).mean(),
        "poisson": lambda z, t: (jnp.exp(z) - t * z).sum(axis=1).mean(),
        "mse": lambda z, t: ((output(z) - t) ** 2).mean(),
        "mae": lambda z, t: jnp.abs(output(z) - t).mean(),
        "huber": huber,
    }[architecture.loss]


def _jax_logits(parameters: Any, x: Any, hidden: Callable[..., Any]) -> Any:
    for w, b in parameters[:-1]:
        x = hidden(x @ w + b)
    w, b = parameters[-1]
    return x @ w + b


def _jax_optimizer(problem: Problem) -> tuple[int, Callable[..., Any]]:
    """Return how many slots a parameter has, and what gives a step and the new slots."""
    import jax.numpy as jnp

    def momentum(g: Any, slots: Any, t: Any) -> Any:
        v = MOMENTUM * slots[0] + g
        return v, (v,)

    def rmsprop(g: Any, slots: Any, t: Any) -> Any:
        s = DECAY * slots[0] + (1 - DECAY) * g * g
        return g / (jnp.sqrt(s) + EPSILON), (s,)

    def adam(g: Any, slots: Any, t: Any) -> Any:
        m = BETA1 * slots[0] + (1 - BETA1) * g
        s = BETA2 * slots[1] + (1 - BETA2) * g * g
        size = jnp.sqrt(s) / jnp.sqrt(1 - BETA2**t) + EPSILON
        return m / ((1 - BETA1**t) * size), (m, s)

    return {
        "sgd": (0, lambda g, slots, t: (g, ())),
        "momentum": (1, momentum),
        "rmsprop": (1, rmsprop),
        "adam": (2, adam),
    }[problem.optimizer]


def _jax_step(problem: Problem) -> tuple[int, Callable[..., Any]]:
    """Return the slots of a parameter, and a function that takes a step with a batch."""
    import jax
    import jax.numpy as jnp

    hidden, _ = _jax_functions(problem)
    loss_of, rate, options = _jax_loss(problem), problem.rate, problem.options
    count, update = _jax_optimizer(problem)
    frozen = set(options.get("frozen", ()))
    moving = [l for l in range(len(problem.sizes) - 1) if l not in frozen]

    def step(state: Any, x: Any, t: Any) -> Any:
        parameters, slots, number = state
        if x.dtype == jnp.uint8:
            x = x.astype(jnp.float32) * np.float32(1 / 255)

        def loss(trained: Any) -> Any:
            merged = list(parameters)
            for l, pair in zip(moving, trained, strict=True):
                merged[l] = pair
            return loss_of(_jax_logits(merged, x, hidden), t)

        value, gradients = jax.value_and_grad(loss)([parameters[l] for l in moving])
        l1, l2 = options.get("l1", 0.0), options.get("l2", 0.0)
        if l1 or l2:
            gradients = [
                (g + l2 * parameters[l][0] + l1 * jnp.sign(parameters[l][0]), h)
                for l, (g, h) in zip(moving, gradients, strict=True)
            ]
        if (limit := options.get("clip_norm")) is not None:
            norm = jnp.sqrt(sum((g * g).sum() for pair in gradients for g in pair))
            factor = jnp.minimum(1, limit / norm)
            gradients = jax.tree.map(lambda g: g * factor, gradients)
        if (limit := options.get("clip_value")) is not None:
            gradients = jax.tree.map(lambda g: jnp.clip(g, -limit, limit), gradients)
        parameters, slots, number = list(parameters), list(slots), number + 1
        for l, pair in zip(moving, gradients, strict=True):
            moved = [update(g, s, number) for g, s in zip(pair, slots[l], strict=True)]
            w, b = (p - rate * d for p, (d, _) in zip(parameters[l], moved, strict=True))
            if (limit := options.get("max_norm")) is not None:
                norms = jnp.sqrt((w * w).sum(axis=0))
                w = w * jnp.minimum(1, limit / jnp.maximum(norms, 1e-30))
            parameters[l], slots[l] = (w, b), tuple(s for _, s in moved)
        return (parameters, slots, number), value

    return count, step


def jax_training(problem: Problem, epochs: int = 1, at_once: bool = False) -> Work:
    """Return epochs of training in JAX, each a compiled scan, or all of them in one."""
    import jax
    import jax.numpy as jnp

    count, step = _jax_step(problem)
    pixels = problem.X.dtype == np.uint8
    X = jnp.array(np.ascontiguousarray(problem.X) if pixels else rows_of(problem.X))
    labels = problem.y.ndim == 1 and problem.y.dtype.kind == "i"
    y = jnp.array(problem.y.astype(np.int32 if labels else np.float32))
    rows, batch = len(X), min(problem.batch, len(X))
    whole = rows // batch * batch
    in_order = jnp.arange(rows, dtype=jnp.int32)
    shuffled = problem.options.get("shuffle", True)
    order = jnp.array(np.random.default_rng(0).permutation(in_order)) if shuffled else in_order
    state: Any = None

    def epoch(state: Any, X: Any, y: Any, order: Any) -> Any:
        full, rest = order[:whole].reshape(-1, batch), order[whole:]
        # Unrolled by 4, many parameters and few rows are up to 1.4 times as fast, by 16 no faster.
        unroll = 4 if batch <= 128 else 1
        state, losses = jax.lax.scan(
            lambda state, chosen: step(state, X[chosen], y[chosen]), state, full, unroll=unroll
        )
        total = losses.sum() * batch
        if len(rest):
            state, loss = step(state, X[rest], y[rest])
            total += loss * len(rest)
        return state, total / rows

    @partial(jax.jit, donate_argnums=0)
    def scan(state: Any, X: Any, y: Any, order: Any) -> Any:
        if not at_once:
            return epoch(state, X, y, order)
        return jax.lax.scan(lambda state, _: epoch(state, X, y, order), state, length=epochs)

    def reset() -> None:
        nonlocal state
        parameters = [(jnp.array(w), jnp.array(b)) for w, b in problem.parameters()]
        slots = [
            tuple(tuple(jnp.zeros_like(p) for _ in range(count)) for p in pair)
            for pair in parameters
        ]
        state = jax.block_until_ready((parameters, slots, jnp.array(0.0)))

    def call(order: Any = order) -> list[float]:
        nonlocal state
        losses: list[float] = []
        for _ in range(1 if at_once else epochs):
            state, loss = scan(state, X, y, order)
            losses += np.atleast_1d(np.asarray(loss)).tolist()
        jax.block_until_ready(state)
        return losses

    def value() -> Array:
        reset()
        losses: list[float] = []
        while len(losses) < 2:
            losses += call(in_order)
        reset()
        return np.array(losses[:2])

    reset()
    return Work(call, value)


def jax_prediction(problem: Problem) -> Work:
    """Return prediction in JAX."""
    import jax
    import jax.numpy as jnp

    hidden, output = _jax_functions(problem)
    parameters = [(jnp.array(w), jnp.array(b)) for w, b in problem.parameters()]

    # Parameters that are constants: as arguments, they would take some microseconds a call.
    @jax.jit
    def forward(x: Any) -> Any:
        if x.dtype == jnp.uint8:
            x = x.astype(jnp.float32) * np.float32(1 / 255)
        return output(_jax_logits(parameters, x, hidden))

    X = problem.X
    if X.dtype == np.float32 and X.flags.c_contiguous:
        x = jnp.array(X)
        call = lambda: forward(x).block_until_ready()  # noqa: E731
    elif X.dtype == np.uint8:
        call = lambda: forward(X).block_until_ready()  # noqa: E731
    else:
        call = lambda: forward(rows_of(X)).block_until_ready()  # noqa: E731
    return Work(call, lambda: np.asarray(call()))
