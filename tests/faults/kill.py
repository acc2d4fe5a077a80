"""Kill runs that checkpoint every few steps, at random moments, and let them go on.

``python tests/faults/kill.py --rounds 300``: each round starts a run in a process of its own, kills
it with SIGKILL, loads what is on the disk, and goes on to the end. Every file must load, and every
end must have the bits of a run that was never interrupted.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

import fastnn

SETTINGS = {
    "epochs": 6,
    "batch_size": 16,
    "optimizer": "adam",
    "learning_rate": 0.005,
    "dropout": 0.2,
    "validation": 0.2,
    "early_stopping": fastnn.EarlyStopping(patience=6),
    "checkpoint_every": 5,
    "resume": True,
    "progress": False,
}


def train(path: str, backend: str) -> bytes:
    """Run from the file, or from the start; return all that came of it."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(1500, 20)), rng.integers(0, 4, 1500)
    net = fastnn.Network([20, 32, 4], seed=7, backend=backend, threads=1)
    history = net.train(X, y, checkpoint=path, **SETTINGS)
    columns = ("epoch", "loss", "validation_loss", "validation_accuracy", "learning_rate")
    recorded = repr([history[name] for name in columns] + [history.best_epoch, history.stopped])
    return net.parameters.tobytes() + recorded.encode()


def killed(path: str, backend: str, seconds: float) -> bool:
    """Start a run in a child and kill it after so long; tell whether that came in time."""
    child = os.fork()
    if child == 0:
        train(path, backend)
        os._exit(0)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def main() -> int:
    """Do the rounds; return the number of failures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--backend", default="numba")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    random.seed(options.seed)
    failures = kills = files = 0
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        expected = train(os.path.join(folder, "whole"), options.backend)
        start = time.perf_counter()
        train(os.path.join(folder, "again"), options.backend)
        seconds = time.perf_counter() - start
        while kills < options.rounds:
            path = os.path.join(folder, f"{kills}.safetensors")
            # Half of them are killed a second time, when they go on.
            for _ in range(random.choice((1, 2))):
                kills += killed(path, options.backend, random.uniform(0, 1.2 * seconds))
            try:
                if os.path.exists(path):
                    files += 1
                    fastnn.load(path)
                if train(path, options.backend) != expected:
                    raise ValueError("the run ended in other bits")
            except Exception as error:
                failures += 1
                print(f"{path}: {error!r}")
            for name in os.listdir(folder):
                os.unlink(os.path.join(folder, name))
    print(
        f"{kills} kills in runs of {seconds:.2f} s, {files} files found afterwards, "
        f"{failures} failures"
    )
    return failures


if __name__ == "__main__":
    sys.exit(main() > 0)
