"""The options that the command lines share, and the arguments that they stand for."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fastnn import backends
from fastnn.activations import HIDDEN, OUTPUT
from fastnn.checks.values import DTYPES
from fastnn.cli.augmenting import add_augment, augment
from fastnn.cli.groups import (
    Group,
    Keywords,
    Parser,
    add_columns,
    average,
    count,
    rate,
    share,
    without_comma,
)
from fastnn.cli.reading import Dataset, class_weights
from fastnn.cli.running import Given
from fastnn.crossvalidation import OF_NETWORK
from fastnn.losses import DEFAULT_OUTPUT, LOSSES, WITH_NUMBERS
from fastnn.model.architecture import outputs_for
from fastnn.model.initializers import INITIALIZERS
from fastnn.network import Network
from fastnn.optimizers import OPTIMIZERS
from fastnn.precision import PRECISIONS
from fastnn.schedules import SCHEDULES
from fastnn.sparse_rows import is_sparse
from fastnn.training import settings
from fastnn.training.early_stopping import EarlyStopping


class Setting(NamedTuple):
    """An option that sets a field of a loss, an optimizer, a schedule or an `EarlyStopping`."""

    option: str
    field: str
    help: str
    how: Keywords | None = None


EPOCHS: Keywords = {"kind": int, "metavar": "EPOCHS"}
PARTS = "factor of the learning rate for the {} of all layers, or of each"
PER_LAYER = ("activation", "dropout", "weight_factors", "bias_factors")
COUNT: Keywords = {"kind": int, "metavar": "COUNT"}
SHARES: Keywords = {
    "kind": without_comma(float, "--levels", "levels"), "metavar": "SHARE", "nargs": "+"
}  # fmt: skip
SETTINGS = {
    "loss": (
        Setting("--levels", "levels", "shares of labels below each output: 0.05 0.5 0.95", SHARES),
        Setting("--gamma", "gamma", "exponent by which what is known well counts less"),
    ),
    "optimizer": (
        Setting("--momentum", "momentum", "share of the last step that the next one keeps"),
        Setting("--nesterov", "nesterov", "use Nesterov's momentum"),
        Setting("--decay", "decay", "share of the mean of squares that each step keeps"),
        Setting("--beta1", "beta1", "share of the mean gradient that each step keeps"),
        Setting("--beta2", "beta2", "share of the mean squared gradient that each step keeps"),
        Setting("--epsilon", "epsilon", "number added to the root by which steps are divided"),
        Setting(
            "--weight-decay",
            "weight_decay",
            "weights shrink by this times the learning rate in each step",
        ),
        Setting("--weight-factors", "weight_factors", PARTS.format("weights")),
        Setting("--bias-factors", "bias_factors", PARTS.format("biases")),
        Setting(
            "--input-factor",
            "input_factor",
            "learn a factor for each input, at this times the learning rate",
        ),
    ),
    "schedule": (
        Setting("--by", "by", "when the rate changes", {"choices": ("step", "epoch")}),
        Setting("--decay-per-epoch", "decay", "factor of the rate from one epoch to the next"),
        Setting("--every", "every", "epochs between two changes", EPOCHS),
        Setting("--factor", "factor", "factor of the rate at each change"),
        Setting("--power", "power", "exponent p: the rate is divided by (1 + epochs done)^p"),
        Setting("--warmup", "warmup", "epochs in which the rate first rises from 0"),
        Setting("--cycles", "cycles", "waves of the rate, each twice as long", COUNT),
        Setting("--peak", "peak", "share of the run after which the rate is highest"),
        Setting("--start", "start", "factor of the rate at the first step"),
        Setting("--end", "end", "factor of the rate after the last step"),
        Setting("--plateau-patience", "patience", "epochs to wait for a lower loss", EPOCHS),
        Setting("--plateau-min-change", "min_change", "fall above which a loss is lower"),
    ),
    "early_stopping": (
        Setting("--patience", "patience", "epochs to wait for a better value", EPOCHS),
        Setting("--min-change", "min_change", "change above which a value counts as better"),
        Setting("--no-restore-best", "restore_best", "keep the last parameters, not the best"),
    ),
}


def parser(program: str, description: str, several: bool = False) -> Parser:
    """Return a parser of the options that training and tuning share.

    Parameters
    ----------
    program, description : str
    several : bool
        Whether settings take several values to try, and use commas between layers.
    """
    parser = Parser(
        prog=program,
        usage="%(prog)s [option ...]",
        description=description,
        argument_default=argparse.SUPPRESS,  # the library has the defaults of all other options
    )
    text = (
        "Default: MNIST. Otherwise a CSV, .npz, svmlight or IDX file, a folder with the four files "
        "of MNIST, or one with a folder of pictures for each class."
    )
    if not several:
        text += (
            " Or a stream, which need not fit into memory: Parquet, Arrow or Feather files, a "
            "folder of files of one kind, several files, or a pattern such as 'parts/*.csv'."
        )
    group = Group(parser, "data", text)
    group.add(
        "--data",
        type=Path,
        metavar="PATH",
        help="data to train on",
        nargs=None if several else "+",
    )
    add_columns(group)
    group.flag("--regression", "predict numbers, even if all labels are whole numbers")
    group.one("--test", "data to evaluate on", Path, metavar="PATH")
    text = "share of the rows to evaluate on, if there is no --test"
    group.one("--test-share", f"{text} (default: 0.2)", share, metavar="SHARE")
    _add_network(parser, several)
    group = Group(parser, "training", several=several)
    group.setting("--epochs", "passes through the data", count, metavar="EPOCHS", default=10)
    group.setting("--batch-size", "rows per step", count, metavar="ROWS", note="default: 32")
    note = "default: 0.3 for sgd, 0.03 for momentum and nesterov, 0.001 for the others"
    group.setting("--learning-rate", "learning rate before the schedule", note=note)
    group.flag("--no-shuffle", "take the rows in the order of the file", dest="shuffle")
    text = "An option applies to the optimizers in brackets."
    group = Group(parser, "optimizer", text, several)
    group.setting("--optimizer", "name of the optimizer", choices=OPTIMIZERS, default="sgd")
    _add_settings(group, "optimizer", OPTIMIZERS)
    text = "An option applies to the schedules in brackets."
    group = Group(parser, "schedule", text, several)
    text = "how the learning rate changes"
    group.setting("--schedule", text, choices=SCHEDULES, default="linear")
    _add_settings(group, "schedule", SCHEDULES)
    _add_regularisation(parser, several)
    _add_control(parser, several)
    group = Group(parser, "running", several=several)
    add_backend(group)
    group.flag("--quiet", "print the final report only")
    return parser


def _add_network(parser: Parser, several: bool) -> None:
    group = Group(parser, "network", several=several)
    how: Keywords = {}
    if several:
        text = "with commas between layers: 64 256,64 tries both; a lone comma is no hidden layer"
        names = "with commas between layers: relu relu,tanh tries both"
    else:
        how["nargs"] = "*"
        text = "with spaces between layers: 256 64; without a value there is no hidden layer"
        names = "with spaces between layers: relu tanh"
    text = f"units of each hidden layer, {text} (default: 128)"
    group.of_layers("--hidden", text, count, metavar="UNITS", default=128, **how)
    text = (
        f"activation of all hidden layers, or of each, {names}. Names: {', '.join(HIDDEN)} "
        "(default: relu)"
    )
    group.of_layers("--activation", text, str, HIDDEN, metavar="NAME")
    note = "default: sigmoid for two classes, softmax for more, identity for numbers"
    group.setting("--output", "activation of the last layer", choices=OUTPUT, note=note)
    note = (
        "default: cross_entropy for softmax, binary_cross_entropy for sigmoid, poisson for "
        "exponential, mse for identity"
    )
    group.setting("--loss", "loss to minimise", choices=LOSSES, note=note)
    _add_settings(group, "loss", WITH_NUMBERS)
    group.setting("--init", "initial weights", choices=INITIALIZERS, default="glorot")
    group.setting("--dtype", "type of all computations", choices=DTYPES, default="float32")
    text = "what the factors of matrix products are rounded to"
    group.setting("--precision", text, choices=PRECISIONS, note="default: the dtype")
    text = "runs with the same seed are identical to the bit"
    group.one("--seed", text, int, metavar="NUMBER", default=0)
    text = (
        "scale each feature to mean 0, standard deviation 1 (default, but for sparse data, and for "
        "pixels, which are divided by 255)"
    )
    group.flag("--standardize-inputs", text)
    text = (
        "scale labels that are numbers likewise (default, where the output is identity and the "
        "loss not poisson)"
    )
    group.flag("--standardize-targets", text)
    text = "scale neither, unless an option asks for it"
    group.flag("--no-standardize", text, dest="standardize")


def _add_regularisation(parser: Parser, several: bool) -> None:
    group = Group(parser, "regularisation", several=several)
    group.setting("--l2", "penalty: half of this times the sum of the squared weights")
    group.setting("--l1", "penalty: this times the sum of the absolute weights")
    between = "commas" if several else "spaces"
    text = (
        "share of the hidden units to leave out; or one for the inputs and one for each hidden "
        f"layer, with {between} between them"
    )
    group.of_layers("--dropout", text, rate, metavar="SHARE")
    group.setting("--max-norm", "limit of the norm of each unit's weights")
    group.setting("--clip-norm", "limit of the norm of the gradient")
    group.setting("--clip-value", "limit of each element of the gradient")
    text = "share by which targets move towards equal probabilities"
    group.setting("--label-smoothing", text, rate)
    add_augment(group)
    group = Group(parser, "class weights")
    text = "balanced, or pairs such as 3=2.0 8=1.5; validation uses them, too"
    group.add("--class-weight", nargs="+", metavar="LABEL=WEIGHT", help=text)


def _add_control(parser: Parser, several: bool) -> None:
    group = Group(parser, "control", several=several)
    text = "share of the training rows to set aside for validation"
    group.setting("--validation", text, share, metavar="SHARE")
    metric = EarlyStopping.metric
    text = f"stop when this column of the history no longer improves (without a name: {metric})"
    group.add("--early-stopping", nargs="?", const=metric, metavar="METRIC", help=text)
    _add_settings(group, "early_stopping", {})
    text = (
        "evaluate and keep an average of the parameters: with this decay, such as 0.999, or of so "
        "many last epochs"
    )
    group.setting("--average", text, average, metavar="DECAY|EPOCHS")
    group.setting("--max-seconds", "time after which training stops", metavar="SECONDS")
    text = "record the metrics of the training rows, too, after each epoch"
    group.flag("--training-metrics", text)
    text = "layers whose parameters stay fixed, counted from 0, with spaces between them"
    kind = without_comma(int, "--freeze")
    group.add("--freeze", dest="frozen", type=kind, nargs="+", metavar="LAYER", help=text)


def add_backend(group: Group) -> None:
    """Add the options of the backend."""
    text = "compiled, or the slow reference in NumPy"
    group.setting("--backend", text, choices=backends.BACKENDS, default="numba")
    text = "largest number of threads (default: all CPUs)"
    group.one("--threads", text, count, metavar="COUNT")


def _add_settings(group: Group, kind: str, choices: dict[str, Any]) -> None:
    for option, field, text, how in SETTINGS[kind]:
        names = [name for name, choice in choices.items() if hasattr(choice, field)]
        note = ", ".join(names)
        if field in ("nesterov", "restore_best"):
            group.flag(option, f"{text} ({note})" if note else text, dest=option)
        elif field == "levels" and group.several:
            text = f"shares of labels below each output, as in 0.05,0.5,0.95 ({note})"
            group.of_layers(option, text, float, metavar="SHARE", dest=option)
        elif field in PER_LAYER:
            group.of_layers(option, text, float, metavar="FACTOR", dest=option)
        else:
            group.setting(option, text, note=note, dest=option, **(how or {}))


def network(given: Given, data: Dataset) -> Network:
    """Return the network that a command line describes, for these data."""
    arguments = network_arguments(given, data)
    outputs = 1
    if data.classes:
        outputs = outputs_for(len(data.classes), arguments.get("output"))
    else:
        arguments = {"output": _output_of_numbers(given), **arguments}
        outputs = len(getattr(arguments.get("loss"), "levels", "1"))
    net = Network([data.X.shape[1], *given["hidden"], outputs], **arguments)
    net.classes, net.features = data.classes or None, data.features
    return net


def network_arguments(given: Given, data: Dataset) -> Keywords:
    """Return arguments of `fastnn.Network`."""
    default = "standardize" not in given
    output = given.get("output", _output_of_numbers(given))
    scaled = not data.classes and output == "identity" and given.get("loss") != "poisson"
    return {
        "standardize_inputs": default and data.X.dtype != np.uint8 and not is_sparse(data.X),
        "standardize_targets": default and scaled,
        **_chosen(given, {*OF_NETWORK, "seed"}),
        **_loss(given),
    }


def _loss(given: Given) -> Keywords:
    """Return the loss, with its numbers if there are any."""
    name = given.get("loss", "")
    found = _with_settings("loss", WITH_NUMBERS.get(name, name) or None, given)
    return {"loss": found} if found else {}


def _output_of_numbers(given: Given) -> str:
    """Return the default output for numbers: that of the loss, if it is for one."""
    return DEFAULT_OUTPUT.get(given.get("loss", ""), "identity")


def heading(data: Dataset, scaled: Keywords) -> str:
    """Return what the data are, and what of them is standardised."""
    what = [name for name in ("inputs", "targets") if scaled.get(f"standardize_{name}")]
    if not what:
        return str(data)
    return (
        f"{data}\nstandardised to mean 0 and standard deviation 1: {' and '.join(what)} "
        "(--no-standardize leaves them as they are)"
    )


def training_arguments(given: Given, data: Dataset) -> Keywords:
    """Return arguments of `fastnn.Network.train`."""
    metric = given.get("early_stopping")
    choosers = {
        f"--early-stopping {metric}": metric not in (None, "loss"),
        "--schedule plateau": given["schedule"] == "plateau",
    }
    for option, chooses in choosers.items():
        if chooses and "validation" not in given:
            raise ValueError(
                f"{option} needs --validation SHARE, such as 0.2: test data must not influence "
                "training"
            )
    stopping = None if metric is None else EarlyStopping(metric)
    return {
        **_chosen(given, {*settings.NAMES, "validation"}),
        "optimizer": _with_settings("optimizer", OPTIMIZERS[given["optimizer"]], given),
        "schedule": _with_settings("schedule", SCHEDULES[given["schedule"]], given),
        "early_stopping": _with_settings("early_stopping", stopping, given) or False,
        **class_weights(given, data.classes),
        **augment(given.get("augment"), data),
    }


def _with_settings(kind: str, base: Any, given: Given) -> Any:
    """Return a loss, an optimizer, a schedule or an `EarlyStopping` with what is given of it."""
    used = [setting for setting in SETTINGS[kind] if setting.option in given]
    for setting in used:
        if base is None:
            owners = [name for name, each in WITH_NUMBERS.items() if hasattr(each, setting.field)]
            chooser = f"--loss {owners[0]}" if kind == "loss" else "--early-stopping"
            raise ValueError(f"{setting.option} needs {chooser}")
        if not hasattr(base, setting.field):
            own = [other.option for other in SETTINGS[kind] if hasattr(base, other.field)]
            raise ValueError(
                f"{setting.option} does not apply to the {kind} {given[kind]!r}; it takes "
                f"{', '.join(own) or 'no options'}"
            )
    changes = _of_layers({setting.field: given[setting.option] for setting in used})
    return dataclasses.replace(base, **changes) if changes else base


def _chosen(given: Given, names: Collection[str]) -> Keywords:
    """Return what is given for these names."""
    return _of_layers({name: given[name] for name in names if name in given})


def _of_layers(found: Keywords) -> Keywords:
    """Return the same; a list of one value stands for all layers."""
    return {
        name: value[0] if name in PER_LAYER and len(value) == 1 else value
        for name, value in found.items()
    }
