"""The benchmark on tables: what a cell measures, how pieces become one file, and its tables."""

from __future__ import annotations

import argparse
import importlib
import json
from pathlib import Path

import numpy as np
import pytest

pd = pytest.importorskip("pandas")

BENCH = Path(__file__).resolve().parents[1] / "bench"


@pytest.fixture(scope="module")
def module():
    """Return what imports a module of the benchmarks."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.syspath_prepend(str(BENCH))
        yield importlib.import_module


@pytest.fixture(scope="module")
def tabular(module):
    return module("tabular")


@pytest.fixture(scope="module")
def report(module):
    return module("tabular_report")


class Constant:
    """It predicts what it is given, within intervals that hold all positive numbers."""

    def __init__(self, value):
        self.value = value

    def fit(self, X, y):
        return self

    def predict(self, X):
        return np.full(len(X), self.value)

    def predict_interval(self, X, coverage):
        return np.tile([0.0, np.inf], (len(X), 1))


class Failing:
    def fit(self, X, y):
        raise ValueError("no")


def table(targets):
    """Return a table of a column."""
    return pd.DataFrame({"x": np.arange(len(targets))}), np.asarray(targets)


def run(tabular, file, sets, contenders, splits=2, missing=False):
    """Return the results of the file and of what is measured."""
    results = tabular.started(file, sets, contenders)
    options = argparse.Namespace(json=file, splits=splits, missing=missing)
    tabular.run(results, sets, contenders, options)
    return results


@pytest.fixture
def sets(tabular):
    return {"tiny": tabular.Data(lambda: table([0, 1] * 10), "classes", ("numpy",))}


@pytest.fixture
def contenders(tabular):
    return {
        "zeros": tabular.Contender(lambda kind: Constant(0), ("numpy",)),
        "ones": tabular.Contender(lambda kind: Constant(1), ("numpy",)),
    }


def test_the_test_rows_are_a_fifth_and_the_rest_trains(tabular):
    train, test = tabular.rows_of(3, 101)
    assert len(test) == 20
    assert sorted([*train, *test]) == list(range(101))


def test_a_split_is_the_same_each_time_and_another_differs(tabular):
    first, again, other = (tabular.rows_of(seed, 100)[1] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert {*first} != {*other}


def test_the_error_of_classes_is_the_share_that_is_wrong(tabular):
    X, y = table([0] * 60 + [1] * 40)
    test = tabular.rows_of(0, 100)[1]
    cell = tabular.measure(lambda kind: Constant(0), "classes", (X, y), 0)
    assert cell["error"] == pytest.approx(y[test].mean())
    assert cell["seconds"] >= 0
    assert "coverage" not in cell


def test_the_error_of_numbers_is_in_standard_deviations(tabular):
    X, y = table(np.linspace(-1, 1, 200))
    truth = y[tabular.rows_of(0, 200)[1]]
    cell = tabular.measure(lambda kind: Constant(truth.mean()), "numbers", (X, y), 0)
    assert cell["error"] == pytest.approx(1)


def test_the_coverage_is_the_share_within_the_intervals(tabular):
    X, y = table(np.linspace(-1, 1, 200))
    truth = y[tabular.rows_of(0, 200)[1]]
    cell = tabular.measure(lambda kind: Constant(0.0), "numbers", (X, y), 0)
    assert cell["coverage"] == pytest.approx((truth >= 0).mean())


def test_a_set_has_at_most_so_many_rows_and_text_is_categories(tabular):
    def load():
        frame = pd.DataFrame({"x": np.arange(12_000), "city": ["Rome", "Oslo"] * 6_000})
        return frame, frame["x"]

    X, y = tabular.loaded(tabular.Data(load, "numbers"))
    assert len(X) == len(y) == tabular.MOST_ROWS
    np.testing.assert_array_equal(X["x"], y)
    assert [str(kind) for kind in X.dtypes] == ["int64", "category"]


def test_every_cell_is_in_the_file(tabular, sets, contenders, tmp_path):
    file = tmp_path / "tabular.json"
    run(tabular, file, sets, contenders)
    results = json.loads(file.read_text())
    places = [(cell["set"], cell["contender"], cell["split"]) for cell in results["cells"]]
    assert sorted(places) == [("tiny", who, split) for who in ("ones", "zeros") for split in (0, 1)]
    assert results["sets"] == {"tiny": {"rows": 20, "columns": 1, "kind": "classes", "classes": 2}}


@pytest.mark.parametrize(("missing", "error"), [(True, 7.0), (False, 0.25)])
def test_a_cell_that_the_file_has_is_left_out_or_measured_again(
    tabular, sets, contenders, tmp_path, missing, error
):
    file = tmp_path / "tabular.json"
    results = run(tabular, file, sets, {"zeros": contenders["zeros"]}, splits=1)
    assert results["cells"][0]["error"] == 0.25
    results["cells"][0]["error"] = 7.0
    file.write_text(json.dumps(results))
    results = run(tabular, file, sets, contenders, splits=1, missing=missing)
    errors = {cell["contender"]: cell["error"] for cell in results["cells"]}
    assert errors == {"zeros": error, "ones": 0.75}
    assert len(results["cells"]) == 2


def test_a_contender_that_fails_is_named_and_the_others_go_on(
    tabular, sets, contenders, tmp_path, capsys
):
    contenders = {"failing": tabular.Contender(lambda kind: Failing(), ("numpy",)), **contenders}
    results = run(tabular, tmp_path / "tabular.json", sets, contenders, splits=1)
    assert [cell["contender"] for cell in results["cells"]] == ["zeros", "ones"]
    assert "tiny, failing, 0: ValueError: no" in capsys.readouterr().out


def test_a_set_without_a_cell_is_not_in_the_table(tabular, report, sets, tmp_path):
    failing = {"failing": tabular.Contender(lambda kind: Failing(), ("numpy",))}
    results = run(tabular, tmp_path / "tabular.json", sets, failing)
    assert "tiny" not in report.everything(results)


def test_results_of_other_versions_are_refused(tabular, sets, contenders, tmp_path):
    file = tmp_path / "tabular.json"
    results = run(tabular, file, sets, contenders)
    results["versions"]["numpy"] = "0.1"
    file.write_text(json.dumps(results))
    with pytest.raises(ValueError, match=r"results of numpy 0\.1, not .*; remove it, or name"):
        run(tabular, file, sets, contenders)


def test_what_is_not_installed_is_skipped_by_name(tabular, contenders, capsys):
    chosen = {**contenders, "other": tabular.Contender(Constant, ("numpy", "absent-package"))}
    assert list(tabular.installed(chosen)) == ["zeros", "ones"]
    assert capsys.readouterr().out == "other: skipped, as there is no absent-package\n"


# Results that are made up: LightGBM has one split of one set.
def cells(of_set, contender, *figures):
    return [
        {"set": of_set, "contender": contender, "split": k, "error": error, "seconds": seconds}
        for k, (error, seconds) in enumerate(figures)
    ]


RESULTS = {
    "sets": {
        "letters": {"rows": 1_000, "columns": 16, "kind": "classes", "classes": 26},
        "prices": {"rows": 500, "columns": 4, "kind": "numbers"},
    },
    "cells": [
        *cells("letters", "scikit-learn MLP", (0.2, 2.0), (0.4, 2.0)),
        *cells("letters", "LightGBM", (0.1, 1.0)),
        *cells("letters", "fastnn", (0.1, 1.0), (0.2, 1.0)),
        *cells("prices", "scikit-learn MLP", (0.5, 4.0)),
        *cells("prices", "fastnn", (0.5, 1.0)),
    ],
}


def test_the_table_has_a_row_a_set_and_a_dash_for_what_was_not_measured(report):
    _, _, prices, letters, *_ = report.errors(RESULTS).split("\n")
    assert letters == "| letters | 1,000 x 16, 26 classes | 1 to 2 | 30.00% | 10.00% | 15.00% |"
    assert prices == "| prices | 500 x 4, numbers | 1 | 0.500 | - | 0.500 |"


def test_means_are_over_the_splits_and_sets_of_both(report):
    *_, errors, seconds = report.errors(RESULTS).split("\n")
    assert errors == "| error, in that of scikit-learn MLP |  |  | 1.00 | 0.50 (1 sets) | 0.71 |"
    assert seconds.endswith("| 1.00 | 0.50 (1 sets) | 0.35 |")


def test_no_error_at_all_counts_as_half_a_row(report):
    results = {"sets": {"letters": RESULTS["sets"]["letters"]}}
    results["cells"] = [
        *cells("letters", "scikit-learn MLP", (0.005, 2.0)),
        *cells("letters", "fastnn", (0.0, 1.0)),
    ]
    assert report.ratios(results, "fastnn", "error") == pytest.approx([0.5])


def test_the_coverage_of_intervals_has_its_own_table(report):
    assert report.coverage(RESULTS) == ""
    cell = {**cells("prices", "fastnn", (0.5, 1.0))[0], "coverage": 0.88}
    text = report.coverage({**RESULTS, "cells": [cell, {**cell, "split": 1, "coverage": 0.9}]})
    assert text.split("\n")[-1] == "| prices | 2 | 89.0% | 88.0% | 90.0% |"
