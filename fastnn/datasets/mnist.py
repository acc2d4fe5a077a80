"""MNIST: from a folder, or downloaded once to the user's cache."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from io import BufferedIOBase
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from fastnn.datasets.idx import CHUNK, open_content, read_idx
from fastnn.writing import replacing_bytes

CHECKSUMS = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
"""SHA-256 of the uncompressed content of each file, which downloads must match."""

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)

_Bytes: TypeAlias = npt.NDArray[np.uint8]
_CHECKOUT = Path(__file__).resolve().parents[2] / "data" / "mnist"
_TIMEOUT_SECONDS = 30.0
_MAX_BYTES = 64 << 20  # The largest file holds 47 MB uncompressed.


class Mnist(NamedTuple):
    """The arrays of MNIST.

    Attributes
    ----------
    train_images, test_images : ndarray of uint8, shape (n, 784)
    train_labels, test_labels : ndarray of uint8, shape (n,)
        From 0 to 9.
    """

    train_images: _Bytes
    train_labels: _Bytes
    test_images: _Bytes
    test_labels: _Bytes


def load_mnist(
    folder: str | os.PathLike[str] | None = None,
    *,
    download: bool = True,
    progress: bool | None = None,
) -> Mnist:
    """Load the MNIST database of handwritten digits.

    Without ``folder``, the four files are taken from the first of these folders that has them: the
    one that the environment variable ``FASTNN_DATA`` names, or ``mnist`` in it; ``data/mnist`` of a
    source checkout; the user's cache folder. If no folder has them, they are downloaded to the
    cache folder.

    Parameters
    ----------
    folder : str or os.PathLike, optional
        A folder with the four IDX files, each with or without ``.gz``, of MNIST or of a data set in
        the same form, such as Fashion-MNIST.
    download : bool
        Download the files if no folder has them. Ignored with ``folder``.
    progress : bool, optional
        Show a progress bar of a download. Default: only if standard error is a terminal.

    Returns
    -------
    Mnist
        Images uint8 of shape (n, 784), one byte a pixel; labels uint8 of shape (n,).

    Raises
    ------
    FileNotFoundError
        If ``folder`` lacks a file, or if no folder has the files and they cannot be downloaded.
    ValueError
        If a file is not valid IDX, or has another shape, type or labels than MNIST.
    """
    if folder is not None:
        files = locate(Path(folder))
        if missing := [name for name in CHECKSUMS if name not in files]:
            raise FileNotFoundError(
                f"'{folder}' lacks {', '.join(missing)}; need the four files of MNIST, with or "
                "without .gz"
            )
        return _load(files)
    searched = []
    for candidate in search_folders():
        if len(files := locate(candidate)) == len(CHECKSUMS):
            return _load(files)
        searched.append(candidate)
    reason = "downloads are off"
    if download:
        try:
            return _load(_download(searched[-1], progress))
        except OSError as error:
            reason = str(error)
    raise FileNotFoundError(
        f"no MNIST files in {', '.join(repr(str(path)) for path in searched)}, and {reason}; put "
        f"{', '.join(CHECKSUMS)} (with or without .gz) in a folder and pass it, or set FASTNN_DATA"
    )


def search_folders() -> Iterator[Path]:
    """Yield the folders in the order of search, the cache last."""
    if value := os.environ.get("FASTNN_DATA"):
        yield Path(value).expanduser()
        yield Path(value).expanduser() / "mnist"
    yield _CHECKOUT
    yield _cache_folder()


def _cache_folder() -> Path:
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "fastnn" / "mnist"


def locate(folder: Path) -> dict[str, Path]:
    """Return the path of each MNIST file in a folder; a plain file comes before one with .gz."""
    candidates = ((name, folder / f"{name}{end}") for name in CHECKSUMS for end in (".gz", ""))
    return {name: path for name, path in candidates if path.is_file()}


def _load(files: dict[str, Path]) -> Mnist:
    paths = [files[name] for name in CHECKSUMS]
    return Mnist(*_load_pair(*paths[:2]), *_load_pair(*paths[2:]))


def _load_pair(images_path: Path, labels_path: Path) -> tuple[_Bytes, _Bytes]:
    images, labels = read_idx(images_path), read_idx(labels_path)
    for path, array, pixels in ((images_path, images, (28, 28)), (labels_path, labels, ())):
        need = (len(images), *pixels)
        if array.dtype != np.uint8 or array.shape != need:
            raise ValueError(
                f"'{path}' holds {array.dtype} of shape {array.shape}; need uint8 of shape {need}"
            )
    if np.any(labels > 9):
        raise ValueError(f"'{labels_path}' holds the label {labels.max()}; need only 0 to 9")
    return images.reshape(-1, 28 * 28), labels


def _download(folder: Path, progress: bool | None) -> dict[str, Path]:
    """Download the files that a folder lacks, each from the first mirror that has it."""
    from http.client import HTTPException  # only here, as it takes a while to import

    folder.mkdir(parents=True, exist_ok=True)
    present = locate(folder)
    for name in [name for name in CHECKSUMS if name not in present]:
        failures = []
        for mirror in MIRRORS:
            url = f"{mirror}{name}.gz"
            try:
                _fetch(url, folder / f"{name}.gz", CHECKSUMS[name], progress)
                break
            except (OSError, ValueError, HTTPException) as error:
                failures.append(f"{url}: {error}")
        else:
            raise OSError(f"cannot download ({'; '.join(failures)})")
    return locate(folder)


def _fetch(url: str, target: Path, checksum: str, progress: bool | None) -> None:
    from urllib.request import urlopen

    from tqdm import tqdm

    hidden = None if progress is None else not progress  # None: hidden unless on a terminal
    with replacing_bytes(target) as file:
        with (
            urlopen(url, timeout=_TIMEOUT_SECONDS) as response,
            tqdm(desc=target.name, unit="B", unit_scale=True, disable=hidden) as bar,
        ):
            bar.total = int(response.headers.get("Content-Length", 0)) or None
            for chunk in _chunks(response):
                file.write(chunk)
                bar.update(len(chunk))
        file.flush()
        with open_content(file.name) as stream:
            digest = hashlib.sha256()
            for chunk in _chunks(stream):
                digest.update(chunk)
        if digest.hexdigest() != checksum:
            raise ValueError(f"the content has SHA-256 {digest.hexdigest()}; need {checksum}")


def _chunks(stream: BufferedIOBase) -> Iterator[bytes]:
    """Yield the content of a stream; refuse more bytes than any MNIST file has."""
    length = 0
    while chunk := stream.read(CHUNK):
        length += len(chunk)
        if length > _MAX_BYTES:
            raise ValueError(f"more than {_MAX_BYTES} bytes; no MNIST file is that long")
        yield chunk
