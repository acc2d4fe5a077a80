"""The registry of cases: what the tests compare and the benchmarks measure, in one list.

Sizes stand around the edges of the kernels: register tiles of 1 to 8 rows and 1 to 8 vectors of 2
to 16 numbers, panels of three vectors, sums in blocks of 256, batches in blocks of 128 and 512.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

import numpy as np

from fastnn import Network, backends
from fastnn.activations import HIDDEN
from fastnn.backends.contract import Examples, Objective, UpdateRule
from fastnn.backends.dropout import NO_KEYS
from fastnn.losses import NATURAL, PAIRS, Quantile, WithNumbers
from fastnn.model.optimizer_state import OptimizerState
from fastnn.optimizers import SGD

BACKENDS = ("numba", "numpy")
DTYPES = tuple(os.environ.get("TESTED_DTYPES", "float32 float64").split())

ROWS = (1, 2, 3, 4, 5, 7, 8, 9, 11, 15, 16, 17, 127, 128, 129, 130, 511, 512, 513, 1025)
WIDTHS = (1, 2, 3, 4, 5, 7, 8, 9, 11, 12, 13, 15, 16, 17, 23, 24, 25, 31, 32, 33)
WIDTHS += (47, 48, 49, 63, 64, 65, 95, 96, 97, 127, 129, 145)
LONG_SUMS = (255, 256, 257, 511, 513)
RUN = 11  # of zeros side by side, in sparse inputs


@dataclass(frozen=True)
class Case:
    """A network and the kind of data for it; `make_network` and `make_data` build them."""

    sizes: tuple[int, ...]
    activation: str | tuple[str, ...] = "tanh"
    output: str = "softmax"
    loss: str | WithNumbers | None = None  # by default the one that goes with the output
    dtype: str = "float32"
    batch: int = 5
    inputs: str = ""  # dtype of X; by default the network's
    targets: str = "labels"  # or "probabilities", "one_hot", "numbers", "counts"
    zeros: float = 0.0  # share of the inputs that is zero, in runs as in images
    precision: str | None = None  # by default the dtype

    @property
    def id(self) -> str:
        names = (self.activation,) if isinstance(self.activation, str) else self.activation
        parts = ["-".join(map(str, self.sizes)), *names, self.output, str(self.loss)]
        parts += [self.dtype]
        parts += [f"batch{self.batch}", self.inputs or self.dtype, self.targets]
        parts += [f"zeros{self.zeros}"] * bool(self.zeros)
        return "_".join([*parts, self.precision] if self.precision else parts)

    @property
    def rows(self) -> int:
        """Rows for three whole batches, and a shorter one where there is one."""
        return 3 * self.batch + self.batch // 2

    @property
    def longest_sum(self) -> int:
        """Numbers in the longest sum of a step, of products or of losses."""
        return max(*self.sizes, self.batch)


def make_network(case: Case, backend: str = "numba", seed: int = 7, **options) -> Network:
    """Return the network of a case, with biases that are not zero."""
    net = Network(
        list(case.sizes),
        activation=case.activation,
        output=case.output,
        loss=case.loss,
        seed=seed,
        dtype=case.dtype,
        precision=case.precision,
        backend=backend,
        **options,
    )
    rng = np.random.default_rng(seed)
    for biases in net.biases:
        biases[:] = rng.uniform(-0.5, 0.5, biases.shape)
    return net


def make_data(
    case: Case, rng: np.random.Generator, rows: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return X and y for a case."""
    shape = (case.rows if rows is None else rows, case.sizes[0])
    inputs = case.inputs or case.dtype
    if inputs == "uint8":
        X = rng.integers(0, 256, shape, np.uint8)
    else:
        X = rng.uniform(-1, 1, shape).astype(inputs)
    if case.zeros:
        runs = rng.random((shape[0], -(-shape[1] // RUN))) < case.zeros
        X[np.repeat(runs, RUN, axis=1)[:, : shape[1]]] = 0
    return X, _make_targets(case, rng, shape[0])


def assert_nearly_all_close(got: np.ndarray, want: np.ndarray) -> None:
    """Compare outputs, (rows, outputs), of a network that rounds factors to bfloat16.

    Sums in another order may lie on the other side of a tie, in few rows.
    """
    error = np.abs(got - want).max(axis=1) / max(1.0, float(np.abs(want).max()))
    assert error.max() <= 2.0**-8
    assert np.quantile(error, 0.9) <= 1e-6


def take_steps(net, X, y, order, batch, rates, l2, losses) -> int:
    """Take steps of plain gradient descent in a call of the network's backend."""
    rule, state = UpdateRule(Objective(l2=l2)), OptimizerState(SGD(), net.architecture)
    taken = backends.get(net.backend).train_steps(
        net.model, Examples(X, y), order, batch, rates, rule, NO_KEYS, state, losses
    )
    assert state.steps == taken
    return taken


def _make_targets(case: Case, rng: np.random.Generator, rows: int) -> np.ndarray:
    outputs = 1 if isinstance(case.loss, Quantile) else case.sizes[-1]
    if case.targets == "labels":
        return rng.integers(0, outputs, rows)
    if case.targets == "one_hot":
        return np.eye(outputs, dtype=np.uint8)[rng.integers(0, outputs, rows)]
    if case.targets == "counts":
        return rng.poisson(2.0, (rows, outputs)).astype(case.dtype)
    if case.targets == "numbers":
        return rng.normal(size=(rows, outputs)).astype(case.dtype)
    values = rng.uniform(0, 1, (rows, outputs))
    if case.output == "softmax":
        values /= values.sum(axis=1, keepdims=True)
    return values.astype(case.dtype)


def fitting(case: Case) -> Case:
    """Return the case with targets that its output can have."""
    if (case.loss or NATURAL[case.output]) == "poisson":
        return replace(case, targets="counts")
    if case.loss == "quantile":
        levels = np.arange(1, case.sizes[-1] + 1) / (case.sizes[-1] + 1)
        case = replace(case, loss=Quantile(levels))
    kinds = {"softmax": "labels", "sigmoid": "probabilities", "exponential": "counts"}
    return replace(case, targets=kinds.get(case.output, "numbers"))


def _edges(dtype: str) -> list[Case]:
    case = Case((13, 17, 6), dtype=dtype)
    cases = [replace(case, batch=batch) for batch in ROWS]
    for width in (*WIDTHS, *LONG_SUMS):
        cases.append(replace(case, sizes=(width, 6, 3)))
        cases.append(replace(case, sizes=(6, width, 3)))
        if width > 1:
            cases.append(replace(case, sizes=(6, 5, width)))
        else:
            cases.append(fitting(replace(case, sizes=(6, 5, width), output="sigmoid")))
    # The mask of a ReLU is for a whole sum, not for a block of it.
    relu = replace(case, activation="relu")
    return cases + [replace(relu, sizes=(6, 20, width)) for width in LONG_SUMS]


def _depths(dtype: str) -> list[Case]:
    sizes = (10, 20, 9, 33, 8, 4)
    cases = [Case((*sizes[:depth], 4), dtype=dtype, batch=9) for depth in range(1, 6)]
    mixed = ("relu", "identity", "tanh", "sigmoid")
    return [*cases, Case(sizes, activation=mixed, dtype=dtype, batch=9)]


def _formulas(dtype: str) -> list[Case]:
    """Every activation, and every pair of output and loss."""
    case = Case((9, 20, 12, 5), dtype=dtype, batch=11)
    cases = [replace(case, activation=activation) for activation in HIDDEN]
    for output, loss in PAIRS:
        cases.append(fitting(replace(case, output=output, loss=loss)))
        if output != "softmax":
            single = replace(case, sizes=(9, 20, 12, 1), output=output, loss=loss)
            cases.append(fitting(single))
    return cases


def _data_kinds(dtype: str) -> list[Case]:
    case = Case((70, 20, 5), dtype=dtype, batch=9)
    cases = [replace(case, inputs=inputs) for inputs in ("float32", "float64", "uint8")]
    return cases + [replace(case, targets=kind) for kind in ("probabilities", "one_hot")]


def _sparse(dtype: str) -> list[Case]:
    case = Case((90, 17, 6), dtype=dtype, batch=9, zeros=0.8)
    cases = [replace(case, batch=batch) for batch in ROWS]
    cases += [replace(case, sizes=(width, 17, 6)) for width in (*WIDTHS, *LONG_SUMS)]
    cases += [replace(case, sizes=(90, width, 6)) for width in (*WIDTHS, *LONG_SUMS)]
    cases += [replace(case, zeros=zeros) for zeros in (0.3, 0.5, 1.0)]
    return [*cases, replace(case, sizes=(90, 6)), replace(case, inputs="uint8")]


def _one_row(dtype: str) -> list[Case]:
    case = Case((13, 17, 6), dtype=dtype, batch=1)
    cases = [*_depths(dtype), *_formulas(dtype), replace(case, zeros=0.8)]
    cases += [replace(case, sizes=(6, width, 3)) for width in (*WIDTHS, *LONG_SUMS)]
    return [replace(case, batch=1) for case in cases]


def _of_each_precision(build) -> tuple[Case, ...]:
    cases = [case for dtype in DTYPES for case in build(dtype)]
    cases += [replace(case, precision="bfloat16") for case in cases if case.dtype == "float32"]
    return tuple(dict.fromkeys(cases))


EDGES = _of_each_precision(_edges)
DEPTHS = _of_each_precision(_depths)
FORMULAS = _of_each_precision(_formulas)
DATA_KINDS = _of_each_precision(_data_kinds)
SPARSE = _of_each_precision(_sparse)
ONE_ROW = _of_each_precision(_one_row)
MNIST = Case((784, 128, 10), "relu", batch=32, inputs="uint8", zeros=0.8)
CASES = tuple(dict.fromkeys((*EDGES, *DEPTHS, *FORMULAS, *DATA_KINDS, *SPARSE, *ONE_ROW, MNIST)))

# The network of a step that several threads share, with odd sizes everywhere.
WIDE = Case((75, 130, 37, 10), batch=67)
