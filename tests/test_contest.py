"""The contest of libraries: its cells, how pieces become one file, and its tables."""

from __future__ import annotations

import copy
import importlib
import json
from collections import Counter
from itertools import groupby
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BENCH = ROOT / "bench"


@pytest.fixture(scope="module")
def bench():
    """Return the modules of the contest by name."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.syspath_prepend(str(BENCH))
        yield {name: importlib.import_module(name) for name in ("contest", "peers_report")}


@pytest.fixture(scope="module")
def contest(bench):
    return bench["contest"]


@pytest.fixture(scope="module")
def peers_report(bench):
    return bench["peers_report"]


def turns(cell, **seconds):
    """Return a cell that was measured, with the same figure for all of a contender's turns."""
    keys = ("seconds", "p50", "p99")
    made = {name: [dict.fromkeys(keys, time)] * 3 for name, time in seconds.items()}
    return {**cell, "rows": 600, "other_cpus": 0.0, "turns": made}


def results(cells, **changed):
    common = {"machine": {"cpu": "any"}, "versions": {"fastnn": "1", "jax": "2"}, "rates": {}}
    return {**common, **changed, "cells": cells}


def test_no_cell_of_the_contest_is_there_twice(contest):
    places = Counter(map(contest.place, contest.cells([1, 2])))
    assert max(places.values()) == 1


def test_cells_come_in_the_order_of_the_tables(contest, peers_report):
    cells = list(contest.cells([1, 2]))
    assert cells == sorted(cells, key=contest.place)
    tables = [name for name, _ in groupby(cells, peers_report.table_of)]
    assert len(tables) == len(set(tables))


def test_each_network_has_all_its_batches_with_its_first_optimizer(contest):
    # The picture draws these.
    for entry in contest.NETWORKS.values():
        first, *others = entry.batches.values()
        assert all({*batches} <= {*first} for batches in others)


def test_a_cell_takes_the_place_of_the_same_one_and_joins_others(contest):
    first, second, third = list(contest.cells([1]))[:3]
    old = results([turns(first, fastnn=1.0), turns(third, fastnn=1.0)])
    new = results([turns(second, fastnn=2.0), turns(first, fastnn=2.0)])
    merged = contest.merged(old, new)["cells"]
    assert [cell["batch"] for cell in merged] == [c["batch"] for c in (first, second, third)]
    assert [cell["turns"]["fastnn"][0]["seconds"] for cell in merged] == [2.0, 2.0, 1.0]


def test_pieces_may_have_other_contenders(contest):
    old = results([], versions={"fastnn": "1", "jax": "2"})
    new = results([], versions={"fastnn": "1", "keras": "3"})
    assert contest.merged(old, new)["versions"] == {"fastnn": "1", "jax": "2", "keras": "3"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("machine", {"cpu": "another"}),
        ("versions", {"fastnn": "1", "jax": "3"}),
        ("rates", {"sgd": 1}),
    ],
)
def test_pieces_that_cannot_stand_in_one_table_are_refused(contest, name, value):
    with pytest.raises(ValueError, match=rf"its results have other {name} .*, not .*; remove it"):
        contest.merged(results([]), results([], **{name: value}))


def test_merging_changes_neither_of_the_results(contest):
    cells = [turns(cell, fastnn=1.0) for cell in list(contest.cells([1]))[:2]]
    old, new = results(cells[:1]), results(cells[1:])
    before = copy.deepcopy((old, new))
    contest.merged(old, new)
    assert (old, new) == before


def test_every_table_names_the_fastest_peer_and_its_ratio(contest, peers_report):
    cells = [turns(cell, fastnn=2.0, numpy=8.0, jax=5.0) for cell in contest.cells([1])]
    for _, table in groupby(cells, peers_report.table_of):
        title, _, heading, _, *rows = peers_report.section(list(table)).split("\n")
        assert title.endswith((", samples a second:", ", microseconds a call:"))
        assert "| fastnn | numpy | jax | fastest peer | ratio |" in heading
        assert all(row.endswith("| jax | 2.50 |") for row in rows)


def test_a_contender_that_did_other_work_has_no_figure(contest, peers_report):
    first, second = list(contest.cells([1]))[:2]
    cells = [turns(first, fastnn=1.0, jax=2.0), turns(second, fastnn=1.0)]
    last = peers_report.section(cells).split("\n")[-1]
    assert last.split(" | ")[2:] == ["-", "fastnn", "1.00 |"]


def test_means_are_of_each_optimizer_and_kind(contest, peers_report):
    cells = [turns(cell, fastnn=1.0, jax=4.0) for cell in contest.cells([1])]
    lines = peers_report.means(cells).split("\n")[2:]
    kinds = [line.split(",")[0].removeprefix("- ") for line in lines]
    assert kinds == [
        "training by gradient descent",
        "training by momentum",
        "training by Adam",
        "prediction",
        "learning from one row",
    ]
    assert all("one core: 4.00, 0 of " in line for line in lines)


@pytest.fixture
def measured_file(contest, tmp_path):
    """Return a file that has every cell."""
    path = tmp_path / "peers.json"
    cells = [turns(cell, fastnn=1.0, jax=2.0, keras=0.5) for cell in contest.cells([1, 2])]
    machine = dict.fromkeys(["system", "cpu", "cpus", "vector_bits", "python", "numpy", "numba"], 1)
    path.write_text(json.dumps(results(cells, machine=machine)))
    return path


@pytest.fixture
def report(measured_file, monkeypatch):
    """Return the module that writes the documentation, with results that are made up."""
    monkeypatch.syspath_prepend(str(BENCH))
    module = importlib.import_module("report")
    monkeypatch.setattr(module, "RESULTS", measured_file.parent)
    return module


def rows_of(markdown):
    """Return the rows of a table as lists of cells, without the headings."""
    return [line.strip("| ").split(" | ") for line in markdown.split("\n")[2:]]


def test_the_report_has_a_row_for_each_network_and_optimizer(report, contest):
    cells = [c for c in contest.cells([1]) if c["cell"] == "training"]
    heading, *rows = report.training_ratios([turns(c, fastnn=1.0, jax=2.0) for c in cells])
    assert heading[:3] == ["network", "optimizer", "batch 1"]
    assert heading[-1] == "batch 10,000"
    assert len(rows) == len({(c["network"], c["optimizer"]) for c in cells})
    for row in rows:
        assert len(row) == len(heading)
        assert {*row[2:]} <= {"2.00 (jax)", "-"}


def test_the_table_of_the_readme_has_a_row_for_each_kind_of_work(report):
    rows = rows_of(report.contest_means())
    assert rows[:3] == [
        [kind, "0.50", "0.50"] for kind in ("training", "prediction", "learning from one row")
    ]
    assert rows[3][0] == "cases where fastnn is slower"
    counts = [count.split(" of ") for count in rows[3][1:]]
    assert all(lost == every for lost, every in counts)


def test_the_summary_has_a_table_for_each_kind_of_work(report):
    text = report.contest_summary()
    for title in (
        "Training on one core:",
        "Training on 2 cores:",
        "Prediction,",
        "A step with one",
    ):
        assert text.count(title) == 1
