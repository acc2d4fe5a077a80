"""The notation of the numbers in a table of features and labels, which all of its rows decide."""

from __future__ import annotations

from collections.abc import Iterable

from fastnn.checks.warning import warn
from fastnn.datasets.notation import COMMA, Evidence, Notation, assumption, settle
from fastnn.datasets.readers import Form


def notations_of(
    rows: Iterable[tuple[int, list[str]]], form: Form, decimal: str | None = None
) -> dict[int, Notation]:
    """Return the notations of the features, and of labels that are numbers; warn of doubts."""
    columns = {i: Evidence() for i in form.taken}
    label, names = Evidence(), form.label is None
    for line, cells in rows:
        for i, evidence in columns.items():
            evidence.add(cells[i].strip(), line)
        if form.label is not None and not names:
            names = not label.add(cells[form.label].strip(), line)
    if form.label is not None and not names and label.units == {""}:
        columns[form.label] = label
    for i, evidence in columns.items():
        conflict = evidence.conflict()
        if conflict and decimal is None:  # with a mark, the cell that is written otherwise is named
            raise ValueError(
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


def decimal_points(content: bytes, form: Form) -> bytes:
    """Return a text with decimal points for commas, or b"" where this does not suffice.

    The fast readers take it then.
    """
    notations = form.notations or {}
    simple = all(notation == Notation(COMMA) for notation in notations.values())
    labels = form.label is None or form.label in notations
    rows = content.split(b"\n", form.header)[-1]
    if not simple or not labels or form.delimiter == COMMA or b'"' in rows or b"." in rows:
        return b""
    return content.replace(b",", b".")
