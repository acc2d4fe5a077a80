"""Networks as ONNX files: ONNX Runtime predicts what they do, and `fastnn.load` reads them."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
import onnx
import onnxruntime as runtime
from cases import assert_nearly_all_close

import fastnn
from fastnn import Network
from fastnn.activations import HIDDEN
from fastnn.export import onnx as writing
from fastnn.losses import Quantile

DTYPES = {"float32": 1e-6, "float64": 1e-12}
OUTPUTS = {"softmax": 3, "sigmoid": 1, "identity": 2, "exponential": 2}
each_dtype = pytest.mark.parametrize("dtype", DTYPES)


def inputs(dtype="float32", rows=50, columns=5, seed=0):
    return np.random.default_rng(seed).normal(0, 2, (rows, columns)).astype(dtype)


def network(dtype="float32", activation="tanh", output="softmax", sizes=(5, 7), **options):
    """Return a network with biases that are not zero."""
    sizes = [*sizes, OUTPUTS[output]]
    net = Network(sizes, activation, output, seed=3, dtype=dtype, backend="numpy", **options)
    rng = np.random.default_rng(1)
    for biases in net.biases:
        biases[:] = rng.normal(size=biases.shape)
    return net


def scaled(dtype, **options):
    """Return a network that has learnt the scale of inputs and targets far from 0 and 1."""
    scaling = {"standardize_inputs": True, "standardize_targets": True}
    net = network(dtype, output="identity", **scaling, **options)
    X = inputs(dtype) * [1, 10, 0.1, 3, 1000] + [5, 50, 0.3, -2, 9000]
    net.train(X, X[:, :2] * [3, 0.01] + [100, -0.2], epochs=2)
    return net, X.astype(dtype)


def predicted(path, X):
    """Return what ONNX Runtime makes of rows, by name of the output."""
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"inputs": X}), strict=True))


def is_the_same(net, X, path, tolerance=None):
    """Export a network, compare what it predicts with ONNX Runtime, and load it again."""
    net.export(path)
    found, expected = predicted(path, X), net.predict_proba(X)
    tolerance = tolerance or DTYPES[net.architecture.dtype.name]
    name = "probabilities" if net.architecture.output in ("softmax", "sigmoid") else "outputs"
    close = {"rtol": tolerance, "atol": tolerance}
    assert found[name].dtype == expected.dtype
    np.testing.assert_allclose(found[name], expected, **close)
    if "labels" in found:
        assert found["labels"].tolist() == net.predict(X).tolist()
    other = fastnn.load(path, backend="numpy")
    np.testing.assert_allclose(other.predict_proba(X), expected, **close)
    ours, theirs = net.architecture, other.architecture
    assert (ours.sizes, ours.activations, ours.dtype) == (
        theirs.sizes,
        theirs.activations,
        theirs.dtype,
    )
    assert (net.classes, net.features) == (other.classes, other.features)
    assert net.model.pixels == other.model.pixels
    for scaler, again in (
        (net.input_scaler, other.input_scaler),
        (net.target_scaler, other.target_scaler),
    ):
        assert (scaler is None) == (again is None)
        if scaler is not None:
            assert scaler.mean.tolist() == again.mean.tolist()
            assert scaler.scale.tolist() == again.scale.tolist()
    return found, other


@each_dtype
@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("activation", [name for name in HIDDEN if name != "swish"])
def test_every_activation_and_output_is_the_same(tmp_path, activation, output, dtype):
    is_the_same(network(dtype, activation, output), inputs(dtype), tmp_path / "net.onnx")


@each_dtype
@pytest.mark.parametrize("activation", [name for name in HIDDEN if name != "swish"])
def test_activations_are_the_same_far_from_zero(tmp_path, activation, dtype):
    net = Network([1, 1, 1], activation, "identity", dtype=dtype, seed=0, backend="numpy")
    net.weights[0][:] = net.weights[1][:] = 1
    far = np.concatenate([np.linspace(-40, 40, 1601), [-1e4, -800, -90, 90, 800, 1e4]])
    # ONNX Runtime's float32 sigmoid is off by 1e-7, which SiLU multiplies by its input.
    tolerance = 1e-5 if (activation, dtype) == ("silu", "float32") else None
    is_the_same(net, far.astype(dtype)[:, None], tmp_path / "net.onnx", tolerance)


@pytest.mark.parametrize("activation", [name for name in HIDDEN if name != "swish"])
def test_factors_are_rounded_to_bfloat16(tmp_path, activation):
    net, X = scaled(
        "float32", precision="bfloat16", activation=[activation, "tanh"], sizes=(5, 16, 8)
    )
    path = tmp_path / "net.onnx"
    found, other = is_the_same(net, X, path, 2.0**-8)
    wanted = net.predict_proba(X)
    scale = np.abs(wanted).max(axis=0)  # which differ by far
    assert_nearly_all_close(found["outputs"] / scale, wanted / scale)
    assert other.precision == "bfloat16"
    assert_nearly_all_close(other.predict_proba(X) / scale, wanted / scale)
    exact, _ = scaled("float32", activation=[activation, "tanh"], sizes=(5, 16, 8))
    exact.export(path)
    assert fastnn.load(path).precision == "float32"


def test_pixels_are_rounded_after_they_are_divided(tmp_path):
    net = network(precision="bfloat16")
    X = np.random.default_rng(0).integers(0, 256, (60, 5), dtype=np.uint8)
    net.train(X, np.arange(60) % 3, epochs=1)
    found, _ = is_the_same(net, X, tmp_path / "net.onnx", 2.0**-8)
    assert_nearly_all_close(found["probabilities"], net.predict_proba(X))


def test_a_precision_that_is_not_known_is_refused(tmp_path):
    network(precision="bfloat16").export(tmp_path / "net.onnx")
    model = onnx.load(tmp_path / "net.onnx")
    onnx.helper.set_model_props(model, {"precision": "float8"})
    onnx.save(model, tmp_path / "net.onnx")
    with pytest.raises(ValueError, match="cannot be loaded: precision must be one of bfloat16,"):
        fastnn.load(tmp_path / "net.onnx")


@each_dtype
def test_scalers_are_the_same(tmp_path, dtype):
    net, X = scaled(dtype)
    is_the_same(net, X, tmp_path / "net.onnx")


@each_dtype
@pytest.mark.parametrize("depth", range(1, 6))
def test_any_depth_is_the_same(tmp_path, depth, dtype):
    hidden = [4, 1, 6, 3][: depth - 1]
    names = ["gelu", "relu", "mish", "elu"][: depth - 1]
    net = network(dtype, names, sizes=(5, *hidden))
    is_the_same(net, inputs(dtype), tmp_path / "net.onnx")


@each_dtype
@pytest.mark.parametrize("names", [["cat", "dög", ""], [3, -1, 2**62], [0, 1, 2]])
def test_labels_are_the_names_of_the_classes(tmp_path, names, dtype):
    net = network(dtype)
    net.classes = names
    is_the_same(net, inputs(dtype), tmp_path / "net.onnx")


@pytest.mark.parametrize("names", [None, ["no", "yes"], [False, True], [7, 5]])
def test_a_single_output_chooses_one_of_two_labels(tmp_path, names):
    net = network(output="sigmoid")
    net.classes = names
    found, _ = is_the_same(net, inputs(), tmp_path / "net.onnx")
    assert found["probabilities"].shape == (50, 1)
    assert len(set(found["labels"].tolist())) == 2


def test_several_sigmoids_choose_the_largest(tmp_path):
    net = Network([5, 4, 3], output="sigmoid", seed=0, backend="numpy")
    is_the_same(net, inputs(), tmp_path / "net.onnx")


@each_dtype
@pytest.mark.parametrize("standardized", [False, True])
def test_pixels_are_divided(tmp_path, standardized, dtype):
    net = network(dtype, standardize_inputs=standardized)
    X = np.random.default_rng(0).integers(0, 256, (60, 5), dtype=np.uint8)
    net.train(X, np.arange(60) % 3, epochs=2)
    assert net.model.pixels
    found, _ = is_the_same(net, X, tmp_path / "net.onnx")
    assert found["probabilities"].shape == (60, 3)


@each_dtype
def test_quantiles_are_sorted_and_keep_their_levels(tmp_path, dtype):
    net = network(dtype, output="identity", sizes=(5, 2), loss=Quantile((0.5, 0.8)))
    _, other = is_the_same(net, inputs(dtype), tmp_path / "net.onnx")
    assert other.architecture.loss == Quantile((0.5, 0.8))


def test_any_number_of_rows_is_taken(tmp_path):
    net = network()
    for rows in (1, 2, 300):
        is_the_same(net, inputs(rows=rows), tmp_path / "net.onnx")


def test_names_and_version_are_in_the_metadata(tmp_path):
    net = network()
    net.classes, net.features = ["a", "b", "c"], list("vwxyz")
    net.export(tmp_path / "net.onnx")
    model = onnx.load(tmp_path / "net.onnx")
    known = {each.key: json.loads(each.value) for each in model.metadata_props}
    assert known == {"classes": ["a", "b", "c"], "features": list("vwxyz")}
    assert (model.producer_name, model.producer_version) == ("fastnn", fastnn.__version__)
    assert model.graph.name == "net"
    assert fastnn.load(tmp_path / "net.onnx").features == tuple("vwxyz")


def test_the_operator_set_is_old_enough_for_every_runtime(tmp_path):
    network(activation="gelu").export(tmp_path / "net.onnx")
    model = onnx.load(tmp_path / "net.onnx")
    assert [(each.domain, each.version) for each in model.opset_import] == [("", 13)]
    assert model.ir_version == 7


@pytest.mark.parametrize("names", [["a", 1, 2], [True, 2, 3]])
def test_names_of_several_types_are_refused(tmp_path, names):
    net = network()
    net.classes = names
    with pytest.raises(ValueError, match="classes are of several types, and those of an ONNX file"):
        net.export(tmp_path / "net.onnx")


def test_halves_of_characters_are_refused_as_names(tmp_path):
    net = network()
    net.classes = ["a", "b", "\ud800"]
    with pytest.raises(ValueError, match=r"classes must be UTF-8 for an ONNX file; got '\\ud800'"):
        net.export(tmp_path / "net.onnx")


def test_numbers_beyond_64_bits_are_refused_as_names(tmp_path):
    net = network()
    net.classes = [0, 1, 2**63]
    with pytest.raises(ValueError, match="classes must fit into 64 bits for an ONNX file; got 922"):
        net.export(tmp_path / "net.onnx")


def test_more_than_a_file_can_hold_is_refused_and_the_old_file_stays(tmp_path, monkeypatch):
    path = tmp_path / "net.onnx"
    network().export(path)
    before = path.read_bytes()
    monkeypatch.setattr(writing, "MOST_BYTES", 100)
    with pytest.raises(ValueError, match="parameters take 264 bytes; an ONNX file holds 100"):
        network().export(path)
    assert path.read_bytes() == before


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    message = r"ONNX files need onnx: pip install 'fastnn-cpu\[onnx\]'"
    with pytest.raises(ImportError, match=message):
        network().export(tmp_path / "net.onnx")
    (tmp_path / "net.onnx").write_bytes(b"")
    with pytest.raises(ImportError, match=message):
        fastnn.load(tmp_path / "net.onnx")
