"""The examples run as they stand, and print what they promise."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
# What an example prints, with a number, and the least that number may be.
PROMISES = {
    "mnist": (r"test accuracy (0\.\d+)", 0.984),
    "regression": (r"R2 (0\.\d+)", 0.4),
    "imbalanced": (r"class weights balanced +eights found (0\.\d+)", 0.75),
    "multilabel": (r"all labels right (0\.\d+)", 0.95),
    "early_stopping": (r"test accuracy (0\.\d+)", 0.89),
    "scikit_learn": (r"cross-validation accuracy (0\.\d+)", 0.97),
}


def test_every_example_is_tested():
    of_a_cluster = {"dask_search"}  # tests/test_dask.py
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(PROMISES) | of_a_cluster


@pytest.mark.parametrize("name", PROMISES)
def test_an_example_keeps_its_promise(name, run_python):
    if name in ("regression", "scikit_learn"):
        pytest.importorskip("sklearn")
    pattern, least = PROMISES[name]
    found = re.search(pattern, run_python(str(EXAMPLES / f"{name}.py")))
    assert found, f"no {pattern!r} in what {name}.py prints"
    assert float(found[1]) >= least
