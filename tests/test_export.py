"""Exports: which format a file gets, which options it takes, and what is refused."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest

import fastnn
from fastnn import export


@pytest.fixture
def net():
    return fastnn.Network([4, 6, 3], seed=0, backend="numpy")


@pytest.mark.parametrize(("name", "format"), [("net.py", "python"), ("net.json", "json")])
def test_the_ending_says_the_format(name, format, net, tmp_path):
    net.export(tmp_path / name)
    assert export.format_of(tmp_path / name) == format
    net.export(tmp_path / "other", format)
    assert len((tmp_path / "other").read_bytes()) == pytest.approx(
        len((tmp_path / name).read_bytes()), abs=50
    )


@pytest.mark.parametrize("name", ["NET.JSON", "net.tar.json", b"net.json", ".json.json"])
def test_endings_of_any_case_and_paths_of_any_kind(name, net, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    net.export(name)
    assert Path(os.fsdecode(name)).read_text().startswith('{"format": "fastnn.json"')


def test_a_format_overrides_the_ending(net, tmp_path):
    net.export(tmp_path / "net.py", "JSON")
    assert (tmp_path / "net.py").read_text().startswith("{")


def test_a_link_is_known_by_its_own_name(net, tmp_path):
    (tmp_path / "net.json").symlink_to(tmp_path / "blob")
    net.export(tmp_path / "net.json")
    assert (
        (tmp_path / "blob")
        .read_text()
        .startswith('{"format": "fastnn.json", "version": 1, "name": "net"')
    )
    assert (tmp_path / "net.json").is_symlink()


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("net", ""),
        ("net.pt", ""),
        (".json", ""),
        ("net.safetensors", "; Network.save writes .safet"),
    ],
)
def test_other_endings_are_refused_with_those_that_are_known(name, hint, net, tmp_path):
    with pytest.raises(ValueError, match="path must end with one of") as refused:
        net.export(tmp_path / name)
    for known, each in export.FORMATS.items():
        assert each.ending in str(refused.value)
        assert known in str(refused.value)
    assert hint in str(refused.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("format", "message"),
    [
        ("pickle", "format must be one of .*; got 'pickle'"),
        ("pyton", "did you mean 'python'"),
        (3, "got 3"),
    ],
)
def test_unknown_formats_are_refused(format, message, net, tmp_path):
    with pytest.raises(ValueError, match=message):
        net.export(tmp_path / "net.json", format)


@pytest.mark.parametrize("options", [{"prefix": "p"}, {"int8": True}])
@pytest.mark.parametrize("name", ["net.json", "net.py"])
def test_options_of_other_formats_are_refused(name, options, net, tmp_path, monkeypatch):
    other = export.Format(".other", "none", ("prefix", "int8"))
    monkeypatch.setattr(export, "FORMATS", {**export.FORMATS, "other": other})
    ((option, value),) = options.items()
    able = " or ".join(each.ending for each in export.FORMATS.values() if option in each.options)
    message = f"{option} is for {able} files; got {option}={value!r} for "
    with pytest.raises(ValueError, match=re.escape(message)):
        net.export(tmp_path / name, **options)
    assert not list(tmp_path.iterdir())


def test_options_of_no_format_are_refused(net, tmp_path):
    with pytest.raises(TypeError, match="no format has the option 'int4'"):
        export.write(tmp_path / "net.json", net.model, int4=True)


def test_options_that_are_not_given_are_fine(net, tmp_path):
    net.export(tmp_path / "net.json", None, prefix=None, int8=False)


@pytest.mark.parametrize(
    ("path", "error"),
    [
        (3, TypeError), (None, TypeError), ("", FileNotFoundError), (".", IsADirectoryError),
        ("none/net.json", FileNotFoundError), (os.devnull, OSError),
    ],
)  # fmt: skip
def test_paths_that_cannot_be_written_are_refused(path, error, net, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match="path"):
        net.export(path)


@pytest.mark.parametrize("name", ["net.json", "net.py"])
def test_what_fails_leaves_the_older_file(name, net, tmp_path, monkeypatch):
    path = tmp_path / name
    path.write_text("older")
    net.weights[1][0, 0] = np.nan
    with pytest.raises(ValueError, match="layer 1 has weights that are not finite; need a trained"):
        net.export(path)
    net.weights[1][0, 0] = 0

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device"):
        net.export(path)
    assert path.read_text() == "older"
    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_scales_that_are_not_finite_are_refused(net, tmp_path):
    scaled = fastnn.Network([4, 3], standardize_inputs=True, backend="numpy", seed=0)
    scaled.train(np.eye(4), [0, 1, 2, 0], epochs=1, progress=False)
    scaled.model.input_scaler.mean[2] = np.inf
    with pytest.raises(ValueError, match="input_scaler has numbers that are not finite"):
        scaled.export(tmp_path / "net.json")


@pytest.mark.parametrize("name", ["net.json", "net.py"])
def test_a_network_is_not_changed_and_the_same_one_gives_the_same_file(name, net, tmp_path):
    before = net.parameters.copy()
    files = []
    for _ in range(2):
        net.export(tmp_path / name)
        files.append((tmp_path / name).read_bytes())
    assert files[0] == files[1]
    assert np.array_equal(net.parameters, before)


@pytest.mark.parametrize("name", ["net.json", "net.py"])
def test_what_is_only_for_training_is_not_in_the_file(name, tmp_path):
    X, y = np.eye(4), [0, 1, 2, 0]
    files = []
    for optimizer in ("sgd", "adam"):
        net = fastnn.Network([4, 3], seed=0, backend="numpy")
        net.train(X, y, epochs=1, optimizer=optimizer, learning_rate=0.0001, progress=False)
        net.parameters[:] = 0.5
        net.export(tmp_path / name)
        files.append((tmp_path / name).read_bytes())
    assert files[0] == files[1]


def test_a_loss_of_ones_own_is_of_no_account(tmp_path):
    def loss(z, targets):
        return ((z - targets) ** 2).sum(axis=1), 2 * (z - targets)

    net = fastnn.Network([4, 2], output="identity", loss=loss, seed=0)
    net.export(tmp_path / "net.json")
    assert (tmp_path / "net.json").exists()


def test_a_committee_says_that_its_members_can_be_exported(net, tmp_path):
    committee = fastnn.Committee([net])
    hint = r"has no attribute 'export'; its members have one each, as in committee\[0\].export"
    with pytest.raises(AttributeError, match=hint):
        committee.export(tmp_path / "net.json")
    committee[0].export(tmp_path / "net.json")
