"""Cross-validation: networks of several settings, trained without a fold and evaluated on it.

They train side by side in threads of this process, which all read the same rows; or in the workers
of joblib, where its `parallel_config` names some.
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from fastnn.activations import Array
from fastnn.checks import data as check_data
from fastnn.checks import tuning as check_tuning
from fastnn.checks import values as check
from fastnn.checks.data import READABLE
from fastnn.checks.sparse import rows_of
from fastnn.checks.targets import named_labels, texts
from fastnn.checks.warning import heard_by
from fastnn.committee import job
from fastnn.folds import Fold
from fastnn.model.architecture import outputs_for
from fastnn.network import Network
from fastnn.searching import Settings
from fastnn.sparse_rows import Rows, is_sparse
from fastnn.training import loop
from fastnn.training import settings as training_settings
from fastnn.training.data import by_rows, evaluation_data
from fastnn.training.evaluation import DivergenceError, EvaluationData, evaluate
from fastnn.training.history import History, Row
from fastnn.training.row_weights import with_mean_one
from fastnn.training.run import Run
from fastnn.training.settings import Callback
from fastnn.training.side_by_side import Job, Together

Scores = dict[str, Any]  # measures; or why training diverged
OF_NETWORK = set(inspect.signature(Network).parameters) - {"sizes", "seed"}
# Checkpoints are for a single network.
OF_TRAIN = {*training_settings.NAMES, "validation", "class_weight"} - {
    "checkpoint", "checkpoint_every", "resume", "communicator",
}  # fmt: skip
HIDDEN = (128,)
EXACT = 2**24  # whole numbers up to this float32 tells apart


class Data(NamedTuple):
    """Rows, targets, and weights of the rows or None."""

    X: Any  # an array, or SparseRows
    y: Array
    weights: Array | None

    @classmethod
    def of(cls, name: str, X: Any, y: Any, weights: Any) -> Data:
        """Return data as networks of any dtype read them, so that none makes a copy."""
        X = rows_of(name, X) if is_sparse(X) else check_data.numbers(name, X)
        y = _with_labels_in_a_row(f"{name[:-1]}y", y)
        if X.ndim != 2 or y.shape[:1] != X.shape[:1]:
            raise ValueError(
                f"{name} must have shape (rows, features), and {name[:-1]}y as many rows; "
                f"got {X.shape} and {y.shape}"
            )
        if weights is not None:
            weights = check_data.sample_weights("sample_weight", weights, len(X))
        if X.dtype not in READABLE:
            narrow = X.dtype.itemsize < 4 or (
                X.dtype.kind in "iu" and max(-int(X.min()), int(X.max())) <= EXACT
            )
            X = X.astype(np.float32 if narrow else np.float64)
        return cls(by_rows(X), y, weights)

    @property
    def labels(self) -> Array | None:
        """The class of each row, or None."""
        return self.y if self.y.ndim == 1 and self.y.dtype.kind != "f" else None

    def at(self, rows: Array) -> Data:
        """Return a copy of some rows."""
        weights = None if self.weights is None else self.weights[rows]
        return Data(self.X[rows], self.y[rows], weights)

    def targets(self, classes: Array | None, network: Network) -> Data:
        """Return the same data with y as a network takes it: only some outputs have names."""
        if classes is None or network.architecture.output in ("softmax", "sigmoid"):
            return self
        return self._replace(y=np.searchsorted(classes, self.y))


def _with_labels_in_a_row(name: str, y: Any) -> Array:
    """Return y as an array; labels in a column are in one dimension, and of one kind."""
    y = np.asarray(y)
    if y.ndim == 2 and y.shape[1] == 1 and y.dtype.kind != "f":
        y = y[:, 0]
    if y.ndim != 1 or y.dtype.kind != "O":
        return y
    if named_labels(y) is not None:
        return texts(name, y) if any(isinstance(label, str) for label in y) else y
    try:
        np.unique(y)
    except TypeError as error:
        raise TypeError(
            f"{name} must hold labels of one kind: {error}. Rows without a label must be left out"
        ) from None
    return y


def begun(
    settings: Settings, seed: int, classes: Array | None, data: Data, rows: Array
) -> tuple[Network, Job]:
    """Return a network with these settings, and its training on some rows of the data."""
    if classes is not None:
        outputs = outputs_for(len(classes), settings.get("output"))
    else:
        levels = getattr(settings.get("loss"), "levels", (0.5,))
        outputs = len(levels) if data.y.ndim == 1 else data.y.shape[1]
    if data.y.ndim == 1 and classes is None:
        settings = {"output": "identity", **settings}
    hidden = settings.get("hidden", HIDDEN)
    hidden = hidden if isinstance(hidden, Iterable) else (hidden,)
    hidden = [check.integer(f"hidden[{i}]", units, 1) for i, units in enumerate(hidden)]
    of_network, of_train = (
        {name: value for name, value in settings.items() if name in names}
        for names in (OF_NETWORK, OF_TRAIN)
    )
    network = Network([data.X.shape[1], *hidden, outputs], seed=seed, **of_network)
    network.classes = None if classes is None else classes.tolist()
    data = data.targets(classes, network)
    of_train = {"progress": False, "sample_weight": data.weights, **of_train}
    made = job(network, data.X, data.y, rows, **of_train)
    return network, made._replace(data=loop.recorded(*made))


def trained(
    settings: Settings, seed: int, classes: Array | None, data: Data, rows: Array
) -> tuple[Network, History]:
    """Return a network with these settings, trained on some rows, and its history."""
    network, run = begun(settings, seed, classes, data, rows)
    return network, loop.fit(*run)


def fit_fold(settings: Settings, seed: int, X: Rows, y: Array, rest: tuple[Any, ...]) -> Scores:
    """Train without a fold and return the evaluation on it; or why training diverged.

    Without warnings: what these data and settings give rise to is said of the check and of the
    final network, and the scores tell of networks of no use.
    """
    weights, classes, train, held_out = rest
    with heard_by(lambda *_: True):
        try:
            network, run = begun(settings, seed, classes, Data(X, y, weights), train)
            history = loop.fit(*run)
            own = with_mean_one(weights, network.architecture.dtype, held_out)
            rows = EvaluationData(run.data.X, run.data.targets, own, held_out)
            scores = evaluate(run.model, rows)
        except DivergenceError as error:
            return {"diverged": str(error)}
    return scores | {"seconds": sum(history["seconds"])}


@dataclasses.dataclass
class CrossValidation:
    """Evaluates settings on the same folds of data.

    Attributes
    ----------
    data, test : Data
    classes : ndarray or None
    folds : list of Fold
    seed : int
    jobs : int or None
        See `fastnn.tune`.
    """

    data: Data
    test: Data
    classes: Array | None
    folds: list[Fold]
    seed: int
    jobs: int | None

    def __post_init__(self) -> None:
        self._said: set[tuple[str, type[Warning]]] = set()
        self._joblib = _joblib_with_workers()
        if self._joblib is None:
            from fastnn.backends.compiled.machinery import threads  # imports Numba

            self.jobs = check_tuning.jobs(self.jobs, threads.most())

    def check(self, all_settings: Iterable[Settings], bar: Any) -> None:
        """Refuse settings and test data before anything is trained, and compile what they need.

        Here, where Ctrl-C ends it.
        """
        for settings in all_settings:
            with heard_by(self.was_said):
                net, run = begun(settings, self.seed, self.classes, self.data, self.folds[0].train)
            with heard_by(lambda *_: True):  # the evaluation will say it
                X, y, weights = self.test.targets(self.classes, net)
                try:
                    evaluation_data(net.model, X, y, weights, None)
                except (TypeError, ValueError) as error:
                    raise type(error)(f"test data: {error}") from error
            loop.prepare(Run(*run), bar)

    def __call__(self, all_settings: Sequence[Settings], bar: Any) -> list[list[Scores]]:
        """Return for each of several settings the scores on each fold; the bar counts these."""
        fits = [(settings, fold) for settings in all_settings for fold in self.folds]
        found: list[Scores] = [{}] * len(fits)

        def take(i: int, scores: Scores) -> None:
            found[i] = scores
            bar.update(1)

        if self._joblib is not None:
            for i, scores in enumerate(self._in_workers(fits)):
                take(i, scores)
        else:
            self._in_threads(fits, take)
        count = len(self.folds)
        return [found[i : i + count] for i in range(0, len(found), count)]

    def _in_threads(
        self, fits: list[tuple[Settings, Fold]], take: Callable[[int, Scores], None]
    ) -> None:
        assert self.jobs is not None
        lock = threading.Lock()
        tasks = [
            partial(
                fit_fold, _one_at_a_time(settings, lock), self.seed, self.data.X, self.data.y,
                (self.data.weights, self.classes, *fold),
            )
            for settings, fold in fits
        ]  # fmt: skip
        count = min(self.jobs, len(tasks))
        if count > 1:
            Together(tasks, count).carry_out(take)
            return
        for i, task in enumerate(tasks):
            take(i, task())

    def _in_workers(self, fits: list[tuple[Settings, Fold]]) -> Iterable[Scores]:
        joblib, jobs = self._joblib, self.jobs
        if jobs is None and joblib.parallel.get_active_backend()[1] is None:
            jobs = -1
        workers = joblib.effective_n_jobs(jobs)
        share = {"threads": max(1, joblib.cpu_count() // workers)} if workers > 1 else {}
        # X and y are arguments themselves, so that they are sent once. The rest is in a tuple: Dask
        # would keep a separate array on a single worker, and lose it if that worker dies.
        calls = [
            joblib.delayed(fit_fold)(
                share | settings, self.seed, self.data.X, self.data.y,
                (self.data.weights, self.classes, *fold),
            )
            for settings, fold in fits
        ]  # fmt: skip
        results: Iterable[Scores] = joblib.Parallel(jobs, return_as="generator")(calls)
        return results

    def was_said(self, message: str, category: type[Warning]) -> bool:
        """Tell whether this was said before, for `heard_by`: once is enough."""
        before = (message, category) in self._said
        self._said.add((message, category))
        return before


def _one_at_a_time(settings: Settings, lock: threading.Lock) -> Settings:
    """Return the settings with callbacks that no two threads call at a time."""

    def locked(callback: Callback) -> Callback:
        def call(row: Row) -> object:
            with lock:
                return callback(row)

        return call

    if "callbacks" not in settings:
        return settings
    return {**settings, "callbacks": [locked(each) for each in settings["callbacks"]]}


def _joblib_with_workers() -> Any:
    """Return joblib if its configuration names workers that are no threads, else None."""
    joblib = sys.modules.get("joblib")  # whoever has named some has imported it
    if joblib is None:
        return None
    backend, _ = joblib.parallel.get_active_backend(prefer="threads")
    return None if getattr(backend, "supports_sharedmem", False) else joblib
