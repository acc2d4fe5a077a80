"""What a process does before it computes: what is imported, compiled and cached."""

from __future__ import annotations

import errno
import gc
import hashlib
import json
import os
import pathlib
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import pytest
from numba import types

from fastnn import writing
from fastnn.backends.compiled.machinery import cache, jit

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
    from fastnn.backends.contract import UpdateRule
    prepare = backends.get("numba").prepare
    prepare(net.model, lambda: announced.append(True), UpdateRule(), [1, 32])
    prepared = len(compilations.buffer)
    net.train(X, y, epochs=1)
    net.train(X, y, epochs=1, batch_size=1)
    outputs = np.concatenate([net.predict_proba(X), [net.predict_one(X[0])]])
digest = hashlib.sha256(net.parameters.tobytes() + outputs.tobytes()).hexdigest()
prepared_to_compile = "numba.np.linalg" in sys.modules
report = [prepared, len(compilations.buffer), len(announced), prepared_to_compile, digest]
print(json.dumps(report))
"""

# Then a function that was not prepared is compiled even where it is in the cache.
LOADS_NO_MORE = """
from fastnn.backends.compiled.machinery import cache
cache._Entries.load = lambda entries, key: None
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
    (_, compilations, announced, *_, cache), _ = two_processes
    assert compilations > 0
    assert announced == 1
    assert cache


def test_a_cold_process_compiles_nothing_after_it_has_prepared(two_processes):
    (prepared, compilations, *_), _ = two_processes
    assert compilations == prepared


def test_a_warm_process_compiles_nothing_and_announces_nothing(two_processes):
    _, (_, compilations, announced, *_) = two_processes
    assert compilations == 0
    assert announced == 0


def test_a_warm_process_imports_nothing_that_only_compiling_needs(two_processes):
    (*_, cold, _, _), (*_, warm, _, _) = two_processes
    assert cold
    assert not warm


def test_a_warm_process_leaves_the_cache_as_it_is(two_processes):
    (*_, cold), (*_, warm) = two_processes
    assert warm == cold


def test_cold_and_warm_processes_give_the_same_bits(two_processes):
    (*_, cold, _), (*_, warm, _) = two_processes
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


@pytest.mark.parametrize(
    ("prepare", "use"),
    [
        ("fastnn.warmup()", "net.train(X, y, epochs=1, batch_size=1); net.predict_one(X[0])"),
        ("fastnn.backends.get('numba').prepare(net.model)", "net.train(X, y, batch_size=3)"),
    ],
    ids=["warmup", "prepare"],
)
def test_preparing_leaves_nothing_to_compile(run_python, prepare, use):
    script = f"""
import fastnn, numpy as np
from numba.core import event
net = fastnn.Network([3, 4, 2], activation="tanh", seed=0)
X, y = np.ones((9, 3), "f4"), np.ones(9, int)
{prepare}
{LOADS_NO_MORE}
with event.install_recorder("numba:compile") as compilations:
    {use}
print(len(compilations.buffer))
"""
    assert run_python("-c", script).split() == ["0"]


# A cache that is not as it should be

SMALL = """
import json, sys, warnings
from numba.core import event
from numba import types
recorder = event.install_recorder("numba:compile")
with warnings.catch_warnings(record=True) as caught, recorder as seen:
    warnings.simplefilter("always")
    from fastnn.backends.compiled.kernels import inputs
    from fastnn.backends.compiled.kernels import update
    if sys.argv[2:] == ["full"]:
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    for number in [types.float32, types.float64][:: int(sys.argv[1])]:
        for unit in (inputs.gather, inputs.adjust, update.limit):
            unit.prepare(number)
assert all(warning.category is RuntimeWarning for warning in caught)
print(json.dumps([len(seen.buffer), [str(warning.message) for warning in caught]]))
"""


def halve(values):
    for i in range(len(values)):
        values[i] *= 0.5


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """Where this process keeps compiled functions, as if it had just begun."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "trouble", None)
    return tmp_path / "cache"


def compiled_and_run(variant=""):
    """Compile and run a function, or load it; return whether it came from the cache."""
    unit = jit.Unit(halve, lambda number: (number[::1],), {}, variant)
    unit.prepare(types.float64)
    values = np.array([2.0, 4.0])
    unit.dispatcher(values)
    np.testing.assert_array_equal(values, [1, 2])
    return sum(unit.dispatcher.stats.cache_hits.values()) == 1


def test_a_folder_that_is_missing_is_made(folder):
    assert not compiled_and_run()
    assert len(files(folder)) == 1
    assert compiled_and_run()


def test_variants_of_a_function_are_kept_apart(folder):
    assert not compiled_and_run()
    assert not compiled_and_run("another")
    assert len(files(folder)) == 2
    assert compiled_and_run()
    assert compiled_and_run("another")


def test_a_folder_that_vanishes_is_made_again(folder):
    compiled_and_run()
    unit = jit.Unit(halve, lambda number: (number[::1],), {})
    shutil.rmtree(folder)
    unit.prepare(types.float64)
    assert len(files(folder)) == 1


@pytest.fixture
def read_only(monkeypatch):
    """Let no file be made, as on Windows where a folder's rights forbid it; count the tries."""
    tries = []

    def refuse(path, mode):
        assert mode == "xb"
        tries.append(path)
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(cache, "open", refuse, raising=False)
    return tries


def test_what_is_in_a_read_only_folder_is_loaded_without_a_word(folder, request):
    compiled_and_run()
    request.getfixturevalue("read_only")
    assert compiled_and_run()


def test_whether_a_folder_can_be_written_to_is_tried_once(tmp_path, read_only):
    assert cache.unwritable(tmp_path) == "Permission denied"
    assert len(read_only) == 1
    assert not files(tmp_path)


def test_a_folder_that_can_be_written_to_is_left_empty(tmp_path):
    assert cache.unwritable(tmp_path / "new") is None
    assert not files(tmp_path)


def test_what_is_not_in_a_read_only_folder_goes_to_the_next(folder, monkeypatch):
    places = [folder / name for name in ("first", "second", "third")]
    monkeypatch.setattr(cache, "folders", lambda: places)
    monkeypatch.setattr(cache, "unwritable", lambda place: "" if place != places[0] else "it is")
    for place in places[1:]:
        place.mkdir(parents=True)
    with pytest.warns(RuntimeWarning, match=r"first: it is; .*second is used"):
        assert not compiled_and_run()
    assert compiled_and_run()
    assert [path.parts[0] for path in files(folder)] == ["second"]


@pytest.mark.parametrize("reason", ["Read-only file system", None])
def test_a_folder_behind_a_writable_one_is_read_if_it_cannot_be_written_to(
    folder, monkeypatch, reason
):
    compiled_and_run()
    places = [folder.parent / "asked for", folder / "fastnn"]
    monkeypatch.setattr(cache, "folders", lambda: places)
    unwritable = cache.unwritable
    monkeypatch.setattr(
        cache, "unwritable", lambda place: reason if place == places[1] else unwritable(place)
    )
    assert [state.folder for state in cache.states()] == places[: 1 + bool(reason)]
    assert compiled_and_run() == bool(reason)


def test_what_another_user_may_not_read_is_not_there(folder, monkeypatch):
    compiled_and_run()

    def forbid(path):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(pathlib.Path, "read_bytes", forbid)
    assert not compiled_and_run()


@pytest.mark.usefixtures("read_only")
def test_a_read_only_folder_is_named_once_with_a_way_out_and_everything_compiled(folder):
    said = "Permission denied; .* every process, unless the variable NUMBA_CACHE_DIR names a folder"
    with pytest.warns(RuntimeWarning, match=said) as caught:
        assert not compiled_and_run()
    assert not compiled_and_run()
    assert len(caught) == 1
    assert str(folder) in str(caught[0].message)
    assert not files(folder)


def test_a_full_disk_during_a_write_leaves_no_file(folder, monkeypatch):
    def refuse(source, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.warns(RuntimeWarning, match="No space left on device") as caught:
        assert not compiled_and_run()
    assert not compiled_and_run()
    assert len(caught) == 1
    assert str(folder) in str(caught[0].message)
    assert not files(folder)


def test_on_windows_an_entry_that_another_process_reads_is_replaced_when_it_is_free(
    folder, monkeypatch
):
    replace, waited = os.replace, []

    def busy(source, target):
        if len(waited) < 2:
            raise PermissionError(errno.EACCES, "Access is denied")
        replace(source, target)

    monkeypatch.setattr(os, "replace", busy)
    monkeypatch.setattr(writing, "WINDOWS", True)
    monkeypatch.setattr(writing.time, "sleep", waited.append)
    assert not compiled_and_run()
    assert len(waited) == 2
    assert len(files(folder)) == 1
    assert compiled_and_run()


def noise(count):
    return np.random.default_rng(1).bytes(count)


DAMAGE = {
    "empty": lambda content: b"",
    "cut in the digest": lambda content: content[:10],
    "cut in half": lambda content: content[: len(content) // 2],
    "random": lambda content: noise(len(content)),
    "one bit": lambda content: content[:-99] + bytes([content[-99] ^ 4]) + content[-98:],
    "longer": lambda content: content + b"\0",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_entry_is_named_once_compiled_and_replaced(folder, damage):
    compiled_and_run()
    (path,) = (folder / name for name in files(folder))
    sound = path.read_bytes()
    path.write_bytes(DAMAGE[damage](sound))
    with pytest.warns(RuntimeWarning, match="is damaged; it is compiled anew") as caught:
        assert not compiled_and_run()
    assert len(caught) == 1
    assert str(folder) in str(caught[0].message)
    assert compiled_and_run()


def test_an_entry_that_is_sound_but_not_a_function_is_compiled_anew(folder):
    compiled_and_run()
    (path,) = (folder / name for name in files(folder))
    path.write_bytes(hashlib.sha256(b"nonsense").digest() + b"nonsense")
    with pytest.warns(RuntimeWarning, match="it is compiled anew"):
        assert not compiled_and_run()


def test_an_entry_that_cannot_be_read_is_compiled_anew(folder):
    compiled_and_run()
    (path,) = (folder / name for name in files(folder))
    path.unlink()
    path.mkdir()
    with pytest.warns(RuntimeWarning, match="it is compiled anew") as caught:
        assert not compiled_and_run()
    assert len(caught) == 1


def test_other_sources_are_another_entry(folder, monkeypatch):
    compiled_and_run()
    monkeypatch.setattr(cache, "FINGERPRINT", "of other sources")
    assert not compiled_and_run()
    assert len(files(folder)) == 2


@pytest.mark.parametrize(
    "change", [{"architecture": "other"}, {"bits": 64}, {"registers": 8}, {"fma": None}]
)
def test_other_machines_have_other_entries(monkeypatch, change):
    monkeypatch.setattr(cache, "MACHINE", cache.MACHINE._replace(**change))
    assert cache._fingerprint() != cache.FINGERPRINT


def test_training_with_a_damaged_cache_gives_the_same_bits(run_python, two_processes, tmp_path):
    *_, digest, cold = two_processes[0]
    for number, (name, (_, content)) in enumerate(cold.items()):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        damaged = name.name.startswith(
            ("products.", "inputs.", "layers.", "update.", "outputs.error")
        )
        damage = list(DAMAGE.values())[number % len(DAMAGE)] if damaged else bytes
        (tmp_path / name).write_bytes(damage(content))
    printed = run_python("-W", "ignore", "-c", TRAIN, NUMBA_CACHE_DIR=str(tmp_path))
    _, compilations, *_, found = json.loads(printed)
    assert compilations > 0
    assert found == digest
    assert files(tmp_path).keys() == cold.keys()


def test_a_folder_asked_for_in_vain_is_named_once_with_the_one_in_its_place(folder, monkeypatch):
    folder.write_text("")  # a file
    beside = folder.parent / "sources"
    monkeypatch.setattr(cache, "COMPILED", beside)
    with pytest.warns(
        RuntimeWarning, match=r"^the cache .*: Not a directory; .* is used"
    ) as caught:
        assert not compiled_and_run()
    assert compiled_and_run()
    assert len(caught) == 1
    assert f"{folder / 'fastnn'}: " in str(caught[0].message)
    assert f"{beside / '__pycache__'} is used" in str(caught[0].message)


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits of file sizes")
def test_a_disk_that_is_full_is_named_once_and_everything_compiled(run_python, tmp_path):
    printed = run_python("-c", SMALL, "1", "full", NUMBA_CACHE_DIR=str(tmp_path))
    compilations, said = json.loads(printed)
    assert compilations > 0
    assert len(said) == 1
    assert str(tmp_path) in said[0]
    assert "File too large" in said[0]
    assert not files(tmp_path)


@pytest.mark.parametrize("count", [4, pytest.param(8, marks=pytest.mark.long)])
def test_processes_that_start_cold_at_once_share_a_cache(run_python, tmp_path, count):
    def run(order):
        return json.loads(run_python("-c", SMALL, order, NUMBA_CACHE_DIR=str(tmp_path)))

    with ThreadPoolExecutor(count) as pool:
        reports = list(pool.map(run, ["1", "-1"] * (count // 2)))
    assert all(said == [] for _, said in reports)
    assert len(files(tmp_path)) == 6
    assert run("1") == [0, []]


@pytest.mark.parametrize("collects", [True, False])
def test_compiling_leaves_the_search_for_garbage_as_it_was(collects):
    def fails(number):
        looked.append(gc.isenabled())
        raise RuntimeError("a type")

    looked = []
    unit = jit.unit(lambda number: (types.int64,))(lambda number: None)
    unit.dispatcher.compile = fails
    (gc.enable if collects else gc.disable)()
    try:
        with pytest.raises(RuntimeError, match="a type"):
            unit.prepare(types.float32)
        assert gc.isenabled() == collects
    finally:
        gc.enable()
    assert looked == [False]


def test_ctrl_c_as_compiling_begins_leaves_the_search_for_garbage_on(monkeypatch):
    def interrupted(disable=gc.disable):
        disable()
        raise KeyboardInterrupt

    monkeypatch.setattr(gc, "disable", interrupted)
    with pytest.raises(KeyboardInterrupt), jit.without_collection():
        raise AssertionError("nothing is compiled")
    assert gc.isenabled()
