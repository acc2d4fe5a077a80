"""The same work in other libraries, for a glance; `peers.py` compares them in turns."""

from __future__ import annotations

from itertools import pairwise

import contest
import numpy as np
import pytest
from contenders import CONTENDERS, of_numpy
from contenders.task import RATES, Task

ROWS = 4_096
# Sums in another order, over some steps.
TOLERANCE = 1e-4
pytestmark = pytest.mark.filterwarnings("default")  # those of other libraries are not ours

each_loss = pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
each_optimizer = pytest.mark.parametrize("optimizer", RATES)


def parameters(sizes):
    """Return weights and biases of a network."""
    rng = np.random.default_rng(0)
    shapes = pairwise(sizes)
    weights = [(rng.normal(size=shape) / shape[0] ** 0.5).astype(np.float32) for shape in shapes]
    return weights, [np.zeros(n, np.float32) for n in sizes[1:]]


@pytest.fixture(scope="module")
def task(mnist) -> Task:
    X = mnist.train_images[:ROWS].astype(np.float32) / 255
    y = mnist.train_labels[:ROWS].astype(np.int64)
    order = np.random.default_rng(0).permutation(ROWS)
    return Task(*parameters([784, 128, 10]), X, y, order, 32, 1)


def small(loss, optimizer, batch=8):
    """Return a task of 64 rows: classes and tanh, or numbers and ReLU."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((64, 5), np.float32)
    numbers = rng.standard_normal((64, 1), np.float32)
    how = {"loss": loss, "optimizer": optimizer, "activation": "relu"}
    if loss == "mse":
        return Task(*parameters([5, 7, 6, 1]), X, numbers, rng.permutation(64), batch, 1, **how)
    how["activation"] = "tanh"
    y = np.abs(X).argmax(axis=1)
    return Task(*parameters([5, 7, 6, 5]), X, y, rng.permutation(64), batch, 1, **how)


# Their modules, where these are not called like the distributions.
MODULES = {"scikit-learn": "sklearn", "tensorflow-cpu": "tensorflow"}


def able(kind):
    """Parametrize with all contenders that do such work."""
    return pytest.mark.parametrize("contender", [n for n, c in CONTENDERS.items() if vars(c)[kind]])


def work_of(contender, kind):
    """Return what a contender does, or skip it if it is not installed."""
    for distribution in CONTENDERS[contender].needs:
        pytest.importorskip(MODULES.get(distribution, distribution))
    return getattr(CONTENDERS[contender], kind)


@pytest.mark.benchmark(group="peers: an epoch of 4,096 rows, batch 32, one thread")
@able("training")
def test_training(benchmark, task, contender):
    reset, epoch = work_of(contender, "training")(task)
    reset()
    first = epoch()
    benchmark.pedantic(epoch, setup=reset, rounds=3)
    reset()
    assert epoch() == pytest.approx(first, rel=1e-4)


@pytest.mark.benchmark(group="peers: prediction of 4,096 rows, one thread")
@able("prediction")
def test_prediction(benchmark, task, contender):
    convert, predict = work_of(contender, "prediction")(task)
    rows = convert(task.X)
    out = benchmark.pedantic(predict, (rows,), rounds=5, warmup_rounds=1)
    np.testing.assert_allclose(np.asarray(out).sum(axis=1), 1, atol=1e-5)


@each_loss
@each_optimizer
@able("training")
def test_epochs_are_those_of_numpy(contender, optimizer, loss):
    task = small(loss, optimizer)
    losses = []
    for work in (work_of(contender, "training"), of_numpy.training):
        reset, epoch = work(task)
        reset()
        losses.append([epoch() for _ in range(3)])
    assert losses[0] == pytest.approx(losses[1], rel=TOLERANCE)


@each_loss
@each_optimizer
@able("training")
def test_a_reset_forgets_what_the_optimizer_remembers(contender, optimizer, loss):
    reset, epoch = work_of(contender, "training")(small(loss, optimizer))
    reset()
    first = epoch()
    epoch()
    reset()
    assert epoch() == pytest.approx(first, rel=1e-6)


@each_optimizer
@able("learning")
def test_learning_from_rows_is_that_of_numpy(contender, optimizer):
    task = small("mse", optimizer, batch=1)
    losses = []
    for work in (work_of(contender, "learning"), of_numpy.learning):
        reset, convert, learn, learned = work(task)
        for _ in range(2):  # the second time as the first
            reset()
            for i in range(32):
                learn(*convert(task.X[i : i + 1], task.y[i : i + 1]))
        losses.append(contest.mean_loss(learned(), task.X, task.y))
    assert losses[0] == pytest.approx(losses[1], rel=TOLERANCE)
    assert losses[0] < contest.mean_loss(task.initial, task.X, task.y)


@each_loss
@able("prediction")
def test_predictions_are_those_of_numpy(contender, loss):
    task = small(loss, "sgd")
    convert, predict = work_of(contender, "prediction")(task)
    for rows in (task.X, task.X[:1]):
        expected = of_numpy.prediction(task)[1](rows)
        out = np.asarray(predict(convert(rows))).reshape(expected.shape)
        np.testing.assert_allclose(out, expected, atol=1e-5)


@pytest.mark.parametrize("name", contest.NETWORKS)
def test_every_network_has_rows_for_its_batches(name):
    entry = contest.NETWORKS[name]
    for batch in {batch for batches in entry.batches.values() for batch in batches}:
        rows = contest.epoch_rows(name, batch, 0.3)
        assert rows % batch == 0
        assert 0 < rows <= entry.rows
