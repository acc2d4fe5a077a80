"""What plans hold of augmentations: their records, room for the threads, and mixed targets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn.activations import Array
from fastnn.augment import GRID, IMAGES, MIXUP, NOISE, Augmentation, Images, Mixup, Noise, splines
from fastnn.backends.compiled.kernels import layout
from fastnn.backends.compiled.kernels.augment import EDGE, POINTS
from fastnn.backends.compiled.sparse_plan import address_of
from fastnn.backends.contract import Examples
from fastnn.model.architecture import CACHE_LINE, Architecture, padded
from fastnn.model.parameters import aligned_zeros

# Whole numbers, float64 numbers, and tables; then how many numbers of room a thread needs.
Parts = tuple[list[int], Array, Array, int]


def _of_images(images: Images, features: int, dtype: np.dtype) -> Parts:
    height, width, channels = images.size
    lanes = CACHE_LINE // dtype.itemsize
    across = -(-width // lanes) * lanes
    tables = np.zeros((1 + GRID, across))
    tables[0, :width] = np.arange(width) - (width - 1) / 2
    tables[1:, :width] = splines(width).T
    how = np.radians(images.rotate), images.scale, images.shear, images.shift, images.elastic
    room = 3 * height * across + 2 * POINTS + 2 * GRID * across
    return (
        [height, width, channels, int(images.flip)],
        np.array([*how, images.fill], np.float64),
        np.concatenate([tables.reshape(-1), splines(height).reshape(-1)]).astype(dtype),
        room + (height + EDGE) * (width + EDGE) * channels,
    )


def _of_noise(noise: Noise, features: int, dtype: np.dtype) -> Parts:
    return [0], np.array([noise.std]), np.zeros(1, dtype), features + 1


def _of_mixup(mixup: Mixup, features: int, dtype: np.dtype) -> Parts:
    return [0], mixup.quantiles, np.zeros(1, dtype), 0


PARTS: dict[int, Callable[[Any, int, np.dtype], Parts]] = {
    IMAGES: _of_images, NOISE: _of_noise, MIXUP: _of_mixup,
}  # fmt: skip


class Room:
    """The memory of the augmentations of a plan, which its record names.

    Parameters
    ----------
    architecture : Architecture
    augment : sequence of augmentation
    record : ndarray of shape (1,)
        The plan's; it gets the addresses.
    learning : bool
        Whether there are targets that are to be mixed.
    """

    def __init__(
        self,
        architecture: Architecture,
        augment: tuple[Augmentation, ...],
        record: Array,
        learning: bool,
    ) -> None:
        dtype, sizes = architecture.dtype, architecture.sizes
        ways = np.zeros(len(augment), layout.AUGMENTATION)
        self.kept: list[Array] = [ways]
        room = 0
        for i, each in enumerate(augment):
            whole, *others, needed = PARTS[each.code](each, sizes[0], dtype)
            for name, array in zip(
                ("sizes", "numbers", "tables"), (np.array(whole, np.int64), *others), strict=True
            ):
                ways[name][i] = address_of(array)
                self.kept.append(array)
            ways["kind"][i] = each.code
            room = max(room, needed)
        mixing = any(isinstance(each, Mixup) for each in augment)
        if mixing:  # with another row before that of what changes it, then with two of targets
            room = max(room + padded(sizes[0], dtype.itemsize), 2 * sizes[-1])
        size = padded(room, dtype.itemsize)
        rooms = aligned_zeros(record["threads"].item() * size, dtype)
        self.mixes = mixing and learning
        rows = record["block_size"].item() * self.mixes
        self.targets = aligned_zeros(rows * padded(sizes[-1], dtype.itemsize), dtype)
        self.weights = aligned_zeros(rows, dtype)
        self.kept += [rooms, self.targets, self.weights]
        for name, value in (
            ("augmentations", address_of(ways)),
            ("augmentation_count", len(augment)),
            ("rooms", address_of(rooms)),
            ("room_size", size),
            ("mixes", self.mixes),
            ("mixed_targets", address_of(self.targets)),
            ("mixed_weights", address_of(self.weights)),
        ):
            record[name] = value

    def read(self, examples: Examples, record: Array) -> None:
        """Say which rows may be drawn, and put mixed targets and weights in the place of others."""
        rows = examples.rows
        record["drawn_from"] = 0 if rows is None else address_of(rows)
        record["drawn_count"] = len(examples.X if rows is None else rows)
        if self.mixes:
            record["own_targets"], record["own_weights"] = record["targets"], record["row_weights"]
            width = len(self.targets) // record["block_size"].item()
            itemsize = self.targets.itemsize
            kind = layout.FLOAT32 if itemsize == 4 else layout.FLOAT64
            record["targets"] = address_of(self.targets), kind, itemsize * width, itemsize
            if examples.weights is not None:
                record["row_weights"] = address_of(self.weights)
