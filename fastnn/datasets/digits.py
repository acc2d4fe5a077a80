"""Pictures of one digit each, brought to the form of MNIST's.

There a digit is light on dark. It is scaled, with its aspect ratio, to fit a box of 20 x 20 pixels,
where averaging makes grey levels of its edges, and its centre of mass is moved to the centre of 28
x 28 pixels (LeCun, Bottou, Bengio and Haffner, 1998). `centred` is this step;
``fastnn/drawing/digits.js`` does the same in a browser.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.datasets.columns import Array

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE, BOX = 28, 20  # pixels
CENTRE = 14.0  # where MNIST has the centre of mass, in indexes of pixels, rounded to whole ones
MAYBE_MNIST = 2 * SIDE  # up to this size a faint pixel at an edge may be a part of a digit
EVEN = 24  # range of the levels of grey around a picture up to which its paper is even
FAINTEST = 16  # levels of grey between ink and paper
PAPER = 96  # pixels of the longer side on which uneven paper is looked at
WIDEST = 21  # of these: no stroke is wider
THINNEST = 2.0  # pixels of the box of 20 x 20, about as wide as a stroke is at least
SPECK = 0.04  # share of the ink of the largest part of a digit that other parts have at least
# Shares of the contrast of the ink at which a pixel begins to be ink, and from which on it is.
CLEAN, SHADED = (0.25, 0.75), (0.5, 0.8)


def in_mnist_form(grey: Array, alpha: Array | None) -> Array:
    """Return a picture of a digit as MNIST has it.

    Parameters
    ----------
    grey : ndarray of float, shape (height, width)
        From 0 to 255.
    alpha : ndarray of float, shape (height, width), or None
        From 0, transparent, to 1.

    Returns
    -------
    ndarray of uint8, shape (28, 28)
        Light on dark.

    Raises
    ------
    ValueError
        If there is nothing on the paper.
    """
    if alpha is not None:
        grey = _on_paper(grey, alpha)
    return centred(_ink(grey))


def centred(ink: Array) -> Array:
    """Return ink as a picture of MNIST.

    Parameters
    ----------
    ink : ndarray of float, shape (height, width)
        From 0 to 1, not 0 everywhere.

    Returns
    -------
    ndarray of uint8, shape (28, 28)
    """
    rows, columns = (np.flatnonzero(ink.any(axis=axis)) for axis in (1, 0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = BOX / max(ink.shape)
    height, width = (max(1, int(length * scale + 0.5)) for length in ink.shape)
    small = _averages(ink.shape[0], height) @ ink @ _averages(ink.shape[1], width).T
    small *= 255 / small.max()
    mass = small.sum()
    top = _place(small.sum(axis=1) @ np.arange(height) / mass, height)
    left = _place(small.sum(axis=0) @ np.arange(width) / mass, width)
    picture = np.zeros((SIDE, SIDE), np.uint8)
    picture[top : top + height, left : left + width] = small + 0.5
    return picture


def _place(centre: float, length: int) -> int:
    """Return where a side begins, so that its centre of mass is the centre, or as near as fits."""
    return min(max(int(CENTRE - centre + 0.5), 0), SIDE - length)


def _averages(length: int, shorter: int) -> Array:
    """Return a matrix (shorter, length) that averages what falls into each new pixel."""
    edges = np.arange(shorter + 1) * (length / shorter)
    pixels = np.arange(length)
    low, high = np.maximum(edges[:-1, None], pixels), np.minimum(edges[1:, None], pixels + 1)
    return np.maximum(high - low, 0) * (shorter / length)


def _on_paper(grey: Array, alpha: Array) -> Array:
    """Return a picture whose transparent pixels are paper, of another grey than the ink."""
    around = _around(alpha)
    if np.median(around) >= 0.5:
        level = np.median(_around(grey)[around >= 0.5])
    else:
        level = 255.0 if np.average(grey, weights=alpha + 1e-9) < 128 else 0.0
    return grey * alpha + level * (1 - alpha)


def _ink(grey: Array) -> Array:
    """Return how much of each pixel is ink, from 0 to 1."""
    around = _around(grey)
    low, high = np.percentile(around, (5, 95))
    even = high - low <= EVEN
    median = np.median(around) if even else _filtered(grey, "MedianFilter")
    sign = 1 if ((grey - median) ** 3).sum() > 0 else -1  # ink is less than paper, and far from it
    paper = median if even else sign * _filtered(sign * grey, "MinFilter", "MaxFilter")
    ink = np.maximum(sign * (grey - paper), 0)
    if sign < 0 and not even:  # a shadow takes the same share of ink and paper
        ink *= 255 / np.maximum(paper, 1)
    contrast = _contrast(ink)
    if contrast < FAINTEST:
        raise ValueError("holds no digit: all of it is of about the same grey")
    if even and max(grey.shape) <= MAYBE_MNIST and low == high:
        return ink / ink.max()
    start, full = CLEAN if even else SHADED
    ink = np.clip((ink / contrast - start) / (full - start), 0, 1)
    return _thickened(ink * _parts(ink))


def _thickened(ink: Array) -> Array:
    """Return ink with strokes that are not much thinner than those of MNIST."""
    from PIL import ImageFilter

    height, width = (np.ptp(np.flatnonzero(ink.any(axis=axis))) + 1 for axis in (1, 0))
    edges = np.hypot(np.diff(ink, axis=0)[:, 1:], np.diff(ink, axis=1)[1:]).sum()
    missing = THINNEST * max(height, width) / BOX - 2 * ink.sum() / max(edges, 1)
    grown = round(missing / 2)  # on either side of a stroke
    if grown < 1:
        return ink
    return np.asarray(_image(ink).filter(ImageFilter.MaxFilter(2 * grown + 1)))


def _around(values: Array) -> Array:
    """Return the outermost pixels."""
    return np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])


def _contrast(ink: Array) -> float:
    """Return the median of what is ink by Otsu's threshold (1979), which splits classes best."""
    counts, edges = np.histogram(ink, 128)
    middles = (edges[1:] + edges[:-1]) / 2
    below, total = np.cumsum(counts)[:-1], ink.size
    sums = np.cumsum(counts * middles)
    apart = (sums[-1] * below - sums[:-1] * total) ** 2 / np.maximum(below * (total - below), 1)
    return float(np.median(ink[ink >= edges[apart.argmax() + 1]]))


def _filtered(grey: Array, *names: str) -> Array:
    """Return the paper: what filters as wide as no stroke leave of a picture."""
    from PIL import Image, ImageFilter

    height, width = grey.shape
    scale = min(1, PAPER / max(grey.shape))
    small = _image(grey).resize((max(1, round(width * scale)), max(1, round(height * scale))),
                                Image.Resampling.BOX)  # fmt: skip
    for name in names:
        small = small.filter(getattr(ImageFilter, name)(WIDEST))
    return np.asarray(small.resize((width, height), Image.Resampling.BILINEAR))


def _image(grey: Array) -> Image:
    from PIL import Image

    return Image.fromarray(np.asarray(grey, np.float32))


def _parts(ink: Array) -> Array:
    """Return which pixels are part of a digit, and no specks: those connected to much ink."""
    labels = np.zeros(ink.shape, np.intp)
    joined = [0]  # the label that each label stands for

    def root(label: int) -> int:
        while joined[label] != label:
            label = joined[label]
        return label

    above: list[tuple[int, int, int]] = []
    for y, row in enumerate(ink > 0):
        edges = np.flatnonzero(np.diff(row, prepend=False, append=False)).tolist()
        runs = []
        for start, stop in zip(edges[::2], edges[1::2], strict=True):
            label = len(joined)
            joined.append(label)
            for first, last, other in above:
                if first <= stop and start <= last:  # corners touch, too
                    low, high = sorted((root(label), root(other)))
                    joined[high] = low
            runs.append((start, stop, label))
            labels[y, start:stop] = label
        above = runs
    roots = np.array([root(label) for label in range(len(joined))])
    labels = roots[labels]
    amounts: Any = np.bincount(labels.ravel(), ink.ravel())
    return (amounts >= SPECK * amounts.max())[labels]
