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
from fastnn.export.rounding import rounded
from fastnn.model.model import Model
from fastnn.writing import check_destination, replacing_bytes

__all__ = ["format_of", "rounded", "write"]


class Format(NamedTuple):
    """A format: the ending of its files, its module, and which options of `write` it takes."""

    ending: str
    module: str
    options: tuple[str, ...] = ()


FORMATS = {
    "onnx": Format(".onnx", "fastnn.export.onnx"),
    "c": Format(".h", "fastnn.export.c", ("prefix", "int8")),
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
    check_destination(path)
    given = {
        name: value for name, value in options.items() if value is not None and value is not False
    }
    chosen = FORMATS[format_of(path, format, **given)]
    name = os.path.splitext(os.path.basename(os.fsdecode(path)))[0]
    network = described(model, rounding="int8" not in given)  # which rounds in its own way
    content = importlib.import_module(chosen.module).content(network, name, **given)
    with replacing_bytes(path) as file:
        file.write(content)


def format_of(
    path: str | os.PathLike[str], format: str | None = None, name: str = "path", **options: Any
) -> str:
    """Return the format of a file, which its ending says if it is not named.

    Parameters
    ----------
    path : str or path
    format : str, optional
    name : str
        What errors call the path.
    **options
        Those that the format must take.

    Raises
    ------
    TypeError, ValueError
        If it is not known, or does not take an option; the message names those that do.
    """
    text = os.fsdecode(path)
    if format is None:
        ending = os.path.splitext(text)[1].lower()
        found = [known for known, each in FORMATS.items() if each.ending == ending]
        if not found:
            endings = ", ".join(each.ending for each in FORMATS.values())
            hint = "; Network.save writes .safetensors" if ending == ".safetensors" else ""
            raise ValueError(
                f"{name} must end with one of {endings}, or name the format, one of "
                f"{', '.join(FORMATS)}; got {text!r}{hint}"
            )
        format = found[0]
    format = check.any_case("format", format, FORMATS)
    for option, value in options.items():
        if option not in FORMATS[format].options:
            able = " or ".join(each.ending for each in FORMATS.values() if option in each.options)
            if not able:
                raise TypeError(f"no format has the option {option!r}")
            raise ValueError(f"{option} is for {able} files; got {option}={value!r} for {text!r}")
    return format
