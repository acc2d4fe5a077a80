"""What the choices of `Network.train` cost: an epoch of each beside one of gradient descent."""

from __future__ import annotations

import pytest

ROWS, BATCH, ROUNDS = 16_384, 32, 5
CHOICES = {
    "plain": {},
    "momentum": {"optimizer": "momentum"},
    "nesterov": {"optimizer": "nesterov"},
    "rmsprop": {"optimizer": "rmsprop"},
    "adam": {"optimizer": "adam"},
    "adamw": {"optimizer": "adamw"},
    "l1": {"l1": 1e-5},
    "l2": {"l2": 1e-5},
    "clip_norm": {"clip_norm": 1.0},
    "clip_value": {"clip_value": 1.0},
    "max_norm": {"max_norm": 3.0},
    "dropout": {"dropout": 0.2},
    "label_smoothing": {"label_smoothing": 0.1},
    "class_weight": {"class_weight": "balanced"},
}


@pytest.mark.parametrize("choice", CHOICES)
def test_train_an_epoch(benchmark, net, mnist, labels, record, choice):
    benchmark.group = f"an epoch of batches of {BATCH}, by `Network.train`, {net.backend}"
    X, y = mnist.train_images[:ROWS], labels[:ROWS]
    options = {"batch_size": BATCH, "schedule": "constant", "progress": False, **CHOICES[choice]}
    first = net.train(X, y, epochs=1, **options)["loss"][0]  # compiles what it needs
    history = benchmark.pedantic(
        net.train, args=(X, y), kwargs={"epochs": 1, **options}, rounds=ROUNDS
    )
    assert history["loss"][0] < first
    record(ROWS, net.architecture.training_flops * BATCH)
