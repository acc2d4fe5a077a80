"""Where the MNIST loader looks, what it refuses, and how it downloads (from local folders)."""

from __future__ import annotations

import gzip
import hashlib
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from fastnn.datasets import Mnist, load_mnist, mnist

NAMES = tuple(mnist.CHECKSUMS)
REPOSITORY_DATA = Path(__file__).resolve().parents[1] / "data" / "mnist"


def encode(array):
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return header + array.tobytes()


def contents(seed=0, train=5, test=3):
    """Content of four tiny files in the form of MNIST, by name."""
    rng = np.random.default_rng(seed)
    shapes = [(train, 28, 28), (train,), (test, 28, 28), (test,)]
    arrays = [rng.integers(0, 10, shape, np.uint8) for shape in shapes]
    return {name: encode(array) for name, array in zip(NAMES, arrays, strict=True)}


def fill(folder, files, end=".gz"):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        packed = gzip.compress(content) if end == ".gz" else content
        (folder / f"{name}{end}").write_bytes(packed)
    return folder


def assert_holds(data, files):
    for array, content in zip(data, files.values(), strict=True):
        assert content.endswith(array.tobytes())


@pytest.fixture(autouse=True)
def isolated(monkeypatch, tmp_path):
    """No checkout, no cache, no environment and no network: only what a test puts there."""
    monkeypatch.delenv("FASTNN_DATA", raising=False)
    monkeypatch.setattr(mnist, "_CHECKOUT", tmp_path / "checkout")
    monkeypatch.setattr(mnist, "_cache_folder", lambda: tmp_path / "cache" / "mnist")
    monkeypatch.setattr(mnist, "MIRRORS", ())


@pytest.fixture
def mirror(monkeypatch, tmp_path):
    """A folder that serves four tiny files, whose checksums are the expected ones."""
    folder = fill(tmp_path / "mirror", contents())
    checksums = {name: hashlib.sha256(c).hexdigest() for name, c in contents().items()}
    monkeypatch.setattr(mnist, "CHECKSUMS", checksums)
    monkeypatch.setattr(mnist, "MIRRORS", (folder.as_uri() + "/",))
    return folder


@pytest.mark.parametrize("end", [".gz", ""])
def test_loads_an_explicit_folder(tmp_path, end):
    data = load_mnist(fill(tmp_path / "given", contents(), end))
    assert isinstance(data, Mnist)
    assert [array.shape for array in data] == [(5, 784), (5,), (3, 784), (3,)]
    assert {array.dtype for array in data} == {np.dtype(np.uint8)}
    assert_holds(data, contents())


def test_an_explicit_folder_that_lacks_files_is_an_error_that_lists_them(tmp_path, mirror):
    folder = fill(tmp_path / "given", contents())
    (folder / f"{NAMES[1]}.gz").unlink()
    (folder / f"{NAMES[2]}.gz").unlink()
    with pytest.raises(FileNotFoundError, match=f"given' lacks {NAMES[1]}, {NAMES[2]};"):
        load_mnist(folder)


@pytest.mark.parametrize("subfolder", [".", "mnist"])
def test_environment_names_the_folder_or_its_parent(tmp_path, monkeypatch, subfolder):
    fill(tmp_path / "named" / subfolder, contents())
    monkeypatch.setenv("FASTNN_DATA", str(tmp_path / "named"))
    assert_holds(load_mnist(), contents())


def test_search_prefers_environment_then_checkout_then_cache(tmp_path, monkeypatch):
    fill(tmp_path / "cache" / "mnist", contents(seed=3))
    assert_holds(load_mnist(), contents(seed=3))
    fill(tmp_path / "checkout", contents(seed=2))
    assert_holds(load_mnist(), contents(seed=2))
    monkeypatch.setenv("FASTNN_DATA", str(fill(tmp_path / "named", contents(seed=1))))
    assert_holds(load_mnist(), contents(seed=1))


def test_a_folder_with_only_some_of_the_files_is_passed_over(tmp_path):
    (fill(tmp_path / "checkout", contents(seed=2)) / f"{NAMES[3]}.gz").unlink()
    fill(tmp_path / "cache" / "mnist", contents(seed=3))
    assert_holds(load_mnist(), contents(seed=3))


@pytest.mark.parametrize(
    ("index", "array", "message"),
    [
        (0, np.zeros((5, 27, 28), np.uint8), r"\(5, 27, 28\); need uint8 of shape \(5, 28, 28\)"),
        (0, np.zeros(5, np.uint8), r"uint8 of shape \(5,\); need uint8 of shape \(5, 28, 28\)"),
        (1, np.zeros(4, np.uint8), r"uint8 of shape \(4,\); need uint8 of shape \(5,\)"),
        (3, np.zeros((3, 1), np.uint8), r"shape \(3, 1\); need uint8 of shape \(3,\)"),
        (3, np.array([0, 10, 9], np.uint8), "holds the label 10; need only 0 to 9"),
    ],
)
def test_files_not_in_the_form_of_mnist_are_refused_by_name(tmp_path, index, array, message):
    files = contents() | {NAMES[index]: encode(array)}
    with pytest.raises(ValueError, match=f"{NAMES[index]}.*{message}"):
        load_mnist(fill(tmp_path / "given", files))


def test_signed_images_are_refused(tmp_path):
    files = contents()
    files[NAMES[0]] = files[NAMES[0]].replace(b"\0\0\x08", b"\0\0\x09", 1)
    with pytest.raises(ValueError, match="holds int8"):
        load_mnist(fill(tmp_path / "given", files))


def test_downloads_into_the_cache_and_leaves_nothing_else_there(mirror, tmp_path):
    assert_holds(load_mnist(), contents())
    cached = sorted(path.name for path in (tmp_path / "cache" / "mnist").iterdir())
    assert cached == sorted(f"{name}.gz" for name in NAMES)


def test_a_second_load_needs_no_mirror(mirror, monkeypatch):
    load_mnist()
    monkeypatch.setattr(mnist, "MIRRORS", ())
    assert_holds(load_mnist(), contents())


def test_only_files_that_the_cache_lacks_are_downloaded(mirror, tmp_path):
    load_mnist()
    for name in NAMES[1:]:
        (mirror / f"{name}.gz").unlink()
    (tmp_path / "cache" / "mnist" / f"{NAMES[0]}.gz").unlink()
    assert_holds(load_mnist(), contents())


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(gzip.compress(b"other content")),
        lambda path: path.write_bytes(path.read_bytes()[:-20]),
        lambda path: path.write_bytes(b"<html>not found</html>"),
    ],
    ids=["missing", "altered", "truncated", "a page"],
)
def test_a_bad_mirror_is_passed_over(mirror, tmp_path, monkeypatch, damage):
    bad = fill(tmp_path / "bad", contents())
    damage(bad / f"{NAMES[2]}.gz")
    monkeypatch.setattr(mnist, "MIRRORS", (bad.as_uri() + "/", mirror.as_uri() + "/"))
    assert_holds(load_mnist(), contents())


def test_altered_content_on_every_mirror_is_an_error_and_stays_out_of_the_cache(mirror, tmp_path):
    (mirror / f"{NAMES[0]}.gz").write_bytes(gzip.compress(b"other content"))
    with pytest.raises(FileNotFoundError, match="SHA-256"):
        load_mnist()
    assert list((tmp_path / "cache" / "mnist").iterdir()) == []


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["sent", "unpacked"])
def test_a_download_that_is_too_long_is_refused(mirror, monkeypatch, pack):
    monkeypatch.setattr(mnist, "_MAX_BYTES", 10_000)
    (mirror / f"{NAMES[0]}.gz").write_bytes(pack(bytes(10_001)))
    with pytest.raises(FileNotFoundError, match="more than 10000 bytes"):
        load_mnist()


def test_total_failure_names_the_folders_the_mirrors_and_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setenv("FASTNN_DATA", str(tmp_path / "named"))
    monkeypatch.setattr(mnist, "MIRRORS", ((tmp_path / "gone").as_uri() + "/",))
    with pytest.raises(FileNotFoundError) as caught:
        load_mnist()
    message = str(caught.value)
    for part in ("named", "checkout", "cache", "gone", "FASTNN_DATA", *NAMES):
        assert part in message
    assert "\n" not in message


def test_a_cache_that_cannot_be_written_is_a_clear_error(mirror, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(FileNotFoundError, match=r"no MNIST files in .*cache"):
        load_mnist()


def test_no_download_if_told_not_to(mirror, tmp_path):
    with pytest.raises(FileNotFoundError, match="downloads are off"):
        load_mnist(download=False)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(("progress", "shown"), [(True, True), (False, False), (None, False)])
def test_progress_bar_shows_if_asked_for_or_on_a_terminal(mirror, capsys, progress, shown):
    load_mnist(progress=progress)  # Captured standard error is no terminal.
    assert (NAMES[0] in capsys.readouterr().err) == shown


@pytest.mark.parametrize(
    ("platform", "variables", "folder"),
    [
        ("linux", {"XDG_CACHE_HOME": "/xdg"}, "/xdg/fastnn/mnist"),
        ("linux", {}, "/home/me/.cache/fastnn/mnist"),
        ("darwin", {"XDG_CACHE_HOME": "/xdg"}, "/home/me/Library/Caches/fastnn/mnist"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/fastnn/mnist"),
    ],
)
def test_cache_folder_follows_the_platform(monkeypatch, platform, variables, folder):
    monkeypatch.undo()  # The real function, in place of the one that isolates the tests.
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, "/home/me")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert mnist._cache_folder() == Path(folder)


@pytest.mark.skipif(not REPOSITORY_DATA.is_dir(), reason="needs the files of a checkout")
def test_the_checkout_holds_the_published_files():
    for name, checksum in mnist.CHECKSUMS.items():
        content = gzip.decompress((REPOSITORY_DATA / f"{name}.gz").read_bytes())
        assert hashlib.sha256(content).hexdigest() == checksum


@pytest.mark.skipif(not REPOSITORY_DATA.is_dir(), reason="needs the files of a checkout")
def test_loads_the_whole_database():
    data = load_mnist(REPOSITORY_DATA)
    assert [array.shape for array in data] == [(60000, 784), (60000,), (10000, 784), (10000,)]
    assert data.train_labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert data.test_labels[:5].tolist() == [7, 2, 1, 0, 4]
