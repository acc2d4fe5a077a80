"""Augmentation: the formulas, both backends, threads, resuming, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from cases import BACKENDS

import fastnn
from fastnn import counters
from fastnn.augment import GRID, Images, Mixup, Noise, splines
from fastnn.backends.contract import Examples
from fastnn.backends.dropout import row_keys

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
