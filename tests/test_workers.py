"""How the tests are run: by which workers, and that these do not start others."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest


@pytest.fixture
def conftest(request):
    """The plugin that is these tests' own."""
    return request.config.pluginmanager.get_plugin(str(Path(__file__).with_name("conftest.py")))


@pytest.mark.parametrize(
    ("in_a_worker", "given", "expected"),
    [
        (False, {}, ("auto", "loadfile")),
        (True, {}, (None, "no")),
        (False, {"numprocesses": 0}, (0, "no")),
        (False, {"numprocesses": 3}, (3, "loadfile")),
        (False, {"numprocesses": 3, "dist": "worksteal"}, (3, "worksteal")),
        (False, {"file_or_dir": ["tests/test_workers.py"]}, (None, "no")),
        (False, {"capture": "no"}, (None, "no")),
    ],
)
def test_all_tests_are_distributed_but_not_by_a_worker(
    conftest, monkeypatch, in_a_worker, given, expected
):
    monkeypatch.setattr(conftest, "IN_A_WORKER", in_a_worker)
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    options = {"numprocesses": None, "dist": "no", "file_or_dir": [], "capture": "fd", **given}
    plugins = SimpleNamespace(hasplugin=lambda name: True)
    config = SimpleNamespace(option=SimpleNamespace(**options), pluginmanager=plugins)
    conftest.pytest_cmdline_main(config)
    assert (config.option.numprocesses, config.option.dist) == expected


def test_without_xdist_all_is_as_it_was(conftest, monkeypatch):
    monkeypatch.setattr(conftest, "IN_A_WORKER", False)
    options = SimpleNamespace(file_or_dir=[], capture="fd")
    plugins = SimpleNamespace(hasplugin=lambda name: False)
    conftest.pytest_cmdline_main(SimpleNamespace(option=options, pluginmanager=plugins))
    assert vars(options) == {"file_or_dir": [], "capture": "fd"}


def test_a_worker_knows_that_it_is_one(run_python):
    code = "import sys; sys.path.insert(0, 'tests'); import conftest; print(conftest.IN_A_WORKER)"
    assert run_python("-c", code, PYTEST_XDIST_WORKER="gw0") == "True\n"
