"""Pictures of data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fastnn import metrics
from fastnn.activations import Array
from fastnn.augment import Augmentation, Images
from fastnn.augment import named as augmentations
from fastnn.backends import augmenting
from fastnn.backends.contract import Examples
from fastnn.backends.dropout import row_keys
from fastnn.checks import values as check
from fastnn.plots import arguments
from fastnn.plots.arguments import Names, Shape
from fastnn.plots.drawing import BLUE, LARGE, SMALL, blank, counted, either, grid, inches

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def images(
    X: npt.ArrayLike,
    labels: npt.ArrayLike | None = None,
    predictions: npt.ArrayLike | None = None,
    *,
    names: Names = None,
    shape: Shape = None,
    columns: int = 5,
    count: int = 10,
) -> Figure:
    """Draw the first rows as images with their classes; wrong predictions have a frame.

    Parameters
    ----------
    X : array_like of numbers, shape (n, features)
        The scale of grey is 0 to 255 for uint8, 0 to 1 for numbers within these limits, otherwise
        from the smallest to the largest number.
    labels, predictions : array_like of integers, shape (n,), optional
        True and predicted classes.
    names : sequence of str, optional
        Names of all classes. Default: their numbers.
    shape : sequence of int, optional
        (height, width), or (height, width, 3) for colours. Default: a square.
    columns, count : int
        Images per line, and the largest number of images.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    TypeError, ValueError
        If an argument is not as described.
    """
    matrix = arguments.matrix("X", X)
    size = _image_shape(matrix, shape)
    shown = min(check.integer("count", count, 1), len(matrix))
    given = {"labels": labels, "predictions": predictions}
    values = [
        arguments.labels(name, y, len(matrix))[:shown] for name, y in given.items() if y is not None
    ]
    texts = [[arguments.names(names, int(v.max()) + 1)[i] for i in v] for v in values]
    rows = list(zip(*texts, strict=True)) or [("",)] * shown
    wrong = np.not_equal(*values) if len(values) == 2 else np.zeros(shown, bool)
    captions = [either(*row) if bad else row[0] for row, bad in zip(rows, wrong, strict=True)]
    title = "framed: true → predicted" if wrong.any() else ""
    pictures = matrix[:shown].reshape(shown, *size)
    return grid(pictures, captions, title, framed=wrong, columns=columns)


def augmented(
    X: npt.ArrayLike,
    augment: Augmentation | Sequence[Augmentation],
    *,
    shape: Shape = None,
    count: int = 5,
    times: int = 7,
    seed: int = 0,
) -> Figure:
    """Draw the first rows as images, each followed by what augmentation makes of it.

    Parameters
    ----------
    X : array_like of numbers, shape (n, features)
        uint8 is divided by 255, as in training.
    augment : augmentation or sequence of augmentation
        As for `Network.train`. `fastnn.augment.Mixup` mixes with other rows of X. Numbers below 0
        and above 1 that are beyond those of the rows are drawn as the nearest of these.
    shape : sequence of int, optional
        As for `images`. Default: that of the `fastnn.augment.Images`, or else a square.
    count : int
        The largest number of rows.
    times : int
        How often each row is changed.
    seed : int

    Raises
    ------
    ImportError, TypeError, ValueError
        As for `images`.
    """
    matrix = arguments.matrix("X", X)
    ways = augmentations(augment)
    if not ways:
        raise ValueError(
            "augment is empty; need an augmentation, such as fastnn.augment.Noise(0.1)"
        )
    for each in ways:
        each.check_features(matrix.shape[1])
        if isinstance(each, Images) and shape is None:
            shape = each.shape if each.size[2] > 1 else each.size[:2]
    size = _image_shape(matrix, shape)
    rows = np.arange(min(check.integer("count", count, 1), len(matrix)))
    examples = Examples(matrix, rows)
    divisor = 255 if matrix.dtype == np.uint8 else 1
    pictures = [matrix[rows] / divisor]
    low, high = min(0.0, pictures[0].min()), max(1.0, pictures[0].max())
    for time in range(check.integer("times", times, 1)):
        keys = row_keys(check.integer("seed", seed, 0), time, len(ways), range(len(rows)))
        changed = augmenting.inputs(
            ways, lambda rows: matrix[rows] / divisor, examples.drawn, rows, keys
        )
        pictures.append(np.clip(changed, low, high))
    together = np.stack(pictures, axis=1).reshape(-1, *size)
    captions = [f"row {row}" if time == 0 else "" for row in rows for time in range(len(pictures))]
    return grid(together, captions, "", columns=len(pictures))


def _image_shape(matrix: Array, shape: Shape) -> tuple[int, ...]:
    """Return the shape of the images that are the rows of a matrix, or refuse them."""
    size = arguments.image_shape(matrix.shape[1], shape)
    if size is None:
        raise ValueError(
            f"X has {matrix.shape[1]} features, which is no square; need shape=(height, width)"
        )
    return size


def classes(y: npt.ArrayLike, names: Names = None) -> Figure:
    """Draw how often each class occurs; more than 200 classes have no names and numbers.

    Parameters
    ----------
    y : array_like of integers, shape (n,)
    names : sequence of str, optional
        As for `images`.

    Raises
    ------
    ImportError, TypeError, ValueError
        As for `images`.
    """
    labels = metrics.check_classes("y", y)
    texts = arguments.names(names, int(labels.max()) + 1)
    counts = np.bincount(labels, minlength=len(texts))
    title = f"{counted(len(labels), 'row')}, {counted(len(texts), 'class', 'es')}"
    if len(texts) > 200:
        figure, (ax,) = blank(8, 3)
        ax.stairs(counts, np.arange(len(texts) + 1) - 0.5, fill=True, color=BLUE)
        ax.set(xlabel="class", ylabel="rows")
        ax.set_title(title, fontsize=LARGE)
        return figure
    panels = -(-len(texts) // 40)
    rows = -(-len(texts) // panels)
    width = 3.2 + inches(texts, SMALL)
    figure, axes = blank(panels * width, 1 + 0.24 * rows, 1, panels, sharex=True)
    room = 1 / (0.9 - inches([f"{n:,}" for n in counts], SMALL) / 2.9)
    for panel, ax in enumerate(axes):
        part = slice(panel * rows, (panel + 1) * rows)
        bars = ax.barh(range(len(counts[part])), counts[part], color=BLUE)
        ax.bar_label(bars, [f"{n:,}" for n in counts[part]], padding=3, fontsize=SMALL)
        ax.set_yticks(range(len(counts[part])), texts[part], parse_math=False, fontsize=SMALL)
        ax.set(ylim=(rows - 0.4, -0.6), xlim=(0, room * counts.max()), xlabel="rows")
        ax.locator_params(axis="x", nbins=4, integer=True)
        ax.xaxis.set_major_formatter("{x:,.0f}")
    figure.suptitle(title, fontsize=LARGE)
    return figure
