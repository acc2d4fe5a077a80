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
PREDICTED = {"p50": "one row, p50", "p99": "one row, p99", "seconds": "10,000 rows"}


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
    for key, name in {"seconds": f"{cell['batch']}"}.items() if training else PREDICTED.items():
        times, ratios = compare(cell, key)
        fastest = min((c for c in times if c != "fastnn"), key=times.__getitem__, default="fastnn")
        if training:
            figures = {c: f"{cell['rows'] / t:,.0f}" for c, t in times.items()}
        else:
            name = f"{cell['network']}, {name}"
            figures = {c: f"{1e6 * t:,.{1 if t < 1e-3 else 0}f}" for c, t in times.items()}
        yield name, figures, fastest, ratios[fastest]


def section(cells: list[Cell]) -> str:
    """Return cells of one kind, network (of training) and number of cores as a Markdown table."""
    first = cells[0]
    training = first["cell"] == "training"
    cores = "one core" if first["cores"] == 1 else f"{first['cores']} cores"
    title = f"Training `{first['network']}` {first['sizes']} on {cores}, samples a second:"
    if not training:
        title = f"Prediction on {cores}, microseconds a call:"
    contenders = list(dict.fromkeys(c for cell in cells for c in cell["turns"]))
    lines = [["batch" if training else "network", *contenders, "fastest peer", "ratio"]]
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
    for kind, cores in dict.fromkeys((cell["cell"], cell["cores"]) for cell in cells):
        chosen = [cell for cell in cells if (cell["cell"], cell["cores"]) == (kind, cores)]
        ratios = [ratio for cell in chosen for *_, ratio in rows_of(cell)]
        lost = sum(ratio < 1 for ratio in ratios)
        mean = geometric_mean(ratios)
        lines.append(f"- {kind}, cores {cores}: {mean:.2f}, {lost} of {len(ratios)} below 1")
    return "\n".join(lines)


def report(results: dict[str, Any]) -> str:
    """Return all of a file's tables as Markdown."""

    def table_of(cell: Cell) -> tuple[Any, ...]:
        training = cell["cell"] == "training"
        return cell["cores"], cell["cell"], cell["network"] if training else ""

    sections = [section(list(cells)) for _, cells in groupby(results["cells"], table_of)]
    return "\n\n".join([*sections, means(results["cells"])])


def main() -> None:
    """Print the tables of a file that `peers.py` wrote."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file", type=Path, help="what `peers.py --json` wrote")
    print(report(json.loads(parser.parse_args().file.read_text())))


if __name__ == "__main__":
    main()
