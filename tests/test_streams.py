"""Training on streams: the same bits as on arrays, resuming, and what is refused."""

from __future__ import annotations

import contextlib
import copy
import itertools
import threading
import time
import warnings
from importlib.util import find_spec

import numpy as np
import pytest
from cases import BACKENDS

import fastnn
from fastnn import EarlyStopping, Network, augment
from fastnn.datasets import stream
from fastnn.model import storage
from fastnn.training.buffers import steps_of_a_buffer
from fastnn.training.survey import LongestRun, Reader

each_backend = pytest.mark.parametrize("backend", BACKENDS)
TIMES = ("seconds", "samples_per_second")
RNG = np.random.default_rng(5)
ROWS = 233
X = RNG.normal(size=(ROWS, 6)) * [1, 2, 3, 1, 1, 9] + [0, 5, 0, 1, 0, 0]
Y = RNG.integers(0, 3, ROWS)
TEXT = np.array(["cat", "ant", "bee"])[Y]
NUMBERS = X[:, :2] @ [[1.0, 2.0], [0.5, 1.0]] + RNG.normal(size=(ROWS, 2))
WEIGHTS = RNG.uniform(0, 3, ROWS)
CUTS = (0, 1, 40, 41, 150, 220, ROWS)  # where blocks begin


def blocks(X, y, weights=None):
    """Return a function that makes blocks of several lengths."""

    def make():
        for first, last in itertools.pairwise(CUTS):
            part = slice(first, last)
            yield (X[part], y[part]) if weights is None else (X[part], y[part], weights[part])

    return make


def network(backend="numpy", sizes=(6, 5, 3), **options):
    return Network(list(sizes), **{"seed": 1, "backend": backend, **options})


def recorded(history):
    return [{k: v for k, v in row.items() if k not in TIMES} for row in history]


def of(net):
    """Everything that training changes of a network."""
    model = net.model
    scalers = [s and [part.tobytes() for part in s] for s in (net.input_scaler, net.target_scaler)]
    state = model.optimizer_state
    return (
        net.parameters.tobytes(), scalers, net.classes, net.features, net.epochs_trained,
        model.pixels, state and [slot.vector.tobytes() for slot in state.slots],
    )  # fmt: skip


def assert_no_thread():
    assert not [each for each in threading.enumerate() if each.name == "fastnn-reading"]


REGRESSION = {"sizes": (6, 5, 2), "output": "identity"}
SCALED = {"standardize_inputs": True}
CASES = {
    "labels": (X, Y, {}, {}),
    "text": (X, TEXT, SCALED, {}),
    "text that is objects": (X, TEXT.astype(object), SCALED, {}),
    "truth values": (X, Y > 0, {"sizes": (6, 5, 1)}, {}),
    "truth values of two outputs": (X, Y > 0, {"sizes": (6, 5, 2)}, {}),
    "two names": (X, np.where(Y > 0, "b", "a"), {"sizes": (6, 5, 1)}, {}),
    "columns of labels": (X, np.eye(3)[Y], {"output": "sigmoid"}, {}),
    "probabilities": (X, np.eye(3)[Y] * 0.7 + 0.1, {}, {}),
    "numbers": (X, NUMBERS, {**REGRESSION, **SCALED, "standardize_targets": True}, {}),
    "counts": (X, Y, {"sizes": (6, 5, 1), "output": "exponential"}, {"learning_rate": 0.01}),
    "float64": (X, NUMBERS, {**REGRESSION, **SCALED, "dtype": "float64"}, {}),
    "float32 for float64": (X.astype("f4"), Y, {**SCALED, "dtype": "float64"}, {}),
    "integers": (np.rint(X).astype(int), Y, SCALED, {}),
    "pixels": (RNG.integers(0, 256, (ROWS, 6), np.uint8), Y, {}, {}),
    "scaled pixels": (RNG.integers(0, 256, (ROWS, 6), np.uint8), Y, SCALED, {}),
    "pictures": (X.reshape(ROWS, 2, 3), Y, {}, {}),
    "balanced": (X, TEXT, {}, {"class_weight": "balanced"}),
    "balanced in float64": (X, Y, {"dtype": "float64"}, {"class_weight": "balanced"}),
    "weights by name": (X, TEXT, {}, {"class_weight": {"bee": 2.5, "ant": 0.25}}),
    "dropout": (X, Y, SCALED, {"dropout": 0.4}),
    "noise": (X, Y, {}, {"augment": augment.Noise(0.3)}),
    "adam": (X, Y, SCALED, {"optimizer": "adam", "l2": 0.01, "clip_norm": 0.5, "average": 0.9}),
    "averages of epochs": (X, Y, {}, {"average": fastnn.averaging.SWA(2), "schedule": "cosine"}),
    "a batch of all": (X, Y, {}, {"batch_size": 1000}),
    "single rows": (X, Y, {}, {"batch_size": 1, "learning_rate": 0.01}),
}


@each_backend
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("buffer", [20, 1000])
def test_without_shuffling_a_stream_is_what_its_rows_are_as_arrays(case, buffer, backend):
    inputs, targets, of_network, options = CASES[case]
    options = {"epochs": 3, "batch_size": 8, "shuffle": False, "learning_rate": 0.05, **options}
    whole, streamed = (network(backend, **of_network) for _ in range(2))
    expected = whole.train(inputs, targets, **options)
    found = streamed.train(stream(blocks(inputs, targets), buffer=buffer), **options)
    assert of(streamed) == of(whole)
    assert recorded(found) == recorded(expected)
    assert_no_thread()


@each_backend
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("class_weight", [None, "balanced", {"ant": 3}])
def test_weights_of_rows_are_those_of_arrays(class_weight, dtype, backend):
    options = {"epochs": 2, "batch_size": 8, "shuffle": False, "class_weight": class_weight}
    options["validation"] = (X[:50], TEXT[:50], WEIGHTS[:50])
    whole, streamed = (network(backend, dtype=dtype, **SCALED) for _ in range(2))
    expected = whole.train(X, TEXT, sample_weight=WEIGHTS, **options)
    found = streamed.train(stream(blocks(X, TEXT, WEIGHTS), buffer=50), **options)
    assert of(streamed) == of(whole)
    assert recorded(found) == recorded(expected)


@each_backend
def test_sparse_blocks_are_what_they_are_as_one_matrix(backend):
    sparse = pytest.importorskip("scipy.sparse")
    inputs = sparse.random(ROWS, 6, 0.3, format="csr", random_state=0)
    options = {"epochs": 3, "batch_size": 8, "shuffle": False, "optimizer": "adam"}
    whole, streamed = network(backend), network(backend)
    whole.train(inputs, Y, **options)
    streamed.train(stream(blocks(inputs, Y), buffer=30), **options)
    assert of(streamed) == of(whole)


@each_backend
def test_a_stream_that_fits_into_a_buffer_is_shuffled_as_arrays_are(backend):
    options = {"epochs": 3, "batch_size": 8, "augment": augment.Mixup(0.4)}
    whole, streamed = network(backend), network(backend)
    whole.train(X, Y, **options)
    streamed.train(list(blocks(X, Y)()), **options)
    assert of(streamed) == of(whole)


def test_frames_give_their_names_and_are_matched_by_them():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcdef"))
    whole, streamed = network(**SCALED), network(**SCALED)
    whole.train(frame, TEXT, shuffle=False, epochs=2)
    mixed = frame[list("fbdcae")]
    streamed.train([(frame[:100], TEXT[:100]), (mixed[100:], TEXT[100:])], shuffle=False, epochs=2)
    assert of(streamed) == of(whole)
    assert streamed.features == tuple("abcdef")


# Shuffling


def trained(source, threads=None, backend="numba", **options):
    net = network(backend, threads=threads, **SCALED)
    net.train(source, **{"epochs": 3, "batch_size": 8, "dropout": 0.2, **options})
    return of(net)


@each_backend
def test_shuffled_runs_are_the_same_bits_at_any_number_of_threads(backend):
    source = stream(list(blocks(X, Y)()), buffer=40)
    first = trained(source, backend=backend)
    assert trained(source, backend=backend) == first
    assert trained(source, threads=1, backend=backend) == first
    assert trained(source, shuffle=False, backend=backend) != first


def numbers_of_the_batches(source, epochs=2, batch_size=8, **options):
    """The rows in the order in which they are learnt from, as a loss of its own sees them."""
    seen = []

    def loss(outputs, targets):
        batch = targets[:, 0].tolist()
        if seen[-1:] != [batch]:  # a step may ask twice
            seen.append(batch)
        return ((outputs - targets) ** 2).sum(axis=1), 2 * (outputs - targets)

    net = Network([1, 1], output="identity", loss=loss, seed=3, backend="numpy", dtype="float64")
    seen.clear()  # of what checks a loss
    net.train(source, epochs=epochs, batch_size=batch_size, learning_rate=1e-12, **options)
    return np.concatenate(seen).astype(int)


def test_each_epoch_takes_all_rows_once_in_another_order_with_parts_in_another_order():
    rows = np.arange(100.0)
    parts = [(rows[i : i + 10, None], rows[i : i + 10]) for i in range(0, 100, 10)]
    seen = numbers_of_the_batches(stream(parts, buffer=20))[:200].reshape(2, 100)
    assert (np.sort(seen) == np.arange(100)).all()
    assert (seen[0] != seen[1]).any()
    # A buffer has 16 rows: they come from few parts, which are in no order.
    parts_of = seen // 10
    assert all(len(set(parts_of[0, i : i + 16])) <= 3 for i in range(0, 100, 16))
    assert (np.diff(parts_of[:, ::16]) < 0).any()
    assert (np.abs(np.diff(seen[0, :16])) > 1).any()


@pytest.mark.parametrize(
    ("steps", "batch_size", "buffer", "together", "expected"),
    [
        (10, 8, 1000, 1, 10), (10, 8, 79, 1, 5), (10, 8, 16, 1, 2), (7, 8, 40, 1, 4),
        (7, 8, 1, 1, 1), (10, 8, 1000, 3, 12), (10, 8, 79, 3, 6), (10, 8, 16, 3, 3),
    ],
)  # fmt: skip
def test_buffers_are_about_as_long_as_each_other(steps, batch_size, buffer, together, expected):
    assert steps_of_a_buffer(steps, batch_size, buffer, together) == expected


# Resuming


class Stopping:
    """A schedule during which Ctrl-C comes once."""

    def __init__(self, at):
        self.at = at

    def __call__(self, t):
        if self.at is not None and t >= self.at:
            self.at = None
            raise KeyboardInterrupt
        return 1.0


@each_backend
@pytest.mark.parametrize("at", [0.01, 0.3, 0.62, 1.0, 1.5, 2.96])
def test_a_run_that_is_resumed_ends_with_the_same_bits(tmp_path, at, backend):
    options = {"epochs": 3, "batch_size": 8, "dropout": 0.3, "optimizer": "adam"}
    source = stream(list(blocks(X, TEXT, WEIGHTS)()), buffer=30)
    whole = network(backend, **SCALED)
    expected = whole.train(source, schedule=Stopping(None), **options)
    options |= {"checkpoint": tmp_path / "c", "checkpoint_every": 3}
    with pytest.raises(KeyboardInterrupt):
        network(backend, **SCALED).train(source, schedule=Stopping(at), **options)
    assert_no_thread()
    resumed = network(backend, **SCALED)
    found = resumed.train(source, schedule=Stopping(None), resume=True, **options)
    assert of(resumed) == of(whole)
    assert recorded(found) == recorded(expected)


def test_a_time_limit_ends_a_call_within_an_epoch_and_the_run_can_go_on(tmp_path):
    options = {"epochs": 2, "batch_size": 8, "checkpoint": tmp_path / "c", "checkpoint_every": 1}
    source = stream(list(blocks(X, Y)()), buffer=16)
    whole = network()
    whole.train(source, epochs=2, batch_size=8)
    for _ in range(100):
        net = network()
        history = net.train(source, resume=True, max_seconds=1e-9, **options)
        if history.stopped != "max_seconds":
            break
        assert_no_thread()
    assert of(net) == of(whole)


def test_parts_that_are_done_are_not_read_again(tmp_path):
    read = []

    class Parts(list):
        def __getitem__(self, i):
            read.append(i)
            return super().__getitem__(i)

    parts = Parts(blocks(X, Y)())
    options = {"epochs": 1, "batch_size": 8, "checkpoint": tmp_path / "c", "shuffle": False}
    with pytest.raises(KeyboardInterrupt):
        network().train(
            stream(parts, buffer=16), schedule=Stopping(0.8), checkpoint_every=1, **options
        )
    step = storage.read(tmp_path / "c")[1]["run"]["progress"]["step"]
    assert step >= 23
    read.clear()
    network().train(stream(parts, buffer=16), schedule=Stopping(None), resume=True, **options)
    assert read.count(0) == read.count(3) == 1  # by the first pass
    assert read.count(4) == read.count(5) == 2


@pytest.mark.parametrize(
    ("source", "what"),
    [
        (list(blocks(X + 1, Y)()), "X"),
        (list(blocks(X, (Y + 1) % 3)()), "y"),
        ([(X, Y)], "the number of rows of each part"),
        (list(blocks(X, Y, WEIGHTS)()), "the row weights"),
        (stream(list(blocks(X, Y)()), buffer=24), "the length of a buffer"),
    ],
)
def test_another_stream_is_refused_by_what_differs(tmp_path, source, what):
    options = {"epochs": 1, "checkpoint": tmp_path / "c"}
    network().train(list(blocks(X, Y)()), **options)
    with pytest.raises(ValueError, match=f"of another run: other data in {what};"):
        network().train(source, resume=True, **options)


def test_other_weights_of_classes_are_refused(tmp_path):
    options = {"epochs": 1, "checkpoint": tmp_path / "c"}
    network().train(list(blocks(X, Y)()), class_weight="balanced", **options)
    message = "of another run: other data in the weights of the classes;"
    for weights in (None, {0: 2.0}):
        with pytest.raises(ValueError, match=message):
            network().train(list(blocks(X, Y)()), class_weight=weights, resume=True, **options)


def test_arrays_do_not_resume_the_run_of_a_stream(tmp_path):
    options = {"epochs": 1, "checkpoint": tmp_path / "c"}
    inputs = X.astype("f4")
    network().train(blocks(inputs, Y), **options)
    with pytest.raises(ValueError, match="of another run: other data in"):
        network().train(inputs, Y, resume=True, **options)


# What else a run does


def test_early_stopping_and_validation_data_are_as_with_arrays():
    options = {
        "epochs": 30, "batch_size": 8, "shuffle": False, "validation": (X[:40], TEXT[:40]),
        "early_stopping": EarlyStopping(patience=2), "learning_rate": 0.5, "schedule": "plateau",
    }  # fmt: skip
    whole, streamed = network(**SCALED), network(**SCALED)
    expected = whole.train(X, TEXT, **options)
    found = streamed.train(stream(blocks(X, TEXT), buffer=40), **options)
    assert found.stopped == expected.stopped == "early stopping"
    assert of(streamed) == of(whole)
    assert recorded(found) == recorded(expected)
    assert_no_thread()


def test_a_second_call_goes_on(tmp_path):
    whole, streamed = network(**SCALED), network(**SCALED)
    for _ in range(2):
        whole.train(X, TEXT, shuffle=False, optimizer="adam", epochs=2)
        streamed.train(
            stream(blocks(X, TEXT), buffer=64), shuffle=False, optimizer="adam", epochs=2
        )
    assert of(streamed) == of(whole)


def test_the_bar_goes_through_a_first_pass_and_all_epochs(capsys):
    network().train(blocks(X, Y), epochs=2, progress=True)
    printed = capsys.readouterr().err
    assert "first pass" in printed
    assert "epoch 2" in printed


@pytest.mark.parametrize("source", ["function", "list of one", "list of many"])
def test_classes_that_fill_buffers_are_warned_of_if_rows_are_shuffled(source):
    order = np.argsort(Y, kind="stable")
    made = blocks(X[order], TEXT[order])
    pieces = [(X[i : i + 1], TEXT[i : i + 1]) for i in order]
    given = {"function": made, "list of one": [(X[order], TEXT[order])], "list of many": pieces}
    most = int(np.bincount(Y).max())
    for buffer, shuffle in ((most, True), (most + 1, True), (most, False), (ROWS, True)):
        warned = buffer == most and shuffle and source != "list of many"
        name = "source" if source == "function" else r"source\[0\]"
        message = rf"^{name} has {most} rows of one class one after the other, and {most} are"
        with pytest.warns(UserWarning, match=message) if warned else contextlib.nullcontext():
            network().train(stream(given[source], buffer=buffer), epochs=2, shuffle=shuffle)


def test_one_class_alone_is_not_warned_of_as_sorted():
    network().train(stream(blocks(X, np.zeros(ROWS, int)), buffer=16), epochs=1)


def test_the_longest_run_of_a_label_is_found_across_blocks():
    labels = np.repeat([0, 1, 0, 2, 1], [3, 1, 7, 5, 2])
    for cuts in ([], [5], [1, 2, 3, 4, 9, 10, 16], range(1, 18)):
        run = LongestRun()
        for part in np.split(labels, cuts):
            run.add(0, part)
        assert (run.rows, run.part) == (7, 0)
    run = LongestRun()
    run.add(3, labels[:8])
    run.add(4, labels[8:])  # of another part
    assert (run.rows, run.part) == (5, 4)


def test_a_run_of_no_use_is_judged_by_rows_of_the_whole_stream():
    order = np.argsort(Y)  # the last buffer has a single class
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network(**SCALED).train(
            stream(blocks(X[order], Y[order]), buffer=8),
            epochs=20, batch_size=8, shuffle=False, learning_rate=0.01,
        )  # fmt: skip
    with pytest.warns(fastnn.ConvergenceWarning, match="predicts the same"):
        network(activation="relu").train(
            stream(blocks(X, Y), buffer=64), epochs=20, learning_rate=0.05, l2=10
        )


@each_backend
def test_divergence_names_the_step_and_leaves_the_network_before_it(backend):
    inputs = X.copy()
    inputs[180:] *= 1e30
    net = network(backend, activation="relu")
    with pytest.raises(fastnn.DivergenceError, match=r"epoch 1, step 2\d, at a learning rate"):
        net.train(stream(blocks(inputs, Y), buffer=16), batch_size=8, shuffle=False)
    assert np.isfinite(net.parameters).all()
    assert_no_thread()


def test_a_copy_of_the_network_can_be_made_after_training():
    net = network()
    net.train(blocks(X, Y), epochs=1)
    assert of(copy.deepcopy(net)) == of(net)


# What is refused before anything is trained


def refused(message, *arguments, error=ValueError, net=None, **options):
    net = net or network()
    before = of(net)
    with pytest.raises(error, match=message):
        net.train(*arguments, **options)
    assert of(net) == before
    assert_no_thread()


NEEDS_MPI = pytest.mark.skipif(find_spec("mpi4py") is None, reason="needs mpi4py")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation": 0.2}, r"validation=0\.2 sets a share of arrays aside.*pass \(X, y\)"),
        ({"training_metrics": True}, r"training_metrics needs all rows in memory"),
        ({"sample_weight": WEIGHTS}, r"its blocks hold the weights"),
        pytest.param({"communicator": object()}, "communicator", marks=NEEDS_MPI),
        ({"y": Y}, "y must be left out"),
        ({"epochs": 0}, "epochs must be"),
        ({"class_weight": "blanced"}, "class_weight must be one of balanced; got 'blanced'"),
        ({"class_weight": [1, 2]}, "a weight for each of 3 classes"),
        ({"early_stopping": True}, r"needs validation data: pass validation=\(X, y\), or watch"),
        ({"early_stopping": EarlyStopping("los")}, "'los' needs validation data.*'loss'"),
        ({"validation": stream(blocks(X, Y))}, "validation must be.*got a Stream"),
        ({"validation": blocks(X, Y)}, "validation must be.*got a function"),
    ],
)
def test_settings_that_do_not_go_with_a_stream_are_refused_before_it_is_read(options, message):
    def unread():
        raise AssertionError("is read")
        yield

    refused(message, stream(unread), error=(ValueError, TypeError), **options)


@pytest.mark.parametrize("given", [X, X.tolist(), (X, Y), ([1, 2], [3, 4])])
def test_targets_that_are_missing_are_asked_for(given):
    refused("y must be labels or numbers, got None", given, error=TypeError)


def test_a_path_is_told_from_a_stream():
    refused(
        r"X is a path; need train\(fastnn\.datasets\.stream\('x\.csv'", "x.csv", error=TypeError
    )


def test_an_iterator_is_told_from_a_function():
    refused("gone after one epoch; pass a function", blocks(X, Y)(), error=TypeError)


def test_class_weights_need_classes():
    for weights in ("balanced", {0: 1}):
        refused(
            "class_weight needs classes", blocks(X, NUMBERS), net=network(**REGRESSION),
            class_weight=weights,
        )  # fmt: skip


@pytest.mark.parametrize(
    "use",
    [
        lambda source: fastnn.Committee([network()]).train(source),
        lambda source: fastnn.Committee([network()]).train(source, Y),
        lambda source: fastnn.tune(source, Y, {"hidden": [(3,)]}),
        lambda source: fastnn.tune(source),
        lambda source: fastnn.minimize(network(), source),
        lambda source: network().evaluate(source, Y),
        lambda source: network().predict(source),
    ],
)
def test_functions_that_need_arrays_say_so(use):
    with pytest.raises(TypeError, match=r"read by fastnn\.Network\.train alone"):
        use(stream(blocks(X, Y)))


# Blocks that are refused


def with_block(X_of_it, y_of_it, *rest):
    return [*blocks(X, Y)(), (X_of_it, y_of_it, *rest)]


def damaged(row, column, value):
    inputs = X.copy()
    inputs[row, column] = value
    return inputs


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        (with_block(X[:5, :4], Y[:5]), ValueError, r"^source\[6\]: X must have shape \(rows, 6\)"),
        (with_block(X[:5], Y[:4]), ValueError, r"^source\[6\]: y must have as many rows"),
        (with_block(X[:5].astype(np.uint8), Y[:5]), ValueError,
         r"^source\[6\]: the type of X is uint8, and other numbers than uint8 in source\[0\]"),
        (with_block(X[:5], np.eye(3)[Y[:5]]), ValueError,
         r"^source\[6\]: y is targets in 3 columns, and class labels in source\[0\]"),
        (with_block(X[:5], TEXT[:5]), ValueError,
         r"^source\[6\]: y is names of classes, and class labels in source\[0\]"),
        (with_block(X[:5], Y[:5], WEIGHTS[:5]), ValueError,
         r"^source\[6\]: sample_weight is given, and missing in source\[0\]"),
        ([(X, Y, WEIGHTS)] * 6 + [(X[:5], Y[:5], WEIGHTS[:4])], ValueError,
         r"^source\[6\]: sample_weight must have"),
        ([(X, Y, WEIGHTS)] * 6 + [(X[:5], Y[:5], -WEIGHTS[:5])], ValueError,
         r"^source\[6\]: sample_weight must be"),
        (with_block(X[:5].astype(str), Y[:5]), TypeError, r"^source\[6\]: X holds"),
        (with_block(X[:5], Y[:5] + 7), ValueError, r"^source\[6\]: y must hold labels from 0 to 2"),
        (list(blocks(damaged(45, 2, np.nan), Y)()), ValueError,
         r"^source\[3\]: X must be finite in float32, got nan in row 4, column 2"),
        (blocks(damaged(45, 2, np.inf), Y), ValueError,
         r"^source, block 3: X must be finite in float32, got inf in row 4, column 2"),
        (blocks(X, np.where(Y == 1, np.nan, 0.5 * Y)), (ValueError, TypeError),
         r"^source, block \d: y must"),
        ([(X, Y), X], TypeError, r"^source\[1\] must be \(X, y\)"),
        (lambda: None, TypeError, "source must return an iterator over blocks; got None"),
        (lambda: iter(()), ValueError, "the stream gave no rows"),
        (lambda: [(X[:0], Y[:0])], ValueError, "the stream gave no rows"),
        (blocks(X, np.r_[TEXT[:-1], ["dog"]]), ValueError,
         r"^source, block 5: y holds 'dog', which makes at least 4 classes"),
        (blocks(X, np.where(TEXT == "bee", "ant", TEXT)), ValueError, "^y holds 2 classes"),
        (blocks(X, Y, np.zeros(ROWS)), ValueError, "weights of the rows to train.* are all 0"),
    ],
)  # fmt: skip
def test_bad_blocks_are_refused_by_name_before_anything_is_trained(source, error, message):
    refused(message, source, error=error)


def test_an_error_of_the_function_is_raised_as_it_is():
    def broken():
        yield X, Y
        raise ConnectionError("the line is dead")

    refused("the line is dead", broken, error=ConnectionError)


def test_weights_of_a_block_may_all_be_zero():
    weights = WEIGHTS.copy()
    weights[41:150] = 0
    whole, streamed = network(), network()
    whole.train(X, Y, sample_weight=weights, shuffle=False)
    streamed.train(blocks(X, Y, weights), shuffle=False)
    assert of(streamed) == of(whole)


def test_blocks_without_rows_are_left_out():
    whole, streamed = network(), network()
    whole.train(X, Y, shuffle=False)
    empty = X[:0], Y[:0]
    streamed.train([empty, (X[:50], Y[:50]), empty, (X[50:], Y[50:])], shuffle=False)
    assert of(streamed) == of(whole)


def test_warnings_are_said_once():
    pixels = (X > 0).astype(np.uint8)
    with pytest.warns(UserWarning, match="holds only 0 and 1") as said:
        network().train(blocks(pixels, Y), epochs=3)
    assert len(said) == 1
    assert said[0].filename == __file__
    pandas = pytest.importorskip("pandas")
    net = network()
    net.features = list("abcdef")
    frame = pandas.DataFrame(np.c_[X, X[:, 0]], columns=list("abcdefg"))
    with pytest.warns(UserWarning, match="left out: 'g'") as said:
        net.train(blocks(frame, Y), epochs=3)
    assert len(said) == 1


def test_a_function_may_use_its_arrays_again():
    room, labels = np.empty((10, 6)), np.empty(10, int)

    def make():
        for first in range(0, 200, 10):
            room[:], labels[:] = X[first : first + 10], Y[first : first + 10]
            yield room, labels

    for buffer in (16, 1000):
        whole, streamed = network(**SCALED), network(**SCALED)
        whole.train(X[:200], Y[:200], epochs=3, batch_size=8, shuffle=False)
        streamed.train(stream(make, buffer=buffer), epochs=3, batch_size=8, shuffle=False)
        assert of(streamed) == of(whole)


# What changes after the first pass


class Changing:
    """A function whose blocks are others from some pass on."""

    def __init__(self, now, then, passes):
        self.now, self.then, self.passes = now, then, passes

    def __call__(self):
        self.passes -= 1
        return (self.now if self.passes >= 0 else self.then)()


@each_backend
@pytest.mark.parametrize(
    ("then", "message"),
    [
        (lambda: iter(()), "source ended after 0 rows, and had 233 in the first pass"),
        (lambda: [(X[:200], TEXT[:200])], "source ended after 200 rows, and had 233"),
        (lambda: [(X, TEXT), (X, TEXT)], "source gave more rows, and had 233"),
        (blocks(damaged(230, 1, np.nan), TEXT), "source, block 5: X must be finite.* in row 10"),
        (lambda: [(X[:, :2], TEXT)], "source, block 0: X must have shape"),
        (blocks(X, np.r_[TEXT[:-1], ["dog"]]), "block 5: y holds 'dog' in row 12, which is no"),
        (blocks(X, Y), "y is class labels, and names of classes"),
    ],
)  # fmt: skip
def test_other_rows_in_a_later_epoch_end_the_run_after_a_whole_step(
    tmp_path, then, message, backend
):
    source = stream(Changing(blocks(X, TEXT), then, 3), buffer=16)
    options = {"epochs": 4, "batch_size": 8, "shuffle": False, "schedule": "constant"}
    net = network(backend)
    with pytest.raises((ValueError, TypeError), match=message):
        net.train(source, checkpoint=tmp_path / "c", checkpoint_every=1, **options)
    assert_no_thread()
    assert net.epochs_trained == 2
    assert fastnn.load(tmp_path / "c").epochs_trained == 2
    whole, resumed = network(backend), network(backend)
    options["checkpoint"] = tmp_path / "c"
    resumed.train(stream(blocks(X, TEXT), buffer=16), resume=True, **options)
    whole.train(X, TEXT, **options | {"checkpoint": None})
    assert of(resumed) == of(whole)


def test_rows_that_are_gone_in_the_first_epoch_leave_the_network_as_it_was():
    source = Changing(blocks(X, TEXT), lambda: iter(()), 1)
    refused("source ended after 0 rows", source, net=network(**SCALED))


# Memory and threads


class Reusing:
    """Positions of blocks, of which each takes the memory of the one before."""

    def __init__(self):
        self.X, self.Y = np.empty((40, 6)), np.empty(40, int)

    def __len__(self):
        return 5

    def __getitem__(self, i):
        self.X[:], self.Y[:] = X[40 * i :][:40], Y[40 * i :][:40]
        return self.X, self.Y


def again():
    """Blocks of which each takes the memory of the one before."""
    source = Reusing()
    yield from (source[i] for i in range(len(source)))


@pytest.mark.parametrize("source", [again, Reusing()])
def test_a_block_may_take_the_memory_of_the_one_before(source, monkeypatch):
    real = Reader.read

    def slow(*arguments):
        time.sleep(0.02)  # time in which a thread could make the next block
        return real(*arguments)

    monkeypatch.setattr(Reader, "read", slow)
    whole, streamed = network(**SCALED), network(**SCALED)
    whole.train(X[:200], Y[:200], shuffle=False)
    streamed.train(source, shuffle=False)
    assert of(streamed) == of(whole)


def test_ctrl_c_while_the_source_is_slow_ends_the_thread():
    waiting = threading.Event()

    def slow():
        yield X, Y
        waiting.wait(0.2)

    def stop(row):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        network().train(slow, callbacks=[stop])
    assert_no_thread()


def test_nothing_of_later_epochs_is_read_once_a_run_has_ended():
    read = []

    class Slow(list):
        def __getitem__(self, i):
            read.append(i)
            time.sleep(0.01)
            return super().__getitem__(i)

    def stop(row):
        raise KeyboardInterrupt

    parts = list(blocks(X, Y)())
    with pytest.raises(KeyboardInterrupt):
        network().train(Slow(parts), epochs=50, callbacks=[stop])
    assert len(read) < 5 * len(parts)  # the first pass, an epoch, and up to two that are read ahead


def test_few_rows_are_in_memory_at_a_time(run_python):
    code = """
import tracemalloc, numpy as np, fastnn
def blocks():
    rng = np.random.default_rng(0)
    for _ in range(200):
        yield rng.normal(size=(1000, 100)), rng.integers(0, 2, 1000)
net = fastnn.Network([100, 4, 2], seed=1, standardize_inputs=True, backend="numpy")
tracemalloc.start()
net.train(fastnn.datasets.stream(blocks, buffer=5000), epochs=1, batch_size=500)
print(tracemalloc.get_traced_memory()[1] < 50e6)
"""  # all rows take 160 MB, and a buffer 2
    assert run_python("-c", code) == "True\n"
