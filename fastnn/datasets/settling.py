"""The notation of the numbers in a table of features and labels, which all of its rows decide."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from fastnn.checks.warning import warn
from fastnn.datasets.layout import shown
from fastnn.datasets.notation import COMMA, Evidence, Notation, assumption, settle
from fastnn.datasets.readers import CellError, Form

_ROWS = 1024  # of which cells are looked at together


def notations_of(
    rows: Iterable[tuple[int, list[str]]], form: Form, decimal: str | None = None
) -> dict[int, Notation]:
    """Return the notations of the features, and of labels that are numbers; warn of doubts."""
    columns = {i: Evidence() for i in form.taken}
    label, names = Evidence(), form.label is None
    rows = iter(rows)
    while block := list(islice(rows, _ROWS)):
        lines, records = zip(*block, strict=True)
        cells = [[text.strip() for text in column] for column in zip(*records, strict=True)]
        for i, evidence in columns.items():
            evidence.add_all(cells[i], lines)
        if form.label is not None and not names:
            names = not label.add_all(cells[form.label], lines)
    if form.label is not None and not names and label.units == {""}:
        columns[form.label] = label
    for i, evidence in columns.items():
        conflict = evidence.conflict()
        if conflict and decimal is None:  # with a mark, the cell that is written otherwise is named
            raise CellError(
                f"{form.name}, column {form.place(i)}: {conflict}; need one notation in a column"
            )
    notations, assumed = settle(columns, form.delimiter, decimal)
    for i in assumed:
        warn(assumption(form.name, form.place(i), columns[i], notations[i]))
    if form.label in notations and not _are_numbers(form, label, notations[form.label].decimal):
        del notations[form.label]
    return notations


def _are_numbers(form: Form, label: Evidence, mark: str) -> bool:
    """Whether labels are numbers with this decimal mark; warn where they may be names."""
    if mark not in label.possible:
        return False
    if form.delimiter == mark == COMMA:
        text = label.only[COMMA][1] if COMMA in label.only else label.example
        warn(
            f"{form.name}: labels such as {text!r} are read as numbers with a decimal comma; "
            "decimal='.' takes them for names of classes"
        )
    return True


def notes_of(form: Form) -> tuple[str, ...]:
    """Return how numbers are written that are not as in Python, and in which columns."""
    columns: dict[str, list[str]] = {}
    for i, notation in (form.notations or {}).items():
        columns.setdefault(str(notation), []).append(form.place(i))
    return tuple(f"{how}: {shown(names)}" for how, names in columns.items() if how)


def decimal_points(content: bytes, form: Form) -> bytes:
    """Return a text with decimal points for commas, or b"" where this does not suffice.

    The fast readers take it then.
    """
    notations = form.notations or {}
    simple = all(notation in (Notation(COMMA), Notation()) for notation in notations.values())
    labels = form.label is None or form.label in notations
    rows = content.split(b"\n", form.header)[-1]
    if not simple or not labels or form.delimiter == COMMA or b'"' in rows or b"." in rows:
        return b""
    return content.replace(b",", b".")
