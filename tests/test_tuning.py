"""Tuning: every combination on every fold, an untouched test part, the best one refitted."""

from __future__ import annotations

import _thread
import csv
import itertools
import math
import subprocess
import sys
import threading
import time
import types
import warnings

import numpy as np
import pytest
from cases import BACKENDS

import fastnn
from fastnn import crossvalidation
from fastnn.backends.compiled.machinery import threads
from fastnn.backends.sharing import Sharers
from fastnn.folds import set_aside, split
from fastnn.searching import Range, combinations, rungs
from fastnn.training import loop

pytest.importorskip("sklearn")

import joblib
from scipy import sparse as scipy_sparse
from scipy import stats
from sklearn.metrics import f1_score
from sklearn.model_selection import KFold, ParameterGrid, StratifiedKFold, train_test_split

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


def without_seconds(found):
    return [
        {name: value for name, value in row.items() if not name.startswith("seconds")}
        for row in found.results
    ]


KINDS = ["dense", "by columns", "sparse", "whole numbers", "weights", "numbers", "validation"]


def data_of(kind):
    """Return X, y and settings of a kind of data."""
    X, y = blobs()
    settings = {}
    if kind == "by columns":
        X = np.asfortranarray(X)
    if kind == "sparse":
        X = scipy_sparse.csr_matrix(np.where(X > 0, X, 0))
    if kind == "whole numbers":
        X = (10 * X).astype(int)
        settings = {"standardize_inputs": True}
    if kind == "weights":
        settings = {"sample_weight": 1.0 + np.arange(120) % 3, "class_weight": "balanced"}
    if kind == "numbers":
        y = X[:, 0] - X[:, 1]
        settings = {"standardize_targets": True, "standardize_inputs": True}
    if kind == "validation":
        settings = {"validation": 0.2, "early_stopping": True}
    return X, y, settings


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_results_do_not_depend_on_the_number_of_jobs(kind, backend):
    X, y, settings = data_of(kind)
    grid = {"hidden": [(3,), (8,)], "dropout": [0, 0.3]}
    one, *others = (
        fastnn.tune(X, y, grid, folds=3, jobs=jobs, backend=backend, **settings, **FAST)
        for jobs in (1, 2, None, 50)
    )
    for other in others:
        assert without_seconds(other) == without_seconds(one)
        assert other.network.parameters.tobytes() == one.network.parameters.tobytes()


@pytest.mark.parametrize("kind", ["sparse", "weights"])
def test_processes_of_joblib_give_the_same(kind):
    X, y, settings = data_of(kind)
    grid = {"hidden": [(3,), (8,)], "dropout": [0, 0.3]}
    threads = fastnn.tune(X, y, grid, folds=2, **settings, **FAST)
    with joblib.parallel_config(backend="loky", n_jobs=2):
        processes = fastnn.tune(X, y, grid, folds=2, **settings, **FAST)
    assert without_seconds(processes) == without_seconds(threads)
    assert processes.network.parameters.tobytes() == threads.network.parameters.tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_a_fold_is_trained_as_a_copy_of_its_rows_would_be(kind):
    X, y, settings = data_of(kind)
    found = fastnn.tune(X, y, {"l2": [0.1]}, folds=3, seed=4, **settings, **FAST)
    known, _ = set_aside(0.2, 120, y if y.dtype.kind == "i" else None, 4)
    parts = split(3, known, y[known] if y.dtype.kind == "i" else None, 4)
    weights = settings.pop("sample_weight", None)
    scaled = {name: settings.pop(name) for name in [*settings] if name.startswith("standardize")}
    measure = "r2" if kind == "numbers" else "macro_f1"
    for i, (train, held_out) in enumerate(parts, 1):
        net = fastnn.Network([6, 128, 1 if kind == "numbers" else 3], seed=4, **scaled)
        part = {} if weights is None else {"sample_weight": weights[train]}
        net.train(X[train], y[train], l2=0.1, **settings, **part, **FAST)
        part = {} if weights is None else {"sample_weight": weights[held_out]}
        assert (
            found.results[0][f"{measure}_fold{i}"]
            == (net.evaluate(X[held_out], y[held_out], **part)[measure])
        )


def test_folds_and_test_rows_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    for seed in range(40):
        rows, classes = int(rng.integers(20, 200)), int(rng.integers(2, 6))
        labels = np.append(np.arange(classes).repeat(2), rng.integers(classes, size=rows))
        labels = rng.permutation(np.array([*"zyxwvu"])[labels])
        for y in (labels, None):
            share = float(rng.choice([0.1, 0.2, 0.25, 0.5]))
            if y is not None and math.ceil(share * len(labels)) < classes:
                continue
            parts = train_test_split(
                np.arange(len(labels)), test_size=share, random_state=seed, stratify=y
            )
            known, aside = set_aside(share, len(labels), y, seed)
            assert [known.tolist(), aside.tolist()] == [sorted(part) for part in parts]
            own = None if y is None else y[known]
            kind = (KFold if y is None else StratifiedKFold)(3, shuffle=True, random_state=seed)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of classes with few rows
                theirs = list(kind.split(known, own))
            for fold, other in zip(split(3, known, own, seed), theirs, strict=True):
                assert [part.tolist() for part in fold] == [known[o].tolist() for o in other]


@pytest.mark.parametrize(("jobs", "count"), [(None, 6), (-1, 6), (-2, 6), (3, 3), (1, 0)])
def test_so_many_networks_train_at_a_time(jobs, count, monkeypatch):
    seen = []

    class Spy(crossvalidation.Together):
        def __init__(self, tasks, threads):
            seen.append(threads)
            super().__init__(tasks, threads)

    monkeypatch.setattr(crossvalidation, "Together", Spy)
    monkeypatch.setattr(threads, "most", lambda: 7)
    fastnn.tune(*blobs(), {"l2": [0, 1, 2]}, folds=2, jobs=jobs, **FAST)
    assert seen == [count] * (count > 0)


@pytest.mark.parametrize("asked", [None, 3])
def test_processes_share_the_cpus(asked, monkeypatch):
    seen = []

    def spy(settings, *rest):
        seen.append(settings.get("threads"))
        return {"macro_f1": 1.0, "seconds": 0.0}

    monkeypatch.setattr(crossvalidation, "fit_fold", spy)
    monkeypatch.setattr(joblib, "cpu_count", lambda: 8)
    monkeypatch.setattr(joblib, "effective_n_jobs", lambda jobs: 4)
    monkeypatch.setattr(crossvalidation, "_joblib_with_workers", lambda: joblib)
    options = {} if asked is None else {"threads": asked}
    fastnn.tune(*blobs(), {"l2": [0]}, folds=2, jobs=1, **options, **FAST)
    assert set(seen) == {2 if asked is None else asked}


def test_callbacks_run_one_at_a_time():
    within, most = [], []

    def callback(row):
        within.append(1)
        most.append(len(within))
        time.sleep(0.001)
        within.pop()

    grid = {"l2": [0, 0.1]}
    fastnn.tune(*blobs(), grid, folds=3, jobs=4, callbacks=iter([callback]), **FAST)
    assert most == [1] * (7 * FAST["epochs"])  # the final network is one more


def test_an_error_in_one_network_ends_the_others():
    threads_before = threading.active_count()
    calls = []

    def callback(row):
        calls.append(row)
        if len(calls) == 3:
            raise ZeroDivisionError("of mine")

    options = {**FAST, "epochs": 10**6}
    with pytest.raises(ZeroDivisionError, match="of mine"):
        fastnn.tune(*blobs(), {"l2": [0, 0.1]}, folds=3, jobs=3, callbacks=[callback], **options)
    assert threading.active_count() == threads_before
    assert loop._trained == {}


@pytest.mark.parametrize("jobs", [1, 3])
def test_ctrl_c_ends_all_networks(jobs):
    def callback(row):
        if row["epoch"] == 3:
            _thread.interrupt_main()

    options = {**FAST, "epochs": 10**6}
    with pytest.raises(KeyboardInterrupt):
        fastnn.tune(*blobs(), {"l2": [0, 1]}, folds=3, jobs=jobs, callbacks=[callback], **options)
    assert not [each for each in threading.enumerate() if "_work" in each.name]
    assert loop._trained == {}


def test_an_evaluation_ends_with_the_others():
    sharers = Sharers(2)
    sharers.over = True
    net = fastnn.Network([6, 4, 3], seed=0)
    X, y = blobs()
    with sharers.one(), pytest.raises(KeyboardInterrupt):
        net.evaluate(X, y)


def test_settings_are_checked_before_anything_is_trained():
    epochs = []
    grid = {"l2": [0, -1]}
    with pytest.raises(ValueError, match="l2 must be finite and at least 0"):
        fastnn.tune(*blobs(), grid, folds=2, callbacks=[epochs.append], **FAST)
    assert epochs == []


def test_test_data_are_checked_before_anything_is_trained():
    X, y = blobs()
    epochs = []
    test = np.where(X > 2, np.nan, X), y
    with pytest.raises(ValueError, match="test data: X must be finite"):
        fastnn.tune(X, y, {"l2": [0]}, test=test, folds=2, callbacks=[epochs.append], **FAST)
    assert epochs == []


@pytest.mark.parametrize("jobs", [1, 3])
def test_a_warning_of_the_data_is_given_once_where_tune_is_called(jobs):
    X, y = blobs()
    with pytest.warns(UserWarning, match="taken for pixels") as said:
        fastnn.tune((X > 0).astype("uint8"), y, {"l2": [0, 1]}, folds=3, jobs=jobs, **FAST)
    assert [warning.filename for warning in said] == [__file__]


def test_warnings_are_as_they_were():
    before = list(warnings.filters)
    X, y = blobs()
    fastnn.tune(X + 50, y, {"standardize_inputs": [False, True]}, folds=2, jobs=2, **FAST)
    assert warnings.filters == before


def test_rows_that_networks_read_in_place_are_not_copied(monkeypatch):
    X, y = blobs()
    seen = set()

    def spy(settings, seed, X, *rest):
        seen.add(id(X))
        return {"macro_f1": 1.0, "seconds": 0.0}

    monkeypatch.setattr(crossvalidation, "fit_fold", spy)
    fastnn.tune(X, y, {"l2": [0, 1]}, folds=2, **FAST)
    assert seen == {id(X)}


# Random combinations, and successive halving


def test_random_combinations_of_lists_are_different_ones():
    grid = [{"a": [1, 2, 3], "b": [4, 5]}, {"c": [*range(10)]}]
    every = combinations(grid)
    assert len(every) == 16
    for count in (1, 7, 15):
        some = combinations(grid, count, seed=1)
        assert len(some) == count
        assert all(each in every for each in some)
        assert len({str(each) for each in some}) == count
    assert combinations(grid, 16) == combinations(grid, 99) == every
    assert combinations(grid, 7, 1) == combinations(grid, 7, 1) != combinations(grid, 7, 2)


def test_all_combinations_come_in_the_order_of_scikit_learn():
    grid = [{"b": [4, 5], "a": [1, 2, 3]}, {"c": [1, 2]}]
    assert combinations(grid) == list(ParameterGrid(grid))


def test_distributions_are_drawn_from():
    grid = {"a": stats.loguniform(1e-3, 1), "b": stats.randint(3, 9), "c": ["x", "y"]}
    found = combinations([grid], 200, seed=3)
    assert found == combinations([grid], 200, seed=3)
    assert all(type(each["a"]) is float and 1e-3 <= each["a"] <= 1 for each in found)
    assert {each["b"] for each in found} == {*range(3, 9)}
    assert {type(each["b"]) for each in found} == {int}
    assert 0.3 < np.mean([each["a"] < 0.0316 for each in found]) < 0.7
    assert {each["c"] for each in found} == {"x", "y"}


@pytest.mark.parametrize("log", [False, True])
def test_ranges_reach_from_limit_to_limit(log):
    rng = np.random.default_rng(0)
    whole = [Range(2, 5, log, whole=True).rvs(rng) for _ in range(300)]
    assert {*whole} == {2, 3, 4, 5}
    numbers = [Range(0.5, 8, log, whole=False).rvs(rng) for _ in range(300)]
    assert 0.5 <= min(numbers) < 0.6
    assert 7 < max(numbers) <= 8
    assert bool(np.median(numbers) < 3) is log


def test_a_random_search_is_that_of_its_combinations():
    X, y = blobs()
    grid = {"learning_rate": stats.loguniform(0.01, 0.3), "hidden": [(3,), (5,)]}
    options = {"folds": 2, "seed": 5, **{**FAST, "learning_rate": 0.1}}
    found = fastnn.tune(X, y, grid, random=4, **options)
    drawn = combinations([grid], 4, seed=5)
    listed = [{name: [value] for name, value in each.items()} for each in drawn]
    assert without_seconds(found) == without_seconds(fastnn.tune(X, y, listed, **options))
    assert len(found.results) == 4


@pytest.mark.parametrize(
    ("count", "epochs", "factor", "expected"),
    [
        (12, 27, 3, [(12, 9), (4, 3), (2, 1)]),
        (9, 27, 3, [(9, 9), (3, 3), (1, 1)]),
        (50, 5, 3, [(50, 3), (17, 1)]),
        (16, 100, 4, [(16, 16), (4, 4), (1, 1)]),
        (2, 100, 3, [(2, 1)]),
        (9, 2, 3, [(9, 1)]),
        (9, 27, None, [(9, 1)]),
    ],
)
def test_rungs_of_halving(count, epochs, factor, expected):
    assert rungs(count, epochs, factor) == expected


@pytest.mark.parametrize("jobs", [1, 2])
def test_halving_gives_more_epochs_to_the_best(jobs):
    X, y = blobs()
    grid = {"learning_rate": [0.3, 0.1, 0.03, 0.01, 0.003, 1e-5, 1e-6, 1e-7, 1e-8]}
    options = {**FAST, "epochs": 9}
    del options["learning_rate"]
    seen = []
    found = fastnn.tune(
        X, y, grid, folds=2, halving=True, jobs=jobs,
        callbacks=[lambda row: seen.append(row["epoch"])], **options,
    )  # fmt: skip
    assert [row["epochs_trained"] for row in found.results] == [9, 3, 3, *[1] * 6]
    assert len(seen) == 2 * (9 * 1 + 3 * 3 + 1 * 9) + 9
    few = fastnn.tune(X, y, grid, folds=2, **{**options, "epochs": 1})
    best = [row["learning_rate"] for row in few.results[:3]]
    assert {row["learning_rate"] for row in found.results[:3]} == {*best}
    alone = fastnn.tune(
        X, y, [{"learning_rate": [found.best["learning_rate"]]}], folds=2, **options
    )
    assert alone.results[0]["macro_f1_fold1"] == found.results[0]["macro_f1_fold1"]
    assert len(found.history) == 9
    assert "epochs_trained" in str(found)
    assert "epochs_trained" not in str(few)


def test_halving_tries_nothing_again_that_diverged():
    X, y = blobs()
    rates = [0.1, 0.05, 0.01, *[1e30] * 6]
    found = fastnn.tune(
        X, y, {"learning_rate": rates}, folds=2, epochs=9, halving=True, activation="softplus",
        progress=False,
    )  # fmt: skip
    assert [row["learning_rate"] for row in found.results[3:]] == [1e30] * 6
    assert np.isnan([row["macro_f1"] for row in found.results[3:]]).all()


def test_halving_of_combinations_with_their_own_epochs():
    X, y = blobs()
    options = {name: value for name, value in FAST.items() if name != "epochs"}
    grid = {"epochs": [3, 9], "l2": [0, 1e-5, 1e-4]}
    found = fastnn.tune(X, y, grid, folds=2, halving=2, **options)
    pairs = {(row["epochs"], row["epochs_trained"]) for row in found.results}
    assert all(
        trained in {max(1, epochs // divisor) for divisor in (1, 2, 4, 8)}
        for epochs, trained in pairs
    )
    assert found.results[0]["epochs_trained"] == found.best["epochs"]


def test_settings_that_need_more_epochs_than_halving_has_are_refused_at_once():
    with pytest.raises(ValueError, match=r"on the fewer epochs of halving: .*average"):
        fastnn.tune(
            *blobs(), {"l2": [0, 1, 2]}, halving=True, average=fastnn.averaging.SWA(4), **FAST
        )


def test_quantiles_are_tuned_together():
    X, _ = blobs()
    loss = fastnn.losses.Quantile((0.1, 0.5, 0.9))
    found = fastnn.tune(X, X[:, 0], {"l2": [0]}, folds=2, loss=loss, **FAST)
    assert found.network.architecture.sizes[-1] == 3


def test_the_table_has_room_for_settings_of_some():
    found = fastnn.tune(*blobs(), [{"l1": [0.1]}, {"l2": [0, 0.1]}], folds=2, **FAST)
    assert sorted((row["l1"], row["l2"]) for row in found.results if row["l1"] == "") == [
        ("", 0), ("", 0.1)
    ]  # fmt: skip
    assert {"l1", "l2"} <= {*str(found).split()}


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


@pytest.mark.parametrize("kind", ["int", "str", "object", "bool"])
def test_classes_may_stand_in_a_column(kind):
    X, y = blobs()
    y = y > 0 if kind == "bool" else y.astype(kind)
    column, row = (fastnn.tune(X, each, {"l2": [0]}, folds=2, **FAST) for each in (y[:, None], y))
    assert column.classes.tolist() == row.classes.tolist()
    assert column.network.parameters.tobytes() == row.network.parameters.tobytes()
    assert without_seconds(column) == without_seconds(row)


def test_values_of_numpy_arrays_are_shown_as_those_of_lists():
    rates = np.logspace(-3, -1, 3)
    found = fastnn.tune(*blobs(), {"learning_rate": rates, "l2": [*rates]}, folds=2, epochs=1)
    assert {type(value) for value in found.best.values()} == {float}


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


def test_why_training_diverged_is_said_if_no_combination_is_left():
    X, y = blobs()
    with pytest.raises(fastnn.DivergenceError, match=r"every combination.* The first .*column 2"):
        fastnn.tune(X * [1, 1, 1e12, 1, 1, 1], y, {"l2": [0, 0.1]}, folds=2, epochs=3)


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
    def fold(settings, *rest):
        scores = {} if settings["l2"] == 1 else {"r2": -settings["l2"], "seconds": 0.0}
        return scores

    monkeypatch.setattr(crossvalidation, "fit_fold", fold)
    X, _ = blobs()
    found = fastnn.tune(X, X[:, 0], {"l2": [1, 9, 5]}, folds=2, standardize_inputs=True, epochs=1)
    assert [row["l2"] for row in found.results] == [5, 9, 1]


def test_the_seconds_are_those_of_all_epochs(monkeypatch):
    ticks = itertools.count()
    monkeypatch.setattr(loop, "time", types.SimpleNamespace(perf_counter=lambda: next(ticks)))
    options = {"folds": 2, "backend": "numpy", "progress": False, "jobs": 1}
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
        ({"grid": 3}, "grid must be a mapping from names to lists of values, got a int"),
        ({"grid": []}, "grid must be a mapping .* got an empty list"),
        ({"grid": {3: [1]}}, "grid must have names of settings as keys, got 3"),
        ({"grid": {"l2": np.array(3)}}, r"grid\['l2'\] must be a list of values"),
        ({"grid": {"alpha": [1]}}, "alpha cannot be .*; did you mean 'l2'?"),
        ({"grid": {"hidden_layer_sizes": [(3,)]}}, "did you mean 'hidden'?"),
        ({"grid": {"sizes": [(3,)]}}, "did you mean 'hidden'?"),
        ({"grid": {"learning_rat": [1]}}, "did you mean 'learning_rate'?"),
        ({"grid": {"folds": [2, 3]}}, "; folds is an argument of tune itself"),
        ({"fold": 3}, "did you mean 'folds'?"),
        ({"cv": 3}, "did you mean 'folds'?"),
        ({"n_jobs": 3}, "did you mean 'jobs'?"),
        (
            {"grid": {"l2": types.SimpleNamespace(rvs=lambda: 1)}, "random": 2},
            r"grid\['l2'\] must have a method rvs\(random_state=...\)",
        ),
        ({"grid": {"hidden": [(3, 3.5)]}}, r"hidden\[1\] must be an integer, got 3.5"),
        ({"hidden": None}, r"hidden\[0\] must be an integer, got None"),
        ({"grid": {"l2": stats.uniform()}}, r"grid\['l2'\] is a distribution, .* random=50"),
        ({"grid": {"l2": 0.1}, "random": 3}, r"must be a list .*or with random a distribution"),
        ({"random": 0}, "random must be at least 1"),
        ({"random": 2.5}, "random must be an integer"),
        ({"halving": 1}, "halving must be at least 2"),
        ({"halving": 2.5}, "halving must be an integer"),
        ({"halving": True, "epochs": "many"}, "epochs must be an integer"),
        ({"jobs": 0}, "jobs must be at least 1, or -1 for one per CPU"),
        ({"jobs": 1.5}, "jobs must be an integer"),
        ({"seed": 2**32}, "seed must be from 0 to"),
        ({"test": 0.999, "y": np.linspace(0, 1, 120)}, "test=0.999 sets all 120 rows aside"),
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
        ({"test": np.ones((3, 6))}, r"test must be a share of the rows, \(X, y\) .* got a ndarray"),
        ({"test": "0.2"}, r"test must be a share of the rows, \(X, y\) .* got a str"),
        ({"test": (np.full((2, 6), np.nan), [0, 1])}, "test data: X must be finite"),
        ({"test": (np.ones((2, 5)), [0, 1])}, "test data: X must have shape"),
        (
            {"y": np.linspace(0, 1, 120), "test": (np.ones((2, 6)), [0.5, np.nan])},
            "test data: y must be finite",
        ),
        ({"y": np.array([1, "a"] * 60, object)}, "y must hold labels of one kind; got 1 in row 0"),
        ({"y": np.array([1, None] * 60, object)}, "y must hold labels of one kind: .*left out"),
        (
            {"y": np.arange(120), "test": (np.ones((2, 6)), [0, 1])},
            "y has no class with two rows; .* y.astype",
        ),
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


def test_it_needs_no_scikit_learn():
    code = """
import sys
sys.modules.update(sklearn=None, joblib=None, scipy=None)
import fastnn
X = [[i % 7, i % 2] for i in range(60)]
found = fastnn.tune(X, [i % 2 for i in range(60)], {"l2": [0, 1]}, backend="numpy", random=1)
print(len(found.results))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "1\n", done.stderr
