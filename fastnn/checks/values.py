"""Checks of single values."""

from __future__ import annotations

import difflib
import math
import operator
import re
from collections.abc import Callable, Collection, Iterable
from typing import Any

import numpy as np

# What other libraries call some choices, without underscores.
NICKNAMES = {
    "absoluteerror": "mae",
    "bce": "binary_cross_entropy",
    "bf16": "bfloat16",
    "categoricalcrossentropy": "cross_entropy",
    "l1loss": "mae",
    "linear": "identity",
    "logistic": "sigmoid",
    "logloss": "cross_entropy",
    "meanabsoluteerror": "mae",
    "meansquarederror": "mse",
    "squarederror": "mse",
}
DTYPES = ("float32", "float64")

# Elements checked at a time, so that a memory map is never in memory as a whole.
BLOCK = 1 << 20


def one_of(name: str, value: Any, choices: Collection[str]) -> str:
    """Return the value if it is one of the choices."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(
            f"{name} must be one of {', '.join(sorted(choices))}; got {value!r}"
            f"{meant(value, choices)}"
        )
    return value


def any_case(name: str, value: Any, choices: Collection[str]) -> str:
    """Return the choice that the value names, in any case and with or without underscores."""
    if isinstance(value, str) and value not in choices:
        known = {_plain(choice): choice for choice in choices}
        value = known.get(_plain(value), value)
    return one_of(name, value, choices)


def _plain(text: str) -> str:
    return re.sub("[ _-]", "", text).lower()


def meant(value: Any, choices: Iterable[str]) -> str:
    """Return a question that names the choice most like the value, or nothing."""
    known = list(choices)
    near = [NICKNAMES.get(_plain(str(value)), "")]
    if near[0] not in known:
        near = difflib.get_close_matches(str(value).lower(), known, 1)
    return f"; did you mean {near[0]!r}?" if near else ""


def integer(name: str, value: Any, low: int, high: int | None = None, why: str = "") -> int:
    """Return the value as an int if it is an integer from low to high."""
    try:
        if isinstance(value, bool | np.bool_):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
    if number < low or (high is not None and number > high):
        limit = f"at least {low}" if high is None else f"from {low} to {high}{why}"
        raise ValueError(f"{name} must be {limit}; got {number}")
    return number


def real(
    name: str,
    value: Any,
    *,
    above: float | None = None,
    least: float | None = None,
    most: float | None = None,
    below: float | None = None,
) -> float:
    """Return the value as a float if it is finite and within the bounds."""
    if isinstance(value, str | bool | np.bool_):
        raise TypeError(f"{name} must be a number, got {value!r}")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number, got {value!r}") from None
    except OverflowError:
        number = math.inf if value > 0 else -math.inf
    if not (
        math.isfinite(number)
        and (above is None or number > above)
        and (least is None or number >= least)
        and (most is None or number <= most)
        and (below is None or number < below)
    ):
        bounds = {"greater than": above, "at least": least, "at most": most, "less than": below}
        needs = [f"{word} {bound:g}" for word, bound in bounds.items() if bound is not None]
        raise ValueError(f"{name} must be {' and '.join(['finite', *needs])}; got {value!r}")
    return number


def limit(name: str, value: Any) -> float | None:
    """Return the value as a float greater than 0, or None."""
    return None if value is None else real(name, value, above=0)


def functions(name: str, values: Any) -> tuple[Callable[..., Any], ...]:
    """Return the values as a tuple if each can be called."""
    if not isinstance(values, Iterable):
        raise TypeError(f"{name} must be a list of functions, got {values!r}")
    result = tuple(values)
    for function in result:
        if not callable(function):
            raise TypeError(f"{name} must be functions, got {function!r}")
    return result
