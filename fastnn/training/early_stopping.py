"""Early stopping: when a run has gone on for long enough without getting better."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fastnn.checks import values as check

HIGHER_IS_BETTER = ("accuracy", "macro_f1", "r2")


@dataclass(frozen=True)
class EarlyStopping:
    """Stop when a recorded metric has not become better for some epochs (Prechelt, 1998).

    Parameters
    ----------
    metric : str, optional
        A column of the history, such as "validation_accuracy" or "loss"; by default
        "validation_loss".
    patience : int
        Epochs to wait for a value that is better than the best by more than ``min_change``.
    min_change : float
    restore_best : bool
        At the end, take back the parameters of the best epoch.
    """

    metric: str = "validation_loss"
    patience: int = 5
    min_change: float = 0.0
    restore_best: bool = True

    def __post_init__(self) -> None:
        check.integer("EarlyStopping's patience", self.patience, 1)
        check.real("EarlyStopping's min_change", self.min_change, least=0)

    @property
    def sign(self) -> int:
        """Return 1 if a higher value of the metric is better, else -1."""
        return 1 if self.metric.endswith(HIGHER_IS_BETTER) else -1


class Watch:
    """Follows a run for early stopping: the best value, and how long ago it was."""

    def __init__(self, rule: EarlyStopping) -> None:
        self.rule = rule
        self.best = -math.inf
        self.waited = 0

    def see(self, value: float) -> bool:
        """Take note of an epoch; return whether it was the best."""
        value *= self.rule.sign
        if value > self.best + self.rule.min_change:
            self.best, self.waited = value, 0
            return True
        self.waited += 1
        return False

    @property
    def over(self) -> bool:
        """Tell whether patience has run out."""
        return self.waited >= self.rule.patience
