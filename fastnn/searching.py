"""Which combinations of settings a search tries, and for how many epochs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

Settings = dict[str, Any]


class Range(NamedTuple):
    """Numbers between two limits, to draw from as from a distribution of scipy.

    Attributes
    ----------
    low, high : float
    log : bool
        Whether the logarithm of the numbers is uniform, and not they themselves.
    whole : bool
        Whether they are whole numbers, both limits included.
    """

    low: float
    high: float
    log: bool
    whole: bool

    def rvs(self, random_state: np.random.Generator) -> float:
        """Return a number."""
        low, high = self.low, self.high
        if self.whole:
            low, high = low - 0.5, high + 0.5
        if self.log:
            number = math.exp(random_state.uniform(math.log(low), math.log(high)))
        else:
            number = random_state.uniform(low, high)
        if self.whole:
            return min(max(round(number), int(self.low)), int(self.high))
        return min(max(number, self.low), self.high)  # rounding may lead beyond


def is_distribution(values: Any) -> bool:
    """Tell whether values can be drawn from it as from a distribution of scipy."""
    return hasattr(values, "rvs")


def combinations(
    grids: Sequence[Mapping[str, Any]], count: int | None = None, seed: int = 0
) -> list[Settings]:
    """Return all combinations of grids, or so many at random.

    Those of lists alone are different ones: all, if there are no more than asked for.

    Parameters
    ----------
    grids : sequence of mapping
        From names to lists of values or, with a count, distributions.
    count, seed : int
    """
    sorted_grids = [dict(sorted(grid.items())) for grid in grids]
    sizes = []
    if not any(is_distribution(values) for grid in grids for values in grid.values()):
        sizes = [math.prod(map(len, grid.values())) for grid in grids]
        if count is None or count >= sum(sizes):
            return [
                dict(zip(grid, chosen, strict=True))
                for grid in sorted_grids
                for chosen in itertools.product(*grid.values())
            ]
    rng = np.random.default_rng([seed, 7])
    if not sizes:
        assert count is not None
        return [_drawn(sorted_grids[rng.integers(len(grids))], rng) for _ in range(count)]
    starts = np.cumsum([0, *sizes])
    found = []
    for place in np.sort(rng.choice(starts[-1], count, replace=False)):
        i = int(np.searchsorted(starts, place, "right")) - 1
        left, chosen = int(place - starts[i]), {}
        for name, values in reversed(sorted_grids[i].items()):
            left, own = divmod(left, len(values))
            chosen[name] = values[own]
        found.append(dict(reversed(chosen.items())))
    return found


def _drawn(grid: Mapping[str, Any], rng: np.random.Generator) -> Settings:
    found = {}
    for name, values in grid.items():
        if is_distribution(values):
            try:
                value = values.rvs(random_state=rng)
            except TypeError as error:  # of one that is not as described
                raise TypeError(
                    f"grid[{name!r}] must have a method rvs(random_state=...); got {error}"
                ) from error
            found[name] = value.item() if isinstance(value, np.generic) else value
        else:
            found[name] = values[rng.integers(len(values))]
    return found


class Rung(NamedTuple):
    """A part of successive halving: how many combinations it tries, and what divides epochs."""

    size: int
    divisor: int

    def epochs(self, most: int) -> int:
        """Return for how many epochs it trains what is trained for so many at last."""
        return max(1, most // self.divisor)


def rungs(count: int, epochs: int, factor: int | None) -> list[Rung]:
    """Return the rungs of successive halving (Jamieson and Talwalkar, 2016).

    Each trains for ``factor`` times as many epochs as the one before, and tries that share of its
    combinations. Without a factor there is one.
    """
    found = [Rung(count, 1)]
    if factor is None:
        return found
    while count >= factor and epochs >= factor:
        count, epochs = -(-count // factor), epochs // factor
        found = [rung._replace(divisor=rung.divisor * factor) for rung in found]
        found.append(Rung(count, 1))
    return found
