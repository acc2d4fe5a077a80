"""Training on small data by L-BFGS: all rows in every step."""

from __future__ import annotations

import numpy.typing as npt

from fastnn.checks import values as check
from fastnn.checks.keywords import suggesting
from fastnn.network import Network
from fastnn.training import data as training_data
from fastnn.training import settings
from fastnn.training.full_batch import Limits, Minimum, minimise
from fastnn.training.row_weights import ClassWeight


@suggesting
def minimize(
    net: Network,
    X: npt.ArrayLike,
    y: npt.ArrayLike | None = None,
    l2: float = 0.0,
    *,
    max_iter: int = 200,
    max_fun: int = 15000,
    tol: float = 1e-4,
    label_smoothing: float = 0.0,
    class_weight: ClassWeight | None = None,
    sample_weight: npt.ArrayLike | None = None,
) -> Minimum:
    """Train a network on all rows at once by L-BFGS, a quasi-Newton method.

    For small data: up to some thousand rows it takes fewer passes than mini-batches, needs no
    learning rate, and comes closer to a minimum. ``scipy.optimize.minimize`` does the search (Byrd,
    Lu, Nocedal and Zhu, 1995). Loss and gradient are computed in float64 whatever the dtype of the
    network, to which the result is rounded. There is no l1, whose gradient jumps at 0, and no
    dropout.

    Parameters
    ----------
    net : Network
        It is trained, from where it is; a state of an optimizer from before is dropped.
    X, y : array
        As for `Network.train`.
    l2 : float
        As for `Network.train`.
    max_iter : int
        Largest number of iterations.
    max_fun : int
        Number of computations of the loss after which no further iteration begins.
    tol : float
        The search has arrived when no element of the gradient is larger; also when an iteration
        improves the loss by less than 2e-9 of it.
    label_smoothing : float
        As for `Network.train`.
    class_weight : "balanced", mapping or sequence, optional
        As for `Network.train`.
    sample_weight : array of shape (rows,), optional
        As for `Network.train`.

    Returns
    -------
    Minimum
        How it went; ``converged`` says whether the search has arrived.

    Raises
    ------
    ImportError
        If scipy is missing; the extra ``sklearn`` brings it.
    TypeError, ValueError
        If an argument is not as described.
    DivergenceError
        If the loss is not finite at the start, or a parameter at the end not in the network's
        dtype. The network is as it was.
    RuntimeError
        If the network is being trained.
    KeyboardInterrupt
        On Ctrl-C. The network holds the result of the last iteration, or is as it was if that is
        too large for its dtype.

    Examples
    --------
    >>> import fastnn
    >>> net = fastnn.Network([2, 8, 2], activation="tanh", seed=3)
    >>> X, y = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [0, 1, 1, 0]
    >>> result = fastnn.minimize(net, X, y)
    >>> result.converged, result.iterations < 50
    (True, True)
    >>> net.predict(X).tolist()
    [0, 1, 1, 0]
    """
    if not isinstance(net, Network):
        raise TypeError(f"net must be a fastnn.Network, got {net!r}")
    limits = Limits(
        check.integer("max_iter", max_iter, 1),
        check.integer("max_fun", max_fun, 1),
        check.real("tol", tol, least=0),
    )
    keywords = {"l2": l2, "l1": 0.0, "label_smoothing": label_smoothing, "dropout": 0.0}
    objective = settings.objective(keywords, net.architecture)
    data = training_data.checked(net.model, X, y, None, sample_weight, class_weight)
    return minimise(net.model, data, objective, limits)
