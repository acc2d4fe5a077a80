"""``python -m fastnn.train``: train a network, or ``fastnn-train``."""

import sys

from fastnn.cli.train import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
