"""Schedules: factors worked by hand, PyTorch's where the definitions coincide, and in real runs."""

from __future__ import annotations

import numpy as np
import pytest

from fastnn import Network, backends
from fastnn.schedules import (
    SCHEDULES,
    Constant,
    Cosine,
    CosineLog,
    Exponential,
    InverseScaling,
    Linear,
    OneCycle,
    Plateaus,
    ReduceOnPlateau,
    Step,
)
from fastnn.training import loop, run

# Factors near 1 after a cosine or a power, a few products and sums: some ulps of 1.
TOLERANCE = 8 * np.finfo(np.float64).eps

WORKED = {  # at these epochs of a run of 10, these factors
    Constant(): {0: 1, 5: 1, 9.9: 1},
    Linear(): {0: 1, 2.5: 0.75, 5: 0.5, 9.9: 0.01, 10: 0},
    Linear(end=0.2): {0: 1, 5: 0.6, 10: 0.2},
    Linear(end=2): {0: 1, 5: 1.5, 10: 2},
    Linear(by="epoch"): {0: 1, 0.9: 1, 1: 0.9, 5.9: 0.5, 9.9: 0.1},
    Exponential(): {0: 1, 0.9: 1, 1: 0.9, 2.5: 0.81, 9.9: 0.9**9},
    Exponential(0.5): {0.9: 1, 1: 0.5, 3.5: 0.125},
    Exponential(0.25, by="step"): {0: 1, 0.5: 0.5, 1: 0.25, 1.5: 0.125, 9: 2.0**-18},
    Step(): {0: 1, 2.9: 1, 3: 0.5, 5.9: 0.5, 6: 0.25, 9.9: 0.125},
    Step(5, 0.1): {4.9: 1, 5: 0.1, 9.9: 0.1},
    InverseScaling(): {0: 1, 1.25: 2 / 3, 3: 1 / 2, 8: 1 / 3},
    InverseScaling(1, by="epoch"): {0.9: 1, 1: 1 / 2, 1.9: 1 / 2, 9.9: 1 / 10},
    Cosine(): {0: 1, 10 / 3: 0.75, 5: 0.5, 20 / 3: 0.25, 10: 0},
    Cosine(end=0.2): {0: 1, 5: 0.6, 10: 0.2},
    Cosine(by="epoch"): {0.9: 1, 5: 0.5, 5.9: 0.5},
    Cosine(warmup=2): {0: 0, 0.5: 0.25, 1.5: 0.75, 2: 1, 6: 0.5, 10: 0},
    Cosine(warmup=0.5, end=0.5): {0.25: 0.5, 0.5: 1, 5.25: 0.75, 10: 0.5},
    Cosine(warmup=2, by="epoch"): {0.9: 0, 1.9: 0.5, 2: 1, 6.9: 0.5},
    CosineLog(): {
        0: 0,
        10 / 15 * (2**0.25 - 1): 0.5,
        10 / 15 * (2**0.5 - 1): 1,
        2 / 3: 0,
        2: 0,
        10 / 15 * (2**3.5 - 1): 1,
        10: 0,
    },
    CosineLog(1): {0: 0, 10 * (2**0.5 - 1): 1, 10: 0},
    OneCycle(): {0: 0.04, 1.5: 0.52, 3: 1, 6.5: 0.500002, 10: 4e-6},
    OneCycle(peak=0.5, start=0, end=0.2): {0: 0, 2.5: 0.5, 5: 1, 7.5: 0.6, 10: 0.2},
    OneCycle(peak=1, start=0.5): {0: 0.5, 5: 0.75, 10: 1},
    ReduceOnPlateau(): {0: 1, 5: 1, 9.9: 1},
}


def blobs(rows=60):
    """Return points in four dimensions, and on which side of a plane they are."""
    X = np.random.default_rng(1).normal(size=(rows, 4)).astype(np.float32)
    return X, (X[:, 0] > 0).astype(int)


def network(backend="numpy", **options):
    return Network([4, 5, 2], activation="tanh", seed=5, backend=backend, **options)


@pytest.mark.parametrize("schedule", WORKED, ids=repr)
def test_factors_are_those_worked_by_hand(schedule):
    times = np.array([*WORKED[schedule]], float)
    np.testing.assert_allclose(
        schedule(times, 10), [*WORKED[schedule].values()], rtol=0, atol=TOLERANCE
    )


@pytest.mark.parametrize("name", SCHEDULES)
def test_by_name_a_schedule_has_its_defaults_and_rules_the_learning_rate(name):
    X, y = blobs()
    history = network().train(X, y, epochs=5, schedule=name, learning_rate=0.25)
    expected = 0.25 * type(SCHEDULES[name])()(np.arange(5.0), 5)
    # The losses of these five epochs fall, so that "plateau" stays at 1.
    assert history["learning_rate"] == pytest.approx(expected.tolist(), abs=TOLERANCE)


@pytest.fixture
def rates(monkeypatch):
    """The learning rates of all steps, as the backend gets them."""
    module, taken = backends.get("numpy"), []

    class Noting:
        def __getattr__(self, name):
            return getattr(module, name)

        def train_steps(self, model, examples, order, batch_size, rates, *rest):
            taken.extend(rates.tolist())
            return module.train_steps(model, examples, order, batch_size, rates, *rest)

    monkeypatch.setattr(backends, "get", lambda name: Noting())
    return taken


@pytest.mark.parametrize("slice_", [loop.SLICE, 1])  # an epoch in one call, or a call a step
@pytest.mark.parametrize(
    ("by", "expected"),
    [("step", [1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]), ("epoch", [1, 1, 1, 0.5, 0.5, 0.5])],
)
def test_each_step_has_the_factor_of_its_time(by, expected, slice_, rates, monkeypatch):
    monkeypatch.setattr(loop, "SLICE", slice_)
    X, y = blobs(50)  # two batches of 20, one of 10
    history = network().train(X, y, 2, 20, 1.0, schedule=Linear(by=by))
    assert rates == pytest.approx(expected, abs=TOLERANCE)
    assert history["learning_rate"] == pytest.approx(expected[::3], abs=TOLERANCE)


def test_a_function_gets_the_epochs_done_with_fractions(rates):
    X, y = blobs(50)
    times = []

    def halving(t):
        times.append(t)
        return 0.5**t

    network().train(X, y, 3, 32, 0.1, schedule=halving)
    assert times == [0, 0.5, 1, 1.5, 2, 2.5]
    assert rates == [0.1 * 0.5**t for t in times]


def test_a_function_counts_from_0_in_every_call():
    X, y = blobs()
    net, times = network(), []
    for _ in range(2):
        net.train(X, y, 1, 30, schedule=lambda t: times.append(t) or 1)
    assert times == [0, 0.5, 0, 0.5]


@pytest.mark.parametrize("result", [np.float32(0.5), np.float64(0.5), 1, 0])
def test_a_function_may_return_any_number_of_0_or_more(result):
    X, y = blobs()
    history = network().train(X, y, epochs=1, learning_rate=0.5, schedule=lambda t: result)
    assert history["learning_rate"] == [0.5 * result]


# The plateau


@pytest.mark.parametrize(
    ("losses", "reductions"),
    [
        ([], 0),
        ([1.0], 0),
        ([1.0, 0.9, 0.8, 0.7], 0),
        ([1.0, 1.0], 0),
        ([1.0, 1.0, 1.0], 1),
        ([1.0, 2.0, 3.0], 1),  # rising is no better than staying
        ([1.0, 1.0, 0.8, 0.8], 0),  # an improvement begins the waiting again
        ([1.0, 1.0, 1.0, 1.0], 1),  # and so does a reduction
        ([1.0, 1.0, 1.0, 1.0, 1.0], 2),
        ([1.0, 1.0, 1.0, 0.8, 0.8, 0.8], 2),
        ([1.0, 0.95, 0.91], 1),  # falls by no more than min_change are none
        ([1.0, 0.95, 0.85], 0),  # but they add up: what counts is the lowest
        ([1.0, 0.5, 0.7, 0.6], 1),  # lower than before, but not than the lowest
    ],
)
def test_reductions_after_two_epochs_without_a_fall_of_a_tenth(losses, reductions):
    assert ReduceOnPlateau(patience=2, min_change=0.1).reductions(losses) == reductions


def test_reductions_are_counted_on_with_the_losses_of_each_epoch():
    schedule = ReduceOnPlateau(patience=2, min_change=0.1)
    losses = [1.0, 0.95, 0.91, 0.7, 0.7, 0.8, 0.6, 0.65, 0.65, 0.1]
    plateaus = Plateaus(schedule)
    counts = [plateaus.reductions([loss]) for loss in losses]
    assert counts == [schedule.reductions(losses[: i + 1]) for i in range(len(losses))]
    assert plateaus.seen == len(losses)


def test_a_run_looks_at_each_loss_once(monkeypatch):
    seen = []

    class Noting(Plateaus):
        def reductions(self, losses):
            seen.extend(losses)
            return super().reductions(losses)

    monkeypatch.setattr(run, "Plateaus", Noting)
    history = network().train(*blobs(), epochs=6, batch_size=30, schedule="plateau")
    assert seen == history["loss"][:-1]


def test_an_equal_loss_is_no_fall():
    assert ReduceOnPlateau(patience=2, min_change=0).reductions([1.0] * 5) == 2


def test_reductions_wait_for_as_many_epochs_as_asked():
    counts = [ReduceOnPlateau(patience=n).reductions([1.0] * 13) for n in (1, 2, 3, 4, 12, 13)]
    assert counts == [12, 6, 4, 3, 1, 0]


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_the_learning_rate_falls_on_a_plateau(backend):
    X, y = blobs()
    schedule = ReduceOnPlateau(factor=0.5, patience=2)
    # At this rate no loss changes by more than rounding.
    history = network(backend).train(X, y, epochs=7, learning_rate=1e-10, schedule=schedule)
    assert history["learning_rate"] == [1e-10 * 0.5**n for n in (0, 0, 0, 1, 1, 2, 2)]


def test_the_plateau_is_that_of_the_validation_loss_if_there_is_one():
    X, y = blobs()
    schedule = ReduceOnPlateau(factor=0.5, patience=1)
    # The validation's labels are wrong, so that its loss rises as that of training falls.
    history = network().train(X, y, epochs=5, schedule=schedule, validation=(X, 1 - y))
    assert schedule.reductions(history["loss"]) == 0
    assert history["learning_rate"] == [0.3 * 0.5**n for n in (0, 0, 1, 2, 3)]


# PyTorch


def torch_factors(build, values, losses=None):
    """Return the factors of a scheduler of PyTorch's before each of its steps."""
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler, factors = build(torch.optim.lr_scheduler, optimizer), []
    for i in range(values):
        factors.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step(*(losses[i : i + 1] if losses else ()))
    return factors


# A rate goes through up to a hundred products of PyTorch's, each with an error of half an ulp.
RECURSION = 100 * np.finfo(np.float64).eps


@pytest.mark.parametrize(
    ("schedule", "build"),
    [
        (Linear(end=0.1), lambda s, o: s.LinearLR(o, 1.0, 0.1, total_iters=20)),
        (Exponential(0.8), lambda s, o: s.ExponentialLR(o, 0.8)),
        (Step(4, 0.3), lambda s, o: s.StepLR(o, 4, 0.3)),
        (Cosine(), lambda s, o: s.CosineAnnealingLR(o, 20)),
        (Cosine(end=0.1), lambda s, o: s.CosineAnnealingLR(o, 20, eta_min=0.1)),
        (InverseScaling(), lambda s, o: s.LambdaLR(o, lambda t: (1 + t) ** -0.5)),
    ],
    ids=lambda value: type(value).__name__ if hasattr(value, "check_run") else "torch",
)
def test_factors_are_those_of_pytorch(schedule, build):
    expected = torch_factors(build, 20)
    np.testing.assert_allclose(schedule(np.arange(20.0), 20), expected, rtol=0, atol=RECURSION)


def test_one_cycle_is_that_of_pytorch():
    # PyTorch reaches its peak after pct_start * total_steps - 1 steps, and its end at the last step
    # rather than after it: of 21 steps, the first 20 are ours if the peak is moved accordingly.
    expected = torch_factors(
        lambda s, o: s.OneCycleLR(o, max_lr=1.0, total_steps=21, pct_start=(0.3 * 20 + 1) / 21), 20
    )
    np.testing.assert_allclose(OneCycle()(np.arange(20.0), 20), expected, rtol=0, atol=RECURSION)


@pytest.mark.parametrize("seed", range(5))
def test_reductions_are_those_of_pytorch(seed):
    # PyTorch's patience is the epochs that are let pass, ours those up to the reduction.
    losses = np.random.default_rng(seed).uniform(0, 1, 40).tolist()
    expected = torch_factors(
        lambda s, o: s.ReduceLROnPlateau(
            o, factor=0.5, patience=2, threshold=0.01, threshold_mode="abs", eps=0
        ),
        40,
        losses,
    )
    ours = ReduceOnPlateau(factor=0.5, patience=3, min_change=0.01)
    assert [0.5 ** ours.reductions(losses[:i]) for i in range(40)] == expected


# What is refused


@pytest.mark.parametrize("result", [None, "1", True, -0.1, np.nan, np.inf, [1, 2], 1j])
def test_a_function_that_returns_nonsense_is_refused(result):
    X, y = blobs()
    net = network()
    before = net.parameters.copy()
    with pytest.raises((TypeError, ValueError), match="schedule's result must be"):
        net.train(X, y, schedule=lambda t: result)
    assert net.parameters.tobytes() == before.tobytes()


@pytest.mark.parametrize(
    ("build", "field", "values"),
    [
        (Linear, "end", [-0.1, np.nan, "0", None, True]),
        (Linear, "by", ["day", 1, None]),
        (Exponential, "decay", [0, -1, 1.1, np.inf]),
        (Exponential, "by", ["steps"]),
        (Step, "every", [0, -1, 2.5, True]),
        (Step, "factor", [0, 1.1]),
        (InverseScaling, "power", [0, -1]),
        (Cosine, "warmup", [-1, np.inf]),
        (Cosine, "end", [-0.1]),
        (CosineLog, "cycles", [0, 1.5, True]),
        (OneCycle, "peak", [0, 1.1]),
        (OneCycle, "start", [-0.1]),
        (OneCycle, "end", [-0.1, "x"]),
        (ReduceOnPlateau, "factor", [0, 1.1]),
        (ReduceOnPlateau, "patience", [0, 1.5]),
        (ReduceOnPlateau, "min_change", [-1, np.nan]),
    ],
)
def test_bad_fields_are_refused_by_class_and_name(build, field, values):
    for value in values:
        with pytest.raises((TypeError, ValueError), match=f"^{build.__name__}'s {field} must be"):
            build(**{field: value})


@pytest.mark.parametrize("warmup", [3, 3.5, 100])
def test_a_warm_up_longer_than_the_run_is_refused_before_anything_is_done(warmup):
    X, y = blobs()
    net = network(standardize_inputs=True)
    before = net.parameters.copy()
    with pytest.raises(ValueError, match=f"warmup must be shorter .* 3 epochs; got {warmup:g}"):
        net.train(X, y, epochs=3, schedule=Cosine(warmup))
    assert net.parameters.tobytes() == before.tobytes()
    assert net.epochs_trained == 0
    assert net.input_scaler is None


def test_a_warm_up_shorter_than_the_run_is_taken():
    X, y = blobs()
    assert network().train(X, y, epochs=3, schedule=Cosine(2.5))["learning_rate"][0] == 0


def test_an_unknown_name_gets_the_list_of_names():
    X, y = blobs()
    with pytest.raises(ValueError, match=f"schedule must be one of {', '.join(sorted(SCHEDULES))}"):
        network().train(X, y, schedule="quadratic")


@pytest.mark.parametrize("schedule", [0.5, None, [1.0, 0.5]])
def test_what_is_neither_a_name_nor_a_function_is_refused(schedule):
    X, y = blobs()
    with pytest.raises(TypeError, match="schedule must be a name, a function or one from fastnn"):
        network().train(X, y, schedule=schedule)
