"""Reading 5 MB of CSV, pixels as on Kaggle or floats, by each reader and by pandas alone."""

from __future__ import annotations

import numpy as np
import pytest

from fastnn.datasets import delimited, read_csv, readers

SHAPES = {"pixels": (1_900, 784), "floats": (5_000, 100)}


@pytest.fixture(scope="module", params=SHAPES)
def file(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / f"{request.param}.csv"
    rng = np.random.default_rng(0)
    rows, columns = SHAPES[request.param]
    names = ",".join(["label", *(f"{request.param[:-1]}{i}" for i in range(columns))])
    if request.param == "pixels":
        X, form = rng.integers(0, 256, (rows, columns)), "%d"
    else:
        X, form = rng.normal(size=(rows, columns)), "%.6f"
    y = rng.integers(0, 10, rows)
    np.savetxt(path, np.column_stack([y, X]), form, ",", header=names, comments="")
    return path


@pytest.mark.parametrize("reader", ["by_pandas", "by_numpy"])
def test_read_csv(benchmark, file, monkeypatch, reader):
    if reader == "by_pandas":
        pytest.importorskip("pandas", minversion="3.1")
    monkeypatch.setattr(delimited, "fast_reader", lambda form, size: getattr(readers, reader))
    benchmark.group = f"read 5 MB of {file.stem}"
    table = benchmark(read_csv, file)
    assert table.X.shape == SHAPES[file.stem]


def test_pandas(benchmark, file):
    pandas = pytest.importorskip("pandas")
    benchmark.group = f"read 5 MB of {file.stem}"
    frame = benchmark(pandas.read_csv, file)
    assert frame.shape[0] == SHAPES[file.stem][0]
