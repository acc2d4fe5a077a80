"""``python -m fastnn.info``, or ``fastnn-info``: print the facts for a bug report."""

import sys

from fastnn.cli.info import info, main

__all__ = ["info", "main"]

if __name__ == "__main__":
    sys.exit(main())
