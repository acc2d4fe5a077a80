"""Python threads that compute at the same time, and share the CPUs."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

_of_thread = threading.local()


class Sharers:
    """Python threads that compute at the same time, each of which takes its share of the CPUs.

    Parameters
    ----------
    count : int
        How many they are.
    """

    def __init__(self, count: int) -> None:
        self.count = count
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
