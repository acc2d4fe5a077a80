"""ONNX files of other libraries: networks that predict what ONNX Runtime does, or a refusal."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
import onnx
import onnxruntime as runtime
from onnx import TensorProto, helper, numpy_helper

import fastnn
from fastnn.conversion.onnx import parts, reading
from fastnn.losses import Quantile

RNG = np.random.default_rng(0)
W, V, U = (RNG.normal(size=size).astype(np.float32) for size in ((4, 5), (5, 3), (3, 3)))
B, C = (RNG.normal(size=size).astype(np.float32) for size in (5, 3))
X = RNG.normal(0, 2, (20, 4)).astype(np.float32)
FIRST = ("MatMul", ["X", "W"], "product")
BIASED = [FIRST, ("Add", ["product", "B"], "z")]
LAST = [("MatMul", ["h", "V"], "sum"), ("Add", ["sum", "C"], "y")]


def constants(**more):
    return {"W": W, "V": V, "B": B, "C": C, **more}


def model(nodes, numbers=None, shape=("n", 4), outputs=("y",), kind=TensorProto.FLOAT, opset=13):
    """Return a model of nodes (operation, inputs, output or outputs, attributes)."""
    made = []
    for operation, ends, made_of, *options in nodes:
        names = [made_of] if isinstance(made_of, str) else made_of
        given = dict(options[0]) if options else {}
        made.append(helper.make_node(operation, ends, names, **given))
    graph = helper.make_graph(
        made,
        "network",
        [helper.make_tensor_value_info("X", kind, shape)],
        [
            helper.make_tensor_value_info(name, kind if kind != 2 else 1, None)
            if isinstance(name, str)
            else name
            for name in outputs
        ],
        [
            numpy_helper.from_array(np.asarray(array), name)
            if not isinstance(array, onnx.TensorProto)
            else array
            for name, array in (constants() if numbers is None else numbers).items()
        ],
    )
    versions = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 1)]
    return helper.make_model(graph, opset_imports=versions, ir_version=8)


@pytest.fixture
def loaded(tmp_path):
    """Return what loads a model."""

    def loaded(written):
        path = tmp_path / "net.onnx"
        content = written if isinstance(written, bytes) else written.SerializeToString()
        path.write_bytes(content)
        return fastnn.load(path, backend="numpy")

    return loaded


@pytest.fixture
def agrees(loaded):
    """Return what loads a model and compares its predictions with those of ONNX Runtime."""

    def agrees(written, X=X, output="y"):
        net = loaded(written)
        content = written.SerializeToString()
        session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
        (expected,) = session.run([output], {"X": X})
        tolerance = 1e-12 if net.architecture.dtype == np.float64 else 2e-6
        found = net.predict_proba(X.reshape(len(X), -1))
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
        return net

    return agrees


@pytest.fixture
def refused(loaded):
    """Return what says why a model is refused."""

    def refused(written):
        with pytest.raises(ValueError, match=r"net\.onnx") as error:
            loaded(written)
        return str(error.value)

    return refused


# Products


@pytest.mark.parametrize("alpha", [1.0, 0.5])
@pytest.mark.parametrize("beta", [1.0, -2.0])
@pytest.mark.parametrize("transposed", [0, 1])
def test_gemm_with_its_attributes(agrees, alpha, beta, transposed):
    options = {"alpha": alpha, "beta": beta, "transB": transposed}
    numbers = constants(W=W.T if transposed else W)
    nodes = [("Gemm", ["X", "W", "B"], "z", options), ("Relu", ["z"], "h"), *LAST]
    net = agrees(model(nodes, numbers))
    assert net.architecture.activations == ("relu", "identity")


@pytest.mark.parametrize("biases", [B, B[None], B[:1], np.float32(0.5)])
def test_biases_of_any_shape(agrees, biases):
    agrees(
        model([("Gemm", ["X", "W", "B"], "z"), ("Tanh", ["z"], "h"), *LAST], constants(B=biases))
    )


@pytest.mark.parametrize("ends", [["product", "B"], ["B", "product"]])
def test_biases_on_either_side(agrees, ends):
    net = agrees(model([FIRST, ("Add", ends, "z"), ("Relu", ["z"], "h"), *LAST]))
    assert net.biases[0].tolist() == B.tolist()


def test_a_product_without_biases(agrees):
    agrees(model([FIRST, ("Relu", ["product"], "h"), ("MatMul", ["h", "V"], "y")]))


def test_weights_that_nodes_make(agrees):
    nodes = [
        ("Constant", [], "D", {"value": numpy_helper.from_array(W.T.copy())}),
        ("Transpose", ["D"], "E", {"perm": [1, 0]}),
        ("Identity", ["E"], "F"),
        ("Gemm", ["X", "F", "B"], "z"),
        ("Relu", ["z"], "h"),
        *LAST,
    ]
    agrees(model(nodes))


@pytest.mark.parametrize("kind", ["FLOAT16", "BFLOAT16"])
def test_narrow_weights_are_widened(loaded, kind):
    code = getattr(TensorProto, kind)
    given = helper.make_tensor("W", code, [2, 2], [0.5, -1.5, 2.0, 3.0])
    net = loaded(model([("MatMul", ["X", "W"], "y")], {"W": given}, ("n", 2)))
    assert net.weights[0].tolist() == [[0.5, -1.5], [2.0, 3.0]]
    assert net.architecture.dtype == np.float32


def test_float64_stays(agrees):
    numbers = {name: array.astype(np.float64) for name, array in constants().items()}
    nodes = [*BIASED, ("Tanh", ["z"], "h"), *LAST]
    net = agrees(model(nodes, numbers, kind=TensorProto.DOUBLE), X.astype(np.float64))
    assert net.architecture.dtype == np.float64


# Activations

ONE = {"one": np.float32(1), "half": np.float32(0.5), "root": np.float32(2**0.5)}
COMPOSED = {
    "gelu": [
        ("Div", ["z", "root"], "a"),
        ("Erf", ["a"], "b"),
        ("Add", ["b", "one"], "c"),
        ("Mul", ["z", "c"], "d"),
        ("Mul", ["d", "half"], "h"),
    ],
    "silu": [("Sigmoid", ["z"], "a"), ("Mul", ["z", "a"], "h")],
    "mish": [("Softplus", ["z"], "a"), ("Tanh", ["a"], "b"), ("Mul", ["b", "z"], "h")],
    "softplus": [
        ("Softplus", ["z"], "a"),
        ("Greater", ["z", "one"], "b"),
        ("Where", ["b", "a", "a"], "h"),
    ],
    "leaky_relu": [("LeakyRelu", ["z"], "h")],
    "elu": [("Elu", ["z"], "h", {"alpha": 1.0})],
    "selu": [("Selu", ["z"], "h")],
    "relu": [("Max", ["z", "zero"], "h")],
    "sigmoid": [("Sigmoid", ["z"], "h")],
    "identity": [("Identity", ["z"], "h")],
}


@pytest.mark.parametrize("name", COMPOSED)
def test_activations_as_libraries_write_them(agrees, name):
    numbers = constants(**ONE, zero=np.float32(0))
    net = agrees(model([*BIASED, *COMPOSED[name], *LAST], numbers))
    assert net.architecture.activations == (name, "identity")


@pytest.mark.parametrize(("name", "opset"), [("Gelu", 20), ("Mish", 18)])
def test_activations_of_later_operator_sets(agrees, name, opset):
    net = agrees(model([*BIASED, (name, ["z"], "h"), *LAST], opset=opset))
    assert net.architecture.activations == (name.lower(), "identity")


REFUSED = {
    "a slope": ([("LeakyRelu", ["z"], "h", {"alpha": 0.2})], "what ends with LeakyRelu is none of"),
    "a limit": ([("Min", ["z", "six"], "a"), ("Relu", ["a"], "h")], "what ends with Relu"),
    "a limit far away": ([("Relu", ["z"], "a"), ("Min", ["a", "far"], "h")], "ends with Min"),
    "hard": ([("HardSigmoid", ["z"], "h")], "HardSigmoid is not part of any network of fastnn"),
    "another slope for each": ([("PRelu", ["z", "B"], "h")], "PRelu is not part of any network"),
    "a softmax": ([("Softmax", ["z"], "h")], "a layer follows Softmax"),
    "numbers within": (
        [("Relu", ["z"], "a"), ("Mul", ["a", "B"], "h")],
        "Mul with a constant of 5",
    ),
    "a branch": ([("MatMul", ["z", "S"], "a"), ("Add", ["a", "z"], "h")], "Add joins different"),
    "a function": ([("Relu", ["z"], "h", {"domain": "mine"})], "Relu of mine is not part of any"),
    "an attribute": ([("Relu", ["z"], "h", {"alpha": 1.0})], "Relu has the attribute 'alpha'"),
    "training": ([("Dropout", ["z", "half", "true"], "h")], "Dropout is in training mode"),
    "an exponential": ([("Exp", ["z"], "h")], "activation[0] must be one of"),
    "integers": ([("Cast", ["z"], "h", {"to": TensorProto.INT64})], "Cast to other numbers"),
    "a square": ([("MatMul", ["z", "z"], "h")], "MatMul multiplies what depends on the input"),
    "rows for columns": ([("Gemm", ["z", "S"], "h", {"transA": 1})], "Gemm with transA"),
    "another shape": ([("Reshape", ["z", "shape"], "h")], "Reshape of 5 columns to (-1, 10)"),
    "what is missing": ([("Relu", ["nothing"], "h")], "Relu needs 'nothing', which nothing before"),
    "a circle": (
        [("Relu", ["b"], "a"), ("Relu", ["a"], "b"), ("Add", ["z", "a"], "h")],
        "Relu needs 'b', which nothing before it makes",
    ),
    "too few inputs": ([("Add", ["z"], "h")], "Add has 1 inputs; need 2 to 2"),
}


@pytest.mark.parametrize(("nodes", "message"), REFUSED.values(), ids=REFUSED)
def test_what_fastnn_does_not_have_is_refused_by_name(refused, nodes, message):
    more = {"six": np.float32(6), "far": np.float32(6e5), "half": np.float32(0.5)}
    more |= {"S": np.eye(5, dtype=np.float32), "true": np.array(True)}
    more |= {"shape": np.array([-1, 10])}
    assert message in refused(model([*BIASED, *nodes, *LAST], constants(**more)))


# Inputs and outputs


def test_inputs_of_several_dimensions_become_flat(agrees):
    nodes = [("Flatten", ["X"], "f"), ("Gemm", ["f", "W", "B"], "z"), ("Relu", ["z"], "h"), *LAST]
    agrees(model(nodes, shape=("n", 1, 2, 2)), X.reshape(-1, 1, 2, 2))
    nodes[0] = ("Reshape", ["X", "shape"], "f")
    agrees(model(nodes, constants(shape=np.array([-1, 4])), ("n", 1, 2, 2)), X.reshape(-1, 1, 2, 2))


def test_inputs_of_several_dimensions_that_stay_so_are_refused(refused):
    nodes = [*BIASED, ("Relu", ["z"], "h"), *LAST]
    assert "more than two dimensions; need Flatten" in refused(model(nodes, shape=("n", 3, 4)))


def test_inputs_that_are_standardised(agrees):
    numbers = constants(mean=np.float32([1, 2, 3, 4]), deviation=np.float32([1, 10, 0.1, 2]))
    nodes = [
        ("Sub", ["X", "mean"], "a"),
        ("Div", ["a", "deviation"], "b"),
        ("MatMul", ["b", "W"], "product"),
        ("Relu", ["product"], "h"),
        *LAST,
    ]
    net = agrees(model(nodes, numbers))
    assert net.input_scaler.mean.tolist() == [1, 2, 3, 4]


def test_inputs_that_a_scaler_standardises(agrees):
    options = {
        "domain": "ai.onnx.ml",
        "offset": [1.0, 2.0, 3.0, 4.0],
        "scale": [1.0, 2.0, 3.0, 4.0],
    }
    nodes = [("Scaler", ["X"], "b", options), ("MatMul", ["b", "W"], "product")]
    net = agrees(model([*nodes, ("Relu", ["product"], "h"), *LAST]))
    assert net.input_scaler.scale.tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("divided", [True, False])
def test_uint8_stands_for_pixels(agrees, divided):
    first = ("Div", ["x", "white"], "b") if divided else ("Identity", ["x"], "b")
    nodes = [("Cast", ["X"], "x", {"to": 1}), first, ("MatMul", ["b", "W"], "product")]
    numbers = constants(white=np.float32(255), W=W if divided else W / 255)
    nodes += [("Relu", ["product"], "h"), *LAST]
    pixels = RNG.integers(0, 256, (20, 4)).astype(np.uint8)
    net = agrees(model(nodes, numbers, kind=TensorProto.UINT8), pixels)
    assert net.model.pixels
    assert (net.input_scaler is None) == divided


def test_outputs_in_other_units(agrees):
    numbers = constants(scale=np.float32([1, 2, 4]), mean=np.float32([10, 20, 30]))
    nodes = [*BIASED, ("Relu", ["z"], "h"), ("Gemm", ["h", "V", "C"], "a")]
    nodes += [("Mul", ["a", "scale"], "b"), ("Add", ["b", "mean"], "y")]
    net = agrees(model(nodes, numbers))
    assert net.target_scaler.mean.tolist() == [10, 20, 30]
    numbers["scale"] = -numbers["scale"]
    assert agrees(model(nodes, numbers)).target_scaler is None


@pytest.mark.parametrize("axis", [-1, 1])
def test_softmax_at_the_end(agrees, axis):
    nodes = [*BIASED, ("Relu", ["z"], "h"), LAST[0], ("Add", ["sum", "C"], "a")]
    nodes += [("Softmax", ["a"], "y", {"axis": axis})]
    assert agrees(model(nodes)).architecture.output == "softmax"


def test_softmax_of_a_temperature(agrees):
    nodes = [FIRST, ("Div", ["product", "two"], "a"), ("Softmax", ["a"], "y")]
    agrees(model(nodes, constants(two=np.float32(2))))


def test_sorted_outputs_are_quantiles(agrees):
    nodes = [("Gemm", ["X", "W", "B"], "a"), ("TopK", ["a", "k"], ["y", "i"], {"largest": 0})]
    net = agrees(model(nodes, constants(k=np.array([5]))))
    assert isinstance(net.architecture.loss, Quantile)
    np.testing.assert_allclose(net.architecture.loss.levels, np.arange(1, 6) / 6)


LABEL = helper.make_tensor_value_info("label", TensorProto.STRING, None)
BOTH = [
    ("MatMul", ["X", "w"], "z"),
    ("Sigmoid", ["z"], "p"),
    ("Sub", ["one", "p"], "q"),
    ("Concat", ["q", "p"], "y", {"axis": 1}),
    ("ArgMax", ["y"], "place", {"axis": 1, "keepdims": 0}),
    ("Gather", ["names", "place"], "label"),
]


def test_probabilities_of_two_classes_become_one_sigmoid(loaded):
    numbers = {"w": W[:, :1], "one": np.float32(1), "names": np.array(["no", "yes"], object)}
    net = loaded(model(BOTH, numbers, outputs=("y", LABEL)))
    assert (net.architecture.output, net.architecture.sizes) == ("sigmoid", (4, 1))
    assert net.classes == ("no", "yes")


@pytest.mark.parametrize("names", [["a", "b", "c"], [3, 4, 5], [0, 1, 2]])
def test_classes_are_those_of_a_map(loaded, names):
    kind = "classlabels_strings" if names[0] == "a" else "classlabels_int64s"
    end = ("ZipMap", ["y"], "map", {"domain": "ai.onnx.ml", kind: names})
    nodes = [("MatMul", ["X", "W3"], "z"), ("Softmax", ["z"], "y"), end]
    key = TensorProto.STRING if names[0] == "a" else TensorProto.INT64
    number = helper.make_tensor_type_proto(TensorProto.FLOAT, None)
    maps = helper.make_sequence_type_proto(helper.make_map_type_proto(key, number))
    output = helper.make_value_info("map", maps)
    net = loaded(model(nodes, {"W3": W[:, :3]}, outputs=(output,)))
    assert net.classes == (None if names == [0, 1, 2] else tuple(names))


def test_several_outputs_of_numbers_are_refused(refused):
    nodes = [*BIASED, ("Relu", ["z"], "h"), *LAST]
    assert "2 outputs of numbers: 'y', 'h'" in refused(model(nodes, outputs=("y", "h")))


def test_an_output_that_fastnn_does_not_have_is_refused(refused):
    assert "its output is relu" in refused(model([FIRST, ("Relu", ["product"], "y")]))


# Files that cannot be trusted


def simple(**tensor):
    """Return a network of one product, and changes of its weights."""
    written = model([("MatMul", ["X", "W"], "y")], {"W": W})
    for name, value in tensor.items():
        if isinstance(value, list):
            del getattr(written.graph.initializer[0], name)[:]
            getattr(written.graph.initializer[0], name).extend(value)
        else:
            setattr(written.graph.initializer[0], name, value)
    return written


WRONG = {
    "fewer numbers": ({"raw_data": b"1234"}, "holds 1 numbers; its shape is (4, 5)"),
    "half a number": ({"raw_data": b"123456"}, "holds 1.5 numbers"),
    "huge sizes": ({"dims": [1 << 40, 1 << 40]}, "holds 20 numbers; its shape is (1099511627776"),
    "sizes below 0": ({"dims": [-4, -5]}, "has the shape (-4, -5); need up to 8 sizes from 0"),
    "many dimensions": ({"dims": [1] * 50}, "need up to 8 sizes from 0"),
    "nothing": ({"dims": [4, 0], "raw_data": b""}, "weights of shape (4, 0)"),
    "another type": ({"data_type": 14}, "is of ONNX's type 14; need one of float32"),
    "an unknown type": ({"data_type": 99}, "is of ONNX's type 99"),
    "another file": ({"data_location": 1}, "is in another file, which is not opened"),
    "NaN": ({"raw_data": b"\xff" * 80}, "layer 0 has weights or biases that are not finite"),
}


@pytest.mark.parametrize(("changes", "message"), WRONG.values(), ids=WRONG)
def test_tensors_that_are_wrong_are_refused(refused, changes, message):
    assert message in refused(simple(**changes))


def test_a_file_that_another_names_is_not_opened(refused, tmp_path, monkeypatch):
    (tmp_path / "weights").write_bytes(W.tobytes())
    written = simple(raw_data=b"", data_location=1)
    where = written.graph.initializer[0].external_data.add()
    where.key, where.value = "location", "weights"
    monkeypatch.chdir(tmp_path)
    assert "is in another file, which is not opened" in refused(written)


@pytest.mark.parametrize(
    "content", [b"", b"x", b"\x08\x07", b"\x3a\xff\xff\xff\xff\x0f", b"{" * 999]
)
def test_what_is_no_onnx_file_is_refused(refused, content):
    refused(content)


def test_weights_that_layers_share_are_refused(refused):
    nodes = [("MatMul", ["X" if i == 0 else f"h{i}", "S"], f"h{i + 1}") for i in range(500)]
    written = model(nodes, {"S": np.zeros((90, 90), np.float32)}, ("n", 90), ("h500",))
    assert "its layers share their weights" in refused(written)


def test_too_many_operations_are_refused(refused, monkeypatch):
    monkeypatch.setattr(reading, "MOST_NODES", 3)
    assert "it has 5 operations; need at most 3" in refused(
        model([*BIASED, ("Relu", ["z"], "h"), *LAST])
    )


def test_very_many_parts_are_refused_before_they_are_made(refused):
    attributes = b"\x2a\x00" * (parts.MOST_PARTS + 1)
    node = b"\x0a" + reading_varint(len(attributes)) + attributes
    assert "more parts than any network" in refused(b"\x3a" + reading_varint(len(node)) + node)


def reading_varint(number):
    """Return a number as protobuf writes it."""
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


def test_a_file_of_a_future_size_is_refused_unread(refused, monkeypatch):
    monkeypatch.setattr(reading, "MOST_BYTES", 10)
    assert "bytes; an ONNX file has up to 10" in refused(simple())


def test_operator_sets_of_old_are_refused(refused):
    assert "its operator set is 6; need at least 7" in refused(
        model([("MatMul", ["X", "W"], "y")], opset=6)
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [("classes", "[1"), ("classes", "3"), ("features", '["a"]'), ("features", "[" * 200_000)],
)
def test_metadata_that_are_wrong_are_refused(refused, key, value):
    written = simple()
    written.producer_name = "fastnn"
    helper.set_model_props(written, {key: value})
    refused(written)


def test_metadata_of_others_are_ignored(loaded):
    written = simple()
    helper.set_model_props(written, {"classes": "[1", "features": "x"})
    assert loaded(written).features is None


def test_a_loss_of_ones_own_is_taken(tmp_path):
    def squared(a, t):
        return ((a - t) ** 2).sum(axis=1), 2 * (a - t)

    (tmp_path / "NET.ONNX").write_bytes(simple().SerializeToString())
    net = fastnn.load(tmp_path / "NET.ONNX", loss=squared, backend="numpy", threads=1)
    assert net.architecture.loss is squared
    assert net.threads == 1
