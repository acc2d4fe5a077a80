"""Augmentation: small frozen dataclasses that say how rows are changed at random in training.

The method ``apply`` is the formula. The reference backend calls it; the compiled backend has a
kernel for it. It gets some rows as they are in the data, uint8 divided by 255, before they are
standardised and before dropout, and a key for each row. All random numbers are functions of keys
and counters, see `fastnn.counters`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from fastnn.activations import Array
from fastnn.checks import values as check
from fastnn.counters import GOLDEN_32, hashed, normals, uniforms

# The codes of the compiled kernels.
IMAGES, NOISE, MIXUP = range(3)

GRID = 8  # points of the elastic field along each side of an image
# The counters of an image's uniform numbers: their order in `Images`; normal ones begin after them.
TURN, ZOOM, SLANT, DOWN, RIGHT, MIRROR, FIRST_NORMAL = 0, 1, 2, 3, 4, 5, 8
QUANTILES = 1025  # of the shares of a mixture, between which they are linear


class _Way:
    """What augmentations share: most take rows of any features, and leave few zeros."""

    @property
    def keeps_zeros(self) -> bool:
        """Whether about as many inputs are zero as before."""
        return False

    def check_features(self, features: int) -> None:
        """Refuse rows of so many features if they are not for it.

        Parameters
        ----------
        features : int

        Raises
        ------
        ValueError
            If they are not.
        """


@dataclass(frozen=True)
class Images(_Way):
    """Images that are turned, scaled, slanted, shifted and bent, all in one bilinear interpolation.

    Each number is the largest change, and each change of an image is uniform between it and its
    opposite, but for ``elastic``. With the centre ``c`` of the image, a pixel ``p = (y, x)`` of the
    result shows the place ``c + s + R S (p - c) / z + e(p)``: ``s`` is the shift, ``R`` turns,
    ``S`` slants, ``z`` is the scale, and ``e`` are cubic B-splines on a grid of 8 x 8 points that
    span the image, each with a normal offset along y and x. Between pixels it is linear.

    Parameters
    ----------
    shape : sequence of int
        (height, width), or (height, width, channels) with 1 or 3 channels: a row of the data holds
        the lines of its image one after the other, and the channels of a pixel side by side.
    rotate : float
        Degrees, from 0 to 180.
    scale : float
        Share by which an image is larger or smaller; at least 0 and less than 1.
    shear : float
        Shift of a line as a share of its distance from the centre; at least 0.
    shift : float
        Pixels, along y and along x; at least 0.
    elastic : float
        Standard deviation of the offsets of the grid, in pixels; at least 0. That of the field
        between its points is about half as large.
    flip : bool
        Mirror every other image, left to right, at random.
    fill : float
        What is outside of the image, after uint8 is divided by 255.

    Raises
    ------
    TypeError, ValueError
        If a field is not as described, or if all of them together change nothing.
    """

    shape: Sequence[int]
    rotate: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    shift: float = 0.0
    elastic: float = 0.0
    flip: bool = False
    fill: float = 0.0

    code: ClassVar[int] = IMAGES

    def __post_init__(self) -> None:
        given: object = self.shape
        if isinstance(given, str) or not isinstance(given, Iterable):
            raise TypeError(
                f"Images's shape must be (height, width) or (height, width, channels); got "
                f"{given!r}"
            )
        shape = tuple(check.integer(f"Images's shape[{i}]", n, 1) for i, n in enumerate(given))
        if len(shape) not in (2, 3) or shape[2:] not in ((), (1,), (3,)):
            raise ValueError(
                "Images's shape must be (height, width) or (height, width, channels), with 1 or 3 "
                f"channels; got {shape}"
            )
        object.__setattr__(self, "shape", shape)
        bounds = {"rotate": {"most": 180.0}, "scale": {"below": 1.0}}
        for name in ("rotate", "scale", "shear", "shift", "elastic"):
            bound = bounds.get(name, {})
            check.real(f"Images's {name}", getattr(self, name), least=0, **bound)
        check.real("Images's fill", self.fill)
        if not isinstance(self.flip, bool | np.bool_):
            raise TypeError(f"Images's flip must be a bool, got {self.flip!r}")
        if not (self.rotate or self.scale or self.shear or self.shift or self.elastic or self.flip):
            raise ValueError(
                "Images changes nothing, as all its numbers are 0; need one above 0, such as "
                "rotate=10 or shift=2"
            )

    @property
    def size(self) -> tuple[int, int, int]:
        """Height, width and channels."""
        height, width, *channels = self.shape
        return height, width, channels[0] if channels else 1

    @property
    def keeps_zeros(self) -> bool:
        """Whether about as many inputs are zero as before."""
        return self.fill == 0

    def check_features(self, features: int) -> None:
        """Refuse rows of so many features that are no such images.

        Parameters
        ----------
        features : int

        Raises
        ------
        ValueError
            If they are not.
        """
        if math.prod(self.shape) != features:
            raise ValueError(
                f"Images's shape is {self.shape}, which is {math.prod(self.shape)} numbers a row; "
                f"the rows have {features}"
            )

    def apply(self, x: Array, keys: Array) -> Array:
        """Return changed rows.

        Parameters
        ----------
        x : ndarray of shape (rows, features)
        keys : ndarray of shape (rows,)
        """
        height, width, channels = self.size
        y, x_of = self.places(keys)
        images = np.pad(
            x.reshape(-1, height, width, channels),
            ((0, 0), (1, 2), (1, 2), (0, 0)),
            constant_values=self.fill,
        )
        # In the padded image; beyond its edge all is the same.
        y, x_of = np.clip(y + 1, 0, height + 1), np.clip(x_of + 1, 0, width + 1)
        top, left = y.astype(np.int64), x_of.astype(np.int64)
        down, right = (y - top)[..., None], (x_of - left)[..., None]
        row = np.arange(len(x))[:, None, None]
        upper, lower = (
            images[row, at, left] + right * (images[row, at, left + 1] - images[row, at, left])
            for at in (top, top + 1)
        )
        return (upper + down * (lower - upper)).reshape(x.shape).astype(x.dtype)

    def places(self, keys: Array) -> tuple[Array, Array]:
        """Return which places the pixels show, y and x: float64 (rows, height, width) each.

        Parameters
        ----------
        keys : ndarray of shape (rows,)
        """
        height, width, _ = self.size
        (yy, yx, xy, xx), shift_y, shift_x = self.matrices(keys)
        v, u = np.arange(height) - (height - 1) / 2, np.arange(width) - (width - 1) / 2
        v, u = v[:, None], u[None, :]
        dy, dx = self.field(keys)
        y = (height - 1) / 2 + shift_y + yy * v + yx * u + dy
        x = (width - 1) / 2 + shift_x + xy * v + xx * u + dx
        return y, x

    def matrices(self, keys: Array) -> tuple[Array, Array, Array]:
        """Return ``R S / z``, in the order yy, yx, xy, xx, and the shifts along y and x.

        Parameters
        ----------
        keys : ndarray of shape (rows,)
        """
        change = (2 * uniforms(keys, 0, MIRROR) - 1)[..., None, None]
        angle = np.radians(self.rotate) * change[:, TURN]
        zoom, slant = 1 + self.scale * change[:, ZOOM], self.shear * change[:, SLANT]
        cosine, sine = np.cos(angle) / zoom, np.sin(angle) / zoom
        side = np.ones_like(angle)
        if self.flip:
            side[uniforms(keys, MIRROR, 1)[:, 0] < 0.5] = -1
        matrix = np.array(
            [cosine + sine * slant, side * sine, cosine * slant - sine, side * cosine]
        )
        return matrix, self.shift * change[:, DOWN], self.shift * change[:, RIGHT]

    def field(self, keys: Array) -> tuple[Array, Array]:
        """Return the elastic field along y and along x: float64 (rows, height, width) each.

        Parameters
        ----------
        keys : ndarray of shape (rows,)
        """
        height, width, _ = self.size
        if not self.elastic:
            return np.zeros((2, 1, 1, 1))[0], np.zeros((2, 1, 1, 1))[1]
        offsets = self.elastic * normals(keys, FIRST_NORMAL, 2 * GRID * GRID)
        grids = offsets.reshape(-1, 2, GRID, GRID)
        bent = splines(height) @ grids @ splines(width).T
        return bent[:, 0], bent[:, 1]


def splines(length: int) -> Array:
    """Return the weights of the points of a grid at each of so many pixels: (length, GRID).

    The first pixel is at the second point, and the last pixel at the last but one, so that each is
    among four points.

    Parameters
    ----------
    length : int
    """
    t = 1 + (GRID - 3) * np.arange(length) / max(length - 1, 1)
    far = np.abs(t[:, None] - np.arange(GRID))
    near = 2 / 3 - far**2 + far**3 / 2
    return np.where(far < 1, near, np.maximum(2 - far, 0) ** 3 / 6)


@dataclass(frozen=True)
class Noise(_Way):
    """Gaussian noise that is added to each input: ``x + std * n``, with ``n`` standard normal.

    Parameters
    ----------
    std : float
        Greater than 0, in the units of the data, after uint8 is divided by 255.

    Raises
    ------
    TypeError, ValueError
        If ``std`` is not such a number.
    """

    std: float

    code: ClassVar[int] = NOISE

    def __post_init__(self) -> None:
        check.real("Noise's std", self.std, above=0)

    def apply(self, x: Array, keys: Array) -> Array:
        """Return changed rows.

        Parameters
        ----------
        x : ndarray of shape (rows, features)
        keys : ndarray of shape (rows,)
        """
        return (x + self.std * normals(keys, 0, x.shape[1])).astype(x.dtype)


@dataclass(frozen=True)
class Mixup(_Way):
    """Rows that are mixed with others (Zhang et al., 2018).

    A row becomes ``s x + (1 - s) x'``, and its targets ``s t + (1 - s) t'``: the other row is any
    of the training data, with the augmentations that come before, and the share ``s`` has the
    distribution Beta(alpha, alpha). Labels become probabilities, numbers and counts are mixed as
    they are. With weights ``v`` the row gets ``s v + (1 - s) v'``, and the shares of the targets
    are those of the two terms. The inputs of rows whose weight is 0 are mixed in, too.

    Parameters
    ----------
    alpha : float
        Greater than 0. The smaller it is, the nearer is a mixture to one of the two.

    Raises
    ------
    TypeError, ValueError
        If ``alpha`` is not such a number.
    """

    alpha: float

    code: ClassVar[int] = MIXUP

    def __post_init__(self) -> None:
        check.real("Mixup's alpha", self.alpha, above=0)

    @property
    def quantiles(self) -> Array:
        """The quantiles of the shares at evenly spaced probabilities from 0 to 1."""
        return _beta_quantiles(float(self.alpha))

    def draws(self, keys: Array) -> tuple[Array, Array]:
        """Return of each row the share, float64, and a uint32 that says which is the other.

        Parameters
        ----------
        keys : ndarray of shape (rows,)
        """
        place = uniforms(keys, 0, 1)[:, 0] * (QUANTILES - 1)
        shares = np.interp(place, np.arange(QUANTILES), self.quantiles)
        return shares, hashed(keys + np.uint32(GOLDEN_32))

    def apply(self, x: Array, other: Array, shares: Array) -> Array:
        """Return mixed rows.

        Parameters
        ----------
        x, other : ndarray of shape (rows, columns)
            Inputs or targets.
        shares : ndarray of shape (rows,)
            Of ``x``.
        """
        shares = shares.astype(x.dtype)[:, None]
        return shares * x + (1 - shares) * other


@functools.lru_cache(maxsize=16)
def _beta_quantiles(alpha: float) -> Array:
    """Return quantiles of Beta(alpha, alpha), which is symmetric.

    The density is summed over ``w = x^p``, in which it has no pole at 0.
    """
    p = min(alpha, 1.0)
    w = np.linspace(0, 0.5**p, 8193)
    x = np.minimum(w ** (1 / p), 0.5)  # which it rounds beyond for the smallest alpha
    with np.errstate(under="ignore"):
        density = (4 * x * (1 - x) if alpha >= 1 else 1 - x) ** (alpha - 1)
        sums = np.concatenate([[0], np.cumsum(density[1:] + density[:-1])])
        half = np.linspace(0, 0.5, QUANTILES // 2 + 1)
        lower = np.minimum(np.interp(half, sums / (2 * sums[-1]), w) ** (1 / p), 0.5)
    return np.concatenate([lower, 1 - lower[-2::-1]])


Augmentation = Images | Noise | Mixup
AUGMENTATIONS: dict[str, type[Augmentation]] = {"images": Images, "noise": Noise, "mixup": Mixup}


def named(augment: Any) -> tuple[Augmentation, ...]:
    """Return what an argument ``augment`` stands for: none, one or a sequence of augmentations.

    Parameters
    ----------
    augment : None, augmentation or sequence of augmentation

    Raises
    ------
    TypeError, ValueError
        If it is something else, or has more than one `Mixup`.
    """
    if augment is None:
        return ()
    several = isinstance(augment, Iterable) and not isinstance(augment, str)
    found = tuple(augment if several else [augment])
    for each in found:
        if not isinstance(each, Augmentation):
            names = ", ".join(kind.__name__ for kind in AUGMENTATIONS.values())
            raise TypeError(
                f"augment must be of fastnn.augment ({names}), such as fastnn.augment.Noise(0.1), "
                f"or a list of these; got {each!r}"
            )
    if sum(isinstance(each, Mixup) for each in found) > 1:
        raise ValueError("augment must hold at most one Mixup; got several")
    return found
