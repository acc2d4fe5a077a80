"""What a fork waits for.

A forked child has only the thread that forked, but all locks as they are: for one that another
thread holds, of an import, of Numba or of LLVM, it would wait without end. So a fork waits until no
other thread does what needs these: it takes the locks, and parent and child give them back.
"""

from __future__ import annotations

import contextlib
import logging  # noqa: F401  registers its lock before ours
import os
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager

# In the order in which those take them who need several. A thread that forks amid its own work has
# them already.
_locks: list[AbstractContextManager[object]] = [threading.RLock()]
_waiting = False


@contextlib.contextmanager
def held_off() -> Iterator[None]:
    """Let forks of other threads wait, and what other threads do in here.

    It is for one import or one function: a fork waits as long as that takes.
    """
    with _locks[0]:
        yield
    if _waiting:
        time.sleep(0.001)  # else this thread may have the lock again before the fork gets it


def wait_for(*locks: AbstractContextManager[object]) -> None:
    """Let forks wait for these locks, too, which are taken after those before."""
    _locks.extend(locks)


def _before() -> None:
    global _waiting
    _waiting = True
    try:
        for lock in _locks:
            lock.__enter__()
    finally:
        _waiting = False


def _after() -> None:
    for lock in reversed(_locks):
        with contextlib.suppress(RuntimeError):  # not taken, as Ctrl-C came before
            lock.__exit__(None, None, None)


# What is registered last is called first. The lock of logging, which registers its own, is one that
# those who import or compile take, too, so that it has to come after ours.
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after)
