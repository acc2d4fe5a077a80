"""A stream: parts of a data set, each of which is read by itself, in blocks of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fastnn.checks.tables import Names


class Part(NamedTuple):
    """A part of a stream.

    Attributes
    ----------
    name : str
        For errors, such as "'2024.parquet', row group 3".
    rows : int or None
        How many there are, if that is known without reading them.
    read : callable
        Return an iterable of blocks, each (X, y) or (X, y, sample_weight); anew in each call.
    """

    name: str
    rows: int | None
    read: Callable[[], Iterable[Any]]


class Block(NamedTuple):
    """Some rows of a part, as they were given."""

    name: str
    X: Any
    y: Any
    weights: Any = None


@dataclass(frozen=True)
class Stream:
    """Rows to train on that are read in every epoch, see `fastnn.datasets.stream`.

    Attributes
    ----------
    parts : tuple of Part
    features : tuple of str, or None
        The names of the inputs, if the files have any.
    buffer : int
        Rows that are shuffled together.
    """

    parts: tuple[Part, ...]
    features: Names | None
    buffer: int

    @property
    def rows(self) -> int | None:
        """How many rows there are, if that is known without reading them."""
        counts = [part.rows for part in self.parts]
        return None if None in counts else sum(filter(None, counts))

    def in_order(self, seed: int, epoch: int, shuffle: bool) -> Sequence[Part]:
        """Return the parts in the order of an epoch."""
        if not shuffle:
            return self.parts
        order = np.random.default_rng([seed, 4, epoch]).permutation(len(self.parts))
        return [self.parts[i] for i in order.tolist()]


def blocks_of(part: Part) -> Iterator[Block]:
    """Return the blocks of a part, after a look at their form.

    Raises
    ------
    TypeError, ValueError
        If a block is no pair, or there is none.
    """
    number = -1
    for number, given in enumerate(part.read()):
        name = f"{part.name}, block {number}"
        if not isinstance(given, tuple | list) or len(given) not in (2, 3):
            size = f" of {len(given)}" if isinstance(given, tuple | list) else ""
            got = f"a {type(given).__name__}{size}"
            raise TypeError(f"{name} must be (X, y) or (X, y, sample_weight); got {got}")
        yield Block(name, *given)
    if number < 0:
        raise ValueError(
            f"{part.name} gave no block; need rows in every epoch: a function that returns a new "
            "iterator each time, or something to go through again"
        )
