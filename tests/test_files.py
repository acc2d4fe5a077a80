"""Files of networks: what comes back is what was saved, and nothing in a file is trusted."""

from __future__ import annotations

import json
import os
import struct
import sys

import numpy as np
import pytest
from cases import BACKENDS, DTYPES
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, deserialize

import fastnn
from fastnn import Network, optimizers
from fastnn.model import storage as tensors

each_dtype = pytest.mark.parametrize("dtype", DTYPES)


def data(rows=40, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, 5)), rng.integers(0, 3, rows)


def trained(dtype="float32", **options):
    net = Network([5, 7, 4, 3], ["tanh", "gelu"], seed=3, dtype=dtype, **options)
    net.train(*data(), epochs=2, optimizer="adam")
    return net


def parts(content):
    """Return the header of a file, as JSON, and the numbers behind it."""
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def packed(header, numbers):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + numbers


@pytest.mark.parametrize("kind", [lambda net: net, lambda net: fastnn.Committee([net])])
def test_no_file_is_saved_under_a_name_that_is_read_as_onnx(tmp_path, kind):
    with pytest.raises(ValueError, match=r"net\.ONNX' ends in \.onnx, a format that an export"):
        kind(Network([1, 2], seed=0)).save(tmp_path / "net.ONNX")
    assert not list(tmp_path.iterdir())


@each_dtype
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_loaded_network_is_the_same(tmp_path, dtype, backend):
    net = trained(dtype, standardize_inputs=True)
    net.classes = ["cat", "dog", "eel"]
    net.save(tmp_path / "net.safetensors")
    other = fastnn.load(tmp_path / "net.safetensors", backend=backend, threads=1)
    assert other.parameters.tobytes() == net.parameters.tobytes()
    assert other.architecture == net.architecture
    assert (other.seed, other.epochs_trained, other.classes) == (3, 2, ("cat", "dog", "eel"))
    assert (other.backend, other.threads) == (backend, 1)
    X, _ = data(seed=1)
    if backend == net.backend:
        assert other.predict_proba(X).tobytes() == net.predict_proba(X).tobytes()
        assert other.predict_one(X[0].astype(dtype)).tolist() == net.predict_proba(X)[0].tolist()
    else:
        np.testing.assert_allclose(other.predict_proba(X), net.predict_proba(X), rtol=1e-4)


@pytest.mark.parametrize("optimizer", ["momentum", "nesterov", "rmsprop", "adam", "adamw", "sgd"])
def test_training_goes_on_as_if_it_had_not_stopped(tmp_path, optimizer):
    options = {"epochs": 3, "optimizer": optimizer, "learning_rate": 0.01, "dropout": 0.2}
    net = Network([5, 7, 3], seed=1)
    net.train(*data(), **options)
    net.save(tmp_path / "net.safetensors", optimizer=True)
    other = fastnn.load(tmp_path / "net.safetensors")
    histories = [each.train(*data(), **options) for each in (net, other)]
    assert histories[0]["loss"] == histories[1]["loss"]
    assert net.parameters.tobytes() == other.parameters.tobytes()


def test_targets_keep_their_units(tmp_path):
    X, _ = data()
    net = Network([5, 4, 2], output="identity", seed=0, standardize_targets=True)
    net.train(X, X[:, :2] * 1000 + 7, epochs=2)
    net.save(tmp_path / "net.safetensors")
    other = fastnn.load(tmp_path / "net.safetensors")
    assert other.predict(X).tobytes() == net.predict(X).tobytes()


def test_a_loss_of_ones_own_is_passed_again(tmp_path):
    net = Network([5, 3], loss=squared, seed=0)
    net.save(tmp_path / "net.safetensors")
    with pytest.raises(ValueError, match="its loss is a function, which files do not hold; pass"):
        fastnn.load(tmp_path / "net.safetensors")
    assert fastnn.load(tmp_path / "net.safetensors", loss=squared).architecture.loss is squared


def squared(a, t):
    return ((a - t) ** 2).sum(axis=1), 2 * (a - t)


def test_other_libraries_read_the_weights(tmp_path):
    from safetensors import safe_open

    net = trained()
    net.save(tmp_path / "net.safetensors", optimizer=False)
    with safe_open(tmp_path / "net.safetensors", framework="numpy") as file:
        assert set(file.keys()) == {
            f"layers.{l}.{kind}" for l in range(3) for kind in ("weights", "biases")
        }
        for l in range(3):
            assert np.array_equal(file.get_tensor(f"layers.{l}.weights"), net.weights[l])
            assert np.array_equal(file.get_tensor(f"layers.{l}.biases"), net.biases[l])
        assert json.loads(file.metadata()["network"])["sizes"] == [5, 7, 4, 3]


# Writing


def test_a_file_is_replaced_whole_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "net.safetensors"
    trained().save(path)
    Network([2, 2], seed=0).save(path)
    assert fastnn.load(path).architecture.sizes == (2, 2)
    assert os.listdir(tmp_path) == ["net.safetensors"]


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "net.safetensors"
    Network([2, 2], seed=0).save(path)
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        trained().save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["net.safetensors"]


def test_what_could_not_be_read_back_is_not_written(tmp_path, monkeypatch):
    path = tmp_path / "net.safetensors"
    Network([2, 2], seed=0).save(path)
    before = path.read_bytes()
    monkeypatch.setattr(tensors, "LONGEST_HEADER", 500)
    with pytest.raises(OSError, match=r"take more than .* bytes: .*net\.safetensors"):
        trained().save(path)
    assert path.read_bytes() == before


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder '.*nowhere' to write 'net'"):
        trained().save(tmp_path / "nowhere" / "net")
    with pytest.raises(FileNotFoundError):
        fastnn.load(tmp_path / "nothing")


@pytest.mark.skipif(sys.platform == "win32", reason="permissions are POSIX's")
def test_a_file_has_the_permissions_of_any_new_file(tmp_path):
    trained().save(tmp_path / "net")
    (tmp_path / "other").write_text("")
    modes = [os.stat(tmp_path / name).st_mode for name in ("net", "other")]
    assert modes[0] == modes[1]


# Reading what is not as it should be


@pytest.fixture
def damaged(tmp_path):
    """Save a network, change the file's header and numbers, and return what loading it says."""

    def damaged(change):
        path = tmp_path / "net.safetensors"
        trained().save(path, optimizer=True)
        path.write_bytes(change(path.read_bytes()))
        with pytest.raises(ValueError, match=r"net\.safetensors") as error:
            fastnn.load(path)
        return str(error.value)

    return damaged


def of_header(change):
    """Make a change of the header one of the file."""

    def changed(content):
        header, numbers = parts(content)
        return packed(change(header) or header, numbers)

    return changed


def of_network(**changes):
    def change(header):
        described = json.loads(header["__metadata__"]["network"])
        header["__metadata__"]["network"] = json.dumps({**described, **changes})

    return of_header(change)


def of_metadata(**changes):
    return of_header(lambda header: header["__metadata__"].update(changes))


def tensor(name, **changes):
    return of_header(lambda header: header[name].update(changes))


def extra(shape):
    described = {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]}
    return of_header(lambda header: header.update(extra=described))


FIRST = "layers.0.weights"
BAD = {
    "empty": (lambda content: b"", "is not a .safetensors file of fastnn, or is damaged"),
    "short": (lambda content: content[:5], "is not a .safetensors file of fastnn, or is damaged"),
    "cut in the header": (lambda content: content[:50], "is not a .safetensors file of fastnn"),
    "cut in the numbers": (lambda content: content[:-1], "is not a .safetensors file of fastnn"),
    "longer": (
        lambda content: content + b"\0",
        "is not a .safetensors file of fastnn, or is damaged",
    ),
    "a huge header": (
        lambda content: b"\xff" * 8 + content[8:],
        "is not a .safetensors file of fastnn, or is damaged",
    ),
    "a header beyond the limit": (
        lambda content: struct.pack("<Q", 1 << 40) + content[8:],
        "is not a .safetensors file of fastnn, or is damaged",
    ),
    "no JSON": (lambda content: packed(b"{]", b""), "not JSON"),
    "other text": (lambda content: packed(b"\xff\xfe{}", b""), "has metadata that"),
    "deep JSON": (lambda content: packed(b"[" * 200_000, b""), "cannot be read"),
    "a list": (lambda content: packed([1, 2], b""), "cannot be read"),
    "metadata of a list": (lambda content: packed({"__metadata__": [1]}, b""), "cannot be read"),
    "no metadata": (of_header(lambda header: {"a": header[FIRST]}), "not written by fastnn"),
    "another format": (of_metadata(format="pt"), "not written by fastnn"),
    "a later version": (of_metadata(version="3"), "is of version 3, and this fastnn reads up to 2"),
    "no version": (of_metadata(version="x"), "its version is 'x'; need a number"),
    "deep settings": (of_metadata(network="[" * 200_000), "cannot be read"),
    "settings of a list": (of_metadata(network="[]"), "holds no settings of a network"),
    "settings that are no JSON": (of_metadata(network="{"), "not JSON"),
    "other sizes": (of_network(sizes=[5, 8, 4, 3]), r"layers.0.weights is float32 of shape"),
    "huge sizes": (of_network(sizes=[10**9, 10**9, 4, 3]), "layers.0.weights is float32 of shape"),
    "sizes beyond all": (of_network(sizes=[10**30, 2, 4, 3]), "layers.0.weights is"),
    "negative sizes": (of_network(sizes=[5, -7, 4, 3]), "sizes[1] must be at least 1"),
    "more layers": (of_network(sizes=[5, 7, 4, 3, 3]), "activation must be one name, or one for"),
    "an unknown activation": (of_network(activation=["tanh", "sinh"]), "activation[1] must be"),
    "an unknown output": (of_network(output="max"), "output must be one of"),
    "an unknown loss": (of_network(loss="hinge"), "loss must be one of"),
    "no loss": (of_network(loss=None), "its loss is a function"),
    "a loss that is a list": (of_network(loss=["mse"]), "loss must be one of"),
    "another dtype": (of_network(dtype="float64"), "need float64"),
    "an unknown dtype": (of_network(dtype="float16"), "dtype must be one of"),
    "an unknown precision": (
        of_network(precision="float8"),
        "net.safetensors' does not describe a network: its precision is 'float8', and this fastnn, "
        "which reads files up to version 2, has bfloat16, float32, float64; install a later one",
    ),
    "a precision for another dtype": (
        of_network(precision="float64"),
        "precision 'float64' needs dtype='float64'",
    ),
    "a precision that is a list": (of_network(precision=["bfloat16"]), "unhashable"),
    "a seed that is text": (of_network(seed="1"), "seed must be an integer"),
    "epochs below zero": (of_network(epochs_trained=-1), "epochs_trained must be from 0 to"),
    "a flag that is text": (of_network(standardize_inputs="no"), "must be true or false"),
    "two classes for three": (of_network(classes=["a", "b"]), "classes must be 3 different names"),
    "settings of another time": (of_network(colour="red"), "unknown settings colour"),
    "a type that is none": (tensor(FIRST, dtype="F99"), "net.safetensors"),
    "halves": (tensor(FIRST, dtype="F16", shape=[5, 14]), "need F32 or F64"),
    "no numbers, but endless": (extra([0, 2**64 - 1]), "need numbers in it"),
    "three dimensions": (extra([0, 1, 1]), "extra has 3 dimensions"),
    "a number of 5,000 digits": (of_metadata(network="9" * 5000), "cannot be loaded"),
    "epochs beyond counting": (of_network(epochs_trained=10**20), "epochs_trained must be from 0"),
    "targets standardised for classes": (
        of_network(standardize_targets=True),
        "does not describe a network: standardize_targets needs the output 'identity'",
    ),
    "another name of a dtype": (of_network(dtype="a"), "dtype must be one of"),
    "another shape": (tensor(FIRST, shape=[7, 5]), "need float32 of (5, 7)"),
    "a shape that disagrees": (tensor(FIRST, shape=[5, 8]), "is damaged"),
    "offsets that overlap": (tensor(FIRST, data_offsets=[0, 140]), "net.safetensors"),
    "offsets beyond the end": (tensor(FIRST, data_offsets=[10**9, 10**9 + 140]), "is damaged"),
    "offsets that are negative": (tensor(FIRST, data_offsets=[-4, 136]), "is damaged"),
    "another optimizer": (
        of_metadata(optimizer='{"kind": "lbfgs", "steps": 1}'),
        "does not describe an optimizer: kind must be one of",
    ),
    "no steps": (of_metadata(optimizer='{"kind": "adam"}'), "does not describe an optimizer"),
    "an optimizer that is a list": (of_metadata(optimizer="[]"), "does not describe an optimizer"),
}


@pytest.mark.parametrize(("change", "message"), BAD.values(), ids=BAD)
def test_a_damaged_file_is_refused(damaged, change, message):
    assert message in damaged(change)


def test_a_header_longer_than_any_that_is_written_is_refused(tmp_path, monkeypatch):
    trained().save(tmp_path / "net")
    length = int.from_bytes((tmp_path / "net").read_bytes()[:8], "little")
    monkeypatch.setattr(tensors, "LONGEST_HEADER", length)
    fastnn.load(tmp_path / "net")
    monkeypatch.setattr(tensors, "LONGEST_HEADER", length - 1)
    with pytest.raises(ValueError, match=r"is not a \.safetensors file of fastnn, or is damaged"):
        fastnn.load(tmp_path / "net")


def test_a_file_of_a_version_without_names_of_features_is_loaded(tmp_path):
    path = tmp_path / "net"
    trained().save(path)
    header, numbers = parts(path.read_bytes())
    described = json.loads(header["__metadata__"]["network"])
    del described["features"]
    header["__metadata__"]["network"] = json.dumps(described)
    path.write_bytes(packed(header, numbers))
    assert fastnn.load(path).features is None


def test_a_missing_tensor_is_named(damaged):
    def without(content):
        header, numbers = parts(content)
        names = sorted(header.keys() - {"__metadata__"}, key=lambda n: header[n]["data_offsets"])
        last = header.pop(names[-1])
        return packed(header, numbers[: last["data_offsets"][0]])

    assert "lacks " in damaged(without)


@pytest.mark.parametrize("value", [0, -1])
def test_a_scale_that_is_not_above_zero_is_refused(tmp_path, value):
    net = trained(standardize_inputs=True)
    net.input_scaler.scale[2] = value
    net.save(tmp_path / "net")
    with pytest.raises(ValueError, match=r"net': input_scaler\.scale holds numbers .* not above 0"):
        fastnn.load(tmp_path / "net")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused(damaged, value):
    def poisoned(content):
        return content[:-4] + np.float32(value).tobytes()

    assert "holds NaN or infinity; need finite numbers" in damaged(poisoned)


@settings(max_examples=300)
@given(data=st.data())
def test_any_change_of_bytes_is_refused_or_harmless(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "changed.safetensors"
    trained_once().save(path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(
        content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content
    )
    try:
        net = fastnn.load(path)
    except (ValueError, TypeError):
        return
    assert np.isfinite(net.predict_proba(np.ones((1, net.architecture.sizes[0])))).all()


def read_or_refused(path, content):
    """Return whether a file is read, after comparing that with the library of the format."""
    path.write_bytes(content)
    try:
        found, _ = tensors.read(path)
    except ValueError:
        return False
    expected = dict(deserialize(bytes(content)))
    assert found.keys() == expected.keys()
    for name, array in found.items():
        assert array.tobytes() == expected[name]["data"]
        assert list(array.shape) == expected[name]["shape"]
    return True


@settings(max_examples=300)
@given(data=st.data())
def test_what_is_read_is_what_the_library_of_the_format_reads(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "header.safetensors"
    trained_once().save(path)
    content = bytearray(path.read_bytes())
    length = int.from_bytes(content[:8], "little")
    at_all_places = st.integers(content.index(b"layers"), 7 + length)
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(at_all_places)] = data.draw(
            st.sampled_from(b'0123456789-.eE"{}[]:, \\ux')
        )
    read_or_refused(path, content)


def test_numbers_are_read_once(tmp_path, monkeypatch):
    monkeypatch.setattr("safetensors.deserialize", None)
    trained().save(tmp_path / "net")
    assert fastnn.load(tmp_path / "net").epochs_trained == 2


NUMBER = {
    "nothing": ("", "", True),
    "spaces before the object": ("{", "  {", None),
    "a tensor twice": (
        '"a": {',
        '"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "a": {',
        None,
    ),
    "a part twice": ('"shape": [1]', '"shape": [1], "shape": [1]', False),
    "minus zero": ("[0, 4]", "[-0, 4]", False),
    "a float": ("[1]", "[1.0]", False),
    "an exponent": ("[1]", "[1e0]", False),
    "not a number": ("[1]", "[NaN]", False),
    "truth": ("[1]", "[true]", False),
    "an offset that is a truth value": ("[0, 4]", "[false, 4]", False),
    "three offsets": ("[0, 4]", "[0, 4, 4]", False),
    "one offset": ("[0, 4]", "[4]", False),
    "text for offsets": ("[0, 4]", '"04"', False),
    "half a character": ('"a"', '"\\ud800"', False),
    "a part that is unknown": ('"shape"', '"colour": 1, "shape"', None),
    "metadata of numbers": ('"format"', '"x": 1, "format"', False),
}


@pytest.mark.parametrize(("old", "new", "read"), NUMBER.values(), ids=NUMBER)
def test_headers_are_judged_as_the_library_of_the_format_judges_them(tmp_path, old, new, read):
    number = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    text = json.dumps({"__metadata__": {"format": "fastnn", "version": "1"}, "a": number})
    assert old in text
    content = packed(text.replace(old, new, 1).encode(), b"\0" * 4)
    try:
        deserialize(content)
        accepted = True
    except SafetensorError:
        accepted = False
    assert read_or_refused(tmp_path / "net", content) == accepted
    assert read in (None, accepted)


_ONCE = []


def trained_once():
    if not _ONCE:
        _ONCE.append(trained())
    return _ONCE[0]


def test_files_hold_no_code():
    assert "pickle" not in tensors.__dict__
    assert "pickle" not in fastnn.model.files.__dict__


def test_what_is_given_to_load_is_checked(tmp_path):
    trained().save(tmp_path / "net")
    with pytest.raises(ValueError, match="backend must be one of"):
        fastnn.load(tmp_path / "net", backend="torch")
    with pytest.raises(ValueError, match="threads must be at least 1"):
        fastnn.load(tmp_path / "net", threads=0)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["a", "b"], "classes must be 3 different names"),
        (["a", "b", "b"], "classes must be 3 different names"),
        ("abc", "classes must be a sequence"),
        ([1.5, 2, 3], "classes must be an integer"),
    ],
)
def test_classes_that_do_not_fit_are_refused(classes, message):
    with pytest.raises((TypeError, ValueError), match=message):
        trained_once().classes = classes


def test_numbers_may_be_classes():
    net = trained()
    net.classes = np.array([3, 1, 4])
    assert net.classes == (3, 1, 4)
    assert optimizers.Adam is not None
