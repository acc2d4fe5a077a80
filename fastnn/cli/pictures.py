"""The user's own pictures on the command line of predictions."""

from __future__ import annotations

import csv
import glob
from pathlib import Path

import numpy as np

from fastnn import datasets
from fastnn.activations import Array
from fastnn.cli import saved
from fastnn.cli.reading import pictures_of
from fastnn.cli.running import Given
from fastnn.committee import Committee, members_of
from fastnn.network import Network
from fastnn.writing import replacing


def existing(paths: list[Path]) -> list[Path]:
    """Return paths, with those that a pattern such as *.png names where no shell did that."""
    found = []
    for path in paths:
        found += (
            [path] if path.exists() else list(map(Path, sorted(glob.glob(str(path))))) or [path]
        )
    return found


def predict(given: Given, net: Network | Committee, classes: tuple[int | str, ...]) -> None:
    """Predict pictures: print the file, the class and its probability of each, or write them."""
    print(repr(net))
    found = _read(given, net)
    size = " x ".join(map(str, found.shape[:2])) + " pixels" + ", coloured" * (len(found.shape) > 2)
    print(f"{len(found.files):,} pictures of {size}")
    outputs = net.predict_proba(found.X)
    if classes and outputs.shape[1] == 1:
        outputs = np.column_stack([1 - outputs, outputs])
    names = [str(classes[place]) for place in outputs.argmax(axis=1)] if classes else None
    if "outputs" in given:
        heading = ["file", *(["prediction"] if names else []), *_columns(classes, outputs)]
        with replacing(given["outputs"]) as written:
            writer = csv.writer(written, lineterminator="\n")
            writer.writerow(heading)
            for i, row in enumerate(outputs):
                writer.writerow([found.files[i], *([names[i]] if names else []), *map(str, row)])
        print(f"\nthe outputs for {len(outputs):,} pictures are in {given['outputs']}")
        return
    if names is None:
        lines = [["file", *_columns(classes, outputs)]]
        lines += [[found.files[i], *map("{:.6g}".format, row)] for i, row in enumerate(outputs)]
    else:
        lines = [["file", "class", "probability"]]
        surest = zip(found.files, names, outputs.max(axis=1), strict=True)
        lines += [[file, name, f"{probability:.4f}"] for file, name, probability in surest]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    print()
    for file, *cells in lines:
        print("  ".join([file.ljust(widths[0]), *map(str.rjust, cells, widths[1:])]))


def _columns(classes: tuple[int | str, ...], outputs: Array) -> list[str]:
    return list(map(str, classes)) or [f"prediction_{i + 1}" for i in range(outputs.shape[1])]


def _read(given: Given, net: Network | Committee) -> datasets.Images:
    """Return the pictures of --images as the network takes them; say what is done with them."""
    how = pictures_of(saved.in_form(given, net))
    found = datasets.read_images(given["images"], **how)
    inputs = members_of(net)[0].architecture.sizes[0]
    if found.X.shape[1] != inputs:
        size = " x ".join(map(str, found.shape))
        raise ValueError(
            f"{found.files[0]!r} has {size} numbers, {found.X.shape[1]:,}; the network takes "
            f"{inputs:,}: size=(height, width), grey=True or grey=False makes them so many"
        )
    return found
