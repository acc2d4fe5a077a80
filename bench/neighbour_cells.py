"""The cells of `cliffs.py` in which a call of fastnn was far behind a similar one."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from cliff_cells import (
    BASE,
    FULL,
    LARGE,
    MNIST,
    NUMBERS,
    WIDE_LOSSES,
    Cell,
    Sizes,
    base_options,
    folder,
    inputs,
    mnist_options,
    problem,
    rows_for,
)
from equivalents import Array, Work, fastnn_one, fastnn_prediction, fastnn_training


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


def neighbour_cells() -> list[Cell]:
    """Return all cells of two calls of fastnn."""
    return [*row_cells(), *evaluation_cells(), *option_cells(), *layout_cells(), *call_cells()]
