"""Which functions a call needs: no kernel calls one that is not there, which ends the process."""

from __future__ import annotations

import pytest

# Before each call all functions are forgotten but those that it asks for: other addresses are 0.
START = """
import functools, sys, warnings
sys.path.insert(0, "tests")
import numpy as np
import fastnn
from cases import HIDDEN, PAIRS, Case, fitting, make_data, make_network
from fastnn.backends.compiled import functions
from fastnn.backends.compiled.machinery.jit import Unit
Unit.address, Unit.prepare = map(functools.cache, (Unit.address, Unit.prepare))  # or 10 ms a call
warnings.simplefilter("ignore")
rng = np.random.default_rng(0)

def alone(call, *nets):
    for dtype, names in functions._compiled.items():
        names.clear()
        functions._addresses[dtype][:] = np.zeros(1, functions._addresses[dtype].dtype)
    for net in nets:
        net.model.prepared.clear()
    return call()

def call(net, X, y, *members):
    print(repr(net), X.dtype, flush=True)  # for who looks for the one that ended the process
    nets = members or (net,)
    one = alone(lambda: net.predict_one(X[0]), *nets)
    asked = set().union(*functions._compiled.values())
    assert not asked & {"work", "phase", "product"}, asked
    for rows in (1, 3, len(X)):
        outputs = alone(lambda: net.predict_proba(X[:rows]), *nets)
        np.testing.assert_allclose(one, outputs[0], rtol=1e-4)
        alone(lambda: net.evaluate(X[:rows], y[:rows]), *nets)
"""

EVERY = """
dtype, _, precision = sys.argv[1].partition(" ")
cells = [
    (output, loss, activations, sizes, standardize)
    for output, loss in PAIRS
    for activations in (("relu", "identity"), *((name, name) for name in HIDDEN))
    for sizes in ((9, 4, 3, 2), (40, 33, 20, 18))
    for standardize in (False, True)
]
for i, (output, loss, activations, sizes, standardize) in enumerate(cells):
    if i % int(sys.argv[2]):
        continue
    case = Case(sizes, (*activations,), output, loss, dtype=dtype, precision=precision or None)
    case = fitting(case)
    net = make_network(case, threads=1, standardize_inputs=standardize)
    X, y = make_data(case, rng, rows=20)
    net.train(X, y, epochs=1, learning_rate=1e-5)
    call(net, X, y)
"""


@pytest.mark.parametrize("every", [7, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize("numbers", ["float32", "float64", "float32 bfloat16"])
def test_calls_ask_for_the_functions_that_they_need(run_python, numbers, every):
    run_python("-c", START + EVERY, numbers, str(every))


OTHERS = """
for inputs in ("uint8", "float32", "float64"):
    for rows in (20, 1200):
        for threads in (1, 2):
            case = Case((300, 40, 10), ("gelu",), zeros=0.9, inputs=inputs)
            net, (X, y) = make_network(case, threads=threads), make_data(case, rng, rows=rows)
            call(net, X, y)
committee = fastnn.Committee([make_network(case, seed=seed) for seed in (1, 2)])
call(committee, X, y, *committee.members)
"""


def test_calls_with_other_inputs_and_committees_ask_for_the_functions_that_they_need(run_python):
    run_python("-c", START + OTHERS)
