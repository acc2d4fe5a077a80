"""What rules a run: callbacks, limits, early stopping, validation, state, layers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from cases import BACKENDS, DTYPES

from fastnn import DivergenceError, EarlyStopping, Network, backends, optimizers
from fastnn.training import loop
from fastnn.training.rows import stratified

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


@pytest.mark.parametrize(
    "change",
    [
        lambda row: row.clear(),
        lambda row: row.update(loss=-1.0, validation_loss=-1.0),
        lambda row: row.update(x=1),
    ],
)
def test_what_a_callback_does_to_its_row_changes_nothing(change):
    seen = []
    options = {"epochs": 3, "validation": 0.2, "early_stopping": True}
    net, other = network(), network()
    history = net.train(*blobs(), callbacks=[change, seen.append], **options)
    expected = other.train(*blobs(), **options)
    assert seen == history.rows
    assert history["validation_loss"] == expected["validation_loss"]
    assert history.best_epoch == expected.best_epoch
    assert history.columns == expected.columns


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


def test_the_time_to_compile_is_not_that_of_the_run(monkeypatch):
    net, clock = network(), itertools.count()
    monkeypatch.setattr(loop.time, "perf_counter", lambda: next(clock))

    def compile_slowly(*arguments, **options):
        for _ in range(1000):
            next(clock)
        return 0.0

    monkeypatch.setattr(backends.get("numpy"), "prepare", compile_slowly)
    history = net.train(*blobs(), epochs=2, max_seconds=500)
    monkeypatch.undo()
    assert (len(history), history.stopped) == (2, "")


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
        monkeypatch.setattr(
            loop, "Evaluation", lambda *_: lambda: {"loss": 1.0, name: next(values)}
        )

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


@pytest.mark.filterwarnings("ignore:the trained network is")
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
        (network, "validation_loss", None, "needs validation data: pass validation=0.2"),
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
    kept, aside = stratified(share, rows, y, seed)
    assert sorted([*kept, *aside]) == list(range(rows))
    assert len(aside) == np.ceil(share * rows)
    taken = np.bincount(y[aside], minlength=3)
    assert np.abs(taken - np.bincount(y, minlength=3) * len(aside) / rows).max() < 1


@pytest.mark.parametrize(("share", "count"), [(0.07, 7), (0.071, 8), (0.55, 55)])
def test_a_rounding_error_of_a_share_sets_no_further_row_aside(share, count):
    assert len(stratified(share, 100, None, 0)[1]) == count


@pytest.mark.parametrize("labels", [None, blobs()[1]])
def test_what_is_set_aside_is_drawn_by_the_seed(labels):
    first, again, other = (stratified(0.25, 70, labels, seed)[1] for seed in (1, 1, 2))
    assert first.tolist() == again.tolist() != other.tolist()
    draws = np.bincount(np.concatenate([stratified(0.25, 70, labels, s)[1] for s in range(100)]))
    # Each row in 18 of 70 draws, +- 5 sigma.
    assert np.abs(draws - 25.7).max() < 5 * 4.4


@each_backend
@pytest.mark.parametrize("make", [network, regression])
def test_the_rows_set_aside_are_never_trained_on(make, backend):
    X, y = blobs()
    options = {"epochs": 2, "batch_size": 8, "learning_rate": 0.05, "shuffle": False}
    net, other = (make(backend, standardize_inputs=True) for _ in range(2))
    rows, aside = stratified(0.25, 70, y if make is network else None, net.seed)
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
    _, aside = stratified(0.25, 70, y if make is network else None, net.seed)
    for name, value in net.evaluate(X[aside], y[aside], weights[aside]).items():
        assert history[-1][f"validation_{name}"] == pytest.approx(value, rel=1e-6)  # float32


@each_backend
def test_outputs_that_overflow_on_validation_data_are_divergence(backend):
    X, y = blobs()
    net = Network([6, 1], output="identity", backend=backend, init=lambda *_: np.ones((6, 1)))
    good = net.parameters.tobytes()
    far = np.full((2, 6), 3e38, np.float32), [0.0, 1.0]
    with np.errstate(over="ignore", invalid="ignore"):
        with pytest.raises(DivergenceError, match="outputs are no longer finite"):
            net.train(X, y, epochs=1, learning_rate=0.01, validation=far)
        with pytest.raises(DivergenceError, match="outputs are no longer finite"):
            net.evaluate(*far)
    assert net.parameters.tobytes() == good
    assert net.epochs_trained == 0


@each_backend
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("before", [0, 1])
@pytest.mark.parametrize("work", [loop.SLICE, 1])
def test_divergence_on_validation_data_takes_the_whole_epoch_back(
    before, optimizer, work, backend, monkeypatch
):
    monkeypatch.setattr(loop, "SLICE", work)
    X, y = blobs()
    y = X[:, 0]
    options = {"batch_size": 20, "optimizer": optimizer, "early_stopping": True}
    net, other = (regression(backend, standardize_inputs=True) for _ in range(2))
    for each in (net, other)[: 2 * before]:
        each.train(X, y, epochs=before, validation=(X, y), learning_rate=0.01, **options)
    with pytest.raises(DivergenceError, match=r"after epoch . the .*; the parameters from before"):
        net.train(X, y, learning_rate=0.1, validation=(X, np.full(70, 1e38)), **options)
    assert net.epochs_trained == before
    assert net.parameters.tobytes() == other.parameters.tobytes()
    if not before:
        assert net.input_scaler is None
        assert net.model.optimizer_state is None
    for each in (net, other):
        each.train(X, y, epochs=2, validation=(X, y), learning_rate=0.01, **options)
    assert net.parameters.tobytes() == other.parameters.tobytes()
    assert net.model.optimizer_state.steps == other.model.optimizer_state.steps


# What accuracy means


@each_backend
def test_the_accuracy_of_several_labels_does_not_change_its_meaning_with_the_rows(backend):
    X, _ = blobs()
    labels = (X[:, :3] > 0).astype(int)
    net = network(backend, output="sigmoid")
    net.train(X, labels, epochs=3)
    right = (net.predict(X, threshold=0.5) == labels).all(axis=1)
    assert net.evaluate(X, labels)["accuracy"] == pytest.approx(right.mean())
    rows = np.flatnonzero(labels.sum(axis=1) == 1)  # of these each has one label
    assert net.evaluate(X[rows], labels[rows])["accuracy"] == pytest.approx(right[rows].mean())
    for row in range(70):
        one = net.evaluate(X[row : row + 1], labels[row : row + 1])
        assert one["accuracy"] == right[row]


@each_backend
def test_classes_of_several_sigmoids_are_right_if_their_output_is_the_largest(backend):
    X, y = blobs()
    net = network(backend, output="sigmoid")
    net.train(X, y, epochs=3)
    assert net.evaluate(X, y)["accuracy"] == pytest.approx((net.predict(X) == y).mean())


# Metrics of the rows that are trained on


@each_backend
@pytest.mark.parametrize("make", [network, regression])
@pytest.mark.parametrize("validation", [None, 0.25])
def test_training_metrics_are_of_the_rows_trained_on(make, backend, validation):
    X, y = blobs()
    weights = np.random.default_rng(0).uniform(0, 2, 70)
    net, other = make(backend), make(backend)
    options = {"epochs": 2, "learning_rate": 0.05, "validation": validation}
    history = net.train(X, y, sample_weight=weights, training_metrics=True, **options)
    rows = np.arange(70)
    if validation:
        rows, _ = stratified(0.25, 70, y if make is network else None, net.seed)
    for name, value in net.evaluate(X[rows], y[rows], weights[rows]).items():
        assert history[-1][f"training_{name}"] == pytest.approx(value, rel=1e-6)  # float32
    without = other.train(X, y, sample_weight=weights, **options)
    assert net.parameters.tobytes() == other.parameters.tobytes()
    assert not [name for name in without.columns if name.startswith("training")]


def test_early_stopping_may_follow_a_training_metric():
    stopping = EarlyStopping("training_accuracy", patience=1)
    history = network().train(*blobs(), epochs=40, early_stopping=stopping, training_metrics=True)
    assert history.best_epoch == 1 + int(np.argmax(history["training_accuracy"]))


@pytest.mark.parametrize("share", [0, 0.0, 1, 1.0, 1.5, -0.25, np.nan, True])
def test_a_bad_share_is_refused(share):
    with pytest.raises((TypeError, ValueError), match="validation must be"):
        network().train(*blobs(), validation=share)


def test_a_share_that_leaves_no_row_is_refused():
    with pytest.raises(ValueError, match="must leave a row to train on"):
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
    assert sliced.train(X, y, 2, 20, **options)["loss"] == losses
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
