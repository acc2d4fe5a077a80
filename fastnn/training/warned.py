"""What ranks warn of while each of them goes through rows of its own."""

from __future__ import annotations

from fastnn.checks.warning import warn
from fastnn.distributed import Agreement


class Warned:
    """Warnings of the ranks of a run, all of which the first rank says, the same but once.

    Others may be on machines whose output nobody sees, and those of a command line are silent.

    Parameters
    ----------
    agreement : Agreement
    """

    def __init__(self, agreement: Agreement) -> None:
        self.agreement = agreement
        self.known: set[str] = set()
        self.later: list[tuple[str, str, type[Warning]]] = []

    def hear(self, message: str, category: type[Warning], name: str = "") -> bool:
        """Return whether a warning is not to be said here; see `heard_by`.

        Those that differ in a name alone are the same.
        """
        bare = message.replace(name, "") if name else message
        if bare in self.known:
            return True
        self.known.add(bare)
        if self.agreement.rank > 0:
            self.later.append((bare, message, category))
        return self.agreement.rank > 0

    def say_those_of_others(self) -> None:
        """Say, on the first rank, what others have heard since."""
        for rank, found in enumerate(self.agreement.gathered(self.later)):
            for bare, message, category in found:
                if self.agreement.rank == 0 and not self.hear(bare, category):
                    warn(f"rank {rank}: {message}", category)
        self.later.clear()
