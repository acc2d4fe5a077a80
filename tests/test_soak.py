"""The soak test for some seconds: that no file stays open and no thread is added."""

from __future__ import annotations

import sys

import pytest


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
@pytest.mark.parametrize("seconds", [5, pytest.param(20, marks=pytest.mark.long)])
def test_no_file_stays_open_and_no_thread_is_added(run_python, seconds):
    # Memory is judged by a longer run: in the first seconds kernels are still being loaded.
    script = f"figures = soak.soak({seconds}); print(figures.files, figures.threads)"
    start = "import sys; sys.path.insert(0, 'tests'); from faults import soak"
    assert run_python("-c", f"{start}; {script}").split() == ["0", "0"]
