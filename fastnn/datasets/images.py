"""Pictures of the user's own: PNG and JPEG files as rows of pixels."""

from __future__ import annotations

import os
import struct
import warnings
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastnn.checks.values import integer
from fastnn.checks.warning import warn
from fastnn.datasets.columns import MOST_COLUMNS, Array
from fastnn.datasets.digits import in_mnist_form
from fastnn.datasets.layout import shown

if TYPE_CHECKING:
    from PIL.Image import Image

AnyPath = str | os.PathLike[str]
SUFFIXES = (".png", ".jpg", ".jpeg")
FORMATS = ("PNG", "JPEG")
MOST_PIXELS = 1 << 26  # of a file
WORKED_ON = 512  # pixels of the longer side of a digit: more are averaged first
NAMED = 5  # pictures in an error
# What Pillow raises for damaged files. SyntaxError is of PNG chunks.
_BROKEN = (
    OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, OverflowError,
    AttributeError, ArithmeticError, MemoryError, struct.error, zlib.error,
)  # fmt: skip


class Images(NamedTuple):
    """Pictures as rows of pixels.

    Attributes
    ----------
    X : ndarray of uint8, shape (rows, height * width) or (rows, height * width * 3)
        Row by row from the top; the three numbers of a pixel are red, green and blue.
    y : ndarray, shape (rows,), or None
        The class of each picture, the name of its folder: int64 if all are whole numbers, else
        str. None if the pictures have no folders of classes.
    files : tuple of str
        The path of each picture.
    shape : tuple of int
        (height, width), or (height, width, 3) for colours, as `fastnn.plots` takes it.
    """

    X: Array
    y: Array | None
    files: tuple[str, ...]
    shape: tuple[int, ...]


def read_images(
    paths: AnyPath | Iterable[AnyPath],
    *,
    size: Sequence[int] | None = None,
    grey: bool | None = None,
    digits: bool = False,
) -> Images:
    """Read pictures: PNG or JPEG files, or folders of them.

    They may be grey, in colours, with a palette, transparent, of 8 or 16 bits, and turned as a
    camera notes it. Needs Pillow, which the extra ``images`` installs.

    Parameters
    ----------
    paths : path, or iterable of paths
        Each is a file; a folder of files; or a folder of folders, one for each class, with its name
        and its pictures. In folders, files that do not end in .png, .jpg or .jpeg are left out with
        a warning, and hidden ones without.
    size : sequence of int, optional
        (height, width) to which all are scaled, with averages where pixels are joined. Default:
        that of the pictures, which must all have the same.
    grey : bool, optional
        Whether all become grey, or all coloured. Default: what the pictures are, which must all be
        the same. Grey is 0.299 red + 0.587 green + 0.114 blue.
    digits : bool
        Bring pictures of one digit each to the form of MNIST: light on dark, scaled to fit a box of
        20 x 20 pixels, with the centre of mass at the centre of 28 x 28. Pictures may be dark on
        light or light on dark, with shadows on the paper. There must be nothing else in it.

    Returns
    -------
    Images
        In the order of the paths; within a folder, in the order of the names.

    Raises
    ------
    ImportError
        If Pillow is not installed.
    OSError
        If a path cannot be opened (``FileNotFoundError`` if there is none).
    TypeError
        If ``paths`` are no paths, ``size`` is no pair of integers, or ``grey`` or ``digits`` is not
        True or False.
    ValueError
        If a file is not an intact PNG or JPEG, or has more than 67,108,864 pixels; if a folder
        holds no pictures, or both pictures and folders of pictures; if pictures have different
        sizes without ``size``, or some of them colours without ``grey``; if a row would have more
        than 262,144 numbers; with ``digits``, if a picture is blank, or ``size`` or ``grey`` given.

    Notes
    -----
    Transparent pixels are white; with ``digits`` they are paper. Errors about files name the first
    five of those that are concerned.
    """
    check_installed()
    for name, value, more in (("grey", grey, ", or None"), ("digits", digits, "")):
        if not (isinstance(value, bool | np.bool_) or (more and value is None)):
            raise TypeError(f"{name} must be True or False{more}; got {value!r}")
    given = None if size is None else _checked_size(size, 3 if grey is False else 1)
    if digits and not (given is None and grey is None):
        raise ValueError(
            "digits=True gives all pictures their form; size and grey have no use then"
        )
    files, labels = _found(_listed(paths))
    pictures: list[Array] = []
    problems: list[str] = []
    for file in files:
        try:
            pictures.append(_read(file, given, grey, digits))
        except _Refused as error:
            problems.append(f"{file!r} {error}")
            if len(problems) > NAMED:
                break
    if problems:
        more = "; and more" * (len(problems) > NAMED)
        raise ValueError("; ".join(problems[:NAMED]) + more)
    _check_alike(files, pictures)
    shape = pictures[0].shape
    X = np.stack(pictures).reshape(len(pictures), -1)
    return Images(X, None if labels is None else _classes(labels), tuple(files), shape)


def check_installed() -> None:
    """Raise ImportError with what to install, if Pillow is not."""
    try:
        import PIL.Image  # noqa: F401
    except ImportError:
        raise ImportError("pictures need Pillow: pip install 'fastnn-cpu[images]'") from None


def pictures_in(folder: AnyPath) -> list[Path]:
    """Return the pictures in a folder, and those in the folders in it."""
    inner = [path for path in _entries(folder) if path.is_dir()]
    each = (path for place in (Path(folder), *inner) for path in _entries(place))
    return [path for path in each if _is_picture(path)]


class _Refused(ValueError):
    """What is wrong with a picture, to be said after its name."""


def _checked_size(size: Sequence[int], channels: int) -> tuple[int, int]:
    if not isinstance(size, tuple | list) or len(size) != 2:
        raise TypeError(f"size must be (height, width), got {size!r}")
    height, width = (integer(f"size[{i}]", length, 1) for i, length in enumerate(size))
    count = height * width * channels
    if count > MOST_COLUMNS:
        raise ValueError(_too_many(f"size={(height, width)} is {count:,} numbers"))
    return height, width


def _too_many(what: str) -> str:
    return f"{what}; need at most {MOST_COLUMNS:,} a picture"


def _listed(paths: Any) -> list[AnyPath]:
    one = isinstance(paths, str | os.PathLike) or not isinstance(paths, Iterable)
    listed = [paths] if one else list(paths)
    for path in listed:
        if not isinstance(path, str | os.PathLike):
            raise TypeError(f"paths must be a path, str or os.PathLike, or several; got {path!r}")
    return listed


def _found(paths: list[AnyPath]) -> tuple[list[str], list[str] | None]:
    """Return the files of some paths, and the classes of those in folders of classes."""
    if not paths:
        raise ValueError("paths is empty; need pictures, or folders of them")
    files: list[str] = []
    labels: list[str | None] = []
    for path in map(os.fsdecode, paths):
        if not os.path.exists(path):
            raise FileNotFoundError(f"there is no file or folder {path!r}")
        found = _in_folder(path) if os.path.isdir(path) else [(path, None)]
        files += [file for file, _ in found]
        labels += [label for _, label in found]
    named = [label for label in labels if label is not None]
    if named and len(named) < len(labels):
        bare = files[labels.index(None)]
        raise ValueError(
            f"{bare!r} is in no folder of a class, and other pictures are; need all or none in one"
        )
    return files, named or None


def _in_folder(folder: str) -> list[tuple[str, str | None]]:
    """Return the pictures in a folder, with their classes if they are in folders of classes."""
    own = _pictures(folder)
    found: list[tuple[str, str | None]] = [(path, None) for path in own]
    for inner in _entries(folder):
        if not inner.is_dir():
            continue
        pictures = _pictures(inner)
        folders = (path for path in _entries(inner) if path.is_dir())
        deeper = next((path for path in folders if pictures_in(path)), None)
        if deeper is not None:
            raise ValueError(
                f"'{deeper}' holds pictures, two folders below {folder!r}; need a folder for each "
                f"class with pictures in it, such as '{inner}'"
            )
        if pictures and own:
            raise ValueError(
                f"{folder!r} holds pictures, and so does the folder {inner.name!r} in it; need all "
                "in folders of classes, or none"
            )
        if not pictures and not own:
            raise ValueError(f"the folder '{inner}' holds no PNG or JPEG pictures; need some")
        found += [(path, inner.name) for path in pictures]
    if not found:
        raise ValueError(
            f"the folder {folder!r} holds no PNG or JPEG pictures; need some, or a folder of them "
            "for each class"
        )
    return found


def _pictures(folder: AnyPath) -> list[str]:
    """Return the pictures that are directly in a folder; warn of other files beside them."""
    files = [path for path in _entries(folder) if path.is_file()]
    others = [path.name for path in files if not _is_picture(path)]
    if others and len(others) < len(files):
        warn(f"{os.fspath(folder)!r}: files that do not end in {', '.join(SUFFIXES)} are left out: "
             f"{shown(others)}")  # fmt: skip
    return [str(path) for path in files if _is_picture(path)]


def _entries(folder: AnyPath) -> Iterator[Path]:
    return (path for path in sorted(Path(folder).iterdir()) if not path.name.startswith("."))


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file()


def _classes(names: list[str]) -> Array:
    """Return names of folders as int64 if all are whole numbers, as Python writes them."""
    try:
        numbers = [int(name) for name in names]
        if list(map(str, numbers)) == names:
            return np.array(numbers, np.int64)
    except (ValueError, OverflowError):
        pass
    return np.array(names)


def _read(path: str, size: tuple[int, int] | None, grey: bool | None, digits: bool) -> Array:
    """Return a picture, uint8 of shape (height, width) or (height, width, 3)."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings(), open(path, "rb") as file:
            warnings.simplefilter("ignore")  # of metadata and of large pictures, which are refused
            with Image.open(file, formats=FORMATS) as image:
                if image.width * image.height > MOST_PIXELS:
                    raise _Refused(_too_large(f"{image.height} x {image.width} pixels"))
                image.load()
                return _pixels(_plain(ImageOps.exif_transpose(image)), size, grey, digits)
    except _Refused:
        raise
    except Image.DecompressionBombError:
        raise _Refused(
            _too_large(f"more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels")
        ) from None
    except UnidentifiedImageError:
        raise _Refused("is no PNG or JPEG; need one of these") from None
    except _BROKEN as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise _Refused(f"cannot be decoded ({reason}); need an intact PNG or JPEG") from None


def _too_large(what: str) -> str:
    return f"has {what}; need at most {MOST_PIXELS:,} in all"


def _plain(image: Image) -> Image:
    """Return a picture of the mode L, LA, RGB or RGBA, of which A is opacity."""
    transparent = "transparency" in image.info
    if image.mode.startswith("I"):
        return _of_16_bits(image)
    if image.mode in ("1", "L"):
        return image.convert("LA" if transparent else "L")
    if image.mode in ("LA", "RGBA"):
        return image
    of_palette = image.mode == "P"
    image = image.convert("RGBA" if transparent else "RGB")
    colours = np.asarray(image)
    if of_palette and (colours[..., :1] == colours[..., :3]).all():
        return image.convert("LA" if transparent else "L")
    return image


def _of_16_bits(image: Image) -> Image:
    from PIL import Image as of_pillow

    values = np.asarray(image)
    grey = of_pillow.fromarray(np.rint(values * (255 / 65535)).astype(np.uint8))
    if "transparency" in image.info:
        opaque = values != image.info["transparency"]
        grey.putalpha(of_pillow.fromarray(np.where(opaque, 255, 0).astype(np.uint8)))
    return grey


def _pixels(image: Image, size: tuple[int, int] | None, grey: bool | None, digits: bool) -> Array:
    """Return the pixels of a picture of one of the modes of `_plain`."""
    from PIL import Image as of_pillow

    alpha = image.getchannel("A") if image.mode.endswith("A") else None
    if digits:
        return _digit(image.convert("L"), alpha)
    mode = "L" if image.mode.startswith("L") or grey else "RGB"
    mode = "RGB" if grey is False else mode
    image = image.convert(mode)
    if alpha is not None:
        image = of_pillow.composite(image, of_pillow.new(mode, image.size, "white"), alpha)
    if size is not None:
        image = image.resize(size[::-1], of_pillow.Resampling.BICUBIC)
    count = image.width * image.height * len(mode)
    if count > MOST_COLUMNS:
        way = "size=(height, width) scales them" if size is None else "a smaller size has fewer"
        raise _Refused(f"{_too_many(f'has {count:,} numbers')}; {way}")
    return np.array(image)


def _digit(grey: Image, alpha: Image | None) -> Array:
    factor = -(-max(grey.size) // WORKED_ON)
    grey, alpha = grey.reduce(factor), alpha and alpha.reduce(factor)
    opacity = None if alpha is None else np.asarray(alpha, np.float32) / 255
    try:
        return in_mnist_form(np.asarray(grey, np.float32), opacity)
    except ValueError as error:
        raise _Refused(str(error)) from None


def _check_alike(files: list[str], pictures: list[Array]) -> None:
    """Refuse pictures of different sizes, or of which some have colours."""
    first = pictures[0].shape
    for file, picture in zip(files, pictures, strict=True):
        if picture.shape[:2] != first[:2]:
            one, other = (f"{height} x {width}" for height, width, *_ in (first, picture.shape))
            raise ValueError(
                f"pictures must have one size: {files[0]!r} has {one} pixels, {file!r} {other}; "
                "size=(height, width) scales them"
            )
    for file, picture in zip(files, pictures, strict=True):
        if picture.shape != first:
            grey, coloured = (file, files[0]) if len(first) == 3 else (files[0], file)
            raise ValueError(
                f"pictures must all be grey or all coloured: {grey!r} is grey, {coloured!r} "
                "coloured; grey=True or grey=False makes them so"
            )
