"""Fingerprints: what a setting, a function or an array is, in a few bytes, to compare runs by.

They guard against mistakes, not against somebody who wants two things to look the same.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import sys
from collections.abc import Iterator
from numbers import Integral, Number, Real
from types import CodeType, FunctionType, MethodType
from typing import Any
from zlib import crc32

import numpy as np

from fastnn.activations import Array
from fastnn.sparse_rows import Rows, SparseRows

# Bytes of an array that are looked at in any case, which takes some hundredths of a second.
ALWAYS = 1 << 26
# Operations of an epoch for each byte more: they take over ten times as long as looking at it.
OPERATIONS_PER_BYTE = 1000
BLOCK = 1 << 18  # bytes that are looked at in one go


def of_array(array: Rows | None, operations: float) -> int | None:
    """Return a checksum of the numbers of an array in any memory layout; None for None.

    Of a large array, only blocks of rows are looked at. They are spread evenly from the first row
    to the last.

    Parameters
    ----------
    array : ndarray, SparseRows or None
    operations : float
        Floating-point operations of an epoch, in whose time this should hardly be seen.
    """
    if array is None:
        return None
    rows = len(array)
    length = max(1, BLOCK * rows // array.nbytes)
    blocks = -(-rows // length)
    share = max(ALWAYS, operations / OPERATIONS_PER_BYTE) / array.nbytes
    if share >= 1:
        starts = np.arange(blocks) * length
    else:
        starts = np.linspace(0, rows - length, max(2, int(share * blocks))).astype(np.int64)
    checksum = 0
    for start in starts.tolist():
        for part in _contiguous(array[start : start + length]):
            checksum = crc32(part, checksum)  # type: ignore[arg-type]
    return checksum


def _contiguous(block: Rows) -> list[Array]:
    """Return all numbers of a block, and of sparse ones where they are."""
    if isinstance(block, SparseRows):
        return [block.lengths, block.indices[block.places], block.stored]
    return [np.ascontiguousarray(block)]


def of_setting(value: Any) -> Any:
    """Return a setting in JSON's types: its value, or what is known of it if it is a function.

    Of a function that is a ``name`` to show; a checksum of its ``values``: the name, defaults, and
    what it encloses; and one of its ``code``, which the same version of ``python`` has compiled.
    What it reads elsewhere, such as global variables, is not known. It is not called.
    """
    if callable(value):
        parts = list(_parts(value, set()))
        return {
            "name": repr(value) if dataclasses.is_dataclass(value) else _name(value),
            "values": crc32(repr([part for part in parts if isinstance(part, str)]).encode()),
            "code": crc32(repr([part for part in parts if isinstance(part, bytes)]).encode()),
            "python": sys.implementation.cache_tag,
        }
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, tuple):
        return [of_setting(each) for each in value]
    return _stated(value) if dataclasses.is_dataclass(value) else value


def _stated(value: Any) -> str:
    """Return what an object of settings is, with numbers of any type as those of Python."""
    plain: dict[str, float] = {}
    for field in dataclasses.fields(value):
        number = getattr(value, field.name)
        if isinstance(number, Real) and "float" in str(field.type):
            plain[field.name] = float(number)
        elif isinstance(number, Integral) and "int" in str(field.type):
            plain[field.name] = int(number)
    return repr(dataclasses.replace(value, **plain))


def agree(one: Any, other: Any) -> bool:
    """Whether two results of `of_setting` are those of one setting, as far as that is known."""
    if not (isinstance(one, dict) and isinstance(other, dict)):
        return bool(one == other)
    same_python = one.get("python") == other.get("python")
    names = ("values", "code") if same_python else ("values",)
    return all(one.get(name) == other.get(name) for name in names)


def _name(value: Any) -> str:
    """Return the name of a function or a type, or that of the type of another object."""
    named = value if hasattr(value, "__qualname__") else type(value)
    return f"{getattr(named, '__module__', '')}.{named.__qualname__}"


def _parts(value: Any, seen: set[int]) -> Iterator[str | bytes]:
    """Yield what a value consists of; code is bytes.

    Of objects that may change while a function is used, such as lists, it is the type alone.
    """
    yield _name(type(value))
    if isinstance(value, Number | str | bytes | None):
        yield repr(value)
    elif isinstance(value, frozenset):
        yield repr(sorted(map(repr, value)))
    elif isinstance(value, CodeType):
        yield value.co_code
        yield repr(value.co_names).encode()
        for part in (part for constant in value.co_consts for part in _parts(constant, seen)):
            yield part.encode() if isinstance(part, str) else part
    elif id(value) not in seen:  # a function may enclose itself
        if callable(value):
            seen.add(id(value))
            yield _name(value)
        for inner in _contents(value):
            yield from _parts(inner, seen)


def _contents(value: Any) -> Iterator[Any]:
    """Yield what a tuple, a dataclass that is frozen, or a function holds."""
    if isinstance(value, tuple):
        yield from value
    elif isinstance(value, FunctionType):
        code, doc = value.__code__, value.__doc__
        yield code.replace(co_consts=tuple(each for each in code.co_consts if each != doc))
        yield value.__defaults__
        yield tuple((value.__kwdefaults__ or {}).items())
        for cell in value.__closure__ or ():
            with contextlib.suppress(ValueError):  # it is empty
                yield cell.cell_contents
    elif isinstance(value, MethodType):
        yield value.__func__
        yield value.__self__
    elif isinstance(value, functools.partial):
        yield value.func
        yield value.args
        yield tuple(value.keywords.items())
    elif not isinstance(value, type):
        if getattr(getattr(type(value), "__dataclass_params__", None), "frozen", False):
            yield from (getattr(value, field.name) for field in dataclasses.fields(value))
        if callable(value):
            # Such as what Numba has compiled.
            yield getattr(value, "__dict__", {}).get("__wrapped__")
            call = type(value).__call__
            yield call if isinstance(call, FunctionType) else None
