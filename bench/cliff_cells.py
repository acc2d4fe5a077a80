"""The cells of `cliffs.py` in which a peer was ahead; the others are in `neighbour_cells.py`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from equivalents import (
    Array,
    Problem,
    Work,
    fastnn_one,
    fastnn_prediction,
    fastnn_training,
    onnxruntime_prediction,
)
from jax_networks import jax_prediction, jax_training

Sizes = tuple[int, ...]
BASE: Sizes = (64, 128, 128, 10)
MNIST: Sizes = (784, 128, 10)
LARGE: Sizes = (784, 2000, 2000, 10)  # 22 MB
FULL = 65_536
TARGET = 0.02  # seconds of a call of `train`, roughly


@dataclass(frozen=True)
class Cell:
    """Something to time.

    Parameters
    ----------
    name : str
    setup : callable
        Returns the works by name. The first is fastnn's; the others are peers, of which the fastest
        counts, or the one neighbour.
    unit : str
        What a figure is of: "call", "step", "epoch" or "row".
    kind : str
        "peer", "neighbour", or "memory" for a neighbour by the bytes that a call needs.
    waits : bool
        Whether a call waits for a disk, so that time counts in which no CPU works.
    """

    name: str
    setup: Callable[[], dict[str, Work]]
    unit: str = "call"
    kind: str = "peer"
    waits: bool = False


@cache
def folder() -> Path:
    """Return a folder for what is written."""
    global _folder
    _folder = tempfile.TemporaryDirectory()  # goes away with the process
    return Path(_folder.name)


def inputs(rows: int, units: int) -> Array:
    """Return normal float32 numbers."""
    return np.random.default_rng(0).standard_normal((rows, units), np.float32)


def targets(rows: int, units: int, loss: str) -> Array:
    """Return what suits a loss."""
    rng = np.random.default_rng(1)
    if loss == "cross_entropy":
        return rng.integers(0, units, rows)
    if loss == "binary_cross_entropy":
        return rng.integers(0, 2, (rows, units)).astype(np.float32)
    if loss == "poisson":
        return rng.poisson(1.0, (rows, units)).astype(np.float32)
    return rng.standard_normal((rows, units), np.float32)


def problem(
    sizes: Sizes, rows: int, batch: int = 64, network: dict[str, Any] | None = None, **options: Any
) -> Problem:
    """Return a problem; ``options`` are keywords of `train`."""
    network = network or {}
    natural = {"identity": "mse", "sigmoid": "binary_cross_entropy", "softmax": "cross_entropy"}
    loss = network.get("loss") or natural[network.get("output", "softmax")]
    optimizer = options.pop("optimizer", "sgd")
    y = targets(rows, sizes[-1], "cross_entropy" if callable(loss) else loss)
    return Problem(sizes, inputs(rows, sizes[0]), y, batch, network, optimizer, options)


def rows_for(sizes: Sizes, batch: int) -> int:
    """Return rows in whole batches that take about `TARGET` seconds on a core."""
    parameters = sum(m * n for m, n in pairwise(sizes))
    step = 2e-6 + parameters * 8 / 3e10 + batch * (3e-8 + parameters * 6 / 8e10)
    return batch * max(20, min(5_000, int(TARGET / step)))


# Beside peers


def training(
    name: str, sizes: Sizes, batch: int, rows: int | None = None,
    network: dict[str, Any] | None = None, **options: Any,
) -> Cell:  # fmt: skip
    """Return a cell of steps of training beside JAX."""

    def setup() -> dict[str, Work]:
        task = problem(sizes, rows or rows_for(sizes, batch), batch, network, **options)
        works = {"fastnn": fastnn_training(task), "jax": jax_training(task)}
        return {who: replace(work, per=task.steps()) for who, work in works.items()}

    return Cell(f"train {name}", setup, "step")


def many_epochs(
    name: str, sizes: Sizes, rows: int, batch: int, epochs: int = 100, at_once: bool = False
) -> Cell:
    """Return a cell of epochs of a few rows beside JAX, in a call for each or for all."""

    def setup() -> dict[str, Work]:
        task = problem(sizes, rows, batch)
        works = {
            "fastnn": fastnn_training(task, epochs),
            "jax": jax_training(task, epochs, at_once),
        }
        return {who: replace(work, per=epochs) for who, work in works.items()}

    return Cell(f"train {name}", setup, "epoch")


PREDICTION = {"jax": jax_prediction, "onnxruntime": onnxruntime_prediction}


def prediction(
    sizes: Sizes, rows: int, output: str = "softmax", peers: tuple[str, ...] = ("onnxruntime",)
) -> Cell:
    """Return a cell of `predict_proba` beside peers."""

    def setup() -> dict[str, Work]:
        task = problem(sizes, rows, network={"output": output})
        works = {who: PREDICTION[who](task) for who in peers}
        return {"fastnn": fastnn_prediction(task), **works}

    return Cell(f"predict_proba {shown(sizes)} {output}, {many(rows)}", setup)


def shown(sizes: Sizes) -> str:
    """Return sizes as a user writes them; those of the usual network have a name."""
    return "base" if sizes == BASE else str(list(sizes))


def many(rows: int) -> str:
    """Return how many rows."""
    return "1 row" if rows == 1 else f"{rows:,} rows"


def one_row(sizes: Sizes, pixels: bool = False) -> Cell:
    """Return a cell of `predict_one` beside ONNX Runtime, which gets float32."""

    def setup() -> dict[str, Work]:
        task = problem(sizes, 1)
        x = task.X
        if pixels:
            bytes_ = np.random.default_rng(0).integers(0, 255, x.shape, np.uint8, endpoint=True)
            x, task.X = bytes_, bytes_ * np.float32(1 / 255)
        ort = onnxruntime_prediction(task)
        return {
            "fastnn": fastnn_one(task, x[0]),
            "onnxruntime": Work(ort.call, lambda: ort.value()[0]),
        }

    return Cell(f"predict_one {shown(sizes)}{', uint8 row' if pixels else ''}", setup)


def macro_f1() -> dict[str, Work]:
    """Return scores of many classes."""
    from sklearn.metrics import f1_score

    from fastnn import metrics

    rng = np.random.default_rng(0)
    true, pred = rng.integers(0, 10_000, (2, 200))
    true[0] = 9_999
    ours = partial(metrics.macro_f1, true, pred)
    return {"fastnn": Work(ours), "sklearn": Work(partial(f1_score, true, pred, average="macro"))}


def layers(sizes: Sizes) -> Any:
    """Return PyTorch's network."""
    from torch import nn

    parts: list[Any] = []
    for fan_in, fan_out in pairwise(sizes):
        parts += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    return nn.Sequential(*parts[:-1])


def reading() -> dict[str, Work]:
    """Return what reads a large network."""
    import safetensors.torch
    import torch

    import fastnn

    ours, theirs = folder() / "ours.safetensors", folder() / "theirs.safetensors"
    problem(LARGE, 1).new().save(ours)
    safetensors.torch.save_file(layers(LARGE).state_dict(), theirs)

    def read() -> Any:
        with torch.device("meta"):  # allocates and draws nothing
            model = layers(LARGE)
        model.load_state_dict(safetensors.torch.load_file(theirs), assign=True)
        return model

    return {"fastnn": Work(partial(fastnn.load, ours)), "torch": Work(read)}


def saving() -> dict[str, Work]:
    """Return what writes a small network."""
    import safetensors.torch

    net, model = problem(BASE, 1).new(), layers(BASE)
    theirs = folder() / "small-theirs.safetensors"
    write = lambda: safetensors.torch.save_file(model.state_dict(), theirs)  # noqa: E731
    return {"fastnn": Work(partial(net.save, folder() / "small.safetensors")), "torch": Work(write)}


def construction() -> dict[str, Work]:
    """Return what makes a large network."""
    return {"fastnn": Work(problem(LARGE, 1).new), "torch": Work(partial(layers, LARGE))}


def estimator(method: str, rows: int) -> Cell:
    """Return a cell of the classifier beside scikit-learn's."""

    def setup() -> dict[str, Work]:
        import warnings

        from sklearn import neural_network
        from sklearn.datasets import load_iris

        from fastnn.estimators import MLPClassifier

        X, y = load_iris(return_X_y=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a few epochs are enough to have a network
            ours = MLPClassifier(random_state=0, max_iter=5, threads=1).fit(X, y)
            theirs = neural_network.MLPClassifier(random_state=0, max_iter=5).fit(X, y)
        calls = {"fastnn": getattr(ours, method), "sklearn": getattr(theirs, method)}
        return {who: Work(partial(call, X[:rows])) for who, call in calls.items()}

    return Cell(f"MLPClassifier.{method}, iris, {many(rows)}", setup)


NUMBERS = {"output": "identity"}
WIDE: Sizes = (64, 128, 784)
WIDE_LOSSES: dict[str, dict[str, Any]] = {
    "mae": {**NUMBERS, "loss": "mae"}, "huber": {**NUMBERS, "loss": "huber"},
    "binary": {"output": "sigmoid"}, "poisson": {"loss": "poisson"},
}  # fmt: skip


def peer_cells() -> list[Cell]:
    """Return the cells beside peers."""
    p, t = prediction, training
    jax = ("jax",)
    return [
        p((8, 1), 100_000, "identity", jax),
        Cell("macro_f1, 10,000 classes, 200 rows", macro_f1),
        p((2, 8, 2), 10),
        p((64, 10), 10),
        *(p(BASE, rows) for rows in (2, 10, 16, 64, 100)),
        one_row(BASE, pixels=True),
        Cell("load, 22 MB", reading, waits=True),
        *(t(f"{list(s)}, full batch of 65,536", s, FULL, FULL * 2)
          for s in ((2, 8, 2), (8, 16, 3))),
        *(p((64, 10), rows, out)
          for rows in (1_000, 10_000, 100_000) for out in ("softmax", "identity")),
        *(t(f"{list(MNIST)}, batch 1, {name}", MNIST, 1, **options)
          for name, options in mnist_options().items()),
        p((8, 16, 3), 1_000),
        *(t(f"{list(s)}, batch 1", s, 1) for s in ((20_000, 2), (784, 2), (3_000, 8))),
        p((64, 1, 1, 10), 4_000, peers=jax),
        *(p((8, 16, 3), 100_000, out) for out in ("identity", "softmax")),
        *(t(f"[2, 8, 2], batch 1,000, {name}", (2, 8, 2), 1_000, network={"activation": name})
          for name in ("relu", "tanh", "gelu", "softplus", "sigmoid")),
        t("[2, 8, 2], batch 1,000, mse", (2, 8, 2), 1_000, network=NUMBERS),
        *(p((20_000, 128, 128, 10), rows) for rows in (10, 64, 2_000)),
        *(p((3_000, 128, 128, 10), rows) for rows in (10, 64)),
        *(estimator(method, rows) for method in ("predict_proba", "predict") for rows in (1, 150)),
        *(p((64, n, n, 10), 10) for n in (1_000, 2_000)),
        Cell("save, small network", saving, waits=True),
        many_epochs("10 rows [2, 8, 2], batch 10, 100 epochs", (2, 8, 2), 10, 10),
        *(many_epochs(f"100 rows [4, 16, 3], batch {batch}, 100 epochs", (4, 16, 3), 100, batch)
          for batch in (100, 32, 1)),
        many_epochs("100 rows [4, 16, 3], batch 32, 100 epochs, JAX in one call",
                    (4, 16, 3), 100, 32, at_once=True),
        *(t(f"base, full batch of {n:,}", BASE, n, 2 * n) for n in (FULL, FULL // 2, FULL // 4)),
        *(t(f"base, batch 1, {name}", BASE, 1, **options)
          for name, options in base_options().items()),
        Cell(f"construct {list(LARGE)}", construction),
        *(t(f"{list(WIDE)} {name}, batch 64", WIDE, 64, network=network)
          for name, network in WIDE_LOSSES.items()),
        *(t(f"{list(WIDE)} binary, batch {n:,}", WIDE, n, network={"output": "sigmoid"})
          for n in (1_000, 8)),
        *(p((64, 128, 128, n), 1_000) for n in (1_000, 10_000)),
        *(p(WIDE, 4_000, out, tuple(PREDICTION)) for out in ("softmax", "identity", "sigmoid")),
        t("[784, 128, 784] binary, batch 64", (784, 128, 784), 64, network={"output": "sigmoid"}),
        *(t(f"[{n}, 128, 128, 10], batch 1", (n, 128, 128, 10), 1) for n in (20_000, 3_000)),
        *(p(BASE, rows, peers=jax) for rows in (1_000, 10_000, 100_000)),
        t(f"{list(MNIST)}, batch 8, clip_value", MNIST, 8, clip_value=0.01),
        t(f"{list(MNIST)}, batch 8, l1", MNIST, 8, l1=1e-5),
        t("[1000, 10, 1000] mse, batch 64", (1_000, 10, 1_000), 64, network=NUMBERS),
        one_row((20_000, 128, 128, 10)),
        t("[20000, 128, 128, 10], batch 64", (20_000, 128, 128, 10), 64),
    ]  # fmt: skip


def mnist_options() -> dict[str, dict[str, Any]]:
    """Return the options of batches of one row that are compared for a network of images."""
    return {
        "clip_value": {"clip_value": 0.01}, "l1": {"l1": 1e-5},
        "momentum": {"optimizer": "momentum"}, "max_norm": {"max_norm": 2.0},
        "frozen first layer": {"frozen": [0]},
    }  # fmt: skip


def base_options() -> dict[str, dict[str, Any]]:
    """Return the options of batches of one row that are compared for the usual network."""
    return {
        "momentum": {"optimizer": "momentum"}, "clip_norm": {"clip_norm": 1.0},
        "frozen first layer": {"frozen": [0]}, "max_norm": {"max_norm": 2.0},
        "adam": {"optimizer": "adam"},
    }  # fmt: skip
