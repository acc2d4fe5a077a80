"""The contenders of `peers.py`: the same work, as one who knows each library would write it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray
# What puts back the first weights, and an epoch, which returns the mean loss.
Training = tuple[Callable[[], object], Callable[[], float]]
# What makes rows an array of the library, and what predicts them.
Prediction = tuple[Callable[[Array], Any], Callable[[Any], Any]]

LEARNING_RATE = 0.01


@dataclass
class Task:
    """What a contender is to do: the network as it starts, and the rows ``X[order]``."""

    weights: list[Array]
    biases: list[Array]
    X: Array
    y: Array
    order: Array
    batch: int
    threads: int


def numpy_training(task: Task) -> Training:
    weights = [w.copy() for w in task.weights]
    biases = [b.copy() for b in task.biases]
    X, y, batch = task.X, task.y, task.batch
    units = [len(weights[0]), *map(len, biases)]
    a = [np.empty((batch, n), np.float32) for n in units]
    deltas = [np.empty((batch, n), np.float32) for n in units[:-1]]
    active = [np.empty((batch, n), bool) for n in units[:-1]]
    gradients = [np.empty_like(w) for w in weights]
    rows = np.arange(batch)
    rate = np.float32(LEARNING_RATE / batch)
    # The product of a column and a row, which broadcasting does without packing either.
    outer = np.multiply if batch == 1 else np.matmul

    def reset() -> None:
        for parameters, initial in zip(weights + biases, task.weights + task.biases, strict=True):
            parameters[...] = initial

    def epoch() -> float:
        total = 0.0
        for first in range(0, len(task.order), batch):
            chosen = task.order[first : first + batch]
            np.take(X, chosen, axis=0, out=a[0], mode="clip")
            labels = y[chosen]
            for l, (w, b) in enumerate(zip(weights, biases, strict=True), 1):
                np.matmul(a[l - 1], w, out=a[l])
                a[l] += b
                if l < len(weights):
                    np.maximum(a[l], 0, out=a[l])
            delta = a[-1]
            delta -= delta.max(axis=1, keepdims=True)
            total -= float(delta[rows, labels].sum())
            np.exp(delta, out=delta)
            sums = delta.sum(axis=1, keepdims=True)
            total += float(np.log(sums).sum())
            delta /= sums
            delta[rows, labels] -= 1
            delta *= rate
            for l in range(len(weights) - 1, -1, -1):
                outer(a[l].T, delta, out=gradients[l])
                biases[l] -= delta.sum(axis=0)
                if l:
                    np.matmul(delta, weights[l].T, out=deltas[l])
                    np.greater(a[l], 0, out=active[l])
                    deltas[l] *= active[l]
                    delta = deltas[l]
                weights[l] -= gradients[l]
        return total / len(task.order)

    return reset, epoch


def numpy_prediction(task: Task) -> Prediction:
    def predict(x: Array) -> Array:
        for l, (w, b) in enumerate(zip(task.weights, task.biases, strict=True), 1):
            x = x @ w
            x += b
            if l < len(task.weights):
                np.maximum(x, 0, out=x)
        x -= x.max(axis=1, keepdims=True)
        np.exp(x, out=x)
        x /= x.sum(axis=1, keepdims=True)
        return x

    return np.asarray, predict


def _sklearn(task: Task) -> Any:
    from sklearn.neural_network import MLPClassifier

    model = MLPClassifier(
        [len(b) for b in task.biases[:-1]],
        solver="sgd",
        alpha=0.0,
        batch_size=task.batch,
        learning_rate_init=LEARNING_RATE,
        shuffle=False,
        momentum=0.0,
        nesterovs_momentum=False,
    )
    # Allocates the parameters, which then take any values.
    classes = np.arange(len(task.biases[-1]))
    model.partial_fit(task.X[: task.batch], task.y[: task.batch], classes=classes)
    _sklearn_reset(model, task)
    return model


def _sklearn_reset(model: Any, task: Task) -> None:
    initial = task.weights + task.biases
    for parameters, values in zip(model.coefs_ + model.intercepts_, initial, strict=True):
        parameters[...] = values


def sklearn_training(task: Task) -> Training:
    model = _sklearn(task)
    X, y = task.X[task.order], task.y[task.order]
    return lambda: _sklearn_reset(model, task), lambda: model.partial_fit(X, y).loss_


def sklearn_prediction(task: Task) -> Prediction:
    return np.asarray, _sklearn(task).predict_proba


def _torch_parameters(task: Task) -> list[Any]:
    """Return all weights, (fan_out, fan_in) as torch.nn.Linear has them, and all biases."""
    import torch

    return [torch.tensor(w.T.copy()) for w in task.weights] + [*map(torch.tensor, task.biases)]


def _torch_logits(parameters: list[Any], x: Any) -> Any:
    from torch.nn.functional import linear

    layers = len(parameters) // 2
    for w, b in zip(parameters[: layers - 1], parameters[layers:-1], strict=True):
        x = linear(x, w, b).relu_()
    return linear(x, parameters[layers - 1], parameters[-1])


def torch_training(task: Task, compiled: bool = False) -> Training:
    import torch
    from torch.nn.functional import cross_entropy

    torch.set_num_threads(task.threads)
    initial = _torch_parameters(task)
    parameters = [p.clone().requires_grad_(not compiled) for p in initial]
    X, y, order = map(torch.from_numpy, (task.X, task.y, task.order))
    batch = task.batch
    # Many small batches are gathered at once, and no more than stay in a cache.
    chunk = batch * max(1, 256 // batch)
    x_chunk, y_chunk = torch.empty((chunk, X.shape[1])), torch.empty(chunk, dtype=y.dtype)

    def loss_of(parameters: list[Any], x: Any, t: Any) -> Any:
        return cross_entropy(_torch_logits(parameters, x), t)

    # Up to 1.4 times as fast as torch.optim.SGD, fused or not.
    def eager_step(parameters: list[Any], x: Any, t: Any) -> Any:
        loss = loss_of(parameters, x, t)
        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            torch._foreach_add_(parameters, gradients, alpha=-LEARNING_RATE)
        return loss.detach()

    def whole_step(parameters: list[Any], x: Any, t: Any) -> Any:
        gradients, loss = torch.func.grad_and_value(loss_of)(parameters, x, t)
        for p, gradient in zip(parameters, gradients, strict=True):
            p.sub_(gradient, alpha=LEARNING_RATE)
        return loss

    step = eager_step
    if compiled:
        torch._dynamo.reset()  # or it takes a further batch size for a variable
        step = torch.compile(whole_step, fullgraph=True, dynamic=False)

    def reset() -> None:
        with torch.no_grad():
            torch._foreach_copy_(parameters, initial)

    def epoch() -> float:
        losses = []
        for chosen in order.split(chunk):
            xs = torch.index_select(X, 0, chosen, out=x_chunk[: len(chosen)]).split(batch)
            ts = torch.index_select(y, 0, chosen, out=y_chunk[: len(chosen)]).split(batch)
            losses += [step(parameters, x, t) for x, t in zip(xs, ts, strict=True)]
        return float(torch.stack(losses).mean())

    return reset, epoch


def torch_compiled_training(task: Task) -> Training:
    return torch_training(task, compiled=True)


def torch_prediction(task: Task) -> Prediction:
    import torch

    torch.set_num_threads(task.threads)
    parameters = _torch_parameters(task)

    # Not torch.nn.Sequential, which takes 20 microseconds more a call.
    @torch.inference_mode()
    def predict(x: Any) -> Any:
        return _torch_logits(parameters, x).softmax(dim=1)

    return torch.tensor, predict


def _jax_logits(parameters: Any, x: Any) -> Any:
    import jax

    for w, b in parameters[:-1]:
        x = jax.nn.relu(x @ w + b)
    w, b = parameters[-1]
    return x @ w + b


def jax_training(task: Task) -> Training:
    import jax
    import jax.numpy as jnp

    X, y = jnp.array(task.X), jnp.array(task.y.astype(np.int32))
    order = jnp.array(task.order.astype(np.int32).reshape(-1, task.batch))
    state: Any = None

    def loss_of(parameters: Any, x: Any, t: Any) -> Any:
        z = _jax_logits(parameters, x)
        chosen = jnp.take_along_axis(z, t[:, None], axis=1)[:, 0]
        return (jax.nn.logsumexp(z, axis=1) - chosen).mean()

    @partial(jax.jit, donate_argnums=0)
    def scan(parameters: Any, X: Any, y: Any, order: Any) -> Any:
        def step(parameters: Any, rows: Any) -> Any:
            loss, gradients = jax.value_and_grad(loss_of)(parameters, X[rows], y[rows])
            return jax.tree.map(lambda p, g: p - LEARNING_RATE * g, parameters, gradients), loss

        # Unrolled by 4, many parameters and few rows are up to 1.4 times as fast, by 16 no faster.
        return jax.lax.scan(step, parameters, order, unroll=4 if task.batch <= 128 else 1)

    def reset() -> None:
        nonlocal state
        pairs = zip(task.weights, task.biases, strict=True)
        state = jax.block_until_ready([(jnp.array(w), jnp.array(b)) for w, b in pairs])

    def epoch() -> float:
        nonlocal state
        state, losses = jax.block_until_ready(scan(state, X, y, order))
        return float(losses.mean())

    return reset, epoch


def jax_prediction(task: Task) -> Prediction:
    import jax
    import jax.numpy as jnp

    pairs = zip(task.weights, task.biases, strict=True)
    parameters = [(jnp.array(w), jnp.array(b)) for w, b in pairs]
    # Parameters that are constants: as arguments, they would take some microseconds a call.
    forward = jax.jit(lambda x: jax.nn.softmax(_jax_logits(parameters, x)))
    return jnp.array, lambda x: forward(x).block_until_ready()


def onnxruntime_prediction(task: Task) -> Prediction:
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    nodes, constants, name = [], [], "x"
    for l, (w, b) in enumerate(zip(task.weights, task.biases, strict=True)):
        constants += [numpy_helper.from_array(w, f"w{l}"), numpy_helper.from_array(b, f"b{l}")]
        nodes.append(helper.make_node("Gemm", [name, f"w{l}", f"b{l}"], [f"z{l}"]))
        kind = "Relu" if l < len(task.weights) - 1 else "Softmax"
        nodes.append(helper.make_node(kind, [f"z{l}"], [name := f"a{l}"]))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", len(task.weights[0])])
    out = helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", len(task.biases[-1])])
    graph = helper.make_graph(nodes, "mlp", [x], [out], constants)
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = task.threads, 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return np.asarray, lambda x: session.run(None, {"x": x})[0]


def _fastnn(task: Task) -> Any:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    import fastnn

    sizes = [len(task.weights[0]), *map(len, task.biases)]
    net = fastnn.Network(sizes, seed=0, backend="numba", threads=task.threads)
    _fastnn_reset(net, task)
    return net


def _fastnn_reset(net: Any, task: Task) -> None:
    for l, (w, b) in enumerate(zip(task.weights, task.biases, strict=True)):
        net.weights[l], net.biases[l] = w, b


def fastnn_training(task: Task) -> Training:
    net = _fastnn(task)
    from fastnn import backends
    from fastnn.backends.contract import Examples, UpdateRule
    from fastnn.backends.dropout import NO_KEYS
    from fastnn.training import loop

    backend = backends.get(net.backend)
    backend.prepare(net.model)
    rule, examples = UpdateRule(), Examples(task.X, task.y)
    state = net.model.state_for(rule.optimizer)
    losses = np.empty(len(task.order) // task.batch)
    rates = np.full(len(losses), LEARNING_RATE)

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

    return lambda: _fastnn_reset(net, task), epoch


def fastnn_prediction(task: Task) -> Prediction:
    net = _fastnn(task)

    def predict(rows: Array) -> Array:
        return net.predict_one(rows[0])[None] if len(rows) == 1 else net.predict_proba(rows)

    return np.asarray, predict


# Name: distributions that it needs, training, prediction.
CONTENDERS: dict[str, tuple[tuple[str, ...], Any, Any]] = {
    "fastnn": ((), fastnn_training, fastnn_prediction),
    "numpy": (("numpy",), numpy_training, numpy_prediction),
    "sklearn": (("scikit-learn",), sklearn_training, sklearn_prediction),
    "torch": (("torch",), torch_training, torch_prediction),
    "torch.compile": (("torch",), torch_compiled_training, None),
    "jax": (("jax",), jax_training, jax_prediction),
    "onnxruntime": (("onnxruntime", "onnx"), None, onnxruntime_prediction),
}
