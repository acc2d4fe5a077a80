"""The structure: imports point one way, modules stay short, and signatures stay narrow."""

from __future__ import annotations

import ast
from collections import defaultdict
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from conftest import ROOT

PACKAGE = ROOT / "fastnn"
LONGEST = 400  # lines of a module
# What is built on top of `Network`, and may import it.
ABOVE = ("fastnn.loading", "fastnn.inspection", "fastnn.minimizing", "fastnn.tuning",
         "fastnn.crossvalidation",
         "fastnn.report", "fastnn.draw", "fastnn.cli", "fastnn.estimators", "fastnn.plots",
         "fastnn.tabular", "fastnn.members", "fastnn.conversion", "fastnn.committee",
         "fastnn.network")  # fmt: skip


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in PACKAGE.rglob("*.py")}


def imported_by(path: Path) -> set[str]:
    """Return the modules of the package that a file imports, anywhere in it, with their folders.

    A folder's ``__init__`` runs before what is in it; that of the whole package is left out, as it
    imports everything.
    """
    named = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            named |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                named.add(whole if whole in MODULES else str(node.module))
    found = set()
    for name in named & MODULES.keys():
        while "." in name:
            found.add(name)
            name = name.rpartition(".")[0]
    own = name_of(path)
    return found - {own, own.rpartition(".")[0]}


IMPORTS = {name: imported_by(path) for name, path in MODULES.items()}


def test_no_circle():
    try:
        TopologicalSorter(IMPORTS).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_a_circle_is_found():
    with pytest.raises(CycleError):
        TopologicalSorter({"a": {"b"}, "b": {"c"}, "c": {"a"}}).prepare()


def test_folders_of_the_way_of_the_data_point_down():
    order = ["checks", "model", "backends", "training"]
    needs = defaultdict(set)
    for name, imports in IMPORTS.items():
        folder = name.split(".")[1:2]
        needs[folder[0] if folder else ""] |= {other.split(".")[1] for other in imports}
    assert not needs["model"] & {"backends", "training"}
    assert not needs["backends"] & {"training"}
    assert not {"network", "cli"} & set.union(*(needs[folder] for folder in order))


@pytest.mark.parametrize("name", sorted(MODULES))
def test_nothing_below_the_network_imports_it(name):
    assert name == "fastnn" or name.startswith(ABOVE) or "fastnn.network" not in IMPORTS[name]


@pytest.mark.parametrize("name", sorted(MODULES))
def test_no_module_is_too_long(name):
    assert len(MODULES[name].read_text().splitlines()) <= LONGEST
