"""Networks as JSON: a few lines read a file and compute what the network computes, exactly."""

from __future__ import annotations

import json
import re
import tracemalloc

import numpy as np
import pytest
from cases import assert_nearly_all_close
from conftest import ROOT
from test_export_python import CLOSE, network

import fastnn
from fastnn.activations import ACTIVATIONS, HIDDEN, OUTPUT
from fastnn.losses import Quantile
from fastnn.precision import to_bfloat16

EVERY_OPERATION = {
    "output": "identity",
    "loss": Quantile(levels=(0.05, 0.5, 0.95)),
    "standardize_inputs": True,
    "standardize_targets": True,
}


def computed(file, x):
    """Compute the outputs of a file for rows, one operation after the other."""
    dtype = np.dtype(file["dtype"])
    x = np.asarray(x).astype(dtype)
    for step in file["operations"]:
        step = {name: np.array(v, dtype) if type(v) is not str else v for name, v in step.items()}
        kind = step["operation"]
        if kind == "multiply":
            x = x * step["factor"]
        elif kind == "standardize":
            x = (x - step["mean"]) * step["scale"]
        elif kind == "round":
            x = to_bfloat16(x)
        elif kind == "product":
            x = x @ step["weights"] + step["biases"]
        elif kind == "activate":
            x = ACTIVATIONS[step["name"]].function(x)
        elif kind == "restore":
            x = x / step["scale"] + step["mean"]
        else:
            assert kind == "sort"
            x = np.sort(x)
    return x


def refuse(constant):
    raise AssertionError(f"{constant} is no JSON")


def written(net, tmp_path):
    net.export(tmp_path / "net.json")
    content = (tmp_path / "net.json").read_bytes()
    return json.loads(content.decode("utf-8"), parse_constant=refuse)


def assert_same(file, net, X):
    wanted = net.predict_proba(X)
    most = CLOSE[wanted.dtype.name] * np.maximum(1, np.abs(wanted))
    assert (np.abs(computed(file, X) - wanted) <= most).all()


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize("output", OUTPUT)
def test_the_operations_compute_the_outputs(output, dtype, tmp_path):
    sizes = (4, *[6] * len(HIDDEN), 3)
    net, X = network(sizes, activation=HIDDEN, output=output, dtype=dtype, standardize_inputs=True)
    assert_same(written(net, tmp_path), net, X)


@pytest.mark.parametrize("dtype", CLOSE)
def test_targets_get_their_units_back_and_quantiles_are_sorted(dtype, tmp_path):
    net, X = network((4, 6, 3), dtype=dtype, **EVERY_OPERATION)
    file = written(net, tmp_path)
    kinds = ["standardize", "product", "activate", "product", "activate", "restore", "sort"]
    assert [each["operation"] for each in file["operations"]] == kinds
    assert_same(file, net, X)


def test_inputs_of_products_are_rounded_and_weights_are_rounded_already(tmp_path):
    net, X = network((4, 6, 3), precision="bfloat16", **EVERY_OPERATION)
    file = written(net, tmp_path)
    kinds = [each["operation"] for each in file["operations"]]
    assert kinds[:4] == ["standardize", "round", "product", "activate"]
    assert kinds[4:] == ["round", "product", "activate", "restore", "sort"]
    for weights, each in zip(net.weights, file["operations"][2::3], strict=False):
        assert (np.array(each["weights"], np.float32) == to_bfloat16(weights)).all()
    assert_nearly_all_close(computed(file, X), net.predict_proba(X))


@pytest.mark.parametrize(("precision", "version"), [(None, 1), ("bfloat16", 2)])
def test_only_files_that_round_have_the_later_version(precision, version, tmp_path):
    net = fastnn.Network([2, 3], precision=precision)
    assert written(net, tmp_path)["version"] == version


def test_weights_that_are_rounded_to_infinity_are_refused(tmp_path):
    net = fastnn.Network([2, 3], precision="bfloat16", seed=0)
    net.weights[0][1, 2] = np.finfo(np.float32).max
    with pytest.raises(ValueError, match="layer 0 has weights that are not finite"):
        net.export(tmp_path / "net.json")


def test_pixels_are_multiplied_first(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 256, (50, 12), dtype=np.uint8)
    net = fastnn.Network([12, 6, 3], seed=0, backend="numpy")
    net.train(X, rng.integers(0, 3, 50), epochs=1, progress=False)
    file = written(net, tmp_path)
    assert file["pixels"] is True
    assert file["operations"][0] == {"operation": "multiply", "factor": pytest.approx(1 / 255)}
    assert_same(file, net, X)


def test_a_hidden_identity_is_in_the_list_and_swish_is_silu(tmp_path):
    net = fastnn.Network([2, 3, 3, 2], ["identity", "swish"])
    operations = written(net, tmp_path)["operations"]
    names = [each["name"] for each in operations if each["operation"] == "activate"]
    assert names == ["identity", "silu", "softmax"]


@pytest.mark.parametrize("dtype", CLOSE)
def test_numbers_are_exact_and_short(dtype, tmp_path):
    net = fastnn.Network([40, 25, 3], seed=0, dtype=dtype)
    kind, info = np.dtype(dtype).type, np.finfo(dtype)
    odd = [0.0, -0.0, 0.1, 1e23, info.max, info.tiny, info.smallest_subnormal, -1 / 3, 2**24 + 1]
    # Read as a double, the shortest text of this float32 lies between it and its neighbour.
    odd += [float(np.float32("7.038531e-26"))]
    net.weights[0][0, : len(odd)] = np.array(odd, kind)
    found = [each for each in written(net, tmp_path)["operations"] if "weights" in each]
    for l, each in enumerate(found):
        for name, numbers in (("weights", net.weights[l]), ("biases", net.biases[l])):
            got = np.array(each[name]).astype(kind)
            assert got.tobytes() == np.ascontiguousarray(numbers).tobytes()
    text = (tmp_path / "net.json").read_text()
    assert " 0.1," in text
    assert "-0.0," in text
    assert len(text) < net.parameters.size * (16 if dtype == "float32" else 26)


@pytest.mark.parametrize(
    "names", [("a", "b"), (3, 2**60), (False, True), ('"', "\\\n"), ("é", "日")]
)
def test_names_are_as_they_are(names, tmp_path):
    net = fastnn.Network([2, 2])
    net.classes, net.features = names, ("x", "é\ud800")
    file = written(net, tmp_path)
    assert tuple(file["classes"]) == names
    assert [type(each) for each in file["classes"]] == [type(each) for each in names]
    assert file["features"] == ["x", "é\ud800"]


def test_what_is_not_known_is_null(tmp_path):
    file = written(fastnn.Network([2, 2]), tmp_path)
    assert file["classes"] is None
    assert file["features"] is None
    assert file["name"] == "net"
    assert (file["format"], file["version"]) == ("fastnn.json", 1)
    assert (file["inputs"], file["outputs"], file["output"]) == (2, 2, "softmax")


def test_every_field_is_in_the_documentation(tmp_path):
    page = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
    part = page[page.index("\n## .json") :]
    documented = set(re.findall(r"^\| `\"?(\w+)\"?`", part, re.MULTILINE))
    net, _ = network((4, 6, 3), precision="bfloat16", **EVERY_OPERATION)
    net.model.pixels = True
    file = written(net, tmp_path)
    names = {each["operation"] for each in file["operations"]}
    assert names == {"multiply", "standardize", "round", "product", "activate", "restore", "sort"}
    assert documented == set(file) | names
    for step in file["operations"]:
        line = re.search(rf"^\| `\"{step['operation']}\"` .*$", part, re.MULTILINE)[0]
        assert all(f"`{field}`" in line for field in step.keys() - {"operation"})


def test_a_large_network_takes_little_memory(tmp_path):
    net = fastnn.Network([1000, 500, 10], seed=0)
    tracemalloc.start()
    try:
        net.export(tmp_path / "net.json")
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 3 * (tmp_path / "net.json").stat().st_size
