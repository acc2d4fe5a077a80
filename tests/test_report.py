"""The report: one page that is valid, self-contained and right, in a parser and in a browser."""

from __future__ import annotations

import base64
import copy
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

from fastnn import EarlyStopping, History, Network, metrics, report

pytest.importorskip("matplotlib")

EVIL = "<script>alert(1)</script>"
NAMES = [EVIL, "\"quoted\" & 'more' <b", "a class with a name of more than enough letters"]
VOID = {"meta", "img", "br", "hr", "input", "link"}
CHROMIUM = shutil.which("chromium")


class Page(HTMLParser):
    """What a page holds: elements, texts, the cells of its tables; unbalanced ones fail."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts, self.rows, self.open = [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        assert len({name for name, _ in attrs}) == len(attrs)
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip():
            self.texts.append(data)
            if self.open[-1] in ("td", "th"):
                self.rows[-1].append(data)

    def facts(self):
        return {row[0]: row[1] for row in self.rows if len(row) == 2}

    def scores(self):
        tags = [tag for tag, _ in self.elements]
        first = self.texts.index("Run") - 2 * tags.count("dt")
        cells = self.texts[first : self.texts.index("Run")]
        return dict(zip(cells[::2], cells[1::2], strict=True))


def trained(sizes, y, **how):
    X = np.random.default_rng(1).uniform(size=(len(y), sizes[0]))
    net = Network(sizes, seed=5, backend="numpy", **how)
    stopping = EarlyStopping("validation_loss", patience=50)
    history = net.train(
        X, y, 3, validation=(X, y), progress=False, early_stopping=stopping, batch_size=8
    )
    return net, history, X, y


RNG = np.random.default_rng(0)
RUNS = {
    "classes": ([64, 8, 3], RNG.integers(0, 3, 60), {}),
    "two classes": ([5, 1], RNG.integers(0, 2, 60).astype(float), {}),
    "numbers": ([5, 4, 2], RNG.normal(size=(60, 2)), {"output": "identity"}),
    "labels": ([5, 4, 3], RNG.integers(0, 2, (60, 3)), {"output": "sigmoid"}),
    "labels of mse": ([5, 4, 3], RNG.integers(0, 3, 60), {"output": "identity"}),
}


@pytest.fixture(scope="module")
def runs():
    return {kind: trained(sizes, y, **how) for kind, (sizes, y, how) in RUNS.items()}


@pytest.fixture(scope="module")
def pages(runs, tmp_path_factory):
    """Return the text of a report of each run."""
    folder = tmp_path_factory.mktemp("reports")
    for kind, run in runs.items():
        names = NAMES if kind == "classes" else None
        more = {"settings": {"batch size": 8, EVIL: EVIL}, "names": names, "title": f"<i>{kind}"}
        report.write(folder / f"{kind}.html", *run, **more)
    return {kind: (folder / f"{kind}.html").read_text("utf-8") for kind in runs}


each_run = pytest.mark.parametrize("kind", RUNS)


@each_run
def test_a_report_is_balanced_html_with_language_charset_and_viewport(pages, kind):
    text = pages[kind]
    assert text.startswith("<!DOCTYPE html>")
    elements = Page(text).elements
    assert ("html", {"lang": "en"}) in elements
    assert ("meta", {"charset": "utf-8"}) in elements
    assert any(attrs.get("name") == "viewport" for _, attrs in elements)


@each_run
def test_a_report_needs_nothing_else(pages, kind):
    for tag, attrs in Page(pages[kind]).elements:
        assert tag not in ("script", "link", "iframe", "object", "base")
        assert not {"href", "srcset", "onload", "onclick"} & {*attrs}
        assert attrs.get("src", "data:").startswith("data:")
    assert "://" not in pages[kind]
    assert "url(" not in pages[kind]


@each_run
def test_every_picture_has_a_text_and_its_size(pages, kind):
    images = [attrs for tag, attrs in Page(pages[kind]).elements if tag == "img"]
    assert len(images) >= 4
    for attrs in images:
        assert len(attrs["alt"]) > 20
        assert int(attrs["width"]) > 0
        assert int(attrs["height"]) > 0
        kind, data = attrs["src"].split(",")
        assert kind == "data:image/svg+xml;base64"
        assert b"<svg" in base64.b64decode(data, validate=True)


@each_run
def test_nothing_that_is_given_becomes_markup(pages, kind):
    page = Page(pages[kind])
    assert "<script" not in pages[kind]
    assert page.facts()[EVIL] == EVIL
    assert f"<i>{kind}" in page.texts
    assert "i" not in {tag for tag, _ in page.elements}


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("classes", ["accuracy", "macro-F1", "log loss"]),
        ("two classes", ["accuracy", "macro-F1", "log loss"]),
        ("numbers", ["R²", "MAE", "RMSE", "loss"]),
        ("labels", ["accuracy", "macro-F1", "loss"]),
        ("labels of mse", ["accuracy", "macro-F1", "loss"]),
    ],
)
def test_scores_are_those_of_the_data(runs, pages, kind, names):
    net, _, X, y = runs[kind]
    expected = net.evaluate(X, y)
    scores = Page(pages[kind]).scores()
    assert list(scores) == names
    known = {"macro-F1": "macro_f1", "R²": "r2", "MAE": "mae", "RMSE": "rmse", "log loss": "loss"}
    for name, value in scores.items():
        # Four digits are written; of a cross-entropy, the loss is the log loss.
        assert float(value) == pytest.approx(expected[known.get(name, name)], rel=1e-3)


def test_the_table_of_classes_has_the_scores_of_each(runs, pages):
    net, _, X, y = runs["classes"]
    confusion = metrics.confusion_matrix(y, net.predict(X), 3)
    expected = np.array(metrics.precision_recall_f1(confusion)).T
    rows = {row[0]: row[1:] for row in Page(pages["classes"]).rows}
    assert rows["class"] == ["precision", "recall", "F1", "rows"]
    for name, scores, count in zip(NAMES, expected, confusion.sum(axis=1), strict=True):
        assert rows[name] == [*(f"{score:.4f}" for score in scores), str(count)]


def test_settings_network_and_run_are_told(runs, pages):
    net, history, *_ = runs["classes"]
    facts = Page(pages["classes"]).facts()
    assert facts["units"] == "64, 8, 3"
    assert facts["activations"] == "relu, softmax"
    assert facts["parameters"] == f"{net.architecture.parameter_count:,}"
    assert facts["seed"] == "5"
    assert facts["batch size"] == "8"
    assert facts["epochs"] == "3"
    assert facts["best epoch"] == str(history.best_epoch)
    assert facts["seconds of training"] == f"{sum(history['seconds']):.2f}"
    assert facts["seconds of compiling"] == "0.00"
    assert float(facts["samples per second"].replace(",", "")) == pytest.approx(
        3 * 60 / sum(history["seconds"]), rel=1e-3, abs=1
    )
    assert {"fastnn", "Python", "numpy", "numba", "matplotlib"} <= {*facts}


def test_every_epoch_has_a_row(runs, pages):
    history = runs["numbers"][1]
    rows = Page(pages["numbers"]).rows
    first = rows.index(history.columns) + 1
    assert [row[0] for row in rows[first:]] == ["1", "2", "3"]
    assert float(rows[first][1]) == pytest.approx(history[0]["loss"], rel=1e-3)


def test_without_an_epoch_there_are_no_curves(runs, tmp_path):
    net, _, X, y = runs["classes"]
    report.write(tmp_path / "report.html", net, History(), X, y)
    page = Page((tmp_path / "report.html").read_text("utf-8"))
    assert "Loss and scores" not in page.texts
    assert "Confusion matrix" in page.texts
    assert page.facts()["epochs"] == "0"


def test_a_report_does_not_import_numba(run_python, tmp_path):
    script = """
import sys
from fastnn import History, Network, report
net = Network([5, 2], seed=0, backend="numpy")
report.write(sys.argv[1], net, History(), [[1.0] * 5] * 4, [0, 1, 0, 1])
assert "numba" not in sys.modules
"""
    run_python("-c", script, str(tmp_path / "report.html"))


def test_a_report_replaces_another_whole_or_not_at_all(runs, tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("before")
    report.write(path, *runs["two classes"])
    whole = path.read_text("utf-8")
    assert whole.endswith("</html>\n")

    def fail(*arguments):
        raise OSError("disk full")

    monkeypatch.setattr(report.os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        report.write(path, *runs["two classes"])
    assert path.read_text("utf-8") == whole
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.skipif(os.name == "nt", reason="links need privileges on Windows")
def test_a_link_stays_a_link(runs, tmp_path):
    path, link = tmp_path / "report.html", tmp_path / "link.html"
    link.symlink_to(path)
    report.write(link, *runs["two classes"])
    assert link.is_symlink()
    assert path.read_text("utf-8").startswith("<!DOCTYPE html>")


def test_without_matplotlib_an_error_says_what_to_install(runs, tmp_path, monkeypatch):
    for module in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(report.importlib.metadata, "version", lambda name: pytest.fail(name))
    with pytest.raises(ImportError, match=r"plots need matplotlib: pip install 'fastnn-cpu\[plots"):
        report.write(tmp_path / "report.html", *runs["numbers"])
    assert not [*tmp_path.iterdir()]


def test_a_missing_folder_is_refused_before_anything_is_drawn(runs, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder .*; need one that exists"):
        report.write(tmp_path / "none" / "report.html", *runs["numbers"])


def test_data_that_do_not_fit_are_refused(runs, tmp_path):
    net, history, X, y = runs["classes"]
    with pytest.raises(ValueError, match="y must have as many rows as X"):
        report.write(tmp_path / "report.html", net, history, X, y[:2])
    with pytest.raises(ValueError, match="names has 1; need 3"):
        report.write(tmp_path / "report.html", net, history, X, y, names=["a"])
    assert not [*tmp_path.iterdir()]


def test_a_warning_of_the_run_stands_at_the_top(runs, pages, tmp_path):
    net, history, X, y = runs["classes"]
    history = copy.copy(history)
    history.warning = "accuracy <= chance"
    report.write(tmp_path / "report.html", net, history, X, y)
    page = (tmp_path / "report.html").read_text("utf-8")
    box = '<p class="warning" role="alert">accuracy &lt;= chance</p>'
    assert page.index("<h1>") < page.index(box) < page.index("<p>Network")
    assert 'role="alert"' not in pages["classes"]


def test_classes_are_called_as_the_network_knows_them(runs, tmp_path):
    net, history, X, y = runs["classes"]
    net = copy.deepcopy(net)
    net.classes = ["oak", "elm", "fir"]
    report.write(tmp_path / "report.html", net, history, X, np.array(net.classes)[y])
    page = (tmp_path / "report.html").read_text("utf-8")
    assert all(f"<tr><td>{name}</td>" in page for name in net.classes)


def test_what_is_wider_than_a_phone_scrolls_and_says_so(pages):
    boxes = re.findall(
        r'(<p class="hint">[^<]*</p>\n)?<div class="scroll( wide)?"[^>]*>(.*?)</div>',
        pages["classes"],
        re.DOTALL,
    )
    assert len(boxes) == pages["classes"].count("<img") + pages["classes"].count("<thead>")
    for hint, wide, content in boxes:
        least = re.search(r"min-width: (\d+)px", content)
        too_wide = int(least[1]) > 358 if least else content.count('<th scope="col">') > 4
        assert bool(hint) == bool(wide) == too_wide
    assert {bool(wide) for _, wide, _ in boxes} == {True, False}


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium to look at a report with")
@pytest.mark.parametrize("width", [1200, 400])
def test_a_browser_shows_a_report_without_an_error(pages, tmp_path, width):
    page, picture = tmp_path / "report.html", tmp_path / "report.png"
    page.write_text(pages["classes"], "utf-8")
    done = subprocess.run(
        [
            CHROMIUM,
            *["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0"],
            *["--hide-scrollbars", f"--user-data-dir={tmp_path / 'profile'}"],
            *[f"--window-size={width},3000", f"--screenshot={picture}", page.as_uri()],
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert not re.findall(r".*CONSOLE.*|.*Uncaught.*", done.stderr)
    image = pytest.importorskip("matplotlib.image").imread(picture)
    assert image.shape[:2] == (3000, width)
    lines = image[:1500, :, :3].min(axis=(1, 2)) < 0.9
    assert lines.mean() > 0.3
