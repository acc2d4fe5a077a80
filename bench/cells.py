"""What `compare.py` times: one table of cells, written against fastnn's public API alone.

The same cells run against any two commits, so they use nothing but the public API, and data are
random numbers from a seed, made in memory. fastnn is imported when a cell is set up, not before:
which commit's it is, the process that sets it up decides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np

Array = np.ndarray
Sizes = tuple[int, ...]
Data = Callable[[int, Sizes], tuple[Array, Array]]  # from rows and sizes to X and y
Work = Callable[[], object]

MNIST: Sizes = (784, 128, 10)
LINE, MOST_INK = 28, 11  # pixels; runs of 0 to 11 leave 80% of them zero


@dataclass(frozen=True)
class Cell:
    """Something to time.

    Parameters
    ----------
    name : str
    setup : callable
        Returns the work, a function without arguments.
    threads : int
        With one, the process is pinned to one CPU.
    process : str
        "shared" if a process sets the work up and then times it again and again. Otherwise each
        time is that of a fresh process, from importing fastnn to the end of the work: "warm" with a
        cache that has the compiled kernels, "cold" with an empty one.
    every : int
        Measured in one of so many rounds.
    tolerance : float
        The share by which a time may grow.
    """

    name: str
    setup: Callable[[], Work]
    threads: int = 1
    process: str = "shared"
    every: int = 1
    tolerance: float = 0.02


@cache
def images(rows: int, sizes: Sizes) -> tuple[Array, Array]:
    """Return uint8 images whose lines have a run of pixels that are not zero, and labels."""
    rng = np.random.default_rng(0)
    lines = rows, sizes[0] // LINE, 1
    length = rng.integers(0, MOST_INK, lines, endpoint=True)
    start = rng.integers(0, LINE - length, endpoint=True)
    column = np.arange(LINE)
    ink = rng.integers(1, 255, (rows, sizes[0] // LINE, LINE), np.uint8, endpoint=True)
    ink *= (column >= start) & (column < start + length)
    return ink.reshape(rows, sizes[0]), rng.integers(0, sizes[-1], rows)


@cache
def dense(rows: int, sizes: Sizes) -> tuple[Array, Array]:
    """Return normal float32 numbers, and labels."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((rows, sizes[0]), np.float32), rng.integers(0, sizes[-1], rows)


@cache
def numbers(rows: int, sizes: Sizes) -> tuple[Array, Array]:
    """Return normal float32 numbers, and targets that are numbers, too."""
    rng = np.random.default_rng(0)
    return tuple(rng.standard_normal((rows, n), np.float32) for n in (sizes[0], sizes[-1]))


def network(sizes: Sizes = MNIST, threads: int = 1, **options: Any) -> Any:
    """Return a new network, always the same."""
    import fastnn

    return fastnn.Network(sizes, seed=0, threads=threads, **options)


def training(
    name: str,
    data: Data = images,
    rows: int = 4_096,
    sizes: Sizes = MNIST,
    batch: int = 128,
    threads: int = 1,
    options: dict[str, Any] | None = None,
    **settings: Any,
) -> Cell:
    """Return a cell of a call of `train`; options are the network's, settings are of the call."""
    # At a low rate weights stay near their first values, so that all calls do about the same work.
    common = {"epochs": 1, "learning_rate": 1e-3, "schedule": "constant", "progress": False}

    def setup() -> Work:
        net, (X, y) = network(sizes, threads, **(options or {})), data(rows, sizes)
        return partial(net.train, X, y, batch_size=batch, **{**common, **settings})

    return Cell(f"train {name}", setup, threads)


def prediction(rows: int, threads: int = 1) -> Cell:
    """Return a cell of a call of `predict_proba`."""
    many = f"{rows} rows" if rows > 1 else "1 row"
    return Cell(
        f"predict_proba {many}",
        lambda: partial(network(threads=threads).predict_proba, dense(rows, MNIST)[0]),
        threads,
    )


def loading() -> Work:
    """Return what reads a network; the file is in the current folder."""
    import fastnn

    network().save("loaded.safetensors")
    return partial(fastnn.load, "loaded.safetensors")


def first_step() -> Work:
    """Return what takes the first step of a program."""
    return partial(network().train, *images(32, MNIST), epochs=1, progress=False)


def compilation() -> Work:
    """Return what compiles all kernels."""
    import fastnn

    return fastnn.warmup


def cells(threads: int) -> list[Cell]:
    """Return all cells, those of several threads with so many; with one thread there are none."""
    numeric = {"output": "identity"}
    wide = {"data": dense, "rows": 256, "sizes": (1024, 1024, 1024, 10)}
    tiny = {"data": dense, "rows": 32_768, "sizes": (4, 32, 16, 4), "optimizer": "adam"}
    tiny["options"] = {"activation": "tanh"}
    one_row = {"data": numbers, "rows": 1, "sizes": (8, 64, 64, 1), "batch": 1, "options": numeric}
    iris = {"data": dense, "rows": 150, "sizes": (4, 100, 3), "batch": 150, "optimizer": "adam"}
    table = [
        *(training(f"images batch {batch}", batch=batch) for batch in (1, 8, 32, 128, 512)),
        *(training(f"dense batch {batch}", dense, 2_048, batch=batch) for batch in (32, 128)),
        training("wide batch 128", **wide),
        *(training(f"tiny adam batch {batch}", batch=batch, **tiny) for batch in (32, 512)),
        training(
            "regression adam",
            **{"data": numbers, "sizes": (13, 64, 64, 1), "batch": 32, "options": numeric},
            optimizer="adam",
        ),
        *(training(name, optimizer=name) for name in ("momentum", "adam", "rmsprop")),
        training("dropout", dropout=0.2),
        training("clip_norm", clip_norm=1.0),
        training("l1", l1=1e-4),
        training("max_norm", max_norm=2.0),
        training("standardize_inputs", options={"standardize_inputs": True}),
        training("gelu", options={"activation": "gelu"}),
        training("float64", options={"dtype": "float64"}),
        # Four epochs are fewer than early stopping waits for by default, so all are done.
        training("early stopping", rows=2_048, epochs=4, validation=0.25, early_stopping=True),
        training("one row sgd", **one_row),
        training("one row adam", **one_row, optimizer="adam"),
        training("200 epochs of one batch", **iris, epochs=200),
        *(prediction(rows) for rows in (1, 2, 10, 100, 10_000)),
        Cell("predict_one", lambda: partial(network().predict_one, dense(1, MNIST)[0][0])),
        Cell("evaluate", lambda: partial(network().evaluate, *images(4_096, MNIST))),
        Cell(
            "loss_and_gradient", lambda: partial(network().loss_and_gradient, *images(512, MNIST))
        ),
        Cell("save", lambda: partial(network().save, "saved.safetensors")),
        Cell("load", loading),
        # Whole processes vary more, and compiling everything takes a quarter of a minute.
        Cell("start with cached kernels", first_step, process="warm", tolerance=0.05),
        Cell("compile all kernels", compilation, process="cold", every=3, tolerance=0.05),
    ]
    if threads > 1:
        several = [
            training("images batch 128", threads=threads),
            training("images batch 512", batch=512, threads=threads),
            training("wide batch 128", **wide, threads=threads),
            prediction(10_000, threads),
        ]
        table += [replace(cell, name=f"{cell.name} on {threads} threads") for cell in several]
    return table
