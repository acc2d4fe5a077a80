"""README and docs: every block runs and prints what is shown; tables and links are right."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import io
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from dataclasses import fields
from functools import cache
from itertools import zip_longest
from pathlib import Path

import pytest
from sybil import Document, Region, Sybil
from sybil.parsers.markdown.lexers import FencedCodeBlockLexer

import fastnn

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
# What a block may need besides the package, and the module that tells whether it is there.
EXTRAS = {
    r"sklearn|fastnn\.estimators|joblib": "sklearn",
    r"fastnn\.plots|import plots|import report|--plot|--report": "matplotlib",
    r"import pandas|\.to_pandas\(": "pandas",
    r"import pyarrow": "pyarrow",
    r"from PIL|--images": "PIL",
    r"fastnn\.minimize|import scipy|from scipy": "scipy",
    r"import torch": "torch",
    r"\.onnx|onnxruntime": "onnxruntime",
    r"mpi4py": "mpi4py",
}
# Commands that install, serve, or measure for minutes: of these only the spelling is looked at.
NOT_RUN = (
    "pip ",
    "dask ",
    "mpiexec ",
    "mkdocs ",
    "pytest ",
    "python -m pytest",
    "python bench/",
    "python exa",
)
GENERATED = re.compile(r"<!-- ([\w-]+) -->\n.*?<!-- /\1 -->", re.DOTALL)
NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?%?")
TIMES = (["seconds", "samples/s"], ["seconds", "seconds_std"])  # the last columns of tables
README_WORDS, PERFORMANCE_WORDS = 900, 1200
# With this in the environment, outputs that have changed are written into the pages.
UPDATE = "UPDATE_DOCS" in os.environ


class Block(Region):
    """A fenced block of code, with the output that is shown below it.

    If it uses a network that the block before it saves, `before` is the code of that block.
    """

    def __init__(
        self, code: Region, language: str, output: str, page: Path, before: str = ""
    ) -> None:
        super().__init__(code.start, code.end)
        self.language, self.code, self.output = language, code.lexemes["source"], output
        self.page, self.before = page, before

    def check(self, printed: str) -> None:
        """Compare what was printed with the page, or write it there."""
        try:
            assert_printed(self.output, printed)
            return
        except pytest.fail.Exception:
            if not UPDATE or "..." in self.output:
                raise
        lines = "".join(f"{line.rstrip()}\n" for line in printed.strip("\n").splitlines())
        old, new = (
            f"{self.code}```\n" + f"\n```text\n{output}```\n" * bool(output)
            for output in (self.output, lines)
        )
        text = self.page.read_text(encoding="utf-8")
        assert text.count(old) == 1
        self.page.write_text(text.replace(old, new), encoding="utf-8")


def blocks_of(document: Document):
    """Yield blocks of Python and of commands; the block of text that follows at once is output."""
    found = sorted(
        (region.start, language, region)
        for language in ("python", "sh", "text")
        for region in FencedCodeBlockLexer(language)(document)
    )
    saved = {}
    for (_, language, region), following in zip_longest(found, found[1:]):
        code, output = region.lexemes["source"], ""
        used = re.search(r"fastnn\.predict (\S+)", code)
        before = saved.get(used[1], "") if used and language == "sh" else ""
        if following and following[1] == "text":
            between = document.text[region.end : following[2].start]
            output = following[2].lexemes["source"] if not between.strip() else ""
        if language == "sh":
            saved |= dict.fromkeys(re.findall(r"--save (\S+)", code), code)
        if language != "text":
            yield Block(region, language, output, Path(document.path), before)


def blocks():
    """Return all blocks, each with the page and the line where it stands."""
    for page in PAGES:
        for example in Sybil([blocks_of]).parse(page).examples():
            name = f"{page.relative_to(ROOT).as_posix()}:{example.line}"
            yield pytest.param(example.region, id=name)


def lines_of(code):
    """Return the commands of some code, each in one line."""
    lines = code.replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def number(text):
    """Return the number that a text is, or None."""
    return float(text.rstrip("%").replace(",", "")) if NUMBER.fullmatch(text) else None


def same(shown, printed):
    """Tell whether lines agree: "..." is any text, and numbers may move with the machine."""
    pattern = re.compile("|".join([r"\.\.\.", NUMBER.pattern, r"[^\W\d]+", r"\S"]))
    a, b = pattern.findall(shown), pattern.findall(printed)
    if "..." in a:
        at = a.index("...")
        rest = len(a) - at - 1
        return len(b) >= len(a) - 1 and all(
            map(_agree, a[:at] + a[at + 1 :], b[:at] + b[len(b) - rest :])
        )
    return len(a) == len(b) and all(map(_agree, a, b))


def _agree(a, b):
    x, y = number(a), number(b)
    return a == b if x is None or y is None else abs(x - y) <= 0.05 + 0.1 * abs(y)


def timeless(text):
    """Return the lines of an output without the times that are in it."""
    lines, timed = [], False
    for line in text.strip().splitlines():
        words = line.split()
        if timed := words[-2:] in TIMES or (timed and bool(words)):
            words = words[:-2]
        if not line.startswith("compiling "):
            lines.append(re.sub(r"[\d.]+ s in all.*", "", " ".join(words)))
    return lines


def assert_printed(shown, printed):
    """Compare output with what a page shows; a line "..." stands for any number of lines."""
    want, got = timeless(shown), timeless(printed)
    if "..." in want:
        at = want.index("...")
        rest = len(want) - at - 1
        if len(got) >= len(want) - 1:
            want, got = want[:at] + want[at + 1 :], got[:at] + got[len(got) - rest :]
    if len(want) != len(got) or not all(map(same, want, got)):
        pytest.fail(f"the page shows\n\n{shown}\nbut this is printed\n\n{printed}", pytrace=False)


@cache
def attributes():
    """Return what is in the package after `import fastnn` alone."""
    code = "import fastnn; print(*dir(fastnn))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Go to a folder with the data that come with a clone."""
    (tmp_path / "examples").mkdir()
    for path in (ROOT / "examples").glob("*.csv"):
        shutil.copy(path, tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path


def skip_without_extras(code):
    """Skip if the block needs an extra that is not installed."""
    for pattern, module in EXTRAS.items():
        if re.search(pattern, code):
            pytest.importorskip(module)


def printed_by(lines):
    """Run commands; return what they print."""
    printed = ""
    for line in lines:
        program, *arguments = shlex.split(line)
        assert program == "python", f"{line}: add it to NOT_RUN if it should not be run"
        command = [sys.executable, *arguments]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        printed += done.stdout
    return printed


@pytest.mark.parametrize("block", list(blocks()))
def test_a_block_runs_alone_and_prints_what_the_page_shows(block, folder):
    skip_without_extras(block.code)
    if block.language == "python":
        assert set(re.findall(r"\bfastnn\.([a-z]\w*)", block.code)) <= attributes() | {"estimators"}
        script = folder / "block.py"
        script.write_text(block.code, encoding="utf-8")
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            runpy.run_path(str(script), run_name="__main__")
        block.check(printed.getvalue())
        return
    lines = lines_of(block.code)
    if any(line.startswith(NOT_RUN) for line in lines):
        return
    printed_by(lines_of(block.before))
    block.check(printed_by(lines))


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("loss 0.25", "loss 0.26"),
        ("3 s, ... kernels", "3 s, 0.3 of it kernels"),
        ("a\n...\nz", "a\nb\nc\nz"),
        ("a\n...\nz", "a\nz"),
    ],
)
def test_output_may_differ_where_machines_do(shown, printed):
    assert_printed(shown, printed)


@pytest.mark.parametrize(
    ("shown", "printed"),
    [("a 0.25", "a 0.5"), ("a", "a\nb"), ("a\n...\nz", "a\nb"), ("", "a"), ("a ... c", "a b")],
)
def test_output_that_differs_is_noticed(shown, printed):
    with pytest.raises(pytest.fail.Exception):
        assert_printed(shown, printed)


def words(text):
    return len(text.split())


def test_the_readme_is_short():
    assert words((ROOT / "README.md").read_text(encoding="utf-8")) <= README_WORDS


def test_the_words_around_the_tables_of_performance_are_few():
    text = (DOCS / "performance.md").read_text(encoding="utf-8")
    assert words(GENERATED.sub("", text)) <= PERFORMANCE_WORDS


@pytest.mark.parametrize(
    "use",
    [
        "fastnn.Network([784, 128, 10]).train(...)",
        "pytest bench/ --benchmark-only",
        "python -m fastnn.train --backend numba",
        "pip install -e '.[test]' && python -m pytest",
    ],
)
def test_the_readme_names_the_main_uses(use):
    assert use in (ROOT / "README.md").read_text(encoding="utf-8")


def slugs(page):
    """Return the anchors of a page's headings."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        yield re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_relative_links_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{target} leads nowhere"
        if anchor:
            assert anchor in set(slugs(file)), f"{target}: no such heading"


def test_every_page_is_in_the_navigation():
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for page in PAGES[1:]:
        name = page.relative_to(DOCS).as_posix()
        assert re.search(rf"(: |- ){re.escape(name)}$", text, re.MULTILINE), name


def defaults():
    """Yield the heading of each table of settings, with the defaults that it must show."""
    functions = {
        "Network": fastnn.Network,
        "train": fastnn.Network.train,
        "tune": fastnn.tune,
    }
    for name, function in functions.items():
        given = inspect.signature(function).parameters.values()
        kinds = (inspect.Parameter.VAR_KEYWORD,)
        yield name, {p.name: p.default for p in given if p.name != "self" and p.kind not in kinds}
    yield "EarlyStopping", values(fastnn.EarlyStopping())


def values(instance):
    """Return the fields of a dataclass."""
    return {field.name: getattr(instance, field.name) for field in fields(instance)}


def rows_under(heading):
    """Return the first two cells of each row of the table under a heading of settings.md."""
    text = (DOCS / "settings.md").read_text(encoding="utf-8")
    section = re.search(rf"^### `?{re.escape(heading)}`?$(.*?)(?=^#|\Z)", text, re.M | re.S)
    assert section, f"settings.md has no heading {heading!r}"
    rows = [line.strip("| ").split(" | ") for line in section[1].splitlines() if line[:3] == "| `"]
    return {cells[0].strip("`"): cells[1] for cells in rows}


def written(value):
    """Return a default as the tables write it."""
    if value is inspect.Parameter.empty:
        return "needed"
    return f"`{value!r}`".replace("'", '"')


@pytest.mark.parametrize(
    ("heading", "expected"), list(defaults()), ids=lambda value: str(value)[:12]
)
def test_the_tables_of_settings_hold_every_default(heading, expected):
    assert rows_under(heading) == {name: written(value) for name, value in expected.items()}


@pytest.mark.parametrize(
    ("heading", "choices"),
    [
        ("Optimizers", fastnn.optimizers.OPTIMIZERS),
        ("Learning-rate schedules", fastnn.schedules.SCHEDULES),
    ],
)
def test_the_tables_of_choices_hold_every_default(heading, choices):
    shown = {
        name: ", ".join(f"`{key}={value!r}`" for key, value in values(choice).items()) or "none"
        for name, choice in choices.items()
    }
    found = {name: cell.replace('"', "'") for name, cell in rows_under(heading).items()}
    assert found == shown


def public_names():
    """Yield what the reference has to hold."""
    for name in fastnn.__all__:
        value = getattr(fastnn, name)
        if inspect.ismodule(value):
            yield from (f"fastnn.{name}.{each}" for each in getattr(value, "__all__", ()))
        else:
            yield f"fastnn.{name}"


@pytest.mark.parametrize("name", list(public_names()))
def test_the_reference_holds_every_public_name(name):
    text = "\n".join(page.read_text(encoding="utf-8") for page in DOCS.glob("reference/*.md"))
    assert re.search(rf"^::: {re.escape(name)}$", text, re.MULTILINE)


def test_the_reference_holds_every_member_of_a_network():
    text = (DOCS / "reference" / "network.md").read_text(encoding="utf-8")
    members = {name for name in dir(fastnn.Network) if name[0] != "_"}
    assert set(re.findall(r"^        - (\w+)$", text, re.MULTILINE)) == members - {"of"}


def test_the_help_texts_of_the_reference_are_current():
    path = ROOT / "bench" / "help_texts.py"
    specification = importlib.util.spec_from_file_location("help_texts", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    text = module.PAGE.read_text(encoding="utf-8")
    for name in module.COMMANDS:
        shown = re.search(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", text, re.DOTALL)
        assert shown, f"no block {name}"
        # Versions of Python break lines differently.
        assert shown[1].split() == module.help_text(name).split(), f"run python {path.name}"


def test_the_page_about_the_write_ups_says_what_its_script_writes(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "examples" / "seeds"))
    page = importlib.import_module("page")
    text = page.PAGE.read_text(encoding="utf-8")
    for part in (page.INTRODUCTION, page.METHOD, page.FIRST, page.OUTPUTS, page.SECOND):
        assert part in text


def test_the_site_builds_without_a_warning(tmp_path):
    if not all(map(importlib.util.find_spec, ("mkdocs", "material", "mkdocstrings"))):
        pytest.skip("needs the extra docs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "reference" / "network.html").read_text(encoding="utf-8")
    assert 'id="fastnn.Network.train"' in text
