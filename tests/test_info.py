"""What a bug report needs."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess

import numba
import pytest
from numba.core.registry import cpu_target

import fastnn
from fastnn.backends.compiled.machinery import amx, cache, machine, threads
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
        *["vectors", "bfloat16", "threads", "threading layer", "cache", "environment"],
    ]
    assert not [name for name, answer in told.items() if not answer or answer.startswith("unknown")]


def test_versions(told):
    assert told["fastnn"].startswith(f"{fastnn.__version__} in ")
    assert platform.python_version() in told["Python"]
    for name in ("NumPy", "Numba", "llvmlite"):
        assert told[name] == importlib.metadata.version(name)


def test_vectors_are_those_of_the_machine(told):
    assert told["vectors"].startswith(f"{machine.MACHINE.bits} bits, as ")


def test_the_features_are_those_that_numba_compiles_for(told):
    assert ("fma" in told["CPU features"].split()) == (machine.MACHINE.fma and machine.MACHINE.x86)


@pytest.mark.parametrize(
    ("bf16", "state", "said"),
    [
        (True, "", "AVX-512 BF16"),
        (True, "AMX is used", "AVX-512 BF16; AMX is used"),
        (False, "", "emulated"),
    ],
)
def test_instructions_for_bfloat16_are_named(bf16, state, said, monkeypatch):
    monkeypatch.setattr(machine, "MACHINE", machine.MACHINE._replace(bf16=bf16))
    monkeypatch.setattr(amx, "state", lambda: state)
    assert lines(info.info())["bfloat16"] == said


@pytest.fixture
def llvm(monkeypatch):
    """Say what LLVM knows of the machine."""

    def llvm(triple, cpu, features):
        codegen = type(cpu_target.target_context.codegen())
        monkeypatch.setattr(codegen, "magic_tuple", lambda codegen: (triple, cpu, features))

    return llvm


@pytest.mark.parametrize(
    ("features", "system", "bf16", "amx"),
    [
        ("+avx512f,+avx512vl,+avx512bf16", "linux", True, False),
        ("+avx512f,+avx512bf16", "linux", False, False),  # without those for fewer bits
        ("+avx512f,+avx512vl,+avx512bf16,+amx-bf16,+amx-tile", "linux", True, True),
        ("+avx512f,+amx-bf16", "linux", False, False),  # without tiles
        ("+amx-bf16,+amx-tile", "win32", False, False),  # where nobody can ask for tiles
        ("+avx2,-avx512bf16,-amx-bf16", "linux", False, False),
    ],
)
def test_instructions_for_bfloat16_are_those_that_numba_compiles_for(
    llvm, monkeypatch, features, system, bf16, amx
):
    llvm("x86_64-unknown-linux-gnu", "some-cpu", features)
    monkeypatch.setattr(machine.sys, "platform", system)
    found = machine._machine()
    assert (found.bf16, found.amx) == (bf16, amx)


@pytest.mark.parametrize("features", ["", "-aes,-sve"])
def test_where_llvm_reports_no_features_that_is_said(llvm, features):
    llvm("aarch64-unknown-linux-gnu", "generic", features)
    assert lines(info.info())["CPU features"] == "none reported"


CPUS = {
    "linux on x86": (
        ("linux", "x86_64", "model\t\t: 2\nmodel name\t: Some CPU @ 3 GHz\nstepping\t: 1\n"),
        "Some CPU @ 3 GHz, x86_64; Numba compiles for some-cpu",
    ),
    "linux on arm64": (
        ("linux", "aarch64", "BogoMIPS\t: 50.00\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n"),
        "implementer 0x41, part 0xd0c, aarch64; Numba compiles for some-cpu",
    ),
    "windows": (("win32", "AMD64", None), "A processor, AMD64; Numba compiles for some-cpu"),
    "macos": (("darwin", "arm64", None), "Apple M9, arm64; Numba compiles for some-cpu"),
}


@pytest.mark.parametrize(("machine", "answer"), CPUS.values(), ids=CPUS)
def test_the_name_of_the_cpu_is_what_the_system_calls_it(
    llvm, monkeypatch, tmp_path, machine, answer
):
    system, architecture, listed = machine
    llvm("some-triple", "some-cpu", "")
    monkeypatch.setattr(info.sys, "platform", system)
    monkeypatch.setattr(info.platform, "machine", lambda: architecture)
    monkeypatch.setattr(info.platform, "processor", lambda: "A processor")
    monkeypatch.setattr(info, "CPUINFO", tmp_path / "cpuinfo")
    if listed:
        info.CPUINFO.write_text(listed)

    def sysctl(command, **options):
        assert command == ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.CompletedProcess(command, 0, "Apple M9\n")

    monkeypatch.setattr(info.subprocess, "run", sysctl)
    assert info._cpu() == answer


def test_vectors_of_arm64_are_named_with_their_tile(monkeypatch):
    neon = machine.Machine(128, 32, True, "aarch64")
    monkeypatch.setattr(machine, "MACHINE", neon)
    monkeypatch.setattr(machine, "GROUP", 8)
    monkeypatch.setattr(machine, "PANEL", 2)
    monkeypatch.delenv("FASTNN_VECTOR_BITS", raising=False)
    assert lines(info.info())["vectors"] == (
        "128 bits, as the CPU features allow; NEON, 32 registers, with multiply-add, tiles of "
        "8 x 2 vectors"
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


def test_where_there_is_only_workqueue_that_is_said_and_what_it_means(monkeypatch):
    def missing(name):
        if not name.endswith("workqueue"):
            raise ImportError("Library not loaded: libomp.dylib")

    monkeypatch.setattr(info.importlib, "import_module", missing)
    monkeypatch.setattr(numba, "threading_layer", lambda: "workqueue")
    assert lines(info.info())["threading layer"] == (
        "workqueue, of workqueue; calls that use several threads take turns; not tbb, Library not "
        "loaded: libomp.dylib; not omp, Library not loaded: libomp.dylib"
    )


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


def test_a_wrong_option_is_refused_in_the_name_of_the_command(capsys):
    with pytest.raises(SystemExit, match="2"):
        info.main(["--foo"])
    assert "fastnn-info: error: unrecognized arguments: --foo" in capsys.readouterr().err
