"""Activations, losses, optimizers, regularisers: right by differences, in both backends, by torch.

The kernels get codes and numbers, so what counts is each of them and their combinations.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from cases import BACKENDS, DTYPES, Case, fitting, make_data, make_network

import fastnn
from fastnn import optimizers, schedules
from fastnn.activations import HIDDEN
from fastnn.backends.compiled.kernels import products
from fastnn.losses import NATURAL, PAIRS
from fastnn.optimizers import OPTIMIZERS
from fastnn.schedules import SCHEDULES

each_backend = pytest.mark.parametrize("backend", BACKENDS)
each_dtype = pytest.mark.parametrize("dtype", DTYPES)


def data_and_weights(case, rows=40):
    X, y = make_data(case, np.random.default_rng(3), rows)
    return X, y, np.random.default_rng(4).uniform(0.2, 2, rows)


# Without --long each of both is there, but not each activation with each pair.
ACTIVATIONS_AND_PAIRS = [
    pytest.param(activation, *pair, marks=[pytest.mark.long] * (i != j % len(HIDDEN)))
    for i, activation in enumerate(HIDDEN)
    for j, pair in enumerate(PAIRS)
]


@each_backend
@pytest.mark.parametrize(("activation", "output", "loss"), ACTIVATIONS_AND_PAIRS)
def test_gradients_of_every_activation_and_pair(activation, output, loss, backend):
    case = fitting(Case((6, 8, 7, 4), activation, output, loss, "float64"))
    X, y, weights = data_and_weights(case)
    options = {"l2": 0.3, "l1": 0.02, "sample_weight": weights}
    if loss in (NATURAL[output], "focal") and output in ("softmax", "sigmoid"):
        options["label_smoothing"] = 0.1
    if output == "softmax":
        options["class_weight"] = {0: 2.0, 3: 0.5}
    found = fastnn.check_gradients(make_network(case, backend), X, y, **options)
    # Differences are off by h^2 / 6 times a third derivative and by eps / h, each some 1e-10 of
    # numbers around 1; at the kinks of a ReLU and of the absolute error no unit stands.
    assert found.error < 1e-8, found
    assert found.checked > 100


@each_backend
@pytest.mark.parametrize("activation", ["tanh", "relu", "gelu", "identity"])
def test_gradients_with_the_mask_of_dropout_fixed(activation, backend):
    case = Case((6, 9, 8, 4), activation, dtype="float64")
    X, y, _ = data_and_weights(case)
    net = make_network(case, backend)
    found = fastnn.check_gradients(net, X, y, dropout=[0.2, 0.5, 0.4], l2=0.1)
    assert found.error < 1e-8, found


REGULARISERS = {
    "none": {},
    "l2": {"l2": 0.05},
    "l1": {"l1": 0.01},
    "dropout": {"dropout": [0.1, 0.3, 0.2]},
    "max_norm": {"max_norm": 0.8},
    "clip_norm": {"clip_norm": 0.05},
    "clip_value": {"clip_value": 0.01},
    "smoothing": {"label_smoothing": 0.1},
    "weights": {"class_weight": "balanced"},
    "frozen": {"frozen": [1]},
    "all": {
        "l2": 0.05,
        "l1": 0.01,
        "dropout": 0.2,
        "max_norm": 0.9,
        "clip_norm": 0.5,
        "clip_value": 0.05,
        "label_smoothing": 0.1,
    },
}


def trained(case, backend, steps=10, **options):
    """Return the losses and parameters after so many steps, two epochs of half as many."""
    X, y, _ = data_and_weights(case, case.batch * steps // 2)
    net = make_network(case, backend)
    options = {"epochs": 2, "batch_size": case.batch, "progress": False, **options}
    losses = net.train(X, y, **options)["loss"]
    return np.array(losses), net.parameters


def assert_same_training(case, steps=10, **options):
    (losses, parameters), (want_losses, want) = (
        trained(case, backend, steps, **options) for backend in BACKENDS
    )
    # A step moves rounding errors on by a factor near 1; adaptive optimizers divide by the size of
    # the gradient, so that an error in a gradient near zero counts in full: 1e4 roundings.
    bound = np.finfo(case.dtype).eps * 1e4
    np.testing.assert_allclose(losses, want_losses, rtol=bound, atol=bound)
    np.testing.assert_allclose(parameters, want, rtol=0, atol=bound)


CASE = Case((21, 19, 18, 5), "tanh", batch=11)


@each_dtype
@pytest.mark.parametrize("regulariser", REGULARISERS)
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_ten_steps_of_every_combination_agree(optimizer, schedule, regulariser, dtype):
    case = replace(CASE, dtype=dtype)
    options = {"optimizer": optimizer, "schedule": schedule, **REGULARISERS[regulariser]}
    assert_same_training(case, learning_rate=0.01, **options)


@pytest.mark.every_width
@each_dtype
@pytest.mark.parametrize("batch", [1, 3, 33, 200])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("sizes", [(5, 3), (90, 17, 6), (300, 70, 33, 2)])
def test_odd_sizes_agree(sizes, optimizer, batch, dtype):
    case = Case(sizes, "selu", dtype=dtype, batch=batch, zeros=0.6)
    rates = [0.25] * (len(sizes) - 1)
    options = {"optimizer": optimizer, "dropout": rates, "clip_norm": 1.0, "max_norm": 2.0}
    assert_same_training(case, steps=4, learning_rate=0.01, l1=1e-3, **options)
    assert_same_training(case, steps=4, learning_rate=0.01, l2=1e-3, optimizer=optimizer)


@each_dtype
@pytest.mark.parametrize("regulariser", REGULARISERS)
@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adamw"])
def test_threads_change_no_bit(optimizer, regulariser, dtype, monkeypatch):
    monkeypatch.setattr("fastnn.backends.compiled.machinery.threads.WORTH_A_THREAD", 1.0)
    monkeypatch.setattr("fastnn.backends.compiled.machinery.threads.Trial.enabled", False)
    case = Case((75, 130, 37, 10), "gelu", dtype=dtype, batch=67)
    X, y, _ = data_and_weights(case, 300)
    results = []
    for threads in (1, 2, 3):
        net = make_network(case, threads=threads, standardize_inputs=True)
        options = {"optimizer": optimizer, "epochs": 2, "batch_size": case.batch}
        net.train(X, y, learning_rate=0.01, **options, **REGULARISERS[regulariser])
        results.append(net.parameters.tobytes())
    assert results[0] == results[1] == results[2]


@each_backend
@each_dtype
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("options", [{}, {"clip_norm": 0.1, "l1": 0.01}, {"dropout": 0.3}])
def test_padding_stays_zero(optimizer, options, dtype, backend):
    case = replace(CASE, dtype=dtype)
    parameters = trained(case, backend, optimizer=optimizer, **options)[1]
    net = make_network(case, backend)
    used = np.zeros(len(parameters), bool)
    for l, layer in enumerate(net.architecture.layers):
        rows = used[layer.weights : layer.biases + layer.stride].reshape(-1, layer.stride)
        rows[:, : net.architecture.sizes[l + 1]] = True
    assert not parameters[~used].any()
    assert parameters[used].all()


@each_backend
def test_max_norm_holds_after_every_step(backend):
    net = make_network(CASE, backend)
    X, y, _ = data_and_weights(CASE)
    net.train(X, y, epochs=1, batch_size=40, learning_rate=5.0, max_norm=0.7)
    norms = np.concatenate([np.sqrt((w**2).sum(axis=0)) for w in net.weights])
    assert norms.max() == pytest.approx(0.7, rel=1e-6)


@each_dtype
def test_max_norm_reaches_the_units_beyond_the_buffer_of_a_thread(dtype):
    units = products.pack_size(np.dtype(dtype).itemsize) + 40
    case = Case((3, units, 2), dtype=dtype)
    X, y, _ = data_and_weights(case)
    limit = float(np.median(np.sqrt((make_network(case).weights[0] ** 2).sum(axis=0))))
    hidden = []
    for backend in BACKENDS:
        net = make_network(case, backend, threads=1)
        net.train(X, y, epochs=1, batch_size=20, optimizer="sgd", max_norm=limit)
        hidden.append(np.array(net.weights[0]))
    norms = np.sqrt((hidden[0][:, -40:] ** 2).sum(axis=0))
    rounded = limit * (1 - 1e-6)  # float32 has 7 digits
    assert 0 < np.count_nonzero(norms < rounded) < 40
    assert norms.max() == pytest.approx(limit, rel=1e-6)
    # Two steps and a sum of three squares: a few roundings of numbers below 1.
    np.testing.assert_allclose(*hidden, rtol=0, atol=np.finfo(dtype).eps * 10)


@each_backend
@pytest.mark.parametrize(("output", "outputs"), [("sigmoid", 1), ("sigmoid", 3), ("softmax", 3)])
def test_smoothed_labels_are_targets_nearer_to_each_other(output, outputs, backend):
    case = Case((6, 8, outputs), output=output, targets="one_hot", dtype="float64")
    X, y, _ = data_and_weights(case)
    net = make_network(case, backend)
    loss, gradient = net.loss_and_gradient(X, y, label_smoothing=0.2)
    smoothed = 0.8 * y + 0.2 / (outputs if output == "softmax" else 2)
    want, slopes = net.loss_and_gradient(X, smoothed)
    # The same sums of numbers that were rounded once more or less.
    assert loss == pytest.approx(want, rel=1e-13)
    np.testing.assert_allclose(gradient.vector, slopes.vector, rtol=0, atol=1e-14)


@each_backend
@pytest.mark.parametrize("limit", [0.05, 1e9])
def test_clip_norm_limits_the_step(backend, limit):
    net = make_network(CASE, backend)
    X, y, _ = data_and_weights(CASE)
    before = net.parameters.copy()
    norm = np.linalg.norm(net.loss_and_gradient(X, y)[1].vector)
    net.train(X, y, epochs=1, batch_size=40, learning_rate=1.0, clip_norm=limit)
    step = np.linalg.norm(net.parameters - before)
    assert step == pytest.approx(min(limit, norm), rel=1e-4)


def torch_optimizer(torch, optimizer, weights, biases):
    """Return torch's optimizer with the same numbers; weight decay is for weights."""
    rate = optimizer.learning_rate
    if isinstance(optimizer, optimizers.SGD):
        options = {"momentum": optimizer.momentum, "nesterov": optimizer.nesterov}
        return torch.optim.SGD([*weights, *biases], rate, **options)
    if isinstance(optimizer, optimizers.RMSprop):
        options = {"alpha": optimizer.decay, "eps": optimizer.epsilon}
        return torch.optim.RMSprop([*weights, *biases], rate, **options)
    options = {"betas": (optimizer.beta1, optimizer.beta2), "eps": optimizer.epsilon}
    if isinstance(optimizer, optimizers.AdamW):
        decay = optimizer.weight_decay
        groups = [{"params": weights, "weight_decay": decay}]
        groups += [{"params": biases, "weight_decay": 0.0}]
        return torch.optim.AdamW(groups, rate, **options)
    return torch.optim.Adam([*weights, *biases], rate, **options)


@each_backend
@pytest.mark.parametrize("clip", [None, 0.1])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_twenty_steps_are_those_of_torch(name, clip, backend):
    torch = pytest.importorskip("torch")
    optimizer = replace(OPTIMIZERS[name], learning_rate=0.02)
    net = make_network(Case((12, 16, 4), "tanh"), backend)
    X, y, _ = data_and_weights(Case((12, 16, 4)), 30)
    weights, biases = (
        [torch.tensor(np.array(array), requires_grad=True) for array in arrays]
        for arrays in (net.weights, net.biases)
    )
    other = torch_optimizer(torch, optimizer, weights, biases)
    inputs, labels = torch.from_numpy(X), torch.from_numpy(y)
    for _ in range(20):
        other.zero_grad()
        hidden = torch.tanh(inputs @ weights[0] + biases[0])
        logits = hidden @ weights[1] + biases[1]
        torch.nn.functional.cross_entropy(logits, labels).backward()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_([*weights, *biases], clip)
        other.step()
    net.train(
        X, y, epochs=20, batch_size=30, optimizer=optimizer, schedule="constant", clip_norm=clip
    )
    for got, want in zip((*net.weights, *net.biases), (*weights, *biases), strict=True):
        # Twenty steps of some hundredths each, with float32's rounding in every gradient.
        np.testing.assert_allclose(got, want.detach().numpy(), rtol=0, atol=2e-5)


TORCH_LOSSES = {
    ("identity", "mse"): lambda f, z, t: f.mse_loss(z, t),
    ("identity", "mae"): lambda f, z, t: f.l1_loss(z, t),
    ("identity", "huber"): lambda f, z, t: f.huber_loss(z, t),
    ("identity", "poisson"): lambda f, z, t: f.poisson_nll_loss(z, t) * t.shape[1],
    ("exponential", "poisson"): lambda f, z, t: f.poisson_nll_loss(z, t) * t.shape[1],
    ("sigmoid", "binary_cross_entropy"): (
        lambda f, z, t: f.binary_cross_entropy_with_logits(z, t) * t.shape[1]
    ),
    ("softmax", "cross_entropy"): lambda f, z, t: f.cross_entropy(z, t, label_smoothing=0.2),
}


@each_backend
@pytest.mark.parametrize("pair", TORCH_LOSSES)
def test_losses_are_those_of_torch(pair, backend):
    torch = pytest.importorskip("torch")
    case = fitting(Case((4, 3), output=pair[0], loss=pair[1], dtype="float64"))
    net = make_network(case, backend)
    X, y, _ = data_and_weights(case)
    z = torch.from_numpy(X @ net.weights[0] + net.biases[0])
    want = TORCH_LOSSES[pair](torch.nn.functional, z, torch.from_numpy(y)).item()
    smoothing = {"label_smoothing": 0.2} if pair[0] == "softmax" else {}
    assert net.loss_and_gradient(X, y, **smoothing)[0] == pytest.approx(want, rel=1e-12)


TORCH_ACTIVATIONS = ("leaky_relu", "elu", "selu", "gelu", "silu", "softplus", "mish")


@each_backend
@each_dtype
@pytest.mark.parametrize("name", TORCH_ACTIVATIONS)
def test_activations_are_those_of_torch(name, dtype, backend):
    torch = pytest.importorskip("torch")
    net = fastnn.Network([1, 1, 1], name, output="identity", dtype=dtype, backend=backend)
    net.weights[0] = np.ones((1, 1))
    z = np.linspace(-30, 30, 2001, dtype=dtype)[:, None]
    got = net.activations(z)[0]
    options = {"threshold": 99} if name == "softplus" else {}  # from where it is the identity
    want = getattr(torch.nn.functional, name)(torch.from_numpy(z), **options).numpy()
    # Four roundings of the number itself, or of the 1 that a sum with an exponential starts from.
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(got, want, rtol=4 * eps, atol=4 * eps)


@each_backend
def test_swish_is_silu(backend):
    case = Case((6, 7, 3), "swish")
    X, y, _ = data_and_weights(case)
    other = replace(case, activation="silu")
    nets = [make_network(c, backend) for c in (case, other)]
    bits = [net.train(X, y, epochs=2)["loss"] for net in nets]
    assert bits[0] == bits[1]


def test_the_default_output_and_loss_follow_from_the_sizes():
    kinds = {
        (3, 2): ("softmax", "cross_entropy"),
        (3, 1): ("sigmoid", "binary_cross_entropy"),
    }
    for sizes, (output, loss) in kinds.items():
        architecture = fastnn.Network(sizes).architecture
        assert (architecture.activations[-1], architecture.loss) == (output, loss)
    for output, loss in NATURAL.items():
        assert fastnn.Network([3, 2], output=output).architecture.loss == loss


def own_squared_error(a, t):
    e = a - t
    return (e * e).mean(axis=1), 2 / a.shape[1] * e


OPTIONS_OF_OWN_LOSS = {
    "plain": {},
    "batches of one": {"batch_size": 1},
    "everything": {"optimizer": "adam", "dropout": [0.1, 0.2, 0.3], "clip_norm": 1.0, "l1": 0.01},
    "weights": {"sample_weight": np.linspace(0, 1, 60), "validation": 0.2},
}


@each_backend
@each_dtype
@pytest.mark.parametrize("options", OPTIONS_OF_OWN_LOSS.values(), ids=OPTIONS_OF_OWN_LOSS)
@pytest.mark.parametrize("output", ["softmax", "sigmoid", "identity", "exponential"])
def test_a_loss_of_ones_own_trains_like_a_named_one(output, options, dtype, backend):
    X, y, _ = data_and_weights(CASE, 60)
    results = []
    for loss in ("mse", own_squared_error):
        net = make_network(replace(CASE, output=output, loss=loss, dtype=dtype), backend)
        history = net.train(X, y, epochs=2, **{"learning_rate": 0.02, "batch_size": 13, **options})
        results.append([history["loss"], net.parameters, net.input_gradient(X, y)])
        results[-1].append(list(net.evaluate(X, y).values()))
        results[-1].append(net.loss_and_gradient(X, y, dropout=0.1)[1].vector)
    bound = np.finfo(dtype).eps * 1e4  # as in `assert_same_training`
    for got, want in zip(*results, strict=True):
        np.testing.assert_allclose(got, want, rtol=bound, atol=bound)


@each_backend
def test_a_loss_of_the_wrong_shape_is_refused_and_changes_nothing(backend):
    X, y, _ = data_and_weights(CASE, 60)
    net = make_network(replace(CASE, loss=lambda a, t: (a, a)), backend)
    before = net.parameters.tobytes()
    with pytest.raises(ValueError, match=r"loss must return .* \(32,\) rows .* \(32, 5\)"):
        net.train(X, y)
    assert net.parameters.tobytes() == before


@each_backend
def test_one_output_does_binary_classification(backend):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 2)).astype(np.float32)
    y = (X[:, 0] * X[:, 1] > 0).astype(int)
    net = fastnn.Network([2, 16, 1], seed=0, backend=backend)
    net.train(X, y, epochs=60, optimizer="adam", learning_rate=0.02)
    assert net.evaluate(X, y)["accuracy"] > 0.95
    assert set(net.predict(X)) == {0, 1}


@each_backend
def test_several_labels_a_row(backend):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3)).astype(np.float32)
    y = (X > [0.0, 0.5, -0.5]).astype(int)
    net = fastnn.Network([3, 16, 3], output="sigmoid", seed=0, backend=backend)
    net.train(X, y, epochs=60, optimizer="adam", learning_rate=0.02)
    labels = net.predict(X, threshold=0.5)
    scores = net.evaluate(X, y)
    assert labels.shape == y.shape
    assert scores["accuracy"] == (labels == y).all(axis=1).mean() > 0.9
    assert scores["macro_f1"] > 0.95


@each_backend
@pytest.mark.parametrize("output", ["exponential", "identity"])
def test_rates_of_counts_are_learned(output, backend):
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (2000, 2)).astype(np.float32)
    rate = np.exp(0.5 + X[:, :1] - X[:, 1:])
    net = fastnn.Network([2, 1], output=output, loss="poisson", seed=0, backend=backend)
    net.train(X, rng.poisson(rate), epochs=30, learning_rate=0.1)
    predicted = net.predict(X) if output == "exponential" else np.exp(net.predict(X))
    # With 2000 counts of a mean of about 2, three numbers are known to some hundredths.
    np.testing.assert_allclose(predicted, rate, rtol=0.15)


def test_every_compiled_unit_has_its_way_in():
    """Every combination of what decides which units are compiled runs in a new process's order."""
    X, y, _ = data_and_weights(CASE)
    for dropout, optimizer, clip, limit, scaled in itertools.product(
        (0.0, [0.2, 0.0, 0.0], 0.3), ("sgd", "adam"), (None, 1.0), (None, 1.0), (False, True)
    ):
        net = make_network(replace(CASE, activation="relu"), standardize_inputs=scaled)
        options = {"optimizer": optimizer, "clip_norm": clip, "max_norm": limit, "epochs": 1}
        for batch_size in (1, 9):
            net.train(X, y, dropout=dropout, batch_size=batch_size, **options)
        assert np.isfinite(net.predict_proba(X)).all()


def test_optimizers_and_schedules_are_found_by_the_names_that_are_documented():
    for name in OPTIMIZERS:
        assert f'"{name}"' in fastnn.Network.train.__doc__
    for name in SCHEDULES:
        assert f'"{name}"' in fastnn.Network.train.__doc__
    assert isinstance(SCHEDULES["cosine"], schedules.Cosine)
