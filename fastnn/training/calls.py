"""What each rank called `fastnn.Network.train` with, to compare all with the first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from zlib import crc32

import numpy as np

import fastnn
from fastnn.activations import Array
from fastnn.distributed import Ranks
from fastnn.model import files
from fastnn.model.model import Model
from fastnn.streams.stream import Stream
from fastnn.training.data import TrainingData
from fastnn.training.fingerprints import agree, of_setting
from fastnn.training.settings import TrainingSettings

SHOWN = (str, int, float, bool, list)  # of these an error shows the values


NO_WEIGHTS = (
    "local=True takes no sample_weight and no class_weight: weights are divided by the mean of all "
    "rows; pass all rows, or the same stream, on each rank"
)


def call_without_data(model: Model, settings: TrainingSettings, ranks: Ranks) -> dict[str, Any]:
    """Return what a rank was called with, by name, but for the data."""
    architecture = model.architecture
    return {
        "version of fastnn": fastnn.__version__,
        "version of NumPy": np.__version__,
        "backend": model.backend,
        **files.contents(model, optimizer=False)[1]["network"],
        "loss": of_setting(architecture.loss),
        "precision": architecture.precision,
        "local": ranks.local,
        "average_every": ranks.average_every,
        **settings.as_json(),
        "checkpoint": settings.checkpoint is not None,
        "checkpoint_every": settings.checkpoint_every,
        "resume": settings.resume,
        "max_seconds": settings.max_seconds is not None,
    }


def parts_of(stream: Stream) -> dict[str, Any]:
    """Return what is the same on all ranks that share the parts of a stream."""
    names = tuple((part.name, part.rows) for part in stream.parts)
    return {"number of parts": len(names), "list of parts": (crc32(repr(names).encode()),)}


def call_of(
    model: Model, data: TrainingData, settings: TrainingSettings, ranks: Ranks
) -> dict[str, Any]:
    """Return what a rank was called with, by name."""
    state, kind = model.optimizer_state, str(data.X.dtype)
    if (ranks.local or data.apart) and kind != "uint8":  # which are pixels
        kind = "numbers"  # whole ones, for example, if a rank has no others in its files
    call = call_without_data(model, settings, ranks) | {
        "kind of X": [type(data.X).__name__, data.X.shape[1], kind],
        "names of classes": data.classes and list(data.classes),
        "names of inputs": data.features and list(data.features),
        "kind of data": [list(data.metrics(model)), data.weights is not None],
        "parameters": checksums([model.vector, *(state.vectors if state else ())]),
    }
    if not ranks.local:
        call |= data.compared(len(data) * model.architecture.training_flops)
    return call


def refuse_differences(calls: Sequence[dict[str, Any]]) -> None:
    """Refuse ranks that were called with something else than the first."""
    first = calls[0]
    for rank, call in enumerate(calls):
        for name, value in call.items():
            if agree(first[name], value):
                continue
            values = ""
            if isinstance(value, SHOWN) and not name.startswith(("X", "y", "parameters")):
                values = f": {value!r}, and {first[name]!r}"
            raise ValueError(
                f"rank {rank} has another {name} than rank 0{values}; training needs the same "
                "network, settings and data on all ranks"
            )


def checksums(vectors: list[Array]) -> list[int]:
    """Return a number for each vector, which tells apart those that differ, as a rule."""
    return [
        int(np.add.reduce(vector.view(f"u{vector.itemsize}"), dtype=np.uint64))
        for vector in vectors
    ]
