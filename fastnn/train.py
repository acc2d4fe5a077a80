"""The command line: ``python -m fastnn.train``, also installed as ``fastnn-train``."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import fastnn
from fastnn import backends, metrics
from fastnn.activations import HIDDEN, OUTPUT
from fastnn.history import History, Row, format_header, format_row
from fastnn.losses import LOSSES
from fastnn.parameters import INITIALISERS
from fastnn.schedules import SCHEDULES
from fastnn.validation import DTYPES


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="fastnn-train",
        description="Train a multi-layer perceptron on MNIST and report how well it does.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    group = parser.add_argument_group("network")
    group.add_argument("--hidden", type=int, nargs="*", default=[128], help="hidden layers' units")
    group.add_argument("--activation", nargs="+", default=["relu"], choices=HIDDEN, help="hidden")
    group.add_argument("--output", default="softmax", choices=OUTPUT, help="last activation")
    group.add_argument("--loss", default="cross_entropy", choices=LOSSES, help="loss")
    group.add_argument("--init", default="glorot", choices=INITIALISERS, help="initial weights")
    group.add_argument("--dtype", default="float32", choices=DTYPES, help="of all numbers")
    group.add_argument("--seed", type=int, default=0, help="fixes every bit of the run")
    group = parser.add_argument_group("training")
    group.add_argument("--epochs", type=int, default=10, help="times through the data")
    group.add_argument("--batch-size", type=int, default=32, help="rows a step")
    group.add_argument("--learning-rate", type=float, default=0.3, help="at the first step")
    group.add_argument("--schedule", default="linear", choices=SCHEDULES, help="of the rate")
    group.add_argument("--l2", type=float, default=0.0, help="weight of the L2 penalty")
    group = parser.add_argument_group("running")
    group.add_argument(
        "--backend", default="numba", choices=backends.BACKENDS, help="what computes"
    )
    group.add_argument("--threads", type=int, help="at most; default: all CPUs")
    group.add_argument("--data", type=Path, metavar="FOLDER", help="of the MNIST files")
    group.add_argument("--history", type=Path, metavar="CSV", help="write a row an epoch there")
    group.add_argument("--quiet", action="store_true", help="print the final report only")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Train as the arguments say; return the exit code: 0, 2 on bad input, 130 on Ctrl-C."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        return _train(options)
    except BrokenPipeError:  # whoever read the output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (ValueError, TypeError, OSError, MemoryError, fastnn.DivergenceError) as error:
        parser.error(" ".join(str(error).split()) or type(error).__name__)


def _train(options: argparse.Namespace) -> int:
    def say(text: str) -> None:
        if not options.quiet:
            print(text, flush=True)

    start = time.perf_counter()
    if options.history and not options.history.parent.is_dir():
        raise FileNotFoundError(f"--history: no folder {options.history.parent}")
    data = fastnn.datasets.load_mnist(options.data)
    X, y, test_X, test_y = data
    net = fastnn.Network(
        [X.shape[1], *options.hidden, 10],
        activation=options.activation if len(options.activation) > 1 else options.activation[0],
        output=options.output,
        loss=options.loss,
        init=options.init,
        seed=options.seed,
        dtype=options.dtype,
        backend=options.backend,
        threads=options.threads,
    )
    say(f"MNIST: {len(X):,} training and {len(test_X):,} test images of {X.shape[1]} pixels")
    say(repr(net))
    compiled = []

    def announce() -> None:
        compiled.append(True)
        say("compiling the kernels for this machine, once: about ten seconds ...")

    seconds = backends.get(net.backend).prepare(net.architecture.dtype, announce)
    history = History(compile_seconds=seconds)

    def record(row: Row) -> None:
        if not history.rows:
            say(format_header(list(row)))
        history.append(row)
        say(format_row(row))

    interrupted = False
    say("after each epoch, validation on the test images; nothing is chosen by it")
    try:
        net.train(
            X,
            y,
            epochs=options.epochs,
            batch_size=options.batch_size,
            learning_rate=options.learning_rate,
            schedule=options.schedule,
            l2=options.l2,
            validation=(test_X, test_y),
            progress=False if options.quiet else None,
            callbacks=[record],
        )
    except KeyboardInterrupt:
        interrupted = True
        print(f"\nstopped after {len(history)} of {options.epochs} epochs", flush=True)
    if options.history:
        history.to_csv(options.history)
    _report(net, test_X, test_y)
    kernels = "compiling" if compiled else "loading"
    print(f"\n{time.perf_counter() - start:.1f} s in all, {seconds:.1f} s of it {kernels} kernels")
    return 130 if interrupted else 0


def _report(net: fastnn.Network, X: Any, y: Any) -> None:
    classes = net.predict_proba(X).argmax(axis=1)
    print(f"\ntest accuracy  {metrics.accuracy(y, classes):.4f}")
    print(f"test macro-F1  {metrics.macro_f1(y, classes):.4f}")
    print("\nconfusion matrix: rows are the true digits, columns the predicted ones")
    print("     " + "".join(f"{digit:6d}" for digit in range(10)))
    for digit, row in enumerate(metrics.confusion_matrix(y, classes, 10)):
        print(f"{digit:5d}" + "".join(f"{count:6d}" if count else "     ." for count in row))


if __name__ == "__main__":
    sys.exit(main())
