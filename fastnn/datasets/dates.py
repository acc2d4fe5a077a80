"""Dates and times of day as spreadsheets write them; the whole column decides day and month.

Not read are years of two digits, of which nothing tells the century.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import lru_cache

_CLOCK = r"([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}(?:\.[0-9]+)?))?(?: ?([AaPp])(?:[Mm]|\.[Mm]\.))?"
_TIME = rf"(?:[T ]+{_CLOCK})?Z?"
_ISO = re.compile(rf"([0-9]{{4}})([-/.])([0-9]{{1,2}})\2([0-9]{{1,2}}){_TIME}")
_OTHER = re.compile(rf"([0-9]{{1,2}})([./-])([0-9]{{1,2}})\2([0-9]{{4}}){_TIME}")
_WORD = r"([^\W\d_]{3,10})\.?"
_NAMED = re.compile(rf"([0-9]{{1,2}})(?:\. ?|[ /-]){_WORD}(?:, ?|[ /-])([0-9]{{4}}){_TIME}")
_NAME_FIRST = re.compile(rf"{_WORD} ([0-9]{{1,2}}),? ([0-9]{{4}}){_TIME}")
_TIME_OF_DAY = re.compile(_CLOCK)

# In English, German, French, Spanish, Italian, Portuguese and Dutch, without accents.
_MONTHS = (
    "january januar janner janvier enero gennaio janeiro januari",
    "february februar fevrier febrero febbraio fevereiro februari",
    "march marz maerz mars marzo marco maart",
    "april avril abril aprile",
    "may mai mayo maggio maio mei",
    "june juni juin junio giugno junho",
    "july juli juillet julio luglio julho",
    "august aout agosto augustus",
    "september septembre septiembre settembre setembro",
    "october oktober octobre octubre ottobre outubro",
    "november novembre noviembre novembro",
    "december dezember decembre diciembre dicembre dezembro",
)
_LONGEST = 40  # characters
ORDERS = frozenset(("day first", "month first"))


def dates_of(text: str) -> dict[str, datetime]:
    """Return the dates that a cell can be: for "day first" and for "month first", or neither.

    A date that begins with the year, or that names the month, is the same for both.
    """
    return _dates_of(text) if len(text) <= _LONGEST else {}


@lru_cache(1 << 16)
def _dates_of(text: str) -> dict[str, datetime]:
    if found := _OTHER.fullmatch(text):
        one, _, other, year, *clock = found.groups()
        both = {
            "day first": _date(year, other, one, clock),
            "month first": _date(year, one, other, clock),
        }
        return {order: date for order, date in both.items() if date is not None}
    if found := _ISO.fullmatch(text):
        year, _, month, day, *clock = found.groups()
    elif found := _NAMED.fullmatch(text):
        day, name, year, *clock = found.groups()
        month = _month(name)
    elif found := _NAME_FIRST.fullmatch(text):
        name, day, year, *clock = found.groups()
        month = _month(name)
    else:
        return {}
    date = _date(year, month, day, clock)
    return {} if date is None else dict.fromkeys(sorted(ORDERS), date)


@lru_cache(1 << 16)
def seconds_of(text: str) -> float | None:
    """Return the seconds from midnight to the time of day in a cell, or None if it holds none."""
    found = _TIME_OF_DAY.fullmatch(text) if len(text) <= _LONGEST else None
    return None if found is None else _seconds(found.groups())


def is_date(cell: str) -> bool:
    """Whether a cell is a date in numbers. One with a word may also be the title of a table."""
    cell = cell.strip()
    return bool(dates_of(cell)) and bool(_ISO.fullmatch(cell) or _OTHER.fullmatch(cell))


def is_date_or_time(cell: str) -> bool:
    """Whether a cell is a date of any kind or a time of day."""
    cell = cell.strip()
    return bool(dates_of(cell)) or seconds_of(cell) is not None


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


def _month(name: str) -> str:
    """Return the number of the month that a name, or the beginning of one, stands for; else "0".

    "jui", which may be June or July in French, is neither.
    """
    folded = unicodedata.normalize("NFKD", name.casefold())
    plain = "".join(letter for letter in folded if not unicodedata.combining(letter))
    found = [
        number
        for number, names in enumerate(_MONTHS, 1)
        if any(each.startswith(plain) for each in names.split())
    ]
    return str(found[0]) if len(found) == 1 else "0"


def _date(year: str, month: str, day: str, clock: Sequence[str | None]) -> datetime | None:
    seconds = _seconds(clock)
    try:
        date = datetime(int(year), int(month), int(day))
    except ValueError:
        return None
    return None if seconds is None else date + timedelta(seconds=int(seconds))


def _seconds(clock: Sequence[str | None]) -> float | None:
    """Return the seconds of hour, minute, second and "a" or "p", 0 where there are none."""
    *numbers, half = clock
    hour, minute, second = (float(number or 0) for number in numbers)
    if half:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + 12 * (half in "pP")
    if hour >= 24 or minute >= 60 or second >= 60:
        return None
    return 3600 * hour + 60 * minute + second
