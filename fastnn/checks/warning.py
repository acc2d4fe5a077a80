"""Warnings that point to the user's line, not to one of this package."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextvars import ContextVar

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class ConvergenceWarning(UserWarning):
    """Training ended with a network that is of no use; the message says why, and what to try.

    Its outputs do not vary, or its loss is worse than that of a guess. The cause is mostly a
    learning rate that is too high, or inputs or targets that are far from -1 .. 1.
    """


Listener = Callable[[str, type[Warning]], bool]
_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextlib.contextmanager
def heard_by(listener: Listener) -> Iterator[None]:
    """Tell a function what `warn` is about to say, which it then does not if the answer is true.

    Only in this context: `warnings.catch_warnings` would change what all threads say.
    """
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def is_of_no_use(message: str, category: type[Warning]) -> bool:
    """Tell whether a warning is that of a network of no use, for `heard_by`."""
    return category is ConvergenceWarning


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the innermost line outside of this package."""
    listener = _listener.get()
    if listener is not None and listener(message, category):
        return
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith(PACKAGE):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
