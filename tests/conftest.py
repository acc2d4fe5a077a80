"""What several test modules share."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A busy machine, or one that is emulated, is slow; no test depends on how fast it is.
settings.register_profile(
    "at any speed", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("at any speed")

ROOT = Path(__file__).resolve().parents[1]
SECONDS_TO_HANG = 300
MOST_WORKERS = 8  # each imports and collects everything

# xdist calls the hook in its workers, too: these must not start workers of their own, without end.
IN_A_WORKER = "PYTEST_XDIST_WORKER" in os.environ  # or in what one started


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    """Without arguments, run as with ``-n auto``; a file's tests go to one worker.

    In pyproject.toml this would reach bench/, where nothing may run beside what is timed.
    """
    option = config.option
    if IN_A_WORKER or not config.pluginmanager.hasplugin("xdist"):
        return
    if option.numprocesses is None and not option.file_or_dir and option.capture != "no":
        option.numprocesses = "auto"
    if option.numprocesses and option.dist == "no":
        option.dist = "loadfile"
    if option.numprocesses:  # by default OpenMP's threads keep busy the CPUs that others wait for
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_xdist_auto_num_workers():
    return min((yield), MOST_WORKERS)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session):
    """Compile the kernels before there are workers, which would all do so."""
    option = session.config.option
    if IN_A_WORKER or getattr(option, "dist", "no") == "no" or option.collectonly:
        return
    code = "import sys, fastnn; fastnn.warmup(sys.argv[1])"
    started = [
        subprocess.Popen([sys.executable, "-W", "ignore", "-c", code, dtype], cwd=ROOT)
        for dtype in ("float32", "float64")
    ]
    for process in started:
        process.wait()


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="run the tests marked long, too")


def pytest_configure(config):
    # What a script starts in the background ignores SIGINT, which tests send to see its effect.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for marker in (
        "every_width: also run with vectors of 128, 256 and 512 bits, see test_vectors",
        "long: run by .ci/run, and where --long or -m is given",
    ):
        config.addinivalue_line("markers", marker)
    if "CANARIES" in os.environ:
        from faults import canaries

        config.pluginmanager.register(canaries.Plugin(os.environ["CANARIES"]))


def all_lengths(config):
    return config.option.long or config.option.markexpr


def pytest_report_header(config):
    return None if all_lengths(config) else "tests marked long are left out; --long runs them, too"


def pytest_collection_modifyitems(config, items):
    for item in items:  # until the compiled backend has kernels
        if "bfloat16" in item.nodeid or "precision" in item.nodeid:
            item.add_marker(pytest.mark.xfail(raises=NotImplementedError, strict=False))
    if all_lengths(config):
        return
    long = [item for item in items if item.get_closest_marker("long")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if not item.get_closest_marker("long")]


@pytest.fixture(scope="session")
def run_python():
    """Run Python with these arguments and additions to the environment; return what it printed."""

    def run(*arguments, **environment):
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            capture_output=True,
            text=True,
            timeout=SECONDS_TO_HANG,
        )
        assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    return run
