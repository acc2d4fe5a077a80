"""Averages of the parameters in training: what is evaluated and left is the average."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cases import BACKENDS, DTYPES, Case, make_data, make_network
from test_rate_factors import RULES, interrupt

import fastnn
from fastnn.averaging import EMA, SWA
from fastnn.optimizers import OPTIMIZERS

each_backend = pytest.mark.parametrize("backend", BACKENDS)
each_dtype = pytest.mark.parametrize("dtype", DTYPES)
each_optimizer = pytest.mark.parametrize("name", OPTIMIZERS)
CASE = Case((21, 19, 18, 3), "tanh", batch=11)
AVERAGES = {"ema": 0.9, "swa": SWA(2)}
each_average = pytest.mark.parametrize("average", AVERAGES.values(), ids=AVERAGES)


def data(case=CASE, rows=60):
    return make_data(case, np.random.default_rng(3), rows)


def trained(average, backend="numba", case=CASE, **options):
    net = make_network(case, backend, threads=options.pop("threads", None))
    settings = {"epochs": 6, "batch_size": case.batch, "learning_rate": 0.01, **options}
    net.history = net.train(*data(case), average=average, **settings)
    return net


class Moments:
    """Takes the parameters after each step, of a run in which an epoch is one step."""

    def __init__(self, case, backend="numba", **options):
        self.net, self.vectors = make_network(case, backend), []
        self.net.train(*data(case), callbacks=[self], **options)

    def __call__(self, row):
        self.vectors.append(self.net.parameters.copy())


@pytest.mark.parametrize(("decay", "every"), [(0.9, 1), (0.998, 7)])
@each_backend
@each_optimizer
def test_a_moving_average_is_its_formula(name, backend, decay, every):
    case = replace(CASE, dtype="float64", batch=60)
    options = {"epochs": 30, "batch_size": 60, "learning_rate": 0.01, "optimizer": name}
    moments = Moments(case, backend, **options).vectors[every - 1 :: every]
    kept = decay**every
    shares = (1 - kept) * kept ** np.arange(len(moments))[::-1]
    expected = np.tensordot(shares / (1 - kept ** len(moments)), moments, 1)
    net = trained(decay, backend, case, **options)
    np.testing.assert_allclose(net.parameters, expected, rtol=0, atol=1e-12)
    assert np.abs(expected - moments[-1]).max() > 1e-4


@each_backend
def test_an_average_of_epochs_is_their_mean(backend):
    case = replace(CASE, dtype="float64", batch=60)
    options = {"epochs": 7, "batch_size": 60, "learning_rate": 0.01}
    vectors = Moments(case, backend, **options).vectors
    for epochs in (1, 3, 7):
        net = trained(SWA(epochs), backend, case, **options)
        expected = np.mean(vectors[-epochs:], axis=0)
        np.testing.assert_allclose(net.parameters, expected, rtol=0, atol=1e-14)


@each_backend
@each_average
def test_steps_go_on_from_the_parameters_themselves(average, backend):
    losses = [trained(each, backend).history["loss"] for each in (None, average)]
    np.testing.assert_array_equal(*losses)


@each_dtype
@pytest.mark.parametrize("batch", [1, 11, 67])
@pytest.mark.parametrize("rule", RULES)
@each_optimizer
def test_both_backends_have_the_same_average(name, rule, batch, dtype):
    case, options = replace(CASE, dtype=dtype, batch=batch), {**RULES[rule], "optimizer": name}
    epochs = 2 if batch == 1 else 10
    nets = [trained(0.95, backend, case, epochs=epochs, **options) for backend in BACKENDS]
    bound = np.finfo(dtype).eps * 1e4
    np.testing.assert_allclose(*(net.parameters for net in nets), rtol=0, atol=bound)


@each_dtype
@each_optimizer
def test_threads_change_no_bit(name, dtype, monkeypatch):
    monkeypatch.setattr("fastnn.backends.compiled.machinery.threads.WORTH_A_THREAD", 1.0)
    monkeypatch.setattr("fastnn.backends.compiled.machinery.threads.Trial.enabled", False)
    case = replace(CASE, dtype=dtype)
    nets = [trained(0.95, case=case, threads=n, optimizer=name) for n in (1, 2, 3)]
    assert len({net.parameters.tobytes() for net in nets}) == 1


@each_backend
@pytest.mark.parametrize("l2", [0.0, 0.01])
def test_sparse_rows_have_the_average_of_dense_ones(l2, backend):
    sparse = pytest.importorskip("scipy.sparse")
    case = replace(CASE, dtype="float64", zeros=0.6)
    X, y = data(case)
    nets = []
    for rows in (X, sparse.csr_array(X)):
        net = make_network(case, backend)
        net.train(rows, y, epochs=5, batch_size=16, l2=l2, average=0.9)
        nets.append(net)
    np.testing.assert_allclose(*(net.parameters for net in nets), rtol=0, atol=1e-11)


@each_backend
def test_a_large_batch_in_blocks_has_it_too(backend, monkeypatch):
    monkeypatch.setattr("fastnn.backends.compiled.blocks.FAR", 1)
    monkeypatch.setattr("fastnn.backends.compiled.blocks.NEAR", 1)
    case = replace(CASE, dtype="float64", batch=600)
    net, other = (make_network(case, each) for each in (backend, "numpy"))
    for each in (net, other):
        each.train(*data(case, 600), epochs=9, batch_size=600, average=0.9)
    np.testing.assert_allclose(net.parameters, other.parameters, rtol=0, atol=1e-11)


@each_backend
@each_average
def test_callbacks_validation_and_early_stopping_see_the_average(average, backend):
    X, y = data()
    net, seen = make_network(CASE, backend), []

    def look(row):
        seen.append((row["validation_loss"], net.evaluate(X, y)["loss"], net.parameters.copy()))

    stopping = fastnn.EarlyStopping("validation_loss", patience=100)
    settings = {"epochs": 6, "batch_size": 11, "learning_rate": 0.3}
    history = net.train(
        X, y, validation=(X, y), callbacks=[look], early_stopping=stopping, average=average,
        **settings,
    )  # fmt: skip
    for told, measured, _ in seen:
        assert told == pytest.approx(measured, rel=1e-6)
    best = history.best_epoch
    np.testing.assert_array_equal(net.parameters, seen[best - 1][2])


@each_backend
def test_a_callback_saves_the_average(backend, tmp_path):
    net = make_network(CASE, backend)

    def save(row):
        net.save(tmp_path / "net.safetensors")

    net.train(*data(), epochs=4, batch_size=11, average=0.9, callbacks=[save])
    saved = fastnn.load(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(saved.parameters, net.parameters)


def test_a_run_of_fewer_steps_than_a_moment_has_no_average():
    case = replace(CASE, batch=60)
    nets = [trained(average, case=case, epochs=6) for average in (None, 0.998)]
    np.testing.assert_array_equal(*(net.parameters for net in nets))


@each_average
@each_optimizer
def test_a_run_is_resumed_to_the_bit(name, average, tmp_path):
    options = {"epochs": 6, "batch_size": 11, "optimizer": name, "average": average}
    files = {"checkpoint": tmp_path / "run.safetensors", "resume": True, "checkpoint_every": 4}
    whole, part = make_network(CASE), make_network(CASE)
    whole.train(*data(), **options)
    for _ in range(6):
        with pytest.raises(KeyboardInterrupt):
            make_network(CASE).train(*data(), callbacks=[interrupt], **options, **files)
        with pytest.raises(ValueError, match="average was"):
            make_network(CASE).train(*data(), **{**options, **files, "average": 0.5})
    part.train(*data(), **options, **files)
    np.testing.assert_array_equal(part.parameters, whole.parameters)
    again = make_network(CASE)  # the run is over
    again.train(*data(), **options, **files)
    np.testing.assert_array_equal(again.parameters, whole.parameters)


@each_backend
@each_average
def test_an_interrupted_run_leaves_its_average(average, backend):
    net, kept = make_network(CASE, backend), []

    def look(row):
        kept.append(net.parameters.copy())
        if row["epoch"] == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        net.train(*data(), epochs=7, batch_size=11, average=average, callbacks=[look])
    np.testing.assert_array_equal(net.parameters, kept[-1])
    assert net.model.optimizer_state.average is None


def test_a_checkpoint_holds_both_and_loads_as_the_average(tmp_path):
    def late(row):
        if row["epoch"] == 4:
            interrupt(row)

    path, net = tmp_path / "run.safetensors", make_network(CASE)
    with pytest.raises(KeyboardInterrupt):
        net.train(*data(), epochs=9, batch_size=11, average=0.9, callbacks=[late], checkpoint=path)
    loaded = fastnn.load(path)
    found = fastnn.model.storage.read(path)[0]
    average, raw = found["average.layers.0.weights"], found["layers.0.weights"]
    assert not np.array_equal(average, raw)
    np.testing.assert_array_equal(loaded.weights[0], average)


@pytest.mark.parametrize("change", ["missing", "shape", "steps"])
def test_a_checkpoint_with_a_damaged_average_is_refused(change, tmp_path):
    from fastnn.model import storage

    path = tmp_path / "run.safetensors"
    with pytest.raises(KeyboardInterrupt):
        make_network(CASE).train(
            *data(), epochs=4, batch_size=11, average=0.9, callbacks=[interrupt], checkpoint=path
        )
    tensors, metadata = storage.read(path)
    if change == "missing":
        del tensors["average.layers.1.biases"]
    elif change == "shape":
        tensors["average.layers.1.biases"] = np.zeros(5, "f4")
    else:
        metadata["average"]["steps"] = -1
    storage.write(path, tensors, metadata)
    with pytest.raises(ValueError, match="average"):
        fastnn.load(path)


@each_backend
def test_divergence_takes_the_average_back(backend):
    net = fastnn.Network([21, 19, 3], seed=0, backend=backend)
    net.train(*data(), epochs=2)
    before = net.parameters.copy()
    with pytest.raises(fastnn.DivergenceError):
        net.train(*data(), epochs=3, learning_rate=1e30, average=0.9)
    np.testing.assert_array_equal(net.parameters, before)
    assert net.model.optimizer_state.average is None


@each_backend
def test_the_next_run_keeps_the_moments_and_starts_from_the_average(backend):
    net = trained(0.9, backend, optimizer="adam")
    steps = net.model.optimizer_state.steps
    before = net.parameters.copy()
    net.train(*data(), epochs=1, batch_size=60, learning_rate=1e-9, optimizer="adam")
    assert net.model.optimizer_state.steps == steps + 1
    np.testing.assert_allclose(net.parameters, before, atol=1e-6)


@pytest.mark.parametrize(
    ("average", "error", "match"),
    [
        (0, ValueError, "average must be"),
        (1, ValueError, "average must be"),
        (np.nan, ValueError, "average must be"),
        ("ema", TypeError, "average must be a number such as 0.999"),
        (True, TypeError, "average must be a number"),
        (EMA, TypeError, "average must be a number such as 0.999, fastnn.averaging.EMA"),
        (SWA(20), ValueError, "average is over the last 20 epochs, and the run has 6"),
    ],
)
def test_what_is_no_average_is_refused(average, error, match):
    with pytest.raises(error, match=match):
        trained(average)


@pytest.mark.parametrize("decay", [0, 1.0, -0.5, np.inf])
def test_a_decay_beyond_its_limits_is_refused(decay):
    with pytest.raises(ValueError, match="EMA's decay must be"):
        EMA(decay)


def test_no_epochs_are_refused():
    with pytest.raises(ValueError, match="SWA's epochs must be at least 1"):
        SWA(0)
