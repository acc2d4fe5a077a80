"""``python -m fastnn``: which commands there are."""

import sys

if __name__ == "__main__":
    print(
        "python -m fastnn: error: need one of python -m fastnn.train, fastnn.predict, fastnn.draw, "
        "fastnn.export, fastnn.tune and fastnn.info; --help lists the options of each",
        file=sys.stderr,
    )
    sys.exit(2)
