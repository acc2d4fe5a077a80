"""The roofline script, run for a moment so that it does not rot."""

from __future__ import annotations

import pytest
import roofline


@pytest.mark.parametrize("threads", [1, 2])
def test_roofline_measures_a_share_of_the_peak(threads):
    if threads > roofline.cpu_threads.available():
        pytest.skip("needs two CPUs")
    (row,) = roofline.measure([784, 128, 10], [512], threads, seconds=0.05)["rows"]
    assert row["share_of_peak"] > 0
    assert row["threads"] == threads
