"""Products of factors that are rounded to bfloat16."""

from __future__ import annotations

import numpy as np
import pytest
from cases import BACKENDS

from fastnn import Network
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
