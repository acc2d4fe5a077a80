"""How long each thread works and waits in each phase, counted if ``FASTNN_COUNT_WAITING`` is 1.

The switch is read when kernels are compiled: without it they have no instruction of this.
"""

from __future__ import annotations

from numba import int64

from fastnn.backends.compiled.kernels.inputs import LINE
from fastnn.backends.compiled.kernels.layout import integers
from fastnn.backends.compiled.machinery.instructions import ticks
from fastnn.backends.compiled.machinery.jit import serial
from fastnn.backends.compiled.machinery.machine import MACHINE

COUNTING = MACHINE.counts
# For each phase, and after them for the start of calls, each thread has a cache line of numbers:
# ticks of work, of waiting until all threads have done the phase, and of what the last one does
# before the next phase; shares that it has taken, and how many of them were another thread's.
WORKED, WAITED, BETWEEN, SHARES, OTHERS, BEGAN = range(6)
NUMBERS = LINE // 8


@serial
def counted_by(plan, phase, thread):
    """Return the numbers of a thread for a phase."""
    return integers(plan.counts + LINE * (phase * plan.threads + thread), NUMBERS)


@serial
def begin_counting(plan):
    """Take note of when a call begins; return that."""
    now = int64(0)
    if COUNTING:
        now = ticks()
        counted_by(plan, plan.phases, 0)[BEGAN] = now
    return now


@serial
def beginning(plan):
    """Return when the call began."""
    return counted_by(plan, plan.phases, 0)[BEGAN] if COUNTING else int64(0)


@serial
def count(plan, phase, thread, what, since):
    """Add the ticks since then to a number of a thread; return how far they are now."""
    now = int64(0)
    if COUNTING:
        now = ticks()
        counted_by(plan, phase, thread)[what] += now - since
    return now


@serial
def count_share(plan, phase, thread, share, since):
    """Do the same for the work on a share, and count that."""
    if COUNTING:
        counted = counted_by(plan, phase, thread)
        counted[SHARES] += 1
        counted[OTHERS] += share != thread
    return count(plan, phase, thread, WORKED, since)
