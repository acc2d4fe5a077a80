"""The same network in fastnn, ONNX Runtime and PyTorch; `jax_networks.py` has that of JAX.

Each function returns the `Work` of a `Problem`, as one who knows the library would write it. A call
of fastnn's `train` also shuffles, checks its arguments and records. ONNX Runtime and JAX get the
array that they read fastest, if X is float32 in C order; other arrays they convert within the call.
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
        "softplus": functional.softplus, "mish": functional.mish, "sigmoid": torch.sigmoid,
        "tanh": torch.tanh, "identity": lambda z: z,
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
