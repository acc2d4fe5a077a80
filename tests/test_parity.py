"""Both backends compute the same: every case, every function, every memory layout."""

from __future__ import annotations

import inspect
import math
import platform
from dataclasses import replace

import numpy as np
import pytest
from cases import (
    BACKENDS,
    CASES,
    DATA_KINDS,
    DEPTHS,
    DTYPES,
    EDGES,
    FORMULAS,
    SPARSE,
    Case,
    make_data,
    make_network,
    take_steps,
)

from fastnn import Network, backends
from fastnn.backends.compiled.kernels import products
from fastnn.backends.contract import CONTRACT, Examples, Objective
from fastnn.backends.dropout import NO_KEYS
from fastnn.model.parameters import Parameters

BOTH = [backends.get(name) for name in BACKENDS]
REDUCED = {*DEPTHS, *FORMULAS, *DATA_KINDS, *EDGES[::4], *SPARSE[::4]}
every_case = pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case.id, marks=[pytest.mark.every_width] * (case in REDUCED))
        for case in CASES
    ],
)
# One of each dtype, with widths that leave every vector width a rest.
PLAIN = [Case((21, 19, 5), dtype=dtype, batch=11) for dtype in DTYPES]
PLAIN += [replace(case, precision="bfloat16") for case in PLAIN if case.dtype == "float32"]
each_dtype = pytest.mark.parametrize(
    "case", PLAIN, ids=[case.precision or case.dtype for case in PLAIN]
)
each_backend = pytest.mark.parametrize("backend", BACKENDS)


def assert_close(case, got, want):
    """Compare numbers that two orders of the same sums gave.

    Rounding errors of a sum of n numbers grow like sqrt(n), and add up over the layers. In bfloat16
    two sums may lie on the two sides of a tie: then a factor of the next product is off by 2^-8 of
    it, in one row of many. `test_precision` compares sums that are exact.
    """
    scale = max(1.0, float(np.max(np.abs(want))))
    error = np.finfo(case.dtype).eps * math.sqrt(case.longest_sum)
    if case.precision == "bfloat16":
        error = max(2.0**-8 / case.batch, 2.0**-12)
    tolerance = error * len(case.sizes) * scale
    np.testing.assert_allclose(got, want, rtol=0, atol=tolerance)


def assert_gradient_close(case, got, want):
    """As `assert_close`, but gradients have no natural scale of 1."""
    scale = float(np.max(np.abs(want)))
    assert_close(case, got / scale, want / scale)


def prepared(case, rows=None):
    """Return the module and the network of each backend, and X and y."""
    X, y = make_data(case, np.random.default_rng(3), rows)
    for module in BOTH:
        module.prepare(make_network(case).model)
    return (
        [(module, make_network(case, name)) for module, name in zip(BOTH, BACKENDS, strict=True)],
        X,
        y,
    )


def padding(net):
    """Return a mask of the padding in the vector of parameters."""
    used = Parameters(net.architecture)
    for array in (*used.weights, *used.biases):
        array[...] = 1
    return used.vector == 0


def train(net, X, y, order, batch, l2=0.01):
    """Take a step a batch; return the losses."""
    losses = np.full(math.ceil(len(order) / batch), np.nan)
    rates = np.linspace(0.1, 0.05, len(losses))
    assert take_steps(net, X, y, order, batch, rates, l2, losses) == len(losses)
    return losses


def signature(function):
    """Return a signature in which functions as defaults, which are never equal, are left out."""
    whole = inspect.signature(function)
    parameters = [
        parameter.replace(default=None) if callable(parameter.default) else parameter
        for parameter in whole.parameters.values()
    ]
    return whole.replace(parameters=parameters)


@pytest.mark.parametrize("name", CONTRACT)
def test_signatures_are_the_same(name):
    compiled, reference = (signature(getattr(module, name)) for module in BOTH)
    assert compiled == reference


@every_case
def test_predictions_agree(case):
    nets, X, _ = prepared(case, case.batch)
    outs = []
    for module, net in nets:
        outs.append(np.full((len(X), case.sizes[-1]), np.nan, case.dtype))
        assert module.predict(net.model, X, outs[-1]) is True
    assert_close(case, *outs)


@every_case
def test_losses_agree_and_their_outputs_are_the_predictions(case):
    nets, X, y = prepared(case, case.batch)
    losses = []
    for module, net in nets:
        out, predictions = np.full((2, len(X), case.sizes[-1]), np.nan, case.dtype)
        losses.append(module.loss(net.model, Examples(X, y), out))
        module.predict(net.model, X, predictions)
        assert out.tobytes() == predictions.tobytes()
    assert_close(case, *losses)


@every_case
def test_losses_and_gradients_agree(case):
    nets, X, y = prepared(case, case.batch)
    losses, gradients = [], []
    for module, net in nets:
        gradient = Parameters(net.architecture)
        gradient.vector[:] = np.nan
        losses.append(
            module.loss_and_gradient(
                net.model, Examples(X, y), Objective(l2=0.01), NO_KEYS, gradient
            )
        )
        gradients.append(gradient.vector)
        assert not gradient.vector[padding(net)].any()
    assert_close(case, *losses)
    assert_gradient_close(case, *gradients)


@every_case
@pytest.mark.parametrize("l2", [0.01, 0.0])
def test_training_steps_agree_and_leave_padding_zero(case, l2):
    nets, X, y = prepared(case)
    order = np.random.default_rng(5).permutation(len(X))
    losses = []
    for _, net in nets:
        before = net.parameters.copy()
        losses.append(train(net, X, y, order, case.batch, l2))
        assert np.abs(net.parameters - before).max() > 1e-4  # else the next line says little
        assert not net.parameters[padding(net)].any()
    assert_close(case, *losses)
    assert_close(case, *(net.parameters for _, net in nets))


@each_dtype
@each_backend
def test_order_picks_the_rows(case, backend):
    net, other = (make_network(case, backend) for _ in range(2))
    X, y = make_data(case, np.random.default_rng(3))
    order = np.array([4, 0, 4, 30, 7, 7, 2])
    losses = train(net, X, y, order, 3)
    assert losses.tobytes() == train(other, X[order], y[order], np.arange(7), 3).tobytes()
    assert net.parameters.tobytes() == other.parameters.tobytes()


@each_dtype
@each_backend
@pytest.mark.parametrize(("batch", "steps"), [(1, 5), (3, 1)])
def test_steps_stop_before_a_loss_that_is_not_finite(batch, steps, case, backend):
    net, other = (make_network(case, backend) for _ in range(2))
    X, y = make_data(case, np.random.default_rng(3), rows=9)
    order, rates = np.arange(9), np.full(9 // batch, 0.1)
    take_steps(other, X, y, order[: steps * batch], batch, rates[:steps], 0.01, np.empty(steps))
    X[5] = np.nan
    assert take_steps(net, X, y, order, batch, rates, 0.01, np.empty(9 // batch)) == steps
    assert net.parameters.tobytes() == other.parameters.tobytes()


def strided(X, axis, step):
    """Return rows equal to X, of which memory holds only every so many, backwards if negative."""
    shape = list(X.shape)
    shape[axis] *= abs(step)
    chosen = tuple(slice(None, None, step if i == axis else None) for i in (0, 1))
    view = np.zeros(shape, X.dtype)[chosen]
    view[...] = X
    return view


def memory_map(X, folder):
    path = folder / "X.bin"
    np.ascontiguousarray(X).tofile(path)
    return np.memmap(path, X.dtype, "r", shape=X.shape)


def unaligned(X):
    """Return rows equal to X at an odd address."""
    view = np.zeros(X.nbytes + 1, np.uint8)[1:].view(X.dtype).reshape(X.shape)
    view[...] = X
    return view


LAYOUTS = {
    "fortran": lambda X, folder: np.asfortranarray(X),
    "every other column": lambda X, folder: strided(X, 1, 2),
    "every third row": lambda X, folder: strided(X, 0, 3),
    "rows backwards": lambda X, folder: strided(X, 0, -1),
    "columns backwards": lambda X, folder: strided(X, 1, -1),
    "backwards in both, with gaps": lambda X, folder: strided(strided(X, 1, -2), 0, -2),
    "columns far apart": lambda X, folder: strided(X, 1, 40),
    "memory map": memory_map,
    "memory map by columns": lambda X, folder: memory_map(X.T, folder).T,
    "unaligned": lambda X, folder: unaligned(X),
}
DATA_TYPES = ("float32", "float64", "uint8")


def everything(net, X, y):
    """Return the bits of what each public method gives for X and y."""
    loss, gradient = net.loss_and_gradient(X, y, l2=0.01)
    history = net.train(X, y, epochs=2, batch_size=9)
    results = [loss, history["loss"], *net.evaluate(X, y).values()]
    arrays = (net.predict_proba(X), gradient.vector, net.parameters, np.array(results[0]))
    return [array.tobytes() for array in arrays], results


@each_dtype
@pytest.mark.parametrize("inputs", DATA_TYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_layout_of_inputs_changes_no_bit(case, inputs, layout, tmp_path):
    X, y = make_data(replace(case, inputs=inputs), np.random.default_rng(3))
    other = LAYOUTS[layout](X, tmp_path)
    np.testing.assert_array_equal(other, X)
    assert everything(make_network(case), other, y) == everything(make_network(case), X, y)


@each_dtype
@pytest.mark.parametrize("inputs", DATA_TYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_both_backends_read_every_layout(case, inputs, layout, tmp_path):
    case = replace(case, inputs=inputs)
    X, _ = make_data(case, np.random.default_rng(3))
    other = LAYOUTS[layout](X, tmp_path)
    compiled, reference = (make_network(case, backend) for backend in BACKENDS)
    assert_close(case, compiled.predict_proba(other), reference.predict_proba(X))
    assert_close(case, reference.predict_proba(other), reference.predict_proba(X))


@each_dtype
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("targets", ["labels", "one_hot", "probabilities"])
def test_the_layout_of_targets_changes_no_bit(case, targets, layout, tmp_path):
    X, y = make_data(replace(case, targets=targets), np.random.default_rng(3))
    other = LAYOUTS[layout](y[:, None] if y.ndim == 1 else y, tmp_path)
    other = other[:, 0] if y.ndim == 1 else other
    np.testing.assert_array_equal(other, y)
    assert everything(make_network(case), X, other) == everything(make_network(case), X, y)


@each_dtype
@each_backend
@pytest.mark.parametrize("inputs", ["float32", "float64"])
def test_inputs_of_the_other_precision_are_converted(case, backend, inputs):
    X, y = make_data(replace(case, inputs=inputs), np.random.default_rng(3))
    converted = X.astype(case.dtype)
    first, second = (make_network(case, backend) for _ in range(2))
    assert everything(first, X, y) == everything(second, converted, y)


@each_dtype
@each_backend
def test_bytes_are_pixels_scaled_to_one(case, backend):
    X, y = make_data(replace(case, inputs="uint8"), np.random.default_rng(3))
    number = np.dtype(case.dtype).type
    scaled = X.astype(case.dtype) * (number(1) / number(255))
    first, second = (make_network(case, backend) for _ in range(2))
    assert everything(first, X, y) == everything(second, scaled, y)


@each_dtype
@each_backend
@pytest.mark.parametrize("kind", ["int8", "int64", "uint16", "bool", "float16", ">f4", ">f8"])
def test_other_numbers_are_converted_and_not_scaled(case, backend, kind):
    X, y = make_data(replace(case, inputs="uint8"), np.random.default_rng(3))
    X = (X // 128).astype(kind)
    first, second = (make_network(case, backend) for _ in range(2))
    assert everything(first, X, y) == everything(second, X.astype(case.dtype), y)


@each_dtype
@each_backend
@pytest.mark.parametrize("kind", ["uint8", "float32", "float64", "int64", "bool"])
def test_labels_and_one_hot_targets_give_the_same_bits(case, backend, kind):
    X, y = make_data(case, np.random.default_rng(3))
    one_hot = np.eye(case.sizes[-1], dtype=kind)[y]
    first, second = (make_network(case, backend) for _ in range(2))
    assert everything(first, X, y) == everything(second, X, one_hot)


@each_dtype
@pytest.mark.parametrize("kind", ["int8", "uint8", "int32", "uint64", ">i2"])
def test_labels_may_be_integers_of_any_type(case, kind):
    X, y = make_data(case, np.random.default_rng(3))
    other = y.astype(kind)
    assert everything(make_network(case), X, other) == everything(make_network(case), X, y)


@each_dtype
@pytest.mark.parametrize("inputs", DATA_TYPES)
@pytest.mark.parametrize("targets", ["labels", "one_hot", "probabilities"])
@each_backend
def test_data_is_not_modified_and_may_be_read_only(case, inputs, targets, backend):
    X, y = make_data(replace(case, inputs=inputs, targets=targets), np.random.default_rng(3))
    copies = X.copy(), y.copy()
    X.flags.writeable = y.flags.writeable = False
    everything(make_network(case, backend), X, y)
    assert (X.tobytes(), y.tobytes()) == tuple(copy.tobytes() for copy in copies)


@pytest.mark.every_width
@pytest.mark.parametrize("zeros", [0.5, 0.9, 1.0])
@pytest.mark.parametrize("sizes", [(21, 19, 5), (784, 128, 10), (300, 5)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_leaving_out_zeros_changes_no_bit(dtype, sizes, zeros, monkeypatch):
    case = Case(sizes, dtype=dtype, batch=27, zeros=zeros)
    X, y = make_data(case, np.random.default_rng(3))
    results = []
    for share in (-1.0, 2.0):  # never, always
        monkeypatch.setattr(products, "WORTH_LISTING", share)
        results.append(everything(make_network(case), X, y))
    assert results[0] == results[1]


@each_dtype
@each_backend
def test_nothing_but_training_changes_the_parameters(case, backend):
    net = make_network(case, backend)
    X, y = make_data(case, np.random.default_rng(3))
    before = net.parameters.tobytes()
    net.predict(X), net.predict_proba(X), net.evaluate(X, y), net.loss_and_gradient(X, y, l2=0.1)
    assert net.parameters.tobytes() == before


@each_dtype
@each_backend
def test_a_list_is_as_good_as_an_array(case, backend):
    X, y = make_data(case, np.random.default_rng(3))
    first, second = (make_network(case, backend) for _ in range(2))
    as_lists = X.astype(np.float64).tolist(), y.tolist()
    assert everything(first, *as_lists) == everything(second, X, y)


# Numbers below the smallest normal one


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch", [1, 40])
def test_saturated_sigmoids_learn_the_same(dtype, batch):
    rng = np.random.default_rng(3)
    X = rng.uniform(0, 255, (40, 30)).astype(dtype)  # weighted sums go down to about -150
    y = rng.integers(0, 4, 40)
    nets = [
        Network([30, 20, 4], "sigmoid", "sigmoid", "mse", seed=1, dtype=dtype, backend=backend)
        for backend in ("numpy", "numba")
    ]
    # A rate at which rounding, which depends on NumPy's BLAS, is not carried further than that.
    losses = [net.train(X, y, 1, batch, 0.05)["loss"] for net in nets]
    # Inputs of up to 255 carry rounding on from step to step.
    np.testing.assert_allclose(*losses, rtol=1000 * np.finfo(dtype).eps)
    expected, got = (net.predict_proba(X) for net in nets)
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=np.finfo(dtype).tiny)
    one_by_one = [nets[1].predict_one(x) for x in X]
    np.testing.assert_array_equal(one_by_one, got)


def test_the_kernels_leave_the_arithmetic_of_others_as_it_was():
    small = np.full(3, 1e-40, np.float32)  # denormal
    net = Network([3, 2, 2], seed=0)
    X = np.ones((8, 3), np.float32)
    for call in (
        lambda: net.train(X, [0, 1] * 4, epochs=1, batch_size=8),
        lambda: net.train(X, [0, 1] * 4, epochs=1, batch_size=1),
        lambda: net.predict(X),
        lambda: net.predict_one(X[0]),
        lambda: net.loss_and_gradient(X, [0, 1] * 4),
    ):
        call()
        assert (small * np.float32(0.5) > 0).all()


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="of x86 alone")
def test_the_kernels_take_numbers_that_are_not_normal_as_zero():
    """A sum of them is one that would be normal, so that the slow way would show."""
    net = Network([2000, 1], output="identity", init=lambda *_: np.ones((2000, 1)))
    X = np.full((4, 2000), 1e-40, np.float32)
    assert net.predict_proba(X).tolist() == [[0.0]] * 4
    assert net.predict_one(X[0]).tolist() == [0.0]
    assert (Network([2000, 1], output="identity", backend="numpy").predict(X) != 0).any()
