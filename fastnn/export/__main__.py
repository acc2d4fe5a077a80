"""``python -m fastnn.export``, or ``fastnn-export``: write a network for other programs."""

import sys

from fastnn.cli.export import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
