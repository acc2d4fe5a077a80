"""Whether training ended with a network of use, and if not, the likely cause and what to try.

Losses far below that of outputs that are all the same tell that a network is of use. If they are
not, a look at a few rows tells whether the outputs vary, and whether the loss is better than a
guess. Only if not, each layer is examined.
"""

from __future__ import annotations

import math

import numpy as np

from fastnn import backends
from fastnn.activations import ACTIVATIONS, Array
from fastnn.backends import reference
from fastnn.backends.contract import Examples
from fastnn.losses import pair
from fastnn.model.model import Model
from fastnn.sparse_rows import Rows, is_sparse
from fastnn.training.run import Run

LOOKED_AT = 32  # rows of every run
EXAMINED = 512  # rows of a run that looks bad, or fewer if their targets are many numbers
MOST_NUMBERS = 1 << 14
FEWEST_STEPS = 10  # of a run that is judged: before, a network may still be as it began
# Steps of numbers and of classes, and epochs, after which a network is no longer at its beginning.
LEARNT_NUMBERS, LEARNT, EPOCHS = 50, 100, 3
LARGE = 10.0  # inputs and targets beyond this are far from the -1 .. 1 that initial weights are for
# Times the loss of a guess that is certainly bad: of classes, of numbers, which take long to learn
# if they are far from 0, and of numbers after so many steps. From the last on a run is examined.
WORSE, WORSE_NUMBERS, WORSE_LEARNT, SUSPECT = 2.0, 10.0, 1.2, 0.8
CROSS_ENTROPIES = ("cross_entropy", "binary_cross_entropy")
# Times the loss of outputs that are all the same, below which they must vary: that of the mean is
# known, which for absolute errors is at most twice the median's.
CLEARLY_BETTER = 0.4
HARDLY_BETTER = 0.97  # of the loss of who knows only how frequent the classes are
FLAT = 0.02  # spread of predicted numbers, as a share of that of the targets, that says nothing
FAINT = 64  # uint8 below this are far from 1 when divided by 255
STRONG = 0.01  # a penalty that may pull all weights to 0
# The spread of outputs, as a share of their size, below which they count as the same.
SAME = {np.dtype(np.float32): 1e-5, np.dtype(np.float64): 1e-11}


def verdict(run: Run) -> str:
    """Return why the network of a run is of no use and what to try, or nothing if it is."""
    count, epochs = len(run.data), len(run.history)
    steps = epochs * -(-count // run.settings.batch_size)
    if steps < FEWEST_STEPS:
        return ""
    if _is_clearly_of_use(run):
        return ""
    numbers = run.model.architecture.output == "identity"
    learnt = steps >= (LEARNT_NUMBERS if numbers else LEARNT) and epochs >= EPOCHS
    few = _sample(run, min(_given(run), LOOKED_AT))
    outputs = _outputs(run.model, few)
    constant = _is_constant(outputs)
    if learnt and not numbers:
        constant = constant or _is_constant(_decisions(run.model, outputs))
    suspect = SUSPECT if numbers else WORSE
    if not constant and run.history[-1]["loss"] <= suspect * _guess(run.model, few):
        return ""
    what = _examined(run.model, _examples(run), learnt)
    if not what or _is_constant(run.examples.Y):  # so may the outputs be
        return ""
    return f"the trained network is {what}. Try {', '.join(remedies(run))}"


def _is_clearly_of_use(run: Run) -> bool:
    """Whether the losses of the last epoch, and of its last rows, tell that the outputs vary."""
    architecture, given = run.model.architecture, run.examples
    errors = architecture.output == "identity" and architecture.loss in ("mse", "mae", "huber")
    known = errors or architecture.loss in CROSS_ENTROPIES
    if not known or given.weights is not None or len(run.losses) == 0:  # no step in this call
        return False
    loss = run.history[-1]["loss"]
    if not errors and loss >= CLEARLY_BETTER * _guess(run.model, given):  # at least that of a prior
        return False
    rows = _places(run, _count(run))
    few = Examples(given.X[:0], given.Y[rows])
    same = _guess(run.model, few) if errors else _prior(run.model, few)
    last = run.losses[-LOOKED_AT // run.settings.batch_size :]
    return bool(max(loss, last.mean()) < CLEARLY_BETTER * same)


def _examined(model: Model, examples: Examples, learnt: bool) -> str:
    """Return what is wrong with a network, as many rows show it, or nothing."""
    if _is_constant(examples.X):
        return ""  # so must the outputs be
    outputs = _outputs(model, examples)
    if _is_constant(outputs):
        what = f"it predicts the same for each of {len(outputs)} rows"
        return f"of no use: {what}{_dead_layer(model, examples)}"
    loss = float(backends.get(model.backend).loss(model, examples, outputs))
    numbers = model.architecture.output == "identity"
    worse = (WORSE_LEARNT if learnt else WORSE_NUMBERS) if numbers else WORSE
    if loss > worse * (guess := _guess(model, examples)):
        return (
            f"worse than a guess: its loss is {loss:.3g}, and that of a guess without looking at X "
            f"{guess:.3g}"
        )
    if not learnt:
        return ""
    if numbers and (outputs.std(axis=0) <= FLAT * examples.Y.std(axis=0)).all():
        return f"of no use: it predicts almost the same for each of {len(outputs)} rows"
    if _is_constant(_decisions(model, outputs)) and loss > HARDLY_BETTER * _prior(model, examples):
        return (
            f"of no use: it predicts the same class for each of {len(outputs)} rows, and its loss "
            "is hardly better than if it knew only how frequent the classes are"
        )
    return ""


def _dead_layer(model: Model, examples: Examples) -> str:
    """Return which is the first layer whose units do not depend on the row, if there is one."""
    outs = [
        np.empty((len(examples.X), size), model.vector.dtype)
        for size in model.architecture.sizes[1:]
    ]
    backends.get(model.backend).activations(model, examples.X, outs)
    for l, units in enumerate(outs[:-1]):
        if _is_constant(units):
            low, high = float(units.min()), float(units.max())
            what = f"{low:.3g}" if low == high else f"numbers from {low:.3g} to {high:.3g}"
            name = model.architecture.activations[l]
            return (
                f": all {units.shape[1]} units of layer {l} ({name}) give {what} whatever the row"
            )
    return ""


def remedies(run: Run) -> list[str]:
    """Return what may help a run that went wrong, the most likely first."""
    model, settings = run.model, run.settings
    examples = _examples(run)
    architecture = model.architecture
    certain: list[str] = []
    likely = [f"a lower learning_rate than {settings.learning_rate:g}"]
    if model.input_scaler is None:
        x, sparse = reference.inputs(model, examples.X, slice(None)), is_sparse(examples.X)
        sizes = np.maximum(x.max(axis=0), -x.min(axis=0))
        worst = int(sizes.argmax())
        names, X = model.features, examples.X
        name = worst if names is None else repr(names[worst])
        low, high = X.min(axis=0)[worst], X.max(axis=0)[worst]
        reach = f"column {name} of X reaches from {low:g} to {high:g}"
        if sparse:
            (certain if sizes[worst] > LARGE else likely).append(
                f"columns divided by their largest number, as by a MaxAbsScaler ({reach})"
            )
        elif examples.X.dtype == np.uint8 and examples.X.max() < FAINT:
            certain.append(f"standardize_inputs=True, as uint8 is divided by 255 ({reach})")
        elif sizes[worst] <= LARGE:
            likely.append("standardize_inputs=True")
        elif _are_pixels(examples.X):
            certain.append(f"X.astype('uint8'), as only uint8 is divided by 255 ({reach})")
        else:
            certain.append(f"standardize_inputs=True ({reach})")
    if model.target_scaler is None and architecture.output == "identity":
        t = examples.Y
        if architecture.loss == "poisson" or np.abs(t).max() <= LARGE:
            likely += ["standardize_targets=True"] * (architecture.loss != "poisson")
        else:
            certain.append(f"standardize_targets=True (y reaches from {t.min():g} to {t.max():g})")
    if architecture.activations[:-1].count("sigmoid") > 1:
        likely.append("activation='relu'")
    for name in ("l2", "l1"):
        strength = getattr(settings.objective, name)
        if strength > STRONG:
            likely.append(f"a lower {name} than {strength:g}")
    return certain + likely + ["clip_norm=1"] * (settings.clip_norm is None)


def _outputs(model: Model, examples: Examples) -> Array:
    out = np.empty((len(examples.X), model.architecture.sizes[-1]), model.architecture.dtype)
    backends.get(model.backend).predict(model, examples.X, out)
    return out


def _decisions(model: Model, outputs: Array) -> Array:
    """Return what the outputs decide: a class for each row, or labels; numbers stay as they are."""
    output = model.architecture.output
    if output == "sigmoid":
        return outputs > 0.5
    return outputs.argmax(axis=1) if output == "softmax" else outputs


def _prior(model: Model, examples: Examples) -> float:
    """Return the cross-entropy of outputs that are the mean of the targets; for others infinity."""
    loss = model.architecture.loss
    if loss not in CROSS_ENTROPIES:
        return np.inf
    if examples.Y.ndim == 1:
        p = np.bincount(examples.Y) / len(examples.Y)
    else:
        p = reference.targets(model, examples.Y, slice(None)).mean(axis=0, dtype=np.float64)
    if loss == "binary_cross_entropy":
        p = np.concatenate([p, 1 - p])
    p = p[p > 0]
    return float(-(p * np.log(p)).sum())


def _examples(run: Run) -> Examples:
    """Return the rows of a run that are looked at more closely."""
    return _sample(run, _count(run))


def _count(run: Run) -> int:
    """Return how many rows that are."""
    most = max(LOOKED_AT, MOST_NUMBERS // run.model.architecture.sizes[-1])
    return min(_given(run), EXAMINED, most)


def _sample(run: Run, count: int) -> Examples:
    """Return some rows that were trained on, spread evenly."""
    given, rows = run.examples, _places(run, count)
    return Examples(given.X[rows], given.Y[rows], None)


def _places(run: Run, count: int) -> Array:
    """Return where these rows are in the data."""
    rows = run.examples.rows
    places = np.arange(count) * _given(run) // count
    return places if rows is None else rows[places]


def _given(run: Run) -> int:
    """Return how many rows to train on are in memory."""
    examples = run.examples
    return len(examples.X if examples.rows is None else examples.rows)


def _is_constant(array: Rows) -> bool:
    """Whether each column has the same number in every row, up to rounding."""
    low, high = array.min(axis=0), array.max(axis=0)
    equal = low == high  # also where both are infinite
    same = SAME.get(array.dtype)
    if same is not None:
        with np.errstate(invalid="ignore"):
            equal |= high - low <= same * np.maximum(np.abs(low), np.abs(high))
    return bool(equal.all())


def _guess(model: Model, examples: Examples) -> float:
    """Return the loss of a guess that is the same for each row.

    It is the mean of the targets for an identity, and for other outputs what they give at 0.
    """
    architecture = model.architecture
    output, loss = architecture.output, architecture.loss
    if loss == "cross_entropy":
        return math.log(architecture.sizes[-1])
    if loss == "binary_cross_entropy":
        return math.log(2) * architecture.sizes[-1]
    if callable(loss):
        return np.inf  # a function of the user's may be anything
    t = reference.targets(model, examples.Y, slice(None)).astype(np.float64)
    z = np.zeros_like(t)
    if output == "identity" and loss != "poisson":
        z += t.mean(axis=0)
    return float(pair(output, loss).value(z, ACTIVATIONS[output].function(z), t).mean())


def _are_pixels(X: Array) -> bool:
    """Whether these look like pixels that are not uint8."""
    return bool(X.min() >= 0 and 100 < X.max() <= 255 and np.array_equal(X, np.rint(X)))
