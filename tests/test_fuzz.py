"""Readers given damaged files: what once found something, bombs, and new changes of each kind."""

from __future__ import annotations

import gzip
import io
import random
import time
import tracemalloc
import zipfile

import numpy as np
import pytest

pytest.importorskip("resource", reason="limits of memory and time are POSIX's")
from faults import fuzz

from fastnn import datasets
from fastnn.datasets import delimited

# For each reader.
each_time = pytest.mark.parametrize("seconds", [0.5, pytest.param(5, marks=pytest.mark.long)])

FOUND = sorted(path for path in fuzz.CORPUS.iterdir() if "-" in path.name)


@pytest.fixture(scope="module")
def fuzzers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("given")
    return {name: fuzz.Fuzzer(name, folder) for name in fuzz.READERS}


@pytest.mark.parametrize("name", fuzz.READERS)
def test_the_seeds_are_read(fuzzers, name, monkeypatch):
    monkeypatch.setattr(fuzz, "named", lambda path, call: call())
    fuzzer = fuzzers[name]
    if name in ("gzip", "csv"):  # not with any options
        monkeypatch.undo()
    assert [fuzzer.give(content) for content in fuzzer.seeds] == [None] * len(fuzzer.seeds)


@pytest.mark.parametrize("path", FOUND, ids=lambda path: path.name)
def test_what_once_found_something_is_refused_by_name(fuzzers, path):
    reader = path.name.split("-")[0]
    if reader not in fuzzers:
        pytest.skip(f"{reader} is not installed")
    assert fuzzers[reader].give(path.read_bytes()) is None


@each_time
@pytest.mark.parametrize("name", fuzz.READERS)
def test_changed_files_are_read_or_refused_by_name(fuzzers, name, seconds):
    fuzzer, rng = fuzzers[name], random.Random(0)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        fuzzer.give(fuzzer.change(rng))
    assert fuzzer.found == {}


def test_the_fuzzer_finds_what_is_wrong(tmp_path, monkeypatch):
    def careless(path, choice):
        if b"9" in path.read_bytes():
            raise KeyError("9")

    monkeypatch.setitem(fuzz.READERS, "csv", fuzz.READERS["csv"]._replace(read=careless))
    (tmp_path / "findings").mkdir()
    fuzzer = fuzz.Fuzzer("csv", tmp_path, tmp_path / "findings")
    assert fuzzer.give(b"1,2") is None
    assert fuzzer.give(b"1,9").startswith("KeyError")
    assert [path.read_bytes() for path in (tmp_path / "findings").iterdir()] == [b"1,9"]


# Bombs


def peak_of(call, message):
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=message):
            call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("text", [b"0,", b"1,2\n", b"\n", b" "])
def test_a_gzip_bomb_of_text_is_refused_early(tmp_path, text):
    path = tmp_path / "bomb.csv.gz"
    with gzip.open(path, "wb") as file:
        for _ in range(64):
            file.write(text * ((1 << 20) // len(text)))
    message = r"bomb.csv.gz' has \d+ bytes and unpacks to more than \d+; need at most 100 times"
    assert peak_of(lambda: datasets.read_csv(path), message) < 24 << 20  # twice 8 MiB, and more


def test_text_that_compresses_well_is_read(tmp_path):
    path = tmp_path / "zeros.csv.gz"
    path.write_bytes(gzip.compress(b"0,0,0,0\n" * (1 << 18)))
    assert datasets.read_csv(path, header=False).X.shape == (1 << 18, 4)


def test_a_table_of_ordinary_ratio_may_unpack_to_more_than_any_file_may(tmp_path, monkeypatch):
    monkeypatch.setattr(delimited, "_UNPACKED", 100)
    path = tmp_path / "numbers.csv.gz"
    path.write_bytes(gzip.compress(b"".join(b"%d,%d\n" % (i, i * i) for i in range(200))))
    assert datasets.read_csv(path, header=False).X.shape == (200, 2)


def test_too_many_columns_are_refused(tmp_path):
    path = tmp_path / "wide.csv"
    path.write_bytes(b"0," * (1 << 18) + b"0\n")
    with pytest.raises(ValueError, match=r"line 1: 262145 cells; need at most 262144"):
        datasets.read_csv(path)


def test_an_idx_or_npz_file_of_too_many_features_is_refused(tmp_path):
    wide = np.zeros((1, (1 << 18) + 1), np.uint8)
    np.savez_compressed(tmp_path / "wide.npz", X=wide)
    header = bytes([0, 0, 8, 2]) + np.array(wide.shape, ">u4").tobytes()
    (tmp_path / "wide.idx").write_bytes(gzip.compress(header + wide.tobytes()))
    for name in ("wide.npz", "wide.idx"):
        with pytest.raises(ValueError, match=rf"{name}.* has 262145 features; need at most"):
            datasets.load(tmp_path / name)


@pytest.mark.parametrize("declared", [10, 1 << 40])
def test_an_archive_whose_array_declares_another_size_is_refused_unread(tmp_path, declared):
    stream = io.BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": (1, declared)}
    np.lib.format.write_array_header_1_0(stream, header)
    stream.write(bytes(64 << 20))
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("X.npy", stream.getvalue())
    del stream
    message = rf"needs {declared} bytes, but there are {64 << 20}"
    assert peak_of(lambda: datasets.read_npz(tmp_path / "bomb.npz"), message) < 4 << 20


def test_a_row_of_very_many_cells_after_short_ones_is_refused_by_line(tmp_path):
    path = tmp_path / "ragged.csv"
    path.write_bytes(b"1,2\n" + b"1," * 3_000_000 + b"1\n" + b"1,2\n" * 300_000)
    with pytest.raises(ValueError, match=r"ragged.csv', line 2: 3000001 cells; need 2"):
        datasets.read_csv(path, header=False)
