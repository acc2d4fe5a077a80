"""Seconds from the start of a process to 98% on MNIST: ``python bench/to_accuracy.py``.

Each run is a fresh process that imports its library, loads the data, trains a [784, 128, 10]
network for a fixed number of epochs and predicts the test images; all take the same settings: ReLU,
batches of 32, a learning rate that falls linearly from 0.3, weights after Glorot. fastnn runs from
its cache of compiled kernels and reads MNIST's own files; the others get arrays that are ready.
Contenders take turns, one run for each seed. The median counts only if every seed reached 98%.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

SIZES, EPOCHS, BATCH, RATE, WANTED = [784, 128, 10], 7, 32, 0.3, 0.98
Array = np.ndarray


def fastnn_run(seed: int, folder: Path) -> float:
    """Train and test with this library."""
    import fastnn

    X, y, test_X, test_y = fastnn.datasets.load_mnist(progress=False)
    net = fastnn.Network(SIZES, seed=seed)
    net.train(X, y, epochs=EPOCHS, batch_size=BATCH, learning_rate=RATE, progress=False)
    return float((net.predict(test_X) == test_y).mean())


def _prepare(seed: int, folder: Path) -> tuple[list[Array], dict[str, Array], Array, Array]:
    """Return weights and biases, the data, and for each step its rows and its rate."""
    rng = np.random.default_rng(seed)
    parameters: list[Array] = []
    for fan_in, fan_out in pairwise(SIZES):
        limit = np.sqrt(6 / (fan_in + fan_out))
        parameters.append(rng.uniform(-limit, limit, (fan_in, fan_out)).astype(np.float32))
        parameters.append(np.zeros(fan_out, np.float32))
    with np.load(folder / "mnist.npz") as file:
        data = dict(file)
    orders = [rng.permutation(len(data["X"])).reshape(-1, BATCH) for _ in range(EPOCHS)]
    order = np.concatenate(orders).astype(np.int32)
    rates = (RATE * (1 - np.arange(len(order)) / len(order))).astype(np.float32)
    return parameters, data, order, rates


def numpy_run(seed: int, folder: Path) -> float:
    """Train and test with NumPy."""
    (w1, b1, w2, b2), data, order, rates = _prepare(seed, folder)
    X, y, rows = data["X"], data["y"], np.arange(BATCH)
    for chosen, rate in zip(order, rates, strict=True):
        x = X[chosen]
        hidden = np.maximum(x @ w1 + b1, 0)
        delta = hidden @ w2 + b2
        delta -= delta.max(axis=1, keepdims=True)
        np.exp(delta, out=delta)
        delta /= delta.sum(axis=1, keepdims=True)
        delta[rows, y[chosen]] -= 1
        delta *= rate / np.float32(BATCH)
        below = (delta @ w2.T) * (hidden > 0)
        w2 -= hidden.T @ delta
        b2 -= delta.sum(axis=0)
        w1 -= x.T @ below
        b1 -= below.sum(axis=0)
    outputs = np.maximum(data["test_X"] @ w1 + b1, 0) @ w2 + b2
    return float((outputs.argmax(axis=1) == data["test_y"]).mean())


def torch_run(seed: int, folder: Path) -> float:
    """Train and test with PyTorch, eagerly."""
    import torch
    from torch.nn.functional import cross_entropy, linear

    arrays, data, order, rates = _prepare(seed, folder)
    parameters = [torch.tensor(a.T.copy() if a.ndim == 2 else a) for a in arrays]
    for parameter in parameters:
        parameter.requires_grad_(True)
    X, y, test_X = (torch.from_numpy(data[name]) for name in ("X", "y", "test_X"))

    def logits(x: Any) -> Any:
        w1, b1, w2, b2 = parameters
        return linear(linear(x, w1, b1).relu_(), w2, b2)

    for chosen, rate in zip(torch.from_numpy(order), rates.tolist(), strict=True):
        loss = cross_entropy(logits(X[chosen]), y[chosen])
        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            torch._foreach_add_(parameters, gradients, alpha=-rate)
    classes = logits(test_X).argmax(dim=1).numpy()
    return float((classes == data["test_y"]).mean())


def jax_run(seed: int, folder: Path) -> float:
    """Train and test with JAX, all steps in one call."""
    import jax
    import jax.numpy as jnp

    arrays, data, order, rates = _prepare(seed, folder)

    def logits(parameters: Any, x: Any) -> Any:
        w1, b1, w2, b2 = parameters
        return jax.nn.relu(x @ w1 + b1) @ w2 + b2

    def loss_of(parameters: Any, x: Any, t: Any) -> Any:
        z = logits(parameters, x)
        chosen = jnp.take_along_axis(z, t[:, None], axis=1)[:, 0]
        return (jax.nn.logsumexp(z, axis=1) - chosen).mean()

    @jax.jit
    def scan(parameters: Any, X: Any, y: Any, order: Any, rates: Any) -> Any:
        def step(parameters: Any, at: Any) -> Any:
            rows, rate = at
            gradients = jax.grad(loss_of)(parameters, X[rows], y[rows])
            return jax.tree.map(lambda p, g: p - rate * g, parameters, gradients), None

        return jax.lax.scan(step, parameters, (order, rates))[0]

    y = jnp.array(data["y"].astype(np.int32))
    trained = scan([jnp.array(a) for a in arrays], jnp.array(data["X"]), y, order, rates)
    classes = np.asarray(logits(trained, jnp.array(data["test_X"])).argmax(axis=1))
    return float((classes == data["test_y"]).mean())


# Name: the distribution that it needs, and its run.
RUNS = {
    "fastnn": ("numpy", fastnn_run),
    "numpy": ("numpy", numpy_run),
    "torch": ("torch", torch_run),
    "jax": ("jax", jax_run),
}


def measure(name: str, seed: int, folder: Path, cores: int) -> dict[str, float]:
    """Return the seconds of one fresh process, and the accuracy that it reached."""
    names = ("OMP", "MKL", "OPENBLAS", "NUMBA")
    environment = {**os.environ, **{f"{n}_NUM_THREADS": str(cores) for n in names}}
    command = [sys.executable, __file__, "--run", name, str(seed), str(folder)]
    start = time.perf_counter()
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return {"seconds": time.perf_counter() - start, "accuracy": float(done.stdout)}


def run(seeds: int, cores: int) -> dict[str, list[dict[str, float]]]:
    """Return for each contender that is installed the runs of all seeds."""
    import fastnn

    installed = []
    for name, (distribution, _) in RUNS.items():
        try:
            importlib.metadata.version(distribution)
            installed.append(name)
        except importlib.metadata.PackageNotFoundError:
            print(f"{name}: skipped, as {distribution} is not installed")
    results: dict[str, list[dict[str, float]]] = {name: [] for name in installed}
    fastnn.warmup()
    with tempfile.TemporaryDirectory() as folder:
        X, y, test_X, test_y = fastnn.datasets.load_mnist(progress=False)
        scale = np.float32(1 / 255)
        labels = {"y": y.astype(np.int64), "test_y": test_y}
        np.savez(Path(folder) / "mnist.npz", X=X * scale, test_X=test_X * scale, **labels)
        for seed in range(seeds):
            for name in installed:
                results[name].append(measure(name, seed, Path(folder), cores))
    return results


def table(results: dict[str, list[dict[str, float]]]) -> list[list[str]]:
    """Return the cells of a table, the headings first."""
    cells = [["", "seconds, median", "least", "most", "accuracy, least", f"{WANTED:.0%} reached"]]
    for name, runs in results.items():
        seconds, accuracies = ([run[key] for run in runs] for key in ("seconds", "accuracy"))
        reached = sum(accuracy >= WANTED for accuracy in accuracies)
        figures = [f"{value:.2f}" for value in (median(seconds), min(seconds), max(seconds))]
        cells.append([name, *figures, f"{min(accuracies):.4f}", f"{reached} of {len(runs)}"])
    return cells


def main() -> None:
    """Measure as the arguments say, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--cores", type=int, default=2, help="threads of each contender")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--run", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        name, seed, folder = options.run
        print(RUNS[name][1](int(seed), Path(folder)))
        return
    results = run(options.seeds, options.cores)
    for cells in table(results):
        print("".join(f"{cell:>18}" for cell in cells))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
