"""Networks as C headers: compiled without a warning, with the outputs of `predict_proba`."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess

import numpy as np
import pytest
from cases import assert_nearly_all_close

import fastnn
from fastnn import Network
from fastnn.activations import HIDDEN, OUTPUT
from fastnn.export import c_code
from fastnn.model.scaling import Scaler

# Names of classes and inputs that C could take for something else.
ODD_NAMES = ['a "quoted" one', "back\\slash\\", "??/ ??' ??!", "*/ /* //", "%s %d",
             "é λ 深 \U0001f600", "tab\tand\nline", "\x7f0 \x01f", "", "  "]  # fmt: skip
COMPILERS = {
    "gcc": ["gcc", "-xc", "-std=c99"],
    "clang": ["clang", "-xc", "-std=c99"],
    "g++": ["g++", "-xc++", "-std=c++17"],
    "clang++": ["clang++", "-xc++", "-std=c++17"],
}
STRICT = ["-pedantic", "-Wall", "-Wextra", "-Werror", "-Wconversion", "-Wsign-conversion",
          "-Wdouble-promotion", "-Wshadow", "-Wundef"]  # fmt: skip
PROGRAM = """\
static void run_{name}(int rows)
{{
    static {real} x[{upper}_INPUTS];
    {real} out[{upper}_OUTPUTS];
    int label = -1;
    for (; rows > 0; rows--) {{
        if (fread(x, sizeof x, 1, stdin) != 1) {{
            exit(3);
        }}
        {name}_predict(x, out);
        {label}
        fwrite(out, sizeof out, 1, stdout);
        fwrite(&label, sizeof label, 1, stdout);
    }}
    {names}
}}
"""
PRINT = "for (label = 0; label < {count}; label++) {{ fputs({name}[label], stdout); putchar(0); }}"
ROWS = 20


def compiled(folder, command, source, *flags):
    """Return the path of the program that a compiler makes of a text, without a warning."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"no {command[0]}")
    (folder / "program.c").write_text(source)
    program = folder / f"program-{command[0].replace('+', 'x')}"
    done = subprocess.run(
        [*command, "program.c", *STRICT, *flags, "-o", program, "-lm"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return program


def network(sizes, activation="relu", output="softmax", dtype="float32", **further):
    """Return a network with random biases, too."""
    net = Network(sizes, activation, output, dtype=dtype, seed=1, backend="numpy", **further)
    rng = np.random.default_rng(2)
    for l, biases in enumerate(net.biases):
        net.biases[l] = rng.uniform(-0.5, 0.5, biases.shape)
    return net


def with_scalers(net, targets=False):
    """Return the network, with scalers as of data in several units."""
    rng, a = np.random.default_rng(3), net.architecture
    ends = [(rng.normal(5, 3, n).astype(a.dtype), rng.uniform(0.1, 2, n).astype(a.dtype))
            for n in (a.sizes[0], a.sizes[-1])]  # fmt: skip
    net.model.use_scalers(Scaler(*ends[0]), Scaler(*ends[1]) if targets else None)
    return net


def of_pixels(**further):
    net = network([64, 16, 10], **further)
    net.model.pixels = True
    return net


def cases():
    """Return networks by the prefix of their header."""
    nets = {}
    for (i, activation), dtype in itertools.product(enumerate(HIDDEN), ("float32", "float64")):
        sizes = [[7, 9, 4], [7, 20, 9, 4], [7, 16, 3, 11, 4], [7, 9, 9, 9, 8, 4]][i % 4]
        net = network(sizes, activation, OUTPUT[i % 3], dtype)
        nets[f"{activation}_{dtype}"] = with_scalers(net) if i % 2 else net
    for output, dtype in itertools.product(OUTPUT, ("float32", "float64")):
        nets[f"one_{output}_{dtype}"] = network([3, 2], output=output, dtype=dtype)
        nets[f"two_{output}_{dtype}"] = network([3, 19, 5], "tanh", output, dtype)
    for dtype in ("float32", "float64"):
        nets[f"targets_{dtype}"] = with_scalers(
            network([4, 9, 2], "silu", "identity", dtype), targets=True
        )
        quantile = fastnn.losses.Quantile(levels=(0.1, 0.5, 0.9))
        nets[f"sorted_{dtype}"] = with_scalers(
            network([4, 9, 3], "relu", "identity", dtype, loss=quantile), targets=True
        )
        nets[f"pixels_{dtype}"] = of_pixels(dtype=dtype)
        nets[f"single_{dtype}"] = network([5, 8, 1], output="sigmoid", dtype=dtype)
    nets["mixed"] = network([6, 5, 4, 3], ["elu", "relu"])
    nets["named"] = network([3, 10])
    nets["named"].classes, nets["named"].features = ODD_NAMES, ODD_NAMES[:3]
    nets["yes_no"] = network([3, 1], output="sigmoid")
    nets["yes_no"].classes = ["no", "yes"]
    return nets


def rows_of(net):
    """Return rows to predict, as the network takes them and as C does; some inputs are 0."""
    rng, a = np.random.default_rng(4), net.architecture
    if net.model.pixels:
        rows = rng.integers(0, 256, (ROWS, a.sizes[0]), dtype=np.uint8)
        rows[rng.random(rows.shape) < 0.7] = 0
    else:
        rows = rng.standard_normal((ROWS, a.sizes[0])).astype(a.dtype)
        rows[rng.random(rows.shape) < 0.2] = 0
        if net.input_scaler is not None:
            mean, scale = net.input_scaler
            rows = rows / scale + mean
    return rows


def program_of(folder, nets, **options):
    """Write the headers of networks, and return a program that predicts with all of them."""
    parts, calls = ["#include <stdio.h>", "#include <stdlib.h>"], []
    for name, net in nets.items():
        net.export(folder / f"{name}.h", **options)
        labels = re.findall(rf"{name}_classes\[(\d+)\]", (folder / f"{name}.h").read_text())
        kinds = {"classes": labels[-1:], "features": [len(net.features)] if net.features else []}
        names = [PRINT.format(name=f"{name}_{kind}", count=n[0]) for kind, n in kinds.items() if n]
        real = {"float32": "float", "float64": "double"}[net.architecture.dtype.name]
        label = f"label = {name}_class(x);" if labels else ""
        words = {"name": name, "upper": name.upper(), "real": real, "label": label}
        parts += [f'#include "{name}.h"', PROGRAM.format(**words, names=" ".join(names))]
        calls.append(f"run_{name}({ROWS});")
    return "\n".join([*parts, "int main(void)", "{", *calls, "return 0;", "}", ""])


def ran(program, nets):
    """Return for each network what the program gives: outputs, classes, and names as bytes."""
    inputs = b"".join(
        rows_of(net).astype(net.architecture.dtype).tobytes() for net in nets.values()
    )
    done = subprocess.run([program], input=inputs, capture_output=True, check=True)
    data, found = done.stdout, {}
    for name, net in nets.items():
        a = net.architecture
        row = np.dtype([("out", a.dtype, a.sizes[-1]), ("label", np.int32)])
        table = np.frombuffer(data, row, ROWS)
        data = data[table.nbytes :]
        count = len(net.features or ())
        if a.output in ("softmax", "sigmoid"):
            count += max(2, a.sizes[-1])
        *names, data = data.split(b"\0", count)
        found[name] = table["out"].reshape(ROWS, -1), table["label"], names
    assert data == b""
    return found


def assert_same(found, nets, tolerances):
    for name, net in nets.items():
        rows = rows_of(net)
        expected = net.predict_proba(rows).reshape(ROWS, -1)
        out, labels, names = found[name]
        error = np.abs(out - expected) / np.maximum(1, np.abs(expected))
        assert error.max() <= tolerances[expected.dtype.name], name
        if net.architecture.output in ("softmax", "sigmoid"):
            columns = net.architecture.sizes[-1]
            classes = net.classes or tuple(range(max(2, columns)))
            best = expected.argmax(axis=1) if columns > 1 else expected[:, 0] > 0.5
            assert labels.tolist() == best.astype(int).tolist(), name
            known = [*map(str, classes), *(net.features or ())]
            assert names == [text.encode() for text in known], name


@pytest.mark.parametrize("compiler", COMPILERS)
def test_outputs_classes_and_names_are_those_of_the_network(tmp_path, compiler):
    nets = cases()
    source = program_of(tmp_path, nets)
    program = compiled(tmp_path, COMPILERS[compiler], source)
    assert_same(ran(program, nets), nets, {"float32": 1e-6, "float64": 1e-12})


def test_cases_have_every_activation_and_output():
    nets = cases().values()
    names = {name for net in nets for name in net.architecture.activations}
    assert names >= {*c_code.VALUES, "identity", "softmax"}
    assert names == {*HIDDEN, *OUTPUT}


@pytest.fixture(scope="module")
def any_compiler():
    for name in ("gcc", "clang"):
        if shutil.which(name):
            return COMPILERS[name]
    pytest.skip("no gcc and no clang")


def test_headers_of_8_bits_compute_what_the_rounded_network_does(tmp_path, any_compiler):
    nets = cases()
    program = compiled(tmp_path, any_compiler, program_of(tmp_path, nets, int8=True), "-O2")
    rounded = {name: fastnn.export.rounded(net) for name, net in nets.items()}
    assert_same(ran(program, nets), rounded, {"float32": 1e-6, "float64": 1e-12})


def of_bfloat16():
    nets = {
        "hidden": network([7, 20, 9, 4], "tanh", "identity", precision="bfloat16"),
        "scaled": with_scalers(network([5, 16, 3], "gelu", "identity", precision="bfloat16")),
        "pixels": of_pixels(precision="bfloat16"),
        "alone": network([9, 3], output="sigmoid", precision="bfloat16"),
    }
    return nets


@pytest.mark.parametrize("compiler", COMPILERS)
def test_factors_are_rounded_to_bfloat16(tmp_path, compiler):
    nets = of_bfloat16()
    program = compiled(tmp_path, COMPILERS[compiler], program_of(tmp_path, nets), "-O2")
    found = ran(program, nets)
    for name, net in nets.items():
        assert_nearly_all_close(found[name][0], net.predict_proba(rows_of(net)))
        assert "factors of products rounded to bfloat16" in text_of(net, tmp_path)


def test_headers_of_8_bits_round_nothing_else(tmp_path, any_compiler):
    nets = of_bfloat16()
    program = compiled(tmp_path, any_compiler, program_of(tmp_path, nets, int8=True), "-O2")
    rounded = {name: fastnn.export.rounded(net) for name, net in nets.items()}
    assert {net.precision for net in rounded.values()} == {"float32"}
    assert {net.precision for net in nets.values()} == {"bfloat16"}
    assert_same(ran(program, nets), rounded, {"float32": 1e-6})


SELF_TESTS = {
    "gcc": ("pixels_float32", {}),
    "clang": ("sorted_float64", {}),
    "g++": ("mish_float32", {"int8": True}),
    "gcc, bfloat16": ("scaled", {}),
    "clang++": ("named", {}),
}


@pytest.mark.parametrize("compiler", SELF_TESTS)
def test_a_header_tests_itself(tmp_path, compiler):
    name, options = SELF_TESTS[compiler]
    (cases() | of_bfloat16())[name].export(tmp_path / "net.h", **options)
    program = compiled(
        tmp_path,
        COMPILERS[compiler.partition(",")[0]],
        (tmp_path / "net.h").read_text(),
        "-DNET_SELF_TEST",
    )
    assert subprocess.run([program], capture_output=True, check=True).stdout.split() == [b"ok"]


def test_a_self_test_names_the_row_and_the_output_that_differ(tmp_path, any_compiler):
    network([3, 4, 2], output="identity").export(tmp_path / "net.h")
    text = (tmp_path / "net.h").read_text()
    before, numbers, after = re.split(r"(?<=net_test_outputs\[6\] = \{\n)(.*)\n", text)
    third = numbers.split()[3]
    assert text.count(third) == 1  # which is output 1 of row 1
    changed = f"{float(third.rstrip('f,')) * 1.01 + 0.01}f,"
    text = before + numbers.replace(third, changed) + "\n" + after
    program = compiled(tmp_path, any_compiler, text, "-DNET_SELF_TEST")
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert re.fullmatch(r"row 1, output 1: got \S+, need \S+\n", done.stdout)


def text_of(net, folder, **options):
    net.export(folder / "net.h", **options)
    return (folder / "net.h").read_text()


def numbers_of(text, name):
    found = re.search(rf"_{name}\[\d+\] = {{([^}}]*)}}", text)
    return [number.rstrip("f") for number in re.split(r"[,\s]+", found[1].strip(" \n,"))]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_weights_in_a_header_are_the_same_to_the_bit(tmp_path, dtype):
    net = network([40, 30], dtype=dtype)
    info = np.finfo(dtype)
    odd = [info.max, info.tiny, info.smallest_subnormal, -0.0, 1, -1e-5, 123456789]
    net.weights[0] = [odd * 4 + [0, 0], *net.weights[0][1:]]
    numbers = np.array(numbers_of(text_of(net, tmp_path), "weights_0"), dtype)
    assert numbers.tobytes() == np.ascontiguousarray(net.weights[0]).tobytes()


def test_a_network_without_a_row_for_a_test_says_so_in_place_of_it(tmp_path):
    net = network([3, 4, 2], output="identity")
    net.weights[0], net.biases[0] = np.full((3, 4), 1e30), np.full(4, 1e34)
    net.weights[1] = np.full((4, 2), 1e30)
    assert "#error" in text_of(net, tmp_path)


def test_a_self_test_leaves_out_rows_whose_outputs_overflow(tmp_path):
    net = network([3, 2], output="exponential")
    net.weights[0] = np.full((3, 2), 300)
    outputs = numbers_of(text_of(net, tmp_path), "test_outputs")
    assert 0 < len(outputs) <= 6
    assert np.isfinite(np.array(outputs, np.float32)).all()


def test_headers_are_the_same_each_time(tmp_path):
    net = of_pixels()
    assert text_of(net, tmp_path) == text_of(net, tmp_path)


def test_the_prefix_is_the_name_of_the_file_or_given(tmp_path):
    net = network([3, 2])
    assert "float *out)\n" in text_of(net, tmp_path)
    assert " net_predict(" in text_of(net, tmp_path)
    text = text_of(net, tmp_path, prefix="My_net2")
    assert " My_net2_predict(" in text
    assert "#define MY_NET2_INPUTS 3\n" in text
    assert "net_predict(" not in text.replace("My_net2_predict(", "")


@pytest.mark.parametrize(
    "prefix", ["", "3d", "a-b", "a b", "_Net", "_net", "__x", "a__b", "net_", "é", "a\n", "a;",
               "x\0"]
)  # fmt: skip
def test_prefixes_that_are_no_identifier_are_refused(tmp_path, prefix):
    with pytest.raises(ValueError, match="prefix must be letters") as error:
        network([3, 2]).export(tmp_path / "net.h", prefix=prefix)
    assert repr(prefix) in str(error.value)


@pytest.mark.parametrize("prefix", ["int", "class", "restrict", "inline", "co_await", "and"])
def test_prefixes_that_are_keywords_are_refused(tmp_path, prefix):
    with pytest.raises(ValueError, match=rf"keyword of C or C.*; got '{prefix}'"):
        network([3, 2]).export(tmp_path / "net.h", prefix=prefix)


def test_a_prefix_that_is_no_string_is_refused(tmp_path):
    with pytest.raises(TypeError, match="prefix must be a string, got 3"):
        network([3, 2]).export(tmp_path / "net.h", prefix=3)


def test_file_names_that_are_no_identifier_ask_for_a_prefix(tmp_path):
    net = network([3, 2])
    for name in ("my-net", "3d", "int"):
        with pytest.raises(ValueError, match=r"name of a C header must .*give another .*or prefix"):
            net.export(tmp_path / f"{name}.h")
        assert not (tmp_path / f"{name}.h").exists()
    net.export(tmp_path / "my-net.h", prefix="my_net")


def test_names_longer_than_a_string_of_c99_are_refused(tmp_path):
    net = network([3, 2])
    net.classes = ["é" * 2047, "b"]
    net.export(tmp_path / "net.h")
    net.classes = ["é" * 2048, "b"]
    with pytest.raises(ValueError, match="classes in a C header must have at most 4095 bytes; got"):
        net.export(tmp_path / "net.h")


# Rounding to 8 bits


def test_rounded_weights_are_whole_multiples_and_the_nearest():
    net = network([30, 20, 5])
    net.weights[1] = np.where(np.arange(5) == 2, 0, net.weights[1])  # a unit without weights
    before = net.parameters.copy()
    other = fastnn.export.rounded(net)
    assert (net.parameters == before).all()
    for weights, result in zip(net.weights, other.weights, strict=True):
        scales = np.abs(weights).max(axis=0) / 127
        whole = np.divide(result, scales, out=np.zeros_like(result), where=scales > 0)
        np.testing.assert_allclose(whole, np.rint(whole), atol=1e-4)  # 127 times eps, and more
        assert (np.abs(weights - result) <= scales * 0.5001).all()
        assert (np.abs(np.rint(whole)).max(axis=0) == np.where(scales > 0, 127, 0)).all()
    for biases, result in zip(net.biases, other.biases, strict=True):
        assert (biases == result).all()


def test_rounding_takes_the_smallest_and_the_largest_weights():
    net = network([3, 3])
    info = np.finfo("float32")
    net.weights[0] = np.transpose([[info.max, -info.max, 0], [info.smallest_subnormal, 0, 0],
                                   [info.smallest_subnormal * 200, 0, 1e-45]])  # fmt: skip
    assert np.isfinite(fastnn.export.rounded(net).weights[0]).all()


def test_rounded_needs_a_network():
    with pytest.raises(TypeError, match=r"net must be a fastnn.Network, got \[1\]"):
        fastnn.export.rounded([1])


def test_the_compiled_backend_predicts_with_rounded_weights():
    net = network([30, 20, 5])
    net.backend = "numba"
    x = np.ones((1, 30), np.float32)
    net.predict_proba(x), net.predict_one(x[0])  # which keep what they have prepared
    other = fastnn.export.rounded(net)
    expected = network([30, 20, 5])
    for l, weights in enumerate(other.weights):
        expected.weights[l] = weights
    np.testing.assert_allclose(other.predict_proba(x), expected.predict_proba(x), rtol=1e-5)
    np.testing.assert_allclose(other.predict_one(x[0]), other.predict_proba(x)[0], rtol=1e-5)
