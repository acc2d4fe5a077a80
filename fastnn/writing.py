"""Files that appear complete or not at all, even if the power fails.

A file is written beside its place under another name, flushed to disk, and moved there. A link
stays a link: the file that it names is replaced. A new file gets the permissions of any new file; a
file that is replaced hands on its own, as if it had been written over.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import IO, Any, BinaryIO, TextIO

try:
    import fcntl
except ImportError:  # on Windows
    fcntl = None  # type: ignore[assignment]

AnyPath = str | os.PathLike[str]

WINDOWS = sys.platform == "win32"
# There a file that somebody has open, a virus scanner for instance, can be neither replaced nor
# removed: so often it is tried, with so many seconds in between.
TRIES, PAUSE = 10, 0.1


def check_file(path: AnyPath, name: str = "path") -> str:
    """Return a path as text, after checking that it may be that of a file.

    Parameters
    ----------
    path : str or os.PathLike
    name : str
        What errors call it.

    Raises
    ------
    TypeError
        If it is no path.
    FileNotFoundError
        If it is empty.
    IsADirectoryError
        If it is a folder.
    """
    try:
        text = os.fsdecode(path)
    except TypeError:
        raise TypeError(f"{name} must be a path, str or os.PathLike; got {path!r}") from None
    if not text:
        raise FileNotFoundError(f"{name} is empty; need the name of a file")
    if os.path.isdir(text) or not os.path.basename(text):
        raise IsADirectoryError(f"{name} {text!r} is a folder; need the name of a file")
    return text


def check_destination(path: AnyPath, name: str = "path") -> str:
    """Return where a file will be, with links followed, after checking that it can be written.

    Parameters
    ----------
    path : str or os.PathLike
    name : str
        What errors call it.

    Raises
    ------
    TypeError, FileNotFoundError, IsADirectoryError
        As `check_file`; also ``FileNotFoundError`` if there is no folder for it.
    PermissionError
        If nothing can be written to the folder.
    OSError
        If there is something else of that name, such as a device.
    """
    text = check_file(path, name)
    target = os.path.realpath(text)
    folder, file = os.path.split(target)
    if not os.path.isdir(folder):
        raise FileNotFoundError(
            f"{name} {text!r}: no folder {folder!r} to write {file!r} in; need one that exists"
        )
    if os.path.lexists(target) and not os.path.isfile(target):
        raise OSError(f"{name} {text!r} is not a regular file; need one, or a new name")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(
            f"{name} {text!r}: nothing can be written to the folder {folder!r}; need another"
        )
    return target


def replacing(path: AnyPath) -> AbstractContextManager[TextIO]:
    """Open a text file to write. It replaces a file of that name when the block ends normally.

    Parameters
    ----------
    path : str or os.PathLike

    Returns
    -------
    context manager of a file object
        UTF-8; line ends are written unchanged.

    Raises
    ------
    TypeError, OSError
        As `check_destination`, before anything is written.
    OSError
        If the file cannot be written; an older file of that name stays as it is.
    """
    return _replacing(path, "x", encoding="utf-8", newline="")


def replacing_bytes(path: AnyPath) -> AbstractContextManager[BinaryIO]:
    """Open a binary file to write, as `replacing` opens a text file."""
    return _replacing(path, "xb")


@contextmanager
def _replacing(path: AnyPath, mode: str, **how: Any) -> Iterator[Any]:
    target = check_destination(path)
    partial = beside(target)
    try:
        with open(partial, mode, **how) as file:
            _hand_on_permissions(target, partial)
            yield file
            _flush(file)
        move(partial, target)
    except BaseException as error:
        # If this is an interrupt that came during the move, there is nothing left to remove.
        remove(partial)
        if isinstance(error, OSError) and error.errno and error.filename in (None, partial):
            raise OSError(error.errno, error.strerror, os.fsdecode(path)) from None
        raise
    _flush_folder(os.path.dirname(target))


def beside(path: AnyPath) -> str:
    """Return a name in the folder of a path that nobody else takes."""
    return os.path.join(os.path.dirname(path), f".partial-{os.urandom(8).hex()}")


def remove(path: AnyPath) -> None:
    """Remove a file, if it is there and can be removed."""
    with contextlib.suppress(OSError):
        _patiently(os.unlink, path)


def move(source: AnyPath, target: AnyPath) -> None:
    """Move a file to another name in its folder, in place of a file of that name.

    Raises
    ------
    OSError
        If that is not possible; on Windows that is so while another program has the file open.
    """
    try:
        _patiently(os.replace, source, target)
    except PermissionError:
        if not WINDOWS:
            raise
        reason = "another program has it open, or it is read-only"
        raise PermissionError(errno.EACCES, reason, source, None, target) from None


def _patiently(act: Callable[..., None], *paths: AnyPath) -> None:
    """Do something with files; on Windows again and again while somebody has one of them open."""
    for _ in range(TRIES - 1 if WINDOWS else 0):
        try:
            return act(*paths)
        except PermissionError:
            time.sleep(PAUSE)
    return act(*paths)


def _hand_on_permissions(before: str, partial: str) -> None:
    if not WINDOWS:  # there a file that is read-only can be neither moved nor removed
        # There may be no file yet, or a file system without permissions.
        with contextlib.suppress(OSError):
            os.chmod(partial, stat.S_IMODE(os.stat(before).st_mode) & 0o777)


def _flush(file: IO[Any]) -> None:
    """Write what a file holds to disk."""
    file.flush()
    # On macOS fsync does not reach the disk, and not every file system knows what does.
    if hasattr(fcntl, "F_FULLFSYNC"):
        with contextlib.suppress(OSError):
            fcntl.fcntl(file.fileno(), fcntl.F_FULLFSYNC)
            return
    os.fsync(file.fileno())


def _flush_folder(folder: str) -> None:
    """Write the entries of a folder to disk, so that a new name in it survives a power cut."""
    if hasattr(os, "O_DIRECTORY"):  # on Windows a folder cannot be opened
        # The file is there; some file systems flush no folder, and some folders cannot be listed.
        with contextlib.suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
