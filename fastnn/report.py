"""Reports: one page of HTML with the scores, settings, pictures and tables of a run."""

from __future__ import annotations

import base64
import importlib.metadata
import io
import os
import platform
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

import fastnn
from fastnn import metrics, plots
from fastnn.losses import name_of
from fastnn.training.history import History
from fastnn.writing import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fastnn.network import Network

# The heading and the text of each picture.
PICTURES = {
    "curves": (
        "Loss and scores",
        "During an epoch, the loss of each batch is taken before its step.",
    ),
    "learning_rate": ("Learning rate", "At the start of each epoch."),
    "throughput": ("Throughput", "Training samples per second, epoch by epoch."),
    "confusion": (
        "Confusion matrix",
        "Rows are the true classes, columns the predicted ones. Right and wrong predictions have "
        "separate colour scales.",
    ),
    "classes": ("Classes", "How often each class occurs."),
    "predictions": ("Predictions", "Against the true numbers, and the distribution of the errors."),
    "mistakes": ("Surest mistakes", "Wrong predictions with the highest probability."),
    "calibration": (
        "Calibration",
        "The accuracy of predictions against their probability, and how many there are.",
    ),
    "images": ("First rows", "With their classes. Wrong predictions have a frame."),
    "weights": ("Weights of the first layer", "Blue is positive, red is negative."),
}
PIXELS = 80  # of CSS per inch of a picture
SMALLEST = 75  # percent of its size to which a picture shrinks, so that it can be read
PHONE = 358  # pixels between the margins of a narrow screen
NARROW = 4  # columns of a table that fit there

STYLE = """
:root { color-scheme: light; }
body { margin: 0; background: #fff; color: #1a1a1a; font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 70rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0.5rem 0; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 0 0 0.25rem; }
section { margin: 2rem 0; }
p { margin: 0.25rem 0; overflow-wrap: anywhere; }
.scores { display: flex; flex-wrap: wrap; gap: 0.75rem; margin: 1.25rem 0; }
.scores div { border: 1px solid #ccc; border-radius: 0.4rem; padding: 0.5rem 1rem; }
.scores dt { font-size: 0.85rem; color: #555; }
.scores dd { margin: 0; font-size: 1.5rem; font-variant-numeric: tabular-nums; }
.flow { display: flex; flex-wrap: wrap; gap: 2rem 3rem; align-items: flex-start; }
.flow > * { margin: 0; max-width: 100%; min-width: 0; }
figcaption p { font-size: 0.85rem; color: #555; }
.scroll { overflow-x: auto; scrollbar-width: thin; }
.wide { border: 1px solid #ccc; border-radius: 0.4rem; padding: 0.25rem; }
.hint { display: none; font-size: 0.85rem; color: #555; }
.warning { border: 2px solid #b35900; border-radius: 0.4rem; padding: 0.5rem 1rem; margin: 1rem 0; }
@media (max-width: 48rem) { .hint { display: block; } }
img { display: block; width: 100%; height: auto; margin-top: 0.5rem; }
table { border-collapse: collapse; font-size: 0.9rem; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid #ddd; padding: 0.25rem 1rem 0.25rem 0; text-align: right; }
th { font-weight: 600; vertical-align: top; }
th:first-child, td:first-child, .facts td { text-align: left; max-width: 18rem; }
td { overflow-wrap: break-word; }
.facts td { overflow-wrap: anywhere; }
summary { cursor: pointer; font-size: 1.15rem; font-weight: 600; }
""".strip()

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; \
style-src 'unsafe-inline'">
<title>{title}</title>
<style>
{style}
</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""


def write(
    path: str | os.PathLike[str],
    net: Network,
    history: History,
    X: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    settings: Mapping[str, Any] | None = None,
    names: Sequence[str] | None = None,
    shape: Sequence[int] | None = None,
    title: str = "Training run",
) -> None:
    """Write a report of a run, a page of HTML without scripts and links to other files.

    The file appears complete or not at all. It replaces an older file of that name.

    Parameters
    ----------
    path : str or path
        The folder must exist.
    net : Network
    history : History
        The result of `Network.train`.
    X, y : array
        Rows to evaluate the network on, as for `Network.evaluate`.
    settings : mapping, optional
        More entries of the table of settings, from names to values.
    names : sequence of str, optional
        Names of the classes, by default those of the network; or of the outputs for numbers.
    shape : sequence of int, optional
        (height, width) of rows that are images, as for `plots.mistakes`.
    title : str
        Heading of the page.

    Raises
    ------
    FileNotFoundError
        If the folder of ``path`` does not exist.
    OSError
        If the file cannot be written.
    ImportError, TypeError, ValueError, DivergenceError
        As for `plots.of_run`.
    """
    plots.check_installed()
    page = _page(net, history, X, y, settings or {}, names, shape, title)
    with replacing(path) as file:
        file.write(page)


def _page(
    net: Network,
    history: History,
    X: npt.ArrayLike,
    y: npt.ArrayLike,
    settings: Mapping[str, Any],
    names: Sequence[str] | None,
    shape: Sequence[int] | None,
    title: str,
) -> str:
    found = plots.results(net, X, y)
    if names is None and net.classes is not None:
        names = list(map(str, net.classes))
    warning = []
    if history.warning:
        warning = [f'<p class="warning" role="alert">{escape(history.warning)}</p>']
    body = [
        f"<h1>{escape(title)}</h1>",
        *warning,
        f"<p>Network {list(net.architecture.sizes)}, evaluated on {len(found.true):,} rows.</p>",
        _scores(net, X, y, found),
        '<section class="flow">',
        _facts("Run", _run(history) | dict(settings)),
        _facts("Network", _network(net)),
        _facts("Versions", _versions()),
        "</section>",
        '<section class="flow">',
        *(
            _picture(kind, figure)
            for kind, figure in plots.of_run(net, history, X, y, names=names, shape=shape)
        ),
        "</section>",
    ]
    if found.kind == "classes":
        numbers = [str(i) for i in range(max(2, net.architecture.sizes[-1]))]
        body.append(_classes(found, numbers if names is None else names))
    if len(history):
        rows = [[_written(row[column]) for column in history.columns] for row in history]
        body.append(_table("Epochs", history.columns, rows))
    return PAGE.format(title=escape(title), style=STYLE, body="\n".join(body))


def _scores(net: Network, X: npt.ArrayLike, y: npt.ArrayLike, found: plots.Results) -> str:
    values = net.evaluate(X, y)
    loss = values.pop("loss")
    a = net.architecture
    if found.probabilities is not None and (a.activations[-1] == "softmax" or a.sizes[-1] == 1):
        values["log loss"] = metrics.log_loss(found.true, found.probabilities)
    else:
        values["loss"] = loss
    tiles = [
        f"<div><dt>{escape(plots.TITLES.get(name, name))}</dt><dd>{_written(value)}</dd></div>"
        for name, value in values.items()
    ]
    return "\n".join(['<dl class="scores">', *tiles, "</dl>"])


def _run(history: History) -> dict[str, Any]:
    facts: dict[str, Any] = {"epochs": len(history)}
    if history.stopped:
        facts["stopped by"] = history.stopped
    if history.best_epoch is not None:
        facts["best epoch"] = history.best_epoch
    if len(history):
        seconds = np.array(history["seconds"])
        facts["seconds of training"] = f"{seconds.sum():.2f}"
        rate = seconds @ history["samples_per_second"] / seconds.sum()
        facts["samples per second"] = f"{rate:,.0f}"
    return facts | {"seconds of compiling": f"{history.compile_seconds:.2f}"}


def _network(net: Network) -> dict[str, Any]:
    a = net.architecture
    return {
        "units": ", ".join(map(str, a.sizes)),
        "activations": ", ".join(a.activations),
        "loss": name_of(a.loss) if callable(a.loss) else a.loss,
        "parameters": f"{a.parameter_count:,}",
        "dtype": a.dtype.name,
        "precision of products": a.precision,
        "inputs standardised": "yes" if net.input_scaler is not None else "no",
        "targets standardised": "yes" if net.target_scaler is not None else "no",
        "seed": net.seed,
        "backend": net.backend,
        "threads": "all CPUs" if net.threads is None else net.threads,
        "epochs so far": net.epochs_trained,
    }


def _versions() -> dict[str, str]:
    others = {name: importlib.metadata.version(name) for name in ("numpy", "numba", "matplotlib")}
    return {"fastnn": fastnn.__version__, "Python": platform.python_version(), **others}


def _facts(heading: str, facts: Mapping[str, Any]) -> str:
    rows = "\n".join(
        f'<tr><th scope="row">{escape(str(name))}</th><td>{escape(str(value))}</td></tr>'
        for name, value in facts.items()
    )
    return f'<div><h2>{heading}</h2>\n<table class="facts">\n{rows}\n</table></div>'


def _picture(kind: str, figure: Figure) -> str:
    heading, text = PICTURES[kind]
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", dpi=2 * PIXELS)  # twice the size for images and points
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    width, height = (round(PIXELS * inches) for inches in figure.get_size_inches())
    return (
        f"<figure>\n<figcaption><h2>{heading}</h2><p>{text}</p></figcaption>\n"
        + _scrolling(
            heading,
            f'<img width="{width}" height="{height}" alt="{heading}. {text}" '
            f'style="min-width: {width * SMALLEST // 100}px; max-width: {width}px" '
            f'src="data:image/svg+xml;base64,{data}">',
            wide=width * SMALLEST // 100 > PHONE,
        )
        + "\n</figure>"
    )


def _scrolling(heading: str, content: str, wide: bool) -> str:
    """Return a box in which content that is wider than the screen scrolls, and says so."""
    hint = '<p class="hint">Scroll the box sideways to see all of it.</p>\n' if wide else ""
    return (
        f'{hint}<div class="scroll{" wide" * wide}" tabindex="0" role="region" '
        f'aria-label="{heading}">{content}</div>'
    )


def _classes(found: plots.Results, names: Sequence[str]) -> str:
    confusion = metrics.confusion_matrix(found.true, found.predicted, len(names))
    scores = metrics.precision_recall_f1(confusion)
    rows = [
        [name, *(f"{score:.4f}" for score in of_class), f"{count:,}"]
        for name, count, *of_class in zip(names, confusion.sum(axis=1), *scores, strict=True)
    ]
    return _table("Scores of each class", ["class", "precision", "recall", "F1", "rows"], rows)


def _written(value: float) -> str:
    if isinstance(value, int) or abs(value) >= 10000:
        return f"{value:,.0f}"
    return f"{value:#.4g}"


def _table(heading: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table that the reader can fold; a long one is folded at first."""
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    lines = "\n".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows
    )
    return (
        f"<section><details{' open' * (len(rows) <= 30)}><summary>{heading}</summary>\n"
        + _scrolling(
            heading,
            f"\n<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{lines}\n</tbody>\n</table>",
            wide=len(columns) > NARROW,
        )
        + "</details></section>"
    )
