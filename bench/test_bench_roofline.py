"""The roofline script, run for a moment so that it does not rot."""

from __future__ import annotations

import numpy as np
import products
import pytest
import roofline


@pytest.mark.parametrize("threads", [1, 2])
def test_roofline_measures_a_share_of_the_peak(threads):
    if threads > roofline.cpu_threads.available():
        pytest.skip("needs two CPUs")
    (row,) = roofline.measure([784, 128, 10], [512], threads, seconds=0.05)["rows"]
    assert row["share_of_peak"] > 0
    assert row["threads"] == threads


def test_products_are_timed_with_libxsmm_or_left_out(capsys):
    rows = products.measure([16, 8, 4], [1, 8])
    if not rows:
        assert "libxsmm: skipped, as " in capsys.readouterr().out
        return
    assert {row["batch"] for row in rows} == {8}
    assert [row["shape"] for row in rows] == [shape[:3] for shape in products.shapes([16, 8, 4], 8)]
    assert all(row["seconds"] > 0 for row in rows)
    assert all(row["libxsmm_seconds"] is None or row["share"] > 0 for row in rows)


def test_a_product_is_that_of_numpy():
    for rows, columns, depth, transposed in products.shapes([37, 20, 5], 9):
        ours = products.Ours((rows, columns, depth, transposed))
        a, b, c = (array.reshape(-1, stride) for array, stride in ours.arrays)
        a = a[:, :rows].T if transposed else a[:, :depth]
        np.testing.assert_allclose(c[:, :columns], a @ b[:, :columns], atol=1e-4)


def test_a_shape_without_a_kernel_is_named():
    row = {"batch": 8, "shape": (8, 4, 2), "transposed": False, "seconds": 1e-9}
    _, shown = products.table([{**row, "libxsmm_seconds": None, "share": None}])
    assert shown == ["8", "[8, 2] [2, 4]", "128.0", "no kernel", "-"]


@pytest.mark.parametrize(("sizes", "batch"), [([16, 8, 4], 8), ([64, 64, 10], 4096)])
def test_each_product_of_a_step_has_a_share_of_the_peak(sizes, batch, monkeypatch):
    monkeypatch.setattr(products, "ROUND", 0.001)
    rows = [row for row in products.measure_steps(sizes, [batch]) if row["share"] is not None]
    names = [(row["what"], row["layer"]) for row in rows]
    assert names == [
        ("forward", 0), ("forward", 1), ("backward", 1), ("gradient", 0), ("gradient", 1)
    ]  # fmt: skip
    assert all(row["share"] > 0 for row in rows)
    assert len(products.table_of_steps(rows)) == 1 + len(rows)
