"""Large batches, which are gone through in blocks of rows."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from cases import BACKENDS, DTYPES

import fastnn
from fastnn import backends
from fastnn.backends.compiled import blocks, plan
from fastnn.backends.compiled.machinery import threads

BATCH = 300  # rows: two whole blocks, and one of 44
ROWS = 2 * BATCH + 130
SETTINGS = (
    {},
    {"l2": 0.01},
    {"l1": 0.01},
    {"clip_value": 1e-3},
    {"clip_norm": 0.01},
    {"max_norm": 0.5},
    {"dropout": 0.3},
    {"frozen": [1]},
    {"label_smoothing": 0.1},
    {"class_weight": "balanced"},
    *({"optimizer": name} for name in ("momentum", "nesterov", "rmsprop", "adam", "adamw")),
    {"optimizer": "adam", "l2": 0.01, "clip_norm": 0.01, "max_norm": 0.5},
)
every_setting = pytest.mark.parametrize("settings", SETTINGS, ids=str)


def use_blocks(monkeypatch, more_bytes=0):
    """Go through every batch that takes more bytes in blocks of 128 rows a thread."""
    for name, value in (("FAR", more_bytes), ("NEAR", 1), ("LEAST_BLOCKS", 0)):
        monkeypatch.setattr(blocks, name, value)


@pytest.fixture
def in_blocks(monkeypatch):
    """Go through every batch in blocks."""
    use_blocks(monkeypatch)


def data(dtype="float32"):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(ROWS, 20)).astype(dtype)
    return X, rng.integers(0, 5, ROWS)


def trained(backend="numba", dtype="float32", count=1, **settings):
    """Return the losses and the parameters of a run."""
    net = fastnn.Network(
        [20, 33, 17, 5], activation="tanh", seed=2, dtype=dtype, backend=backend, threads=count
    )
    settings = {"epochs": 2, "batch_size": BATCH, **settings}
    history = net.train(*data(dtype), **settings)
    return np.array(history["loss"]), net.parameters


@every_setting
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.usefixtures("in_blocks")
def test_both_backends_agree(dtype, settings):
    (losses, parameters), (expected_losses, expected) = (
        trained(backend, dtype, **settings) for backend in BACKENDS
    )
    rtol, atol = (1e-3, 2e-4) if dtype == "float32" else (1e-9, 1e-10)
    np.testing.assert_allclose(losses, expected_losses, rtol)
    np.testing.assert_allclose(parameters, expected, rtol, atol)


@every_setting
@pytest.mark.usefixtures("in_blocks")
def test_any_number_of_threads_gives_the_same_bits(monkeypatch, settings):
    monkeypatch.setattr(threads, "WORTH_A_THREAD", 1.0)
    monkeypatch.setattr(threads.Trial, "enabled", False)
    monkeypatch.setattr(threads, "available", lambda: 8)
    losses, parameters = trained(**settings)
    for count in (2, 3, 8):
        others = trained(count=count, **settings)
        assert [array.tobytes() for array in others] == [losses.tobytes(), parameters.tobytes()]


@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
def test_an_optimizer_takes_the_same_steps_as_in_one_piece(monkeypatch, optimizer):
    whole = trained(optimizer=optimizer)
    use_blocks(monkeypatch)
    blocks = trained(optimizer=optimizer)
    assert [array.tobytes() for array in blocks] == [array.tobytes() for array in whole]


def test_it_does_not_matter_where_an_epoch_is_cut(monkeypatch, tmp_path):
    each = blocks.row_bytes(fastnn.Network([20, 33, 17, 5]).architecture, learning=True)
    use_blocks(monkeypatch, 200 * each)  # less than a batch, more than the last one
    whole = trained()
    cut = trained(checkpoint=tmp_path / "run.safetensors", checkpoint_every=1)
    assert cut[1].tobytes() == whole[1].tobytes()


@pytest.mark.usefixtures("in_blocks")
def test_a_loss_that_is_not_finite_in_a_late_block_stops_before_the_step():
    X, _ = data()
    y = np.zeros((ROWS, 1), np.float32)
    y[-1] = 1e30
    net = fastnn.Network([20, 8, 1], output="identity", seed=1, threads=1)
    before = net.parameters.copy()
    with pytest.raises(fastnn.DivergenceError):
        net.train(X, y, epochs=1, batch_size=ROWS, shuffle=False)
    assert net.parameters.tobytes() == before.tobytes()


@pytest.mark.usefixtures("in_blocks")
def test_what_is_compiled_before_training_is_enough():
    net = fastnn.Network([20, 8, 5])
    backends.get("numba").prepare(net.model, rule=plan.UpdateRule(), batch_sizes=[BATCH])
    compiled = {name: set(names) for name, names in plan.functions._compiled.items()}
    net.train(*data(), epochs=1, batch_size=BATCH)
    assert plan.functions._compiled == compiled


def test_memory_does_not_grow_with_the_batch():
    rows = 100_000
    X, y = np.zeros((rows, 8), np.float32), np.zeros(rows, np.int64)
    net = fastnn.Network([8, 64, 64, 2], seed=1, threads=1)
    tracemalloc.start()
    net.train(X, y, epochs=1, batch_size=rows)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 40 * rows  # the order of the rows and their losses; activations take 1,600 a row
