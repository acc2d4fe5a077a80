"""What the command lines share: their options, and what these are in Python."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from fastnn import backends
from fastnn.activations import HIDDEN, OUTPUT
from fastnn.checks.values import DTYPES
from fastnn.cli.reading import Dataset, read
from fastnn.losses import LOSSES
from fastnn.model.architecture import outputs_for
from fastnn.model.initializers import INITIALIZERS
from fastnn.network import Network
from fastnn.optimizers import OPTIMIZERS
from fastnn.schedules import SCHEDULES
from fastnn.training.early_stopping import EarlyStopping
from fastnn.training.evaluation import DivergenceError

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


class Parser(argparse.ArgumentParser):
    """A parser whose errors are a single line."""

    def error(self, message: str) -> NoReturn:
        """End the process with exit code 2."""
        self.exit(2, f"{self.prog}: error: {message}\n")


def parser(program: str, description: str) -> Parser:
    """Return a parser of what all command lines have."""
    parser = Parser(
        prog=program,
        usage="%(prog)s [option ...]",
        description=description,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        argument_default=argparse.SUPPRESS,  # what is not given is left to the library
    )
    text = (
        "MNIST, if nothing is named; else a CSV, .npz or IDX file, or a folder of the MNIST files"
    )
    add = parser.add_argument_group("data", text).add_argument
    add("--data", type=Path, metavar="PATH", help="what to learn from")
    add_columns(add)
    add("--regression", action="store_true", help="labels are numbers, even if they are whole")
    add("--test", type=Path, metavar="PATH", help="other data, to judge by")
    text = "of the rows, to judge by, if there are no other data"
    add("--test-share", type=float, default=0.2, metavar="SHARE", help=text)
    add = parser.add_argument_group("network").add_argument
    add("--hidden", type=int, nargs="*", default=[128], metavar="UNITS", help="of hidden layers")
    text = f"of all hidden layers, or of each: {', '.join(HIDDEN)}; by default relu"
    add("--activation", nargs="+", choices=HIDDEN, metavar="NAME", help=text)
    add("--output", choices=OUTPUT, help="last activation; by default what fits the outputs")
    add("--loss", choices=LOSSES, help="by default what goes with the output")
    add("--init", default="glorot", choices=INITIALIZERS, help="initial weights")
    add("--dtype", default="float32", choices=DTYPES, help="of all numbers")
    add("--seed", type=int, default=0, help="fixes every bit of the run")
    add("--standardize-inputs", action="store_true", help="each feature to mean 0, deviation 1")
    add("--standardize-targets", action="store_true", help="the same, of labels that are numbers")
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
    text = "of the training rows, to set aside"
    add("--validation", type=float, metavar="SHARE", help=text)
    text = f"stop when this column gets no better, {EarlyStopping.metric} if none is named"
    add("--early-stopping", nargs="?", const=EarlyStopping.metric, metavar="METRIC", help=text)
    _add_settings(group, "early_stopping", {})
    add("--max-seconds", **NUMBER, help="limit of the time to train")
    text = "also record the metrics of the training rows after each epoch"
    add("--training-metrics", action="store_true", help=text)
    add("--freeze", dest="frozen", type=int, nargs="+", metavar="LAYER", help="the first is 0")
    add = parser.add_argument_group("running").add_argument
    add_backend(add)
    add("--quiet", action="store_true", help="print the final report only")
    return parser


def add_columns(add: Callable[..., object]) -> None:
    """Add what tells the columns of a CSV."""
    add("--label", metavar="COLUMN", help="of a CSV, by name or position; by default 'label'")
    text = "the first line of a CSV holds no names; by default, what it looks like"
    add("--no-header", dest="header", **OFF, help=text)


def add_backend(add: Callable[..., object]) -> None:
    """Add what computes."""
    add("--backend", default="numba", choices=backends.BACKENDS, help="what computes")
    add("--threads", type=int, help="at most; by default all CPUs")


def _add_settings(group: Any, kind: str, choices: dict[str, Any]) -> None:
    for option, field, text, how in SETTINGS[kind]:
        having = ", ".join(name for name, choice in choices.items() if hasattr(choice, field))
        text += f" ({having})" if having else ""
        group.add_argument(option, dest=option, help=text, **how)


def dataset(options: Options) -> Dataset:
    """Return the data that options name."""
    return read(
        options.get("data"),
        options.get("label"),
        options.get("header"),
        options["dtype"],
        options.get("test"),
        options["test_share"],
        "regression" in options,
        options["seed"],
    )


def network(options: Options, data: Dataset) -> Network:
    """Return the network that options stand for, for these data."""
    arguments = arguments_of(Network, options)
    outputs = 1
    if data.classes:
        outputs = outputs_for(len(data.classes), arguments.get("output"))
    else:
        arguments = {"output": "identity", **arguments}
    return Network([data.X.shape[1], *options["hidden"], outputs], **arguments)


def training(options: Options, data: Dataset) -> Options:
    """Return the arguments of `fastnn.Network.train` that options stand for."""
    metric = options.get("early_stopping")
    choosers = {
        f"--early-stopping {metric}": metric not in (None, "loss"),
        "--schedule plateau": options["schedule"] == "plateau",
    }
    for option, chooses in choosers.items():
        if chooses and "validation" not in options:
            raise ValueError(f"{option} needs --validation: test data must not choose anything")
    stopping = None if metric is None else EarlyStopping(metric)
    return {
        **arguments_of(Network.train, options),
        "optimizer": _with_settings("optimizer", OPTIMIZERS[options["optimizer"]], options),
        "schedule": _with_settings("schedule", SCHEDULES[options["schedule"]], options),
        "early_stopping": _with_settings("early_stopping", stopping, options) or False,
        **_class_weight(options.get("class_weight"), data),
    }


def check_folders(options: Options, *names: str) -> None:
    """Refuse files to be written in the end where there is no folder for them."""
    for name in names:
        if name in options and not options[name].parent.is_dir():
            raise FileNotFoundError(f"--{name}: no folder {options[name].parent}")


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


def arguments_of(function: Callable[..., Any], options: Options) -> Options:
    """Return the options that are arguments of a function, as it takes them."""
    names = inspect.signature(function).parameters.keys() - {"class_weight"}
    given = {name: value for name, value in options.items() if name in names}
    return given | {name: read(given[name]) for name, read in READ.items() if name in given}


def _one_or_each(values: list[Any]) -> Any:
    return values if len(values) > 1 else values[0]


def _class_weight(words: list[str] | None, data: Dataset) -> Options:
    if words is None or words == ["balanced"]:
        return {} if words is None else {"class_weight": "balanced"}
    weights = {}
    for word in words:
        label, _, weight = word.rpartition("=")
        try:
            weights[label] = float(weight)
        except ValueError:
            raise ValueError(
                "--class-weight must be balanced, or pairs such as 3=2.0 8=1.5; "
                f"got {' '.join(words)}"
            ) from None
    return {"class_weight": {data.place_of(label): weights[label] for label in weights}}


READ: dict[str, Callable[[list[Any]], Any]] = {
    "activation": _one_or_each,
    "dropout": _one_or_each,
}


def run(parser: Parser, task: Callable[[Options], int], arguments: Sequence[str] | None) -> int:
    """Do a task as the arguments say; return the exit code. Bad input exits with 2 and a line."""
    options = vars(parser.parse_args(arguments))
    try:
        return task(options)
    except BrokenPipeError:  # whoever read the output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (ValueError, TypeError, OSError, MemoryError, ImportError, DivergenceError) as error:
        parser.error(" ".join(str(error).split()) or type(error).__name__)
