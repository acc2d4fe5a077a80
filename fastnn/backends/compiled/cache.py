"""The compiled functions on disk: Numba's cache, safe to share, and never in the way.

Numba keeps an index and numbered files for each function, and notices changes in the file of the
outermost function only. Processes that fill such a cache at once can leave an index that leads to
the code of another, and damaged code is run. Here an entry is one file: its name says all that it
depends on, it appears complete or not at all, and it is checked when it is read. Whatever goes
wrong costs a compilation, and the first time a warning.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import tempfile
import uuid
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import llvmlite
import numba
from numba.core.caching import FunctionCache
from numba.core.serialize import dumps

from fastnn.backends.compiled.vector_ir import MACHINE

HERE = Path(__file__).parent
DIGEST_SIZE = hashlib.sha256().digest_size

trouble: str | None = None  # what was warned of


def _fingerprint() -> str:
    names = ("activations.py", "dropout.py", "losses.py", "optimizers.py")
    codes = [HERE.parents[1] / name for name in names]
    digest = hashlib.sha256(repr((MACHINE, numba.__version__, llvmlite.__version__)).encode())
    for path in [*sorted(HERE.glob("*.py")), *codes]:
        digest.update(path.read_bytes())
    return digest.hexdigest()


FINGERPRINT = _fingerprint()


class _Entries:
    """The files of one function, in place of Numba's index and numbered files.

    Parameters
    ----------
    folder : Path
    name : str
        What the names of the files begin with.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.name = name

    def load(self, key: object) -> Any:
        """Return what is kept under a key, or None."""
        path = self._path(key)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        digest, data = content[:DIGEST_SIZE], content[DIGEST_SIZE:]
        if hashlib.sha256(data).digest() != digest:
            raise ValueError(f"{path.name} is damaged")
        return pickle.loads(data)

    def save(self, key: object, value: object) -> None:
        """Keep a value under a key."""
        path = self._path(key)
        data = dumps(value)
        beside = path.with_name(f"{path.name}.{uuid.uuid4().hex[:16]}.tmp")
        try:
            with beside.open("xb") as file:
                file.write(hashlib.sha256(data).digest() + data)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)

    def _path(self, key: object) -> Path:
        digest = hashlib.sha256(repr((key, FINGERPRINT)).encode()).hexdigest()
        return self.folder / f"{self.name}.{digest[:32]}.nbc"


class _Cache(FunctionCache):  # type: ignore[misc]
    """Numba's cache with our entries; what cannot be read or written is compiled."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._cache_file = _Entries(Path(self.cache_path), self._impl.filename_base)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the compiled function, or None."""
        try:
            return super().load_overload(sig, target_context)
        except Exception as error:  # what a damaged entry raises is not known
            _warn(self.cache_path, f"{_reason(error)}; it is compiled anew")
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep a compiled function, if there is room."""
        try:
            super().save_overload(sig, data)
        except OSError as error:
            _warn(self.cache_path, f"{_reason(error)}; what is not kept is compiled every time")


def attach(dispatcher: Any, function: Callable[..., Any]) -> None:
    """Let a dispatcher keep the compiled function on disk, if there is a folder for it."""
    asked = numba.config.CACHE_DIR
    problem = unwritable(asked) if asked else None
    try:
        dispatcher._cache = _Cache(function)
    except (OSError, RuntimeError) as error:  # Numba found no folder
        folder = asked or HERE / "__pycache__"
        problem = problem or unwritable(folder) or _reason(error)
        _warn(folder, f"{problem}; functions are compiled in every process")
    else:
        if problem:
            _warn(asked, f"{problem}; {dispatcher._cache.cache_path} is used")


def unwritable(folder: str | os.PathLike[str]) -> str | None:
    """Return why nothing can be written to a folder, which is made if need be; None if it can."""
    try:
        os.makedirs(folder, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        return _reason(error)
    return None


class State(NamedTuple):
    """What a folder of compiled functions holds."""

    files: int
    size: int  # bytes
    problem: str | None  # why nothing can be written to it


def state(folder: str | os.PathLike[str]) -> State:
    """Return what a folder of compiled functions holds."""
    problem = unwritable(folder)
    sizes = []
    for path in Path(folder).glob("*.nbc"):
        try:
            sizes.append(path.stat().st_size)
        except OSError:  # another process was faster
            continue
    return State(len(sizes), sum(sizes), problem)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _warn(folder: object, reason: str) -> None:
    """Say once in a process that the cache is not what it should be."""
    global trouble
    if trouble is None:
        trouble = f"{folder}: {reason}"
        warnings.warn(f"the cache of compiled functions, {trouble}", RuntimeWarning, stacklevel=2)
