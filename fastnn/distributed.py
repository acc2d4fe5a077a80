"""Data-parallel training over MPI: each rank computes the gradient of its part of every batch.

The extra ``mpi`` installs mpi4py. ``net.train(X, y, communicator=MPI.COMM_WORLD)`` in a script
that ``mpiexec -n 4 python script.py`` starts trains one network on four ranks; docs/scaling.md says
what is promised, and when it pays.
"""

from __future__ import annotations

import os
import pickle
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from fastnn.checks import values as check
from fastnn.checks.targets import Classes

INSTALL = "training over MPI needs mpi4py: pip install 'fastnn-cpu[mpi]'"
PAUSE = 0.5  # seconds between two questions to other ranks
# Where launchers say how many ranks they have started, and which of them a process is.
LAUNCHERS = {
    "OMPI_COMM_WORLD_SIZE": "OMPI_COMM_WORLD_RANK",  # Open MPI
    "PMI_SIZE": "PMI_RANK",  # MPICH, Intel MPI, and Slurm with PMI-2
    "MV2_COMM_WORLD_SIZE": "MV2_COMM_WORLD_RANK",  # MVAPICH
    "SLURM_STEP_NUM_TASKS": "SLURM_PROCID",  # Slurm with PMIx
}


@dataclass(frozen=True)
class Ranks:
    """How a run is spread over the ranks of a communicator.

    Parameters
    ----------
    communicator : mpi4py.MPI.Intracomm
        Such as ``MPI.COMM_WORLD``. All of its ranks call `Network.train` together.
    local : bool
        Whether each rank passes only its own rows to `Network.train`, or a stream of its own.
        Otherwise all pass the same; of a stream, each then reads other parts.
    average_every : int
        With 1 the gradient of every batch is summed over all ranks. With more, each rank takes so
        many steps on its parts of the batches; then the parameters and the numbers that the
        optimizer remembers are averaged, as in local SGD (Stich, 2019; of the momentum Yu, Jin and
        Yang, 2019).

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.
    ImportError
        If mpi4py is missing.
    """

    communicator: Any
    local: bool = False
    average_every: int = 1

    def __post_init__(self) -> None:
        from_mpi4py = getattr(mpi(), "Intracomm", ())
        if not isinstance(self.communicator, from_mpi4py):
            raise TypeError(
                "communicator must be one of mpi4py, such as MPI.COMM_WORLD, or "
                f"fastnn.distributed.Ranks of one; got {self.communicator!r}"
            )
        if not isinstance(self.local, bool):
            raise TypeError(f"Ranks' local must be True or False, got {self.local!r}")
        check.integer("Ranks' average_every", self.average_every, 1)


def agreeing(communicator: Any) -> Agreement:
    """Return a context in which each rank of an argument may fail by itself; see `Agreement`."""
    ranks = chosen(communicator)
    return ALONE if ranks is None else Agreement(ranks.communicator, ranks.local)


def mpi() -> Any:
    """Return the module ``mpi4py.MPI``, which starts MPI when it is first imported."""
    try:
        from mpi4py import MPI
    except ImportError as error:
        raise ImportError(f"{INSTALL} ({error})") from error
    return MPI


def chosen(communicator: Any) -> Ranks | None:
    """Return the argument ``communicator`` of `Network.train` as ranks; None for one process."""
    if communicator is None or isinstance(communicator, Ranks):
        return communicator
    return Ranks(communicator)


def launched_rank(environment: Mapping[str, str] = os.environ) -> int | None:
    """Return which rank a launcher of MPI has made this process; None without several ranks."""
    for size, rank in LAUNCHERS.items():
        if environment.get(size, "1").isdigit() and int(environment.get(size, "1")) > 1:
            return int(environment.get(rank, "0"))
    return None


def launched() -> Ranks | None:
    """Return all ranks that a launcher of MPI has started, or None for a process on its own."""
    return None if launched_rank() is None else Ranks(mpi().COMM_WORLD)


class Agreement:
    """What ranks do at the same time and may fail in one by one: then all of them fail.

    As a context it waits at its end for all ranks. The error of one is raised in each, and names
    the rank; by errors of several the first of these has precedence.

    Parameters
    ----------
    communicator : mpi4py.MPI.Intracomm or None
        None for one process.
    local : bool
        Whether each rank has rows of its own.
    """

    def __init__(self, communicator: Any, local: bool = False) -> None:
        self.communicator, self.local = communicator, local
        self.rank, self.size = 0, 1
        if communicator is not None:
            self.rank, self.size = communicator.rank, communicator.size
        self.failed, self.asked = False, time.monotonic()

    def __enter__(self) -> Agreement:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.communicator is not None and not self.failed:
            self._exchange(error)

    def gathered(self, value: Any) -> list[Any]:
        """Return the values that all ranks pass, in their order."""
        return [value] if self.communicator is None else self._exchange(None, value)

    def look_up(self) -> None:
        """Raise the error of another rank, if one has failed: for now and then in long work."""
        if self.size > 1 and time.monotonic() - self.asked > PAUSE:
            self.gathered(False)
            self.asked = time.monotonic()

    def wait_for_others(self) -> None:
        """Wait until no rank has to `look_up` any more."""
        while not all(self.gathered(True)):
            pass

    def united(self, names: Classes | None) -> Classes | None:
        """Return the names of classes that any rank has found, sorted.

        Ranks without names, or with names of another type, keep their own.
        """
        others = self.gathered(names)
        if names is None:
            return None
        same = [each for each in others if each is not None and isinstance(each[0], type(names[0]))]
        found: set[Any] = set().union(*same)
        return tuple(sorted(found))

    def _exchange(self, error: BaseException | None, value: Any = None) -> list[Any]:
        found = self.communicator.allgather((portable(error), value))
        errors = {rank: each for rank, (each, _) in enumerate(found) if each is not None}
        if not errors:
            return [value for _, value in found]
        self.failed = True
        if error is not None and len({str(each) for each in errors.values()}) == 1:
            raise error
        rank = min(errors)
        raise named(rank, errors[rank]) from error


ALONE = Agreement(None)


def portable(error: BaseException | None) -> BaseException | None:
    """Return an error that another process can raise."""
    if error is None:
        return None
    try:
        copy: BaseException = pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return copy


def named(rank: int, error: BaseException) -> BaseException:
    """Return an error of a rank, which its message names."""
    if len(error.args) == 1 and isinstance(error.args[0], str):
        error.args = (f"rank {rank}: {error.args[0]}",)
    elif isinstance(error, OSError) and error.strerror is not None:
        error.strerror = f"rank {rank}: {error.strerror}"  # before the name of the file
    return error


def silence_others() -> None:
    """Let only the first rank print, if a launcher of MPI has started several."""
    if launched_rank():
        sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - until the process ends
