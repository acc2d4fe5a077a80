"""Running a command line: its exit code, and errors as a line of text."""

from __future__ import annotations

import argparse
import errno
import io
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from fastnn.cli.printing import as_options
from fastnn.training.evaluation import DivergenceError

# What a command line got, by the names of the library where it has one.
Given = dict[str, Any]
INTERRUPTED, CLOSED_PIPE = 130, 141  # what a shell makes of SIGINT and SIGPIPE


def run(
    parser: argparse.ArgumentParser,
    task: Callable[[Given], int],
    arguments: Sequence[str] | None,
) -> int:
    """Run a task; return the exit code. Bad input exits with 2 and a line on standard error."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        # Names of classes may be beyond the code page of a console.
        sys.stdout.reconfigure(errors="backslashreplace")
    given = vars(parser.parse_args(arguments))
    try:
        code = task(given)
        sys.stdout.flush()  # or it would fail where nothing can be done about it
        return code
    except KeyboardInterrupt:  # where a task has nothing to report on
        print(f"{parser.prog}: stopped: Ctrl-C", file=sys.stderr)
        return INTERRUPTED
    except (ValueError, TypeError, OSError, MemoryError, ImportError, DivergenceError) as error:
        if _is_of_a_closed_pipe(error):  # the reader of the output has ended
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return CLOSED_PIPE
        parser.error(as_options(" ".join(str(error).split())) or type(error).__name__)


def _is_of_a_closed_pipe(error: Exception) -> bool:
    """Tell whether an error is one of writing to a pipe that nobody reads any more."""
    if isinstance(error, BrokenPipeError):
        return True
    windows = sys.platform == "win32"  # where the same number with a name is of a bad file name
    return (
        windows
        and isinstance(error, OSError)
        and error.errno == errno.EINVAL
        and error.filename is None
    )
