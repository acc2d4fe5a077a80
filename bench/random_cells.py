"""Networks, data and options at random, beside the best peer: ``python bench/random_cells.py``.

It looks for what the tables of chosen cells miss. Each cell is drawn from the seed and its number:
layers, units, rows, batch size, activation, loss, optimizer, an option, and the type and the layout
of X. The call is `train` beside JAX, or `predict_proba` or `predict_one` beside JAX, ONNX Runtime
and PyTorch. A cell whose peers have other losses or outputs is left out, and named.

JAX trains with a float32 copy in C order, made before the time begins; in predictions, peers
convert within the call. Dropout is not drawn, as its masks differ. `cliffs.py` says how the time is
measured.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import cliffs
import cliffs_report
import numpy as np
from cliff_cells import Cell, many, targets
from equivalents import (
    Array,
    Problem,
    Work,
    fastnn_one,
    fastnn_prediction,
    fastnn_training,
    onnxruntime_prediction,
    torch_prediction,
)
from jax_networks import jax_prediction, jax_training

FILE = cliffs.ROOT / "bench" / "results" / "random_cells.json"
ACTIVATIONS = ("relu", "relu", "relu", "leaky_relu", "elu", "selu", "gelu", "silu", "softplus",
               "sigmoid", "tanh", "identity")  # fmt: skip
OUTPUTS = (("softmax", "cross_entropy"), ("softmax", "cross_entropy"), ("identity", "mse"),
           ("sigmoid", "binary_cross_entropy"), ("identity", "mae"), ("identity", "huber"),
           ("exponential", "poisson"))  # fmt: skip
OPTIONS: tuple[dict[str, float], ...] = (
    {}, {}, {}, {"l1": 1e-5}, {"l2": 1e-4}, {"clip_value": 0.01}, {"clip_norm": 1.0},
    {"max_norm": 2.0},
)  # fmt: skip
OPTIMIZERS = "sgd", "sgd", "momentum", "rmsprop", "adam"
DTYPES = "float32", "float32", "float32", "float64", "uint8"
LAYOUTS = "C", "C", "C", "Fortran", "strided"
CALLS = "train", "train", "predict_proba", "predict_proba", "predict_one"
MOST_WORK, MOST_NUMBERS = 4e9, 5e7  # operations and numbers of X of a call: some 0.1 s, 200 MB
RATE = 1e-4  # low, so that nothing diverges


@dataclass(frozen=True)
class Draw:
    """What is drawn for a cell."""

    call: str
    sizes: tuple[int, ...]
    rows: int
    batch: int
    activation: str
    output: str
    loss: str
    optimizer: str
    options: dict[str, float]
    dtype: str
    layout: str

    @property
    def name(self) -> str:
        """What a table shows."""
        parts = [f"{self.call} {list(self.sizes)} {self.activation}", f"{self.output}"]
        if self.call == "train":
            parts[-1] += f" {self.loss}"
            parts += [f"batch {self.batch:,}", self.optimizer, *self.options]
        return ", ".join([*parts, many(self.rows), f"X {self.dtype} {self.layout}"])


def draw(seed: int, number: int) -> Draw:
    """Return a cell of a seed."""
    rng = np.random.default_rng([seed, number])

    def log_uniform(least: int, most: int) -> int:
        return round(float(np.exp(rng.uniform(np.log(least), np.log(most)))))

    def any_of(choices: Any) -> Any:
        return choices[rng.integers(len(choices))]

    call, (output, loss) = any_of(CALLS), any_of(OUTPUTS)
    hidden = [log_uniform(1, 2_000) for _ in range(rng.integers(0, 4, endpoint=True))]
    outputs = log_uniform(2 if output == "softmax" else 1, 1_000)
    sizes = (log_uniform(1, 5_000), *hidden, outputs)
    products = sum(m * n for m, n in pairwise(sizes))
    most = min(MOST_WORK / (6 if call == "train" else 2) / products, MOST_NUMBERS / sizes[0])
    rows = log_uniform(1, max(1, min(100_000, int(most))))
    return Draw(
        call, sizes, 1 if call == "predict_one" else rows, log_uniform(1, rows),
        any_of(ACTIVATIONS), output, loss, any_of(OPTIMIZERS), any_of(OPTIONS), any_of(DTYPES),
        any_of(LAYOUTS),
    )  # fmt: skip


def data(drawn: Draw) -> Array:
    """Return X, in its type and layout."""
    rng = np.random.default_rng(0)
    shape = drawn.rows, drawn.sizes[0] * (2 if drawn.layout == "strided" else 1)
    if drawn.dtype == "uint8":
        X = rng.integers(0, 255, shape, np.uint8, endpoint=True)
    else:
        X = rng.standard_normal(shape, np.float32).astype(drawn.dtype)
    return {"C": X, "Fortran": np.asfortranarray(X), "strided": X[:, ::2]}[drawn.layout]


PREDICTION = {
    "jax": jax_prediction, "onnxruntime": onnxruntime_prediction, "torch": torch_prediction
}  # fmt: skip


def works(drawn: Draw, peers: Iterable[str] = PREDICTION) -> dict[str, Work]:
    """Return fastnn's work and that of its peers; `peers` are those of predictions."""
    network = {"activation": drawn.activation, "output": drawn.output, "loss": drawn.loss}
    y = targets(drawn.rows, drawn.sizes[-1], drawn.loss)
    problem = Problem(
        drawn.sizes, data(drawn), y, drawn.batch, network, drawn.optimizer, drawn.options, RATE
    )
    if drawn.call == "train":
        both = {"fastnn": fastnn_training(problem), "jax": jax_training(problem)}
        return {who: replace(work, per=problem.steps()) for who, work in both.items()}
    ours = fastnn_one if drawn.call == "predict_one" else fastnn_prediction
    return {"fastnn": ours(problem), **{who: PREDICTION[who](problem) for who in peers}}


def run(seed: int, numbers: range, seconds: float, minutes: float, file: Path) -> dict[str, Any]:
    """Measure cells for at most so many minutes; write the file whenever one is done."""
    import jax
    import roofline

    results: dict[str, Any] = {"machine": roofline._machine(), "seed": seed, "cells": {}}
    results["refused"] = {}
    start = time.perf_counter()
    for number in numbers:
        if time.perf_counter() - start > 60 * minutes:
            print(f"{minutes:g} minutes are over before cell {number}")
            break
        drawn = draw(seed, number)
        cell = Cell(
            drawn.name,
            lambda drawn=drawn: works(drawn),
            "step" if drawn.call == "train" else "call",
        )
        try:
            result = cliffs.measure(cell, seconds)
        except Exception as error:  # the other cells are of use without it
            results["refused"][f"{number}: {drawn.name}"] = f"{type(error).__name__}: {error}"
            print(f"{number}: {drawn.name}: {type(error).__name__}: {error}", flush=True)
            continue
        results["cells"][drawn.name] = {"number": number, **result}
        print(f"{number}: " + "  ".join(cliffs_report.line(drawn.name, result)), flush=True)
        file.write_text(json.dumps(results, indent=1) + "\n")
        jax.clear_caches()
        gc.collect()
    return results


def main() -> None:
    """Measure what the arguments say."""
    formatter = argparse.ArgumentDefaultsHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], formatter_class=formatter)
    add = parser.add_argument
    add("--seed", type=int, default=0)
    add("--first", type=int, default=0, help="number of the first cell")
    add("--cells", type=int, default=200, help="how many")
    add("--seconds", type=float, default=0.7, help="turns of a cell")
    add("--minutes", type=float, default=25, help="the most that all may take")
    add("--json", type=Path, default=FILE, metavar="FILE", help="all results")
    options = parser.parse_args()
    cliffs.start_again()
    warnings.simplefilter("ignore")  # random data may look odd
    numbers = range(options.first, options.first + options.cells)
    results = run(options.seed, numbers, options.seconds, options.minutes, options.json)
    print("\n" + cliffs_report.at_random(results))


if __name__ == "__main__":
    main()
