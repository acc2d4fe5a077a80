"""Shared parts of pictures: matplotlib, colours and sizes, grids of images, texts."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fastnn.activations import Array
from fastnn.checks import values as check

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colours of Okabe and Ito, which colour-blind readers can distinguish.
BLUE, RED, GREY = "#0072B2", "#D55E00", "#666666"
SMALL, LARGE = 8.5, 10.0  # points


def check_installed() -> None:
    """Check that matplotlib is installed.

    Raises
    ------
    ImportError
        If it is not.
    """
    try:
        importlib.import_module("matplotlib.figure")
    except ModuleNotFoundError as error:
        raise ImportError("plots need matplotlib: pip install 'fastnn-cpu[plots]'") from error


def matplotlib_module(name: str) -> Any:
    """Import and return a module of matplotlib."""
    check_installed()
    return importlib.import_module(f"matplotlib.{name}")


def blank(
    width: float,
    height: float,
    rows: int = 1,
    columns: int = 1,
    layout: Literal["constrained", "compressed"] = "constrained",
    **how: Any,
) -> tuple[Figure, list[Axes]]:
    """Return a figure, with its size in inches, and its axes row by row."""
    figure: Figure = matplotlib_module("figure").Figure(figsize=(width, height), layout=layout)
    return figure, list(figure.subplots(rows, columns, squeeze=False, **how).flat)


def grid(
    pictures: Array,
    captions: list[str],
    title: str,
    *,
    framed: Array | None = None,
    columns: int = 5,
    right: float = 0,
    **scale: Any,
) -> Figure:
    """Draw images (n, height, width) or (n, height, width, colours).

    There are ``right`` inches of space to their right. Those ``framed`` have a red frame. Without a
    ``scale`` of colours they are grey.
    """
    columns = min(check.integer("columns", columns, 1), len(pictures))
    rows = -(-len(pictures) // columns)
    lines = [caption.split("\n") for caption in captions]
    longest = inches([line for caption in lines for line in caption], SMALL, "bold")
    width = max(1.15, longest + 0.15)
    ratio = min(max(pictures.shape[1] / pictures.shape[2], 0.1), 4)
    height = width * ratio + 0.15 * max(map(len, lines)) + 0.06
    size = max(columns * width + right, inches([title], LARGE) + 0.4), rows * height
    figure, axes = blank(size[0], size[1] + 0.3 * bool(title), rows, columns, "compressed")
    if not scale:
        pictures = _from_0_to_1(pictures)
        scale = {"cmap": "gray", "vmin": 0, "vmax": 1}
    for ax in axes:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    marks = np.zeros(len(pictures), bool) if framed is None else framed
    for ax, picture, caption, mark in zip(axes, pictures, captions, marks, strict=False):
        ax.imshow(picture, interpolation="nearest", **scale)
        weight, colour = ("bold", RED) if mark else ("normal", "black")
        ax.set_title(
            caption, fontsize=SMALL, fontweight=weight, color=colour, pad=4, parse_math=False
        )
        ax.spines[:].set(visible=bool(mark), color=RED, linewidth=3)
    if title:
        figure.suptitle(title, fontsize=LARGE)
    return figure


def legend_below(figure: Figure, columns: int) -> None:
    """Add a legend below all axes, with each label once."""
    entries = {
        text: line
        for ax in figure.axes
        for line, text in zip(*ax.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        entries.values(),
        entries,
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize=9,
    )


def inches(texts: Sequence[str], size: float, weight: str = "normal") -> float:
    """Return the width of the widest text; ``size`` is in points."""
    font = matplotlib_module("font_manager").FontProperties(size=size, weight=weight)
    measure = matplotlib_module("textpath").text_to_path.get_text_width_height_descent
    widths = [measure(text, font, False)[0] for text in texts]
    return float(max(widths, default=0)) / 72


def counted(count: int, word: str, plural: str = "s") -> str:
    """Return a number and a word, in the plural unless the number is 1."""
    return f"{count:,} {word}{plural if count != 1 else ''}"


def either(true: str, predicted: str) -> str:
    """Return both names with an arrow, on two lines if they are long."""
    return f"{true} → {predicted}" if len(true + predicted) < 14 else f"{true} →\n{predicted}"


def _from_0_to_1(pictures: Array) -> Array:
    if pictures.dtype == np.uint8:
        return pictures / np.float32(255)
    pictures = pictures.astype(np.float64)
    if not np.isfinite(pictures).all():
        raise ValueError("X must be finite")
    low, high = pictures.min(), pictures.max()
    if low >= 0 and high <= 1:
        return pictures
    return (pictures - low) / ((high - low) or 1.0)
