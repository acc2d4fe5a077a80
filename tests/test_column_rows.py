"""Columns that stand for rows: what is written of them, by each backend, and what is refused."""

from __future__ import annotations

import os
import sys
import threading

import numpy as np
import pytest
from cases import BACKENDS

from fastnn import backends
from fastnn.column_rows import ColumnRows
from fastnn.streams.ahead import BEHIND, Ahead

RNG = np.random.default_rng(0)


def columns(rows, count, dtype="f4"):
    return [RNG.normal(size=rows).astype(dtype) for _ in range(count)]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("rows", [1, 63, 64, 200])
@pytest.mark.parametrize("count", [1, 8, 16, 50])
def test_columns_are_written_as_rows(rows, count, dtype, backend):
    given = columns(rows, count, dtype)
    out = np.full((rows + 2, count), 7, dtype)
    backends.get(backend).write_columns(ColumnRows(given, np.dtype(dtype)), out[1:-1])
    np.testing.assert_array_equal(out[1:-1], np.column_stack(given))
    assert (out[[0, -1]] == 7).all()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "given",
    [
        [np.arange(90) % 2 == 0, np.arange(90)],
        [np.arange(180.0)[::2], np.arange(90, dtype="f4")],
        [np.arange(180, dtype="f4")[::2]] * 20,
    ],
)
def test_columns_of_other_types_and_with_gaps_are_written_as_rows(given, backend):
    out = np.empty((90, len(given)), "f4")
    backends.get(backend).write_columns(ColumnRows(given, out.dtype), out)
    np.testing.assert_array_equal(out, np.column_stack([c.astype("f4") for c in given]))


@pytest.mark.parametrize("backend", BACKENDS)
def test_pixels_are_written_as_bytes(backend):
    given = [np.arange(70, dtype=np.uint8)] * 3
    out = np.empty((70, 3), np.uint8)
    backends.get(backend).write_columns(ColumnRows(given, out.dtype), out)
    np.testing.assert_array_equal(out, np.column_stack(given))


def test_some_rows_are_those_of_the_array(monkeypatch):
    monkeypatch.setattr("fastnn.column_rows.TURNED", 8)
    X = ColumnRows(columns(50, 3), np.dtype("f4"))
    whole = np.asarray(X)
    np.testing.assert_array_equal(whole, np.column_stack(X.columns))
    np.testing.assert_array_equal(np.asarray(X[7:30]), whole[7:30])
    np.testing.assert_array_equal(X[[3, 1]], whole[[3, 1]])
    np.testing.assert_array_equal(X[:, [2, 0]], whole[:, [2, 0]])
    np.testing.assert_array_equal(np.concatenate([each.copy() for each in X.pieces()]), whole)


def test_another_type_is_reached_by_the_one_before():
    large = np.array([2**60 + 2**36 + 1])  # float64 makes it lie between two of float32
    tie = np.array([1 + 2.0**-24 + 2.0**-50])  # beyond what lies there
    for column, before, after in ((large, "f8", "f4"), (tie, "f4", "f8")):
        X = ColumnRows([column], np.dtype(before)).astype(after)
        np.testing.assert_array_equal(np.asarray(X), column.astype(before).astype(after)[:, None])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
def test_the_first_number_that_is_not_finite_is_found_by_row(value):
    given = columns(50, 3, "f8")
    X = ColumnRows(given, np.dtype("f4"))
    largest = np.finfo("f4").max
    assert X.first_beyond(largest) is None
    given[0][20] = given[2][9] = given[1][9] = value
    assert X.first_beyond(largest) == (9, 1)


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own")
def test_a_thread_that_reads_gives_way_to_those_that_compute():
    def priority(over):
        yield os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    own = os.getpriority(os.PRIO_PROCESS, os.getpid())
    with Ahead(priority) as ahead:
        assert ahead.take() == min(19, own + BEHIND)
    assert os.getpriority(os.PRIO_PROCESS, os.getpid()) == own


def test_nobody_waits_for_an_item_once_told_to_end():
    over, hangs = threading.Event(), threading.Event()

    def items(ended):
        hangs.wait(5)
        yield 1

    with Ahead(items) as ahead:
        over.set()
        assert ahead.take(over.is_set) is None
        hangs.set()
