"""The pictures, the page and the history of a run, which the command line writes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from fastnn.activations import Array
from fastnn.cli.groups import Keywords
from fastnn.network import Network
from fastnn.training.history import History


class Tested(NamedTuple):
    """The rows that a network is evaluated on.

    Attributes
    ----------
    name : str
        Of the data.
    X, y : ndarray
    names : list of str or None
        Of the classes.
    """

    name: str
    X: Any
    y: Array
    names: list[str] | None


def draw(
    given: Keywords, net: Network, history: History, tested: Tested, say: Callable[[str], None]
) -> None:
    """Write the pictures and the page that are asked for."""
    if not len(history):
        return
    if "plot" in given:
        from fastnn import plots

        pictures = plots.run(given["plot"], net, history, tested.X, tested.y, names=tested.names)
        say(f"\n{len(pictures)} pictures are in {given['plot']}")
    if "report" in given:
        from fastnn import report

        report.write(
            given["report"],
            net,
            history,
            tested.X,
            tested.y,
            settings=_as_typed(given),
            names=tested.names,
            title=f"{tested.name}: training run",
        )
        say(f"\nthe report is {given['report']}")


def _as_typed(given: Keywords) -> dict[str, str]:
    """Return the options of a run as a user types them, without the dashes."""
    typed = {}
    for name, value in given.items():
        values = value if isinstance(value, list) else [value]
        typed[name.lstrip("-").replace("_", "-")] = " ".join(map(str, values))
    return typed
