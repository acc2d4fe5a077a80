"""What a thread makes ahead."""

from __future__ import annotations

import contextlib
import contextvars
import os
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from fastnn.checks.warning import heard_by, warn

T = TypeVar("T")
PAUSE = 0.1  # seconds between two looks for an interrupt, which on Windows ends no wait
# Threads of a step wait for each other: to take the CPU of one takes that of all.
BEHIND = 5  # how much nicer than the process, as of `os.nice`
PATIENCE = 10.0  # seconds for a thread that is to end, in which it may finish what it reads


class Ahead(Generic[T]):
    """Items of which a thread makes the next one while the last one is used.

    Errors in the thread are raised by `take`, and what it warns of is said there. The thread ends
    with `close`, or when nobody has this object any more. It does not keep the process from ending.

    Parameters
    ----------
    make : callable
        Return the items. It gets an event: once that is set, they may end early.
    early : bool
        False if an item is no longer the same when the next one is made: then that is made only
        when it is to be taken.
    """

    def __init__(self, make: Callable[[threading.Event], Iterator[T]], early: bool = True) -> None:
        self._early = early
        self._asked: SimpleQueue[bool] = SimpleQueue()  # for another item, or for none
        self._made: deque[tuple[Any, BaseException | None]] = deque()
        # Held as long as nothing is made. `SimpleQueue.get` waits for ever if a signal that is only
        # taken note of comes as its timeout ends: what is left of it is then less than 0.
        self._none = threading.Lock()
        self._none.acquire()
        self._said: SimpleQueue[tuple[str, type[Warning]]] = SimpleQueue()
        self._over = threading.Event()
        self._error: BaseException | None = None
        self._patience = PATIENCE
        arguments = make, self._over, self._asked, self._made, self._none, self._said
        self._thread = threading.Thread(
            target=contextvars.copy_context().run,  # such as of what `numpy.errstate` says
            args=(_work, *arguments),
            name="fastnn-reading",
            daemon=True,
        )
        self._end = weakref.finalize(self, _end, self._over, self._asked)
        if early:
            self._asked.put(True)
        self._thread.start()

    def __enter__(self) -> Ahead[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the thread."""
        self._end()
        self._thread.join(self._patience)
        self._patience = 0.0  # one that hangs is waited for once

    def take(self, over: Callable[[], bool | None] | None = None) -> T | None:
        """Return the next item, and let the one after it be made; None if there are no more.

        Return None, too, as soon as ``over`` returns True.

        Raises
        ------
        BaseException
            What making it has raised, or ``over``.
        """
        if not self._early:
            self._asked.put(True)
        while self._error is None and not (over and over()):
            if not self._none.acquire(timeout=PAUSE):
                continue
            item, self._error = self._made.popleft()
            while not self._said.empty():
                warn(*self._said.get())
            if self._error is None:
                if self._early:
                    self._asked.put(True)
                return item
        if self._error is None or isinstance(self._error, StopIteration):
            return None
        raise self._error


def _end(over: threading.Event, asked: SimpleQueue[bool]) -> None:
    over.set()
    asked.put(False)


def _give_way() -> None:
    """Let threads that compute go first, where a thread has a priority of its own."""
    if sys.platform == "linux":
        own = os.getpriority(os.PRIO_PROCESS, os.getpid())
        with contextlib.suppress(OSError):  # where it is forbidden
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), own + BEHIND)


def _work(
    make: Callable[[threading.Event], Iterator[T]],
    over: threading.Event,
    asked: SimpleQueue[bool],
    made: deque[tuple[Any, BaseException | None]],
    none: threading.Lock,
    said: SimpleQueue[tuple[str, type[Warning]]],
) -> None:
    """Make items as long as they are asked for, in a thread."""

    def hear(message: str, category: type[Warning]) -> bool:
        said.put((message, category))
        return True

    def hand_over(item: Any, error: BaseException | None = None) -> None:
        made.append((item, error))
        none.release()

    _give_way()
    with heard_by(hear):
        try:
            items = make(over)
            while asked.get():
                hand_over(next(items))
        except BaseException as error:
            hand_over(None, error)
