"""What several test modules share."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SECONDS_TO_HANG = 300


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "every_width: also run with vectors of 128, 256 and 512 bits, see test_vectors"
    )
    if "CANARIES" in os.environ:
        from faults import canaries

        config.pluginmanager.register(canaries.Plugin(os.environ["CANARIES"]))


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
