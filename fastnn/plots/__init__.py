"""Pictures of data, of training and of predictions.

Each function returns a `matplotlib.figure.Figure` without a window and without global state:
``plots.curves(history).savefig("curves.png")``. Matplotlib is imported on the first call.
"""

from fastnn.plots.arguments import LEAST_PIXELS, LONGEST_NAME, Names, Shape
from fastnn.plots.data import augmented, classes, images
from fastnn.plots.drawing import BLUE, GREY, RED, SMALL, check_installed
from fastnn.plots.evaluation import calibration, confusion, mistakes, predictions
from fastnn.plots.layers import weights
from fastnn.plots.runs import DPI, Results, of_run, results, run
from fastnn.plots.training import SERIES, TITLES, curves, learning_rate, throughput

__all__ = [
    "BLUE",
    "DPI",
    "GREY",
    "LEAST_PIXELS",
    "LONGEST_NAME",
    "RED",
    "SERIES",
    "SMALL",
    "TITLES",
    "Names",
    "Results",
    "Shape",
    "augmented",
    "calibration",
    "check_installed",
    "classes",
    "confusion",
    "curves",
    "images",
    "learning_rate",
    "mistakes",
    "of_run",
    "predictions",
    "results",
    "run",
    "throughput",
    "weights",
]
