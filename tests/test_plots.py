"""The pictures: what they show, that nothing in them overlaps, and what they refuse."""

from __future__ import annotations

import functools
import io
import itertools
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from fastnn import History, Network, metrics, plots

pytest.importorskip("matplotlib")
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from fastnn.augment import Images, Mixup, Noise
from fastnn.backends.dropout import row_keys
from fastnn.losses import Quantile

PNG = b"\x89PNG\r\n\x1a\n"
LONG = ["a class with quite a long name", "WWWWWWWWWWWWWWWWWWWWWWWWWWWWWW", "$x_1$ & <b>"]


def png(figure):
    """Draw a figure as it would be written."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    return buffer.getvalue()


def texts_of(figure):
    """Return every text that a figure shows."""
    png(figure)
    texts = [text for text in figure.findobj(Text) if text.get_visible()]
    return [text for text in texts if text.get_text().strip()]


def shown(figure):
    return [text.get_text() for text in texts_of(figure)]


def overlapping(texts):
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts]
    return [
        (one, other)
        for (one, a), (other, b) in itertools.combinations(boxes, 2)
        if min(a.x1, b.x1) - max(a.x0, b.x0) > 1 and min(a.y1, b.y1) - max(a.y0, b.y0) > 1
    ]


def labels_of(figure):
    """Return titles, labels, ticks within the limits and what is written, of a drawn figure."""
    texts = [text for text in figure.get_children() if isinstance(text, Text)]
    for ax in figure.axes:
        if ax.get_visible() and ax.axison:
            texts += [text for text in ax.get_children() if isinstance(text, Text)]
            texts += [ax.xaxis.label, ax.yaxis.label]
            for axis in (ax.xaxis, ax.yaxis):
                low, high = sorted(axis.get_view_interval())
                texts += [
                    tick.label1
                    for tick in axis.get_major_ticks()
                    if low <= tick.get_loc() <= high and tick.label1.get_visible()
                ]
    return [text for text in texts if text.get_text().strip()]


def cut_off(figure, texts):
    width, height = figure.get_size_inches() * figure.dpi
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts]
    return [
        name
        for name, box in boxes
        if box.x0 < -1 or box.y0 < -1 or box.x1 > width + 1 or box.y1 > height + 1
    ]


def history_of(epochs, *columns):
    names = ["loss", *columns, "learning_rate", "seconds", "samples_per_second"]
    rows = [
        {"epoch": e, **{name: (i + 1) / (e + 1) for i, name in enumerate(names)}}
        for e in range(1, epochs + 1)
    ]
    return History(rows)


VALIDATION = ["validation_loss", "validation_accuracy", "validation_macro_f1"]
TRAINING = [name.replace("validation", "training") for name in VALIDATION]
NUMBERS = ["validation_loss", "validation_r2", "validation_mae", "validation_rmse"]


def case(sizes, y, **how):
    """Return a trained network, its history, and the data it was trained on."""
    X = np.random.default_rng(1).uniform(size=(len(y), sizes[0]))
    net = Network(sizes, seed=0, backend="numpy", **how)
    return SimpleNamespace(
        net=net, history=net.train(X, y, 2, validation=(X, y), progress=False), X=X, y=y
    )


@pytest.fixture(scope="module")
def cases():
    rng = np.random.default_rng(0)
    return {
        "images": case([64, 8, 3], rng.integers(0, 3, 40)),
        "table": case([5, 8, 3], rng.integers(0, 3, 40)),
        "two classes": case([5, 4, 1], rng.integers(0, 2, 40).astype(float)),
        "numbers": case([5, 8, 2], rng.normal(size=(40, 2)), output="identity"),
        "labels": case([5, 8, 3], rng.integers(0, 2, (40, 3)), output="sigmoid"),
        "labels of mse": case([5, 8, 3], rng.integers(0, 3, 40), output="identity"),
    }


RNG = np.random.default_rng(2)
MANY = RNG.integers(0, 100, (2, 3000))
GUESSES = RNG.dirichlet(np.ones(3), 50)
TRUE = RNG.integers(0, 3, 50)
IMAGES = RNG.integers(0, 256, (50, 16), np.uint8)
FIGURES = {
    "images": lambda: plots.images(IMAGES),
    "images, labels": lambda: plots.images(IMAGES, TRUE, names=LONG),
    "images, predictions": lambda: plots.images(IMAGES, TRUE, TRUE[::-1], names=LONG),
    "images, one": lambda: plots.images(IMAGES[:1].astype(float), [2], [1], names=LONG),
    "images, colours": lambda: plots.images(IMAGES[:, :12], shape=(2, 2, 3), count=50, columns=8),
    "augmented": lambda: plots.augmented(IMAGES, [Images((4, 4), rotate=20), Mixup(1.0)]),
    "augmented, colours": lambda: plots.augmented(IMAGES[:, :12], Images((2, 2, 3), shift=1)),
    "images, wide": lambda: plots.images(IMAGES, TRUE, shape=(1, 16)),
    "classes": lambda: plots.classes(TRUE, LONG),
    "classes, one": lambda: plots.classes([0]),
    "classes, 100": lambda: plots.classes(MANY[0]),
    "classes, 300": lambda: plots.classes(np.arange(300)),
    "classes, uneven": lambda: plots.classes([0] * 123456 + [1]),
    "curves": lambda: plots.curves(history_of(10, *VALIDATION, *TRAINING)),
    "curves, one epoch": lambda: plots.curves(history_of(1, *VALIDATION)),
    "curves, 100 epochs": lambda: plots.curves(history_of(100, *TRAINING)),
    "curves, numbers": lambda: plots.curves(history_of(5, *NUMBERS)),
    "curves, loss": lambda: plots.curves(history_of(5)),
    "learning rate": lambda: plots.learning_rate(history_of(100)),
    "throughput": lambda: plots.throughput(history_of(1)),
    "confusion": lambda: plots.confusion(TRUE, TRUE[::-1]),
    "confusion, long names": lambda: plots.confusion(TRUE, TRUE[::-1], LONG),
    "confusion, one class": lambda: plots.confusion([0], [0]),
    "confusion, 2": lambda: plots.confusion([0, 1], [1, 1]),
    "confusion, 26": lambda: plots.confusion(*(MANY % 26), normalise=True),
    "confusion, 100": lambda: plots.confusion(*MANY),
    "confusion, 300": lambda: plots.confusion([299, 0], [299, 1]),
    "mistakes": lambda: plots.mistakes(IMAGES, TRUE, GUESSES, LONG, shape=(4, 4)),
    "mistakes, table": lambda: plots.mistakes(IMAGES, TRUE, GUESSES, LONG),
    "mistakes, one": lambda: plots.mistakes(IMAGES[:1], [0], [0.9]),
    "mistakes, none": lambda: plots.mistakes(IMAGES[:1], [1], [0.9]),
    "weights": lambda: plots.weights(Network([64, 30, 2], seed=0)),
    "weights, colours": lambda: plots.weights(Network([12, 3, 2], seed=0), shape=(2, 2, 3)),
    "weights, matrix": lambda: plots.weights(Network([64, 30, 2], seed=0), 1),
    "weights, zeros": lambda: plots.weights(
        Network([64, 1], init=lambda rng, *shape: np.zeros(shape))
    ),
    "calibration": lambda: plots.calibration(TRUE, GUESSES),
    "calibration, one": lambda: plots.calibration([1], [[0.1, 0.9]]),
    "calibration, 50 bins": lambda: plots.calibration(TRUE, GUESSES, 50),
    "predictions": lambda: plots.predictions(GUESSES, GUESSES[::-1], LONG),
    "predictions, one": lambda: plots.predictions([1.0], [1.0]),
    "predictions, 20,000": lambda: plots.predictions(*RNG.normal(size=(2, 20000))),
    "predictions, 6 outputs": lambda: plots.predictions(*RNG.normal(1e6, 1e5, (2, 50, 6))),
}


@functools.cache
def drawn(name):
    figure = FIGURES[name]()
    return figure, png(figure)


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_becomes_a_png(name):
    _, image = drawn(name)
    assert image.startswith(PNG)
    assert len(image) > 1000


@pytest.mark.parametrize("name", FIGURES)
def test_no_texts_overlap_or_are_cut_off(name):
    figure, _ = drawn(name)
    texts = labels_of(figure)
    assert not overlapping(texts)
    assert not cut_off(figure, texts)


def test_no_window_and_no_global_state(run_python):
    script = """
import matplotlib
before = list(dict.items(matplotlib.rcParams))
from fastnn import plots
import io, sys
plots.confusion([0, 1], [1, 1]).savefig(io.BytesIO())
assert "matplotlib.pyplot" not in sys.modules
assert before == list(dict.items(matplotlib.rcParams))
"""
    run_python("-c", script)


def test_matplotlib_is_not_imported_before_it_is_needed(run_python):
    script = "import sys, fastnn.plots, fastnn.report; assert 'matplotlib' not in sys.modules"
    run_python("-c", script)


@pytest.mark.parametrize("name", ["images", "curves", "classes", "weights, matrix"])
def test_without_matplotlib_an_error_says_what_to_install(monkeypatch, name):
    for module in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=r"plots need matplotlib: pip install 'fastnn-cpu\[plots"):
        FIGURES[name]()


# What is shown


def test_rows_are_followed_by_what_augmentation_makes_of_them():
    augment = Images((4, 4), rotate=20, shift=1)
    figure = plots.augmented(IMAGES, augment, count=2, times=3, seed=5)
    assert shown(figure) == ["row 0", "row 1"]
    drawn = [ax.images[0].get_array() for ax in figure.axes]
    for row in range(2):
        original, *changed = drawn[4 * row : 4 * row + 4]
        np.testing.assert_allclose(original, IMAGES[row].reshape(4, 4) / 255)
        for time, picture in enumerate(changed):
            keys = row_keys(5, time, 1, range(2))[0]
            wanted = augment.apply(IMAGES[:2] / 255, keys)[row].reshape(4, 4)
            np.testing.assert_allclose(picture, wanted)


def test_noise_leaves_the_scale_of_grey_as_it_is():
    figure = plots.augmented(IMAGES / 255, Noise(3.0), count=2, times=1)
    np.testing.assert_allclose(figure.axes[0].images[0].get_array(), IMAGES[0].reshape(4, 4) / 255)


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        ([], "augment is empty"),
        (Images((5, 5), shift=1), "25 numbers a row"),
        ("noise", "must be of fastnn.augment"),
    ],
)
def test_augmentation_that_does_not_fit_is_refused(augment, message):
    with pytest.raises((TypeError, ValueError), match=message):
        plots.augmented(IMAGES, augment)


def test_rows_that_are_no_images_are_not_drawn_augmented():
    with pytest.raises(ValueError, match="no square"):
        plots.augmented(IMAGES[:, :15], Noise(0.1))


def test_images_have_their_labels():
    figure = plots.images(IMAGES, [7] * 50, count=7, columns=3)
    assert shown(figure) == ["7"] * 7
    assert len(figure.axes) == 9
    np.testing.assert_allclose(figure.axes[1].images[0].get_array(), IMAGES[1].reshape(4, 4) / 255)


def test_a_mistaken_image_is_framed_and_bold():
    figure = plots.images(IMAGES[:2], [0, 1], [0, 2], names=["cat", "dog", "cow"])
    right, wrong = figure.axes
    assert (right.get_title(), wrong.get_title()) == ("cat", "dog → cow")
    assert not right.spines["top"].get_visible()
    assert wrong.spines["top"].get_visible()
    assert wrong.title.get_fontweight() == "bold"


def test_predictions_alone_are_shown():
    assert shown(plots.images(IMAGES[:2], predictions=[3, 4])) == ["3", "4"]


@pytest.mark.parametrize(
    ("X", "expected"),
    [
        (np.array([[0, 255, 51, 0]], np.uint8), [0, 1, 0.2, 0]),
        ([[0, 0.5, 0.2, 0]], [0, 0.5, 0.2, 0]),
        ([[-1, 3, 0, 0]], [0, 1, 0.25, 0.25]),
        ([[7, 7, 7, 7]], [0, 0, 0, 0]),
    ],
)
def test_images_are_scaled_from_black_to_white(X, expected):
    image = plots.images(X).axes[0].images[0]
    assert image.get_array().ravel().tolist() == pytest.approx(expected, rel=1e-6)
    assert image.get_clim() == (0, 1)


def test_bars_of_classes_are_their_counts():
    figure = plots.classes([2, 0, 2, 2], ["a", "b", "c"])
    bars = figure.axes[0].patches
    assert [bar.get_width() for bar in bars] == [1, 0, 3]
    assert {"a", "b", "c", "1", "0", "3", "4 rows, 3 classes"} <= {*shown(figure)}


def test_curves_of_one_score_share_axes():
    figure = plots.curves(history_of(3, *TRAINING, *VALIDATION))
    assert [ax.get_title() for ax in figure.axes] == ["loss", "accuracy", "macro-F1"]
    assert [len(ax.lines) for ax in figure.axes] == [3, 2, 2]
    entries = [text.get_text() for text in figure.legends[0].get_texts()]
    assert entries == ["training, during the epoch", "training, after the epoch", "validation"]


def test_lines_differ_by_more_than_colour():
    lines = plots.curves(history_of(3, "training_loss", "validation_loss")).axes[0].lines
    for look in ("get_linestyle", "get_marker", "get_color"):
        assert len({getattr(line, look)() for line in lines}) == 3


def test_curves_hold_what_the_history_does():
    history = history_of(4, *NUMBERS)
    figure = plots.curves(history)
    assert [ax.get_title() for ax in figure.axes] == ["loss", "R²", "MAE", "RMSE"]
    line = figure.axes[1].lines[0]
    assert line.get_xdata().tolist() == history["epoch"]
    assert line.get_ydata().tolist() == history["validation_r2"]


def test_the_best_epoch_is_marked():
    history = history_of(5, "validation_loss")
    history.best_epoch = 3
    figure = plots.curves(history)
    assert figure.axes[0].lines[-1].get_xdata() == [3, 3]
    assert "best epoch" in shown(figure)


@pytest.mark.parametrize(("last", "scale"), [(0.5, "linear"), (0.01, "log"), (0.0, "linear")])
def test_a_loss_that_falls_far_has_a_log_scale(last, scale):
    history = History([{"epoch": 1, "loss": 1.0}, {"epoch": 2, "loss": last}])
    ax = plots.curves(history).axes[0]
    assert ax.get_yscale() == scale
    assert ("log scale" in ax.get_title()) == (scale == "log")


@pytest.mark.parametrize(
    ("draw", "column"),
    [(plots.learning_rate, "learning_rate"), (plots.throughput, "samples_per_second")],
)
def test_rates_are_columns_of_the_history(draw, column):
    history = history_of(3)
    assert draw(history).axes[0].lines[0].get_ydata().tolist() == history[column]


def test_confusion_writes_its_counts():
    figure = plots.confusion([0, 0, 0, 1], [0, 0, 1, 1])
    cells = {text.get_position(): text.get_text() for text in figure.axes[0].texts}
    assert cells == {(0, 0): "2", (1, 0): "1", (1, 1): "1"}
    assert "3 of 4 right, 75.00%" in shown(figure)


def test_confusion_writes_shares():
    cells = plots.confusion([0, 0, 0, 1], [0, 0, 1, 1], normalise=True).axes[0].texts
    assert sorted(text.get_text() for text in cells) == ["100.0", "33.3", "66.7"]


def test_hits_do_not_drown_mistakes():
    y_true = np.repeat([0, 1], 1000)
    y_pred = y_true.copy()
    y_pred[:5] = 1
    hits, mistakes = plots.confusion(y_true, y_pred).axes[0].images
    assert hits.get_clim() == (0, 100)
    assert mistakes.get_clim() == (0, 0.5)
    assert mistakes.get_array().mask.tolist() == [[True, False], [False, True]]


def test_a_confusion_matrix_of_many_classes_has_no_numbers():
    figure = plots.confusion(*MANY)
    assert not figure.axes[0].texts
    assert {"0", "50", "99"} <= {text.get_text() for text in figure.axes[0].get_xticklabels()}


@pytest.mark.parametrize("shape", [(4, 4), None])
def test_the_surest_mistakes_are_shown(shape):
    predicted, confidence = metrics.winners(GUESSES)
    wrong = [row for row in np.argsort(-confidence) if predicted[row] != TRUE[row]]
    figure = plots.mistakes(IMAGES, TRUE, GUESSES, ["A", "B", "C"], count=4, shape=shape)
    if shape:
        found = [ax.get_title().replace("\n", " ") for ax in figure.axes[:4]]
    else:
        found = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
        bars = [bar.get_width() for bar in figure.axes[0].patches]
        assert bars == [*confidence[wrong[:4]], *GUESSES[wrong[:4], TRUE[wrong[:4]]]]
    for text, row in zip(found, wrong, strict=False):
        assert text.startswith(f"row {row}")
        assert f"{'ABC'[TRUE[row]]} → {'ABC'[predicted[row]]}" in text
    assert len(found) == 4
    assert f"the surest of {len(wrong)} mistakes in 50 rows: true → predicted" in shown(figure)


def test_mistakes_of_equal_confidence_come_in_order():
    figure = plots.mistakes(np.ones((4, 3)), [0, 1, 0, 0], [0.75, 0.75, 0.75, 0.875])
    ticks = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert ticks == ["row 3: 0 → 1", "row 0: 0 → 1", "row 2: 0 → 1"]


def test_no_mistakes_are_said():
    assert shown(FIGURES["mistakes, none"]()) == ["no mistakes in 1 row"]


def test_weights_are_images_of_one_scale_around_0():
    net = Network([64, 30, 2], seed=0)
    figure = plots.weights(net, count=7)
    images = [ax.images[0] for ax in figure.axes if ax.images and ax.get_title()]
    assert len(images) == 7
    np.testing.assert_array_equal(images[3].get_array(), net.weights[0][:, 3].reshape(8, 8))
    low, high = images[0].get_clim()
    assert -low == high > 0
    assert {image.get_clim() for image in images} == {(low, high)}


def test_colours_of_weights_lie_side_by_side():
    net = Network([12, 1], seed=0)
    image = plots.weights(net, shape=(2, 2, 3)).axes[0].images[0].get_array()
    pixels = net.weights[0][:, 0].reshape(2, 2, 3)
    np.testing.assert_array_equal(image, np.hstack([pixels[..., i] for i in range(3)]))


@pytest.mark.parametrize(("layer", "shape"), [(1, None), (0, ())])
def test_weights_of_what_is_no_image_are_a_matrix(layer, shape):
    net = Network([64, 64, 2], seed=0)
    image = plots.weights(net, layer, shape).axes[0].images[0]
    np.testing.assert_array_equal(image.get_array(), net.weights[layer])


def test_calibration_draws_its_bins():
    bins = metrics.calibration_bins(TRUE, GUESSES, 5)
    top, bottom = plots.calibration(TRUE, GUESSES, 5).axes
    np.testing.assert_array_equal(top.lines[1].get_data(), [bins.confidence, bins.accuracy])
    assert [bar.get_height() for bar in bottom.patches] == bins.counts.tolist()
    assert f"{bins.error:.4f}" in top.get_title()


def test_predictions_draw_points_and_errors():
    true, pred = [[1.0], [2.0], [4.0]], [[1.5], [2.0], [3.0]]
    top, bottom = plots.predictions(true, pred).axes
    assert top.lines[1].get_xdata().tolist() == [1, 2, 4]
    assert top.lines[1].get_ydata().tolist() == [1.5, 2, 3]
    assert top.get_title() == f"R² {metrics.r2(true, pred):.4f}"
    assert sum(bar.get_height() for bar in bottom.patches) == 3


def test_names_are_kept_to_a_line_and_not_read_as_formulas():
    figure = plots.classes([0, 1], ["two\nlines", "$x_1"])
    assert {"two lines", "$x_1"} <= {*shown(figure)}
    assert png(figure)


# Of a run


ALWAYS = {"curves", "learning_rate", "throughput", "weights"}
OF_CLASSES = {"confusion", "classes", "mistakes", "calibration"}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("images", {*ALWAYS, *OF_CLASSES, "images"}),
        ("table", {*ALWAYS, *OF_CLASSES}),
        ("two classes", {*ALWAYS, *OF_CLASSES}),
        ("numbers", {*ALWAYS, "predictions"}),
        ("labels", ALWAYS),
        ("labels of mse", {*ALWAYS, "confusion", "classes"}),
    ],
)
def test_a_run_writes_what_applies(cases, tmp_path, kind, expected):
    run = cases[kind]
    paths = plots.run(tmp_path / "new" / "folder", run.net, run.history, run.X, run.y)
    assert {path.stem for path in paths} == expected
    assert {*(tmp_path / "new" / "folder").iterdir()} == {*paths}
    assert all(path.read_bytes().startswith(PNG) for path in paths)


def test_a_run_draws_all_classes_of_the_network(cases):
    run = cases["table"]
    figures = dict(plots.of_run(run.net, run.history, run.X[:1], [0]))
    assert figures["confusion"].axes[0].images[0].get_array().shape == (3, 3)
    assert len(figures["classes"].axes[0].patches) == 3


def test_without_an_epoch_there_are_no_curves(cases):
    run = cases["table"]
    names = [name for name, _ in plots.of_run(run.net, History(), run.X, run.y)]
    assert not {"curves", "learning_rate", "throughput"} & {*names}
    assert "confusion" in names


def test_a_shape_of_nothing_says_that_rows_are_no_images(cases):
    run = cases["images"]
    figures = dict(plots.of_run(run.net, run.history, run.X, run.y, shape=()))
    assert "images" not in figures
    assert figures["weights"].axes[0].images[0].get_array().shape == (64, 8)


@pytest.mark.parametrize("kind", ["images", "two classes", "labels of mse", "numbers"])
def test_results_are_what_the_network_predicts(cases, kind):
    run = cases[kind]
    found = plots.results(run.net, run.X, run.y)
    if found.kind == "numbers":
        np.testing.assert_array_equal(found.predicted, run.net.predict(run.X))
    else:
        scores = run.net.evaluate(run.X, run.y)
        assert metrics.accuracy(found.true, found.predicted) == scores["accuracy"]


# What is refused


@pytest.mark.parametrize(
    ("draw", "error", "message"),
    [
        (lambda: plots.images([1, 2]), ValueError, r"X is int64 \(2,\); need numbers of shape"),
        (lambda: plots.images([["a"]]), ValueError, "X is <U1"),
        (
            lambda: plots.images(np.ones((2, 6))),
            ValueError,
            "X has 6 features, which is no square; need",
        ),
        (lambda: plots.images(np.ones((2, 6)), shape=(2, 2)), ValueError, r"shape is \(2, 2\)"),
        (lambda: plots.images(np.ones((2, 6)), shape=(6,)), ValueError, r"shape is \(6,\)"),
        (lambda: plots.images(np.ones((2, 8)), shape=(2, 2, 2)), ValueError, "height, width, 3"),
        (lambda: plots.images(np.ones((2, 6)), shape=(2.0, 3)), TypeError, r"shape\[0\] must be"),
        (lambda: plots.images([[np.nan]]), ValueError, "X must be finite"),
        (lambda: plots.images([[1]], [0, 1]), ValueError, "labels has 2 labels; need 1"),
        (lambda: plots.images([[1]], [0.5]), TypeError, "labels has dtype float64"),
        (lambda: plots.images([[1]], predictions=[-1]), ValueError, "predictions holds -1"),
        (lambda: plots.images([[1]], [2], names=["a"]), ValueError, "names has 1; need 3"),
        (lambda: plots.images([[1]], count=0), ValueError, "count must be at least 1"),
        (lambda: plots.images([[1]], columns=1.5), TypeError, "columns must be an integer"),
        (lambda: plots.classes([]), ValueError, r"y has shape \(0,\)"),
        (lambda: plots.classes([0, 1], "ab"), TypeError, "names is 'ab'; need a list of strings"),
        (lambda: plots.classes([0, 1], ["a", 1]), TypeError, "names is"),
        (lambda: plots.curves([1]), TypeError, "history is a list; need a History"),
        (lambda: plots.curves(History()), ValueError, "history has no epochs"),
        (lambda: plots.curves(History([{"epoch": 1}])), ValueError, "history has columns"),
        (lambda: plots.learning_rate(History([{"epoch": 1}])), KeyError, "learning_rate"),
        (lambda: plots.confusion([0], [0, 1]), ValueError, "y_pred has 2 labels; need 1"),
        (lambda: plots.confusion([0], [3], ["a"]), ValueError, "classes is 1; need 4"),
        (lambda: plots.mistakes([[1]], [0, 1], [1, 1]), ValueError, "y_true has 2 labels; need 1"),
        (lambda: plots.mistakes([[1]], [0], [1, 1]), ValueError, "probabilities has 2 rows"),
        (lambda: plots.mistakes([[1]], [0], [2.0]), ValueError, "probabilities holds 2"),
        (lambda: plots.mistakes([[1]], [0], [[0, 1]], ["a"]), ValueError, "names has 1; need 2"),
        (lambda: plots.weights(Network([4, 2]), 1), ValueError, "layer must be from 0 to 0"),
        (lambda: plots.weights(Network([4, 2]), shape=(3, 3)), ValueError, "shape is"),
        (lambda: plots.calibration([0], [1.0], 0), ValueError, "bins is 0; need 1 or more"),
        (lambda: plots.predictions([1.0], [1.0, 2.0]), ValueError, "y_pred has shape"),
        (lambda: plots.predictions([[1.0, 2.0]], [[1.0, 2.0]], ["a"]), ValueError, "names has 1"),
    ],
)
def test_bad_arguments_are_refused_by_name(draw, error, message):
    with pytest.raises(error, match=message):
        draw()


def test_a_run_refuses_data_that_do_not_fit(cases, tmp_path):
    run = cases["table"]
    with pytest.raises(ValueError, match="y must have as many rows as X"):
        plots.run(tmp_path, run.net, run.history, run.X, run.y[:3])
    with pytest.raises(ValueError, match="names has 2; need 3"):
        plots.run(tmp_path, run.net, run.history, run.X, run.y, names=["a", "b"])


def test_a_folder_that_is_a_file_is_refused(cases, tmp_path):
    run = cases["table"]
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError):
        plots.run(tmp_path / "file", run.net, run.history, run.X, run.y)


def test_quantiles_are_drawn_against_the_same_numbers():
    X = np.random.default_rng(0).uniform(-1, 1, (60, 2))
    net = Network([2, 4, 3], loss=Quantile((0.1, 0.5, 0.9)), seed=0)
    history = net.train(X, X[:, 0], epochs=2)
    found = plots.results(net, X, X[:, 0])
    assert found.true.shape == found.predicted.shape == (60, 3)
    drawn = dict(plots.of_run(net, history, X, X[:, 0]))
    assert len(drawn["predictions"].axes) == 6
