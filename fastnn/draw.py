"""``python -m fastnn.draw``, or ``fastnn-draw``: write a page on which a network reads drawings."""

import sys

from fastnn.cli.draw import main
from fastnn.drawing.page import write

__all__ = ["main", "write"]

if __name__ == "__main__":
    sys.exit(main())
