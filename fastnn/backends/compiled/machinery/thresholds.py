"""Thresholds between two ways of computing, as measured, by the machine's architecture.

No result depends on them, only its speed. Architectures that nobody has measured take x86's.
"""

from __future__ import annotations

import platform
from typing import NamedTuple


class Thresholds(NamedTuple):
    """From where one way is faster than another."""

    # Work per thread, in floating-point operations of one step, from which a further thread may
    # pay: threads wait for each other twice in a step, and cache lines move between cores.
    worth_a_thread: float
    # The same of one block of predictions: nothing is written that another thread reads.
    predicting_worth_a_thread: float
    # The units for which a thread that splits units is worth it.
    units_worth_a_thread: int
    # Share of inputs that are not zero below which it pays to list those that are not.
    worth_listing: float


# Two threads on two cores: [20, 64, 64, 3] 0.9 times the speed of one at batch 8, 1.2 at 32, 1.4 at
# 256; [784, 128, 10] 1.4 at 8, 1.5 at 32, 1.7 at 128.
X86 = Thresholds(1e6, 1e6, 32, 0.35)
BY_ARCHITECTURE = {"x86_64": X86}


def of(architecture: str) -> Thresholds:
    """Return the thresholds of an architecture, as `platform.machine` calls it."""
    return BY_ARCHITECTURE.get(architecture, X86)


HERE = of(platform.machine())
