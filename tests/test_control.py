"""What rules a run: callbacks, limits, early stopping, validation, state, layers, weights."""

from __future__ import annotations

import numpy as np
import pytest
from cases import BACKENDS, DTYPES

from fastnn import EarlyStopping, Network, loop, metrics, optimizers
from fastnn.network import _split

each_backend = pytest.mark.parametrize("backend", BACKENDS)
each_dtype = pytest.mark.parametrize("dtype", DTYPES)
OPTIMIZERS = ("momentum", "nesterov", "rmsprop", "adam", "adamw")
each_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS)
SIZES = (6, 11, 5, 3)


def blobs(rows=70, seed=1):
    """Return points around three centres in six dimensions, and which centre it was."""
    rng = np.random.default_rng(seed)
    y = rng.choice(3, rows, p=[0.6, 0.3, 0.1])
    return rng.normal(size=(3, 6))[y] + rng.normal(scale=0.8, size=(rows, 6)), y


def network(backend="numpy", dtype="float32", sizes=SIZES, **options):
    return Network(sizes, activation="tanh", seed=5, backend=backend, dtype=dtype, **options)


def regression(backend="numpy", **options):
    return network(backend, sizes=(6, 5, 1), output="identity", **options)


class Copies(list):
    """A callback that copies the parameters at every epoch."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def __call__(self, row):
        self.append(self.net.parameters.tobytes())


# Callbacks and the limit of time


def test_a_callback_that_returns_stop_ends_training_after_that_epoch():
    net, rows = network(), []

    def after_three(row):
        return "stop" if row["epoch"] == 3 else None

    history = net.train(*blobs(), epochs=9, callbacks=[after_three, rows.append])
    assert history["epoch"] == [1, 2, 3]
    assert history.stopped == "a callback"
    assert rows == history.rows  # the others are called in the last epoch, too
    assert net.epochs_trained == 3


@pytest.mark.parametrize("answer", [None, True, 1, "go on", b"stop", ["stop"], np.array([1, 2])])
def test_training_goes_on_if_a_callback_returns_anything_else(answer):
    history = network().train(*blobs(), epochs=2, callbacks=[lambda row: answer])
    assert len(history) == 2
    assert history.stopped == ""


@each_backend
def test_max_seconds_ends_training_after_a_slice(backend, monkeypatch):
    monkeypatch.setattr(loop, "SLICE", 1)  # a step
    X, y = blobs()
    net, other = network(backend), network(backend)
    history = net.train(X, y, 5, 32, 0.1, shuffle=False, max_seconds=1e-9)
    other.train(X[:32], y[:32], 1, 32, 0.1, shuffle=False, schedule="constant")
    assert history.stopped == "max_seconds"
    assert len(history) == net.epochs_trained == 1
    assert net.parameters.tobytes() == other.parameters.tobytes()
    row = history[0]
    assert row["samples_per_second"] * row["seconds"] == pytest.approx(32)


def test_a_network_goes_on_after_max_seconds():
    X, y = blobs()
    net = network()
    net.train(X, y, max_seconds=1e-9)
    assert net.train(X, y, epochs=2)["epoch"] == [2, 3]
    assert np.isfinite(net.predict_proba(X)).all()


def test_a_run_that_has_the_time_is_not_stopped():
    history = network().train(*blobs(), epochs=2, max_seconds=1e6)
    assert len(history) == 2
    assert history.stopped == ""


@pytest.mark.parametrize("seconds", [0, -1, np.nan, np.inf, "1", True])
def test_a_bad_limit_of_time_is_refused(seconds):
    with pytest.raises((TypeError, ValueError), match="max_seconds must be"):
        network().train(*blobs(), max_seconds=seconds)


# Early stopping


@pytest.fixture
def scores(monkeypatch):
    """Let evaluations give these scores, one an epoch."""

    def give(name, values):
        values = iter(values)
        monkeypatch.setattr(Network, "_evaluate", lambda *_: {"loss": 1.0, name: next(values)})

    return give


@pytest.mark.parametrize(
    ("name", "values", "options", "epochs", "best"),
    [
        ("loss", [5, 4, 3, 3.5, 3.2, 2], {"patience": 2}, 5, 3),
        ("loss", [5, 4, 3, 3.5, 2, 2.5, 2.4, 1], {"patience": 2}, 7, 5),  # waiting begins again
        ("loss", [5, 5, 5], {"patience": 1}, 2, 1),  # the same is no better
        ("loss", [5, 4, 3, 2, 1], {"patience": 1}, 5, 5),
        ("loss", [5, 4.9, 4.8, 4.7, 4.0], {"patience": 2, "min_change": 0.5}, 3, 1),
        ("loss", [5, 4.7, 4.4, 4.3, 4.2], {"patience": 2, "min_change": 0.5}, 5, 3),
        ("loss", [5, 4.5, 4], {"patience": 1, "min_change": 0.5}, 2, 1),  # just that much
        ("loss", [-1, -2, -3, -2, 5], {"patience": 2}, 5, 3),
        ("accuracy", [0.5, 0.7, 0.6, 0.7, 0.9], {"patience": 2}, 4, 2),
        ("macro_f1", [0.5, 0.4, 0.3], {"patience": 2}, 3, 1),
        ("accuracy", [0.5, 0.55, 0.65, 0.7, 0.74], {"patience": 2, "min_change": 0.1}, 5, 3),
    ],
)
@pytest.mark.parametrize("restore_best", [True, False])
def test_early_stopping_waits_and_restores_the_best(
    name, values, options, epochs, best, restore_best, scores
):
    scores(name, values)
    X, y = blobs()
    net = network()
    copies = Copies(net)
    rule = EarlyStopping(f"validation_{name}", restore_best=restore_best, **options)
    history = net.train(
        X, y, len(values), validation=(X, y), early_stopping=rule, callbacks=[copies]
    )
    assert len(history) == epochs
    assert history.best_epoch == best
    waited_out = epochs - best == rule.patience
    assert history.stopped == ("early stopping" if waited_out else "")
    assert net.parameters.tobytes() == copies[(best if restore_best else epochs) - 1]
    assert len(set(copies)) == epochs


@each_backend
def test_early_stopping_is_that_of_a_real_run(backend):
    X, y = blobs()
    y = np.random.default_rng(0).permutation(y)  # there is nothing to learn
    net = network(backend)
    copies = Copies(net)
    history = net.train(
        X, y, 200, 5, validation=0.3, early_stopping=True, schedule="constant", callbacks=[copies]
    )
    losses = history["validation_loss"]
    assert history.stopped == "early stopping"
    assert history.best_epoch == 1 + np.argmin(losses) == len(losses) - 5
    assert net.parameters.tobytes() == copies[np.argmin(losses)]


@pytest.mark.parametrize(
    ("name", "sign"),
    [("accuracy", 1), ("macro_f1", 1), ("r2", 1), ("loss", -1), ("mae", -1), ("rmse", -1)],
)
def test_the_direction_is_that_of_the_metric(name, sign):
    assert EarlyStopping(f"validation_{name}").sign == sign


def test_without_validation_the_loss_of_training_stops():
    rule = EarlyStopping("loss", patience=2, min_change=1e-3)
    history = network().train(*blobs(), epochs=9, learning_rate=1e-9, early_stopping=rule)
    assert len(history) == 3
    assert history.best_epoch == 1


@pytest.mark.parametrize("early_stopping", [EarlyStopping("loss", patience=9), False])
def test_another_end_restores_the_best_too_if_early_stopping_is_asked_for(early_stopping):
    net = network()
    copies = Copies(net)
    history = net.train(  # at this rate the loss rises
        *blobs(), 9, learning_rate=30, early_stopping=early_stopping,
        callbacks=[copies, lambda row: "stop" if row["epoch"] == 4 else None],
    )  # fmt: skip
    best = 1 + np.argmin(history["loss"]) if early_stopping else 4
    assert history.best_epoch == (best if early_stopping else None)
    assert history.stopped == "a callback"
    assert net.parameters.tobytes() == copies[best - 1]


@pytest.mark.parametrize(
    ("make", "metric", "validation", "message"),
    [
        (network, "validation_loss", None, "one of loss; others need validation data; got"),
        (network, "accuracy", 0.5, "loss, validation_loss, validation_accuracy, validation_macro"),
        (network, "validation_r2", 0.5, "validation_macro_f1; got 'validation_r2'"),
        (regression, "validation_accuracy", 0.5, "validation_r2, validation_mae, validation_rmse"),
        (network, None, 0.5, "metric must be one of"),
    ],
)
def test_a_metric_that_is_not_recorded_is_refused(make, metric, validation, message):
    net = make()
    before = net.parameters.tobytes()
    with pytest.raises(ValueError, match=message):
        net.train(*blobs(), validation=validation, early_stopping=EarlyStopping(metric))
    assert net.parameters.tobytes() == before


@pytest.mark.parametrize("make", [network, regression])
def test_every_metric_that_is_recorded_may_stop(make):
    X, y = blobs()
    history = make().train(X, y, epochs=1, validation=0.5, learning_rate=1e-3)
    for name in history.columns:
        if name == "loss" or name.startswith("validation_"):
            rule = EarlyStopping(name)
            make().train(X, y, 1, None, 1e-3, validation=0.5, early_stopping=rule)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"patience": 0}, ValueError, "EarlyStopping's patience must be at least 1; got 0"),
        ({"patience": -1}, ValueError, "EarlyStopping's patience"),
        ({"patience": 2.5}, TypeError, "EarlyStopping's patience must be an integer"),
        ({"min_change": -0.1}, ValueError, "EarlyStopping's min_change must be"),
        ({"min_change": np.nan}, ValueError, "EarlyStopping's min_change must be"),
    ],
)
def test_bad_fields_of_early_stopping_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        EarlyStopping(**options)


@pytest.mark.parametrize("early_stopping", ["validation_loss", 3, EarlyStopping])
def test_early_stopping_must_be_a_bool_or_an_early_stopping(early_stopping):
    with pytest.raises(TypeError, match="early_stopping must be a bool or an EarlyStopping"):
        network().train(*blobs(), early_stopping=early_stopping)


# A share of the rows for validation


@pytest.mark.parametrize("share", [0.05, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("rows", [20, 71, 1000])
@pytest.mark.parametrize("seed", range(3))
def test_of_each_class_the_same_share_is_set_aside(seed, rows, share):
    _, y = blobs(rows)
    kept, aside = _split(share, rows, y, seed)
    assert sorted([*kept, *aside]) == list(range(rows))
    assert len(aside) == np.ceil(share * rows)
    taken = np.bincount(y[aside], minlength=3)
    assert np.abs(taken - np.bincount(y, minlength=3) * len(aside) / rows).max() < 1


@pytest.mark.parametrize("labels", [None, blobs()[1]])
def test_what_is_set_aside_is_drawn_by_the_seed(labels):
    first, again, other = (_split(0.25, 70, labels, seed)[1] for seed in (1, 1, 2))
    assert first.tolist() == again.tolist() != other.tolist()
    draws = np.bincount(np.concatenate([_split(0.25, 70, labels, s)[1] for s in range(100)]))
    # Each row in 18 of 70 draws, +- 5 sigma.
    assert np.abs(draws - 25.7).max() < 5 * 4.4


@each_backend
@pytest.mark.parametrize("make", [network, regression])
def test_the_rows_set_aside_are_never_trained_on(make, backend):
    X, y = blobs()
    options = {"epochs": 2, "batch_size": 8, "learning_rate": 0.05, "shuffle": False}
    net, other = (make(backend, standardize_inputs=True) for _ in range(2))
    rows, aside = _split(0.25, 70, y if make is network else None, net.seed)
    X[aside] = 1e6
    net.train(X, y, validation=0.25, **options)
    other.train(X[rows], y[rows], **options)
    assert net.parameters.tobytes() == other.parameters.tobytes()


@each_backend
@pytest.mark.parametrize("make", [network, regression])
def test_the_rows_set_aside_are_those_of_the_validation_metrics(make, backend):
    X, y = blobs()
    weights = np.random.default_rng(0).uniform(0, 2, 70)
    net = make(backend)
    history = net.train(X, y, 2, None, 0.05, validation=0.25, sample_weight=weights)
    _, aside = _split(0.25, 70, y if make is network else None, net.seed)
    for name, value in net.evaluate(X[aside], y[aside], weights[aside]).items():
        assert history[-1][f"validation_{name}"] == pytest.approx(value, rel=1e-6)  # float32


@pytest.mark.parametrize("share", [0, 0.0, 1, 1.0, 1.5, -0.25, np.nan, True])
def test_a_bad_share_is_refused(share):
    with pytest.raises((TypeError, ValueError), match="validation must be"):
        network().train(*blobs(), validation=share)


def test_a_share_that_leaves_no_row_is_refused():
    with pytest.raises(ValueError, match="validation must leave a row to train on"):
        network().train(*blobs(3), validation=0.9)


# The optimizer's state


@each_backend
@each_optimizer
def test_two_epochs_are_one_and_another(optimizer, backend):
    X, y = blobs()
    options = {"shuffle": False, "schedule": "constant", "optimizer": optimizer}
    once, twice = network(backend), network(backend)
    losses = once.train(X, y, 2, **options)["loss"]
    parts = [twice.train(X, y, 1, **options)["loss"] for _ in range(2)]
    assert once.parameters.tobytes() == twice.parameters.tobytes()
    assert losses == parts[0] + parts[1]


@each_backend
@pytest.mark.parametrize("options", [*({"optimizer": o} for o in OPTIMIZERS), {"dropout": 0.3}])
def test_an_epoch_in_slices_is_an_epoch_in_one_call(options, backend, monkeypatch):
    X, y = blobs()
    whole, sliced = network(backend), network(backend)
    losses = whole.train(X, y, 2, 20, **options)["loss"]
    monkeypatch.setattr(loop, "SLICE", 1)  # a step
    # Sums of losses are added up in another order.
    assert sliced.train(X, y, 2, 20, **options)["loss"] == pytest.approx(losses, rel=1e-15)
    assert sliced.parameters.tobytes() == whole.parameters.tobytes()


def continued(backend, before, after):
    """Return parameters after an epoch with some optimizers, and an epoch with another.

    And after the same last epoch of a network that starts where that one did.
    """
    X, y = blobs()
    net, other = network(backend), network(backend)
    for optimizer in before:
        net.train(X, y, 1, shuffle=False, optimizer=optimizer)
    other.parameters[:] = net.parameters
    for either in (net, other):
        either.train(X, y, 1, shuffle=False, optimizer=after)
    return net.parameters.tobytes(), other.parameters.tobytes()


@each_backend
@pytest.mark.parametrize(
    ("before", "after"),
    [(["momentum"], "adam"), (["adam"], "rmsprop"), (["adam", "momentum"], "adam")],
)
def test_another_kind_of_optimizer_starts_anew(before, after, backend):
    went_on, anew = continued(backend, before, after)
    assert went_on == anew


@each_backend
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("adam", optimizers.Adam(0.01, beta1=0.8)),
        ("adam", "adamw"),
        ("momentum", "nesterov"),
        ("rmsprop", optimizers.RMSprop(decay=0.5)),
    ],
)
def test_the_same_kind_of_optimizer_goes_on_with_other_numbers(before, after, backend):
    went_on, anew = continued(backend, [before], after)
    assert went_on != anew


# Frozen layers

CHANGES = {  # each a way of its own through a step
    "sgd": {"learning_rate": 0.1},
    "penalty": {"l2": 0.1, "l1": 0.1, "learning_rate": 0.1},
    "adamw": {"optimizer": "adamw"},
    "clip_norm": {"clip_norm": 0.1, "learning_rate": 0.1},
    "clip_value": {"clip_value": 0.01, "learning_rate": 0.1},
    "max_norm": {"max_norm": 0.3, "learning_rate": 0.1},
    "dropout": {"dropout": 0.4, "learning_rate": 0.1},
}


@each_dtype
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("frozen", [(0,), (1,), (2,), (0, 2), (1, 2), (0, 1)])
@pytest.mark.parametrize("batch_size", [1, 32])
def test_frozen_layers_stay_and_others_move_alike_in_both_backends(
    batch_size, frozen, change, dtype
):
    X, y = blobs(33)  # the last batch has a row
    nets = [network(backend, dtype) for backend in BACKENDS]
    for net in nets:
        before = [[w.copy(), b.copy()] for w, b in zip(net.weights, net.biases, strict=True)]
        net.train(X, y, 1, batch_size, frozen=frozen, **CHANGES[change])
        for l, (weights, biases) in enumerate(before):
            assert (net.weights[l].tobytes() == weights.tobytes()) == (l in frozen)
            assert (net.biases[l].tobytes() == biases.tobytes()) == (l in frozen)
    # Up to 33 steps of three layers, each rounding sums of about ten numbers near 1; Adam divides
    # small gradients by their own size.
    tolerance = 33 * 30 * np.finfo(dtype).eps
    np.testing.assert_allclose(*(n.parameters for n in nets), rtol=0, atol=tolerance)


def test_a_frozen_layer_moves_again_when_it_is_not():
    X, y = blobs()
    net = network()
    net.train(X, y, 1, frozen=[0])
    before = net.weights[0].copy()
    net.train(X, y, 1)
    assert net.weights[0].tobytes() != before.tobytes()


@pytest.mark.parametrize(
    ("frozen", "error", "message"),
    [
        ([0, 1, 2], ValueError, "frozen must leave a layer to train; got all 3"),
        (range(3), ValueError, "frozen must leave a layer"),
        ([3], ValueError, r"frozen\[0\] must be from 0 to 2, the last layer; got 3"),
        ([0, -1], ValueError, r"frozen\[1\] must be from 0 to 2"),
        ([0.0], TypeError, r"frozen\[0\] must be an integer"),
        (0, TypeError, "frozen must be a list of layer numbers"),
        ("0", TypeError, "frozen must be a list of layer numbers"),
    ],
)
def test_bad_lists_of_frozen_layers_are_refused(frozen, error, message):
    with pytest.raises(error, match=message):
        network().train(*blobs(), frozen=frozen)


# Weights


def losses_and_gradient(net, X, y, **options):
    """Return the loss with the gradient, and the losses and parameters of three full batches."""
    loss, gradient = net.loss_and_gradient(X, y, **options)
    losses = net.train(X, y, 3, len(X), 0.1, **options)["loss"]
    return np.r_[loss, gradient.vector, losses, net.parameters]


def numbers(net, X, y):
    """Return targets for the network, made of classes."""
    return {"softmax": y, "sigmoid": np.eye(3)[y] * [1, 1, 0], "identity": y - X[:, 0]}[net._output]


def labelling(backend="numpy", **options):
    return network(backend, output="sigmoid", **options)


@each_backend
@pytest.mark.parametrize("make", [network, regression, labelling])
def test_integer_weights_are_repeated_rows(make, backend):
    X, y = blobs()
    net, other = (make(backend, dtype="float64") for _ in range(2))
    y = numbers(net, X, y)
    times = np.random.default_rng(0).integers(0, 4, 70)
    ours = losses_and_gradient(net, X, y, sample_weight=times)
    theirs = losses_and_gradient(other, X.repeat(times, 0), y.repeat(times, 0))
    # Sums of a hundred numbers near 1, in another order.
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)


@each_backend
def test_weights_are_relative(backend):
    X, y = blobs()
    weights = np.random.default_rng(0).uniform(0, 2, 70)
    ours, theirs = (
        losses_and_gradient(network(backend, "float64"), X, y, sample_weight=w)
        for w in (weights, 1e6 * weights)
    )
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)


@each_dtype
@pytest.mark.parametrize("make", [network, regression, labelling])
@pytest.mark.parametrize("batch_size", [1, 32])
def test_weighted_epochs_go_the_same_way_in_both_backends(batch_size, make, dtype):
    X, y = blobs()
    weights = np.random.default_rng(0).uniform(0, 2, 70)
    nets = [make(backend, dtype=dtype) for backend in BACKENDS]
    for net in nets:
        net.train(X, numbers(net, X, y), 1, batch_size, 0.05, sample_weight=weights)
    # As for frozen layers, with 70 steps.
    tolerance = 70 * 30 * np.finfo(dtype).eps
    np.testing.assert_allclose(*(n.parameters for n in nets), rtol=0, atol=tolerance)


Y = blobs()[1]


@each_backend
@pytest.mark.parametrize(
    ("y", "class_weight", "expected"),
    [
        (Y, "balanced", 70 / (3 * np.bincount(Y))),
        (np.minimum(Y, 1), "balanced", [70 / (2 * sum(Y == 0)), 70 / (2 * sum(Y > 0)), 0]),
        (Y, {0: 0.5, 2: 3}, [0.5, 1, 3]),
        (Y, [0.5, 1, 3], [0.5, 1, 3]),
        (np.eye(3)[Y], [0.5, 1, 3], [0.5, 1, 3]),
    ],
)
def test_class_weights_are_sample_weights_by_class(y, class_weight, expected, backend):
    X, _ = blobs()
    by_row = np.array(expected)[y if y.ndim == 1 else y.argmax(axis=1)]
    others = np.random.default_rng(0).uniform(0, 2, 70)
    for given, both in (({}, by_row), ({"sample_weight": others}, by_row * others)):
        net, other = (network(backend, "float64") for _ in range(2))
        ours = losses_and_gradient(net, X, y, class_weight=class_weight, **given)
        theirs = losses_and_gradient(other, X, y, sample_weight=both)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-13)
        assert net.evaluate(X, y, given.get("sample_weight"), class_weight) == pytest.approx(
            other.evaluate(X, y, both), rel=1e-12
        )


def test_class_weights_of_one_sigmoid_are_of_0_and_1():
    X, y = blobs()
    y = (y == 0).astype(int)
    nets = [network(sizes=(6, 1), dtype="float64") for _ in range(2)]
    ours = losses_and_gradient(nets[0], X, y, class_weight={1: 3})
    theirs = losses_and_gradient(nets[1], X, y, sample_weight=np.where(y, 3, 1))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-13)


@each_backend
@each_dtype
@pytest.mark.parametrize("make", [network, regression, labelling])
def test_weighted_evaluation_is_that_of_the_metrics(make, dtype, backend):
    X, y = blobs()
    net = make(backend, dtype=dtype)
    y, w = numbers(net, X, y), np.random.default_rng(0).uniform(0, 2, 70)
    pred, values = net.predict(X, *[0.5] * (make is labelling)), net.evaluate(X, y, w)
    rows = [net.evaluate(X[i : i + 1], y[i : i + 1])["loss"] for i in range(70)]
    expected = {"loss": np.average(rows, weights=w)}
    if make is network:
        expected["accuracy"] = metrics.accuracy(y, pred, w)
        expected["macro_f1"] = metrics.macro_f1(y, pred, weights=w)
    elif make is labelling:
        scores = metrics.multilabel_scores(y, pred, w)
        expected |= {"accuracy": scores[0], "macro_f1": scores[1]}
    else:
        for name in ("r2", "mae", "rmse"):
            expected[name] = getattr(metrics, name)(y[:, None], pred, w)
    # Weights are rounded to the dtype.
    assert values == pytest.approx(expected, rel=20 * float(np.finfo(dtype).eps))


def test_validation_data_have_weights_of_their_own_times_those_of_classes():
    X, y = blobs()
    w = np.random.default_rng(0).uniform(0, 2, 30)
    net, by_class = network(), [1, 2, 5]
    history = net.train(X, y, 1, validation=(X[:30], y[:30], w), class_weight=by_class)
    for name, value in net.evaluate(X[:30], y[:30], w, by_class).items():
        assert history[-1][f"validation_{name}"] == value


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (regression, {"class_weight": "balanced"}, "the output 'identity' is for regression"),
        (network, {"class_weight": "even"}, "class_weight must be one of balanced; got 'even'"),
        (network, {"class_weight": [1, 1]}, r"for each of 3 classes; .* shape \(2,\)"),
        (network, {"class_weight": [1, 1, -1]}, r"class_weight\[2\] must be"),
        (network, {"class_weight": {0: np.nan}}, r"class_weight\[0\] must be"),
        (network, {"class_weight": {3: 1}}, "a label of class_weight must be from 0 to 2; got 3"),
        (network, {"class_weight": {"a": 1}}, "a label of class_weight must be an integer"),
        (network, {"class_weight": [0, 0, 0]}, "weights of the rows to train on.* are all 0"),
        (network, {"sample_weight": np.zeros(70)}, "sample_weight must not all be 0"),
        (network, {"sample_weight": -np.eye(70)[3]}, "at least 0; got -1.0 in row 3"),
        (network, {"sample_weight": [np.nan] * 70}, "at least 0; got nan in row 0"),
        (network, {"sample_weight": np.ones(69)}, r"must have shape \(70,\), one a row; got \(69"),
        (network, {"sample_weight": np.ones((70, 1))}, r"must have shape \(70,\), one a row"),
        (network, {"sample_weight": ["1"] * 70}, "sample_weight must be an array of numbers"),
    ],
)
def test_bad_weights_are_refused(make, options, message):
    net = make()
    before = net.parameters.tobytes()
    for call in (net.train, net.evaluate, net.loss_and_gradient):
        with pytest.raises((TypeError, ValueError), match=message):
            call(*blobs(), **options)
    assert net.parameters.tobytes() == before


@pytest.mark.parametrize("make", [network, labelling])
def test_class_weights_need_one_class_a_row(make):
    with pytest.raises(ValueError, match="class_weight needs a y that names one class in each row"):
        make().train(blobs()[0], np.full((70, 3), 1 / 3), class_weight=[1, 2, 3])


# What the layers make of data, and the gradient of inputs


def inputs(kind, rows):
    X = np.random.default_rng(2).normal(size=(rows, 6))
    return np.abs(X * 60).astype(np.uint8) if kind == "uint8" else X.astype(kind)


@each_dtype
@pytest.mark.parametrize("kind", ["float32", "float64", "uint8"])
@pytest.mark.parametrize("rows", [1, 5, 1100])  # more than two blocks
def test_activations_and_input_gradients_are_the_same_in_both_backends(rows, kind, dtype):
    X, y = inputs(kind, rows), np.arange(rows) % 3
    ours, theirs = (network(backend, dtype) for backend in BACKENDS)
    tolerance = {"rtol": 0, "atol": 30 * np.finfo(dtype).eps}  # three layers of numbers near 1
    for a, b in zip(ours.activations(X), theirs.activations(X), strict=True):
        np.testing.assert_allclose(a, b, **tolerance)
    np.testing.assert_allclose(ours.input_gradient(X, y), theirs.input_gradient(X, y), **tolerance)


@each_backend
@pytest.mark.parametrize("kind", ["float64", "uint8"])
def test_activations_are_the_formula_of_each_layer(kind, backend):
    X = inputs(kind, 7)
    net = network(backend, "float64")
    a = X / 255 if kind == "uint8" else X
    layers = net.activations(X)
    assert [layer.shape for layer in layers] == [(7, size) for size in SIZES[1:]]
    for l, layer in enumerate(layers):
        z = a @ net.weights[l] + net.biases[l]
        a = np.tanh(z) if l < 2 else np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(layer, a, rtol=0, atol=1e-14)
    np.testing.assert_allclose(layers[-1], net.predict_proba(X), rtol=0, atol=1e-15)


@each_backend
@pytest.mark.parametrize(
    "options",
    [{}, {"output": "sigmoid"}, {"output": "identity"}, {"output": "exponential"}],
    ids=lambda options: options.get("output", "softmax"),
)
def test_the_gradient_of_inputs_agrees_with_finite_differences(options, backend):
    X, step = inputs("float64", 520)[-6:], 1e-5
    net = network(backend, "float64", **options)
    y = np.eye(3)[np.arange(6) % 3]
    gradient = net.input_gradient(X, y)
    for r, j in np.ndindex(X.shape):
        ends = []
        for change in (step, -step):
            x = X[r : r + 1].copy()
            x[0, j] += change
            ends.append(net.evaluate(x, y[r : r + 1])["loss"])
        # The third derivative times step^2 / 6, and eps / step: about 1e-10 of numbers near 1.
        assert gradient[r, j] == pytest.approx((ends[0] - ends[1]) / (2 * step), abs=1e-8)
    assert np.abs(gradient).max() > 0.1


@each_backend
def test_the_gradient_of_pixels_is_that_of_numbers_from_0_to_1(backend):
    X, y = inputs("uint8", 600), np.arange(600) % 3
    net = network(backend, "float64")
    np.testing.assert_allclose(
        net.input_gradient(X, y), net.input_gradient(X / 255, y), rtol=0, atol=1e-14
    )
