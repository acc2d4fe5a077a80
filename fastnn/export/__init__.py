"""Networks for other programs: one module a format, each of which writes a `Description` down.

A further format is a module with a function ``content(network, name, ...)``, which returns the
bytes of the file, and an entry of `FORMATS`.
"""

from __future__ import annotations

import importlib
import os
from typing import Any, NamedTuple

from fastnn.checks import values as check
from fastnn.export.description import described
from fastnn.model.model import Model
from fastnn.writing import check_destination, replacing_bytes


class Format(NamedTuple):
    """A format: the ending of its files, its module, and which options of `write` it takes."""

    ending: str
    module: str
    options: tuple[str, ...] = ()


FORMATS = {
    "python": Format(".py", "fastnn.export.python"),
    "json": Format(".json", "fastnn.export.json"),
}


def write(
    path: str | os.PathLike[str], model: Model, format: str | None = None, **options: Any
) -> None:
    """Write a model for other programs; see `fastnn.Network.export`.

    Parameters
    ----------
    path : str or path
    model : Model
    format : str, optional
    **options
        Those of the format; None and False stand for those that are not given.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described, or the format cannot say what the network computes.
    ImportError
        If the format needs a package that is not installed.
    OSError
        If the file cannot be written; an older file of that name stays as it is.
    """
    target = check_destination(path)
    chosen = FORMATS[
        _format(target) if format is None else check.any_case("format", format, FORMATS)
    ]
    given = {name: value for name, value in options.items() if value not in (None, False)}
    for name in given:
        if name not in chosen.options:
            able = " or ".join(other.ending for other in FORMATS.values() if name in other.options)
            raise ValueError(f"{name} is for {able} files; got {name}={given[name]!r} for {path!r}")
    name = os.path.splitext(os.path.basename(target))[0]
    content = importlib.import_module(chosen.module).content(described(model), name, **given)
    with replacing_bytes(path) as file:
        file.write(content)


def _format(path: str) -> str:
    """Return the format that the ending of a path stands for."""
    ending = os.path.splitext(path)[1].lower()
    for name, known in FORMATS.items():
        if known.ending == ending:
            return name
    endings = ", ".join(known.ending for known in FORMATS.values())
    hint = "; net.save writes .safetensors" if ending == ".safetensors" else ""
    raise ValueError(f"path must end with one of {endings}, or give format; got {path!r}{hint}")
