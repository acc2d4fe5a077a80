"""Pictures of the user's own: what is read, what digits become, and what the command lines do."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

import fastnn
from fastnn import datasets, predict, train
from fastnn.cli import augmenting
from fastnn.cli.export import main as export_main
from fastnn.datasets import images, read_images

Image = pytest.importorskip("PIL.Image")
ImageDraw = pytest.importorskip("PIL.ImageDraw")

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (5, 4), dtype=np.uint8)
COLOURS = RNG.integers(0, 256, (5, 4, 3), dtype=np.uint8)
WHITE = 255


def saved(path, array, mode=None, **how):
    """Write a picture; return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = array if isinstance(array, Image.Image) else Image.fromarray(array)
    (picture.convert(mode) if mode else picture).save(path, **how)
    return path


def only(path, **how):
    """Return the only picture that is read, in its shape."""
    found = read_images(path, **how)
    return found.X.reshape(found.shape)


# --- what is read


def test_grey_and_coloured_pictures_are_read_as_they_are(tmp_path):
    grey, coloured = saved(tmp_path / "a.png", GREY), saved(tmp_path / "b.PNG", COLOURS)
    np.testing.assert_array_equal(only(grey), GREY)
    np.testing.assert_array_equal(only(coloured), COLOURS)
    assert only(grey).dtype == np.uint8
    assert read_images(grey).y is None


def test_files_come_in_the_order_of_the_paths(tmp_path):
    paths = [saved(tmp_path / f"{name}.png", GREY) for name in "cab"]
    assert read_images(paths).files == tuple(map(str, paths))
    assert read_images(tmp_path).files == tuple(sorted(map(str, paths)))


def test_jpeg(tmp_path):
    flat = np.full((8, 8, 3), (200, 30, 90), np.uint8)
    found = only(saved(tmp_path / "a.jpeg", flat, quality=95))
    assert np.abs(found.astype(int) - flat).max() <= 4


def test_jpeg_with_four_inks(tmp_path):
    flat = np.full((8, 8, 3), (200, 30, 90), np.uint8)
    path = saved(tmp_path / "a.jpg", Image.fromarray(flat).convert("CMYK"), quality=95)
    assert np.abs(only(path).astype(int) - flat).max() <= 4


def test_sixteen_bits_become_eight(tmp_path):
    deep = (GREY.astype(np.uint16) * 257).reshape(5, 4)
    np.testing.assert_array_equal(only(saved(tmp_path / "a.png", deep)), GREY)


def test_one_bit(tmp_path):
    bits = GREY > 127
    np.testing.assert_array_equal(only(saved(tmp_path / "a.png", bits)), bits * np.uint8(WHITE))


def test_a_palette(tmp_path):
    few = np.array([(0, 0, 0), (255, 255, 255), (255, 0, 0)], np.uint8)[GREY % 3]
    palette = Image.fromarray(few).quantize(8)
    np.testing.assert_array_equal(only(saved(tmp_path / "a.png", palette)), few)


def test_a_palette_of_greys_is_grey(tmp_path):
    path = saved(tmp_path / "a.png", Image.fromarray(GREY).convert("P"))
    np.testing.assert_array_equal(only(path), GREY)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_transparent_pixels_are_white(mode, tmp_path):
    picture = Image.fromarray(GREY).convert(mode)
    alpha = np.full(GREY.shape, 255, np.uint8)
    alpha[1, 2] = 0
    picture.putalpha(Image.fromarray(alpha))
    found = only(saved(tmp_path / "a.png", picture))
    expected = np.where(alpha, GREY, WHITE)
    np.testing.assert_array_equal(found.reshape(5, 4, -1)[..., 0], expected)


@pytest.mark.parametrize(
    ("picture", "transparent"),
    [
        (Image.fromarray(np.array([[7, 9]], np.uint8)), 7),
        (Image.fromarray(np.array([[7 * 257, 9 * 257]], np.uint16)), 7 * 257),
        (Image.fromarray(np.array([[(7,) * 3, (9,) * 3]], np.uint8)), (7, 7, 7)),
    ],
    ids=["grey", "16 bits", "colours"],
)
def test_a_colour_that_stands_for_transparent_is_white(picture, transparent, tmp_path):
    path = saved(tmp_path / "a.png", picture, transparency=transparent)
    np.testing.assert_array_equal(only(path, grey=True), [[WHITE, 9]])


def test_a_picture_is_turned_as_the_camera_notes(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    path = saved(tmp_path / "a.png", GREY, exif=exif)
    np.testing.assert_array_equal(only(path), np.rot90(GREY, -1))


def test_size_scales(tmp_path):
    checks = np.kron(np.array([[0, 255], [255, 0]], np.uint8), np.ones((16, 24), np.uint8))
    saved(tmp_path / "a.png", checks)
    saved(tmp_path / "b.png", checks[::2, ::2])
    found = read_images(tmp_path, size=(8, 12))
    assert found.shape == (8, 12)
    assert found.X.shape == (2, 96)
    np.testing.assert_array_equal(found.X[:, 0], [0, 0])


def test_grey_and_colour_are_made(tmp_path):
    saved(tmp_path / "a.png", GREY)
    saved(tmp_path / "b.png", COLOURS)
    grey, coloured = read_images(tmp_path, grey=True), read_images(tmp_path, grey=False)
    assert (grey.shape, coloured.shape) == ((5, 4), (5, 4, 3))
    weighted = COLOURS @ np.array([0.299, 0.587, 0.114])
    assert np.abs(grey.X[1].reshape(5, 4) - weighted).max() <= 1
    np.testing.assert_array_equal(coloured.X[0].reshape(5, 4, 3)[..., 1], GREY)


@pytest.mark.parametrize(
    ("names", "expected"),
    [(["3", "12"], [12, 3]), (["cat", "3"], ["3", "cat"]), (["1", "01"], ["01", "1"])],
)
def test_names_of_folders_are_classes(names, expected, tmp_path):
    for name in names:
        saved(tmp_path / name / "a.png", GREY)
    assert read_images(tmp_path).y.tolist() == expected


def test_other_files_in_a_folder_are_left_out_with_a_warning(tmp_path):
    saved(tmp_path / "a.png", GREY)
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / ".hidden").write_text("x")
    with pytest.warns(UserWarning, match=r"in \.png, \.jpg, \.jpeg are left out: notes\.txt$"):
        assert len(read_images(tmp_path).X) == 1


# --- what is refused


def chunk(kind, content):
    crc = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)


def bomb(side):
    """Return a PNG of a few bytes that says it has so many pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(99)))


def encoded(array, kind="PNG"):
    file = io.BytesIO()
    Image.fromarray(array).save(file, kind)
    return file.getvalue()


LARGE = RNG.integers(0, 256, (64, 64), dtype=np.uint8)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no PNG or JPEG"),
        (b"GIF89a", "is no PNG or JPEG"),
        (encoded(GREY, "GIF"), "is no PNG or JPEG"),
        (encoded(LARGE)[:900], "cannot be decoded"),
        (encoded(LARGE, "JPEG")[:900], "cannot be decoded"),
        (bomb(12_000), "has 12000 x 12000 pixels; need at most 67,108,864 in all"),
        (bomb(60_000), "has more than 178,956,970 pixels; need at most 67,108,864 in all"),
    ],
    ids=["empty", "start", "another kind", "cut PNG", "cut JPEG", "large", "bomb"],
)
def test_damaged_pictures_are_refused_by_name(content, message, tmp_path):
    saved(tmp_path / "a.png", GREY)
    (tmp_path / "bad.png").write_bytes(content)
    with pytest.raises(ValueError, match=rf"bad\.png' {message}"):
        read_images(tmp_path)


def test_all_damaged_pictures_are_named(tmp_path):
    for name in "abcdefg":
        (tmp_path / f"{name}.png").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"a\.png' is no .*e\.png' is no .*; and more$"):
        read_images(tmp_path)


@pytest.mark.parametrize("seed", range(20))
def test_a_byte_that_is_wrong_is_no_surprise(seed, tmp_path):
    rng = np.random.default_rng(seed)
    for kind in ("PNG", "JPEG"):
        content = bytearray(encoded(LARGE, kind))
        for _ in range(20):
            content[rng.integers(0, min(len(content), 700))] = rng.integers(0, 256)
        (tmp_path / "a.png").write_bytes(content)
        try:
            read_images(tmp_path / "a.png", size=(28, 28))
        except ValueError as error:
            assert "a.png' " in str(error)  # noqa: PT017


@pytest.mark.parametrize(
    ("files", "how", "message"),
    [
        ({}, {}, "the folder .* holds no PNG or JPEG pictures"),
        ({"a.txt": b""}, {}, "the folder .* holds no PNG or JPEG pictures"),
        ({"a.png": GREY, "b.png": LARGE}, {}, r"a.png' has 5 x 4 pixels, .*b.png' 64 x 64; size="),
        ({"a.png": GREY, "b.png": COLOURS}, {}, "a.png' is grey, .*b.png' coloured; grey=True"),
        ({"a.png": GREY, "cat/b.png": GREY}, {}, "and so does the folder 'cat' in it"),
        ({"cat/a.png": GREY, "dog/b.txt": b""}, {}, "the folder '.*dog' holds no PNG"),
        ({"train/cat/a.png": GREY}, {}, "cat' holds pictures, two folders below"),
        ({"a.png": GREY}, {"digits": True, "grey": True}, "size and grey have no use then"),
        ({"a.png": GREY}, {"size": (0, 4)}, r"size\[0\] must be at least 1; got 0"),
        ({"a.png": np.zeros((600, 600), np.uint8)}, {}, "has 360,000 numbers; need at most"),
        ({"a.png": COLOURS}, {"size": (300, 300)}, "270,000 numbers; .*; a smaller size has fewer"),
        ({"a.png": np.full((60, 60), 99, np.uint8)}, {"digits": True}, "a.png' holds no digit"),
    ],
)
def test_what_does_not_fit_is_refused(files, how, message, tmp_path):
    for name, content in files.items():
        if isinstance(content, bytes):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(content)
        else:
            saved(tmp_path / name, content)
    with pytest.raises(ValueError, match=message):
        read_images(tmp_path, **how)


@pytest.mark.parametrize(
    ("how", "numbers"),
    [
        ({"size": (600, 600)}, "360,000"),
        ({"size": (10**6, 10**6)}, "1,000,000,000,000"),
        ({"size": (300, 300), "grey": False}, "270,000"),
    ],
)
def test_a_size_that_is_too_large_is_refused_before_pictures_are_scaled(
    how, numbers, tmp_path, monkeypatch
):
    monkeypatch.setattr(images, "_read", None)
    with pytest.raises(ValueError, match=rf"^size=\(\d+, \d+\) is {numbers} numbers; need at most"):
        read_images(saved(tmp_path / "a.png", GREY), **how)


def test_no_paths_are_refused():
    with pytest.raises(ValueError, match="paths is empty"):
        read_images([])


@pytest.mark.parametrize("paths", [None, 3, b"a.png", GREY, Image.new("L", (2, 2)), ["a.png", 3]])
def test_what_is_no_path_is_refused(paths):
    with pytest.raises(TypeError, match=r"paths must be a path, str .*, or several; got"):
        read_images(paths)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file or folder '.*a\.png'"):
        read_images(tmp_path / "a.png")


@pytest.mark.parametrize("size", [28, "28", (28,)])
def test_a_size_is_a_pair(size, tmp_path):
    with pytest.raises(TypeError, match=r"size must be \(height, width\)"):
        read_images(saved(tmp_path / "a.png", GREY), size=size)


def test_without_pillow_it_is_said_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "PIL.Image", None)
    with pytest.raises(ImportError, match=r"pip install 'fastnn-cpu\[images\]'"):
        read_images(tmp_path)


# --- digits

# The strokes of each digit: points (x, y) in tenths of a box.
STROKES = {
    0: ["5,0 3,1 2,3 2,7 3,9 5,10 7,9 8,7 8,3 7,1 5,0"],
    1: ["5,0 5,10"],
    2: ["2,2 3,0 6,0 8,2 7,5 2,10 8,10"],
    3: ["2,1 4,0 7,1 7,4 4,5 7,6 8,8 6,10 2,9"],
    4: ["6,0 1,7 9,7", "7,4 7,10"],
    5: ["8,0 3,0 2,5 6,4 8,6 8,8 5,10 2,9"],
    6: ["6,0 3,4 2,7 3,10 6,10 8,8 6,6 3,6 2,8"],
    7: ["1.5,0.5 8.5,0.5 4,9.5"],
    8: ["5,5 3,3 3,1 5,0 7,1 7,3 3,7 3,9 5,10 7,9 7,7 5,5"],
    9: ["8,2 6,0 3,1 2,3 4,5 7,4 8,2 8,4 7,10"],
}


def drawn(size=(300, 200), at=(100, 30, 200, 170), width=14, ink=0, paper=255, mode="L", digit=7):
    """Return a digit in a box of (left, top, right, bottom)."""
    picture = Image.new(mode, size, paper)
    (left, top, right, bottom), pen = at, ImageDraw.Draw(picture)
    for stroke in STROKES[digit]:
        tenths = [map(float, point.split(",")) for point in stroke.split()]
        points = [
            (left + x * (right - left) / 10, top + y * (bottom - top) / 10) for x, y in tenths
        ]
        pen.line(points, fill=ink, width=width, joint="curve")
    return picture


def shaded(picture):
    """Return a picture of paper with a shadow on one side, uneven light and noise."""
    pixels = np.asarray(picture, float)
    y, x = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
    light = np.where(x + y / 2 < 170, 0.55, 1) * (0.7 + 0.3 * x / pixels.shape[1])
    noise = np.random.default_rng(0).normal(0, 3, pixels.shape)
    return Image.fromarray(np.clip(pixels * light + noise, 0, 255).astype(np.uint8))


def jpeg(picture):
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=15)
    return Image.open(file)


def with_speck(picture):
    ImageDraw.Draw(picture).rectangle((5, 180, 9, 184), fill=0)
    return picture


CLEAR, INK = (0, 0, 0, 0), (0, 0, 0, 255)
DRAWINGS = {
    "light on dark": drawn(ink=255, paper=0),
    "off the centre": drawn(at=(5, 50, 105, 190)),
    "colours": drawn(ink=(200, 30, 30), paper=(240, 230, 120), mode="RGB"),
    "transparent": drawn(ink=INK, paper=CLEAR, mode="RGBA"),
    "transparent, light ink": drawn(ink=(255,) * 4, paper=(255, 255, 255, 0), mode="RGBA"),
    "noise of JPEG": jpeg(drawn()),
    "shadow": shaded(drawn(ink=40)),
    "a speck": with_speck(drawn()),
    "large": drawn((1500, 1000), (500, 150, 1000, 850), 70),
}


def difference(one, other):
    """Return the share by which pictures differ where they agree best, a pixel to any side."""
    moved = [np.roll(one.astype(int), by, (0, 1)) for by in np.ndindex(3, 3)]
    other = np.roll(other, (1, 1), (0, 1))
    return min(np.abs(each - other).sum() for each in moved) / other.sum()


def test_another_digit_differs(tmp_path):
    expected = only(saved(tmp_path / "a.png", drawn()), digits=True)
    assert difference(expected[::-1], expected) > 0.8


@pytest.mark.parametrize("name", DRAWINGS)
def test_digits_look_the_same_however_they_are_drawn(name, tmp_path):
    expected = only(saved(tmp_path / "a.png", drawn()), digits=True)
    found = only(saved(tmp_path / "b.png", DRAWINGS[name]), digits=True)
    assert difference(found, expected) < 0.3


@pytest.mark.parametrize("width", [2, 14, 40])
def test_digits_fill_the_box_around_their_centre_of_mass(width, tmp_path):
    found = only(saved(tmp_path / "a.png", drawn(width=width)), digits=True)
    assert found.shape == (28, 28)
    assert found.max() == 255
    rows, columns = (np.flatnonzero(found.any(axis=axis)) for axis in (1, 0))
    assert max(np.ptp(rows), np.ptp(columns)) + 1 == 20
    mass = found / found.sum()
    centre = mass.sum(axis=1) @ np.arange(28), mass.sum(axis=0) @ np.arange(28)
    np.testing.assert_allclose(centre, 14, atol=0.5)  # whole pixels


@pytest.mark.parametrize("width", [1, 2, 4])
def test_thin_strokes_become_as_wide_as_those_of_mnist(width, tmp_path):
    found = only(saved(tmp_path / "a.png", drawn(width=width)), digits=True)
    expected = only(saved(tmp_path / "b.png", drawn(width=14)), digits=True)
    assert found.sum() > 0.7 * expected.sum()


def test_what_has_the_form_of_mnist_keeps_it(tmp_path):
    try:
        X = datasets.load_mnist(download=False).test_images[:200]
    except FileNotFoundError:
        pytest.skip("MNIST is not here")
    for i, row in enumerate(X):
        saved(tmp_path / f"{i:03}.png", row.reshape(28, 28))
    found = read_images(tmp_path, digits=True).X
    # The brightest pixel of some is 254, which becomes 255.
    assert np.abs(found.astype(int) - X).max() <= 1


MANNERS = {
    "dark on light": {},
    "thin, off the centre": {"width": 2, "at": (10, 15, 70, 110)},
    "thick": {"width": 24},
    "transparent": {"mode": "RGBA", "ink": INK, "paper": CLEAR},
    "colours": {"mode": "RGB", "ink": (200, 30, 30), "paper": (240, 230, 120)},
    "light on dark": {"ink": 230, "paper": 40},
}


def test_a_network_trained_on_mnist_reads_drawn_digits(tmp_path):
    try:
        X, y, *_ = datasets.load_mnist(download=False)
    except FileNotFoundError:
        pytest.skip("MNIST is not here")
    net = fastnn.Network([784, 128, 10], seed=0)
    net.train(X[:20000], y[:20000], epochs=3, progress=False)
    paths = []
    for i, how in enumerate(MANNERS.values()):
        for digit in STROKES:
            paths.append(saved(tmp_path / f"{digit}_{i}.png", drawn(digit=digit, **how)))
            shade = shaded(drawn(digit=digit, ink=40))
            paths.append(saved(tmp_path / f"{digit}_{i}.jpg", shade, quality=50 + i))
    true = [int(path.name[0]) for path in paths]
    found = net.predict(read_images(paths, digits=True).X)
    assert np.mean(found == true) >= 0.9


# --- command lines


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Go to a folder with pictures of two classes, dark and light."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name, low in (("dark", 0), ("light", 150)):
        for i in range(12):
            picture = rng.integers(low, low + 60, (6, 5), dtype=np.uint8)
            saved(Path("pictures", name, f"{i}.png"), picture)
    return tmp_path


def printed_by(main, arguments, capsys):
    assert main(arguments) == 0
    return capsys.readouterr().out


def refused_by(main, arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    return capsys.readouterr().err


def test_a_folder_of_classes_is_a_data_set(folder):
    table = datasets.load("pictures").train
    assert table.X.shape == (24, 30)
    assert set(table.y) == {"dark", "light"}
    assert table.shape == (6, 5)
    assert datasets.load("pictures", images={"size": (3, 3)}).train.X.shape == (24, 9)


@pytest.mark.parametrize(
    ("options", "shape"),
    [("", (6, 5)), ("--size 9 4", (9, 4)), ("--size 12 4 --colour", (12, 4, 3))],
)
def test_pictures_are_augmented_in_their_own_shape(options, shape, folder, monkeypatch, capsys):
    def ends(**fields):
        raise ValueError(f"fields: {fields}")

    monkeypatch.setattr(augmenting, "Images", ends)
    words = f"--data pictures {options} --augment shift=1"
    assert f"'shape': {shape}" in refused_by(train.main, words.split(), capsys)


def test_training_and_prediction_with_pictures(folder, capsys):
    arguments = ["--data", "pictures", "--backend", "numpy", "--save", "net.safetensors"]
    arguments += ["--epochs", "30"]
    text = printed_by(train.main, arguments, capsys)
    assert "pictures: 19 training and 5 test rows of 30 features, 2 classes" in text
    assert "test accuracy  1.0000" in text
    arguments = ["net.safetensors", "--backend", "numpy", "--images", "pictures/dark/3.png"]
    text = printed_by(predict.main, [*arguments, "pictures/light"], capsys)
    assert "13 pictures of 6 x 5 pixels" in text
    lines = [line.split() for line in text.splitlines()[-14:]]
    assert lines[0] == ["file", "class", "probability"]
    assert lines[1][:2] == ["pictures/dark/3.png", "dark"]
    assert {line[1] for line in lines[2:]} == {"light"}
    assert all(0.5 <= float(line[2]) <= 1 for line in lines[1:])
    printed_by(predict.main, [*arguments, "--outputs", "out.csv"], capsys)
    heading, row = Path("out.csv").read_text().splitlines()
    assert heading == "file,prediction,dark,light"
    assert row.startswith("pictures/dark/3.png,dark,0.")


def test_patterns_that_no_shell_expands(folder, capsys):
    printed_by(
        train.main,
        ["--data", "pictures", "--backend", "numpy", "--save", "n.safetensors"],
        capsys,
    )
    arguments = ["n.safetensors", "--backend", "numpy", "--images", "pictures/dark/1*.png"]
    assert "3 pictures of" in printed_by(predict.main, arguments, capsys)


def test_size_and_colour_on_the_command_line(folder, capsys):
    arguments = ["--data", "pictures", "--backend", "numpy", "--quiet", "--size", "4", "3"]
    printed_by(train.main, [*arguments, "--colour", "--save", "net.safetensors"], capsys)
    assert fastnn.load("net.safetensors").architecture.sizes[0] == 36


def digits_network(path):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 256, (50, 784), dtype=np.uint8)
    net = fastnn.Network([784, 10], backend="numpy", seed=0)
    net.train(X, np.arange(50) % 10, epochs=1, progress=False)
    net.save(path)
    return net


def test_networks_for_mnist_get_pictures_in_its_form(folder, capsys):
    net = digits_network("net.safetensors")
    saved(Path("a.png"), drawn())
    text = printed_by(predict.main, ["net.safetensors", "--images", "a.png"], capsys)
    assert "pictures are brought to MNIST's form, as the network takes 28 x 28" in text
    expected = net.predict_proba(read_images("a.png", digits=True).X)[0]
    assert text.split()[-2:] == [str(expected.argmax()), f"{expected.max():.4f}"]


def test_a_committee_for_mnist_gets_pictures_in_its_form(folder, capsys):
    nets = [fastnn.Network([784, 10], backend="numpy", seed=seed) for seed in range(2)]
    committee = fastnn.Committee([*nets, digits_network("net.safetensors")])
    committee.save("c.safetensors")
    saved(Path("a.png"), drawn())
    arguments = ["c.safetensors", "--backend", "numpy", "--images", "a.png"]
    text = printed_by(predict.main, arguments, capsys)
    assert "<Committee of 3" in text
    assert "pictures are brought to MNIST's form" in text
    expected = committee.predict_proba(read_images("a.png", digits=True).X)[0]
    assert text.split()[-2:] == [str(expected.argmax()), f"{expected.max():.4f}"]


def test_no_digits_leaves_pictures_as_they_are(folder, capsys):
    net = digits_network("net.safetensors")
    saved(Path("a.png"), drawn((28, 28), (8, 4, 20, 24), 3))
    arguments = ["net.safetensors", "--no-digits", "--images", "a.png"]
    text = printed_by(predict.main, arguments, capsys)
    assert "MNIST" not in text
    expected = net.predict_proba(read_images("a.png").X)[0]
    assert text.split()[-2:] == [str(expected.argmax()), f"{expected.max():.4f}"]


def digits_in_folders():
    """Save a drawing in a folder for each digit."""
    for digit in range(10):
        saved(Path("drawn", str(digit), "a.png"), drawn())


@pytest.mark.parametrize("option", [[], ["--digits"]])
def test_data_of_pictures_are_brought_to_mnists_form_as_images_are(option, folder, capsys):
    net = digits_network("net.safetensors")
    digits_in_folders()
    arguments = ["net.safetensors", "--backend", "numpy", "--outputs", "out.csv", *option]
    text = printed_by(predict.main, [*arguments, "--data", "drawn"], capsys)
    assert ("pictures are brought to MNIST's form" in text) == (not option)
    assert "drawn: 10 rows of 784 features" in text
    found = [float(each) for each in Path("out.csv").read_text().splitlines()[3].split(",")[2:]]
    expected = net.predict_proba(read_images("drawn", digits=True).X)[2]
    assert found == pytest.approx(expected.tolist())


def test_no_digits_leaves_data_of_pictures_as_they_are(folder, capsys):
    digits_network("net.safetensors")
    digits_in_folders()
    arguments = ["net.safetensors", "--backend", "numpy", "--no-digits", "--data", "drawn"]
    assert "the network takes 784" in refused_by(predict.main, arguments, capsys)


def test_an_export_is_evaluated_on_pictures_in_mnists_form(folder, capsys):
    digits_network("net.safetensors")
    digits_in_folders()
    arguments = ["net.safetensors", "net.py", "--data", "drawn"]
    text = printed_by(export_main, arguments, capsys)
    assert "pictures are brought to MNIST's form" in text
    assert "accuracy  0.1000" in text
    arguments = ["net.safetensors", "other.py", "--data", "drawn", "--no-digits"]
    assert "the network takes 784" in refused_by(export_main, arguments, capsys)


@pytest.mark.parametrize("option", ["--digits", "--no-digits"])
def test_a_folder_of_mnists_files_stays_as_it_is(option, folder, capsys):
    digits_network("net.safetensors")
    path = str(Path(fastnn.__file__).parents[1] / "data" / "mnist")
    arguments = ["net.safetensors", "--backend", "numpy", "--data", path, option]
    text = printed_by(predict.main, arguments, capsys)
    assert "mnist: 10,000 rows of 784 features" in text
    assert "MNIST's form" not in text


@pytest.mark.parametrize("option", ["--colour", "--no-digits", "--grey"])
def test_options_of_pictures_are_named_as_typed_where_they_need_data(option, folder, capsys):
    digits_network("net.safetensors")
    arguments = ["net.safetensors", "net.py", option]
    assert f"{option} needs --data" in refused_by(export_main, arguments, capsys)


@pytest.mark.parametrize(
    ("main", "arguments", "message"),
    [
        (train.main, ["--data", "one"], "one has labels of a single class, 'cat'"),
        (train.main, ["--data", "empty"], "'empty' holds neither pictures, PNG or JPEG, nor the"),
        (train.main, ["--data", "pictures/dark"], "dark has no labels; need a folder of pictures"),
        (train.main, ["--data", "sizes"], "sizes/b/a.png' 64 x 64; --size HEIGHT WIDTH scales"),
        (train.main, ["--data", "pictures", "--digits", "--grey"], "--digits gives all pictures"),
        (train.main, ["--data", "a.csv", "--digits"], "a.csv is a file; --digits is for pictures"),
        (train.main, ["--size", "8", "8"], "--size needs --data FOLDER, pictures"),
        (
            train.main,
            ["--data", "pictures", "--save", "pictures/dark/3.png"],
            "--save would overwrite 'pictures/dark/3.png', which --data reads",
        ),
        (predict.main, ["net.safetensors", "--images", "no.png"], "--images: there is no file"),
        (
            predict.main,
            ["net.safetensors", "--images", "pictures/dark", "--no-digits"],
            "has 6 x 5 numbers, 30; the network takes 784: --size HEIGHT WIDTH",
        ),
        (
            train.main,
            ["--data", "pictures", "--test", "one"],
            "one has 20 features; need 30, as the training data; --size, --grey, --colour or",
        ),
        (
            predict.main,
            ["net.safetensors", "--data", "pictures", "--no-digits"],
            "pictures has 30 features; the network takes 784; --size, --grey, --colour or --digits",
        ),
        (
            predict.main,
            ["net.safetensors", "--images", "one", "--data", "one"],
            "--images and --data are both given",
        ),
    ],
)
def test_the_command_lines_refuse(main, arguments, message, folder, capsys):
    digits_network("net.safetensors")
    Path("empty").mkdir()
    Path("a.csv").write_text("a,label\n1,2\n")
    saved(Path("one/cat/a.png"), GREY)
    saved(Path("sizes/a/a.png"), GREY)
    saved(Path("sizes/b/a.png"), LARGE)
    assert message in refused_by(main, [*arguments, "--backend", "numpy"], capsys)
    assert Path("pictures/dark/3.png").read_bytes()[:4] == b"\x89PNG"


def test_mnist_is_in_its_form_already(tmp_path):
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(b"")  # damaged, which is noticed after its form is taken for right
    with pytest.raises(FileNotFoundError, match="lacks"):
        datasets.load(tmp_path, images={"digits": True})
    with pytest.raises(ValueError, match="a folder of MNIST; images must be None"):
        datasets.load(tmp_path, images={"grey": True})


def test_files_are_no_pictures(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("a,label\n1,2\n")
    with pytest.raises(ValueError, match="is a file; images must be None"):
        datasets.load(path, images={"grey": True})


def test_pictures_in_a_folder_and_in_the_folders_in_it(folder):
    found = images.pictures_in("pictures")
    assert len(found) == 24
    assert images.pictures_in("pictures/dark") == found[:12]


@pytest.mark.parametrize("option", [{"grey": "no"}, {"grey": 1}, {"digits": None}])
def test_what_is_neither_true_nor_false_is_refused(tmp_path, option):
    (name,) = option
    with pytest.raises(TypeError, match=f"^{name} must be True or False"):
        read_images(saved(tmp_path / "a.png", GREY), **option)
