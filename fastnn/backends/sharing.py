"""Python threads that compute at the same time, share the CPUs, and end together."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

_of_thread = threading.local()


class Ended(KeyboardInterrupt):
    """Ends the work of a thread as Ctrl-C does, because that of all is over."""


class Sharers:
    """Python threads that compute at the same time, each of which takes its share of the CPUs.

    Parameters
    ----------
    count : int
        How many they are.

    Attributes
    ----------
    over : bool
        Whether those that are still at work are to end.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.over = False
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        """Make the calling thread one of them; when it ends, the others get what it had."""
        _of_thread.sharers = self
        try:
            yield
        finally:
            del _of_thread.sharers
            with self._lock:
                self.count -= 1


def share(cpus: int) -> int:
    """Return how many of so many CPUs the calling thread may use."""
    sharers: Sharers | None = getattr(_of_thread, "sharers", None)
    return cpus if sharers is None else max(1, cpus // sharers.count)


def end_with_the_others() -> None:
    """Raise `Ended` in a thread whose work is over, as that of the others is.

    Called between two calls of a backend.
    """
    sharers: Sharers | None = getattr(_of_thread, "sharers", None)
    if sharers is not None and sharers.over:
        raise Ended
