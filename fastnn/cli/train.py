"""The command line: ``python -m fastnn.train``, also installed as ``fastnn-train``."""

from __future__ import annotations

import inspect
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fastnn import backends, datasets, distributed
from fastnn.cli import parsing, paths, reading, running, streaming, tabular
from fastnn.cli.drawing import Tested, draw
from fastnn.cli.groups import Group, Keywords, Parser, count
from fastnn.cli.printing import as_options, predicted, print_report, warnings_as_lines
from fastnn.cli.running import Given
from fastnn.committee import Committee, checkpoint_of, joined
from fastnn.datasets.readers import CellError
from fastnn.network import Network
from fastnn.sparse_rows import is_sparse
from fastnn.training import settings
from fastnn.training.history import History, Row, format_header, format_row

Say = Callable[[str], None]
PROGRAM = "fastnn-train"
INPUTS = ("data", "test", "predict")
ALONE = ("tabular", "members")  # what several ranks do not share
OUTPUTS = ("history", "checkpoint", "save", "submission", "report", "plot")


def main(arguments: Sequence[str] | None = None) -> int:
    """Train as the command line says.

    Parameters
    ----------
    arguments : sequence of str, optional
        Default: those of the command line.

    Returns
    -------
    int
        The exit code: 0, or 130 on Ctrl-C. Bad input exits with 2 and a line on standard error;
        SIGTERM exits with 143 if there is a checkpoint.
    """
    distributed.silence_others()
    parser = _parser()
    typed = sys.argv[1:] if arguments is None else arguments
    if any(each.startswith("--ta") for each in typed):  # --tabular, of which the recipe decides
        parser.forget_defaults()
    return running.run(parser, _train, arguments)


def _parser() -> Parser:
    text = "Train a multi-layer perceptron on MNIST or other data, and evaluate it on test data."
    parser = parsing.parser(PROGRAM, text)
    text = (
        "A recipe for CSV files as they are, which needs no other option than --data and --label."
    )
    group = Group(parser, "tables", text)
    text = (
        "take text, dates and missing cells as they are, and build and train the network as "
        "docs/tabular.md says"
    )
    group.flag("--tabular", text)
    group = Group(parser, "committee")
    text = "networks that are trained side by side and predict together (default: 1)"
    group.one("--members", text, count, metavar="COUNT")
    group = Group(parser, "results")
    group.flag("--describe", "describe all rows of the data, and train nothing")
    group.one("--history", "file to write the history to, a row per epoch", Path, metavar="CSV")
    text = "file from which --resume continues, written after each epoch"
    group.one("--checkpoint", text, Path, metavar="FILE")
    text = "steps between two checkpoints (default: one epoch)"
    group.one("--checkpoint-every", text, count, metavar="STEPS")
    group.flag("--resume", "continue from the checkpoint, if the file exists")
    text = "file to save the network to, for fastnn-predict and fastnn.load"
    group.one("--save", text, Path, metavar="FILE")
    group.one("--predict", "data without labels, to label after training", Path, metavar="PATH")
    text = "file to write these labels to, in Kaggle's form: ImageId,Label"
    group.one("--submission", text, Path, metavar="CSV")
    group.one("--plot", "folder to write pictures of the run to", Path, metavar="FOLDER")
    group.one("--report", "file to write a page about the run to", Path, metavar="HTML")
    return parser


@warnings_as_lines(PROGRAM)
def _train(given: Given) -> int:
    def say(text: str) -> None:
        if "quiet" not in given:
            print(text, flush=True)

    start = time.perf_counter()
    ranks = distributed.launched()
    if ranks is not None and (name := next((name for name in ALONE if name in given), "")):
        raise ValueError(f"--{name} is for one process; start it without mpiexec")
    given = streaming.found(given)
    streaming.check(given)
    _check_results(given)
    if "tabular" in given:
        return tabular.train(given)
    if "describe" in given:
        _describe(given)
        return 0
    with distributed.agreeing(ranks) as agreement:  # a file may be missing on one machine
        data, arguments, nets, to_label = _prepared(given, agreement)
    net = nets[0] if len(nets) == 1 else Committee(nets)
    y, test_y = (data.targets(each, nets[0].architecture.output) for each in (data.y, data.test_y))
    say(parsing.heading(data, given | parsing.network_arguments(given, data)))
    for note in data.notes:
        say(note)
    if to_label is not None:
        for note in reading.left_out(given["predict"], to_label):
            say(note)
    say(repr(net))
    compiled = []

    def announce() -> None:
        compiled.append(True)
        say("compiling the kernels for this machine, once; it takes 10 to 30 seconds ...")

    seconds = 0.0
    if ranks is None:  # several compile in turn, in `train`
        # `train` compiles what only its optimizer needs: three seconds at most.
        seconds = backends.get(nets[0].backend).prepare(nets[0], announce)
    if compiled:
        say(f"compiled in {seconds:.1f} s")
    recorded = History()

    def record(row: Row) -> None:
        if not recorded.rows:
            say(format_header(list(row)))
        recorded.append(row)
        say(format_row(row))

    if "validation" in given:
        say(
            f"validation: a share of {given['validation']:g} of the training rows is set aside and "
            "evaluated after each epoch"
        )
    elif not len(data.test_X):
        say("validation: none, as there are no test rows")
    else:
        say(
            "validation: the test rows are evaluated after each epoch, for information only; they "
            "do not influence training"
        )
        arguments["validation"] = data.test_X, test_y
    if {"plot", "report"} & given.keys():
        arguments["training_metrics"] = True
    arguments["progress"] = False if "quiet" in given else None
    histories: list[History] = []
    interrupted = False
    try:
        if ranks is not None:
            arguments["communicator"] = ranks
        if data.stream is None:
            found = net.train(data.X, y, **arguments, callbacks=[record])
        else:
            found = net.train(data.stream, **arguments, callbacks=[record])
        histories = [found] if isinstance(found, History) else found
    except KeyboardInterrupt:
        interrupted = True
        print(_stopped(given, _epochs(recorded, len(nets)), "Ctrl-C"), flush=True)
    except SystemExit:  # which a checkpoint makes of SIGTERM
        print(_stopped(given, _epochs(recorded, len(nets)), "SIGTERM"), flush=True)
        raise
    if distributed.launched_rank():  # the first rank writes and prints what follows
        return running.INTERRUPTED if interrupted else 0
    history = recorded
    if histories:
        history = histories[0] if len(nets) == 1 else joined(histories)
    if len(history) > len(recorded) == 0:
        say(f"the run of {given['checkpoint']} was already complete; nothing was trained")
    for i, each in enumerate(histories):
        name = f"member {i}: " if len(nets) > 1 else ""
        if each.stopped:
            print(_stopped(given, len(each), each.stopped, name), flush=True)
        if each.best_epoch is not None:
            print(f"{name}best epoch: {each.best_epoch}", flush=True)
    if len(data.test_X):
        print_report(net, data.test_X, data.test_y, data.classes)
    else:
        print("\nnot evaluated, as there are no test rows; --test PATH names some")
    if "history" in given:
        history.to_csv(given["history"])
    if "save" in given:
        net.save(given["save"])
        say(f"\nthe {'network' if len(nets) == 1 else 'committee'} is in {given['save']}")
    if to_label is not None:
        labels = data.labels(predicted(net, to_label.X, data.classes))
        datasets.write_submission(given["submission"], labels)
        say(f"\n{len(labels):,} labels are in {given['submission']}")
    names = list(map(str, data.classes)) or None
    draw(given, nets[0], history, Tested(data.name, data.test_X, test_y, names), say)
    if not {"save", "checkpoint"} & given.keys():
        what = "network was" if len(nets) == 1 else "networks were"
        say(f"\nthe {what} not saved; --save FILE keeps {'it' if len(nets) == 1 else 'them'}")
    kernels = "compiling" if compiled else "loading"
    seconds += histories[0].compile_seconds if histories else 0
    print(f"\n{time.perf_counter() - start:.1f} s in all, {seconds:.1f} s of it {kernels} kernels")
    return running.INTERRUPTED if interrupted else 0


def _prepared(
    given: Given, agreement: distributed.Agreement
) -> tuple[reading.Dataset, Keywords, list[Network], Any]:
    """Return the data, the arguments of training, the networks, and the rows to label or None."""
    streamed = isinstance(given.get("data"), streaming.Files)
    try:
        data = streaming.read(given, agreement) if streamed else reading.read(given)
    except CellError as error:
        if streamed:
            raise
        raise CellError(f"{error}; --tabular takes text, dates and gaps as they are") from None
    arguments = parsing.training_arguments(given, data)
    to_label = None
    if "predict" in given:
        to_label = reading.unlabelled(given["predict"], given, data)
    nets = [
        parsing.network({**given, "seed": given["seed"] + i}, data)
        for i in range(given.get("members", 1))
    ]
    architecture = nets[0].architecture
    if to_label is not None and not data.classes and architecture.sizes[-1] > 1:
        raise ValueError(
            "--predict writes one number per row; need one of --levels, or --save and "
            "fastnn-predict --outputs"
        )
    _check_settings(arguments, nets[0], sys.maxsize if streamed else len(data.X))
    return data, arguments, nets, to_label


def _epochs(recorded: History, members: int) -> int:
    """Return how many epochs all members have been trained for."""
    done = [0] * members
    for row in recorded:
        done[int(row.get("member", 0))] += 1
    return min(done)


def _stopped(given: Given, epochs: int, reason: str, name: str = "") -> str:
    """Return after how many epochs a run has ended and why, and how it can go on."""
    text = f"\n{name}stopped after {epochs} of {given['epochs']} epochs: {reason}"
    goes_on = "checkpoint" in given and reason in ("Ctrl-C", "SIGTERM", "max_seconds")
    return text + "; the same command with --resume continues" * goes_on


def _check_results(given: Given) -> None:
    """Refuse, before any work is done, what would fail at its end."""
    for option, other, value in (
        ("predict", "submission", "CSV, the file to write the labels to"),
        ("submission", "predict", "PATH, the data to label"),
        ("resume", "checkpoint", "FILE, the file to continue from"),
        ("checkpoint_every", "checkpoint", "FILE, the file to write"),
    ):
        if option in given and other not in given:
            raise ValueError(f"--{option.replace('_', '-')} needs --{other} {value}")
    members = given.get("members", 1)
    for i in range(members):
        files = {**given}
        if members > 1 and "checkpoint" in given:
            files["checkpoint"] = Path(checkpoint_of(given["checkpoint"], i))
        paths.check(files, INPUTS, OUTPUTS)
    if drawn := [name for name in ("plot", "report") if name in given]:
        if members > 1:
            raise ValueError(
                f"--{drawn[0]} is about a single network; need it without --members, or save the "
                "committee, and draw a member with fastnn.plots"
            )
        from fastnn import plots

        plots.check_installed()


def _check_settings(arguments: Keywords, net: Network, rows: int) -> None:
    """Refuse settings of training before anything is printed."""
    defaults = inspect.signature(Network.train).parameters
    keywords = {name: arguments.get(name, defaults[name].default) for name in settings.NAMES}
    settings.checked(keywords, net.architecture, rows)


def _describe(given: Given) -> None:
    """Print a description of all rows of the data, test rows included.

    A file of text with cells that are no numbers is described column by column.
    """
    try:
        name, split = reading.tables(given, given["dtype"])
    except CellError as error:
        print(reading.columns(given))
        print(f"\nnot ready for training: {as_options(str(error))}")
        return
    X, y = split.train.X, split.train.y
    if is_sparse(X):
        raise ValueError(f"{name} is sparse; --describe takes data that are not")
    if split.test is not None:
        print(f"{name}: {len(X):,} training and {len(split.test.X):,} test rows, here together")
        X, y = reading.joined(split)
    for note in reading.written(name, split.train):
        print(note)
    print(datasets.describe(X, y, split.train.features))
