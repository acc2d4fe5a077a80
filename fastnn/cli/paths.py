"""The files that a command line reads and writes: nothing is written over what is needed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from fastnn.cli.groups import Keywords
from fastnn.datasets.arrays import labels_beside
from fastnn.datasets.images import pictures_in
from fastnn.datasets.mnist import CHECKSUMS, search_folders
from fastnn.datasets.streams import MARKS
from fastnn.model.storage import check_ending
from fastnn.writing import check_destination


def check(given: Keywords, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> None:
    """Refuse, before any work is done, files that are missing or would be overwritten.

    Parameters
    ----------
    given : dict
        What a command line got.
    inputs, outputs : tuple of str
        Names of what is read and written; without "data" that is MNIST.
    """
    read: list[tuple[str, Path]] = []
    for name in inputs:
        if name in given:
            for path in given[name] if isinstance(given[name], list) else [given[name]]:
                if not path.exists():
                    hint = "; a pattern is for a stream, which only fastnn-train reads"
                    raise FileNotFoundError(
                        f"{_option(name)}: there is no file {str(path)!r}"
                        + hint * any(mark in str(path) for mark in MARKS)
                    )
                read += [(_option(name), each) for each in _files(path)]
        elif name == "data":
            found = (path for folder in search_folders() for path in _of_mnist(folder))
            read += [("the files of MNIST", path) for path in found]
    if os.path.isfile(label := given.get("label", "")):  # of an IDX file
        read.append(("--label", Path(label)))
    written: list[tuple[str, Path]] = []
    for name in outputs:
        if name in given:
            _check_output(name, given)
            pictures = _pictures(given[name]) if name == "plot" else [given[name]]
            written += [(_option(name), path) for path in pictures]
    for i, (option, path) in enumerate(written):
        for other, source in read:
            if _same(path, source):
                raise ValueError(
                    f"{option} would overwrite {str(source)!r}, which {other} reads; need another "
                    f"name for {option}"
                )
        for other, target in written[:i]:
            if _same(path, target):
                raise ValueError(
                    f"{other} and {option} are the same file, {str(path)!r}; need two names"
                )
    if "checkpoint" in given and "resume" not in given and given["checkpoint"].exists():
        raise ValueError(
            f"--checkpoint: {str(given['checkpoint'])!r} exists; add --resume to continue from it, "
            "or remove it"
        )


def _option(name: str) -> str:
    return name.upper() if name in ("network", "out") else f"--{name}"


def _check_output(name: str, given: Keywords) -> None:
    path = given[name]
    if name == "plot":
        if path.exists() and not path.is_dir():
            raise NotADirectoryError(f"--plot: {str(path)!r} is a file; need a folder")
        return
    check_destination(path, _option(name))
    if name in ("save", "checkpoint"):
        check_ending(path, _option(name))


def _files(path: Path) -> Iterator[Path]:
    """Yield the files that are read where a path is named."""
    if path.is_dir():
        yield from _of_mnist(path)
        yield from pictures_in(path)
    else:
        yield path
        beside = labels_beside(path)
        if beside is not None:
            yield beside


def _of_mnist(folder: Path) -> Iterator[Path]:
    """Yield the files that may be read in a folder; a plain one comes before one with .gz."""
    return (folder / f"{name}{end}" for name in CHECKSUMS for end in ("", ".gz"))


def _pictures(folder: Path) -> list[Path]:
    from fastnn import report

    return [folder / f"{name}.png" for name in report.PICTURES]


def _same(one: Path, other: Path) -> bool:
    """Whether two paths name the same file, which need not exist."""
    if one.exists() and other.exists():
        return one.samefile(other)
    one, other = Path(os.path.realpath(one)), Path(os.path.realpath(other))
    if one.name != other.name:
        alike = one.name.lower() == other.name.lower()
        return alike and _same(one.parent, other.parent) and _ignores_case(one.parent)
    return one.parent == other.parent or _same(one.parent, other.parent)


def _ignores_case(folder: Path) -> bool:
    """Whether a file system takes names for the same that differ in upper and lower case."""
    twin = folder.with_name(folder.name.swapcase())
    return twin != folder and twin.exists() and twin.samefile(folder)
