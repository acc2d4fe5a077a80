"""``python -m fastnn.predict``, or ``fastnn-predict``: predict with a saved network."""

import sys

from fastnn.cli.predict import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
