"""fastnn: train and run multi-layer perceptrons on a CPU at the speed of the hardware."""

from fastnn import datasets
from fastnn.backends import warmup
from fastnn.history import History
from fastnn.loop import DivergenceError
from fastnn.network import Network

__version__ = "0.1.0"

__all__ = ["DivergenceError", "History", "Network", "datasets", "warmup"]
