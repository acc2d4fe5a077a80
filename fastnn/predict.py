"""``python -m fastnn.predict``: predict with a saved network, or ``fastnn-predict``."""

import sys

from fastnn.cli.predict import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
