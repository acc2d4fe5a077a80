"""The same work in other libraries, for a glance; `peers.py` compares them in turns."""

from __future__ import annotations

import numpy as np
import pytest
from contenders import CONTENDERS, Task

ROWS = 4_096
pytestmark = pytest.mark.filterwarnings("default")  # those of other libraries are not ours


@pytest.fixture(scope="module")
def task(mnist) -> Task:
    rng = np.random.default_rng(0)
    weights = [rng.normal(0, 0.05, shape).astype(np.float32) for shape in ((784, 128), (128, 10))]
    X = mnist.train_images[:ROWS].astype(np.float32) / 255
    y = mnist.train_labels[:ROWS].astype(np.int64)
    biases = [np.zeros(len(w[0]), np.float32) for w in weights]
    return Task(weights, biases, X, y, rng.permutation(ROWS), 32, 1)


# Their modules, where these are not called like the distributions.
MODULES = {"scikit-learn": "sklearn"}


def parts(contender):
    """Return what a contender does, or skip it if it is not installed."""
    for distribution in CONTENDERS[contender][0]:
        pytest.importorskip(MODULES.get(distribution, distribution))
    return CONTENDERS[contender]


@pytest.mark.benchmark(group="peers: an epoch of 4,096 rows, batch 32, one thread")
@pytest.mark.parametrize("contender", [name for name, c in CONTENDERS.items() if c[1]])
def test_training(benchmark, task, contender):
    reset, epoch = parts(contender)[1](task)
    reset()
    first = epoch()
    benchmark.pedantic(epoch, setup=reset, rounds=3)
    reset()
    assert epoch() == pytest.approx(first, rel=1e-4)


@pytest.mark.benchmark(group="peers: prediction of 4,096 rows, one thread")
@pytest.mark.parametrize("contender", [name for name, c in CONTENDERS.items() if c[2]])
def test_prediction(benchmark, task, contender):
    convert, predict = parts(contender)[2](task)
    rows = convert(task.X)
    out = benchmark.pedantic(predict, (rows,), rounds=5, warmup_rounds=1)
    np.testing.assert_allclose(np.asarray(out).sum(axis=1), 1, atol=1e-5)
