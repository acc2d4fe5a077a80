"""How a file writes its numbers: decimal point or comma, thousands separators, units.

A cell such as "1,234" may be read in two ways. The whole column decides, then the other columns of
the file, then the delimiter; never a single row.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

POINT, COMMA = ".", ","
NAMES = {POINT: "decimal point", COMMA: "decimal comma"}
_LONGEST = 100  # characters of a number that is not as in Python: patterns are slow on long text
UNITS = "%€$£¥"
_SPACES = " \u00a0\u202f\u2009"  # also those that do not break a line
_EXPONENT = r"(?:[eE][+-]?[0-9]+)?"
_UNIT = re.compile(rf"([+-]?)\s*([{UNITS}]?)\s*(.*?)\s*([{UNITS}]?)", re.DOTALL)
_DOUBTFUL = re.compile(rb"[0-9]\.[0-9]{3}")
_LONG = re.compile(r"[+-]?[0-9]{4}")


def _pattern(decimal: str) -> re.Pattern[str]:
    """Return what matches numbers with a decimal mark; the group is a thousands separator."""
    marks = _SPACES + "'\u2019" + (COMMA if decimal == POINT else POINT)
    whole = rf"(?:[1-9][0-9]{{0,2}}(?:([{marks}])[0-9]{{3}})(?:\1[0-9]{{3}})*|[0-9]+)"
    mark = re.escape(decimal)
    return re.compile(rf"[+-]?(?:{whole}(?:{mark}[0-9]*)?|{mark}[0-9]+){_EXPONENT}")


def _certain(decimal: str) -> str:
    """Return a pattern of what makes a mark between digits one of decimals."""
    mark = re.escape(decimal)
    four = f"[0-9]{{4}}{mark}[0-9]"
    return f"(?<![0-9{mark}])0?{mark}[0-9]|{four}|[0-9]{mark}(?![0-9]{{3}}(?![0-9]))[0-9]"


_PATTERNS = {decimal: _pattern(decimal) for decimal in NAMES}
_CERTAIN = {decimal: re.compile(_certain(decimal)) for decimal in NAMES}
_PLAIN = {decimal: re.compile(rf"[0-9eE+\-\n{decimal}]*") for decimal in NAMES}
_FOUR = re.compile("[0-9]{4}")
_DECIMALS = re.compile(_certain(POINT).encode())


class Notation(NamedTuple):
    """How the numbers of a column are written.

    Attributes
    ----------
    decimal : "." or ","
    unit : str
        The sign that stands at each number, "" for none.
    grouped : bool
        Whether thousands are separated in some of the numbers.
    """

    decimal: str = POINT
    unit: str = ""
    grouped: bool = False

    def number(self, text: str) -> float:
        """Return the number in a cell; raise ValueError if it is written in another way."""
        unit, rest = split_unit(text.strip())
        if unit != self.unit:
            raise ValueError(f"{text!r} has the unit {unit!r}")
        value = float(plain(rest, self.decimal))
        if not math.isfinite(value):
            raise ValueError(f"{text!r} is not finite")
        return value

    def numbers(self, texts: Iterable[str]) -> list[float]:
        """Return the numbers in cells that are known to be written so."""
        if self.grouped or self.unit:
            return [self.number(text) for text in texts]
        if self.decimal == POINT:
            return list(map(float, texts))
        return [float(text.replace(self.decimal, POINT)) for text in texts]

    def __str__(self) -> str:
        """Return what is not as in Python, such as "decimal comma, unit %"."""
        parts = [NAMES[self.decimal]] * (self.decimal != POINT)
        parts += ["separated thousands"] * self.grouped
        parts += [f"unit {self.unit}"] * bool(self.unit)
        return ", ".join(parts)


def split_unit(text: str) -> tuple[str, str]:
    """Return the sign of percent or of a currency, and the number without it."""
    found = _UNIT.fullmatch(text) if len(text) <= _LONGEST else None
    if found is None or (found[2] and found[4]):
        return "", text
    unit = found[2] or found[4]
    return (unit, found[1] + found[3]) if unit else ("", text)


def plain(text: str, decimal: str) -> str:
    """Return a number as Python writes it; raise ValueError if it is none in this notation."""
    found = _PATTERNS[decimal].fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no number with a {NAMES[decimal]}")
    if found[1]:
        text = text.replace(found[1], "")
    return text.replace(COMMA, POINT)


class Facts(NamedTuple):
    """What a cell says about the notation of its column."""

    decimals: frozenset[str]  # marks with which it is a number; none: it is no number
    marked: bool  # whether another mark would make it another number
    grouped: frozenset[str]  # decimal marks with which its thousands are separated
    long: bool  # whether it has four digits and more without a separator
    unit: str


_NO_NUMBER = Facts(frozenset(), False, frozenset(), False, "")


def facts_of(text: str) -> Facts:
    """Return what a cell says, without spaces around it."""
    return _facts_of(text) if len(text) <= _LONGEST else _NO_NUMBER


@lru_cache(1 << 16)
def _facts_of(text: str) -> Facts:
    unit, text = split_unit(text)
    found = {decimal: _PATTERNS[decimal].fullmatch(text) for decimal in NAMES}
    if "e" in text or "E" in text:
        found = {mark: match for mark, match in found.items() if match and _is_finite(text, mark)}
    decimals = frozenset(decimal for decimal, match in found.items() if match)
    grouped = frozenset(decimal for decimal, match in found.items() if match and match[1])
    marked = POINT in text or COMMA in text
    return Facts(decimals, marked, grouped, _LONG.match(text) is not None, unit)


def _is_finite(text: str, decimal: str) -> bool:
    return math.isfinite(float(plain(text, decimal)))


def is_written(text: str) -> bool:
    """Whether a cell is a number in some notation, as spreadsheets write it."""
    return bool(facts_of(text.strip()).decimals)


def has_decimals(delimiter: str, content: bytes) -> bool:
    """Whether nothing in a text that was read with decimal points makes them doubtful.

    Between commas, points are decimal points. Otherwise one number such as 1.5 or 0.125 tells, or
    there is no number such as 1.234.
    """
    return (
        delimiter == COMMA
        or b"." not in content  # which is found much faster
        or _DECIMALS.search(content) is not None
        or _DOUBTFUL.search(content) is None
    )


class Evidence:
    """What the cells of a column say together about their notation."""

    # There may be very many columns.
    __slots__ = ("example", "grouped", "long", "marked", "only", "possible", "units")

    def __init__(self) -> None:
        self.possible = frozenset(NAMES)
        self.marked = False
        self.grouped: frozenset[str] = frozenset()
        self.long = False
        self.units: set[str] = set()
        self.example = ""  # a cell that can be read in two ways
        self.only: dict[str, tuple[int, str]] = {}  # for each mark, a line that needs it

    def add(self, text: str, line: int) -> bool:
        """Take a cell into account; return whether it is a number."""
        facts = facts_of(text)
        if not facts.decimals:
            return False
        self.units.add(facts.unit)
        self.grouped |= facts.grouped
        self.long |= facts.long
        if facts.marked:
            self.marked = True
            self.possible &= facts.decimals
            if len(facts.decimals) == 1:
                self.only.setdefault(min(facts.decimals), (line, text))
            else:
                self.example = self.example or text
        return True

    def add_all(self, texts: Sequence[str], lines: Sequence[int]) -> bool:
        """Take cells into account; return whether all are numbers."""
        joined = "\n".join(texts)
        if any(self._add_plain(mark, joined, texts, lines) for mark in NAMES):
            return True
        numbers = [self.add(text, line) for text, line in zip(texts, lines, strict=True)]
        return all(numbers)

    def _add_plain(
        self, mark: str, joined: str, texts: Sequence[str], lines: Sequence[int]
    ) -> bool:
        """Take cells into account if they hold no other mark and one needs it; this is faster."""
        certain = _CERTAIN[mark].search(joined)
        if not _PLAIN[mark].fullmatch(joined) or (mark in joined and not certain):
            return False
        cells = joined.replace(mark, POINT).split("\n")
        try:
            # A cell may have a line break in it.
            if len(cells) != len(texts) or any(map(math.isinf, map(float, cells))):
                return False
        except ValueError:
            return False
        self.units.add("")
        self.long = self.long or _FOUR.search(joined) is not None
        if certain:
            self.marked = True
            self.possible &= {mark}
            place = joined.count("\n", 0, certain.end())
            self.only.setdefault(mark, (lines[place], texts[place]))
        return True

    def decimals(self) -> frozenset[str]:
        """Return the decimal marks with which all numbers of the column agree.

        Where some thousands are separated, all are: "1,234" beside "5678" is not a thousand.
        """
        if len(self.possible) > 1 and self.long:
            return self.possible - self.grouped or self.possible
        return self.possible

    def notation(self, decimal: str) -> Notation:
        """Return the notation of the column with this decimal mark."""
        unit = next(iter(self.units)) if len(self.units) == 1 else ""
        return Notation(decimal, unit, decimal in self.grouped)

    def conflict(self) -> str:
        """Return which cells need different marks, or ""."""
        if self.possible:
            return ""
        (first, one), (second, other) = self.only[POINT], self.only[COMMA]
        return f"{one!r} in line {first} has a decimal point and {other!r} in line {second} a comma"


class Settled(NamedTuple):
    """The notations of columns, and those columns of which nothing decided."""

    notations: dict[int, Notation]
    assumed: tuple[int, ...]


def settle(columns: Mapping[int, Evidence], delimiter: str, decimal: str | None = None) -> Settled:
    """Decide how the numbers of each column are written.

    Parameters
    ----------
    columns : mapping of positions to Evidence
        Without conflicts.
    delimiter : str
    decimal : "." or ",", optional
        The decimal mark of the whole file, if it is known.
    """
    common = _common(columns.values())
    notations, assumed = {}, []
    for place, evidence in columns.items():
        possible = evidence.decimals()
        if not evidence.marked:
            mark = POINT  # it does not matter
        elif decimal is not None:
            mark = decimal
        elif len(possible) == 1:
            (mark,) = possible
        elif common:
            mark = common
        else:
            by_delimiter = decimal_of(delimiter, evidence.example)
            mark = by_delimiter or POINT
            if not by_delimiter and len(evidence.units) == 1:  # of several, a cell is refused
                assumed.append(place)
        notations[place] = evidence.notation(mark)
    return Settled(notations, tuple(assumed))


def decimal_of(delimiter: str, example: str) -> str:
    """Return the decimal mark that the delimiter decides for a cell such as "1,234", or "".

    Programs separate cells by semicolons where the comma is the decimal mark, and by commas where
    the point is. A point between semicolons may be either.
    """
    if delimiter == COMMA:
        return POINT
    return COMMA if delimiter == ";" and COMMA in example else ""


def _common(columns: Iterable[Evidence]) -> str:
    """Return the decimal mark that all columns agree on of which the own cells decide, or ""."""
    decided = {
        next(iter(found)) for each in columns if each.marked and len(found := each.decimals()) == 1
    }
    return decided.pop() if len(decided) == 1 else ""


def assumption(name: str, column: str, evidence: Evidence, notation: Notation) -> str:
    """Return the warning about a column of which nothing decided."""
    value = notation.number(evidence.example)
    other = COMMA if notation.decimal == POINT else POINT
    return (
        f"{name}, column {column}: {evidence.example!r} is read as {value:g}, as nothing in the "
        f"file decides whether the {'point' if POINT in evidence.example else 'comma'} separates "
        f"decimals or thousands; decimal={notation.decimal!r} says so, and decimal={other!r} reads "
        f"{evidence.notation(other).number(evidence.example):g}"
    )
