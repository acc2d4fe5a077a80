"""The benchmark's cells beside peers and neighbours: what they time, and what their tables say."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

BENCH = Path(__file__).resolve().parents[1] / "bench"


@pytest.fixture(scope="module")
def module():
    """Return what imports a module of the benchmarks."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.syspath_prepend(str(BENCH))
        yield importlib.import_module


@pytest.fixture(scope="module")
def cliffs(module):
    return module("cliffs")


@pytest.fixture(scope="module")
def equivalents(module):
    return module("equivalents")


@pytest.fixture(scope="module")
def random_cells(module):
    return module("random_cells")


# Results that are made up: two peers, and two neighbours, one of them by memory.
RESULTS = {
    "cells": {
        "ahead": {
            "kind": "peer", "unit": "step", "figures": {"fastnn": 1e-6, "jax": 2e-6, "ort": 4e-6}
        },
        "behind": {"kind": "peer", "unit": "call", "figures": {"fastnn": 2e-3, "jax": 1e-3}},
        "far behind": {"kind": "peer", "unit": "call", "figures": {"fastnn": 0.5, "jax": 1e-3}},
        "near": {"kind": "neighbour", "unit": "row", "figures": {"fastnn": 1e-9, "plain": 1e-9}},
        "memory": {"kind": "memory", "unit": "call", "figures": {"fastnn": 5e7, "half": 2.5e7}},
    }
}  # fmt: skip


def test_the_fastest_peer_counts(module):
    report = module("cliffs_report")
    assert report.ratio(RESULTS["cells"]["ahead"]) == 2
    assert report.line("ahead", RESULTS["cells"]["ahead"])[1:] == [
        "1.0 us a step", "2.0 us a step (jax)", "2.00"
    ]  # fmt: skip


def test_what_is_behind_comes_worst_first(module):
    report = module("cliffs_report")
    names = [row[0] for row in report.table(RESULTS, "peer", behind=True)]
    assert names == ["cell", "far behind", "behind"]
    names = [row[0] for row in report.table(RESULTS, "neighbour", behind=True)]
    assert names == ["cell", "memory"]


def test_the_whole_table_has_every_cell(module):
    report = module("cliffs_report")
    text = report.everything(RESULTS)
    assert text.startswith("A peer is faster in 2 of 3 cells; 1 of 2 take more than 1.3 times")
    assert all(f"| {name} |" in text for name in RESULTS["cells"])
    assert "| memory | 50.0 MB | 25.0 MB (half) | 2.00 |" in text


def test_cells_at_random_are_summed_up_and_the_worst_shown(module):
    cells = {name: c for name, c in RESULTS["cells"].items() if c["kind"] == "peer"}
    text = module("cliffs_report").at_random({"seed": 3, "cells": cells})
    assert text.startswith(
        "A peer is faster in 2 of 3 cells of the seed 3; the middle ratio is 0.50."
    )
    assert text.index("far behind") < text.index("| behind") < text.index("ahead")


def test_names_are_of_one_cell_each(cliffs):
    names = [cell.name for cell in cliffs.cells()]
    assert len(names) == len(set(names)) > 100


def test_patterns_take_brackets_as_they_are(cliffs):
    assert cliffs.matches("train [2, 8, 2], batch 1", "train [2, 8, 2]*")
    assert not cliffs.matches("train 2", "train [2, 8]")


def test_a_cell_has_the_figures_of_a_step(cliffs, equivalents):
    work = equivalents.Work(lambda: sum(range(1_000)), lambda: np.ones(2), per=4)
    cell = cliffs.Cell("sums", lambda: {"fastnn": work, "other": replace(work, per=2)}, "step")
    result = cliffs.measure(cell, 0.01)
    assert result["difference"] == 0
    assert result["figures"].keys() == {"fastnn", "other"}
    assert all(0 < figure < 1 for figure in result["figures"].values())


def test_a_peer_that_does_other_work_is_refused(cliffs, equivalents):
    def setup():
        return {
            who: equivalents.Work(int, lambda value=value: np.array([1.0, value]))
            for who, value in (("fastnn", 2.0), ("other", 2.1))
        }

    with pytest.raises(ValueError, match=r"differs: the works differ by 5.0e-02"):
        cliffs.measure(cliffs.Cell("differs", setup), 0.01)


def test_results_of_other_cells_are_kept(cliffs, equivalents, tmp_path, monkeypatch):
    monkeypatch.setattr(cliffs, "PEERS", ("numpy",))
    file, works = tmp_path / "cliffs.json", {"fastnn": equivalents.Work(int)}
    chosen = [
        replace(cell, setup=lambda: {**works, "a": works["fastnn"]}) for cell in cliffs.cells()[:2]
    ]
    cliffs.run(chosen[:1], 0.01, file)
    kept = json.loads(file.read_text())["cells"][chosen[0].name]
    cliffs.run(chosen[1:], 0.01, file)
    results = json.loads(file.read_text())["cells"]
    assert list(results) == [cell.name for cell in chosen]
    assert results[chosen[0].name] == kept


def test_a_call_that_fails_leaves_the_others(cliffs, equivalents, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cliffs, "PEERS", ("numpy",))
    first, second = cliffs.cells()[:2]
    works = {"fastnn": equivalents.Work(int), "other": equivalents.Work(int)}
    chosen = [replace(first, setup=lambda: 1 // 0), replace(second, setup=lambda: works)]
    results = cliffs.run(chosen, 0.01, tmp_path / "cliffs.json")
    assert list(results["cells"]) == [second.name]
    assert f"{first.name}: ZeroDivisionError" in capsys.readouterr().out


@pytest.mark.parametrize(
    "name",
    ["train base, batch 2", "train base, batch 1, dropout", "evaluate, 10 rows",
     "predict_one of strided", "predict_one of uint8, beside conversion by hand",
     "train 100 rows [4, 16, 3], validation", "predict of lists, 6,400 rows, beside asarray"],
)  # fmt: skip
def test_neighbours_run(cliffs, name):
    (cell,) = (cell for cell in cliffs.cells() if cell.name == name)
    for work in cell.setup().values():
        work.call()
        assert work.per >= 1


TASKS = {
    "momentum": ("relu", {}, "momentum", {}),
    "adam, l1": ("tanh", {"output": "identity"}, "adam", {"l1": 1e-3}),
    "rmsprop, l2": ("gelu", {"loss": "huber"}, "rmsprop", {"l2": 1e-2}),
    "limits": ("elu", {"output": "sigmoid"}, "sgd", {"clip_norm": 0.5, "clip_value": 0.05}),
    "max_norm": ("silu", {"loss": "poisson"}, "sgd", {"max_norm": 0.5}),
    "frozen": ("softplus", {"loss": "mae"}, "sgd", {"frozen": [0]}),
}


@pytest.mark.parametrize("name", TASKS)
def test_jax_takes_the_same_steps(module, equivalents, name):
    pytest.importorskip("jax")
    table = module("cliff_cells")
    activation, network, optimizer, options = TASKS[name]
    network = {"activation": activation, **network}
    task = table.problem((5, 4, 3), 30, 8, network, optimizer=optimizer, **options)
    task.rate = 0.05
    ours, theirs = equivalents.fastnn_training(task), module("jax_networks").jax_training(task)
    np.testing.assert_allclose(ours.value(), theirs.value(), rtol=1e-4)


@pytest.mark.parametrize("peer", ["jax", "onnxruntime", "torch"])
@pytest.mark.parametrize("activation", ["leaky_relu", "gelu", "silu"])
def test_peers_predict_the_same(equivalents, random_cells, peer, activation):
    pytest.importorskip(peer)
    drawn = replace(random_cells.draw(0, 0), call="predict_proba", sizes=(6, 5, 3), rows=7)
    drawn = replace(drawn, activation=activation, output="softmax", dtype="uint8", layout="strided")
    works = random_cells.works(drawn, (peer,))
    np.testing.assert_allclose(works["fastnn"].value(), works[peer].value(), atol=1e-5)


def test_a_seed_draws_the_same_cells_whatever_their_number(random_cells):
    assert random_cells.draw(3, 7) == random_cells.draw(3, 7)
    assert len({random_cells.draw(3, number).name for number in range(50)}) == 50


def test_cells_at_random_stay_within_their_limits(random_cells):
    for number in range(300):
        drawn = random_cells.draw(1, number)
        assert drawn.batch >= 1
        assert 1 <= drawn.rows <= 100_000
        assert drawn.rows * drawn.sizes[0] <= max(random_cells.MOST_NUMBERS, drawn.sizes[0])
        assert 2 <= len(drawn.sizes) <= 6
        assert drawn.sizes[-1] >= (2 if drawn.output == "softmax" else 1)


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
@pytest.mark.parametrize("layout", ["C", "Fortran", "strided"])
def test_data_at_random_have_their_type_and_layout(random_cells, dtype, layout):
    drawn = replace(random_cells.draw(0, 1), sizes=(4, 2), rows=3, dtype=dtype, layout=layout)
    X = random_cells.data(drawn)
    assert X.shape == (3, 4)
    assert X.dtype == dtype
    flags = X.flags.c_contiguous, X.flags.f_contiguous
    assert (
        flags == {"C": (True, False), "Fortran": (False, True), "strided": (False, False)}[layout]
    )
