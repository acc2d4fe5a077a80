"""The facts for a bug report: versions, machine, vectors, threads and the cache of kernels.

``python -m fastnn.info`` prints them. A fact that cannot be found is "unknown", with the reason.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from fastnn.cli.running import Given, run

CPUINFO = Path("/proc/cpuinfo")
# Numba's threading layers in the order in which it tries them, and their modules.
LAYERS = {"tbb": "tbbpool", "omp": "omppool", "workqueue": "workqueue"}
PREFIXES = ("FASTNN_", "NUMBA_", "OMP_", "GOMP_", "KMP_", "TBB_")
COLUMN, WIDTH = 18, 100


def info() -> str:
    """Return the facts for a bug report.

    This starts the threading layer, and compiles nothing.

    Returns
    -------
    str
        One or more lines for each subject, which begin with its name.
    """
    rows: dict[str, Callable[[], str]] = {
        "environment": _environment,  # first, as imports may add to it
        "fastnn": _fastnn,
        "Python": lambda: f"{platform.python_implementation()} {platform.python_version()}",
        "NumPy": lambda: version("numpy"),
        "Numba": lambda: version("numba"),
        "llvmlite": lambda: version("llvmlite"),
        "platform": platform.platform,
        "CPU": _cpu,
        "CPU features": _features,
        "vectors": _vectors,
        "bfloat16": _bfloat16,
        "threads": _threads,
        "threading layer": _layer,
        "cache": _cache,
    }
    answers = {name: _answer(find) for name, find in rows.items()}
    answers["environment"] = answers.pop("environment")
    return "\n".join(
        textwrap.fill(
            f"{name:{COLUMN}}{answer}",
            WIDTH,
            subsequent_indent=" " * COLUMN,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for name, answer in answers.items()
    )


def layers() -> tuple[list[str], list[str]]:
    """Return Numba's threading layers that work, and why the others do not."""
    found, reasons = [], []
    for name, module in LAYERS.items():
        try:
            importlib.import_module(f"numba.np.ufunc.{module}")
        except ImportError as error:
            reasons.append(f"not {name}, {error}")
        else:
            found.append(name)
    return found, reasons


def _answer(find: Callable[[], str]) -> str:
    try:
        return find()
    except Exception as error:  # the report may be about what fails here
        return f"unknown, {type(error).__name__}: {error}"


def _environment() -> str:
    ours = sorted(name for name in os.environ if name.startswith(PREFIXES))
    found = [f"{name}={os.environ[name]}" for name in ours]
    return " ".join(found) or f"nothing that begins with {', '.join(PREFIXES)}"


def _fastnn() -> str:
    import fastnn

    return f"{fastnn.__version__} in {Path(fastnn.__file__).parent}"


def _cpu() -> str:
    from numba.core.registry import cpu_target

    _, model, _ = cpu_target.target_context.codegen().magic_tuple()
    return f"{_cpu_name()}, {platform.machine()}; Numba compiles for {model or 'any'}"


def _cpu_name() -> str:
    """Return what the system calls the CPU; on ARM64, Linux knows numbers only."""
    if sys.platform == "darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        asked = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
        return asked.stdout.strip()
    listed = {}
    if CPUINFO.exists():
        listed = dict(re.findall(r"^([^:\t]+?)\s*: (.+)$", CPUINFO.read_text(), re.MULTILINE))
    if "CPU part" in listed:
        return f"implementer {listed.get('CPU implementer')}, part {listed['CPU part']}"
    return listed.get("model name") or platform.processor() or "no name"


def _features() -> str:
    from numba.core.registry import cpu_target

    _, _, features = cpu_target.target_context.codegen().magic_tuple()
    found = sorted(name[1:] for name in features.split(",") if name.startswith("+"))
    return " ".join(found) or "none reported"


def _vectors() -> str:
    from fastnn.backends.compiled.machinery.machine import (
        GROUP,
        MACHINE,
        PANEL,
    )

    asked = os.environ.get("FASTNN_VECTOR_BITS")
    chosen = f"as FASTNN_VECTOR_BITS={asked} asks" if asked else "as the CPU features allow"
    fma = "with" if MACHINE.fma else "without"
    name = "NEON" if MACHINE.architecture == "aarch64" else MACHINE.architecture
    return (
        f"{MACHINE.bits} bits, {chosen}; {name}, {MACHINE.registers} registers, {fma} "
        f"multiply-add, tiles of {GROUP} x {PANEL} vectors"
    )


def _bfloat16() -> str:
    from fastnn.backends.compiled.machinery import amx
    from fastnn.backends.compiled.machinery.machine import MACHINE

    said = amx.state()
    return ("AVX-512 BF16" if MACHINE.bf16 else "emulated") + (f"; {said}" if said else "")


def _threads() -> str:
    import numba

    from fastnn.backends.compiled.machinery import threads

    quota = threads.cgroup_quota()
    limits = [
        f"affinity {threads.affinity()}",
        "no cgroup quota" if quota is None else f"cgroup quota {quota:g}",
        f"NUMBA_NUM_THREADS {numba.config.NUMBA_NUM_THREADS}",
    ]
    return f"{threads.most()} at most: {', '.join(limits)}; {os.cpu_count()} CPUs"


def _layer() -> str:
    import numba

    numba.get_num_threads()  # starts the layer
    found, reasons = layers()
    used = numba.threading_layer()
    turns = ["calls that use several threads take turns"] if used == "workqueue" else []
    return "; ".join([f"{used}, of {', '.join(found)}", *turns, *reasons])


def _cache() -> str:
    from fastnn.backends.compiled.machinery import cache

    found = []
    for folder, files, size, reason in cache.states():
        writable = f"cannot be written to: {reason}" if reason else "can be written to"
        found.append(f"{folder}: {files} files, {size:,} bytes, {writable}")
    return "; ".join([*found, *([cache.trouble] if cache.trouble else [])])


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the facts for a bug report.

    Parameters
    ----------
    arguments : sequence of str, optional
        Default: those of the command line; the only one is ``--help``.

    Returns
    -------
    int
        The exit code.
    """
    description = "Print the facts that a bug report needs: versions, machine, threads, cache."
    parser = argparse.ArgumentParser(prog="fastnn-info", description=description)
    return run(parser, _print, arguments)


def _print(given: Given) -> int:
    print(info())
    return 0
