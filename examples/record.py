"""MNIST's digits: the fewest errors after 1, 5 or 20 minutes of training on two CPUs.

Several networks vote. In every epoch they see each image turned, scaled, slanted, shifted and bent
in another way. docs/digits.md has what they reach, and how the settings were found.

python examples/record.py --minutes 1
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

import fastnn
from fastnn.augment import Images

# Of each number of minutes: units of the hidden layers, epochs, how many networks learn from the
# images as they are and how many from upright ones, and the shifts, pixels down and right, with
# which each test image is read again. Two networks train at a time.
RECIPES = {
    1: ((512, 512), 57, 2, 0, ()),
    5: ((512, 512), 140, 2, 2, ()),
    20: ((1024, 512), 256, 2, 2, ((-1, 0), (1, 0), (0, -1), (0, 1))),
}
CHANGES = Images((28, 28), rotate=8, scale=0.1, shear=0.1, shift=1.5, elastic=1.5)


def as_they_are(X):
    """Return the images."""
    return X


def upright(X):
    """Return images without their slant: each line is moved along, by interpolation."""
    y, x = np.mgrid[:28, :28].astype(np.float32)
    changed = np.empty_like(X)
    for i in range(0, len(X), 100):
        images = X[i : i + 100].reshape(-1, 28, 28).astype(np.float32)
        ink = images.sum((1, 2))
        down = y - ((images * y).sum((1, 2)) / ink)[:, None, None]  # from the middle of the ink
        slant = (images * down * x).sum((1, 2)) / (images * down**2).sum((1, 2))
        place = np.clip(x + slant[:, None, None] * down, 0, 27)  # which each pixel shows
        left = np.minimum(place.astype(int), 26)
        a, b = (np.take_along_axis(images, at, axis=2) for at in (left, left + 1))
        changed[i : i + 100] = np.rint(a + (place - left) * (b - a)).reshape(-1, 784)
    return changed


def probabilities(recipe, seed, X, y, test_X):
    """Train the networks of a recipe; return the means of their probabilities for the test images.

    Their shape is (1 + shifts, rows, 10); the first are for images that are not shifted.
    """
    hidden, epochs, as_given, of_upright, shifts = recipe
    total = np.zeros((1 + len(shifts), len(test_X), 10))
    for number, view in ((as_given, as_they_are), (of_upright, upright)):
        networks = [fastnn.Network([784, *hidden, 10], seed=100 * seed + i) for i in range(number)]
        if networks:
            committee = fastnn.Committee(networks)
            committee.train(
                view(X),
                y,
                epochs,
                batch_size=128,
                optimizer=fastnn.optimizers.AdamW(learning_rate=0.002),
                schedule="cosine",
                average=0.999,
                label_smoothing=0.05,
                augment=CHANGES,
            )
            images = view(test_X).reshape(-1, 28, 28)
            for i, shift in enumerate([(0, 0), *shifts]):
                total[i] += number * committee.predict_proba(np.roll(images, shift, axis=(1, 2)))
    return total / (as_given + of_upright)


def main():
    """Train, count the errors on the test images, and write down which they are."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--minutes", type=int, choices=RECIPES, default=1, help="default: 1")
    add("--seed", type=int, default=0, help="default: 0")
    add("--rows", type=int, default=60_000, help="how many images to learn from; default: all")
    add("--json", type=Path, metavar="FILE", help="write what was found there")
    options = parser.parse_args()

    start = time.perf_counter()
    X, y, test_X, test_y = fastnn.datasets.load_mnist()
    X, y = X[: options.rows], y[: options.rows]
    found = probabilities(RECIPES[options.minutes], options.seed, X, y, test_X)
    together = found.mean(axis=0)
    read = together.argmax(axis=1)
    wrong = np.flatnonzero(read != test_y)
    accuracy, seconds = 1 - len(wrong) / len(test_y), time.perf_counter() - start
    print(f"test accuracy {accuracy:.4f}, {len(wrong)} errors, {seconds:.1f} s")
    if options.json:
        misread = [[int(i), int(test_y[i]), int(read[i]), float(together[i].max())] for i in wrong]
        result = {"minutes": options.minutes, "seed": options.seed, "seconds": seconds}
        unshifted = int((found[0].argmax(axis=1) != test_y).sum())
        options.json.write_text(json.dumps({**result, "misread": misread, "unshifted": unshifted}))


if __name__ == "__main__":
    main()
