"""Gradients: against finite differences, and one step of training worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from cases import BACKENDS, FORMULAS, Case, make_data, make_network

from fastnn import Network

# Central differences are off by h**2 / 6 times a third derivative of the order of 1, that is 2e-11,
# and by rounding, eps / h, also 2e-11. The tolerance is ten times their sum.
STEP = 1e-5
TOLERANCE = 4e-10
L2 = 0.3


def far_from_kinks(case):
    """Return a seed with which no unit of a ReLU layer is near its kink, whatever is nudged."""
    for seed in range(100):
        net = make_network(case, "numpy", seed)
        X, _ = make_data(case, np.random.default_rng(3), case.batch)
        distances = []
        a = X
        for weights, biases in zip(net.weights[:-1], net.biases[:-1], strict=True):
            z = a @ weights + biases
            distances.append(np.abs(z).min())
            a = np.maximum(z, 0)
        if min(distances) > 100 * STEP:
            return seed
    raise AssertionError("no seed will do")


@pytest.mark.every_width
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "case", [pytest.param(case, id=case.id) for case in FORMULAS if case.dtype == "float64"]
)
def test_gradient_is_that_of_finite_differences(case, backend):
    net = make_network(case, backend, far_from_kinks(case) if case.activation == "relu" else 7)
    X, y = make_data(case, np.random.default_rng(3), case.batch)
    gradient = net.loss_and_gradient(X, y, l2=L2)[1]

    def slope(array, place):
        value = array[place]
        losses = []
        for nudged in (value + STEP, value - STEP):
            array[place] = nudged
            losses.append(net.loss_and_gradient(X, y, l2=L2)[0])
        array[place] = value
        return (losses[0] - losses[1]) / (2 * STEP)

    # Every seventh weight: seven divides the length of no row.
    for arrays, slopes, every in (
        (net.weights, gradient.weights, 7),
        (net.biases, gradient.biases, 1),
    ):
        for array, got in zip(arrays, slopes, strict=True):
            places = list(np.ndindex(array.shape))[::every]
            want = [slope(array, place) for place in places]
            np.testing.assert_allclose([got[place] for place in places], want, 0, TOLERANCE)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
class TestByHand:
    """A step on numbers so round that no operation rounds: every result is exact.

    Two inputs, two ReLU units, one linear output, squared error, rows x and targets t:

        x = (1, 2), t = 1                     x = (-1, 1), t = 0
        z = (1 + 1 + 0, -1 + 2 - 1/2)         z = (-1 + 1/2 + 0, 1 + 1 - 1/2)
          = (2, 1/2)                            = (-1/2, 3/2)
        a = (2, 1/2)                          a = (0, 3/2)
        o = 1 - 1/2 + 1/4 = 3/4               o = 0 - 3/2 + 1/4 = -5/4
        loss = 1/16                           loss = 25/16
        delta = 2 (o - t) = -1/2              delta = -5/2
        hidden = (-1/4, 1/2)                  hidden = (0, 5/2)
    """

    X = np.array([[1, 2], [-1, 1]])
    y = np.array([[1], [0]])
    loss = 0.8125
    slopes = (
        np.array([[-0.125, -1.0], [-0.25, 1.75]]),  # (1 -1/4 - 1 0, 1 1/2 - 1 5/2) / 2, ...
        np.array([[-0.5], [-2.0]]),  # (2 -1/2 + 0 -5/2, 1/2 -1/2 + 3/2 -5/2) / 2
    )
    bias_slopes = (np.array([-0.125, 1.5]), np.array([-1.5]))

    @pytest.fixture
    def net(self, backend, dtype):
        net = Network(
            [2, 2, 1],
            activation="relu",
            output="identity",
            loss="mse",
            dtype=dtype,
            backend=backend,
        )
        net.weights[0], net.biases[0] = np.array([[1, -1], [0.5, 1]]), np.array([0, -0.5])
        net.weights[1], net.biases[1] = np.array([[0.5], [-1]]), np.array([0.25])
        return net

    def test_outputs(self, net):
        np.testing.assert_array_equal(net.predict(self.X), [[0.75], [-1.25]])

    def test_loss(self, net):
        assert net.evaluate(self.X, self.y)["loss"] == self.loss

    def test_gradient(self, net):
        loss, gradient = net.loss_and_gradient(self.X, self.y)
        assert loss == self.loss
        for l in range(2):
            np.testing.assert_array_equal(gradient.weights[l], self.slopes[l])
            np.testing.assert_array_equal(gradient.biases[l], self.bias_slopes[l])

    def test_penalty_is_on_the_weights_alone(self, net):
        loss, gradient = net.loss_and_gradient(self.X, self.y, l2=0.25)
        assert loss == self.loss + 0.125 * (1 + 1 + 0.25 + 1 + 0.25 + 1)
        for l in range(2):
            want = self.slopes[l] + 0.25 * net.weights[l]
            np.testing.assert_array_equal(gradient.weights[l], want)
            np.testing.assert_array_equal(gradient.biases[l], self.bias_slopes[l])

    def test_step(self, net):
        history = net.train(self.X, self.y, epochs=1, batch_size=2, learning_rate=0.5, l2=0.25)
        assert history["loss"] == [self.loss]
        # Weights shrink by 1 - 0.5 * 0.25 = 0.875; then half of the slopes comes off.
        np.testing.assert_array_equal(net.weights[0], [[0.9375, -0.375], [0.5625, 0.0]])
        np.testing.assert_array_equal(net.biases[0], [0.0625, -1.25])
        np.testing.assert_array_equal(net.weights[1], [[0.6875], [0.125]])
        np.testing.assert_array_equal(net.biases[1], [1.0])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("output", "loss", "targets", "value", "delta"),
    [
        ("softmax", "cross_entropy", [[1, 0]], math.log(2), [-0.5, 0.5]),
        ("sigmoid", "binary_cross_entropy", [[1, 0]], 2 * math.log(2), [-0.5, 0.5]),
        ("exponential", "poisson", [[3, 0]], 2, [-2, 1]),
        ("identity", "poisson", [[3, 0]], 2, [-2, 1]),
        ("softmax", "mse", [[1, 0]], 0.25, [-0.25, 0.25]),
        ("sigmoid", "mse", [[1, 0]], 0.25, [-0.125, 0.125]),
        ("identity", "mse", [[1, 0]], 0.5, [-1, 0]),
        ("identity", "mae", [[3, 0]], 1.5, [-0.5, 0]),
        ("identity", "huber", [[3, 0]], 1.25, [-0.5, 0]),
        ("identity", "huber", [[0.5, 0]], 0.0625, [-0.25, 0]),
        ("exponential", "mse", [[2, 1]], 0.5, [-1, 0]),
    ],
)
def test_loss_and_delta_of_two_outputs_at_zero(output, loss, targets, value, delta, dtype, backend):
    net = Network([1, 2], output=output, loss=loss, dtype=dtype, backend=backend)
    net.weights[0] = np.zeros((1, 2))
    got, gradient = net.loss_and_gradient([[3]], targets)
    eps = float(np.finfo(dtype).eps)  # a few roundings of numbers around 1
    assert got == pytest.approx(value, rel=4 * eps)
    np.testing.assert_allclose(gradient.biases[0], delta, 4 * eps)
    np.testing.assert_allclose(gradient.weights[0], [3 * np.array(delta)], 4 * eps)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("output", ["softmax", "sigmoid"])
def test_cross_entropy_is_finite_where_outputs_round_to_zero_and_one(output, dtype, backend):
    net = make_network(Case((1, 2), output=output, dtype=dtype), backend)
    net.weights[0], net.biases[0] = np.array([[1000, -1000]]), np.zeros(2)
    wrong, right = np.array([[0, 1]]), np.array([[1, 0]])
    loss, gradient = net.loss_and_gradient([[1]], wrong)
    assert loss == 2000
    np.testing.assert_array_equal(gradient.biases[0], [1, -1])
    assert net.loss_and_gradient([[1]], right)[0] == 0
