"""Where the table of a text file begins, what separates its cells, and what is no part of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple, TextIO, TypeAlias

from fastnn.datasets.columns import is_number
from fastnn.datasets.dates import is_date
from fastnn.datasets.notation import COMMA, is_written
from fastnn.datasets.readers import has_decimal_comma, records

DELIMITERS = ",;\t"
_LINES = 32  # to look at
_CELLS = 1 << 12  # to look at
_HEAD = 1 << 14  # characters, of which one is a delimiter
_SHOWN = 40  # characters of a line
_SEP = re.compile(r'\s*"?sep=([,;\t])"?\s*', re.IGNORECASE)

Record: TypeAlias = tuple[int, list[str]]  # its line and its cells


class Dialect(NamedTuple):
    """The beginning of a file.

    Attributes
    ----------
    delimiter : str
    records : list of (int, list of str)
        The first ones of the table, with their lines; empty columns at the end are left out.
    padding : int
        Number of columns at the end that have no name and no cells.
    before : list of (int, list of str)
        What stands before the table and is no comment.
    """

    delimiter: str
    records: list[Record]
    padding: int
    before: list[Record]


def dialect_of(name: str, opened: Callable[[], TextIO], decimal: str | None = None) -> Dialect:
    """Find out how the table of a text is written.

    Parameters
    ----------
    name : str
        Of the file, for errors.
    opened : callable
        Returns the text, from its start.
    decimal : "." or ",", optional
        The decimal mark of the file, if it is known.
    """
    line = next((line for line in opened() if line.strip()), "")
    told = _SEP.fullmatch(line)
    samples = _samples(opened, told[1] if told else DELIMITERS)
    if told:
        delimiter = told[1]
    elif decimal == COMMA and list(samples) == [COMMA] and _is_one_column(samples[COMMA]):
        delimiter = ";"  # which does not occur
    else:
        delimiter = delimiter_of(samples, line)
    # Where nothing parts cells, reading may say why.
    found = samples.get(delimiter) or sample(records(opened(), delimiter, name))
    first = start_of(found) if not told else max(1, start_of(found))
    before = [record for record in found[bool(told) : first] if not is_comment(record[1])]
    table = [record for record in found[first:] if not _is_left_out(record[1], found)]
    width, padding = padding_of([cells for _, cells in table])
    table = [(at, cells[: max(width, last_filled(cells))]) for at, cells in table]
    return Dialect(delimiter, table, padding, before)


def sample(found: Iterable[Record]) -> list[Record]:
    """Return the first records, as many as are looked at: two at least."""
    taken, cells = [], 0
    for record in found:
        taken.append(record)
        cells += len(record[1])
        if len(taken) == _LINES or (cells >= _CELLS and len(taken) > 1):
            break
    return taken


def _samples(opened: Callable[[], TextIO], delimiters: str) -> dict[str, list[Record]]:
    """Return the first records with each delimiter that occurs and can be used."""
    head = opened().read(_HEAD)
    found = {}
    for delimiter in filter(head.__contains__, delimiters):
        with suppress(ValueError):  # such as a line that is too long for one cell
            found[delimiter] = sample(records(opened(), delimiter, ""))
    return found


def delimiter_of(samples: Mapping[str, Sequence[Record]], line: str) -> str:
    """Return what separates the cells: the sign with which most lines have as many cells.

    Of several such signs, that with which more cells are numbers and dates, so that "0,5;1,5" has
    two cells with decimal commas. Of these, the one of which the first line has more.

    Parameters
    ----------
    samples : mapping of str to sequence of (int, list of str)
        The first records with each delimiter.
    line : str
        The first line.
    """
    rows: dict[str, list[list[str]]] = {}
    shares: dict[str, float] = {}
    for delimiter, found in samples.items():
        width = width_of(found)
        if width > 1:
            rows[delimiter] = [cells for _, cells in found if len(cells) == width]
            shares[delimiter] = len(rows[delimiter]) / len(found)
    best = [each for each in rows if shares[each] == max(shares.values())]
    if len(best) == 1:
        return best[0]
    unquoted = re.sub('"[^"]*"', "", line)
    values = {each: _share_of_data(rows[each]) for each in best}
    return max(best or DELIMITERS, key=lambda each: (values.get(each, 0), unquoted.count(each)))


def _is_one_column(found: Sequence[Record]) -> bool:
    """Whether all commas are within numbers, a line each, below a name without a comma or none."""
    rows = [cells for _, cells in found]
    rows = rows[1:] if len(rows[0]) == 1 else rows
    alike = max(map(len, rows), default=0) == 2
    return alike and all(len(cells) == 1 or has_decimal_comma(cells) for cells in rows)


def _share_of_data(rows: Sequence[Sequence[str]]) -> float:
    cells = [cell for row in rows for cell in row]
    return sum(map(is_data, cells)) / len(cells)


def width_of(found: Sequence[Record]) -> int:
    """Return the number of cells that most records have; of two, the larger."""
    counts = Counter(len(cells) for _, cells in found)
    return max(counts, key=lambda width: (counts[width], width), default=0)


def start_of(found: Sequence[Record]) -> int:
    """Return the position of the first record of the table, after comments and titles."""
    width = width_of(found)
    agreed = sum(len(cells) == width for _, cells in found) > 1
    first = 0
    while agreed and first < len(found) - 2:
        cells, following = found[first][1], found[first + 1][1]
        if not _is_left_out(cells, found) and not is_title(cells, following, width):
            break
        first += 1
    return first


def is_comment(cells: Sequence[str]) -> bool:
    """Whether a record begins as a comment does."""
    return cells[0].lstrip().startswith("#")


def _is_left_out(cells: Sequence[str], found: Sequence[Record]) -> bool:
    """Whether a record is a comment: it has another number of cells than the table."""
    return is_comment(cells) and len(cells) != width_of(found)


def is_title(cells: Sequence[str], following: Sequence[str], width: int) -> bool:
    """Whether a record before the table is no part of it, such as the name of a report.

    It has text in its first cells and nothing in the others, two fewer than the table has at least,
    or one cell of two. Of two, or where it has as many cells as the table, a header comes after it.
    """
    filled = len([cell for cell in cells if cell.strip()])
    if filled > max(1, width - 2) or any(cell.strip() for cell in cells[filled:]):
        return False
    if all(map(is_data, cells[:filled])):
        return False
    named = all(cell.strip() and not is_data(cell) for cell in following)
    if len(cells) < width:
        return width > 2 or named  # a name above "1,5" is that of a single column
    return filled == 1 and width > 2 and (named or not any(map(str.strip, following[1:])))


def padding_of(rows: Sequence[Sequence[str]]) -> tuple[int, int]:
    """Return the number of columns, and how many more are empty and without a name at the end.

    These are what a delimiter at the end of each line makes.
    """
    width = max(map(len, rows), default=0)
    filled = max(map(last_filled, rows), default=0)
    if len(rows) < 2 or filled == width or any(len(row) < filled for row in rows):
        return len(rows[0]) if rows else 0, 0
    return filled, max(map(len, rows[1:])) - filled


def last_filled(cells: Sequence[str]) -> int:
    """Return the number of cells up to the last one that is not empty."""
    return max((i for i, cell in enumerate(cells, 1) if cell.strip()), default=0)


def is_data(cell: str) -> bool:
    """Whether a cell of the first line looks like one of a row: a number or a date."""
    return is_number(cell) or is_written(cell) or is_date(cell)


def before_the_table(name: str, dialect: Dialect) -> str:
    """Return the warning about lines that are left out."""
    lines = ", ".join(map(_shown, dialect.before))
    start = dialect.records[0][0]
    return (
        f"{name}: the table begins in line {start}, and what stands before it is left out: {lines}"
    )


def _shown(record: Record) -> str:
    text = " ".join(cell.strip() for cell in record[1] if cell.strip())
    return f"{text if len(text) <= _SHOWN else text[:_SHOWN] + '...'!r} in line {record[0]}"
