"""The compiled functions on disk: Numba's cache, safe to share, and never in the way.

Numba keeps an index and numbered files for each function, and notices changes in the file of the
outermost function only. Processes that fill such a cache at once can leave an index that leads to
the code of another, and damaged code is run. Here an entry is one file: its name says all that it
depends on, it appears complete or not at all, and it is checked when it is read. Whatever goes
wrong costs a compilation, and the first time a warning.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import llvmlite
import numba
from numba.core.caching import CompileResultCacheImpl, FunctionCache, _CacheLocator
from numba.core.runtime import rtsys
from numba.core.serialize import dumps
from numba.misc.appdirs import AppDirs

from fastnn.backends.compiled.machinery.machine import MACHINE
from fastnn.writing import beside, move, remove

COMPILED = Path(__file__).parents[1]
DIGEST_SIZE = hashlib.sha256().digest_size

trouble: str | None = None  # what was warned of


def _fingerprint() -> str:
    names = ("activations.py", "backends/dropout.py", "losses.py", "optimizers.py")
    codes = [COMPILED.parents[1] / name for name in names]
    digest = hashlib.sha256(repr((MACHINE, numba.__version__, llvmlite.__version__)).encode())
    for path in [*sorted(COMPILED.rglob("*.py")), *codes]:
        digest.update(path.read_bytes())
    return digest.hexdigest()


FINGERPRINT = _fingerprint()


def folders() -> list[Path]:
    """Return where functions may be: the folder asked for, if any, beside the sources, the user's.

    An entry is read from the first that has it, up to the first that can be written to; there new
    ones are written. Behind that, only folders that cannot be written to are read: those of an
    image or an installation for all. In a clone, an empty folder that is asked for is a cold start.
    """
    asked = numba.config.CACHE_DIR
    found = [Path(asked, "fastnn")] if asked else []
    found.append(COMPILED / "__pycache__")
    user = Path(AppDirs(appname="numba", appauthor=False).user_cache_dir, "fastnn")
    if user.is_absolute():  # or the user has no home
        found.append(user)
    return found


class _Entries:
    """The files of one function, in place of Numba's index and numbered files.

    Parameters
    ----------
    name : str
        What the names of the files begin with.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.folders = folders()

    def load(self, key: object) -> Any:
        """Return what is kept under a key, or None."""
        place = None  # of new entries
        for folder in self.folders:
            try:
                content = (folder / self._file(key)).read_bytes()
            except (FileNotFoundError, NotADirectoryError, PermissionError):
                place = place or (None if unwritable(folder) else folder)
                continue
            if place and not unwritable(folder):
                continue
            digest, data = content[:DIGEST_SIZE], content[DIGEST_SIZE:]
            if hashlib.sha256(data).digest() != digest:
                raise ValueError(f"{folder / self._file(key)} is damaged")
            return pickle.loads(data)
        return None

    def save(self, key: object, value: object) -> None:
        """Keep a value under a key."""
        first = self.folders[0]
        problem = unwritable(first)
        folder = next((folder for folder in self.folders if not unwritable(folder)), None)
        if folder is None:
            _warn(
                f"{first}: {problem}; functions are compiled in every process, unless the variable "
                "NUMBA_CACHE_DIR names a folder that can be written to"
            )
            return
        if problem and numba.config.CACHE_DIR:
            _warn(f"{first}: {problem}; {folder} is used")
        path, data = folder / self._file(key), dumps(value)
        partial = beside(path)
        try:
            with open(partial, "xb") as file:
                file.write(hashlib.sha256(data).digest() + data)
            move(partial, path)
        except OSError as error:
            _warn(f"{folder}: {_reason(error)}; what is not kept is compiled every time")
        finally:
            remove(partial)

    def _file(self, key: object) -> str:
        digest = hashlib.sha256(repr((key, FINGERPRINT)).encode()).hexdigest()
        return f"{self.name}.{digest[:32]}.nbc"


class _Locator(_CacheLocator):  # type: ignore[misc]
    """What Numba wants to know of the folder, which is not its own choice here."""

    def __init__(self, line: int) -> None:
        self.line = line

    @classmethod
    def from_function(cls, function: Callable[..., Any], file: str) -> _Locator:
        return cls(function.__code__.co_firstlineno)

    def ensure_cache_path(self) -> None:
        """Do nothing: entries find, or make, their folder."""

    def get_cache_path(self) -> str:
        return str(folders()[0])

    def get_source_stamp(self) -> str:
        return FINGERPRINT

    def get_disambiguator(self) -> str:
        return str(self.line)


class _Implementation(CompileResultCacheImpl):  # type: ignore[misc]
    _locator_classes = (_Locator,)


class _Cache(FunctionCache):  # type: ignore[misc]
    """Numba's cache with our entries; what cannot be read or written is compiled."""

    _impl_class = _Implementation

    def __init__(self, function: Callable[..., Any], variant: str) -> None:
        super().__init__(function)
        self._cache_file = _Entries(self._impl.filename_base + variant)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the compiled function, or None.

        Numba would prepare for compiling first, which takes longer than to load all functions, as
        it imports SciPy. It does so when it compiles, too.
        """
        try:
            rtsys.initialize(target_context)  # what compiled functions call
            return self._load_overload(sig, target_context)
        except Exception as error:  # what a damaged entry raises is not known
            _warn(f"{_reason(error)}; it is compiled anew")
            return None


def attach(dispatcher: Any, function: Callable[..., Any], variant: str) -> None:
    """Let a dispatcher keep the compiled function on disk, in one of several variants."""
    dispatcher._cache = _Cache(function, variant)


def unwritable(folder: str | os.PathLike[str]) -> str | None:
    """Return why nothing can be written to a folder, which is made if need be; None if it can."""
    try:
        os.makedirs(folder, exist_ok=True)
        # The module tempfile takes a refusal on Windows for a name in use, and tries on and on.
        probe = beside(os.path.join(folder, "probe"))
        open(probe, "xb").close()
    except OSError as error:
        return _reason(error)
    remove(probe)
    return None


class State(NamedTuple):
    """What a folder of compiled functions holds."""

    folder: Path
    files: int
    size: int  # bytes
    problem: str | None  # why nothing can be written to it


def states() -> list[State]:
    """Return what the folders hold that are read."""
    found: list[State] = []
    for folder in folders():
        sizes = []
        for path in folder.glob("*.nbc"):
            with contextlib.suppress(OSError):  # another process was faster
                sizes.append(path.stat().st_size)
        behind = bool(found) and not all(state.problem for state in found)
        if not behind or (sizes and unwritable(folder)):
            found.append(State(folder, len(sizes), sum(sizes), unwritable(folder)))
    return found


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _warn(reason: str) -> None:
    """Say once in a process that the cache is not what it should be."""
    global trouble
    if trouble is None:
        trouble = reason
        warnings.warn(f"the cache of compiled functions, {reason}", RuntimeWarning, stacklevel=2)
