"""What the contest of `peers.py` is about: networks, their data, and the cells to measure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from contenders.task import RATES, Array

Cell = dict[str, Any]

KINDS = ["training", "prediction", "learning"]
OPTIMIZERS = list(RATES)
BATCHES = [1, 8, 32, 128, 512, 10_000]
SOME = [1, 32, 512]  # batches that tell enough of a further optimizer


@dataclass(frozen=True)
class Entry:
    """A network, its rows, and with which optimizers it is trained in batches of which sizes."""

    sizes: list[int]
    source: str  # of the rows: "MNIST", "MNIST without zeros" or "normal numbers"
    rows: int
    batches: dict[str, list[int]] = field(default_factory=lambda: {"sgd": BATCHES})
    activation: str = "relu"
    loss: str = "cross_entropy"
    kinds: tuple[str, ...] = ("training", "prediction")


EVERY = {"sgd": BATCHES, "momentum": SOME, "adam": SOME}
NETWORKS = {
    "mnist": Entry([784, 128, 10], "MNIST", 60_000, EVERY),
    "mnist-dense": Entry([784, 128, 10], "MNIST without zeros", 60_000),
    "mnist-wide": Entry([784, 512, 512, 10], "MNIST", 60_000),
    "small": Entry([64, 64, 64, 3], "normal numbers", 200_000, EVERY),
    # Whose steps with 10,000 rows take seconds.
    "square": Entry([1024] * 4, "normal numbers", 10_000, {"sgd": BATCHES[:-1]}),
    "tiny": Entry(
        [4, 32, 16, 4], "normal numbers", 200_000, {"adam": BATCHES, "momentum": SOME}, "tanh"
    ),
    "regression": Entry([13, 64, 64, 1], "normal numbers", 200_000, EVERY, loss="mse"),
    "row": Entry(
        [8, 64, 64, 1], "normal numbers", 1_000, {"sgd": [1], "adam": [1]}, loss="mse",
        kinds=("learning",),
    ),
}  # fmt: skip


def cells(cores: Iterable[int]) -> Iterator[Cell]:
    """Yield the cells of the whole contest, in the order of its tables."""
    for count in cores:
        for kind in KINDS:
            for name, entry in NETWORKS.items():
                if kind not in entry.kinds:
                    continue
                cell = {"cell": kind, "cores": count, "network": name, "sizes": entry.sizes}
                if kind == "prediction":
                    yield {**cell, "optimizer": "", "batch": 1}
                    continue
                for optimizer, batches in entry.batches.items():
                    for batch in batches:
                        yield {**cell, "optimizer": optimizer, "batch": batch}


def place(cell: Cell) -> tuple[int, ...]:
    """Return where in the tables a cell stands; cells of the same place are the same work."""
    optimizers = ["", *NETWORKS[cell["network"]].batches]
    return (
        cell["cores"],
        KINDS.index(cell["cell"]),
        list(NETWORKS).index(cell["network"]),
        optimizers.index(cell["optimizer"]),
        cell["batch"],
    )


def merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Return the cells of both results, the new ones in the place of the same old ones.

    Raises
    ------
    ValueError
        If they cannot stand in one table: if machine, a version or a setting differs.
    """
    fixed = {**new, "cells": [], "versions": {**old["versions"], **new["versions"]}}
    before = {**old, "cells": [], "versions": {**new["versions"], **old["versions"]}}
    if differing := [name for name in fixed if fixed[name] != before.get(name)]:
        pairs = [f"{name} {before.get(name)}, not {fixed[name]}" for name in differing]
        raise ValueError(f"its results have other {'; '.join(pairs)}; remove it, or name another")
    chosen = {place(cell): cell for cell in [*old["cells"], *new["cells"]]}
    return {**fixed, "cells": [chosen[where] for where in sorted(chosen)]}


def write_network(name: str, folder: Path) -> None:
    """Write the data and the first weights of a network, the same for all contenders."""
    import fastnn

    entry = NETWORKS[name]
    sizes, rng = entry.sizes, np.random.default_rng(0)
    if entry.source == "normal numbers":
        X = rng.standard_normal((entry.rows, sizes[0]), np.float32)
        y = X @ rng.standard_normal((sizes[0], sizes[-1]), np.float32)
        y = y / np.float32(sizes[0] ** 0.5) if entry.loss == "mse" else y.argmax(axis=1)
    else:
        images, y, *_ = fastnn.datasets.load_mnist(progress=False)
        X = (np.maximum(images, 1) if "without" in entry.source else images) / np.float32(255)
    arrays: dict[str, Array] = {"X": X, "y": y if entry.loss == "mse" else y.astype(np.int64)}
    for l, (fan_in, fan_out) in enumerate(pairwise(sizes)):
        limit = np.sqrt(6 / (fan_in + fan_out))
        arrays[f"w{l}"] = rng.uniform(-limit, limit, (fan_in, fan_out)).astype(np.float32)
        arrays[f"b{l}"] = np.zeros(fan_out, np.float32)
    np.savez(folder / f"{name}.npz", **arrays)


def epoch_rows(name: str, batch: int, seconds: float) -> int:
    """Return rows in whole batches that take a slow contender about so long on one core."""
    entry = NETWORKS[name]
    parameters = sum(fan_in * fan_out for fan_in, fan_out in pairwise(entry.sizes))
    # Calls, memory passes over parameters and gradients, and arithmetic.
    step = 3e-4 + parameters * 4 * 8 / 1e10 + 6 * parameters * batch / 8e10
    least = 2 if batch >= 10_000 else 4
    return batch * min(max(least, int(seconds / step)), entry.rows // batch)


def mean_loss(parameters: list[Array], X: Array, y: Array) -> float:
    """Return the squared error of a ReLU network, given all weights and then all biases."""
    layers = len(parameters) // 2
    a = X.astype(np.float64)
    for l, (w, b) in enumerate(zip(parameters[:layers], parameters[layers:], strict=True), 1):
        a = a @ w + b
        a = np.maximum(a, 0) if l < layers else a
    return float(np.mean((a - y) ** 2))
