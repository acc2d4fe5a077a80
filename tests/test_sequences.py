"""Random sequences of operations, and whether they find what is wrong. See `sequences`."""

from __future__ import annotations

import signal

import hypothesis
import numpy as np
import pytest
import sequences
from faults.interrupts import Moments

from fastnn import Network
from fastnn.training import loop
from fastnn.training.run import Run

pytestmark = [pytest.mark.filterwarnings(f"ignore:{said}") for said in sequences.SAID]


@pytest.fixture(scope="module", autouse=True)
def loaded():
    sequences.warm_up()


def run(seed, examples, steps=15, shrink=True):
    machine = hypothesis.seed(seed)(sequences.Sequences)
    settings = sequences.options(examples, steps, shrink=shrink)
    sequences.run_machine(machine, settings=settings)


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.long)])
def test_whatever_is_done_in_a_row_does_what_it_promises(seed):
    run(seed, 800 if seed else 80)


def test_a_failure_is_found(monkeypatch):
    monkeypatch.setattr(Run, "__exit__", lambda *_: None)  # a refused call leaves its traces
    with pytest.raises(AssertionError):
        run(0, 300, shrink=False)


@pytest.mark.parametrize("part", ["loop", "checkpoints"])
def test_a_run_that_is_interrupted_at_any_moment_leaves_nothing_behind(part, tmp_path):
    X, y = np.eye(3), np.arange(3)
    net = Network([3, 2, 3], seed=0, backend="numpy")
    options = {"epochs": 1, "checkpoint": tmp_path / "c", "progress": False}
    with Moments() as counting:
        net.train(X, y, **options)
    for number in range(counting.counts[part]):
        moments = Moments(part, number)
        with pytest.raises(KeyboardInterrupt), moments:
            net.train(X, y, **options)
        assert moments.sent == signal.SIGINT
        assert loop._trained == {}, number
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, number
