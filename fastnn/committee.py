"""`Committee`: several networks that predict together."""

from __future__ import annotations

import inspect
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, overload

import numpy as np
import numpy.typing as npt

from fastnn.activations import Array
from fastnn.backends.contract import FINE
from fastnn.checks import data as check_data
from fastnn.checks import keywords as check_keywords
from fastnn.checks import networks as check_network
from fastnn.checks import values as check
from fastnn.checks.committees import agree
from fastnn.checks.data import ARRAYS
from fastnn.checks.sparse import refuse_to_standardise
from fastnn.members import Members
from fastnn.network import Network
from fastnn.training import evaluation, settings
from fastnn.training.data import checked, evaluation_data
from fastnn.training.evaluation import DivergenceError, Evaluation
from fastnn.training.history import History, Row
from fastnn.training.row_weights import ClassWeight
from fastnn.training.settings import Callback
from fastnn.training.side_by_side import Job, data_for_all, fit_all, naming
from fastnn.writing import check_file

# The arguments of `fastnn.Network.train` that may be left out, with their defaults.
DEFAULTS = {
    name: parameter.default
    for name, parameter in inspect.signature(Network.train).parameters.items()
    if parameter.default is not inspect.Parameter.empty
}
OF_DATA = ("validation", "sample_weight", "class_weight")


class Committee(Members):
    """Several networks that predict together: the mean of what each predicts.

    Networks that differ in their seed make different errors, which the mean evens out (Hansen and
    Salamon, 1990). How far they differ tells how sure the mean is (Lakshminarayanan, Pritzel and
    Blundell, 2017).

    ``len(committee)`` is the number of members, ``committee[0]`` a network, ``committee[:3]`` a
    committee of some of them.

    Parameters
    ----------
    members : iterable of Network
        Trained or not. They may differ in hidden layers, initial weights, seed, precision and
        standardisation, but not in inputs, outputs, kind of output, loss, dtype, and the names of
        classes and inputs where these are known. They are not copied.

    Attributes
    ----------
    members : tuple of Network

    Raises
    ------
    TypeError, ValueError
        If there are none, a member is no network, or they do not fit together: the message names
        the member.

    Examples
    --------
    >>> import fastnn
    >>> committee = fastnn.Committee([fastnn.Network([1, 16, 1], "tanh", "identity", seed=i)
    ...                               for i in range(3)])
    >>> X, y = [[0.0], [0.25], [0.5], [0.75], [1.0]], [0.0, 0.2, 0.3, 0.2, 0.0]
    >>> histories = committee.train(X, y, epochs=300, optimizer="adam", learning_rate=0.02)
    >>> prediction, std = committee.predict([[0.5], [4.0]], return_std=True)
    >>> bool(std[1, 0] > std[0, 0])
    True
    """

    def train(
        self, X: npt.ArrayLike, y: npt.ArrayLike | None = None, epochs: int = 10, **settings: Any
    ) -> list[History]:
        """Train all members side by side, a thread for each.

        Each member becomes, bit for bit, what `Network.train` would make of it alone. A network
        whose ``threads`` are not set takes its share of the CPUs.

        Parameters
        ----------
        X, y : array
            As for `Network.train`, but no stream.
        epochs : int
            Passes through all rows.
        **settings
            All other arguments of `Network.train`, for each member. With ``validation=0.2`` each
            sets rows of its own aside, by its seed. Each stops early by itself. ``callbacks`` are
            called for one member at a time, with its position as ``member`` in the row; "stop" ends
            that member's training. With ``checkpoint="run.safetensors"`` there is a file for each
            member, ``run-0.safetensors`` and so on, and with ``resume=True`` each goes on from its
            own. ``max_seconds`` is the limit for all together.

        Returns
        -------
        list of History
            One for each member.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described, or not for one of the members; then nothing was
            trained.
        OSError, DivergenceError, RuntimeError
            As for `Network.train`. The message names the member. An error in one ends the others as
            Ctrl-C does.
        KeyboardInterrupt, SystemExit
            As for `Network.train`: each member holds the state after a complete step.
        """
        check_keywords.check("Committee.train", settings, DEFAULTS.keys())
        given = {**DEFAULTS, "epochs": epochs, **settings}
        if given["communicator"] is not None:
            raise ValueError("communicator is for a single network; train the members one by one")
        agree(self._models)
        data = data_for_all(self._models, X, y, *(given.pop(name) for name in OF_DATA))
        given["callbacks"] = check.functions("callbacks", given["callbacks"])
        for name in ("frozen", "augment"):  # which may be gone through only once
            if isinstance(given[name], Iterable) and not isinstance(given[name], str):
                given[name] = tuple(given[name])
        lock = threading.Lock()
        jobs = [
            Job(net.model, own, self._settings(i, given, len(own), lock))
            for i, (net, own) in enumerate(zip(self.members, data, strict=True))
        ]
        return fit_all(jobs, given["progress"])

    def _settings(
        self, i: int, given: dict[str, Any], rows: int, lock: threading.Lock
    ) -> settings.TrainingSettings:
        """Return the settings of a member's run."""
        own = dict(given)
        own["callbacks"] = [with_member(i, each, lock) for each in given["callbacks"]]
        if given["checkpoint"] is not None:
            own["checkpoint"] = checkpoint_of(given["checkpoint"], i)
        architecture = self.members[i].architecture
        if i == 0:
            return settings.checked(own, architecture, rows)
        with naming(i):
            return settings.checked(own, architecture, rows)

    @overload
    def predict_proba(self, X: npt.ArrayLike, return_std: Literal[False] = False) -> Array: ...
    @overload
    def predict_proba(self, X: npt.ArrayLike, return_std: Literal[True]) -> tuple[Array, Array]: ...
    def predict_proba(
        self, X: npt.ArrayLike, return_std: bool = False
    ) -> Array | tuple[Array, Array]:
        """Return the mean of the members' outputs: probabilities, numbers, rates or quantiles.

        Of quantiles it is the mean for each level. Outputs are averaged as `Network.predict_proba`
        returns them, in the units of the targets; those of the output "identity" with the loss
        "poisson" are logarithms.

        Parameters
        ----------
        X : array of shape (rows, features)
            As for `Network.train`.
        return_std : bool
            Also return how far the members differ.

        Returns
        -------
        mean : ndarray of shape (rows, outputs)
            In the networks' dtype.
        std : ndarray of shape (rows, outputs)
            The standard deviation (population) of each output between the members. Only if
            ``return_std``.

        Raises
        ------
        TypeError, ValueError
            If X is not as described.
        DivergenceError
            If an output is not finite, because inputs or weights are too large.
        """
        models, lead = self._models, self._first_trained
        agree(models)
        for model in models:
            refuse_to_standardise("X", X, model.input_scaler is not None)
        rows = check_data.features("X", X, lead.architecture, lead.features, finite=False)
        evaluation.warn_of_other_units(lead, "X", rows)
        found = self._outputs(rows)
        if not return_std:
            return self._mean(found)
        outputs = np.stack(list(found))
        return self._mean(iter(outputs)), outputs.std(axis=0, dtype=np.float64).astype(
            outputs.dtype
        )

    def _outputs(self, rows: Any) -> Iterator[Array]:
        for i, model in enumerate(self._models):
            with naming(i, DivergenceError):
                yield evaluation.outputs_of_rows(model, "X", rows)

    def _mean(self, outputs: Iterator[Array]) -> Array:
        """Return the mean, with the operations of `predict_one`."""
        total = next(outputs).copy()
        with np.errstate(over="ignore"):
            for each in outputs:
                total += each
        total /= len(self)
        evaluation.check_outputs(self.members[0].architecture, total)
        return total

    @overload
    def predict(
        self,
        X: npt.ArrayLike,
        threshold: float | None = None,
        *,
        return_std: Literal[False] = False,
    ) -> Array: ...
    @overload
    def predict(
        self, X: npt.ArrayLike, threshold: float | None = None, *, return_std: Literal[True]
    ) -> tuple[Array, Array]: ...
    def predict(
        self, X: npt.ArrayLike, threshold: float | None = None, *, return_std: bool = False
    ) -> Array | tuple[Array, Array]:
        """Return what the mean of the outputs predicts: classes, labels or numbers.

        Parameters
        ----------
        X : array of shape (rows, features)
            As for `Network.train`.
        threshold : float, optional
            As for `Network.predict`.
        return_std : bool
            Also return how far the members differ.

        Returns
        -------
        prediction : ndarray of shape (rows,) or (rows, outputs)
            As `Network.predict` returns it.
        std : ndarray of shape (rows, outputs)
            As for `predict_proba`: in the units of the numbers, or of the probability of each
            class. Only if ``return_std``.

        Raises
        ------
        TypeError, ValueError, DivergenceError
            As for `Network.predict`.
        """
        lead = self._first_trained
        if threshold is not None:
            check_network.threshold(threshold, lead.architecture)
        if not return_std:
            return evaluation.decided(lead, self.predict_proba(X), threshold)
        mean, std = self.predict_proba(X, return_std=True)
        return evaluation.decided(lead, mean, threshold), std

    def predict_one(self, x: npt.ArrayLike, out: Array | None = None) -> Array:
        """Return the mean of the members' outputs for a single row, in microseconds.

        Parameters
        ----------
        x : array of shape (features,)
            As for `Network.predict_one`.
        out : ndarray of shape (outputs,), optional
            As for `Network.predict_one`.

        Returns
        -------
        ndarray of shape (outputs,)
            ``out``, or a new array. The numbers are those of `predict_proba`, but an output that is
            not finite is returned, not refused.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described.
        """
        members = self.members
        model = members[0].model
        single, dtype, outputs = model.prepared.get("single") or evaluation.single(model)
        row: Any = x
        # As in `Network.predict_one`: the compiled functions look at the lengths only.
        if not (type(row) in ARRAYS and row.ndim == 1 and row.dtype == dtype and row.flags.carray):
            lead = self._first_trained
            x = check_data.single_row("x", x, lead.architecture, lead.features)
            row = check_data.converted(x, dtype)
        if out is not None:
            check_data.writable_row("out", out, outputs, dtype)
        room = total = np.empty(outputs, dtype)  # `out` may be `x`, which the next member reads
        for net in members:
            model = net.model
            single = (model.prepared.get("single") or evaluation.single(model))[0]
            if single(row, room) != FINE:
                x = check_data.single_row("x", x, model.architecture, model.features)
                check_data.readable("x", x.reshape(1, -1), model.architecture)
            if model.target_scaler is not None:
                evaluation.restore_targets(model, room)
            if room is total:
                room = np.empty(outputs, dtype)
            else:
                total += room
        if out is None:
            out = total
        return np.divide(total, len(members), out=out)

    def evaluate(
        self,
        X: npt.ArrayLike,
        y: npt.ArrayLike,
        sample_weight: npt.ArrayLike | None = None,
        class_weight: ClassWeight | None = None,
    ) -> dict[str, float]:
        """Return the loss and the metrics of the mean of the outputs.

        Parameters
        ----------
        X, y : array
            As for `Network.train`.
        sample_weight : array of shape (rows,), optional
            As for `Network.evaluate`.
        class_weight : "balanced", mapping or sequence, optional
            As for `Network.evaluate`.

        Returns
        -------
        dict
            As `Network.evaluate` returns it. The loss is that of the mean, whose probabilities are
            kept from 0 and 1 by the least that the dtype can tell, and whose quantiles are sorted.
            With standardised targets it is in the standard deviations that the first member has
            learnt.

        Raises
        ------
        TypeError, ValueError, DivergenceError
            As for `Network.evaluate`.
        """
        models, lead = self._models, self._first_trained
        agree(models)
        for model in models:
            refuse_to_standardise("X", X, model.input_scaler is not None)
        data = evaluation_data(lead, X, y, sample_weight, class_weight)
        out = self._mean(self._outputs(data.X))
        loss = evaluation.loss_of_outputs(lead, data, out)
        return {"loss": loss, **Evaluation(lead, data).scores(out)}


def members_of(net: Network | Committee) -> list[Network]:
    """Return the members of a committee, or the network by itself."""
    return list(net) if isinstance(net, Committee) else [net]


def checkpoint_of(path: str | os.PathLike[str], member: int) -> str:
    """Return the path of a member's checkpoint."""
    root, kind = os.path.splitext(check_file(path, "checkpoint"))
    return f"{root}-{member}{kind}"


def joined(histories: Sequence[History]) -> History:
    """Return the rows of several histories, each with the position of its ``member``."""
    found = History()
    for i, history in enumerate(histories):
        for row in history:
            found.append({"member": i, **row})
    return found


def job(net: Network, X: Any, y: Any, rows: Array | None = None, **arguments: Any) -> Job:
    """Return the run that ``net.train`` would begin with these arguments, after checking them.

    ``rows`` are the positions of those to train on, if these are not all.
    """
    given = {**DEFAULTS, **arguments}
    validation, weights, by_class = (given.pop(name) for name in OF_DATA)
    data = checked(net.model, X, y, validation, weights, by_class, rows)
    return Job(net.model, data, settings.checked(given, net.architecture, len(data)))


def with_member(member: int, callback: Callback, lock: threading.Lock) -> Callback:
    """Return a callback that is told which member a row is about, and runs alone."""

    def call(row: Row) -> object:
        with lock:
            return callback({"member": member, **row})

    return call
