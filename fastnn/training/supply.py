"""Where an epoch gets its rows from: arrays that are all in memory. `buffers` has streams."""

from __future__ import annotations

from collections.abc import Iterator
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

    def epoch(self, run: Run, number: int) -> Iterator[tuple[slice, Array]]:
        """Yield the steps of an epoch that are left, and the rows of ``run.examples`` they take.

        Parameters
        ----------
        run : Run
            Between two of them, ``run.examples`` may become others.
        number : int
            The epochs of the model, this one included.
        """
        steps = slice(run.progress.step, run.steps)
        taken = run.batches.taken(steps)
        order = run.batches.order(run.model.seed, number, run.data.rows, run.settings.shuffle)
        yield steps, order[taken.start : taken.stop]

    def close(self, run: Run) -> None:
        """End what is still going on."""
