"""The command line: ``python -m fastnn.draw``, also installed as ``fastnn-draw``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from fastnn.cli import paths, running
from fastnn.cli.groups import Group, Parser
from fastnn.cli.printing import warnings_as_lines
from fastnn.cli.running import Given
from fastnn.committee import Committee
from fastnn.drawing import page
from fastnn.loading import load
from fastnn.model import storage
from fastnn.tabular.predictor import found_in

PROGRAM = "fastnn-draw"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write a page on which a saved network reads what is drawn.

    Parameters
    ----------
    arguments : sequence of str, optional
        Default: those of the command line.

    Returns
    -------
    int
        The exit code, 0. Bad input exits with 2 and a line on standard error.

    Raises
    ------
    SystemExit
        On bad input.
    """
    return running.run(_parser(), _draw, arguments)


def _parser() -> Parser:
    parser = Parser(
        prog=PROGRAM,
        usage="%(prog)s NETWORK [option ...]",
        description="Write a page of HTML on which a saved network reads the digits that you draw. "
        "The page needs no other file and no network connection.",
        argument_default=argparse.SUPPRESS,
    )
    text = "file of fastnn-train --save, of a network for 28 x 28 pixels and classes"
    parser.add_argument("network", type=Path, metavar="NETWORK", help=text)
    group = Group(parser, "page")
    group.one("--output", "file to write", Path, metavar="HTML", default=Path("draw.html"))
    group.one("--title", "heading of the page (default: Draw a digit)", metavar="TEXT")
    return parser


@warnings_as_lines(PROGRAM)
def _draw(given: Given) -> int:
    paths.check(given, ("network",), ("output",))
    if found_in(given["network"], *storage.read(given["network"])) is not None:
        raise ValueError("the network is one for tables; need one for 28 x 28 pixels")
    net = load(given["network"], backend="numpy")
    if isinstance(net, Committee):
        raise ValueError(
            f"{str(given['network'])!r} holds a committee, and the page takes one network; need a "
            "member, as fastnn.load(path)[0].save(file) writes it"
        )
    page.write(given["output"], net, title=given.get("title"))
    size = given["output"].stat().st_size
    print(f"{net!r}\n{given['output']}, {size / 1e3:,.0f} kB: open it in a browser, and draw")
    return 0
