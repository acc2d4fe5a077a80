"""Committees: what they predict, how their members train together, and their files."""

from __future__ import annotations

import _thread
import copy
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from cases import BACKENDS
from conftest import ROOT

import fastnn
from fastnn import Committee, ConvergenceWarning, DivergenceError, EarlyStopping, Network, losses
from fastnn.backends.compiled.machinery import threads
from fastnn.backends.sharing import Sharers
from fastnn.model import storage
from fastnn.model.optimizer_state import Averaged
from fastnn.training import loop

each_backend = pytest.mark.parametrize("backend", BACKENDS)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 4))
LABELS = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)
NUMBERS = X[:, :1] * 3 + 7


def cubic(a, t):
    """Return a loss of the user's own."""
    e = a - t
    return (np.abs(e) ** 3).mean(axis=1), 3 * e * np.abs(e) / a.shape[1]


# For each kind of output: the number of outputs, arguments of the network, and targets.
KINDS = {
    "softmax": (3, {}, LABELS),
    "soft targets": (3, {}, np.eye(3)[LABELS] * 0.7 + 0.1),
    "focal": (3, {"loss": "focal"}, LABELS),
    "sigmoid": (1, {}, LABELS > 0),
    "labels": (2, {"output": "sigmoid"}, np.stack([LABELS > 0, LABELS > 1], axis=1).astype(int)),
    "identity": (1, {"output": "identity"}, NUMBERS),
    "standardised": (1, {"standardize_targets": True, "standardize_inputs": True}, NUMBERS),
    "huber": (1, {"loss": "huber"}, NUMBERS),
    "poisson": (1, {"loss": "poisson"}, np.round(np.exp(X[:, :1]))),
    "logarithms": (1, {"loss": "poisson", "output": "identity"}, np.round(np.exp(X[:, :1]))),
    "quantile": (2, {"loss": losses.Quantile((0.1, 0.5))}, NUMBERS),
    "own": (2, {"loss": cubic, "output": "identity"}, X[:, :2]),
}
each_kind = pytest.mark.parametrize("kind", KINDS)


def networks(kind="softmax", count=3, backend="numpy", **options):
    outputs, arguments, _ = KINDS[kind]
    return [
        Network([4, 6, outputs], "tanh", seed=i, backend=backend, **arguments, **options)
        for i in range(count)
    ]


def trained(kind="softmax", count=3, backend="numpy", **options):
    committee = Committee(networks(kind, count, backend, **options))
    committee.train(X, KINDS[kind][2], epochs=3, learning_rate=0.01)
    return committee


# What is predicted


@each_backend
@each_kind
def test_outputs_are_the_mean_of_those_of_the_members(kind, backend):
    committee = trained(kind, backend=backend)
    each = np.stack([net.predict_proba(X) for net in committee]).astype(float)
    mean, std = committee.predict_proba(X, return_std=True)
    assert mean.dtype == std.dtype == np.float32
    np.testing.assert_allclose(mean, each.mean(axis=0), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(std, each.std(axis=0), rtol=1e-6, atol=1e-6)
    assert (committee.predict_proba(X) == mean).all()


@each_kind
def test_both_backends_predict_the_same(kind):
    one = trained(kind)
    other = copy.deepcopy(one)
    for net in other:
        net.backend = "numba"
    np.testing.assert_allclose(one.predict_proba(X), other.predict_proba(X), rtol=1e-4, atol=1e-6)


@each_backend
@each_kind
def test_one_row_is_predicted_as_many_are(kind, backend):
    committee = trained(kind, backend=backend)
    whole = committee.predict_proba(X[:5])
    out = np.empty(whole.shape[1], np.float32)
    for row, expected in zip(X[:5], whole, strict=True):
        found = committee.predict_one(row, out)
        assert found is out
        np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-6)
        np.testing.assert_allclose(
            committee.predict_one(row.tolist()), expected, rtol=2e-6, atol=1e-6
        )


@each_backend
def test_a_row_may_be_replaced_by_its_outputs(backend):
    nets = [Network([3, 4, 3], seed=seed, backend=backend) for seed in range(3)]
    committee, row = Committee(nets), np.array([0.5, 0.1, 0.9], np.float32)
    expected = committee.predict_one(row.copy())
    assert committee.predict_one(row, out=row) is row
    assert row.tolist() == expected.tolist()


@each_backend
@each_kind
def test_a_committee_of_one_is_evaluated_as_its_member(kind, backend):
    committee = trained(kind, 1, backend)
    y, weights = KINDS[kind][2], np.linspace(0, 2, len(X))
    for sample_weight in (None, weights):
        expected = committee[0].evaluate(X, y, sample_weight)
        found = committee.evaluate(X, y, sample_weight)
        if kind == "quantile":  # which a network sorts in predictions only
            assert found.pop("loss") <= expected.pop("loss")
        assert found == pytest.approx(expected, rel=1e-5)


def test_the_loss_is_that_of_the_mean():
    committee = trained()
    p = committee.predict_proba(X).astype(float)
    expected = -np.log(p[np.arange(len(X)), LABELS]).mean()
    assert committee.evaluate(X, LABELS)["loss"] == pytest.approx(expected, rel=1e-6)


def test_probabilities_that_round_to_0_have_a_finite_loss():
    committee = trained()
    for net in committee:
        net.biases[-1][:] = [500, 0, 0]
    assert committee.predict_proba(X).min() == 0
    assert np.isfinite(committee.evaluate(X, LABELS)["loss"])


def test_classes_are_those_of_the_largest_mean():
    committee = Committee(networks())
    committee.train(X, np.array(["a", "b", "c"])[LABELS])
    prediction, std = committee.predict(X, return_std=True)
    assert committee.classes == ("a", "b", "c")
    best = committee.predict_proba(X).argmax(axis=1)
    assert (prediction == np.array(["a", "b", "c"])[best]).all()
    assert (committee.predict(X) == prediction).all()
    assert std.shape == (len(X), 3)


def test_a_threshold_says_which_labels_are_predicted():
    committee = trained("labels")
    expected = committee.predict_proba(X) > 0.3
    assert (committee.predict(X, threshold=0.3) == expected).all()
    with pytest.raises(ValueError, match="threshold needs the output 'sigmoid', not 'softmax'"):
        trained().predict(X, threshold=0.3)


def test_members_may_differ_in_their_layers():
    nets = [Network([4, 3], seed=0), Network([4, 9, 5, 3], "relu", seed=0)]
    committee = Committee(nets)
    committee.train(X, LABELS)
    both = nets[0].predict_proba(X) + nets[1].predict_proba(X)
    np.testing.assert_allclose(committee.predict_proba(X), both / 2, rtol=1e-6)


def test_columns_are_matched_by_name():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcd"))
    committee = Committee(networks())
    committee.train(frame, LABELS)
    assert committee.features == ("a", "b", "c", "d")
    assert all(net.features == committee.features for net in committee)
    assert (committee.predict(frame[list("dcba")]) == committee.predict(frame)).all()


def test_a_member_whose_outputs_overflow_is_named():
    committee = trained("identity")
    committee[1].weights[0][:] = 3e38
    committee[1].weights[1][:] = 3e38
    with pytest.raises(DivergenceError, match=r"^member 1: the outputs are no longer finite"):
        committee.predict(X)


def test_inputs_that_are_not_finite_are_refused():
    committee, bad = trained(), X.copy()
    bad[7, 2] = np.nan
    message = r"^X must be finite in float32, got nan in row 7, column 2"
    with pytest.raises(ValueError, match=message):
        committee.predict(bad)
    with pytest.raises(ValueError, match="x must be finite"):
        committee.predict_one(bad[7])


# A committee as a sequence


def test_it_is_a_sequence_of_its_members():
    nets = networks(count=4)
    committee = Committee(iter(nets))
    assert len(committee) == 4
    assert list(committee) == nets
    assert committee[1] is nets[1]
    assert committee[-1] is nets[3]
    assert isinstance(committee[1:3], Committee)
    assert list(committee[1:3]) == nets[1:3]
    with pytest.raises(IndexError):
        committee[4]
    assert repr(committee).startswith("<Committee of 4, the first: Network([4, 6, 3]")


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c))])
def test_copies_predict_the_same(copied):
    committee = trained()
    other = copied(committee)
    assert (other.predict_proba(X) == committee.predict_proba(X)).all()
    other.train(X, LABELS)
    assert (other.predict_proba(X) != committee.predict_proba(X)).any()


def test_names_are_assigned_to_all_members():
    committee = Committee(networks())
    committee.classes = iter(["a", "b", "c"])
    committee.features = iter(["p", "q", "r", "s"])
    assert {net.classes for net in committee} == {("a", "b", "c")}
    assert {net.features for net in committee} == {("p", "q", "r", "s")}
    committee.classes = None
    assert committee.classes is None


@pytest.mark.parametrize(
    ("name", "hint"),
    [("fit", "did you mean 'train'"), ("weights", r"as in committee\[0\].weights"), ("x", "'x'$")],
)
def test_an_attribute_of_something_else_is_refused_with_a_hint(name, hint):
    with pytest.raises(AttributeError, match=hint):
        getattr(Committee(networks()), name)


# Members that do not fit together


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (Network([5, 3]), "member 1 has 5 inputs, and member 0 4 inputs; all members need the sam"),
        (Network([4, 1], output="identity"), "member 1 has 1 output, and member 0 3 outputs"),
        (Network([4, 3], output="sigmoid"), "has the output 'sigmoid', and member 0 the output"),
        (Network([4, 3], loss="focal"), r"has the loss Focal.gamma=2.0., and member 0 the loss"),
        (Network([4, 3], loss=cubic), "has the loss 'cubic', a function, and member 0 the loss"),
        (Network([4, 3], dtype="float64"), "has the dtype 'float64', and member 0 the dtype"),
    ],
)
def test_a_member_that_does_not_fit_is_refused_by_name(other, message):
    with pytest.raises(ValueError, match=message):
        Committee([Network([4, 3]), other])


def test_levels_of_quantiles_must_agree():
    nets = [Network([4, 2], loss=losses.Quantile(levels)) for levels in ((0.1, 0.5), (0.1, 0.9))]
    with pytest.raises(ValueError, match=r"member 1 has the loss Quantile.levels=.0.1, 0.9"):
        Committee(nets)


@pytest.mark.parametrize("name", ["classes", "features"])
def test_names_that_were_learnt_must_agree(name):
    one, other = networks(count=2)
    for net in (one, other):
        net.train(X, LABELS, epochs=1)
    values = ["a", "b", "c"] if name == "classes" else ["p", "q", "r", "s"]
    setattr(one, name, values)
    with pytest.raises(
        ValueError, match=f"member 1 has the {name} None, and member 0 .'{values[0]}"
    ):
        Committee([one, other])
    setattr(other, name, values[::-1])
    with pytest.raises(
        ValueError, match=f"all members need the same: assign them, as in net.{name}"
    ):
        Committee([one, other])
    setattr(other, name, values)
    assert len(Committee([one, other])) == 2


def test_members_trained_on_pixels_and_on_other_numbers_are_refused():
    one, other = networks(count=2)
    one.train((X * 20 + 128).astype(np.uint8), LABELS, epochs=1)
    assert len(Committee([one, other])) == 2  # which is not trained yet
    other.train(X, LABELS, epochs=1)
    with pytest.raises(ValueError, match=r"member 0 was trained on uint8, .* member 1 on other"):
        Committee([one, other])


def test_members_that_no_longer_fit_are_refused_where_they_are_used():
    committee = trained()
    committee[2].classes = ["a", "b", "c"]
    for use in (
        lambda: committee.predict(X),
        lambda: committee.evaluate(X, LABELS),
        lambda: committee.train(X, LABELS),
        lambda: committee.save("never.safetensors"),
    ):
        with pytest.raises(ValueError, match="member 2 has the classes"):
            use()


def test_what_are_no_members_is_refused():
    with pytest.raises(TypeError, match="members must be a list of networks, got Network"):
        Committee(Network([4, 3]))
    with pytest.raises(TypeError, match="members must be a list of networks, got int"):
        Committee(5)
    with pytest.raises(ValueError, match="members must hold at least one network"):
        Committee([])
    with pytest.raises(TypeError, match=r"member 1 must be a fastnn.Network, got 'net'"):
        Committee([Network([4, 3]), "net"])
    net = Network([4, 3])
    with pytest.raises(ValueError, match="member 2 is the same network as member 0"):
        Committee([net, Network([4, 3]), net])


# Training side by side


SETTINGS = {
    "plain": {"epochs": 3},
    "validation": {
        "epochs": 6, "validation": 0.2, "early_stopping": EarlyStopping(patience=1),
        "learning_rate": 1.0,
    },
    "data to evaluate": {"epochs": 3, "validation": (X[:20], LABELS[:20], np.arange(20.0))},
    "dropout": {"epochs": 3, "dropout": 0.3, "optimizer": "adam", "schedule": "plateau"},
    "weights": {
        "epochs": 2, "class_weight": "balanced", "sample_weight": np.linspace(0, 1, 90),
        "batch_size": 7, "frozen": iter([0]), "training_metrics": True,
    },
    "moving average": {"epochs": 3, "average": 0.9, "validation": 0.2, "optimizer": "adam"},
    "average of epochs": {
        "epochs": 4, "average": fastnn.averaging.SWA(2), "validation": 0.2,
        "early_stopping": EarlyStopping(patience=1),
    },
    "augmentation": {
        "epochs": 3, "dropout": 0.3,
        "augment": [fastnn.augment.Noise(0.1), fastnn.augment.Mixup(0.3)],
    },
}  # fmt: skip


@each_backend
@pytest.mark.parametrize("name", SETTINGS)
def test_a_member_becomes_what_it_would_become_alone(name, backend):
    settings = {**SETTINGS[name]}
    if "frozen" in settings:
        settings["frozen"] = iter([0])
    committee = Committee(networks(backend=backend, standardize_inputs=True))
    histories = committee.train(X, LABELS, **settings)
    if "frozen" in settings:
        settings["frozen"] = [0]
    timeless = ("seconds", "samples_per_second")
    for net, member, history in zip(
        networks(backend=backend, standardize_inputs=True), committee, histories, strict=True
    ):
        alone = net.train(X, LABELS, **settings)
        assert member.parameters.tobytes() == net.parameters.tobytes()
        assert history.best_epoch == alone.best_epoch
        assert history.stopped == alone.stopped
        assert history.columns == alone.columns
        for column in set(alone.columns) - set(timeless):
            assert history[column] == alone[column]


@each_backend
@each_kind
def test_members_of_every_kind_train_as_alone(kind, backend):
    committee = trained(kind, 2, backend)
    for net, member in zip(networks(kind, 2, backend), committee, strict=True):
        net.train(X, KINDS[kind][2], epochs=3, learning_rate=0.01)
        assert member.parameters.tobytes() == net.parameters.tobytes()


@each_backend
def test_sparse_rows_train_as_alone(backend):
    sparse = pytest.importorskip("scipy.sparse")
    rows = sparse.csr_array(np.where(X > 0.5, X, 0))
    committee = Committee(networks(backend=backend))
    committee.train(rows, LABELS, epochs=2)
    for net, member in zip(networks(backend=backend), committee, strict=True):
        net.train(rows, LABELS, epochs=2)
        assert member.parameters.tobytes() == net.parameters.tobytes()
    committee.predict(rows)
    assert committee.evaluate(rows, LABELS)["accuracy"] > 0
    standardised = Committee([Network([4, 3]), Network([4, 3], standardize_inputs=True)])
    with pytest.raises(ValueError, match=r"^member 1: X is sparse"):
        standardised.train(rows, LABELS)


def test_columns_in_memory_train_as_alone():
    columns = np.asfortranarray(X)
    committee = Committee(networks(backend="numba"))
    committee.train(columns, LABELS, epochs=2)
    for net, member in zip(networks(backend="numba"), committee, strict=True):
        net.train(columns, LABELS, epochs=2)
        assert member.parameters.tobytes() == net.parameters.tobytes()


def test_training_goes_on_from_where_it_was():
    committee = Committee(networks())
    for _ in range(2):
        committee.train(X, LABELS, epochs=2, optimizer="adam")
    for net, member in zip(networks(), committee, strict=True):
        for _ in range(2):
            net.train(X, LABELS, epochs=2, optimizer="adam")
        assert member.parameters.tobytes() == net.parameters.tobytes()
        assert member.epochs_trained == 4


def test_augmentations_may_be_an_iterator():
    committees = [Committee(networks()) for _ in range(2)]
    augment = [fastnn.augment.Noise(0.1)]
    for committee, how in zip(committees, (augment, iter(augment)), strict=True):
        committee.train(X, LABELS, epochs=2, augment=how)
    for one, two in zip(*committees, strict=True):
        assert one.parameters.tobytes() == two.parameters.tobytes()


def test_augmentation_of_sparse_rows_is_refused_before_anything_is_trained():
    sparse = pytest.importorskip("scipy.sparse")
    committee = Committee(networks())
    with pytest.raises(ValueError, match="member 0: augment needs dense rows"):
        committee.train(sparse.csr_array(X), LABELS, augment=fastnn.augment.Noise(0.1))
    assert not committee[0].epochs_trained


def test_members_train_at_the_same_time():
    # Each waits in its callback's first call until the other has come as far in its own run.
    seen = threading.Barrier(3, timeout=60)
    nets = networks()

    def wait_for_the_others(t):
        if t == 0:
            seen.wait()
        return 1.0

    Committee(nets).train(X, LABELS, epochs=1, batch_size=90, schedule=wait_for_the_others)
    assert not seen.broken


def test_callbacks_are_told_the_member_and_run_one_at_a_time():
    rows, at_once, most = [], [], []

    def callback(row):
        at_once.append(1)
        most.append(len(at_once))
        time.sleep(0.001)
        at_once.pop()
        rows.append(row)

    Committee(networks()).train(X, LABELS, epochs=4, callbacks=iter([callback]))
    assert max(most) == 1
    for member in range(3):
        assert [row["epoch"] for row in rows if row["member"] == member] == [1, 2, 3, 4]


def test_a_callback_that_returns_stop_ends_the_training_of_its_member():
    def callback(row):
        return "stop" if row["member"] == 1 and row["epoch"] == 2 else None

    histories = Committee(networks()).train(X, LABELS, epochs=4, callbacks=[callback])
    assert [len(history) for history in histories] == [4, 2, 4]
    assert histories[1].stopped == "a callback"


def test_an_error_in_a_member_ends_the_others_and_comes_out_as_itself():
    raised = ZeroDivisionError("in a callback")

    def callback(row):
        if row["member"] == 1 and row["epoch"] == 2:
            raise raised

    committee = Committee(networks())
    with pytest.raises(ZeroDivisionError, match=r"^member 1: in a callback$") as found:
        committee.train(X, LABELS, epochs=10**4, callbacks=[callback])
    assert found.value is raised
    assert committee[1].epochs_trained == 2
    assert loop._trained == {}


@each_backend
def test_divergence_names_the_member(backend):
    committee = Committee(networks("identity", backend=backend))
    committee[2].weights[0][:] = 1e30
    committee[2].weights[1][:] = 1e30
    before = committee[2].parameters.copy()
    with pytest.raises(DivergenceError, match=r"^member 2: .*epoch 1"):
        committee.train(X, NUMBERS, epochs=10**4)
    assert (committee[2].parameters == before).all()
    assert all(np.isfinite(net.parameters).all() for net in committee)


def test_after_an_error_a_committee_can_be_trained_again():
    committee = Committee(networks())
    committee[1].weights[1][:] = 3e38
    names = np.array(["a", "b", "c"])[LABELS]
    with pytest.raises(DivergenceError, match=r"^member 1: "):
        committee.train(X, names, epochs=10**4)
    committee[1].weights[1][:] = 0
    committee.train(X, names, epochs=1)
    assert {net.classes for net in committee} == {("a", "b", "c")}


def test_a_network_of_no_use_is_named_in_the_warning():
    nets = [Network([4, 6, 3], "relu", seed=i) for i in range(2)]
    nets[1].biases[0][:] = -1000
    with pytest.warns(ConvergenceWarning, match=r"^member 1: the trained network is of no use"):
        histories = Committee(nets).train(X, LABELS, epochs=10)
    assert histories[0].warning == ""
    assert histories[1].warning


def test_warnings_about_the_data_come_once():
    ones = (X > 0).astype(np.uint8)
    with pytest.warns(UserWarning, match="holds only 0 and 1") as found:
        Committee(networks()).train(ones, LABELS, epochs=1)
    assert len(found) == 1


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        (
            {"epoch": 3},
            TypeError,
            r"^Committee.train\(\) has no argument 'epoch'; did you mea",
        ),
        ({"lr": 3}, TypeError, "did you mean 'learning_rate'"),
        ({"batch_size": 0}, ValueError, "^batch_size must be at least 1"),
        ({"callbacks": 3}, TypeError, "^callbacks must be a list of functions"),
        ({"frozen": 3}, TypeError, "^frozen must be a list"),
        ({"early_stopping": True}, ValueError, "^member 0: early_stopping on 'validation_loss'"),
        ({"dropout": [0.1, 0.1]}, ValueError, "^member 1: dropout must be one rate"),
        ({"checkpoint": 3.5}, TypeError, "^checkpoint must be a path"),
        ({"resume": True}, ValueError, "^resume needs a checkpoint"),
    ],
)
def test_settings_are_checked_before_anything_is_trained(settings, error, message):
    nets = [Network([4, 5, 3], seed=0), Network([4, 5, 5, 3], seed=0)]
    before = [net.parameters.copy() for net in nets]
    with pytest.raises(error, match=message):
        Committee(nets).train(X, LABELS, **settings)
    assert all((net.parameters == old).all() for net, old in zip(nets, before, strict=True))


def test_a_member_that_is_being_trained_is_refused():
    nets = networks()
    other = Committee(networks()[:2] + nets[2:])
    refused = []

    def callback(row):
        if row["epoch"] == 1:
            with pytest.raises(RuntimeError, match=r"^member 2: Network.* already being trained"):
                other.train(X, LABELS)
            refused.append(other[0].epochs_trained)

    nets[2].train(X, LABELS, epochs=2, callbacks=[callback])
    assert refused == [0]


def test_names_that_differ_from_those_in_y_are_refused():
    one, other = networks(count=2)
    one.classes = ["x", "y", "z"]
    committee = Committee([other, one])
    message = r"^member 1: its classes are .'x', 'y', 'z'., and for member 0 None.*committee.classe"
    with pytest.raises(ValueError, match=message):
        committee.train(X, LABELS)
    committee.classes = one.classes
    committee.train(X, LABELS)


def test_the_limit_of_time_is_one_for_all():
    histories = Committee(networks()).train(X, LABELS, epochs=10**7, max_seconds=0.05)
    assert {history.stopped for history in histories} == {"max_seconds"}


def test_a_progress_bar_counts_the_rows_of_all(capsys):
    Committee(networks()).train(X, LABELS, epochs=2, progress=True)
    assert "3 networks" in capsys.readouterr().err


@pytest.mark.skipif(np.lib.NumpyVersion(np.__version__) < "2.0.0", reason="it is of the thread")
def test_how_numpy_treats_errors_is_that_of_the_caller():
    seen = []
    with np.errstate(under="raise"):
        Committee(networks()).train(
            X, LABELS, epochs=1, callbacks=[lambda row: seen.append(np.geterr()["under"])]
        )
    assert seen == ["raise"] * 3


def test_threads_that_compute_side_by_side_share_the_cpus(monkeypatch):
    monkeypatch.setattr(threads, "available", lambda: 8)
    monkeypatch.setattr(threads.numba.config, "NUMBA_NUM_THREADS", 8)
    sharers = Sharers(3)
    assert threads.most() == 8
    with sharers.one():
        assert threads.most() == 2
        worth = 100 * threads.WORTH_A_THREAD
        assert threads.choose(None, worth) == 2
        assert threads.choose(5, worth) == 5  # what a network asks for it gets
    assert threads.most() == 8
    with sharers.one():  # one has ended
        assert threads.most() == 4
    with Sharers(20).one():
        assert threads.most() == 1


# Interrupts and checkpoints


def interrupting(after):
    """Return a callback that does what Ctrl-C does, in some epoch of the second member."""

    def callback(row):
        if row["member"] == 1 and row["epoch"] == after:
            _thread.interrupt_main()

    return callback


@each_backend
@pytest.mark.parametrize("average", [None, 0.9])
def test_ctrl_c_ends_all_after_complete_steps_and_resuming_gives_the_same(
    tmp_path, backend, average
):
    settings = {
        "epochs": 200, "optimizer": "adam", "average": average,
        "checkpoint": tmp_path / "run.safetensors", "checkpoint_every": 2,
    }  # fmt: skip
    committee = Committee(networks(backend=backend))
    with pytest.raises(KeyboardInterrupt):
        committee.train(X, LABELS, **settings, callbacks=[interrupting(3)])
    assert committee[1].epochs_trained < 200
    assert loop._trained == {}
    for i, net in enumerate(committee):
        assert net.epochs_trained < 200 or i != 1
        file = fastnn.load(tmp_path / f"run-{i}.safetensors")
        assert file.parameters.tobytes() == net.parameters.tobytes()
    again = Committee(networks(backend=backend))
    histories = again.train(X, LABELS, **settings, resume=True)
    assert [len(history) for history in histories] == [200] * 3
    for net, member in zip(networks(backend=backend), again, strict=True):
        net.train(X, LABELS, epochs=200, optimizer="adam", average=average)
        assert member.parameters.tobytes() == net.parameters.tobytes()


def test_ctrl_c_before_the_first_step_changes_nothing(monkeypatch):
    committee = Committee(networks())

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(loop.backends.get("numpy"), "prepare", interrupt)
    with pytest.raises(KeyboardInterrupt):
        committee.train(X, np.array(["a", "b", "c"])[LABELS])
    for net, fresh in zip(committee, networks(), strict=True):
        assert net.parameters.tobytes() == fresh.parameters.tobytes()
        assert net.classes is None
    assert loop._trained == {}


def test_a_second_ctrl_c_waits_for_all_to_end_too():
    def callback(row):
        if row["epoch"] == 2:
            _thread.interrupt_main()
            time.sleep(0.2)
            _thread.interrupt_main()
            time.sleep(0.2)

    committee = Committee(networks())
    with pytest.raises(KeyboardInterrupt):
        committee.train(X, LABELS, epochs=10**4, callbacks=[callback])
    left = [net.parameters.copy() for net in committee]
    time.sleep(0.3)
    assert all((net.parameters == old).all() for net, old in zip(committee, left, strict=True))
    assert loop._trained == {}


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM to catch")
def test_sigterm_writes_the_checkpoints_of_all_members(tmp_path):
    code = """
import os, signal, sys
import numpy as np
import fastnn
def callback(row):
    if row["member"] == 1 and row["epoch"] == 2:
        os.kill(os.getpid(), signal.SIGTERM)
nets = [fastnn.Network([4, 6, 3], seed=i, backend="numpy") for i in range(3)]
X = np.random.default_rng(0).normal(size=(90, 4))
fastnn.Committee(nets).train(
    X, (X[:, 0] > 0).astype(int), epochs=10**7, checkpoint="run", callbacks=[callback],
    checkpoint_every=10**6,
)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, timeout=300)
    assert done.returncode == 143, done.stderr
    assert sorted(os.listdir(tmp_path)) == ["run-0", "run-1", "run-2"]
    assert fastnn.load(tmp_path / "run-1").epochs_trained >= 2


def test_a_handler_of_sigterm_is_as_it_was():
    before = signal.getsignal(signal.SIGTERM)
    Committee(networks()).train(X, LABELS, epochs=1)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_checkpoint_of_another_run_is_refused_by_its_name(tmp_path):
    path = tmp_path / "run.safetensors"
    Committee(networks()).train(X, LABELS, epochs=1, checkpoint=path)
    with pytest.raises(ValueError, match=r"^member \d: .*run-\d.*is a checkpoint of another run"):
        Committee(networks()).train(X, LABELS, epochs=2, checkpoint=path, resume=True)


# Files


@pytest.fixture
def saved(tmp_path):
    """Return a path and the committee in that file."""
    committee = Committee(networks(standardize_inputs=True))
    committee.train(X, np.array(["a", "b", "c"])[LABELS], epochs=2, optimizer="adam")
    path = tmp_path / "committee.safetensors"
    committee.save(path)
    return path, committee


@each_backend
def test_a_loaded_committee_is_the_same(saved, backend):
    path, committee = saved
    loaded = fastnn.load(path, backend=backend, threads=1)
    assert isinstance(loaded, Committee)
    assert loaded.classes == ("a", "b", "c")
    for net, other in zip(committee, loaded, strict=True):
        assert (net.parameters == other.parameters).all()
        assert (other.backend, other.threads) == (backend, 1)
        assert (net.seed, net.epochs_trained) == (other.seed, other.epochs_trained)
    if backend == "numpy":
        assert (loaded.predict_proba(X) == committee.predict_proba(X)).all()


@pytest.mark.parametrize("optimizer", [True, False])
def test_training_goes_on_with_the_state_of_the_optimizer(saved, optimizer):
    path, committee = saved
    committee.save(path, optimizer=optimizer)
    loaded = fastnn.load(path, backend="numpy")
    names = np.array(["a", "b", "c"])[LABELS]
    for each in (committee, loaded):
        each.train(X, names, epochs=2, optimizer="adam")
    same = [(a.parameters == b.parameters).all() for a, b in zip(committee, loaded, strict=True)]
    assert same == [optimizer] * 3


def test_a_committee_saved_within_a_run_is_loaded_with_the_averages(tmp_path):
    committee = trained(count=2)
    for net in committee:
        net.train(X, LABELS, optimizer="adam", epochs=1)
        average = Averaged(net.model.parameters)
        average.parameters.vector *= 2
        average.moments = 1
        net.model.optimizer_state.average = average
    committee.save(tmp_path / "c.safetensors")
    for net, again in zip(committee, fastnn.load(tmp_path / "c.safetensors"), strict=True):
        assert (again.parameters == 2 * net.parameters).all()
        assert again.model.optimizer_state.average is None


def test_a_loss_of_ones_own_is_passed_again(tmp_path):
    trained("own").save(tmp_path / "own")
    with pytest.raises(ValueError, match=r"member 0 of .*its loss is a function"):
        fastnn.load(tmp_path / "own")
    assert fastnn.load(tmp_path / "own", loss=cubic)[2].architecture.loss is cubic


def damage(path, change):
    """Write a file anew after changing its tensors and metadata."""
    tensors, metadata = storage.read(path)
    change(tensors, metadata)
    storage.write(path, tensors, metadata)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, m: m.update(members=3), "holds no list of members"),
        (lambda t, m: m.update(members=[]), "holds no list of members"),
        (lambda t, m: m["members"].__setitem__(1, 3), "holds no settings of member 1"),
        (lambda t, m: m["members"].__setitem__(1, {}), "member 1 of .* no settings of a network"),
        (
            lambda t, m: m["members"].append(m["members"][0]),
            "member 3 of .* lacks layers.0",
        ),
        (lambda t, m: t.pop("members.2.layers.1.biases"), "member 2 of .* lacks layers.1.biases"),
        (
            lambda t, m: t.update({"members.1.layers.0.weights": np.zeros((3, 3), np.float32)}),
            "member 1 of .*: layers.0.weights is float32 of shape",
        ),
        (
            lambda t, m: t["members.1.layers.0.weights"].fill(np.nan),
            "member 1 of .*: layers.0.weights holds NaN",
        ),
        (
            lambda t, m: m["members"][1]["network"].update(classes=["a", "b", "d"]),
            "does not describe a committee: member 1 has the classes",
        ),
        (
            lambda t, m: m["members"][1]["network"].update(loss="focal"),
            "member 1 of .*does not describe a network|committee: member 1 has the loss",
        ),
        (
            lambda t, m: m["members"][1]["optimizer"].update(kind="x"),
            "member 1 of .*does not describe an optimizer",
        ),
    ],
)
def test_a_damaged_file_is_refused(saved, change, message):
    path, _ = saved
    damage(path, change)
    with pytest.raises(ValueError, match=message) as found:
        fastnn.load(path)
    assert repr(str(path)) in str(found.value)


def test_other_libraries_read_the_weights(saved):
    from safetensors import safe_open

    path, committee = saved
    with safe_open(path, "numpy") as file:
        members = json.loads(file.metadata()["members"])
        weights = file.get_tensor("members.2.layers.0.weights")
    assert [each["network"]["seed"] for each in members] == [0, 1, 2]
    assert (weights == committee[2].weights[0]).all()
