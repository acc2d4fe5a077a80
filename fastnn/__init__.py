"""fastnn: train and run multi-layer perceptrons on a CPU at the speed of the hardware."""

import importlib
from types import ModuleType

from fastnn import augment, averaging, datasets, distributed, losses, metrics, optimizers, schedules
from fastnn.backends import warmup
from fastnn.checks.warning import ConvergenceWarning
from fastnn.committee import Committee
from fastnn.conversion.sklearn import from_sklearn
from fastnn.conversion.torch import from_torch
from fastnn.inspection import check_gradients, compare_backends
from fastnn.loading import load
from fastnn.minimizing import minimize
from fastnn.network import Network
from fastnn.training.early_stopping import EarlyStopping
from fastnn.training.evaluation import DivergenceError
from fastnn.training.full_batch import Minimum
from fastnn.training.history import History
from fastnn.tuning import Tuning, tune

__version__ = "0.1.0"

__all__ = [
    "Committee",
    "ConvergenceWarning",
    "DivergenceError",
    "EarlyStopping",
    "History",
    "Minimum",
    "Network",
    "Tuning",
    "augment",
    "averaging",
    "check_gradients",
    "compare_backends",
    "datasets",
    "distributed",
    "from_sklearn",
    "from_torch",
    "load",
    "losses",
    "metrics",
    "minimize",
    "optimizers",
    "schedules",
    "tune",
    "warmup",
]


def __getattr__(name: str) -> ModuleType:
    """Import what few programs need, some of it with an extra, when it is first used."""
    if name in ("draw", "estimators", "export", "plots", "report", "tabular"):
        return importlib.import_module(f"fastnn.{name}")
    known = (augment, averaging, datasets, losses, metrics, optimizers, schedules)
    modules = [module for module in known if name in vars(module)]
    of_estimators = name.startswith(("MLP", "Tabular"))
    place = "fastnn.estimators" if of_estimators else modules and modules[0].__name__
    hint = f"; it is in {place}" if place else ""
    raise AttributeError(f"module 'fastnn' has no attribute {name!r}{hint}")
