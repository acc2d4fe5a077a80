"""Warnings that point to the user's line, not to one of this package."""

from __future__ import annotations

import os
import sys
import warnings

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class ConvergenceWarning(UserWarning):
    """Training ended with a network that is of no use; the message says why, and what to try.

    Its outputs do not vary, or its loss is worse than that of a guess. The cause is mostly a
    learning rate that is too high, or inputs or targets that are far from -1 .. 1.
    """


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the innermost line outside of this package."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith(PACKAGE):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
