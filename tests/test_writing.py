"""Writing files: complete or not at all, whatever the platform, the path or the moment."""

from __future__ import annotations

import errno
import os
import signal
import stat
import sys
import types

import numpy as np
import pytest

import fastnn
from fastnn import Network, writing

X, Y = np.random.default_rng(0).normal(size=(12, 3)), np.arange(12) % 2


def network():
    return Network([3, 4, 2], seed=0, backend="numpy")


def write_text(path):
    with writing.replacing(path) as file:
        file.write("a,b\n")


WRITERS = {"network": lambda path: network().save(path), "text": write_text}
each_writer = pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
posix = pytest.mark.skipif(sys.platform == "win32", reason="permissions are POSIX's")


# Interrupts


def raise_exit(number, frame):
    raise SystemExit(number)


@pytest.fixture
def handled():
    """Let SIGTERM raise SystemExit, as SIGINT raises KeyboardInterrupt."""
    before = signal.signal(signal.SIGTERM, raise_exit)
    yield
    signal.signal(signal.SIGTERM, before)


def interrupting(monkeypatch, number, moment):
    """Let a signal come while a file is moved, once: before the system does it, or after."""
    move = os.replace

    def replace(source, target):
        monkeypatch.setattr(os, "replace", move)
        if moment == "after":
            move(source, target)
        signal.raise_signal(number)
        if moment == "before":
            move(source, target)

    monkeypatch.setattr(os, "replace", replace)


each_signal = pytest.mark.parametrize(
    ("number", "error"),
    [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)],
    ids=["SIGINT", "SIGTERM"],
)
each_moment = pytest.mark.parametrize("moment", ["before", "after"])


@pytest.mark.usefixtures("handled")
@each_writer
@each_signal
@each_moment
def test_an_interrupt_during_the_move_comes_out_as_itself(
    tmp_path, monkeypatch, write, number, error, moment
):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    interrupting(monkeypatch, number, moment)
    with pytest.raises(error):
        write(path)
    assert (path.read_bytes() == b"old") == (moment == "before")
    assert os.listdir(tmp_path) == ["file"]


@each_signal
@each_moment
def test_an_interrupt_during_the_move_of_a_checkpoint_ends_training(
    tmp_path, monkeypatch, number, error, moment
):
    path = tmp_path / "run"

    def arm(row):
        if row["epoch"] == 2:
            interrupting(monkeypatch, number, moment)

    with pytest.raises(error):
        network().train(X, Y, epochs=5, checkpoint=path, callbacks=[arm], progress=False)
    assert fastnn.load(path).epochs_trained == 2
    assert os.listdir(tmp_path) == ["run"]


@each_writer
def test_an_interrupt_before_the_move_leaves_the_old_file(tmp_path, monkeypatch, write):
    (tmp_path / "file").write_bytes(b"old")

    def interrupt(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


# Paths


@pytest.fixture
def refused(tmp_path):
    """Write to a path; return the error, after checking that nothing was written."""

    def refused(write, path, error):
        (tmp_path / "folder").mkdir(exist_ok=True)
        before = os.listdir(tmp_path)
        with pytest.raises(error) as caught:
            write(path)
        assert os.listdir(tmp_path) == before
        assert "partial" not in str(caught.value)
        return str(caught.value)

    return refused


WHAT_READS_OR_WRITES = {**WRITERS, "load": fastnn.load}


@pytest.mark.parametrize("act", WHAT_READS_OR_WRITES.values(), ids=WHAT_READS_OR_WRITES)
@pytest.mark.parametrize("path", [5, None, True, ["name"]])
def test_what_is_no_path_is_refused_by_name(refused, act, path):
    said = f"path must be a path, str or os.PathLike; got {path!r}"
    assert refused(act, path, TypeError) == said


@pytest.mark.parametrize("act", WHAT_READS_OR_WRITES.values(), ids=WHAT_READS_OR_WRITES)
def test_an_empty_path_is_refused(refused, act):
    assert refused(act, "", FileNotFoundError) == "path is empty; need the name of a file"


@pytest.mark.parametrize("act", WHAT_READS_OR_WRITES.values(), ids=WHAT_READS_OR_WRITES)
@pytest.mark.parametrize("name", ["folder", "folder/", "folder/new/", "."])
def test_a_folder_is_refused(refused, tmp_path, act, name):
    path = f"{tmp_path}/{name}"
    said = f"path {path!r} is a folder; need the name of a file"
    assert refused(act, path, IsADirectoryError) == said


@each_writer
def test_a_folder_that_is_missing_is_named(refused, tmp_path, write):
    path = tmp_path / "none" / "file"
    said = f"path {str(path)!r}: no folder {str(path.parent)!r} to write 'file' in"
    assert refused(write, path, FileNotFoundError).startswith(said)


@posix
@each_writer
def test_what_is_no_regular_file_is_left_alone(refused, tmp_path, write):
    os.mkfifo(tmp_path / "pipe")
    said = f"path {str(tmp_path / 'pipe')!r} is not a regular file"
    assert refused(write, tmp_path / "pipe", OSError).startswith(said)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


@each_writer
def test_a_folder_that_cannot_be_written_to_is_named(refused, tmp_path, monkeypatch, write):
    monkeypatch.setattr(os, "access", lambda path, how: path != str(tmp_path))
    said = f"nothing can be written to the folder {str(tmp_path)!r}"
    assert said in refused(write, tmp_path / "file", PermissionError)


@each_writer
@pytest.mark.parametrize("call", ["open", "fsync", "replace"])
def test_a_failure_names_the_path_that_was_given(refused, tmp_path, monkeypatch, write, call):
    def fail(*arguments, **options):
        names = arguments[:1] if call != "fsync" else ()
        raise OSError(errno.EROFS, "Read-only file system", *names)

    where = writing if call == "open" else os
    monkeypatch.setattr(where, call, fail, raising=False)
    path = tmp_path / "file"
    said = refused(write, path, OSError)
    assert said == f"[Errno {errno.EROFS}] Read-only file system: {str(path)!r}"


def test_an_error_of_the_caller_is_not_that_of_the_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing"), writing.replacing(tmp_path / "file"):
        (tmp_path / "nothing").read_bytes()
    assert os.listdir(tmp_path) == []


def test_a_destination_is_checked_under_the_name_of_its_option(tmp_path):
    with pytest.raises(IsADirectoryError, match=r"^--save '.*' is a folder"):
        writing.check_destination(tmp_path, "--save")
    found = writing.check_destination(tmp_path / "file", "--save")
    assert found == os.path.realpath(tmp_path / "file")
    assert os.listdir(tmp_path) == []


@posix
@each_writer
def test_a_link_stays_a_link_also_where_its_file_is_missing(tmp_path, write):
    (tmp_path / "link").symlink_to("file")
    write(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").stat().st_size > 0


# Permissions


@pytest.fixture(params=[0o022, 0o077, 0o007])
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@posix
@each_writer
def test_a_new_file_follows_the_umask_which_is_left_as_it_was(tmp_path, umask, write):
    write(tmp_path / "file")
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o666 & ~umask
    after = os.umask(umask)
    assert after == umask


@posix
@each_writer
def test_the_umask_is_not_touched_as_it_is_that_of_all_threads(tmp_path, monkeypatch, write):
    monkeypatch.setattr(os, "umask", lambda mask: pytest.fail("the umask was changed"))
    write(tmp_path / "file")


@posix
@each_writer
@pytest.mark.parametrize("mode", [0o600, 0o664, 0o640, 0o444])
def test_a_file_that_is_replaced_hands_on_its_permissions(tmp_path, write, mode):
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(mode)
    write(path)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert path.read_bytes() != b"old"


@posix
@each_writer
def test_the_right_to_run_as_the_owner_of_a_file_is_not_handed_on(tmp_path, write):
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(0o4755)
    write(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o755


@posix
def test_a_file_system_without_permissions_takes_files(tmp_path, monkeypatch):
    def refuse(path, mode):
        raise PermissionError(errno.EPERM, "Operation not permitted", path)

    write_text(tmp_path / "file")
    monkeypatch.setattr(os, "chmod", refuse)
    write_text(tmp_path / "file")


# To the disk


class Fcntl(types.SimpleNamespace):
    """The module on macOS, where a file system may know how to flush the disk."""

    def __init__(self, knows):
        super().__init__(F_FULLFSYNC=51, asked=[])
        self.knows = knows

    def fcntl(self, descriptor, what):
        self.asked.append(what)
        if not self.knows:
            raise OSError(errno.ENOTSUP, "Operation not supported")


@each_writer
@pytest.mark.parametrize("knows", [True, False])
def test_on_macos_the_disk_is_flushed_or_else_the_file(tmp_path, monkeypatch, write, knows):
    module, synced = Fcntl(knows), []
    monkeypatch.setattr(writing, "fcntl", module)
    monkeypatch.setattr(writing, "_flush_folder", lambda folder: None)
    monkeypatch.setattr(os, "fsync", synced.append)
    write(tmp_path / "file")
    assert module.asked == [51]
    assert len(synced) == (0 if knows else 1)


@each_writer
def test_elsewhere_the_file_is_flushed_and_then_its_folder(tmp_path, monkeypatch, write):
    synced = []
    monkeypatch.setattr(writing, "fcntl", None)
    monkeypatch.setattr(os, "fsync", lambda d: synced.append(stat.S_ISDIR(os.fstat(d).st_mode)))
    write(tmp_path / "file")
    assert synced == ([False, True] if hasattr(os, "O_DIRECTORY") else [False])


@each_writer
def test_a_folder_that_cannot_be_flushed_is_no_failure(tmp_path, monkeypatch, write):
    def refuse(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(writing, "fcntl", None)
    monkeypatch.setattr(os, "fsync", refuse)
    write(tmp_path / "file")
    assert os.listdir(tmp_path) == ["file"]


# Windows


@pytest.fixture
def windows(monkeypatch):
    """Let files be in use for so many tries, as on Windows; return how often was waited."""
    waited, calls = [], {name: getattr(os, name) for name in ("replace", "unlink")}
    monkeypatch.setattr(writing, "WINDOWS", True)
    monkeypatch.setattr(writing.time, "sleep", waited.append)
    monkeypatch.delattr(os, "O_DIRECTORY", raising=False)

    def busy(name, tries):
        def act(*paths):
            if len(waited) < tries:
                raise PermissionError(errno.EACCES, "Access is denied", *paths[:1])
            calls[name](*paths)

        monkeypatch.setattr(os, name, act)

    return types.SimpleNamespace(waited=waited, busy=busy)


@each_writer
def test_on_windows_a_file_in_use_is_replaced_when_it_is_free(tmp_path, windows, write):
    windows.busy("replace", 3)
    write(tmp_path / "file")
    assert windows.waited == [writing.PAUSE] * 3
    assert os.listdir(tmp_path) == ["file"]


@each_writer
def test_on_windows_a_file_that_stays_in_use_is_named(tmp_path, windows, write):
    (tmp_path / "file").write_bytes(b"old")
    windows.busy("replace", 10**6)
    said = f"another program has it open, or it is read-only: {str(tmp_path / 'file')!r}"
    with pytest.raises(PermissionError) as caught:
        write(tmp_path / "file")
    assert str(caught.value).endswith(said)
    assert sum(windows.waited) < 1
    assert (tmp_path / "file").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_on_windows_a_partial_file_in_use_is_removed_when_it_is_free(tmp_path, windows):
    windows.busy("unlink", 2)
    with pytest.raises(KeyError), writing.replacing(tmp_path / "file"):
        raise KeyError
    assert os.listdir(tmp_path) == []


def test_elsewhere_a_refusal_is_not_tried_again(tmp_path, windows, monkeypatch):
    monkeypatch.setattr(writing, "WINDOWS", False)
    windows.busy("replace", 10**6)
    with pytest.raises(PermissionError, match="Access is denied"):
        write_text(tmp_path / "file")
    assert windows.waited == []
