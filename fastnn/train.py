"""The command line: ``python -m fastnn.train``, also installed as ``fastnn-train``."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import fastnn
from fastnn import backends, metrics
from fastnn.activations import HIDDEN, OUTPUT
from fastnn.history import History, Row, format_header, format_row
from fastnn.losses import LOSSES
from fastnn.optimizers import OPTIMIZERS
from fastnn.parameters import INITIALISERS
from fastnn.schedules import SCHEDULES
from fastnn.stopping import EarlyStopping
from fastnn.validation import DTYPES

Options = dict[str, Any]
NUMBER: Options = {"type": float, "metavar": "NUMBER"}
COUNT: Options = {"type": int, "metavar": "EPOCHS"}
OFF: Options = {"action": "store_false"}


class Setting(NamedTuple):
    """An option that is a field of an optimizer, a schedule or an `EarlyStopping`."""

    option: str
    field: str
    help: str
    how: Options = NUMBER


SETTINGS = {
    "optimizer": (
        Setting("--momentum", "momentum", "share of the last step that goes on"),
        Setting("--nesterov", "nesterov", "Nesterov's momentum", {"action": "store_true"}),
        Setting("--decay", "decay", "share that the mean of squares keeps"),
        Setting("--beta1", "beta1", "share that the mean of the gradient keeps"),
        Setting("--beta2", "beta2", "share that the mean of its square keeps"),
        Setting("--epsilon", "epsilon", "added to what a step is divided by"),
        Setting("--weight-decay", "weight_decay", "share of the weights lost, times the rate"),
    ),
    "schedule": (
        Setting("--by", "by", "when the rate changes", {"choices": ("step", "epoch")}),
        Setting("--decay-per-epoch", "decay", "factor from one epoch to the next"),
        Setting("--every", "every", "epochs between two changes", COUNT),
        Setting("--factor", "factor", "of a change"),
        Setting("--power", "power", "of the epochs done, which the rate is divided by"),
        Setting("--warmup", "warmup", "epochs in which the rate rises"),
        Setting("--peak", "peak", "part of the run after which the rate is highest"),
        Setting("--start", "start", "factor at the first step"),
        Setting("--end", "end", "factor after the last step"),
        Setting("--plateau-patience", "patience", "epochs to wait for a lower loss", COUNT),
        Setting("--plateau-min-change", "min_change", "by which it must be lower"),
    ),
    "early_stopping": (
        Setting("--patience", "patience", "epochs to wait for a better value", COUNT),
        Setting("--min-change", "min_change", "by which it must be better"),
        Setting("--no-restore-best", "restore_best", "keep the last parameters", OFF),
    ),
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="fastnn-train",
        usage="%(prog)s [option ...]",
        description="Train a multi-layer perceptron on MNIST and report how well it does.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        argument_default=argparse.SUPPRESS,  # what is not given is left to the library
    )
    add = parser.add_argument_group("network").add_argument
    add("--hidden", type=int, nargs="*", default=[128], metavar="UNITS", help="of hidden layers")
    text = f"of all hidden layers, or of each: {', '.join(HIDDEN)}; by default relu"
    add("--activation", nargs="+", choices=HIDDEN, metavar="NAME", help=text)
    add("--output", choices=OUTPUT, help="last activation; by default what fits the outputs")
    add("--loss", choices=LOSSES, help="by default what goes with the output")
    add("--init", default="glorot", choices=INITIALISERS, help="initial weights")
    add("--dtype", default="float32", choices=DTYPES, help="of all numbers")
    add("--seed", type=int, default=0, help="fixes every bit of the run")
    # Targets cannot be standardised here: they are classes.
    add("--standardize-inputs", action="store_true", help="mean 0 and deviation 1 for each pixel")
    add = parser.add_argument_group("training").add_argument
    add("--epochs", type=int, default=10, help="times through the data")
    add("--batch-size", type=int, metavar="ROWS", help="rows a step; by default 32")
    add("--learning-rate", **NUMBER, help="where the factor is 1; by default the optimizer's own")
    add("--no-shuffle", dest="shuffle", **OFF, help="take the rows as they come")
    group = parser.add_argument_group("optimizer", "in brackets, which optimizers have a number")
    group.add_argument("--optimizer", default="sgd", choices=OPTIMIZERS, help="what makes steps")
    _add_settings(group, "optimizer", OPTIMIZERS)
    group = parser.add_argument_group("schedule", "in brackets, which schedules have a number")
    group.add_argument("--schedule", default="linear", choices=SCHEDULES, help="of the rate")
    _add_settings(group, "schedule", SCHEDULES)
    add = parser.add_argument_group("regularisation").add_argument
    add("--l2", **NUMBER, help="the penalty is half of it times the sum of squared weights")
    add("--l1", **NUMBER, help="the penalty is it times the sum of absolute weights")
    text = "share of the hidden units to leave out, or shares of the inputs and each hidden layer"
    add("--dropout", **NUMBER, nargs="+", help=text)
    add("--max-norm", **NUMBER, help="limit of the norm of a unit's weights")
    add("--clip-norm", **NUMBER, help="limit of the norm of the gradient")
    add("--clip-value", **NUMBER, help="limit of each number of the gradient")
    add("--label-smoothing", **NUMBER, help="share that targets move towards uniform ones")
    add = parser.add_argument_group("class weights").add_argument
    text = "balanced, or pairs such as 3=2.0 8=1.5; they weigh validation, too"
    add("--class-weight", nargs="+", metavar="LABEL=WEIGHT", help=text)
    group = parser.add_argument_group("control")
    add = group.add_argument
    text = "of the training images, to set aside; without it, validation is on the test images"
    add("--validation", type=float, metavar="SHARE", help=text)
    text = f"stop when this column gets no better, {EarlyStopping.metric} if none is named"
    add("--early-stopping", nargs="?", const=EarlyStopping.metric, metavar="METRIC", help=text)
    _add_settings(group, "early_stopping", {})
    add("--max-seconds", **NUMBER, help="limit of the time to train")
    text = "also record the metrics of the training images after each epoch"
    add("--training-metrics", action="store_true", help=text)
    add("--freeze", dest="frozen", type=int, nargs="+", metavar="LAYER", help="the first is 0")
    add = parser.add_argument_group("running").add_argument
    add("--backend", default="numba", choices=backends.BACKENDS, help="what computes")
    add("--threads", type=int, help="at most; by default all CPUs")
    add("--data", type=Path, metavar="FOLDER", help="of the MNIST files")
    add("--history", type=Path, metavar="CSV", help="write a row an epoch there")
    add("--quiet", action="store_true", help="print the final report only")
    return parser


def _add_settings(group: Any, kind: str, choices: dict[str, Any]) -> None:
    for option, field, text, how in SETTINGS[kind]:
        having = ", ".join(name for name, choice in choices.items() if hasattr(choice, field))
        text += f" ({having})" if having else ""
        group.add_argument(option, dest=option, help=text, **how)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train as the arguments say.

    Parameters
    ----------
    arguments : sequence of str, optional
        By default those of the command line.

    Returns
    -------
    int
        The exit code: 0, or 130 on Ctrl-C. Bad input exits with 2 and a line on standard error.
    """
    parser = _parser()
    options = vars(parser.parse_args(arguments))
    try:
        return _train(options)
    except BrokenPipeError:  # whoever read the output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (ValueError, TypeError, OSError, MemoryError, fastnn.DivergenceError) as error:
        parser.error(" ".join(str(error).split()) or type(error).__name__)


def _train(options: Options) -> int:
    def say(text: str) -> None:
        if "quiet" not in options:
            print(text, flush=True)

    start = time.perf_counter()
    if "history" in options and not options["history"].parent.is_dir():
        raise FileNotFoundError(f"--history: no folder {options['history'].parent}")
    settings = _settings(options)
    X, y, test_X, test_y = fastnn.datasets.load_mnist(options.get("data"))
    sizes = [X.shape[1], *options["hidden"], 10]
    net = fastnn.Network(sizes, **_arguments_of(fastnn.Network, options))
    say(f"MNIST: {len(X):,} training and {len(test_X):,} test images of {X.shape[1]} pixels")
    say(repr(net))
    compiled = []

    def announce() -> None:
        compiled.append(True)
        say("compiling the kernels for this machine, once: about ten seconds ...")

    # What only this rule needs, train compiles: three seconds at most.
    seconds = backends.get(net.backend).prepare(net, announce)
    history = History()

    def record(row: Row) -> None:
        if not history.rows:
            say(format_header(list(row)))
        history.append(row)
        say(format_row(row))

    if "validation" in options:
        share = f"a share of {options['validation']:g} of the training images"
        say(f"after each epoch, validation on {share}, which is set aside")
    else:
        say("after each epoch, validation on the test images; nothing is chosen by it")
        settings["validation"] = test_X, test_y
    progress = False if "quiet" in options else None
    try:
        history = net.train(X, y, **settings, progress=progress, callbacks=[record])
        ended = history.stopped
    except KeyboardInterrupt:
        ended = "Ctrl-C"
    if ended:
        print(f"\nstopped after {len(history)} of {options['epochs']} epochs: {ended}", flush=True)
    if history.best_epoch is not None:
        print(f"best epoch: {history.best_epoch}", flush=True)
    if "history" in options:
        history.to_csv(options["history"])
    _report(net, test_X, test_y)
    kernels = "compiling" if compiled else "loading"
    seconds += history.compile_seconds
    print(f"\n{time.perf_counter() - start:.1f} s in all, {seconds:.1f} s of it {kernels} kernels")
    return 130 if ended == "Ctrl-C" else 0


def _settings(options: Options) -> Options:
    """Return the arguments of `fastnn.Network.train` that options stand for."""
    metric = options.get("early_stopping")
    choosers = {
        f"--early-stopping {metric}": metric not in (None, "loss"),
        "--schedule plateau": options["schedule"] == "plateau",
    }
    for option, chooses in choosers.items():
        if chooses and "validation" not in options:
            raise ValueError(f"{option} needs --validation: test images must not choose anything")
    stopping = None if metric is None else EarlyStopping(metric)
    return {
        **_arguments_of(fastnn.Network.train, options),
        "optimizer": _with_settings("optimizer", OPTIMIZERS[options["optimizer"]], options),
        "schedule": _with_settings("schedule", SCHEDULES[options["schedule"]], options),
        "early_stopping": _with_settings("early_stopping", stopping, options) or False,
    }


def _with_settings(kind: str, base: Any, options: Options) -> Any:
    """Return an optimizer, a schedule or an `EarlyStopping` with the numbers given for it."""
    given = [setting for setting in SETTINGS[kind] if setting.option in options]
    for setting in given:
        if base is None:
            raise ValueError(f"{setting.option} needs --early-stopping")
        if not hasattr(base, setting.field):
            own = [other.option for other in SETTINGS[kind] if hasattr(base, other.field)]
            raise ValueError(
                f"{setting.option} is not a number of the {kind} {options[kind]!r}, which has: "
                f"{', '.join(own) or 'none'}"
            )
    changes = {setting.field: options[setting.option] for setting in given}
    return dataclasses.replace(base, **changes) if changes else base


def _arguments_of(function: Callable[..., Any], options: Options) -> Options:
    """Return the options that are arguments of a function, as it takes them."""
    names = inspect.signature(function).parameters
    given = {name: value for name, value in options.items() if name in names}
    return given | {name: read(given[name]) for name, read in READ.items() if name in given}


def _one_or_each(values: list[Any]) -> Any:
    return values if len(values) > 1 else values[0]


def _class_weight(words: list[str]) -> str | dict[int, float]:
    if words == ["balanced"]:
        return "balanced"
    try:
        pairs = [word.split("=") for word in words]
        return {int(label): float(weight) for label, weight in pairs}
    except ValueError:
        raise ValueError(
            f"--class-weight must be balanced, or pairs such as 3=2.0 8=1.5; got {' '.join(words)}"
        ) from None


READ: dict[str, Callable[[list[Any]], Any]] = {
    "activation": _one_or_each,
    "dropout": _one_or_each,
    "class_weight": _class_weight,
}


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
