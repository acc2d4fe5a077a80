"""Early stopping: when a run ends because a metric no longer improves."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fastnn.checks import values as check

HIGHER_IS_BETTER = ("accuracy", "macro_f1", "r2")


@dataclass(frozen=True)
class EarlyStopping:
    """Stop when a loss or a score has not improved for some epochs (Prechelt, 1998).

    Parameters
    ----------
    metric : str
        A loss or a score in the history, such as "validation_accuracy" or "loss". All but "loss"
        and the training metrics need validation data.
    patience : int
        Epochs without a new best value after which training stops; at least 1.
    min_change : float
        A value counts as better if it is better by more than this; at least 0.
    restore_best : bool
        Restore the parameters of the best epoch at the end.

    Raises
    ------
    TypeError, ValueError
        If ``patience`` or ``min_change`` is not as described. `Network.train` checks ``metric``.
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
    """The best value of a run so far, and the number of epochs since then."""

    def __init__(self, rule: EarlyStopping) -> None:
        self.rule = rule
        self.best = -math.inf
        self.waited = 0

    def see(self, value: float) -> bool:
        """Record the value of an epoch; return whether it is the best so far."""
        value *= self.rule.sign
        if value > self.best + self.rule.min_change:
            self.best, self.waited = value, 0
            return True
        self.waited += 1
        return False

    @property
    def over(self) -> bool:
        """Whether the run has waited for as many epochs as its patience allows."""
        return self.waited >= self.rule.patience
