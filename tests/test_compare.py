"""The comparison of two commits: its verdicts, and what it does with commits that differ."""

from __future__ import annotations

import importlib
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BENCH = ROOT / "bench"


@pytest.fixture(scope="module")
def compare():
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.syspath_prepend(str(BENCH))
        yield importlib.import_module("compare")


# Verdicts on times that are made up


def pairs(ratios):
    """Return rounds of these ratios on a machine that is slower every time."""
    return [(1.0 + r, (1.0 + r) * ratio) for r, ratio in enumerate(ratios)]


STEADY = [0.998, 0.999, 1.0, 1.0, 1.0, 1.0, 1.001, 1.002]


@pytest.mark.parametrize(
    ("factor", "verdict"), [(1.05, "slower"), (1.0, "not slower"), (0.97, "faster")]
)
def test_steady_ratios_are_told_apart(compare, factor, verdict):
    result = compare.judge(pairs([factor * ratio for ratio in STEADY]), 0.02)
    assert result.verdict == verdict
    assert result.ratio == pytest.approx(factor)  # the middle ones are exactly 1


def test_ratios_far_apart_are_unclear(compare):
    assert (
        compare.judge(pairs([0.8, 0.9, 0.95, 1.1, 1.2, 1.3, 1.4, 1.5]), 0.02).verdict == "unclear"
    )


def test_one_round_among_ten_that_was_disturbed_changes_no_verdict(compare):
    assert compare.judge(pairs([*STEADY, 1.0, 5.0]), 0.02).verdict == "not slower"
    assert compare.judge(pairs([*(1.1 * r for r in STEADY), 1.1, 0.2]), 0.02).verdict == "slower"


def test_slower_by_less_than_the_tolerance_is_not_slower(compare):
    assert compare.judge(pairs([1.04 * ratio for ratio in STEADY]), 0.05).verdict == "not slower"


def test_times_are_the_medians_of_each_commit(compare):
    result = compare.judge([(1.0, 3.0), (2.0, 9.0), (4.0, 5.0)], 0.02)
    assert (result.old, result.new, result.ratio) == (2.0, 5.0, 3.0)


@pytest.mark.parametrize("n", range(1, 31))
def test_the_interval_holds_the_median_with_the_probability_that_it_should(compare, n):
    low, high = compare.interval(list(range(n)))
    assert high == n - 1 - low
    # It misses if at most `low` values are on one side of the median, where each is for even odds.
    missed = [2 * sum(math.comb(n, i) for i in range(k + 1)) / 2**n for k in (low, low + 1)]
    assert missed[0] <= 0.05 or low == 0
    assert missed[1] > 0.05  # the next narrower one would miss too often


# Commits that differ

# Appended to the package; the cells "save" and "load" need nothing compiled.
SLOW = """
import time
_save = Network.save
def _slow_save(*arguments, **options):
    time.sleep(0.005)
    _save(*arguments, **options)
Network.save = _slow_save
"""
ENDING = "\nimport os\nNetwork.save = lambda *arguments: os._exit(7)\n"
BROKEN = """
for _kind in Network.mro():
    if "save" in vars(_kind):
        del _kind.save
"""
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}


def git(folder, *arguments):
    identity = ("-c", "user.name=test", "-c", "user.email=", "-c", "commit.gpgsign=false")
    command = ["git", *identity, *arguments]
    done = subprocess.run(
        command, cwd=folder, env=ENVIRONMENT, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


def worktrees(folder):
    return git(folder, "worktree", "list", "--porcelain").count("worktree ")


def append(folder, text):
    path = folder / "fastnn" / "__init__.py"
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """Commits whose `save` is as it is, slow, or ends the process; a working tree without."""
    if shutil.which("git") is None:
        pytest.skip("needs git")
    folder = tmp_path_factory.mktemp("repository")
    shutil.copytree(
        ROOT / "fastnn", folder / "fastnn", ignore=shutil.ignore_patterns("__pycache__")
    )
    (folder / "bench").mkdir()
    for name in ("cells.py", "compare.py", "turns.py"):
        shutil.copy(BENCH / name, folder / "bench")
    git(folder, "init", "--quiet")
    for name, text in {"good": "", "slow": SLOW, "ending": ENDING}.items():
        append(folder, text)
        git(folder, "add", ".")
        git(folder, "commit", "--quiet", "--message", name)
        git(folder, "tag", name)
    append(folder, BROKEN)
    return folder


def command(folder, *arguments):
    return [sys.executable, str(folder / "bench" / "compare.py"), *arguments]


def run(folder, *arguments):
    done = subprocess.run(
        command(folder, *arguments), env=ENVIRONMENT, capture_output=True, text=True, timeout=300
    )
    assert worktrees(folder) == 1
    return done


def test_a_commit_is_compared_with_itself(repository, tmp_path):
    file = tmp_path / "figures.json"
    arguments = ("--cells", "save", "--cells", "l?ad", "--rounds", "2", "--json", str(file))
    done = run(repository, "good", "good", *arguments)
    assert done.returncode in (0, 1), done.stderr  # a busy machine can make one of two slower
    cells = json.loads(file.read_text())["cells"]
    assert [cell["cell"] for cell in cells] == ["save", "load"]
    for cell in cells:
        (line,) = (line for line in done.stdout.splitlines() if line.startswith(cell["cell"]))
        assert line.endswith(cell["verdict"])
        assert len(cell["times"][0]) == 2
        assert 0 < cell["low"] <= cell["ratio"] <= cell["high"]


def test_a_commit_that_sleeps_is_found_slower_when_measured_again(repository, tmp_path):
    file = tmp_path / "figures.json"
    arguments = ("--cells", "save", "--rounds", "1", "--json", str(file))
    done = run(repository, "good", "slow", *arguments)
    assert done.returncode == 1, done.stdout + done.stderr
    (cell,) = json.loads(file.read_text())["cells"]
    assert cell["verdict"] == "slower"
    assert [len(times) for times in cell["times"]] == [1, 2]


def test_a_cell_that_the_working_tree_breaks_fails(repository):
    done = run(repository, "good", "--cells", "save", "--rounds", "1")
    assert done.returncode == 1
    assert "save: fails, in NEW: AttributeError" in done.stdout
    assert "NEW is the working tree with changes" in done.stdout


def test_a_cell_that_the_old_commit_cannot_do_is_left_out(repository):
    done = run(repository, ".", "good", "--cells", "save", "--rounds", "1")
    assert done.returncode == 2  # as there was no other
    assert "save: left out, in OLD: AttributeError" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nonesuch",), "OLD must be a revision or '.', got 'nonesuch'"),
        (("good", "good:bench"), "NEW must be a revision or '.', got 'good:bench'"),
        (("good", "--rounds", "0"), "--rounds must be at least 1; got 0"),
        (("good", "--cells", "nonesuch"), "no cell is like 'nonesuch'"),
        (("good", "ending", "--cells", "save"), "the process of NEW ended at 'save', exit code 7"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_a_line(repository, arguments, message):
    done = run(repository, *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(f"compare.py: {message}")
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals between processes")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_worktrees_go_away_when_it_is_interrupted(repository, number):
    process = subprocess.Popen(
        command(repository, "good", "good", "--cells", "save", "--rounds", "1000"),
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        # A shell starts what is in the background without Ctrl-C.
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    )
    try:
        while worktrees(repository) < 3:
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(number)
        assert process.wait(60) == 128 + number
    finally:
        process.kill()
        process.wait()
    assert worktrees(repository) == 1
