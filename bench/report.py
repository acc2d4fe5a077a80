"""Write the generated parts of the documentation: ``python bench/report.py``.

Figures are measured into ``bench/results`` (``--measure``) and written from there: tables into
blocks between ``<!-- name -->`` and ``<!-- /name -->`` of README.md and of pages in docs, and
pictures into docs/images. Help texts are written from the command lines. Nothing in them is typed
by hand.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from statistics import geometric_mean
from typing import Any

import cliffs_report
import digits
import help_texts
import peers_report
import pictures
import products
import roofline
import startup
import tabular_report
import to_accuracy

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results"
README = ROOT / "README.md"
COMMANDS, PERFORMANCE, CELLS, TABLES, DIGITS = (
    ROOT / "docs" / f"{name}.md"
    for name in ("command-line", "performance", "cells", "tabular", "digits")
)
# What is measured, and how long that takes in minutes on two cores.
MINUTES = {
    "main_job": 1, "roofline": 2, "peers": 130, "to_accuracy": 2, "startup": 1, "scaling": 5,
    "cliffs": 10, "random_cells": 20, "tabular": 40, "digits": 140,
}  # fmt: skip


def measure(name: str) -> None:
    """Run a benchmark, and keep what it found."""
    RESULTS.mkdir(exist_ok=True)
    if name == "main_job":
        command = [sys.executable, "-m", "fastnn.train", "--backend", "numba"]
        done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
        (RESULTS / "main_job.txt").write_text(done.stdout)
        return
    (RESULTS / f"{name}.json").unlink(missing_ok=True)  # as the contest adds to what it finds
    command = [sys.executable, str(ROOT / "bench" / f"{name}.py")]
    subprocess.run([*command, "--json", str(RESULTS / f"{name}.json")], check=True)


def result(name: str) -> Any:
    """Return what a benchmark found."""
    return json.loads((RESULTS / f"{name}.json").read_text())


def markdown(cells: list[list[str]]) -> str:
    """Return cells, the headings first, as a table."""
    heading, *rows = cells
    lines = [heading, ["---:"] * len(heading), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def described(machine: dict[str, Any]) -> str:
    """Return what the machine is."""
    return (
        f"{machine['system']}, {machine['cpu']}, {machine['cpus']} CPUs, vectors of "
        f"{machine['vector_bits']} bits; Python {machine['python']}, NumPy {machine['numpy']}, "
        f"Numba {machine['numba']}"
    )


def main_job() -> str:
    """Return what the main job printed."""
    return f"```text\n{(RESULTS / 'main_job.txt').read_text().strip()}\n```"


def roofline_tables() -> str:
    """Return the roofline's tables and the machine that they are from."""
    networks = result("roofline")
    parts = [f"Measured with `python bench/roofline.py` on {described(networks[0]['machine'])}."]
    for network in networks:
        for section in network["sections"]:
            parts += [f"{network['sizes']}, {roofline.title(section)}:"]
            parts += [markdown(roofline.table(section))]
            if rows := section.get("products"):
                parts += [f"The matrix products of {network['sizes']}, one core:"]
                parts += [markdown(products.table(rows))]
        if text := roofline.warning(network["sections"]):
            parts.append(text)
    return "\n\n".join(parts)


def contest_means() -> str:
    """Return how many times the fastest peer's time fastnn takes less, on the whole."""
    cells = result("peers")["cells"]
    cores = list(dict.fromkeys(cell["cores"] for cell in cells))
    ratios: dict[tuple[str, int], list[float]] = {}
    for cell in cells:
        found = [ratio for *_, ratio in peers_report.rows_of(cell)]
        ratios.setdefault((cell["cell"], cell["cores"]), []).extend(found)
    table = [["", *map(peers_report.where, cores)]]
    for kind in dict.fromkeys(kind for kind, _ in ratios):
        of_cores = (ratios.get((kind, count)) for count in cores)
        means = (f"{geometric_mean(each):.2f}" if each else "-" for each in of_cores)
        table.append([peers_report.NAMES[kind], *means])
    of_all = ([r for (_, n), each in ratios.items() if n == count for r in each] for count in cores)
    slower = (f"{sum(ratio < 1 for ratio in each)} of {len(each)}" for each in of_all)
    return markdown([*table, ["cases where fastnn is slower", *slower]])


def contest_summary() -> str:
    """Return how many times the fastest peer's time fastnn takes less, for every cell."""
    results = result("peers")
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    parts = [f"{described(results['machine'])}; {versions}."]
    for (cores, kind), chosen in groupby(results["cells"], lambda c: (c["cores"], c["cell"])):
        if kind == "training":
            table = training_ratios(list(chosen))
            parts += [f"Training on {peers_report.where(cores)}:", markdown(table)]
    for kind, title, subject in (
        ("prediction", "Prediction, microseconds a call:", "network and rows"),
        ("learning", "A step with one row, microseconds a call:", "optimizer"),
    ):
        table = [["cores", subject, "fastnn", "fastest peer", "ratio"]]
        for cell in (cell for cell in results["cells"] if cell["cell"] == kind):
            for name, figures, peer, ratio in peers_report.rows_of(cell):
                there = f"{figures[peer]} ({peer})"
                table.append([f"{cell['cores']}", name, figures["fastnn"], there, f"{ratio:.2f}"])
        if len(table) > 1:
            parts += [title, markdown(table)]
    parts += [peers_report.means(results["cells"])]
    return "\n\n".join(parts)


def training_ratios(cells: list[peers_report.Cell]) -> list[list[str]]:
    """Return the cells of a table of the ratios: networks and optimizers against batch sizes."""
    batches = sorted({cell["batch"] for cell in cells})
    table = [["network", "optimizer", *(f"batch {batch:,}" for batch in batches)]]
    for _, row in groupby(cells, peers_report.table_of):
        of_batch = {cell["batch"]: cell for cell in row}
        first = next(iter(of_batch.values()))
        name = f"{first['sizes']} `{first['network']}`"
        table.append([name, peers_report.OPTIMIZERS[first["optimizer"]]])
        for batch in batches:
            text = "-"
            if batch in of_batch:
                ((*_, peer, ratio),) = peers_report.rows_of(of_batch[batch])
                text = f"{ratio:.2f} ({peer})"
            table[-1].append(text)
    return table


def contest_tables() -> str:
    """Return all figures of the contest."""
    return peers_report.report(result("peers"))


def to_accuracy_table() -> str:
    """Return how long it takes to reach an accuracy."""
    _, *rows = to_accuracy.table(result("to_accuracy"))
    reached = f"runs that reach {to_accuracy.WANTED:.0%}"
    return markdown([["", "median (s)", "min (s)", "max (s)", "lowest accuracy", reached], *rows])


def startup_table() -> str:
    """Return how long a process takes to get going."""
    return markdown(startup.table(result("startup")))


def tabular_tables() -> str:
    """Return errors and CPU seconds on tables, with the machine and the versions."""
    results = result("tabular")
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    about = f"{described(results['machine'])}; {versions}."
    return f"{about}\n\n{tabular_report.everything(results)}"


def digits_tables() -> str:
    """Return the errors on MNIST's digits, and the machine that they are from."""
    results = result("digits")
    parts = (
        f"{described(results['machine'])}.",
        markdown(digits.medians(results)),
        "All runs:",
        markdown(digits.everything(results)),
    )
    return "\n\n".join(parts)


BLOCKS: list[tuple[str, Path, str, Callable[[], str]]] = [
    ("main_job", COMMANDS, "main-job", main_job),
    ("peers", README, "ratios", contest_means),
    ("peers", PERFORMANCE, "summary", contest_summary),
    ("to_accuracy", PERFORMANCE, "to-accuracy", to_accuracy_table),
    ("startup", PERFORMANCE, "startup", startup_table),
    ("roofline", PERFORMANCE, "roofline", roofline_tables),
    ("peers", PERFORMANCE, "contest", contest_tables),
    ("cliffs", PERFORMANCE, "cliffs", lambda: cliffs_report.behind(result("cliffs"))),
    ("cliffs", CELLS, "cells", lambda: cliffs_report.everything(result("cliffs"))),
    ("random_cells", CELLS, "random", lambda: cliffs_report.at_random(result("random_cells"))),
    ("tabular", TABLES, "beside-others", tabular_tables),
    ("digits", DIGITS, "runs", digits_tables),
]
PICTURES = {
    "peers": ("throughput", pictures.throughput),
    "roofline": ("roofline", pictures.roofline),
    "scaling": ("scaling", pictures.scaling),
    "digits": ("misread", pictures.misread),
}


def main() -> None:
    """Measure what is asked for, then write everything that there are results for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    minutes = ", ".join(f"{name} ({count} min)" for name, count in MINUTES.items())
    add = parser.add_argument
    add("--measure", nargs="+", default=[], choices=["all", *MINUTES], help=f"first: {minutes}")
    options = parser.parse_args()
    for name in MINUTES if "all" in options.measure else options.measure:
        measure(name)
    present = {path.stem for path in RESULTS.iterdir()}
    for name, file, block, content in BLOCKS:
        if name in present:
            help_texts.write_block(file, block, content())
    for name, (picture, draw) in PICTURES.items():
        if name in present:
            draw(result(name), ROOT / "docs" / "images" / f"{picture}.png")
    help_texts.main()


if __name__ == "__main__":
    main()
