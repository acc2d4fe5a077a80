"""fastnn: train and run multi-layer perceptrons on a CPU at the speed of the hardware."""

from fastnn import datasets, optimizers, schedules
from fastnn.backends import warmup
from fastnn.files import load
from fastnn.history import History
from fastnn.inspection import check_gradients, compare_backends
from fastnn.loop import DivergenceError
from fastnn.network import Network
from fastnn.stopping import EarlyStopping
from fastnn.tuning import Tuning, tune

__version__ = "0.1.0"

__all__ = [
    "DivergenceError",
    "EarlyStopping",
    "History",
    "Network",
    "Tuning",
    "check_gradients",
    "compare_backends",
    "datasets",
    "load",
    "optimizers",
    "schedules",
    "tune",
    "warmup",
]
