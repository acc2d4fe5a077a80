"""Sums over rows that come in blocks of any length: the same bits as over all rows in one array."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from fastnn.activations import Array
from fastnn.model.scaling import Gathering, Moments, rows_at_a_time
from fastnn.training import row_weights


class _Regrouped:
    """Hands rows on in arrays of so many, however they come, in float64.

    Parameters
    ----------
    size : int
    use : callable
        Takes such an array.
    """

    def __init__(self, size: int, use: Callable[[Array], None]) -> None:
        self.size, self.use = size, use
        self.parts: list[Array] = []
        self.held = 0

    def add(self, rows: Array) -> None:
        """Take rows."""
        first = 0
        while first < len(rows):
            part = rows[first : first + self.size - self.held].astype(np.float64)
            self.parts.append(part)
            self.held += len(part)
            first += len(part)
            if self.held == self.size:
                self.finish()

    def finish(self) -> None:
        """Hand on what is there."""
        if self.held:
            whole = self.parts[0] if len(self.parts) == 1 else np.concatenate(self.parts)
            self.use(whole)
        self.parts, self.held = [], 0


class Spread:
    """The moments of rows, as `fastnn.model.scaling.learn` computes them."""

    def __init__(self) -> None:
        self._gathering: Gathering | None = None
        self._rows: _Regrouped | None = None

    def add(self, rows: Array) -> None:
        """Take rows, (n, columns)."""
        if self._rows is None:
            self._gathering = Gathering(rows[0].astype(np.float64))
            self._rows = _Regrouped(rows_at_a_time(rows.shape[1]), self._gathering.add)
        self._rows.add(rows)

    @property
    def moments(self) -> Moments:
        """Those of all rows, after the last."""
        assert self._rows is not None
        assert self._gathering is not None
        self._rows.finish()
        return self._gathering.moments


class Mean:
    """The mean of weights, as `row_weights.with_mean_one` computes it."""

    def __init__(self) -> None:
        self._total, self._count = 0.0, 0
        self._weights = _Regrouped(row_weights.BLOCK, self._add)

    def add(self, weights: Array) -> None:
        """Take weights, (n,)."""
        self._count += len(weights)
        self._weights.add(weights)

    def _add(self, block: Array) -> None:
        self._total = row_weights.added(self._total, block)

    @property
    def sums(self) -> tuple[float, int]:
        """The sum of all weights and how many there are, after the last."""
        self._weights.finish()
        return self._total, self._count


@np.errstate(over="ignore")
def mean_of_all(sums: Sequence[tuple[float, int] | None]) -> float | None:
    """Return the mean of the weights of all processes, from the `Mean.sums` of each, if any."""
    known = [each for each in sums if each is not None]
    if not known:
        return None
    totals, counts = zip(*known, strict=True)
    return row_weights.mean_of(float(np.add.accumulate(totals)[-1]), sum(counts))
