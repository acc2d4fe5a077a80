"""The contenders of `peers.py`: the same work, as one who knows each library would write it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

from contenders import (
    of_fastnn,
    of_jax,
    of_keras,
    of_numpy,
    of_onnxruntime,
    of_sklearn,
    of_torch,
)
from contenders.task import Learning, Prediction, Task, Training


@dataclass(frozen=True)
class Contender:
    """A library: the distributions that it needs, its own first, and the work that it does."""

    needs: tuple[str, ...]
    training: Callable[[Task], Training] | None = None
    learning: Callable[[Task], Learning] | None = None
    prediction: Callable[[Task], Prediction] | None = None


def _all(module: ModuleType, *needs: str) -> Contender:
    """Return a contender that does everything, with a module's functions."""
    return Contender(needs, module.training, module.learning, module.prediction)


CONTENDERS = {
    "fastnn": _all(of_fastnn),
    "numpy": _all(of_numpy, "numpy"),
    "sklearn": _all(of_sklearn, "scikit-learn"),
    "torch": _all(of_torch, "torch"),
    "torch.compile": Contender(("torch",), of_torch.compiled_training, of_torch.compiled_learning),
    "jax": _all(of_jax, "jax"),
    "keras": _all(of_keras, "keras", "tensorflow-cpu"),
    "onnxruntime": Contender(("onnxruntime", "onnx"), prediction=of_onnxruntime.prediction),
}
