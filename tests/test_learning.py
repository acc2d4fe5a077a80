"""Learning from rows as they come: `Network.learn_one` and `learn_few`."""

from __future__ import annotations

import copy
import pickle
import threading

import numpy as np
import pytest

from fastnn import DivergenceError, Network
from fastnn.optimizers import OPTIMIZERS, SGD, Adam, AdamW
from fastnn.training.loop import alone

BACKENDS = ("numba", "numpy")
each_backend = pytest.mark.parametrize("backend", BACKENDS)
each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


def network(backend="numba", sizes=(6, 20, 3), **options):
    return Network(list(sizes), seed=2, backend=backend, **options)


def rows(count=12, columns=6, dtype="float32", seed=0):
    return np.random.default_rng(seed).normal(size=(count, columns)).astype(dtype)


def state_of(net):
    state = net.model.optimizer_state
    return net.parameters.tobytes(), state and (
        state.steps,
        [s.vector.tobytes() for s in state.slots],
    )


@each_backend
@each_dtype
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_steps_are_those_of_training_in_batches_of_one(optimizer, dtype, backend):
    X, y = rows(dtype=dtype), np.arange(12) % 3
    net, other = (network(backend, dtype=dtype) for _ in range(2))
    losses = [net.learn_one(x, label, 0.01, optimizer) for x, label in zip(X, y, strict=True)]
    history = other.train(
        X, y, epochs=1, batch_size=1, learning_rate=0.01, shuffle=False, schedule="constant",
        optimizer=optimizer,
    )  # fmt: skip
    close = {"rtol": 1e-6 if dtype == "float32" else 1e-13, "atol": 1e-9}
    np.testing.assert_allclose(net.parameters, other.parameters, **close)
    assert np.mean(losses) == pytest.approx(history["loss"][0], rel=1e-5)
    assert net.model.optimizer_state.steps == other.model.optimizer_state.steps == 12


@each_backend
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_few_rows_are_a_step_of_training_in_one_batch(optimizer, backend):
    X, y = rows(), np.arange(12) % 3
    net, other = (network(backend) for _ in range(2))
    loss = net.learn_few(X, y, 0.01, optimizer)
    history = other.train(
        X, y, epochs=1, batch_size=12, learning_rate=0.01, shuffle=False, optimizer=optimizer
    )
    assert net.parameters.tobytes() == other.parameters.tobytes()
    assert loss == pytest.approx(history["loss"][0])


@each_backend
def test_both_backends_learn_the_same(backend):
    X, y = rows(), np.arange(12) % 3
    nets = network(), network("numpy")
    for net in nets:
        for x, label in zip(X, y, strict=True):
            net.learn_one(x, label, 0.01)
    np.testing.assert_allclose(nets[0].parameters, nets[1].parameters, rtol=0, atol=1e-5)


@each_backend
def test_the_loss_is_that_of_the_row_before_the_step(backend):
    net, x = network(backend), rows(1)
    before = net.evaluate(x, [2])["loss"]
    assert net.learn_one(x[0], 2) == pytest.approx(before, rel=1e-6)
    assert net.evaluate(x, [2])["loss"] < before


@each_backend
@pytest.mark.parametrize("kind", ["float64", "list", "strided", "read-only", "mapping"])
def test_any_row_of_numbers_is_read(kind, backend):
    nets = network(backend), network(backend)
    for net in nets:
        net.features = list("abcdef")
    x = np.round(rows(1)[0])
    wide = np.zeros(12, np.float32)
    wide[::2] = x
    fixed = x.copy()
    fixed.flags.writeable = False
    other = {
        "float64": x.astype(np.float64), "list": x.tolist(), "strided": wide[::2],
        "read-only": fixed, "mapping": dict(zip("abcdef", x.tolist(), strict=True)),
    }[kind]  # fmt: skip
    assert nets[0].learn_one(x, 1) == nets[1].learn_one(other, 1)
    assert nets[0].parameters.tobytes() == nets[1].parameters.tobytes()


@each_backend
@pytest.mark.parametrize(
    ("classes", "y", "place"),
    [
        (["no", "yes", "maybe"], "yes", 1),
        (["no", "yes", "maybe"], 1, 1),
        ([30, 10, 20], 10, 1),
        (None, np.int64(1), 1),
        (None, 1.0, 1),
        (None, [0.0, 1.0, 0.0], 1),
    ],
)
def test_a_label_is_a_class_its_position_or_a_row_of_targets(classes, y, place, backend):
    net, other = network(backend), network(backend)
    net.classes = classes
    x = rows(1)[0]
    assert net.learn_one(x, y) == pytest.approx(other.learn_one(x, place), rel=1e-6)
    np.testing.assert_allclose(net.parameters, other.parameters, atol=1e-7)


@each_backend
@pytest.mark.parametrize("y", [0.25, np.float32(0.25), [0.25], np.array([0.25])])
def test_a_number_is_the_target_of_one_output(y, backend):
    net, other = (network(backend, (6, 5, 1), output="identity") for _ in range(2))
    x = rows(1)[0]
    assert net.learn_one(x, y) == other.learn_few(x[None], [0.25])


@each_backend
@pytest.mark.parametrize("kind", ["float32", "float64", "list"])
def test_an_array_is_the_target_of_several_outputs(kind, backend):
    net, other = (network(backend, (6, 5, 2), output="identity") for _ in range(2))
    x, y = rows(1)[0], np.array([0.25, -3.0])
    given = y.tolist() if kind == "list" else y.astype(kind)
    assert net.learn_one(x, given) == pytest.approx(other.learn_few(x[None], y[None]), rel=1e-6)


@each_backend
def test_scalers_that_were_learnt_are_used(backend):
    options = {"output": "identity", "standardize_inputs": True, "standardize_targets": True}
    nets = [network(backend, (6, 5, 1), **options) for _ in range(2)]
    X, y = rows() * 50 + 9, rows(12, 1, seed=1) * 20 + 5
    for net in nets:
        net.train(X, y, epochs=1, optimizer="adam")
    one = nets[0].learn_one(X[0], float(y[0, 0]), 0.01)
    few = nets[1].learn_few(X[:1], y[:1], 0.01)
    assert one == pytest.approx(few, rel=1e-4)
    np.testing.assert_allclose(nets[0].parameters, nets[1].parameters, atol=1e-5)


@each_backend
@pytest.mark.parametrize("what", ["inputs", "targets"])
def test_scalers_that_were_not_learnt_are_asked_for(what, backend):
    net = network(backend, (6, 5, 1), output="identity", **{f"standardize_{what}": True})
    for call in (lambda: net.learn_one(rows(1)[0], 0.5), lambda: net.learn_few(rows(1), [0.5])):
        with pytest.raises(ValueError, match=f"standardises its {what}.*call train first"):
            call()


@each_backend
def test_it_goes_on_with_the_state_of_training_and_leaves_it_to_training(backend):
    net = network(backend)
    net.train(rows(), np.arange(12) % 3, epochs=1, batch_size=4, optimizer="adam")
    state = net.model.optimizer_state
    net.learn_one(rows(1)[0], 0)
    net.learn_few(rows(2), [0, 1])
    net.train(rows(), np.arange(12) % 3, epochs=1, batch_size=4, optimizer=Adam(beta1=0.8))
    assert net.model.optimizer_state is state
    assert state.steps == 3 + 1 + 1 + 3
    assert net.epochs_trained == 2


@each_backend
def test_an_optimizer_of_another_kind_starts_anew(backend):
    net, x = network(backend), rows(1)[0]
    net.learn_one(x, 0)
    net.learn_one(x, 0, 0.1, SGD())
    assert net.model.optimizer_state.steps == 1
    net.learn_one(x, 0, 0.1, SGD(momentum=0.9))
    assert len(net.model.optimizer_state.slots) == 1


def test_another_object_of_the_same_kind_has_its_own_numbers():
    net, other, x = network(), network(), rows(1)[0]
    net.learn_one(x, 0, 0.1, SGD(momentum=0.9))
    net.learn_one(x, 0, 0.1, SGD(momentum=0.5))
    for momentum in (0.9, 0.5):
        other.learn_few(x[None], [0], 0.1, SGD(momentum=momentum))
    np.testing.assert_allclose(net.parameters, other.parameters, atol=1e-6)


@each_backend
@pytest.mark.parametrize(
    ("x", "y", "options", "message"),
    [
        (np.ones(5), 0, {}, r"x must have shape \(6,\)"),
        (np.full(6, np.nan), 0, {}, "x must be finite"),
        (np.full(6, np.inf, np.float32), 0, {}, "x must be finite"),
        (np.ones(6), 3, {}, "labels from 0 to 2"),
        (np.ones(6), -1, {}, "labels from 0 to 2"),
        (np.ones(6), np.nan, {}, "y must be finite"),
        (np.ones(6), [0.5, 0.5], {}, r"y must have shape"),
        (np.ones(6), 0, {"learning_rate": 0.0}, "learning_rate"),
        (np.ones(6), 0, {"learning_rate": -1}, "learning_rate"),
        (np.ones(6), 0, {"learning_rate": np.nan}, "learning_rate"),
        (np.ones(6), 0, {"optimizer": "adm"}, "optimizer"),
    ],
)
def test_bad_arguments_are_refused_and_change_nothing(x, y, options, message, backend):
    net = network(backend)
    net.learn_one(np.ones(6), 0)
    before = state_of(net)
    with pytest.raises(ValueError, match=message):
        net.learn_one(x, y, **options)
    with pytest.raises(ValueError, match=message.replace("x must", "X must").replace("6,", ".*6")):
        net.learn_few(x[None], np.reshape(y, (1, -1) if np.ndim(y) else 1), **options)
    assert state_of(net) == before


@each_backend
def test_text_is_refused_where_there_are_no_classes(backend):
    with pytest.raises(TypeError, match="the network has no classes"):
        network(backend).learn_one(np.ones(6), "yes")


@each_backend
@pytest.mark.parametrize("y", [-0.5, 1.5])
def test_targets_that_the_output_cannot_reach_are_refused(y, backend):
    with pytest.raises(ValueError, match="from 0 to 1"):
        network(backend, (6, 5, 1)).learn_one(np.ones(6), y)


@each_backend
@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "rmsprop", "adam"])
def test_a_step_that_does_not_stay_finite_is_taken_back(optimizer, backend):
    net = network(backend, (6, 20, 1), output="identity", activation="identity")
    net.learn_one(np.ones(6), 1.0, 1e-3, optimizer)
    for x, y, rate in (
        (np.full(6, 1e30), 1.0, 0.001),  # the loss
        (np.full(6, 1e10), 1e15, 1e30),  # parameters, or the squares of gradients
    ):
        before = state_of(net)
        with pytest.raises(DivergenceError, match="the network is as it was before the step"):
            net.learn_one(x, y, rate, optimizer)
        assert state_of(net) == before
    assert np.isfinite(net.learn_one(np.ones(6), 1.0, 1e-3, optimizer))


@each_backend
def test_a_state_that_others_left_near_the_limit_is_seen(backend):
    net = network(backend)
    net.learn_one(np.ones(6), 0, 0.1, "momentum")
    net.model.optimizer_state.slots[0].vector[0] = 3e38
    net.model.optimizer_state.steps += 1
    before = state_of(net)
    with pytest.raises(DivergenceError):
        net.learn_one(np.ones(6), 0, 10.0, "momentum")
    assert state_of(net) == before


@each_backend
def test_large_gradients_that_stay_finite_are_taken(backend):
    nets = [network(backend, (6, 1), output="identity") for _ in range(2)]
    assert nets[0].learn_one(np.full(6, 1e9), 0.0, 1e-30, "adam") > 1e12
    nets[1].learn_few(np.full((1, 6), 1e9), [0.0], 1e-30, "adam")
    assert nets[0].parameters.tobytes() == nets[1].parameters.tobytes()


def test_weights_that_would_grow_by_decay_are_watched():
    net = network()
    net.weights[0][0, 0] = 3e38
    x = np.ones(6, np.float32)
    x[0] = 0
    with pytest.raises(DivergenceError):
        net.learn_one(x, 0, 100.0, AdamW(weight_decay=1.0))
    assert net.weights[0][0, 0] == np.float32(3e38)


@each_backend
def test_a_network_that_is_being_trained_is_refused(backend):
    net = network(backend)
    with alone(net.model):
        for call in (
            lambda: net.learn_one(np.ones(6), 0),
            lambda: net.learn_few(np.ones((1, 6)), [0]),
        ):
            with pytest.raises(RuntimeError, match="already being trained"):
                call()
    net.learn_one(np.ones(6), 0)


def test_several_threads_may_learn_with_networks_of_their_own():
    nets = [network() for _ in range(3)]

    def learn(net):
        for x in rows(50):
            net.learn_one(x, 1)

    workers = [threading.Thread(target=learn, args=(net,)) for net in nets]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len({net.parameters.tobytes() for net in nets}) == 1


@each_backend
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_copies_learn_on_their_own(copied, backend):
    net = network(backend)
    net.learn_one(np.ones(6), 0)
    other = copied(net)
    before = net.parameters.tobytes()
    other.learn_one(np.ones(6), 0)
    assert net.parameters.tobytes() == before
    net.learn_one(np.ones(6), 0)
    assert net.parameters.tobytes() == other.parameters.tobytes()


@each_backend
def test_a_loss_of_ones_own_is_learnt(backend):
    def squares(a, t):
        return ((a - t) ** 2).mean(axis=1), 2 * (a - t) / a.shape[1]

    net = network(backend, (6, 5, 1), output="identity", loss=squares)
    other = network(backend, (6, 5, 1), output="identity")
    assert net.learn_one(np.ones(6), 0.5) == pytest.approx(other.learn_one(np.ones(6), 0.5))


@each_backend
def test_classes_and_features_that_are_assigned_later_count(backend):
    net = network(backend)
    net.learn_one(np.ones(6), 1)
    net.classes = [5, 6, 7]
    with pytest.raises(ValueError, match="is no class"):
        net.learn_one(np.ones(6), 1)
    net.learn_one(np.ones(6), 6)


@each_backend
def test_bytes_are_scaled_as_pixels(backend):
    net, other = network(backend), network(backend)
    pixels = np.arange(6).astype(np.uint8)
    assert net.learn_one(pixels, 1) == pytest.approx(other.learn_few(pixels[None], [1]), rel=1e-6)


@pytest.mark.parametrize("name", ["learn_one", "learn_few"])
def test_a_wrong_keyword_says_what_is_meant(name):
    net = Network([2, 3, 2], seed=0)
    with pytest.raises(TypeError, match=rf"^Network\.{name}\(\) has no .*'learning_rate'"):
        getattr(net, name)([[0.0, 1.0]], [1], lr=0.1)
