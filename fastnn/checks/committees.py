"""Checks of the members of a committee: their outputs must mean the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastnn.losses import name_of
from fastnn.model.model import Model


def agree(models: Sequence[Model]) -> None:
    """Refuse models that take other inputs, or give other outputs, than the first.

    What training sets may be missing in a model that was not trained.
    """
    for i, model in enumerate(models):
        for other in range(i):
            if models[other] is model:
                raise ValueError(
                    f"member {i} is the same network as member {other}; need different ones, such "
                    "as [fastnn.Network(sizes, seed=i) for i in range(5)]"
                )
        ours, theirs = (_fixed(each) for each in (models[0], model))
        for name in ours:
            if ours[name] != theirs[name]:
                raise ValueError(
                    f"member {i} has {_shown(name, theirs[name])}, and member 0 "
                    f"{_shown(name, ours[name])}; all members need the same"
                )
    for name in ("classes", "features", "pixels"):
        _agree_in(name, models)


def _agree_in(name: str, models: Sequence[Model]) -> None:
    """Refuse models that have learnt different things of this name."""
    first: tuple[int, Any] | None = None
    for i, model in enumerate(models):
        value = getattr(model, name)
        if not (value or model.epochs_trained):
            continue
        if first is None:
            first = i, value
        elif value != first[1]:
            j, known = first
            if name == "pixels":
                one, two = (i, j) if value else (j, i)
                raise ValueError(
                    f"member {one} was trained on uint8, which is divided by 255, and member "
                    f"{two} on other numbers; all members need inputs of one kind"
                )
            raise ValueError(
                f"member {i} has the {name} {value}, and member {j} {known}; all members need the "
                f"same: assign them, as in net.{name} = [...]"
            )


def _fixed(model: Model) -> dict[str, Any]:
    """Return what members must have in common from the beginning."""
    a = model.architecture
    return {
        "inputs": a.sizes[0], "outputs": a.sizes[-1], "output": a.output, "loss": a.loss,
        "dtype": a.dtype.name,
    }  # fmt: skip


def _shown(name: str, value: Any) -> str:
    if name in ("inputs", "outputs"):
        return f"{value} {name if value != 1 else name[:-1]}"
    if name == "loss" and callable(value):
        return f"the loss {name_of(value)!r}, a function"
    return f"the {name} {value!r}"
