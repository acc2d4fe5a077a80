"""The command line: ``python -m fastnn.train``, also installed as ``fastnn-train``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastnn import backends, datasets
from fastnn.cli import parsing, reading
from fastnn.cli.parsing import Options
from fastnn.cli.printing import predicted, print_report
from fastnn.cli.reading import Dataset
from fastnn.network import Network
from fastnn.training.history import History, Row, format_header, format_row


def main(arguments: Sequence[str] | None = None) -> int:
    """Train as the arguments say.

    Parameters
    ----------
    arguments : sequence of str, optional
        By default those of the command line.

    Returns
    -------
    int
        The exit code: 0, or 130 on Ctrl-C. Bad input exits with 2 and a line on standard error;
        SIGTERM with 143, if there is a checkpoint to be written.
    """
    return parsing.run(_parser(), _train, arguments)


def _parser() -> parsing.Parser:
    text = "Train a multi-layer perceptron, on MNIST or other data, and report how well it does."
    parser = parsing.parser("fastnn-train", text)
    add = parser.add_argument_group("results").add_argument
    add("--describe", action="store_true", help="print what the data hold, and train nothing")
    add("--history", type=Path, metavar="CSV", help="write a row an epoch there")
    add("--checkpoint", type=Path, metavar="FILE", help="keep there what the run needs to go on")
    text = "between two checkpoints; by default an epoch"
    add("--checkpoint-every", type=int, metavar="STEPS", help=text)
    add("--resume", action="store_true", help="go on from the checkpoint, if there is one")
    add("--save", type=Path, metavar="FILE", help="write the network there, for fastnn.load")
    add("--predict", type=Path, metavar="PATH", help="data without labels, to label at the end")
    text = "where to write these labels, as Kaggle takes them: ImageId,Label"
    add("--submission", type=Path, metavar="CSV", help=text)
    add("--plot", type=Path, metavar="FOLDER", help="write pictures of the run there")
    add("--report", type=Path, metavar="HTML", help="write a page about the run there")
    return parser


def _train(given: Options) -> int:
    def say(text: str) -> None:
        if "quiet" not in given:
            print(text, flush=True)

    start = time.perf_counter()
    _check_results(given)
    data = parsing.dataset(given)
    if "describe" in given:
        print(datasets.describe(data.X, data.labels(data.y), data.features))
        return 0
    settings = parsing.training(given, data)
    to_label = None
    if "predict" in given:
        to_label = reading.load(given["predict"], None, given.get("header"), given["dtype"]).train
        reading.same_features(given["predict"], to_label, data)
    net = parsing.network(given, data)
    net.classes = data.classes or None
    say(str(data))
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

    if "validation" in given:
        share = f"a share of {given['validation']:g} of the training rows"
        say(f"after each epoch, validation on {share}, which is set aside")
    else:
        say("after each epoch, validation on the test rows; nothing is chosen by it")
        settings["validation"] = data.test_X, data.test_y
    if {"plot", "report"} & given.keys():
        settings["training_metrics"] = True
    progress = False if "quiet" in given else None
    try:
        history = net.train(data.X, data.y, **settings, progress=progress, callbacks=[record])
        ended = history.stopped
    except KeyboardInterrupt:
        ended = "Ctrl-C"
    if ended:
        print(f"\nstopped after {len(history)} of {given['epochs']} epochs: {ended}", flush=True)
    if history.best_epoch is not None:
        print(f"best epoch: {history.best_epoch}", flush=True)
    print_report(net, data.test_X, data.test_y, data.classes)
    if "history" in given:
        history.to_csv(given["history"])
    if "save" in given:
        net.save(given["save"])
        say(f"\nthe network is in {given['save']}")
    if to_label is not None:
        labels = data.labels(predicted(net, to_label.X, data.classes))
        datasets.write_submission(given["submission"], labels)
        say(f"\n{len(labels):,} labels are in {given['submission']}")
    _draw(given, net, history, data, say)
    kernels = "compiling" if compiled else "loading"
    seconds += history.compile_seconds
    print(f"\n{time.perf_counter() - start:.1f} s in all, {seconds:.1f} s of it {kernels} kernels")
    return 130 if ended == "Ctrl-C" else 0


def _check_results(given: Options) -> None:
    """Refuse before training what could not be written after it."""
    parsing.check_folders(given, "history", "save", "submission", "report")
    if ("predict" in given) != ("submission" in given):
        raise ValueError("--predict, data to label, and --submission, a file, need each other")
    if {"plot", "report"} & given.keys():
        from fastnn import plots

        plots.check_installed()


def _draw(given: Options, net: Network, history: History, data: Dataset, say: Any) -> None:
    """Write the pictures and the page that are asked for."""
    names = data.classes or None
    if "plot" in given and len(history):
        from fastnn import plots

        paths = plots.run(given["plot"], net, history, data.test_X, data.test_y, names=names)
        say(f"\n{len(paths)} pictures are in {given['plot']}")
    if "report" in given and len(history):
        from fastnn import report

        report.write(
            given["report"],
            net,
            history,
            data.test_X,
            data.test_y,
            settings=_settings(given),
            names=names,
            title=f"{data.name}: training run",
        )
        say(f"\nthe report is {given['report']}")


def _settings(given: Options) -> Options:
    """Return the options of a run as they are written."""
    written = {}
    for name, value in given.items():
        values = value if isinstance(value, list) else [value]
        written[name.lstrip("-").replace("_", "-")] = " ".join(map(str, values))
    return written
