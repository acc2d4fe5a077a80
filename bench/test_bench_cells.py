"""The cells of `compare.py`, so that they do not rot; it measures them in turns."""

from __future__ import annotations

import pytest
from cells import cells


@pytest.mark.benchmark(group="cells of compare.py, one thread")
@pytest.mark.parametrize(
    "cell", [cell for cell in cells(1) if cell.process == "shared"], ids=lambda cell: cell.name
)
def test_cell(benchmark, cell, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # some write files
    benchmark.pedantic(cell.setup(), rounds=5, warmup_rounds=1)
