"""Where an epoch gets its rows from: arrays that are all in memory. `buffers` has streams."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

from fastnn.activations import Array

# A run: the module that defines it needs this one.
Run: TypeAlias = Any


class Supply:
    """The rows of a run.

    Attributes
    ----------
    failed : bool
        Whether reading them has ended the run, between two steps.
    """

    failed = False

    def epoch(self, run: Run, number: int) -> Iterable[tuple[slice, int, Array]]:
        """Return parts of an epoch: the steps, where their rows begin in the epoch, and these rows.

        Between two of them, ``run.examples`` may become others. Steps that are done are left out,
        but not their rows.

        Parameters
        ----------
        run : Run
        number : int
            The epochs of the model, this one included.
        """
        settings = run.settings
        order = run.batches.order(run.model.seed, number, run.data.rows, settings.shuffle)
        return ((slice(run.progress.step, run.steps), 0, order),)

    def close(self, run: Run) -> None:
        """End what is still going on."""
