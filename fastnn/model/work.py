"""How long steps with sparse inputs take, as operations of dense products that take as long."""

from __future__ import annotations

from fastnn.model.architecture import Architecture
from fastnn.sparse_rows import SparseRows

# An operation on a row of weights that stands anywhere takes as long as so many others.
SCATTERED = 10
# A parameter that an optimizer reads and writes, with what it remembers of it, takes as long.
PASSED = 30


def sparse_work(
    architecture: Architecture, X: SparseRows, rows: int, training: bool, passing: bool = False
) -> float:
    """Return the operations of a step, or of a prediction, with so many rows.

    ``passing`` says whether the step goes through all parameters.
    """
    first = architecture.layers[0]
    dense = 2.0 * first.fan_in * first.fan_out
    stored = SCATTERED * dense * len(X.stored) / (max(1, len(X)) * first.fan_in)
    forward = architecture.forward_flops - dense
    work = rows * (3 * forward + 2 * stored if training else forward + stored)
    return work + PASSED * architecture.parameter_count * passing
