"""The tables of `tabular.py`, from what it measured."""

from __future__ import annotations

from statistics import geometric_mean, mean
from typing import Any

from cliffs_report import markdown

Result = dict[str, Any]
BASELINE = "scikit-learn MLP"
COVERAGE = 0.9  # of the intervals
NONE = "-"  # what was not measured


def cells_of(results: Result, of_set: str, contender: str) -> dict[int, Result]:
    """Return the cells of a contender on a set, by split."""
    found = (c for c in results["cells"] if (c["set"], c["contender"]) == (of_set, contender))
    return {cell["split"]: cell for cell in found}


def sets(results: Result) -> dict[str, Result]:
    """Return what the sets hold: those of numbers first, and the smallest first of each kind."""
    found = results["sets"].items()
    return dict(sorted(found, key=lambda each: (each[1]["kind"] == "classes", each[1]["rows"])))


def contenders(results: Result) -> list[str]:
    """Return all contenders, in the order in which they were measured."""
    return list(dict.fromkeys(cell["contender"] for cell in results["cells"]))


def error(results: Result, of_set: str, contender: str) -> str:
    """Return the mean error of a contender on a set as a table shows it."""
    cells = cells_of(results, of_set, contender)
    if not cells:
        return NONE
    value = mean(cell["error"] for cell in cells.values())
    return f"{value:.2%}" if results["sets"][of_set]["kind"] == "classes" else f"{value:.3f}"


def ratios(results: Result, contender: str, figure: str) -> list[float]:
    """Return for each set a contender's figure in that of the baseline, over the same splits."""
    found = []
    for of_set, about in results["sets"].items():
        ours, theirs = (cells_of(results, of_set, name) for name in (contender, BASELINE))
        if not (both := ours.keys() & theirs.keys()):
            continue
        # An error of 0 counts as half a row, as a geometric mean needs numbers above 0.
        least = 0.5 / (0.2 * about["rows"] * len(both)) if figure == "error" else 1e-9
        means = [max(least, mean(cells[s][figure] for s in both)) for cells in (ours, theirs)]
        found.append(means[0] / means[1])
    return found


def means(results: Result, figure: str) -> list[str]:
    """Return the geometric means over the sets, and over how many where these are not all."""
    shown = []
    for name in contenders(results):
        found = ratios(results, name, figure)
        text = f"{geometric_mean(found):.2f}" if found else NONE
        some = found and len(found) < len(results["sets"])
        shown.append(f"{text} ({len(found)} sets)" if some else text)
    return shown


def described(about: Result) -> str:
    """Return what a set holds."""
    targets = f"{about['classes']} classes" if about["kind"] == "classes" else "numbers"
    return f"{about['rows']:,} x {about['columns']}, {targets}"


def errors(results: Result) -> str:
    """Return the errors of all sets, and the means."""
    names = contenders(results)
    table = [["set", "rows, columns, targets", "splits", *names]]
    for of_set, about in sets(results).items():
        counts = {len(found) for n in names if (found := cells_of(results, of_set, n))}
        splits = f"{min(counts)} to {max(counts)}" if len(counts) > 1 else f"{max(counts)}"
        figures = (error(results, of_set, name) for name in names)
        table.append([of_set, described(about), splits, *figures])
    for title, figure in (("error", "error"), ("CPU seconds", "seconds")):
        table.append([f"{title}, in that of {BASELINE}", "", "", *means(results, figure)])
    return markdown(table)


def coverage(results: Result) -> str:
    """Return the share of test rows that lie within the intervals of 90%."""
    table = [["set", "splits", f"within intervals of {COVERAGE:.0%}", "least", "most"]]
    for of_set in sets(results):
        for name in contenders(results):
            cells = cells_of(results, of_set, name).values()
            if shares := [cell["coverage"] for cell in cells if "coverage" in cell]:
                figures = (f"{value:.1%}" for value in (mean(shares), min(shares), max(shares)))
                table.append([of_set, f"{len(shares)}", *figures])
    return markdown(table) if len(table) > 1 else ""


def everything(results: Result) -> str:
    """Return all tables."""
    return "\n\n".join(text for text in (errors(results), coverage(results)) if text)
