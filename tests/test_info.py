"""What a bug report needs."""

from __future__ import annotations

import importlib.metadata
import platform

import numba
import pytest

import fastnn
from fastnn.backends.compiled.machinery import cache, threads, vector_ir
from fastnn.cli import info


def lines(text):
    """Return what is said of each subject, on one line."""
    found, subject = {}, ""
    for line in text.splitlines():
        name, rest = line[: info.COLUMN].strip(), line[info.COLUMN :]
        subject = name or subject
        found[subject] = f"{found[subject]} {rest}" if subject in found else rest
    return found


@pytest.fixture
def told():
    return lines(info.info())


def test_every_subject_is_there_and_known(told):
    assert list(told) == [
        *["fastnn", "Python", "NumPy", "Numba", "llvmlite", "platform", "CPU", "CPU features"],
        *["vectors", "threads", "threading layer", "cache", "environment"],
    ]
    assert not [name for name, answer in told.items() if not answer or answer.startswith("unknown")]


def test_versions(told):
    assert told["fastnn"].startswith(f"{fastnn.__version__} in ")
    assert platform.python_version() in told["Python"]
    for name in ("NumPy", "Numba", "llvmlite"):
        assert told[name] == importlib.metadata.version(name)


def test_vectors_are_those_of_the_machine(told):
    assert told["vectors"].startswith(f"{vector_ir.MACHINE.bits} bits, as ")


def test_the_features_are_those_that_numba_compiles_for(told):
    assert ("fma" in told["CPU features"].split()) == (
        vector_ir.MACHINE.fma and vector_ir.MACHINE.x86
    )


def test_threads_and_what_limits_them(monkeypatch):
    monkeypatch.setattr(threads, "affinity", lambda: 8)
    monkeypatch.setattr(threads, "cgroup_quota", lambda: 2.5)
    monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", 6)
    answer = lines(info.info())["threads"]
    assert answer.startswith("3 at most: affinity 8, cgroup quota 2.5, NUMBA_NUM_THREADS 6;")


def test_the_threading_layer_that_is_used_is_named_first(told):
    assert told["threading layer"].startswith(f"{numba.threading_layer()}, of ")
    for name in info.LAYERS:
        assert name in told["threading layer"]


def test_the_folder_of_the_cache_and_what_it_holds(monkeypatch, tmp_path):
    monkeypatch.setattr(cache, "folders", lambda: [tmp_path, tmp_path / "another"])
    monkeypatch.setattr(cache, "trouble", None)
    (tmp_path / "some.nbc").write_bytes(bytes(1234))
    (tmp_path / "other").write_bytes(bytes(99))
    answer = lines(info.info())["cache"]
    assert answer == f"{tmp_path}: 1 files, 1,234 bytes, can be written to"


def test_a_folder_that_cannot_be_written_to(monkeypatch, tmp_path):
    monkeypatch.setattr(cache, "folders", lambda: [tmp_path / "file", tmp_path])
    monkeypatch.setattr(cache, "trouble", "elsewhere: no room")
    (tmp_path / "file").write_text("")
    answer = lines(info.info())["cache"]
    assert f"{tmp_path / 'file'}: 0 files, 0 bytes, cannot be written to: " in answer
    assert answer.endswith(f"; {tmp_path}: 0 files, 0 bytes, can be written to; elsewhere: no room")


def test_variables_of_the_environment(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("SECRET", "hidden")
    answer = lines(info.info())["environment"]
    assert "OMP_NUM_THREADS=3" in answer.split()
    assert "SECRET" not in answer


def test_a_setting_that_is_wrong_is_said_and_the_rest_is_there(run_python):
    found = lines(run_python("-m", "fastnn.info", FASTNN_VECTOR_BITS="7"))
    assert found["vectors"].startswith("unknown, ValueError: FASTNN_VECTOR_BITS must be")
    assert found["Numba"] == numba.__version__
    assert "FASTNN_VECTOR_BITS=7" in found["environment"].split()


def test_the_command_prints_it(capsys):
    assert info.main([]) == 0
    assert capsys.readouterr().out == f"{info.info()}\n"
