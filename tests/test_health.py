"""Networks that came out of training of no use: each kind is said, and healthy ones are not."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from cases import BACKENDS

import fastnn
from fastnn import ConvergenceWarning, Network
from fastnn.activations import HIDDEN
from fastnn.training import health

RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 6))
TWO = (X[:, 0] > 0).astype(int)
THREE = np.digitize(X[:, 0], [-0.5, 0.5])
NUMBERS = X[:, 0] + 1
RARE = (X[:, 0] > 2).astype(int)  # one row in forty
PIXELS = RNG.integers(0, 256, (400, 50)) * (RNG.random((400, 50)) < 0.3)
SORTED = np.repeat([-1, 1], [700, 100])[:, None] + np.random.default_rng(1).normal(
    scale=0.3, size=(800, 6)
)
BRIGHT = (PIXELS[:, :25].sum(axis=1) > PIXELS[:, 25:].sum(axis=1)).astype(int)
FULL = (PIXELS.sum(axis=1) > np.quantile(PIXELS.sum(axis=1), 0.7)).astype(int)


def dead(layer, sizes=(6, 16, 16, 1), **options):
    """Return a network with a layer whose units are 0 for every row."""
    net = Network(list(sizes), seed=1, **options)
    net.biases[layer] = np.full(sizes[layer + 1], -1e3)
    return net


def net(sizes=(6, 16, 1), *arguments, **options):
    return Network(list(sizes), *arguments, seed=1, **options)


def scaled(factor, net):
    for weights in net.weights:
        weights *= factor
    return net


def zeros(rng, fan_in, fan_out):
    return np.zeros((fan_in, fan_out))


SICK = {
    "the first layer dead": (dead(0), X, TWO, {}, ["16 units of layer 0 (relu) give 0"]),
    "the second layer dead": (dead(1), X, TWO, {}, ["16 units of layer 1 (relu) give 0"]),
    "a dead regression": (
        dead(0, output="identity"), X, NUMBERS, {"learning_rate": 0.01}, ["layer 0", "the same"],
    ),
    "dead for three classes": (
        dead(0, (6, 16, 3)), X, THREE, {}, ["layer 0", "each of 400 rows"],
    ),
    "dead for rare rows": (dead(0), X, RARE, {}, ["layer 0 (relu)"]),
    "dead with a tanh": (
        dead(0, activation="tanh"), X, TWO, {"frozen": [0]}, ["(tanh) give -1"],
    ),
    "dead with a sigmoid": (
        dead(0, activation="sigmoid"), X, TWO, {"frozen": [0]}, ["(sigmoid) give 0"],
    ),
    "dead with softplus": (
        dead(0, activation="softplus"), X, TWO, {"frozen": [0]}, ["(softplus) give 0"],
    ),
    "dead with an elu": (dead(0, activation="elu"), X, TWO, {"frozen": [0]}, ["(elu) give -1"]),
    "dead with a selu": (dead(0, activation="selu"), X, TWO, {"frozen": [0]}, ["(selu) give"]),
    "dead with a gelu": (dead(0, activation="gelu"), X, TWO, {"frozen": [0]}, ["(gelu) give"]),
    "dead with a silu": (dead(0, activation="silu"), X, TWO, {"frozen": [0]}, ["(silu) give"]),
    "dead with a mish": (dead(0, activation="mish"), X, TWO, {"frozen": [0]}, ["(mish) give"]),
    "weights of zeros": (net(init=zeros), X, TWO, {}, ["layer 0 (relu) give 0"]),
    "a rate of 1000 with sigmoid": (
        net((6, 16, 1), "sigmoid"), X, TWO, {"learning_rate": 1000},
        ["its loss is", "Try a lower learning_rate than 1000"],
    ),
    "a rate of 1000 with tanh": (
        net((6, 16, 1), "tanh"), X, TWO, {"learning_rate": 1000}, ["its loss is"],
    ),
    "a rate of 5 for three classes": (
        net((6, 32, 32, 3)), X, THREE, {"learning_rate": 5}, ["the same"],
    ),
    "a rate of 30 with softplus": (
        net((6, 32, 32, 3), "softplus"), X, THREE, {"learning_rate": 30}, ["the same class"],
    ),
    "unscaled targets with tanh": (
        net((6, 16, 1), "tanh", "identity"), X, 1e5 + 1e3 * NUMBERS, {"learning_rate": 0.01},
        ["Try standardize_targets=True (y reaches from"],
    ),
    "unscaled targets with sigmoid": (
        net((6, 16, 1), "sigmoid", "identity"), X, 1e5 + 1e3 * NUMBERS, {"learning_rate": 0.01},
        ["Try standardize_targets=True (y reaches from"],
    ),
    "pixels that are not uint8": (
        net((50, 16, 1)), PIXELS, BRIGHT, {"learning_rate": 1}, ["Try X.astype('uint8')"],
    ),
    "pixels as floats": (
        net((50, 16, 1)), PIXELS.astype(np.float32), BRIGHT, {"learning_rate": 1},
        ["Try X.astype('uint8')", "reaches from 0 to 255"],
    ),
    "unscaled inputs": (
        net((6, 16, 1), "sigmoid"), X + 3e4 * np.eye(6)[5], NUMBERS > 1, {"learning_rate": 30},
        ["Try standardize_inputs=True (column 5 of X reaches from"],
    ),
    "numbers that Adam is far from": (
        net((6, 16, 1), output="identity"), X, 3e5 + 1e5 * NUMBERS, {"optimizer": "adam"},
        ["Try standardize_targets=True (y reaches"],
    ),
    "layers of sigmoid that learn nothing": (
        net((6, 16, 16, 16, 1), "sigmoid", "identity"), X, NUMBERS, {"learning_rate": 0.01},
        ["it predicts almost the same for each of 400 rows", "activation='relu'"],
    ),
    "uint8 that is almost 0": (
        net((50, 16, 1)), (PIXELS // 16).astype(np.uint8), FULL, {"learning_rate": 0.1},
        ["the same class", "standardize_inputs=True, as uint8 is divided by 255"],
    ),
    "a penalty on the weights": (net(), X, TWO, {"l2": 3}, ["a lower l2 than 3"]),
    "l1": (net(), X, TWO, {"l1": 1}, ["a lower l1 than 1"]),
    "mae": (dead(0, loss="mae"), X, NUMBERS, {}, ["layer 0"]),
    "poisson": (dead(0, loss="poisson"), X, np.rint(np.exp(X[:, 0])), {}, ["layer 0"]),
    "several labels": (
        dead(0, (6, 16, 2), output="sigmoid"), X, np.stack([TWO, 1 - TWO], axis=1), {}, ["layer 0"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("net", "X", "y", "settings", "parts"), SICK.values(), ids=SICK)
def test_a_network_of_no_use_is_said(net, X, y, settings, parts, backend):
    net = fastnn.Network.of(net.model)
    before = net.parameters.copy()
    net.backend = backend
    with pytest.warns(
        ConvergenceWarning, match="the trained network is (of no use|worse than a guess): "
    ) as caught:
        history = net.train(X, y, **settings)
    net.parameters[:] = before  # for the other backend
    net.model.optimizer_state, net.model.epochs_trained = None, 0
    assert [each.filename for each in caught] == [__file__]
    assert str(caught[0].message) == history.warning
    missing = [part for part in parts if part not in history.warning]
    assert not missing, history.warning


@pytest.mark.parametrize(("batch_size", "judged"), [(40, True), (45, False)])
def test_a_run_of_fewer_than_ten_steps_is_not_judged(batch_size, judged):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        history = dead(0).train(X, TWO, epochs=1, batch_size=batch_size)
    assert len(caught) == bool(history.warning) == judged


def test_there_are_fifteen_kinds_of_sick_runs_and_each_activation_is_among_them():
    assert len(SICK) >= 15
    saturated = {"relu", "tanh", "sigmoid", "softplus", "elu", "selu", "gelu", "silu", "mish"}
    names = {net.architecture.activations[0] for net, *_ in SICK.values()}
    assert saturated <= names
    # These have a slope everywhere that does not fall to 0; "swish" is silu.
    assert set(HIDDEN) - names == {"leaky_relu", "identity", "swish"}


HEALTHY = {
    "two classes": (net(), X, TWO, {}),
    "three classes": (net((6, 16, 3)), X, THREE, {}),
    "rare rows": (net(), X, RARE, {}),
    "rare rows in one epoch": (net(), X, RARE, {"epochs": 1}),
    "labels of noise": (net(), X, RNG.integers(0, 2, 400), {}),
    "rare labels of noise": (net(), X, (RNG.random(400) < 0.05).astype(int), {"epochs": 3}),
    "one class only": (net(), X, np.zeros(400, int), {}),
    "numbers": (net((6, 16, 1), output="identity"), X, NUMBERS, {"learning_rate": 0.01}),
    "numbers of noise": (
        net((6, 16, 1), output="identity"), X, RNG.normal(size=400), {"learning_rate": 0.01},
    ),
    "numbers that are all the same": (
        net((6, 16, 1), output="identity"), X, np.full(400, 3.0), {"learning_rate": 0.01},
    ),
    "unscaled numbers, standardised": (
        net((6, 16, 1), standardize_inputs=True, standardize_targets=True),
        1e4 * X, 1e5 + 1e3 * NUMBERS, {"learning_rate": 0.01},
    ),
    "inputs that are all the same": (net(), np.ones((400, 6)), TWO, {}),
    "a few dead units": (net((6, 4, 4, 1)), X, TWO, {"learning_rate": 1}),
    "a run of few steps": (dead(0), X, TWO, {"epochs": 1, "batch_size": 100}),
    "uint8": (net((50, 16, 1)), PIXELS.astype(np.uint8), BRIGHT, {}),
    "a small rate": (net(), X, TWO, {"learning_rate": 1e-6}),
    "large weights at first": (net((6, 16, 1), init="normal"), X, TWO, {}),
    "several labels": (
        net((6, 16, 2), output="sigmoid"), X, np.stack([TWO, 1 - TWO], axis=1), {},
    ),
    "tiny numbers": (
        scaled(1e-7, net((6, 1), output="identity")), X, 1e-7 * X[:, 0], {"learning_rate": 0.1},
    ),
    "rows sorted by class": (net(), SORTED, np.repeat([0, 1], [700, 100]), {}),
    "counts": (net(loss="poisson"), X, np.rint(np.exp(X[:, 0] / 2)), {"learning_rate": 0.01}),
}  # fmt: skip


@pytest.mark.parametrize(("net", "X", "y", "settings"), HEALTHY.values(), ids=HEALTHY)
def test_a_healthy_network_is_not_warned_about(net, X, y, settings):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert net.train(X, y, **settings).warning == ""


@pytest.mark.parametrize(
    ("output", "y"),
    [(None, TWO), ("softmax", THREE), ("identity", NUMBERS)],
    ids=["two classes", "three classes", "numbers"],
)
def test_outputs_are_not_looked_at_after_low_losses(output, y, monkeypatch):
    monkeypatch.setattr(health, "_outputs", None)
    sizes = (6, 16, 3 if output == "softmax" else 1)
    history = net(sizes, output=output).train(X, y, epochs=30, optimizer="adam", learning_rate=0.01)
    assert history.warning == ""


def test_outputs_are_looked_at_if_only_the_last_rows_have_high_losses(monkeypatch):
    looks, outputs = [], health._outputs
    monkeypatch.setattr(health, "_outputs", lambda *given: looks.append(1) or outputs(*given))
    labels = TWO.copy()
    labels[-16:] = 1 - labels[-16:]
    settings = {"epochs": 10, "optimizer": "adam", "learning_rate": 0.01, "batch_size": 8}
    history = net().train(X, labels, shuffle=False, **settings)
    assert history[-1]["loss"] < health.CLEARLY_BETTER * np.log(2)
    assert looks


def test_divergence_names_the_column_whose_range_is_the_cause():
    frame = pytest.importorskip("pandas").DataFrame(X, columns=list("abcdef"))
    frame["e"] *= 3e5
    with pytest.raises(fastnn.DivergenceError, match="column 'e' of X reaches from -"):
        net().train(frame, TWO)
    with pytest.raises(fastnn.DivergenceError, match=r"Try standardize_targets=True \(y reaches"):
        net((6, 16, 1), output="identity").train(X, 1e7 * NUMBERS)


def test_an_estimator_says_it_in_scikit_learns_words():
    exceptions = pytest.importorskip("sklearn.exceptions")
    from fastnn.estimators import MLPClassifier, MLPRegressor

    with pytest.warns(
        exceptions.ConvergenceWarning, match="worse than a guess.*learning_rate_init"
    ) as seen:
        MLPClassifier(solver="sgd", activation="tanh", learning_rate_init=1e3).fit(X, TWO)
    assert seen[0].filename == __file__
    with pytest.raises(ValueError, match=r"TransformedTargetRegressor.*StandardScaler before this"):
        MLPRegressor(solver="sgd", learning_rate_init=1).fit(X, 1e7 * NUMBERS)


@pytest.mark.parametrize("backend", BACKENDS)
def test_outputs_that_overflow_at_the_end_are_said_to_be_of_no_use(backend):
    X, y = np.random.default_rng(0).normal(size=(60, 3)), np.arange(60) % 4

    def overflow(row):
        if row["epoch"] == 3:
            net.biases[-1][...] = 1e4

    net = fastnn.Network([3, 4, 1], output="exponential", seed=0, backend=backend)
    with pytest.warns(fastnn.ConvergenceWarning, match="predicts the same for each"):
        net.train(X, y, epochs=3, batch_size=5, learning_rate=0.01, callbacks=[overflow])
