"""What a contender is to do, and what it returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray
# What puts back the first weights, and an epoch, which returns the mean loss.
Training = tuple[Callable[[], object], Callable[[], float]]
# What makes rows an array of the library, and what predicts them.
Prediction = tuple[Callable[[Array], Any], Callable[[Any], Any]]
# What puts back the first weights, what makes a row and its target arrays of the library, a step
# with these, and what returns all weights, then all biases.
Learning = tuple[
    Callable[[], object],
    Callable[[Array, Array], tuple[Any, Any]],
    Callable[[Any, Any], object],
    Callable[[], list[Array]],
]

RATES = {"sgd": 0.01, "momentum": 0.01, "adam": 0.001}
MOMENTUM = 0.9
# So small an epsilon that it does not matter where it is added: scikit-learn and Keras add it
# before the mean of squares is corrected. With 1e-8 their losses differ by 0.0001.
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-9


@dataclass
class Task:
    """The network as it starts, and how it learns from the rows ``X[order]``."""

    weights: list[Array]
    biases: list[Array]
    X: Array
    y: Array  # labels (n,), or numbers (n, outputs)
    order: Array
    batch: int
    threads: int
    activation: str = "relu"  # or "tanh"
    loss: str = "cross_entropy"  # of a softmax; or "mse", of the outputs as they are
    optimizer: str = "sgd"  # or "momentum", "adam"

    @property
    def rate(self) -> float:
        """The learning rate; with momentum, squared errors row by row diverge at more."""
        slower = self.optimizer == "momentum" and self.loss == "mse"
        return RATES[self.optimizer] / (10 if slower else 1)

    @property
    def classifies(self) -> bool:
        """Whether the targets are labels."""
        return self.loss == "cross_entropy"

    @property
    def initial(self) -> list[Array]:
        """All weights, then all biases."""
        return self.weights + self.biases
