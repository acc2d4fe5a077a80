"""The cells of `cliffs.py`: where a peer was ahead, or a call far behind its neighbour."""

from __future__ import annotations

import copy
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
    jax_prediction,
    jax_training,
    onnxruntime_prediction,
)

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


PREDICTION = {"jax": jax_prediction, "ort": onnxruntime_prediction}


def prediction(
    sizes: Sizes, rows: int, output: str = "softmax", peers: tuple[str, ...] = ("ort",)
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
            "ort": Work(ort.call, lambda: ort.value()[0]),
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
        *(p(WIDE, 4_000, out, ("jax", "ort")) for out in ("softmax", "identity", "sigmoid")),
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


# Beside a neighbour


def neighbours(
    name: str, unit: str, ours: Callable[[], Work], beside: str, other: Callable[[], Work]
) -> Cell:
    """Return a cell of two calls of fastnn."""
    return Cell(name, lambda: {"fastnn": ours(), beside: other()}, unit, "neighbour")


def steps(
    sizes: Sizes, batch: int, rows: int | None = None, per: str = "step",
    network: dict[str, Any] | None = None, **options: Any,
) -> Work:  # fmt: skip
    """Return training whose figure is of a step or a row."""
    task = problem(sizes, rows or rows_for(sizes, batch), batch, network, **options)
    work = fastnn_training(task)
    return Work(work.call, per=len(task.X) if per == "row" else task.steps())


def beside_plain(
    name: str, sizes: Sizes, batch: int, network: dict[str, Any] | None = None, **options: Any
) -> Cell:
    """Return a cell of an option beside the same steps without."""
    return neighbours(
        f"train {name}", "step", partial(steps, sizes, batch, None, "step", network, **options),
        "plain", partial(steps, sizes, batch),
    )  # fmt: skip


def rows_of_a_kind() -> dict[str, Callable[[Array], Any]]:
    """Return what makes a row of float32 one of another kind."""

    def mapped(x: Array) -> Array:
        rows = np.memmap(folder() / "rows", np.float32, "w+", shape=(4, len(x)))
        rows[0] = x
        return rows[0]

    def torch_tensor(x: Array) -> Any:
        import torch

        return torch.tensor(x)

    def jax_array(x: Array) -> Any:
        import jax.numpy as jnp

        return jnp.array(x)

    return {
        "float64": lambda x: x.astype(np.float64),
        "float16": lambda x: x.astype(np.float16),
        "memmap row": mapped,
        "column of a Fortran array": lambda x: np.asfortranarray(np.stack([x] * 4))[0],
        "strided": lambda x: np.repeat(x, 2)[::2],
        "int64": lambda x: x.astype(np.int64),
        "uint8": lambda x: x.astype(np.uint8),
        "bool": lambda x: x > 0,
        "big-endian": lambda x: x.astype(">f4"),
        "list": lambda x: x.tolist(),
        "torch tensor": torch_tensor,
        "jax array": jax_array,
    }


def row_cells() -> list[Cell]:
    """Return the cells of `predict_one` beside a row that is read at once."""

    def of(kind: Callable[[Array], Any]) -> Work:
        task = problem(BASE, 1)
        return Work(fastnn_one(task, kind(np.abs(task.X[0]))).call)

    def by_hand(dtype: type, scale: float) -> Work:
        task = problem(BASE, 1)
        x, predict = np.abs(task.X[0]).astype(dtype), task.new().predict_one
        if scale == 1:
            return Work(lambda: predict(x.astype(np.float32)))
        return Work(lambda: predict(x * np.float32(scale)))

    kinds = rows_of_a_kind()
    fast = partial(of, lambda x: x)
    return [
        *(
            neighbours(f"predict_one of {name}", "call", partial(of, kind), "of float32", fast)
            for name, kind in kinds.items()
        ),
        *(
            neighbours(
                f"predict_one of {name}, beside conversion by hand", "call",
                partial(of, kinds[name]), "by hand", partial(by_hand, dtype, scale),
            )
            for name, dtype, scale in (("float64", np.float64, 1), ("uint8", np.uint8, 1 / 255))
        ),
        neighbours("predict_proba of 1 row", "call",
                   lambda: Work(fastnn_prediction(problem(BASE, 1)).call), "predict_one", fast),
    ]  # fmt: skip


def evaluation(sizes: Sizes, rows: int, network: dict[str, Any] | None = None) -> Work:
    """Return a call of `evaluate`."""
    task = problem(sizes, rows, network=network)
    return Work(partial(task.new().evaluate, task.X, task.y))


def outputs(
    sizes: Sizes, rows: int, network: dict[str, Any] | None = None, method: str = "predict_proba"
) -> Work:
    """Return a call of `predict_proba` or `predict`."""
    task = problem(sizes, rows, network=network)
    return Work(partial(getattr(task.new(), method), task.X))


def evaluation_cells() -> list[Cell]:
    """Return the cells of `evaluate`."""

    def classes(count: int) -> Sizes:
        return 64, 128, count

    def memory(name: str, ours: Callable[[], Work], beside: str, other: Callable[[], Work]) -> Cell:
        return replace(neighbours(name, "call", ours, beside, other), kind="memory")

    def steps_once(batch: int) -> Work:
        task = problem(BASE, 1_000_000, batch)
        return Work(lambda: fastnn_training(task).call())

    numbers = (("mse", {"output": "identity"}), ("binary", {"output": "sigmoid"}))
    return [
        *(neighbours(f"evaluate, 10,000 classes, {rows:,} rows", "call",
                     partial(evaluation, classes(10_000), rows), "predict_proba",
                     partial(outputs, classes(10_000), rows)) for rows in (200, 2_000)),
        neighbours("evaluate, 200 rows, 10,000 classes beside 1,000", "call",
                   partial(evaluation, classes(10_000), 200), "1,000 classes",
                   partial(evaluation, classes(1_000), 200)),
        *(memory(f"memory of evaluate, {count:,} classes, 50 rows",
                 partial(evaluation, classes(count), 50), "predict_proba",
                 partial(outputs, classes(count), 50)) for count in (10_000, 20_000)),
        memory("memory of a full batch of 1,000,000 rows, base", partial(steps_once, 1_000_000),
               "batch 1,000", partial(steps_once, 1_000)),
        neighbours("evaluate, 10 rows", "call", partial(evaluation, BASE, 10), "predict",
                   partial(outputs, BASE, 10, None, "predict")),
        *(neighbours(f"evaluate [4, 1] {name}, 1,000,000 rows", "call",
                     partial(evaluation, (4, 1), 1_000_000, network), "predict_proba",
                     partial(outputs, (4, 1), 1_000_000, network)) for name, network in numbers),
    ]  # fmt: skip


def option_cells() -> list[Cell]:
    """Return the cells of options beside plain steps."""
    few, softmax = (16, 1_000), {**mnist_options(), **base_options()}
    names = ("momentum", "max_norm", "clip_norm", "l1", "clip_value", "adam")
    return [
        *(beside_plain(f"{list(MNIST)}, batch 1, {n}, beside sgd", MNIST, 1, **softmax[n])
          for n in names),
        *(beside_plain(f"base, batch 1, {n}, beside sgd", BASE, 1, **softmax[n])
          for n in ("momentum", "adam", "clip_norm", "max_norm")),
        beside_plain("base, batch 1, standardize_inputs", BASE, 1,
                     network={"standardize_inputs": True}),
        beside_plain("base, batch 1, dropout", BASE, 1, dropout=0.2),
        beside_plain("[64, 1000, 1000, 10], batch 1, momentum", (64, 1_000, 1_000, 10), 1,
                     optimizer="momentum"),
        neighbours("train base, batch 2", "row", partial(steps, BASE, 2, None, "row"),
                   "batch 1", partial(steps, BASE, 1, None, "row")),
        neighbours("train base, batch 3", "step", partial(steps, BASE, 3),
                   "batch 4", partial(steps, BASE, 4)),
        *(neighbours(f"train {list(few)} {name}, batch 64", "step",
                     partial(steps, few, 64, None, "step", network), "mse",
                     partial(steps, few, 64, None, "step", NUMBERS))
          for name, network in WIDE_LOSSES.items()),
        *(neighbours(f"train base, batch {n:,}", "row", partial(steps, BASE, n, 2 * n, "row"),
                     "batch 1,000", partial(steps, BASE, 1_000, 10_000, "row"))
          for n in (4_096, 10_000, FULL)),
        neighbours("train [2, 8, 2], batch 65,536, shuffled", "step",
                   partial(steps, (2, 8, 2), FULL, 16 * FULL), "not shuffled",
                   partial(steps, (2, 8, 2), FULL, 16 * FULL, shuffle=False)),
        neighbours("train [2, 8, 2], batch 65,536, shuffled, beside batch 1,000", "row",
                   partial(steps, (2, 8, 2), FULL, 16 * FULL, "row"), "batch 1,000",
                   partial(steps, (2, 8, 2), 1_000, 16 * FULL, "row")),
    ]  # fmt: skip


def arranged(kind: str, rows: int = 30_000) -> tuple[Array, Array]:
    """Return rows of MNIST's size: a type, and a layout."""
    dtype, _, layout = kind.partition(" ")
    X = np.random.default_rng(0).integers(1, 255, (rows, 784), np.uint8)
    X = X if dtype == "uint8" else (X / np.float32(255)).astype(dtype)
    X = {"": X, "C": X, "Fortran": np.asfortranarray(X), "reversed": X[:, ::-1]}[layout]
    return X, np.random.default_rng(1).integers(0, 10, rows)


def layout_cells() -> list[Cell]:
    """Return the cells of rows of other types and in other layouts."""

    def of(method: str, kind: str, copied: bool = False) -> Work:
        X, y = arranged(kind)
        net = problem(MNIST, 1).new()
        if method == "predict":
            return Work(partial(net.predict, X))
        if method == "evaluate":
            return Work(partial(net.evaluate, X, y))
        settings = {"epochs": 1, "batch_size": 64, "learning_rate": 1e-3, "progress": False}
        if copied:
            return Work(lambda: net.train(np.ascontiguousarray(X), y, **settings))
        return Work(partial(net.train, X, y, **settings))

    def cell(method: str, kind: str, other: str, copied: bool = False) -> Cell:
        unit, beside = "epoch" if method == "train" else "call", "copied first" if copied else other
        name = f"{method}, X {kind}, 30,000 x 784{', beside a copy' if copied else ''}"
        return neighbours(
            name, unit, partial(of, method, kind), beside, partial(of, method, other, copied)
        )

    return [
        *(cell("train", f"{dtype} Fortran", f"{dtype} C")
          for dtype in ("float32", "float64", "uint8")),
        cell("train", "float32 Fortran", "float32 Fortran", copied=True),
        cell("evaluate", "float32 reversed", "float32 C"),
        cell("evaluate", "float64 Fortran", "float64 C"),
        *(cell(method, "float16 C", "float32 C") for method in ("train", "predict", "evaluate")),
    ]  # fmt: skip


def log_loss(a: Array, t: Array) -> tuple[Array, Array]:
    """Return the cross-entropy of softmax outputs, and its gradient, as users write them."""
    a = np.maximum(a, 1e-30)
    return -(t * np.log(a)).sum(axis=1), -t / a


def call_cells() -> list[Cell]:
    """Return the cells of what a call or an epoch costs beside its steps."""

    def epochs(count: int, batch: int = 100, **keywords: Any) -> Work:
        task = problem((4, 16, 3), 100, batch)
        if keywords.pop("validated", False):
            keywords["validation"] = (task.X, task.y)
        return Work(fastnn_training(task, count, **keywords).call, per=count)

    def checkpoints() -> Work:
        file = folder() / "checkpoint"
        return steps(BASE, 64, 64 * 200, checkpoint=str(file), checkpoint_every=10)

    def listed() -> Array:
        return inputs(6_400, BASE[0])

    def predicting(X: Any) -> Work:
        return Work(partial(problem(BASE, 1).new().predict, X))

    def one_batch() -> Work:
        return steps(BASE, 64, 64)

    def large() -> Any:
        return problem(LARGE, 1).new()

    def loading() -> Work:
        import fastnn

        large().save(folder() / "large.safetensors")
        return Work(partial(fastnn.load, folder() / "large.safetensors"))

    on_disk = partial(replace, waits=True)
    usual = partial(steps, BASE, 64, 64 * 200)
    plain = partial(epochs, 100)
    return [
        neighbours("train 100 rows [4, 16, 3], validation", "epoch",
                   partial(epochs, 100, validated=True), "without", plain),
        neighbours("train 100 rows [4, 16, 3], training_metrics", "epoch",
                   partial(epochs, 100, training_metrics=True), "without", plain),
        neighbours("train base, one batch of 64, one epoch", "step", one_batch, "200 steps", usual),
        neighbours("train base, custom loss", "step",
                   partial(steps, BASE, 64, 64 * 200, "step", {"loss": log_loss}),
                   "built in", usual),
        on_disk(neighbours("train base, checkpoint_every=10", "step", checkpoints, "without",
                           usual)),
        neighbours("train 100 rows [4, 16, 3], plateau, 3,000 epochs", "epoch",
                   partial(epochs, 3_000, schedule="plateau"), "100 epochs",
                   partial(epochs, 100, schedule="plateau")),
        on_disk(neighbours("load, 22 MB, beside a copy", "call", loading, "deepcopy",
                           lambda: Work(partial(copy.deepcopy, large())))),
        neighbours("predict of lists, 6,400 rows", "call", lambda: predicting(listed().tolist()),
                   "of an array", lambda: predicting(listed())),
        neighbours("predict of lists, 6,400 rows, beside asarray", "call",
                   lambda: predicting(listed().tolist()), "np.asarray of the list",
                   lambda: Work(partial(np.asarray, listed().tolist()))),
    ]  # fmt: skip


def cells() -> list[Cell]:
    """Return all cells."""
    return [*peer_cells(), *row_cells(), *evaluation_cells(), *option_cells(), *layout_cells(),
            *call_cells()]  # fmt: skip
