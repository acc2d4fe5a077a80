"""Pictures of predictions and true values."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fastnn import metrics
from fastnn.checks import values as check
from fastnn.plots import arguments
from fastnn.plots.arguments import LEAST_PIXELS, Names, Shape
from fastnn.plots.drawing import (
    BLUE,
    GREY,
    LARGE,
    RED,
    SMALL,
    blank,
    counted,
    either,
    grid,
    inches,
    legend_below,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def confusion(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, names: Names = None, normalise: bool = False
) -> Figure:
    """Draw the confusion matrix.

    Right and wrong predictions have separate colour scales, both for the share of the row, so that
    few mistakes remain visible. More than 30 classes are drawn without numbers.

    Parameters
    ----------
    y_true, y_pred : array_like of integers, shape (n,)
    names : sequence of str, optional
        As for `plots.images`.
    normalise : bool
        Show percentages of the true class instead of counts.

    Raises
    ------
    ImportError, TypeError, ValueError
        As for `plots.images`.
    """
    counts = metrics.confusion_matrix(y_true, y_pred, None if names is None else len(names))
    texts, n = arguments.names(names, len(counts)), len(counts)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    cell = 0.8 if n <= 4 else 0.5 if n <= 12 else 0.38 if n <= 30 else 0.13 if n <= 100 else 13 / n
    side, margin = n * cell, 0.6 + inches(texts, SMALL)
    figure, (ax,) = blank(side + margin + 2.2, side + margin + 0.5, layout="compressed")
    hit = np.eye(n, dtype=bool)
    worst = float(shares[~hit].max(initial=0))
    parts = [(~hit, "Blues", 1.0, "right")]
    if worst:
        parts.append((hit, "Oranges", worst, "wrong"))
    for hidden, colours, most, label in parts:
        cells = np.ma.masked_array(100 * shares, hidden)
        image = ax.imshow(cells, cmap=colours, vmin=0, vmax=100 * most)
        bar = figure.colorbar(image, ax=ax, fraction=0.2 / side, pad=0.3 / side, aspect=side / 0.2)
        bar.ax.set_title(f"{label},\n% of row", fontsize=SMALL, loc="left", pad=9)
        if n > 30:
            continue
        written = [[f"{100 * s:.1f}" for s in row] for row in shares] if normalise else counts
        points = min(9.0, 9 * 0.85 * cell / inches([str(v) for row in written for v in row], 9))
        for row, column in np.argwhere(~hidden & (counts > 0)):
            dark = np.dot(image.to_rgba(cells[row, column])[:3], (0.3, 0.6, 0.1)) < 0.55
            colour = "white" if dark else "black"
            text = ax.text(column, row, str(written[row][column]), color=colour, fontsize=points)
            text.set(ha="center", va="center")
    step = math.ceil(0.11 / cell)
    points = min(SMALL, 0.85 * 72 * cell * step)
    turn = 90 if inches(texts, points) > 0.9 * cell else 0
    ax.set_xticks(
        range(0, n, step), texts[::step], rotation=turn, parse_math=False, fontsize=points
    )
    ax.set_yticks(range(0, n, step), texts[::step], parse_math=False, fontsize=points)
    ax.set(xlabel="predicted class", ylabel="true class")
    rows, right = int(counts.sum()), int(counts.trace())
    ax.set_title(f"{right:,} of {rows:,} right, {right / rows:.2%}", fontsize=LARGE)
    return figure


def mistakes(
    X: npt.ArrayLike,
    y_true: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    names: Names = None,
    count: int = 10,
    shape: Shape = None,
) -> Figure:
    """Draw the wrong predictions with the highest confidence.

    Images are drawn with row, true and predicted class and confidence. For rows that are no images,
    bars show the probabilities of both classes.

    Parameters
    ----------
    X : array_like of numbers, shape (n, features)
    y_true : array_like of integers, shape (n,)
    probabilities : array_like, shape (n, classes)
        As in `metrics.winners`.
    names : sequence of str, optional
        As for `plots.images`.
    count : int
        The largest number of mistakes.
    shape : sequence of int, optional
        As for `plots.images`; () if rows are no images. Default: a square for 64 features or more,
        if their number is a square.

    Raises
    ------
    ImportError, TypeError, ValueError
        As for `plots.images`.
    """
    matrix = arguments.matrix("X", X)
    true = arguments.labels("y_true", y_true, len(matrix))
    chances = np.asarray(probabilities)
    metrics.top_k_accuracy(true, chances, 1)  # checks both
    predicted, confidence = metrics.winners(chances)
    texts = arguments.names(names, max(2, chances.shape[-1] if chances.ndim == 2 else 2))
    wrong = np.flatnonzero(predicted != true)
    order = wrong[np.argsort(-confidence[wrong], kind="stable")]
    order = order[: check.integer("count", count, 1)]
    title = f"the surest of {counted(len(wrong), 'mistake')} in {counted(len(true), 'row')}"
    size = arguments.image_shape(matrix.shape[1], shape, LEAST_PIXELS)
    pairs = [(texts[true[i]], texts[predicted[i]]) for i in order]
    if len(order) and size is not None:
        captions = [
            f"row {i}\n{either(*pair)}\n{confidence[i]:.2%}"
            for i, pair in zip(order, pairs, strict=True)
        ]
        pictures = matrix[order].reshape(-1, *size)
        return grid(pictures, captions, f"{title}: true → predicted")
    rows = [f"row {i}: {' → '.join(pair)}" for i, pair in zip(order, pairs, strict=True)]
    figure, (ax,) = blank(5 + inches(rows, SMALL), 1.3 + 0.42 * len(order))
    if not len(order):
        ax.set_axis_off()
        ax.text(0.5, 0.5, f"no mistakes in {counted(len(true), 'row')}", ha="center", va="center")
        return figure
    single = chances.ndim == 1 or chances.shape[1] == 1
    of_true = 1 - confidence if single else chances[np.arange(len(true)), true]
    places = np.arange(len(order))
    for shift, values, colour, hatch, label in (
        (-0.2, confidence, RED, "", "predicted class"),
        (0.2, of_true, BLUE, "//", "true class"),
    ):
        bars = ax.barh(
            places + shift, values[order], 0.38, color=colour, hatch=hatch, edgecolor="white",
            label=label,
        )  # fmt: skip
        ax.bar_label(bars, [f"{p:.2%}" for p in values[order]], padding=3, fontsize=SMALL)
    ax.set_yticks(places, rows, parse_math=False, fontsize=SMALL)
    ax.set(xlim=(0, 1.12), ylim=(len(order) - 0.4, -0.6), xlabel="probability")
    figure.suptitle(f"{title}: true → predicted", fontsize=LARGE)
    legend_below(figure, 2)
    return figure


def calibration(y_true: npt.ArrayLike, probabilities: npt.ArrayLike, bins: int = 10) -> Figure:
    """Draw the accuracy of predictions against their confidence, and how many there are.

    Parameters
    ----------
    y_true, probabilities, bins
        As in `metrics.calibration_bins`.

    Raises
    ------
    ImportError, TypeError, ValueError
        As for `plots.images`.
    """
    found = metrics.calibration_bins(y_true, probabilities, bins)
    figure, (top, bottom) = blank(4.8, 5.6, 2, 1, sharex=True, height_ratios=(2.4, 1))
    top.plot([0, 1], [0, 1], color=GREY, ls="--", lw=1, label="as sure as right")
    top.plot(found.confidence, found.accuracy, color=BLUE, marker="o", label="predictions")
    top.set(ylim=(-0.03, 1.03), ylabel="accuracy", aspect="auto")
    top.set_title(f"expected calibration error {found.error:.4f}", fontsize=LARGE)
    top.legend(frameon=False, fontsize=9)
    bars = bottom.bar(
        (np.arange(bins) + 0.5) / bins, found.counts, 0.94 / bins, color=BLUE, log=True
    )
    if bins <= 12:
        texts = [f"{n:,}" if n else "" for n in found.counts]
        bottom.bar_label(bars, texts, padding=2, fontsize=7)
    bottom.set(xlim=(-0.02, 1.02), ylim=(0.5, 8 * max(3, found.counts.max())))
    bottom.set(xlabel="confidence: probability of the predicted class", ylabel="rows, log scale")
    return figure


def predictions(y_true: npt.ArrayLike, y_pred: npt.ArrayLike, names: Names = None) -> Figure:
    """Draw predicted against true numbers, and the distribution of the errors below.

    At most the first four outputs are drawn, and about 5,000 points for each, spread evenly over
    the rows.

    Parameters
    ----------
    y_true, y_pred : array_like of numbers, shape (n,) or (n, outputs)
    names : sequence of str, optional
        Names of the outputs. Default: their numbers.

    Raises
    ------
    ImportError, TypeError, ValueError
        As for `plots.images`.
    """
    metrics.r2(y_true, y_pred)  # checks both
    true, pred = (np.asarray(y).reshape(len(np.asarray(y)), -1) for y in (y_true, y_pred))
    texts = arguments.names(names or [f"output {i}" for i in range(true.shape[1])], true.shape[1])
    shown = min(4, true.shape[1])
    figure, axes = blank(max(4.6, 3.6 * shown), 6.2, 2, shown, height_ratios=(1.7, 1))
    step = -(-len(true) // 5000)
    for i, (top, bottom) in enumerate(zip(axes[:shown], axes[shown:], strict=True)):
        x, y = true[:, i].astype(np.float64), pred[:, i].astype(np.float64)
        ends = [min(x.min(), y.min()), max(x.max(), y.max())]
        top.plot(ends, ends, color=GREY, ls="--", lw=1, zorder=3)
        alpha = 0.4 if len(x) > 200 else 0.8
        top.plot(x[::step], y[::step], "o", color=BLUE, ms=3, alpha=alpha, mew=0, rasterized=True)
        heading = f"{texts[i]}: " if names or len(texts) > 1 else ""
        top.set_title(f"{heading}R² {metrics.r2(x, y):.4f}", fontsize=LARGE, parse_math=False)
        top.locator_params(axis="x", nbins=6)
        top.set(xlabel="true", ylabel="predicted" if not i else "")
        bottom.hist(y - x, bins=min(50, 1 + int(2 * len(x) ** (1 / 3))), color=BLUE)
        bottom.locator_params(axis="x", nbins=4)
        bottom.axvline(0, color=GREY, ls="--", lw=1)
        bottom.set(xlabel="predicted - true", ylabel="rows" if not i else "")
    return figure
