"""Tuning: every combination on every fold, an untouched test part, the best one refitted."""

from __future__ import annotations

import csv
import itertools
import subprocess
import sys
import types

import numpy as np
import pytest
from cases import BACKENDS

import fastnn

pytest.importorskip("sklearn")

from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedKFold, train_test_split

FAST = {"epochs": 4, "learning_rate": 0.1, "progress": False}


def blobs(rows=120, seed=1):
    rng = np.random.default_rng(seed)
    y = rng.choice(3, rows, p=[0.5, 0.3, 0.2])
    return rng.normal(size=(3, 6))[y] + rng.normal(scale=0.8, size=(rows, 6)), y


@pytest.mark.parametrize("backend", BACKENDS)
def test_it_is_k_fold_cross_validation_by_hand(backend):
    X, y = blobs()
    found = fastnn.tune(
        X, y, {"hidden": [(5,), (7, 4)], "l2": [0, 0.1]}, folds=3, seed=2, backend=backend, **FAST
    )
    known, aside = map(
        np.sort, train_test_split(np.arange(120), test_size=0.2, random_state=2, stratify=y)
    )
    parts = list(StratifiedKFold(3, shuffle=True, random_state=2).split(X[known], y[known]))
    assert len(found.results) == 4
    options = {name: value for name, value in FAST.items() if name != "progress"}
    for row in found.results:
        scores = []
        for train, held_out in parts:
            net = fastnn.Network([6, *row["hidden"], 3], seed=2, backend=backend)
            net.train(X[known[train]], y[known[train]], l2=row["l2"], **options)
            predicted = net.predict(X[known[held_out]])
            scores.append(f1_score(y[known[held_out]], predicted, average="macro"))
        assert [row[f"macro_f1_fold{i}"] for i in (1, 2, 3)] == pytest.approx(scores)
        assert row["macro_f1"] == pytest.approx(np.mean(scores))
        assert row["macro_f1_std"] == pytest.approx(np.std(scores))
    order = [row["macro_f1"] for row in found.results]
    assert order == sorted(order, reverse=True)
    assert [row["rank"] for row in found.results] == [1, 2, 3, 4]
    assert found.best == {name: found.results[0][name] for name in ("hidden", "l2")}
    refit = fastnn.Network([6, *found.best["hidden"], 3], seed=2, backend=backend)
    refit.train(X[known], y[known], l2=found.best["l2"], **options)
    assert np.array_equal(found.network.parameters, refit.parameters)
    assert found.test == refit.evaluate(X[aside], y[aside])


def test_the_test_part_is_never_seen():
    X, y = blobs()
    _, aside = train_test_split(np.arange(120), test_size=0.25, random_state=0, stratify=y)
    other = X.copy()
    other[aside] += 100
    one, two = (
        fastnn.tune(data, y, {"l2": [0, 0.1]}, folds=3, test=0.25, hidden=4, **FAST)
        for data in (X, other)
    )
    assert [row["macro_f1"] for row in one.results] == [row["macro_f1"] for row in two.results]
    assert np.array_equal(one.network.parameters, two.network.parameters)
    assert one.test != two.test


def test_the_test_part_may_be_other_data():
    X, y = blobs()
    found = fastnn.tune(X[:90], y[:90], {"l2": [0]}, folds=3, test=(X[90:], y[90:]), **FAST)
    net = fastnn.Network([6, 128, 3], seed=0)
    net.train(X[:90], y[:90], epochs=4, learning_rate=0.1)
    assert found.test == net.evaluate(X[90:], y[90:])


def test_results_do_not_depend_on_the_number_of_jobs():
    X, y = blobs()
    grid = {"hidden": [(3,), (8,)], "dropout": [0, 0.3]}
    one, two = (fastnn.tune(X, y, grid, folds=3, jobs=jobs, **FAST) for jobs in (None, 2))
    for row, other in zip(one.results, two.results, strict=True):
        for each in (row, other):
            del each["seconds"], each["seconds_std"]
        assert row == other
    assert np.array_equal(one.network.parameters, two.network.parameters)


@pytest.mark.parametrize("asked", [None, 3])
def test_networks_side_by_side_share_the_cpus(asked, monkeypatch):
    import joblib

    from fastnn import tuning

    seen = []

    def spy(settings, *rest):
        seen.append(settings.get("threads"))
        return {"macro_f1": 1.0, "seconds": 0.0}

    monkeypatch.setattr(tuning, "_fold", spy)
    monkeypatch.setattr(joblib, "cpu_count", lambda: 8)
    monkeypatch.setattr(joblib, "effective_n_jobs", lambda jobs: 4)
    options = {} if asked is None else {"threads": asked}
    fastnn.tune(*blobs(), {"l2": [0]}, folds=2, **options, **FAST)
    assert set(seen) == {2 if asked is None else asked}


def test_classes_may_be_strings_and_two():
    X, y = blobs()
    names = np.array(["no", "yes"])[np.minimum(y, 1)]
    found = fastnn.tune(X, names, {"hidden": [(4,), (8,)]}, folds=2, **FAST)
    assert list(found.classes) == ["no", "yes"]
    assert found.network.architecture.sizes[-1] == 1
    softmax = fastnn.tune(X, names, {"output": ["softmax", "sigmoid"]}, folds=2, **FAST)
    assert [row["output"] for row in softmax.results] in (
        ["softmax", "sigmoid"],
        ["sigmoid", "softmax"],
    )


def test_numbers_are_ranked_by_r2():
    X, _ = blobs()
    options = {**FAST, "learning_rate": 0.02, "epochs": 20}
    found = fastnn.tune(X, X[:, 0] - X[:, 1], {"hidden": [(1,), (16,)]}, folds=3, **options)
    assert found.classes is None
    assert list(found.results[0])[2:4] == ["r2", "r2_std"]
    assert found.results[0]["r2"] > found.results[1]["r2"]
    assert found.test["r2"] > 0
    several = fastnn.tune(X, X[:, :2], {"hidden": [(4,)]}, folds=3, output="identity", **options)
    assert several.network.architecture.sizes[-1] == 2


def test_weights_of_rows_count_in_training_and_evaluation():
    X, y = blobs()
    weights = np.where(y == 2, 5.0, 1.0)
    plain = fastnn.tune(X, y, {"l2": [0]}, folds=3, **FAST)
    weighted = fastnn.tune(X, y, {"l2": [0]}, folds=3, sample_weight=weights, **FAST)
    same = fastnn.tune(X, y, {"l2": [0]}, folds=3, sample_weight=np.full(120, 3.0), **FAST)
    assert plain.results[0]["macro_f1"] == same.results[0]["macro_f1"]
    assert plain.results[0]["loss"] != weighted.results[0]["loss"]


def test_a_grid_may_be_several():
    X, y = blobs()
    adam = {"optimizer": ["adam"], "learning_rate": [0.01, 0.001]}
    found = fastnn.tune(
        X, y, [adam, {"optimizer": ["sgd"], "learning_rate": [0.1]}], folds=2, epochs=3
    )
    tried = {(row["optimizer"], row["learning_rate"]) for row in found.results}
    assert tried == {("adam", 0.01), ("adam", 0.001), ("sgd", 0.1)}


def test_what_diverged_comes_last():
    X, y = blobs()
    found = fastnn.tune(
        X, y, {"learning_rate": [1e30, 0.1]}, folds=2, epochs=3, activation="softplus"
    )
    assert found.best == {"learning_rate": 0.1}
    assert np.isnan(found.results[1]["macro_f1"])
    with pytest.raises(fastnn.DivergenceError, match="every combination"):
        fastnn.tune(X, y, {"learning_rate": [1e30]}, folds=2, activation="softplus")


def test_outputs_that_overflow_on_a_fold_count_as_diverged():
    X, y = blobs()
    grid = {"learning_rate": [1e30, 0.1]}  # after a single step, parameters are finite
    found = fastnn.tune(X, y, grid, folds=2, epochs=1, batch_size=48, activation="softplus")
    assert found.best == {"learning_rate": 0.1}
    assert np.isnan(found.results[1]["macro_f1"])


def test_only_the_best_network_is_warned_of():
    X, y = blobs()
    options = {"folds": 2, "epochs": 10, "progress": False}
    found = fastnn.tune(X + 50, y, {"standardize_inputs": [False, True]}, **options)
    assert found.best == {"standardize_inputs": True}
    assert found.results[1]["accuracy"] < 0.6
    with pytest.warns(fastnn.ConvergenceWarning):
        fastnn.tune(X + 50, y, {"standardize_inputs": [False]}, **options)


def test_what_diverged_comes_after_scores_below_zero(monkeypatch):
    from fastnn import tuning

    def fold(settings, *rest):
        return {} if settings["l2"] == 1 else {"r2": -settings["l2"], "seconds": 0.0}

    monkeypatch.setattr(tuning, "_fold", fold)
    X, _ = blobs()
    found = fastnn.tune(X, X[:, 0], {"l2": [1, 9, 5]}, folds=2, standardize_inputs=True, epochs=1)
    assert [row["l2"] for row in found.results] == [5, 9, 1]


def test_the_seconds_are_those_of_all_epochs(monkeypatch):
    from fastnn.training import loop

    ticks = itertools.count()
    monkeypatch.setattr(loop, "time", types.SimpleNamespace(perf_counter=lambda: next(ticks)))
    options = {"folds": 2, "backend": "numpy", "progress": False}
    found = fastnn.tune(*blobs(), {"epochs": [1, 3]}, **options)
    seconds = {row["epochs"]: row["seconds"] for row in found.results}
    assert seconds[3] == 3 * seconds[1]


def test_the_final_network_too_has_the_settings_of_the_grid_where_both_name_one():
    found = fastnn.tune(*blobs(), {"hidden": [(3,)]}, folds=2, hidden=(5,), **FAST)
    assert found.best == {"hidden": (3,)}
    assert found.network.architecture.sizes == (6, 3, 3)


def test_a_class_with_fewer_rows_than_folds_is_missing_in_some():
    X, y = blobs()
    y[:], y[:4] = 0, 1
    found = fastnn.tune(X, y, {"l2": [0]}, folds=5, **FAST)
    assert found.results[0]["accuracy"] > 0.5


def test_the_network_knows_the_names_of_classes_and_of_columns():
    pandas = pytest.importorskip("pandas")
    X, y = blobs()
    frame = pandas.DataFrame(X, columns=[*"abcdef"])
    kinds = np.array(["oak", "elm", "fir"])[y]
    found = fastnn.tune(
        frame[:90],
        kinds[:90],
        {"l2": [0]},
        folds=2,
        test=(frame[90:][[*"fedcba"]], kinds[90:]),
        **FAST,
    )
    same = fastnn.tune(X[:90], kinds[:90], {"l2": [0]}, folds=2, test=(X[90:], kinds[90:]), **FAST)
    assert found.network.features == tuple("abcdef")
    assert found.network.classes == ("elm", "fir", "oak")
    assert set(found.network.predict(frame)) <= {"elm", "fir", "oak"}
    assert found.test == same.test


def test_outputs_that_choose_no_class_are_tuned_on_labels_that_are_names():
    X, y = blobs()
    found = fastnn.tune(
        X, np.array([*"abc"])[y], {"output": ["identity", "softmax"]}, folds=2, loss="mse", **FAST
    )
    assert {row["output"] for row in found.results} == {"identity", "softmax"}
    assert all(row["accuracy"] > 0.4 for row in found.results)


def test_the_table_and_the_csv_hold_all_results(tmp_path):
    found = fastnn.tune(*blobs(), {"hidden": [(3,), (9, 4)]}, folds=2, **FAST)
    found.to_csv(tmp_path / "results.csv")
    with open(tmp_path / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for row, result in zip(rows, found.results, strict=True):
        hidden = ",".join(map(str, result["hidden"]))
        assert row == {name: str(value) for name, value in result.items()} | {"hidden": hidden}
    lines = str(found).splitlines()
    assert len(lines) == 3
    assert "macro_f1_std" in lines[0]
    assert "fold" not in lines[0]
    with pytest.raises(FileNotFoundError, match="no folder"):
        found.to_csv(tmp_path / "none" / "results.csv")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"grid": {"hiden": [1]}}, "hiden cannot be tuned or set here; need activation"),
        ({"seed_": 1}, "seed_ cannot be"),
        ({"grid": {"l2": 0.1}}, r"grid\['l2'\] must be a list of values"),
        ({"grid": {"activation": "relu"}}, r"grid\['activation'\] must be a list of values"),
        ({"grid": {"l2": []}}, "must hold at least one value"),
        ({"grid": 3}, "grid must be a mapping"),
        ({"folds": 1}, "folds must be at least 2"),
        ({"folds": 500}, "folds must be at most 46, as there are no more rows of any class to"),
        ({"folds": 500, "y": np.linspace(0, 1, 120)}, "folds must be at most 96, .* no more rows"),
        ({"y": np.eye(120, dtype=int)[3]}, "has the class 1 in a single row; need two rows of"),
        ({"test": 0.01}, "test=0.01 sets 2 of 120 rows aside; need at least 3, the number of cl"),
        (
            {"grid": {"hidden": (64, 32)}},
            r"got \(64, 32\): \[\(64,\), \(32,\)\] tries networks .*\[\(64, 32\)\] one network",
        ),
        ({"grid": {"hidden": [64]}}, r"\[\(64,\)\] tries networks of one hidden layer"),
        ({"test": 1.5}, "test must be"),
        ({"test": (1, 2, 3, 4)}, "test must be"),
        ({"seed": -1}, "seed must be"),
        ({"sample_weight": [1, 2]}, "sample_weight must have shape"),
        ({"y": [1, 2]}, "as many rows"),
        ({"y": np.zeros(120, int)}, "at least two classes"),
        ({"l2": -1, "grid": {"l1": [0]}}, "l2 must be"),
        (
            {"test": (np.ones((2, 6)), [7, 8])},
            r"test has the classes \[7, 8\], which no other row has",
        ),
    ],
)
def test_a_bad_argument_is_named(change, message):
    X, y = blobs()
    options = {"X": X, "y": y, "grid": {"l2": [0]}, **change}
    with pytest.raises((ValueError, TypeError), match=message):
        fastnn.tune(**options)


def test_without_scikit_learn_the_error_says_what_to_install():
    code = "import sys; sys.modules['sklearn'] = None; import fastnn; fastnn.tune([[1]], [1], {})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "ImportError: fastnn.tune needs scikit-learn: pip install" in done.stderr
