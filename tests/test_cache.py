"""What a process does before it computes: what is imported, compiled and cached."""

from __future__ import annotations

import json

import pytest

TRAIN = """
import hashlib, json, sys
sys.path.insert(0, "tests")
import numpy as np
from cases import WIDE, make_data, make_network
from numba.core import event

X, y = make_data(WIDE, np.random.default_rng(3))
net = make_network(WIDE)
announced = []
with event.install_recorder("numba:compile") as compilations:
    from fastnn import backends
    prepare = backends.get("numba").prepare
    prepare(net, lambda: announced.append(True), one_row=True)
    net.train(X, y, epochs=1)
    net.train(X, y, epochs=1, batch_size=1)
    outputs = np.concatenate([net.predict_proba(X), [net.predict_one(X[0])]])
digest = hashlib.sha256(net.parameters.tobytes() + outputs.tobytes()).hexdigest()
print(json.dumps([len(compilations.buffer), len(announced), digest]))
"""


def files(folder):
    return {
        path.relative_to(folder): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def two_processes(run_python, tmp_path_factory):
    """What a cold and a warm process report, and the files of the cache after each."""
    folder = tmp_path_factory.mktemp("cache")
    reports = []
    for _ in range(2):
        printed = run_python("-c", TRAIN, NUMBA_CACHE_DIR=str(folder))
        reports.append((*json.loads(printed), files(folder)))
    return reports


def test_a_cold_process_compiles_and_announces_it_once(two_processes):
    (compilations, announced, _, cache), _ = two_processes
    assert compilations > 0
    assert announced == 1
    assert cache


def test_a_warm_process_compiles_nothing_and_announces_nothing(two_processes):
    _, (compilations, announced, *_) = two_processes
    assert compilations == 0
    assert announced == 0


def test_a_warm_process_leaves_the_cache_as_it_is(two_processes):
    (*_, cold), (*_, warm) = two_processes
    assert warm == cold


def test_cold_and_warm_processes_give_the_same_bits(two_processes):
    (_, _, cold, _), (_, _, warm, _) = two_processes
    assert warm == cold


@pytest.mark.parametrize(
    "statement",
    [
        "import fastnn",
        "import fastnn; fastnn.Network([2, 3, 2])",
        "import fastnn; fastnn.Network([2, 3, 2], backend='numpy').predict([[0, 0]])",
        "import fastnn.train",
    ],
)
def test_numba_is_not_imported_before_it_is_needed(run_python, statement):
    printed = run_python("-c", f"{statement}; import sys; print('numba' in sys.modules)")
    assert printed.split() == ["False"]


def test_preparing_leaves_nothing_to_compile(run_python, tmp_path):
    script = """
import fastnn, numpy as np
from numba.core import event
net = fastnn.Network([3, 4, 2], activation="tanh", seed=0)
X, y = np.ones((9, 3), "f4"), np.ones(9, int)
{prepare}
with event.install_recorder("numba:compile") as compilations:
    {use}
print(len(compilations.buffer))
"""
    uses = {
        "fastnn.warmup()": "net.train(X, y, epochs=1, batch_size=1); net.predict_one(X[0])",
        "fastnn.backends.get('numba').prepare(net)": "net.train(X, y, batch_size=3)",
    }
    for number, (prepare, use) in enumerate(uses.items()):
        code = script.format(prepare=prepare, use=use)
        assert run_python("-c", code, NUMBA_CACHE_DIR=str(tmp_path / str(number))).split() == ["0"]
