"""The command line: each option is what it says in Python, refusals, and what is printed."""

from __future__ import annotations

import contextlib
import csv
import inspect
import warnings
from dataclasses import fields

import numpy as np
import pytest
from test_mnist import NAMES, encode, fill

from fastnn import EarlyStopping, Network, load, predict, train
from fastnn.activations import HIDDEN
from fastnn.augment import Images, Mixup, Noise
from fastnn.backends import reference
from fastnn.cli import train as cli_train
from fastnn.cli.parsing import SETTINGS
from fastnn.cli.printing import as_options
from fastnn.datasets import load_mnist
from fastnn.losses import WITH_NUMBERS, Focal
from fastnn.model.initializers import INITIALIZERS
from fastnn.optimizers import OPTIMIZERS, SGD, Adam, AdamW, RMSprop
from fastnn.schedules import (
    SCHEDULES,
    Cosine,
    CosineLog,
    Exponential,
    InverseScaling,
    Linear,
    OneCycle,
    ReduceOnPlateau,
    Step,
)
from fastnn.training import settings

# Names of what is so by default, and plateau, which needs more than its name.
DEFAULT = ("relu", "glorot", "xavier", "sgd", "linear", "plateau")
SHORT = "--backend numpy --hidden 6 --epochs 2"
# An option, and what it is in Python: arguments of Network, and of Network.train.
OPTIONS = [
    ("--hidden 5", {"sizes": [784, 5, 10]}, {}),
    ("--hidden 5 4", {"sizes": [784, 5, 4, 10]}, {}),
    ("--hidden", {"sizes": [784, 10]}, {}),
    *[(f"--activation {name}", {"activation": name}, {}) for name in HIDDEN if name not in DEFAULT],
    (
        "--hidden 5 4 --activation tanh elu",
        {"sizes": [784, 5, 4, 10], "activation": ["tanh", "elu"]},
        {},
    ),
    ("--output sigmoid", {"output": "sigmoid"}, {}),
    ("--output identity", {"output": "identity"}, {}),
    ("--loss mse", {"loss": "mse"}, {}),
    ("--loss mae", {"loss": "mae"}, {}),
    ("--loss huber", {"loss": "huber"}, {}),
    ("--loss focal --gamma 0.5", {"loss": Focal(gamma=0.5)}, {}),
    ("--output identity --loss mae", {"output": "identity", "loss": "mae"}, {}),
    ("--output exponential --loss mse", {"output": "exponential", "loss": "mse"}, {}),
    *[(f"--init {name}", {"init": name}, {}) for name in INITIALIZERS if name not in DEFAULT],
    ("--dtype float64", {"dtype": "float64"}, {}),
    ("--precision bfloat16", {"precision": "bfloat16"}, {}),
    ("--seed 1", {"seed": 1}, {}),
    ("--standardize-inputs", {"standardize_inputs": True}, {}),
    ("--epochs 1", {}, {"epochs": 1}),
    ("--batch-size 45", {}, {"batch_size": 45}),
    ("--learning-rate 0.1", {}, {"learning_rate": 0.1}),
    ("--no-shuffle", {}, {"shuffle": False}),
    *[
        (f"--optimizer {name}", {}, {"optimizer": name})
        for name in OPTIMIZERS
        if name not in DEFAULT
    ],
    ("--momentum 0.5", {}, {"optimizer": SGD(momentum=0.5)}),
    ("--momentum 0.5 --nesterov", {}, {"optimizer": SGD(momentum=0.5, nesterov=True)}),
    ("--optimizer rmsprop --decay 0.5", {}, {"optimizer": RMSprop(decay=0.5)}),
    ("--optimizer rmsprop --epsilon 0.1", {}, {"optimizer": RMSprop(epsilon=0.1)}),
    ("--optimizer adam --beta1 0.5", {}, {"optimizer": Adam(beta1=0.5)}),
    ("--optimizer adam --beta2 0.5", {}, {"optimizer": Adam(beta2=0.5)}),
    ("--optimizer adamw --weight-decay 9", {}, {"optimizer": AdamW(weight_decay=9)}),
    *[(f"--schedule {name}", {}, {"schedule": name}) for name in SCHEDULES if name not in DEFAULT],
    ("--end 0.5", {}, {"schedule": Linear(end=0.5)}),
    ("--by epoch", {}, {"schedule": Linear(by="epoch")}),
    (
        "--schedule exponential --decay-per-epoch 0.2",
        {},
        {"schedule": Exponential(decay=0.2)},
    ),
    ("--schedule step --every 1", {}, {"schedule": Step(every=1)}),
    ("--schedule step --every 1 --factor 0.1", {}, {"schedule": Step(every=1, factor=0.1)}),
    ("--schedule inverse_scaling --power 3", {}, {"schedule": InverseScaling(power=3)}),
    ("--schedule cosine --warmup 0.7", {}, {"schedule": Cosine(warmup=0.7)}),
    ("--schedule cosine_log --cycles 3", {}, {"schedule": CosineLog(cycles=3)}),
    ("--schedule one_cycle --peak 0.8", {}, {"schedule": OneCycle(peak=0.8)}),
    ("--schedule one_cycle --start 0.9", {}, {"schedule": OneCycle(start=0.9)}),
    (
        "--epochs 4 --validation 0.3 --schedule plateau --factor 0.2 --plateau-patience 1"
        " --plateau-min-change 9",
        {},
        {
            "epochs": 4,
            "validation": 0.3,
            "schedule": ReduceOnPlateau(factor=0.2, patience=1, min_change=9),
        },
    ),
    ("--l2 0.1", {}, {"l2": 0.1}),
    ("--l1 0.01", {}, {"l1": 0.01}),
    ("--dropout 0.5", {}, {"dropout": 0.5}),
    ("--dropout 0.2 0.5", {}, {"dropout": [0.2, 0.5]}),
    ("--max-norm 0.5", {}, {"max_norm": 0.5}),
    ("--clip-norm 0.1", {}, {"clip_norm": 0.1}),
    ("--clip-value 0.01", {}, {"clip_value": 0.01}),
    ("--label-smoothing 0.2", {}, {"label_smoothing": 0.2}),
    (
        "--augment rotate=12 elastic=0.5 flip mixup=0.2 noise=0.1",
        {},
        {
            "augment": [
                Images((28, 28), rotate=12, elastic=0.5, flip=True),
                Mixup(0.2),
                Noise(0.1),
            ]
        },
    ),
    ("--augment size=14x56 shift=2", {}, {"augment": [Images((14, 56), shift=2)]}),
    ("--augment noise=0.1", {}, {"augment": Noise(0.1)}),
    ("--class-weight balanced", {}, {"class_weight": "balanced"}),
    ("--class-weight 3=2.5 8=0", {}, {"class_weight": {3: 2.5, 8: 0.0}}),
    ("--validation 0.3", {}, {"validation": 0.3}),
    ("--training-metrics", {}, {"training_metrics": True}),
    ("--freeze 0", {}, {"frozen": [0]}),
    ("--freeze 1", {}, {"frozen": [1]}),
]
STOPPING = "--epochs 9 --validation 0.3 --optimizer rmsprop --learning-rate 0.01"
# Early stopping, as options and in Python.
EARLY = [
    ("--early-stopping --patience 1 --min-change 9", EarlyStopping(patience=1, min_change=9)),
    (
        "--early-stopping validation_accuracy --patience 2",
        EarlyStopping("validation_accuracy", patience=2),
    ),
    (
        "--early-stopping validation_accuracy --patience 2 --no-restore-best",
        EarlyStopping("validation_accuracy", patience=2, restore_best=False),
    ),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of small files in the form of MNIST: one picture a digit, under much noise."""
    rng = np.random.default_rng(5)
    pictures = rng.integers(0, 40, (10, 28, 28))
    arrays = []
    for count in (90, 40):
        labels = rng.integers(0, 10, count, np.uint8)
        images = pictures[labels] + rng.integers(0, 200, (count, 28, 28))
        arrays += [images.astype(np.uint8), labels]
    files = {name: encode(array) for name, array in zip(NAMES, arrays, strict=True)}
    return fill(tmp_path_factory.mktemp("images"), files)


@pytest.fixture
def run(folder, tmp_path, capsys):
    """Run the command line; return what it printed, and the columns that it recorded."""

    def run(options, short=SHORT):
        file = tmp_path / "history.csv"
        words = f"{short} {options} --data {folder} --history {file}".split()
        assert train.main(words) == 0
        with open(file, encoding="utf-8") as lines:
            rows = list(csv.DictReader(lines))
        columns = {name: [float(row[name]) for row in rows] for name in rows[0]}
        return capsys.readouterr().out, without_times(columns)

    return run


def without_times(columns):
    return {
        name: columns[name] for name in columns if "seconds" not in name and "per_s" not in name
    }


@pytest.fixture
def refusal(folder, capsys):
    """Run the command line, which must refuse; return what it says."""

    def refusal(options):
        with pytest.raises(SystemExit) as stop:
            train.main(f"{SHORT} --data {folder} {options}".split())
        assert stop.value.code == 2
        said = capsys.readouterr().err
        assert said.startswith("fastnn-train: error: ")
        assert said.count("\n") == 1
        return said

    return refusal


@pytest.fixture(scope="module")
def python(folder):
    """Do in Python what the command line does; return the network, history and test data."""
    X, y, test_X, test_y = load_mnist(folder)

    def python(network=None, training=None):
        network = {"sizes": [784, 6, 10], "seed": 0, "backend": "numpy", **(network or {})}
        training = {"epochs": 2, "validation": (test_X, test_y), **(training or {})}
        net = Network(**network)
        history = net.train(X, y, **training)
        return net, history, (test_X, test_y)

    return python


def columns(history):
    return without_times({name: history[name] for name in history.columns})


@pytest.fixture(scope="module")
def plain(python):
    return columns(python()[1])


def test_without_options_the_defaults_of_the_library_hold(run, python):
    _, recorded = run("", "--backend numpy")
    _, history, _ = python({"sizes": [784, 128, 10]}, {"epochs": 10})
    assert recorded == columns(history)


@pytest.mark.parametrize(
    ("options", "network", "training"), OPTIONS, ids=[option for option, *_ in OPTIONS]
)
def test_an_option_is_what_it_says_in_python(run, python, options, network, training):
    _, recorded = run(options)
    _, history, _ = python(network, training)
    assert recorded == columns(history)


@pytest.mark.parametrize("options", [option for option, *_ in OPTIONS])
def test_an_option_changes_the_run(run, plain, options):
    _, recorded = run(options)
    assert recorded != plain


@pytest.mark.parametrize(("options", "rule"), EARLY, ids=[option for option, _ in EARLY])
def test_early_stopping_is_what_it_is_in_python(run, python, options, rule):
    printed, recorded = run(f"{STOPPING} {options}")
    training = {"epochs": 9, "validation": 0.3, "optimizer": "rmsprop", "learning_rate": 0.01}
    net, history, (X, y) = python(training={**training, "early_stopping": rule})
    assert recorded == columns(history)
    assert history.best_epoch < len(history) < 9
    assert f"\nstopped after {len(history)} of 9 epochs: early stopping\n" in printed
    assert f"\nbest epoch: {history.best_epoch}\n" in printed
    assert f"\ntest accuracy  {net.evaluate(X, y)['accuracy']:.4f}\n" in printed


def test_restoring_the_best_epoch_changes_the_report(run):
    options = f"{STOPPING} --early-stopping --patience 2 --min-change 9 --standardize-inputs"
    best, _ = run(options)
    last, _ = run(f"{options} --no-restore-best")
    best, last = (shown[shown.index("test") : shown.rindex("\n\n")] for shown in (best, last))
    assert best != last


def test_early_stopping_on_the_training_loss_needs_nothing_set_aside(run):
    printed, recorded = run("--early-stopping loss --patience 1 --min-change 9")
    assert len(recorded["loss"]) == 2
    assert "stopped after 2 of 2 epochs: early stopping" in printed


def test_a_run_that_is_out_of_time_says_so(run):
    printed, recorded = run("--max-seconds 0.0001")
    assert len(recorded["loss"]) == 1
    assert "\nstopped after 1 of 2 epochs: max_seconds\n" in printed


def test_a_whole_run_names_no_reason_to_end_and_no_best_epoch(run):
    printed, _ = run("")
    assert "stopped" not in printed
    assert "best epoch" not in printed


def test_every_argument_of_the_library_has_an_option():
    parser = cli_train._parser()
    ours = {action.dest for action in parser._actions}
    library = inspect.signature(Network).parameters | inspect.signature(Network.train).parameters
    # Sizes are --hidden, X and y are --data; the rest is for programs.
    without = {"self", "X", "y", "sizes", "sample_weight", "progress", "callbacks", "communicator"}
    assert set(library) - ours == without


def test_the_settings_are_the_arguments_of_train_that_are_no_data():
    arguments = set(inspect.signature(Network.train).parameters)
    data = {"self", "X", "y", "validation", "sample_weight", "class_weight"}
    assert arguments - data == settings.NAMES


@pytest.mark.parametrize(
    ("kind", "choices"),
    [
        ("loss", WITH_NUMBERS.values()),
        ("optimizer", OPTIMIZERS.values()),
        ("schedule", SCHEDULES.values()),
        ("early_stopping", [EarlyStopping()]),
    ],
)
def test_every_number_has_an_option(kind, choices):
    numbers = {field.name for choice in choices for field in fields(choice)}
    ours = [setting.field for setting in SETTINGS[kind]]
    assert sorted(ours) == sorted(numbers - {"learning_rate", "metric"})


@pytest.mark.parametrize(
    "group",
    [
        "data",
        "network",
        "training",
        "optimizer",
        "schedule",
        "regularisation",
        "class weights",
        "control",
        "running",
        "results",
    ],
)
def test_help_has_a_group(capsys, group):
    with pytest.raises(SystemExit) as stop:
        train.main(["--help"])
    assert stop.value.code == 0
    assert f"\n{group}:\n" in capsys.readouterr().out


def test_help_says_which_optimizers_and_schedules_have_a_number(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit):
        train.main(["--help"])
    printed = capsys.readouterr().out
    assert "(rmsprop, adam, adamw)" in printed
    assert "(linear, cosine, one_cycle)" in printed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            "--beta1 0.5",
            "--beta1 does not apply to the optimizer 'sgd'; it takes --momentum, --nesterov",
        ),
        (
            "--schedule cosine --every 2",
            "--every does not apply to the schedule 'cosine'; it takes --by, --warmup, --end",
        ),
        (
            "--schedule constant --end 0.1",
            "--end does not apply to the schedule 'constant'; it takes no options",
        ),
        ("--patience 3", "--patience needs --early-stopping"),
        ("--gamma 3", "--gamma needs --loss focal"),
        ("--levels 0.1 0.9", "--levels needs --loss quantile"),
        (
            "--loss quantile --gamma 3",
            "--gamma does not apply to the loss 'quantile'; it takes --levels",
        ),
        (
            "--loss mse --levels 0.1",
            "--levels does not apply to the loss 'mse'; it takes no options",
        ),
        ("--loss quantile --levels 0.9 0.1", "Quantile's levels must be numbers that rise"),
        ("--loss focal --gamma -1", "Focal's gamma must be finite and at least 0"),
        (
            "--loss quantile --levels 0.1,0.9",
            "argument --levels: got '0.1,0.9'; need spaces between levels: --levels 0.1 0.9",
        ),
        ("--no-restore-best", "--no-restore-best needs --early-stopping"),
        (
            "--early-stopping",
            "--early-stopping validation_loss needs --validation SHARE, such as 0.2: "
            "test data must not influence training",
        ),
        (
            "--early-stopping validation_accuracy",
            "--early-stopping validation_accuracy needs --validation SHARE, such as 0.2: "
            "test data must not influence training",
        ),
        (
            "--schedule plateau",
            "--schedule plateau needs --validation SHARE, such as 0.2: test data must not",
        ),
        ("--validation 0.2 --early-stopping rate", "early_stopping's metric must be one of loss"),
        ("--validation 2", "argument --validation: need a share below 1, got 2; 2% are 0.02"),
        ("--validation 20", "argument --validation: need a share below 1, got 20; 20% are 0.2"),
        ("--validation 0", "argument --validation: need a share above 0, got 0"),
        ("--validation x", "argument --validation: 'x' is not a number"),
        ("--average 5.5", "need a decay above 0 and below 1, or a whole number of epochs; got '5"),
        ("--average -0.5", "need a decay above 0 and below 1, or a whole number of epochs; got"),
        (
            "--class-weight 3:2",
            "--class-weight must be balanced, or pairs such as 3=2.0 8=1.5; got 3:2",
        ),
        ("--class-weight balanced 3=2", "--class-weight must be balanced, or pairs"),
        ("--class-weight 10=2", "there is no class '10'; there are 0, 1, 2, 3, 4, 5, 6, 7, 8, 9"),
        ("--nesterov", "nesterov needs a momentum greater than 0"),
        ("--optimizer adam --beta2 1", "Adam's beta2 must be finite"),
        ("--optimizer adagrad", "argument --optimizer: 'adagrad' is none of sgd, momentum"),
        ("--output exponential", "y must have shape (90, 10), a count for each"),
        ("--output identity --loss poisson", "y must have shape (90, 10), a count for each"),
        ("--output sigmoid --loss cross_entropy", "loss 'cross_entropy' is"),
        ("--output identity --label-smoothing 0.1", "--label-smoothing needs the loss"),
        ("--activation relu tanh", "activation must be one name, or one for each"),
        ("--dropout 0.1 0.2 0.3", "dropout must be one rate"),
        ("--dropout 1", "argument --dropout: need a share below 1, got 1"),
        ("--dropout 50", "argument --dropout: need a share below 1, got 50; 50% are 0.5"),
        ("--freeze 0 1", "--freeze must leave a layer to train"),
        ("--max-norm 0", "--max-norm must be finite and greater than 0"),
        ("--max-seconds -1", "--max-seconds must be finite and greater than 0"),
        ("--threads 0", "argument --threads: need at least 1, got 0"),
        ("--batch-size -3", "argument --batch-size: need at least 1, got -3"),
        ("--hidden 16,a", "argument --hidden: 'a' is not a whole number"),
        ("--l2 -1", "l2 must be finite and at least 0"),
        ("--epochs 0", "argument --epochs: need at least 1, got 0"),
        ("--data nowhere", "--data: there is no file 'nowhere'"),
        ("--history nowhere/history.csv", "--history 'nowhere/history.csv': no folder"),
        ("--checkpoint nowhere/run", "--checkpoint 'nowhere/run': no folder"),
        ("--save nowhere/net", "--save 'nowhere/net': no folder"),
        ("--resume", "--resume needs --checkpoint FILE, the file to continue from"),
        ("--checkpoint-every 3", "--checkpoint-every needs --checkpoint FILE, the file to write"),
        ("--hidden 64,32", "got '64,32'; need spaces between layers: --hidden 64 32"),
        ("--activation relu,tanh", "need spaces between layers: --activation relu tanh"),
        ("--activation tann", "argument --activation: 'tann' is none of identity, sigmoid, tanh"),
        ("--dropout 0.1,0.2", "need spaces between layers: --dropout 0.1 0.2"),
        ("--freeze 0,1", "need spaces between layers: --freeze 0 1"),
        ("--report nowhere/page.html", "--report 'nowhere/page.html': no folder"),
        ("--predict some.csv", "--predict needs --submission CSV, the file to write"),
        ("--submission some.csv", "--submission needs --predict PATH, the data to label"),
        ("--test nowhere.csv", "--test: there is no file 'nowhere.csv'"),
        ("--test-share 0.3", "--test-share has no use here: the test rows are those of"),
        ("--drop 3", "is a folder; --drop does not apply to it"),
        ("--no-header", "is a folder; --no-header does not apply to it"),
        ("--header", "is a folder; --header does not apply to it"),
        ("--label digit", "is a folder; --label does not apply to it"),
        ("--save .", "--save '.' is a folder; need the name of a file"),
        ("--learning-rate 1e30", "is no longer finite in epoch "),
        ("--no-such-option", "arguments: --no-such-option; --help lists all options"),
        ("--verbose", "arguments: --verbose; --help lists all options"),
        ("--lr 0.01", "arguments: --lr 0.01; did you mean --learning-rate?"),
        ("--lr=0.01", "arguments: --lr=0.01; did you mean --learning-rate?"),
        ("--learning_rate 0.01", "--learning_rate 0.01; did you mean --learning-rate?"),
        ("--n-epochs 3", "arguments: --n-epochs 3; did you mean --epochs?"),
        ("--hidden-layer-sizes 3", "--hidden-layer-sizes 3; did you mean --hidden?"),
        ("--frozen 0", "arguments: --frozen 0; did you mean --freeze?"),
        ("--regresion", "arguments: --regresion; did you mean --regression?"),
        ("--optimizer adm", "adam, adamw; did you mean 'adam'?"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(refusal, options, message):
    assert message in refusal(options)


@pytest.mark.parametrize(
    "options", ["--clip-norm 0", "--l2 -1", "--epochs 0", "--dropout 0.1 0.2 0.3", "--max-norm 0"]
)
def test_a_setting_is_refused_before_anything_is_printed(folder, capsys, options):
    with pytest.raises(SystemExit):
        train.main(f"{SHORT} --data {folder} {options}".split())
    assert capsys.readouterr().out == ""


def test_a_file_without_an_option_is_told_which_names_the_data(refusal, tmp_path):
    (tmp_path / "table.csv").write_text("a\n1\n")
    assert f"{tmp_path}/table.csv; --data names the data\n" in refusal(
        f"--seed 1 {tmp_path}/table.csv"
    )
    assert "none.csv; --help lists all options\n" in refusal(f"--seed 1 {tmp_path}/none.csv")


@pytest.mark.parametrize(
    ("options", "same_as"),
    [
        ("--optimizer Adam", "--optimizer adam"),
        ("--activation Leaky-ReLU", "--activation leaky_relu"),
        ("--init He", "--init he"),
        ("--schedule ONE-CYCLE", "--schedule one_cycle"),
    ],
)
def test_names_of_choices_are_known_in_any_case(run, options, same_as):
    assert run(options)[1] == run(same_as)[1]


@pytest.mark.parametrize(
    "options",
    ["--label 3", "--drop 3", "--no-header", "--header", "--decimal ,", "--encoding utf-8"],
)
def test_what_describes_a_file_needs_one(capsys, options):
    with pytest.raises(SystemExit):
        train.main(options.split())
    assert f"error: {options.split()[0]} needs --data PATH\n" in capsys.readouterr().err


def test_a_checkpoint_that_exists_is_continued_from_only_if_asked(run, refusal, tmp_path):
    run(f"--checkpoint {tmp_path}/run")
    before = (tmp_path / "run").read_bytes()
    assert "exists; add --resume to continue from it, or remove it" in refusal(
        f"--checkpoint {tmp_path}/run"
    )
    assert (tmp_path / "run").read_bytes() == before


def test_members_are_what_they_are_in_python(run, python, tmp_path, folder, capsys):
    printed, recorded = run(f"--members 2 --save {tmp_path}/c.safetensors")
    assert "the committee is in" in printed
    loaded = load(tmp_path / "c.safetensors", "numpy")
    for seed, member in enumerate(loaded):
        net, history, _ = python({"seed": seed})
        assert member.parameters.tobytes() == net.parameters.tobytes()
        mine = [place for place, number in enumerate(recorded["member"]) if number == seed]
        assert [recorded["loss"][place] for place in mine] == history["loss"]
    _, _, test_X, test_y = load_mnist(folder)
    accuracy = loaded.evaluate(test_X, test_y)["accuracy"]
    assert f"test accuracy  {accuracy:.4f}" in printed
    words = [str(tmp_path / "c.safetensors"), "--data", str(folder), "--backend", "numpy"]
    assert predict.main(words) == 0
    assert f"test accuracy  {accuracy:.4f}" in capsys.readouterr().out


def test_members_predict_several_quantiles(tmp_path, capsys):
    rng = np.random.default_rng(0)
    lines = [f"{x:.3f},{2 * x:.3f}" for x in rng.normal(size=40)]
    data, saved, outputs = tmp_path / "d.csv", tmp_path / "c.safetensors", tmp_path / "o.csv"
    data.write_text("\n".join(["x,label", *lines]))
    words = ["--data", str(data), "--loss", "quantile", "--levels", "0.1", "0.9", "--epochs", "1"]
    words += ["--members", "2", "--save", str(saved), "--backend", "numpy", "--quiet"]
    assert train.main(words) == 0
    words = [str(saved), "--data", str(data), "--outputs", str(outputs), "--backend", "numpy"]
    assert predict.main(words) == 0
    assert outputs.read_text().startswith("row,prediction_0.1,prediction_0.9\n")


def test_one_member_is_a_network(run, tmp_path):
    run(f"--members 1 --save {tmp_path}/n.safetensors")
    assert isinstance(load(tmp_path / "n.safetensors"), Network)


def test_each_member_has_a_checkpoint_and_says_why_it_ended(run, refusal, tmp_path):
    options = f"--members 2 --checkpoint {tmp_path}/run"
    run(options)
    assert sorted(path.name for path in tmp_path.glob("run*")) == ["run-0", "run-1"]
    (tmp_path / "run-0").unlink()
    assert "run-1' exists; add --resume to continue from it" in refusal(options)
    printed, recorded = run(f"{options} --resume")
    assert sorted(recorded["member"]) == [0, 0, 1, 1]
    assert "was already complete" not in printed
    assert "was already complete" in run(f"{options} --resume")[0]
    printed, _ = run("--members 2 --epochs 30 --early-stopping loss --patience 1 --min-change 9")
    for i in range(2):
        assert f"member {i}: stopped after 2 of 30 epochs: early stopping" in printed
        assert f"member {i}: best epoch: 1" in printed


@pytest.mark.parametrize("option", ["--save", "--checkpoint"])
def test_a_name_that_is_read_as_onnx_is_refused_before_training(refusal, tmp_path, option):
    said = refusal(f"{option} {tmp_path}/net.onnx")
    assert f"{option} '{tmp_path}/net.onnx' ends in .onnx" in said


@pytest.mark.parametrize("option", ["--plot", "--report"])
def test_pictures_are_refused_for_several_members(refusal, tmp_path, option):
    assert f"{option} is about a single network; need it without --members" in refusal(
        f"--members 2 {option} {tmp_path}/x"
    )


def test_a_warning_is_a_line_said_once(folder, capsys, monkeypatch):
    def warn(*_):
        for _ in range(2):
            warnings.warn("the network\nhas learnt nothing", UserWarning, stacklevel=1)

    monkeypatch.setattr(cli_train, "print_report", warn)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        train.main(f"{SHORT} --quiet --data {folder}".split())
    assert capsys.readouterr().err == "fastnn-train: warning: the network has learnt nothing\n"


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Try a lower learning_rate than 0.3", "Try a lower --learning-rate than 0.3"),
        ("clip_norm=1, or l2", "--clip-norm 1, or l2"),
        ("as with standardize_inputs=True.", "as with --standardize-inputs."),
        ("my_learning_rate and output", "my_learning_rate and output"),
        ("rows; drop=['Unnamed: 0'] leaves it out", "rows; --drop 'Unnamed: 0' leaves it out"),
        ("folds must be at least 2; got 1", "--folds must be at least 2; got 1"),
        ("frozen must leave a layer", "--freeze must leave a layer"),
        ("loss 'poisson' is for counts", "--loss 'poisson' is for counts"),
        ("the loss is no longer finite", "the loss is no longer finite"),
        ("or label=-1 if this is the label", "or --label -1 if this is the label"),
        ("'data/batch_size.csv' is", "'data/batch_size.csv' is"),
        ("batch_size.csv of learning_rate.", "batch_size.csv of --learning-rate."),
    ],
)
def test_a_warning_names_options(message, expected):
    assert as_options(message) == expected


def test_without_a_module_the_commands_are_named(run_python):
    with pytest.raises(AssertionError) as failed:
        run_python("-m", "fastnn")
    said = str(failed.value)
    assert "exit code 2" in said
    assert (
        "fastnn.train, fastnn.predict, fastnn.draw, fastnn.export, fastnn.tune and fastnn.info; "
        "--help lists" in said
    )


def test_without_a_share_set_aside_the_test_rows_are_evaluated_for_information(run):
    printed, _ = run("")
    said = (
        "the test rows are evaluated after each epoch, for information only; they do not influence"
    )
    assert f"\nvalidation: {said} training\n" in printed


def test_a_share_that_is_set_aside_is_named(run):
    printed, _ = run("--validation 0.3")
    share = "a share of 0.3 of the training rows is set aside and evaluated after each epoch"
    assert f"\nvalidation: {share}\n" in printed
    assert "test rows are evaluated" not in printed


def test_sigmoids_are_reported_on_by_the_largest(run, python):
    printed, _ = run("--output sigmoid")
    net, _, (X, y) = python({"output": "sigmoid"})
    accuracy = np.mean(net.predict_proba(X).argmax(axis=1) == y)
    assert f"\ntest accuracy  {accuracy:.4f}\n" in printed


def test_quiet_prints_the_final_report_only(run):
    printed, _ = run("--quiet")
    assert printed.startswith("\ntest accuracy")


def test_the_confusion_matrix_counts_every_test_image(run):
    printed, _ = run("")
    _, matrix = printed.split("the predicted ones\n")
    rows = [line.split()[1:] for line in matrix.splitlines()[1:11]]
    assert sum(int(cell) for row in rows for cell in row if cell != ".") == 40


def test_a_first_run_says_that_it_compiles_before_it_does(run, monkeypatch):
    def prepare(net, announce=lambda: None, *_):
        announce()
        return 0.25

    monkeypatch.setattr(reference, "prepare", prepare)
    printed, _ = run("")
    place = printed.index("compiling the kernels for this machine, once; it takes 10 to 30 seconds")
    assert place < printed.index("\ncompiled in 0.2 s\n") < printed.index("epoch")
    assert printed.endswith("0.5 s of it compiling kernels\n")  # before training, and in it


def test_ctrl_c_before_training_ends_with_a_line(folder, monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("fastnn.cli.reading.read", interrupt)
    assert train.main(f"{SHORT} --data {folder}".split()) == 130
    assert capsys.readouterr().err == "fastnn-train: stopped: Ctrl-C\n"


def test_ctrl_c_ends_with_a_report_of_whole_epochs(folder, tmp_path, monkeypatch, capsys):
    def interrupt(row):
        raise KeyboardInterrupt

    monkeypatch.setattr("fastnn.cli.train.format_row", interrupt)
    file = tmp_path / "history.csv"
    code = train.main(f"{SHORT} --data {folder} --history {file}".split())
    printed = capsys.readouterr().out
    assert code == 130
    assert "\nstopped after 1 of 2 epochs: Ctrl-C\n" in printed
    assert "\ntest accuracy" in printed
    assert len(file.read_text().splitlines()) == 2


@pytest.mark.parametrize(("end", "code"), [("KeyboardInterrupt", 130), ("SystemExit(143)", 143)])
def test_a_run_with_a_checkpoint_that_is_stopped_says_how_it_goes_on(
    folder, tmp_path, monkeypatch, capsys, end, code
):
    def stop(row):
        raise eval(end)

    monkeypatch.setattr("fastnn.cli.train.format_row", stop)
    arguments = f"{SHORT} --data {folder} --checkpoint {tmp_path / 'c'}".split()
    with contextlib.suppress(SystemExit) if code == 143 else contextlib.nullcontext():
        assert train.main(arguments) == code
    name = {130: "Ctrl-C", 143: "SIGTERM"}[code]
    assert (
        f"\nstopped after 1 of 2 epochs: {name}; the same command with --resume continues\n"
        in capsys.readouterr().out
    )


NOT_SAVED = "\nthe network was not saved; --save FILE keeps it\n\n"


def test_a_run_without_a_file_says_that_the_network_was_not_saved(run):
    before, said, after = run("")[0].partition(NOT_SAVED)
    assert said
    assert "test accuracy" in before
    assert after.count("\n") == 1


@pytest.mark.parametrize("options", ["--save {}/net", "--checkpoint {}/net", "--quiet"])
def test_a_run_with_a_file_or_a_quiet_one_does_not_speak_of_saving_it(run, tmp_path, options):
    assert "not saved" not in run(options.format(tmp_path))[0]


def test_a_network_is_saved_with_the_names_of_its_classes(run, python, tmp_path):
    run(f"--save {tmp_path}/net.safetensors")
    net = load(tmp_path / "net.safetensors")
    assert net.classes == tuple(range(10))
    assert np.array_equal(net.parameters, python()[0].parameters)


def test_a_run_goes_on_from_its_checkpoint(run, python, tmp_path):
    options = f"--checkpoint {tmp_path}/run --checkpoint-every 1 --resume --save {tmp_path}/net"
    printed, first = run(options)
    complete = f"the run of {tmp_path}/run was already complete; nothing was trained\n"
    assert complete not in printed
    printed, again = run(options)  # there is nothing left to do
    assert complete in printed
    assert again == first
    assert np.array_equal(load(tmp_path / "net").parameters, python()[0].parameters)


def test_the_module_runs_on_the_compiled_backend(run_python, folder):
    options = "-m fastnn.train --hidden 6 --epochs 1 --optimizer adam --backend numba --data"
    printed = run_python(*options.split(), str(folder))
    assert "backend='numba'" in printed
    assert "\ntest accuracy" in printed
