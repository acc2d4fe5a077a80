"""Interrupts at chosen moments: each place at which Python looks for signals, counted.

Python does so after a call, where a function begins, and where a loop jumps back; nowhere else. A
trace function counts these places in some files, and sends a signal at one of them. The same
program comes to the same places, so that a failure can be repeated and made smaller.
"""

from __future__ import annotations

import contextlib
import dis
import functools
import gc
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

import fastnn

PACKAGE = os.path.dirname(fastnn.__file__) + os.sep
# Compiling happens once in a process, or not at all: what is in there cannot be counted.
LEFT_OUT = os.path.join(PACKAGE, "backends", "compiled", "machinery", "")
LOOK = (
    "CALL",
    "RESUME",
    "JUMP_BACKWARD",
    "JUMP_ABSOLUTE",
)  # what an instruction's name begins with
# Parts of the package, by the beginnings of their files' names.
PARTS: dict[str, tuple[str, ...]] = {
    "anywhere": (PACKAGE, contextlib.__file__),
    "writing": (PACKAGE + "writing", os.path.join(PACKAGE, "model", "storage")),
    "checkpoints": (os.path.join(PACKAGE, "training", "checkpoints"),),
    "state": tuple(os.path.join(PACKAGE, *names) for names in (
        ("training", "run"), ("training", "data"), ("model", "model"))),
    "loop": (os.path.join(PACKAGE, "training", "loop"),),
    "backends": (os.path.join(PACKAGE, "backends"),),
}  # fmt: skip


@functools.cache
def _moments(code: CodeType) -> frozenset[int]:
    """Return the instructions before which Python has just looked for signals."""
    found, before = set(), None
    handler = _handlers(code)
    for instruction in dis.get_instructions(code):
        # An exception belongs to the call; where the next instruction has another handler, as after
        # "return f()" in a with statement, it cannot be raised in the right place.
        if before is not None and handler(before.offset) == handler(instruction.offset):
            found.add(instruction.offset)
        looks = instruction.opname.startswith(LOOK) and "NO_INTERRUPT" not in instruction.opname
        before = None
        if instruction.opname.startswith("JUMP"):
            if looks and handler(instruction.offset) == handler(instruction.argval):
                found.add(instruction.argval)
        elif looks and not (instruction.opname == "RESUME" and (instruction.arg or 0) > 1):
            before = instruction
    return frozenset(found)


def _handlers(code: CodeType) -> Callable[[int], Any]:
    """Return a function from an instruction to where an exception goes; before 3.11 always 0."""
    parse = getattr(dis, "_parse_exception_table", None)
    table = parse(code) if parse else ()

    def handler(offset: int) -> Any:
        return next((each.target for each in table if each.start <= offset < each.end), 0)

    return handler


@functools.cache
def _parts_of(file: str) -> tuple[str, ...]:
    """Return the parts that a file belongs to."""
    if file.startswith(LEFT_OUT):
        return ()
    return tuple(name for name, starts in PARTS.items() if file.startswith(starts))


class Moments:
    """As a context: counts the moments in each part, and interrupts at one of them.

    Parameters
    ----------
    part : str, optional
        Where to interrupt; by default it is only counted.
    number : int
        Which of the moments of this part, from 0.
    sign : int
        The signal; where SIGTERM would end the process, it is SIGINT instead.

    Attributes
    ----------
    counts : Counter
        The moments of each part that came.
    sent : int or None
        The signal, after it was sent.
    """

    def __init__(self, part: str = "", number: int = 0, sign: int = signal.SIGINT) -> None:
        self.part, self.number, self.sign = part, number, sign
        self.counts: Counter[str] = Counter()
        self.sent: int | None = None

    def __enter__(self) -> Moments:
        # Python drops what is raised while it collects garbage, and that may come anywhere.
        self.collects = gc.isenabled()
        gc.disable()
        # A background job of a shell ignores SIGINT.
        self.handler = signal.signal(signal.SIGINT, signal.default_int_handler)
        self.before = sys.gettrace()
        sys.settrace(self._called)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self.before)
        signal.signal(signal.SIGINT, self.handler)
        if self.collects:
            gc.enable()

    def _called(self, frame: FrameType, event: str, _: object) -> Any:
        parts = _parts_of(frame.f_code.co_filename)
        if not parts or (self.part and self.part not in parts):
            return None
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        moments, counts = _moments(frame.f_code), self.counts

        def step(frame: FrameType, event: str, _: object) -> Any:
            if event == "opcode" and frame.f_lasti in moments:
                for part in parts:
                    counts[part] += 1
                if self.part and counts[self.part] == self.number + 1 and self.sent is None:
                    self._send()
            return step

        return step

    def _send(self) -> None:
        sys.settrace(None)
        default = signal.getsignal(self.sign) is signal.SIG_DFL
        self.sent = signal.SIGINT if default else self.sign
        signal.raise_signal(self.sent)
