"""Columns written as rows: what is read from files of columns, for training by rows."""

from __future__ import annotations

from numba import types

from fastnn.backends.compiled.machinery.arrays import elements
from fastnn.backends.compiled.machinery.instructions import itemsize_of
from fastnn.backends.compiled.machinery.jit import serial, unit
from fastnn.backends.compiled.machinery.vector_ir import lanes
from fastnn.backends.compiled.machinery.vectors import transpose_listed

TOGETHER = 64  # rows that are written before the next columns: whole lines of these are read


def _turn_types(number):
    return types.int64[::1], number[:, ::1]


@unit(_turn_types)
def turn(columns, out):
    """Write the columns at these addresses into the rows of ``out``; one at a time takes thrice."""
    rows, count = out.shape
    like = out.dtype.type(0)
    itemsize = itemsize_of(like)
    width = lanes(itemsize)
    whole = count // width * width
    target = out.ctypes.data
    for first in range(0, rows // TOGETHER * TOGETHER, TOGETHER):
        for j in range(0, whole, width):
            for i in range(first, first + TOGETHER, width):
                place = target + itemsize * (i * count + j)
                transpose_listed(columns.ctypes.data + 8 * j, i, place, count, like)
        _one_by_one(columns, out, first, first + TOGETHER, whole)
    _one_by_one(columns, out, rows // TOGETHER * TOGETHER, rows, 0)


@serial
def _one_by_one(columns, out, begin, end, first):
    """Write some rows, from a column on."""
    for j in range(first, len(columns)):
        values = elements(columns[j], end, out.dtype.type(0))
        for i in range(begin, end):
            out[i, j] = values[i]
