"""The same network in fastnn, JAX, ONNX Runtime and PyTorch, with all options of a `Problem`.

Each function returns `Work`, as one who knows the library would write it. JAX trains in one
compiled scan over batches that are gathered in a fixed order; fastnn's call of `train` also
shuffles, checks its arguments and records. Predictions of ONNX Runtime and JAX get the array that
they read fastest, if X is float32 in C order; other arrays they convert within the call.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the package beside this folder

Array = np.ndarray
FIXED = {"schedule": "constant", "progress": False}
# fastnn's defaults of the optimizers that are compared here.
MOMENTUM, BETA1, BETA2, EPSILON, DECAY = 0.9, 0.9, 0.999, 1e-8, 0.9


@dataclass
class Work:
    """What is timed, and what shows that it is the same work as another's."""

    call: Callable[[], object]
    value: Callable[[], Array] | None = None
    per: int = 1  # steps, epochs or rows of a call: figures are those of one


@dataclass
class Problem:
    """A network, its data and how it is trained."""

    sizes: tuple[int, ...]
    X: Array
    y: Array
    batch: int = 64
    network: dict[str, Any] = field(default_factory=dict)  # keywords of `fastnn.Network`
    optimizer: str = "sgd"
    options: dict[str, Any] = field(default_factory=dict)  # other keywords of `train`
    rate: float = 1e-3

    @property
    def activation(self) -> str:
        """The name of the hidden layers' function."""
        return self.network.get("activation", "relu")

    def new(self) -> Any:
        """Return fastnn's network, always with the same weights."""
        import fastnn

        return fastnn.Network(self.sizes, seed=0, threads=1, **self.network)

    def parameters(self) -> list[tuple[Array, Array]]:
        """Return weights and biases of each layer."""
        net = self.new()
        return [(np.array(w), np.array(b)) for w, b in zip(net.weights, net.biases, strict=True)]

    def steps(self) -> int:
        """Return the steps of an epoch."""
        return -(-len(self.X) // self.batch)


def rows_of(x: Array) -> Array:
    """Return rows as the other libraries get them: float32, in C order; pixels from 0 to 1."""
    out = np.ascontiguousarray(x, np.float32)
    if x.dtype == np.uint8:
        out *= np.float32(1 / 255)
    return out


def fastnn_training(problem: Problem, epochs: int = 1, **keywords: Any) -> Work:
    """Return a call of `train`; its value is the mean loss of each of two epochs in order."""
    settings = {
        "batch_size": problem.batch, "learning_rate": problem.rate, "optimizer": problem.optimizer,
        **FIXED, **problem.options,
    }  # fmt: skip

    def value() -> Array:
        history = problem.new().train(
            problem.X, problem.y, epochs=2, **{**settings, "shuffle": False}
        )
        return np.array(history["loss"])

    net, settings = problem.new(), {**settings, **keywords}
    return Work(partial(net.train, problem.X, problem.y, epochs=epochs, **settings), value)


def fastnn_prediction(problem: Problem) -> Work:
    """Return a call of `predict_proba`."""
    predict = partial(problem.new().predict_proba, problem.X)
    return Work(predict, predict)


def fastnn_one(problem: Problem, x: Any = None) -> Work:
    """Return a call of `predict_one`, by default for the first row."""
    predict = partial(problem.new().predict_one, problem.X[0] if x is None else x)
    return Work(predict, predict)


def _jax_functions(problem: Problem) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return the function of the hidden layers, and that of the outputs."""
    import jax

    hidden = {
        "relu": jax.nn.relu, "leaky_relu": jax.nn.leaky_relu, "elu": jax.nn.elu,
        "selu": jax.nn.selu, "gelu": partial(jax.nn.gelu, approximate=False), "silu": jax.nn.silu,
        "softplus": jax.nn.softplus, "sigmoid": jax.nn.sigmoid, "tanh": jax.numpy.tanh,
        "identity": lambda z: z,
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


# Activations that have an operator; GELU's came with a later set, and SiLU takes two.
_ONNX = {"relu": "Relu", "leaky_relu": "LeakyRelu", "elu": "Elu", "selu": "Selu",
         "softplus": "Softplus", "sigmoid": "Sigmoid", "tanh": "Tanh", "softmax": "Softmax",
         "exponential": "Exp", "gelu": "Gelu"}  # fmt: skip


def onnxruntime_prediction(problem: Problem, x: Array | None = None) -> Work:
    """Return prediction in ONNX Runtime, of the problem's rows or of others."""
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    X = problem.X if x is None else x
    pixels = X.dtype == np.uint8
    nodes, constants, name = [], [], "x"
    if pixels:
        constants.append(numpy_helper.from_array(np.array(1 / 255, np.float32), "scale"))
        nodes.append(helper.make_node("Cast", ["x"], ["c"], to=TensorProto.FLOAT))
        nodes.append(helper.make_node("Mul", ["c", "scale"], [name := "p"]))
    layers = len(problem.sizes) - 1
    for l, (w, b) in enumerate(problem.parameters()):
        constants += [numpy_helper.from_array(w, f"w{l}"), numpy_helper.from_array(b, f"b{l}")]
        nodes.append(helper.make_node("Gemm", [name, f"w{l}", f"b{l}"], [name := f"z{l}"]))
        kind = problem.activation if l < layers - 1 else problem.new().architecture.output
        if kind == "silu":
            nodes.append(helper.make_node("Sigmoid", [name], [f"s{l}"]))
            nodes.append(helper.make_node("Mul", [name, f"s{l}"], [name := f"a{l}"]))
        elif kind != "identity":
            alpha = {"alpha": 0.01} if kind == "leaky_relu" else {}
            nodes.append(helper.make_node(_ONNX[kind], [name], [name := f"a{l}"], **alpha))
    element = TensorProto.UINT8 if pixels else TensorProto.FLOAT
    ins = helper.make_tensor_value_info("x", element, ["n", problem.sizes[0]])
    out = helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", problem.sizes[-1]])
    graph = helper.make_graph(nodes, "mlp", [ins], [out], constants)
    opset = helper.make_opsetid("", 20)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    if pixels:
        call = lambda: session.run(None, {"x": np.ascontiguousarray(X)})[0]  # noqa: E731
    elif X.dtype == np.float32 and X.flags.c_contiguous:
        call = lambda: session.run(None, {"x": X})[0]  # noqa: E731
    else:
        call = lambda: session.run(None, {"x": rows_of(X)})[0]  # noqa: E731
    return Work(call, call)


def torch_prediction(problem: Problem) -> Work:
    """Return prediction in PyTorch."""
    import torch
    from torch.nn import functional

    torch.set_num_threads(1)
    hidden = {
        "relu": torch.relu, "leaky_relu": functional.leaky_relu, "elu": functional.elu,
        "selu": functional.selu, "gelu": functional.gelu, "silu": functional.silu,
        "softplus": functional.softplus, "sigmoid": torch.sigmoid, "tanh": torch.tanh,
        "identity": lambda z: z,
    }[problem.activation]  # fmt: skip
    output = {
        "softmax": lambda z: z.softmax(dim=1), "sigmoid": torch.sigmoid, "identity": lambda z: z,
        "exponential": torch.exp,
    }[problem.new().architecture.output]  # fmt: skip
    pairs = [(torch.tensor(w.T.copy()), torch.tensor(b)) for w, b in problem.parameters()]
    X, scale = torch.from_numpy(problem.X), np.float32(1 / 255)

    # Not torch.nn.Sequential, which takes 20 microseconds more a call.
    @torch.inference_mode()
    def predict() -> Any:
        x = X.float()
        if X.dtype == torch.uint8:
            x = x.mul_(scale)
        for w, b in pairs[:-1]:
            x = hidden(functional.linear(x, w, b))
        return output(functional.linear(x, *pairs[-1]))

    return Work(predict, lambda: predict().numpy())
