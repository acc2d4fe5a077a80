"""The tables of `peers.py`, from what it measured: ``python bench/peers_report.py FILE``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from statistics import geometric_mean, median
from typing import Any

Cell = dict[str, Any]
# Of each kind: the figures of a turn, and what a table calls them.
FIGURES = {
    "training": {"seconds": ""},
    "prediction": {"p50": "one row, p50", "p99": "one row, p99", "seconds": "10,000 rows"},
    "learning": {"p50": "p50", "p99": "p99"},
}
NAMES = {
    "training": "training", "prediction": "prediction", "learning": "learning from one row"
}  # fmt: skip
OPTIMIZERS = {"sgd": "gradient descent", "momentum": "momentum", "adam": "Adam"}


def compare(cell: Cell, key: str) -> tuple[dict[str, float], dict[str, float]]:
    """Return each contender's median seconds, and how many times fastnn's time it takes."""
    times = {name: [turn[key] for turn in turns] for name, turns in cell["turns"].items()}
    ratios = {
        name: median(t / ours for t, ours in zip(values, times["fastnn"], strict=True))
        for name, values in times.items()
    }
    return {name: median(values) for name, values in times.items()}, ratios


def rows_of(cell: Cell) -> Iterator[tuple[str, dict[str, str], str, float]]:
    """Yield for each row of a table its name, the contenders' figures, the fastest peer, its ratio.

    The ratio is the peer's time over fastnn's: above 1, fastnn is faster.
    """
    training = cell["cell"] == "training"
    for key, name in FIGURES[cell["cell"]].items():
        times, ratios = compare(cell, key)
        fastest = min((c for c in times if c != "fastnn"), key=times.__getitem__, default="fastnn")
        if training:
            name = f"{cell['batch']:,}"
            figures = {c: f"{cell['rows'] / t:,.0f}" for c, t in times.items()}
        else:
            subject = cell["network"] if cell["cell"] == "prediction" else cell["optimizer"]
            name = f"{subject}, {name}"
            figures = {c: f"{1e6 * t:,.{1 if t < 1e-3 else 0}f}" for c, t in times.items()}
        yield name, figures, fastest, ratios[fastest]


def table_of(cell: Cell) -> tuple[Any, ...]:
    """Return which table a cell is in."""
    if cell["cell"] == "training":
        return cell["cores"], "training", cell["network"], cell["optimizer"]
    return cell["cores"], cell["cell"]


def where(cores: int) -> str:
    """Return so many cores in words."""
    return "one core" if cores == 1 else f"{cores} cores"


def section(cells: list[Cell]) -> str:
    """Return the cells of a table (see `table_of`) as Markdown."""
    first = cells[0]
    there = where(first["cores"])
    title, column = {
        "training": (
            f"Training `{first['network']}` {first['sizes']} by "
            f"{OPTIMIZERS.get(first['optimizer'])} on {there}, samples a second:",
            "batch",
        ),
        "prediction": (f"Prediction on {there}, microseconds a call:", "network"),
        "learning": (
            f"A step with one row, {first['sizes']} on {there}, microseconds a call:",
            "optimizer",
        ),
    }[first["cell"]]
    contenders = list(dict.fromkeys(c for cell in cells for c in cell["turns"]))
    lines = [[column, *contenders, "fastest peer", "ratio"]]
    lines.append(["---:"] * len(lines[0]))
    for cell in cells:
        for name, figures, fastest, ratio in rows_of(cell):
            shown = [figures.get(c, "-") for c in contenders]
            lines.append([name, *shown, fastest, f"{ratio:.2f}"])
    parts = [title, "\n".join("| " + " | ".join(line) + " |" for line in lines)]
    if (others := max(cell["other_cpus"] for cell in cells)) > 0.1:
        parts.append(
            f"Not to be trusted: other processes kept up to {others:.1f} CPUs busy meanwhile."
        )
    return "\n\n".join(parts)


def means(cells: list[Cell]) -> str:
    """Return the geometric means of the ratios, a line for each kind of work and of cores."""
    lines = ["Time of the fastest peer over fastnn's, geometric mean:", ""]

    def kind_of(cell: Cell) -> tuple[str, int]:
        optimizer = f" by {OPTIMIZERS[cell['optimizer']]}" if cell["cell"] == "training" else ""
        return f"{NAMES[cell['cell']]}{optimizer}", cell["cores"]

    for kind, cores in dict.fromkeys(map(kind_of, cells)):
        ratios = [
            ratio for cell in cells if kind_of(cell) == (kind, cores) for *_, ratio in rows_of(cell)
        ]
        lost = sum(ratio < 1 for ratio in ratios)
        mean = geometric_mean(ratios)
        lines.append(f"- {kind}, {where(cores)}: {mean:.2f}, {lost} of {len(ratios)} below 1")
    return "\n".join(lines)


def report(results: dict[str, Any]) -> str:
    """Return all of a file's tables as Markdown."""
    sections = [section(list(cells)) for _, cells in groupby(results["cells"], table_of)]
    return "\n\n".join([*sections, means(results["cells"])])


def main() -> None:
    """Print the tables of a file that `peers.py` wrote."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file", type=Path, help="what `peers.py --json` wrote")
    print(report(json.loads(parser.parse_args().file.read_text())))


if __name__ == "__main__":
    main()
