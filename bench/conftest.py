"""What the benchmarks share: the data, a fresh network for each, and what is recorded of each."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import fastnn
from fastnn import backends
from fastnn.activations import Array
from fastnn.datasets import Mnist

SIZES = [784, 128, 10]


@pytest.fixture(scope="session")
def mnist() -> Mnist:
    return fastnn.datasets.load_mnist(progress=False)


@pytest.fixture(scope="session")
def labels(mnist) -> Array:
    """Training labels as a backend reads them."""
    return mnist.train_labels.astype("int64")


@pytest.fixture(scope="session")
def compile_seconds() -> dict[str, float]:
    """Seconds that each backend took to compile or load, by name; only the first call takes any."""
    net = fastnn.Network(SIZES)
    return {name: backends.get(name).prepare(net.model) for name in backends.BACKENDS}


@pytest.fixture(params=["numba", "numpy"])
def net(request, compile_seconds) -> fastnn.Network:
    return fastnn.Network(SIZES, seed=0, backend=request.param)


@pytest.fixture
def record(benchmark, net, compile_seconds):
    """Return ``record(rows, flops)``, to call after timing: rows a round, operations a step."""

    def record(rows: int, flops: float) -> None:
        benchmark.extra_info["backend"] = net.backend
        benchmark.extra_info["threads"] = _threads(net, flops)
        benchmark.extra_info["compile_seconds"] = compile_seconds[net.backend]
        if benchmark.stats is not None:  # timing is on
            benchmark.extra_info["samples_per_second"] = rows / benchmark.stats.stats.median

    return record


def _threads(net: fastnn.Network, flops: float) -> int:
    """Return the threads of a step; for NumPy the CPUs, as its BLAS takes what it likes of them."""
    if net.backend == "numba":
        from fastnn.backends.compiled.machinery import threads

        return threads.choose(net.threads, flops)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
