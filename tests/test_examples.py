"""The examples run as they stand, and print what they promise."""

from __future__ import annotations

import importlib
import json
import re
import runpy
from pathlib import Path

import numpy as np
import pytest

import fastnn

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
BENCH = EXAMPLES.parent / "bench"
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
    others = {"dask_search", "record"}  # tests/test_dask.py, and below
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(PROMISES) | others


@pytest.mark.parametrize("name", PROMISES)
def test_an_example_keeps_its_promise(name, run_python):
    if name in ("regression", "scikit_learn"):
        pytest.importorskip("sklearn")
    pattern, least = PROMISES[name]
    found = re.search(pattern, run_python(str(EXAMPLES / f"{name}.py")))
    assert found, f"no {pattern!r} in what {name}.py prints"
    assert float(found[1]) >= least


def test_the_record_writes_down_which_test_images_it_misreads(run_python, tmp_path):
    file = tmp_path / "found.json"
    found = run_python(str(EXAMPLES / "record.py"), "--rows", "500", "--json", str(file))
    assert float(re.search(r"test accuracy (0\.\d+)", found)[1]) >= 0.9
    result = json.loads(file.read_text())
    assert f"{len(result['misread'])} errors" in found
    test_y = fastnn.datasets.load_mnist()[3]
    for row, digit, read, probability in result["misread"]:
        assert digit == test_y[row]
        assert read != digit
        assert 0.1 < probability < 1


@pytest.fixture
def record():
    return runpy.run_path(str(EXAMPLES / "record.py"))


def test_upright_digits_have_no_slant(record):
    X = fastnn.datasets.load_mnist()[0][:500]
    before, after = (slants(images) for images in (X, record["upright"](X)))
    assert np.abs(after).mean() < 0.1 * np.abs(before).mean()


def slants(X):
    """Return by how many pixels the ink of images moves to the side from line to line."""
    images = X.reshape(-1, 28, 28).astype(float)
    y, x = np.mgrid[:28, :28]
    down, right = (
        at - ((images * at).sum((1, 2)) / images.sum((1, 2)))[:, None, None] for at in (y, x)
    )
    return (images * down * right).sum((1, 2)) / (images * down**2).sum((1, 2))


@pytest.mark.parametrize("members", [(2, 0), (1, 1), (0, 1)])
def test_a_recipe_of_the_record_has_networks_for_each_kind_of_image(record, members):
    X, y, test_X, _ = fastnn.datasets.load_mnist()
    recipe = ((8,), 2, *members, ((0, 2), (1, 0)))
    found = record["probabilities"](recipe, 0, X[:300], y[:300], test_X[:50])
    assert found.shape == (3, 50, 10)
    np.testing.assert_allclose(found.sum(axis=2), 1, rtol=1e-5)  # float32's sums of ten
    assert (found[1:] != found[0]).any(axis=(1, 2)).all()


RUNS = {
    "runs": [
        {
            "minutes": minutes,
            "seed": seed,
            "misread": [[row, 1, 7, 0.9] for row in range(errors)],
            "unshifted": errors + 1,
            "seconds": 50.0 * minutes + seed,
            "other_cpus": 0.01,
        }
        for minutes, seed, errors in ((5, 0, 44), (1, 1, 60), (1, 0, 50), (1, 2, 55))
    ]
}


@pytest.fixture
def digits(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    return importlib.import_module("digits")


def test_the_table_of_the_record_has_medians(digits):
    _, *rows = digits.medians(RUNS)
    assert rows == [["1", "3", "99.45%", "55", "52.0 s"], ["5", "1", "99.56%", "44", "250.0 s"]]
    assert digits.middle(RUNS, 1)["seed"] == 2


def test_the_table_of_the_record_has_every_run_in_order(digits):
    headings, *rows = digits.everything(RUNS)
    assert rows[0] == ["1", "0", "99.50%", "50", "51", "50.0", "0.01"]
    assert [row[:2] for row in rows] == [["1", "0"], ["1", "1"], ["1", "2"], ["5", "0"]]
    assert {len(row) for row in rows} == {len(headings)}


def test_a_run_of_the_record_replaces_that_of_its_seed(digits, monkeypatch, tmp_path):
    file = tmp_path / "digits.json"
    file.write_text(json.dumps(RUNS))
    found = {**RUNS["runs"][2], "misread": []}
    monkeypatch.setattr(digits, "run", lambda *_: found)
    arguments = ["digits.py", "--minutes", "1", "--seeds", "0", "--json", str(file)]
    monkeypatch.setattr("sys.argv", arguments)
    digits.main()
    runs = json.loads(file.read_text())["runs"]
    assert len(runs) == len(RUNS["runs"])
    assert [run["misread"] for run in runs if (run["minutes"], run["seed"]) == (1, 0)] == [[]]
