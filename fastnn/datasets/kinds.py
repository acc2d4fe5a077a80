"""What the cells of a column are together: numbers, dates, truth values or text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

from fastnn.datasets.columns import MISSING
from fastnn.datasets.dates import ORDERS, dates_of, orders_of, seconds_of
from fastnn.datasets.notation import NAMES, Evidence, facts_of

TRUTHS = ({"true": True, "false": False}, {"yes": True, "no": False})
_CODE = re.compile(r"0[0-9]+")
_NAMED = 5  # texts among numbers that are named


class Cells:
    """The cells of a column.

    Attributes
    ----------
    counts : dict of str to int
        How often each text occurs that is not missing.
    lines : dict of str to int
        The line where each occurs first.
    """

    def __init__(
        self, texts: Sequence[str], lines: Sequence[int], markers: frozenset[str] = MISSING
    ) -> None:
        counts = Counter(texts)
        markers = markers_of(counts.keys(), markers)
        self.counts = {text: count for text, count in counts.items() if text not in markers}
        self.lines = dict(zip(reversed(texts), reversed(lines), strict=True))

    @property
    def first(self) -> tuple[list[str], list[int]]:
        """The texts that are not missing, as they come, and the line where each occurs first."""
        texts = list(self.counts)
        return texts, [self.lines[text] for text in texts]

    @property
    def present(self) -> int:
        """Number of cells that are not missing."""
        return sum(self.counts.values())

    def among(self, is_one: Callable[[str], object]) -> tuple[int, list[str]]:
        """Return how many cells are of a kind, and the texts that are not, as they come."""
        others = [text for text in self.counts if not is_one(text)]
        return self.present - sum(self.counts[text] for text in others), others


class Kind(NamedTuple):
    """What the cells of a column are.

    Attributes
    ----------
    name : {"number", "date", "boolean", "text", "mixed", "empty"}
    note : str
        What is odd about it, or "".
    evidence : Evidence or None
        How numbers are written that are no times of day.
    """

    name: str
    note: str = ""
    evidence: Evidence | None = None


def markers_of(texts: Collection[str], markers: frozenset[str]) -> frozenset[str]:
    """Return what stands for a missing value in a column.

    A "-" does not where there is a "+".
    """
    return markers - {"-"} if "+" in texts else markers


def kind_of(
    cells: Cells, marks: frozenset[str] = frozenset(NAMES), orders: frozenset[str] = ORDERS
) -> Kind:
    """Decide what a column is, by all of its cells.

    Where most are numbers, or most are dates, but not all, it is mixed, and the others are named.

    Parameters
    ----------
    cells : Cells
    marks : frozenset of str
        The decimal marks that numbers may have.
    orders : frozenset of str
        The orders of day and month that dates may have.
    """
    if not cells.counts:
        return Kind("empty", "all cells are missing")
    if truths_of(cells.counts) is not None:
        return Kind("boolean")
    evidence = Evidence()
    all_numbers = evidence.add_all(*cells.first)
    if not all_numbers or not evidence.possible & marks:
        count, others = cells.among(lambda text: facts_of(text).decimals & marks)
        if 2 * count <= cells.present:
            return _of_dates(cells, orders)
        if others:
            return Kind("mixed", others_among("numbers", count, others, cells))
        return Kind("mixed", evidence.conflict())
    if len(evidence.units) > 1:
        signs = ", ".join(sorted(unit or "none" for unit in evidence.units))
        return Kind("mixed", f"numbers with different units: {signs}")
    if any(map(_CODE.fullmatch, cells.counts)):
        return Kind("text", "codes that begin with 0")
    return Kind("number", evidence=evidence)


def _of_dates(cells: Cells, orders: frozenset[str]) -> Kind:
    """Return what a column is that is not of numbers as they are written."""
    count, others = cells.among(lambda text: seconds_of(text) is not None)
    if not others:
        return Kind("number", "seconds of times of day")
    if 2 * count > cells.present:
        return Kind("mixed", others_among("times of day", count, others, cells))
    count, others = cells.among(lambda text: dates_of(text).keys() & orders)
    if 2 * count <= cells.present:
        return Kind("text")
    if others:
        return Kind("mixed", others_among("dates", count, others, cells))
    if not orders_of(cells.counts, orders):
        return Kind("mixed", "dates, some with the day first and some with the month first")
    return Kind("date")


def truths_of(texts: Collection[str]) -> Mapping[str, bool] | None:
    """Return the meaning of the words if all texts are true or false, or all yes or no."""
    return next(
        (truths for truths in TRUTHS if all(text.lower() in truths for text in texts)), None
    )


def others_among(what: str, count: int, others: Sequence[str], cells: Cells) -> str:
    """Return how many cells of a column are something else than most, which, and in which line."""
    cells_of_others = cells.present - count
    named = ", ".join(f"{text!r} in line {cells.lines[text]}" for text in others[:_NAMED])
    more = f" and {len(others) - _NAMED} more" * (len(others) > _NAMED)
    noun = "text" if cells_of_others == 1 else "texts"
    return f"{count:,} {what} and {cells_of_others:,} {noun}: {named}{more}"
