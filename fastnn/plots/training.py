"""Pictures of the history of training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastnn.plots.drawing import BLUE, GREY, LARGE, RED, blank, legend_below, matplotlib_module
from fastnn.training.history import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# The columns of a history, by their first letters: label, colour, line and marker.
SERIES = {
    "": ("training, during the epoch", GREY, ":", "^"),
    "training_": ("training, after the epoch", BLUE, "-", "o"),
    "validation_": ("validation", RED, "--", "s"),
}
TITLES = {"macro_f1": "macro-F1", "r2": "R²", "mae": "MAE", "rmse": "RMSE"}


def curves(history: History) -> Figure:
    """Draw loss and scores of training and validation, epoch by epoch.

    Parameters
    ----------
    history : History
        At least one epoch. The columns ``loss``, ``training_...`` and ``validation_...`` are drawn,
        those of the same score together.

    Raises
    ------
    ImportError, TypeError, ValueError
        As for `plots.images`.
    """
    epochs = _epochs(history)
    scores: dict[str, list[str]] = {}
    for column in history.columns:
        prefix = column[: column.find("_") + 1]
        if column == "loss" or prefix in ("training_", "validation_"):
            scores.setdefault(column.removeprefix(prefix), []).append(column)
    if not scores:
        raise ValueError(f"history has columns {history.columns}; need a loss or a score")
    columns = 2 if len(scores) in (2, 4) else min(3, len(scores))
    rows = -(-len(scores) // columns)
    figure, axes = blank(max(5.0, 4.2 * columns), 3.1 * rows + 0.5, rows, columns)
    for ax, (score, names) in zip(axes, scores.items(), strict=False):
        for name in names:
            label, colour, line, marker = SERIES[name.removesuffix(score)]
            _line(ax, epochs, history[name], color=colour, ls=line, marker=marker, label=label)
        if history.best_epoch is not None:
            ax.axvline(history.best_epoch, color="black", lw=1, ls="-.", label="best epoch")
        low, high = (f([f(history[name]) for name in names]) for f in (min, max))
        wide = score == "loss" and 0 < 30 * low < high
        ax.set_title(TITLES.get(score, score) + ", log scale" * wide, fontsize=LARGE)
        if wide:
            ax.set_yscale("log")
    for ax in axes[len(scores) :]:
        ax.set_visible(False)
    legend_below(figure, columns)
    return figure


def learning_rate(history: History) -> Figure:
    """Draw the learning rate at the start of each epoch.

    Parameters
    ----------
    history : History
        At least one epoch.

    Raises
    ------
    ImportError, TypeError, ValueError
        As for `plots.images`.
    """
    return _column(history, "learning_rate", "learning rate")


def throughput(history: History) -> Figure:
    """Draw the throughput of each epoch, in samples per second.

    Parameters
    ----------
    history : History
        At least one epoch.

    Raises
    ------
    ImportError, TypeError, ValueError
        As for `plots.images`.
    """
    return _column(history, "samples_per_second", "samples per second")


def _column(history: History, name: str, label: str) -> Figure:
    epochs = _epochs(history)
    figure, (ax,) = blank(5.0, 2.8)
    _line(ax, epochs, history[name], color=BLUE, marker="o")
    ax.set(ylabel=label, ylim=(0, 1.08 * max(history[name])))
    if max(history[name]) > 1000:
        ax.yaxis.set_major_formatter("{x:,.0f}")
    return figure


def _line(ax: Axes, epochs: list[float], values: list[float], **style: Any) -> None:
    ax.plot(epochs, values, ms=4, markevery=max(1, len(epochs) // 20), **style)
    ticker = matplotlib_module("ticker")
    ax.xaxis.set_major_locator(ticker.MaxNLocator(integer=True, min_n_ticks=1))
    ax.set(xlabel="epoch", xlim=(epochs[0] - 0.5, epochs[-1] + 0.5))
    ax.grid(alpha=0.3)


def _epochs(history: History) -> list[float]:
    if not isinstance(history, History):
        raise TypeError(f"history is a {type(history).__name__}; need a History")
    if not len(history):
        raise ValueError("history has no epochs; need one or more")
    return history["epoch"]
