"""Keyword arguments that do not exist: which one was meant."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection
from typing import ParamSpec, TypeVar

from fastnn.checks.values import meant

P = ParamSpec("P")
R = TypeVar("R")

# What other libraries call the arguments of this one.
ELSEWHERE = {
    "alpha": "l2",
    "batch": "batch_size",
    "bs": "batch_size",
    "batchsize": "batch_size",
    "class_weights": "class_weight",
    "decay": "schedule",
    "device": "backend",
    "eta": "learning_rate",
    "hidden": "sizes",
    "hidden_layer_sizes": "sizes",
    "initializer": "init",
    "layers": "sizes",
    "learning_rate_init": "learning_rate",
    "loss_function": "loss",
    "lr": "learning_rate",
    "max_epochs": "epochs",
    "max_iter": "epochs",
    "n_epochs": "epochs",
    "n_iter": "epochs",
    "n_jobs": "threads",
    "nb_epoch": "epochs",
    "num_epochs": "epochs",
    "out_activation": "output",
    "output_activation": "output",
    "random_state": "seed",
    "sample_weights": "sample_weight",
    "scheduler": "schedule",
    "solver": "optimizer",
    "target": "label",
    "validation_data": "validation",
    "validation_fraction": "validation",
    "validation_split": "validation",
    "verbose": "progress",
    "weights": "sample_weight",
    "x": "X",
}


def suggesting(function: Callable[P, R]) -> Callable[P, R]:
    """Return a function whose errors about unknown keywords name the one that was meant."""
    known = frozenset(inspect.signature(function).parameters)

    @functools.wraps(function)
    def call(*values: P.args, **keywords: P.kwargs) -> R:
        if not keywords.keys() <= known:
            name = function.__qualname__.removesuffix(".__init__")
            if "." in name:  # a method, which may be of a part of the class that users know
                name = f"{type(values[0]).__name__}.{function.__name__}"
            check(name, keywords, known)
        return function(*values, **keywords)

    return call


def check(function: str, keywords: Collection[str], known: Collection[str]) -> None:
    """Refuse keywords that a function does not know; the error names the one that was meant."""
    if unknown := set(keywords).difference(known):
        keyword = min(unknown)
        other = ELSEWHERE.get(keyword.lower(), "")
        hint = f"; did you mean {other!r}?" if other in known else meant(keyword, known)
        raise TypeError(f"{function}() has no argument {keyword!r}{hint}")
