"""The settings of a run: the checked keyword arguments of `fastnn.Network.train`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

from fastnn import averaging, distributed, schedules
from fastnn.backends.contract import Objective, UpdateRule
from fastnn.checks import networks as check_network
from fastnn.checks import values as check
from fastnn.distributed import Ranks
from fastnn.model.architecture import Architecture
from fastnn.optimizers import Optimizer
from fastnn.training.early_stopping import EarlyStopping
from fastnn.training.fingerprints import of_setting
from fastnn.training.history import Row
from fastnn.writing import check_destination

Callback = Callable[[Row], object]


@dataclass(frozen=True)
class TrainingSettings:
    """Everything that `fastnn.Network.train` gets but the data; its docstring says what each is."""

    epochs: int
    batch_size: int
    learning_rate: float
    schedule: schedules.Schedule | Callable[[float], float]
    optimizer: Optimizer
    objective: Objective
    clip_norm: float | None
    clip_value: float | None
    max_norm: float | None
    frozen: frozenset[int]
    shuffle: bool
    early_stopping: EarlyStopping | None
    average: averaging.Average | None
    max_seconds: float | None
    training_metrics: bool
    checkpoint: str | os.PathLike[str] | None
    checkpoint_every: int | None  # steps; None is an epoch
    resume: bool
    progress: bool | None
    callbacks: Sequence[Callback]
    communicator: Ranks | None

    @cached_property
    def rule(self) -> UpdateRule:
        """What a step of a backend needs to know."""
        return UpdateRule(
            self.objective, self.optimizer, self.clip_norm, self.clip_value, self.max_norm,
            self.frozen, self.average if isinstance(self.average, averaging.EMA) else None,
        )  # fmt: skip

    def as_json(self) -> dict[str, Any]:
        """Return the settings that must be the same when a run is resumed, in JSON's types."""
        values = {**vars(self), **vars(self.objective)}
        return {name: of_setting(values[name]) for name in sorted(NAMES - MAY_DIFFER)}


# The arguments of `fastnn.Network.train` that are settings; the others are the data.
NAMES = frozenset(
    {field.name for kind in (TrainingSettings, Objective) for field in fields(kind)} - {"objective"}
)
# Those that may differ when a run is resumed, as they change nothing that it computes.
MAY_DIFFER = frozenset(
    {
        "checkpoint", "checkpoint_every", "resume",  # where and when a file is written
        "max_seconds",  # how much of the run a call does
        "progress", "callbacks",  # what is told of it
        "communicator",  # any number of ranks may resume it
    }
)  # fmt: skip


def objective(keywords: Mapping[str, Any], architecture: Architecture) -> Objective:
    """Return the function to minimise, from arguments of `fastnn.Network.loss_and_gradient`."""
    return Objective(
        l2=check.real("l2", keywords["l2"], least=0),
        l1=check.real("l1", keywords["l1"], least=0),
        label_smoothing=check_network.label_smoothing(keywords["label_smoothing"], architecture),
        dropout=check_network.rates_of_dropout(keywords["dropout"], architecture),
        augment=check_network.augmentations(keywords.get("augment"), architecture),
    )


def checked(keywords: Mapping[str, Any], architecture: Architecture, rows: int) -> TrainingSettings:
    """Return the settings of a run from the arguments of `fastnn.Network.train`, or refuse them."""
    given = dict(keywords)
    optimizer = check_network.optimizer(given["optimizer"], architecture)
    epochs = check.integer("epochs", given["epochs"], 1)
    size, rate, every = given["batch_size"], given["learning_rate"], given["checkpoint_every"]
    stopping = given["early_stopping"]
    stopping = EarlyStopping() if stopping is True else stopping or None
    if not isinstance(stopping, EarlyStopping | None):
        raise TypeError(f"early_stopping must be a bool or an EarlyStopping, got {stopping!r}")
    if given["checkpoint"] is None and (every is not None or given["resume"]):
        name = "resume" if given["resume"] else "checkpoint_every"
        raise ValueError(f"{name} needs a checkpoint, the path of a file")
    if given["checkpoint"] is not None:
        check_destination(given["checkpoint"], "checkpoint")
    if size is None:
        size = 32
    ranks = distributed.chosen(given["communicator"])
    most = sys.maxsize if ranks is not None and ranks.local else rows  # others have rows, too
    if rate is None:
        rate = optimizer.learning_rate
    return TrainingSettings(
        epochs=epochs,
        batch_size=min(check.integer("batch_size", size, 1), most),
        learning_rate=check.real("learning_rate", rate, above=0),
        schedule=schedules.named(given["schedule"], epochs),
        optimizer=optimizer,
        objective=objective(given, architecture),
        clip_norm=check.limit("clip_norm", given["clip_norm"]),
        clip_value=check.limit("clip_value", given["clip_value"]),
        max_norm=check.limit("max_norm", given["max_norm"]),
        frozen=check_network.layer_numbers("frozen", given["frozen"], architecture),
        shuffle=bool(given["shuffle"]),
        early_stopping=stopping,
        average=averaging.chosen(given["average"], epochs),
        max_seconds=check.limit("max_seconds", given["max_seconds"]),
        training_metrics=bool(given["training_metrics"]),
        checkpoint=given["checkpoint"],
        checkpoint_every=None if every is None else check.integer("checkpoint_every", every, 1),
        resume=bool(given["resume"]),
        progress=given["progress"],
        callbacks=check.functions("callbacks", given["callbacks"]),
        communicator=ranks,
    )
