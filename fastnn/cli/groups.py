"""Groups of options: how the values of an option are written, checked and shown in the help."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Collection, Sequence
from typing import Any, NoReturn

from fastnn.averaging import SWA
from fastnn.checks.keywords import ELSEWHERE
from fastnn.checks.values import any_case, meant
from fastnn.searching import Range

Keywords = dict[str, Any]
# Arguments whose options have other names.
OPTION_OF = {"frozen": "freeze", "sizes": "hidden"}


class Parser(argparse.ArgumentParser):
    """A parser whose errors are a single line."""

    def error(self, message: str) -> NoReturn:
        """End the process with exit code 2."""
        start, _, words = message.partition("unrecognized arguments: ")
        if words and not start:
            message += self._hint(words.split())
        self.exit(2, f"{self.prog}: error: {message}\n")

    def forget_defaults(self) -> None:
        """Leave out of the result what is not typed."""
        for action in self._actions:
            action.default = argparse.SUPPRESS

    def _hint(self, words: Sequence[str]) -> str:
        """Return what may have been meant by words that are no options."""
        options = [each[2:] for each in self._option_string_actions if each.startswith("--")]
        for word in words:
            if word.startswith("-"):
                name = word.lstrip("-").partition("=")[0].replace("-", "_").lower()
                other = ELSEWHERE.get(name, name)
                option = OPTION_OF.get(other, other).replace("_", "-")
                if option in options:
                    return f"; did you mean --{option}?"
                if hint := meant(name.replace("_", "-"), options):
                    return hint.replace("'", "--", 1).replace("'", "")
            elif os.path.exists(word) and "data" in options:
                return "; --data names the data"
        return "; --help lists all options"


class Group:
    """A group of options with a heading in the help.

    Parameters
    ----------
    parser : Parser
    title : str
    text : str, optional
    several : bool
        Whether `setting` and `of_layers` take several values to try.
    """

    def __init__(self, parser: Parser, title: str, text: str = "", several: bool = False) -> None:
        self.add = parser.add_argument_group(title, text or None).add_argument
        self.several = several

    def one(self, option: str, text: str, kind: Callable[[str], Any] = str, **how: Any) -> None:
        """Add an option with a single value."""
        self.add(option, type=kind, help=_with_default(text, how), **how)

    def flag(self, option: str, text: str, **how: Any) -> None:
        """Add an option without a value; one that begins with "--no-" stands for False."""
        action = "store_false" if option.startswith("--no-") else "store_true"
        self.add(option, action=action, help=text, **how)

    def setting(
        self,
        option: str,
        text: str,
        kind: Callable[[str], Any] = float,
        choices: Collection[str] | None = None,
        note: str = "",
        **how: Any,
    ) -> None:
        """Add an option with a value, or with several to try; a note is put in brackets."""
        how = {"metavar": "NUMBER", **how}
        if choices is not None:
            kind = str
            how["metavar"] = "NAME" if self.several else f"{{{','.join(choices)}}}"
        if self.several and choices is not None:
            text += f": {', '.join(choices)}"
        text = _with_default(f"{text} ({note})" if note else text, how)
        if self.several:
            if "default" in how:
                how["default"] = [how["default"]]
            kind = _checked(without_comma(kind, option, "values"), choices)
            kind = kind if choices else _or_range(kind)
            self.add(option, type=kind, nargs="+", help=text, **how)
        else:
            self.add(option, type=_checked(kind, choices), help=text, **how)

    def of_layers(
        self,
        option: str,
        text: str,
        kind: Callable[[str], Any],
        choices: Collection[str] | None = None,
        **how: Any,
    ) -> None:
        """Add an option with a value for each layer, or with several of such lists to try."""
        default = how.pop("default", None)
        if self.several:
            if default is not None:
                how["default"] = [(default,)]
            kind = _list_of(_checked(kind, choices))
            self.add(option, type=kind, nargs="+", help=text, **how)
            return
        if default is not None:
            how["default"] = [default]
        nargs = how.pop("nargs", "+")
        kind = _checked(without_comma(kind, option), choices)
        self.add(option, type=kind, nargs=nargs, help=text, **how)


def add_columns(group: Group) -> None:
    """Add the options that describe a CSV file, and those for pictures."""
    text = (
        "column of the labels in a CSV file: its name, or its position from 0 (-1: the last) "
        "(default: the column called 'label'); of a sparse .npz the .npy file of its labels"
    )
    group.one("--label", text, metavar="COLUMN")
    text = (
        "columns of a CSV file to leave out, by name or position, with spaces between them; they "
        "may hold text"
    )
    group.add("--drop", nargs="+", metavar="COLUMN", help=text)
    text = "the first line of a CSV file holds the names of the columns (default: detected)"
    group.flag("--header", text)
    group.flag("--no-header", "the first line of a CSV file is a row", dest="header")
    text = "decimal mark of a CSV file: . or , (default: detected, column by column)"
    group.one("--decimal", text, metavar="MARK")
    text = "encoding of a CSV file, such as utf-8 or cp1252 (default: detected)"
    group.one("--encoding", text, metavar="NAME")
    _add_pictures(group)


def _add_pictures(group: Group) -> None:
    text = "scale pictures to so many pixels (default: their own size, which must be the same)"
    group.add("--size", nargs=2, type=count, metavar=("HEIGHT", "WIDTH"), help=text)
    group.flag("--grey", "make pictures grey (default: what they are, which must be the same)")
    group.add("--colour", action="store_false", dest="grey", help="make pictures coloured")
    text = (
        "bring pictures of one digit each to the form of MNIST: light on dark, 20 x 20 pixels at "
        "the centre of 28 x 28"
    )
    group.flag("--digits", text)


def add_no_digits(group: Group) -> None:
    """Add the option that leaves pictures as they are, for commands that read a saved network."""
    text = (
        "leave pictures as they are (default for all networks but those for 28 x 28 pixels and the "
        "digits 0 to 9, for which --digits is)"
    )
    group.flag("--no-digits", text, dest="digits")


def _with_default(text: str, how: Keywords) -> str:
    return f"{text} (default: {how['default']})" if "default" in how else text


def _named_after(read: Callable[[str], Any], kind: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return a reader with the name that argparse uses in errors, such as int."""
    read.__name__ = kind.__name__
    return read


def _checked(kind: Callable[[str], Any], choices: Collection[str] | None) -> Callable[[str], Any]:
    """Return a reader of a value that must be one of the choices, in any case, if there are any."""

    def read(text: str) -> Any:
        value = kind(text)
        if choices is None:
            return value
        try:
            return any_case("the value", value, choices)
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"{value!r} is none of {', '.join(choices)}{meant(value, choices)}"
            ) from None

    return _named_after(read, kind)


def _or_range(kind: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return a reader of a number, or of a range of numbers to draw from."""

    def read(text: str) -> Any:
        how, colon, rest = text.partition(":")
        if not colon:
            return kind(text)
        low, _, high = rest.partition(":")
        if how not in ("log", "uniform") or not high:
            raise argparse.ArgumentTypeError(
                f"got {text!r}; a range is log:LOW:HIGH or uniform:LOW:HIGH, as in log:0.001:0.1"
            )
        limits = kind(low), kind(high)
        if not all(isinstance(limit, int | float) for limit in limits):
            raise argparse.ArgumentTypeError(f"got {text!r}; need values, as there are no ranges")
        if not limits[0] < limits[1] < math.inf or (how == "log" and limits[0] <= 0):
            above = " above 0" if how == "log" else ""
            raise argparse.ArgumentTypeError(f"got {text!r}; need LOW{above} and a higher HIGH")
        return Range(*limits, log=how == "log", whole=isinstance(limits[0], int))

    return _named_after(read, kind)


def _list_of(kind: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return a reader of a list with commas."""
    return _named_after(lambda text: tuple(kind(part) for part in text.split(",") if part), kind)


def count(text: str) -> int:
    """Read a whole number of at least 1."""
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
    if number < 1:
        raise argparse.ArgumentTypeError(f"need at least 1, got {number}")
    return number


def rate(text: str) -> float:
    """Read a share from 0 to less than 1."""
    try:
        number = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0 <= number < 1:
        hint = f"; {number:g}% are {number / 100:g}" if 1 < number < 100 else ""
        raise argparse.ArgumentTypeError(f"need a share below 1, got {text}{hint}")
    return number


def share(text: str) -> float:
    """Read a share above 0 and below 1."""
    number = rate(text)
    if not number:
        raise argparse.ArgumentTypeError("need a share above 0, got 0")
    return number


def average(text: str) -> float | SWA:
    """Read the decay of a moving average, or how many last epochs an average is of."""
    if text.isdecimal() and int(text):
        return SWA(int(text))
    try:
        return share(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f"need a decay above 0 and below 1, or a whole number of epochs; got {text!r}"
        ) from None


def without_comma(
    kind: Callable[[str], Any], option: str, what: str = "layers"
) -> Callable[[str], Any]:
    """Return a reader of one of the values of an option, which are separated by spaces."""

    def read(text: str) -> Any:
        if "," in text:
            for part in text.split(","):
                kind(part)
            raise argparse.ArgumentTypeError(
                f"got {text!r}; need spaces between {what}: {option} {' '.join(text.split(','))}"
            )
        return kind(text)

    return _named_after(read, kind)
