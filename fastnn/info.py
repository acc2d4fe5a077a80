"""``python -m fastnn.info``: what a report of a bug needs, or ``fastnn-info``."""

import sys

from fastnn.cli.info import info, main

__all__ = ["info", "main"]

if __name__ == "__main__":
    sys.exit(main())
