"""Encoders: how a column of a table becomes inputs of a network, learnt from its cells.

Numbers are scaled by median and quartiles, then clipped smoothly, and categories are one-hot, as in
RealMLP-TD (Holzmueller et al., 2024, "Better by default: strong pre-tuned MLPs and boosted trees on
tabular data").
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from fastnn.activations import Array
from fastnn.checks import values as check
from fastnn.datasets.columns import is_number
from fastnn.datasets.spreadsheets import Column
from fastnn.tabular.tables import TEXT, text_of

CLIP = 3.0  # the limit of a clipped number
_FAR = 1e100  # beyond, the square of a scaled number would overflow
SHOWN = 3  # levels in a message
_WORDS = ({"true", "yes"}, {"false", "no"})  # what `read_columns` takes for truth values
TRUTHS = ("False", "True")


@dataclass(frozen=True)
class Scale:
    """Robust scaling and smooth clipping of numbers, to -3 .. 3.

    Attributes
    ----------
    center, width : float
        Median, and the distance of the quartiles; where that is 0, half of the range.
    """

    center: float
    width: float

    @classmethod
    def of(cls, values: Array) -> Scale | None:
        """Return the scale of finite numbers, or None if all are the same."""
        with np.errstate(over="ignore", invalid="ignore"):  # of which the width tells
            found = np.quantile(values, [0, 0.25, 0.5, 0.75, 1])
        low, first, center, third, high = found.tolist()
        width = third - first or high / 2 - low / 2
        return cls(center, width) if width and np.isfinite(width) else None

    def apply(self, values: Array) -> Array:
        """Return numbers scaled and clipped: ``s / sqrt(1 + (s / 3)^2)``."""
        with np.errstate(over="ignore"):
            scaled = np.clip((values - self.center) / self.width, -_FAR, _FAR)
        return scaled / np.sqrt(1 + (scaled / CLIP) ** 2)


@dataclass(frozen=True)
class Dropped:
    """A column that says nothing, and is left out.

    Attributes
    ----------
    name, why : str
    """

    kind: ClassVar[str] = "dropped"
    name: str
    why: str

    @property
    def names(self) -> list[str]:
        """Names of the inputs: none."""
        return []

    @property
    def done(self) -> str:
        """What is done with the column."""
        return f"left out: {self.why}"

    def apply(self, column: Column) -> tuple[Array, str]:
        """Return no inputs."""
        return np.empty((len(column.values), 0)), ""


@dataclass(frozen=True)
class Numbers:
    """A column of numbers, or of dates, which are numbers in several ways.

    Attributes
    ----------
    name : str
    parts : tuple of str
        "" for numbers; for dates some of "seconds", "year", "month", "weekday" and "hour".
    scales : tuple of Scale
        One for each part.
    gaps : bool
        Whether cells were missing: then there is a further input, 1 where one is, else 0.
    low, high : float
        The range, for dates in seconds.
    """

    kind: ClassVar[str] = "numbers"
    name: str
    parts: tuple[str, ...]
    scales: tuple[Scale, ...]
    gaps: bool
    low: float
    high: float

    @classmethod
    def of(cls, column: Column) -> Numbers | Dropped:
        """Learn the encoder of a column of numbers or dates, of which some are present."""
        present = column.values[~column.missing]
        values = parts_of(present) if column.kind == "date" else {"": present}
        scales = {part: scale for part, each in values.items() if (scale := Scale.of(each))}
        first = next(iter(values.values()))
        gaps = bool(column.missing.any())
        if not scales and not gaps:
            if first.min() < first.max():
                raise ValueError(
                    f"X, column {column.name!r}, cannot be scaled in float64: its numbers are "
                    f"{first.min():.3g} to {first.max():.3g}"
                )
            return Dropped(column.name, "constant")
        low, high = float(first.min()), float(first.max())
        return cls(column.name, tuple(scales), tuple(scales.values()), gaps, low, high)

    @property
    def is_date(self) -> bool:
        """Whether the column holds dates."""
        return self.parts != ("",) and bool(self.parts)

    @property
    def names(self) -> list[str]:
        """Names of the inputs."""
        named = [f"{self.name}.{part}" if part else self.name for part in self.parts]
        return named + [f"{self.name} is missing"] * self.gaps

    @property
    def done(self) -> str:
        """What is done with the column."""
        what = f"{', '.join(self.parts)}: scaled" if self.is_date else "scaled" * bool(self.parts)
        gaps = "the median, and an input that tells" if self.parts else "an input that tells"
        return "; ".join(filter(None, [what, f"missing: {gaps}" if self.gaps else ""]))

    @staticmethod
    def _unfit(column: Column) -> int:
        """Return the row of the first cell that is no number, or the first that is not missing."""
        for row in np.flatnonzero(~column.missing).tolist():
            if column.kind not in TEXT or not is_number(column.values[row]):
                return row
        return int((~column.missing).argmax())

    def apply(self, column: Column) -> tuple[Array, str]:
        """Return the inputs, (rows, inputs), and what is odd about the column, or ""."""
        gaps = column.missing
        dates = column.kind == "date"
        note = ""
        if column.kind in TEXT or (self.parts and dates != self.is_date and not gaps.all()):
            need = "dates" if self.is_date else "numbers"
            row = self._unfit(column)
            raise ValueError(
                f"X, column {self.name!r}, holds {str(column.values[row])!r} in row {row}; need "
                f"{need}, as in fit"
            )
        out = np.zeros((len(gaps), len(self.names)))
        if not gaps.all():
            values = parts_of(column.values) if dates else {"": column.values.astype(np.float64)}
            if dates:
                span = self.high - self.low
                far = abs(values["seconds"] - (self.low + span / 2)) > 1.5 * span
                if count := int((far & ~gaps).sum()):
                    note = f"{self.name!r}: dates far from all in fit in {_rows(count)}"
            for i, (part, scale) in enumerate(zip(self.parts, self.scales, strict=True)):
                out[:, i] = scale.apply(np.where(gaps, scale.center, values[part]))
        if self.gaps:
            out[:, -1] = gaps
        elif gaps.any() and not note:
            note = f"{self.name!r}: missing, taken for the median, in {_rows(int(gaps.sum()))}"
        return out, note


@dataclass(frozen=True)
class Levels:
    """A column of categories, also of truth values.

    Attributes
    ----------
    name : str
    levels : tuple of str
        Those that are known; "" stands for a missing value, which is one like all others.
    rare : int
        Levels that got no input, as they stand in one row only.
    """

    kind: ClassVar[str] = "levels"
    name: str
    levels: tuple[str, ...]
    rare: int = 0

    @classmethod
    def of(cls, column: Column) -> Levels | Dropped:
        """Learn the encoder of a column of categories.

        Where there are more levels than half of the rows, only those in several rows get an input.
        """
        counts = Counter(texts_of(column, ()))
        levels, rare = sorted(counts), 0
        if 2 < len(counts) > len(column.values) / 2:
            levels = [level for level in levels if counts[level] > 1]
            rare = len(counts) - len(levels)
        if len(levels) < 2 and not (levels and rare):
            return Dropped(column.name, f"{rare:,} levels, each in one row" if rare else "constant")
        return cls(column.name, tuple(levels), rare)

    @property
    def names(self) -> list[str]:
        """Names of the inputs."""
        if self._is_binary:
            return [self.name]
        return [
            f"{self.name}={level}" if level else f"{self.name} is missing" for level in self.levels
        ]

    @property
    def _is_binary(self) -> bool:
        return len(self.levels) == 2 and not self.rare

    @property
    def done(self) -> str:
        """What is done with the column."""
        if self._is_binary:
            low, high = (level or "missing" for level in self.levels)
            return f"{low} is -1, {high} is 1"
        rare = f", but for {self.rare:,} in one row only" if self.rare else ""
        gaps = ", missing is one" if "" in self.levels else ""
        return f"an input for each of {len(self.levels):,} levels{gaps}{rare}"

    def apply(self, column: Column) -> tuple[Array, str]:
        """Return the inputs, (rows, inputs), and which levels are not known, or ""."""
        places = {level: i for i, level in enumerate(self.levels)}
        texts = texts_of(column, self.levels)
        found = np.array([places.get(text, -1) for text in texts], np.int64)
        known = found >= 0
        if self._is_binary:
            out = np.where(known, 2.0 * found - 1, 0)[:, None]
        else:
            out = np.zeros((len(texts), len(self.levels)), np.float32)  # may be very many
            out[np.flatnonzero(known), found[known]] = 1
        others = Counter(text for text, one in zip(texts, known, strict=True) if not one)
        if not others:
            return out, ""
        shown = ", ".join(repr(text) if text else "missing" for text in list(others)[:SHOWN])
        more = ", ..." * (len(others) > SHOWN)
        return out, f"{self.name!r}: {shown}{more} in {_rows(sum(others.values()))}"


Encoder = Dropped | Numbers | Levels
KINDS: dict[str, type[Encoder]] = {each.kind: each for each in (Dropped, Numbers, Levels)}


def encoder_of(column: Column, *, category: bool) -> Encoder:
    """Learn the encoder of a column; ``category`` takes its numbers for names of levels."""
    if column.missing.all():
        return Dropped(column.name, "all cells are missing")
    if column.kind in ("number", "date") and not category:
        return Numbers.of(column)
    return Levels.of(column)


def parts_of(dates: Array) -> dict[str, Array]:
    """Return dates as numbers: seconds since 1970, year, month, weekday (0: Monday) and hour."""
    days = dates.astype("datetime64[D]")
    seconds = dates.astype("datetime64[s]").astype(np.float64)
    months = dates.astype("datetime64[M]").astype(np.float64)
    day = days.astype(np.float64)
    return {
        "seconds": seconds,
        "year": np.floor(months / 12) + 1970,
        "month": np.mod(months, 12) + 1,
        "weekday": np.mod(day + 3, 7),  # 1970-01-01 was a Thursday
        "hour": np.floor(np.mod(seconds, 86400) / 3600),
    }


def texts_of(column: Column, levels: Sequence[str]) -> list[str]:
    """Return the cells as names of levels, "" where they are missing.

    Few rows of words such as yes may be taken for truth values: then the words among ``levels``
    tell which they are. Numbers 0 and 1 are truth values where these are known.
    """
    if column.kind in (*TEXT, "empty"):
        texts = [str(value) if value else "" for value in column.values]
        return [""] * len(texts) if column.kind == "empty" else texts
    known = set(levels)
    words = {text_of(value): text_of(value) for value in np.unique(column.values[~column.missing])}
    if column.kind == "boolean":
        for truth, alike in zip(TRUTHS, reversed(_WORDS), strict=True):
            own = [level for level in levels if level.lower() in alike]
            words[truth] = own[0] if own and truth not in known else truth
    elif known >= set(TRUTHS):
        words |= {"0": TRUTHS[0], "1": TRUTHS[1]}
    pairs = zip(column.values, column.missing, strict=True)
    return ["" if gap else words[text_of(value)] for value, gap in pairs]


def plain(encoder: Encoder) -> dict[str, Any]:
    """Return an encoder as what JSON can hold."""
    return {"kind": encoder.kind, **asdict(encoder)}


def of_plain(found: Any) -> Encoder:
    """Return the encoder that `plain` described, after checking all of it.

    Raises
    ------
    KeyError, TypeError, ValueError
        If it describes none.
    """
    found = dict(found)
    kind = check.one_of("kind", found.pop("kind"), KINDS)
    name = _text("name", found.pop("name"))
    if kind == "dropped":
        return Dropped(name, _text("why", found.pop("why")))
    if kind == "levels":
        levels = tuple(_text("a level", level) for level in found["levels"])
        if len(set(levels)) < len(levels) or not levels:
            raise ValueError(f"column {name!r}: levels must be different texts")
        return Levels(name, levels, check.integer("rare", found["rare"], 0))
    parts = tuple(_text("a part", part) for part in found["parts"])
    known = ("", "seconds", "year", "month", "weekday", "hour")
    for part in parts:
        check.one_of("a part", part, known)
    scales = tuple(
        Scale(check.real("center", each["center"]), check.real("width", each["width"], above=0))
        for each in found["scales"]
    )
    if len(scales) != len(parts) or not isinstance(found["gaps"], bool):
        raise ValueError(f"column {name!r}: need a scale for each part, and whether there are gaps")
    low, high = (check.real(end, found[end]) for end in ("low", "high"))
    return Numbers(name, parts, scales, found["gaps"], low, high)


def _rows(count: int) -> str:
    return f"{count:,} row{'s' * (count != 1)}"


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a text, got {value!r}")
    return value
