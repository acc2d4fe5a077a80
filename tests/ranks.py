"""What tests/test_mpi.py runs on several ranks: ``mpiexec -n 2 python tests/ranks.py CASE``.

An assertion that fails on one rank ends all of them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pickle
import re
import signal
import sys
import threading
import time
import traceback
import warnings

import numpy as np
import pytest
from mpi4py import MPI

import fastnn
from fastnn import augment, averaging, backends, optimizers
from fastnn.cli import streaming
from fastnn.distributed import Agreement, Ranks
from fastnn.streams import ahead
from fastnn.streams.stream import Part, Stream
from fastnn.training.evaluation import DivergenceError

COMM = MPI.COMM_WORLD
ROWS = 203
OPTIMIZERS = ("sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(ROWS, 9))
Y = (X @ RNG.normal(size=(9, 4))).argmax(1)
SETTINGS = {"batch_size": 21, "epochs": 2, "progress": False}  # 20 steps


def network(backend="numba", **options):
    return fastnn.Network([9, 20, 11, 4], seed=1, dtype="float64", backend=backend, **options)


def trained(backend="numba", options=None, data=(X, Y), **settings):
    net = network(backend, **(options or {}))
    return net, net.train(*data, **{**SETTINGS, **settings})


def same_everywhere(value):
    """Assert that all ranks have the same bits."""
    assert len(set(COMM.allgather(pickle.dumps(value)))) == 1


def assert_as_one_process(net, history, one, alone):
    np.testing.assert_allclose(net.model.vector, one.model.vector, rtol=1e-8, atol=1e-10)
    for name in set(alone.columns) - {"seconds", "samples_per_second"}:
        np.testing.assert_allclose(history[name], alone[name], rtol=1e-8, atol=1e-10)
    assert (history.stopped, history.best_epoch) == (alone.stopped, alone.best_epoch)


def steps_of_every_optimizer():
    for backend in ("numba", "numpy"):
        for name in OPTIMIZERS:
            net, history = trained(backend, optimizer=name, communicator=COMM)
            again, _ = trained(backend, optimizer=name, communicator=COMM)
            assert np.array_equal(net.model.vector, again.model.vector)
            same_everywhere((net.model.vector, history.rows))
            assert_as_one_process(net, history, *trained(backend, optimizer=name))


def factors_in_bfloat16():
    for backend in ("numba", "numpy"):
        nets = [
            fastnn.Network([9, 20, 11, 4], seed=1, precision="bfloat16", backend=backend)
            for _ in range(2)
        ]
        for net, communicator in zip(nets, (COMM, None), strict=True):
            net.train(X, Y, **SETTINGS, learning_rate=0.01, communicator=communicator)
        same_everywhere(nets[0].parameters)
        # A sum on the other side of a tie changes a factor of a step by 2^-8.
        np.testing.assert_allclose(*(net.parameters for net in nets), rtol=0, atol=1e-4)


def settings_of_every_kind():
    zeros = np.where(X > 0.8, X, 0)
    cases = [
        {"dropout": (0.2, 0.5, 0.5), "l2": 0.01, "l1": 0.001, "validation": 0.2},
        {"clip_norm": 0.1, "clip_value": 0.01, "max_norm": 1.0, "training_metrics": True},
        {"early_stopping": fastnn.EarlyStopping("loss", patience=1, min_change=0.3), "epochs": 9},
        {"early_stopping": True, "validation": (X[:50], Y[:50]), "epochs": 4},
        {"class_weight": "balanced", "sample_weight": np.linspace(1, 2, ROWS)},
        {"augment": (augment.Mixup(0.3), augment.Noise(0.1)), "label_smoothing": 0.1},
        {"average": 0.9, "optimizer": "adam"},
        {"average": averaging.SWA(1), "frozen": [0]},
        {"optimizer": optimizers.Adam(input_factor=2.0)},
        {"options": {"standardize_inputs": True}, "validation": 0.3},
        {"options": {"loss": squared, "output": "identity"}, "data": (X, np.eye(4)[Y])},
        {"data": (zeros, Y), "batch_size": 7, "shuffle": False},
        {"batch_size": ROWS, "epochs": 5},
    ]  # fmt: skip
    for backend in ("numba", "numpy"):
        for case in cases:
            net, history = trained(backend, **case, communicator=COMM)
            same_everywhere((net.model.vector, history.rows))
            assert_as_one_process(net, history, *trained(backend, **case))


def squared(outputs, targets):
    return np.square(outputs - targets).sum(axis=1), 2 * (outputs - targets)


def averages():
    ranks = Ranks(COMM, average_every=3)
    for backend in ("numba", "numpy"):
        case = {"optimizer": "adam", "average": 0.9, "validation": 0.2, "communicator": ranks}
        net, history = trained(backend, **case)
        same_everywhere((net.model.vector, history.rows))
        again, _ = trained(backend, **case)
        assert np.array_equal(net.model.vector, again.model.vector)
        assert net.model.optimizer_state.steps == 2 * -(-162 // 21)
        assert history[-1]["loss"] < history[0]["loss"]
    # One step of plain gradient descent: the mean of the parameters is a step by the mean gradient.
    one = {"batch_size": 200, "epochs": 1, "data": (X[:200], Y[:200]), "schedule": "constant"}
    net, _ = trained(**one, communicator=ranks)
    np.testing.assert_allclose(net.model.vector, trained(**one)[0].model.vector, atol=1e-12)


def own_rows():
    """Each rank has rows of its own, the last one fewer."""
    parts = np.array_split(np.arange(200), COMM.size)
    mine = parts[COMM.rank]
    own = {"communicator": Ranks(COMM, local=True), "batch_size": 5 * COMM.size}
    options = {"standardize_inputs": True}
    for backend in ("numba", "numpy"):
        case = {"shuffle": False, "validation": (X[mine], Y[mine]), "training_metrics": True}
        net, history = trained(backend, options, (X[mine], Y[mine]), **case, **own)
        same_everywhere((net.model.vector, history.rows, net.model.input_scaler))
        # The batches of all ranks, one after the other, are those of one process.
        order = np.concatenate(
            [part[first : first + 5] for first in range(0, len(parts[0]), 5) for part in parts]
        )
        case["validation"] = X[:200], Y[:200]
        whole = X[order], Y[order]
        one = trained(backend, options, whole, batch_size=5 * COMM.size, **case)
        assert_as_one_process(net, history, *one)
    few = mine[: len(mine) - 9 * COMM.rank]  # the rows of other ranks run out before
    net, history = trained("numba", None, (X[few], Y[few]), **own)
    same_everywhere((net.model.vector, history.rows))
    assert history[0]["loss"] > history[-1]["loss"]
    refused("takes no sample_weight", sample_weight=np.ones(ROWS), **own)


def checkpoints_of_own_rows(path):
    """A run on rows of each rank resumes on the same rows alone, whichever rank has others."""
    mine = np.array_split(np.arange(ROWS), COMM.size)[COMM.rank]
    own = {"communicator": Ranks(COMM, local=True), "checkpoint": path}
    whole, _ = trained(data=(X[mine], Y[mine]), **own)
    same, _ = trained(data=(X[mine], Y[mine]), **own, resume=True)
    assert np.array_equal(whole.model.vector, same.model.vector)
    other = X[mine] + (COMM.rank == COMM.size - 1)
    refused("other data in X", data=(other, Y[mine]), **own, resume=True)


def whole_numbers():
    """A rank whose rows hold whole numbers alone reads them as another type than the others."""
    mine = np.array_split(np.arange(200), COMM.size)[COMM.rank]
    rows = np.rint(X[mine]).astype(int) if COMM.rank else X[mine]
    own = {"communicator": Ranks(COMM, local=True)}
    nets = []
    for each in (rows, rows.astype(float)):
        net = fastnn.Network([9, 20, 4], seed=0)
        net.train(each, Y[mine], 2, progress=False, **own)
        same_everywhere(net.model.vector)
        nets.append(net)
    assert np.array_equal(nets[0].model.vector, nets[1].model.vector)
    pixels = RNG.integers(0, 256, X[mine].shape, np.uint8) if COMM.rank else rows
    refused("another kind of X than rank 0", data=(pixels, Y[mine]), **own)


def one_compiles_for_all():
    """The first rank compiles what any rank needs, such as for a batch of one row."""
    found = []

    def prepare(model, announce, rule, lengths, *rest):
        found.extend(lengths)
        return real(model, announce, rule, lengths, *rest)

    backend = backends.get("numba")
    real, backend.prepare = backend.prepare, prepare
    rows = 9 * COMM.size  # each rank takes two batches of four rows, and one of one
    averaging_ranks = Ranks(COMM, average_every=4)
    trained(data=(X[:rows], Y[:rows]), batch_size=4 * COMM.size, communicator=averaging_ranks)
    assert set(found) >= {1, 4}
    same_everywhere(sorted(found))


def classes_of_all():
    """The last rank lacks a class; the names are those of one process with the rows of all."""
    parts = np.array_split(np.arange(ROWS), COMM.size)
    mine = parts[COMM.rank]
    last = COMM.rank == COMM.size - 1
    mine = mine[Y[mine] != 2] if last else mine[Y[mine] != 0]  # a class that only the last has
    words = np.array(["b", "a", "d", "c"])[Y]
    truth = Y[mine] > 1 if not last else np.zeros(len(mine), bool)
    ranks = {"communicator": Ranks(COMM, local=True), "validation": (X[mine], words[mine])}
    kinds = [words, words.astype(object)]
    try:
        import pandas
    except ImportError:
        pass
    else:
        kinds.append(pandas.Series(words, dtype="category"))
    for kind in kinds:
        y = kind[mine].reset_index(drop=True) if hasattr(kind, "cat") else kind[mine]
        net, history = trained(data=(X[mine], y), **ranks)
        assert net.classes == ("a", "b", "c", "d")
        same_everywhere((net.model.vector, history.rows, net.classes))
    places = np.array([1, 0, 3, 2])[Y[mine]]  # as the sorted names have them
    ranks["validation"] = X[mine], places
    numbers, _ = trained(data=(X[mine], places), **ranks)
    assert numbers.classes is None
    assert np.array_equal(numbers.model.vector, net.model.vector)
    ranks["validation"] = None
    net = fastnn.Network([9, 4, 1], seed=0)
    net.train(X[mine], truth, progress=False, **ranks)
    assert net.classes == (False, True)
    few = np.where(words == "c", "b", words)
    refused("y holds 3 classes, 'a', 'b', 'd', but the network is for 4", data=(X, few), **ranks)
    mixed = words if last else Y
    refused(f"rank {COMM.size - 1} has another", data=(X, mixed), **ranks)
    # Ranks that do not agree on whose rows they have end in the same way.
    ranks["communicator"] = Ranks(COMM, local=last)
    refused(f"rank {COMM.size - 1} has another local than rank 0", data=(X, words), **ranks)


def refused(message, **settings):
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        trained(**settings)


def bad_input():
    rank = COMM.rank
    other = X.copy()
    other[3, 4] += 1.0 * rank
    refused("rank 1 has another X than rank 0", data=(other, Y), communicator=COMM)
    refused("another l2 than rank 0: 0.01, and 0.0", l2=0.01 * (rank == 1), communicator=COMM)
    place = "" if rank == 1 else "rank 1: "
    refused(f"{place}y must hold", data=(X, Y - 9 * (rank == 1)), communicator=COMM)
    few = X[: COMM.size - 1], Y[: COMM.size - 1]
    refused(f"training on {COMM.size} ranks needs as many rows", data=few, communicator=COMM)
    refused("batch_size must be at least", batch_size=COMM.size - 1, communicator=COMM)
    refused("one of mpi4py, such as MPI.COMM_WORLD", communicator=True)
    every = {"checkpoint": "x.safetensors", "checkpoint_every": 4}
    refused("multiple of average_every, 3", **every, communicator=Ranks(COMM, average_every=3))
    net = fastnn.Network([9, 4], seed=1, precision="bfloat16" if rank == 1 else None)
    with pytest.raises(ValueError, match="precision than rank 0: 'bfloat16', and 'float32'"):
        net.train(X, Y, communicator=COMM)
    version, fastnn.__version__ = fastnn.__version__, f"{rank}"
    refused("rank 1 has another version of fastnn than rank 0: '1', and '0'", communicator=COMM)
    fastnn.__version__ = version
    nets = fastnn.Committee([network()])
    with pytest.raises(ValueError, match="for a single network"):
        nets.train(X, Y, communicator=COMM)
    trained(communicator=COMM)  # all of this leaves ranks that can train


def failures():
    """What fails on one rank is raised on all."""
    for wrong in range(2):

        def loss(outputs, targets, wrong=wrong):
            if COMM.rank == wrong and loss.calls > 3:
                raise ValueError("no such loss")
            loss.calls += 1
            return squared(outputs, targets)

        loss.calls = 0
        options = {"loss": loss, "output": "identity"}
        # Functions of one code are the same, whatever they hold elsewhere.
        refused("no such loss", options=options, data=(X, np.eye(4)[Y]), communicator=COMM)

    def callback(row):
        assert COMM.rank == 0
        raise ValueError("no such row")

    refused("no such row", callbacks=[callback], communicator=COMM)
    _, history = trained(callbacks=[lambda row: "stop"], communicator=COMM)
    assert (history.stopped, len(history)) == ("a callback", 1)
    _, history = trained(max_seconds=1e-9, communicator=COMM)
    assert (history.stopped, len(history)) == ("max_seconds", 1)
    for backend in ("numba", "numpy"):
        net = network(backend)
        try:
            net.train(X, Y, learning_rate=1e300, progress=False, communicator=COMM)
        except DivergenceError as error:
            same_everywhere(str(error))
        else:
            raise AssertionError("it did not diverge")
        assert np.array_equal(net.model.vector, network(backend).model.vector)


# Streams: parts of a few rows each, in blocks


LENGTHS = (30, 17, 41, 25, 8, 33, 29, 20)  # of the parts, 203 rows in all
ENDS = np.cumsum(LENGTHS)
PARTS = [np.arange(end - length, end) for end, length in zip(ENDS, LENGTHS, strict=True)]


def blocks(y=Y, *weights):
    return [(X[part], y[part], *(each[part] for each in weights)) for part in PARTS]


def mine():
    """Return the rows of the parts that this rank reads."""
    shares = fastnn.datasets.stream(blocks()).shares(COMM.size)
    return np.concatenate([PARTS[i] for i in shares[COMM.rank]])


def streamed(backend="numba", options=None, source=None, buffer=1000, **settings):
    """Train on a stream; afterwards no thread goes on reading, and all ranks have the same bits."""
    net = network(backend, **(options or {}))
    source = fastnn.datasets.stream(source or blocks(), buffer=buffer)
    settings = {**SETTINGS, "communicator": COMM, **settings}
    history = net.train(source, **settings)
    assert not [each for each in threading.enumerate() if each.name == "fastnn-reading"]
    same_everywhere((net.model.vector, history.rows, net.classes, net.model.input_scaler))
    return net, history


def streams_are_arrays():
    """A stream is to the bit what arrays with the rows of its share are on each rank."""
    rows = mine()
    held_out = np.array_split(np.arange(50), COMM.size)[COMM.rank]
    scaled = {"standardize_inputs": True}
    numbers = {**scaled, "output": "identity", "standardize_targets": True}
    for backend in ("numba", "numpy"):
        for case in (
            {"shuffle": False, "options": scaled, "dropout": 0.2},
            {"shuffle": False, "options": numbers, "buffer": 25, "y": X[:, :4] * 3 + 1},
            {"optimizer": "adam", "early_stopping": True, "epochs": 5},  # in one buffer: shuffled
            {"shuffle": False, "buffer": 50, "average_every": 3, "batch_size": 9},
        ):
            case = {**case}
            every = case.pop("average_every", 1)
            options, y = case.pop("options", None), case.pop("y", Y)
            buffer = case.pop("buffer", 1000)
            whole, own = (X[:50], y[:50]), (X[held_out], y[held_out])
            case["communicator"] = Ranks(COMM, average_every=every)
            net, history = streamed(backend, options, blocks(y), buffer, validation=whole, **case)
            case["communicator"] = Ranks(COMM, local=True, average_every=every)
            other, expected = trained(backend, options, (X[rows], y[rows]), validation=own, **case)
            assert np.array_equal(net.model.vector, other.model.vector)
            assert history["loss"] == expected["loss"]
            assert history["validation_loss"] == expected["validation_loss"]


def streams_in_several_buffers():
    """Runs that shuffle are the same again, and ranks shuffle in other ways."""
    kinds = [{"label_smoothing": 0.1}]
    with contextlib.suppress(ImportError):
        from scipy import sparse

        zeros = sparse.csr_matrix(np.where(X > 0.8, X, 0))
        kinds.append({"source": [(zeros[part], Y[part]) for part in PARTS]})
    every = Ranks(COMM, average_every=3)
    for backend in ("numba", "numpy"):
        for case in (
            {"dropout": (0.2, 0.5, 0.5), "validation": (X[:50], Y[:50])},
            {"communicator": every, "optimizer": "adam", "average": 0.9, "batch_size": 9},
            *kinds,
        ):
            net, history = streamed(backend, buffer=20, epochs=3, **case)
            again, _ = streamed(backend, buffer=20, epochs=3, **case)
            assert np.array_equal(net.model.vector, again.model.vector)
            assert history[-1]["loss"] < history[0]["loss"]


def each_rank_reads_its_share():
    """No part is read by two ranks, and those of known length are shared by their rows."""
    read = set()

    def part(i):
        def blocks_of_part():
            read.add(i)
            yield X[PARTS[i]], Y[PARTS[i]]

        return Part(f"part {i}", LENGTHS[i], blocks_of_part)

    net = network()
    stream = Stream(tuple(part(i) for i in range(len(PARTS))))
    net.train(stream, communicator=COMM, **SETTINGS)
    found = COMM.allgather(sorted(read))
    assert sorted(i for each in found for i in each) == list(range(len(PARTS)))
    read.clear()
    classes, counted = streaming._classes("parts", stream, False, Agreement(COMM))
    assert COMM.allgather(sorted(read)) == found
    assert (classes.tolist(), counted.rows) == ([0, 1, 2, 3], ROWS)
    rows = [sum(LENGTHS[i] for i in each) for each in found]
    assert max(rows) - min(rows) < np.mean(LENGTHS)  # and 39 with every third part


def streams_of_their_own():
    """With local=True each rank passes a function of its own; the last one has fewer rows."""
    rows = np.array_split(np.arange(200), COMM.size)[COMM.rank]
    rows = rows[: len(rows) - 9 * (COMM.rank == COMM.size - 1)]

    def own():
        for first in range(0, len(rows), 7):
            part = rows[first : first + 7]
            yield X[part], Y[part]

    ranks, settings = Ranks(COMM, local=True), {"shuffle": False, "batch_size": 4 * COMM.size}
    net, history = streamed(source=own, buffer=16, communicator=ranks, **settings)
    arrays, expected = trained(data=(X[rows], Y[rows]), communicator=ranks, **settings)
    assert np.array_equal(net.model.vector, arrays.model.vector)
    assert history["loss"] == expected["loss"]


def weights_of_a_stream():
    """Weights of rows and classes are those of one process, though a rank lacks a class."""
    parts, each = np.arange(120).reshape(6, 20), {"batch_size": 5 * COMM.size, "shuffle": False}
    words = np.array(["b", "a", "d", "c"])[Y]
    of_first = np.concatenate(parts[:: COMM.size])
    words[of_first] = np.where(words[of_first] == "d", "a", words[of_first])
    weights = np.linspace(1, 2, ROWS)
    # The batches of all ranks, one after the other, are those of one process.
    shares = [np.concatenate(parts[rank :: COMM.size]) for rank in range(COMM.size)]
    order = np.concatenate(
        [rows[i : i + 5] for i in range(0, 120 // COMM.size, 5) for rows in shares]
    )
    for backend in ("numba", "numpy"):
        for class_weight in (None, "balanced", {"a": 3.0, "c": 0.5}):
            case = {"class_weight": class_weight, **each}
            if class_weight is not None:
                case["validation"] = X[:50], words[:50], weights[:50]
            source = [(X[rows], words[rows], weights[rows]) for rows in parts]
            net, history = streamed(backend, None, source, **case)
            assert net.classes == ("a", "b", "c", "d")
            data = X[order], words[order]
            one = trained(backend, data=data, sample_weight=weights[order], **case)
            assert_as_one_process(net, history, *one)


def columns_in_another_order():
    """Columns are matched by name, though a rank has no part in the order of the first one."""
    table, names = fastnn.datasets.Table, tuple("abcdefghi")
    moved = fastnn.datasets.stream(blocks()).shares(COMM.size)[-1]
    nets = []
    for other in (names, names[::-1]):
        order = [names.index(each) for each in other]
        named = [
            (table(X[part][:, order], None, other, None), Y[part])
            if i in moved
            else (table(X[part], None, names, None), Y[part])
            for i, part in enumerate(PARTS)
        ]
        for ranks in (COMM, Ranks(COMM, local=True)):
            own = [named[i] for i in fastnn.datasets.stream(named).shares(COMM.size)[COMM.rank]]
            net, _ = streamed(
                "numba",
                {"standardize_inputs": True},
                own if ranks != COMM else named,
                communicator=ranks,
            )
            assert net.features == names
            nets.append(net.model.vector)
    unnamed = [(X[PARTS[i]], y) if i in moved else (each, y) for i, (each, y) in enumerate(named)]
    net, _ = streamed("numba", {"standardize_inputs": True}, unnamed)
    np.testing.assert_allclose(net.model.vector, nets[0], rtol=0, atol=1e-12)
    assert all(np.array_equal(each, nets[0]) for each in nets)


def warnings_of_a_stream():
    """The first rank says what any rank warns of, the same once."""
    table, names = fastnn.datasets.Table, tuple("abcdefghi")
    moved = fastnn.datasets.stream(blocks()).shares(COMM.size)[-1]
    wide = np.ones((ROWS, 1))
    source = [
        (table(np.hstack([X[part], wide[part]]), None, (*names, "z"), None), Y[part])
        if i in moved
        else (table(X[part], None, names, None), Y[part])
        for i, part in enumerate(PARTS)
    ]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        streamed(source=source, class_weight="balanced")
    left_out = f"rank {COMM.size - 1}: source[{moved[0]}]: X has columns that the network was not"
    assert len(said) == (COMM.rank == 0)
    assert all(str(each.message).startswith(left_out) for each in said)
    assert all(each.filename.endswith("ranks.py") for each in said)


def streams_that_are_refused():
    rank, last, ranks = COMM.rank, COMM.size - 1, Ranks(COMM, local=True)
    other = f"rank {last} has another" if last > 1 else "rank 1 has another"
    few = blocks()[: COMM.size - 1]
    message = f"has {last} parts, fewer than the {COMM.size} ranks, each of which reads"
    stream_refused(message, few)
    stream_refused(f"one of the {COMM.size} ranks would read alone", lambda: iter(blocks()))
    stream_refused(f"{other} number of parts", blocks()[: 8 - (rank == last)])
    named = Stream((*fastnn.datasets.stream(blocks()).parts[:7], Part(f"{rank}", None, list)))
    stream_refused("has another list of parts than rank 0;", named)
    stream_refused(f"{other} length of a buffer than rank 0: 9, and 8", buffer=8 + (rank == last))
    stream_refused(f"{other} l2 than rank 0: 0.01, and 0.0", l2=0.01 * (rank == last))
    stream_refused("rank 1 has another class_weight", class_weight="balanced" if rank else None)
    stream_refused("local=True takes no sample_weight", class_weight="balanced", communicator=ranks)
    stream_refused("local=True takes no", blocks(Y, np.ones(ROWS)), communicator=ranks)
    kept = None if rank == 1 else (X[:50], Y[:50])
    stream_refused("rank 1 has another validation than rank 0: False, and True", validation=kept)
    moved = X[:50] + (rank == last), Y[:50]
    stream_refused(f"{other} validation X than rank 0", validation=moved)
    assert_refused("another kind of data than rank 0: ", (X, Y) if rank else (blocks(),))
    words = np.array(list("abcd"))[Y]
    named = fastnn.datasets.stream(blocks()).shares(COMM.size)[1]
    kinds = [(X[part], (words if i in named else Y)[part]) for i, part in enumerate(PARTS)]
    message = f"source[{named[0]}] on rank 1: y is names of classes, and class labels in source["
    stream_refused(message, kinds)
    none = lambda: iter([] if rank == last else blocks())  # noqa: E731
    stream_refused("the stream gave no rows", none, communicator=ranks)
    early = Stream(tuple(Part(f"{i}", None, read_too_early) for i in range(9)))
    narrow = {"validation": (X[:50, 1:], Y[:50])}
    stream_refused("validation X must have shape (rows, 9)", early, **narrow)
    streamed()  # all of this leaves ranks that can train


def read_too_early():
    raise AssertionError("a part is read, and an argument is wrong")


def stream_refused(message, source=None, buffer=1000, **settings):
    source = source or blocks()
    stream = source if isinstance(source, Stream) else fastnn.datasets.stream(source, buffer=buffer)
    assert_refused(message, (stream,), **settings)


def assert_refused(message, data, **settings):
    net = network()
    with pytest.raises(ValueError, match=re.escape(message)):
        net.train(*data, **{**SETTINGS, "communicator": COMM, **settings})
    assert np.array_equal(net.model.vector, network().model.vector)


class Gone(list):
    """Blocks of which the third reading of one fails."""

    def __init__(self, blocks, which):
        super().__init__(blocks)
        self.which, self.left = which, 3

    def __getitem__(self, i):
        self.left -= i == self.which
        if self.left == 0:
            raise FileNotFoundError(errno.ENOENT, "it is gone", f"block {i}")
        return super().__getitem__(i)


def part_of_the_last_rank():
    return fastnn.datasets.stream(blocks()).shares(COMM.size)[-1][-1]


def a_part_is_gone(path):
    """A part that one rank can no longer read ends all after a whole step; the run resumes."""
    place = "" if COMM.rank == COMM.size - 1 else f"rank {COMM.size - 1}: "
    for backend in ("numba", "numpy"):
        case = {"epochs": 4, "checkpoint": f"{path}.{backend}", "optimizer": "adam", "buffer": 20}
        whole, history = streamed(backend, **case)
        os.path.exists(case["checkpoint"]) and COMM.rank == 0 and os.remove(case["checkpoint"])
        net, bad = network(backend), part_of_the_last_rank()
        source = fastnn.datasets.stream(Gone(blocks(), bad), buffer=20)
        settings = {**SETTINGS, **case, "communicator": COMM}
        del settings["buffer"]
        with pytest.raises(OSError, match=f"{place}it is gone: 'block {bad}'"):
            net.train(source, **settings)
        same_everywhere(net.model.vector)
        assert net.model.optimizer_state.steps > whole.model.optimizer_state.steps // 4
        assert np.array_equal(fastnn.load(case["checkpoint"]).model.vector, net.model.vector)
        COMM.Barrier()
        resumed, rows = streamed(backend, resume=True, **case)
        assert np.array_equal(resumed.model.vector, whole.model.vector)
        assert rows["loss"] == history["loss"]


def a_first_pass_fails():
    """What one rank cannot read ends the others in the middle of their first pass."""
    taken = []

    def own():
        for i in range(1000):
            if COMM.rank:
                raise OSError("no such rows")
            time.sleep(0.01)
            taken.append(i)
            yield X, Y

    ranks = Ranks(COMM, local=True)
    with pytest.raises(OSError, match="no such rows" if COMM.rank else "rank 1: no such rows"):
        network().train(own, communicator=ranks)
    assert len(taken) < 1000

    def labels(i):
        taken.append(i)
        time.sleep(0.01)
        if COMM.rank:
            raise OSError("no such labels")
        return [(X, Y)]

    taken.clear()
    stream = Stream(tuple(Part(f"part {i}", None, lambda i=i: labels(i)) for i in range(2000)))
    with pytest.raises(OSError, match="no such labels"), Agreement(COMM) as agreement:
        streaming._classes("parts", stream, False, agreement)
    assert len(taken) < 1000
    fewer = Stream(stream.parts[COMM.rank :])
    message = "rank 1 has another number of parts than rank 0: 1999, and 2000"
    with pytest.raises(ValueError, match=message), Agreement(COMM) as agreement:
        streaming._classes("parts", fewer, False, agreement)


def a_source_hangs():
    """A signal to a rank whose source hangs ends all."""
    ahead.PATIENCE = 0.1
    for number, kind in ((signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)):
        over = threading.Event()

        class Hanging(list):
            read = 0

            def __getitem__(self, i, number=number, over=over):
                self.read += 1
                if self.read == len(PARTS) and COMM.rank == COMM.size - 1:  # after the first pass
                    threading.Timer(0.2, os.kill, (os.getpid(), number)).start()
                    over.wait()
                return super().__getitem__(i)

        net = network()
        with pytest.raises(kind):
            net.train(Hanging(blocks()), communicator=COMM, **SETTINGS)
        over.set()
        same_everywhere(net.model.vector)


def parquet_changes(folder):
    """A file that changes in the middle ends all ranks, which name the rank and the row group."""
    import pyarrow
    from pyarrow import parquet

    def write(count):
        for i in range(2):
            rows = {str(j): X[:count, j].astype("f4") for j in range(9)}
            table = pyarrow.table({**rows, "label": Y[:count]})
            parquet.write_table(table, f"{folder}/new", row_group_size=20)
            os.replace(f"{folder}/new", f"{folder}/{i}.parquet")  # of which no half is ever read

    def callback(row):
        if row["epoch"] == 2:
            write(190)

    if COMM.rank == 0:
        write(200)
    COMM.Barrier()
    stream = fastnn.datasets.stream(f"{folder}/*.parquet", buffer=40)
    net, path = network(), f"{folder}/run.safetensors"
    settings = {**SETTINGS, "epochs": 9, "checkpoint": path, "communicator": COMM}
    # The last row group of each file has lost rows; one rank reads both.
    with pytest.raises(ValueError, match=r"parquet', row group 9 ended after 10 rows"):
        net.train(stream, callbacks=[callback], **settings)
    same_everywhere(net.model.vector)
    assert np.array_equal(fastnn.load(path).model.vector, net.model.vector)


def checkpoints_of_streams(path):
    """The run of a stream resumes on the same parts and as many ranks alone."""
    case = {"checkpoint": path, "optimizer": "adam", "epochs": 3}
    whole, history = streamed(buffer=20, **case)
    for limit in (1e-9, None):
        again, rows = streamed(buffer=20, max_seconds=limit, resume=limit is None, **case)
    assert history.stopped == rows.stopped
    assert np.array_equal(whole.model.vector, again.model.vector)
    assert history["loss"] == rows["loss"]
    changed = blocks()
    last = part_of_the_last_rank()
    changed[last] = changed[last][0] + 1.0, changed[last][1]
    stream_refused("other data in X", changed, 20, resume=True, **case)
    stream_refused("other data in the length of a buffer", None, 21, resume=True, **case)


def another_number_of_ranks(path):
    message = f"with the rows of 3 ranks, and this one has those of {COMM.size}, each its own"
    stream_refused(message, checkpoint=path, optimizer="adam", epochs=3, resume=True)


def run_to_interrupt(path, resume, seconds="0", kind="arrays"):
    """Train with a checkpoint; the ranks write their process ids beside it."""
    with open(f"{path}.{COMM.rank}.pid", "w") as file:
        file.write(str(os.getpid()))

    def callback(row):
        time.sleep(float(seconds))

    net = network()
    data, validation = (X, Y), 0.2
    if kind == "stream":
        data, validation = (fastnn.datasets.stream(blocks(), buffer=20),), (X[:50], Y[:50])
    settings = {"epochs": 40, "optimizer": "adam", "callbacks": [callback]}
    code = 0
    try:
        history = net.train(
            *data, **{**SETTINGS, **settings}, validation=validation, checkpoint=path,
            checkpoint_every=3, resume=resume == "resume", communicator=COMM,
        )  # fmt: skip
        same_everywhere((net.model.vector, history.rows))
    except KeyboardInterrupt:
        code = 130
    except SystemExit as end:
        code = end.code
    same_everywhere((code, net.model.vector))
    if COMM.rank == 0:
        net.save(f"{path}.net")
        print(code)


def raises_alone(path):
    """Raise an error on the last rank that no other knows of."""
    from fastnn.training import team

    if COMM.rank == COMM.size - 1:
        team.Team.compare = lambda self, run: 1 / 0
    trained(communicator=COMM, checkpoint=path)


if __name__ == "__main__":
    warnings.simplefilter("error")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        globals()[sys.argv[1]](*sys.argv[2:])
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        COMM.Abort(3)
