"""Products of factors that are rounded to bfloat16."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from cases import BACKENDS, Case, fitting, make_data, make_network

import fastnn
from fastnn import Committee, Network
from fastnn.activations import ACTIVATIONS, HIDDEN
from fastnn.model import storage
from fastnn.optimizers import OPTIMIZERS
from fastnn.precision import to_bfloat16

each_backend = pytest.mark.parametrize("backend", BACKENDS)

# The rounding

LOWER = (0, 1, 2, 0x7FFE, 0x7FFF, 0x8000, 0x8001, 0x8002, 0xFFFE, 0xFFFF)


def halves(lower):
    """Return float32 numbers with every upper half, and these lower 16 bits."""
    return (np.arange(1 << 16, dtype=np.uint32) << 16 | np.uint32(lower)).view(np.float32)


@pytest.mark.parametrize("lower", LOWER)
def test_rounding_is_that_of_ml_dtypes(lower):
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    x = halves(lower)
    with np.errstate(over="ignore", invalid="ignore"):
        np.testing.assert_array_equal(to_bfloat16(x), x.astype(bfloat16).astype(np.float32))


def nearest(x):
    """Return numbers rounded to 8 significant bits in another way, without the limits of float32.

    With ties to even ones.
    """
    fraction, exponent = np.frexp(np.asarray(x, np.float64))
    return np.ldexp(np.rint(fraction * 256), exponent - 8)


@pytest.mark.parametrize("lower", LOWER)
def test_normal_numbers_are_rounded_to_the_nearest_of_eight_bits(lower):
    x = halves(lower)
    x = x[np.isfinite(x) & (np.abs(x) >= np.finfo(np.float32).tiny)]
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(to_bfloat16(x), nearest(x).astype(np.float32))


def test_numbers_below_the_normal_ones_are_rounded_to_whole_steps():
    step = 2.0**-133
    x = np.array([0.25, 0.5, 0.75, 1, 1.5, 2.5, -1.5, -0.5]) * step
    got = to_bfloat16(x.astype(np.float32)) / np.float32(step)
    assert got.tolist() == [0, 0, 1, 1, 2, 2, -2, 0]


def test_beyond_the_largest_number_is_infinity():
    largest = np.float32(2.0**127 * (2 - 2.0**-7))
    below_the_tie, tie = np.array([0x7F7F7FFF, 0x7F7F8000], np.uint32).view(np.float32)
    x = [largest, below_the_tie, tie, np.finfo(np.float32).max, -np.inf]
    got = to_bfloat16(np.array(x, np.float32))
    assert got.tolist() == [largest, largest, np.inf, np.inf, -np.inf]


def test_nan_stays_nan():
    x = np.array([0x7F800001, 0x7FC00000, 0x7FFFFFFF, 0xFF800001, 0xFFFFFFFF], np.uint32)
    assert np.isnan(to_bfloat16(x.view(np.float32))).all()


def test_rounding_takes_any_layout_and_leaves_it_as_it_is():
    x = np.random.default_rng(0).normal(size=(7, 9)).astype(np.float32)
    before = x.copy()
    np.testing.assert_array_equal(to_bfloat16(x.T), to_bfloat16(x).T)
    np.testing.assert_array_equal(to_bfloat16(x[::2, ::-3]), to_bfloat16(x)[::2, ::-3])
    assert to_bfloat16(np.float32(1.00390625)[None].reshape(())).tolist() == 1.0
    assert x.tobytes() == before.tobytes()


# Products

# Inputs, hidden units, outputs, rows.
SHAPES = [(7, 33, 2, 5), (16, 32, 4, 64), (63, 95, 4, 37), (1, 1, 2, 1)]
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "-".join(map(str, shape)))


def fine(rng, shape, signs=True):
    """Return numbers from 1 to 2 with ten bits after the point: rounded ones have seven."""
    numbers = 1 + rng.integers(0, 1 << 10, shape) / (1 << 10)
    return (numbers * rng.choice([-1, 1], shape) if signs else numbers).astype(np.float32)


class Exact:
    """A network and rows whose sums of rounded products are exact in float32, in any order.

    Hidden units are from 512 to 1024, with 14 bits after the point, so that each of them is rounded
    to a multiple of 4; differences from the targets and second weights are positive, so that
    deltas do not become small. All numbers here are those of formulas in float64.
    """

    def __init__(self, shape, backend):
        fan_in, hidden, outputs, rows = shape
        rng = np.random.default_rng(1)
        self.net = Network(
            [fan_in, hidden, outputs], "relu", "identity", "mse", seed=0, backend=backend,
            precision="bfloat16",
        )  # fmt: skip
        self.X = fine(rng, (rows, fan_in))
        self.net.weights[0] = fine(rng, (fan_in, hidden))
        self.net.weights[1] = fine(rng, (hidden, outputs), signs=False)
        self.net.biases[0] = np.full(hidden, 768)
        w1, w2 = (nearest(w) for w in self.net.weights)
        self.hidden = nearest(self.X) @ w1 + 768
        self.out = nearest(self.hidden) @ w2
        # Differences from the targets: 512 to 1023 steps of the outputs.
        delta = rng.integers(1 << 9, 1 << 10, self.out.shape) / 32
        self.y = (self.out - delta).astype(np.float32)
        delta = 2 * delta / outputs
        self.delta = nearest(delta) @ w2.T
        self.loss = np.mean((self.out - self.y) ** 2)
        self.of_inputs = nearest(self.delta) @ w1.T
        self.weights = [
            nearest(self.X).T @ nearest(self.delta) / rows,
            nearest(self.hidden).T @ nearest(delta) / rows,
        ]
        self.biases = [self.delta.mean(axis=0), delta.mean(axis=0)]


def same(got, want):
    """Compare up to the rounding of a few operations of float32, none of which is a sum."""
    np.testing.assert_allclose(got, want, rtol=4 * np.finfo(np.float32).eps, atol=0)


@each_shape
@each_backend
def test_predictions_are_those_of_rounded_factors(backend, shape):
    exact = Exact(shape, backend)
    same(exact.net.predict(exact.X), exact.out)
    same(exact.net.predict(exact.X[:1]), exact.out[:1])
    same(exact.net.predict_one(exact.X[0]), exact.out[0])


@each_shape
@each_backend
def test_activations_and_losses_are_those_of_rounded_factors(backend, shape):
    exact = Exact(shape, backend)
    for got, want in zip(exact.net.activations(exact.X), (exact.hidden, exact.out), strict=True):
        same(got, want)
    same(exact.net.evaluate(exact.X, exact.y)["loss"], exact.loss)


@each_shape
@each_backend
def test_gradients_are_those_of_rounded_factors_and_of_biases_sums_of_what_is_not_rounded(
    backend, shape
):
    exact = Exact(shape, backend)
    loss, gradient = exact.net.loss_and_gradient(exact.X, exact.y)
    same(loss, exact.loss)
    for l in range(2):
        same(gradient.weights[l], exact.weights[l])
        same(gradient.biases[l], exact.biases[l])


@each_shape
@each_backend
def test_gradients_of_inputs_are_those_of_rounded_factors(backend, shape):
    exact = Exact(shape, backend)
    same(exact.net.input_gradient(exact.X, exact.y), exact.of_inputs)


@pytest.mark.parametrize("sparse", [False, True])
@each_shape
@each_backend
def test_a_step_goes_along_the_gradient_of_rounded_factors(backend, shape, sparse):
    exact = Exact(shape, backend)
    before = [np.array(array) for array in (*exact.net.weights, *exact.net.biases)]
    slopes = [*exact.weights, *exact.biases]
    rate = 2.0**-8
    X = pytest.importorskip("scipy.sparse").csr_array(exact.X) if sparse else exact.X
    rows = len(exact.y)
    exact.net.train(X, exact.y, 1, rows, rate, schedule="constant", shuffle=False, progress=False)
    after = (*exact.net.weights, *exact.net.biases)
    for was, slope, now in zip(before, slopes, after, strict=True):
        step = rate * slope
        # The products of the rows may be added to the parameters one by one.
        bound = 64 * np.finfo(np.float32).eps * (np.abs(was) + np.abs(step))
        assert (np.abs(now - (was - step)) <= bound).all()
        if was.ndim == 2:  # else this says little
            assert np.abs(step).max() > 2.0**-5 * np.abs(was).max()


@each_backend
def test_standardised_inputs_are_rounded_as_they_enter_the_product(backend):
    rng = np.random.default_rng(0)
    net = Network(
        [1, 1], output="identity", seed=0, backend=backend, precision="bfloat16",
        standardize_inputs=True, init=lambda *_: np.ones((1, 1)),
    )  # fmt: skip
    X = rng.normal(5, 3, (50, 1)).astype(np.float32)
    net.train(X, X, epochs=1, learning_rate=1e-30, progress=False)
    scaled = (X - net.input_scaler.mean) * net.input_scaler.scale
    np.testing.assert_array_equal(net.predict(X), to_bfloat16(scaled))


@each_backend
def test_pixels_are_divided_before_they_are_rounded(backend):
    net = Network(
        [1, 1], output="identity", seed=0, backend=backend, precision="bfloat16",
        init=lambda *_: np.ones((1, 1)),
    )  # fmt: skip
    X = np.arange(256, dtype=np.uint8)[:, None]
    divided = X.astype(np.float32) * (np.float32(1) / np.float32(255))
    np.testing.assert_array_equal(net.predict(X), to_bfloat16(divided))


class Rounding:
    """Formulas in float64 of a network whose factors are rounded."""

    def __init__(self, net, X, y):
        a = net.architecture
        f = [ACTIVATIONS[name] for name in a.activations]
        w, b = ([np.array(each, np.float64) for each in part] for part in (net.weights, net.biases))
        values, sums = [X.astype(np.float64)], []
        for l in range(len(w)):
            sums.append(nearest(values[-1]) @ nearest(w[l]) + b[l])
            values.append(f[l].function(sums[-1]))
        delta = values[-1] - np.eye(a.sizes[-1])[y]
        self.outputs, self.weights, self.biases = values[-1], [], []
        for l in range(len(w) - 1, -1, -1):
            self.weights.insert(0, nearest(values[l]).T @ nearest(delta) / len(X))
            self.biases.insert(0, delta.mean(axis=0))
            if l:
                delta = nearest(delta) @ nearest(w[l]).T * f[l - 1].derivative(sums[l - 1])


@pytest.mark.parametrize("activation", HIDDEN)
@each_backend
def test_every_activation_follows_the_formulas_of_rounded_factors(backend, activation):
    case = Case((40, 30, 20, 5), activation, batch=64, precision="bfloat16")
    net = make_network(case, backend)
    X, y = make_data(case, np.random.default_rng(3), case.batch)
    formulas = Rounding(net, X, y)
    # Where a sum in float32 lies on the other side of a tie, a factor in one row is off by 2^-8.
    np.testing.assert_allclose(net.predict_proba(X), formulas.outputs, rtol=0, atol=2.0**-10)
    gradient = net.loss_and_gradient(X, y)[1]
    for ours, theirs in zip(gradient.weights, formulas.weights, strict=True):
        scale = np.abs(theirs).max()
        np.testing.assert_allclose(ours / scale, theirs / scale, rtol=0, atol=2.0**-10)
    for ours, theirs in zip(gradient.biases, formulas.biases, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=2.0**-10 * np.abs(theirs).max())


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("batch", [1, 16])
def test_both_backends_agree_in_bfloat16_with_every_optimizer(name, batch):
    case = fitting(Case((12, 20, 5), "gelu", batch=batch, precision="bfloat16"))
    X, y = make_data(case, np.random.default_rng(3), 64)
    nets = [make_network(case, backend) for backend in BACKENDS]
    start = np.array(nets[0].parameters)
    for net in nets:
        net.train(X, y, 2, batch, 0.001, optimizer=name, l2=0.01, l1=0.001, progress=False)
    moves = [net.parameters - start for net in nets]
    scale = np.abs(moves[1]).max()
    # An element whose gradient is next to 0 may go the other way with Adam; hardly any is.
    difference = np.abs(moves[0] - moves[1]) / scale
    assert np.quantile(difference, 0.99) < 2.0**-7
    assert difference.max() < 0.5


@each_backend
def test_a_network_learns_as_well_as_in_float32(backend):
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(5, 30))
    y = rng.integers(0, 5, 1200)
    X = (centres[y] + rng.normal(0, 1.2, (1200, 30))).astype(np.float32)
    accuracies = []
    for precision in (None, "bfloat16"):
        net = Network([30, 64, 5], seed=0, backend=backend, precision=precision)
        net.train(X[:800], y[:800], epochs=8, progress=False)
        accuracies.append(net.evaluate(X[800:], y[800:])["accuracy"])
    assert accuracies[0] > 0.9
    assert abs(accuracies[1] - accuracies[0]) < 0.02


@each_backend
def test_the_gradient_passes_its_check(backend):
    case = Case((20, 15, 4), "tanh", batch=30, precision="bfloat16")
    X, y = make_data(case, np.random.default_rng(3), 30)
    assert fastnn.check_gradients(make_network(case, backend), X, y).passed


# Arguments


def network(precision="bfloat16", seed=0):
    return Network([4, 6, 3], seed=seed, backend="numpy", precision=precision)


@pytest.mark.parametrize(
    ("options", "precision"),
    [
        ({}, "float32"),
        ({"dtype": "float64"}, "float64"),
        ({"precision": "float32"}, "float32"),
        ({"dtype": "float64", "precision": "float64"}, "float64"),
        ({"precision": "BFloat16"}, "bfloat16"),
    ],
)
def test_the_precision_is_the_dtype_unless_another_is_asked_for(options, precision):
    net = Network([4, 3], **options)
    assert net.precision == precision
    assert ("precision=" in repr(net)) == (precision == "bfloat16")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"precision": "bfloat16", "dtype": "float64"},
            "precision 'bfloat16' needs dtype='float32'; got dtype='float64'",
        ),
        (
            {"precision": "float64"},
            "precision 'float64' needs dtype='float64'; got dtype='float32'",
        ),
        (
            {"precision": "float16"},
            "precision must be one of bfloat16, float32, float64; got 'float16'",
        ),
        ({"precision": "bf16"}, "got 'bf16'; did you mean 'bfloat16'?"),
        ({"precision": 16}, "precision must be one of bfloat16, float32, float64; got 16"),
        ({"dtype": "bfloat16"}, "got 'bfloat16'; precision='bfloat16' rounds the factors"),
    ],
)
def test_a_precision_that_does_not_fit_is_refused(options, message):
    with pytest.raises(ValueError, match="^.*" + message.replace("?", "[?]")):
        Network([4, 3], **options)


def test_arrays_in_bfloat16_are_refused_with_what_to_do():
    X = np.ones((3, 4), pytest.importorskip("ml_dtypes").bfloat16)
    with pytest.raises(TypeError, match=r"^X holds bfloat16; .*: X.astype\('float32'\)$"):
        network().predict(X)
    assert network().predict(X.astype("float32")).shape == (3,)


def test_it_is_shown_with_the_network(capsys):
    net = network()
    assert "dtype='float32', precision='bfloat16', backend" in repr(net)
    net.summary()
    assert "float32 with products in bfloat16, " in capsys.readouterr().out
    network(precision=None).summary()
    assert "bfloat16" not in capsys.readouterr().out


def test_networks_of_another_precision_have_another_architecture():
    assert network().architecture == network().architecture
    assert network().architecture != network(precision=None).architecture


# What keeps it


@pytest.mark.parametrize(
    "again", [copy.deepcopy, copy.copy, lambda net: pickle.loads(pickle.dumps(net))]
)
def test_copies_have_the_same_precision(again):
    net, X = network(), np.random.default_rng(0).normal(size=(20, 4))
    other = again(net)
    assert other.precision == "bfloat16"
    assert other.predict_proba(X).tobytes() == net.predict_proba(X).tobytes()


def test_a_file_holds_it_and_the_weights_before_they_are_rounded(tmp_path):
    net, X = network(), np.random.default_rng(0).normal(size=(20, 4))
    net.train(X, np.arange(20) % 3, epochs=2, optimizer="adam", progress=False)
    net.save(tmp_path / "net")
    other = fastnn.load(tmp_path / "net", backend="numpy")
    assert other.architecture == net.architecture
    assert other.parameters.tobytes() == net.parameters.tobytes()
    assert other.predict_proba(X).tobytes() == net.predict_proba(X).tobytes()
    for each in (net, other):
        each.train(X, np.arange(20) % 3, epochs=1, optimizer="adam", progress=False)
    assert other.parameters.tobytes() == net.parameters.tobytes()


@pytest.mark.parametrize(("precision", "version"), [(None, b"1"), ("bfloat16", b"2")])
def test_only_files_with_a_precision_have_a_version_that_older_ones_refuse(
    tmp_path, precision, version
):
    net = network(precision)
    committee = Committee([network(None, seed=1), net])
    for name, each in (("net", net), ("committee", committee)):
        each.save(tmp_path / name)
        content = (tmp_path / name).read_bytes()
        assert b'"version":"' + version + b'"' in content
        assert (b"precision" in content) == (precision is not None)
    assert [each.precision for each in fastnn.load(tmp_path / "committee")] == [
        "float32",
        net.precision,
    ]


def test_a_file_of_an_earlier_version_is_in_its_dtype(tmp_path):
    net = network(None)
    net.save(tmp_path / "net")
    assert "precision" not in storage.read(tmp_path / "net")[1]["network"]
    assert fastnn.load(tmp_path / "net").precision == "float32"


def test_a_run_resumes_in_the_same_precision_alone(tmp_path):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 4)), rng.integers(0, 3, 40)
    whole = network()
    whole.train(X, y, epochs=4, progress=False)
    options = {"epochs": 4, "progress": False, "checkpoint": tmp_path / "c"}

    def interrupt(row):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        network().train(X, y, **options, callbacks=[interrupt])
    with pytest.raises(ValueError, match="precision was 'bfloat16' and is now 'float32'"):
        network(None).train(X, y, **options, resume=True)
    resumed = network()
    resumed.train(X, y, **options, resume=True)
    assert resumed.parameters.tobytes() == whole.parameters.tobytes()


def test_members_of_a_committee_may_differ_in_it():
    X = np.random.default_rng(0).normal(size=(20, 4))
    nets = [network(), network(None)]
    both = Committee(nets)
    mean = np.mean([net.predict_proba(X) for net in nets], axis=0)
    np.testing.assert_allclose(both.predict_proba(X), mean, rtol=1e-6)
    np.testing.assert_allclose(both.predict_one(X[0]), mean[0], rtol=1e-6)
    histories = both.train(X, np.arange(20) % 3, epochs=1, progress=False)
    assert len(histories) == 2
    assert [net.precision for net in both] == ["bfloat16", "float32"]
