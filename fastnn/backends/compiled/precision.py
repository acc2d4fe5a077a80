"""Products of rounded operands in the compiled backend."""

from __future__ import annotations

from fastnn.model.architecture import Architecture


def refuse(architecture: Architecture) -> None:
    """Refuse a precision for which there are no kernels yet."""
    if architecture.rounds:
        raise NotImplementedError(
            "precision='bfloat16' has no compiled kernels yet; use backend='numpy'"
        )
