"""The command line that exports: files, scores on rows with labels, and what it refuses."""

from __future__ import annotations

import re

import numpy as np
import pytest
from test_command_line_data import SHORT, refusal, run

import fastnn
from fastnn import export, train
from fastnn.cli.export import main
from fastnn.losses import Quantile


@pytest.fixture
def data(tmp_path):
    """Write a CSV of two columns and two kinds, which the first column tells apart."""
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 2, 100)
    lines = [f"{3 * k + rng.normal():.3f},{rng.normal():.3f},{'ab'[k]}" for k in kinds]
    path = tmp_path / "data.csv"
    path.write_text("\n".join(["height,width,kind", *lines]) + "\n")
    return path


@pytest.fixture
def net(data, tmp_path, capsys):
    """The file of a network that knows these data."""
    path = tmp_path / "net.safetensors"
    run(f"{SHORT} --data {data} --label kind --save {path} --quiet", capsys)
    return path


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def numbers(tmp_path, **arguments):
    """Write a network that predicts numbers, and rows with labels; return the network."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2))
    outputs = len(getattr(arguments.get("loss"), "levels", "1"))
    network = fastnn.Network([2, 6, outputs], output="identity", seed=0, **arguments)
    network.train(X, X[:, 0], epochs=1, progress=False)
    network.save(tmp_path / "net")
    rows = np.column_stack([X, X[:, 0]])
    np.savetxt(tmp_path / "rows.csv", rows, "%.17g", ",", header="a,b,label", comments="")
    return network, X


@pytest.mark.parametrize("name", ["out.py", "out.json"])
def test_the_file_is_that_of_export_in_python(name, net, here, capsys):
    printed = run(f"net.safetensors {name}", capsys, main)
    size = (here / name).stat().st_size
    assert printed == f"{fastnn.load(net, backend='numpy')!r}\n\n{name}, {size:,} bytes\n"
    written = (here / name).read_bytes()
    fastnn.load(net).export(name)
    assert (here / name).read_bytes() == written


def test_format_overrides_the_ending(net, here, capsys):
    run("net.safetensors out.txt --format JSON", capsys, main)
    assert (here / "out.txt").read_text().startswith('{"format": "fastnn.json"')


def test_with_data_the_accuracy_is_printed(net, data, here, capsys):
    printed = run(f"{net} out.py --data {data} --label kind", capsys, main)
    table = fastnn.datasets.read_csv(data, "kind")
    accuracy = fastnn.load(net).evaluate(table.X, table.y)["accuracy"]
    assert f"\ndata.csv: 100 rows of 2 features\n\naccuracy  {accuracy:.4f}\n\nout.py, " in printed


def test_columns_are_matched_by_name_and_options_of_data_apply(net, data, here, capsys):
    plain = run(f"{net} out.py --data {data} --label kind", capsys, main)
    lines = [line.split(",") for line in data.read_text().splitlines()]
    other = here / "other.csv"
    other.write_text("\n".join(";".join([c, b, "x", a]).replace(".", ",") for a, b, c in lines))
    words = f"{net} out.py --data {other} --label kind --decimal , --drop 2"
    printed = run(words, capsys, main)
    assert re.findall("accuracy.*", printed) == re.findall("accuracy.*", plain)


def test_with_data_the_error_of_numbers_is_printed(here, capsys):
    network, X = numbers(here)
    printed = run("net out.json --data rows.csv", capsys, main)
    assert f"\nrmse  {network.evaluate(X, X[:, 0])['rmse']:.4g}\n" in printed


def test_quantiles_without_a_median_have_a_loss(here, capsys):
    network, X = numbers(here, loss=Quantile(levels=(0.1, 0.9)))
    printed = run("net out.json --data rows.csv", capsys, main)
    assert f"\nloss  {network.evaluate(X, X[:, 0])['loss']:.4g}\n" in printed


@pytest.mark.skipif(not hasattr(export, "rounded"), reason="there is no format of 8 bits")
@pytest.mark.parametrize("kind", ["accuracy", "rmse"])
def test_what_8_bits_change_is_printed(kind, here, capsys, request):
    if kind == "accuracy":
        net, data = map(request.getfixturevalue, ("net", "data"))
        words, digits = f"{net} out.h --int8 --data {data} --label kind", ".4f"
        table = fastnn.datasets.read_csv(data, "kind")
        network, X, y = fastnn.load(net), table.X, table.y
    else:
        network, X = numbers(here)
        y, words, digits = X[:, 0], "net out.h --int8 --data rows.csv", ".4g"
    printed = run(words, capsys, main)
    before = network.evaluate(X, y)[kind]
    after = export.rounded(network).evaluate(X, y)[kind]
    line = f"{kind}  {after:{digits}} with weights of 8 bits, {after - before:+{digits}}"
    assert f"\n{kind}  {before:{digits}}\n{line}\n" in printed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("none out.py", "NETWORK: there is no file 'none'"),
        ("{net} out", "OUT must end with one of "),
        ("{net} out.safetensors", "Network.save writes .safetensors"),
        ("{net} {net}", "OUT would overwrite"),
        ("{net} ./sub/../net.safetensors --format json", "OUT would overwrite"),
        ("{net} {data} --format json --data {data}", "OUT would overwrite"),
        ("{net} sub", "OUT 'sub' is a folder; need the name of a file"),
        ("{net} none/out.py", "OUT 'none/out.py': no folder"),
        ("{net} out.py --format pickle", "argument --format: 'pickle' is none of"),
        ("{net} out.json --prefix x", "--prefix is for .h files; got prefix='x' for 'out.json'"),
        ("{net} out.py --int8", "--int8 is for .h files; got int8=True for 'out.py'"),
        ("{net} out.py --label kind", "--label needs --data PATH"),
        ("{net} out.py --no-header", "--no-header needs --data PATH"),
        ("{net} out.py --digits", "--digits needs --data PATH"),
        ("{net} out.py --data none.csv", "--data: there is no file 'none.csv'"),
        (
            "{net} out.py --data {data} --drop kind",
            "data.csv has no labels to evaluate on; --label",
        ),
        ("{net} out.py --data {data}", "data.csv has no labels to evaluate on; --label names"),
        ("{data} out.py", "data.csv"),
        ("{net}", "the following arguments are required: OUT"),
        ("{net} out.py --fmt json", "unrecognized arguments: --fmt json; did you mean --format?"),
    ],
)
def test_bad_input_ends_with_a_line_and_no_file(
    words, message, net, data, here, capsys, monkeypatch
):
    (here / "sub").mkdir()
    c = export.Format(".h", "none", ("prefix", "int8"))
    monkeypatch.setitem(export.FORMATS, "c", c)
    files = {path: path.read_bytes() for path in here.iterdir() if path.is_file()}
    said = refusal(words.format(net=net, data=data), capsys, main)
    assert said.startswith("fastnn-export: error: ")
    assert message in said
    assert {path: path.read_bytes() for path in here.iterdir() if path.is_file()} == files


def test_a_committee_is_refused_with_the_way_on(net, here, capsys):
    fastnn.Committee([fastnn.load(net)]).save("committee")
    said = refusal("committee out.py", capsys, main)
    assert "'committee' holds a committee, and OUT is of one network; need a member, as" in said
    assert "fastnn.load(path)[0].save(file)" in said


@pytest.mark.parametrize("members", ["", "--members 2"])
def test_a_network_for_tables_is_refused_by_name(members, data, here, capsys):
    pytest.importorskip("sklearn")
    pytest.importorskip("narwhals")
    words = f"--tabular {members} --backend numpy --epochs 1 --data {data} --label kind --save t"
    run(f"{words} --quiet", capsys, train.main)
    said = refusal("t out.py", capsys, main)
    assert (
        "'t' is for tables, whose columns are made numbers outside of the network; need a" in said
    )


def test_several_numbers_per_row_are_refused_with_data(here, capsys):
    numbers(here)
    fastnn.Network([2, 2], output="identity", seed=0).save("net")
    said = refusal("net out.py --data rows.csv", capsys, main)
    assert "the network predicts several numbers per row; --data is for networks with one" in said


def test_the_module_runs(net, here, run_python):
    printed = run_python("-m", "fastnn.export", str(net), str(here / "out.py"))
    assert printed.endswith(" bytes\n")
