"""The experiments of two write-ups run, and the page about them is whole."""

from __future__ import annotations

import functools
import importlib
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import fastnn

ROOT = Path(__file__).resolve().parents[1]
SEEDS = ROOT / "examples" / "seeds"
NAMES = ("experiment", "first_steps", "by_hand", "page")


def _modules():
    sys.path.insert(0, str(SEEDS))
    try:
        return [importlib.import_module(name) for name in NAMES]
    finally:
        sys.path.remove(str(SEEDS))


experiment, first_steps, by_hand, page = _modules()
ALL = [*first_steps.EXPERIMENTS, *by_hand.EXPERIMENTS]
each_experiment = pytest.mark.parametrize("each", ALL, ids=[each.name for each in ALL])


@pytest.fixture(autouse=True, scope="module")
def mnist_is_read_once():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fastnn.datasets, "load_mnist", functools.cache(fastnn.datasets.load_mnist))
        yield


def cells_of(text):
    """Return the cells of each row of the tables of experiments, by the row's first cell."""
    rows = [line[2:-2].split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return {cells[0]: cells for cells in rows if len(cells) == len(page.HEADINGS)}


def result(accuracy=0.9, f1=0.9, seconds=2.0, stand_in=None, best=None):
    figures = experiment.Figures(accuracy, f1, seconds)
    return experiment.Result(figures, stand_in, best or {}, [0.1] * 10)


def number(cell):
    found = re.fullmatch(r"\(?([\d,.]+)%?\)?", cell)
    assert found, f"no number in {cell!r}"
    return float(found[1].replace(",", ""))


def test_names_of_experiments_are_unique():
    assert len({each.name for each in ALL}) == len(ALL)


@each_experiment
def test_an_experiment_runs_and_makes_a_row(each):
    if each.grid:
        pytest.importorskip("sklearn")
    found = experiment.run(each, page.QUICK)
    assert bool(found.best) == bool(each.grid)
    name, *cells, times, _ = page.row(each, found)
    assert name == each.name
    assert number(cells[0]) == pytest.approx(100 * each.theirs.accuracy, abs=0.005)  # its digits
    assert 0 < number(cells[3]) <= 100
    assert 0 < number(cells[4]) <= 1
    assert re.fullmatch(r"[\d.]+ s", cells[5])
    if each.theirs.seconds or each.stand_in:
        assert number(times) > 0
    else:
        assert times == ""


def test_a_row_sets_the_figures_side_by_side():
    each = experiment.Experiment("e", experiment.Figures(0.826, 0.821, 200.0), {}, remark="r")
    cells = page.row(each, result(accuracy=0.8312, f1=0.8277))
    assert cells == ["e", "82.60%", "0.821", "3 min 20 s", "83.12%", "0.828", "2 s", "100", "r"]


def test_a_time_that_stands_in_is_in_brackets():
    each = experiment.Experiment("e", experiment.Figures(0.8), {}, stand_in=True)
    cells = page.row(each, result(stand_in=7200.0))
    assert (cells[3], cells[7]) == ("(2 h 0 min)", "(3,600)")


@pytest.mark.parametrize(
    ("ours", "said"),
    [
        ({"accuracy": 0.899}, "**less accurate**: r"),
        ({"f1": 0.894}, "**less accurate**: r"),
        ({"seconds": 2.1}, "**less than 10 times as fast**: r"),
        ({}, ""),
    ],
)
def test_a_row_says_what_falls_short(ours, said):
    theirs = experiment.Figures(0.9, 0.9, 20.0)
    each = experiment.Experiment("e", theirs, {}, reason="r")
    assert page.row(each, result(**ours))[-1] == said


def test_a_row_says_what_was_chosen():
    each = experiment.Experiment("e", experiment.Figures(0.9), {}, remark="r")
    found = result(best={"hidden": (64,), "l2": 0})
    assert page.row(each, found)[-1] == "r; chosen: `hidden=(64,)`, `l2=0`"


def test_a_page_has_a_row_for_every_experiment():
    text = page.page(
        [result()] * len(first_steps.EXPERIMENTS), [result()] * len(by_hand.EXPERIMENTS), 60
    )
    assert set(cells_of(text)) == {page.HEADINGS[0], ":---", *(each.name for each in ALL)}


def test_the_page_in_the_repository_has_a_row_for_every_experiment():
    rows = cells_of(page.PAGE.read_text(encoding="utf-8"))
    for each in ALL:
        theirs = page.row(each, result())[1:3]
        assert rows[each.name][1:3] == theirs, f"run {SEEDS / 'page.py'}: {each.name} has changed"


def test_what_falls_short_in_the_repository_has_a_reason():
    assert "not known why" not in page.PAGE.read_text(encoding="utf-8")


def test_kaggle_is_rebuilt_from_different_rows_of_mnist():
    split = experiment.kaggle()
    assert (len(split.X), len(split.test_X)) == (37_800, 4_200)
    images = np.concatenate([split.X, split.test_X])
    assert len({image.tobytes() for image in images}) == 42_000  # MNIST has no image twice
    assert set(split.test_y) == set(split.y) == set(range(10))


def test_the_rate_falls_by_a_tenth_and_later_by_a_twentieth():
    factors = [by_hand.decay(0.012)(t) for t in (0, 0.9, 1, 2, 3)]
    # 0.012, 0.0108 and then, as that is still above 0.01, 0.00972; from there by a twentieth.
    assert np.allclose(factors, [1, 1, 0.9, 0.81, 0.7695])
