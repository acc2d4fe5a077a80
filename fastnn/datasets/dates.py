"""Dates as spreadsheets and programs write them; the whole column decides day and month."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache

_TIME = r"(?:[T ]+([0-9]{1,2}):([0-9]{2})(?::([0-9]{2})(?:\.[0-9]+)?)?)?Z?"
_ISO = re.compile(rf"([0-9]{{4}})([-/.])([0-9]{{1,2}})\2([0-9]{{1,2}}){_TIME}")
_OTHER = re.compile(rf"([0-9]{{1,2}})([./-])([0-9]{{1,2}})\2([0-9]{{4}}){_TIME}")

_LONGEST = 40  # characters
ORDERS = frozenset(("day first", "month first"))


def dates_of(text: str) -> dict[str, datetime]:
    """Return the dates that a cell can be: for "day first" and for "month first", or neither.

    A date that begins with the year is the same for both.
    """
    return _dates_of(text) if len(text) <= _LONGEST else {}


@lru_cache(1 << 16)
def _dates_of(text: str) -> dict[str, datetime]:
    if found := _ISO.fullmatch(text):
        year, _, month, day, *time = found.groups()
        date = _date(year, month, day, time)
        return {} if date is None else dict.fromkeys(sorted(ORDERS), date)
    if found := _OTHER.fullmatch(text):
        one, _, other, year, *time = found.groups()
        both = {
            "day first": _date(year, other, one, time),
            "month first": _date(year, one, other, time),
        }
        return {order: date for order, date in both.items() if date is not None}
    return {}


def is_date(cell: str) -> bool:
    """Whether a cell is a date."""
    return bool(dates_of(cell.strip()))


def orders_of(texts: Iterable[str], orders: frozenset[str] = ORDERS) -> frozenset[str]:
    """Return the orders of day and month with which all texts are dates.

    Where both are possible, points between the numbers mean that the day is first.
    """
    possible, points = orders, False
    for text in texts:
        dates = dates_of(text)
        possible &= dates.keys()
        points |= "." in text[:3] and len(set(dates.values())) > 1
        if not possible:
            return possible
    return frozenset(("day first",)) if points and len(possible) > 1 else possible


def depends(texts: Iterable[str]) -> str:
    """Return the first text that is another date with the other order, or ""."""
    return next((text for text in texts if len(set(dates_of(text).values())) > 1), "")


def _date(year: str, month: str, day: str, time: list[str | None]) -> datetime | None:
    hour, minute, second = (int(part or 0) for part in time)
    try:
        return datetime(int(year), int(month), int(day), hour, minute, second)
    except ValueError:
        return None
