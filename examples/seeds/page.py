"""Run the experiments of two write-ups and set their figures beside ours, in docs/write-ups.md.

``python examples/seeds/page.py`` takes some minutes on two cores; ``--quick`` runs everything on
few rows, to see that it works, and prints the page instead.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import by_hand
import first_steps
from experiment import Experiment, Figures, Limits, Result, run

import fastnn

PAGE = Path(__file__).resolve().parents[2] / "docs" / "write-ups.md"
QUICK = Limits(rows=600, epochs=1, jobs=None, steps=30)
WANTED = 10  # times as fast
HEADINGS = [
    "experiment",
    *(f"{whose}: {what}" for whose in ("theirs", "ours") for what in ("accuracy", "F1", "time")),
    "times as fast",
    "remark",
]

INTRODUCTION = """\
# Two write-ups, reproduced

Two authors described how they built networks for MNIST's digits with nothing but NumPy, what they
tried, and what came of it:

- Martin Pitt, "First steps with neural networks and NumPy", 2020;
- Vincent Raerek, "About manually implementing an artificial neural network in Python without using
  machine libraries", 2017.

This page repeats their experiments with fastnn. `python examples/seeds/page.py` runs them and
writes this page. The settings are in [`first_steps.py`](../examples/seeds/first_steps.py) and
[`by_hand.py`](../examples/seeds/by_hand.py)."""

METHOD = """\
We aim for at least their accuracy, and for a tenth of their time where a time is given. Where a
row falls short of that, its remark says in bold what is missing, and why. Our times start with
opening MNIST's files and end with the accuracy on the test rows; cross-validation is included.
Importing the package and loading the compiled kernels is not. Each network has the seed 0 and as
many threads as there are CPUs.

We assume that both write-ups minimise half the sum of the squared errors of the ten outputs. The
first one reports a loss of 0.45 where its network calls each image a one. Outputs of 0.1 for each
digit give that loss with half the sum. The second one speaks of the mean, but with the mean, five
units would learn far less at its learning rate than it reports. fastnn's `mse` is the mean, which
is a fifth of half the sum. So a rate of 1 in a write-up is a rate of 5 here, and a penalty of
0.00005 on half the squared weights is `l2=1e-05`."""

FIRST = """\
## First steps with neural networks and NumPy

Their times are those of whole programs. Of the computer we only know that the programs kept up to
3.9 cores busy (user and system time divided by real time). The write-up does not say everything; we
assume this:

- Pixels are from 0 to 255 with sigmoids, and from 0 to 1 with ReLU. With mini-batches they are from
  0 to 1 too, because sigmoids learn little from the others.
- The second hidden layer of the first network has 16 units, like the first. The rate is 1, as in
  the later networks, but 0.1 for one image at a time, where 1 often learns nothing.
- "Many images at once" are 10,000, so a round has six steps. The write-up reports a cost of 1.046
  after the first round: standard normal weights reach that in six steps, and not nearly in one.
- Initial weights are standard normal in the first network, and uniform in ±0.05 in the later ones:
  the author says that they were changed. They are Glorot's where pixels are from 0 to 1. We chose
  them for their accuracy, which moves by some tenths of a percent with them and with the seed.
- The rate with ReLU falls from 2 to 0. The outputs in the write-up contain zeros, so its output was
  a ReLU as well. fastnn has no such output; ours are sigmoids.
- 14.21% are 8,527 of 60,000, so this is the accuracy on the training images. All other accuracies
  are on the test images."""

SECOND = """\
## Manually implementing an artificial neural network

Kaggle's training set has 42,000 of MNIST's 70,000 images. Here as many are drawn at random, and a
tenth of them is set aside to test on, as in the write-up. With 4,200 images, the standard error of
an accuracy of 93% is 0.4%. Rows that say so use MNIST's own split instead.

Mini-batches have 10 rows, and initial weights are Glorot's. The rate falls by a tenth after each
epoch, and by a twentieth once it is 0.01. The write-up does not say everything; we assume this:

- The penalty of the network with five units is 0.00005, or chosen from 0.5, 0.05, ... 0.00005.
- The write-up says that pixels are from 0 to 255. The network with five units learns next to
  nothing from them here. From pixels from 0 to 1 it learns what the write-up reports. So both are
  shown.

The write-up gives no times. The times in brackets stand in for a program that goes through the rows
in Python: they are what fastnn's plain NumPy backend takes for as many epochs with a step for each
row, estimated from a thousand such steps."""

OUTPUTS = "The outputs of two of these networks for the first test image, a seven:"


def main() -> None:
    """Run the experiments and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="on few rows; print the page only")
    parser.add_argument("--output", type=Path, default=PAGE, help=f"by default {PAGE.name}")
    options = parser.parse_args()
    fastnn.warmup()
    limits = QUICK if options.quick else Limits()
    start = time.perf_counter()
    results = {
        part: [_reported(experiment, limits) for experiment in part.EXPERIMENTS]
        for part in (first_steps, by_hand)
    }
    text = page(results[first_steps], results[by_hand], time.perf_counter() - start)
    if options.quick:
        print(text)
    else:
        options.output.write_text(text, encoding="utf-8")


def page(first: Sequence[Result], second: Sequence[Result], seconds: float) -> str:
    """Return the page for the results of both write-ups' experiments."""
    parts = [
        INTRODUCTION,
        f"This page took {spoken(seconds)} to measure on {machine()}.",
        METHOD,
        FIRST,
        table(first_steps.EXPERIMENTS, first),
        OUTPUTS,
        outputs(first_steps.EXPERIMENTS, first),
        SECOND,
        table(by_hand.EXPERIMENTS, second),
    ]
    return "\n\n".join(parts) + "\n"


def table(experiments: Sequence[Experiment], results: Sequence[Result]) -> str:
    """Return a row for each experiment."""
    return markdown([HEADINGS, *map(row, experiments, results)])


def row(experiment: Experiment, result: Result) -> list[str]:
    """Return the cells of an experiment."""
    theirs, ours = experiment.theirs, result.ours
    seconds = theirs.seconds or result.stand_in
    their_time, faster = spoken(seconds), ratio(seconds, ours.seconds)
    if result.stand_in:
        their_time, faster = f"({their_time})", f"({faster})"
    remarks = [experiment.remark, chosen(result), *shortfalls(experiment, ours)]
    return [
        experiment.name,
        *(percent(theirs.accuracy), share(theirs.f1), their_time),
        *(percent(ours.accuracy), share(ours.f1), spoken(ours.seconds)),
        faster,
        "; ".join(filter(None, remarks)),
    ]


def shortfalls(experiment: Experiment, ours: Figures) -> list[str]:
    """Return in what we fall short of a write-up, and why, to the digits that are shown."""
    theirs, found = experiment.theirs, []
    if round(ours.accuracy, 4) < theirs.accuracy or round(ours.f1, 3) < (theirs.f1 or 0):
        found.append(f"**less accurate**: {experiment.reason}")
    if theirs.seconds and theirs.seconds < WANTED * ours.seconds:
        reason = experiment.slow_reason or experiment.reason
        found.append(f"**less than {WANTED} times as fast**: {reason}")
    return found


def chosen(result: Result) -> str:
    """Return what cross-validation chose, in fastnn's units."""
    settings = ", ".join(f"`{name}={value!r}`" for name, value in result.best.items())
    return settings and f"chosen: {settings}"


def outputs(experiments: Sequence[Experiment], results: Sequence[Result]) -> str:
    """Return the outputs for the first test image, theirs above ours."""
    cells = [["network", *map(str, range(10))]]
    for experiment, result in zip(experiments, results, strict=True):
        if experiment.first_output:
            for whose, values in (
                ("theirs", experiment.first_output),
                ("ours", result.first_output),
            ):
                name = f"{experiment.name}: {whose}"
                cells.append([name, *(f"{value:.3f}" for value in values)])
    return markdown(cells)


def markdown(cells: list[list[str]]) -> str:
    """Return cells, the headings first, as a table with text on the left."""
    heading, *rows = cells
    sides = [":---" if name in ("experiment", "network", "remark") else "---:" for name in heading]
    return "\n".join("| " + " | ".join(line) + " |" for line in [heading, sides, *rows])


def percent(value: float | None) -> str:
    """Return a share as a percentage."""
    return "" if value is None else f"{100 * value:.2f}%"


def share(value: float | None) -> str:
    """Return a share."""
    return "" if value is None else f"{value:.3f}"


def ratio(theirs: float | None, ours: float) -> str:
    """Return how many times as fast ours is."""
    if theirs is None:
        return ""
    times = theirs / ours
    return f"{times:,.0f}" if times >= WANTED else f"{times:.1f}"


def spoken(seconds: float | None) -> str:
    """Return a time as one says it."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.3g} s"


def machine() -> str:
    """Return what is measured on."""
    cpu = platform.processor() or platform.machine()
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next(line.split(": ")[1] for line in lines if line.startswith("model name"))
    return (
        f"{platform.system()}, {cpu}, {os.cpu_count()} CPUs; Python {platform.python_version()}, "
        f"NumPy {version('numpy')}, Numba {version('numba')}, fastnn {fastnn.__version__}"
    )


def _reported(experiment: Experiment, limits: Limits) -> Result:
    result = run(experiment, limits)
    print(" | ".join(row(experiment, result)), file=sys.stderr, flush=True)
    return result


if __name__ == "__main__":
    main()
