"""The check of the fields of schedules."""

from __future__ import annotations

from dataclasses import fields
from typing import ClassVar

from fastnn.checks import values as check


class Checked:
    """What schedules share."""

    above_zero: ClassVar[tuple[str, ...]] = ()
    up_to_one: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        for field in fields(self):  # type: ignore[arg-type]
            name = f"{type(self).__name__}'s {field.name}"
            value = getattr(self, field.name)
            if field.name == "by":
                check.one_of(name, value, ("step", "epoch"))
            elif field.name in ("every", "patience", "cycles"):
                check.integer(name, value, 1)
            elif field.name in self.up_to_one:
                check.real(name, value, above=0, most=1)
            elif field.name in self.above_zero:
                check.real(name, value, above=0)
            else:
                check.real(name, value, least=0)

    def check_run(self, epochs: int) -> None:
        """Check that the schedule fits into a run of so many epochs; most always do.

        Parameters
        ----------
        epochs : int
        """
