"""The soak test for some seconds: that no file stays open and no thread is added."""

from __future__ import annotations

import sys

import pytest


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
def test_no_file_stays_open_and_no_thread_is_added(run_python):
    # Memory is judged by a longer run: in the first seconds kernels are still being loaded.
    script = (
        "from faults import soak; figures = soak.soak(9); print(figures.files, figures.threads)"
    )
    grown = run_python("-c", f"import sys; sys.path.insert(0, 'tests'); {script}")
    assert grown.split() == ["0", "0"]
