"""The evaluation of a network as the command lines print it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastnn import metrics
from fastnn.activations import Array
from fastnn.network import Network

MOST_CLASSES = 30  # of a confusion matrix that is printed
WIDEST_NAME = 12


def predicted(net: Network, X: Array, classes: Sequence[str]) -> Array:
    """Return positions of classes, for any output, or numbers."""
    outputs = net.predict_proba(X)
    if outputs.shape[1] > 1:
        return outputs.argmax(axis=1)
    return (outputs[:, 0] > 0.5).astype(np.int64) if classes else outputs[:, 0]


def print_report(net: Network, X: Array, y: Array, classes: Sequence[str]) -> None:
    """Print the evaluation of a network; y holds positions of classes, or numbers without any."""
    if not classes:
        scores = net.evaluate(X, y)
        print(f"\ntest R2    {scores['r2']:.4f}")
        print(f"test MAE   {scores['mae']:.4g}")
        print(f"test RMSE  {scores['rmse']:.4g}")
        return
    places = predicted(net, X, classes)
    print(f"\ntest accuracy  {metrics.accuracy(y, places):.4f}")
    print(f"test macro-F1  {metrics.macro_f1(y, places):.4f}")
    if len(classes) <= MOST_CLASSES:
        print("\nconfusion matrix: rows are the true classes, columns the predicted ones")
        _print_confusion(y, places, classes)


def _print_confusion(true: Array, predicted: Array, classes: Sequence[str]) -> None:
    names = [
        name if len(name) <= WIDEST_NAME else f"{name[: WIDEST_NAME - 1]}…" for name in classes
    ]
    width = max(6, 1 + max(map(len, names)))
    print(" " * (width - 1) + "".join(f"{name:>{width}}" for name in names))
    for name, row in zip(names, metrics.confusion_matrix(true, predicted, len(names)), strict=True):
        cells = (f"{count:{width}d}" if count else f"{'.':>{width}}" for count in row)
        print(f"{name:>{width - 1}}" + "".join(cells))
