"""Train, predict, save, load and resume over and over: memory, files and threads stay as they are.

``python tests/faults/soak.py --minutes 10``: networks of random shapes, activations and optimizers,
in both backends. After a warm-up, in which kernels are loaded, memory may grow by 1%; no file may
stay open and no thread be added. The exit code tells.
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

import fastnn

ACTIVATIONS = ("relu", "leaky_relu", "elu", "selu", "gelu", "silu", "softplus", "sigmoid", "tanh")
OPTIMIZERS = ("sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw")
GROWTH = 0.01
WARM_UP = 60.0  # seconds at most, or a third of the time
FEWEST = 12  # rounds of it, on a slow machine


def start_threads() -> None:
    """Take steps that are large enough for two threads, as few of the others are."""
    X, y = np.ones((4096, 64), np.float32), np.zeros(4096, np.int64)
    fastnn.Network([64, 256, 10], threads=2, seed=0).train(X, y, 1, 512, progress=False)


def once(rng: random.Random, folder: Path) -> None:
    """Take a network through all that may be done with it."""
    rows, inputs, classes = rng.randint(4, 300), rng.randint(1, 70), rng.randint(2, 12)
    hidden = [rng.randint(1, 90) for _ in range(rng.randint(0, 3))]
    numbers = np.random.default_rng(rng.randrange(2**32))
    X, y = numbers.normal(size=(rows, inputs)), numbers.integers(0, classes, rows)
    net = fastnn.Network(
        [inputs, *hidden, classes],
        [rng.choice(ACTIVATIONS) for _ in hidden],
        dtype=rng.choice(("float32", "float64")),
        backend=rng.choice(("numba", "numpy")),
        threads=rng.choice((1, 2)),
        seed=rng.randrange(2**32),
        standardize_inputs=rng.random() < 0.5,
    )
    path = folder / "run.safetensors"
    options = {
        "batch_size": rng.randint(1, rows),
        "optimizer": rng.choice(OPTIMIZERS),
        "learning_rate": 0.001,
        "dropout": rng.choice((0.0, 0.2)) if hidden else 0.0,
        "progress": False,
    }
    net.train(X, y, epochs=2, checkpoint=path, checkpoint_every=rng.choice((None, 3)), **options)
    again = fastnn.Network(
        net.architecture.sizes,
        net.architecture.activations[:-1],
        dtype=net.architecture.dtype.name,
        backend=net.backend,
        threads=net.threads,
        seed=net.seed,
        standardize_inputs=net.input_scaler is not None,
    )
    again.train(X, y, epochs=2, checkpoint=path, resume=True, **options)
    again.save(folder / "net.safetensors", optimizer=True)
    other = fastnn.load(folder / "net.safetensors", backend=net.backend, threads=net.threads)
    if other.predict_proba(X).tobytes() != net.predict_proba(X).tobytes():
        raise AssertionError(f"{other!r} predicts other bits after it was saved and resumed")
    other.predict_one(X[0])
    other.evaluate(X, y)
    path.unlink()


def state() -> tuple[int, int, int]:
    """Return resident bytes, open files and threads of this process."""
    gc.collect()
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
    threads = len(os.listdir("/proc/self/task"))
    return resident, len(os.listdir("/proc/self/fd")), max(threads, threading.active_count())


class Figures(NamedTuple):
    """What a run came to."""

    text: str
    growth: float  # of memory, as a share
    files: int  # more than at first, at most
    threads: int


def soak(seconds: float, seed: int = 0) -> Figures:
    """Do so for some time."""
    rng, began, rounds, samples = random.Random(seed), time.perf_counter(), 0, []
    start = None
    start_threads()
    with tempfile.TemporaryDirectory() as folder:
        while (elapsed := time.perf_counter() - began) < seconds:
            once(rng, Path(folder))
            rounds += 1
            if rounds > FEWEST and elapsed >= min(WARM_UP, seconds / 3):
                start = start or state()
                samples.append(state())
    if start is None:
        raise ValueError(
            f"no round was done after the warm-up; seconds must be more than {seconds}"
        )
    part = max(1, len(samples) // 5)
    memory = [sample[0] for sample in samples]
    before, after = (statistics.median(some) for some in (memory[:part], memory[-part:]))
    files, threads = (max(sample[i] for sample in samples) - start[i] for i in (1, 2))
    growth = after / before - 1
    text = (
        f"{rounds:,} rounds in {seconds:.0f} s, {len(samples):,} of them after the warm-up: memory "
        f"{before / 1e6:.1f} MB, then {after / 1e6:.1f} MB ({growth:+.2%}), open files {start[1]} "
        f"{files:+d}, threads {start[2]} {threads:+d}"
    )
    return Figures(text, growth, files, threads)


def main() -> int:
    """Return 1 if anything grew."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    figures = soak(60 * options.minutes, options.seed)
    print(figures.text)
    return figures.growth >= GROWTH or figures.files > 0 or figures.threads > 0


if __name__ == "__main__":
    sys.exit(main())
