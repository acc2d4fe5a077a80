"""Networks as Python files: they say what the network says, where there is nothing but NumPy."""

from __future__ import annotations

import ast
import importlib.util
import io
import re
import subprocess
import sys
import warnings

import numpy as np
import pytest
from cases import assert_nearly_all_close

import fastnn
from fastnn.activations import ACTIVATIONS, HIDDEN, OUTPUT
from fastnn.export import python
from fastnn.losses import Quantile

# Of the largest of 1 and the outputs: sums in another order, and other functions of NumPy's.
CLOSE = {"float32": 1e-6, "float64": 1e-12}
ROWS = 60
# What refuses to import all but NumPy and the standard library, where site-packages are unknown.
ALONE = """
import sys
class Refusing:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in ("fastnn", "numba", "scipy", "safetensors", "tqdm"):
            raise ImportError(name)
sys.meta_path.insert(0, Refusing())
sys.path += [{site!r}, {folder!r}]
import numpy as np
import net
print(*net.predict(np.load({rows!r})), sep="\\n")
"""


def network(sizes=(4, 8, 3), *, labels=None, features=None, **arguments):
    """Return a network that has seen some rows, and rows to predict."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(ROWS, sizes[0]))
    output = arguments.get("output", "softmax")
    y = rng.integers(0, max(2, sizes[-1]), ROWS)
    if output in ("identity", "exponential"):
        y = rng.uniform(1, 2, (ROWS, 1 if "loss" in arguments else sizes[-1]))
    elif labels is not None:
        y = np.resize(np.array(labels), ROWS)
    arguments = {"backend": "numpy", "seed": 0, **arguments}
    net = fastnn.Network(list(sizes), **arguments)
    net.features = features
    net.train(X, y, epochs=1, learning_rate=0.01, progress=False)
    return net, X


def imported(path):
    """Import a file under a name of its own."""
    specification = importlib.util.spec_from_file_location(f"exported_{path.stem}", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def exported(tmp_path):
    """Export a network, and import what was written."""

    def export(net, name="net.py"):
        net.export(tmp_path / name)
        return imported(tmp_path / name)

    return export


def assert_same(module, net, X):
    got, wanted = module.predict_proba(X), net.predict_proba(X)
    assert got.shape == wanted.shape
    assert got.dtype == wanted.dtype
    most = CLOSE[wanted.dtype.name] * np.maximum(1, np.abs(wanted))
    assert (np.abs(got - wanted) <= most).all(), np.abs(got - wanted).max()
    predicted, expected = module.predict(X), net.predict(X)
    if expected.dtype.kind == "f":
        assert predicted.shape == expected.shape
    else:
        assert predicted.tolist() == expected.tolist()
        assert predicted.dtype == expected.dtype


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize("output", OUTPUT)
@pytest.mark.parametrize("activation", HIDDEN)
def test_every_activation_and_output(activation, output, dtype, exported):
    net, X = network((4, 8, 3), activation=activation, output=output, dtype=dtype)
    assert_same(exported(net), net, X)


@pytest.mark.parametrize("activation", HIDDEN)
def test_factors_are_rounded_to_bfloat16(activation, exported):
    options = {"activation": activation, "output": "identity", "standardize_inputs": True}
    net, X = network((4, 16, 8, 3), precision="bfloat16", **options)
    module, wanted = exported(net), net.predict_proba(X)
    found = module.predict_proba(X)
    assert found.dtype == np.float32
    assert_nearly_all_close(found, wanted)
    assert "float32,\nand the factors of each product are rounded to bfloat16." in module.__doc__
    exact, _ = network((4, 16, 8, 3), **options)
    assert "bfloat16" not in exported(exact, "exact.py").__doc__


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_formula_is_that_of_the_activation_for_any_number(name):
    z = np.array([[-1e4, -90.0, -20.0, -1.0, -1e-9, 0.0, 1e-9, 0.5, 20.0, 90.0, 700.0]])
    if name in ("identity", "swish"):
        assert name not in python.FORMULAS  # nothing is done, and silu is written
        return
    space = {"np": np, "math": __import__("math")}
    for each, body in python.FORMULAS.items():
        exec(f"def {each}(z):\n    {body}", space)
    with np.errstate(all="ignore"):
        found, wanted = space[name](z), ACTIVATIONS[name].function(z)
    np.testing.assert_allclose(found, wanted, rtol=1e-15, atol=0)


@pytest.mark.parametrize(
    "sizes", [(4, 3), (4, 6, 3), (4, 6, 5, 3), (3, 7, 5, 4, 2), (1, 5, 4, 3, 2, 2)]
)
def test_any_number_of_layers(sizes, exported):
    net, X = network(sizes, activation="tanh")
    assert_same(exported(net), net, X)


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_both_backends_agree_with_the_file(backend, exported):
    net, X = network((4, 8, 6, 3), activation=["gelu", "mish"], standardize_inputs=True)
    net.backend = backend
    assert_same(exported(net), net, X)


@pytest.mark.parametrize("dtype", CLOSE)
def test_scaled_inputs_and_targets(dtype, exported):
    scaled = {"standardize_inputs": True, "standardize_targets": True}
    net, X = network((4, 8, 2), output="identity", dtype=dtype, **scaled)
    assert_same(exported(net), net, X)


def test_quantiles_are_sorted(exported):
    loss = Quantile(levels=(0.05, 0.5, 0.95))
    net, X = network((4, 8, 3), output="identity", loss=loss, standardize_targets=True)
    module = exported(net)
    assert (np.diff(module.predict_proba(X), axis=1) >= 0).all()
    assert_same(module, net, X)


def test_a_single_sigmoid_is_the_second_class_above_a_half(exported):
    net, X = network((4, 8, 1), labels=["no", "yes"])
    module = exported(net)
    assert_same(module, net, X)
    for threshold in (0.0, 0.5, net.predict_proba(X).mean(), 1.0):
        assert module.predict(X, threshold).tolist() == net.predict(X, threshold).tolist()


def test_several_sigmoids_with_and_without_a_threshold(exported):
    net, X = network((4, 8, 3), output="sigmoid", labels=["a", "b", "c"])
    module = exported(net)
    assert_same(module, net, X)
    for threshold in (0.0, 0.4, 0.5):
        assert (module.predict(X, threshold) == net.predict(X, threshold)).all()


@pytest.mark.parametrize(
    "names",
    [
        ["a", "b", "c"],
        [3, 1, 2**40],
        [2**63, 2**64 - 1],
        [2**63 + 1, -1],
        [2**70, 1],
        [False, True],
        ["it's", 'say "x"', "\\"],
        ['"""', "line\nbreak", "\r\t\0x"],
        ["é", "日本", "\N{SNOWMAN}"],
        ["\ud800", "\udcff", "x"],
        ["$a ${b}", "{c}", "%d"],
        ["a long name of a class with many words " * 4, "b", "c"],
        [f"class {i}" for i in range(100)],
    ],
    ids=ascii,
)
def test_names_of_classes(names, exported):
    net, X = network((4, 8, len(names)), output="softmax")
    net.classes = names
    module = exported(net)
    assert tuple(names) == module.CLASSES
    assert_same(module, net, X)


def test_names_of_classes_of_two_kinds(exported):
    net, X = network((4, 8, 3))
    net.classes = ["a", 7, True]
    assert_same(exported(net), net, X)


def test_classes_without_names_are_their_numbers(exported):
    assert exported(network((4, 8, 3))[0]).CLASSES == (0, 1, 2)
    assert exported(network((4, 8, 1))[0]).CLASSES == (0, 1)
    module = exported(network((4, 8, 1), output="identity")[0])
    assert module.CLASSES is None
    assert module.FEATURES is None


def test_uint8_is_divided_by_255_and_no_other_type_is(exported):
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (ROWS, 12), dtype=np.uint8)
    net = fastnn.Network([12, 8, 3], seed=0, backend="numpy")
    net.train(pixels, rng.integers(0, 3, ROWS), epochs=1, progress=False)
    module = exported(net)
    assert_same(module, net, pixels)
    assert_same(module, net, pixels.reshape(ROWS, 2, 6))
    assert_same(module, net, pixels / 255)
    with pytest.warns(UserWarning, match=r"not uint8; need X.astype\('uint8'\)"):
        got = module.predict_proba(pixels.astype(int))
    with pytest.warns(UserWarning, match="not uint8"):
        assert np.abs(got - net.predict_proba(pixels.astype(int))).max() < 1e-5
    other, _ = network((12, 8, 3))
    assert_same(exported(other), other, pixels)


@pytest.mark.parametrize("kind", ["float16", "float32", "float64", "int8", "int64", "bool"])
def test_rows_of_any_type(kind, exported):
    net, X = network()
    assert_same(exported(net), net, (10 * X).astype(kind))


def test_one_column_may_be_a_vector(exported):
    net, X = network((1, 8, 1), output="identity")
    module = exported(net)
    assert_same(module, net, X)
    assert (module.predict_proba(X[:, 0]) == module.predict_proba(X)).all()


def test_columns_of_a_frame_go_by_name(exported):
    pandas = pytest.importorskip("pandas")
    names = ["a", "b", "c", "d"]
    net, X = network(features=names)
    module = exported(net)
    assert tuple(names) == module.FEATURES
    frame = pandas.DataFrame(X, columns=names)[["d", "b", "a", "c"]].assign(other="text")
    assert (module.predict_proba(frame) == module.predict_proba(X)).all()
    with pytest.raises(KeyError, match="b"):
        module.predict(frame.drop(columns="b"))


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.zeros((2, 3)), r"X must have shape \(rows, 4\); got \(2, 3\)$"),
        (np.zeros(4), r"got \(4,\); for one row use X\[None, :\]$"),
        ([], r"got \(0,\)$"),
        (3.0, r"got \(\)$"),
        (np.zeros((5, 2, 3)), r"got \(5, 6\)$"),
        (
            [[0, 1, 2, 3], [0, np.nan, 2, 3]],
            "X must be finite in float32, got nan in row 1, column 1",
        ),
        ([[0, 1, 2, -np.inf]], "got -inf in row 0, column 3"),
        ([[0, 1e39, 2, 3]], r"got 1e\+39 in row 0, column 1"),
        ([["a", "b", "c", "d"]], "could not convert string to float"),
    ],
)
def test_bad_input_is_refused(X, message, exported):
    with pytest.raises(ValueError, match=message):
        exported(network()[0]).predict(X)


def test_outputs_that_are_not_finite_are_refused(exported):
    net, X = network((4, 8, 1), output="identity")
    X[7] = 3e38 * np.sign(net.weights[0][:, 0])
    net.weights[0][:, 0] *= 10
    with pytest.raises(ArithmeticError, match="outputs are not finite for row 7"):
        exported(net).predict(X)


def test_rows_are_not_changed(exported):
    net, X = network(dtype="float64", standardize_inputs=True)
    before = X.copy()
    exported(net).predict(X)
    assert np.array_equal(X, before)


@pytest.mark.parametrize(
    "name", ["net.py", "my-net.py", "2.py", "class.py", '"""; x = 1 #.py', "a\nb.py"]
)
def test_a_file_of_any_name_can_be_imported(name, exported):
    net, X = network()
    module = exported(net, name)
    assert_same(module, net, X)
    plain = name == "net.py"
    assert ("import net\n" in module.__doc__, "import network\n" in module.__doc__) == (
        plain,
        not plain,
    )


def text_of(tmp_path, *arguments, **keywords):
    network(*arguments, **keywords)[0].export(tmp_path / "net.py")
    return (tmp_path / "net.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("activation", HIDDEN)
def test_only_what_is_used_is_in_the_file(activation, tmp_path):
    text = text_of(tmp_path, (4, 8, 2), activation=activation, output="identity")
    first = next(name for name in ACTIVATIONS if ACTIVATIONS[name] == ACTIVATIONS[activation])
    needed = {first, python.NEEDS.get(first)} - {None, "identity"}
    always = {"predict_proba", "predict", "_rows", "main", "_array"}
    defined = set(re.findall(r"^def (\w+)", text, re.MULTILINE))
    assert defined == needed | always
    for word in ("math", "warnings", "FEATURES)", "MEAN", "np.sort", "[:, None]"):
        assert (word in text) == (word == "math" and activation == "gelu"), word


def test_python_3_8_understands_the_file(tmp_path):
    for arguments in (
        {},
        {"output": "identity", "standardize_targets": True},
        {"output": "sigmoid"},
    ):
        text = text_of(tmp_path, activation="gelu", features=["a", "b", "c", "d"], **arguments)
        ast.parse(text, feature_version=(3, 8))


def test_lines_are_short_and_no_space_ends_one(tmp_path):
    text = text_of(tmp_path, (4, 30, 3), features=["a", "b", "c", "d"], activation="selu")
    lines = text.split("\n")
    assert max(map(len, lines)) <= 100
    assert not [line for line in lines if line != line.rstrip()]
    assert "\n\n\n\n" not in text
    assert text.endswith(")\n")


def test_the_docstring_says_what_the_network_is(tmp_path):
    text = text_of(tmp_path, (4, 8, 6, 3), activation=["relu", "tanh"], standardize_inputs=True)
    for words in (
        "4 inputs and 3 outputs",
        "Layers: 8 relu, 6 tanh, 3 softmax",
        "115 parameters, float32",
    ):
        assert words in text


def test_nothing_happens_on_import_and_nothing_else_is_needed(tmp_path):
    net, X = network(labels=["a", "b", "c"], activation="gelu", standardize_inputs=True)
    net.export(tmp_path / "net.py")
    np.save(tmp_path / "rows.npy", X)
    site = str(next(p for p in map(str, [*np.__path__]) if p).rsplit("numpy", 1)[0])
    code = ALONE.format(site=site, folder=str(tmp_path), rows=str(tmp_path / "rows.npy"))
    command = [sys.executable, "-I", "-S", "-W", "error", "-B", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.stderr == ""
    assert done.stdout.split() == net.predict(X).tolist()


# As a program.


def run(path, rows, *arguments):
    """Run the file on text; return the exit code and what it printed."""
    command = [sys.executable, "-W", "error", str(path), *map(str, arguments)]
    done = subprocess.run(command, input=rows, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout, done.stderr


def printed(module, rows, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO(rows))
    module.main()
    return capsys.readouterr().out.splitlines()


def csv_of(X, heading=None):
    lines = [",".join(map(repr, row)) for row in X.tolist()]
    return "\n".join(([heading] if heading else []) + lines) + "\n"


def test_as_a_program_the_file_prints_a_prediction_for_each_row(tmp_path):
    net, X = network(labels=["a", "b", "c"])
    net.export(tmp_path / "net.py")
    (tmp_path / "rows.csv").write_text(csv_of(X))
    wanted = net.predict(X).tolist()
    for rows, arguments in ((csv_of(X), ()), ("", (tmp_path / "rows.csv",))):
        code, out, errors = run(tmp_path / "net.py", rows, *arguments)
        assert (code, errors) == (0, "")
        assert out.split() == wanted


@pytest.mark.parametrize("heading", [None, "w,x,y,z"])
def test_a_line_of_names_is_no_row(heading, exported, monkeypatch, capsys):
    net, X = network((4, 8, 2), output="identity")
    lines = printed(exported(net), csv_of(X, heading), monkeypatch, capsys)
    found = np.array([line.split(",") for line in lines], np.float32)
    np.testing.assert_allclose(found, net.predict(X), rtol=1e-6)


def test_columns_go_by_name_where_the_network_knows_names(exported, monkeypatch, capsys):
    net, X = network(features=["w", "x", "y", "z"])
    module = exported(net)
    rows = "kind,z,x,w,y\n" + "".join(f"rose,{z},{x},{w},{y}\n" for w, x, y, z in X.tolist())
    wanted = list(map(str, net.predict(X)))
    assert printed(module, rows, monkeypatch, capsys) == wanted
    assert printed(module, csv_of(X), monkeypatch, capsys) == wanted


def test_whole_numbers_are_pixels_where_the_network_takes_these(exported, monkeypatch, capsys):
    rng = np.random.default_rng(1)
    X = rng.integers(0, 256, (ROWS, 12), dtype=np.uint8)
    net = fastnn.Network([12, 8, 1], output="identity", seed=0, backend="numpy")
    net.train(X, rng.normal(size=ROWS), epochs=1, progress=False)
    module = exported(net)
    for rows in (X, X / 255):
        lines = printed(module, csv_of(rows), monkeypatch, capsys)
        np.testing.assert_allclose(np.array(lines, float), net.predict(rows)[:, 0], rtol=1e-5)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("1,2\n", "error: X must have shape (rows, 4); got (1, 2)\n"),
        ("", "error: X must have shape (rows, 4); got (0,)\n"),
        ("1,2,3,x\n4,5,6,y\n", "error: could not convert string to float: 'y'\n"),
    ],
)
def test_rows_of_another_kind_end_with_a_line(rows, message, tmp_path):
    network()[0].export(tmp_path / "net.py")
    assert run(tmp_path / "net.py", rows) == (1, "", message)


@pytest.mark.parametrize("features", [None, ["w", "x", "y", "z"]])
def test_rows_of_two_lengths_end_with_a_line(features, tmp_path):
    network(features=features)[0].export(tmp_path / "net.py")
    message = "error: rows must be equally long; got 4 and 2 cells\n"
    assert run(tmp_path / "net.py", "w,x,y,z\n1,2,3,4\n1,2\n") == (1, "", message)
    message = "error: X must have shape (rows, 4); got (1, 2)\n"
    assert run(tmp_path / "net.py", "w,x,y,z\n1,2\n") == (1, "", message)


def test_a_first_line_without_a_column_says_which_are_needed(tmp_path):
    network(features=["w", "x", "y", "z"])[0].export(tmp_path / "net.py")
    message = "error: need numbers, or columns ['w', 'x', 'y', 'z']; got ['w', 'x', 'y']\n"
    assert run(tmp_path / "net.py", "w,x,y\n1,2,3\n") == (1, "", message)


def test_a_file_that_is_not_there_ends_with_a_line(tmp_path):
    network()[0].export(tmp_path / "net.py")
    code, out, errors = run(tmp_path / "net.py", "", "none.csv")
    assert (code, out) == (1, "")
    assert errors.startswith("error: [Errno 2]")
    assert errors.count("\n") == 1


def test_a_large_network_takes_little_room_and_one_literal_for_each_array(tmp_path):
    net = fastnn.Network([1000, 500, 10], seed=0)
    net.export(tmp_path / "net.py")
    assert (tmp_path / "net.py").stat().st_size < 1.4 * net.parameters.nbytes
    text = (tmp_path / "net.py").read_text()
    assert len(list(ast.walk(ast.parse(text)))) < 1000
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_same(imported(tmp_path / "net.py"), net, np.ones((3, 1000)))
