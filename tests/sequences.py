"""Random sequences of operations on networks, and a model of what must hold after each of them.

``python tests/sequences.py --minutes 30 --seed 1``: networks are made, trained, interrupted at any
moment, resumed, refused, saved, loaded, copied, changed and used, in both backends. A run is
compared with the same run of a copy that nothing interrupts, to the bit. Whatever an operation must
not change is compared after it. On a failure the smallest sequence that fails is printed, and the
command that finds it again.
"""

from __future__ import annotations

import argparse
import copy
import gc
import itertools
import os
import pickle
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import hypothesis
import numba
import numpy as np
from faults.interrupts import PARTS, Moments
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine

import fastnn
from fastnn import EarlyStopping, Network, backends, optimizers, schedules
from fastnn.augment import Images, Mixup, Noise
from fastnn.averaging import SWA
from fastnn.backends.compiled.machinery import threads
from fastnn.datasets import Table
from fastnn.losses import matrix
from fastnn.model.model import Model
from fastnn.precision import PRECISIONS
from fastnn.training import loop

BACKENDS = ("numba", "numpy")
SIGNALS = (signal.SIGINT, signal.SIGTERM)
ROWS = 23  # with all batch sizes but one the last batch is shorter
INPUTS = 3
NAMES = ("a", "b", "c")
TIMES = ("seconds", "samples_per_second")
ORDER = (2, 0, 1)  # of columns that are shuffled
RNG = np.random.default_rng(0)
X = RNG.normal(size=(ROWS, INPUTS)) * (1, 3, 0.5) + (0, 2, -1)
LABELS = RNG.permutation(np.arange(ROWS) % 3)


def own_loss(a, t):
    """A loss of the user's own."""
    with np.errstate(over="ignore"):
        return 0.7 * ((a - t) ** 2).mean(axis=1), 1.4 * (a - t) / a.shape[1]


# Problems: the options of a network, its outputs, and the targets.

# Warnings of data that do not fit what a network was trained on, which random data do not mind.
SAID = (
    "X has names of columns, but the network",
    "X is .* has numbers far above 1",
    "X is uint8",
    "column .* is far",
)


class Problem(NamedTuple):
    options: dict[str, Any]
    outputs: int
    y: np.ndarray


CHANCE = RNG.random((ROWS, 2))
PROBLEMS = {
    "classes": Problem({}, 3, LABELS),
    "named": Problem({}, 3, np.array(["low", "mid", "top"])[LABELS]),
    "truths": Problem({}, 1, LABELS > 0),
    "labels": Problem({"output": "sigmoid"}, 2, (CHANCE > 0.4).astype(np.int64)),
    "numbers": Problem({"output": "identity"}, 2, X[:, :2] @ [[1, 2], [0, 1]] + CHANCE),
    "robust": Problem({"loss": "huber"}, 2, 10 * CHANCE),
    "own": Problem({"output": "identity", "loss": own_loss}, 2, CHANCE),
    "counts": Problem({"loss": "poisson"}, 2, RNG.poisson(2, (ROWS, 2))),
}
NUMBERS = ("numbers", "robust", "own")


def rate_of(power):
    """Return a schedule that is a function."""

    def factor(t):
        return abs(1 / (1 + t)) ** power

    return factor


# Settings of a run. What does not fit to a network is left out by `adapted`.

SETTINGS = {
    "epochs": st.integers(1, 4),
    "batch_size": st.sampled_from([1, 2, 5, 8, ROWS, 100]),
    "learning_rate": st.sampled_from([0.01, 0.001, 0.1, 1e30]),
    "optimizer": st.sampled_from(
        ["sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw", optimizers.Adam(beta1=0.8)]
    ),
    "schedule": st.sampled_from(
        [*schedules.SCHEDULES, "function", schedules.ReduceOnPlateau(patience=1, min_change=1.0)]
    ),
    "l2": st.just(0.01),
    "l1": st.just(0.001),
    "dropout": st.just(0.3),
    "max_norm": st.just(0.8),
    "clip_norm": st.just(0.5),
    "clip_value": st.just(0.1),
    "label_smoothing": st.just(0.1),
    "augment": st.sampled_from([Noise(0.1), [Images((INPUTS, 1), shift=1), Mixup(0.3)]]),
    "average": st.sampled_from([0.5, 0.99, SWA(1)]),
    "shuffle": st.just(False),
    "frozen": st.just([0]),
    "training_metrics": st.just(True),
    "class_weight": st.sampled_from(["balanced", [1.0, 2.0, 0.5]]),
    "sample_weight": st.just(np.arange(1.0, ROWS + 1)),
    "validation": st.sampled_from([0.3, "pair", "weighted"]),
    "early_stopping": st.sampled_from(
        [True, EarlyStopping("loss", patience=1), EarlyStopping(patience=2, restore_best=False)]
    ),
}
GENTLE = {"learning_rate": 0.001, "optimizer": "sgd"}  # to compare the backends
some_settings = st.fixed_dictionaries({}, optional=SETTINGS)
forms = st.sampled_from(["float64", "float32", "uint8", "table", "shuffled", "fortran", "list"])
routes = st.sampled_from(["deepcopy", "pickle", "file"])
parts = st.sampled_from([1000, 1, 2, 3])  # steps after which the loop cuts an epoch
files = st.tuples(st.sampled_from("cd"), st.sampled_from([None, 1, 2, 3, 7]))
checkpoints = st.none() | files
# What a callback does, apart from looking on.
callbacks = st.sampled_from(["", "stop", "predict", "train", "save", "clear"])
interrupt = st.fixed_dictionaries(
    {
            "by": st.sampled_from([*SIGNALS, "error", "limit"]),
            "part": st.sampled_from(list(PARTS)),
            "at": st.integers(0, 99),  # hundredths of the run
            "next": st.sampled_from(["copy", "same", "new"]),  # the network that resumes
            "every": st.sampled_from([None, 1, 2, 3, 7]),  # its checkpoints
            "change": st.sampled_from(["", *sorted(
                ("epochs", "batch_size", "learning_rate", "optimizer", "schedule", "l2", "l1",
                 "clip_norm", "clip_value", "max_norm", "augment", "average", "shuffle", "X", "y",
                 "sample_weight", "validation", "validation y", "early_stopping", "seed",
                 "standardize_inputs", "precision"))]),
    }
)  # fmt: skip
interrupts = st.lists(interrupt, max_size=3)

# Other settings than any above, which must be refused in resuming.
CHANGES = {
    "epochs": 9,
    "batch_size": 3,
    "learning_rate": 0.0123,
    "optimizer": optimizers.RMSprop(decay=0.7),
    "schedule": rate_of(3),
    "l2": 0.0123,
    "l1": 0.0123,
    "clip_norm": 0.77,
    "clip_value": 0.77,
    "max_norm": 0.77,
    "augment": Noise(0.77),
    "average": 0.77,
    "sample_weight": np.arange(ROWS) + 7.0,
    "early_stopping": EarlyStopping("loss", patience=7),
}

# Arguments of `train` that must be refused whatever the others are, the network and its data.
NAN = np.full((ROWS, INPUTS), np.nan)
BAD: dict[str, list[Any]] = {
    "epochs": [0, -1, 1.5, "2", None, True],
    "batch_size": [0, 2.5, "all"],
    "learning_rate": [0, -1.0, np.nan, "fast", True],
    "l2": [-1, np.inf, "x"],
    "l1": [-1, np.nan],
    "dropout": [1.0, -0.1, [0.1] * 9, "x"],
    "max_norm": [0, "x"],
    "clip_norm": [-1, np.nan],
    "clip_value": [0],
    "label_smoothing": [1.0, -0.1],
    "augment": ["noise", Noise, 0.1, Images((INPUTS + 1, 1), shift=1), [Mixup(1), Mixup(1)]],
    "average": [0, 1.0, np.nan, "x", True, SWA(9)],
    "class_weight": [{9: 1.0}, "even", [1.0], {0: -1.0}],
    "sample_weight": [np.ones(ROWS - 1), -np.ones(ROWS), np.zeros(ROWS), "x"],
    "early_stopping": [3, "yes", EarlyStopping("validation_loss!"), EarlyStopping("accuracy")],
    "schedule": ["fast", 3, lambda t: -1, lambda t: "x", lambda t: np.nan],
    "optimizer": ["adamm", 3, None],
    "callbacks": [[3], 3],
    "frozen": [[9], 0, [0, 1, 2], "x"],
    "max_seconds": [0, -1, "x"],
    "validation": [1.5, 0.0, (X,), "x", (X, [0]), (NAN, LABELS)],
    "checkpoint": ["", 5, "folder", "missing/c"],
    "checkpoint_every": [0, 1.5],
    "resume": ["foreign", "network", "cut"],
    "X": [NAN, X[:, :2], X[:0], X[:4], "x", None, [["x"] * INPUTS] * ROWS, "other names"],
    "y": [LABELS[:-1], [], None, np.full(ROWS, "?"), np.full(ROWS, np.nan), LABELS + 50.5],
}
bad = st.sampled_from([(name, i) for name, values in BAD.items() for i in range(len(values))])


class Error(Exception):
    """What a callback or a schedule of the user's raises."""


class Held:
    """A network of a sequence, and what it must look like."""

    def __init__(self, net: Network, name: str) -> None:
        self.net, self.name, self.problem = net, name, PROBLEMS[name]
        self.look = look(net)


def look(net: Network) -> dict[str, Any]:
    """Return all that can be seen of a network and matters for what it does later."""
    model, seen = net.model, vectors(net.model)
    scalers = [
        None if scaler is None else tuple(part.tobytes() for part in scaler)
        for scaler in (model.input_scaler, model.target_scaler)
    ]
    flags = (model.seed, model.backend, model.threads)
    flags += (model.standardize_inputs, model.standardize_targets)
    names = {"classes": model.classes, "features": model.features}
    names["architecture"] = model.architecture
    return {**seen, "scalers": scalers, "epochs": model.epochs_trained, "flags": flags, **names}


def vectors(model: Any) -> dict[str, Any]:
    """Return the parameters and the optimizer's state; plain gradient descent has none.

    In a run that keeps an average they are this, as they would be if it ended here.
    """
    state, memory, layers = model.optimizer_state, None, model
    if state is not None and state.slots:
        memory = (state.kind, state.steps, *map(bits, state.slots))
    if state is not None and state.average is not None and state.average.moments:
        layers = state.average.parameters
    return {"parameters": bits(layers), "memory": memory}


def bits(layers: Any) -> bytes:
    """Return weights and biases without the padding, in which zeros may have signs."""
    return b"".join(a.tobytes() for views in (layers.weights, layers.biases) for a in views)


def differing(one: dict[str, Any], other: dict[str, Any], but: tuple[str, ...] = ()) -> list[str]:
    """Return what differs between two looks."""
    return [name for name in one if name not in but and one[name] != other[name]]


def untrained(net: Network) -> Network:
    """Return a network of the same settings, as a new process makes it to resume a run."""
    model = net.model
    flags = model.standardize_inputs, model.standardize_targets
    new = Network.of(Model(model.architecture, model.seed, model.backend, model.threads, *flags))
    new.classes, new.features = net.classes, net.features
    return new


class Call(NamedTuple):
    """The arguments of a call of `train`."""

    X: Any
    y: Any
    settings: dict[str, Any]


class Outcome(NamedTuple):
    """How a call of `train` ended."""

    history: Any
    error: BaseException | None
    steps: int  # calls of a backend
    trajectory: list[dict[str, Any]]  # after each of them

    @property
    def result(self) -> Any:
        """What must be the same in a run that was interrupted."""
        if isinstance(self.error, fastnn.DivergenceError):
            return fastnn.DivergenceError  # what is first seen depends on where an epoch is cut
        if self.error is not None:
            return type(self.error), str(self.error)
        rows = [{k: v for k, v in row.items() if k not in TIMES} for row in self.history]
        return rows, self.history.stopped, self.history.best_epoch, self.history.warning


class Sequences(RuleBasedStateMachine):
    """Networks, files in a folder, and what is done with them."""

    held = Bundle("held")
    backends: tuple[str, ...] = BACKENDS
    counts: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.patches = ExitStack()
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.folder = Path(self.patches.enter_context(tempfile.TemporaryDirectory(dir=memory)))
        (self.folder / "folder").mkdir()
        (self.folder / "foreign").write_text("no checkpoint")
        self.all: list[Held] = []
        self.steps, self.trajectory = 0, []
        self.numpy_errors, self.numba_threads = np.geterr(), numba.get_num_threads()
        patch = self.patches.enter_context
        # Let the smallest step use the threads that a network asks for.
        for name in ("WORTH_A_THREAD", "PREDICTING_WORTH_A_THREAD"):
            patch(mock.patch.object(threads, name, 1.0))
        patch(mock.patch.object(threads.Trial, "enabled", False))
        patch(mock.patch.object(loop, "SLICE", loop.SLICE))
        for name in BACKENDS:
            module = backends.get(name)
            patch(mock.patch.object(module, "train_steps", self._counting(module.train_steps)))
        patch(mock.patch.object(loop, "_average_epochs", self._averaging(loop._average_epochs)))
        self.counts["sequences"] += 1

    def _counting(self, train_steps: Callable[..., int]) -> Callable[..., int]:
        def counted(model: Any, *arguments: Any) -> int:
            self.steps += 1
            taken = train_steps(model, *arguments)
            self.trajectory.append(vectors(model))
            return taken

        return counted

    def _averaging(self, average_epochs: Callable[[Any], None]) -> Callable[[Any], None]:
        def averaged(run: Any) -> None:
            average_epochs(run)
            self.trajectory.append(vectors(run.model))

        return averaged

    def teardown(self) -> None:
        # What a failure leaves must not make the next sequence fail.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        loop._trained.clear()
        np.seterr(**self.numpy_errors)
        numba.set_num_threads(self.numba_threads)
        self.patches.close()

    @invariant()
    def nothing_else_has_changed(self) -> None:
        for held in self.all:
            assert not differing(look(held.net), held.look), "a network changed without a reason"
            net, inner = held.net, [*held.net.weights, *held.net.biases]
            count = sum(map(np.count_nonzero, inner))
            assert np.count_nonzero(net.parameters) == count, "the padding is not zero"
        known = {"c", "d", "net", "other", "twin", "folder", "foreign", "cut", "network", "route"}
        assert set(os.listdir(self.folder)) <= known, os.listdir(self.folder)
        assert os.listdir(self.folder / "folder") == []
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, "a handler of SIGTERM stays"
        if loop._trained:
            gc.collect()  # what an exception holds
        assert not loop._trained, "a network counts as being trained"
        assert np.geterr() == self.numpy_errors, "NumPy's treatment of errors has changed"
        assert numba.get_num_threads() == self.numba_threads, "Numba has another number of threads"

    # Networks and data

    @rule(
        target=held,
        name=st.sampled_from(list(PROBLEMS)),
        hidden=st.sampled_from([[4], [], [5, 3]]),
        activation=st.sampled_from(["tanh", "relu", "gelu", "sigmoid"]),
        precision=st.sampled_from(["float64", "float32", "bfloat16"]),
        backend=st.integers(0, 1),
        count=st.sampled_from([1, 2]),
        scaled=st.tuples(st.booleans(), st.booleans()),
        seed=st.integers(0, 3),
    )
    def construct(self, name, hidden, activation, precision, backend, count, scaled, seed) -> Held:
        problem = PROBLEMS[name]
        net = Network(
            [INPUTS, *hidden, problem.outputs],
            activation,
            dtype=PRECISIONS[precision],
            precision=precision,
            backend=self.backends[backend % len(self.backends)],
            threads=count,
            seed=seed,
            standardize_inputs=scaled[0],
            standardize_targets=scaled[1] and name in NUMBERS,
            **problem.options,
        )
        self.counts["construct"] += 1
        return self._hold(net, name)

    def _hold(self, net: Network, name: str) -> Held:
        held = Held(net, name)
        self.all.append(held)
        return held

    def inputs(self, net: Network, form: str) -> Any:
        """Return X in some form; columns with names get those of the network."""
        if form in ("table", "shuffled"):
            names, order = net.features or NAMES, ORDER if form == "shuffled" else (0, 1, 2)
            return Table(X[:, order], None, tuple(names[i] for i in order), None)
        if form == "uint8":
            return (40 * (X - X.min())).astype(np.uint8)
        if form == "fortran":
            return np.asfortranarray(X)
        return X.tolist() if form == "list" else X.astype(form)

    def targets(self, held: Held) -> Any:
        """Return y, with the network's own names of the classes."""
        y, classes = held.problem.y, held.net.classes
        if classes is None or y.ndim > 1:
            return y
        return np.array(classes, object)[np.unique(y, return_inverse=True)[1].reshape(-1)]

    def call(self, held: Held, given: dict[str, Any], form: str, callback: str = "") -> Call:
        """Return the arguments of a call that this network takes."""
        net, y = held.net, self.targets(held)
        chosen, features = {"epochs": 2, **given}, self.inputs(net, form)
        plain = self.inputs(net, "float64")
        depth, loss = len(net.architecture.layers), net.architecture.loss
        if depth == 1:
            for name in ("dropout", "frozen"):
                chosen.pop(name, None)
        if loss not in ("cross_entropy", "binary_cross_entropy"):
            chosen.pop("label_smoothing", None)
        if held.problem.y.ndim > 1:
            chosen.pop("class_weight", None)
        elif isinstance(chosen.get("class_weight"), list):
            chosen["class_weight"] = chosen["class_weight"][: max(2, held.problem.outputs)]
        if chosen.get("schedule") == "function":
            chosen["schedule"] = rate_of(1)
        pair = (plain[:9], y[:9])
        kinds = {"pair": pair, "weighted": (*pair, np.arange(1.0, 10.0))}
        if "validation" in chosen:
            chosen["validation"] = kinds.get(chosen["validation"], chosen["validation"])
        else:
            stopping = chosen.get("early_stopping")
            if stopping is True or (stopping and stopping.metric != "loss"):
                chosen["early_stopping"] = EarlyStopping("loss", patience=2)
        chosen["callbacks"] = [self.callback(held, callback, features, y)]
        return Call(features, y, chosen)

    def callback(self, held: Held, kind: str, features: Any, y: Any) -> Callable[[Any], Any]:
        """Return what is called after each epoch; it must not change how the run goes on."""
        first = held.net.epochs_trained

        def called(row: Any) -> Any:
            net = self.current
            if kind == "stop":
                return "stop" if row["epoch"] == first + 2 else None
            if kind == "predict":
                net.predict(features)
            elif kind == "train":
                try:
                    net.train(features, y)
                except RuntimeError:
                    return None
                raise AssertionError("a callback trained the network that is being trained")
            elif kind == "save":
                net.save(self.folder / "other")
            elif kind == "clear":
                row.clear()
            return None

        return called

    def copied(self, net: Network, route: str) -> Network:
        """Return a network that must do the same in everything."""
        if route == "deepcopy":
            other = copy.deepcopy(net)
        elif route == "pickle":
            other = pickle.loads(pickle.dumps(net))
        else:
            other = self.loaded(net, self.folder / "route")
        assert not differing(look(other), look(net)), f"{route} changes the network"
        return other

    def loaded(self, net: Network, path: Path) -> Network:
        net.save(path)
        loss = net.architecture.loss
        own = None if isinstance(loss, str) else loss
        return fastnn.load(path, net.backend, net.threads, own)

    def attempt(self, net: Network, call: Call, moments: Moments | None = None, **more) -> Outcome:
        """Train; return how it ended. Warnings are errors, but for a network of no use."""
        self.current, self.steps, self.trajectory = net, 0, []
        history = error = None
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", fastnn.ConvergenceWarning)
            for said in SAID:
                warnings.filterwarnings("ignore", said)
            # An interrupt may come between the opening of a file and the with statement.
            warnings.simplefilter("ignore", ResourceWarning)
            try:
                with moments or ExitStack():
                    history = net.train(call.X, call.y, progress=False, **{**call.settings, **more})
            except (Exception, KeyboardInterrupt, SystemExit) as caught:
                error = caught
            if isinstance(error, AssertionError | Warning):
                raise error
            if error is not None:  # its frames hold the network, and what is closed with them
                error.__traceback__ = error.__context__ = error.__cause__ = None
        return Outcome(history, error, self.steps, self.trajectory)

    # Training

    @rule(
        held=held, given=some_settings, form=forms, route=routes, part=parts, file=checkpoints,
        interrupts=interrupts, callback=callbacks,
    )  # fmt: skip
    def train(self, held, given, form, route, part, file, interrupts, callback) -> None:
        """Train a copy without interrupts, and then the network with some."""
        net, call = held.net, self.call(held, given, form, callback)
        start, twin = pickle.dumps(net), self.copied(net, route)
        twin.threads = 3 - net.threads
        path = None if file is None else self.folder / file[0]
        every = None if file is None else file[1]
        at = {"checkpoint": path, "checkpoint_every": every}
        other = {**at, "checkpoint": path and self.folder / "twin"}
        self.cut(net, call, 1)
        counting = Moments() if any(each["by"] in SIGNALS for each in interrupts) else None
        whole = self.attempt(twin, call, counting, **other)
        self.counts["train"] += 1
        self.cut(net, call, part)
        trajectory = [vectors(net.model), *whole.trajectory]
        if whole.error is None:  # if it diverged, it is where it was after some step
            trajectory.append(vectors(twin.model))
        else:
            assert vectors(twin.model) in trajectory, "what a step changed was not all taken back"
        outcome, net = self.in_pieces(held, call, counting, at, interrupts, look(twin), trajectory)
        if outcome is not None:
            diverged = isinstance(whole.error, fastnn.DivergenceError)
            self.counts["diverged"] += diverged
            assert outcome.result == whole.result, f"{outcome.result}\nand not\n{whole.result}"
            if diverged:  # it goes back to where the loop had cut the epoch
                assert vectors(net.model) in trajectory
            elif whole.error is not None:
                raise whole.error
            else:
                changed = differing(look(net), look(twin), ("flags",))
                assert not changed, f"{changed} differ from those of the run without interrupts"
        if not self.is_useful(net):  # for what follows
            net = pickle.loads(start)
        held.net, held.look = net, look(net)

    @rule(
        held=held, given=some_settings, form=forms, part=parts, file=files, first=interrupt,
        more=interrupts, callback=callbacks,
    )  # fmt: skip
    def resume(self, held, given, form, part, file, first, more, callback) -> None:
        """Train with a checkpoint and interrupts in any case."""
        self.train(held, given, form, "pickle", part, file, [first, *more], callback)

    def in_pieces(
        self, held, call, counting, at, interrupts, end, trajectory
    ) -> tuple[Outcome | None, Network]:
        """Train with interrupts, and resume; return how it ended, and the network that did.

        Without a checkpoint an interrupt is the end, and there is no outcome.
        """
        net, start, path, begun = held.net, pickle.dumps(held.net), at["checkpoint"], False
        for each in interrupts:
            before, old = look(net), path and path.exists() and path.read_bytes()
            outcome, came = self.interrupted(net, call, each, counting, at, begun)
            if not came:
                return outcome, net
            self.check_interrupted(outcome, before, look(net), end, trajectory)
            if path is None:
                return None, net
            begun = begun or (path.exists() and path.read_bytes() != old)
            if not begun:
                assert outcome.steps == 0, "steps without a checkpoint"
                assert not differing(look(net), before)
            else:
                stored = fastnn.load(path, net.backend, net.threads, self.own(net))
                if each["by"] in SIGNALS and differing(look(net), before):
                    changed = differing(vectors(stored.model), vectors(net.model), ("memory",))
                    assert not changed, "the checkpoint is not the state of the network"
                self.refused_to_resume(pickle.loads(start), call, each["change"], at)
            if each["next"] != "same":
                net = pickle.loads(start)
            if each["next"] == "new" and begun:
                net = untrained(net)
                trajectory.append(vectors(net.model))  # where it is if no step of a call stands
            at["checkpoint_every"] = each["every"]
        self.counts["resume"] += begun
        return self.attempt(net, call, resume=begun, **at), net

    def own(self, net: Network) -> Any:
        return None if isinstance(net.architecture.loss, str) else net.architecture.loss

    def cut(self, net: Network, call: Call, steps: int) -> None:
        """Let the loop cut each epoch after so many steps."""
        size = min(call.settings.get("batch_size", 32), ROWS)
        loop.SLICE = steps * (size * net.architecture.training_flops + loop.STEP_OVERHEAD) + 1

    def interrupted(self, net, call, how, counting, at, resume) -> tuple[Outcome, bool]:
        """Train until an interrupt comes, and check that it comes out; tell whether it came."""
        by, share = how["by"], how["at"] / 100
        self.counts["resume"] += resume
        if by == "limit":
            outcome = self.attempt(net, call, resume=resume, max_seconds=1e-9, **at)
            came = outcome.error is None and outcome.history.stopped == "max_seconds"
            self.counts["limits of time"] += came
            return outcome, came
        if by == "error":
            epoch, raised = round(3 * share), []

            def fails(row: Any) -> None:
                if not raised and row["epoch"] > epoch:
                    raised.append(row)
                    raise Error

            outcome = self.attempt(
                net, Call(call.X, call.y, {**call.settings, "callbacks": [
                    *call.settings["callbacks"], fails]}), resume=resume, **at,
            )  # fmt: skip
            if raised:
                assert isinstance(outcome.error, Error), outcome
            self.counts["errors of callbacks"] += bool(raised)
            return outcome, bool(raised)
        moments = Moments(how["part"], int(share * counting.counts[how["part"]]), by)
        outcome = self.attempt(net, call, moments, resume=resume, **at)
        if moments.sent is None:
            return outcome, False
        if moments.sent == signal.SIGTERM:
            assert isinstance(outcome.error, SystemExit), outcome
            assert outcome.error.code == 143
        else:
            assert isinstance(outcome.error, KeyboardInterrupt), outcome
        self.counts[f"interrupts in {how['part']}"] += 1
        return outcome, True

    def check_interrupted(self, outcome, before, now, end, trajectory) -> None:
        """Check the network that is in memory after an interrupt."""
        changed = differing(now, before)
        if not changed:
            return
        assert outcome.steps or not outcome.trajectory
        assert outcome.error is None or outcome.steps or end["epochs"] == now["epochs"], changed
        parameters = {each["parameters"] for each in trajectory}
        assert now["parameters"] in parameters, "the parameters are those after no step"
        memories = {each["memory"] for each in trajectory}
        assert now["memory"] in memories, "the optimizer remembers what it never saw"
        if outcome.error is not None and now["parameters"] != end["parameters"]:
            pair = {name: now[name] for name in ("parameters", "memory")}
            assert pair in trajectory, "the optimizer's state is that of another step"
        if not differing(end, before, but=("flags",)):
            return  # the whole run diverges and is undone; here steps of it stand
        for name in ("scalers", "classes", "features"):
            assert now[name] == end[name], f"{name} is neither as before nor as after the run"

    def refused_to_resume(self, net: Network, call: Call, change: str, at) -> None:
        """Check that a checkpoint is refused with another setting, other data or network."""
        if not change:
            return
        arguments = {"X": call.X, "y": call.y, **call.settings}
        if change == "X":
            arguments["X"] = np.asarray(self.inputs(net, "float64")) + 1e-9
        elif change == "y":
            arguments["y"] = np.roll(np.asarray(call.y), 1, axis=0)
            arguments.pop("class_weight", None)
        elif change.startswith("validation"):
            pair = call.settings.get("validation")
            if isinstance(pair, tuple):
                values = np.roll(np.asarray(pair[1]), 1, axis=0)
                values = (pair[0], values) if change.endswith("y") else (pair[0] + 1e-9, pair[1])
                arguments["validation"] = (*values, *pair[2:])
            else:
                arguments["validation"] = 0.6
        elif change == "shuffle":
            arguments["shuffle"] = not call.settings.get("shuffle", True)
        elif change == "seed":
            net.model.seed += 1
        elif change == "precision":
            to = "float32" if net.architecture.rounds else "bfloat16"
            if net.architecture.dtype == np.float64:
                return
            net.model.architecture = replace(net.architecture, precision=to)
        elif change == "standardize_inputs":
            net.model.standardize_inputs = not net.model.standardize_inputs
        else:
            arguments[change] = CHANGES[change]
        before, path = look(net), at["checkpoint"]
        content = path.read_bytes()
        outcome = self.attempt(
            net, Call(arguments.pop("X"), arguments.pop("y"), arguments), resume=True, **at
        )
        assert isinstance(outcome.error, ValueError), f"another {change} is taken: {outcome}"
        assert "of another run" in str(outcome.error), outcome.error
        assert not differing(look(net), before), differing(look(net), before)
        assert path.read_bytes() == content
        self.counts["refused to resume"] += 1

    @rule(
        held=held, what=bad, given=some_settings, form=forms, file=checkpoints, resume=st.booleans()
    )
    def refuse(self, held, what, given, form, file, resume) -> None:
        """Call `train` with an argument that is wrong."""
        name, place = what
        value, net, call = BAD[name][place], held.net, self.call(held, given, form)
        arguments = {"X": call.X, "y": call.y, **call.settings}
        arguments |= {"checkpoint": file and self.folder / file[0], "progress": False}
        arguments["resume"] = resume and file is not None and not arguments["checkpoint"].exists()
        if name == "early_stopping" and isinstance(value, EarlyStopping):
            arguments.pop("validation", None)
        if name == "frozen" and value == [0, 1, 2]:
            value = list(range(len(net.weights)))
        elif name == "checkpoint" and value in ("folder", "missing/c"):
            value = self.folder / value
        elif name == "checkpoint_every":
            arguments["checkpoint"] = self.folder / "c"
        elif name == "resume":
            arguments["checkpoint"] = self.folder / value
            self.wrong_file(net, value)
            value = True
        elif name == "X" and isinstance(value, str) and value == "other names":
            net.features, value = net.features or NAMES, Table(X, None, ("x", "y", "z"), None)
            held.look = look(net)
        elif name == "schedule" and not callable(value):
            arguments["epochs"] = 2
        arguments[name] = value
        before, files = look(net), self.contents()
        self.current = net
        try:
            net.train(**arguments)
        except (TypeError, ValueError, OSError):
            pass
        else:
            raise AssertionError(f"{name}={value!r} was taken")
        assert not differing(look(net), before), differing(look(net), before)
        if name != "schedule":  # whose function is called after the first checkpoint
            assert self.contents() == files
        self.counts["refuse"] += 1

    def wrong_file(self, net: Network, kind: str) -> None:
        """Write a file from which no run can go on."""
        if kind in ("network", "cut"):
            net.save(self.folder / kind)
        if kind == "cut":
            path = self.folder / kind
            path.write_bytes(path.read_bytes()[:-3])

    def contents(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.folder.iterdir() if path.is_file()}

    # Files and copies

    @rule(target=held, held=held, route=routes)
    def duplicate(self, held, route) -> Held:
        self.counts["duplicate"] += 1
        return self._hold(self.copied(held.net, route), held.name)

    @rule(held=held, optimizer=st.booleans(), at=st.integers(0, 99), part=st.sampled_from(
        ["anywhere", "writing"]), sign=st.sampled_from(SIGNALS))  # fmt: skip
    def interrupt_save(self, held, optimizer, at, part, sign) -> None:
        """Interrupt the writing of a file: the old one is there, or the new one."""
        net, path = held.net, self.folder / "net"
        with Moments() as counting:
            net.save(self.folder / "other", optimizer=optimizer)
        old = b"old"
        path.write_bytes(old)
        moments = Moments(part, at * counting.counts[part] // 100, sign)
        self.comes_out(moments, lambda: net.save(path, optimizer=optimizer))
        if path.read_bytes() != old:
            stored = fastnn.load(path, net.backend, net.threads, self.own(net))
            changed = differing(look(stored), look(net))
            assert changed in ([], ["memory"]), "the file is neither the old one nor the new one"
        self.counts["save"] += 1

    def comes_out(self, moments: Moments, act: Callable[[], Any]) -> None:
        """Do something during which an interrupt comes; it must come out."""
        try:
            with warnings.catch_warnings(), moments:
                warnings.simplefilter("ignore", ResourceWarning)  # as above
                act()
        except KeyboardInterrupt:
            assert moments.sent is not None
            self.counts[f"interrupts in {moments.part}"] += 1
        else:
            assert moments.sent is None, "an interrupt was lost"

    @rule(
        held=held,
        use=st.sampled_from(["load", "predict", "evaluate", "gradient", "one", "copy"]),
        at=st.integers(0, 99),
        part=st.sampled_from(["anywhere", "backends"]),
    )
    def interrupt_use(self, held, use, at, part) -> None:
        """Interrupt what only reads, and do it again."""
        net, y = held.net, self.targets(held)
        if not self.is_useful(net):
            return
        path = self.folder / "net"
        net.save(path)
        if net.classes is None and y.dtype.kind in "Ub":
            y = np.unique(y, return_inverse=True)[1].reshape(-1)
        acts: dict[str, Callable[[], Any]] = {
            "load": lambda: fastnn.load(path, net.backend, net.threads, self.own(net)).parameters,
            "predict": lambda: net.predict_proba(X),
            "evaluate": lambda: np.array(list(net.evaluate(X, y).values())),
            "gradient": lambda: net.loss_and_gradient(X, y, l2=0.1)[1].vector,
            "one": lambda: net.predict_one(X[0]),
            "copy": lambda: copy.deepcopy(net).parameters,
        }
        act = acts[use]
        act()
        with Moments() as counting:
            before = act().tobytes()
        moments = Moments(part, at * counting.counts[part] // 100)
        self.comes_out(moments, act)
        assert act().tobytes() == before, "other numbers after an interrupt"
        self.counts["interrupt_use"] += 1

    # Assignments

    @rule(held=held, name=st.sampled_from(["weights", "biases"]), layer=st.integers(0, 2),
          place=st.booleans(), factor=st.sampled_from([0.5, -1.0, 1.5]))  # fmt: skip
    def assign_parameters(self, held, name, layer, place, factor) -> None:
        net = held.net
        views = getattr(net, name)
        layer %= len(views)
        value = views[layer] * factor
        others = [view.copy() for view in (*net.weights, *net.biases) if view is not views[layer]]
        if place:
            views[layer][...] = value
        else:
            views[layer] = value
        assert views[layer].tobytes() == np.ascontiguousarray(value).tobytes()
        same = [view for view in (*net.weights, *net.biases) if view is not views[layer]]
        assert all((one == two).all() for one, two in zip(same, others, strict=True))
        try:
            views[layer] = np.zeros((9, 9))
        except ValueError:
            pass
        else:
            raise AssertionError("weights of another shape were taken")
        now = look(net)
        assert differing(now, held.look) in ([], ["parameters"])
        held.look = now
        self.counts["assign"] += 1

    @rule(held=held, classes=st.sampled_from(["strings", "integers", "bools", None]),
          features=st.sampled_from([("p", "q", "r"), ("c", "b", "a"), None]))  # fmt: skip
    def assign_names(self, held, classes, features) -> None:
        net, count = held.net, max(2, held.problem.outputs)
        before = net.predict_one(X[0]).tobytes()
        names = {
            "strings": ("low", "mid", "top")[:count],
            "integers": (7, 3, 5)[:count],
            "bools": (False, True) if count == 2 else None,
            None: None,
        }[classes]
        for attribute, wrong in (("classes", ["x"]), ("features", ["a", "a", "b"]), ("classes", 3)):
            try:
                setattr(net, attribute, wrong)
            except (TypeError, ValueError):
                assert not differing(look(net), held.look)
            else:
                raise AssertionError(f"{attribute}={wrong} was taken")
        net.classes, net.features = names, features
        assert (net.classes, net.features) == (names, features)
        assert net.predict_one(X[0]).tobytes() == before
        held.look = {**held.look, "classes": names, "features": features}
        self.counts["assign"] += 1

    @rule(held=held, count=st.sampled_from([1, 2]), backend=st.integers(0, 1))
    def assign_backend(self, held, count, backend) -> None:
        net = held.net
        for name, wrong in (("threads", 0), ("threads", 1.5), ("backend", "cuda"), ("backend", 1)):
            try:
                setattr(net, name, wrong)
            except (TypeError, ValueError):
                assert not differing(look(net), held.look)
            else:
                raise AssertionError(f"{name}={wrong!r} was taken")
        net.threads, net.backend = count, self.backends[backend % len(self.backends)]
        seed, _, _, *flags = held.look["flags"]
        held.look = {**held.look, "flags": (seed, net.backend, count, *flags)}
        self.counts["assign"] += 1

    # Uses

    @rule(held=held, form=forms, weighted=st.booleans())
    def use(self, held, form, weighted) -> None:
        """Predict and evaluate in every way: all must agree."""
        net, features = held.net, self.inputs(held.net, form)
        if not self.is_useful(net):
            return
        out = net.predict_proba(features)
        assert net.predict_proba(features).tobytes() == out.tobytes()
        bound, common = (forward_error(net, features, ties) for ties in (True, False))
        rows = features.X if isinstance(features, Table) else np.asarray(features)
        if form == "shuffled" and net.features:
            rows = rows[:, np.argsort(ORDER)]
        one = np.array([net.predict_one(row) for row in rows])
        assert (np.abs(one - out) <= bound).all(), "predict_one and predict_proba differ"
        for other in self.others(net):
            theirs = other.predict_proba(features)
            if other.backend == net.backend:
                assert theirs.tobytes() == out.tobytes(), "another number of threads, other bits"
            apart = np.abs(theirs - out)
            assert (apart <= bound).all(), "the backends differ"
            assert (apart <= common).all(axis=1).mean() > 0.5, "the backends differ in most rows"
        if net.features and form == "table":
            mixed = net.predict_proba(self.inputs(net, "shuffled"))
            assert mixed.tobytes() == out.tobytes(), "the order of named columns matters"
        self.check_classes(held, features, out)
        self.check_scores(held, features, out, bound, weighted)
        self.counts["use"] += 1

    def is_useful(self, net: Network) -> bool:
        """Whether the outputs are far from overflowing."""
        try:
            found = [net.predict_proba(self.inputs(net, form)) for form in ("float64", "uint8")]
        except fastnn.DivergenceError:
            return False
        return bool(max(np.abs(each).max() for each in (net.parameters, *found)) < 1e6)

    def others(self, net: Network) -> list[Network]:
        """Return the same network on another number of threads, and in the other backend."""
        one, two = copy.deepcopy(net), copy.deepcopy(net)
        one.threads = 3 - net.threads
        two.backend = next(name for name in BACKENDS if name != net.backend)
        return [one, two] if len(self.backends) > 1 else [one]

    def check_classes(self, held: Held, features: Any, out: np.ndarray) -> None:
        net = held.net
        if net.architecture.output not in ("softmax", "sigmoid"):
            assert (net.predict(features) == out).all()
            return
        places = (out[:, 0] > 0.5).astype(int) if out.shape[1] == 1 else out.argmax(axis=1)
        expected = places if net.classes is None else np.array(net.classes, object)[places]
        assert net.predict(features).tolist() == expected.tolist()
        if held.problem.y.ndim == 1 and net.classes is not None:
            scores = net.evaluate(features, net.predict(features))
            assert scores["accuracy"] == 1, "what is predicted is not taken as a target"

    def check_scores(self, held, features, out, bound, weighted) -> None:
        """Compute the loss and the scores again from the outputs."""
        net, y = held.net, self.targets(held)
        architecture, outputs = net.architecture, out.shape[1]
        weights = np.arange(1.0, ROWS + 1) if weighted else None
        t = held.problem.y
        if t.ndim == 1:
            places = np.unique(t, return_inverse=True)[1].reshape(-1)
            t = places[:, None] if outputs == 1 else matrix(places, outputs, np.dtype(float))
            if net.classes is None:
                y = places
        eps = float(np.finfo(architecture.dtype).eps)
        a, t = out.astype(np.float64), t.astype(np.float64)
        if net.target_scaler is not None:
            mean, scale = (part.astype(np.float64) for part in net.target_scaler)
            a, t, bound = (a - mean) * scale, (t - mean) * scale, bound * scale
        values, slope = losses(architecture, a, t)
        try:
            scores = net.evaluate(features, y, sample_weight=weights)
        except fastnn.DivergenceError:
            assert not np.isfinite(values.astype(architecture.dtype)).all()
            return
        expected = np.average(values, weights=weights)
        with np.errstate(invalid="ignore"):  # where a probability is 0
            near = (bound * slope).sum(axis=1).max() + 100 * eps * (1 + np.abs(values).max())
        if np.isfinite(expected) and np.isfinite(near):
            assert abs(scores["loss"] - expected) <= near, (scores["loss"], expected, near)
            loss, gradient = net.loss_and_gradient(features, y, sample_weight=weights)
            assert abs(loss - expected) <= near
            assert np.isfinite(gradient.vector).all()
        if held.problem.y.ndim == 1:
            chosen = (out[:, 0] > 0.5).astype(int) if outputs == 1 else out.argmax(axis=1)
            right = np.average(chosen == places, weights=weights)
            assert abs(scores["accuracy"] - right) < 10 * eps
        if net.target_scaler is None:
            last = net.activations(features)[-1]
            assert (np.abs(last - out) <= bound).all(), "activations and outputs differ"

    @rule(held=held, given=st.fixed_dictionaries({}, optional={
        name: kind for name, kind in SETTINGS.items() if name not in GENTLE}))  # fmt: skip
    def compare(self, held, given) -> None:
        """Train a copy in both backends, and compare what comes of it."""
        one, two = copy.deepcopy(held.net), copy.deepcopy(held.net)
        two.backend = next(name for name in BACKENDS if name != one.backend)
        call = self.call(held, {**given, "epochs": 1}, "float64")
        call = Call(call.X, call.y, {**call.settings, **GENTLE})
        first, second = (self.attempt(each, call) for each in (one, two))
        assert type(first.error) is type(second.error), (first, second)
        assert one.epochs_trained == two.epochs_trained
        eps = float(np.finfo(one.architecture.dtype).eps)
        if first.error is None:
            size = np.abs(two.parameters).max()
            assert np.abs(one.parameters - two.parameters).max() <= 1e5 * eps * (1 + size)
            ours, theirs = first.history[0]["loss"], second.history[0]["loss"]
            assert abs(ours - theirs) <= 1e5 * eps * (1 + abs(theirs))
        self.counts["compare"] += 1


def losses(architecture: Any, a: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the loss of each row, computed from the outputs, and how steep it is."""
    m, e = a.shape[1], np.abs(a - t)
    with np.errstate(all="ignore"):
        if architecture.loss == "cross_entropy":
            part = np.where(t > 0, -t * np.log(a), 0)
            return part.sum(axis=1), t / a
        if architecture.loss == "binary_cross_entropy":
            part = np.where(t > 0, -t * np.log(a), 0) - np.where(t < 1, (1 - t) * np.log1p(-a), 0)
            return part.sum(axis=1), 1 / np.minimum(a, 1 - a)
        if architecture.loss == "poisson":
            return (a - np.where(t > 0, t * np.log(a), 0)).sum(axis=1), 1 + t / a
        if architecture.loss == "huber":
            return np.where(e <= 1, e * e / 2, e - 0.5).mean(axis=1), np.minimum(e + 1e-3, 1) / m
        return (e**2).mean(axis=1) * (0.7 if callable(architecture.loss) else 1), 2 * e / m + 1e-3


def forward_error(net: Network, features: Any, ties: bool = True) -> np.ndarray:
    """Return how far rounding may move the outputs, by the sums of what is rounded.

    In bfloat16 two sums that hardly differ may be on the two sides of a tie, so that factors of the
    next product are a step apart. This is in few rows; ``ties`` says whether to allow for it.
    """
    rows = features
    if isinstance(features, Table):
        order = [features.features.index(name) for name in net.features or features.features]
        rows = features.X[:, order]
    x, eps = np.asarray(rows), float(np.finfo(net.architecture.dtype).eps)
    x = x / 255 if x.dtype == np.uint8 else x.astype(np.float64)
    off = 2 * eps * np.abs(x)
    if net.input_scaler is not None:
        mean, scale = (part.astype(np.float64) for part in net.input_scaler)
        x, off = (x - mean) * scale, 4 * eps * (np.abs(x) + np.abs(mean)) * scale
    names, rounds = net.architecture.activations, net.architecture.rounds
    for l, (w, b, name) in enumerate(zip(net.weights, net.biases, names, strict=True)):
        w, b = np.abs(w).astype(np.float64), np.abs(b).astype(np.float64)
        size = np.abs(x) @ w + b
        if rounds and ties and l > 0:
            off += 2.0**-7 * np.abs(x)
        off = off @ w + (len(w) + 10) * eps * size
        # No activation is steeper than 2 but the exponential one.
        x, off = np.minimum(size, 1) if name in ("tanh", "sigmoid") else size, 2 * off + 10 * eps
        if name == "exponential":
            out = net.predict_proba(features).astype(np.float64)
            off = out * np.expm1(np.minimum(off, 50)) + 10 * eps * out
            off += np.finfo(net.architecture.dtype).tiny  # below which a backend may return 0
    if net.target_scaler is not None:
        mean, scale = (part.astype(np.float64) for part in net.target_scaler)
        off = (off + 4 * eps * x) / scale + 4 * eps * np.abs(mean)
    return off


# Running


def options(examples: int, steps: int, shrink: bool = True, **more: Any) -> settings:
    """Return Hypothesis' settings for so many sequences of so many steps."""
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, *[Phase.shrink] * shrink),
        report_multiple_bugs=False,
        **more,
    )


def warm_up(names: tuple[str, ...] = ("float32", "float64")) -> None:
    """Load or compile all kernels, so that each run does the same from the first one on."""
    for name in names:
        fastnn.warmup(name)


def main() -> int:
    """Run batches of sequences for some time; return 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batches", type=int, help="of sequences, instead of minutes")
    parser.add_argument("--backend", choices=BACKENDS, help="default: both")
    parser.add_argument("--sequences", type=int, default=50, help="in a batch")
    parser.add_argument("--steps", type=int, default=25, help="of a sequence, at most")
    parser.add_argument("--as-found", action="store_true", help="make no failure smaller")
    chosen = parser.parse_args()
    if chosen.backend:
        Sequences.backends = (chosen.backend,)
    warm_up()
    counts, began = Sequences.counts, time.perf_counter()
    failed = 0
    for batch in itertools.count():
        late = time.perf_counter() - began >= 60 * chosen.minutes
        if batch == chosen.batches or (chosen.batches is None and late):
            break
        machine = hypothesis.seed(chosen.seed + batch)(Sequences)
        try:
            run_machine(
                machine, settings=options(chosen.sequences, chosen.steps, not chosen.as_found)
            )
        except BaseException:
            failed = 1
            traceback.print_exc()
            backend = f" --backend {chosen.backend}" if chosen.backend else ""
            print(
                f"to repeat it: python tests/sequences.py --seed {chosen.seed + batch} --batches 1 "
                f"--sequences {chosen.sequences} --steps {chosen.steps}{backend}"
            )
            break
    print(f"{time.perf_counter() - began:.0f} s, {batch} batches of sequences:")
    for name, count in sorted(counts.items()):
        print(f"{count:10,} {name}")
    return failed


if __name__ == "__main__":
    sys.exit(main())
