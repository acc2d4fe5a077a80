"""``python -m fastnn.train``, or ``fastnn-train``: train a network."""

import sys

from fastnn.cli.train import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
