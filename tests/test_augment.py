"""Augmentation: the formulas, both backends, threads, resuming, and what is refused."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from cases import BACKENDS, DTYPES

import fastnn
from fastnn import counters
from fastnn.augment import GRID, Images, Mixup, Noise, named, splines
from fastnn.averaging import SWA
from fastnn.backends import augmenting
from fastnn.backends.compiled import blocks
from fastnn.backends.compiled.machinery import threads
from fastnn.backends.contract import Examples
from fastnn.backends.dropout import row_keys
from fastnn.cli.augmenting import augment as of_words
from fastnn.cli.reading import Dataset
from fastnn.optimizers import Adam

each_backend = pytest.mark.parametrize("backend", BACKENDS)
SHAPES = [(1, 1), (3, 5), (1, 7), (9, 1, 3), (28, 28), (17, 16, 1), (32, 32, 3)]
each_shape = pytest.mark.parametrize("shape", SHAPES)
CHANGES = {
    "rotate": {"rotate": 40},
    "far": {"rotate": 180, "shift": 30.0},
    "scale": {"scale": 0.5},
    "shear": {"shear": 0.4},
    "shift": {"shift": 2.5},
    "elastic": {"elastic": 1.5},
    "flip": {"flip": True},
    "all": {
        "rotate": 12, "scale": 0.15, "shear": 0.15, "shift": 2, "elastic": 1, "flip": True,
        "fill": 0.25,
    },
}  # fmt: skip
each_change = pytest.mark.parametrize("change", CHANGES)


@pytest.fixture
def worth_threads(monkeypatch):
    """Let every step use all the threads that a network asks for."""
    monkeypatch.setattr(threads, "WORTH_A_THREAD", 1.0)
    monkeypatch.setattr(threads.Trial, "enabled", False)
    monkeypatch.setattr(threads, "available", lambda: 8)


def keys_of(rows, seed=1):
    return row_keys(seed, 1, 1, range(rows))[0]


def pictures(shape, rows=20, dtype="float64"):
    return np.random.default_rng(4).random((rows, int(np.prod(shape)))).astype(dtype)


def data(rows=50, features=15, classes=3):
    rng = np.random.default_rng(2)
    return rng.random((rows, features)), rng.integers(0, classes, rows)


def trained(augment, backend="numba", X=None, y=None, sizes=(15, 9, 3), **options):
    """Return a network and the losses of two epochs."""
    if X is None:
        X, y = data()
    how = {name: options.pop(name) for name in ("dtype", "threads", "standardize_inputs", "loss",
           "output") if name in options}  # fmt: skip
    net = fastnn.Network(sizes, "tanh", seed=3, backend=backend, **how)
    settings = {"epochs": 2, "batch_size": 8, "learning_rate": 0.1, **options}
    history = net.train(X, y, augment=augment, **settings)
    return net, np.array(history["loss"])


# Images


@each_shape
@each_change
def test_an_image_is_that_of_scipy_at_the_same_places(shape, change):
    ndimage = pytest.importorskip("scipy.ndimage")
    images, keys = Images(shape, **CHANGES[change]), keys_of(20)
    X = pictures(shape)
    height, width, channels = images.size
    places = np.broadcast_arrays(*images.places(keys), np.empty((len(X), height, width)))[:2]
    wanted = np.empty((len(X), height, width, channels))
    for r, picture in enumerate(X.reshape(wanted.shape)):
        for c in range(channels):
            wanted[r, :, :, c] = ndimage.map_coordinates(
                picture[:, :, c],
                [places[0][r], places[1][r]],
                order=1,
                mode="grid-constant",
                cval=images.fill,
            )
    got = images.apply(X, keys).reshape(wanted.shape)
    # A few roundings of numbers below 1, and of places below 100.
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-13)


@each_shape
def test_the_elastic_field_is_the_cubic_spline_of_scipy(shape):
    ndimage = pytest.importorskip("scipy.ndimage")
    images, keys = Images(shape, elastic=1.5), keys_of(10)
    offsets = 1.5 * counters.normals(keys, 8, 2 * GRID**2).reshape(-1, 2, GRID, GRID)
    at = [1 + (GRID - 3) * np.arange(n) / max(n - 1, 1) for n in shape[:2]]
    for along, field in enumerate(images.field(keys)):
        for r in range(len(keys)):
            wanted = ndimage.map_coordinates(
                offsets[r, along], np.meshgrid(*at, indexing="ij"), order=3, prefilter=False
            )
            np.testing.assert_allclose(field[r], wanted, rtol=0, atol=1e-13)


@pytest.mark.parametrize("length", [1, 2, 5, 28, 300])
def test_the_weights_of_a_spline_sum_to_one(length):
    weights = splines(length)
    assert weights.min() >= 0
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-14)


def test_matrices_are_products_of_turning_slanting_and_scaling():
    images, keys = Images((9, 9), rotate=30, scale=0.2, shear=0.3, shift=3, flip=True), keys_of(200)
    change = 2 * counters.uniforms(keys, 0, 6) - 1
    matrices, down, right = images.matrices(keys)
    for r, (turn, zoom, slant, y, x, side) in enumerate(change):
        angle = np.radians(30 * turn)
        turning = [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
        slanting = [[1, 0], [0.3 * slant, 1]]
        mirror = np.diag([1, -1 if side < 0 else 1])
        wanted = turning @ np.array(slanting) @ mirror / (1 + 0.2 * zoom)
        np.testing.assert_allclose(matrices[:, r, 0, 0].reshape(2, 2), wanted, atol=1e-14)
        np.testing.assert_allclose((down[r, 0, 0], right[r, 0, 0]), (3 * y, 3 * x), atol=1e-14)


@pytest.mark.parametrize("change", ["rotate", "scale", "shear", "flip"])
def test_the_pixel_in_the_middle_stays_if_the_image_is_not_shifted(change):
    numbers = CHANGES[change]
    X = pictures((7, 5))
    got = Images((7, 5), **numbers).apply(X, keys_of(20))
    np.testing.assert_allclose(got[:, 17], X[:, 17], rtol=1e-12)


def test_half_of_the_images_are_mirrored():
    X, keys = pictures((2, 3), 4000), keys_of(4000)
    got = Images((2, 3), flip=True).apply(X, keys)
    mirrored = X.reshape(-1, 2, 3)[:, :, ::-1].reshape(-1, 6)
    changed = np.isclose(got, mirrored).all(axis=1)
    assert np.isclose(got, X).all(axis=1)[~changed].all()
    assert abs(changed.mean() - 0.5) < 5 * 0.5 / np.sqrt(4000)  # standard deviations


def test_what_is_outside_is_filled():
    X = np.zeros((50, 16))
    got = Images((4, 4), shift=100, fill=0.75).apply(X, keys_of(50))
    assert set(np.unique(got[np.ptp(got, axis=1) == 0])) == {0.75}


# Noise and mixtures


def test_noise_is_normal_and_independent():
    stats = pytest.importorskip("scipy.stats")
    added = Noise(0.5).apply(np.zeros((3000, 41)), keys_of(3000)) / 0.5
    assert stats.kstest(added.ravel(), "norm").pvalue > 1e-4
    above = np.triu(np.corrcoef(added.T), 1)
    assert np.abs(above).max() < 5 / np.sqrt(3000)
    assert abs(np.corrcoef(added[1:].ravel(), added[:-1].ravel())[0, 1]) < 5 / np.sqrt(added.size)


@pytest.mark.parametrize("alpha", [0.2, 0.4, 1, 1.5, 4])
def test_shares_have_a_beta_distribution(alpha):
    stats = pytest.importorskip("scipy.stats")
    shares, _ = Mixup(alpha).draws(keys_of(5000))
    assert stats.kstest(shares, stats.beta(alpha, alpha).cdf).pvalue > 1e-4


@pytest.mark.parametrize("alpha", [1e-9, 1e-17, 1e-300, 5e-324])
def test_the_smallest_alpha_mixes_nothing(alpha):
    shares, _ = Mixup(alpha).draws(keys_of(5000))
    assert np.isin(shares, (0, 1)).mean() > 0.99
    assert abs(shares.mean() - 0.5) < 5 / np.sqrt(4 * 5000)


def test_all_rows_are_mixed_with_as_often():
    _, numbers = Mixup(1).draws(keys_of(20000))
    drawn = Examples(np.empty((10, 1)), np.empty(10)).drawn(numbers)
    counts = np.bincount(drawn, minlength=10)
    assert np.abs(counts - 2000).max() < 5 * np.sqrt(2000)


def test_rows_that_are_set_aside_are_not_mixed_with():
    kept = np.array([1, 4, 6])
    _, numbers = Mixup(1).draws(keys_of(100))
    examples = Examples(np.empty((10, 1)), np.empty(10), rows=kept)
    assert set(examples.drawn(numbers)) == set(kept)


def test_targets_are_mixed_as_inputs_are_and_weights_say_how_much_of_each():
    y, weights = np.eye(3)[[0, 1, 2, 1]], np.array([1.0, 0.0, 2.0, 0.5])
    examples, mixup, keys = Examples(np.empty((4, 1)), y, weights), Mixup(1), keys_of(4)[None]
    t, v = augmenting.targets(
        (mixup,), lambda rows: (y[rows], weights[rows]), examples.drawn, np.arange(4), keys
    )
    shares, numbers = mixup.draws(keys[0])
    own, other = shares * weights, (1 - shares) * weights[examples.drawn(numbers)]
    np.testing.assert_allclose(v, own + other)
    # What a loss that is linear in the targets is: the weighted sum of the two.
    wanted = own[:, None] * y + other[:, None] * y[examples.drawn(numbers)]
    np.testing.assert_allclose(v[:, None] * t, wanted, atol=1e-15)


def test_what_comes_before_a_mixture_changes_both_rows_in_different_ways():
    X = np.zeros((6, 200))
    examples, keys = Examples(X, np.empty(6)), row_keys(1, 1, 2, range(6))
    noise, mixup = Noise(1.0), Mixup(1.0)
    got = augmenting.inputs(
        (noise, mixup), lambda rows: X[rows], examples.drawn, np.arange(6), keys
    )
    shares, _ = mixup.draws(keys[1])
    own = noise.apply(X, keys[0])
    other = (got - shares[:, None] * own) / (1 - shares)[:, None]
    for a, b in zip(own, other, strict=True):
        assert abs(np.corrcoef(a, b)[0, 1]) < 5 / np.sqrt(200)
        assert abs(b.std() - 1) < 0.3


# Training

WAYS = {
    "images": Images((3, 5), **CHANGES["all"]),
    "colours": Images((1, 5, 3), **CHANGES["all"]),
    "far": Images((15, 1), rotate=180, shift=20.0, fill=-0.5),
    "noise": Noise(0.2),
    "mixup": Mixup(0.4),
    "several": [Images((5, 3), **CHANGES["all"]), Noise(0.2), Mixup(0.4)],
    "mixup first": [Mixup(0.4), Noise(0.2), Images((5, 3), **CHANGES["all"])],
}
each_way = pytest.mark.parametrize("way", WAYS)


def assert_backends_agree(augment, **options):
    """Assert that parameters agree, and that they are not those without augmentation."""
    ours, theirs = (trained(augment, backend, **options) for backend in BACKENDS)
    # Each step rounds sums of numbers around 1; places of images with float32's last digits.
    tolerance = 1000 * np.finfo(ours[0].parameters.dtype).eps
    scale = max(1.0, float(np.abs(theirs[0].parameters).max()))
    np.testing.assert_allclose(
        ours[0].parameters, theirs[0].parameters, rtol=0, atol=tolerance * scale
    )
    np.testing.assert_allclose(ours[1], theirs[1], rtol=tolerance)
    without, _ = trained(None, "numpy", **options)
    assert np.abs(ours[0].parameters - without.parameters).max() > 1e-3
    return ours[0]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch", [1, 7, 50])
@each_way
def test_backends_agree(way, batch, dtype):
    assert_backends_agree(WAYS[way], batch_size=batch, dtype=dtype)


@each_shape
@pytest.mark.parametrize("inputs", ["uint8", "float32", "float64"])
def test_backends_agree_on_images_of_any_shape_and_type(shape, inputs):
    X = pictures(shape, 20)
    X = (255 * X).astype(inputs) if inputs == "uint8" else X.astype(inputs)
    y = np.random.default_rng(1).integers(0, 3, 20)
    augment = Images(shape, rotate=30, scale=0.3, shear=0.2, shift=0.7, elastic=0.7, fill=0.5)
    assert_backends_agree(augment, X=X, y=y, sizes=(X.shape[1], 6, 3))


@pytest.mark.parametrize(
    "options",
    [
        {"dropout": [0.2, 0.3]},
        {"standardize_inputs": True, "dropout": [0.2, 0.3]},
        {"sample_weight": np.arange(50.0)},
        {"sample_weight": (np.arange(50) % 2).astype(float), "batch_size": 1},
        {"label_smoothing": 0.2, "optimizer": "adam", "learning_rate": 0.01},
        {"class_weight": {1: 3.0}, "clip_norm": 0.1, "l2": 0.1},
        {"validation": 0.3, "shuffle": False},
        {"loss": "focal"},
        {"loss": "mse"},
        {"optimizer": "adamw", "batch_size": 1, "learning_rate": 0.01},
        {"sizes": (15, 4, 3)},  # narrow
        {"sizes": (15, 3)},
        {"sizes": (15, 8, 20), "sample_weight": np.arange(50.0)},  # more outputs than a line has
    ],
    ids=repr,
)
def test_backends_agree_with_other_settings(options):
    assert_backends_agree(WAYS["several"], **options)


@pytest.mark.parametrize("loss", ["mse", "huber", "mae", "poisson", "quantile", "own"])
@pytest.mark.parametrize("weighted", [False, True])
def test_backends_agree_on_numbers(loss, weighted):
    X, labels = data()
    y = np.column_stack([labels, 2.0 - labels])
    sizes, output = (15, 9, 2), "exponential" if loss == "poisson" else "identity"
    if loss == "quantile":
        y, sizes, loss = y[:, :1], (15, 9, 3), fastnn.losses.Quantile((0.2, 0.5, 0.7))
    if loss == "own":
        loss = lambda a, t: (((a - t) ** 2).sum(axis=1), 2 * (a - t))  # noqa: E731
    weights = np.arange(50.0) if weighted else None
    options = {"learning_rate": 0.02, "sample_weight": weights, "validation": 0.2}
    assert_backends_agree(
        WAYS["several"], X=X, y=y, sizes=sizes, loss=loss, output=output, **options
    )


def test_backends_agree_on_a_large_batch_in_blocks():
    rng = np.random.default_rng(3)
    X, y = rng.random((2500, 196), dtype=np.float32), rng.integers(0, 3, 2500)
    augment = [Images((14, 14), rotate=10, elastic=1.0), Mixup(0.3)]
    net = fastnn.Network([196, 64, 3])
    assert blocks.is_large(net.architecture, 2500)
    assert_backends_agree(augment, X=X, y=y, sizes=(196, 64, 3), batch_size=2500)


@each_backend
@each_way
def test_rows_are_augmented_before_they_are_standardised(way, backend):
    """Train on rows that are augmented in advance, in an order that is known."""
    X, y = data(rows=20)
    augment = named(WAYS[way])
    options = {"epochs": 1, "batch_size": 5, "shuffle": False, "dtype": "float64"}
    net, losses = trained(augment, backend, X, y, standardize_inputs=True, **options)
    keys = row_keys(net.seed, 1, 2 + len(augment), range(20))[2:]
    examples, T = Examples(X, y), np.eye(3)[y]
    rows = np.arange(20)
    changed = augmenting.inputs(augment, lambda rows: X[rows], examples.drawn, rows, keys)
    mixed, _ = augmenting.targets(augment, lambda rows: (T[rows], None), examples.drawn, rows, keys)
    other = fastnn.Network(
        (15, 9, 3), "tanh", seed=3, backend=backend, dtype="float64", standardize_inputs=True
    )
    other.model.use_scalers(net.model.input_scaler, None)
    history = other.train(changed, mixed, 1, 5, 0.1, shuffle=False)
    np.testing.assert_allclose(net.parameters, other.parameters, rtol=0, atol=1e-12)
    np.testing.assert_allclose(losses, history["loss"], rtol=1e-12)


@each_backend
def test_evaluation_and_predictions_take_rows_as_they_are(backend):
    X, y = data()
    net = fastnn.Network([15, 9, 3], seed=3, backend=backend)
    history = net.train(X, y, 2, validation=(X, y), training_metrics=True, augment=WAYS["several"])
    found = net.evaluate(X, y)
    assert history["validation_loss"][-1] == history["training_loss"][-1] == found["loss"]
    again = fastnn.Network([15, 9, 3], seed=3, backend=backend)
    again.parameters[:] = net.parameters
    np.testing.assert_array_equal(net.predict_proba(X), again.predict_proba(X))
    np.testing.assert_array_equal(net.predict_one(X[0]), again.predict_one(X[0]))


@each_backend
def test_rows_that_are_learnt_one_by_one_are_taken_as_they_are(backend):
    X, y = data()
    net, _ = trained(WAYS["several"], backend)
    other = fastnn.Network([15, 9, 3], "tanh", seed=3, backend=backend)
    other.parameters[:] = net.parameters
    for each in (net, other):
        each.learn_few(X, y)
        each.learn_one(X[0], y[0])
    np.testing.assert_array_equal(net.parameters, other.parameters)


@each_backend
def test_no_epoch_is_like_another_and_the_seed_decides(backend):
    X, y = data(rows=8)
    options = {"learning_rate": 1e-9, "batch_size": 8, "epochs": 3}
    losses = trained(WAYS["images"], backend, X, y, **options)[1]
    assert np.abs(np.diff(losses)).min() > 1e-4
    np.testing.assert_array_equal(losses, trained(WAYS["images"], backend, X, y, **options)[1])


@pytest.mark.usefixtures("worth_threads")
@pytest.mark.parametrize("batch", [1, 9, 50])
@pytest.mark.parametrize("sizes", [(15, 9, 3), (15, 700, 3)], ids=repr)
@each_way
def test_any_number_of_threads_gives_the_same_bits(way, sizes, batch):
    X, y = data()
    results = [
        trained(WAYS[way], X=X, y=y, sizes=sizes, batch_size=batch, threads=count)
        for count in (1, 2, 3)
    ]
    assert {net.parameters.tobytes() for net, _ in results} == {results[0][0].parameters.tobytes()}
    assert {losses.tobytes() for _, losses in results} == {results[0][1].tobytes()}


def digests(dtype):
    """Return a digest of what each way makes of a network."""
    big = [Images((28, 28), **CHANGES["all"]), Noise(0.1), Mixup(0.3)]
    X, y = pictures((28, 28), 40), np.arange(40) % 3
    nets = [trained(way, dtype=dtype)[0] for way in WAYS.values()]
    nets.append(trained(big, X=X, y=y, sizes=(784, 9, 3), dtype=dtype)[0])
    return [hashlib.sha256(net.parameters.tobytes()).hexdigest() for net in nets]


@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.long)])
@pytest.mark.parametrize("bits", [128, 256, 512])
def test_any_vector_width_gives_the_same_bits(run_python, bits, dtype):
    code = "import sys; sys.path.insert(0, 'tests'); import test_augment as t; "
    code += f"print(t.digests({dtype!r}))"
    assert run_python("-c", code, FASTNN_VECTOR_BITS=str(bits)).strip() == str(digests(dtype))


@each_backend
@each_way
def test_a_run_that_is_resumed_gives_the_same_bits(way, backend, tmp_path):
    path, X, y = tmp_path / "run", *data()
    options = {"augment": WAYS[way], "backend": backend, "epochs": 4, "dropout": 0.2}
    whole, _ = trained(X=X, y=y, **options)

    class Stop(Exception):
        pass

    def stop(row):
        if row["epoch"] == 2:
            raise Stop

    options |= {"checkpoint": path, "checkpoint_every": 3}
    with pytest.raises(Stop):
        trained(X=X, y=y, callbacks=[stop], **options)
    resumed, _ = trained(X=X, y=y, resume=True, **options)
    np.testing.assert_array_equal(whole.parameters, resumed.parameters)


@pytest.mark.parametrize(
    ("one", "same"),
    [
        ({"augment": Images((3, 5), shift=1)}, {"augment": Images([3, 5], shift=1.0)}),
        ({"augment": Noise(np.float64(0.1))}, {"augment": [Noise(0.1)]}),
        ({"average": SWA(2)}, {"average": SWA(np.int64(2))}),
        ({"optimizer": Adam(input_factor=6)}, {"optimizer": Adam(input_factor=np.float32(6))}),
    ],
    ids=["images", "noise", "average", "optimizer"],
)
def test_a_number_of_another_type_is_the_same_run(one, same, tmp_path):
    options = {"augment": None, "checkpoint": tmp_path / "run"}
    trained(**{**options, **one, "max_seconds": 1e-9})
    resumed = trained(**{**options, **same}, resume=True)[0]
    whole = trained(**{**options, **one, "checkpoint": None})[0]
    np.testing.assert_array_equal(resumed.parameters, whole.parameters)


def test_other_augmentation_is_another_run(tmp_path):
    path = tmp_path / "run"
    trained(WAYS["images"], checkpoint=path)
    with pytest.raises(ValueError, match=r"another run: augment was .*rotate=12.* and is now"):
        trained(WAYS["several"], checkpoint=path, resume=True)
    with pytest.raises(ValueError, match=r"augment was .* and is now \[\]"):
        trained(None, checkpoint=path, resume=True)


@each_backend
def test_a_run_that_diverges_says_where(backend):
    X, y = data()
    with pytest.raises(fastnn.DivergenceError, match="no longer finite in epoch"):
        trained(
            WAYS["several"], backend, X, np.eye(3)[y] * 1e3, learning_rate=1e6, output="identity"
        )


# What is refused


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Images(28), "shape must be"),
        (lambda: Images("28x28"), "shape must be"),
        (lambda: Images((28,), shift=1), "shape must be"),
        (lambda: Images((28, 28, 2), shift=1), r"1 or 3 channels; got \(28, 28, 2\)"),
        (lambda: Images((0, 28), shift=1), r"shape\[0\] must be at least 1"),
        (lambda: Images((2.5, 28), shift=1), r"shape\[0\] must be an integer"),
        (lambda: Images((28, 28), rotate=-1), "rotate must be finite and at least 0"),
        (lambda: Images((28, 28), rotate=181), "at most 180"),
        (lambda: Images((28, 28), scale=1), "less than 1"),
        (lambda: Images((28, 28), shear=np.nan), "shear must be finite"),
        (lambda: Images((28, 28), shift=np.inf), "shift must be finite"),
        (lambda: Images((28, 28), elastic=-0.1), "elastic must be finite and at least 0"),
        (lambda: Images((28, 28), shift=1, fill=np.nan), "fill must be finite; got nan"),
        (lambda: Images((28, 28), flip=2), "flip must be a bool"),
        (lambda: Images((28, 28)), "changes nothing"),
        (lambda: Images((28, 28), fill=0.5), "changes nothing"),
        (lambda: Noise(0), "std must be finite and greater than 0"),
        (lambda: Noise("a"), "std must be a number"),
        (lambda: Mixup(0), "alpha must be finite and greater than 0"),
        (lambda: Mixup(np.inf), "alpha must be finite"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()


@each_backend
@pytest.mark.parametrize(
    ("augment", "message"),
    [
        (Images((4, 4), shift=1), r"\(4, 4\), which is 16 numbers a row; the rows have 15"),
        ("noise", "must be of fastnn.augment"),
        (Noise, "must be of fastnn.augment"),
        ([Noise(0.1), 3], "must be of fastnn.augment"),
        ([Mixup(1), Mixup(2)], "at most one Mixup"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_trained(augment, message, backend):
    net = fastnn.Network([15, 9, 3], "tanh", seed=3, backend=backend)
    before = net.parameters.copy()
    with pytest.raises((TypeError, ValueError), match=message):
        net.train(*data(), augment=augment)
    np.testing.assert_array_equal(net.parameters, before)


def test_sparse_rows_are_refused():
    sparse = pytest.importorskip("scipy.sparse")
    X, y = data()
    with pytest.raises(ValueError, match=r"augment needs dense rows.*toarray"):
        trained(Noise(0.1), X=sparse.csr_array(X), y=y)


def test_an_empty_list_is_no_augmentation():
    np.testing.assert_array_equal(trained([])[0].parameters, trained(None)[0].parameters)


@pytest.mark.parametrize("kind", ["MLPClassifier", "MLPRegressor"])
def test_estimators_pass_it_on(kind):
    pytest.importorskip("sklearn")
    from sklearn.base import clone

    X, y = data()
    how = {"hidden_layer_sizes": (5,), "max_iter": 200, "random_state": 0, "tol": 0.5}
    made = getattr(fastnn.estimators, kind)(**how, augment=[Noise(0.1), Mixup(0.2)])
    fitted = clone(made).fit(X, y)
    plain = getattr(fastnn.estimators, kind)(**how).fit(X, y)
    assert (fitted.coefs_[0] != plain.coefs_[0]).any()
    # A step of `partial_fit` is augmented, too, in every call anew.
    before = fitted.coefs_[0].copy()
    fitted.partial_fit(X, y)
    assert (fitted.coefs_[0] != before).any()
    assert "partial" not in fitted.network_.model.prepared
    with pytest.raises(ValueError, match="augment needs a stochastic solver"):
        clone(made).set_params(solver="lbfgs").fit(X, y)


def test_tune_takes_it_as_a_setting():
    pytest.importorskip("sklearn")
    X, y = data()
    found = fastnn.tune(
        X, y, {"augment": [None, Noise(0.5)]}, hidden=(4,), epochs=2, folds=2, jobs=1
    )
    assert {str(row["augment"]) for row in found.results} == {"None", "Noise(std=0.5)"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("turn=3", "NAME=NUMBER for rotate, .*, mixup; got turn=3"),
        ("rotat=3", "did you mean 'rotate'"),
        ("rotate", "NAME=NUMBER"),
        ("flip=1", "NAME=NUMBER"),
        ("rotate=a", "--augment rotate=a"),
        ("noise=0", "--augment noise=0: Noise's std"),
        ("size=3xa shift=1", "--augment size=3xa: need HEIGHTxWIDTH"),
        ("shift=-1 size=3x5", "--augment shift=-1 size=3x5: Images's shift"),
        ("size=3x5", "changes nothing"),
        ("shift=1", "needs size=HEIGHTxWIDTH, as 15 features"),
    ],
)
def test_words_of_the_command_line_that_are_wrong_are_refused(words, message):
    X = np.zeros((3, 15), np.uint8)
    with pytest.raises(ValueError, match=message):
        of_words(words.split(), Dataset("data", X, X, X, X, (), None))


@pytest.mark.parametrize("words", ["rotate=10", "shift=1 noise=0.1"])
def test_columns_of_a_table_are_no_square_of_pixels(words):
    X = np.zeros((3, 4), np.float32)
    with pytest.raises(ValueError, match=r"needs size=HEIGHTxWIDTH, as 4 features .*float32"):
        of_words(words.split(), Dataset("data", X, X, X, X, (), None))
