"""How many threads a call may use, and the care that Numba's threading layers need."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numba

# Work per thread, in floating-point operations of one step, from which a further thread pays: the
# two parallel regions of a step cost a few microseconds each, and cache lines move between cores.
# [784, 128, 10] on two cores: 0.65 times the speed of one at batch 8, 1.1 at 32, 1.5 at 128.
WORTH_A_THREAD = 1e7

# GNU OpenMP lets threads spin for milliseconds before they sleep. Beside a busy process that made a
# step up to 75 times slower; with about ten microseconds of it, 2 to 3 times, and no slower alone.
if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
    os.environ["GOMP_SPINCOUNT"] = "2000"

CGROUP = Path("/sys/fs/cgroup")

_process = os.getpid()
_workqueue_lock = threading.Lock()


def available() -> int:
    """Return the CPUs that this process may use: its affinity, and the quota of its cgroup."""
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    quota = _cgroup_quota()
    return count if quota is None else max(1, min(count, int(quota + 0.5)))


def _cgroup_quota() -> float | None:
    """Return the CPUs' worth of time that a container allows, if it sets a limit."""
    try:
        if (CGROUP / "cpu.max").exists():
            quota, period = (CGROUP / "cpu.max").read_text().split()
        else:
            quota = (CGROUP / "cpu/cpu.cfs_quota_us").read_text().strip()
            period = (CGROUP / "cpu/cpu.cfs_period_us").read_text().strip()
        return None if quota in ("max", "-1") else int(quota) / int(period)
    except (OSError, ValueError):
        return None


def choose(asked: int | None, flops: float) -> int:
    """Return the threads for a step of so many operations: as many as pay, at most those asked."""
    if os.getpid() != _process:
        return 1  # a forked child: GNU OpenMP ends a process that uses its threads after a fork
    worth = int(flops / WORTH_A_THREAD)
    if worth <= 1:  # asking the system takes longer than a small step
        return 1
    return min(worth, available() if asked is None else asked)


@contextlib.contextmanager
def region(threads: int) -> Iterator[None]:
    """Prepare the calling thread for a kernel that splits its work into that many parts."""
    if threads == 1:
        yield
        return
    # Numba remembers the number for each Python thread, and starts no more than it had at import.
    before = numba.get_num_threads()
    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    try:
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
