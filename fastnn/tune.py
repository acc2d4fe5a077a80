"""``python -m fastnn.tune``, or ``fastnn-tune``: compare settings by cross-validation.

In Python `fastnn.tune` is the function, of `fastnn.tuning`; this module is only run.
"""

import sys

from fastnn.cli.tune import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
