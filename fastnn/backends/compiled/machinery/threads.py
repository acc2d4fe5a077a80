"""How many threads a call may use, and the care that Numba's threading layers need."""

from __future__ import annotations

import collections
import contextlib
import os
import threading
import time
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numba

from fastnn.backends import sharing
from fastnn.backends.compiled.machinery.thresholds import HERE
from fastnn.model.architecture import Architecture

WORTH_A_THREAD = HERE.worth_a_thread
PREDICTING_WORTH_A_THREAD = HERE.predicting_worth_a_thread

# GNU OpenMP lets threads spin for milliseconds before they sleep, which beside a busy process made
# steps up to 75 times slower. About a tenth of a millisecond outlasts one thread's wait for another
# within a step; with a hundredth, two threads made 1.2 to 1.4 times the speed of one, not 1.5.
if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
    os.environ["GOMP_SPINCOUNT"] = "20000"

CGROUP, GROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")

_process = os.getpid()
_workqueue_lock = threading.Lock()


def most() -> int:
    """Return the threads of a large step, where a network does not ask for a number."""
    # joblib sets NUMBA_NUM_THREADS to a worker's share of the CPUs.
    return sharing.share(min(available(), int(numba.config.NUMBA_NUM_THREADS)))


def available() -> int:
    """Return the CPUs that this process may use: its affinity, and the quota of its cgroups."""
    count, quota = affinity(), cgroup_quota()
    return count if quota is None else max(1, min(count, int(quota + 0.5)))


def affinity() -> int:
    """Return the CPUs that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cgroup_quota() -> float | None:
    """Return the CPUs' worth of time that a container allows, if it sets a limit.

    It is looked up once a second: that takes longer than a short call. The limit of a group is one
    for those within it, too.
    """
    return _quota_at(CGROUP, int(time.monotonic()))


@lru_cache(maxsize=1)
def _quota_at(folder: Path, second: int) -> float | None:
    return min(filter(None, map(_quota_of, _groups(folder))), default=None)


def _groups(folder: Path) -> set[Path]:
    """Return the folders of this process's groups, and of those around them.

    In a container, the first folder is often that of its own group.
    """
    found = {folder, folder / "cpu"}
    with contextlib.suppress(OSError, ValueError):  # on other systems than Linux
        for line in GROUPS.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers or "cpu" in controllers.split(","):
                group = (folder / "cpu" if controllers else folder) / path.lstrip("/")
                found.update(each for each in (group, *group.parents) if folder in each.parents)
    return found


def _quota_of(group: Path) -> float | None:
    try:
        if (group / "cpu.max").exists():
            quota, period = (group / "cpu.max").read_text().split()
        else:
            quota = (group / "cpu.cfs_quota_us").read_text().strip()
            period = (group / "cpu.cfs_period_us").read_text().strip()
        return None if quota in ("max", "-1") else int(quota) / int(period)
    except (OSError, ValueError):
        return None


def choose(asked: int | None, flops: float, worth_a_thread: float | None = None) -> int:
    """Return the most threads for a step of so many operations: as many as may pay."""
    if os.getpid() != _process:
        return 1  # a forked child: GNU OpenMP ends a process that uses its threads after a fork
    worth = int(flops / (worth_a_thread or WORTH_A_THREAD))
    if worth <= 1:  # asking the system takes longer than a small step
        return 1
    return min(worth, most() if asked is None else asked)


class Trial:
    """Which number of threads is the fastest for some kind of call, as measured again and again.

    Many are slower than few beside another busy process, where a core is not as fast as the others,
    or where what goes between cores takes longer than the work. Results do not depend on the
    number, so each call may take another: the most that may pay, or the half of these, and so on.
    """

    enabled = True
    # Calls until what was slower is tried once more; doubled each time that it still is.
    PATIENCE, MOST_PATIENCE = 8, 256
    # Calls in a row of what is tried, as threads that slept are slow at first; but only one of so
    # many seconds, in which that does not count.
    TRIES, LONG = 3, 0.005
    # What takes so many times as long as the fastest, in as many calls, is not tried again, and
    # fewer threads never.
    HOPELESS = 1.5
    KEPT = 5  # of the last times: some calls in a row may be disturbed

    def __init__(self) -> None:
        self._seconds: dict[int, collections.deque[float]] = {}
        self._patience = self._left = self.PATIENCE
        self._tried, self._tries = 0, 0  # the number of threads that is tried, and calls to come
        self._turn = 0

    def choose(self, most: int) -> int:
        """Return how many threads the next call is to take."""
        if most == 1 or not self.enabled:
            return most
        if len(self._seconds.get(most, ())) < 2:  # the first call is slower: caches are cold
            return most
        counts = halves(most)
        known = [count for count in counts if count in self._seconds]
        fastest = min(known, key=self._best)
        hopeless = self.HOPELESS * self._best(fastest)
        for more, count in pairwise(counts):
            if count not in known:
                if self._best(more) <= hopeless:
                    return count
                break
        if self._tries > 0 and self._tried in known:
            return self._tried
        self._left -= 1
        if self._left > 0:
            return fastest
        more = counts[max(0, counts.index(fastest) - 1)]  # these pay as soon as other work ends
        others = [
            count
            for count in known
            if count != fastest
            and (
                count == more
                or self._best(count) <= hopeless
                or len(self._seconds[count]) < self.TRIES
            )
        ] or [known[1]]
        self._turn += 1
        self._tried, self._tries = others[self._turn % len(others)], self.TRIES
        return self._tried

    def record(self, count: int, seconds: float, steps: int = 1) -> None:
        """Take note of what a call of so many steps took."""
        self._seconds.setdefault(count, collections.deque(maxlen=self.KEPT)).append(seconds / steps)
        if self._tries == 0 or count != self._tried:
            return
        self._tries = 0 if seconds > self.LONG else self._tries - 1
        if self._tries == 0:
            # A copy, as another Python thread may record at the same time.
            won = self._best(count) <= min(map(self._best, list(self._seconds)))
            self._patience = self.PATIENCE if won else min(2 * self._patience, self.MOST_PATIENCE)
            self._left = self._patience

    def _best(self, count: int) -> float:
        """Return the shortest of the last times: some calls are disturbed."""
        return min(self._seconds[count])


def halves(most: int) -> list[int]:
    """Return a number of threads, the half of it, and so on down to one."""
    counts = [most]
    while counts[-1] > 1:
        counts.append((counts[-1] + 1) // 2)
    return counts


def trial(architecture: Architecture, rows: int, training: bool) -> Trial:
    """Return the trial of calls that take so many rows a step.

    The loss makes no difference: it may be an object without a hash, or one that holds much memory.
    """
    a = architecture
    return _trial(a.sizes, a.activations, a.dtype, a.precision, rows, training)


@lru_cache(maxsize=256)
def _trial(*kind: object) -> Trial:
    return Trial()


@contextlib.contextmanager
def region(threads: int) -> Iterator[None]:
    """Prepare the calling thread for a kernel that splits its work into that many parts."""
    if threads == 1:
        yield
        return
    # Numba remembers the number for each Python thread, and starts no more than it had at import.
    before = numba.get_num_threads()
    try:
        numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
        with _lock():
            yield
    finally:
        numba.set_num_threads(before)


def _lock() -> contextlib.AbstractContextManager[object]:
    """Return a lock where the threading layer would abort the process on concurrent calls."""
    try:
        layer = numba.threading_layer()
    except ValueError:  # not started yet: this call will start it, alone
        return _workqueue_lock
    return _workqueue_lock if layer == "workqueue" else contextlib.nullcontext()
